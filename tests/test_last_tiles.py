"""The last positions of a row, which fill no tile: the bits of the same positions within a row."""

from __future__ import annotations

import numpy as np
import pytest
from support import Case, needs_native, tuned

import cconv1d
from cconv1d import conv1d, conv1d_backward_input

pytestmark = [needs_native, pytest.mark.thread_unsafe]  # all threads read what is set

# Either side of the tiles of every level and the halves of them: 4 to 128 positions.
LENGTHS = (1, 3, 4, 5, 7, 8, 9, 12, 13, 15, 16, 17, 20, 24, 25, 31, 32, 33, 40, 47, 48, 49, 63)
LENGTHS += (64, 65, 79, 80, 81, 95, 96, 97, 127, 128, 129, 159, 160, 161, 191, 193)
# Rows of every tile, of two kinds of tiles and of several blocks; terms that are one chunk, several
# (as many weights as fill the second level), and end within a block.
ROWS = (*range(1, 14), 25, 84)
CASES = {
    **{f"{n} rows": Case(2, 1, 20, n, 1, 1, 1, 0, 1) for n in ROWS},
    **{f"{n} rows, 3 taps": Case(2, 1, 20, n, 1, 3, 1, 1, 1) for n in ROWS},
    "chunks": Case(2, 1, 300, 300, 1, 1, 1, 0, 1),
    "short chunks": Case(1, 1, 150, 2100, 1, 1, 1, 0, 1),
    "chunks, 5 taps": Case(2, 1, 90, 250, 1, 5, 1, 2, 1),
    "stride": Case(2, 1, 20, 30, 1, 5, 2, 2, 1),
    "dilation": Case(2, 1, 20, 30, 1, 3, 1, 4, 4),
    "groups": Case(2, 3, 20, 17, 1, 1, 1, 0, 1),
}
PANELS = {"few_positions": 0, "few_input_gain": 0, "living_gain": 2**30}
LONGER = 300


def check(function, array, step):
    """Results of rows that end with these samples, and of rows that go on with zeros."""
    for length in LENGTHS:
        some = np.ascontiguousarray(array[..., : length * step])
        longer = np.zeros((*array.shape[:2], (length + LONGER) * step), array.dtype)
        longer[..., : length * step] = some
        with tuned(**PANELS):
            got, expected = function(some), function(longer)[..., : function(some).shape[-1]]
            assert got.tobytes() == np.ascontiguousarray(expected).tobytes(), length


@pytest.mark.parametrize("dtype", ["f", "d"])
@pytest.mark.parametrize("name", CASES)
def test_forward(native, name, dtype):
    case = CASES[name]._replace(length=LENGTHS[-1] * CASES[name].stride)
    x, w, b, _ = case.normal(0, dtype)
    check(lambda x: conv1d(x, w, b, **case.options), x, case.stride)
    with tuned(**PANELS):
        layer = cconv1d.PreparedConv1d(w, b, **case.options)
        assert layer(x).tobytes() == conv1d(x, w, b, **case.options).tobytes()


@pytest.mark.parametrize("dtype", ["f", "d"])
@pytest.mark.parametrize("name", [name for name in CASES if name != "stride"])
def test_backward_input(native, name, dtype):
    """To as many channels as forward has outputs, of gradients that end or go on with zeros."""
    case = CASES[name]
    case = case._replace(channels=case.outs, outs=case.channels, length=LENGTHS[-1])
    _, w, _, dy = case.normal(0, dtype)
    check(lambda dy: conv1d_backward_input(dy, w, dy.shape[-1], **case.options), dy, 1)


@pytest.mark.parametrize("pitch", [200, 1024])
@pytest.mark.parametrize("taps", [1, 3])
def test_rows_in_place(native, taps, pitch):
    """Rows far apart, at a pitch that shares sets of the caches or does not, are read no further
    than they go: what is behind them does not matter."""
    case = Case(2, 1, 40, 30, 200, taps, 1, taps // 2, 1)
    x, w, b, _ = case.normal(0, "f")
    wide = np.full((2, 40, pitch), np.nan, "f")
    wide[..., :200] = x
    y = conv1d(wide[..., :200], w, b, **case.options)
    assert y.tobytes() == conv1d(x, w, b, **case.options).tobytes()


@pytest.mark.parametrize("channels", [3, 300])
def test_long_rows_are_fetched_ahead(native, channels):
    """Of so many samples that they are asked for before they are read."""
    case = Case(1, 1, channels, 12, 16 * 2**20 // 4 // channels + 100, 3, 1, 1, 1)
    x, w, b, _ = case.normal(0, "f")
    y = conv1d(x, w, b, **case.options)
    for first in (0, case.length // 2, case.length - 700):
        some = conv1d(np.ascontiguousarray(x[..., first : first + 700]), w, b, **case.options)
        assert some[..., 1:-1].tobytes() == y[..., first + 1 : first + 699].tobytes()
