"""Generate a signal sample by sample
===================================

A small WaveNet learns an electrocardiogram, and goes on from where the recording ends.

::

    python wavenet_stream.py [--steps N] [--seconds N] [--out PICTURE]

trains a stack of dilated causal convolutions to tell the next sample from those before. Then each
layer becomes a `Stream`, fed one sample at a time: what comes out, with some noise, is the next one
in. In the end the network is run at once over all that was generated, and must say the same, bit
for bit. Printed is also what a sample costs either way.

WaveNet is from A. van den Oord et al., arXiv:1609.03499, 2016.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from ecg_denoiser import load_bundled, without_baseline
from matplotlib.figure import Figure
from numpy.typing import NDArray
from tqdm import tqdm

from cconv1d import Stream, conv1d, conv1d_backward

Signal = NDArray[np.float32]
CHANNELS, DILATIONS = 16, (1, 2, 4, 8, 16, 32, 64)
BATCH, WINDOW, EVERY = 8, 1024, 3  # samples of which one is taken
CAUSAL = "causal"


class Network:
    """h = in(x); h = h + tanh(layer(h)) for each dilation; out(h)."""

    def __init__(self, rng: np.random.Generator) -> None:
        shapes = [(CHANNELS, 1, 2), *[(CHANNELS, CHANNELS, 2)] * len(DILATIONS), (1, CHANNELS, 1)]
        self.dilations = (1, *DILATIONS, 1)
        self.weights = [
            (rng.standard_normal(shape) / np.sqrt(shape[1] * shape[2])).astype(np.float32)
            for shape in shapes
        ]
        self.moments = [np.zeros((2, *shape), np.float32) for shape in shapes]
        self.steps = 0

    def conv(self, number: int, x: Signal) -> Signal:
        return conv1d(x, self.weights[number], padding=CAUSAL, dilation=self.dilations[number])

    def __call__(self, x: Signal) -> Signal:
        h = self.conv(0, x)
        for number in range(1, len(self.weights) - 1):
            h = h + np.tanh(self.conv(number, h))
        return self.conv(len(self.weights) - 1, h)

    def learn(self, x: Signal, target: Signal, rate: float) -> float:
        """A step of Adam against the mean square; returns that."""
        inputs, tanhs, last = [x], [], len(self.weights) - 1
        h = self.conv(0, x)
        for number in range(1, last):
            inputs.append(h)
            tanhs.append(np.tanh(self.conv(number, h)))
            h = h + tanhs[-1]
        inputs.append(h)
        error = self.conv(last, h) - target
        grad, grads = 2 / error.size * error, [np.empty(0, np.float32)] * (last + 1)
        for number in range(last, -1, -1):
            through = grad * (1 - tanhs[number - 1] ** 2) if 0 < number < last else grad
            options = {"padding": CAUSAL, "dilation": self.dilations[number]}
            found = conv1d_backward(through, inputs[number], self.weights[number], **options)
            grads[number] = found.weight
            grad = grad + found.input if 0 < number < last else found.input
        self.steps += 1
        for weight, moment, g in zip(self.weights, self.moments, grads, strict=True):
            moment[0] += 0.1 * (g - moment[0])
            moment[1] += 0.01 * (g * g - moment[1])
            first, second = moment[0] / (1 - 0.9**self.steps), moment[1] / (1 - 0.99**self.steps)
            weight -= np.float32(rate) * first / (np.sqrt(second) + np.float32(1e-8))
        return float(np.mean(error**2))


class Live:
    """The same network, which takes any number of samples at a time."""

    def __init__(self, network: Network) -> None:
        self.streams = [
            Stream(weight, padding=CAUSAL, dilation=dilation)
            for weight, dilation in zip(network.weights, network.dilations, strict=True)
        ]

    def __call__(self, x: Signal) -> Signal:
        h = self.streams[0].push(x)
        for stream in self.streams[1:-1]:
            h = h + np.tanh(stream.push(h))
        return self.streams[-1].push(h)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--out", type=Path, default=Path("wavenet_stream.png"), metavar="PNG")
    options = parser.parse_args()
    rng = np.random.default_rng(0)

    recording = load_bundled()
    ecg = without_baseline(recording.signal, recording.rate)[::EVERY].astype(np.float32)
    ecg, rate = (ecg / ecg.std()).clip(-4, 4), recording.rate / EVERY
    network = Network(rng)
    bar = tqdm(range(options.steps), desc="training", leave=False)
    for step in bar:
        starts = rng.integers(0, ecg.size - WINDOW - 1, BATCH)
        windows = np.stack([ecg[start : start + WINDOW + 1] for start in starts])[:, np.newaxis]
        loss = network.learn(windows[..., :-1], windows[..., 1:], 5e-3 * (1 - step / options.steps))
        bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
    print(f"next sample: root mean square error {loss**0.5:.3f} of a signal of 1")

    live, seen = Live(network), ecg[: 2 * WINDOW]
    heard = [live(seen[np.newaxis])[0]]
    made = [np.float32(heard[0][-1])]
    start = time.perf_counter()
    for _ in tqdm(range(int(options.seconds * rate)), desc="generating", leave=False):
        heard.append(live(made[-1].reshape(1, 1))[0])
        made.append(heard[-1][0] + np.float32(0.5 * loss**0.5) * np.float32(rng.standard_normal()))
    live_time = (time.perf_counter() - start) / len(made)
    whole = np.concatenate([seen, made[:-1]])[np.newaxis]
    start, at_once = time.perf_counter(), network(whole)[0]
    once_time = (time.perf_counter() - start) / whole.size
    same = np.concatenate(heard).tobytes() == at_once.tobytes()
    print(f"a sample: {1e6 * live_time:.1f} us one by one, {1e6 * once_time:.2f} us at once")
    print(f"the bits of one call on the whole signal: {'yes' if same else 'no'}")

    figure = Figure(figsize=(9, 3), layout="constrained")
    axes = figure.subplots()
    axes.plot(np.arange(-seen.size, 0) / rate, seen, lw=0.8, label="recorded")
    axes.plot(np.arange(len(made)) / rate, made, lw=0.8, label="generated")
    axes.set(xlim=(-8, options.seconds), xlabel="seconds")
    axes.legend(loc="upper right")
    figure.savefig(options.out, dpi=100)
    if not same:
        raise SystemExit(1)


if __name__ == "__main__":
    main()

# sphinx_gallery_thumbnail_path = "pictures/wavenet_stream.png"

# %%
# .. image:: /pictures/wavenet_stream.png
