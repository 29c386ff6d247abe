"""Threads of Python that call at the same time: with the GIL, and on an interpreter without."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest

import cconv1d
from cconv1d import _backend

pytestmark = pytest.mark.alone

same = np.testing.assert_array_equal

THREADS = 8


def in_threads(function):
    """Call it in several threads at once, with the number of the thread; return what they did."""
    barrier = Barrier(THREADS)

    def run(number):
        barrier.wait()
        return function(number)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(run, range(THREADS)))


@pytest.mark.skipif(
    not hasattr(sys, "_is_gil_enabled") or sys._is_gil_enabled(),
    reason="this interpreter has a GIL",
)
@pytest.mark.skipif(_backend.core is None, reason="the extension is not loaded")
def test_the_import_does_not_bring_the_gil_back():
    code = "import sys, cconv1d; assert cconv1d._backend.core; print(sys._is_gil_enabled())"
    done = subprocess.run(
        [sys.executable, "-P", "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "False\n", "")


def test_small_calls_on_the_same_arrays(backend):
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 3, 40)), rng.standard_normal((4, 3, 5))
    y = cconv1d.conv1d(x, w, padding="same")
    gradients = cconv1d.conv1d_backward(y, x, w, padding="same")

    def use(number):
        for _ in range(20):
            same(cconv1d.conv1d(x, w, padding="same"), y)
            for got, expected in zip(
                cconv1d.conv1d_backward(y, x, w, padding="same"), gradients, strict=True
            ):
                same(got, expected)

    in_threads(use)


def test_plans_of_one_thread_are_not_those_of_another(backend):
    """More shapes and options than are remembered, in another order in each thread."""
    x, w = np.arange(1000.0), np.array([1.0, 10.0, 100.0])

    def use(number):
        for i in range(300):
            length = 10 + (i * (2 * number + 1)) % 700
            stride = 1 + (i + number) % 5
            y = cconv1d.conv1d(x[:length], w, stride=stride)
            assert len(y) == (length - 3) // stride + 1
            assert y[-1] == 111 * stride * (len(y) - 1) + 210

    in_threads(use)


@pytest.mark.skipif(_backend.core is None, reason="the extension is not loaded")
def test_threads_share_a_limit():
    """One object, entered and left by all threads at once: each has its own back afterwards."""
    limit = cconv1d.num_threads(7)
    entered = Barrier(THREADS)

    def use(number):
        with cconv1d.num_threads(number + 1):
            with limit:
                entered.wait()
                assert cconv1d.get_num_threads() == 7
            return cconv1d.get_num_threads()

    assert in_threads(use) == list(range(1, THREADS + 1))
