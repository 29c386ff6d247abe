"""1-D convolution and its gradients: NumPy arrays in, NumPy arrays out.

>>> import numpy as np
>>> import cconv1d
>>> x = np.array([1.0, 2.0, 3.0, 4.0])
>>> w = np.array([1.0, -1.0])
>>> y = cconv1d.conv1d(x, w)
>>> cconv1d.conv1d_backward(np.ones_like(y), x, w).weight
array([6., 9.])
"""

from ._causal import (
    CausalGradients,
    causal_conv1d_backward,
    causal_conv1d_fn,
    causal_conv1d_update,
    causal_conv1d_varlen_states,
)
from ._config import get_include, show_config
from ._execute import Gradients
from ._functional import (
    conv1d,
    conv1d_backward,
    conv1d_backward_input,
    conv1d_backward_weight,
    conv_transpose1d,
    conv_transpose1d_backward,
)
from ._geometry import conv1d_output_length, conv_transpose1d_output_length
from ._methods import MethodChoice, choose_method
from ._prepared import PreparedConv1d
from ._signal import convolve, correlate
from ._step import StepGradients, conv1d_step, conv1d_step_backward
from ._stream import Stream
from ._threads import get_num_threads, num_threads, set_num_threads
from ._version import __version__

__all__ = [
    "CausalGradients",
    "Gradients",
    "MethodChoice",
    "PreparedConv1d",
    "StepGradients",
    "Stream",
    "__version__",
    "causal_conv1d_backward",
    "causal_conv1d_fn",
    "causal_conv1d_update",
    "causal_conv1d_varlen_states",
    "choose_method",
    "conv1d",
    "conv1d_backward",
    "conv1d_backward_input",
    "conv1d_backward_weight",
    "conv1d_output_length",
    "conv1d_step",
    "conv1d_step_backward",
    "conv_transpose1d",
    "conv_transpose1d_backward",
    "conv_transpose1d_output_length",
    "convolve",
    "correlate",
    "get_include",
    "get_num_threads",
    "num_threads",
    "set_num_threads",
    "show_config",
]
