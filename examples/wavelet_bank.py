"""Look at a recording through wavelets
====================================

A bank of complex Morlet wavelets over a recording like an electroencephalogram, in one call.

::

    python wavelet_bank.py [--minutes N] [--bands N] [--out PICTURE]

makes a recording with a rhythm of 10 Hz that comes and goes, slow waves and noise, and convolves it
with a wavelet for each of the frequencies. Magnitudes change slowly, so only every eighth is
computed: that is a stride. ``method="auto"`` takes transforms, as wavelets have hundreds of
samples. SciPy convolves band by band, and drops seven of eight results; both agree to within
rounding. The picture has the recording and the magnitudes.

It needs SciPy, to compare with: pip install cconv1d[examples] scipy
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import signal
from tqdm import tqdm

import cconv1d

RATE, STEP = 256.0, 8  # samples a second; of which every so many is kept
CYCLES = 6.0  # of a wavelet, within its standard deviation times 2·pi


def recording(seconds: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Alpha waves in bursts, slow waves, and noise with more power where it is slow."""
    t = np.arange(int(seconds * RATE)) / RATE
    bursts = np.clip(np.sin(2 * np.pi * t / 7), 0, None) ** 2
    noise = signal.lfilter([1], [1, -0.95], rng.standard_normal(t.size))
    waves = 8 * bursts * np.sin(2 * np.pi * 10 * t) + 4 * np.sin(2 * np.pi * 1.3 * t)
    return (waves + noise).astype(np.float32)


def wavelets(frequencies: NDArray[np.float64]) -> NDArray[np.complex64]:
    """A row each, in the middle of as many samples as the slowest takes."""
    reach = int(np.ceil(3 * CYCLES / (2 * np.pi * frequencies[0]) * RATE))
    t = np.arange(-reach, reach + 1) / RATE
    width = CYCLES / (2 * np.pi * frequencies[:, np.newaxis])
    shape = np.exp(-((t / width) ** 2) / 2 + 2j * np.pi * frequencies[:, np.newaxis] * t)
    return (shape / np.abs(shape).sum(axis=1, keepdims=True)).astype(np.complex64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--bands", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("wavelet_bank.png"), metavar="PNG")
    options = parser.parse_args()

    x = recording(60 * options.minutes, np.random.default_rng(options.seed)).astype(np.complex64)
    frequencies = np.geomspace(2, 40, options.bands)
    bank = wavelets(frequencies)
    reach = bank.shape[1] // 2
    print(f"{x.size} samples, {options.bands} bands, wavelets of {bank.shape[1]} samples")

    # convolution flips its kernel, and conv1d does not
    start = time.perf_counter()
    ours = cconv1d.conv1d(
        x[np.newaxis], bank[:, np.newaxis, ::-1], stride=STEP, padding=reach, method="auto"
    )
    our_time = time.perf_counter() - start

    start = time.perf_counter()
    theirs = np.stack(
        [
            signal.oaconvolve(x, wavelet, "same")[::STEP]
            for wavelet in tqdm(bank, desc="SciPy", leave=False)
        ]
    )
    their_time = time.perf_counter() - start

    off = np.abs(ours - theirs).max() / np.abs(theirs).max()
    print(f"cconv1d {our_time:.3f} s, SciPy {their_time:.3f} s")
    print(f"largest difference: {off:.1e} of the largest magnitude")

    magnitude = np.abs(ours)
    alpha = magnitude[np.argmin(np.abs(frequencies - 10))]
    print(f"at 10 Hz the magnitude is {alpha.max() / np.median(alpha):.1f} times its median")

    figure = Figure(figsize=(9, 5), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[1, 2])
    shown = slice(0, int(30 * RATE))
    above.plot(np.arange(x.size)[shown] / RATE, x.real[shown], lw=0.5)
    above.set_ylabel("recording")
    columns = magnitude[:, : int(30 * RATE) // STEP]
    at = np.arange(columns.shape[1]) * STEP / RATE
    below.pcolormesh(at, frequencies, columns, shading="nearest", rasterized=True)
    below.set(yscale="log", ylabel="Hz", xlabel="seconds", yticks=[2, 5, 10, 20, 40])
    below.set_yticklabels(["2", "5", "10", "20", "40"])
    below.minorticks_off()
    below.set_xlim(0, at[-1])
    figure.savefig(options.out, dpi=100)


if __name__ == "__main__":
    main()

# sphinx_gallery_thumbnail_path = "pictures/wavelet_bank.png"

# %%
# .. image:: /pictures/wavelet_bank.png
