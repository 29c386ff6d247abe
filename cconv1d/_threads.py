"""How many threads the compiled kernels use; the reference leaves that to NumPy.

Results do not depend on it, bit for bit.

What a block of `num_threads` asks for is kept as NumPy keeps what one of `errstate` asks for, in a
context variable, because the tasks of an event loop take turns in one thread.  Unlike there, blocks
need not be left in the order in which they were entered, which generators that hold them cannot
promise: the variable holds all blocks that the context is in, and a block that is left takes out
itself alone.  The extension reads the variable in every call.
"""

from __future__ import annotations

import ctypes
import os
import re
from contextvars import ContextVar, Token
from pathlib import Path
from types import TracebackType
from typing import Any, SupportsIndex

from . import _backend
from ._geometry import integer

__all__ = ["get_num_threads", "num_threads", "set_num_threads"]

#: More threads than this are taken for a mistake; the pool has far fewer.
MAX_THREADS = 2**16


def _count(function: str, n: object) -> int:
    return min(integer(function, "n", n, 1), MAX_THREADS)


def _from_environment() -> int | None:
    """What ``CCONV1D_NUM_THREADS`` or else ``OMP_NUM_THREADS`` says."""
    own = os.environ.get("CCONV1D_NUM_THREADS")
    if own:
        if not own.isdecimal() or int(own) < 1:
            raise ImportError(f"CCONV1D_NUM_THREADS must be a positive integer, not {own!r}")
        return min(int(own), MAX_THREADS)
    # OpenMP's may be a list, of which the first is for the outermost level; what is wrong with
    # it is for OpenMP to say.
    theirs = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return min(int(theirs), MAX_THREADS) if theirs.isdecimal() and int(theirs) >= 1 else None


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
    num_threads : For the calls of a block.
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
    """How many threads a call may use that is made here.

    Returns
    -------
    int
        What `num_threads` says where the call is made, or else `set_num_threads` for all; 1
        where the compiled extension is not used.

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


class Block:
    """One stay in a block of `num_threads`."""

    __slots__ = ("threads", "token")

    def __init__(self, threads: int) -> None:
        self.threads = threads  # 0 once the block has been left in another context
        #: It tells the context in which the block was entered from all others.
        self.token: Token[tuple[Block, ...]] | None = None


#: The blocks that a context is in, the innermost last. The extension knows what it holds.
_blocks: ContextVar[tuple[Block, ...]] = ContextVar("cconv1d_num_threads", default=())


def _tell_core() -> None:
    """Have calls from C, which cannot read the variable, know what it holds now."""
    if _backend.core is not None:
        _backend.core.use_blocks(_blocks)


class num_threads:
    """Context manager: how many threads the calls in a block may use.

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
    It holds where ``numpy.errstate`` would: in the thread or the asyncio task that enters the
    block, also while others take turns with it; in tasks that are created and contexts that are
    copied (``contextvars.copy_context``) in the block, also after it has been left; and not in
    other threads, such as those of a pool, unless they run in a copied context.

    Blocks may overlap, as those of two generators do that are closed in any order: the block that
    was entered last, of those that have not been left, decides. One that is left in another context
    than it was entered in, as a generator's is that another task closes, holds nowhere any more.

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
        self._entered: list[Block] = []  # and not left, in any context

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_entered": []}  # a copy is in no block

    def __enter__(self) -> None:
        block = Block(self._count)
        block.token = _blocks.set((*(b for b in _blocks.get() if b.threads), block))
        self._entered.append(block)
        _tell_core()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        blocks = _blocks.get()
        block = ([b for b in blocks if b in self._entered] or self._entered)[-1]
        self._entered.remove(block)
        token, block.token = block.token, None  # which would keep that context alive
        assert token is not None
        try:
            _blocks.reset(token)
        except ValueError:  # this is not the context that entered it
            block.threads = 0
        _blocks.set(tuple(b for b in blocks if b is not block and b.threads))
        _tell_core()


#: What `use_openmp` has found: the runtime's file, and why it is not used.
_openmp: tuple[str | None, str | None] = (None, None)


def use_openmp(folder: str) -> None:
    """Have all calls run on the threads of the OpenMP runtime that a framework has loaded.

    Two pools that spin on the same processors cost each other a third of their speed and more.
    Nothing is loaded that was not, and nothing linked: libgomp, libomp and libiomp export the same
    functions, and the one is taken that lies below the framework's folder, or the only one.
    """
    global _openmp

    if _backend.core is None:
        _openmp = None, "the extension is not used"
        return
    loaded = _loaded_runtimes()
    near = [path for path in loaded if path.startswith(folder)] or loaded
    if len(near) != 1:
        found = ", ".join(near) or "none"
        _openmp = None, f"of OpenMP runtimes that are loaded, one is wanted; found: {found}"
        return
    try:
        runtime = ctypes.CDLL(near[0], mode=os.RTLD_NOLOAD | os.RTLD_LAZY)
        addresses = [
            ctypes.cast(getattr(runtime, name), ctypes.c_void_p).value or 0
            for name in ("GOMP_parallel", "omp_in_parallel")
        ]
    except (OSError, AttributeError) as error:
        _openmp = None, str(error)
        return
    _backend.core.lend_openmp(*addresses)
    _openmp = near[0], None


def _loaded_runtimes() -> list[str]:
    """The files of the OpenMP runtimes in this process, where the system tells."""
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
            paths = {line.split(maxsplit=5)[-1].rstrip("\n") for line in maps if "/" in line}
    except OSError:
        return []
    return sorted(p for p in paths if re.match(r"lib(gomp|omp|iomp5)\b.*\.so", Path(p).name))


def describe_threads() -> str | None:
    """Whose threads calls from here use."""
    if _backend.core is None:
        return None
    host = _backend.core.thread_host()
    if host == 1:
        return f"OpenMP's, of {_openmp[0]}"
    if host == 2:
        return "those that were lent through the C interface"
    return "our own" + (f" ({_openmp[1]})" if _openmp[1] else "")


if _backend.core is not None:
    _backend.core.set_threads(_from_environment() or _backend.core.cpus())
