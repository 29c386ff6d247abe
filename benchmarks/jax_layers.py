"""Layers in JAX, computed by its own convolution or by cconv1d, both compiled by `jax.jit`.

    python benchmarks/jax_layers.py [--threads N] [--only GLOB ...] [--rounds N] [--json FILE]

The layers are those of workloads.csv, in float32, and a small one whose time is what a call costs
besides arithmetic. Timed are the output, and both gradients in one compiled function, of arrays
that JAX has made. Times are medians of rounds in which the columns take turns, ratios medians of
those within a round: above 1, cconv1d is faster. Where a call takes longer than 2 seconds, as JAX's
gradient of the weights of many groups does, the columns are timed once.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from math import exp, log
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import lax
from measure import interleave, machine, settle
from workloads import Row, cases, read_rows

import cconv1d
from cconv1d.jax import conv1d

#: Seconds that a call may take to be repeated.
LONG = 2.0

SMALL = Row("2 x 3 x 16", 2, 3, 16, 4, 3, 1, 1, 1, 0)


def theirs(x: Any, w: Any, row: Row) -> Any:
    return lax.conv_general_dilated(
        x,
        w,
        (row.stride,),
        [(row.padding, row.padding)],
        rhs_dilation=(row.dilation,),
        feature_group_count=row.groups,
    )


def ours(x: Any, w: Any, row: Row) -> Any:
    return conv1d(x, w, None, row.stride, row.padding, row.dilation, row.groups)


def gradients(function: Callable[..., Any], dy: Any, x: Any, w: Any) -> Any:
    return jax.vjp(function, x, w)[1](dy)


def measure(row: Row, rounds: int) -> dict[str, dict[str, float]]:
    """Seconds and the ratio, for the output and for the gradients."""
    (case,) = cases([row], ["forward"])
    x, w = jax.device_put((case.x, case.w))
    dy = jax.block_until_ready(theirs(x, w, row))
    found = {}
    for name, arrays in (("output", (x, w)), ("gradients", (dy, x, w))):
        calls: dict[str, Callable[[], Any]] = {}
        results: list[list[Any]] = []
        once: dict[str, float] = {}
        for column, function in (("JAX", theirs), ("cconv1d", ours)):
            layer = partial(function, row=row)
            step = jax.jit(layer if name == "output" else partial(gradients, layer))
            calls[column] = lambda step=step, arrays=arrays: jax.block_until_ready(step(*arrays))
            step.lower(*arrays).compile()
            start = time.perf_counter()
            results.append(jax.tree.leaves(calls[column]()))
            once[column] = time.perf_counter() - start
        for a, b in zip(*results, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-3 * float(abs(a).max()))
        if max(once.values()) > LONG:
            found[name] = {**once, "ratio": once["JAX"] / once["cconv1d"]}
            continue
        if row is SMALL:
            if name == "output":
                calls["NumPy's"] = partial(
                    cconv1d.conv1d, case.x, case.w, None, row.stride, row.padding, row.dilation
                )
                calls["cconv1d, no jit"] = lambda: ours(x, w, row)
                calls["JAX, no jit"] = lambda: theirs(x, w, row)
            nothing = jax.jit(lambda x: x + 1)
            calls["jit of x + 1"] = lambda nothing=nothing: jax.block_until_ready(nothing(x))
        seconds = interleave(calls, rounds)
        found[name] = {column: float(np.median(times)) for column, times in seconds.items()}
        found[name]["ratio"] = float(np.median(seconds["JAX"] / seconds["cconv1d"]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="+", default=["*"], metavar="GLOB", help="names of layers")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    settle(options.threads)
    jax.config.update("jax_platforms", "cpu")
    # a call is timed until its result is there, and otherwise waits for another thread
    jax.config.update("jax_cpu_enable_async_dispatch", False)

    config = cconv1d.show_config("dicts")
    print(
        f"{machine()}, {config['instruction_set']}, {options.threads} thread(s), float32, "
        f"JAX {jax.__version__}, cconv1d {cconv1d.__version__}, {options.rounds} rounds"
    )
    small = measure(SMALL, options.rounds)
    for name, columns in small.items():
        print(f"\n{SMALL.name}, {SMALL.kernel_size} taps, {name}, µs")
        for column, seconds in columns.items():
            if column != "ratio":
                print(f"  {column:16} {seconds * 1e6:8.1f}")

    print(f"\n{'ms':16} {'output':>30} {'gradients':>30}")
    print(f"{'':16} " + " ".join(f"{'JAX':>10} {'cconv1d':>10} {'ratio':>8}" for _ in range(2)))
    results = {}
    for row in read_rows(options.only):
        results[row.name] = found = measure(row, options.rounds)
        print(
            f"{row.name:16} "
            + " ".join(
                f"{part['JAX'] * 1e3:10.3f} {part['cconv1d'] * 1e3:10.3f} {part['ratio']:8.2f}"
                for part in found.values()
            ),
            flush=True,
        )
    for name in ("output", "gradients"):
        ratios = [found[name]["ratio"] for found in results.values()]
        mean = exp(sum(map(log, ratios)) / len(ratios))
        print(
            f"{name}: geometric mean {mean:.2f}, median {np.median(ratios):.2f}, "
            f"least {min(ratios):.2f}"
        )
    if options.json:
        conditions = {
            "machine": machine(),
            "threads": options.threads,
            "isa": config["instruction_set"],
        }
        document = {**conditions, "jax": jax.__version__, "small": small, "layers": results}
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
