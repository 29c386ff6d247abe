"""Which calls of a map compute the outputs that become known with a chunk of a signal.

A chunk is copied behind the samples that are kept, and the joined row is convolved; of a long one
only the start is copied, for the windows that begin before it, and the rest is read where it is.
What is known after how many samples `StreamGeometry` says. `Stream` makes the calls.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._geometry import StreamGeometry

Ints = NDArray[np.int64]


class Piece(NamedTuple):
    """One call of a map: the samples that it reads, counted from the chunk's first, and the rest.

    It reads samples start to stop of the joined row or, if not `joined`, of the chunk alone.
    """

    joined: bool
    start: int
    stop: int
    pads: tuple[int, int]
    mode: str
    outputs: int


def pieces_of(
    g: StreamGeometry, most_joined: int, position: int, samples: int
) -> tuple[Piece, ...]:
    """What to compute for a chunk that comes at a position: copied whole up to so many samples."""
    first, last = g.known(position), g.known(position + samples)
    if samples == 0 or first == last:
        return ()
    if samples <= most_joined:
        spans = [(True, first, last, samples)]
    elif position == 0:
        spans = [(False, 0, last, samples)]
    else:
        middle = g.known(position + overhang(g, position))
        spans = [
            (True, first, middle, overhang(g, position)),
            (False, middle, last, samples),
        ]
    return tuple(
        piece_of(g, joined, position, start, count, stop, 0)
        for joined, start, count, stop in spans
        if count > start
    )


def piece_of(
    g: StreamGeometry, joined: bool, position: int, start: int, end: int, stop: int, right: int
) -> Piece:
    """Outputs start to end, of which the last one is where the samples end `stop` behind us."""
    sample = g.first_sample(start)
    if g.transposed:
        left = start + g.left - sample * g.stride
        whole = (position + stop - sample - 1) * g.stride + g.span
        pads = left, whole - left - (end - start)
    else:
        pads = max(-sample, 0), right
        sample = max(sample, 0)
    mode = g.mode if pads[0] and not g.transposed else "zeros"
    return Piece(joined, sample - position, stop, pads, mode, end - start)


def overhang(g: StreamGeometry, position: int) -> int:
    """How much of a long chunk is copied: what windows that begin before it may read."""
    if g.mode == "reflect":
        return max(g.span - 1, g.left + 1 - position)
    return g.history if g.transposed else g.span - 1


def outputs_at(g: StreamGeometry, position: int, samples: int) -> int:
    """How many outputs become known with a chunk; 0 of a signal that is finished."""
    if position < 0 or samples == 0:
        return 0
    return g.known(position + samples) - g.known(position)


def inputs_at(g: StreamGeometry, position: int, outputs: int) -> int:
    """How many samples have to come for so many outputs."""
    if position < 0 or outputs == 0:
        return 0
    return max(g.samples_for(g.known(position) + outputs) - position, 1)


class Group(NamedTuple):
    """Neighbouring rows of a batch for which the same is to be done."""

    position: int  # of the first of them
    samples: int
    row: int  # of the stream
    place: int  # in the chunk
    number: int
    outputs: int
    pieces: tuple[Piece, ...]  # or none, if nobody asked for them


def groups_of(
    g: StreamGeometry,
    positions: Ints,
    lengths: Ints,
    rows: Ints,
    pieces: Callable[[int, int], tuple[Piece, ...]] | None = None,
) -> list[Group]:
    """Neighbouring rows for which the same is to be done.

    That is where they are at the same position, or where a position and so many samples are for the
    same pieces.
    """
    groups: list[Group] = []
    for place, (row, samples) in enumerate(zip(rows.tolist(), lengths.tolist(), strict=True)):
        if row < 0 or samples == 0:
            continue
        position = int(positions[row])
        last = groups[-1] if groups else None
        if last is not None and (
            last.samples != samples
            or last.row + last.number != row
            or last.place + last.number != place
        ):
            last = None
        if last is None or last.position != position:
            found = () if pieces is None else pieces(position, samples)
            if last is None or pieces is None or last.pieces != found:
                outputs = outputs_at(g, position, samples)
                groups.append(Group(position, samples, row, place, 1, outputs, found))
                continue
        groups[-1] = groups[-1]._replace(number=groups[-1].number + 1)
    return groups
