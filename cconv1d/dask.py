"""Convolutions and their gradients over dask arrays, chunked along any axis.

A block of results needs its own samples and those around it, so each is one task on a window of the
input, a slice that crosses chunks where it has to.  Sums over channels or taps are never cut: what
is independent (samples of the batch, groups, channels of the result, positions) stays in chunks,
the axis that is summed becomes one.  That is why a block has the very bits of one call on the whole
arrays.  Gradients of weights do sum over the batch and the positions, hence over chunks, by a tree.

Samples beyond the ends are slices of the signal (`pad_ends`), except for zeros, which the kernels
know.  Every task computes with one thread of its own, since the scheduler runs several.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from math import isnan
from typing import Any, SupportsIndex

import dask.array as da
import numpy as np

from . import _functional, _signal
from ._arrays import Array, accumulator, as_arrays
from ._execute import Gradients, check_needs
from ._geometry import (
    METHODS,
    PADDING_MODES,
    Geometry,
    IntLike,
    Method,
    Padding,
    PaddingMode,
    Pads,
    integer,
)
from ._methods import settled
from ._plans import (
    Layout,
    plan_conv1d,
    plan_conv1d_backward,
    plan_conv1d_backward_input,
    plan_conv1d_backward_weight,
    plan_conv_transpose1d,
    plan_conv_transpose1d_backward,
)
from ._threads import num_threads

__all__ = [
    "conv1d",
    "conv1d_backward",
    "conv1d_backward_input",
    "conv1d_backward_weight",
    "conv_transpose1d",
    "conv_transpose1d_backward",
    "convolve",
    "correlate",
]

#: Indices of `dask.array.blockwise`: a sample of the batch, positions of both signals, taps, and
#: channels: of the result, summed, and of a group.
BATCH, POSITION, OTHER_POSITION, TAP, CHANNEL, SUMMED, IN_GROUP = range(7)

#: Terms of a chain of the kernels' sums, CC_BLOCK of src/tile/tiles.h.
CHAIN = 128


def conv1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: IntLike = 1,
    padding: Padding = 0,
    dilation: IntLike = 1,
    groups: SupportsIndex = 1,
    *,
    padding_mode: PaddingMode = "zeros",
    layout: Layout = "NCL",
    method: Method = "direct",
) -> Any:
    """Cross-correlate signals with kernels, as `cconv1d.conv1d`, block by block.

    Parameters
    ----------
    input : dask array, shape (N, C, L), (C, L) or (L,)
        Chunked along any axis. Channels that are summed become one chunk.
    weight : array_like or dask array, shape (K, C // groups, k) or (k,)
        An array is in the graph once; chunks of output channels make chunks of the result.
    bias : array_like or dask array, shape (K,), optional
        Added to every position of its output channel.
    stride, padding, dilation, groups, padding_mode, layout, method : optional
        As in `cconv1d.conv1d`.

    Returns
    -------
    dask array, shape (N, K, L_out), (K, L_out) or (L_out,)
        Output p is in the chunk of sample ``p * stride``, as far as there is one. It has the bits
        of one call on the whole arrays, however they are chunked, if `method` is "direct".

    Raises
    ------
    TypeError, ValueError
        As `cconv1d.conv1d`, when the graph is built; and ValueError for unknown lengths of chunks
        and for a weight of each sample.

    See Also
    --------
    conv1d_backward : Its gradients.
    cconv1d.conv1d : The same on NumPy arrays.

    Examples
    --------
    >>> import dask.array as da
    >>> import cconv1d.dask
    >>> x = da.arange(10.0, chunks=4)
    >>> y = cconv1d.dask.conv1d(x, [1.0, 0.0, -1.0], padding="same")
    >>> y.chunks
    ((4, 4, 2),)
    >>> y.compute()
    array([-1., -2., -2., -2., -2., -2., -2., -2., -2.,  8.])
    """
    x, w, b = as_dask("conv1d", input=input, weight=weight, bias=bias)
    shapes = x.shape, w.shape, None if b is None else b.shape
    plan = plan_conv1d(shapes, stride, padding, dilation, groups, padding_mode, layout, 0, method)
    plan = settled("conv1d", plan, x.dtype)
    x3, g = signal(x, layout), plan.geometry
    y = forward(x3, kernels(w), b, g, plan.groups, downsampled(x3.chunks[2], g))
    return like_user(y, x.ndim, layout)


def conv1d_backward(
    grad_output: Any,
    input: Any,
    weight: Any,
    stride: IntLike = 1,
    padding: Padding = 0,
    dilation: IntLike = 1,
    groups: SupportsIndex = 1,
    *,
    padding_mode: PaddingMode = "zeros",
    layout: Layout = "NCL",
    method: Method = "direct",
    needs: Sequence[bool] = (True, True, True),
) -> Gradients:
    """All gradients of `conv1d`, as dask arrays.

    Parameters
    ----------
    grad_output : dask array, shape (N, K, L_out), (K, L_out) or (L_out,)
        Gradient of the loss with respect to the output.
    input, weight : dask array or array_like
        As in `conv1d`.
    stride, padding, dilation, groups, padding_mode, layout, method, needs : optional
        As in `cconv1d.conv1d_backward`.

    Returns
    -------
    Gradients
        Of `input` (chunked as it), `weight` and `bias`; None where not needed. The first has the
        bits of one call. The others are sums over chunks, so their last bits depend on the chunks.

    Raises
    ------
    TypeError, ValueError
        As `cconv1d.conv1d_backward`, when the graph is built.

    See Also
    --------
    conv1d_backward_input, conv1d_backward_weight : Each by itself.
    cconv1d.conv1d_backward : The same on NumPy arrays.

    Examples
    --------
    >>> import dask.array as da
    >>> import cconv1d.dask
    >>> x = da.arange(6.0, chunks=3)
    >>> dx, dw, db = cconv1d.dask.conv1d_backward(da.ones(5, chunks=3), x, [1.0, -1.0])
    >>> dx.chunks
    ((3, 3),)
    >>> dw.compute()
    array([10., 15.])
    """
    function = "conv1d_backward"
    needs = check_needs(function, needs)
    dy, x, w = as_dask(function, grad_output=grad_output, input=input, weight=weight)
    plan = plan_conv1d_backward(
        (dy.shape, x.shape, w.shape),
        *(stride, padding, dilation, groups, padding_mode, layout, 0, method),
    )
    plan = settled(function, plan, x.dtype)
    g, groups = plan.geometry, plan.groups
    dy3, x3, w3 = signal(dy, layout), signal(x, layout), kernels(w)
    dx = dw = db = None
    if needs[0]:
        dx = grad_input(dy3, w3, g, groups, x3.chunks[2]).rechunk(x3.chunks)
        dx = like_user(dx, x.ndim, layout)
    if needs[1]:
        dw = grad_weight(dy3, x3, w3.shape[2], g, groups).reshape(w.shape)
    if needs[2]:
        db = grad_bias(dy3)
    return Gradients(dx, dw, db)


def conv1d_backward_input(
    grad_output: Any,
    weight: Any,
    input_length: SupportsIndex,
    stride: IntLike = 1,
    padding: Padding = 0,
    dilation: IntLike = 1,
    groups: SupportsIndex = 1,
    *,
    padding_mode: PaddingMode = "zeros",
    layout: Layout = "NCL",
    method: Method = "direct",
) -> Any:
    """Gradient of `conv1d` with respect to its input, with the bits of one call.

    Parameters
    ----------
    grad_output : dask array, shape (N, K, L_out), (K, L_out) or (L_out,)
        Gradient of the loss with respect to the output.
    weight : array_like or dask array, shape (K, C // groups, k) or (k,)
        As in `conv1d`.
    input_length : int
        L, the number of samples of the input.
    stride, padding, dilation, groups, padding_mode, layout, method : optional
        As in `cconv1d.conv1d_backward_input`.

    Returns
    -------
    dask array, shape (N, C, L), (C, L) or (L,)
        Sample ``p * stride`` is in the chunk of output p.

    Raises
    ------
    TypeError, ValueError
        As `cconv1d.conv1d_backward_input`, when the graph is built.

    See Also
    --------
    conv1d_backward : All gradients.
    cconv1d.conv1d_backward_input : The same on NumPy arrays.

    Examples
    --------
    >>> import dask.array as da
    >>> import cconv1d.dask
    >>> cconv1d.dask.conv1d_backward_input(da.ones(5, chunks=3), [1.0, -1.0], 6).compute()
    array([ 1.,  0.,  0.,  0.,  0., -1.])
    """
    function = "conv1d_backward_input"
    dy, w = as_dask(function, grad_output=grad_output, weight=weight)
    length = integer(function, "input_length", input_length, 0)
    plan = plan_conv1d_backward_input(
        (dy.shape, w.shape),
        *(stride, padding, dilation, groups, padding_mode, layout, length, method),
    )
    plan = settled(function, plan, w.dtype)
    dy3, g = signal(dy, layout), plan.geometry
    dx = grad_input(dy3, kernels(w), g, plan.groups, upsampled(dy3.chunks[2], g))
    return like_user(dx, dy.ndim, layout)


def conv1d_backward_weight(
    grad_output: Any,
    input: Any,
    kernel_size: SupportsIndex,
    stride: IntLike = 1,
    padding: Padding = 0,
    dilation: IntLike = 1,
    groups: SupportsIndex = 1,
    *,
    padding_mode: PaddingMode = "zeros",
    layout: Layout = "NCL",
    method: Method = "direct",
) -> Any:
    """Gradient of `conv1d` with respect to its weight: a tree of sums over chunks.

    Parameters
    ----------
    grad_output : dask array, shape (N, K, L_out), (K, L_out) or (L_out,)
        Gradient of the loss with respect to the output.
    input : dask array, shape (N, C, L), (C, L) or (L,)
        The input of the convolution.
    kernel_size : int
        The number of taps, k.
    stride, padding, dilation, groups, padding_mode, layout, method : optional
        As in `cconv1d.conv1d_backward_weight`.

    Returns
    -------
    dask array, shape (K, C // groups, k) or (k,)
        Its last bits depend on how the batch and the positions are chunked, not on the scheduler.

    Raises
    ------
    TypeError, ValueError
        As `cconv1d.conv1d_backward_weight`, when the graph is built.

    See Also
    --------
    conv1d_backward : All gradients.
    cconv1d.conv1d_backward_weight : The same on NumPy arrays.

    Examples
    --------
    >>> import dask.array as da
    >>> import cconv1d.dask
    >>> x = da.arange(6.0, chunks=3)
    >>> cconv1d.dask.conv1d_backward_weight(da.ones(5, chunks=3), x, 2).compute()
    array([10., 15.])
    """
    function = "conv1d_backward_weight"
    dy, x = as_dask(function, grad_output=grad_output, input=input)
    taps = integer(function, "kernel_size", kernel_size, 1)
    plan = plan_conv1d_backward_weight(
        (dy.shape, x.shape),
        *(stride, padding, dilation, groups, padding_mode, layout, taps, method),
    )
    plan = settled(function, plan, x.dtype)
    dw = grad_weight(signal(dy, layout), signal(x, layout), taps, plan.geometry, plan.groups)
    return dw if x.ndim > 1 else dw[0, 0]


def conv_transpose1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: IntLike = 1,
    padding: Pads = 0,
    output_padding: IntLike = 0,
    groups: SupportsIndex = 1,
    dilation: IntLike = 1,
    *,
    layout: Layout = "NCL",
    method: Method = "direct",
) -> Any:
    """Transposed convolution, as `cconv1d.conv_transpose1d`, with the bits of one call.

    Parameters
    ----------
    input : dask array, shape (N, C, L), (C, L) or (L,)
        Chunked along any axis.
    weight : array_like or dask array, shape (C, K // groups, k) or (k,)
        As in `conv1d`, with the channels exchanged.
    bias : array_like or dask array, shape (K,), optional
        Added to every position of its output channel.
    stride, padding, output_padding, groups, dilation, layout, method : optional
        As in `cconv1d.conv_transpose1d`.

    Returns
    -------
    dask array, shape (N, K, L_out), (K, L_out) or (L_out,)
        Output ``p * stride`` is in the chunk of sample p.

    Raises
    ------
    TypeError, ValueError
        As `cconv1d.conv_transpose1d`, when the graph is built.

    See Also
    --------
    conv_transpose1d_backward : Its gradients.
    cconv1d.conv_transpose1d : The same on NumPy arrays.

    Examples
    --------
    >>> import dask.array as da
    >>> import cconv1d.dask
    >>> cconv1d.dask.conv_transpose1d(da.ones(4, chunks=2), [1.0, 2.0], stride=2).compute()
    array([1., 2., 1., 2., 1., 2., 1., 2.])
    """
    x, w, b = as_dask("conv_transpose1d", input=input, weight=weight, bias=bias)
    shapes = x.shape, w.shape, None if b is None else b.shape
    plan = plan_conv_transpose1d(
        shapes, stride, padding, dilation, groups, "zeros", layout, output_padding, method
    )
    plan = settled("conv_transpose1d", plan, x.dtype)
    x3, g = signal(x, layout), plan.geometry
    y = transposed(x3, kernels(w), b, g, plan.groups, upsampled(x3.chunks[2], g))
    return like_user(y, x.ndim, layout)


def conv_transpose1d_backward(
    grad_output: Any,
    input: Any,
    weight: Any,
    stride: IntLike = 1,
    padding: Pads = 0,
    output_padding: IntLike = 0,
    groups: SupportsIndex = 1,
    dilation: IntLike = 1,
    *,
    layout: Layout = "NCL",
    method: Method = "direct",
    needs: Sequence[bool] = (True, True, True),
) -> Gradients:
    """All gradients of `conv_transpose1d`, as dask arrays.

    Parameters
    ----------
    grad_output : dask array, shape (N, K, L_out), (K, L_out) or (L_out,)
        Gradient of the loss with respect to the output.
    input, weight : dask array or array_like
        As in `conv_transpose1d`.
    stride, padding, output_padding, groups, dilation, layout, method, needs : optional
        As in `cconv1d.conv_transpose1d_backward`.

    Returns
    -------
    Gradients
        Of `input` (chunked as it), `weight` and `bias`; None where not needed. The first has the
        bits of one call. The others are sums over chunks, so their last bits depend on the chunks.

    Raises
    ------
    TypeError, ValueError
        As `cconv1d.conv_transpose1d_backward`, when the graph is built.

    See Also
    --------
    conv_transpose1d : What it differentiates.
    cconv1d.conv_transpose1d_backward : The same on NumPy arrays.

    Examples
    --------
    >>> import dask.array as da
    >>> import cconv1d.dask
    >>> x = da.arange(4.0, chunks=2)
    >>> dy = da.ones(8, chunks=3)
    >>> dx, dw, db = cconv1d.dask.conv_transpose1d_backward(dy, x, [1.0, 2.0], stride=2)
    >>> dx.chunks
    ((2, 2),)
    >>> dw.compute()
    array([6., 6.])
    """
    function = "conv_transpose1d_backward"
    needs = check_needs(function, needs)
    dy, x, w = as_dask(function, grad_output=grad_output, input=input, weight=weight)
    plan = plan_conv_transpose1d_backward(
        (dy.shape, x.shape, w.shape),
        *(stride, padding, dilation, groups, "zeros", layout, output_padding, method),
    )
    plan = settled(function, plan, x.dtype)
    g, groups = plan.geometry, plan.groups
    dy3, x3, w3 = signal(dy, layout), signal(x, layout), kernels(w)
    dx = dw = db = None
    if needs[0]:
        dx = forward(dy3, conjugated(w3), None, g, groups, x3.chunks[2]).rechunk(x3.chunks)
        dx = like_user(dx, x.ndim, layout)
    if needs[1]:
        dw = conjugated(grad_weight(x3, dy3, w3.shape[2], g, groups)).reshape(w.shape)
    if needs[2]:
        db = grad_bias(dy3)
    return Gradients(dx, dw, db)


def convolve(
    a: Any, v: Any, mode: Any = "full", *, axis: SupportsIndex = -1, method: Method = "direct"
) -> Any:
    """Convolve signals with one kernel along an axis, as `cconv1d.convolve`.

    Parameters
    ----------
    a : dask array, shape (..., N, ...)
        Signals of N samples along `axis`, chunked along any axis.
    v : array_like, shape (M,)
        The taps, which are in the graph once. Where M > N, `a` becomes one chunk.
    mode, axis, method : optional
        As in `cconv1d.convolve`.

    Returns
    -------
    dask array
        With the bits of one call on the whole array, if `method` is "direct".

    Raises
    ------
    TypeError, ValueError
        As `cconv1d.convolve`, when the graph is built.

    See Also
    --------
    correlate : Without reversing the taps.
    cconv1d.convolve : The same on NumPy arrays.

    Examples
    --------
    >>> import dask.array as da
    >>> import cconv1d.dask
    >>> cconv1d.dask.convolve(da.ones(6, chunks=3), [1.0, 2.0]).compute()
    array([1., 3., 3., 3., 3., 3., 2.])
    """
    return slide("convolve", a, v, mode, axis, method)


def correlate(
    a: Any, v: Any, mode: Any = "valid", *, axis: SupportsIndex = -1, method: Method = "direct"
) -> Any:
    """Correlate signals with one kernel along an axis, as `cconv1d.correlate`.

    Parameters
    ----------
    a : dask array, shape (..., N, ...)
        Signals of N samples along `axis`, chunked along any axis.
    v : array_like, shape (M,)
        The taps, which are in the graph once. Where M > N, `a` becomes one chunk.
    mode, axis, method : optional
        As in `cconv1d.correlate`.

    Returns
    -------
    dask array
        With the bits of one call on the whole array, if `method` is "direct".

    Raises
    ------
    TypeError, ValueError
        As `cconv1d.correlate`, when the graph is built.

    See Also
    --------
    convolve : With the taps reversed.
    cconv1d.correlate : The same on NumPy arrays.

    Examples
    --------
    >>> import dask.array as da
    >>> import cconv1d.dask
    >>> cconv1d.dask.correlate(da.arange(6.0, chunks=3), [1.0, 2.0], mode="valid").compute()
    array([ 2.,  5.,  8., 11., 14.])
    """
    return slide("correlate", a, v, mode, axis, method)


# --- arguments ------------------------------------------------------------------------------


def as_dask(function: str, **arguments: Any) -> list[Any]:
    """Arguments as dask arrays of one dtype and known chunks; one array is one chunk."""
    given = {
        name: value
        for name, value in arguments.items()
        if value is not None or name != "bias"  # which nobody has to give
    }
    lazy = {name: value for name, value in given.items() if isinstance(value, da.Array)}
    # what the functions refuse, and the byte order that they compute in
    stand_ins = {name: np.empty(0, value.dtype) for name, value in lazy.items()}
    found = dict(zip(given, as_arrays(function, **(given | stand_ins)), strict=True))
    for name, array in found.items():
        if name in lazy:
            found[name] = lazy[name].astype(array.dtype)
            check_lengths(function, name, found[name])
        else:
            found[name] = da.from_array(array, chunks=-1)
    if "weight" in found and found["weight"].ndim == 4:
        raise ValueError(f"{function}: there are no weights of each sample for dask arrays")
    return [found.get(name) for name in arguments]


def check_lengths(function: str, name: str, array: Any) -> None:
    if any(isnan(size) for size in array.shape):
        raise ValueError(
            f"{function}: {name} has chunks of unknown length; compute_chunk_sizes() tells it"
        )


def signal(x: Any, layout: str) -> Any:
    """In the axes (batch, channels, positions)."""
    x = x.swapaxes(-1, -2) if layout == "NLC" and x.ndim > 1 else x
    return x[(None,) * (3 - x.ndim)]


def kernels(w: Any) -> Any:
    """In the axes (channels, channels of a group, taps), all taps in one chunk."""
    return w[(None,) * (3 - w.ndim)].rechunk({2: -1})


def like_user(y: Any, axes: int, layout: str) -> Any:
    """With as many axes as the user's signals, in their order."""
    y = y[(0,) * (3 - axes)]
    return y.swapaxes(-1, -2) if layout == "NLC" and axes > 1 else y


# --- positions ------------------------------------------------------------------------------


def edges(chunks: tuple[int, ...]) -> list[int]:
    """Where chunks begin, and where the last one ends."""
    return list(accumulate(chunks, initial=0))


def spans(starts: list[int], length: int) -> Iterator[tuple[int, int]]:
    """The intervals of [0, length) that begin at some places; those that are empty are left out."""
    inner = [start for start in starts if 0 < start < length]
    return pairwise([0, *sorted(set(inner)), length])


def downsampled(chunks: tuple[int, ...], g: Geometry) -> tuple[int, ...]:
    """Chunks of the outputs, if those are the chunks of the samples."""
    starts = [-(-edge // g.stride) for edge in edges(chunks)[:-1]]
    return tuple(stop - start for start, stop in spans(starts, g.output_length))


def upsampled(chunks: tuple[int, ...], g: Geometry) -> tuple[int, ...]:
    """Chunks of the samples, if those are the chunks of the outputs."""
    starts = [edge * g.stride for edge in edges(chunks)[:-1]]
    return tuple(stop - start for start, stop in spans(starts, g.input_length))


def span_of(taps: int, g: Geometry) -> int:
    """The samples from the first that an output reads to the last."""
    return g.dilation * (taps - 1) + 1


def window(x: Any, start: int, stop: int) -> tuple[Any, tuple[int, int]]:
    """Samples start to stop in one chunk, and how many zeros are missing before and behind them."""
    length = x.shape[2]
    first, last = (min(max(edge, 0), length) for edge in (start, stop))
    left, right = max(min(0, stop) - start, 0), max(stop - max(length, start), 0)
    return x[..., first:last].rechunk({2: -1}), (left, right)


def pads_read(taps: int, g: Geometry) -> tuple[int, int]:
    """The padding that some output reads."""
    end = (g.output_length - 1) * g.stride + span_of(taps, g) - g.pad_left
    return g.pad_left, max(end - g.input_length, 0)


def pad_ends(x: Any, taps: int, g: Geometry) -> tuple[Any, Geometry]:
    """The input with its samples beyond the ends, if those are not zeros, and the geometry left."""
    left, right = pads_read(taps, g)
    mode = PADDING_MODES[g.mode]
    if mode == "zeros" or not left + right:
        return x, g._replace(mode=0)
    length = g.input_length
    if mode == "reflect":
        before, behind = x[..., 1 : left + 1][..., ::-1], x[..., length - 1 - right : -1][..., ::-1]
    elif mode == "circular":
        before, behind = x[..., length - left :], x[..., :right]
    else:
        before, behind = x[..., :1].repeat(left, axis=2), x[..., -1:].repeat(right, axis=2)
    padded = [part for part in (before, x, behind) if part.shape[2]]
    return (
        da.concatenate(padded, axis=2),
        g._replace(input_length=left + length + right, pad_left=0, mode=0),
    )


def fold_ends(dx: Any, left: int, right: int, mode: str) -> Any:
    """The adjoint of `pad_ends`: copies' gradients are added to their samples', left ones first."""
    length = dx.shape[2] - left - right
    before, x, behind = dx[..., :left], dx[..., left : left + length], dx[..., left + length :]
    if mode == "reflect":
        places = (1, before[..., ::-1]), (length - 1 - right, behind[..., ::-1])
    elif mode == "circular":
        places = (length - left, before), (0, behind)
    else:
        places = (0, before), (length - 1, behind)
    for start, part in places:
        if not part.shape[2]:
            continue
        if mode == "replicate":  # one sample receives them all
            there = x[..., start : start + 1]
            there = da.map_blocks(
                add_copies,
                there,
                part.rechunk({2: -1}),
                on_the_left=start == 0 and part is before,
                dtype=x.dtype,
                meta=np.empty((0, 0, 0), x.dtype),
                chunks=there.chunks,
            )
        else:
            there = x[..., start : start + part.shape[2]]
            there = there + part.rechunk({2: there.chunks[2]})
        pieces = [x[..., :start], there, x[..., start + there.shape[2] :]]
        x = da.concatenate([piece for piece in pieces if piece.shape[2]], axis=2)
    return x


def add_copies(there: Array, copies: Array, on_the_left: bool) -> Array:
    """A sample and what its copies received, in the order in which the kernels add it.

    That is from left to right, in chains that end at every 128 positions from the sample.
    """
    count = copies.shape[2]
    first = count % CHAIN if on_the_left else 0
    stops = [stop for stop in (first, *range(first + CHAIN, count, CHAIN), count) if stop]
    for start, stop in pairwise([0, *dict.fromkeys(stops)]):
        chain = np.add.accumulate(copies[..., start:stop], axis=2, dtype=copies.dtype)
        there = there + chain[..., -1:]
    return there


# --- the three maps -------------------------------------------------------------------------


def split_groups(x: Any, groups: int) -> tuple[Any, tuple[int, ...]]:
    """`x` with whole groups in each chunk of its channels, and how many those are."""
    each = x.shape[1] // groups
    if each == 0 or any(size % each for size in x.chunks[1]):
        x = x.rechunk({1: -1})
    return x, tuple(size // each if each else groups for size in x.chunks[1])


def without_lone(chunks: tuple[int, ...]) -> tuple[int, ...]:
    """Chunks of channels, with those of one joined to a neighbour.

    A lone result is summed in another order, in which its taps share what they load.
    """
    starts: list[int] = []
    for start, stop in pairwise(edges(chunks)):
        if stop - start > 1 or (stop > start and not starts):
            starts.append(start)
    if len(starts) > 1 and starts[1] == 1:
        del starts[1]
    return tuple(stop - start for start, stop in pairwise([*starts, sum(chunks)])) or chunks


def correlate_blocks(
    x: Any, w: Any, b: Any, groups: int, transpose: bool, length: int, **options: Any
) -> Any:
    """A map of one window of positions for every chunk of the batch and of the channels."""
    outs = w.shape[1] * groups if transpose else w.shape[0]
    if groups == 1:
        summed, kept = (0, 1) if transpose else (1, 0)
        chunks = without_lone(w.chunks[kept])
        x, w = x.rechunk({1: -1}), w.rechunk({summed: -1, kept: chunks})
        x_index, w_index = [BATCH, SUMMED, POSITION], [CHANNEL, CHANNEL, TAP]
        w_index[summed] = SUMMED
    else:
        x, counts = split_groups(x, groups)
        x_index, w_index = [BATCH, CHANNEL, POSITION], [CHANNEL, IN_GROUP, TAP]
        w = w.rechunk({0: tuple(n * (w.shape[0] // groups) for n in counts), 1: -1})
        chunks = tuple(n * (outs // groups) for n in counts)
    arguments = [x, x_index, w, w_index]
    if b is not None:
        arguments += [b.rechunk({0: chunks}), [CHANNEL]]
    return da.blockwise(
        compute,
        [BATCH, CHANNEL, POSITION],
        *arguments,
        adjust_chunks={CHANNEL: chunks, POSITION: (length,)},
        align_arrays=False,
        concatenate=True,
        dtype=x.dtype,
        meta=np.empty((0, 0, 0), x.dtype),
        function="conv_transpose1d" if transpose else "conv1d",
        per_group=x.shape[1] // groups,
        **options,
    )


def groups_in(x: Array, per_group: int) -> int:
    """The groups in a block; where groups have no channels, or there is one, that is one."""
    return x.shape[1] // per_group if per_group else 1


def compute(*arrays: Array, function: str, per_group: int, **options: Any) -> Array:
    """A function of cconv1d on one block of each array; the first has the channels of groups."""
    with num_threads(1):
        groups = groups_in(arrays[0], per_group)
        return getattr(_functional, function)(*arrays, groups=groups, **options)


def compute_part(*arrays: Array, **options: Any) -> Array:
    """One of the summands of a gradient of weights, in front of which there is an axis for them."""
    return compute(*arrays, function="conv1d_backward_weight", **options)[None]


def forward(x: Any, w: Any, b: Any, g: Geometry, groups: int, chunks: tuple[int, ...]) -> Any:
    """The map forward, of which the result has such chunks."""
    taps = w.shape[2]
    x, g = pad_ends(x, taps, g)
    pieces = []
    for first, last in spans(edges(chunks), g.output_length):
        start = first * g.stride - g.pad_left
        part, padding = window(x, start, start + (last - first - 1) * g.stride + span_of(taps, g))
        pieces.append(
            correlate_blocks(
                *(part, w, b, groups, False, last - first),
                stride=g.stride,
                padding=padding,
                dilation=g.dilation,
                method=METHODS[g.method],
            )
        )
    return da.concatenate(pieces, axis=2)


def transposed(dy: Any, w: Any, b: Any, g: Geometry, groups: int, chunks: tuple[int, ...]) -> Any:
    """The map backward_input without its conjugate, of which the result has such chunks."""
    span = span_of(w.shape[2], g)
    pieces = []
    for start, stop in spans(edges(chunks), g.input_length):
        # the outputs that read these samples, and one more where strides leave samples out
        before = min(
            -((span - 1 - start - g.pad_left) // g.stride), (start + g.pad_left) // g.stride
        )
        first = min(max(before, 0), g.output_length - 1)
        last = min((stop - 1 + g.pad_left) // g.stride + 1, g.output_length)
        part = dy[..., first:last].rechunk({2: -1})
        left = g.pad_left + start - first * g.stride
        beyond = stop - start + left - span - (last - first - 1) * g.stride
        pieces.append(
            correlate_blocks(
                *(part, w, b, groups, True, stop - start),
                stride=g.stride,
                padding=(left, max(-beyond, 0)),
                output_padding=max(beyond, 0),
                dilation=g.dilation,
                method=METHODS[g.method],
            )
        )
    return da.concatenate(pieces, axis=2)


def grad_input(dy: Any, w: Any, g: Geometry, groups: int, chunks: tuple[int, ...]) -> Any:
    """dx in such chunks; in half precision, what is folded back is rounded once, at the end."""
    dtype = dy.dtype
    left, right = pads_read(w.shape[2], g)
    if not g.input_length:
        return da.zeros((dy.shape[0], w.shape[1] * groups, 0), dtype=dtype)
    w = conjugated(w)
    if not g.mode or not left + right:
        return transposed(dy, w, None, g, groups, chunks)
    padded = g._replace(input_length=left + g.input_length + right, pad_left=0, mode=0)
    pads = tuple(size for size in (left, *chunks, right) if size)
    dy, w = dy.astype(accumulator(dtype)), w.astype(accumulator(dtype))
    dx = fold_ends(
        transposed(dy, w, None, padded, groups, pads), left, right, PADDING_MODES[g.mode]
    )
    return dx.rechunk({2: chunks}).astype(dtype)


def grad_weight(dy: Any, x: Any, taps: int, g: Geometry, groups: int) -> Any:
    """dw: one for each chunk of the batch and the positions of `dy`, then their sum."""
    dtype = dy.dtype
    dy, x = dy.astype(accumulator(dtype)), x.astype(accumulator(dtype))
    x, g = pad_ends(x, taps, g)
    in_group, out_group = x.shape[1] // groups, dy.shape[1] // groups
    dy = dy.rechunk({0: x.chunks[0]})
    if groups == 1:
        x_channel, chunks, new = SUMMED, {}, {}
        index = [BATCH, CHANNEL, SUMMED, TAP]
    else:
        dy, counts = split_groups(dy, groups)
        x = x.rechunk({1: tuple(n * in_group for n in counts)})
        x_channel, chunks = CHANNEL, {CHANNEL: tuple(n * out_group for n in counts)}
        index, new = [BATCH, CHANNEL, IN_GROUP, TAP], {IN_GROUP: in_group}
    pieces = []
    for first, last in spans(edges(dy.chunks[2]), g.output_length):
        start = first * g.stride - g.pad_left
        part, padding = window(x, start, start + (last - first - 1) * g.stride + span_of(taps, g))
        pieces.append(
            da.blockwise(
                compute_part,
                index,
                *(dy[..., first:last], [BATCH, CHANNEL, POSITION]),
                *(part, [BATCH, x_channel, OTHER_POSITION]),
                adjust_chunks={BATCH: 1, **chunks},
                new_axes={TAP: taps, **new},
                align_arrays=False,
                concatenate=True,
                dtype=x.dtype,
                meta=np.empty((0, 0, 0, 0), x.dtype),
                per_group=out_group if groups > 1 else 0,
                kernel_size=taps,
                stride=g.stride,
                padding=padding,
                dilation=g.dilation,
                method=METHODS[g.method],
            )
        )
    return da.concatenate(pieces, axis=0).sum(axis=0, dtype=x.dtype).astype(dtype)


def grad_bias(dy: Any) -> Any:
    """db: a tree of sums."""
    return dy.sum(axis=(0, 2), dtype=accumulator(dy.dtype)).astype(dy.dtype)


def conjugated(x: Any) -> Any:
    return x.conj() if x.dtype.kind == "c" else x


# --- NumPy's convolve and correlate ----------------------------------------------------------


def slide_block(
    a: Array, v: Array, *, function: str, mode: str, axis: int, part: slice, method: str
) -> Array:
    with num_threads(1):
        y = getattr(_signal, function)(a, v, mode, axis=axis, method=method)
    return y[(*(slice(None),) * axis, part)]


def slide(function: str, a: Any, v: Any, mode: Any, axis: SupportsIndex, method: Any) -> Any:
    """`convolve` or `correlate` of a dask array along an axis, a window for each block."""
    if not isinstance(a, da.Array) or isinstance(v, da.Array):
        raise TypeError(f"{function}: a must be a dask array and v an array of one kernel")
    v = np.asarray(v)
    if v.ndim != 1:
        raise ValueError(f"{function}: v must have shape (M,), not {v.shape}")
    check_lengths(function, "a", a)
    # refuses what the function refuses, and tells the dtype of the result
    place = a.ndim + _signal.axis_from_end(function, axis, a.ndim)
    if type(mode) is not str or mode not in _signal.MODES:
        mode = _signal.mode_word(function, mode)
    samples, taps = a.shape[place], len(v)
    g = _signal.mode_geometry(function, samples, taps, mode)
    one = np.zeros((1,) * place + (samples and 1,) + (1,) * (a.ndim - 1 - place), a.dtype)
    dtype = getattr(_signal, function)(one, v[:1], method=method).dtype
    options = {"function": function, "axis": place, "method": method}
    options |= {"dtype": dtype, "meta": np.empty((0,) * a.ndim, dtype)}

    def resized(length: int) -> tuple[tuple[int, ...], ...]:
        return (*a.chunks[:place], (length,), *a.chunks[place + 1 :])

    if taps > samples:
        shape = (*a.shape[:place], g.input_length, *a.shape[place + 1 :])
        return da.map_blocks(
            slide_block,
            a.rechunk(-1),  # the rows are kernels of one signal, `v`, so they are summed together
            v,
            mode=mode,
            part=slice(None),
            chunks=tuple((size,) for size in shape),
            **options,
        )
    pieces = []
    for start, stop in spans(edges(a.chunks[place])[:-1], g.input_length):
        first, last = start + g.pad_left, stop + g.pad_left  # in "full"
        low = min(max(first - taps + 1, 0), samples - taps)
        high = min(max(last, low + taps), samples)
        inside = first - low >= taps - 1 and last <= high
        offset = first - low - (taps - 1 if inside else 0)
        part = a[(*(slice(None),) * place, slice(low, high))].rechunk({place: -1})
        pieces.append(
            da.map_blocks(
                slide_block,
                part,
                v,
                mode="valid" if inside else "full",
                part=slice(offset, offset + stop - start),
                chunks=resized(stop - start),
                **options,
            )
        )
    return da.concatenate(pieces, axis=place)
