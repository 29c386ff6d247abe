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
        CC_LANES
        CC_TILE
    ctypedef void (*cc_correlate)(
        const void *panel, const int32_t *offset, Py_ssize_t terms, const void *w,
        void *out, Py_ssize_t out_row, const void *bias, bint resume) noexcept
    ctypedef void (*cc_weight)(
        const void *panel, const int32_t *offset, const void *dy, Py_ssize_t positions,
        void *dw) noexcept
    ctypedef void (*cc_turn)(
        const void *rows, const int32_t *offset, Py_ssize_t count, Py_ssize_t positions,
        void *turned) noexcept
    ctypedef void (*cc_sum)(const void *dy, Py_ssize_t positions, void *total) noexcept
    ctypedef struct cc_tiles:
        Py_ssize_t correlate_rows
        Py_ssize_t *correlate_width
        cc_correlate *correlate
        Py_ssize_t by_lane_rows
        Py_ssize_t by_lane_width
        cc_weight *by_lane
        cc_turn turn
        Py_ssize_t by_position_rows
        cc_weight *by_position
        cc_sum sum
    ctypedef struct cc_level:
        const char *name
        bint (*supported)() noexcept
        const cc_tiles *f32
        const cc_tiles *f64
    const cc_level *cc_levels
    int cc_level_count
    const char *cc_compiler

ctypedef fused real:
    float
    double

# Panels of up to this many bytes stay in the second-level cache beside what else is in use.
cdef enum: PANEL_BYTES = 128 * 1024
# So do the weights of a chunk, which every tile of positions reads again.
cdef enum: WEIGHT_BYTES = 256 * 1024
# Terms whose offsets are kept: a multiple of CC_BLOCK.
cdef enum: CHUNK_TERMS = 32 * 128
# Positions in a panel: as many as the budget allows between these.
cdef enum: NARROW = 256, WIDE = 4096
# With fewer rows than this on either side, lanes run along positions in backward_weight.
cdef enum: FEW_ROWS = 8
# Output channels whose gradients backward_weight sums in one pass over dy and x.
cdef enum: CHANNELS_PER_PASS = 512
# Positions that one lane-wise sum over positions takes before it is folded: a chain of
# CC_BLOCK in each of CC_LANES lanes.
cdef enum: FOLD_POSITIONS = 2048


# --- geometry ---------------------------------------------------------------------------------

cdef struct Geometry:
    Py_ssize_t input_length, output_length, stride, dilation, pad_left
    Py_ssize_t taps
    Py_ssize_t classes   # classes of taps that there are
    Py_ssize_t period    # taps j, j + period, ... share a class
    Py_ssize_t step      # positions between neighbouring taps of a class


cdef Geometry as_geometry(object geometry, Py_ssize_t taps):
    cdef Geometry g
    g.input_length, g.output_length, g.stride, g.dilation, g.pad_left = geometry
    cdef Py_ssize_t a = g.stride, b = g.dilation
    while b:
        a, b = b, a % b
    g.taps = taps
    g.period = g.stride // a
    g.step = g.dilation // a
    g.classes = min(g.period, taps)
    return g


cdef inline Py_ssize_t class_taps(const Geometry *g, Py_ssize_t klass) noexcept nogil:
    return (g.taps - klass + g.period - 1) // g.period


cdef inline Py_ssize_t class_shift(const Geometry *g, Py_ssize_t klass) noexcept nogil:
    """Floor of the class's first tap's distance from the output, in strides."""
    cdef Py_ssize_t distance = klass * g.dilation - g.pad_left
    cdef Py_ssize_t quotient = distance // g.stride
    return quotient - (quotient * g.stride > distance)


cdef inline Py_ssize_t class_phase(const Geometry *g, Py_ssize_t klass) noexcept nogil:
    return klass * g.dilation - g.pad_left - class_shift(g, klass) * g.stride


# --- panels -----------------------------------------------------------------------------------

cdef struct Terms:
    # Which terms a sum runs over, and how they lie in the panel.
    const Geometry *g
    Py_ssize_t first_class, last_class
    Py_ssize_t per_channel
    int direction         # +1: samples ahead of the output (x); -1: behind it (dy)
    Py_ssize_t in_step    # samples between neighbouring positions
    Py_ssize_t channels


cdef Terms terms_of_input(const Geometry *g, Py_ssize_t channels) noexcept nogil:
    """All classes, reading x: what forward and backward_weight sum over."""
    cdef Terms terms
    terms.g = g
    terms.first_class, terms.last_class = 0, g.classes
    terms.per_channel = g.taps
    terms.direction = 1
    terms.in_step = g.stride
    terms.channels = channels
    return terms


cdef Terms terms_of_output(
    const Geometry *g, Py_ssize_t channels, Py_ssize_t klass
) noexcept nogil:
    """One class, reading dy: what one phase of backward_input sums over."""
    cdef Terms terms
    terms.g = g
    terms.first_class, terms.last_class = klass, klass + 1
    terms.per_channel = class_taps(g, klass)
    terms.direction = -1
    terms.in_step = 1
    terms.channels = channels
    return terms


cdef inline Py_ssize_t row_size(Py_ssize_t samples) noexcept nogil:
    """What a row of samples takes: an odd number of cache lines (of float, or pairs of them of
    double), so that a column of rows is aligned and does not fall into few sets of the cache."""
    return ((samples + 15) // 16 | 1) * 16


cdef inline bint overlap(const Geometry *g) noexcept nogil:
    """Whether neighbouring taps of a class are near enough to share a row of the panel."""
    return g.step <= NARROW


cdef Py_ssize_t channel_size(const Terms *terms, Py_ssize_t width) noexcept nogil:
    """Samples that one channel takes at most in a panel of `width` positions."""
    cdef Py_ssize_t klass, taps, size = 0
    for klass in range(terms.first_class, terms.last_class):
        taps = class_taps(terms.g, klass)
        if overlap(terms.g):
            size += row_size(width + (taps - 1) * terms.g.step)
        else:
            size += taps * row_size(width)
    return size


cdef Py_ssize_t block_size(const Terms *terms, Py_ssize_t width) noexcept nogil:
    """No CC_BLOCK neighbouring terms take more samples than this.

    A term adds `width` samples to the panel, or `step` to a row that is shared; and the rows that
    a block cuts into are counted whole or, where taps are many, with what rounding adds to each.
    """
    cdef Py_ssize_t term = max(width, terms.g.step) if overlap(terms.g) else width
    return min(CC_BLOCK * (row_size(term) + 16),
               (CC_BLOCK // terms.per_channel + 2) * channel_size(terms, width))


cdef Py_ssize_t panel_positions(
    const Terms *terms, Py_ssize_t budget, Py_ssize_t narrow
) noexcept nogil:
    """The positions of a panel that holds all terms within the budget, if that can be."""
    cdef Py_ssize_t positions = WIDE
    while positions > narrow and terms.channels * channel_size(terms, positions) > budget:
        positions //= 2
    return positions


cdef struct Cut:
    # How a sum's terms are cut into chunks, and what a panel of one takes.
    Py_ssize_t chunk, size


cdef Cut cut_terms(
    const Terms *terms, Py_ssize_t width, Py_ssize_t budget, Py_ssize_t most
) noexcept nogil:
    """Chunks of at most `most` terms whose panels keep to the budget, but of a block at least."""
    cdef Cut cut
    cdef Py_ssize_t count = terms.channels * terms.per_channel
    cut.size = terms.channels * channel_size(terms, width)
    if cut.size <= budget and count <= most:
        cut.chunk = max(count, 1)
        return cut
    cdef Py_ssize_t blocks = max(1, min(budget // block_size(terms, width), most // CC_BLOCK))
    cut.chunk = blocks * CC_BLOCK
    cut.size = min(cut.size, blocks * block_size(terms, width))
    return cut


cdef void copy_row(
    const real[:, :, :] array, Py_ssize_t n, Py_ssize_t channel, Py_ssize_t first,
    Py_ssize_t step, Py_ssize_t count, real *row
) noexcept nogil:
    """row[i] = array[n, channel, first + i·step], zero outside of the array."""
    cdef Py_ssize_t length = array.shape[2]
    cdef Py_ssize_t left = 0, right = 0, i
    if first < 0:
        left = min(count, (-first + step - 1) // step)
    if left < count and first + (count - 1) * step >= length:
        right = count
        if first + left * step < length:
            right = count - 1 - (length - 1 - first) // step
        right = min(right, count - left)
    cdef Py_ssize_t inside = count - left - right
    memset(row, 0, left * sizeof(real))
    if inside > 0:
        if array.strides[2] * step == sizeof(real):
            memcpy(row + left, &array[n, channel, first + left * step], inside * sizeof(real))
        else:
            for i in range(left, left + inside):
                row[i] = array[n, channel, first + i * step]
    memset(row + left + inside, 0, right * sizeof(real))


cdef void pack_panel(
    const real[:, :, :] array, Py_ssize_t n, Py_ssize_t first_channel, const Terms *terms,
    Py_ssize_t first_term, Py_ssize_t last_term, Py_ssize_t position, Py_ssize_t width,
    real *panel, int32_t *offset
) noexcept nogil:
    """The samples that some terms need at `width` positions, and where each term's begin."""
    cdef const Geometry *g = terms.g
    cdef Py_ssize_t ahead = terms.direction * g.step
    cdef Py_ssize_t channel = first_term // terms.per_channel, klass = terms.first_class
    cdef Py_ssize_t tap = first_term - channel * terms.per_channel
    cdef Py_ssize_t t = first_term, used = 0, taps, u, first, length, phase = 0
    while tap >= class_taps(g, klass):
        tap -= class_taps(g, klass)
        klass += 1
    while t < last_term:
        taps = min(class_taps(g, klass) - tap, last_term - t)
        first = position + terms.direction * class_shift(g, klass) + tap * ahead
        if terms.direction > 0:
            phase = class_phase(g, klass)
        if overlap(g):
            # one row holds the samples of all taps
            length = width + (taps - 1) * g.step
            if ahead < 0:
                first += (taps - 1) * ahead
            copy_row[real](array, n, first_channel + channel, first * terms.in_step + phase,
                           terms.in_step, length, panel + used)
            for u in range(taps):
                offset[t - first_term + u] = <int32_t> (
                    used + (u if ahead > 0 else taps - 1 - u) * g.step)
            used += row_size(length)
        else:
            for u in range(taps):
                copy_row[real](array, n, first_channel + channel,
                               (first + u * ahead) * terms.in_step + phase, terms.in_step, width,
                               panel + used)
                offset[t - first_term + u] = <int32_t> used
                used += row_size(width)
        t += taps
        tap = 0
        klass += 1
        if klass == terms.last_class:
            klass = terms.first_class
            channel += 1


# --- scratch ----------------------------------------------------------------------------------

cdef struct Scratch:
    # One allocation for all that a call needs, made before the first result is stored.
    void *memory
    char *next


cdef inline Py_ssize_t rounded(Py_ssize_t size, Py_ssize_t multiple) noexcept nogil:
    return (size + multiple - 1) // multiple * multiple


cdef bint reserve(Scratch *scratch, Py_ssize_t size) noexcept nogil:
    scratch.memory = PyMem_RawMalloc(size + 64)
    if scratch.memory == NULL:
        return False
    scratch.next = <char *> scratch.memory + (64 - <uintptr_t> scratch.memory % 64)
    return True


cdef inline void *take(Scratch *scratch, Py_ssize_t size) noexcept nogil:
    """A piece of the scratch, aligned to a cache line; `piece` says what it takes."""
    cdef void *pointer = scratch.next
    scratch.next += piece(size)
    return pointer


cdef inline Py_ssize_t piece(Py_ssize_t size) noexcept nogil:
    return rounded(size, 64)


# --- forward and backward_input -----------------------------------------------------------------

cdef bint pack_weights(
    const real[:, :, :] w, const Terms *terms, Py_ssize_t group, Py_ssize_t group_rows,
    Py_ssize_t first_row, Py_ssize_t rows, bint transposed, real *packed
) noexcept nogil:
    """packed[t][r] for the rows of a tile and the terms in order; true if all are finite."""
    cdef Py_ssize_t channel, klass, tap, r
    cdef bint finite = True
    for channel in range(terms.channels):
        for klass in range(terms.first_class, terms.last_class):
            for tap from klass <= tap < terms.g.taps by terms.g.period:
                for r in range(first_row, first_row + rows):
                    if transposed:
                        packed[0] = w[group * terms.channels + channel, r, tap]
                    else:
                        packed[0] = w[group * group_rows + r, channel, tap]
                    finite &= isfinite(packed[0]) != 0
                    packed += 1
    return finite


cdef void fill(real[:, :, :] out, const real[:] bias) noexcept nogil:
    """The sum without any terms."""
    cdef Py_ssize_t n, row, p
    for n in range(out.shape[0]):
        for row in range(out.shape[1]):
            for p in range(out.shape[2]):
                out[n, row, p] = 0 if bias is None else bias[row]


cdef void copy_tile(
    real[:, :, :] out, Py_ssize_t n, Py_ssize_t first_row, Py_ssize_t rows, Py_ssize_t first,
    Py_ssize_t step, Py_ssize_t count, real *stage, Py_ssize_t stage_row, bint store
) noexcept nogil:
    """A tile of results that `out` does not hold side by side, from the stage or to it."""
    cdef Py_ssize_t r, i
    for r in range(rows):
        for i in range(count):
            if store:
                out[n, first_row + r, first + i * step] = stage[r * stage_row + i]
            else:
                stage[r * stage_row + i] = out[n, first_row + r, first + i * step]


cdef struct Rows:
    # The output channels of a group, shared out evenly among tiles: a last tile with few rows
    # would be slow.
    Py_ssize_t count, blocks, width


cdef Rows share_rows(const cc_tiles *tiles, Py_ssize_t count) noexcept nogil:
    cdef Rows rows
    rows.count = count
    rows.blocks = (count + tiles.correlate_rows - 1) // tiles.correlate_rows
    rows.width = max(tiles.correlate_width[count // rows.blocks],
                     tiles.correlate_width[(count + rows.blocks - 1) // rows.blocks])
    return rows


cdef inline Py_ssize_t first_row(const Rows *rows, Py_ssize_t block) noexcept nogil:
    return block * rows.count // rows.blocks


cdef void correlate_panel(
    const cc_tiles *tiles, const real *panel, const int32_t *offset, const real *weights,
    Py_ssize_t t0, Py_ssize_t t1, Py_ssize_t terms, const real *bias, const Rows *rows,
    real[:, :, :] out, Py_ssize_t n, Py_ssize_t channel, Py_ssize_t first, Py_ssize_t step,
    Py_ssize_t count, real *stage
) noexcept nogil:
    """The terms t0 .. t1 of `terms` for the outputs first, first + step, ... of one group.

    Positions come first, then rows: the few samples of all terms that one tile of positions reads
    stay in the first-level cache, and the weights stream past them.
    """
    cdef Py_ssize_t block, row, tile_rows, width, m, last, inside, target_row, m0
    cdef real *target
    cdef bint direct
    cdef bint side_by_side = (step == 1 and out.strides[2] == sizeof(real)
                              and out.strides[1] % <Py_ssize_t> sizeof(real) == 0)
    for m0 from 0 <= m0 < count by rows.width:
        last = min(m0 + rows.width, count)
        for block in range(rows.blocks):
            row = first_row(rows, block)
            tile_rows = first_row(rows, block + 1) - row
            width = tiles.correlate_width[tile_rows]
            for m from m0 <= m < last by width:
                inside = min(width, last - m)
                direct = side_by_side and inside == width
                if direct:
                    target = &out[n, channel + row, first + m]
                    target_row = out.strides[1] // <Py_ssize_t> sizeof(real)
                else:
                    target, target_row = stage, width
                    if t0 > 0:
                        copy_tile[real](out, n, channel + row, tile_rows, first + m * step, step,
                                        inside, stage, width, False)
                tiles.correlate[tile_rows](
                    panel + m, offset, t1 - t0, weights + row * terms + t0 * tile_rows, target,
                    target_row, bias + channel + row if bias != NULL and t1 == terms else NULL,
                    t0 > 0)
                if not direct:
                    copy_tile[real](out, n, channel + row, tile_rows, first + m * step, step,
                                    inside, stage, width, True)


cdef bint correlate(
    const cc_tiles *tiles, const real[:, :, :] array, const real[:, :, :] w, const real[:] bias,
    real[:, :, :] out, const Geometry *g, Py_ssize_t groups, bint transposed
) noexcept nogil:
    """forward, or backward_input if `transposed`; false if memory ran out, with nothing stored."""
    cdef Py_ssize_t channels = array.shape[1] // groups
    cdef Py_ssize_t phases = g.classes if transposed else 1
    cdef Py_ssize_t step = g.stride if transposed else 1
    cdef Py_ssize_t longest = (out.shape[2] + step - 1) // step
    # Where results lie apart, each chunk would gather and scatter them: fewer and larger chunks.
    cdef Py_ssize_t budget = (PANEL_BYTES if step == 1 else 3 * PANEL_BYTES) // sizeof(real)
    cdef Py_ssize_t n, group, phase, block, row, tile_rows, m, t0, t1
    cdef Py_ssize_t first, count, positions, total, panel_size = 0, chunk = 0, most = CHUNK_TERMS
    cdef Terms terms
    cdef Cut cut

    if out.shape[0] == 0 or out.shape[1] == 0 or longest == 0:
        return True
    if channels == 0:
        fill[real](out, bias)
        return True

    cdef Rows rows = share_rows(tiles, out.shape[1] // groups)
    terms = terms_of_output(g, channels, 0) if transposed else terms_of_input(g, channels)
    if step == 1:
        most = min(most, WEIGHT_BYTES // (sizeof(real) * rows.count))
    positions = min(panel_positions(&terms, budget, NARROW if step == 1 else NARROW // 2),
                    rounded(longest, rows.width))
    for phase in range(phases):
        if transposed:
            terms = terms_of_output(g, channels, phase)
        cut = cut_terms(&terms, positions, budget, most)
        panel_size, chunk = max(panel_size, cut.size), max(chunk, cut.chunk)

    cdef Scratch scratch
    cdef Py_ssize_t weight_size = w.shape[0] * w.shape[1] * w.shape[2]
    if not reserve(&scratch, piece(panel_size * sizeof(real)) + piece(chunk * sizeof(int32_t))
                   + piece(weight_size * sizeof(real)) + piece(out.shape[1] * sizeof(real))
                   + piece(CC_TILE * sizeof(real))):
        return False
    cdef real *panel = <real *> take(&scratch, panel_size * sizeof(real))
    cdef int32_t *offset = <int32_t *> take(&scratch, chunk * sizeof(int32_t))
    cdef real *packed = <real *> take(&scratch, weight_size * sizeof(real))
    cdef real *biases = <real *> take(&scratch, out.shape[1] * sizeof(real))
    cdef real *stage = <real *> take(&scratch, CC_TILE * sizeof(real))
    cdef real *weights = packed
    cdef bint finite = True

    # weights: [group][phase][block of rows][term][row of the block]
    for group in range(groups):
        for phase in range(phases):
            if transposed:
                terms = terms_of_output(g, channels, phase)
            for block in range(rows.blocks):
                row = first_row(&rows, block)
                tile_rows = first_row(&rows, block + 1) - row
                if not pack_weights[real](w, &terms, group, rows.count, row, tile_rows,
                                          transposed, weights):
                    finite = False
                weights += tile_rows * channels * terms.per_channel
    if bias is None:
        biases = NULL
    else:
        for row in range(out.shape[1]):
            biases[row] = bias[row]
    if transposed and g.classes < g.stride:
        fill[real](out, None)  # some phases of the output meet no tap

    for n in range(out.shape[0]):
        for group in range(groups):
            for m from 0 <= m < longest by positions:
                weights = packed + group * rows.count * channels * g.taps
                for phase in range(phases):
                    first = 0
                    if transposed:
                        terms = terms_of_output(g, channels, phase)
                        first = class_phase(g, phase)
                    total = channels * terms.per_channel
                    count = min(positions, (out.shape[2] - first + step - 1) // step - m)
                    if count > 0:
                        cut = cut_terms(&terms, positions, budget, most)
                        for t0 from 0 <= t0 < total by cut.chunk:
                            t1 = min(t0 + cut.chunk, total)
                            pack_panel[real](array, n, group * channels, &terms, t0, t1, m,
                                             rounded(count, rows.width), panel, offset)
                            correlate_panel[real](
                                tiles, panel, offset, weights, t0, t1, total, biases, &rows, out,
                                n, group * rows.count, first + m * step, step, count, stage)
                    weights += rows.count * total

    PyMem_RawFree(scratch.memory)
    if transposed and not finite:
        mend_edges[real](array, w, out, g, groups)
    return True


cdef void mend_edges(
    const real[:, :, :] dy, const real[:, :, :] w, real[:, :, :] dx, const Geometry *g,
    Py_ssize_t groups
) noexcept nogil:
    """backward_input again where taps reach beyond dy.

    The panel holds zeros there, which change nothing while the weights are finite; but dx has
    no such terms, and 0 · NaN or 0 · Inf would spoil it. The order of the terms and blocks is
    the tiles'.
    """
    cdef Py_ssize_t rows = dx.shape[1] // groups, channels = dy.shape[1] // groups
    cdef Py_ssize_t n, row, group, klass, taps, first, m, nearest, t, channel, tap, position
    cdef real chain, total
    for klass in range(g.classes):
        taps = class_taps(g, klass)
        first = class_phase(g, klass)
        for m in range((dx.shape[2] - first + g.stride - 1) // g.stride):
            nearest = m - class_shift(g, klass)
            if nearest - (taps - 1) * g.step >= 0 and nearest < dy.shape[2]:
                continue
            for n in range(dx.shape[0]):
                for row in range(dx.shape[1]):
                    group = row // rows
                    total = chain = 0
                    for t in range(channels * taps):
                        if t % CC_BLOCK == 0:
                            total += chain
                            chain = 0
                        channel = t // taps
                        tap = t - channel * taps
                        position = nearest - tap * g.step
                        if 0 <= position < dy.shape[2]:
                            chain = fused[real](
                                w[group * channels + channel, row - group * rows,
                                  klass + tap * g.period],
                                dy[n, group * channels + channel, position], chain)
                    dx[n, row, first + m * g.stride] = total + chain


cdef inline real fused(real a, real b, real c) noexcept nogil:
    if real is float:
        return fmaf(a, b, c)
    else:
        return fma(a, b, c)


# --- backward_weight and the gradient of the bias -----------------------------------------------

cdef Py_ssize_t distance_of_rows(const real[:, :, :] array, Py_ssize_t rows) noexcept nogil:
    """Samples from row to row, where a tile can read the rows as they lie; 0 where it cannot."""
    cdef Py_ssize_t size = sizeof(real), distance = array.strides[1] // size
    if array.strides[2] != size or distance * size != array.strides[1] or distance < 0:
        return 0
    return distance if distance * rows < INT32_MAX else 0


cdef void store_sums(
    const real *sums, Py_ssize_t lanes, bint turn_terms, Py_ssize_t rows, const Geometry *g,
    real[:, :, :] dw, Py_ssize_t first_row
) noexcept nogil:
    """sums[tile][row][lane] into dw; see weight_by_lane for what is a row and what a lane."""
    cdef Py_ssize_t row, channel, klass, tap, t, across, down
    cdef Py_ssize_t depth = rows if turn_terms else dw.shape[1] * g.taps
    for row in range(rows):
        t = 0
        for channel in range(dw.shape[1]):
            for klass in range(g.classes):
                for tap from klass <= tap < g.taps by g.period:
                    across, down = (t, row) if turn_terms else (row, t)
                    dw[first_row + row, channel, tap] = sums[
                        (across // lanes * depth + down) * lanes + across % lanes]
                    t += 1


cdef bint weight_by_lane(
    const cc_tiles *tiles, const real[:, :, :] dy, const real[:, :, :] x, real[:, :, :] dw,
    const Geometry *g, Py_ssize_t groups
) noexcept nogil:
    """backward_weight with results along the lanes; false if memory ran out.

    For each range of positions there are two panels, the rows of dy by output channel and those
    of x by term. The one with fewer rows is turned, so that they lie side by side as lanes; the
    rows of the other are broadcast. A chain runs over CC_BLOCK positions; the chains are added
    in the order of samples and positions.
    """
    cdef Py_ssize_t rows = dw.shape[0] // groups, count = dw.shape[1] * g.taps
    cdef Py_ssize_t lanes = tiles.by_lane_width
    cdef Py_ssize_t pass_rows = min(rows, CHANNELS_PER_PASS)
    cdef bint turn_terms = count < rows
    cdef Py_ssize_t n, group, r0, used, p0, inside, row, t0, t1
    cdef Terms terms = terms_of_input(g, dw.shape[1])
    cdef Py_ssize_t budget = PANEL_BYTES // sizeof(real)
    cdef Py_ssize_t positions = panel_positions(&terms, budget, NARROW)
    while positions > CC_BLOCK and positions * pass_rows > budget:
        positions //= 2
    positions = min(positions, dy.shape[2])
    cdef Cut cut = cut_terms(&terms, positions, budget, CHUNK_TERMS)

    cdef Scratch scratch
    cdef Py_ssize_t distance = distance_of_rows[real](dy, pass_rows)
    cdef Py_ssize_t lines_size = 0 if distance else pass_rows * positions
    cdef Py_ssize_t turned_size = rounded(cut.chunk if turn_terms else pass_rows, lanes) * positions
    cdef Py_ssize_t sums_size = (rounded(count, lanes) * pass_rows if turn_terms
                                 else rounded(pass_rows, lanes) * count)
    if not reserve(&scratch, piece(cut.size * sizeof(real)) + piece(cut.chunk * sizeof(int32_t))
                   + piece(lines_size * sizeof(real)) + piece(pass_rows * sizeof(int32_t))
                   + piece(turned_size * sizeof(real)) + piece(sums_size * sizeof(real))):
        return False
    cdef real *panel = <real *> take(&scratch, cut.size * sizeof(real))
    cdef int32_t *offset = <int32_t *> take(&scratch, cut.chunk * sizeof(int32_t))
    cdef real *copies = <real *> take(&scratch, lines_size * sizeof(real))
    cdef int32_t *line = <int32_t *> take(&scratch, pass_rows * sizeof(int32_t))
    cdef real *turned = <real *> take(&scratch, turned_size * sizeof(real))
    cdef real *sums = <real *> take(&scratch, sums_size * sizeof(real))
    cdef const real *lines = copies
    for row in range(pass_rows):
        line[row] = <int32_t> (row * (distance if distance else positions))

    for group in range(groups):
        for r0 from 0 <= r0 < rows by CHANNELS_PER_PASS:
            used = min(rows - r0, CHANNELS_PER_PASS)
            memset(sums, 0, sums_size * sizeof(real))
            for n in range(dy.shape[0]):
                for p0 from 0 <= p0 < dy.shape[2] by positions:
                    inside = min(positions, dy.shape[2] - p0)
                    if distance:
                        lines = &dy[n, group * rows + r0, p0]
                    else:
                        for row in range(used):
                            copy_row[real](dy, n, group * rows + r0 + row, p0, 1, inside,
                                           copies + line[row])
                    if not turn_terms:
                        turn[real](tiles, lines, line, used, inside, turned)
                    for t0 from 0 <= t0 < count by cut.chunk:
                        t1 = min(t0 + cut.chunk, count)
                        pack_panel[real](x, n, group * dw.shape[1], &terms, t0, t1, p0, inside,
                                         panel, offset)
                        if turn_terms:
                            turn[real](tiles, panel, offset, t1 - t0, inside, turned)
                            add_outer[real](tiles, turned, t1 - t0, lines, line, used, inside,
                                            sums + t0 * used, used)
                        else:
                            add_outer[real](tiles, turned, used, panel, offset, t1 - t0, inside,
                                            sums + t0 * lanes, count)
            store_sums[real](sums, lanes, turn_terms, used, g, dw, group * rows + r0)
    PyMem_RawFree(scratch.memory)
    return True


cdef void turn(
    const cc_tiles *tiles, const real *rows, const int32_t *offset, Py_ssize_t count,
    Py_ssize_t positions, real *turned
) noexcept nogil:
    """turned[tile][p][lane] = rows[offset[tile·lanes + lane] + p], zero where there is no row."""
    cdef Py_ssize_t lanes = tiles.by_lane_width, first
    for first from 0 <= first < count by lanes:
        tiles.turn(rows, offset + first, min(lanes, count - first), positions,
                   turned + first * positions)


cdef void add_outer(
    const cc_tiles *tiles, const real *turned, Py_ssize_t across, const real *panel,
    const int32_t *offset, Py_ssize_t down, Py_ssize_t positions, real *sums, Py_ssize_t depth
) noexcept nogil:
    """sums[tile][row][lane] += Σ_p panel[offset[row] + p] · turned[tile][p][lane]"""
    cdef Py_ssize_t lanes = tiles.by_lane_width
    cdef Py_ssize_t blocks = (down + tiles.by_lane_rows - 1) // tiles.by_lane_rows
    cdef Py_ssize_t first, p, block, row, next_row
    for first from 0 <= first < across by lanes:
        for p from 0 <= p < positions by CC_BLOCK:
            next_row = 0
            for block in range(blocks):
                row, next_row = next_row, (block + 1) * down // blocks
                tiles.by_lane[next_row - row](
                    panel + p, offset + row, turned + first * positions + p * lanes,
                    min(positions - p, CC_BLOCK), sums + (first * depth + row * lanes))


cdef bint weight_by_position(
    const cc_tiles *tiles, const real[:, :, :] dy, const real[:, :, :] x, real[:, :, :] dw,
    const Geometry *g, Py_ssize_t groups
) noexcept nogil:
    """backward_weight with lanes along positions; false if memory ran out.

    CC_LANES chains run over a range of positions each and are folded; ranges are added in the
    order of samples and positions.
    """
    cdef Py_ssize_t rows = dw.shape[0] // groups, count = dw.shape[1] * g.taps
    cdef Py_ssize_t budget = PANEL_BYTES // sizeof(real)
    cdef Py_ssize_t positions = FOLD_POSITIONS
    cdef Py_ssize_t n, group, row, p0, inside, t0, t1, block, blocks, t, next_t
    cdef Terms terms = terms_of_input(g, dw.shape[1])
    while positions > NARROW and min(terms.channels * channel_size(&terms, positions),
                                     block_size(&terms, positions)) > budget:
        positions //= 2
    positions = min(positions, dy.shape[2])
    cdef Cut cut = cut_terms(&terms, positions, budget, CHUNK_TERMS)

    cdef Scratch scratch
    cdef Py_ssize_t distance = distance_of_rows[real](dy, rows)
    cdef Py_ssize_t lines_size = 0 if distance else rows * positions
    cdef const real *lines
    if not reserve(&scratch, piece(cut.size * sizeof(real)) + piece(cut.chunk * sizeof(int32_t))
                   + piece(lines_size * sizeof(real)) + piece(rows * count * sizeof(real))):
        return False
    cdef real *panel = <real *> take(&scratch, cut.size * sizeof(real))
    cdef int32_t *offset = <int32_t *> take(&scratch, cut.chunk * sizeof(int32_t))
    cdef real *copies = <real *> take(&scratch, lines_size * sizeof(real))
    cdef real *sums = <real *> take(&scratch, rows * count * sizeof(real))

    for group in range(groups):
        memset(sums, 0, rows * count * sizeof(real))
        for n in range(dy.shape[0]):
            for p0 from 0 <= p0 < dy.shape[2] by positions:
                inside = min(positions, dy.shape[2] - p0)
                if distance:
                    lines = &dy[n, group * rows, p0]
                else:
                    lines = copies
                    for row in range(rows):
                        copy_row[real](dy, n, group * rows + row, p0, 1, inside,
                                       copies + row * positions)
                for t0 from 0 <= t0 < count by cut.chunk:
                    t1 = min(t0 + cut.chunk, count)
                    pack_panel[real](x, n, group * dw.shape[1], &terms, t0, t1, p0, inside, panel,
                                     offset)
                    blocks = (t1 - t0 + tiles.by_position_rows - 1) // tiles.by_position_rows
                    for row in range(rows):
                        for block in range(blocks):
                            t = block * (t1 - t0) // blocks
                            next_t = (block + 1) * (t1 - t0) // blocks
                            tiles.by_position[next_t - t](
                                panel, offset + t,
                                lines + row * (distance if distance else positions), inside,
                                sums + row * count + t0 + t)
        store_sums[real](sums, 1, False, rows, g, dw, group * rows)
    PyMem_RawFree(scratch.memory)
    return True


cdef bint weight(
    const cc_tiles *tiles, const real[:, :, :] dy, const real[:, :, :] x, real[:, :, :] dw,
    const Geometry *g, Py_ssize_t groups
) noexcept nogil:
    if dw.shape[0] == 0 or dw.shape[1] == 0:
        return True
    if dy.shape[0] == 0:
        fill[real](dw, None)
        return True
    if min(dw.shape[0] // groups, dw.shape[1] * g.taps) < FEW_ROWS:
        return weight_by_position[real](tiles, dy, x, dw, g, groups)
    return weight_by_lane[real](tiles, dy, x, dw, g, groups)


cdef bint bias_gradient(
    const cc_tiles *tiles, const real[:, :, :] dy, real[:] db
) noexcept nogil:
    cdef Py_ssize_t positions = min(FOLD_POSITIONS, dy.shape[2])
    cdef Py_ssize_t row, n, p0, inside
    cdef Scratch scratch
    cdef real total
    if not reserve(&scratch, piece(positions * sizeof(real))):
        return False
    cdef real *line = <real *> take(&scratch, positions * sizeof(real))
    for row in range(dy.shape[1]):
        total = 0
        for n in range(dy.shape[0]):
            for p0 from 0 <= p0 < dy.shape[2] by FOLD_POSITIONS:
                inside = min(FOLD_POSITIONS, dy.shape[2] - p0)
                copy_row[real](dy, n, row, p0, 1, inside, line)
                tiles.sum(line, inside, &total)
        db[row] = total
    PyMem_RawFree(scratch.memory)
    return True


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
        done = weight[float](level.f32, dy, x, dw, &g, groups)
    check(done)


def backward_weight_f64(const double[:, :, :] dy, const double[:, :, :] x, double[:, :, :] dw,
                        geometry, Py_ssize_t groups):
    cdef Geometry g = as_geometry(geometry, dw.shape[2])
    cdef bint done
    with nogil:
        done = weight[double](level.f64, dy, x, dw, &g, groups)
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
