"""Filter a recording larger than memory
=====================================

Filter a recording that does not fit in memory, chunk by chunk, with dask.

A synthetic recording of 16 electrodes is written into a zarr store, a chunk at a time: slow waves,
the hum of the mains at 50 Hz, drift and noise.  A band-pass of 501 taps filters it into a second
store.  Neither is ever in memory as a whole; the most memory that was in use is printed.  The
result is compared, bit for bit, with calls on samples at borders of chunks and at random places.

::

    python examples/filter_recording.py --gigabytes 8 --folder a-folder-with-room-for-16

What it draws is two seconds on both sides of the first border, and their spectra. It needs dask,
zarr and matplotlib.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import zarr
from dask.diagnostics import ProgressBar
from matplotlib.figure import Figure

import cconv1d
import cconv1d.dask

RATE = 1000  # samples a second
ELECTRODES = 16
TAPS = 501


def band_pass(low: float, high: float) -> np.ndarray:
    """A windowed sinc that passes frequencies from `low` to `high`, in Hz."""
    t = np.arange(TAPS) - TAPS // 2
    ideal = [2 * f / RATE * np.sinc(2 * f / RATE * t) for f in (low, high)]
    return ((ideal[1] - ideal[0]) * np.hamming(TAPS)).astype(np.float32)


def recorded(start: int, stop: int) -> np.ndarray:
    """Samples of all electrodes: the same for the same places, whatever was made before."""
    noise = np.random.default_rng(start).standard_normal((ELECTRODES, stop - start), np.float32)
    seconds = np.arange(start, stop) / RATE
    waves = np.sin(2 * np.pi * 10 * seconds) + 3 * np.sin(2 * np.pi * 50 * seconds)
    return noise + (waves + np.cos(2 * np.pi * 0.1 * seconds)).astype(np.float32)


def draw(before: np.ndarray, after: np.ndarray, seconds: np.ndarray, out: Path) -> None:
    """One electrode, as it was recorded and filtered."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[2, 1])
    frequencies = np.fft.rfftfreq(before.size, 1 / RATE)
    for samples, name, colour in ((before, "recorded", "0.7"), (after, "filtered", "C0")):
        left.plot(seconds, samples, lw=1, color=colour, label=name)
        spectrum = np.abs(np.fft.rfft(samples * np.hanning(samples.size)))
        right.semilogy(frequencies, spectrum, lw=1, color=colour)
    left.axvline(
        seconds[before.size // 2], color="black", lw=0.8, ls="--", label="border of chunks"
    )
    left.set(xlabel="seconds")
    left.legend(loc="upper right", ncols=3)
    right.set(xlabel="Hz", xlim=(0, 100), title="spectrum")
    figure.savefig(out, dpi=100)


def filter_recording(folder: Path, length: int, chunk: int, progress: bool, out: Path) -> None:
    shape, chunks = (ELECTRODES, length), (ELECTRODES, min(chunk, length))
    recording, filtered = (
        zarr.create_array(folder / name, shape=shape, chunks=chunks, dtype="f4", compressors=None)
        for name in ("recording", "filtered")
    )
    for start in range(0, length, chunk):
        stop = min(start + chunk, length)
        recording[:, start:stop] = recorded(start, stop)

    taps = band_pass(5, 40)
    x = da.from_array(recording, chunks=chunks)
    y = cconv1d.dask.convolve(x, taps, "same")
    began = time.perf_counter()
    with dask.config.set(scheduler="threads"), ProgressBar() if progress else nullcontext():
        da.store(y, filtered, lock=False)
    took = time.perf_counter() - began
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

    places = np.random.default_rng(0).integers(0, length - 100, 20)
    borders = [0, *range(chunk - 50, length - 100, chunk), length - 100]
    for place in [*borders, *places]:
        low, high = max(place - TAPS, 0), min(place + 100 + TAPS, length)
        around = cconv1d.convolve(recording[:, low:high], taps, "same")
        expected = around[:, place - low : place - low + 100]
        if not np.array_equal(filtered[:, place : place + 100], expected):
            raise SystemExit(f"samples {place} to {place + 100} are not those of one call")
    shown = np.arange(max(min(chunk, length) - RATE, 0), min(min(chunk, length) + RATE, length))
    before, after = (store[0, shown[0] : shown[-1] + 1] for store in (recording, filtered))
    draw(before, after, shown / RATE, out)
    size = length * ELECTRODES * 4
    print(f"{size / 1e9:.2f} GB of {length} samples in {len(x.chunks[1])} chunks, {TAPS} taps")
    print(f"{took:.1f} s, {size / took / 1e6:.0f} MB/s read, filtered and written")
    print(f"at most {peak / 1e6:.0f} MB of memory resident, Python and its packages included")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=0.5, help="size of the recording")
    parser.add_argument("--chunk", type=int, default=500_000, help="samples of a chunk")
    parser.add_argument("--folder", type=Path, help="where the stores go; else a temporary one")
    parser.add_argument("--out", type=Path, default=Path("filter_recording.png"), metavar="PNG")
    options = parser.parse_args(arguments)
    length = int(options.gigabytes * 1e9) // (4 * ELECTRODES)
    if options.chunk < 1 or length < 2 * TAPS:
        parser.error(f"a recording has at least {2 * TAPS} samples, and a chunk one")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        filter_recording(Path(folder), length, options.chunk, sys.stdout.isatty(), options.out)


if __name__ == "__main__":
    main()

# sphinx_gallery_thumbnail_path = "pictures/filter_recording.png"

# %%
# .. image:: /pictures/filter_recording.png
