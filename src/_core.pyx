"""The nests: which block of which array a tile works on next.

forward and backward_input are one sum, taken in two directions:

    out[n, g, r, m·out_step + out_phase]
        = bias[g, r] + Σ_{c,j} w[g, r, c, j] · in[n, g, c, m·in_step + in_phase(j) + ...]

The taps j fall into residues by the remainder of j·dilation − pad_left modulo stride. Within
one residue neighbouring taps are `period` apart in j and `step` apart in positions, and

    forward          in = x, in_step = stride: a residue reads one phase of the input, and the
                     sum runs over all residues;
    backward_input   in = dy, out_step = stride: a residue writes one phase of the output, and
                     there is nothing to sum between residues (and nothing to read between the
                     samples of dy: zeros are never inserted).

backward_weight reads x as forward does, and sums over positions instead of terms.

Every nest packs a panel: for each (channel, residue) the samples that a range of positions
needs, contiguous, with zeros or copies of samples outside of the input. Strides of the array,
stride, dilation and padding end there: a term t = (c, residue, tap of the residue) is a panel and
an offset for the tile, whatever the geometry.

    panel     | c=0, residue 0: samples of m0 .. m0+width, halo of its taps | c=0, residue 1 ...
    offset[t]   where the sample of position m0 for term t lies in the panel

Terms that do not fit the panel's budget are taken in chunks, each a whole number of CC_BLOCK
terms, so that chains and their order are the same however the terms are cut.
"""

import os
import threading

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.contextvars cimport get_value
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from cpython.pycapsule cimport PyCapsule_New
from cpython.ref cimport Py_INCREF, PyObject, PyTypeObject
from cpython.tuple cimport PyTuple_Check, PyTuple_GET_ITEM, PyTuple_GET_SIZE
from libc.math cimport fma, fmaf, isfinite, sqrt
from libc.stdint cimport (
    INT32_MAX, int32_t, int64_t, uint16_t, uint32_t, uint64_t, uintptr_t)
from libc.string cimport memcpy, memmove, memset

cdef extern from *:
    Py_ssize_t PY_SSIZE_T_MAX
    ctypedef struct PyInterpreterState
    PyInterpreterState *PyInterpreterState_Get()
    PyInterpreterState *PyInterpreterState_Main()
    unsigned long PyThread_get_thread_ident() nogil
    int PyErr_CheckSignals()  # its exception stays set

cdef extern from "debug.h" nogil:
    void cc_assert(bint condition)


cdef extern from "fft/transforms.h" nogil:
    enum:
        CC_MIN_LOG_POINTS
        CC_MIN_LOG_POINTS_ACROSS
        CC_MAX_LOG_POINTS
        CC_PLANES
        CC_MOST_PAIRS
        CC_LONGEST_RUN
        CC_CHAIN
    ctypedef struct cc_packets:
        void *numbers
        Py_ssize_t next, row, step
    ctypedef void (*cc_forward_transform)(
        const void *roots, int log_points, void *signal, void *spectrum,
        Py_ssize_t stride) noexcept
    ctypedef void (*cc_inverse_transform)(
        const void *roots, int log_points, const void *spectrum, Py_ssize_t stride,
        void *signal) noexcept
    ctypedef void (*cc_multiply)(
        const cc_packets *a, Py_ssize_t a_rows, const cc_packets *b, Py_ssize_t b_rows,
        Py_ssize_t summands, const cc_packets *out, Py_ssize_t packets, bint resume) noexcept
    ctypedef void (*cc_forward_across)(
        const void *roots, int log_points, const void *signals, Py_ssize_t step, Py_ssize_t count,
        void *numbers, void *spectra, Py_ssize_t stride) noexcept
    ctypedef void (*cc_inverse_across)(
        const void *roots, int log_points, const void *spectra, Py_ssize_t stride,
        void *numbers) noexcept
    ctypedef void (*cc_filter_samples)(
        const void *samples, Py_ssize_t apart, Py_ssize_t pairs, Py_ssize_t whole, void *planes,
        Py_ssize_t plane) noexcept
    ctypedef void (*cc_filter_results)(
        const void *planes, Py_ssize_t plane, Py_ssize_t apart, Py_ssize_t pairs,
        void *results) noexcept
    ctypedef void (*cc_filter_taps)(
        const void *taps, Py_ssize_t step, Py_ssize_t count, Py_ssize_t rows, Py_ssize_t next,
        Py_ssize_t channels, void *planes, Py_ssize_t plane, Py_ssize_t planes_next) noexcept
    ctypedef bint (*cc_finish)(void *signal, Py_ssize_t count, const void *bias) noexcept
    ctypedef void (*cc_finish_lanes)(
        void *signals, Py_ssize_t count, const void *biases, void *spoiled) noexcept
    ctypedef struct cc_transforms:
        Py_ssize_t lanes
        cc_forward_transform forward
        cc_inverse_transform inverse
        cc_multiply multiply
        cc_forward_across forward_across
        cc_inverse_across inverse_across
        cc_multiply multiply_each_row
        cc_multiply multiply_each_summand
        cc_filter_samples filter_samples
        cc_filter_results filter_results
        cc_filter_taps filter_taps
        cc_finish finish
        cc_finish_lanes finish_lanes
    const void *cc_roots(int log_points, size_t size)

cdef extern from "tiles.h" nogil:
    enum:
        CC_BLOCK
        CC_SHIFT
        CC_DOT_ROWS
        CC_DOT_TERMS
        CC_ROW_TERMS_IN_REGISTERS
        CC_ROW_TERMS_MAX
        CC_LANES
        CC_ROWS
        CC_WIDE_ROWS
        CC_TILE
    ctypedef void (*cc_correlate)(
        const void *panel, const int32_t *offset, Py_ssize_t terms, const void *w,
        void *out, Py_ssize_t out_row, const void *bias, bint resume) noexcept
    ctypedef void (*cc_row_chain)(
        const void *panel, const int32_t *offset, Py_ssize_t terms, const void *w, void *chain,
        Py_ssize_t positions) noexcept
    ctypedef void (*cc_row)(
        const void *panel, const int32_t *offset, Py_ssize_t terms, const void *w, void *out,
        Py_ssize_t positions, const void *bias) noexcept
    ctypedef void (*cc_gemm)(
        const void *x, Py_ssize_t x_row, const int32_t *offset, Py_ssize_t terms, const void *w,
        Py_ssize_t w_row, void *out, Py_ssize_t out_row, const void *bias, bint resume) noexcept
    ctypedef void (*cc_gemm_wide)(
        const void *x, Py_ssize_t x_row, const int32_t *offset, Py_ssize_t terms, const void *w,
        Py_ssize_t w_row, Py_ssize_t w_block, void *out, Py_ssize_t out_row, const void *bias,
        bint resume) noexcept
    ctypedef void (*cc_depthwise_blocks)(
        const void *x, Py_ssize_t x_row, Py_ssize_t x_block, const int32_t *x_offset,
        const void *w, Py_ssize_t w_block, const int32_t *w_offset, Py_ssize_t terms, void *out,
        Py_ssize_t out_row, Py_ssize_t out_block, const void *bias, bint resume,
        Py_ssize_t blocks) noexcept
    ctypedef void (*cc_dw_short)(
        const void *x, Py_ssize_t x_row, Py_ssize_t x_sample, Py_ssize_t tap_pitch, const void *dy,
        Py_ssize_t dy_row, Py_ssize_t dy_sample, Py_ssize_t positions, Py_ssize_t samples,
        void *chain, bint begin, void *total) noexcept
    ctypedef void (*cc_rows_to_lanes)(
        const void *rows, Py_ssize_t pitch, Py_ssize_t positions, void *lanes,
        Py_ssize_t block, Py_ssize_t blocks) noexcept
    ctypedef void (*cc_lanes_to_rows)(
        const void *lanes, Py_ssize_t block, Py_ssize_t positions, void *rows,
        Py_ssize_t pitch, Py_ssize_t blocks) noexcept
    ctypedef void (*cc_swap_axes)(
        const void *from_, Py_ssize_t pitch, Py_ssize_t rows, Py_ssize_t columns, void *to,
        Py_ssize_t to_pitch) noexcept
    ctypedef void (*cc_chains)(
        const void *x, Py_ssize_t x_row, const int32_t *offset, Py_ssize_t terms, const void *w,
        const int32_t *w_offset, const int32_t *ends, Py_ssize_t blocks, void *chain, void *total,
        Py_ssize_t row) noexcept
    ctypedef void (*cc_dw_outer)(
        const void *panel, Py_ssize_t x_row, const int32_t *offset, const void *dy,
        Py_ssize_t dy_row, Py_ssize_t positions, void *sums) noexcept
    ctypedef void (*cc_dw_dot)(
        const void *panel, const int32_t *offset, const void *dy_rows, const int32_t *dy_offset,
        Py_ssize_t skew, Py_ssize_t positions, void *sums, Py_ssize_t sums_row) noexcept
    ctypedef void (*cc_dw_depthwise)(
        const void *x, Py_ssize_t x_row, const int32_t *offset, const void *dy, Py_ssize_t dy_row,
        Py_ssize_t positions, void *chains, void *sums, Py_ssize_t chains_row,
        bint resume) noexcept
    ctypedef void (*cc_fold_lanes)(void *sums, Py_ssize_t count) noexcept
    ctypedef void (*cc_transpose)(
        const void *rows, const int32_t *offset, Py_ssize_t count, Py_ssize_t positions,
        void *transposed_panel) noexcept
    ctypedef void (*cc_transpose_blocks)(
        const void *rows, Py_ssize_t row, Py_ssize_t count, Py_ssize_t block, Py_ssize_t blocks,
        Py_ssize_t positions, void *out, Py_ssize_t out_block, Py_ssize_t out_lanes) noexcept
    ctypedef void (*cc_load_strided)(const void *first, Py_ssize_t step, Py_ssize_t count,
                                     void *row) noexcept
    ctypedef void (*cc_sum_row)(const void *dy, Py_ssize_t positions, void *total) noexcept
    ctypedef struct cc_tiles:
        bint fused
        Py_ssize_t correlate_rows
        Py_ssize_t *correlate_width
        cc_correlate *correlate
        Py_ssize_t *correlate_half_width
        cc_correlate *correlate_half
        Py_ssize_t row_least
        cc_row *row
        cc_row_chain row_chain
        Py_ssize_t gemm_rows
        Py_ssize_t gemm_lanes
        const cc_gemm *gemm
        const cc_gemm *gemm_narrow
        const cc_gemm *depthwise_narrow
        const Py_ssize_t *gemm_wide_blocks
        const cc_gemm_wide *gemm_wide
        const cc_gemm *depthwise
        const cc_depthwise_blocks *depthwise_blocks
        const cc_dw_short *dw_short
        cc_rows_to_lanes rows_to_lanes
        cc_lanes_to_rows lanes_to_rows
        cc_swap_axes swap_axes
        const cc_chains *chains
        const cc_chains *half_chains
        Py_ssize_t dw_outer_rows
        Py_ssize_t dw_outer_width
        cc_dw_outer *dw_outer
        cc_transpose transpose
        cc_transpose_blocks transpose_blocks
        Py_ssize_t *dw_dot_terms
        cc_dw_dot dw_dot[CC_DOT_ROWS + 1][CC_DOT_TERMS + 1]
        Py_ssize_t dw_depthwise_terms
        const cc_dw_depthwise *dw_depthwise
        Py_ssize_t dw_spread_terms
        const cc_dw_depthwise *dw_spread
        cc_fold_lanes fold_lanes
        cc_sum_row sum_row
        cc_load_strided load_strided
        const cc_tiles *narrower
    ctypedef void (*cc_widen)(
        const uint16_t *halves, Py_ssize_t count, float *values) noexcept
    ctypedef void (*cc_narrow)(
        const float *values, Py_ssize_t count, uint16_t *halves) noexcept
    ctypedef struct cc_half:
        cc_widen widen
        cc_narrow narrow
    ctypedef struct cc_level:
        const char *name
        bint (*supported)() noexcept
        const cc_tiles *f32
        const cc_tiles *f64
        const cc_half *float16
        const cc_half *bfloat16
        const cc_transforms *f32_transforms
        const cc_transforms *f64_transforms
    const cc_level *cc_levels
    int cc_level_count
    const char *cc_compiler
    void cc_prefetch(const char *first, Py_ssize_t bytes)

cdef extern from "pool.h" nogil:
    ctypedef void (*cc_work)(void *context, Py_ssize_t chunk, int worker) noexcept
    void cc_pool_run(cc_work work, void *context, Py_ssize_t chunks, int threads)
    int cc_pool_set_interrupt(int (*check)() noexcept nogil)
    int cc_pool_cancelled(int worker)
    int cc_pool_cpus()
    enum:
        CC_POOL_MAX
    int cc_pool_threads()
    void cc_pool_set_threads(int threads)
    int cc_pool_limit_threads(int threads)
    void cc_pool_limit_context(int threads)
    void cc_pool_lend(cconv1d_team team, void *context)
    ctypedef void (*cc_gomp_parallel)(
        void (*member)(void *) noexcept nogil, void *argument, unsigned threads,
        unsigned flags) noexcept nogil
    void cc_pool_lend_openmp(cc_gomp_parallel parallel, int (*in_parallel)() noexcept nogil)
    int cc_pool_host()

ctypedef fused real:    # what the tiles compute with
    float
    double

ctypedef fused real_or_half:  # half precision comes as integers
    float
    double
    uint16_t

ctypedef float complex complex64
ctypedef double complex complex128

ctypedef fused stored:  # what signals hold
    float
    double
    uint16_t
    complex64
    complex128


include "nest/tuning.pxi"
include "nest/view.pxi"
include "nest/geometry.pxi"
include "nest/scratch.pxi"
include "nest/panel.pxi"
include "nest/phases.pxi"
include "nest/backward_weight.pxi"
include "nest/few_positions_weight.pxi"
include "nest/backward_bias.pxi"
include "nest/pack_weights.pxi"
include "nest/zero_padding.pxi"
include "nest/channels_last.pxi"
include "nest/channels_last_weight.pxi"
include "nest/correlate.pxi"
include "nest/few_positions.pxi"
include "nest/living_taps.pxi"
include "nest/depthwise.pxi"
include "nest/depthwise_weight.pxi"
include "nest/few_positions_input.pxi"
include "nest/blocks.pxi"
include "nest/minimal_filtering.pxi"
include "nest/overlap_save.pxi"
include "nest/partitions.pxi"
include "nest/overlap_save_weight.pxi"
include "nest/choose.pxi"
include "nest/padding_adjoint.pxi"
include "nest/maps.pxi"
include "nest/c_api.pxi"
include "nest/xla.pxi"


# --- what Python calls: one function per map and dtype, in the shapes of _reference.py -----------

# Python runs the handlers of signals on this thread alone. Calls on others take no notice of them;
# and to ask for the GIL there would end the thread, in the middle of a job, when Python exits.
cdef unsigned long main_thread = 0


def note_main_thread():
    """To be called at import, and after a fork in the child, where it may be another one."""
    global main_thread
    if PyInterpreterState_Get() == PyInterpreterState_Main():
        main_thread = threading.main_thread().ident


note_main_thread()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=note_main_thread)


cdef int handle_signals() noexcept nogil:
    """Run the handlers of what has come; nonzero if one has raised an exception, which is set."""
    with gil:
        return PyErr_CheckSignals()


# The context variable of _threads.py, once a block of `num_threads` has been entered.
cdef object blocks_variable = None


cdef int note_limit() except -1:
    """Tell the pool what limit the calling thread's context has: tasks take turns in a thread."""
    cdef tuple blocks
    cdef Py_ssize_t i
    cdef int threads = 0
    if blocks_variable is not None:
        blocks = get_value(blocks_variable)
        for i in range(len(blocks) - 1, -1, -1):
            threads = blocks[i].threads
            if threads != 0:
                break
        cc_pool_limit_context(threads)
    return 0


cdef int run_map(
    Map map, const View *views, const Geometry *g, Py_ssize_t groups, Py_ssize_t size
) except -1:
    """`apply_map`, of the first operand, the second, the bias and the result.

    On MemoryError the result is untouched, unless it is a padded backward_input. An exception that
    the handler of a signal raises ends it halfway.
    """
    cdef bint done
    cdef bint interruptible = PyThread_get_thread_ident() == main_thread
    note_limit()
    if interruptible:
        cc_pool_set_interrupt(handle_signals)
    with nogil:
        done = apply_map(map, &views[0], &views[1], &views[2], &views[3], g, groups, size)
    if interruptible and cc_pool_set_interrupt(NULL):
        return -1  # with the exception that the handler has raised
    if not done:
        raise MemoryError("cconv1d: no memory for the packed weights and panels")
    return 0


cdef int run_tiny_map(
    Map map, const View *views, const Geometry *g, Py_ssize_t groups, Py_ssize_t size
) except -1:
    """`run_map` without a word to other threads and to signals, which need not wait long."""
    if not apply_map(map, &views[0], &views[1], &views[2], &views[3], g, groups, size):
        raise MemoryError("cconv1d: no memory for the packed weights and panels")
    return 0


cdef int compute(
    Map map, View first, View second, View bias, View out, object geometry, Py_ssize_t groups,
    Py_ssize_t size
) except -1:
    """`run_map` for a geometry of _geometry.py."""
    cdef View *views = [first, second, bias, out]
    cdef Geometry g
    if map != BACKWARD_BIAS:
        g = as_geometry(geometry, out.shape[2] if map == BACKWARD_WEIGHT else second.shape[2])
    return run_map(map, views, &g, groups, size)


@cython.final
cdef class PackedWeights:
    """Weights as the tiles of the present level read them for one map, to be given in their place.

    They are those that the array had when it was packed. It must not change, because where some of
    them are not finite, it is read, too. Nothing here changes once it is made, so that calls from
    any number of threads may take the same.
    """
    cdef View view
    cdef PackedLayout[2] packed
    cdef object array
    cdef Py_ssize_t itemsize  # of the array
    cdef Py_ssize_t size      # of the tiles' numbers
    cdef void *memory

    def __cinit__(self):
        self.memory = NULL

    def __dealloc__(self):
        PyMem_RawFree(self.memory)

    cpdef bint is_current(self) noexcept:
        """Whether the tiles of the present level read them."""
        return self.view.packed == NULL or self.packed[0].tiles == (
            level.f32 if self.size == sizeof(float) else level.f64)

    cdef View view_as(self, Py_ssize_t itemsize, bint pair=False):
        if itemsize != self.itemsize:
            raise TypeError(f"packed weights have items of {self.itemsize} bytes, not {itemsize}")
        if pair != self.view.pair:
            raise TypeError("packed weights of complex numbers do not go with real ones")
        return self.view


cdef View weights_of(object w, stored kind, const cc_half *half=NULL, bint conjugate=False):
    """The view of an array of that kind of numbers, to be conjugated, or of one that was packed."""
    cdef const stored[:, :, :] array
    if type(w) is PackedWeights:
        return (<PackedWeights> w).view_as(
            sizeof(stored), stored is complex64 or stored is complex128)
    array = w
    return weight_view(array, half, conjugate)


cdef PackedWeights packed_weights(
    object array, stored kind, object geometry, Py_ssize_t groups, bint transposed,
    bint channels_last, const cc_half *half=NULL, bint conjugate=False
):
    """Weights packed for the present level; numbers in half precision as those of the tiles.

    Where signals may have their channels last, they are packed in both orders: see plan_prepacking.
    For method "fft" they are spectra, and planes for "fast".
    """
    cdef PackedWeights weights = PackedWeights()
    cdef View w = weights_of(array, kind, half, conjugate)
    cdef Geometry g = as_geometry(geometry, w.shape[2])
    cdef Py_ssize_t size = sizeof(float) if half != NULL else sizeof(stored) >> w.pair
    cdef Prepacking prepacking
    cdef uintptr_t start
    cdef Py_ssize_t bytes
    cdef int i
    cdef bint done = True
    cdef const cc_tiles *tiles
    weights.array, weights.view, weights.itemsize = array, w, sizeof(stored)
    weights.size = size
    if w.shape[0] == 0 or w.shape[1] == 0 or w.shape[2] == 0:
        return weights  # what there is to do for no weights needs none
    note_limit()
    with nogil:
        tiles = level.f32 if size == sizeof(float) else level.f64
        prepacking.count = 0
        if g.method != DIRECT:
            bytes = spectra_bytes(tiles, &w, &g, groups, transposed, size)
            done = bytes > 0
        else:
            plan_prepacking(&prepacking, tiles, &w, &g, groups, transposed, channels_last)
            bytes = carve_prepacked(&prepacking, size, 0)
        if done:
            weights.memory = PyMem_RawMalloc(bytes + 64)
            done = weights.memory != NULL
        if done and subnormal_scratch:
            fill_subnormal(weights.memory, bytes + 64)
        if done:
            start = aligned(weights.memory)
            if g.method != DIRECT:
                done = prepack_spectra(tiles, &w, &g, groups, transposed, size, &weights.packed[0],
                                       <void *> start)
            carve_prepacked(&prepacking, size, start)
            for i in range(prepacking.count):
                done &= prepack_weights(&w, &prepacking.sums[i], cc_pool_threads(), size,
                                        &weights.packed[i], prepacking.numbers[i])
    if not done:
        raise MemoryError("cconv1d: no memory for the packed weights")
    if prepacking.count > 1:
        weights.packed[0].other = &weights.packed[1]
    weights.view.packed = weights.packed
    return weights


def pack_f32(w, geometry, Py_ssize_t groups, bint transposed, bint channels_last):
    return packed_weights(w, <float> 0, geometry, groups, transposed, channels_last)


def pack_f64(w, geometry, Py_ssize_t groups, bint transposed, bint channels_last):
    return packed_weights(w, <double> 0, geometry, groups, transposed, channels_last)


def pack_half(w, geometry, Py_ssize_t groups, bint transposed, bint channels_last,
              bint is_bfloat16):
    return packed_weights(w, <uint16_t> 0, geometry, groups, transposed, channels_last,
                          half_of(is_bfloat16))


def forward_f32(const float[:, :, :] x, w, const float[:] b, float[:, :, :] y, geometry,
                Py_ssize_t groups):
    compute(FORWARD, view_of(x), weights_of(w, <float> 0), line_of(b), view_of(y), geometry,
            groups, sizeof(float))


def forward_f64(const double[:, :, :] x, w, const double[:] b, double[:, :, :] y, geometry,
                Py_ssize_t groups):
    compute(FORWARD, view_of(x), weights_of(w, <double> 0), line_of(b), view_of(y), geometry,
            groups, sizeof(double))


def backward_input_f32(const float[:, :, :] dy, w, float[:, :, :] dx,
                       geometry, Py_ssize_t groups, const float[:] b=None):
    compute(BACKWARD_INPUT, view_of(dy), weights_of(w, <float> 0), line_of(b), view_of(dx),
            geometry, groups, sizeof(float))


def backward_input_f64(const double[:, :, :] dy, w, double[:, :, :] dx,
                       geometry, Py_ssize_t groups, const double[:] b=None):
    compute(BACKWARD_INPUT, view_of(dy), weights_of(w, <double> 0), line_of(b), view_of(dx),
            geometry, groups, sizeof(double))


def backward_weight_f32(const float[:, :, :] dy, const float[:, :, :] x, float[:, :, :] dw,
                        geometry, Py_ssize_t groups):
    compute(BACKWARD_WEIGHT, view_of(dy), view_of(x), nothing, view_of(dw), geometry, groups,
            sizeof(float))


def backward_weight_f64(const double[:, :, :] dy, const double[:, :, :] x, double[:, :, :] dw,
                        geometry, Py_ssize_t groups):
    compute(BACKWARD_WEIGHT, view_of(dy), view_of(x), nothing, view_of(dw), geometry, groups,
            sizeof(double))


def backward_bias_f32(const float[:, :, :] dy, float[:] db):
    compute(BACKWARD_BIAS, view_of(dy), nothing, nothing, line_of(db), None, 1, sizeof(float))


def backward_bias_f64(const double[:, :, :] dy, double[:] db):
    compute(BACKWARD_BIAS, view_of(dy), nothing, nothing, line_of(db), None, 1, sizeof(double))


# Half precision comes as integers of 16 bits, which is what memoryviews can hold of it.

cdef const cc_half *half_of(bint is_bfloat16) noexcept:
    return level.bfloat16 if is_bfloat16 else level.float16


def forward_half(const uint16_t[:, :, :] x, w, const uint16_t[:] b,
                 uint16_t[:, :, :] y, geometry, Py_ssize_t groups, bint is_bfloat16):
    cdef const cc_half *half = half_of(is_bfloat16)
    compute(FORWARD, view_of(x, half), weights_of(w, <uint16_t> 0, half), line_of(b, half),
            view_of(y, half), geometry, groups, sizeof(float))


def backward_input_half(const uint16_t[:, :, :] dy, w,
                        uint16_t[:, :, :] dx, geometry, Py_ssize_t groups,
                        const uint16_t[:] b=None, bint is_bfloat16=False):
    cdef const cc_half *half = half_of(is_bfloat16)
    compute(BACKWARD_INPUT, view_of(dy, half), weights_of(w, <uint16_t> 0, half),
            line_of(b, half), view_of(dx, half), geometry, groups, sizeof(float))


def backward_weight_half(const uint16_t[:, :, :] dy, const uint16_t[:, :, :] x,
                         uint16_t[:, :, :] dw, geometry, Py_ssize_t groups, bint is_bfloat16):
    cdef const cc_half *half = half_of(is_bfloat16)
    compute(BACKWARD_WEIGHT, view_of(dy, half), view_of(x, half), nothing, view_of(dw, half),
            geometry, groups, sizeof(float))


def backward_bias_half(const uint16_t[:, :, :] dy, uint16_t[:] db, bint is_bfloat16):
    cdef const cc_half *half = half_of(is_bfloat16)
    compute(BACKWARD_BIAS, view_of(dy, half), nothing, nothing, line_of(db, half), None, 1,
            sizeof(float))


# Complex numbers are read and written in place, as if each channel were two of real ones, and a
# weight a matrix between them. backward_input conjugates the weight, as gradients ask for. With
# `conjugate` a weight is conjugated first, so that backward_input takes it as it is; and the
# gradient of a weight comes out conjugated.

def forward_c64(const complex64[:, :, :] x, w, const complex64[:] b, complex64[:, :, :] y,
                geometry, Py_ssize_t groups, bint conjugate=False):
    compute(FORWARD, view_of(x), weights_of(w, <complex64> 0j, NULL, conjugate), line_of(b),
            view_of(y), geometry, groups, sizeof(float))


def backward_input_c64(const complex64[:, :, :] dy, w, complex64[:, :, :] dx, geometry,
                       Py_ssize_t groups, const complex64[:] b=None, bint conjugate=False):
    compute(BACKWARD_INPUT, view_of(dy), weights_of(w, <complex64> 0j, NULL, conjugate),
            line_of(b), view_of(dx), geometry, groups, sizeof(float))


def backward_weight_c64(const complex64[:, :, :] dy, const complex64[:, :, :] x,
                        complex64[:, :, :] dw, geometry, Py_ssize_t groups,
                        bint conjugate=False):
    compute(BACKWARD_WEIGHT, view_of(dy), view_of(x), nothing, weight_view(dw, NULL, conjugate),
            geometry, groups, sizeof(float))


def backward_bias_c64(const complex64[:, :, :] dy, complex64[:] db):
    compute(BACKWARD_BIAS, view_of(dy), nothing, nothing, line_of(db), None, 1, sizeof(float))


def pack_c64(w, geometry, Py_ssize_t groups, bint transposed, bint channels_last,
             bint conjugate=False):
    return packed_weights(w, <complex64> 0j, geometry, groups, transposed, channels_last, NULL,
                          conjugate)


def forward_c128(const complex128[:, :, :] x, w, const complex128[:] b, complex128[:, :, :] y,
                 geometry, Py_ssize_t groups, bint conjugate=False):
    compute(FORWARD, view_of(x), weights_of(w, <complex128> 0j, NULL, conjugate), line_of(b),
            view_of(y), geometry, groups, sizeof(double))


def backward_input_c128(const complex128[:, :, :] dy, w, complex128[:, :, :] dx, geometry,
                        Py_ssize_t groups, const complex128[:] b=None, bint conjugate=False):
    compute(BACKWARD_INPUT, view_of(dy), weights_of(w, <complex128> 0j, NULL, conjugate),
            line_of(b), view_of(dx), geometry, groups, sizeof(double))


def backward_weight_c128(const complex128[:, :, :] dy, const complex128[:, :, :] x,
                         complex128[:, :, :] dw, geometry, Py_ssize_t groups,
                         bint conjugate=False):
    compute(BACKWARD_WEIGHT, view_of(dy), view_of(x), nothing, weight_view(dw, NULL, conjugate),
            geometry, groups, sizeof(double))


def backward_bias_c128(const complex128[:, :, :] dy, complex128[:] db):
    compute(BACKWARD_BIAS, view_of(dy), nothing, nothing, line_of(db), None, 1, sizeof(double))


def pack_c128(w, geometry, Py_ssize_t groups, bint transposed, bint channels_last,
              bint conjugate=False):
    return packed_weights(w, <complex128> 0j, geometry, groups, transposed, channels_last, NULL,
                          conjugate)


include "usual_calls.pxi"
include "silu.pxi"
include "update.pxi"
include "hops.pxi"


def fft_block(Py_ssize_t taps, Py_ssize_t channels, Py_ssize_t outs):
    """The samples of a block of method "fft", for the channels of a group on both sides."""
    return 2 << block_points(taps, channels, outs)


#: What both sides count or bound alike, for a test that they do.
CONSTANTS = {
    "zeros": CCONV1D_ZEROS,
    "reflect": CCONV1D_REFLECT,
    "replicate": CCONV1D_REPLICATE,
    "circular": CCONV1D_CIRCULAR,
    "forward": FORWARD,
    "backward_input": BACKWARD_INPUT,
    "backward_weight": BACKWARD_WEIGHT,
    "backward_bias": BACKWARD_BIAS,
    "max_size": CCONV1D_MAX_SIZE,
    "direct": DIRECT,
    "fft": FFT,
    "fast": FAST,
    "fast_taps": MINIMAL_TAPS,
    "fft_max_taps": <Py_ssize_t> 1 << CC_MAX_LOG_POINTS,
}


# --- threads -------------------------------------------------------------------------------------

def cpus():
    """The processors that this process may use."""
    return cc_pool_cpus()


def get_threads():
    """What a call from this thread, in its present context, may use."""
    note_limit()
    return cc_pool_threads()


def set_threads(int count):
    """What calls may use that have no other limit."""
    cc_pool_set_threads(count)


def use_blocks(variable):
    """Take limits from the blocks in this context variable from now on, and take note of them."""
    global blocks_variable
    if blocks_variable is None:
        blocks_variable = variable
    note_limit()


def lend_openmp(uintptr_t parallel, uintptr_t in_parallel):
    """Have calls use the team of an OpenMP runtime, by the addresses of its functions
    GOMP_parallel and omp_in_parallel; with zeros, our own threads again."""
    cc_pool_lend_openmp(<cc_gomp_parallel> parallel, <int (*)() noexcept nogil> in_parallel)


def thread_host():
    """Whose threads calls from this thread use: 0 our own, 1 OpenMP's, 2 those of another host."""
    return cc_pool_host()


cdef Py_ssize_t *tunable(str name) except NULL:
    if name == "channel_lanes":
        return &channel_lanes
    if name == "depthwise_positions":
        return &depthwise_positions
    if name == "few_input_gain":
        return &few_input_gain
    if name == "few_positions":
        return &few_positions
    if name == "few_weight_positions":
        return &few_weight_positions
    if name == "channels_last_least":
        return &channels_last_least
    if name == "living_gain":
        return &living_gain
    if name == "serial_products":
        return &serial_products
    if name == "subnormal_scratch":
        return &subnormal_scratch
    raise ValueError(f"nothing to tune is named {name!r}")


def tune(name, Py_ssize_t value):
    """Set what tuning.pxi has not as a constant, for the tests; what it was before."""
    cdef Py_ssize_t *number = tunable(name)
    before = number[0]
    number[0] = value
    return before


# --- the level of instruction set ----------------------------------------------------------------

def available_isas():
    """The levels that this processor and its operating system support, lowest first."""
    return [cc_levels[i].name.decode() for i in range(cc_level_count)
            if cc_levels[i].supported()]


def isa():
    """The level in use."""
    return level.name.decode()


def set_isa(name):
    """Use the level of that name from now on, in all threads."""
    global level
    for i in range(cc_level_count):
        if cc_levels[i].name.decode() == name:
            if not cc_levels[i].supported():
                raise ValueError(f"this processor or its operating system does not support {name}")
            level = &cc_levels[i]
            return
    known = ", ".join(available_isas())
    raise ValueError(f"the instruction set must be one of {known}, not {name!r}")


def compiler():
    """What compiled the extension."""
    return cc_compiler.decode()


set_isa(available_isas().pop())
