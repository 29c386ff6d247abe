"""Derivatives of the gradients, out of the public functions alone.

The three maps are bilinear, and the derivatives of each are the other two.  For a scalar S of
dx = backward_input(dy, w) and dw = backward_weight(dy, x), with a = ∂S/∂dx and c = ∂S/∂dw,

    ∂S/∂dy = conv1d(a, w) + conv1d(x, c)
    ∂S/∂w  = backward_weight(dy, a)
    ∂S/∂x  = backward_input(dy, c)
"""

from __future__ import annotations

import numpy as np
from hypothesis import assume, given
from support import seeds, small_cases

from cconv1d import conv1d, conv1d_backward_input, conv1d_backward_weight

# S = Σ sin(dx) + Σ cos(dw): none of its derivatives vanishes or is a constant.


def gradients(x, w, dy, options):
    return (
        conv1d_backward_input(dy, w, x.shape[2], **options),
        conv1d_backward_weight(dy, x, w.shape[2], **options),
    )


def scalar(x, w, dy, options):
    dx, dw = gradients(x, w, dy, options)
    return np.sin(dx).sum() + np.cos(dw).sum()


def derivatives(x, w, dy, options):
    """Of the scalar, with respect to x, w and dy."""
    dx, dw = gradients(x, w, dy, options)
    a, c = np.cos(dx), -np.sin(dw)
    return (
        conv1d_backward_input(dy, c, x.shape[2], **options),
        conv1d_backward_weight(dy, a, w.shape[2], **options),
        conv1d(a, w, **options) + conv1d(x, c, **options),
    )


def arguments(case, seed):
    x, w, _, dy = case.normal(seed, np.float64)
    return [x, w, dy]


@given(case=small_cases, seed=seeds)
def test_finite_differences(backend, case, seed):
    """Along a random direction in each argument, and in all of them together."""
    at = arguments(case, seed)
    exact = derivatives(*at, case.options)
    directions = arguments(case, seed + 1)
    step = 1e-5
    for moved in ((0,), (1,), (2,), (0, 1, 2)):
        far, near = (
            scalar(
                *(
                    p + h * d * (i in moved)
                    for i, (p, d) in enumerate(zip(at, directions, strict=True))
                ),
                case.options,
            )
            for h in (step, -step)
        )
        terms = [directions[i] * exact[i] for i in moved]
        size = sum(abs(t).sum() for t in terms)
        assert abs((far - near) / (2 * step) - sum(t.sum() for t in terms)) <= 1e-6 * (1 + size)


@given(case=small_cases, seed=seeds)
def test_against_pytorch(backend, torch, case, seed):
    """Its double backward, in float64."""
    case = case._replace(mode="zeros")
    at = arguments(case, seed)
    assume(all(array.size for array in at))  # PyTorch refuses some others
    g = case.geometry
    right = (g.output_length - 1) * g.stride + (case.taps - 1) * g.dilation + 1
    right = max(right - g.input_length - g.pad_left, 0)  # as much as is read
    x, w, dy = (torch.from_numpy(array).requires_grad_() for array in at)
    padded = torch.nn.functional.pad(x, (g.pad_left, right))
    y = torch.nn.functional.conv1d(
        padded, w, stride=g.stride, dilation=g.dilation, groups=case.groups
    )
    dx, dw = torch.autograd.grad(y, (x, w), dy, create_graph=True)
    theirs = torch.autograd.grad(dx.sin().sum() + dw.cos().sum(), (x, w, dy))
    for name, ours, other in zip(
        ("x", "w", "dy"), derivatives(*at, case.options), theirs, strict=True
    ):
        np.testing.assert_allclose(ours, other.numpy(), rtol=1e-10, atol=1e-10, err_msg=name)
