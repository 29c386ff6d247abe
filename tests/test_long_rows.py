"""One row of results of one tap, by samples where they lie: the bits of other ways to store it."""

from __future__ import annotations

import numpy as np
import pytest
from support import Case, needs_native, tuned

import cconv1d
from cconv1d import conv1d, conv1d_backward_input

pytestmark = [needs_native, pytest.mark.thread_unsafe]  # all threads read what is set

# Either side of: the shortest row, vectors, a stretch of 512 positions, panels; of 8 terms that are
# taken together, and the blocks of 128.
LENGTHS = (31, 32, 33, 47, 48, 49, 511, 512, 513, 1024, 1537, 4100)
CHANNELS = (2, 7, 8, 9, 17, 127, 128, 129, 300)
CASES = {
    **{f"{n} positions": Case(3, 1, 20, 1, n, 1, 1, 0, 1) for n in LENGTHS},
    **{f"{n} channels": Case(2, 1, n, 1, 100, 1, 1, 0, 1) for n in CHANNELS},
    "groups": Case(2, 5, 19, 1, 77, 1, 1, 0, 3),
    "padding": Case(2, 1, 19, 1, 77, 1, 1, (3, 40), 1),
    "cropped": Case(1, 1, 19, 1, 77, 1, 1, 0, 1, "reflect"),
}


def elsewhere(like):
    """An empty array of that shape, whose numbers lie apart."""
    return np.full((*like.shape, 2), np.nan, like.dtype)[..., 0]


@pytest.mark.parametrize("dtype", ["f", "d", "F", "e"])
@pytest.mark.parametrize("name", CASES)
def test_forward(native, name, dtype):
    case = CASES[name]
    x, w, b, _ = case.normal(0, dtype)
    for bias in (b, None):
        y = conv1d(x, w, bias, **case.options)
        out = elsewhere(y)
        conv1d(x, w, bias, **case.options, out=out)
        assert out.tobytes() == y.tobytes()
        apart = elsewhere(x)
        apart[...] = x
        assert conv1d(apart, w, bias, **case.options).tobytes() == y.tobytes()
        for n in range(len(x)):
            assert conv1d(x[n : n + 1], w, bias, **case.options).tobytes() == y[n].tobytes()


@pytest.mark.parametrize("name", CASES)
def test_backward_input(native, name):
    """Of as many outputs, to one channel of the input."""
    case = CASES[name]
    case = case._replace(channels=1, outs=case.channels)
    _, w, _, dy = case.normal(0, "f")
    with tuned(few_input_gain=0):
        dx = conv1d_backward_input(dy, w, case.length, **case.options)
        out = elsewhere(dx)
        conv1d_backward_input(dy, w, case.length, **case.options, out=out)
    assert out.tobytes() == dx.tobytes()


@pytest.mark.parametrize("name", ["4100 positions", "groups"])
def test_threads(native, name):
    x, w, b, _ = CASES[name].normal(0, "f")
    y = conv1d(x, w, b, **CASES[name].options)
    with tuned(serial_products=0), cconv1d.num_threads(3):
        assert conv1d(x, w, b, **CASES[name].options).tobytes() == y.tobytes()


def test_weights_that_are_not_finite(native):
    """They reach what they meet, and nothing in the padding."""
    x, w, b, _ = CASES["padding"].normal(0, "f")
    w[0, 3, 0] = np.inf
    y = conv1d(x, w, b, **CASES["padding"].options)
    assert np.isfinite(y[..., :3]).all()
    assert np.isfinite(y[..., -40:]).all()
    assert not np.isfinite(y[..., 3:-40]).any()
