"""Train faster in PyTorch
=======================

A network for heartbeats in PyTorch, trained with PyTorch's layers and with cconv1d's.

::

    python torch_speedup.py [--epochs N] [--threads N] [--out PICTURE]

finds the beats of the bundled recording and trains a small InceptionTime to tell those that came
early, extrasystoles, from their shape alone: a window around each beat, which does not show the one
before. Both runs begin with the same weights and see the same batches. Printed are the accuracy of
both on every third beat, of which they see none, the time of both, and their ratio; the picture has
the loss of both over time.

PyTorch is needed besides: pip install cconv1d[examples,torch]
"""

from __future__ import annotations

import argparse
import sys
import time
from copy import deepcopy
from pathlib import Path

import numpy as np
from ecg_denoiser import load_bundled, without_baseline

try:
    import torch
    from matplotlib.figure import Figure
    from torch import Tensor, nn
    from tqdm import tqdm

    from cconv1d.torch import replace
except ModuleNotFoundError as missing:
    print(f"{missing.name} is missing: pip install cconv1d[examples,torch]", file=sys.stderr)
    raise SystemExit(2) from None

WINDOW = 0.7  # s; the shape of a beat, but not the one before it
EARLY = 0.85  # of the usual distance to the beat before
REFRACTORY = 0.25  # s; no heart beats twice in it
BATCH = 16


def beats(signal: np.ndarray, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Where the signal is steepest within each beat, and whether that came early."""
    steep = np.convolve(np.diff(signal) ** 2, np.hanning(int(0.12 * rate)), "same")
    gap, places = int(REFRACTORY * rate), []
    for place in np.argsort(-steep):
        if steep[place] < 0.15 * np.quantile(steep, 0.99):
            break
        if all(abs(place - other) > gap for other in places):
            places.append(int(place))
    found = np.sort(places)
    distance = np.diff(found)
    return found[1:], distance < EARLY * np.median(distance)


def windows() -> tuple[Tensor, Tensor]:
    recording = load_bundled()
    signal = without_baseline(recording.signal, recording.rate)
    places, early = beats(signal, recording.rate)
    half = int(WINDOW * recording.rate / 2)
    whole = (places >= half) & (places < len(signal) - half)
    x = np.stack([signal[p - half : p + half] for p in places[whole]])[:, np.newaxis]
    x = (x - x.mean()) / x.std()
    return torch.tensor(x, dtype=torch.float32), torch.tensor(early[whole], dtype=torch.float32)


class Inception(nn.Module):
    """Fawaz et al. 2020: kernels of three lengths beside each other, behind a bottleneck."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bottleneck = nn.Conv1d(channels, 16, 1, bias=False)
        self.branches = nn.ModuleList(
            nn.Conv1d(16, 16, taps, padding="same", bias=False) for taps in (39, 19, 9)
        )
        self.norm = nn.BatchNorm1d(48)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bottleneck(x)
        y: Tensor = self.norm(torch.cat([branch(x) for branch in self.branches], 1)).relu()
        return y


def network() -> nn.Module:
    blocks = [Inception(1), Inception(48), Inception(48)]
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(48, 1))


def train(
    model: nn.Module, x: Tensor, y: Tensor, epochs: int, name: str
) -> list[tuple[float, float]]:
    """Seconds and loss after each epoch."""
    torch.manual_seed(0)  # of the batches
    steps = torch.optim.Adam(model.parameters(), 2e-3)
    curve, start = [], time.perf_counter()
    for _ in tqdm(range(epochs), name, leave=False):
        total = 0.0
        for batch in torch.randperm(len(x)).split(BATCH):
            steps.zero_grad()
            loss = nn.functional.binary_cross_entropy_with_logits(model(x[batch])[:, 0], y[batch])
            loss.backward()
            steps.step()
            total += loss.item() * len(batch) / len(x)
        curve.append((time.perf_counter() - start, total))
    return curve


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("torch_speedup.png"))
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    x, y = windows()
    unseen = torch.arange(len(x)) % 3 == 2
    torch.manual_seed(0)
    theirs = network()
    ours = replace(deepcopy(theirs))
    print(f"{len(x)} beats, {int(y.sum())} of them early; of the unseen {int(y[unseen].sum())}")
    figure = Figure(figsize=(7, 3.5), layout="constrained")
    axes = figure.subplots()
    seconds = []
    for name, model in (("PyTorch", theirs), ("cconv1d", ours)):
        curve = train(model.train(), x[~unseen], y[~unseen], options.epochs, name)
        with torch.no_grad():
            right = (model.eval()(x[unseen])[:, 0] > 0) == (y[unseen] > 0)
        seconds.append(curve[-1][0])
        print(f"{name}: accuracy {right.float().mean():.3f} in {seconds[-1]:.2f} s")
        axes.plot(*zip(*curve, strict=True), label=name, marker="o", markersize=3)
    print(f"speed-up: {seconds[0] / seconds[1]:.2f}")
    axes.set_xlabel("seconds of training")
    axes.set_ylabel("loss")
    axes.set_yscale("log")
    axes.legend()
    figure.savefig(options.out, dpi=150)


if __name__ == "__main__":
    main()

# sphinx_gallery_thumbnail_path = "pictures/torch_speedup.png"

# %%
# .. image:: /pictures/torch_speedup.png
