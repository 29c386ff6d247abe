"""The three maps in NumPy: the oracle of the tests and the fallback without a compiler.

With x the input, w the weight, and p, q positions, the tap j of a kernel meets the sample
``q = p*stride + j*dilation - pad_left`` at each output p for which there is one.  With `p(j)` for
these outputs and `q(j)` for these samples, each map is one line per tap:

    forward           y[p(j)]  += w[j]  @ x[q(j)]
    backward_input    dx[q(j)] += w[j]ᴴ @ dy[p(j)]
    backward_weight   dw[j]     = Σ_n dy[p(j)] @ x[q(j)]ᴴ

or, with method "fft", a product of spectra of the padded input and the dilated weight, and the way
back; what "fast" saves are products, and here all sums are direct.  Here ``@`` sums over the
channels of a group (for backward_weight: over positions), and ᴴ conjugates complex data, which is
PyTorch's convention for gradients.

Arrays come as (batch, channels, positions) and (out channels, channels per group, taps);
each function fills the last of its arrays, when all is computed.  Any numeric dtype goes: half
precision (float16, bfloat16) is accumulated in float32 and rounded once, integers wrap
modulo 2^n as NumPy's do.  They say nothing of overflow or NaN, as the compiled maps do not.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ._arrays import Array, accumulator
from ._geometry import FFT_NUMBER, Geometry

silent = np.errstate(all="ignore")


def _by_group(array: Array, groups: int) -> Array:
    """(batch, channels, positions) as (batch, group, channel of the group, position)."""
    batch, channels, length = array.shape
    return array.reshape(batch, groups, channels // groups, length)


def _weights_by_group(w: Array, groups: int) -> Array:
    """(out channels, channels, taps) as (tap, group, out channel, channel) of one group."""
    out_channels, channels, taps = w.shape
    return w.reshape(groups, out_channels // groups, channels, taps).transpose(3, 0, 1, 2)


def _meetings(j: int, g: Geometry, length: int) -> tuple[slice, slice]:
    """The outputs whose tap j meets one of `length` samples, and these: two slices alike."""
    first = j * g.dilation - g.pad_left  # the sample of output 0
    p = max(0, -(first // g.stride))
    end = max(p, min(g.output_length, (length - 1 - first) // g.stride + 1))
    start = first + p * g.stride
    return slice(p, end), slice(start, start + (end - p) * g.stride, g.stride)


def _with_copies(g: Geometry, taps: int) -> tuple[Geometry, Array]:
    """The geometry for an input with copies beyond its ends, and the sample that each is of."""
    read = (g.output_length - 1) * g.stride + (taps - 1) * g.dilation + 1
    right = max(read - g.pad_left - g.input_length, 0)
    mode = ("constant", "reflect", "edge", "wrap")[g.mode]
    sources = np.pad(np.arange(g.input_length), (g.pad_left, right), mode)  # type: ignore[call-overload]
    return g._replace(pad_left=0), sources


# --- by transforms, which know no stride ----------------------------------------------------------


def _at_stride_1(g: Geometry) -> Geometry:
    """Whose every stride-th output is one of g."""
    length = (g.output_length - 1) * g.stride + 1
    return g._replace(stride=1, output_length=length)


def _at_each_position(dy: Array, g: Geometry) -> Array:
    """Outputs of g, with zeros between them, as those of _at_stride_1(g)."""
    apart = np.zeros((*dy.shape[:-1], (g.output_length - 1) * g.stride + 1), dy.dtype)
    apart[..., :: g.stride] = dy
    return apart


def _unpadded(padded: Array, g: Geometry, x: Array) -> tuple[Array, Array]:
    """The part of `padded` and the part of `x` that are the same samples."""
    skipped, start = max(-g.pad_left, 0), max(g.pad_left, 0)
    count = max(min(padded.shape[-1] - start, x.shape[-1] - skipped), 0)
    return padded[..., start : start + count], x[..., skipped : skipped + count]


def _zero_padded(x: Array, g: Geometry, taps: int) -> Array:
    """With zeros beyond the ends, as far as it is read."""
    padded = np.zeros((*x.shape[:-1], g.output_length + (taps - 1) * g.dilation), x.dtype)
    inside, samples = _unpadded(padded, g, x)
    inside[...] = samples
    return padded


def _spectrum(array: Array, g: Geometry, taps: int) -> Array:
    """Of rows that are no longer than the padded input: no two of its samples meet."""
    length = g.output_length + (taps - 1) * g.dilation
    transform = np.fft.fft if array.dtype.kind == "c" else np.fft.rfft
    return transform(array, length)


def _from_spectrum(spectrum: Array, g: Geometry, taps: int, like: Array) -> Array:
    length = g.output_length + (taps - 1) * g.dilation
    transform = np.fft.ifft if like.dtype.kind == "c" else np.fft.irfft
    return transform(spectrum, length)


def _dilated(w: Array, g: Geometry, groups: int) -> Array:
    """(out channels, channels, taps) by group, with zeros between the taps."""
    apart = np.zeros((*w.shape[:2], (w.shape[2] - 1) * g.dilation + 1), w.dtype)
    apart[..., :: g.dilation] = w
    return apart.reshape(groups, w.shape[0] // groups, *apart.shape[1:])


def _mended(total: Array, direct: Callable[[], Array]) -> Array:
    """With what is not finite computed directly."""
    finite = np.isfinite(total)
    return total if finite.all() else np.where(finite, total, direct())


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
    dtype = accumulator(y.dtype)
    w = (w.conj() if conjugate else w).astype(dtype, copy=False)
    x = _by_group(x.astype(dtype, copy=False), groups)
    if g.mode:
        g, sources = _with_copies(g, w.shape[-1])
        x = x[..., sources]

    def direct() -> Array:
        total = np.zeros((x.shape[0], groups, w.shape[0] // groups, g.output_length), dtype)
        for j, tap in enumerate(_weights_by_group(w, groups)):
            p, q = _meetings(j, g, x.shape[-1])
            total[..., p] += tap @ x[..., q]
        return total

    def by_fft(every: Geometry) -> Array:
        taps = w.shape[2]
        padded = _zero_padded(x, every, taps)
        kernels = _spectrum(_dilated(w.conj(), every, groups), every, taps).conj()
        spectrum = np.einsum("gocf,ngcf->ngof", kernels, _spectrum(padded, every, taps))
        return _from_spectrum(spectrum, every, taps, padded)[..., : every.output_length : g.stride]

    total = _mended(by_fft(_at_stride_1(g)), direct) if g.method == FFT_NUMBER else direct()
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
    dtype = accumulator(dx.dtype)
    w = (w.conj() if conjugate else w).astype(dtype, copy=False)
    dy = _by_group(dy.astype(dtype, copy=False), groups)
    total = np.zeros((dx.shape[0], groups, dx.shape[1] // groups, dx.shape[2]), dtype)
    length, mode = dx.shape[2], g.mode
    if mode:
        g, sources = _with_copies(g, w.shape[-1])
        length = sources.size

    def direct() -> Array:
        extended = np.zeros((*total.shape[:-1], length), dtype)
        for j, tap in enumerate(_weights_by_group(w, groups)):
            p, q = _meetings(j, g, length)
            extended[..., q] += tap.conj().swapaxes(-1, -2) @ dy[..., p]
        return extended

    def by_fft(every: Geometry) -> Array:
        taps = w.shape[2]
        kernels = _spectrum(_dilated(w.conj(), every, groups), every, taps)
        outputs = _spectrum(_at_each_position(dy, g), every, taps)
        spectrum = np.einsum("gocf,ngof->ngcf", kernels, outputs)
        extended = np.zeros((*total.shape[:-1], length), dtype)
        inside, samples = _unpadded(_from_spectrum(spectrum, every, taps, dy), every, extended)
        samples[...] = inside
        return extended

    extended = _mended(by_fft(_at_stride_1(g)), direct) if g.method == FFT_NUMBER else direct()
    if mode:
        np.add.at(total, (..., sources), extended)  # type: ignore[arg-type]
    else:
        total = extended
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
    dtype = accumulator(dw.dtype)
    x = _by_group(x.astype(dtype, copy=False), groups).conj()
    dy = _by_group(dy.astype(dtype, copy=False), groups)
    if g.mode:
        g, sources = _with_copies(g, dw.shape[-1])
        x = x[..., sources]

    def direct() -> Array:
        total = np.empty(dw.shape, dtype)
        for j, tap in enumerate(_weights_by_group(total, groups)):
            p, q = _meetings(j, g, x.shape[-1])
            tap[...] = (dy[..., p] @ x[..., q].swapaxes(-1, -2)).sum(axis=0, dtype=dtype)
        return total

    def by_fft(every: Geometry) -> Array:
        taps = dw.shape[2]
        padded = _zero_padded(x, every, taps)
        outputs = _spectrum(_at_each_position(dy, g).conj(), every, taps).conj()
        spectrum = np.einsum("ngof,ngcf->gocf", outputs, _spectrum(padded, every, taps))
        lags = _from_spectrum(spectrum, every, taps, padded)[..., : taps * g.dilation : g.dilation]
        return lags[..., :taps].reshape(dw.shape)

    total = _mended(by_fft(_at_stride_1(g)), direct) if g.method == FFT_NUMBER else direct()
    dw[...] = (total.conj() if conjugate else total).astype(dw.dtype, copy=False)


@silent
def backward_bias(dy: Array, db: Array) -> None:
    """db[g, o] = Σ_{n,p} dy[n, g, o, p]"""
    db[...] = dy.sum(axis=(0, 2), dtype=accumulator(db.dtype)).astype(db.dtype, copy=False)


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
