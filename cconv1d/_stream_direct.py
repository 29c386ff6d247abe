"""How a stream computes by method "direct": calls of a map for the samples that are there.

As a rule a push reads two pieces of one row, the samples that are kept and the chunk where it is.
Where there is no such call (a chunk that is shorter than what is kept, the first ones, transposed
convolutions, rows at positions of their own, numbers that nothing is compiled for) it copies the
chunk behind those samples and convolves the joined row from the start of the next window on. Then a
chunk that is longer than `joined` is read where it is, but for its start: only windows that begin
before the chunk read the buffer. `_pieces.py` says which calls these are.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from . import _backend
from ._arrays import Array
from ._execute import as_3d, empty, one
from ._functional import usual_conv1d, usual_conv_transpose1d
from ._geometry import StreamGeometry
from ._kernels import BACKWARD_INPUT, FORWARD
from ._pieces import Group, Ints, Piece, groups_of, overhang, piece_of, pieces_of
from ._plans import Layout, Shape, plan_conv1d, plan_conv_transpose1d
from ._stream_samples import Samples, can_be_filled, sources

#: A chunk is copied as a whole, for one call instead of two, if it has at most so many samples more
#: than the history, or so many numbers. The early outputs, in a call of their own, would cost a
#: dense layer more than the copy, as all its weights are read for them.
ALWAYS_JOINED = 256
JOINED_NUMBERS, JOINED_NUMBERS_DENSE = 2**16, 2**20
#: Multiply-adds for each sample from which on a layer is dense.
DENSE = 32


class View(NamedTuple):
    """What a push does that has been made before from the same place in the buffer."""

    target: Array  # where the chunk goes or, if that is read where it is, what stands before it
    source: Array | None  # what is convolved, if there are outputs
    in_place: bool  # whether the chunk is read where it is
    options: tuple[object, ...]
    shape: Shape  # of the outputs
    samples: int
    phase: int  # afterwards


class Direct:
    """The maps of a layer, for a stream with these samples."""

    def __init__(
        self,
        geometry: StreamGeometry,
        weight: Array,
        bias: Array | None,
        dilation: int,
        groups: int,
        layout: Layout,
        samples: Samples,
    ) -> None:
        self._geometry, self._weight, self._bias = geometry, weight, bias
        self._dilation, self._groups, self._layout = dilation, groups, layout
        self._samples, self._axes = samples, samples.axes
        self._usual = usual_conv_transpose1d if geometry.transposed else usual_conv1d
        self._packed: Any = None
        first, second, taps = as_3d(weight).shape
        outs = second if geometry.transposed else first // groups
        dense = outs * taps >= DENSE * geometry.stride
        most = JOINED_NUMBERS_DENSE if dense else JOINED_NUMBERS
        rows = max((1 if samples.rows is None else samples.rows) * samples.channels, 1)
        #: The longest chunk that is copied as a whole.
        self.joined = samples.kept + max(ALWAYS_JOINED, most // rows)

    def share(self, other: Direct) -> None:
        """Let another stream of the same layer have the packed weights."""
        other._packed = self._packed

    def forget(self, rows: Sequence[int] | None = None) -> None:
        """The samples of some rows, or of all, are others now: nothing is known of them here."""

    # --- a map ------------------------------------------------------------------------------------

    def _options(self, pads: tuple[int, int], mode: str) -> tuple[Any, ...]:
        """In the order of Options."""
        return self._geometry.stride, pads, self._dilation, self._groups, mode, self._layout, 0

    def convolve(self, source: Array, options: tuple[Any, ...], out: Array | None) -> Array:
        """A map of some samples, as a new array or in `out`."""
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
        at, end = self._axes.at, self._samples.end
        sources = [
            at(buffer, end + piece.start, end + piece.stop)
            if piece.joined
            else at(chunk, piece.start, None)
            for piece in pieces
        ]
        options = [self._options(piece.pads, piece.mode) for piece in pieces]
        if len(pieces) == 1:
            return self.convolve(sources[0], options[0], out)
        early = pieces[0].outputs
        if out is None:
            out, ours = empty("Stream.push", shape, chunk.dtype), True
        plain = np.asarray(out)
        head = at(plain, 0, early)
        first = head
        if not ours:
            sizes = list(shape)
            sizes[self._axes.time] = early
            first = self._samples.borrow(tuple(sizes))
        self.convolve(sources[0], options[0], first)
        self.convolve(sources[1], options[1], at(plain, early, None))
        if not ours:
            head[...] = first
        return out

    # --- what a stream asks for -------------------------------------------------------------------

    def push(
        self, chunk: Array, count: int, position: int, phase: int, shape: Shape, out: Array | None
    ) -> Array:
        """The outputs that become known with a chunk, for all rows at the same position.

        The samples move on, or, if memory runs out, they and `out` are as they were.
        """
        samples = self._samples
        if phase >= 0 and count >= samples.kept:
            y = self._push_apart(chunk, count, position, phase, shape, out)
            if y is not None:
                return y
        pieces = pieces_of(self._geometry, self.joined, position, count)
        long = count > self.joined
        joined = (overhang(self._geometry, position) if position else 0) if long else count
        target = samples.append(chunk, joined)
        end = samples.end
        y = self._run(pieces, chunk, samples.array, shape, out, False)
        if long:
            samples.keep_end_of(chunk)
            return y
        if count and phase >= 0:  # it may come again
            source, options = None, ()
            for piece in pieces:
                source = self._axes.at(samples.array, end + piece.start, end + piece.stop)
                options = self._options(piece.pads, piece.mode)
            after = self._geometry.phase(position + count)
            view = View(target, source, False, options, shape, count, after)
            samples.remember(phase, chunk.shape, view)
        samples.move_on(count)
        return y

    def _push_apart(
        self, chunk: Array, count: int, position: int, phase: int, shape: Shape, out: Array | None
    ) -> Array | None:
        """A push that reads the chunk where it is, behind the samples that are kept.

        None, with nothing done, where that cannot be or is no usual call.
        """
        g, samples, w, b = self._geometry, self._samples, self._weight, self._bias
        if g.transposed or 0 in shape:
            return None
        left = position - g.first_sample(g.known(position))  # from the next window's start on
        if not 0 <= left <= samples.kept:
            return None
        held, options = samples.last(), self._options((left, 0), "zeros")
        plan = plan_conv1d((chunk.shape, w.shape, None if b is None else b.shape), *options)
        y = self._usual.one(chunk, w, b, self._pack(FORWARD, plan), options, out, held)
        if y is not None:
            after = g.phase(position + count)
            view = View(held, None, True, options, shape, count, after)
            samples.remember(phase, chunk.shape, view)
        return y

    def push_again(self, x: Array, out: Array | None, view: View, position: int) -> Array | None:
        """A push like one that was made before, or None if everything is not there for it."""
        target, source, in_place, options, shape, samples, _ = view
        w, b, packed = self._weight, self._bias, self._packed
        if in_place:
            return self._usual.one(x, w, b, packed, options, out, target)
        if out is not None and (source is None or not can_be_filled(out, x)):
            return None
        target[...] = x
        if source is None:
            y: Array | None = np.empty(shape, x.dtype)
        else:
            y = self._usual.one(source, w, b, packed, options, out)
            if y is None:
                y = self.convolve(source, options, out)
        self._samples.move_on(samples)
        return y

    def groups(self, positions: Ints, lengths: Ints, rows: Ints) -> list[Group]:
        """Neighbouring rows of a push for which the same is to be done."""
        pieces = partial(pieces_of, self._geometry, self.joined)
        return groups_of(self._geometry, positions, lengths, rows, pieces)

    def push_rows(self, groups: Sequence[Group], chunk: Array, y: Array) -> None:
        """The same for groups of rows at positions of their own, into an array of ours."""
        samples, at = self._samples, self._axes.at
        room = 0
        for group in groups:
            long = group.samples > self.joined
            over = overhang(self._geometry, group.position) if long else group.samples
            room = max(room, over)
        samples.start_at_front(room)
        end = samples.end
        done = []
        for group in groups:
            buffer = samples.array[group.row : group.row + group.number]
            part = at(chunk[group.place : group.place + group.number], 0, group.samples)
            joined = min(group.samples, room)
            at(buffer, end, end + joined)[...] = at(part, 0, joined)
            target = at(y[group.place : group.place + group.number], 0, group.outputs)
            self._run(group.pieces, part, buffer, target.shape, target, True)
            done.append((buffer, part, group.samples))
        # Nothing can fail from here on.
        for buffer, part, count in done:
            if count > self.joined:
                at(buffer, 0, samples.kept)[...] = at(part, count - samples.kept, None)
            else:
                samples.shift_rows(buffer, count, room)

    def finish(
        self, row: int, buffer: Array, position: int, known: int, whole: int, out: Array
    ) -> None:
        """The outputs that remain of some rows from that one on, at the same position."""
        g, end = self._geometry, self._samples.end
        if g.mode == "zeros":
            piece = piece_of(g, True, position, known, whole, 0, g.right)
            start, right = piece.start, piece.pads[1]
            if start > 0:  # it begins in the padding
                start, right = 0, right - start
            source = self._axes.at(buffer, end + start, end)
            self.convolve(source, self._options((piece.pads[0], right), "zeros"), out)
            return
        # Copies of samples are samples.
        first = g.first_sample(known)
        places = np.arange(first, (whole - 1) * g.stride - g.left + g.span)
        places = sources(g.mode, places, position - 1)
        source = np.take(buffer, places - position + end, axis=self._axes.time)
        self.convolve(source, self._options((0, 0), "zeros"), out)
