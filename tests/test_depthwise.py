"""Depthwise layers with few positions, which have nests with lanes along the channels.

Which nest computes must not show, but by the order of the sums of a gradient of weights.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import LAYOUTS, REAL, WRITEABLE, Case, assert_accurate, reference_maps, seeds, tuned
from test_kernels import fused, integral, kernel_maps

import cconv1d
from cconv1d import PreparedConv1d, conv1d, conv1d_backward
from cconv1d._geometry import PADDING_MODES

same = np.testing.assert_array_equal

#: Outputs up to which these nests compute, with channels first and last, and dw of one sample.
FEW, FEW_LAST, FEW_ALONE = 192, 32, 40
#: The fewest channels that they take.
LEAST = 16


def at_most(outputs):
    """The depthwise nests take so many outputs."""
    return tuned(depthwise_positions=outputs)


def layer(batch, channels, length, taps, stride=1, padding=0, dilation=1, mode="zeros"):
    return Case(batch, channels, 1, 1, length, taps, stride, padding, dilation, mode)


def swap(array, layout):
    return array.swapaxes(1, 2) if layout == "NLC" else array


def maps(case, x, w, b, dy, layout="NCL", order="C"):
    """y, dx and dw with channels first or last; with order "C" arrays lie as their axes do."""
    options = case.options | {"layout": layout}
    x, dy = (np.asarray(swap(a, layout), order=order) for a in (x, dy))
    y = conv1d(x, w, b, **options)
    grads = conv1d_backward(dy, x, w, **options)
    return swap(y, layout), swap(grads.input, layout), grads.weight


def check_bits(case, dtype, seed=0):
    """The bits of the other nests; of dw, those of both layouts and the right numbers."""
    x, w, b, dy = case.normal(seed, dtype)
    with at_most(0):
        expected = maps(case, x, w, b, dy)
    for layout in ("NCL", "NLC"):
        for order in ("C", "F"):
            with at_most(10**6):
                got = maps(case, x, w, b, dy, layout, order)
            for name, a, e in zip(("y", "dx"), got, expected, strict=False):
                same(a, e, err_msg=f"{name} {layout} {order}")
            if layout == "NCL" and order == "C":
                dw = got[2]
            same(got[2], dw, err_msg=f"dw {layout} {order}")
    db = dy.sum((0, 2), dtype=np.float64).astype(dtype)
    sums = [*expected[:2], dw, db]
    if dtype in REAL:
        assert_accurate(sums, [x, w, b, dy], case.geometry, case.groups)


cases = st.builds(
    layer,
    batch=st.sampled_from([1, 2, 3, 7, 40]),
    channels=st.sampled_from([16, 17, 23, 24, 31, 32, 33, 40, 48, 63, 64, 65]),
    length=st.sampled_from([1, 2, 3, 4, 5, 7, 8, 9, 16, 31, 64, 130, 200]),
    taps=st.sampled_from([1, 2, 3, 4, 5, 8, 9, 16, 17, 31, 33, 100, 128, 129, 257]),
    stride=st.sampled_from([1, 1, 2, 3, 4, 5, 8, 17]),
    padding=st.tuples(st.integers(0, 150), st.integers(0, 150)),
    dilation=st.sampled_from([1, 1, 2, 3, 8, 9]),
).filter(lambda case: case.length + sum(case.padding) > case.dilation * (case.taps - 1))


@given(case=cases, seed=seeds, dtype=st.sampled_from([*REAL, np.dtype(np.float16)]))
def test_any_geometry_has_the_bits_of_the_other_nests(native, case, seed, dtype):
    check_bits(case, dtype, seed)


@given(case=cases, seed=seeds, mode=st.sampled_from(PADDING_MODES[1:]), data=st.data())
def test_padding_modes(native, case, seed, mode, data):
    most = min(case.length - (mode == "reflect"), 40) if mode != "replicate" else 40
    sides = data.draw(st.tuples(st.integers(0, most), st.integers(0, most)))
    taps = min(case.taps, (case.length + sum(sides) - 1) // case.dilation + 1)
    check_bits(case._replace(padding=sides, taps=taps, mode=mode), np.dtype(np.float32), seed)


# One more or less than fills a vector, a block of lanes, a tile of positions or a chain of terms.
EDGES = [
    *(layer(2, channels, 9, 3, 1, 1) for channels in (16, 17, 31, 32, 33, 47, 48, 49, 64, 65, 257)),
    *(layer(3, 20, length, 3, 1, 1) for length in (1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 24, 25)),
    *(layer(2, 20, 40, taps, 1, taps - 1) for taps in (1, 2, 16, 17, 127, 128, 129, 255, 256, 257)),
    *(layer(2, 20, 9, taps, 1, taps // 2) for taps in (31, 128, 129, 400)),  # most meet zeros only
    layer(1, 32, 1024, 4, 8, 1),
    layer(1, 32, 1025, 4, 8, 1),
    layer(2, 32, 30, 3, 7),  # samples that no tap meets
    layer(2, 32, 2, 1, 1, 3),  # positions that meet no sample
    layer(2, 32, 40, 5, 3, 200, 9),
    layer(130, 16, 1, 1),  # chains of dw over many samples
    layer(130, 16, 3, 2),
    layer(3, 16, 150, 3),  # and several of a sample
]


@pytest.mark.parametrize("dtype", REAL, ids=str)
@pytest.mark.parametrize("case", EDGES, ids=str)
def test_either_side_of_vectors_tiles_and_chains(native, case, dtype):
    check_bits(case, dtype)
    four, expected = integral(case)
    got = kernel_maps(*(a.astype(dtype) for a in four), case.geometry, case.groups)
    for name, a, e in zip(("y", "dx", "dw", "db"), got, expected, strict=True):
        same(a, e, err_msg=name)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    "outputs", [FEW_LAST, FEW_LAST + 1, FEW_ALONE, FEW_ALONE + 1, FEW, FEW + 1]
)
@pytest.mark.parametrize("channels", [LEAST - 1, LEAST])
@pytest.mark.parametrize("batch", [1, 2])
def test_either_side_of_the_choice(native, batch, channels, outputs, stride):
    """What the nests are chosen by, with the numbers that choose."""
    case = layer(batch, channels, (outputs - 1) * stride + 3, 3, stride)
    x, w, b, dy = case.normal(0, np.float32)
    expected = maps(case, x, w, b, dy)
    assert_accurate(
        [*expected, dy.sum((0, 2), dtype=np.float64).astype(np.float32)],
        [x, w, b, dy],
        case.geometry,
        case.groups,
    )
    for a, e in zip(maps(case, x, w, b, dy, "NLC"), expected, strict=True):
        same(a, e)
    with at_most(0):
        for a, e in zip(maps(case, x, w, b, dy)[:2], expected, strict=False):
            same(a, e)


@pytest.mark.parametrize("case", [layer(3, 50, 20, 7, 2, 3), layer(70, 33, 6, 4)], ids=str)
def test_levels_agree(each_native, case):
    four = case.normal(0, np.float32)
    found = each_native(lambda: [a.tobytes() for a in maps(case, *four)])
    levels = fused(found)
    for level in levels:
        assert found[level] == found[levels[0]], level


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("layout", ["NCL", "NLC"])
@pytest.mark.parametrize("case", [layer(9, 70, 20, 7, 2, 3), layer(3, 128, 6, 4)], ids=str)
def test_threads_samples_and_prepared_weights(native, case, layout, dtype):
    if dtype == "bfloat16":
        dtype = pytest.importorskip("ml_dtypes").bfloat16
    x, w, b, dy = case.normal(0, dtype)
    options = case.options | {"layout": layout}
    x, dy = (np.ascontiguousarray(swap(a, layout)) for a in (x, dy))

    def every():
        prepared = PreparedConv1d(w, b, **options)
        return (
            *(conv1d(x, w, b, **options), *conv1d_backward(dy, x, w, **options)),
            *(prepared(x), *prepared.backward(dy, x)),
        )

    expected = every()
    for threads in (2, 7):
        with tuned(serial_products=0), cconv1d.num_threads(threads):
            for a, e in zip(every(), expected, strict=True):
                assert a.tobytes() == e.tobytes()
    for a, e in zip(expected[:4], expected[4:], strict=True):
        assert a.tobytes() == e.tobytes()
    with at_most(0):
        y, dx, *_ = every()
    assert (y.tobytes(), dx.tobytes()) == (expected[0].tobytes(), expected[1].tobytes())
    for n in range(case.batch):
        assert conv1d(x[n], w, b, **options).tobytes() == expected[0][n].tobytes()


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_any_strides(native, name, dtype):
    for case in (layer(3, 37, 11, 4, 1, 2), layer(2, 64, 5, 5), layer(3, 32, 3, 2)):
        four = case.normal(0, dtype)
        expected = maps(case, *four)
        moved = [LAYOUTS[name](a) for a in four]
        y = WRITEABLE[name if name in WRITEABLE else "contiguous"](np.empty_like(four[3]))
        same(conv1d(*moved[:3], **case.options, out=y), expected[0])
        grads = conv1d_backward(moved[3], *moved[:2], **case.options)
        same(grads.input, expected[1])
        same(grads.weight, expected[2])


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("window", range(2, 17))
def test_decode_steps(native, window, dtype):
    """One or a few new positions of many channels."""
    if dtype == "bfloat16":
        dtype = pytest.importorskip("ml_dtypes").bfloat16
    rng = np.random.default_rng(window)
    for channels, new in ((64, 1), (100, 1), (100, 3)):
        state = rng.integers(-3, 4, (3, channels, window + new - 1)).astype(dtype)
        w = rng.integers(-3, 4, (channels, window)).astype(dtype)
        windows = np.lib.stride_tricks.sliding_window_view(state.astype(np.float32), window, axis=2)
        expected = np.einsum("bdpw,dw->bdp", windows, w.astype(np.float32)).astype(dtype)
        same(conv1d(state, w[:, np.newaxis], groups=channels), expected)
        last = np.ascontiguousarray(state.swapaxes(1, 2))
        for function in (
            lambda x, w=w: conv1d(x, w[:, np.newaxis], groups=len(w), layout="NLC"),
            PreparedConv1d(w[:, np.newaxis], groups=channels, layout="NLC"),
        ):
            same(function(last), expected.swapaxes(1, 2))


def test_gradients_of_a_samples_own_weights(native):
    """They are those of the sample alone, though samples are groups then, of many channels."""
    for case in (layer(5, 6, 20, 3, 1, 1), layer(5, 6, 90, 3, 1, 1), layer(20, 1, 39, 2)):
        x, _, _, dy = case.normal(0, np.float32)
        options = {k: v for k, v in case.options.items() if k != "groups"}
        where = {"kernel_size": case.taps, "groups": case.groups, **options}
        each = cconv1d.conv1d_backward_weight(dy, x, **where, per_sample=True)
        for n in range(case.batch):
            alone = cconv1d.conv1d_backward_weight(dy[n : n + 1], x[n : n + 1], **where)
            same(each[n], alone)


@pytest.mark.parametrize("padding", [0, 3, 9])
@pytest.mark.parametrize("dtype", REAL, ids=str)
def test_what_is_not_finite_reaches_what_it_did(native, dtype, padding):
    """The same results are not finite as by the other nests, and the others are the same."""
    case = layer(3, 37, 12, 7, 2, padding)
    for place in range(5):
        four = case.integral(place, dtype)
        x, w, _, dy = four
        x[1, 5, place] = np.nan
        dy[2, 7, place % dy.shape[2]] = np.inf
        w[9, 0, place] = -np.inf
        with np.errstate(invalid="ignore"):
            got = maps(case, *four)
            with at_most(0):
                expected = maps(case, *four)
        for a, e in zip(got, expected, strict=True):
            same(a, e)
        assert np.isnan(got[2][5]).any()
        assert np.isfinite(got[0][:, 20:]).all()


def test_no_samples_and_no_positions_to_meet(native):
    for case in (layer(0, 32, 5, 3), layer(2, 32, 0, 3, 1, 3)):
        four = case.integral(0, np.float32)
        exact = reference_maps(*four, case.geometry, case.groups, np.float64)
        for a, e in zip(maps(case, *four), exact, strict=False):
            same(a, e)
