"""What every backend computes: error, bits, non-finite values, over the whole geometry."""

from __future__ import annotations

import platform
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import (
    FUZZ,
    LAYOUTS,
    MAPS,
    NUMPY_MODES,
    REAL,
    Case,
    Fenced,
    assert_accurate,
    between_nans,
    cases,
    inner_geometries,
    reference_maps,
    seeds,
)

from cconv1d import (
    _backend,
    conv1d,
    conv1d_backward,
    conv1d_backward_input,
)
from cconv1d._geometry import PADDING_MODES

same = np.testing.assert_array_equal
dtypes = st.sampled_from(REAL)


def kernel_maps(x, w, b, dy, g, groups):
    """y, dx, dw and db by the selected backend, from arrays that lie between NaN.

    The arrays that are filled hold NaN before and must be filled all over, and not beyond.
    """
    kernels = _backend.kernels_for(x.dtype)
    x, w, b, dy = arrays = [between_nans(array) for array in (x, w, b, dy)]
    before = [array.copy() for array in arrays]
    y, dx, dw, db = outputs = [Fenced(array.shape, x.dtype) for array in (dy, x, w, b)]
    kernels.forward(x, w, b, y.array, g, groups)
    kernels.backward_input(dy, w, dx.array, g, groups)
    kernels.backward_weight(dy, x, dw.array, g, groups)
    kernels.backward_bias(dy, db.array)
    for array, copy in zip(arrays, before, strict=True):
        assert array.tobytes() == copy.tobytes()
    return [output.result() for output in outputs]


# --- the right numbers --------------------------------------------------------------------------


@FUZZ
@given(case=cases(), seed=seeds, dtype=dtypes)
def test_every_geometry(backend, case, seed, dtype):
    g = case.geometry
    arrays = case.normal(seed, dtype)
    assert_accurate(kernel_maps(*arrays, g, case.groups), arrays, g, case.groups)


@given(data=st.data(), case=cases(work=2**14), seed=seeds, dtype=dtypes)
def test_geometries_of_the_package_itself(backend, data, case, seed, dtype):
    """Negative padding: samples on the left and on the right that no tap meets."""
    g = data.draw(inner_geometries(case, most=17))
    arrays = case.normal(seed, dtype, g)
    assert_accurate(kernel_maps(*arrays, g, case.groups), arrays, g, case.groups)


# The reference, which is the oracle of what follows, has neither tiles nor blocks: tests that are
# about those run on the levels alone.


@pytest.mark.parametrize("dtype", REAL, ids=str)
@pytest.mark.parametrize("length", [511, 512, 513, 1023, 1025, 2048, 2049, 4096, 4097, 8195])
@pytest.mark.parametrize("stride", [1, 2, 5])
@pytest.mark.parametrize(("channels", "outs"), [(3, 7), (9, 13)])
def test_outputs_either_side_of_position_tiles(native, dtype, length, stride, channels, outs):
    """`length` is that of the output; these channels leave rests in every register block."""
    case = Case(2, 1, channels, outs, (length - 1) * stride + 1, 4, stride, (1, 2), 1)
    assert case.geometry.output_length == length
    check_integers(case, dtype)


@pytest.mark.parametrize("dtype", REAL, ids=str)
@pytest.mark.parametrize("outs", [1, 2, 5, 6, 7, 11, 12, 13, 15, 16, 17, 23, 24, 25, 36, 37, 100])
@pytest.mark.parametrize("terms", [(127, 1), (1, 128), (43, 3), (64, 4), (257, 1), (15, 51)])
def test_channels_either_side_of_register_and_term_blocks(native, dtype, outs, terms):
    check_integers(Case(1, 1, terms[0], outs, 40, terms[1], 1, "same", 1), dtype)


@lru_cache(maxsize=24)  # as many as the longest table below has, for one level after another
def integral(case):
    """x, w, b and dy of small integers, and the exact results, which are so in any dtype."""
    four = case.integral(0, np.float64)
    return four, reference_maps(*four, case.geometry, case.groups, np.float64)


def check_integers(case, dtype):
    four, expected = integral(case)
    got = kernel_maps(*(array.astype(dtype) for array in four), case.geometry, case.groups)
    for name, a, e in zip(MAPS, got, expected, strict=True):
        same(a, e, err_msg=name)


# More terms than one chunk of 4096 has, halos longer than a panel of 128 KiB, more outputs than
# one pass of 512 takes, more phases than taps.
LARGE = {
    "many channels": Case(2, 1, 1100, 5, 300, 4, 1, 1, 1),
    "many channels and taps": Case(2, 1, 33, 9, 260, 129, 3, 70, 2),
    "many taps": Case(2, 1, 1, 1, 6000, 5000, 1, 300, 1),
    "many taps, strided": Case(2, 2, 1, 2, 6000, 4500, 7, 1000, 1),
    "many taps, few positions": Case(2, 1, 257, 23, 3, 32, 2, "causal", 17),
    "many taps, far apart": Case(2, 1, 257, 9, 40, 64, 1, "same", 31),
    "wide taps": Case(2, 1, 2, 8, 60900, 4, 1, 0, 20000),
    "wide taps, strided": Case(2, 1, 3, 2, 120500, 4, 3, 500, 40000),
    "many outputs": Case(2, 1, 3, 600, 530, 3, 1, 1, 1),
    "wide border": Case(3, 1, 40, 5, 700, 9, 2, (699, 500), 3, "reflect"),
    "wide border of one sample": Case(2, 1, 3, 5, 300, 4, 3, (1000, 700), 2, "replicate"),
    "wide border of the other end": Case(2, 2, 3, 5, 500, 4, 1, (500, 499), 2, "circular"),
    "borders of many channels": Case(3, 1, 1100, 2, 20, 3, 1, 5, 1, "reflect"),
    "borders of many groups": Case(3, 1100, 1, 1, 20, 3, 1, 5, 1, "circular"),
    "many outputs of groups": Case(2, 2, 20, 520, 33, 3, 1, 1, 1),
    "many channels to few": Case(2, 1, 600, 3, 530, 3, 1, 1, 1),
    "long stride": Case(2, 1, 3, 5, 40000, 9, 300, 10, 7),
    "long": Case(2, 1, 9, 13, 9000, 3, 1, 1, 1),
}


@pytest.mark.parametrize("dtype", REAL, ids=str)
@pytest.mark.parametrize("name", LARGE)
def test_more_than_fits_one_block(native, name, dtype):
    check_integers(LARGE[name], dtype)


# Layers of published networks, with short signals: N, C, L, K, k, stride, dilation, groups, padding
WORKLOADS = {
    "resnet1d-64": (2, 64, 100, 64, 3, 1, 1, 1, 1),
    "resnet1d-256": (1, 256, 40, 256, 3, 1, 1, 1, 1),
    "whisper-stem1": (1, 80, 50, 384, 3, 1, 1, 1, 1),
    "whisper-stem2": (1, 384, 41, 384, 3, 2, 1, 1, 1),
    "w2v2-conv2": (1, 512, 33, 512, 3, 2, 1, 1, 0),
    "tcn-d8": (2, 64, 100, 64, 3, 1, 8, 1, 8),
    "wavenet-d64": (1, 128, 150, 128, 2, 1, 64, 1, 0),
    "hifigan-k11-d5": (1, 128, 60, 128, 11, 1, 5, 1, 25),
    "hifigan-k7-out": (1, 32, 700, 1, 7, 1, 1, 1, 3),
    "atacworks": (1, 15, 600, 15, 51, 1, 8, 1, 200),
    "inceptiontime-40": (2, 32, 70, 32, 40, 1, 1, 1, 0),
    "basset-k19": (2, 4, 130, 300, 19, 1, 1, 1, 9),
    "enformer-stem": (1, 4, 150, 768, 15, 1, 1, 1, 7),
    "m5-k80-s4": (2, 1, 400, 128, 80, 4, 1, 1, 38),
    "convtasnet-1x1": (1, 128, 70, 512, 1, 1, 1, 1, 0),
    "convtasnet-dw-d4": (1, 512, 70, 512, 3, 1, 4, 512, 4),
    "mamba-dw-k4": (1, 1536, 33, 1536, 4, 1, 1, 1536, 3),
    "quartznet-dw-k33": (1, 256, 90, 256, 33, 1, 1, 256, 16),
    "conformer-dw-k31": (2, 256, 70, 256, 31, 1, 1, 256, 15),
    "w2v2-pos-g16": (1, 192, 10, 192, 128, 1, 1, 4, 64),
    "fir-k101": (1, 1, 9000, 1, 101, 1, 1, 1, 50),
    "ecg-k5-c1": (1, 1, 360, 1, 5, 1, 1, 1, 0),
    "tiny-ecgnet": (1, 12, 250, 32, 7, 1, 1, 1, 3),
    "notes-4-2": (1, 1, 4, 1, 2, 1, 1, 1, 0),
}


def workload(name):
    n, c, length, k, taps, stride, dilation, groups, padding = WORKLOADS[name]
    return Case(n, groups, c // groups, k // groups, length, taps, stride, padding, dilation)


@pytest.mark.parametrize("dtype", REAL, ids=str)
@pytest.mark.parametrize("name", WORKLOADS)
def test_workloads_are_exact_on_small_integers(native, name, dtype):
    check_integers(workload(name), dtype)


@pytest.mark.parametrize("name", WORKLOADS)
def test_workloads(native, name):
    case = workload(name)
    arrays = case.normal(1, np.float32)
    got = kernel_maps(*arrays, case.geometry, case.groups)
    assert_accurate(got, arrays, case.geometry, case.groups)


@pytest.mark.parametrize("dtype", REAL, ids=str)
def test_long_sums_are_summed_in_blocks(native, dtype):
    """One and 65,535 times eps/2, which is lost where it is added to the one alone.

    So a result tells how many terms shared a chain with the one: about 128 in y and dx, fewer
    than 4096 in dw and db.
    """
    eps = np.finfo(dtype).eps
    for shape in ((65536, 1), (512, 128), (1, 65536)):
        terms = np.full(shape, eps / 2, dtype)
        terms[0, 0] = 1
        ones = np.ones_like(terms)
        y = conv1d(terms, ones[np.newaxis])
        taps = shape[1]
        dx = conv1d_backward_input(
            ones, terms[:, np.newaxis, ::-1], input_length=2 * taps - 1, padding=0
        )
        for sums in (y[0, 0], dx[0, taps - 1]):
            assert abs((float(sums) - 1) / eps * 2 - 65535) <= 200, shape
    row = terms  # one sample of 65,536 positions, and 16 samples of 4096
    for dy in (row[np.newaxis], row.reshape(16, 1, 4096)):
        for channels in (1, 16):
            outs = np.repeat(dy, channels, axis=1)
            grads = conv1d_backward(
                outs, np.ones_like(outs), np.ones((channels, channels, 1), dtype)
            )
            for sums in (*grads.weight.flat, *grads.bias):
                assert abs((float(sums) - 1) / eps * 2 - 65535) <= 4096


def test_positions_are_counted_in_64_bits(native):
    """The padded signal has 2**47 positions, the sums only a few."""
    far = 2**46
    x, w = np.arange(1.0, 6.0), np.array([10.0, 100.0])
    same(conv1d(x, w, stride=far, padding=far), [0, 210, 0])
    grads = conv1d_backward([7.0, 8.0, 9.0], x, w, stride=far, padding=far)
    same(grads.input, [80, 800, 0, 0, 0])
    same(grads.weight, [8, 16])
    same(conv1d(x, w, padding=(far, 0), dilation=far), [100, 200, 300, 400, 500])
    grads = conv1d_backward(x, x, w, padding=(far, 0), dilation=far)
    same(grads.input, 100 * x)
    same(grads.weight, [0, x @ x])


def test_copies_of_one_sample_far_outside(native):
    """Positions that no output reads are not visited: there are 2**46 of them."""
    far = 2**46
    options = {"stride": far // 4, "padding": far, "padding_mode": "replicate"}
    x, w = np.arange(1.0, 6.0), np.array([10.0, 100.0])
    y = conv1d(x, w, **options)
    same(y, [110, 110, 110, 110, 210, 550, 550, 550, 550])
    grads = conv1d_backward(np.arange(1.0, 10.0), x, w, **options)
    same(grads.input, [110 * 10 + 50, 500, 0, 0, 110 * 30])
    same(grads.weight, [1 * 10 + 5 * 1 + 5 * 30, 1 * 10 + 5 * 2 + 5 * 30])


# --- the same bits ------------------------------------------------------------------------------

bit_cases = cases(work=2**15, batches=(2, 3, 7))


def public_maps(x, w, b, dy, case):
    return conv1d(x, w, b, **case.options), *conv1d_backward(dy, x, w, **case.options)


@given(case=bit_cases, seed=seeds, dtype=dtypes)
def test_a_sample_alone_and_in_a_batch(native, case, seed, dtype):
    x, w, b, dy = case.normal(seed, dtype)
    y, dx, *_ = public_maps(x, w, b, dy, case)
    for n in range(len(x)):
        for one in (np.s_[n : n + 1], n):
            same(conv1d(x[one], w, b, **case.options), y[one])
            got = conv1d_backward_input(dy[one], w, case.length, **case.options)
            same(got, dx[one])


@pytest.mark.parametrize("layout", LAYOUTS)
@given(case=bit_cases, seed=seeds, dtype=dtypes)
def test_any_layout_of_the_arrays(native, layout, case, seed, dtype):
    arrays = case.normal(seed, dtype)
    expected = public_maps(*arrays, case)
    moved = [LAYOUTS[layout](array) for array in arrays]
    for one, a, e in zip(MAPS, public_maps(*moved, case), expected, strict=True):
        same(a, e, err_msg=one)
    for i in (0, 1, 3):  # one operand at a time, beside contiguous ones
        one_moved = [*arrays[:i], moved[i], *arrays[i + 1 :]]
        for name, a, e in zip(MAPS, public_maps(*one_moved, case), expected, strict=True):
            same(a, e, err_msg=name)


@given(case=bit_cases, seed=seeds, dtype=dtypes, left=st.integers(0, 70), right=st.integers(0, 9))
def test_padding_and_zeros_in_the_signal(native, case, seed, dtype, left, right):
    """Padding has the bits of zeros written into the signal, and of the same place without it."""
    case = case._replace(padding=(left, right), mode="zeros")
    least = max(case.length, case.dilation * (case.taps - 1) + 1)
    case = case._replace(length=least)
    x, w, b, dy = case.normal(seed, dtype)
    options = case.options | {"padding": 0}
    wide = np.pad(x, ((0, 0), (0, 0), (left, right)))
    same(conv1d(x, w, b, **case.options), conv1d(wide, w, b, **options))
    dx = conv1d_backward_input(dy, w, case.length, **case.options)
    wide_dx = conv1d_backward_input(dy, w, case.length + left + right, **options)
    same(dx, wide_dx[..., left : left + case.length])


@given(
    case=bit_cases,
    seed=seeds,
    dtype=dtypes,
    mode=st.sampled_from(PADDING_MODES[1:]),
    left=st.integers(0, 70),
    right=st.integers(0, 140),
)
def test_padding_modes_and_copies_in_the_signal(native, case, seed, dtype, mode, left, right):
    """They have the bits of a padded signal: y, and dx with its own, left and right in order."""
    least = max(left + 1, right + 1, case.dilation * (case.taps - 1) + 1, case.length)
    case = case._replace(padding=(left, right), mode=mode, length=least)
    x, w, b, dy = case.normal(seed, dtype)
    sources = np.arange(case.length)
    name = NUMPY_MODES[mode]
    left_of, right_of = (np.pad(sources, sides, name) for sides in ((left, 0), (0, right)))
    left_of, right_of = left_of[:left], right_of[case.length :]
    wide = x[..., np.concatenate([left_of, sources, right_of])]
    options = case.options | {"padding": 0, "padding_mode": "zeros"}
    same(conv1d(x, w, b, **case.options), conv1d(wide, w, b, **options))
    wide_dx = conv1d_backward_input(dy, w, wide.shape[2], **options)
    dx = wide_dx[..., left : left + case.length].copy()
    outside = wide_dx[..., :left], wide_dx[..., left + case.length :]
    if mode == "replicate":
        # chains end at multiples of 128 from the end of the signal
        for chain in np.split(outside[0], np.arange(left % 128, left, 128), axis=-1):
            dx[..., 0] += in_order(chain)
        for chain in np.split(outside[1], np.arange(128, right, 128), axis=-1):
            dx[..., -1] += in_order(chain)
    else:
        dx[..., left_of] += outside[0]
        dx[..., right_of] += outside[1]
    same(conv1d_backward_input(dy, w, case.length, **case.options), dx)


def in_order(terms):
    """Their sum over the last axis, one after another."""
    total = np.zeros(terms.shape[:-1], terms.dtype)
    for i in range(terms.shape[-1]):
        total += terms[..., i]
    return total


@given(case=bit_cases, seed=seeds, dtype=dtypes, data=st.data())
def test_a_part_of_the_signal(native, case, seed, dtype, data):
    """Outputs a to b of a signal cut to the samples that they see: position does not matter."""
    span = case.dilation * (case.taps - 1) + 1
    case = case._replace(padding=0, mode="zeros", length=max(case.length, span))
    x, w, b, dy = case.normal(seed, dtype)
    positions = dy.shape[2]
    first = data.draw(st.integers(0, positions - 1))
    end = data.draw(st.integers(first + 1, positions))
    seen = slice(first * case.stride, (end - 1) * case.stride + span)
    whole = conv1d(x, w, b, **case.options)
    same(conv1d(x[..., seen], w, b, **case.options), whole[..., first:end])

    dx = conv1d_backward_input(dy, w, case.length, **case.options)
    part = conv1d_backward_input(dy[..., first:end], w, seen.stop - seen.start, **case.options)
    inside = inner_samples(first, end, positions, part.shape[2], case)
    same(part[..., inside], dx[..., seen][..., inside])


def inner_samples(first, end, positions, length, case):
    """The samples of a part, outputs first to end, that no output outside of it sees."""
    overlap = max(case.dilation * (case.taps - 1) + 1 - case.stride, 0)
    return slice(overlap if first > 0 else 0, max(length - overlap * (end < positions), 0))


@pytest.mark.parametrize("dtype", REAL, ids=str)
@pytest.mark.parametrize("name", LARGE)
def test_parts_of_large_sums(native, name, dtype):
    """However the blocks are cut: one sample, its first half, its last half."""
    case = LARGE[name]._replace(mode="zeros")
    span = case.dilation * (case.taps - 1) + 1
    case = case._replace(padding=0, length=max(case.length, span + 4 * case.stride))
    x, w, b, dy = case.normal(0, dtype)
    positions = dy.shape[2]
    y = conv1d(x, w, b, **case.options)
    dx = conv1d_backward_input(dy, w, case.length, **case.options)
    half = positions // 2
    for n, first, end in ((0, 0, positions), (1, 0, half), (1, half, positions)):
        seen = slice(first * case.stride, (end - 1) * case.stride + span)
        same(conv1d(x[n, :, seen], w, b, **case.options), y[n, :, first:end])
        part = conv1d_backward_input(dy[n, :, first:end], w, seen.stop - seen.start, **case.options)
        inside = inner_samples(first, end, positions, part.shape[1], case)
        same(part[:, inside], dx[n, :, seen][:, inside])


@given(case=bit_cases, seed=seeds, dtype=dtypes)
def test_a_repeated_call(native, case, seed, dtype):
    """Nor what the results, the scratch or the other calls held before."""
    arrays = case.normal(seed, dtype)
    expected = public_maps(*arrays, case)
    conv1d(np.full((1, 9, 700), np.nan, dtype), np.full((13, 9, 5), np.nan, dtype))
    for one, a, e in zip(MAPS, public_maps(*arrays, case), expected, strict=True):
        same(a, e, err_msg=one)


def fused(levels):
    """The levels with a fused multiply-add: all but the baseline of x86."""
    x86 = platform.machine().lower() in ("x86_64", "amd64", "i386", "i686")
    return [name for name in levels if not (x86 and name == "native-baseline")]


@FUZZ
@given(case=cases(work=2**15), seed=seeds, dtype=dtypes)
def test_instruction_sets_agree(each_native, case, seed, dtype):
    arrays = case.normal(seed, dtype)
    results = each_native(lambda: kernel_maps(*arrays, case.geometry, case.groups))
    levels = fused(results)
    if len(levels) < 2:
        pytest.skip("fewer than two instruction sets with a fused multiply-add")
    for level in levels[1:]:
        for name, a, e in zip(MAPS, results[level], results[levels[0]], strict=True):
            same(a, e, err_msg=f"{name}, {level} and {levels[0]}")


# --- non-finite values --------------------------------------------------------------------------


def check_exact(arrays, g, groups):
    """Integers beside which there are non-finite values, in the places of the exact sums."""
    expected = reference_maps(*arrays, g, groups, np.float64)
    with np.errstate(invalid="ignore"):
        got = kernel_maps(*arrays, g, groups)
    for name, a, e in zip(MAPS, got, expected, strict=True):
        same(a, e, err_msg=name)


def planted(rng, array, how_many=2):
    """The array with some non-finite values, mostly at its ends, where rests of tiles are."""
    array = array.copy()
    for _ in range(how_many if array.size else 0):
        place = tuple(rng.choice([0, size - 1, rng.integers(size)]) for size in array.shape)
        array[place] = rng.choice([np.nan, np.inf, -np.inf])
    return array


@pytest.mark.parametrize("kind", ["x", "w", "b", "dy"])
@given(case=cases(work=2**15, batches=(1, 2, 3)), seed=seeds, dtype=dtypes)
def test_non_finite_values_stay_where_they_belong(backend, kind, case, seed, dtype):
    """Integers otherwise, so that the results are those of the exact sums everywhere.

    Zeros around the signal are no terms of a sum, those that signals and weights hold are.
    """
    arrays = dict(zip(("x", "w", "b", "dy"), case.integral(seed, dtype), strict=True))
    arrays[kind] = planted(np.random.default_rng(seed), arrays[kind])
    check_exact(arrays.values(), case.geometry, case.groups)


@given(data=st.data(), case=cases(work=2**12, batches=(1, 2, 3)), seed=seeds, dtype=dtypes)
def test_non_finite_values_in_geometries_of_the_package(backend, data, case, seed, dtype):
    g = data.draw(inner_geometries(case, most=17))
    rng = np.random.default_rng(seed)
    check_exact([planted(rng, array, 1) for array in case.integral(seed, dtype, g)], g, case.groups)


@pytest.mark.parametrize("dtype", REAL, ids=str)
@pytest.mark.parametrize(
    ("groups", "channels", "outs", "taps", "stride", "dilation"),
    [
        (1, 1, 1, 2, 1, 1),
        (1, 1, 1, 33, 1, 1),
        (1, 3, 7, 3, 1, 1),
        (1, 2, 13, 5, 1, 3),
        (1, 3, 17, 3, 2, 1),
        (2, 2, 5, 4, 3, 2),
        (3, 1, 1, 3, 1, 1),
        (3, 1, 1, 4, 2, 3),
        (5, 1, 2, 19, 1, 1),
    ],
)
def test_nan_in_the_rest_of_a_tile(native, dtype, groups, channels, outs, taps, stride, dilation):
    """At the last sample, the last position, and the first and the last weight."""
    for length in (3, 5, 9, 15, 17, 33, 47, 63, 65, 129, 513):
        shape = Case(1, groups, channels, outs, length, taps, stride, 0, dilation)
        for padding in (0, (taps - 1) * dilation):
            case = shape._replace(padding=padding)
            if case.length + 2 * padding <= dilation * (taps - 1):
                continue
            clean = case.integral(length, dtype)
            for i, place in ((0, -1), (1, 0), (1, -1), (3, -1)):
                arrays = [array.copy() for array in clean]
                arrays[i].flat[place] = np.nan
                check_exact(arrays, case.geometry, groups)


def test_nan_in_the_notes_example(backend):
    """dx_1 = w_1·dy_1 and dx_4 = w_2·dy_3 have one term each."""
    nan, x, dy = np.nan, np.arange(1.0, 5.0), np.ones(3)
    with np.errstate(invalid="ignore"):
        grads = conv1d_backward(dy, x, [2.0, nan])
        same(grads.input, [2, nan, nan, nan])
        same(grads.weight, [6, 9])
        grads = conv1d_backward(dy, x, [nan, 2.0])
        same(grads.input, [nan, nan, nan, 2])
        grads = conv1d_backward([1.0, 1.0, nan], x, [2.0, 3.0])
        same(grads.input, [2, 5, nan, nan])
        same(grads.weight, [nan, nan])
        same(grads.bias, [nan])
        grads = conv1d_backward(dy, [1.0, 2.0, 3.0, nan], [2.0, 3.0])
        same(grads.input, [2, 5, 5, 3])
        same(grads.weight, [6, nan])
        same(conv1d([1.0, 2.0, 3.0, nan], [2.0, 3.0]), [8, 13, nan])
        same(conv1d([nan, 2.0, 3.0, 4.0], [2.0, 3.0]), [nan, 13, 18])
        # A copy beyond the end is seen where it lies; its gradient goes to its sample alone.
        x = [1.0, 2.0, 3.0, nan]
        circular = {"padding": (1, 0), "padding_mode": "circular"}
        same(conv1d(x, [2.0, 3.0], **circular), [nan, 8, 13, nan])
        same(conv1d(x, [2.0, 3.0], padding=(1, 0), padding_mode="reflect"), [7, 8, 13, nan])
        grads = conv1d_backward([nan, 1.0, 1.0, 1.0], np.ones(4), [2.0, 3.0], **circular)
        same(grads.input, [nan, 5, 5, nan])
        x = np.arange(1.0, 5.0)
        grads = conv1d_backward(np.ones(4), x, [nan, 3.0], **circular)
        same(grads.input, [nan, nan, nan, nan])
        grads = conv1d_backward(np.ones(1), x, [nan, 3.0], stride=9, **circular)
        same(grads.input, [3, 0, 0, nan])
        # A zero of the padding is no value of x, and meets nothing.
        same(conv1d(x, [nan, 1.0], padding=1), [1, nan, nan, nan, nan])
        same(conv1d_backward([np.inf, 1, 1, 1, 1], x, [1.0, 1.0], padding=1).weight, [10, np.inf])


@given(case=cases(work=2**14), seed=seeds, dtype=dtypes)
def test_overflow_only_where_the_sum_overflows(backend, case, seed, dtype):
    """Numbers near the ends of the exponent: no intermediate result beyond its own sum."""
    rng = np.random.default_rng(seed)
    large = 10.0 ** (30 if dtype == np.float32 else 300)
    few = np.array([1, 1, 1, 1, 1, 1 / large, large])
    arrays = [
        (rng.choice(few, shape) * rng.uniform(1, 2, shape)).astype(dtype) for shape in case.shapes()
    ]
    wide = np.float64 if dtype == np.float32 else np.longdouble
    if np.finfo(wide).maxexp == np.finfo(dtype).maxexp:
        pytest.skip("no type with a larger exponent here")
    exact = reference_maps(*arrays, case.geometry, case.groups, wide)
    with np.errstate(all="ignore"):
        got = kernel_maps(*arrays, case.geometry, case.groups)
        rounded = [e.astype(dtype) for e in exact]
    tolerance = 200 * np.finfo(dtype).eps  # all terms are positive
    for name, a, e in zip(MAPS, got, rounded, strict=True):
        np.testing.assert_allclose(
            a, e, rtol=tolerance, atol=200 * np.finfo(dtype).smallest_subnormal, err_msg=name
        )


@pytest.mark.parametrize("dtype", REAL, ids=str)
def test_subnormal_numbers_are_not_flushed(backend, dtype):
    """Small integers times the smallest number there is: sums of them have no error either."""
    smallest = np.float64(np.finfo(dtype).smallest_subnormal)

    def tiny(array):
        return (array * smallest).astype(dtype)

    for case in (
        Case(2, 1, 3, 7, 37, 5, 1, 2, 1),
        Case(1, 4, 1, 1, 37, 3, 1, 1, 1),
        Case(1, 1, 1, 1, 150, 40, 1, "same", 1),
        Case(2, 2, 2, 13, 41, 3, 2, 1, 2),
    ):
        g, groups = case.geometry, case.groups
        x, w, b, dy = case.integral(0, np.float64)
        assert tiny(x).any()
        one_tap, one_output = np.zeros_like(w), np.zeros_like(dy)
        one_tap[:, -1, 1] = 1
        one_output[..., dy.shape[2] // 2] = 1
        y, dx, *_ = reference_maps(x, one_tap, b, dy, g, groups, np.float64)
        got = kernel_maps(tiny(x), one_tap.astype(dtype), tiny(b), tiny(dy), g, groups)
        same(got[0], tiny(y))
        same(got[1], tiny(dx))
        _, dx, dw, _ = reference_maps(x, w, b, one_output, g, groups, np.float64)
        got = kernel_maps(tiny(x), tiny(w), tiny(b), one_output.astype(dtype), g, groups)
        same(got[1], tiny(dx))
        same(got[2], tiny(dw))


@pytest.mark.parametrize("dtype", REAL, ids=str)
def test_the_floating_point_state_is_left_alone(backend, dtype):
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 9, 300)).astype(dtype), np.ones((13, 9, 5), dtype)
    conv1d_backward(conv1d(x, w), x, w)
    smallest = np.finfo(dtype).smallest_subnormal
    assert np.array([smallest]) * np.array([1], dtype) == smallest
    one, half_step = dtype.type(1), np.finfo(dtype).eps / 2
    assert one + half_step == one  # to nearest
    assert one + half_step * dtype.type(1.5) > one
