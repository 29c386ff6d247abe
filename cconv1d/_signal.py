"""NumPy's `convolve` and `correlate`, for arrays of any rank along any axis.

Both return a part of one sum, in which x is the longer of the two and w the shorter, its taps

    full[i] = Σ_j w[j] · x[i − j]        i = 0 .. len(x) + len(w) − 2

and that is the map backward_input. It takes the samples that there are, and no zeros around
them: an infinite tap leaves alone the results that it does not reach, as in NumPy. For dtypes
without compiled maps, NumPy's own functions take the rows one by one. Nothing here warns of
overflow or NaN, whatever computes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from operator import index
from typing import Any, Literal, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike

from ._arrays import Array, check_method_dtype, is_bfloat16
from ._backend import REFERENCE, kernels_for
from ._execute import empty
from ._geometry import AUTO, AUTO_NUMBER, DIRECT, METHODS, Geometry, Method, method_number
from ._kernels import BACKWARD_INPUT
from ._methods import choose
from ._plans import Plan, Shape
from ._usual import usual_calls

__all__ = ["convolve", "correlate"]

Mode = Literal["full", "same", "valid"] | SupportsIndex

#: Kinds of dtypes that have sums of products; and bfloat16, which has a kind of its own.
KINDS = "fciubO"

#: NumPy's own, also where others have taken their place in its namespace.
NUMPY: dict[str, Callable[..., Array]] = {"convolve": np.convolve, "correlate": np.correlate}

#: In the order of the integers that NumPy takes for them.
MODES = ("valid", "same", "full")


def convolve(
    a: ArrayLike,
    v: ArrayLike,
    mode: Mode = "full",
    *,
    axis: SupportsIndex = -1,
    method: Method = "direct",
) -> Array:
    """Convolve signals with kernels along an axis: `numpy.convolve` for arrays of any rank.

    For a signal a and a kernel v, both zero outside of their samples::

        full[i] = sum over j of v[j] * a[i - j]

    Parameters
    ----------
    a : array_like, shape (..., N, ...)
        Signals of N samples along `axis`. Any strides; it is not modified.
    v : array_like, shape (M,) or (..., M)
        The taps of a kernel along the last axis, whatever `axis` is. Leading axes broadcast
        against the axes of `a` other than `axis`, so that each signal may have its own kernel,
        or one signal many.
    mode : {"full", "same", "valid"}, optional
        Which part is returned:

        - "full": every overlap of the two, N + M - 1 positions
        - "same": max(N, M) positions, from position (min(N, M) - 1) // 2 of "full" on
        - "valid": max(N, M) - min(N, M) + 1 positions, where the shorter one overlaps the
          longer one completely

        or one of the integers that NumPy takes in their place.
    axis : int, optional
        The axis of `a` along which its samples lie.
    method : {"direct", "fft", "fast", "auto"}, optional
        How it is computed. "fast" is for three taps, and for `conv1d` of many channels; "fft": by
        transforms, which takes less time from some 100 taps on; of
        floating-point and complex numbers, and up to 2**20 taps. "auto": by transforms where they
        are certain to take less time. See the notes of `conv1d`.

    Returns
    -------
    ndarray
        The leading axes of `v` broadcast against the other axes of `a`, and the positions where
        `a` has its samples, counted from the last axis. It has the dtype that NumPy promotes those
        of `a` and `v` to, and need not be contiguous.

    Raises
    ------
    TypeError
        If an array holds neither numbers nor objects, or `mode` or `axis` is of a wrong type.
    ValueError
        If `a` or `v` has no samples, the axes do not broadcast, there is no such mode, axis or
        method, or the method does not take such arrays.
    MemoryError
        If there is no room for the result.

    See Also
    --------
    correlate : The same with `v` conjugated and reversed.
    conv1d : Channels, stride and dilation, with gradients.

    Notes
    -----
    For 1-D arguments the result is that of `numpy.convolve`, floating-point numbers to within
    rounding. What `conv1d` has compiled is compiled here, and neither argument is copied, unless
    it has another dtype than the result, or is unaligned or not in native byte order. Everything
    else, from truth values to objects, is computed by `numpy.convolve` itself, row by row. There
    are no warnings of overflow and NaN.

    A row of a result has the bits that it would have alone, unless several kernels meet one
    signal: those are summed side by side, in less time.

    Subclasses of ndarray are taken for plain arrays, as in `conv1d`.

    Examples
    --------
    >>> import numpy as np
    >>> from cconv1d import convolve
    >>> convolve([1.0, 2.0, 3.0], [0.0, 1.0, 0.5])
    array([0. , 1. , 2.5, 4. , 1.5])
    >>> convolve([1.0, 2.0, 3.0], [0.0, 1.0, 0.5], "same")
    array([1. , 2.5, 4. ])

    Two recordings smoothed over time, which is their first axis:

    >>> recordings = np.array([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]])
    >>> convolve(recordings, [0.5, 0.5], "valid", axis=0)
    array([[ 1.5, 15. ],
           [ 2.5, 25. ]])

    One signal, two kernels:

    >>> convolve([1.0, 2.0, 3.0], [[1.0, 1.0], [1.0, -1.0]], "valid")
    array([[3., 5.],
           [1., 1.]])
    """
    if axis == -1 and (method is DIRECT or method is AUTO):
        usual = usual_convolve.slide(a, v, mode, False)
        if usual is not None:
            return usual
    return convolve_any("convolve", a, v, mode, axis, method)


def correlate(
    a: ArrayLike,
    v: ArrayLike,
    mode: Mode = "valid",
    *,
    axis: SupportsIndex = -1,
    method: Method = "direct",
) -> Array:
    """Correlate signals with kernels along an axis: `numpy.correlate` for arrays of any rank.

    For a signal a and a kernel v, both zero outside of their samples::

        c[i] = sum over j of conj(v[j]) * a[i + j]

    Parameters
    ----------
    a : array_like, shape (..., N, ...)
        Signals of N samples along `axis`. Any strides; it is not modified.
    v : array_like, shape (M,) or (..., M)
        The taps of a kernel along the last axis, whatever `axis` is. Leading axes broadcast
        against the axes of `a` other than `axis`, so that each signal may have its own kernel,
        or one signal many.
    mode : {"valid", "same", "full"}, optional
        Which part is returned, always in the order of i:

        - "full": every overlap of the two, i = -(M - 1) .. N - 1
        - "same": max(N, M) positions; i = -(M // 2) .. where N >= M,
          else i = -(M - 1) + N // 2 ..
        - "valid": max(N, M) - min(N, M) + 1 positions, where the shorter one overlaps the
          longer one completely

        or one of the integers that NumPy takes in their place.
    axis : int, optional
        The axis of `a` along which its samples lie.
    method : {"direct", "fft", "fast", "auto"}, optional
        How it is computed. "fast" is for three taps, and for `conv1d` of many channels; "fft": by
        transforms, which takes less time from some 100 taps on; of
        floating-point and complex numbers, and up to 2**20 taps. "auto": by transforms where they
        are certain to take less time. See the notes of `conv1d`.

    Returns
    -------
    ndarray
        As `convolve` returns.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As `convolve`; and ValueError for an argument without axes, as in NumPy.

    See Also
    --------
    convolve : The same with `v` reversed and not conjugated; its notes hold here, too.

    Notes
    -----
    Exchanging `a` and `v` conjugates the result and reverses it. Objects are not conjugated,
    as in NumPy. Complex `v` that are longer than `a` are copied to conjugate them.

    Subclasses of ndarray are taken for plain arrays, as in `conv1d`.

    Examples
    --------
    >>> import numpy as np
    >>> from cconv1d import correlate
    >>> correlate([1.0, 2.0, 3.0], [0.0, 1.0, 0.5])
    array([3.5])
    >>> correlate([1.0, 2.0, 3.0], [0.0, 1.0, 0.5], "same")
    array([2. , 3.5, 3. ])
    >>> correlate([1 + 1j, 2, 3 - 1j], [0, 1, 0.5j], "full")
    array([0.5-0.5j, 1. +0.j , 1.5-1.5j, 3. -1.j , 0. +0.j ])

    Where in each of two channels their own pattern lies:

    >>> channels = np.array([[0, 1, 2, 0, 0], [0, 0, 0, 2, 1]])
    >>> patterns = np.array([[1, 2], [2, 1]])
    >>> correlate(channels, patterns).argmax(axis=1)
    array([1, 3])
    """
    if axis == -1 and (method is DIRECT or method is AUTO):
        usual = usual_correlate.slide(a, v, mode, True)
        if usual is not None:
            return usual
    return convolve_any("correlate", a, v, mode, axis, method)


usual_convolve = usual_calls(BACKWARD_INPUT, "x", transposed=True)
usual_correlate = usual_calls(BACKWARD_INPUT, "x")

# --- arguments ------------------------------------------------------------------------------


def as_array(function: str, name: str, value: ArrayLike) -> Array:
    """`value` as an array of numbers or objects with at least one axis."""
    if value is None:
        raise TypeError(f"{function}: {name} must be an array, not None")
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{function}: {name} is not a rectangular array: {error}") from None
    if array.dtype.kind not in KINDS and not is_bfloat16(array.dtype):
        raise TypeError(f"{function}: {name} must hold numbers or objects, not {array.dtype}")
    if array.ndim == 0:
        if function == "correlate":
            raise ValueError(f"{function}: {name} must have at least one axis, not {value!r}")
        array = array.reshape(1)
    return array


def operands(function: str, a: ArrayLike, v: ArrayLike) -> tuple[Array, Array, np.dtype[Any]]:
    """Both as aligned arrays of the dtype that NumPy promotes theirs to, which comes third.

    A copy is made of lists, of unaligned data and of other dtypes, the other byte order among
    them.
    """
    if (  # the usual case, quickly
        type(a) is type(v) is np.ndarray
        and (dtype := a.dtype) is v.dtype
        and dtype.isnative
        and dtype.kind in KINDS
        and a.flags.aligned
        and v.flags.aligned
        and a.ndim
        and v.ndim
    ):
        return a, v, dtype
    x, w = as_array(function, "a", a), as_array(function, "v", v)
    try:
        dtype = np.promote_types(x.dtype, w.dtype)
    except TypeError:
        raise TypeError(
            f"{function}: NumPy promotes a of dtype {x.dtype} and v of dtype {w.dtype} to no "
            f"dtype that holds both"
        ) from None
    with np.errstate(all="ignore"):
        return np.require(x, dtype, "A"), np.require(w, dtype, "A"), dtype


def axis_from_end(function: str, axis: SupportsIndex, ndim: int) -> int:
    """The place of an axis, counted from the last one, which is -1."""
    try:
        place = index(axis)
    except TypeError:
        raise TypeError(f"{function}: axis must be an integer, not {axis!r}") from None
    if not -ndim <= place < ndim:
        raise np.exceptions.AxisError(place, ndim, function)
    return place % ndim - ndim


def mode_word(function: str, mode: object) -> str:
    """The word for a mode that is not one: what else there is, the installed NumPy knows."""
    try:
        length = len(NUMPY["correlate"]([0, 0, 0], [0, 0], mode))
    except (TypeError, ValueError) as error:
        raise type(error)(
            f"{function}: mode must be 'full', 'same' or 'valid' or NumPy's integer for it, "
            f"not {mode!r}"
        ) from None
    return MODES[length - 2]


@lru_cache(maxsize=1024)
def mode_geometry(function: str, samples: int, taps: int, mode: str) -> Geometry:
    """The part of "full" that `mode` means, in the terms of the map backward_input."""
    if samples == 0 or taps == 0:
        raise ValueError(f"{function}: {'a' if samples == 0 else 'v'} cannot be empty")
    longer, shorter = max(samples, taps), min(samples, taps)
    if mode == "full":
        start, length = 0, longer + shorter - 1
    elif mode == "valid":
        start, length = shorter - 1, longer - shorter + 1
    else:
        start, length = (shorter - 1) // 2, longer
        if function == "correlate" and taps > samples:
            start = shorter // 2  # NumPy turns the result round, and with it an odd position
    return Geometry(length, longer, 1, 1, start)


# --- the sums -------------------------------------------------------------------------------


def convolve_any(
    function: str,
    a: ArrayLike,
    v: ArrayLike,
    mode: object,
    axis: SupportsIndex,
    method: object = DIRECT,
) -> Array:
    """`convolve`, or `correlate`, which convolves with `v` conjugated and reversed."""
    x, w, dtype = operands(function, a, v)
    axis = axis_from_end(function, axis, x.ndim)
    if axis != -1:
        x = np.moveaxis(x, axis, -1)
    if type(mode) is not str or mode not in MODES:
        mode = mode_word(function, mode)
    part = mode_geometry(function, x.shape[-1], w.shape[-1], mode)
    if method is not DIRECT:
        number = method_number(function, method, min(x.shape[-1], w.shape[-1]))
        if number == AUTO_NUMBER:
            taps = min(x.shape[-1], w.shape[-1])
            number = METHODS.index(choose(dtype, 1, 1, taps, 1, part).method)
        part = part._replace(method=number)
    if part.method:
        check_method_dtype(function, METHODS[part.method], dtype)
    kernels = kernels_for(dtype)
    if kernels is REFERENCE and not part.method:
        return call_numpy(function, x, w, mode, axis, part.input_length)

    is_1d = x.ndim == w.ndim == 1
    if is_1d and not part.method:
        learn(function, x.shape, w.shape, mode, part)
    conjugate = dtype.kind == "c"  # what the map conjugates, once more
    if function == "correlate":
        w = w[..., ::-1]
        if w.shape[-1] > x.shape[-1]:
            w = w.conj()  # it becomes the signal
        else:
            conjugate = False
    rows: tuple[int, ...] = ()
    if not is_1d:
        x, w, rows = broadcast_rows(function, x, w)
    if w.shape[-1] > x.shape[-1]:
        x, w = w, x
    kernel = kernels.backward_input
    if conjugate:
        kernel = partial(kernel, conjugate=True)
    y = empty(function, (*rows, part.input_length), dtype)
    if is_1d:
        kernel(x[None, None], w[None, None], y[None, None], part, 1)
        return y
    if y.size:
        call_by_rows(kernel, x, w, y, part)
    return y if axis == -1 else np.moveaxis(y, -1, axis)


def learn(function: str, a: Shape, v: Shape, mode: str, part: Geometry) -> None:
    """Let the next call of this kind be a usual one (see `UsualCalls.slide`)."""
    usual = usual_correlate if function == "correlate" else usual_convolve
    longer, shorter = max(a, v), min(a, v)
    products = longer[0] * shorter[0]
    plan = Plan((part.input_length,), shorter, longer, (1,), part, 1, False, False, products)
    usual.learn((a, v), (mode,), plan)


@np.errstate(all="ignore")
def call_numpy(function: str, a: Array, v: Array, mode: str, axis: int, length: int) -> Array:
    """What is not compiled is left to NumPy, row by row: the reference would be slower."""
    if is_bfloat16(a.dtype):  # summed in float32 and rounded once, as where it is compiled
        wide = a.astype(np.float32), v.astype(np.float32)
        return call_numpy(function, *wide, mode, axis, length).astype(a.dtype)
    if a.ndim == v.ndim == 1:
        return NUMPY[function](a, v, mode)
    a, v, rows = broadcast_rows(function, a, v)
    a, v = (np.broadcast_to(array, (*rows, array.shape[-1])) for array in (a, v))
    y = empty(function, (*rows, length), np.result_type(a, v))
    for i in np.ndindex(rows):
        y[i] = NUMPY[function](a[i], v[i], mode)
    return np.moveaxis(y, -1, axis)


def broadcast_rows(function: str, a: Array, v: Array) -> tuple[Array, Array, tuple[int, ...]]:
    """Both with as many axes, of which all but the last broadcast to those that come third."""
    rank = max(a.ndim, v.ndim)
    a, v = a[(None,) * (rank - a.ndim)], v[(None,) * (rank - v.ndim)]
    pairs = list(zip(a.shape[:-1], v.shape[:-1], strict=True))
    if any(n != m and n != 1 and m != 1 for n, m in pairs):
        raise ValueError(
            f"{function}: the axes of v before its taps do not broadcast with those of a beside "
            f"its samples: their lengths are {v.shape[:-1]} and {a.shape[:-1]}"
        )
    return a, v, tuple(m if n == 1 else n for n, m in pairs)


def strides_or_0(array: Array) -> list[int]:
    """Strides, 0 along axes of length 1."""
    return [step if n > 1 else 0 for n, step in zip(array.shape, array.strides, strict=True)]


def call_by_rows(kernel: Callable[..., None], x: Array, w: Array, y: Array, part: Geometry) -> None:
    """Fill the rows of `y`, as many of them in a call of the kernel as its arguments can say.

    Those are one axis along which there is one `w`, the batch, and one along which it varies:
    groups or, where there is one `x`, channels of a group. Python goes through the other axes, so
    the longest of either kind are taken, after neighbours that every array steps through evenly
    have become one axis. Nothing is copied.
    """
    axis = 0
    while axis < y.ndim - 2:
        outer, inner = y.shape[axis : axis + 2]
        steps = [strides_or_0(array)[axis : axis + 2] for array in (x, w, y)]
        if outer == 1 or inner == 1 or all(far == near * inner for far, near in steps):
            x, w, y = (
                array.reshape(*array.shape[:axis], -1, *array.shape[axis + 2 :])
                for array in (x, w, y)
            )
        else:
            axis += 1

    rows = sorted(range(y.ndim - 1), key=y.shape.__getitem__)
    shared = [i for i in rows if w.shape[i] == 1]
    varied = [i for i in rows if w.shape[i] != 1]
    order = (*shared[:-1], *varied[:-1], *shared[-1:], *varied[-1:], -1)
    x, w, y = (array.transpose(order) for array in (x, w, y))
    if not varied:
        x, w, y = (array[..., None, :] for array in (x, w, y))
    if not shared:
        x, w, y = (array[..., None, :, :] for array in (x, w, y))
    groups = x.shape[-2]
    w = w.swapaxes(-3, -2) if groups > 1 else w  # one `w` along the batch, so an axis to spare
    outer = y.shape[:-3]
    if not outer:  # as a rule
        kernel(x, w, y, part, groups)
        return
    x, w = (np.broadcast_to(array, (*outer, *array.shape[-3:])) for array in (x, w))
    for i in np.ndindex(outer):
        kernel(x[i], w[i], y[i], part, groups)
