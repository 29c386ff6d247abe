"""``python -m cconv1d``: what was built here, and the gradients of a convolution spelled out.

Which tap meets which sample is listed once, as terms (p, j, i): the output p holds the
product w_j·x_i.  Everything printed is read off that list: the tables of the partial
derivatives, and the sums

    y_p = Σ w_j·x_i        dL/dw_j = Σ dy_p·x_i        dL/dx_i = Σ w_j·dy_p

The sums are compared with what the library computes, and the library's gradients with
finite differences besides.  In print, indices count from 1, as in the lecture notes.
"""

from __future__ import annotations

import argparse
import errno
import math
import os
import re
import sys
import textwrap
from collections.abc import Callable, Sequence
from reprlib import repr as shortened
from typing import NamedTuple, NoReturn, cast

import numpy as np
from numpy.typing import NDArray

from . import __version__, conv1d, conv1d_backward, show_config
from ._geometry import Geometry, Padding, PaddingWord, resolve

Vector = NDArray[np.float64]

COMMAND = "cconv1d explain"
WIDTH = 100

#: More numbers than this, given or computed, are no longer read term by term.
MOST_NUMBERS = 64
#: And zeros between or around them are of no interest either, but would take memory.
MOST_POSITIONS = 4096

#: Within these, no product of three numbers and no finite difference leaves the floats.
SMALLEST, LARGEST = 1e-100, 1e100

#: For streams that cannot carry the signs of the notes.
ASCII = str.maketrans({"·": "*", "∂": "d", "Σ": "sum"})


class BadCall(Exception):
    """A command line that cannot be carried out; the message is all that its author sees."""


# --- the derivation -------------------------------------------------------------------------


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
    if outputs > MOST_NUMBERS:
        raise BadCall(
            f"{COMMAND}: {outputs} outputs are too many to spell out, {MOST_NUMBERS} are the "
            f"most; take less padding or a longer stride"
        )
    reach = (outputs - 1) * g.stride + (len(w) - 1) * g.dilation + 1
    if reach > MOST_POSITIONS:
        raise BadCall(
            f"{COMMAND}: the outputs reach over {reach} positions of the padded input, too many "
            f"to spell out; {MOST_POSITIONS} are the most"
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


# --- in words that both outputs use ---------------------------------------------------------


def number(value: float) -> str:
    """Integers in full, others to eight digits."""
    if value.is_integer() and abs(value) < 1e9:
        return f"{value + 0.0:.0f}"  # + 0.0 makes 0 of -0
    return f"{value:.8g}"


def _in_product(text: str, first: bool) -> str:
    return f"({text})" if text.startswith("-") and not first else text


def _subscript(g: Geometry) -> str:
    """Which sample tap j of output i meets, both counted from 1."""
    stride = "" if g.stride == 1 else g.stride
    dilation = "" if g.dilation == 1 else g.dilation
    rest = 1 - g.stride - g.dilation - g.pad_left
    return f"{stride}i+{dilation}j{rest:+d}" if rest else f"{stride}i+{dilation}j"


def _setting(d: Derivation) -> str:
    g = d.geometry
    words: str = d.padding if isinstance(d.padding, str) else ""
    if words and words != "valid":
        words += f" ({g.pad_left} on the left)"
    return f"stride {g.stride}, padding {words or d.padding}, dilation {g.dilation}"


def _how_weight(d: Derivation) -> str:
    """dL/dw in the words of the notes, for any geometry."""
    g = d.geometry
    x = "the padded x" if d.padded else "x"
    every = "" if g.dilation == 1 else f", every {g.dilation} positions"
    return f"{x} correlated with {_spread('dy', g.stride)}{every}"


def _how_input(d: Derivation) -> str:
    """dL/dx in the words of the notes, for any geometry."""
    g = d.geometry
    words = f"{_spread('dy', g.stride)} convolved 'full' with {_spread('w', g.dilation)}"
    return words if g.pad_left == 0 else f"{words}, from position {g.pad_left + 1} on"


def _spread(name: str, distance: int) -> str:
    if distance == 1:
        return name
    return f"{name} spread by {distance}"


# --- plain text -----------------------------------------------------------------------------


def as_text(d: Derivation) -> str:
    sub = _subscript(d.geometry)
    pad = (len(d.w) - 1) * d.geometry.dilation
    outside = f", where x is 0 outside x_1 .. x_{len(d.x)}" if d.padded else ""
    sections = [
        [
            *_vector("x ", d.x),
            *_vector("w ", d.w),
            *_vector("dy", d.dy),
            "",
            f"  {_setting(d)}",
            "  dy_i is short for dL/dy_i, and L = Σ_i dy_i·y_i is a loss with these derivatives;",
            "  a finite difference is (L(x_j + h) - L(x_j - h)) / 2h, likewise for w_j.",
        ],
        [
            "The output: x correlated with w",
            f"  y_i = Σ_j w_j·x_({sub}){outside}",
            "",
            *_lines(d.y),
        ],
        ["Its partial derivatives ∂y_i/∂x_j", "", *_table("x", d.by_sample())],
        ["Its partial derivatives ∂y_i/∂w_j", "", *_table("w", d.by_tap())],
        [
            *_heading(f"The gradient of the weight: {_how_weight(d)}"),
            f"  dL/dw_j = Σ_i dL/dy_i·∂y_i/∂w_j = Σ_i dy_i·x_({sub})",
            "",
            *_lines(d.dw),
        ],
        [
            *_heading(f"The gradient of the input: {_how_input(d)}"),
            "  dL/dx_j = Σ_i dL/dy_i·∂y_i/∂x_j, column j of the first table times dy;",
            f"  in other words dy, padded by {pad} on both sides, correlated with the flipped w",
            "",
            *_lines(d.dx),
        ],
        [
            "From the library",
            *_vector("y    ", d.y),
            *_vector("dL/dw", d.dw),
            *_vector("dL/dx", d.dx),
            "",
            _verdict(d),
        ],
    ]
    return "\n\n".join("\n".join(section) for section in sections)


def _verdict(d: Derivation) -> str:
    count = len(d.y) + len(d.dw) + len(d.dx)
    if not d.complaints:
        return f"All {count} numbers agree with their sums, the gradients with finite differences."
    return f"{len(d.complaints)} of the {count} numbers DISAGREE."


def _heading(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent="  ")


def _vector(name: str, values: Sequence[Factor] | Sequence[Result]) -> list[str]:
    lead = f"  {name} = ("
    texts = [number(v.value if isinstance(v, Factor) else v.library) for v in values]
    return textwrap.wrap(
        ", ".join(texts) + ")",
        WIDTH,
        initial_indent=lead,
        subsequent_indent=" " * len(lead),
    )


def _lines(results: list[Result]) -> list[str]:
    """Symbols = numbers = value, side by side where all of them fit, else below each other."""
    # A line may break before a plus sign, never after it.
    plus = " +\N{NO-BREAK SPACE}"
    heads = [str(r) for r in results]
    symbols = [plus.join(f"{a}·{b}" for a, b in r.products) or "0" for r in results]
    numbers = [
        plus.join(
            _in_product(number(a.value), first=n == 0) + "·" + _in_product(number(b.value), False)
            for n, (a, b) in enumerate(r.products)
        )
        or "0"
        for r in results
    ]
    values = _aligned([number(r.library if r.agrees else r.sum) for r in results], right=True)
    ends = [
        f"= {value}    {check}{'ok' if r.agrees else 'DISAGREES'}"
        for r, value, check in zip(results, values, _differences(results), strict=True)
    ]
    rows = list(zip(_aligned(heads), _aligned(symbols), _aligned(numbers), ends, strict=True))
    lines = [
        f"  {head} = {in_symbols} = {in_numbers} {end}"
        for head, in_symbols, in_numbers, end in rows
    ]
    if max(map(len, lines)) > WIDTH:
        lines = []
        for head, in_symbols, in_numbers, end in rows:
            indent = " " * (2 + len(head))
            for lead, text in ((f"  {head}", in_symbols), (indent, in_numbers)):
                lines += textwrap.wrap(
                    text.rstrip(" "),
                    WIDTH,
                    initial_indent=f"{lead} = ",
                    subsequent_indent=f"{indent}   ",
                )
            lines.append(f"{indent} {end}")
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]


def _differences(results: list[Result]) -> list[str]:
    known = [r.difference for r in results if r.difference is not None]
    if not known:
        return [""] * len(results)
    largest = max(abs(r.sum) for r in results)
    if largest and not 1e-3 <= largest < 1e7:
        texts = [f"{value:.6e}" for value in known]
    else:
        texts = [f"{round(value, 6) + 0.0:.6f}" for value in known]
    return [f"finite difference {text}  " for text in _aligned(texts, right=True)]


def _aligned(texts: list[str], right: bool = False) -> list[str]:
    width = max(map(len, texts))
    return [text.rjust(width) if right else text.ljust(width) for text in texts]


def _table(letter: str, entries: list[list[Factor | None]]) -> list[str]:
    """Rows y_i; the columns in as many pieces as the width asks for."""
    cells = [[str(entry or 0) for entry in row] for row in entries]
    heads = [f"{letter}_{column + 1}" for column in range(len(cells[0]))]
    labels = _aligned(["", *(f"y_{p + 1}" for p in range(len(cells)))])
    cell = max(len(text) for row in (heads, *cells) for text in row)
    count = (WIDTH - 2 - len(labels[0])) // (cell + 2)
    lines: list[str] = []
    for start in range(0, len(heads), count):
        if start:
            lines.append("")
        for label, row in zip(labels, (heads, *cells), strict=True):
            texts = (text.rjust(cell + 2) for text in row[start : start + count])
            lines.append(f"  {label}{''.join(texts)}")
    return lines


# --- LaTeX ----------------------------------------------------------------------------------

#: Longer sums and vectors are broken after so many terms.
TERMS_PER_LINE = 6


def as_latex(d: Derivation) -> str:
    sub = _subscript(d.geometry)
    columns = max(len(d.x), len(d.w))
    return "\n".join(
        [
            r"% needs \usepackage{amsmath}",
            # The matrices of amsmath stop at ten columns unless told.
            *([rf"\setcounter{{MaxMatrixCols}}{{{columns}}}"] if columns > 10 else []),
            *_tex_align(
                _tex_vector("x", d.x), _tex_vector("w", d.w), _tex_vector(r"\mathrm{d}y", d.dy)
            ),
            r"Here $\mathrm{d}y_{i}$ is short for $\partial L/\partial y_{i}$;",
            _setting(d).replace("_", r"\_") + ".",
            "",
            "The output is $x$ correlated with $w$,",
            rf"$y_{{i}} = \sum_{{j}} w_{{j}} \cdot x_{{{sub}}}$:",
            *_tex_align(*map(_tex_equation, d.y)),
            "Its partial derivatives are",
            *_tex_align(_tex_matrix("x", d.by_sample()), _tex_matrix("w", d.by_tap())),
            f"The gradient of the weight is {_tex_words(_how_weight(d))},",
            rf"${_tex_chain('w')} = \sum_{{i}} \mathrm{{d}}y_{{i}} \cdot x_{{{sub}}}$:",
            *_tex_align(*map(_tex_equation, d.dw)),
            f"The gradient of the input is {_tex_words(_how_input(d))},",
            f"${_tex_chain('x')}$:",
            *_tex_align(*map(_tex_equation, d.dx)),
            f"% {_verdict(d)}",
        ]
    )


def _tex_align(*equations: str) -> list[str]:
    return [r"\begin{align*}", " \\\\\n".join(equations), r"\end{align*}"]


def _tex_broken(pieces: list[str]) -> str:
    lines = (
        " ".join(pieces[start : start + TERMS_PER_LINE])
        for start in range(0, len(pieces), TERMS_PER_LINE)
    )
    return " \\\\\n&\\quad ".join(lines)


def _tex_vector(name: str, values: list[Factor]) -> str:
    texts = [f"{_tex_number(factor.value)}," for factor in values]
    texts[-1] = texts[-1].rstrip(",")
    return f"{name} &= ({_tex_broken(texts)})"


def _tex_number(value: float) -> str:
    mantissa, _, exponent = number(value).partition("e")
    return rf"{mantissa} \times 10^{{{int(exponent)}}}" if exponent else mantissa


def _tex_symbol(factor: Factor) -> str:
    letter = factor.letter.replace("dy", r"\mathrm{d}y")
    return f"{letter}_{{{factor.position + 1}}}"


def _tex_partial(of: str, by: str) -> str:
    return rf"\frac{{\partial {of}}}{{\partial {by}}}"


def _tex_chain(letter: str) -> str:
    by = f"{letter}_{{j}}"
    inner = rf"{_tex_partial('L', 'y_{i}')} \cdot {_tex_partial('y_{i}', by)}"
    return rf"{_tex_partial('L', by)} = \sum_{{i}} {inner}"


def _tex_words(words: str) -> str:
    words = re.sub(r"\b[xw]\b", r"$\g<0>$", words).replace("'full'", "`full'")
    return re.sub(r"\bdy\b", r"$\\mathrm{d}y$", words)


def _tex_equation(r: Result) -> str:
    name = f"{r.letter}_{{{r.position + 1}}}"
    head = name if r.letter == "y" else _tex_partial("L", name)
    value = _tex_number(r.library if r.agrees else r.sum)
    if not r.products:
        return f"{head} &= {value}"
    symbols, numbers = [], []
    for n, (a, b) in enumerate(r.products):
        plus = "+ " if n else ""
        first = _in_product(_tex_number(a.value), first=not n)
        second = _in_product(_tex_number(b.value), first=False)
        symbols.append(rf"{plus}{_tex_symbol(a)} \cdot {_tex_symbol(b)}")
        numbers.append(rf"{plus}{first} \cdot {second}")
    between = " = " if len(symbols) <= TERMS_PER_LINE // 2 else " \\\\\n&= "
    return f"{head} &= {_tex_broken(symbols)}{between}{_tex_broken(numbers)} = {value}"


def _tex_matrix(letter: str, entries: list[list[Factor | None]]) -> str:
    rows = (" & ".join(_tex_symbol(e) if e else "0" for e in row) for row in entries)
    matrix = " \\\\\n".join(rows)
    head = rf"\left({_tex_partial('y_{i}', f'{letter}_{{j}}')}\right)_{{ij}}"
    return f"{head} &= \\begin{{pmatrix}}\n{matrix}\n\\end{{pmatrix}}"


# --- the command line -----------------------------------------------------------------------


def _parse_number(text: str) -> float:
    """A decimal number or a fraction of two."""
    try:
        numerator, *denominator = map(float, text.split("/", 1))
        value = numerator / denominator[0] if denominator else numerator
    except ValueError:
        raise argparse.ArgumentTypeError(f"{shortened(text)} is not a number") from None
    except ZeroDivisionError:
        raise argparse.ArgumentTypeError(f"{shortened(text)} divides by zero") from None
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{shortened(text)} is not a finite number")
    if value and not SMALLEST <= abs(value) <= LARGEST:
        raise argparse.ArgumentTypeError(
            f"{shortened(text)} is out of range: numbers other than 0 must have a magnitude "
            f"from {SMALLEST:g} to {LARGEST:g}"
        )
    return value


def _parse_numbers(text: str) -> Vector:
    if not text.strip():
        raise argparse.ArgumentTypeError("at least one number is needed")
    parts = text.split(",")
    if len(parts) > MOST_NUMBERS:
        raise argparse.ArgumentTypeError(
            f"{len(parts)} numbers are too many to spell out, {MOST_NUMBERS} are the most"
        )
    for position, part in enumerate(parts, 1):
        if not part.strip():
            raise argparse.ArgumentTypeError(f"number {position} of {len(parts)} is missing")
    return np.array([_parse_number(part.strip()) for part in parts])


def _parse_integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{shortened(text)} is not an integer") from None


def _parse_padding(text: str) -> Padding:
    if re.fullmatch("[A-Za-z_]+", text):
        return cast(PaddingWord, text)  # other words are for `resolve` to refuse
    numbers = tuple(map(_parse_integer, text.split(",")))
    return numbers if len(numbers) > 1 else numbers[0]


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        program = self.prog.removeprefix("python -m ")
        raise BadCall(f"{program}: {message.removeprefix('argument ')}")


def _parser() -> Parser:
    parser = Parser(
        prog="python -m cconv1d",
        usage="%(prog)s [-h] [--version] [COMMAND ...]",
        description="Without a command: what was built here, and the example of the lecture "
        "notes worked through, each number compared with a finite difference. "
        "The exit status is 0 only if all agree.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"cconv1d {__version__}")
    commands = parser.add_subparsers(
        title="commands", dest="command", metavar="COMMAND", prog=parser.prog
    )
    explain = commands.add_parser(
        "explain",
        help="the same derivation for numbers of your own",
        description="The output of a convolution, its partial derivatives, and the gradients "
        "of the weight and of the input: every term in symbols and in numbers.",
        epilog="LIST is numbers with commas between: 1,-2.5,1e-3,1/3. The exit status is 0 if "
        "the numbers of the library agree with their sums and with finite differences, 1 if "
        "one does not, 2 if the call is wrong.",
        allow_abbrev=False,
    )
    numbers = explain.add_argument_group("numbers")
    numbers.add_argument(
        "--input", type=_parse_numbers, metavar="LIST", required=True, help="the samples of x"
    )
    numbers.add_argument(
        "--weight", type=_parse_numbers, metavar="LIST", required=True, help="the taps of w"
    )
    numbers.add_argument(
        "--grad-output",
        type=_parse_numbers,
        metavar="LIST",
        help="dL/dy, one number for each output (default: ones)",
    )
    geometry = explain.add_argument_group("geometry")
    geometry.add_argument(
        "--stride",
        type=_parse_integer,
        default=1,
        metavar="S",
        help="samples between neighbouring outputs (default: 1)",
    )
    geometry.add_argument(
        "--padding",
        type=_parse_padding,
        default=0,
        metavar="P",
        help="zeros on each side, or LEFT,RIGHT, or one of valid, same, same_lower, causal, "
        "full (default: 0)",
    )
    geometry.add_argument(
        "--dilation",
        type=_parse_integer,
        default=1,
        metavar="D",
        help="samples between neighbouring taps (default: 1)",
    )
    explain.add_argument(
        "--latex", action="store_true", help="print LaTeX, to be used with amsmath"
    )
    return parser


def _with_negatives_attached(arguments: Sequence[str]) -> list[str]:
    """``--weight -1,2`` as ``--weight=-1,2``: argparse takes -1,2 for an option otherwise."""
    attached: list[str] = []
    for argument in arguments:
        if (
            re.match(r"-[^-h]", argument)
            and attached
            and re.fullmatch(r"--(input|weight|grad-output|stride|padding|dilation)", attached[-1])
        ):
            attached[-1] += f"={argument}"
        else:
            attached.append(argument)
    return attached


def _build() -> str:
    """What `show_config` knows, in two columns."""
    facts = {
        name.replace("_", " ").replace("numpy", "NumPy"): (
            ", ".join(value) if isinstance(value, list) else value
        )
        for name, value in show_config("dicts").items()
        if value and name != "version"
    }
    rows = zip(_aligned([*facts]), facts.values(), strict=True)
    return "\n".join([f"cconv1d {__version__}", *(f"  {name}  {value}" for name, value in rows)])


def _carry_out(arguments: Sequence[str]) -> tuple[Derivation, str]:
    options = _parser().parse_args(_with_negatives_attached(arguments))
    if options.command is None:
        d = derive(np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, -1.0]))
        return d, f"{_build()}\n\nThe example of the lecture notes\n\n{as_text(d)}"
    d = derive(
        options.input,
        options.weight,
        options.grad_output,
        options.stride,
        options.padding,
        options.dilation,
    )
    return d, as_latex(d) if options.latex else as_text(d)


def _print(text: str) -> None:
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = text.translate(ASCII).encode(encoding, "backslashreplace").decode(encoding)
    print(text)


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out the command line and return the exit status."""
    status = 0
    try:
        try:
            d, text = _carry_out(sys.argv[1:] if argv is None else argv)
            for complaint in d.complaints:
                print(f"cconv1d: {complaint}", file=sys.stderr)
                status = 1
            _print(text)
        except BadCall as error:
            print(error, file=sys.stderr)
            status = 2
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except OSError as error:
        # Whoever read has seen enough, which is no failure (Windows calls it EINVAL), but
        # Python flushes once more at its exit, and that must not meet the closed pipe.
        if error.errno not in (errno.EPIPE, errno.EINVAL):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status


if __name__ == "__main__":
    raise SystemExit(main())
