"""Time every row of the workload table, forward and gradients, against the installed peers.

``python benchmarks/compare.py --help`` lists the options; README.md says how it is measured.
"""

from __future__ import annotations

import argparse
import json
import platform
import shlex
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from measure import Limit, copying, fma_peak, interleave, machine, settle
from numpy.typing import NDArray
from peers import METHODS, PEERS, Call, Cconv1d, Peer
from report import EQUAL, OURS, behind, draw, geometric_means, target_table, title, to_best
from workloads import HALVES, LAYOUTS, OPS, TABLES, Array, Case, cases, read_rows

import cconv1d

try:
    from tqdm import tqdm
except ImportError:
    write = print

    def progress(items: Iterable[Any], total: int) -> Iterable[Any]:
        return items
else:
    write, progress = tqdm.write, partial(tqdm, leave=False, disable=None)

#: Ourselves without the other threads, to see what they bring.
ALONE = "one thread"

#: Ourselves as those who pack their weights beforehand, for whom this is what they compete with.
PREPARED = "prepared"

#: OpenMP's workers spin for some milliseconds after a parallel region, on a processor that the
#: next competitor needs.
SPINNING = 10e-3

#: The distance of neighbouring numbers near 1: two results may round to either side.
ROUNDED = {"float16": 2.0**-10, "bfloat16": 2.0**-7}

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=1, help="for every competitor (default 1)")
    table = parser.add_mutually_exclusive_group()
    table.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    table.add_argument(
        "--options",
        action="store_true",
        help="the rows of options.csv, each with its own dtype, layout, padding mode and function",
    )
    parser.add_argument(
        "--table", choices=TABLES, default=TABLES[0], help="of layers (default workloads.csv)"
    )
    parser.add_argument(
        "--layout", choices=LAYOUTS, default=LAYOUTS[0], help="of the layers of such a table"
    )
    parser.add_argument("--only", nargs="+", default=["*"], metavar="GLOB", help="names of rows")
    parser.add_argument("--ops", nargs="+", choices=OPS, default=OPS)
    parser.add_argument("--method", choices=METHODS, default=METHODS[0], help="of this library")
    parser.add_argument("--rounds", type=int, default=7, help="odd, for the medians (default 7)")
    parser.add_argument(
        "--peers",
        nargs="+",
        choices=[name for name in PEERS if name != OURS],
        default=[name for name in PEERS if name not in (OURS, "direct", "reference")],
        help="default: all that are installed, without our own reference and method",
    )
    parser.add_argument(
        "--clock",
        choices=CLOCKS,
        default="wall",
        help="cpu, the time that this process computed, is for one thread on a busy machine",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="draw two pictures")
    parser.add_argument("--targets", action="store_true", help="print the targets of every row")
    options = parser.parse_args()
    check_clock(parser, options)
    if options.options and (options.table, options.layout) != (TABLES[0], LAYOUTS[0]):
        parser.error("--options is a table of its own, which says the layout of each row")
    return options


def check_clock(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    if options.clock == "cpu" and options.threads > 1:
        parser.error("--clock cpu adds up the time of all threads: it is for --threads 1")


def command(script: str, words: Sequence[str]) -> str:
    """What was run, without where its output went, which is a place on one machine."""
    places = argparse.ArgumentParser(add_help=False)
    places.add_argument("--json")
    places.add_argument("--plots")
    _, kept = places.parse_known_args(words)
    return shlex.join(["python", f"benchmarks/{script}", *kept])


def save(run: dict[str, Any], what: str, path: Path) -> None:
    """As JSON, the many of `what` on a line each."""
    head = json.dumps({**run, what: []}, indent=1, allow_nan=False)
    lines = ",\n  ".join(json.dumps(each, allow_nan=False) for each in run[what])
    path.write_text(head.replace(f'"{what}": []', f'"{what}": [\n  {lines}\n ]') + "\n")


# --- what is measured -----------------------------------------------------------------------


def installed(
    names: Iterable[str], threads: int, dtypes: set[str], method: str = METHODS[0]
) -> list[Peer]:
    """Those that there are; the method is ours."""
    peers: list[Peer] = []
    for name in names:
        if dtypes.isdisjoint(PEERS[name].dtypes):
            continue
        try:
            ours = name == OURS
            peers.append(Cconv1d(threads, method) if ours else PEERS[name](threads))
        except ImportError as error:
            print(f"{name}: not measured ({error})", file=sys.stderr)
    return peers


def summed(dtype: str) -> np.dtype:
    """The dtype that numbers of another are summed in."""
    return np.result_type(dtype, np.float32)


def agrees(case: Case, result: Array, ours: Array) -> bool:
    """Whether two results differ by no more than rounding the sums of normal products explains.

    The partial sums of n products are about sqrt(n) large, and n of them are rounded; in half
    precision, the sums alone.
    """
    wide = summed(case.row.dtype)
    tolerance = 4 * np.finfo(wide).eps * (case.row.reduction(case.op) + 8)
    theirs, ours = result.reshape(ours.shape).astype(wide), ours.astype(wide)
    if case.row.dtype in HALVES:
        tolerance += ROUNDED[case.row.dtype] * np.abs(ours).max()
    return bool(np.abs(theirs - ours).max() <= tolerance)


def agreeing(case: Case, peers: Sequence[Peer]) -> tuple[dict[str, Call], list[str]]:
    """The calls of those whose results are the first one's, and who disagrees."""
    calls, disagreeing, ours = {}, [], None
    for peer in peers:
        call = peer.prepare(case) if case.row.dtype in peer.dtypes else None
        if call is None:
            continue
        result = peer.array(call())
        ours = result if ours is None else ours
        if agrees(case, result, ours):
            calls[peer.name] = call
        else:
            disagreeing.append(peer.name)
    return calls, disagreeing


def alone(call: Call) -> None:
    with cconv1d.num_threads(1):
        call()


class Timed(NamedTuple):
    """What the calls of one case took, by name, in every round."""

    seconds: dict[str, NDArray[np.float64]]  # of ourselves and every peer
    ratios: dict[str, float]  # of a peer's time to ours, the medians over the rounds
    rates: dict[str, NDArray[np.float64]]  # of the limits, per second
    scaling: float | None  # the time of one thread over ours
    disagreeing: list[str]  # whose results are not ours: they are not timed


def timed(
    case: Case,
    peers: Sequence[Peer],
    options: argparse.Namespace,
    limits: Mapping[str, Limit] | None = None,
) -> Timed:
    """Compare the results of all peers, ourselves first, and time those that agree with us."""
    calls, disagreeing = agreeing(case, peers)
    if options.threads > 1:
        calls[ALONE] = partial(alone, calls[OURS])
    preparing = [peer.name for peer in peers if peer.prepares and peer.name in calls]
    prepared = cast(Cconv1d, peers[0]).prepare_as_peers_do(case) if preparing else None
    if prepared is not None:
        calls[PREPARED] = prepared
    limits = limits or {}
    calls |= {name: limit.call for name, limit in limits.items()}
    seconds = interleave(
        calls,
        options.rounds,
        clock=CLOCKS[options.clock],
        warm_up=SPINNING if options.threads > 1 else 0.0,
    )
    rates = {name: limit.amount / seconds.pop(name) for name, limit in limits.items()}
    mine = seconds[OURS]
    ours_for = dict.fromkeys(preparing, seconds.get(PREPARED, mine))
    ratios = {
        name: float(np.median(theirs / ours_for.get(name, mine)))
        for name, theirs in seconds.items()
        if name not in (OURS, PREPARED)
    }
    scaling = ratios.pop(ALONE, None)
    return Timed(seconds, ratios, rates, scaling, disagreeing)


def measure(
    case: Case, peers: Sequence[Peer], peak: Limit, options: argparse.Namespace
) -> dict[str, Any]:
    """Everything about one case, beside what the machine can do."""
    limits = {"peak": peak, "copy": copying(case.nbytes, options.threads)}
    seconds, ratios, rates, scaling, disagreeing = timed(case, peers, options, limits)
    mine = seconds[OURS]
    return {
        "row": case.row.name,
        "shape": asdict(case.row),
        "op": case.op,
        "flops": case.row.flops,
        "bytes": case.nbytes,
        "ms": float(np.median(mine)) * 1e3,
        "gflops": float(np.median(case.row.flops / mine)) / 1e9,
        "of_peak": float(np.median(case.row.flops / mine / rates["peak"])),
        "of_copy": float(np.median(case.nbytes / mine / rates["copy"])),
        "peak_gflops": float(np.median(rates["peak"])) / 1e9,
        "copy_gbytes": float(np.median(rates["copy"])) / 1e9,
        "scaling": scaling,
        "ratios": ratios,
        "best": min(ratios, key=ratios.__getitem__, default=None),
        "disagreeing": disagreeing,
        "seconds": {name: times.tolist() for name, times in seconds.items()},
    }


# --- what is printed ------------------------------------------------------------------------


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
    for op, means in geometric_means(results).items():
        ratios = "".join(
            f"{means[name]:>12.2f}" if name in means else f"{'-':>12}" for name in peers
        )
        lines.append(f"{'':<19}{op:<42}{ratios}  best of each row {means['best']:.2f}")
    slower = behind(results)
    lines.append(f"\nslower than the best peer (below {EQUAL}): {len(slower)} of {len(results)}")
    lines += [f"  {r['row']} {r['op']}: {to_best(r):.3f} of {r['best']}" for r in slower]
    return "\n".join(lines)


def main() -> int:
    options = arguments()
    if options.options:
        rows = read_rows(options.only, "options")
    else:
        rows = read_rows(options.only, options.table, dtype=options.dtype, layout=options.layout)
    if not rows:
        print(f"no row is called {' or '.join(options.only)}", file=sys.stderr)
        return 2
    settle(options.threads)
    dtypes = {row.dtype for row in rows}
    peers = installed([OURS, *options.peers], options.threads, dtypes, options.method)
    names = [peer.name for peer in peers[1:]]
    versions = {peer.name: peer.version for peer in peers} | {"python": platform.python_version()}
    parts = {dtype: summed(dtype).type(0).real.dtype for dtype in dtypes}
    peaks = {part: fma_peak(part, options.threads) for part in set(parts.values())}
    peak = next(iter(peaks.values()))
    config = cconv1d.show_config("dicts")
    run: dict[str, Any] = {
        "command": command("compare.py", sys.argv[1:]),
        "date": date.today().isoformat(),
        "machine": machine(),
        "dtype": None if options.options else options.dtype,
        "table": options.table,
        "method": options.method,
        "layout": options.layout,
        "threads": options.threads,
        "rounds": options.rounds,
        "clock": options.clock,
        "peers": names,
        "versions": versions,
        "config": config,
        "fma_peak": peak.how,
        "results": [],
    }
    print(
        f"{title(run)}, {options.clock} time; {run['machine']}; "
        f"cconv1d {config['backend']} {config['instruction_set'] or ''}\n"
        + ", ".join(f"{name} {version}" for name, version in versions.items())
        + f"\npeak: {peak.how}; copy: numpy.copyto of as many bytes"
        + f"\nunder each peer: its time / ours, the median of {options.rounds} rounds\n\n"
        + header(names)
    )
    results = run["results"]
    todo = cases(rows, options.ops)
    for case in progress(todo, total=len(rows) * len(options.ops)):
        results.append(measure(case, peers, peaks[parts[case.row.dtype]], options))
        write(line(results[-1], names))
    print(summary(results, names))
    if options.targets:
        print(target_table(run))
    if options.json:
        options.json.write_text(json.dumps(run, indent=1, allow_nan=False) + "\n")
    if options.plots:
        draw(run, options.plots)
    return int(any(result["disagreeing"] for result in results))


if __name__ == "__main__":
    sys.exit(main())
