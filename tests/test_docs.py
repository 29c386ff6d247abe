"""What the documentation shows is run."""

from __future__ import annotations

import builtins
import doctest
import inspect
import re
from pathlib import Path

import numpy as np
import pytest

import cconv1d
from cconv1d import _config, _execute, _functional, _geometry, _prepared, _signal, _threads

README = Path(__file__).resolve().parents[1] / "README.md"


@pytest.mark.parametrize(
    "module",
    [cconv1d, _config, _execute, _functional, _geometry, _prepared, _signal, _threads],
    ids=lambda m: m.__name__,
)
def test_examples_in_docstrings(module):
    failed, tried = doctest.testmod(module)
    assert tried > 0
    assert failed == 0


PUBLIC = [name for name in cconv1d.__all__ if callable(getattr(cconv1d, name))]

#: The sections of numpydoc that are used here, in its order.
SECTIONS = (
    *("Parameters", "Attributes", "Returns", "Raises"),
    *("See Also", "Notes", "References", "Examples"),
)


def sections(name):
    """A public name's docstring as {heading: its lines}; what comes first has no heading."""
    found = {"": []}
    for line in inspect.getdoc(getattr(cconv1d, name)).splitlines():
        if re.fullmatch("-{3,}", line):
            heading = found[list(found)[-1]].pop()
            assert line == "-" * len(heading)
            assert heading not in found, heading
            found[heading] = []
        else:
            found[list(found)[-1]].append(line)
    return found


def entries(lines):
    """What a section describes as {names, as they stand: description}."""
    found = {}
    for line in lines:
        if line and not line.startswith(" "):
            head = line.split(" : ")[0]
            assert head not in found, head
            found[head] = line.split(" : ")[1:]
        elif line.strip():
            found[head].append(line.strip())
    return found


def names(heads):
    return [name for head in heads for name in head.split(", ")]


@pytest.mark.parametrize("name", PUBLIC)
def test_docstrings_are_numpydoc(name):
    """In the order of numpydoc, every argument and every field described, every name known."""
    value = getattr(cconv1d, name)
    signature = inspect.signature(value)
    arguments = list(signature.parameters)
    found = sections(name)
    summary = found[""][0]
    assert summary.endswith(".")
    assert found[""][1:2] in ([], [""])
    headings = list(found)[1:]
    assert headings == [heading for heading in SECTIONS if heading in found]
    assert {"See Also", "Examples"} <= found.keys()

    described = entries(found.get("Parameters", found.get("Attributes", [])))
    assert names(described) == arguments
    for head, description in described.items():
        assert description, head
        if ", " not in head and "Parameters" in found:
            assert len(description) > 1, f"{head}: a type and what it means"
            optional = signature.parameters[head].default is not inspect.Parameter.empty
            assert ("optional" in description[0] or "{" in description[0]) == optional, head
    if "Parameters" in found:
        assert names(entries(found["Raises"]))
    if not isinstance(value, type) and signature.return_annotation != "None":
        assert all(entries(found["Returns"]).values())

    for other in names(entries(found["See Also"])):
        assert other in PUBLIC
        assert other != name
    for error in names(entries(found.get("Raises", []))):
        assert issubclass(getattr(builtins, error), Exception)


@pytest.mark.parametrize("name", PUBLIC)
def test_what_docstrings_quote_exists(name):
    """A word in backquotes is an argument, a public name or NumPy's; a reference is cited."""
    text = inspect.getdoc(getattr(cconv1d, name))
    known = {*inspect.signature(getattr(cconv1d, name)).parameters, *PUBLIC}
    for quoted in re.findall(r"(?<!`)`([^`]+)`(?!`)", text):
        if quoted.startswith("numpy."):
            assert hasattr(np, quoted.removeprefix("numpy."))
        else:
            assert quoted in known, quoted
    listed = re.findall(r"^\.\. \[(\d+)\] ", text, re.MULTILINE)
    assert listed == sorted(set(re.findall(r"\[(\d+)\]_", text)))


@pytest.mark.parametrize("name", PUBLIC)
def test_every_docstring_has_an_example_that_is_run(name):
    value = getattr(cconv1d, name)
    tests = doctest.DocTestFinder(recurse=False).find(value, name, globs={})
    (example,) = (test for test in tests if test.name == name)
    assert any(name in line.source for line in example.examples)
    assert doctest.DocTestRunner().run(example).failed == 0


@pytest.mark.skipif(not README.exists(), reason="the README is not beside the tests")
def test_the_example_of_the_readme(capsys):
    (program,) = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    names: dict[str, object] = {}
    exec(program, names)
    shapes, line = capsys.readouterr().out.splitlines()
    assert shapes == "(8, 3, 1000) (16, 3, 5) (16,)"
    assert line == str(np.array([-1.0, -1.0, -1.0]))
    assert np.shape(names["y"]) == (8, 16, 1000)
