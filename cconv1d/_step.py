"""One chunk of a signal after another, by functions: state in, state out.

A step continues its input to the left by the history, which are samples:

    row = history | input                     h + n samples
    output[p] = sum over j of weight[j] * row[p*stride + j*dilation]
                                              P = (h + n - span) // stride + 1 of them, or none
    new_history = row[P*stride:]              what the next window begins with

so a chain of steps computes the 'valid' convolution of everything that went through it. The sums
are those of `conv1d`, whose bits depend neither on the place nor on the length, so they are the
same however the signal was cut.

Windows that begin in the history read a joined copy of it and of the span - 1 samples that follow;
the others read the input where it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike

from ._arrays import READY, Array, accumulator, as_arrays
from ._execute import empty
from ._functional import (
    conv1d,
    conv1d_backward,
    conv1d_backward_input,
    conv1d_backward_weight,
    usual_conv1d,
)
from ._geometry import IntLike, check_options
from ._plans import (
    Layout,
    Shape,
    batched,
    check_bias,
    check_channels,
    check_groups,
    check_ranks,
    plan_conv1d,
    swap_axes,
    weights,
)

__all__ = ["StepGradients", "conv1d_step", "conv1d_step_backward"]


class StepGradients(NamedTuple):
    """Gradients of a loss with respect to the arguments of a step.

    Attributes
    ----------
    input, history, weight, bias : ndarray or None
        Each in the shape of the argument that it belongs to, or None where it was not asked for;
        that of a history that was None is None.

    See Also
    --------
    conv1d_step_backward : What returns them.

    Examples
    --------
    >>> from cconv1d import StepGradients, conv1d_step_backward
    >>> grads = conv1d_step_backward([1.0], None, [3.0], [2.0], [1.0, -1.0])
    >>> grads
    StepGradients(input=array([-1.]), history=array([1.]), weight=array([2., 3.]), bias=array([1.]))
    """

    input: Array | None
    history: Array | None
    weight: Array | None
    bias: Array | None


class Step(NamedTuple):
    """What the shapes of a step come to."""

    function: str
    stride: int
    dilation: int
    groups: int
    layout: Layout
    axis: int  # of time
    span: int
    held: int  # samples of the history; zeros if it is None
    taken: int  # samples of the input
    outputs: int
    early: int  # outputs whose windows begin in the history
    start: int  # of the next window, in the row
    kept: int  # samples of the history that are part of the next one
    output_shape: Shape
    new_shape: Shape  # of the next history
    pieces: tuple[object, ...]  # options of a `conv1d` whose zeros on the left are the history

    @property
    def options(self) -> dict[str, Any]:
        """Those of `conv1d` but for the padding."""
        return {
            "stride": self.stride,
            "dilation": self.dilation,
            "groups": self.groups,
            "layout": self.layout,
        }

    @property
    def early_padding(self) -> tuple[int, int]:
        """Of a `conv1d` from the history to the outputs whose windows begin in it."""
        return 0, (self.early - 1) * self.stride + self.span - self.held

    def cut(self, array: Array, start: int | None, stop: int | None) -> Array:
        """The positions from start to stop."""
        if self.axis == -1:
            return array[..., start:stop]
        return array[..., start:stop, :]


#: A chunk of at most so many numbers is copied behind its history for the gradients, so that one
#: call computes them.
JOINED_NUMBERS = 2**20


def plan_step(
    function: str,
    x: Shape,
    history: Shape | None,
    w: Shape,
    stride: object,
    dilation: object,
    groups: object,
    layout: Any,
) -> Step:
    """What the shapes and options of a step come to, remembered as the plans of `_plans.py` are."""
    if type(stride) is type(dilation) is type(groups) is int and type(layout) is str:
        return _remembered(function, x, history, w, stride, dilation, groups, layout)
    return _plan_step(function, x, history, w, stride, dilation, groups, layout)


def _plan_step(
    function: str,
    x: Shape,
    history: Shape | None,
    w: Shape,
    stride: object,
    dilation: object,
    groups: object,
    layout: Any,
) -> Step:
    """Check the shapes and options of a step."""
    x3, w3 = batched(function, "input", x, layout), weights(function, w)
    if len(w) == 4:
        raise ValueError(
            f"{function}: weight must have shape (out channels, in channels / groups, taps) or "
            f"(taps,), not one for each sample, {w}"
        )
    check_ranks(function, "input", x, "weight", w)
    stride, _, dilation, _ = check_options(function, stride, 0, dilation, "zeros")
    groups = check_groups(function, groups, input_channels=x3[1], output_channels=w3[0])
    check_channels(function, w3, groups, w3[1] * groups, x3[1])
    span = dilation * (w3[2] - 1) + 1
    if stride > span:
        raise ValueError(
            f"{function}: stride {stride} is more than the {span} samples that the dilated kernel "
            f"spans, so samples between windows are not read: a history cannot say how many are "
            f"still to come; leave them out of the input, or use Stream"
        )
    axis = -2 if layout == "NLC" and len(x) > 1 else -1
    held = span - 1
    if history is not None:
        batched(function, "history", history, layout)
        held = history[axis] if len(history) == len(x) else -1
        expected = list(x)
        expected[axis] = held
        if held < 0 or list(history) != expected or held >= span:
            sizes = [str(size) for size in x]
            sizes[axis] = f"0 to {span - 1}"
            raise ValueError(
                f"{function}: history must have shape ({', '.join(sizes)}{',' * (len(x) == 1)}), "
                f"where dilation * (taps - 1) is {span - 1}, not {history}"
            )
    row = held + x3[2]
    outputs = (row - span) // stride + 1 if row >= span else 0
    y = swap_axes((x3[0], w3[0], outputs), axis == -2)[3 - len(x) :]
    start = outputs * stride
    new = list(x)
    new[axis] = row - start
    return Step(
        function,
        stride,
        dilation,
        groups,
        layout,
        axis,
        span,
        held,
        x3[2],
        outputs,
        min(outputs, -(-held // stride)),
        start,
        min(max(held - start, 0), row - start),
        y,
        tuple(new),
        (stride, (held, 0), dilation, groups, "zeros", layout, 0),
    )


_remembered = lru_cache(maxsize=1024)(_plan_step)


def given_arrays(function: str, **arguments: Any) -> list[Any]:
    """The arguments as arrays of one dtype, and None where there is none."""
    values = [*arguments.values()]
    if all(value is None or type(value) is np.ndarray for value in values):  # as a rule
        dtypes = {value.dtype for value in values if value is not None}
        if len(dtypes) == 1 and dtypes <= READY:
            return values
    there = {name: value for name, value in arguments.items() if value is not None}
    arrays = dict(zip(there, as_arrays(function, **there), strict=True))
    return [arrays.get(name) for name in arguments]


def shape_of(array: Array | None) -> Shape | None:
    return None if array is None else array.shape


def conv1d_step(
    input: ArrayLike,
    history: ArrayLike | None,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: IntLike = 1,
    dilation: IntLike = 1,
    groups: SupportsIndex = 1,
    *,
    layout: Layout = "NCL",
) -> tuple[Array, Array]:
    """Convolve a chunk of a signal, given the samples before it; return what the next step needs.

    Parameters
    ----------
    input : array_like, shape (N, C, n), (C, n) or (n,)
        The next n samples of N signals, 0 or more.
    history : array_like, shape (N, C, h), (C, h) or (h,), or None
        The samples that the next window begins with, h of them, at most dilation * (k - 1): what
        the step before returned. At the start of a signal an empty array begins with the first
        whole window, as ``padding="valid"`` does, and None stands for dilation * (k - 1) zeros, as
        ``padding="causal"`` does.
    weight : array_like, shape (K, C // groups, k) or (k,)
        As in `conv1d`, but not one for each sample.
    bias : array_like, shape (K,), optional
        As in `conv1d`.
    stride : int, optional
        As in `conv1d`, but at most the dilation * (k - 1) + 1 samples that a window spans.
    dilation, groups, layout : optional
        As in `conv1d`; `history` is in the same layout.

    Returns
    -------
    output : ndarray, shape (N, K, P), (K, P) or (P,)
        Of all windows that are complete: P = (h + n - dilation * (k - 1) - 1) // stride + 1, or
        none. The outputs of the steps, one after the other, are those of one call of `conv1d` on
        the whole signal, bit for bit, however it is cut.
    new_history : ndarray, shape (N, C, h'), (C, h') or (h',)
        The samples from the start of the next window on, in an array of its own:
        h' = h + n - P * stride. With a stride of 1 and enough samples before it, that is
        dilation * (k - 1); otherwise its length tells how far the next window has come.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As `conv1d`; and ValueError if `history` does not fit.

    See Also
    --------
    conv1d_step_backward : Its gradients.
    Stream : The same with a state of its own, for any padding and stride, without allocations.

    Notes
    -----
    History and chunk are read as two pieces of one row. Where there is no such call, they are
    joined in a copy as long as two windows, and no longer; the rest of the chunk is read where it
    is.

    Zeros that come from None and are still part of the history that is returned are samples from
    then on: a weight that is not finite spreads to the results that meet them.

    Examples
    --------
    >>> from cconv1d import conv1d, conv1d_step
    >>> y, history = conv1d_step([1.0, 2.0], None, [1.0, -1.0])
    >>> y, history
    (array([-1., -1.]), array([2.]))
    >>> conv1d_step([4.0], history, [1.0, -1.0])
    (array([-2.]), array([4.]))
    >>> conv1d([1.0, 2.0, 4.0], [1.0, -1.0], padding="causal")
    array([-1., -1., -2.])
    """
    function = "conv1d_step"
    _refuse_none(function, input=input, weight=weight)
    x, held, w, b = given_arrays(function, input=input, history=history, weight=weight, bias=bias)
    step = plan_step(function, x.shape, shape_of(held), w.shape, stride, dilation, groups, layout)
    check_bias(function, shape_of(b), (len(w) if w.ndim == 3 else 1,))
    if held is not None and held.shape == step.new_shape and step.held <= step.taken:
        new = held.copy()
        y = _push(step, new, x, w, b)
        if y is not None:
            return y, new
    new = empty(function, step.new_shape, x.dtype)
    y = empty(function, step.output_shape, x.dtype)
    if step.outputs and held is None:
        conv1d(x, w, b, padding=(step.held, 0), out=y, **step.options)
    elif step.outputs:
        _convolve_row(step, held, x, w, b, y)
    start, kept = step.start, step.kept
    step.cut(new, 0, kept)[...] = 0 if held is None else step.cut(held, start, start + kept)
    step.cut(new, kept, None)[...] = step.cut(x, start + kept - step.held, None)
    return y, new


def _refuse_none(function: str, **arguments: Any) -> None:
    for name, value in arguments.items():
        if value is None:
            raise TypeError(f"{function}: {name} must be an array, not None")


def _push(step: Step, held: Array, x: Array, w: Array, b: Array | None) -> Array | None:
    """The outputs of a chunk that is read where it is; then `held` has its last samples.

    None, with nothing done, where that is no usual call.
    """
    y = usual_conv1d.one(x, w, b, None, step.pieces, None, held)
    if y is None and step.outputs:
        plan_conv1d((x.shape, w.shape, shape_of(b)), *step.pieces)  # as it was not known, perhaps
        y = usual_conv1d.one(x, w, b, None, step.pieces, None, held)
    return y


def _convolve_row(step: Step, held: Array, x: Array, w: Array, b: Array | None, y: Array) -> None:
    """The outputs of a step that has a history."""
    # A chunk that is hardly longer than a window is copied as a whole, for one call instead of two.
    short = step.taken < 2 * step.span
    count = step.outputs if short else step.early
    if count:
        reach = (count - 1) * step.stride + step.span
        row = np.concatenate((held, step.cut(x, 0, reach - step.held)), axis=step.axis)
        conv1d(row, w, b, out=step.cut(y, 0, count), **step.options)
    if count < step.outputs:
        rest = step.cut(x, count * step.stride - step.held, None)
        conv1d(rest, w, b, out=step.cut(y, count, None), **step.options)


def conv1d_step_backward(
    grad_output: ArrayLike | None,
    grad_history: ArrayLike | None,
    input: ArrayLike,
    history: ArrayLike | None,
    weight: ArrayLike,
    stride: IntLike = 1,
    dilation: IntLike = 1,
    groups: SupportsIndex = 1,
    *,
    layout: Layout = "NCL",
    needs: Sequence[bool] = (True, True, True, True),
) -> StepGradients:
    """Gradients of a scalar loss with respect to the arguments of `conv1d_step`.

    Parameters
    ----------
    grad_output : array_like, shape (N, K, P), (K, P) or (P,), or None
        Derivatives of the loss with respect to each output of the step; None for zeros.
    grad_history : array_like, shape (N, C, h'), (C, h') or (h',), or None
        Derivatives with respect to each sample of the history that the step returned, which is
        what the step behind it has for its history; None for zeros, as behind the last step.
    input, history, weight, stride, dilation, groups, layout : optional
        What `conv1d_step` was called with.
    needs : sequence of four bool, optional
        Which gradients to compute: of input, history, weight and bias.

    Returns
    -------
    StepGradients
        A named tuple (input, history, weight, bias), each in the shape of what it is the gradient
        of, and None where it is not needed; that of a `history` of None is None.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As `conv1d_step`; and ValueError if a gradient has not the shape of what the step returned,
        or `needs` not four items.

    See Also
    --------
    conv1d_step : What it differentiates.
    conv1d_backward : The gradients of a whole signal.

    Notes
    -----
    From the last step back to the first, with the gradient of each history handed to the step
    before as `grad_history`, and with the gradients of weight and bias added up, these are the
    gradients of the whole signal. To hand on None instead is truncated backpropagation through
    time [1]_.

    Samples of the history that are still part of the next one pass their gradient on to it.

    References
    ----------
    .. [1] R. J. Williams and J. Peng, "An efficient gradient-based algorithm for on-line training
       of recurrent network trajectories", Neural Computation 2(4), 490-501, 1990.

    Examples
    --------
    >>> from cconv1d import conv1d_step_backward
    >>> conv1d_step_backward([1.0, 1.0], [5.0], [3.0, 4.0], [2.0], [1.0, -1.0]).input
    array([0., 4.])
    """
    function = "conv1d_step_backward"
    _refuse_none(function, input=input, weight=weight)
    dy, dnew, x, held, w = given_arrays(
        function,
        grad_output=grad_output,
        grad_history=grad_history,
        input=input,
        history=history,
        weight=weight,
    )
    needed = _check_needs(function, needs)
    step = plan_step(function, x.shape, shape_of(held), w.shape, stride, dilation, groups, layout)
    for name, array, shape, what in (
        ("grad_output", dy, step.output_shape, "output"),
        ("grad_history", dnew, step.new_shape, "new history"),
    ):
        if array is not None and array.shape != shape:
            raise ValueError(
                f"{function}: {name} must have shape {shape}, which the {what} has for "
                f"{step.held} samples of history and {step.taken} of input, not {array.shape}"
            )
    if step.outputs == 0:
        dy = None  # there is nothing to differentiate
    start, kept = step.start, step.kept
    dx = dheld = dw = db = None
    joined = held is None or x.size <= JOINED_NUMBERS
    if dy is not None and joined:
        return _gradients_of_row(step, dy, dnew, x, held, w, needed)
    if needed[0]:
        dx = np.zeros(x.shape, x.dtype)
        if dy is not None and dx.size:
            padding = step.held, 0
            conv1d_backward_input(dy, w, step.taken, padding=padding, out=dx, **step.options)
        if dnew is not None:
            _add(step.cut(dx, start + kept - step.held, None), step.cut(dnew, kept, None))
    if needed[1] and held is not None:
        dheld = np.zeros(held.shape, x.dtype)
        if dy is not None and dheld.size:
            conv1d_backward_input(
                step.cut(dy, 0, step.early),
                w,
                step.held,
                padding=step.early_padding,
                out=dheld,
                **step.options,
            )
        if dnew is not None:
            _add(step.cut(dheld, start, start + kept), step.cut(dnew, 0, kept))
    if needed[2]:
        dw = np.zeros(w.shape, x.dtype) if dy is None else _grad_weight(step, dy, x, held, w)
    if needed[3]:
        if dy is None:
            db = np.zeros(len(w) if w.ndim == 3 else 1, x.dtype)
        else:
            padding = step.held, 0
            needs = False, False, True
            db = conv1d_backward(dy, x, w, padding=padding, needs=needs, **step.options).bias
    return StepGradients(dx, dheld, dw, db)


def _check_needs(function: str, needs: Sequence[bool]) -> tuple[bool, ...]:
    try:
        needed = tuple(needs)
        flags = all(isinstance(need, (bool, np.bool)) for need in needed)
    except TypeError:
        flags = False
    if not flags or len(needed) != 4:
        raise (ValueError if flags else TypeError)(
            f"{function}: needs must be four truth values, for input, history, weight and bias, "
            f"not {needs!r}"
        )
    return needed


def _add(to: Array, what: Array) -> None:
    with np.errstate(all="ignore"):
        np.add(to, what, out=to)


def _gradients_of_row(
    step: Step,
    dy: Array,
    dnew: Array | None,
    x: Array,
    held: Array | None,
    w: Array,
    needed: tuple[bool, ...],
) -> StepGradients:
    """All gradients by one call, for history and input as one row; without a history, for input."""
    needs = needed[0] or (needed[1] and held is not None), needed[2], needed[3]
    if held is None:
        row, padding, first = x, (step.held, 0), 0
        start, skipped = step.start + step.kept - step.held, step.kept  # these are zeros
    else:
        row, padding, first = np.concatenate((held, x), axis=step.axis), (0, 0), step.held
        start, skipped = step.start, 0
    drow, dw, db = conv1d_backward(dy, row, w, padding=padding, needs=needs, **step.options)
    if drow is None:
        return StepGradients(None, None, dw, db)
    if dnew is not None:
        _add(step.cut(drow, start, None), step.cut(dnew, skipped, None))
    dheld = step.cut(drow, 0, first) if needed[1] and held is not None else None
    return StepGradients(step.cut(drow, first, None) if needed[0] else None, dheld, dw, db)


def _grad_weight(step: Step, dy: Array, x: Array, held: Array | None, w: Array) -> Array:
    """The gradient of the weight, from the two pieces of the row that it was multiplied with."""
    taps = w.shape[-1]
    if held is not None and held.size and accumulator(x.dtype) != x.dtype:
        # The sum of two results that were rounded would be rounded twice: a copy of the row it is.
        row = np.concatenate((held, x), axis=step.axis)
        return conv1d_backward_weight(dy, row, taps, **step.options)
    dw = np.zeros(w.shape, x.dtype)
    if x.size:
        conv1d_backward_weight(dy, x, taps, padding=(step.held, 0), out=dw, **step.options)
    if held is not None and held.size:
        conv1d_backward_weight(
            step.cut(dy, 0, step.early),
            held,
            taps,
            padding=step.early_padding,
            out=dw,
            accumulate=True,
            **step.options,
        )
    return dw
