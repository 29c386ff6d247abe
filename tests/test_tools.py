"""The scripts in tools/, and what the workflows and pages that name them say."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import sysconfig
import tarfile
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


@pytest.mark.skipif(sys.platform == "win32", reason="a script is no program there")
def test_a_release_knows_interpreters_behind_scripts(tmp_path: Path, monkeypatch) -> None:
    """Such as pyenv's, which may lead elsewhere by the time that they are called."""
    if sys.implementation.name != "cpython":
        pytest.skip("releases are built for CPython")
    for name, does in (("python3.77", f'exec "{sys.executable}" "$@"'), ("python3.78", "exit 1")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    found = runpy.run_path(str(TOOLS / "release.py"))["pythons"]()
    threaded = "t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
    here = found[f"{sys.version_info.major}.{sys.version_info.minor}{threaded}"]
    assert here.samefile(sys.executable)
    assert tmp_path not in [path.parent for path in found.values()]


METADATA = """Metadata-Version: 2.4
Name: cconv1d
Version: {version}
Summary: what it is
License-Expression: BSD-3-Clause
Requires-Dist: numpy>=2.0
Requires-Dist: matplotlib>=3.8; extra == "examples"

The text. Version: 9
"""


def bill_of_materials(folder: Path, wheel: str = "1.2") -> subprocess.CompletedProcess[str]:
    """tools/sbom.py on an sdist of version 1.2 and a wheel."""
    sdist, built = folder / "cconv1d-1.2.tar.gz", folder / f"cconv1d-{wheel}-py3-none-any.whl"
    said = METADATA.format(version="1.2").encode()
    with tarfile.open(sdist, "w:gz") as archive:
        for name in ("cconv1d-1.2/PKG-INFO", "cconv1d-1.2/cconv1d.egg-info/PKG-INFO"):
            member = tarfile.TarInfo(name)
            member.size = len(said)
            archive.addfile(member, io.BytesIO(said))
    with zipfile.ZipFile(built, "w") as archive:
        archive.writestr(f"cconv1d-{wheel}.dist-info/METADATA", METADATA.format(version=wheel))
    command = [sys.executable, str(TOOLS / "sbom.py"), str(built), str(sdist)]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_bill_of_materials(tmp_path: Path) -> None:
    """Names the files by digest, and what is needed at run time, not what an extra brings."""
    done = bill_of_materials(tmp_path)
    assert done.returncode == 0, done.stderr
    bill = json.loads(done.stdout)
    package = bill["metadata"]["component"]
    assert (package["name"], package["version"]) == ("cconv1d", "1.2")
    assert package["licenses"] == [{"expression": "BSD-3-Clause"}]
    assert [each["name"] for each in package["components"]] == sorted(os.listdir(tmp_path))
    for each in package["components"]:
        digest = hashlib.sha256((tmp_path / each["name"]).read_bytes()).hexdigest()
        assert each["hashes"] == [{"alg": "SHA-256", "content": digest}]
    assert [each["name"] for each in bill["components"]] == ["numpy"]
    assert bill["dependencies"][0] == {"ref": package["bom-ref"], "dependsOn": ["pkg:pypi/numpy"]}


def test_the_bill_of_materials_is_valid(tmp_path: Path) -> None:
    validation = pytest.importorskip("cyclonedx.validation.json")
    done = bill_of_materials(tmp_path)
    schema = pytest.importorskip("cyclonedx.schema").SchemaVersion.V1_6
    assert validation.JsonStrictValidator(schema).validate_str(done.stdout) is None


def test_files_of_two_versions_have_no_bill_of_materials(tmp_path: Path) -> None:
    done = bill_of_materials(tmp_path, wheel="1.3")
    assert done.returncode != 0
    assert not done.stdout


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
    assert len(faults) == 71
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
