"""Fuzz the public functions, guided by the coverage of the shim and of the compiled nests.

usage: python tools/fuzz.py [--seconds 1800] [--folder build/fuzz] [FILE]

Builds the package with clang, AddressSanitizer and libFuzzer's counters, and calls it as
`tests/calls.py` makes calls of the fuzzer's bytes; every result is compared. Stops at the first
finding, whose bytes it leaves in the folder; FILE is such a file, to be run again. The folder
keeps the build and the corpus, which grows from run to run.

It needs clang, and of Python atheris, Cython, hypothesis, ml_dtypes, numpy and setuptools.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import atheris

REPOSITORY = Path(__file__).resolve().parent.parent
COVERED = "-fsanitize=address,fuzzer-no-link -fno-omit-frame-pointer -gline-tables-only"
RUNTIME = Path(atheris.path()) / "asan_with_fuzzer.so"


def build(folder: Path) -> None:
    environment = os.environ | {
        "CC": "clang",
        "LDSHARED": "clang -shared",
        "CFLAGS": COVERED,
        "LDFLAGS": "-fsanitize=address",
        "CCONV1D_REQUIRE_EXTENSION": "1",
    }
    command = [sys.executable, "setup.py", "-q", "build", "--build-base", str(folder)]
    command += ["--build-lib", str(folder / "lib")]
    subprocess.run(command, cwd=REPOSITORY, env=environment, check=True)


def fuzz(arguments: list[str]) -> None:
    with atheris.instrument_imports(include=["cconv1d"]):
        import cconv1d
    from calls import a_call, a_target

    cconv1d._backend.core.tune("serial_products", 0)  # small calls go to the pool, too
    isas = cconv1d._backend.core.available_isas()

    def one(data: bytes) -> None:
        provider = atheris.FuzzedDataProvider(data)

        def choose(options):
            return options[provider.ConsumeIntInRange(0, len(options) - 1)]

        cconv1d._backend.core.set_isa(choose(isas))
        call = a_call(choose)
        if call is None:
            return
        out = a_target(choose, call)
        accumulate = out is not None and choose((False, True))
        try:
            with cconv1d.num_threads(choose((1, 2))):
                call.run(out, accumulate)
        except BaseException:
            print(f"{call!r}, out={out!r}, accumulate={accumulate}", file=sys.stderr)
            raise

    atheris.Setup([sys.argv[0], *arguments], one)
    atheris.Fuzz()


def main() -> None:
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--seconds", type=int, default=1800)
    parser.add_argument("--folder", type=Path, default=REPOSITORY / "build" / "fuzz")
    parser.add_argument("file", nargs="?", type=Path)
    options = parser.parse_args()
    folder = options.folder.resolve()
    (folder / "corpus").mkdir(parents=True, exist_ok=True)
    build(folder)
    arguments = [f"-artifact_prefix={folder}/", "-timeout=60", "-rss_limit_mb=8000"]
    if options.file:
        arguments.append(str(options.file.resolve()))
    else:
        arguments += [f"-max_total_time={options.seconds}", "-max_len=256", "-len_control=0"]
        arguments += ["-print_final_stats=1", str(folder / "corpus")]
    environment = os.environ | {
        "LD_PRELOAD": str(RUNTIME),
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1:max_allocation_size_mb=4096"
        ":quarantine_size_mb=64",
        "PYTHONPATH": f"{folder / 'lib'}{os.pathsep}{REPOSITORY / 'tests'}",
        "PYTHONSAFEPATH": "1",
        "PYTHONMALLOC": "malloc",
    }
    os.execve(sys.executable, [sys.executable, __file__, "--fuzz", *arguments], environment)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--fuzz"]:
        fuzz(sys.argv[2:])
    else:
        main()
