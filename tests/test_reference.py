"""The NumPy reference against the formulas, by hand and by loops."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import (
    FUZZ,
    inner_geometries,
    integers,
    loop_backward_bias,
    loop_backward_input,
    loop_backward_weight,
    loop_forward,
    seeds,
    small_cases,
    wrapped,
)

from cconv1d import _reference
from cconv1d._geometry import Geometry, resolve


def maps(x, w, b, dy, g, groups):
    """y, dx, dw and db by the reference, into arrays that hold something else before."""
    outputs = (dy.shape, x.shape, w.shape, w.shape[:1])
    results = [np.full(shape, 77, x.dtype) for shape in outputs]
    _reference.forward(x, w, b, results[0], g, groups)
    _reference.backward_input(dy, w, results[1], g, groups)
    _reference.backward_weight(dy, x, results[2], g, groups)
    _reference.backward_bias(dy, results[3])
    return results


def loops(x, w, b, dy, g, groups):
    return (
        loop_forward(x, w, b, g, groups),
        loop_backward_input(dy, w, g, groups),
        loop_backward_weight(dy, x, w.shape[2], g, groups),
        loop_backward_bias(dy),
    )


# --- the lecture notes' example, as symbols -----------------------------------------------------


class Sum:
    """A sum of products of symbols: sorted names, and how often each product occurs."""

    def __init__(self, products):
        self.products = Counter(products)

    def __add__(self, other):
        return self if isinstance(other, int) else Sum(self.products + other.products)

    __radd__ = __add__

    def __mul__(self, other):
        if isinstance(other, int):
            assert other == 0
            return 0
        pairs = [(a, b) for a in self.products.elements() for b in other.products.elements()]
        return Sum("·".join(sorted((*a.split("·"), *b.split("·")))) for a, b in pairs)

    __rmul__ = __mul__

    def conjugate(self):
        return self

    def __str__(self):
        return " + ".join(sorted(self.products.elements()))


def symbols(name, count):
    """name_1 ... name_count as one channel of one sample."""
    return np.array([Sum([f"{name}{i + 1}"]) for i in range(count)], object)[None, None]


def test_the_notes_example_in_symbols():
    """x of length 4, w of length 2: y_i = w_1·x_i + w_2·x_(i+1), and E's derivatives."""
    g = resolve("f", 4, 2, 1, 0, 1)
    bias = np.array([Sum(["b"])], object)
    y, dx, dw, db = maps(symbols("x", 4), symbols("w", 2), bias, symbols("dy", 3), g, 1)
    assert [str(e) for e in y[0, 0]] == [
        "b + w1·x1 + w2·x2",
        "b + w1·x2 + w2·x3",
        "b + w1·x3 + w2·x4",
    ]
    assert [str(e) for e in dw[0, 0]] == [
        "dy1·x1 + dy2·x2 + dy3·x3",
        "dy1·x2 + dy2·x3 + dy3·x4",
    ]
    assert [str(e) for e in dx[0, 0]] == [
        "dy1·w1",
        "dy1·w2 + dy2·w1",
        "dy2·w2 + dy3·w1",
        "dy3·w2",
    ]
    assert [str(e) for e in db] == ["dy1 + dy2 + dy3"]


def test_a_strided_dilated_padded_example_in_symbols():
    """Zeros on both sides do not appear in a sum; a sample that no output sees has none."""
    g = resolve("f", 6, 2, 3, (1, 1), 2)
    assert g == Geometry(6, 2, 3, 2, 1)
    y, dx, dw, _ = maps(symbols("x", 6), symbols("w", 2), None, symbols("dy", 2), g, 1)
    assert [str(e) for e in y[0, 0]] == ["w2·x2", "w1·x3 + w2·x5"]
    assert [str(e) for e in dx[0, 0]] == ["0", "dy1·w2", "dy2·w1", "0", "dy2·w2", "0"]
    assert [str(e) for e in dw[0, 0]] == ["dy2·x3", "dy1·x2 + dy2·x5"]


def test_the_notes_example_in_numbers():
    """Powers of ten keep the terms apart: each decimal of a result is one factor."""
    g = resolve("f", 4, 2, 1, 0, 1)
    x, w, dy = ([[[1, 10, 100, 1000]]], [[[2, 3]]], [[[1, 100, 10000]]])
    x, w, dy = (np.array(array, np.int64) for array in (x, w, dy))
    y, dx, dw, db = maps(x, w, None, dy, g, 1)
    assert y.tolist() == [[[32, 320, 3200]]]
    assert dx.tolist() == [[[2, 203, 20300, 30000]]]
    assert dw.tolist() == [[[1001001, 10010010]]]
    assert db.tolist() == [10101]


# --- every geometry against the loops -----------------------------------------------------------


@FUZZ
@given(small_cases, seeds, st.sampled_from((np.int64, np.float64, np.complex128)))
def test_geometry(case, seed, dtype):
    g = case.geometry
    arrays = case.integral(seed, dtype)
    for got, expected in zip(
        maps(*arrays, g, case.groups), loops(*arrays, g, case.groups), strict=True
    ):
        np.testing.assert_array_equal(got, expected.astype(dtype))


@given(st.data(), small_cases, seeds)
def test_geometries_of_the_package_itself(data, case, seed):
    """Samples left out on either side: padding that is negative."""
    g = data.draw(inner_geometries(case))
    arrays = case.integral(seed, np.complex128, g)
    for got, expected in zip(
        maps(*arrays, g, case.groups), loops(*arrays, g, case.groups), strict=True
    ):
        np.testing.assert_array_equal(got, expected.astype(np.complex128))


@pytest.mark.parametrize(
    ("pad_left", "expected"),
    [(-1, [23, 34, 40]), (-3, [40, 0, 0]), (-4, [0, 0, 0]), (5, [0, 0, 0]), (4, [0, 0, 0])],
)
def test_negative_and_excessive_left_padding(pad_left, expected):
    """x_i + 10·x_(i+1) of 1, 2, 3, 4: shifted, and beyond either end."""
    x, w = np.array([[[1, 2, 3, 4]]]), np.array([[[10, 1]]])
    y = np.full((1, 1, 3), 77)
    _reference.forward(x, w, None, y, Geometry(4, 3, 1, 1, pad_left), 1)
    assert y[0, 0].tolist() == expected


@pytest.mark.parametrize("kind", ["x", "w", "b", "dy"])
@given(small_cases, seeds)
def test_non_finite_values_stay_where_they_belong(kind, case, seed):
    """The reference is the oracle for them elsewhere, so loops say where they belong here."""
    g = case.geometry
    rng = np.random.default_rng(seed)
    arrays = case.integral(seed, np.float64)
    target = arrays[("x", "w", "b", "dy").index(kind)]
    if target.size:
        for value in (np.nan, np.inf, -np.inf):
            target.flat[rng.integers(target.size)] = value
    with np.errstate(invalid="ignore"):
        got = maps(*arrays, g, case.groups)
    for a, e in zip(got, loops(*arrays, g, case.groups), strict=True):
        np.testing.assert_array_equal(a, e.astype(np.float64))


# --- derivatives --------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
@given(case=small_cases, seed=seeds)
def test_finite_differences(dtype, case, seed):
    """dE/d(real part) + i·dE/d(imaginary part) of E = Re Σ conj(dy)·y.

    E is linear in x, in w and in b, and all numbers are small integers, so its differences
    are its derivatives without any error.
    """
    g = case.geometry
    x, w, b, dy = case.integral(seed, dtype)

    def loss(x, w, b):
        y = np.empty_like(dy)
        _reference.forward(x, w, b, y, g, case.groups)
        return np.sum(dy.conj() * y).real

    _, *gradients = maps(x, w, b, dy, g, case.groups)
    at = loss(x, w, b)
    rng = np.random.default_rng(seed)
    for k, gradient in enumerate(gradients):
        for i in rng.permutation(gradient.size)[:12]:
            difference = 0
            for direction in (1, 1j) if dtype == np.complex128 else (1,):
                moved = [array.copy() for array in (x, w, b)]
                moved[k].flat[i] += direction
                difference += direction * (loss(*moved) - at)
            assert gradient.flat[i] == difference, ("dx", "dw", "db")[k]


@pytest.mark.parametrize("dtype", [np.int64, np.float64, np.complex128])
@given(data=st.data(), case=small_cases, seed=seeds)
def test_the_maps_are_adjoint(dtype, data, case, seed):
    """<dy, conv(x, w)> = <dx, x> = <dw, w>, for inner geometries, too."""
    g = data.draw(st.just(case.geometry) | inner_geometries(case))
    x, w, _, dy = case.integral(seed, dtype, g)
    y, dx, dw, _ = maps(x, w, None, dy, g, case.groups)
    assert np.vdot(dy, y) == np.vdot(dx, x) == np.vdot(dw, w)


# --- dtypes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)])
@given(case=small_cases, seed=seeds)
def test_integers_wrap(dtype, case, seed):
    """Modulo 2**n, whatever the sums."""
    g, dtype = case.geometry, np.dtype(dtype)
    info = np.iinfo(dtype)
    rng = np.random.default_rng(seed)
    arrays = [
        rng.integers(info.min, info.max, shape, dtype, endpoint=True) for shape in case.shapes()
    ]
    for got, exact in zip(
        maps(*arrays, g, case.groups), loops(*arrays, g, case.groups), strict=True
    ):
        np.testing.assert_array_equal(got, wrapped(exact, dtype), strict=True)


def test_an_integer_that_wraps():
    x, w = np.array([[[100, 100]]], np.int8), np.array([[[1, 1]]], np.int8)
    y = np.empty((1, 1, 1), np.int8)
    _reference.forward(x, w, None, y, resolve("f", 2, 2, 1, 0, 1), 1)
    assert y.item() == 200 - 256


@pytest.mark.parametrize("along", ["taps", "channels"])
def test_half_precision_is_summed_in_single_precision(along):
    """1 + 16·(eps/4) is 1 in a float16 accumulator and 1 + 4·eps in a wider one."""
    eps = np.finfo(np.float16).eps
    quarter = np.full(17, eps / 4, np.float16)
    quarter[0] = 1
    shape = (1, 1, 17) if along == "taps" else (1, 17, 1)
    row, ones = quarter.reshape(shape), np.ones(shape, np.float16)
    g = resolve("f", shape[2], shape[2], 1, 0, 1)
    y = np.empty((1, 1, 1), np.float16)
    _reference.forward(row, ones, None, y, g, 1)
    assert y.item() == 1 + 4 * eps
    _reference.forward(ones, row, None, y, g, 1)
    assert y.item() == 1 + 4 * eps


def test_half_precision_gradients_are_summed_in_single_precision():
    eps = np.finfo(np.float16).eps
    many = np.full((1, 1, 17), eps / 4, np.float16)
    many[..., 0] = 1
    ones = np.ones_like(many)
    exact = 1 + 4 * eps
    dw, db = np.empty((1, 1, 1), np.float16), np.empty(1, np.float16)
    one_tap = resolve("f", 17, 1, 1, 0, 1)
    _reference.backward_weight(many, ones, dw, one_tap, 1)
    _reference.backward_bias(many, db)
    assert dw.item() == db.item() == exact
    # Over samples, and with a second channel and position, so that no axis is the only one.
    over_batch = np.zeros((17, 2, 2), np.float16)
    over_batch[:, :, 0] = many[0, 0][:, np.newaxis]
    dw, db = np.empty((2, 2, 1), np.float16), np.empty(2, np.float16)
    two_samples = resolve("f", 2, 1, 1, 0, 1)
    _reference.backward_weight(over_batch, np.ones_like(over_batch), dw, two_samples, 1)
    _reference.backward_bias(over_batch, db)
    assert (dw == exact).all()
    assert (db == exact).all()
    dx = np.empty((1, 1, 17), np.float16)
    _reference.backward_input(ones, many, dx, resolve("f", 17, 17, 1, (8, 8), 1), 1)
    assert dx.max() == exact
    dx = np.empty((1, 1, 1), np.float16)
    channels = np.moveaxis(many, 2, 1)
    weights = np.ones((17, 1, 1), np.float16)
    _reference.backward_input(channels, weights, dx, resolve("f", 1, 1, 1, 0, 1), 1)
    assert dx.item() == exact


@given(small_cases, seeds)
def test_half_precision_is_rounded_once(case, seed):
    """The same bits as computing in float32 and rounding then, the bias included."""
    g = case.geometry
    halves = case.normal(seed, np.float16)
    singles = [array.astype(np.float32) for array in halves]
    for half, single in zip(
        maps(*halves, g, case.groups), maps(*singles, g, case.groups), strict=True
    ):
        assert half.dtype == np.float16
        np.testing.assert_array_equal(half, single.astype(np.float16))


@pytest.mark.skipif(
    np.finfo(np.longdouble).nmant < 60, reason="longdouble has not 64 bits of mantissa here"
)
def test_longdouble_keeps_its_precision():
    """Differences of 2**-60 would be lost in float64."""
    tiny = np.longdouble(2) ** -60
    x = np.array([[[1, 1, 1]]], np.longdouble) + tiny * np.arange(3, dtype=np.longdouble)
    w = np.ones((1, 1, 1), np.longdouble)
    b = np.zeros(1, np.longdouble)
    y, dx, dw, db = maps(x, w, b, x, resolve("f", 3, 1, 1, 0, 1), 1)
    for got in (y, dx):
        assert got.dtype == np.longdouble
        assert ((got - 1) / tiny).tolist() == [[[0, 1, 2]]]
    assert (db.item() - 3) / tiny == 3
    assert abs((dw.item() - 3) / tiny - 6) <= 1


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128, np.clongdouble])
def test_gradients_of_complex_data_take_the_conjugate(dtype):
    x, w, dy = (np.array([[[value]]], dtype) for value in (2 + 3j, 5 - 7j, 1 + 1j))
    y, dx, dw, db = maps(x, w, None, dy, resolve("f", 1, 1, 1, 0, 1), 1)
    assert y.item() == (2 + 3j) * (5 - 7j)
    assert dx.item() == (5 + 7j) * (1 + 1j)
    assert dw.item() == (2 - 3j) * (1 + 1j)
    assert db.item() == 1 + 1j


# --- corners ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.int16, np.float16, np.float32, np.complex64])
@pytest.mark.parametrize("batch", [0, 2])
@pytest.mark.parametrize("channels", [0, 2])
@pytest.mark.parametrize("outs", [0, 2])
@pytest.mark.parametrize("length", [0, 5])
def test_empty_axes(dtype, batch, channels, outs, length):
    """Nothing to sum is zero, or the bias."""
    g = resolve("f", length, 3, 1, 2, 1)
    rng = np.random.default_rng(0)
    shapes = (
        (batch, 2 * channels, length),
        (2 * outs, channels, 3),
        (2 * outs,),
        (batch, 2 * outs, g.output_length),
    )
    x, w, b, dy = (integers(rng, shape, dtype) for shape in shapes)
    results = maps(x, w, b, dy, g, 2)
    expected = loops(x, w, b, dy, g, 2)
    for got, exact in zip(results, expected, strict=True):
        np.testing.assert_array_equal(got, exact.astype(dtype))
    if channels * length == 0:
        np.testing.assert_array_equal(results[0], np.broadcast_to(b[:, None], shapes[3]))


def test_inputs_are_not_modified():
    case_arrays = [np.arange(24.0).reshape(2, 4, 3), np.arange(8.0).reshape(4, 1, 2)]
    x, w = case_arrays
    dy, b = np.ones((2, 4, 2)), np.ones(4)
    before = [array.copy() for array in (x, w, b, dy)]
    maps(x, w, b, dy, resolve("f", 3, 2, 1, 0, 1), 4)
    for array, copy in zip((x, w, b, dy), before, strict=True):
        np.testing.assert_array_equal(array, copy)
