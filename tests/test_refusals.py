"""What the public functions refuse, in which words; and that they change nothing then."""

from __future__ import annotations

import inspect
import re

import numpy as np
import pytest

import cconv1d
from cconv1d import Gradients
from cconv1d._geometry import MAX_SIZE


def numbers(*shape):
    """1, 2, 3, ..., of which a change would show."""
    return np.arange(1.0, 1 + np.prod(shape)).reshape(shape)


#: A valid call of each function, of which the tables below change something.
VALID = {
    "conv1d": {
        "input": numbers(2, 4, 10),
        "weight": numbers(6, 2, 3),
        "bias": numbers(6),
        "groups": 2,
    },
    "conv1d_backward": {
        "grad_output": numbers(2, 6, 8),
        "input": numbers(2, 4, 10),
        "weight": numbers(6, 2, 3),
        "groups": 2,
    },
    "conv1d_backward_input": {
        "grad_output": numbers(2, 6, 8),
        "weight": numbers(6, 2, 3),
        "input_length": 10,
        "groups": 2,
    },
    "conv1d_backward_weight": {
        "grad_output": numbers(2, 6, 8),
        "input": numbers(2, 4, 10),
        "kernel_size": 3,
        "groups": 2,
    },
    "PreparedConv1d": {"weight": numbers(6, 2, 3), "bias": numbers(6), "groups": 2},
    "conv1d_output_length": {"input_length": 10, "kernel_size": 3},
    "conv_transpose1d": {
        "input": numbers(2, 4, 8),
        "weight": numbers(4, 3, 3),
        "bias": numbers(6),
        "groups": 2,
    },
    "conv_transpose1d_backward": {
        "grad_output": numbers(2, 6, 10),
        "input": numbers(2, 4, 8),
        "weight": numbers(4, 3, 3),
        "groups": 2,
    },
    "conv_transpose1d_output_length": {"input_length": 8, "kernel_size": 3},
    "convolve": {"a": numbers(2, 5), "v": numbers(2, 3)},
    "correlate": {"a": numbers(2, 5), "v": numbers(2, 3)},
    "set_num_threads": {"n": 1},
    "num_threads": {"n": 1},
    "show_config": {"mode": "dicts"},
}

PAIR = "padding must be an integer or a pair (left, right), not "
WORDS = (
    "padding must be an integer, a pair (left, right) or one of "
    "'valid', 'same', 'same_lower', 'causal', 'full', not "
)


def in_strides(*strides):
    """An array of the shape of conv1d's result, with these strides in numbers."""
    steps = [8 * stride for stride in strides]
    return np.lib.stride_tricks.as_strided(np.zeros(400)[100:], (2, 6, 8), steps)


# In each table: what is changed of a valid call, exception, words of its message. A row is for
# all functions of its table that have the arguments.

REFUSED_BY_CONV1D = [
    ({"stride": 0}, ValueError, "stride must be at least 1, not 0"),
    ({"stride": -1}, ValueError, "stride must be at least 1, not -1"),
    ({"stride": 1.0}, TypeError, "stride must be an integer, not 1.0"),
    ({"stride": True}, TypeError, "stride must be an integer, not True"),
    ({"stride": None}, TypeError, "stride must be an integer, not None"),
    ({"stride": "1"}, TypeError, "stride must be an integer, not '1'"),
    ({"stride": (1, 1)}, TypeError, "stride must be an integer, not (1, 1)"),
    ({"stride": (True,)}, TypeError, "stride must be an integer, not True"),
    ({"stride": 2**63}, ValueError, "stride must be at most", f"not {2**63}"),
    ({"dilation": 0}, ValueError, "dilation must be at least 1, not 0"),
    ({"dilation": -2}, ValueError, "dilation must be at least 1, not -2"),
    ({"dilation": 1.5}, TypeError, "dilation must be an integer, not 1.5"),
    ({"dilation": np.True_}, TypeError, "dilation must be an integer"),
    ({"dilation": [1.0]}, TypeError, "dilation must be an integer, not 1.0"),
    ({"padding": -1}, ValueError, "padding must be at least 0, not -1"),
    ({"padding": (0, -1)}, ValueError, "padding (right) must be at least 0, not -1"),
    ({"padding": [-3, 0]}, ValueError, "padding (left) must be at least 0, not -3"),
    ({"padding": 0.0}, TypeError, WORDS + "0.0"),
    ({"padding": False}, TypeError, WORDS + "False"),
    ({"padding": None}, TypeError, WORDS + "None"),
    ({"padding": (0, 0, 0)}, ValueError, WORDS + "3 values: (0, 0, 0)"),
    ({"padding": ()}, ValueError, WORDS + "0 values: ()"),
    ({"padding": "SAME"}, ValueError, WORDS + "'SAME'"),
    ({"padding": "reflect"}, ValueError, WORDS + "'reflect'"),
    ({"padding_mode": "constant"}, ValueError, "padding_mode", "'replicate'", "not 'constant'"),
    ({"padding_mode": "Reflect"}, ValueError, "padding_mode", "'reflect'", "not 'Reflect'"),
    ({"padding_mode": None}, TypeError, "padding_mode must be a string, not None"),
    ({"padding_mode": 0}, TypeError, "padding_mode must be a string, not 0"),
    ({"padding_mode": ["reflect"]}, TypeError, "padding_mode must be a string"),
    (
        {"padding_mode": "reflect", "padding": 10},
        ValueError,
        "'reflect' takes padding below the input length 10 on each side, not (10, 10)",
    ),
    ({"padding_mode": "reflect", "padding": (0, 12)}, ValueError, "below", "not (0, 12)"),
    (
        {"padding_mode": "reflect", "padding": "causal", "dilation": 5},
        ValueError,
        "below the input length 10",
        "not (10, 0)",
    ),
    (
        {"padding_mode": "circular", "padding": (11, 0)},
        ValueError,
        "'circular' takes padding at most the input length 10 on each side, not (11, 0)",
    ),
    ({"groups": 0}, ValueError, "groups must be at least 1, not 0"),
    ({"groups": -2}, ValueError, "groups must be at least 1, not -2"),
    ({"groups": 2.0}, TypeError, "groups must be an integer, not 2.0"),
    ({"groups": True}, TypeError, "groups must be an integer, not True"),
    ({"groups": "2"}, TypeError, "groups must be an integer, not '2'"),
    (
        {"dilation": 5},
        ValueError,
        "the padded input has 10 positions but the dilated kernel spans 11 "
        "(kernel_size 3, dilation 5); input length 10, padding (0, 0)",
    ),
    (
        {"dilation": 50, "padding": (3, 40)},
        ValueError,
        "the padded input has 53 positions but the dilated kernel spans 101 "
        "(kernel_size 3, dilation 50); input length 10, padding (3, 40)",
    ),
    ({"dilation": MAX_SIZE}, ValueError, "lengths must be at most", f"spans {2 * MAX_SIZE + 1}"),
    ({"padding": MAX_SIZE // 2}, ValueError, "lengths must be at most", f"has {MAX_SIZE + 10}"),
    ({"padding": "full", "dilation": MAX_SIZE // 4}, ValueError, "lengths must be at most"),
    ({"input": np.zeros((2, 4, 10, 1))}, ValueError, "input", "(2, 4, 10, 1)"),
    ({"input": np.zeros(())}, ValueError, "input", "not ()"),
    ({"input": 3.0}, ValueError, "input", "not ()"),
    ({"input": np.zeros(10)}, ValueError, "input", "(10,)"),
    ({"input": np.zeros((2, 3, 10))}, ValueError, "3 input channels", "2 groups"),
    ({"input": np.zeros((2, 4, 2))}, ValueError, "the padded input has 2 positions", "spans 3"),
    ({"input": np.zeros((2, 4, 0))}, ValueError, "the padded input has 0 positions", "spans 3"),
    ({"input": np.zeros((2, 4, 10), bool)}, TypeError, "input", "bool"),
    ({"input": np.zeros((2, 4, 10), object)}, TypeError, "input", "object"),
    ({"input": np.zeros((2, 4, 10), "U1")}, TypeError, "input", "<U1"),
    ({"input": np.zeros((2, 4, 10), "M8[s]")}, TypeError, "input", "datetime64[s]"),
    ({"input": np.zeros((2, 4, 10), "f8,i4")}, TypeError, "input"),
    ({"input": np.zeros((2, 4, 10), np.float32)}, TypeError, "input float32", "float64"),
    ({"input": np.zeros((2, 4, 10), np.int64)}, TypeError, "input int64", "float64"),
    ({"input": np.zeros((2, 4, 10), np.complex128)}, TypeError, "input complex128", "float64"),
    ({"input": None}, TypeError, "input must be an array, not None"),
    ({"input": "signal"}, TypeError, "input"),
    ({"input": {}}, TypeError, "input", "object"),
    ({"input": [[[1.0, 2.0], [3.0]]]}, ValueError, "input", "rectangular"),
    ({"input": [[["a"]]]}, TypeError, "input", "<U1"),
    ({"input": [[[None]]]}, TypeError, "input", "object"),
    ({"input": [[[True]]]}, TypeError, "input", "bool"),
    ({"input": [[[1j]]]}, TypeError, "input", "complex128", "float64"),
    ({"weight": np.zeros((6, 2))}, ValueError, "weight", "(6, 2)"),
    ({"weight": np.zeros((1, 6, 2, 3))}, ValueError, "weight", "(1, 6, 2, 3)"),
    ({"weight": np.zeros(3)}, ValueError, "weight", "(3,)"),
    ({"weight": np.zeros(())}, ValueError, "weight", "not ()"),
    ({"weight": 1.0}, ValueError, "weight", "not ()"),
    ({"weight": np.zeros((6, 2, 0))}, ValueError, "weight must have at least 1 tap", "(6, 2, 0)"),
    ({"weight": np.zeros((6, 2, 11))}, ValueError, "kernel spans 11", "10 positions"),
    ({"weight": np.zeros((6, 2, 3), np.float32)}, TypeError, "weight float32", "float64"),
    ({"weight": np.zeros((6, 2, 3), ">f4")}, TypeError, "weight float32", "float64"),
    ({"weight": np.zeros((6, 2, 3), np.float16)}, TypeError, "weight float16", "float64"),
    ({"weight": np.zeros((6, 2, 3), bool)}, TypeError, "weight", "bool"),
    ({"weight": None}, TypeError, "weight must be an array, not None"),
    ({"weight": [[[1.0, 2.0]], [[3.0]]]}, ValueError, "weight", "rectangular"),
    ({"grad_output": np.zeros((2, 6, 7))}, ValueError, "grad_output", "(2, 6, 8)", "(2, 6, 7)"),
    ({"grad_output": np.zeros((2, 6, 9))}, ValueError, "8 is the output length", "length 10"),
    ({"grad_output": np.zeros((2, 6, 0))}, ValueError, "grad_output", "(2, 6, 0)"),
    ({"grad_output": np.zeros((2, 6, 8, 1))}, ValueError, "grad_output", "(2, 6, 8, 1)"),
    ({"grad_output": np.zeros(8)}, ValueError, "grad_output", "(8,)"),
    ({"grad_output": np.zeros((2, 6, 8), "f4")}, TypeError, "grad_output float32", "float64"),
    ({"grad_output": np.zeros((2, 6, 8), bool)}, TypeError, "grad_output", "bool"),
    ({"grad_output": None}, TypeError, "grad_output must be an array, not None"),
    ({"input_length": 2}, ValueError, "the padded input has 2 positions", "input length 2"),
    ({"input_length": -1}, ValueError, "input_length must be at least 0, not -1"),
    ({"input_length": 10.0}, TypeError, "input_length must be an integer, not 10.0"),
    ({"input_length": None}, TypeError, "input_length must be an integer, not None"),
    ({"input_length": True}, TypeError, "input_length must be an integer, not True"),
    ({"input_length": 2**63}, ValueError, "input_length must be at most"),
    ({"kernel_size": 0}, ValueError, "kernel_size must be at least 1, not 0"),
    ({"kernel_size": 3.0}, TypeError, "kernel_size must be an integer, not 3.0"),
    ({"kernel_size": True}, TypeError, "kernel_size must be an integer, not True"),
    ({"kernel_size": "3"}, TypeError, "kernel_size must be an integer, not '3'"),
    ({"kernel_size": 11}, ValueError, "kernel spans 11", "10 positions"),
    ({"layout": "NLc"}, ValueError, "layout must be 'NCL' or 'NLC', not 'NLc'"),
    ({"layout": None}, TypeError, "layout must be 'NCL' or 'NLC', not None"),
    ({"layout": ["NCL"]}, TypeError, "layout must be 'NCL' or 'NLC', not ['NCL']"),
    ({"input": np.zeros((2, 4, 10, 1)), "layout": "NLC"}, ValueError, "(length, channels)"),
    ({"accumulate": True}, ValueError, "accumulate needs out"),
    ({"padding": {1, 2}}, TypeError, WORDS + "{1, 2}"),
    ({"padding": b"same"}, TypeError, WORDS + "b'same'"),
    ({"padding": np.array([1, 2])}, TypeError, WORDS + "array([1, 2])"),
    ({"padding": float("nan")}, TypeError, WORDS + "nan"),
    ({"padding": (1, None)}, TypeError, "padding (right) must be an integer, not None"),
    ({"padding": ("same", 1)}, TypeError, "padding (left) must be an integer, not 'same'"),
    ({"padding": 2**100}, ValueError, f"padding must be at most 2**48, not {2**100}"),
    ({"stride": {}}, TypeError, "stride must be an integer, not {}"),
    ({"stride": np.array([2])}, TypeError, "stride must be an integer, not array([2])"),
    ({"groups": (2,)}, TypeError, "groups must be an integer, not (2,)"),
    ({"groups": 2**50}, ValueError, f"groups must be at most 2**48, not {2**50}"),
    ({"padding_mode": b"zeros"}, TypeError, "padding_mode must be a string, not b'zeros'"),
    ({"input": {1.0}}, TypeError, "input must hold integers, real or complex", "not object"),
    ({"input": b"signal"}, TypeError, "input must hold integers, real or complex", "not |S6"),
    ({"input": [[[10**400]]]}, TypeError, "input holds object, which does not go into float64"),
    ({"input": np.zeros((2, 4, 10), "m8[s]")}, TypeError, "input", "timedelta64[s]"),
    ({"weight": [[["a"]]]}, TypeError, "weight holds <U1, which does not go into float64"),
    ({"weight": np.zeros((6, 2, 3), object)}, TypeError, "weight", "object"),
    ({"grad_output": [[[1.0], [2.0, 3.0]]]}, ValueError, "grad_output is not a rectangular array"),
    ({"layout": np.array(["NCL", "NLC"])}, TypeError, "layout must be 'NCL' or 'NLC', not array("),
    ({"layout": b"NCL"}, TypeError, "layout must be 'NCL' or 'NLC', not b'NCL'"),
    ({"accumulate": None}, TypeError, "accumulate must be True or False, not None"),
    ({"accumulate": 1}, TypeError, "accumulate must be True or False, not 1"),
    ({"accumulate": np.zeros(2)}, TypeError, "accumulate must be True or False, not array("),
]

REFUSED_BY_CONV_TRANSPOSE1D = [
    ({"stride": 0}, ValueError, "stride must be at least 1, not 0"),
    ({"stride": True}, TypeError, "stride must be an integer, not True"),
    ({"dilation": 0}, ValueError, "dilation must be at least 1, not 0"),
    ({"padding": -1}, ValueError, "padding must be at least 0, not -1"),
    ({"padding": (0, -1)}, ValueError, "padding (right) must be at least 0, not -1"),
    ({"padding": "same"}, ValueError, PAIR + "'same'"),
    ({"padding": (1, 2, 3)}, ValueError, PAIR + "3 values: (1, 2, 3)"),
    ({"padding": 1.0}, TypeError, PAIR + "1.0"),
    ({"padding": 5}, ValueError, "padding (5, 5) leaves nothing of 10 positions", "length 8"),
    ({"padding": (0, 10)}, ValueError, "padding (0, 10) leaves nothing of 10 positions"),
    ({"output_padding": 1}, ValueError, "output_padding must be less than stride or dilation"),
    ({"output_padding": 4, "stride": 4}, ValueError, "it is 4, stride 4, dilation 1"),
    ({"output_padding": -1}, ValueError, "output_padding must be at least 0, not -1"),
    ({"output_padding": (0, 0)}, TypeError, "output_padding must be an integer, not (0, 0)"),
    ({"dilation": MAX_SIZE}, ValueError, "lengths must be at most 2**48"),
    ({"groups": 0}, ValueError, "groups must be at least 1, not 0"),
    ({"groups": 3}, ValueError, "4 input channels cannot be divided into 3 groups"),
    ({"input_length": 0}, ValueError, "input_length must be at least 1, not 0"),
    ({"input_length": 2.0}, TypeError, "input_length must be an integer, not 2.0"),
    ({"kernel_size": 0}, ValueError, "kernel_size must be at least 1, not 0"),
    ({"input": np.zeros((2, 4, 0))}, ValueError, "input must have at least 1 sample", "(2, 4, 0)"),
    ({"input": np.zeros((2, 6, 8))}, ValueError, "(4, 3, 3)", "takes 4", "has 6"),
    ({"input": np.zeros(8)}, ValueError, "input", "(8,)", "(4, 3, 3)"),
    ({"input": np.zeros((2, 4, 8), "f4")}, TypeError, "input float32", "float64"),
    ({"input": None}, TypeError, "input must be an array, not None"),
    ({"weight": np.zeros((4, 3))}, ValueError, "in channels, out channels / groups", "(4, 3)"),
    ({"weight": np.zeros((4, 3, 0))}, ValueError, "weight must have at least 1 tap", "(4, 3, 0)"),
    ({"weight": None}, TypeError, "weight must be an array, not None"),
    ({"bias": np.zeros(3)}, ValueError, "bias must have shape (6,)", "not (3,)"),
    ({"grad_output": np.zeros((2, 6, 9))}, ValueError, "(2, 6, 10), not (2, 6, 9)", "length 8"),
    ({"grad_output": np.zeros((6, 10))}, ValueError, "grad_output", "(6, 10)", "(2, 4, 8)"),
    ({"layout": "LNC"}, ValueError, "layout must be 'NCL' or 'NLC', not 'LNC'"),
    ({"accumulate": True}, ValueError, "accumulate needs out"),
    ({"padding": {1, 2}}, TypeError, PAIR + "{1, 2}"),
    ({"padding": None}, TypeError, PAIR + "None"),
    ({"padding": 2**60}, ValueError, f"padding must be at most 2**48, not {2**60}"),
    ({"output_padding": 0.0}, TypeError, "output_padding must be an integer, not 0.0"),
    ({"output_padding": "1"}, TypeError, "output_padding must be an integer, not '1'"),
    ({"weight": [[1.0], [2.0, 3.0]]}, ValueError, "weight is not a rectangular array"),
    ({"weight": np.zeros((4, 3, 3), bool)}, TypeError, "weight must hold", "not bool"),
    ({"input": np.zeros((2, 4, 8), object)}, TypeError, "input must hold", "not object"),
    ({"grad_output": np.zeros((2, 6, 10), "f4")}, TypeError, "grad_output float32", "float64"),
    ({"layout": 0}, TypeError, "layout must be 'NCL' or 'NLC', not 0"),
    ({"accumulate": "yes"}, TypeError, "accumulate must be True or False, not 'yes'"),
]

REFUSED_BY_CONVOLVE = [
    ({"a": []}, ValueError, "a cannot be empty"),
    ({"v": []}, ValueError, "v cannot be empty"),
    ({"a": [], "v": []}, ValueError, "a cannot be empty"),
    ({"a": np.ones((0, 2)), "axis": 0}, ValueError, "a cannot be empty"),
    ({"v": np.ones((2, 0))}, ValueError, "v cannot be empty"),
    ({"v": np.ones((3, 2))}, ValueError, ": their lengths are (3,) and (2,)"),
    ({"axis": 0}, ValueError, "axes of v before its taps do not broadcast", "(2,) and (5,)"),
    ({"axis": 2}, np.exceptions.AxisError, "axis 2 is out of bounds for array of dimension 2"),
    ({"axis": -3}, np.exceptions.AxisError, "axis -3 is out of bounds for array of dimension 2"),
    ({"axis": 2**70}, np.exceptions.AxisError, f"axis {2**70} is out of bounds"),
    ({"axis": 0.0}, TypeError, "axis must be an integer, not 0.0"),
    ({"axis": None}, TypeError, "axis must be an integer, not None"),
    ({"axis": (0,)}, TypeError, "axis must be an integer, not (0,)"),
    ({"mode": "circular"}, ValueError, "mode must be 'full', 'same' or 'valid'", "not 'circular'"),
    ({"mode": 3}, ValueError, "integer for it, not 3"),
    ({"mode": 1.0}, TypeError, "integer for it, not 1.0"),
    ({"mode": None}, TypeError, "integer for it, not None"),
    ({"mode": ["full"]}, TypeError, "integer for it, not ['full']"),
    ({"a": None}, TypeError, "a must be an array, not None"),
    ({"v": None}, TypeError, "v must be an array, not None"),
    ({"a": [[1.0], [1.0, 2.0]]}, ValueError, "a is not a rectangular array"),
    ({"v": [[1.0], [1.0, 2.0]]}, ValueError, "v is not a rectangular array"),
    ({"a": ["a"]}, TypeError, "a must hold numbers or objects, not <U1"),
    ({"v": b"taps"}, TypeError, "v must hold numbers or objects, not |S4"),
    ({"a": np.ones(2, "M8[s]")}, TypeError, "a must hold numbers or objects, not datetime64[s]"),
    ({"v": np.ones(2, "m8[s]")}, TypeError, "v must hold numbers or objects, not timedelta64[s]"),
    ({"a": np.ones(2, "f4,f4")}, TypeError, "a must hold numbers or objects, not"),
]

REFUSED_NUMBERS_OF_THREADS = [
    ({"n": 0}, ValueError, "n must be at least 1, not 0"),
    ({"n": -1}, ValueError, "n must be at least 1, not -1"),
    ({"n": 1.5}, TypeError, "n must be an integer, not 1.5"),
    ({"n": "2"}, TypeError, "n must be an integer, not '2'"),
    ({"n": True}, TypeError, "n must be an integer, not True"),
    ({"n": None}, TypeError, "n must be an integer, not None"),
    ({"n": 2**70}, ValueError, f"n must be at most 2**48, not {2**70}"),
]

ONE = np.ones(4)
# With the name of the function in front.
REFUSED_BY_ONE = [
    (
        "conv1d_backward_input",
        {"input_length": 11},
        ValueError,
        "(2, 6, 9)",
        "(2, 6, 8)",
        "input length 11",
    ),
    ("conv1d_backward_weight", {"kernel_size": 2}, ValueError, "(2, 6, 9)", "(2, 6, 8)"),
    ("conv1d", {"bias": np.zeros(5)}, ValueError, "bias", "(6,)", "(5,)"),
    ("conv1d", {"bias": np.zeros((6, 1))}, ValueError, "bias", "(6,)", "(6, 1)"),
    ("conv1d", {"bias": 1.0}, ValueError, "bias", "(6,)", "()"),
    ("conv1d", {"bias": np.zeros(6, np.float32)}, TypeError, "bias float32", "input float64"),
    ("conv1d", {"bias": np.zeros(6, bool)}, TypeError, "bias", "bool"),
    ("conv1d", {"bias": ["a"] * 6}, TypeError, "bias", "<U1"),
    (
        "conv1d",
        {"weight": np.zeros((5, 2, 3)), "bias": None},
        ValueError,
        "5 output channels",
        "2 groups",
    ),
    ("conv1d", {"groups": 1}, ValueError, "(6, 2, 3)", "groups 1", "2 input", "has 4"),
    (
        "conv1d",
        {"input": np.zeros((2, 4, 0)), "padding": 5, "padding_mode": "replicate"},
        ValueError,
        "'replicate' takes an input of at least 1 sample",
        "length is 0",
        "(5, 5)",
    ),
    (
        "conv1d",
        {"input": np.zeros((2, 4, 0)), "padding": 5, "padding_mode": "reflect"},
        ValueError,
        "below the input length 0",
    ),
    (
        "conv1d",
        {"input": np.zeros((2, 4, 0)), "padding": 5, "padding_mode": "circular"},
        ValueError,
        "at most the input length 0",
    ),
    ("conv1d", {"groups": 4}, ValueError, "6 output channels", "4 groups"),
    ("conv1d", {"groups": 3}, ValueError, "4 input channels", "3 groups"),
    ("conv1d", {"input": np.zeros((2, 6, 10))}, ValueError, "(6, 2, 3)", "takes 4", "has 6"),
    ("conv1d", {"weight": np.zeros((6, 4, 3))}, ValueError, "(6, 4, 3)", "takes 8", "has 4"),
    (
        "conv1d",
        {"input": ONE, "weight": [1.0], "bias": [1.0, 2.0], "groups": 1},
        ValueError,
        "(1,)",
    ),
    ("conv1d", {"input": ONE, "weight": np.ones(5), "bias": None, "groups": 1}, ValueError, "5"),
    (
        "conv1d",
        {"input": ONE, "weight": np.ones(0), "bias": None, "groups": 1},
        ValueError,
        "weight must have at least 1 tap, but its shape is (0,)",
    ),
    (
        "conv1d",
        {"input": np.ones(4, int), "weight": [0.5], "bias": None, "groups": 1},
        TypeError,
        "weight",
        "float64",
        "int64",
    ),
    ("conv1d", {"input": np.zeros((2, 10, 4))}, ValueError, "(6, 2, 3)", "takes 4", "has 10"),
    ("conv1d", {"layout": "NLC"}, ValueError, "takes 4 input channels, but input has 10"),
    ("conv1d", {"out": [0.0]}, TypeError, "out must be a NumPy array, not list"),
    ("conv1d", {"out": np.zeros((2, 6, 8), "f4")}, TypeError, "dtype float64, not float32"),
    ("conv1d", {"out": np.zeros((2, 6, 8), ">f8")}, TypeError, "out must have dtype", ">f8"),
    ("conv1d", {"out": np.zeros((2, 6, 9))}, ValueError, "out must have shape (2, 6, 8)", "9)"),
    ("conv1d", {"out": np.zeros((6, 8))}, ValueError, "out must have shape (2, 6, 8)", "(6, 8)"),
    (
        "conv1d",
        {"out": np.broadcast_to(0.0, (2, 6, 8))},
        ValueError,
        "out must be writeable, but it is read-only",
    ),
    (
        "conv1d",
        {"input": np.zeros((2, 10, 4)), "layout": "NLC", "out": np.zeros((2, 6, 8))},
        ValueError,
        "out must have shape (2, 8, 6), not (2, 6, 8)",
    ),
    (
        "conv1d_backward",
        {"grad_output": np.zeros((2, 6, 8)), "input": np.zeros((2, 10, 4)), "layout": "NLC"},
        ValueError,
        "grad_output must have shape (2, 8, 6), not (2, 6, 8)",
        "8 is the output length for input length 10",
    ),
    ("conv1d_backward", {"out": np.zeros((3, 4))}, TypeError, "Gradients", "not ndarray"),
    ("conv1d_backward", {"out": (None, None)}, ValueError, "out must be Gradients", "not 2 values"),
    ("conv1d_backward", {"out": (None, [], None)}, TypeError, "out.weight must be", "not list"),
    (
        "conv1d_backward",
        {"out": Gradients(np.zeros((2, 4, 10)), None, np.zeros((6, 1)))},
        ValueError,
        "out.bias must have shape (6,), not (6, 1)",
    ),
    (
        "conv1d_backward",
        {"out": Gradients(np.zeros((2, 4, 10)), None, None), "needs": (False, True, True)},
        ValueError,
        "out.input is given, but needs is (False, True, True)",
    ),
    (
        "conv1d_backward",
        {"out": Gradients(np.zeros((2, 4, 10)), None, np.zeros(6)), "accumulate": True},
        ValueError,
        "accumulate needs out.weight",
    ),
    (
        "conv1d_backward_input",
        {"out": np.zeros((2, 4, 11))},
        ValueError,
        "out must have shape (2, 4, 10), not (2, 4, 11)",
    ),
    (
        "conv1d_backward_weight",
        {"out": np.zeros((6, 4, 3)), "accumulate": True},
        ValueError,
        "out must have shape (6, 2, 3), not (6, 4, 3)",
    ),
    ("conv1d_backward", {"groups": 3}, ValueError, "4 input channels", "3 groups"),
    ("conv1d_backward", {"weight": np.zeros((5, 2, 3))}, ValueError, "5 output channels"),
    ("conv1d_backward", {"groups": 1}, ValueError, "(6, 2, 3)", "groups 1", "has 4"),
    ("conv1d_backward", {"input": np.zeros((3, 4, 10))}, ValueError, "grad_output", "(3, 6, 8)"),
    ("conv1d_backward", {"grad_output": np.zeros((2, 5, 8))}, ValueError, "(2, 6, 8)", "(2, 5, 8)"),
    ("conv1d_backward", {"grad_output": np.zeros((6, 8))}, ValueError, "(6, 8)", "(2, 4, 10)"),
    ("conv1d_backward", {"needs": (True, True)}, ValueError, "needs", "(True, True)"),
    ("conv1d_backward", {"needs": (True,) * 4}, ValueError, "needs", "three"),
    ("conv1d_backward", {"needs": ()}, ValueError, "needs", "()"),
    (
        "conv1d_backward",
        {"grad_output": np.ones(5), "input": ONE, "weight": np.ones(2), "groups": 1},
        ValueError,
        "grad_output",
        "(5,)",
        "3 is the output length for input length 4",
    ),
    (
        "conv1d_backward",
        {"grad_output": np.ones((6, 7)), "input": np.zeros((4, 10))},
        ValueError,
        "grad_output",
        "(6, 7)",
        "8 is the output length for input length 10",
    ),
    ("conv1d_backward", {"input": np.zeros((4, 10))}, ValueError, "input", "(4, 10)", "(2, 6, 8)"),
    ("conv1d_backward_input", {"weight": np.zeros((5, 2, 3))}, ValueError, "5 output channels"),
    ("conv1d_backward_input", {"groups": 4}, ValueError, "6 output channels", "4 groups"),
    ("conv1d_backward_input", {"grad_output": np.zeros((2, 4, 8))}, ValueError, "(2, 4, 8)"),
    ("conv1d_backward_weight", {"groups": 4}, ValueError, "6 output channels", "4 groups"),
    ("conv1d_backward_weight", {"groups": 3}, ValueError, "4 input channels", "3 groups"),
    ("conv1d_backward_weight", {"input": np.zeros((1, 4, 10))}, ValueError, "(1, 6, 8)"),
    ("conv1d_backward_weight", {"input": np.zeros((4, 10))}, ValueError, "(4, 10)", "(2, 6, 8)"),
    (
        "conv1d",
        {"input": np.ones(4, np.int8), "weight": [300, 1], "bias": None, "groups": 1},
        ValueError,
        "weight holds numbers from 1 to 300, which do not all go into int8",
    ),
    (
        "conv1d",
        {"input": np.ones(4, np.uint8), "weight": [-1], "bias": None, "groups": 1},
        ValueError,
        "weight holds numbers from -1 to -1, which do not all go into uint8",
    ),
    ("conv1d", {"bias": [[0.0], [0.0, 0.0]]}, ValueError, "bias is not a rectangular array"),
    (
        "conv1d",
        {"out": in_strides(0, 8, 1)},
        ValueError,
        "out must not overlap itself",
        "(0, 64, 8)",
    ),
    ("conv1d", {"out": in_strides(48, 7, 1)}, ValueError, "out must not overlap itself in memory"),
    ("conv1d", {"out": in_strides(1, 2, -11)}, ValueError, "out must not overlap itself"),
    (
        "conv1d",
        {"out": in_strides(1, 1, 1), "accumulate": True},
        ValueError,
        "out must not overlap itself in memory, but it has shape (2, 6, 8) and strides (8, 8, 8) "
        "of items of 8 bytes",
    ),
    (
        "conv1d_backward",
        {"out": (None, None, np.lib.stride_tricks.as_strided(np.zeros(6), (6,), (0,)))},
        ValueError,
        "out.bias must not overlap itself in memory, but it has shape (6,)",
    ),
    (
        "conv1d_backward_weight",
        {"per_sample": 1},
        TypeError,
        "per_sample must be True or False, not 1",
    ),
    ("conv1d_backward", {"needs": None}, TypeError, "three truth values", "not None"),
    ("conv1d_backward", {"needs": "all"}, TypeError, "three truth values", "not 'all'"),
    ("conv1d_backward", {"needs": (1, 1, 0)}, TypeError, "three truth values", "not (1, 1, 0)"),
    ("conv1d_backward", {"needs": np.array(True)}, TypeError, "three truth values", "array(True)"),
    ("conv1d_backward", {"out": [None] * 4}, ValueError, "out must be Gradients", "not 4 values"),
    (
        "conv1d_backward",
        {"out": Gradients(np.zeros((2, 4, 10), "f4"), None, None)},
        TypeError,
        "out.input must have dtype float64, not float32",
    ),
    (
        "conv1d_backward",
        {"out": Gradients(None, np.broadcast_to(0.0, (6, 2, 3)), None)},
        ValueError,
        "out.weight must be writeable, but it is read-only",
    ),
    ("PreparedConv1d", {"weight": np.ones((6, 3))}, ValueError, "weight must have", "(6, 3)"),
    ("PreparedConv1d", {"weight": np.ones((6, 2, 0))}, ValueError, "weight", "1 tap"),
    ("PreparedConv1d", {"weight": np.ones((1, 6, 2, 3))}, ValueError, "weight", "each sample"),
    ("PreparedConv1d", {"weight": None}, TypeError, "weight must be an array, not None"),
    ("PreparedConv1d", {"weight": np.ones((6, 2, 3), bool)}, TypeError, "weight", "not bool"),
    ("PreparedConv1d", {"weight": np.ones((6, 2, 3), "f")}, TypeError, "one dtype", "bias float64"),
    ("PreparedConv1d", {"bias": np.ones(3)}, ValueError, "bias must have shape (6,)", "not (3,)"),
    ("PreparedConv1d", {"bias": np.ones((2, 6))}, ValueError, "bias must have shape (6,)"),
    ("PreparedConv1d", {"groups": 4}, ValueError, "6 output channels", "4 groups"),
    ("PreparedConv1d", {"groups": 0}, ValueError, "groups must be at least 1, not 0"),
    ("PreparedConv1d", {"stride": 0}, ValueError, "stride must be at least 1, not 0"),
    ("PreparedConv1d", {"stride": 1.0}, TypeError, "stride must be an integer, not 1.0"),
    ("PreparedConv1d", {"dilation": (1, 2)}, TypeError, "dilation must be an integer"),
    ("PreparedConv1d", {"padding": -1}, ValueError, "padding must be at least 0, not -1"),
    ("PreparedConv1d", {"padding": "SAME"}, ValueError, WORDS + "'SAME'"),
    ("PreparedConv1d", {"padding": (1, 2, 3)}, ValueError, WORDS + "3 values: (1, 2, 3)"),
    ("PreparedConv1d", {"padding_mode": "mirror"}, ValueError, "padding_mode", "not 'mirror'"),
    ("PreparedConv1d", {"padding_mode": 1}, TypeError, "padding_mode must be a string, not 1"),
    ("PreparedConv1d", {"layout": "NWC"}, ValueError, "layout must be 'NCL' or 'NLC', not 'NWC'"),
    ("conv_transpose1d", {"out": [0.0]}, TypeError, "out must be a NumPy array, not list"),
    ("conv_transpose1d", {"out": np.zeros((2, 6, 9))}, ValueError, "(2, 6, 10), not (2, 6, 9)"),
    ("conv_transpose1d", {"padding_mode": "zeros"}, TypeError, "padding_mode"),
    ("conv_transpose1d_backward", {"out": [0.0]}, ValueError, "Gradients", "not 1 values"),
    ("conv_transpose1d_backward", {"out": "new"}, TypeError, "out must be Gradients", "not str"),
    ("conv_transpose1d_backward", {"needs": (True,)}, ValueError, "three truth values", "(True,)"),
    ("show_config", {"mode": "x"}, ValueError, "mode must be 'stdout' or 'dicts', not 'x'"),
    ("show_config", {"mode": None}, TypeError, "mode must be 'stdout' or 'dicts', not None"),
    ("show_config", {"mode": np.array(["x", "y"])}, TypeError, "mode must be", "not array("),
    ("correlate", {"a": 1.0}, ValueError, "a must have at least one axis, not 1.0"),
    ("correlate", {"v": np.float32(1)}, ValueError, "v must have at least one axis"),
]

REFUSED_BY_ALL_OF = [
    ("conv1d", REFUSED_BY_CONV1D),
    ("conv_transpose1d", REFUSED_BY_CONV_TRANSPOSE1D),
    ("convolve correlate", REFUSED_BY_CONVOLVE),
    ("set_num_threads num_threads", REFUSED_NUMBERS_OF_THREADS),
]


def parameters(function):
    return inspect.signature(getattr(cconv1d, function)).parameters.keys()


def refusals():
    """Each refusal as one case, with a name that says what is wrong."""
    rows = list(REFUSED_BY_ONE)
    for names, table in REFUSED_BY_ALL_OF:
        for function in VALID:
            if function.startswith(tuple(names.split())):
                known = parameters(function)
                rows += [(function, *row) for row in table if row[0].keys() <= known]
    for function, changes, error, *words in rows:
        what = ", ".join(f"{name} {brief(value)}" for name, value in changes.items())
        yield pytest.param(function, changes, error, words, id=f"{function}: {what}")


def brief(value):
    if isinstance(value, (tuple, list)):
        return f"({', '.join(map(brief, value))})"
    return f"{value.dtype}{value.shape}" if isinstance(value, np.ndarray) else repr(value)


TWO_D = re.compile(
    r"\b(2-?d|3-?d|heights?|widths?|rows?|columns?|images?|pixels?|spatial|planes?|conv2d)\b",
    re.IGNORECASE,
)


def content(value):
    """All that a call could change of its arguments."""
    if isinstance(value, np.ndarray):
        return value.tobytes(), value.shape, value.strides, str(value.dtype)
    if isinstance(value, (tuple, list)):
        return [content(item) for item in value]
    return repr(value)


def assert_refused(function, arguments, error, words):
    before = content(list(arguments.values()))
    threads = cconv1d.get_num_threads()
    with pytest.raises(error) as raised:
        getattr(cconv1d, function)(**arguments)
    message = str(raised.value)
    for word in words:
        assert word in message
    assert content(list(arguments.values())) == before
    assert cconv1d.get_num_threads() == threads
    if not arguments.keys() <= parameters(function):
        return  # it is Python that refuses those
    assert message.startswith(f"{function}: ")
    assert re.search(rf"\b({'|'.join(parameters(function))})\b", message), "names no argument"
    assert not TWO_D.search(message)


#: These have tables in test_step.py, test_stream.py and test_causal.py.
ELSEWHERE = (
    *("Stream", "conv1d_step", "conv1d_step_backward", "causal_conv1d_fn"),
    *("causal_conv1d_backward", "causal_conv1d_update", "causal_conv1d_varlen_states"),
    "choose_method",
)
REFUSE_NOTHING = (
    *("Gradients", "StepGradients", "CausalGradients", "MethodChoice"),
    *("get_include", "get_num_threads"),
)


def test_every_public_function_is_here():
    functions = [name for name in cconv1d.__all__ if callable(getattr(cconv1d, name))]
    assert sorted([*VALID, *ELSEWHERE, *REFUSE_NOTHING]) == sorted(functions)


@pytest.mark.thread_unsafe
@pytest.mark.parametrize("function", VALID)
def test_what_the_refusals_change_is_valid(backend, function):
    before = cconv1d.get_num_threads()
    try:
        getattr(cconv1d, function)(**VALID[function])
    finally:
        cconv1d.set_num_threads(before)


def sevens(results):
    """What could have been an `out` for results like these."""
    if isinstance(results, tuple):
        return Gradients(*map(sevens, results))
    return np.full_like(results, 7)


@pytest.mark.parametrize(("function", "changes", "error", "words"), list(refusals()))
def test_refusals(backend, function, changes, error, words):
    arguments = VALID[function]
    assert_refused(function, arguments | changes, error, words)
    if "out" in parameters(function) and not {"out", "accumulate"} & changes.keys():
        out = sevens(getattr(cconv1d, function)(**arguments))
        for accumulate in (False, True):
            given = {"out": out, "accumulate": accumulate} | changes
            assert_refused(function, arguments | given, error, words)


@pytest.mark.parametrize(("function", "changes", "error", "words"), list(refusals()))
def test_the_docstring_names_the_kind_of_error(function, changes, error, words):
    text = inspect.getdoc(getattr(cconv1d, function))
    kinds = [kind.__name__ for kind in error.__mro__]
    section = text.split("Raises\n------\n")[1].split("\n\n")[0]
    named = re.findall(r"^\w+Error(?:, \w+Error)*$", section, re.MULTILINE)
    assert set(", ".join(named).split(", ")) & set(kinds)


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ({"padding": (0, 0)}, {"padding": (0.0, 0.0)}),
        ({"padding": (0, 0)}, {"padding": (False, False)}),
        ({"padding": (0,)}, {"padding": (0.0,)}),
        ({"padding": 0}, {"padding": 0.0}),
        ({"stride": (1,)}, {"stride": (True,)}),
        ({"stride": 1}, {"stride": 1.0}),
        ({"dilation": (1,)}, {"dilation": (1.0,)}),
        ({"dilation": 1}, {"dilation": True}),
    ],
    ids=str,
)
def test_refusals_after_an_equal_call_that_is_valid(backend, good, bad):
    """1 == 1.0 == True, so what is remembered of one call must not answer the other."""
    for function, arguments in VALID.items():
        if not good.keys() <= parameters(function):
            continue
        call = getattr(cconv1d, function)
        call(**arguments, **good)
        with pytest.raises(TypeError, match="must be an integer"):
            call(**arguments, **bad)
