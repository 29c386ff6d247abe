"""``python -m cconv1d explain --plot``: the terms of a derivation as lines between its numbers."""

from __future__ import annotations

from typing import Any

from ._derivation import Derivation, number

COLORS = ("#d9822b", "#4878a8", "#4a8f5c", "#a04a6c", "#7a6a3a", "#5a5a9a")


def draw(d: Derivation, path: str) -> None:
    """Two panels: x through the kernel to y, and dL/dy through the flipped kernel to dL/dx."""
    from matplotlib.figure import Figure

    width = max(len(d.x) + d.geometry.dilation * len(d.w), 6)
    figure = Figure(figsize=(1.2 + 0.55 * width, 6.4), layout="constrained")
    above, below = figure.subplots(2, 1)
    g = d.geometry
    # an output stands above the middle of the samples that it reads
    middle = (len(d.w) - 1) * g.dilation / 2 - g.pad_left
    places = [p * g.stride + middle for p in range(len(d.y))]
    lines = [(i, places[p], j) for p, j, i in d.terms]
    panel(above, d, lines, ("x", "y"), [f.value for f in d.x], [r.library for r in d.y], places)
    above.set_title("y: each output from the samples that it reads")
    gradient = [r.library for r in d.dx]
    panel(below, d, lines, ("dL/dx", "dL/dy"), gradient, [f.value for f in d.dy], places, True)
    below.set_title("dL/dx: each sample from the outputs that it was in")
    figure.savefig(path, dpi=120)


def panel(
    axes: Any,
    d: Derivation,
    lines: list[tuple[int, float, int]],
    names: tuple[str, str],
    samples: list[float],
    outputs: list[float],
    places: list[float],
    backward: bool = False,
) -> None:
    for i, at, j in lines:
        start, end = ((at, 0.9), (i, 0.1)) if backward else ((i, 0.1), (at, 0.9))
        color = COLORS[j % len(COLORS)]
        axes.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": color, "lw": 1.3})
    for (x, y), value in [
        *(((i, 0), value) for i, value in enumerate(samples)),
        *(((at, 1), value) for at, value in zip(places, outputs, strict=True)),
    ]:
        axes.text(x, y, number(value), ha="center", va="center", bbox={"fc": "white", "ec": "#888"})
    left = min(0.0, *places) - 1.2
    for y, name in enumerate(names):
        axes.text(left, y, name, ha="right", va="center")
    for j, tap in enumerate(d.w):
        color = COLORS[j % len(COLORS)]
        axes.plot([], [], color=color, label=f"w_{j + 1} = {number(tap.value)}")
    axes.set_xlim(left - 0.8, max(len(samples) - 1, *places) + 0.8)
    axes.set_ylim(-0.3, 1.3)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=6, frameon=False)
    axes.axis("off")
