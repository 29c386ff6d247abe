"""Compare the rounding errors of each method with PyTorch's, in float32, on data of several kinds.

All are held against the same sums in float64.  ``python benchmarks/accuracy.py --help`` lists the
options; README.md says what is compared.
"""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from compare import command, progress, save, write
from measure import machine, settle
from peers import FAST, METHODS, PEERS, Cconv1d, Method, Peer
from report import THEIRS, accuracy_tables, error_ratios
from workloads import OPS, Array, Case, Row, read_rows

import cconv1d

#: Few and many channels, a stride, few input channels, one tap, many taps, groups, depthwise.
ROWS = (
    *("resnet1d-64", "resnet1d-256", "whisper-stem2", "basset-k19"),
    *("inceptiontime-40", "convtasnet-1x1", "w2v2-pos-g16", "conformer-dw-k31"),
)

#: What x and dy are, of normal numbers; weights are normal.
DATA: dict[str, Callable[[Array], Array]] = {
    "normal": lambda numbers: numbers,
    "relu": lambda numbers: np.maximum(numbers, 0),
    "mean 100": lambda numbers: numbers + np.float32(100),
    "exp(3 normal)": lambda numbers: np.exp(3 * numbers),
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--only", nargs="+", default=ROWS, metavar="GLOB", help=f"rows (default {' '.join(ROWS)})"
    )
    parser.add_argument("--ops", nargs="+", choices=OPS, default=OPS)
    parser.add_argument(
        "--methods",
        nargs="+",
        choices=(*METHODS, FAST),
        default=("direct", "fft", FAST),  # "auto" is one of them
        help="of this library (default direct fft fast)",
    )
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA))
    parser.add_argument("--draws", type=int, default=3, help="arrays of each kind (default 3)")
    parser.add_argument("--threads", type=int, default=1, help="for all (default 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the errors")
    return parser.parse_args()


def drawn(row: Row, data: str, seed: int) -> tuple[Array, Array, Array]:
    """x, w and dy."""
    draw = np.random.default_rng(seed)
    x, w, dy = (draw.standard_normal(shape, np.float32) for shape in row.shapes)
    return DATA[data](x), w, DATA[data](dy)


def errors(row: Row, op: str, data: str, draws: int, peers: Sequence[Peer]) -> dict[str, Any]:
    """The largest and the mean error of each peer that takes the layer, of all results."""
    largest, total = ({peer.name: 0.0 for peer in peers} for _ in range(2))
    count, direct = 0, Cconv1d(1)
    for seed in range(draws):
        arrays = drawn(row, data, seed)
        wide = Case(replace(row, dtype="float64"), op, *(a.astype(np.float64) for a in arrays))
        exact = direct.call(wide)()
        count += exact.size
        for peer in peers:
            call = peer.prepare(Case(row, op, *arrays))
            if call is None:
                largest.pop(peer.name, None)
                total.pop(peer.name, None)
                continue
            error = np.abs(peer.array(call()) - exact)
            largest[peer.name] = max(largest[peer.name], float(error.max()))
            total[peer.name] += float(error.sum())
    return {
        "row": row.name,
        "op": op,
        "data": data,
        "max": largest,
        "mean": {name: sum_of / count for name, sum_of in total.items()},
    }


def line(found: dict[str, Any], methods: Sequence[str]) -> str:
    ratios = "".join(
        f"{ratio:>8.2f}" for method in methods for ratio in error_ratios(found, method)
    )
    return f"{found['row']:<19}{found['op']:<9}{found['data']:<14}{ratios}"


def main() -> int:
    options = arguments()
    settle(options.threads)
    rows = read_rows(options.only)
    if not rows:
        print(f"no row is called {' or '.join(options.only)}", file=sys.stderr)
        return 2
    methods = list(dict.fromkeys(options.methods))
    peers: list[Peer] = [Method(options.threads, method) for method in methods]
    peers.append(PEERS[THEIRS](options.threads))
    run: dict[str, Any] = {
        "command": command("accuracy.py", sys.argv[1:]),
        "date": date.today().isoformat(),
        "machine": machine(),
        "methods": methods,
        "threads": options.threads,
        "draws": options.draws,
        "versions": {
            "cconv1d": cconv1d.__version__,
            THEIRS: peers[-1].version,
            "python": platform.python_version(),
        },
        "config": cconv1d.show_config("dicts"),
        "errors": [],
    }
    todo = [(row, op, data) for row in rows for op in options.ops for data in options.data]
    print(
        "our error / PyTorch's, of float32: the largest, the mean\n\n"
        f"{'':<42}{''.join(f'{method:>16}' for method in methods)}\n"
        f"{'':<42}{'     max    mean' * len(methods)}"
    )
    for case in progress(todo, total=len(todo)):
        run["errors"].append(errors(*case, options.draws, peers))
        write(line(run["errors"][-1], methods))
    print(f"\n{accuracy_tables(run)}")
    if options.json:
        save(run, "errors", options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
