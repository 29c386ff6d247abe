"""What it costs to convolve a signal piece by piece, and what others take for the same.

    python benchmarks/streaming.py [--rounds N] [--clock cpu] [--only WORD] [--json FILE]

Six tables, on one thread, in microseconds, with what others take over what we do:

- a decode step: one position of a depthwise causal layer (Mamba's), with the state channels first
  or last, beside PyTorch, which joins the state and the position, numpy.einsum, and ONNX Runtime's
  operator for it, CausalConvWithState, by a session with bound arrays;
- chunks through the layers of a codec, of a WaveNet and of a voice detector, beside PyTorch with a
  joined buffer, ONNX Runtime's operator where the layer is depthwise and its stride and dilation
  are 1, and our own call on the whole signal, as time for as many samples;
- the same chunks by functions, `conv1d_step` and `conv1d_step_backward`, beside PyTorch with a
  joined buffer, which differentiates by autograd, and our own calls on the joined row;
- a push of a few samples through small layers, beside `conv1d` on as many: what the bookkeeping
  takes;
- a hop of one channel through a long kernel, by transforms and directly, beside
  scipy.signal.oaconvolve on the chunk and the samples before it.

Without PyTorch, SciPy or ONNX Runtime their columns stay empty. Results are compared first: a row
is timed only if they agree.
"""

from __future__ import annotations

import argparse
import sys
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from compare import CLOCKS, command, save
from measure import Call, interleave, machine, settle

import cconv1d
from cconv1d import (
    Stream,
    causal_conv1d_update,
    conv1d,
    conv1d_backward,
    conv1d_step,
    conv1d_step_backward,
)

torch: ModuleType | None
try:
    import torch
except ModuleNotFoundError:
    torch = None
scipy: ModuleType | None
try:
    import scipy.signal
except ModuleNotFoundError:
    scipy = None
onnxruntime: ModuleType | None
try:
    import onnx  # with which its models are made
    import onnxruntime
except ModuleNotFoundError:
    onnxruntime = None

RNG = np.random.default_rng(0)
CHUNKS = (16, 64, 320, 1024)
#: The whole signal is so many chunks; its time is given for one of them.
WHOLE = 30

#: Columns that are no peers: ours in other ways, and what does more than the rest of its row.
OURS, WITH_MORE = ("channels first", "push"), ("with SiLU", "the same, SiLU")


class Layer(NamedTuple):
    name: str
    channels: int
    outs: int
    taps: int
    stride: int = 1
    dilation: int = 1
    groups: int = 1

    @property
    def options(self) -> dict[str, int]:
        return {"stride": self.stride, "dilation": self.dilation, "groups": self.groups}

    @property
    def history(self) -> int:
        return self.dilation * (self.taps - 1)

    @property
    def is_plain_depthwise(self) -> bool:
        return self.groups == self.outs == self.channels > 1 == self.stride == self.dilation


DECODE = [(channels, batch) for channels in (1536, 2048) for batch in (1, 16, 64)]
LAYERS = [
    Layer("EnCodec stem", 1, 32, 7),
    Layer("EnCodec down 2", 32, 64, 4, 2),
    Layer("EnCodec down 4", 64, 128, 8, 4),
    Layer("EnCodec down 5", 128, 256, 10, 5),
    Layer("EnCodec down 8", 256, 512, 16, 8),
    *(Layer(f"WaveNet dilation {2**i}", 64, 128, 2, 1, 2**i) for i in (0, 3, 6, 9)),
    Layer("Silero 1", 129, 128, 3),
    Layer("Silero 2", 128, 64, 3, 2),
    Layer("Mamba", 1536, 1536, 4, groups=1536),
]
SMALL = [
    Layer("8 to 8 channels", 8, 8, 3),
    Layer("1 to 8 channels", 1, 8, 9),
    Layer("16 channels, depthwise", 16, 16, 4, groups=16),
]

#: Taps, a hop, samples of a push.
LONG = [
    (1024, 128, 128),
    *((4096, hop, hop) for hop in (64, 128, 256, 512)),
    (4096, 128, 4096),
    (16384, 128, 128),
]


def normal(*shape: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return RNG.standard_normal(shape).astype(np.float32)


def onnx_call(
    history: np.ndarray[Any, Any],
    x: np.ndarray[Any, Any],
    w: np.ndarray[Any, Any],
    b: np.ndarray[Any, Any],
    activation: str,
    expected: np.ndarray[Any, Any],
) -> Call:
    """A chunk by ONNX Runtime's operator: the state that one call returns is the next one's."""
    shapes = {"x": x.shape, "y": x.shape, "past": history.shape, "present": history.shape}
    values = {
        name: onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in shapes.items()
    }
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node(
                "CausalConvWithState",
                ["x", "w", "b", "past"],
                ["y", "present"],
                domain="com.microsoft",
                activation=activation,
            )
        ],
        "step",
        [values["x"], values["past"]],
        [values["y"], values["present"]],
        [onnx.numpy_helper.from_array(a, name) for name, a in (("w", w[:, np.newaxis]), ("b", b))],
    )
    opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("com.microsoft", 1)]
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    states, y = (history.copy(), np.empty_like(history)), np.empty_like(x)
    bindings = []
    for past, present in (states, states[::-1]):
        binding = session.io_binding()
        for name, array in (("x", x), ("past", past)):
            binding.bind_input(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
        for name, array in (("y", y), ("present", present)):
            binding.bind_output(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
        bindings.append((binding, x, present))  # a binding keeps addresses, and no arrays
    turn = 0

    def by_onnx() -> object:
        nonlocal turn
        session.run_with_iobinding(bindings[turn][0])
        turn = 1 - turn
        return y

    np.testing.assert_allclose(by_onnx(), expected, 1e-4, 1e-4)
    joined = np.concatenate((history, x), axis=2)
    np.testing.assert_array_equal(states[1], joined[..., -history.shape[2] :])
    return by_onnx


def decode_calls(channels: int, batch: int) -> dict[str, Call]:
    x, w, b = normal(batch, channels), normal(channels, 4), normal(channels)
    first = normal(batch, channels, 4)
    last = np.ascontiguousarray(first.swapaxes(1, 2)).swapaxes(1, 2)
    window = np.concatenate((first[..., 1:], x[..., np.newaxis]), axis=2)
    expected = np.einsum("bdw,dw->bd", window, w) + b
    for state in (first.copy(), last.copy(order="K")):
        np.testing.assert_allclose(causal_conv1d_update(x, state, w, b), expected, 1e-4, 1e-4)
    joined = window.copy()

    def by_einsum() -> object:
        joined[..., :-1] = joined[..., 1:]
        joined[..., -1] = x
        return np.einsum("bdw,dw->bd", joined, w) + b

    calls: dict[str, Call] = {
        "channels first": lambda: causal_conv1d_update(x, first, w, b),
        "channels last": lambda: causal_conv1d_update(x, last, w, b),
        "with SiLU": lambda: causal_conv1d_update(x, last, w, b, "silu"),
        "einsum": by_einsum,
    }
    if torch is not None:
        tx, tw, tb = (torch.from_numpy(a) for a in (x, w[:, np.newaxis], b))
        state = torch.from_numpy(first.copy())

        def by_torch() -> object:
            row = torch.cat((state[..., 1:], tx[..., None]), dim=2)
            state.copy_(row)
            return torch.nn.functional.conv1d(row, tw, tb, groups=channels)

        calls["torch"] = by_torch
    if onnxruntime is not None:
        y = expected[..., np.newaxis]
        known = np.ascontiguousarray(window[..., :-1]), x[..., np.newaxis], w, b
        calls["onnxruntime"] = onnx_call(*known, "none", y)
        calls["the same, SiLU"] = onnx_call(*known, "silu", y / (1 + np.exp(-y)))
    return calls


def chunk_calls(layer: Layer, chunk: int) -> dict[str, Call]:
    """Of a chunk, but for `whole`, which is of all of them."""
    x = normal(1, layer.channels, chunk * WHOLE)
    w, b = normal(layer.outs, layer.channels // layer.groups, layer.taps), normal(layer.outs)
    expected = conv1d(x, w, b, padding="causal", **layer.options)
    stream = Stream(w, b, batch=1, **layer.options)
    found = [stream.push(x[..., i : i + chunk]) for i in range(0, x.shape[2], chunk)]
    if np.concatenate(found, axis=2).tobytes() != expected.tobytes():
        raise AssertionError(f"{layer.name}: a stream has other bits than one call")
    part = np.ascontiguousarray(x[..., :chunk])
    steady = chunk % layer.stride == 0
    out = np.empty_like(stream.push(part)) if steady else None
    whole = np.empty_like(expected)
    calls: dict[str, Call] = {
        "stream": lambda: stream.push(part, out),
        "whole": lambda: conv1d(x, w, b, padding="causal", out=whole, **layer.options),
    }
    if torch is not None:
        tw, tb, tx = (torch.from_numpy(a) for a in (w, b, part))
        held = [torch.zeros(1, layer.channels, layer.history)]

        def by_torch() -> object:
            row = torch.cat((held[0], tx), dim=2)
            y = torch.nn.functional.conv1d(
                row, tw, tb, layer.stride, 0, layer.dilation, layer.groups
            )
            held[0] = row[..., y.shape[2] * layer.stride :]
            return y

        calls["torch"] = by_torch
    if onnxruntime is not None and layer.is_plain_depthwise:
        history = np.zeros((1, layer.channels, layer.history), np.float32)
        calls["onnxruntime"] = onnx_call(history, part, w[:, 0], b, "none", expected[..., :chunk])
    return calls


def step_calls(layer: Layer, chunk: int) -> tuple[dict[str, Call], dict[str, Call]]:
    """A chunk in the middle of a signal, and its gradients with that of the next history."""
    x, history = normal(1, layer.channels, chunk), normal(1, layer.channels, layer.history)
    w, b = normal(layer.outs, layer.channels // layer.groups, layer.taps), normal(layer.outs)
    row = np.concatenate((history, x), axis=2)
    y, after = conv1d_step(x, history, w, b, **layer.options)
    dy, dafter = normal(*y.shape), normal(*after.shape)
    grads = conv1d_step_backward(dy, dafter, x, history, w, **layer.options)

    def step() -> Any:
        return conv1d_step(x, history, w, b, **layer.options)

    def step_and_back() -> Any:
        step()
        return conv1d_step_backward(dy, dafter, x, history, w, **layer.options)

    def joined() -> Any:
        return conv1d(row, w, b, **layer.options)

    def joined_and_back() -> Any:
        joined()
        return conv1d_backward(dy, row, w, **layer.options)

    calls: dict[str, Call] = {"conv1d_step": step, "conv1d": joined}
    both: dict[str, Call] = {"conv1d_step and back": step_and_back, "conv1d": joined_and_back}
    if torch is not None:
        tensors = [torch.from_numpy(a) for a in (x, history, w, b)]
        leaves = [a.clone().requires_grad_(True) for a in tensors]
        tdy, tdafter = torch.from_numpy(dy), torch.from_numpy(dafter)

        def by_torch(tx: Any, held: Any, tw: Any, tb: Any) -> Any:
            trow = torch.cat((held, tx), dim=2)
            ty = torch.nn.functional.conv1d(
                trow, tw, tb, layer.stride, 0, layer.dilation, layer.groups
            )
            return ty, trow[..., ty.shape[2] * layer.stride :]

        def both_by_torch() -> Any:
            with torch.enable_grad():
                return torch.autograd.grad(by_torch(*leaves), leaves, (tdy, tdafter))

        for ours, theirs in zip(grads, both_by_torch(), strict=True):
            np.testing.assert_allclose(ours, theirs.numpy(), 1e-3, 1e-3)
        calls["torch"] = lambda: by_torch(*tensors)
        both["torch"] = both_by_torch
    return calls, both


def small_calls(layer: Layer, chunk: int) -> dict[str, Call]:
    """The call has as many outputs as the push, of a row that is there."""
    x, row = normal(1, layer.channels, chunk), normal(1, layer.channels, chunk + layer.history)
    w, b = normal(layer.outs, layer.channels // layer.groups, layer.taps), normal(layer.outs)
    out = np.empty((1, layer.outs, chunk), np.float32)
    stream = Stream(w, b, batch=1, **layer.options)
    return {
        "push": lambda: stream.push(x),
        "push, out=": lambda: stream.push(x, out),
        "conv1d": lambda: conv1d(row, w, b, **layer.options),
    }


def hop_calls(taps: int, hop: int, chunk: int) -> dict[str, Call]:
    """Both streams are filled before, so that no push meets zeros."""
    x, w = normal(chunk), normal(taps)
    streams = Stream(w, method="fft", hop=hop), Stream(w)
    pushes = 2 * taps // chunk + 3
    for _ in range(pushes):
        last = [stream.push(x) for stream in streams]
    np.testing.assert_allclose(*last, rtol=0, atol=1e-6 * taps)
    out = np.empty_like(x)
    calls: dict[str, Call] = {
        "fft": lambda: streams[0].push(x, out),
        "direct": lambda: streams[1].push(x, out),
    }
    if scipy is not None:
        row, kernel = np.tile(x, pushes)[-(taps - 1 + chunk) :], np.ascontiguousarray(w[::-1])

        def by_scipy() -> object:
            row[: taps - 1] = row[chunk:].copy()
            row[taps - 1 :] = x
            return scipy.signal.oaconvolve(row, kernel, mode="valid")

        np.testing.assert_allclose(by_scipy(), last[0], rtol=0, atol=1e-6 * taps)
        calls["oaconvolve"] = by_scipy
    return calls


def table(title: str, rows: list[dict[str, Any]]) -> None:
    found = [row["us"] | {f"{name} / ours": r for name, r in row["ratios"].items()} for row in rows]
    columns = list(dict.fromkeys(name for cells in found for name in cells))
    width = max(len(row["row"]) for row in rows)
    widths = {name: max(16, len(name) + 2) for name in columns}
    print(f"\n{title} (us)\n{'':{width}}" + "".join(f"{c:>{widths[c]}}" for c in columns))
    for row, cells in zip(rows, found, strict=True):
        texts = (f"{cells[c]:.2f}" if c in cells else "" for c in columns)
        line = "".join(f"{t:>{widths[c]}}" for t, c in zip(texts, columns, strict=True))
        print(f"{row['row']:{width}}{line}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Time streams and decode steps.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--only", default="", help="rows whose name contains this")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    settle(1)
    if torch is not None:
        torch.set_num_threads(1)
        torch.set_grad_enabled(False)

    pushes: list[dict[str, Any]] = []

    def measure(title: str, name: str, calls: dict[str, Call], ours: str) -> None:
        """One row, of which one column is what the others are compared with."""
        seconds = interleave(calls, options.rounds, clock=CLOCKS[options.clock])
        if "whole" in seconds:
            seconds["whole"] = seconds["whole"] / WHOLE
        alike = seconds.keys() - {ours, *OURS, *WITH_MORE}
        pushes.append(
            {
                "table": title,
                "row": name,
                "ours": ours,
                "us": {name: float(np.median(times)) * 1e6 for name, times in seconds.items()},
                "ratios": {
                    name: float(np.median(seconds[name] / seconds[ours]))
                    for name in seconds
                    if name in alike
                },
            }
        )

    for channels, batch in DECODE:
        name = f"{batch} x {channels}"
        if options.only in name:
            calls = decode_calls(channels, batch)
            measure("A decode step, depthwise, 4 taps", name, calls, "channels last")
    for layer in LAYERS:
        for chunk in CHUNKS:
            name = f"{layer.name}, {chunk}"
            if options.only in name:
                measure("A chunk", name, chunk_calls(layer, chunk), "stream")
    for layer in LAYERS:
        for chunk in CHUNKS:
            name = f"{layer.name}, {chunk}"
            if options.only in name:
                step, both = step_calls(layer, chunk)
                measure("A chunk by functions", name, step, "conv1d_step")
                title = "A chunk by functions, and its gradients"
                measure(title, name, both, "conv1d_step and back")
    for layer in SMALL:
        for chunk in (1, 4, 16, 64):
            name = f"{layer.name}, {chunk}"
            if options.only in name:
                title = "A push and a call of a few samples"
                measure(title, name, small_calls(layer, chunk), "push, out=")
    for taps, hop, chunk in LONG:
        name = f"{taps} taps, hop {hop}, {chunk}"
        if options.only in name:
            measure("A push through a long kernel", name, hop_calls(taps, hop, chunk), "fft")

    versions = {"cconv1d": cconv1d.__version__, "numpy": np.__version__}
    peers = {"torch": torch, "onnxruntime": onnxruntime, "scipy": scipy}
    versions |= {name: each.__version__ for name, each in peers.items() if each is not None}
    config = cconv1d.show_config("dicts")
    print(machine(), config["instruction_set"] or "", versions)
    for title in dict.fromkeys(row["table"] for row in pushes):
        table(title, [row for row in pushes if row["table"] == title])
    if options.json:
        run = {
            "command": command("streaming.py", sys.argv[1:]),
            "date": date.today().isoformat(),
            "machine": machine(),
            "rounds": options.rounds,
            "clock": options.clock,
            "versions": versions,
            "config": config,
            "pushes": pushes,
        }
        save(run, "pushes", options.json)


if __name__ == "__main__":
    main()
