"""Calls of the usual kind: ordinary arrays, and shapes and options that have been checked before.

`UsualCalls` is the twin of the class of that name in the extension (src/usual_calls.pxi), which
takes its place where it can be loaded: what the one returns the other returns, bit for bit, and
None where there is anything to check, to convert or to refuse. Then the function goes the long way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import _backend
from ._arrays import Array, is_bfloat16
from ._execute import Gradients, compute, may_fail_midway
from ._kernels import BACKWARD_BIAS, BACKWARD_INPUT, BACKWARD_WEIGHT, FORWARD
from ._plans import Plan, Shape

#: What an array is to the `conv1d` of a plan, by its place.
ROLES = "xwyb"

#: Plans of one function that are known at a time.
MAX_KNOWN = 1024

#: dtypes with compiled maps, besides bfloat16.
COMPILED = frozenset(map(np.dtype, "efdFD"))


def is_usual(array: Any, dtype: np.dtype[Any]) -> bool:
    """Whether it is an ndarray of this dtype (the same object) that can be read where it is."""
    return (
        type(array) is np.ndarray
        and array.dtype is dtype
        and 1 <= array.ndim <= 3
        and array.flags.aligned
    )


def begins_usual(first: Any) -> bool:
    """Whether the first array is one whose dtype has compiled maps."""
    return type(first) is np.ndarray and (first.dtype in COMPILED or is_bfloat16(first.dtype))


def same_option(known: object, given: object) -> bool:
    """Whether they are the same: integers, words and pairs of integers, none of them a subclass."""
    if known is given:
        return True
    if type(known) is not type(given):
        return False
    if isinstance(known, tuple) and isinstance(given, tuple):
        return len(known) == len(given) == 2 and all(map(same_option, known, given))
    return type(known) in (int, str) and known == given


def may_overlap(one: Array, other: Array) -> bool:
    """Whether the bounds of two arrays do."""
    return np.may_share_memory(one, other)


class UsualCalls:
    """The calls of one public function that need no look at their arguments."""

    def __init__(
        self, which_map: int, role: int, transposed: bool, result_type: type[Gradients]
    ) -> None:
        self._known: dict[tuple[Shape, ...], tuple[Plan, tuple[object, ...]]] = {}
        self._map, self._role, self._transposed = which_map, role, transposed
        self._result_type = result_type

    def learn(
        self, shapes: tuple[Shape | None, ...], options: tuple[object, ...], plan: Plan
    ) -> None:
        """Remember a plan. Shapes of arrays that are not there are None."""
        if plan.is_small and not plan.per_sample:
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            self._known[tuple(shape for shape in shapes if shape is not None)] = plan, options

    def _find(self, arrays: Sequence[Array | None], options: tuple[object, ...]) -> Plan | None:
        if not begins_usual(arrays[0]):
            return None
        there = [array for array in arrays if array is not None]
        if not all(is_usual(array, there[0].dtype) for array in there):
            return None
        plan, known = self._known.get(tuple(array.shape for array in there), (None, ()))
        same = len(known) == len(options) and all(map(same_option, known, options))
        return plan if same else None

    def one(
        self,
        first: Any,
        second: Any,
        bias: Any,
        packed: Any,
        options: tuple[object, ...],
        out: Any,
        held: Array | None = None,
    ) -> Array | None:
        """The result of the map, in `out` if that is not None; or None if this is no usual call.

        `packed` is None or what to take in place of the weight `second`.

        `held`, of forward alone, stands in place of zeros on the left; then it holds the last
        samples: of a signal that comes chunk by chunk those before the next. It is an array of the
        caller's own with the dtype and, but for their number, the shape of `first`; there are at
        least as many samples as the padding has, and no more than follow.
        """
        arrays = first, second, bias
        plan = self._find(arrays, options)
        if plan is None:
            return None
        if out is None:
            out = np.empty(plan[self._role], first.dtype)
        elif not self._can_fill(out, arrays, plan):
            return None
        weight = second if packed is None else packed
        if held is None:
            compute(self._map, plan, first, weight, bias, out, self._transposed)
            return out  # type: ignore[no-any-return]
        axis = -2 if plan.channels_last else -1
        row = np.concatenate((held, first), axis=axis)
        geometry = plan.geometry._replace(
            input_length=row.shape[axis], pad_left=plan.geometry.pad_left - held.shape[axis]
        )
        compute(self._map, plan._replace(geometry=geometry), row, weight, bias, out)
        held[...] = row.swapaxes(axis, 0)[first.shape[axis] :].swapaxes(0, axis)
        return out  # type: ignore[no-any-return]

    def _can_fill(self, out: Any, arrays: Sequence[Any], plan: Plan) -> bool:
        """Whether a result may be stored in `out` while the arguments are read."""
        return (
            is_usual(out, arrays[0].dtype)
            and out.flags.writeable
            and out.flags.c_contiguous
            and out.shape == plan[self._role]
            and not any(array is not None and may_overlap(out, array) for array in arrays)
            and not may_fail_midway(self._map, plan)
        )

    def gradients(
        self,
        dy: Any,
        x: Any,
        w: Any,
        packed: Any,
        options: tuple[object, ...],
        needs: Any,
    ) -> Gradients | None:
        """The gradients that are needed, or None if this is no usual call.

        `packed` is None or what to take in place of the weight in the gradient of the input.
        """
        if type(needs) is not tuple or tuple(map(type, needs)) != (bool, bool, bool):
            return None
        plan = self._find((dy, x, w), options)
        if plan is None:
            return None
        dx = dw = db = None
        transposed = self._transposed
        weight = w if packed is None else packed
        if needs[0]:
            dx = np.empty(plan.y_shape if transposed else plan.x_shape, dy.dtype)
            compute(
                FORWARD if transposed else BACKWARD_INPUT, plan, dy, weight, None, dx, transposed
            )
        if needs[1]:
            dw = np.empty(plan.w_shape, dy.dtype)
            pair = (x, dy) if transposed else (dy, x)
            compute(BACKWARD_WEIGHT, plan, *pair, None, dw, transposed)
        if needs[2]:
            db = np.empty(plan.b_shape, dy.dtype)
            compute(BACKWARD_BIAS, plan, dy, None, None, db)
        return self._result_type(dx, dw, db)

    def slide(self, a: Any, v: Any, mode: object, reverse: bool) -> Array | None:
        """`convolve` of two 1-D arrays or, with `reverse`, `correlate`; or None."""
        plan = self._find((a, v), (mode,))
        if plan is None:
            return None
        longer, shorter = a, v
        if len(v) > len(a):
            longer, shorter = v, a
        if reverse:
            if shorter is a and a.dtype.kind == "c":
                return None  # v would be a signal that is conjugated
            longer, shorter = (x[::-1] if x is v else x for x in (longer, shorter))
        y = np.empty(plan.x_shape, a.dtype)
        compute(BACKWARD_INPUT, plan, longer, shorter, None, y, self._transposed)
        return y


def usual_calls(which_map: int, role: str, transposed: bool = False) -> UsualCalls:
    """Those of a function that computes a map, compiled where that can be; it knows none yet.

    See `UsualCalls` of the extension for the arguments.
    """
    make: type[UsualCalls] = UsualCalls if _backend.core is None else _backend.core.UsualCalls
    return make(which_map, ROLES.index(role), transposed, Gradients)
