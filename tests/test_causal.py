"""causal-conv1d's functions: its own grid of sizes, exact gradients, the bugs of others."""

from __future__ import annotations

from itertools import product

import ml_dtypes
import numpy as np
import pytest
from conftest import NATIVE
from hypothesis import given
from hypothesis import strategies as st
from support import READABLE, needs_native, seeds

import cconv1d
from cconv1d import (
    CausalGradients,
    _backend,
    _causal,
    causal_conv1d_backward,
    causal_conv1d_fn,
    causal_conv1d_update,
    causal_conv1d_varlen_states,
)

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
#: That package's tolerances, relative and absolute; of float64 ours.
TOLERANCES = {
    np.dtype("f"): (3e-4, 1e-3),
    np.dtype("e"): (3e-3, 5e-3),
    BFLOAT16: (1e-2, 5e-2),
    np.dtype("d"): (4 * 2.3e-16, 8 * 2.3e-16),
}
same = np.testing.assert_array_equal


def near(got, expected, dtype, factor=1):
    relative, absolute = TOLERANCES[np.dtype(dtype)]
    np.testing.assert_allclose(
        got.astype("d"), expected, rtol=factor * relative, atol=factor * absolute
    )


# --- the formula, one tap after the other, in float64 ---------------------------------------------


def sigmoid(v):
    return 1 / (1 + np.exp(-v))


class Oracle:
    def __init__(self, x, w, b=None, seq_idx=None, states=None, activation=None):
        wide = [None if a is None else np.asarray(a, "d") for a in (x, w, b, states)]
        self.x, self.w, self.b, self.states = wide
        batch, channels, length = x.shape
        taps = w.shape[1]
        ids = np.zeros((batch, length), int) if seq_idx is None else np.asarray(seq_idx)
        first = ids[:, :1] if states is not None and length else np.full((batch, 1), -1)
        known = np.concatenate((np.repeat(first, taps - 1, axis=1), ids), axis=1)
        before = np.zeros((batch, channels, taps - 1)) if states is None else self.states
        self.row = np.concatenate((before, self.x), axis=2)
        self.counts = [(known[:, j : j + length] == ids) & (ids >= 0) for j in range(taps)]
        self.silu = activation is not None
        self.inside = (ids >= 0)[:, np.newaxis]
        self.sums = np.zeros(x.shape) if b is None else self.b[:, np.newaxis] + np.zeros(x.shape)
        for j, counted in enumerate(self.counts):
            terms = self.w[:, j, np.newaxis] * self.row[:, :, j : j + length]
            self.sums = self.sums + np.where(counted[:, np.newaxis], terms, 0)
        y = self.sums * sigmoid(self.sums) if self.silu else self.sums
        self.y = np.where(self.inside, y, 0)

    def backward(self, dy, dfinal=None):
        length, reach = dy.shape[2], self.w.shape[1] - 1
        dy = np.where(self.inside, np.asarray(dy, "d"), 0)
        if self.silu:
            s = sigmoid(self.sums)
            dy = dy * s * (1 + self.sums * (1 - s))
        drow, dw = np.zeros(self.row.shape), np.zeros(self.w.shape)
        for j, counted in enumerate(self.counts):
            given = np.where(counted[:, np.newaxis], dy, 0)
            drow[:, :, j : j + length] += self.w[:, j, np.newaxis] * given
            dw[:, j] = (given * self.row[:, :, j : j + length]).sum(axis=(0, 2))
        if dfinal is not None:
            drow[:, :, drow.shape[2] - reach :] += np.asarray(dfinal, "d")
        return drow[:, :, reach:], dw, dy.sum(axis=(0, 2)), drow[:, :, :reach]


def channels_last(array):
    return np.ascontiguousarray(array.swapaxes(1, 2)).swapaxes(1, 2)


def part_of_wider(array):
    wider = np.full((array.shape[0], array.shape[1] + 9, array.shape[2]), np.nan, array.dtype)
    wider[:, 5:-4] = array
    return wider[:, 5:-4]


ARRANGED = {"first": np.ascontiguousarray, "last": channels_last, "part": part_of_wider}


def numbers(seed, batch, channels, length, taps, dtype, weight_dtype=None):
    rng = np.random.default_rng(seed)
    shapes = (batch, channels, length), (channels, taps), (channels,), (batch, channels, taps - 1)
    kinds = dtype, weight_dtype or dtype, weight_dtype or dtype, dtype
    return [rng.standard_normal(s).astype(k) for s, k in zip(shapes, kinds, strict=True)]


# --- whole signals --------------------------------------------------------------------------------

LENGTHS = (1, 2, 8, 16, 32, 64, 128, 129, 130, 151, 256, 372, 512, 784, 1024, 1134, 2048, 4096)


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("arrangement", ARRANGED)
@pytest.mark.parametrize("taps", [1, 2, 3, 4, 7])
def test_that_packages_grid(backend, dtype, arrangement, taps):
    """Of lengths, with every choice of bias, activation, states, and gradients of them all."""
    weights = np.dtype("d" if dtype == np.float64 else "f")
    whole = dtype == np.float32 and taps == 4 and arrangement != "part"
    lengths = LENGTHS if whole else (1, 3, 16, 129)
    for length, has_bias, activation, has_states in product(
        lengths, (False, True), (None, "silu"), (False, True)
    ):
        x, w, b, states = numbers(length, 2, 24, length, taps, dtype, weights)
        b, states = b if has_bias else None, states if has_states else None
        x = ARRANGED[arrangement](x)
        oracle = Oracle(x, w, b, None, states, activation)
        y, final = causal_conv1d_fn(
            x, w, b, initial_states=states, return_final_states=True, activation=activation
        )
        assert y.dtype == dtype
        near(y, oracle.y, dtype, max(1, taps / 4))
        assert (y.strides[1] < y.strides[2]) == (x.strides[1] < x.strides[2]) or length == 1
        same(final, oracle.row[:, :, oracle.row.shape[2] - taps + 1 :].astype(dtype))
        if length > 600:
            continue
        rng = np.random.default_rng(1)
        dy = rng.standard_normal(x.shape).astype(dtype)
        dfinal = rng.standard_normal(final.shape).astype(dtype)
        grads = causal_conv1d_backward(dy, x, w, b, None, states, dfinal, activation)
        dx, dw, db, dstates = oracle.backward(dy, dfinal)
        factor = 8 if dtype == np.float64 else 1
        near(grads.x, dx, dtype, factor)
        scale = max(1, np.sqrt(2 * length)) if dtype == np.float64 else length**0.5
        near(grads.weight, dw, weights, 4 * scale)
        assert (grads.bias is None, grads.initial_states is None) == (b is None, states is None)
        if b is not None:
            near(grads.bias, db, weights, 4 * scale)
        if states is not None:
            near(grads.initial_states, dstates, dtype, factor)
        assert grads.weight.dtype == weights
        assert grads.x.dtype == dtype


KINDS = st.sampled_from((*TOLERANCES,))


@given(
    seed=seeds,
    dtype=KINDS,
    length=st.integers(0, 40),
    taps=st.integers(1, 6),
    has_states=st.booleans(),
    activation=st.sampled_from((None, "swish")),
    data=st.data(),
)
def test_sequences_in_one_row(backend, seed, dtype, length, taps, has_states, activation, data):
    """In any order, also one that comes again, with padding anywhere, and states before them."""
    ids = [
        data.draw(st.lists(st.integers(-1, 2), min_size=length, max_size=length)) for _ in range(2)
    ]
    seq_idx = np.array(ids, int).reshape(2, length)
    if data.draw(st.booleans()):  # as a rule sequences are runs
        seq_idx.sort(axis=1)
    weights = np.dtype("d" if dtype == np.float64 else "f")
    x, w, b, states = numbers(seed, 2, 5, length, taps, dtype, weights)
    states = states if has_states else None
    oracle = Oracle(x, w, b, seq_idx, states, activation)
    y = causal_conv1d_fn(x, w, b, seq_idx, states, activation=activation)
    near(y, oracle.y, dtype, max(2, taps))
    assert not y[np.broadcast_to(seq_idx[:, np.newaxis] < 0, y.shape)].any()
    dy = numbers(seed + 1, 2, 5, length, taps, dtype)[0]
    grads = causal_conv1d_backward(dy, x, w, b, seq_idx, states, activation=activation)
    wanted = oracle.backward(dy)
    for got, expected, kind in zip(grads, wanted, (dtype, weights, weights, dtype), strict=True):
        if got is not None:
            near(got, expected, kind, 64 if dtype == np.float64 else 4)


@pytest.mark.parametrize("activation", [None, "silu"])
def test_a_sequence_has_the_bits_that_it_has_alone(native, activation):
    x, w, b, states = numbers(0, 1, 40, 100, 4, "f")
    edges = [0, 1, 3, 40, 42, 100]
    seq_idx = np.repeat(np.arange(5), np.diff(edges))[np.newaxis]
    y = causal_conv1d_fn(x, w, b, seq_idx, states, activation=activation)
    for i in range(5):
        part = x[..., edges[i] : edges[i + 1]]
        first = states if i == 0 else None
        alone = causal_conv1d_fn(part, w, b, None, first, activation=activation)
        same(y[..., edges[i] : edges[i + 1]], alone)


def test_the_oracle_by_differences():
    """Of a loss that sees outputs and final states, with states longer than the signal."""
    x, w, b, states = numbers(0, 2, 2, 2, 4, "d")
    rng = np.random.default_rng(1)
    dy, dfinal = rng.standard_normal(x.shape), rng.standard_normal(states.shape)

    def loss(x, w, b, states):
        oracle = Oracle(x, w, b, None, states, "silu")
        return (oracle.y * dy).sum() + (oracle.row[:, :, -3:] * dfinal).sum()

    arguments = [x, w, b, states]
    found = causal_conv1d_backward(dy, x, w, b, None, states, dfinal, "silu")
    wanted = Oracle(x, w, b, None, states, "silu").backward(dy, dfinal)
    for i, (grad, expected) in enumerate(zip(found, wanted, strict=True)):
        np.testing.assert_allclose(grad, expected, rtol=1e-13, atol=1e-13)
        for at in np.ndindex(grad.shape):
            moved = []
            for step in (-1e-5, 1e-5):
                changed = arguments[i].copy()
                changed[at] += step
                moved.append(loss(*arguments[:i], changed, *arguments[i + 1 :]))
            assert abs((moved[1] - moved[0]) / 2e-5 - grad[at]) < 1e-8


def test_states_may_be_written_where_they_are_read(backend):
    x, w, _, states = numbers(0, 2, 3, 2, 4, "f")
    y, final = causal_conv1d_fn(x, w, initial_states=states, return_final_states=True)
    out = states.copy()
    again, found = causal_conv1d_fn(
        x, w, initial_states=out, return_final_states=True, final_states_out=out
    )
    assert found is out
    same(again, y)
    same(out, final)
    out[...] = 7
    causal_conv1d_fn(x, w, final_states_out=out)
    assert (out == 7).all()


@pytest.mark.parametrize("dtypes", list(product(TOLERANCES, repeat=2)), ids=str)
def test_all_pairs_of_dtypes(backend, dtypes):
    x, w, b, states = numbers(0, 2, 9, 30, 3, *dtypes)
    y = causal_conv1d_fn(x, w, b, None, states, activation="silu")
    assert y.dtype == dtypes[0]
    near(y, Oracle(x, w, b, None, states, "silu").y, dtypes[0], 2)
    grads = causal_conv1d_backward(x, x, w, b, None, states, activation="silu")
    assert [grad.dtype for grad in grads] == [*dtypes, dtypes[1], dtypes[0]]


@pytest.mark.parametrize("arrangement", READABLE)
def test_arrays_in_any_memory(native, arrangement):
    x, w, b, states = numbers(0, 2, 17, 50, 4, "f")
    seq_idx = np.arange(100).reshape(2, 50) // 7
    expected = causal_conv1d_fn(x, w, b, seq_idx, states, activation="silu")
    arrays = [READABLE[arrangement](array) for array in (x, w, b, seq_idx, states)]
    same(causal_conv1d_fn(*arrays, activation="silu"), expected)
    grads = causal_conv1d_backward(x, x, w, b, seq_idx, states)
    again = causal_conv1d_backward(READABLE[arrangement](x), *arrays)
    for one, other in zip(grads, again, strict=True):
        same(one, other)


def test_bits_on_every_level(each_native):
    """Of all levels that fuse multiply-adds, SiLU and its slope included."""
    x, w, b, states = numbers(0, 2, 33, 300, 4, "f")

    def compute():
        y = causal_conv1d_fn(x, w, b, None, states, activation="silu")
        return y, *causal_conv1d_backward(y, x, w, b, None, states, None, "silu")

    results = {name: found for name, found in each_native(compute).items() if "base" not in name}
    first = next(iter(results.values()), ())
    for other in results.values():
        for one, another in zip(first, other, strict=True):
            assert one.tobytes() == another.tobytes()


def test_empty_signals(backend):
    for shape in ((0, 3, 5), (2, 0, 5), (2, 3, 0)):
        x, w, _, states = numbers(0, *shape, 4, "f")
        y, final = causal_conv1d_fn(x, w, None, None, states, True, activation="silu")
        assert y.shape == shape
        grads = causal_conv1d_backward(y, x, w, None, None, states, final, "silu")
        assert grads.weight.shape == w.shape
        assert not grads.weight.any()
        if shape[2] == 0:
            same(final, states)
            same(grads.initial_states, final)


# --- SiLU -----------------------------------------------------------------------------------------


def of_levels(function):
    """Its results on every level of the extension."""
    core = _backend.core
    before, found = core.isa(), []
    try:
        for name in NATIVE:
            core.set_isa(name.partition("-")[2])
            found.append(function())
    finally:
        core.set_isa(before)
    return found


def silu_of(values):
    values = values.copy()
    _backend.core.silu(values)
    return values


@needs_native
@pytest.mark.thread_unsafe
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_silu_is_within_2_ulp_and_the_same_everywhere(dtype):
    """Of the value in higher precision: float64 for float32, longdouble for float64."""
    rng = np.random.default_rng(0)
    values = np.concatenate(
        [
            rng.uniform(-10, 10, 20001),
            rng.uniform(-100, 100, 20001),
            rng.uniform(-760, 760, 20001),
            rng.uniform(-760, -700, 20001),
            np.exp(rng.uniform(-700, 700, 5001)),
            -np.exp(rng.uniform(-700, 5, 5001)),
            [0.0, -0.0, 1.0, -1.0, 1e300, -1e300, 800.0, -800.0],
        ]
    )
    with np.errstate(over="ignore"):
        values = values.astype(dtype)
    values = values[np.isfinite(values)]
    wide = values.astype("d" if dtype == "float32" else "g")
    if np.finfo(wide.dtype).eps == np.finfo(dtype).eps:
        pytest.skip("longdouble is float64 here")
    with np.errstate(over="ignore", under="ignore"):
        power = np.exp(-abs(wide))
        exact = np.where(wide < 0, wide * power, wide) / (1 + power)
    found = of_levels(lambda: silu_of(values))
    ulp = np.spacing(abs(exact).astype(dtype)).astype(wide.dtype)
    assert (abs(found[0].astype(wide.dtype) - exact) <= 2 * ulp).all()
    for other in found[1:]:
        assert other.tobytes() == found[0].tobytes()


@needs_native
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 33, 8191, 8192, 8193, 100_000])
def test_silu_of_any_number_of_values(native, dtype, count):
    rng = np.random.default_rng(count)
    values, grads = rng.standard_normal((2, count)).astype(dtype)
    got = silu_of(values)
    s = sigmoid(values.astype("d"))
    np.testing.assert_allclose(got, values * s, rtol=4 * np.finfo(dtype).eps)
    slopes = grads.copy()
    _backend.core.silu_backward(values, slopes)
    expected = grads * s * (1 + values.astype("d") * (1 - s))
    np.testing.assert_allclose(
        slopes,
        expected,
        rtol=1e-5 if dtype == "float32" else 1e-13,
        atol=1e-7 if dtype == "float32" else 1e-15,
    )
    for threads in (1, 3):
        with cconv1d.num_threads(threads):
            same(silu_of(values), got)


def test_silu_of_what_is_not_finite(backend):
    values = np.array([np.nan, np.inf, -np.inf, -0.0], "f")
    _causal.apply_silu(values)
    same(values, [np.nan, np.inf, np.nan, -0.0])
    assert np.signbit(values[3])
    grads = np.ones(4)
    _causal.apply_silu_backward(np.array([np.nan, 1000.0, -1000.0, 0.0]), grads)
    same(grads, [np.nan, 1, 0, 0.5])


@needs_native
def test_silu_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="there are 3 values, but 2 gradients"):
        _backend.core.silu_backward(np.ones(3), np.ones(2))


# --- one position after another -------------------------------------------------------------------


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("taps", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("activation", [None, "silu"])
@pytest.mark.parametrize("how", ["shift", "circular", "pool", "both"])
def test_updates(backend, dtype, taps, activation, how):
    """Of 1, 4 or 5 positions, and of more than the state holds; the states exactly."""
    for length, extra, last in product((1, 4, 5, 13), (0, 1, 9), (False, True)):
        batch, channels, width = 5, 18, taps - 1 + extra
        rng = np.random.default_rng(length + extra)
        x, w, b, _ = numbers(extra, batch, channels, length, taps, dtype)
        rows = batch if how in ("shift", "circular") else 3 * batch
        state = rng.standard_normal((rows, channels, width)).astype(dtype)
        if last:
            state, x = channels_last(state), channels_last(x)
        before = state.copy()
        used = list(range(batch)) if rows == batch else [7, -1, 0, 14, -1]
        seen = rng.integers(0, 1024, batch) if how in ("circular", "both") else None
        y = causal_conv1d_update(
            x, state, w, b, activation, seen, None if rows == batch else np.array(used, np.int32)
        )
        assert y.shape == x.shape
        assert y.dtype == dtype
        for i, row in enumerate(used):
            if row < 0:
                assert not y[i].any()
                continue
            old = before[row]
            if seen is not None and width:
                old = np.roll(old, -int(seen[i]), axis=1)  # the oldest first
            held = old[:, width - taps + 1 :]
            oracle = Oracle(x[i : i + 1], w, b, None, held[np.newaxis], activation)
            near(y[i], oracle.y[0], dtype, max(2, taps))
            new = np.concatenate((old, x[i]), axis=1)[:, length:]
            if seen is not None and width:
                new = np.roll(new, int(seen[i]) + length, axis=1)
            same(state[row], new)
        untouched = [row for row in range(rows) if row not in used]
        same(state[untouched], before[untouched])


def test_updates_have_the_bits_of_a_whole_signal(native):
    x, w, b, _ = numbers(0, 3, 40, 50, 4, "f")
    for dtype in ("f", "d", "e", BFLOAT16):
        signal, weight, bias = (a.astype(dtype) for a in (x, w, b))
        expected = causal_conv1d_fn(signal, weight, bias, activation="silu")
        state = np.zeros((3, 40, 5), dtype)
        parts, start = [], 0
        for size in (1, 1, 3, 0, 7, 1, 30, 7):
            part = signal[..., start : start + size]
            if size == 1:
                part = part[..., 0]
            y = causal_conv1d_update(part, state, weight, bias, "silu")
            parts.append(y if size != 1 else y[..., np.newaxis])
            start += size
        found = np.concatenate(parts, axis=2)
        assert found.tobytes() == np.ascontiguousarray(expected).tobytes()


def apart(array):
    """Every second number of a longer array, so that nothing lies side by side."""
    wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
    wide[..., ::2] = array
    return wide[..., ::2]


@pytest.mark.parametrize("order", [np.ascontiguousarray, channels_last, np.asfortranarray, apart])
@pytest.mark.parametrize("taps", [1, 2, 4, 9, 16, 17])
@pytest.mark.parametrize("dtype", [np.dtype("f"), np.dtype("d"), np.dtype("e"), BFLOAT16], ids=str)
def test_one_position_by_the_short_road(native, dtype, taps, order):
    """The bits of the long one, which calls with indices take; for taps that the stack can hold."""
    cconv1d.conv1d(np.ones(1, dtype), np.ones(1, dtype))  # the extension has seen the dtype then
    for channels in (1, 7, 8, 9, 16, 31, 33, 64, 65, 129, 288, 300):
        for extra, batch, activation in ((0, 3, None), (1, 2, None), (2, 1, "silu"), (9, 1, None)):
            x, w, b, _ = numbers(extra, batch, channels, 1, taps, dtype)
            state = np.random.default_rng(1).standard_normal((batch, channels, taps - 1 + extra))
            ours, theirs = (order(state.astype(dtype)) for _ in range(2))
            if activation:
                x = x[..., 0]
            y = _backend.core.update_states(x, ours.copy(), w, b, activation is not None)
            assert (y is None) == (taps > 16)
            for _ in range(3):
                y = causal_conv1d_update(x, ours, w, b, activation)
                every = np.arange(batch)
                expected = causal_conv1d_update(x, theirs, w, b, activation, None, every)
                assert y.shape == x.shape
                assert y.tobytes() == np.ascontiguousarray(expected).tobytes()
                same(ours, theirs)


def test_the_extension_learns_of_bfloat16_by_an_update(native, monkeypatch):
    monkeypatch.delitem(_backend._kernels, BFLOAT16, raising=False)
    _backend.core.know_bfloat16(-1)
    x, w, b, state = numbers(0, 2, 5, 1, 3, BFLOAT16)
    assert _backend.core.update_states(x, state, w, b, False) is None
    causal_conv1d_update(x, state, w, b)
    assert _backend.core.update_states(x, state, w, b, False) is not None


@pytest.mark.thread_unsafe
def test_threads_share_channels(native):
    x, w, b, state = numbers(0, 40, 1000, 1, 4, "f")
    results = []
    for threads in (1, 2, 5):
        with cconv1d.num_threads(threads):
            moved = state.copy()
            results.append((causal_conv1d_update(x, moved, w, b, "silu"), moved))
    for y, moved in results[1:]:
        assert y.tobytes() == results[0][0].tobytes()
        same(moved, results[0][1])


def test_what_the_short_road_leaves(native):
    """Arrays that share memory with the state, or are not its kind."""
    update = _backend.core.update_states
    x, w, b, state = numbers(0, 2, 5, 1, 3, "f")
    assert update(x, state, w, b, False) is not None
    assert update(state[..., :1], state, w, b, False) is None
    assert update(x, state, w, state[0, :, 0], False) is None
    assert update(x, state[:1], w, b, False) is None
    assert update(x, state, w.astype("d"), b, False) is None
    assert update(x.astype(int), state, w, b, False) is None
    assert update(x + 0j, state + 0j, w + 0j, None, False) is None
    assert update(x, state[..., :1], w, b, False) is None
    assert update(np.repeat(x, 2, axis=2), state, w, b, False) is None
    state.flags.writeable = False
    assert update(x, state, w, b, False) is None
    with pytest.raises(ValueError, match="read-only"):
        causal_conv1d_update(x, state, w, b)


@pytest.mark.parametrize("arrangement", READABLE)
def test_a_state_in_any_memory(native, arrangement):
    if arrangement in ("read-only", "other byte order"):
        pytest.skip("a state is to be written, and of the dtype of x")
    x, w, _, state = numbers(0, 2, 17, 3, 4, "d")
    expected = state.copy()
    y = causal_conv1d_update(x, expected, w)
    state = READABLE[arrangement](state)
    same(causal_conv1d_update(READABLE[arrangement](x), state, w), y)
    same(state, expected)


def test_states_of_sequences(backend):
    rng = np.random.default_rng(0)
    for dtype, width in product(TOLERANCES, (0, 1, 3, 7)):
        x = rng.standard_normal((30, 6)).astype(dtype)
        edges = [0, 0, 1, 3, 20, 30]
        states = causal_conv1d_varlen_states(x, edges, width)
        assert states.dtype == dtype
        assert states.shape == (5, 6, width)
        assert states.size == 0 or states.strides[1] == states.itemsize
        for i in range(5):
            part = x[edges[i] : edges[i + 1]].T
            padded = np.concatenate((np.zeros((6, width), dtype), part), axis=1)
            same(states[i], padded[:, padded.shape[1] - width :])


# --- refusals -------------------------------------------------------------------------------------

X = np.ones((2, 3, 9), "f")
W = np.ones((3, 4), "f")
STATES = np.ones((2, 3, 3), "f")

REFUSED = [
    ({"x": X[0]}, ValueError, "x must have shape (batch, channels, length), not (3, 9)"),
    ({"x": X.astype("F")}, TypeError, "x must hold float16, bfloat16, float32 or float64"),
    ({"x": X.astype("i")}, TypeError, "not int32"),
    ({"x": None}, TypeError, "x must be an array, not None"),
    ({"weight": W[:2]}, ValueError, "weight must have shape (3, width)"),
    ({"weight": W[:, :0]}, ValueError, "weight must have shape (3, width)"),
    ({"weight": W[:, np.newaxis]}, ValueError, "weight must have shape (3, width)"),
    ({"bias": np.ones(4, "f")}, ValueError, "bias must have shape (3,), not (4,)"),
    ({"bias": np.ones(3)}, TypeError, "bias must have the dtype of weight, float32, not float64"),
    ({"seq_idx": np.zeros((2, 8), int)}, ValueError, "seq_idx must have shape (2, 9)"),
    ({"seq_idx": np.zeros((2, 9))}, TypeError, "seq_idx must hold integers, not float64"),
    ({"initial_states": STATES[..., 1:]}, ValueError, "initial_states must have shape (2, 3, 3)"),
    ({"initial_states": STATES.astype("d")}, TypeError, "must have the dtype of x, float32"),
    ({"activation": "relu"}, NotImplementedError, "activation must be None, silu, or swish"),
]


@pytest.mark.parametrize(("change", "error", "words"), REFUSED)
def test_refusals(backend, change, error, words):
    call = {"x": X, "weight": W} | change
    with pytest.raises(error) as caught:
        causal_conv1d_fn(**call)
    assert words in str(caught.value)
    with pytest.raises(error) as caught:
        causal_conv1d_backward(X, **call)
    assert words in str(caught.value)


def test_refusals_of_final_states(backend):
    ids = np.zeros((2, 9), int)
    with pytest.raises(ValueError, match="not known together with seq_idx"):
        causal_conv1d_fn(X, W, seq_idx=ids, return_final_states=True)
    with pytest.raises(ValueError, match="not known together with seq_idx"):
        causal_conv1d_backward(X, X, W, seq_idx=ids, grad_final_states=STATES)
    for out, error in (
        (STATES[:1], ValueError),
        (STATES.astype("d"), TypeError),
        ([1.0], TypeError),
        (np.broadcast_to(np.float32(0), (2, 3, 3)), ValueError),
    ):
        with pytest.raises(error, match="final_states_out must"):
            causal_conv1d_fn(X, W, return_final_states=True, final_states_out=out)
    with pytest.raises(ValueError, match="grad_output must have shape"):
        causal_conv1d_backward(X[..., 1:], X, W)
    with pytest.raises(ValueError, match="grad_final_states must have shape"):
        causal_conv1d_backward(X, X, W, grad_final_states=STATES[..., 1:])


REFUSED_UPDATES = [
    ({"x": X[0, 0]}, ValueError, "x must have shape (batch, channels) or"),
    ({"conv_state": STATES[..., 1:]}, ValueError, "must have shape (2, 3, 3 or more)"),
    ({"conv_state": STATES[:1]}, ValueError, "must have shape (2, 3, 3 or more)"),
    ({"conv_state": STATES[0]}, ValueError, "must have shape (2, 3, 3 or more)"),
    ({"conv_state": STATES.astype("d")}, TypeError, "conv_state must have the dtype of x"),
    ({"conv_state": [[1.0]]}, TypeError, "conv_state must be a NumPy array, not list"),
    (
        {"conv_state": np.broadcast_to(np.float32(1), (2, 3, 3))},
        ValueError,
        "conv_state must be writeable",
    ),
    ({"weight": W[1:]}, ValueError, "weight must have shape (3, width)"),
    ({"activation": "gelu"}, NotImplementedError, "activation must be"),
    ({"cache_seqlens": [1]}, ValueError, "cache_seqlens must have shape (2,)"),
    ({"cache_seqlens": [1.0, 2.0]}, TypeError, "cache_seqlens must hold integers"),
    ({"conv_state_indices": [0]}, ValueError, "conv_state_indices must have shape (2,)"),
    ({"conv_state_indices": [0, 2]}, ValueError, "less than the 2 rows of conv_state, not 2"),
    ({"conv_state_indices": [1, 1]}, ValueError, "must be different from each other"),
]


@pytest.mark.parametrize(("change", "error", "words"), REFUSED_UPDATES)
def test_refusals_of_updates(backend, change, error, words):
    state = STATES.copy()
    with pytest.raises(error) as caught:
        causal_conv1d_update(**{"x": X, "conv_state": state, "weight": W} | change)
    assert words in str(caught.value)
    same(state, STATES)


def test_refusals_of_states(backend):
    x = np.ones((5, 3))
    for edges, error in (
        ([], ValueError),
        ([0, 6], ValueError),
        ([3, 2], ValueError),
        ([-1, 2], ValueError),
        ([0.0, 2.0], TypeError),
        ([[0, 1]], ValueError),
    ):
        with pytest.raises(error, match="cu_seqlens must"):
            causal_conv1d_varlen_states(x, edges, 2)
    with pytest.raises(ValueError, match="x must have shape"):
        causal_conv1d_varlen_states(x[0], [0, 1], 2)
    with pytest.raises(ValueError, match="state_len must be at least 0"):
        causal_conv1d_varlen_states(x, [0, 1], -1)


def test_without_memory_a_state_is_as_it_was(backend, monkeypatch):
    state = STATES.copy()

    def fail(*arguments, **options):
        raise MemoryError

    monkeypatch.setattr(_causal, "conv1d", fail)
    with pytest.raises(MemoryError):
        causal_conv1d_update(X, state, W)
    same(state, STATES)


def test_gradients_are_a_named_tuple(backend):
    grads = causal_conv1d_backward(X, X, W)
    assert isinstance(grads, CausalGradients)
    assert CausalGradients._fields == ("x", "weight", "bias", "initial_states")
