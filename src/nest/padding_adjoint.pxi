# backward_input with a padding mode: the gradient of each padded copy is added to the gradient of
# its source sample (the adjoint of padding).
#
#     dx[s] = g[s] + Σ over the copies q of s on the left  g[q] + Σ over those on the right  g[q]
#
#     where g is backward_input of the padded signal, at positions from -pad_left on
#
# Takes  what sum_terms takes, and a Geometry with a mode.
# Gives  dx; false if memory ran out, and then dx may hold a part of it.

cdef struct Range:
    Py_ssize_t first, end


cdef inline Py_ssize_t end_of_reads(const Geometry *g) noexcept nogil:
    """One more than the last position that an output reads."""
    return (g.output_length - 1) * g.stride + (g.taps - 1) * g.dilation + 1 - g.pad_left


cdef Range copies_of(
    const Geometry *g, bint right, Py_ssize_t first, Py_ssize_t end, Py_ssize_t length
) noexcept nogil:
    """The positions of the padding on one side that are copies of the samples first .. end - 1."""
    cdef Range copies
    cdef Py_ssize_t shift
    copies.first, copies.end = length if right else -g.pad_left, 0
    if right:
        copies.end = end_of_reads(g)
    if g.mode == CCONV1D_REFLECT:
        shift = 2 * (length - 1) if right else 0
        copies.first = max(copies.first, shift - end + 1)
        copies.end = min(copies.end, shift - first + 1)
    elif g.mode == CCONV1D_CIRCULAR:
        shift = length if right else -length
        copies.first = max(copies.first, first + shift)
        copies.end = min(copies.end, end + shift)
    elif end < length if right else first > 0:
        copies.end = copies.first  # all are of the sample at that end
    return copies


cdef bint has_copies(
    const Geometry *g, Py_ssize_t first, Py_ssize_t end, Py_ssize_t length
) noexcept nogil:
    cdef Range left = copies_of(g, False, first, end, length)
    cdef Range right = copies_of(g, True, first, end, length)
    return left.first < left.end or right.first < right.end


cdef Py_ssize_t next_read(const Geometry *g, Py_ssize_t position) noexcept nogil:
    """The first position from this one on that an output reads, or beyond all of them."""
    cdef Py_ssize_t nearest = PY_SSIZE_T_MAX, tap, p
    for tap in range(g.taps):
        p = position + g.pad_left - tap * g.dilation
        p = 0 if p < 0 else (p + g.stride - 1) // g.stride
        if p < g.output_length:
            nearest = min(nearest, p * g.stride + tap * g.dilation - g.pad_left)
    return nearest


cdef void add_copies(
    const View *copies, Py_ssize_t position, const View *dx, int mode, Py_ssize_t first,
    Py_ssize_t length, real chain
) noexcept nogil:
    """dx[sample - first] += copies[i] for the sample that position + i is a copy of."""
    cdef Py_ssize_t n, channel, i
    for n in range(copies.shape[0]):
        for channel in range(copies.shape[1]):
            chain = 0
            for i in range(copies.shape[2]):
                chain += (<const real *> at(copies, n, channel, i))[0]
                if mode != CCONV1D_REPLICATE or i == copies.shape[2] - 1:
                    (<real *> at(dx, n, channel,
                                 source(mode, position + i, length) - first))[0] += chain
                    chain = 0


cdef bint add_padding_gradient(
    const cc_tiles *tiles, const View *dy, const View *w, const View *dx, const Geometry *g,
    Py_ssize_t groups, Py_ssize_t first, Py_ssize_t length, const View *border, Py_ssize_t size
) noexcept nogil:
    """Add the gradients of padded copies to dx, which has the samples from `first` on of `length`.

    `border` is scratch for the copies' gradients, as wide as the padding on a side or CC_BLOCK.
    """
    cdef View some = border[0]
    cdef Geometry inner = g[0]  # which is a few positions at a time
    cdef Py_ssize_t side, edge, position
    cdef Range copies
    inner.method = DIRECT
    for side in range(2):
        edge = side * length
        copies = copies_of(g, side, first, first + dx.shape[2], length)
        position = copies.first
        while position < copies.end:
            position = next_read(g, position)
            if position >= copies.end:
                break
            # to the next multiple of CC_BLOCK from the edge
            some.shape[2] = min(copies.end - position, (
                CC_BLOCK - (position - edge) % CC_BLOCK if side else
                (edge - position - 1) % CC_BLOCK + 1))
            inner.pad_left = g.pad_left + position
            if not sum_terms(tiles, dy, w, &nothing, &some, &inner, groups, True, size):
                return False
            if size == sizeof(float):
                add_copies[float](&some, position, dx, g.mode, first, length, 0)
            else:
                add_copies[double](&some, position, dx, g.mode, first, length, 0)
            position += some.shape[2]
    return True


cdef struct BorderScratch:
    Py_ssize_t packed_size, border_size, block_size  # in bytes
    void *packed                                     # the weights, unless they were packed before
    void *border                                     # gradients of padded copies
    void *block                                      # a part of dx, where that is in half precision


cdef uintptr_t carve_border(BorderScratch *own, uintptr_t next) noexcept nogil:
    own.packed = carve(&next, own.packed_size)
    own.border = carve(&next, own.border_size)
    own.block = carve(&next, own.block_size)
    return next


cdef bint backward_input_padded(
    const cc_tiles *tiles, const View *dy, const View *w, const View *bias, const View *dx,
    const Geometry *g, Py_ssize_t groups, Py_ssize_t size
) noexcept nogil:
    """backward_input; false if memory ran out.

    Where positions beyond the ends are copies of samples, the gradient of a sample is its own, plus
    that of its copy on the left, plus that of its copy on the right. Those of the copies are
    correlated like any others, a few at a time, into scratch. Where all copies on a side are of one
    sample (replicate), they are added up first, from left to right, in chains that end at every
    CC_BLOCK positions from the end of the signal. Where dx is stored in half precision, the block
    is computed once more in scratch, so that it is rounded once.
    """
    cdef Py_ssize_t outs = w.shape[0] // groups, channels = w.shape[1], length = dx.shape[2]
    cdef Py_ssize_t units, samples, groups_at_once, n, group, count, first
    cdef Py_ssize_t width = max(g.pad_left, end_of_reads(g) - length)
    cdef View border = nothing, whole_w = w[0], some_dy, some_w, some_dx, block
    cdef PackedLayout packed
    cdef Sum sum
    cdef Geometry inner = g[0]
    cdef Py_ssize_t i, channel
    cdef bint wide = dx.half == NULL
    cdef BorderScratch own
    cdef Arena arena
    cdef uintptr_t start
    cdef bint done = True
    inner.method = DIRECT
    if g.mode == CCONV1D_ZEROS or width <= 0 or dx.shape[0] == 0 or dx.shape[1] == 0:
        return sum_terms(tiles, dy, w, bias, dx, g, groups, True, size)
    width = min(width, CC_BLOCK)
    # `groups_at_once` groups of `samples` samples fit the scratch
    border.strides[2] = size
    border.strides[1] = width * size
    block = border
    block.strides[1] = 0 if wide else CC_BLOCK * size
    units = max(1, BORDER_BYTES // (channels * (border.strides[1] + block.strides[1])))
    groups_at_once = min(groups, units)
    samples = min(dx.shape[0], max(1, units // groups))
    border.strides[0] = groups_at_once * channels * border.strides[1]
    block.strides[0] = groups_at_once * channels * block.strides[1]
    own.packed_size = 0 if w.packed != NULL else w.shape[0] * channels * w.shape[2] * size
    own.border_size, own.block_size = samples * border.strides[0], samples * block.strides[0]
    start = arena_open(&arena, carve_border(&own, 0))
    if start == 0:
        return False
    carve_border(&own, start)
    border.data, block.data = <char *> own.border, <char *> own.block
    if own.packed_size > 0:  # the borders take the same weights as all the rest
        plan_sum(&sum, tiles, w, g, groups, True)
        done = prepack_weights(w, &sum, cc_pool_threads(), size, &packed, own.packed)
        whole_w.packed = &packed
    done = done and sum_terms(tiles, dy, &whole_w, bias, dx, g, groups, True, size)
    for n from 0 <= n < dx.shape[0] by samples:
        samples = min(samples, dx.shape[0] - n)
        for group from 0 <= group < groups by groups_at_once:
            count = min(groups_at_once, groups - group)
            some_dy = part_of(dy, n, samples, group * outs, count * outs, 0, dy.shape[2])
            border.shape[0], border.shape[1] = samples, count * channels
            some_w = whole_w
            if count < groups:
                some_w = weight_rows(w, group * outs, count * outs)
            for first from 0 <= first < length by CC_BLOCK:
                some_dx = part_of(dx, n, samples, group * channels, count * channels, first,
                                  min(CC_BLOCK, length - first))
                if not done:
                    break
                if wide:
                    done = add_padding_gradient(tiles, &some_dy, &some_w, &some_dx, g, count,
                                                first, length, &border, size)
                elif has_copies(g, first, first + some_dx.shape[2], length):
                    block.shape = some_dx.shape
                    inner.pad_left = g.pad_left + first
                    done = (sum_terms(tiles, &some_dy, &some_w, &nothing, &block, &inner, count,
                                      True, size)
                            and add_padding_gradient(tiles, &some_dy, &some_w, &block, g, count,
                                                     first, length, &border, size))
                    for i in range(samples):
                        for channel in range(block.shape[1]):
                            store_row[float](&some_dx, at(&some_dx, i, channel, 0),
                                             some_dx.strides[2], block.shape[2],
                                             <const float *> at(&block, i, channel, 0))
    arena_close(&arena)
    return done
