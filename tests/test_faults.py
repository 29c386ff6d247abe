"""What a process goes through: no memory, no threads, signals, forks, a new program, its end.

Memory runs out in a process of its own, in front of whose C library faults.c is loaded: each call
is repeated, and each time another one of its allocations fails.
"""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import subprocess
import sys
import sysconfig
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from support import needs_native, python

import cconv1d
from cconv1d import Gradients

HERE = Path(__file__).parent
# --- calls ---------------------------------------------------------------------------------------

# N, C, L, K, k: the second has more than SMALL_PRODUCTS products and is shared out among threads;
# the others have few positions, for their weights or in depthwise layers
SIZES = {
    "small": (2, 4, 17, 6, 3),
    "large": (2, 16, 900, 20, 4),
    "few": (2, 40, 9, 48, 4),
    "short": (9, 48, 20, 48, 5),
}
OPTIONS = {
    "plain": {},
    "strided": {"stride": 2, "padding": 1, "groups": 2},
    "reflect": {"padding": 2, "padding_mode": "reflect"},
    "channels last": {"layout": "NLC", "dilation": 2},
    "each": {"padding": 1},  # sample has a weight of its own
    "depthwise": {"padding": 2, "groups": 48},  # of the short size
    "fft": {"padding": 1, "method": "fft"},
    "fft, not finite": {"padding": 2, "method": "fft", "dilation": 2},
}


def calls(function, size, option, dtype):
    """A call of a public function, its arrays, and what it returns into."""
    n, c, length, k, taps = SIZES[size]
    options = dict(OPTIONS[option])
    rng = np.random.default_rng(5)

    def normal(*shape):
        values = rng.standard_normal(shape)
        if np.dtype(dtype).kind == "c":
            values = values + 1j * rng.standard_normal(shape)
        return (4 * values).astype(dtype)

    if function in ("convolve", "correlate"):
        arrays = [normal(n, c, length), normal(taps)]
        options.pop("padding", None)
        return lambda out: getattr(cconv1d, function)(*arrays, **options), arrays, ()

    each = (n,) if option == "each" else ()
    finite = "not finite" not in option
    x = normal(n, length, c) if option == "channels last" else normal(n, c, length)
    if "transpose" in function:
        options.pop("padding_mode", None)
        w, b = normal(*each, c, k // options.get("groups", 1), taps), normal(*each, k)
        forward = cconv1d.conv_transpose1d
    else:
        w, b = normal(*each, k, c // options.get("groups", 1), taps), normal(*each, k)
        forward = cconv1d.conv1d
    dy = np.ones_like(forward(x, w, b, **options))
    if not finite:  # one number, so that there is no NaN, which has many bit patterns
        x[0, 0, 3] = dy[0, 0, 5] = np.inf
    if function.endswith("_input"):
        arrays = [dy, w]
        lengths = {"input_length": length}
        outs = (x.copy(),)
    elif function.endswith("_weight"):
        arrays = [dy, x]
        lengths = {"kernel_size": taps, "per_sample": bool(each)}
        outs = (w.copy(),)
    elif function.endswith(("_backward", "PreparedConv1d")):
        arrays, lengths, outs = [dy, x, w], {}, (x.copy(), w.copy(), b.copy())
    else:
        arrays, lengths, outs = [x, w, b], {}, (dy.copy(),)

    def call(out):
        if out is not None:
            out = Gradients(*outs) if len(outs) > 1 else outs[0]
        kind = {"accumulate": True} if option == "strided" and out is not None else {}
        if function == "PreparedConv1d":  # which packs the weights for both directions
            layer = cconv1d.PreparedConv1d(w, b, **options)
            layer(x)
            return layer.backward(dy, x, out=out, **kind)
        return getattr(cconv1d, function)(*arrays, **lengths, **options, out=out, **kind)

    return call, arrays, outs


FUNCTIONS = (
    "conv1d",
    "conv1d_backward",
    "conv1d_backward_input",
    "conv1d_backward_weight",
    "conv_transpose1d",
    "conv_transpose1d_backward",
    "PreparedConv1d",
    "convolve",
    "correlate",
)

# --- memory --------------------------------------------------------------------------------------


def bits(arrays):
    return [array.tobytes() for array in arrays]


def fail_each(library, call, arrays, outs, out):
    """Let each allocation of a call fail in turn; how many there are."""
    before, start = bits([*arrays, *outs]), [array.copy() for array in outs]
    live = np.zeros(2, np.int64)  # no new objects for the numbers

    def restore():
        for array, value in zip(outs, start, strict=True):
            array[...] = value

    def run():
        result = call(out)
        return bits(result if isinstance(result, tuple) else [result])

    expected = run()
    for n in count(1):
        for attempt in range(20):  # something may be kept for later, but not ever more
            restore()
            library.faults_begin(n)
            try:
                result = call(out)
            except MemoryError:
                result = None
            number = library.faults_end()
            if result is None:
                assert number >= n, "memory that is there ran out"
                assert bits([*arrays, *outs]) == before, f"allocation {n} left something behind"
            else:  # what failed could be done without, such as room in a cache
                assert bits(result if isinstance(result, tuple) else [result]) == expected, n
                assert bits(arrays) == before[: len(arrays)]
            result = None
            gc.collect()  # empties Python's lists of free objects, too
            live[attempt % 2] = library.faults_live()
            if attempt and live[0] == live[1]:
                break
        assert live[0] == live[1], f"allocation {n} leaks"
        restore()
        assert run() == expected, f"the call after allocation {n} is wrong"
        if number < n:
            return n - 1


def fail_allocations(function):
    """For the process that has faults.c: all kinds of calls of one function."""
    library = ctypes.PyDLL(None)
    library.faults_begin.argtypes = [ctypes.c_long]
    library.faults_begin.restype = None
    library.faults_end.restype = library.faults_live.restype = ctypes.c_long
    cconv1d.set_num_threads(2)
    gc.freeze()  # what there is: collections are quick then
    options = ["plain", "fft"] if function in ("convolve", "correlate") else list(OPTIONS)
    options = [option for option in options if option != "depthwise"]
    if function == "PreparedConv1d":
        options = [option for option in options if option != "each"]
    kinds = [(option, "float32") for option in options]
    kinds += [("plain", "float16"), ("plain", "complex64")]
    table = {"small": kinds, "large": kinds, "few": [], "short": []}
    if function not in ("convolve", "correlate"):
        table["few"] = kinds
        table["short"] = [("depthwise", "float32"), ("depthwise", "float16")]
    for size, kinds in table.items():
        for option, dtype in kinds:
            call, arrays, outs = calls(function, size, option, dtype)
            for out in (None, *outs[:1]) if option == "plain" else outs[:1]:
                print(size, option, dtype, "" if out is None else "out", end=" ", flush=True)
                number = fail_each(library, call, arrays, outs, out)
                objects = os.environ.get("PYTHONMALLOC") == "malloc"
                assert number > 0 or (size == "small" and not objects), "there was no allocation"
                print(number)


@pytest.fixture(scope="module")
def faults(compiler, tmp_path_factory):
    """The environment of a process whose allocations can be made to fail."""
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("faults.c is for the GNU C library")
    library = tmp_path_factory.mktemp("faults") / "faults.so"
    strict = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC"]
    subprocess.run([*compiler, *strict, HERE / "faults.c", "-o", library, "-ldl"], check=True)
    environment = {
        "LD_PRELOAD": str(library),
        "PYTHONPATH": os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    if not sysconfig.get_config_var("Py_GIL_DISABLED"):  # has an allocator of its own
        environment["PYTHONMALLOC"] = "malloc"
    return environment


@needs_native
@pytest.mark.parametrize("function", FUNCTIONS)
def test_memory_runs_out(faults, function):
    done = python(f"import test_faults; test_faults.fail_allocations({function!r})", **faults)
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout)


THREADS = """
import ctypes, os
import numpy as np, cconv1d
x, w = np.ones((4, 64, 2000)), np.ones((64, 64, 5))
def threads():
    return len(os.listdir("/proc/self/task"))
before = threads()
with cconv1d.num_threads(1):
    expected = cconv1d.conv1d(x, w)
ctypes.PyDLL(None).faults_refuse_threads(1)
cconv1d.set_num_threads(3)
assert np.array_equal(cconv1d.conv1d(x, w), expected)
assert threads() == before
ctypes.PyDLL(None).faults_refuse_threads(0)
x = x[:, :, :80]  # still enough for three threads, however wide the level's tiles are
for _ in range(1001):  # now and then it is tried again
    cconv1d.conv1d(x, w)
assert threads() == before + 2, threads()
"""


@pytest.mark.alone
@needs_native
def test_threads_are_refused(faults):
    done = python(THREADS, **faults)
    assert done.returncode == 0, done.stderr


GROWTH = """
import gc, tracemalloc
import numpy as np, cconv1d
rng = np.random.default_rng(0)
x, w = rng.standard_normal((2, 3, 1200)), rng.standard_normal((4, 3, 5))
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096
def use(padding, count):
    for length in range(5, 5 + count):
        y = cconv1d.conv1d(x[:, :, :length], w, padding=padding)
        cconv1d.conv1d_backward(y, x[:, :, :length], w, padding=padding)
tracemalloc.start()
for padding in range(3):  # fills what is remembered of the shapes and options of calls
    use(padding, 1000)
gc.collect()
most, pages = tracemalloc.get_traced_memory()[1], resident()
tracemalloc.reset_peak()
for padding in range(3, 8):
    use(padding, 1000)
gc.collect()
print((tracemalloc.get_traced_memory()[1] - most) // 1024, (resident() - pages) // 1024)
"""


@pytest.mark.alone
@needs_native
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="there is no /proc here")
def test_memory_does_not_grow():
    """10,000 calls, each with a shape or a padding that is new to it."""
    done = python(GROWTH)
    assert done.returncode == 0, done.stderr
    traced, resident = map(int, done.stdout.split())  # KiB
    assert traced < 512, "objects of Python and NumPy"  # 52 bytes for each call
    assert resident < 4096


# --- signals -------------------------------------------------------------------------------------

needs_timer = pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no timers here")

#: A signal after some time of computing, whatever else the machine does.
LONG = """
import os, signal, sys, threading, time
import numpy as np, cconv1d
x, dy = np.zeros((1, 512, 32000), "f"), np.zeros((1, 512, 31970), "f")
w = np.zeros((512, 512, 31), "f")
calls = {
    "conv1d": lambda: cconv1d.conv1d(x, w),
    "reflect": lambda: cconv1d.conv1d_backward_input(
        dy, w, 31940, padding=30, padding_mode="reflect"),
    "conv1d_backward_weight": lambda: cconv1d.conv1d_backward_weight(dy, x, 31),
    "fft": lambda: cconv1d.conv1d(np.repeat(x, 2, 0), w, method="fft"),
    "fft, gradients": lambda: cconv1d.conv1d_backward(
        np.repeat(dy, 2, 0), np.repeat(x, 2, 0), w, method="fft"),
    # all of it is summed again
    "fft, not finite": lambda: cconv1d.conv1d(x[0, :64].reshape(1, 1, -1) + np.float32(np.nan),
        np.ones((1, 1, 200000), "f"), method="fft"),
}
rng = np.random.default_rng(0)
some, weights = rng.standard_normal((4, 64, 2000)), rng.standard_normal((64, 64, 5))
"""


@pytest.mark.alone
@needs_native
@needs_timer
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(
    "call",
    ["conv1d", "reflect", "conv1d_backward_weight", "fft", "fft, gradients", "fft, not finite"],
)
def test_interrupt(call, threads):
    done = python(
        LONG
        + f"""
method = "fft" if "fft" in {call!r} else "direct"
expected = cconv1d.conv1d(some, weights, method=method)
def handle(number, frame):
    global sent
    sent = time.process_time()
    signal.default_int_handler(number, frame)
signal.signal(signal.SIGVTALRM, handle)
signal.setitimer(signal.ITIMER_VIRTUAL, 0.15)
begun = time.process_time()
try:
    calls[{call!r}]()
    print("it ended before")
except KeyboardInterrupt:
    now = time.process_time()
    assert now - begun - 0.15 < 1, (begun, now)
    for _ in range(20):
        assert np.array_equal(cconv1d.conv1d(some, weights, method=method), expected)
    print("interrupted")
""",
        CCONV1D_NUM_THREADS=str(threads),
    )
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stdout + done.stderr


@pytest.mark.alone
@needs_native
@needs_timer
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(("method", "batch"), [("direct", 4), ("fft", 24)])
def test_handlers_in_the_middle_of_a_call(method, batch, threads):
    """They may call, too, and fork: the child has the call before it that the parent has."""
    done = python(
        LONG
        + f"""
method, batch = {method!r}, {batch}
"""
        + """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of forks where there are threads
expected = cconv1d.conv1d(some, weights, method=method)
x = rng.standard_normal((batch, 128, 6000), dtype="f")
w = rng.standard_normal((256, 128, 31), dtype="f")
with cconv1d.num_threads(1):
    y = cconv1d.conv1d(x, w, method=method)
children = []
handled = 0
parent = os.getpid()
def handle(number, frame):
    global handled
    first, handled = not handled, handled + 1  # the next may come meanwhile
    assert np.array_equal(cconv1d.conv1d(some, weights, method=method), expected)
    if first:
        children.append(os.fork())
signal.signal(signal.SIGVTALRM, handle)
signal.setitimer(signal.ITIMER_VIRTUAL, 0.1, 0.1)
right = np.array_equal(cconv1d.conv1d(x, w, method=method), y)
signal.setitimer(signal.ITIMER_VIRTUAL, 0)
if os.getpid() != parent:
    os._exit(0 if right else 1)
assert right and handled, handled
assert os.waitpid(children[0], 0)[1] == 0
""",
        CCONV1D_NUM_THREADS=str(threads),
    )
    assert done.returncode == 0, done.stderr


# --- another program, another interpreter --------------------------------------------------------


@pytest.mark.alone
@needs_native
@pytest.mark.skipif(sys.platform == "win32", reason="exec does not replace the process there")
def test_exec_in_the_middle_of_a_call():
    done = python(
        LONG
        + """
threading.Thread(target=calls["conv1d"]).start()
time.sleep(0.1)
os.execv(sys.executable, [sys.executable, "-c", "import cconv1d; print(cconv1d.conv1d([2], [3]))"])
""",
        CCONV1D_NUM_THREADS="3",
    )
    assert (done.returncode, done.stdout) == (0, "[6.]\n"), done.stderr


SUBINTERPRETER = """
import sys
{before}
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
code = '''
{alone}
import sys, warnings
warnings.simplefilter("ignore")
try:
    import numpy
except Exception:  # ImportError, or AttributeError of NumPy 2.0 on CPython 3.12
    print("NumPy refuses")
else:
    warnings.simplefilter("error")
    import cconv1d
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        print(cconv1d.conv1d([1.0, 2.0, 4.0], [1.0, -1.0]), cconv1d.show_config("dicts")["backend"],
              len(seen))
sys.stdout.flush()
'''
failed = interpreters.run_string(interpreters.create(), code)
assert not failed, failed
{after}
"""


@needs_native
@pytest.mark.parametrize("first", ["here", "there"])
def test_subinterpreter(first):
    """One interpreter has the extension, others the reference and a warning, or not even NumPy."""
    show = 'print(cconv1d.conv1d([1.0, 2.0, 4.0], [1.0, -1.0]), cconv1d.show_config("dicts")'
    before, after = ("import cconv1d", show + '["backend"])') if first == "here" else ("", "")
    alone = "try: import numpy\nfinally: raise SystemExit"
    if python(SUBINTERPRETER.format(before=before, after="", alone=alone)).returncode < 0:
        pytest.skip("NumPy alone ends a process that has a second interpreter")
    done = python(SUBINTERPRETER.format(before=before, after=after, alone=""))
    there, _, here = done.stdout.partition("\n")
    assert done.returncode == 0, done.stdout + done.stderr
    assert here == ("[-1. -2.] native\n" if first == "here" else "")
    allowed = "[-1. -2.] reference 1" if first == "here" else "[-1. -2.] native 0"
    assert there in (allowed, "NumPy refuses")
