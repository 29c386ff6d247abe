"""The functions of the package causal-conv1d, on NumPy arrays: depthwise, causal, with SiLU.

With d a channel, t a position and W taps,

    out[b, d, t] = act(bias[d] + sum over j of weight[d, j] * x[b, d, t - (W - 1) + j])

where `initial_states` stand before x, or nothing does. With `seq_idx` several sequences lie in one
row: then a row falls into runs of one sequence, and each is convolved by itself, in the sums and
with the bits that it has alone. float16 and bfloat16 are computed in float32 and rounded once, in
slabs of a few channels, so that there is never a wide copy of a whole signal in the forward pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from . import _backend, _reference
from ._arrays import Array, is_bfloat16
from ._functional import conv1d, conv1d_backward
from ._geometry import integer
from ._step import conv1d_step_backward

__all__ = [
    "CausalGradients",
    "causal_conv1d_backward",
    "causal_conv1d_fn",
    "causal_conv1d_update",
    "causal_conv1d_varlen_states",
]

Activation = Literal["silu", "swish"] | None

#: Numbers of a slab in float32: 1 MiB.
SLAB = 2**18


class CausalGradients(NamedTuple):
    """Gradients of a loss with respect to the arguments of a causal convolution.

    Attributes
    ----------
    x, weight, bias, initial_states : ndarray or None
        Each in the shape and dtype of the argument that it belongs to; None for an argument that
        is not given.

    See Also
    --------
    causal_conv1d_backward : What returns them.

    Examples
    --------
    >>> import numpy as np
    >>> from cconv1d import CausalGradients, causal_conv1d_backward
    >>> x, weight = np.ones((1, 1, 3)), np.array([[1.0, 2.0]])
    >>> causal_conv1d_backward(np.ones((1, 1, 3)), x, weight)
    CausalGradients(x=array([[[3., 3., 2.]]]), weight=array([[2., 3.]]), bias=None, \
initial_states=None)
    """

    x: Array
    weight: Array
    bias: Array | None
    initial_states: Array | None


# --- arguments ------------------------------------------------------------------------------------


class Call(NamedTuple):
    """The arguments of a call, checked, and in the dtype that it is computed in."""

    x: Array
    w: Array  # (D, 1, W)
    b: Array | None
    seq_idx: Array | None
    states: Array | None
    silu: bool
    dtype: np.dtype[Any]

    @property
    def reach(self) -> int:
        """The samples before a position that its sum has."""
        return int(self.w.shape[2]) - 1


def floats(function: str, name: str, value: object) -> Array:
    """An array of real floating-point numbers, in native byte order."""
    if value is None:
        raise TypeError(f"{function}: {name} must be an array, not None")
    array = np.asarray(value)
    if (array.dtype.kind == "f" and array.dtype.itemsize <= 8) or is_bfloat16(array.dtype):
        return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
    if isinstance(value, (list, tuple)) and array.dtype.kind in "iu":
        return array.astype(np.float64)
    raise TypeError(
        f"{function}: {name} must hold float16, bfloat16, float32 or float64, not {array.dtype}"
    )


def indices(function: str, name: str, value: object, shape: tuple[int, ...]) -> Array:
    array = np.asarray(value)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{function}: {name} must hold integers, not {array.dtype}")
    if array.shape != shape:
        raise ValueError(f"{function}: {name} must have shape {shape}, not {array.shape}")
    return array.astype(np.int64)


def is_silu(activation: object) -> bool:
    if activation not in (None, "silu", "swish"):
        raise NotImplementedError("activation must be None, silu, or swish")
    return activation is not None


def computed_in(*arrays: Array) -> np.dtype[Any]:
    wide = any(array.dtype == np.float64 for array in arrays)
    return np.dtype(np.float64 if wide else np.float32)


def check_weight(function: str, weight: ArrayLike, bias: ArrayLike | None, channels: int) -> Any:
    """Weight and bias as arrays of one dtype."""
    w = floats(function, "weight", weight)
    if w.ndim != 2 or w.shape[0] != channels or w.shape[1] == 0:
        raise ValueError(
            f"{function}: weight must have shape ({channels}, width), as x has {channels} "
            f"channels, not {w.shape}"
        )
    if bias is None:
        return w, None
    b = floats(function, "bias", bias)
    if b.shape != (channels,):
        raise ValueError(f"{function}: bias must have shape ({channels},), not {b.shape}")
    if b.dtype != w.dtype:
        raise TypeError(f"{function}: bias must have the dtype of weight, {w.dtype}, not {b.dtype}")
    return w, b


def check_like(function: str, name: str, value: ArrayLike, x: Array, shape: Any) -> Array:
    """An array of the dtype of x and of that shape."""
    array = floats(function, name, value)
    if array.shape != shape:
        raise ValueError(f"{function}: {name} must have shape {shape}, not {array.shape}")
    if array.dtype != x.dtype:
        raise TypeError(
            f"{function}: {name} must have the dtype of x, {x.dtype}, not {array.dtype}"
        )
    return array


def check_call(
    function: str,
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None,
    seq_idx: ArrayLike | None,
    initial_states: ArrayLike | None,
    activation: object,
) -> tuple[Call, Array, Array | None]:
    """The call, and weight and bias as they were given."""
    silu = is_silu(activation)
    signal = floats(function, "x", x)
    if signal.ndim != 3:
        raise ValueError(
            f"{function}: x must have shape (batch, channels, length), not {signal.shape}"
        )
    batch, channels, length = signal.shape
    w, b = check_weight(function, weight, bias, channels)
    states = seq = None
    if initial_states is not None:
        shape = batch, channels, w.shape[1] - 1
        states = check_like(function, "initial_states", initial_states, signal, shape)
    if seq_idx is not None:
        seq = indices(function, "seq_idx", seq_idx, (batch, length))
    dtype = computed_in(signal, w)
    wide = w.astype(dtype, copy=False)[:, np.newaxis]
    bias_wide = None if b is None else b.astype(dtype, copy=False)
    return Call(signal, wide, bias_wide, seq, states, silu, dtype), w, b


# --- SiLU -----------------------------------------------------------------------------------------


def flat(array: Array) -> Array:
    """The numbers of a dense array, in the order in which they lie in memory."""
    line = array.ravel(order="K")
    assert line.base is not None or line is array
    return line


def apply_silu(values: Array) -> None:
    """In place, in a dense array of float32 or float64."""
    if _backend.core is None:
        _reference.silu(values)
    elif values.size:
        _backend.core.silu(flat(values))


def apply_silu_backward(values: Array, grads: Array) -> None:
    """In place in `grads`, where both are C-contiguous."""
    if _backend.core is None:
        _reference.silu_backward(values, grads)
    elif values.size:
        _backend.core.silu_backward(values.reshape(-1), grads.reshape(-1))


# --- runs of one sequence -------------------------------------------------------------------------


class Run(NamedTuple):
    """Neighbouring positions of one sequence in some rows, and what lies before them."""

    rows: slice
    start: int
    stop: int
    after_states: bool  # the initial states stand before it
    #: Which of the samples of each window belong to the sequence, for the first positions, where
    #: earlier runs of the same sequence are near: (positions, taps).
    mask: Array | None


def runs_of(call: Call) -> Iterator[Run]:
    """The runs of all sequences; positions of padding, below 0, are in none."""
    batch, _, length = call.x.shape
    reach = call.reach
    if call.x.size == 0:
        return
    if call.seq_idx is None:
        after_states = call.states is not None and reach > 0
        yield Run(slice(0, batch), 0, length, after_states, None)
        return
    for row, ids in enumerate(call.seq_idx):
        before = ids[0] if call.states is not None else -1
        extended = np.concatenate((np.full(reach, before), ids))
        edges = [0, *(np.flatnonzero(ids[1:] != ids[:-1]) + 1).tolist(), length]
        for start, stop in pairwise(edges):
            own = ids[start]
            if own < 0:
                continue
            near = extended[start : start + reach] == own
            rows, mask = slice(row, row + 1), None
            after_states = start == 0 and bool(near.all()) and reach > 0
            if near.any() and not after_states:
                count = min(stop - start, reach)
                windows = np.lib.stride_tricks.sliding_window_view(
                    extended[start : start + count + reach], reach + 1
                )
                mask = windows == own
            yield Run(rows, start, stop, after_states, mask)


def masked_windows(call: Call, run: Run, x: Array, states: Array | None) -> tuple[Array, Array]:
    """Windows of the first positions of a run, (positions, D, W), and weights for each.

    What belongs to another sequence is a zero in both, so that no product of it is a NaN.
    """
    assert run.mask is not None
    reach, count = call.reach, len(run.mask)
    begin = run.start - reach
    row = x[0, :, max(begin, 0) : run.start + count]
    if begin < 0:
        first = np.zeros((len(row), -begin), row.dtype) if states is None else states[0, :, begin:]
        row = np.concatenate((first, row), axis=1)
    windows = np.lib.stride_tricks.sliding_window_view(row, reach + 1, axis=1)
    windows = np.where(run.mask[:, np.newaxis], windows.swapaxes(0, 1), row.dtype.type(0))
    weights = np.where(run.mask[:, np.newaxis, np.newaxis], call.w, call.dtype.type(0))
    return windows, weights


def convolve_run(call: Call, run: Run, x: Array, states: Array | None, y: Array) -> None:
    """The sums of a run, in `y`: all in the dtype that is computed in, without SiLU.

    `x`, `states` and `y` have the rows of the run, and some or all channels with their weights.
    """
    reach, groups = call.reach, x.shape[1]
    part = x[..., run.start : run.stop]
    result = y[..., run.start : run.stop]
    early = min(part.shape[-1], reach)
    if run.mask is not None:
        windows, weights = masked_windows(call, run, x, states)
        sums = conv1d(windows, weights, call.b, groups=groups)
        result[0, :, :early] = sums[..., 0].T
    elif run.after_states:
        assert states is not None
        row = np.concatenate((states, part[..., :early]), axis=2)
        conv1d(row, call.w, call.b, groups=groups, out=result[..., :early])
    else:
        conv1d(part, call.w, call.b, padding=(reach, 0), groups=groups, out=result)
        return
    if part.shape[-1] > reach:
        conv1d(part, call.w, call.b, groups=groups, out=result[..., reach:])


def slabs(call: Call) -> Iterator[tuple[slice, slice]]:
    """Rows and channels of slabs whose numbers are converted together."""
    batch, channels, length = call.x.shape
    if call.x.dtype == call.dtype:
        yield slice(0, batch), slice(0, channels)
        return
    some = max(SLAB // max(length, 1), 1)
    for row in range(batch):
        for first in range(0, channels, some):
            yield slice(row, row + 1), slice(first, min(first + some, channels))


def of_channels(call: Call, rows: slice, channels: slice) -> Call:
    """The call for some rows and channels, converted."""
    part = call.states
    if part is not None:
        part = part[rows, channels].astype(call.dtype, copy=False)
    return call._replace(
        x=call.x[rows, channels].astype(call.dtype, copy=False),
        w=call.w[channels],
        b=None if call.b is None else call.b[channels],
        states=part,
        seq_idx=None if call.seq_idx is None else call.seq_idx[rows],
    )


def row_of(array: Array | None, run: Run) -> Any:
    return None if array is None else array[run.rows]


def convolve_slab(call: Call, y: Array, silu: bool) -> None:
    """The outputs of a call whose numbers need no conversion, in a dense `y`."""
    if call.seq_idx is not None:
        y[...] = 0
    for run in runs_of(call):
        convolve_run(call, run, call.x[run.rows], row_of(call.states, run), y[run.rows])
    if silu:
        apply_silu(y)  # which leaves the zeros of the padding as they are


def final_states(x: Array, states: Array | None, reach: int) -> Array:
    """The last samples of what stands before x and of x, with its channels last in memory."""
    batch, channels, length = x.shape
    final = np.zeros((batch, reach, channels), x.dtype).swapaxes(1, 2)
    kept = max(reach - length, 0)
    if states is not None:
        final[..., :kept] = states[..., reach - kept :]
    final[..., kept:] = x[..., length - (reach - kept) :]
    return final


# --- the functions --------------------------------------------------------------------------------


def causal_conv1d_fn(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    seq_idx: ArrayLike | None = None,
    initial_states: ArrayLike | None = None,
    return_final_states: bool = False,
    final_states_out: Array | None = None,
    activation: Activation = None,
) -> Any:
    """Convolve each channel with a kernel of its own, without a look at later samples.

    Names, order, defaults and meaning are those of the package causal-conv1d [1]_, for any width
    and for float64, too.

    Parameters
    ----------
    x : array_like, shape (B, D, L)
        B signals of D channels, of float16, bfloat16, float32 or float64, in any strides: with the
        samples of a channel or the channels of a position side by side in memory.
    weight : array_like, shape (D, W)
        A kernel of W taps for each channel, of one of these dtypes.
    bias : array_like, shape (D,), optional
        Added to every position of its channel; with the dtype of `weight`.
    seq_idx : array_like of int, shape (B, L), optional
        Which sequence a position belongs to. A tap counts if its sample is of the same sequence; a
        number below 0 is padding, whose outputs are zeros.
    initial_states : array_like, shape (B, D, W - 1), optional
        The samples before `x`, instead of nothing. With `seq_idx` they belong to the sequence of
        the first position.
    return_final_states : bool, optional
        Whether to return the last W - 1 samples of `initial_states` and `x`, too; not with
        `seq_idx`.
    final_states_out : ndarray, shape (B, D, W - 1), optional
        Where they are written, if they are returned.
    activation : {None, "silu", "swish"}, optional
        "silu", which is also called "swish": v / (1 + exp(-v)) of each sum.

    Returns
    -------
    ndarray, shape (B, D, L)
        With the dtype of `x`, and its axes in the same order in memory; with `return_final_states`
        a pair of it and the final states.

    Raises
    ------
    TypeError, ValueError, MemoryError
        If arguments do not fit each other, or if there is no room.
    NotImplementedError
        If there is no such `activation`.

    See Also
    --------
    causal_conv1d_update : The same for one position or a few, with a state that changes.
    causal_conv1d_backward : Its gradients.
    conv1d : Any other convolution.

    Notes
    -----
    Sums are computed in float32, or in float64 if `x` or `weight` is, and rounded once. SiLU is the
    same to the last bit on every processor.

    References
    ----------
    .. [1] T. Dao, "causal-conv1d", https://github.com/Dao-AILab/causal-conv1d, version 1.7.0.

    Examples
    --------
    >>> import numpy as np
    >>> from cconv1d import causal_conv1d_fn
    >>> x = np.array([[[1.0, 2.0, 4.0, 8.0]]])
    >>> weight = np.array([[1.0, 10.0]])
    >>> causal_conv1d_fn(x, weight)
    array([[[10., 21., 42., 84.]]])
    >>> causal_conv1d_fn(x, weight, seq_idx=[[0, 0, 1, 1]])
    array([[[10., 21., 40., 84.]]])
    >>> y, state = causal_conv1d_fn(x, weight, return_final_states=True)
    >>> state
    array([[[8.]]])
    """
    function = "causal_conv1d_fn"
    call, _, _ = check_call(function, x, weight, bias, seq_idx, initial_states, activation)
    final = None
    if return_final_states:
        if seq_idx is not None:
            raise ValueError(f"{function}: return_final_states is not known together with seq_idx")
        if final_states_out is not None:
            batch, channels, _ = call.x.shape
            expected = batch, channels, call.reach
            if not isinstance(final_states_out, np.ndarray):
                raise TypeError(f"{function}: final_states_out must be a NumPy array")
            check_like(function, "final_states_out", final_states_out, call.x, expected)
            if not final_states_out.flags.writeable:
                raise ValueError(f"{function}: final_states_out must be writeable")
        final = final_states(call.x, call.states, call.reach)
    y = np.empty_like(call.x, subok=False)
    for rows, channels_ in slabs(call):
        part = of_channels(call, rows, channels_)
        if call.x.dtype == call.dtype:
            convolve_slab(part, y, call.silu)
        else:
            wide = np.empty(part.x.shape, call.dtype)
            convolve_slab(part, wide, call.silu)
            with np.errstate(all="ignore"):
                y[rows, channels_] = wide.astype(y.dtype)
    if final is None:
        return y
    if final_states_out is not None:
        final_states_out[...] = final
        final = final_states_out
    return y, final


def causal_conv1d_backward(
    grad_output: ArrayLike,
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    seq_idx: ArrayLike | None = None,
    initial_states: ArrayLike | None = None,
    grad_final_states: ArrayLike | None = None,
    activation: Activation = None,
) -> CausalGradients:
    """Gradients of a scalar loss with respect to the arguments of `causal_conv1d_fn`.

    Parameters
    ----------
    grad_output : array_like, shape (B, D, L)
        Derivatives of the loss with respect to each output, with the dtype of `x`. Those of
        positions of padding are not looked at.
    x, weight, bias, seq_idx, initial_states : optional
        What `causal_conv1d_fn` was called with.
    grad_final_states : array_like, shape (B, D, W - 1), optional
        Derivatives with respect to the final states, if they were returned.
    activation : {None, "silu", "swish"}, optional
        What `causal_conv1d_fn` was called with.

    Returns
    -------
    CausalGradients
        A named tuple (x, weight, bias, initial_states), each in the shape and dtype of what it is
        the gradient of, and None for what is not given.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As `causal_conv1d_fn`; and ValueError if a gradient has not the shape of what was returned.
    NotImplementedError
        If there is no such `activation`.

    See Also
    --------
    causal_conv1d_fn : What it differentiates.
    conv1d_backward : The gradients of any other convolution.

    Notes
    -----
    They are exact, also where the signal is shorter than the initial states, which are then part of
    the final ones. The sums before SiLU are computed again.

    Examples
    --------
    >>> import numpy as np
    >>> from cconv1d import causal_conv1d_backward
    >>> x, weight = np.array([[[1.0, 2.0, 4.0]]]), np.array([[1.0, 10.0]])
    >>> grads = causal_conv1d_backward(np.ones((1, 1, 3)), x, weight)
    >>> grads.x, grads.weight
    (array([[[11., 11., 10.]]]), array([[3., 7.]]))
    """
    function = "causal_conv1d_backward"
    call, w, b = check_call(function, x, weight, bias, seq_idx, initial_states, activation)
    dy = check_like(function, "grad_output", grad_output, call.x, call.x.shape)
    batch, channels, length = call.x.shape
    reach = call.reach
    dfinal = None
    if grad_final_states is not None:
        if seq_idx is not None:
            raise ValueError(f"{function}: grad_final_states is not known together with seq_idx")
        shape = batch, channels, reach
        dfinal = check_like(function, "grad_final_states", grad_final_states, call.x, shape)
    dx = np.empty_like(call.x, subok=False)
    dstates = None if call.states is None else np.empty((batch, channels, reach), call.x.dtype)
    dw = np.zeros(call.w.shape, call.dtype)
    db = np.zeros(channels, call.dtype)
    with np.errstate(all="ignore"):
        for rows, some in slabs(call):
            part = of_channels(call, rows, some)
            grads = dy[rows, some].astype(call.dtype, copy=False)
            slab_x = np.zeros(part.x.shape, call.dtype)
            slab_states = np.zeros((*part.x.shape[:2], reach), call.dtype)
            for run in runs_of(part):
                backward_run(part, run, grads, slab_x, slab_states, dw[some], db[some])
            if dfinal is not None:
                kept = max(reach - length, 0)
                last = dfinal[rows, some].astype(call.dtype, copy=False)
                slab_states[..., reach - kept :] += last[..., :kept]
                slab_x[..., length - (reach - kept) :] += last[..., kept:]
            dx[rows, some] = slab_x.astype(dx.dtype, copy=False)
            if dstates is not None:
                dstates[rows, some] = slab_states.astype(dx.dtype, copy=False)
        return CausalGradients(
            dx,
            dw[:, 0].astype(w.dtype),
            None if b is None else db.astype(b.dtype),
            dstates,
        )


def backward_run(
    call: Call,
    run: Run,
    dy: Array,
    dx: Array,
    dstates: Array,
    dw: Array,
    db: Array,
) -> None:
    """Add what the outputs of a run give to each gradient; all in the dtype of the sums."""
    reach, groups = call.reach, call.x.shape[1]
    x, states = call.x[run.rows], row_of(call.states, run)
    grads = dy[run.rows, :, run.start : run.stop]
    if call.silu:
        sums = np.empty(x.shape, call.dtype)
        convolve_run(call, run, x, states, sums)
        sums = np.ascontiguousarray(sums[..., run.start : run.stop])
        grads = np.array(grads, order="C")
        apply_silu_backward(sums, grads)
    part = x[..., run.start : run.stop]
    early = min(part.shape[-1], reach)
    if run.mask is None:
        held = states if run.after_states else None
        step: Any = conv1d_step_backward(grads, None, part, held, call.w, groups=groups)
        dx[run.rows, :, run.start : run.stop] += step.input
        if step.history is not None:
            dstates[run.rows] += step.history
        dw += step.weight
        db += step.bias
        return
    windows, weights = masked_windows(call, run, x, states)
    first: Any = conv1d_backward(
        np.ascontiguousarray(grads[0, :, :early].T)[..., np.newaxis],
        windows,
        weights,
        groups=groups,
    )
    dw += np.where(run.mask[:, np.newaxis, np.newaxis], first.weight, 0).sum(axis=0)
    db += first.bias.sum(axis=0)
    row = run.rows.start
    for position, given in enumerate(first.input):
        for tap in np.flatnonzero(run.mask[position]).tolist():
            place = run.start + position - reach + tap
            if place < 0:
                dstates[row, :, place] += given[:, tap]
            else:
                dx[row, :, place] += given[:, tap]
    if part.shape[-1] > reach:
        rest: Any = conv1d_backward(grads[..., reach:], part, call.w, groups=groups)
        dx[run.rows, :, run.start : run.stop] += rest.input
        dw += rest.weight
        db += rest.bias


def causal_conv1d_update(
    x: ArrayLike,
    conv_state: Array,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    activation: Activation = None,
    cache_seqlens: ArrayLike | None = None,
    conv_state_indices: ArrayLike | None = None,
) -> Array:
    """Convolve the next position, or a few, and update the state in place.

    Names, order, defaults and meaning are those of the package causal-conv1d.

    Parameters
    ----------
    x : array_like, shape (B, D) or (B, D, L)
        The next position of B signals, or the next L.
    conv_state : ndarray, shape (B, D, S) or, with `conv_state_indices`, (N, D, S)
        The last S samples of each signal, at least W - 1, with the dtype of `x`; any strides. It is
        modified.
    weight : array_like, shape (D, W)
        As in `causal_conv1d_fn`.
    bias : array_like, shape (D,), optional
        As in `causal_conv1d_fn`.
    activation : {None, "silu", "swish"}, optional
        As in `causal_conv1d_fn`.
    cache_seqlens : array_like of int, shape (B,), optional
        How many samples each signal has had. Then the state is a circular buffer: sample t lies in
        column ``t % S``. Without it the newest sample is in the last column.
    conv_state_indices : array_like of int, shape (B,), optional
        The row of `conv_state` that each row of `x` works on, no two the same. A number below 0 is
        padding: its outputs are zeros, and no state changes.

    Returns
    -------
    ndarray, shape (B, D) or (B, D, L)
        The outputs, with the dtype of `x`.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As `causal_conv1d_fn`; then the state is as it was.
    NotImplementedError
        If there is no such `activation`.

    See Also
    --------
    causal_conv1d_fn : The same for whole signals.
    Stream : For any other convolution.

    Examples
    --------
    >>> import numpy as np
    >>> from cconv1d import causal_conv1d_update
    >>> state, weight = np.array([[[1.0, 2.0]]]), np.array([[1.0, 10.0, 100.0]])
    >>> causal_conv1d_update(np.array([[4.0]]), state, weight)
    array([[421.]])
    >>> state
    array([[[2., 4.]]])
    """
    function = "causal_conv1d_update"
    silu = is_silu(activation)
    if _backend.core is not None and cache_seqlens is None and conv_state_indices is None:
        y = _backend.core.update_states(x, conv_state, weight, bias, silu)
        if y is not None:
            return y  # type: ignore[no-any-return]
    given = floats(function, "x", x)
    _backend.kernels_for(given.dtype)  # from now on the extension knows bfloat16
    if given.ndim not in (2, 3):
        raise ValueError(
            f"{function}: x must have shape (batch, channels) or (batch, channels, length), "
            f"not {given.shape}"
        )
    signal = given[..., np.newaxis] if given.ndim == 2 else given
    batch, channels, length = signal.shape
    w, b = check_weight(function, weight, bias, channels)
    reach = w.shape[1] - 1
    if not isinstance(conv_state, np.ndarray):
        raise TypeError(
            f"{function}: conv_state must be a NumPy array, not {type(conv_state).__name__}"
        )
    state = np.asarray(conv_state)
    rows: Any = slice(None)
    there: Any = rows
    if conv_state_indices is not None:
        rows = indices(function, "conv_state_indices", conv_state_indices, (batch,))
    expected = len(state) if conv_state_indices is not None and state.ndim == 3 else batch
    width = state.shape[2] if state.ndim == 3 else 0
    if state.shape != (expected, channels, width) or width < reach:
        raise ValueError(
            f"{function}: conv_state must have shape "
            f"({'rows' if conv_state_indices is not None else batch}, {channels}, {reach} or more),"
            f" not {state.shape}"
        )
    if state.dtype != given.dtype:
        raise TypeError(
            f"{function}: conv_state must have the dtype of x, {given.dtype}, not {state.dtype}"
        )
    if not state.flags.writeable:
        raise ValueError(f"{function}: conv_state must be writeable, but it is read-only")
    every = True
    if conv_state_indices is not None:
        there = rows >= 0
        every = bool(there.all())
        if (rows >= expected).any():
            raise ValueError(
                f"{function}: conv_state_indices must be less than the {expected} rows of "
                f"conv_state, not {int(rows.max())}"
            )
        if len(np.unique(rows[there])) < np.count_nonzero(there):
            raise ValueError(f"{function}: conv_state_indices must be different from each other")
    place = None
    if cache_seqlens is not None:
        place = indices(function, "cache_seqlens", cache_seqlens, (batch,))
        if width == 0:
            place = None
    in_order = conv_state_indices is None
    used = rows if every else rows[there]
    new = signal if every else signal[there]
    before = state if in_order else state[used]
    # The row that is convolved has its channels last, so that lanes run along them.
    dtype = computed_in(given, w)
    row = np.empty((len(new), reach + length, channels), dtype)
    if place is not None:
        place = (place if every else place[there])[:, np.newaxis]
        columns = (place + np.arange(-reach, 0)) % width
        row[:, :reach] = before[np.arange(len(new))[:, np.newaxis], :, columns]
    else:
        row[:, :reach] = before[..., width - reach :].swapaxes(1, 2)
    row[:, reach:] = new.swapaxes(1, 2)
    wide_w = w.astype(dtype, copy=False)[:, np.newaxis]
    wide_b = None if b is None else b.astype(dtype, copy=False)
    if length and len(new):
        sums = conv1d(row, wide_w, wide_b, groups=channels, layout="NLC")
    else:
        sums = np.empty((len(new), length, channels), dtype)
    if silu:
        apply_silu(sums)
    results = sums.swapaxes(1, 2)
    if every and length == 1 and dtype == given.dtype:
        y = results
    else:
        y = np.zeros_like(signal, subok=False)
        with np.errstate(all="ignore"):
            y[there] = results.astype(y.dtype, copy=False)
    # The state changes at the very end, when all memory is there.
    if place is not None:
        kept = min(length, width)
        columns = (place + np.arange(length - kept, length)) % width
        numbers = np.arange(len(state))[used][:, np.newaxis]
        state[numbers, :, columns] = new[..., length - kept :].swapaxes(1, 2)
    elif width <= reach + length and dtype == given.dtype:
        state[used] = row[:, reach + length - width :].swapaxes(1, 2)
    elif length and width:
        state[used] = np.concatenate((before[..., length:], new), axis=2)[..., -width:]
    return y[..., 0] if given.ndim == 2 else y


def causal_conv1d_varlen_states(x: ArrayLike, cu_seqlens: ArrayLike, state_len: int) -> Array:
    """The last samples of each of several sequences that lie one behind the other.

    Names, order and meaning are those of the package causal-conv1d.

    Parameters
    ----------
    x : array_like, shape (T, D)
        All samples of all sequences, with the channels last.
    cu_seqlens : array_like of int, shape (B + 1,)
        Where each sequence begins, and behind them where the last one ends.
    state_len : int
        How many samples of each.

    Returns
    -------
    ndarray, shape (B, D, state_len)
        With zeros before the samples of a shorter sequence; the channels are last in memory.

    Raises
    ------
    TypeError, ValueError
        If arguments do not fit each other.

    See Also
    --------
    causal_conv1d_update : What takes these states.

    Examples
    --------
    >>> import numpy as np
    >>> from cconv1d import causal_conv1d_varlen_states
    >>> causal_conv1d_varlen_states(np.array([[1.0], [2.0], [3.0], [4.0]]), [0, 1, 4], 2)
    array([[[0., 1.]],
    <BLANKLINE>
           [[3., 4.]]])
    """
    function = "causal_conv1d_varlen_states"
    samples = floats(function, "x", x)
    if samples.ndim != 2:
        raise ValueError(f"{function}: x must have shape (samples, channels), not {samples.shape}")
    edges = np.asarray(cu_seqlens)
    if edges.ndim != 1 or not edges.size:
        raise ValueError(f"{function}: cu_seqlens must have shape (sequences + 1,)")
    edges = indices(function, "cu_seqlens", edges, edges.shape)
    if edges[0] < 0 or edges[-1] > len(samples) or (edges[1:] < edges[:-1]).any():
        raise ValueError(
            f"{function}: cu_seqlens must increase from 0 to the {len(samples)} samples of x, "
            f"not {cu_seqlens!r}"
        )
    width = integer(function, "state_len", state_len, 0)
    states = np.zeros((len(edges) - 1, width, samples.shape[1]), samples.dtype)
    for state, start, stop in zip(states, edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        count = min(stop - start, width)
        state[width - count :] = samples[stop - count : stop]
    return states.swapaxes(1, 2)
