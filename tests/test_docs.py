"""What the documentation shows is run."""

from __future__ import annotations

import builtins
import doctest
import importlib
import inspect
import json
import os
import re
import runpy
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import cconv1d
from cconv1d import (
    _causal,
    _config,
    _execute,
    _functional,
    _geometry,
    _methods,
    _prepared,
    _signal,
    _step,
    _stream,
    _threads,
)

README = Path(__file__).resolve().parents[1] / "README.md"


MODULES = (
    cconv1d,
    *(_causal, _config, _execute, _functional, _geometry, _methods, _prepared),
    *(_signal, _step, _stream, _threads),
)


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.__name__)
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


#: What numpydoc asks for and we do not do, each with its reason.
NOT_ASKED = {
    "ES01": "an extended summary, where one line says all",
    "PR01": "fields of named tuples are attributes",
    "PR03": "parameters that are described together, which need not follow each other",
    "PR04": "types of parameters that are those of another function",
    "SS05": "words that end as verbs of the third person do, such as Gradients",
    "SS06": "a summary of one line",
}
MEMBERS_LACK = {"SA01", "EX01"}  # what a method or a property has by its class
ADAPTERS = ("torch", "torch.causal", "jax", "dask")


@pytest.mark.parametrize("module", ["", *ADAPTERS])
def test_numpydoc_finds_nothing(module):
    """Neither in what is public nor in its methods and properties."""
    validate = pytest.importorskip("numpydoc.validate").validate
    if module:
        pytest.importorskip(module.partition(".")[0])
    where = ".".join(filter(None, ("cconv1d", module)))
    found = {}
    for name in sys.modules.get(where, importlib.import_module(where)).__all__:
        thing = getattr(sys.modules[where], name)
        if not callable(thing):
            continue
        members = [
            member
            for member, value in (vars(thing).items() if inspect.isclass(thing) else ())
            if not member.startswith("_") and (callable(value) or isinstance(value, property))
        ]
        for path in (name, *(f"{name}.{member}" for member in members)):
            fine = set(NOT_ASKED) | (MEMBERS_LACK if path != name else set())
            errors = [e for e in validate(f"{where}.{path}")["errors"] if e[0] not in fine]
            if errors:
                found[path] = errors
    assert found == {}


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


# --- the pages ----------------------------------------------------------------------------------

REPO = README.parent
BENCHMARKS = REPO / "benchmarks"
STREAMS, PERFORMANCE, ARCHITECTURE, COMING_FROM = (
    REPO / "docs" / f"{name}.md"
    for name in ("streams", "performance", "architecture", "coming-from")
)
beside = pytest.mark.skipif(not STREAMS.exists(), reason="the pages are not beside the tests")
with_results = pytest.mark.skipif(
    not (BENCHMARKS / "results").exists(), reason="what benchmarks wrote is not beside the tests"
)


#: Pages whose examples are a session, those whose examples are programs, and those that a test of
#: their own runs.
SESSIONS = (
    "start",
    "mathematics",
    "shapes",
    "padding",
    "gradients",
    "threads",
    "streams",
    "causal",
)
PROGRAMS = ("index", "methods")
ELSEWHERE = {
    "c-interface": "test_c_interface.py",
    "dask": "test_dask.py",
    "jax": "test_jax.py",
    "pytorch": "test_torch.py",
}


def tables(text):
    """Rows of tables, but for heads and rules, as tuples of cells."""
    rows = [tuple(cell.strip() for cell in line.split("|")[1:-1]) for line in text.splitlines()]
    rules = [number for number, row in enumerate(rows) if row and not "".join(row).strip("-: ")]
    heads = {number - 1 for number in rules} | set(rules)
    return [row for number, row in enumerate(rows) if row and number not in heads]


def section(page, heading):
    """What follows a heading of the second level, up to the next one."""
    (found,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", page, re.DOTALL | re.MULTILINE)
    return found


@pytest.mark.skipif(not README.exists(), reason="the README is not beside the tests")
def test_the_example_of_the_readme(capsys):
    (program,) = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    names: dict[str, object] = {}
    exec(program, names)
    shapes, line = capsys.readouterr().out.splitlines()
    assert shapes == "(8, 3, 1000) (16, 3, 5) (16,)"
    assert line == str(np.array([-1.0, -1.0, -1.0]))
    assert np.shape(names["y"]) == (8, 16, 1000)


@beside
@pytest.mark.parametrize("page", SESSIONS)
def test_the_examples_of_a_page(page):
    """In their order, as one session."""
    path = REPO / "docs" / f"{page}.md"
    blocks = re.findall(r"```python\n(.*?)```", path.read_text("utf-8"), re.DOTALL)
    text = "".join(blocks)
    example = doctest.DocTestParser().get_doctest(text, {}, page, str(path), 0)
    assert len(example.examples) > 3
    assert doctest.DocTestRunner().run(example).failed == 0


@beside
@pytest.mark.parametrize("module", ["", "jax", "dask"])
def test_the_reference_has_every_name(module):
    """Those of cconv1d.torch are on a page of their own: the site is built without PyTorch."""
    if module:
        pytest.importorskip(module)
    names = importlib.import_module(".".join(filter(None, ("cconv1d", module)))).__all__
    listed = re.findall(r"^   ([\w.]+)$", (REPO / "docs" / "reference.md").read_text("utf-8"), re.M)
    found = {name.rpartition(".")[2] for name in listed if name.rpartition(".")[0] == module}
    assert found == {name for name in names if not name.startswith("__")}


@beside
@pytest.mark.parametrize("page", PROGRAMS)
def test_the_programs_of_a_page(page, capsys):
    """Each by itself."""
    text = (REPO / "docs" / f"{page}.md").read_text("utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert blocks
    for program in blocks:
        exec(compile(program, page, "exec"), {})


@beside
def test_every_page_with_python_is_run():
    pages = {
        path.stem for path in REPO.glob("docs/*.md") if "```python\n" in path.read_text("utf-8")
    }
    assert pages == {*SESSIONS, *PROGRAMS, *ELSEWHERE}
    for page, name in ELSEWHERE.items():
        assert f'"{page}.md"' in (REPO / "tests" / name).read_text("utf-8"), page


@pytest.mark.skipif(not (REPO / "tools").exists(), reason="tools/ is not beside the tests")
def test_every_shell_command_of_a_page_is_run_by_a_newcomer():
    """By tools/newcomer.py, which takes whatever page has one; nothing else stands in a block."""
    script = runpy.run_path(str(REPO / "tools" / "newcomer.py"))
    pages = [path.relative_to(REPO).as_posix() for path in script["pages"]()]
    assert pages[:2] == ["CONTRIBUTING.md", "README.md"]
    assert {"docs/start.md", "docs/packaging.md"} <= set(pages)
    fences = re.findall(r"^```(\w*)$", README.read_text("utf-8"), re.MULTILINE)
    assert len(script["blocks"](README)) == fences.count("sh") == 2
    assert script["MAIN"] in script["blocks"](README)[0]
    languages = {"", "sh", "python", "cython", "c"}
    for path in (*REPO.glob("*.md"), *REPO.glob("docs/*.md")):
        assert set(re.findall(r"^```(\w*)$", path.read_text("utf-8"), re.MULTILINE)) <= languages


def theirs():
    """The sections of docs/coming-from.md with two calls a row: (section, their call, ours)."""
    if not COMING_FROM.exists():
        return []
    sections = re.split(r"^## ", COMING_FROM.read_text("utf-8"), flags=re.MULTILINE)[1:]
    return [
        (text.partition("\n")[0], *(cell.strip("`") for cell in row))
        for text in sections
        for row in tables(text)
        if all(re.fullmatch("`.+`", cell) for cell in row)
    ]


@pytest.mark.parametrize(("library", "call", "our_call"), theirs() or [pytest.param(*"???")])
def test_their_calls_and_ours(library, call, our_call, monkeypatch):
    rng = np.random.default_rng(0)
    arrays = {
        "x": rng.standard_normal((2, 4, 31)),
        "w": rng.standard_normal((6, 4, 5)),
        "g": rng.standard_normal((6, 2, 5)),
        "v": rng.standard_normal((4, 6, 5)),
        "b": rng.standard_normal(6),
        "dy": rng.standard_normal((2, 6, 27)),
        "a": rng.standard_normal(40),
        "h": rng.standard_normal(5),
    }
    arrays["xl"] = arrays["x"].transpose(0, 2, 1)
    scope = dict(arrays)
    if library == "NumPy":
        scope["np"] = np
    elif library == "SciPy":
        pytest.importorskip("scipy")
        exec("from scipy import ndimage, signal", scope)
    elif library == "jax.lax":
        jax = pytest.importorskip("jax")
        scope["lax"] = jax.lax
    elif library == "Keras":
        monkeypatch.setenv("KERAS_BACKEND", os.environ.get("KERAS_BACKEND", "jax"))
        scope["ops"] = pytest.importorskip("keras").ops
    else:
        torch = pytest.importorskip("torch")
        scope = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
        scope |= {"torch": torch, "F": torch.nn.functional}
    theirs = np.asarray(eval(call, scope))
    ours = eval(our_call, vars(cconv1d) | arrays)
    assert ours.shape == theirs.shape
    narrow = theirs.dtype == np.float32  # JAX computes in it unless told otherwise
    np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-4 if narrow else 1e-12)


@beside
def test_their_calls_are_found():
    assert len(theirs()) > 25
    assert {"torch.nn.functional", "NumPy", "SciPy", "jax.lax", "Keras"} == {
        row[0] for row in theirs()
    }


@beside
def test_the_pictures_are_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    command = [sys.executable, REPO / "docs" / "draw.py", "--out", tmp_path]
    subprocess.run(command, check=True, timeout=180)
    drawn = {path.name for path in tmp_path.iterdir()}
    assert len(drawn) == 4
    for name in drawn:
        assert (tmp_path / name).stat().st_size > 5000
        assert (REPO / "docs" / "pictures" / name).exists()


@beside
def quoted_commands():
    """What pages quote of ``python -m cconv1d``, with arguments that can be run as they are."""
    pages = (
        [README, REPO / "CONTRIBUTING.md", *(REPO / "docs").glob("*.md")] if README.exists() else []
    )
    found = set()
    for page in pages:
        found |= set(re.findall(r"`python (-m cconv1d[^`]*)`", page.read_text(encoding="utf-8")))
    return sorted(command for command in found if "FILE" not in command and "..." not in command)


@pytest.mark.parametrize("command", quoted_commands() or ["???"])
def test_commands_that_pages_quote(command, tmp_path):
    if command == "???":
        pytest.skip("the pages are not beside the tests")
    done = subprocess.run(
        [sys.executable, *shlex.split(command)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_links_between_pages():
    """Every one leads to a file that is there and, with a fragment, to a heading of it."""
    for page in (README, *REPO.glob("*/*.md")):
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
            if re.match("[a-z]+:", target):
                continue
            path, _, fragment = target.partition("#")
            there = (page.parent / path).resolve() if path else page
            assert there.exists(), f"{page.name}: {target}"
            if fragment:
                lines = re.findall(r"^#+ (.*)$", there.read_text("utf-8"), re.MULTILINE)
                anchors = [re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-") for line in lines]
                assert fragment in anchors, f"{page.name}: {target}"


# Numbers of the README's section on speed come from a script, by way of docs/performance.md.

#: A number that stands by itself, not in a name such as float32, or a word for one.
QUANTITY = re.compile(r"(?<![\w.])\d|\b(?:twice|thrice|half|double|triple|dozens?|hundreds?)\b")


def sentences(text):
    """Each on one line; comments, pictures and where links lead are left out."""
    text = re.sub(r"<!--.*?-->|!\[.*?\]\(.*?\)", "", text, flags=re.DOTALL)
    text = re.sub(r"\[(.*?)\]\(.*?\)", r"\1", text, flags=re.DOTALL)
    found = []
    for block in re.split(r"\n\s*\n|^- ", text, flags=re.MULTILINE):
        found += re.split(r"(?<=[.!?]) (?=[A-Z])", " ".join(block.split()))
    return [sentence for sentence in found if sentence]


def unsupported(text, page):
    """The sentences with a quantity that the summary of the measurements does not have."""
    measured = sentences(section(page, "Summary"))
    return [each for each in sentences(text) if QUANTITY.search(each) and each not in measured]


@beside
def test_numbers_on_speed_are_measured():
    speed = section(README.read_text("utf-8"), "Speed")
    assert sum(bool(QUANTITY.search(each)) for each in sentences(speed)) >= 3
    assert not unsupported(speed, PERFORMANCE.read_text("utf-8"))


@beside
def test_a_number_that_was_not_measured_is_found():
    """A wrong one, one in a wrong place, and one that is added, in figures or in words."""
    page = PERFORMANCE.read_text("utf-8")
    speed = "\n\n".join(sentences(section(README.read_text("utf-8"), "Speed")))
    numbers = list(re.finditer(r"(?<![\w.])\d+(?:\.\d+)?(?![\w.]\w)", speed))
    assert len(numbers) > 10
    for number in numbers:
        last = str((int(number[0][-1]) + 1) % 10)
        wrong = speed[: number.end() - 1] + last + speed[number.end() :]
        assert len(unsupported(wrong, page)) == 1, number
    for one, other in pairwise(numbers):
        if one[0] != other[0]:
            between = speed[one.end() : other.start()]
            swapped = f"{speed[: one.start()]}{other[0]}{between}{one[0]}{speed[other.end() :]}"
            assert unsupported(swapped, page), (one, other)
    for added in ("It is 3 times as fast.", "It takes half of the time.", "Of float64, 2.46."):
        assert unsupported(f"{speed}\n\n{added}", page) == [added]
    assert not unsupported("Kernels of float32 for avx2. They are fast.", page)


#: What only a measurement tells: shares, times, rates, sizes of files, and comparisons of these.
MEASURED = re.compile(
    r"\d\s*(?:%|×|x\b|times (?:as|for|faster)\b|[mµu]?s\b|seconds\b|k?[kMG]B\b|Gflop)|"
    r"\bfaster\b.*\d|\bfastest\b|\bof the time\b|(?:twice|half|times) as (?:fast|long|slow)"
)


@with_results
def test_figures_on_pages_are_measured():
    """Those of every page but the one that a script writes are sentences of its summary."""
    measured = sentences(section(PERFORMANCE.read_text("utf-8"), "Summary"))
    pages = {*REPO.glob("*.md"), *REPO.glob("docs/*.md")} - {PERFORMANCE}
    assert README in pages
    found = []
    for page in sorted(pages):
        text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
        for each in sentences(text):
            if MEASURED.search(re.sub("`.*?`", "", each)) and each not in measured:
                found.append(f"{page.name}: {each}")
    assert found == []


@pytest.mark.parametrize(
    ("sentence", "figure"),
    [
        ("That takes 5 µs.", True),
        ("Depthwise layers take a tenth of the time.", True),
        ("It is 1.5 times as fast.", True),
        ("A wheel of 930 kB.", True),
        ("It is faster from 9 taps on.", True),
        ("Three kernels of 5 taps at 3 positions, float32.", False),
        ("Up to 4 MiB are kept, twice the bytes of a weight.", False),
    ],
)
def test_figures_are_told_from_other_numbers(sentence, figure):
    assert bool(MEASURED.search(sentence)) == figure


@with_results
def test_pages_quote_what_the_script_writes(monkeypatch):
    """`report.py --write` would change nothing."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    report = importlib.import_module("report")
    runs = [json.loads(path.read_text("utf-8")) for path in report.RESULTS]
    marks = 0
    for page in report.QUOTING:
        text = page.read_text("utf-8")
        assert report.quoting(text, report.summary(runs)) == text, page.name
        marks += len(report.QUOTE.findall(text))
    assert marks >= 4
    assert report.QUOTE.search(section(README.read_text("utf-8"), "Speed"))


@with_results
def test_the_page_on_performance_is_what_the_script_writes():
    command = [sys.executable, "-X", "utf8", BENCHMARKS / "report.py"]
    done = subprocess.run(command, check=False, capture_output=True, encoding="utf-8", timeout=180)
    assert done.returncode == 0, done.stderr
    assert done.stdout == PERFORMANCE.read_text("utf-8")


@with_results
def test_commands_of_the_benchmarks_are_those_that_were_run():
    text = (BENCHMARKS / "README.md").read_text("utf-8")
    runs = sorted((BENCHMARKS / "results").glob("*.json"))
    assert runs
    for path in runs:
        command = json.loads(path.read_text("utf-8")).get(
            "command", "python benchmarks/overhead.py"
        )
        assert f"{command} --json benchmarks/results/{path.name}" in text


@beside
def test_pages_name_no_place_of_a_machine():
    for page in (README, *REPO.glob("docs/*.md")):
        text = re.sub(r"https?://\S+", "", page.read_text("utf-8"))
        assert not re.findall(r"(?<![\w.>)\]/-])/(?:tmp|home|root|work|Users|var|opt)\b", text)


# --- docs/architecture.md -----------------------------------------------------------------------

#: Where a file is that is named without its folder.
FOLDERS = (
    *("", "docs", "cconv1d", "cconv1d/include", "cconv1d/torch"),
    *("src", "src/nest", "src/tile", "src/pool", "tests", "tools", "benchmarks"),
)
SOURCES = ("cconv1d/**/*.py", "cconv1d/*.pxd", "cconv1d/*.pyi", "cconv1d/include/*", "src/**/*.*")


def backquoted(page):
    return re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", page, flags=re.DOTALL))


def named_files(page):
    return [n for n in backquoted(page) if re.fullmatch(r"[\w./-]+\.(?:[a-z]{1,4})", n)]


def sources(tree):
    """Those that someone wrote: not what the build makes of them."""
    found = {
        path.relative_to(tree).as_posix() for pattern in SOURCES for path in tree.glob(pattern)
    }
    return {name for name in found if name != "src/_core.c" and not name.endswith("__init__.py")}


with_sources = pytest.mark.skipif(
    not (ARCHITECTURE.exists() and (REPO / "src").exists()),
    reason="the sources are not beside the tests",
)


@with_sources
def test_architecture_names_files_that_exist():
    names = named_files(ARCHITECTURE.read_text("utf-8"))
    assert len(names) > 50
    missing = {
        name for name in names if not any((REPO / folder / name).is_file() for folder in FOLDERS)
    }
    assert not missing


@with_sources
def test_architecture_has_a_row_for_every_source():
    assert sources(REPO) <= set(named_files(ARCHITECTURE.read_text("utf-8")))


@with_sources
def test_architecture_names_what_is_in_the_sources():
    """Of functions, structs and constants: a word with an underscore or a capital in it."""
    text = "\n".join((REPO / name).read_text("utf-8") for name in sources(REPO))
    text += (REPO / "setup.py").read_text("utf-8")
    names = backquoted(ARCHITECTURE.read_text("utf-8"))
    names = [n.partition("=")[0] for n in names if n not in named_files(f"`{n}`")]
    unknown = {
        name
        for name in names
        if re.fullmatch(r"\w*[_A-Z]\w*", name) and not re.search(rf"\b{name}\b", text)
    }
    assert not unknown


@with_sources
def test_modules_import_those_above_them():
    """In the order of the table, so that there is no circle."""
    table = ARCHITECTURE.read_text("utf-8").partition("## From Python to a nest")[0]
    order = [name for name in named_files(table) if re.fullmatch(r"cconv1d/\w+\.py", name)]
    assert len(order) > 10
    below = {}
    for place, name in enumerate(order):
        text = (REPO / name).read_text("utf-8")
        used = re.findall(r"^from \.(\w+) import", text, re.MULTILINE)
        for line in re.findall(r"^from \. import (.*)$", text, re.MULTILINE):
            used += [name for name in line.split(", ") if (REPO / f"cconv1d/{name}.py").exists()]
        below[name] = {each for each in used if f"cconv1d/{each}.py" not in order[:place]}
    assert not {name: modules for name, modules in below.items() if modules}
