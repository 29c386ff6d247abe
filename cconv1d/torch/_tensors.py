"""Tensors as NumPy's arrays and back, without a copy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch

from .. import get_num_threads, num_threads
from .._arrays import Array, is_bfloat16

Result = TypeVar("Result")

#: The dtypes that are computed, all of them compiled.
DTYPES = frozenset(
    {
        torch.float32,
        torch.float64,
        torch.bfloat16,
        torch.float16,
        torch.complex64,
        torch.complex128,
    }
)


def bfloat16() -> np.dtype[Any]:
    """NumPy has no bfloat16 of its own."""
    try:
        from ml_dtypes import bfloat16 as kind
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "cconv1d.torch: tensors of bfloat16 need the package ml_dtypes"
        ) from None
    return np.dtype(kind)


def to_array(tensor: torch.Tensor) -> Array:
    """The numbers of a tensor where they lie; only a lazy conjugate or negative is copied."""
    array: Array
    try:
        array = (tensor.detach() if tensor.requires_grad else tensor).numpy()
    except (RuntimeError, TypeError):  # of which PyTorch has no array as it is
        array = resolved(tensor.detach())
    return array


def resolved(tensor: torch.Tensor) -> Array:
    """The array of one that is lazy, or bfloat16."""
    array: Array
    try:
        tensor = tensor.resolve_conj().resolve_neg()
        if tensor.dtype is torch.bfloat16:
            array = tensor.view(torch.uint16).numpy().view(bfloat16())
        else:
            array = tensor.numpy()
    except (RuntimeError, TypeError) as error:
        raise NotImplementedError(
            f"cconv1d.torch: a tensor with the layout {tensor.layout} on the device "
            f"{tensor.device} cannot be read: use the function of torch.nn.functional"
        ) from error
    return array


def to_tensor(array: Array) -> torch.Tensor:
    """A tensor of the array's memory."""
    if is_bfloat16(array.dtype):
        return torch.from_numpy(array.view(np.uint16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def limited(function: Callable[..., Result]) -> Callable[..., Result]:
    """A function that uses no more threads than PyTorch would; of positional arguments alone, as
    others would cost a small call a tenth of a microsecond."""

    def call(*args: Any) -> Result:
        threads = torch.get_num_threads()
        if threads >= get_num_threads():
            return function(*args)
        with num_threads(threads):
            return function(*args)

    return call


def check_tensor(function: str, name: str, tensor: object) -> None:
    """Raise if it is no tensor, or one that only PyTorch's own function can take."""
    if not isinstance(tensor, torch.Tensor):
        raise TypeError(f"{function}: {name} must be a tensor, not {type(tensor).__name__}")
    what = None
    if tensor.device.type not in ("cpu", "meta"):
        what = f"is on the device {tensor.device}"
    elif tensor.is_quantized:
        what = "is quantized"
    elif tensor.layout is not torch.strided:
        what = f"has the layout {tensor.layout}"
    elif tensor.is_nested:
        what = "is nested"
    elif tensor.dtype not in DTYPES:
        what = f"has the dtype {tensor.dtype}"
    if what is not None:
        kind = TypeError if "dtype" in what else NotImplementedError
        raise kind(
            f"cconv1d.torch.{function}: {name} {what}; cconv1d computes dense floating-point "
            f"tensors on the CPU: use torch.nn.functional.{function}"
        )
