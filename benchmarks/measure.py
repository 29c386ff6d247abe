"""Timing of several calls side by side, and what the machine can do at most."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from timeit import Timer
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Call = Callable[[], object]

#: A sample takes at least so many seconds; a shorter one would measure the clock and interrupts.
SAMPLE = 2e-3

#: The best of so many samples counts, as long as they are short enough to wait for.
SAMPLES = 3
LONG_SAMPLE = 50e-3


def machine() -> str:
    """The processor by name; a virtual machine may hide all but its family and model."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    known = {key.strip(): value.strip() for key, _, value in (s.partition(":") for s in lines)}
    name = known.get("model name") or platform.processor() or platform.machine()
    if "cpu family" in known and "model" in known:
        name += f" (family {known['cpu family']}, model {known['model']})"
    return name


def pin(threads: int) -> None:
    """Keep this process on as many processors as it may use threads, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])


def settle(threads: int) -> None:
    """Pin, and restart this program, if need be, in an environment for fair timings.

    Every library starts as many threads as that.  And glibc keeps the memory that was freed:
    otherwise it returns a large result to the system when it is dropped and has it cleared
    and mapped again in the next call, which can take longer than the convolution, and says
    nothing about it.
    """
    pin(threads)
    wanted = {
        "MALLOC_MMAP_MAX_": "0",
        "MALLOC_TRIM_THRESHOLD_": str(8 << 30),
        "MALLOC_TOP_PAD_": str(256 << 20),
        "CCONV1D_NUM_THREADS": str(threads),
        "OMP_NUM_THREADS": str(threads),
        "OPENBLAS_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "NPROC": str(threads),
        "XLA_FLAGS": f"--xla_cpu_multi_thread_eigen={str(threads > 1).lower()}",
    }
    # Libraries read these when they are loaded, and NumPy already is.
    if wanted.items() - os.environ.items():
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **wanted})


def interleave(
    calls: Mapping[str, Call],
    rounds: int,
    *,
    clock: Callable[[], float] = time.perf_counter,
    warm_up: float = 0.0,
) -> dict[str, NDArray[np.float64]]:
    """Time every call once in each round, in rotating order.

    What disturbs a round (another process, the clock of the processor) disturbs all of its
    calls, so ratios are to be taken within a round, and their median over the rounds.

    Parameters
    ----------
    calls : mapping of str to callable
        What to time, by name.
    rounds : int
        How often.
    clock : callable, optional
        What tells the seconds.
    warm_up : float, optional
        For so many seconds a call runs untimed before its turn, to have the processors for
        itself: worker threads of its forerunner may still be spinning.

    Returns
    -------
    dict of str to ndarray, shape (rounds,)
        Seconds per call.
    """
    timers = {name: Timer(call, timer=clock) for name, call in calls.items()}
    repeats = {name: _calibrate(timer) for name, timer in timers.items()}
    seconds = {name: np.empty(rounds) for name in calls}
    names = list(calls)
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            seconds[name][number] = _sample(timers[name], repeats[name], warm_up)
    return seconds


def _calibrate(timer: Timer) -> int:
    """The number of calls that fill a sample."""
    timer.timeit(1)  # the first call may compile or allocate
    repeats = 1
    while (elapsed := timer.timeit(repeats)) < SAMPLE:
        repeats = int(1.2 * repeats * max(min(SAMPLE / max(elapsed, 1e-9), 100), 2))
    return repeats


def _sample(timer: Timer, repeats: int, warm_up: float) -> float:
    """Seconds per call: the best of a few samples, of which the first also fills the caches."""
    while warm_up > 0:
        warm_up -= timer.timeit(repeats)
    best = timer.timeit(repeats)
    if best < LONG_SAMPLE:
        best = min(best, *timer.repeat(SAMPLES - 1, repeats))
    return best / repeats


class Limit(NamedTuple):
    """A call that does nothing but one thing, as fast as the machine can do it.

    `amount` is what one call does, in floating-point operations or in bytes.
    """

    call: Call
    amount: float
    how: str


#: Independent chains of multiply-adds, enough of them to hide the latency of the instruction
#: and few enough to stay in the registers; the compiler fuses them by contraction. Each is a
#: variable of its own: GCC leaves an array of 24 in memory, with half of the peak on AVX-512.
_FMA_SOURCE = """
#if defined(__AVX512F__) || defined(__aarch64__) /* 32 registers, else 16 */
#define CHAINS 24
#define FOR_CHAINS(X) TWELVE(X, a, b, c, d, e, f, g, h, i, j, k, l) \\
    TWELVE(X, A, B, C, D, E, F, G, H, I, J, K, L)
#else
#define CHAINS 12
#define FOR_CHAINS(X) TWELVE(X, a, b, c, d, e, f, g, h, i, j, k, l)
#endif
#if defined(__AVX512F__)
#define BYTES 64
#elif defined(__AVX__)
#define BYTES 32
#else
#define BYTES 16
#endif
#define TWELVE(X, a, b, c, d, e, f, g, h, i, j, k, l) \\
    X(a) X(b) X(c) X(d) X(e) X(f) X(g) X(h) X(i) X(j) X(k) X(l)
/* each another, or they would be one */
#define BEGIN(chain) vector chain = s * (REAL)count++;
#define ADD(chain) chain = chain * m + s;
#define TAKE(chain) total += chain[0];
typedef REAL vector __attribute__((vector_size(BYTES)));

const long flops_per_step = 2 * CHAINS * (BYTES / sizeof(REAL));

double multiply_add(long steps, double factor, double summand)
{
    vector m = (REAL)factor - (vector){0}, s = (REAL)summand - (vector){0};
    REAL total = 0;
    int count = 0;
    FOR_CHAINS(BEGIN)
    while (steps-- > 0) {
        FOR_CHAINS(ADD)
    }
    FOR_CHAINS(TAKE)
    return total;
}
"""
_FMA_STEPS = 2_000_000


def fma_peak(dtype: np.dtype, threads: int) -> Limit:
    """Multiply-adds in a loop of nothing else or, without a compiler, in a matrix product."""
    library = _compiled(_FMA_SOURCE, f"-DREAL={'float' if dtype == np.float32 else 'double'}")
    if library is None:
        return _matrix_product(dtype)
    library.multiply_add.restype = ctypes.c_double
    library.multiply_add.argtypes = [ctypes.c_long, ctypes.c_double, ctypes.c_double]
    flops = ctypes.c_long.in_dll(library, "flops_per_step").value * _FMA_STEPS * threads
    run = _on_threads(lambda _: library.multiply_add(_FMA_STEPS, 0.5, 1.0), threads)
    return Limit(run, flops, "a compiled loop of multiply-adds")


def _compiled(source: str, *options: str) -> ctypes.CDLL | None:
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "limit.so")
        for native in ("-march=native", "-mcpu=native"):
            command = [compiler, "-O3", native, *options, "-shared", "-fPIC", "-x", "c", "-"]
            done = subprocess.run(
                [*command, "-o", path], input=source, text=True, capture_output=True, check=False
            )
            if done.returncode == 0:
                return ctypes.CDLL(str(path))
    return None


def _matrix_product(dtype: np.dtype, size: int = 1024) -> Limit:
    a = np.random.default_rng(0).standard_normal((size, size)).astype(dtype)
    out = np.empty_like(a)
    candidates = {"NumPy's matrix product": lambda: np.matmul(a, a, out=out)}
    try:
        import torch
    except ImportError:
        pass
    else:
        tensor, result = torch.from_numpy(a), torch.from_numpy(out)
        candidates["PyTorch's matrix product"] = lambda: torch.mm(tensor, tensor, out=result)
    how = min(candidates, key=lambda name: min(Timer(candidates[name]).repeat(5, 1)))
    return Limit(candidates[how], 2.0 * size**3, how)


def copying(nbytes: int, threads: int) -> Limit:
    """numpy.copyto between arrays of `nbytes` together, again and again.

    As many bytes are read and written in one copy as an operation with operands and result of
    `nbytes` must read and write, so that both run from the same level of the memory.
    """
    times = min(max((32 << 20) // nbytes, 1), 1000)
    shares = [np.ones((2, max(nbytes // (2 * threads), 1)), np.uint8) for _ in range(threads)]

    def copy(thread: int) -> None:
        source, target = shares[thread]
        for _ in range(times):
            np.copyto(target, source)

    moved = times * sum(share.nbytes for share in shares)
    return Limit(_on_threads(copy, threads), moved, "numpy.copyto")


def _on_threads(work: Callable[[int], object], threads: int) -> Call:
    """Call ``work(thread)`` on every thread; the work releases the GIL."""
    if threads == 1:
        return lambda: work(0)
    pool = ThreadPoolExecutor(threads)
    processors = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []

    def run(thread: int) -> None:
        if processors:  # or Linux wakes all the threads on the processor of the caller
            os.sched_setaffinity(0, {processors[thread % len(processors)]})
        work(thread)

    return lambda: list(pool.map(run, range(threads)))
