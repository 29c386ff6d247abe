"""The three maps in NumPy: the oracle of the tests and the fallback without a compiler.

With x the padded input, w the weight, and p, q positions, the tap j of a
kernel meets the samples ``window(j) = (p*stride + j*dilation for p in 0 .. L_out-1)``
of the padded input.  Each map is one line per tap:

    forward           y            += w[j]  @ x[window(j)]
    backward_input    dx[window(j)] += w[j]ᴴ @ dy
    backward_weight   dw[j]         = Σ_n dy @ x[window(j)]ᴴ

where ``@`` sums over the channels of a group (for backward_weight: over positions), and
ᴴ conjugates complex data, which is PyTorch's convention for gradients.

Arrays come as (batch, channels, positions) and (out channels, channels per group, taps);
each function fills the last of its arrays, when all is computed.  Any numeric dtype goes: half
precision (float16, bfloat16) is accumulated in float32 and rounded once, integers wrap
modulo 2^n as NumPy's do.  They say nothing of overflow or NaN, as the compiled maps do not.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ._arrays import Array, is_bfloat16
from ._geometry import Geometry

silent = np.errstate(all="ignore")


def _accumulator(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype(np.float32) if dtype == np.float16 or is_bfloat16(dtype) else dtype


def _by_group(array: Array, groups: int) -> Array:
    """(batch, channels, positions) as (batch, group, channel of the group, position)."""
    batch, channels, length = array.shape
    return array.reshape(batch, groups, channels // groups, length)


def _weights_by_group(w: Array, groups: int) -> Array:
    """(out channels, channels, taps) as (tap, group, out channel, channel) of one group."""
    out_channels, channels, taps = w.shape
    return w.reshape(groups, out_channels // groups, channels, taps).transpose(3, 0, 1, 2)


def _window(j: int, g: Geometry) -> slice:
    """The samples of the padded input that tap j meets, one for each output."""
    start = j * g.dilation
    return slice(start, start + (g.output_length - 1) * g.stride + 1, g.stride)


def _unpadded(padded: Array, g: Geometry, x: Array) -> tuple[Array, Array]:
    """The part of `padded` and the part of `x` that are the same samples."""
    skipped = max(-g.pad_left, 0)
    start = max(g.pad_left, 0)
    count = max(min(padded.shape[-1] - start, x.shape[-1] - skipped), 0)
    return padded[..., start : start + count], x[..., skipped : skipped + count]


def _zeros_around(x: Array, g: Geometry, taps: int) -> Array:
    """Zeros, as long as the padded input is read, in the shape of `x` otherwise."""
    length = (g.output_length - 1) * g.stride + (taps - 1) * g.dilation + 1
    return np.zeros((*x.shape[:-1], length), dtype=_accumulator(x.dtype))


def _sources(padded: Array, g: Geometry) -> Array:
    """For each position of the padded input the sample that it is a copy of."""
    right = max(padded.shape[-1] - g.pad_left - g.input_length, 0)
    mode = ("constant", "reflect", "edge", "wrap")[g.mode]
    samples = np.pad(np.arange(g.input_length), (g.pad_left, right), mode)  # type: ignore[call-overload]
    return samples[: padded.shape[-1]]  # type: ignore[no-any-return]


def _padded(x: Array, g: Geometry, taps: int) -> Array:
    padded = _zeros_around(x, g, taps)
    if g.mode:
        padded[...] = x[..., _sources(padded, g)]
        return padded
    inside, samples = _unpadded(padded, g, x)
    inside[...] = samples
    return padded


@silent
def forward(
    x: Array,
    w: Array,
    b: Array | None,
    y: Array,
    g: Geometry,
    groups: int,
    conjugate: bool = False,
) -> None:
    """y[n, g, o, p] = b[g, o] + Σ_{c,j} w[g, o, c, j] · x[n, g, c, q]

    with q = p·stride + j·dilation − pad_left, and w̄ for w to `conjugate`.
    """
    w = w.conj() if conjugate else w
    dtype = _accumulator(y.dtype)
    padded = _padded(_by_group(x, groups), g, w.shape[-1])
    total = np.zeros((x.shape[0], groups, w.shape[0] // groups, g.output_length), dtype)
    for j, tap in enumerate(_weights_by_group(w.astype(dtype, copy=False), groups)):
        total += tap @ padded[..., _window(j, g)]
    if b is not None:
        total += b.astype(dtype, copy=False).reshape(groups, -1, 1)
    y[...] = total.astype(y.dtype, copy=False).reshape(y.shape)


@silent
def backward_input(
    dy: Array,
    w: Array,
    dx: Array,
    g: Geometry,
    groups: int,
    b: Array | None = None,
    conjugate: bool = False,
) -> None:
    """dx[n, g, c, q] = Σ_{o,j,p} w̄[g, o, c, j] · dy[n, g, o, p]

    over the o, j and p with p·stride + j·dilation − pad_left = q or a position of the padding
    that is a copy of q; and b[g, c] besides, which a transposed convolution may have, as it has w
    for w̄: then `conjugate` conjugates once more.
    """
    w = w.conj() if conjugate else w
    dtype = _accumulator(dx.dtype)
    dy = _by_group(dy.astype(dtype, copy=False), groups)
    total = np.zeros((dx.shape[0], groups, dx.shape[1] // groups, dx.shape[2]), dtype)
    padded = _zeros_around(total, g, w.shape[-1])
    for j, tap in enumerate(_weights_by_group(w.astype(dtype, copy=False), groups)):
        padded[..., _window(j, g)] += tap.conj().swapaxes(-1, -2) @ dy
    if g.mode:
        np.add.at(total, (..., _sources(padded, g)), padded)  # type: ignore[arg-type]
    else:
        inside, samples = _unpadded(padded, g, total)
        samples[...] = inside
    if b is not None:
        total += b.astype(dtype, copy=False).reshape(groups, -1, 1)
    dx[...] = total.astype(dx.dtype, copy=False).reshape(dx.shape)


@silent
def backward_weight(
    dy: Array, x: Array, dw: Array, g: Geometry, groups: int, conjugate: bool = False
) -> None:
    """dw[g, o, c, j] = Σ_{n,p} dy[n, g, o, p] · x̄[n, g, c, q]

    with q = p·stride + j·dilation − pad_left; its conjugate to `conjugate`.
    """
    dtype = _accumulator(dw.dtype)
    padded = _padded(_by_group(x, groups), g, dw.shape[-1]).conj()
    dy = _by_group(dy.astype(dtype, copy=False), groups)
    total = np.empty(dw.shape, dtype)
    for j, tap in enumerate(_weights_by_group(total, groups)):
        tap[...] = (dy @ padded[..., _window(j, g)].swapaxes(-1, -2)).sum(axis=0, dtype=dtype)
    dw[...] = (total.conj() if conjugate else total).astype(dw.dtype, copy=False)


@silent
def backward_bias(dy: Array, db: Array) -> None:
    """db[g, o] = Σ_{n,p} dy[n, g, o, p]"""
    db[...] = dy.sum(axis=(0, 2), dtype=_accumulator(db.dtype)).astype(db.dtype, copy=False)


def pack(w: Array, g: Geometry, groups: int, transposed: bool, channels_last: bool) -> Array:
    """Weights as forward, or backward_input if `transposed`, may have them: as they are.

    `channels_last` says that the signals will be views of arrays with their channels last.
    """
    return w


@silent
def silu(values: Array) -> None:
    """v becomes v / (1 + exp(-v))."""
    v = values.astype(np.float64)
    values[...] = v / (1 + np.exp(-v))


@silent
def silu_backward(values: Array, grads: Array) -> None:
    """Gradients with respect to silu(v) become those with respect to v."""
    v = values.astype(np.float64)
    s = 1 / (1 + np.exp(-v))
    grads *= s * (1 + v * (1 - s))
