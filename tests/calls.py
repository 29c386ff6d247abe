"""Random calls of the public functions and what must come of each, for tests and the fuzzer.

All that is random comes from `choose`, a function that returns one item of a sequence: drawn
by hypothesis in the tests, read from bytes in `tools/fuzz.py`. A simple item comes first.

Numbers are small integers, whose sums are exact in any order and every dtype, so that results
must be equal to those of `maps`, which takes the samples that a tap meets, one tap after the other.
It allocates nothing as long as the signals, so that lengths, padding, strides and dilations may
be as large as they can.
"""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
from support import LAYOUTS, READABLE, WORDS, WRITEABLE, integers

import cconv1d
from cconv1d._geometry import PADDING_MODES, resolve, resolve_transposed

COMPILED = [np.dtype(char) for char in "fdFDe"] + [np.dtype(ml_dtypes.bfloat16)]
DTYPES = COMPILED + [np.dtype(char) for char in "bBhQqgG"]

BOTH = (True, False)
SIGNAL = ("convolve", "correlate")

#: What numbers beyond 32 and 48 bits are built from.
UNITS = (2**16, 2**31, 2**32, 2**40, 2**45, 2**47)

#: Results with more numbers are not looked at, and with more bytes than that cannot be had.
MOST, TOO_MANY = 2**12, 2**45

GARBAGE = (
    *(None, True, False, -1, 0, 1, 2**48, 2**63 - 1, 2**63, 2**64, -(2**63), 1.0, 1.5, np.nan, 1j),
    *(
        "",
        "same",
        "NLC",
        "circular",
        b"same",
        (),
        (1,),
        (1, 2),
        (1, 2, 3),
        [1],
        [1.5],
        {},
        object(),
    ),
    *(np.int8(1), np.uint64(2**63), np.float32(1), np.bool(True), np.array(1), np.array([1, 1])),
)
BAD_ARRAYS = (
    *(None, 1, "array", [], [[]], [[1.0], [2.0, 3.0]], [None], {}, object(), 2**70, [2**70]),
    *(np.array(1.0), np.zeros((1, 1, 1, 1, 1)), np.zeros(3, bool), np.zeros(3, object)),
    *(np.zeros(3, "U3"), np.zeros(3, "S3"), np.zeros(3, "M8[s]"), np.zeros(3, "i4,f4")),
    *(np.zeros(3, ml_dtypes.float8_e5m2), np.zeros((0, 3)), np.zeros((2, 0, 3)), np.zeros(0)),
    *(np.broadcast_to(np.float32(1), (2**40,)), np.broadcast_to(np.float64(1), (1, 2**40, 0))),
)


# --- arrays ---------------------------------------------------------------------------------------


FEW_TIMES = (False, False, False, False, True)


def an_array(choose, shape, dtype):
    """Small integers in any memory; along a long axis, and now and then another, all the same."""
    own = [1 if n > 1 and (n > MOST or choose(FEW_TIMES)) else n for n in shape]
    values = integers(np.random.default_rng(choose(range(256))), own, dtype)
    kinds = LAYOUTS if max(shape) > MOST else READABLE  # of which some are copied
    values = kinds[choose(sorted(kinds))](values)
    return np.broadcast_to(values, shape) if own != list(shape) else values


# --- the oracle -----------------------------------------------------------------------------------


def _wide(array):
    """In numbers that hold all sums; those of integers may wrap, as theirs may."""
    return array.astype({"c": complex, "i": np.int64, "u": np.int64}.get(array.dtype.kind, float))


def _met(g, tap):
    """For each output the sample that a tap meets, and whether there is one.

    Independent on purpose of `sample_at` of support.py.
    """
    q = np.arange(g.output_length) * g.stride + (tap * g.dilation - g.pad_left)
    last = g.input_length - 1
    mode = PADDING_MODES[g.mode]
    if mode == "reflect":
        q = abs(q)
        q = np.where(q > last, 2 * last - q, q)
    elif mode == "circular":
        q %= max(last + 1, 1)
    elif mode == "replicate":
        q = q.clip(0, last)
    inside = (q >= 0) & (q <= last)
    return np.where(inside, q, 0), inside


def maps(x, w, dy, g, groups):
    """y, dx and each sample's dw, of (N, C, L), (N, K, C/groups, k) and (N, K, P).

    dx only where it is short.
    """
    n, outs, channels, taps = w.shape
    w, dy = _wide(w), _wide(dy)
    y, dw = np.zeros_like(dy), np.zeros_like(w)
    dx = np.zeros(x.shape if _count(x.shape) <= MOST else (*x.shape[:2], 0), dy.dtype)
    dy = dy.reshape(n, groups, outs // groups, g.output_length)
    for j in range(taps):
        q, inside = _met(g, j)
        if not inside.any():
            continue
        met = _wide(x[:, :, q]).reshape(n, groups, channels, len(q)) * inside
        tap = w[..., j].reshape(n, groups, outs // groups, channels)
        y += (tap @ met).reshape(y.shape)
        dw[..., j] = (dy @ met.conj().swapaxes(-1, -2)).reshape(n, outs, channels)
        if dx.size:
            spread = (tap.conj().swapaxes(-1, -2) @ dy).reshape(*x.shape[:2], len(q))
            np.add.at(dx, (slice(None), slice(None), q[inside]), spread[..., inside])
    return y, dx, dw


# --- calls ----------------------------------------------------------------------------------------


class Call(NamedTuple):
    """A call, and the results that it must have or the errors that it may end with."""

    function: str
    arrays: dict[str, Any]
    options: dict[str, Any]
    expected: tuple[Any, ...] | None
    errors: tuple[type[Exception], ...] = ()
    may_pass: bool = False  # nonetheless
    prepared: bool = False  # it is PreparedConv1d that computes

    def run(self, out=None, accumulate=False):
        """Call it and compare; arguments, and after an error `out`, must be as before."""
        more = {} if out is None else {"out": out, "accumulate": accumulate}
        outs = out if isinstance(out, tuple) else (out,)
        before = {name: a.copy() for name, a in self.arrays.items() if _short(a)}
        outs_before = [None if o is None else o.copy() for o in outs]
        try:
            got = self._results(**self.options | more)
        except self.errors as error:
            if self.function not in SIGNAL and not isinstance(error, MemoryError):
                name = "PreparedConv1d" if self.prepared else self.function
                assert str(error).startswith((f"{self.function}: ", f"{name}: ")), str(error)  # noqa: PT017
            for o, was in zip(outs, outs_before, strict=True):
                same(o, was)
        else:
            if self.expected is None:
                assert self.may_pass, "it was not refused"
            else:
                got = got if isinstance(got, tuple) else (got,)
                for i, (result, value) in enumerate(zip(got, self.expected, strict=True)):
                    if out is not None:
                        assert result is outs[i]
                        if accumulate and value is not None:
                            with np.errstate(all="ignore"):
                                value = outs_before[i] + value
                    same(result, value)
        for name, was in before.items():
            same(self.arrays[name], was)

    def _results(self, needs=(True, True, True), **options):
        if not self.prepared:
            if self.function.endswith("_backward"):
                options["needs"] = needs
            return getattr(cconv1d, self.function)(**self.arrays, **options)
        more = {name: options.pop(name) for name in ("out", "accumulate") if name in options}
        signals = dict(self.arrays)
        weight, bias = signals.pop("weight"), signals.pop("bias", None)
        layer = cconv1d.PreparedConv1d(weight, bias, **options)
        if self.expected and _short(signals["input"]):  # weights are packed for another length
            axis = -2 if options["layout"] == "NLC" and signals["input"].ndim > 1 else -1
            layer(np.repeat(signals["input"], 2, axis))
        if self.function == "conv1d":
            return layer(**signals, **more)
        return layer.backward(**signals, needs=needs, **more)

    def __repr__(self):
        named = {**self.arrays, **self.options}
        shown = ", ".join(f"{name}={_shown(value)}" for name, value in named.items())
        return f"{'prepared ' * self.prepared}{self.function}({shown})"


def _short(value):
    return isinstance(value, np.ndarray) and _count(value.shape) <= MOST


def _shown(value):
    if not isinstance(value, np.ndarray):
        return repr(value)
    return f"<{value.dtype}, shape {value.shape}, strides {value.strides}>"


def same(got, expected):
    """Equal numbers in the same dtype and shape."""
    if expected is None:
        assert got is None
        return
    assert got.dtype == expected.dtype, (got.dtype, expected.dtype)
    np.testing.assert_array_equal(got, expected)


def _count(shape):
    """Numbers in an array; an axis of length 0 counts as one, so that the others matter."""
    return prod(max(n, 1) for n in shape)


def a_geometry(choose, huge):
    """Numbers for `resolve`, many of them valid: length, taps, stride, padding, dilation, mode."""
    unit = choose(UNITS) if huge else 0

    def number(least, most):
        parts = choose((0, 0, 1, 2, 3, 4)) if huge else 0
        return choose(range(least, most + 1)) + (unit // parts if parts else 0)

    taps = choose((1, 2, 3, 4, 5, 9, 17, 130))
    stride, dilation, length = number(1, 5), number(1, 5), number(0, 20)
    if choose(BOTH):
        length += dilation * (taps - 1) + 1
    pads = number(0, 7), number(0, 7)
    padding = choose((pads[0], pads[0], pads, list(pads), (pads[1],), *WORDS))
    return length, taps, stride, padding, dilation, choose(PADDING_MODES)


def _convolution(choose, dtype, numbers, transposed):
    """A call of one of the functions of either convolution; None if it would be a long one.

    The transposed one is the other with the signals exchanged, and weights that it conjugates.
    """
    length, taps, stride, padding, dilation, mode = numbers
    axes = choose((3, 3, 2, 1))
    batch = choose((1, 2, 3, 0)) if axes == 3 else 1
    few = (1, 2, 3, 4, 8, 17, 0) if axes > 1 else (1,)
    groups, channels, outs = choose((1, 2, 3)) if axes > 1 else 1, choose(few), choose(few)
    each = axes == 3 and choose(FEW_TIMES)  # sample has weights of its own
    layout = choose(("NCL", "NLC"))
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    options |= {"groups": groups, "layout": layout}
    try:
        if transposed:
            extra = options["output_padding"] = choose((0, 0, 1, stride - 1, dilation))
            g = resolve_transposed("", length, taps, stride, padding, extra, dilation)
        else:
            options["padding_mode"] = mode
            g = resolve("", length, taps, stride, padding, dilation, mode)
    except ValueError:
        g = None
    lengths = g[:2] if g else (3, length) if transposed else (length, 3)
    x3, y3 = (batch, groups * channels, lengths[0]), (batch, groups * outs, lengths[1])
    taken, made = (y3, x3) if transposed else (x3, y3)
    backward = choose((False, True))
    too_many = g is not None and not backward and prod(made) >= TOO_MANY
    if not too_many and max(_count(made), _count(y3)) > MOST:
        return None

    x, dy = an_array(choose, taken, dtype), an_array(choose, made, dtype)
    w = an_array(choose, ((batch,) if each else ()) + (groups * outs, channels, taps), dtype)
    b = an_array(choose, ((batch,) if each and choose(BOTH) else ()) + made[1:2], dtype)
    if g and not too_many:
        w4 = np.broadcast_to(w, (batch, *w.shape[-3:]))
        if transposed:
            dx, y, dw = maps(dy, w4.conj(), x, g, groups)
            dw = dw.conj()
        else:
            y, dx, dw = maps(x, w4, dy, g, groups)
        db = _wide(dy).sum(-1)
        if not each:
            dw, db = dw.sum(0), db.sum(0)
    else:
        y = dx = dw = db = np.zeros((1, 1, 1))  # nothing, as it is refused

    def signal(array):
        array = array[(0,) * (3 - axes)]
        return array.swapaxes(-1, -2) if layout == "NLC" and axes > 1 else array

    def weight(array):
        return array[0, 0] if axes == 1 else array

    name = "conv_transpose1d" if transposed else "conv1d"
    short = _count(taken) <= MOST
    kind = choose(("", "", "_input", "_weight")) if not transposed else ""
    if not backward:
        given = {"input": signal(x), "weight": weight(w)}
        if choose((False, True)):
            given["bias"] = b
            y = y + _wide(b)[..., np.newaxis]
        results = (signal(y),)
    elif kind == "_input" and short:
        name, given = "conv1d_backward_input", {"grad_output": signal(dy), "weight": weight(w)}
        options["input_length"] = length
        results = (signal(dx),)
    elif kind == "_weight":
        name, given = "conv1d_backward_weight", {"grad_output": signal(dy), "input": signal(x)}
        options |= {"kernel_size": taps, "per_sample": each}
        results = (weight(dw),)
    else:
        name += "_backward"
        given = {"grad_output": signal(dy), "input": signal(x), "weight": weight(w)}
        needs = options["needs"] = short and choose(BOTH), *(choose(BOTH), choose(BOTH))
        results = (signal(dx), weight(dw), db)
        results = tuple(a if need else None for a, need in zip(results, needs, strict=True))
    if g is None:
        return Call(name, given, options, None, (ValueError,))
    if too_many:
        return Call(name, given, options, None, (MemoryError, ValueError))
    return Call(name, given, options, tuple(a if a is None else a.astype(dtype) for a in results))


def _slide(choose, dtype):
    """A call of `convolve` or `correlate` along an axis, with one kernel."""
    some = (1, 2, 3, 4, 8, 9, 20, 0)
    shape = *(choose((1, 2, 3)) for _ in range(choose((0, 1, 2)))), choose(some)
    a, v = an_array(choose, shape, dtype), an_array(choose, (choose(some),), dtype)
    name = choose(SIGNAL)
    axis = choose(range(-len(shape), len(shape)))
    mode = choose(("full", "same", "valid"))
    given, options = {"a": np.moveaxis(a, -1, axis), "v": v}, {"mode": mode, "axis": axis}
    if not a.shape[-1] or not v.size:
        return Call(name, given, options, None, (ValueError,))
    rows = [getattr(np, name)(_wide(row), _wide(v), mode) for row in a.reshape(-1, a.shape[-1])]
    y = np.moveaxis(np.reshape(rows, (*shape[:-1], -1)), -1, axis)
    return Call(name, given, options, (y.astype(dtype),))


def a_call(choose, dtypes=DTYPES, extreme=True):
    """A `Call`, or None where the choices make none that is worth making.

    One in four has an argument of any kind in the place of another, which may be refused.
    """
    dtype = choose(dtypes)
    family = choose(("conv1d", "conv1d", "conv_transpose1d", "signal"))
    if family == "signal":
        call = _slide(choose, dtype)
    else:
        huge = extreme and dtype in COMPILED and choose((False, False, True))
        numbers = a_geometry(choose, huge)
        call = _convolution(choose, dtype, numbers, family == "conv_transpose1d")
    if call is None:
        return None
    if call.function in ("conv1d", "conv1d_backward") and call.arrays["weight"].ndim < 4:
        call = call._replace(prepared=choose((False, False, True)))
    if choose((True, True, True, False)):
        return call
    arrays, options = dict(call.arrays), dict(call.options)
    if choose(BOTH):
        arrays[choose(sorted(arrays))] = choose(BAD_ARRAYS)
    else:
        options[choose(sorted(options))] = choose(GARBAGE)
    errors = (ValueError, TypeError, MemoryError)
    return call._replace(
        arrays=arrays, options=options, expected=None, errors=errors, may_pass=True
    )


def a_target(choose, call):
    """What the results of a call may be written or added to, of small integers; or None."""
    if not call.expected or call.function in SIGNAL or choose(BOTH):
        return None
    outs = tuple(
        None if value is None else WRITEABLE[choose(sorted(WRITEABLE))](np.full_like(value, 3))
        for value in call.expected
    )
    return outs if call.function.endswith("_backward") else outs[0]
