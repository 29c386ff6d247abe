"""cconv1d for JAX: functions of arrays on the CPU, with all transforms and derivatives.

>>> import jax
>>> import jax.numpy as jnp
>>> from cconv1d.jax import conv1d
>>> x, w = jnp.array([1.0, 2.0, 3.0, 4.0]), jnp.array([1.0, -1.0])
>>> jax.grad(lambda w: conv1d(x, w).sum())(w)
Array([6., 9.], dtype=float32)

It needs JAX 0.5 or newer, and is not imported with cconv1d itself.

A convolution has three arrays, y, x and w, and three maps, each of which makes one of them of the
other two.  A map is bilinear and conjugates nothing, so that its derivatives are the other two maps
(each with the cotangent in the place of its result) and itself (with a tangent for an operand).  As
primitives with these rules they have everything that JAX derives from them.

On the CPU XLA calls the kernels (``src/nest/xla.pxi``) with its own buffers.  On other devices a
map is JAX's own convolution or the transpose of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, SupportsIndex

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.export import is_symbolic_dim
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jax.sharding import NamedSharding, PartitionSpec

from . import _backend
from ._geometry import MAX_SIZE, Geometry, IntLike, Method, Padding, PaddingMode, Pads, integer
from ._kernels import BACKWARD_INPUT, BACKWARD_WEIGHT, FORWARD
from ._methods import settled
from ._plans import Layout, Planner, plan_conv1d, plan_conv_transpose1d

__all__ = ["conv1d", "conv_general_dilated", "conv_transpose1d"]

#: The three arrays, by the number of the map that makes each.
Y, X, W = FORWARD, BACKWARD_INPUT, BACKWARD_WEIGHT

#: What each is made of, in the order in which its map takes them.
OPERANDS = {Y: (X, W), X: (Y, W), W: (Y, X)}

#: Their axes. Letters are samples, groups, channels of a group in and out, positions and taps.
LETTERS = {Y: ("n", "go", "p"), X: ("n", "gc", "l"), W: ("go", "c", "t")}

Axes = tuple[int, ...]


class Convolution(NamedTuple):
    """What the maps of a convolution have in common besides their arrays."""

    geometry: Geometry
    taps: int
    groups: int
    #: Where y, x and w have the axes of LETTERS.
    axes: tuple[Axes, Axes, Axes]
    #: What it means to other devices.
    precision: Any = None
    #: The padding on the right, if lengths are symbolic, which do not tell it.
    right: int | None = None

    @property
    def pad_right(self) -> int:
        """The least that makes the output as long as it is; not negative where that is refused."""
        if self.right is not None:
            return self.right
        g = self.geometry
        reach = (g.output_length - 1) * g.stride + g.dilation * (self.taps - 1) + 1
        right = reach - g.input_length - g.pad_left
        return max(right, 0) if g.mode else right


def shape_of(
    made: int, first: Sequence[int], second: Sequence[int], how: Convolution
) -> tuple[int, ...]:
    """The shape of what a map makes of operands of these shapes."""
    a, b = OPERANDS[made]
    one = [first[axis] for axis in how.axes[a]]
    other = [second[axis] for axis in how.axes[b]]
    sizes = {
        Y: (one[0], other[0], how.geometry.output_length),
        X: (one[0], other[1] * how.groups, how.geometry.input_length),
        W: (one[1], other[1] // how.groups, how.taps),
    }[made]
    return tuple(sizes[how.axes[made].index(axis)] for axis in range(3))


# --- how a map is computed ------------------------------------------------------------------------

TARGET = "cconv1d_convolve"


def by_call(made: int, *operands: Array, how: Convolution) -> Array:
    """By the kernels, on XLA's buffers."""
    first, second, *bias = operands
    if made == W and jnp.iscomplexobj(second):
        second = second.conj()  # which backward_weight does again
    g = how.geometry
    numbers = np.array(
        [
            *(made, g.method, g.stride, g.dilation, g.pad_left, how.pad_right, how.groups, g.mode),
            *(axis for axes in how.axes for axis in axes),
        ],
        np.int64,
    )
    result = jax.ShapeDtypeStruct(shape_of(made, first.shape, second.shape, how), first.dtype)
    call = jax.ffi.ffi_call(TARGET, result)
    return call(first, second, *bias, numbers=numbers)


def by_callback(made: int, *operands: Array, how: Convolution) -> Array:
    """By the kernels that Python has, of NumPy, too: XLA waits for the interpreter."""
    first, second, *_ = operands
    result = jax.ShapeDtypeStruct(shape_of(made, first.shape, second.shape, how), first.dtype)

    def compute(*operands: Any) -> Any:
        one, other, *bias = map(np.asarray, operands)
        a, b = OPERANDS[made]
        one, other = one.transpose(how.axes[a]), other.transpose(how.axes[b])
        out = np.empty(result.shape, result.dtype)
        kernel = _backend.kernels_for(out.dtype)[made]
        filled = out.transpose(how.axes[made])
        options = {"conjugate": True} if made == X and out.dtype.kind == "c" else {}
        if made == Y:
            kernel(one, other, [*bias, None][0], filled, how.geometry, how.groups)
        elif made == X:
            kernel(one, other, filled, how.geometry, how.groups, *bias, **options)
        else:  # which conjugates
            kernel(one, other.conj(), filled, how.geometry, how.groups)
        return out

    return jax.pure_callback(compute, result, *operands, vmap_method="sequential")


def by_lax(made: int, *operands: Array, how: Convolution) -> Array:
    """By JAX's own convolution, or the transpose of it."""
    first, second, *bias = operands
    g = how.geometry

    def forward(x: Array, w: Array) -> Array:
        pads = g.pad_left, how.pad_right
        if g.mode:
            widths = [(0, 0)] * 3
            widths[how.axes[X][2]] = pads
            pads = 0, 0
            x = jnp.pad(x, widths, mode=("constant", "reflect", "edge", "wrap")[g.mode])
        return lax.conv_general_dilated(
            *(x, w, (g.stride,), [pads]),
            rhs_dilation=(g.dilation,),
            dimension_numbers=lax.ConvDimensionNumbers(how.axes[X], how.axes[W], how.axes[Y]),
            feature_group_count=how.groups,
            precision=how.precision,
        )

    result = jax.ShapeDtypeStruct(shape_of(made, first.shape, second.shape, how), first.dtype)
    if made == Y:
        out = forward(first, second)
    elif made == X:
        (out,) = jax.linear_transpose(lambda x: forward(x, second), result)(first)
    else:
        (out,) = jax.linear_transpose(lambda w: forward(second, w), result)(first)
    for b in bias:
        out = out + broadcast_bias(made, b, out.shape, how)
    return out


def broadcast_bias(made: int, bias: Array, shape: tuple[int, ...], how: Convolution) -> Array:
    return lax.broadcast_in_dim(bias, shape, (how.axes[made][1],))


# --- many calls as one ----------------------------------------------------------------------------


def place_of(letter: str, letters: Sequence[str], axes: Axes) -> tuple[int, bool]:
    """The axis with a letter, and whether groups come before it there."""
    (place,) = (i for i, name in enumerate(letters) if letter in name)
    return axes[place], letters[place].index(letter) > 0


def merged(
    array: Array,
    dim: int | None,
    size: int,
    letters: Sequence[str],
    axes: Axes,
    letter: str,
    groups: int,
) -> Array:
    """An operand whose examples are part of the axis with that letter, which they precede."""
    if letter not in "".join(letters):
        return array
    if dim is None:
        array, dim = lax.broadcast(array, (size,)), 0
    array = jnp.moveaxis(array, dim, 0)
    axis, grouped = place_of(letter, letters, axes)
    before, count, after = array.shape[1 : axis + 1], array.shape[axis + 1], array.shape[axis + 2 :]
    if grouped:
        array = array.reshape(size, *before, groups, count // groups, *after)
    return jnp.moveaxis(array, 0, axis + grouped).reshape(*before, size * count, *after)


def parted(
    array: Array,
    size: int,
    shape: tuple[int, ...],
    letters: Sequence[str],
    axes: Axes,
    letter: str,
    groups: int,
) -> Array:
    """A result whose examples, of that shape, were part of that axis, with an axis for them."""
    axis, grouped = place_of(letter, letters, axes)
    before, count, after = shape[:axis], shape[axis], shape[axis + 1 :]
    parts = (groups, size, count // groups) if grouped else (size, count)
    array = array.reshape(*before, *parts, *after)
    return jnp.moveaxis(array, axis + grouped, 0).reshape(size, *shape)


def batch(
    primitive: Primitive, made: int, args: Sequence[Array], dims: Sequence[int | None], *,
    how: Convolution,
) -> tuple[Array, int]:  # fmt: skip
    """The rule for vmap: examples are samples where they can be, else channels, else groups: an
    axis that the result has and all operands with examples; those without need not have it."""
    roles: list[tuple[tuple[str, ...], Axes]]
    roles = [(LETTERS[role], how.axes[role]) for role in OPERANDS[made]]
    roles += [((LETTERS[made][1],), (0,))] * (len(args) - 2)  # a bias
    seen = ["".join(letters) for (letters, _), d in zip(roles, dims, strict=True) if d is not None]
    seen.append("".join(LETTERS[made]))
    letter = next(name for name in "nocg" if all(name in letters for letters in seen))
    size = next(a.shape[d] for a, d in zip(args, dims, strict=True) if d is not None)
    if letter == "g" and is_symbolic_dim(size):
        raise ValueError(
            f"{primitive.name}: vmap makes groups of examples of which all operands have their "
            f"own, and the number of groups may not be symbolic, as {size} is"
        )
    first, second = (
        array.shape if dim is None else (*array.shape[:dim], *array.shape[dim + 1 :])
        for array, dim in zip(args[:2], dims[:2], strict=True)
    )
    shape = shape_of(made, first, second, how)
    if size == 0:
        return jnp.zeros((0, *shape), args[0].dtype), 0
    operands = [
        merged(array, dim, size, *role, letter, how.groups)
        for array, dim, role in zip(args, dims, roles, strict=True)
    ]
    joint = how._replace(groups=how.groups * size) if letter == "g" else how
    out = primitive.bind(*operands, how=joint)
    return parted(out, size, shape, LETTERS[made], how.axes[made], letter, how.groups), 0


# --- primitives -----------------------------------------------------------------------------------


if _backend.core is None:
    COMPUTE: Callable[..., Array] = by_callback
else:
    jax.ffi.register_ffi_target(TARGET, _backend.core._XLA_HANDLER, platform="cpu")
    COMPUTE = by_call


def make_primitive(made: int, name: str) -> Primitive:
    """A primitive with what does not depend on a bias."""
    primitive = Primitive(name)

    def shape_rule(first: Any, second: Any, *bias: Any, how: Convolution) -> Any:
        shape = shape_of(made, first.shape, second.shape, how)
        sharding: Any = getattr(first, "sharding", None)  # part of the type below an explicit mesh
        spec = getattr(sharding, "spec", ())
        if any(name is not None for name in spec):
            kept: list[Any] = [None] * 3
            if made != W:  # samples stay where they are
                kept[how.axes[made][0]] = spec[how.axes[OPERANDS[made][0]][0]]
            sharding = NamedSharding(sharding.mesh, PartitionSpec(*kept))
            return first.update(shape=shape, weak_type=False, sharding=sharding)
        return first.update(shape=shape, weak_type=False)

    primitive.def_impl(jax.jit(primitive.bind, static_argnames="how"))
    primitive.def_abstract_eval(shape_rule)
    batching.primitive_batchers[primitive] = partial(batch, primitive, made)
    for rule, platform in ((COMPUTE, "cpu"), (by_lax, None)):
        lowering = mlir.lower_fun(partial(rule, made), multiple_results=False)
        mlir.register_lowering(primitive, lowering, platform=platform)
    return primitive


def bilinear(made: int, name: str) -> Primitive:
    """A map as a primitive."""
    primitive = make_primitive(made, name)

    def transpose(wanted: int, known: int, cotangent: Array, *args: Any, how: Convolution) -> Array:
        array = args[OPERANDS[made].index(known)]
        return apply(wanted, {made: cotangent, known: array}, how)

    first, second = OPERANDS[made]
    ad.defbilinear(primitive, partial(transpose, first, second), partial(transpose, second, first))
    return primitive


def biased(made: int, name: str) -> Primitive:
    """A map with a bias, which the kernels add before they round half precision."""
    primitive = make_primitive(made, name)
    bind = PRIMITIVES[made].bind
    ad.defjvp(
        primitive,
        lambda g, first, second, bias, how: bind(g, second, how=how),
        lambda g, first, second, bias, how: bind(first, g, how=how),
        lambda g, first, second, bias, how: broadcast_bias(
            made, g, shape_of(made, first.shape, second.shape, how), how
        ),
    )
    return primitive


def varying(array: Array) -> frozenset[str]:
    """The axes of a mesh along which an array differs, where `shard_map` keeps account of that."""
    kind: Any = jax.typeof(array) if hasattr(jax, "typeof") else None
    if hasattr(kind, "manual_axis_type"):
        return frozenset(kind.manual_axis_type.varying)
    return getattr(kind, "vma", frozenset())  # the name in older versions


def alike(operands: Sequence[Array]) -> Sequence[Array]:
    """The operands as varying along the same axes; otherwise `shard_map` would leave out sums over
    devices that gradients need."""
    axes = [varying(array) for array in operands]
    union = frozenset().union(*axes)
    if all(own == union for own in axes):
        return operands

    new: Any = getattr(lax, "pcast", None)
    cast = partial(new, to="varying") if new else lax.pvary  # type: ignore[attr-defined]
    missing = [tuple(union - own) for own in axes]
    return [cast(a, names) if names else a for a, names in zip(operands, missing, strict=True)]


def apply(made: int, arrays: dict[int, Array], how: Convolution, *bias: Array) -> Any:
    """The array that is to be made of the other two."""
    operands = alike([*(arrays[role] for role in OPERANDS[made]), *bias])
    return (BIASED if bias else PRIMITIVES)[made].bind(*operands, how=how)


PRIMITIVES = {
    made: bilinear(made, name)
    for made, name in ((Y, "conv1d"), (X, "conv1d_input"), (W, "conv1d_weight"))
}
BIASED = {made: biased(made, name) for made, name in ((Y, "conv1d_bias"), (X, "conv1d_input_bias"))}


# --- the functions --------------------------------------------------------------------------------

DTYPES = frozenset(
    map(np.dtype, (np.float32, np.float64, jnp.bfloat16, np.float16, np.complex64, np.complex128))
)


def as_arrays(function: str, **given: Any) -> list[Array]:
    """Arguments as arrays of JAX, of one dtype that there are kernels for."""
    arrays = {}
    for name, value in given.items():
        if not isinstance(value, (Array, np.ndarray)):
            raise TypeError(f"{function}: {name} must be an array, not {type(value).__name__}")
        arrays[name] = value if isinstance(value, Array) else jnp.asarray(value)
    dtypes = {array.dtype for array in arrays.values()}
    if len(dtypes) > 1:
        seen = ", ".join(f"{name} {array.dtype}" for name, array in arrays.items())
        raise TypeError(f"{function}: all arrays must have one dtype, not {seen}")
    if not dtypes <= DTYPES:
        raise TypeError(
            f"{function}: arrays must hold float32, float64, bfloat16, float16, complex64 or "
            f"complex128, not {dtypes.pop()}"
        )
    return list(arrays.values())


@partial(jax.jit, static_argnames=("made", "how", "shape"), inline=True)
def convolve(
    made: int, how: Convolution, shape: tuple[int, ...], signal: Array, weight: Array, *bias: Array
) -> Array:
    """What `made` is of a signal and a weight, for shapes with axes left out; with a fourth axis of
    the weight, the first, samples have weights of their own."""

    def with_batch(array: Array) -> Array:
        return array.reshape((1,) * (3 - array.ndim) + array.shape)

    def call(signal: Array, weight: Array, *bias: Array) -> Array:
        operands = {Y + X - made: with_batch(signal), W: with_batch(weight)}
        return apply(made, operands, how, *bias)

    if weight.ndim == 4:
        axes = 0, 0, *(0 if b.ndim == 2 else None for b in bias)
        return jax.vmap(call, axes)(signal, weight, *bias).reshape(shape)
    return call(signal, weight, *bias).reshape(shape)


def planned(
    function: str, made: int, planner: Planner, arrays: Sequence[Array], *options: Any, method: Any
) -> Array:
    """What a function was asked for: a map, shapes of two arrays and perhaps a bias, options."""
    x, w, *bias = (array.shape for array in arrays)
    shapes = x, w, bias[0] if bias else None
    symbolic = any(is_symbolic_dim(size) for shape in (x, w, *bias) for size in shape)
    if symbolic:
        check_symbols(function, x, w, bias, options, method)
        last = len(x) - 2 if options[LAYOUT] == "NLC" and len(x) > 1 else len(x) - 1
        length = x[last]
        shapes = stand_in(x, last), w, shapes[2]
    plan = planner(shapes, *(*options, method))
    if plan.geometry.method:
        plan = settled(function, plan, np.dtype(arrays[0].dtype))
    signal = (0, 2, 1) if plan.channels_last else (0, 1, 2)
    taps = plan.w_shape[-1]
    how = Convolution(plan.geometry, taps, plan.groups, (signal, signal, (0, 1, 2)))
    shape = plan.y_shape if made == Y else plan.x_shape
    if symbolic:
        if is_symbolic_dim(length):
            if made == Y and plan.geometry.stride > 1:  # one step at a time leaves nothing over
                whole = planner(shapes, *(1, *options[1:], "direct"))
                how = how._replace(right=how._replace(geometry=whole.geometry).pad_right)
            how = with_length(function, made, how, length)
        made_length = how.geometry.output_length if made == Y else how.geometry.input_length
        shape = (*shape[:last], made_length, *shape[last + 1 :])
        shape = (x[0], *shape[1:]) if len(x) == 3 else shape
    return convolve(made, how, shape, *arrays)


# --- symbolic shapes ------------------------------------------------------------------------------

#: Where options of a planner are.
STRIDE, PADDING, LAYOUT = 0, 1, 5

#: Instead of a symbolic length, where the rest is checked: longer than any kernel.
ANY_LENGTH = 2**40

#: What a comparison of symbols raises; the second is the name in older versions.
Inconclusive: Any = getattr(jax.errors, "InconclusiveDimensionOperation", None)
if Inconclusive is None:
    Inconclusive = jax.core.InconclusiveDimensionOperation


def stand_in(x: tuple[Any, ...], last: int) -> tuple[int, ...]:
    """The shape of a signal, with numbers for symbols."""
    return tuple(
        (ANY_LENGTH if axis == last else 1) if is_symbolic_dim(size) else size
        for axis, size in enumerate(x)
    )


def check_symbols(
    function: str, x: Any, w: Any, bias: Any, options: tuple[Any, ...], method: Any
) -> None:
    """Refuse what a graph for all lengths, or all numbers of samples, cannot have."""
    last = options[LAYOUT] == "NLC" and len(x) > 1
    channels = () if len(x) == 1 else (x[-1] if last else x[-2],)
    sizes = *w, *(size for shape in bias for size in shape), *channels
    fixed = [size for size in sizes if is_symbolic_dim(size)]
    if fixed or len(w) == 4:
        what = "weights of each sample" if len(w) == 4 else f"{fixed[0]} channels or taps"
        raise ValueError(
            f"{function}: only the samples of a batch and the positions may be symbolic, and there "
            f"are {what} for an input of shape {x}"
        )
    length = x[-2 if last else -1]
    if not is_symbolic_dim(length):
        return
    if method == "auto":
        raise ValueError(
            f"{function}: method 'auto' chooses by the length of the input, which is the symbol "
            f"{length}: give 'direct' or 'fft'"
        )
    if options[PADDING] in ("same", "same_lower") and options[STRIDE] not in (1, (1,), [1]):
        raise ValueError(
            f"{function}: padding {options[PADDING]!r} at stride {options[STRIDE]} depends on the "
            f"length of the input, which is the symbol {length}: give a pair"
        )


def with_length(function: str, made: int, how: Convolution, length: Any) -> Convolution:
    """A convolution for a signal of a symbolic length."""
    g, right = how.geometry, how.pad_right
    span = g.dilation * (how.taps - 1) + 1
    if made == Y:
        room = length + g.pad_left + right - span
        g = g._replace(input_length=length, output_length=room // g.stride + 1)
    else:
        room = (length - 1) * g.stride + span - g.pad_left - right - 1
        g = g._replace(input_length=room + 1, output_length=length)
    try:
        enough = room >= 0
    except Inconclusive:
        enough = False
    if not enough:
        raise ValueError(
            f"{function}: there is an output only if {room} >= 0, for an input of {length} samples "
            f"and a kernel that spans {span}: give symbolic_shape the constraint '{room} >= 0'"
        )
    return how._replace(geometry=g, right=right)


# --- the functions of cconv1d ---------------------------------------------------------------------


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
) -> Array:
    """Cross-correlate signals with kernels, as `cconv1d.conv1d`.

    Parameters
    ----------
    input : Array, shape (N, C, L), (C, L) or (L,)
        Of float32, float64, bfloat16, float16, complex64 or complex128; an array of JAX or NumPy.
    weight : Array, shape (K, C // groups, k), (k,) or (N, K, C // groups, k)
        Of the same dtype; (k,) for an input (L,).
    bias : Array, shape (K,) or (N, K), optional
        Of the same dtype.
    stride, padding, dilation, groups, padding_mode, layout, method : optional
        As in `cconv1d.conv1d`; they may not be traced.

    Returns
    -------
    Array, shape (N, K, P), (K, P) or (P,)
        On the CPU, with the bits of `cconv1d.conv1d`.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind, or dtypes differ or have no kernels.
    ValueError
        If shapes or options do not fit each other.

    See Also
    --------
    conv_transpose1d : The same sum in the other direction.
    conv_general_dilated : With the arguments of JAX's own function.

    Notes
    -----
    Derivatives of any order, forward and reverse, `jax.jit`, `jax.vmap` of any arguments, loops of
    `jax.lax` and so on work as for JAX's own functions; below `jax.export` the samples of a batch
    and the positions may be symbolic. As there, gradients of complex arguments are not conjugated.
    On other devices than the CPU, JAX's own convolution computes, and `method`
    has no meaning.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from cconv1d.jax import conv1d
    >>> conv1d(jnp.ones((1, 1, 5)), jnp.ones((1, 1, 3)), padding="causal")
    Array([[[1., 2., 3., 3., 3.]]], dtype=float32)
    """
    biases = {} if bias is None else {"bias": bias}
    arrays = as_arrays("conv1d", input=input, weight=weight, **biases)
    options = stride, padding, dilation, groups, padding_mode, layout, 0
    return planned("conv1d", Y, plan_conv1d, arrays, *options, method=method)


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
) -> Array:
    """Transposed convolution of signals, as `cconv1d.conv_transpose1d`.

    Parameters
    ----------
    input : Array, shape (N, C, L), (C, L) or (L,)
        As in `conv1d`.
    weight : Array, shape (C, K // groups, k), (k,) or (N, C, K // groups, k)
        Of the same dtype.
    bias : Array, shape (K,) or (N, K), optional
        Of the same dtype.
    stride, padding, output_padding, groups, dilation, layout, method : optional
        As in `cconv1d.conv_transpose1d`; they may not be traced.

    Returns
    -------
    Array, shape (N, K, P), (K, P) or (P,)
        On the CPU, with the bits of `cconv1d.conv_transpose1d`.

    Raises
    ------
    TypeError, ValueError
        As `conv1d`.

    See Also
    --------
    conv1d : Where the rest is said.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from cconv1d.jax import conv_transpose1d
    >>> conv_transpose1d(jnp.ones((1, 1, 2)), jnp.array([[[1.0, 2.0]]]), stride=2)
    Array([[[1., 2., 1., 2.]]], dtype=float32)
    """
    biases = {} if bias is None else {"bias": bias}
    arrays = as_arrays("conv_transpose1d", input=input, weight=weight, **biases)
    options = stride, padding, dilation, groups, "zeros", layout, output_padding
    return planned("conv_transpose1d", X, plan_conv_transpose1d, arrays, *options, method=method)


FUNCTION = "conv_general_dilated"


def single(name: str, value: Any, least: int = 1) -> int:
    """The item of what JAX's function takes one of for each spatial dimension."""
    if not isinstance(value, (tuple, list, np.ndarray)) or len(value) != 1:
        raise ValueError(
            f"{FUNCTION}: {name} must be a sequence of one item, that of the only spatial "
            f"dimension, not {value!r}"
        )
    return integer(FUNCTION, name, value[0], least)


def resolve_pads(padding: Any, length: int, span: int, stride: int, dilated: bool) -> list[int]:
    """Zeros on either side, which may be negative, as JAX has them."""
    if isinstance(padding, str):
        if dilated:
            raise ValueError(
                f"{FUNCTION}: padding {padding!r} says nothing where lhs_dilation is more than 1: "
                "give a pair"
            )
        return list(lax.padtype_to_pads((length,), (span,), (stride,), padding)[0])
    try:
        ((low, high),) = padding
    except (TypeError, ValueError):
        raise ValueError(
            f"{FUNCTION}: padding must be 'VALID', 'SAME', 'SAME_LOWER' or a sequence of one pair, "
            f"not {padding!r}"
        ) from None
    return [integer(FUNCTION, "padding", side, -MAX_SIZE) for side in (low, high)]


def as_groups(array: Array, count: int, axis: int, other: int) -> Array:
    """The groups of an axis as those of another, which they precede."""
    array = array.reshape(*array.shape[:axis], count, -1, *array.shape[axis + 1 :])
    array = jnp.moveaxis(array, axis, other)
    return array.reshape(*array.shape[:other], -1, *array.shape[other + 2 :])


def conv_general_dilated(
    lhs: Any,
    rhs: Any,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
    precision: Any = None,
    preferred_element_type: Any = None,
) -> Array:
    """`jax.lax.conv_general_dilated` for one spatial dimension.

    Parameters
    ----------
    lhs : Array, three axes
        Signals of float32, float64, bfloat16, float16, complex64 or complex128.
    rhs : Array, three axes
        Kernels, of the same dtype.
    window_strides, lhs_dilation, rhs_dilation : sequence of one int
        Samples between neighbouring windows; between samples of `lhs`, with zeros between them, and
        between taps. The dilations are 1 if not given.
    padding : {"VALID", "SAME", "SAME_LOWER"} or sequence of one pair of int
        Zeros before and behind the (dilated) signal; a negative number takes samples away.
    dimension_numbers : optional
        The order of axes as JAX has it, such as ``("NWC", "WIO", "NWC")``; by default
        ``("NCH", "OIH", "NCH")``. No order makes a copy.
    feature_group_count, batch_group_count : int, optional
        The groups that the channels, or the samples, of `lhs` are taken in.
    precision : optional
        For other devices; on the CPU all sums are in full precision.
    preferred_element_type : dtype, optional
        The dtype of the result. Arguments of a narrower one are converted to it first.

    Returns
    -------
    Array, three axes
        Zeros if `lhs` has no numbers, empty if there is no window.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind, or dtypes differ or have no kernels.
    ValueError
        If shapes or options do not fit each other.

    See Also
    --------
    conv1d : Other padding, methods, biases.

    Notes
    -----
    Where `lhs_dilation` is more than 1, it is a transposed convolution, of the flipped kernels;
    zeros are not multiplied. With `window_strides` of more than 1, too, all windows are computed
    and those between the strides dropped.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from cconv1d.jax import conv_general_dilated
    >>> conv_general_dilated(jnp.ones((1, 1, 3)), jnp.ones((1, 1, 2)), (1,), [(0, 1)])
    Array([[[2., 2., 1.]]], dtype=float32)
    """
    lhs, rhs = as_arrays(FUNCTION, lhs=lhs, rhs=rhs)
    for name, array in (("lhs", lhs), ("rhs", rhs)):
        if array.ndim != 3:
            raise ValueError(
                f"{FUNCTION}: {name} must have three axes, one of them spatial, not the shape "
                f"{array.shape}"
            )
    stride = single("window_strides", window_strides)
    gap = 1 if lhs_dilation is None else single("lhs_dilation", lhs_dilation)
    dilation = 1 if rhs_dilation is None else single("rhs_dilation", rhs_dilation)
    groups = integer(FUNCTION, "feature_group_count", feature_group_count, 1)
    sample_groups = integer(FUNCTION, "batch_group_count", batch_group_count, 1)
    precision = tuple(precision) if isinstance(precision, list) else precision
    axes = lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
    x, w, y = (tuple(map(int, spec)) for spec in axes)
    samples, channels, length = (lhs.shape[axis] for axis in x)
    outs, group_channels, taps = (rhs.shape[axis] for axis in w)
    for size in (channels, length, *rhs.shape):
        if is_symbolic_dim(size):
            raise ValueError(
                f"{FUNCTION}: only the samples of a batch may be symbolic, as here {size} is not: "
                "conv1d and conv_transpose1d take symbolic lengths, too"
            )
    if groups > 1 and sample_groups > 1:
        raise ValueError(
            f"{FUNCTION}: feature_group_count and batch_group_count cannot both be more than 1"
        )
    if outs % groups or channels != groups * group_channels:
        raise ValueError(
            f"{FUNCTION}: kernels of shape {rhs.shape} with feature_group_count {groups} take "
            f"{groups * group_channels} channels in groups of {group_channels}, for {outs} "
            f"channels, but lhs of shape {lhs.shape} has {channels}"
        )
    if samples % sample_groups or outs % sample_groups:
        raise ValueError(
            f"{FUNCTION}: batch_group_count {sample_groups} must divide the {samples} samples and "
            f"the {outs} output channels"
        )
    if taps == 0:
        raise ValueError(f"{FUNCTION}: rhs must have at least 1 tap, but its shape is {rhs.shape}")
    span = dilation * (taps - 1) + 1
    low, high = resolve_pads(padding, length, span, stride, gap > 1)

    wanted = None if preferred_element_type is None else np.dtype(preferred_element_type)
    if wanted is not None and wanted not in DTYPES:
        raise TypeError(f"{FUNCTION}: preferred_element_type {wanted} has no kernels")
    if wanted is not None:
        wider = jnp.promote_types(lhs.dtype, wanted)
        lhs, rhs = lhs.astype(wider), rhs.astype(wider)

    dilated = (length - 1) * gap + 1 if length else 0
    windows = (dilated + low + high - span) // stride + 1
    shape = [0, 0, 0]
    for axis, size in zip(y, (samples // sample_groups, outs, max(windows, 0)), strict=True):
        shape[axis] = size
    if 0 in shape or lhs.size == 0:
        return jnp.zeros(shape, wanted or lhs.dtype)

    if sample_groups > 1:
        lhs, groups = as_groups(lhs, sample_groups, x[0], x[1]), sample_groups
    if gap == 1:
        geometry = Geometry(length, windows, stride, dilation, low)
        how = Convolution(geometry, taps, groups, (y, x, w), precision)
        out = convolve(Y, how, tuple(shape), lhs, rhs)
    else:
        # the roles of `conv1d` are exchanged: its outputs are lhs, and its taps are met from behind
        all_windows = dilated + low + high - span + 1
        shape[y[2]] = all_windows
        geometry = Geometry(all_windows, length, gap, dilation, span - 1 - low)
        kernels = w[1], w[0], w[2]
        if groups > 1:
            rhs, kernels = as_groups(rhs, groups, w[0], w[1]), (w[1], w[0], w[2])
        how = Convolution(geometry, taps, groups, (x, y, kernels), precision)
        out = convolve(X, how, tuple(shape), lhs, lax.rev(rhs, (w[2],)))
        out = lax.slice_in_dim(out, 0, all_windows, stride, y[2])
    return out if wanted is None else out.astype(wanted)
