"""A convolution that is fed a signal in chunks of any length, and has the bits of one call.

The state is samples, never a partial sum, whose order would depend on where the signal was cut:

    buffer    | ... the last samples of the signal | the chunk       |        |
                 `_kept` of them                   ^ end              ^ end + n

A push copies the chunk behind the samples that are kept and convolves the joined row from the start
of the next window on. A chunk that is longer than `_joined` is read where it is, but for its start:
only windows that begin before the chunk read the buffer. What is known after how many samples,
and what it needs, `StreamGeometry` says.

Rows of a batch may be at different positions. Then neighbouring rows for which the same is to be
done are computed together, and others one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any, Concatenate, Literal, NamedTuple, ParamSpec, SupportsIndex, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from . import _backend
from ._arrays import Array, as_arrays, ndarray, same_dtype
from ._execute import as_3d, check_out, empty, one, overlap
from ._functional import usual_conv1d, usual_conv_transpose1d
from ._geometry import IntLike, Padding, StreamGeometry, integer, resolve_stream
from ._kernels import BACKWARD_INPUT, FORWARD
from ._pieces import Ints, Piece, groups_of, inputs_at, outputs_at, overhang, piece_of, pieces_of
from ._plans import (
    Layout,
    Shape,
    check_bias,
    check_groups,
    check_layout,
    plan_conv1d,
    plan_conv_transpose1d,
    swap_axes,
    weights,
)

__all__ = ["Stream"]

#: A chunk is copied as a whole, for one call instead of two, if it has at most so many samples more
#: than the history, or so many numbers. The early outputs, in a call of their own, would cost a
#: dense layer more than the copy, as all its weights are read for them.
ALWAYS_JOINED = 256
JOINED_NUMBERS, JOINED_NUMBERS_DENSE = 2**16, 2**20
#: Multiply-adds for each sample from which on a layer is dense.
DENSE = 32

#: Views of the buffer that are remembered.
MAX_VIEWS = 256

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class View(NamedTuple):
    """What a push does that has been made before from the same place in the buffer."""

    target: Array  # where the chunk goes
    source: Array | None  # what is convolved, if there are outputs
    options: tuple[object, ...]
    shape: Shape  # of the outputs
    samples: int
    phase: int  # afterwards


def can_be_filled(out: Any, x: Array, view: View) -> bool:
    """Whether `out` shares no memory with `x`, if there are outputs.

    The rest is checked where it is filled.
    """
    return (
        type(out) is ndarray
        and view.source is not None
        and out is not x
        and (out.base is None is x.base or not overlap(out, x))
    )


def exclusive(
    method: Callable[Concatenate[Any, Parameters], Result],
) -> Callable[Concatenate[Any, Parameters], Result]:
    """A method that refuses to be called while another is at work on the same stream."""

    def call(self: Any, /, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        if not self._lock.acquire(False):
            raise RuntimeError("Stream: it is in use by another thread; give each its own clone()")
        try:
            return method(self, *args, **kwargs)
        finally:
            self._lock.release()

    call.__name__, call.__qualname__ = method.__name__, method.__qualname__
    call.__doc__, call.__annotations__ = method.__doc__, method.__annotations__
    call.__wrapped__ = method  # type: ignore[attr-defined]
    return call


class Stream:
    """A convolution that is fed a signal in chunks, and returns the outputs that are then known.

    All outputs together are those of one call of `conv1d`, or of `conv_transpose1d`, on the whole
    signal, bit for bit, however it is cut.

    Parameters
    ----------
    weight : array_like, shape (K, C // groups, k) or (k,)
        As in `conv1d`, or in `conv_transpose1d` if `transposed`, but not one for each sample. It is
        a snapshot: to change the array later changes nothing here.
    bias : array_like, shape (K,), optional
        Added to every position of its output channel; a snapshot, too.
    stride : int, optional
        As in `conv1d`.
    padding : int or (int, int) or str, optional
        As in `conv1d`, but "same" and "same_lower" only with a stride of 1. If `transposed`, an
        integer or a pair as in `conv_transpose1d`, or "causal": nothing is left out on the left,
        and on the right what later samples would add to.
    dilation, groups : int, optional
        As in `conv1d`.
    padding_mode : {"zeros", "reflect", "replicate"}, optional
        As in `conv1d`. "reflect" has to wait for the samples that it repeats.
    transposed : bool, optional
        Whether it is a `conv_transpose1d`.
    batch : int, optional
        How many signals there are; then chunks and outputs have a first axis of that length.
    layout : {"NCL", "NLC"}, optional
        Of the chunks and the outputs: (N, C, n), or (N, n, C).
    extra_history : int, optional
        How many samples ``rewind`` may take back.

    Raises
    ------
    TypeError, ValueError
        As `conv1d`, for what can be told without an input; and for what cannot stream: circular
        padding, and padding that depends on the length of the whole signal.

    See Also
    --------
    conv1d_step : The same as a function with gradients, state in and state out.
    PreparedConv1d : For whole signals.

    Notes
    -----
    The methods:

    ``push(x, out=None, *, lengths=None, rows=None)`` takes a chunk of any length, also none, and
    returns the outputs that are known then. ``finish(*, rows=None)`` returns the rest, for which it
    pads the signal on the right; after it there is only ``reset(rows=None)``, which begins anew.
    ``rewind(n)`` takes back the last samples. ``clone()`` is a stream of its own that goes on from
    the same place. ``outputs_for(n)`` tells how many outputs a chunk of n samples will give,
    ``inputs_for(m)`` how many samples m outputs need. ``position`` is the number of samples so far,
    or -1 after ``finish()``; ``latency`` the most samples that must have come behind an output's
    own before it is known; ``history`` the number of samples that are kept; ``state`` all that
    changes, as plain arrays (history, position), which may be assigned.

    The rows of a batch are streams with positions of their own. With ``lengths``, row i of a chunk
    has that many samples, and with ``rows``, it belongs to row ``rows[i]`` of the stream; -1 skips
    it. Where numbers of outputs differ, the array of outputs is as long as the longest, with zeros
    behind the others; ``outputs_for`` tells how many there are.

    The chunk is copied behind the samples that are kept, or, if it is long, only its start is. With
    ``out=`` nothing is allocated once the longest chunk has been seen, but for the scratch that
    every call of `conv1d` has. Memory that runs out leaves the stream and ``out`` as they were.

    It may be used by one thread at a time; a second one gets a RuntimeError. It can be copied and
    pickled.

    Examples
    --------
    >>> import numpy as np
    >>> from cconv1d import Stream
    >>> stream = Stream([1.0, 1.0, 1.0], padding="same")
    >>> stream.push([1.0, 2.0])
    array([3.])
    >>> stream.push([4.0, 8.0, 16.0])
    array([ 7., 14., 28.])
    >>> stream.finish()
    array([24.])

    Four signals of two channels, of which the second and the third get samples:

    >>> stream = Stream(np.ones((1, 2, 3)), batch=4)
    >>> stream.push(np.ones((2, 2, 5)), lengths=[5, 1], rows=[1, 2])[:, 0]
    array([[2., 4., 6., 6., 6.],
           [2., 0., 0., 0., 0.]])
    >>> stream.position
    array([0, 5, 1, 0])
    """

    def __init__(
        self,
        weight: ArrayLike,
        bias: ArrayLike | None = None,
        *,
        stride: IntLike = 1,
        padding: Padding = "causal",
        dilation: IntLike = 1,
        groups: SupportsIndex = 1,
        padding_mode: Literal["zeros", "reflect", "replicate"] = "zeros",
        transposed: bool = False,
        batch: SupportsIndex | None = None,
        layout: Layout = "NCL",
        extra_history: SupportsIndex = 0,
    ) -> None:
        function = "Stream"
        if not isinstance(transposed, (bool, np.bool)):
            raise TypeError(f"{function}: transposed must be True or False, not {transposed!r}")
        given = {"weight": weight} if bias is None else {"weight": weight, "bias": bias}
        snapshots = [np.array(array, order="C") for array in as_arrays(function, **given)]
        for array in snapshots:
            array.setflags(write=False)
        shape = snapshots[0].shape
        w = weights(function, shape)
        if len(shape) == 4:
            raise ValueError(
                f"{function}: weight must have three axes or one, not four for each sample, {shape}"
            )
        geometry, dilation = resolve_stream(
            function, w[2], stride, padding, dilation, padding_mode, bool(transposed)
        )
        sides = {"input_channels" if transposed else "output_channels": w[0]}
        groups = check_groups(function, groups, **sides)
        outs, channels = (w[1] * groups, w[0]) if transposed else (w[0], w[1] * groups)
        if bias is not None:
            check_bias(function, snapshots[1].shape, (outs,))
        check_layout(function, layout)
        if batch is not None:
            batch = integer(function, "batch", batch, 0)
            if len(shape) == 1:
                raise ValueError(
                    f"{function}: batch is {batch}, but a weight of shape {shape} is for one "
                    f"signal without channels; give it the shape (1, 1, {shape[0]})"
                )
        extra = integer(function, "extra_history", extra_history, 0)
        self._weight: Array = snapshots[0]
        self._bias: Array | None = None if bias is None else snapshots[1]
        self._geometry = geometry
        self._dilation, self._groups, self._layout = dilation, groups, layout
        self._batch: int | None = batch
        self._outs, self._channels, self._extra = outs, channels, extra
        self._kept = geometry.history + extra
        self._axis = -2 if layout == "NLC" and len(shape) > 1 else -1  # of time
        dense = outs // groups * w[2] >= DENSE * geometry.stride
        most = JOINED_NUMBERS_DENSE if dense else JOINED_NUMBERS
        rows = max((1 if batch is None else batch) * channels, 1)
        self._joined = self._kept + max(ALWAYS_JOINED, most // rows)
        self._begin()
        self._use(self._new_buffer(self._kept))

    def _begin(self) -> None:
        """All that changes, but for the buffer, as before the first sample."""
        self._end = self._kept
        self._position = 0  # of all rows, if `_positions` is None
        self._positions: Ints | None = None
        self._slack = 0  # how many samples can be taken back
        self._slacks: Ints | None = None
        self._forget()

    def _forget(self) -> None:
        """What is no part of the state."""
        self._lock = Lock()
        self._packed: Any = None
        self._views: dict[tuple[int, int, Shape], View] = {}
        self._usual = usual_conv_transpose1d if self._geometry.transposed else usual_conv1d
        self._dtype = self._weight.dtype
        self._scratch = np.empty(0, self._weight.dtype)
        self._phase = self._phase_at(self._position)

    # --- what does not change ---------------------------------------------------------------------

    @property
    def weight(self) -> Array:
        """The snapshot, read-only."""
        return self._weight

    @property
    def bias(self) -> Array | None:
        """The snapshot, read-only."""
        return self._bias

    @property
    def history(self) -> int:
        """The number of samples that are kept, those to which `rewind` goes back included."""
        return self._kept

    @property
    def latency(self) -> int:
        """The most samples behind an output's own that must have come before it is known.

        It is negative where there is more padding on the left than a window is long.
        """
        return self._geometry.latency

    def __repr__(self) -> str:
        g = self._geometry
        return (
            f"{type(self).__name__}(<weight of shape {self._weight.shape}, {self._weight.dtype}>, "
            f"bias={None if self._bias is None else '<...>'}, stride={g.stride}, "
            f"padding={(g.left, g.right)}, dilation={self._dilation}, groups={self._groups}, "
            f"padding_mode={g.mode!r}, transposed={g.transposed}, batch={self._batch}, "
            f"layout={self._layout!r}, extra_history={self._extra})"
        )

    # --- what does --------------------------------------------------------------------------------

    @property
    def position(self) -> Any:
        """The number of samples so far, of each row if there is a batch; -1 once it is finished."""
        if self._batch is None:
            return self._position
        return self._all_positions()

    def _all_positions(self) -> Ints:
        if self._positions is not None:
            return self._positions.copy()
        return np.full(1 if self._batch is None else self._batch, self._position, np.int64)

    def _all_slacks(self, positions: Ints) -> Ints:
        return np.full_like(positions, self._slack) if self._slacks is None else self._slacks

    @property
    def state(self) -> tuple[Array, Any]:
        """The last `history` samples and the position, as arrays of their own.

        They may be assigned to this stream or to another one with the same options. Before the
        first sample there are zeros. `rewind` does not go back behind an assignment.
        """
        return self._get_state()

    @state.setter
    def state(self, state: tuple[ArrayLike, Any]) -> None:
        self._set_state(state)

    @exclusive
    def _get_state(self) -> tuple[Array, Any]:
        history = self._at(self._buffer, self._end - self._kept, self._end).copy()
        return history, self.position

    @exclusive
    def _set_state(self, state: tuple[ArrayLike, Any]) -> None:
        function = "Stream.state"
        try:
            given, position = state
        except (TypeError, ValueError):
            raise TypeError(
                f"{function} must be a pair (history, position), not {state!r}"
            ) from None
        history, _ = as_arrays(function, history=given, weight=self._weight)
        expected = self._shape(self._batch, self._channels, self._kept)
        if history.shape != expected:
            raise ValueError(f"{function}: history must have shape {expected}, not {history.shape}")
        if self._batch is None:
            where = integer(function, "position", position, -1)
            positions = np.array([where], np.int64)
        else:
            positions = self._integers(function, "position", position, self._batch, -1)
            where = int(positions[0]) if self._batch else 0
        self._start_at_front(0)
        rows = (history,) if self._batch is None else history
        kept = (self._buffer,) if self._batch is None else self._buffer
        for row, buffer, samples in zip(rows, kept, positions, strict=True):
            real = min(max(int(samples), 0), self._kept)  # before them nothing has been
            self._at(buffer, 0, self._kept - real)[...] = 0
            new = self._at(row, self._kept - real, self._kept)
            self._at(buffer, self._kept - real, self._kept)[...] = new
        self._slack, self._slacks, self._positions = 0, None, None
        if (positions == where).all():
            self._move_to(where)
        else:
            self._positions, self._slacks = positions, np.zeros_like(positions)

    def _move_to(self, position: int) -> None:
        self._position = position
        self._phase = self._phase_at(position)

    def _phase_at(self, position: int) -> int:
        """Where the next window begins, as seen from the position; -1 if in the padding.

        What is to be done for a chunk depends on that and on the chunk's length alone.
        """
        g = self._geometry
        if position <= 0:
            return -1
        if g.transposed:
            steady = position >= g.history and position * g.stride >= g.left + g.held_back
            return 0 if steady else -1
        first = g.first_sample(g.known(position))
        if first < 0:
            return -1
        return position - first + g.stride  # which is positive where windows leave samples out

    # Copies and pickles, also of subclasses with attributes, slots and constructors of their own.

    @exclusive
    def __getstate__(self) -> Any:
        """What `object` has, but for what can be made again."""
        state: Any = object.__getstate__(self)
        attributes, *slots = state if type(state) is tuple else (state,)
        left_out = (
            *("_lock", "_packed", "_views", "_scratch", "_phase", "_width", "_usual", "_dtype"),
        )
        attributes = {name: value for name, value in attributes.items() if name not in left_out}
        attributes["_buffer"] = self._at(self._buffer, self._end - self._kept, self._end).copy()
        attributes["_end"] = self._kept
        for name in ("_positions", "_slacks"):
            if attributes[name] is not None:
                attributes[name] = attributes[name].copy()
        return (attributes, *slots) if slots else attributes

    def __setstate__(self, state: Any) -> None:
        for attributes in state if type(state) is tuple else (state,):
            for name, value in (attributes or {}).items():
                object.__setattr__(self, name, value)
        for array in (self._weight, self._bias):
            if array is not None:
                array.setflags(write=False)  # which copies and pickles of arrays are not
        self._forget()
        self._use(self._buffer)

    def clone(self) -> Stream:
        """A stream that goes on from the same place, and shares nothing but the weights.

        Returns
        -------
        Stream
            Of the same class.
        """
        other = object.__new__(type(self))
        other.__setstate__(self.__getstate__())
        other._packed = self._packed
        return other

    # --- shapes and places ------------------------------------------------------------------------

    def _shape(self, rows: int | None, channels: int, length: int) -> Shape:
        if self._weight.ndim == 1:
            return (length,)
        shape = swap_axes((channels, length), self._axis == -2)
        return shape if rows is None else (rows, *shape)

    def _at(self, array: Array, start: int, stop: int | None) -> Array:
        """Positions start to stop of a signal."""
        return array[..., start:stop] if self._axis == -1 else array[..., start:stop, :]

    def _new_buffer(self, width: int) -> Array:
        shape = self._shape(self._batch, self._channels, width)
        try:
            return np.zeros(shape, self._weight.dtype)
        except ValueError:
            raise MemoryError(f"Stream: no memory for a history of shape {shape}") from None

    def _start_at_front(self, room: int) -> None:
        """Move the samples that are kept to the start of the buffer, which has `room` behind them.

        There is as much room as they take, too, so that they are not moved onto themselves, and for
        a few short chunks, so that they are not moved for each.
        """
        kept = self._at(self._buffer, self._end - self._kept, self._end)
        if self._width < 2 * self._kept + room:
            buffer = self._new_buffer(2 * self._kept + max(room, min(8 * room, 256)))
            self._at(buffer, 0, self._kept)[...] = kept
            self._use(buffer)
        elif self._end < 2 * self._kept:
            self._at(self._buffer, 0, self._kept)[...] = kept.copy()
        else:
            self._at(self._buffer, 0, self._kept)[...] = kept
        self._end = self._kept

    def _use(self, buffer: Array) -> None:
        self._buffer, self._width = buffer, buffer.shape[self._axis]
        self._views.clear()

    def _integers(self, function: str, name: str, values: object, count: int, least: int) -> Ints:
        """One integer for each row."""
        array = np.asarray(values)
        if array.dtype.kind not in "iu" and array.size:
            raise TypeError(
                f"{function}: {name} must be integers, one for each row, not {values!r}"
            )
        if array.shape != (count,):
            raise ValueError(
                f"{function}: {name} must have shape ({count},), one for each row, "
                f"not {array.shape}"
            )
        for value in (int(value) for value in array if not least <= value <= 2**48):
            integer(function, name, value, least)
        return array.astype(np.int64)

    def _check_open(self, function: str, least: int) -> None:
        """Refuse rows that are finished, of which the one at the least position is one."""
        if least < 0:
            raise RuntimeError(f"{function}: it is finished; reset() begins anew")

    # --- convolving -------------------------------------------------------------------------------

    def _convolve(self, source: Array, pads: Any, mode: str, out: Array | None) -> Array:
        """A map of some samples, as a new array or in `out`."""
        return self._convolve_by(source, self._options(pads, mode), out)

    def _options(self, pads: tuple[int, int], mode: str) -> tuple[Any, ...]:
        """In the order of Options."""
        return self._geometry.stride, pads, self._dilation, self._groups, mode, self._layout, 0

    def _convolve_by(self, source: Array, options: tuple[Any, ...], out: Array | None) -> Array:
        w, b, transposed = self._weight, self._bias, self._geometry.transposed
        if self._packed is not None:
            found = self._usual.one(source, w, b, self._packed, options, out)
            if found is not None:
                return found
        function = "Stream"
        planner = plan_conv_transpose1d if transposed else plan_conv1d
        plan = planner((source.shape, w.shape, None if b is None else b.shape), *options)
        which_map, shape = FORWARD, plan.y_shape
        if transposed:
            which_map, shape = BACKWARD_INPUT, plan.x_shape
        operands = source, self._pack(which_map, plan), b
        return one(function, which_map, plan, shape, operands, out, False, {}, transposed)

    def _pack(self, which_map: int, plan: Any) -> Any:
        """The weight as the map takes it. Its order depends neither on lengths nor on padding."""
        if _backend.core is None:
            return self._weight
        packed = self._packed
        if packed is None or not (isinstance(packed, np.ndarray) or packed.is_current()):
            transposed = which_map == BACKWARD_INPUT
            conjugate = transposed and self._weight.dtype.kind == "c"
            packed = _backend.kernels_for(self._weight.dtype).pack(
                as_3d(self._weight),
                plan.geometry,
                plan.groups,
                transposed,
                self._layout == "NLC",
                **({"conjugate": True} if conjugate else {}),
            )
            self._packed = packed
        return packed

    def _run(
        self,
        pieces: Sequence[Piece],
        chunk: Array,
        buffer: Array,
        shape: Shape,
        out: Array | None,
        ours: bool,
    ) -> Array:
        """The outputs of some pieces for some rows of the buffer and their chunk, in `out` or new.

        The chunk is in the buffer, as far as it is joined. If memory runs out, an `out` that is not
        ours is as it was.
        """
        if not pieces:
            return empty("Stream.push", shape, chunk.dtype) if out is None else out
        sources = [
            self._at(buffer, self._end + piece.start, self._end + piece.stop)
            if piece.joined
            else self._at(chunk, piece.start, None)
            for piece in pieces
        ]
        if len(pieces) == 1:
            return self._convolve(sources[0], pieces[0].pads, pieces[0].mode, out)
        early, late = pieces
        if out is None:
            out, ours = empty("Stream.push", shape, chunk.dtype), True
        plain = np.asarray(out)
        head = self._at(plain, 0, early.outputs)
        first = head
        if not ours:
            sizes = list(shape)
            sizes[self._axis] = early.outputs
            first = self._borrow(tuple(sizes))
        self._convolve(sources[0], early.pads, early.mode, first)
        self._convolve(sources[1], late.pads, late.mode, self._at(plain, early.outputs, None))
        if not ours:
            head[...] = first
        return out

    def _borrow(self, shape: Shape) -> Array:
        """An array of our own, for as long as nobody else borrows."""
        size = int(np.prod(shape))
        if self._scratch.size < size:
            self._scratch = np.empty(size, self._weight.dtype)
        return self._scratch[:size].reshape(shape)

    # --- the methods ------------------------------------------------------------------------------

    def push(
        self,
        x: ArrayLike,
        out: Array | None = None,
        *,
        lengths: ArrayLike | None = None,
        rows: ArrayLike | None = None,
    ) -> Array:
        """Take the next samples and return the outputs that are known then.

        Parameters
        ----------
        x : array_like, shape (N, C, n), (C, n) or (n,)
            The next n samples, 0 or more. N is the batch, or the number of `rows`.
        out : ndarray, optional
            Where the outputs are written, as in `conv1d`.
        lengths : array_like of int, shape (N,), optional
            How many samples each row has, if not n.
        rows : array_like of int, shape (N,), optional
            The row of the stream that each row of `x` belongs to, no two the same; -1 skips it.

        Returns
        -------
        ndarray, shape (N, K, m), (K, m) or (m,)
            The outputs; where rows have fewer than m, zeros behind them. `out`, if given.

        Raises
        ------
        TypeError, ValueError
            If an argument does not fit the stream.
        RuntimeError
            If the stream is finished, or in use by another thread.
        MemoryError
            If there is no room. Whatever the error, the stream and `out` are as they were.
        """
        if not self._lock.acquire(False):
            raise RuntimeError("Stream: it is in use by another thread; give each its own clone()")
        try:
            if lengths is None and rows is None and type(x) is ndarray and x.dtype is self._dtype:
                view = self._views.get((self._end, self._phase, x.shape))
                if view is not None and (out is None or can_be_filled(out, x, view)):
                    return self._push_again(x, out, view)
            return self._push(x, out, lengths, rows)
        finally:
            self._lock.release()

    def _push_again(self, x: Array, out: Array | None, view: View) -> Array:
        """A push like one that was made before, for which everything is there."""
        target, source, options, shape, n, phase = view
        target[...] = x
        if source is None:
            y: Any = np.empty(shape, x.dtype)
        else:
            y = self._usual.one(source, self._weight, self._bias, self._packed, options, out)
            if y is None:
                y = self._convolve_by(source, options, out)
        self._end += n
        self._position += n
        self._phase = phase
        if self._extra:
            self._slack = min(self._slack + n, self._extra)
        if self._end + n > self._width:  # the next one finds its place
            self._start_at_front(n)
        return y  # type: ignore[no-any-return]

    def _push(self, x: Any, out: Array | None, lengths: Any, rows: Any) -> Array:
        function = "Stream.push"
        chunk: Array = x
        if not same_dtype(x, self._weight):
            chunk, _ = as_arrays(function, x=x, weight=self._weight)
        chunk = np.asarray(chunk)  # of a subclass the data
        number = self._batch
        if number is None and lengths is not None:
            raise ValueError(f"{function}: lengths are for a stream with a batch")
        if rows is not None:
            number = len(chunk) if chunk.ndim else 0
            rows = self._meant(function, rows, number)
        samples = chunk.shape[self._axis] if chunk.ndim >= -self._axis else 0
        expected = self._shape(number, self._channels, samples)
        if chunk.shape != expected:
            sizes = [*map(str, expected)]
            sizes[self._axis] = "n"
            raise ValueError(
                f"{function}: x must have shape ({', '.join(sizes)}{',' * (len(sizes) == 1)}), "
                f"not {chunk.shape}"
            )
        if lengths is None and rows is None and self._positions is None:
            return self._push_alike(x, chunk, samples, out)
        if rows is None:
            rows = np.arange(self._batch or 0)
        if lengths is None:
            lengths = np.full(len(rows), samples)
        else:
            lengths = self._integers(function, "lengths", lengths, len(rows), 0)
            if (lengths > samples).any():
                raise ValueError(
                    f"{function}: lengths must be at most the {samples} samples of x, "
                    f"not {int(lengths.max())}"
                )
        return self._push_rows(x, chunk, out, lengths, rows)

    def _meant(self, function: str, rows: Any, number: int | None = None) -> Ints:
        """Which rows of the stream are meant, or -1 where one is skipped; all of them by None."""
        if rows is None:
            return np.arange(1 if self._batch is None else self._batch)
        if self._batch is None:
            raise ValueError(f"{function}: rows are for a stream with a batch")
        number = np.size(rows) if number is None else number
        found = self._integers(function, "rows", rows, number, -1)
        meant = found[found >= 0]
        if (meant >= (self._batch or 0)).any():
            raise ValueError(
                f"{function}: rows must be less than the batch, {self._batch}, "
                f"not {int(meant.max())}"
            )
        if len(np.unique(meant)) < len(meant):
            raise ValueError(f"{function}: rows must be different from each other, not {rows!r}")
        return found

    def _push_alike(self, x: Any, chunk: Array, samples: int, out: Array | None) -> Array:
        """A push of as many samples to all rows, which are at the same position."""
        function = "Stream.push"
        position = self._position
        self._check_open(function, position)
        pieces = pieces_of(self._geometry, self._joined, position, samples)
        shape = self._shape(self._batch, self._outs, sum(piece.outputs for piece in pieces))
        if out is not None:
            check_out(function, "out", out, shape, chunk.dtype, {"x": x})
        joined = samples
        if samples > self._joined:
            joined = overhang(self._geometry, position) if position else 0
        if self._end + joined > self._width:
            self._start_at_front(joined)
        end = self._end
        target = self._at(self._buffer, end, end + joined)
        target[...] = self._at(chunk, 0, joined)
        y = self._run(pieces, chunk, self._buffer, shape, out, False)
        phase = self._phase
        self._move_to(position + samples)
        self._slack = min(self._slack + samples, self._extra)
        if samples > self._joined:
            self._at(self._buffer, 0, self._kept)[...] = self._at(chunk, samples - self._kept, None)
            self._end = self._kept
            return y
        self._end += samples
        if samples and phase >= 0:  # it may come again
            if len(self._views) >= MAX_VIEWS:
                self._views.clear()
            source, options = None, ()
            for piece in pieces:
                source = self._at(self._buffer, end + piece.start, end + piece.stop)
                options = self._options(piece.pads, piece.mode)
            self._views[end, phase, chunk.shape] = View(
                target, source, options, shape, samples, self._phase
            )
        if samples and self._end + samples > self._width:  # the next one finds its place
            self._start_at_front(samples)
        return y

    def _push_rows(
        self, x: Any, chunk: Array, out: Array | None, lengths: Ints, rows: Ints
    ) -> Array:
        """A push of any number of samples to some rows, which may be at different positions."""
        function = "Stream.push"
        positions = self._all_positions()
        self._check_open(function, positions[rows[rows >= 0]].min(initial=0))
        groups = list(groups_of(self._geometry, self._joined, positions, lengths, rows))
        counts = [sum(piece.outputs for piece in group.pieces) for group in groups]
        shape = self._shape(len(rows), self._outs, max(counts, default=0))
        if out is not None:
            check_out(function, "out", out, shape, chunk.dtype, {"x": x})
        room = 0
        for group in groups:
            long = group.samples > self._joined
            room = max(room, overhang(self._geometry, group.position) if long else group.samples)
        self._start_at_front(room)
        kept, end = self._kept, self._end
        y = empty(function, shape, chunk.dtype) if out is None else self._borrow(shape)
        y[...] = 0
        buffers, chunks = [], []
        for group, count in zip(groups, counts, strict=True):
            buffer = self._buffer[group.row : group.row + group.number]
            part = chunk[group.place : group.place + group.number]
            part = self._at(part, 0, group.samples)
            joined = min(group.samples, room)
            self._at(buffer, end, end + joined)[...] = self._at(part, 0, joined)
            target = self._at(y[group.place : group.place + group.number], 0, count)
            self._run(group.pieces, part, buffer, target.shape, target, True)
            buffers.append(buffer)
            chunks.append(part)
        # Nothing can fail from here on.
        for group, buffer, part in zip(groups, buffers, chunks, strict=True):
            n = group.samples
            if n > self._joined:
                self._at(buffer, 0, kept)[...] = self._at(part, n - kept, None)
                continue
            aside = self._at(buffer, kept + room, 2 * kept + room)  # for they may overlap
            aside[...] = self._at(buffer, n, n + kept)
            self._at(buffer, 0, kept)[...] = aside
        there = rows >= 0
        positions[rows[there]] += lengths[there]
        slacks = self._all_slacks(positions)
        slacks[rows[there]] = np.minimum(slacks[rows[there]] + lengths[there], self._extra)
        self._place_rows(positions, slacks)
        if out is not None:
            np.copyto(np.asarray(out), y)
            return out
        return y

    def _place_rows(self, positions: Ints, slacks: Ints) -> None:
        """Rows are at these positions; if they are the same, that is simpler from now on."""
        alike = (positions == positions[:1]).all() and (slacks == slacks[:1]).all()
        if alike and len(positions):
            self._positions, self._slacks, self._slack = None, None, int(slacks[0])
            self._move_to(int(positions[0]))
        else:
            self._positions, self._slacks, self._phase = positions, slacks, -1

    @exclusive
    def finish(self, *, rows: ArrayLike | None = None) -> Array:
        """End the signals, pad them on the right, and return the outputs that remain.

        Parameters
        ----------
        rows : array_like of int, optional
            Which rows of the batch end, if not all; -1 skips one.

        Returns
        -------
        ndarray, shape (N, K, m), (K, m) or (m,)
            The outputs; where rows have fewer than m, zeros behind them. There are none of a
            signal that is shorter than a window with its padding, which `conv1d` would refuse.

        Raises
        ------
        ValueError
            If a signal is too short for the padding mode; then the stream is as it was.
        RuntimeError
            If the stream is finished, or in use by another thread.
        """
        function = "Stream.finish"
        meant = self._meant(function, rows)
        positions = self._all_positions()
        self._check_open(function, positions[meant[meant >= 0]].min(initial=0))
        plans = {
            at: (self._geometry.known(at), self._geometry.whole(function, at))
            for at in map(int, positions[meant[meant >= 0]])
        }
        most = max((whole - known for known, whole in plans.values()), default=0)
        number = None if self._batch is None else len(meant)
        y = np.zeros(self._shape(number, self._outs, most), self._weight.dtype)
        buffers, results = (
            (self._buffer, y)
            if self._batch is not None
            else (
                self._buffer[np.newaxis],
                y[np.newaxis],
            )
        )
        start = 0
        while start < len(meant):
            row, stop = int(meant[start]), start + 1
            while (
                row >= 0
                and stop < len(meant)
                and meant[stop] == row + stop - start
                and positions[meant[stop]] == positions[row]
            ):
                stop += 1
            if row >= 0:
                position = int(positions[row])
                known, whole = plans[position]
                if whole > known:
                    buffer = buffers[row : row + stop - start]
                    result = self._at(results[start:stop], 0, whole - known)
                    if self._batch is None:
                        buffer, result = buffer[0], result[0]
                    self._finish_rows(buffer, position, known, whole, result)
            start = stop
        positions[meant[meant >= 0]] = -1
        if self._batch is None:
            self._move_to(-1)
        else:
            slacks = self._all_slacks(positions)
            slacks[meant[meant >= 0]] = 0
            self._place_rows(positions, slacks)
        return y

    def _finish_rows(
        self, buffer: Array, position: int, known: int, whole: int, out: Array
    ) -> None:
        """The outputs that remain of some rows at the same position."""
        g = self._geometry
        if g.mode == "zeros":
            piece = piece_of(self._geometry, True, position, known, whole, 0, g.right)
            start, right = piece.start, piece.pads[1]
            if start > 0:  # it begins in the padding
                start, right = 0, right - start
            source = self._at(buffer, self._end + start, self._end)
            self._convolve(source, (piece.pads[0], right), "zeros", out)
            return
        # Copies of samples are samples.
        first = g.first_sample(known)
        places = np.arange(first, (whole - 1) * g.stride - g.left + g.span)
        last = position - 1
        if g.mode == "replicate":
            places = places.clip(0, last)
        else:
            places = np.abs(places)
            places = np.where(places > last, 2 * last - places, places)
        source = np.take(buffer, places - position + self._end, axis=self._axis)
        self._convolve(source, (0, 0), "zeros", out)

    @exclusive
    def reset(self, rows: ArrayLike | None = None) -> None:
        """Begin anew, as before the first sample.

        Parameters
        ----------
        rows : array_like of int, optional
            Which rows of the batch, if not all; -1 skips one.
        """
        function = "Stream.reset"
        if rows is None:
            self._at(self._buffer, 0, self._kept)[...] = 0
            self._end, self._slack = self._kept, 0
            self._positions = self._slacks = None
            self._move_to(0)
            return
        found = self._meant(function, rows)
        meant = found[found >= 0]
        positions = self._all_positions()
        slacks = self._all_slacks(positions)
        self._at(self._buffer, self._end - self._kept, self._end)[meant] = 0
        positions[meant] = slacks[meant] = 0
        self._place_rows(positions, slacks)

    @exclusive
    def rewind(self, n: Any) -> None:
        """Take back the last samples, as if they had not been pushed.

        Parameters
        ----------
        n : int, or array_like of int, shape (N,)
            How many; one number for all rows, or one for each. At most `extra_history`, less those
            that have been taken back since, and none of before `reset` or an assignment of `state`.

        Raises
        ------
        ValueError
            If they are no longer known.
        RuntimeError
            If the stream is finished, or in use by another thread.
        """
        function = "Stream.rewind"
        positions = self._all_positions()
        slacks = self._all_slacks(positions)
        if self._batch is None or np.ndim(n) == 0:
            steps = np.full_like(positions, integer(function, "n", n, 0))
        else:
            steps = self._integers(function, "n", n, self._batch, 0)
        self._check_open(function, positions[steps > 0].min(initial=0))
        if (steps > slacks).any():
            row = int(np.argmax(steps > slacks))
            where = "" if self._batch is None else f" in row {row}"
            raise ValueError(
                f"{function}: n must be at most the {int(slacks[row])} samples that can be taken "
                f"back{where}, not {int(steps[row])}; extra_history is {self._extra}"
            )
        kept, end = self._kept, self._end
        history = self._at(self._buffer, end - kept, end).copy()
        moved = np.zeros_like(history)
        pairs = [(history, moved)] if self._batch is None else zip(history, moved, strict=True)
        for (row, to), step in zip(pairs, steps.tolist(), strict=True):
            self._at(to, step, kept)[...] = self._at(row, 0, kept - step)
        self._at(self._buffer, end - kept, end)[...] = moved
        if self._batch is None:
            self._slack -= int(steps[0])
            self._move_to(int(positions[0] - steps[0]))
        else:
            self._place_rows(positions - steps, slacks - steps)

    def outputs_for(self, n: Any, *, rows: ArrayLike | None = None) -> Any:
        """How many outputs a push of n samples would return now.

        Parameters
        ----------
        n : int, or array_like of int, shape (N,)
            The number of samples, or one for each row of a batch.
        rows : array_like of int, optional
            As in `push`.

        Returns
        -------
        int, or ndarray of int, shape (N,)
            For each row, if there is a batch; 0 for a row that is skipped or finished.
        """
        return self._count("Stream.outputs_for", "n", n, rows, outputs_at)

    def inputs_for(self, m: Any, *, rows: ArrayLike | None = None) -> Any:
        """How many samples have to be pushed, at least, for m outputs.

        Parameters
        ----------
        m : int, or array_like of int, shape (N,)
            The number of outputs, or one for each row of a batch.
        rows : array_like of int, optional
            As in `push`.

        Returns
        -------
        int, or ndarray of int, shape (N,)
            For each row, if there is a batch; 0 for a row that is skipped or finished.
        """
        return self._count("Stream.inputs_for", "m", m, rows, inputs_at)

    def _count(
        self,
        function: str,
        name: str,
        value: Any,
        rows: Any,
        each: Callable[[StreamGeometry, int, int], int],
    ) -> Any:
        found = self._meant(function, rows)
        if self._batch is None:
            return each(self._geometry, self._position, integer(function, name, value, 0))
        positions = self._all_positions()
        if np.ndim(value) == 0:
            values = np.full(len(found), integer(function, name, value, 0))
        else:
            values = self._integers(function, name, value, len(found), 0)
        return np.array(
            [
                each(self._geometry, int(positions[row]), number) if row >= 0 else 0
                for row, number in zip(found.tolist(), values.tolist(), strict=True)
            ],
            np.int64,
        )
