"""Time dense layers of many taps and channels by each method, beside the peers.

Where each method wins is a matter of taps and channels; this tells it as the rate of a direct sum
that would take as long.  ``python benchmarks/methods.py --help`` lists the options.
"""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from compare import CLOCKS, agreeing, check_clock, command, progress, save, write
from measure import interleave, machine, settle
from numpy.lib.stride_tricks import sliding_window_view
from peers import FAST, METHODS, PEERS, Call, Cconv1d, Method, Peer
from report import METHODS_SHOWN, draw_methods, fastest_of, methods_title
from workloads import OPS, Array, Case, Row, cases

import cconv1d

TAPS = (3, 5, 7, 9, 15, 31, 63, 127)
CHANNELS = (8, 16, 32, 64, 128)

#: Samples of the signal: long enough that transforms of weights are a small part of a call.
LENGTH = 8192


class ByTransforms(Peer):
    """What a user writes with transforms: blocks that overlap, forward only.

    A block is the power of two that is four times the taps or more, and at least 64. Spectra of
    blocks and weights are multiplied as matrices, one for each frequency.
    """

    dtypes = ("float32",)

    def prepare(self, case: Case) -> Call | None:
        row = case.row
        if case.op != "forward" or row.groups * row.stride * row.dilation > 1:
            return None
        block = max(64, 1 << (4 * row.kernel_size - 1).bit_length())
        hop = block - row.kernel_size + 1
        blocks = -(-row.output_length // hop)
        behind = (blocks - 1) * hop + block - row.L - row.padding
        return self.correlation(case, block, hop, (row.padding, behind))

    def correlation(self, case: Case, block: int, hop: int, pads: tuple[int, int]) -> Call:
        raise NotImplementedError


class TorchTransforms(ByTransforms):
    name = "torch.fft"

    def __init__(self, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self.torch, self.version = torch, torch.__version__

    def correlation(self, case: Case, block: int, hop: int, pads: tuple[int, int]) -> Call:
        torch, length = self.torch, case.row.output_length
        x, w = torch.from_numpy(case.x), torch.from_numpy(case.w)

        @torch.inference_mode()
        def run() -> Any:
            blocks = torch.nn.functional.pad(x, pads).unfold(2, block, hop)
            samples = torch.fft.rfft(blocks).permute(3, 0, 1, 2)
            weights = torch.fft.rfft(w, block).conj().permute(2, 0, 1).unsqueeze(1)
            y = torch.fft.irfft((weights @ samples).permute(1, 2, 3, 0), block)
            return y[..., :hop].flatten(2)[..., :length]

        return run


class SciPyTransforms(ByTransforms):
    name = "scipy.fft"

    def __init__(self, threads: int) -> None:
        import scipy.fft

        self.fft, self.threads, self.version = scipy.fft, threads, scipy.__version__

    def correlation(self, case: Case, block: int, hop: int, pads: tuple[int, int]) -> Call:
        fft, threads, length = self.fft, self.threads, case.row.output_length
        x, w = case.x, case.w

        def run() -> Array:
            padded = np.pad(x, [(0, 0), (0, 0), pads])
            blocks = sliding_window_view(padded, block, 2)[:, :, ::hop]
            samples = fft.rfft(blocks, workers=threads).transpose(3, 0, 1, 2)
            weights = fft.rfft(w, block, workers=threads).conj().transpose(2, 0, 1)[:, None]
            y = fft.irfft((weights @ samples).transpose(1, 2, 3, 0), block, workers=threads)
            return y[..., :hop].reshape(*y.shape[:2], -1)[..., :length]

        return run


#: Those who are compared, in the order of METHODS_SHOWN.
COMPARED: dict[str, Callable[[int], Peer]] = {
    **{
        method: lambda threads, method=method: Method(threads, method)
        for method in (*METHODS, FAST)
        if method != "auto"  # whose bits and time are those of the one that it takes
    },
    **{name: PEERS[name] for name in ("torch", "onnxruntime", "openvino")},
    TorchTransforms.name: TorchTransforms,
    SciPyTransforms.name: SciPyTransforms,
}
assert tuple(COMPARED) == METHODS_SHOWN


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--taps", nargs="+", type=int, default=TAPS)
    parser.add_argument(
        "--channels", nargs="+", type=int, default=CHANNELS, help="as many in as out"
    )
    parser.add_argument("--length", type=int, default=LENGTH, help=f"samples (default {LENGTH})")
    parser.add_argument("--ops", nargs="+", choices=OPS, default=OPS)
    parser.add_argument("--threads", type=int, default=1, help="for every competitor (default 1)")
    parser.add_argument("--rounds", type=int, default=3, help="odd, for the medians (default 3)")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="as of compare.py")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was measured")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="draw a picture")
    options = parser.parse_args()
    check_clock(parser, options)
    return options


def compared(threads: int) -> Iterator[Peer]:
    for name, make in COMPARED.items():
        try:
            yield make(threads)
        except ImportError as error:
            print(f"{name}: not measured ({error})", file=sys.stderr)


def layer(taps: int, channels: int, length: int) -> Row:
    return Row(f"{channels}x{taps}", 1, channels, length, channels, taps, 1, 1, 1, taps // 2)


def measure(case: Case, peers: Sequence[Peer], rounds: int, clock: str) -> dict[str, Any]:
    """The rate of each, of the multiply-adds of a direct sum."""
    calls, disagreeing = agreeing(case, peers)
    seconds = interleave(calls, rounds, clock=CLOCKS[clock])
    row = case.row
    return {
        "taps": row.kernel_size,
        "channels": row.C,
        "op": case.op,
        "auto": cconv1d.choose_method(
            case.x.shape, case.w.shape, case.dtype, padding=row.padding
        ).method,
        "gflops": {
            name: float(f"{np.median(row.flops / times) / 1e9:.4g}")
            for name, times in seconds.items()
        },
        "disagreeing": disagreeing,
    }


def line(found: dict[str, Any]) -> str:
    rates = "".join(
        f"{found['gflops'][name]:>12.1f}" if name in found["gflops"] else f"{'-':>12}"
        for name in METHODS_SHOWN
    )
    wrong = f" WRONG: {' '.join(found['disagreeing'])}" if found["disagreeing"] else ""
    return (
        f"{found['channels']:>8}{found['taps']:>6} {found['op']:<8}{rates}  "
        f"{fastest_of(found)}, auto {found['auto']}{wrong}"
    )


def main() -> int:
    options = arguments()
    settle(options.threads)
    peers = list(compared(options.threads))
    run: dict[str, Any] = {
        "command": command("methods.py", sys.argv[1:]),
        "date": date.today().isoformat(),
        "machine": machine(),
        "dtype": "float32",
        "length": options.length,
        "threads": options.threads,
        "rounds": options.rounds,
        "clock": options.clock,
        "versions": {"cconv1d": cconv1d.__version__}
        | {peer.name: peer.version for peer in peers if not isinstance(peer, Cconv1d)}
        | {"python": platform.python_version()},
        "config": cconv1d.show_config("dicts"),
        "rates": [],
    }
    print(
        f"{methods_title(run)}; {run['machine']} {run['config']['instruction_set'] or ''}\n"
        f"Gflop/s of a direct sum that would take as long\n\n"
        f"{'channels':>8}{'taps':>6} {'':<8}" + "".join(f"{name:>12}" for name in METHODS_SHOWN)
    )
    rows = [layer(taps, c, options.length) for c in options.channels for taps in options.taps]
    for case in progress(cases(rows, options.ops), total=len(rows) * len(options.ops)):
        run["rates"].append(measure(case, peers, options.rounds, options.clock))
        write(line(run["rates"][-1]))
    if options.json:
        save(run, "rates", options.json)
    if options.plots:
        draw_methods(run, options.plots)
    return int(any(each["disagreeing"] for each in run["rates"]))


if __name__ == "__main__":
    sys.exit(main())
