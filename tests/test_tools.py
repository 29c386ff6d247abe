"""The scripts in tools/, and what the workflows and pages that name them say."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import numpy.linalg
import pytest

import cconv1d

REPO = Path(__file__).resolve().parents[1]
TOOLS = REPO / "tools"
WORKFLOWS = REPO / ".github" / "workflows"

pytestmark = pytest.mark.skipif(not TOOLS.exists(), reason="tools/ is not beside the tests")
needs_workflows = pytest.mark.skipif(not WORKFLOWS.exists(), reason="an sdist has no workflows")


def check_wheel(folder: Path, **members: bytes) -> subprocess.CompletedProcess[str]:
    """tools/check_wheel.py on a wheel with a compiled module, or with what is given instead."""
    suffix = ".pyd" if sys.platform == "win32" else ".so"
    core = pytest.importorskip("cconv1d._core")
    if sys.platform != "win32" and not shutil.which("nm"):
        pytest.skip("nm is not installed")
    wheel = folder / "cconv1d-0-cp311-cp311-any.whl"
    contents = {f"cconv1d/_core{suffix}": Path(core.__file__).read_bytes()}
    contents |= {name.format(suffix=suffix): data for name, data in members.items()}
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in contents.items():
            if data:
                archive.writestr(name, data)
    command = [sys.executable, str(TOOLS / "check_wheel.py"), str(wheel)]
    return subprocess.run(command, capture_output=True, text=True)


def test_check_wheel_passes_a_wheel(tmp_path: Path) -> None:
    done = check_wheel(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("members", "word"),
    [
        ({"cconv1d/noise.npy": os.urandom(1_000_000)}, "1000000"),
        ({"cconv1d/zeros.npy": bytes(2_000_000)}, "bytes unpacked"),
        ({"cconv1d/_core.c": b"int x;"}, "source cconv1d/_core.c"),
        ({"cconv1d/_core.pyx": b"pass"}, "source cconv1d/_core.pyx"),
        ({"cconv1d/_other{suffix}": b"x"}, "compiled module"),
        ({"cconv1d/_core{suffix}": b""}, "compiled module"),
    ],
    ids=["large", "large unpacked", "C", "Cython", "two modules", "no module"],
)
def test_check_wheel_refuses(tmp_path: Path, members: dict[str, bytes], word: str) -> None:
    done = check_wheel(tmp_path, **members)
    assert done.returncode == 1
    assert word in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="exports are read with nm")
def test_check_wheel_refuses_other_exports(tmp_path: Path) -> None:
    module = Path(numpy.linalg._umath_linalg.__file__)
    done = check_wheel(tmp_path, **{"cconv1d/_core.so": module.read_bytes()})
    assert done.returncode == 1
    assert "PyInit__umath_linalg" in done.stdout


@needs_workflows
def test_the_scripts_that_are_named_exist() -> None:
    pages = [*WORKFLOWS.glob("*.yml"), *REPO.glob("*.md"), *REPO.glob("docs/*.md")]
    pages += [REPO / "pyproject.toml", REPO / ".ci" / "run", *TOOLS.iterdir()]
    named = {
        script
        for page in pages
        for script in re.findall(r"\btools/[\w-]+\.(?:py|sh)\b", page.read_text(encoding="utf-8"))
    }
    assert named >= {"tools/release.py", "tools/check_wheel.py"}
    assert [script for script in sorted(named) if not (REPO / script).exists()] == []


def test_faults_can_be_seeded() -> None:
    """Each is in one place, and there are tests to notice it."""
    faults = runpy.run_path(str(TOOLS / "mutants.py"))["FAULTS"]
    assert len(faults) == 59
    for fault in faults:
        assert (REPO / fault.path).read_text("utf-8").count(fault.old) == 1, fault.what
        for name in fault.tests.split():
            assert (REPO / "tests" / f"test_{name}.py").exists(), fault.what


def arrows(core: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(TOOLS / "arrows.py"), str(core)]
    return subprocess.run(command, capture_output=True, text=True)


def test_no_nest_uses_what_is_above_it() -> None:
    done = arrows(REPO / "src" / "_core.pyx")
    assert done.returncode == 0, done.stdout + done.stderr
    # and it sees the arrows that there are
    assert re.search(r"choose\.pxi\n(?:   .*\n)*? .* nest/correlate\.pxi: correlate\n", done.stdout)


@pytest.mark.parametrize(
    ("path", "line", "arrow"),
    [
        ("nest/panel.pxi", "cdef int seeded(Sum *sum) noexcept nogil:\n    return 0\n", "Sum"),
        ("nest/view.pxi", "cdef struct Seeded:\n    Phase phase\n", "Phase"),
        ("nest/geometry.pxi", "cdef int seeded = CHUNK\n", "CHUNK"),
        ("nest/maps.pxi", "cdef int seeded():\n    return isa() is None\n", "isa"),
        ("nest/correlate.pxi", "cdef void seeded():\n    cdef int a = sum_terms\n", "sum_terms"),
    ],
)
def test_an_arrow_that_runs_up_is_found(tmp_path: Path, path: str, line: str, arrow: str) -> None:
    shutil.copytree(REPO / "src", tmp_path / "src")
    with (tmp_path / "src" / "nest" / "panel.pxi").open("a") as file:
        file.write("\n\ncdef enum: CHUNK = 1\n")
    assert arrows(tmp_path / "src" / "_core.pyx").returncode == 0
    with (tmp_path / "src" / path).open("a") as file:
        file.write(f"\n\n{line}")
    done = arrows(tmp_path / "src" / "_core.pyx")
    assert done.returncode == 1
    assert re.search(rf"\n   UP .*: {arrow}\n", done.stdout), done.stdout


@pytest.mark.parametrize(
    "line",
    [
        '# correlate\ncdef int seeded():\n    """As correlate."""\n    return 0\n',
        "cdef int seeded(int correlate, Rows *rows=NULL):\n    return correlate\n",
        "cdef int seeded(Rows *a):\n    cdef int b = 1, correlate = 2\n    return a.sum_terms\n",
        "cdef struct Seeded:\n    int correlate, level\n    Rows[2] across  # apply_map\n",
    ],
)
def test_other_things_of_the_same_name_are_no_arrows(tmp_path: Path, line: str) -> None:
    shutil.copytree(REPO / "src", tmp_path / "src")
    with (tmp_path / "src" / "nest" / "phases.pxi").open("a") as file:
        file.write(f"\n\n{line}")
    done = arrows(tmp_path / "src" / "_core.pyx")
    assert done.returncode == 0, done.stdout


@needs_workflows
def test_actions_are_pinned_to_commits() -> None:
    uses = re.findall(
        r"uses: (.+)", "\n".join(path.read_text("utf-8") for path in WORKFLOWS.glob("*.yml"))
    )
    assert uses
    for action in uses:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v[\d.]+", action), action
    versions: dict[str, set[str]] = {}
    for name, _, pin in (action.partition("@") for action in uses):
        versions.setdefault(name, set()).add(pin)
    assert [name for name, pins in versions.items() if len(pins) > 1] == []


def test_wheels_are_built_for_the_pythons_that_are_supported() -> None:
    settings = tomllib.loads((REPO / "pyproject.toml").read_text("utf-8"))
    classifiers = settings["project"]["classifiers"]
    supported = {text.rpartition(" ")[2] for text in classifiers if "Python :: 3." in text}
    built = set(settings["tool"]["cibuildwheel"]["build"])
    wanted = {f"cp{version.replace('.', '')}-*" for version in supported}
    assert wanted == {name for name in built if not name.endswith("t-*")}


def test_wheels_for_musl_are_tested_with_all_but_bfloat16() -> None:
    settings = tomllib.loads((REPO / "pyproject.toml").read_text("utf-8"))
    (musl,) = settings["tool"]["cibuildwheel"]["overrides"]
    extra = settings["project"]["optional-dependencies"]["test"]
    names = {requirement.partition(">=")[0] for requirement in extra}
    assert set(musl["test-requires"]) == names - {"ml_dtypes"}


@needs_workflows
def test_the_citation_has_the_version() -> None:
    citation = (REPO / "CITATION.cff").read_text("utf-8")
    assert f"\nversion: {cconv1d.__version__}\n" in citation
