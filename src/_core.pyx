"""The nests: which block of which array a tile works on next.

forward and backward_input are one sum, taken in two directions:

    out[n, g, r, m·out_step + out_phase]
        = bias[g, r] + Σ_{c,j} w[g, r, c, j] · in[n, g, c, m·in_step + in_phase(j) + ...]

The taps j fall into classes by the remainder of j·dilation − pad_left modulo stride. Within
one class neighbouring taps are `period` apart in j and `step` apart in positions, and

    forward          in = x, in_step = stride: a class reads one phase of the input, and the
                     sum runs over all classes;
    backward_input   in = dy, out_step = stride: a class writes one phase of the output, and
                     there is nothing to sum between classes (and nothing to read between the
                     samples of dy: zeros are never inserted).

backward_weight reads x as forward does, and sums over positions instead of terms.

Every nest packs a panel: for each (channel, class) the samples that a range of positions
needs, contiguous, with zeros outside of the input. Strides of the array, stride, dilation and
padding end there: a term t = (c, class, tap of the class) is a panel and an offset for the
tile, whatever the geometry.

    panel     | c=0, class 0: samples of m0 .. m0+width, and the halo of its taps | c=0, class 1 ...
    offset[t]   where the sample of position m0 for term t lies in the panel

Terms that do not fit the panel's budget are taken in chunks, each a whole number of CC_BLOCK
terms, so that chains and their order are the same however the terms are cut.
"""

from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from libc.math cimport fma, fmaf, isfinite
from libc.stdint cimport INT32_MAX, int32_t, uintptr_t
from libc.string cimport memcpy, memset

cdef extern from "tiles.h" nogil:
    enum:
        CC_BLOCK
        CC_APART
        CC_ACROSS
        CC_DOWN
        CC_FEW
        CC_LANES
        CC_TILE
    ctypedef void (*cc_correlate)(
        const void *panel, const int32_t *offset, Py_ssize_t terms, const void *w,
        void *out, Py_ssize_t out_row, const void *bias, bint resume) noexcept
    ctypedef void (*cc_row)(
        const void *panel, const int32_t *offset, const void *w, void *out, Py_ssize_t positions,
        const void *bias) noexcept
    ctypedef void (*cc_by_lane)(
        const void *panel, const int32_t *offset, const void *other, Py_ssize_t positions,
        void *sums) noexcept
    ctypedef void (*cc_by_position)(
        const void *panel, const int32_t *offset, const void *other, const int32_t *line,
        Py_ssize_t skew, Py_ssize_t positions, void *sums, Py_ssize_t sums_row) noexcept
    ctypedef void (*cc_fold)(void *sums, Py_ssize_t count) noexcept
    ctypedef void (*cc_turn)(
        const void *rows, const int32_t *offset, Py_ssize_t count, Py_ssize_t positions,
        void *turned) noexcept
    ctypedef void (*cc_sum)(const void *dy, Py_ssize_t positions, void *total) noexcept
    ctypedef struct cc_tiles:
        Py_ssize_t correlate_rows
        Py_ssize_t *correlate_width
        cc_correlate *correlate
        Py_ssize_t row_least
        cc_row *row
        Py_ssize_t by_lane_rows
        Py_ssize_t by_lane_width
        cc_by_lane *by_lane
        cc_turn turn
        Py_ssize_t *by_position_terms
        cc_by_position by_position[CC_ACROSS + 1][CC_DOWN + 1]
        cc_fold fold
        cc_sum sum
    ctypedef struct cc_level:
        const char *name
        bint (*supported)() noexcept
        const cc_tiles *f32
        const cc_tiles *f64
    const cc_level *cc_levels
    int cc_level_count
    const char *cc_compiler
    void cc_prefetch(const char *first, Py_ssize_t bytes)

cdef extern from "pool.h" nogil:
    ctypedef void (*cc_work)(void *context, Py_ssize_t chunk, int worker) noexcept
    void cc_pool_run(cc_work work, void *context, Py_ssize_t chunks, int threads)
    int cc_pool_cpus()
    enum:
        CC_POOL_MAX
    int cc_pool_threads()
    void cc_pool_set_threads(int threads)
    int cc_pool_limit_threads(int threads)

ctypedef fused real:
    float
    double

# Panels of up to this many bytes stay in the second-level cache beside what else is in use.
cdef enum: PANEL_BYTES = 128 * 1024
# Of it, this much stays in the first-level cache while all rows of results are computed.
cdef enum: STRIP_BYTES = 16 * 1024
# The weights of a chunk stay in the second level, too: every strip reads them again.
cdef enum: WEIGHT_BYTES = 256 * 1024
# Terms whose offsets are kept: a multiple of CC_BLOCK.
cdef enum: CHUNK_TERMS = 32 * 128
# Samples are read from the array itself, without a panel, for so many positions at least, which are
# worth the panels at the two ends, and so many channels at most, each of them in a page of its own.
cdef enum: IN_PLACE_POSITIONS = 384, IN_PLACE_CHANNELS = 32
# Positions in a panel: as many as the budget allows between these.
cdef enum: NARROW = 256, WIDE = 4096
# With fewer rows than this on either side, lanes run along positions in backward_weight.
cdef enum: FEW_ROWS = 8
# Output channels whose gradients backward_weight sums in one pass over dy and x.
cdef enum: CHANNELS_PER_PASS = 512
# Positions that one lane-wise sum over positions takes: a chain of CC_BLOCK in each of CC_LANES
# lanes. The sums of such chains, lane by lane, take so many bytes at most.
cdef enum: FOLD_POSITIONS = 2048
cdef enum: SUMS_BYTES = 256 * 1024

# Fewer products than this take some 20 microseconds and are not worth waking a second thread.
cdef Py_ssize_t serial_products = 1024 * 1024
# Chunks for each thread, so that one that comes late leaves its share to the others; each part of
# a weight's gradient packs its samples again, so there are fewer of these.
cdef enum: PARTS = 4, WEIGHT_PARTS = 2
# Blocks of rows and terms of a gradient that are worth packing samples for.
cdef enum: PART_BLOCKS = 4, PART_TERMS = 64


cdef int threads_for(Py_ssize_t results, Py_ssize_t products) noexcept nogil:
    """Threads for so many results, each a sum of so many products."""
    if results == 0 or products < serial_products // results:
        return 1
    return min(cc_pool_threads(), CC_POOL_MAX)


include "panel.pxi"
include "correlate.pxi"
include "weight.pxi"


# --- what Python calls: one function per map and dtype, in the shapes of _reference.py -----------

cdef void check(bint done) except *:
    if not done:
        raise MemoryError("cconv1d: no memory for the packed weights and panels")


def forward_f32(const float[:, :, :] x, const float[:, :, :] w, const float[:] b,
                float[:, :, :] y, geometry, Py_ssize_t groups):
    cdef Geometry g = as_geometry(geometry, w.shape[2])
    cdef bint done
    with nogil:
        done = correlate[float](level.f32, x, w, b, y, &g, groups, False)
    check(done)


def forward_f64(const double[:, :, :] x, const double[:, :, :] w, const double[:] b,
                double[:, :, :] y, geometry, Py_ssize_t groups):
    cdef Geometry g = as_geometry(geometry, w.shape[2])
    cdef bint done
    with nogil:
        done = correlate[double](level.f64, x, w, b, y, &g, groups, False)
    check(done)


def backward_input_f32(const float[:, :, :] dy, const float[:, :, :] w, float[:, :, :] dx,
                       geometry, Py_ssize_t groups):
    cdef Geometry g = as_geometry(geometry, w.shape[2])
    cdef bint done
    with nogil:
        done = correlate[float](level.f32, dy, w, None, dx, &g, groups, True)
    check(done)


def backward_input_f64(const double[:, :, :] dy, const double[:, :, :] w, double[:, :, :] dx,
                       geometry, Py_ssize_t groups):
    cdef Geometry g = as_geometry(geometry, w.shape[2])
    cdef bint done
    with nogil:
        done = correlate[double](level.f64, dy, w, None, dx, &g, groups, True)
    check(done)


def backward_weight_f32(const float[:, :, :] dy, const float[:, :, :] x, float[:, :, :] dw,
                        geometry, Py_ssize_t groups):
    cdef Geometry g = as_geometry(geometry, dw.shape[2])
    cdef bint done
    with nogil:
        done = weight_gradient[float](level.f32, dy, x, dw, &g, groups)
    check(done)


def backward_weight_f64(const double[:, :, :] dy, const double[:, :, :] x, double[:, :, :] dw,
                        geometry, Py_ssize_t groups):
    cdef Geometry g = as_geometry(geometry, dw.shape[2])
    cdef bint done
    with nogil:
        done = weight_gradient[double](level.f64, dy, x, dw, &g, groups)
    check(done)


def backward_bias_f32(const float[:, :, :] dy, float[:] db):
    cdef bint done
    with nogil:
        done = bias_gradient[float](level.f32, dy, db)
    check(done)


def backward_bias_f64(const double[:, :, :] dy, double[:] db):
    cdef bint done
    with nogil:
        done = bias_gradient[double](level.f64, dy, db)
    check(done)


# --- threads -------------------------------------------------------------------------------------

def cpus():
    """The processors that this process may use."""
    return cc_pool_cpus()


def get_threads():
    """What a call from this thread may use."""
    return cc_pool_threads()


def set_threads(int count):
    """What calls from all threads may use, but for those with a limit of their own."""
    cc_pool_set_threads(count)


def limit_threads(int count):
    """What calls from this thread may use, or 0 for no limit of its own; returns what it was."""
    return cc_pool_limit_threads(count)


def set_serial_products(Py_ssize_t products):
    """Calls with less work than this stay in their thread; the tests set it to 0."""
    global serial_products
    serial_products = products


# --- the level of instruction set ----------------------------------------------------------------

cdef const cc_level *level = &cc_levels[0]


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
