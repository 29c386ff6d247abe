"""The adapter for JAX: the bits of the NumPy functions, the values and derivatives of JAX's own."""

from __future__ import annotations

import doctest
import re
import subprocess
import threading
import warnings
from functools import cache, partial
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from support import needs_native, python

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what it says on import is not ours to judge
    jax = pytest.importorskip("jax")

import jax.export
import jax.numpy as jnp
from jax import lax
from jax.test_util import check_grads

import cconv1d
from cconv1d import jax as ours

REPO = Path(__file__).resolve().parents[1]
DOUBLE = (np.float64, np.complex128)
F32, F16, C64 = np.float32, np.float16, np.complex64


@pytest.fixture(autouse=True)
def configured():
    """JAX has float64 only where it is told to. And most of the time of these tests is LLVM's, with
    XLA's own code around our calls; what XLA does to the calls comes before, and is as ever."""
    wanted = {"jax_enable_x64": True, "jax_disable_most_optimizations": True}
    before = {name: jax.config.read(name) for name in wanted}
    for name, value in wanted.items():
        jax.config.update(name, value)
    yield
    for name, value in before.items():
        jax.config.update(name, value)


def numbers(rng, shape, dtype=np.float64):
    values = rng.standard_normal(shape)
    if np.dtype(dtype).kind == "c":
        values = values + 1j * rng.standard_normal(shape)
    return values.astype(dtype)


def assert_same(got, expected):
    assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_array_equal(np.asarray(got), np.asarray(expected))


def assert_close(got, expected, tolerance=1e-12):
    """Trees of arrays whose values are of the order of 1 to 100."""
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        b = np.asarray(b)
        scale = 1 + np.abs(b).max(initial=0)
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * scale)


class Layer:
    """A layer by name, with operands, our function, NumPy's and one made of JAX's own."""

    def __init__(self, name, shapes, function, options, lax_options):
        self.name, self.shapes, self.options = name, shapes, options
        self.numpy = partial(getattr(cconv1d, function), **options)
        self.ours = partial(getattr(ours, function), **options)
        self.lax_options = lax_options

    def operands(self, dtype=np.float64, seed=0):
        rng = np.random.default_rng(seed)
        return [jnp.asarray(numbers(rng, shape, dtype)) for shape in self.shapes]

    def lax(self, x, w, b):
        """Written for float64 and complex128; NLC by exchanging axes."""
        o = dict(self.lax_options)
        last = self.options.get("layout") == "NLC"
        x = x.swapaxes(1, 2) if last else x
        if "mode" in o:
            x = jnp.pad(x, [(0, 0), (0, 0), *o["padding"]], mode=o.pop("mode"))
            o["padding"] = [(0, 0)]
        if o.pop("transposed", False):
            groups = o["feature_group_count"]
            channels, outs, taps = w.shape
            w = w.reshape(groups, channels // groups, outs, taps).swapaxes(1, 2)
            w = w.reshape(groups * outs, channels // groups, taps)[..., ::-1]
        y = lax.conv_general_dilated(x, w, **o) + b[:, None]
        return y.swapaxes(1, 2) if last else y

    def __repr__(self):
        return self.name


LAYERS = [
    Layer(
        "strided",
        [(2, 4, 11), (6, 2, 3), (6,)],
        "conv1d",
        {"stride": 2, "padding": (1, 2), "dilation": 2, "groups": 2},
        {
            "window_strides": (2,),
            "padding": [(1, 2)],
            "rhs_dilation": (2,),
            "feature_group_count": 2,
        },
    ),
    Layer(
        "reflected",
        [(2, 9, 4), (6, 2, 3), (6,)],
        "conv1d",
        {"padding": 2, "padding_mode": "reflect", "layout": "NLC", "groups": 2},
        {"window_strides": (1,), "padding": [(2, 2)], "feature_group_count": 2, "mode": "reflect"},
    ),
    Layer(
        "transposed",
        [(2, 4, 5), (4, 3, 3), (6,)],
        "conv_transpose1d",
        {"stride": 3, "padding": (1, 2), "output_padding": 2, "groups": 2, "dilation": 2},
        {
            "window_strides": (1,),
            "padding": [(2 * 2 - 1, 2 * 2 - 2 + 2)],
            "lhs_dilation": (3,),
            "rhs_dilation": (2,),
            "feature_group_count": 2,
            "transposed": True,
        },
    ),
    Layer(
        "by transforms",
        [(2, 4, 12), (6, 2, 5), (6,)],
        "conv1d",
        {"stride": 2, "padding": "same", "groups": 2, "method": "fft"},
        {"window_strides": (2,), "padding": "SAME", "feature_group_count": 2},
    ),
]
layers = pytest.mark.parametrize("layer", LAYERS, ids=repr)
dtypes = pytest.mark.parametrize("dtype", DOUBLE)


def loss_of(function, seed=5):
    """A real number that depends on all results, by more than their first powers."""

    def loss(*operands):
        y = function(*operands)
        weights = jnp.asarray(numbers(np.random.default_rng(seed), y.shape))
        return (weights * (y * y.conj()).real + jnp.sin(y.real)).sum()

    return loss


# --- values ---------------------------------------------------------------------------------------


@needs_native
@layers
@pytest.mark.parametrize("dtype", [*DOUBLE, F32, C64, F16, jnp.bfloat16])
def test_the_bits_are_those_of_numpys_functions(layer, dtype):
    operands = layer.operands(dtype)
    expected = layer.numpy(*map(np.asarray, operands))
    assert_same(layer.ours(*operands), expected)

    @jax.jit
    def compiled(x, w, b):
        return layer.ours(x, w, b), layer.ours(x, w), layer.ours(x[1], w, b)

    whole, without_bias, sample = compiled(*operands)
    assert_same(whole, expected)
    assert_same(without_bias, layer.numpy(*map(np.asarray, operands[:2])))
    assert_same(sample, expected[1])


@layers
@dtypes
def test_values_are_those_of_jax(layer, dtype):
    operands = layer.operands(dtype)
    assert_close(layer.ours(*operands), layer.lax(*operands))


@needs_native
def test_random_geometries():
    rng = np.random.default_rng(1)
    for _ in range(60):
        groups, n, length, k = (int(rng.integers(1, most)) for most in (4, 4, 14, 5))
        ins, outs = int(rng.integers(1, 4)), int(rng.integers(1, 4))
        x, w = numbers(rng, (n, groups * ins, length)), numbers(rng, (groups * outs, ins, k))
        kinds = ["valid", "same", "same_lower", "causal", "full", (int(rng.integers(4)), 3), 2]
        how = {
            "stride": int(rng.integers(1, 4)),
            "dilation": int(rng.integers(1, 4)),
            "padding": kinds[rng.integers(len(kinds))],
            "padding_mode": str(rng.choice(["zeros", "reflect", "replicate", "circular"])),
            "groups": groups,
        }
        try:
            y = cconv1d.conv1d(x, w, **how)
        except ValueError as error:
            with pytest.raises(ValueError, match=re.escape(str(error))):
                ours.conv1d(x, w, **how)
            continue

        @jax.jit
        def compiled(x, w, how=how):
            y, back = jax.vjp(partial(ours.conv1d, **how), x, w)
            return y, *back(y)

        grads = cconv1d.conv1d_backward(y, x, w, **how)
        for got, expected in zip(compiled(x, w), (y, *grads[:2]), strict=True):
            assert_same(got, expected)


@needs_native
def test_lone_signals_and_weights_for_each_sample():
    rng = np.random.default_rng(2)
    x, w = numbers(rng, 9), numbers(rng, 3)
    assert_same(ours.conv1d(x, w, padding="full"), cconv1d.conv1d(x, w, padding="full"))
    assert_same(ours.conv_transpose1d(x, w, stride=2), cconv1d.conv_transpose1d(x, w, stride=2))
    for layout, bias in product(("NCL", "NLC"), ((4,), (3, 4), None)):
        shape = (3, 6, 10) if layout == "NCL" else (3, 10, 6)
        x, w = numbers(rng, shape), numbers(rng, (3, 4, 3, 3))
        b = None if bias is None else numbers(rng, bias)
        how = {"groups": 2, "layout": layout}
        assert_same(ours.conv1d(x, w, b, **how), cconv1d.conv1d(x, w, b, **how))
        w = numbers(rng, (3, 6, 2, 3))
        assert_same(ours.conv_transpose1d(x, w, b, **how), cconv1d.conv_transpose1d(x, w, b, **how))


def test_nothing_to_sum_and_nothing_to_return():
    for x, w in product(((0, 2, 5), (2, 0, 5)), ((3, 2, 3), (3, 0, 3))):
        if x[1] == w[1]:
            arrays = np.ones(x), np.ones(w), np.arange(3.0)
            assert_same(ours.conv1d(*arrays), cconv1d.conv1d(*arrays))


@needs_native
def test_subnormal_numbers_are_not_flushed():
    """XLA's threads do that, and Python's do not."""
    x = np.full((4, 8, 5000), 1e-41, np.float32)
    w = np.ones((8, 8, 3), np.float32)
    y = cconv1d.conv1d(x, w)
    assert (y > 0).all()
    assert_same(jax.jit(ours.conv1d)(x, w), y)
    after = jax.jit(lambda x: x * np.float32(0.5))  # who called us has its own mode again
    before = np.asarray(after(x))
    assert_same(jax.jit(lambda x, w: ours.conv1d(x, w) * np.float32(0.5))(x, w), after(y))
    assert_same(after(x), before)


@needs_native
def test_the_number_of_threads_changes_no_bit():
    layer = LAYERS[0]
    rng = np.random.default_rng(3)
    operands = [numbers(rng, (4, 32, 4000)), numbers(rng, (32, 16, 9)), numbers(rng, 32)]
    step = jax.jit(jax.value_and_grad(loss_of(layer.ours), (0, 1, 2)))
    before = cconv1d.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 5):
            cconv1d.set_num_threads(threads)
            results.append(jax.tree.leaves(step(*operands)))
    finally:
        cconv1d.set_num_threads(before)
    for other in results[1:]:
        # the loss itself and the bias's gradient are sums of XLA's
        for a, b in zip(results[0][1:3], other[1:3], strict=True):
            assert_same(a, b)


@needs_native
def test_calls_from_many_threads():
    layer = LAYERS[0]
    step = jax.jit(layer.ours)
    failures = []

    def work(seed):
        operands = layer.operands(seed=seed)
        expected = layer.numpy(*map(np.asarray, operands))
        for _ in range(20):
            if not np.array_equal(step(*operands), expected):
                failures.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


# --- derivatives ----------------------------------------------------------------------------------


@layers
@dtypes
def test_gradients(layer, dtype):
    operands = layer.operands(dtype)
    expected = jax.jit(jax.grad(loss_of(layer.lax), (0, 1, 2)))(*operands)
    assert_close(jax.jit(jax.grad(loss_of(layer.ours), (0, 1, 2)))(*operands), expected)


@layers
@dtypes
def test_tangents_and_cotangents(layer, dtype):
    operands, tangents = layer.operands(dtype), layer.operands(dtype, seed=1)
    expected = jax.jit(partial(jax.jvp, layer.lax))(operands, tangents)
    assert_close(jax.jvp(layer.ours, operands, tangents), expected)
    y, back = jax.vjp(layer.ours, *operands)
    assert_close(back(y), jax.jit(lambda *ops: jax.vjp(layer.lax, *ops)[1](y))(*operands))


@layers
def test_gradients_of_gradients(layer):
    def twice(function):
        once = jax.grad(loss_of(function), (0, 1, 2))
        return jax.grad(lambda *ops: sum((g**3).sum() for g in once(*ops)), (0, 1, 2))

    operands = layer.operands()
    expected = jax.jit(twice(layer.lax))(*operands)
    assert_close(jax.jit(twice(layer.ours))(*operands), expected, 1e-11)


@layers
def test_jacobians_and_hessians(layer):
    def derivatives(function, *transforms):
        @jax.jit
        def compiled(*operands):
            first = [t(function, (0, 1, 2))(*operands) for t in transforms]
            return *first, jax.hessian(loss_of(function), (0, 1, 2))(*operands)

        return compiled(*layer.operands())

    expected, second = derivatives(layer.lax, jax.jacrev)
    by_rows, by_columns, ours_ = derivatives(layer.ours, jax.jacrev, jax.jacfwd)
    assert_close(by_rows, expected)
    assert_close(by_columns, expected)
    assert_close(ours_, second)


@pytest.mark.parametrize("layer", LAYERS[:3], ids=repr)
@dtypes
def test_differences(layer, dtype):
    """By JAX's own checker."""
    check_grads(layer.ours, layer.operands(dtype), order=2, modes=("fwd", "rev"))


@pytest.mark.parametrize("dtype", [F16, jnp.bfloat16, F32, C64])
def test_gradients_have_the_dtype_of_what_they_are_of(dtype):
    layer = LAYERS[0]
    operands = layer.operands(dtype)
    y, back = jax.vjp(layer.ours, *operands)
    expected = jax.vjp(layer.lax, *layer.operands(DOUBLE[np.dtype(dtype).kind == "c"]))[1](
        y.astype(DOUBLE[np.dtype(dtype).kind == "c"])
    )
    eps = float(jnp.finfo(dtype).eps)
    for grad, exact, operand in zip(back(y), expected, operands, strict=True):
        assert grad.dtype == operand.dtype
        wide = np.asarray(grad).astype(exact.dtype)
        np.testing.assert_allclose(wide, exact, rtol=0, atol=8 * eps * float(abs(exact).max()))


# --- vmap -----------------------------------------------------------------------------------------

AXES = [axes for axes in product((0, None), repeat=3) if any(a is not None for a in axes)]


@cache
def with_gradients(layer):
    """A function and its gradients, which is compiled once for each layer."""
    gradients = jax.grad(loss_of(layer.ours), (0, 1, 2))
    return jax.jit(lambda *operands: (layer.ours(*operands), gradients(*operands)))


@pytest.mark.parametrize("layer", LAYERS[:3], ids=repr)
@pytest.mark.parametrize("axes", AXES, ids=str)
def test_vmap(layer, axes):
    """Of any operands, of the function and of the maps below its gradients."""
    examples = [layer.operands(seed=seed) for seed in range(3)]
    operands = [
        np.asarray(examples[0][i]) if axis is None else np.stack([e[i] for e in examples])
        for i, axis in enumerate(axes)
    ]

    both = with_gradients(layer)
    rows = [
        both(*(op if a is None else op[i] for op, a in zip(operands, axes, strict=True)))
        for i in range(3)
    ]
    expected = jax.tree.map(lambda *leaves: np.stack(leaves), *rows)
    assert_close(jax.jit(jax.vmap(both, axes))(*operands), expected)


def test_vmap_along_other_axes_and_of_itself():
    layer = LAYERS[0]
    operands = layer.operands()
    xs = jnp.stack([operands[0] + i for i in range(3)], 2)
    ws = jnp.stack([operands[1] * i for i in range(4)], -1)
    got = jax.vmap(jax.vmap(layer.ours, (None, -1, None), 1), (2, None, None), -1)(
        xs, ws, operands[2]
    )
    for i, j in product(range(3), range(4)):
        assert_close(got[:, j, ..., i], layer.ours(operands[0] + i, operands[1] * j, operands[2]))


@pytest.mark.parametrize("axes", AXES, ids=str)
def test_vmap_of_nothing(axes):
    layer = LAYERS[0]
    operands = [
        array if axis is None else jnp.zeros((0, *array.shape))
        for array, axis in zip(layer.operands(), axes, strict=True)
    ]
    y = jax.vmap(layer.ours, axes)(*operands)
    assert y.shape == (0, *layer.ours(*layer.operands()).shape)


@needs_native
def test_vmap_of_signals_keeps_the_bits():
    layer = LAYERS[0]
    x, w, b = layer.operands(np.float32)
    xs = jnp.stack([x, x + 1])
    got = jax.vmap(layer.ours, (0, None, None))(xs, w, b)
    for i in range(2):
        assert_same(got[i], layer.numpy(*map(np.asarray, (xs[i], w, b))))


def test_no_operand_without_examples_is_copied():
    """Each of the three maps with one operand of examples is one call on the other as it is."""
    how = ours.Convolution(cconv1d._geometry.Geometry(8, 6, 1, 1, 0), 3, 2, ((0, 1, 2),) * 3)
    shapes = {ours.Y: (2, 6, 6), ours.X: (2, 4, 8), ours.W: (6, 2, 3)}
    for made, (one, other) in ours.OPERANDS.items():
        for mapped in (one, other):
            args = [jnp.ones((5,) * (role == mapped) + shapes[role]) for role in (one, other)]
            axes = tuple(0 if role == mapped else None for role in (one, other))
            bind = partial(ours.PRIMITIVES[made].bind, how=how)
            text = str(jax.make_jaxpr(jax.vmap(bind, axes))(*args))
            assert "broadcast" not in text
            assert text.count("groups=2") == 1


def test_loops_and_checkpoints():
    layer = LAYERS[0]
    x, w, _ = layer.operands()
    w = w[:4]

    def function(conv, wrap):
        step = wrap(lambda x, _: (jnp.tanh(conv(x, w)), None))
        return jax.grad(lambda x: lax.scan(step, x, None, length=3)[0].sum())

    same = {"padding": "same", "groups": 2}
    expected = function(lambda x, w: lax.conv_general_dilated(
        x, w, (1,), "SAME", feature_group_count=2), lambda f: f)(x)  # fmt: skip
    for wrap in (lambda f: f, jax.checkpoint):
        assert_close(function(partial(ours.conv1d, **same), wrap)(x), expected)


# --- how it is computed ---------------------------------------------------------------------------


def cases_of_maps():
    """The maps of some geometries, with operands."""
    rng = np.random.default_rng(4)
    orders = ((0, 1, 2),) * 3, ((0, 2, 1), (1, 2, 0), (2, 0, 1))
    for mode, groups, axes in zip(range(4), (1, 2, 2, 1), orders * 2, strict=True):
        geometry = cconv1d._geometry.Geometry(9, 5, 2, 1, 1, mode)
        how = ours.Convolution(geometry, 3, groups, axes)
        sizes = {ours.Y: (2, 4, 5), ours.X: (2, 2 * groups, 9), ours.W: (4, 2, 3)}
        arrays = {}
        for role, size in sizes.items():
            shape = [size[axes[role].index(axis)] for axis in range(3)]
            arrays[role] = jnp.asarray(numbers(rng, shape, np.complex128))
        yield how, arrays


@pytest.mark.parametrize("rule", [ours.by_lax, ours.by_callback])
def test_other_ways_to_compute_agree(rule):
    """What other devices do, and what is done without the extension."""
    for how, arrays in cases_of_maps():
        for made, roles in ours.OPERANDS.items():
            operands = [arrays[role] for role in roles]
            if made != ours.W and (made == ours.Y or not how.geometry.mode):
                operands.append(jnp.arange(arrays[made].shape[how.axes[made][1]]) * (1 + 2j))
            primitive = (ours.PRIMITIVES if len(operands) == 2 else ours.BIASED)[made]
            got = jax.jit(partial(rule, made, how=how))(*operands)
            assert_close(got, primitive.bind(*operands, how=how))


def test_other_devices_get_a_convolution_of_their_own():
    layer = LAYERS[0]
    step = jax.jit(jax.grad(loss_of(layer.ours), (0, 1, 2)))
    traced = step.trace(*layer.operands())
    text = traced.lower(lowering_platforms=("cuda",)).as_text()
    assert "stablehlo.convolution" in text
    assert ours.TARGET not in text
    assert "stablehlo.convolution" not in traced.lower(lowering_platforms=("cpu",)).as_text()


def test_several_devices_and_exported_functions():
    """In a process of its own, since the number of devices is told to JAX when it starts."""
    pytest.importorskip("jax", minversion="0.7")  # shard_map has had other names and options
    result = python(
        "import jax, jax.export, jax.numpy as jnp, numpy as np\n"
        "from jax.sharding import Mesh, NamedSharding, PartitionSpec as P\n"
        "from cconv1d import jax as ours\n"
        "x = jax.random.normal(jax.random.key(0), (4, 3, 20))\n"
        "w = jax.random.normal(jax.random.key(1), (5, 3, 3))\n"
        "loss = lambda f: lambda w: jnp.square(f(x, w)).sum()\n"
        "y, grad = ours.conv1d(x, w), jax.grad(loss(ours.conv1d))(w)\n"
        "mesh = Mesh(np.array(jax.devices()), ('d',))\n"
        "where = {'mesh': mesh, 'in_specs': (P('d'), P()), 'out_specs': P('d')}\n"
        "for checked in (True, False):\n"
        "    shared = jax.shard_map(ours.conv1d, **where, check_vma=checked)\n"
        "    print(len(jax.devices()), np.array_equal(jax.jit(shared)(x, w), y))\n"
        "    print(np.allclose(jax.jit(jax.grad(loss(shared)))(w), grad, rtol=1e-4))\n"
        "mesh = jax.make_mesh((2,), ('d',), axis_types=(jax.sharding.AxisType.Explicit,))\n"
        "with jax.set_mesh(mesh):\n"
        "    place = lambda array, spec: jax.device_put(array, NamedSharding(mesh, spec))\n"
        "    xs, ws = place(x, P('d')), place(w, P())\n"
        "    got = jax.jit(ours.conv1d)(xs, ws), jax.grad(lambda w: jnp.square(\n"
        "        ours.conv1d(xs, w)).sum())(ws)\n"
        "    print(got[0].sharding.spec[0], np.array_equal(got[0], y))\n"
        "    print(got[1].sharding.spec[0], np.allclose(got[1], grad, rtol=1e-4))\n"
        "allow = [jax.export.DisabledSafetyCheck.custom_call(ours.TARGET)]\n"
        "exported = jax.export.export(jax.jit(ours.conv1d), disabled_checks=allow)(x, w)\n"
        "print(np.array_equal(exported.call(x, w), y))\n",
        XLA_FLAGS="--xla_force_host_platform_device_count=2",
    )
    assert result.stdout == "2 True\nTrue\n" * 2 + "d True\nNone True\nTrue\n", result.stderr


# --- symbolic shapes ------------------------------------------------------------------------------


def exported(function, shapes, dtype=F32, constraints=()):
    """A function for symbolic shapes, as who reads it from a file has it."""
    pytest.importorskip("flatbuffers")  # what jax.export writes with
    scope = jax.export.SymbolicScope(constraints)
    shapes = [jax.export.symbolic_shape(shape, scope=scope) for shape in shapes]
    arguments = [jax.ShapeDtypeStruct(shape, dtype) for shape in shapes]
    allow = [jax.export.DisabledSafetyCheck.custom_call(ours.TARGET)]
    program = jax.export.export(jax.jit(function), disabled_checks=allow)(*arguments)
    return jax.export.deserialize(program.serialize())


SYMBOLIC = [
    ("conv1d", "n,4,l", "6,2,3", {"stride": 3, "padding": (4, 2), "dilation": 2, "groups": 2}),
    ("conv1d", "n,4,l", "6,4,3", {"stride": 4, "padding": "causal"}),
    ("conv1d", "n,l,4", "6,4,4", {"padding": "same", "layout": "NLC"}),
    ("conv1d", "n,4,l", "6,4,3", {"padding": 2, "stride": 2, "padding_mode": "reflect"}),
    ("conv1d", "4,l", "6,4,3", {"padding": "same_lower", "method": "fft"}),
    ("conv1d", "n,4,8", "6,4,3", {"padding": "same", "stride": 3, "method": "auto"}),
    ("conv1d", "l", "3", {"padding": "full", "stride": 2}),
    ("conv_transpose1d", "n,4,l", "4,3,3",
     {"stride": 3, "padding": (1, 2), "output_padding": 2, "groups": 2, "dilation": 2}),
    ("conv_transpose1d", "n,l,4", "4,6,3", {"stride": 2, "layout": "NLC"}),
]  # fmt: skip


@needs_native
@pytest.mark.parametrize(("name", "x", "w", "how"), SYMBOLIC)
def test_a_symbolic_batch_and_length(name, x, w, how):
    """One program for all; with its gradients, whose geometry is that of the same symbols."""
    function = partial(getattr(ours, name), **how)

    def with_gradients(x, w):
        y, back = jax.vjp(function, x, w)
        return y, *back(y)

    program = exported(with_gradients, [x, w])
    rng = np.random.default_rng(0)
    for n, length in ((1, 7), (2, 8), (3, 9), (2, 10), (1, 40)):
        sizes = {"n": n, "l": length}
        operands = [
            numbers(rng, [sizes.get(size) or int(size) for size in shape.split(",")], F32)
            for shape in (x, w)
        ]
        y, *grads = program.call(*operands)
        assert_same(y, getattr(cconv1d, name)(*operands, **how))
        back = getattr(cconv1d, name + "_backward")
        expected = back(np.asarray(y), *operands, **how, needs=(True, True, False))
        for grad, other in zip(grads, expected[:2], strict=True):
            assert_same(grad, other)


@needs_native
def test_symbols_with_constraints_and_below_vmap():
    x, w = np.arange(9, dtype="f"), np.array([1, 0, -1], "f")
    program = exported(ours.conv1d, ["l", "3"], constraints=["l - 3 >= 0"])
    assert_same(program.call(x, w), cconv1d.conv1d(x, w))
    with pytest.raises(ValueError, match="refining shapes"):
        program.call(x[:2], w)
    function = jax.vmap(partial(ours.conv1d, padding="causal"), (0, None))
    program = exported(function, ["m,n,1,l", "2,1,3"])
    x, w = np.arange(24, dtype="f").reshape(3, 2, 1, 4), np.arange(6, dtype="f").reshape(2, 1, 3)
    assert_same(program.call(x, w), function(x, w))
    reflect = partial(ours.conv1d, padding=2, padding_mode="reflect")
    program = exported(reflect, ["l", "3"])
    with pytest.raises(jax.errors.JaxRuntimeError, match="out of range for these lengths"):
        program.call(x[0, 0, 0, :2], w[0, 0])


NO_SYMBOLS = [
    ("constraint 'l - 3 >= 0'", ours.conv1d, ["l", "3"], {}),
    ("constraint 'l - 5 >= 0'", ours.conv_transpose1d, ["l", "1"], {"padding": 2}),
    ("'same' at stride 2 depends on the length", ours.conv1d, ["l", "3"],
     {"padding": "same", "stride": 2}),
    ("'auto' chooses by the length", ours.conv1d, ["l", "3"], {"method": "auto"}),
    ("c channels or taps", ours.conv1d, ["2,c,9", "4,c,3"], {}),
    ("k channels or taps", ours.conv1d, ["9", "k"], {}),
    ("weights of each sample", ours.conv1d, ["n,2,9", "n,4,2,3"], {}),
    ("takes 2 input channels", ours.conv1d, ["n,3,l", "4,2,3"], {}),
    ("as here l is not", partial(ours.conv_general_dilated, window_strides=(1,), padding="VALID"),
     ["2,2,l", "4,2,3"], {}),
    ("groups may not be symbolic", jax.vmap(ours.conv1d), ["m,2,2,9", "m,4,2,3"], {}),
]  # fmt: skip


@pytest.mark.parametrize(("match", "function", "shapes", "how"), NO_SYMBOLS)
def test_what_may_not_be_symbolic_is_refused(match, function, shapes, how):
    with pytest.raises(ValueError, match=re.escape(match)):
        exported(partial(function, **how), shapes)


def test_the_reference_computes_where_nothing_is_compiled():
    result = python(
        "import jax, numpy as np, cconv1d, cconv1d.jax as ours\n"
        "x, w = np.ones((1, 2, 5), 'f'), np.ones((3, 2, 3), 'f')\n"
        "y, back = jax.vjp(lambda x, w: ours.conv1d(x, w, padding=1), x, w)\n"
        "print(ours.COMPUTE.__name__, np.array_equal(y, cconv1d.conv1d(x, w, padding=1)))\n"
        "grads = cconv1d.conv1d_backward(np.asarray(y), x, w, padding=1)\n"
        "print(all(map(np.array_equal, back(y), grads)))\n",
        CCONV1D_BACKEND="reference",
    )
    assert result.stdout == "by_callback True\nTrue\n", result.stderr


@needs_native
def test_a_call_that_is_not_ours_is_refused():
    """By the checks in C, since anyone may name the target."""
    good = np.array([0, 0, 1, 1, 0, 0, 1, 0, 0, 1, 2, 0, 1, 2, 0, 1, 2])
    x, w = jnp.ones((2, 3, 8), np.float32), jnp.ones((4, 3, 3), np.float32)

    def call(numbers=good, shape=(2, 4, 6), dtype=np.float32, operands=(x, w)):
        result = jax.ShapeDtypeStruct(shape, dtype)
        return jax.ffi.ffi_call(ours.TARGET, result)(*operands, numbers=numbers)

    def changed(place, value):
        numbers = good.copy()
        numbers[place] = value
        return numbers

    assert_same(call(), cconv1d.conv1d(np.asarray(x), np.asarray(w)))
    shape, geometry, dtype = "the shapes of", "out of range", "unknown dtype"
    for match, wrong in (
        (shape, {"shape": (2, 4, 7)}),
        (shape, {"shape": (2, 4, 6, 1)}),
        (shape, {"operands": (x,)}),
        (shape, {"operands": (x, w, jnp.ones(5, np.float32))}),
        (shape, {"operands": (x, w, jnp.ones((4, 1), np.float32))}),
        (shape, {"operands": (x, w, jnp.ones(4, np.float32), x)}),
        (dtype, {"dtype": np.float64}),
        (dtype, {"dtype": np.int32, "operands": (x.astype(np.int32), w.astype(np.int32))}),
        (geometry, {"numbers": good[:-1]}),
        (geometry, {"numbers": good.astype(np.int32)}),
        (geometry, {"numbers": changed(0, 3)}),
        (geometry, {"numbers": changed(0, -1)}),
        (geometry, {"numbers": changed(1, 3)}),  # "auto" is for Python to resolve
        (geometry, {"numbers": changed(1, 2), "operands": (x, w[..., :2]), "shape": (2, 4, 7)}),
        (geometry, {"numbers": changed(2, 0)}),
        (geometry, {"numbers": changed(3, 2**60)}),
        (geometry, {"numbers": changed(4, -(2**60))}),
        (geometry, {"numbers": changed(6, 0)}),
        (geometry, {"numbers": changed(7, 4)}),
        (shape, {"numbers": changed(6, 2)}),
        (shape, {"numbers": changed(8, 3)}),
        (shape, {"numbers": changed(9, 0)}),
        (shape, {"numbers": changed(12, -1)}),
    ):
        with pytest.raises(jax.errors.JaxRuntimeError, match=match):
            jax.block_until_ready(call(**wrong))


MEMBERS = {
    "xla_extension": ("Extension_Base", {"size": "struct_size", "kind": "type", "next": "next"}),
    "xla_version": ("Api_Version", {"major": "major_version", "minor": "minor_version"}),
    "xla_metadata": ("Metadata", {"version": "api_version"}),
    "xla_metadata_extension": ("Metadata_Extension", {"metadata": "metadata"}),
    "xla_error_arguments": ("Error_Create_Args", {"message": "message", "code": "errc"}),
    "xla_api": ("Api", {"version": "api_version", "create_error": "XLA_FFI_Error_Create"}),
    "xla_buffer": (
        "Buffer", {"type": "dtype", "data": "data", "rank": "rank", "shape": "dims"}),
    "xla_buffers": ("Args", {"count": "size", "kinds": "types", "buffers": "args"}),
    "xla_numbers": ("Array", {"type": "dtype", "count": "size", "data": "data"}),
    "xla_attributes": (
        "Attrs", {"count": "size", "kinds": "types", "names": "names", "values": "attrs"}),
    "xla_call": (
        "CallFrame",
        {"api": "api", "stage": "stage", "arguments": "args", "results": "rets",
         "attributes": "attrs"},
    ),
}  # fmt: skip
CONSTANTS = {
    "EXECUTE": "ExecutionStage_EXECUTE",
    "METADATA": "Extension_Metadata",
    "INVALID_ARGUMENT": "Error_Code_INVALID_ARGUMENT",
    "RESOURCE_EXHAUSTED": "Error_Code_RESOURCE_EXHAUSTED",
    "ATTRIBUTE_ARRAY": "AttrType_ARRAY",
    "INT64": "DataType_S64",
    "FLOAT16": "DataType_F16",
    "FLOAT32": "DataType_F32",
    "FLOAT64": "DataType_F64",
    "COMPLEX64": "DataType_C64",
    "BFLOAT16": "DataType_BF16",
    "COMPLEX128": "DataType_C128",
}


def test_our_structs_are_those_of_xla(compiler, tmp_path):
    """The header that JAX brings is the oracle of ours."""
    header = Path(jax.ffi.include_dir()) / "xla" / "ffi" / "api" / "c_api.h"
    ours_ = REPO / "src" / "xla_ffi.h"
    if not header.exists() or not ours_.exists():
        pytest.skip("a header is missing")
    lines = [f'#include "{header}"', f'#include "{ours_}"']
    for name, (theirs, members) in MEMBERS.items():
        for member, other in members.items():
            lines.append(
                f"_Static_assert(offsetof(cc_{name}, {member}) == offsetof(XLA_FFI_{theirs}, "
                f'{other}), "{name}.{member}");'
            )
    for name, theirs in CONSTANTS.items():
        lines.append(f'_Static_assert(CC_XLA_{name} == XLA_FFI_{theirs}, "{name}");')
    lines.append('_Static_assert(XLA_FFI_API_MAJOR == 0, "another interface");')
    source = tmp_path / "structs.c"
    source.write_text("\n".join(lines) + "\n", encoding="utf-8")
    done = subprocess.run(
        [*compiler, "-c", str(source), "-o", str(tmp_path / "structs.o")],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


# --- conv_general_dilated -------------------------------------------------------------------------

SPECS = [
    None,
    ("NCH", "OIH", "NCH"),
    ("NWC", "WIO", "NWC"),
    ("CNH", "IOH", "HNC"),
]


def general_cases(count):
    rng = np.random.default_rng(6)
    for case in range(count):
        spec = SPECS[case % 4]
        groups, sample_groups = ((1, 1), (2, 1), (1, 2))[case % 3]
        stride, gap, dilation = ((1, 1, 1), (2, 1, 2), (1, 3, 2), (1, 2, 1), (2, 3, 1))[case % 5]
        padding = [(int(rng.integers(-1, 5)), int(rng.integers(-1, 5)))]
        if gap == 1 and rng.random() < 0.5:
            padding = str(rng.choice(["SAME", "VALID", "SAME_LOWER", "same"]))
        taps, length = int(rng.integers(1, 4)), int(rng.integers(2, 9))
        ins, outs, samples = (int(rng.integers(1, 4)) for _ in range(3))
        sizes = {"N": samples * sample_groups, "C": ins * groups, "I": ins}
        sizes["O"] = outs * groups * sample_groups
        lhs_spec, rhs_spec, _ = spec or ("NCH", "OIH", "NCH")
        lhs = [sizes.get(letter, length) for letter in lhs_spec]
        rhs = [sizes.get(letter, taps) for letter in rhs_spec]
        options = {
            "window_strides": (stride,),
            "padding": padding,
            "lhs_dilation": (gap,),
            "rhs_dilation": (dilation,),
            "dimension_numbers": spec,
            "feature_group_count": groups,
            "batch_group_count": sample_groups,
        }
        yield numbers(rng, lhs), numbers(rng, rhs), options


def test_general_values():
    for lhs, rhs, options in general_cases(30):
        ours_, theirs = (
            jax.jit(partial(f, **options))(lhs, rhs)
            for f in (ours.conv_general_dilated, lax.conv_general_dilated)
        )
        assert_close(ours_, theirs)


def test_general_gradients():
    for lhs, rhs, options in general_cases(8):
        ours_, theirs = (
            jax.jit(jax.grad(loss_of(partial(f, **options)), (0, 1)))(lhs, rhs)
            for f in (ours.conv_general_dilated, lax.conv_general_dilated)
        )
        assert_close(ours_, theirs)


def test_general_dtypes():
    rng = np.random.default_rng(7)
    lhs, rhs = numbers(rng, (2, 3, 9), jnp.bfloat16), numbers(rng, (4, 3, 3), jnp.bfloat16)
    wide = ours.conv_general_dilated(lhs, rhs, (1,), "VALID", preferred_element_type=np.float32)
    assert_same(
        wide, ours.conv_general_dilated(*(a.astype(F32) for a in (lhs, rhs)), (1,), "VALID")
    )
    narrow = ours.conv_general_dilated(
        *(a.astype(F32) for a in (lhs, rhs)), (1,), "VALID", preferred_element_type=F16
    )
    assert_same(narrow, wide.astype(F16))
    highest = ours.conv_general_dilated(lhs, rhs, (1,), "VALID", precision="highest")
    assert_same(highest, ours.conv_general_dilated(lhs, rhs, (1,), "VALID"))


@pytest.mark.parametrize("spec", SPECS[1:], ids=str)
def test_no_order_of_axes_is_copied(spec):
    sizes = {"N": 2, "C": 3, "I": 3, "O": 4}
    lhs = jnp.ones([sizes.get(letter, 9) for letter in spec[0]])
    rhs = jnp.ones([sizes.get(letter, 3) for letter in spec[1]])
    step = jax.jit(
        jax.grad(
            lambda *a: ours.conv_general_dilated(*a, (1,), "SAME", dimension_numbers=spec).sum(),
            (0, 1),
        )
    )
    assert "stablehlo.transpose" not in step.lower(lhs, rhs).as_text()


# --- refusals -------------------------------------------------------------------------------------

X, WEIGHT = np.ones((2, 4, 9)), np.ones((6, 2, 3))
REFUSALS = [
    (TypeError, "input must be an array, not list", ours.conv1d, ([1.0], WEIGHT), {}),
    (TypeError, "weight must be an array, not NoneType", ours.conv1d, (X, None), {}),
    (TypeError, "one dtype, not input float64, weight float32", ours.conv1d,
     (X, WEIGHT.astype("f")), {}),
    (TypeError, "must hold float32, .*, not int64", ours.conv1d,
     (X.astype(int), WEIGHT.astype(int)), {}),
    (ValueError, "takes 2 input channels, but input has 4", ours.conv1d, (X, WEIGHT), {}),
    (ValueError, "bias must have shape", ours.conv1d, (X, WEIGHT, np.ones(5)), {"groups": 2}),
    (ValueError, "padding", ours.conv1d, (X, WEIGHT), {"groups": 2, "padding": "most"}),
    (TypeError, "stride must be", ours.conv1d, (X, WEIGHT), {"groups": 2, "stride": 1.0}),
    (ValueError, "method must be", ours.conv1d, (X, WEIGHT), {"groups": 2, "method": "slow"}),
    (ValueError, "kernel spans 33", ours.conv1d, (X, WEIGHT), {"groups": 2, "dilation": 16}),
    (ValueError, "output_padding", ours.conv_transpose1d, (X, np.ones((4, 2, 3))),
     {"output_padding": 1}),
    (ValueError, "lhs must have three axes", ours.conv_general_dilated,
     (X[0], WEIGHT, (1,), "VALID"), {}),
    (ValueError, "window_strides must be a sequence of one", ours.conv_general_dilated,
     (X, WEIGHT, (1, 1), "VALID"), {}),
    (ValueError, "window_strides must be at least 1", ours.conv_general_dilated,
     (X, WEIGHT, (0,), "VALID"), {}),
    (ValueError, "padding must be 'VALID'", ours.conv_general_dilated,
     (X, WEIGHT, (1,), 3), {"feature_group_count": 2}),
    (TypeError, "padding must be an integer", ours.conv_general_dilated,
     (X, WEIGHT, (1,), [(1.5, 0)]), {"feature_group_count": 2}),
    (ValueError, "says nothing where lhs_dilation", ours.conv_general_dilated,
     (X, WEIGHT, (1,), "SAME", (2,)), {"feature_group_count": 2}),
    (ValueError, "take 2 channels in groups of 2", ours.conv_general_dilated,
     (X, WEIGHT, (1,), "VALID"), {}),
    (ValueError, "cannot both be more than 1", ours.conv_general_dilated,
     (X, WEIGHT, (1,), "VALID"), {"feature_group_count": 2, "batch_group_count": 2}),
    (ValueError, "must divide the 2 samples", ours.conv_general_dilated,
     (X, np.ones((6, 4, 3)), (1,), "VALID"), {"batch_group_count": 3}),
    (ValueError, "at least 1 tap", ours.conv_general_dilated,
     (X, np.ones((6, 4, 0)), (1,), "VALID"), {}),
    (TypeError, "preferred_element_type int32", ours.conv_general_dilated,
     (X, np.ones((6, 4, 3)), (1,), "VALID"), {"preferred_element_type": np.int32}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "match", "function", "arguments", "options"),
    REFUSALS,
    ids=[f"{r[2].__name__}: {r[1]}" for r in REFUSALS],
)
def test_refusals(kind, match, function, arguments, options):
    ours.conv1d(X, WEIGHT, groups=2)  # which is remembered, and hides nothing
    with pytest.raises(kind, match=match):
        function(*arguments, **options)


def test_cconv1d_itself_does_not_import_it():
    result = python("import sys, cconv1d; print('jax' in sys.modules)")
    assert result.stdout == "False\n", result.stderr


# --- documentation --------------------------------------------------------------------------------


def test_examples_in_docstrings():
    jax.config.update("jax_enable_x64", False)
    failed, tried = doctest.testmod(ours)
    assert tried > 8
    assert failed == 0


PAGE = REPO / "docs" / "jax.md"


@pytest.mark.skipif(not PAGE.exists(), reason="the pages are not beside the tests")
def test_the_examples_of_the_page():
    jax.config.update("jax_enable_x64", False)
    text = "".join(re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL))
    assert text.count(">>> ") > 12
    example = doctest.DocTestParser().get_doctest(text, {}, "jax.md", str(PAGE), 0)
    assert doctest.DocTestRunner().run(example).failed == 0
