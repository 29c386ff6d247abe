"""What callers give as arrays: NumPy arrays of one dtype, in native byte order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
ndarray = np.ndarray

#: Numeric dtypes in native byte order; `_backend` adds bfloat16 when it has seen it.
READY = {np.dtype(char) for char in np.typecodes["AllInteger"] + np.typecodes["AllFloat"]}


def is_bfloat16(dtype: np.dtype[Any]) -> bool:
    """That of ml_dtypes, which NumPy itself does not know."""
    return dtype.kind == "V" and dtype.name == "bfloat16"


def from_sequence(function: str, name: str, value: object, dtype: np.dtype[Any]) -> Array:
    """Nested lists of numbers as an array of `dtype`, refused where that is another kind."""
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{function}: {name} is not a rectangular array: {error}") from None
    integers = array.dtype.kind in "iu" and dtype.kind in "iu"
    alike = np.dtype(np.float16) if is_bfloat16(dtype) else dtype
    if not (
        integers or (array.dtype.kind in "iufc" and np.can_cast(array.dtype, alike, "same_kind"))
    ):
        raise TypeError(f"{function}: {name} holds {array.dtype}, which does not go into {dtype}")
    converted = array.astype(dtype)
    if integers and not np.array_equal(converted, array):
        raise ValueError(
            f"{function}: {name} holds numbers from {array.min()} to {array.max()}, which do not "
            f"all go into {dtype}"
        )
    return converted


def same_dtype(first: Any, second: Any) -> bool:
    """Whether two arguments are what `as_arrays` would return: the usual case, quickly."""
    return (
        type(first) is ndarray is type(second)
        and first.dtype is second.dtype
        and first.dtype in READY
    )


def as_arrays(function: str, **arguments: Any) -> Sequence[Any]:
    """The arguments as arrays of one dtype in native byte order.

    A copy is made of lists and of data in the other byte order, and of nothing else.
    """
    arrays: dict[str, Array] = {}
    for name, value in arguments.items():
        if isinstance(value, (list, tuple, int, float, complex)):
            continue
        array = np.asarray(value)
        if array.dtype.kind not in "iufc" and not is_bfloat16(array.dtype):
            raise TypeError(
                f"{function}: {name} must hold integers, real or complex numbers, not {array.dtype}"
                if value is not None
                else f"{function}: {name} must be an array, not None"
            )
        if not array.dtype.isnative:
            array = array.astype(array.dtype.newbyteorder("="))
        arrays[name] = array
    dtypes = {array.dtype for array in arrays.values()}
    if len(dtypes) > 1:
        seen = ", ".join(f"{name} {array.dtype}" for name, array in arrays.items())
        raise TypeError(f"{function}: all arrays must have one dtype, not {seen}")
    dtype = dtypes.pop() if dtypes else np.dtype(np.float64)
    return [
        arrays[name] if name in arrays else from_sequence(function, name, value, dtype)
        for name, value in arguments.items()
    ]


def rounds(dtype: np.dtype[Any]) -> bool:
    """Whether sums of such numbers are rounded."""
    return dtype.kind in "fc" or is_bfloat16(dtype)


def accumulator(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype in which such numbers are summed, before results are rounded."""
    return np.dtype(np.float32) if dtype == np.float16 or is_bfloat16(dtype) else dtype


def check_method_dtype(function: str, method: str, dtype: np.dtype[Any]) -> None:
    """Refuse to round what is exact."""
    if not rounds(dtype):
        raise ValueError(
            f"{function}: method {method!r} rounds, so it takes floating-point and complex numbers "
            f"only, not {dtype}"
        )
