"""cconv1d for PyTorch: functions and layers for tensors on the CPU, with derivatives of any order.

>>> import torch
>>> from cconv1d.torch import conv1d
>>> x = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
>>> w = torch.tensor([[[1.0, -1.0]]], requires_grad=True)
>>> conv1d(x, w).sum().backward()
>>> w.grad
tensor([[[6., 9.]]])

It needs PyTorch 2.6 or newer, and is not imported with cconv1d itself.
"""

import os

import torch

from .. import _threads
from . import causal
from ._functional import conv1d, conv_transpose1d
from ._layers import Conv1d, ConvTranspose1d, Layer, layers, replace, replacing

# Two pools that spin beside each other would cost both a third of their speed.
_threads.use_openmp(os.path.dirname(torch.__file__))

__all__ = [
    "Conv1d",
    "ConvTranspose1d",
    "Layer",
    "causal",
    "conv1d",
    "conv_transpose1d",
    "layers",
    "replace",
    "replacing",
]
