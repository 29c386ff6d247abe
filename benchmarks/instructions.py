"""Count the instructions that our kernels take for a multiply-add, with callgrind.

On a machine too busy for timings this tells whether a change saves anything: two runs of one
build print the same numbers.  ``python benchmarks/instructions.py --help`` lists the options.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from peers import METHODS, Cconv1d
from workloads import OPS, Row, cases, read_rows

import cconv1d

#: The highest level that valgrind knows, and the bytes of its vectors.
LEVEL, VECTOR = "avx2", 32

#: Rows of every kind that together take two or three minutes.
ROWS = (
    "resnet1d-64",
    "whisper-stem2",
    "tcn-d8",
    "hifigan-k7-out",
    "atacworks",
    "inceptiontime-40",
    "m5-k80-s4",
    "convtasnet-1x1",
    "mamba-dw-k4",
    "conformer-dw-k31",
    "fir-k101",
    "notes-4-2",
    "mamba-dw-nlc",
    "w2v2-conv1-nlc",
    "textcnn-nlc",
    # of short.csv
    "decode-k4",
    "dw-short-k3",
    "dw-short-k15-s3",
    "dw-short-k31",
)

#: The tables that they are of.
TABLES = ("workloads", "short")

#: Rows keep so many positions, or packing the weights would hide what the tiles do.
POSITIONS = 256


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument(
        "--only", nargs="+", default=ROWS, metavar="GLOB", help="names of rows (default: a choice)"
    )
    parser.add_argument("--ops", nargs="+", choices=OPS, default=OPS)
    parser.add_argument("--method", choices=METHODS, default=METHODS[0], help="of this library")
    parser.add_argument(
        "--products",
        type=float,
        default=2e7,
        metavar="NUMBER",
        help=f"shorten rows to so many, but to {POSITIONS} positions at least (default 2e7)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was counted")
    parser.add_argument(
        "--against", type=Path, metavar="FILE", help="say what changed since that was written"
    )
    # The folder of callgrind's dumps, for the process that runs under it.
    parser.add_argument("--dumps", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.against and not options.against.is_file():
        parser.error(f"--against {options.against}: there is no such file")
    return options


def under_callgrind(valgrind: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """What `count` prints in a process under callgrind, which counts between two getppid.

    Its command line says only what is counted: another one moves the interpreter's memory, and
    with it the counts a little.
    """
    environment = {
        "CCONV1D_BACKEND": "native",
        "CCONV1D_ISA": LEVEL,
        "CCONV1D_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONHASHSEED": "0",
    }
    with TemporaryDirectory() as dumps:
        command = [
            *(valgrind, "--quiet", "--tool=callgrind", "--dump-before=getppid"),
            f"--callgrind-out-file={dumps}/dump",
            *(sys.executable, __file__, "--dumps", dumps),
            *("--dtype", options.dtype, "--products", str(options.products)),
            *("--method", options.method, "--only", *options.only, "--ops", *options.ops),
        ]
        with subprocess.Popen(
            command, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            yield from map(json.loads, process.stdout)
        if process.returncode:
            raise SystemExit(process.returncode)


def shortened(row: Row, products: float) -> Row:
    """The row with fewer samples and then fewer positions, but the same channels and taps."""
    each = row.K * row.reduction("forward")
    samples = min(max(int(products / each / row.output_length), 1), row.N)
    positions = max(int(products / each / samples), POSITIONS)
    if positions >= row.output_length:
        return replace(row, N=samples)
    reach = (positions - 1) * row.stride + (row.kernel_size - 1) * row.dilation + 1
    return replace(row, N=samples, L=max(reach - 2 * row.padding, 1))


def chosen(options: argparse.Namespace) -> list[Row]:
    """The rows of all tables that the command line names; those with other options in its dtype."""
    rows = [row for table in TABLES for row in read_rows(options.only, table, dtype=options.dtype)]
    others = read_rows(options.only, "options")
    rows += [replace(row, dtype=options.dtype) for row in others]
    return rows


def counter(dumps: Path) -> Callable[[Callable[[], object]], int]:
    """A function that tells how many instructions a call takes, once it has run before."""
    dumped = 0

    def marked(call: Callable[[], object]) -> int:
        nonlocal dumped
        call()
        os.getppid()
        call()
        os.getppid()
        dumped += 2
        text = (dumps / f"dump.{dumped}").read_text()
        return int(re.findall(r"^totals: (\d+)", text, re.MULTILINE)[-1])

    around = marked(lambda: None)
    return lambda call: marked(call) - around


def count(options: argparse.Namespace) -> None:
    """Print, as JSON, what is counted, then a line for each case."""
    gc.disable()
    ours, instructions = Cconv1d(1, options.method), counter(options.dumps)
    print(json.dumps(cconv1d.show_config("dicts")), flush=True)
    # The interpreter adapts to what it has run often; before, counts depend on how often.
    small = Row("small", 1, 1, 8, 1, 3, 1, 1, 1, 1, dtype=options.dtype)
    for case in cases([small], options.ops):
        call = ours.prepare(case)
        for _ in range(100):
            call()
    rows = [shortened(row, options.products) for row in chosen(options)]
    for case in cases(rows, options.ops):
        found = {
            "row": case.row.name,
            "op": case.op,
            "products": case.row.flops // 2,
            "instructions": instructions(ours.prepare(case)),
        }
        print(json.dumps(found), flush=True)


def main() -> int:
    options = arguments()
    if options.dumps:
        count(options)
        return 0
    if not chosen(options):
        print(f"no row is called {' or '.join(options.only)}", file=sys.stderr)
        return 2
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        print("valgrind, which counts the instructions, is not installed", file=sys.stderr)
        return 2
    before = json.loads(options.against.read_text()) if options.against else {}
    lanes = VECTOR // np.dtype(options.dtype).itemsize
    found = under_callgrind(valgrind, options)
    config = next(found)
    print(
        f"cconv1d {config['version']} {config['instruction_set']}, {config['compiler']}, "
        f"{options.dtype}, method {options.method}, one thread; rows shortened; "
        f"bound: 1/{lanes} for each multiply-add\n\n"
        f"{'row':<19}{'op':<8}{'multiply-adds':>14}{'instructions':>14}"
        f"{'for each':>11}{'% bound':>9}" + (f"{'change, %':>11}" if before else "")
    )
    counted = {}
    for case in found:
        products, instructions = case["products"], case["instructions"]
        share = 100 * products / lanes / instructions
        key = f"{case['row']} {case['op']} {options.dtype} {products}"
        if options.method != METHODS[0]:
            key += f" {options.method}"
        counted[key] = instructions
        change = f"{100 * (instructions / before[key] - 1):>+11.3f}" if key in before else ""
        print(
            f"{case['row']:<19}{case['op']:<8}{products:>14}{instructions:>14}"
            f"{instructions / products:>11.4f}{share:>9.1f}{change}",
            flush=True,
        )
    if options.json:
        options.json.write_text(json.dumps(counted, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
