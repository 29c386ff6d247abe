"""Which method computes a layer: what "auto" takes, and why.

The choice follows from shapes and dtype of one sample: neither from the batch nor from the
machine, so that the bits of method "auto" depend on neither.
"""

from __future__ import annotations

from math import inf
from typing import Any, NamedTuple, SupportsIndex

import numpy as np
from numpy.typing import DTypeLike

from ._arrays import check_method_dtype, rounds
from ._geometry import (
    AUTO_NUMBER,
    FAST_TAPS,
    FFT_MAX_TAPS,
    METHODS,
    Geometry,
    IntLike,
    Method,
    Padding,
    without_stride,
)
from ._plans import SMALL_PRODUCTS, Layout, Plan, Planner, Shape, check_conv1d

__all__ = ["MethodChoice", "choose_method"]

# --- what things cost ---------------------------------------------------------------------------
#
# In multiply-adds of a dense direct sum at avx512 (.0085 ns in float32 on a Zen 5), where direct
# gains a little more than transforms: what pays by these numbers pays at avx2, too. Fitted to 350
# random layers of one sample at avx512 and 250 at avx2 (1 to 360 channels, dense, in groups and
# depthwise; 3 to 2000 taps, up to 500,000 positions, strides, dilations, both layouts, float32, one
# thread), of which they leave 94 and 73 to transforms, where 128 and 117 gain a fifth in all maps;
# the least gain of a map of one of these is 1.25 and 1.40, of 120 layers in float64 1.43. The
# choice cannot know the layout, as bits do not depend on it.

#: A complex number of a block of one channel, on either side, there and back, for each bit of M.
TRANSFORM_COST = 11
#: The same where samples and results do not lie side by side, whatever M.
APART_COST = 5
#: The product of two at one root; with lanes along roots, by no packets that all lanes meet.
PRODUCT_COST, PRODUCT_INSIDE_COST = 5, 9
#: What blocks as lanes cost more than channels, in fifths: see channel_lanes of tuning.pxi.
BLOCK_LANES = 6
#: A complex number of the weights of a pair of channels; with lanes along roots; both times as much
#: with taps of a stride, and one and a half where the spectra have more numbers than caches hold.
WEIGHT_COST, WEIGHT_INSIDE_COST, LARGE_SPECTRA = 30, 64, 2**20
#: A call.
FFT_COST = 500_000
#: What transforms must gain to be taken.
LEAST_GAIN = 1.2

#: Of minimal filtering, for a sample of a channel on either side, and for the weights of a pair.
#: Fitted to 1000 random layers with three taps (8 to 400 channels, one sample, strides, dilations)
#: on a Zen 5, at avx2 and at avx512.
FAST_ENDS, FAST_WEIGHT_COST = 17, 200
#: What it must gain: the most there is are 1.5.
LEAST_FAST_GAIN = 1.1
#: Pairs of results that a block has at most, and a width of tiles.
FAST_PAIRS, FAST_WIDTH = 128, 32

#: Blocks and rows of weights that are transformed together where M is below LANES_INSIDE.
LANES, LANES_INSIDE = 16, 256


def block_points(taps: int, channels: int, outs: int) -> int:
    """M, half the samples of a block, as `block_points` of overlap_save.pxi has it."""
    pairs, least = channels * outs, LANES_INSIDE
    points = 2 * taps
    if taps > 512:
        points = taps
    elif pairs < 8:
        points = 4 * taps
    elif pairs >= 64 and taps <= 128:
        least = 16
        points = 4 * taps if pairs < 1024 else 2 * taps if pairs < 16384 else 3 * taps // 2
        points = min(points, 128)
    return max(least, 1 << (points - 1).bit_length())


def rounded(count: int, unit: int) -> int:
    return -(-count // unit) * unit


def direct_products(taps: int, channels: int, outs: int, g: Geometry) -> int:
    """Multiply-adds of one group of a sample, in the map that has the fewest."""
    return min(-(-g.input_length // g.stride), g.output_length) * channels * outs * taps


def fft_products(taps: int, channels: int, outs: int, g: Geometry) -> int:
    """As many as take the time of the transforms, in the map that has the most blocks."""
    residues, taps, dilation = without_stride(taps, g.stride, g.dilation)
    channels *= residues
    points = block_points(taps, channels, outs)
    bits = points.bit_length() - 1
    positions = max(-(-g.input_length // g.stride), g.output_length)
    of_residue = -(-positions // dilation)
    blocks = min(dilation, positions) * -(-of_residue // (2 * points - taps + 1))
    if points < LANES_INSIDE:
        wide_channels, wide_outs = rounded(channels, LANES), rounded(outs, LANES)
        pairs = max(channels * wide_outs, outs * wide_channels)  # as lanes are rows of either map
        of_channels = TRANSFORM_COST * bits * (wide_channels + wide_outs) + PRODUCT_COST * pairs
        of_blocks = TRANSFORM_COST * bits * (channels + outs) + PRODUCT_COST * channels * outs
        samples = min(blocks * of_channels, rounded(blocks, LANES) * of_blocks * BLOCK_LANES // 5)
        weights = WEIGHT_COST * pairs
    else:
        pairs = channels * outs
        samples = blocks * (TRANSFORM_COST * bits * (channels + outs) + PRODUCT_INSIDE_COST * pairs)
        weights = WEIGHT_INSIDE_COST * pairs
    if g.stride > 1 or g.dilation > 1:
        samples += APART_COST * blocks * (channels + outs)
    if g.stride > 1:
        weights *= 2
    if 2 * points * channels * outs > LARGE_SPECTRA:
        weights += weights // 2
    return points * (samples + weights)


def fast_products(taps: int, channels: int, outs: int, g: Geometry) -> float:
    """As many as take the time of minimal filtering, if it is for that kernel."""
    residues, taps, dilation = without_stride(taps, g.stride, g.dilation)
    if taps != FAST_TAPS or dilation > FAST_PAIRS or g.stride > 1 < dilation:
        return inf
    positions = max(-(-g.input_length // g.stride), g.output_length)
    ends = FAST_ENDS
    if dilation > 1:
        positions = rounded(positions, 2 * dilation)
        at_once = FAST_PAIRS // dilation * dilation
        positions = positions * rounded(at_once, FAST_WIDTH) // at_once
        if dilation & (dilation - 1):
            ends *= 2  # runs that are no power of two are copied for the second time in part
    signals = residues * channels
    products = 2 * signals * outs
    return positions * (products + ends * (signals + outs)) + FAST_WEIGHT_COST * signals * outs


# --- the choice ---------------------------------------------------------------------------------


class MethodChoice(NamedTuple):
    """What `choose_method` returns.

    Attributes
    ----------
    method : {"direct", "fft", "fast"}
        What method "auto" computes the layer by.
    reason : str
        Why, in a sentence.

    See Also
    --------
    choose_method : What returns it.

    Examples
    --------
    >>> from cconv1d import MethodChoice, choose_method
    >>> choose_method((1, 1, 100), (1, 1, 3)).reason
    'direct sums of less than 2**20 multiply-adds take no time that transforms could save'
    >>> MethodChoice("fft", "it is faster").method
    'fft'
    """

    method: Method
    reason: str


plan_choice = Planner("choose_method", check_conv1d)


def choose(
    dtype: np.dtype[Any], channels: int, outs: int, taps: int, groups: int, g: Geometry
) -> MethodChoice:
    """The method of a layer, for the channels of a group on both sides."""
    if not rounds(dtype):
        return MethodChoice("direct", f"transforms round, and {dtype} is summed exactly")
    if dtype.char in "gG":
        return MethodChoice("direct", f"transforms for {dtype} are not compiled")
    if taps > FFT_MAX_TAPS:
        return MethodChoice("direct", "there are transforms for at most 2**20 taps")
    if dtype.kind == "c":
        channels, outs = 2 * channels, 2 * outs
    direct = groups * direct_products(taps, channels, outs, g)
    if direct < SMALL_PRODUCTS:
        return MethodChoice(
            "direct",
            "direct sums of less than 2**20 multiply-adds take no time that transforms could save",
        )
    fft = groups * fft_products(taps, channels, outs, g) + FFT_COST
    fast = groups * fast_products(taps, channels, outs, g)
    if fast < fft and LEAST_FAST_GAIN * fast <= direct:
        return MethodChoice(
            "fast",
            f"direct sums are {direct:.2g} multiply-adds for each sample, and minimal filtering is "
            f"estimated to take the time of {fast:.2g}",
        )
    residues, signal_taps, _ = without_stride(taps, g.stride, g.dilation)
    block = 2 * block_points(signal_taps, residues * channels, outs)
    compared = (
        f"direct sums are {direct:.2g} multiply-adds for each sample, and transforms of blocks of "
        f"{block} samples are estimated to take the time of {fft:.2g}"
    )
    return MethodChoice("fft" if LEAST_GAIN * fft <= direct else "direct", compared)


def choose_for(plan: Plan, dtype: np.dtype[Any]) -> MethodChoice:
    *_, outs, channels, taps = (1, 1, *plan.w_shape)
    return choose(dtype, channels, outs // plan.groups, taps, plan.groups, plan.geometry)


def settled(function: str, plan: Plan, dtype: np.dtype[Any]) -> Plan:
    """The plan with "auto" replaced by what it chooses; others are refused where not exact."""
    if plan.geometry.method != AUTO_NUMBER:
        if plan.geometry.method:
            check_method_dtype(function, METHODS[plan.geometry.method], dtype)
        return plan
    choice = choose_for(plan, dtype)
    number = METHODS.index(choice.method)
    return plan._replace(geometry=plan.geometry._replace(method=number))


def choose_method(
    input_shape: Shape,
    weight_shape: Shape,
    dtype: DTypeLike = np.float32,
    stride: IntLike = 1,
    padding: Padding = 0,
    dilation: IntLike = 1,
    groups: SupportsIndex = 1,
    *,
    layout: Layout = "NCL",
) -> MethodChoice:
    """What ``method="auto"`` computes a layer by, and why.

    Parameters
    ----------
    input_shape : tuple of int
        (N, C, L), (C, L) or (L,): that of the first argument of `conv1d`.
    weight_shape : tuple of int
        (K, C // groups, k), (k,) or (N, K, C // groups, k), that of the second.
    dtype : dtype_like, optional
        Of both.
    stride, padding, dilation, groups, layout
        As in `conv1d`.

    Returns
    -------
    MethodChoice
        A named tuple (method, reason).

    Raises
    ------
    TypeError, ValueError
        As `conv1d`, for shapes and options that it refuses.

    See Also
    --------
    conv1d : What takes ``method="auto"``, as do its gradients, which are computed by the same.

    Notes
    -----
    Time is estimated from counts of multiply-adds [1]_, at the level of instructions where direct
    sums gain most. The choice depends neither on the machine nor on the number of samples N, so the
    bits of a result do not either. Where nothing is certain to be gained, it is "direct".

    References
    ----------
    .. [1] A. V. Oppenheim and R. W. Schafer, "Discrete-time signal processing", 3rd edition,
       Pearson, 2010, section 8.7.3 (overlap-save) and chapter 9.

    Examples
    --------
    >>> from cconv1d import choose_method
    >>> choose_method((1, 64, 16000), (64, 64, 31), padding="same").method
    'fft'
    >>> choose_method((1, 64, 16000), (64, 64, 3), padding="same").method
    'fast'
    >>> choose_method((1, 64, 16000), (64, 64, 1)).method
    'direct'
    >>> choose_method((1, 64, 16000), (64, 64, 31), stride=8).method
    'direct'
    """
    shapes = tuple(input_shape), tuple(weight_shape), None
    plan = plan_choice(shapes, stride, padding, dilation, groups, "zeros", layout)
    return choose_for(plan, np.dtype(dtype))
