# Weights in the order in which tiles read them.
#
#     packed[group][phase][block of rows][term][row of the block]
#
# Takes  a planned Sum and a View of weights: real, half precision, or complex, conjugated or not.
# Gives  real numbers, and whether all are known to be finite, as their sum is; or a PackedLayout of
#        them, for calls to come.
#
# A row is a channel of results, or one for each residue of a merged phase; the rows of a block are
# those of a tile of `correlate`, or the lanes of one of `channels_last`. There is one packing for
# both: which rows a block has is what a Sum's Rows say.

cdef struct Run:
    # Weights with constant strides, and the part of a packed block that they become.
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


cdef inline const char *weight_of(
    const Sum *sum, const View *w, Py_ssize_t group, Py_ssize_t row, Py_ssize_t channel,
    Py_ssize_t tap
) noexcept nogil:
    if sum.transposed and not sum.depthwise:
        return weight_at(w, group * sum.channels + channel, row, tap)
    return weight_at(w, group * sum.outs + row, channel, tap)


cdef void copy_ordered(
    const Sum *sum, const View *w, const Phase *phase, Py_ssize_t group,
    Py_ssize_t first_channel, Py_ssize_t last_channel, Py_ssize_t begin, Py_ssize_t count,
    real_or_half *packed
) noexcept nogil:
    """As copy_block, of terms with an order of their own: of one row, or of one for each group."""
    cdef const Terms *terms = &phase.terms
    cdef Py_ssize_t tap_step = w.strides[2] * sum.g.period, row_step = w.strides[0]
    cdef Py_ssize_t rows = min(count, phase.rows.count - begin)
    cdef Py_ssize_t residue, channel, row, u, t = first_channel * terms.per_channel
    cdef const char *first
    cdef const char *weight
    for channel in range(first_channel, last_channel):
        for residue in range(terms.first_residue, terms.last_residue):
            first = weight_of(sum, w, group, begin, channel, residue)
            for u in range(residue_taps(sum.g, residue)):
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

    Rows behind the first `outs` are those of the residues that follow.
    """
    cdef const Terms *terms = &phase.terms
    cdef const Geometry *g = sum.g
    cdef Py_ssize_t end = min(begin + count, phase.rows.count), row = begin
    cdef Run run
    run.count, run.channel_size = count, terms.per_channel * count
    run.row_step, run.channel_step = w.strides[0], w.strides[1]
    if sum.transposed and not sum.depthwise:
        run.row_step, run.channel_step = w.strides[1], w.strides[0]
    run.tap_step = w.strides[2] * (g.period if sum.transposed else 1)
    run.taps, run.channels = terms.per_channel, last_channel - first_channel
    if run.channel_step == run.taps * run.tap_step:
        run.taps, run.channels = run.taps * run.channels, 1  # all lie as those of one
    while row < end:
        run.rows = min(end - row, sum.outs - row % sum.outs)
        run.first = weight_of(sum, w, group, row % sum.outs, first_channel,
                              terms.first_residue + row // sum.outs)
        copy_run(&run, packed + (row - begin))
        row += run.rows


cdef void copy_complex(
    const Sum *sum, const View *w, const Phase *phase, Py_ssize_t group,
    Py_ssize_t first_channel, Py_ssize_t last_channel, Py_ssize_t begin, Py_ssize_t count,
    real *packed
) noexcept nogil:
    """As copy_block, of complex numbers: each is read once for two rows of two channels.

    A block may begin or end between the two rows. Channels come in pairs.
    """
    cdef Py_ssize_t taps = phase.terms.per_channel, first_tap = phase.terms.first_residue
    cdef Py_ssize_t channel, row, tap, tap_step = w.strides[2]
    cdef const char *weight
    cdef real *even
    cdef real *odd
    cdef real first, second
    # of the imaginary part, in the even channel's odd row; the odd channel's even row has the other
    cdef real sign = -1 if sum.transposed != w.conjugate else 1
    if sum.transposed:
        tap_step *= sum.g.period
    for channel from first_channel <= channel < last_channel by 2:
        row = begin
        while row < begin + count:
            even = packed + (channel - first_channel) * taps * count + (row - begin)
            odd = even + taps * count
            weight = weight_of(sum, w, group, (row % sum.outs) & ~1, channel,
                               first_tap + row // sum.outs)
            if row % 2 == 0 and row + 1 < begin + count:
                for tap in range(taps):
                    first = (<const real *> weight)[0]
                    second = sign * (<const real *> weight)[1]
                    even[0], even[1], odd[0], odd[1] = first, second, -second, first
                    weight, even, odd = weight + tap_step, even + count, odd + count
                row += 2
                continue
            for tap in range(taps):
                first = (<const real *> weight)[0]
                second = sign * (<const real *> weight)[1]
                if row % 2:
                    even[0], odd[0] = second, first
                else:
                    even[0], odd[0] = first, -second
                weight, even, odd = weight + tap_step, even + count, odd + count
            row += 1


cdef bint pack_block(
    const Sum *sum, const View *w, const Phase *phase, Py_ssize_t group,
    Py_ssize_t first_channel, Py_ssize_t last_channel, Py_ssize_t block, real *packed
) noexcept nogil:
    """packed[block][t][r] for the terms of some channels and the rows of a block.

    False if they may not all be finite.
    """
    cdef Py_ssize_t row = packed_rows(phase.rows, block), per_channel = phase.terms.per_channel
    cdef Py_ssize_t count = packed_rows(phase.rows, block + 1) - row, i, number
    cdef Py_ssize_t size = (last_channel - first_channel) * per_channel * count
    cdef uint16_t *halves
    cdef uint16_t[HALVES] some
    cdef real total = 0
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
    if w.pair:
        copy_complex[real](sum, w, phase, group, first_channel, last_channel, row, count, packed)
    elif w.half == NULL:
        if phase.terms.order == NULL:
            copy_block(sum, w, phase, group, first_channel, last_channel, row, count, packed)
        else:
            copy_ordered(sum, w, phase, group, first_channel, last_channel, row, count, packed)
    sum.tiles.sum_row(packed, size, &total)
    return isfinite(total) != 0


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
    Py_ssize_t size           # of a number
    Py_ssize_t units, chunks
    char[CC_POOL_MAX] finite  # those that a worker has packed


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
    const View *w, const Sum *sum, int workers, Py_ssize_t size, void *packed
) noexcept nogil:
    """packed[group][phase][block][t][r] for all terms and rows.

    False if they may not all be finite.
    """
    cdef Packing packing
    cdef int worker
    cdef bint finite = True
    if sum.packed_outs > sum.outs:  # zeros fill what no row takes
        memset(packed, 0, sum.size * size)
    packing.units = packing_units(sum) * sum.groups * sum.phases
    if workers == 1 or sum.size < SERIAL_WEIGHTS:
        if size == sizeof(float):
            return pack_units[float](sum, w, 0, packing.units, <float *> packed)
        return pack_units[double](sum, w, 0, packing.units, <double *> packed)
    packing.sum, packing.w, packing.packed, packing.size = sum, w, packed, size
    packing.chunks = min(CHUNKS_PER_THREAD * workers, packing.units)
    memset(packing.finite, 1, workers)
    cc_pool_run(pack_chunk, &packing, packing.chunks, workers)
    for worker in range(workers):
        finite &= packing.finite[worker]
    return finite


cdef bint prepack_weights(
    const View *w, Sum *sum, int threads, Py_ssize_t size, PackedLayout *kept, void *packed
) noexcept nogil:
    """Pack the weights of a planned sum for calls to come; false if memory ran out."""
    cdef Arena arena
    cdef uintptr_t start = arena_open(&arena, sum.terms * sizeof(int32_t) if sum.ordered else 0)
    if start == 0:
        return False
    if sum.ordered:
        order_terms(sum, <int32_t *> start)
    kept.tiles, kept.transposed, kept.lanes = sum.tiles, sum.transposed, sum.rows[0].lanes
    kept.groups, kept.outs, kept.channels = sum.groups, sum.outs, sum.channels
    kept.taps, kept.stride, kept.dilation = sum.g.taps, sum.g.stride, sum.g.dilation
    kept.method = DIRECT
    kept.finite = pack_weights(w, sum, threads, size, packed)
    kept.numbers, kept.other = packed, NULL
    sum.order = NULL  # which was in the arena
    arena_close(&arena)
    return True


cdef const PackedLayout *packed_for(const View *w, const Sum *sum) noexcept nogil:
    """The weights as they were packed for such a sum, or NULL."""
    cdef const PackedLayout *kept = w.packed
    while kept != NULL:
        if (kept.method == DIRECT
                and kept.tiles == sum.tiles and kept.transposed == sum.transposed
                and kept.lanes == sum.rows[0].lanes and kept.groups == sum.groups
                and kept.outs == sum.outs and kept.channels == sum.channels
                and kept.taps == sum.g.taps and kept.stride == sum.g.stride
                and kept.dilation == sum.g.dilation):
            return kept
        kept = kept.other
    return NULL


cdef struct Prepacking:
    # How weights are kept for calls to come: by panels and, if there are two sums, along lanes.
    Sum[2] sums
    void *numbers[2]
    int count


cdef uintptr_t carve_prepacked(
    Prepacking *prepacking, Py_ssize_t size, uintptr_t next
) noexcept nogil:
    cdef int i
    for i in range(prepacking.count):
        prepacking.numbers[i] = carve(&next, prepacking.sums[i].size * size)
    return next


cdef void plan_prepacking(
    Prepacking *prepacking, const cc_tiles *tiles, const View *w, const Geometry *g,
    Py_ssize_t groups, bint transposed, bint channels_last
) noexcept nogil:
    """Both orders where a call may take either, which is decided by its arrays.

    Signals with their channels last go along lanes if these are filled and there are positions
    enough; but a call may have fewer, or arrays with other strides. forward goes along lanes, too,
    where positions are few, but not in half precision, which is read as it lies there; depthwise
    layers do whatever the layout. Complex numbers are packed by panels only.
    """
    cdef Sum *sum = &prepacking.sums[0]
    plan_sum(sum, tiles, w, g, groups, transposed)
    prepacking.count = 1
    prepacking.sums[1] = sum[0]
    if w.pair:
        return
    if suits_depthwise(sum):
        lay_along_lanes(&prepacking.sums[1])
        prepacking.count = 2
    elif channels_last or not transposed and w.half == NULL:
        lay_along_lanes(&prepacking.sums[1])
        prepacking.count += (
            fills_lanes(&prepacking.sums[1], w.half != NULL)
            or channels_last and gains_along_lanes(&prepacking.sums[1], w.half != NULL, 1))
