"""Threads: the same bits from any number, the settings, and what a process may do meanwhile."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import REAL, Case, cases, needs_native, python, seeds

import cconv1d
from cconv1d import _backend, conv1d, conv1d_backward
from cconv1d._geometry import PADDING_MODES

same = np.testing.assert_array_equal
COUNTS = (1, 2, 3, 7)


@pytest.fixture
def eager(native):
    """Every call is shared out, however small."""
    core = _backend.core
    core.set_serial_products(0)
    yield
    core.set_serial_products(1024 * 1024)


def maps(x, w, b, dy, g, groups):
    kernels = _backend.kernels_for(x.dtype)
    results = [np.full(array.shape, np.nan, x.dtype) for array in (dy, x, w, b)]
    kernels.forward(x, w, b, results[0], g, groups)
    kernels.backward_input(dy, w, results[1], g, groups)
    kernels.backward_weight(dy, x, results[2], g, groups)
    kernels.backward_bias(dy, results[3])
    return results


@given(case=cases(work=2**15), seed=seeds, dtype=st.sampled_from(REAL))
def test_bits_do_not_depend_on_threads(eager, case, seed, dtype):
    arrays = case.normal(seed, dtype)
    with cconv1d.num_threads(1):
        alone = maps(*arrays, case.geometry, case.groups)
    for count in COUNTS[1:]:
        with cconv1d.num_threads(count):
            for got, expected in zip(maps(*arrays, case.geometry, case.groups), alone, strict=True):
                same(got, expected)


# N, C, L, K, k, stride, dilation, groups, where channels of results fill tiles at every level
CHANNELS_LAST = {
    "dense": (2, 40, 700, 96, 3, 1, 1, 1),
    "many terms": (1, 300, 90, 64, 3, 1, 1, 1),
    "strided": (2, 64, 301, 64, 5, 2, 3, 1),
    "groups": (2, 64, 300, 64, 3, 1, 2, 2),
    "depthwise": (2, 120, 500, 120, 4, 1, 1, 120),
    "depthwise, strided": (2, 64, 300, 64, 31, 3, 2, 64),
    "depthwise, many taps": (1, 64, 400, 64, 150, 1, 1, 64),
}


@pytest.mark.parametrize("mode", PADDING_MODES)
@pytest.mark.parametrize("dtype", REAL, ids=str)
@pytest.mark.parametrize("name", CHANNELS_LAST)
def test_channels_last(eager, name, dtype, mode):
    """They have a nest of their own, and the same bits; NaN and infinities are where they were."""
    n, c, length, k, taps, stride, dilation, groups = CHANNELS_LAST[name]
    case = Case(n, groups, c // groups, k // groups, length, taps, stride, 20, dilation, mode)
    for spoilt in (False, True):
        x, w, b, dy = case.normal(0, dtype)
        if spoilt:
            w[1, 0, 0], x[0, 2, 7], dy[0, 3, 5] = np.nan, np.inf, np.nan
        expected = maps(x, w, b, dy, case.geometry, groups)
        x, dy = (np.ascontiguousarray(a.swapaxes(1, 2)) for a in (x, dy))
        for count in COUNTS[:3]:
            with cconv1d.num_threads(count):
                y = cconv1d.conv1d(x, w, b, **case.options, layout="NLC")
                grads = cconv1d.conv1d_backward(dy, x, w, **case.options, layout="NLC")
            same(y.swapaxes(1, 2), expected[0])
            same(grads.input.swapaxes(1, 2), expected[1])
            same(grads.weight, expected[2])


# N, C, L, K, k, stride, dilation, groups: jobs that are parted by samples, groups, positions,
# blocks of rows and terms
SHARED = {
    "samples": (9, 16, 300, 24, 3, 1, 1, 1),
    "groups": (1, 64, 600, 64, 9, 1, 2, 64),
    "positions": (1, 3, 60000, 7, 11, 1, 8, 1),
    "rows": (1, 40, 100, 400, 5, 1, 1, 1),
    "terms": (1, 1, 20000, 1, 201, 1, 1, 1),
    "strided": (2, 20, 3000, 30, 5, 3, 2, 2),
    "more terms than rows": (1, 300, 500, 16, 7, 1, 1, 1),
    "more rows than terms": (1, 4, 5000, 520, 9, 1, 1, 1),
}


@pytest.mark.parametrize("dtype", REAL, ids=str)
@pytest.mark.parametrize("name", SHARED)
def test_bits_of_shared_jobs(native, name, dtype):
    n, c, length, k, taps, stride, dilation, groups = SHARED[name]
    rng = np.random.default_rng(1)
    x = rng.standard_normal((n, c, length)).astype(dtype)
    w = rng.standard_normal((k, c // groups, taps)).astype(dtype)
    options = {"stride": stride, "padding": "same", "dilation": dilation, "groups": groups}
    results = {}
    for count in COUNTS:
        with cconv1d.num_threads(count):
            y = conv1d(x, w, **options)
            results[count] = [y, *conv1d_backward(y, x, w, **options)]
    for count in COUNTS[1:]:
        for got, expected in zip(results[count], results[1], strict=True):
            same(got, expected)


# --- settings -----------------------------------------------------------------------------------


@needs_native
@pytest.mark.thread_unsafe
def test_settings():
    before = cconv1d.get_num_threads()
    try:
        cconv1d.set_num_threads(3)
        assert cconv1d.get_num_threads() == 3
        limit = cconv1d.num_threads(5)
        with limit:
            assert cconv1d.get_num_threads() == 5
            cconv1d.set_num_threads(4)
            with limit, cconv1d.num_threads(np.int64(1)):
                assert cconv1d.get_num_threads() == 1
            assert cconv1d.get_num_threads() == 5
            seen = []
            thread = threading.Thread(target=lambda: seen.append(cconv1d.get_num_threads()))
            thread.start()
            thread.join()
            assert seen == [4], "the limit is the calling thread's alone"
        assert cconv1d.get_num_threads() == 4
        with pytest.raises(KeyError), cconv1d.num_threads(2):
            raise KeyError
        assert cconv1d.get_num_threads() == 4
    finally:
        cconv1d.set_num_threads(before)


@needs_native
@pytest.mark.parametrize(
    ("environment", "count"),
    [
        ({"CCONV1D_NUM_THREADS": "3"}, 3),
        ({"CCONV1D_NUM_THREADS": "1000"}, 1000),
        ({"OMP_NUM_THREADS": "5"}, 5),
        ({"OMP_NUM_THREADS": "4,2"}, 4),
        ({"OMP_NUM_THREADS": "5", "CCONV1D_NUM_THREADS": "2"}, 2),
        ({"OMP_NUM_THREADS": "many"}, None),
        ({}, None),
    ],
)
def test_the_environment_sets_the_number(environment, count):
    done = python("import cconv1d; print(cconv1d.get_num_threads())", **environment)
    assert done.returncode == 0, done.stderr
    if count is None:
        assert 1 <= int(done.stdout) <= (os.cpu_count() or 1)
    else:
        assert int(done.stdout) == count


@needs_native
@pytest.mark.parametrize("value", ["0", "-1", "two", "", "1.5"])
def test_an_environment_that_cannot_be(value):
    done = python("import cconv1d", CCONV1D_NUM_THREADS=value)
    assert done.returncode == 1
    assert f"ImportError: CCONV1D_NUM_THREADS must be a positive integer, not '{value}'" in (
        done.stderr
    )


# --- what a process may do ------------------------------------------------------------------------

WORK = """
import os, sys, threading, time
import numpy as np, cconv1d
rng = np.random.default_rng(0)
x, w = rng.standard_normal((4, 64, 2000)), rng.standard_normal((64, 64, 5))
"""


@pytest.mark.alone
@needs_native
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_fork_in_the_middle_of_use():
    done = python(
        WORK
        + """
expected = cconv1d.conv1d(x, w)
busy = True
def use():
    while busy:
        cconv1d.conv1d(x, w)
thread = threading.Thread(target=use)
thread.start()
for _ in range(10):
    child = os.fork()
    if child == 0:
        os._exit(0 if np.array_equal(cconv1d.conv1d(x, w), expected) else 1)
    assert os.waitpid(child, 0)[1] == 0
busy = False
thread.join()
""",
        CCONV1D_NUM_THREADS="3",
        PYTHONWARNINGS="ignore",
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.alone
@needs_native
def test_many_callers_at_once():
    rng = np.random.default_rng(2)
    x, w = rng.standard_normal((2, 32, 1500)), rng.standard_normal((48, 32, 5))
    expected = conv1d(x, w)
    wrong = []

    def use():
        for _ in range(10):
            if not np.array_equal(conv1d(x, w), expected):
                wrong.append(1)

    with_threads = [threading.Thread(target=use) for _ in range(16)]
    for thread in with_threads:
        thread.start()
    for thread in with_threads:
        thread.join()
    assert not wrong


@pytest.mark.alone
@needs_native
@pytest.mark.parametrize("count", [2, 1000])
@pytest.mark.parametrize("pause", [0, 0.05], ids=["spinning", "sleeping"])
def test_exit_while_idle(count, pause):
    done = python(
        WORK + f"cconv1d.set_num_threads({count})\ncconv1d.conv1d(x, w)\ntime.sleep({pause})"
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.alone
@needs_native
def test_exit_in_the_middle_of_a_call():
    done = python(
        WORK
        + """
def use():
    while True:
        cconv1d.conv1d(x, w)
threading.Thread(target=use, daemon=True).start()
time.sleep(0.05)
"""
    )
    assert (done.returncode, done.stderr) == (0, "")
