"""Calls on the threads of an OpenMP runtime that is loaded: the same bits, and no harm done.

The C driver of the pool checks what a host must do in general. Each test has a process of its own,
because a runtime that was loaded stays.
"""

from __future__ import annotations

import ctypes.util
import os
import signal
import sys

import pytest
from support import needs_native, python

GOMP = ctypes.util.find_library("gomp")
needs_gomp = pytest.mark.skipif(
    GOMP is None or not sys.platform.startswith("linux"), reason="there is no libgomp here"
)
pytestmark = [needs_native, pytest.mark.alone]

WORK = f"""
import ctypes, os, signal, threading, time
import numpy as np
import cconv1d
from cconv1d import _threads
cconv1d.set_num_threads(3)
rng = np.random.default_rng(0)
x, w = rng.standard_normal((4, 64, 2000)), rng.standard_normal((64, 64, 5))
def maps():
    y = cconv1d.conv1d(x, w)
    return [y, *cconv1d.conv1d_backward(y, x, w)]
def same(found):
    return all(a.tobytes() == b.tobytes() for a, b in zip(found, expected, strict=True))
expected = maps()
assert _threads.describe_threads() == "our own"
runtime = {GOMP!r}
"""
LOADED = """
ctypes.CDLL(runtime)
_threads.use_openmp("")
assert "libgomp" in cconv1d.show_config("dicts")["thread_pool"], _threads.describe_threads()
"""


def run(code):
    done = python(WORK + code, PYTHONWARNINGS="ignore")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_without_a_runtime_the_reason_is_told():
    run("""
_threads.use_openmp("")
assert "found: none" in _threads.describe_threads()
assert same(maps())
""")


@needs_gomp
def test_bits_are_the_same():
    run(
        LOADED
        + """
for threads in (1, 2, 3, 7, 3):
    cconv1d.set_num_threads(threads)
    assert same(maps())
found = []
callers = [threading.Thread(target=lambda: found.append(same(maps()))) for _ in range(4)]
for caller in callers: caller.start()
for caller in callers: caller.join()
assert found == [True] * 4
"""
    )


@needs_gomp
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_has_its_own_threads():
    run(
        LOADED
        + """
assert same(maps())
for _ in range(5):
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        os._exit(not (_threads.describe_threads() == "our own" and same(maps())))
    assert os.waitpid(child, 0)[1] == 0
assert same(maps())
"""
    )


@needs_gomp
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there are no timers here")
def test_a_call_can_be_interrupted():
    run(
        LOADED
        + """
def interrupt(number, frame):
    raise KeyboardInterrupt
signal.signal(signal.SIGALRM, interrupt)
large = rng.standard_normal((64, 512, 4000))
kernels = rng.standard_normal((512, 512, 9))
signal.setitimer(signal.ITIMER_REAL, 0.3)
start = time.monotonic()
try:
    cconv1d.conv1d(large, kernels)  # some 600e9 multiply-adds
except KeyboardInterrupt:
    print("interrupted")
assert time.monotonic() - start < 10
assert same(maps())
"""
    )


def test_the_team_of_pytorch_is_taken():
    pytest.importorskip("torch")
    run("""
import torch
import cconv1d.torch
told = _threads.describe_threads()
assert "OpenMP" not in torch.__config__.parallel_info().split("parallel backend:")[1][:9] or (
    told.startswith("OpenMP's") and os.path.dirname(torch.__file__) in told), told
for _ in range(20):
    torch.ones(1 << 20).exp_()
    assert same(maps())
""")
