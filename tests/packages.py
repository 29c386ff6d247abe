"""How tests build packages and run what is in them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]


def run(*command: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command that must succeed, with some variables set or, where empty, unset."""
    env = {**os.environ, **environment}
    env = {name: value for name, value in env.items() if value}
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=env, text=True, capture_output=True
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


def virtual_environment(folder: Path) -> Path:
    """The Python of a new environment with pip and what pyproject.toml says a build requires."""
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    requires = tomllib.loads((REPO / "pyproject.toml").read_text("utf-8"))["build-system"]
    install(python, "build", *requires["requires"])
    return python


def install(python: Path, *packages: str | Path) -> None:
    """By pip, in an environment that does not see this one."""
    pip = "-m", "pip", "install", "--quiet", "--disable-pip-version-check"
    run(python, *pip, *packages, cwd=python.parent, PYTHONPATH="")


def build(
    kind: str, source: Path, out: Path, python: Path | None = None, **environment: str
) -> Path:
    """Build an sdist or a wheel: isolated, as pip does by default, or in an environment."""
    command = ["-m", "build", f"--{kind}", "--outdir", out, source]
    if python:
        command.append("--no-isolation")
        environment["PYTHONPATH"] = ""
    run(python or sys.executable, *command, cwd=out, **environment)
    (result,) = out.glob("*.tar.gz" if kind == "sdist" else "*.whl")
    return result


def copy_sources(tree: Path, folder: Path) -> Path:
    """A tree as it was before it was built, but for the C that Cython has made."""
    built = shutil.ignore_patterns("build", "*.egg-info", "*.so", "*.pyd")
    return Path(shutil.copytree(tree, folder / tree.name, ignore=built))


def unpack(sdist: Path, folder: Path) -> Path:
    """The tree in an sdist."""
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (tree,) = folder.iterdir()
    return tree
