"""Every option in random combination, on every backend, against the reference and PyTorch.

Numbers are small integers: their sums are exact in any order, so the results must be equal.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support import READABLE, WRITEABLE, cases, integers, reference_maps, seeds

from cconv1d import (
    Gradients,
    conv1d,
    conv1d_backward,
    conv1d_backward_input,
    conv1d_backward_weight,
    conv_transpose1d,
    conv_transpose1d_backward,
)

same = np.testing.assert_array_equal

BY_TORCH = ("float32", "float64", "complex64", "complex128")
BY_REFERENCE = (*BY_TORCH, "int16", "uint8", "float16", "longdouble")

MORE = settings(max_examples=2 * settings().max_examples)  # there are many combinations


class Use:
    """How functions are called: all but the numbers and the geometry."""

    def __init__(self, draw):
        self.axes = draw(st.sampled_from((3, 2, 1)))
        self.layout = draw(st.sampled_from(("NCL", "NLC")))
        self.bias = draw(st.booleans())
        self.needs = draw(st.tuples(*[st.booleans()] * 3))
        self.kinds = draw(st.lists(st.sampled_from(list(READABLE)), min_size=3, max_size=3))
        self.listed = draw(st.sampled_from((None, 0, 1, 2)))  # the others tell the dtype
        self.out = draw(st.sampled_from((None, *WRITEABLE)))
        self.accumulate = draw(st.booleans())

    def __repr__(self):
        return f"Use({', '.join(f'{k}={v!r}' for k, v in vars(self).items())})"

    def signal(self, array):
        """(N, C, L) in the axes and the layout of this use."""
        array = array[(0,) * (3 - self.axes)]
        return array.swapaxes(-1, -2) if self.layout == "NLC" and self.axes > 1 else array

    def weight(self, array):
        return array[0, 0] if self.axes == 1 else array

    def arguments(self, *arrays):
        for i, (array, kind) in enumerate(zip(arrays, self.kinds, strict=False)):
            listed = i == self.listed and array.size and array.dtype != np.longdouble
            yield array.tolist() if listed else READABLE[kind](array)

    def check(self, function, arrays, more, options, expected):
        """The results, new or in `out`, are the expected ones, and the arguments as before."""
        given_arrays = list(self.arguments(*arrays))
        wanted = expected if isinstance(expected, Gradients) else (expected,)
        outs = [e if e is None or not self.out else WRITEABLE[self.out](e * 0 + 3) for e in wanted]
        if self.out:
            out = Gradients(*outs) if isinstance(expected, Gradients) else outs[0]
            options = options | {"out": out, "accumulate": self.accumulate}
        got = function(*given_arrays, *more, **options, layout=self.layout)
        got = got if isinstance(expected, Gradients) else (got,)
        for result, value, out in zip(got, wanted, outs, strict=True):
            if value is None:
                assert result is None
                continue
            same(
                result, value + out.dtype.type(3) if "out" in options and self.accumulate else value
            )
            assert result.dtype == value.dtype
            assert result is out or not self.out
        for array, before in zip(given_arrays, arrays, strict=True):
            same(array, before)


def by_reference(x, w, b, dy, case):
    return reference_maps(x, w, b, dy, case.geometry, case.groups, x.dtype)


def by_torch(torch, x, w, b, dy, case):
    g = case.geometry
    right = (g.output_length - 1) * g.stride + (case.taps - 1) * g.dilation + 1
    pads = g.pad_left, max(right - g.pad_left - g.input_length, 0)
    tensors = [torch.from_numpy(a).requires_grad_() for a in (x, w, b)]
    mode = "constant" if case.mode == "zeros" else case.mode
    padded = torch.nn.functional.pad(tensors[0], pads, mode)
    steps = case.stride, 0, case.dilation, case.groups
    y = torch.nn.functional.conv1d(padded, *tensors[1:], *steps)
    y.backward(torch.from_numpy(dy))
    return tuple(tensor.numpy() for tensor in (y.detach(), *(t.grad for t in tensors)))


@pytest.fixture(scope="module", params=["reference", "torch"])
def torch_or_none(request):
    """Which of the two has the expected results."""
    return request.getfixturevalue("torch") if request.param == "torch" else None


@st.composite
def calls(draw):
    """A use, and a convolution of as many axes."""
    use, case = Use(draw), draw(cases(work=2**10))
    if use.axes < 3:
        case = case._replace(batch=1)
    if use.axes == 1:
        case = case._replace(groups=1, channels=1, outs=1)
    return use, case


@MORE
@given(call=calls(), seed=seeds, data=st.data())
def test_conv1d_and_its_gradients(backend, torch_or_none, call, seed, data):
    use, case = call
    dtype = data.draw(st.sampled_from(BY_TORCH if torch_or_none else BY_REFERENCE))
    x, w, b, dy = case.integral(seed, dtype)
    b = b if use.bias else np.zeros_like(b)
    if torch_or_none:
        assume(x.size * w.size * dy.size)  # it refuses some without numbers
        y, dx, dw, db = by_torch(torch_or_none, x, w, b, dy, case)
    else:
        y, dx, dw, db = by_reference(x, w, b, dy, case)
    x, y, dy, dx = (use.signal(a) for a in (x, y, dy, dx))
    w, dw = use.weight(w), use.weight(dw)
    use.check(conv1d, (x, w, b) if use.bias else (x, w), (), case.options, y)
    use.check(conv1d_backward_input, (dy, w), (case.length,), case.options, dx)
    use.check(conv1d_backward_weight, (dy, x), (case.taps,), case.options, dw)
    grads = Gradients(*(a if n else None for a, n in zip((dx, dw, db), use.needs, strict=True)))
    use.check(conv1d_backward, (dy, x, w), (), case.options | {"needs": use.needs}, grads)


@MORE
@given(call=calls(), seed=seeds, data=st.data())
def test_conv_transpose1d_and_its_gradients(backend, torch_or_none, call, seed, data):
    use, case = call
    case = case._replace(mode="zeros")
    g = case.geometry
    assume(g.input_length > 0)
    left, whole = g.pad_left, (g.output_length - 1) * g.stride + g.dilation * (case.taps - 1) + 1
    extra = max(g.input_length + left - whole, 0)
    right = whole + extra - left - g.input_length
    assume(extra < max(g.stride, g.dilation))
    options = {"stride": g.stride, "padding": (left, right), "output_padding": extra}
    options |= {"groups": case.groups, "dilation": g.dilation}

    dtype = data.draw(st.sampled_from(BY_TORCH if torch_or_none else BY_REFERENCE))
    dy, w, _, x = case.integral(seed, dtype)  # a result here is conv1d's input there
    b = integers(np.random.default_rng(seed), dy.shape[1], dtype)
    b = b if use.bias else np.zeros_like(b)
    if torch := torch_or_none:
        assume(x.size * w.size * dy.size)
        tensors = [torch.from_numpy(a).requires_grad_() for a in (x, w, b)]
        steps = g.stride, 0, extra, case.groups, g.dilation
        y = torch.nn.functional.conv_transpose1d(*tensors, *steps)[..., left : left + dy.shape[2]]
        y.backward(torch.from_numpy(dy))
        y, dx, dw, db = (t.numpy() for t in (y.detach(), *(t.grad for t in tensors)))
    else:  # conv1d's maps, with weights that are not conjugated
        none = np.zeros(len(w), dtype)
        dx, y, dw, _ = reference_maps(dy, w.conj(), none, x, g, case.groups, dtype)
        y, dw = y + b[:, np.newaxis], dw.conj()
        db = dy.sum((0, 2), dtype=np.float32 if dtype == "float16" else dtype).astype(dtype)
    x, y, dy, dx = (use.signal(a) for a in (x, y, dy, dx))
    w, dw = use.weight(w), use.weight(dw)
    use.check(conv_transpose1d, (x, w, b) if use.bias else (x, w), (), options, y)
    grads = Gradients(*(a if n else None for a, n in zip((dx, dw, db), use.needs, strict=True)))
    use.check(conv_transpose1d_backward, (dy, x, w), (), options | {"needs": use.needs}, grads)
