"""Draw the pictures of the pages on mathematics and padding, of numbers that the library computes.

python docs/draw.py [--out FOLDER]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

import cconv1d

SAMPLE, TAP, OUTPUT, COPY = "#4878a8", "#d9822b", "#4a8f5c", "#b9c9da"
#: The samples, taps and upstream gradient of the notes, with numbers for the letters.
X, W, DY = [1.0, 2.0, 3.0, 4.0], [1.0, -1.0], [1.0, 2.0, 4.0]


def cell(axes: Axes, x: float, y: float, text: str, color: str, faint: bool = False) -> None:
    box = FancyBboxPatch(
        (x - 0.42, y - 0.36),
        *(0.84, 0.72),
        boxstyle="round,pad=0,rounding_size=0.12",
        facecolor=color,
        alpha=0.45 if faint else 1.0,
        edgecolor="none",
    )
    axes.add_patch(box)
    axes.text(x, y, text, ha="center", va="center", color="black" if faint else "white", size=10)


def canvas(width: float, height: float, title: str, figure: Figure, place: int, of: int) -> Axes:
    axes = figure.add_subplot(of, 1, place)
    axes.set_xlim(-2.2, width)
    axes.set_ylim(-0.7, height)
    axes.set_aspect("equal")
    axes.axis("off")
    axes.set_title(title, loc="left", size=11)
    return axes


def number(value: float) -> str:
    return f"{value:g}".replace("-", "\N{MINUS SIGN}")


def slide(
    axes: Axes, row: list[str], taps: list[str], at: int, result: str, first: int = 0
) -> None:
    """A kernel below a row of samples, and above both the output that it gives there."""
    for i, text in enumerate(row):
        inside = first <= i < len(row) - first
        cell(axes, i, 1, text, SAMPLE if inside else COPY, faint=not inside)
    for j, text in enumerate(taps):
        cell(axes, at + j, 0, text, TAP)
    cell(axes, at + (len(taps) - 1) / 2, 2.3, result, OUTPUT)
    for j in range(len(taps)):
        start, end = (at + j, 1.38), (at + (len(taps) - 1) / 2, 1.92)
        axes.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": "#666666"})


def sliding_kernel() -> Figure:
    y = cconv1d.conv1d(X, W)
    figure = Figure(figsize=(5.2, 6.6), layout="constrained")
    for p, value in enumerate(y):
        axes = canvas(4.6, 2.9, f"y{p + 1} = w1·x{p + 1} + w2·x{p + 2}", figure, p + 1, len(y))
        slide(axes, [number(x) for x in X], [number(w) for w in W], p, number(value))
        axes.text(-2.1, 1, "x", va="center")
        axes.text(-2.1, 0, "w", va="center")
        axes.text(-2.1, 2.3, "y", va="center")
    return figure


def flipped_kernel() -> Figure:
    dx = cconv1d.conv1d_backward_input(DY, W, len(X))
    padded = ["0", *map(number, DY), "0"]
    figure = Figure(figsize=(5.2, 8.6), layout="constrained")
    for i, value in enumerate(dx):
        terms = [f"w{j + 1}·dy{i - j + 1}" for j in (1, 0) if 0 <= i - j < len(DY)]
        axes = canvas(5.6, 2.9, f"dx{i + 1} = {' + '.join(terms)}", figure, i + 1, len(dx))
        slide(axes, padded, [number(w) for w in W[::-1]], i, number(value), first=1)
        axes.text(-2.1, 1, "dy", va="center")
        axes.text(-2.1, 0, "w, flipped", va="center", size=8)
        axes.text(-2.1, 2.3, "dx", va="center")
    return figure


def read_by(padding: object, taps: int, mode: str = "zeros") -> list[float]:
    """What outputs of five samples read, from the first tap of the first on, by the library."""
    kernels = np.eye(taps).reshape(taps, 1, taps)  # output channel j is what tap j meets
    samples = np.arange(1.0, 6.0).reshape(1, 5)
    met = cconv1d.conv1d(samples, kernels, padding=padding, padding_mode=mode)  # type: ignore[arg-type]
    return [*met[0], *met[1:, -1]]


def padding_words() -> Figure:
    words, taps = ("valid", "same", "same_lower", "causal", "full"), 4
    figure = Figure(figsize=(7.4, 8.4), layout="constrained")
    for place, word in enumerate(words, 1):
        row = read_by(word, taps)
        outputs = cconv1d.conv1d_output_length(5, taps, padding=word)
        left = row.index(1)
        axes = canvas(9.2, 2.2, f'"{word}": {outputs} outputs of 5 samples', figure, place, 5)
        axes.set_xlim(-4.2, 9.2)
        for i, value in enumerate(row):
            cell(axes, i - left, 0.6, number(value), SAMPLE if value else COPY, faint=not value)
        for j in range(taps):
            cell(axes, j - left, -0.25, "w", TAP, faint=True)
        for p in range(outputs):  # above the last sample that it reads
            cell(axes, p - left + taps - 1, 1.45, f"y{p + 1}", OUTPUT)
    return figure


def padding_modes() -> Figure:
    modes = ("zeros", "reflect", "replicate", "circular")
    figure = Figure(figsize=(7.4, 4.4), layout="constrained")
    for place, mode in enumerate(modes, 1):
        row = read_by(3, 2, mode)
        axes = canvas(8.4, 0.8, f'"{mode}"', figure, place, 4)
        axes.set_xlim(-4.2, 8.2)
        for i, value in enumerate(row):
            inside = 3 <= i < 8
            cell(axes, i - 3, 0, number(value), SAMPLE if inside else COPY, faint=not inside)
    return figure


PICTURES = {
    "sliding-kernel": sliding_kernel,
    "flipped-kernel": flipped_kernel,
    "padding-words": padding_words,
    "padding-modes": padding_modes,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    here = Path(__file__).parent / "pictures"
    parser.add_argument("--out", type=Path, default=here, help="where the pictures are written")
    folder = parser.parse_args().out
    for name, draw in PICTURES.items():
        draw().savefig(folder / f"{name}.png", dpi=80)


if __name__ == "__main__":
    main()
