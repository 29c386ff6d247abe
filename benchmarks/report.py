"""Tell what the scripts here measured: as Markdown, as pictures, beside the targets.

``python benchmarks/report.py --help`` lists the options.  Nothing is measured here, so tables
and pictures of one file are of one run.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from textwrap import TextWrapper
from typing import Any, NamedTuple

import numpy as np
from workloads import LAYOUTS, OPS, TABLES, Row

Result = dict[str, Any]
Run = dict[str, Any]

OURS = "cconv1d"

#: Ratios from here on count as equal.
EQUAL = 0.95

REPO = Path(__file__).resolve().parents[1]

#: The runs that are kept, in the order of the page, which is made of them alone.
RESULTS = tuple(
    Path(__file__).with_name("results") / f"{name}.json"
    for name in (
        *("float32-1", "float32-2", "float64-1", "options-1", "methods-fft-1"),
        *("methods-1", "survey-float32-1", "networks-1", "networks-2", "streaming"),
        *("accuracy", "bounds", "bounds-fast", "overhead"),
    )
)
PAGE = REPO / "docs" / "performance.md"
PICTURES = PAGE.with_name("pictures")
QUOTING = REPO / "README.md", *sorted(set(PAGE.parent.glob("*.md")) - {PAGE})


def peers_of(run: Run) -> list[str]:
    """Those that computed anything, in the order of the columns."""
    return [name for name in run["peers"] if any(name in each["ratios"] for each in run["results"])]


def kind(run: Run) -> str:
    """The dtype of all rows, or "options", among which each row has its own.

    A table other than workloads.csv and a layout other than NCL come before and after it.
    """
    if run["dtype"] is None:
        return "options"
    words = [run["dtype"]]
    if run.get("table", TABLES[0]) != TABLES[0]:
        words.insert(0, run["table"])
    if run.get("layout", LAYOUTS[0]) != LAYOUTS[0]:
        words.append(run["layout"])
    return "-".join(words)


def title(run: Run) -> str:
    plural = "s" if run["threads"] > 1 else ""
    method = run.get("method", "direct")
    by = "" if method == "direct" else f", method {method}"
    return f"{kind(run).replace('_', ' ').replace('-', ', ')}{by}, {run['threads']} thread{plural}"


def called(run: Run) -> str:
    """What is compared with the peers."""
    method: str = run.get("method", "direct")
    return OURS if method == "direct" else method


def where(run: Run) -> str:
    return f"{run['machine']}, {run['config']['instruction_set']}, {run['date']}"


# --- ratios ---------------------------------------------------------------------------------


def to_best(result: Result) -> float:
    """The ratio to the best peer; NaN without one."""
    return min(result["ratios"].values(), default=math.nan)


def behind(results: Iterable[Result]) -> list[Result]:
    """The results that a peer is ahead of, the furthest first."""
    return sorted((each for each in results if to_best(each) < EQUAL), key=to_best)


def geometric_mean(values: Sequence[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values))


def geometric_means(results: Sequence[Result]) -> dict[str, dict[str, float]]:
    """Of the ratios by operation: to the best peer of each row, and to each peer that has any."""
    means: dict[str, dict[str, float]] = {}
    for op in OPS:
        columns: dict[str, list[float]] = {}
        for result in results:
            if result["op"] == op and result["ratios"]:
                for name, ratio in {"best": to_best(result), **result["ratios"]}.items():
                    columns.setdefault(name, []).append(ratio)
        if columns:
            means[op] = {name: geometric_mean(ratios) for name, ratios in columns.items()}
    return means


# --- targets --------------------------------------------------------------------------------

#: Least share of the multiply-add peak where there are as many channels as this in and out.
DENSE, OF_PEAK, OF_PEAK_STRIDED = 32, 0.90, 0.85

#: Least share of the copy bandwidth for a depthwise kernel of so few taps.
SHORT, OF_COPY = 5, 0.80

#: Least gain of a second thread for calls of so many ms that the memory does not bound.
LONG, SCALING = 1.0, 1.85

#: Least geometric means, against the best peer of each row and against PyTorch.
MEANS = {"forward": (1.5, 3.5), "dx": (2.5, 3.0), "dw": (2.5, 3.5)}
MEAN_FLOAT64 = 4.0


class Target(NamedTuple):
    what: str
    value: float
    least: float

    @property
    def holds(self) -> bool:
        return self.value >= self.least

    def __str__(self) -> str:
        relation = ">=" if self.holds else "<"
        return f"{self.what} {self.value:.3f} {relation} {self.least:.2f}"


def targets(result: Result, threads: int) -> list[Target]:
    """What is asked of a result: that follows from its shape and from what bounds it."""
    row = Row(**result["shape"])
    found = []
    if result["ratios"]:
        found.append(Target(f"of {result['best']}", to_best(result), EQUAL))
    if min(row.C, row.K) >= DENSE * row.groups:
        least = OF_PEAK_STRIDED if row.stride > 1 else OF_PEAK
        found.append(Target("of peak", result["of_peak"], least))
    if row.groups == row.C == row.K > 1 and row.kernel_size <= SHORT:
        found.append(Target("of copy", result["of_copy"], OF_COPY))
    if threads == 2:
        alone = result["ms"] * result["scaling"]
        computing = result["flops"] / result["peak_gflops"]
        moving = result["bytes"] / result["copy_gbytes"]
        if alone > LONG and computing > moving:
            found.append(Target("of one thread", result["scaling"], SCALING))
    return found


def mean_targets(run: Run) -> list[tuple[str, Target]]:
    found = []
    if run["dtype"] is None:
        return found
    for op, means in geometric_means(run["results"]).items():
        best, torch = MEANS[op]
        if run["dtype"] == "float64":
            torch = MEAN_FLOAT64
        else:
            found.append((op, Target("of the best peers", means["best"], best)))
        if "torch" in means:
            found.append((op, Target("of torch", means["torch"], torch)))
    return found


def target_table(run: Run) -> str:
    """For every row and operation the targets that apply, then those that are missed."""
    asked = [
        (f"{result['row']:<19}{result['op']:<8}", targets(result, run["threads"]))
        for result in run["results"]
    ]
    asked += [(f"{'geometric mean':<19}{op:<8}", [target]) for op, target in mean_targets(run)]
    lines = [
        f"{name}{''.join(f'{target!s:<32}' for target in each)}".rstrip() for name, each in asked
    ]
    missed = [f"  {name}{target}" for name, each in asked for target in each if not target.holds]
    total = sum(len(each) for _, each in asked)
    head = f"\ntargets, {title(run)}\n"
    return "\n".join([head, *lines, f"\nmissed: {len(missed)} of {total}", *missed])


# --- pictures -------------------------------------------------------------------------------

#: Colours that differ for every kind of sight, and shapes that differ without colour.
STYLE = {"forward": ("#0072B2", "o"), "dx": ("#D55E00", "s"), "dw": ("#009E73", "D")}


def pictures_of(run: Run) -> dict[str, str]:
    """What each picture shows; the roofs of the machine are those of direct sums of one dtype."""
    shown = {"ratios": "Time of the best peer over ours for each row"}
    if run["dtype"] is not None and run.get("method", "direct") == "direct":
        shown["roofline"] = "Rows below the roofs of the machine"
    return shown


def picture(run: Run, shows: str) -> str:
    return f"{shows}-{kind(run)}-{run['threads']}.png"


def draw(run: Run, folder: Path) -> None:
    """The best peer's time over ours, and where each row is below the roofs of the machine."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    results = run["results"]
    names = list(dict.fromkeys(result["row"] for result in results))
    ops = [op for op in OPS if any(result["op"] == op for result in results)]
    caption, ours = f"{title(run)}; {where(run)}", called(run)

    with plt.rc_context({"font.size": 11}):
        figure, axes = plt.subplots(figsize=(9, 1.6 + 0.3 * len(names)), layout="constrained")
        for shift, op in zip(np.linspace(-0.2, 0.2, len(ops)), ops, strict=True):
            compared = [result for result in results if result["op"] == op and result["ratios"]]
            colour, marker = STYLE[op]
            axes.plot(
                [to_best(result) for result in compared],
                [names.index(result["row"]) + shift for result in compared],
                linestyle="",
                marker=marker,
                color=colour,
                label=op,
            )
        axes.axvline(1, color="black", linewidth=1)
        axes.set(
            xscale="log",
            xlabel=f"time of the best peer / time of {ours} (right of the line: {ours} is faster)",
        )
        figure.suptitle(caption, fontsize=11)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.5, -0.5)
        low, high = axes.get_xlim()
        ticks = [m * 10.0**e for e in range(-3, 5) for m in (1, 2, 5)]
        axes.set_xticks([tick for tick in ticks if low <= tick <= high])
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_locator(plt.NullLocator())
        axes.grid(alpha=0.3)
        figure.legend(loc="outside right upper")
        figure.savefig(folder / picture(run, "ratios"), dpi=150)
        plt.close(figure)
        if "roofline" not in pictures_of(run):
            return

        figure, panels = plt.subplots(
            len(ops),
            1,
            figsize=(9, 1.2 + 4.2 * len(ops)),
            sharex=True,
            squeeze=False,
            layout="constrained",
        )
        peak = float(np.median([result["peak_gflops"] for result in results]))
        # Rows of the size of a cache line say what a call costs, not what the memory can do.
        copies = [result["copy_gbytes"] for result in results if result["bytes"] > 1 << 16]
        intensities = [result["flops"] / result["bytes"] for result in results]
        span = np.geomspace(min(intensities) / 2, max(intensities) * 2)
        for axes, op in zip(panels[:, 0], ops, strict=True):
            axes.plot(span, np.full_like(span, peak), color="black")
            for rate in (min(copies), max(copies)) if copies else ():
                axes.plot(span, np.minimum(rate * span, peak), ":", color="black")
            of_op = [result for result in results if result["op"] == op]
            of_op.sort(key=lambda result: result["flops"] / result["bytes"])
            for order, result in enumerate(of_op):
                place = result["flops"] / result["bytes"], result["gflops"]
                axes.plot(*place, STYLE[op][1], markersize=5, color=STYLE[op][0])
                # Neighbours have their numbers at different depths, or they would overlap.
                axes.annotate(
                    str(names.index(result["row"]) + 1),
                    place,
                    xytext=(0, -14 - 13 * (order % 6)),
                    textcoords="offset points",
                    ha="center",
                    va="center",
                    fontsize=10,
                    arrowprops={"arrowstyle": "-", "linewidth": 0.5, "shrinkA": 0, "shrinkB": 2},
                )
            axes.set_ymargin(0.15)
            axes.set(xscale="log", yscale="log", ylabel=f"{op}: Gflop/s")
            axes.grid(alpha=0.3)
        panels[-1, 0].set_xlabel("flops per byte of operands and result")
        figure.suptitle(
            f"{caption}\nsolid: peak of multiply-adds; dotted: slowest and fastest copy",
            fontsize=11,
        )
        key = "\n".join(f"{number} {name}" for number, name in enumerate(names, 1))
        figure.legend(handles=[], title=key, loc="outside right upper", alignment="left")
        figure.savefig(folder / picture(run, "roofline"), dpi=150)
        plt.close(figure)


# --- Markdown -------------------------------------------------------------------------------


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """In Markdown; the first column is words, the others are numbers."""
    rule = ["---"] + ["---:"] * (len(head) - 1)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))


MAPS = {"forward": "the output", "dx": "the input gradient", "dw": "the weight gradient"}


def listed(items: Sequence[str]) -> str:
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def ahead(results: Sequence[Result]) -> str:
    """How often which peer is ahead, in which rows."""
    rows: dict[str, list[str]] = {}
    for result in behind(results):
        rows.setdefault(result["best"], []).append(result["row"])
    return listed(
        [
            f"{peer} in {len(names)} ({', '.join(dict.fromkeys(names))})"
            for peer, names in sorted(rows.items(), key=lambda item: -len(item[1]))
        ]
    )


def in_words(run: Run) -> list[str]:
    """What the README may quote of a run: sentences, each of which stands by itself."""
    results, means = run["results"], geometric_means(run["results"])
    layers = len({result["row"] for result in results})
    plural = "s" if run["threads"] > 1 else ""
    which = f"Other layouts, dtypes, padding modes and functions, {run['threads']} thread{plural}"
    within = title(run).capitalize() if run["dtype"] else which
    said = [f"{within}: measured on {where(run)}."]
    names = {"torch": "PyTorch", "direct": "direct"}
    if len(peers_of(run)) > 1:
        names["best"] = "the fastest peer of each layer"
    for peer, name in names.items():
        found = [f"{of[peer]:.2f} times for {MAPS[op]}" for op, of in means.items() if peer in of]
        if found:
            found[0] = found[0].replace("times", f"times as long as {called(run)}")
            said.append(
                f"{within}: {name} takes {listed(found)} (geometric means over {layers} layers)."
            )
    slower = len(behind(results))
    named = f": {ahead(results)}" if slower else ""
    said.append(f"{within}: a peer is ahead in {slower} of {len(results)} results{named}.")
    return said


def layouts(runs: Sequence[Run]) -> str | None:
    """The layers that are in two runs of one machine, one of them with channels last."""
    times: dict[tuple[Any, ...], dict[str, Result]] = {}
    for run in runs:
        for result in run["results"]:
            shape = {**result["shape"], "name": None, "layout": None}
            key = (run["machine"], run["threads"], result["op"], *shape.values())
            times.setdefault(key, {}).setdefault(result["shape"]["layout"], result)
    rows = [
        (
            f"{both['NCL']['row']} {both['NCL']['op']}",
            *(f"{both[layout]['ms']:.3g}" for layout in ("NCL", "NLC")),
        )
        for both in times.values()
        if both.keys() == {"NCL", "NLC"}
    ]
    return table(["row", "NCL, ms", "NLC, ms"], rows) if rows else None


def small_calls_in_words(run: Run) -> list[str]:
    """What the README may quote of what overhead.py wrote."""
    said = [f"Small calls were measured on {where(run)}."]
    for arrays in dict.fromkeys(each["arrays"] for each in run["rows"] if each["arrays"]):
        ratios = [
            f"{each['what']} {each['ratio']:.2f}"
            for each in run["rows"]
            if each["arrays"] == arrays and each["target"] is not None
        ]
        if ratios:
            said.append(f"Time of small calls, {arrays}, 1 thread: {listed(ratios)}.")
    return said


def small_calls(run: Run) -> str:
    """What overhead.py wrote."""
    rows = []
    for each in run["rows"]:
        own = each["ratio"] is None
        what = f"{each['what']}, {each['arrays']}" if each["arrays"] else each["what"]
        value = f"{each['ours_us'] / 1e3:.1f} ms" if own else f"{each['ratio']:.2f}"
        theirs = "" if each["theirs_us"] is None else f"{each['theirs_us']:.2f}"
        ours = "" if own else f"{each['ours_us']:.2f}"
        rows.append((what, ours, theirs, value))
    where_from = f"{where(run)}; NumPy {run['config']['numpy']}"
    return "\n\n".join(
        [
            f"The first call's time over the second's, one thread: below 1, the first is faster. "
            f"{where_from}. Medians of {run['rounds']} rounds, by "
            "`python benchmarks/overhead.py`.",
            table(["calls", "first, µs", "second, µs", "ratio"], rows),
        ]
    )


def markdown(run: Run, pictures: str | None) -> str:
    """A run's means, the rows that a peer is ahead of, and, folded, every row.

    The pictures are those in the folder `pictures`.
    """
    results, peers, means = run["results"], peers_of(run), geometric_means(run["results"])
    versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
    intro = (
        f"Geometric means over {len({r['row'] for r in results})} "
        f"layers of a peer's time over ours: above 1, we are faster. {where(run)}; "
        f"{run['config']['compiler']}; {versions}. Medians of {run['rounds']} rounds, "
        f"{run['clock']} time, by `{run['command']}`."
    )
    by_op = table(
        ["", "best of each row", *peers],
        (
            [op, *(f"{of[n]:.2f}" if n in of else "" for n in ("best", *peers))]
            for op, of in means.items()
        ),
    )
    slower = "; ".join(
        f"{r['row']} {r['op']} {to_best(r):.3f} of {r['best']}" for r in behind(results)
    )
    where_behind = (
        f"A peer is ahead (below {EQUAL}) in {len(behind(results))} of {len(results)}: {slower}."
    )
    every = table(
        ["row", "ms", "Gflop/s", "% of peak", "% of copy", *peers],
        (
            [
                f"{r['row']} {r['op']}",
                f"{r['ms']:.4g}",
                f"{r['gflops']:.3g}",
                f"{100 * r['of_peak']:.0f}",
                f"{100 * r['of_copy']:.0f}",
                *(f"{r['ratios'][n]:.2f}" if n in r["ratios"] else "" for n in peers),
            ]
            for r in results
        ),
    )
    drawn = (
        []
        if pictures is None
        else [
            f"![{text}, {title(run)}]({pictures}/{picture(run, shows)})"
            for shows, text in pictures_of(run).items()
        ]
    )
    fold = [f"<details><summary>Every row, {title(run)}</summary>", every, "</details>"]
    heading = f"## {title(run).capitalize()}"
    nobody = "No peer is ahead in any row."
    parts = [heading, intro, by_op, where_behind if slower else nobody, *drawn, *fold]
    return "\n\n".join(parts)


# --- surveys --------------------------------------------------------------------------------

#: What a survey has an entry of: with packed weights and out=, forward is a map of its own.
MAPS_SURVEYED = (*OPS, "prepared")

QUANTILES = 5, 25, 50

#: Layers are told apart by their positions, samples times output length, up to so many each.
BANDS = 10, 100, 1000

#: As those of STYLE, one for each kind of layer.
MARKS = tuple(
    zip(
        (
            *("#0072B2", "#D55E00", "#009E73", "#CC79A7"),
            *("#E69F00", "#56B4E9", "#000000", "#999999"),
        ),
        "osD^vP*X",
        strict=True,
    )
)


def survey_title(run: Run) -> str:
    return f"random layers ({run['drawn']}), {title(run)}"


def ratios_of(entries: Sequence[Result], op: str, peer: str | None = None) -> list[float]:
    """Of a map, to the best peer of each entry or to one."""
    compared = [each for each in entries if each["op"] == op and each["ratios"]]
    if peer is None:
        return [to_best(each) for each in compared]
    return [each["ratios"][peer] for each in compared if peer in each["ratios"]]


def maps_of(run: Run) -> list[str]:
    return [op for op in MAPS_SURVEYED if ratios_of(run["entries"], op)]


def share_equal(ratios: Sequence[float]) -> str:
    return f"{100 * sum(ratio >= EQUAL for ratio in ratios) / len(ratios):.1f} %"


def survey_tables(run: Run) -> str:
    """Of each map how many entries are level with the peers or ahead; the same by class."""
    entries, lines = run["entries"], {}
    for op in maps_of(run):
        against = {name: ratios_of(entries, op, name) for name in run["peers"]}
        lines[op] = ratios_of(entries, op)
        if sum(map(bool, against.values())) > 1:
            lines |= {f"{op} against {name}": found for name, found in against.items() if found}
    shares = table(
        ["", "entries", f"{EQUAL} or more", "least", *(f"{q} %" for q in QUANTILES), "mean"],
        (
            [
                name,
                str(len(ratios)),
                share_equal(ratios),
                f"{min(ratios):.2f}",
                *(f"{np.percentile(ratios, q):.2f}" for q in QUANTILES),
                f"{geometric_mean(ratios):.2f}",
            ]
            for name, ratios in lines.items()
        ),
    )
    kinds: dict[str, list[Result]] = {}
    positions: dict[str, list[Result]] = {}
    for each in entries:
        kinds.setdefault(each["kind"], []).append(each)
        band = next((most for most in BANDS if each["positions"] <= most), None)
        positions.setdefault(f"{band} or fewer" if band else "more", []).append(each)
    order = [*(f"{most} or fewer" for most in BANDS), "more"]
    bands = {band: positions[band] for band in order if band in positions}
    tables = [shares]
    for of, classes in (("kind", kinds), ("positions", bands)):
        rows = []
        for name, members in classes.items():
            found = [ratios_of(members, op) for op in maps_of(run)]
            cells = (f"{geometric_mean(r):.2f}, {share_equal(r)}" if r else "" for r in found)
            rows.append([name, *cells])
        tables.append(table([f"mean, share by {of}", *maps_of(run)], rows))
    return "\n\n".join(tables)


def worst(run: Run, most: int) -> str:
    """The entries that a peer is ahead of, the furthest first, as survey.py runs them again."""
    slower = behind(run["entries"])
    options = [f"--{name} {run[name]}" for name in ("dtype", "layout", "threads")]
    lines = [
        f"behind the best peer (below {EQUAL}): {len(slower)} of {len(run['entries'])}; again, "
        f"each: python benchmarks/survey.py {' '.join(options)} and"
    ]
    for each in slower[:most]:
        name = min(each["ratios"], key=each["ratios"].__getitem__)
        lines.append(
            f"  --row {each['row']} --ops {each['op']}  # {to_best(each):.2f} of {name}: "
            f"{each['us']:.1f} us against {each['us'] * to_best(each):.1f}; "
            f"{each['positions']} positions; {each['kind']}"
        )
    return "\n".join(lines)


def survey_in_words(run: Run) -> list[str]:
    """What the README may quote of a survey."""
    plural = "s" if run["threads"] > 1 else ""
    within = (
        f"{run['layers']} random layers, {kind(run).replace('-', ', ')}, "
        f"{run['threads']} thread{plural}"
    )
    said = [f"{within}: measured on {where(run)}."]
    for op in maps_of(run):
        ratios = ratios_of(run["entries"], op)
        names = [name for name in run["peers"] if ratios_of(run["entries"], op, name)]
        against = names[0] if len(names) == 1 else f"the fastest of {listed(names)}"
        said.append(
            f"{within}: {op} is level with {against} or ahead in {share_equal(ratios)} of them, "
            f"the geometric mean of the ratios is {geometric_mean(ratios):.2f} and the least "
            f"{min(ratios):.2f}."
        )
    return said


def survey_markdown(run: Run, pictures: str | None) -> str:
    """A survey's tables, its picture and, folded, every entry that a peer is ahead of."""
    versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
    intro = (
        f"A peer's time over ours, of {run['layers']} layers that nobody has chosen: above 1, we "
        f"are faster. forward, dx and dw are the public functions; prepared is a `PreparedConv1d` "
        f"with `out=`, beside those who pack their weights beforehand. {where(run)}; "
        f"{run['config']['compiler']}; {versions}. Medians of {run['rounds']} rounds, "
        f"{run['clock']} time, by `{run['command']}`."
    )
    parts = [f"## {survey_title(run).capitalize()}", intro, survey_tables(run)]
    if pictures is not None:
        shows = "Time of the best peer over ours against the positions of each layer"
        parts.append(f"![{shows}, {title(run)}]({pictures}/{picture(run, 'survey')})")
    slower = worst(run, len(run["entries"]))
    fold = f"<details><summary>Every entry behind a peer, {title(run)}</summary>"
    return "\n\n".join([*parts, fold, f"```\n{slower}\n```", "</details>"])


def draw_survey(run: Run, folder: Path) -> None:
    """The best peer's time over ours against the positions of a layer, a panel for each map."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    ops = maps_of(run)
    kinds = list(dict.fromkeys(each["kind"] for each in run["entries"]))
    with plt.rc_context({"font.size": 11}):
        figure, panels = plt.subplots(
            -(-len(ops) // 2),
            min(len(ops), 2),
            figsize=(11, 1 + 4 * -(-len(ops) // 2)),
            sharex=True,
            sharey=True,
            squeeze=False,
            layout="constrained",
        )
        for axes, op in zip(panels.flat, ops, strict=False):
            for kind, (colour, marker) in zip(kinds, MARKS, strict=False):
                those = [
                    each
                    for each in run["entries"]
                    if each["op"] == op and each["kind"] == kind and each["ratios"]
                ]
                axes.plot(
                    [each["positions"] for each in those],
                    [to_best(each) for each in those],
                    linestyle="",
                    marker=marker,
                    color=colour,
                    markersize=4,
                    label=kind,
                )
            axes.axhline(1, color="black", linewidth=1)
            axes.set(xscale="log", yscale="log", title=op)
            axes.yaxis.set_major_formatter("{x:g}")
            axes.grid(alpha=0.3)
        for axes in panels.flat[len(ops) :]:
            axes.set_visible(False)
        for axes in panels[-1]:
            axes.set_xlabel("positions that each weight meets: samples × output length")
        for axes in panels[:, 0]:
            axes.set_ylabel("time of the best peer / of cconv1d")
        figure.suptitle(f"{survey_title(run)}; {where(run)}", fontsize=11)
        handles, labels = panels.flat[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(kinds))
        figure.savefig(folder / picture(run, "survey"), dpi=150)
        plt.close(figure)


# --- methods --------------------------------------------------------------------------------

#: Whom methods.py compares: our own methods, their peers, and transforms as users write them.
OUR_METHODS = ("direct", "fft", "fast")
METHODS_SHOWN = (
    *OUR_METHODS,
    *("torch", "onnxruntime", "openvino", "torch.fft", "scipy.fft"),
)


def methods_title(run: Run) -> str:
    plural = "s" if run["threads"] > 1 else ""
    return f"dense layers by each method, {run['dtype']}, {run['threads']} thread{plural}"


def fastest_of(found: Result) -> str:
    return max(found["gflops"], key=found["gflops"].__getitem__)


def other_method(found: Result) -> str:
    """The faster of our methods that are not "direct"."""
    return max(OUR_METHODS[1:], key=lambda name: found["gflops"].get(name, 0))


def grid(run: Run, op: str) -> dict[tuple[int, int], Result]:
    """What was measured of a map, by channels and taps."""
    return {(each["channels"], each["taps"]): each for each in run["rates"] if each["op"] == op}


def channels_of(run: Run) -> list[int]:
    return sorted({each["channels"] for each in run["rates"]})


def gains_from(found: dict[tuple[int, int], Result], channels: int) -> int | None:
    """The least of the taps from which on fft is the faster of the two, if there is one."""
    least = None
    for taps in sorted((k for c, k in found if c == channels), reverse=True):
        rates = found[channels, taps]["gflops"]
        if rates["fft"] <= rates["direct"]:
            break
        least = taps
    return least


def methods_tables(run: Run) -> str:
    """Of each map, by channels and taps: direct over another method, the best peer over ours."""
    tables = []
    for op in (op for op in OPS if grid(run, op)):
        found = grid(run, op)
        taps = sorted({k for _, k in found})
        rows = []
        for channels in channels_of(run):
            cells = []
            for k in taps:
                rates, other = found[channels, k]["gflops"], other_method(found[channels, k])
                gain = rates[other] / rates["direct"]
                peers = [rate for name, rate in rates.items() if name not in OUR_METHODS]
                best = max(rates[other], rates["direct"]) / max(peers) if peers else math.nan
                chosen = "*" if found[channels, k]["auto"] == other else ""
                cells.append(f"{gain:.2f}{chosen}, {best:.2f}")
            rows.append([f"{channels} channels", *cells])
        tables.append(table([op, *(f"{k} taps" for k in taps)], rows))
    return "\n\n".join(tables)


def rates_table(run: Run) -> str:
    """The rate of everyone for every layer and map."""
    names = [n for n in METHODS_SHOWN if any(n in each["gflops"] for each in run["rates"])]
    rows = []
    for each in run["rates"]:
        cells = [f"{each['gflops'][n]:.0f}" if n in each["gflops"] else "" for n in names]
        layer = f"{each['channels']} channels, {each['taps']} taps, {each['op']}"
        rows.append([layer, *cells, fastest_of(each)])
    return table(["layer", *names, "fastest"], rows)


def methods_in_words(run: Run) -> list[str]:
    said = [f"Methods were measured on {where(run)}."]
    for op in (op for op in OPS if grid(run, op)):
        found = grid(run, op).values()
        gains = [each["gflops"][other_method(each)] / each["gflops"]["direct"] for each in found]
        wins = sum(gain > 1 for gain in gains)
        ours = sum(fastest_of(each) in OUR_METHODS for each in found)
        said.append(
            f"{methods_title(run).capitalize()}, {op}: fft or fast is faster than direct in {wins} "
            f"of {len(gains)}, by {max(gains):.1f} at most; the fastest of them is ahead of all "
            f"peers in {ours}."
        )
        fast = [each for each in found if "fast" in each["gflops"]]
        if fast:
            each_gain = (
                f"{each['gflops']['fast'] / each['gflops']['direct']:.2f} with {each['channels']}"
                for each in fast
            )
            said.append(
                f"{methods_title(run).capitalize()}, {op}: with 3 taps direct takes the time of "
                f"fast times {listed(list(each_gain))} channels."
            )
        least = {channels: gains_from(grid(run, op), channels) for channels in channels_of(run)}
        said.append(
            f"{methods_title(run).capitalize()}, {op}: fft is faster than direct with "
            f"{listed([f'{c} channels from {k} taps on' for c, k in least.items() if k])}."
        )
    return said


def methods_markdown(run: Run, pictures: str | None) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
    parts = [
        f"## {methods_title(run).capitalize()}",
        f"As many channels in as out, {run['length']} samples. In a cell the time of direct over "
        "that of the faster of fft and, for 3 taps, fast, with * where auto takes it, and the time "
        "of the fastest peer over that of the fastest of ours: above 1, ours is faster. torch.fft "
        "and scipy.fft are blocks that overlap, as a user writes them. ONNX Runtime and OpenVINO "
        "have packed their weights beforehand; nobody else has, and fft and fast transform them in "
        "every call. "
        f"{where(run)}; {run['config']['compiler']}; {versions}. Medians of {run['rounds']} "
        f"rounds, {run['clock']} time, by `{run['command']}`.",
        methods_tables(run),
    ]
    if pictures is not None:
        name = f"methods-{run['threads']}.png"
        parts.append(f"![Rate of each method against taps and channels]({pictures}/{name})")
    fold = f"<details><summary>Every rate, {methods_title(run)}</summary>"
    about = "Gflop/s of a direct sum that would take as long."
    return "\n\n".join([*parts, fold, about, rates_table(run), "</details>"])


def draw_methods(run: Run, folder: Path) -> None:
    """A panel for each map and number of channels: the rate of everyone against taps."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    ops = [op for op in OPS if grid(run, op)]
    channels = channels_of(run)
    with plt.rc_context({"font.size": 11}):
        figure, panels = plt.subplots(
            len(ops),
            len(channels),
            figsize=(1 + 2.6 * len(channels), 1.2 + 2.8 * len(ops)),
            sharex=True,
            sharey=True,
            squeeze=False,
            layout="constrained",
        )
        for row, op in zip(panels, ops, strict=True):
            row[0].set_ylabel(f"{op}: Gflop/s")
            found = grid(run, op)
            for axes, c in zip(row, channels, strict=True):
                for name, (colour, marker) in zip(METHODS_SHOWN, MARKS, strict=True):
                    points = [
                        (k, each["gflops"][name])
                        for (of, k), each in sorted(found.items())
                        if of == c and name in each["gflops"]
                    ]
                    if points:
                        axes.plot(
                            *zip(*points, strict=True),
                            color=colour,
                            marker=marker,
                            markersize=4,
                            linewidth=2 if name in OUR_METHODS else 0.8,
                            label=name,
                        )
                axes.set(xscale="log", yscale="log")
                taps = sorted({k for of, k in found if of == c})
                axes.set_xticks(taps, map(str, taps), fontsize=8)
                axes.xaxis.set_minor_locator(plt.NullLocator())
                axes.grid(alpha=0.3)
        for axes, c in zip(panels[0], channels, strict=True):
            axes.set_title(f"{c} channels")
        for axes in panels[-1]:
            axes.set_xlabel("taps")
        figure.suptitle(f"{methods_title(run)}; {where(run)}", fontsize=11)
        labels = {
            label: handle
            for axes in panels.flat
            for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        figure.legend(labels.values(), labels, loc="outside lower center", ncols=len(labels))
        figure.savefig(folder / f"methods-{run['threads']}.png", dpi=120)
        plt.close(figure)


# --- networks -------------------------------------------------------------------------------

#: What a network is timed at, and what each is called.
TASKS = {"inference": "inference", "training": "a training step"}


def network_ratios(run: Run, task: str, column: str) -> list[float]:
    return [row[task][column]["ratio"] for row in run["networks"] if column in row[task]]


def network_tables(run: Run) -> str:
    """PyTorch's milliseconds, and its time over that of each column."""
    tables = []
    for task in TASKS:
        columns = [name for name in run["columns"] if network_ratios(run, task, name)]
        rows = [
            [
                row["network"],
                f"{row['convolutions']:.0%}",
                f"{row[task]['torch']['seconds'] * 1e3:.1f}",
                *(f"{row[task][name]['ratio']:.2f}" for name in columns),
            ]
            for row in run["networks"]
        ]
        means = [geometric_mean(network_ratios(run, task, name)) for name in columns]
        rows.append(["geometric mean", "", "", *(f"{mean:.2f}" for mean in means)])
        tables.append(table([task, "convolutions", "PyTorch, ms", *columns], rows))
    return "\n\n".join(tables)


def networks_in_words(run: Run) -> list[str]:
    plural = "s" if run["threads"] > 1 else ""
    said = []
    for column in run["columns"]:
        found = {task: network_ratios(run, task, column) for task in TASKS}
        parts = [
            f"{TASKS[task]} {geometric_mean(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            for task, ratios in found.items()
            if ratios
        ]
        ours = "" if column == "onnxruntime" else "cconv1d's layers, "
        said.append(f"{ours}{column}: {listed(parts)}")
    return [
        f"Networks, {run['threads']} thread{plural}: measured on {where(run)}.",
        f"{len(run['networks'])} networks in PyTorch, {run['threads']} thread{plural}, PyTorch's "
        f"time over that of {'; '.join(said)}.",
    ]


def networks_markdown(run: Run, pictures: str | None) -> str:
    plural = "s" if run["threads"] > 1 else ""
    versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
    kept = any("frozen" in column for column in run["columns"])
    frozen = ", frozen those that keep packed weights" if kept else ""
    parts = [
        f"## Networks in PyTorch, {run['threads']} thread{plural}",
        f"PyTorch's time over that of a column: above 1, the column is faster. direct and auto are "
        f"cconv1d's layers by that method{frozen}; convolutions is the share of PyTorch's "
        f"inference that its convolutions take. {where(run)}; {versions}. Medians of "
        f"{run['rounds']} rounds, by "
        f"`{run['command']}`.",
    ]
    if pictures is not None:
        name = f"networks-{run['threads']}.png"
        parts.append(f"![PyTorch's time over each column's]({pictures}/{name})")
    return "\n\n".join([*parts, network_tables(run)])


def draw_networks(run: Run, folder: Path) -> None:
    """A bar for each network and column, inference and training beside each other."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    names = [row["network"] for row in run["networks"]]
    with plt.rc_context({"font.size": 11}):
        figure, panels = plt.subplots(1, 2, figsize=(11, 5), sharey=True, layout="constrained")
        for axes, task in zip(panels, TASKS, strict=True):
            height = 0.8 / len(run["columns"])
            for number, column in enumerate(run["columns"]):
                if network_ratios(run, task, column):
                    places = (
                        np.arange(len(names)) + (number - len(run["columns"]) / 2 + 0.5) * height
                    )
                    axes.barh(
                        places,
                        network_ratios(run, task, column),
                        height,
                        color=MARKS[number][0],
                        label=column,
                    )
            axes.axvline(1, color="black", linewidth=1)
            axes.set_yticks(range(len(names)), names)
            axes.set(title=TASKS[task], xlabel="PyTorch's time / time")
            axes.grid(alpha=0.3, axis="x")
        panels[0].invert_yaxis()
        plural = "s" if run["threads"] > 1 else ""
        figure.suptitle(f"{run['threads']} thread{plural}; {where(run)}", fontsize=11)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
        figure.savefig(folder / f"networks-{run['threads']}.png", dpi=120)
        plt.close(figure)


# --- streams --------------------------------------------------------------------------------


#: A longer table is folded.
MOST_SHOWN = 10


def pushes_of(run: Run) -> dict[str, list[Result]]:
    """The rows of each table."""
    tables: dict[str, list[Result]] = {}
    for each in run["pushes"]:
        tables.setdefault(each["table"], []).append(each)
    return tables


def pushed_ratios(rows: Sequence[Result]) -> dict[str, list[float]]:
    """Of each that ours is compared with, where it was timed."""
    names = dict.fromkeys(name for row in rows for name in row["ratios"])
    return {n: [row["ratios"][n] for row in rows if n in row["ratios"]] for n in names}


def streams_in_words(run: Run) -> list[str]:
    said = [f"Streams were measured on {where(run)}."]
    for title, rows in pushes_of(run).items():
        found = [
            f"{name} takes {geometric_mean(ratios):.2f} times ({min(ratios):.2f} to "
            f"{max(ratios):.2f})"
            for name, ratios in pushed_ratios(rows).items()
        ]
        if found:
            found[0] = found[0].replace("times", f'times as long as "{rows[0]["ours"]}"')
            said.append(f"{title}, 1 thread, geometric means over {len(rows)}: {listed(found)}.")
    return said


def streams_markdown(run: Run) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
    parts = [
        "## Streams",
        "Times in µs, and those of others over ours, which is named in the head: above 1, ours is "
        "faster. whole is our call on a signal of many chunks, for one of them; PyTorch joins the "
        "samples before and the chunk; onnxruntime is its operator CausalConvWithState; "
        "oaconvolve gets the samples before the chunk and transforms the kernel in every call. "
        f"Float32, 1 thread. {where(run)}; {versions}. Medians of {run['rounds']} rounds, "
        f"{run['clock']} time, by `{run['command']}`.",
    ]
    for title, rows in pushes_of(run).items():
        columns = list(dict.fromkeys(name for row in rows for name in row["us"]))
        others = list(pushed_ratios(rows))
        ours = rows[0]["ours"]
        cells = [
            [
                row["row"],
                *(f"{row['us'][n]:.2f}" if n in row["us"] else "" for n in columns),
                *(f"{row['ratios'][n]:.2f}" if n in row["ratios"] else "" for n in others),
            ]
            for row in rows
        ]
        shown = table([title, *columns, *(f"{name} / {ours}" for name in others)], cells)
        fold = [f"<details><summary>{title}: all {len(rows)}</summary>", shown, "</details>"]
        parts += fold if len(rows) > MOST_SHOWN else [shown]
    return "\n\n".join(parts)


# --- accuracy -------------------------------------------------------------------------------

#: Whose errors ours are held against.
THEIRS = "torch"


def error_ratios(found: Result, method: str) -> tuple[float, float]:
    """The largest and the mean error of a method over theirs; NaN where either has none."""
    largest, mean = (
        found[which].get(method, math.nan) / (found[which][THEIRS] or math.nan)
        for which in ("max", "mean")
    )
    return largest, mean


def accuracy_tables(run: Run) -> str:
    """By map, method and kind of data the median and the worst layer, then every layer."""
    data = list(dict.fromkeys(each["data"] for each in run["errors"]))
    ops = [op for op in OPS if any(each["op"] == op for each in run["errors"])]
    found: dict[tuple[str, str], dict[str, Result]] = {}
    for each in run["errors"]:
        found.setdefault((each["op"], each["data"]), {})[each["row"]] = each
    summed = []
    for op in ops:
        for place, which in enumerate(("largest", "mean")):
            for method in run["methods"]:
                ratios = [
                    [error_ratios(each, method)[place] for each in found[op, kind].values()]
                    for kind in data
                ]
                if not np.isnan(ratios).all():
                    cells = (
                        f"{np.nanmedian(those):.2f}, {np.nanmax(those):.2f}" for those in ratios
                    )
                    summed.append([f"{op}, {method}, {which} error", *cells])
    layers = [
        [
            f"{row} {op}, {method}",
            *(
                ", ".join(f"{ratio:.2f}" for ratio in error_ratios(found[op, kind][row], method))
                for kind in data
            ),
        ]
        for row in dict.fromkeys(each["row"] for each in run["errors"])
        for op in ops
        for method in run["methods"]
        if method in found[op, data[0]][row]["max"]
    ]
    return "\n\n".join(
        [
            table(["median, worst layer", *data], summed),
            table(["largest error, mean error", *data], layers),
        ]
    )


def accuracy_in_words(run: Run) -> list[str]:
    """What the README may quote of the errors."""
    said = [f"Rounding errors were measured on {where(run)}."]
    for method in run["methods"]:
        by = "" if method == "direct" else f', method "{method}"'
        for op in OPS:
            pairs = [
                error_ratios(each, method)
                for each in run["errors"]
                if each["op"] == op and each["data"] == "normal" and method in each["max"]
            ]
            if pairs:
                largest, mean = np.array(pairs).T
                said.append(
                    f"Rounding errors of {op}{by}, float32, normal data: the largest is "
                    f"{np.median(largest):.2f} of PyTorch's and the mean {np.median(mean):.2f} "
                    f"(medians over {len(pairs)} layers; {largest.max():.2f} and "
                    f"{mean.max():.2f} at most)."
                )
    return said


def accuracy_markdown(run: Run) -> str:
    return "\n\n".join(
        [
            "## Accuracy",
            "The error of each of our methods over PyTorch's, all in float32 and held against the "
            "sums in float64: below 1, ours is smaller. x and dy are normal numbers, those that "
            "are positive and zeros, normal numbers around 100, or the exponentials of normal "
            "numbers times 3; weights are "
            f"normal. Of {run['draws']} draws, by `{run['command']}`. {where(run)}; PyTorch "
            f"{run['versions'][THEIRS]}.",
            accuracy_tables(run),
        ]
    )


# --- bounds ---------------------------------------------------------------------------------


def of_bounds(closest: Sequence[Result]) -> str:
    """The largest error of a map on a kind of data, as a part of its bound."""
    parts = {(each["op"], each["data"]): each["part"] for each in closest}
    data = list(dict.fromkeys(kind for _, kind in parts))
    return table(
        ["", *data],
        (
            [op, *(f"{parts[op, kind]:.2f}" for kind in data)]
            for op in OPS
            if (op, data[0]) in parts
        ),
    )


def bounds_in_words(run: Run) -> list[str]:
    nearest = max(each["part"] for each in run["closest"])
    return [
        f'Errors of method "{run["method"]}" were held against their bound on {where(run)}.',
        f'Method "{run["method"]}" in {run["layers"]} random layers, forward, dx and dw: of '
        f"{3 * run['layers']} results {run['beyond']} are beyond the bound of their errors; the "
        f"nearest comes to {nearest:.2f} of it.",
        f'Method "{run["method"]}" with NaN and infinities in {run["placements"]} random layers: '
        f"of {3 * run['placements']} results {run['wrong']} are spoiled where no sum holds one, or "
        "are not where one does.",
    ]


def bounds_markdown(run: Run) -> str:
    return "\n\n".join(
        [
            f"## Errors of method {run['method']} within their bound",
            "The largest error as a part of [its bound](methods.md#errors), over all results of "
            f"{run['layers']} random layers: of normal numbers (normal), of those that are "
            "positive and zeros (relu), of 1 ± 0.01 (offset), and of numbers of 12 orders of "
            f"magnitude (wide). By `{run['command']}`. {where(run)}.",
            of_bounds(run["closest"]),
        ]
    )


#: How the page begins; the test of the documentation runs the command that it names.
OPENING = f"""# Performance

<!-- Written by `python benchmarks/report.py --write` from benchmarks/results: do not edit. -->

Written by `python benchmarks/report.py --write` from what the scripts in `benchmarks` measured.
[How it is measured](../benchmarks/README.md), and against whom. A ratio from {EQUAL} on counts as
equal.

## Summary"""


#: What the results of a script have, and what is said of them.
KINDS: dict[str, Callable[[Run], list[str]]] = {
    "results": in_words,
    "rates": methods_in_words,
    "entries": survey_in_words,
    "networks": networks_in_words,
    "pushes": streams_in_words,
    "errors": accuracy_in_words,
    "closest": bounds_in_words,
    "rows": small_calls_in_words,
}


def summary(found: Sequence[Run]) -> list[list[str]]:
    """Of each run what other pages may quote: where it was, and then what it says."""
    return [say(run) for what, say in KINDS.items() for run in found if what in run]


def page(found: Sequence[Run], pictures: str | None) -> str:
    """The whole of docs/performance.md, of what the scripts wrote."""
    runs, methods, surveys, networks, streams, accuracies, bounds, calls = (
        [run for run in found if what in run] for what in KINDS
    )
    parts = [OPENING]
    parts += ["\n".join(f"- {said}" for said in sentences) for sentences in summary(found)]
    parts += [markdown(run, pictures) for run in runs]
    if (both := layouts(runs)) is not None:
        parts += ["## Channels first and channels last", "The same layers in both layouts.", both]
    parts += [methods_markdown(run, pictures) for run in methods]
    parts += [survey_markdown(run, pictures) for run in surveys]
    parts += [networks_markdown(run, pictures) for run in networks]
    parts += map(streams_markdown, streams)
    parts += [*map(accuracy_markdown, accuracies), *map(bounds_markdown, bounds)]
    for run in calls:
        parts += ["## Small calls", small_calls(run)]
    return "\n\n".join(parts) + "\n"


#: In a page of others: a list of what the summary says that begins so.
QUOTE = re.compile(r"(<!-- measured: (.+?) -->\n)(?:(?:- |  ).*\n)*")


def quoting(text: str, said: Sequence[Sequence[str]]) -> str:
    """A page with the summary's sentences below its marks, after where they were measured."""

    def quote(mark: re.Match[str]) -> str:
        lines = []
        for where_from, *rest in said:
            if found := [each for each in rest if each.startswith(mark[2])]:
                lines += [where_from, *found]
        if not lines:
            raise SystemExit(f"nothing measured begins with: {mark[2]}")
        fill = TextWrapper(100, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False)
        return mark[1] + "".join(f"{fill.fill(line)}\n" for line in lines)

    return QUOTE.sub(quote, text)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "files",
        nargs="*",
        type=Path,
        help="written by a script here with --json; without any, those in results/",
    )
    parser.add_argument("--plots", type=Path, metavar="DIR", help="draw pictures of each")
    parser.add_argument(
        "--write",
        action="store_true",
        help="write docs/performance.md of those in results/, and what other pages quote of it",
    )
    parser.add_argument(
        "--targets", action="store_true", help="print the targets of every row instead"
    )
    options = parser.parse_args()
    if options.write and options.files:
        parser.error("--write is for the files in results/, without others")
    files = options.files or [path for path in RESULTS if path.is_file()]
    found = [json.loads(path.read_text("utf-8")) for path in files]
    if options.plots:
        for run in found:
            if "results" in run:
                draw(run, options.plots)
            elif "rates" in run:
                draw_methods(run, options.plots)
            elif "entries" in run:
                draw_survey(run, options.plots)
            elif "networks" in run:
                draw_networks(run, options.plots)
    if options.targets:
        print("\n".join(target_table(run) for run in found if "results" in run))
        return 0
    kept = None if options.files else PICTURES.name
    text = page(found, kept)
    if options.write:
        PAGE.write_text(text, "utf-8")
        for path in QUOTING:
            path.write_text(quoting(path.read_text("utf-8"), summary(found)), "utf-8")
    else:
        sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
