"""A plan and its arrays become a result: allocation, ``out=``, one map, three gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ._arrays import Array
from ._backend import kernels_for
from ._kernels import BACKWARD_BIAS, BACKWARD_INPUT, BACKWARD_WEIGHT, FORWARD
from ._methods import settled
from ._plans import Plan, Shape


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


def empty(function: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    try:
        return np.empty(shape, dtype)
    except ValueError:
        raise ValueError(
            f"{function}: a result of shape {shape} and dtype {dtype} is larger than the "
            f"address space"
        ) from None


def overlap(one: Array, other: Array) -> bool:
    """Whether two arrays have memory in common, or might for all that can be told quickly."""
    if one.flags.owndata and other.flags.owndata:  # blocks that were allocated for them
        return one is other
    if not np.may_share_memory(one, other):  # a matter of their bounds
        return False
    try:
        return np.shares_memory(one, other, max_work=1000)  # type: ignore[arg-type]
    except np.exceptions.TooHardError:
        return True


def overlaps_itself(array: Array) -> bool:
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


def check_accumulate(function: str, accumulate: object) -> None:
    if not isinstance(accumulate, (bool, np.bool)):
        raise TypeError(f"{function}: accumulate must be True or False, not {accumulate!r}")


def check_out(
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
    if not out.flags.c_contiguous and overlaps_itself(out):
        raise ValueError(
            f"{function}: {name} must not overlap itself in memory, but it has shape {shape} and "
            f"strides {out.strides} of items of {out.itemsize} bytes"
        )
    for other_name, other in others.items():
        if other is not None and overlap(out, np.asarray(other)):
            raise ValueError(f"{function}: {name} must not overlap {other_name} in memory")


def prepare_out(
    function: str,
    shape: Shape,
    dtype: np.dtype[Any],
    out: Array | None,
    accumulate: bool,
    arguments: dict[str, Any],
    by_a_copy: bool,
) -> Array:
    """What a map is to fill, for `finish_out`: `out` if that may be filled at once, or a new array.

    The arguments are those that the user gave, of which `out` must not be a part.
    """
    check_accumulate(function, accumulate)
    if out is None:
        if not accumulate:
            return empty(function, shape, dtype)
        raise ValueError(f"{function}: accumulate needs out, the array to add to")
    check_out(function, "out", out, shape, dtype, arguments)
    if accumulate or by_a_copy or not out.flags.aligned:
        return empty(function, shape, dtype)
    return np.asarray(out)  # not a subclass, which may have shapes of its own


def finish_out(result: Array, out: Array, accumulate: bool) -> Array:
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


def may_fail_midway(which_map: int, plan: Plan) -> bool:
    """Whether a map may run out of memory when it has stored some of its results.

    That is from one sample to the next, if they have weights of their own, and while the gradients
    of copies of samples are added to those of the samples.
    """
    return plan.per_sample or (which_map == BACKWARD_INPUT and plan.geometry.mode != 0)


def compute(
    which_map: int,
    plan: Plan,
    first: Array,
    second: Any,
    bias: Array | None,
    out: Array,
    transposed: bool = False,
) -> None:
    """Fill `out` by one of the maps, with what the map has of a second operand and a bias.

    The second is an array, None, or a weight as `Kernels.pack` returns it. A transposed
    convolution and its gradients conjugate weights where `conv1d` and its gradients do not, and
    the reverse.

    Samples with weights of their own are groups of one sample, in a view; where strides do not
    allow that, they are computed one after the other.
    """
    geometry, groups = plan.geometry, plan.groups
    if plan.channels_last:  # the nests see strides only
        first = first.swapaxes(-1, -2)
        if which_map == BACKWARD_WEIGHT and second is not None:
            second = second.swapaxes(-1, -2)
        elif which_map != BACKWARD_BIAS:
            out = out.swapaxes(-1, -2)
    if plan.per_sample:
        if out.size == 0:
            return
        samples = len(out)
        if bias is not None:
            bias = np.broadcast_to(bias, (samples, bias.shape[-1]))
        viewed = [first, out]
        if which_map == BACKWARD_WEIGHT and second is not None:  # elsewhere the second is a weight
            viewed.append(second)
        if not all(map(can_merge_batch, viewed)):
            plan = plan._replace(per_sample=False, channels_last=False)
            for n in range(samples):
                compute(
                    which_map,
                    plan,
                    first[n],
                    None if second is None else second[n],
                    None if bias is None else bias[n],
                    out[n],
                    transposed,
                )
            return
        groups *= samples
        first, out = merge_batch(first), merge_batch(out)
        second = None if second is None else merge_batch(second)
        bias = None if bias is None else merge_batch(bias)
    kernel = kernels_for(out.dtype)[which_map]
    if bias is not None and not bias.flags.aligned:
        bias = bias.copy()
    first = as_3d(first)
    if second is None:
        kernel(first, out)
        return
    if isinstance(second, np.ndarray):
        second = as_3d(second)
    out = as_3d(out)
    options = {"conjugate": True} if transposed and out.dtype.kind == "c" else {}
    if which_map == FORWARD:
        kernel(first, second, bias, out, geometry, groups, **options)
    elif which_map == BACKWARD_INPUT:
        kernel(first, second, out, geometry, groups, bias, **options)
    else:
        kernel(first, second, out, geometry, groups, **options)


def can_merge_batch(array: Array) -> bool:
    """Whether the first two axes can become one without a copy."""
    (outer, inner), (far, near) = array.shape[:2], array.strides[:2]
    return outer == 1 or inner == 1 or bool(far == inner * near)


def merge_batch(array: Array) -> Array:
    outer, inner, *others = array.shape
    return array.reshape(outer * inner, *others)


def as_3d(array: Array) -> Array:
    """With three axes, those that are left out in front; a copy of unaligned data."""
    if not array.flags.aligned:
        array = array.copy()
    return array if array.ndim == 3 else array.reshape((1,) * (3 - array.ndim) + array.shape)


def one(
    function: str,
    which_map: int,
    plan: Plan,
    shape: Shape,
    operands: tuple[Array, Any, Array | None],
    out: Array | None,
    accumulate: bool,
    given: dict[str, Any],
    transposed: bool = False,
) -> Array:
    """The result of one map: a new array, or `out`, which is changed as a whole or not at all.

    Of the operands (the first, the second and the bias, see `compute`) the first has the dtype of
    the result; `given` are the arguments as the user gave them, by name.
    """
    dtype = operands[0].dtype
    if plan.geometry.method:
        plan = settled(function, plan, dtype)
    if out is None and accumulate is False:
        result = empty(function, shape, dtype)
    else:
        by_a_copy = may_fail_midway(which_map, plan)
        result = prepare_out(function, shape, dtype, out, accumulate, given, by_a_copy)
    compute(which_map, plan, *operands, result, transposed)
    return result if out is None else finish_out(result, out, accumulate)


class GradientTask(NamedTuple):
    """One gradient: the map and what it takes, and the shape of the result."""

    which_map: int
    first: Array
    second: Any  # see `compute`
    shape: Shape
    transposed: bool = False  # see `compute`


def check_needs(function: str, needs: Sequence[bool]) -> Sequence[bool]:
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


def gradients(
    function: str,
    plan: Plan,
    tasks: tuple[GradientTask, GradientTask, GradientTask],
    needs: Sequence[bool],
    out: Sequence[Array | None] | None,
    accumulate: bool,
    **arguments: Any,
) -> Gradients:
    """The gradients that are needed, each in its `out`, if it has one."""
    needed = check_needs(function, needs)
    dtype = tasks[0].first.dtype
    if plan.geometry.method:
        plan = settled(function, plan, dtype)
    outs = check_outs(function, tasks, needed, out, accumulate, dtype, arguments)

    # Memory may run out, and then every out must be as it was: what is computed last is the only
    # one that may be written to at once. The gradient of the input is the largest, as a rule.
    results: list[Array | None] = [None, None, None]
    for i in (2, 1, 0):
        if needed[i]:
            which_map, first, second, shape, transposed = tasks[i]
            array = outs[i]
            if (
                array is not None
                and not accumulate
                and not any(needed[:i])
                and not may_fail_midway(which_map, plan)
                and array.flags.aligned
            ):
                result = np.asarray(array)
            else:
                result = empty(function, shape, dtype)
            compute(which_map, plan, first, second, None, result, transposed)
            results[i] = result
    if out is None:
        return Gradients(*results)
    return Gradients(
        *(
            result if result is None or array is None else finish_out(result, array, accumulate)
            for result, array in zip(results, outs, strict=True)
        )
    )


def check_outs(
    function: str,
    tasks: tuple[GradientTask, GradientTask, GradientTask],
    needed: Sequence[bool],
    out: Sequence[Array | None] | None,
    accumulate: bool,
    dtype: np.dtype[Any],
    arguments: dict[str, Any],
) -> Sequence[Array | None]:
    """The arrays for the gradients, or None for each that is to be a new one."""
    if out is None and accumulate is False:
        return (None, None, None)
    check_accumulate(function, accumulate)
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
            check_out(function, name, array, task.shape, dtype, arguments)
            arguments[name] = array
        elif need and accumulate:
            raise ValueError(f"{function}: accumulate needs {name}, the array to add to")
    return out
