"""Transposed convolution and its gradients."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from support import (
    LAYOUTS,
    REAL,
    integers,
    loop_backward_bias,
    loop_backward_input,
    loop_backward_weight,
    loop_forward,
    seeds,
    wrapped,
)

from cconv1d import (
    Gradients,
    conv1d,
    conv1d_backward,
    conv1d_backward_input,
    conv1d_backward_weight,
    conv_transpose1d,
    conv_transpose1d_backward,
    conv_transpose1d_output_length,
)
from cconv1d._geometry import Geometry, resolve_transposed

same = np.testing.assert_array_equal

DTYPES = ["int8", "uint16", "int64", "float16", "float32", "float64", "complex64", "complex128"]


@st.composite
def transposed(draw):
    """Shapes of input and weight, and options, of a few hundred products."""
    batch, groups = draw(st.integers(0, 2)), draw(st.sampled_from((1, 1, 2, 3)))
    channels, outs = draw(st.integers(1, 3)), draw(st.integers(0, 3))
    length, taps = draw(st.integers(1, 9)), draw(st.integers(1, 5))
    stride, dilation = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    output_padding = draw(st.integers(0, max(stride, dilation) - 1))
    pads = st.integers(0, 6)
    padding = draw(pads | st.tuples(pads, pads))
    whole = (length - 1) * stride + dilation * (taps - 1) + output_padding + 1
    assume(whole - (sum(padding) if isinstance(padding, tuple) else 2 * padding) > 0)
    options = {
        "stride": stride,
        "padding": padding,
        "output_padding": output_padding,
        "groups": groups,
        "dilation": dilation,
    }
    return (batch, groups * channels, length), (groups * channels, outs, taps), options


def geometry_of(x_shape, w_shape, options):
    geometry = {name: value for name, value in options.items() if name != "groups"}
    return resolve_transposed("test", x_shape[2], w_shape[2], **geometry)


def drawn(draw, x_shape, w_shape, options):
    """x, w, b and dy by `draw`, a function of a shape."""
    outs = w_shape[1] * options.get("groups", 1)
    length = geometry_of(
        x_shape, w_shape, {"stride": 1, "padding": 0, "output_padding": 0, "dilation": 1} | options
    ).input_length
    return [draw(s) for s in (x_shape, w_shape, (outs,), (x_shape[0], outs, length))]


def as_one(x, w, b, dy, options):
    """The output and its three gradients."""
    return conv_transpose1d(x, w, b, **options), *conv_transpose1d_backward(dy, x, w, **options)


NAMES = ("y", "dx", "dw", "db")


@given(case=transposed(), seed=seeds, dtype=st.sampled_from(DTYPES))
def test_every_geometry_and_dtype(backend, case, seed, dtype):
    """The maps of `conv1d` by loops, the other way round, in exact numbers."""
    rng = np.random.default_rng(seed)
    x, w, b, dy = drawn(lambda shape: integers(rng, shape, dtype), *case)
    g, groups = geometry_of(*case), case[2]["groups"]
    expected = (
        loop_backward_input(x, w.conj(), g, groups) + b.astype(object)[:, np.newaxis],
        loop_forward(dy, w.conj(), None, g, groups),
        np.conjugate(loop_backward_weight(x, dy, w.shape[2], g, groups)),
        loop_backward_bias(dy),
    )
    got = as_one(x, w, b, dy, case[2])
    for name, a, e in zip(NAMES, got, expected, strict=True):
        same(a, wrapped(e, dtype), err_msg=name, strict=True)
    same(conv_transpose1d(x, w, **case[2]), wrapped(expected[0] - b.astype(object)[:, None], dtype))


@given(case=transposed(), seed=seeds, dtype=st.sampled_from(REAL))
def test_the_bits_of_the_maps_that_it_is_made_of(native, case, seed, dtype):
    """And the bias is added last."""
    rng = np.random.default_rng(seed)
    x, w, b, dy = drawn(lambda shape: rng.standard_normal(shape).astype(dtype), *case)
    y, dx, dw, _ = as_one(x, w, b, dy, case[2])
    g = geometry_of(*case)
    left = g.pad_left
    right = (g.output_length - 1) * g.stride + g.dilation * (w.shape[2] - 1) + 1
    right -= g.input_length + left
    if right >= 0:  # where it is not, no conv1d that a user can ask for has this geometry
        options = {"stride": g.stride, "padding": (left, right), "dilation": g.dilation}
        options["groups"] = case[2]["groups"]
        without = conv1d_backward_input(x, w, g.input_length, **options)
        same(y, without + b[:, np.newaxis])
        same(dx, conv1d(dy, w, **options))
        same(dw, conv1d_backward_weight(x, dy, w.shape[2], **options))
    same(y, conv_transpose1d(x, w, **case[2]) + b[:, np.newaxis])


@pytest.mark.parametrize("dtype", REAL, ids=str)
@pytest.mark.parametrize(
    ("channels", "outs", "length", "taps", "stride"),
    [(1, 1, 700, 16, 8), (24, 20, 70, 7, 3), (130, 7, 33, 4, 2), (8, 8, 600, 1, 1)],
)
def test_larger_ones(backend, dtype, channels, outs, length, taps, stride):
    """Exact in any order of the terms: several tiles, blocks of terms, phases."""
    rng = np.random.default_rng(0)
    options = {"stride": stride, "padding": (taps // 2, 0), "groups": 1}
    x_shape, w_shape = (2, channels, length), (channels, outs, taps)
    x, w, b, dy = drawn(lambda shape: integers(rng, shape, dtype), x_shape, w_shape, options)
    y = np.zeros((2, outs, (length - 1) * stride + taps))
    for j in range(taps):
        y[:, :, j : j + (length - 1) * stride + 1 : stride] += np.einsum(
            "ncp,co->nop", x.astype(float), w[:, :, j].astype(float)
        )
    y = y[:, :, taps // 2 :]
    got = as_one(x, w, b, dy, options)
    same(got[0], (y + b[:, None]).astype(dtype), strict=True)
    # <y - b, dy> is linear in x and in w, so the gradients are its adjoints
    inner = np.vdot(y, dy.astype(float))
    assert np.vdot(got[1].astype(float), x) == inner
    assert np.vdot(got[2].astype(float), w) == inner
    same(got[3], dy.sum((0, 2)))


def test_a_lone_signal_and_no_batch(backend):
    x, w, b = np.array([1.0, 10.0, 100.0]), np.array([1.0, 2.0]), np.array([0.5])
    y = conv_transpose1d(x, w, b, stride=2)
    same(y, [1.5, 2.5, 10.5, 20.5, 100.5, 200.5])
    grads = conv_transpose1d_backward(y, x, w, stride=2)
    assert isinstance(grads, Gradients)
    assert [g.shape for g in grads] == [(3,), (2,), (1,)]
    batched = conv_transpose1d_backward(y[None, None], x[None, None], w[None, None], stride=2)
    for alone, other in zip(grads, batched, strict=True):
        same(alone, other.reshape(alone.shape))
    x, w = np.ones((2, 3)), np.ones((2, 4, 2))
    y = conv_transpose1d(x, w)
    same(y, conv_transpose1d(x[None], w)[0], strict=True)
    assert [g.shape for g in conv_transpose1d_backward(y, x, w)] == [(2, 3), (2, 4, 2), (4,)]


def test_numbers_in_lists(backend):
    same(conv_transpose1d([1, 2], [1, 10], [3]), np.array([4.0, 15.0, 23.0]), strict=True)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64"])
def test_arrays_of_any_layout(backend, layout, dtype):
    rng = np.random.default_rng(0)
    options = {"stride": 2, "padding": (1, 2), "output_padding": 1, "groups": 2, "dilation": 3}
    four = drawn(lambda shape: integers(rng, shape, dtype), (2, 4, 7), (4, 3, 3), options)
    expected = as_one(*four, options)
    got = as_one(*(LAYOUTS[layout](a) for a in four), options)
    for name, a, e in zip(NAMES, got, expected, strict=True):
        same(a, e, err_msg=name, strict=True)
        assert a.flags.c_contiguous


def test_non_finite_weights_reach_only_their_outputs(backend):
    y = conv_transpose1d([1.0, 2.0, 3.0], [1.0, np.nan], [10.0])
    same(y, [11.0, np.nan, np.nan, np.nan])
    y = conv_transpose1d([1.0, 2.0, 3.0], [np.inf, 1.0], [10.0], stride=3)
    same(y, [np.inf, 11.0, 10.0, np.inf, 12.0, 10.0, np.inf, 13.0])


@given(
    length=st.integers(0, 40),
    taps=st.integers(1, 6),
    stride=st.integers(1, 6),
    dilation=st.integers(1, 6),
    pads=st.tuples(st.integers(0, 9), st.integers(0, 9)),
)
def test_it_undoes_the_length_of_conv1d(length, taps, stride, dilation, pads):
    """With the output_padding that tells apart the lengths that `conv1d` makes equal."""
    rest = length + sum(pads) - dilation * (taps - 1) - 1
    assume(rest >= 0 and length > 0)
    positions, extra = rest // stride + 1, rest % stride
    assert length == conv_transpose1d_output_length(positions, taps, stride, pads, extra, dilation)
    assert resolve_transposed("t", positions, taps, stride, pads, extra, dilation) == Geometry(
        length, positions, stride, dilation, pads[0]
    )


TORCH_CASES = {
    "defaults": ((2, 3, 10), (3, 4, 3), {}),
    "one sample": ((3, 10), (3, 4, 3), {}),
    "stride": ((2, 3, 10), (3, 4, 4), {"stride": 3}),
    "stride above the span": ((2, 3, 10), (3, 4, 2), {"stride": 5}),
    "padding": ((2, 3, 10), (3, 4, 3), {"padding": 2}),
    "padding above the span": ((2, 3, 10), (3, 4, 2), {"padding": 5}),
    "output_padding": ((2, 3, 10), (3, 4, 4), {"stride": 3, "output_padding": 2}),
    "output_padding above the stride": (
        (2, 3, 10),
        (3, 4, 2),
        {"stride": 2, "dilation": 5, "output_padding": 4},
    ),
    "dilation": ((2, 3, 10), (3, 4, 3), {"dilation": 4}),
    "groups": ((2, 6, 10), (6, 2, 3), {"groups": 2}),
    "depthwise": ((2, 5, 10), (5, 1, 3), {"groups": 5, "padding": 1}),
    "all, by position": (
        (3, 6, 50),
        (6, 3, 4),
        {"stride": 4, "padding": 5, "output_padding": 3, "groups": 3, "dilation": 3},
    ),
    "1-tuples": ((2, 3, 20), (3, 4, 3), {"stride": (2,), "padding": (1,), "output_padding": (1,)}),
    "no batch": ((0, 3, 10), (3, 4, 3), {}),
}


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("name", TORCH_CASES)
def test_agreement_with_torch(backend, torch, name, dtype):
    """Exact, because the numbers are small integers."""
    x_shape, w_shape, options = TORCH_CASES[name]
    rng = np.random.default_rng(0)
    bias_shape = (w_shape[1] * options.get("groups", 1),)
    x, w, b = (integers(rng, shape, dtype) for shape in (x_shape, w_shape, bias_shape))
    tensors = [torch.from_numpy(a).requires_grad_() for a in (x, w, b)]
    by_position = tuple(options.values()) if name == "all, by position" else ()
    by_name = {} if by_position else options
    expected = torch.nn.functional.conv_transpose1d(*tensors, *by_position, **by_name)
    y = conv_transpose1d(x, w, b, *by_position, **by_name)
    same(y, expected.detach().numpy(), strict=True)
    dy = integers(rng, y.shape, dtype)
    grads = conv_transpose1d_backward(dy, x, w, *by_position, **by_name)
    if y.size:
        expected.backward(torch.from_numpy(dy))
        for got, tensor in zip(grads, tensors, strict=True):
            same(got, tensor.grad.numpy(), strict=True)
    same(conv_transpose1d(x, w, **options), y - b[:, np.newaxis])


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_it_is_the_adjoint_of_conv1d(backend, dtype):
    """<conv1d(x, w), dy> = <x, conv_transpose1d(dy, w̄)>, and gradients are each other's maps."""
    rng = np.random.default_rng(0)
    options = {"stride": 3, "padding": (2, 1), "dilation": 2, "groups": 2}
    x, w = integers(rng, (2, 4, 20), dtype), integers(rng, (6, 2, 3), dtype)
    y = conv1d(x, w, **options)
    dy = integers(rng, y.shape, dtype)
    grads = conv1d_backward(dy, x, w, **options)
    extra = (20 + 3 - 2 * 2 - 1) % 3
    back = conv_transpose1d(dy, w.conj(), output_padding=extra, **options)
    same(back, grads.input, strict=True)
    assert np.vdot(back, x) == np.vdot(dy, y)
