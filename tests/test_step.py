"""Steps: a signal in chunks, by functions, has the bits of one call and its gradients."""

from __future__ import annotations

from typing import NamedTuple

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import READABLE, integers, seeds, unaligned

from cconv1d import StepGradients, conv1d, conv1d_backward, conv1d_step, conv1d_step_backward

DTYPES = [*map(np.dtype, "fdFDeil"), np.dtype(ml_dtypes.bfloat16)]
FLOATS = [*map(np.dtype, "fdFD")]


class Layer(NamedTuple):
    """A convolution, by the sizes that matter to a stream."""

    batch: int
    groups: int
    channels: int  # of a group
    outs: int
    taps: int
    stride: int
    dilation: int
    layout: str

    @property
    def options(self):
        return {
            "stride": self.stride,
            "dilation": self.dilation,
            "groups": self.groups,
            "layout": self.layout,
        }

    @property
    def span(self):
        return self.dilation * (self.taps - 1) + 1

    @property
    def axis(self):
        return -1 if self.layout == "NCL" else -2

    def normal(self, seed, dtype, length, backend=""):
        """x, w and b of normally distributed numbers, or of any integers.

        The reference, whose sums are BLAS's, has equal bits where they are exact: of integers.
        """
        rng = np.random.default_rng(seed)
        c, k = self.groups * self.channels, self.groups * self.outs
        x = (self.batch, c, length) if self.axis == -1 else (self.batch, length, c)

        def draw(*shape):
            if np.dtype(dtype).kind == "i":
                return rng.integers(-1000, 1000, shape).astype(dtype)
            if backend == "reference":
                return integers(rng, shape, dtype)
            values = rng.standard_normal(shape)
            if np.dtype(dtype).kind == "c":
                values = values + 1j * rng.standard_normal(shape)
            return values.astype(dtype)

        return draw(*x), draw(k, self.channels, self.taps), draw(k)

    def cut(self, array, start, stop):
        return array[(..., slice(start, stop), *(slice(None),) * (-1 - self.axis))]


#: Sizes on either side of vectors and tiles; strides up to those that leave nothing out.
@st.composite
def layers(draw, most_taps=33):
    taps = draw(st.sampled_from([n for n in (1, 2, 3, 4, 5, 7, 16, 17, 33) if n <= most_taps]))
    dilation = draw(st.sampled_from((1, 2, 3, 5, 8)))
    span = dilation * (taps - 1) + 1
    return Layer(
        draw(st.sampled_from((1, 2, 3))),
        draw(st.sampled_from((1, 2, 3, 17))),
        draw(st.sampled_from((1, 2, 5, 16, 33))),
        draw(st.sampled_from((1, 2, 5, 12, 13, 24))),
        taps,
        draw(st.sampled_from([s for s in (1, 2, 3, 4, 7) if s <= span])),
        dilation,
        draw(st.sampled_from(("NCL", "NLC"))),
    )


#: Sizes of chunks: none, one, primes, more than all others together.
chunks = st.lists(st.sampled_from((0, 1, 2, 3, 5, 13, 31, 61, 127, 300)), min_size=1, max_size=8)


def in_steps(layer, x, w, b, sizes, history):
    """The outputs of all steps as one array, and the history that is left."""
    start, found = 0, []
    for size in sizes:
        chunk = layer.cut(x, start, start + size)
        y, history = conv1d_step(chunk, history, w, b, **layer.options)
        found.append(y)
        start += size
    return np.concatenate(found, axis=layer.axis), history


def as_bits(array):
    return np.ascontiguousarray(array).view(np.uint8)


def same_bits(one, other):
    assert one.dtype == other.dtype
    assert one.shape == other.shape
    np.testing.assert_array_equal(as_bits(one), as_bits(other))


@given(layer=layers(), sizes=chunks, seed=seeds, dtype=st.sampled_from(DTYPES), begun=st.booleans())
def test_steps_have_the_bits_of_one_call(backend, layer, sizes, seed, dtype, begun):
    """From zeros as with causal padding; from an empty history as with none."""
    length = sum(sizes)
    x, w, b = layer.normal(seed, dtype, length, backend)
    history = layer.cut(x, 0, 0) if begun else None
    y, left = in_steps(layer, x, w, b, sizes, history)
    pad = 0 if begun else layer.span - 1
    if length + pad >= layer.span:
        expected = conv1d(x, w, b, padding=(pad, 0), **layer.options)
        same_bits(y, expected)
    else:
        assert y.size == 0 or y.shape[layer.axis] == 0
    kept = length + pad - y.shape[layer.axis] * layer.stride
    assert left.shape[layer.axis] == kept
    if kept <= length:
        same_bits(left, layer.cut(x, length - kept, length))
    else:
        assert not layer.cut(left, 0, kept - length).any()
        same_bits(layer.cut(left, kept - length, kept), x)


@pytest.mark.parametrize("arrangement", READABLE)
def test_arrays_in_any_memory(backend, arrangement):
    layer = Layer(2, 2, 3, 4, 5, 2, 3, "NCL")
    x, w, b = layer.normal(0, np.float64, 40)
    h = layer.normal(1, np.float64, 11)[0]
    expected = conv1d_step(x, h, w, b, **layer.options)
    before = x.copy(), h.copy()
    arrays = [READABLE[arrangement](array) for array in (x, h, w, b)]
    for got, wanted in zip(conv1d_step(*arrays, **layer.options), expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-13, atol=1e-13)
        if backend != "reference":
            same_bits(got, wanted)
    for array, copy in zip((x, h), before, strict=True):
        same_bits(array, copy)


def test_the_history_is_an_array_of_its_own(backend):
    x, w = np.arange(12.0), np.ones(3)
    for history in (None, x[:0], x[:2]):
        _, new = conv1d_step(x, history, w)
        new[...] = -1
        assert (x == np.arange(12)).all()


def test_lists_and_lone_signals(backend):
    y, history = conv1d_step([1, 2], None, [1, -1])
    np.testing.assert_array_equal(y, [-1, -1])
    y, history = conv1d_step(np.array([4.0], np.float32), [2], [1, -1])
    assert y.dtype == history.dtype == np.float32
    np.testing.assert_array_equal(y, [-2])
    y, history = conv1d_step(np.ones((2, 0)), np.ones((2, 0)), np.ones((3, 2, 4)))
    assert y.shape == (3, 0)
    assert history.shape == (2, 0)


def test_a_step_of_two_pieces_reads_no_further_than_it_may(backend):
    """A NaN in one sample reaches the outputs whose window it is in, and no others."""
    layer = Layer(1, 1, 3, 4, 4, 1, 2, "NCL")
    x, w, b = layer.normal(0, np.float32, 60)
    h = layer.normal(1, np.float32, layer.span - 1)[0]
    for place in (0, 1, 5, 6, 13, 40, 59):
        spoilt = x.copy()
        spoilt[..., place] = np.nan
        y, _ = conv1d_step(spoilt, h, w, b, **layer.options)
        reached = np.isnan(y).all(axis=(0, 1))
        assert (np.isnan(y).any(axis=(0, 1)) == reached).all()
        expected = [p for p in range(60) if p - place in range(0, layer.span, 2)]
        assert list(np.flatnonzero(reached)) == expected


# --- gradients ------------------------------------------------------------------------------------


def backward_in_steps(layer, x, w, sizes, history, dy):
    """The gradients of all steps of a signal, from the last one back to the first."""
    start, states = 0, []
    for size in sizes:
        chunk = layer.cut(x, start, start + size)
        y, new = conv1d_step(chunk, history, w, **layer.options)
        states.append((chunk, history, y.shape[layer.axis]))
        start, history = start + size, new
    handed, grads = None, []
    end = sum(count for *_, count in states)
    for chunk, held, count in reversed(states):
        part = layer.cut(dy, end - count, end)
        grad = conv1d_step_backward(part, handed, chunk, held, w, **layer.options)
        grads.append(grad)
        handed, end = grad.history, end - count
    dx = np.concatenate([grad.input for grad in reversed(grads)], axis=layer.axis)
    return dx, sum(grad.weight for grad in grads), sum(grad.bias for grad in grads), handed


@given(layer=layers(), sizes=chunks, seed=seeds, dtype=st.sampled_from([*FLOATS, np.dtype("q")]))
def test_a_chain_of_steps_has_the_gradients_of_one_call(backend, layer, sizes, seed, dtype):
    """Exactly, as the numbers are small integers; chunks may be shorter than the history, too."""
    length = sum(sizes)
    x, w, _ = layer.normal(0, dtype, length)
    rng = np.random.default_rng(seed)
    x, w = (integers(rng, array.shape, dtype) for array in (x, w))
    row, pad = layer.span - 1 + length, layer.span - 1
    y = conv1d_step(x, None, w, **layer.options)[0]
    dy = integers(rng, y.shape, dtype)
    dx, dw, db, handed = backward_in_steps(layer, x, w, sizes, None, dy)
    assert handed is None
    if length:
        expected = conv1d_backward(dy, x, w, padding=(pad, 0), **layer.options)
        for got, wanted in zip((dx, dw, db), expected, strict=True):
            np.testing.assert_array_equal(got, wanted)

    # and with a history that is an array
    h = integers(rng, layer.normal(0, dtype, pad)[0].shape, dtype)
    dx, dw, db, dh = backward_in_steps(layer, x, w, sizes, h, dy)
    assert dh.shape == h.shape
    if row >= layer.span:
        joined = np.concatenate((h, x), axis=layer.axis)
        expected = conv1d_backward(dy, joined, w, **layer.options)
        np.testing.assert_array_equal(np.concatenate((dh, dx), axis=layer.axis), expected.input)
        np.testing.assert_array_equal(dw, expected.weight)
        np.testing.assert_array_equal(db, expected.bias)


@pytest.mark.parametrize("size", [0, 1, 2, 5, 6, 7, 40])
@pytest.mark.parametrize("stride", [1, 2])
def test_gradients_by_differences(backend, size, stride):
    """Of a loss that sees the outputs and the history that is handed on."""
    layer = Layer(2, 1, 2, 3, 4, stride, 2, "NLC")
    x, w, b = layer.normal(0, np.float64, size)
    h = layer.normal(1, np.float64, layer.span - 1)[0]
    y, new = conv1d_step(x, h, w, b, **layer.options)
    rng = np.random.default_rng(2)
    dy, dnew = rng.standard_normal(y.shape), rng.standard_normal(new.shape)

    def loss(x, h, w, b):
        y, new = conv1d_step(x, h, w, b, **layer.options)
        return (y * dy).sum() + (new * dnew).sum()

    grads = conv1d_step_backward(dy, dnew, x, h, w, **layer.options)
    arguments = [x, h, w, b]
    for i, grad in enumerate(grads):
        assert grad.shape == arguments[i].shape
        for at in np.ndindex(grad.shape):
            moved = []
            for step in (-0.5, 0.5):  # the loss is linear in each: no step is too long
                changed = arguments[i].copy()
                changed[at] += step
                moved.append(loss(*arguments[:i], changed, *arguments[i + 1 :]))
            assert abs(moved[1] - moved[0] - grad[at]) < 1e-11


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_rounded_once(backend, dtype):
    dtype = np.dtype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    layer = Layer(2, 1, 3, 4, 5, 1, 1, "NCL")
    x, w, _ = layer.normal(0, dtype, 90)
    h = layer.normal(1, dtype, 4)[0]
    dy = layer.normal(2, dtype, 90)[0][:, :1].repeat(4, axis=1)
    if backend == "reference":
        rng = np.random.default_rng(0)
        x, w, h, dy = (integers(rng, array.shape, dtype) for array in (x, w, h, dy))
    got = conv1d_step_backward(dy, None, x, h, w, **layer.options)
    joined = np.concatenate((h, x), axis=-1)
    expected = conv1d_backward(dy, joined, w, **layer.options)
    same_bits(got.weight, expected.weight)
    same_bits(got.bias, expected.bias)
    same_bits(np.concatenate((got.history, got.input), axis=-1), expected.input)


def test_only_what_is_needed(backend):
    x, h, w = np.ones(5), np.ones(2), np.ones(3)
    for i in range(4):
        needs = tuple(j == i for j in range(4))
        grads = conv1d_step_backward(np.ones(5), None, x, h, w, needs=needs)
        assert [grad is not None for grad in grads] == list(needs)
    assert conv1d_step_backward(np.ones(5), None, x, None, w).history is None
    assert isinstance(grads, StepGradients)
    zeros = conv1d_step_backward(None, None, x, h, w)
    assert not any(grad.any() for grad in zeros)


def test_unaligned_gradients(backend):
    x, h, w, dy = np.arange(9.0), np.ones(2), np.array([1.0, 2, 4]), np.arange(9.0)
    expected = conv1d_step_backward(dy, h, x, h, w)
    for got, wanted in zip(
        conv1d_step_backward(*map(unaligned, (dy, h, x, h, w))), expected, strict=True
    ):
        same_bits(got, wanted)


REFUSED = [
    ({"history": np.ones((2, 4, 5))}, ValueError, "history must have shape (2, 4, 0 to 4)"),
    ({"history": np.ones((2, 3, 4))}, ValueError, "history must have shape (2, 4, 0 to 4)"),
    ({"history": np.ones((4, 4))}, ValueError, "history must have shape"),
    ({"history": np.ones((2, 4, 4), "f")}, TypeError, "one dtype"),
    ({"history": np.ones((1, 2, 4, 4))}, ValueError, "history must have shape"),
    ({"input": np.ones((2, 6, 9))}, ValueError, "takes 4 input channels, but input has 6"),
    ({"input": None}, TypeError, "input must be an array, not None"),
    ({"weight": None}, TypeError, "weight must be an array, not None"),
    ({"weight": np.ones((2, 6, 2, 3))}, ValueError, "not one for each sample"),
    ({"weight": np.ones(3)}, ValueError, "must both have channels"),
    ({"stride": 6}, ValueError, "stride 6 is more than the 5 samples"),
    ({"stride": 0}, ValueError, "stride must be at least 1, not 0"),
    ({"dilation": 1.5}, TypeError, "dilation must be an integer, not 1.5"),
    ({"groups": 3}, ValueError, "cannot be divided into 3 groups"),
    ({"layout": "LNC"}, ValueError, "layout must be 'NCL' or 'NLC', not 'LNC'"),
]


@pytest.mark.parametrize(("change", "error", "words"), REFUSED)
def test_refusals(backend, change, error, words):
    call = {
        "input": np.ones((2, 4, 9)),
        "history": np.ones((2, 4, 4)),
        "weight": np.ones((6, 2, 3)),
        "dilation": 2,
        "groups": 2,
    }
    with pytest.raises(error) as caught:
        conv1d_step(**call | change)
    assert str(caught.value).startswith("conv1d_step: ")
    assert words in str(caught.value)
    with pytest.raises(error, match="conv1d_step_backward: "):
        conv1d_step_backward(None, None, **call | change)


def test_refusals_of_gradients(backend):
    x, h, w = np.ones((4, 9)), np.ones((4, 2)), np.ones((6, 4, 3))
    with pytest.raises(ValueError, match=r"grad_output must have shape \(6, 9\)"):
        conv1d_step_backward(np.ones((6, 8)), None, x, h, w)
    with pytest.raises(ValueError, match=r"grad_history must have shape \(4, 2\)"):
        conv1d_step_backward(None, np.ones((4, 3)), x, h, w)
    with pytest.raises(ValueError, match="bias must have shape"):
        conv1d_step(x, h, w, np.ones(5))
    for needs, error in ((3, TypeError), ((True,) * 3, ValueError), (("yes",) * 4, TypeError)):
        with pytest.raises(error, match="needs must be four truth values"):
            conv1d_step_backward(None, None, x, h, w, needs=needs)
