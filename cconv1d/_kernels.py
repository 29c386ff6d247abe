"""What computes for one dtype: the maps, and how half precision is given to the extension."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np


class Kernels(NamedTuple):
    """The maps for one dtype; `_reference` says what each computes and in which shapes."""

    forward: Callable[..., None]
    backward_input: Callable[..., None]
    backward_weight: Callable[..., None]
    backward_bias: Callable[..., None]
    #: What forward and backward_input may take instead of a weight, for many calls.
    pack: Callable[..., Any]


#: Of the kernels, those that compute.
MAPS = ("forward", "backward_input", "backward_weight", "backward_bias")

FORWARD, BACKWARD_INPUT, BACKWARD_WEIGHT, BACKWARD_BIAS = map(Kernels._fields.index, MAPS)


def half_kernels(core: ModuleType, is_bfloat16: bool) -> Kernels:
    """The kernels for float16 or bfloat16, whose arrays the extension takes as integers."""

    def on_integers(kernel: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            seen = (a.view(np.uint16) if isinstance(a, np.ndarray) else a for a in arguments)
            return kernel(*seen, is_bfloat16=is_bfloat16)

        return call

    return Kernels(*(on_integers(getattr(core, f"{name}_half")) for name in Kernels._fields))
