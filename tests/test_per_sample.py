"""A weight for each sample, and the weight's gradient of each sample."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from support import LAYOUTS, Case, as_tuple, cases, every_function, integers, seeds, tuned
from test_refusals import assert_refused

import cconv1d
from cconv1d import (
    conv1d,
    conv1d_backward,
    conv1d_backward_input,
    conv1d_backward_weight,
    conv_transpose1d,
    conv_transpose1d_backward,
)

same = np.testing.assert_array_equal

DTYPES = ["int16", "float16", "float32", "float64", "longdouble", "complex64"]
CASE = Case(3, 2, 2, 3, 11, 3, 2, (3, 1), 2)
FUNCTIONS = list(every_function(CASE, *CASE.integral(0, np.float64)))
#: Which positional arguments are signals.
SIGNALS = {"conv1d": (0,), "conv1d_backward": (0, 1), "conv1d_backward_input": (0,)}
SIGNALS |= {"conv1d_backward_weight": (0, 1)}
SIGNALS |= {"conv_transpose1d": (0,), "conv_transpose1d_backward": (0, 1)}


def with_weights(case, four, seed):
    """x, w, b and dy with a weight and a bias for each sample."""
    x, w, b, dy = four
    rng = np.random.default_rng(seed)

    def each(array):
        more = rng.permuted(np.broadcast_to(array, (len(x), *array.shape)), axis=-1)
        return more.astype(array.dtype)

    return x, each(w), each(b), dy


def alone(function, arguments, options, n):
    """The results for one sample with its weight, with the axis of the batch."""
    options = {key: value for key, value in options.items() if key != "per_sample"}
    some = [a[n : n + 1] if i in SIGNALS[function.__name__] else a for i, a in enumerate(arguments)]
    some = [
        a[n] if isinstance(a, np.ndarray) and i not in SIGNALS[function.__name__] else a
        for i, a in enumerate(some)
    ]
    results = function(*some, **options)
    if not isinstance(results, tuple):
        return (results if "weight" not in function.__name__ else results[np.newaxis],)
    return results.input, results.weight[np.newaxis], results.bias[np.newaxis]


def every_call(case, four):
    """(function, arguments, options) for each, with a weight for each sample."""
    x, w, b, dy = four
    table = every_function(case, x, w[0] if len(w) else w.reshape(w.shape[1:]), b, dy)
    for name, (function, arguments, options) in table.items():
        arguments = [
            a if a is x or a is dy or a is b or isinstance(a, int) else w for a in arguments
        ]
        if name == "conv_transpose1d":
            size = case.groups * case.channels
            arguments[2] = integers(np.random.default_rng(0), (len(x), size), x.dtype)
        if name == "conv1d_backward_weight":
            options = {**options, "per_sample": True}
        yield function, arguments, options


def check_bits(case, four):
    x = four[0]
    for function, arguments, options in every_call(case, four):
        results = as_tuple(function(*arguments, **options))
        for n in range(len(x)):
            expected = alone(function, arguments, options, n)
            for a, e in zip(results, expected, strict=True):
                same(a[n : n + 1], e, err_msg=function.__name__, strict=True)


@given(case=cases(work=2**12, batches=(1, 2, 3, 7)).filter(lambda case: case.batch), seed=seeds)
def test_each_sample_has_the_bits_that_it_has_alone(native, case, seed):
    for dtype in (np.float32, np.float64):
        check_bits(case, with_weights(case, case.normal(seed, dtype), seed))


@given(case=cases(work=2**14).filter(lambda case: case.batch), seed=seeds)
def test_bits_of_several_threads(native, case, seed):
    four = with_weights(case, case.normal(seed, np.float32), seed)
    with tuned(serial_products=0), cconv1d.num_threads(3):
        check_bits(case, four)


@pytest.mark.parametrize("layout", ["NCL", "NLC"])
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_any_dtype(backend, dtype, name, layout):
    """Exact sums of small integers: those of each sample alone, in both layouts."""
    four = with_weights(CASE, CASE.integral(0, dtype), 0)
    for function, arguments, options in every_call(CASE, four):
        if function.__name__ != name:
            continue
        expected = [
            np.concatenate(parts)
            for parts in zip(
                *(alone(function, arguments, options, n) for n in range(CASE.batch)), strict=True
            )
        ]
        signals = SIGNALS[name]
        if layout == "NLC":
            arguments = [
                np.ascontiguousarray(a.swapaxes(1, 2)) if i in signals else a
                for i, a in enumerate(arguments)
            ]
            turned = 0 if "weight" in name else 1
            expected[:turned] = [e.swapaxes(1, 2) for e in expected[:turned]]
        results = as_tuple(function(*arguments, **options, layout=layout))
        for a, e in zip(results, expected, strict=True):
            same(a, e, strict=True)
            assert a.flags.c_contiguous
        outs = tuple(np.full_like(e, 7) for e in expected)
        out = outs if "backward" in name and len(outs) > 1 else outs[0]
        function(*arguments, **options, layout=layout, out=out, accumulate=True)
        for a, e in zip(outs, expected, strict=True):
            same(a, e + np.full_like(e, 7), strict=True)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout_of_the_arrays(backend, layout):
    """Whether samples and channels can be joined or not."""
    four = with_weights(CASE, CASE.integral(1, np.float64), 1)
    move = LAYOUTS[layout]
    for function, arguments, options in every_call(CASE, four):
        expected = as_tuple(function(*arguments, **options))
        moved = [move(a) if isinstance(a, np.ndarray) else a for a in arguments]
        for a, e in zip(as_tuple(function(*moved, **options)), expected, strict=True):
            same(a, e)
        if layout == "read-only":
            continue
        outs = tuple(move(np.full_like(e, 7)) for e in expected)
        function(*moved, **options, out=outs if len(outs) > 1 else outs[0])
        for a, e in zip(outs, expected, strict=True):
            same(a, e)


@given(case=cases(work=2**12), seed=seeds)
def test_gradients_of_each_sample_of_a_shared_weight(backend, case, seed):
    """They add up to the gradient; a batch of none has none."""
    x, w, _, dy = case.integral(seed, np.float64)
    options = case.options
    each = conv1d_backward_weight(dy, x, case.taps, **options, per_sample=True)
    assert each.shape == (case.batch, *w.shape)
    same(each.sum(axis=0), conv1d_backward_weight(dy, x, case.taps, **options))


def test_one_bias_for_all(backend):
    x, w, b, dy = with_weights(CASE, CASE.integral(2, np.float64), 2)
    expected = conv1d(x, w, np.broadcast_to(b[0], b.shape), **CASE.options)
    same(conv1d(x, w, b[0], **CASE.options), expected)
    same(expected, conv1d(x, w, **CASE.options) + b[0][:, np.newaxis])
    grads = conv1d_backward(dy, x, w, **CASE.options)
    same(grads.bias, dy.sum(axis=-1))


def test_a_batch_of_none(backend):
    x, w, b, dy = np.zeros((0, 4, 9)), np.zeros((0, 6, 2, 3)), np.zeros((0, 6)), np.zeros((0, 6, 7))
    assert conv1d(x, w, b, groups=2).shape == dy.shape
    assert conv1d_backward_input(dy, w, 9, groups=2).shape == x.shape
    shapes = [array.shape for array in conv1d_backward(dy, x, w, groups=2)]
    assert shapes == [x.shape, w.shape, b.shape]
    assert conv_transpose1d(dy, w, groups=2).shape == x.shape
    shapes = [array.shape for array in conv_transpose1d_backward(x, dy, w, groups=2)]
    assert shapes == [dy.shape, w.shape, (0, 4)]


def test_no_channels(backend):
    """The bias is what there is."""
    b = np.arange(6.0).reshape(2, 3)
    y = conv1d(np.zeros((2, 0, 5)), np.zeros((2, 3, 0, 2)), b)
    same(y, np.broadcast_to(b[..., np.newaxis], (2, 3, 4)))


@pytest.mark.thread_unsafe  # which all share what is traced
def test_signals_are_not_copied(native):
    """What NumPy allocates is the result."""
    x = np.zeros((64, 16, 4096), np.float32)
    for signals, layout in ((x, "NCL"), (x.reshape(64, 4096, 16), "NLC")):
        w = np.ones((64, 1, 16, 3), np.float32)
        tracemalloc.start()
        conv1d(signals, w, stride=8, layout=layout)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < x.nbytes / 16


def test_torch(backend, torch):
    """As its vmap of conv1d over samples and weights."""
    x, w, b, dy = with_weights(CASE, CASE.integral(3, np.float64), 3)
    options = {"stride": 2, "padding": 3, "dilation": 2, "groups": 2}
    tensors = [torch.from_numpy(a).requires_grad_() for a in (x, w, b)]
    rows = [
        torch.nn.functional.conv1d(tensors[0][n : n + 1], tensors[1][n], tensors[2][n], **options)
        for n in range(len(x))
    ]
    expected = torch.cat(rows)
    y = conv1d(x, w, b, **options)
    same(y, expected.detach().numpy())
    dy = np.ones_like(y)
    expected.backward(torch.from_numpy(dy))
    for a, e in zip(conv1d_backward(dy, x, w, **options), tensors, strict=True):
        same(a, e.grad.numpy())


GOOD = {"input": np.zeros((2, 4, 9)), "weight": np.zeros((2, 6, 2, 3)), "groups": 2}
REFUSED = [
    ("conv1d", {**GOOD, "input": np.zeros((3, 4, 9))}, "of 2 samples, but input has shape (3, 4"),
    ("conv1d", {**GOOD, "input": np.zeros((4, 9))}, "of 2 samples, but input has shape (4, 9)"),
    ("conv1d", {**GOOD, "input": np.zeros(9)}, "of 2 samples, but input has shape (9,)"),
    ("conv1d", {**GOOD, "weight": np.zeros((1, 2, 6, 2, 3))}, "(1, 2, 6, 2, 3)"),
    ("conv1d", {**GOOD, "bias": np.zeros((3, 6))}, "bias must have shape (6,) or (2, 6)"),
    ("conv1d", {**GOOD, "bias": np.zeros((6, 2))}, "bias must have shape (6,) or (2, 6)"),
    ("conv1d", {**GOOD, "bias": np.zeros(2)}, "bias must have shape (6,) or (2, 6)"),
    ("conv1d", {**GOOD, "weight": np.zeros((6, 2, 3)), "bias": np.zeros((2, 6))}, "not (2, 6)"),
    ("conv1d", {**GOOD, "out": np.zeros((2, 6, 8))}, "out must have shape (2, 6, 7)"),
    (
        "conv1d_backward_input",
        {"grad_output": np.zeros((3, 6, 7)), "weight": GOOD["weight"], "input_length": 9},
        "of 2 samples, but grad_output has shape (3, 6, 7)",
    ),
    (
        "conv1d_backward_weight",
        {
            "grad_output": np.zeros((6, 7)),
            "input": np.zeros((4, 9)),
            "kernel_size": 3,
            "per_sample": True,
            "groups": 2,
        },
        "per_sample needs samples, but input has shape (4, 9)",
    ),
    (
        "conv1d_backward",
        {**GOOD, "input": np.zeros((3, 4, 9)), "grad_output": np.zeros((3, 6, 7))},
        "of 2 samples, but input has shape (3, 4, 9)",
    ),
    (
        "conv_transpose1d",
        {"input": np.zeros((3, 6, 9)), "weight": GOOD["weight"], "groups": 2},
        "of 2 samples, but input has shape (3, 6, 9)",
    ),
    (
        "conv_transpose1d",
        {"input": np.zeros((2, 6, 9)), "weight": GOOD["weight"], "bias": np.zeros((2, 6))},
        "bias must have shape (2,) or (2, 2)",
    ),
]


@pytest.mark.parametrize(("function", "arguments", "words"), REFUSED)
def test_refusals(backend, function, arguments, words):
    assert_refused(function, arguments, ValueError, [words])


@given(case=cases(work=2**10), seed=seeds)
def test_weights_that_repeat_are_one_weight(backend, case, seed):
    """The same kernels for each sample, by a view without memory of its own."""
    x, w, b, _ = case.integral(seed, np.float64)
    each = np.broadcast_to(w, (case.batch, *w.shape))
    same(conv1d(x, each, b, **case.options), conv1d(x, w, b, **case.options))
