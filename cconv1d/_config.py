"""What runs here, and where the headers are."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, overload

import numpy as np

from . import _backend
from ._threads import describe_threads
from ._version import __version__

__all__ = ["get_include", "show_config"]


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
    return {
        "version": __version__,
        "backend": "reference" if _backend.core is None else "native",
        "reason": None if _backend.load_error is None else str(_backend.load_error),
        "instruction_set": None if _backend.core is None else _backend.core.isa(),
        "instruction_sets": [] if _backend.core is None else _backend.core.available_isas(),
        "compiler": None if _backend.core is None else _backend.core.compiler(),
        "threads": None if _backend.core is None else _backend.core.get_threads(),
        "thread_pool": describe_threads(),
        "numpy": np.__version__,
    }


@overload
def show_config(mode: Literal["stdout"] = "stdout") -> None: ...
@overload
def show_config(mode: Literal["dicts"]) -> dict[str, Any]: ...
def show_config(mode: str = "stdout") -> dict[str, Any] | None:
    """Print what computes here: version, backend, instruction set, compiler, NumPy.

    Parameters
    ----------
    mode : {"stdout", "dicts"}, optional
        "dicts" returns the facts instead of printing them.

    Returns
    -------
    dict or None
        With the keys version, backend ("native" or "reference"), reason (why the compiled
        extension could not be loaded, or None), instruction_set (what is used),
        instruction_sets (what this machine could use), compiler, threads, thread_pool (whose
        threads they are) and numpy.

    Raises
    ------
    TypeError
        If `mode` is not a string.
    ValueError
        If it is another word.

    See Also
    --------
    get_num_threads : The number of threads alone.

    Examples
    --------
    >>> import cconv1d
    >>> cconv1d.show_config("dicts")["version"] == cconv1d.__version__
    True
    """
    if not isinstance(mode, str) or mode not in ("stdout", "dicts"):
        kind = ValueError if isinstance(mode, str) else TypeError
        raise kind(f"show_config: mode must be 'stdout' or 'dicts', not {mode!r}")
    facts = describe()
    if mode == "dicts":
        return facts
    for name, value in facts.items():
        if isinstance(value, list):
            value = ", ".join(value)
        if value not in (None, ""):
            print(f"{name.replace('_', ' ')}: {value}")
    return None
