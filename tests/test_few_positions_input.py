"""backward_input over few positions, and transposed convolutions: the bits of the other nests.

`few_input_gain` turns the nest off, or has it compute all that it can.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal as same
from support import (
    LAYOUTS,
    MAPS,
    Case,
    assert_accurate,
    between_nans,
    cases,
    needs_native,
    reference_maps,
    seeds,
    tuned,
)

import cconv1d
from cconv1d import (
    PreparedConv1d,
    conv1d_backward_input,
    conv_transpose1d,
    conv_transpose1d_output_length,
)

pytestmark = needs_native
ALWAYS = 10**9
DTYPES = ("f", "d", "F", "D", "e")


def both(function, *arrays, **options):
    """What it returns without the nest, and with it."""
    with tuned(few_input_gain=0):
        without = function(*arrays, **options)
    with tuned(few_input_gain=ALWAYS):
        return without, function(*arrays, **options)


def same_bits(a, b):
    assert a.dtype == b.dtype
    assert a.shape == b.shape
    same(a.view(f"V{a.itemsize}"), b.view(f"V{b.itemsize}"))


def normal(shape, dtype, seed=0):
    draw = np.random.default_rng(seed)
    values = draw.standard_normal(shape)
    if np.dtype(dtype).kind == "c":
        values = values + 1j * draw.standard_normal(shape)
    return values.astype(dtype)


def swap(array, layout):
    return np.ascontiguousarray(array.swapaxes(1, 2)) if layout == "NLC" else array


# batch, groups, channels and outputs of a group, length, taps, stride, padding, dilation
CASES = {
    "one output": Case(1, 1, 33, 20, 24, 24, 1, 0, 1),
    "one output of many samples": Case(13, 1, 17, 9, 50, 50, 1, 0, 1),
    "one tap": Case(2, 1, 40, 11, 7, 1, 1, 0, 1),
    "one tap, stride": Case(2, 1, 31, 11, 14, 1, 3, 0, 1),
    "two taps": Case(3, 1, 16, 12, 9, 2, 1, 0, 1),
    "three taps": Case(3, 2, 33, 7, 9, 3, 2, 1, 1),
    "taps of all lengths": Case(2, 1, 19, 21, 23, 7, 3, 2, 1),
    "stride as long as the kernel": Case(2, 1, 5, 40, 60, 12, 12, 0, 1),
    "stride longer than the kernel": Case(2, 1, 3, 40, 60, 10, 14, 3, 1),
    "lanes along taps": Case(1, 1, 2, 30, 300, 64, 32, 0, 1),
    "lanes along taps of two lengths": Case(2, 2, 2, 30, 400, 100, 64, 32, 1),
    # two lengths, and of the longer taps a result more in each sample: for 8, 16 and 32 lanes
    **{
        f"lanes along taps, a result more, stride {s}": Case(3, 1, 5, 3, 127, 127, s, 0, 1)
        for s in (17, 48, 80)
    },
    "padding and a long kernel": Case(2, 1, 12, 30, 5, 128, 64, 64, 1),
    "dilation": Case(2, 1, 20, 30, 11, 16, 1, 60, 8),
    "dilation and stride": Case(3, 1, 9, 30, 40, 9, 6, 10, 4),
    "dilation, stride as long": Case(3, 1, 9, 30, 90, 4, 25, 10, 7),
    "many terms": Case(1, 1, 18, 300, 12, 5, 2, 2, 1),
    "more results than terms": Case(1, 1, 9, 2, 200, 3, 40, 0, 1),
    "reflect": Case(2, 1, 20, 30, 12, 9, 1, 4, 1, "reflect"),
    "circular": Case(2, 1, 20, 30, 12, 9, 2, 8, 1, "circular"),
    "replicate": Case(2, 2, 20, 30, 12, 9, 3, 8, 1, "replicate"),
}


@pytest.mark.parametrize("layout", ["NCL", "NLC"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CASES)
def test_bits(native, name, dtype, layout):
    case = CASES[name]
    _, w, _, dy = case.shapes()
    dy, w = swap(normal(dy, dtype), layout), normal(w, dtype, 1)

    options = {"layout": layout, **case.options}
    same_bits(*both(conv1d_backward_input, dy, w, case.length, **options))


@pytest.mark.parametrize("outs", [1, 3, 63, 64, 65, 127, 128, 129])
@pytest.mark.parametrize("channels", [1, 2, 7, 8, 9, 15, 16, 17, 32, 33, 65])
@pytest.mark.parametrize("dtype", ["f", "d"])
def test_lanes_and_terms(native, dtype, channels, outs):
    """Either side of whole tiles, and of whole blocks of terms."""
    for taps, stride in ((1, 1), (3, 1), (4, 3), (16, 16), (20, 16)):
        case = Case(2, 1, channels, outs, 40, taps, stride, 0, 1)
        _, w, _, dy = (normal(shape, dtype) for shape in case.shapes())
        same_bits(*both(conv1d_backward_input, dy, w, 40, **case.options))


@pytest.mark.parametrize("batch", [1, 2, 5, 6, 7, 12, 13, 25])
@pytest.mark.parametrize("outputs", [1, 2, 5, 6, 7, 12, 13, 16, 17, 30])
def test_rows_of_tiles(native, batch, outputs):
    """Samples and positions either side of whole tiles."""
    for taps, stride, dilation in ((5, 1, 1), (30, 1, 1), (9, 2, 1), (6, 1, 9)):
        span = dilation * (taps - 1)
        case = Case(batch, 1, 9, 11, (outputs - 1) * stride + 1, taps, stride, span, dilation)
        _, w, _, dy = (normal(shape, "f") for shape in case.shapes())
        same_bits(*both(conv1d_backward_input, dy, w, case.length, **case.options))


@given(case=cases(work=2**13), seed=seeds, dtype=st.sampled_from("fd"))
def test_any_geometry(native, case, seed, dtype):
    geometry = case.geometry
    arrays = case.normal(seed, dtype)
    x, w, _, dy = arrays
    without, dx = both(conv1d_backward_input, dy, w, x.shape[2], **case.options)
    same_bits(dx, without)
    results = reference_maps(*arrays, geometry, case.groups, dtype)
    results = [
        dx if name == "backward_input" else result
        for name, result in zip(MAPS, results, strict=True)
    ]
    assert_accurate(results, arrays, geometry, case.groups)


@given(
    case=cases(work=2**12),
    seed=seeds,
    layout=st.sampled_from(sorted(LAYOUTS)),
    dtype=st.sampled_from("fdFe"),
)
def test_memory_layouts(native, case, seed, layout, dtype):
    """The bits do not depend on how arrays lie in memory; nothing beside them is read."""
    _, w, _, dy = case.shapes()
    dy, w = normal(dy, dtype, seed), normal(w, dtype, seed + 1)
    moved = [LAYOUTS[layout](array) for array in (dy, w)]
    fenced = [between_nans(array) for array in (dy, w)]
    with tuned(few_input_gain=ALWAYS):
        expected = conv1d_backward_input(dy, w, case.length, **case.options)
        for arrays in (moved, fenced):
            same_bits(conv1d_backward_input(*arrays, case.length, **case.options), expected)
        larger = np.full((*expected.shape[:-1], 2 * expected.shape[-1] + 1), 7, dtype)
        out = larger[..., 1::2]
        conv1d_backward_input(dy, w, case.length, **case.options, out=out)
        same_bits(np.ascontiguousarray(out), expected)
        same(larger[..., ::2], 7)


@dataclass(frozen=True)
class Transposed:
    channels: int
    outs: int
    taps: int
    stride: int
    output_padding: int
    padding: int = 0
    dilation: int = 1
    groups: int = 1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "t",
    [
        Transposed(12, 20, 4, 4, 3),
        Transposed(12, 20, 5, 2, 1, 2),
        Transposed(30, 3, 16, 16, 5),
        Transposed(16, 18, 3, 7, 4, 1, 2, 2),
        Transposed(9, 40, 1, 3, 2),
        Transposed(40, 4, 64, 32, 0, 16),
    ],
    ids=str,
)
def test_transposed_convolutions(native, t, dtype):
    """With a bias, which is added last, and results that no tap reaches."""
    x = normal((3, t.channels, 5), dtype)
    w = normal((t.channels, t.outs // t.groups, t.taps), dtype, 1)
    b = normal(t.outs, dtype, 2)
    options = {
        "stride": t.stride,
        "padding": t.padding,
        "output_padding": t.output_padding,
        "groups": t.groups,
        "dilation": t.dilation,
    }
    without, y = both(conv_transpose1d, x, w, b, **options)
    same_bits(y, without)
    length = conv_transpose1d_output_length(
        5, t.taps, t.stride, t.padding, t.output_padding, t.dilation
    )
    assert y.shape == (3, t.outs, length)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("threads", [2, 7])
def test_threads_and_samples(native, name, threads):
    case = CASES[name]
    _, w, _, dy = (normal(shape, "f") for shape in case.shapes())

    def call(dy):
        return conv1d_backward_input(dy, w, case.length, **case.options)

    with tuned(few_input_gain=ALWAYS):
        expected = call(dy)
        with tuned(serial_products=0), cconv1d.num_threads(threads):
            same_bits(call(dy), expected)
        for n in range(len(dy)):
            same_bits(call(dy[n]), expected[n])


@pytest.mark.parametrize("name", CASES)
def test_prepared_weights(native, name):
    """The weights as they lie are read in place of packed ones, which have the same numbers."""
    case = CASES[name]
    x, w, _, dy = (normal(shape, "f") for shape in case.shapes())
    layer = PreparedConv1d(w, **case.options)
    without, dx = both(layer.backward, dy, x, needs=(True, False, False))
    same_bits(dx.input, without.input)


def test_what_is_not_finite(native):
    """A weight reaches no result whose taps it does not meet, as zeros beside dy are no terms."""
    for name in ("three taps", "dilation", "padding and a long kernel", "one output"):
        case = CASES[name]
        _, w, _, dy = (normal(shape, "f") for shape in case.shapes())
        w[1, 2, -1], w[0, 0, 0] = np.nan, np.inf
        without, dx = both(conv1d_backward_input, dy, w, case.length, **case.options)
        same(np.isfinite(dx), np.isfinite(without))
        finite = np.isfinite(dx)
        if native == "native-baseline":  # there what is computed again is fused
            np.testing.assert_allclose(dx[finite], without[finite], rtol=1e-3)
        else:
            same_bits(dx[finite], without[finite])
