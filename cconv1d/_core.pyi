"""The compiled maps; `_reference` says what each computes and in which shapes."""

from collections.abc import Iterable
from contextvars import ContextVar
from typing import Any, final

from numpy import complex64, complex128, float32, float64, uint16
from numpy.typing import NDArray

from ._arrays import Array
from ._execute import Gradients
from ._geometry import Geometry
from ._plans import Plan, Shape

_F32 = NDArray[float32]
_F64 = NDArray[float64]
_Half = NDArray[uint16]
_C64 = NDArray[complex64]
_C128 = NDArray[complex128]

def forward_f32(
    x: _F32, w: _F32 | PackedWeights, b: _F32 | None, y: _F32, geometry: Geometry, groups: int
) -> None: ...
def forward_f64(
    x: _F64, w: _F64 | PackedWeights, b: _F64 | None, y: _F64, geometry: Geometry, groups: int
) -> None: ...
def backward_input_f32(
    dy: _F32,
    w: _F32 | PackedWeights,
    dx: _F32,
    geometry: Geometry,
    groups: int,
    b: _F32 | None = None,
) -> None: ...
def backward_input_f64(
    dy: _F64,
    w: _F64 | PackedWeights,
    dx: _F64,
    geometry: Geometry,
    groups: int,
    b: _F64 | None = None,
) -> None: ...
def backward_weight_f32(dy: _F32, x: _F32, dw: _F32, geometry: Geometry, groups: int) -> None: ...
def backward_weight_f64(dy: _F64, x: _F64, dw: _F64, geometry: Geometry, groups: int) -> None: ...
def backward_bias_f32(dy: _F32, db: _F32) -> None: ...
def backward_bias_f64(dy: _F64, db: _F64) -> None: ...
def forward_half(
    x: _Half,
    w: _Half | PackedWeights,
    b: _Half | None,
    y: _Half,
    geometry: Geometry,
    groups: int,
    is_bfloat16: bool,
) -> None: ...
def backward_input_half(
    dy: _Half,
    w: _Half | PackedWeights,
    dx: _Half,
    geometry: Geometry,
    groups: int,
    b: _Half | None = None,
    is_bfloat16: bool = False,
) -> None: ...
def backward_weight_half(
    dy: _Half, x: _Half, dw: _Half, geometry: Geometry, groups: int, is_bfloat16: bool
) -> None: ...
def backward_bias_half(dy: _Half, db: _Half, is_bfloat16: bool) -> None: ...
def forward_c64(
    x: _C64,
    w: _C64 | PackedWeights,
    b: _C64 | None,
    y: _C64,
    geometry: Geometry,
    groups: int,
    conjugate: bool = False,
) -> None: ...
def backward_input_c64(
    dy: _C64,
    w: _C64 | PackedWeights,
    dx: _C64,
    geometry: Geometry,
    groups: int,
    b: _C64 | None = None,
    conjugate: bool = False,
) -> None: ...
def backward_weight_c64(
    dy: _C64, x: _C64, dw: _C64, geometry: Geometry, groups: int, conjugate: bool = False
) -> None: ...
def backward_bias_c64(dy: _C64, db: _C64) -> None: ...
def forward_c128(
    x: _C128,
    w: _C128 | PackedWeights,
    b: _C128 | None,
    y: _C128,
    geometry: Geometry,
    groups: int,
    conjugate: bool = False,
) -> None: ...
def backward_input_c128(
    dy: _C128,
    w: _C128 | PackedWeights,
    dx: _C128,
    geometry: Geometry,
    groups: int,
    b: _C128 | None = None,
    conjugate: bool = False,
) -> None: ...
def backward_weight_c128(
    dy: _C128, x: _C128, dw: _C128, geometry: Geometry, groups: int, conjugate: bool = False
) -> None: ...
def backward_bias_c128(dy: _C128, db: _C128) -> None: ...

@final
class PackedWeights:
    def is_current(self) -> bool: ...

@final
class KnownCall: ...

@final
class UsualCalls:  # its twin in _usual.py says more
    def __init__(
        self, which_map: int, role: int, transposed: bool, result_type: type[Gradients]
    ) -> None: ...
    def learn(
        self, shapes: tuple[Shape | None, ...], options: tuple[object, ...], plan: Plan
    ) -> None: ...
    def one(
        self,
        first: object,
        second: object,
        bias: object,
        packed: object,
        options: tuple[object, ...],
        out: object,
        held: object = None,
    ) -> Array | None: ...
    def gradients(
        self,
        dy: object,
        x: object,
        w: object,
        packed: object,
        options: tuple[object, ...],
        needs: object,
    ) -> Gradients | None: ...
    def slide(self, a: object, v: object, mode: object, reverse: bool) -> Array | None: ...

def silu(values: _F32 | _F64) -> None: ...
def update_states(
    x: object, state: object, w: object, bias: object, silu: bool
) -> NDArray[Any] | None: ...
def silu_backward(values: _F32 | _F64, grads: _F32 | _F64) -> None: ...
def know_bfloat16(number: int) -> None: ...
def use_known_calls(yes: bool) -> None: ...
def pack_f32(
    w: _F32, geometry: Geometry, groups: int, transposed: bool, channels_last: bool
) -> PackedWeights: ...
def pack_f64(
    w: _F64, geometry: Geometry, groups: int, transposed: bool, channels_last: bool
) -> PackedWeights: ...
def pack_half(
    w: _Half,
    geometry: Geometry,
    groups: int,
    transposed: bool,
    channels_last: bool,
    is_bfloat16: bool,
) -> PackedWeights: ...
def pack_c64(
    w: _C64,
    geometry: Geometry,
    groups: int,
    transposed: bool,
    channels_last: bool,
    conjugate: bool = False,
) -> PackedWeights: ...
def pack_c128(
    w: _C128,
    geometry: Geometry,
    groups: int,
    transposed: bool,
    channels_last: bool,
    conjugate: bool = False,
) -> PackedWeights: ...

_C_API: object  # see include/cconv1d.h
_XLA_HANDLER: object  # the address of a function for XLA
CONSTANTS: dict[str, int]

@final
class HopWeights:
    def __init__(
        self,
        w: Array,
        bias: Array | None,
        geometry: Geometry,
        groups: int,
        channels_last: bool,
        hop: int,
        left: int,
        log_points: int,
        part: int,
    ) -> None: ...
    def is_current(self) -> bool: ...

@final
class HopLines:
    def __init__(self, weights: HopWeights, rows: int) -> None: ...
    def is_current(self) -> bool: ...
    def forget(self, rows: Iterable[int]) -> None: ...
    def run(
        self, row: int, x: Array, y: Array, first: int, hop: int, mode: int, end: int
    ) -> None: ...

def fft_block(taps: int, channels: int, outs: int) -> int: ...
def available_isas() -> list[str]: ...
def isa() -> str: ...
def set_isa(name: str) -> None: ...
def compiler() -> str: ...
def note_main_thread() -> None: ...
def cpus() -> int: ...
def get_threads() -> int: ...
def set_threads(count: int) -> None: ...
def use_blocks(variable: ContextVar[Any]) -> None: ...
def tune(name: str, value: int) -> int: ...
def lend_openmp(parallel: int, in_parallel: int) -> None: ...
def thread_host() -> int: ...
