# What all nests share: how taps fall into classes, how arrays are read, panels and scratch.

cdef struct Packed:
    # Weights as the tiles read them, and what their order depends on: see lay_out_weights.
    const cc_tiles *tiles
    bint transposed
    Py_ssize_t groups, outs, channels, taps, stride, dilation
    const void *numbers
    bint finite             # all of them


cdef struct View:
    # An array as a nest sees it. A typed memoryview cannot be a member of the struct that goes
    # to the pool with a job, so the entry points take memoryviews and the nests take these.
    # An array with fewer axes has axes of one item in front; one that is not there has no data.
    char *data
    Py_ssize_t shape[3]
    Py_ssize_t strides[3]
    int mode                # what lies beyond the ends of the last axis
    const cc_half *half     # how numbers of 16 bits are stored, or NULL: as the tiles have them
    int pair                # 1 where two channels are the parts of one of complex numbers, else 0
    Py_ssize_t part         # and then from the real part to the imaginary one
    const Packed *packed    # weights that were packed before, or NULL


# As in PADDING_MODES of _geometry.py.
cdef enum: ZEROS, REFLECT, REPLICATE, CIRCULAR


cdef View view_of(const stored[:, :, :] array, const cc_half *half=NULL) noexcept nogil:
    cdef View view = nothing
    cdef int axis
    view.half = half
    view.data = <char *> &array[0, 0, 0]
    for axis in range(3):
        view.shape[axis] = array.shape[axis]
        view.strides[axis] = array.strides[axis]
    if stored is complex64 or stored is complex128:
        view.pair = 1
        view.part = sizeof(stored) // 2
        view.shape[1] *= 2
    return view


cdef View line_of(const real_or_half[:] array, const cc_half *half=NULL) noexcept nogil:
    cdef View view = nothing
    if array is not None:
        view.half = half
        view.data = <char *> &array[0]
        view.shape[2], view.strides[2] = array.shape[0], array.strides[0]
    return view


cdef View nothing
nothing.data = NULL
nothing.shape = [1, 1, 0]
nothing.strides = [0, 0, 0]
nothing.mode = ZEROS
nothing.half = NULL
nothing.pair = 0
nothing.part = 0
nothing.packed = NULL


cdef bint open_view(
    object array, int flags, Py_buffer *buffers, int *held, View *view
) except -1:
    """A view of an array, or of None, by one more buffer that is held.

    False if that is unaligned or cannot be had.
    """
    cdef Py_buffer *buffer = &buffers[held[0]]
    cdef int axis, missing
    cdef uintptr_t places
    view[0] = nothing
    if array is None:
        return True
    try:
        PyObject_GetBuffer(array, buffer, PyBUF_STRIDES | flags)
    except ValueError:
        return False  # bfloat16 has no format
    held[0] += 1
    if not 1 <= buffer.ndim <= 3:
        return False
    view.data = <char *> buffer.buf
    missing = 3 - buffer.ndim
    places = <uintptr_t> view.data
    for axis in range(2, -1, -1):
        if axis >= missing:
            view.shape[axis] = buffer.shape[axis - missing]
            view.strides[axis] = buffer.strides[axis - missing]
        else:
            view.shape[axis] = 1
            view.strides[axis] = view.shape[axis + 1] * view.strides[axis + 1]
        places |= <uintptr_t> view.strides[axis]
    return places % buffer.itemsize == 0


cdef inline char *at(const View *view, Py_ssize_t i, Py_ssize_t j, Py_ssize_t k) noexcept nogil:
    return (view.data + i * view.strides[0] + (j >> view.pair) * view.strides[1]
            + (j & view.pair) * view.part + k * view.strides[2])


cdef View part_of(
    const View *view, Py_ssize_t first, Py_ssize_t count, Py_ssize_t first_channel,
    Py_ssize_t channels, Py_ssize_t position, Py_ssize_t width
) noexcept nogil:
    """view[first : first + count, first_channel : ..., position : ...]"""
    cdef View part = view[0]
    part.data = at(view, first, first_channel, position)
    part.shape[0], part.shape[1], part.shape[2] = count, channels, width
    part.packed = NULL
    return part


cdef Py_ssize_t distance_of_rows(
    const View *view, Py_ssize_t rows, Py_ssize_t reach, Py_ssize_t size
) noexcept nogil:
    """Samples of `size` bytes from row to row, if a tile can read `rows` of them as they lie.

    The terms of a position reach so far along a row.

    Else 0: the samples of a row do not lie side by side or are not stored as the tiles have them,
    or an offset would not fit int32.
    """
    cdef Py_ssize_t distance = view.strides[1] // size
    if view.half != NULL or view.pair or view.strides[2] != size:
        return 0
    if distance * size != view.strides[1] or distance < 0:
        return 0
    return distance if distance * rows < INT32_MAX - reach else 0


# --- reading and writing numbers ---------------------------------------------------------------

# Halves that do not lie side by side are gathered into, or scattered from, so many.
cdef enum: HALVES = 256


cdef inline void load_row(
    const View *view, const char *sample, Py_ssize_t stride, Py_ssize_t count, real *row
) noexcept nogil:
    """row[i] = the number i·stride bytes from a sample."""
    cdef Py_ssize_t i
    if real is float:
        if view.half != NULL:
            load_halves(view.half, sample, stride, count, row)
            return
    if stride == sizeof(real):
        memcpy(row, sample, count * sizeof(real))
    elif stride == 2 * sizeof(real):  # constants that the compiler can shuffle by
        for i in range(count):
            row[i] = (<const real *> sample)[2 * i]
    elif stride == 4 * sizeof(real):
        for i in range(count):
            row[i] = (<const real *> sample)[4 * i]
    else:
        for i in range(count):
            row[i] = (<const real *> sample)[0]
            sample += stride


cdef void load_halves(
    const cc_half *half, const char *sample, Py_ssize_t stride, Py_ssize_t count, float *row
) noexcept nogil:
    cdef uint16_t halves[HALVES]
    cdef Py_ssize_t first, some, i
    if stride == sizeof(uint16_t):
        half.widen(<const uint16_t *> sample, count, row)
        return
    for first from 0 <= first < count by HALVES:
        some = min(count - first, HALVES)
        for i in range(some):
            halves[i] = (<const uint16_t *> sample)[0]
            sample += stride
        half.widen(halves, some, row + first)


cdef inline void store_row(
    const View *view, char *result, Py_ssize_t stride, Py_ssize_t count, const real *row
) noexcept nogil:
    """row[i] to the number i·stride bytes from a result."""
    cdef Py_ssize_t i
    if real is float:
        if view.half != NULL:
            store_halves(view.half, result, stride, count, row)
            return
    if stride == sizeof(real):
        memcpy(result, row, count * sizeof(real))
        return
    for i from 0 <= i < count - 3 by 4:
        (<real *> result)[0] = row[i]
        (<real *> (result + stride))[0] = row[i + 1]
        (<real *> (result + 2 * stride))[0] = row[i + 2]
        (<real *> (result + 3 * stride))[0] = row[i + 3]
        result += 4 * stride
    for i in range(count // 4 * 4, count):
        (<real *> result)[0] = row[i]
        result += stride


cdef void store_halves(
    const cc_half *half, char *result, Py_ssize_t stride, Py_ssize_t count, const float *row
) noexcept nogil:
    cdef uint16_t halves[HALVES]
    cdef Py_ssize_t first, some, i
    if stride == sizeof(uint16_t):
        half.narrow(row, count, <uint16_t *> result)
        return
    for first from 0 <= first < count by HALVES:
        some = min(count - first, HALVES)
        half.narrow(row + first, some, halves)
        for i in range(some):
            (<uint16_t *> result)[0] = halves[i]
            result += stride


# --- geometry ---------------------------------------------------------------------------------

cdef struct Geometry:
    Py_ssize_t input_length, output_length, stride, dilation, pad_left
    int mode
    Py_ssize_t taps
    Py_ssize_t classes   # classes of taps that there are
    Py_ssize_t period    # taps j, j + period, ... share a class
    Py_ssize_t step      # positions between neighbouring taps of a class


cdef inline void classify(Geometry *g) noexcept nogil:
    """Find the classes of the taps, which follow from the rest."""
    cdef Py_ssize_t a = g.stride, b = g.dilation
    while b:
        a, b = b, a % b
    g.period = g.stride // a
    g.step = g.dilation // a
    g.classes = min(g.period, g.taps)


cdef Geometry as_geometry(object geometry, Py_ssize_t taps):
    cdef Geometry g
    if not PyTuple_Check(geometry) or PyTuple_GET_SIZE(geometry) != 6:
        raise TypeError(f"geometry must be a Geometry, not {geometry!r}")
    # item by item: to unpack what is no plain tuple costs a small call more than its arithmetic
    g.input_length = <object> PyTuple_GET_ITEM(geometry, 0)
    g.output_length = <object> PyTuple_GET_ITEM(geometry, 1)
    g.stride = <object> PyTuple_GET_ITEM(geometry, 2)
    g.dilation = <object> PyTuple_GET_ITEM(geometry, 3)
    g.pad_left = <object> PyTuple_GET_ITEM(geometry, 4)
    g.mode = <object> PyTuple_GET_ITEM(geometry, 5)
    g.taps = taps
    classify(&g)
    return g


cdef inline Py_ssize_t source(int mode, Py_ssize_t position, Py_ssize_t length) noexcept nogil:
    """The sample that a position beyond the ends is a copy of; reflect is its own inverse.

    Positions farther from the ends than the padding have none, which is then beyond them, too.
    """
    if mode == REFLECT:
        return -position if position < 0 else 2 * (length - 1) - position
    if mode == REPLICATE:
        return 0 if position < 0 else length - 1
    if mode == CIRCULAR:
        return position + length if position < 0 else position - length
    return -1


cdef inline Py_ssize_t class_taps(const Geometry *g, Py_ssize_t klass) noexcept nogil:
    return (g.taps - klass + g.period - 1) // g.period


cdef inline Py_ssize_t class_shift(const Geometry *g, Py_ssize_t klass) noexcept nogil:
    """Floor of the class's first tap's distance from the output, in strides."""
    cdef Py_ssize_t distance = klass * g.dilation - g.pad_left
    cdef Py_ssize_t quotient = distance // g.stride
    return quotient - (quotient * g.stride > distance)


cdef inline Py_ssize_t class_phase(const Geometry *g, Py_ssize_t klass) noexcept nogil:
    return klass * g.dilation - g.pad_left - class_shift(g, klass) * g.stride


# --- terms and panels ---------------------------------------------------------------------------

cdef struct Terms:
    # Which terms a sum runs over, and how they lie in the panel.
    const Geometry *g
    Py_ssize_t first_class, last_class
    Py_ssize_t channels
    Py_ssize_t per_channel
    Py_ssize_t in_step    # samples between neighbouring positions
    int direction         # +1: samples ahead of the output (x); -1: behind it (dy)
    const int32_t *order  # which tap of its class each term is, or NULL: as they come


cdef Terms terms_of_input(const Geometry *g, Py_ssize_t channels) noexcept nogil:
    """All classes, reading x: what forward and backward_weight sum over."""
    cdef Terms terms
    terms.g = g
    terms.first_class, terms.last_class = 0, g.classes
    terms.channels, terms.per_channel = channels, g.taps
    terms.in_step = g.stride
    terms.direction = 1
    terms.order = NULL
    return terms


cdef Terms terms_of_output(
    const Geometry *g, Py_ssize_t channels, Py_ssize_t klass
) noexcept nogil:
    """One class, reading dy: what one phase of backward_input sums over."""
    cdef Terms terms
    terms.g = g
    terms.first_class, terms.last_class = klass, klass + 1
    terms.channels, terms.per_channel = channels, class_taps(g, klass)
    terms.in_step = 1
    terms.direction = -1
    terms.order = NULL
    return terms


cdef void order_taps(const Terms *terms, int32_t *order) noexcept nogil:
    """The order for a tile with a single row: terms CC_APART samples apart follow each other.

    It loads a vector of samples once for all of them. Of the terms of each CC_BLOCK, the taps of a
    class are summed by their remainder, and from the sample that lies first.
    """
    cdef Py_ssize_t apart = CC_APART // terms.g.step, total = terms.channels * terms.per_channel
    cdef Py_ssize_t t = 0, tap = 0, klass = terms.first_class, count, rest, i
    while t < total:
        count = min(class_taps(terms.g, klass) - tap, CC_BLOCK - t % CC_BLOCK)
        for rest in range(min(apart, count)):
            for i from rest <= i < count by apart:
                order[t] = <int32_t> (tap + (i if terms.direction > 0 else count - 1 - i))
                t += 1
        tap += count
        if tap == class_taps(terms.g, klass):
            tap = 0
            klass += 1
            if klass == terms.last_class:
                klass = terms.first_class


cdef inline Py_ssize_t tap_at(const Terms *terms, Py_ssize_t t, Py_ssize_t tap) noexcept nogil:
    """Which tap of its class the term t is, the one numbered `tap` if they come in order."""
    return tap if terms.order == NULL else terms.order[t]


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


cdef void copy_border(
    const View *array, Py_ssize_t n, Py_ssize_t channel, Py_ssize_t first, Py_ssize_t step,
    Py_ssize_t count, real *row
) noexcept nogil:
    """row[i] = array[n, channel, first + i·step], all beyond one end."""
    cdef Py_ssize_t i, sample, move = 0 if array.mode == REPLICATE else step
    cdef const char *line = at(array, n, channel, 0)
    if array.mode == ZEROS:
        memset(row, 0, count * sizeof(real))
        return
    if array.mode == REFLECT:
        move = -step
    sample = source(array.mode, first, array.shape[2])
    for i in range(count):
        row[i] = 0
        if 0 <= sample < array.shape[2]:
            load_row[real](array, line + sample * array.strides[2], 0, 1, row + i)
        sample += move


cdef void copy_row(
    const View *array, Py_ssize_t n, Py_ssize_t channel, Py_ssize_t first, Py_ssize_t step,
    Py_ssize_t count, real *row
) noexcept nogil:
    """row[i] = array[n, channel, first + i·step], beyond its ends as its mode says."""
    cdef Py_ssize_t length = array.shape[2], stride = array.strides[2] * step
    cdef Py_ssize_t left = 0, right = 0
    cdef const char *sample
    if first < 0:
        left = min(count, (-first + step - 1) // step)
    if left < count and first + (count - 1) * step >= length:
        right = count
        if first + left * step < length:
            right = count - 1 - (length - 1 - first) // step
        right = min(right, count - left)
    cdef Py_ssize_t inside = count - left - right
    if left > 0:
        copy_border[real](array, n, channel, first, step, left, row)
    if inside > 0:
        sample = at(array, n, channel, first + left * step)
        if 0 < stride <= 64:
            # rows that are copied soon lie far from this one; two ahead measured best
            cc_prefetch(sample + 2 * array.strides[1], inside * stride)
        load_row[real](array, sample, stride, inside, row + left)
    if right > 0:
        copy_border[real](array, n, channel, first + (left + inside) * step, step, right,
                          row + left + inside)


cdef void pack_panel(
    const View *array, Py_ssize_t n, Py_ssize_t signals, Py_ssize_t apart,
    Py_ssize_t first_channel, const Terms *terms, Py_ssize_t first_term, Py_ssize_t last_term,
    Py_ssize_t position, Py_ssize_t positions, Py_ssize_t width, real *panel, int32_t *offset
) noexcept nogil:
    """The samples that some terms need at `width` positions, and where each term's begin.

    They are those of one signal or, where taps share rows, of several, each for `positions` of them
    and `apart` from the one before.
    """
    cdef const Geometry *g = terms.g
    cdef Py_ssize_t ahead = terms.direction * g.step
    cdef Py_ssize_t channel = first_term // terms.per_channel, klass = terms.first_class
    cdef Py_ssize_t tap = first_term - channel * terms.per_channel
    cdef Py_ssize_t t = first_term, used = 0, taps, u, at_u, first, length, phase = 0, i
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
            for i in range(signals):
                copy_row[real](array, n + i, first_channel + channel,
                               first * terms.in_step + phase, terms.in_step,
                               length if signals == 1 else length - width + positions,
                               panel + (used + i * apart))
            for u in range(taps):
                at_u = tap_at(terms, t + u, tap + u) - tap
                offset[t - first_term + u] = <int32_t> (
                    used + (at_u if ahead > 0 else taps - 1 - at_u) * g.step)
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


cdef inline Py_ssize_t lowest_sample(const Terms *terms) noexcept nogil:
    """The first sample that position 0 reads, of terms with a single class and an in_step of 1."""
    cdef Py_ssize_t shift = class_shift(terms.g, terms.first_class)
    if terms.direction > 0:
        return shift
    return -shift - (terms.per_channel - 1) * terms.g.step


cdef void point_at_terms(
    const Terms *terms, Py_ssize_t distance, int32_t *offset
) noexcept nogil:
    """Where each term's samples begin in the array, from the first that a position reads."""
    cdef Py_ssize_t channel, first, tap, t = 0
    for channel in range(terms.channels):
        for first in range(terms.per_channel):
            tap = tap_at(terms, t, first)
            if terms.direction < 0:
                tap = terms.per_channel - 1 - tap
            offset[t] = <int32_t> (channel * distance + tap * terms.g.step)
            t += 1


# --- scratch ----------------------------------------------------------------------------------

cdef struct Scratch:
    # One allocation for all that a call needs, made before the first result is stored: pieces
    # that all threads read, then for each thread its own. A small call's are on the stack.
    void *memory
    char *next
    char small[SMALL_SCRATCH]


cdef inline Py_ssize_t rounded(Py_ssize_t size, Py_ssize_t multiple) noexcept nogil:
    return (size + multiple - 1) // multiple * multiple


cdef inline Py_ssize_t piece(Py_ssize_t size) noexcept nogil:
    return rounded(size, 64)


cdef bint reserve(Scratch *scratch, Py_ssize_t size) noexcept nogil:
    scratch.memory = NULL
    scratch.next = scratch.small
    if size + 64 > SMALL_SCRATCH:
        scratch.memory = PyMem_RawMalloc(size + 64)
        if scratch.memory == NULL:
            return False
        scratch.next = <char *> scratch.memory
    scratch.next += 64 - <uintptr_t> scratch.next % 64
    return True


cdef inline void *take(char **next, Py_ssize_t size) noexcept nogil:
    """A piece of the scratch, aligned to a cache line; `piece` says what it takes."""
    cdef void *pointer = next[0]
    next[0] += piece(size)
    return pointer
