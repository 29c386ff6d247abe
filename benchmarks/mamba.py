"""A Mamba model in PyTorch, its causal convolutions computed by PyTorch or by cconv1d.

    python benchmarks/mamba.py [--threads N] [--clock wall|cpu] [--layers N] [--prompt N]
                               [--rounds N]

The convolutions are called as transformers calls them: in prefill `causal_conv1d_fn` for a whole
prompt, in decode `causal_conv1d_update` for one token, with a state as wide as the kernel. Without
the package causal-conv1d it falls back to calls of PyTorch's own functions, which are the first
column; the second has `cconv1d.torch.causal`. Logits are compared before anything is timed. Times
are medians of rounds in which the columns take turns: of the whole model, whose scan is a loop over
the samples in both columns and whose rest is matrix products, and of one layer's convolution alone.
The sizes are those of the model of 130 million parameters, with fewer layers and words.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from compare import CLOCKS, check_clock
from measure import interleave, machine, settle
from report import table
from torch import Tensor, nn
from torch.nn.functional import conv1d, silu, softplus

import cconv1d
from cconv1d.torch import causal

WIDTH = 4


class Convolutions(NamedTuple):
    """What computes the two calls."""

    name: str
    whole: Callable[..., Tensor]
    step: Callable[..., Tensor]


def fallback_whole(x: Tensor, weight: Tensor, bias: Tensor, activation: str) -> Tensor:
    """Padded on both sides, and cut."""
    channels, width = weight.shape
    y = conv1d(x, weight[:, None], bias, padding=width - 1, groups=channels)
    return silu(y[..., : x.shape[2]])


def fallback_step(
    x: Tensor, state: Tensor, weight: Tensor, bias: Tensor, activation: str
) -> Tensor:
    """Of the state with the new sample behind it; the state is moved on in place."""
    window = torch.cat((state, x[..., None]), 2)
    state.copy_(window[..., 1:])
    return silu(conv1d(window, weight[:, None], bias, groups=len(weight))[..., -1])


PYTORCH = Convolutions("PyTorch", fallback_whole, fallback_step)
OURS = Convolutions("cconv1d", causal.causal_conv1d_fn, causal.causal_conv1d_update)


class Mixer(nn.Module):
    """A selective state-space layer behind a causal convolution, both with states."""

    def __init__(self, channels: int, states: int) -> None:
        super().__init__()
        inner, rank = 2 * channels, -(-channels // 16)
        self.rank, self.states = rank, states
        self.enter = nn.Linear(channels, 2 * inner, bias=False)
        self.conv1d = nn.Conv1d(inner, inner, WIDTH, groups=inner, padding=WIDTH - 1)
        self.select = nn.Linear(inner, rank + 2 * states, bias=False)
        self.step = nn.Linear(rank, inner)
        self.decay = nn.Parameter(torch.arange(1.0, states + 1).log().repeat(inner, 1))
        self.skip = nn.Parameter(torch.ones(inner))
        self.leave = nn.Linear(inner, channels, bias=False)

    def empty(self, batch: int) -> tuple[Tensor, Tensor]:
        """The states of the convolution and of the scan before a prompt."""
        inner = len(self.skip)
        return torch.zeros(batch, inner, WIDTH), torch.zeros(batch, inner, self.states)

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor], by: Convolutions) -> Tensor:
        """One prompt from empty states, or one token; the states are moved on in place."""
        history, memory = state
        u, gate = self.enter(x).transpose(1, 2).chunk(2, 1)
        weight, bias = self.conv1d.weight.squeeze(1), self.conv1d.bias
        if x.shape[1] == 1:
            u = by.step(u.squeeze(2), history, weight, bias, "silu")[..., None]
        else:
            history.copy_(u[..., -WIDTH:])
            u = by.whole(u, weight, bias, activation="silu")
        parts = self.select(u.transpose(1, 2)).split((self.rank, self.states, self.states), 2)
        delta = softplus(self.step(parts[0]))
        decay = -self.decay.exp()
        outputs = []
        for i in range(u.shape[2]):
            share = delta[:, i, :, None]
            memory.mul_((share * decay).exp())
            memory.addcmul_(share * parts[1][:, i, None], u[:, :, i, None])
            outputs.append((memory * parts[2][:, i, None]).sum(2))
        y = torch.stack(outputs, 2) + u * self.skip[:, None]
        result: Tensor = self.leave((y * silu(gate)).transpose(1, 2))
        return result


class Mamba(nn.Module):
    def __init__(
        self, layers: int = 4, channels: int = 768, states: int = 16, words: int = 1000
    ) -> None:
        super().__init__()
        self.embed = nn.Embedding(words, channels)
        self.mixers = nn.ModuleList(Mixer(channels, states) for _ in range(layers))
        self.norms = nn.ModuleList(nn.RMSNorm(channels) for _ in range(layers + 1))
        self.head = nn.Linear(channels, words, bias=False)

    def empty(self, batch: int) -> list[tuple[Tensor, Tensor]]:
        return [mixer.empty(batch) for mixer in self.mixers]

    def forward(
        self, words: Tensor, states: list[tuple[Tensor, Tensor]], by: Convolutions
    ) -> Tensor:
        """Logits of each position, (batch, positions, words)."""
        x = self.embed(words)
        for mixer, norm, state in zip(self.mixers, self.norms, states, strict=False):
            x = x + mixer(norm(x), state, by)
        logits: Tensor = self.head(self.norms[-1](x))
        return logits


@torch.no_grad()
def logits(model: Mamba, prompt: Tensor, tokens: int, by: Convolutions) -> Tensor:
    """Of a prompt and of the likeliest tokens after it, which are decoded one by one."""
    states = model.empty(len(prompt))
    found = [model(prompt, states, by)]
    for _ in range(tokens):
        found.append(model(found[-1][:, -1:].argmax(2), states, by))
    return torch.cat(found, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--prompt", type=int, default=128, help="samples (default 128)")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    check_clock(parser, options)
    settle(options.threads)
    torch.set_num_threads(options.threads)
    cconv1d.set_num_threads(options.threads)
    torch.manual_seed(0)
    model = Mamba(options.layers).eval()
    prompt = torch.randint(0, 1000, (1, options.prompt))
    theirs, ours = (logits(model, prompt, 16, by) for by in (PYTORCH, OURS))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)

    mixer: Any = model.mixers[0]
    weight, bias = mixer.conv1d.weight.detach().squeeze(1), mixer.conv1d.bias.detach()
    signal, sample = torch.randn(1, len(weight), options.prompt), torch.randn(1, len(weight))
    calls: dict[str, Callable[[], Any]] = {}
    for by in (PYTORCH, OURS):
        states, history = model.empty(1), mixer.empty(1)[0]
        calls[f"prefill {by.name}"] = lambda by=by: logits(model, prompt, 0, by)
        calls[f"decode {by.name}"] = lambda by=by, s=states: model(prompt[:, :1], s, by)
        calls[f"prefill, convolution {by.name}"] = lambda by=by: by.whole(
            signal, weight, bias, activation="silu"
        )
        calls[f"decode, convolution {by.name}"] = lambda by=by, h=history: by.step(
            sample, h, weight, bias, "silu"
        )
    with torch.no_grad():
        times = interleave(calls, options.rounds, clock=CLOCKS[options.clock], warm_up=0.1)
    rows = []
    for what in ("prefill", "prefill, convolution", "decode", "decode, convolution"):
        one, other = (times[f"{what} {by.name}"] for by in (PYTORCH, OURS))
        ratio = float(np.median(one / other))
        rows.append([what, *(f"{np.median(t) * 1e6:.0f}" for t in (one, other)), f"{ratio:.2f}"])
    print(f"{machine()}; {options.clock} time, {options.threads} thread(s)")
    print(table(["", "PyTorch, µs", "cconv1d, µs", "ratio"], rows))


if __name__ == "__main__":
    main()
