"""What a call, an import, a wheel and a large convolution cost besides arithmetic.

``python benchmarks/overhead.py --help`` lists the options; README.md says how it is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import date
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from measure import SAMPLES, Call, interleave, machine, pin

import cconv1d

MIB = 1 << 20

#: Most milliseconds that the import may take where NumPy is loaded.
IMPORT_LIMIT = 10.0

#: Channels, samples and taps of layers for which im2col or a padded copy is expensive.
LAYERS: dict[tuple[int, int, int], dict[str, Any]] = {
    (15, 60_000, 51): {"padding": 200, "dilation": 8},
    (16, 1 << 20, 5): {"padding": 2, "stride": 2, "padding_mode": "reflect"},
}

SCRATCH_CALLS = {
    "forward": "cconv1d.conv1d(x, w, **geometry)",
    "dx": "cconv1d.conv1d_backward_input(dy, w, x.shape[2], **geometry)",
    "dw": "cconv1d.conv1d_backward_weight(dy, x, w.shape[2], **geometry)",
}

#: Run in a process of its own: seconds that one more import takes where NumPy is loaded.
IMPORT = """
import time
import numpy
start = time.perf_counter()
import {module}
print(time.perf_counter() - start)
"""

#: Run in a process of its own: by how many bytes the most memory ever used grows in one call.
#: First it is made the memory in use now, so that a call cannot hide below an earlier peak.
SCRATCH = """
import resource, sys
import numpy as np
import cconv1d

def peak():
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used * (1 if sys.platform == "darwin" else 1024)

x = np.ones((1, {channels}, {length}), np.float32)
w = np.ones(({channels}, {channels}, {taps}), np.float32)
geometry = {geometry}
dy = np.ones((1, {channels}, {positions}), np.float32)
ballast = [np.ones(1 << 17)]
start = peak()
while peak() == start:
    ballast.append(np.ones(1 << 17))
start = peak()
result = {call}
print(peak() - start - result.nbytes)
"""


@dataclass(frozen=True)
class Pair:
    """Two calls whose times are compared, and how many times the second the first may take."""

    what: str
    ours: Call
    theirs: Call
    target: float | None = None


@dataclass(frozen=True)
class Measured:
    """A row of the table; a time of its own, without a ratio, is limited in milliseconds."""

    arrays: str
    what: str
    ours_us: float
    theirs_us: float | None
    ratio: float | None
    target: float | None

    @property
    def ok(self) -> bool | None:
        """Whether the value, as it is printed, is within the target."""
        if self.target is None:
            return None
        value = round(self.ours_us / 1e3, 1) if self.ratio is None else round(self.ratio, 2)
        return value <= self.target

    def __str__(self) -> str:
        if self.ratio is None:
            unit, value = " ms", f"{self.ours_us / 1e3:.1f} ms"
        else:
            unit, value = "", f"{self.ratio:.2f}"
        theirs = "" if self.theirs_us is None else f"{self.theirs_us:.3f}"
        target = "" if self.target is None else f"{self.target:.1f}{unit}"
        ok = {None: "", True: "yes", False: "NO"}[self.ok]
        line = f"{self.what:<44}{self.ours_us:>11.3f}{theirs:>11}{value:>10}{target:>9}{ok:>5}"
        return line.rstrip()


HEAD = f"{'what':<44}{'ours, µs':>11}{'theirs, µs':>11}{'ratio':>10}{'target':>9}{'ok':>5}"


def short_signal(dtype: str) -> Iterator[Pair]:
    """The lecture notes' convolution, 4 samples and 2 taps, and its gradients."""
    draw = partial(np.random.default_rng(0).standard_normal, dtype=np.dtype(dtype))
    x, w, dy = draw(4), draw(2), draw(3)
    out = np.empty(3, dtype)
    forward = partial(cconv1d.conv1d, x, w)
    dx = partial(cconv1d.conv1d_backward_input, dy, w, 4)
    dw = partial(cconv1d.conv1d_backward_weight, dy, x, 2)
    up = partial(cconv1d.conv_transpose1d, dy, w)
    valid, correlate = partial(np.convolve, x, w, "valid"), partial(np.correlate, x, w)
    full, correlate_dy = partial(np.convolve, dy, w), partial(np.correlate, x, dy)
    reusing = partial(cconv1d.conv1d, x, w, out=out)
    yield Pair("conv1d / np.convolve", forward, valid, 1.0)
    yield Pair("correlate / np.correlate", partial(cconv1d.correlate, x, w), correlate, 1.5)
    yield Pair(
        "convolve / np.convolve", partial(cconv1d.convolve, x, w), partial(np.convolve, x, w), 1.2
    )
    yield Pair("conv1d with out= / without", reusing, forward, 1.0)
    yield Pair("conv1d_backward_input / np.convolve", dx, full)
    yield Pair("conv1d_backward_weight / np.correlate", dw, correlate_dy)
    yield Pair("conv_transpose1d / np.convolve", up, full)


def small_layer() -> Iterator[Pair]:
    """1 signal of 8 channels and 64 samples, 8 kernels of 3 taps."""
    draw = partial(np.random.default_rng(0).standard_normal, dtype=np.float32)
    x, w, dy = draw((1, 8, 64)), draw((8, 8, 3)), draw((1, 8, 62))
    forward, backward = partial(cconv1d.conv1d, x, w), partial(cconv1d.conv1d_backward, dy, x, w)
    layer = cconv1d.PreparedConv1d(w)
    out = np.empty_like(dy)
    yield Pair("conv1d with out= / without", partial(cconv1d.conv1d, x, w, out=out), forward, 1.0)
    for dtype, target in (("complex64", 1.3), ("bfloat16", 1.3), ("float16", 1.1)):
        if dtype == "bfloat16":
            try:
                import ml_dtypes  # noqa: F401  (NumPy knows the word from then on)
            except ImportError:
                print("conv1d of bfloat16 / of float32: skipped, ml_dtypes is not installed")
                continue
        call = partial(cconv1d.conv1d, x.astype(dtype), w.astype(dtype))
        yield Pair(f"conv1d of {dtype} / of float32", call, forward, target)
    yield Pair("conv1d_backward, three gradients / conv1d", backward, forward, 2.2)
    yield Pair("PreparedConv1d / conv1d", partial(layer, x), forward, 1.0)
    prepared = partial(layer.backward, dy, x)
    yield Pair("PreparedConv1d.backward / conv1d_backward", prepared, backward, 1.0)
    dx = partial(cconv1d.conv1d_backward_input, dy, w, 64)
    yield Pair("conv1d_backward_input / conv1d", dx, forward)
    dw = partial(cconv1d.conv1d_backward_weight, dy, x, 3)
    yield Pair("conv1d_backward_weight / conv1d", dw, forward)
    yield Pair("conv_transpose1d / conv1d", partial(cconv1d.conv_transpose1d, x, w), forward)


#: The calls whose overhead is compared, by the arrays that they take.
PAIRS = {
    "4 samples, 2 taps, float32": partial(short_signal, "float32"),
    "4 samples, 2 taps, float64": partial(short_signal, "float64"),
    "1 × 8 × 64, 8 kernels of 3 taps": small_layer,
}


def torch_calls() -> Iterator[Pair]:
    """The calls of 4 samples and 2 taps against PyTorch's, where it is installed."""
    import torch

    torch.inference_mode().__enter__()  # for good: entering takes as long as the call
    draw = partial(np.random.default_rng(0).standard_normal, dtype=np.float32)
    x, w, dy = draw(4), draw(2), draw(3)
    tx, tw, tdy = (torch.from_numpy(array)[None, None] for array in (x, w, dy))
    backward = partial(
        torch.ops.aten.convolution_backward.default,
        *(tdy, tx, tw, None, [1], [0], [1], False, [0], 1),
    )
    forward = partial(torch.nn.functional.conv1d, tx, tw)
    yield Pair("conv1d / torch", partial(cconv1d.conv1d, x, w), forward)
    dx = partial(cconv1d.conv1d_backward_input, dy, w, 4)
    yield Pair("conv1d_backward_input / torch", dx, partial(backward, [True, False, False]))
    dw = partial(cconv1d.conv1d_backward_weight, dy, x, 2)
    yield Pair("conv1d_backward_weight / torch", dw, partial(backward, [False, True, False]))


def compare(arrays: str, pair: Pair, rounds: int) -> Measured:
    """In each round the least of a few samples of each; over the rounds, medians."""
    seconds = interleave({"ours": pair.ours, "theirs": pair.theirs}, rounds)
    ours, theirs = seconds["ours"], seconds["theirs"]
    return Measured(
        arrays,
        pair.what,
        float(np.median(ours)) * 1e6,
        float(np.median(theirs)) * 1e6,
        float(np.median(ours / theirs)),
        pair.target,
    )


def report_calls(rounds: int, peers: bool) -> list[Measured]:
    tables = dict(PAIRS)
    if peers and find_spec("torch") is not None:
        tables["4 samples, 2 taps, float32, against PyTorch"] = torch_calls
    found = []
    for arrays, pairs in tables.items():
        print(f"\n{arrays}")
        for pair in pairs():
            found.append(compare(arrays, pair, rounds))
            print(found[-1], flush=True)
    return found


def in_child(program: str, environment: Mapping[str, str] | None = None) -> float:
    """What a fresh Python prints; -P keeps the source tree out of its path."""
    command = [sys.executable, "-P", "-c", program]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout)


def report_imports(rounds: int, peers: bool) -> list[Measured]:
    """Processes that import one more module beside NumPy, in turns; medians of least ones."""
    modules = ["cconv1d"]
    if peers:
        modules += [name for name in ("scipy.signal", "torch") if find_spec(name.partition(".")[0])]
    programs = {name: IMPORT.format(module=name) for name in modules}
    # Bytecode, which an installed package has, may not be there yet, nor be wanted in the tree.
    with TemporaryDirectory() as bytecode:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": bytecode}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        for program in programs.values():
            in_child(program, environment)  # once untimed, to write it
        seconds = [
            {name: in_child(program, environment) for name, program in programs.items()}
            for _ in range(rounds)
        ]
    found = []
    for name in modules:
        least = [
            min(each[name] for each in seconds[first : first + SAMPLES])
            for first in range(0, rounds, SAMPLES)
        ]
        took = float(np.median(least)) * 1e6
        limit = IMPORT_LIMIT if name == "cconv1d" else None
        found.append(Measured("", f"import {name} beyond NumPy's own", took, None, None, limit))
        print(found[-1], flush=True)
    return found


def report_scratch() -> None:
    print("\nmemory besides operands and result, float32")
    for (channels, length, taps), geometry in LAYERS.items():
        options = ", ".join(f"{name} {value}" for name, value in geometry.items())
        print(f"{channels} channels, {length} samples, {taps} taps, {options}")
        steps = {name: value for name, value in geometry.items() if name != "padding_mode"}
        positions = cconv1d.conv1d_output_length(length, taps, **steps)
        for op, call in SCRATCH_CALLS.items():
            program = SCRATCH.format(
                channels=channels,
                length=length,
                taps=taps,
                positions=positions,
                geometry=geometry,
                call=call,
            )
            print(f"{op:<17}{in_child(program) / MIB:>7.1f} MiB")
        im2col = channels * taps * positions * 4
        print(f"im2col{im2col / MIB:>18.1f} MiB")


def report_wheel(path: Path) -> None:
    with zipfile.ZipFile(path) as wheel:
        installed = sum(entry.file_size for entry in wheel.infolist())
    print(f"\nwheel {path.stat().st_size / MIB:.2f} MiB, installed {installed / MIB:.2f} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=21, help="odd, for medians (default 21)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the table there, too")
    parser.add_argument(
        "--peers", action="store_true", help="compare with PyTorch and SciPy where they are, too"
    )
    parser.add_argument("--memory", action="store_true", help="report the memory of large layers")
    parser.add_argument("--wheel", type=Path, help="a wheel of cconv1d whose size to report")
    options = parser.parse_args()
    pin(threads=1)
    cconv1d.set_num_threads(1)
    config = cconv1d.show_config("dicts")
    print(
        f"cconv1d {config['version']} {config['backend']} {config['instruction_set'] or ''}, "
        f"NumPy {config['numpy']}, {machine()}, one thread; medians of {options.rounds} rounds, "
        "each the least of a few samples\n\n" + HEAD
    )
    # The imports and the memory first: a process that has loaded a framework starts others slower.
    found = report_imports(options.rounds, options.peers)
    found += report_calls(options.rounds, options.peers)
    missed = sum(each.ok is False for each in found)
    print(f"\nmissed: {missed} of {sum(each.ok is not None for each in found)}")
    if options.memory:
        report_scratch()
    if options.wheel:
        report_wheel(options.wheel)
    if options.json:
        run = {
            "date": date.today().isoformat(),
            "machine": machine(),
            "rounds": options.rounds,
            "config": config,
            "rows": [asdict(each) | {"ok": each.ok} for each in found],
        }
        options.json.write_text(json.dumps(run, indent=1, allow_nan=False) + "\n")


if __name__ == "__main__":
    main()
