"""Every public function with every dtype that the documentation claims, and what none warns of.

A public function or a dtype that is missing here is a failure, too.
"""

from __future__ import annotations

import inspect
import re
import warnings
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
from packages import REPO
from support import (
    loop_backward_bias,
    loop_backward_input,
    loop_backward_weight,
    loop_forward,
    wrapped,
)

import cconv1d
from cconv1d import PreparedConv1d, _backend
from cconv1d._arrays import is_bfloat16
from cconv1d._geometry import resolve

same = np.testing.assert_array_equal

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
INTEGERS = [np.dtype(char) for char in np.typecodes["AllInteger"]]
#: What the documentation says, word by word.
CLAIMS = {
    "float16": [np.dtype(np.float16)],
    "bfloat16": [BFLOAT16],
    "float32": [np.dtype(np.float32)],
    "float64": [np.dtype(np.float64)],
    "complex64": [np.dtype(np.complex64)],
    "complex128": [np.dtype(np.complex128)],
    "integers": INTEGERS,
    "extended precision": [np.dtype(np.longdouble), np.dtype(np.clongdouble)],
    "truth values": [np.dtype(bool)],
    "objects": [np.dtype(object)],
}
#: These are for `convolve` and `correlate` alone.
NUMPY_ONLY = CLAIMS["truth values"] + CLAIMS["objects"]
NUMERIC = [dtype for claim in CLAIMS.values() for dtype in claim if dtype not in NUMPY_ONLY]

NO_ARRAYS = {
    "Gradients",
    "conv1d_output_length",
    "conv_transpose1d_output_length",
    "get_include",
    "get_num_threads",
    "num_threads",
    "set_num_threads",
    "show_config",
}


#: What these do with dtypes is in test_step.py, test_stream.py and test_causal.py.
ELSEWHERE = {
    *("Stream", "conv1d_step", "conv1d_step_backward", "StepGradients", "CausalGradients"),
    *("choose_method", "MethodChoice"),
    *("causal_conv1d_fn", "causal_conv1d_backward", "causal_conv1d_update"),
    "causal_conv1d_varlen_states",
}

#: Of a convolution from x to y; the transposed one has the same.
OPTIONS = {"stride": 2, "padding": (3, 1), "dilation": 2, "groups": 2}


G = resolve("test", 11, 3, 2, (3, 1), 2)
SHAPES = {"x": (2, 4, 11), "w": (6, 2, 3), "y": (2, 6, G.output_length), "b": (6,), "c": (4,)}
A, V = (2, 9), (3, 1, 4)


def prepared(a):
    layer = PreparedConv1d(a["w"], a["b"], **OPTIONS)
    return layer(a["x"]), *layer.backward(a["y"], a["x"])


#: Of each public function that takes arrays what it returns for some.
CALLS = {
    "conv1d": lambda a: [cconv1d.conv1d(a["x"], a["w"], a["b"], **OPTIONS)],
    "conv1d_backward": lambda a: cconv1d.conv1d_backward(a["y"], a["x"], a["w"], **OPTIONS),
    "conv1d_backward_input": lambda a: [
        cconv1d.conv1d_backward_input(a["y"], a["w"], 11, **OPTIONS)
    ],
    "conv1d_backward_weight": lambda a: [
        cconv1d.conv1d_backward_weight(a["y"], a["x"], 3, **OPTIONS)
    ],
    "conv_transpose1d": lambda a: [cconv1d.conv_transpose1d(a["y"], a["w"], a["c"], **OPTIONS)],
    "conv_transpose1d_backward": lambda a: cconv1d.conv_transpose1d_backward(
        a["x"], a["y"], a["w"], **OPTIONS
    ),
    "PreparedConv1d": prepared,
    **{
        name: lambda a, name=name: [
            getattr(cconv1d, name)(a["a"], a["v"], mode) for mode in ("full", "same", "valid")
        ]
        for name in ("convolve", "correlate")
    },
}


def slid(a, v, mode):
    """`numpy.convolve` of every row with every kernel, as sums over Python's numbers."""
    full = np.zeros((len(v), len(a), a.shape[-1] + v.shape[-1] - 1), object)
    for k, n in np.ndindex(full.shape[:2]):
        for i, j in np.ndindex(a.shape[-1], v.shape[-1]):
            full[k, n, i + j] += a[n, i] * v[k, 0, j]
    taps = v.shape[-1]
    first, last = {"full": (0, None), "same": ((taps - 1) // 2, -(taps // 2))}.get(
        mode, (taps - 1, 1 - taps)
    )
    return full[..., first:last]


def expected(name, a):
    """The same of arrays of Python's numbers."""
    if name == "conv1d":
        return [loop_forward(a["x"], a["w"], a["b"], G, 2)]
    if name == "conv1d_backward_input":
        return [loop_backward_input(a["y"], a["w"], G, 2)]
    if name == "conv1d_backward_weight":
        return [loop_backward_weight(a["y"], a["x"], 3, G, 2)]
    if name == "conv1d_backward":
        gradients = "conv1d_backward_input", "conv1d_backward_weight"
        return [expected(which, a)[0] for which in gradients] + [loop_backward_bias(a["y"])]
    if name == "PreparedConv1d":
        return expected("conv1d", a) + expected("conv1d_backward", a)
    if name == "conv_transpose1d":
        y = loop_backward_input(a["y"], np.conjugate(a["w"]), G, 2)
        return [y + a["c"][:, np.newaxis]]
    if name == "conv_transpose1d_backward":
        return [
            loop_forward(a["x"], np.conjugate(a["w"]), None, G, 2),
            np.conjugate(loop_backward_weight(a["y"], a["x"], 3, G, 2)),
            loop_backward_bias(a["x"]),
        ]
    v = a["v"] if name == "convolve" else turned(a["v"])
    return [slid(a["a"], v, mode) for mode in ("full", "same", "valid")]


def turned(v):
    """Objects are not conjugated, and what is an object here need not have been one."""
    return (np.conjugate(v) if isinstance(v.flat[0], complex | np.clongdouble) else v)[..., ::-1]


def arrays(dtype, seed=0):
    """Of all numbers of an integer dtype, else normally distributed; of large objects."""
    rng = np.random.default_rng(seed)
    results = {}
    for name, shape in (SHAPES | {"a": A, "v": V}).items():
        if dtype.kind in "iu":
            limits = np.iinfo(dtype)
            values = rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)
        elif dtype.kind == "b":
            values = rng.random(shape) < 0.4
        elif dtype.kind == "O":
            values = rng.integers(-9, 10, shape).astype(object) * Fraction(10**30, 7)
        else:
            values = rng.standard_normal(shape)
            if dtype.kind == "c":
                values = values + 1j * rng.standard_normal(shape)
        results[name] = values.astype(dtype)
    return results


def as_objects(array):
    """As Python's numbers, or NumPy's of extended precision, which hold those of the array."""
    if is_bfloat16(array.dtype):
        array = array.astype(np.float64)
    elif array.dtype.kind == "b":
        array = array.astype(int)
    return array.astype(object)


def check(results, exact, sums, dtype):
    for got, values, reach in zip(results, exact, sums, strict=True):
        assert got.dtype == dtype
        assert type(got) is np.ndarray
        assert got.shape == values.shape
        if dtype.kind in "iuO":
            same(got, wrapped(values, dtype))
        elif dtype.kind == "b":
            same(got, values != 0)
        else:
            limits = ml_dtypes.finfo(dtype)
            wide = np.clongdouble if dtype.kind == "c" else np.longdouble
            values, reach = values.astype(wide), reach.astype(np.longdouble)
            if dtype.itemsize == 2:  # rounded once, after a sum in float32
                bound = float(limits.eps) / 2 * abs(values) + 8 * np.finfo(np.float32).eps * reach
            else:
                bound = 8 * limits.eps * reach
            bound = bound + float(limits.smallest_subnormal)
            assert (abs(got.astype(wide) - values) <= bound).all()


# --- what is listed -------------------------------------------------------------------------------


def test_no_public_function_is_missing():
    public = {name for name in cconv1d.__all__ if callable(getattr(cconv1d, name))}
    assert public == CALLS.keys() | NO_ARRAYS | ELSEWHERE
    assert not CALLS.keys() & NO_ARRAYS
    for name in NO_ARRAYS - {"Gradients"}:
        annotations = inspect.signature(getattr(cconv1d, name)).parameters.values()
        assert not any("Array" in str(parameter.annotation) for parameter in annotations)


def test_no_dtype_is_missing():
    """None that the documentation claims, and none that NumPy has."""
    pages = [REPO / "README.md", REPO / "docs" / "dtypes.md"]
    texts = [page.read_text("utf-8") for page in pages if page.exists()]
    texts += [inspect.getdoc(getattr(cconv1d, name)) for name in CALLS]
    text = " ".join(" ".join(texts).lower().split())
    words = set(re.findall(r"\b(?:bfloat|float|complex|u?int)\d+\b", text))
    assert words <= CLAIMS.keys()
    assert {"float32", "complex128", "float16", "bfloat16"} <= words
    for claim in CLAIMS.keys() - words:
        assert claim in text
    codes = np.typecodes["AllInteger"] + np.typecodes["AllFloat"]
    assert {np.dtype(code) for code in codes} | {BFLOAT16} == set(NUMERIC)


# --- values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", NUMERIC, ids=str)
@pytest.mark.parametrize("name", CALLS)
def test_values(backend, name, dtype):
    given = arrays(dtype)
    objects = {key: as_objects(array) for key, array in given.items()}
    sizes = {key: abs(array) for key, array in objects.items()}
    check(CALLS[name](given), expected(name, objects), expected(name, sizes), dtype)


@pytest.mark.parametrize("dtype", NUMPY_ONLY, ids=str)
@pytest.mark.parametrize("name", ["convolve", "correlate"])
def test_values_that_numpy_sums(backend, name, dtype):
    given = arrays(dtype)
    exact = expected(name, {key: as_objects(array) for key, array in given.items()})
    check(CALLS[name](given), exact, exact, dtype)


@pytest.mark.parametrize("dtype", NUMPY_ONLY, ids=str)
@pytest.mark.parametrize("name", sorted(CALLS.keys() - {"convolve", "correlate"}))
def test_what_only_numpy_sums_is_refused(name, dtype):
    with pytest.raises(
        TypeError, match=f"must hold integers, real or complex numbers, not {dtype}"
    ):
        CALLS[name](arrays(dtype))


# --- bfloat16 beside other dtypes -----------------------------------------------------------------


@pytest.mark.parametrize("name", ["convolve", "correlate"])
def test_bfloat16_is_promoted_as_numpy_does(backend, name):
    function = getattr(cconv1d, name)
    a, v = np.array([1, 2, 3, 4], BFLOAT16), np.array([1, 2])
    for other in [np.dtype(code) for code in "?bBfdgFDGO"]:
        for pair in ((a, v.astype(other)), (v.astype(other), a)):
            y = function(*pair, "full")
            assert y.dtype == np.promote_types(BFLOAT16, other)
            same(y.astype(object), getattr(np, name)(*(p.astype(object) for p in pair), "full"))
    for other in [np.dtype(code) for code in "ehHiIqQ"]:
        with pytest.raises(
            TypeError,
            match=f"{name}: NumPy promotes a of dtype bfloat16 and v of dtype {other} to no",
        ):
            function(a, v.astype(other))


# --- silence --------------------------------------------------------------------------------------


def extreme(dtype):
    """The largest numbers, infinities and NaN: sums overflow, and are of no number."""
    result = arrays(dtype)
    for i, array in enumerate(result.values()):
        if dtype.kind in "iu":
            array[...] = np.iinfo(dtype).max
            continue
        limits = ml_dtypes.finfo(dtype)
        array[...] = limits.max
        array[..., i % array.shape[-1]] = limits.smallest_subnormal
        array.flat[0], array.flat[-1] = (np.inf, -np.inf)[:: 1 - i % 2 * 2]
        array.flat[array.size // 2] = np.nan
    return result


@pytest.mark.parametrize("dtype", NUMERIC, ids=str)
@pytest.mark.parametrize("name", CALLS)
def test_no_function_warns_of_overflow_or_nan(backend, name, dtype):
    """Or raises, whatever NumPy has been told to do about either; what else is told, it heeds."""
    given = extreme(dtype)
    with warnings.catch_warnings(), np.errstate(all="raise"):
        warnings.simplefilter("error")
        before = np.geterr()
        results = CALLS[name](given)
        assert np.geterr() == before
    if dtype.kind not in "iu":
        assert not all(np.isfinite(result.astype(np.clongdouble)).all() for result in results)


@pytest.mark.parametrize("dtype", NUMERIC, ids=str)
@pytest.mark.parametrize("layout", ["NCL", "NLC"])
def test_nor_does_adding_to_what_there_is(backend, dtype, layout):
    given = extreme(dtype)
    x, y = (given[key].swapaxes(1, 2) if layout == "NLC" else given[key] for key in ("x", "y"))
    w, b, c, options = given["w"], given["b"], given["c"], OPTIONS | {"layout": layout}
    layer = PreparedConv1d(w, b, **options)
    with warnings.catch_warnings(), np.errstate(all="raise"):
        warnings.simplefilter("error")
        for accumulate in (False, True):
            more = options | {"accumulate": accumulate}
            out = y.copy()
            assert cconv1d.conv1d(x, w, b, **more, out=out) is out
            assert layer(x, out, accumulate=accumulate) is out
            outs = cconv1d.Gradients(x.copy(), w.copy(), b.copy())
            cconv1d.conv1d_backward(y, x, w, **more, out=outs)
            layer.backward(y, x, out=outs, accumulate=accumulate)
            cconv1d.conv1d_backward_input(y, w, 11, **more, out=outs.input)
            cconv1d.conv1d_backward_weight(y, x, 3, **more, out=outs.weight)
            cconv1d.conv_transpose1d(y, w, c, **more, out=outs.input)
            outs = cconv1d.Gradients(y.copy(), w.copy(), c.copy())
            cconv1d.conv_transpose1d_backward(x, y, w, **more, out=outs)


@pytest.mark.parametrize("dtype", NUMERIC, ids=str)
def test_nor_do_samples_with_weights_of_their_own(backend, dtype):
    given = extreme(dtype)
    w = np.stack([given["w"]] * 2)
    with warnings.catch_warnings(), np.errstate(all="raise"):
        warnings.simplefilter("error")
        cconv1d.conv1d(given["x"], w, given["b"], **OPTIONS)
        cconv1d.conv1d_backward(given["y"], given["x"], w, **OPTIONS)
        cconv1d.conv1d_backward_weight(given["y"], given["x"], 3, **OPTIONS, per_sample=True)


def test_numbers_in_lists_are_converted_by_numpy(backend):
    """Which warns of what a dtype cannot hold, with any backend; nothing has been computed yet."""
    with pytest.warns(RuntimeWarning, match="overflow encountered in cast"):
        y = cconv1d.conv1d(np.ones(2, np.float32), [1e300])
    same(y, [np.inf, np.inf])


def test_the_reference_leaves_the_state_of_others_alone():
    """Also where one of its maps raises."""
    with np.errstate(over="raise"):
        with pytest.raises(AttributeError):
            _backend.REFERENCE.forward(None, None, None, None, None, 1)
        with pytest.raises(FloatingPointError):
            np.float64(1e300) * np.float64(1e300)


# --- subclasses -----------------------------------------------------------------------------------


def masked(array):
    """Every other number below the mask."""
    return np.ma.array(array, mask=np.arange(array.size).reshape(array.shape) % 2)


class Metres(np.ndarray):
    """An array with a unit, which does not like to be computed with."""

    unit = "m"

    def __array_ufunc__(self, *arguments, **more):
        raise AssertionError("computed with a subclass")

    def __array_function__(self, *arguments, **more):
        raise AssertionError("computed with a subclass")


SUBCLASSES = {
    "masked": masked,
    "unit": lambda array: array.view(Metres),
    "recarray": lambda array: array.view(np.recarray),
    "memmap": lambda array: array.view(np.memmap),
}


@pytest.mark.parametrize("kind", SUBCLASSES)
@pytest.mark.parametrize("dtype", [np.dtype("d"), np.dtype("F"), np.dtype("g"), BFLOAT16], ids=str)
@pytest.mark.parametrize("name", CALLS)
def test_subclasses_are_taken_for_plain_arrays(backend, name, dtype, kind):
    """Values below a mask are summed; results are plain, as the documentation says."""
    given = arrays(dtype)
    results = CALLS[name]({key: SUBCLASSES[kind](array) for key, array in given.items()})
    for got, value in zip(results, CALLS[name](given), strict=True):
        assert type(got) is np.ndarray
        same(got, value)


@pytest.mark.parametrize("accumulate", [False, True])
def test_a_mask_of_out_stays(backend, accumulate):
    given = arrays(np.dtype("d"))
    out = masked(np.ones(SHAPES["y"]))
    mask = out.mask.copy()
    y = cconv1d.conv1d(given["x"], given["w"], **OPTIONS, out=out, accumulate=accumulate)
    assert y is out
    same(out.mask, mask)
    expected = cconv1d.conv1d(given["x"], given["w"], **OPTIONS)
    same(out.data, expected + 1 if accumulate else expected)


@pytest.mark.parametrize("name", CALLS)
def test_the_documentation_says_so(name):
    text = " ".join(inspect.getdoc(getattr(cconv1d, name)).split())
    assert "Subclasses of ndarray are taken for" in text
    assert ("masks are ignored" if name == "conv1d" else "as in `conv1d`") in text
