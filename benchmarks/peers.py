"""What the benchmarks compute, and everyone who can compute it.

A peer is made once for a number of threads; that raises ImportError where it is not
installed.  Its `prepare` does whatever it can do beforehand and returns the call that is
to be timed, or None where the peer has nothing for this case.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import partial
from io import BytesIO
from pathlib import Path
from timeit import Timer
from typing import Any

import numpy as np
from numpy.typing import NDArray

import cconv1d

Array = NDArray[Any]
Call = Callable[[], Any]

OPS = ("forward", "dx", "dw")


@dataclass(frozen=True)
class Row:
    """A layer: the arguments of conv1d, under a name."""

    name: str
    N: int
    C: int
    L: int
    K: int
    kernel_size: int
    stride: int
    dilation: int
    groups: int
    padding: int

    @property
    def output_length(self) -> int:
        return cconv1d.conv1d_output_length(
            self.L, self.kernel_size, self.stride, self.padding, self.dilation
        )

    @property
    def shapes(self) -> tuple[tuple[int, int, int], ...]:
        """Of input, weight and output."""
        return (
            (self.N, self.C, self.L),
            (self.K, self.C // self.groups, self.kernel_size),
            (self.N, self.K, self.output_length),
        )

    @property
    def flops(self) -> int:
        """Of the forward map and of each gradient, taps that meet the padding included."""
        return 2 * self.N * self.K * self.output_length * self.reduction("forward")

    def reduction(self, op: str) -> int:
        """The most products that one result is the sum of."""
        return {
            "forward": self.C // self.groups * self.kernel_size,
            "dx": self.K // self.groups * -(-self.kernel_size // self.stride),
            "dw": self.N * self.output_length,
        }[op]


@dataclass(frozen=True)
class Case:
    """One operation on a row and its arrays."""

    row: Row
    op: str
    x: Array
    w: Array
    dy: Array

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.x.dtype

    @property
    def nbytes(self) -> int:
        """Of operands and result: a gradient is as large as what it is the gradient of."""
        return self.x.nbytes + self.w.nbytes + self.dy.nbytes

    @property
    def geometry(self) -> tuple[int, int, int, int]:
        return self.row.stride, self.row.padding, self.row.dilation, self.row.groups


def read_rows(globs: Sequence[str]) -> list[Row]:
    with Path(__file__).with_name("workloads.csv").open(newline="") as table:
        rows = [
            Row(fields.pop("name"), **{name: int(value) for name, value in fields.items()})
            for fields in csv.DictReader(table)
        ]
    return [row for row in rows if any(fnmatch(row.name, glob) for glob in globs)]


def cases(rows: Sequence[Row], ops: Sequence[str], dtype: str) -> Iterable[Case]:
    for row in rows:
        # Normal data: zeros, ones and subnormal numbers have speeds of their own.
        draw = np.random.default_rng(0).standard_normal
        x, w, dy = (draw(shape, dtype) for shape in row.shapes)
        for op in ops:
            yield Case(row, op, x, w, dy)


class Peer:
    """Someone who computes convolutions."""

    name: str
    version: str
    dtypes: tuple[str, ...] = ("float32", "float64")

    def __init__(self, threads: int) -> None:
        raise NotImplementedError

    def prepare(self, case: Case) -> Call | None:
        raise NotImplementedError


class Cconv1d(Peer):
    """This library, through its public functions."""

    name = "cconv1d"

    def __init__(self, threads: int) -> None:
        self.version = cconv1d.__version__

    def prepare(self, case: Case) -> Call:
        x, w, dy, geometry = case.x, case.w, case.dy, case.geometry
        if case.op == "forward":
            return partial(cconv1d.conv1d, x, w, None, *geometry)
        if case.op == "dx":
            return partial(cconv1d.conv1d_backward_input, dy, w, case.row.L, *geometry)
        return partial(cconv1d.conv1d_backward_weight, dy, x, case.row.kernel_size, *geometry)


class Reference(Peer):
    """Our own maps in NumPy, past the choice of backend, which stays as it is."""

    name = "reference"

    def __init__(self, threads: int) -> None:
        from cconv1d import _geometry, _reference

        self.version = cconv1d.__version__
        self.maps, self.resolve = _reference, _geometry.resolve

    def prepare(self, case: Case) -> Call:
        row, x, w, dy = case.row, case.x, case.w, case.dy
        geometry = self.resolve(
            "reference", row.L, row.kernel_size, row.stride, row.padding, row.dilation
        )
        function, operands, like = {
            "forward": (self.maps.forward, (x, w, None), dy),
            "dx": (self.maps.backward_input, (dy, w), x),
            "dw": (self.maps.backward_weight, (dy, x), w),
        }[case.op]

        def run() -> Array:
            result = np.empty_like(like)
            function(*operands, result, geometry, row.groups)
            return result

        return run


class PyTorch(Peer):
    name = "torch"

    def __init__(self, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        # Entered once for the whole process: entering takes as long as a small convolution.
        self.mode = torch.inference_mode()
        self.mode.__enter__()
        self.torch, self.version = torch, torch.__version__

    def prepare(self, case: Case) -> Call:
        x, w, dy = (self.torch.from_numpy(array) for array in (case.x, case.w, case.dy))
        stride, padding, dilation, groups = case.geometry
        if case.op == "forward":
            return partial(
                self.torch.nn.functional.conv1d, x, w, None, stride, padding, dilation, groups
            )
        # What autograd calls; torch.nn.grad.conv1d_input and conv1d_weight wrap it.
        backward = self.torch.ops.aten.convolution_backward.default
        which = ("dx", "dw").index(case.op)
        needs = [which == 0, which == 1, False]
        geometry = ([stride], [padding], [dilation], False, [0], groups)
        return lambda: backward(dy, x, w, None, *geometry, needs)[which]


def _onnx_model(case: Case) -> bytes:
    """One Conv whose weight is a constant, for the runtimes to pack beforehand."""
    import onnx
    from onnx import helper

    element = helper.np_dtype_to_tensor_dtype(case.dtype)
    stride, padding, dilation, groups = case.geometry
    convolution = helper.make_node(
        "Conv",
        ["x", "w"],
        ["y"],
        strides=[stride],
        pads=[padding, padding],
        dilations=[dilation],
        group=groups,
    )
    graph = helper.make_graph(
        [convolution],
        "conv1d",
        [helper.make_tensor_value_info("x", element, case.x.shape)],
        [helper.make_tensor_value_info("y", element, case.dy.shape)],
        [onnx.numpy_helper.from_array(case.w, "w")],
    )
    # Not the newest versions, which the runtimes may not know yet.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return model.SerializeToString()


class OnnxRuntime(Peer):
    """Forward only; weights packed, the output reused."""

    name = "onnxruntime"
    dtypes = ("float32",)

    def __init__(self, threads: int) -> None:
        import onnx  # noqa: F401  (for `prepare`)
        import onnxruntime

        self.options = onnxruntime.SessionOptions()
        self.options.intra_op_num_threads = threads
        self.options.inter_op_num_threads = 1
        # Its workers spin as they like while it runs, but not into the time of the others.
        self.options.add_session_config_entry("session.force_spinning_stop", "1")
        self.session, self.version = onnxruntime.InferenceSession, onnxruntime.__version__

    def prepare(self, case: Case) -> Call | None:
        if case.op != "forward":
            return None
        session = self.session(_onnx_model(case), self.options, providers=["CPUExecutionProvider"])
        y = np.empty_like(case.dy)
        binding = session.io_binding()
        for bind, name, array in (
            (binding.bind_input, "x", case.x),
            (binding.bind_output, "y", y),
        ):
            bind(name, "cpu", 0, case.dtype.type, array.shape, array.ctypes.data)

        def run() -> Array:
            session.run_with_iobinding(binding)
            return y

        return run


class OpenVino(Peer):
    """Forward only; weights packed, the output reused."""

    name = "openvino"
    dtypes = ("float32",)

    def __init__(self, threads: int) -> None:
        import onnx  # noqa: F401  (for `prepare`)
        import openvino

        self.core = openvino.Core()
        self.tensor, self.version = openvino.Tensor, openvino.__version__.partition("-")[0]
        self.options = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            # Processors with bfloat16 instructions would otherwise compute in bfloat16.
            "INFERENCE_PRECISION_HINT": "f32",
            # The process is pinned already.
            "ENABLE_CPU_PINNING": False,
        }

    def prepare(self, case: Case) -> Call | None:
        if case.op != "forward":
            return None
        model = self.core.read_model(BytesIO(_onnx_model(case)))
        request = self.core.compile_model(model, "CPU", self.options).create_infer_request()
        y = np.empty_like(case.dy)
        request.set_input_tensor(self.tensor(case.x, shared_memory=True))
        request.set_output_tensor(self.tensor(y, shared_memory=True))

        def run() -> Array:
            request.infer(share_outputs=True)
            return y

        return run


class Jax(Peer):
    """Everything but the weight gradient of rows with groups.

    XLA computes that like a dense one; with many channels a single call can take minutes.
    """

    name = "jax"

    def __init__(self, threads: int) -> None:
        import jax

        jax.config.update("jax_enable_x64", True)
        jax.config.update("jax_platforms", "cpu")
        # Handing the work to another thread costs more than it brings to one who waits for it.
        jax.config.update("jax_cpu_enable_async_dispatch", False)
        self.jax, self.version = jax, jax.__version__

    def prepare(self, case: Case) -> Call | None:
        if case.op == "dw" and case.row.groups > 1:
            return None
        jax = self.jax
        stride, padding, dilation, groups = case.geometry

        def convolve(x, w):
            return jax.lax.conv_general_dilated(
                x,
                w,
                (stride,),
                [(padding, padding)],
                rhs_dilation=(dilation,),
                dimension_numbers=("NCH", "OIH", "NCH"),
                feature_group_count=groups,
            )

        def input_gradient(dy, x, w):
            return jax.vjp(lambda x: convolve(x, w), x)[1](dy)[0]

        def weight_gradient(dy, x, w):
            return jax.vjp(lambda w: convolve(x, w), w)[1](dy)[0]

        x, w, dy = jax.device_put((case.x, case.w, case.dy))
        function, arguments = {
            "forward": (convolve, (x, w)),
            "dx": (input_gradient, (dy, x, w)),
            "dw": (weight_gradient, (dy, x, w)),
        }[case.op]
        compiled = jax.jit(function)
        return lambda: compiled(*arguments).block_until_ready()


def _single_channel_modes(case: Case) -> tuple[str, str] | None:
    """numpy.convolve's words for the padding of `case` and for that of its adjoint."""
    row = case.row
    if max(row.N, row.C, row.K, row.stride, row.dilation) > 1 or row.kernel_size > row.L:
        return None
    full = row.kernel_size - 1
    if row.padding == 0:
        return "valid", "full"
    if row.padding == full:
        return "full", "valid"
    return ("same", "same") if 2 * row.padding == full else None


class NumPy(Peer):
    """Single channels only: numpy.convolve and numpy.correlate."""

    name = "numpy"

    def __init__(self, threads: int) -> None:
        self.version = np.__version__

    def prepare(self, case: Case) -> Call | None:
        modes = _single_channel_modes(case)
        if modes is None:
            return None
        x, w, dy = case.x[0, 0], case.w[0, 0], case.dy[0, 0]
        if case.op == "forward":
            return partial(np.correlate, x, w, modes[0])
        if case.op == "dx":
            return partial(np.convolve, dy, w, modes[1])
        if case.row.padding == 0:
            return partial(np.correlate, x, dy, "valid")
        return lambda: np.correlate(np.pad(x, case.row.padding), dy, "valid")


class SciPy(Peer):
    """Single channels only: the fastest of what SciPy has for the case."""

    name = "scipy"

    def __init__(self, threads: int) -> None:
        import scipy.ndimage
        import scipy.signal

        self.signal, self.ndimage = scipy.signal, scipy.ndimage
        self.version = scipy.__version__

    def prepare(self, case: Case) -> Call | None:
        modes = _single_channel_modes(case)
        if modes is None:
            return None
        x, w, dy = case.x[0, 0], case.w[0, 0], case.dy[0, 0]
        transforms = self.signal.fftconvolve, self.signal.oaconvolve
        if case.op == "forward":
            calls = [partial(convolve, x, w[::-1], modes[0]) for convolve in transforms]
            if modes[0] == "same":
                calls.append(partial(self.ndimage.correlate1d, x, w, mode="constant"))
        elif case.op == "dx":
            calls = [partial(convolve, dy, w, modes[1]) for convolve in transforms]
            if modes[1] == "same":
                calls.append(partial(self.ndimage.convolve1d, dy, w, mode="constant"))
        else:
            calls = [
                lambda convolve=convolve: convolve(np.pad(x, case.row.padding), dy[::-1], "valid")
                for convolve in transforms
            ]
        return min(calls, key=lambda call: min(Timer(call).repeat(3, 1)))


#: Everyone, ourselves first.
PEERS: dict[str, type[Peer]] = {
    peer.name: peer
    for peer in (Cconv1d, PyTorch, OnnxRuntime, OpenVino, Jax, NumPy, SciPy, Reference)
}
