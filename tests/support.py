"""What the tests share: random geometries, the formulas as plain loops, the error bound."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from itertools import product
from math import sqrt
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st

import cconv1d
from cconv1d import _backend, _reference
from cconv1d._geometry import PADDING_MODES, Geometry, resolve

REAL = (np.dtype(np.float32), np.dtype(np.float64))

needs_native = pytest.mark.skipif(_backend.core is None, reason="the extension is not loaded")


#: Said to examples, since the fallback to the reference warns on its own, and -W error is wanted.
BACKEND = cconv1d.show_config("dicts")["backend"]
EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


@contextmanager
def tuned(**numbers):
    """With numbers of src/nest/tuning.pxi that are not constants. All threads read them."""
    core = _backend.core
    before = {name: core.tune(name, value) for name, value in numbers.items()}
    try:
        yield
    finally:
        for name, value in before.items():
            core.tune(name, value)


def example(name, folder, *arguments, warnings="error", timeout=300):
    """Run an example in a folder, as a user runs it; its test skips where it is not."""
    if not (EXAMPLES / name).is_file():
        pytest.skip("the examples are not beside the tests")
    return subprocess.run(
        [sys.executable, "-W", warnings, str(EXAMPLES / name), *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "CCONV1D_BACKEND": BACKEND},
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def wrong_pushes(clones, x, expected, starts, samples):
    """Where streams, each in a thread of its own, return other bits for a chunk than expected."""
    barrier, wrong = threading.Barrier(len(clones)), []

    def use(one):
        barrier.wait()
        for start in starts:
            y = one.push(x[..., start : start + samples])
            if y.tobytes() != expected[..., start : start + samples].tobytes():
                wrong.append(start)

    threads = [threading.Thread(target=use, args=(one,)) for one in clones]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return wrong


def python(code, **environment):
    """Run code in a new interpreter; the result of what must not hang."""
    kept = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    return subprocess.run(
        [sys.executable, "-P", "-W", "error", "-c", code],
        env=kept | environment,
        capture_output=True,
        text=True,
        timeout=180,
    )


#: The geometry tests draw this many times as many examples as the others: 20,000 in "thorough".
FUZZ = settings(max_examples=8 * settings().max_examples)

# Sizes on either side of vector widths (4 to 16 numbers), register tiles (6 and 12 rows), blocks
# of 128 terms and position tiles. The first of each list is what a failure is shrunk to.
BATCHES = (1, 2, 3, 7)
GROUPS = (1, 2, 3, 4, 5, 8, 16, 33)
CHANNELS = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 97, 127, 128, 129, 257)
OUTS = (1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 15, 16, 17, 18, 23, 24, 25, 31, 32, 33, 48, 49, 65)
TAPS = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 19, 31, 32, 33, 40, 64, 65, 101, 127, 128, 129, 257)
STRIDES = (1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 33)
DILATIONS = (1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 64)
LENGTHS = (
    *(1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 97, 127, 128, 129),
    *(255, 256, 257, 511, 512, 513, 1023, 1024, 1025, 2047, 2048, 2049, 4095, 4096, 4097),
)
WORDS = ("valid", "same", "same_lower", "causal", "full")
#: What numpy.pad calls the padding modes.
NUMPY_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


class Case(NamedTuple):
    """One convolution: `channels` and `outs` are those of one group."""

    batch: int
    groups: int
    channels: int
    outs: int
    length: int
    taps: int
    stride: int
    padding: int | tuple[int, int] | str
    dilation: int
    mode: str = "zeros"

    @property
    def options(self):
        """The keyword arguments of the public functions."""
        return {
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "groups": self.groups,
            "padding_mode": self.mode,
        }

    @property
    def geometry(self):
        where = self.length, self.taps, self.stride, self.padding, self.dilation, self.mode
        return resolve("test", *where)

    def shapes(self, geometry=None):
        """The shapes of x, w, b and dy."""
        g = geometry or self.geometry
        outs = self.groups * self.outs
        return (
            (self.batch, self.groups * self.channels, g.input_length),
            (outs, self.channels, self.taps),
            (outs,),
            (self.batch, outs, g.output_length),
        )

    def normal(self, seed, dtype, geometry=None):
        """x, w, b and dy of normally distributed numbers."""
        rng = np.random.default_rng(seed)
        return [rng.standard_normal(s).astype(dtype) for s in self.shapes(geometry)]

    def integral(self, seed, dtype, geometry=None):
        """x, w, b and dy of small integers: sums are exact in any order and every float type."""
        rng = np.random.default_rng(seed)
        return [integers(rng, shape, dtype) for shape in self.shapes(geometry)]


def integers(rng, shape, dtype):
    values = rng.integers(-3, 4, shape)
    if np.dtype(dtype).kind == "c":
        values = values + 1j * rng.integers(-3, 4, shape)
    return values.astype(dtype)


def wrapped(exact, dtype):
    """Exact numbers, as Python has them, in a dtype: integers modulo 2**n."""
    dtype = np.dtype(dtype)
    if dtype.kind in "iu":
        return (exact % 2 ** (8 * dtype.itemsize)).astype(f"u{dtype.itemsize}").view(dtype)
    return exact.astype(dtype)


@st.composite
def cases(draw, work=2**17, batches=BATCHES, taps=TAPS, strides=STRIDES):
    """A random `Case` of about `work` multiply-adds at most.

    Sizes are drawn in random order, each from what the earlier ones leave of the work, so
    that every one of them is large somewhere and no example is slow.
    """
    sizes = {
        "batch": batches,
        "groups": GROUPS,
        "channels": CHANNELS,
        "outs": OUTS,
        "taps": taps,
        "length": LENGTHS,
    }
    left = work
    case = {}
    for name in draw(st.permutations(list(sizes))):
        fitting = [size for size in sizes[name] if size <= left] or [min(sizes[name])]
        case[name] = draw(st.sampled_from(fitting))
        left //= case[name]
    if draw(st.integers(0, 15)) == 7:  # not an end of the range: those are drawn more often
        case[draw(st.sampled_from(("batch", "channels", "outs", "length")))] = 0
    reach = case["taps"] - 1
    rows = max(case["batch"] * case["groups"] * case["channels"], 1)
    fitting = [d for d in DILATIONS if rows * d * reach <= work] or [1]
    case["dilation"] = draw(st.sampled_from(fitting))
    case["stride"] = draw(st.sampled_from(strides))
    reach *= case["dilation"]

    zeros = st.integers(0, min(reach + 3, 3 + left * max(case["length"], 1) // 2, 70))
    words = WORDS if reach <= left * max(case["length"], 1) else WORDS[:-1]  # "full" adds outputs
    padding = draw(zeros | st.tuples(zeros, zeros) | st.sampled_from(words))
    if isinstance(padding, str):
        # "full" makes room in an empty input, "same" and "causal" in any other.
        least = {"valid": reach + 1, "full": 0 if reach else 1}.get(padding, 1)
    else:
        least = reach + 1 - (sum(padding) if isinstance(padding, tuple) else 2 * padding)
    mode = draw(st.sampled_from(PADDING_MODES) | st.just("zeros"))
    if mode != "zeros":  # as long as it needs to be at most: a word pads by the reach or less
        longest = reach if isinstance(padding, str) else np.max(padding)
        least = max(least, {"reflect": longest + 1, "replicate": 1, "circular": longest}[mode])
    case["length"] = max(case["length"], int(least))
    return Case(**case, padding=padding, mode=mode)


@st.composite
def inner_geometries(draw, case, most=8):
    """A geometry that only the package itself makes: negative padding on either side."""
    pad_left = draw(st.integers(-case.length - 3, 20))
    output_length = draw(st.sampled_from(LENGTHS[:most]))
    return Geometry(case.length, output_length, case.stride, case.dilation, pad_left)


seeds = st.integers(0, 2**32 - 1)
small_cases = cases(work=150, batches=(1, 2, 3))

# --- section 2 of the design as plain loops over Python numbers ------------------------------


def sample_at(q, g):
    """The sample that position q of the padded input is, or None for a zero.

    calls.py has the modes once more, written without a look at these lines, for arrays of
    positions; of the two, this one judges the reference, and that one whole calls.
    """
    length = g.input_length
    if PADDING_MODES[g.mode] == "replicate":
        q = min(max(q, 0), length - 1)
    if PADDING_MODES[g.mode] == "circular":
        q %= length
    if PADDING_MODES[g.mode] == "reflect":
        q = abs(q)
        q = min(q, 2 * (length - 1) - q)
    return q if 0 <= q < length else None


def _meetings(w_shape, g, groups):
    """Every o, c (of the input), c (of the group), j, p and the sample q that they meet at."""
    out_channels, channels, taps = w_shape
    ranges = map(range, (out_channels, channels, taps, g.output_length))
    for o, c, j, p in product(*ranges):
        group = o // (out_channels // groups)
        q = sample_at(p * g.stride + j * g.dilation - g.pad_left, g)
        if q is not None:
            yield o, group * channels + c, c, j, p, q


def loop_forward(x, w, b, g, groups):
    x, w = x.astype(object), w.astype(object)
    y = np.zeros((len(x), len(w), g.output_length), object)
    for n in range(len(x)):
        for o, ci, c, j, p, q in _meetings(w.shape, g, groups):
            y[n, o, p] += w[o, c, j] * x[n, ci, q]
    return y if b is None else y + b.astype(object)[:, np.newaxis]


def loop_backward_input(dy, w, g, groups):
    dy, w = dy.astype(object), w.astype(object)
    dx = np.zeros((len(dy), w.shape[1] * groups, g.input_length), object)
    for n in range(len(dy)):
        for o, ci, c, j, p, q in _meetings(w.shape, g, groups):
            dx[n, ci, q] += w[o, c, j].conjugate() * dy[n, o, p]
    return dx


def loop_backward_weight(dy, x, taps, g, groups):
    dy, x = dy.astype(object), x.astype(object)
    dw = np.zeros((dy.shape[1], x.shape[1] // groups, taps), object)
    for n in range(len(dy)):
        for o, ci, c, j, p, q in _meetings(dw.shape, g, groups):
            dw[o, c, j] += dy[n, o, p] * x[n, ci, q].conjugate()
    return dw


def loop_backward_bias(dy):
    db = np.zeros(dy.shape[1], object)
    for n, o, p in np.ndindex(dy.shape):
        db[o] += dy.astype(object)[n, o, p]
    return db


# --- the reference as an oracle ---------------------------------------------------------------


def reference_maps(x, w, b, dy, g, groups, dtype):
    """y, dx, dw and db by the NumPy reference, computed in `dtype`."""
    x, w, b, dy = (array.astype(dtype) for array in (x, w, b, dy))
    y, dx, dw, db = (np.empty_like(array) for array in (dy, x, w, b))
    with np.errstate(all="ignore"):
        _reference.forward(x, w, b, y, g, groups)
        _reference.backward_input(dy, w, dx, g, groups)
        _reference.backward_weight(dy, x, dw, g, groups)
        _reference.backward_bias(dy, db)
    return y, dx, dw, db


def assert_accurate(actual, arrays, g, groups):
    """Each result of the four maps is as near to the exact one as its sum allows."""
    wide = wider(actual[0].dtype)
    exact = reference_maps(*arrays, g, groups, wide)
    sums = reference_maps(*(abs(array) for array in arrays), g, groups, wide)
    _, w, _, dy = arrays
    positions = dy.shape[0] * dy.shape[2]
    terms = (w[0].size + 1 if len(w) else 1, len(w) // groups * w.shape[2], positions, positions)
    for name, a, e, s, count in zip(MAPS, actual, exact, sums, terms, strict=True):
        assert_near(a, e, s, count, name)


def wider(dtype):
    """The floating-point type in which the results for one of `dtype` are checked."""
    return np.dtype(np.float64 if dtype == np.float32 else np.longdouble)


def assert_near(actual, exact, sums, count, name):
    """Each element is as near to the exact one as its sum of `count` terms allows.

    The bound of one element is ``c * eps * S``: S is the sum of the absolute values of the
    terms of this element, not of the whole array, so a small result beside large ones must
    be right, too.  Terms are summed in chains of at most 128, then the chains' sums.  An
    addition rounds by at most eps/2 of a partial sum, which S bounds, and roundings are
    independent, so they grow as the root of their number: ``c = 2 + sqrt(min(terms, 128)) / 2``,
    where 2 pays for the product, the chains' sums, the bias and the last rounding.  c is at
    most 7.7.  The largest errors seen were 2.5 with normal data and 6.5 where all terms
    are positive.  Where S is subnormal each term may round by the smallest number there is.
    """
    assert actual.shape == exact.shape, name
    limits = np.finfo(actual.dtype)
    # longdouble is float64 on some systems
    doubt = 2 if np.finfo(exact.dtype).eps == limits.eps else 1
    factor = doubt * (2 + sqrt(min(count, 128)) / 2)
    bound = factor * limits.eps * sums + count * limits.smallest_subnormal
    wrong = ~(abs(actual - exact) <= bound)  # so that a NaN is wrong
    if wrong.any():
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise AssertionError(
            f"{name}: {np.count_nonzero(wrong)} of {actual.size} are wrong; the first, at {at}, is "
            f"{actual[at]!r}, should be {exact[at]!r} and may be off by {bound[at]:.3g}"
        )


MAPS = ("forward", "backward_input", "backward_weight", "backward_bias")


# --- arrays in awkward places -------------------------------------------------------------------

BORDER = 80  # numbers on each side: more than the widest vector


def between_nans(array):
    """A copy with NaN before and after it, which poison a sum that reads too far."""
    return _inside(np.full(array.size + 2 * BORDER, np.nan, array.dtype), array)


def _inside(buffer, array):
    inside = buffer[BORDER : BORDER + array.size].reshape(array.shape)
    inside[...] = array
    return inside


class Fenced:
    """An array to be filled, and a fence around it that shows whether too much was."""

    MARK = 12288.0  # a number in every float type

    def __init__(self, shape, dtype):
        self._buffer = np.full(int(np.prod(shape)) + 2 * BORDER, self.MARK, dtype)
        self.array = _inside(self._buffer, np.full(shape, np.nan, dtype))

    def result(self):
        assert (self._buffer[:BORDER] == self.MARK).all(), "written before the array"
        assert (self._buffer[-BORDER:] == self.MARK).all(), "written behind the array"
        return self.array


def _filler(array):
    """What would show in a result that read it."""
    return np.iinfo(array.dtype).max if array.dtype.kind in "iu" else np.nan


def _with_gaps(array):
    """A view into a larger array."""
    larger = np.full([2 * size + 3 for size in array.shape], _filler(array), array.dtype)
    view = larger[tuple(slice(1, 2 * size, 2) for size in array.shape)]
    view[...] = array
    return view


def _padded_rows(array):
    """Contiguous along the last axis, other numbers between the rows."""
    larger = np.full((*array.shape[:-1], array.shape[-1] + 5), _filler(array), array.dtype)
    view = larger[..., 2:-3]
    view[...] = array
    return view


def _read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def _reversed(array, *axes):
    return np.flip(np.flip(array, axes).copy(), axes)


#: Other arrangements of the same numbers in memory.
LAYOUTS = {
    "fortran": np.asfortranarray,
    "last axis first": lambda a: np.moveaxis(np.moveaxis(a, -1, 0).copy(), 0, -1),
    "first axis last": lambda a: np.moveaxis(np.moveaxis(a, 0, -1).copy(), -1, 0),
    "gaps": _with_gaps,
    "padded rows": _padded_rows,
    "read-only": _read_only,
    "reversed": lambda a: _reversed(a, -1),
    "all axes reversed": lambda a: _reversed(a, *range(a.ndim)),
}


def unaligned(array):
    """A copy that starts one byte after a multiple of the item size."""
    copy = np.empty(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
    copy[...] = array
    assert array.size == 0 or array.itemsize == 1 or not copy.flags.aligned
    return copy


def swapped(array):
    """A copy in the other byte order."""
    return array.astype(array.dtype.newbyteorder())


class Subclass(np.ndarray):
    """Shapes and items of its own, which are not to be asked for."""

    def __getitem__(self, key):
        raise AssertionError("indexed as a subclass")


#: Where results may be written.
WRITEABLE = {name: layout for name, layout in LAYOUTS.items() if name != "read-only"}
WRITEABLE |= {"contiguous": np.ascontiguousarray, "unaligned": unaligned}
#: What arguments may be; of some a copy is made, as documented.
READABLE = LAYOUTS | WRITEABLE | {"other byte order": swapped}

# --- the public functions of a convolution ------------------------------------------------------


def every_function(case, x, w, b, dy):
    """{name: (function, positional arguments, keyword arguments)}.

    For the transposed functions x and dy change places, if there is such a convolution.
    """
    g = case.geometry
    table = {
        "conv1d": (cconv1d.conv1d, (x, w, b), case.options),
        "conv1d_backward": (cconv1d.conv1d_backward, (dy, x, w), case.options),
        "conv1d_backward_input": (
            cconv1d.conv1d_backward_input,
            (dy, w, case.length),
            case.options,
        ),
        "conv1d_backward_weight": (
            cconv1d.conv1d_backward_weight,
            (dy, x, case.taps),
            case.options,
        ),
    }
    span = case.dilation * (case.taps - 1) + 1
    right = (g.output_length - 1) * g.stride + span - g.pad_left - g.input_length
    extra = -right if right < 0 else 0
    if g.output_length > 0 < g.input_length and extra < max(case.stride, case.dilation):
        options = {
            **case.options,
            "padding": (g.pad_left, max(right, 0)),
            "output_padding": extra,
        }
        del options["padding_mode"]
        c = integers(np.random.default_rng(0), case.groups * case.channels, x.dtype)
        table["conv_transpose1d"] = (cconv1d.conv_transpose1d, (dy, w, c), options)
        backward = cconv1d.conv_transpose1d_backward
        table["conv_transpose1d_backward"] = (backward, (x, dy, w), options)
    return table


def as_tuple(result):
    """The results of a function that returns one or several."""
    return result if isinstance(result, tuple) else (result,)
