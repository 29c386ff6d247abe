"""What the documentation shows is run."""

from __future__ import annotations

import doctest
import inspect
import re
from pathlib import Path

import numpy as np
import pytest

import cconv1d
from cconv1d import _functional, _geometry, _signal, _threads

README = Path(__file__).resolve().parents[1] / "README.md"


@pytest.mark.parametrize(
    "module", [cconv1d, _functional, _geometry, _signal, _threads], ids=lambda m: m.__name__
)
def test_examples_in_docstrings(module):
    failed, tried = doctest.testmod(module)
    assert tried > 0
    assert failed == 0


@pytest.mark.parametrize("name", cconv1d.__all__)
def test_every_public_name_says_what_it_is(name):
    value = getattr(cconv1d, name)
    if name == "__version__":
        return
    text = inspect.getdoc(value)
    assert text
    if callable(value) and not isinstance(value, type):
        signature = inspect.signature(value)
        headings = ["Examples"]
        if signature.parameters:
            headings += ["Parameters", "Raises"]
        if signature.return_annotation != "None":
            headings += ["Returns"]
        for heading in headings:
            assert f"{heading}\n---" in text, heading
        arguments = signature.parameters
        described = text.split("Returns\n")[0]
        missing = [a for a in arguments if not re.search(rf"^(\w+, )*{a}\b", described, re.M)]
        assert missing == []


@pytest.mark.skipif(not README.exists(), reason="the README is not beside the tests")
def test_the_example_of_the_readme(capsys):
    (program,) = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    names: dict[str, object] = {}
    exec(program, names)
    shapes, line = capsys.readouterr().out.splitlines()
    assert shapes == "(8, 3, 1000) (16, 3, 5) (16,)"
    assert line == str(np.array([-1.0, -1.0, -1.0]))
    assert np.shape(names["y"]) == (8, 16, 1000)
