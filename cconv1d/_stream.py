"""A convolution that is fed a signal in chunks of any length, and has the bits of one call.

`Stream` checks arguments, knows the positions of its rows and sees to it that one thread uses it at
a time. Where samples lie is in `_stream_samples.py`; how outputs are computed from them, in
`_stream_direct.py` and `_stream_hops.py`, one for each method.

Rows of a batch may be at different positions. Then neighbouring rows for which the same is to be
done are computed together, and others one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from threading import Lock
from typing import Any, Concatenate, Literal, ParamSpec, SupportsIndex, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from ._arrays import Array, as_arrays, check_method_dtype, ndarray, same_dtype
from ._execute import check_out, empty
from ._geometry import IntLike, Padding, StreamGeometry, integer, resolve_hop, resolve_stream
from ._pieces import Ints, inputs_at, outputs_at
from ._plans import Layout, Shape, check_bias, check_groups, check_layout, weights
from ._stream_direct import Direct
from ._stream_hops import Hops
from ._stream_samples import Axes, Positions, Samples

__all__ = ["Stream"]

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


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


def runs_of_rows(rows: Ints, positions: Ints) -> Iterator[tuple[int, int]]:
    """Where neighbouring rows at the same position begin and end, among some that are meant."""
    start = 0
    while start < len(rows):
        row, stop = rows[start], start + 1
        while (
            row >= 0
            and stop < len(rows)
            and rows[stop] == row + stop - start
            and positions[rows[stop]] == positions[row]
        ):
            stop += 1
        if row >= 0:
            yield start, stop
        start = stop


class Stream:
    """A convolution that is fed a signal in chunks, and returns the outputs that are then known.

    All outputs together are those of one call of `conv1d`, or of `conv_transpose1d`, on the whole
    signal, bit for bit, however it is cut. With method "fft" they are those of one push of the
    whole signal, however it is cut, and those of the call but for rounding.

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
    method : {"direct", "fft"}, optional
        How outputs are computed. "fft" is for kernels of hundreds of taps and more, of
        floating-point or complex numbers, at stride 1 and not transposed.
    hop : int, optional
        With "fft", how many outputs are computed at once, at most 2**20. They are returned when all
        of them are known, which adds up to ``hop - 1`` samples to the latency; ``finish()`` returns
        what remains.

    Raises
    ------
    TypeError, ValueError
        As `conv1d`, for what can be told without an input; and for what cannot stream: circular
        padding, and padding that depends on the length of the whole signal.
    MemoryError
        If there is no room for the history.

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

    With method "fft" the kernel is cut into parts of some hops, and outputs are the sum of products
    of their transforms with those of the last blocks, a uniformly partitioned convolution [1]_.
    Errors are bounded as docs/methods.md says; a number that is not finite reaches the outputs that
    it reaches in "direct".

    The chunk is copied behind the samples that are kept, or, if it is long, only its start is. With
    ``out=`` nothing is allocated once the longest chunk has been seen, but for the scratch that
    every call of `conv1d` has. Memory that runs out leaves the stream and ``out`` as they were.
    With method "fft" all of a chunk is copied, a part after another if it is long, and the first
    push transforms the weight.

    It may be used by one thread at a time; a second one gets a RuntimeError. It can be copied and
    pickled.

    References
    ----------
    .. [1] F. Wefers, "Partitioned convolution algorithms for real-time auralization", Logos, 2015,
       chapter 5.

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

    A kernel of a thousand taps, for which 64 outputs are computed at once:

    >>> stream = Stream(np.ones(1000), method="fft", hop=64)
    >>> stream.push(np.ones(100)).shape, stream.latency
    ((64,), 63)
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
        method: Literal["direct", "fft"] = "direct",
        hop: SupportsIndex | None = None,
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
        parts = 2 if snapshots[0].dtype.kind == "c" else 1
        geometry = resolve_hop(
            function, geometry, method, hop, parts * channels // groups, parts * outs // groups
        )
        if geometry.partition is not None:
            check_method_dtype(function, "fft", snapshots[0].dtype)
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
        axes = Axes(len(shape) == 1, layout == "NLC")
        kept = geometry.history + extra
        self._samples = Samples(axes, batch, channels, kept, self._weight.dtype)
        self._positions = Positions(geometry, 1 if batch is None else batch, extra)
        self._begin()

    def _begin(self) -> None:
        """What is no part of the state."""
        self._lock = Lock()
        self._dtype = self._weight.dtype
        layer = self._weight, self._bias, self._dilation, self._groups, self._layout, self._samples
        partition = self._geometry.partition
        self._way: Direct | Hops
        if partition is None:
            self._way = Direct(self._geometry, *layer)
        else:
            self._way = Hops(self._geometry, partition, *layer)

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
        return self._samples.kept

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
            f"layout={self._layout!r}, extra_history={self._extra}"
            + (")" if g.partition is None else f", method='fft', hop={g.hop})")
        )

    # --- what does --------------------------------------------------------------------------------

    @property
    def position(self) -> Any:
        """The number of samples so far, of each row if there is a batch; -1 once it is finished."""
        return self._positions.position if self._batch is None else self._positions.all()

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
        return self._samples.last().copy(), self.position

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
        expected = self._shape(self._batch, self._channels, self._samples.kept)
        if history.shape != expected:
            raise ValueError(f"{function}: history must have shape {expected}, not {history.shape}")
        if self._batch is None:
            where = integer(function, "position", position, -1)
            positions = np.array([where], np.int64)
        else:
            positions = self._integers(function, "position", position, self._batch, -1)
            where = int(positions[0]) if self._batch else 0
        self._samples.set_rows(history, positions)
        self._way.forget()
        self._positions.begin(where)
        if (positions != where).any():
            self._positions.place(positions, np.zeros_like(positions))

    # Copies and pickles, also of subclasses with attributes, slots and constructors of their own.

    @exclusive
    def __getstate__(self) -> Any:
        """What `object` has, but for what can be made again."""
        state: Any = object.__getstate__(self)
        attributes, *slots = state if type(state) is tuple else (state,)
        attributes = dict(attributes)
        for name in ("_lock", "_way", "_dtype"):  # which can be made again
            attributes.pop(name)
        attributes["_samples"] = self._samples.last().copy()
        attributes["_positions"] = self._positions.copy()
        return (attributes, *slots) if slots else attributes

    def __setstate__(self, state: Any) -> None:
        for attributes in state if type(state) is tuple else (state,):
            for name, value in (attributes or {}).items():
                object.__setattr__(self, name, value)
        for array in (self._weight, self._bias):
            if array is not None:
                array.setflags(write=False)  # which copies and pickles of arrays are not
        last: Any = self._samples
        axes = Axes(self._weight.ndim == 1, self._layout == "NLC")
        self._samples = Samples(
            axes, self._batch, self._channels, last.shape[axes.time], self._weight.dtype
        )
        self._samples.replace(last)
        self._begin()

    def clone(self) -> Stream:
        """A stream that goes on from the same place, and shares nothing but the weights.

        Returns
        -------
        Stream
            Of the same class.
        """
        other = object.__new__(type(self))
        other.__setstate__(self.__getstate__())
        self._way.share(other._way)  # type: ignore[arg-type]
        return other

    # --- arguments --------------------------------------------------------------------------------

    def _shape(self, rows: int | None, channels: int, length: int) -> Shape:
        return self._samples.axes.shape(rows, channels, length)

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
                samples, positions = self._samples, self._positions
                view = samples.views.get((samples.end, positions.phase, x.shape))
                if view is not None:
                    y = self._way.push_again(x, out, view, positions.position)
                    if y is not None:
                        positions.position += view.samples
                        positions.phase = view.phase
                        if self._extra:
                            positions.slack = min(positions.slack + view.samples, self._extra)
                        return y
            return self._push(x, out, lengths, rows)
        finally:
            self._lock.release()

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
        axis = self._samples.axes.time
        samples = chunk.shape[axis] if chunk.ndim >= -axis else 0
        expected = self._shape(number, self._channels, samples)
        if chunk.shape != expected:
            sizes = [*map(str, expected)]
            sizes[axis] = "n"
            raise ValueError(
                f"{function}: x must have shape ({', '.join(sizes)}{',' * (len(sizes) == 1)}), "
                f"not {chunk.shape}"
            )
        if lengths is None and rows is None and self._positions.each is None:
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
        position, phase = self._positions.position, self._positions.phase
        self._check_open(function, position)
        outputs = outputs_at(self._geometry, position, samples)
        shape = self._shape(self._batch, self._outs, outputs)
        if out is not None:
            check_out(function, "out", out, shape, chunk.dtype, {"x": x})
        y = self._way.push(chunk, samples, position, phase, shape, out)
        self._positions.move_on(samples)
        return y

    def _push_rows(
        self, x: Any, chunk: Array, out: Array | None, lengths: Ints, rows: Ints
    ) -> Array:
        """A push of any number of samples to some rows, which may be at different positions."""
        function = "Stream.push"
        positions = self._positions.all()
        self._check_open(function, positions[rows[rows >= 0]].min(initial=0))
        groups = self._way.groups(positions, lengths, rows)
        most = max((group.outputs for group in groups), default=0)
        shape = self._shape(len(rows), self._outs, most)
        if out is not None:
            check_out(function, "out", out, shape, chunk.dtype, {"x": x})
        y = empty(function, shape, chunk.dtype) if out is None else self._samples.borrow(shape)
        y[...] = 0
        self._way.push_rows(groups, chunk, y)
        there = rows >= 0
        positions[rows[there]] += lengths[there]
        slacks = self._positions.all_slacks()
        slacks[rows[there]] = np.minimum(slacks[rows[there]] + lengths[there], self._extra)
        self._positions.place(positions, slacks)
        if out is not None:
            np.copyto(np.asarray(out), y)
            return out
        return y

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
        positions = self._positions.all()
        self._check_open(function, positions[meant[meant >= 0]].min(initial=0))
        plans = {
            at: (self._geometry.known(at), self._geometry.whole(function, at))
            for at in map(int, positions[meant[meant >= 0]])
        }
        most = max((whole - known for known, whole in plans.values()), default=0)
        number = None if self._batch is None else len(meant)
        y = np.zeros(self._shape(number, self._outs, most), self._weight.dtype)
        for start, stop in runs_of_rows(meant, positions):
            row = int(meant[start])
            position = int(positions[row])
            known, whole = plans[position]
            buffer, result = self._samples.array, y
            if self._batch is not None:
                buffer, result = buffer[row : row + stop - start], y[start:stop]
            if whole > known:
                result = self._samples.axes.at(result, 0, whole - known)
                self._way.finish(row, buffer, position, known, whole, result)
        positions[meant[meant >= 0]] = -1
        if self._batch is None:
            self._positions.move_to(-1)
        else:
            slacks = self._positions.all_slacks()
            slacks[meant[meant >= 0]] = 0
            self._positions.place(positions, slacks)
        return y

    @exclusive
    def reset(self, rows: ArrayLike | None = None) -> None:
        """Begin anew, as before the first sample.

        Parameters
        ----------
        rows : array_like of int, optional
            Which rows of the batch, if not all; -1 skips one.
        """
        function = "Stream.reset"
        last = self._samples.last()
        if rows is None:
            last[...] = 0
            self._way.forget()
            self._positions.begin(0)
            return
        found = self._meant(function, rows)
        meant = found[found >= 0]
        positions, slacks = self._positions.all(), self._positions.all_slacks()
        last[meant] = 0
        self._way.forget(meant.tolist())
        positions[meant] = slacks[meant] = 0
        self._positions.place(positions, slacks)

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
        positions, slacks = self._positions.all(), self._positions.all_slacks()
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
        self._samples.take_back(steps)
        self._way.forget(np.flatnonzero(steps).tolist())
        if self._batch is None:
            self._positions.slack -= int(steps[0])
            self._positions.move_to(int(positions[0] - steps[0]))
        else:
            self._positions.place(positions - steps, slacks - steps)

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
            return each(self._geometry, self._positions.position, integer(function, name, value, 0))
        positions = self._positions.all()
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
