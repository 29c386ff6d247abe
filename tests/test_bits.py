"""The bits of results, which every processor with a fused multiply-add has alike.

``bits.txt`` holds a digest of each result of the cases below.  All instruction sets but the
baseline of x86 have to agree with it, on whatever machine the tests run: avx2 here, neon there.
It changes where the order of a sum does, and then on purpose, by

    python tests/test_bits.py > tests/bits.txt
"""

from __future__ import annotations

import sys
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pytest
from support import BATCHES, DILATIONS, MAPS, STRIDES, TAPS, Case
from test_kernels import LARGE, fused, workload

import cconv1d
from cconv1d import conv1d, conv1d_backward, conv_transpose1d

TABLE = Path(__file__).with_name("bits.txt")
RESULTS = (*MAPS, "transposed")

# Up to 12 rows are one tile, and its vectors differ; 13 and more are shared out.
HEIGHTS = (*range(1, 14), 17, 24, 25)
LAYERS = ("resnet1d-64", "whisper-stem2", "tcn-d8", "m5-k80-s4", "hifigan-k7-out", "basset-k19")
BLOCKS = ("many channels", "many taps, strided", "many channels and taps", "many outputs", "long")
CASES = {
    **{f"rows {k}": Case(2, 1, 3, k, 90, 5, 1, 2, 1) for k in HEIGHTS},
    **{f"rows {k} of phases": Case(2, 1, k, 2 * k, 70, 7, 3, 3, 2) for k in (1, 2, 5, 6, 7, 12)},
    # few terms of one row, all positions at once; then runs of terms that share samples
    **{f"taps {k}, depthwise": Case(2, 5, 1, 1, 77, k, 1, k // 2, 1) for k in TAPS[:9]},
    **{f"taps 40, every {d}": Case(1, 1, 2, 1, 700, 40, 1, "same", d) for d in DILATIONS},
    **{f"stride {s}": Case(BATCHES[-1], 2, 4, 3, 150, 9, s, "same", 1) for s in STRIDES},
    # lanes along positions where either side has fewer than 8 rows, a range of 2048 at once
    **{f"positions {p}": Case(1, 1, 3, 3, p, 4, 1, "causal", 2) for p in (15, 16, 17, 1000, 4500)},
    **{f"{k} taps": Case(1, 1, 9, 10, 600, k, 1, "same", 3) for k in (1, 15, 29)},
    **{mode: Case(2, 1, 5, 9, 60, 8, 2, 40, 3, mode) for mode in ("reflect", "replicate")},
    "circular": Case(2, 3, 2, 1, 60, 8, 1, 40, 3, "circular"),
    # lanes along channels
    "short, depthwise": Case(3, 40, 1, 1, 41, 7, 2, 3, 1),
    "one short sample, depthwise": Case(1, 40, 1, 1, 30, 5, 1, "same", 2),
    "steps, depthwise": Case(50, 32, 1, 1, 4, 4, 1, 0, 1),
    "many taps and few positions, depthwise": Case(2, 17, 1, 1, 70, 200, 1, 130, 1),
    **{name: workload(name) for name in LAYERS},
    **{name: LARGE[name] for name in BLOCKS},
}
NOT_FINITE = {
    "NaN and Inf": Case(2, 1, 9, 13, 300, 6, 2, 3, 2),
    "NaN and Inf, few rows": Case(2, 1, 3, 2, 900, 5, 1, 2, 1),
}
CASES |= NOT_FINITE
OTHERS = (
    "rows 6",
    "rows 7 of phases",
    "short, depthwise",
    "taps 40, every 8",
    "stride 4",
    "positions 1000",
    "reflect",
)


def dtypes(name):
    """The dtypes in which a case has digests."""
    return ("f", "d", "F", "D", "e", "bfloat16") if name in OTHERS else ("f", "d")


def numbers(case, dtype):
    """x, w, b and dy, the same on every machine: random integers, and arithmetic that is exact."""
    source = np.random.PCG64(0)  # NumPy promises not to change its stream

    def draw(shape):
        parts = (source.random_raw((*shape, 2)) >> 11) * 2.0**-52 - 1
        return parts[..., 0] + 1j * parts[..., 1] if dtype.kind == "c" else parts[..., 0]

    return [draw(shape).astype(dtype) for shape in case.shapes()]


def digest(array):
    """Of its bits, but those of a NaN, which processors choose as they like."""
    parts = array.view(array.real.dtype) if array.dtype.kind == "c" else array
    with np.errstate(invalid="ignore"):
        parts = np.where(np.isnan(parts), np.array(np.nan, parts.dtype), parts)
    integers = np.ascontiguousarray(parts).view(f"<u{parts.dtype.itemsize}")
    return blake2b(integers.tobytes(), digest_size=4).hexdigest()


def results(name, dtype):
    """A line of the table."""
    case = CASES[name]
    if dtype == "bfloat16":
        dtype = pytest.importorskip("ml_dtypes").bfloat16
    x, w, b, dy = numbers(case, np.dtype(dtype))
    if name in NOT_FINITE:
        x[0, 0, 100], w[1, 1, 1], dy[-1, 0, 50] = np.inf, np.nan, -np.inf
    with np.errstate(invalid="ignore", over="ignore"):
        y = conv1d(x, w, b, **case.options)
        gradients = conv1d_backward(dy, x, w, **case.options)
        options = case.options | {"padding": 0}
        del options["padding_mode"]
        wide = conv_transpose1d(dy, w, x[0, : case.groups * case.channels, 0].copy(), **options)
    return " ".join(digest(array) for array in (y, *gradients, wide))


LINES = [f"{name} {dtype}" for name in CASES for dtype in dtypes(name)]


@pytest.fixture(scope="module")
def table():
    return dict(line.split(": ") for line in TABLE.read_text(encoding="ascii").splitlines())


def test_the_table_is_complete(table):
    assert list(table) == LINES


@pytest.mark.parametrize("line", LINES)
def test_every_fused_instruction_set_has_these_bits(each_native, table, line):
    found = each_native(lambda: results(*line.rsplit(" ", 1)))
    levels = fused(found)
    if not levels:
        pytest.skip("no instruction set with a fused multiply-add")
    for level in levels:
        assert dict(zip(RESULTS, found[level].split(), strict=True)) == dict(
            zip(RESULTS, table[line].split(), strict=True)
        ), level


if __name__ == "__main__":
    core = cconv1d._backend.core
    if core is None or not fused([f"native-{core.isa()}"]):
        sys.exit("the table is of an instruction set with a fused multiply-add")
    for line in LINES:
        print(f"{line}: {results(*line.rsplit(' ', 1))}")
