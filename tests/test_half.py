"""Half precision: stored in 16 bits, summed in float32, rounded once."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import LAYOUTS, MAPS, Case, cases, seeds, tuned
from test_kernels import LARGE, kernel_maps, planted

import cconv1d
from cconv1d import _backend, _reference, conv1d, conv1d_backward, conv1d_backward_input

same = np.testing.assert_array_equal

ALL = np.arange(2**16, dtype=np.uint16)

half_cases = cases(work=2**12, batches=(1, 2, 3))


@pytest.fixture(params=["float16", "bfloat16"])
def half(request):
    """A dtype of half precision."""
    if request.param == "float16":
        return np.dtype(np.float16)
    return np.dtype(pytest.importorskip("ml_dtypes").bfloat16)


def bits(array):
    return np.ascontiguousarray(array).view(np.uint16)


def wide(array):
    with np.errstate(invalid="ignore"):  # of signalling NaN
        return array.astype(np.float32)


def numbers(array):
    return ~np.isnan(wide(array))


def rounded(array, dtype):
    with np.errstate(all="ignore"):
        return array.astype(dtype)


def check_rounded(arrays, g, groups):
    """The maps have the bits of those of float32, rounded."""
    dtype = arrays[0].dtype
    got = kernel_maps(*arrays, g, groups)
    expected = kernel_maps(*map(wide, arrays), g, groups)
    for name, a, e in zip(MAPS, got, expected, strict=True):
        e = rounded(e, dtype)
        number = numbers(e)
        same(numbers(a), number, err_msg=name)
        same(bits(a)[number], bits(e)[number], err_msg=name)


# --- the formats --------------------------------------------------------------------------------


def test_every_number_is_read_and_written(native, half):
    """Times one, plus nothing: all bits but those of a signalling NaN and of minus zero."""
    x = ALL.view(half)
    y = conv1d(x, np.ones(1, half))
    number = numbers(x)
    same(numbers(y), number)
    same(wide(y)[number], wide(x)[number])
    nonzero = number & (wide(x) != 0)
    same(bits(y)[nonzero], ALL[nonzero])
    assert 0 < np.count_nonzero(~number) < 2**12


def test_products_are_rounded_to_nearest_even(native, half):
    """Of any two numbers: small ones become subnormal or zero, large ones infinite."""
    rng = np.random.default_rng(0)
    patterns = np.concatenate([rng.integers(0, 2**16, 300), [1, 0x3FF, 0x400, 0x7BFF, 0x7F7F]])
    w = patterns.astype(np.uint16).view(half)
    x = ALL[::7].view(half)
    y = conv1d(x[np.newaxis], w[:, np.newaxis, np.newaxis])
    with np.errstate(all="ignore"):
        products = wide(w)[:, np.newaxis] * wide(x)  # exact for float16, in range for bfloat16
        expected = products.astype(half)
    same(wide(y), wide(expected))
    assert np.isinf(wide(y)).any()
    smallest = wide(np.array([1], np.uint16).view(half))
    assert np.count_nonzero(abs(wide(y)) == smallest) > 10


@pytest.mark.parametrize("exponent", [0, -14, -20, 15])
def test_ties_go_to_even(native, exponent):
    """Halfway between two neighbours of float16, and a little to either side."""
    ulp = 2.0 ** max(exponent - 10, -24)
    near = 2.0**exponent + ulp * np.arange(40)
    steps = np.array([0.25, 0.5, 0.75]) * ulp
    for step in steps:
        x = np.array([near, np.full_like(near, step / 2**-10)]).astype(np.float16)
        w = np.array([[[1], [2**-10]]], np.float16)
        assert (wide(x[1]) * np.float32(2**-10) == step).all()
        same(conv1d(x, w)[0], rounded(near + step, np.float16))


def test_instruction_sets_agree(each_native, half):
    """Bit for bit, whatever is in a NaN."""
    x = ALL.view(half)
    w = np.array([0.75], half)

    def call():
        return bits(conv1d(x, w)), bits(conv1d(x[::-3], w))  # side by side, and gathered

    results = list(each_native(call).values())
    for result in results[1:]:
        for a, e in zip(result, results[0], strict=True):
            same(a, e)


# --- the maps -----------------------------------------------------------------------------------


@given(case=half_cases, seed=seeds)
def test_results_are_those_of_float32_rounded(native, half, case, seed):
    check_rounded(case.normal(seed, half), case.geometry, case.groups)


@pytest.mark.parametrize("name", LARGE)
def test_more_than_fits_one_block(native, half, name):
    """Sums that are cut into chunks stay in float32 between them."""
    case = LARGE[name]
    check_rounded(case.normal(0, half), case.geometry, case.groups)


# More terms and results than fit their scratch together.
@pytest.mark.parametrize("stride", [1, 2])
def test_many_results_of_many_terms(native, half, stride):
    case = Case(1, 1, 300, 400, 700, 3, stride, 1, 1)
    check_rounded(case.normal(0, half), case.geometry, case.groups)


@pytest.mark.parametrize("kind", ["x", "w", "b", "dy"])
@given(case=half_cases, seed=seeds)
def test_non_finite_values_stay_where_they_belong(native, half, kind, case, seed):
    arrays = case.integral(seed, half)
    i = ("x", "w", "b", "dy").index(kind)
    arrays[i] = planted(np.random.default_rng(seed), arrays[i])
    check_rounded(arrays, case.geometry, case.groups)


@pytest.mark.parametrize("layout", LAYOUTS)
@given(case=half_cases, seed=seeds)
def test_any_layout_of_the_arrays(native, layout, case, seed):
    x, w, b, dy = arrays = case.normal(seed, np.float16)

    def every(x, w, b, dy):
        return conv1d(x, w, b, **case.options), *conv1d_backward(dy, x, w, **case.options)

    moved = every(*(LAYOUTS[layout](array) for array in arrays))
    for name, a, e in zip(MAPS, moved, every(x, w, b, dy), strict=True):
        same(bits(a), bits(e), err_msg=name)


@given(case=half_cases, seed=seeds, threads=st.sampled_from([2, 7]))
def test_samples_and_threads(native, half, case, seed, threads):
    """The bits of a sample alone, and of any number of threads."""
    x, w, b, dy = case.normal(seed, half)
    y = conv1d(x, w, b, **case.options)
    grads = conv1d_backward(dy, x, w, **case.options)
    with tuned(serial_products=0), cconv1d.num_threads(threads):
        same(bits(conv1d(x, w, b, **case.options)), bits(y))
        for a, e in zip(conv1d_backward(dy, x, w, **case.options), grads, strict=True):
            same(bits(a), bits(e))
    for n in range(len(x)):
        same(bits(conv1d(x[n], w, b, **case.options)), bits(y[n]))
        dx = conv1d_backward_input(dy[n], w, case.length, **case.options)
        same(bits(dx), bits(grads.input[n]))


# --- the public functions -----------------------------------------------------------------------


def test_exact_sums(backend, half):
    """Of small integers, with lists that take the dtype; results are new arrays of it."""
    x = np.array([1, 2, 3, 4], half)
    y = conv1d(x, [1, -2], [0.5], padding="full")
    same(wide(y), [-1.5, -2.5, -3.5, -4.5, 4.5])
    grads = conv1d_backward([1, 1, 1], x, [1, 2])
    for got, expected in zip(grads, ([1, 3, 3, 2], [6, 9], [3]), strict=True):
        same(wide(got), expected)
    for array in (y, *grads):
        assert array.dtype == half
        assert array.flags.c_contiguous


SIGNALS = {"one": (9,), "two axes": (2, 9), "three axes": (3, 2, 9), "short": (2, 3)}
KERNELS = [(5,), (2, 5), (3, 1, 5), (1,)]


@pytest.mark.parametrize("signals", SIGNALS)
@pytest.mark.parametrize("function", ["convolve", "correlate"])
def test_convolve_and_correlate(backend, half, function, signals):
    """Sums that are exact in float32 and not in half precision are rounded once, at the end."""
    rng = np.random.default_rng(0)
    call = getattr(cconv1d, function)
    a = rng.integers(-60, 61, SIGNALS[signals]).astype(half)
    for kernels, mode in product(KERNELS, ["full", "same", "valid", 1]):
        v = rng.integers(-60, 61, kernels).astype(half)
        expected = rounded(call(wide(a), wide(v), mode), half)
        for axis in range(-a.ndim, 0):
            y = call(np.moveaxis(a, -1, axis), v, mode, axis=axis)
            assert y.dtype == half
            same(bits(y), bits(np.moveaxis(expected, -1, axis)))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("function", ["convolve", "correlate"])
def test_convolve_and_correlate_in_any_layout(native, half, function, layout):
    """The bits of float32, rounded, wherever the numbers lie; unaligned ones are copied."""
    rng = np.random.default_rng(1)
    call = getattr(cconv1d, function)
    a, v = (rng.standard_normal(shape).astype(half) for shape in ((3, 40), (2, 1, 7)))
    expected = rounded(call(wide(a), wide(v), "same"), half)
    same(bits(call(LAYOUTS[layout](a), LAYOUTS[layout](v), "same")), bits(expected))
    memory = np.zeros(a.nbytes + 1, np.uint8)
    unaligned = memory[1:].view(half).reshape(a.shape)
    unaligned[...] = a
    same(bits(call(unaligned, v, "same")), bits(expected))


def test_sums_are_not_kept_in_half_precision(backend, half):
    """One and many times half of its last place."""
    last = float(np.finfo(np.float16).eps) if half == np.float16 else 2.0**-7
    x = np.full((4000, 1), last / 2, half)
    x[0] = 1
    ones = np.ones((1, 4000, 1), half)
    exact = rounded(np.float32(1 + 3999 * last / 2), half)
    assert conv1d(x, ones)[0, 0] == exact
    assert conv1d_backward_input(x, ones.transpose(1, 0, 2), 1)[0, 0] == exact
    grads = conv1d_backward(x.T, np.ones((1, 4000), half), np.ones((1, 1, 1), half))
    assert grads.weight[0, 0, 0] == exact
    assert grads.bias[0] == exact


def test_halves_are_compiled(native, half):
    """They would be right by the reference, too, but slow."""
    kernels = _backend.kernels_for(half)
    for name in kernels._fields:
        assert getattr(kernels, name) is not getattr(_reference, name)
    assert _backend.kernels_for(half) is kernels


def test_dtypes_are_not_mixed(backend, half):
    with pytest.raises(TypeError, match=f"input {half}, weight float32"):
        conv1d(np.ones(3, half), np.ones(2, np.float32))
    with pytest.raises(TypeError, match="holds complex128, which does not go into"):
        conv1d(np.ones(3, half), [1j])
