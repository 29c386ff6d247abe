# Arrays as nests see them, and numbers as they are stored.
#
#     array[n, c, p]  at  data + n·strides[0] + c·strides[1] + p·strides[2]
#
# Takes  memoryviews and buffers of Python, arrays of C.
# Gives  View, its addresses (at, line_at, weight_at), and rows of its numbers as the tiles compute
#        with them (load_row, store_row), whatever their stride and format.

cdef struct PackedLayout:
    # Weights in one of the orders that tiles read them in, and what that depends on: see Sum.
    const cc_tiles *tiles
    bint transposed
    Py_ssize_t lanes           # of a Sum's Rows
    Py_ssize_t groups, outs, channels, taps, stride, dilation
    int method                 # FFT, of spectra; FAST, of planes; DIRECT, of weights as they are
    const void *numbers
    bint finite                # all of them
    const PackedLayout *other  # the same weights in another order, or NULL


cdef struct View:
    # An array as a nest sees it. A typed memoryview cannot be a member of the struct that goes
    # to the pool with a job, so the entry points take memoryviews and the nests take these.
    # An array with fewer axes has axes of one item in front; one that is not there has no data.
    char *data
    Py_ssize_t shape[3]
    Py_ssize_t strides[3]
    int mode                    # what lies beyond the ends of the last axis, a CCONV1D_ZEROS ...
    const View *before          # with CONTINUES, what ends where this one begins
    const cc_half *half         # how numbers of 16 bits are stored, or NULL: as the tiles have them
    int pair                    # 1 where channels are parts of complex numbers, else 0
    bint conjugate              # of weights, and of what a gradient of weights becomes
    Py_ssize_t part             # and then from the real part to the imaginary one
    const PackedLayout *packed  # weights that were packed before, or NULL


@cython.boundscheck(False)  # an empty array has an address, too
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


@cython.boundscheck(False)
cdef View line_of(const stored[:] array, const cc_half *half=NULL) noexcept nogil:
    cdef View view = nothing
    if array is not None:
        view.half = half
        view.data = <char *> &array[0]
        view.shape[2], view.strides[2] = array.shape[0], array.strides[0]
        if stored is complex64 or stored is complex128:
            view.pair = 1
            view.part = sizeof(stored) // 2
    return view


cdef View weight_view(
    const stored[:, :, :] array, const cc_half *half=NULL, bint conjugate=False
) noexcept nogil:
    """A weight or its gradient. Of complex numbers it is a matrix between parts: see weight_at."""
    cdef View view = view_of(array, half)
    view.shape[0] <<= view.pair
    view.conjugate = conjugate
    return view


cdef View nothing
nothing.data = NULL
nothing.shape = [1, 1, 0]
nothing.strides = [0, 0, 0]
nothing.mode = CCONV1D_ZEROS
nothing.before = NULL
nothing.half = NULL
nothing.pair = 0
nothing.conjugate = False
nothing.part = 0
nothing.packed = NULL


cdef inline bint is_inside(
    const View *view, Py_ssize_t i, Py_ssize_t j, Py_ssize_t k
) noexcept nogil:
    """A view without numbers has an address all the same, which nobody reads."""
    return (0 <= i < view.shape[0] and 0 <= j < view.shape[1] and 0 <= k < view.shape[2]
            or view.shape[0] == 0 or view.shape[1] == 0 or view.shape[2] == 0)


cdef inline char *at(const View *view, Py_ssize_t i, Py_ssize_t j, Py_ssize_t k) noexcept nogil:
    cc_assert(is_inside(view, i, j, k))
    return (view.data + i * view.strides[0] + (j >> view.pair) * view.strides[1]
            + (j & view.pair) * view.part + k * view.strides[2])


cdef inline char *line_at(const View *view, Py_ssize_t i) noexcept nogil:
    """The number of a line, such as a bias; those of complex numbers are their parts by turns."""
    cc_assert(is_inside(view, 0, 0, i >> view.pair))
    return view.data + (i >> view.pair) * view.strides[2] + (i & view.pair) * view.part


cdef inline char *weight_at(
    const View *w, Py_ssize_t i, Py_ssize_t j, Py_ssize_t k
) noexcept nogil:
    """The number w[i, j, k], or that of complex numbers which it is a part of, by sign or not.

        w[0, 0]  w[0, 1]     real  -imag
                          =                of a weight, or with the sign at the other if it is to
        w[1, 0]  w[1, 1]     imag   real   be conjugated

    The transpose of this matrix is that of the conjugated weight: so backward_input conjugates.
    """
    cc_assert(is_inside(w, i, j, k))
    return (w.data + (i >> w.pair) * w.strides[0] + (j >> w.pair) * w.strides[1]
            + ((i ^ j) & w.pair) * w.part + k * w.strides[2])


cdef inline bint negated(const View *w, Py_ssize_t i, Py_ssize_t j) noexcept nogil:
    """Whether w[i, j] is the negative of what lies at weight_at."""
    return ((i ^ j) & w.pair) != 0 and (i & 1) == w.conjugate


cdef inline Py_ssize_t magnitude(Py_ssize_t stride) noexcept nogil:
    return stride if stride >= 0 else -stride


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


cdef View weight_rows(const View *w, Py_ssize_t first, Py_ssize_t count) noexcept nogil:
    """w[first : first + count]"""
    cdef View part = w[0]
    part.data = weight_at(w, first, 0, 0)
    part.shape[0] = count
    part.packed = NULL
    return part


cdef Py_ssize_t row_pitch_of(
    const View *view, Py_ssize_t rows, Py_ssize_t reach, Py_ssize_t size
) noexcept nogil:
    """The row pitch in samples of `size` bytes, if a tile can read `rows` rows in place, else 0.

    It cannot if the samples of a row are not contiguous or not stored as the tiles compute, or if
    an offset would not fit int32: the terms of a position lie up to `reach` samples apart in a row.
    """
    cdef Py_ssize_t distance = view.strides[1] // size
    if view.half != NULL or view.pair or view.strides[2] != size:
        return 0
    if distance * size != view.strides[1] or distance < 0:
        return 0
    return distance if distance * rows < INT32_MAX - reach else 0


cdef inline bint has_adjacent_channels(const View *view, Py_ssize_t size) noexcept nogil:
    """Whether the numbers of a sample, of `size` bytes or halves, lie side by side."""
    if view.pair:
        return view.part == size and view.strides[1] == 2 * size
    return view.strides[1] == (<Py_ssize_t> sizeof(uint16_t) if view.half != NULL else size)


cdef inline Py_ssize_t stored_size(const View *view, Py_ssize_t size) noexcept nogil:
    """The bytes of a number in an array, if the tiles' numbers have `size`."""
    return sizeof(uint16_t) if view.half != NULL else size


# --- reading and writing numbers ---------------------------------------------------------------

# The level whose tiles compute.
cdef const cc_level *level = &cc_levels[0]

# Numbers a few numbers apart are taken from vectors, if there are not too few.
cdef enum: SHORT_STRIDED_ROW = 16, MAX_MERGED_STEP = 8
# Halves that are not contiguous are gathered into, or scattered from, a buffer of HALVES.
cdef enum: HALVES = 256


cdef inline void copy_short(void *to, const void *first, Py_ssize_t size) noexcept nogil:
    """memcpy, without a call where it is some times COPY_BYTES: a few vectors."""
    cdef Py_ssize_t i
    if size % COPY_BYTES:
        memcpy(to, first, size)
        return
    for i from 0 <= i < size by COPY_BYTES:
        memcpy(<char *> to + i, <const char *> first + i, COPY_BYTES)


cdef inline void copy_numbers(real *to, const real *first, Py_ssize_t count) noexcept nogil:
    """memcpy, without a call where there are few."""
    cdef Py_ssize_t i = 0
    if count > 64:
        memcpy(to, first, count * sizeof(real))
    elif count < 4:
        for i in range(count):
            to[i] = first[i]
    else:
        while i < count - 4:
            memcpy(to + i, first + i, 4 * sizeof(real))
            i += 4
        memcpy(to + (count - 4), first + (count - 4), 4 * sizeof(real))


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
    elif (count > SHORT_STRIDED_ROW and stride % <Py_ssize_t> sizeof(real) == 0
            and 0 < stride <= MAX_MERGED_STEP * <Py_ssize_t> sizeof(real)):
        if real is float:
            level.f32.load_strided(sample, stride // sizeof(real), count, row)
        else:
            level.f64.load_strided(sample, stride // sizeof(real), count, row)
    else:
        for i in range(count):
            row[i] = (<const real *> sample)[0]
            sample += stride


cdef inline void swap_axes(
    const real *first, Py_ssize_t pitch, Py_ssize_t rows, Py_ssize_t columns, real *to,
    Py_ssize_t to_pitch
) noexcept nogil:
    """to[c·to_pitch + r] = first[r·pitch + c]"""
    if real is float:
        level.f32.swap_axes(first, pitch, rows, columns, to, to_pitch)
    else:
        level.f64.swap_axes(first, pitch, rows, columns, to, to_pitch)


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


cdef void fill_bias(
    const View *out, const real *biases, Py_ssize_t outs, Py_ssize_t group
) noexcept nogil:
    """out = bias: the sum without any terms. The biases of a group of `outs` begin `group` numbers
    after those of the one before; without biases, zeros."""
    cdef Py_ssize_t n, row, p, item = stored_size(out, sizeof(real))
    cdef bint adjacent = not out.pair and out.strides[1] == item < out.strides[2]
    cdef bint contiguous = not out.pair and out.strides[2] == item
    cdef real value = 0
    for n in range(out.shape[0]):
        for p in range(out.shape[2] if adjacent else 0):
            if biases == NULL:
                memset(at(out, n, 0, p), 0, out.shape[1] * item)
            for row from 0 <= row < (out.shape[1] if biases != NULL else 0) by outs:
                store_row[real](out, at(out, n, row, p), item, outs, biases + row // outs * group)
        for row in range(0 if adjacent else out.shape[1]):
            if biases == NULL and contiguous:
                memset(at(out, n, row, 0), 0, out.shape[2] * item)
                continue
            if biases != NULL:
                value = biases[row // outs * group + row % outs]
            for p in range(out.shape[2]):
                store_row[real](out, at(out, n, row, p), 0, 1, &value)
