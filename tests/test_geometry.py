"""Output lengths, padding words and the refusals of both."""

from __future__ import annotations

import re
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import FUZZ, WORDS

from cconv1d import conv1d, conv1d_output_length
from cconv1d._geometry import (
    FAST_TAPS,
    FFT_MAX_TAPS,
    METHODS,
    PADDING_MODES,
    Geometry,
    resolve,
)
from cconv1d._geometry import MAX_SIZE as LARGEST
from cconv1d._kernels import MAPS

lengths = st.integers(0, 60)
taps = st.integers(1, 9)
steps = st.integers(1, 11)


def count_positions(padded, kernel_size, stride, dilation):
    """How many times the kernel fits, by trying."""
    start = count = 0
    while start + dilation * (kernel_size - 1) < padded:
        start += stride
        count += 1
    return count


class Index:
    """An integer that is not an int."""

    def __init__(self, value):
        self.value = value

    def __index__(self):
        return self.value


# --- output lengths -----------------------------------------------------------------------------


@FUZZ
@given(lengths, taps, steps, st.tuples(lengths, lengths), steps)
def test_output_length_is_the_number_of_positions(length, kernel_size, stride, padding, dilation):
    expected = count_positions(length + sum(padding), kernel_size, stride, dilation)
    if expected:
        got = conv1d_output_length(length, kernel_size, stride, padding, dilation)
        assert type(got) is int
        assert got == expected
    else:
        with pytest.raises(ValueError, match="spans"):
            conv1d_output_length(length, kernel_size, stride, padding, dilation)


@given(lengths, taps, steps, st.integers(0, 30), steps)
def test_one_padding_is_for_both_sides(length, kernel_size, stride, padding, dilation):
    try:
        pair = resolve("f", length, kernel_size, stride, (padding, padding), dilation)
    except ValueError as error:
        with pytest.raises(ValueError, match=re.escape(str(error))):
            resolve("f", length, kernel_size, stride, padding, dilation)
    else:
        assert resolve("f", length, kernel_size, stride, padding, dilation) == pair
        assert pair.pad_left == padding


def test_defaults_are_no_padding_and_unit_steps():
    assert conv1d_output_length(10, 3) == 8
    assert resolve("f", 10, 3, 1, 0, 1) == Geometry(10, 8, 1, 1, 0)


def test_keywords():
    assert (
        conv1d_output_length(input_length=10, kernel_size=3, stride=2, padding=1, dilation=4) == 2
    )


# --- padding words, each by its definition ------------------------------------------------------


def least_padding(length, kernel_size, stride, dilation):
    """The fewest zeros that give ceil(length / stride) outputs."""
    total = 0
    while count_positions(length + total, kernel_size, stride, dilation) < -(-length // stride):
        total += 1
    return total


@given(st.integers(1, 60), taps, steps, steps)
def test_same_is_the_least_padding_for_one_output_per_stride(length, kernel_size, stride, dilation):
    total = least_padding(length, kernel_size, stride, dilation)
    for word, left in (("same", total // 2), ("same_lower", total - total // 2)):
        geometry = resolve("f", length, kernel_size, stride, word, dilation)
        assert geometry.pad_left == left, word
        assert geometry.output_length == -(-length // stride), word
        pair = (left, total - left)
        assert geometry == resolve("f", length, kernel_size, stride, pair, dilation), word


@pytest.mark.parametrize(
    ("word", "pad_left", "samples_seen"), [("same", 1, "34432"), ("same_lower", 2, "23443")]
)
def test_where_the_odd_zero_goes(backend, word, pad_left, samples_seen):
    assert resolve("f", 5, 4, 1, word, 1).pad_left == pad_left
    seen = conv1d(np.ones(5), np.ones(4), padding=word)
    np.testing.assert_array_equal(seen, [int(count) for count in samples_seen])


@given(st.integers(1, 60), taps, steps, steps)
def test_causal_ends_at_its_own_sample(length, kernel_size, stride, dilation):
    geometry = resolve("f", length, kernel_size, stride, "causal", dilation)
    last_tap = dilation * (kernel_size - 1)
    assert last_tap - geometry.pad_left == 0  # of output 0; of output p it is p*stride
    assert geometry.output_length == len(range(0, length, stride))


@given(lengths, taps, steps, steps)
def test_full_is_every_output_that_sees_a_sample(length, kernel_size, stride, dilation):
    reach = dilation * (kernel_size - 1)
    starts = range(-reach, length, stride)
    if length + reach == 0:
        return
    geometry = resolve("f", length, kernel_size, stride, "full", dilation)
    assert -geometry.pad_left == starts[0]
    assert geometry.output_length == len(starts)


@given(lengths, st.tuples(lengths, lengths), st.sampled_from(PADDING_MODES))
def test_limits_of_padding_modes(length, padding, mode):
    """Each copied sample lies inside."""
    if length + sum(padding) == 0:
        return
    widest = {"reflect": length - 1, "circular": length}.get(mode, LARGEST if length else 0)
    if mode == "zeros" or max(padding) <= max(widest, 0):
        geometry = resolve("f", length, 1, 1, padding, 1, mode)
        assert PADDING_MODES[geometry.mode] == mode
        assert geometry == resolve("f", length, 1, 1, padding, 1)._replace(mode=geometry.mode)
    else:
        with pytest.raises(ValueError, match=rf"^f: padding_mode '{mode}' takes"):
            resolve("f", length, 1, 1, padding, 1, mode)


@given(lengths, taps, steps, steps)
def test_valid_is_no_padding(length, kernel_size, stride, dilation):
    if count_positions(length, kernel_size, stride, dilation):
        geometry = resolve("f", length, kernel_size, stride, "valid", dilation)
        assert geometry == resolve("f", length, kernel_size, stride, 0, dilation)


@pytest.mark.parametrize("word", ["valid", "same", "same_lower", "causal"])
def test_words_do_not_make_room_in_an_empty_input(word):
    with pytest.raises(ValueError, match="the dilated kernel spans 3"):
        conv1d_output_length(0, 3, padding=word)


# --- kinds of integers --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind",
    [
        lambda value: (value,),
        lambda value: [value],
        np.int8,
        np.int64,
        np.uint64,
        np.array,
        Index,
        lambda value: [np.int32(value)],
        lambda value: (Index(value),),
    ],
    ids=["tuple", "list", "int8", "int64", "uint64", "0-d array", "Index", "list32", "tupleIndex"],
)
@pytest.mark.parametrize("name", ["stride", "padding", "dilation"])
def test_integer_like(name, kind):
    expected = conv1d_output_length(20, 3, **{name: 2})
    got = conv1d_output_length(20, 3, **{name: kind(2)})
    assert type(got) is int
    assert got == expected
    arguments = {"stride": 1, "padding": 0, "dilation": 1, name: kind(2)}
    for number in resolve("f", 20, 3, **arguments):
        assert type(number) is int


@pytest.mark.parametrize("kind", [tuple, list])
def test_a_pair_of_any_integers(kind):
    pair = kind([np.int16(3), Index(2)])
    assert resolve("f", 20, 3, 1, pair, 1) == Geometry(20, 23, 1, 1, 3)


def test_lengths_of_any_integers():
    assert conv1d_output_length(np.int32(20), Index(3)) == 18


# --- refusals -----------------------------------------------------------------------------------

NUMBERS = {"input_length": 20, "kernel_size": 3, "stride": 1, "padding": 0, "dilation": 1}


@pytest.mark.parametrize(
    "value",
    [True, np.True_, 1.0, np.float64(1), 1j, None, b"1", {}, (1.0,), (True,), [None], ((1,),)],
    ids=repr,
)
@pytest.mark.parametrize("name", NUMBERS)
def test_what_is_no_integer_is_a_type_error(name, value):
    with pytest.raises(TypeError, match=rf"^conv1d_output_length: {name} must be an integer") as e:
        conv1d_output_length(**{**NUMBERS, name: value})
    inner = value[0] if isinstance(value, (tuple, list)) else value
    assert repr(inner) in str(e.value)


@pytest.mark.parametrize("name", ["input_length", "kernel_size", "stride", "dilation"])
@pytest.mark.parametrize("value", ["1", "same", (1, 2), [1, 2], ()], ids=repr)
def test_neither_words_nor_pairs_but_for_padding(name, value):
    with pytest.raises(TypeError, match=f"{name} must be an integer, not {re.escape(repr(value))}"):
        conv1d_output_length(**{**NUMBERS, name: value})


@pytest.mark.parametrize("value", [True, 1.0, None, "1", (1,) * 2], ids=repr)
@pytest.mark.parametrize("side", ["left", "right"])
def test_what_is_no_integer_in_a_pair_is_a_type_error(side, value):
    padding = (value, 1) if side == "left" else (1, value)
    with pytest.raises(TypeError, match=rf"padding \({side}\) must be an integer"):
        conv1d_output_length(20, 3, padding=padding)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("input_length", -1, "input_length must be at least 0, not -1"),
        ("kernel_size", 0, "kernel_size must be at least 1, not 0"),
        ("kernel_size", -3, "kernel_size must be at least 1, not -3"),
        ("stride", 0, "stride must be at least 1, not 0"),
        ("stride", [-2], "stride must be at least 1, not -2"),
        ("dilation", 0, "dilation must be at least 1, not 0"),
        ("dilation", np.int8(-1), "dilation must be at least 1, not -1"),
        ("padding", -1, "padding must be at least 0, not -1"),
        ("padding", (-1, 2), "padding (left) must be at least 0, not -1"),
        ("padding", (2, -1), "padding (right) must be at least 0, not -1"),
        ("padding", (1, 2, 3), "not 3 values: (1, 2, 3)"),
        ("padding", (), "not 0 values: ()"),
        ("padding", "SAME", "not 'SAME'"),
        ("padding", "", "not ''"),
        ("padding", "zeros", "not 'zeros'"),
    ],
)
def test_values_out_of_range(name, value, words):
    with pytest.raises(ValueError, match=r"^conv1d_output_length: ") as error:
        conv1d_output_length(**{**NUMBERS, name: value})
    assert words in str(error.value)


def test_an_unknown_word_is_answered_with_the_known_ones():
    with pytest.raises(ValueError, match="padding must be") as error:
        conv1d_output_length(20, 3, padding="reflect")
    for word in WORDS:
        assert repr(word) in str(error.value)


TOO_LONG = (
    "the padded input has 5 positions but the dilated kernel spans 9 (kernel_size 3, dilation 4); "
    "input length 5, padding (0, 0)"
)


def test_the_message_of_a_kernel_that_is_too_long():
    with pytest.raises(ValueError, match="spans") as error:
        conv1d_output_length(5, 3, dilation=4)
    assert str(error.value) == f"conv1d_output_length: {TOO_LONG}"
    with pytest.raises(ValueError, match="spans") as error:
        conv1d(np.zeros((1, 1, 5)), np.zeros((1, 1, 3)), dilation=4)
    assert str(error.value) == f"conv1d: {TOO_LONG}"


def test_the_message_counts_the_padding():
    with pytest.raises(ValueError, match="spans") as error:
        conv1d_output_length(5, 30, padding=(1, 2))
    assert "the padded input has 8 positions" in str(error.value)
    assert "the dilated kernel spans 30 (kernel_size 30, dilation 1)" in str(error.value)
    assert "input length 5, padding (1, 2)" in str(error.value)


# --- large numbers ------------------------------------------------------------------------------


def test_the_largest_number_leaves_room_for_sums_in_64_bits():
    assert 2**40 < LARGEST < 2**62


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [LARGEST + 1, 2**63, 2**100])
def test_numbers_that_are_too_large(name, value):
    with pytest.raises(ValueError, match=rf"{name} must be at most .*, not {value}$"):
        conv1d_output_length(**{**NUMBERS, name: value})


def test_the_largest_lengths():
    assert conv1d_output_length(LARGEST, 1) == LARGEST
    assert conv1d_output_length(LARGEST, LARGEST) == 1
    assert conv1d_output_length(LARGEST, 1, stride=LARGEST) == 1
    half = LARGEST // 2
    assert conv1d_output_length(LARGEST - half, 1, padding=(half, 0)) == LARGEST
    assert conv1d_output_length(1, 2, padding=(LARGEST - 1, 0), dilation=LARGEST - 1) == 1
    assert conv1d_output_length(LARGEST, 1, stride=2, padding="same") == -(-LARGEST // 2)


@pytest.mark.parametrize(
    "arguments",
    [
        {"input_length": LARGEST, "padding": (1, 0)},
        {"input_length": LARGEST, "padding": (0, 1)},
        {"padding": LARGEST // 2},
        {"padding": (LARGEST, LARGEST)},
        {"kernel_size": 2, "dilation": LARGEST},
        {"kernel_size": 2**32, "dilation": 2**32, "padding": "valid"},
        {"kernel_size": LARGEST, "dilation": LARGEST, "padding": "same"},
        {"kernel_size": 2, "dilation": LARGEST // 2, "padding": "full"},
        {"input_length": 1, "kernel_size": 2**40, "dilation": 2**40, "padding": "causal"},
        {"input_length": LARGEST, "kernel_size": 2, "padding": "same"},
    ],
)
def test_sums_that_are_too_large(arguments):
    with pytest.raises(
        ValueError, match=r"lengths must be at most .* padded input .* kernel spans"
    ):
        conv1d_output_length(**{**NUMBERS, **arguments})


def test_the_compiled_side_counts_the_same():
    """Modes, methods and maps by their numbers, and what no size exceeds."""
    core = pytest.importorskip("cconv1d._core")
    expected = {"max_size": min(LARGEST, sys.maxsize // 16), "fft_max_taps": FFT_MAX_TAPS}
    expected["fast_taps"] = FAST_TAPS
    assert METHODS[3:] == ("auto",)  # which chooses one of the others
    for names in PADDING_MODES, METHODS[:3], MAPS:
        expected |= {name: number for number, name in enumerate(names)}
    assert expected == core.CONSTANTS


any_length = st.integers(0, 9) | st.integers(0, LARGEST)
any_step = st.integers(1, 9) | st.integers(1, LARGEST)


@given(
    any_length, any_step, any_step, st.sampled_from(WORDS) | st.tuples(*[any_length] * 2), any_step
)
def test_large_numbers_overflow_nowhere(length, kernel_size, stride, padding, dilation):
    """Every position and tap is a 64-bit integer wherever there is a geometry at all."""
    try:
        g = resolve("f", length, kernel_size, stride, padding, dilation)
    except ValueError:
        return
    last = (g.output_length - 1) * g.stride + g.dilation * (kernel_size - 1)
    assert g.output_length >= 1
    assert 0 <= g.pad_left <= LARGEST
    assert last <= LARGEST
