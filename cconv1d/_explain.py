"""A derivation as plain text and as LaTeX, where indices count from 1, as in the lecture notes."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence

from ._derivation import Derivation, Factor, Result, number
from ._geometry import Geometry

WIDTH = 100

# --- in words that both outputs use ---------------------------------------------------------


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
    values = aligned([number(r.library if r.agrees else r.sum) for r in results], right=True)
    ends = [
        f"= {value}    {check}{'ok' if r.agrees else 'DISAGREES'}"
        for r, value, check in zip(results, values, _differences(results), strict=True)
    ]
    rows = list(zip(aligned(heads), aligned(symbols), aligned(numbers), ends, strict=True))
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
    return [f"finite difference {text}  " for text in aligned(texts, right=True)]


def aligned(texts: list[str], right: bool = False) -> list[str]:
    width = max(map(len, texts))
    return [text.rjust(width) if right else text.ljust(width) for text in texts]


def _table(letter: str, entries: list[list[Factor | None]]) -> list[str]:
    """Rows y_i; the columns in as many pieces as the width asks for."""
    cells = [[str(entry or 0) for entry in row] for row in entries]
    heads = [f"{letter}_{column + 1}" for column in range(len(cells[0]))]
    labels = aligned(["", *(f"y_{p + 1}" for p in range(len(cells)))])
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

#: Longer sums and vectors continue on another line after this many terms.
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
