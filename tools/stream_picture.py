#!/usr/bin/env python3
"""Draw docs/pictures/streams.png:  python tools/stream_picture.py

Which samples an output reads, which a stream keeps, and which an output waits for. Needs
matplotlib.
"""

from __future__ import annotations

import sys
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle

TAPS, DILATION, SEEN, TOTAL = 3, 2, 11, 16
SPAN = DILATION * (TAPS - 1) + 1
COLOURS = {"kept": "#c9e3f5", "seen": "#eeeeee", "coming": "white", "known": "#f7d9ae"}


def boxes(axes, y, fills, labels):
    for i, (fill, label) in enumerate(zip(fills, labels, strict=True)):
        style = ":" if fill == "coming" else "-"
        axes.add_patch(
            Rectangle((i, y), 0.92, 0.7, facecolor=COLOURS[fill], edgecolor="0.4", linestyle=style)
        )
        axes.text(i + 0.46, y + 0.35, label, ha="center", va="center", fontsize=9)


def draw(axes, title, left):
    """One stream: samples above, outputs below, and the window of the next output between them."""
    known = SEEN + left - SPAN + 1
    start = known - left  # of the next window
    samples = [
        "kept" if start <= i < SEEN else "seen" if i < SEEN else "coming" for i in range(TOTAL)
    ]
    boxes(axes, 2.4, samples, [f"x{i}" for i in range(TOTAL)])
    boxes(
        axes,
        0,
        ["known" if i < known else "coming" for i in range(TOTAL)],
        [f"y{i}" for i in range(TOTAL)],
    )
    for tap in range(TAPS):
        place = start + tap * DILATION
        axes.add_patch(
            FancyArrowPatch(
                (place + 0.46, 2.36),
                (known + 0.46, 0.74),
                arrowstyle="-|>",
                mutation_scale=10,
                color="0.35",
            )
        )
    axes.plot([SEEN - 0.04] * 2, [-0.4, 3.5], color="#c0392b", linewidth=1.2)
    axes.text(SEEN + 0.1, 3.45, "now", color="#c0392b", fontsize=9, va="top")
    latency = SPAN - 1 - left
    if latency:
        axes.annotate(
            "", (known, -0.35), (SEEN, -0.35), arrowprops={"arrowstyle": "<->", "color": "#c0392b"}
        )
        axes.text(
            (known + SEEN) / 2,
            -0.5,
            f"latency {latency}",
            color="#c0392b",
            ha="center",
            va="top",
            fontsize=9,
        )
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_xlim(-0.2, TOTAL + 0.2)
    axes.set_ylim(-1.2, 3.6)
    axes.axis("off")


def main() -> None:
    path = Path(__file__).resolve().parents[1] / "docs" / "pictures" / "streams.png"
    figure = Figure(figsize=(9.5, 5.2), layout="constrained")
    causal, same = figure.subplots(2, 1)
    what = f"{TAPS} taps, dilation {DILATION}: a window of {SPAN} samples"
    draw(causal, f'padding="causal", {what}; blue: the history', SPAN - 1)
    draw(same, f'padding="same", {what}; orange: outputs that are known', (SPAN - 1) // 2)
    figure.savefig(path, dpi=100)
    print(path.name, file=sys.stderr)


if __name__ == "__main__":
    main()
