"""The functions: what torch.nn.functional takes, checked and brought to the maps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .._geometry import PADDING_MODES, PADDING_WORDS
from ._maps import FORWARD, TRANSPOSE, Int, Options, call, is_compiling, is_plain
from ._tensors import check_tensor

#: Options that were checked, by all that they depend on: most calls are of a kind seen before.
KNOWN: dict[tuple[Any, ...], Options] = {}
MAX_KNOWN = 1024


def one(function: str, name: str, value: Any, least: int = 1) -> Int:
    """An integer, or the item of a tuple of one."""
    if isinstance(value, (tuple, list)):
        if len(value) != 1:
            raise ValueError(f"{function}: {name} must be one integer, not {value!r}")
        value = value[0]
    if not isinstance(value, (int, torch.SymInt)) or isinstance(value, bool):
        raise TypeError(f"{function}: {name} must be an integer, not {value!r}")
    if value < least:
        raise ValueError(f"{function}: {name} must be {least} or more, not {value}")
    return value


def pair(function: str, padding: Any) -> tuple[Int, Int]:
    if isinstance(padding, (tuple, list)) and len(padding) == 2:
        return one(function, "padding", padding[0], 0), one(function, "padding", padding[1], 0)
    both = one(function, "padding", padding, 0)
    return both, both


def resolve_padding(
    function: str, padding: Any, length: Int, taps: Int, stride: Int, dilation: Int
) -> tuple[Int, Int]:
    """The zeros on either side, for sizes that may be symbols."""
    if not isinstance(padding, str):
        return pair(function, padding)
    reach = dilation * (taps - 1)
    if padding == "valid":
        return 0, 0
    if padding == "full":
        return reach, reach
    if padding == "causal":
        return reach, 0
    if padding not in PADDING_WORDS:
        words = ", ".join(map(repr, PADDING_WORDS))
        raise ValueError(
            f"{function}: padding must be an integer, a pair or one of {words}, not {padding!r}"
        )
    total = reach
    if stride != 1:
        missing = ((length + stride - 1) // stride - 1) * stride + reach + 1 - length
        total = torch.sym_max(missing, 0)
    less = total // 2
    return (less, total - less) if padding == "same" else (total - less, less)


def cast(*tensors: Tensor | None) -> tuple[Any, ...]:
    """As autocast has it for convolutions: of its lower precision, but for float64 and complex."""
    if not torch.is_autocast_enabled("cpu"):
        return tensors
    dtype = torch.get_autocast_dtype("cpu")
    low = (torch.float32, torch.float16, torch.bfloat16)
    return tuple(t.to(dtype) if t is not None and t.dtype in low else t for t in tensors)


def check(
    function: str, input: Any, weight: Any, bias: Any, layout: str, transposed: bool, groups: Int
) -> None:
    """Refuse what the kernels cannot take, by names of PyTorch's."""
    given = {"input": input, "weight": weight, "bias": bias}
    for name, tensor in given.items():
        if tensor is None and name == "bias":
            continue
        check_tensor(function, name, tensor)
        if tensor.dtype != input.dtype:
            raise TypeError(
                f"{function}: {name} must have the dtype of input, {input.dtype}, "
                f"not {tensor.dtype}"
            )
    if layout not in ("NCL", "NLC"):
        raise ValueError(f"{function}: layout must be 'NCL' or 'NLC', not {layout!r}")
    if input.ndim not in (2, 3):
        raise ValueError(
            f"{function}: input must have two or three axes, not the shape {tuple(input.shape)}"
        )
    if weight.ndim != 3:
        raise ValueError(
            f"{function}: weight must have three axes, not the shape {tuple(weight.shape)}"
        )
    if weight.shape[2] < 1:
        raise ValueError(f"{function}: weight must have one tap or more")
    channels = input.shape[-1 if layout == "NLC" else -2]
    if weight.shape[0] % groups:
        raise ValueError(
            f"{function}: groups {groups} must divide the {weight.shape[0]} kernels of weight"
        )
    expected = weight.shape[0] if transposed else weight.shape[1] * groups
    if channels != expected:
        raise ValueError(
            f"{function}: input has {channels} channels, but a weight of shape "
            f"{tuple(weight.shape)} with groups {groups} is for {expected}"
        )
    outs = weight.shape[1] * groups if transposed else weight.shape[0]
    if bias is not None and (bias.ndim != 1 or bias.shape[0] != outs):
        raise ValueError(f"{function}: bias must have the shape ({outs},), not {tuple(bias.shape)}")


def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    layout: str = "NCL",
    method: str = "direct",
) -> Tensor:
    """Convolve each sample with each kernel, as `torch.nn.functional.conv1d` does.

    Parameters
    ----------
    input : Tensor, shape (N, C, L) or (C, L)
        Of float32, float64, bfloat16, float16, complex64 or complex128, on the CPU, with any
        strides.
    weight : Tensor, shape (K, C // groups, k)
        Of the same dtype.
    bias : Tensor, shape (K,), optional
        Added to every position of its output channel.
    stride, dilation : int or tuple of one int, optional
        Samples between neighbouring positions, and between neighbouring taps.
    padding : int, tuple of one or two ints, or str, optional
        As in `cconv1d.conv1d`: zeros on both sides, on the left and on the right, or one of
        "valid", "same", "same_lower", "causal" and "full".
    groups : int, optional
        The groups of channels that are convolved by themselves.
    padding_mode : {"zeros", "reflect", "replicate", "circular"}, optional
        What the padding holds.
    layout : {"NCL", "NLC"}, optional
        With "NLC", input and output have their channels last.
    method : {"direct", "fft", "fast", "auto"}, optional
        How it is computed, as in `cconv1d.conv1d`; the gradients, too.

    Returns
    -------
    Tensor, shape (N, K, P) or (K, P)
        Contiguous, with the bits of `cconv1d.conv1d`.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind, or dtypes differ or have no kernels.
    ValueError
        If shapes or options do not fit each other.
    NotImplementedError
        If a tensor is on another device, sparse, quantized or nested; and in forward mode under
        `torch.compile`.

    See Also
    --------
    conv_transpose1d : Its adjoint.
    replace : Have a model's layers computed so.

    Notes
    -----
    Derivatives of any order, forward mode, `torch.func`, `torch.compile`, `torch.export` and
    autocast work as for PyTorch's function; nothing is copied on the way in or out. A call uses no
    more threads than `torch.get_num_threads()`.

    Examples
    --------
    >>> import torch
    >>> from cconv1d.torch import conv1d
    >>> conv1d(torch.ones(1, 1, 5), torch.ones(1, 1, 3), padding="causal")
    tensor([[[1., 2., 3., 3., 3.]]])
    """
    if not is_compiling():
        try:  # shapes and options that were checked before
            key = (
                *(input.shape, weight.shape, None if bias is None else bias.shape),
                *(input.dtype, weight.dtype, None if bias is None else bias.dtype),
                *(stride, padding, dilation, groups, padding_mode, layout, method),
            )
            known = KNOWN.get(key)
        except (AttributeError, TypeError):
            known = key = None
        if known is not None and not torch.is_autocast_enabled("cpu"):
            return call(FORWARD, input, weight, bias, 0, known)
    function = "conv1d"
    stride, dilation = one(function, "stride", stride), one(function, "dilation", dilation)
    groups = one(function, "groups", groups)
    check(function, input, weight, bias, layout, False, groups)
    if padding_mode not in PADDING_MODES:
        raise ValueError(
            f"{function}: padding_mode must be one of {PADDING_MODES}, not {padding_mode!r}"
        )
    length, taps = input.shape[-2 if layout == "NLC" else -1], weight.shape[2]
    sides = resolve_padding(function, padding, length, taps, stride, dilation)
    o = Options(stride, sides, dilation, groups, padding_mode, layout, method)
    if length + sides[0] + sides[1] < o.span(taps):
        raise ValueError(
            f"{function}: the padded input has {length + sides[0] + sides[1]} positions but the "
            f"dilated kernel spans {o.span(taps)} (kernel_size {taps}, dilation {dilation}); input "
            f"length {length}, padding {sides}"
        )
    input, weight, bias = cast(input, weight, bias)
    y = call(FORWARD, input, weight, bias, 0, o)
    if is_plain(input, weight, bias) and key is not None:
        if len(KNOWN) >= MAX_KNOWN:
            KNOWN.clear()
        KNOWN[key] = o
    return y


def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
    *,
    layout: str = "NCL",
    method: str = "direct",
) -> Tensor:
    """Make signals longer, as `torch.nn.functional.conv_transpose1d` does.

    Parameters
    ----------
    input : Tensor, shape (N, C, L) or (C, L)
        As in `conv1d`.
    weight : Tensor, shape (C, K // groups, k)
        Of the same dtype.
    bias : Tensor, shape (K,), optional
        Added to every position of its output channel.
    stride, dilation : int or tuple of one int, optional
        Positions between neighbouring samples, and between neighbouring taps.
    padding : int or tuple of one or two ints, optional
        How many positions are left out on both sides, or on the left and on the right.
    output_padding : int or tuple of one int, optional
        How many positions are added on the right, fewer than `stride` or `dilation`.
    groups, layout, method : optional
        As in `conv1d`.

    Returns
    -------
    Tensor, shape (N, K, P) or (K, P)
        With P = (L - 1) * stride - padding + dilation * (k - 1) + output_padding + 1, where padding
        is that of both sides together.

    Raises
    ------
    TypeError, ValueError, NotImplementedError
        As `conv1d`.

    See Also
    --------
    conv1d : Its adjoint, where the rest is said.

    Examples
    --------
    >>> import torch
    >>> from cconv1d.torch import conv_transpose1d
    >>> conv_transpose1d(torch.ones(1, 1, 2), torch.tensor([[[1.0, 2.0]]]), stride=2)
    tensor([[[1., 2., 1., 2.]]])
    """
    function = "conv_transpose1d"
    stride, dilation = one(function, "stride", stride), one(function, "dilation", dilation)
    groups = one(function, "groups", groups)
    more = one(function, "output_padding", output_padding, 0)
    sides = pair(function, padding)
    check(function, input, weight, bias, layout, True, groups)
    if more >= stride and more >= dilation:
        raise ValueError(
            f"{function}: output_padding must be less than stride or dilation, not {more} with "
            f"stride {stride} and dilation {dilation}"
        )
    o = Options(stride, sides, dilation, groups, "zeros", layout, method)
    length = input.shape[o.time_axis]
    size = (length - 1) * stride - sides[0] - sides[1] + o.span(weight.shape[2]) + more
    if length < 1 or size < 1:
        raise ValueError(
            f"{function}: the output would have {size} positions; input length {length}, padding "
            f"{sides}, kernel_size {weight.shape[2]}"
        )
    input, weight, bias = cast(input, weight, bias)
    return call(TRANSPOSE, input, weight, bias, size, o)
