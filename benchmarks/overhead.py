"""What a call, an import, a wheel and a large convolution cost besides arithmetic.

``python benchmarks/overhead.py --help`` lists the options; README.md says how it is measured.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from measure import interleave, pin

import cconv1d

MIB = 1 << 20

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


def calls(dtype: str) -> dict[str, dict[str, Callable[[], object]]]:
    """The lecture notes' convolution, 4 samples and 2 taps, and its gradients."""
    draw = partial(np.random.default_rng(0).standard_normal, dtype=dtype)
    x, w, dy = draw(4), draw(2), draw(3)
    table: dict[str, dict[str, Callable[[], object]]] = {
        "forward": {
            "cconv1d": partial(cconv1d.conv1d, x, w),
            "np.convolve": partial(np.convolve, x, w, "valid"),
            "np.correlate": partial(np.correlate, x, w),
        },
        "dx": {
            "cconv1d": partial(cconv1d.conv1d_backward_input, dy, w, 4),
            "np.convolve": partial(np.convolve, dy, w),
        },
        "dw": {
            "cconv1d": partial(cconv1d.conv1d_backward_weight, dy, x, 2),
            "np.correlate": partial(np.correlate, x, dy),
        },
    }
    if find_spec("torch") is not None:
        import torch

        torch.inference_mode().__enter__()  # for good: entering takes as long as the call
        tx, tw, tdy = (torch.from_numpy(array)[None, None] for array in (x, w, dy))
        backward = partial(
            torch.ops.aten.convolution_backward.default,
            *(tdy, tx, tw, None, [1], [0], [1], False, [0], 1),
        )
        table["forward"]["torch"] = partial(torch.nn.functional.conv1d, tx, tw)
        table["dx"]["torch"] = partial(backward, [True, False, False])
        table["dw"]["torch"] = partial(backward, [False, True, False])
    return table


def report_calls(rounds: int) -> None:
    print(f"\ncall on arrays of 4 samples and 2 taps, medians of {rounds} rounds")
    print(f"{'':<17}{'cconv1d':>10}   time of others, and ours / theirs")
    for dtype in ("float32", "float64"):
        for op, competitors in calls(dtype).items():
            seconds = interleave(competitors, rounds)
            ours = seconds.pop("cconv1d")
            others = "   ".join(
                f"{name} {np.median(theirs) * 1e9:.0f} ns, {np.median(ours / theirs):.2f}"
                for name, theirs in seconds.items()
            )
            print(f"{op:<8}{dtype:<9}{np.median(ours) * 1e9:>7.0f} ns   {others}")


def in_child(program: str, environment: Mapping[str, str] | None = None) -> float:
    """What a fresh Python prints; -P keeps the source tree out of its path."""
    command = [sys.executable, "-P", "-c", program]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout)


def report_imports(rounds: int) -> None:
    print(f"\nimport beyond NumPy, medians of {rounds} processes")
    modules = [
        name for name in ("cconv1d", "scipy.signal", "torch") if find_spec(name.partition(".")[0])
    ]
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
    for name in modules:
        print(f"{name:<17}{np.median([each[name] for each in seconds]) * 1e3:>7.1f} ms")


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
    parser.add_argument("--rounds", type=int, default=11, help="odd, for medians (default 11)")
    parser.add_argument("--wheel", type=Path, help="a wheel of cconv1d whose size to report")
    options = parser.parse_args()
    pin(threads=1)
    config = cconv1d.show_config("dicts")
    print(f"cconv1d {config['version']} {config['backend']}, NumPy {config['numpy']}")
    # The imports and the memory first: a process that has loaded a framework starts others slower.
    report_imports(options.rounds)
    report_scratch()
    report_calls(options.rounds)
    if options.wheel:
        report_wheel(options.wheel)


if __name__ == "__main__":
    main()
