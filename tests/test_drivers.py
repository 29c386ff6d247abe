"""C by itself: no warnings; the thread pool under stress, plainly and under ThreadSanitizer; the
tiles; the transforms."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

DRIVER = Path(__file__).with_name("pool_driver.c")
SOURCE = DRIVER.parents[1] / "src"
STRICT = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]
SECONDS = 60  # for compiling and running each; some 3 and 8 on two busy cores

pytestmark = [
    pytest.mark.skipif(not SOURCE.exists(), reason="the source tree is not beside the tests"),
    pytest.mark.skipif(sys.platform == "win32", reason="the driver is written for POSIX systems"),
]


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


@pytest.mark.parametrize("standard", ["c11", "gnu11"])
@pytest.mark.parametrize("name", ["gcc", "clang"])
def test_no_warnings(name: str, standard: str, tmp_path: Path) -> None:
    """Our own C, in an ordinary build and in one with CCONV1D_DEBUG=1."""
    if not shutil.which(name):
        pytest.skip(f"{name} is not installed")
    deadline = time.monotonic() + SECONDS
    strict = [name, f"-std={standard}", *STRICT, "-pthread", f"-I{SOURCE}"]
    sources = sorted(SOURCE.rglob("*.c"))
    sources = [source for source in sources if source.name != "_core.c"]  # Cython's
    assert [source.name for source in sources] == [
        "roots.c",
        "cpus.c",
        "pool.c",
        "silu.c",
        "tiles.c",
    ]
    for source in sources:
        for debug in [], ["-DCC_DEBUG"]:
            # The tiles take half a minute to compile: test_tiles sees what the optimizer warns of.
            done = ["-fsyntax-only"] if source.name == "tiles.c" else ["-O2", "-c"]
            run([*strict, *debug, *done, source, "-o", tmp_path / "object"], deadline)


def test_a_debug_build_refuses_warnings_and_aborts(compiler: list[str], tmp_path: Path) -> None:
    """debug.h by itself: what setup.py adds for CCONV1D_DEBUG=1 is the macro."""
    deadline = time.monotonic() + SECONDS
    build = [*compiler, "-O1", f"-I{SOURCE}"]
    program = tmp_path / "program"
    unused = tmp_path / "unused.c"
    unused.write_text('#include "debug.h"\nint main(void) { int nobody_asks; return 0; }\n')
    run([*build, "-DNDEBUG", unused, "-o", program], deadline)
    with pytest.raises(AssertionError, match="nobody_asks"):
        run([*build, "-UNDEBUG", "-DCC_DEBUG", unused, "-o", program], deadline)
    beyond = tmp_path / "beyond.c"
    beyond.write_text(
        '#include "debug.h"\nint main(int count, char **words)\n'
        "{ (void)words; cc_assert(count < 2); return 0; }\n"
    )
    run([*build, "-UNDEBUG", "-DCC_DEBUG", beyond, "-o", program], deadline)
    run([program], deadline)
    with pytest.raises(AssertionError, match=r"count < 2") as aborted:
        run([program, "a word"], deadline)
    assert re.search(r"beyond\.c\b.*\b3\b", str(aborted.value)), "the file and the line"
    run([*build, "-DNDEBUG", beyond, "-o", program], deadline)
    run([program, "a word"], deadline)


@pytest.mark.alone
def test_pool(compiler: list[str], tmp_path: Path) -> None:
    deadline = time.monotonic() + SECONDS
    program = tmp_path / "pool_driver"
    strict = ["-std=c11", *STRICT]
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
    options = [*STRICT, "-O1", "-ffp-contract=off", "-fno-strict-aliasing", f"-I{SOURCE / 'tile'}"]
    program = tmp_path / "tile_driver"
    driver = DRIVER.with_name("tile_driver.c")
    run([*compiler, *options, driver, SOURCE / "tile" / "tiles.c", "-o", program, "-lm"], deadline)
    printed = run([program], deadline)
    assert " 0 wrong" in printed
    assert printed.endswith("all tiles right\n")
    with contextlib.suppress(ImportError):
        from cconv1d import _core

        levels = re.findall(r"^(\w+) halves: ", printed, re.M)
        assert levels == _core.available_isas()


def test_transforms(compiler: list[str], tmp_path: Path) -> None:
    """transform_driver.c: spectra, their products and the way back, against sums in long double."""
    deadline = time.monotonic() + 10 * SECONDS
    options = [*STRICT, "-O1", "-ffp-contract=off", "-fno-strict-aliasing", f"-I{SOURCE / 'tile'}"]
    program = tmp_path / "transform_driver"
    sources = [SOURCE / "tile" / "tiles.c", SOURCE / "fft" / "roots.c"]
    driver = DRIVER.with_name("transform_driver.c")
    run([*compiler, *options, driver, *sources, "-o", program, "-lm"], deadline)
    printed = run([program], deadline)
    assert printed.count(" 0 other bits") == len(printed.splitlines()) - 1
    assert printed.endswith("all transforms right\n")
