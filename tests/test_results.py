"""Where results go and how they lie: layout, out and accumulate, of every function."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import REAL, WRITEABLE, Case, Subclass, as_tuple, cases, every_function, seeds

from cconv1d import (
    Gradients,
    _backend,
    _execute,
    _kernels,
    conv1d,
    conv1d_backward_input,
    conv_transpose1d,
)

same = np.testing.assert_array_equal

DTYPES = ["int16", "float16", "float32", "float64", "complex64"]


CASE = Case(2, 2, 2, 3, 11, 3, 2, (3, 1), 2)
FUNCTIONS = list(every_function(CASE, *CASE.integral(0, np.float64)))


def test_every_function_is_here():
    assert len(FUNCTIONS) == 6


# --- layout -------------------------------------------------------------------------------------


def swap(value):
    """The last two axes of a signal exchanged; a weight or a bias or a number is none."""
    return value.swapaxes(-1, -2) if isinstance(value, np.ndarray) and value.ndim > 1 else value


def swap_signals(function, arguments, w):
    return [value if value is w else swap(value) for value in arguments]


def swap_results(function, results):
    """What NLC returns, as NCL."""
    if function == "conv1d_backward_weight":
        return results
    if isinstance(results, tuple):
        return Gradients(swap(results.input), results.weight, results.bias)
    return swap(results)


@given(case=cases(work=2**12), seed=seeds, dtype=st.sampled_from(REAL), batch=st.booleans())
def test_both_layouts_have_the_same_bits(native, case, seed, dtype, batch):
    x, w, b, dy = case.normal(seed, dtype)
    if case.batch and not batch:
        x, dy = x[0], dy[0]
    for name, (function, arguments, options) in every_function(case, x, w, b, dy).items():
        expected = function(*arguments, **options)
        views = swap_signals(name, arguments, w)
        copies = [np.ascontiguousarray(v) if isinstance(v, np.ndarray) else v for v in views]
        for given_arrays in (views, copies):
            got = function(*given_arrays, **options, layout="NLC")
            for result in as_tuple(got):
                assert result.flags.c_contiguous, name
            got = swap_results(name, got)
            for a, e in zip(as_tuple(got), as_tuple(expected), strict=True):
                same(a, e, err_msg=name, strict=True)


#: Beyond what is drawn above. With channels last, a depthwise convolution of many taps reads a
#: panel of 256 samples, or 512, of 16 channels, or 8; not one of few taps or of a long reach.
WIDE = {
    **{f"depthwise {c}": Case(1, c, 1, 1, 300, 15, 1, "same", 1) for c in (15, 16, 17, 40)},
    **{f"depthwise, {k} taps": Case(1, 33, 1, 1, 700, k, 1, 7, 1) for k in (11, 13, 130, 300)},
    **{f"depthwise, length {n}": Case(2, 20, 1, 1, n, 20, 1, "same", 1) for n in (19, 237, 494)},
    **{f"depthwise, stride {s}": Case(1, 17, 1, 1, 800, 40, s, 9, 1) for s in (2, 3, 5)},
    **{f"depthwise, every {d}": Case(1, 17, 1, 1, 800, 16, 1, 40, d) for d in (2, 7, 16, 40)},
    "depthwise, stride and dilation": Case(1, 16, 1, 1, 900, 40, 3, "same", 2),
    "depthwise, reflect": Case(2, 18, 1, 1, 300, 30, 1, "same", 1, "reflect"),
    "depthwise, replicate": Case(1, 18, 1, 1, 50, 30, 2, 30, 2, "replicate"),
    "depthwise, circular": Case(1, 18, 1, 1, 300, 30, 1, "same", 1, "circular"),
    **{f"rows {k}": Case(2, 1, 30, k, 300, 5, 1, 2, 1) for k in (15, 16, 17, 32)},
    "two groups": Case(1, 2, 70, 16, 400, 3, 2, 4, 2),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", WIDE.values(), ids=WIDE)
def test_both_layouts_of_wide_signals(native, case, dtype):
    x, w, b, dy = case.normal(0, dtype)
    x[0, 0, 5] = np.nan
    x_last, dy_last = (np.ascontiguousarray(swap(value)) for value in (x, dy))
    got = conv1d(x_last, w, b, **case.options, layout="NLC")
    same(swap(got), conv1d(x, w, b, **case.options))
    options = case.options | {"layout": "NLC"}
    got = conv1d_backward_input(dy_last, w, case.length, **options)
    same(swap(got), conv1d_backward_input(dy, w, case.length, **case.options))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_layouts_of_any_dtype(backend, name, dtype):
    four = CASE.integral(0, dtype)
    function, arguments, options = every_function(CASE, *four)[name]
    expected = function(*arguments, **options)
    got = function(*swap_signals(name, arguments, four[1]), **options, layout="NLC")
    for a, e in zip(as_tuple(swap_results(name, got)), as_tuple(expected), strict=True):
        same(a, e, strict=True)


def test_a_lone_signal_has_no_layout(backend):
    x, w = np.array([1.0, 2.0, 3.0]), np.array([1.0, 10.0])
    same(conv1d(x, w, layout="NLC"), conv1d(x, w))
    same(conv_transpose1d(x, w, layout="NLC"), conv_transpose1d(x, w))


# --- out and accumulate ---------------------------------------------------------------------------


def like(results, make):
    """An `out` for results, each array by `make` of what it should be like."""
    if isinstance(results, tuple):
        return Gradients(*map(make, results))
    return make(results)


def filled(result):
    return np.full_like(result, 7)


OUTS = WRITEABLE | {"subclass": lambda a: a.view(Subclass)}


@pytest.mark.parametrize("layout", ["NCL", "NLC"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", OUTS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_out_of_any_kind(backend, name, kind, dtype, layout):
    four = CASE.integral(0, dtype)
    function, arguments, options = every_function(CASE, *four)[name]
    if layout == "NLC":
        arguments = swap_signals(name, arguments, four[1])
    expected = function(*arguments, **options, layout=layout)
    for accumulate in (False, True):
        out = like(expected, lambda a: OUTS[kind](filled(a)))
        got = function(*arguments, **options, layout=layout, out=out, accumulate=accumulate)
        assert got is out or isinstance(out, tuple)
        for a, o, e in zip(as_tuple(got), as_tuple(out), as_tuple(expected), strict=True):
            assert a is o
            same(np.asarray(o), (e + filled(e) if accumulate else e), strict=True)


@given(case=cases(work=2**12), seed=seeds, dtype=st.sampled_from(REAL))
def test_out_and_accumulate_have_the_bits_of_doing_it_afterwards(native, case, seed, dtype):
    x, w, b, dy = case.normal(seed, dtype)
    rng = np.random.default_rng(seed)
    for name, (function, arguments, options) in every_function(case, x, w, b, dy).items():
        expected = function(*arguments, **options)
        out = like(expected, lambda e: rng.standard_normal(e.shape).astype(dtype))
        sums = [o + e for o, e in zip(as_tuple(out), as_tuple(expected), strict=True)]
        function(*arguments, **options, out=out, accumulate=True)
        for o, s in zip(as_tuple(out), sums, strict=True):
            same(o, s, err_msg=name)
        function(*arguments, **options, out=out)
        for o, e in zip(as_tuple(out), as_tuple(expected), strict=True):
            same(o, e, err_msg=name)


@pytest.mark.parametrize("name", ["conv1d_backward", "conv_transpose1d_backward"])
@pytest.mark.parametrize("some", [(True, False, False), (False, True, False), (False, True, True)])
def test_some_of_the_gradients_in_out(backend, name, some):
    function, arguments, options = every_function(CASE, *CASE.integral(0, np.float32))[name]
    expected = function(*arguments, **options)
    outs = [filled(e) if s else None for e, s in zip(expected, some, strict=True)]
    got = function(*arguments, **options, out=outs)  # the others are new
    for a, o, e in zip(got, outs, expected, strict=True):
        assert o is None or a is o
        same(a, e, strict=True)
    got = function(*arguments, **options, out=outs, accumulate=True, needs=some)
    for a, o, e in zip(got, outs, expected, strict=True):
        assert a is o
        if o is not None:
            same(o, 2 * e)


def interleaved(value):
    """A view of every second number of a larger array, and the numbers between, like `value`."""
    larger = np.zeros((*value.shape[:-1], 2 * value.shape[-1]), value.dtype)
    larger[..., ::2] = value
    return larger[..., ::2], larger[..., 1::2]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_out_that_overlaps_an_input_is_refused(backend, name):
    """Each result against each input; whether they overlap is a matter of memory, not of bounds."""
    function, arguments, options = every_function(CASE, *CASE.integral(0, np.float64))[name]
    results = function(*arguments, **options)
    single = not isinstance(results, tuple)
    for i in range(len(as_tuple(results))):
        for k, value in enumerate(arguments):
            if not isinstance(value, np.ndarray):
                continue
            result = as_tuple(results)[i]
            memory = np.zeros(value.size + result.size)
            for start in (0, value.size - 1, value.size):
                own = memory[: value.size].reshape(value.shape)
                out = memory[start : start + result.size].reshape(result.shape)
                own[...] = value
                changed = [*arguments[:k], own, *arguments[k + 1 :]]
                outs = out if single else [out if i == j else None for j in range(3)]
                before = memory.tobytes()
                if start == value.size:
                    function(*changed, **options, out=outs)
                    same(out, result)
                else:
                    with pytest.raises(ValueError, match=rf"^{name}: out.* must not overlap "):
                        function(*changed, **options, out=outs)
                    assert memory.tobytes() == before


def test_numbers_between_those_of_an_input_do_not_overlap_it(backend):
    x, between = interleaved(np.arange(1.0, 6.0))
    y = conv1d(x, [1.0, 1.0], out=between[:4])
    same(between, [3, 5, 7, 9, 0])
    assert y.base is between.base
    same(x, [1, 2, 3, 4, 5])


@pytest.mark.parametrize("name", ["conv1d_backward", "conv_transpose1d_backward"])
def test_outs_that_overlap_each_other_are_refused(backend, name):
    function, arguments, options = every_function(CASE, *CASE.integral(0, np.float64))[name]
    dx, dw, db = function(*arguments, **options)
    memory = np.zeros(dx.size + dw.size + db.size)
    parts = Gradients(
        memory[: dx.size].reshape(dx.shape),
        memory[dx.size - 1 : dx.size - 1 + dw.size].reshape(dw.shape),
        memory[-db.size :],
    )
    with pytest.raises(ValueError, match=r"out\.weight must not overlap out\.input"):
        function(*arguments, **options, out=parts)
    assert not memory.any()


def test_overlap_that_is_hard_to_tell_is_taken_for_one():
    """Not searched for through all memory: an answer takes microseconds."""
    memory = np.zeros(10**6)
    x, y = (
        np.lib.stride_tricks.as_strided(memory[i:], (4,) * 5, [8 * s for s in strides])
        for i, strides in enumerate(
            ((9767, 15634, 18581, 17656, 18835), (9428, 6231, 14805, 19744, 17008))
        )
    )
    with pytest.raises(np.exceptions.TooHardError):
        np.shares_memory(x, y, max_work=1000)
    assert _execute.overlap(x, y)


@given(
    shape=st.lists(st.integers(0, 4), min_size=1, max_size=3),
    strides=st.lists(st.integers(-9, 9), min_size=3, max_size=3),
)
def test_arrays_that_overlap_themselves(shape, strides):
    """All of them are found, and none of those that slices, flips and transposes can make."""
    strides = strides[: len(shape)]
    view = np.lib.stride_tricks.as_strided(np.zeros(200)[100:], shape, [8 * s for s in strides])
    places = [np.dot(index, strides) for index in np.ndindex(*shape)]
    if len(set(places)) < len(places):
        assert _execute.overlaps_itself(view)
    for axes in permutations(range(len(shape))):
        whole = np.zeros([abs(s) * n for s, n in zip(strides, shape, strict=True)])
        slices = tuple(slice(None, None, s or 1) for s in strides)
        assert not _execute.overlaps_itself(whole[slices].transpose(axes))


@pytest.mark.parametrize("accumulate", [False, True])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_error_while_computing_leaves_every_out_alone(backend, name, accumulate, monkeypatch):
    """Whichever of the maps it is that memory runs out for."""
    function, arguments, options = every_function(CASE, *CASE.integral(0, np.float64))[name]
    results = function(*arguments, **options)
    for failing in range(len(as_tuple(results))):
        count = 0

        def failing_map(*arguments, real, failing=failing):
            nonlocal count
            count += 1
            if count == failing + 1:
                raise MemoryError("none left")
            return real(*arguments)

        kernels = _backend.kernels_for(np.dtype(np.float64))
        spied = _kernels.Kernels(
            *(lambda *a, real=real: failing_map(*a, real=real) for real in kernels)
        )
        monkeypatch.setattr("cconv1d._execute.kernels_for", lambda dtype, spied=spied: spied)
        no_usual_calls()
        out = like(results, filled)
        with pytest.raises(MemoryError, match="none left"):
            function(*arguments, **options, out=out, accumulate=accumulate)
        for o in as_tuple(out):
            assert (o == 7).all()


def no_usual_calls():
    """Let the calls of this test go the long way; `selected` in conftest.py takes it back."""
    if _backend.core is not None:
        _backend.core.use_known_calls(False)


def test_an_error_between_samples_leaves_out_alone(backend, monkeypatch):
    """With channels last, samples with weights of their own are computed one after another."""
    x, w, out = np.ones((3, 9, 2)), np.ones((3, 4, 2, 3)), np.full((3, 7, 4), 7.0)
    real = _execute.compute
    calls = []

    def failing(which, plan, *arguments):
        calls.append(plan.per_sample)
        if len(calls) == 3:
            raise MemoryError("none left")
        return real(which, plan, *arguments)

    monkeypatch.setattr(_execute, "compute", failing)
    with pytest.raises(MemoryError, match="none left"):
        conv1d(x, w, layout="NLC", out=out)
    assert calls == [True, False, False]
    assert (out == 7).all()


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize("name", ["conv1d_backward", "conv1d_backward_input"])
def test_an_error_while_folding_back_leaves_out_alone(backend, name, mode, monkeypatch):
    """Where memory runs out for what copies of samples receive, some of dx has been stored."""
    case = CASE._replace(mode=mode)
    function, arguments, options = every_function(case, *case.integral(0, np.float64))[name]
    out = like(function(*arguments, **options), filled)

    def failing(dy, w, dx, *others):
        dx[...] = 0
        raise MemoryError("none left")

    kernels = _backend.kernels_for(np.dtype(np.float64))._replace(backward_input=failing)
    monkeypatch.setattr("cconv1d._execute.kernels_for", lambda dtype: kernels)
    no_usual_calls()
    with pytest.raises(MemoryError, match="none left"):
        function(*arguments, **options, out=out)
    for o in as_tuple(out):
        assert (o == 7).all()


def test_accumulating_does_not_warn(backend):
    """As the kernels do not, where a sum overflows."""
    out = np.array([3e38], np.float32)
    conv1d(out.copy(), np.ones(1, np.float32), out=out, accumulate=True)
    same(out, [np.inf])
