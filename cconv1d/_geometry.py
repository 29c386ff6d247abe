"""Where the positions are: padding words, output lengths and the checks on both.

Everything that needs to know which sample meets which tap takes it from here:
the public functions, the reference, the tests.  With ``span = dilation*(k-1) + 1``
the samples that one output reads are ``p*stride + j*dilation - pad_left`` for the
taps ``j = 0 .. k-1``, and

    output_length = (L + pad_left + pad_right - span) // stride + 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd
from operator import index
from typing import Literal, NamedTuple, SupportsIndex, get_args

import numpy as np

__all__ = [
    "Geometry",
    "IntLike",
    "Method",
    "Padding",
    "PaddingMode",
    "PaddingWord",
    "Pads",
    "StreamGeometry",
    "check_options",
    "conv1d_output_length",
    "conv_transpose1d_output_length",
    "integer",
    "method_number",
    "resolve",
    "resolve_stream",
    "resolve_transposed",
    "without_stride",
]

IntLike = SupportsIndex | Sequence[SupportsIndex]
Pads = SupportsIndex | Sequence[SupportsIndex]
PaddingWord = Literal["valid", "same", "same_lower", "causal", "full"]
Padding = Pads | PaddingWord
PaddingMode = Literal["zeros", "reflect", "replicate", "circular"]

Method = Literal["direct", "fft", "fast", "auto"]

PADDING_WORDS: tuple[str, ...] = get_args(PaddingWord)

#: What the samples beyond the ends are; a `Geometry` holds the place in this tuple.
PADDING_MODES: tuple[str, ...] = get_args(PaddingMode)

#: How a sum is computed; a `Geometry` holds the place in this tuple. The compiled side knows the
#: first three: what "auto" is, `_methods` says before.
METHODS: tuple[str, ...] = get_args(Method)

#: The default, and what chooses, as objects to compare with.
DIRECT, AUTO = METHODS[0], METHODS[3]

#: Their places.
FFT_NUMBER, FAST_NUMBER, AUTO_NUMBER = 1, 2, 3

#: The longest kernel that there are transforms for.
FFT_MAX_TAPS = 2**20

#: The taps that minimal filtering is for, of a kernel or of a signal that a stride makes.
FAST_TAPS = 3

#: More samples than a processor can address today, and few enough that the kernels' products of
#: a position and a stride fit 64 bits.
MAX_SIZE = 2**48


class Geometry(NamedTuple):
    """Which sample meets which tap, and how they are summed, in seven integers.

    The right padding follows from the others.

    `pad_left` may be negative inside the package (a map composed of others), never
    where a user gives it.
    """

    input_length: int
    output_length: int
    stride: int
    dilation: int
    pad_left: int
    mode: int = 0  # of PADDING_MODES
    method: int = 0  # of METHODS


def integer(function: str, name: str, value: object, minimum: int, kind: str = "an integer") -> int:
    """`value` as an int from `minimum` to `MAX_SIZE`, which is what is meant by `kind`."""
    try:
        if isinstance(value, (bool, np.bool)):  # older NumPy takes its own as an index
            raise TypeError
        number = index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{function}: {name} must be {kind}, not {value!r}") from None
    if number < minimum:
        raise ValueError(f"{function}: {name} must be at least {minimum}, not {number}")
    if number > MAX_SIZE:
        raise ValueError(f"{function}: {name} must be at most 2**48, not {number}")
    return number


PAIR = "an integer or a pair (left, right)"
PAIR_OR_WORD = "an integer, a pair (left, right) or one of " + ", ".join(map(repr, PADDING_WORDS))


def _sides(function: str, padding: object, kind: str) -> tuple[int, int]:
    """The padding on the left and on the right in samples, from a number or a pair."""
    if isinstance(padding, (tuple, list)) and len(padding) != 1:
        if len(padding) != 2:
            raise ValueError(
                f"{function}: padding must be {kind}, not {len(padding)} values: {padding!r}"
            )
        left, right = padding
        return (
            integer(function, "padding (left)", left, 0),
            integer(function, "padding (right)", right, 0),
        )
    both = integer(function, "padding", padding, 0, kind)
    return both, both


def _pads(
    function: str, padding: object, input_length: int, span: int, stride: int
) -> tuple[int, int]:
    """The padding on the left and on the right in samples."""
    if not isinstance(padding, str):
        return _sides(function, padding, PAIR_OR_WORD)
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
    raise ValueError(f"{function}: padding must be {PAIR_OR_WORD}, not {padding!r}")


def unwrap_single(value: object) -> object:
    """The integer in a sequence of one: how PyTorch's layers keep stride, padding, dilation."""
    return value[0] if isinstance(value, (tuple, list)) and len(value) == 1 else value


def _mode(function: str, mode: object) -> str:
    """A padding mode, if it is one."""
    if not isinstance(mode, str):
        raise TypeError(f"{function}: padding_mode must be a string, not {mode!r}")
    if mode not in PADDING_MODES:
        words = ", ".join(repr(word) for word in PADDING_MODES)
        raise ValueError(f"{function}: padding_mode must be one of {words}, not {mode!r}")
    return mode


def _check_mode(function: str, mode: str, length: int, left: int, right: int) -> None:
    """Refuse an input that is too short for the padding."""
    limits = {
        "reflect": (length - 1, f"below the input length {length}"),
        "circular": (length, f"at most the input length {length}"),
    }
    if mode in limits:
        most, words = limits[mode]
        if max(left, right) > max(most, 0):
            raise ValueError(
                f"{function}: padding_mode {mode!r} takes padding {words} on each side, "
                f"not ({left}, {right})"
            )
    if mode == "replicate" and length == 0 and left + right > 0:
        raise ValueError(
            f"{function}: padding_mode 'replicate' takes an input of at least 1 sample, "
            f"but the input length is 0 and padding ({left}, {right})"
        )


def without_stride(taps: int, stride: int, dilation: int) -> tuple[int, int, int]:
    """As how many signals a stride takes a channel, and the taps and the dilation of these."""
    common = gcd(stride, dilation)
    period = stride // common
    return min(period, taps), -(-taps // period), dilation // common


def method_number(
    function: str, method: object, taps: object, stride: int = 1, dilation: int = 1
) -> int:
    """The place of a method in METHODS, if it takes such a kernel."""
    if not isinstance(method, str) or method not in METHODS:
        kind = ValueError if isinstance(method, str) else TypeError
        raise kind(f"{function}: method must be 'direct', 'fft', 'fast' or 'auto', not {method!r}")
    number = METHODS.index(method)
    taps = integer(function, "kernel_size", taps, 1)
    if number == FFT_NUMBER and taps > FFT_MAX_TAPS:
        raise ValueError(
            f"{function}: method 'fft' takes kernels of at most 2**20 taps, not {taps}"
        )
    if number == FAST_NUMBER:
        signal_taps = without_stride(taps, stride, dilation)[1]
        if signal_taps != FAST_TAPS:
            met = "taps" if stride == 1 else f"taps to a residue of stride {stride}"
            raise ValueError(
                f"{function}: method 'fast' takes kernels of 3 {met}, but kernel_size {taps} has "
                f"{signal_taps}"
            )
    return number


def check_options(
    function: str, stride: object, padding: object, dilation: object, padding_mode: object
) -> tuple[int, object, int, str]:
    """What can be told of options without an input, which are returned as `resolve` has them.

    That is integers and pairs of them, in objects that cannot change.
    """
    stride = integer(function, "stride", unwrap_single(stride), 1)
    dilation = integer(function, "dilation", unwrap_single(dilation), 1)
    padding = unwrap_single(padding)
    pads = _pads(function, padding, 0, 1, 1)
    padding = padding if isinstance(padding, str) else pads
    return stride, padding, dilation, _mode(function, padding_mode)


def resolve(
    function: str,
    input_length: object,
    kernel_size: object,
    stride: object,
    padding: object,
    dilation: object,
    padding_mode: object = "zeros",
) -> Geometry:
    """The geometry of a convolution, or the error that `function` owes its caller."""
    length = integer(function, "input_length", input_length, 0)
    taps = integer(function, "kernel_size", kernel_size, 1)
    stride = integer(function, "stride", unwrap_single(stride), 1)
    dilation = integer(function, "dilation", unwrap_single(dilation), 1)
    span = dilation * (taps - 1) + 1
    left, right = _pads(function, unwrap_single(padding), length, span, stride)
    mode = _mode(function, padding_mode)
    _check_mode(function, mode, length, left, right)
    padded = length + left + right
    if span > padded or padded > MAX_SIZE:
        limit = "lengths must be at most 2**48, but " if max(span, padded) > MAX_SIZE else ""
        raise ValueError(
            f"{function}: {limit}the padded input has {padded} positions "
            f"{'and' if limit else 'but'} the dilated kernel spans {span} "
            f"(kernel_size {taps}, dilation {dilation}); "
            f"input length {length}, padding ({left}, {right})"
        )
    mode_number = PADDING_MODES.index(mode)
    return Geometry(length, (padded - span) // stride + 1, stride, dilation, left, mode_number)


def resolve_transposed(
    function: str,
    input_length: object,
    kernel_size: object,
    stride: object,
    padding: object,
    output_padding: object,
    dilation: object,
) -> Geometry:
    """The geometry of the `conv1d` from the output of a transposed convolution to its input."""
    length = integer(function, "input_length", input_length, 1)
    taps = integer(function, "kernel_size", kernel_size, 1)
    stride = integer(function, "stride", unwrap_single(stride), 1)
    dilation = integer(function, "dilation", unwrap_single(dilation), 1)
    extra = integer(function, "output_padding", unwrap_single(output_padding), 0)
    if isinstance(padding, str):
        raise ValueError(f"{function}: padding must be {PAIR}, not {padding!r}")
    left, right = _sides(function, unwrap_single(padding), PAIR)
    if extra >= max(stride, dilation):
        raise ValueError(
            f"{function}: output_padding must be less than stride or dilation, but it is {extra}, "
            f"stride {stride}, dilation {dilation}"
        )
    whole = (length - 1) * stride + dilation * (taps - 1) + 1 + extra
    made_by = (
        f"the output length without padding for input length {length}, kernel_size {taps}, "
        f"stride {stride}, dilation {dilation}, output_padding {extra}"
    )
    if whole > MAX_SIZE:
        raise ValueError(
            f"{function}: lengths must be at most 2**48, but there are {whole} positions, which "
            f"is {made_by}"
        )
    if whole - left - right < 1:
        raise ValueError(
            f"{function}: padding ({left}, {right}) leaves nothing of {whole} positions, which is "
            f"{made_by}"
        )
    return Geometry(whole - left - right, length, stride, dilation, left)


#: The most outputs that a stream computes at once by transforms.
MAX_HOP = 2**20


class Partition(NamedTuple):
    """How a kernel is cut into parts whose transforms meet those of blocks of samples.

    A hop of outputs reads `parts` of them, of `part` taps each, a whole number of hops where there
    are several, and for each a block of ``part + hop - 1`` samples.
    """

    hop: int
    log_points: int  # of the half of a block, filled up to a power of two
    part: int
    parts: int


#: What it takes to transform a number of a block there and back, for each bit of its length, and
#: to multiply two. On a Zen 5 with avx512 a hop of 128 of one channel takes .97, 1.4 and 2.1 us by
#: 4096 taps and blocks of 512, 1024 and 2048 samples, 1.9, 2.2 and 2.9 us by 16384 taps; one of 8
#: channels to 8 and 4096 taps 18, 20 and 28.
TRANSFORM_COST, PRODUCT_COST = 3, 2
#: The least and the most of `log_points`, as transforms.h has them.
LOG_POINTS = 8, 20


def partition(span: int, hop: int, channels: int, outs: int) -> Partition:
    """The parts that take the least time, for the channels of a group on both sides."""
    best, least = Partition(0, 0, 0, 0), 0
    for log_points in range(LOG_POINTS[0], LOG_POINTS[1] + 1):
        block = 2 << log_points
        if span + hop - 1 <= block:
            part, parts = span, 1
        else:
            hops = (block - hop + 1) // hop
            if hops < 1:
                continue
            part = -(-span // (-(-span // (hops * hop)) * hop)) * hop
            parts = -(-span // part)
        transforms = TRANSFORM_COST * (channels + outs) * log_points
        cost = (transforms + PRODUCT_COST * channels * outs * parts) << log_points
        if not least or cost < least:
            best, least = Partition(hop, log_points, part, parts), cost
        if parts == 1:
            break
    return best


class StreamGeometry(NamedTuple):
    """Which outputs are known after how many samples, and which samples they need.

    An output is known once all samples that it reads have come, so that no sum is ever begun before
    it can be ended; where outputs are computed by transforms, once all of its hop are. For a
    convolution, output p reads the samples from ``p*stride - left`` on, `span` of them. For a
    transposed one, output q reads the samples p with ``0 <= q + left - p*stride < span``.
    """

    stride: int
    span: int
    left: int
    right: int
    mode: str
    transposed: bool
    partition: Partition | None = None

    @property
    def hop(self) -> int:
        """How many outputs become known at once, at stride 1."""
        return 1 if self.partition is None else self.partition.hop

    @property
    def held_back(self) -> int:
        """Outputs of a transposed convolution that the next sample, or the end, may change.

        Of a signal that ends now, `right` outputs are left out, which may be more than those that
        the next sample adds to.
        """
        return max(0, self.stride + self.right - self.span)

    @property
    def history(self) -> int:
        """The samples before the present one that outputs to come may read."""
        if self.transposed:
            read = (self.held_back + self.span - 1) // self.stride
            return max(read, -(-self.held_back // self.stride))
        padded = max(self.left, self.right + 1 if self.right else 0)
        read = self.span
        if self.partition is not None:  # bits depend on all that blocks hold
            read = self.partition.part * self.partition.parts
        return max(
            read + self.hop - 2,
            padded if self.mode == "reflect" else 0,
            1 if self.mode == "replicate" and padded else 0,
        )

    @property
    def latency(self) -> int:
        """The most samples behind an output's own that must have come before it is known.

        Its own is the one that meets the first tap without padding: sample p*stride for output p,
        sample q // stride for output q of a transposed convolution.
        """
        if self.transposed:
            return -(-(self.left + self.held_back) // self.stride)
        latency = self.span + self.hop - 2 - self.left
        return max(latency, self.left) if self.mode == "reflect" else latency

    def known(self, samples: int) -> int:
        """How many outputs are known after so many samples."""
        if samples == 0 or (self.mode == "reflect" and samples <= self.left):
            return 0
        if self.transposed:
            return max(samples * self.stride - self.left - self.held_back, 0)
        beyond = samples + self.left - self.span
        known = beyond // self.stride + 1 if beyond >= 0 else 0
        return known // self.hop * self.hop

    def whole(self, function: str, samples: int) -> int:
        """How many outputs a signal of so many samples has; none where `conv1d` would refuse."""
        if self.transposed:
            beyond = (samples - 1) * self.stride + self.span - self.left - self.right
            return max(beyond, 0) if samples else 0
        _check_mode(function, self.mode, samples, self.left, self.right)
        beyond = samples + self.left + self.right - self.span
        return beyond // self.stride + 1 if beyond >= 0 else 0

    def phase(self, position: int) -> int:
        """Where the next window begins, as seen from the position; -1 if in the padding.

        What is to be done for a chunk depends on that and on the chunk's length alone.
        """
        if position <= 0:
            return -1
        if self.transposed:
            steady = (
                position >= self.history and position * self.stride >= self.left + self.held_back
            )
            return 0 if steady else -1
        first = self.first_sample(self.known(position))
        if first < 0 or (self.partition is not None and position < self.history):
            return -1
        return position - first + self.stride  # which is positive where windows leave samples out

    def first_sample(self, output: int) -> int:
        """The first sample that an output reads; negative where it begins in the padding.

        An output of a transposed convolution that lies in a gap reads none: then the one before it.
        """
        if self.transposed:
            place = output + self.left
            return max(min(-((self.span - 1 - place) // self.stride), place // self.stride), 0)
        return output * self.stride - self.left

    def samples_for(self, outputs: int) -> int:
        """After how many samples so many outputs are known, if that is more than none."""
        if self.transposed:
            return -(-(outputs + self.left + self.held_back) // self.stride)
        least = self.left + 1 if self.mode == "reflect" else 1
        outputs = -(-outputs // self.hop) * self.hop
        return max((outputs - 1) * self.stride - self.left + self.span, least)


def resolve_stream(
    function: str,
    taps: int,
    stride: object,
    padding: object,
    dilation: object,
    padding_mode: object,
    transposed: bool,
) -> tuple[StreamGeometry, int]:
    """The geometry of a stream and its dilation, or the error that says why it cannot stream."""
    if transposed and isinstance(padding, str) and padding != "causal":
        raise ValueError(
            f"{function}: padding of a transposed stream must be {PAIR} or 'causal', "
            f"not {padding!r}"
        )
    stride, padding, dilation, mode = check_options(
        function, stride, padding, dilation, padding_mode
    )
    span = dilation * (taps - 1) + 1
    if mode == "circular":
        raise ValueError(
            f"{function}: padding_mode 'circular' cannot stream, as the first outputs need the "
            f"last samples"
        )
    if transposed and mode != "zeros":
        raise ValueError(
            f"{function}: padding_mode of a transposed stream must be 'zeros', not {mode!r}"
        )
    if padding in ("same", "same_lower") and stride > 1:
        raise ValueError(
            f"{function}: padding {padding!r} with stride {stride} cannot stream, as the padding "
            f"on the left depends on the length of the whole signal; give a pair (left, right)"
        )
    if transposed and padding == "causal":
        left, right = 0, max(span - stride, 0)
    else:
        left, right = _pads(function, padding, 1, span, stride)
    if span + stride + left + right > MAX_SIZE:
        raise ValueError(
            f"{function}: lengths must be at most 2**48, but the dilated kernel spans {span}, "
            f"stride {stride}, padding ({left}, {right})"
        )
    return StreamGeometry(stride, span, left, right, mode, transposed), dilation


def resolve_hop(
    function: str, g: StreamGeometry, method: object, hop: object, channels: int, outs: int
) -> StreamGeometry:
    """The geometry of a stream by its method, for the channels of a group on both sides."""
    if not isinstance(method, str):
        raise TypeError(f"{function}: method must be 'direct' or 'fft', not {method!r}")
    if method == "direct":
        if hop is not None:
            raise ValueError(
                f"{function}: hop is for method 'fft'; method 'direct' returns every output as "
                f"soon as it is known, but hop is {hop!r}"
            )
        return g
    if method != "fft":
        raise ValueError(f"{function}: method must be 'direct' or 'fft', not {method!r}")
    if g.transposed or g.stride > 1:
        seen = "transposed" if g.transposed else f"at stride {g.stride}"
        raise ValueError(
            f"{function}: method 'fft' streams convolutions at stride 1 that are not transposed, "
            f"not one that is {seen}"
        )
    if hop is None:
        raise ValueError(
            f"{function}: method 'fft' needs hop, the number of outputs that are computed at once"
        )
    hop = integer(function, "hop", hop, 1)
    if hop > MAX_HOP:
        raise ValueError(f"{function}: hop must be at most 2**20, not {hop}")
    return g._replace(partition=partition(g.span, hop, channels, outs))


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
        It is ``(input_length + pad_left + pad_right - dilation*(kernel_size - 1) - 1) // stride
        + 1``.

    Raises
    ------
    TypeError
        If an argument is not an integer where one is needed.
    ValueError
        If an argument is out of range, or if the dilated kernel is longer than the
        padded input.

    See Also
    --------
    conv1d : What has this length.
    conv_transpose1d_output_length : The length the other way.

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


def conv_transpose1d_output_length(
    input_length: SupportsIndex,
    kernel_size: SupportsIndex,
    stride: IntLike = 1,
    padding: Pads = 0,
    output_padding: IntLike = 0,
    dilation: IntLike = 1,
) -> int:
    """Number of positions that `conv_transpose1d` returns.

    Parameters
    ----------
    input_length : int
        Number of samples, 1 or more.
    kernel_size : int
        Number of taps, 1 or more.
    stride : int, optional
        Distance in outputs between what neighbouring samples are spread over.
    padding : int or (int, int), optional
        Outputs left out on both sides, or on the left and on the right.
    output_padding : int, optional
        Outputs more on the right, fewer than `stride` or `dilation`.
    dilation : int, optional
        Distance in outputs between neighbouring taps.

    Returns
    -------
    int
        It is ``(input_length - 1)*stride - pad_left - pad_right + dilation*(kernel_size - 1)
        + output_padding + 1``.

    Raises
    ------
    TypeError
        If an argument is not an integer where one is needed.
    ValueError
        If an argument is out of range, or if the padding leaves no output.

    See Also
    --------
    conv_transpose1d : What has this length.
    conv1d_output_length : The length the other way.

    Examples
    --------
    >>> from cconv1d import conv_transpose1d_output_length
    >>> conv_transpose1d_output_length(10, 3)
    12
    >>> conv_transpose1d_output_length(10, 4, stride=2, padding=1)
    20
    """
    function = "conv_transpose1d_output_length"
    return resolve_transposed(
        function, input_length, kernel_size, stride, padding, output_padding, dilation
    ).input_length
