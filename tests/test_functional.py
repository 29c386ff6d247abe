"""The public functions: shapes, options, arrays of any kind, refusals."""

from __future__ import annotations

import array
import inspect
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import (
    LAYOUTS,
    MAPS,
    READABLE,
    REAL,
    WORDS,
    Case,
    Subclass,
    integers,
    loop_backward_bias,
    loop_backward_input,
    loop_backward_weight,
    loop_forward,
    seeds,
    small_cases,
    swapped,
    unaligned,
    wrapped,
)

import cconv1d
from cconv1d import (
    Gradients,
    conv1d,
    conv1d_backward,
    conv1d_backward_input,
    conv1d_backward_weight,
    conv1d_output_length,
    conv_transpose1d,
    conv_transpose1d_backward,
    conv_transpose1d_output_length,
)
from cconv1d._geometry import resolve
from cconv1d._plans import Options, Planner

same = np.testing.assert_array_equal

DTYPES = [
    *("int8", "uint8", "int16", "int64", "uint64"),
    *("float16", "float32", "float64", "longdouble", "complex64", "complex128"),
]


def arrays(dtype=np.float64, seed=0):
    """x, w, b and dy of two groups: 4 channels to 6, 11 samples, 3 taps; see `OPTIONS`."""
    case = Case(2, 2, 2, 3, 11, 3, **{k: v for k, v in OPTIONS.items() if k != "groups"})
    return case.integral(seed, dtype)


OPTIONS = {"stride": 2, "padding": (3, 1), "dilation": 2, "groups": 2}


def every_map(x, w, b, dy, options=OPTIONS):
    """All that the public functions compute, by the name of the map."""
    grads = conv1d_backward(dy, x, w, **options)
    return dict(zip(MAPS, (conv1d(x, w, b, **options), *grads), strict=True))


def expected_maps(x, w, b, dy, options=OPTIONS):
    """The same by loops, in Python numbers."""
    geometry = {k: v for k, v in options.items() if k != "groups"}
    g = resolve("test", x.shape[2], w.shape[2], **geometry)
    results = (
        loop_forward(x, w, b, g, options["groups"]),
        loop_backward_input(dy, w, g, options["groups"]),
        loop_backward_weight(dy, x, w.shape[2], g, options["groups"]),
        loop_backward_bias(dy),
    )
    return dict(zip(MAPS, (wrapped(result, x.dtype) for result in results), strict=True))


def assert_same_maps(got, expected):
    assert got.keys() == expected.keys()
    for name in MAPS:
        same(got[name], expected[name], err_msg=name, strict=True)


# --- names, shapes, options -----------------------------------------------------------------------


def test_names_and_defaults():
    """PyTorch's, in its order."""
    geometry = "stride=1, padding=0, dilation=1, groups=1, padding_mode='zeros'"

    def signature(function):
        parameters = inspect.signature(function).parameters.values()
        for parameter in parameters:
            if parameter.name in ("padding_mode", "needs"):
                assert parameter.kind == parameter.KEYWORD_ONLY
        return ", ".join(str(p.replace(annotation=p.empty)) for p in parameters).replace(" = ", "=")

    transposed = "stride=1, padding=0, output_padding=0, groups=1, dilation=1"
    result = "layout='NCL', method='direct', out=None, accumulate=False"
    results = "layout='NCL', method='direct', needs=(True, True, True), out=None, accumulate=False"
    assert signature(conv1d) == f"input, weight, bias=None, {geometry}, {result}"
    assert signature(conv1d_backward) == f"grad_output, input, weight, {geometry}, {results}"
    assert (
        signature(conv1d_backward_input)
        == f"grad_output, weight, input_length, {geometry}, {result}"
    )
    assert (
        signature(conv1d_backward_weight)
        == f"grad_output, input, kernel_size, {geometry}, {result}, per_sample=False"
    )
    assert signature(conv_transpose1d) == f"input, weight, bias=None, {transposed}, {result}"
    assert (
        signature(conv_transpose1d_backward)
        == f"grad_output, input, weight, {transposed}, {results}"
    )
    assert (
        signature(conv_transpose1d_output_length)
        == "input_length, kernel_size, stride=1, padding=0, output_padding=0, dilation=1"
    )
    assert (
        signature(conv1d_output_length)
        == "input_length, kernel_size, stride=1, padding=0, dilation=1"
    )
    for name in cconv1d.__all__:
        assert getattr(cconv1d, name) is not None


def test_gradients_is_a_named_tuple(backend):
    grads = conv1d_backward([1.0, 1.0, 1.0], [1.0, 2.0, 3.0, 4.0], [1.0, -1.0])
    assert isinstance(grads, Gradients)
    assert isinstance(grads, tuple)
    assert grads._fields == ("input", "weight", "bias")
    dx, dw, db = grads
    assert (dx is grads.input, dw is grads.weight, db is grads.bias) == (True, True, True)


def test_the_notes_example(backend):
    """Powers of ten and primes show which factors each sum is made of."""
    x = np.array([1.0, 10.0, 100.0, 1000.0])
    dy = np.array([1.0, 100.0, 10000.0])
    w = np.array([2.0, 3.0])
    same(conv1d(x, w), [32, 320, 3200])
    same(conv1d(x, w, [7.0]), [39, 327, 3207])
    grads = conv1d_backward(dy, x, w)
    same(grads.input, [2, 203, 20300, 30000])
    same(grads.weight, [1001001, 10010010])
    same(grads.bias, [10101])
    same(conv1d_backward_input(dy, w, 4), grads.input)
    same(conv1d_backward_weight(dy, x, 2), grads.weight)


@given(case=small_cases, seed=seeds, dtype=st.sampled_from(DTYPES))
def test_every_geometry_and_dtype(backend, case, seed, dtype):
    four = case.integral(seed, dtype)
    got = every_map(*four, case.options)
    assert_same_maps(got, expected_maps(*four, case.options))
    assert got["forward"].shape[2] == conv1d_output_length(
        case.length, case.taps, case.stride, case.padding, case.dilation
    )
    dx = conv1d_backward_input(four[3], four[1], case.length, **case.options)
    dw = conv1d_backward_weight(four[3], four[0], case.taps, **case.options)
    same(dx, got["backward_input"], strict=True)
    same(dw, got["backward_weight"], strict=True)


@pytest.mark.parametrize("dtype", DTYPES)
def test_without_a_batch(backend, dtype):
    x, w, b, dy = arrays(dtype)
    batched = every_map(x[:1], w, b, dy[:1])
    alone = every_map(x[0], w, b, dy[0])
    same(alone["forward"], batched["forward"][0], strict=True)
    same(alone["backward_input"], batched["backward_input"][0], strict=True)
    same(alone["backward_weight"], batched["backward_weight"], strict=True)
    same(alone["backward_bias"], batched["backward_bias"], strict=True)
    same(conv1d_backward_input(dy[0], w, 11, **OPTIONS), alone["backward_input"], strict=True)
    same(conv1d_backward_weight(dy[0], x[0], 3, **OPTIONS), alone["backward_weight"], strict=True)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_lone_signal(backend, dtype):
    rng = np.random.default_rng(0)
    x, w, b, dy = (integers(rng, size, dtype) for size in (9, 4, 1, 8))
    options = {"padding": 3, "dilation": 2, "stride": 1}
    dy = integers(rng, conv1d_output_length(9, 4, **options), dtype)
    full = every_map(x[None, None], w[None, None], b, dy[None, None], options)
    lone = every_map(x, w, b, dy, options)
    same(lone["forward"], full["forward"][0, 0], strict=True)
    same(lone["backward_input"], full["backward_input"][0, 0], strict=True)
    same(lone["backward_weight"], full["backward_weight"][0, 0], strict=True)
    same(lone["backward_bias"], full["backward_bias"], strict=True)
    same(conv1d_backward_input(dy, w, 9, **options), lone["backward_input"], strict=True)
    same(conv1d_backward_weight(dy, x, 4, **options), lone["backward_weight"], strict=True)


@pytest.mark.parametrize("needs", list(product((True, False), repeat=3)))
@pytest.mark.parametrize("kind", [tuple, list, np.array])
def test_needs(backend, needs, kind):
    x, w, _, dy = arrays()
    every = conv1d_backward(dy, x, w, **OPTIONS)
    some = conv1d_backward(dy, x, w, **OPTIONS, needs=kind(needs))
    for needed, got, expected in zip(needs, some, every, strict=True):
        if needed:
            same(got, expected, strict=True)
        else:
            assert got is None


@given(case=small_cases, seed=seeds, dtype=st.sampled_from(REAL))
def test_one_call_and_single_calls_have_the_same_bits(backend, case, seed, dtype):
    x, w, _, dy = case.normal(seed, dtype)
    grads = conv1d_backward(dy, x, w, **case.options)
    same(conv1d_backward_input(dy, w, case.length, **case.options), grads.input)
    same(conv1d_backward_weight(dy, x, case.taps, **case.options), grads.weight)
    for i, name in enumerate(Gradients._fields):
        alone = conv1d_backward(dy, x, w, **case.options, needs=[i == k for k in range(3)])
        same(alone[i], grads[i], err_msg=name)


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("stride", [1, 2, 5])
@pytest.mark.parametrize("dilation", [1, 3])
@pytest.mark.parametrize("taps", [1, 2, 3, 4])
def test_padding_words(backend, word, stride, dilation, taps):
    """Each is the pair that it stands for, forward and backward."""
    reach, length = dilation * (taps - 1), 14
    total = max((-(-length // stride) - 1) * stride + reach + 1 - length, 0)
    pair = {
        "valid": (0, 0),
        "same": (total // 2, total - total // 2),
        "same_lower": (total - total // 2, total // 2),
        "causal": (reach, 0),
        "full": (reach, reach),
    }[word]
    case = Case(2, 2, 2, 3, length, taps, stride, pair, dilation)
    x, w, b, dy = case.integral(0, np.float32)
    by_word = case.options | {"padding": word}
    assert_same_maps(every_map(x, w, b, dy, by_word), every_map(x, w, b, dy, case.options))
    same(
        conv1d_backward_input(dy, w, length, **by_word),
        conv1d_backward_input(dy, w, length, **case.options),
    )
    same(
        conv1d_backward_weight(dy, x, taps, **by_word),
        conv1d_backward_weight(dy, x, taps, **case.options),
    )


@pytest.mark.parametrize(
    ("mode", "padded"),
    [
        ("zeros", [0, 0, 0, 1, 2, 3, 4, 0, 0]),
        ("reflect", [4, 3, 2, 1, 2, 3, 4, 3, 2]),
        ("replicate", [1, 1, 1, 1, 2, 3, 4, 4, 4]),
        ("circular", [2, 3, 4, 1, 2, 3, 4, 1, 2]),
    ],
)
def test_padding_modes(backend, mode, padded):
    """What a kernel of one tap sees; the gradient counts how often it sees each sample."""
    options = {"padding": (3, 2), "padding_mode": mode}
    x = [1.0, 2.0, 3.0, 4.0]
    same(conv1d(x, [1.0], **options), padded)
    dy = 10.0 ** np.arange(9)
    grads = conv1d_backward(dy, x, [1.0], **options)
    same(grads.input, [dy[np.equal(padded, sample)].sum() for sample in x])
    same(grads.weight, [dy @ padded])
    same(conv1d_backward_input(dy, [1.0], 4, **options), grads.input)
    same(conv1d_backward_weight(dy, x, 1, **options), grads.weight)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_the_widest_padding_of_each_mode(backend, mode):
    """On one side, on the other, on both; replicate takes any."""
    length = 5
    widest = {"reflect": length - 1, "replicate": 300, "circular": length}[mode]
    for padding in ((widest, 0), (0, widest), (widest, widest)):
        case = Case(2, 2, 2, 3, length, 2, 3, padding, 2, mode)
        if sum(padding) + length > 2:
            four = case.integral(0, np.float64)
            assert_same_maps(every_map(*four, case.options), expected_maps(*four, case.options))


def test_causal_outputs_do_not_see_later_samples(backend):
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 20)), rng.standard_normal((3, 2, 4))
    y = conv1d(x, w, padding="causal", dilation=2)
    x[:, 11:] = 1e9
    later = conv1d(x, w, padding="causal", dilation=2)
    same(later[:, :11], y[:, :11])
    assert (later[:, 11] != y[:, 11]).all()


@pytest.mark.parametrize("input_length", [9, 10, 11])
def test_input_lengths_that_share_an_output_length(backend, input_length):
    """With stride 3 the last samples may meet no tap: their gradient is zero."""
    dy, w = np.array([1.0, 10.0, 100.0]), np.array([1.0, 2.0, 3.0])
    dx = conv1d_backward_input(dy, w, input_length, stride=3)
    same(dx, [1, 2, 3, 10, 20, 30, 100, 200, 300, 0, 0][:input_length])


def test_options_by_position(backend):
    x, w, b, dy = arrays()
    by_position = tuple(OPTIONS.values())
    assert tuple(OPTIONS) == ("stride", "padding", "dilation", "groups")
    got = every_map(x, w, b, dy)
    same(conv1d(x, w, b, *by_position), got["forward"])
    same(conv1d_backward(dy, x, w, *by_position).weight, got["backward_weight"])
    same(conv1d_backward_input(dy, w, 11, *by_position), got["backward_input"])
    same(conv1d_backward_weight(dy, x, 3, *by_position), got["backward_weight"])


def test_options_as_in_layers(backend):
    """PyTorch's layers keep 1-tuples; NumPy's integers come from shapes and tables."""
    x, w, b, dy = arrays()
    expected = every_map(x, w, b, dy, OPTIONS | {"padding": 2})
    tuples = {"stride": (2,), "padding": [2], "dilation": (2,), "groups": 2}
    numpys = {"stride": np.int32(2), "padding": np.array(2), "dilation": np.uint8(2)}
    assert_same_maps(every_map(x, w, b, dy, tuples), expected)
    assert_same_maps(every_map(x, w, b, dy, numpys | {"groups": np.int64(2)}), expected)
    dx = conv1d_backward_input(dy, w, np.int64(11), **tuples)
    dw = conv1d_backward_weight(dy, x, np.int8(3), **numpys, groups=np.int64(2))
    same(dx, expected["backward_input"])
    same(dw, expected["backward_weight"])


def test_an_option_that_changes_between_calls(backend):
    """Plans are remembered by objects that cannot change."""
    x, w = np.arange(9.0), np.ones(1)
    for option, first, then in (("stride", [1], [2]), ("padding", [0, 0], [3, 1])):
        value = list(first)
        for _ in range(2):
            same(conv1d(x, w, **{option: value}), conv1d(x, w, **{option: tuple(first)}))
        value[:] = then
        same(conv1d(x, w, **{option: value}), conv1d(x, w, **{option: tuple(then)}))


@pytest.mark.parametrize(
    ("option", "others"),
    [
        ("stride", (3, np.int64(2), 2.0, [2])),
        ("padding", ((2, 1), (1.0, 2.0), (True, 2), [1, 2], 1, True, "same", "full")),
        ("dilation", (2, True, 1.0)),
        ("groups", (3, True, 1.0)),
        ("padding_mode", ("reflect", np.str_("zeros"))),
        ("layout", ("NLC", np.str_("NCL"))),
        ("size", (1, False, 0.0)),
        ("method", ("fft", np.str_("direct"))),
    ],
)
def test_a_plan_is_remembered_for_all_of_its_options(option, others):
    """Each in turn with a value that may be equal to the usual one, but is another."""
    usual = Options(2, (1, 2), 1, 1, "zeros", "NCL", 0, "direct")
    plan = Planner("", lambda name, shapes, options: (shapes, options))  # as it was called
    for other in others:
        changed = usual._replace(**{option: other})
        for options in (usual, changed, changed, usual, usual):
            for shapes in (((6,), (3,)), ((6,), (2,))):
                assert repr(plan(shapes, *options)) == repr((shapes, options))


# --- corners ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "empty", ["batch", "channels", "outs", "length", "channels outs", "batch length"]
)
def test_empty_axes(backend, dtype, empty):
    """Nothing to sum is zero; without input channels y is the bias."""
    sizes = {"batch": 2, "channels": 2, "outs": 3, "length": 7}
    sizes |= dict.fromkeys(empty.split(), 0)
    case = Case(**sizes, groups=2, taps=3, stride=1, padding=2, dilation=1)
    x, w, b, dy = case.integral(0, dtype)
    got = every_map(x, w, b, dy, case.options)
    assert_same_maps(got, expected_maps(x, w, b, dy, case.options))
    if case.channels * case.length == 0 and case.batch:
        same(got["forward"], np.broadcast_to(b[:, np.newaxis], dy.shape))


def test_no_input_channels_without_a_bias(backend):
    y = conv1d(np.ones((2, 0, 5)), np.ones((3, 0, 2)))
    same(y, np.zeros((2, 3, 4)), strict=True)


def test_empty_lists(backend):
    same(conv1d([], [1.0, 2.0], padding=1), [0.0])
    grads = conv1d_backward([3.0], [], [1.0, 2.0], padding=1)
    same(grads.input, np.empty(0), strict=True)
    same(grads.weight, [0.0, 0.0])
    same(grads.bias, [3.0])


# --- arrays of any kind -------------------------------------------------------------------------


class Convertible:
    """No array, but knows how to become one."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return self.values


KINDS = READABLE | {
    "subclass": lambda a: a.view(Subclass),
    "__array__": Convertible,
    "matrix of memory": lambda a: memoryview(a),
    "other byte order, gaps": lambda a: LAYOUTS["gaps"](swapped(a)),
    "unaligned, other byte order": lambda a: unaligned(swapped(a)),
    "unaligned, reversed": lambda a: unaligned(a[..., ::-1])[..., ::-1],
}


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "float16", "complex64"])
@pytest.mark.parametrize("kind", KINDS)
def test_arrays_of_any_kind(backend, kind, dtype):
    four = arrays(dtype)
    expected = expected_maps(*four)
    odd = [KINDS[kind](a) for a in four]
    before = [np.array(a, copy=True, subok=False) for a in odd if isinstance(a, np.ndarray)]
    assert_same_maps(every_map(*odd), expected)
    for a, copy in zip((a for a in odd if isinstance(a, np.ndarray)), before, strict=True):
        same(np.asarray(a), copy)
    for i in range(4):  # one of them, beside ordinary arrays
        assert_same_maps(every_map(*four[:i], odd[i], *four[i + 1 :]), expected)


def test_nested_lists(backend):
    four = arrays()
    expected = expected_maps(*four)
    lists = [a.tolist() for a in four]
    assert_same_maps(every_map(*lists), expected)
    of_arrays = [tuple(a) for a in four]
    assert_same_maps(every_map(*of_arrays), expected)


@pytest.mark.parametrize("dtype", [d for d in DTYPES if d != "longdouble"])
def test_lists_take_the_dtype_of_the_arrays(backend, dtype):
    """Whole numbers go into each of them."""
    x = np.array([1, 2, 3, 4], dtype)
    y = conv1d(x, [1, 2])
    same(y, np.array([5, 8, 11], dtype), strict=True)
    y = conv1d([1, 2, 3, 4], np.array([1, 2], dtype), [1])
    same(y, np.array([6, 9, 12], dtype), strict=True)
    grads = conv1d_backward([1, 1, 1], x, [1, 2])
    for got, expected in zip(grads, ([1, 3, 3, 2], [6, 9], [3]), strict=True):
        same(got, np.array(expected, dtype), strict=True)


def test_lists_without_an_array_are_float64(backend):
    same(conv1d([1, 2, 3], [1, 1]), np.array([3.0, 5.0]), strict=True)
    same(conv1d([1, 2, 3], [0.5, 0.5]), np.array([1.5, 2.5]), strict=True)


def test_numbers_in_a_list_that_do_not_fit_are_refused(backend):
    """Not wrapped to something else: 300 is no int8."""
    x = np.array([1, 2, 3, 4], np.int8)
    with pytest.raises(ValueError, match="weight"):
        conv1d(x, [300, 1])
    with pytest.raises((TypeError, ValueError), match="weight"):
        conv1d(x.view(np.uint8), [-1, 1])


@pytest.mark.parametrize("dtype", ["float32", "int16"])
def test_other_containers(backend, dtype):
    values = array.array(np.dtype(dtype).char, [1, 2, 3, 4])
    w = np.array([1, 1], dtype)
    same(conv1d(values, w), np.array([3, 5, 7], dtype), strict=True)


@pytest.mark.parametrize("dtype", REAL, ids=str)
def test_overlapping_memory(backend, dtype):
    """Rows that are windows of one signal, and a gradient that repeats one number."""
    _, w, b, dy = arrays(dtype)
    signal = integers(np.random.default_rng(1), 14, dtype)
    windows = np.lib.stride_tricks.sliding_window_view(signal, 11)  # (4, 11), strides equal
    x = np.broadcast_to(windows, (2, 4, 11))
    ones = np.broadcast_to(dtype.type(1), dy.shape)
    assert_same_maps(every_map(x, w, b, ones), expected_maps(x.copy(), w, b, ones.copy()))
    same_weights = np.broadcast_to(dtype.type(2), w.shape)
    assert_same_maps(
        every_map(x, same_weights, b, ones),
        expected_maps(x.copy(), same_weights.copy(), b, ones.copy()),
    )


def test_one_array_for_everything(backend):
    x = integers(np.random.default_rng(0), (3, 3, 3), np.float64)
    expected = every_map(x.copy(), x.copy(), x[0, 0].copy(), x.copy(), {"padding": 1})
    assert_same_maps(every_map(x, x, x[0, 0], x, {"padding": 1}), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_results_are_new_contiguous_arrays(backend, ndim, dtype):
    """Even where they could be a view or the input itself."""
    one = np.ones((1, 1, 1), dtype)
    x = np.arange(1, 8).astype(dtype).reshape(1, 1, 7)
    x, dy = (x[(0,) * (3 - ndim)] for _ in range(2))
    w = one if ndim > 1 else one[0, 0]
    plain = (x, w, dy)
    other_order = [swapped(a) for a in plain]
    fortran = [np.asfortranarray(a) for a in plain]
    for x, w, dy in (plain, other_order, fortran):
        results = [
            conv1d(x, w),
            *conv1d_backward(dy, x, w),
            conv1d_backward_input(dy, w, 7),
            conv1d_backward_weight(dy, x, 1),
        ]
        shapes = [x.shape, x.shape, w.shape, (1,), x.shape, w.shape]
        for result, shape in zip(results, shapes, strict=True):
            assert type(result) is np.ndarray
            assert result.shape == shape
            assert result.dtype == np.dtype(dtype)
            assert result.dtype.isnative
            assert result.flags.c_contiguous
            assert result.flags.writeable
            assert result.flags.aligned
            for other in (x, w, dy, *(r for r in results if r is not result)):
                assert not np.may_share_memory(result, other)


def test_arguments_keep_their_reference_counts(backend):
    """Neither a result nor an error holds on to what it was made of."""
    four = arrays()
    wrong = [np.zeros(5), np.zeros((2, 3, 4, 5)), np.zeros(3, np.int32)]
    before = [sys.getrefcount(a) for a in (*four, *wrong)]
    for _ in range(50):
        results = every_map(*four)
        for bad in wrong:
            with pytest.raises((TypeError, ValueError)):
                conv1d(bad, four[1])
        with pytest.raises(ValueError, match="grad_output"):
            conv1d_backward(four[3][..., :-1], *four[:2], **OPTIONS)
    del bad
    for result in results.values():
        assert sys.getrefcount(result) == 3  # the dict, the loop and the call
    assert [sys.getrefcount(a) for a in (*four, *wrong)] == before


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
def test_calls_from_several_threads(backend, dtype):
    rng = np.random.default_rng(0)
    cases = [
        (integers(rng, (3, 8, length), dtype), integers(rng, (7, 8, 5), dtype), None)
        for length in (9, 64, 300, 2000)
    ]
    expected = [conv1d(*case, padding=2) for case in cases]

    def work(i):
        x, w, _ = cases[i % 4]
        y = conv1d(x, w, padding=2)
        same(y, expected[i % 4])
        return conv1d_backward(y, x, w, padding=2)

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(work, range(40)))
    for i, grads in enumerate(results):
        for got, first in zip(grads, results[i % 4], strict=True):
            same(got, first)


# --- agreement with PyTorch ---------------------------------------------------------------------


TORCH_CASES = {
    "defaults": ((2, 3, 10), (4, 3, 3), {}),
    "one sample": ((3, 10), (4, 3, 3), {}),
    "stride": ((2, 3, 21), (4, 3, 4), {"stride": 3}),
    "stride above the span": ((2, 3, 21), (4, 3, 2), {"stride": 5}),
    "padding": ((2, 3, 10), (4, 3, 3), {"padding": 2}),
    "padding above the length": ((2, 3, 2), (4, 3, 3), {"padding": 5}),
    "valid": ((2, 3, 10), (4, 3, 3), {"padding": "valid", "stride": 2}),
    "same, odd": ((2, 3, 10), (4, 3, 5), {"padding": "same"}),
    "same, even": ((2, 3, 10), (4, 3, 4), {"padding": "same"}),
    "same, dilated": ((2, 3, 10), (4, 3, 4), {"padding": "same", "dilation": 3}),
    "dilation": ((2, 3, 20), (4, 3, 3), {"dilation": 4}),
    "groups": ((2, 6, 10), (4, 3, 3), {"groups": 2}),
    "depthwise": ((2, 5, 10), (5, 1, 3), {"groups": 5, "padding": 1}),
    "depthwise, multiplied": ((2, 3, 10), (6, 1, 3), {"groups": 3}),
    "pointwise": ((2, 20, 30), (17, 20, 1), {}),
    "all": ((3, 6, 50), (9, 2, 4), {"stride": 2, "padding": 5, "dilation": 3, "groups": 3}),
    "1-tuples": ((2, 3, 20), (4, 3, 3), {"stride": (2,), "padding": (1,), "dilation": (3,)}),
    "no batch": ((0, 3, 10), (4, 3, 3), {}),
    "many": ((2, 17, 70), (13, 17, 9), {"padding": 4}),
}


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("name", TORCH_CASES)
def test_agreement_with_torch(backend, torch, name, dtype):
    """Exact, because the numbers are small integers."""
    x_shape, w_shape, options = TORCH_CASES[name]
    rng = np.random.default_rng(0)
    x, w, b = (integers(rng, shape, dtype) for shape in (x_shape, w_shape, w_shape[:1]))
    tensors = [torch.from_numpy(a).requires_grad_() for a in (x, w, b)]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Using padding='same' with even kernel")
        expected = torch.nn.functional.conv1d(*tensors, **options)
    y = conv1d(x, w, b, **options)
    same(y, expected.detach().numpy(), strict=True)
    dy = integers(rng, y.shape, dtype)
    if y.size:
        expected.backward(torch.from_numpy(dy))
        for got, tensor in zip(conv1d_backward(dy, x, w, **options), tensors, strict=True):
            same(got, tensor.grad.numpy(), strict=True)
    same(conv1d(x, w, **options), y - b[:, np.newaxis])


@pytest.mark.parametrize("padding", [(1, 4), (6, 0), "causal", "full", "same_lower"])
def test_agreement_with_torch_for_padding_that_it_has_not(backend, torch, padding):
    pads = {"causal": (6, 0), "full": (6, 6), "same_lower": (3, 3)}.get(padding, padding)
    rng = np.random.default_rng(0)
    x, w = (integers(rng, shape, "float64") for shape in ((2, 3, 11), (4, 3, 4)))
    tensors = [torch.from_numpy(a).requires_grad_() for a in (x, w)]
    padded = torch.nn.functional.pad(tensors[0], pads)
    expected = torch.nn.functional.conv1d(padded, tensors[1], dilation=2)
    same(conv1d(x, w, padding=padding, dilation=2), expected.detach().numpy(), strict=True)
    dy = integers(rng, expected.shape, "float64")
    expected.backward(torch.from_numpy(dy))
    grads = conv1d_backward(dy, x, w, padding=padding, dilation=2)
    same(grads.input, tensors[0].grad.numpy(), strict=True)
    same(grads.weight, tensors[1].grad.numpy(), strict=True)


# --- refusals: those of one call are in test_refusals.py -----------------------------------------


def test_options_are_keywords_where_torch_has_none(backend):
    x, w, _, dy = arrays()
    with pytest.raises(TypeError):
        conv1d_backward(dy, x, w, 2, (3, 1), 2, 2, (True, True, True))
    with pytest.raises(TypeError):
        conv1d(x, w, None, 1, 0, 1, 2, "NCL")


def test_results_that_no_memory_can_hold(backend):
    x, half = np.ones((1, 1, 4)), 2**47
    with pytest.raises(MemoryError):
        conv1d(x, np.ones((1, 1, 2)), padding=half - 2)
    with pytest.raises(ValueError, match=r"^conv1d: a result of shape .* is larger than"):
        conv1d(x, np.ones((2**14, 1, 2)), padding=half - 2)
    dy = np.ones((1, 2**14, 4))
    with pytest.raises(ValueError, match=r"^conv1d_backward_weight: a result of shape"):
        conv1d_backward_weight(dy, x, half, padding=(half - 1, 0))
    w = np.broadcast_to(np.float16(1), (2**13, 1, 2**48))  # packed, these would take 2**63 bytes
    with pytest.raises(ValueError, match=r"^conv1d: weight must have at most 2\*\*48 numbers"):
        conv1d(np.ones((1, 1, 1), np.float16), w, padding=(half, half - 1))
    same(x, np.ones((1, 1, 4)))
    same(conv1d(x, np.ones((1, 1, 2))), [[[2, 2, 2]]])
