"""Go through the pages' commands as a newcomer does: python tools/newcomer.py [--whole] [PAGE...]

For each page with shell commands (README, CONTRIBUTING, those of docs/) a fresh clone of the last
commit and a fresh environment, in which the page's blocks are run in their order, as they stand.
cconv1d itself, which is not on the index before it is released, comes from a wheel of that commit.
Without --whole, tests are collected and not run, and the example is trained for one epoch. Needs
Linux and git, and PyPI for what is installed; the exit status is 0 if every command succeeded.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
MAIN = "python examples/ecg_denoiser.py"


def blocks(page: Path) -> list[str]:
    """The shell commands of a page."""
    return re.findall(r"^```sh\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def pages() -> list[Path]:
    """Those that have any, README first."""
    found = {*REPO.glob("*.md"), *REPO.glob("docs/*.md")}
    return sorted((page for page in found if blocks(page)), key=lambda p: (p.parent != REPO, p))


def bash(script: str, folder: Path, variables: dict[str, str]) -> bool:
    """Whether all of it succeeds, told as it goes."""
    command = ["bash", "-euxo", "pipefail", "-c", script]
    return subprocess.run(command, cwd=folder, env=variables, check=False).returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--whole", action="store_true", help="run the tests and train in full")
    parser.add_argument("pages", nargs="*", type=Path, help="without any, all that have commands")
    options = parser.parse_args()
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("CCONV1D_", "PYTHON", "PYTEST", "VIRTUAL_ENV"))
    }
    results = []
    with tempfile.TemporaryDirectory(prefix="cconv1d-newcomer-") as work:
        wheels = Path(work) / "wheels"
        clone, pip = f"git clone --quiet {REPO}", f"{sys.executable} -m pip"
        build = f"{clone} source\n{pip} wheel --quiet --no-deps --wheel-dir {wheels} ./source"
        if not bash(build, Path(work), kept):
            return 1
        variables = kept | {"PIP_FIND_LINKS": str(wheels)}
        if not options.whole:
            variables["PYTEST_ADDOPTS"] = "--collect-only -qq"
        for page in [path.resolve() for path in options.pages] or pages():
            name = page.relative_to(REPO).as_posix()
            folder = Path(work) / name.replace("/", "-")
            script = "".join(blocks(page))
            if not options.whole:
                script = script.replace(MAIN, f"{MAIN} --epochs 1")
            begin = f"{clone} clone\n{sys.executable} -m venv fresh\n. fresh/bin/activate\n"
            folder.mkdir()
            start = time.monotonic()
            good = bash(f"{begin}cd clone\n{script}", folder, variables)
            results.append((name, len(blocks(page)), time.monotonic() - start, good))
    print("\n| page | blocks | seconds | all succeeded |\n| --- | --- | --- | --- |")
    for name, count, seconds, good in results:
        print(f"| {name} | {count} | {seconds:.0f} | {'yes' if good else 'NO'} |")
    return int(not all(good for *_, good in results))


if __name__ == "__main__":
    sys.exit(main())
