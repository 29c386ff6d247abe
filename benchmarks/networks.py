"""Real networks in PyTorch, their 1-D convolutions computed by PyTorch or by cconv1d.

    python benchmarks/networks.py [--threads N] [--clock wall|cpu] [--columns NAME ...]
                                  [--only WORD] [--rounds N] [--json FILE]

Nine networks of audio, speech, genomics and biosignals, with random weights and the sizes of their
publications or of the repositories that made them known. Times are medians of rounds in which the
columns take turns: inference (without gradients) and a training step (forward, backward, an update
by stochastic gradient descent). The columns are PyTorch's layers and ours by method "direct" and
"auto", all three also through torch.compile; and, of inference, ours with packed weights ("frozen")
and ONNX Runtime with the exported network. Of PyTorch's inference, `convolutions` is the share that
its convolutions take, by its own profiler: what is left is for others to make faster.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from collections.abc import Callable
from copy import deepcopy
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from compare import CLOCKS, check_clock, command, save
from measure import interleave, machine, settle
from report import network_tables
from torch import Tensor, nn

import cconv1d
from cconv1d.torch import replace


class Residual(nn.Module):
    def __init__(self, inner: nn.Module, skip: nn.Module | None = None) -> None:
        super().__init__()
        self.inner, self.skip = inner, skip or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.inner(x) + self.skip(x)
        return result


class Gated(nn.Module):
    """WaveNet's layer: tanh and sigmoid of a dilated causal convolution."""

    def __init__(self, channels: int, skips: int, dilation: int) -> None:
        super().__init__()
        self.pad = nn.ConstantPad1d((dilation, 0), 0)
        self.both = nn.Conv1d(channels, 2 * channels, 2, dilation=dilation)
        self.out = nn.Conv1d(channels, channels, 1)
        self.skip = nn.Conv1d(channels, skips, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        a, b = self.both(self.pad(x)).chunk(2, 1)
        y = a.tanh() * b.sigmoid()
        return x + self.out(y), self.skip(y)


class WaveNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.start = nn.Conv1d(1, 64, 1)
        self.layers = nn.ModuleList(Gated(64, 128, 2 ** (i % 10)) for i in range(20))
        self.end = nn.Sequential(
            nn.ReLU(), nn.Conv1d(128, 128, 1), nn.ReLU(), nn.Conv1d(128, 256, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.start(x)
        skips = torch.zeros((), dtype=x.dtype)
        for layer in self.layers:
            x, skip = layer(x)
            skips = skips + skip
        result: Tensor = self.end(skips)
        return result


def tcn() -> nn.Module:
    """Bai et al. 2018: residual blocks of two causal convolutions each."""
    blocks: list[nn.Module] = []
    channels = 2
    for i in range(8):
        d = 2**i
        layers: list[nn.Module] = []
        for c in (channels, 64):
            layers += [nn.ConstantPad1d((6 * d, 0), 0), nn.Conv1d(c, 64, 7, dilation=d), nn.ReLU()]
        skip = nn.Conv1d(channels, 64, 1) if channels != 64 else None
        blocks += [Residual(nn.Sequential(*layers), skip), nn.ReLU()]
        channels = 64
    return nn.Sequential(*blocks, nn.Conv1d(64, 1, 1))


class Inception(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bottleneck = nn.Conv1d(channels, 32, 1, bias=False)
        self.branches = nn.ModuleList(
            nn.Conv1d(32, 32, k, padding="same", bias=False) for k in (39, 19, 9)
        )
        self.pooled = nn.Sequential(nn.MaxPool1d(3, 1, 1), nn.Conv1d(channels, 32, 1, bias=False))
        self.norm = nn.BatchNorm1d(128)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bottleneck(x)
        y = torch.cat([*(branch(y) for branch in self.branches), self.pooled(x)], 1)
        return self.norm(y).relu()


def inceptiontime() -> nn.Module:
    layers: list[nn.Module] = []
    channels = 12
    for _ in range(2):
        inner = nn.Sequential(Inception(channels), Inception(128), Inception(128))
        layers += [Residual(inner, nn.Conv1d(channels, 128, 1)), nn.ReLU()]
        channels = 128
    return nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(128, 5))


def hifigan() -> nn.Module:
    """The generator of HiFi-GAN, V2: from 80 bands of a spectrogram to samples."""
    layers: list[nn.Module] = [nn.Conv1d(80, 128, 7, padding=3)]
    channels = 128
    for stride, taps in ((8, 16), (8, 16), (2, 4), (2, 4)):
        layers += [
            nn.LeakyReLU(0.1),
            nn.ConvTranspose1d(channels, channels // 2, taps, stride, (taps - stride) // 2),
        ]
        channels //= 2
        for k in (3, 7, 11):
            for d in (1, 3, 5):
                layers.append(
                    Residual(
                        nn.Sequential(
                            nn.LeakyReLU(0.1),
                            nn.Conv1d(channels, channels, k, padding=d * (k // 2), dilation=d),
                            nn.LeakyReLU(0.1),
                            nn.Conv1d(channels, channels, k, padding=k // 2),
                        )
                    )
                )
    return nn.Sequential(*layers, nn.LeakyReLU(), nn.Conv1d(channels, 1, 7, padding=3), nn.Tanh())


def conv_tasnet() -> nn.Module:
    """Luo and Mesgarani 2019: its encoder, two repeats of its separator, its decoder."""
    blocks: list[nn.Module] = []
    for i in range(16):
        d = 2 ** (i % 8)
        blocks.append(
            Residual(
                nn.Sequential(
                    nn.Conv1d(128, 512, 1),
                    nn.PReLU(),
                    nn.GroupNorm(1, 512),
                    nn.Conv1d(512, 512, 3, padding=d, dilation=d, groups=512),
                    nn.PReLU(),
                    nn.GroupNorm(1, 512),
                    nn.Conv1d(512, 128, 1),
                )
            )
        )
    return nn.Sequential(
        nn.Conv1d(1, 512, 16, 8),
        nn.ReLU(),
        nn.GroupNorm(1, 512),
        nn.Conv1d(512, 128, 1),
        *blocks,
        nn.PReLU(),
        nn.Conv1d(128, 1024, 1),
        nn.Sigmoid(),
        nn.ConvTranspose1d(1024, 2, 16, 8, groups=2),
    )


def separable(channels: int, outs: int, taps: int, stride: int = 1, dilation: int = 1) -> nn.Module:
    reach = dilation * (taps - 1) // 2
    return nn.Sequential(
        nn.Conv1d(channels, channels, taps, stride, reach, dilation, channels, bias=False),
        nn.Conv1d(channels, outs, 1, bias=False),
        nn.BatchNorm1d(outs),
        nn.ReLU(),
    )


def quartznet() -> nn.Module:
    """QuartzNet 5x5: separable convolutions over 64 bands."""
    layers: list[nn.Module] = [separable(64, 256, 33, 2)]
    channels = 256
    for outs, taps in ((256, 33), (256, 39), (512, 51), (512, 63), (512, 75)):
        inner = [separable(channels if i == 0 else outs, outs, taps) for i in range(5)]
        skip = nn.Sequential(nn.Conv1d(channels, outs, 1, bias=False), nn.BatchNorm1d(outs))
        layers += [Residual(nn.Sequential(*inner), skip), nn.ReLU()]
        channels = outs
    return nn.Sequential(
        *layers, separable(512, 512, 87, 1, 2), separable(512, 1024, 1), nn.Conv1d(1024, 29, 1)
    )


def ecg_resnet() -> nn.Module:
    """Hannun et al. 2019, with 8 of its residual blocks."""
    layers: list[nn.Module] = [nn.Conv1d(1, 32, 16, padding="same"), nn.BatchNorm1d(32), nn.ReLU()]
    channels = 32
    for i in range(8):
        outs, stride = 32 * 2 ** (i // 4), 1 + i % 2
        inner = nn.Sequential(
            nn.BatchNorm1d(channels),
            nn.ReLU(),
            nn.Conv1d(channels, outs, 15, stride, 7),
            nn.BatchNorm1d(outs),
            nn.ReLU(),
            nn.Conv1d(outs, outs, 15, padding=7),
        )
        layers.append(Residual(inner, nn.Conv1d(channels, outs, 1, stride)))
        channels = outs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(channels, 4))


def wav2vec2() -> nn.Module:
    """The features of wav2vec 2.0, base: seven convolutions from samples to frames of 20 ms."""
    layers: list[nn.Module] = [nn.Conv1d(1, 512, 10, 5, bias=False), nn.GroupNorm(512, 512)]
    for k in (3, 3, 3, 3, 2, 2):
        layers += [nn.GELU(), nn.Conv1d(512, 512, k, 2, bias=False)]
    return nn.Sequential(*layers, nn.GELU())


def atacworks() -> nn.Module:
    """Lal et al. 2021: residual blocks of three convolutions of 51 taps, dilation 8."""
    layers: list[nn.Module] = []
    channels = 1
    for _ in range(4):
        inner: list[nn.Module] = []
        for c in (channels, 15, 15):
            inner += [nn.Conv1d(c, 15, 51, padding=200, dilation=8), nn.ReLU()]
        skip = nn.Conv1d(channels, 15, 1) if channels != 15 else None
        layers.append(Residual(nn.Sequential(*inner), skip))
        channels = 15
    return nn.Sequential(*layers, nn.Conv1d(15, 1, 1), nn.ReLU())


class Network(NamedTuple):
    name: str
    make: Callable[[], nn.Module]
    shape: tuple[int, int, int]


NETWORKS = [
    Network("WaveNet", WaveNet, (1, 1, 8000)),
    Network("TCN", tcn, (8, 2, 600)),
    Network("InceptionTime", inceptiontime, (16, 12, 500)),
    Network("HiFi-GAN V2", hifigan, (1, 80, 100)),
    Network("Conv-TasNet", conv_tasnet, (1, 1, 16000)),
    Network("QuartzNet 5x5", quartznet, (1, 64, 800)),
    Network("ECG ResNet", ecg_resnet, (8, 1, 1280)),
    Network("wav2vec 2.0 features", wav2vec2, (1, 1, 16000)),
    Network("AtacWorks", atacworks, (1, 1, 12000)),
]


def share_of_convolutions(model: nn.Module, x: Tensor) -> float:
    """Of the time of PyTorch's own inference."""
    with torch.no_grad(), torch.profiler.profile() as profile:
        model(x)
    rows = profile.key_averages()
    total = sum(row.self_cpu_time_total for row in rows)
    names = "mkldnn_convolution", "slow_conv", "thnn_conv2d"
    convolutions = sum(
        row.self_cpu_time_total for row in rows if any(name in row.key for name in names)
    )
    return convolutions / total


#: What is timed besides PyTorch's layers: ours by a method, each also frozen and compiled, and ONNX
#: Runtime.
METHODS = ("direct", "auto")
FROZEN = " frozen"
COMPILED = " compiled"
RUNTIME = "onnxruntime"
COLUMNS = (
    *METHODS,
    *(name + FROZEN for name in METHODS),
    *(name + COMPILED for name in ("torch", *METHODS)),
    RUNTIME,
)
DEFAULT = (*METHODS, *(name + FROZEN for name in METHODS), RUNTIME)
KINDS = ("inference", "training")


def runtime_call(model: nn.Module, x: Tensor, threads: int) -> tuple[Callable[[], Any], str]:
    """Inference by ONNX Runtime, of the network as PyTorch exports it; and its version."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter that needs no package is deprecated
        path = Path(folder, "network.onnx")
        torch.onnx.export(model, (x,), path, dynamo=False)
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: x.numpy()}
    return lambda: session.run(None, feed)[0], onnxruntime.__version__


def inference_of(model: nn.Module, x: Tensor) -> Callable[[], Tensor]:
    def call() -> Tensor:
        with torch.no_grad():
            y: Tensor = model(x)
        return y

    return call


def training_of(model: Any, x: Tensor) -> Callable[[], None]:
    steps = torch.optim.SGD(model.parameters(), 1e-6)

    def call() -> None:
        steps.zero_grad()
        model(x).square().mean().backward()
        steps.step()

    return call


def calls_of(network: Network, options: argparse.Namespace) -> tuple[dict[str, Any], float]:
    """What is timed, after all results were compared with PyTorch's."""
    torch.manual_seed(0)
    x = torch.randn(network.shape)
    theirs = network.make()
    calls: dict[str, Any] = {}
    with torch.no_grad():
        expected = deepcopy(theirs).eval()(x)
    near = 1e-3 * float(expected.abs().max())
    for column in ("torch", *options.columns):
        if column == RUNTIME:
            call, _ = runtime_call(deepcopy(theirs).eval(), x, options.threads)
            found = torch.from_numpy(call())
            calls[f"{column} inference"] = call
        else:
            name = column.removesuffix(COMPILED).removesuffix(FROZEN)
            frozen = column.endswith(FROZEN)
            model = deepcopy(theirs)
            if name != "torch":
                model = replace(model, name, frozen=frozen)
            infer, train = deepcopy(model).eval(), model.train()
            if column.endswith(COMPILED):
                torch._dynamo.reset()
                infer, train = torch.compile(infer), torch.compile(train)  # type: ignore[assignment]
            calls[f"{column} inference"] = inference_of(infer, x)
            if not frozen:
                calls[f"{column} training"] = training_of(train, x)
            found = calls[f"{column} inference"]()
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=near)
    return calls, share_of_convolutions(theirs.eval(), x)


def measured(network: Network, options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of each column and PyTorch's over them, for inference and training."""
    calls, share = calls_of(network, options)
    times = interleave(calls, options.rounds, clock=CLOCKS[options.clock], warm_up=0.2)
    row: dict[str, Any] = {"network": network.name, "convolutions": share}
    for kind in KINDS:
        row[kind] = {}
        for column in ("torch", *options.columns):
            if (seconds := times.get(f"{column} {kind}")) is not None:
                ratio = float(np.median(times[f"torch {kind}"] / seconds))
                row[kind][column] = {"seconds": float(np.median(seconds)), "ratio": ratio}
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--clock", choices=CLOCKS, default="wall", help="cpu is for one thread on a busy machine"
    )
    parser.add_argument(
        "--columns",
        nargs="+",
        choices=COLUMNS,
        default=DEFAULT,
        help=f"beside PyTorch (default {', '.join(DEFAULT)})",
    )
    parser.add_argument("--only", default="", help="networks whose name contains it")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    check_clock(parser, options)
    settle(options.threads)
    torch.set_num_threads(options.threads)
    cconv1d.set_num_threads(options.threads)
    versions = {"torch": torch.__version__, "cconv1d": cconv1d.__version__}
    if RUNTIME in options.columns:
        versions[RUNTIME] = runtime_call(nn.Identity(), torch.zeros(1), 1)[1]
    run: dict[str, Any] = {
        "networks": [],
        "columns": list(options.columns),
        "threads": options.threads,
        "rounds": options.rounds,
        "clock": options.clock,
        "machine": machine(),
        "config": cconv1d.show_config("dicts"),
        "versions": versions,
        "date": str(date.today()),
        "command": command("networks.py", sys.argv[1:]),
    }
    for network in NETWORKS:
        if options.only.lower() in network.name.lower():
            row = measured(network, options)
            run["networks"].append(row)
            cells = [
                f"{kind} "
                + ", ".join(f"{name} {one['ratio']:.2f}" for name, one in row[kind].items())
                for kind in KINDS
            ]
            print(f"{network.name:22} {row['convolutions']:4.0%}  {';  '.join(cells)}", flush=True)
    if run["networks"]:
        print(network_tables(run))
    if options.json:
        save(run, "networks", options.json)


if __name__ == "__main__":
    main()
