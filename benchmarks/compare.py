"""Time every row of the workload table, forward and gradients, against the installed peers.

``python benchmarks/compare.py --help`` lists the options; README.md says how it is measured.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import platform
import sys
import time
from collections.abc import Iterable, Sequence
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from measure import Limit, copying, fma_peak, interleave, settle
from peers import OPS, PEERS, Array, Case, Peer, Row

import cconv1d

try:
    from tqdm import tqdm
except ImportError:
    write = print

    def progress(items: Iterable[Any], total: int) -> Iterable[Any]:
        return items
else:
    write, progress = tqdm.write, partial(tqdm, leave=False, disable=None)

OURS = "cconv1d"

#: Ratios from here on count as equal.
EQUAL = 0.95

#: OpenMP's workers spin for some milliseconds after a parallel region, on a processor that the
#: next competitor needs.
SPINNING = 10e-3


CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=1, help="for every competitor (default 1)")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--only", nargs="+", default=["*"], metavar="GLOB", help="names of rows")
    parser.add_argument("--ops", nargs="+", choices=OPS, default=OPS)
    parser.add_argument("--rounds", type=int, default=7, help="odd, for the medians (default 7)")
    parser.add_argument(
        "--peers",
        nargs="+",
        choices=[name for name in PEERS if name != OURS],
        default=[name for name in PEERS if name not in (OURS, "reference")],
        help="default: all that are installed, without our own reference",
    )
    parser.add_argument(
        "--clock",
        choices=CLOCKS,
        default="wall",
        help="cpu, the time that this process computed, is for one thread on a busy machine",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="draw two pictures")
    options = parser.parse_args()
    if options.clock == "cpu" and options.threads > 1:
        parser.error("--clock cpu adds up the time of all threads: it is for --threads 1")
    return options


# --- what is measured -----------------------------------------------------------------------


def read_rows(globs: Sequence[str]) -> list[Row]:
    with Path(__file__).with_name("workloads.csv").open(newline="") as table:
        rows = [
            Row(fields.pop("name"), **{name: int(value) for name, value in fields.items()})
            for fields in csv.DictReader(table)
        ]
    return [row for row in rows if any(fnmatch(row.name, glob) for glob in globs)]


def cases(rows: Sequence[Row], ops: Sequence[str], dtype: str) -> Iterable[Case]:
    for row in rows:
        # Normal data: zeros, ones and subnormal numbers have speeds of their own.
        draw = np.random.default_rng(0).standard_normal
        x, w, dy = (draw(shape, dtype) for shape in row.shapes)
        for op in ops:
            yield Case(row, op, x, w, dy)


def installed(names: Iterable[str], threads: int, dtype: str) -> list[Peer]:
    peers = []
    for name in names:
        if dtype not in PEERS[name].dtypes:
            continue
        try:
            peers.append(PEERS[name](threads))
        except ImportError as error:
            print(f"{name}: not measured ({error})", file=sys.stderr)
    return peers


def agrees(case: Case, result: Any, ours: Array) -> bool:
    """Whether two results differ by no more than rounding the sums of normal products explains.

    The partial sums of n products are about sqrt(n) large, and n of them are rounded.
    """
    tolerance = 4 * np.finfo(case.dtype).eps * (case.row.reduction(case.op) + 8)
    difference = np.asarray(result).reshape(ours.shape) - ours
    return bool(np.abs(difference).max() <= tolerance)


def measure(
    case: Case, peers: Sequence[Peer], peak: Limit, options: argparse.Namespace
) -> dict[str, Any]:
    """Everything about one case; the peers that disagree with our result are not timed."""
    calls = {peer.name: call for peer in peers if (call := peer.prepare(case)) is not None}
    ours = calls[OURS]()
    disagreeing = [name for name in calls if not agrees(case, calls[name](), ours)]
    for name in disagreeing:
        del calls[name]
    limits = {"peak": peak, "copy": copying(case.nbytes, options.threads)}
    calls |= {name: limit.call for name, limit in limits.items()}
    seconds = interleave(
        calls,
        options.rounds,
        clock=CLOCKS[options.clock],
        warm_up=SPINNING if options.threads > 1 else 0.0,
    )
    rates = {name: limit.amount / seconds.pop(name) for name, limit in limits.items()}
    mine = seconds.pop(OURS)
    ratios = {name: float(np.median(theirs / mine)) for name, theirs in seconds.items()}
    return {
        "row": case.row.name,
        "op": case.op,
        "flops": case.row.flops,
        "bytes": case.nbytes,
        "ms": float(np.median(mine)) * 1e3,
        "gflops": float(np.median(case.row.flops / mine)) / 1e9,
        "of_peak": float(np.median(case.row.flops / mine / rates["peak"])),
        "of_copy": float(np.median(case.nbytes / mine / rates["copy"])),
        "peak_gflops": float(np.median(rates["peak"])) / 1e9,
        "copy_gbytes": float(np.median(rates["copy"])) / 1e9,
        "ratios": ratios,
        "best": min(ratios, key=ratios.__getitem__, default=None),
        "disagreeing": disagreeing,
        "seconds": {name: times.tolist() for name, times in {OURS: mine, **seconds}.items()},
    }


# --- what is printed and drawn --------------------------------------------------------------


def to_best(result: dict[str, Any]) -> float:
    """The ratio to the best peer; NaN without one."""
    return min(result["ratios"].values(), default=math.nan)


def geometric_mean(values: Sequence[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values)) if values else math.nan


def geometric_means(results: Sequence[dict[str, Any]], peers: Sequence[str]) -> dict[str, Any]:
    """Of the ratios by operation: to the best peer of each row, and to each peer."""
    means = {}
    for op in dict.fromkeys(result["op"] for result in results):
        compared = [result for result in results if result["op"] == op and result["ratios"]]
        means[op] = {"best": geometric_mean([to_best(result) for result in compared])}
        for name in peers:
            ratios = [result["ratios"][name] for result in compared if name in result["ratios"]]
            means[op][name] = geometric_mean(ratios)
    return means


def header(peers: Sequence[str]) -> str:
    columns = "".join(f"{name:>12}" for name in peers)
    return f"{'row':<19}{'op':<8}{'ms':>10}{'GF/s':>8}{'% peak':>8}{'% copy':>8}{columns}  best"


def line(result: dict[str, Any], peers: Sequence[str]) -> str:
    """One row of the table; under each peer its time over ours."""
    ratios = "".join(
        f"{result['ratios'][name]:>12.2f}"
        if name in result["ratios"]
        else f"{'WRONG' if name in result['disagreeing'] else '-':>12}"
        for name in peers
    )
    best = "" if result["best"] is None else f"{result['best']} {to_best(result):.2f}"
    return (
        f"{result['row']:<19}{result['op']:<8}{result['ms']:>10.4f}{result['gflops']:>8.1f}"
        f"{100 * result['of_peak']:>8.0f}{100 * result['of_copy']:>8.0f}{ratios}  {best}"
    )


def summary(results: Sequence[dict[str, Any]], peers: Sequence[str]) -> str:
    lines = ["", f"{'geometric means':<53}{'':>8}" + "".join(f"{name:>12}" for name in peers)]
    for op, means in geometric_means(results, peers).items():
        ratios = "".join(
            f"{'-':>12}" if math.isnan(means[name]) else f"{means[name]:>12.2f}" for name in peers
        )
        lines.append(f"{'':<19}{op:<42}{ratios}  best of each row {means['best']:.2f}")
    slower = sorted((r for r in results if to_best(r) < EQUAL), key=to_best)
    lines.append(f"\nslower than the best peer (below {EQUAL}): {len(slower)} of {len(results)}")
    lines += [f"  {r['row']} {r['op']}: {to_best(r):.2f} of {r['best']}" for r in slower]
    return "\n".join(lines)


def draw(results: Sequence[dict[str, Any]], title: str, folder: Path) -> None:
    """ratios.png: the best peer's time over ours; roofline.png: where each row could be."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import LogLocator

    folder.mkdir(parents=True, exist_ok=True)
    names = list(dict.fromkeys(result["row"] for result in results))
    by_op = {
        op: [result for result in results if result["op"] == op]
        for op in dict.fromkeys(result["op"] for result in results)
    }

    figure, axes = plt.subplots(figsize=(9, 1.5 + 0.28 * len(names)), layout="constrained")
    for marker, (op, of_op) in zip("osD", by_op.items(), strict=False):
        places = [names.index(result["row"]) for result in of_op]
        axes.plot([to_best(result) for result in of_op], places, marker, label=op)
    axes.axvline(1, color="black", linewidth=1)
    axes.set(xscale="log", xlabel="time of the best peer / time of cconv1d", title=title)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(LogLocator(subs="all"))
    axes.xaxis.set_minor_formatter("")
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    figure.savefig(folder / "ratios.png", dpi=150)
    plt.close(figure)

    figure, panels = plt.subplots(
        1, len(by_op), figsize=(6 * len(by_op), 9), sharey=True, squeeze=False, layout="constrained"
    )
    peak = float(np.median([result["peak_gflops"] for result in results]))
    # Rows of the size of a cache line say what a call costs, not what the memory can do.
    copies = [result["copy_gbytes"] for result in results if result["bytes"] > 1 << 16]
    for axes, (op, of_op) in zip(panels[0], by_op.items(), strict=True):
        intensity = np.array([result["flops"] / result["bytes"] for result in of_op])
        span = np.geomspace(intensity.min() / 2, intensity.max() * 2)
        axes.plot(span, np.full_like(span, peak), color="black")
        for rate in (min(copies), max(copies)) if copies else ():
            axes.plot(span, np.minimum(rate * span, peak), ":", color="black")
        axes.scatter(intensity, [result["gflops"] for result in of_op], s=14)
        for result, place in zip(of_op, intensity, strict=True):
            axes.annotate(
                str(names.index(result["row"]) + 1),
                (place, result["gflops"]),
                xytext=(3, 3),
                textcoords="offset points",
                fontsize=8,
            )
        axes.set(xscale="log", yscale="log", title=op, xlabel="flops per byte")
        axes.grid(alpha=0.3)
    panels[0, 0].set_ylabel("GF/s")
    figure.suptitle(f"{title}; solid: multiply-adds, dotted: slowest and fastest copy")
    key = "\n".join(f"{number} {name}" for number, name in enumerate(names, 1))
    figure.legend(handles=[], title=key, loc="outside right center", alignment="left")
    figure.savefig(folder / "roofline.png", dpi=150)
    plt.close(figure)


def main() -> int:
    options = arguments()
    rows = read_rows(options.only)
    if not rows:
        print(f"no row is called {' or '.join(options.only)}", file=sys.stderr)
        return 2
    settle(options.threads)
    peers = installed([OURS, *options.peers], options.threads, options.dtype)
    names = [peer.name for peer in peers[1:]]
    versions = {peer.name: peer.version for peer in peers} | {"python": platform.python_version()}
    peak = fma_peak(np.dtype(options.dtype), options.threads)
    config = cconv1d.show_config("dicts")
    plural = "s" if options.threads > 1 else ""
    title = f"{options.dtype}, {options.threads} thread{plural}, {options.clock} time"
    print(
        f"{title}; cconv1d {config['backend']} {config['instruction_set'] or ''}\n"
        + ", ".join(f"{name} {version}" for name, version in versions.items())
        + f"\npeak: {peak.how}; copy: numpy.copyto of as many bytes"
        + f"\nunder each peer: its time / ours, the median of {options.rounds} rounds\n\n"
        + header(names)
    )
    results = []
    todo = cases(rows, options.ops, options.dtype)
    for case in progress(todo, total=len(rows) * len(options.ops)):
        results.append(measure(case, peers, peak, options))
        write(line(results[-1], names))
    print(summary(results, names))
    if options.json:
        report = {
            "dtype": options.dtype,
            "threads": options.threads,
            "rounds": options.rounds,
            "clock": options.clock,
            "versions": versions,
            "config": config,
            "fma_peak": peak.how,
            "geometric_means": geometric_means(results, names),
            "results": results,
        }
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    if options.plots:
        draw(results, title, options.plots)
    return int(any(result["disagreeing"] for result in results))


if __name__ == "__main__":
    sys.exit(main())
