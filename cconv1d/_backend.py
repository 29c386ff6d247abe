"""Which code computes: the compiled extension, or the reference where it cannot be loaded.

``CCONV1D_BACKEND`` decides at import: ``auto`` (the default) takes the extension where it
loads and otherwise the reference, with one warning at first use; ``native`` insists on the
extension; ``reference`` leaves it alone.  ``CCONV1D_ISA`` lowers the instruction-set level
of the extension.  A variable that is set to nothing is as one that is not set.
"""

from __future__ import annotations

import os
import sys
import threading  # noqa: F401 (for the extension, whose own imports freezers do not see)
import warnings
from types import FrameType, ModuleType
from typing import Any

import numpy as np

from . import _reference
from ._arrays import READY, is_bfloat16
from ._kernels import Kernels, half_kernels

BACKENDS = ("auto", "native", "reference")


REFERENCE = Kernels(*(getattr(_reference, name) for name in Kernels._fields))

#: The extension, or None; then `load_error` says why, unless it was not asked for.
core: ModuleType | None = None
load_error: ImportError | None = None

_kernels: dict[np.dtype[Any], Kernels] = {}

_warning_due = False


def select(backend: str) -> None:
    """Use the backend of that name from now on; the tests switch with it."""
    global core, load_error, _warning_due
    if backend not in BACKENDS:
        raise ImportError(f"CCONV1D_BACKEND must be one of {', '.join(BACKENDS)}, not {backend!r}")
    if core is not None:
        core.use_known_calls(False)
    core, load_error = None, None
    if backend != "reference":
        try:
            # A statement, which those who freeze applications see, and by the full name, because
            # `from . import` speaks of circular imports where there is no extension.
            import cconv1d._core as extension

            core = extension
        except ImportError as error:
            if backend == "native":
                raise ImportError(
                    f"CCONV1D_BACKEND=native, but the compiled extension cannot be loaded: {error}"
                ) from error
            load_error = error
    _warning_due = load_error is not None
    _kernels.clear()
    if core is not None:
        core.use_known_calls(True)
        for char, suffix in (("f", "f32"), ("d", "f64"), ("F", "c64"), ("D", "c128")):
            _kernels[np.dtype(char)] = Kernels(
                *(getattr(core, f"{name}_{suffix}") for name in Kernels._fields)
            )
        _kernels[np.dtype(np.float16)] = half_kernels(core, is_bfloat16=False)


def kernels_for(dtype: np.dtype[Any]) -> Kernels:
    """The kernels for a dtype in native byte order that `_functional` accepts."""
    if _warning_due:
        _warn()
    if core is not None and dtype not in _kernels and is_bfloat16(dtype):
        _kernels[dtype] = half_kernels(core, is_bfloat16=True)
        core.know_bfloat16(dtype.num)
        READY.add(dtype)
    return _kernels.get(dtype, REFERENCE)


def _warn() -> None:
    global _warning_due
    _warning_due = False
    level = 1
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_globals.get("__package__") == __package__:
        level, frame = level + 1, frame.f_back  # to the caller's line
    warnings.warn(
        f"cconv1d computes with its NumPy reference, which is slow, because the compiled "
        f"extension cannot be loaded: {load_error}",
        RuntimeWarning,
        stacklevel=level,
    )


select(os.environ.get("CCONV1D_BACKEND") or "auto")
if core is not None and (_isa := os.environ.get("CCONV1D_ISA")):
    try:
        core.set_isa(_isa)
    except ValueError as error:
        raise ImportError(f"CCONV1D_ISA: {error}") from None
