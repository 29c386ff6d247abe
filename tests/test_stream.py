"""Streams: any convolution, cut anywhere, with the bits of one call."""

from __future__ import annotations

import copy
import gc
import itertools
import pickle
import threading
import tracemalloc
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import pytest
from conftest import NATIVE, selected
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from support import READABLE, WRITEABLE, integers, seeds, wrong_pushes

from cconv1d import (
    Stream,
    _backend,
    _execute,
    _stream,
    _stream_direct,
    _stream_hops,
    _stream_samples,
    conv1d,
    conv_transpose1d,
)
from cconv1d._geometry import resolve_hop, resolve_stream
from cconv1d._stream_direct import Direct
from cconv1d._stream_samples import Samples

DTYPES = [*map(np.dtype, "fdFDeil"), np.dtype(ml_dtypes.bfloat16)]


class Layer(NamedTuple):
    """A stream, by the sizes that matter."""

    batch: int | None
    groups: int
    channels: int  # of a group
    outs: int
    taps: int
    stride: int
    dilation: int
    padding: Any
    mode: str
    transposed: bool
    layout: str
    hop: int | None = None  # by transforms

    @property
    def options(self):
        return {
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "groups": self.groups,
            "layout": self.layout,
        }

    @property
    def span(self):
        return self.dilation * (self.taps - 1) + 1

    @property
    def axis(self):
        return -1 if self.layout == "NCL" else -2

    @property
    def geometry(self):
        where = self.taps, self.stride, self.padding, self.dilation, self.mode, self.transposed
        g = resolve_stream("test", *where)[0]
        method = "direct" if self.hop is None else "fft"
        return resolve_hop("test", g, method, self.hop, self.channels, self.outs)

    def signals(self, rng, dtype, length, *batch, exact=False):
        c = self.groups * self.channels
        shape = (c, length) if self.axis == -1 else (length, c)
        return draw(rng, (*batch, *shape), dtype, exact)

    def arrays(self, seed, dtype, length, exact=False):
        """x, w and b."""
        rng = np.random.default_rng(seed)
        x = self.signals(
            rng, dtype, length, *(() if self.batch is None else (self.batch,)), exact=exact
        )
        if self.transposed:
            w = self.groups * self.channels, self.outs, self.taps
        else:
            w = self.groups * self.outs, self.channels, self.taps
        return x, draw(rng, w, dtype, exact), draw(rng, (self.groups * self.outs,), dtype, exact)

    def stream(self, w, b, joined=None, **options):
        """With chunks copied as a whole that have at most so many samples more than is kept.

        Those of hops are copied so many samples at a time.
        """
        if self.hop is not None:
            options |= {"method": "fft", "hop": self.hop}
        stream = Stream(
            w,
            b,
            padding_mode=self.mode,
            transposed=self.transposed,
            batch=self.batch,
            **self.options,
            **options,
        )
        if joined is not None:
            stream._way.joined = stream.history + joined
            stream._way.copied = joined + 1
        return stream

    def offline(self, x, w, b, padding=None):
        """One call on the whole signal, or None where there is nothing to return.

        By transforms, one push of it to another stream.
        """
        options = self.options
        if padding is not None:
            options["padding"] = padding
        g = self.geometry
        left, right = padding or (g.left, g.right)
        length = x.shape[self.axis]
        if self.transposed:
            options["padding"] = left, right
            if length == 0 or (length - 1) * self.stride + self.span <= left + right:
                return None
            return conv_transpose1d(x, w, b, **options)
        if length + left + right < self.span:
            return None
        if self.hop is not None:
            batch = None if x.ndim == 2 else len(x)
            stream = self._replace(batch=batch, padding=(left, right)).stream(w, b)
            return np.concatenate([stream.push(x), stream.finish()], axis=self.axis)
        return conv1d(x, w, b, padding_mode=self.mode, **options)

    def cut(self, array, start, stop):
        return array[(..., slice(start, stop), *(slice(None),) * (-1 - self.axis))]


def draw(rng, shape, dtype, exact=False):
    """Normally distributed numbers; small integers where sums are to be `exact`."""
    if exact:
        return integers(rng, shape, dtype)
    values = rng.standard_normal(shape)
    if np.dtype(dtype).kind == "c":
        values = values + 1j * rng.standard_normal(shape)
    return (1000 * values if np.dtype(dtype).kind == "i" else values).astype(dtype)


def same_bits(one, other):
    assert one.dtype == other.dtype
    assert one.shape == other.shape
    assert one.tobytes() == other.tobytes()


@st.composite
def layers(draw, batches=(None, 1, 3)):
    def pick(*values):
        return draw(st.sampled_from(values))

    taps, dilation, transposed = pick(1, 2, 3, 4, 5, 7, 16, 17, 33), pick(1, 2, 3, 5), pick(0, 1)
    stride = pick(1, 2, 3, 4, 7, 16)
    span = dilation * (taps - 1) + 1
    sides = st.integers(0, span + 4)
    words = ["causal"]
    if not transposed:
        words += ["valid", "full", *(["same", "same_lower"] if stride == 1 else [])]
    padding = draw(st.sampled_from(words) | sides | st.tuples(sides, sides))
    mode = "zeros" if transposed else pick("zeros", "reflect", "replicate")
    hop = None
    if stride == 1 and not transposed:
        hop = pick(None, 1, 3, 16, 100, 600)
        taps = pick(taps, 300) if hop is not None and hop > 3 else taps
    return Layer(
        pick(*batches),
        pick(1, 2, 3, 33),
        pick(1, 1, 2, 5, 16, 17),
        pick(1, 1, 3, 12, 13),
        taps,
        stride,
        dilation,
        padding,
        mode,
        bool(transposed),
        pick("NCL", "NLC"),
        hop,
    )


#: Sizes of chunks: none, one, primes, more than all others together, more than is ever joined.
chunks = st.lists(
    st.sampled_from((0, 1, 2, 3, 5, 13, 31, 61, 127, 300, 509)), min_size=1, max_size=8
)


@given(
    layer=layers(),
    sizes=chunks,
    seed=seeds,
    dtype=st.sampled_from(DTYPES),
    given_out=st.booleans(),
    joined=st.sampled_from((None, 0, 40)),
)
def test_any_cut_has_the_bits_of_one_call(backend, layer, sizes, seed, dtype, given_out, joined):
    if dtype.kind == "i":
        layer = layer._replace(hop=None)  # which would round
    length = sum(sizes)
    exact = backend == "reference"  # whose sums are BLAS's
    x, w, b = layer.arrays(seed, dtype, length, exact)
    stream = layer.stream(w, b, joined)
    found, start = [], 0
    for size in sizes:
        chunk = layer.cut(x, start, start + size)
        out = None
        if given_out:
            shape = list(chunk.shape)
            count = np.max(stream.outputs_for(size))
            shape[layer.axis], shape[layer.axis ^ 1 if layer.axis == -2 else -2] = count, len(b)
            out = np.empty(shape, dtype)
        y = stream.push(chunk, out)
        assert out is None or y is out
        found.append(y)
        start += size
        assert np.all(stream.position == start)
    g = layer.geometry
    longest = max(g.left, g.right)
    if (layer.mode == "reflect" and length <= longest and longest) or (
        layer.mode == "replicate" and length == 0 and longest
    ):
        with pytest.raises(ValueError, match=layer.mode):
            stream.finish()
        assert np.all(stream.position == length)
        return
    found.append(stream.finish())
    y = np.concatenate(found, axis=layer.axis)
    expected = layer.offline(x, w, b)
    if expected is None:
        assert y.shape[layer.axis] == 0
    else:
        same_bits(y, expected)


@given(layer=layers(batches=(3,)), data=st.data(), seed=seeds)
def test_rows_at_positions_of_their_own(native, layer, data, seed):
    """Each row is a stream: what the others get does not show in its bits."""
    rng = np.random.default_rng(seed)
    _, w, b = layer.arrays(seed, "float32", 0)
    stream = layer.stream(w, b, data.draw(st.sampled_from((None, 3))))
    alone = [layer._replace(batch=None).stream(w, b) for _ in range(3)]
    for _ in range(data.draw(st.integers(1, 5))):
        rows = data.draw(
            st.permutations([-1, 0, 1, 2]) | st.permutations([2, 1]) | st.just([0, 1, 2])
        )
        lengths = [data.draw(st.sampled_from((0, 1, 2, 5, 13, 61, 400))) for _ in rows]
        x = layer.signals(rng, "float32", max(lengths), len(rows))
        counts = stream.outputs_for(lengths, rows=rows)
        y = stream.push(x, lengths=lengths, rows=rows)
        assert y.shape[layer.axis] == max(counts)
        for place, (row, length) in enumerate(zip(rows, lengths, strict=True)):
            count = counts[place]
            assert not layer.cut(y[place], count, None).any()
            if row >= 0:
                expected = alone[row].push(layer.cut(x[place], 0, length))
                same_bits(layer.cut(y[place], 0, count), expected)
        assert list(stream.position) == [one.position for one in alone]


class Rows(RuleBasedStateMachine):
    """All that a stream can do, in any order, beside the samples that each row has had."""

    @initialize(
        layer=layers(batches=(2,)),
        seed=seeds,
        extra=st.sampled_from((0, 1, 5, 40)),
        dtype=st.sampled_from(DTYPES[:5]),
        joined=st.sampled_from((None, 5)),
    )
    def begin(self, layer, seed, extra, dtype, joined):
        self.layer, self.extra = layer, extra
        self.rng = np.random.default_rng(seed)
        _, self.w, self.b = layer.arrays(seed, dtype, 0)
        self.stream = layer.stream(self.w, self.b, joined, extra_history=extra)
        none = layer.signals(self.rng, dtype, 0)
        self.signals = [none, none]
        self.slack = [0, 0]

    def expected(self, signal, start, stop):
        """Outputs of a signal that may go on."""
        g = self.layer.geometry
        if stop == start:
            return None
        right = g.right if self.layer.transposed and g.right < g.span - g.stride else 0
        y = self.layer.offline(signal[np.newaxis], self.w, self.b, (g.left, right))[0]
        return self.layer.cut(y, start, stop)

    @rule(data=st.data(), out=st.booleans())
    def push(self, data, out):
        layer, g = self.layer, self.layer.geometry
        kind = data.draw(st.sampled_from(("all", "rows", "lengths", "both")))
        rows = [0, 1]
        if kind in ("rows", "both"):
            rows = data.draw(st.sampled_from(([1], [1, 0], [-1, 1], [0, -1], [0, 1], [])))
        n = data.draw(st.sampled_from((0, 1, 2, 3, 7, 31, 64, 300)))
        lengths = [n] * len(rows)
        if kind in ("lengths", "both"):
            lengths = [data.draw(st.integers(0, n)) for _ in rows]
        x = layer.signals(self.rng, self.w.dtype, n, len(rows))
        options = {
            "rows": rows if kind in ("rows", "both") else None,
            "lengths": lengths if kind in ("lengths", "both") else None,
        }
        if any(row >= 0 and self.signals[row] is None for row in rows):
            with pytest.raises(RuntimeError, match="it is finished"):
                self.stream.push(x, **options)
            return
        counts = [
            g.known(self.length(row) + m) - g.known(self.length(row)) if row >= 0 and m else 0
            for row, m in zip(rows, lengths, strict=True)
        ]
        if rows and out:
            shape = [len(rows), len(self.b), max(counts)]
            if layer.axis == -2:
                shape = [shape[0], shape[2], shape[1]]
            options["out"] = np.full(shape, 7, self.w.dtype)
        y = self.stream.push(x, **options)
        for place, (row, m) in enumerate(zip(rows, lengths, strict=True)):
            assert not layer.cut(y[place], counts[place], None).any()
            if row < 0:
                continue
            start = g.known(self.length(row))
            signal = np.concatenate((self.signals[row], layer.cut(x[place], 0, m)), layer.axis)
            self.signals[row] = signal
            self.slack[row] = min(self.slack[row] + m, self.extra)
            expected = self.expected(signal, start, start + counts[place])
            if expected is not None:
                same_bits(layer.cut(y[place], 0, counts[place]), expected)

    def length(self, row):
        return self.signals[row].shape[self.layer.axis]

    @rule(rows=st.sampled_from((None, [0], [1], [1, -1, 0])))
    def finish(self, rows):
        layer, g = self.layer, self.layer.geometry
        meant = [0, 1] if rows is None else rows
        if any(row >= 0 and self.signals[row] is None for row in meant):
            with pytest.raises(RuntimeError, match="it is finished"):
                self.stream.finish(rows=rows)
            return
        lengths = [self.length(row) for row in meant if row >= 0]
        pads = max(g.left, g.right)
        if (layer.mode == "reflect" and min(lengths) <= pads and pads) or (
            layer.mode == "replicate" and 0 in lengths and pads
        ):
            with pytest.raises(ValueError, match=layer.mode):
                self.stream.finish(rows=rows)
            return
        y = self.stream.finish(rows=rows)
        for place, row in enumerate(meant):
            if row < 0:
                continue
            whole = layer.offline(self.signals[row][np.newaxis], self.w, self.b)
            start = g.known(self.length(row))
            rest = 0 if whole is None else whole.shape[layer.axis] - start
            if rest:
                same_bits(layer.cut(y[place], 0, rest), layer.cut(whole[0], start, None))
            assert not layer.cut(y[place], rest, None).any()
            self.signals[row], self.slack[row] = None, 0

    @rule(rows=st.sampled_from((None, [0], [1], [-1])))
    def reset(self, rows):
        self.stream.reset(rows)
        for row in [0, 1] if rows is None else rows:
            if row >= 0:
                self.signals[row] = self.layer.signals(self.rng, self.w.dtype, 0)
                self.slack[row] = 0

    @rule(steps=st.sampled_from((0, 1, 3, [0, 2], [1, 0], [41, 41])))
    def rewind(self, steps):
        each = [steps] * 2 if isinstance(steps, int) else steps
        if any(step and self.signals[row] is None for row, step in enumerate(each)):
            with pytest.raises(RuntimeError, match="it is finished"):
                self.stream.rewind(steps)
        elif any(step > slack for step, slack in zip(each, self.slack, strict=True)):
            with pytest.raises(ValueError, match="can be taken back"):
                self.stream.rewind(steps)
        else:
            self.stream.rewind(steps)
            for row, step in enumerate(each):
                if step:
                    self.signals[row] = self.layer.cut(self.signals[row], 0, -step)
                    self.slack[row] -= step

    @rule(
        again=st.sampled_from(
            (
                copy.copy,
                copy.deepcopy,
                Stream.clone,
                lambda stream: pickle.loads(pickle.dumps(stream)),
            )
        )
    )
    def go_on_with_a_copy(self, again):
        before = self.stream
        self.stream = again(before)
        if not self.extra and all(signal is not None for signal in self.signals):
            before.push(self.layer.signals(self.rng, self.w.dtype, 5, 2))  # which must not show

    @rule()
    def go_on_from_the_state(self):
        state = self.stream.state
        self.stream = self.layer.stream(self.w, self.b, extra_history=self.extra)
        self.stream.push(self.layer.signals(self.rng, self.w.dtype, 9, 2))
        self.stream.state = state
        state[0][...] = 1
        self.slack = [0, 0]

    @rule(steps=st.sampled_from((0, 1, 10)))
    def ask(self, steps):
        """As many samples as are said to be needed give as many outputs, and one less does not."""
        needed = self.stream.inputs_for(steps)
        for row, signal in enumerate(self.signals):
            if signal is None or steps == 0:
                assert needed[row] == 0
            else:
                assert self.stream.outputs_for(needed)[row] >= steps
                assert self.stream.outputs_for(np.maximum(needed - 1, 0))[row] < steps

    @invariant()
    def the_state_is_what_was_pushed(self):
        if not hasattr(self, "stream"):
            return
        history, position = self.stream.state
        assert history.shape[self.layer.axis] == self.stream.history
        for row, signal in enumerate(self.signals):
            if signal is None:
                assert position[row] == -1
                continue
            length = self.length(row)
            assert position[row] == length
            known = min(self.layer.geometry.history + self.slack[row], length)
            kept = self.layer.cut(history[row], self.stream.history - known, None)
            same_bits(kept, self.layer.cut(signal, length - known, None))


if NATIVE:

    class OnTheBestLevel(Rows):
        pass

    TestRows = OnTheBestLevel.TestCase
    TestRows.settings = settings(stateful_step_count=15)


@pytest.mark.parametrize("arrangement", READABLE)
@pytest.mark.parametrize("size", [1, 30, 400])
def test_arrays_in_any_memory(native, arrangement, size):
    layer = Layer(2, 1, 5, 13, 5, 1, 2, "causal", "zeros", False, "NCL")
    x, w, b = layer.arrays(0, np.float64, 3 * size)
    expected = layer.offline(x, w, b)
    stream = layer.stream(READABLE[arrangement](w), READABLE[arrangement](b), 256)
    for start in range(0, 3 * size, size):
        chunk = READABLE[arrangement](layer.cut(x, start, start + size))
        before = chunk.copy()
        y = stream.push(chunk)
        same_bits(y, np.ascontiguousarray(layer.cut(expected, start, start + size)))
        same_bits(np.ascontiguousarray(chunk), np.ascontiguousarray(before))


@pytest.mark.parametrize("arrangement", WRITEABLE)
@pytest.mark.parametrize("size", [1, 30, 400])
@pytest.mark.parametrize("lengths", [None, True])
def test_results_in_any_memory(native, arrangement, size, lengths):
    layer = Layer(2, 1, 5, 13, 5, 1, 2, "causal", "zeros", False, "NLC")
    x, w, b = layer.arrays(0, np.float64, 3 * size)
    expected = layer.offline(x, w, b)
    stream = layer.stream(w, b, 256)
    for start in range(0, 3 * size, size):
        out = WRITEABLE[arrangement](np.full((2, size, 13), np.nan))
        options = {} if lengths is None else {"lengths": [size, size]}
        assert stream.push(layer.cut(x, start, start + size), out, **options) is out
        np.testing.assert_array_equal(out, layer.cut(expected, start, start + size))


def test_lists_and_lone_signals(backend):
    stream = Stream([1, -1], [1])
    np.testing.assert_array_equal(stream.push([1, 2]), [0, 0])
    np.testing.assert_array_equal(stream.push((4,)), [-1])
    assert stream.push([]).shape == (0,)
    assert stream.position == 3
    stream = Stream(np.array([1, -1], np.float32), padding="full")
    assert stream.push([1.0, 2.0]).dtype == np.float32
    np.testing.assert_array_equal(stream.finish(), [2])


def test_is_a_snapshot(backend):
    w, b = np.ones((1, 1, 2)), np.ones(1)
    stream = Stream(w, b)
    w[...] = b[...] = np.nan
    np.testing.assert_array_equal(stream.push(np.ones((1, 3))), [[2, 3, 3]])
    assert not stream.weight.flags.writeable
    assert not stream.bias.flags.writeable


# --- bugs that others had -------------------------------------------------------------------------


@pytest.mark.parametrize("transposed", [False, True])
def test_outputs_do_not_depend_on_the_size_of_chunks(native, transposed):
    """Nor by a last bit, which flips a token of a codec."""
    layer = Layer(1, 1, 40, 33, 8, 4, 1, "causal", "zeros", transposed, "NCL")
    x, w, b = layer.arrays(0, np.float32, 960)
    expected = layer.offline(x, w, b)
    for size in (1, 4, 7, 80, 320, 960):
        stream = layer.stream(w, b)
        parts = [stream.push(x[..., i : i + size]) for i in range(0, 960, size)]
        same_bits(np.concatenate([*parts, stream.finish()], axis=-1), expected)


@pytest.mark.parametrize("transposed", [False, True])
def test_reset_forgets_everything(native, transposed):
    layer = Layer(2, 1, 3, 4, 7, 2, 2, (5, 3), "zeros", transposed, "NCL")
    x, w, b = layer.arrays(0, np.float64, 100)
    stream = layer.stream(w, b, extra_history=4)
    first = [stream.push(x[..., :41]), stream.push(x[..., 41:]), stream.finish()]
    stream.reset()
    assert not stream.state[0].any()
    for one, again in zip(
        first, [stream.push(x[..., :41]), stream.push(x[..., 41:]), stream.finish()], strict=True
    ):
        same_bits(one, again)


@pytest.mark.parametrize("mode", ["zeros", "replicate", "reflect", "transposed"])
@pytest.mark.parametrize("padding", [0, 1, 4, (0, 4), (4, 0), "causal"])
def test_latency_is_what_is_waited_for(backend, mode, padding):
    """Not a sample more: an output is known when so many samples behind its own have come."""
    transposed = mode == "transposed"
    options = {"padding": padding, "transposed": transposed}
    if not transposed:
        options["padding_mode"] = mode
    for stride, taps in itertools.product((1, 2, 3, 7), (1, 2, 5, 6)):
        stream = Stream(np.ones(taps), stride=stride, **options)
        waited, known = [], 0
        for sample in range(60):
            count = len(stream.push([1.0]))
            for output in range(known, known + count):
                own = output // stride if transposed else output * stride
                waited.append(sample - own)
            known += count
        if stream.latency >= 0:
            assert max(waited) == stream.latency
        else:  # outputs of the padding alone come with the first sample
            assert max(waited) <= 0


def test_causal_outputs_come_at_once():
    for transposed in (False, True):
        stream = Stream(np.ones(9), stride=3, transposed=transposed)
        assert stream.latency == 0
        assert stream.outputs_for(1) == (3 if transposed else 1)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 6, 7, 11])
def test_what_is_warm_is_the_whole_window(backend, size):
    """An output sees the first tap's sample however the chunks lie."""
    w = np.zeros(12)
    w[0], w[-1] = 1, 10
    stream = Stream(w, padding="causal")
    x = np.arange(1.0, 50)
    y = np.concatenate([stream.push(x[i : i + size]) for i in range(0, len(x), size)])
    np.testing.assert_array_equal(y, 10 * x + np.concatenate((np.zeros(11), x[:-11])))


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7])
@pytest.mark.parametrize("stride", [2, 3, 5, 8])
def test_the_phase_of_a_stride_survives(backend, size, stride):
    """With chunks that are no multiples of it, and windows that leave samples out."""
    x = np.arange(100.0)
    stream = Stream([1.0, 2.0, 4.0], stride=stride, padding="valid")
    y = np.concatenate([stream.push(x[i : i + size]) for i in range(0, 100, size)])
    np.testing.assert_array_equal(y, conv1d(x, [1.0, 2.0, 4.0], stride=stride))


def test_after_the_end_nothing_is_taken(backend):
    stream = Stream([1.0, 2.0], padding="full", extra_history=3)
    stream.push([1.0, 2.0])
    stream.finish()
    assert stream.position == -1
    for call in (
        lambda: stream.push([1.0]),
        lambda: stream.push([]),
        stream.finish,
        lambda: stream.rewind(1),
    ):
        with pytest.raises(RuntimeError, match="it is finished"):
            call()
    assert stream.outputs_for(9) == stream.inputs_for(9) == 0
    stream.reset()
    np.testing.assert_array_equal(stream.push([1.0]), [2.0])


def test_no_samples_at_all(backend):
    """As one call on none, where there is such a call."""
    for padding in ((2, 2), (0, 0), (7, 0)):
        stream = Stream([1.0, 2.0, 4.0], [8.0], padding=padding)
        y = stream.finish()
        if sum(padding) >= 3:
            np.testing.assert_array_equal(y, conv1d(np.ones(0), [1.0, 2, 4], [8.0], 1, padding))
        else:
            assert y.shape == (0,)


def test_the_first_chunk_decides_nothing(backend):
    """Neither how many rows there may be nor their dtype."""
    stream = Stream(np.ones((2, 3, 4), np.float32), batch=100)
    assert stream.push(np.ones((1, 3, 1), np.float32), rows=[77]).shape == (1, 2, 1)
    assert stream.push(np.ones((100, 3, 9), np.float32)).shape == (100, 2, 9)
    with pytest.raises(TypeError, match="x float64, weight float32"):
        stream.push(np.ones((100, 3, 9)))
    with pytest.raises(ValueError, match=r"x must have shape \(100, 3, n\)"):
        stream.push(np.ones((64, 3, 9), np.float32))


@pytest.mark.parametrize("size", [1, 3, 40, 700])
@pytest.mark.parametrize("layout", ["NCL", "NLC"])
@pytest.mark.parametrize("rows", [None, [1, 0]])
def test_nothing_is_allocated(native, monkeypatch, size, layout, rows):
    """Once the longest chunk has been seen: no array, and nothing that is kept."""
    layer = Layer(2, 1, 16, 16, 9, 1, 2, "causal", "zeros", False, layout)
    x, w, b = layer.arrays(0, np.float32, size)
    stream = layer.stream(w, b, 256)
    out = np.empty(x.shape, np.float32)
    for _ in range(200):
        stream.push(x, out, rows=rows)

    def refuse(*arguments):
        raise AssertionError(f"allocates {arguments}")

    for module in (_stream, _stream_direct, _stream_hops):
        monkeypatch.setattr(module, "empty", refuse)
    monkeypatch.setattr(_execute, "empty", refuse)
    monkeypatch.setattr(Samples, "_new", refuse)
    arrays = tracemalloc.DomainFilter(True, np.lib.tracemalloc_domain)
    gc.collect()
    tracemalloc.start()
    try:
        for _ in range(50):
            stream.push(x, out, rows=rows)
        kept = tracemalloc.take_snapshot().filter_traces([arrays])
    finally:
        tracemalloc.stop()
    assert sum(trace.size for trace in kept.traces) < 1000  # positions


@pytest.mark.parametrize("options", [{}, {"method": "fft", "hop": 1}], ids=str)
@pytest.mark.parametrize("count", range(1, 25))
def test_no_room_for_the_next_chunk(native, monkeypatch, options, count):
    """The next chunk finds that there is none, before it does anything; not the one before it."""
    stream, other = (Stream(np.ones(5), **options) for _ in range(2))
    for one in (stream, other):
        one.push([1.0])

    def refuse(*arguments):
        raise MemoryError

    chunk = np.arange(float(count))
    with monkeypatch.context() as patch:
        patch.setattr(Samples, "_new", refuse)
        for _ in range(3):
            try:
                y = stream.push(chunk)
            except MemoryError:
                break
            assert y.tobytes() == other.push(chunk).tobytes()
    assert stream.position == other.position
    assert stream.push(chunk).tobytes() == other.push(chunk).tobytes()


def test_a_long_life(native):
    """A hundred thousand pushes take no more memory than ten thousand."""
    stream = Stream(np.ones((3, 2, 5), np.float32), batch=2)
    out = np.empty((2, 3, 2), np.float32)
    x = np.ones((2, 2, 2), np.float32)
    for _ in range(1000):
        stream.push(x, out)
    width = stream._samples.array.shape
    used = []
    tracemalloc.start()
    try:
        for count in (10_000, 90_000):
            for _ in range(count):
                stream.push(x, out)
            gc.collect()
            used.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert used[1] < used[0] + 10_000
    assert stream._samples.array.shape == width
    assert len(stream._samples.views) <= _stream_samples.MAX_VIEWS
    assert list(stream.position) == [202_000] * 2


# --- numbers that are not finite ------------------------------------------------------------------


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("size", [1, 7, 300])
def test_non_finite_numbers_are_where_they_are_in_one_call(native, transposed, size):
    layer = Layer(1, 1, 3, 5, 6, 2, 2, (4, 7), "zeros", transposed, "NCL")
    x, w, b = layer.arrays(0, np.float64, 900)
    x[0, 1, 100], x[0, 2, 650] = np.nan, np.inf
    w[1, 2, 3], w[2, 1, 0] = np.inf, np.nan
    stream = layer.stream(w, b, 256)
    parts = [stream.push(x[..., i : i + size]) for i in range(0, 900, size)]
    y = np.concatenate([*parts, stream.finish()], axis=-1)
    expected = layer.offline(x, w, b)
    np.testing.assert_array_equal(y, expected)


# --- results that fail ----------------------------------------------------------------------------


@pytest.mark.parametrize("fails", range(1, 5))
@pytest.mark.parametrize("size", [3, 400])
@pytest.mark.parametrize("rows", [None, [1, 0]])
def test_without_memory_everything_is_as_it_was(native, monkeypatch, fails, size, rows):
    layer = Layer(2, 1, 3, 4, 5, 1, 1, (2, 2), "zeros", False, "NCL")
    x, w, b = layer.arrays(0, np.float64, 1000)
    stream, other = (layer.stream(w, b, 256, extra_history=1) for _ in range(2))
    for one in (stream, other):
        one.push(x[..., :7])
    out = np.full((2, 4, size), 7.0)
    calls = 0

    def failing(*arguments):
        nonlocal calls
        calls += 1
        if calls == fails:
            raise MemoryError
        return convolve(*arguments)

    convolve = Direct.convolve
    with monkeypatch.context() as patch:
        patch.setattr(Direct, "convolve", failing)
        try:
            stream.push(x[..., 7 : 7 + size], out, rows=rows)
        except MemoryError:
            assert (out == 7).all()
        else:
            assert calls < fails
            return
    state = stream.state
    for one, wanted in zip(state, other.state, strict=True):
        same_bits(one, wanted)
    with monkeypatch.context() as patch:
        patch.setattr(Direct, "convolve", failing)
        calls = fails - 1
        with pytest.raises(MemoryError):
            stream.finish()
    for start, stop in ((7, 20), (20, 900)):
        same_bits(stream.push(x[..., start:stop]), other.push(x[..., start:stop]))
    same_bits(stream.finish(), other.finish())


def test_a_history_that_no_memory_holds():
    with pytest.raises(MemoryError):
        Stream(np.ones((1, 1, 2)), dilation=2**46, batch=2**20)


# --- threads --------------------------------------------------------------------------------------


@pytest.mark.alone
def test_two_threads_at_once_are_refused(backend):
    """Whoever is second is told so, and what the first one computes is right."""
    stream = Stream(np.ones(3))
    entered, leave = threading.Event(), threading.Event()

    class Slow(np.ndarray):
        """Which is converted while the stream is in use."""

    class Waiting:
        def __array__(self, dtype=None, copy=None):
            entered.set()
            assert leave.wait(60)
            return np.ones(4)

    found = []
    thread = threading.Thread(target=lambda: found.append(stream.push(Waiting())))
    thread.start()
    assert entered.wait(60)
    try:
        for call in (
            lambda: stream.push([1.0]),
            lambda: stream.push(np.ones(1)),
            stream.finish,
            stream.reset,
            stream.clone,
            lambda: stream.rewind(0),
            lambda: stream.state,
            lambda: setattr(stream, "state", (np.ones(2), 2)),
            lambda: pickle.dumps(stream),
        ):
            with pytest.raises(RuntimeError, match="in use by another thread"):
                call()
    finally:
        leave.set()
        thread.join()
    np.testing.assert_array_equal(found[0], [1, 2, 3, 3])
    np.testing.assert_array_equal(stream.push([1.0]), [3])


@pytest.mark.alone
def test_streams_in_many_threads(native):
    """Each with a clone of its own, which share packed weights."""
    layer = Layer(1, 1, 17, 13, 5, 1, 3, "causal", "zeros", False, "NCL")
    x, w, b = layer.arrays(0, np.float32, 700)
    expected = layer.offline(x, w, b)
    stream = layer.stream(w, b)
    stream.push(x[..., :100])
    clones = [stream.clone() for _ in range(6)]
    assert not wrong_pushes(clones, x, expected, range(100, 700, 25), 25)
    assert stream.position.tolist() == [100]


def test_every_level_packs_for_itself(each_native):
    layer = Layer(None, 1, 17, 13, 5, 1, 3, "causal", "zeros", False, "NCL")
    x, w, b = layer.arrays(0, np.float32, 100)
    stream = layer.stream(w, b)
    transposed = layer._replace(transposed=True)
    w2 = transposed.arrays(0, np.complex64, 0)[1]
    other = transposed.stream(w2, None)

    def compute():
        for one, weight, bias, kind in ((stream, w, b, layer), (other, w2, None, transposed)):
            one.reset()
            y = np.concatenate(
                [one.push(x.astype(weight.dtype)[:, i : i + 9]) for i in range(0, 100, 9)]
                + [one.finish()],
                axis=-1,
            )
            same_bits(y, kind.offline(x.astype(weight.dtype), weight, bias))

    each_native(compute)
    each_native(compute)


def test_the_backend_may_change(each_native):
    if not NATIVE:
        pytest.skip("the extension is not loaded")
    stream = Stream(np.array([1.0, 2.0]))
    np.testing.assert_array_equal(stream.push([1.0]), [2])
    with selected("reference"):
        np.testing.assert_array_equal(stream.push(np.array([1.0])), [3])
    np.testing.assert_array_equal(stream.push(np.array([1.0])), [3])
    assert _backend.core is not None


# --- copies ---------------------------------------------------------------------------------------


class Named(Stream):
    """With a constructor, attributes and slots of its own."""

    __slots__ = ("place",)

    def __init__(self, name):
        super().__init__([1.0, 2.0, 4.0], extra_history=2)
        self.name, self.place = name, {"of": name}


@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, Stream.clone, lambda s: pickle.loads(pickle.dumps(s))]
)
def test_copies_of_subclasses(backend, again):
    stream = Named("first")
    stream.push([1.0, 2.0])
    other = again(stream)
    assert type(other) is Named
    assert (other.name, other.place) == ("first", {"of": "first"})
    np.testing.assert_array_equal(other.push([1.0]), stream.push([1.0]))
    other.rewind(2)
    assert (other.position, stream.position) == (1, 3)
    assert repr(other) == repr(stream)
    assert not other.weight.flags.writeable


def test_a_pickle_is_as_small_as_the_state():
    stream = Stream(np.ones((4, 4, 3), np.float32), batch=2)
    stream.push(np.ones((2, 4, 200), np.float32))
    size = stream.weight.nbytes + stream.state[0].nbytes
    assert len(pickle.dumps(stream)) < size + 1500


def test_representation():
    stream = Stream(np.ones((6, 2, 3), "f"), stride=2, padding="full", groups=2, batch=3)
    assert repr(stream) == (
        "Stream(<weight of shape (6, 2, 3), float32>, bias=None, stride=2, padding=(2, 2), "
        "dilation=1, groups=2, padding_mode='zeros', transposed=False, batch=3, layout='NCL', "
        "extra_history=0)"
    )


# --- refusals -------------------------------------------------------------------------------------

W = np.ones((6, 2, 3))

REFUSED = [
    ({"padding_mode": "circular"}, ValueError, "'circular' cannot stream"),
    ({"padding_mode": "mirror"}, ValueError, "padding_mode must be one of"),
    ({"padding": "same", "stride": 2}, ValueError, "depends on the length of the whole signal"),
    ({"padding": "same_lower", "stride": 3}, ValueError, "give a pair (left, right)"),
    ({"padding": "SAME"}, ValueError, "padding must be"),
    ({"padding": -1}, ValueError, "padding must be at least 0, not -1"),
    ({"padding": (0, 2**48)}, ValueError, "at most 2**48"),
    ({"transposed": True, "padding": "same"}, ValueError, "or 'causal', not 'same'"),
    ({"transposed": True, "padding_mode": "reflect"}, ValueError, "must be 'zeros'"),
    ({"transposed": 1}, TypeError, "transposed must be True or False, not 1"),
    ({"stride": 0}, ValueError, "stride must be at least 1, not 0"),
    ({"dilation": 1.5}, TypeError, "dilation must be an integer, not 1.5"),
    ({"dilation": 2**48}, ValueError, "at most 2**48"),
    ({"groups": 4}, ValueError, "6 output channels cannot be divided into 4 groups"),
    ({"layout": "LNC"}, ValueError, "layout must be 'NCL' or 'NLC', not 'LNC'"),
    ({"batch": -1}, ValueError, "batch must be at least 0, not -1"),
    ({"batch": 2.0}, TypeError, "batch must be an integer, not 2.0"),
    ({"batch": 2, "weight": np.ones(3)}, ValueError, "give it the shape (1, 1, 3)"),
    ({"extra_history": -1}, ValueError, "extra_history must be at least 0, not -1"),
    ({"bias": np.ones(5)}, ValueError, "bias must have shape (6,)"),
    ({"bias": np.ones(6, "f")}, TypeError, "one dtype"),
    ({"weight": np.ones((2, 6, 2, 3))}, ValueError, "not four for each sample"),
    ({"weight": np.ones((6, 3))}, ValueError, "weight must have shape"),
    ({"weight": None}, TypeError, "weight must be an array, not None"),
]


@pytest.mark.parametrize(("change", "error", "words"), REFUSED)
def test_refusals_at_construction(change, error, words):
    with pytest.raises(error) as caught:
        Stream(**{"weight": W} | change)
    assert str(caught.value).startswith("Stream: ")
    assert words in str(caught.value)


X = np.ones((3, 2, 5))
REFUSED_BY_PUSH = [
    ({"x": X[:2]}, ValueError, "x must have shape (3, 2, n), not (2, 2, 5)"),
    ({"x": X[0]}, ValueError, "x must have shape (3, 2, n), not (2, 5)"),
    ({"x": X[:, :1]}, ValueError, "x must have shape (3, 2, n)"),
    ({"x": np.float64(1)}, ValueError, "x must have shape (3, 2, n), not ()"),
    ({"x": X.astype("f")}, TypeError, "x float32, weight float64"),
    ({"x": None}, TypeError, "x must be an array, not None"),
    ({"out": np.ones((3, 6, 4))}, ValueError, "out must have shape (3, 6, 5), not (3, 6, 4)"),
    ({"out": np.ones((3, 6, 5), "f")}, TypeError, "out must have dtype float64, not float32"),
    ({"out": [1]}, TypeError, "out must be a NumPy array, not list"),
    ({"out": np.broadcast_to(1.0, (3, 6, 5))}, ValueError, "out must be writeable"),
    ({"lengths": [1, 2]}, ValueError, "lengths must have shape (3,)"),
    ({"lengths": [1, 2, 6]}, ValueError, "at most the 5 samples of x, not 6"),
    ({"lengths": [1, 2, -1]}, ValueError, "lengths must be at least 0, not -1"),
    ({"lengths": [1.0, 2, 3]}, TypeError, "lengths must be integers"),
    ({"rows": [0, 1]}, ValueError, "rows must have shape (3,)"),
    ({"rows": [0, 1, 1]}, ValueError, "rows must be different from each other"),
    ({"rows": [0, 1, 3]}, ValueError, "rows must be less than the batch, 3, not 3"),
    ({"rows": [0, 1, -2]}, ValueError, "rows must be at least -1, not -2"),
    ({"rows": [True, False, True]}, TypeError, "rows must be integers"),
]


@pytest.mark.parametrize(("change", "error", "words"), REFUSED_BY_PUSH)
def test_refusals_of_push(backend, change, error, words):
    stream = Stream(np.ones((6, 2, 3)), batch=3)
    for _ in range(2):  # the second time there are views
        with pytest.raises(error) as caught:
            stream.push(**{"x": X} | change)
        assert str(caught.value).startswith(("Stream.push: ", "Stream: "))
        assert words in str(caught.value)
        stream.push(X)
    assert stream.position.tolist() == [10] * 3


def test_out_must_not_be_the_chunk(backend):
    stream = Stream(np.ones((2, 2, 3)), batch=1)
    x = np.ones((1, 2, 5))
    for _ in range(3):
        with pytest.raises(ValueError, match="out must not overlap x"):
            stream.push(x, x)
        with pytest.raises(ValueError, match="out must not overlap x"):
            stream.push(x[::-1], x)
        stream.push(x)
    assert (x == 1).all()


def test_refusals_of_the_others(backend):
    stream = Stream(np.ones((6, 2, 3)), batch=3, extra_history=2)
    lone = Stream(np.ones((6, 2, 3)), extra_history=2)
    history, position = stream.state
    for state, error, words in (
        ((history[:2], position), ValueError, "history must have shape"),
        ((history[..., 1:], position), ValueError, "history must have shape"),
        ((history.astype("f"), position), TypeError, "history float32, weight float64"),
        ((history, position[:2]), ValueError, "position must have shape"),
        ((history, position - 2), ValueError, "position must be at least -1, not -2"),
        ((history, [0.5, 1, 2]), TypeError, "position must be integers"),
        (history, TypeError, "must be a pair"),
        (None, TypeError, "must be a pair"),
    ):
        with pytest.raises(error, match=words):
            stream.state = state
    for call, error, words in (
        (lambda: lone.push(X[0], rows=[0]), ValueError, "for a stream with a batch"),
        (lambda: lone.push(X[0], lengths=[1]), ValueError, "for a stream with a batch"),
        (lambda: lone.finish(rows=[0]), ValueError, "for a stream with a batch"),
        (lambda: lone.reset([0]), ValueError, "for a stream with a batch"),
        (lambda: lone.outputs_for(1, rows=[0]), ValueError, "for a stream with a batch"),
        (lambda: lone.outputs_for(-1), ValueError, "n must be at least 0, not -1"),
        (lambda: lone.inputs_for(1.5), TypeError, "m must be an integer, not 1.5"),
        (lambda: lone.rewind(1), ValueError, "at most the 0 samples"),
        (lambda: lone.rewind(-1), ValueError, "n must be at least 0, not -1"),
        (lambda: stream.reset([5]), ValueError, "rows must be less than the batch"),
        (lambda: stream.rewind([1, 2]), ValueError, r"n must have shape \(3,\)"),
    ):
        with pytest.raises(error, match=words):
            call()
