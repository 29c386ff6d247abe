"""PreparedConv1d: the bits of conv1d, by weights that are packed once."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import Case, cases, integers, seeds

import cconv1d
from cconv1d import PreparedConv1d, _backend, conv1d, conv1d_backward, conv1d_backward_input

same = np.testing.assert_array_equal

DTYPES = ["float32", "float64", "complex64", "complex128", "float16", "int32"]
CASE = Case(2, 2, 4, 5, 40, 5, 2, (3, 1), 2)


def swap(array, layout):
    return array.swapaxes(1, 2) if layout == "NLC" else array


@given(
    case=cases(), seed=seeds, dtype=st.sampled_from(DTYPES), layout=st.sampled_from(["NCL", "NLC"])
)
def test_same_bits_as_conv1d(backend, case, seed, dtype, layout):
    """In the first call, which packs the weights, and in the next, for another batch and length."""
    rng = np.random.default_rng(seed)
    x, w, b, dy = case.normal(seed, dtype)
    if np.dtype(dtype).kind == "c":
        x, w, b, dy = (integers(rng, a.shape, dtype) for a in (x, w, b, dy))
    options = case.options | {"layout": layout}
    layer = PreparedConv1d(w, b, **options)
    x, dy = swap(x, layout), swap(dy, layout)
    for _ in range(2):
        same(layer(x), conv1d(x, w, b, **options))
        for ours, theirs in zip(
            layer.backward(dy, x), conv1d_backward(dy, x, w, **options), strict=True
        ):
            same(ours, theirs)
    longer = np.concatenate([x, x], axis=1 if layout == "NLC" else 2)[:1]
    same(layer(longer), conv1d(longer, w, b, **options))


def test_bfloat16(backend):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    x, w, b, dy = CASE.normal(0, ml_dtypes.bfloat16)
    layer = PreparedConv1d(w, b, **CASE.options)
    for _ in range(2):
        same(layer(x), conv1d(x, w, b, **CASE.options))
        expected = conv1d_backward(dy, x, w, **CASE.options).input
        same(layer.backward(dy, x, needs=(True, False, False)).input, expected)


@pytest.mark.parametrize("layout", ["NCL", "NLC"])
@pytest.mark.parametrize("groups", [15, 16, 33, 70])
@pytest.mark.parametrize(("stride", "dilation"), [(400, 3), (401, 700), (1, 999), (3, 7)])
def test_depthwise_layers_of_few_results(backend, groups, layout, stride, dilation):
    """Their weights are packed as lanes of one group, which only some of the nests read."""
    _, w, b, _ = Case(1, groups, 1, 1, 3, 3, 1, 0, 1).normal(0, "float32")
    for batch, length in ((1, 2000), (3, 2000), (1, 1025), (2, 40)):
        if length > 2 * dilation:
            x = np.random.default_rng(1).standard_normal((batch, groups, length)).astype("f")
            options = {"stride": stride, "dilation": dilation, "groups": groups, "layout": layout}
            layer = PreparedConv1d(w, b, **options)
            same(layer(swap(x, layout)), conv1d(swap(x, layout), w, b, **options))


def test_large_weights_that_are_packed_by_several_threads(native):
    """So many that the pool packs them, in two levels of blocks, with any number of threads."""
    case = Case(1, 2, 70, 150, 9, 5, 1, 2, 1)
    x, w, b, dy = case.normal(0, "float32")
    results = []
    for threads in (1, 2, 7):
        with cconv1d.num_threads(threads):
            layer = PreparedConv1d(w, b, **case.options)
            results.append((layer(x), layer.backward(dy, x).input))
            results.append(
                (
                    conv1d(x, w, b, **case.options),
                    conv1d_backward(dy, x, w, **case.options).input,
                )
            )
    for result in results:
        same(result[0], results[0][0])
        same(result[1], results[0][1])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("where", [(0, 0, 0), (149, 3, 2), (299, 69, 4)])
def test_weights_that_are_not_finite(native, bad, where):
    """They do not reach samples that no output reads with them, whichever thread packed them."""
    case = Case(1, 2, 70, 150, 9, 5, 1, 2, 1)
    x, w, b, dy = case.normal(0, "float32")
    w[where] = bad
    expected = np.empty_like(x)
    with np.errstate(invalid="ignore"):
        _backend.REFERENCE.backward_input(dy, w, expected, case.geometry, case.groups)
    assert not np.isfinite(expected).all()
    for threads in (1, 2, 7):
        with cconv1d.num_threads(threads):
            layer = PreparedConv1d(w, b, **case.options)
            prepared = layer.backward(dy, x, needs=(True, False, False)).input
            dx = conv1d_backward_input(dy, w, case.length, **case.options)
        same(np.isfinite(prepared), np.isfinite(expected))
        same(dx, prepared)


def test_is_a_snapshot(backend):
    x, w, b, _ = CASE.integral(0, np.float64)
    layer = PreparedConv1d(w, b, **CASE.options)
    expected = conv1d(x, w, b, **CASE.options)
    w[...] = b[...] = np.nan
    same(layer(x), expected)
    w[...] = 0
    same(layer(x), expected)
    for array in (layer.weight, layer.bias):
        assert not array.flags.writeable


def test_options_that_change_later(backend):
    padding = [3, 1]
    x, w, b, _ = CASE.integral(0, np.float64)
    layer = PreparedConv1d(w, b, **CASE.options | {"padding": padding})
    padding[:] = 0, 0
    same(layer(x), conv1d(x, w, b, **CASE.options))


def test_lists_and_lone_signals(backend):
    layer = PreparedConv1d([1, -1], padding="full")
    same(layer([1, 2, 4]), [-1, -1, -2, 4])
    assert layer.bias is None
    layer = PreparedConv1d(np.array([1, -1], np.float32))
    assert layer([1, 2, 4]).dtype == np.float32
    grads = layer.backward([1, 0], [1, 2, 4])
    same(grads.weight, [1, 2])
    same(grads.bias, [1])


@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda a: pickle.loads(pickle.dumps(a))]
)
def test_copies(backend, again):
    x, w, b, dy = CASE.normal(0, np.float32)
    layer = PreparedConv1d(w, b, **CASE.options, layout="NCL")
    y = layer(x)
    other = again(layer)
    assert repr(other) == repr(layer)
    same(other(x), y)
    same(other.backward(dy, x).input, layer.backward(dy, x).input)


class Named(PreparedConv1d):
    """With a constructor, attributes and slots of its own."""

    __slots__ = ("place", "unset")
    made = 0

    def __init__(self, name, taps):
        super().__init__(np.arange(taps) + 1.0, [0.5], padding="causal", layout="NLC")
        self.name = name
        self.notes = [name]
        self.place = {"of": self}
        Named.made += 1


class Frozen(PreparedConv1d):
    """Whose attributes are not for assignment."""

    def __setattr__(self, name, value):
        if hasattr(self, "_packed"):
            raise AttributeError(name)
        super().__setattr__(name, value)


class Counted(PreparedConv1d):
    """With a state of its own, made of that of its base."""

    def __getstate__(self):
        return super().__getstate__() | {"copies": getattr(self, "copies", 0) + 1}


AGAIN = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    **{
        f"pickle {protocol}": lambda layer, protocol=protocol: pickle.loads(
            pickle.dumps(layer, protocol)
        )
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    },
}


@pytest.mark.parametrize("again", AGAIN)
def test_copies_of_subclasses(backend, again):
    """Have the class, the attributes and the slots, and are made without the constructor."""
    layer = Named("first", 3)
    expected = layer([1.0, 2.0, 4.0])
    made = Named.made
    other = AGAIN[again](layer)
    assert Named.made == made
    assert type(other) is Named
    assert other.name == "first"
    assert (other.notes is layer.notes) == (again == "copy")
    assert other.place["of"] is (layer if again == "copy" else other)
    assert not hasattr(other, "unset")
    same(other([1.0, 2.0, 4.0]), expected)
    same(other.weight, layer.weight)
    assert repr(other) == repr(layer)
    assert repr(other).startswith("Named(<weight of shape (3,), float64>")
    for array in (other.weight, other.bias):
        assert not array.flags.writeable
    assert AGAIN[again](Counted([1.0])).copies == 1
    same(AGAIN[again](Frozen([1.0, 2.0]))([1.0, 2.0]), [5.0])


@pytest.mark.parametrize("again", AGAIN)
def test_packed_weights_stay_behind(native, again):
    """They are of the processor, and as large as the weights."""
    layer = PreparedConv1d(np.ones((40, 30, 5)))
    layer.backward(np.ones((40, 1)), layer.weight[0])
    packed = layer._packed.copy()
    assert packed
    other = AGAIN[again](layer)
    assert other._packed == {}
    assert layer._packed == packed
    assert other.bias is None
    if "pickle" in again:
        assert len(pickle.dumps(layer, 5)) < layer.weight.nbytes + 1000


def test_representation():
    layer = PreparedConv1d(np.ones((6, 2, 3), "f"), None, 2, "same", groups=2, layout="NLC")
    assert repr(layer) == (
        "PreparedConv1d(<weight of shape (6, 2, 3), float32>, bias=None, stride=2, "
        "padding='same', dilation=1, groups=2, padding_mode='zeros', layout='NLC', "
        "method='direct')"
    )


def test_out_and_accumulate(backend):
    x, w, b, dy = CASE.integral(0, np.float64)
    layer = PreparedConv1d(w, b, **CASE.options)
    y = layer(x)
    out = np.ones_like(y)
    assert layer(x, out) is out
    same(out, y)
    assert layer(x, out=out, accumulate=True) is out
    same(out, 2 * y)
    grads = layer.backward(dy, x)
    outs = cconv1d.Gradients(*map(np.ones_like, grads))
    layer.backward(dy, x, out=outs, accumulate=True)
    for ours, theirs in zip(outs, grads, strict=True):
        same(ours, theirs + 1)
    assert layer.backward(dy, x, needs=(False, True, False)).input is None


def test_every_level_packs_for_itself(each_native):
    """A layer may have been called at another level, whose tiles have other shapes."""
    x, w, b, dy = CASE.normal(0, np.float32)
    layer = PreparedConv1d(w, b, **CASE.options)

    def compute():
        expected = conv1d(x, w, b, **CASE.options)
        for _ in range(2):
            same(layer(x), expected)
        same(
            layer.backward(dy, x).input,
            conv1d_backward(dy, x, w, **CASE.options).input,
        )

    each_native(compute)
    each_native(compute)


def test_packed_weights_of_another_kind_are_refused(native):
    """So that a mistake in the package cannot read beyond an array."""
    x, w, b, _ = CASE.normal(0, np.float64)
    kernels = _backend.kernels_for(np.dtype(np.float64))
    packed = kernels.pack(w, CASE.geometry, CASE.groups, False, False)
    y = np.empty(CASE.shapes()[3], np.float32)
    x, b = x.astype(np.float32), b.astype(np.float32)
    with pytest.raises(TypeError, match="items of 8 bytes, not 4"):
        _backend.kernels_for(np.dtype(np.float32)).forward(x, packed, b, y, CASE.geometry, 2)


#: Lanes along channels: dense, in groups, with lanes left over, strided, dilated; and depthwise
#: with few taps, with more than a block of terms, which have an order of their own, and strided.
LANES = [
    Case(2, 1, 5, 48, 300, 3, 1, (1, 1), 1),
    Case(2, 2, 64, 96, 300, 5, 2, (3, 0), 3),
    Case(1, 1, 96, 47, 400, 4, 3, (0, 2), 2),
    Case(2, 48, 1, 1, 300, 3, 1, (2, 0), 1),
    Case(1, 96, 1, 1, 300, 131, 1, (130, 0), 1),
    Case(1, 47, 1, 1, 300, 7, 2, (3, 3), 1),
]


def channels_last(array):
    return np.ascontiguousarray(array.swapaxes(1, 2)).swapaxes(1, 2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", LANES, ids=str)
def test_channels_last_is_packed_once(native, case, dtype):
    """Both maps read what was packed, not the weights: those are no longer what they were."""
    x, w, b, dy = case.normal(0, dtype)
    kernels = _backend.kernels_for(w.dtype)
    g, groups = case.geometry, case.groups
    expected = np.empty_like(dy), np.empty_like(x)
    kernels.forward(x, w, b, expected[0], g, groups)
    kernels.backward_input(dy, w, expected[1], g, groups)
    packed = [kernels.pack(w, g, groups, transposed, True) for transposed in (False, True)]
    w[...] = 7
    for arrange in (channels_last, np.ascontiguousarray):
        y, dx = arrange(np.empty_like(dy)), arrange(np.empty_like(x))
        for threads in (1, 3):
            with cconv1d.num_threads(threads):
                kernels.forward(arrange(x), packed[0], b, y, g, groups)
                kernels.backward_input(arrange(dy), packed[1], dx, g, groups)
            same(y, expected[0])
            same(dx, expected[1])


@pytest.mark.parametrize("case", LANES, ids=str)
def test_channels_last_with_weights_that_are_not_finite(native, case):
    def last(array):
        return np.ascontiguousarray(array.swapaxes(1, 2))

    x, w, b, dy = case.normal(0, "float32")
    w[-1, -1, 0], w[0, 0, -1] = np.nan, np.inf
    layer = PreparedConv1d(w, b, **case.options, layout="NLC")
    wide = PreparedConv1d(w, b, **case.options)
    with np.errstate(invalid="ignore"):
        for _ in range(2):
            same(layer(last(x)), last(wide(x)))
            dx = layer.backward(last(dy), last(x)).input
            same(dx, last(wide.backward(dy, x).input))


def test_calls_from_many_threads(backend):
    x, w, b, dy = CASE.normal(0, np.float32)
    expected = conv1d(x, w, b, **CASE.options)
    dx = conv1d_backward(dy, x, w, **CASE.options).input
    for _ in range(20):
        layer = PreparedConv1d(w, b, **CASE.options)
        with ThreadPoolExecutor(8) as pool:
            for y in pool.map(layer, [x] * 16):
                same(y, expected)
            for grads in pool.map(layer.backward, [dy] * 16, [x] * 16):
                same(grads.input, dx)


@pytest.mark.parametrize(
    ("x", "error", "words"),
    [
        (np.ones((2, 6, 40)), ValueError, "takes 8 input channels, but input has 6"),
        (np.ones((2, 8, 40), np.float32), TypeError, "input float32, weight float64"),
        (np.ones((2, 8, 3)), ValueError, "the dilated kernel spans 9"),
        (np.ones(40), ValueError, "input and weight must both have channels"),
        (None, TypeError, "input must be an array, not None"),
    ],
    ids=["channels", "dtype", "length", "axes", "none"],
)
def test_refusals_of_inputs(backend, x, error, words):
    w, b = CASE.normal(0, np.float64)[1:3]
    layer = PreparedConv1d(w, b, **CASE.options)
    out = np.full(CASE.shapes()[3], 7.0)
    with pytest.raises(error, match=words):
        layer(x)
    with pytest.raises(error, match=words):
        layer(x, out=out)
    with pytest.raises((TypeError, ValueError)):
        layer.backward(out, x)
    same(out, 7)
    good = np.ones(CASE.shapes()[0])
    with pytest.raises(ValueError, match="accumulate needs out"):
        layer(good, accumulate=True)
    with pytest.raises(ValueError, match="out must have shape"):
        layer(good, out=out[:1])
    with pytest.raises(ValueError, match="three truth values"):
        layer.backward(out, good, needs=(True, False))
