"""How many threads the compiled kernels use; the reference leaves that to NumPy.

Results do not depend on it, bit for bit.
"""

from __future__ import annotations

import os
from threading import local
from types import TracebackType
from typing import SupportsIndex

from . import _backend
from ._geometry import integer

__all__ = ["get_num_threads", "num_threads", "set_num_threads"]

#: More threads than this are taken for a mistake; the pool has far fewer.
MOST = 2**16


def _count(function: str, n: object) -> int:
    return min(integer(function, "n", n, 1), MOST)


def _from_environment() -> int | None:
    """What ``CCONV1D_NUM_THREADS`` or else ``OMP_NUM_THREADS`` says."""
    own = os.environ.get("CCONV1D_NUM_THREADS")
    if own is not None:
        if not own.isdecimal() or int(own) < 1:
            raise ImportError(f"CCONV1D_NUM_THREADS must be a positive integer, not {own!r}")
        return min(int(own), MOST)
    # OpenMP's may be a list, of which the first is for the outermost level; what is wrong with
    # it is for OpenMP to say.
    theirs = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return min(int(theirs), MOST) if theirs.isdecimal() and int(theirs) >= 1 else None


def set_num_threads(n: SupportsIndex) -> None:
    """Set how many threads a call may use, in all threads of the process.

    Parameters
    ----------
    n : int
        1 or more. A call with little work uses fewer; so does one that is made while another
        thread's call uses the pool.

    Raises
    ------
    TypeError
        If `n` is not an integer.
    ValueError
        If it is less than 1.

    See Also
    --------
    num_threads : For the calling thread, for a while.
    get_num_threads : What holds now.

    Notes
    -----
    At import it is ``CCONV1D_NUM_THREADS`` or else ``OMP_NUM_THREADS`` or else the number of
    processors that the process may use. Results do not depend on it.

    Examples
    --------
    >>> import cconv1d
    >>> before = cconv1d.get_num_threads()
    >>> cconv1d.set_num_threads(1)
    >>> cconv1d.get_num_threads()
    1
    >>> cconv1d.set_num_threads(before)
    """
    count = _count("set_num_threads", n)
    if _backend.core is not None:
        _backend.core.set_threads(count)


def get_num_threads() -> int:
    """How many threads a call from this thread may use.

    Returns
    -------
    int
        What `num_threads` says for this thread, or else `set_num_threads` for all; 1 where
        the compiled extension is not used.

    See Also
    --------
    set_num_threads, num_threads : What decides it.

    Examples
    --------
    >>> import cconv1d
    >>> with cconv1d.num_threads(1):
    ...     cconv1d.get_num_threads()
    1
    """
    return 1 if _backend.core is None else int(_backend.core.get_threads())


class _Befores(local):
    """What limits a thread had before those that it is in."""

    def __init__(self) -> None:
        self.counts: list[int] = []


class num_threads:
    """Context manager: how many threads the calls of this thread may use in a block.

    Parameters
    ----------
    n : int
        1 or more.

    Raises
    ------
    TypeError
        If `n` is not an integer.
    ValueError
        If it is less than 1.

    See Also
    --------
    set_num_threads : For all threads, for good.

    Notes
    -----
    One object may be used again, also while it is in use, and by several threads at once. Results
    do not depend on the number.

    Examples
    --------
    >>> import cconv1d
    >>> with cconv1d.num_threads(1):
    ...     y = cconv1d.conv1d([1.0, 2.0, 3.0], [1.0, 1.0])
    """

    def __init__(self, n: SupportsIndex) -> None:
        self._count = _count("num_threads", n)
        self._before = _Befores()

    def __enter__(self) -> None:
        core = _backend.core
        self._before.counts.append(0 if core is None else core.limit_threads(self._count))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        before = self._before.counts.pop()
        if _backend.core is not None:
            _backend.core.limit_threads(before)


if _backend.core is not None:
    _backend.core.set_threads(_from_environment() or _backend.core.cpus())
