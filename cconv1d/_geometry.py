"""Where the positions are: padding words, output lengths and the checks on both.

Everything that needs to know which sample meets which tap takes it from here:
the public functions, the reference, the tests.  With ``span = dilation*(k-1) + 1``
the samples that one output reads are ``p*stride + j*dilation - pad_left`` for the
taps ``j = 0 .. k-1``, and

    output_length = (L + pad_left + pad_right - span) // stride + 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from typing import NamedTuple, SupportsIndex

__all__ = ["Geometry", "IntLike", "Padding", "conv1d_output_length", "integer", "resolve"]

IntLike = SupportsIndex | Sequence[SupportsIndex]
Padding = SupportsIndex | Sequence[SupportsIndex] | str

PADDING_WORDS = ("valid", "same", "same_lower", "causal", "full")

#: More samples than a processor can address today, and few enough that the kernels' products of
#: a position and a stride fit 64 bits.
MAX_SIZE = 2**48


class Geometry(NamedTuple):
    """Which sample meets which tap, in five integers; the right padding follows from them.

    `pad_left` may be negative inside the package (a map composed of others), never
    where a user gives it.
    """

    input_length: int
    output_length: int
    stride: int
    dilation: int
    pad_left: int


def integer(function: str, name: str, value: object, minimum: int) -> int:
    """`value` as an int from `minimum` to `MAX_SIZE`."""
    try:
        if isinstance(value, bool):
            raise TypeError
        number = index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{function}: {name} must be an integer, not {value!r}") from None
    if number < minimum:
        raise ValueError(f"{function}: {name} must be at least {minimum}, not {number}")
    if number > MAX_SIZE:
        raise ValueError(f"{function}: {name} must be at most 2**48, not {number}")
    return number


def _pads(
    function: str, padding: object, input_length: int, span: int, stride: int
) -> tuple[int, int]:
    """The padding on the left and on the right in samples."""
    if isinstance(padding, (tuple, list)) and len(padding) != 1:
        if len(padding) != 2:
            raise ValueError(
                f"{function}: padding must be an integer or a pair (left, right), not "
                f"{len(padding)} values: {padding!r}"
            )
        left, right = padding
        return (
            integer(function, "padding (left)", left, 0),
            integer(function, "padding (right)", right, 0),
        )
    if not isinstance(padding, str):
        both = integer(function, "padding", padding, 0)
        return both, both
    if padding == "valid":
        return 0, 0
    if padding == "causal":
        return span - 1, 0
    if padding == "full":
        return span - 1, span - 1
    if padding in ("same", "same_lower"):
        positions = -(-input_length // stride)
        total = max((positions - 1) * stride + span - input_length, 0)
        shorter = total // 2
        left = shorter if padding == "same" else total - shorter
        return left, total - left
    words = ", ".join(repr(word) for word in PADDING_WORDS)
    raise ValueError(
        f"{function}: padding must be an integer, a pair (left, right) or one of {words}, "
        f"not {padding!r}"
    )


def _alone(value: object) -> object:
    """The integer in a sequence of one: how PyTorch's layers keep stride, padding, dilation."""
    return value[0] if isinstance(value, (tuple, list)) and len(value) == 1 else value


def resolve(
    function: str,
    input_length: object,
    kernel_size: object,
    stride: object,
    padding: object,
    dilation: object,
) -> Geometry:
    """The geometry of a convolution, or the error that `function` owes its caller."""
    length = integer(function, "input_length", input_length, 0)
    taps = integer(function, "kernel_size", kernel_size, 1)
    step = integer(function, "stride", _alone(stride), 1)
    spacing = integer(function, "dilation", _alone(dilation), 1)
    span = spacing * (taps - 1) + 1
    left, right = _pads(function, _alone(padding), length, span, step)
    padded = length + left + right
    if max(span, padded) > MAX_SIZE:
        raise ValueError(
            f"{function}: lengths must be at most 2**48, but the padded input has {padded} "
            f"positions and the dilated kernel spans {span}"
        )
    if span > padded:
        raise ValueError(
            f"{function}: the padded input has {padded} positions but the dilated kernel spans "
            f"{span} (kernel_size {taps}, dilation {spacing}); "
            f"input length {length}, padding ({left}, {right})"
        )
    return Geometry(length, (padded - span) // step + 1, step, spacing, left)


def conv1d_output_length(
    input_length: SupportsIndex,
    kernel_size: SupportsIndex,
    stride: IntLike = 1,
    padding: Padding = 0,
    dilation: IntLike = 1,
) -> int:
    """Number of positions that `conv1d` returns.

    Parameters
    ----------
    input_length : int
        Number of samples, 0 or more.
    kernel_size : int
        Number of taps, 1 or more.
    stride : int, optional
        Distance in samples between neighbouring outputs.
    padding : int or (int, int) or str, optional
        Zeros on both sides, on the left and on the right, or one of the words that
        `conv1d` describes.
    dilation : int, optional
        Distance in samples between neighbouring taps.

    Returns
    -------
    int
        ``(input_length + pad_left + pad_right - dilation*(kernel_size - 1) - 1) // stride + 1``

    Raises
    ------
    TypeError
        If an argument is not an integer where one is needed.
    ValueError
        If an argument is out of range, or if the dilated kernel is longer than the
        padded input.

    Examples
    --------
    >>> from cconv1d import conv1d_output_length
    >>> conv1d_output_length(10, 3)
    8
    >>> conv1d_output_length(10, 3, stride=4, padding="same")
    3
    >>> conv1d_output_length(10, 3, padding="full", dilation=2)
    14
    """
    return resolve(
        "conv1d_output_length", input_length, kernel_size, stride, padding, dilation
    ).output_length
