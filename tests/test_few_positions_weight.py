"""Gradients of weights over few positions: right numbers, and the same bits however they come."""

from __future__ import annotations

import numpy as np
import pytest
from support import (
    LAYOUTS,
    REAL,
    WRITEABLE,
    Case,
    Fenced,
    assert_near,
    between_nans,
    needs_native,
    reference_maps,
    tuned,
    wider,
)
from test_kernels import fused

import cconv1d
from cconv1d import _backend, conv1d_backward_weight

pytestmark = needs_native
same = np.testing.assert_array_equal


def around(case, sizes):
    """Of rows, terms or positions: either side of tiles, their lanes and blocks."""
    return [pytest.param(case(size), id=f"{case.__name__} {size}") for size in sizes]


def rows(count):
    return Case(2, 1, 5, count, 19, 3, 1, 1, 1)


def channels(count):
    return Case(3, 2, count, 7, 12, 3, 2, 1, 1)


def points(count):  # k = 1: channels are transposed
    return Case(2, 1, count, 9, 13, 1, 1, 0, 1)


def taps(count):
    return Case(2, 1, 3, 9, count + 9, count, 1, 0, 1)


def positions(count):
    return Case(1, 1, 4, 9, count + 4, 5, 1, 0, 1)


def samples(count):
    return Case(count, 1, 4, 9, 9, 4, 2, 1, 1)


def point_positions(count):
    return Case(1, 1, 17, 9, count, 1, 1, 0, 1)


def short_dots(count):  # one side of less than eight: lanes along positions are the other way
    return Case(9, 1, 5, 2, count + 2, 3, 1, 0, 1)


def short_strided_dots(count):
    return Case(4, 1, 5, 2, 3 * count, 3, 3, 0, 1)


def dilations(count):
    return Case(2, 1, 4, 9, 40, 3, 1, 2 * count, count)


def strides(count):
    return Case(3, 2, 4, 9, 150, 5, count, 3, 1)


CASES = [
    *around(rows, (1, 2, 5, 6, 7, 8, 11, 12, 13, 24, 25)),
    *around(channels, (1, 2, 3, 5, 6, 10, 11, 21, 22, 85, 86)),
    *around(points, (1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 65, 255, 256, 257)),
    *around(taps, (2, 4, 5, 8, 9, 12, 13, 16, 17, 85, 86, 128, 255, 256, 257)),
    *around(positions, (1, 2, 127, 128, 129, 255, 256, 257, 511, 512, 513, 1025)),
    *around(samples, (1, 31, 32, 33, 64, 65, 128, 129, 700)),
    *around(point_positions, (1, 127, 128, 129, 511, 512, 513, 1100)),
    *around(short_dots, (28, 29, 63, 64, 65)),
    *around(short_strided_dots, (64, 65, 127, 128, 129)),
    *around(dilations, (1, 2, 3, 16, 40)),
    *around(strides, (1, 4, 5, 6, 69, 70)),
    # taps that meet padding alone: before, behind and between the others, and all of them
    pytest.param(Case(2, 1, 3, 9, 5, 40, 1, 39, 1), id="more taps than samples"),
    pytest.param(Case(1, 1, 20, 9, 5, 128, 64, 64, 1), id="few taps alive"),
    pytest.param(Case(1, 1, 20, 9, 5, 128, 1, 508, 8), id="few taps alive, dilated"),
    pytest.param(Case(2, 3, 2, 5, 9, 3, 1, 64, 64), id="one tap alive"),
    pytest.param(Case(3, 1, 9, 9, 3, 1, 7, 5, 1), id="no tap alive"),
    pytest.param(Case(2, 1, 3, 9, 3, 9, 64, 64, 1), id="far positions"),
    *(
        pytest.param(Case(2, 2, 3, 9, 12, 9, 2, 8, 1, mode), id=mode)
        for mode in ("reflect", "replicate", "circular")
    ),
]


def gradient(case, x, dy, dtype):
    """dw by the selected backend, from arrays between NaN, into one that is all filled."""
    x, dy = between_nans(x), between_nans(dy)
    dw = Fenced(case.shapes()[1], dtype)
    kernels = _backend.kernels_for(np.dtype(dtype))
    kernels.backward_weight(dy, x, dw.array, case.geometry, case.groups)
    return dw.result()


def exact(case, x, dy, dtype):
    _, w, b, _ = (np.zeros(shape, dtype) for shape in case.shapes())
    return reference_maps(x, w, b, dy, case.geometry, case.groups, dtype)[2]


@pytest.fixture
def eager():
    """Every call is shared out, however small."""
    with tuned(serial_products=0):
        yield


@pytest.fixture
def many():
    """A function that calls its argument with positions never few."""

    def call(function):
        with tuned(few_weight_positions=0):
            return function()

    return call


# --- the right numbers --------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", "fdFDe")
def test_sums_of_integers_are_exact(native, case, dtype):
    x, _, _, dy = case.integral(1, dtype)
    wide = np.result_type(dtype, np.float64)
    same(gradient(case, x, dy, dtype), exact(case, x, dy, wide).astype(dtype))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", REAL, ids=str)
def test_errors_are_those_of_short_chains(native, case, dtype):
    x, _, _, dy = case.normal(2, dtype)
    wide = wider(dtype)
    sums = exact(case, abs(x), abs(dy), wide)
    count = dy.shape[0] * dy.shape[2]
    assert_near(gradient(case, x, dy, dtype), exact(case, x, dy, wide), sums, count, "dw")


@pytest.mark.parametrize("dtype", "fdFDe")
def test_taps_that_meet_padding_alone_are_no_terms(native, dtype):
    case = Case(2, 1, 3, 9, 5, 40, 1, (39, 10), 1)
    x, _, _, dy = case.integral(3, dtype)
    dy[...] = np.nan
    dw = gradient(case, x, dy, dtype)
    g = case.geometry
    met = [any(0 <= p + j - 39 < 5 for p in range(g.output_length)) for j in range(40)]
    assert 0 < sum(met) < 40
    assert (np.isnan(dw).all(axis=(0, 1)) == met).all()
    same(dw[..., ~np.array(met)], 0)


# --- the same bits ------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", REAL, ids=str)
def test_levels_agree(each_native, case, dtype):
    x, _, _, dy = case.normal(4, dtype)
    found = each_native(lambda: gradient(case, x, dy, dtype))
    levels = fused(found)
    if len(levels) < 2:
        pytest.skip("fewer than two instruction sets with a fused multiply-add")
    for level in levels[1:]:
        same(found[level], found[levels[0]])


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", "fDe")
def test_threads_agree(native, eager, case, dtype):
    x, _, _, dy = (array.astype(dtype) for array in case.normal(5, np.float64))
    found = []
    for threads in (1, 2, 7):
        with cconv1d.num_threads(threads):
            found.append(gradient(case, x, dy, dtype))
    same(found[1], found[0])
    same(found[2], found[0])


MEMORY = (
    Case(3, 2, 7, 13, 21, 3, 2, 2, 1),
    Case(2, 1, 33, 9, 21, 1, 1, 0, 1),
    Case(2, 1, 18, 9, 21, 1, 2, 1, 1),
    Case(1, 1, 5, 9, 30, 3, 1, 4, 4),
    Case(40, 1, 3, 2, 30, 9, 2, 0, 1),
    # not for few: dot products, which read x in place if they can
    Case(1, 1, 40, 2, 900, 3, 1, 1, 1),
    Case(1, 1, 40, 1, 900, 1, 1, 0, 1),
)


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("dtype", "fDe")
@pytest.mark.parametrize("case", MEMORY)
def test_strides_of_arrays_do_not_matter(native, case, dtype, name):
    x, _, _, dy = (array.astype(dtype) for array in case.normal(6, np.float64))
    options = case.options
    expected = conv1d_backward_weight(dy, x, case.taps, **options)
    same(conv1d_backward_weight(LAYOUTS[name](dy), x, case.taps, **options), expected)
    same(conv1d_backward_weight(dy, LAYOUTS[name](x), case.taps, **options), expected)
    x, dy = (np.ascontiguousarray(array.swapaxes(1, 2)) for array in (x, dy))
    same(conv1d_backward_weight(dy, x, case.taps, layout="NLC", **options), expected)


@pytest.mark.parametrize("name", WRITEABLE)
@pytest.mark.parametrize("dtype", "fDe")
@pytest.mark.parametrize("case", MEMORY)
def test_gradients_may_lie_anywhere(native, case, dtype, name):
    x, _, _, dy = (array.astype(dtype) for array in case.normal(7, np.float64))
    expected = conv1d_backward_weight(dy, x, case.taps, **case.options)
    out = WRITEABLE[name](np.full_like(expected, np.nan))
    result = conv1d_backward_weight(dy, x, case.taps, out=out, **case.options)
    assert result is out
    same(out, expected)


@pytest.mark.parametrize("dtype", REAL, ids=str)
@pytest.mark.parametrize("shape", [(8, 40, 3, 1), (9, 12, 5, 2), (33, 13, 1, 1)])
@pytest.mark.parametrize("length", [16, 130, 300])
def test_one_sample_has_the_bits_of_outer_products(native, many, dtype, shape, length):
    """Both sum a sample by chains of CC_BLOCK positions, added in their order."""
    outs, channels, taps, stride = shape
    case = Case(1, 1, channels, outs, length, taps, stride, taps // 2, 1)
    x, _, _, dy = case.normal(8, dtype)
    same(gradient(case, x, dy, dtype), many(lambda: gradient(case, x, dy, dtype)))


@pytest.mark.parametrize("dtype", REAL, ids=str)
@pytest.mark.parametrize(("count", "length"), [(3, 5), (32, 4), (7, 37), (100, 3), (65, 20)])
@pytest.mark.parametrize("taps", [1, 3])
def test_samples_are_one_chain(native, dtype, count, length, taps):
    """Samples without padding, side by side, are one signal with the same positions."""
    stride = 3  # so that signals of any length are for this nest
    case = Case(count, 1, 9, 9, length * stride, taps, stride, 0, 1)
    x, _, _, dy = case.normal(9, dtype)
    assert dy.shape[2] == length
    one = case._replace(batch=1, length=count * length * stride)
    joined = [np.concatenate(list(array), axis=1)[np.newaxis] for array in (x, dy)]
    same(gradient(case, x, dy, dtype), gradient(one, *joined, dtype))


def test_positions_are_few_by_shape_alone(native, many):
    """The samples of a batch are summed as one chain, which the other nest does not."""
    case = Case(9, 1, 40, 9, 21, 3, 1, 1, 1)
    x, _, _, dy = case.normal(10, np.float32)
    found = gradient(case, x, dy, np.float32)
    other = many(lambda: gradient(case, x, dy, np.float32))
    assert (found != other).any()
    np.testing.assert_allclose(found, other, rtol=1e-3, atol=1e-4)
