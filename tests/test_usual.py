"""Calls of the usual kind: the class of the extension, its twin in Python, and the long way."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import FUZZ, LAYOUTS, Case, cases, seeds

import cconv1d
from cconv1d import Gradients, _backend, _functional, _kernels, _plans, _signal, _usual
from cconv1d._kernels import BACKWARD_INPUT, BACKWARD_WEIGHT, FORWARD

same = np.testing.assert_array_equal

CASE = Case(2, 2, 3, 4, 30, 5, 2, (2, 1), 2)
DTYPES = ("float32", "float64", "float16", "complex64", "complex128")

#: Of each function: its planner, its map, the role of its result, and whether it is transposed.
FUNCTIONS = {
    "conv1d": (FORWARD, "y", False),
    "conv1d_backward": (BACKWARD_INPUT, "x", False),
    "conv1d_backward_input": (BACKWARD_INPUT, "x", False),
    "conv1d_backward_weight": (BACKWARD_WEIGHT, "w", False),
    "conv_transpose1d": (BACKWARD_INPUT, "x", True),
    "conv_transpose1d_backward": (FORWARD, "y", True),
}


def twins(name):
    """The class of the extension and that in Python, for one function; they know no calls yet."""
    which_map, role, transposed = FUNCTIONS[name]
    arguments = which_map, "xwyb".index(role), transposed, Gradients
    return _backend.core.UsualCalls(*arguments), _usual.UsualCalls(*arguments)


def given_to(name, case, x, w, b, dy, layout):
    """What a function is called with: arrays by role, options and the size that no array tells."""
    transposed = "transpose" in name
    padding = case.padding if not transposed else 0
    options = [case.stride, padding, case.dilation, case.groups]
    options += ["zeros" if transposed else case.mode, layout]
    if layout == "NLC":
        x, dy = x.swapaxes(-1, -2), dy.swapaxes(-1, -2)
    if transposed:  # from dy to x and back, whatever length that has
        wide = cconv1d.conv_transpose1d(
            dy, w, None, case.stride, 0, 0, case.groups, case.dilation, layout=layout
        )
        bias = np.ones(case.groups * case.channels, w.dtype)
        arrays = {"conv_transpose1d": (dy, w, bias), "conv_transpose1d_backward": (wide, dy, w)}
        return arrays[name], options, 0
    arrays = {
        "conv1d": (x, w, b),
        "conv1d_backward": (dy, x, w),
        "conv1d_backward_input": (dy, w, None),
        "conv1d_backward_weight": (dy, x, None),
    }
    size = {"conv1d_backward_input": case.length, "conv1d_backward_weight": case.taps}
    return arrays[name], options, size.get(name, 0)


def ask(calls, name, arrays, options, size, last):
    method = calls.gradients if name.endswith("backward") else calls.one
    return method(*arrays, None, (*options, size), last)


def long_way(name, arrays, options, size):
    """What the public function returns without a look at usual calls."""
    stride, padding, dilation, groups, mode, layout = options
    arguments = [array for array in arrays if array is not None]
    more = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    if "transpose" not in name:
        more["padding_mode"] = mode
    if name == "conv1d_backward_input" or name == "conv1d_backward_weight":
        arguments.append(size)
    _backend.core.use_known_calls(False)
    try:
        return getattr(cconv1d, name)(*arguments, **more, layout=layout)
    finally:
        _backend.core.use_known_calls(True)


def assert_same(one, other):
    if one is None or other is None:
        assert one is other
    elif isinstance(one, tuple):
        assert type(one) is type(other) is Gradients
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    else:
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        same(one, other)


@FUZZ
@given(
    data=st.data(),
    name=st.sampled_from(sorted(FUNCTIONS)),
    case=cases(work=2**13),
    seed=seeds,
    dtype=st.sampled_from(DTYPES),
    layout=st.sampled_from(["NCL", "NLC"]),
)
def test_what_is_known_is_computed_as_the_long_way_does(
    native, data, name, case, seed, dtype, layout
):
    x, w, b, dy = case.normal(seed, dtype)
    arrays, options, size = given_to(name, case, x, w, b, dy, layout)
    laid_out = st.sampled_from(list(LAYOUTS))
    arrays = tuple(None if a is None else LAYOUTS[data.draw(laid_out)](a) for a in arrays)
    expected = long_way(name, arrays, options, size)
    planner = getattr(_plans, f"plan_{name}")
    shapes = tuple(a.shape for a in arrays if a is not None)
    plan = planner(shapes, *options, size)
    last = (True, True, True) if name.endswith("backward") else None
    for calls in twins(name):
        assert ask(calls, name, arrays, options, size, last) is None, "it cannot know this call"
        calls.learn(shapes, (*options, size), plan)
        usual = ask(calls, name, arrays, options, size, last)
        assert (usual is None) == (not plan.is_small)
        if usual is not None:
            assert_same(usual, expected)


#: Batch, groups, channels and outs of a group, taps, stride, dilation, samples: some for each nest.
PIECES = {
    "panels": (1, 1, 16, 24, 5, 1, 1, 700),
    "strided panels": (2, 1, 6, 20, 5, 3, 2, 300),
    "groups": (2, 3, 5, 7, 4, 1, 3, 90),
    "short signals": (9, 1, 8, 12, 3, 1, 1, 17),
    "short signals, taps far apart": (9, 1, 8, 12, 3, 1, 9, 18),
    "few positions": (1, 1, 64, 96, 3, 2, 1, 8),
    "one position": (3, 1, 40, 48, 4, 1, 1, 3),
    "few outputs": (1, 1, 7, 3, 9, 2, 1, 40),
    "depthwise, few positions": (2, 45, 1, 1, 4, 1, 1, 20),
    "depthwise rows": (2, 5, 1, 1, 4, 1, 1, 500),
    "depthwise, strided": (1, 33, 1, 1, 5, 2, 3, 90),
    "depthwise, three outputs of each": (1, 6, 1, 3, 2, 1, 1, 200),
    "taps far apart": (1, 1, 4, 8, 3, 1, 64, 200),
    "one channel": (1, 1, 1, 1, 40, 1, 1, 600),
    "one channel, many outputs": (1, 1, 1, 32, 7, 1, 1, 320),
    "one tap": (2, 1, 8, 8, 1, 2, 1, 30),
}


@pytest.mark.parametrize("layout", ["NCL", "NLC"])
@pytest.mark.parametrize("dtype", [*DTYPES, ml_dtypes.bfloat16])
@pytest.mark.parametrize("name", PIECES)
def test_two_pieces_of_a_row(native, name, dtype, layout):
    """The bits of one row; and what comes before the next piece."""
    batch, groups, channels, outs, taps, stride, dilation, samples = PIECES[name]
    reach = dilation * (taps - 1)
    rng = np.random.default_rng(taps)

    def numbers(*shape):
        values = rng.standard_normal(shape)
        if np.dtype(dtype).kind == "c":
            values = values + 1j * rng.standard_normal(shape)
        return values.astype(dtype)

    w, b = numbers(groups * outs, channels, taps), numbers(groups * outs)
    w[0, 0, 0] = np.inf  # meets no zeros, as there are none
    cconv1d.conv1d(w[0, 0], w[0, 0])  # the extension has seen the dtype then
    for kept, left in ((reach, reach), (min(reach + 2, samples), max(reach - 1, 0))):
        row = numbers(batch, groups * channels, kept + samples)
        row[-1, -1, : kept + 1 : 3] = np.nan
        if layout == "NLC":
            row = np.ascontiguousarray(row.swapaxes(1, 2))
        axis = 1 if layout == "NLC" else 2
        before, chunk = np.split(row, [kept], axis=axis)
        _, used = np.split(row, [kept - left], axis=axis)
        options = stride, (left, 0), dilation, groups, "zeros", layout
        plan = _plans.plan_conv1d((chunk.shape, w.shape, b.shape), *options)
        with np.errstate(all="ignore"):
            expected = cconv1d.conv1d(used, w, b, stride, 0, dilation, groups, layout=layout)
        for calls in twins("conv1d"):
            for first, out in ((chunk, None), (chunk.copy(), np.zeros_like(expected))):
                held = before.copy()
                assert calls.one(first, w, b, None, (*options, 1), out, held) is None
                calls.learn((chunk.shape, w.shape, b.shape), (*options, 0), plan)
                with np.errstate(all="ignore"):
                    y = calls.one(first, w, b, None, (*options, 0), out, held)
                assert out is None or y is out
                assert y.tobytes() == expected.tobytes()
                last = row[:, samples:] if axis == 1 else row[..., samples:]
                assert held.tobytes() == np.ascontiguousarray(last).tobytes()


def small(dtype="float32"):
    """A call of conv1d, known to both twins."""
    x, w, b, _ = CASE.normal(0, dtype)
    options = (CASE.stride, CASE.padding, CASE.dilation, CASE.groups, "zeros", "NCL")
    shapes = x.shape, w.shape, b.shape
    plan = _plans.plan_conv1d(shapes, *options)
    both = twins("conv1d")
    for calls in both:
        calls.learn(shapes, (*options, 0), plan)
    return both, [x, w, b], list(options), np.zeros(plan.y_shape, dtype)


def unaligned(array):
    raw = np.zeros(array.nbytes + 1, np.uint8)
    moved = raw[1:].view(array.dtype).reshape(array.shape)
    moved[...] = array
    return moved


class Subclass(np.ndarray):
    pass


ODD = {
    "unaligned": unaligned,
    "swapped": lambda a: a.astype(a.dtype.newbyteorder()),
    "list": lambda a: a.tolist(),
    "subclass": lambda a: a.view(Subclass),
    "another dtype": lambda a: a.astype("float64"),
    "an equal dtype": lambda a: a.view(np.dtype("float32", metadata={"unit": "mV"})),
    "integers": lambda a: a.astype("int32"),
    "an axis more": lambda a: a[np.newaxis],
    "another shape": lambda a: np.concatenate([a, a]),
    "none": lambda a: None,
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("place", range(3))
def test_other_arrays_are_not_usual(native, odd, place):
    both, arrays, options, out = small()
    arrays[place] = ODD[odd](arrays[place])
    for calls in both:
        assert calls.one(*arrays, None, (*options, 0), None) is None
        assert calls.one(*arrays, None, (*options, 0), out) is None
        assert (out == 0).all()


@pytest.mark.parametrize("dtype", ["int32", "longdouble", "clongdouble", "object"])
def test_other_dtypes_are_not_usual(native, dtype):
    if np.dtype(dtype) in (np.float64, np.complex128):
        pytest.skip("longdouble is float64 here")
    both, arrays, options, _ = small()
    for calls in both:
        assert calls.one(*(a.astype(dtype) for a in arrays), None, (*options, 0), None) is None


OTHER_OPTIONS = {
    "stride": (0, [1, 2.0, True, np.int64(2)]),
    "padding": (1, [(1, 2), (2.0, 1), [2, 1], "same", (2, 1, 0), (True, 1)]),
    "dilation": (2, [1, 2.0]),
    "groups": (3, [1, 2.0]),
    "padding_mode": (4, ["reflect", None]),
    "layout": (5, ["NLC"]),
}


@pytest.mark.parametrize("name", OTHER_OPTIONS)
def test_other_options_are_not_usual(native, name):
    both, arrays, options, _ = small()
    place, others = OTHER_OPTIONS[name]
    for calls in both:
        for other in others:
            changed = [*options[:place], other, *options[place + 1 :]]
            assert calls.one(*arrays, None, (*changed, 0), None) is None, other
        assert calls.one(*arrays, None, (*options, 1), None) is None
        equal = [int(str(o)) if type(o) is int else o for o in options]
        equal[1] = tuple(int(str(side)) for side in options[1])
        equal[4] = "".join(["ze", "ros"])  # another object
        assert calls.one(*arrays, None, (*equal, 0), None) is not None


def read_only(out, arrays):
    out.flags.writeable = False
    return out


OUTS = {
    "read-only": read_only,
    "strided": lambda out, arrays: np.zeros((*out.shape, 2), out.dtype)[..., 0],
    "another dtype": lambda out, arrays: out.astype("float64"),
    "another shape": lambda out, arrays: out[:1],
    "another rank": lambda out, arrays: out.reshape(1, *out.shape),
    "unaligned": lambda out, arrays: unaligned(out),
    "a list": lambda out, arrays: out.tolist(),
    "subclass": lambda out, arrays: out.view(Subclass),
    "overlapping": lambda out, arrays: arrays[0].reshape(-1)[: out.size].reshape(out.shape),
}


@pytest.mark.parametrize("odd", OUTS)
def test_other_outs_are_not_usual(native, odd):
    both, arrays, options, out = small()
    arrays[0] = np.concatenate([arrays[0]] * 2, axis=2)[..., :30].copy()
    buffer = np.zeros(2 * arrays[0].size + 2 * out.size, np.float32)
    x = buffer[: arrays[0].size].reshape(arrays[0].shape)
    x[...] = arrays[0]
    arrays[0] = x
    given_out = OUTS[odd](out, [buffer])
    for calls in both:
        assert calls.one(*arrays, None, (*options, 0), given_out) is None
        fitting = np.zeros_like(out)
        assert calls.one(*arrays, None, (*options, 0), fitting) is fitting
        assert fitting.any()
    assert not np.asarray(given_out, object).ravel()[-1:].any() or odd == "overlapping"


def test_an_argument_is_no_out(native):
    x, w = np.arange(5.0), np.array([1.0, 2.0, 3.0])
    options = (1, 1, 1, 1, "zeros", "NCL")
    plan = _plans.plan_conv1d((x.shape, w.shape, None), *options)
    for calls in twins("conv1d"):
        calls.learn((x.shape, w.shape, None), (*options, 0), plan)
        assert calls.one(x, w, None, None, (*options, 0), x) is None
        assert calls.one(x[:], w, None, None, (*options, 0), x) is None
        same(calls.one(x, w, None, None, (*options, 0), np.empty(5)), [3, 8, 14, 20, 11])
    same(x, range(5))


@pytest.mark.parametrize("needs", [(True, True, True), (True, False, True), (False, True, False)])
def test_gradients_that_are_needed(native, needs):
    x, w, _, dy = CASE.normal(1, "float64")
    expected = cconv1d.conv1d_backward(dy, x, w, **CASE.options, needs=needs)
    for _ in range(2):
        assert_same(cconv1d.conv1d_backward(dy, x, w, **CASE.options, needs=needs), expected)
    assert [g is not None for g in expected] == list(needs)


@pytest.mark.parametrize("needs", [[True] * 3, (1, 1, 1), (True, True), None])
def test_other_needs_are_not_usual(native, needs):
    x, w, _, dy = CASE.normal(1, "float64")
    options = (CASE.stride, CASE.padding, CASE.dilation, CASE.groups, "zeros", "NCL")
    shapes = dy.shape, x.shape, w.shape
    plan = _plans.plan_conv1d_backward(shapes, *options)
    for calls in twins("conv1d_backward"):
        calls.learn(shapes, (*options, 0), plan)
        assert calls.gradients(dy, x, w, None, (*options, 0), needs) is None
        assert calls.gradients(dy, x, w, None, (*options, 0), (True, True, False)) is not None


@FUZZ
@given(
    n=st.integers(1, 40),
    m=st.integers(1, 40),
    mode=st.sampled_from(["full", "same", "valid"]),
    function=st.sampled_from(["convolve", "correlate"]),
    dtype=st.sampled_from(DTYPES),
    step=st.sampled_from([1, 2, -1, -3]),
    seed=seeds,
)
def test_short_rows(native, n, m, mode, function, dtype, step, seed):
    """convolve and correlate of two 1-D arrays, in either order of lengths, strided or not."""
    rng = np.random.default_rng(seed)
    a, v = (
        (rng.standard_normal(3 * size) + 1j * rng.standard_normal(3 * size))[::step][:size]
        for size in (n, m)
    )
    a, v = (part if np.dtype(dtype).kind == "c" else part.real for part in (a, v))
    a, v = (np.lib.stride_tricks.as_strided(x.astype(dtype), x.shape) for x in (a, v))
    reverse = function == "correlate"
    _backend.core.use_known_calls(False)
    expected = getattr(cconv1d, function)(a, v, mode)
    part = _signal.mode_geometry(function, n, m, mode)
    _backend.core.use_known_calls(True)
    longer, shorter = (max(n, m),), (min(n, m),)
    plan = _plans.Plan((part.input_length,), shorter, longer, (1,), part, 1, False, False, n * m)
    for make in (_backend.core.UsualCalls, _usual.UsualCalls):
        calls = make(BACKWARD_INPUT, 0, not reverse, Gradients)
        assert calls.slide(a, v, mode, reverse) is None
        calls.learn(((n,), (m,)), (mode,), plan)
        usual = calls.slide(a, v, mode, reverse)
        if usual is None:
            assert reverse
            assert m > n
            assert np.dtype(dtype).kind == "c"
        else:
            assert_same(usual, expected)


def test_the_public_functions_learn(native, monkeypatch):
    """The second call of each kind is a usual one, and the reference knows none."""
    x, w, b, _ = CASE.normal(2, "float32")
    cconv1d.conv1d(x, w, b, **CASE.options)
    monkeypatch.setattr(_functional, "plan_conv1d", None)
    y = cconv1d.conv1d(x, w, b, **CASE.options)
    out = np.empty_like(y)
    assert cconv1d.conv1d(x, w, b, **CASE.options, out=out) is out
    same(out, y)
    with pytest.raises(TypeError):
        cconv1d.conv1d(x.tolist(), w, b, **CASE.options)
    layer = cconv1d.PreparedConv1d(w, b, **CASE.options)
    same(layer(x), y)
    same(layer(x), y)


def test_no_more_plans_than_a_thousand(native):
    both, arrays, options, _ = small()
    plan = _plans.plan_conv1d(tuple(a.shape for a in arrays), *options)
    for calls in both:
        for length in range(1024):
            calls.learn(((1, 1, length), (1, 1, 1)), (*options, 0), plan)
        assert calls.one(*arrays, None, (*options, 0), None) is None


def test_the_order_of_roles_is_that_of_a_plan():
    assert "".join(field[0] for field in _plans.Plan._fields[:4]) == _usual.ROLES
    assert _kernels.MAPS[BACKWARD_INPUT] == "backward_input"
