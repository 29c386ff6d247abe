"""Layers, and how a model's own become those."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.overrides import TorchFunctionMode

from .. import PreparedConv1d
from .._geometry import METHODS
from ._functional import conv1d, conv_transpose1d
from ._maps import is_compiling, is_plain
from ._tensors import DTYPES, limited, to_array, to_tensor

# torch.fx takes them for one step each
torch.fx.wrap("conv1d")
torch.fx.wrap("conv_transpose1d")


@limited
def run_prepared(prepared: PreparedConv1d, x: Tensor) -> Tensor:
    return to_tensor(prepared(to_array(x)))


class Snapshot(NamedTuple):
    """A parameter as it was packed, if there is one."""

    parameter: Tensor | None
    #: Of the same memory, which so is nobody else's, whatever becomes of the parameter.
    alias: Tensor | None
    version: int

    @classmethod
    def of(cls, parameter: Tensor | None) -> Snapshot:
        if parameter is None:
            return cls(None, None, 0)
        return cls(parameter, parameter.detach(), parameter._version)

    def is_current(self, parameter: Tensor | None) -> bool:
        """Whether it is the same parameter, in the same place, never written to since."""
        same = parameter is self.parameter
        if parameter is None or self.alias is None or not same:
            return same
        return parameter._version == self.version and parameter.is_set_to(self.alias)


def is_fixed(parameter: Tensor | None) -> bool:
    """Whether a write to it would be seen, and no optimizer writes: fused ones count no version."""
    return parameter is None or not (
        type(parameter) is not nn.Parameter
        or parameter.requires_grad
        or parameter.is_inference()  # has no version
        or parameter.is_complex()  # may be conjugated where it is
    )


class Packed:
    """The packed weights of a frozen layer, for as long as those are what they were.

    Copies and pickles of a layer begin with none. Threads see all of it or nothing.
    """

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept: tuple[Snapshot, Snapshot, tuple[Any, ...], PreparedConv1d] | None = None

    def __reduce__(self) -> Any:
        return Packed, ()

    def forward(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, options: tuple[Any, ...]
    ) -> Tensor | None:
        """What conv1d returns; or None if this is no call for packed weights."""
        if not is_plain(x, weight, bias):
            return None
        if not (is_fixed(weight) and is_fixed(bias)):
            self._kept = None  # who trains it may write without a trace
            return None
        if (
            (x.requires_grad and torch.is_grad_enabled())
            or x.dtype is not weight.dtype
            or torch.is_autocast_enabled("cpu")
        ):
            return None
        kept = self._kept
        if (
            kept is None
            or not (kept[0].is_current(weight) and kept[1].is_current(bias))
            or kept[2] != options
        ):
            # versions before values: what is written meanwhile is found to be new by the next call
            snapshots = Snapshot.of(weight), Snapshot.of(bias)
            arrays = to_array(weight), None if bias is None else to_array(bias)
            *how, padding_mode, method = options
            prepared = PreparedConv1d(*arrays, *how, padding_mode=padding_mode, method=method)
            self._kept = kept = *snapshots, options, prepared
        return run_prepared(kept[3], x)


class Conv1d(nn.Conv1d):
    """The layer torch.nn.Conv1d, computed by cconv1d.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, padding, *args, **kwargs
        As for `torch.nn.Conv1d`; `padding` may also be a pair or any word that `conv1d` has.
    method : {"direct", "fft", "fast", "auto"}, optional
        How it is computed, as in `conv1d`.

    See Also
    --------
    replace : Have the layers of a model become such ones.

    Examples
    --------
    >>> import torch
    >>> from cconv1d.torch import Conv1d
    >>> Conv1d(1, 8, 3, padding="causal")(torch.ones(2, 1, 10)).shape
    torch.Size([2, 8, 10])
    """

    method = "direct"
    _packed: Packed | None = None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        *args: Any,
        method: str = "direct",
        **kwargs: Any,
    ) -> None:
        word, pair = isinstance(padding, str), isinstance(padding, (tuple, list))
        # what nn.Conv1d would refuse
        ours = (word and padding not in ("same", "valid")) or (pair and len(padding) == 2)
        theirs = 0 if ours else padding
        super().__init__(in_channels, out_channels, kernel_size, stride, theirs, *args, **kwargs)
        if ours:
            self.padding = padding if word else tuple(padding)
        self.method = method

    @property
    def frozen(self) -> bool:
        """Whether weights stay packed from one call to the next, as `replace` says."""
        return self._packed is not None

    @frozen.setter
    def frozen(self, value: bool) -> None:
        self._packed = Packed() if value else None

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if not is_compiling() and self._packed is not None:
            how = self.stride, self.padding, self.dilation, self.groups
            options = *how, self.padding_mode, self.method
            y = self._packed.forward(input, weight, bias, options)
            if y is not None:
                return y
        return conv1d(
            input,
            weight,
            bias,
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
            padding_mode=self.padding_mode,
            method=self.method,
        )


class ConvTranspose1d(nn.ConvTranspose1d):
    """The layer torch.nn.ConvTranspose1d, computed by cconv1d.

    Parameters
    ----------
    *args, **kwargs
        As for `torch.nn.ConvTranspose1d`.
    method : {"direct", "fft", "fast", "auto"}, optional
        How it is computed, as in `conv_transpose1d`.

    See Also
    --------
    replace : Have the layers of a model become such ones.

    Examples
    --------
    >>> import torch
    >>> from cconv1d.torch import ConvTranspose1d
    >>> ConvTranspose1d(1, 8, 4, stride=2)(torch.ones(2, 1, 10)).shape
    torch.Size([2, 8, 22])
    """

    method = "direct"

    def __init__(self, *args: Any, method: str = "direct", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.method = method

    def forward(self, input: Tensor, output_size: Any = None) -> Tensor:
        """Apply the layer, as torch.nn.ConvTranspose1d does.

        Returns
        -------
        Tensor
            The longer signal, of `output_size` samples if that is given.
        """
        more = self._output_padding(
            input,
            output_size,
            self.stride,  # type: ignore[arg-type]
            self.padding,  # type: ignore[arg-type]
            self.kernel_size,  # type: ignore[arg-type]
            1,
            self.dilation,  # type: ignore[arg-type]
        )
        return conv_transpose1d(
            input,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            more,
            self.groups,
            self.dilation,
            method=self.method,
        )


#: What a layer of PyTorch's becomes.
KINDS: dict[type[nn.Module], type[nn.Module]] = {
    nn.Conv1d: Conv1d,
    nn.ConvTranspose1d: ConvTranspose1d,
}


class Layer(NamedTuple):
    """A convolution of a model, as `layers` tells it.

    Attributes
    ----------
    name : str
        Where it is in the model.
    kind : str
        The name of its class.
    method : str or None
        How cconv1d computes it; None if PyTorch does.
    reason : str
        Why PyTorch does.
    frozen : bool
        Whether its weights stay packed from one call to the next.

    See Also
    --------
    layers : What returns them.

    Examples
    --------
    >>> from torch import nn
    >>> from cconv1d.torch import layers
    >>> layers(nn.Sequential(nn.Conv1d(1, 2, 3)))[0]
    Layer(name='0', kind='Conv1d', method=None, reason='not replaced', frozen=False)
    """

    name: str
    kind: str
    method: str | None
    reason: str
    frozen: bool = False


def own_class(module: nn.Module) -> type[nn.Module]:
    """The class of a layer, below the one that torch.nn.utils.parametrize puts over it."""
    kind = type(module)
    return kind.__bases__[0] if parametrize.is_parametrized(module) else kind


def obstacle(module: nn.Module) -> str:
    """Why a layer of PyTorch's cannot become one of ours, or nothing."""
    kind = own_class(module)
    if isinstance(module, nn.modules.lazy.LazyModuleMixin):
        return "its shape is not known before its first call; replace it after that"
    if kind not in KINDS:
        return f"{kind.__module__}.{kind.__qualname__} is a class of its own"
    for tensor in (module.weight, module.bias):
        if tensor is None:
            continue
        assert isinstance(tensor, Tensor)
        if tensor.device.type not in ("cpu", "meta"):
            return f"it is on the device {tensor.device}"
        if tensor.dtype not in DTYPES:
            return f"it has the dtype {tensor.dtype}"
    return ""


def convolutions(model: nn.Module) -> list[tuple[str, nn.Module]]:
    return [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, (nn.Conv1d, nn.ConvTranspose1d))
    ]


def layers(model: torch.nn.Module) -> list[Layer]:
    """Tell which of a model's 1-D convolutions cconv1d computes and, of the others, why not.

    Parameters
    ----------
    model : torch.nn.Module
        Any.

    Returns
    -------
    list of Layer
        In the order of ``model.named_modules()``.

    See Also
    --------
    replace : What changes it.

    Examples
    --------
    >>> from torch import nn
    >>> from cconv1d.torch import layers, replace
    >>> model = nn.Sequential(nn.Conv1d(1, 8, 9), nn.ReLU(), nn.LazyConv1d(2, 9))
    >>> for layer in layers(replace(model)):
    ...     print(layer.name, layer.method, layer.reason or "-")
    0 direct -
    2 None its shape is not known before its first call; replace it after that
    """
    found = []
    for name, module in convolutions(model):
        kind = own_class(module)
        if issubclass(kind, (Conv1d, ConvTranspose1d)):
            frozen = getattr(module, "frozen", False) and not parametrize.is_parametrized(module)
            found.append(Layer(name, kind.__name__, str(module.method), "", frozen))
        else:
            reason = obstacle(module) or "not replaced"
            found.append(Layer(name, kind.__name__, None, reason))
    return found


def replace(
    model: torch.nn.Module, method: str = "direct", *, frozen: bool = False
) -> torch.nn.Module:
    """Have the 1-D convolutions of a model computed by cconv1d, in place.

    Parameters
    ----------
    model : torch.nn.Module
        Its layers of the classes `torch.nn.Conv1d` and `torch.nn.ConvTranspose1d` become
        `Conv1d` and `ConvTranspose1d`; parameters, hooks, parametrizations, the state dict and its
        names stay as they are.
    method : {"direct", "fft", "fast", "auto"}, optional
        How they are computed; "auto": by what `cconv1d.choose_method` says of each input's length.
    frozen : bool, optional
        The weights of its layers are not going to change: these require no gradient from now on,
        and `Conv1d` layers keep them packed from one call to the next.

    Returns
    -------
    torch.nn.Module
        The model, or what it has become if it is itself such a layer.

    Raises
    ------
    ValueError
        If there is no such `method`.

    See Also
    --------
    layers : What was replaced, and what was left and why.
    replacing : For a block, without a change to the model.

    Notes
    -----
    Left are lazy layers, which do not know their shape yet; classes of their own, derived from
    PyTorch's, which may compute something else; and layers on other devices.

    What a frozen layer keeps takes two to three times the memory of its weights. Weights that
    change all the same are packed again: another parameter, or one that was written to by any
    operation that PyTorch counts, such as those of ``load_state_dict``. It does not count what is
    written through ``.data``, through an array of NumPy or by another process: after that, call
    `replace` again, which forgets what was packed. Packed weights are used where no gradient is to
    come and PyTorch does not trace, for float weights that are parameters of their own: not those
    that a parametrization such as ``weight_norm`` computes, or autocast converts. A layer whose
    weights are made to require gradients again can be trained; freeze it anew after that.

    Examples
    --------
    >>> import torch
    >>> from cconv1d.torch import replace
    >>> model = torch.nn.Sequential(torch.nn.Conv1d(1, 4, 3), torch.nn.ReLU())
    >>> replace(model)
    Sequential(
      (0): Conv1d(1, 4, kernel_size=(3,), stride=(1,))
      (1): ReLU()
    )
    >>> model = replace(model, frozen=True).eval()
    >>> [parameter.requires_grad for parameter in model.parameters()]
    [False, False]
    """
    check_method("replace", method)
    if not isinstance(frozen, bool):
        raise TypeError(f"replace: frozen must be True or False, not {frozen!r}")
    for _, module in convolutions(model):
        kind = own_class(module)
        if kind not in KINDS.values():
            if obstacle(module):
                continue
            ours = KINDS[kind]
            if parametrize.is_parametrized(module):
                body = {
                    name: value
                    for name, value in vars(type(module)).items()
                    if name not in ("__dict__", "__weakref__")
                }
                ours = type(type(module).__name__, (ours,), body)
            module.__class__ = ours
        module.method = method  # type: ignore[assignment]
        if frozen:
            module.requires_grad_(False)
        if isinstance(module, Conv1d):
            module.frozen = frozen
    return model


def check_method(function: str, method: object) -> None:
    if method not in METHODS:
        words = ", ".join(map(repr, METHODS))
        raise ValueError(f"{function}: method must be one of {words}, not {method!r}")


class replacing(TorchFunctionMode):
    """Context manager: calls of torch.nn.functional's conv1d and conv_transpose1d are ours.

    Parameters
    ----------
    method : {"direct", "fft", "fast", "auto"}, optional
        As in `replace`.

    See Also
    --------
    replace : For good, in a model.

    Notes
    -----
    It holds in the thread that enters it. What cconv1d cannot take, such as tensors on other
    devices, goes to PyTorch as before.

    Examples
    --------
    >>> import torch
    >>> from cconv1d.torch import replacing
    >>> layer = torch.nn.Conv1d(1, 4, 3)
    >>> with replacing():
    ...     y = layer(torch.ones(1, 1, 8))
    """

    def __init__(self, method: str = "direct") -> None:
        super().__init__()
        check_method("replacing", method)
        self.method = method

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        ours = OURS.get(func)
        if ours is not None:
            try:
                return ours(*args, **kwargs, method=self.method)
            except (NotImplementedError, TypeError):
                pass  # for PyTorch to compute, or to refuse
        return func(*args, **kwargs)


OURS: dict[Any, Any] = {
    torch.nn.functional.conv1d: conv1d,
    torch.nn.functional.conv_transpose1d: conv_transpose1d,
}
