"""Which code computes: the compiled extension, or the reference where it cannot be loaded.

``CCONV1D_BACKEND`` decides at import: ``auto`` (the default) takes the extension where it
loads and otherwise the reference, with one warning at first use; ``native`` insists on the
extension; ``reference`` leaves it alone.  ``CCONV1D_ISA`` lowers the instruction-set level
of the extension.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, NamedTuple

import numpy as np

from . import _reference

BACKENDS = ("auto", "native", "reference")


class Kernels(NamedTuple):
    """The maps for one dtype; `_reference` says what each computes and in which shapes."""

    forward: Callable[..., None]
    backward_input: Callable[..., None]
    backward_weight: Callable[..., None]
    backward_bias: Callable[..., None]
    #: What forward and backward_input may take instead of a weight, for many calls.
    pack: Callable[..., Any]


#: Of the kernels, those that compute.
MAPS = ("forward", "backward_input", "backward_weight", "backward_bias")

REFERENCE = Kernels(*(getattr(_reference, name) for name in Kernels._fields))

#: The extension, or None; then `load_error` says why, unless it was not asked for.
core: ModuleType | None = None
load_error: ImportError | None = None

_kernels: dict[np.dtype[Any], Kernels] = {}


def _never(*arguments: object) -> bool:
    return False


#: A shorter way to the compiled maps, by their places in `Kernels`, for arrays of any rank;
#: it returns false where there is none for these arrays, having done nothing.
small: Callable[..., bool] = _never
_warning_due = False


def select(backend: str) -> None:
    """Use the backend of that name from now on; the tests switch with it."""
    global core, load_error, small, _warning_due
    if backend not in BACKENDS:
        raise ImportError(f"CCONV1D_BACKEND must be one of {', '.join(BACKENDS)}, not {backend!r}")
    core, load_error = None, None
    if backend != "reference":
        try:
            core = import_module("cconv1d._core")
        except ImportError as error:
            if backend == "native":
                raise ImportError(
                    f"CCONV1D_BACKEND=native, but the compiled extension cannot be loaded: {error}"
                ) from error
            load_error = error
    _warning_due = load_error is not None
    _kernels.clear()
    small = _never
    if core is not None:
        small = core.small
        for char, suffix in (("f", "f32"), ("d", "f64"), ("F", "c64"), ("D", "c128")):
            _kernels[np.dtype(char)] = Kernels(
                *(getattr(core, f"{name}_{suffix}") for name in Kernels._fields)
            )
        _kernels[np.dtype(np.float16)] = _of_halves(core, is_bfloat16=False)


def _of_halves(core: ModuleType, is_bfloat16: bool) -> Kernels:
    """The kernels for float16 or bfloat16, whose arrays the extension takes as integers."""

    def on_integers(kernel: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            seen = (a.view(np.uint16) if isinstance(a, np.ndarray) else a for a in arguments)
            return kernel(*seen, is_bfloat16=is_bfloat16)

        return call

    return Kernels(*(on_integers(getattr(core, f"{name}_half")) for name in Kernels._fields))


def kernels_for(dtype: np.dtype[Any]) -> Kernels:
    """The kernels for a dtype in native byte order that `_functional` accepts."""
    if _warning_due:
        _warn()
    if core is not None and dtype not in _kernels and _reference.is_bfloat16(dtype):
        _kernels[dtype] = _of_halves(core, is_bfloat16=True)
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


def get_include() -> str:
    """The folder of ``cconv1d.h``, to compile extensions that call the kernels from C.

    Returns
    -------
    str
        An absolute path, for ``include_dirs`` of an extension written in C, C++ or Cython.

    See Also
    --------
    show_config : Whether there are compiled kernels, without which they cannot be imported.

    Notes
    -----
    In Cython, ``from cconv1d cimport ...`` has the same functions, and needs this folder, too.

    Examples
    --------
    >>> import os
    >>> import cconv1d
    >>> os.listdir(cconv1d.get_include())
    ['cconv1d.h']
    """
    return str(Path(__file__).resolve().parent / "include")


def describe() -> dict[str, Any]:
    """What runs here and why, for `show_config`."""
    from . import __version__

    return {
        "version": __version__,
        "backend": "reference" if core is None else "native",
        "reason": None if load_error is None else str(load_error),
        "instruction_set": None if core is None else core.isa(),
        "instruction_sets": [] if core is None else core.available_isas(),
        "compiler": None if core is None else core.compiler(),
        "threads": None if core is None else core.get_threads(),
        "numpy": np.__version__,
    }


select(os.environ.get("CCONV1D_BACKEND", "auto"))
if core is not None and "CCONV1D_ISA" in os.environ:
    try:
        core.set_isa(os.environ["CCONV1D_ISA"])
    except ValueError as error:
        raise ImportError(f"CCONV1D_ISA: {error}") from None
