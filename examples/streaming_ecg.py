"""Clean it while it is recorded
=============================

Clean an electrocardiogram while it is recorded: the denoiser's network as a chain of streams.

::

    python streaming_ecg.py

takes the network of `ecg_denoiser.py`, which cleans a whole recording at once, and feeds it blocks
of random sizes, as they would come from a device. Each of its convolutions is a `Stream`; where the
network adds what came before a convolution to what comes out of it, what came before waits in a
queue. What comes out is what the network computes on the whole recording, bit for bit, which the
script checks. It prints how far the output lags behind the input, and what a sample costs.

The network is trained for a short time, or read from ``--network weights.npz``, where it is kept
after the training if there is no such file yet.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any, NoReturn, Protocol

import numpy as np
from numpy.typing import NDArray

try:
    from ecg_denoiser import (
        TRAINING_SHARE,
        Conv,
        Denoiser,
        load_bundled,
        make_noise,
        relu,
        snr,
        train,
        typical_level,
        without_baseline,
    )
    from matplotlib.figure import Figure

    from cconv1d import Stream
except ModuleNotFoundError as missing:
    print(f"{missing.name} is missing: pip install cconv1d[examples]", file=sys.stderr)
    raise SystemExit(2) from None

Array = NDArray[Any]

MAINS = 60.0  # Hz
EPOCHS = 15
LONGEST_BLOCK = 120  # samples: a third of a second


# --- a network in parts that take their input block by block --------------------------------------


class Part(Protocol):
    """Takes samples and returns the outputs that are then known; `finish` returns the rest."""

    latency: int  # samples by which outputs lag behind

    def push(self, x: Array) -> Array: ...
    def finish(self) -> Array: ...


class Convolution:
    """One layer of the network; its padding is taken from the first and the last block."""

    def __init__(self, conv: Conv) -> None:
        self.stream = Stream(conv.weight, conv.bias, padding="same", dilation=conv.dilation)
        self.latency = self.stream.latency

    def push(self, x: Array) -> Array:
        return self.stream.push(x)

    def finish(self) -> Array:
        return self.stream.finish()


class Rectifier:
    latency = 0

    def push(self, x: Array) -> Array:
        return relu(x)

    def finish(self) -> Array:
        return np.zeros((0, 0))  # there is nothing that it keeps


class Chain:
    """Parts one after the other."""

    def __init__(self, *parts: Part) -> None:
        self.parts = parts
        self.latency = sum(part.latency for part in parts)

    def push(self, x: Array) -> Array:
        for part in self.parts:
            x = part.push(x)
        return x

    def finish(self) -> Array:
        """What a part still has goes through all those behind it, before they end, too."""
        rest = self.parts[0].finish()
        for part in self.parts[1:]:
            known, last = part.push(rest), part.finish()
            rest = np.concatenate((known, last), axis=-1) if last.size else known
        return rest


class Beside:
    """Combines the input with what a part makes of it; the input waits until that is known."""

    def __init__(self, part: Part, combine: Any) -> None:
        self.part, self.combine = part, combine
        self.latency = part.latency
        self.waiting: list[Array] = []

    def push(self, x: Array) -> Array:
        self.waiting.append(x.copy())
        return self._combined(self.part.push(x))

    def finish(self) -> Array:
        return self._combined(self.part.finish())

    def _combined(self, y: Array) -> Array:
        row = np.concatenate(self.waiting, axis=-1)
        count = y.shape[-1]
        self.waiting = [row[:, count:]]
        return self.combine(row[:, :count], y)  # type: ignore[no-any-return]


def streaming(network: Denoiser) -> Part:
    """The network as `Denoiser.forward` has it."""
    blocks = [
        Beside(Chain(Convolution(dilated), Rectifier(), Convolution(mix)), np.add)
        for dilated, mix in network.blocks
    ]
    inner = Chain(Convolution(network.first), *blocks, Rectifier(), Convolution(network.last))
    return Beside(inner, np.subtract)


# --- the network's weights ------------------------------------------------------------------------


def save(network: Denoiser, path: Path) -> None:
    arrays = {}
    for i, layer in enumerate(network.layers):
        arrays[f"weight{i}"], arrays[f"bias{i}"] = layer.weight, layer.bias
    np.savez(path, **arrays)


def load(network: Denoiser, path: Path) -> None:
    try:
        with np.load(path) as file:
            arrays = dict(file)
    except (OSError, ValueError):
        raise ValueError(f"{path}: not an archive of arrays in NumPy's .npz format") from None
    for i, layer in enumerate(network.layers):
        for name in ("weight", "bias"):
            array = arrays.get(f"{name}{i}")
            expected = getattr(layer, name)
            if array is None or array.shape != expected.shape:
                raise ValueError(f"{path}: no {name}{i} of shape {expected.shape}")
            setattr(layer, name, array.astype(np.float32))


# --- the picture ----------------------------------------------------------------------------------


def draw(
    path: Path, noisy: Array, offline: Array, online: Array, rate: float, latency: int
) -> None:
    """Four seconds: what comes in, what comes out and when, and how it differs from one call."""
    figure = Figure(figsize=(11, 6), layout="constrained")
    above, below = figure.subplots(2, 1, height_ratios=(4, 1), sharex=True)
    first = min(round(20 * rate), max(len(noisy) - round(4 * rate), 0))
    shown = slice(first, first + round(4 * rate))
    seconds = np.arange(len(noisy))[shown] / rate
    above.plot(seconds, noisy[shown], color="0.7", linewidth=0.7, label="recorded")
    above.plot(seconds, offline[shown], color="#e08a1e", linewidth=3, label="network, all at once")
    above.plot(seconds, online[shown], color="black", linewidth=0.9, label="network, live")
    end = seconds[-1]
    above.axvspan(end - latency / rate, end, color="#faf1da", zorder=0, linewidth=0)
    above.annotate(
        "not yet known\nwhen the last sample\nis recorded",
        (end - latency / rate / 2, above.get_ylim()[1]),
        ha="center",
        va="top",
    )
    above.legend(loc="upper left", frameon=False)
    above.set_ylabel("in multiples of the signal's level")
    below.plot(seconds, (online - offline)[shown], color="black", linewidth=0.9)
    below.set_ylim(-1, 1)
    below.set_ylabel("difference")
    below.set_xlabel("time in the recording (s)")
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xlim(seconds[0], end)
    figure.savefig(path, dpi=100)


# --- the command ----------------------------------------------------------------------------------


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n")


def main(arguments: list[str] | None = None) -> None:
    parser = Parser(
        prog="streaming_ecg.py", description="Clean an electrocardiogram while it is recorded."
    )
    parser.add_argument("--network", type=Path, metavar="NPZ", help="weights, read or kept")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="if it has to be trained")
    parser.add_argument("--seconds", type=float, default=90.0, help="of the part never trained on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, metavar="PNG", default=Path("streaming_ecg.png"))
    options = parser.parse_args(arguments)
    if options.epochs < 1:
        parser.error(f"--epochs must be at least 1, not {options.epochs}")
    if not options.seconds > 0:
        parser.error(f"--seconds must be more than 0, not {options.seconds:g}")
    if options.seed < 0:
        parser.error(f"--seed must not be negative, but is {options.seed}")

    try:
        recording = load_bundled()
    except (OSError, ValueError) as error:
        parser.error(str(error))
    rate = recording.rate
    training, unseen, initial, blocks = np.random.default_rng(options.seed).spawn(4)
    clean = without_baseline(recording.signal, rate)
    split = round(TRAINING_SHARE * clean.size)
    clean = (clean / typical_level(clean[:split], rate)).astype(np.float32)
    truth = clean[split:][: round(options.seconds * rate)]
    noisy = truth + make_noise(truth.size, rate, MAINS, unseen)

    network = Denoiser(initial)
    if options.network is not None and options.network.is_file():
        try:
            load(network, options.network)
        except ValueError as error:
            parser.error(str(error))
    else:
        train(network, clean[:split], rate, MAINS, options.epochs, training)
        if options.network is not None:
            save(network, options.network)

    offline = network.forward(noisy[np.newaxis, np.newaxis])[0, 0]

    live = streaming(network)
    outputs, start, count = [], 0, 0
    begun = time.perf_counter()
    while start < noisy.size:
        size = int(blocks.integers(0, LONGEST_BLOCK + 1))
        outputs.append(live.push(noisy[np.newaxis, start : start + size])[0])
        start, count = start + size, count + 1
    outputs.append(live.finish()[0])
    spent = time.perf_counter() - begun
    online = np.concatenate(outputs)

    same = online.dtype == offline.dtype and online.tobytes() == offline.tobytes()
    print(f"{noisy.size} samples in {count} blocks of 0 to {LONGEST_BLOCK}")
    print(f"latency: {live.latency} samples, {1000 * live.latency / rate:.0f} ms")
    print(
        f"time per sample: {1e6 * spent / noisy.size:.1f} us, "
        f"{noisy.size / rate / spent:.0f} times as fast as they come"
    )
    print(f"SNR noisy {snr(truth, noisy):.1f} dB, network {snr(truth, online):.1f} dB")
    print(f"the bits of one call on the whole signal: {'yes' if same else 'NO'}")
    assert same
    try:
        draw(options.out, noisy, offline, online, rate, live.latency)
    except OSError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()

# sphinx_gallery_thumbnail_path = "pictures/streaming_ecg.png"

# %%
# .. image:: /pictures/streaming_ecg.png
