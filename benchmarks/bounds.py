"""Hold a method against its bound in random layers, and see what NaN and infinities reach.

The bounds are those of docs/methods.md, block by block.  ``python benchmarks/bounds.py --help``
lists the options; the exit status is 1 if anything was beyond its bound or reached what it should
not.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from datetime import date
from math import gcd
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from compare import command, progress, save
from measure import machine
from report import of_bounds
from survey import log_uniform
from workloads import OPS, PAD_MODES, Array

import cconv1d
from cconv1d import _methods
from cconv1d._geometry import FAST_TAPS

#: What x, w and dy are, of normal numbers.
DATA: dict[str, Callable[[np.random.Generator, Array], Array]] = {
    "normal": lambda draw, numbers: numbers,
    "relu": lambda draw, numbers: numbers.clip(0),
    "offset": lambda draw, numbers: 1 + numbers / 100,
    "wide": lambda draw, numbers: numbers * 10.0 ** draw.integers(-6, 6, numbers.shape),
}

#: What is computed in, and what it is held against.
DTYPES = {"float32": "float64", "complex64": "complex128"}

#: The most multiply-adds of a layer.
PRODUCTS = 2**21


class Layer(NamedTuple):
    batch: int
    groups: int
    channels: int  # of a group
    outs: int
    length: int
    taps: int
    stride: int
    dilation: int
    left: int
    right: int
    mode: str

    @property
    def options(self) -> dict[str, Any]:
        return {
            "stride": self.stride,
            "padding": (self.left, self.right),
            "dilation": self.dilation,
            "groups": self.groups,
            "padding_mode": self.mode,
        }

    @property
    def positions(self) -> int:
        padded = self.length + self.left + self.right
        return (padded - self.dilation * (self.taps - 1) - 1) // self.stride + 1

    @property
    def shapes(self) -> tuple[tuple[int, int, int], ...]:
        """Of x, w and dy."""
        outs = self.groups * self.outs
        return (
            (self.batch, self.groups * self.channels, self.length),
            (outs, self.channels, self.taps),
            (self.batch, outs, self.positions),
        )

    @property
    def period(self) -> int:
        """Taps so far apart meet samples of the same residue modulo the stride."""
        return self.stride // gcd(self.stride, self.dilation)

    @property
    def step(self) -> int:
        """The dilation of the signals that a stride makes of a channel."""
        return self.dilation // gcd(self.stride, self.dilation)

    def residue_taps(self, residue: int) -> int:
        return -(-(self.taps - residue) // self.period)

    @property
    def residues(self) -> int:
        return min(self.period, self.taps)


def drawn(draw: np.random.Generator, method: str) -> Layer:
    while True:
        taps = log_uniform(draw, 1, 300) if draw.random() < 0.95 else int(draw.integers(500, 1500))
        channels, outs = log_uniform(draw, 1, 140), log_uniform(draw, 1, 140)
        if draw.random() < 0.1:  # short blocks of one channel, whose errors come nearest
            taps = int(draw.integers(1, 5))
            channels, outs = (1, log_uniform(draw, 64, 600))[:: int(draw.choice([1, -1]))]
        dilation = int(draw.choice([1, 1, 1, 2, 3, 5, 8, 40]))
        stride = int(draw.choice([1, 1, 1, 2, 3, 4, 7]))
        if method == "fast":
            period = stride // gcd(stride, dilation)
            taps = FAST_TAPS * period - int(draw.integers(period))
        span = dilation * (taps - 1)
        mode = str(draw.choice(["zeros", "zeros", "zeros", *PAD_MODES]))
        length = log_uniform(draw, 1, 4000)
        most = {"zeros": span + 3, "replicate": span, "reflect": length - 1, "circular": length}
        left, right = (int(draw.integers(0, min(most[mode], span + 3) + 1)) for _ in "lr")
        layer = Layer(
            int(draw.choice([1, 1, 2, 3])),
            int(draw.choice([1, 1, 1, 2, 3, 20])),
            channels,
            outs,
            length,
            taps,
            stride,
            dilation,
            left,
            right,
            mode,
        )
        products = layer.batch * layer.groups * layer.channels * layer.outs * taps
        if layer.positions > 0 and products * layer.positions <= PRODUCTS:
            return layer


def numbers(draw: np.random.Generator, layer: Layer, data: str, dtype: str) -> list[Array]:
    def make(shape: tuple[int, ...]) -> Array:
        values = DATA[data](draw, draw.standard_normal(shape))
        if dtype.startswith("complex"):
            values = values + 1j * DATA[data](draw, draw.standard_normal(shape))
        return values.astype(dtype)

    return [make(shape) for shape in layer.shapes]


def maps(layer: Layer, x: Array, w: Array, dy: Array, method: str) -> tuple[Array, ...]:
    options = layer.options | {"method": method}
    y = cconv1d.conv1d(x, w, **options)
    gradients = cconv1d.conv1d_backward(dy, x, w, needs=(True, True, False), **options)
    return y, gradients[0], gradients[1]


# --- the bound ------------------------------------------------------------------------------------


class Blocks(NamedTuple):
    """The blocks of some signals: numbers that begin where a result reads its first sample."""

    of: Array  # each result's
    numbers: Array  # [block][sample], of the signal


def fits_a_block(length: int, step: int, size: int, taps: int) -> bool:
    """Whether block 0 holds all samples, so that nothing of them wraps round."""
    return (length - 1) // step < size - taps + 1


def blocks_of(first: Array, step: int, size: int, taps: int, before: int, more: int = 0) -> Blocks:
    """Those of results that read their first sample at `first`, and the next `step` further.

    The block that begins `before` numbers before the array gives so many `more` results.
    """
    residue, place, hop = first % step, first // step + before, size - taps + 1
    number = np.where(place < 0, place // hop, np.maximum(place - more, 0) // hop)
    pairs, of = np.unique(np.stack([residue, number]), axis=1, return_inverse=True)
    starts = pairs[1] * hop - before + more * (pairs[1] > 0)
    return Blocks(of.reshape(-1), pairs[0][:, None] + step * (starts[:, None] + np.arange(size)))


def samples(array: Array, places: Array, mode: str = "zeros") -> Array:
    """|array| at any places along its last axis, by the padding mode beyond its ends."""
    length = array.shape[-1]
    inside = (places >= 0) & (places < length)
    if mode == "replicate":
        places, inside = places.clip(0, length - 1), True
    elif mode == "circular":
        places, inside = places % length, True
    elif mode == "reflect":
        period = max(2 * (length - 1), 1)
        places = places % period
        places, inside = np.minimum(places, period - places) % length, True
    return abs(array)[..., np.where(inside, places, 0)] * inside


def near(first: Array, step: int) -> Blocks:
    """What minimal filtering may take for a result that reads its first sample at `first`.

    A pair of results has four samples in common, which are one on either side of their three.
    """
    return Blocks(np.arange(first.size), first[:, None] + step * np.arange(-1, FAST_TAPS + 1))


def factor(method: str, block: int, summands: int, dtype: np.dtype[Any]) -> float:
    """What the sum of norms is multiplied by.

    eps · (log2(B) + 2 + √min(2·C, 128) / 2) for "fft", eps · (10 + 2·√min(C, 128)) for "fast".
    """
    parts = 2 if dtype.kind == "c" else 1
    eps = float(np.finfo(dtype).eps)
    if method == "fast":
        return parts * eps * (10 + 2 * min(parts * summands, 128) ** 0.5)
    return parts * eps * (np.log2(block) + 2 + min(2 * summands, 128) ** 0.5 / 2)


def block_size(taps: int, channels: int, outs: int, dtype: np.dtype[Any]) -> int:
    parts = 2 if dtype.kind == "c" else 1
    return 2 * _methods.block_points(taps, parts * channels, parts * outs)


def forward_bound(method: str, layer: Layer, x: Array, w: Array) -> Array:
    s, d = layer.stride, layer.dilation
    taps, signals = layer.residue_taps(0), layer.residues * layer.channels
    size = block_size(taps, signals, layer.outs, x.dtype)
    first = np.arange(layer.positions) - layer.left // s
    whole = s == 1 and layer.mode == "zeros" and fits_a_block(layer.length, layer.step, size, taps)
    if method == "fast":
        blocks = near(first, layer.step)
    else:
        blocks = blocks_of(first, layer.step, size, taps, taps - 1, whole * (taps - 1))
    x = x.reshape(layer.batch, layer.groups, layer.channels, layer.length)
    w = abs(w).reshape(layer.groups, layer.outs, layer.channels, layer.taps)
    total = 0
    for residue in range(layer.residues):
        # a block that reaches beyond the padding holds more of the same
        places = blocks.numbers * s + residue * d - layer.left % s
        largest = samples(x, places, layer.mode).max(axis=-1)
        total = total + np.einsum(
            "ngcb,goc->ngob", largest, w[..., residue :: layer.period].sum(-1)
        )
    bound = factor(method, size, signals, x.dtype) * total[..., blocks.of]
    return bound.reshape(layer.batch, -1, layer.positions)


def input_bound(method: str, layer: Layer, w: Array, dy: Array) -> Array:
    """Of what all samples and padding get; and what padding gives to the samples it repeats."""
    s, d = layer.stride, layer.dilation
    dy = dy.reshape(layer.batch, layer.groups, layer.outs, layer.positions)
    w = abs(w).reshape(layer.groups, layer.outs, layer.channels, layer.taps)
    padded = layer.length + layer.left + layer.right
    bound = np.zeros((layer.batch, layer.groups, layer.channels, padded))
    norms = np.zeros_like(bound)
    for residue in range(layer.residues):
        taps = layer.residue_taps(residue)
        size = block_size(taps, layer.outs, layer.channels, dy.dtype)
        reached = np.arange(padded)
        reached = reached[(reached - residue * d) % s == 0]
        first = (reached - residue * d) // s - layer.step * (taps - 1)
        whole = fits_a_block(layer.positions, layer.step, size, taps)
        if method == "fast":
            blocks = near(first, layer.step)
        else:
            blocks = blocks_of(first, layer.step, size, taps, taps - 1, whole * (taps - 1))
        largest = samples(dy, blocks.numbers).max(axis=-1)
        total = np.einsum("ngob,goc->ngcb", largest, w[..., residue :: layer.period].sum(-1))
        norms[..., reached] += total[..., blocks.of]
        bound[..., reached] += factor(method, size, layer.outs, dy.dtype) * total[..., blocks.of]
    inside = slice(layer.left, layer.left + layer.length)
    if layer.mode == "zeros":
        bound = bound[..., inside]
    else:
        where = np.pad(np.arange(layer.length), (layer.left, layer.right), PAD_MODES[layer.mode])
        copies = np.bincount(where, minlength=layer.length)
        sums = []
        for each in (bound, norms):
            folded = np.zeros((layer.length, *each.shape[:-1]))
            np.add.at(folded, where, np.moveaxis(each, -1, 0))
            sums.append(np.moveaxis(folded, 0, -1))
        # every sum of copies is rounded, once for each of them
        eps = np.finfo(dy.dtype).eps
        bound = sums[0] + eps / 2 * np.where(copies > 1, copies, 0) * sums[1]
    return bound.reshape(layer.batch, -1, layer.length)


def weight_bound(method: str, layer: Layer, x: Array, dy: Array) -> Array:
    if method == "fast":  # which sums it directly
        parts = 2 if x.dtype.kind == "c" else 1
        sums = cconv1d.conv1d_backward_weight(
            abs(dy).astype("d"), abs(x).astype("d"), layer.taps, **layer.options
        )
        return 8 * parts * np.finfo(x.dtype).eps * sums
    s, d = layer.stride, layer.dilation
    taps, signals = layer.residue_taps(0), layer.residues * layer.channels
    size = block_size(taps, signals, layer.outs, x.dtype)
    positions = np.arange(layer.positions)
    blocks = blocks_of(positions, layer.step, size, taps, 0)
    x = x.reshape(layer.batch, layer.groups, layer.channels, layer.length)
    dy = abs(dy).reshape(layer.batch, layer.groups, layer.outs, layer.positions)
    count = len(blocks.numbers)
    sums = np.zeros((count, *dy.shape[:-1]))
    np.add.at(sums, blocks.of, np.moveaxis(dy, -1, 0))
    bound = np.zeros((layer.groups, layer.outs, layer.channels, layer.taps))
    for residue in range(layer.residues):
        places = (blocks.numbers - layer.left // s) * s + residue * d - layer.left % s
        largest = samples(x, places, layer.mode).max(axis=-1)
        total = np.einsum("ngcb,bngo->goc", largest, sums)
        bound[..., residue :: layer.period] = total[..., None]
    bound *= factor(method, size, layer.batch * count, x.dtype)
    return bound.reshape(-1, layer.channels, layer.taps)


def bounds(method: str, layer: Layer, x: Array, w: Array, dy: Array) -> tuple[Array, Array, Array]:
    return (
        forward_bound(method, layer, x, w),
        input_bound(method, layer, w, dy),
        weight_bound(method, layer, x, dy),
    )


def approach(result: Array, exact: Array, bound: Array) -> float:
    """The largest error as a part of its bound; infinite for one without a bound, or for NaN."""
    off = abs(result - exact)
    with np.errstate(invalid="ignore", divide="ignore"):
        parts = np.where(off == 0, 0, off / bound)
    return float(np.where(np.isnan(parts), np.inf, parts).max(initial=0))


# --- what is not finite ---------------------------------------------------------------------------


def reached(layer: Layer, spoiled: list[Array]) -> list[Array]:
    """The results, of each map, whose sums hold a number that is not finite."""
    bad = [(~np.isfinite(array)).astype("f8") for array in spoiled]
    all_ones = [np.ones(array.shape) for array in spoiled]
    found = [np.zeros(1)] * 3
    for place in range(3):
        operands = [bad[i] if i == place else all_ones[i] for i in range(3)]
        sums = maps(layer, *operands, method="direct")
        takes = (0, 1), (1, 2), (0, 2)  # of x, w and dy, by map
        found = [f + s * (place in t) for f, s, t in zip(found, sums, takes, strict=True)]
    return [each > 0.5 for each in found]


def spoil(draw: np.random.Generator, arrays: list[Array]) -> tuple[list[Array], list[Array]]:
    """With one to three numbers of one array that are not finite, and with zeros for them."""
    spoiled, clean = ([array.copy() for array in arrays] for _ in range(2))
    which = int(draw.integers(3))
    for place in draw.integers(arrays[which].size, size=draw.integers(1, 4)):
        spoiled[which].reshape(-1)[place] = draw.choice([np.nan, np.inf, -np.inf])
        clean[which].reshape(-1)[place] = 0
    return spoiled, clean


# --- the run --------------------------------------------------------------------------------------


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--layers", type=int, default=10_000, help="default 10000")
    parser.add_argument(
        "--placements", type=int, default=1000, help="of NaN and infinities (default 1000)"
    )
    parser.add_argument("--method", choices=("fft", "fast"), default="fft", help="default fft")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was found")
    return parser.parse_args()


def layers(
    method: str, count: int, seed: int, what: int
) -> Iterator[tuple[np.random.Generator, Layer, str]]:
    """Each with what its numbers are drawn from, and their dtype."""
    for number in range(count):
        draw = np.random.default_rng([seed, what, number])
        yield draw, drawn(draw, method), list(DTYPES)[number % 5 == 4]


def hold_bounds(method: str, count: int, seed: int) -> tuple[int, list[dict[str, Any]]]:
    """How many results are beyond, and how near each map comes on each kind of data."""
    closest = {(op, data): 0.0 for op in OPS for data in DATA}
    beyond = 0
    for draw, layer, dtype in progress(layers(method, count, seed, 0), total=count):
        data = str(draw.choice(list(DATA)))
        arrays = numbers(draw, layer, data, dtype)
        wide = [array.astype(DTYPES[dtype]) for array in arrays]
        exact = maps(layer, *wide, method="direct")
        results = maps(layer, *arrays, method=method)
        parts = map(approach, results, exact, bounds(method, layer, *arrays))
        for op, part in zip(OPS, parts, strict=True):
            closest[op, data] = max(closest[op, data], part)
            if part > 1:
                beyond += 1
                print(f"{op} is {part:.3g} of its bound, {data}, {dtype}: {layer}")
    found = [{"op": op, "data": data, "part": part} for (op, data), part in closest.items()]
    return beyond, found


def hold_placements(method: str, count: int, seed: int) -> tuple[int, int]:
    """How many results are finite against what reaches them, or not; how many numbers are not."""
    wrong, spoils, closest = 0, 0, 0.0
    for draw, layer, dtype in progress(layers(method, count, seed, 1), total=count):
        spoiled, clean = spoil(draw, numbers(draw, layer, "normal", dtype))
        exact = maps(layer, *(array.astype(DTYPES[dtype]) for array in clean), method="direct")
        with np.errstate(invalid="ignore", over="ignore"):
            results = maps(layer, *spoiled, method=method)
        bound = bounds(method, layer, *clean)
        each = zip(OPS, results, reached(layer, spoiled), exact, bound, strict=True)
        for op, result, reach, right, most in each:
            part = approach(np.where(reach, right, result), right, most)
            closest = max(closest, part)
            spoils += int(reach.sum())
            if (np.isfinite(result) == reach).any() or part > 1:
                wrong += 1
                print(f"{op} is spoiled where it should not be, or not where it should: {layer}")
    print(
        f"{count} placements of numbers that are not finite: {spoils} results hold them, and no "
        f"other result is off by more than {closest:.3f} of its bound"
    )
    return wrong, spoils


def main() -> int:
    options = arguments()
    config = cconv1d.show_config("dicts")
    print(f'method "{options.method}", {config["backend"]} {config["instruction_set"] or ""}\n')
    beyond, closest = hold_bounds(options.method, options.layers, options.seed)
    print(f"largest error / bound\n{of_bounds(closest)}")
    print(f"beyond their bound: {beyond} of {3 * options.layers}\n")
    wrong, spoiled = hold_placements(options.method, options.placements, options.seed)
    print(f"wrong: {wrong} of {3 * options.placements}")
    if options.json:
        run = {
            "command": command("bounds.py", sys.argv[1:]),
            "date": date.today().isoformat(),
            "machine": machine(),
            "config": config,
            "method": options.method,
            "layers": options.layers,
            "beyond": beyond,
            "placements": options.placements,
            "wrong": wrong,
            "spoiled": spoiled,
            "closest": closest,
        }
        save(run, "closest", options.json)
    return int(beyond + wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
