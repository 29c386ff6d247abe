"""Streams by transforms: within their bound, the same bits always, NaN where it belongs.

That any cut, rewinding, states and copies have the bits of one push is tested with the others, in
test_stream.py.
"""

from __future__ import annotations

import pickle

import ml_dtypes
import numpy as np
import pytest
from conftest import NATIVE, selected
from hypothesis import given
from hypothesis import strategies as st
from support import READABLE, WRITEABLE, seeds, tuned, wrong_pushes

import cconv1d
from cconv1d import Stream, _backend, conv1d
from cconv1d._geometry import partition
from cconv1d._stream_hops import Hops

FLOATS = [np.dtype(char) for char in "fdFD"]


def draw(rng, shape, dtype, kind="normal"):
    values = rng.standard_normal(shape)
    if kind == "offset":
        values = 1 + values / 100
    elif kind == "wide":
        values = values * 10.0 ** rng.integers(-6, 6, shape)
    if np.dtype(dtype).kind == "c":
        values = values + 1j * rng.standard_normal(shape)
    return values.astype(dtype)


def in_chunks(stream, x, sizes, axis=-1):
    """All outputs for chunks of these sizes and the rest of the signal."""
    parts = np.split(x, np.cumsum(sizes), axis=axis)
    return np.concatenate([*(stream.push(part) for part in parts), stream.finish()], axis=axis)


def bound(x, w, b, groups, partition, eps):
    """That of docs/methods.md for each row of results, with channels times parts for channels."""
    pair = 2 if x.dtype.kind == "c" else 1
    block = 2 << partition.log_points
    summands = 2 * pair * w.shape[1] * partition.parts
    largest = abs(x).max(axis=-1, initial=0).reshape(groups, 1, -1)
    sizes = abs(w).sum(axis=-1).reshape(groups, -1, w.shape[1])
    total = (largest * sizes).sum(axis=-1).reshape(-1, 1)
    factor = np.log2(block) + np.sqrt(min(summands, 128)) / 2 + summands / 128
    return pair * eps * (factor * total + abs(b)[:, None])


#: Channels of a group on both sides, groups, taps, dilation, hop.
SIZES = [
    (1, 1, 1, 4096, 1, 128),
    (1, 1, 1, 1, 1, 1),
    (1, 1, 1, 511, 1, 2),
    (1, 1, 1, 513, 1, 1),
    (2, 3, 2, 300, 3, 100),
    (3, 1, 1, 700, 1, 600),
    (1, 35, 1, 900, 1, 64),
    (40, 2, 1, 600, 1, 50),
    (1, 1, 5, 1000, 2, 7),
]


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_within_the_bound(backend, size, dtype):
    channels, outs, groups, taps, dilation, hop = size
    rng = np.random.default_rng(taps)
    x = draw(rng, (groups * channels, 3 * taps + 1000), dtype)
    w, b = draw(rng, (groups * outs, channels, taps), dtype), draw(rng, groups * outs, dtype)
    options = {"padding": "same", "dilation": dilation, "groups": groups}
    stream = Stream(w, b, method="fft", hop=hop, **options)
    y = in_chunks(stream, x, [1, 700, 43])
    wide = np.dtype({"f": "d", "d": "g", "F": "D", "D": "G"}[dtype.char])
    exact = conv1d(*(array.astype(wide) for array in (x, w, b)), **options)
    assert y.dtype == dtype
    assert y.shape == exact.shape
    limit = bound(x, w, b, groups, stream._geometry.partition, np.finfo(dtype).eps)
    assert (abs(y - exact) <= limit).all(), float((abs(y - exact) / limit).max())


@given(
    taps=st.integers(1, 1500),
    hop=st.sampled_from((1, 2, 5, 64, 127, 128, 500)),
    channels=st.sampled_from((1, 2, 5)),
    kind=st.sampled_from(("normal", "offset", "wide")),
    sizes=st.lists(st.sampled_from((0, 1, 13, 128, 700)), max_size=4),
    seed=seeds,
)
def test_any_kernel_within_the_bound(native, taps, hop, channels, kind, sizes, seed):
    if hop < 5:
        taps = min(taps, 600)
    rng = np.random.default_rng(seed)
    x = draw(rng, (channels, sum(sizes) + 50), "f", kind)
    w, b = draw(rng, (2, channels, taps), "f", kind), draw(rng, 2, "f", kind)
    stream = Stream(w, b, method="fft", hop=hop)
    y = in_chunks(stream, x, sizes)
    exact = conv1d(*(array.astype("d") for array in (x, w, b)), padding="causal")
    limit = bound(x, w, b, 1, stream._geometry.partition, np.finfo("f").eps)
    assert (abs(y - exact) <= limit).all(), float((abs(y - exact) / limit).max())


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_half_precision_is_rounded_once(native, dtype):
    rng = np.random.default_rng(0)
    x, w = draw(rng, (2, 3, 2000), dtype), draw(rng, (4, 3, 700), dtype)
    y = in_chunks(Stream(w, batch=2, method="fft", hop=128), x, [300, 5])
    wide = Stream(w.astype("f"), batch=2, method="fft", hop=128)
    assert y.dtype == dtype
    assert y.tobytes() == in_chunks(wide, x.astype("f"), [7]).astype(dtype).tobytes()


def test_extended_precision(backend):
    rng = np.random.default_rng(0)
    x, w = draw(rng, 900, "g"), draw(rng, 300, "g")
    y = in_chunks(Stream(w, method="fft", hop=100), x, [250])
    np.testing.assert_allclose(y, conv1d(x, w, padding="causal"), rtol=1e-9, atol=1e-12)


# --- bits -----------------------------------------------------------------------------------------


def example(dtype=np.float32, batch=2):
    """Of several parts, more rows of results than are summed at once, and two groups."""
    rng = np.random.default_rng(1)
    x, w = draw(rng, (batch, 6, 3000), dtype), draw(rng, (70, 3, 800), dtype)
    return x, w, draw(rng, 70, dtype), {"groups": 2, "method": "fft", "hop": 96}


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_bits_do_not_depend_on_levels(each_native, dtype):
    x, w, b, options = example(dtype)
    found = {}

    def compute():
        found[_backend.core.isa()] = in_chunks(Stream(w, b, batch=2, **options), x, [1, 500])

    each_native(compute)
    fused = [y.tobytes() for level, y in found.items() if level != "baseline"]
    assert len(set(fused)) <= 1


def test_bits_do_not_depend_on_threads(native):
    x, w, b, options = example()
    with tuned(serial_products=0):
        found = []
        for threads in (1, 2, 7):
            with cconv1d.num_threads(threads):
                found.append(in_chunks(Stream(w, b, batch=2, **options), x, [1, 500]).tobytes())
    assert found[0] == found[1] == found[2]


def test_bits_do_not_depend_on_the_batch(native):
    x, w, b, options = example(batch=5)
    y = in_chunks(Stream(w, b, batch=5, **options), x, [700])
    for n in range(5):
        assert in_chunks(Stream(w, b, **options), x[n], []).tobytes() == y[n].tobytes()


@pytest.mark.parametrize("arrangement", READABLE)
def test_arrays_in_any_memory(native, arrangement):
    x, w, b, options = example()
    make = READABLE[arrangement]
    y = in_chunks(Stream(make(w), make(b), batch=2, **options), make(x), [5, 900])
    assert y.tobytes() == in_chunks(Stream(w, b, batch=2, **options), x, []).tobytes()


@pytest.mark.parametrize("arrangement", WRITEABLE)
def test_results_in_any_memory(native, arrangement):
    x, w, b, options = example()
    expected = Stream(w, b, batch=2, **options).push(x)
    stream = Stream(w, b, batch=2, **options)
    for start in range(0, 3000 - 191, 192):
        out = WRITEABLE[arrangement](np.full((2, 70, 192), np.nan, np.float32))
        assert stream.push(x[..., start : start + 192], out) is out
        np.testing.assert_array_equal(out, expected[..., start : start + 192])


def test_channels_last(native):
    x, w, b, options = example()
    y = in_chunks(Stream(w, b, batch=2, **options), x, [100])
    turned = np.ascontiguousarray(x.swapaxes(1, 2))
    other = in_chunks(Stream(w, b, batch=2, layout="NLC", **options), turned, [300], axis=1)
    np.testing.assert_array_equal(other.swapaxes(1, 2), y)


def test_every_level_transforms_for_itself(each_native):
    """And the reference has the same state."""
    x, w, b, options = example()
    expected = conv1d(x, w, b, padding="causal", groups=2)
    stream = Stream(w, b, batch=2, **options)
    start = 0

    def compute():
        nonlocal start
        y = stream.push(x[..., start : start + 192])
        np.testing.assert_allclose(y, expected[..., start : start + 192], atol=2e-3)
        start += 192

    each_native(compute)
    each_native(compute)
    with selected("reference"):
        compute()
    compute()


# --- what hops are --------------------------------------------------------------------------------


def test_outputs_come_in_hops(backend):
    x = np.arange(1.0, 12)
    stream = Stream([1.0, 1.0], method="fft", hop=4)
    assert (stream.latency, stream.outputs_for(3), stream.outputs_for(9)) == (3, 0, 8)
    assert [stream.inputs_for(m) for m in (0, 1, 4, 5)] == [0, 4, 4, 8]
    assert [len(stream.push(x[i : i + 3])) for i in (0, 3, 6)] == [0, 4, 4]
    assert len(stream.push(x[9:])) == 0
    np.testing.assert_allclose(stream.finish(), [17, 19, 21], rtol=1e-12)
    assert stream.position == -1


@pytest.mark.parametrize("mode", ["zeros", "replicate", "reflect"])
@pytest.mark.parametrize("padding", [0, 1, 4, (0, 4), (9, 0), "causal"])
@pytest.mark.parametrize("hop", [1, 3, 10])
def test_latency_is_what_is_waited_for(backend, mode, padding, hop):
    for taps in (1, 2, 6):
        stream = Stream(np.ones(taps), padding=padding, padding_mode=mode, method="fft", hop=hop)
        waited, known = [], 0
        for sample in range(60):
            count = len(stream.push([1.0]))
            waited += [sample - output for output in range(known, known + count)]
            known += count
        assert known
        if stream.latency >= 0:
            assert max(waited) == stream.latency
        else:
            assert max(waited) <= 0


@given(
    span=st.integers(1, 10**6),
    hop=st.integers(1, 2**20),
    channels=st.integers(1, 600),
    outs=st.integers(1, 600),
)
def test_parts_hold_the_kernel_and_blocks_hold_parts(span, hop, channels, outs):
    p = partition(span, hop, channels, outs)
    assert p.hop == hop
    assert (p.parts - 1) * p.part < span <= p.parts * p.part
    assert p.part + hop - 1 <= 2 << p.log_points
    assert 8 <= p.log_points <= 20
    assert p.parts == 1 or p.part % hop == 0


def test_a_long_chunk_is_no_longer_buffer(native):
    x = np.ones(10**6, np.float32)
    stream = Stream(np.ones(300, np.float32), method="fft", hop=64)
    stream.push(x)
    assert stream._samples.array.nbytes < x.nbytes // 4


@pytest.mark.parametrize("way", ["rewind", "rewind a row", "reset", "reset a row", "state"])
def test_other_samples_in_place_of_those_that_were(backend, way):
    """What was transformed of the ones is not used for the others: hops are computed again."""
    x, w, b, options = example()
    other = x[..., ::-1].copy()
    stream = Stream(w, b, batch=2, extra_history=500, **options)
    stream.push(x[..., :2000])
    back = {"rewind": (300, 300), "rewind a row": (0, 300)}.get(way)
    if back:
        stream.rewind(back)
        kept = [x[n, :, : 2000 - count] for n, count in enumerate(back)]
    elif way == "state":
        before = Stream(w, b, batch=2, extra_history=500, **options)
        before.push(other[..., :1700])
        stream.state = before.state
        kept = list(other[..., :1700])
    else:
        rows = None if way == "reset" else [1]
        stream.reset(rows)
        kept = [x[0, :, : 2000 if rows else 0], x[1, :, :0]]
    y = stream.push(other[..., :900])
    for n in range(2):
        alone = Stream(w, b, **options)
        alone.push(kept[n])
        expected = alone.push(other[n, :, :900])
        np.testing.assert_array_equal(y[n, :, : expected.shape[1]], expected)


# --- numbers that are not finite ------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate"])
def test_what_is_not_finite_reaches_what_it_does_in_direct(native, dtype, mode):
    rng = np.random.default_rng(0)
    x = draw(rng, (2, 4, 2500), dtype)
    w, b = draw(rng, (6, 2, 500), dtype), draw(rng, 6, dtype)
    x[0, 1, 900], x[1, 2, 3], x[1, 0, 2499] = np.nan, np.inf, np.nan
    options = {"padding": (30, 40), "padding_mode": mode, "groups": 2}
    for place in ((), (0, 1, 0), (4, 0, 499)):
        if place:
            w[place] = np.inf
        expected = conv1d(x, w, b, **options)
        stream = Stream(w, b, batch=2, method="fft", hop=100, **options)
        y = in_chunks(stream, x, [1, 333, 1000])
        np.testing.assert_array_equal(np.isfinite(y), np.isfinite(expected))
        np.testing.assert_array_equal(np.isnan(y), np.isnan(expected))
        finite = np.isfinite(y)
        np.testing.assert_allclose(y[finite], expected[finite], atol=1e-3)


@pytest.mark.parametrize("dtype", "FD")
@pytest.mark.parametrize("side", [1, 1j])
def test_one_part_of_a_complex_number_overflows(native, dtype, side):
    """In a transform or in the result: the parts come out as in direct, each by itself."""
    most = np.finfo(dtype).max
    x = np.zeros((2, 1500), dtype)
    x[0, 100], x[1, 500:504] = most / 2, most / 2
    w = np.ones((3, 2, 400), dtype) * np.array(side, dtype)
    w[1] /= 100
    expected = conv1d(x, w, padding="causal")
    y = in_chunks(Stream(w, method="fft", hop=100), x, [1000])
    assert np.isinf(expected.real if side == 1 else expected.imag).any()
    for one, other in ((y.real, expected.real), (y.imag, expected.imag)):
        np.testing.assert_array_equal(np.isfinite(one), np.isfinite(other))
        finite = np.isfinite(other)
        np.testing.assert_allclose(one[finite] / most, other[finite] / most, atol=1e-5)


def test_a_number_that_left_the_window_is_forgotten(native):
    """Not at once, as blocks are longer than hops; but nothing remains in what is kept."""
    rng = np.random.default_rng(0)
    x, w = draw(rng, 6000, "f"), draw(rng, 700, "f")
    dirty = x.copy()
    dirty[200] = np.nan
    clean, stream = (Stream(w, method="fft", hop=64) for _ in range(2))
    one = np.concatenate([clean.push(part) for part in np.split(x, 60)])
    other = np.concatenate([stream.push(part) for part in np.split(dirty, 60)])
    held = stream.history + 64
    assert np.isnan(other).sum() == 700
    assert one[200 + held :].tobytes() == other[200 + held :].tobytes()


# --- what fails -----------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [None, [1, 0]])
@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
@pytest.mark.parametrize("fails", [1, 2, 3])
def test_what_fails_leaves_the_stream_as_it_was(native, monkeypatch, rows, error, fails):
    x, w, b, options = example()
    stream, other = (Stream(w, b, batch=2, extra_history=7, **options) for _ in range(2))
    stream._way.copied = 500
    for one in (stream, other):
        one.push(x[..., :1000])
    calls = 0
    name = "_prepare" if error is MemoryError else "_run"
    wrapped = getattr(Hops, name)

    def failing(*arguments):
        nonlocal calls
        calls += 1
        if calls == (1 if error is MemoryError else fails):
            raise error
        return wrapped(*arguments)

    out = np.full((2, 70, stream.outputs_for(1500)[0]), 7, np.float32)
    with monkeypatch.context() as patch:
        patch.setattr(Hops, name, failing)
        with pytest.raises(error):
            stream.push(x[..., 1000:2500], out, rows=rows)
        if error is MemoryError:
            calls = 0
            with pytest.raises(error):
                stream.finish()
    if error is MemoryError or rows is not None:
        assert (out == 7).all()
    for one, wanted in zip(stream.state, other.state, strict=True):
        np.testing.assert_array_equal(one, wanted)
    for start, stop in ((1000, 1010), (1010, 3000)):
        expected = other.push(x[..., start:stop])
        assert stream.push(x[..., start:stop]).tobytes() == expected.tobytes()
    assert stream.finish().tobytes() == other.finish().tobytes()


class Interrupted:
    """Delay lines, one run of which is met by a signal: all is done, and it raises."""

    def __init__(self, lines):
        self.lines, self.forget, self.is_current = lines, lines.forget, lines.is_current
        self.done = False

    def run(self, *arguments):
        self.lines.run(*arguments)
        if not self.done:
            self.done = True
            raise KeyboardInterrupt


@pytest.mark.parametrize("again", [False, True])
def test_an_interrupted_push_has_not_happened(native, again):
    x, w, b, options = example()
    stream, other = (Stream(w, b, batch=2, **options) for _ in range(2))
    chunk = x[..., :96].copy()
    for _ in range(60 if again else 1):
        for one in (stream, other):
            one.push(chunk)
    place = stream._samples.end, stream._positions.phase, chunk.shape
    assert (place in stream._samples.views) == again
    stream._way._lines = Interrupted(stream._way._lines)
    with pytest.raises(KeyboardInterrupt):
        stream.push(chunk)
    for start in (96, 192, 288):
        chunk[...] = x[..., start : start + 96]
        assert stream.push(chunk).tobytes() == other.push(chunk).tobytes()


def test_more_threads_than_at_first(native):
    """They need scratch; the transforms that are made anew have the same bits."""
    x, w, b, options = example()
    expected = Stream(w, b, batch=2, **options).push(x)
    with tuned(serial_products=0):
        stream = Stream(w, b, batch=2, **options)
        for number, threads in enumerate((1, 3, 2)):
            with cconv1d.num_threads(threads):
                for start in range(number * 960, number * 960 + 960, 96):
                    y = stream.push(x[..., start : start + 96])
                    assert y.tobytes() == expected[..., start : start + 96].tobytes()
                    assert stream._way._lines.is_current()


def test_a_history_that_no_memory_holds():
    with pytest.raises(MemoryError):
        Stream(np.ones((1, 1, 2)), dilation=2**46, batch=2**20, method="fft", hop=2)


@pytest.mark.parametrize(("outs", "dilation"), [(1, 2**45), (2**10, 2**46)])
def test_transforms_that_no_memory_holds(native, outs, dilation):
    """Of the weight; a batch without rows has no history. The second has more bytes than 2**63."""
    w = np.ones((outs, outs, 2), np.float32)
    stream = Stream(w, dilation=dilation, batch=0, method="fft", hop=2)
    with pytest.raises(MemoryError):
        stream.push(np.ones((0, outs, 5), np.float32))
    assert stream.position.shape == (0,)


def test_results_are_not_allocated(native):
    """What is pushed again and again is computed in memory that is there."""
    x, w, b, options = example()
    stream = Stream(w, b, batch=2, **options)
    chunk = np.ascontiguousarray(x[..., :96])
    out = np.empty((2, 70, 96), np.float32)
    for _ in range(60):
        stream.push(chunk, out)
    array, views = stream._samples.array, dict(stream._samples.views)
    assert views
    for _ in range(60):
        stream.push(chunk, out)
    assert stream._samples.array is array
    assert stream._samples.views.keys() == views.keys()


REFUSED = [
    ({"hop": None}, ValueError, "needs hop"),
    ({"hop": 0}, ValueError, "hop must be at least 1, not 0"),
    ({"hop": 2**20 + 1}, ValueError, "hop must be at most 2**20"),
    ({"hop": 1.5}, TypeError, "hop must be an integer, not 1.5"),
    ({"method": "direct"}, ValueError, "hop is for method 'fft'"),
    ({"method": "auto"}, ValueError, "method must be 'direct' or 'fft', not 'auto'"),
    ({"method": None}, TypeError, "method must be 'direct' or 'fft', not None"),
    ({"stride": 2}, ValueError, "at stride 1"),
    ({"transposed": True}, ValueError, "one that is transposed"),
    ({"weight": np.ones((2, 2, 3), int)}, ValueError, "not int64"),
    ({"padding_mode": "circular"}, ValueError, "'circular' cannot stream"),
]


@pytest.mark.parametrize(("change", "error", "words"), REFUSED)
def test_refusals(change, error, words):
    with pytest.raises(error) as caught:
        Stream(**{"weight": np.ones((2, 2, 3)), "method": "fft", "hop": 4} | change)
    assert str(caught.value).startswith("Stream: ")
    assert words in str(caught.value)


def test_refusals_of_push(backend):
    stream = Stream(np.ones((2, 2, 3)), batch=1, method="fft", hop=4)
    x, out = np.ones((1, 2, 8)), np.full((1, 2, 8), 7.0)
    for _ in range(12):  # with views, too
        for change, error in (
            ({"out": out[..., :7]}, ValueError),
            ({"out": out.astype("f")}, TypeError),
            ({"out": x}, ValueError),
            ({"out": np.broadcast_to(1.0, (1, 2, 8))}, ValueError),
            ({"x": x.astype("f")}, TypeError),
            ({"lengths": [9]}, ValueError),
            ({"rows": [1]}, ValueError),
        ):
            with pytest.raises(error):
                stream.push(**{"x": x} | change)
        assert (out == 7).all()
        stream.push(x)
    assert list(stream.position) == [96]


# --- copies and threads ---------------------------------------------------------------------------


def test_a_pickle_holds_samples_and_no_transforms():
    stream = Stream(np.ones((4, 4, 900), np.float32), batch=2, method="fft", hop=16)
    stream.push(np.ones((2, 4, 2000), np.float32))
    size = stream.weight.nbytes + stream.state[0].nbytes
    again = pickle.dumps(stream)
    assert len(again) < size + 1500
    assert repr(pickle.loads(again)) == repr(stream)
    assert repr(stream).endswith("extra_history=0, method='fft', hop=16)")


@pytest.mark.alone
@pytest.mark.skipif(not NATIVE, reason="the extension is not loaded")
def test_clones_in_threads(native):
    """They share the transforms of the weight, and nothing else."""
    x, w, b, options = example()
    expected = Stream(w, b, batch=2, **options).push(x[..., :2976])
    stream = Stream(w, b, batch=2, **options)
    stream.push(x[..., :96])
    clones = [stream.clone() for _ in range(4)]
    assert all(one._way._packed is stream._way._packed for one in clones)
    assert not wrong_pushes(clones, x, expected, range(96, 2976, 96), 96)
