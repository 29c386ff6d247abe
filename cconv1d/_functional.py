"""The public functions: what is checked, in which shape it goes to the kernels and back.

Every function turns its arrays into (batch, channels, positions), takes the geometry from
`_geometry`, allocates the result and hands all of it to the kernels of the dtype.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from math import prod
from typing import Any, NamedTuple, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _backend
from ._backend import Kernels, kernels_for
from ._geometry import Geometry, IntLike, Padding, integer, resolve

__all__ = [
    "Gradients",
    "conv1d",
    "conv1d_backward",
    "conv1d_backward_input",
    "conv1d_backward_weight",
    "show_config",
]

Array = NDArray[Any]
ndarray = np.ndarray


class Gradients(NamedTuple):
    """What `conv1d_backward` returns: None stands where a gradient was not asked for."""

    input: Array | None
    weight: Array | None
    bias: Array | None


# --- arrays ---------------------------------------------------------------------------------

#: Numeric dtypes in native byte order.
_READY = frozenset(np.dtype(char) for char in np.typecodes["AllInteger"] + np.typecodes["AllFloat"])


def _from_python(function: str, name: str, value: object, dtype: np.dtype[Any]) -> Array:
    """Nested lists of numbers as an array of `dtype`, refused where that is another kind."""
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{function}: {name} is not a rectangular array: {error}") from None
    integers = array.dtype.kind in "iu" and dtype.kind in "iu"
    if not (
        integers or (array.dtype.kind in "iufc" and np.can_cast(array.dtype, dtype, "same_kind"))
    ):
        raise TypeError(f"{function}: {name} holds {array.dtype}, which does not go into {dtype}")
    converted = array.astype(dtype)
    if integers and not np.array_equal(converted, array):
        raise ValueError(f"{function}: {name} holds numbers that do not go into {dtype}")
    return converted


def _ready(first: Any, second: Any) -> bool:
    """Whether two arguments are what `_arrays` would return: the usual case, quickly."""
    return (
        type(first) is ndarray is type(second)
        and first.dtype is second.dtype
        and first.dtype in _READY
    )


def _arrays(function: str, **arguments: Any) -> Sequence[Any]:
    """The arguments as arrays of one dtype in native byte order.

    A copy is made of lists and of data in the other byte order, and of nothing else.
    """
    arrays: dict[str, Array] = {}
    for name, value in arguments.items():
        if isinstance(value, (list, tuple, int, float, complex)):
            continue
        array = np.asarray(value)
        if array.dtype.kind not in "iufc":
            raise TypeError(
                f"{function}: {name} must hold integers, real or complex numbers, not {array.dtype}"
                if value is not None
                else f"{function}: {name} must be an array, not None"
            )
        if not array.dtype.isnative:
            array = array.astype(array.dtype.newbyteorder("="))
        arrays[name] = array
    dtypes = {array.dtype for array in arrays.values()}
    if len(dtypes) > 1:
        seen = ", ".join(f"{name} {array.dtype}" for name, array in arrays.items())
        raise TypeError(f"{function}: all arrays must have one dtype, not {seen}")
    dtype = dtypes.pop() if dtypes else np.dtype(np.float64)
    return [
        arrays[name] if name in arrays else _from_python(function, name, value, dtype)
        for name, value in arguments.items()
    ]


def _empty(function: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    try:
        return np.empty(shape, dtype)
    except ValueError:
        raise ValueError(
            f"{function}: a result of shape {shape} and dtype {dtype} is larger than the "
            f"address space"
        ) from None


# --- shapes ---------------------------------------------------------------------------------

Shape = tuple[int, ...]


#: Work that a processor does in some 20 microseconds, of which the kernels' usual entry, with a
#: typed memoryview of each array, would be a part that counts.
SMALL_PRODUCTS = 2**20


class Plan(NamedTuple):
    """What a call comes to: the shapes of its arrays, with the user's axes, and the geometry."""

    input: Shape
    weight: Shape
    output: Shape
    geometry: Geometry
    groups: int
    small: bool  # see `_compute`


def _remember(check: Callable[..., Plan]) -> Callable[..., Plan]:
    """Keep what `check` found for shapes and options: one convolution is called many times.

    `size` is the kernel size or the input length that no array tells. Options other than
    plain integers and words are checked every time: a sequence may not be a key, and a pair
    of floats would be found equal to one of integers.
    """
    remembered = lru_cache(maxsize=1024)(check)

    def plan(
        shapes: tuple[Shape | None, ...],
        stride: object,
        padding: object,
        dilation: object,
        groups: object,
        size: object = 0,
    ) -> Plan:
        if type(stride) is type(dilation) is type(groups) is type(size) is int and (
            type(padding) is int or type(padding) is str
        ):
            return remembered(shapes, stride, padding, dilation, groups, size)
        return check(shapes, stride, padding, dilation, groups, size)

    return plan


def _batched(function: str, name: str, shape: Shape) -> Shape:
    """(L,), (C, L) or (N, C, L) as (N, C, L)."""
    if not 1 <= len(shape) <= 3:
        raise ValueError(
            f"{function}: {name} must have shape (batch, channels, length), (channels, length) or "
            f"(length,), not {shape}"
        )
    return (1,) * (3 - len(shape)) + shape


def _weights(function: str, shape: Shape) -> Shape:
    """(k,) or (K, C/groups, k) as (K, C/groups, k)."""
    if len(shape) not in (1, 3):
        raise ValueError(
            f"{function}: weight must have shape (out channels, in channels / groups, taps) or "
            f"(taps,), not {shape}"
        )
    return (1,) * (3 - len(shape)) + shape


def _one_rank(function: str, name: str, shape: Shape, other_name: str, other: Shape) -> None:
    """Refuse a lone signal beside channels; two signals must agree about the batch, too."""
    lone = len(shape) == 1, len(other) == 1
    if lone[0] != lone[1] or (other_name != "weight" and len(shape) != len(other)):
        raise ValueError(
            f"{function}: {name} and {other_name} must both have channels (and a batch) or "
            f"neither, but {name} has shape {shape} and {other_name} {other}"
        )


def _check_groups(function: str, groups: object, **channels: int) -> int:
    number = integer(function, "groups", groups, 1)
    for name, count in channels.items():
        if count % number:
            raise ValueError(
                f"{function}: the {count} {name.replace('_', ' ')} cannot be divided into "
                f"{number} groups"
            )
    return number


def _check_channels(function: str, groups: object, in_channels: int, weight: Shape) -> int:
    """The number of groups, if input channels and weight agree about it."""
    number = _check_groups(function, groups, input_channels=in_channels, output_channels=weight[0])
    if in_channels != weight[1] * number:
        raise ValueError(
            f"{function}: a weight of shape {weight} with groups {number} takes "
            f"{weight[1] * number} input channels, but input has {in_channels}"
        )
    return number


def _plan(axes: int, x: Shape, w: Shape, outs: int, geometry: Geometry, groups: int) -> Plan:
    """The plan for (N, C, L) and (K, C/groups, k), where the user's signals have so many axes."""
    y = x[0], outs, geometry.output_length
    small = prod(y) * prod(w[1:]) < SMALL_PRODUCTS
    return Plan(x[3 - axes :], w if axes > 1 else w[2:], y[3 - axes :], geometry, groups, small)


def _plan_of(
    function: str,
    x: Shape,
    w: Shape,
    stride: object,
    padding: object,
    dilation: object,
    groups: object,
) -> Plan:
    """The plan for an input and a weight in the user's shapes."""
    x3, w3 = _batched(function, "input", x), _weights(function, w)
    _one_rank(function, "input", x, "weight", w)
    geometry = resolve(function, x3[2], w3[2], stride, padding, dilation)
    number = _check_channels(function, groups, x3[1], w3)
    return _plan(len(x), x3, w3, w3[0], geometry, number)


def _check_grad_output(function: str, grad_output: Shape, plan: Plan) -> Plan:
    """Refuse a `grad_output` that is not the plan's output."""
    if grad_output != plan.output:
        raise ValueError(
            f"{function}: grad_output must have shape {plan.output}, not {grad_output}; "
            f"{plan.output[-1]} is the output length for input length {plan.input[-1]}"
        )
    return plan


@_remember
def _plan_forward(
    shapes: tuple[Shape, Shape, Shape | None],
    stride: object,
    padding: object,
    dilation: object,
    groups: object,
    size: object,
) -> Plan:
    function = "conv1d"
    x, w, b = shapes
    plan = _plan_of(function, x, w, stride, padding, dilation, groups)
    outs = _weights(function, w)[:1]
    if b is not None and b != outs:
        raise ValueError(
            f"{function}: bias must have shape {outs}, one number for each output channel, not {b}"
        )
    return plan


@_remember
def _plan_backward(
    shapes: tuple[Shape, Shape, Shape],
    stride: object,
    padding: object,
    dilation: object,
    groups: object,
    size: object,
) -> Plan:
    function = "conv1d_backward"
    dy, x, w = shapes
    plan = _plan_of(function, x, w, stride, padding, dilation, groups)
    _batched(function, "grad_output", dy)
    _one_rank(function, "grad_output", dy, "input", x)
    return _check_grad_output(function, dy, plan)


@_remember
def _plan_backward_input(
    shapes: tuple[Shape, Shape],
    stride: object,
    padding: object,
    dilation: object,
    groups: object,
    size: object,
) -> Plan:
    function = "conv1d_backward_input"
    dy, w = shapes
    dy3, w3 = _batched(function, "grad_output", dy), _weights(function, w)
    _one_rank(function, "grad_output", dy, "weight", w)
    geometry = resolve(function, size, w3[2], stride, padding, dilation)
    number = _check_groups(function, groups, output_channels=w3[0])
    x3 = dy3[0], number * w3[1], geometry.input_length
    plan = _plan(len(dy), x3, w3, w3[0], geometry, number)
    return _check_grad_output(function, dy, plan)


@_remember
def _plan_backward_weight(
    shapes: tuple[Shape, Shape],
    stride: object,
    padding: object,
    dilation: object,
    groups: object,
    size: object,
) -> Plan:
    function = "conv1d_backward_weight"
    dy, x = shapes
    dy3, x3 = _batched(function, "grad_output", dy), _batched(function, "input", x)
    _one_rank(function, "grad_output", dy, "input", x)
    taps = integer(function, "kernel_size", size, 1)
    geometry = resolve(function, x3[2], taps, stride, padding, dilation)
    number = _check_groups(function, groups, input_channels=x3[1], output_channels=dy3[1])
    plan = _plan(len(x), x3, (dy3[1], x3[1] // number, taps), dy3[1], geometry, number)
    return _check_grad_output(function, dy, plan)


# --- the maps -------------------------------------------------------------------------------

FORWARD, BACKWARD_INPUT, BACKWARD_WEIGHT, BACKWARD_BIAS = range(len(Kernels._fields))


def _compute(
    which: int, plan: Plan, first: Array, second: Array | None, bias: Array | None, out: Array
) -> None:
    """Fill `out` by one of the maps, with what the map has of a second operand and a bias.

    Small calls go to the kernels by an entry that is quicker at opening arrays.
    """
    geometry, groups = plan.geometry, plan.groups
    if plan.small and _backend.small(which, first, second, bias, out, geometry, groups):
        return
    kernel = kernels_for(out.dtype)[which]
    if second is None:
        kernel(_three(first), out)
    elif which == FORWARD:
        kernel(_three(first), _three(second), bias, _three(out), geometry, groups)
    else:
        kernel(_three(first), _three(second), _three(out), geometry, groups)


def _three(array: Array) -> Array:
    """With three axes, those that are left out in front; a copy of unaligned data."""
    if not array.flags.aligned:
        array = array.copy()
    return array if array.ndim == 3 else array.reshape((1,) * (3 - array.ndim) + array.shape)


def conv1d(
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: IntLike = 1,
    padding: Padding = 0,
    dilation: IntLike = 1,
    groups: SupportsIndex = 1,
) -> Array:
    """Cross-correlate signals with kernels: what neural networks call a convolution.

    With zeros where `input` is read outside its samples, g a group of channels, c and o an
    input and an output channel of that group, j a tap and p a position::

        y[n, g, o, p] = bias[g, o]
            + sum over c, j of weight[g, o, c, j] * input[n, g, c, p*stride + j*dilation - pad_left]

    Parameters
    ----------
    input : array_like, shape (N, C, L), (C, L) or (L,)
        N signals of C channels and L samples. Any strides; it is not modified.
    weight : array_like, shape (K, C // groups, k), or (k,) for an `input` of shape (L,)
        K kernels of k taps for each channel of their group.
    bias : array_like, shape (K,), optional
        Added to every position of its output channel.
    stride : int, optional
        Distance in samples between neighbouring outputs.
    padding : int or (int, int) or str, optional
        Zeros on both sides, or on the left and on the right, in samples; or

        - "valid": none
        - "same": as many as give ceil(L / stride) outputs; where they cannot be shared out
          evenly, the odd one goes to the right
        - "same_lower": the same, and the odd one goes to the left
        - "causal": dilation * (k - 1) on the left, so that no output sees later samples
        - "full": dilation * (k - 1) on both sides, every output that sees a sample
    dilation : int, optional
        Distance in samples between neighbouring taps.
    groups : int, optional
        Number of groups that the channels are divided into; each output channel sees the
        input channels of its group only.

    Returns
    -------
    ndarray, shape (N, K, L_out), (K, L_out) or (L_out,)
        With the dtype of the arguments and L_out from `conv1d_output_length`.

    Raises
    ------
    TypeError
        If the arrays do not have one numeric dtype, or a number is not an integer. Lists
        of numbers take the dtype of the arrays, or float64 when there is none.
    ValueError
        If shapes do not fit each other, or the dilated kernel is longer than the padded
        input.

    See Also
    --------
    conv1d_backward : its gradients.

    Notes
    -----
    Names, order and defaults are those of ``torch.nn.functional.conv1d``. float32 and
    float64 are compiled; integers (modulo 2**n), half, extended and complex numbers are
    computed by NumPy.

    Examples
    --------
    >>> import numpy as np
    >>> from cconv1d import conv1d
    >>> conv1d([1.0, 2.0, 3.0, 4.0], [1.0, -1.0])
    array([-1., -1., -1.])
    >>> ecg = np.ones((2, 3, 100), np.float32)       # 2 recordings of 3 leads
    >>> kernels = np.ones((8, 3, 5), np.float32)
    >>> conv1d(ecg, kernels, padding="same", dilation=2).shape
    (2, 8, 100)
    """
    function = "conv1d"
    x: Any = input
    w: Any = weight
    b: Any = bias
    if not (_ready(x, w) and (b is None or _ready(w, b))):
        if b is None:
            x, w = _arrays(function, input=x, weight=w)
        else:
            x, w, b = _arrays(function, input=x, weight=w, bias=b)
    shapes = x.shape, w.shape, None if b is None else b.shape
    plan = _plan_forward(shapes, stride, padding, dilation, groups)
    y = _empty(function, plan.output, x.dtype)
    _compute(FORWARD, plan, x, w, b, y)
    return y


def conv1d_backward(
    grad_output: ArrayLike,
    input: ArrayLike,
    weight: ArrayLike,
    stride: IntLike = 1,
    padding: Padding = 0,
    dilation: IntLike = 1,
    groups: SupportsIndex = 1,
    *,
    needs: Sequence[bool] = (True, True, True),
) -> Gradients:
    """Gradients of a scalar loss with respect to the input, the weight and the bias of `conv1d`.

    Parameters
    ----------
    grad_output : array_like, shape (N, K, L_out), (K, L_out) or (L_out,)
        Derivatives of the loss with respect to each output of `conv1d`.
    input : array_like, shape (N, C, L), (C, L) or (L,)
        What `conv1d` was called with.
    weight : array_like, shape (K, C // groups, k) or (k,)
        What `conv1d` was called with.
    stride, padding, dilation, groups
        As in `conv1d`.
    needs : sequence of three bool, optional
        Which gradients to compute: of input, weight and bias.

    Returns
    -------
    Gradients
        A named tuple (input, weight, bias), each in the shape of what it is the gradient
        of, bias as (K,), and None where it is not needed.

    Raises
    ------
    TypeError, ValueError
        As `conv1d`; and ValueError if `grad_output` does not have the shape of its output.

    Notes
    -----
    The gradient of the input is the 'full' convolution of `grad_output` with the weight;
    the gradient of the weight is the input correlated with `grad_output`. Complex data
    follow PyTorch's convention: weight and input enter conjugated.

    Examples
    --------
    >>> from cconv1d import conv1d_backward
    >>> grads = conv1d_backward([1.0, 1.0, 1.0], [1.0, 2.0, 3.0, 4.0], [1.0, -1.0])
    >>> grads.weight
    array([6., 9.])
    >>> grads.input
    array([ 1.,  0.,  0., -1.])
    >>> grads.bias
    array([3.])
    """
    function = "conv1d_backward"
    dy: Any = grad_output
    x: Any = input
    w: Any = weight
    if not (_ready(dy, x) and _ready(x, w)):
        dy, x, w = _arrays(function, grad_output=dy, input=x, weight=w)
    plan = _plan_backward((dy.shape, x.shape, w.shape), stride, padding, dilation, groups)
    try:
        needs_input, needs_weight, needs_bias = (bool(need) for need in needs)
    except (TypeError, ValueError):
        raise ValueError(
            f"{function}: needs must be three truth values, for input, weight and bias, "
            f"not {needs!r}"
        ) from None
    dx = dw = db = None
    if needs_input:
        dx = _empty(function, plan.input, dy.dtype)
        _compute(BACKWARD_INPUT, plan, dy, w, None, dx)
    if needs_weight:
        dw = _empty(function, plan.weight, dy.dtype)
        _compute(BACKWARD_WEIGHT, plan, dy, x, None, dw)
    if needs_bias:
        db = _empty(function, w.shape[:1] if w.ndim == 3 else (1,), dy.dtype)
        _compute(BACKWARD_BIAS, plan, dy, None, None, db)
    return Gradients(dx, dw, db)


def conv1d_backward_input(
    grad_output: ArrayLike,
    weight: ArrayLike,
    input_length: SupportsIndex,
    stride: IntLike = 1,
    padding: Padding = 0,
    dilation: IntLike = 1,
    groups: SupportsIndex = 1,
) -> Array:
    """Gradient of a scalar loss with respect to the input of `conv1d`.

    ::

        grad_input[n, g, c, q] = sum over o, j and the p with p*stride + j*dilation - pad_left = q
            of weight[g, o, c, j] * grad_output[n, g, o, p]

    Parameters
    ----------
    grad_output : array_like, shape (N, K, L_out), (K, L_out) or (L_out,)
        Derivatives of the loss with respect to each output of `conv1d`.
    weight : array_like, shape (K, C // groups, k), or (k,) for a 1-D `grad_output`
        What `conv1d` was called with.
    input_length : int
        Number of samples of the input, which `grad_output` alone does not tell when
        ``stride > 1``.
    stride, padding, dilation, groups
        As in `conv1d`.

    Returns
    -------
    ndarray, shape (N, C, input_length), (C, input_length) or (input_length,)

    Raises
    ------
    TypeError, ValueError
        As `conv1d_backward`.

    Examples
    --------
    >>> from cconv1d import conv1d_backward_input
    >>> conv1d_backward_input([1.0, 10.0, 100.0], [2.0, 3.0], input_length=4)
    array([  2.,  23., 230., 300.])
    """
    function = "conv1d_backward_input"
    dy: Any = grad_output
    w: Any = weight
    if not _ready(dy, w):
        dy, w = _arrays(function, grad_output=dy, weight=w)
    plan = _plan_backward_input(
        (dy.shape, w.shape), stride, padding, dilation, groups, input_length
    )
    dx = _empty(function, plan.input, dy.dtype)
    _compute(BACKWARD_INPUT, plan, dy, w, None, dx)
    return dx


def conv1d_backward_weight(
    grad_output: ArrayLike,
    input: ArrayLike,
    kernel_size: SupportsIndex,
    stride: IntLike = 1,
    padding: Padding = 0,
    dilation: IntLike = 1,
    groups: SupportsIndex = 1,
) -> Array:
    """Gradient of a scalar loss with respect to the weight of `conv1d`.

    ::

        grad_weight[g, o, c, j] = sum over n, p
            of grad_output[n, g, o, p] * input[n, g, c, p*stride + j*dilation - pad_left]

    Parameters
    ----------
    grad_output : array_like, shape (N, K, L_out), (K, L_out) or (L_out,)
        Derivatives of the loss with respect to each output of `conv1d`.
    input : array_like, shape (N, C, L), (C, L) or (L,)
        What `conv1d` was called with.
    kernel_size : int
        Number of taps of the weight.
    stride, padding, dilation, groups
        As in `conv1d`.

    Returns
    -------
    ndarray, shape (K, C // groups, kernel_size), or (kernel_size,) for 1-D arrays

    Raises
    ------
    TypeError, ValueError
        As `conv1d_backward`.

    Examples
    --------
    >>> from cconv1d import conv1d_backward_weight
    >>> conv1d_backward_weight([1.0, 10.0, 100.0], [1.0, 2.0, 3.0, 4.0], kernel_size=2)
    array([321., 432.])
    """
    function = "conv1d_backward_weight"
    dy: Any = grad_output
    x: Any = input
    if not _ready(dy, x):
        dy, x = _arrays(function, grad_output=dy, input=x)
    plan = _plan_backward_weight(
        (dy.shape, x.shape), stride, padding, dilation, groups, kernel_size
    )
    dw = _empty(function, plan.weight, dy.dtype)
    _compute(BACKWARD_WEIGHT, plan, dy, x, None, dw)
    return dw


def show_config(mode: str = "stdout") -> dict[str, Any] | None:
    """Print what computes here: version, backend, instruction set, compiler, NumPy.

    Parameters
    ----------
    mode : {"stdout", "dicts"}, optional
        "dicts" returns the facts instead of printing them.

    Returns
    -------
    dict or None
        With the keys version, backend ("native" or "reference"), reason (why the compiled
        extension could not be loaded, or None), instruction_set (what is used),
        instruction_sets (what this machine could use), compiler, threads and numpy.

    Raises
    ------
    ValueError
        If `mode` is another word.

    Examples
    --------
    >>> import cconv1d
    >>> cconv1d.show_config("dicts")["version"] == cconv1d.__version__
    True
    """
    facts = _backend.describe()
    if mode == "dicts":
        return facts
    if mode != "stdout":
        raise ValueError(f"show_config: mode must be 'stdout' or 'dicts', not {mode!r}")
    for name, value in facts.items():
        if isinstance(value, list):
            value = ", ".join(value)
        if value not in (None, ""):
            print(f"{name.replace('_', ' ')}: {value}")
    return None
