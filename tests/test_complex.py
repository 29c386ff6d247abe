"""Complex numbers, compiled: the real maps with twice the channels."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import (
    LAYOUTS,
    MAPS,
    Case,
    assert_near,
    cases,
    inner_geometries,
    integers,
    reference_maps,
    seeds,
    tuned,
)
from test_kernels import LARGE, kernel_maps

import cconv1d
from cconv1d import (
    _backend,
    _reference,
    conv1d,
    conv1d_backward,
    conv1d_backward_input,
    conv_transpose1d,
    conv_transpose1d_backward,
    convolve,
    correlate,
)

same = np.testing.assert_array_equal

complex_cases = cases(work=2**12)
dtypes = st.sampled_from([np.dtype(np.complex64), np.dtype(np.complex128)])


def normal(case, seed, dtype, geometry=None):
    """x, w, b and dy of normally distributed numbers, parts of different size among them."""
    rng = np.random.default_rng(seed)
    sizes = rng.choice([1, 1e-4], size=(4, 2))
    return [
        (rng.standard_normal(s) * re + 1j * rng.standard_normal(s) * im).astype(dtype)
        for s, (re, im) in zip(case.shapes(geometry), sizes, strict=True)
    ]


def as_real(x, w, b, dy):
    """The same sums of real numbers: channels (c, part), weights as matrices."""

    def signal(array):
        parts = np.stack([array.real, array.imag], axis=2)
        return parts.reshape(array.shape[0], 2 * array.shape[1], array.shape[2])

    matrix = np.array([[w.real, -w.imag], [w.imag, w.real]]).transpose(2, 0, 3, 1, 4)
    bias = np.stack([b.real, b.imag], axis=1).reshape(-1)
    outs, channels, taps = w.shape
    return signal(x), matrix.reshape(2 * outs, 2 * channels, taps), bias, signal(dy)


def parts_of(y, dx, dw, db):
    """Results of `as_real` as complex ones."""

    def joined(real, imag):
        array = np.empty(real.shape, np.result_type(real, np.complex64))
        array.real, array.imag = real, imag
        return array

    outs, channels, taps = dw.shape
    g = dw.reshape(outs // 2, 2, channels // 2, 2, taps)
    weight = joined(g[:, 0, :, 0] + g[:, 1, :, 1], g[:, 1, :, 0] - g[:, 0, :, 1])
    return (
        joined(y[:, ::2], y[:, 1::2]),
        joined(dx[:, ::2], dx[:, 1::2]),
        weight,
        joined(db[::2], db[1::2]),
    )


def check_accurate(arrays, g, groups):
    """Each part of a result is as near to the exact one as the sum of its own terms allows."""
    x, w, _, dy = arrays
    wide = np.longdouble if x.dtype == np.complex128 else np.float64
    real = as_real(*arrays)
    exact = parts_of(*reference_maps(*real, g, groups, wide))
    sums = reference_maps(*map(abs, real), g, groups, wide)
    outs, channels, taps = w.shape
    rows = sums[2].reshape(outs, 2, channels, 2, taps)
    sums = list(parts_of(*sums))
    sums[2].imag = rows[:, 1, :, 0] + rows[:, 0, :, 1]
    positions = 2 * dy.shape[0] * dy.shape[2]
    terms = 2 * w[0].size + 1 if len(w) else 1, 2 * len(w) // groups * w.shape[2]
    got = kernel_maps(*arrays, g, groups)
    counts = *terms, positions, positions
    for name, a, e, s, count in zip(MAPS, got, exact, sums, counts, strict=True):
        assert_near(a.real, e.real, s.real, count, f"{name}, real")
        assert_near(a.imag, e.imag, s.imag, count, f"{name}, imaginary")


def everything(case, x, w, b, dy):
    """All results of the public functions."""
    y = conv1d(x, w, b, **case.options)
    return y, *conv1d_backward(dy, x, w, **case.options)


def same_bits(got, expected):
    for name, a, e in zip(MAPS, got, expected, strict=True):
        assert a.dtype == e.dtype
        same(a.view(a.real.dtype), e.view(e.real.dtype), err_msg=name, strict=True)


# --- accuracy -----------------------------------------------------------------------------------


@given(case=complex_cases, seed=seeds, dtype=dtypes)
def test_random_geometries(backend, case, seed, dtype):
    check_accurate(normal(case, seed, dtype), case.geometry, case.groups)


@given(data=st.data(), case=cases(work=2**10), seed=seeds, dtype=dtypes)
def test_geometries_of_the_package_itself(native, data, case, seed, dtype):
    geometry = data.draw(inner_geometries(case))
    check_accurate(normal(case, seed, dtype, geometry), geometry, case.groups)


@given(case=complex_cases, seed=seeds, dtype=dtypes)
def test_exact_sums(native, case, seed, dtype):
    """Of small integers: those of the reference."""
    arrays = case.integral(seed, dtype)
    g = case.geometry
    expected = reference_maps(*arrays, g, case.groups, dtype)
    for name, a, e in zip(MAPS, kernel_maps(*arrays, g, case.groups), expected, strict=True):
        same(a, e, err_msg=name)


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
@pytest.mark.parametrize("transposed", [False, True])
def test_torch(native, torch, dtype, transposed):
    """Its values and its convention for gradients."""
    case = Case(2, 2, 2, 3, 21, 3, 2, 3, 2)
    x, w, b, dy = case.integral(0, dtype)
    options = {"stride": 2, "padding": 3, "dilation": 2, "groups": 2}
    if transposed:
        x, dy, b = dy, x, b[:4]
        forward, backward = conv_transpose1d, conv_transpose1d_backward
        theirs = torch.nn.functional.conv_transpose1d
    else:
        forward, backward, theirs = conv1d, conv1d_backward, torch.nn.functional.conv1d
    tensors = [torch.from_numpy(a).requires_grad_() for a in (x, w, b)]
    expected = theirs(*tensors, **options)
    expected.backward(torch.from_numpy(dy))
    same(forward(x, w, b, **options), expected.detach().numpy())
    for a, e in zip(backward(dy, x, w, **options), tensors, strict=True):
        same(a, e.grad.numpy())


# --- the same bits ------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
@given(case=cases(work=2**12), seed=seeds, dtype=dtypes)
def test_any_layout_of_the_arrays(native, layout, case, seed, dtype):
    arrays = normal(case, seed, dtype)
    moved = everything(case, *(LAYOUTS[layout](array) for array in arrays))
    same_bits(moved, everything(case, *arrays))


@given(case=cases(work=2**12), seed=seeds, dtype=dtypes, threads=st.sampled_from([2, 7]))
def test_samples_and_threads(native, case, seed, dtype, threads):
    arrays = x, w, b, dy = normal(case, seed, dtype)
    results = everything(case, *arrays)
    with tuned(serial_products=0), cconv1d.num_threads(threads):
        same_bits(everything(case, *arrays), results)
    for n in range(len(x)):
        same(conv1d(x[n], w, b, **case.options), results[0][n])
        same(conv1d_backward_input(dy[n], w, case.length, **case.options), results[1][n])


@given(case=cases(work=2**12), seed=seeds, dtype=dtypes)
def test_instruction_sets_agree(each_native, case, seed, dtype):
    arrays = normal(case, seed, dtype)
    results = each_native(lambda: everything(case, *arrays))
    fused = [found for name, found in results.items() if name != "native-baseline"]
    for found in fused[1:]:
        same_bits(found, fused[0])


def check_twin(case, arrays):
    """The bits are those of the real maps.

    But for gradients of weights: the order of their sums depends on the shape, of which a complex
    number is one item. `check_accurate` judges them.
    """
    got = kernel_maps(*arrays, case.geometry, case.groups)
    twin = parts_of(*kernel_maps(*as_real(*arrays), case.geometry, case.groups))
    for name, a, e in zip(MAPS, got, twin, strict=True):
        if name != "backward_weight":
            same(a.view(a.real.dtype), e.view(e.real.dtype), err_msg=name, strict=True)


@given(case=cases(work=2**14), seed=seeds, dtype=dtypes)
def test_bits_of_the_real_maps(native, case, seed, dtype):
    check_twin(case, normal(case, seed, dtype))


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
@pytest.mark.parametrize("name", LARGE)
def test_more_than_fits_one_block(native, name, dtype):
    case = LARGE[name]
    check_twin(case, normal(case, 0, np.dtype(dtype)))


@pytest.mark.parametrize("stride", [1, 2])
def test_many_results_of_many_terms(native, stride):
    """More of either than fit their scratch, in both directions."""
    case = Case(1, 1, 150, 200, 700, 3, stride, 1, 1)
    check_twin(case, normal(case, 0, np.dtype(np.complex64)))


# --- non-finite numbers -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["x", "w", "b", "dy"])
@pytest.mark.parametrize("part", [1, 1j])
@given(case=cases(work=2**12), seed=seeds)
def test_nan_reaches_the_results_whose_sums_hold_it(native, kind, part, case, seed):
    """Both parts of them, but for a bias, which is added part by part."""
    arrays = case.integral(seed, np.complex64)
    i = ("x", "w", "b", "dy").index(kind)
    if arrays[i].size == 0:
        return
    rng = np.random.default_rng(seed)
    place = tuple(rng.integers(size) for size in arrays[i].shape)
    ones = [np.ones(array.shape) for array in arrays]
    ones[i][place] = np.nan
    arrays[i].view(np.float32).reshape(*arrays[i].shape, 2)[(*place, int(part == 1j))] = np.nan
    g = case.geometry
    got = kernel_maps(*arrays, g, case.groups)
    reached = reference_maps(*ones, g, case.groups, np.float64)
    for name, a, e in zip(MAPS, got, reached, strict=True):
        sum_of_parts = name == "backward_bias" or kind == "b"
        for result, other in ((a.real, 1j), (a.imag, 1)):
            same(np.isnan(result), np.isnan(e) & (not sum_of_parts or part != other), err_msg=name)


# --- what goes with it --------------------------------------------------------------------------


@given(case=cases(work=2**12), seed=seeds)
def test_a_weight_for_each_sample(native, case, seed):
    x, w, b, dy = case.integral(seed, np.complex64)
    rng = np.random.default_rng(seed)
    w = integers(rng, (len(x), *w.shape), w.dtype)
    y = conv1d(x, w, b, **case.options)
    grads = conv1d_backward(dy, x, w, **case.options)
    for n in range(len(x)):
        same(y[n], conv1d(x[n], w[n], b, **case.options))
        for a, e in zip(grads, conv1d_backward(dy[n], x[n], w[n], **case.options), strict=True):
            same(a[n], e)


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
@pytest.mark.parametrize("function", [convolve, correlate])
def test_convolve_and_correlate_are_compiled(native, function, dtype, monkeypatch):
    rng = np.random.default_rng(0)
    a, v = integers(rng, (3, 50), dtype), integers(rng, 7, dtype)
    numpys = {"convolve": np.convolve, "correlate": np.correlate}[function.__name__]
    expected = [numpys(row, v, "same") for row in a]

    def never(*arguments):
        raise AssertionError("not compiled")

    monkeypatch.setattr("cconv1d._signal.call_numpy", never)
    result = function(a, v, "same")
    assert result.dtype == dtype
    same(result, expected)


@pytest.mark.thread_unsafe  # which all share what is traced
def test_signals_are_not_copied(native):
    """Of either layout, with padding and stride."""
    x = np.zeros((4, 64, 8192), np.complex64)
    w = np.ones((1, 64, 3), np.complex64)
    for signals, layout in ((x, "NCL"), (x.reshape(4, 8192, 64), "NLC")):
        tracemalloc.start()
        conv1d(signals, w, stride=8, padding=1, padding_mode="reflect", layout=layout)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < x.nbytes / 8  # scratch, for two threads


#: Blocks of rows that begin between the parts of a number, phases that are merged or meet no tap,
#: weights that take several chunks, a padding mode, and a single tap.
CONJUGATED = [
    Case(2, 1, 3, 9, 70, 5, 1, (3, 1), 2),
    Case(2, 2, 5, 3, 61, 7, 3, (2, 2), 1),
    Case(1, 1, 70, 13, 40, 9, 2, (4, 4), 1),
    Case(3, 3, 1, 1, 33, 2, 4, (0, 1), 3),
    Case(2, 1, 2, 17, 50, 4, 1, (3, 2), 1, "reflect"),
    Case(1, 1, 1, 7, 9, 1, 1, 0, 1),
]


def moved(array):
    """The same numbers, none of which lies beside the next one."""
    room = np.empty([2 * n + 1 for n in array.shape], array.dtype)
    view = room[tuple(slice(1, None, 2) for _ in array.shape)]
    view = view[..., ::-1]
    view[...] = array
    return view


@pytest.mark.parametrize("arrange", [np.ascontiguousarray, moved])
@pytest.mark.parametrize("case", CONJUGATED, ids=str)
@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_the_extension_conjugates(native, dtype, case, arrange):
    """To the bit what it computes of a conjugated copy; which arrays' strides it takes as any."""
    kernels = _backend.kernels_for(np.dtype(dtype))
    x, w, b, dy = normal(case, 0, dtype)
    g, groups = case.geometry, case.groups
    for bad in (None, np.nan):
        if bad is not None:
            w[-1, 0, -1] = bad * 1j
        for threads in (1, 3):
            with cconv1d.num_threads(threads):
                ours, theirs = [], []
                for results, v, options in (
                    (ours, arrange(w), {"conjugate": True}),
                    (theirs, w.conj(), {}),
                ):
                    y, dx, dw = (arrange(np.empty_like(a)) for a in (dy, x, w))
                    kernels.forward(arrange(x), v, arrange(b), y, g, groups, **options)
                    kernels.backward_input(arrange(dy), v, dx, g, groups, **options)
                    kernels.backward_weight(arrange(dy), arrange(x), dw, g, groups, **options)
                    packed = [
                        kernels.pack(v, g, groups, transposed, False, **options)
                        for transposed in (False, True)
                    ]
                    again, dx_again = np.empty_like(y), np.empty_like(dx)
                    kernels.forward(arrange(x), packed[0], arrange(b), again, g, groups)
                    kernels.backward_input(arrange(dy), packed[1], dx_again, g, groups)
                    same(again, y)
                    same(dx_again, dx)
                    results += [y, dx, dw if options else dw.conj()]
            for a, c in zip(ours, theirs, strict=True):
                same(a, c)
                assert a[np.isfinite(a)].tobytes() == c[np.isfinite(c)].tobytes()


def test_packed_complex_weights_do_not_go_with_real_ones(native):
    """A complex64 has as many bytes as a float64."""
    case = Case(1, 1, 2, 3, 20, 3, 1, 0, 1)
    x, w, _, dy = normal(case, 0, np.complex64)
    packed = _backend.kernels_for(w.dtype).pack(w, case.geometry, 1, False, False)
    real = _backend.kernels_for(np.dtype(np.float64))
    with pytest.raises(TypeError, match="complex"):
        real.forward(x.real.astype(float), packed, None, dy.real.astype(float), case.geometry, 1)


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_complex_numbers_are_compiled(native, dtype):
    """They would be right by the reference, too, but slow."""
    kernels = _backend.kernels_for(np.dtype(dtype))
    for name in kernels._fields:
        assert getattr(kernels, name) is not getattr(_reference, name)
    swapped = np.dtype(dtype).newbyteorder()
    y = conv1d(np.array([1j, 2, 3], swapped), np.array([1, 1j], swapped))
    assert y.tolist() == [3j, 2 + 3j]
