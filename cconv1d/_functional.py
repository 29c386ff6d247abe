"""The public functions: what is checked, in which shape it goes to the kernels and back.

Every function turns its arrays into (batch, channels, positions), takes the geometry from
`_geometry`, allocates the result and hands all of it to the kernels of the dtype.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from math import prod
from typing import Any, Literal, NamedTuple, SupportsIndex, get_args, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _backend
from ._backend import MAPS, Kernels, kernels_for
from ._geometry import (
    MAX_SIZE,
    Geometry,
    IntLike,
    Padding,
    PaddingMode,
    Pads,
    integer,
    resolve,
    resolve_transposed,
)
from ._reference import is_bfloat16

__all__ = [
    "Gradients",
    "conv1d",
    "conv1d_backward",
    "conv1d_backward_input",
    "conv1d_backward_weight",
    "conv_transpose1d",
    "conv_transpose1d_backward",
    "show_config",
]

Array = NDArray[Any]
ndarray = np.ndarray


class Gradients(NamedTuple):
    """Gradients of a loss with respect to the arguments of a convolution.

    Attributes
    ----------
    input, weight, bias : ndarray or None
        Each in the shape of the argument that it belongs to, or None where it was not asked for.

    See Also
    --------
    conv1d_backward, conv_transpose1d_backward : What returns them, and takes arrays for them.

    Examples
    --------
    >>> from cconv1d import Gradients, conv1d_backward
    >>> dx, dw, db = conv1d_backward([1.0, 1.0], [1.0, 2.0, 3.0], [1.0, -1.0])
    >>> dw
    array([3., 5.])
    >>> conv1d_backward([1.0], [1.0, 2.0], [1.0, -1.0], needs=(False, False, True))
    Gradients(input=None, weight=None, bias=array([1.]))
    """

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
    alike = np.dtype(np.float16) if is_bfloat16(dtype) else dtype
    if not (
        integers or (array.dtype.kind in "iufc" and np.can_cast(array.dtype, alike, "same_kind"))
    ):
        raise TypeError(f"{function}: {name} holds {array.dtype}, which does not go into {dtype}")
    converted = array.astype(dtype)
    if integers and not np.array_equal(converted, array):
        raise ValueError(
            f"{function}: {name} holds numbers from {array.min()} to {array.max()}, which do not "
            f"all go into {dtype}"
        )
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
        if array.dtype.kind not in "iufc" and not is_bfloat16(array.dtype):
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


Layout = Literal["NCL", "NLC"]
LAYOUTS: tuple[str, ...] = get_args(Layout)

#: Work that a processor does in some 20 microseconds, of which the kernels' usual entry, with a
#: typed memoryview of each array, would be a part that counts.
SMALL_PRODUCTS = 2**20


class Plan(NamedTuple):
    """What a call comes to: the shapes of its arrays as the user has them, and the geometry.

    The names are those of `conv1d`; `conv_transpose1d` takes its `output` and returns its `input`.
    """

    input: Shape
    weight: Shape
    output: Shape
    bias: Shape
    geometry: Geometry
    groups: int
    each: bool  # sample has a weight of its own
    swapped: bool  # signals have their channels last
    small: bool  # see `_compute`


class Options(NamedTuple):
    """What a plan depends on besides the shapes, unchecked."""

    stride: object
    padding: object
    dilation: object
    groups: object
    padding_mode: object
    layout: object
    size: object  # what no array tells: the kernel size or the input length, or output_padding


def _remember(check: Callable[..., Plan]) -> Callable[..., Plan]:
    """Keep what `check` found for shapes and options: one convolution is called many times.

    Options other than plain integers, words and pairs of integers are checked every time: a list
    may not be a key, and a pair of floats would be found equal to one of integers. To compare
    types and values takes as long as a small convolution, so the last call with the same shapes is
    tried first: the same objects, if they cannot change, are the same options.
    """
    remembered = lru_cache(maxsize=1024)(check)
    last: dict[tuple[Shape | None, ...], tuple[Any, ...]] = {}

    def plan(
        shapes: tuple[Shape | None, ...],
        stride: object,
        padding: object,
        dilation: object,
        groups: object,
        padding_mode: object,
        layout: object,
        size: object = 0,
    ) -> Plan:
        found = last.get(shapes)
        if (
            found is not None
            and found[1] is stride
            and found[2] is padding
            and found[3] is dilation
            and found[4] is groups
            and found[5] is padding_mode
            and found[6] is layout
            and found[7] is size
        ):
            return found[0]  # type: ignore[no-any-return]
        options = Options(stride, padding, dilation, groups, padding_mode, layout, size)
        if (
            type(stride) is type(dilation) is type(groups) is type(size) is int
            and (
                type(padding) is int
                or type(padding) is str
                or (type(padding) is tuple and all(type(side) is int for side in padding))
            )
            and type(padding_mode) is type(layout) is str
        ):
            new = remembered(shapes, options)
            if len(last) >= 1024:
                last.clear()
            last[shapes] = new, *options
            return new
        return check(shapes, options)

    return plan


def _check_layout(function: str, layout: object) -> None:
    if not isinstance(layout, str) or layout not in LAYOUTS:
        kind = ValueError if isinstance(layout, str) else TypeError
        raise kind(f"{function}: layout must be 'NCL' or 'NLC', not {layout!r}")


def _batched(function: str, name: str, shape: Shape, layout: object) -> Shape:
    """The user's shape of a signal as (N, C, L)."""
    _check_layout(function, layout)
    if not 1 <= len(shape) <= 3:
        inner = "channels, length" if layout == "NCL" else "length, channels"
        raise ValueError(
            f"{function}: {name} must have shape (batch, {inner}), ({inner}) or (length,), "
            f"not {shape}"
        )
    return (1,) * (3 - len(shape)) + _swapped(shape, layout == "NLC")


def _swapped(shape: Shape, swapped: bool) -> Shape:
    """With the last two exchanged, if they are to be and there are two."""
    return (*shape[:-2], shape[-1], shape[-2]) if swapped and len(shape) > 1 else shape


def _weights(function: str, shape: Shape) -> Shape:
    """(k,), (K, C/groups, k) or (N, K, C/groups, k) as (K, C/groups, k)."""
    if len(shape) not in (1, 3, 4):
        channels = (
            "in channels, out channels / groups"
            if "transpose" in function
            else "out channels, in channels / groups"
        )
        raise ValueError(
            f"{function}: weight must have shape ({channels}, taps), (taps,) or, with one for each "
            f"sample, (batch, {channels}, taps), not {shape}"
        )
    if shape[-1] == 0:
        raise ValueError(f"{function}: weight must have at least 1 tap, but its shape is {shape}")
    if prod(max(size, 1) for size in shape) > MAX_SIZE:  # of one number, by strides of 0, say
        raise ValueError(
            f"{function}: weight must have at most 2**48 numbers, but its shape is {shape}"
        )
    return (1,) * (3 - len(shape)) + shape[-3:]


def _one_rank(function: str, name: str, shape: Shape, other_name: str, other: Shape) -> None:
    """Refuse a lone signal beside channels; two signals must agree about the batch, too.

    So must a signal and a weight for each sample.
    """
    if other_name == "weight" and len(other) == 4 and (len(shape) != 3 or shape[0] != other[0]):
        raise ValueError(
            f"{function}: a weight of shape {other} is one for each of {other[0]} samples, but "
            f"{name} has shape {shape}"
        )
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


def _check_channels(
    function: str, weight: Shape, groups: int, taken: int, in_channels: int
) -> None:
    if in_channels != taken:
        raise ValueError(
            f"{function}: a weight of shape {weight} with groups {groups} takes "
            f"{taken} input channels, but input has {in_channels}"
        )


def _check_bias(function: str, bias: Shape | None, expected: Shape) -> None:
    """Refuse a bias that is neither one for all samples nor, as the weight, one for each."""
    if bias is not None and bias != expected and bias != expected[-1:]:
        each = f" or {expected}" if len(expected) > 1 else ""
        raise ValueError(
            f"{function}: bias must have shape {expected[-1:]}{each}, one number for each output "
            f"channel, not {bias}"
        )


def _plan(
    axes: int,
    layout: object,
    x: Shape,
    w: Shape,
    outs: int,
    geometry: Geometry,
    groups: int,
    each: bool = False,
) -> Plan:
    """The plan for (N, C, L) and (K, C/groups, k), where the user's signals have so many axes."""
    y = x[0], outs, geometry.output_length
    swapped = layout == "NLC" and axes > 1
    samples = x[:1] if each else ()
    return Plan(
        _swapped(x, swapped)[3 - axes :],
        samples + w if axes > 1 else w[2:],
        _swapped(y, swapped)[3 - axes :],
        (*samples, outs),
        geometry,
        groups,
        each,
        swapped,
        prod(y) * prod(w[1:]) < SMALL_PRODUCTS,
    )


def _geometry(function: str, length: object, taps: object, options: Options) -> Geometry:
    stride, padding, dilation = options[:3]
    return resolve(function, length, taps, stride, padding, dilation, options.padding_mode)


def _plan_of(
    function: str,
    x: Shape,
    w: Shape,
    options: Options,
) -> Plan:
    """The plan for an input and a weight in the user's shapes."""
    x3, w3 = _batched(function, "input", x, options.layout), _weights(function, w)
    _one_rank(function, "input", x, "weight", w)
    geometry = _geometry(function, x3[2], w3[2], options)
    number = _check_groups(function, options.groups, input_channels=x3[1], output_channels=w3[0])
    _check_channels(function, w3, number, w3[1] * number, x3[1])
    return _plan(len(x), options.layout, x3, w3, w3[0], geometry, number, len(w) == 4)


def _plan_of_transpose(
    function: str,
    x: Shape,
    w: Shape,
    options: Options,
) -> Plan:
    """The plan of the `conv1d` of whose input the transposed convolution is the gradient."""
    x3, w3 = _batched(function, "input", x, options.layout), _weights(function, w)
    _one_rank(function, "input", x, "weight", w)
    if x3[2] == 0:
        raise ValueError(f"{function}: input must have at least 1 sample, but its shape is {x}")
    stride, padding, dilation = options[:3]
    geometry = resolve_transposed(function, x3[2], w3[2], stride, padding, options.size, dilation)
    number = _check_groups(function, options.groups, input_channels=x3[1])
    _check_channels(function, w3, number, w3[0], x3[1])
    y3 = x3[0], w3[1] * number, geometry.input_length
    plan = _plan(len(x), options.layout, y3, w3, w3[0], geometry, number, len(w) == 4)
    return plan._replace(bias=(*plan.bias[:-1], y3[1]))


def _check_grad_output(
    function: str, grad_output: Shape, expected: Shape, lengths: tuple[int, int]
) -> None:
    """Refuse a `grad_output` that has not the shape of the output; `lengths` of in- and output."""
    if grad_output != expected:
        raise ValueError(
            f"{function}: grad_output must have shape {expected}, not {grad_output}; "
            f"{lengths[1]} is the output length for input length {lengths[0]}"
        )


@_remember
def _plan_forward(
    shapes: tuple[Shape, Shape, Shape | None],
    options: Options,
) -> Plan:
    function = "conv1d"
    x, w, b = shapes
    plan = _plan_of(function, x, w, options)
    _check_bias(function, b, plan.bias)
    return plan


@_remember
def _plan_backward(
    shapes: tuple[Shape, Shape, Shape],
    options: Options,
) -> Plan:
    function = "conv1d_backward"
    dy, x, w = shapes
    plan = _plan_of(function, x, w, options)
    _batched(function, "grad_output", dy, options.layout)
    _one_rank(function, "grad_output", dy, "input", x)
    _check_grad_output(function, dy, plan.output, plan.geometry[:2])
    return plan


@_remember
def _plan_backward_input(
    shapes: tuple[Shape, Shape],
    options: Options,
) -> Plan:
    function = "conv1d_backward_input"
    dy, w = shapes
    dy3, w3 = _batched(function, "grad_output", dy, options.layout), _weights(function, w)
    _one_rank(function, "grad_output", dy, "weight", w)
    geometry = _geometry(function, options.size, w3[2], options)
    number = _check_groups(function, options.groups, output_channels=w3[0])
    x3 = dy3[0], number * w3[1], geometry.input_length
    plan = _plan(len(dy), options.layout, x3, w3, w3[0], geometry, number, len(w) == 4)
    _check_grad_output(function, dy, plan.output, plan.geometry[:2])
    return plan


@_remember
def _plan_backward_weight(
    shapes: tuple[Shape, Shape],
    options: Options,
) -> Plan:
    function = "conv1d_backward_weight"
    dy, x = shapes
    dy3 = _batched(function, "grad_output", dy, options.layout)
    x3 = _batched(function, "input", x, options.layout)
    _one_rank(function, "grad_output", dy, "input", x)
    taps = integer(function, "kernel_size", options.size, 1)
    geometry = _geometry(function, x3[2], taps, options)
    number = _check_groups(function, options.groups, input_channels=x3[1], output_channels=dy3[1])
    plan = _plan(
        len(x), options.layout, x3, (dy3[1], x3[1] // number, taps), dy3[1], geometry, number
    )
    _check_grad_output(function, dy, plan.output, plan.geometry[:2])
    return plan


@_remember
def _plan_transpose(
    shapes: tuple[Shape, Shape, Shape | None],
    options: Options,
) -> Plan:
    function = "conv_transpose1d"
    x, w, b = shapes
    plan = _plan_of_transpose(function, x, w, options)
    _check_bias(function, b, plan.bias)
    return plan


@_remember
def _plan_transpose_backward(
    shapes: tuple[Shape, Shape, Shape],
    options: Options,
) -> Plan:
    function = "conv_transpose1d_backward"
    dy, x, w = shapes
    plan = _plan_of_transpose(function, x, w, options)
    _batched(function, "grad_output", dy, options.layout)
    _one_rank(function, "grad_output", dy, "input", x)
    _check_grad_output(function, dy, plan.input, plan.geometry[1::-1])
    return plan


# --- results --------------------------------------------------------------------------------


def _overlap(one: Array, other: Array) -> bool:
    """Whether two arrays have memory in common, or might for all that can be told quickly."""
    if one.flags.owndata and other.flags.owndata:  # blocks that were allocated for them
        return one is other
    if not np.may_share_memory(one, other):  # a matter of their bounds
        return False
    try:
        return np.shares_memory(one, other, max_work=1000)  # type: ignore[arg-type]
    except np.exceptions.TooHardError:
        return True


def _overlaps_itself(array: Array) -> bool:
    """Whether two of its numbers may lie in the same place.

    That is never so for what slicing and exchanging axes make of an ordinary array: there, one
    step along an axis goes beyond all numbers that the axes of smaller steps reach.
    """
    reach = array.itemsize
    for step, count in sorted(zip(map(abs, array.strides), array.shape, strict=True)):
        if count > 1 and step < reach:
            return array.size > 0
        reach += step * (count - 1)
    return False


def _check_accumulate(function: str, accumulate: object) -> None:
    if not isinstance(accumulate, (bool, np.bool)):
        raise TypeError(f"{function}: accumulate must be True or False, not {accumulate!r}")


def _check_out(
    function: str,
    name: str,
    out: object,
    shape: Shape,
    dtype: np.dtype[Any],
    others: dict[str, Any],
) -> None:
    """Refuse what a result cannot be written to, such as memory of the `others`."""
    if not isinstance(out, np.ndarray):
        raise TypeError(f"{function}: {name} must be a NumPy array, not {type(out).__name__}")
    if out.dtype != dtype:
        raise TypeError(f"{function}: {name} must have dtype {dtype}, not {out.dtype}")
    if out.shape != shape:
        raise ValueError(f"{function}: {name} must have shape {shape}, not {out.shape}")
    if not out.flags.writeable:
        raise ValueError(f"{function}: {name} must be writeable, but it is read-only")
    if not out.flags.c_contiguous and _overlaps_itself(out):
        raise ValueError(
            f"{function}: {name} must not overlap itself in memory, but it has shape {shape} and "
            f"strides {out.strides} of items of {out.itemsize} bytes"
        )
    for other_name, other in others.items():
        if other is not None and _overlap(out, np.asarray(other)):
            raise ValueError(f"{function}: {name} must not overlap {other_name} in memory")


def _target(
    function: str,
    shape: Shape,
    dtype: np.dtype[Any],
    out: Array | None,
    accumulate: bool,
    arguments: dict[str, Any],
    at_once: bool,
) -> Array:
    """What a map is to fill, for `_deliver`: `out` if that can be filled at once, or a new array.

    The arguments are those that the user gave, of which `out` must not be a part.
    """
    _check_accumulate(function, accumulate)
    if out is None:
        if not accumulate:
            return _empty(function, shape, dtype)
        raise ValueError(f"{function}: accumulate needs out, the array to add to")
    _check_out(function, "out", out, shape, dtype, arguments)
    if accumulate or not at_once or not out.flags.aligned:
        return _empty(function, shape, dtype)
    return np.asarray(out)  # not a subclass, which may have shapes of its own


def _deliver(result: Array, out: Array, accumulate: bool) -> Array:
    """`out` with the result. Nothing here can fail: it is changed as a whole or not at all."""
    if result is out:
        return out
    plain = np.asarray(out)
    if accumulate:
        with np.errstate(all="ignore"):
            np.add(plain, result, out=plain)
    elif not np.may_share_memory(plain, result):
        np.copyto(plain, result)
    return out


# --- the maps -------------------------------------------------------------------------------

FORWARD, BACKWARD_INPUT, BACKWARD_WEIGHT, BACKWARD_BIAS = map(Kernels._fields.index, MAPS)


def _at_once(which: int, plan: Plan) -> bool:
    """Whether a map stores nothing before all that may fail is done.

    Memory may run out from one sample to the next, if they have weights of their own, and
    while what copies of samples receive is folded back.
    """
    return not plan.each and (which != BACKWARD_INPUT or plan.geometry.mode == 0)


def _compute(
    which: int, plan: Plan, first: Array, second: Any, bias: Array | None, out: Array
) -> None:
    """Fill `out` by one of the maps, with what the map has of a second operand and a bias.

    The second is an array, None, or a weight as `Kernels.pack` returns it.

    Small calls go to the kernels by an entry that is quicker at opening arrays. Samples with
    weights of their own are groups of one sample, in a view; where strides do not allow that,
    they are computed one after the other.
    """
    geometry, groups = plan.geometry, plan.groups
    if plan.swapped:  # the nests see strides only
        first = first.swapaxes(-1, -2)
        if which == BACKWARD_WEIGHT and second is not None:
            second = second.swapaxes(-1, -2)
        elif which != BACKWARD_BIAS:
            out = out.swapaxes(-1, -2)
    if plan.each:
        if out.size == 0:
            return
        samples = len(out)
        if bias is not None:
            bias = np.broadcast_to(bias, (samples, bias.shape[-1]))
        viewed = [first, out]
        if which == BACKWARD_WEIGHT and second is not None:  # elsewhere the second is a weight
            viewed.append(second)
        if not all(map(_joined, viewed)):
            plan = plan._replace(each=False, swapped=False)
            for n in range(samples):
                _compute(
                    which,
                    plan,
                    first[n],
                    None if second is None else second[n],
                    None if bias is None else bias[n],
                    out[n],
                )
            return
        groups *= samples
        first, out = _join(first), _join(out)
        second = None if second is None else _join(second)
        bias = None if bias is None else _join(bias)
    if plan.small and _backend.small(which, first, second, bias, out, geometry, groups):
        return
    kernel = kernels_for(out.dtype)[which]
    if bias is not None and not bias.flags.aligned:
        bias = bias.copy()
    first = _three(first)
    if second is None:
        kernel(first, out)
        return
    if isinstance(second, np.ndarray):
        second = _three(second)
    out = _three(out)
    if which == FORWARD:
        kernel(first, second, bias, out, geometry, groups)
    elif which == BACKWARD_INPUT:
        kernel(first, second, out, geometry, groups, bias)
    else:
        kernel(first, second, out, geometry, groups)


def _joined(array: Array) -> bool:
    """Whether the first two axes can become one without a copy."""
    (outer, inner), (far, near) = array.shape[:2], array.strides[:2]
    return outer == 1 or inner == 1 or bool(far == inner * near)


def _join(array: Array) -> Array:
    outer, inner, *others = array.shape
    return array.reshape(outer * inner, *others)


def _three(array: Array) -> Array:
    """With three axes, those that are left out in front; a copy of unaligned data."""
    if not array.flags.aligned:
        array = array.copy()
    return array if array.ndim == 3 else array.reshape((1,) * (3 - array.ndim) + array.shape)


class Task(NamedTuple):
    """One gradient: the map and what it takes, and the shape of the result."""

    which: int
    first: Array
    second: Any  # see `_compute`
    shape: Shape
    conjugate: bool = False  # the result


def _check_needs(function: str, needs: Sequence[bool]) -> Sequence[bool]:
    """Which gradients are needed, as three truth values."""
    if type(needs) is tuple and tuple(map(type, needs)) == (bool, bool, bool):  # as a rule
        return needs
    try:
        needed = list(needs)
        flags = all(isinstance(need, (bool, np.bool)) for need in needed)
    except TypeError:
        flags = False
    if not flags or len(needed) != 3:
        raise (ValueError if flags else TypeError)(
            f"{function}: needs must be three truth values, for input, weight and bias, "
            f"not {needs!r}"
        )
    return needed


def _gradients(
    function: str,
    plan: Plan,
    tasks: tuple[Task, Task, Task],
    needs: Sequence[bool],
    out: Sequence[Array | None] | None,
    accumulate: bool,
    **arguments: Any,
) -> Gradients:
    """The gradients that are needed, each in its `out`, if it has one."""
    needed = _check_needs(function, needs)
    dtype = tasks[0].first.dtype
    outs = _check_outs(function, tasks, needed, out, accumulate, dtype, arguments)

    # Memory may run out, and then every out must be as it was: what is computed last is the only
    # one that may be written to at once. The gradient of the input is the largest, as a rule.
    results: list[Array | None] = [None, None, None]
    for i in (2, 1, 0):
        if needed[i]:
            which, first, second, shape, conjugate = tasks[i]
            array = outs[i]
            if (
                array is not None
                and not accumulate
                and not any(needed[:i])
                and _at_once(which, plan)
                and array.flags.aligned
            ):
                result = np.asarray(array)
            else:
                result = _empty(function, shape, dtype)
            _compute(which, plan, first, second, None, result)
            if conjugate and dtype.kind == "c":
                np.conjugate(result, out=result)
            results[i] = result
    if out is None:
        return Gradients(*results)
    return Gradients(
        *(
            result if result is None or array is None else _deliver(result, array, accumulate)
            for result, array in zip(results, outs, strict=True)
        )
    )


def _check_outs(
    function: str,
    tasks: tuple[Task, Task, Task],
    needed: Sequence[bool],
    out: Sequence[Array | None] | None,
    accumulate: bool,
    dtype: np.dtype[Any],
    arguments: dict[str, Any],
) -> Sequence[Array | None]:
    """The arrays for the gradients, or None for each that is to be a new one."""
    if out is None and accumulate is False:
        return (None, None, None)
    _check_accumulate(function, accumulate)
    if out is None:
        out = (None, None, None)
    elif not isinstance(out, (tuple, list)) or len(out) != 3:
        listed = isinstance(out, (tuple, list))
        raise (ValueError if listed else TypeError)(
            f"{function}: out must be Gradients, three arrays or None for input, weight and bias, "
            f"not {f'{len(out)} values' if listed else type(out).__name__}"
        )
    for field, array, task, need in zip(Gradients._fields, out, tasks, needed, strict=True):
        name = f"out.{field}"
        if array is not None:
            if not need:
                raise ValueError(f"{function}: {name} is given, but needs is {needed!r}")
            _check_out(function, name, array, task.shape, dtype, arguments)
            arguments[name] = array
        elif need and accumulate:
            raise ValueError(f"{function}: accumulate needs {name}, the array to add to")
    return out


def conv1d(
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: IntLike = 1,
    padding: Padding = 0,
    dilation: IntLike = 1,
    groups: SupportsIndex = 1,
    *,
    padding_mode: PaddingMode = "zeros",
    layout: Layout = "NCL",
    out: Array | None = None,
    accumulate: bool = False,
) -> Array:
    """Cross-correlate signals with kernels: what neural networks call a convolution.

    With `input` continued beyond its ends as `padding_mode` says, g a group of channels, c and o
    an input and an output channel of that group, j a tap and p a position::

        y[n, g, o, p] = bias[g, o]
            + sum over c, j of weight[g, o, c, j] * input[n, g, c, p*stride + j*dilation - pad_left]

    Parameters
    ----------
    input : array_like, shape (N, C, L), (C, L) or (L,)
        N signals of C channels and L samples. Any strides; it is not modified.
    weight : array_like, shape (K, C // groups, k), or (k,) for an `input` of shape (L,)
        K kernels of k taps for each channel of their group. With shape (N, K, C // groups, k)
        each of the N samples has kernels of its own.
    bias : array_like, shape (K,), optional
        Added to every position of its output channel; or (N, K), for a weight of each sample.
    stride : int, optional
        Distance in samples between neighbouring outputs.
    padding : int or (int, int) or str, optional
        Samples beyond both ends, or on the left and on the right; or

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
    padding_mode : {"zeros", "reflect", "replicate", "circular"}, optional
        What the samples beyond the ends are: zeros; the samples before them in reverse order,
        without the last one (padding < L); the last one (L >= 1); those of the other end
        (padding <= L). No padded copy of `input` is made.
    layout : {"NCL", "NLC"}, optional
        "NLC": the last two axes of every signal are exchanged, (N, L, C) or (L, C), in `input`
        and in the result alike; the weight is the same.
    out : ndarray, optional
        Where the result is written: of its shape and dtype, writeable, and without memory in
        common with an argument.
    accumulate : bool, optional
        Whether the result is added to what `out` holds, once it is computed.

    Returns
    -------
    ndarray, shape (N, K, L_out), (K, L_out) or (L_out,)
        With the dtype of the arguments and L_out from `conv1d_output_length`; `out`, if given.

    Raises
    ------
    TypeError
        If the arrays do not have one numeric dtype, or a number is not an integer. Lists
        of numbers take the dtype of the arrays, or float64 when there is none. If `out` is
        no array of that dtype.
    ValueError
        If shapes do not fit each other, the dilated kernel is longer than the padded input,
        the input is too short for the padding mode, or `out` cannot take the result.
    MemoryError
        If there is no room for the result. Whatever the error, `out` and the arguments are
        as they were.

    See Also
    --------
    conv1d_backward : Its gradients.
    PreparedConv1d : The same for weights that are used many times.
    conv1d_output_length : How many positions it returns.
    conv_transpose1d : The same sum the other way, which makes signals longer.
    correlate : `numpy.correlate` along any axis, without channels.

    Notes
    -----
    Samples with kernels of their own are convolved together where the memory of samples and
    channels lies evenly, as it does in contiguous arrays with ``layout="NCL"``, and one after the
    other elsewhere. The bits are those of a call for each sample.

    Names, order and defaults are those of ``torch.nn.functional.conv1d``; "same" is what ONNX
    calls SAME_UPPER, "causal" what WaveNet [1]_ is made of. float32, float64,
    complex64 and complex128 are compiled; so are float16 and the bfloat16 of ml_dtypes, summed
    in float32 and rounded once. Integers (modulo 2**n) and extended precision are computed by
    NumPy. A NaN in one part of a complex sample or weight makes both parts of a result NaN.

    Compiled, the terms of a sum are added in blocks of 128, and then the blocks' sums [2]_: in the
    tests no result of float32 or float64 is off by more than 8 times the machine epsilon times
    the sum of the absolute values of its terms. The bits of a result depend neither on the
    number of threads nor on its place in the batch.

    References
    ----------
    .. [1] A. van den Oord et al., "WaveNet: a generative model for raw audio",
       arXiv:1609.03499, 2016.
    .. [2] N. J. Higham, "Accuracy and stability of numerical algorithms", 2nd edition, SIAM, 2002,
       chapter 4.

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
    >>> conv1d([1.0, 2.0, 3.0], [1.0, 0.0], padding=(2, 0), padding_mode="reflect")
    array([3., 2., 1., 2.])

    Where it cannot compute, it says why:

    >>> conv1d(ecg, kernels, bias=[0.0, 1.0])
    Traceback (most recent call last):
        ...
    ValueError: conv1d: bias must have shape (8,), one number for each output channel, not (2,)
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
    plan = _plan_forward(shapes, stride, padding, dilation, groups, padding_mode, layout)
    if out is None and accumulate is False:
        y = _empty(function, plan.output, x.dtype)
    else:
        given = {"input": input, "weight": weight, "bias": bias}
        once = _at_once(FORWARD, plan)
        y = _target(function, plan.output, x.dtype, out, accumulate, given, once)
    _compute(FORWARD, plan, x, w, b, y)
    return y if out is None else _deliver(y, out, accumulate)


def conv1d_backward(
    grad_output: ArrayLike,
    input: ArrayLike,
    weight: ArrayLike,
    stride: IntLike = 1,
    padding: Padding = 0,
    dilation: IntLike = 1,
    groups: SupportsIndex = 1,
    *,
    padding_mode: PaddingMode = "zeros",
    layout: Layout = "NCL",
    needs: Sequence[bool] = (True, True, True),
    out: Sequence[Array | None] | None = None,
    accumulate: bool = False,
) -> Gradients:
    """Gradients of a scalar loss with respect to the input, the weight and the bias of `conv1d`.

    Parameters
    ----------
    grad_output : array_like, shape (N, K, L_out), (K, L_out) or (L_out,)
        Derivatives of the loss with respect to each output of `conv1d`.
    input : array_like, shape (N, C, L), (C, L) or (L,)
        What `conv1d` was called with.
    weight : array_like, shape (K, C // groups, k), (k,) or (N, K, C // groups, k)
        What `conv1d` was called with.
    stride, padding, dilation, groups, padding_mode, layout
        As in `conv1d`.
    needs : sequence of three bool, optional
        Which gradients to compute: of input, weight and bias.
    out : Gradients or sequence of three, optional
        Where the gradients are written, each an array as `conv1d` takes it or None.
    accumulate : bool, optional
        Whether each gradient is added to what its `out` holds, once all are computed.

    Returns
    -------
    Gradients
        A named tuple (input, weight, bias), each in the shape of what it is the gradient
        of, bias as (K,), or (N, K) for a weight of each sample, and None where it is not
        needed; those of `out`, if given.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As `conv1d`; and ValueError if `grad_output` does not have the shape of its output, or
        `needs` or `out` not three items.

    See Also
    --------
    conv1d : What it differentiates.
    conv1d_backward_input, conv1d_backward_weight : One gradient alone, without the array that
        it does not depend on.

    Notes
    -----
    The gradient of the input is the 'full' convolution of `grad_output` with the weight;
    the gradient of the weight is the input correlated with `grad_output` [1]_. Complex data
    follow PyTorch's convention [2]_: weight and input enter conjugated.

    References
    ----------
    .. [1] Y. LeCun et al., "Backpropagation applied to handwritten zip code recognition",
       Neural Computation 1(4), 541-551, 1989.
    .. [2] PyTorch's documentation, "Autograd mechanics", section "Autograd for complex numbers".

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
    shapes = dy.shape, x.shape, w.shape
    plan = _plan_backward(shapes, stride, padding, dilation, groups, padding_mode, layout)
    tasks = (
        Task(BACKWARD_INPUT, dy, w, plan.input),
        Task(BACKWARD_WEIGHT, dy, x, plan.weight),
        Task(BACKWARD_BIAS, dy, None, plan.bias),
    )
    return _gradients(
        function,
        plan,
        tasks,
        needs,
        out,
        accumulate,
        grad_output=grad_output,
        input=input,
        weight=weight,
    )


def conv1d_backward_input(
    grad_output: ArrayLike,
    weight: ArrayLike,
    input_length: SupportsIndex,
    stride: IntLike = 1,
    padding: Padding = 0,
    dilation: IntLike = 1,
    groups: SupportsIndex = 1,
    *,
    padding_mode: PaddingMode = "zeros",
    layout: Layout = "NCL",
    out: Array | None = None,
    accumulate: bool = False,
) -> Array:
    """Gradient of a scalar loss with respect to the input of `conv1d`.

    ::

        grad_input[n, g, c, q] = sum over o, j and the p with p*stride + j*dilation - pad_left = q
            of weight[g, o, c, j] * grad_output[n, g, o, p]

    Parameters
    ----------
    grad_output : array_like, shape (N, K, L_out), (K, L_out) or (L_out,)
        Derivatives of the loss with respect to each output of `conv1d`.
    weight : array_like, shape (K, C // groups, k), (N, K, C // groups, k) or (k,)
        What `conv1d` was called with.
    input_length : int
        Number of samples of the input, which `grad_output` alone does not tell when
        ``stride > 1``.
    stride, padding, dilation, groups, padding_mode, layout, out, accumulate
        As in `conv1d`.

    Returns
    -------
    ndarray, shape (N, C, input_length), (C, input_length) or (input_length,)
        With the dtype of the arguments; `out`, if given.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As `conv1d`; and ValueError if `grad_output` does not have the shape of the output that
        `conv1d` has for `input_length`.

    See Also
    --------
    conv1d_backward : All gradients in one call.
    conv_transpose1d : The same sum with weights that are not conjugated, a bias, and a length
        of its own.

    Notes
    -----
    With the default options it is the 'full' convolution of `grad_output` with the weight. With a
    stride no zeros are inserted between the numbers of `grad_output`: each phase is a sum of
    its own.

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
        (dy.shape, w.shape), stride, padding, dilation, groups, padding_mode, layout, input_length
    )
    if out is None and accumulate is False:
        dx = _empty(function, plan.input, dy.dtype)
    else:
        given = {"grad_output": grad_output, "weight": weight}
        once = _at_once(BACKWARD_INPUT, plan)
        dx = _target(function, plan.input, dy.dtype, out, accumulate, given, once)
    _compute(BACKWARD_INPUT, plan, dy, w, None, dx)
    return dx if out is None else _deliver(dx, out, accumulate)


def conv1d_backward_weight(
    grad_output: ArrayLike,
    input: ArrayLike,
    kernel_size: SupportsIndex,
    stride: IntLike = 1,
    padding: Padding = 0,
    dilation: IntLike = 1,
    groups: SupportsIndex = 1,
    *,
    padding_mode: PaddingMode = "zeros",
    layout: Layout = "NCL",
    out: Array | None = None,
    accumulate: bool = False,
    per_sample: bool = False,
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
    stride, padding, dilation, groups, padding_mode, layout, out, accumulate
        As in `conv1d`.
    per_sample : bool, optional
        Whether the gradient is that of each sample by itself, not their sum: that of a weight
        for each sample, and of interest where the weight is the same for all.

    Returns
    -------
    ndarray, shape (K, C // groups, kernel_size), or (kernel_size,) for 1-D arrays
        With `per_sample` (N, K, C // groups, kernel_size); with the dtype of the arguments;
        `out`, if given.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As `conv1d`; and ValueError if `grad_output` does not have the shape of the output that
        `conv1d` has for `kernel_size`.

    See Also
    --------
    conv1d_backward : All gradients in one call.

    Notes
    -----
    With the default options it is the input correlated with `grad_output`.

    Examples
    --------
    >>> from cconv1d import conv1d_backward_weight
    >>> conv1d_backward_weight([1.0, 10.0, 100.0], [1.0, 2.0, 3.0, 4.0], kernel_size=2)
    array([321., 432.])
    >>> x, dy = [[[1.0, 2.0, 3.0]], [[4.0, 5.0, 6.0]]], [[[1.0, 10.0]], [[1.0, 10.0]]]
    >>> conv1d_backward_weight(dy, x, kernel_size=2, per_sample=True).squeeze()
    array([[21., 32.],
           [54., 65.]])
    """
    function = "conv1d_backward_weight"
    dy: Any = grad_output
    x: Any = input
    if not _ready(dy, x):
        dy, x = _arrays(function, grad_output=dy, input=x)
    plan = _plan_backward_weight(
        (dy.shape, x.shape), stride, padding, dilation, groups, padding_mode, layout, kernel_size
    )
    if per_sample is not False:
        if per_sample is not True:
            raise TypeError(f"{function}: per_sample must be True or False, not {per_sample!r}")
        if x.ndim != 3:
            raise ValueError(
                f"{function}: per_sample needs samples, but input has shape {x.shape}, "
                f"without a batch"
            )
        plan = plan._replace(weight=(len(x), *plan.weight), each=True)
    if out is None and accumulate is False:
        dw = _empty(function, plan.weight, dy.dtype)
    else:
        given = {"grad_output": grad_output, "input": input}
        once = _at_once(BACKWARD_WEIGHT, plan)
        dw = _target(function, plan.weight, dy.dtype, out, accumulate, given, once)
    _compute(BACKWARD_WEIGHT, plan, dy, x, None, dw)
    return dw if out is None else _deliver(dw, out, accumulate)


def conv_transpose1d(
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: IntLike = 1,
    padding: Pads = 0,
    output_padding: IntLike = 0,
    groups: SupportsIndex = 1,
    dilation: IntLike = 1,
    *,
    layout: Layout = "NCL",
    out: Array | None = None,
    accumulate: bool = False,
) -> Array:
    """Spread every sample over a kernel's taps: a `conv1d` the other way round.

    Which samples meet is as in the `conv1d` that takes the result and returns something as long
    as `input`; of that, this is the gradient with respect to its input, plus a bias::

        y[n, g, o, q] = bias[g, o]
            + sum over c, j and the p with p*stride + j*dilation - pad_left = q
            of weight[g, c, o, j] * input[n, g, c, p]

    Parameters
    ----------
    input : array_like, shape (N, C, L), (C, L) or (L,)
        N signals of C channels and L samples, at least one. Any strides; it is not modified.
    weight : array_like, shape (C, K // groups, k), or (k,) for an `input` of shape (L,)
        For each input channel the kernels of k taps that lead to the outputs of its group.
        With shape (N, C, K // groups, k) each of the N samples has kernels of its own.
    bias : array_like, shape (K,), optional
        Added to every position of its output channel; or (N, K), for a weight of each sample.
    stride : int, optional
        Distance in outputs between what neighbouring samples are spread over.
    padding : int or (int, int), optional
        How many outputs are left out on both sides, or on the left and on the right.
    output_padding : int, optional
        How many outputs there are more on the right, fewer than `stride` or `dilation`: the
        lengths that one `conv1d` with this stride makes equal.
    groups : int, optional
        Number of groups that the channels are divided into.
    dilation : int, optional
        Distance in outputs between neighbouring taps.
    layout, out, accumulate
        As in `conv1d`.

    Returns
    -------
    ndarray, shape (N, K, L_out), (K, L_out) or (L_out,)
        With the dtype of the arguments and L_out from `conv_transpose1d_output_length`; `out`, if
        given.

    Raises
    ------
    TypeError
        As `conv1d`.
    ValueError
        If shapes do not fit each other, `output_padding` is too large, the padding leaves no
        output, or `out` cannot take the result.
    MemoryError
        If there is no room for the result. Whatever the error, `out` and the arguments are
        as they were.

    See Also
    --------
    conv_transpose1d_backward : Its gradients.
    conv_transpose1d_output_length : How many positions it returns.
    conv1d_backward_input : The same sum with conjugated weights, for a given length.

    Notes
    -----
    Names, order and defaults are those of ``torch.nn.functional.conv_transpose1d``, in which
    `groups` comes before `dilation`. Complex weights enter as they are, not conjugated.
    How its lengths come about is drawn in [1]_; no zeros are inserted to compute it.

    References
    ----------
    .. [1] V. Dumoulin and F. Visin, "A guide to convolution arithmetic for deep learning",
       arXiv:1603.07285, 2016, chapter 4.

    Examples
    --------
    >>> import numpy as np
    >>> from cconv1d import conv_transpose1d
    >>> conv_transpose1d([1.0, 10.0, 100.0], [1.0, 2.0])
    array([  1.,  12., 120., 200.])
    >>> conv_transpose1d([1.0, 10.0, 100.0], [1.0, 2.0], stride=2)
    array([  1.,   2.,  10.,  20., 100., 200.])
    >>> coarse, kernels = np.ones((2, 8, 100)), np.ones((8, 3, 4))
    >>> conv_transpose1d(coarse, kernels, stride=2, padding=1).shape
    (2, 3, 200)
    """
    function = "conv_transpose1d"
    x: Any = input
    w: Any = weight
    b: Any = bias
    if not (_ready(x, w) and (b is None or _ready(w, b))):
        if b is None:
            x, w = _arrays(function, input=x, weight=w)
        else:
            x, w, b = _arrays(function, input=x, weight=w, bias=b)
    shapes = x.shape, w.shape, None if b is None else b.shape
    plan = _plan_transpose(
        shapes, stride, padding, dilation, groups, "zeros", layout, output_padding
    )
    if out is None and accumulate is False:
        y = _empty(function, plan.input, x.dtype)
    else:
        given = {"input": input, "weight": weight, "bias": bias}
        once = _at_once(BACKWARD_INPUT, plan)
        y = _target(function, plan.input, x.dtype, out, accumulate, given, once)
    _compute(BACKWARD_INPUT, plan, x, w.conj(), b, y)  # the map conjugates, the sum does not
    return y if out is None else _deliver(y, out, accumulate)


def conv_transpose1d_backward(
    grad_output: ArrayLike,
    input: ArrayLike,
    weight: ArrayLike,
    stride: IntLike = 1,
    padding: Pads = 0,
    output_padding: IntLike = 0,
    groups: SupportsIndex = 1,
    dilation: IntLike = 1,
    *,
    layout: Layout = "NCL",
    needs: Sequence[bool] = (True, True, True),
    out: Sequence[Array | None] | None = None,
    accumulate: bool = False,
) -> Gradients:
    """Gradients of a scalar loss with respect to the arguments of `conv_transpose1d`.

    Parameters
    ----------
    grad_output : array_like, shape (N, K, L_out), (K, L_out) or (L_out,)
        Derivatives of the loss with respect to each output of `conv_transpose1d`.
    input : array_like, shape (N, C, L), (C, L) or (L,)
        What `conv_transpose1d` was called with.
    weight : array_like, shape (C, K // groups, k), (k,) or (N, C, K // groups, k)
        What `conv_transpose1d` was called with.
    stride, padding, output_padding, groups, dilation, layout
        As in `conv_transpose1d`.
    needs, out, accumulate
        As in `conv1d_backward`.

    Returns
    -------
    Gradients
        A named tuple (input, weight, bias), each in the shape of what it is the gradient
        of, bias as (K,), or (N, K) for a weight of each sample, and None where it is not
        needed; those of `out`, if given.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As `conv_transpose1d`; and ValueError if `grad_output` does not have the shape of its
        output, or `needs` or `out` not three items.

    See Also
    --------
    conv_transpose1d : What it differentiates.
    conv1d_backward : The gradients of `conv1d`.

    Notes
    -----
    The gradient of the input is `conv1d` of `grad_output`; that of the weight is the weight
    gradient of `conv1d` with `input` and `grad_output` exchanged. Complex data follow
    PyTorch's convention, as in `conv1d_backward`: weight and input enter conjugated.

    Examples
    --------
    >>> from cconv1d import conv_transpose1d_backward
    >>> grads = conv_transpose1d_backward([1.0, 10.0, 100.0], [1.0, 2.0], [3.0, 4.0])
    >>> grads.input
    array([ 43., 430.])
    >>> grads.weight
    array([ 21., 210.])
    >>> grads.bias
    array([111.])
    """
    function = "conv_transpose1d_backward"
    dy: Any = grad_output
    x: Any = input
    w: Any = weight
    if not (_ready(dy, x) and _ready(x, w)):
        dy, x, w = _arrays(function, grad_output=dy, input=x, weight=w)
    plan = _plan_transpose_backward(
        (dy.shape, x.shape, w.shape),
        stride,
        padding,
        dilation,
        groups,
        "zeros",
        layout,
        output_padding,
    )
    tasks = (
        Task(FORWARD, dy, w.conj(), plan.output),
        Task(BACKWARD_WEIGHT, x, dy, plan.weight, conjugate=True),
        Task(BACKWARD_BIAS, dy, None, plan.bias),
    )
    return _gradients(
        function,
        plan,
        tasks,
        needs,
        out,
        accumulate,
        grad_output=grad_output,
        input=input,
        weight=weight,
    )


@overload
def show_config(mode: Literal["stdout"] = "stdout") -> None: ...
@overload
def show_config(mode: Literal["dicts"]) -> dict[str, Any]: ...
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
    TypeError
        If `mode` is not a string.
    ValueError
        If it is another word.

    See Also
    --------
    get_num_threads : The number of threads alone.

    Examples
    --------
    >>> import cconv1d
    >>> cconv1d.show_config("dicts")["version"] == cconv1d.__version__
    True
    """
    if not isinstance(mode, str) or mode not in ("stdout", "dicts"):
        kind = ValueError if isinstance(mode, str) else TypeError
        raise kind(f"show_config: mode must be 'stdout' or 'dicts', not {mode!r}")
    facts = _backend.describe()
    if mode == "dicts":
        return facts
    for name, value in facts.items():
        if isinstance(value, list):
            value = ", ".join(value)
        if value not in (None, ""):
            print(f"{name.replace('_', ' ')}: {value}")
    return None
