"""Where the last samples of a stream lie, and where its signals are.

    array     | ... the last samples of the signal | the chunk       |        |
                `kept` of them                     ^ end              ^ end + n

The state of a stream is samples, never a partial sum, whose order would depend on where the signal
was cut. Which samples outputs to come may read, `StreamGeometry` says.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ._arrays import Array
from ._execute import overlap
from ._geometry import StreamGeometry
from ._pieces import Ints
from ._plans import Shape, swap_axes

#: Pushes of which views are remembered.
MAX_VIEWS = 256


class Axes(NamedTuple):
    """How arrays of a stream's signals are laid out."""

    lone: bool  # one axis: neither a batch nor channels
    channels_last: bool

    @property
    def time(self) -> int:
        return -2 if self.channels_last and not self.lone else -1

    def shape(self, rows: int | None, channels: int, length: int) -> Shape:
        if self.lone:
            return (length,)
        shape = swap_axes((channels, length), self.channels_last)
        return shape if rows is None else (rows, *shape)

    def at(self, array: Array, start: int, stop: int | None) -> Array:
        """Positions start to stop of a signal."""
        if self.channels_last and not self.lone:
            return array[..., start:stop, :]
        return array[..., start:stop]


def sources(mode: str, places: Ints, last: int) -> Ints:
    """The samples that those at any places are copies of, where sample `last` is the last one."""
    if mode == "replicate":
        return places.clip(0, last)
    places = np.abs(places)
    return np.where(places > last, 2 * last - places, places)


def can_be_filled(out: Any, x: Array) -> bool:
    """Whether `out` shares no memory with `x`. The rest is checked where it is filled."""
    return (
        type(out) is np.ndarray
        and out is not x
        and (out.base is None is x.base or not overlap(out, x))
    )


class Samples:
    """The last samples of all rows, and room behind them for those that come."""

    def __init__(
        self, axes: Axes, rows: int | None, channels: int, kept: int, dtype: np.dtype[Any]
    ) -> None:
        self.axes, self.rows, self.channels, self.kept = axes, rows, channels, kept
        self.end = kept
        #: What has been prepared for places in the array.
        self.views: dict[tuple[int, int, Shape], Any] = {}
        self._scratch = np.empty(0, dtype)
        self._use(self._new(kept, dtype))

    def _new(self, width: int, dtype: np.dtype[Any]) -> Array:
        shape = self.axes.shape(self.rows, self.channels, width)
        try:
            return np.zeros(shape, dtype)
        except ValueError:
            raise MemoryError(f"Stream: no memory for a history of shape {shape}") from None

    def _use(self, array: Array) -> None:
        self.array, self.width = array, array.shape[self.axes.time]
        self.views.clear()

    def last(self) -> Array:
        """Those that are kept, where they lie."""
        return self.axes.at(self.array, self.end - self.kept, self.end)

    def replace(self, samples: Array) -> None:
        """Others of the same shape."""
        self.last()[...] = samples

    def borrow(self, shape: Shape) -> Array:
        """An array of our own, for as long as nobody else borrows."""
        size = int(np.prod(shape))
        if self._scratch.size < size:
            self._scratch = np.empty(size, self._scratch.dtype)
        return self._scratch[:size].reshape(shape)

    def remember(self, phase: int, shape: Shape, view: Any) -> None:
        """What a push of a chunk of that shape does here, for the next one like it."""
        if len(self.views) >= MAX_VIEWS:
            self.views.clear()
        self.views[self.end, phase, shape] = view

    def start_at_front(self, room: int) -> None:
        """Move the samples that are kept to the start of the array, which has `room` behind them.

        There is as much room as they take, too, so that they are not moved onto themselves, and for
        a few short chunks, so that they are not moved for each.
        """
        kept, last = self.kept, self.last()
        if self.width < 2 * kept + room:
            array = self._new(2 * kept + max(room, min(8 * room, 256)), self.array.dtype)
            self.axes.at(array, 0, kept)[...] = last
            self._use(array)
        elif self.end < 2 * kept:
            self.axes.at(self.array, 0, kept)[...] = last.copy()
        else:
            self.axes.at(self.array, 0, kept)[...] = last
        self.end = kept

    def append(self, chunk: Array, count: int) -> Array:
        """Copy the first samples of a chunk behind those that are kept; where they lie.

        They become the last ones when `end` moves on.
        """
        if self.end + count > self.width:
            self.start_at_front(count)
        target = self.axes.at(self.array, self.end, self.end + count)
        target[...] = self.axes.at(chunk, 0, count)
        return target

    def move_on(self, count: int) -> None:
        """So many samples more are behind us. Nothing is allocated, so this cannot fail."""
        self.end += count
        if count and 2 * self.kept + count <= self.width < self.end + count:
            self.start_at_front(count)  # the next ones find their place

    def keep_end_of(self, chunk: Array) -> None:
        """The last samples are the last of a chunk that is as long."""
        samples = chunk.shape[self.axes.time]
        self.axes.at(self.array, 0, self.kept)[...] = self.axes.at(chunk, samples - self.kept, None)
        self.end = self.kept

    def shift_rows(self, rows: Array, count: int, room: int) -> None:
        """Some rows move on by so many samples, which lie behind `kept`, within the room there."""
        kept, at = self.kept, self.axes.at
        aside = at(rows, kept + room, 2 * kept + room)  # for they may overlap
        aside[...] = at(rows, count, count + kept)
        at(rows, 0, kept)[...] = aside

    def set_rows(self, history: Array, positions: Ints) -> None:
        """Those of a state; there is nothing before the first sample."""
        self.start_at_front(0)
        rows = (history,) if self.rows is None else history
        kept = (self.array,) if self.rows is None else self.array
        for row, place, samples in zip(rows, kept, positions, strict=True):
            real = min(max(int(samples), 0), self.kept)
            self.axes.at(place, 0, self.kept - real)[...] = 0
            new = self.axes.at(row, self.kept - real, self.kept)
            self.axes.at(place, self.kept - real, self.kept)[...] = new

    def take_back(self, steps: Ints) -> None:
        """The last samples of each row, with zeros in front."""
        history = self.last().copy()
        moved = np.zeros_like(history)
        pairs = [(history, moved)] if self.rows is None else zip(history, moved, strict=True)
        for (row, to), step in zip(pairs, steps.tolist(), strict=True):
            self.axes.at(to, step, self.kept)[...] = self.axes.at(row, 0, self.kept - step)
        self.replace(moved)


class Positions:
    """How many samples each row has had, and how many of them can be taken back.

    As long as that is the same for all rows, it is one number.
    """

    def __init__(self, geometry: StreamGeometry, rows: int, extra: int) -> None:
        self._geometry, self._rows, self._extra = geometry, rows, extra
        self.begin(0)

    def begin(self, position: int) -> None:
        """All rows are there, and none can go back."""
        self.each: Ints | None = None
        self.slack = 0  # of all rows, if `slacks` is None
        self.slacks: Ints | None = None
        self.move_to(position)

    def move_to(self, position: int) -> None:
        """All rows are there."""
        self.position = position  # of all rows, if `each` is None
        self.phase = self._geometry.phase(position)

    def move_on(self, count: int) -> None:
        """All rows, which are at the same position, have had so many samples more."""
        self.move_to(self.position + count)
        self.slack = min(self.slack + count, self._extra)

    def all(self) -> Ints:
        if self.each is not None:
            return self.each.copy()
        return np.full(self._rows, self.position, np.int64)

    def all_slacks(self) -> Ints:
        if self.slacks is not None:
            return self.slacks.copy()
        return np.full(self._rows, self.slack, np.int64)

    def place(self, positions: Ints, slacks: Ints) -> None:
        """Rows are at these positions; if they are the same, that is simpler from now on."""
        alike = (positions == positions[:1]).all() and (slacks == slacks[:1]).all()
        if alike and len(positions):
            self.each, self.slacks, self.slack = None, None, int(slacks[0])
            self.move_to(int(positions[0]))
        else:
            self.each, self.slacks, self.phase = positions, slacks, -1

    def copy(self) -> Positions:
        """Which shares nothing that changes."""
        other = Positions(self._geometry, self._rows, self._extra)
        other.position, other.phase, other.slack = self.position, self.phase, self.slack
        if self.each is not None:
            other.each, other.slacks = self.all(), self.all_slacks()
        return other
