"""The three maps of a convolution on tensors, each the derivative of the other two.

    y[p] = Σ_j w[j] · x[s·p + d·j - left]

forward takes (x, w) to y, transpose (y, w) to x, weight (y, x) to w. Each is linear in both of its
operands, and the sum is the same, so with y*, x* and w* for conjugates

    forward(x, w)     has the gradients  transpose(g, w*) and weight(g, x*)
    transpose(y, w)                      forward(g, w*)   and weight(y*, g)
    weight(y, x)                         forward(x*, g)   and transpose(y*, g)

which are maps again: so there are derivatives of any order. The tangents that go forward are the
map itself of one operand's tangent and the other one.

A call takes one of three roads, see `call`: what is plain goes to the kernels at once, with an
autograd.Function if there are gradients to come; below a transform of torch.func or forward mode it
is another Function, which has rules for these; and where PyTorch traces (compile, export, tensors
of other classes) it is an operator of torch.ops.cconv1d. They differ because none of the three is
seen by all: torch.compile cannot look into a Function whose backward calls one, torch.func cannot
look into an operator's, and each costs tens of microseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function, forward_ad

from .. import (
    conv1d,
    conv1d_backward,
    conv1d_backward_input,
    conv1d_backward_weight,
    conv_transpose1d,
)
from .._functional import usual_conv1d
from .._geometry import AUTO, DIRECT
from ._tensors import limited, to_array, to_tensor

#: An integer, or what stands for one where PyTorch traces.
Int = Any


class Options(NamedTuple):
    """A geometry whose padding is resolved, and how it is computed."""

    stride: Int
    padding: tuple[Int, Int]
    dilation: Int
    groups: Int
    padding_mode: str
    layout: str
    method: str

    @property
    def channel_axis(self) -> int:
        return -1 if self.layout == "NLC" else -2

    @property
    def time_axis(self) -> int:
        return -2 if self.layout == "NLC" else -1

    def span(self, taps: Int) -> Int:
        return self.dilation * (taps - 1) + 1

    @property
    def how(self) -> dict[str, Any]:
        """Keyword arguments of the NumPy functions."""
        return self._asdict()


# --- on arrays ------------------------------------------------------------------------------------


@limited
def run_forward(x: Tensor, w: Tensor, bias: Tensor | None, size: Int, o: Options) -> Tensor:
    arrays = to_array(x), to_array(w), None if bias is None else to_array(bias)
    if (
        o.method is DIRECT or o.method is AUTO
    ):  # the call that is made most: conv1d's shortest way, without conv1d
        y = usual_conv1d.one(*arrays, None, (*o[:6], 0), None)
        if y is not None:
            return to_tensor(y)
    return to_tensor(conv1d(*arrays, **o.how))


@limited
def run_transpose(y: Tensor, w: Tensor, bias: Tensor | None, size: Int, o: Options) -> Tensor:
    """`size` is the length of the result. A bias comes with zero padding alone."""
    if bias is None:  # conv1d_backward_input conjugates
        x = conv1d_backward_input(to_array(y), to_array(w.conj()), size, **o.how)
    else:
        shortest = (y.shape[o.time_axis] - 1) * o.stride - sum(o.padding) + o.span(w.shape[2])
        how = {**o.how, "output_padding": size - shortest}
        del how["padding_mode"]
        x = conv_transpose1d(to_array(y), to_array(w), to_array(bias), **how)
    return to_tensor(x)


@limited
def run_weight(y: Tensor, x: Tensor, bias: Tensor | None, size: Int, o: Options) -> Tensor:
    """`size` is the number of taps."""
    x = x.conj()  # which conv1d_backward_weight does again
    return to_tensor(conv1d_backward_weight(to_array(y), to_array(x), size, **o.how))


# --- shapes ---------------------------------------------------------------------------------------


def with_sizes(like: Tensor, channels: Int, length: Int, o: Options) -> list[Int]:
    shape = list(like.shape)
    shape[o.channel_axis], shape[o.time_axis] = channels, length
    return shape


def shape_forward(x: Tensor, w: Tensor, size: Int, o: Options) -> list[Int]:
    padded = x.shape[o.time_axis] + o.padding[0] + o.padding[1]
    return with_sizes(x, w.shape[0], (padded - o.span(w.shape[2])) // o.stride + 1, o)


def shape_transpose(y: Tensor, w: Tensor, size: Int, o: Options) -> list[Int]:
    return with_sizes(y, w.shape[1] * o.groups, size, o)


def shape_weight(y: Tensor, x: Tensor, size: Int, o: Options) -> list[Int]:
    return [y.shape[o.channel_axis], x.shape[o.channel_axis] // o.groups, size]


# --- gradients ------------------------------------------------------------------------------------

Gradients = tuple[Tensor | None, Tensor | None, Tensor | None]


def sum_positions(g: Tensor, o: Options) -> Tensor:
    axis = g.ndim + o.channel_axis
    return g.sum([i for i in range(g.ndim) if i != axis])


@limited
def run_gradients(needs: Sequence[bool], g: Tensor, x: Tensor, w: Tensor, o: Options) -> Gradients:
    """Those of forward in one call, which shares what they have in common."""
    found = conv1d_backward(
        to_array(g),
        to_array(x),
        to_array(w),
        needs=(needs[0], needs[1], needs[2]),
        **o.how,
    )
    dx, dw, db = (None if array is None else to_tensor(array) for array in found)
    return dx, dw, db


def back_forward(
    needs: Sequence[bool], g: Tensor, x: Tensor, w: Tensor, size: Int, o: Options
) -> Gradients:
    if is_plain(g, x, w) and not torch.is_grad_enabled():
        return run_gradients(needs, g, x, w, o)
    return (
        call(TRANSPOSE, g, w.conj(), None, x.shape[o.time_axis], o) if needs[0] else None,
        call(WEIGHT, g, x.conj(), None, w.shape[2], o) if needs[1] else None,
        sum_positions(g, o) if needs[2] else None,
    )


def back_transpose(
    needs: Sequence[bool], g: Tensor, y: Tensor, w: Tensor, size: Int, o: Options
) -> Gradients:
    return (
        call(FORWARD, g, w.conj(), None, 0, o) if needs[0] else None,
        call(WEIGHT, y.conj(), g, None, w.shape[2], o) if needs[1] else None,
        sum_positions(g, o) if needs[2] else None,
    )


def back_weight(
    needs: Sequence[bool], g: Tensor, y: Tensor, x: Tensor, size: Int, o: Options
) -> Gradients:
    return (
        call(FORWARD, x.conj(), g, None, 0, o) if needs[0] else None,
        call(TRANSPOSE, y.conj(), g, None, x.shape[o.time_axis], o) if needs[1] else None,
        None,
    )


# --- a batch of calls as one: examples of vmap become samples, or groups --------------------------


def folded(tensor: Tensor, dim: int | None, size: int, axis: int) -> Tensor:
    """The examples joined to an axis, counted without them, on which they come first."""
    if dim is None:
        tensor = tensor.unsqueeze(0).expand(size, *tensor.shape)
        dim = 0
    return tensor.movedim(dim, axis).flatten(axis, axis + 1)


def signal(tensor: Tensor, dim: int | None, o: Options) -> tuple[Tensor, int | None]:
    """With its channels before its positions and with a batch: (..., N, C, L)."""
    if dim is not None:
        tensor, dim = tensor.movedim(dim, 0), 0
    if o.layout == "NLC":
        tensor = tensor.transpose(-1, -2)
    if tensor.ndim == 2 + (dim is not None):
        tensor = tensor.unsqueeze(-3)
    return tensor, dim


def vmap_rule(
    which: Map, examples: int, dims: Sequence[Any], args: Sequence[Any]
) -> tuple[Tensor, int]:
    first, second, bias, size, o = args
    rank = first.ndim - (dims[0] is not None)
    plain = o._replace(layout="NCL")
    first, at = signal(first, dims[0], o)
    other = dims[1]
    if which is WEIGHT:
        second, other = signal(second, other, o)
    elif other is not None:
        second, other = second.movedim(other, 0), 0
    bias_dim = dims[2] if bias is not None else None
    if which is not WEIGHT and other is None and bias_dim is None:
        batch = first.shape[1]
        y = call(which, folded(first, at, examples, 0), second, bias, size, plain)
        y = y.unflatten(0, (examples, batch))
    else:  # kernels of their own, or gradients of kernels: groups of their own
        y = call(
            which,
            folded(first, at, examples, 1),
            folded(second, other, examples, 1 if which is WEIGHT else 0),
            None if bias is None else folded(bias, bias_dim, examples, 0),
            size,
            plain._replace(groups=o.groups * examples),
        )
        if which is WEIGHT:
            return y.unflatten(0, (examples, y.shape[0] // examples)), 0
        y = y.unflatten(1, (examples, y.shape[1] // examples)).movedim(1, 0)
    if rank == 2:
        y = y.squeeze(1)
    return (y.transpose(-1, -2) if o.layout == "NLC" else y), 0


# --- a map, and its three roads -------------------------------------------------------------------


class Map:
    """A map with what PyTorch asks for: kernels, shapes, gradients; and the roads made of them."""

    def __init__(
        self,
        name: str,
        run: Callable[..., Tensor],
        shape: Callable[..., list[Int]],
        back: Callable[..., Gradients],
    ) -> None:
        self.name, self.run, self.shape, self.back = name, run, shape, back
        self.eager = eager_function(self)
        self.transformed = transformed_function(self)
        self.operator = operator(self)


def eager_function(which: Map) -> Any:
    """The Function of plain tensors; one with setup_context would cost 30 us more."""

    class Eager(Function):
        @staticmethod
        def forward(ctx: Any, first: Any, second: Any, bias: Any, size: Int, o: Options) -> Tensor:
            ctx.save_for_backward(first, second)
            ctx.rest = size, o
            return which.run(first, second, bias, size, o)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            found = which.back(ctx.needs_input_grad, g, *ctx.saved_tensors, *ctx.rest)
            return *found, None, None

    Eager.__name__ = Eager.__qualname__ = f"cconv1d_{which.name}"
    return Eager


def transformed_function(which: Map) -> Any:
    """The Function below transforms, with a rule for each of them."""

    class Transformed(Function):
        @staticmethod
        def forward(first: Any, second: Any, bias: Any, size: Int, o: Options) -> Tensor:
            if are_numbers(first, second, bias):
                return which.run(first, second, bias, size, o)
            result: Tensor = which.operator(first, second, bias, *flat(size, o))
            return result

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            first, second, _, *ctx.rest = inputs
            ctx.save_for_backward(first, second)
            ctx.save_for_forward(first, second)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            found = which.back(ctx.needs_input_grad, g, *ctx.saved_tensors, *ctx.rest)
            return *found, None, None

        @staticmethod
        def jvp(ctx: Any, first: Any, second: Any, bias: Any, *rest: Any) -> Any:
            before, other = ctx.saved_tensors
            size, o = ctx.rest
            tangent: Any = None
            if first is not None:
                tangent = call(which, first, other, None, size, o)
            if second is not None:
                more = call(which, before, second, None, size, o)
                tangent = more if tangent is None else tangent + more
            if bias is not None:
                if tangent is None:
                    tangent = before.new_zeros(which.shape(before, other, size, o))
                tangent = tangent + (bias if o.layout == "NLC" else bias[:, None])
            return tangent

        @staticmethod
        def vmap(info: Any, dims: Any, *args: Any) -> Any:
            return vmap_rule(which, info.batch_size, dims, args)

    Transformed.__name__ = Transformed.__qualname__ = f"cconv1d_{which.name}"
    return Transformed


LIBRARY = torch.library.Library("cconv1d", "DEF")

REST = (
    "SymInt size, SymInt stride, SymInt left, SymInt right, SymInt dilation, SymInt groups, "
    "str padding_mode, str layout, str method"
)


def flat(size: Int, o: Options) -> tuple[Any, ...]:
    return size, o.stride, *o.padding, *o[2:]


def unflat(size: Int, stride: Int, left: Int, right: Int, *rest: Any) -> tuple[Int, Options]:
    return size, Options(stride, (left, right), *rest)


def operator(which: Map) -> Any:
    """torch.ops.cconv1d.<name>, functional, with shapes that may be symbols."""
    LIBRARY.define(
        f"{which.name}(Tensor first, Tensor second, Tensor? bias, {REST}) -> Tensor",
        tags=(torch.Tag.pt2_compliant_tag, torch.Tag.needs_exact_strides),
    )
    name = f"cconv1d::{which.name}"

    def run(first: Tensor, second: Tensor, bias: Tensor | None, *rest: Any) -> Tensor:
        return which.run(first, second, bias, *unflat(*rest))

    def fake(first: Tensor, second: Tensor, bias: Tensor | None, *rest: Any) -> Tensor:
        size, o = unflat(*rest)
        return first.new_empty(which.shape(first, second, size, o))

    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        first, second, _, *ctx.rest = inputs
        ctx.save_for_backward(first, second)

    def backward(ctx: Any, g: Tensor) -> Any:
        rest = unflat(*ctx.rest)
        found = which.back(ctx.needs_input_grad, g, *ctx.saved_tensors, *rest)
        return *found, *(None for _ in ctx.rest)

    def vmap(info: Any, dims: Any, first: Any, second: Any, bias: Any, *rest: Any) -> Any:
        return vmap_rule(which, info.batch_size, dims, (first, second, bias, *unflat(*rest)))

    LIBRARY.impl(which.name, run, "CPU")
    torch.library.register_fake(name, fake, lib=LIBRARY)
    torch.library.register_autograd(name, backward, setup_context=setup_context, lib=LIBRARY)
    torch.library.register_vmap(name, vmap, lib=LIBRARY)
    return getattr(torch.ops.cconv1d, which.name).default


FORWARD = Map("conv1d", run_forward, shape_forward, back_forward)
TRANSPOSE = Map("conv_transpose1d", run_transpose, shape_transpose, back_transpose)
WEIGHT = Map("conv1d_weight", run_weight, shape_weight, back_weight)

PLAIN = (Tensor, torch.nn.Parameter)

# What every call asks PyTorch; bound here, as to look them up would take a third of a microsecond.
is_compiling = torch.compiler.is_compiling
interpreter = torch._C._functorch.peek_interpreter_stack
is_legacy_batched = torch._C._functorch.is_legacy_batchedtensor
dispatch_modes = torch._C._len_torch_dispatch_stack
tracing_state = torch._C._get_tracing_state


def are_numbers(first: Tensor, second: Tensor, bias: Tensor | None) -> bool:
    """Whether the tensors are what they say, on the CPU, and no mode of PyTorch looks on.

    Examples of autograd's own vmap (``is_grads_batched``) are tensors by their class, too.
    """
    return (
        type(first) in PLAIN
        and type(second) in PLAIN
        and (bias is None or type(bias) in PLAIN)
        and dispatch_modes() == 0
        and tracing_state() is None
        and first.is_cpu
        and not is_legacy_batched(first)
        and not is_legacy_batched(second)
    )


def is_plain(first: Tensor, second: Tensor, bias: Tensor | None) -> bool:
    """Whether there are numbers, and neither a transform nor a compiler above."""
    return (
        not is_compiling()
        and interpreter() is None
        and forward_ad._current_level < 0
        and are_numbers(first, second, bias)
    )


def is_transformed() -> bool:
    """Whether a transform of torch.func or forward mode is on, in which PyTorch does not trace."""
    return not is_compiling() and (interpreter() is not None or forward_ad._current_level >= 0)


def call(
    which: Map, first: Tensor, second: Tensor, bias: Tensor | None, size: Int, o: Options
) -> Tensor:
    """A map on the road that the surroundings ask for."""
    result: Tensor
    if is_plain(first, second, bias):
        if torch.is_grad_enabled() and (
            first.requires_grad or second.requires_grad or (bias is not None and bias.requires_grad)
        ):
            result = which.eager.apply(first, second, bias, size, o)
            return result
        return which.run(first, second, bias, size, o)
    if is_transformed():
        result = which.transformed.apply(first, second, bias, size, o)
        return result
    if forward_ad._current_level >= 0:
        # An operator has no rule for forward mode, and PyTorch would take its tangent for zero.
        raise NotImplementedError("cconv1d.torch: no forward mode where PyTorch traces")
    result = which.operator(first, second, bias, *flat(size, o))
    return result
