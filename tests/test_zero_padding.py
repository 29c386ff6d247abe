"""A tap that meets zero padding is no term: what is not finite reaches nothing there."""

from __future__ import annotations

import numpy as np
import pytest
from support import Case

from cconv1d import conv1d, conv1d_backward_input, conv1d_backward_weight

# batch, groups, channels and outputs of a group, length, taps, stride, padding, dilation
CASES = {
    "panels": Case(2, 1, 9, 13, 300, 6, 1, 3, 2),
    "stride": Case(2, 2, 5, 4, 61, 7, 3, 6, 1),
    "one row": Case(1, 1, 3, 1, 40, 9, 1, 8, 1),
    "one row, stride": Case(2, 1, 2, 1, 40, 9, 2, 7, 1),
    "depthwise": Case(2, 40, 1, 1, 50, 5, 1, 2, 1),
    "depthwise, stride": Case(1, 40, 1, 1, 50, 5, 2, 4, 3),
    "wider than the signal": Case(1, 1, 4, 24, 5, 16, 1, 24, 3),
    "whole padding": Case(2, 1, 8, 8, 6, 3, 4, 11, 1),
    "many terms": Case(1, 1, 48, 16, 20, 9, 1, 4, 1),
    "one end": Case(2, 1, 3, 9, 50, 4, 2, (0, 5), 1),
}
DTYPES = ("f", "d", "F", "e")
LAYOUTS = ("NCL", "NLC")
METHODS = ("direct", "fft")


def meetings(case, length, outputs, pad):
    """Whether tap j of output p meets the sample q: (output, tap, sample)."""
    p, j, q = np.ogrid[:outputs, : case.taps, :length]
    return p * case.stride + j * case.dilation - pad == q


def operands(case, dtype, seed=0):
    draw = np.random.default_rng(seed)

    def normal(shape):
        parts = draw.standard_normal(shape)
        if np.dtype(dtype).kind == "c":
            parts = parts + 1j * draw.standard_normal(shape)
        return parts.astype(dtype)

    return [normal(shape) for shape in case.shapes()], draw


def spoil(array, draw, count=3):
    """The array with a few numbers that are not finite, and with zeros in their places."""
    spoiled, clean = array.copy(), array.copy()
    for place in draw.choice(array.size, min(count, array.size), replace=False):
        spoiled.flat[place] = draw.choice([np.nan, np.inf, -np.inf])
        clean.flat[place] = 0
    return spoiled, clean


def swap(array, layout):
    return np.ascontiguousarray(array.swapaxes(1, 2)) if layout == "NLC" else array


def check(spoiled, clean, reached, method):
    """Results that are reached are not finite; all others have the bits of the clean ones.

    A block of transforms that is reached is summed directly, so there the others are only close.
    """
    assert not np.isfinite(spoiled[reached]).any()
    if method == "direct":
        np.testing.assert_array_equal(spoiled[~reached], clean[~reached])
    else:
        kind = "f" if spoiled.dtype == "e" else spoiled.dtype
        scale = np.abs(clean.astype(kind)).max(initial=0)
        rounded = np.finfo(spoiled.dtype).eps * scale
        others = spoiled[~reached].astype(kind), clean[~reached].astype(kind)
        np.testing.assert_allclose(*others, rtol=0, atol=8 * rounded)


def pad_of(case):
    return case.padding[0] if isinstance(case.padding, tuple) else case.padding


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CASES)
def test_weights(backend, name, dtype, layout, method):
    case = CASES[name]
    (x, w, b, dy), draw = operands(case, dtype)
    spoiled, clean = spoil(w, draw)
    meets = meetings(case, x.shape[2], dy.shape[2], pad_of(case))
    bad = ~np.isfinite(spoiled)
    options = case.options | {"layout": layout, "method": method}
    with np.errstate(invalid="ignore", over="ignore"):
        y, expected = (
            swap(conv1d(swap(x, layout), weight, b, **options), layout)
            for weight in (spoiled, clean)
        )
    reached = np.einsum("ocj,pjq->op", bad, meets) > 0
    check(y, expected, np.broadcast_to(reached, y.shape), method)
    with np.errstate(invalid="ignore", over="ignore"):
        dx, expected = (
            swap(
                conv1d_backward_input(swap(dy, layout), weight, input_length=x.shape[2], **options),
                layout,
            )
            for weight in (spoiled, clean)
        )
    grouped = bad.reshape(case.groups, -1, *bad.shape[1:])
    reached = (np.einsum("gocj,pjq->gcq", grouped, meets) > 0).reshape(dx.shape[1:])
    check(dx, expected, np.broadcast_to(reached, dx.shape), method)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CASES)
def test_gradients_of_outputs(backend, name, dtype, layout, method):
    case = CASES[name]
    (x, _, _, dy), draw = operands(case, dtype)
    spoiled, clean = spoil(dy, draw, 1)
    spoiled[..., 0, -1], clean[..., 0, -1] = np.inf, 0
    meets = meetings(case, x.shape[2], dy.shape[2], pad_of(case))
    bad = ~np.isfinite(spoiled)
    options = case.options | {"layout": layout, "method": method}
    with np.errstate(invalid="ignore", over="ignore"):
        dw, expected = (
            conv1d_backward_weight(
                swap(gradient, layout), swap(x, layout), kernel_size=case.taps, **options
            )
            for gradient in (spoiled, clean)
        )
    reached = np.einsum("nop,pjq->oj", bad, meets) > 0
    check(dw, expected, np.broadcast_to(reached[:, None], dw.shape), method)
