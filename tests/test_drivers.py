"""C by itself: the thread pool under stress, plainly and under ThreadSanitizer; the tiles."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

DRIVER = Path(__file__).with_name("pool_driver.c")
SOURCE = DRIVER.parents[1] / "src"
SECONDS = 60  # for compiling and running each; some 3 and 8 on two busy cores

pytestmark = [
    pytest.mark.skipif(not SOURCE.exists(), reason="the source tree is not beside the tests"),
    pytest.mark.skipif(sys.platform == "win32", reason="the driver is written for POSIX systems"),
]


@pytest.fixture(scope="module")
def compiler() -> list[str]:
    names = [os.environ.get("CC", ""), "cc", "gcc", "clang"]
    for command in map(shlex.split, filter(None, names)):
        if shutil.which(command[0]):
            return command
    pytest.skip("there is no C compiler")


def run(command: list[str | Path], deadline: float, **environment: str) -> str:
    """What the command prints; it must succeed, and before the deadline."""
    done = subprocess.run(
        [str(part) for part in command],
        env={**os.environ, **environment},
        timeout=deadline - time.monotonic(),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.alone
def test_pool(compiler: list[str], tmp_path: Path) -> None:
    deadline = time.monotonic() + SECONDS
    program = tmp_path / "pool_driver"
    strict = ["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    run([*compiler, *strict, "-O2", "-pthread", DRIVER, "-o", program, "-lm"], deadline)
    print(run([program], deadline))


@pytest.mark.alone
def test_pool_without_races(compiler: list[str], tmp_path: Path) -> None:
    deadline = time.monotonic() + SECONDS
    sanitized = [*compiler, "-std=c11", "-O1", "-g", "-pthread", "-fsanitize=thread"]
    empty = tmp_path / "empty.c"
    empty.write_text("int main(void) { return 0; }\n")
    try:
        run([*sanitized, empty, "-o", tmp_path / "empty"], deadline)
        run([tmp_path / "empty"], deadline)
    except (AssertionError, OSError):
        pytest.skip("the compiler has no ThreadSanitizer that works here")
    program = tmp_path / "pool_driver"
    run([*sanitized, "-DCC_POOL_TEST_DELAY", DRIVER, "-o", program, "-lm"], deadline)
    print(run([program], deadline, TSAN_OPTIONS="die_after_fork=0 atexit_sleep_ms=0"))


def test_tiles(compiler: list[str], tmp_path: Path) -> None:
    """tile_driver.c: every tile of every level of this processor, bit for bit."""
    deadline = time.monotonic() + 10 * SECONDS  # three levels of tiles take long to compile
    options = ["-O1", "-ffp-contract=off", "-fno-strict-aliasing", f"-I{SOURCE}"]
    program = tmp_path / "tile_driver"
    driver = DRIVER.with_name("tile_driver.c")
    run([*compiler, *options, driver, SOURCE / "tiles.c", "-o", program, "-lm"], deadline)
    printed = run([program], deadline)
    assert " 0 wrong" in printed
    assert printed.endswith("all tiles right\n")
