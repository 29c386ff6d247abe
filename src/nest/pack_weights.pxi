# Weights as the tiles read them: packed[group][phase][block of rows][term][row of the block]
#
# A row is a channel of results, or one for each class of a merged phase; the rows of a block are
# those of a tile of `correlate`, or the lanes of one of `channels_last`. There is one packing for
# both: which rows a block has is what a Sum's Rows say.

cdef struct Run:
    # Weights that are evenly apart, and those of a packed block that they become.
    const char *first
    Py_ssize_t rows, channels, taps
    Py_ssize_t row_step, channel_step, tap_step  # in bytes
    Py_ssize_t count, channel_size               # rows of the block, numbers of a channel in it


cdef void copy_run(const Run *run, real_or_half *packed) noexcept nogil:
    """packed[channel][tap][row], of which taps are `count` apart."""
    cdef Py_ssize_t row = 0, first, channel, tap, step = run.row_step
    cdef const char *weight
    cdef real_or_half *place
    while row < run.rows:
        # a few rows at once, some of them for the second time, unless there are fewer
        first = min(row, max(run.rows - 4, 0))
        for channel in range(run.channels):
            weight = run.first + channel * run.channel_step + first * step
            place = packed + channel * run.channel_size + first
            if run.rows < 4:
                for tap in range(run.taps):
                    for row in range(run.rows):
                        place[row] = (<const real_or_half *> (weight + row * step))[0]
                    weight += run.tap_step
                    place += run.count
            else:
                for tap in range(run.taps):
                    place[0] = (<const real_or_half *> weight)[0]
                    place[1] = (<const real_or_half *> (weight + step))[0]
                    place[2] = (<const real_or_half *> (weight + 2 * step))[0]
                    place[3] = (<const real_or_half *> (weight + 3 * step))[0]
                    weight += run.tap_step
                    place += run.count
        row = first + 4


cdef inline const char *weight_at(
    const Sum *sum, const View *w, Py_ssize_t group, Py_ssize_t row, Py_ssize_t channel,
    Py_ssize_t tap
) noexcept nogil:
    if sum.transposed and not sum.depthwise:
        return at(w, group * sum.channels + channel, row, tap)
    return at(w, group * sum.outs + row, channel, tap)


cdef void copy_ordered(
    const Sum *sum, const View *w, const Phase *phase, Py_ssize_t group,
    Py_ssize_t first_channel, Py_ssize_t last_channel, Py_ssize_t begin, Py_ssize_t count,
    real_or_half *packed
) noexcept nogil:
    """As copy_block, of terms with an order of their own: of one row, or of one for each group."""
    cdef const Terms *terms = &phase.terms
    cdef Py_ssize_t tap_step = w.strides[2] * sum.g.period, row_step = w.strides[0]
    cdef Py_ssize_t rows = min(count, phase.rows.count - begin)
    cdef Py_ssize_t klass, channel, row, u, t = first_channel * terms.per_channel
    cdef const char *first
    cdef const char *weight
    for channel in range(first_channel, last_channel):
        for klass in range(terms.first_class, terms.last_class):
            first = weight_at(sum, w, group, begin, channel, klass)
            for u in range(class_taps(sum.g, klass)):
                weight = first + terms.order[t] * tap_step
                packed[0] = (<const real_or_half *> weight)[0]
                for row from 1 <= row < rows:
                    weight += row_step
                    packed[row] = (<const real_or_half *> weight)[0]
                packed += count
                t += 1


cdef void copy_block(
    const Sum *sum, const View *w, const Phase *phase, Py_ssize_t group,
    Py_ssize_t first_channel, Py_ssize_t last_channel, Py_ssize_t begin, Py_ssize_t count,
    real_or_half *packed
) noexcept nogil:
    """packed[t][r] for the terms of some channels and the `count` rows of a block from `begin` on.

    Rows behind the first `outs` are those of the classes that follow.
    """
    cdef const Terms *terms = &phase.terms
    cdef const Geometry *g = sum.g
    cdef Py_ssize_t end = min(begin + count, phase.rows.count)
    cdef Py_ssize_t klass, row
    cdef Run run
    run.count, run.channel_size = count, terms.per_channel * count
    run.row_step, run.channel_step = w.strides[0], w.strides[1]
    if sum.transposed and not sum.depthwise:
        run.row_step, run.channel_step = w.strides[1], w.strides[0]
    run.tap_step = w.strides[2] * g.period
    for klass in range(terms.first_class, terms.last_class):
        run.taps, run.channels = class_taps(g, klass), last_channel - first_channel
        if run.taps == terms.per_channel and run.channel_step == run.taps * run.tap_step:
            run.taps, run.channels = run.taps * run.channels, 1  # all lie as those of one
        row = begin
        while row < end:
            run.rows = min(end - row, sum.outs - row % sum.outs)
            run.first = weight_at(sum, w, group, row % sum.outs, first_channel,
                                  klass + row // sum.outs)
            copy_run(&run, packed + (row - begin))
            row += run.rows
        packed += class_taps(g, klass) * count


cdef bint pack_block(
    const Sum *sum, const View *w, const Phase *phase, Py_ssize_t group,
    Py_ssize_t first_channel, Py_ssize_t last_channel, Py_ssize_t block, real *packed
) noexcept nogil:
    """packed[block][t][r] for the terms of some channels and the rows of a block.

    False if there are weights of backward_input that are not finite.
    """
    cdef Py_ssize_t row = packed_rows(phase.rows, block), per_channel = phase.terms.per_channel
    cdef Py_ssize_t count = packed_rows(phase.rows, block + 1) - row, i, number
    cdef Py_ssize_t size = (last_channel - first_channel) * per_channel * count
    cdef uint16_t *halves
    cdef uint16_t[HALVES] some
    cdef bint finite = True
    packed += row * sum.channels * per_channel + first_channel * per_channel * count
    if real is float:
        if w.half != NULL:  # which wait in the second half of their place
            halves = <uint16_t *> packed + size
            if phase.terms.order == NULL:
                copy_block(sum, w, phase, group, first_channel, last_channel, row, count, halves)
            else:
                copy_ordered(sum, w, phase, group, first_channel, last_channel, row, count, halves)
            for i from 0 <= i < size by HALVES:
                number = min(size - i, HALVES)
                memcpy(some, halves + i, number * sizeof(uint16_t))
                w.half.widen(some, number, packed + i)
    if w.half == NULL:
        if phase.terms.order == NULL:
            copy_block(sum, w, phase, group, first_channel, last_channel, row, count, packed)
        else:
            copy_ordered(sum, w, phase, group, first_channel, last_channel, row, count, packed)
    if sum.transposed:
        for i in range(size):
            finite &= isfinite(packed[i]) != 0
    return finite


cdef inline Py_ssize_t packing_units(const Sum *sum) noexcept nogil:
    """What the weights of a group's phase can be shared out by.

    Some channels of backward_input, whose rows lie side by side, or a block of rows of forward.
    """
    if sum.transposed and not sum.depthwise:
        return (sum.channels + NEAR_CHANNELS - 1) // NEAR_CHANNELS
    return sum.rows[0].blocks


cdef bint pack_units(
    const Sum *sum, const View *w, Py_ssize_t first, Py_ssize_t last, real *packed
) noexcept nogil:
    """Some units of all weights, those of a phase of all groups together."""
    cdef Py_ssize_t units = packing_units(sum), unit, group, block, channel, number = 0
    cdef Phase phase = phase_of(sum, 0)
    cdef bint finite = True
    cdef real *place
    for unit in range(first, last):
        while number < unit // (units * sum.groups):
            number += 1
            phase = phase_of(sum, number)
        group = unit // units % sum.groups
        place = packed + weights_before(sum, group, &phase)
        if sum.transposed and not sum.depthwise:
            channel = unit % units * NEAR_CHANNELS
            for block in range(phase.rows.blocks):
                finite &= pack_block[real](sum, w, &phase, group, channel,
                                           min(channel + NEAR_CHANNELS, sum.channels), block, place)
        else:
            finite &= pack_block[real](sum, w, &phase, group, 0, sum.channels, unit % units, place)
    return finite


cdef struct Packing:
    # A job for the pool: its chunks are as many units of the weights.
    const Sum *sum
    const View *w
    void *packed
    Py_ssize_t size                    # of a number
    Py_ssize_t units, chunks
    char[CC_POOL_MAX] finite           # those that a worker has packed


cdef void pack_chunk(void *context, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef Packing *packing = <Packing *> context
    cdef Py_ssize_t first = chunk * packing.units // packing.chunks
    cdef Py_ssize_t last = (chunk + 1) * packing.units // packing.chunks
    if packing.size == sizeof(float):
        packing.finite[worker] &= pack_units[float](packing.sum, packing.w, first, last,
                                                    <float *> packing.packed)
    else:
        packing.finite[worker] &= pack_units[double](packing.sum, packing.w, first, last,
                                                     <double *> packing.packed)


cdef bint pack_weights(
    const View *w, const Sum *sum, int workers, real *packed
) noexcept nogil:
    """packed[group][phase][block][t][r] for all terms and rows.

    False if there are weights of backward_input that are not finite.
    """
    cdef Packing packing
    cdef int worker
    cdef bint finite = True
    if sum.packed_outs > sum.outs:  # zeros fill what no row takes
        memset(packed, 0, sum.size * sizeof(real))
    packing.units = packing_units(sum) * sum.groups * sum.phases
    if workers == 1 or sum.size < SERIAL_WEIGHTS:
        return pack_units[real](sum, w, 0, packing.units, packed)
    packing.sum, packing.w, packing.packed, packing.size = sum, w, packed, sizeof(real)
    packing.chunks = min(PARTS * workers, packing.units)
    memset(packing.finite, 1, workers)
    cc_pool_run(pack_chunk, &packing, packing.chunks, workers)
    for worker in range(workers):
        finite &= packing.finite[worker]
    return finite


cdef bint keep_weights(
    const View *w, Sum *sum, int threads, Packed *kept, real *packed
) noexcept nogil:
    """Pack the weights of a planned sum for calls to come; false if memory ran out."""
    cdef Arena arena
    cdef uintptr_t start = open_arena(&arena, sum.terms * sizeof(int32_t) if sum.ordered else 0)
    if start == 0:
        return False
    if sum.ordered:
        order_terms(sum, <int32_t *> start)
    kept.tiles, kept.transposed, kept.lanes = sum.tiles, sum.transposed, sum.rows[0].lanes
    kept.groups, kept.outs, kept.channels = sum.groups, sum.outs, sum.channels
    kept.taps, kept.stride, kept.dilation = sum.g.taps, sum.g.stride, sum.g.dilation
    kept.finite = pack_weights[real](w, sum, threads, packed)
    kept.numbers, kept.other = packed, NULL
    sum.order = NULL  # which was in the arena
    close_arena(&arena)
    return True


cdef const Packed *packed_for(const View *w, const Sum *sum) noexcept nogil:
    """The weights as they were packed for such a sum, or NULL."""
    cdef const Packed *kept = w.packed
    while kept != NULL:
        if (kept.tiles == sum.tiles and kept.transposed == sum.transposed
                and kept.lanes == sum.rows[0].lanes and kept.groups == sum.groups
                and kept.outs == sum.outs and kept.channels == sum.channels
                and kept.taps == sum.g.taps and kept.stride == sum.g.stride
                and kept.dilation == sum.g.dilation):
            return kept
        kept = kept.other
    return NULL


cdef struct Keeping:
    # How weights are kept for calls to come: by panels and, if there are two sums, along lanes.
    Sum[2] sums
    void *numbers[2]
    int count


cdef uintptr_t carve_kept(Keeping *keeping, Py_ssize_t size, uintptr_t next) noexcept nogil:
    cdef int i
    for i in range(keeping.count):
        keeping.numbers[i] = carve(&next, keeping.sums[i].size * size)
    return next


cdef void plan_keeping(
    Keeping *keeping, const cc_tiles *tiles, const View *w, const Geometry *g, Py_ssize_t groups,
    bint transposed, bint channels_last
) noexcept nogil:
    """Both orders where a call may take either, which is decided by its arrays.

    Signals with their channels last go along lanes if these are filled and there are positions
    enough; but a call may have fewer, or arrays with other strides, or weights that are not finite.
    Half precision and complex numbers are never summed so.
    """
    plan_sum(&keeping.sums[0], tiles, w, g, groups, transposed)
    keeping.count = 1
    if channels_last and w.half == NULL and not w.pair:
        keeping.sums[1] = keeping.sums[0]
        lay_along_lanes(&keeping.sums[1])
        keeping.count += fills_lanes(&keeping.sums[1])
