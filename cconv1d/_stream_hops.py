"""How a stream computes by method "fft": hops of outputs, by transforms of the parts of its kernel.

The extension keeps the transforms of the last blocks of samples (src/nest/partitions.pxi). They are
no state: what is not there is computed from the samples that are kept. Where nothing is compiled
for a dtype, the reference transforms each hop by itself.

Chunks are copied behind the samples that are kept, long ones a part after another.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from . import _backend
from ._arrays import Array
from ._execute import as_3d, empty
from ._geometry import FFT_NUMBER, PADDING_MODES, Geometry, Partition, StreamGeometry
from ._pieces import Group, Ints, groups_of
from ._plans import Layout, Shape
from ._stream_samples import Samples, can_be_filled, sources

#: Numbers of a chunk that are copied at once, if these are some hops.
COPIED_NUMBERS, COPIED_HOPS = 2**16, 4
#: Behind all signals.
NO_END = 2**62


class View(NamedTuple):
    """What a push does that has been made before from the same place in the buffer."""

    target: Array  # where the chunk goes
    source: Array  # the last samples and the chunk
    shape: Shape  # of the outputs
    samples: int
    phase: int  # afterwards


class Hops:
    """The hops of a layer, for a stream with these samples."""

    def __init__(
        self,
        geometry: StreamGeometry,
        partition: Partition,
        weight: Array,
        bias: Array | None,
        dilation: int,
        groups: int,
        layout: Layout,
        samples: Samples,
    ) -> None:
        self._geometry, self._partition = geometry, partition
        self._weight, self._bias = weight, bias
        self._dilation, self._groups, self._channels_last = dilation, groups, layout == "NLC"
        self._samples, self._axes = samples, samples.axes
        self._rows = 1 if samples.rows is None else samples.rows
        self._mode = PADDING_MODES.index(geometry.mode)
        self._packed: Any = None  # the weight's transforms
        self._lines: Any = None  # those of the last blocks
        #: The number of a view's first sample in the padded signal, less the position; from there
        #: to the first output that is not known.
        self._first = geometry.left - samples.kept
        self._unread = samples.kept - geometry.span + 1
        self._hop = partition.hop
        numbers = max(self._rows * samples.channels, 1)
        #: The longest part of a chunk that is copied at once.
        self.copied = max(COPIED_HOPS * partition.hop, COPIED_NUMBERS // numbers)

    def share(self, other: Hops) -> None:
        """Let another stream of the same layer have the transforms of the weight."""
        other._packed = self._packed

    def forget(self, rows: Sequence[int] | None = None) -> None:
        """The samples of some rows, or of all, are others now: what is known of them is void."""
        if self._lines is not None:
            self._lines.forget(range(self._rows) if rows is None else rows)

    # --- hops -------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        """What may fail: afterwards there is all the memory that hops need."""
        core = _backend.core
        kernels = _backend.kernels_for(self._weight.dtype)  # which makes bfloat16 known
        if core is None or kernels is _backend.REFERENCE:
            self._packed = self._lines = None
            return
        if self._packed is None or not self._packed.is_current():
            p, g = self._partition, self._geometry
            geometry = Geometry(0, 0, 1, self._dilation, 0)
            self._packed = core.HopWeights(
                self._weight,
                self._bias,
                geometry,
                self._groups,
                self._channels_last,
                p.hop,
                g.left,
                p.log_points,
                p.part,
            )
        if self._lines is None or not self._lines.is_current():
            self._lines = core.HopLines(self._packed, self._rows)

    def _run(
        self, row: int, source: Array, out: Array, first: int, hop: int, end: int = NO_END
    ) -> None:
        """Some hops of rows of the stream from that one on.

        The source begins with sample number `first` of the signal, and `out` with that hop. From
        sample number `end` on there are zeros.
        """
        left = self._geometry.left
        if self._lines is not None:
            self._lines.run(row, source, out, first + left, hop, self._mode, end + left)
        elif out.size:
            self._run_reference(source, out, first, hop, end)

    def _run_reference(self, source: Array, out: Array, first: int, hop: int, end: int) -> None:
        """The same, each hop by itself."""
        g, at = self._geometry, self._axes.at
        count, size = out.shape[self._axes.time], self._partition.hop
        for done in range(0, count, size):
            outputs = min(size, count - done)
            begin = hop * size + done - g.left
            places = np.arange(begin, begin + outputs + g.span - 1)
            within = places < end
            if self._mode:
                last = first + source.shape[self._axes.time] - 1
                places = sources(g.mode, places, last)
            within &= (places >= 0) & (places < first + source.shape[self._axes.time])
            samples = np.zeros(
                self._axes.shape(
                    None if source.ndim < 3 else len(source), self._samples.channels, len(places)
                ),
                source.dtype,
            )
            moved = np.moveaxis(samples, self._axes.time, 0)
            moved[within] = np.moveaxis(source, self._axes.time, 0)[places[within] - first]
            geometry = Geometry(len(places), outputs, 1, self._dilation, 0, 0, FFT_NUMBER)
            arrays = [as_3d(samples), as_3d(at(out, done, done + outputs))]
            if self._channels_last:
                arrays = [array.swapaxes(1, 2) for array in arrays]
            x, y = arrays
            kernels = _backend.kernels_for(source.dtype)
            kernels.forward(x, as_3d(self._weight), self._bias, y, geometry, self._groups)

    def _target(self, out: Array | None, shape: Shape, dtype: np.dtype[Any]) -> Array:
        """Where hops are stored: `out`, or a new array in its place."""
        if out is not None and out.flags.aligned:
            return np.asarray(out)
        return empty("Stream.push", shape, dtype)

    def _portions(self, position: int, samples: int) -> Iterator[tuple[int, int, int, int]]:
        """Parts of a chunk: the samples from one to another, and the outputs known with them."""
        g, start = self._geometry, 0
        known = g.known(position)
        while start < samples:
            stop = min(start + self.copied, samples)
            yield start, stop, g.known(position + start) - known, g.known(position + stop) - known
            start = stop

    def _source(self, rows: Array, position: int, stop: int) -> tuple[Array, int]:
        """The last samples of rows and those up to `stop` of the array; the number of the first."""
        there = self._samples.kept
        if position < self._geometry.history:  # else no block begins before the first sample
            there = min(there, position)
        end = self._samples.end
        return self._axes.at(rows, end - there, stop), position - there

    # --- what a stream asks for -------------------------------------------------------------------

    def push(
        self, chunk: Array, count: int, position: int, phase: int, shape: Shape, out: Array | None
    ) -> Array:
        """The outputs that become known with a chunk, for all rows at the same position.

        The samples move on, or, if that fails, they and `out` are as they were; but for an
        interruption, which may leave some outputs in `out`.
        """
        samples, at, hop = self._samples, self._axes.at, self._partition.hop
        self._prepare()
        y = self._target(out, shape, chunk.dtype)
        if count > self.copied:
            before = samples.last().copy()
        portions = list(self._portions(position, count))
        try:
            for start, stop, known, after in portions:
                target = samples.append(at(chunk, start, stop), stop - start)
                here, end = position + start, samples.end
                source, first = self._source(samples.array, here, end + stop - start)
                if after > known:
                    number = self._geometry.known(here) // hop
                    self._run(0, source, at(y, known, after), first, number)
                if len(portions) == 1 and phase >= 0:  # it may come again
                    later = self._geometry.phase(position + count)
                    view = View(target, source, shape, count, later)
                    samples.remember(phase, chunk.shape, view)
                samples.move_on(stop - start)
        except BaseException:
            if count > self.copied:
                samples.replace(before)
            self.forget()
            raise
        if out is None or y is out:
            return y
        np.copyto(np.asarray(out), y)
        return out

    def push_again(self, x: Array, out: Array | None, view: View, position: int) -> Array | None:
        """A push like one that was made before, or None if everything is not there for it."""
        target, source, shape, samples, _ = view
        lines = self._lines
        if lines is None or not lines.is_current():
            return None
        if out is None:
            out = np.empty(shape, x.dtype)
        elif not (
            can_be_filled(out, x)
            and out.shape == shape
            and out.dtype is x.dtype
            and out.flags.carray
        ):
            return None
        target[...] = x
        first = position + self._first
        try:
            hop = (first + self._unread) // self._hop
            lines.run(0, source, out, first, hop, self._mode, NO_END)
        except BaseException:  # as a handler of signals raises
            self.forget()
            raise
        self._samples.move_on(samples)
        return out

    def groups(self, positions: Ints, lengths: Ints, rows: Ints) -> list[Group]:
        """Neighbouring rows of a push for which the same is to be done."""
        return groups_of(self._geometry, positions, lengths, rows)

    def push_rows(self, groups: Sequence[Group], chunk: Array, y: Array) -> None:
        """The same for groups of rows at positions of their own, into an array of ours."""
        samples, at, hop = self._samples, self._axes.at, self._partition.hop
        self._prepare()
        room = min(max((group.samples for group in groups), default=0), self.copied)
        samples.start_at_front(room)
        before = samples.last().copy()
        try:
            for group in groups:
                buffer = samples.array[group.row : group.row + group.number]
                part = chunk[group.place : group.place + group.number]
                result = y[group.place : group.place + group.number]
                for start, stop, known, after in self._portions(group.position, group.samples):
                    here, end = group.position + start, samples.end
                    at(buffer, end, end + stop - start)[...] = at(part, start, stop)
                    if after > known:
                        source, first = self._source(buffer, here, end + stop - start)
                        number = self._geometry.known(here) // hop
                        self._run(group.row, source, at(result, known, after), first, number)
                    samples.shift_rows(buffer, stop - start, room)
        except BaseException:
            samples.replace(before)
            self.forget()
            raise

    def finish(
        self, row: int, buffer: Array, position: int, known: int, whole: int, out: Array
    ) -> None:
        """The outputs that remain of some rows from that one on, at the same position."""
        self._prepare()
        source, first = self._source(buffer, position, self._samples.end)
        end = position + self._geometry.right
        try:
            self._run(row, source, out, first, known // self._partition.hop, end)
        finally:
            self.forget(range(row, row + (1 if self._samples.rows is None else len(buffer))))
