"""Time random layers, forward and gradients, against the installed peers.

A table of known layers can be tuned to; these cannot.  ``python benchmarks/survey.py --help``
lists the options; README.md says what is drawn and how it is measured.
"""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from itertools import chain, count
from pathlib import Path
from typing import Any

import numpy as np
from compare import (
    CLOCKS,
    PREPARED,
    check_clock,
    command,
    installed,
    progress,
    save,
    timed,
    write,
)
from measure import machine, settle
from peers import METHODS, PEERS, Peer
from report import MAPS_SURVEYED, OURS, draw_survey, survey_tables, survey_title, worst
from workloads import LAYOUTS, OPS, Row, cases

import cconv1d

#: What a row's text has, in this order, which is that of the tables.
FIELDS = ("N", "C", "L", "K", "kernel_size", "stride", "dilation", "groups", "padding")

#: The least and the most multiply-adds of a layer, and bytes of operands and result.
PRODUCTS = 1e4, 3e8
BYTES = 256 << 20

#: Those who compute every layer in reasonable time.
SURVEYED = ("torch", "onnxruntime", "openvino", "xnnpack")


# --- the layers -----------------------------------------------------------------------------


def log_uniform(draw: np.random.Generator, low: int, high: int) -> int:
    return round(float(np.exp(draw.uniform(np.log(low), np.log(high)))))


def many(draw: np.random.Generator) -> int:
    return log_uniform(draw, 8, 768)


def few(draw: np.random.Generator) -> int:
    return int(draw.integers(1, 8))


def grouped(draw: np.random.Generator) -> tuple[int, int, int]:
    groups = int(draw.choice([2, 4, 8, 16]))
    c, k = (max(many(draw) // groups, 1) for _ in "CK")
    return groups * c, groups * k, groups


def depthwise(draw: np.random.Generator) -> tuple[int, int, int]:
    channels = many(draw)
    return channels, channels, channels


#: By kind, how the channels in and out and the groups are drawn.
KINDS: dict[str, Callable[[np.random.Generator], tuple[int, int, int]]] = {
    "dense": lambda draw: (many(draw), many(draw), 1),
    "few-in": lambda draw: (few(draw), many(draw), 1),
    "few-out": lambda draw: (many(draw), few(draw), 1),
    "depthwise": depthwise,
    "grouped": grouped,
    "short": lambda draw: (many(draw), many(draw), 1),
    "single": lambda draw: (1, 1, 1),
}


def candidate(kind: str, draw: np.random.Generator) -> tuple[int, ...]:
    """The fields of a layer, which may be impossible or too large."""
    c, k, groups = KINDS[kind](draw)
    if kind == "short":
        n, length = log_uniform(draw, 1, 256), log_uniform(draw, 4, 64)
    else:
        n, length = log_uniform(draw, 1, 32), log_uniform(draw, 16, 20_000)
    taps = log_uniform(draw, 1, 256)
    strides = [1, 1, 1, int(draw.integers(1, 9)), max(int(draw.choice([taps // 2, taps // 4])), 1)]
    stride = int(draw.choice(strides))
    dilation = log_uniform(draw, 1, 64) if stride == 1 and draw.random() < 0.5 else 1
    span = dilation * (taps - 1) + 1
    larger = int(draw.integers(span // 2, span))
    padding = int(draw.choice([0, 0, span // 2, span // 2, larger]))
    return n, c, length, k, taps, stride, dilation, groups, padding


def possible(row: Row) -> bool:
    if row.dilation * (row.kernel_size - 1) >= row.L + 2 * row.padding:
        return False
    numbers = sum(int(np.prod(shape)) for shape in row.shapes)
    complex_factor = 4 if row.dtype.startswith("complex") else 1
    products = row.flops / 2 / complex_factor
    return (
        PRODUCTS[0] <= products <= PRODUCTS[1] and numbers * np.dtype(row.dtype).itemsize <= BYTES
    )


def layers(kinds: Sequence[str], seed: int, **same: str) -> Iterator[Row]:
    """Endlessly, the kinds in turn; a layer depends on its kind, number and seed alone."""
    for number in count():
        for kind in kinds:
            draw = np.random.default_rng([seed, list(KINDS).index(kind), number])
            while not possible(row := Row(kind, *candidate(kind, draw), **same)):
                pass
            yield row


def text(row: Row) -> str:
    """As ``--row`` takes it: a line of a table without its name."""
    return ",".join(str(getattr(row, name)) for name in FIELDS)


def parse(text: str, **same: str) -> Row:
    return Row("row", *map(int, text.split(",")), **same)


def layer(text: str) -> str:
    """The text of a layer that there can be, for the command line."""
    try:
        _ = parse(text).output_length
    except (TypeError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"{text} is not {','.join(FIELDS)}: {error}") from None
    return text


# --- the survey -----------------------------------------------------------------------------


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=300, help="how many layers (default 300)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="for every competitor (default 1)")
    parser.add_argument("--dtype", choices=("float32", "float64", "complex64"), default="float32")
    parser.add_argument("--layout", choices=LAYOUTS, default=LAYOUTS[0])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument(
        "--ops",
        nargs="+",
        choices=MAPS_SURVEYED,
        default=MAPS_SURVEYED,
        help="prepared: forward with weights packed beforehand and out=, against the peers "
        "that do the same",
    )
    parser.add_argument(
        "--row",
        nargs="+",
        type=layer,
        metavar="N,C,L,K,k,...",
        default=[],
        help=f"these layers instead of random ones: {','.join(FIELDS)}",
    )
    parser.add_argument("--method", choices=METHODS, default=METHODS[0], help="of this library")
    parser.add_argument("--rounds", type=int, default=5, help="odd, for the medians (default 5)")
    parser.add_argument(
        "--peers",
        nargs="+",
        choices=[name for name in PEERS if name != OURS],
        default=SURVEYED,
        help=f"default: {', '.join(SURVEYED)}, where they are installed",
    )
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="as of compare.py")
    parser.add_argument("--worst", type=int, default=20, help="how many rows to list (default 20)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was measured")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="draw a picture")
    options = parser.parse_args()
    check_clock(parser, options)
    return options


def entries(
    row: Row, peers: Sequence[Peer], options: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """One for each map; forward with and without packed weights is timed in the same rounds."""
    asked = {op: [op] for op in OPS}
    asked["forward"].append(PREPARED)
    asked = {case_op: [op for op in ops if op in options.ops] for case_op, ops in asked.items()}
    for case in cases([row], [op for op in OPS if asked[op]]):
        against = {
            op: [peer for peer in peers[1:] if peer.prepares == (op == PREPARED)]
            for op in asked[case.op]
        }
        result = timed(case, [peers[0], *chain(*against.values())], options)
        for op, those in against.items():
            names = [peer.name for peer in those]
            ratios = {name: result.ratios[name] for name in names if name in result.ratios}
            disagreeing = [name for name in names if name in result.disagreeing]
            if ratios or disagreeing:
                ours = result.seconds[PREPARED if op == PREPARED and ratios else OURS]
                yield {
                    "kind": row.name,
                    "row": text(row),
                    "op": op,
                    "positions": row.N * row.output_length,
                    "products": row.products,
                    "us": rounded(np.median(ours) * 1e6),
                    "ratios": {name: rounded(ratio) for name, ratio in ratios.items()},
                    "disagreeing": disagreeing,
                }


def rounded(number: float) -> float:
    """To what a timing can tell."""
    return float(f"{number:.4g}")


def line(row: Row, found: Sequence[dict[str, Any]]) -> str:
    """Under each map the best peer's time over ours."""
    cells = []
    for each in found:
        best = min(each["ratios"].values(), default=float("nan"))
        wrong = f" WRONG: {' '.join(each['disagreeing'])}" if each["disagreeing"] else ""
        cells.append(f"{each['op']} {best:.2f}{wrong}")
    positions = row.N * row.output_length
    return f"{row.name:<10}{text(row):<36}P {positions:<8}{'  '.join(cells)}"


def main() -> int:
    options = arguments()
    settle(options.threads)
    same = {"dtype": options.dtype, "layout": options.layout}
    if options.row:
        rows = [parse(each, **same) for each in options.row]
    else:
        drawn = layers(options.kinds, options.seed, **same)
        rows = [next(drawn) for _ in range(options.rows)]
    peers = installed([OURS, *options.peers], options.threads, {options.dtype}, options.method)
    run: dict[str, Any] = {
        "command": command("survey.py", sys.argv[1:]),
        "date": date.today().isoformat(),
        "machine": machine(),
        "drawn": "chosen" if options.row else f"seed {options.seed}",
        "dtype": options.dtype,
        "layout": options.layout,
        "method": options.method,
        "threads": options.threads,
        "rounds": options.rounds,
        "clock": options.clock,
        "peers": [peer.name for peer in peers[1:]],
        "versions": {peer.name: peer.version for peer in peers}
        | {"python": platform.python_version()},
        "config": cconv1d.show_config("dicts"),
        "layers": len(rows),
        "entries": [],
    }
    print(
        f"{survey_title(run)}; {run['machine']} {run['config']['instruction_set'] or ''}; "
        f"{', '.join(f'{name} {version}' for name, version in run['versions'].items())}\n"
        f"{','.join(FIELDS)}; P: positions; the best peer's time / ours\n"
    )
    for row in progress(rows, total=len(rows)):
        found = list(entries(row, peers, options))
        run["entries"] += found
        write(line(row, found))
    print(f"\n{survey_tables(run)}\n\n{worst(run, options.worst)}")
    if options.json:
        save(run, "entries", options.json)
    if options.plots:
        draw_survey(run, options.plots)
    return int(any(each["disagreeing"] for each in run["entries"]))


if __name__ == "__main__":
    sys.exit(main())
