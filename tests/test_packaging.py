"""What is built and installed: the sdist, the wheel, a machine without a compiler."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import subprocess
import sys
import venv
import zipfile
from importlib.metadata import distribution
from pathlib import Path
from types import SimpleNamespace

import pytest
from packages import REPO, build, copy_sources, run, unpack

import cconv1d

pytestmark = pytest.mark.skipif(
    not (REPO / "pyproject.toml").exists(), reason="the source tree is not beside the tests"
)


@pytest.fixture
def translated(built: tuple[Path, Path], tmp_path: Path) -> Path:
    """A tree of its own for each test: a build leaves its extension behind for the next one.

    It is the sdist's after Cython, which need not run again to be told that nothing compiles.
    """
    return copy_sources(built[1], tmp_path)


def test_the_installed_package_is_tested() -> None:
    origin = json.loads(distribution("cconv1d").read_text("direct_url.json") or "{}")
    if origin.get("dir_info", {}).get("editable"):
        pytest.skip("an editable install is the source tree")
    assert Path(cconv1d.__file__).parent != REPO / "cconv1d"


def test_only_numpy_is_needed() -> None:
    needed = [text for text in distribution("cconv1d").requires or [] if "extra ==" not in text]
    assert needed == ["numpy>=2.0"]


def test_sdist_holds_what_a_build_needs(sdist: Path, tmp_path: Path) -> None:
    unpacked = unpack(sdist, tmp_path)
    names = {path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*")}
    wanted = {"pyproject.toml", "setup.py", "LICENSE", "README.md", "cconv1d/py.typed"}
    for pattern in ("*.pyx", "*.pxi", "*.c", "*.h"):
        wanted |= {f.relative_to(REPO).as_posix() for f in (REPO / "src").rglob(pattern)}
    wanted.discard("src/_core.c")
    for pattern in ("*.py", "*.pyi", "*.pxd", "include/*.h"):
        wanted |= {f.relative_to(REPO).as_posix() for f in (REPO / "cconv1d").rglob(pattern)}
    assert wanted <= names
    assert "src/_core.c" not in names, "a generated file would be compiled instead of its source"
    assert not [name for name in names if name.endswith((".so", ".pyd"))]


def test_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    assert wheel.stat().st_size < 1_000_000
    with zipfile.ZipFile(wheel) as archive:
        assert sum(entry.file_size for entry in archive.infolist()) < 2_500_000
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
    (extension,) = (name for name in names if name.endswith((".so", ".pyd")))
    assert extension.startswith("cconv1d/_core.")
    sources = {
        path.relative_to(REPO).as_posix()
        for pattern in ("*.py", "*.pyi", "*.pxd", "py.typed", "include/cconv1d.h")
        for path in (REPO / "cconv1d").rglob(pattern)
    }
    assert set(names) == {extension} | sources


# Nothing requires an extension here.
NOT_REQUIRED = {"CCONV1D_REQUIRE_EXTENSION": "", "CIBUILDWHEEL": ""}


@pytest.mark.skipif(sys.platform == "win32", reason="compilers are not found through PATH")
@pytest.mark.parametrize("compiler", ["missing", "failing"])
def test_without_a_compiler_the_reference_computes(
    builder: Path, translated: Path, tmp_path: Path, compiler: str
) -> None:
    """Installs without a compiler, warns once at first use, says why, and computes."""
    environment = {
        "missing": {"PATH": str(builder.parent), "CC": "", "CXX": ""},
        "failing": {"CC": shutil.which("false") or "false"},
    }[compiler]
    (tmp_path / "wheel").mkdir()
    where = translated, tmp_path / "wheel", builder
    wheel = build("wheel", *where, **NOT_REQUIRED, **environment)
    computes_by_the_reference(wheel, tmp_path)


def test_a_pure_wheel_computes_by_the_reference(
    builder: Path, translated: Path, tmp_path: Path
) -> None:
    """What docs/packaging.md has for platforms that compile nothing, such as Pyodide."""
    (tmp_path / "wheel").mkdir()
    where = translated, tmp_path / "wheel", builder
    wheel = build("wheel", *where, **NOT_REQUIRED, CCONV1D_PURE="1")
    assert wheel.name.endswith("-py3-none-any.whl")
    computes_by_the_reference(wheel, tmp_path)


def computes_by_the_reference(wheel: Path, folder: Path) -> None:
    """A program that uses the wheel in an environment that has NumPy besides and nothing else."""
    venv.create(folder / "env", system_site_packages=False, with_pip=False)
    windows = sys.platform == "win32"
    python = folder / "env" / ("Scripts/python.exe" if windows else "bin/python")
    (site,) = (folder / "env").glob("Lib/site-packages" if windows else "lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        assert not [name for name in archive.namelist() if name.endswith((".so", ".pyd"))]
        archive.extractall(site)
    numpy_home = str(Path(__import__("numpy").__file__).parents[1])
    (site / "numpy_of_the_tests.pth").write_text(numpy_home)
    program = """
import warnings
import cconv1d
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    assert cconv1d.conv1d([1.0, 2.0, 3.0, 4.0], [1.0, -1.0]).tolist() == [-1, -1, -1]
    cconv1d.conv1d([1.0, 2.0, 3.0, 4.0], [1.0, -1.0])
(warning,) = seen
assert warning.category is RuntimeWarning and "reference" in str(warning.message)
facts = cconv1d.show_config("dicts")
assert facts["backend"] == "reference" and "_core" in facts["reason"], facts
"""
    run(python, "-c", program, cwd=folder, CCONV1D_BACKEND="", PYTHONPATH="")


@pytest.mark.parametrize("word", [None, "", "0", "1"])
@pytest.mark.parametrize("name", ["CCONV1D_PURE", "CCONV1D_REQUIRE_EXTENSION", "CIBUILDWHEEL"])
def test_what_the_environment_asks_of_a_build(
    monkeypatch: pytest.MonkeyPatch, name: str, word: str | None
) -> None:
    """A variable that is set to nothing asks for nothing."""
    for variable in (*NOT_REQUIRED, "CCONV1D_PURE"):
        monkeypatch.delenv(variable, raising=False)
    if word is not None:
        monkeypatch.setenv(name, word)
    built: list[SimpleNamespace] = []
    setuptools = SimpleNamespace(
        Extension=lambda name, **options: SimpleNamespace(name=name),
        setup=lambda ext_modules, **options: built.extend(ext_modules),
    )
    cython = SimpleNamespace(cythonize=lambda extensions, **options: extensions)
    sdist = SimpleNamespace(sdist=object)
    monkeypatch.setitem(sys.modules, "setuptools", setuptools)
    monkeypatch.setitem(sys.modules, "setuptools.command", SimpleNamespace(sdist=sdist))
    monkeypatch.setitem(sys.modules, "setuptools.command.sdist", sdist)
    monkeypatch.setitem(sys.modules, "Cython.Build", cython)
    runpy.run_path(str(REPO / "setup.py"))
    if name == "CCONV1D_PURE" and word == "1":
        assert not built
        return
    (extension,) = built
    assert extension.name == "cconv1d._core"
    assert extension.optional == (word != "1")


@pytest.mark.skipif(sys.platform == "win32", reason="compilers are not found through PATH")
def test_a_failed_build_is_an_error_where_it_must_be(
    builder: Path, translated: Path, tmp_path: Path
) -> None:
    kept = {name: value for name, value in os.environ.items() if name not in ("CC", "CXX")}
    del kept["PATH"]
    kept.pop("PYTHONPATH", None)
    done = subprocess.run(
        [builder, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, translated],
        cwd=tmp_path,
        env={**kept, "PATH": str(builder.parent), "CCONV1D_REQUIRE_EXTENSION": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode != 0
    assert "building 'cconv1d._core' extension" in done.stdout
    assert not list(tmp_path.glob("*.whl"))


@pytest.mark.skipif(sys.platform != "linux", reason="reads an ELF file")
def test_only_the_init_function_is_exported() -> None:
    core = pytest.importorskip("cconv1d._core")
    try:
        listing = run("nm", "-D", "--defined-only", core.__file__, cwd=Path.cwd()).stdout
    except FileNotFoundError:
        pytest.skip("nm is not installed")
    assert [line.split()[-1] for line in listing.splitlines()] == ["PyInit__core"]
