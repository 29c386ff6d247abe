"""Train a kernel in an extension
==============================

An extension in C that takes the echo out of a telephone call while it learns the room.

::

    python echo_canceller.py [--seconds S] [--out PICTURE]

A microphone hears the loudspeaker by way of the room: its sound, convolved with the response of the
room. ``echo.c``, which lies beside this script, has a kernel for that response. From every block of
samples it takes away what the kernel makes of the loudspeaker, and then moves the kernel down the
gradient of the energy that is left: a convolution and a gradient in a loop in C, as
docs/c-interface.md says. Halfway somebody moves the loudspeaker, and the kernel has to learn once
more. The same with NumPy's functions has the same bits.

It needs a compiler, Cython and setuptools: pip install cconv1d[examples] cython setuptools
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from beat_finder import build
from matplotlib.figure import Figure
from numpy.typing import NDArray
from tqdm import tqdm

import cconv1d

HERTZ, TAPS, BLOCK, RATE = 16_000, 1024, 256, 0.25
VOICE = 1e-3  # of who speaks into the microphone, beside a loudspeaker of about 1

Signal = NDArray[np.float32]


def draw_room(rng: np.random.Generator) -> Signal:
    """A response: the way to the microphone, then reflections that die away; backwards."""
    decay = np.exp(-np.arange(TAPS) / 150) * (np.arange(TAPS) >= rng.integers(20, 60))
    response = rng.standard_normal(TAPS) * decay
    return (response / np.linalg.norm(response))[::-1].astype(np.float32)


def draw_call(seconds: int) -> tuple[Signal, Signal, list[Signal]]:
    """The loudspeaker, what the microphone hears of it and of a voice, and the two rooms."""
    rng = np.random.default_rng(0)
    length = seconds * HERTZ
    loudness = 0.3 + np.abs(np.sin(np.arange(TAPS - 1 + length) / HERTZ * 2 * np.pi))  # syllables
    speaker = (rng.standard_normal(loudness.size) * loudness).astype(np.float32)
    rooms = [draw_room(rng) for _ in "ab"]
    echoes = [cconv1d.conv1d(speaker, room) for room in rooms]
    microphone = np.concatenate([echoes[0][: length // 2], echoes[1][length // 2 :]])
    microphone += VOICE * rng.standard_normal(length, dtype=np.float32)
    return speaker, microphone, rooms


def cancel_with_numpy(
    speaker: Signal, microphone: Signal, weight: Signal, left: Signal, block: int, rate: float
) -> None:
    """What `cancel` of the extension does."""
    for begin in range(0, microphone.size, block):
        end = min(begin + block, microphone.size)
        x = speaker[begin : end + weight.size - 1]
        left[begin:end] = microphone[begin:end] - cconv1d.conv1d(x, weight)
        gradient = cconv1d.conv1d_backward_weight(left[begin:end], x, weight.size)
        energy = np.cumsum(np.square(x, dtype=np.float64))[-1]  # in the order of a loop
        weight += (rate / (energy + 1e-3) * gradient.astype(np.float64)).astype(np.float32)


def decibels(signal: NDArray[Any]) -> NDArray[Any]:
    """The level of every twentieth of a second."""
    parts = signal.reshape(-1, HERTZ // 20).astype(np.float64)
    return 10 * np.log10(np.square(parts).mean(axis=1))


def main() -> None:
    parser = argparse.ArgumentParser(description="Take an echo away by an extension in C.")
    parser.add_argument("--seconds", type=int, default=60, help="of sound, an even number")
    parser.add_argument("--out", type=Path, default=Path("echo_canceller.png"), metavar="PNG")
    options = parser.parse_args()
    speaker, microphone, rooms = draw_call(options.seconds)
    weight, left = np.zeros(TAPS, np.float32), np.empty_like(microphone)
    learned = []

    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        module = build(Path(__file__).with_name("echo.c"), Path(folder))
        spent = 0.0
        for second in tqdm(range(options.seconds), unit="s"):
            now = slice(second * HERTZ, (second + 1) * HERTZ)
            heard = speaker[now.start : now.stop + TAPS - 1]
            expected = weight.copy(), np.empty(HERTZ, np.float32)
            cancel_with_numpy(heard, microphone[now], *expected, BLOCK, RATE)
            start = time.perf_counter()
            module.cancel(heard, microphone[now], weight, left[now], BLOCK, RATE)
            spent += time.perf_counter() - start
            assert np.array_equal(weight, expected[0])
            assert np.array_equal(left[now], expected[1])
            if second + 1 in (options.seconds // 2, options.seconds):
                learned.append(weight.copy())

    levels = decibels(microphone), decibels(left)
    for name, room, kernel, last in zip(
        ("first", "second"), rooms, learned, (levels[0].size // 2, levels[0].size), strict=True
    ):
        off = np.linalg.norm(kernel - room)
        echo, rest = (level[last - 20 : last].mean() for level in levels)
        print(f"{name} room: learned but for {off:.1e} of its norm, echo {rest - echo:.0f} dB")
    print(f"{options.seconds / spent:.0f} times as fast as it is spoken, with NumPy's bits")

    figure = Figure(figsize=(9, 5), layout="constrained")
    top, bottom = figure.subplots(2, 1)
    t = np.arange(levels[0].size) / 20
    top.plot(t, levels[0], color="0.7", label="microphone")
    top.plot(t, levels[1], color="C0", label="what is left")
    top.axhline(20 * np.log10(VOICE), color="black", lw=0.8, ls="--", label="the voice alone")
    top.set(title="the loudspeaker is moved halfway", xlabel="seconds", ylabel="dB")
    top.legend(loc="center right", frameon=False)
    at = np.arange(TAPS) / HERTZ * 1e3
    bottom.plot(at, rooms[1][::-1], color="0.7", label="the second room")
    bottom.plot(at, learned[1][::-1], "C0.", ms=4, label="the kernel that was learned")
    bottom.set(xlabel="milliseconds", xlim=(0, 20))
    bottom.legend(loc="upper right", frameon=False)
    figure.savefig(options.out, dpi=100)


if __name__ == "__main__":
    main()

# sphinx_gallery_thumbnail_path = "pictures/echo_canceller.png"

# %%
# .. image:: /pictures/echo_canceller.png
#
# The extension:
#
# .. literalinclude:: /../examples/echo.c
#    :language: c
