"""All terms of a convolution and of its gradients, with the numbers that the library has for them.

Which tap meets which sample is listed once, as terms (p, j, i): the output p holds the
product w_j·x_i.  Everything else is read off that list: the tables of the partial
derivatives, and the sums

    y_p = Σ w_j·x_i        dL/dw_j = Σ dy_p·x_i        dL/dx_i = Σ w_j·dy_p

The sums are compared with what the library computes, and the library's gradients with
finite differences besides.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import conv1d, conv1d_backward
from ._geometry import Geometry, Padding, resolve

Vector = NDArray[np.float64]

COMMAND = "cconv1d explain"

#: More numbers than this, given or computed, are no longer read term by term.
MAX_NUMBERS = 64
#: And zeros between or around them are of no interest either, but would take memory.
MAX_POSITIONS = 4096


class BadCall(Exception):
    """A command line that cannot be carried out; the message is all that its author sees."""


class Term(NamedTuple):
    """Output p holds the product of tap j and sample i, all counted from 0."""

    p: int
    j: int
    i: int


class Factor(NamedTuple):
    """w_j, x_i or dy_i, with its value."""

    letter: str
    position: int
    value: float

    def __str__(self) -> str:
        return f"{self.letter}_{self.position + 1}"


class Result(NamedTuple):
    """One number from the library, the sum that it must be, and how it compares."""

    letter: str
    position: int
    products: list[tuple[Factor, Factor]]
    library: float
    difference: float | None  # the finite difference; an output is no derivative and has none
    agrees: bool

    def __str__(self) -> str:
        name = f"{self.letter}_{self.position + 1}"
        return name if self.letter == "y" else f"dL/d{name}"

    @property
    def sum(self) -> float:
        return math.fsum(a.value * b.value for a, b in self.products)

    @property
    def complaint(self) -> str:
        text = f"{self} disagrees: the library has {number(self.library)}, the sum of its terms "
        text += f"is {number(self.sum)}"
        if self.difference is not None:
            text += f", the finite difference {number(self.difference)}"
        return text


class Derivation(NamedTuple):
    x: list[Factor]
    w: list[Factor]
    dy: list[Factor]
    padding: Padding
    geometry: Geometry
    terms: list[Term]
    y: list[Result]
    dw: list[Result]
    dx: list[Result]

    @property
    def complaints(self) -> list[str]:
        return [r.complaint for r in (*self.y, *self.dw, *self.dx) if not r.agrees]

    @property
    def padded(self) -> bool:
        """Whether an output reads outside the input."""
        return len(self.terms) < len(self.y) * len(self.w)

    def by_sample(self) -> list[list[Factor | None]]:
        """∂y_p/∂x_i: row p, column i."""
        table: list[list[Factor | None]] = [[None] * len(self.x) for _ in self.y]
        for p, j, i in self.terms:
            table[p][i] = self.w[j]
        return table

    def by_tap(self) -> list[list[Factor | None]]:
        """∂y_p/∂w_j: row p, column j."""
        table: list[list[Factor | None]] = [[None] * len(self.w) for _ in self.y]
        for p, j, i in self.terms:
            table[p][j] = self.x[i]
        return table


def derive(
    x: Vector,
    w: Vector,
    dy: Vector | None = None,
    stride: int = 1,
    padding: Padding = 0,
    dilation: int = 1,
) -> Derivation:
    """All terms of a convolution and of its gradients, and the library's numbers for them."""
    try:
        g = resolve(COMMAND, len(x), len(w), stride, padding, dilation)
    except (TypeError, ValueError) as error:
        raise BadCall(str(error)) from None
    outputs = g.output_length
    if outputs > MAX_NUMBERS:
        raise BadCall(
            f"{COMMAND}: {outputs} outputs are too many to spell out, {MAX_NUMBERS} are the "
            f"most; take less padding or a longer stride"
        )
    reach = (outputs - 1) * g.stride + (len(w) - 1) * g.dilation + 1
    if reach > MAX_POSITIONS:
        raise BadCall(
            f"{COMMAND}: the outputs reach over {reach} positions of the padded input, too many "
            f"to spell out; {MAX_POSITIONS} are the most"
        )
    if dy is None:
        dy = np.ones(outputs)
    elif len(dy) != outputs:
        raise BadCall(
            f"{COMMAND}: --grad-output: {outputs} numbers expected, one for each output, "
            f"not {len(dy)}"
        )

    terms = [
        Term(p, j, i)
        for p in range(outputs)
        for j in range(len(w))
        if 0 <= (i := p * g.stride + j * g.dilation - g.pad_left) < len(x)
    ]
    xs, ws, dys = _factors("x", x), _factors("w", w), _factors("dy", dy)

    y = conv1d(x, w, None, stride, padding, dilation)
    grads = conv1d_backward(dy, x, w, stride, padding, dilation)
    assert grads.input is not None
    assert grads.weight is not None

    def loss(x: Vector, w: Vector) -> float:
        return float(dy @ conv1d(x, w, None, stride, padding, dilation))

    # An upper bound of the terms of L at the points of the differences decides how much
    # rounding the differences of two such sums may show.
    x_step, w_step = _step(x), _step(w)
    rounding = (len(terms) + 4) * np.finfo(np.float64).eps
    x_size = sum(abs(dy[p] * w[j]) * (abs(x[i]) + x_step) for p, j, i in terms)
    w_size = sum(abs(dy[p] * x[i]) * (abs(w[j]) + w_step) for p, j, i in terms)
    return Derivation(
        x=xs,
        w=ws,
        dy=dys,
        padding=padding,
        geometry=g,
        terms=terms,
        y=[
            _result("y", p, [(ws[t.j], xs[t.i]) for t in terms if t.p == p], y[p])
            for p in range(outputs)
        ],
        dw=[
            _result(
                "w",
                j,
                [(dys[t.p], xs[t.i]) for t in terms if t.j == j],
                grads.weight[j],
                _central_difference(lambda at: loss(x, at), w, j, w_step),
                rounding * w_size / w_step,
            )
            for j in range(len(w))
        ],
        dx=[
            _result(
                "x",
                i,
                [(ws[t.j], dys[t.p]) for t in terms if t.i == i],
                grads.input[i],
                _central_difference(lambda at: loss(at, w), x, i, x_step),
                rounding * x_size / x_step,
            )
            for i in range(len(x))
        ],
    )


def _factors(letter: str, values: Vector) -> list[Factor]:
    return [Factor(letter, position, float(value)) for position, value in enumerate(values)]


def _result(
    letter: str,
    position: int,
    products: list[tuple[Factor, Factor]],
    library: float,
    difference: float | None = None,
    tolerance: float = 0.0,
) -> Result:
    result = Result(letter, position, products, float(library), difference, True)
    size = math.fsum(abs(a.value * b.value) for a, b in products)
    rounding = (len(products) + 2) * float(np.finfo(np.float64).eps) * size
    # Comparisons with NaN are false, so a NaN agrees with nothing.
    agrees = abs(library - result.sum) <= rounding
    if difference is not None:
        agrees = agrees and abs(library - difference) <= tolerance
    return result._replace(agrees=bool(agrees))


def _step(values: Vector) -> float:
    """A power of two of the size of the values.

    L is linear in each of them, so a difference over any step is the derivative, and a
    long step loses fewest digits.
    """
    largest = float(np.abs(values).max())
    return 2.0 ** (math.frexp(largest)[1] - 1) if largest else 1.0


def _central_difference(
    loss: Callable[[Vector], float], at: Vector, position: int, step: float
) -> float:
    shift = np.zeros_like(at)
    shift[position] = step
    return (loss(at + shift) - loss(at - shift)) / (2 * step)


def number(value: float) -> str:
    """Integers in full, others to eight digits."""
    if value.is_integer() and abs(value) < 1e9:
        return f"{value + 0.0:.0f}"  # + 0.0 makes 0 of -0
    return f"{value:.8g}"
