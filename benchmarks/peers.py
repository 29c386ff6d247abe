"""Everyone who can compute what the benchmarks ask for.

A peer is made once for a number of threads; that raises ImportError where it is not
installed.  Its `prepare` does whatever it can do beforehand and returns the call that is
to be timed, or None where the peer has nothing for this case.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from io import BytesIO
from timeit import Timer
from typing import Any, NamedTuple

import numpy as np
from workloads import DTYPES, HALVES, PAD_MODES, Array, Case

import cconv1d
from cconv1d._geometry import FAST_TAPS, without_stride

Call = Callable[[], Any]

#: How the library may compute any layer; the first is its default.
METHODS = ("direct", "fft", "auto")

#: How it may compute those of three taps.
FAST = "fast"


class Peer:
    """Someone who computes convolutions."""

    name: str
    version: str
    dtypes: tuple[str, ...] = ("float32", "float64")
    prepares = False  # its weights are packed before it is timed, and its output is used again

    def __init__(self, threads: int) -> None:
        raise NotImplementedError

    def prepare(self, case: Case) -> Call | None:
        raise NotImplementedError

    def array(self, result: Any) -> Array:
        """A result for NumPy."""
        return np.asarray(result)


def fastest(ways: Sequence[Call]) -> Call:
    return min(ways, key=lambda way: min(Timer(way).repeat(3, 1))) if len(ways) > 1 else ways[0]


class Cconv1d(Peer):
    """This library, through its public functions."""

    name = "cconv1d"
    dtypes = DTYPES

    def __init__(self, threads: int, method: str = METHODS[0]) -> None:
        self.version = cconv1d.__version__
        # the word as a literal, which the usual calls know by its identity
        self.method = FAST if method == FAST else METHODS[METHODS.index(method)]

    def prepare(self, case: Case) -> Call | None:
        row = case.row
        if self.method == FAST:
            taps = without_stride(row.kernel_size, row.stride, row.dilation)[1]
            if taps != FAST_TAPS or case.op == "dw":  # which it sums directly
                return None
        return self.call(case)

    def call(self, case: Case) -> Call:
        row, x, w, dy, geometry = case.row, case.x, case.w, case.dy, case.geometry
        options: dict[str, Any] = {**row.options, "method": self.method}
        if row.function == "convolve" and case.op == "forward":
            return partial(cconv1d.convolve, x[:, 0], w[0, 0], method=self.method)
        if row.transposed:
            geometry = row.stride, row.padding, 0, row.groups, row.dilation
            if case.op == "forward":
                return partial(cconv1d.conv_transpose1d, x, w, None, *geometry, **options)
            which = ("dx", "dw").index(case.op)
            needs = which == 0, which == 1, False
            return lambda: cconv1d.conv_transpose1d_backward(
                dy, x, w, *geometry, needs=needs, **options
            )[which]
        if case.op == "forward":
            return partial(cconv1d.conv1d, x, w, None, *geometry, **options)
        function, arguments = {
            "dx": (cconv1d.conv1d_backward_input, (dy, w, row.L)),
            "dw": (cconv1d.conv1d_backward_weight, (dy, x, row.kernel_size)),
        }[case.op]
        return partial(function, *arguments, *geometry, **options)

    def prepare_as_peers_do(self, case: Case) -> Call | None:
        """With weights packed beforehand and an output that is used again."""
        row = case.row
        if row.transposed or case.op != "forward":
            return None
        layer = cconv1d.PreparedConv1d(
            case.w, None, *case.geometry, **row.options, method=self.method
        )
        return partial(layer, case.x, out=np.empty(row.shapes[2], case.dtype))


class Method(Cconv1d):
    """This library by one of several methods, under the method's name."""

    def __init__(self, threads: int, method: str) -> None:
        super().__init__(threads, method)
        self.name = self.method


class Direct(Method):
    """This library by its default method, for a run that measures another."""

    name = "direct"

    def __init__(self, threads: int) -> None:
        super().__init__(threads, self.name)


class Reference(Peer):
    """Our own maps in NumPy, past the choice of backend, which stays as it is."""

    name = "reference"
    dtypes = DTYPES

    def __init__(self, threads: int) -> None:
        from cconv1d import _geometry, _reference

        self.version = cconv1d.__version__
        self.maps, self.resolve = _reference, _geometry.resolve

    def prepare(self, case: Case) -> Call | None:
        row, x, w, dy = case.row, case.x, case.w, case.dy
        if row.transposed or row.options:
            return None
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
    """All options, each in the fastest of the ways that a user has."""

    name = "torch"
    dtypes = DTYPES

    def __init__(self, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        # Entered once for the whole process: entering takes as long as a small convolution.
        self.mode = torch.inference_mode()
        self.mode.__enter__()
        self.torch, self.version = torch, torch.__version__

    def tensor(self, array: Array) -> Any:
        if array.dtype.name == "bfloat16":
            return self.torch.from_numpy(array.view(np.uint16)).view(self.torch.bfloat16)
        return self.torch.from_numpy(array)

    def array(self, result: Any) -> Array:
        result = result.resolve_conj()
        return np.asarray(result.float() if result.dtype == self.torch.bfloat16 else result)

    def prepare(self, case: Case) -> Call:
        row, operands = case.row, tuple(map(self.tensor, (case.x, case.w, case.dy)))
        if row.layout == "NLC":
            return fastest(self.channels_last(case, *operands))
        if row.padding_mode != "zeros":
            return self.padded(case, *operands)
        ways = [partial(self.operation(case), *operands)]
        if row.dtype in HALVES:
            ways.append(self.in_float32(case, *operands))
        if case.dtype.kind == "c":
            parts = self.in_parts(case, *operands)
            ways = [*ways, parts] if case.op == "forward" else [parts]  # the only gradients
        if max(row.C, row.K) == 1 < row.N and (case.dtype.kind != "c" or case.op == "forward"):
            ways += self.grouped(case, *operands)
        return fastest(ways)

    def operation(self, case: Case, axes: int = 1, **other: Any) -> Callable[..., Any]:
        """From x, w and dy to the result; arrays of two `axes` are one sample high."""
        row = replace(case.row, **other)
        thin = axes - 1
        geometry = (
            [1] * thin + [row.stride],
            [0] * thin + [row.padding],
            [1] * thin + [row.dilation],
            row.transposed,
            [0] * axes,
            row.groups,
        )
        if case.op == "forward":
            if case.dtype.kind == "c":  # only this knows what to make of it
                plain = row.stride, row.padding, row.dilation, row.groups
                convolution = self.torch.nn.functional.conv1d
                return lambda x, w, dy: convolution(x, w, None, *plain)
            convolution = self.torch.convolution
            return lambda x, w, dy: convolution(x, w, None, *geometry)
        # What autograd calls; torch.nn.grad.conv1d_input and conv1d_weight wrap it.
        backward = self.torch.ops.aten.convolution_backward.default
        which = ("dx", "dw").index(case.op)
        needs = [which == 0, which == 1, False]
        return lambda x, w, dy: backward(dy, x, w, None, *geometry, needs)[which]

    def channels_last(self, case: Case, x: Any, w: Any, dy: Any) -> list[Call]:
        """Views, or copies, with the channels first; and images one sample high.

        Complex numbers have no images, and gradients by their parts alone.
        """
        line, image = self.operation(case), self.operation(case, 2)
        last = self.torch.channels_last
        w_image = w.unsqueeze(2).contiguous(memory_format=last)

        def turned(result: Any) -> Any:
            return result if case.op == "dw" else result.transpose(1, 2)

        def views() -> Any:
            return turned(line(x.transpose(1, 2), w, dy.transpose(1, 2)))

        def copies() -> Any:
            return turned(line(x.transpose(1, 2).contiguous(), w, dy.transpose(1, 2).contiguous()))

        def images() -> Any:
            signals = (array.transpose(1, 2).unsqueeze(2) for array in (x, dy))
            return turned(image(next(signals), w_image, next(signals)).squeeze(2))

        if case.dtype.kind != "c":
            return [views, copies, images]
        parts = self.in_parts(case, x.transpose(1, 2), w, dy.transpose(1, 2))
        by_parts = [lambda: turned(parts())]
        return [views, copies, *by_parts] if case.op == "forward" else by_parts

    def padded(self, case: Case, x: Any, w: Any, dy: Any) -> Call:
        """A padded copy of the input, as PyTorch's own layers make it."""
        padding, mode = case.row.padding, case.row.padding_mode
        operation, pad = self.operation(case, padding=0), self.torch.nn.functional.pad
        if case.op != "dx":
            return lambda: operation(pad(x, (padding, padding), mode), w, dy)
        shape = pad(x, (padding, padding), mode)  # all that is asked of it

        def circular(wide: Any, *_: object) -> Any:
            wide[..., padding : 2 * padding] += wide[..., -padding:]
            wide[..., -2 * padding : -padding] += wide[..., :padding]
            return wide[..., padding:-padding]

        fold = {
            "reflect": self.torch.ops.aten.reflection_pad1d_backward.default,
            "replicate": self.torch.ops.aten.replication_pad1d_backward.default,
            "circular": circular,
        }[mode]
        return lambda: fold(operation(shape, w, dy), x, [padding, padding])

    def in_float32(self, case: Case, x: Any, w: Any, dy: Any) -> Call:
        operation, w_single = self.operation(case), w.float()
        if case.op == "forward":
            return lambda: operation(x.float(), w_single, None).to(x.dtype)
        if case.op == "dx":  # which asks for no more than the shape of x
            x_single = x.float()
            return lambda: operation(x_single, w_single, dy.float()).to(x.dtype)
        return lambda: operation(x.float(), w_single, dy.float()).to(x.dtype)

    def in_parts(self, case: Case, x: Any, w: Any, dy: Any) -> Call:
        """Real and imaginary parts as channels of their own, the weight turned beforehand."""
        torch, operation = self.torch, self.operation(case)
        rows = torch.stack([torch.stack([w.real, -w.imag], 2), torch.stack([w.imag, w.real], 2)], 1)
        matrices = rows.reshape(2 * w.shape[0], 2 * w.shape[1], w.shape[2])

        def parts(signal: Any) -> Any:
            return torch.view_as_real(signal).transpose(2, 3).flatten(1, 2)

        def whole(signal: Any) -> Any:
            signal = signal.unflatten(1, (-1, 2))
            return torch.complex(signal[:, :, 0], signal[:, :, 1])

        if case.op == "forward":
            return lambda: whole(operation(parts(x), matrices, None))
        if case.op == "dx":
            x_parts = parts(x)  # of which the shape is asked for
            return lambda: whole(operation(x_parts, matrices, parts(dy)))

        def weight() -> Any:
            of = operation(parts(x), matrices, parts(dy)).view(rows.shape)
            return torch.complex(of[:, 0, :, 0] + of[:, 1, :, 1], of[:, 1, :, 0] - of[:, 0, :, 1])

        return weight

    def grouped(self, case: Case, x: Any, w: Any, dy: Any) -> list[Call]:
        """Signals as channels of one sample; and a transposed convolution as one that is not."""
        row = case.row
        x_row, dy_row, wide = x.transpose(0, 1), dy.transpose(0, 1), w.expand(row.N, 1, -1)
        alike = self.operation(case, groups=row.N)
        if case.op == "dw":
            return [lambda: alike(x_row, wide, dy_row).sum(0)]
        ways = [lambda: alike(x_row, wide, dy_row)]
        if row.function == "convolve" and case.op == "forward":
            full = {"function": "conv1d", "padding": row.kernel_size - 1}
            flipped = w.flip(2)
            ways.append(partial(self.operation(case, **full), x, flipped, None))
            ways.append(
                partial(
                    self.operation(case, **full, groups=row.N),
                    x_row,
                    flipped.expand(row.N, 1, -1).contiguous(),
                    None,
                )
            )
        return ways


def _onnx_model(case: Case) -> bytes:
    """One Conv whose weight is a constant, for the runtimes to pack beforehand.

    Nodes around it pad or exchange axes where the row asks for it.
    """
    import onnx
    from onnx import helper

    row = case.row
    element = helper.np_dtype_to_tensor_dtype(case.dtype)
    stride, padding, dilation, groups = case.geometry
    nodes, constants, seen = [], {"w": case.w}, "x"
    if row.layout == "NLC":
        nodes.append(helper.make_node("Transpose", [seen], ["channels"], perm=[0, 2, 1]))
        seen = "channels"
    if row.padding_mode != "zeros":
        mode = PAD_MODES[row.padding_mode]
        nodes.append(helper.make_node("Pad", [seen, "pads"], ["padded"], mode=mode))
        constants["pads"] = np.array([0, 0, padding] * 2)
        seen, padding = "padded", 0
    nodes.append(
        helper.make_node(
            "ConvTranspose" if row.transposed else "Conv",
            [seen, "w"],
            ["positions" if row.layout == "NLC" else "y"],
            strides=[stride],
            pads=[padding, padding],
            dilations=[dilation],
            group=groups,
        )
    )
    if row.layout == "NLC":
        nodes.append(helper.make_node("Transpose", ["positions"], ["y"], perm=[0, 2, 1]))
    graph = helper.make_graph(
        nodes,
        "conv1d",
        [helper.make_tensor_value_info("x", element, case.x.shape)],
        [helper.make_tensor_value_info("y", element, case.dy.shape)],
        [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    # Not the newest versions, which the runtimes may not know yet.
    opset = 19 if row.padding_mode == "circular" else 17
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    return model.SerializeToString()


class OnnxRuntime(Peer):
    """Forward only; weights packed, the output reused."""

    name = "onnxruntime"
    dtypes = ("float32",)
    prepares = True

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
    """Forward only; weights packed, the output reused. It has no circular padding."""

    name = "openvino"
    dtypes = ("float32", "float16")
    prepares = True

    def __init__(self, threads: int) -> None:
        import onnx  # noqa: F401  (for `prepare`)
        import openvino

        self.core = openvino.Core()
        self.tensor, self.version = openvino.Tensor, openvino.__version__.partition("-")[0]
        self.options = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            # Some processors would otherwise compute in bfloat16, or float16 in float16.
            "INFERENCE_PRECISION_HINT": "f32",
            # The process is pinned already.
            "ENABLE_CPU_PINNING": False,
        }

    def prepare(self, case: Case) -> Call | None:
        if case.op != "forward" or case.row.padding_mode == "circular":
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


class Xnnpack(Peer):
    """Forward only, through TensorFlow Lite; weights packed, the output reused.

    It has its channels last: rows with channels first have their arrays turned beforehand.
    """

    name = "xnnpack"
    dtypes = ("float32",)
    prepares = True

    def __init__(self, threads: int) -> None:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # it tells of every conversion
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import tensorflow
        self.tensorflow, self.threads = tensorflow, threads
        self.version = f"of TensorFlow {tensorflow.__version__}"

    def prepare(self, case: Case) -> Call | None:
        row, tensorflow = case.row, self.tensorflow
        if case.op != "forward" or row.transposed or row.padding_mode != "zeros":
            return None
        x = case.x if row.layout == "NLC" else case.x.transpose(0, 2, 1)
        stride, padding, dilation, groups = case.geometry
        around = [[0, 0], [0, 0], [padding, padding], [0, 0]]

        def images(x: Any) -> Any:
            if padding:
                x = tensorflow.pad(x, around)
            if groups == row.C > 1:
                w = case.w.reshape(row.C, -1, row.kernel_size).transpose(2, 0, 1)[np.newaxis]
                # It knows no stride along one axis alone.
                return tensorflow.nn.depthwise_conv2d(
                    x, w, [1, stride, stride, 1], "VALID", dilations=[1, dilation]
                )
            w = case.w.transpose(2, 1, 0)[np.newaxis]
            return tensorflow.nn.conv2d(
                x, w, [1, 1, stride, 1], "VALID", dilations=[1, 1, dilation, 1]
            )

        shape = tensorflow.TensorSpec((row.N, 1, row.L, row.C), tensorflow.float32)
        function = tensorflow.function(images, input_signature=[shape])
        lite = tensorflow.lite
        converter = lite.TFLiteConverter.from_concrete_functions(
            [function.get_concrete_function()], function
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the interpreter will move to another package
            interpreter = lite.Interpreter(
                model_content=converter.convert(), num_threads=self.threads
            )
        interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x[:, np.newaxis])
        output = interpreter.tensor(interpreter.get_output_details()[0]["index"])

        # Views of its memory must not outlive the next call.
        def result() -> Array:
            y = output()[:, 0].copy()
            return y if row.layout == "NLC" else y.transpose(0, 2, 1)

        def run() -> Callable[[], Array]:
            interpreter.invoke()
            return result

        return run

    def array(self, result: Callable[[], Array]) -> Array:
        return result()


class Jax(Peer):
    """Everything but the weight gradient of rows with groups.

    XLA computes that like a dense one; with many channels a single call can take minutes.
    """

    name = "jax"
    dtypes = DTYPES

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
        jax, row = self.jax, case.row
        stride, padding, dilation, groups = case.geometry
        signals = "NHC" if row.layout == "NLC" else "NCH"
        span = dilation * (row.kernel_size - 1)

        def convolve(x, w):
            if row.transposed:
                return jax.lax.conv_general_dilated(
                    x,
                    jax.numpy.flip(w, 2),
                    (1,),
                    [(span - padding, span - padding)],
                    lhs_dilation=(stride,),
                    rhs_dilation=(dilation,),
                    dimension_numbers=(signals, "IOH", signals),
                )
            around = padding
            if row.padding_mode != "zeros":
                beside = [(0, 0), (0, 0), (padding, padding)]
                x, around = jax.numpy.pad(x, beside, PAD_MODES[row.padding_mode]), 0
            return jax.lax.conv_general_dilated(
                x,
                w,
                (stride,),
                [(around, around)],
                rhs_dilation=(dilation,),
                dimension_numbers=(signals, "OIH", signals),
                feature_group_count=groups,
            )

        # Its gradients of complex numbers do not conjugate.
        def input_gradient(dy, x, w):
            return jax.vjp(lambda x: convolve(x, w.conj()), x)[1](dy)[0]

        def weight_gradient(dy, x, w):
            return jax.vjp(lambda w: convolve(x.conj(), w), w)[1](dy)[0]

        x, w, dy = jax.device_put((case.x, case.w, case.dy))
        function, arguments = {
            "forward": (convolve, (x, w)),
            "dx": (input_gradient, (dy, x, w)),
            "dw": (weight_gradient, (dy, x, w)),
        }[case.op]

        def in_float32(*arguments):
            return function(*(array.astype("float32") for array in arguments)).astype(row.dtype)

        ways = [function, in_float32] if row.dtype in HALVES else [function]
        compiled = [jax.jit(way) for way in ways]
        calls = [lambda way=way: way(*arguments).block_until_ready() for way in compiled]
        for call in calls:
            call()  # which compiles
        return fastest(calls)


class Lines(NamedTuple):
    """A case of single channels: `function`, of NumPy, takes each signal with its taps, in `mode`.

    A gradient of the weight is the sum of what that gives for all signals.
    """

    function: Callable[..., Array]
    signals: Array
    taps: Array  # of all signals, or those of each
    mode: str


def _lines(case: Case) -> Lines | None:
    row = case.row
    if max(row.C, row.K, row.stride, row.dilation) > 1 or row.kernel_size > row.L:
        return None
    x, w, dy = case.x[:, 0], case.w[0, 0], case.dy[:, 0]
    full = row.kernel_size - 1
    if row.padding_mode != "zeros":
        if case.op != "forward" or 2 * row.padding != full:
            return None
        return Lines(np.correlate, x, w.conj(), "same")
    if row.transposed:
        if row.padding:
            return None
        return {
            "forward": Lines(np.convolve, x, w, "full"),
            "dx": Lines(np.correlate, dy, w, "valid"),
            "dw": Lines(np.correlate, dy, x, "valid"),
        }[case.op]
    modes = {0: ("valid", "full"), full: ("full", "valid")}.get(row.padding)
    if modes is None and 2 * row.padding == full:
        modes = "same", "same"
    if modes is None:
        return None
    return {
        "forward": Lines(np.correlate, x, w.conj(), modes[0]),
        "dx": Lines(np.convolve, dy, w.conj(), modes[1]),
        "dw": Lines(np.correlate, x, dy, "valid"),
    }[case.op]


def _pad(case: Case, signals: Array) -> Array:
    """The input, padded, for what would not count the padding or not pad as the row asks for."""
    row = case.row
    beside = [(0, 0)] * (signals.ndim - 1) + [(row.padding, row.padding)]
    return np.pad(signals, beside, mode=PAD_MODES[row.padding_mode])


class NumPy(Peer):
    """Single channels only: numpy.convolve and numpy.correlate, signal by signal."""

    name = "numpy"
    dtypes = ("float32", "float64", "complex64", "complex128")

    def __init__(self, threads: int) -> None:
        self.version = np.__version__

    def prepare(self, case: Case) -> Call | None:
        lines = _lines(case)
        if lines is None:
            return None
        function, signals, taps, mode = lines
        if case.op == "dw":
            padded = case.row.padding > 0

            def weight() -> Array:
                longer = _pad(case, signals) if padded else signals
                total = sum(map(partial(function, mode=mode), longer, taps))
                return total if case.row.transposed else total.conj()

            if len(signals) == 1 and case.dtype.kind != "c":
                if not padded:
                    return partial(function, signals[0], taps[0], mode)
                return lambda: function(_pad(case, signals[0]), taps[0], mode)
            return weight
        if case.row.padding_mode != "zeros":
            return lambda: [function(line, taps, "valid") for line in _pad(case, signals)]
        if len(signals) == 1:
            return partial(function, signals[0], taps, mode)
        return lambda: [function(line, taps, mode) for line in signals]


class SciPy(Peer):
    """Single channels only: the fastest of what SciPy sums directly, all signals at once."""

    name = "scipy"
    dtypes = NumPy.dtypes

    def __init__(self, threads: int) -> None:
        import scipy.ndimage
        import scipy.signal

        self.signal, self.ndimage = scipy.signal, scipy.ndimage
        self.version = scipy.__version__

    def prepare(self, case: Case) -> Call | None:
        lines = _lines(case)
        if lines is None or lines.taps.ndim > 1:
            return None
        _, signals, taps, mode = lines
        turned = taps[::-1].conj().copy()  # from those of a convolution to a correlation's, or back
        if lines.function is np.correlate:
            taps, turned = turned, taps
        ways: list[Call] = []
        if mode == "same":
            words = {"reflect": "mirror", "replicate": "nearest", "circular": "wrap"}
            ways.append(
                partial(
                    self.ndimage.correlate1d,
                    signals,
                    turned,
                    mode=words.get(case.row.padding_mode, "constant"),
                )
            )
        if case.row.padding_mode == "zeros":
            begin = {"full": 0, "same": len(taps) // 2, "valid": len(taps) - 1}[mode]
            end = begin + case.row.output_length if case.op == "forward" else begin + case.row.L
            ways.append(lambda: self.signal.upfirdn(taps, signals)[..., begin:end])
            if mode == "valid":
                ways.append(lambda: self.signal.lfilter(taps, 1, signals)[..., begin:])
        return fastest(ways)


class SciPyFFT(SciPy):
    """Single channels only: the faster of SciPy's transforms, which are another algorithm."""

    name = "scipy fft"

    def prepare(self, case: Case) -> Call | None:
        lines = _lines(case)
        if lines is None or case.row.padding_mode != "zeros":
            return None
        function, signals, taps, mode = lines

        def convolution(convolve: Callable[..., Array]) -> Call:
            if case.op == "dw":  # a sum of correlations

                def weight() -> Array:
                    longer = _pad(case, signals) if case.row.padding else signals
                    total = convolve(longer, taps[:, ::-1].conj(), mode, axes=-1).sum(0)
                    return total if case.row.transposed else total.conj()

                return weight
            kernel = taps[::-1].conj() if function is np.correlate else taps
            return partial(convolve, signals, kernel[np.newaxis], mode, axes=-1)

        return fastest([convolution(self.signal.fftconvolve), convolution(self.signal.oaconvolve)])


#: Everyone, ourselves first.
PEERS: dict[str, type[Peer]] = {
    peer.name: peer
    for peer in (
        Cconv1d,
        Direct,
        PyTorch,
        OnnxRuntime,
        OpenVino,
        Xnnpack,
        Jax,
        NumPy,
        SciPy,
        SciPyFFT,
        Reference,
    )
}
