"""Train in two processes
======================

Train a network of cconv1d's layers in two processes, and compare with one.

Each process takes half of every batch of electrocardiogram windows, computes its gradients, and all
of them are averaged by torch.distributed.  One process with the whole batch has the same steps, so
losses and weights agree to within rounding.

::

    python examples/data_parallel.py [--steps N] [--out PICTURE]

It needs PyTorch and matplotlib.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from matplotlib.figure import Figure
from torch import Tensor, nn

from cconv1d.torch import replace

DATA = Path(__file__).parent / "data" / "mitdb208_ecg.npz"
BATCH, WINDOW, NOISE = 16, 720, 0.2


def network() -> nn.Module:
    """A small denoiser, the same in every process."""
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Conv1d(1, 16, 9, padding="same"), nn.ReLU()]
    for dilation in (2, 4, 8):
        layers += [nn.Conv1d(16, 16, 9, padding="same", dilation=dilation), nn.ReLU()]
    return replace(nn.Sequential(*layers, nn.Conv1d(16, 1, 1))).double()


def batches(steps: int) -> list[tuple[Tensor, Tensor]]:
    """Noisy windows and clean ones."""
    with np.load(DATA) as data:
        signal = (data["adc"].astype(np.float64) - 1024) / 200
    rng = np.random.default_rng(0)
    found = []
    for _ in range(steps):
        starts = rng.integers(0, len(signal) - WINDOW, (BATCH, 1))
        clean = signal[starts + np.arange(WINDOW)][:, None]
        noisy = clean + NOISE * rng.standard_normal(clean.shape)
        found.append((torch.from_numpy(noisy), torch.from_numpy(clean)))
    return found


def train(rank: int, processes: int, steps: int, folder: str) -> None:
    """One of the processes; the first saves losses and weights."""
    torch.set_num_threads(1)
    meeting = (Path(folder) / f"meeting-{processes}").as_uri()
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=processes)
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    losses = []
    for noisy, clean in batches(steps):
        part = slice(rank, None, processes)
        optimizer.zero_grad()
        loss = (model(noisy[part]) - clean[part]).square().mean()
        loss.backward()
        shared = [loss.detach(), *(p.grad for p in model.parameters())]
        for tensor in shared:
            dist.all_reduce(tensor)
            tensor /= processes
        losses.append(float(shared[0]))
        optimizer.step()
    if rank == 0:
        result = {"losses": losses, "weights": model.state_dict()}
        torch.save(result, Path(folder) / f"{processes}.pt")
    dist.barrier()  # or the first one may still write when the other has gone
    dist.destroy_process_group()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path("data_parallel.png"), metavar="PNG")
    options = parser.parse_args(arguments)
    steps = options.steps
    if steps < 1:
        parser.error("there is at least one step")
    with tempfile.TemporaryDirectory() as folder:
        results = []
        for processes in (1, 2):
            mp.spawn(train, (processes, steps, folder), nprocs=processes)
            results.append(torch.load(Path(folder) / f"{processes}.pt"))
    one, two = results
    apart = max(
        float((one["weights"][name] - two["weights"][name]).abs().max()) for name in one["weights"]
    )
    print(f"loss in one process {one['losses'][0]:.6f} -> {one['losses'][-1]:.6f}")
    print(f"loss in two         {two['losses'][0]:.6f} -> {two['losses'][-1]:.6f}")
    print(f"weights differ by at most {apart:.1e}")
    if apart > 1e-6:
        raise SystemExit("that is more than rounding")

    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.semilogy(one["losses"], color="0.7", lw=4, label="one process")
    left.semilogy(two["losses"], color="C0", lw=1, label="two")
    left.set(xlabel="step", ylabel="loss")
    left.legend(frameon=False)
    off = np.abs(np.subtract(one["losses"], two["losses"])) / one["losses"]
    right.semilogy(np.maximum(off, 1e-17), ".", color="C0")
    right.axhline(np.finfo(np.float64).eps, color="black", lw=0.8, ls="--", label="epsilon")
    right.set(xlabel="step", ylabel="difference of the losses / loss")
    right.legend(frameon=False)
    figure.savefig(options.out, dpi=100)


if __name__ == "__main__":
    main()

# sphinx_gallery_thumbnail_path = "pictures/data_parallel.png"

# %%
# .. image:: /pictures/data_parallel.png
