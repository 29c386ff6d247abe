"""Nothing is computed from scratch that was never set.

Where a tile has more lanes than there are results, the idle ones are computed with, too. What lies
there by chance changes no result; but if it is subnormal, some processors take a hundred times as
long for each instruction. So scratch is filled with such numbers here, and the processor's flag
must not be raised.
"""

from __future__ import annotations

import ctypes
import platform
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import FUZZ, cases, needs_native, seeds, tuned

import cconv1d

HERE = Path(__file__).parent
DTYPES = [np.dtype(char) for char in "fdFDe"]

pytestmark = [
    needs_native,
    pytest.mark.skipif(
        platform.machine() not in ("x86_64", "AMD64"), reason="the flag is that of x86"
    ),
]


@pytest.fixture(scope="module")
def flags(compiler, tmp_path_factory):
    library = tmp_path_factory.mktemp("flags") / "flags.so"
    build = [*compiler, "-O1", "-shared", "-fPIC", HERE / "subnormals.c", "-o", library]
    subprocess.run(build, check=True)
    return ctypes.CDLL(str(library))


def meets_subnormal(flags, function, *args, **options):
    """Whether a call computes with a subnormal number, if all of its scratch begins as such."""
    with tuned(subnormal_scratch=True):
        flags.forget()
        function(*args, **options)
        return bool(flags.has_met_subnormal())


def ordinary(rng, shape, dtype):
    """Numbers of either sign, none of them small."""
    values = rng.uniform(0.5, 1.5, shape) * rng.choice((-1, 1), shape)
    return (values * (1 + 1j) if dtype.kind == "c" else values).astype(dtype)


def test_the_flag_is_raised(flags, native):
    y = np.ones(3, np.float32)
    assert not meets_subnormal(flags, cconv1d.conv1d, y, y)
    assert meets_subnormal(flags, cconv1d.conv1d, y * np.float32(1e-40), y)


@FUZZ
@given(
    case=cases(),
    dtype=st.sampled_from(DTYPES),
    layout=st.sampled_from(("NCL", "NLC")),
    method=st.sampled_from(("direct", "fft")),
    seed=seeds,
)
def test_no_lane_reads_what_was_not_set(flags, native, case, dtype, layout, method, seed):
    g = case.geometry
    rng = np.random.default_rng(seed)
    x, w, b, dy = (ordinary(rng, shape, dtype) for shape in case.shapes())
    per_sample = ordinary(rng, (case.batch, *w.shape), dtype)
    if layout == "NLC":
        x, dy = (np.ascontiguousarray(array.swapaxes(1, 2)) for array in (x, dy))
    options = {**case.options, "layout": layout}
    kernel = w.shape[2]
    with cconv1d.num_threads(1):  # flags are each thread's own
        prepared = cconv1d.PreparedConv1d(w, b, **options)
        for name, call in {
            "forward": lambda: cconv1d.conv1d(x, w, b, method=method, **options),
            "backward": lambda: cconv1d.conv1d_backward(dy, x, w, method=method, **options),
            "packing": lambda: cconv1d.PreparedConv1d(w, b, **options),
            "prepared": lambda: prepared(x),
            "per sample": lambda: cconv1d.conv1d(x, per_sample, b, method=method, **options),
            "gradients per sample": lambda: cconv1d.conv1d_backward_weight(
                dy, x, kernel, per_sample=True, **options
            ),
        }.items():
            assert not meets_subnormal(flags, call), (name, g)
