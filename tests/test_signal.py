"""convolve and correlate: NumPy's for 1-D, and that row by row for arrays of any rank."""

from __future__ import annotations

import importlib.util
import inspect
import os
import re
import subprocess
import sys
import warnings
from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from support import LAYOUTS, REAL, assert_near, integers, seeds, swapped, unaligned, wider

import cconv1d
from cconv1d import convolve, correlate

same = np.testing.assert_array_equal

OURS = {"convolve": convolve, "correlate": correlate}
NUMPYS = {"convolve": np.convolve, "correlate": np.correlate}
FUNCTIONS = tuple(OURS)
MODES = ("full", "same", "valid")
DTYPES = [np.dtype(char) for char in "?" + np.typecodes["AllInteger"] + "efdgFDG"]

functions = st.sampled_from(FUNCTIONS)
modes = st.sampled_from(MODES)
lengths = st.sampled_from((1, 2, 3, 4, 5, 7, 8, 16, 17, 33, 64, 129)) | st.integers(1, 300)


def of_a_kind(rng, shape, dtype):
    """Small integers, or truth values: their sums are exact in every dtype."""
    dtype = np.dtype(dtype)
    if dtype.kind in "bu":
        return rng.integers(0, 2 if dtype.kind == "b" else 7, shape).astype(dtype)
    return integers(rng, shape, dtype)


@pytest.fixture
def maps(backend, monkeypatch):
    """Every dtype goes to the maps, compiled or not, and none to NumPy."""
    monkeypatch.setattr(cconv1d._signal, "REFERENCE", None)


@pytest.fixture
def seen(monkeypatch):
    """The x, w and y of each call of a kernel for float64, as they come."""
    calls = []
    kernels = cconv1d._backend.kernels_for(np.dtype(float))

    def watch(x, w, y, part, groups):
        calls.append((x, w, y))
        kernels.backward_input(x, w, y, part, groups)

    monkeypatch.setattr(
        cconv1d._signal, "kernels_for", lambda dtype: kernels._replace(backward_input=watch)
    )
    return calls


def by_row(one_row, a, v, axis=-1):
    """What the definition of any rank says: `one_row` of every signal and its kernel."""
    moved = np.moveaxis(a, axis, -1)
    rows = np.broadcast_shapes(moved.shape[:-1], v.shape[:-1])
    moved = np.broadcast_to(moved, (*rows, moved.shape[-1]))
    v = np.broadcast_to(v, (*rows, v.shape[-1]))
    results = [one_row(moved[i], v[i]) for i in np.ndindex(rows)]
    y = np.array(results).reshape(*rows, -1)
    return np.moveaxis(y, -1, axis if axis < 0 else axis - a.ndim)


# --- one signal, one kernel: NumPy to the letter --------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.char)
def test_every_pair_of_dtypes(dtype):
    """Computed by the reference or compiled, whichever their common dtype is."""
    rng = np.random.default_rng(0)
    a = of_a_kind(rng, 7, dtype)
    for other, name, mode in product(DTYPES, FUNCTIONS, MODES):
        v = of_a_kind(rng, 4, other)
        same(OURS[name](a, v, mode), NUMPYS[name](a, v, mode), strict=True)


@given(functions, modes, lengths, lengths, st.sampled_from(DTYPES), seeds)
def test_exact_sums(maps, name, mode, samples, taps, dtype, seed):
    """Integers wrap, truth values are or-ed, and floats have nothing to round."""
    rng = np.random.default_rng(seed)
    a, v = of_a_kind(rng, samples, dtype), of_a_kind(rng, taps, dtype)
    same(OURS[name](a, v, mode), NUMPYS[name](a, v, mode), strict=True)


def test_integers_wrap(backend):
    a, v = np.array([100, 120, -128], np.int8), np.array([3, 5], np.int8)
    same(convolve(a, v), np.convolve(a, v), strict=True)


@given(functions, modes, lengths, lengths, st.sampled_from(REAL), seeds)
def test_error_bound(maps, name, mode, samples, taps, dtype, seed):
    rng = np.random.default_rng(seed)
    a, v = (rng.standard_normal(n).astype(dtype) for n in (samples, taps))
    y = OURS[name](a, v, mode)
    assert y.dtype == dtype
    wide = wider(dtype)
    exact = NUMPYS[name](a.astype(wide), v.astype(wide), mode)
    sums = NUMPYS[name](abs(a.astype(wide)), abs(v.astype(wide)), mode)
    assert_near(y, exact, sums, min(samples, taps), name)


@given(functions, modes, lengths, lengths, st.sampled_from("FD"), seeds)
def test_complex_numbers(maps, name, mode, samples, taps, char, seed):
    """Real and imaginary parts of different sizes tell conj(v)·a from its relatives."""
    rng = np.random.default_rng(seed)
    a, v = (
        (rng.standard_normal(n) + 100j * rng.standard_normal(n)).astype(char)
        for n in (samples, taps)
    )
    y, expected = OURS[name](a, v, mode), NUMPYS[name](a, v, mode)
    assert y.dtype == expected.dtype
    scale = NUMPYS[name](abs(a), abs(v), mode) * np.finfo(char).eps
    assert (abs(y - expected) <= 16 * scale).all()


@given(functions, modes, lengths, lengths, st.sampled_from("efdg"), seeds)
def test_non_finite_numbers_reach_the_sums_that_hold_them(
    backend, name, mode, samples, taps, char, seed
):
    """And no others: there are no zeros around the signal that an infinite tap could meet."""
    rng = np.random.default_rng(seed)
    a, v = integers(rng, samples, char), integers(rng, taps, char)
    for value in (np.nan, np.inf, -np.inf):
        target = (a, v)[rng.integers(2)]
        target[rng.integers(len(target))] = value
    same(OURS[name](a, v, mode), NUMPYS[name](a, v, mode), strict=True)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_nothing_is_said_of_overflow(backend, name):
    """Warnings are errors in these tests."""
    for char in "efdgFDG":
        largest = np.full(3, np.finfo(char).max, char)
        assert not np.isfinite(OURS[name](largest, largest, "full")).any()


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(
    ("a", "v"),
    [
        ([1, 2, 3], [0, 1, 0.5]),
        ([1, 2], [3, 4]),
        ([True, False, True], [True, True]),
        ((1, 2j, 3), [1j, 2]),
        (range(5), (1, 2)),
        ([2**70, 1], [1, 2]),
        (np.float32([1, 2, 3]), [1, 2]),
        (np.arange(3).astype(object), [0.5, 2.5]),
        ([1.5, 2.5], np.array([1j, 2, "a"], object)[:2]),
    ],
)
def test_lists_and_objects(backend, name, a, v):
    for mode in MODES:
        got, expected = OURS[name](a, v, mode), NUMPYS[name](a, v, mode)
        same(got, expected, strict=True)
        assert [type(number) for number in got] == [type(number) for number in expected]


def test_numbers_without_axes(backend):
    """`numpy.convolve` takes them, `numpy.correlate` does not."""
    same(convolve(2, 3), np.convolve(2, 3), strict=True)
    same(convolve(2.0, [1, 2]), np.convolve(2.0, [1, 2]), strict=True)
    same(convolve(np.ones(2), np.array(2.0)), [2.0, 2.0])
    same(convolve([[1, 2], [3, 4]], 2), [[2, 4], [6, 8]])
    for arguments in ((2, [1, 2]), ([1, 2], 2)):
        for function in (correlate, np.correlate):
            with pytest.raises(ValueError, match=r"at least one axis|too small depth"):
                function(*arguments)


# NumPy decides what else a mode may be, so its answer is the expected one whatever its version.
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(
    "mode",
    [0, 1, 2, 3, -1, np.int8(1), np.str_("same"), True, None, 1.0, b"full", [], "", "f", "Full"],
    ids=repr,
)
def test_other_modes(name, mode):
    def outcome(function):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                result = function([1.0, 2.0, 3.0], [1.0, 10.0], mode).tolist()
            except (TypeError, ValueError) as error:
                result = type(error)
        return result, [w.category for w in caught]

    assert outcome(OURS[name]) == outcome(NUMPYS[name])


NUMPYS_TESTS = "numpy._core.tests.test_numeric"
IN_PLACE_OF_NUMPYS = """
import sys, cconv1d, numpy, pytest

def counted(function):
    def call(*arguments, **options):
        call.count += 1
        return function(*arguments, **options)
    call.count = 0
    return call

numpy.convolve, numpy.correlate = counted(cconv1d.convolve), counted(cconv1d.correlate)
classes = [f"{sys.argv[1]}::{name}" for name in ("TestConvolve", "TestCorrelate")]
code = pytest.main(["-q", "--assert=plain", "-p", "no:cacheprovider", "--pyargs", *classes])
assert numpy.convolve.count > 5 and numpy.correlate.count > 10
sys.exit(code)
"""


@pytest.mark.skipif(
    importlib.util.find_spec(NUMPYS_TESTS) is None,
    reason="NumPy is installed without its tests",
)
def test_numpys_own_tests(backend, tmp_path):
    """They pass with these functions in the place of NumPy's."""
    kind, _, isa = backend.partition("-")
    environment = {k: v for k, v in os.environ.items() if k[:7] not in ("CCONV1D", "PYTEST_")}
    environment["CCONV1D_BACKEND"] = kind
    if isa:
        environment["CCONV1D_ISA"] = isa
    done = subprocess.run(
        [sys.executable, "-P", "-c", IN_PLACE_OF_NUMPYS, NUMPYS_TESTS],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^\d+ passed in", done.stdout, re.MULTILINE), done.stdout


# --- any rank -------------------------------------------------------------------------------------


@st.composite
def stacks(draw, kernels):
    """Shapes of a and v, and the axis of a's samples; `kernels` says whether v has other axes."""
    rows = draw(st.lists(st.integers(1, 4), max_size=3))
    others, leading = rows, []
    if kernels:  # that broadcast to `rows`
        others, leading = (
            [draw(st.sampled_from((n, 1))) for n in rows[draw(st.integers(0, len(rows))) :]]
            for _ in range(2)
        )
    axis = draw(st.integers(0, len(others)))
    a = (*others[:axis], draw(st.integers(1, 40)), *others[axis:])
    v = (*leading, draw(st.integers(1, 12)))
    return a, v, axis - len(a) if draw(st.booleans()) else axis


@given(functions, modes, stacks(kernels=False), st.booleans(), st.sampled_from(REAL), seeds)
def test_any_rank_has_the_bits_of_one_row(native, name, mode, shapes, own, dtype, seed):
    """With one kernel for all signals, or one for each; not with many for the longer of the two."""
    a, v, axis = shapes
    assume(own or v[-1] <= a[axis])
    if own:
        v = (*np.delete(a, axis), *v)
    rng = np.random.default_rng(seed)
    a, v = rng.standard_normal(a).astype(dtype), rng.standard_normal(v).astype(dtype)
    y = OURS[name](a, v, mode, axis=axis)
    same(y, by_row(lambda a, v: OURS[name](a, v, mode), a, v, axis), strict=True)


@given(functions, modes, stacks(kernels=True), st.sampled_from(DTYPES), seeds)
def test_broadcasting(maps, name, mode, shapes, dtype, seed):
    a, v, axis = shapes
    rng = np.random.default_rng(seed)
    a, v = of_a_kind(rng, a, dtype), of_a_kind(rng, v, dtype)
    y = OURS[name](a, v, mode, axis=axis)
    same(y, by_row(lambda a, v: NUMPYS[name](a, v, mode), a, v, axis), strict=True)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_shapes(backend, name):
    """The axis of the samples stays where it is, counted from the end."""
    a = np.ones((2, 3, 20, 4))
    for v, shape in (
        ((5,), (2, 3, 24, 4)),
        ((4, 5), (2, 3, 24, 4)),
        ((3, 1, 5), (2, 3, 24, 4)),
        ((2, 3, 4, 5), (2, 3, 24, 4)),
        ((6, 1, 1, 1, 5), (6, 2, 3, 24, 4)),
    ):
        assert OURS[name](a, np.ones(v), "full", axis=2).shape == shape
        assert OURS[name](a, np.ones(v), "full", axis=-2).shape == shape
    assert OURS[name](np.ones((3, 1)), np.ones((4, 5)), "full", axis=0).shape == (7, 4)
    assert OURS[name](np.ones(7), np.ones((4, 3, 5)), "same").shape == (4, 3, 7)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", [bool, int, np.float32, np.float64, complex, object])
def test_no_rows(backend, name, dtype):
    y = OURS[name](np.ones((0, 5), dtype), np.ones(2, dtype), "full")
    assert (y.shape, y.dtype) == ((0, 6), dtype)
    for rows, kernels in (((1,), (0,)), ((0,), (0,)), ((2, 0), (3, 1, 1)), ((2, 0, 3), (3,))):
        y = OURS[name](np.ones((*rows, 5), dtype), np.ones((*kernels, 2), dtype), "full")
        assert (y.shape, y.dtype) == ((*np.broadcast_shapes(rows, kernels), 6), dtype)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_objects_of_any_rank(name):
    a = np.arange(24).reshape(2, 4, 3).astype(object)
    v = np.array([[1, 2j], [0.5, 3], [2**70, 1]], object)
    for mode in MODES:
        y = OURS[name](a, v, mode, axis=1)
        same(y, by_row(lambda a, v, mode=mode: NUMPYS[name](a, v, mode), a, v, 1), strict=True)


# --- arrays of any kind ---------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, np.complex64])
def test_layouts(backend, layout, dtype):
    rng = np.random.default_rng(1)
    arrange = LAYOUTS[layout]
    a, v = integers(rng, (3, 4, 50, 2), dtype), integers(rng, (4, 2, 9), dtype)
    b, w = arrange(a), arrange(v)
    for name, mode in product(FUNCTIONS, MODES):
        same(OURS[name](b, w, mode, axis=2), OURS[name](a, v, mode, axis=2), strict=True)
        for i in range(3):  # one signal, one kernel, as the layout has left them
            got = OURS[name](b[i, 1, :, 0], w[1, 0], mode)
            same(got, NUMPYS[name](a[i, 1, :, 0], v[1, 0], mode), strict=True)
    same(a, b)
    same(v, w)


def _repeated(array):
    """Rows that are one, as broadcasting makes them."""
    return np.broadcast_to(array[..., :1, :], array.shape)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(
    "awkward",
    [unaligned, swapped, _repeated],
    ids=["unaligned", "other byte order", "repeated"],
)
def test_data_in_awkward_places(native, seen, name, awkward):
    """Right results, by a copy where one is needed: the kernels see native and aligned data."""
    rng = np.random.default_rng(2)
    a, v = (awkward(integers(rng, shape, np.float64)) for shape in ((3, 30), (3, 4)))
    v = v.view(a.dtype)  # one dtype object
    ours, mode = OURS[name], "full"
    expected = by_row(lambda a, v: NUMPYS[name](a, v, mode), a, v)
    for x, w in ((a, v), (a.astype(float), v), (a, v.astype(float))):
        same(ours(x, w, mode), expected, strict=True)
        same(ours(x[0], w[0], mode), expected[0], strict=True)
    assert seen
    for array in (array for call in seen for array in call):
        assert array.flags.aligned
        assert array.dtype.isnative


def test_subclasses_become_arrays(backend):
    class Signal(np.ndarray):
        pass

    a = np.arange(5.0).view(Signal)
    for function in OURS.values():
        assert type(function(a, a)) is np.ndarray
        assert type(function(a[np.newaxis], a)) is np.ndarray


def test_neither_samples_nor_results_are_copied(native, seen):
    """What the kernels get are views of a and of what is returned, however a lies in memory."""
    data = np.random.default_rng(3).standard_normal((2, 3, 4, 5))
    for order, axis in product(permutations(range(4)), range(4)):
        a = data.transpose(order)
        y = convolve(a, [1.0, 2.0], axis=axis)
        assert sum(out.size for *_, out in seen) == y.size
        assert all(np.shares_memory(x, a) and np.shares_memory(out, y) for x, _, out in seen)
        others = [i for i in order if i != order[axis]]
        if others == sorted(others) and order[axis] in (0, 3):  # the other axes are as one
            assert len(seen) == 1
        seen.clear()


def test_signatures():
    for name, default in (("convolve", "full"), ("correlate", "valid")):
        parameters = inspect.signature(OURS[name]).parameters
        assert list(parameters) == ["a", "v", "mode", "axis", "method"]
        assert parameters["mode"].default == default
        assert parameters["axis"].kind is inspect.Parameter.KEYWORD_ONLY
        assert parameters["axis"].default == -1
        assert parameters["method"].default == "direct"
