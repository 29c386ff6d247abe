"""The compiled maps; `_reference` says what each computes and in which shapes."""

from typing import Any

from numpy import complex64, complex128, float32, float64, uint16
from numpy.typing import NDArray

from ._geometry import Geometry

F32 = NDArray[float32]
F64 = NDArray[float64]
Half = NDArray[uint16]
C64 = NDArray[complex64]
C128 = NDArray[complex128]

def forward_f32(x: F32, w: F32, b: F32 | None, y: F32, geometry: Geometry, groups: int) -> None: ...
def forward_f64(x: F64, w: F64, b: F64 | None, y: F64, geometry: Geometry, groups: int) -> None: ...
def backward_input_f32(
    dy: F32, w: F32, dx: F32, geometry: Geometry, groups: int, b: F32 | None = None
) -> None: ...
def backward_input_f64(
    dy: F64, w: F64, dx: F64, geometry: Geometry, groups: int, b: F64 | None = None
) -> None: ...
def backward_weight_f32(dy: F32, x: F32, dw: F32, geometry: Geometry, groups: int) -> None: ...
def backward_weight_f64(dy: F64, x: F64, dw: F64, geometry: Geometry, groups: int) -> None: ...
def backward_bias_f32(dy: F32, db: F32) -> None: ...
def backward_bias_f64(dy: F64, db: F64) -> None: ...
def small(
    which: int,
    first: NDArray[Any],
    second: NDArray[Any] | None,
    bias: NDArray[Any] | None,
    out: NDArray[Any],
    geometry: Geometry,
    groups: int,
) -> bool: ...
def forward_half(
    x: Half, w: Half, b: Half | None, y: Half, geometry: Geometry, groups: int, is_bfloat16: bool
) -> None: ...
def backward_input_half(
    dy: Half,
    w: Half,
    dx: Half,
    geometry: Geometry,
    groups: int,
    b: Half | None = None,
    is_bfloat16: bool = False,
) -> None: ...
def backward_weight_half(
    dy: Half, x: Half, dw: Half, geometry: Geometry, groups: int, is_bfloat16: bool
) -> None: ...
def backward_bias_half(dy: Half, db: Half, is_bfloat16: bool) -> None: ...
def forward_c64(
    x: C64,
    w: C64 | PackedWeights,
    b: C64 | None,
    y: C64,
    geometry: Geometry,
    groups: int,
    conjugate: bool = False,
) -> None: ...
def backward_input_c64(
    dy: C64,
    w: C64 | PackedWeights,
    dx: C64,
    geometry: Geometry,
    groups: int,
    b: C64 | None = None,
    conjugate: bool = False,
) -> None: ...
def backward_weight_c64(
    dy: C64, x: C64, dw: C64, geometry: Geometry, groups: int, conjugate: bool = False
) -> None: ...
def backward_bias_c64(dy: C64, db: C64) -> None: ...
def forward_c128(
    x: C128,
    w: C128 | PackedWeights,
    b: C128 | None,
    y: C128,
    geometry: Geometry,
    groups: int,
    conjugate: bool = False,
) -> None: ...
def backward_input_c128(
    dy: C128,
    w: C128 | PackedWeights,
    dx: C128,
    geometry: Geometry,
    groups: int,
    b: C128 | None = None,
    conjugate: bool = False,
) -> None: ...
def backward_weight_c128(
    dy: C128, x: C128, dw: C128, geometry: Geometry, groups: int, conjugate: bool = False
) -> None: ...
def backward_bias_c128(dy: C128, db: C128) -> None: ...

class PackedWeights: ...

def pack_f32(
    w: F32, geometry: Geometry, groups: int, transposed: bool, channels_last: bool
) -> PackedWeights: ...
def pack_f64(
    w: F64, geometry: Geometry, groups: int, transposed: bool, channels_last: bool
) -> PackedWeights: ...
def pack_half(
    w: Half,
    geometry: Geometry,
    groups: int,
    transposed: bool,
    channels_last: bool,
    is_bfloat16: bool,
) -> PackedWeights: ...
def pack_c64(
    w: C64,
    geometry: Geometry,
    groups: int,
    transposed: bool,
    channels_last: bool,
    conjugate: bool = False,
) -> PackedWeights: ...
def pack_c128(
    w: C128,
    geometry: Geometry,
    groups: int,
    transposed: bool,
    channels_last: bool,
    conjugate: bool = False,
) -> PackedWeights: ...

_C_API: object  # see include/cconv1d.h
CONSTANTS: dict[str, int]

def available_isas() -> list[str]: ...
def isa() -> str: ...
def set_isa(name: str) -> None: ...
def compiler() -> str: ...
def note_main_thread() -> None: ...
def cpus() -> int: ...
def get_threads() -> int: ...
def limit_threads(count: int) -> int: ...
def set_threads(count: int) -> None: ...
def set_serial_products(products: int) -> None: ...
