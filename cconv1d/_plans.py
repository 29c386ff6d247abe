"""Shapes and options as a plan: what is checked once and remembered."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from math import prod
from typing import Any, Literal, NamedTuple, Protocol, TypeVar, get_args

from ._geometry import (
    AUTO_NUMBER,
    DIRECT,
    MAX_SIZE,
    Geometry,
    integer,
    method_number,
    resolve,
    resolve_transposed,
)

Shape = tuple[int, ...]

Layout = Literal["NCL", "NLC"]
LAYOUTS: tuple[str, ...] = get_args(Layout)

#: Work that a processor does in some 20 microseconds.
SMALL_PRODUCTS = 2**20

#: Work that it does in some 200, of which the long way through the shim would be a hundredth.
USUAL_PRODUCTS = 2**24


class Plan(NamedTuple):
    """What a call comes to: the shapes of its arrays as the user has them, and the geometry.

    The roles are those of `conv1d`, also in the plan of a transposed convolution, which takes y
    and returns x.
    """

    x_shape: Shape
    w_shape: Shape
    y_shape: Shape
    b_shape: Shape
    geometry: Geometry
    groups: int
    per_sample: bool  # one weight for each sample
    channels_last: bool  # in memory, and in the user's shapes
    products: int  # multiply-adds of a map

    @property
    def is_small(self) -> bool:
        """Whether the way through the shim counts; see _usual.py."""
        return self.products < USUAL_PRODUCTS


class Options(NamedTuple):
    """What a plan depends on besides the shapes, unchecked."""

    stride: object
    padding: object
    dilation: object
    groups: object
    padding_mode: object
    layout: object
    size: object  # what no array tells: the kernel size or the input length, or output_padding
    method: object


class Learner(Protocol):
    """What wants to know of plans: `_usual.UsualCalls`, which is above this module."""

    def learn(
        self, shapes: tuple[Shape | None, ...], options: tuple[object, ...], plan: Plan
    ) -> None: ...


AnyLearner = TypeVar("AnyLearner", bound=Learner)


class Planner:
    """The plans of one public function, which are remembered: one convolution is called many times.

    Options other than plain integers, words and pairs of integers are checked every time: a list
    may not be a key, and a pair of floats would be found equal to one of integers.
    """

    __slots__ = ("_check", "_learner", "_remembered", "function")

    def __init__(self, function: str, check: Callable[[str, Any, Options], Plan]) -> None:
        self.function = function
        self._check = check
        self._remembered = lru_cache(maxsize=1024)(partial(check, function))
        self._learner: Learner | None = None

    def tells(self, learner: AnyLearner) -> AnyLearner:
        """Let it learn every plan that is remembered."""
        self._learner = learner
        return learner

    def __call__(
        self,
        shapes: tuple[Shape | None, ...],
        stride: object,
        padding: object,
        dilation: object,
        groups: object,
        padding_mode: object,
        layout: object,
        size: object = 0,
        method: object = DIRECT,
    ) -> Plan:
        options = Options(stride, padding, dilation, groups, padding_mode, layout, size, method)
        if not (
            type(stride) is type(dilation) is type(groups) is type(size) is int
            and (
                type(padding) is int
                or type(padding) is str
                or (type(padding) is tuple and all(type(side) is int for side in padding))
            )
            and type(padding_mode) is type(layout) is type(method) is str
        ):
            return self._check(self.function, shapes, options)
        plan = self._remembered(shapes, options)
        if self._learner is not None and not plan.geometry.method:
            self._learner.learn(shapes, options[:-1], plan)
        return plan


def check_layout(function: str, layout: object) -> None:
    if not isinstance(layout, str) or layout not in LAYOUTS:
        kind = ValueError if isinstance(layout, str) else TypeError
        raise kind(f"{function}: layout must be 'NCL' or 'NLC', not {layout!r}")


def batched(function: str, name: str, shape: Shape, layout: object) -> Shape:
    """The user's shape of a signal as (N, C, L)."""
    check_layout(function, layout)
    if not 1 <= len(shape) <= 3:
        inner = "channels, length" if layout == "NCL" else "length, channels"
        raise ValueError(
            f"{function}: {name} must have shape (batch, {inner}), ({inner}) or (length,), "
            f"not {shape}"
        )
    return (1,) * (3 - len(shape)) + swap_axes(shape, layout == "NLC")


def swap_axes(shape: Shape, swapped: bool) -> Shape:
    """With the last two exchanged, if they are to be and there are two."""
    return (*shape[:-2], shape[-1], shape[-2]) if swapped and len(shape) > 1 else shape


def weights(function: str, shape: Shape) -> Shape:
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


def check_ranks(function: str, name: str, shape: Shape, other_name: str, other: Shape) -> None:
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


def check_groups(function: str, groups: object, **channels: int) -> int:
    groups = integer(function, "groups", groups, 1)
    for name, count in channels.items():
        if count % groups:
            raise ValueError(
                f"{function}: the {count} {name.replace('_', ' ')} cannot be divided into "
                f"{groups} groups"
            )
    return groups


def check_channels(function: str, weight: Shape, groups: int, taken: int, in_channels: int) -> None:
    if in_channels != taken:
        raise ValueError(
            f"{function}: a weight of shape {weight} with groups {groups} takes "
            f"{taken} input channels, but input has {in_channels}"
        )


def check_bias(function: str, bias: Shape | None, expected: Shape) -> None:
    """Refuse a bias that is neither one for all samples nor, as the weight, one for each."""
    if bias is not None and bias != expected and bias != expected[-1:]:
        each = f" or {expected}" if len(expected) > 1 else ""
        raise ValueError(
            f"{function}: bias must have shape {expected[-1:]}{each}, one number for each output "
            f"channel, not {bias}"
        )


def make_plan(
    axes: int,
    layout: object,
    x: Shape,
    w: Shape,
    outs: int,
    geometry: Geometry,
    groups: int,
    per_sample: bool = False,
) -> Plan:
    """The plan for (N, C, L) and (K, C/groups, k), where the user's signals have so many axes."""
    y = x[0], outs, geometry.output_length
    if geometry.method == AUTO_NUMBER and prod(y[1:]) * prod(w[1:]) < SMALL_PRODUCTS:
        geometry = geometry._replace(method=0)  # which `_methods.choose` says of them, too
    channels_last = layout == "NLC" and axes > 1
    samples = x[:1] if per_sample else ()
    return Plan(
        swap_axes(x, channels_last)[3 - axes :],
        samples + w if axes > 1 else w[2:],
        swap_axes(y, channels_last)[3 - axes :],
        (*samples, outs),
        geometry,
        groups,
        per_sample,
        channels_last,
        prod(y) * prod(w[1:]),
    )


def geometry_of(function: str, length: object, taps: object, options: Options) -> Geometry:
    stride, padding, dilation = options[:3]
    geometry = resolve(function, length, taps, stride, padding, dilation, options.padding_mode)
    if options.method is DIRECT:
        return geometry
    number = method_number(function, options.method, taps, geometry.stride, geometry.dilation)
    return geometry._replace(method=number)


def plan_of(
    function: str,
    x: Shape,
    w: Shape,
    options: Options,
) -> Plan:
    """The plan for an input and a weight in the user's shapes."""
    x3, w3 = batched(function, "input", x, options.layout), weights(function, w)
    check_ranks(function, "input", x, "weight", w)
    geometry = geometry_of(function, x3[2], w3[2], options)
    groups = check_groups(function, options.groups, input_channels=x3[1], output_channels=w3[0])
    check_channels(function, w3, groups, w3[1] * groups, x3[1])
    return make_plan(len(x), options.layout, x3, w3, w3[0], geometry, groups, len(w) == 4)


def plan_of_transpose(
    function: str,
    x: Shape,
    w: Shape,
    options: Options,
) -> Plan:
    """The plan of the `conv1d` of whose input the transposed convolution is the gradient."""
    x3, w3 = batched(function, "input", x, options.layout), weights(function, w)
    check_ranks(function, "input", x, "weight", w)
    if x3[2] == 0:
        raise ValueError(f"{function}: input must have at least 1 sample, but its shape is {x}")
    stride, padding, dilation = options[:3]
    geometry = resolve_transposed(function, x3[2], w3[2], stride, padding, options.size, dilation)
    if options.method is not DIRECT:
        number = method_number(function, options.method, w3[2], geometry.stride, geometry.dilation)
        geometry = geometry._replace(method=number)
    groups = check_groups(function, options.groups, input_channels=x3[1])
    check_channels(function, w3, groups, w3[0], x3[1])
    y3 = x3[0], w3[1] * groups, geometry.input_length
    plan = make_plan(len(x), options.layout, y3, w3, w3[0], geometry, groups, len(w) == 4)
    return plan._replace(b_shape=(*plan.b_shape[:-1], y3[1]))


def check_grad_output(
    function: str, grad_output: Shape, expected: Shape, lengths: tuple[int, int]
) -> None:
    """Refuse a `grad_output` that has not the shape of the output; `lengths` of in- and output."""
    if grad_output != expected:
        raise ValueError(
            f"{function}: grad_output must have shape {expected}, not {grad_output}; "
            f"{lengths[1]} is the output length for input length {lengths[0]}"
        )


def check_conv1d(
    function: str, shapes: tuple[Shape, Shape, Shape | None], options: Options
) -> Plan:
    x, w, b = shapes
    plan = plan_of(function, x, w, options)
    check_bias(function, b, plan.b_shape)
    return plan


def check_conv1d_backward(
    function: str, shapes: tuple[Shape, Shape, Shape], options: Options
) -> Plan:
    dy, x, w = shapes
    plan = plan_of(function, x, w, options)
    batched(function, "grad_output", dy, options.layout)
    check_ranks(function, "grad_output", dy, "input", x)
    check_grad_output(function, dy, plan.y_shape, plan.geometry[:2])
    return plan


def check_conv1d_backward_input(
    function: str, shapes: tuple[Shape, Shape], options: Options
) -> Plan:
    dy, w = shapes
    dy3, w3 = batched(function, "grad_output", dy, options.layout), weights(function, w)
    check_ranks(function, "grad_output", dy, "weight", w)
    geometry = geometry_of(function, options.size, w3[2], options)
    groups = check_groups(function, options.groups, output_channels=w3[0])
    x3 = dy3[0], groups * w3[1], geometry.input_length
    plan = make_plan(len(dy), options.layout, x3, w3, w3[0], geometry, groups, len(w) == 4)
    check_grad_output(function, dy, plan.y_shape, plan.geometry[:2])
    return plan


def check_conv1d_backward_weight(
    function: str, shapes: tuple[Shape, Shape], options: Options
) -> Plan:
    dy, x = shapes
    dy3 = batched(function, "grad_output", dy, options.layout)
    x3 = batched(function, "input", x, options.layout)
    check_ranks(function, "grad_output", dy, "input", x)
    taps = integer(function, "kernel_size", options.size, 1)
    geometry = geometry_of(function, x3[2], taps, options)
    groups = check_groups(function, options.groups, input_channels=x3[1], output_channels=dy3[1])
    plan = make_plan(
        len(x), options.layout, x3, (dy3[1], x3[1] // groups, taps), dy3[1], geometry, groups
    )
    check_grad_output(function, dy, plan.y_shape, plan.geometry[:2])
    return plan


def check_conv_transpose1d(
    function: str, shapes: tuple[Shape, Shape, Shape | None], options: Options
) -> Plan:
    x, w, b = shapes
    plan = plan_of_transpose(function, x, w, options)
    check_bias(function, b, plan.b_shape)
    return plan


def check_conv_transpose1d_backward(
    function: str, shapes: tuple[Shape, Shape, Shape], options: Options
) -> Plan:
    dy, x, w = shapes
    plan = plan_of_transpose(function, x, w, options)
    batched(function, "grad_output", dy, options.layout)
    check_ranks(function, "grad_output", dy, "input", x)
    check_grad_output(function, dy, plan.x_shape, plan.geometry[1::-1])
    return plan


plan_conv1d = Planner("conv1d", check_conv1d)
plan_conv1d_backward = Planner("conv1d_backward", check_conv1d_backward)
plan_conv1d_backward_input = Planner("conv1d_backward_input", check_conv1d_backward_input)
plan_conv1d_backward_weight = Planner("conv1d_backward_weight", check_conv1d_backward_weight)
plan_conv_transpose1d = Planner("conv_transpose1d", check_conv_transpose1d)
plan_conv_transpose1d_backward = Planner(
    "conv_transpose1d_backward", check_conv_transpose1d_backward
)
