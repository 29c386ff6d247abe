"""Short signals that share a panel, taps in rows of their own or not: the bits of each alone."""

from __future__ import annotations

import numpy as np
import pytest
from support import Case, needs_native, tuned

import cconv1d
from cconv1d import conv1d, conv1d_backward_input

pytestmark = [needs_native, pytest.mark.thread_unsafe]  # all threads read what is set

LAYOUTS = ("NCL", "NLC")
# Either side of: the numbers that are copied at once (4, 8, 16), tiles (16, 32), panels (256), and
# outputs enough that idle lanes are dearer than copies; batches that fill panels, or do not.
CASES = {
    **{
        f"{n} samples": Case(9, 1, 5, 400, n, 3, 1, 1, 1) for n in (1, 3, 4, 5, 7, 8, 9, 15, 16, 17)
    },
    **{
        f"{n} samples, long taps": Case(5, 1, 3, 300, n, 30, 1, 17, 1) for n in (31, 33, 47, 65, 90)
    },
    **{f"{n} signals": Case(n, 1, 4, 500, 11, 5, 1, 2, 1) for n in (2, 17, 18, 19, 50)},
    "many terms": Case(7, 1, 150, 300, 9, 3, 1, 1, 1),
    "dilation": Case(7, 1, 20, 300, 30, 5, 1, 22, 11),
    "dilation, far": Case(3, 1, 4, 300, 30, 3, 1, 300, 300),
    "stride": Case(9, 1, 6, 300, 31, 7, 3, 3, 1),
    "stride and dilation": Case(9, 1, 6, 300, 31, 5, 4, 6, 6),
    "groups": Case(9, 3, 4, 250, 10, 5, 1, 2, 1),
    "lopsided": Case(9, 1, 4, 300, 10, 5, 1, (9, 0), 1),
    "reflect": Case(9, 1, 4, 300, 10, 5, 1, 4, 2, "reflect"),
    "circular": Case(9, 1, 4, 300, 10, 5, 2, 4, 2, "circular"),
}


def swap(array, layout):
    return array.swapaxes(1, 2) if layout == "NLC" else array


PANELS = {"few_positions": 0, "few_input_gain": 0, "living_gain": 2**30}


def check_bits(function, array, layout):
    """Of all signals together, and of each alone."""
    array = np.ascontiguousarray(swap(array, layout))
    with tuned(**PANELS):
        together = function(array)
        for n in range(len(array)):
            assert function(array[n : n + 1]).tobytes() == together[n : n + 1].tobytes()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["f", "d", "e", "F"])
@pytest.mark.parametrize("name", CASES)
def test_forward(native, name, dtype, layout):
    case = CASES[name]
    x, w, b, _ = case.normal(0, dtype)
    check_bits(lambda x: conv1d(x, w, b, **case.options, layout=layout), x, layout)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["f", "d", "e", "F"])
@pytest.mark.parametrize("name", CASES)
def test_backward_input(native, name, dtype, layout):
    """To as many channels as forward has outputs."""
    case = CASES[name]
    case = case._replace(channels=case.outs, outs=case.channels)
    _, w, _, dy = case.normal(0, dtype)
    options = case.options | {"layout": layout}
    check_bits(lambda dy: conv1d_backward_input(dy, w, case.length, **options), dy, layout)


@pytest.mark.parametrize("threads", [2, 7])
def test_threads(native, threads):
    for name in ("19 signals", "33 samples, long taps", "many terms", "groups"):
        x, w, b, _ = CASES[name].normal(0, "f")
        with tuned(**PANELS, serial_products=0):
            with cconv1d.num_threads(1):
                alone = conv1d(x, w, b, **CASES[name].options)
            with cconv1d.num_threads(threads):
                assert conv1d(x, w, b, **CASES[name].options).tobytes() == alone.tobytes()
