"""Methods "fft" and "fast": sums within their bounds, the same bits, NaN where it belongs."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import BORDER, LAYOUTS, Case, between_nans, cases, seeds, tuned

import cconv1d
from cconv1d import Gradients

#: Positions on either side of a block of 512 samples, of two of them and of larger blocks.
CASES = [
    Case(1, 1, 1, 1, 1, 1, 1, 0, 1),
    Case(1, 1, 1, 1, 470, 41, 1, "full", 1),
    Case(1, 1, 1, 1, 512, 41, 1, "valid", 1),
    # as many samples as a block has results, and one more: beside zeros the block gives all of them
    Case(1, 1, 1, 1, 472, 41, 1, "full", 1),
    Case(1, 1, 1, 1, 473, 41, 1, "full", 1),
    Case(2, 1, 2, 3, 944, 41, 1, (900, 700), 2),
    Case(1, 1, 2, 3, 945, 41, 1, "full", 2),
    Case(1, 1, 2, 3, 470, 41, 1, (45, 50), 1, "circular"),
    # more groups than are taken at once where channels lie side by side
    Case(2, 70, 1, 1, 600, 130, 1, "same", 1),
    Case(1, 37, 1, 2, 300, 9, 2, (4, 4), 1),
    Case(1, 11, 3, 5, 700, 66, 1, "causal", 3),
    Case(2, 1, 1, 1, 3000, 129, 1, "same", 1),
    Case(1, 1, 1, 1, 900, 700, 1, "full", 1),
    Case(1, 1, 1, 1, 700, 700, 1, "causal", 1),
    Case(1, 1, 1, 2, 5000, 520, 1, (3, 7), 1),
    Case(2, 5, 1, 1, 600, 33, 1, "causal", 1),
    Case(1, 2, 1, 3, 1100, 9, 1, "same", 1),
    Case(3, 1, 4, 5, 505, 8, 1, "same", 1),
    Case(1, 1, 63, 9, 100, 17, 1, "same", 1),
    Case(1, 1, 65, 2, 520, 3, 1, 1, 1),
    Case(1, 2, 129, 3, 60, 5, 1, "full", 1),
    Case(70, 1, 2, 2, 20, 3, 1, 0, 1),
    Case(1, 1, 16, 17, 3000, 4, 1, "same", 1),
    Case(2, 1, 3, 70, 700, 11, 1, "same", 1),
    Case(3, 2, 9, 33, 400, 6, 1, "same", 2),
    Case(1, 1, 130, 128, 150, 7, 1, "full", 1),
    Case(1, 1, 2, 34, 900, 65, 1, "causal", 1),
    Case(2, 3, 2, 3, 700, 9, 1, "same", 3),
    # residues of a dilation whose samples are exchanged with the lanes together, or are too many
    Case(3, 1, 17, 16, 600, 7, 1, "same", 8),
    Case(2, 2, 9, 33, 150, 6, 1, (70, 3), 16),
    Case(2, 1, 16, 20, 700, 100, 1, "same", 6),
    Case(1, 1, 20, 8, 400, 9, 1, (33, 60), 5, "reflect"),
    Case(1, 1, 2, 1, 30, 9, 1, (400, 7), 40),
    Case(1, 1, 8, 8, 40, 30, 1, "full", 7),
    Case(2, 2, 3, 2, 900, 30, 1, (29, 17), 2, "reflect"),
    Case(2, 2, 3, 2, 900, 30, 1, (29, 17), 2, "replicate"),
    Case(1, 2, 8, 4, 700, 30, 1, (29, 600), 1, "circular"),
    # strides: taps in one residue, in some of them and in all, fewer taps than residues
    Case(2, 1, 1, 1, 3001, 129, 2, (64, 64), 1),
    Case(1, 2, 3, 2, 900, 41, 4, (20, 20), 1),
    Case(2, 1, 16, 17, 700, 20, 3, (7, 2), 2),
    Case(1, 1, 3, 5, 901, 33, 6, (5, 9), 4),
    Case(1, 3, 2, 2, 1000, 30, 2, (0, 11), 4),
    Case(1, 1, 4, 3, 800, 5, 7, (3, 0), 1),
    Case(1, 1, 66, 70, 300, 9, 2, (4, 4), 1),
    Case(2, 2, 3, 2, 900, 30, 3, (29, 17), 2, "reflect"),
    Case(1, 1, 5, 8, 701, 16, 2, (12, 15), 1, "circular"),
    Case(1, 1, 2, 3, 10, 40, 3, (30, 45), 1),
]
#: Three taps, or three to a residue, on either side of a block of 128 pairs of results.
FAST_CASES = [
    Case(1, 1, 1, 1, 1, 3, 1, 1, 1),
    Case(1, 1, 1, 1, 3, 3, 1, 0, 1),
    Case(2, 1, 5, 7, 4, 3, 1, "full", 1),
    Case(3, 1, 4, 13, 257, 3, 1, 1, 1),
    Case(2, 1, 16, 12, 258, 3, 1, 0, 1),
    Case(2, 2, 7, 25, 259, 3, 1, "causal", 1),
    Case(1, 1, 130, 6, 513, 3, 1, (7, 900), 1),
    # short signals in one line, and more of them than there is room for
    Case(70, 1, 3, 4, 9, 3, 1, 1, 1),
    Case(5, 1, 3, 14, 100, 3, 1, 1, 1),
    Case(2, 40, 1, 1, 60, 3, 1, 1, 1),
    # results of a pair that lie the dilation apart
    Case(2, 1, 3, 5, 500, 3, 1, 2, 2),
    Case(2, 1, 3, 5, 500, 3, 1, (2, 4), 3),
    Case(1, 2, 9, 8, 300, 3, 1, "same", 4),
    Case(1, 1, 2, 9, 700, 3, 1, "same", 7),
    Case(1, 1, 5, 8, 400, 3, 1, "causal", 8),
    Case(1, 1, 5, 13, 400, 3, 1, 0, 16),
    Case(1, 1, 3, 2, 300, 3, 1, "full", 100),
    Case(1, 1, 3, 7, 900, 3, 1, (128, 1), 128),
    Case(1, 1, 3, 7, 900, 3, 1, (128, 1), 129),
    Case(1, 1, 3, 2, 11, 3, 1, (300, 310), 200),
    # strides
    Case(2, 1, 3, 5, 301, 5, 2, 2, 1),
    Case(1, 2, 6, 5, 700, 6, 2, (3, 0), 1),
    Case(1, 1, 3, 4, 1, 6, 2, (3, 3), 1),  # to one residue there is no sample
    Case(1, 1, 5, 8, 350, 12, 4, (4, 4), 1),
    Case(2, 1, 3, 2, 200, 6, 4, (9, 9), 2),
    Case(1, 1, 3, 4, 100, 3, 2, 2, 2),
    Case(1, 1, 3, 4, 300, 8, 3, (2, 1), 5),
    Case(2, 2, 3, 2, 300, 3, 1, (2, 1), 1, "reflect"),
    Case(2, 2, 3, 2, 300, 3, 1, (29, 17), 16, "replicate"),
    Case(1, 2, 8, 4, 100, 5, 2, (29, 60), 1, "circular"),
]
ALL = [*(("fft", case) for case in CASES), *(("fast", case) for case in FAST_CASES)]


def over(cases):
    """A mark for tests of a method and a case."""
    ids = [f"{method}-{tuple(case)}" for method, case in cases]
    return pytest.mark.parametrize(("method", "case"), cases, ids=ids)


FLOATS = [np.dtype(char) for char in "fdFD"]


def numbers(case, dtype, kind="normal", seed=3):
    """x, w, b and dy."""
    rng = np.random.default_rng(seed)

    def make(shape):
        values = rng.standard_normal(shape)
        if kind == "relu":
            values = values.clip(0)
        elif kind == "offset":
            values = 1 + values / 100
        elif kind == "wide":
            values = values * 10.0 ** rng.integers(-6, 6, shape)
        if dtype.kind == "c":
            values = values + 1j * rng.standard_normal(shape)
        return values.astype(dtype)

    return [make(shape) for shape in case.shapes()]


def maps(method, case, x, w, b, dy, **more):
    """What the public functions return: y, dx, dw."""
    options = case.options | {"method": method} | more
    y = cconv1d.conv1d(x, w, b, **options)
    return y, *cconv1d.conv1d_backward(dy, x, w, **options)[:2]


def largest(array):
    """Of each sample and group or channel, in a shape that broadcasts."""
    return abs(array).max(axis=-1, keepdims=True, initial=0)


def bounds(method, case, x, w, b, dy):
    """As docs/methods.md has them, for each result."""
    n, groups, channels, outs = case[:4]
    g = case.geometry
    if cconv1d._backend.core is None:  # the reference transforms whole signals
        block = 2 * (g.output_length + (case.taps - 1) * g.dilation)
    else:
        pair = 2 if x.dtype.kind == "c" else 1
        period = case.stride // math.gcd(case.stride, case.dilation)
        residues = min(period, case.taps)
        sizes = pair * channels, pair * outs, -(-case.taps // period)
        block = 0
        for one, other in ((residues * sizes[0], sizes[1]), (sizes[1], sizes[0])):
            for taps in (sizes[2], max(sizes[2] - 1, 1)):
                block = max(block, cconv1d._backend.core.fft_block(taps, one, other))
    factor = np.log2(block) + 2 + np.sqrt(128) / 2  # sums over channels or blocks, and the bias
    if method == "fast":
        factor = 10 + 2 * np.sqrt(128)
    eps = np.finfo(x.dtype).eps * factor * (2 if x.dtype.kind == "c" else 1)
    xs = largest(x).reshape(n, groups, 1, channels)
    dys = largest(dy).reshape(n, groups, outs)
    ws = abs(w).sum(axis=-1).reshape(1, groups, outs, channels)
    y = (ws * xs).sum(axis=-1).reshape(n, -1, 1) + abs(b)[:, None]
    dx = (ws[0] * dys[..., None]).sum(axis=2).reshape(n, -1, 1)
    copies = 3 if case.mode == "reflect" or case.mode == "circular" else 1
    if case.mode == "replicate":
        copies = case.length + 1
    total = abs(dy).sum(axis=-1).reshape(n, groups, outs, 1)
    dw = (total * xs).sum(axis=0).reshape(groups * outs, channels, 1)
    return eps * y, eps * dx * copies, eps * dw


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@over(ALL)
def test_within_the_bound(method, case, dtype, backend):
    arrays = numbers(case, dtype)
    results = maps(method, case, *arrays)
    wide = np.dtype({"f": "d", "d": "g", "F": "D", "D": "G"}[dtype.char])
    exact = maps("direct", case, *(array.astype(wide) for array in arrays))
    for name, result, right, bound in zip(
        ("y", "dx", "dw"), results, exact, bounds(method, case, *arrays), strict=True
    ):
        assert result.shape == right.shape
        assert result.dtype == dtype
        off = abs(result - right)
        assert (off <= bound).all(), (name, float((off / bound).max()))


@settings(max_examples=2 * settings().max_examples)
@given(
    st.tuples(st.just("fft"), cases()) | st.tuples(st.just("fast"), cases(taps=(3,), strides=(1,))),
    seeds,
    st.sampled_from(("normal", "relu", "offset", "wide")),
)
def test_any_case_within_the_bound(native, drawn, seed, kind):
    method, case = drawn
    arrays = numbers(case, np.dtype("f"), kind, seed)
    if not arrays[0].size or not arrays[1].size or not arrays[3].size:
        for ours, theirs in zip(
            maps(method, case, *arrays), maps("direct", case, *arrays), strict=True
        ):
            np.testing.assert_array_equal(ours, theirs)
        return
    exact = maps("direct", case, *(array.astype("d") for array in arrays))
    for result, right, bound in zip(
        maps(method, case, *arrays), exact, bounds(method, case, *arrays), strict=True
    ):
        assert (abs(result - right) <= bound).all()


@pytest.mark.parametrize("kind", ["normal", "relu", "offset", "wide"])
@pytest.mark.parametrize(
    "sizes",
    [(1, 1, 40), (1, 1, 600), (1, 3, 5), (8, 8, 3), (70, 20, 9), (130, 130, 5), (16, 9, 100)],
    ids=str,
)
def test_within_the_bound_of_each_block(sizes, kind, native):
    """As docs/methods.md has it: a block is off by what its own samples allow."""
    channels, outs, taps = sizes
    block = cconv1d._backend.core.fft_block(*sizes[2:], *sizes[:2])
    hop = block - taps + 1
    case = Case(1, 1, channels, outs, 2 * block + 77, taps, 1, "full", 1)
    x, w, _, _ = numbers(case, np.dtype("f"), kind)
    y = cconv1d.conv1d(x, w, padding="full", method="fft")
    off = abs(y - cconv1d.conv1d(x.astype("d"), w.astype("d"), padding="full"))[0]
    weights = abs(w).sum(axis=-1)
    factor = np.finfo("f").eps * (np.log2(block) + 2 + np.sqrt(min(2 * channels, 128)) / 2)
    firsts = [*range(0, y.shape[-1], hop), y.shape[-1]]
    for number, (first, end) in enumerate(pairwise(firsts)):
        start = first - (taps - 1)
        samples = x[0, :, max(start, 0) : max(start + block, 0)]
        bound = factor * (weights @ abs(samples).max(axis=-1, initial=0))
        assert (off[:, first:end] <= bound[:, None]).all(), number


@pytest.mark.parametrize("name", ["e", "bfloat16"])
@over([ALL[3], ALL[9], ALL[len(CASES) - 3], ALL[-3], ALL[-8]])
def test_half_precision_is_rounded_once(method, case, name, native):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    dtype = np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)
    halves = [array.astype(dtype) for array in numbers(case, np.dtype("f"))]
    wide = maps(method, case, *(array.astype("f") for array in halves))
    for result, right in zip(maps(method, case, *halves), wide, strict=True):
        assert result.dtype == dtype
        # dx at the ends is a sum of its own where it is rounded once
        if case.mode == "zeros" or result.shape != halves[0].shape:
            np.testing.assert_array_equal(result, right.astype(dtype))
        else:
            np.testing.assert_allclose(
                result.astype("f"), right.astype(dtype).astype("f"), rtol=2**-7, atol=1e-3
            )


# --- bits ----------------------------------------------------------------------------------------


def assert_same_bits(one, other):
    for a, b in zip(one, other, strict=True):
        assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("dtype", [np.dtype("f"), np.dtype("D")], ids=str)
@over(ALL)
def test_bits_do_not_depend_on_levels(method, case, dtype, each_native):
    arrays = numbers(case, dtype)
    results = each_native(lambda: [r.copy() for r in maps(method, case, *arrays)])
    fused = [results[name] for name in results if "baseline" not in name]
    for one in fused[1:]:
        assert_same_bits(one, fused[0])


@over(ALL)
def test_bits_do_not_depend_on_threads(method, case, native):
    arrays = numbers(case, np.dtype("f"))
    results = []
    with tuned(serial_products=0):
        for threads in (1, 2, 7):
            with cconv1d.num_threads(threads):
                results.append(maps(method, case, *arrays))
    assert_same_bits(results[1], results[0])
    assert_same_bits(results[2], results[0])


@pytest.mark.parametrize("layout", LAYOUTS)
@over(ALL[::3])
def test_bits_do_not_depend_on_memory(method, case, layout, native):
    arrays = numbers(case, np.dtype("f"))
    others = [LAYOUTS[layout](array) for array in arrays]
    before = [array.tobytes() for array in others]
    assert_same_bits(maps(method, case, *others), maps(method, case, *arrays))
    assert [array.tobytes() for array in others] == before


@over(ALL)
def test_bits_of_channels_last(method, case, native):
    x, w, b, dy = numbers(case, np.dtype("f"))
    y, dx, dw = maps(method, case, x, w, b, dy)
    turned = [np.ascontiguousarray(a.swapaxes(1, 2)) for a in (x, dy)]
    y2, dx2, dw2 = maps(method, case, turned[0], w, b, turned[1], layout="NLC")
    assert_same_bits(
        (y, dx, dw), [np.ascontiguousarray(a.swapaxes(1, 2)) for a in (y2, dx2)] + [dw2]
    )


@over(ALL)
def test_bits_do_not_depend_on_the_batch(method, case, native):
    x, w, b, dy = numbers(case, np.dtype("f"))
    y, dx, _ = maps(method, case, x, w, b, dy)
    for n in range(min(case.batch, 3)):
        alone = maps(method, case, x[n : n + 1], w, b, dy[n : n + 1])
        assert_same_bits(alone[:2], (y[n : n + 1], dx[n : n + 1]))


@pytest.mark.parametrize("layout", [*LAYOUTS, "NLC"])
@pytest.mark.parametrize("dtype", [np.dtype("f"), np.dtype("D"), np.dtype("e")], ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_bits_do_not_depend_on_what_lanes_are(case, dtype, layout, native):
    """Blocks, or channels and rows: both compute all cases whose lanes run across signals."""
    x, w, b, dy = (array.astype(dtype) for array in numbers(case, np.dtype("d")))
    x[-1, -1, -1] = np.nan
    more = {}
    if layout == "NLC":
        more["layout"] = layout
        x, dy = (np.ascontiguousarray(array.swapaxes(1, 2)) for array in (x, dy))
    else:
        x, w, b, dy = (LAYOUTS[layout](array) for array in (x, w, b, dy))
    results = []
    for fifths in (0, 10**6):
        with tuned(channel_lanes=fifths):
            results.append(maps("fft", case, x, w, b, dy, **more))
            kept = cconv1d.PreparedConv1d(w, b, **case.options, method="fft", **more)
            np.testing.assert_array_equal(kept(x), results[-1][0])
    assert_same_bits(*results)


@pytest.mark.parametrize("dilation", [1, 3])
@pytest.mark.parametrize("channels", [(1, 1), (3, 5), (16, 16)])
def test_bits_do_not_depend_on_padding(channels, dilation, native):
    """Blocks lie where the samples do: an output has the same bits wherever the padding begins."""
    rng = np.random.default_rng(0)
    taps = 20
    x = rng.standard_normal((2, channels[0], 4000)).astype("f")
    w = rng.standard_normal((channels[1], channels[0], taps)).astype("f")
    full = cconv1d.conv1d(x, w, padding="full", dilation=dilation, method="fft")
    span = dilation * (taps - 1)
    for left, right in ((0, 0), (7, 0), (span, 3)):
        y = cconv1d.conv1d(x, w, padding=(left, right), dilation=dilation, method="fft")
        part = full[..., span - left :]
        assert y.tobytes() == np.ascontiguousarray(part[..., : y.shape[-1]]).tobytes()


# --- what is not finite ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [np.nan, np.inf])
@over(ALL)
def test_what_is_not_finite_reaches_what_it_does_in_direct(method, case, kind, native):
    rng = np.random.default_rng(1)
    for dtype in (np.dtype("f"), np.dtype("F")):
        for which in (0, 1, 3):  # x, w, dy
            arrays = numbers(case, dtype)
            places = arrays[which].reshape(-1)
            places[rng.integers(places.size, size=2)] = kind
            ours, theirs = maps(method, case, *arrays), maps("direct", case, *arrays)
            finite = [array.copy() for array in arrays]
            finite[which][~np.isfinite(finite[which])] = 0
            for result, right, bound in zip(
                ours, theirs, bounds(method, case, *finite), strict=True
            ):
                good = np.isfinite(right)
                np.testing.assert_array_equal(np.isfinite(result), good)
                np.testing.assert_array_equal(np.isnan(result), np.isnan(right))
                result[~good] = right[~good] = 0
                off = abs(result - right)
                doubt = 8 * np.finfo(dtype).eps * abs(right)
                assert (off <= 2 * bound + doubt).all()


def test_overflow_within_a_transform(native):
    """Spectra overflow where the sums do not."""
    x = np.full((1, 1, 3000), 1e37, "f")
    w = np.zeros((1, 1, 50), "f")
    w[..., 7] = 1
    y = cconv1d.conv1d(x, w, method="fft")
    np.testing.assert_array_equal(y, cconv1d.conv1d(x, w))


# --- the functions --------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_transposed(dtype, backend):
    rng = np.random.default_rng(0)
    case = Case(2, 2, 3, 4, 700, 33, 1, (5, 2), 2)
    y, w, _, _ = numbers(case, dtype)
    w = rng.standard_normal((6, 4, 33)).astype(dtype)
    b = rng.standard_normal(8).astype(dtype)
    options = {"padding": (5, 2), "dilation": 2, "groups": 2}
    z = cconv1d.conv_transpose1d(y, w, b, **options)
    by_fft = cconv1d.conv_transpose1d(y, w, b, **options, method="fft")
    scale = np.finfo(dtype).eps * 1000
    np.testing.assert_allclose(by_fft, z, rtol=0, atol=scale)
    ours = cconv1d.conv_transpose1d_backward(z, y, w, **options, method="fft")
    theirs = cconv1d.conv_transpose1d_backward(z, y, w, **options)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=scale * abs(other).max())


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("lengths", [(1, 1), (7, 3), (1000, 1000), (3, 900), (6000, 700)])
def test_convolve_and_correlate(lengths, mode, dtype, backend):
    rng = np.random.default_rng(2)
    a, v = (rng.standard_normal(n) for n in lengths)
    if dtype.kind == "c":
        a, v = a + 1j * rng.standard_normal(lengths[0]), v + 1j * rng.standard_normal(lengths[1])
    a, v = a.astype(dtype), v.astype(dtype)
    bound = np.finfo(dtype).eps * 14 * 2 * abs(a).max() * abs(v).max() * min(lengths)
    for name in ("convolve", "correlate"):
        exact = getattr(np, name)(a.astype("D"), v.astype("D"), mode)
        result = getattr(cconv1d, name)(a, v, mode, method="fft")
        assert result.dtype == dtype
        assert result.shape == exact.shape
        assert (abs(result - exact) <= bound).all()


def test_convolve_rows(backend):
    rng = np.random.default_rng(2)
    a, v = rng.standard_normal((3, 1, 600)), rng.standard_normal((4, 40))
    ours = cconv1d.convolve(a, v, "same", method="fft")
    np.testing.assert_allclose(ours, cconv1d.convolve(a, v, "same"), atol=1e-12)
    ours = cconv1d.correlate(a.swapaxes(0, 2), v[0], axis=0, method="fft")
    np.testing.assert_allclose(ours, cconv1d.correlate(a.swapaxes(0, 2), v[0], axis=0), atol=1e-12)


def test_weights_of_each_sample(native):
    rng = np.random.default_rng(2)
    x, w = rng.standard_normal((3, 4, 600)), rng.standard_normal((3, 5, 4, 21))
    options = {"padding": "same", "method": "fft"}
    y = cconv1d.conv1d(x, w, **options)
    dx, dw, _ = cconv1d.conv1d_backward(y, x, w, **options)
    for n in range(3):
        assert y[n].tobytes() == cconv1d.conv1d(x[n], w[n], **options).tobytes()
        alone = cconv1d.conv1d_backward(y[n], x[n], w[n], **options)
        assert dx[n].tobytes() == alone.input.tobytes()
        assert dw[n].tobytes() == alone.weight.tobytes()
    each = cconv1d.conv1d_backward_weight(y, x, 21, per_sample=True, **options)
    assert each.tobytes() == dw.tobytes()


@over([("fft", CASES[9]), ("fast", FAST_CASES[10])])
def test_out_and_accumulate(method, case, backend):
    x, w, b, dy = numbers(case, np.dtype("f"))
    y, dx, dw = maps(method, case, x, w, b, dy)
    options = case.options | {"method": method}
    out = np.full_like(y, np.nan)[:, ::-1]
    assert cconv1d.conv1d(x, w, b, out=out, **options) is out
    np.testing.assert_array_equal(out, y)
    total = np.ones_like(y)
    cconv1d.conv1d(x, w, b, out=total, accumulate=True, **options)
    np.testing.assert_array_equal(total, 1 + y)
    outs = Gradients(np.ones_like(x), np.ones_like(w), None)
    cconv1d.conv1d_backward(
        dy, x, w, out=outs, accumulate=True, needs=(True, True, False), **options
    )
    np.testing.assert_array_equal(outs.input, 1 + dx)
    np.testing.assert_array_equal(outs.weight, 1 + dw)


def test_nothing_is_read_or_written_beyond_the_arrays(native):
    for method, case in ALL[1::2]:
        arrays = numbers(case, np.dtype("f"))
        plain = maps(method, case, *arrays)
        buffers = [np.full(r.size + 2 * BORDER, 7, "f") for r in plain]
        outs = [
            buffer[BORDER:-BORDER].reshape(r.shape)
            for buffer, r in zip(buffers, plain, strict=True)
        ]
        x, w, b, dy = (between_nans(array) for array in arrays)
        options = case.options | {"method": method}
        cconv1d.conv1d(x, w, b, out=outs[0], **options)
        cconv1d.conv1d_backward(dy, x, w, out=(outs[1], outs[2], None), **options)
        assert_same_bits(outs, plain)
        for buffer in buffers:
            assert (buffer[:BORDER] == 7).all()
            assert (buffer[-BORDER:] == 7).all()


@pytest.mark.parametrize("channels", [1, 8])
@pytest.mark.parametrize(("taps", "dilation"), [(1, 2**48), (2, 2**40), (3, 2**33 + 1)])
def test_taps_far_apart(taps, dilation, channels, native):
    """Of which one at most meets a sample: no number on the way there is beyond 64 bits."""
    rng = np.random.default_rng(4)
    x = rng.standard_normal((2, channels, 7)).astype("f")
    w = rng.standard_normal((8, channels, taps)).astype("f")
    for left in range(taps):
        pads = left * dilation, (taps - 1 - left) * dilation
        y = cconv1d.conv1d(x, w, padding=pads, dilation=dilation, method="fft")
        right = np.einsum("oc,ncp->nop", w[..., left], x)
        np.testing.assert_allclose(y, right, rtol=0, atol=1e-4)
        dx, dw, _ = cconv1d.conv1d_backward(y, x, w, padding=pads, dilation=dilation, method="fft")
        np.testing.assert_allclose(dx, np.einsum("oc,nop->ncp", w[..., left], y), atol=1e-3)
        right = np.zeros_like(w)
        right[..., left] = np.einsum("nop,ncp->oc", y, x)
        np.testing.assert_allclose(dw, right, rtol=0, atol=1e-3)


def test_a_call_does_not_change_the_next(native):
    """Plans of the two methods are remembered apart."""
    x, w = np.arange(12, dtype="f").reshape(1, 2, 6), np.ones((3, 2, 2), "f") / 3
    for _ in range(3):
        assert cconv1d.conv1d(x, w).tobytes() == cconv1d.conv1d(x, w, method="direct").tobytes()
        cconv1d.conv1d(x, w, method="fft")
        cconv1d.convolve(x[0, 0], w[0, 0], method="fft")
        direct = cconv1d.convolve(x[0, 0], w[0, 0])
        np.testing.assert_array_equal(direct, np.convolve(x[0, 0], w[0, 0]))


REFUSED = [
    (lambda x, w: cconv1d.conv1d(x, w, method="winograd"), ValueError, "'fast' or 'auto', not"),
    (lambda x, w: cconv1d.conv1d(x, w, method=None), TypeError, "'direct', 'fft', 'fast' or"),
    (lambda x, w: cconv1d.convolve(x, w, method=b"fft"), TypeError, "convolve: method must"),
    (
        lambda x, w: cconv1d.conv1d(x.astype(int), w.astype(int), method="fft"),
        ValueError,
        "rounds, so it takes floating-point and complex numbers only, not int64",
    ),
    (
        lambda x, w: cconv1d.correlate(x.astype("u1"), w.astype("u1"), method="fft"),
        ValueError,
        "correlate: method 'fft' rounds",
    ),
    (
        lambda x, w: cconv1d.conv1d_backward_weight(x, x, 2**20 + 1, 1, 2**20, method="fft"),
        ValueError,
        "at most 2\\*\\*20 taps, not 1048577",
    ),
    (
        lambda x, w: cconv1d.conv1d(x, w, method="fast"),
        ValueError,
        "conv1d: method 'fast' takes kernels of 3 taps, but kernel_size 2 has 2",
    ),
    (
        lambda x, w: cconv1d.conv1d(x, x[:3], stride=2, method="fast"),
        ValueError,
        "3 taps to a residue of stride 2, but kernel_size 3 has 2",
    ),
    (
        lambda x, w: cconv1d.PreparedConv1d(x, dilation=2, stride=8, method="fast"),
        ValueError,
        "PreparedConv1d: .* to a residue of stride 8, but kernel_size 5 has 2",
    ),
    (
        lambda x, w: cconv1d.convolve(x.astype(int), x[:3].astype(int), method="fast"),
        ValueError,
        "convolve: method 'fast' rounds",
    ),
]


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_refusals(number, backend):
    call, error, message = REFUSED[number]
    with pytest.raises(error, match=message):
        call(np.ones(5), np.ones(2))
