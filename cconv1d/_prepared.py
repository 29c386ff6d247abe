"""A convolution whose weights are checked and packed once, for many calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike

from . import _backend
from ._arrays import Array, as_arrays, check_method_dtype, same_dtype
from ._execute import Gradients, GradientTask, as_3d, check_needs, gradients, one
from ._functional import usual_conv1d, usual_conv1d_backward
from ._geometry import (
    DIRECT,
    FAST_NUMBER,
    FFT_NUMBER,
    METHODS,
    IntLike,
    Method,
    Padding,
    PaddingMode,
    check_options,
    method_number,
)
from ._kernels import BACKWARD_BIAS, BACKWARD_INPUT, BACKWARD_WEIGHT, FORWARD
from ._methods import settled
from ._plans import (
    Layout,
    Plan,
    check_bias,
    check_groups,
    check_layout,
    plan_conv1d,
    plan_conv1d_backward,
    weights,
)

__all__ = ["PreparedConv1d"]


class PreparedConv1d:
    """A `conv1d` with weights of its own, which are checked and packed once.

    Calling it returns the bits that `conv1d` returns. What is saved is the packing of the weights,
    which counts where there are many channels and few positions: layers of a network that is fed a
    few samples at a time.

    Parameters
    ----------
    weight : array_like, shape (K, C // groups, k) or (k,)
        As in `conv1d`, but not one for each sample. It is a snapshot: to change the array later
        changes nothing here.
    bias : array_like, shape (K,), optional
        Added to every position of its output channel; a snapshot, too.
    stride, padding, dilation, groups, padding_mode, layout, method
        As in `conv1d`.

    Attributes
    ----------
    weight : ndarray
        The snapshot, read-only.
    bias : ndarray or None
        The snapshot, read-only.

    Raises
    ------
    TypeError, ValueError
        As `conv1d`, for what can be told without an input; the rest when it is called.

    See Also
    --------
    conv1d, conv1d_backward : The same for weights that change from call to call.

    Notes
    -----
    The weights are packed when they are first needed: those of the forward map by the first call,
    those of the gradient of the input by the first that asks for it. Each takes as much memory as
    the weight, or twice as much where there are two orders, which is for outputs and with
    ``layout="NLC"``: whether lanes run along positions or along channels depends on how many and
    how long the signals are. With ``method="fft"`` they are kept as spectra, which take as much as
    the samples of a block, at least twice the taps, for each pair of channels; with "fast" as four
    numbers for three taps. It can be called from many threads at once, copied and pickled; a copy
    has the class and the attributes of the original, and packs the weights for itself.

    Subclasses of ndarray are taken for plain arrays, as in `conv1d`.

    Examples
    --------
    >>> import numpy as np
    >>> from cconv1d import PreparedConv1d
    >>> layer = PreparedConv1d([1.0, -1.0], padding="causal")
    >>> layer([1.0, 2.0, 4.0])
    array([-1., -1., -2.])
    >>> layer.backward([1.0, 0.0, 0.0], [1.0, 2.0, 4.0]).weight
    array([0., 1.])
    >>> y = np.empty(3)
    >>> layer([5.0, 5.0, 5.0], out=y) is y
    True
    """

    def __init__(
        self,
        weight: ArrayLike,
        bias: ArrayLike | None = None,
        stride: IntLike = 1,
        padding: Padding = 0,
        dilation: IntLike = 1,
        groups: SupportsIndex = 1,
        *,
        padding_mode: PaddingMode = "zeros",
        layout: Layout = "NCL",
        method: Method = "direct",
    ) -> None:
        function = "PreparedConv1d"
        if bias is None:
            arrays = as_arrays(function, weight=weight)
        else:
            arrays = as_arrays(function, weight=weight, bias=bias)
        snapshots = [np.array(array, order="C") for array in arrays]
        for array in snapshots:
            array.setflags(write=False)  # flags.writeable = False leaks in NumPy 2.4.6
        shape = snapshots[0].shape
        outs = weights(function, shape)[0]
        if len(shape) == 4:
            raise ValueError(
                f"{function}: weight must have shape (out channels, in channels / groups, taps) or "
                f"(taps,), not one for each sample, {shape}"
            )
        if bias is not None:
            check_bias(function, snapshots[1].shape, (outs,))
        stride, pads, dilation, mode = check_options(
            function, stride, padding, dilation, padding_mode
        )
        groups = check_groups(function, groups, output_channels=outs)
        check_layout(function, layout)
        number = method_number(function, method, shape[-1], stride, dilation)
        if number in (FFT_NUMBER, FAST_NUMBER):
            check_method_dtype(function, METHODS[number], snapshots[0].dtype)
        self._method: str = DIRECT if method == DIRECT else str(method)
        self._weight: Array = snapshots[0]
        self._bias: Array | None = None if bias is None else snapshots[1]
        self._options = stride, pads, dilation, groups, mode, layout, 0  # in the order of Options
        self._packed: dict[tuple[int, int], Any] = {}  # by map and method

    @property
    def weight(self) -> Array:
        """The kernels, which cannot be written to."""
        return self._weight

    @property
    def bias(self) -> Array | None:
        """What is added to each output channel, if anything."""
        return self._bias

    def __repr__(self) -> str:
        stride, padding, dilation, groups, mode, layout, _ = self._options
        return (
            f"{type(self).__name__}(<weight of shape {self._weight.shape}, {self._weight.dtype}>, "
            f"bias={None if self._bias is None else '<...>'}, stride={stride}, "
            f"padding={padding!r}, dilation={dilation}, groups={groups}, padding_mode={mode!r}, "
            f"layout={layout!r}, method={self._method!r})"
        )

    # Copies and pickles are made of the state, as those of any object, so that subclasses may have
    # attributes, slots and constructors of their own.

    def __getstate__(self) -> Any:
        """What `object` has: the attributes, or these and the slots; packed weights stay here."""
        state: Any = object.__getstate__(self)
        attributes, *slots = state if type(state) is tuple else (state,)
        attributes = {name: value for name, value in attributes.items() if name != "_packed"}
        return (attributes, *slots) if slots else attributes

    def __setstate__(self, state: Any) -> None:
        for attributes in state if type(state) is tuple else (state,):
            for name, value in (attributes or {}).items():
                object.__setattr__(self, name, value)
        for array in (self._weight, self._bias):
            if array is not None:
                array.setflags(write=False)  # which copies and pickles of arrays are not
        self._packed = {}

    def _pack(self, which_map: int, plan: Plan) -> Any:
        """The weight as a map takes it. Two threads may pack it at once; either result will do."""
        if _backend.core is None:
            return self._weight
        key = which_map, plan.geometry.method
        packed = self._packed.get(key)
        if packed is None or not (isinstance(packed, np.ndarray) or packed.is_current()):
            kernels = _backend.kernels_for(self._weight.dtype)
            packed = kernels.pack(
                as_3d(self._weight),
                plan.geometry,
                plan.groups,
                which_map == BACKWARD_INPUT,
                self._options[5] == "NLC",
            )
            self._packed[key] = packed
        return packed

    def __call__(
        self, input: ArrayLike, out: Array | None = None, *, accumulate: bool = False
    ) -> Array:
        """The outputs for some signals.

        Parameters
        ----------
        input : array_like, shape (N, C, L), (C, L) or (L,)
            As `conv1d` takes it, with the dtype of the weight.
        out, accumulate
            As in `conv1d`.

        Returns
        -------
        ndarray, shape (N, K, L_out), (K, L_out) or (L_out,)
            What `conv1d` returns, bit for bit; `out`, if given.

        Raises
        ------
        TypeError, ValueError, MemoryError
            As `conv1d`.
        """
        packed = self._packed.get((FORWARD, 0))
        if packed is not None and accumulate is False:
            usual = usual_conv1d.one(input, self._weight, self._bias, packed, self._options, out)
            if usual is not None:
                return usual
        function = "conv1d"
        w, b = self._weight, self._bias
        x: Any = input
        if not same_dtype(x, w):
            x, _ = as_arrays(function, input=x, weight=w)
        shapes = x.shape, w.shape, None if b is None else b.shape
        plan = plan_conv1d(shapes, *self._options, self._method)
        if plan.geometry.method:
            plan = settled(function, plan, w.dtype)
        operands = x, self._pack(FORWARD, plan), b
        given = {"input": input}
        return one(function, FORWARD, plan, plan.y_shape, operands, out, accumulate, given)

    def backward(
        self,
        grad_output: ArrayLike,
        input: ArrayLike,
        *,
        needs: Sequence[bool] = (True, True, True),
        out: Sequence[Array | None] | None = None,
        accumulate: bool = False,
    ) -> Gradients:
        """Gradients of a scalar loss with respect to input, weight and bias.

        Parameters
        ----------
        grad_output : array_like, shape (N, K, L_out), (K, L_out) or (L_out,)
            Derivatives of the loss with respect to each output.
        input : array_like, shape (N, C, L), (C, L) or (L,)
            What the layer was called with.
        needs, out, accumulate
            As in `conv1d_backward`.

        Returns
        -------
        Gradients
            What `conv1d_backward` returns, bit for bit.

        Raises
        ------
        TypeError, ValueError, MemoryError
            As `conv1d_backward`.
        """
        packed = self._packed.get((BACKWARD_INPUT, 0))
        if packed is not None and out is None and accumulate is False:
            usual = usual_conv1d_backward.gradients(
                grad_output, input, self._weight, packed, self._options, needs
            )
            if usual is not None:
                return usual
        function = "conv1d_backward"
        w = self._weight
        dy: Any = grad_output
        x: Any = input
        if not (same_dtype(dy, x) and same_dtype(x, w)):
            dy, x, _ = as_arrays(function, grad_output=dy, input=x, weight=w)
        plan = plan_conv1d_backward((dy.shape, x.shape, w.shape), *self._options, self._method)
        if plan.geometry.method:
            plan = settled(function, plan, w.dtype)
        needed = check_needs(function, needs)
        tasks = (
            GradientTask(
                BACKWARD_INPUT,
                dy,
                self._pack(BACKWARD_INPUT, plan) if needed[0] else None,
                plan.x_shape,
            ),
            GradientTask(BACKWARD_WEIGHT, dy, x, plan.w_shape),
            GradientTask(BACKWARD_BIAS, dy, None, plan.b_shape),
        )
        return gradients(
            function, plan, tasks, needed, out, accumulate, grad_output=grad_output, input=input
        )
