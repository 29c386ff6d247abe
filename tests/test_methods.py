"""method="auto": the bits of what it chooses, and no error that "direct" would not raise."""

from __future__ import annotations

import pickle
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import Case

import cconv1d
from cconv1d import MethodChoice, choose_method
from cconv1d._methods import block_points

#: Shapes of x and w, options and what is chosen.
LAYERS = [
    ((2, 64, 4000), (64, 64, 31), {}, "fft"),
    ((2, 64, 4000), (64, 64, 3), {}, "fast"),
    ((2, 64, 4000), (64, 64, 3), {"dilation": 16}, "fast"),
    ((2, 128, 4000), (128, 128, 6), {"stride": 2}, "fast"),
    ((2, 4000, 64), (64, 64, 3), {"layout": "NLC"}, "fast"),
    ((2, 64, 4000), (64, 64, 3), {"dilation": 200}, "direct"),
    ((2, 64, 4000), (64, 64, 4), {}, "direct"),
    ((2, 64, 200), (64, 64, 3), {}, "direct"),
    ((2, 32, 4000), (32, 32, 3), {}, "direct"),
    ((40000,), (3000,), {}, "fft"),
    ((2, 64, 4000), (64, 32, 40), {"groups": 2, "dilation": 2}, "fft"),
    ((2, 64, 4000), (64, 64, 31), {"stride": 2}, "fft"),
    ((2, 64, 4000), (64, 64, 31), {"stride": 7}, "direct"),
    ((2, 64, 40), (64, 64, 31), {}, "direct"),
    ((2, 64, 4000), (2, 64, 64, 31), {}, "fft"),
    ((2, 4000, 64), (64, 64, 31), {"layout": "NLC"}, "fft"),
]


def arrays_of(x, w):
    rng = np.random.default_rng(5)
    return [rng.integers(-9, 9, shape).astype("f") / np.float32(8) for shape in (x, w)]


@pytest.mark.parametrize(("x", "w", "options", "chosen"), LAYERS, ids=str)
def test_bits_are_those_of_the_choice(x, w, options, chosen, native):
    options = {"padding": 15, **options}
    assert choose_method(x, w, np.float32, **options).method == chosen
    x, w = arrays_of(x, w)
    results = []
    for method in ("auto", chosen):
        y = cconv1d.conv1d(x, w, **options, method=method)
        gradients = cconv1d.conv1d_backward(y, x, w, **options, method=method)
        length = x.shape[-1 if options.get("layout") != "NLC" else -2]
        results.append(
            (
                y,
                *gradients,
                cconv1d.conv1d_backward_input(y, w, length, **options, method=method),
                cconv1d.conv1d_backward_weight(y, x, w.shape[-1], **options, method=method),
                cconv1d.conv_transpose1d(y, w, **options, method=method),
                *cconv1d.conv_transpose1d_backward(
                    cconv1d.conv_transpose1d(y, w, **options), y, w, **options, method=method
                ),
            )
        )
    for one, other in zip(*results, strict=True):
        assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize("lengths", [(3, 2), (900, 900), (40000, 40000), (40000, 3000)], ids=str)
@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("name", ["convolve", "correlate"])
def test_signals(name, mode, lengths, native):
    a, v = np.linspace(0, 1, lengths[0]), np.linspace(1, 2, lengths[1])
    results = {
        method: getattr(cconv1d, name)(a, v, mode, method=method).tobytes()
        for method in ("auto", "fft", "direct")
    }
    long = min(lengths) > 1000 and (mode != "valid" or lengths[0] > lengths[1])
    assert results["auto"] == results["fft" if long else "direct"]


def test_the_batch_does_not_count():
    """A sample has the bits that it has alone."""
    for x, w, options, _ in LAYERS:
        if len(x) == 3 and len(w) == 3:
            many = choose_method((1000, *x[1:]), w, **options).method
            assert many == choose_method((1, *x[1:]), w, **options).method
            assert many == choose_method(x[1:], w, **options).method


@given(st.integers(1, 2**20), st.integers(1, 600), st.integers(1, 600))
def test_blocks_are_those_of_the_extension(taps, channels, outs):
    core = pytest.importorskip("cconv1d._core")
    assert 2 * block_points(taps, channels, outs) == core.fft_block(taps, channels, outs)


@pytest.mark.parametrize("taps", [1, 2, 3, 128, 129, 512, 513])
def test_blocks_at_their_limits(taps):
    core = pytest.importorskip("cconv1d._core")
    for channels, outs in (
        (1, 7),
        (2, 4),
        (7, 9),
        (8, 8),
        (31, 33),
        (32, 32),
        (127, 129),
        (2**7,) * 2,
    ):
        assert 2 * block_points(taps, channels, outs) == core.fft_block(taps, channels, outs)


@pytest.mark.parametrize("char", "bilqg")
def test_what_is_exact_or_not_compiled_is_summed(char, backend):
    dtype = np.dtype(char)
    assert choose_method((64, 4000), (64, 64, 31), dtype).method == "direct"
    x, w = (np.arange(n).astype(dtype) for n in (40000, 300))
    direct = cconv1d.convolve(x, w)
    np.testing.assert_array_equal(cconv1d.convolve(x, w, method="auto"), direct)
    if dtype.kind == "i":
        with pytest.raises(ValueError, match="method 'fft' rounds"):
            cconv1d.convolve(x, w, method="fft")
    np.testing.assert_array_equal(
        cconv1d.conv1d(x, w, method="auto", stride=7), cconv1d.conv1d(x, w, stride=7)
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (((1, 64, 4000), (64, 64, 31), "i"), "transforms round, and int32 is summed exactly"),
        (((1, 64, 4000), (64, 64, 61), "f", 2), "blocks of 128 samples are estimated"),
        (((1, 64, 4000), (64, 64, 31), "g"), "not compiled"),
        (((2**23,), (2**20 + 1,)), r"at most 2\*\*20 taps"),
        (((1, 64, 40), (64, 64, 3)), r"less than 2\*\*20 multiply-adds"),
        (((1, 64, 4000), (64, 64, 31)), "blocks of 128 samples are estimated"),
    ],
)
def test_reasons(arguments, words):
    choice = choose_method(*arguments)
    assert isinstance(choice, MethodChoice)
    assert re.search(words, choice.reason)


def test_refusals():
    with pytest.raises(ValueError, match=r"^choose_method: the padded input has 5"):
        choose_method((5,), (9,))
    with pytest.raises(ValueError, match="'fft', 'fast' or 'auto', not 'winograd'"):
        cconv1d.conv1d([1.0, 2.0], [1.0], method="winograd")


def test_small_calls_are_usual_ones(backend):
    """As "direct", by plans that know no method."""
    x, w = np.arange(12, dtype="f").reshape(1, 2, 6), np.ones((3, 2, 2), "f") / 3
    for _ in range(3):
        auto = cconv1d.conv1d(x, w, method="auto")
        assert auto.tobytes() == cconv1d.conv1d(x, w).tobytes()
        auto = cconv1d.conv1d_backward(auto, x, w, method="auto")
        direct = cconv1d.conv1d_backward(cconv1d.conv1d(x, w), x, w)
        for one, other in zip(auto, direct, strict=True):
            assert one.tobytes() == other.tobytes()


# --- weights that are kept -----------------------------------------------------------------------

PREPARED = [
    Case(2, 1, 3, 5, 700, 40, 1, "causal", 1),
    Case(1, 1, 16, 17, 300, 9, 1, "same", 2),
    Case(2, 3, 9, 30, 400, 6, 1, "full", 1),
    Case(1, 70, 1, 1, 600, 130, 1, "same", 1),
    Case(2, 2, 8, 8, 300, 20, 1, (19, 4), 3, "reflect"),
    Case(1, 1, 9, 70, 200, 7, 1, "same", 1, "replicate"),
]


@pytest.mark.parametrize("layout", ["NCL", "NLC"])
@pytest.mark.parametrize("dtype", ["f", "d", "F", "D", "e"])
@pytest.mark.parametrize("case", PREPARED, ids=str)
def test_prepared(case, dtype, layout, backend):
    """Spectra that are kept give the bits of those that a call makes, for any batch and length."""
    x, w, b, _ = case.normal(1, dtype)
    options = case.options | {"method": "fft", "layout": layout}
    layer = cconv1d.PreparedConv1d(w, b, **options)
    for length in (x.shape[2], x.shape[2] - 7):
        for batch in (slice(None), slice(0, 1)):
            part = x[batch, :, :length]
            part = part.swapaxes(1, 2) if layout == "NLC" else part
            y = cconv1d.conv1d(part, w, b, **options)
            for _ in range(2):
                assert layer(part).tobytes() == y.tobytes()
                ours = layer.backward(y, part)
                theirs = cconv1d.conv1d_backward(y, part, w, **options)
                for one, other in zip(ours, theirs, strict=True):
                    assert one.tobytes() == other.tobytes()


def test_prepared_weights_are_transformed_once(native):
    case = PREPARED[0]
    x, w, b, _ = case.normal(1, "f")
    layer = cconv1d.PreparedConv1d(w, b, **case.options, method="fft")
    y = layer(x)
    layer.backward(y, x)
    kept = dict(layer._packed)
    assert len(kept) == 2
    layer.backward(layer(x), x)
    assert layer._packed == kept
    again = pickle.loads(pickle.dumps(layer))
    assert again(x).tobytes() == y.tobytes()
    assert repr(again) == repr(layer)
    assert repr(layer).endswith("method='fft')")


def test_prepared_spectra_are_taken(native):
    """The weights, which they could be made from again, are changed here against all rules."""
    for case in PREPARED[:4]:
        x, w, b, _ = case.normal(1, "f")
        layer = cconv1d.PreparedConv1d(w, b, **case.options, method="fft")
        y = layer(x)
        dx = layer.backward(y, x, needs=(True, False, False)).input
        layer.weight.setflags(write=True)
        layer.weight[...] = 0
        assert layer(x).tobytes() == y.tobytes()
        assert layer.backward(y, x, needs=(True, False, False)).input.tobytes() == dx.tobytes()


def test_prepared_at_another_level(each_native):
    """Spectra lie in packets of as many numbers as there are lanes, so they are made again."""
    x, w, b, _ = PREPARED[1].normal(1, "f")
    options = PREPARED[1].options | {"method": "fft"}
    layer = cconv1d.PreparedConv1d(w, b, **options)
    each_native(lambda: [layer(x)])
    results = each_native(lambda: (layer(x), cconv1d.conv1d(x, w, b, **options)))
    for ours, theirs in results.values():
        assert ours.tobytes() == theirs.tobytes()


@pytest.mark.parametrize("where", ["x", "w"])
def test_prepared_with_what_is_not_finite(where, native):
    """Results of spoiled blocks are summed from the weights themselves."""
    for case in PREPARED:
        arrays = dict(zip("xwb", case.normal(1, "f")[:3], strict=True))
        arrays[where].reshape(-1)[5] = np.inf
        options = case.options | {"method": "fft"}
        layer = cconv1d.PreparedConv1d(arrays["w"], arrays["b"], **options)
        y = cconv1d.conv1d(*arrays.values(), **options)
        assert layer(arrays["x"]).tobytes() == y.tobytes()
        direct = cconv1d.conv1d(*arrays.values(), **case.options)
        np.testing.assert_array_equal(np.isfinite(y), np.isfinite(direct))


def test_prepared_chooses_as_conv1d_does(native):
    for x, w, options, chosen in LAYERS:
        if len(w) == 4:
            continue
        x, w = arrays_of(x, w)
        options = {"padding": 15, **options}
        layer = cconv1d.PreparedConv1d(w, **options, method="auto")
        y = cconv1d.conv1d(x, w, **options, method=chosen)
        for _ in range(2):
            assert layer(x).tobytes() == y.tobytes()
            for one, other in zip(
                layer.backward(y, x)[:2],
                cconv1d.conv1d_backward(y, x, w, **options, method=chosen),
                strict=False,
            ):
                assert one.tobytes() == other.tobytes()


def test_prepared_refuses_what_its_method_does_not_take():
    with pytest.raises(ValueError, match="PreparedConv1d: method 'fft' rounds"):
        cconv1d.PreparedConv1d(np.arange(3), method="fft")
    with pytest.raises(ValueError, match="PreparedConv1d: method must be 'direct'"):
        cconv1d.PreparedConv1d([1.0, 2.0], method="winograd")
