"""Call the kernels from an extension
===================================

An extension in Cython that convolves and searches in one loop, without the GIL.

::

    python beat_finder.py [--recordings N] [--out PICTURE]

builds ``beats.pyx``, which lies beside this script, and finds the heartbeats of five minutes of an
electrocardiogram with it: templates of a normal beat and of an extrasystole are correlated with a
block of samples at a time, and the scores are searched while they are in the cache. It has the
functions by ``from cconv1d cimport ...``, as docs/c-interface.md says. The same with NumPy's finds
the same beats; then several recordings are searched in threads, side by side in the extension.

It needs a compiler, Cython and setuptools: pip install cconv1d[examples] cython setuptools
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import numpy as np
from ecg_denoiser import load_bundled, without_baseline
from matplotlib.figure import Figure
from numpy.typing import NDArray

import cconv1d

SECONDS, APART, LEAST = 0.4, 0.3, 0.35  # of a template, between beats; share of a full score
SETUP = """
from Cython.Build import cythonize
from setuptools import Extension, setup
import cconv1d
source = Extension("{0.stem}", ["{0.name}"], include_dirs=[cconv1d.get_include()])
setup(name="{0.stem}", ext_modules=cythonize(source))
"""


def build(source: Path, folder: Path) -> ModuleType:
    """Compile an extension in a folder, as a project's setup.py would, and import it."""
    (folder / source.name).write_bytes(source.read_bytes())
    (folder / "setup.py").write_text(SETUP.format(source))
    command = [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"]
    variables = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    subprocess.run(command, cwd=folder, env=variables, check=True)
    (library,) = [*folder.glob(f"{source.stem}*.so"), *folder.glob(f"{source.stem}*.pyd")]
    spec = importlib.util.spec_from_file_location(source.stem, library)
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    return module


def find_with_numpy(
    signal: NDArray[Any], templates: NDArray[Any], least: float, apart: int
) -> NDArray[np.intp]:
    """What `find` of the extension does, with all scores at once."""
    scores = cconv1d.conv1d(signal[np.newaxis], templates[:, np.newaxis])
    best, kinds, found, candidate = scores.max(axis=0), scores.argmax(axis=0), [], -1
    for p in np.flatnonzero(best >= least).tolist():
        if candidate >= 0 and p - candidate > apart:
            found.append((candidate, kinds[candidate]))
            candidate = -1
        if candidate < 0 or best[p] > best[candidate]:
            candidate = p
    if candidate >= 0:
        found.append((candidate, kinds[candidate]))
    return np.array(found, np.intp).reshape(-1, 2)


def learn_templates(signal: NDArray[Any], taps: int, apart: int) -> NDArray[np.float32]:
    """Two of them, by k-means over windows around the steepest places; each of energy 1."""
    steep = np.abs(np.gradient(signal))
    places = find_with_numpy(steep, np.ones((1, 1), steep.dtype), 0.4 * steep.max(), apart)[:, 0]
    places = places[(places >= taps // 2) & (places < signal.size - taps)]
    windows = np.stack([signal[p - taps // 2 : p - taps // 2 + taps] for p in places])
    windows -= windows.mean(axis=1, keepdims=True)
    widths = np.abs(windows).sum(axis=1)
    belongs = widths > np.median(widths) * 1.3
    for _ in range(10):
        means = np.stack([windows[~belongs].mean(axis=0), windows[belongs].mean(axis=0)])
        off = ((windows[:, np.newaxis] - means) ** 2).sum(axis=2)
        belongs = off[:, 1] < off[:, 0]
    return (means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description="Find heartbeats by an extension in Cython.")
    parser.add_argument("--recordings", type=int, default=32, help="searched in threads")
    parser.add_argument("--out", type=Path, default=Path("beat_finder.png"), metavar="PNG")
    options, recording = parser.parse_args(), load_bundled()
    signal = without_baseline(recording.signal, recording.rate).astype(np.float32)
    taps, apart = int(SECONDS * recording.rate), int(APART * recording.rate)
    templates = learn_templates(signal, taps, apart)
    scores = cconv1d.conv1d(signal[np.newaxis], templates[:, np.newaxis])
    least = LEAST * float(np.quantile(scores.max(axis=0), 0.995))

    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        find = build(Path(__file__).with_name("beats.pyx"), Path(folder)).find
        times, found = [], []
        for function in (find, find_with_numpy):
            start = time.perf_counter()
            found.append(function(signal, templates, least, apart))
            times.append(time.perf_counter() - start)
        beats = found[0]
        assert np.array_equal(beats, found[1])
        other = int(beats[:, 1].sum())
        print(f"{len(beats)} beats: {len(beats) - other} normal, {other} extrasystoles, by both")
        print(f"extension {times[0] * 1e3:.1f} ms, NumPy {times[1] * 1e3:.1f} ms")
        many = [np.roll(signal, 1000 * i) for i in range(options.recordings)]
        with ThreadPoolExecutor() as pool, cconv1d.num_threads(1):
            for name, function in (("extension", find), ("NumPy", find_with_numpy)):
                work = [(each, templates, least, apart) for each in many]
                start = time.perf_counter()
                list(pool.map(function, *zip(*work, strict=True)))
                milliseconds = 1e3 * (time.perf_counter() - start)
                print(f"{len(many)} recordings in threads: {name} {milliseconds:.0f} ms")

    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1, 3])
    first = int(20 * recording.rate)
    t = first + np.arange(int(8 * recording.rate))
    right.plot(t / recording.rate, signal[t], lw=0.8, color="black")
    for kind, (name, colour) in enumerate((("normal", "C0"), ("extrasystole", "C3"))):
        left.plot(np.arange(taps) / recording.rate, templates[kind], color=colour, label=name)
        at = beats[beats[:, 1] == kind, 0]
        for p in at[(at >= t[0]) & (at + taps <= t[-1])]:
            right.axvspan(p / recording.rate, (p + taps) / recording.rate, alpha=0.2, color=colour)
    left.set(title="templates", xlabel="seconds", ylim=(None, 0.5))
    left.legend(loc="upper left", frameon=False)
    right.set(title="what they find", xlabel="seconds", ylabel=recording.unit)
    figure.savefig(options.out, dpi=100)


if __name__ == "__main__":
    main()

# sphinx_gallery_thumbnail_path = "pictures/beat_finder.png"

# %%
# .. image:: /pictures/beat_finder.png
#
# The extension:
#
# .. literalinclude:: /../examples/beats.pyx
#    :language: cython
