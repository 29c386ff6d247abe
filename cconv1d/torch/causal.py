"""The functions of the package causal-conv1d for tensors on the CPU, and that package's name.

Names, order of arguments, defaults and meaning are those of that package; the functions of cconv1d
with the same names, which compute them, have it in full.

>>> import torch
>>> from cconv1d.torch import causal
>>> causal.causal_conv1d_fn(torch.ones(1, 1, 4), torch.ones(1, 2))
tensor([[[1., 2., 2., 2.]]])
"""

from __future__ import annotations

import importlib.machinery
import sys
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from .. import _causal
from ._tensors import check_tensor, limited, to_array, to_tensor

__all__ = [
    "causal_conv1d_fn",
    "causal_conv1d_update",
    "causal_conv1d_varlen_states",
    "install",
]


COMPUTE = limited(_causal.causal_conv1d_fn)
COMPUTE_GRADIENTS = limited(_causal.causal_conv1d_backward)
COMPUTE_UPDATE = limited(_causal.causal_conv1d_update)


def array(tensor: Tensor | None) -> Any:
    return None if tensor is None else to_array(tensor)


def tensor(result: Any) -> Any:
    return None if result is None else to_tensor(result)


def check(function: str, **tensors: Tensor | None) -> None:
    for name, given in tensors.items():
        if given is None:
            continue
        if not isinstance(given, Tensor) or given.dtype.is_floating_point:
            check_tensor(function, name, given)
        elif given.device.type != "cpu":
            raise NotImplementedError(f"{function}: {name} is on the device {given.device}")


class CausalConv1d(Function):
    """The function with its gradients, which come once: there is no second derivative."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Any,
        weight: Any,
        bias: Any,
        seq_idx: Any,
        initial_states: Any,
        return_final_states: bool,
        activation: Any,
    ) -> Any:
        ctx.save_for_backward(x, weight, bias, seq_idx, initial_states)
        ctx.activation = activation
        found = COMPUTE(
            array(x),
            array(weight),
            array(bias),
            array(seq_idx),
            array(initial_states),
            return_final_states,
            None,
            activation,
        )
        y, final = found if return_final_states else (found, None)
        return to_tensor(y), tensor(final)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Any, grad_final: Any) -> Any:
        x, weight, bias, seq_idx, states = ctx.saved_tensors
        grads = COMPUTE_GRADIENTS(
            array(grad_output),
            array(x),
            array(weight),
            array(bias),
            array(seq_idx),
            array(states),
            array(grad_final),
            ctx.activation,
        )
        return (
            tensor(grads.x),
            tensor(grads.weight),
            tensor(grads.bias),
            None,
            tensor(grads.initial_states),
            None,
            None,
        )


def causal_conv1d_fn(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    seq_idx: Tensor | None = None,
    initial_states: Tensor | None = None,
    return_final_states: bool = False,
    final_states_out: Tensor | None = None,
    activation: str | None = None,
) -> Any:
    """Convolve each channel with a kernel of its own, without a look at later samples.

    Parameters
    ----------
    x : Tensor, shape (B, D, L)
        Of float16, bfloat16, float32 or float64, on the CPU, with any strides.
    weight : Tensor, shape (D, W)
        Any width.
    bias : Tensor, shape (D,), optional
        With the dtype of `weight`.
    seq_idx : Tensor of int, shape (B, L), optional
        Which sequence each position is of; below 0: padding.
    initial_states : Tensor, shape (B, D, W - 1), optional
        What stands before x.
    return_final_states : bool, optional
        Whether to return the last W - 1 samples, too.
    final_states_out : Tensor, shape (B, D, W - 1), optional
        Where to put them.
    activation : {None, "silu", "swish"}, optional
        What the sums go through.

    Returns
    -------
    Tensor, shape (B, D, L), or (Tensor, Tensor)
        With the dtype of `x`; and the final states if asked for.

    Raises
    ------
    TypeError, ValueError, NotImplementedError
        As `cconv1d.causal_conv1d_fn`, and for tensors on other devices.

    See Also
    --------
    causal_conv1d_update : The next position.

    Notes
    -----
    It has gradients with respect to x, weight, bias and the initial states, of first order.

    Examples
    --------
    >>> import torch
    >>> from cconv1d.torch.causal import causal_conv1d_fn
    >>> causal_conv1d_fn(torch.tensor([[[1.0, 2.0]]]), torch.tensor([[10.0, 1.0]]))
    tensor([[[ 1., 12.]]])
    """
    function = "causal_conv1d_fn"
    check(
        function,
        x=x,
        weight=weight,
        bias=bias,
        seq_idx=seq_idx,
        initial_states=initial_states,
        final_states_out=final_states_out,
    )
    if return_final_states and seq_idx is not None:
        raise ValueError(f"{function}: final states are not known together with seq_idx")
    y, final = CausalConv1d.apply(
        *(x, weight, bias, seq_idx, initial_states), return_final_states, activation
    )
    if not return_final_states:
        return y
    if final_states_out is None:
        return y, final
    with torch.no_grad():
        final_states_out.copy_(final)
    return y, final_states_out


def causal_conv1d_update(
    x: Tensor,
    conv_state: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    activation: str | None = None,
    cache_seqlens: Tensor | None = None,
    conv_state_indices: Tensor | None = None,
) -> Tensor:
    """Convolve the next position, or a few, and update the state in place; without gradients.

    Parameters
    ----------
    x : Tensor, shape (B, D) or (B, D, L)
        The next position of B signals, or the next L.
    conv_state : Tensor, shape (B, D, S) or (N, D, S)
        The last S samples, at least W - 1, with the dtype of `x`. It is modified.
    weight, bias, activation : optional
        As in `causal_conv1d_fn`.
    cache_seqlens : Tensor of int, shape (B,), optional
        How many samples each signal has had: then the state is a circular buffer.
    conv_state_indices : Tensor of int, shape (B,), optional
        The row of `conv_state` for each row of `x`; below 0: padding.

    Returns
    -------
    Tensor, shape (B, D) or (B, D, L)
        With the dtype of `x`.

    Raises
    ------
    TypeError, ValueError, NotImplementedError
        As `cconv1d.causal_conv1d_update`, and for tensors on other devices.

    See Also
    --------
    causal_conv1d_fn : For whole signals.

    Examples
    --------
    >>> import torch
    >>> from cconv1d.torch.causal import causal_conv1d_update
    >>> state = torch.tensor([[[1.0, 2.0]]])
    >>> causal_conv1d_update(torch.tensor([[4.0]]), state, torch.tensor([[1.0, 10.0, 100.0]]))
    tensor([[421.]])
    >>> state
    tensor([[[2., 4.]]])
    """
    check(
        "causal_conv1d_update",
        x=x,
        conv_state=conv_state,
        weight=weight,
        bias=bias,
        cache_seqlens=cache_seqlens,
        conv_state_indices=conv_state_indices,
    )
    y = COMPUTE_UPDATE(
        array(x),
        array(conv_state),
        array(weight),
        array(bias),
        activation,  # type: ignore[arg-type]
        array(cache_seqlens),
        array(conv_state_indices),
    )
    torch.autograd.graph.increment_version(conv_state)
    return to_tensor(y)


def causal_conv1d_varlen_states(x: Tensor, cu_seqlens: Tensor, state_len: int) -> Tensor:
    """The last samples of each of several sequences that lie one behind the other.

    Parameters
    ----------
    x : Tensor, shape (T, D)
        All samples of all sequences.
    cu_seqlens : Tensor of int, shape (B + 1,)
        Where each begins, and where the last one ends.
    state_len : int
        How many samples of each.

    Returns
    -------
    Tensor, shape (B, D, state_len)
        With zeros before the samples of a shorter sequence.

    Raises
    ------
    TypeError, ValueError, NotImplementedError
        As `cconv1d.causal_conv1d_varlen_states`, and for tensors on other devices.

    See Also
    --------
    causal_conv1d_update : What takes these states.

    Examples
    --------
    >>> import torch
    >>> from cconv1d.torch.causal import causal_conv1d_varlen_states
    >>> causal_conv1d_varlen_states(torch.ones(3, 1), torch.tensor([0, 1, 3]), 2)
    tensor([[[0., 1.]],
    <BLANKLINE>
            [[1., 1.]]])
    """
    check("causal_conv1d_varlen_states", x=x, cu_seqlens=cu_seqlens)
    return to_tensor(_causal.causal_conv1d_varlen_states(array(x), array(cu_seqlens), state_len))


#: The package causal-conv1d, and its modules that others import from.
PACKAGE = "causal_conv1d"
MODULES = (f"{PACKAGE}.causal_conv1d_interface", f"{PACKAGE}.causal_conv1d_varlen")


def install() -> None:
    """Have ``import causal_conv1d`` find these functions, unless that package is there already.

    Raises
    ------
    RuntimeError
        If the package itself has been imported.

    See Also
    --------
    cconv1d.torch.replace : Have a model's other convolutions computed so.

    Notes
    -----
    Call it before the models are imported that use the package: those of transformers look for it
    when they are. For transformers of before 5.16 its table of kernels is filled, too.

    Examples
    --------
    >>> from cconv1d.torch import causal
    >>> causal.install()
    >>> from causal_conv1d import causal_conv1d_update
    """
    before = sys.modules.get(PACKAGE)
    if before is not None and not hasattr(before, "__cconv1d__"):
        raise RuntimeError("install: the package causal_conv1d has been imported before")
    package = ModuleType(PACKAGE, __doc__)
    package.__path__ = []
    for name in (PACKAGE, *MODULES):
        module = package if name == PACKAGE else ModuleType(name, __doc__)
        module.__spec__ = importlib.machinery.ModuleSpec(name, None, is_package=module is package)
        for function in __all__[:3]:
            setattr(module, function, globals()[function])
        module.__cconv1d__ = True  # type: ignore[attr-defined]
        sys.modules[name] = module
        if module is not package:
            setattr(package, name.rpartition(".")[2], module)
    kernels = sys.modules.get("transformers.integrations.hub_kernels")
    mapping = getattr(kernels, "_KERNEL_MODULE_MAPPING", None)
    if mapping is not None:
        mapping.setdefault("causal-conv1d", package)
