"""``python -m cconv1d bench``: the times of one layer, beside those of what else is installed.

For a look, or to be pasted into a report. What is published is measured by the scripts of the
repository, with more peers and more care.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._functional import conv1d, conv1d_backward_input, conv1d_backward_weight
from ._geometry import Geometry, resolve
from ._threads import get_num_threads, num_threads

Calls = tuple[Callable[[], object], ...]  # of the maps, in their order

MAPS = ("forward", "input gradient", "weight gradient")
SECONDS = 0.5  # for each map
MOST_IN_A_TURN = 100


class Layer(NamedTuple):
    """Random numbers of a layer, and its geometry; `pads` are what PyTorch and JAX call so."""

    x: NDArray[Any]
    w: NDArray[Any]
    y: NDArray[Any]
    g: Geometry
    groups: int

    @property
    def pads(self) -> tuple[int, int]:
        g, span = self.g, self.g.dilation * (self.w.shape[-1] - 1) + 1
        reach = (g.output_length - 1) * g.stride + span
        return g.pad_left, max(reach - g.pad_left - self.x.shape[-1], 0)


def calls_of_torch(layer: Layer) -> Calls:
    """PyTorch pads both sides alike; of other padding it is given a copy, made before."""
    torch: Any = import_module("torch")
    torch.set_num_threads(get_num_threads())
    x, w, y = (torch.from_numpy(array) for array in layer[:3])
    g, (left, right) = layer.g, layer.pads
    if left != right:
        x, left = torch.nn.functional.pad(x, (left, right)), 0
    options = [g.stride], [left], [g.dilation], False, [0], layer.groups
    forward, backward = torch.convolution, torch.ops.aten.convolution_backward
    x, y = (array.reshape(-1, *array.shape[-2:]) for array in (x, y))
    return (
        lambda: forward(x, w, None, *options),
        lambda: backward(y, x, w, None, *options, [True, False, False]),
        lambda: backward(y, x, w, None, *options, [False, True, False]),
    )


def calls_of_jax(layer: Layer) -> Calls:
    """As JAX compiles them, until the numbers are there; on threads as many as it takes."""
    jax: Any = import_module("jax")
    g = layer.g

    def forward(x: Any, w: Any) -> Any:
        return jax.lax.conv_general_dilated(
            *(x, w, (g.stride,), [layer.pads]),
            rhs_dilation=(g.dilation,),
            feature_group_count=layer.groups,
        )

    x, w, y = (jax.numpy.asarray(array) for array in layer[:3])
    x, y = (array.reshape(-1, *array.shape[-2:]) for array in (x, y))
    run = jax.jit(forward)
    by_x = jax.jit(lambda x, w, y: jax.vjp(lambda x: forward(x, w), x)[1](y))
    by_w = jax.jit(lambda x, w, y: jax.vjp(lambda w: forward(x, w), w)[1](y))
    return (
        lambda: run(x, w).block_until_ready(),
        lambda: by_x(x, w, y)[0].block_until_ready(),
        lambda: by_w(x, w, y)[0].block_until_ready(),
    )


#: By the name of their package.
PEERS = {"torch": calls_of_torch, "jax": calls_of_jax}


def peers(layer: Layer) -> Iterator[tuple[str, Calls]]:
    for name, calls in PEERS.items():
        if find_spec(name) is None or (name == "jax" and layer.x.dtype == np.float64):
            continue  # JAX has float64 only if all of it is switched
        yield name, calls(layer)


def times_of(calls: list[Callable[[], object]]) -> list[float]:
    """The least seconds of each: what others do on the machine only adds to a call.

    They take turns of several calls, and the first is not timed: for a while after a call its
    threads wait for the next one, on the processors that the next caller's threads need.
    """
    found: list[list[float]] = [[] for _ in calls]
    end = time.perf_counter() + SECONDS * len(calls)
    while not found[0] or time.perf_counter() < end:
        for call, times in zip(calls, found, strict=True):
            turn = time.perf_counter() + SECONDS / 5
            call()
            for _ in range(MOST_IN_A_TURN):
                start = time.perf_counter()
                call()
                times.append(time.perf_counter() - start)
                if time.perf_counter() > turn:
                    break
    return [min(times) for times in found]


def bench(
    input_shape: tuple[int, ...],
    weight_shape: tuple[int, ...],
    dtype: str,
    threads: int | None,
    method: str,
    options: dict[str, Any],
) -> str:
    """A small table: microseconds, and what others take over what we take."""
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(shape).astype(dtype) for shape in (input_shape, weight_shape))
    length, taps = input_shape[-1], weight_shape[-1]
    with num_threads(get_num_threads() if threads is None else threads):
        ours = {**options, "method": method}
        y = conv1d(x, w, **ours)
        g = resolve(
            "bench", length, taps, options["stride"], options["padding"], options["dilation"]
        )
        layer = Layer(x, w, y, g, options["groups"])
        calls = {
            "cconv1d": (
                lambda: conv1d(x, w, **ours),
                lambda: conv1d_backward_input(y, w, length, **ours),
                lambda: conv1d_backward_weight(y, x, taps, **ours),
            ),
            **dict(peers(layer)),
        }
        products = y.size * weight_shape[1] * taps
        lines = [
            f"input {input_shape}, weight {weight_shape}, output {y.shape}, {dtype}, {method}, "
            f"threads {get_num_threads()}",
            f"{'':16}{'cconv1d':>10}{'Gflop/s':>9}"
            + "".join(f"{name:>10}{'ratio':>7}" for name in list(calls)[1:]),
        ]
        for number, name in enumerate(MAPS):
            own, *others = times_of([each[number] for each in calls.values()])
            line = f"{name:15} {own * 1e6:7.1f} us {2e-9 * products / own:8.1f}"
            lines.append(
                line + "".join(f" {peer * 1e6:6.1f} us {peer / own:6.2f}" for peer in others)
            )
    return "\n".join(lines)
