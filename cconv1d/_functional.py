"""The public functions: what is checked, in which shape it goes to the kernels and back.

Every function turns its arrays into (batch, channels, positions), takes the geometry from
`_geometry`, allocates the result and hands all of it to the kernels of the dtype.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, SupportsIndex

from numpy.typing import ArrayLike

from ._arrays import Array, as_arrays, same_dtype
from ._execute import (
    Gradients,
    GradientTask,
    gradients,
    one,
)
from ._geometry import AUTO, DIRECT, IntLike, Method, Padding, PaddingMode, Pads
from ._kernels import BACKWARD_BIAS, BACKWARD_INPUT, BACKWARD_WEIGHT, FORWARD
from ._plans import (
    Layout,
    plan_conv1d,
    plan_conv1d_backward,
    plan_conv1d_backward_input,
    plan_conv1d_backward_weight,
    plan_conv_transpose1d,
    plan_conv_transpose1d_backward,
)
from ._usual import usual_calls

__all__ = [
    "conv1d",
    "conv1d_backward",
    "conv1d_backward_input",
    "conv1d_backward_weight",
    "conv_transpose1d",
    "conv_transpose1d_backward",
]

usual_conv1d = plan_conv1d.tells(usual_calls(FORWARD, "y"))
usual_conv1d_backward = plan_conv1d_backward.tells(usual_calls(BACKWARD_INPUT, "x"))
usual_conv1d_backward_input = plan_conv1d_backward_input.tells(usual_calls(BACKWARD_INPUT, "x"))
usual_conv1d_backward_weight = plan_conv1d_backward_weight.tells(usual_calls(BACKWARD_WEIGHT, "w"))
usual_conv_transpose1d = plan_conv_transpose1d.tells(
    usual_calls(BACKWARD_INPUT, "x", transposed=True)
)
usual_conv_transpose1d_backward = plan_conv_transpose1d_backward.tells(
    usual_calls(FORWARD, "y", transposed=True)
)


def conv1d(
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: IntLike = 1,
    padding: Padding = 0,
    dilation: IntLike = 1,
    groups: SupportsIndex = 1,
    *,
    padding_mode: PaddingMode = "zeros",
    layout: Layout = "NCL",
    method: Method = "direct",
    out: Array | None = None,
    accumulate: bool = False,
) -> Array:
    """Cross-correlate signals with kernels: what neural networks call a convolution.

    With `input` continued beyond its ends as `padding_mode` says, g a group of channels, c and o
    an input and an output channel of that group, j a tap and p a position::

        y[n, g, o, p] = bias[g, o]
            + sum over c, j of weight[g, o, c, j] * input[n, g, c, p*stride + j*dilation - pad_left]

    Parameters
    ----------
    input : array_like, shape (N, C, L), (C, L) or (L,)
        N signals of C channels and L samples. Any strides; it is not modified.
    weight : array_like, shape (K, C // groups, k), or (k,) for an `input` of shape (L,)
        K kernels of k taps for each channel of their group. With shape (N, K, C // groups, k)
        each of the N samples has kernels of its own.
    bias : array_like, shape (K,), optional
        Added to every position of its output channel; or (N, K), for a weight of each sample.
    stride : int, optional
        Distance in samples between neighbouring outputs.
    padding : int or (int, int) or str, optional
        Samples beyond both ends, or on the left and on the right; or

        - "valid": none
        - "same": as many as give ceil(L / stride) outputs; where they cannot be shared out
          evenly, the odd one goes to the right
        - "same_lower": the same, and the odd one goes to the left
        - "causal": dilation * (k - 1) on the left, so that no output sees later samples
        - "full": dilation * (k - 1) on both sides, every output that sees a sample
    dilation : int, optional
        Distance in samples between neighbouring taps.
    groups : int, optional
        Number of groups that the channels are divided into; each output channel sees the
        input channels of its group only.
    padding_mode : {"zeros", "reflect", "replicate", "circular"}, optional
        What the samples beyond the ends are: zeros; the samples before them in reverse order,
        without the last one (padding < L); the last one (L >= 1); those of the other end
        (padding <= L). No padded copy of `input` is made.
    layout : {"NCL", "NLC"}, optional
        "NLC": the last two axes of every signal are exchanged, (N, L, C) or (L, C), in `input`
        and in the result alike; the weight is the same.
    method : {"direct", "fft", "fast", "auto"}, optional
        How it is computed. "fft": by transforms of blocks that overlap, which takes less time for
        long kernels and for many channels; "fast": by minimal filtering, which does for three taps
        and many channels; see Notes. "auto": by the one that `choose_method` says.
    out : ndarray, optional
        Where the result is written: of its shape and dtype, writeable, and without memory in
        common with an argument.
    accumulate : bool, optional
        Whether the result is added to what `out` holds, once it is computed.

    Returns
    -------
    ndarray, shape (N, K, L_out), (K, L_out) or (L_out,)
        With the dtype of the arguments and L_out from `conv1d_output_length`; `out`, if given.

    Raises
    ------
    TypeError
        If the arrays do not have one numeric dtype, or a number is not an integer. Lists
        of numbers take the dtype of the arrays, or float64 when there is none. If `out` is
        no array of that dtype.
    ValueError
        If shapes do not fit each other, the dilated kernel is longer than the padded input,
        the input is too short for the padding mode, or `out` cannot take the result. If `method`
        is "fft" and there are more than 2**20 taps, or "fast" and there are not three, of all or of
        those that meet samples of one residue of the stride; or it is one of these and the numbers
        are integers.
    MemoryError
        If there is no room for the result. Whatever the error, `out` and the arguments are
        as they were.

    See Also
    --------
    conv1d_backward : Its gradients.
    PreparedConv1d : The same for weights that are used many times.
    conv1d_output_length : How many positions it returns.
    conv_transpose1d : The same sum the other way, which makes signals longer.
    correlate : `numpy.correlate` along any axis, without channels.

    Notes
    -----
    Samples with kernels of their own are convolved together where the memory of samples and
    channels lies evenly, as it does in contiguous arrays with ``layout="NCL"``, and one after the
    other elsewhere. The bits are those of a call for each sample.

    Names, order and defaults are those of ``torch.nn.functional.conv1d``; "same" is what ONNX
    calls SAME_UPPER, "causal" what WaveNet [1]_ is made of. float32, float64,
    complex64 and complex128 are compiled; so are float16 and the bfloat16 of ml_dtypes, summed
    in float32 and rounded once. Integers (modulo 2**n) and extended precision are computed by
    NumPy. A NaN in one part of a complex sample or weight makes both parts of a result NaN. There
    are no warnings of overflow and NaN, whatever the dtype and ``numpy.errstate``.

    Subclasses of ndarray are taken for the plain arrays of their data, and what is returned is
    plain: masks are ignored, so the values below them are summed like all others, and units are
    lost. Fill masked arrays first, as with ``x.filled(0)``. Only `out` is returned as it is; its
    data are written, and a mask of it stays.

    Compiled, the terms of a sum are added in blocks of 128, and then the blocks' sums [2]_: in the
    tests no result of float32 or float64 is off by more than 8 times the machine epsilon times
    the sum of the absolute values of its terms. The bits of a result depend neither on the
    number of threads nor on its place in the batch.

    With ``method="fft"`` neither do they. Signals are taken by blocks of B samples, at least twice
    the taps, each channel that a stride passes over as several signals, and a result is off by at
    most the machine epsilon times log2(B) + 8 times the sum, over the signals that it sees, of the
    largest absolute value in the block times the sum of the absolute values of the weights. On data
    around zero that is about what "direct" is off by. Where a number that is not finite would spoil
    a block, the block is computed directly.

    With ``method="fast"`` two results, one after the other or the dilation apart, take four
    products for each pair of channels instead of six [3]_. Which results are pairs is counted from
    the first of them. A result is off by at most the machine epsilon times 33 times such a sum,
    over the samples of its pair. The gradient of the weight is a direct sum.

    References
    ----------
    .. [1] A. van den Oord et al., "WaveNet: a generative model for raw audio",
       arXiv:1609.03499, 2016.
    .. [2] N. J. Higham, "Accuracy and stability of numerical algorithms", 2nd edition, SIAM, 2002,
       chapter 4.
    .. [3] S. Winograd, "Arithmetic complexity of computations", SIAM, 1980.

    Examples
    --------
    >>> import numpy as np
    >>> from cconv1d import conv1d
    >>> conv1d([1.0, 2.0, 3.0, 4.0], [1.0, -1.0])
    array([-1., -1., -1.])
    >>> ecg = np.ones((2, 3, 100), np.float32)       # 2 recordings of 3 leads
    >>> kernels = np.ones((8, 3, 5), np.float32)
    >>> conv1d(ecg, kernels, padding="same", dilation=2).shape
    (2, 8, 100)
    >>> conv1d([1.0, 2.0, 3.0], [1.0, 0.0], padding=(2, 0), padding_mode="reflect")
    array([3., 2., 1., 2.])

    Where it cannot compute, it says why:

    >>> conv1d(ecg, kernels, bias=[0.0, 1.0])
    Traceback (most recent call last):
        ...
    ValueError: conv1d: bias must have shape (8,), one number for each output channel, not (2,)
    """
    if accumulate is False and (method is DIRECT or method is AUTO):
        options = (stride, padding, dilation, groups, padding_mode, layout, 0)
        usual = usual_conv1d.one(input, weight, bias, None, options, out)
        if usual is not None:
            return usual
    function = "conv1d"
    x: Any = input
    w: Any = weight
    b: Any = bias
    if not (same_dtype(x, w) and (b is None or same_dtype(w, b))):
        if b is None:
            x, w = as_arrays(function, input=x, weight=w)
        else:
            x, w, b = as_arrays(function, input=x, weight=w, bias=b)
    shapes = x.shape, w.shape, None if b is None else b.shape
    plan = plan_conv1d(
        shapes, stride, padding, dilation, groups, padding_mode, layout, method=method
    )
    given = {"input": input, "weight": weight, "bias": bias}
    return one(function, FORWARD, plan, plan.y_shape, (x, w, b), out, accumulate, given)


def conv1d_backward(
    grad_output: ArrayLike,
    input: ArrayLike,
    weight: ArrayLike,
    stride: IntLike = 1,
    padding: Padding = 0,
    dilation: IntLike = 1,
    groups: SupportsIndex = 1,
    *,
    padding_mode: PaddingMode = "zeros",
    layout: Layout = "NCL",
    method: Method = "direct",
    needs: Sequence[bool] = (True, True, True),
    out: Sequence[Array | None] | None = None,
    accumulate: bool = False,
) -> Gradients:
    """Gradients of a scalar loss with respect to the input, the weight and the bias of `conv1d`.

    Parameters
    ----------
    grad_output : array_like, shape (N, K, L_out), (K, L_out) or (L_out,)
        Derivatives of the loss with respect to each output of `conv1d`.
    input : array_like, shape (N, C, L), (C, L) or (L,)
        What `conv1d` was called with.
    weight : array_like, shape (K, C // groups, k), (k,) or (N, K, C // groups, k)
        What `conv1d` was called with.
    stride, padding, dilation, groups, padding_mode, layout, method
        As in `conv1d`.
    needs : sequence of three bool, optional
        Which gradients to compute: of input, weight and bias.
    out : Gradients or sequence of three, optional
        Where the gradients are written, each an array as `conv1d` takes it or None.
    accumulate : bool, optional
        Whether each gradient is added to what its `out` holds, once all are computed.

    Returns
    -------
    Gradients
        A named tuple (input, weight, bias), each in the shape of what it is the gradient
        of, bias as (K,), or (N, K) for a weight of each sample, and None where it is not
        needed; those of `out`, if given.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As `conv1d`; and ValueError if `grad_output` does not have the shape of its output, or
        `needs` or `out` not three items.

    See Also
    --------
    conv1d : What it differentiates.
    conv1d_backward_input, conv1d_backward_weight : One gradient alone, without the array that
        it does not depend on.

    Notes
    -----
    The gradient of the input is the 'full' convolution of `grad_output` with the weight;
    the gradient of the weight is the input correlated with `grad_output` [1]_. Complex data
    follow PyTorch's convention [2]_: weight and input enter conjugated.

    Subclasses of ndarray are taken for plain arrays, as in `conv1d`.

    References
    ----------
    .. [1] Y. LeCun et al., "Backpropagation applied to handwritten zip code recognition",
       Neural Computation 1(4), 541-551, 1989.
    .. [2] PyTorch's documentation, "Autograd mechanics", section "Autograd for complex numbers".

    Examples
    --------
    >>> from cconv1d import conv1d_backward
    >>> grads = conv1d_backward([1.0, 1.0, 1.0], [1.0, 2.0, 3.0, 4.0], [1.0, -1.0])
    >>> grads.weight
    array([6., 9.])
    >>> grads.input
    array([ 1.,  0.,  0., -1.])
    >>> grads.bias
    array([3.])
    """
    if out is None and accumulate is False and (method is DIRECT or method is AUTO):
        options = (stride, padding, dilation, groups, padding_mode, layout, 0)
        usual = usual_conv1d_backward.gradients(grad_output, input, weight, None, options, needs)
        if usual is not None:
            return usual
    function = "conv1d_backward"
    dy: Any = grad_output
    x: Any = input
    w: Any = weight
    if not (same_dtype(dy, x) and same_dtype(x, w)):
        dy, x, w = as_arrays(function, grad_output=dy, input=x, weight=w)
    shapes = dy.shape, x.shape, w.shape
    plan = plan_conv1d_backward(
        shapes, stride, padding, dilation, groups, padding_mode, layout, method=method
    )
    tasks = (
        GradientTask(BACKWARD_INPUT, dy, w, plan.x_shape),
        GradientTask(BACKWARD_WEIGHT, dy, x, plan.w_shape),
        GradientTask(BACKWARD_BIAS, dy, None, plan.b_shape),
    )
    return gradients(
        function,
        plan,
        tasks,
        needs,
        out,
        accumulate,
        grad_output=grad_output,
        input=input,
        weight=weight,
    )


def conv1d_backward_input(
    grad_output: ArrayLike,
    weight: ArrayLike,
    input_length: SupportsIndex,
    stride: IntLike = 1,
    padding: Padding = 0,
    dilation: IntLike = 1,
    groups: SupportsIndex = 1,
    *,
    padding_mode: PaddingMode = "zeros",
    layout: Layout = "NCL",
    method: Method = "direct",
    out: Array | None = None,
    accumulate: bool = False,
) -> Array:
    """Gradient of a scalar loss with respect to the input of `conv1d`.

    ::

        grad_input[n, g, c, q] = sum over o, j and the p with p*stride + j*dilation - pad_left = q
            of weight[g, o, c, j] * grad_output[n, g, o, p]

    Parameters
    ----------
    grad_output : array_like, shape (N, K, L_out), (K, L_out) or (L_out,)
        Derivatives of the loss with respect to each output of `conv1d`.
    weight : array_like, shape (K, C // groups, k), (N, K, C // groups, k) or (k,)
        What `conv1d` was called with.
    input_length : int
        Number of samples of the input, which `grad_output` alone does not tell when
        ``stride > 1``.
    stride, padding, dilation, groups, padding_mode, layout, method, out, accumulate
        As in `conv1d`.

    Returns
    -------
    ndarray, shape (N, C, input_length), (C, input_length) or (input_length,)
        With the dtype of the arguments; `out`, if given.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As `conv1d`; and ValueError if `grad_output` does not have the shape of the output that
        `conv1d` has for `input_length`.

    See Also
    --------
    conv1d_backward : All gradients in one call.
    conv_transpose1d : The same sum with weights that are not conjugated, a bias, and a length
        of its own.

    Notes
    -----
    With the default options it is the 'full' convolution of `grad_output` with the weight. With a
    stride no zeros are inserted between the numbers of `grad_output`: each phase is a sum of
    its own.

    Subclasses of ndarray are taken for plain arrays, as in `conv1d`.

    Examples
    --------
    >>> from cconv1d import conv1d_backward_input
    >>> conv1d_backward_input([1.0, 10.0, 100.0], [2.0, 3.0], input_length=4)
    array([  2.,  23., 230., 300.])
    """
    if accumulate is False and (method is DIRECT or method is AUTO):
        options = (stride, padding, dilation, groups, padding_mode, layout, input_length)
        usual = usual_conv1d_backward_input.one(grad_output, weight, None, None, options, out)
        if usual is not None:
            return usual
    function = "conv1d_backward_input"
    dy: Any = grad_output
    w: Any = weight
    if not same_dtype(dy, w):
        dy, w = as_arrays(function, grad_output=dy, weight=w)
    plan = plan_conv1d_backward_input(
        (dy.shape, w.shape),
        stride,
        padding,
        dilation,
        groups,
        padding_mode,
        layout,
        input_length,
        method,
    )
    given = {"grad_output": grad_output, "weight": weight}
    return one(function, BACKWARD_INPUT, plan, plan.x_shape, (dy, w, None), out, accumulate, given)


def conv1d_backward_weight(
    grad_output: ArrayLike,
    input: ArrayLike,
    kernel_size: SupportsIndex,
    stride: IntLike = 1,
    padding: Padding = 0,
    dilation: IntLike = 1,
    groups: SupportsIndex = 1,
    *,
    padding_mode: PaddingMode = "zeros",
    layout: Layout = "NCL",
    method: Method = "direct",
    out: Array | None = None,
    accumulate: bool = False,
    per_sample: bool = False,
) -> Array:
    """Gradient of a scalar loss with respect to the weight of `conv1d`.

    ::

        grad_weight[g, o, c, j] = sum over n, p
            of grad_output[n, g, o, p] * input[n, g, c, p*stride + j*dilation - pad_left]

    Parameters
    ----------
    grad_output : array_like, shape (N, K, L_out), (K, L_out) or (L_out,)
        Derivatives of the loss with respect to each output of `conv1d`.
    input : array_like, shape (N, C, L), (C, L) or (L,)
        What `conv1d` was called with.
    kernel_size : int
        Number of taps of the weight.
    stride, padding, dilation, groups, padding_mode, layout, method, out, accumulate
        As in `conv1d`.
    per_sample : bool, optional
        Whether the gradient is that of each sample by itself, not their sum: that of a weight
        for each sample, and of interest where the weight is the same for all.

    Returns
    -------
    ndarray, shape (K, C // groups, kernel_size), or (kernel_size,) for 1-D arrays
        With `per_sample` (N, K, C // groups, kernel_size); with the dtype of the arguments;
        `out`, if given.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As `conv1d`; and ValueError if `grad_output` does not have the shape of the output that
        `conv1d` has for `kernel_size`.

    See Also
    --------
    conv1d_backward : All gradients in one call.

    Notes
    -----
    With the default options it is the input correlated with `grad_output`.

    Subclasses of ndarray are taken for plain arrays, as in `conv1d`.

    Examples
    --------
    >>> from cconv1d import conv1d_backward_weight
    >>> conv1d_backward_weight([1.0, 10.0, 100.0], [1.0, 2.0, 3.0, 4.0], kernel_size=2)
    array([321., 432.])
    >>> x, dy = [[[1.0, 2.0, 3.0]], [[4.0, 5.0, 6.0]]], [[[1.0, 10.0]], [[1.0, 10.0]]]
    >>> conv1d_backward_weight(dy, x, kernel_size=2, per_sample=True).squeeze()
    array([[21., 32.],
           [54., 65.]])
    """
    if accumulate is False and per_sample is False and (method is DIRECT or method is AUTO):
        options = (stride, padding, dilation, groups, padding_mode, layout, kernel_size)
        usual = usual_conv1d_backward_weight.one(grad_output, input, None, None, options, out)
        if usual is not None:
            return usual
    function = "conv1d_backward_weight"
    dy: Any = grad_output
    x: Any = input
    if not same_dtype(dy, x):
        dy, x = as_arrays(function, grad_output=dy, input=x)
    plan = plan_conv1d_backward_weight(
        (dy.shape, x.shape),
        stride,
        padding,
        dilation,
        groups,
        padding_mode,
        layout,
        kernel_size,
        method,
    )
    if per_sample is not False:
        if per_sample is not True:
            raise TypeError(f"{function}: per_sample must be True or False, not {per_sample!r}")
        if x.ndim != 3:
            raise ValueError(
                f"{function}: per_sample needs samples, but input has shape {x.shape}, "
                f"without a batch"
            )
        plan = plan._replace(w_shape=(len(x), *plan.w_shape), per_sample=True)
    given = {"grad_output": grad_output, "input": input}
    return one(function, BACKWARD_WEIGHT, plan, plan.w_shape, (dy, x, None), out, accumulate, given)


def conv_transpose1d(
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: IntLike = 1,
    padding: Pads = 0,
    output_padding: IntLike = 0,
    groups: SupportsIndex = 1,
    dilation: IntLike = 1,
    *,
    layout: Layout = "NCL",
    method: Method = "direct",
    out: Array | None = None,
    accumulate: bool = False,
) -> Array:
    """Spread every sample over a kernel's taps: a `conv1d` the other way round.

    Which samples meet is as in the `conv1d` that takes the result and returns something as long
    as `input`; of that, this is the gradient with respect to its input, plus a bias::

        y[n, g, o, q] = bias[g, o]
            + sum over c, j and the p with p*stride + j*dilation - pad_left = q
            of weight[g, c, o, j] * input[n, g, c, p]

    Parameters
    ----------
    input : array_like, shape (N, C, L), (C, L) or (L,)
        N signals of C channels and L samples, at least one. Any strides; it is not modified.
    weight : array_like, shape (C, K // groups, k), or (k,) for an `input` of shape (L,)
        For each input channel the kernels of k taps that lead to the outputs of its group.
        With shape (N, C, K // groups, k) each of the N samples has kernels of its own.
    bias : array_like, shape (K,), optional
        Added to every position of its output channel; or (N, K), for a weight of each sample.
    stride : int, optional
        Distance in outputs between what neighbouring samples are spread over.
    padding : int or (int, int), optional
        How many outputs are left out on both sides, or on the left and on the right.
    output_padding : int, optional
        How many outputs there are more on the right, fewer than `stride` or `dilation`: the
        lengths that one `conv1d` with this stride makes equal.
    groups : int, optional
        Number of groups that the channels are divided into.
    dilation : int, optional
        Distance in outputs between neighbouring taps.
    layout, method, out, accumulate
        As in `conv1d`.

    Returns
    -------
    ndarray, shape (N, K, L_out), (K, L_out) or (L_out,)
        With the dtype of the arguments and L_out from `conv_transpose1d_output_length`; `out`, if
        given.

    Raises
    ------
    TypeError
        As `conv1d`.
    ValueError
        If shapes do not fit each other, `output_padding` is too large, the padding leaves no
        output, or `out` cannot take the result.
    MemoryError
        If there is no room for the result. Whatever the error, `out` and the arguments are
        as they were.

    See Also
    --------
    conv_transpose1d_backward : Its gradients.
    conv_transpose1d_output_length : How many positions it returns.
    conv1d_backward_input : The same sum with conjugated weights, for a given length.

    Notes
    -----
    Names, order and defaults are those of ``torch.nn.functional.conv_transpose1d``, in which
    `groups` comes before `dilation`. Complex weights enter as they are, not conjugated.
    How its lengths come about is drawn in [1]_; no zeros are inserted to compute it.

    Subclasses of ndarray are taken for plain arrays, as in `conv1d`.

    References
    ----------
    .. [1] V. Dumoulin and F. Visin, "A guide to convolution arithmetic for deep learning",
       arXiv:1603.07285, 2016, chapter 4.

    Examples
    --------
    >>> import numpy as np
    >>> from cconv1d import conv_transpose1d
    >>> conv_transpose1d([1.0, 10.0, 100.0], [1.0, 2.0])
    array([  1.,  12., 120., 200.])
    >>> conv_transpose1d([1.0, 10.0, 100.0], [1.0, 2.0], stride=2)
    array([  1.,   2.,  10.,  20., 100., 200.])
    >>> coarse, kernels = np.ones((2, 8, 100)), np.ones((8, 3, 4))
    >>> conv_transpose1d(coarse, kernels, stride=2, padding=1).shape
    (2, 3, 200)
    """
    if accumulate is False and (method is DIRECT or method is AUTO):
        options = (stride, padding, dilation, groups, "zeros", layout, output_padding)
        usual = usual_conv_transpose1d.one(input, weight, bias, None, options, out)
        if usual is not None:
            return usual
    function = "conv_transpose1d"
    x: Any = input
    w: Any = weight
    b: Any = bias
    if not (same_dtype(x, w) and (b is None or same_dtype(w, b))):
        if b is None:
            x, w = as_arrays(function, input=x, weight=w)
        else:
            x, w, b = as_arrays(function, input=x, weight=w, bias=b)
    shapes = x.shape, w.shape, None if b is None else b.shape
    plan = plan_conv_transpose1d(
        shapes, stride, padding, dilation, groups, "zeros", layout, output_padding, method
    )
    given = {"input": input, "weight": weight, "bias": bias}
    return one(
        function,
        BACKWARD_INPUT,
        plan,
        plan.x_shape,
        (x, w, b),
        out,
        accumulate,
        given,
        transposed=True,
    )


def conv_transpose1d_backward(
    grad_output: ArrayLike,
    input: ArrayLike,
    weight: ArrayLike,
    stride: IntLike = 1,
    padding: Pads = 0,
    output_padding: IntLike = 0,
    groups: SupportsIndex = 1,
    dilation: IntLike = 1,
    *,
    layout: Layout = "NCL",
    method: Method = "direct",
    needs: Sequence[bool] = (True, True, True),
    out: Sequence[Array | None] | None = None,
    accumulate: bool = False,
) -> Gradients:
    """Gradients of a scalar loss with respect to the arguments of `conv_transpose1d`.

    Parameters
    ----------
    grad_output : array_like, shape (N, K, L_out), (K, L_out) or (L_out,)
        Derivatives of the loss with respect to each output of `conv_transpose1d`.
    input : array_like, shape (N, C, L), (C, L) or (L,)
        What `conv_transpose1d` was called with.
    weight : array_like, shape (C, K // groups, k), (k,) or (N, C, K // groups, k)
        What `conv_transpose1d` was called with.
    stride, padding, output_padding, groups, dilation, layout, method
        As in `conv_transpose1d`.
    needs, out, accumulate
        As in `conv1d_backward`.

    Returns
    -------
    Gradients
        A named tuple (input, weight, bias), each in the shape of what it is the gradient
        of, bias as (K,), or (N, K) for a weight of each sample, and None where it is not
        needed; those of `out`, if given.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As `conv_transpose1d`; and ValueError if `grad_output` does not have the shape of its
        output, or `needs` or `out` not three items.

    See Also
    --------
    conv_transpose1d : What it differentiates.
    conv1d_backward : The gradients of `conv1d`.

    Notes
    -----
    The gradient of the input is `conv1d` of `grad_output`; that of the weight is the weight
    gradient of `conv1d` with `input` and `grad_output` exchanged. Complex data follow
    PyTorch's convention, as in `conv1d_backward`: weight and input enter conjugated.

    Subclasses of ndarray are taken for plain arrays, as in `conv1d`.

    Examples
    --------
    >>> from cconv1d import conv_transpose1d_backward
    >>> grads = conv_transpose1d_backward([1.0, 10.0, 100.0], [1.0, 2.0], [3.0, 4.0])
    >>> grads.input
    array([ 43., 430.])
    >>> grads.weight
    array([ 21., 210.])
    >>> grads.bias
    array([111.])
    """
    if out is None and accumulate is False and (method is DIRECT or method is AUTO):
        options = (stride, padding, dilation, groups, "zeros", layout, output_padding)
        usual = usual_conv_transpose1d_backward.gradients(
            grad_output, input, weight, None, options, needs
        )
        if usual is not None:
            return usual
    function = "conv_transpose1d_backward"
    dy: Any = grad_output
    x: Any = input
    w: Any = weight
    if not (same_dtype(dy, x) and same_dtype(x, w)):
        dy, x, w = as_arrays(function, grad_output=dy, input=x, weight=w)
    plan = plan_conv_transpose1d_backward(
        (dy.shape, x.shape, w.shape),
        stride,
        padding,
        dilation,
        groups,
        "zeros",
        layout,
        output_padding,
        method,
    )
    tasks = (
        GradientTask(FORWARD, dy, w, plan.y_shape, transposed=True),
        GradientTask(BACKWARD_WEIGHT, x, dy, plan.w_shape, transposed=True),
        GradientTask(BACKWARD_BIAS, dy, None, plan.b_shape),
    )
    return gradients(
        function,
        plan,
        tasks,
        needs,
        out,
        accumulate,
        grad_output=grad_output,
        input=input,
        weight=weight,
    )
