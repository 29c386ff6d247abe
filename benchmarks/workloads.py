"""The layers that the benchmarks compute, and their data."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import cconv1d

Array = NDArray[Any]

OPS = ("forward", "dx", "dw")
LAYOUTS = ("NCL", "NLC")

#: Tables of layers that leave dtype and layout open; options.csv does not.
TABLES = ("workloads", "few_positions", "methods")

#: Everything that is compiled; half precision is summed in float32.
HALVES = ("float16", "bfloat16")
DTYPES = ("float32", "float64", "complex64", "complex128", *HALVES)

#: The padding modes in the words of `numpy.pad`, which are those of ONNX and JAX, too.
PAD_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@dataclass(frozen=True)
class Row:
    """A layer: a function's arguments, under a name."""

    name: str
    N: int
    C: int
    L: int
    K: int
    kernel_size: int
    stride: int
    dilation: int
    groups: int
    padding: int
    function: str = "conv1d"  # or conv_transpose1d, or convolve, which is that of one channel
    dtype: str = "float32"
    layout: str = "NCL"
    padding_mode: str = "zeros"

    @property
    def transposed(self) -> bool:
        return self.function != "conv1d"

    @property
    def options(self) -> dict[str, str]:
        """The keywords that the function's call needs."""
        return {
            name: getattr(self, name)
            for name in ("layout", "padding_mode")
            if getattr(self, name) != getattr(Row, name)
        }

    @property
    def output_length(self) -> int:
        if self.transposed:
            return cconv1d.conv_transpose1d_output_length(
                self.L, self.kernel_size, self.stride, self.padding, 0, self.dilation
            )
        return cconv1d.conv1d_output_length(
            self.L, self.kernel_size, self.stride, self.padding, self.dilation
        )

    @property
    def shapes(self) -> tuple[tuple[int, int, int], ...]:
        """Of input, weight and output."""
        x, y = (self.N, self.C, self.L), (self.N, self.K, self.output_length)
        if self.layout == "NLC":
            x, y = (x[0], x[2], x[1]), (y[0], y[2], y[1])
        if self.transposed:
            return x, (self.C, self.K // self.groups, self.kernel_size), y
        return x, (self.K, self.C // self.groups, self.kernel_size), y

    @property
    def products(self) -> int:
        """Of the forward map and of each gradient, taps that meet the padding included."""
        positions = self.L if self.transposed else self.output_length
        return self.N * positions * self.C * self.K // self.groups * self.kernel_size

    @property
    def flops(self) -> int:
        return self.products * (8 if self.dtype.startswith("complex") else 2)

    def reduction(self, op: str) -> int:
        """The most products that one result is the sum of."""
        if op == "dw":
            return self.N * (self.L if self.transposed else self.output_length)
        taps = self.kernel_size
        if (op == "dx") != self.transposed:
            taps = -(-taps // self.stride)
        return (self.C if op == "forward" else self.K) // self.groups * taps


@dataclass(frozen=True)
class Case:
    """One operation on a row and its arrays."""

    row: Row
    op: str
    x: Array
    w: Array
    dy: Array

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.x.dtype

    @property
    def nbytes(self) -> int:
        """Of operands and result: a gradient is as large as what it is the gradient of."""
        return self.x.nbytes + self.w.nbytes + self.dy.nbytes

    @property
    def geometry(self) -> tuple[int, int, int, int]:
        return self.row.stride, self.row.padding, self.row.dilation, self.row.groups


def read_rows(globs: Sequence[str], table: str = "workloads", **same: str) -> list[Row]:
    """The rows of a table that have such a name; `same` is what the table does not say of them."""
    with Path(__file__).with_name(f"{table}.csv").open(newline="") as lines:
        rows = [
            Row(**{name: int(v) if v.isdecimal() else v for name, v in fields.items()}, **same)
            for fields in csv.DictReader(lines)
        ]
    return [row for row in rows if any(fnmatch(row.name, glob) for glob in globs)]


def normal(draw: Callable[..., Array], shape: tuple[int, ...], dtype: str) -> Array:
    """Zeros, ones and subnormal numbers have speeds of their own."""
    if dtype.startswith("complex"):
        parts = (*shape, 2), np.dtype(dtype).type(0).real.dtype
        return (draw(*parts) * parts[1].type(0.5**0.5)).view(dtype)[..., 0]
    if dtype in HALVES:
        return draw(shape, np.float32).astype(dtype)
    return draw(shape, dtype)


def cases(rows: Sequence[Row], ops: Sequence[str]) -> Iterable[Case]:
    for row in rows:
        if row.dtype == "bfloat16":
            import ml_dtypes  # noqa: F401  (NumPy knows the word from then on)
        draw = np.random.default_rng(0).standard_normal
        x, w, dy = (normal(draw, shape, row.dtype) for shape in row.shapes)
        for op in ops:
            yield Case(row, op, x, w, dy)
