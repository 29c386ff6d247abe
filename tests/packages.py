"""How tests build packages and run what is in them."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
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


def build(kind: str, source: Path, out: Path, **environment: str) -> Path:
    """Build an sdist or a wheel in an isolated environment, as pip and `build` do."""
    run(sys.executable, "-m", "build", f"--{kind}", "--outdir", out, source, cwd=out, **environment)
    (result,) = out.glob("*.tar.gz" if kind == "sdist" else "*.whl")
    return result


def unpack(sdist: Path, folder: Path) -> Path:
    """The tree in an sdist."""
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (tree,) = folder.iterdir()
    return tree
