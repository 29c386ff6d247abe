"""Channels last: the bits of channels first, at sizes on either side of every block and crossover.

Where channels lie side by side other loops compute, with lanes along channels, or samples of many
channels are transposed at once. What they return is compared with what the loops along positions
return, for arrays that can be read in place and for those that cannot.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import PADDING_MODES, REAL, Case, cases, seeds, tuned

import cconv1d
from cconv1d import (
    conv1d,
    conv1d_backward_input,
    conv1d_backward_weight,
)

same = np.testing.assert_array_equal

FORMATS = ("float32", "float64", "float16", "bfloat16", "complex64", "complex128")


def dtype_of(name):
    if name == "bfloat16":
        return np.dtype(pytest.importorskip("ml_dtypes").bfloat16)
    return np.dtype(name)


def bits(array):
    """The bits of numbers, or, of a NaN, that it is one: its payload is nobody's promise."""
    array = np.ascontiguousarray(array)
    if array.dtype.kind == "c":
        array = array.view(array.real.dtype)
    numbers = array.view(f"u{array.itemsize}").copy()
    with np.errstate(invalid="ignore"):
        numbers[np.isnan(array.astype("d"))] = 1
    return numbers


def contiguous(array):
    return np.ascontiguousarray(array.swapaxes(1, 2))


def within_wider(array):
    """Samples of more channels than are wanted, which lie apart then; channels still adjacent."""
    wider = np.zeros((array.shape[0], array.shape[2], array.shape[1] + 5), array.dtype)
    wider[:, :, 3:-2] = array.swapaxes(1, 2)
    return wider[:, :, 3:-2]


def backwards(array):
    """The last sample first in memory, and others between them."""
    apart = np.zeros((array.shape[0], 2 * array.shape[2], array.shape[1]), array.dtype)
    view = apart[:, ::-2]
    view[...] = array.swapaxes(1, 2)
    return view


def read_only(array):
    copy = contiguous(array)
    copy.flags.writeable = False
    return copy


def all_maps(case, x, w, b, dy, **layout):
    options = case.options | layout
    return (
        conv1d(x, w, b, **options),
        conv1d_backward_input(dy, w, case.length, **options),
        conv1d_backward_weight(dy, x, case.taps, **options),
    )


def check(case, dtype, arrange=contiguous, seed=0, spoil=True):
    x, w, b, dy = case.normal(seed, dtype)
    if np.dtype(dtype).kind == "c":
        x, dy = x * (1 + 0.5j), dy * (1 - 0.25j)
    for spoilt in (False, True)[: 1 + spoil]:
        if spoilt and x.size and dy.size:
            x[0, -1, case.length // 2], dy[0, 0, dy.shape[2] // 3] = np.nan, np.inf
        expected = all_maps(case, x, w, b, dy)
        got = all_maps(case, arrange(x), w, b, arrange(dy), layout="NLC")
        for name, a, e in zip(("y", "dx", "dw"), got, expected, strict=True):
            a = a if name == "dw" else a.swapaxes(1, 2)
            same(bits(a), bits(e), err_msg=name)


def depthwise(channels, length, taps, stride=1, padding="same", dilation=1, mode="zeros", batch=1):
    if padding == "same" and stride > 1:
        padding = taps * dilation // 2
    return Case(batch, channels, 1, 1, length, taps, stride, padding, dilation, mode)


DEPTHWISE = {
    **{f"channels {c}": depthwise(c, 70, 4) for c in (1, 4, 5, 7, 8, 9)},
    **{f"channels {c}": depthwise(c, 70, 4) for c in (12, 15, 16, 17, 24, 31, 32, 33, 46, 56, 65)},
    # either side of half a block behind whole ones, with many taps and with more than a chain
    **{
        f"channels {c}, taps {k}": depthwise(c, 300, k)
        for c in (40, 47, 48, 49, 80, 81)
        for k in (3, 40, 130)
    },
    # either side of the logical lanes, of strips, of what is read in place, of a range
    **{
        f"length {n}": depthwise(33, n, 3)
        for n in (1, 2, 15, 16, 17, 63, 64, 65, 127, 129, 399, 401, 2047, 2048, 2049, 2100, 4200)
    },
    **{f"length {n}, padded more": depthwise(17, n, 33) for n in (432, 433, 434, 2080, 2500)},
    # either side of a tile, of many taps that read a panel, of a part of the sums
    **{
        f"taps {k}": depthwise(18, 300, k)
        for k in (1, 2, 5, 6, 7, 8, 9, 12, 13, 16, 17, 31, 63, 64, 65, 127, 128, 129, 260)
    },
    # either side of the panels of samples, the last of which are too large for any
    **{
        f"channels {c}, taps {k}, {d} apart": depthwise(c, 300, k, 1, "same", d)
        for c in (8, 13, 33)
        for k, d in ((240, 1), (260, 1), (90, 3), (250, 8), (260, 8), (1100, 8))
    },
    **{f"stride {s}": depthwise(20, 500, 5, s) for s in (2, 3, 7)},
    **{f"stride {s}, many taps": depthwise(20, 500, 40, s) for s in (2, 3, 16)},
    **{f"dilation {d}": depthwise(20, 700, 5, 1, "same", d) for d in (2, 8, 16, 100)},
    "stride and dilation": depthwise(20, 700, 6, 3, 5, 2),
    "causal": depthwise(40, 300, 4, 1, "causal"),
    "samples": depthwise(40, 90, 4, batch=5),
    **{m: depthwise(40, 120, 9, 1, 8, 1, m) for m in PADDING_MODES if m != "zeros"},
}


@pytest.mark.parametrize("dtype", REAL, ids=str)
@pytest.mark.parametrize("case", DEPTHWISE.values(), ids=DEPTHWISE)
def test_depthwise(native, case, dtype):
    check(case, dtype)


@pytest.mark.parametrize("name", ["float32", "float16"])
@pytest.mark.parametrize("case", DEPTHWISE.values(), ids=DEPTHWISE)
def test_depthwise_along_lanes(native, case, name):
    """Also where rows are faster."""
    with tuned(channels_last_least=0):
        check(case, np.dtype(name))


DENSE = {
    # channels of results on either side of a block of lanes, of half of it, and of idle lanes
    # that are too many
    **{
        f"outs {k}": Case(1, 1, 3, k, 400, 5, 1, 2, 1)
        for k in (3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 20, 24, 25, 31, 32, 33, 40, 63, 64, 65, 100)
    },
    # terms on either side of a chain
    **{f"channels {c}": Case(1, 1, c, 32, 300, 3, 1, 1, 1) for c in (1, 2, 42, 43, 44, 90)},
    # weights on either side of those that are taken together
    **{f"{k} outs of 100 terms": Case(1, 1, 20, k, 280, 5, 1, 2, 1) for k in (144, 160, 176, 336)},
    **{f"length {n}": Case(1, 1, 2, 48, n, 3, 1, 1, 1) for n in (255, 256, 257, 261, 262, 268)},
    # either side of a strip, whose ends read a panel with the samples between them
    **{
        f"length {n}, {s} apart, short": Case(9, 1, 20, 32, n, 5, s, 4, 1)
        for s in (1, 2)
        for n in (40, 55, 59, 60, 61, 63, 64, 65, 70, 119, 120, 121, 130)
    },
    **{f"padding {p}": Case(3, 1, 20, 32, 100, 9, 1, p, 1) for p in (1, 8, 60, 70)},
    # either side of the largest panel of a strip
    **{
        f"{c} channels at the ends": Case(1, 1, c, 16, 260, 3, 1, 1, 1)
        for c in (240, 270, 500, 550)
    },
    # either side of what a strip reads in place
    **{
        f"{c} channels, far strides": Case(1, 1, c, 40, 900, 12, 8, 5, 1) for c in (60, 64, 65, 200)
    },
    "panels of some chunks": Case(1, 1, 300, 33, 900, 40, 12, 19, 1),
    "short signals of groups": Case(5, 4, 19, 1, 140, 3, 1, 1, 3),
    "one sample": Case(1, 1, 33, 9, 1, 64, 1, "same", 1),
    # taps of one row of results have an order of their own, and another where blocks of terms part
    **{f"one channel, {k} taps": Case(2, 1, 1, 70, 300, k, 1, 0, 1) for k in (2, 3, 5, 9, 12)},
    **{f"one result, {k} taps": Case(2, 1, 70, 1, 300, k, 1, 0, 1) for k in (2, 3, 5, 9, 12)},
    "few channels, stride": Case(1, 1, 1, 96, 2000, 10, 5, 0, 1),
    "few channels, stride, padded": Case(2, 1, 2, 64, 900, 9, 2, 4, 1),
    "few results": Case(2, 1, 70, 3, 300, 5, 1, 2, 1),
    "few results, stride": Case(1, 1, 130, 2, 300, 8, 4, 2, 1),
    "groups": Case(2, 3, 5, 16, 300, 4, 1, 2, 2),
    "groups of pairs": Case(1, 30, 2, 2, 300, 4, 1, 2, 1),
    "more than are transposed together": Case(1, 1, 131, 5, 70, 3, 1, 1, 1),
    "a residue more than channels": Case(1, 1, 66, 70, 90, 7, 3, 4, 2),
    "far apart": Case(1, 1, 65, 4, 700, 3, 1, 300, 300),
    **{m: Case(2, 1, 65, 20, 70, 9, 2, 7, 1, m) for m in PADDING_MODES if m != "zeros"},
}


# Gradients of a weight with few terms for each row of it.
FEW_TERMS = {
    # either side of a block of lanes of every level
    **{
        f"rows {k}": Case(2, 1, 2, k, 90, 3, 1, 1, 1)
        for k in (3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100)
    },
    # either side of a tile, and of those that other loops sum
    **{f"{t} taps": Case(1, 1, 1, 70, 300, t, 1, 0, 1) for t in range(1, 10)},
    **{f"{c} channels": Case(1, 1, c, 70, 300, 1, 1, 0, 1) for c in range(2, 10)},
    # either side of the logical lanes, of strips, of a range
    **{
        f"length {n}": Case(2, 1, 3, 40, n, 2, 1, 1, 1)
        for n in (300, 399, 401, 1023, 1025, 2047, 2048, 2049, 2100, 4200)
    },
    "stride": Case(2, 1, 2, 40, 900, 3, 2, 1, 1),
    "dilation": Case(2, 1, 2, 40, 900, 3, 1, 40, 40),
    "far apart": Case(1, 1, 2, 40, 2000, 3, 1, 700, 700),
    "groups": Case(2, 3, 2, 40, 500, 3, 1, 1, 1),
    "reflect": Case(2, 1, 2, 40, 500, 3, 1, 1, 1, "reflect"),
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("case", FEW_TERMS.values(), ids=FEW_TERMS)
def test_few_terms(native, case, name):
    check(case, dtype_of(name), spoil=dtype_of(name).kind != "c")


@pytest.mark.parametrize("dtype", REAL, ids=str)
@pytest.mark.parametrize("case", DENSE.values(), ids=DENSE)
def test_dense(native, case, dtype):
    check(case, dtype)


@pytest.mark.parametrize("least", [0, 2**30], ids=["lanes along channels", "panels"])
@pytest.mark.parametrize("case", DENSE.values(), ids=DENSE)
def test_dense_either_way(native, case, least):
    """Whichever of the two is the faster one."""
    with tuned(channels_last_least=least):
        check(case, np.float32)


ANY = {
    "depthwise": depthwise(35, 200, 5, batch=2),
    "depthwise, stride": depthwise(35, 200, 20, 3),
    "depthwise, few samples": depthwise(35, 6, 9, padding=4),
    "depthwise, far apart": depthwise(48, 900, 3, dilation=200),
    "dense": Case(2, 1, 67, 34, 150, 3, 1, 1, 1),
    "few results": Case(2, 1, 67, 2, 150, 3, 2, 1, 1),
    "few channels": Case(2, 1, 2, 34, 150, 3, 2, 1, 1),
    "groups": Case(2, 3, 6, 8, 130, 4, 1, 3, 1, "reflect"),
}


@pytest.mark.parametrize("arrange", [contiguous, within_wider, backwards, read_only])
@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("case", ANY.values(), ids=ANY)
def test_any_format_and_strides(native, case, name, arrange):
    check(case, dtype_of(name), arrange, spoil=dtype_of(name).kind != "c")


@given(case=cases(work=2**13), seed=seeds, name=st.sampled_from(FORMATS[:3]))
def test_any_case(native, case, seed, name):
    check(case, dtype_of(name), seed=seed)


@given(data=st.data(), seed=seeds)
def test_any_depthwise_gradient(native, data, seed):
    case = data.draw(cases(work=2**13))
    groups = max(case.groups * case.channels, 1)
    case = case._replace(groups=groups, channels=1, outs=1)
    check(case, np.float32, seed=seed)


def test_empty(native):
    case = depthwise(20, 30, 4)
    none = np.empty((0, 30, 20), "f")
    got = conv1d_backward_weight(none, none, 4, **case.options, layout="NLC")
    same(got, np.zeros((20, 1, 4), "f"))


@pytest.mark.parametrize("taps", [4, 31, 70])
def test_threads(native, taps):
    """Shared out by blocks of channels and parts of the taps."""
    case = depthwise(200, 2100, taps, batch=2)
    x, _, _, dy = case.normal(3, "f")
    x, dy = contiguous(x), contiguous(dy)
    got = []
    for threads in (1, 2, 7):
        with cconv1d.num_threads(threads):
            got.append(conv1d_backward_weight(dy, x, taps, **case.options, layout="NLC"))
    same(got[1], got[0])
    same(got[2], got[0])
