"""forward over few positions or long padding: the bits of the nests that sum the same terms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import Case, cases, needs_native, seeds, tuned

import cconv1d
from cconv1d import PreparedConv1d, conv1d

pytestmark = [needs_native, pytest.mark.thread_unsafe]  # all threads read what is set

#: What has a nest compute all that it can, and what leaves it to panels: see src/nest/tuning.pxi.
PANELS = {"few_positions": 0, "living_gain": 2**30, "depthwise_positions": 0}
NESTS = {
    "few_positions": PANELS | {"few_positions": 2**20},
    "living_taps": PANELS | {"living_gain": 0},
}
DTYPES = ("f", "d", "e", "F", "D")
LAYOUTS = ("NCL", "NLC")


@pytest.fixture(params=NESTS)
def nest(request):
    return NESTS[request.param]


def operands(case, dtype, layout, seed=0):
    """x, w and b; x in the order of the layout."""
    draw = np.random.default_rng(seed)

    def normal(shape):
        values = draw.standard_normal(shape)
        if np.dtype(dtype).kind == "c":
            values = values + 1j * draw.standard_normal(shape)
        return values.astype(dtype)

    x, w, b = map(normal, case.shapes()[:3])
    return np.ascontiguousarray(x.swapaxes(1, 2)) if layout == "NLC" else x, w, b


def same_bits(nest, case, dtype, layout, arrays, **other):
    """The result of a nest, after a comparison with that of panels."""
    x, w, b = arrays
    options = {**case.options, "layout": layout}
    with tuned(**PANELS):
        expected = conv1d(x, w, b, **options, **other)
    with tuned(**nest):
        y = conv1d(x, w, b, **options, **other)
    assert y.tobytes() == expected.tobytes()
    return y


def case(
    batch=1, groups=1, channels=5, outs=16, length=40, taps=3, stride=1, padding=0, dilation=1
):
    return Case(batch, groups, channels, outs, length, taps, stride, padding, dilation)


# Either side of: the lanes of a tile at every level; its rows, and the strips of positions; the
# blocks of terms, and the spans of blocks; two blocks of lanes or more for one position or two.
SIZES = {
    **{f"{n} outputs": case(outs=n, batch=2, padding=1) for n in (*range(1, 10), 15, 16, 17)},
    **{f"{n} outputs of 3 groups": case(outs=n, groups=3) for n in (31, 32, 33, 63, 65, 129)},
    **{f"{n} outputs of long taps": case(3, 2, 9, n, 90, 30, 7, 2) for n in (1, 4, 5, 7)},
    **{f"{n} positions": case(length=n + 2) for n in (1, 2, 3, 5, 6, 7, 11, 12, 13, 25)},
    **{f"{n} positions, long": case(length=n + 2, outs=9) for n in (127, 128, 129, 257, 300)},
    **{f"{n} signals of 1": case(batch=n, length=3) for n in (2, 3, 7, 13, 127, 129)},
    **{f"{n} signals of 2": case(batch=n, length=4, outs=70) for n in (2, 3, 65)},
    **{f"{n} signals of 7": case(batch=n, length=9) for n in (2, 3, 19, 37)},
    **{f"{n} terms": case(channels=n, taps=1, outs=33) for n in (1, 127, 128, 129, 511, 513, 1030)},
    **{f"{n} taps": case(channels=2, taps=n, length=n + 3) for n in (127, 128, 129, 300, 513)},
    **{f"{n} for 1 position": case(outs=n, length=3, channels=50) for n in (63, 64, 65, 130, 257)},
    **{f"{n} for 2 positions": case(outs=n, length=4, channels=50) for n in (31, 33, 65, 130)},
    "one tap for 1 position": case(batch=5, channels=140, taps=1, length=1),
    "one tap of many that meets a sample": case(3, 2, 50, 9, 1, 9, 3, 4, 1),
    "stride": case(stride=3, taps=7, length=50, batch=2),
    "stride beyond the taps": case(stride=40, taps=3, length=200, batch=2),
    "stride and one tap": case(stride=5, taps=1, length=101, channels=40),
    "stride and dilation": case(stride=6, dilation=4, taps=5, length=70, padding=9),
    "taps that meet nothing": case(taps=64, length=9, padding=230, dilation=7, outs=40),
    "all but few taps meet nothing": case(1, 2, 30, 20, 5, 128, 1, 508, 8),
    "positions that meet nothing": case(taps=3, length=4, padding=20, stride=3),
    **{
        f"{n} positions, long padding": case(1, 1, 5, 9, 8, n + 8, 1, n)
        for n in (31, 32, 33, 65, 97)
    },
    **{f"{n} outputs, long padding": case(1, 2, 40, n, 8, 20, 1, 19) for n in (2, 3, 4, 7, 12, 13)},
    **{f"{n} signals, long padding": case(n, 1, 5, 9, 6, 40, 1, 37) for n in (2, 5, 6, 7, 33)},
    # lanes that are signals, either side of a half and a whole tile; spans that part channels
    **{
        f"{n} signals, kernels longer": case(n, 1, 6, 7, 9, 21, 2, 10)
        for n in (7, 8, 15, 16, 17, 31, 33, 50)
    },
    "signals, dilation": case(40, 2, 9, 13, 11, 9, 1, 16, 4),
    "signals, some spans": case(33, 1, 70, 5, 6, 9, 1, 4),
    "signals, many positions": case(20, 3, 5, 9, 30, 40, 1, 20),
    "signals, positions that meet nothing": case(18, 1, 5, 9, 3, 4, 3, 20),
    "signals, too many samples": case(18, 1, 5, 9, 300, 2, 1, 60, 60),
    **{
        f"dilation of {n}, long padding": case(1, 1, 9, 9, 30, 9, 1, 4 * n, n)
        for n in (255, 256, 257)
    },
    "stride that divides the dilation, long padding": case(2, 1, 20, 9, 30, 150, 2, 590, 8),
    "taps of a later span, long padding": case(1, 1, 1, 9, 700, 3000, 2, 2900),
    "many terms, long padding": case(1, 1, 300, 5, 30, 70, 1, 60),
    "one channel a group, long padding": case(2, 33, 1, 1, 30, 70, 1, 400, 12),
    "taps far apart": case(taps=3, length=1000, dilation=400, channels=200),
    **{
        f"{n} positions, taps far apart": case(b, 1, 60, 9, 800 + n, 3, 1, 0, 400)
        for b, n in ((1, 1), (1, 15), (1, 16), (3, 5), (1, 17))
    },
    "many samples": case(batch=3, channels=20, taps=9, stride=8, length=3000),
}


@pytest.mark.parametrize("size", SIZES)
def test_sizes(native, nest, size):
    for dtype in DTYPES:
        for layout in LAYOUTS:
            arrays = operands(SIZES[size], dtype, layout)
            same_bits(nest, SIZES[size], dtype, layout, arrays)
            same_bits(nest, SIZES[size], dtype, layout, (*arrays[:2], None))


SHORT = {
    **{f"{n} signals": Case(n, 1, 7, 6, 9, 5, 1, 2, 1) for n in (7, 8, 15, 16, 17, 31, 33, 50)},
    "kernels longer": Case(20, 1, 7, 6, 9, 21, 1, 10, 1),
    "dilation": Case(20, 2, 7, 13, 11, 9, 1, 16, 4),
    "spans": Case(33, 1, 5, 70, 6, 9, 1, 4, 1),
    "no padding": Case(18, 3, 9, 5, 30, 4, 1, 0, 2),
    "padding cut off": Case(18, 1, 9, 5, 7, 4, 1, 9, 1),
    "one position": Case(130, 1, 9, 5, 3, 3, 1, 0, 1),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size", SHORT)
def test_backward_input_along_signals(native, size, layout):
    case = SHORT[size]
    for dtype in DTYPES:
        _, w, _, dy = case.normal(0, dtype)
        if layout == "NLC":
            dy = np.ascontiguousarray(dy.swapaxes(1, 2))
        options = {**case.options, "layout": layout}
        bits = []
        for gain in (2**30, 0):
            with tuned(few_input_gain=0, living_gain=gain):
                dx = cconv1d.conv1d_backward_input(dy, w, case.length, **options)
            bits.append(dx.tobytes())
        assert bits[0] == bits[1]


def moved(array, draw):
    """The same numbers, elsewhere: with gaps, backwards, with other strides, or read-only."""
    kind = draw.integers(4)
    if kind == 0:
        array = array.copy()
        array.flags.writeable = False
    elif kind == 1:
        array = np.asfortranarray(array)
    elif kind == 2:
        array = array[..., ::-1].copy()[..., ::-1]
    else:
        wide = np.zeros([2 * n + 1 for n in array.shape], array.dtype)
        inside = wide[tuple(slice(1, None, 2) for _ in array.shape)]
        inside[...] = array
        array = inside
    return array


@given(
    case=cases(work=2**15),
    dtype=st.sampled_from(DTYPES),
    layout=st.sampled_from(LAYOUTS),
    seed=seeds,
)
def test_any_geometry(native, nest, case, dtype, layout, seed):
    """Arrays with any strides, and results into such: in every padding mode."""
    arrays = operands(case, dtype, layout, seed)
    y = same_bits(nest, case, dtype, layout, arrays)
    draw = np.random.default_rng(seed)
    out = moved(y, draw)
    if not out.flags.writeable:
        out = np.empty(y.shape, y.dtype, "F")
    out[...] = 0
    with tuned(**nest):
        conv1d(*(moved(array, draw) for array in arrays), **case.options, layout=layout, out=out)
    assert out.tobytes() == y.tobytes()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size", SIZES)
def test_prepared(native, nest, size, layout):
    """Weights packed along lanes are read in place; those of half precision are not packed so."""
    for dtype in ("f", "d", "e", "F"):
        x, w, b = operands(SIZES[size], dtype, layout)
        y = same_bits(nest, SIZES[size], dtype, layout, (x, w, b))
        layer = PreparedConv1d(w, b, **SIZES[size].options, layout=layout)
        for numbers in (PANELS, nest):
            with tuned(**numbers):
                assert layer(x).tobytes() == y.tobytes()


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_threads(native, nest, threads):
    """Parts of the channels, of the groups, of the positions."""
    with tuned(serial_products=0):
        for size in (
            "2 signals of 7",
            "65 outputs of 3 groups",
            "300 positions, long",
            "513 taps",
            "33 signals, long padding",
            "many terms, long padding",
        ):
            for dtype in ("f", "D"):
                arrays = operands(SIZES[size], dtype, "NCL")
                with cconv1d.num_threads(1):
                    alone = same_bits(nest, SIZES[size], dtype, "NCL", arrays)
                with cconv1d.num_threads(threads):
                    y = same_bits(nest, SIZES[size], dtype, "NCL", arrays)
                assert y.tobytes() == alone.tobytes()


def test_levels_that_fuse(each_native, nest):
    """The same bits at all of them."""
    for size, sizes in SIZES.items():
        arrays = operands(sizes, "f", "NCL")
        with tuned(**nest):
            results = each_native(lambda: conv1d(*arrays, **sizes.options).tobytes())  # noqa: B023
        results.pop("native-baseline", None)
        assert len(set(results.values())) <= 1, size


@pytest.mark.parametrize("number", [np.nan, np.inf])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_zero_padding(native, nest, number, layout):
    """A weight that is not finite reaches the outputs where its tap meets a sample, no other."""
    for size in (
        "9 outputs",
        "stride and dilation",
        "taps that meet nothing",
        "33 positions, long padding",
    ):
        sizes = SIZES[size]
        x, w, b = operands(sizes, "f", layout)
        for tap in (0, sizes.taps // 2, sizes.taps - 1):
            spoiled = w.copy()
            spoiled[3, 1, tap] = number
            with tuned(**PANELS):
                expected = conv1d(x, spoiled, b, **sizes.options, layout=layout)
            with tuned(**nest):
                y = conv1d(x, spoiled, b, **sizes.options, layout=layout)
            if native == "native-baseline":  # what is computed again is fused there, too
                np.testing.assert_allclose(y, expected, 1e-4, 1e-5)
            else:
                assert y.tobytes() == expected.tobytes()
