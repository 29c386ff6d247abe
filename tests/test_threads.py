"""Threads: the same bits from any number, the settings, and what a process may do meanwhile."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import itertools
import os
import pickle
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import REAL, Case, cases, needs_native, python, seeds, tuned

import cconv1d
from cconv1d import _backend, conv1d, conv1d_backward
from cconv1d._geometry import PADDING_MODES

same = np.testing.assert_array_equal
COUNTS = (1, 2, 3, 7)
METHODS = ("direct", "fft")


@pytest.fixture
def eager(native):
    """Every call is shared out, however small."""
    with tuned(serial_products=0):
        yield


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
            inherit = getattr(sys.flags, "thread_inherit_context", False)
            assert seen == [5 if inherit else 4], "what NumPy's errstate does, too"
        assert cconv1d.get_num_threads() == 4
        with pytest.raises(KeyError), cconv1d.num_threads(2):
            raise KeyError
        assert cconv1d.get_num_threads() == 4
    finally:
        cconv1d.set_num_threads(before)


@pytest.fixture
def three(native):
    """What holds outside of blocks is three threads."""
    before = cconv1d.get_num_threads()
    cconv1d.set_num_threads(3)
    yield
    cconv1d.set_num_threads(before)


@pytest.mark.thread_unsafe
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
def test_blocks_that_overlap(three, order):
    """What was entered last, of what has not been left, decides, in whatever order that is."""
    blocks = [cconv1d.num_threads(count) for count in (1, 2, 5)]
    inside = []
    for block, count in zip(blocks, (1, 2, 5), strict=True):
        block.__enter__()
        inside.append(count)
        assert cconv1d.get_num_threads() == count
    for i in order:
        blocks[i].__exit__(None, None, None)
        inside.remove((1, 2, 5)[i])
        assert cconv1d.get_num_threads() == (inside[-1] if inside else 3)


@pytest.mark.thread_unsafe
@pytest.mark.parametrize("first", [0, 1])
def test_generators_that_hold_blocks(three, first):
    def limited(count):
        with cconv1d.num_threads(count):
            while True:
                yield cconv1d.get_num_threads()

    generators = limited(1), limited(2)
    assert [next(generator) for generator in generators] == [1, 2]
    generators[first].close()
    assert cconv1d.get_num_threads() == (2, 1)[first]
    generators[1 - first].close()
    assert cconv1d.get_num_threads() == 3


@pytest.mark.thread_unsafe
def test_tasks_that_take_turns(three):
    """Each has its own limit all the time, and hands it on to tasks that it creates."""
    seen = {1: [], 5: [], 3: []}

    async def look(name):
        for _ in range(3):
            seen[name].append(cconv1d.get_num_threads())
            await asyncio.sleep(0)

    async def limited(count):
        with cconv1d.num_threads(count):
            later = asyncio.create_task(look(count))
            await look(count)
        seen[3].append(cconv1d.get_num_threads())
        await later

    async def use():
        await asyncio.gather(limited(1), look(3), limited(5))
        assert cconv1d.get_num_threads() == 3

    asyncio.run(use())
    assert seen == {1: [1] * 6, 5: [5] * 6, 3: [3] * 5}


@pytest.mark.thread_unsafe
def test_a_context_that_was_copied(three):
    """It keeps the limits that it was copied with, as those of NumPy's errstate."""
    with cconv1d.num_threads(1):
        context = contextvars.copy_context()
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(context.run, cconv1d.get_num_threads).result() == 1
    assert cconv1d.get_num_threads() == 3
    assert context.run(cconv1d.get_num_threads) == 1


@pytest.mark.thread_unsafe
def test_a_block_that_another_context_leaves(three):
    """A generator may be closed by another thread or task; the block then holds nowhere."""
    limit = cconv1d.num_threads(1)
    limit.__enter__()
    copied = contextvars.copy_context()
    with cconv1d.num_threads(2), ThreadPoolExecutor(1) as pool:
        pool.submit(limit.__exit__, None, None, None).result()
        assert cconv1d.get_num_threads() == 2
    assert cconv1d.get_num_threads() == copied.run(cconv1d.get_num_threads) == 3
    with pytest.raises(IndexError):
        limit.__exit__(None, None, None)


@pytest.mark.thread_unsafe
@given(data=st.data())
def test_blocks_and_contexts_in_any_order(three, data):
    """Against lists of what each context is in."""
    contexts = [(contextvars.copy_context(), [])]
    entered = []  # (context, its number, block, count)
    for count in range(4, 24):
        at = data.draw(st.integers(0, len(contexts) - 1), label="context")
        context, inside = contexts[at]
        what = data.draw(st.sampled_from(["enter", "enter", "leave", "copy"]), label="what")
        if what == "enter":
            block = cconv1d.num_threads(count)
            context.run(block.__enter__)
            inside.append(count)
            entered.append((at, block, count))
        elif what == "leave" and entered:
            home, block, count = entered.pop(data.draw(st.integers(0, len(entered) - 1)))
            context.run(block.__exit__, None, None, None)
            for i, (_, those) in enumerate(contexts):
                if count in those and (at != home or i == at):
                    those.remove(count)
        elif what == "copy":
            contexts.append((context.run(contextvars.copy_context), inside.copy()))
        for one, those in contexts:
            expected = those[-1] if those else 3
            assert one.run(cconv1d.get_num_threads) == expected
    assert cconv1d.get_num_threads() == 3


@needs_native
@pytest.mark.alone
@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="threads cannot be counted here")
@pytest.mark.parametrize("method", METHODS)
def test_calls_heed_the_limit_of_their_task(method):
    """Of two tasks that take turns, the one with a limit of 1 has no thread created."""
    done = python(
        work(method)
        + """
import asyncio
def threads():
    return len(os.listdir("/proc/self/task"))
layer = cconv1d.PreparedConv1d(rng.standard_normal((300, 300, 5)), method=method)
few = rng.standard_normal((300, 9))
async def alone():
    with cconv1d.num_threads(1):
        await asyncio.sleep(0)  # while `other` enters its own
        before = threads()
        conv1d(x, w)
        layer(few)  # packs its weights
        assert threads() == before, threads() - before
        await asyncio.sleep(0)
    assert cconv1d.get_num_threads() == 1
async def other():
    with cconv1d.num_threads(3):
        await asyncio.sleep(0)
        before = threads()
        conv1d(x, w)
        assert threads() == before + 2, threads() - before
async def use():
    await asyncio.gather(alone(), other())
cconv1d.set_num_threads(1)
asyncio.run(use())
"""
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda limit: pickle.loads(pickle.dumps(limit))]
)
@pytest.mark.thread_unsafe
def test_copies_of_a_limit(three, again):
    """Are of the number, and in no block, also where the original is."""
    limit = cconv1d.num_threads(2)
    with limit:
        other = again(limit)
        with cconv1d.num_threads(1):
            with other:
                assert cconv1d.get_num_threads() == 2
            assert cconv1d.get_num_threads() == 1
        assert cconv1d.get_num_threads() == 2
    assert cconv1d.get_num_threads() == 3


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
        ({"CCONV1D_NUM_THREADS": ""}, None),
        ({"OMP_NUM_THREADS": "5", "CCONV1D_NUM_THREADS": ""}, 5),
        ({"OMP_NUM_THREADS": ""}, None),
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
@pytest.mark.parametrize("value", ["0", "-1", "two", " ", "1.5"])
def test_an_environment_that_cannot_be(value):
    done = python("import cconv1d", CCONV1D_NUM_THREADS=value)
    assert done.returncode == 1
    assert f"ImportError: CCONV1D_NUM_THREADS must be a positive integer, not '{value}'" in (
        done.stderr
    )


# --- what a process may do ------------------------------------------------------------------------


def work(method="direct"):
    """The beginning of a program that convolves by a method."""
    return f"method = {method!r}" + WORK


WORK = """
import os, sys, threading, time
import numpy as np, cconv1d
rng = np.random.default_rng(0)
x, w = rng.standard_normal((4, 64, 2000)), rng.standard_normal((64, 64, 5))
def conv1d(x, w):
    return cconv1d.conv1d(x, w, method=method)
"""


@pytest.mark.alone
@needs_native
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("method", METHODS)
def test_fork_in_the_middle_of_use(method):
    """Also while a thread computes roots of unity, which the child needs, too."""
    done = python(
        work(method)
        + """
expected = conv1d(x, w)
ones = np.ones(2**18 if method == "fft" else 2**11)
busy = True
def use():
    while busy:
        conv1d(x, w)
def use_others():
    return cconv1d.convolve(ones, ones, "same", method=method)
threads = [threading.Thread(target=each) for each in (use, use_others)]
for thread in threads:
    thread.start()
for number in range(10):
    child = os.fork()
    if child == 0:
        right = np.array_equal(conv1d(x, w), expected)
        if number % 5 == 0:
            right = right and abs(use_others().max() / ones.size - 1) < 1e-9
        os._exit(0 if right else 1)
    assert os.waitpid(child, 0)[1] == 0
busy = False
for thread in threads:
    thread.join()
""",
        CCONV1D_NUM_THREADS="3",
        PYTHONWARNINGS="ignore",
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.alone
@needs_native
@pytest.mark.parametrize("method", METHODS)
def test_many_callers_at_once(method):
    rng = np.random.default_rng(2)
    x, w = rng.standard_normal((2, 32, 1500)), rng.standard_normal((48, 32, 5))

    def maps_by(x, w):
        y = conv1d(x, w, method=method)
        return y, *conv1d_backward(y, x, w, method=method)

    expected = maps_by(x, w)
    wrong = []

    def use():
        for _ in range(10):
            for one, other in zip(maps_by(x, w), expected, strict=True):
                if not np.array_equal(one, other):
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
@pytest.mark.parametrize("method", METHODS)
def test_exit_while_idle(method, count, pause):
    done = python(
        work(method) + f"cconv1d.set_num_threads({count})\nconv1d(x, w)\ntime.sleep({pause})"
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.alone
@needs_native
@pytest.mark.parametrize("method", METHODS)
def test_exit_in_the_middle_of_a_call(method):
    done = python(
        work(method)
        + """
def use():
    while True:
        conv1d(x, w)
threading.Thread(target=use, daemon=True).start()
time.sleep(0.05)
"""
    )
    assert (done.returncode, done.stderr) == (0, "")
