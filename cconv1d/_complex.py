"""The compiled maps of complex numbers: real ones, with twice the channels.

A channel of complex numbers is two of real ones, its parts, which lie interleaved; the
extension reads and writes them as they lie.  A weight w is a matrix between them,

    y.real     w.real  -w.imag     x.real
            =                   ·
    y.imag     w.imag   w.real     x.imag

whose transpose is that of w̄, so the real backward_input with it is the complex one, which
conjugates.  The real backward_weight returns the gradient G of all four elements, and

    dw.real = G[real, real] + G[imag, imag]        dw.imag = G[imag, real] - G[real, imag]

These are the four products that a complex product is made of, each a multiply-add.  Only
weights, which are small, are copied.

A NaN in one part of a sample or a weight takes part in both parts of a result; an infinity,
too, where it makes NaN of a zero, as in NumPy's products.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._geometry import Geometry

Array = NDArray[Any]


def _parts(array: Array) -> Array:
    """The last axis twice as long, each number as its two parts; a view if that can be."""
    return np.ascontiguousarray(array).view(array.real.dtype)


def _empty_matrices(w: Array) -> Array:
    """(out channels, part, channels, part, taps), with the taps outside of the channels in memory.

    Thus NumPy goes along the channels when it fills them, of which there are more as a rule.
    """
    outs, channels, taps = w.shape
    return np.empty((outs, 2, taps, channels, 2), w.real.dtype).transpose(0, 1, 3, 4, 2)


def _flat(matrices: Array) -> Array:
    """(2·out channels, 2·channels, taps), a view."""
    outs, _, channels, _, taps = matrices.shape
    return matrices.reshape(2 * outs, 2 * channels, taps)


def _matrices(w: Array) -> Array:
    matrices = _empty_matrices(w)
    matrices[:, 0, :, 0] = matrices[:, 1, :, 1] = w.real
    matrices[:, 1, :, 0] = w.imag
    # not np.negative: NumPy 2.4.6 has it wrong for float32 that lie 16 bytes apart
    np.multiply(w.imag, -1, out=matrices[:, 0, :, 1])
    return _flat(matrices)


def maps(core: ModuleType, suffix: str) -> dict[str, Callable[..., Any]]:
    """The maps for one dtype, from the functions of the extension with its suffix."""
    real: dict[str, Callable[..., Any]] = {
        name: getattr(core, f"{name}_{suffix}")
        for name in ("forward", "backward_input", "backward_weight", "backward_bias")
    }
    real["pack"] = core.pack_f32 if suffix == "c64" else core.pack_f64

    def pack(w: Array, g: Geometry, groups: int, transposed: bool, channels_last: bool) -> object:
        return real["pack"](_matrices(w), g, groups, transposed, channels_last)

    def unpacked(w: Any) -> Any:
        return _matrices(w) if isinstance(w, np.ndarray) else w

    def forward(x: Array, w: Any, b: Array | None, y: Array, g: Geometry, groups: int) -> None:
        real["forward"](x, unpacked(w), None if b is None else _parts(b), y, g, groups)

    def backward_input(
        dy: Array, w: Any, dx: Array, g: Geometry, groups: int, b: Array | None = None
    ) -> None:
        bias = None if b is None else _parts(b)
        real["backward_input"](dy, unpacked(w), dx, g, groups, bias)

    def backward_weight(dy: Array, x: Array, dw: Array, g: Geometry, groups: int) -> None:
        matrices = _empty_matrices(dw)
        real["backward_weight"](dy, x, _flat(matrices), g, groups)
        with np.errstate(all="ignore"):
            matrices[:, 0, :, 0] += matrices[:, 1, :, 1]
            matrices[:, 1, :, 0] -= matrices[:, 0, :, 1]
        dw.real = matrices[:, 0, :, 0]
        dw.imag = matrices[:, 1, :, 0]

    def backward_bias(dy: Array, db: Array) -> None:
        total = np.empty_like(db, order="C")
        real["backward_bias"](dy, _parts(total))
        db[...] = total

    return {
        "forward": forward,
        "backward_input": backward_input,
        "backward_weight": backward_weight,
        "backward_bias": backward_bias,
        "pack": pack,
    }
