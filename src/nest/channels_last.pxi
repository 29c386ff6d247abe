# forward and backward_input of channels-last arrays (NLC): lanes along the channels of results.
#
#     out[n, p, lane] = bias[lane] + Σ_t w[t][lane] · x[n, p·in_step + tap_samples[t], channel[t]]
#
# Takes  a planned Sum, Views with a channel stride of one number, weights, a bias.
# Gives  the results; false if memory ran out.
#
# A tile reads samples and stores results in place. Near the ends of a signal, and where positions
# read so many samples that those of neighbouring tiles would not stay in the caches, it reads a
# panel, as correlate.pxi packs it. In a depthwise layer a panel has lanes as the array has: the
# terms of a few positions near the ends, all samples of a strip where taps are many: samples, a
# whole row of channels apart, would push each other out of the caches where that is a power of two
# (3 times as slow with 512 channels). Half precision, which only depthwise layers have here, is
# read from such panels and stored by way of a stage, too.
#
# Channels that fill no whole block are the last ones of another block, which shares some of its
# channels with the one before: these are computed twice, with the same result.
#
# Loops, outermost first: chunks of the pool (sample, panel of positions, group); phases; strips of
# positions; blocks of terms; blocks of lanes; tiles.

cdef struct ChannelsLast:
    # A job for the pool. Its chunks are panels of positions of one group of one sample or, if each
    # channel is a group of its own, of all groups.
    Sum sum                    # with rows that are lanes: see lay_along_lanes
    View array, out
    Py_ssize_t rows, lanes     # of a tile: positions, and channels of results
    Py_ssize_t blocks          # of `lanes` channels in a group
    Py_ssize_t strip           # positions whose samples one block of lanes after another reads
    Py_ssize_t reach           # samples from a position's first to its last; 0: no panel of all
    Py_ssize_t tail            # lanes of the block of the last channels; 0: whole blocks only
    bint in_place              # samples are, where there are no ends
    Py_ssize_t end_samples     # that a strip reads elsewhere, all channels as they lie; 0: panels
    Py_ssize_t positions, panels
    const cc_gemm *tile
    const cc_gemm *narrow      # with half of the lanes
    Py_ssize_t size            # of a number, in bytes
    int threads
    bint prepacked             # the weights were packed before
    bint finite                # all of them
    bint biased                # there is a bias
    bint far                   # the weights of a group are not in the second-level cache
    int32_t *order             # room for sum.order, if the terms have an order of their own
    Py_ssize_t *tap_samples    # [phase][tap] samples from p·in_step to the one that the tap meets
    int32_t *in_place_offsets  # [phase][term] in the array, or in a panel of all samples
    int32_t *end_offsets       # [phase][term] among the samples of such a strip
    int32_t *panel_offsets     # [term] in a panel of samples term by term
    void *packed               # [group][phase][block][term][lane]
    void *tails                # [group][phase][term][lane of the tail], of more than a block
    void *biases               # [group][block][lane], or NULL
    uintptr_t workers          # the threads' own scratch
    Py_ssize_t panel_size, offset_size, worker_size


cdef struct ChannelsLastScratch:
    # What a thread has for itself.
    void *panel
    int32_t *offset  # [term of a chunk] in the panel
    void *stage      # results of a strip and a block with fewer channels, or in half precision


cdef uintptr_t carve_own_channels_last(
    const ChannelsLast *job, ChannelsLastScratch *own, uintptr_t next
) noexcept nogil:
    own.panel = carve(&next, job.panel_size * job.size)
    own.offset = <int32_t *> carve(&next, job.offset_size * sizeof(int32_t))
    own.stage = carve(&next, job.strip * job.lanes * job.size)
    return next


cdef uintptr_t carve_channels_last(ChannelsLast *job, uintptr_t next) noexcept nogil:
    cdef ChannelsLastScratch own
    job.biases = job.order = job.tails = job.end_offsets = NULL
    if not job.prepacked:
        job.packed = carve(&next, job.sum.size * job.size)
    if job.biased:
        job.biases = carve(&next, job.sum.groups * job.sum.packed_outs * job.size)
    job.tap_samples = <Py_ssize_t *> carve(&next, job.sum.g.taps * sizeof(Py_ssize_t))
    job.in_place_offsets = <int32_t *> carve(&next, job.sum.terms * sizeof(int32_t))
    if job.sum.ordered:
        job.order = <int32_t *> carve(&next, job.sum.terms * sizeof(int32_t))
    if job.tail and job.sum.outs > job.lanes:
        job.tails = carve(&next, job.sum.groups * job.sum.terms * job.tail * job.size)
    if job.end_samples:
        job.end_offsets = <int32_t *> carve(&next, job.sum.terms * sizeof(int32_t))
    job.panel_offsets = <int32_t *> carve(&next, CC_BLOCK * sizeof(int32_t))
    job.workers, job.worker_size = next, carve_own_channels_last(job, &own, 0)
    return next + job.threads * job.worker_size


cdef void place_terms(
    const Phase *phase, Py_ssize_t row, bint in_panel, Py_ssize_t *tap_samples, int32_t *offset
) noexcept nogil:
    """Offset of each term's sample from sample p·in_step, if samples are `row` numbers apart.

    In a panel offsets count from the first sample that a position reads.
    """
    cdef const Terms *terms = &phase.terms
    cdef Py_ssize_t residue, u, channel, first, t, i = 0
    for residue in range(terms.first_residue, terms.last_residue):
        for u in range(residue_taps(terms.g, residue)):
            t = i if terms.by_residue else residue + u * terms.g.period
            tap_samples[t] = terms.direction * terms.in_step * (
                residue_shift(terms.g, residue) + tap_at(terms, t, u) * terms.g.step)
            if terms.direction > 0:
                tap_samples[t] += residue_phase(terms.g, residue)
            i += 1
    first = first_sample(phase, tap_samples) if in_panel else 0
    for channel in range(terms.channels):
        for i in range(terms.per_channel):
            offset[channel * terms.per_channel + i] = <int32_t> (
                (tap_samples[i] - first) * row + channel)


cdef Py_ssize_t first_sample(const Phase *phase, const Py_ssize_t *tap_samples) noexcept nogil:
    """The first sample that a position reads."""
    cdef Py_ssize_t i, first = PY_SSIZE_T_MAX
    for i in range(phase.terms.per_channel):
        first = min(first, tap_samples[i])
    return first


cdef inline const Py_ssize_t *tap_samples_of(
    const ChannelsLast *job, const Phase *phase
) noexcept nogil:
    return job.tap_samples + phase.first_term // job.sum.channels


cdef void gather(
    const ChannelsLast *job, const Phase *phase, Py_ssize_t n, Py_ssize_t first_channel,
    Py_ssize_t t0, Py_ssize_t t1, Py_ssize_t m, Py_ssize_t count, real *panel
) noexcept nogil:
    """panel[sample][lane] or, term by term, panel[term][position][lane], of a depthwise layer."""
    cdef const View *array = &job.array
    cdef const Py_ssize_t *tap_samples = tap_samples_of(job, phase)
    cdef Py_ssize_t channels = min(job.lanes, array.shape[1] - first_channel), t
    cdef Py_ssize_t step = phase.terms.in_step
    if job.reach:
        copy_samples[real](array, n, first_channel, channels,
                           m * step + first_sample(phase, tap_samples), 1,
                           (count - 1) * step + job.reach, panel, job.lanes)
        return
    for t in range(t0, t1):
        copy_samples[real](array, n, first_channel, channels, m * step + tap_samples[t], step,
                           count, panel + job.panel_offsets[t - t0], job.lanes)


cdef inline bint takes_blocks_together(const ChannelsLast *job, const Phase *phase) noexcept nogil:
    """Whether all blocks of lanes are summed for a few positions before the next ones.

    Otherwise a block's weights meet the positions of a whole strip while they are near.
    """
    cdef Py_ssize_t total = phase.terms.channels * phase.terms.per_channel
    if total > CC_BLOCK or job.sum.outs < job.lanes // 2 or job.reach or job.array.half != NULL:
        return False
    return job.sum.depthwise or total * job.sum.packed_outs * job.size <= NEAR_WEIGHT_BYTES


cdef void sum_blocks_together(
    const ChannelsLast *job, const Phase *phase, const real *packed, Py_ssize_t n, Py_ssize_t group,
    Py_ssize_t m, Py_ssize_t count, const real *x, Py_ssize_t x_row, const int32_t *offset
) noexcept nogil:
    """All channels at `count` positions from m on, whose samples begin at x.

    With few terms a tile takes as long as what channels_last_strip does around one, so here that is
    next to nothing.
    """
    cdef Py_ssize_t total = phase.terms.channels * phase.terms.per_channel
    cdef Py_ssize_t target_row = job.out.strides[2] // <Py_ssize_t> sizeof(real) * job.sum.step
    cdef Py_ssize_t lanes = job.lanes, blocks = job.sum.outs // lanes
    cdef Py_ssize_t x_lanes = lanes if job.sum.depthwise else 0, tail_row = job.tail
    cdef Py_ssize_t tiles = (count + job.rows - 1) // job.rows, tile, p = 0, next_p, block
    cdef Py_ssize_t tail = job.sum.outs - job.tail
    cdef const real *biases = NULL
    cdef const real *samples
    cdef const real *weights
    cdef const real *bias
    cdef const real *tails = packed + tail
    cdef const cc_gemm *tail_tile = job.narrow if job.tail < lanes else job.tile
    cdef real *target
    cdef cc_gemm sum_tile
    if job.biases != NULL:
        biases = <const real *> job.biases + group * job.sum.packed_outs
    if job.tails != NULL:
        tails = <const real *> job.tails + job.tail * (group * job.sum.terms + phase.first_term)
    else:
        tail_row = lanes
    for tile in range(tiles):
        next_p = (tile + 1) * count // tiles
        samples = x + p * x_row
        target = <real *> at(&job.out, n, group * job.sum.outs,
                             phase.first_result + (m + p) * job.sum.step)
        sum_tile = job.tile[next_p - p]
        if blocks == 0:
            job.narrow[next_p - p](samples, x_row, offset, total, packed, lanes, target, target_row,
                                   biases, False)
        if job.tail:
            tail_tile[next_p - p](samples + (tail if job.sum.depthwise else 0), x_row, offset,
                                  total, tails, tail_row, target + tail, target_row,
                                  biases + tail if biases != NULL else NULL, False)
        weights, bias = packed, biases
        for block in range(blocks):
            sum_tile(samples, x_row, offset, total, weights, lanes, target, target_row, bias, False)
            samples += x_lanes
            target += lanes
            weights += total * lanes
            if bias != NULL:
                bias += lanes
        p = next_p


cdef inline Py_ssize_t leading_terms(const Phase *phase) noexcept nogil:
    """How many terms of a channel meet samples that no position before has met, if none is far."""
    return min(phase.terms.in_step, phase.terms.per_channel)


cdef inline const int32_t *leading_offsets(
    const Phase *phase, const int32_t *offset
) noexcept nogil:
    """Where they are, among the offsets of a channel's terms."""
    if phase.terms.direction < 0:
        return offset
    return offset + (phase.terms.per_channel - leading_terms(phase))


cdef inline void prefetch_samples(
    const real *x, Py_ssize_t x_row, Py_ssize_t rows, const int32_t *leading, Py_ssize_t count,
    Py_ssize_t channels
) noexcept nogil:
    """What a tile of `rows` positions is the first to read, which waits at each page otherwise."""
    cdef Py_ssize_t r, i
    for r in range(rows):
        for i in range(count):
            cc_prefetch(<const char *> (x + r * x_row + leading[i]), channels * sizeof(real))


cdef inline void sum_tiles(
    const ChannelsLast *job, const cc_gemm *gemm, Py_ssize_t count, const real *x, Py_ssize_t x_row,
    const int32_t *offset, Py_ssize_t terms, const real *weights, Py_ssize_t w_row, real *target,
    Py_ssize_t target_row, const real *bias, bint resume, const char *next_weights,
    const int32_t *leading, Py_ssize_t leading_count, Py_ssize_t channels
) noexcept nogil:
    """A block of terms and lanes at `count` positions, whose results are stored in place.

    Tiles share the positions evenly: a last one with few would be slow. Meanwhile the weights of
    the next block are fetched, if they are given, and samples for the next tile.
    """
    cdef Py_ssize_t tiles = (count + job.rows - 1) // job.rows, tile
    cdef Py_ssize_t rows = count // tiles, longer = count - rows * tiles
    cdef Py_ssize_t share = terms * job.lanes * <Py_ssize_t> sizeof(real) // tiles
    rows += longer > 0
    for tile in range(tiles):
        if tile == longer and tile > 0:
            rows -= 1
        if next_weights != NULL:
            cc_prefetch(next_weights + tile * share, share)
        prefetch_samples[real](x + rows * x_row, x_row, rows, leading, leading_count, channels)
        gemm[rows](x, x_row, offset, terms, weights, w_row, target, target_row, bias, resume)
        x += rows * x_row
        target += rows * target_row


cdef void store_stage(
    const ChannelsLast *job, char *results, Py_ssize_t rows, Py_ssize_t lanes, const real *stage
) noexcept nogil:
    """The lanes of some positions that have a channel, from the stage to the results."""
    cdef Py_ssize_t out_step = job.out.strides[2] * job.sum.step, r
    for r in range(rows):
        if job.out.half != NULL:
            store_row[real](&job.out, results, sizeof(uint16_t), lanes, stage)
        else:
            copy_numbers[real](<real *> results, stage, lanes)
        results += out_step
        stage += job.lanes


cdef void channels_last_strip(
    const ChannelsLast *job, const Phase *phase, const real *packed, Py_ssize_t n, Py_ssize_t group,
    Py_ssize_t m, Py_ssize_t count, bint inside, const ChannelsLastScratch *own
) noexcept nogil:
    """`count` positions from m on, read in place if none of their samples is padding."""
    cdef const View *out = &job.out
    cdef Py_ssize_t total = phase.terms.channels * phase.terms.per_channel
    cdef Py_ssize_t chunk = total, per_channel = phase.terms.per_channel, c0, t0, t1, block, lanes
    cdef bint packs = not (inside or job.end_samples)
    cdef Py_ssize_t out_row = out.strides[2] // <Py_ssize_t> sizeof(real) * job.sum.step, x_row = 1
    cdef const cc_gemm *tile
    cdef const real *x = <const real *> own.panel
    cdef const real *weights
    cdef const real *bias
    cdef const int32_t *offset = own.offset
    cdef const int32_t *leading
    cdef const char *next_weights
    cdef real *results
    cdef real *stage = <real *> own.stage
    if inside:  # the sample of offset 0, beyond the end where no term reads it
        x = <const real *> (at(&job.array, n, group * job.sum.channels, 0)
                            + m * phase.terms.in_step * job.array.strides[2])
        x_row = job.array.strides[2] // <Py_ssize_t> sizeof(real) * phase.terms.in_step
        offset = job.in_place_offsets + phase.first_term
    elif job.end_samples:
        copy_samples[real](&job.array, n, group * job.sum.channels, job.sum.channels,
                           m * phase.terms.in_step + first_sample(
                               phase, tap_samples_of(job, phase)), 1,
                           job.end_samples - (job.strip - count) * phase.terms.in_step,
                           <real *> own.panel, job.sum.channels)
        x_row = job.sum.channels * phase.terms.in_step
        offset = job.end_offsets + phase.first_term
    else:
        chunk = cut_terms(&phase.terms, job.strip, PANEL_BYTES // job.size, CHUNK_TERMS).chunk
    for c0 from 0 <= c0 < total by chunk:
        if packs:
            pack_panel[real](&job.array, n, 1, 0, group * job.sum.channels, &phase.terms, c0,
                             min(c0 + chunk, total), m, count, <real *> own.panel, own.offset)
        if takes_blocks_together(job, phase):  # so there is one chunk
            sum_blocks_together[real](job, phase, packed, n, group, m, count, x, x_row, offset)
            return
        for t0 from c0 <= t0 < min(c0 + chunk, total) by CC_BLOCK:
            t1 = min(t0 + CC_BLOCK, total)
            leading = leading_offsets(phase, offset + (t0 - c0) // per_channel * per_channel)
            for block in range(job.blocks):
                lanes = min(job.lanes, job.sum.outs - block * job.lanes)
                weights = packed + (block * total + t0) * job.lanes
                next_weights, bias, tile = NULL, NULL, job.tile
                if job.biases != NULL and t1 == total:
                    bias = <const real *> job.biases + (group * job.blocks + block) * job.lanes
                results = <real *> at(out, n, group * job.sum.outs + block * job.lanes,
                                      phase.first_result + m * job.sum.step)
                if lanes == job.lanes:
                    if job.far:
                        next_weights = <const char *> (
                            weights + total * job.lanes if block + 1 < job.blocks
                            else packed + t1 * job.lanes)
                    sum_tiles[real](job, tile, count, x, x_row, offset + (t0 - c0), t1 - t0,
                                    weights, job.lanes, results, out_row, bias, t0 > 0,
                                    next_weights, leading,
                                    leading_terms(phase) if inside and block == 0 else 0,
                                    ceiling(t1 - t0, per_channel))
                    continue
                if has_narrow_rest(&job.sum):
                    tile = job.narrow
                sum_tiles[real](job, tile, count, x, x_row, offset + (t0 - c0), t1 - t0, weights,
                                job.lanes, stage, job.lanes, bias, t0 > 0, NULL, NULL, 0, 0)
                if t1 == total:
                    store_stage[real](job, <char *> results, count, lanes, stage)


cdef void depthwise_strip(
    const ChannelsLast *job, const Phase *phase, const real *packed, Py_ssize_t n, Py_ssize_t m,
    Py_ssize_t count, bint inside, const ChannelsLastScratch *own
) noexcept nogil:
    """The same where each channel is a group."""
    cdef const View *array = &job.array
    cdef const View *out = &job.out
    cdef Py_ssize_t total = phase.terms.per_channel, t0, t1, block, channel, lanes, w_row
    cdef Py_ssize_t row = sample_pitch(job, sizeof(real)) * phase.terms.in_step, x_row
    cdef Py_ssize_t out_step = out.strides[2] * job.sum.step
    cdef const cc_gemm *tile
    cdef const real *x
    cdef const real *weights
    cdef const real *bias = NULL
    cdef const int32_t *offset
    cdef char *results
    cdef real *panel = <real *> own.panel
    cdef real *stage = <real *> own.stage
    if inside and takes_blocks_together(job, phase):
        # the sample of offset 0, beyond the end where no term reads it
        sum_blocks_together[real](
            job, phase, packed, n, 0, m, count, <const real *> (
                at(array, n, 0, 0) + m * phase.terms.in_step * array.strides[2]),
            row, job.in_place_offsets + phase.first_term)
        return
    for t0 from 0 <= t0 < total by CC_BLOCK:
        t1 = min(t0 + CC_BLOCK, total)
        for block in range(job.blocks):
            channel, lanes = block * job.lanes, min(job.lanes, job.sum.outs - block * job.lanes)
            weights, w_row, tile = packed + (block * total + t0) * job.lanes, job.lanes, job.tile
            if lanes < job.lanes and total <= CC_BLOCK and job.tails != NULL:
                channel, lanes, w_row = job.sum.outs - job.tail, job.tail, job.tail
                weights = <const real *> job.tails + job.tail * phase.first_term
                if lanes < job.lanes:
                    tile = job.narrow
            if inside and not job.reach and array.half == NULL and (
                    lanes == job.lanes or w_row == lanes):
                x = <const real *> (at(array, n, channel, 0)
                                    + m * phase.terms.in_step * array.strides[2])
                offset, x_row = job.in_place_offsets + phase.first_term + t0, row
            else:
                gather[real](job, phase, n, channel, t0, t1, m, count, panel)
                x, offset, x_row = panel, job.panel_offsets, job.lanes
                if job.reach:
                    offset, x_row = job.in_place_offsets + phase.first_term + t0, row
            if job.biases != NULL and t1 == total:
                bias = <const real *> job.biases + channel
            results = at(out, n, channel, phase.first_result + m * job.sum.step)
            if w_row == lanes and out.half == NULL:
                sum_tiles[real](job, tile, count, x, x_row, offset, t1 - t0, weights, w_row,
                                <real *> results, out_step // <Py_ssize_t> sizeof(real), bias,
                                t0 > 0, NULL, NULL, 0, 0)
                continue
            sum_tiles[real](job, tile, count, x, x_row, offset, t1 - t0, weights, w_row, stage,
                            job.lanes, bias, t0 > 0, NULL, NULL, 0, 0)
            if t1 == total:
                store_stage[real](job, results, count, lanes, stage)


cdef void channels_last_positions(
    const ChannelsLast *job, const real *packed, Py_ssize_t chunk, int worker
) noexcept nogil:
    """A chunk's positions of all phases: those at the ends of the array need a panel."""
    cdef ChannelsLastScratch own
    cdef Py_ssize_t begin = chunk // job.sum.groups % job.panels * job.positions
    cdef Py_ssize_t group = chunk % job.sum.groups
    cdef Py_ssize_t n = chunk // (job.panels * job.sum.groups)
    cdef Py_ssize_t number, m, end, count, first, last, i
    cdef const Py_ssize_t *tap_samples
    cdef bint inside
    cdef Phase phase
    carve_own_channels_last(job, &own, job.workers + worker * job.worker_size)
    for number in range(job.sum.phases):
        phase = phase_of(&job.sum, number)
        tap_samples = tap_samples_of(job, &phase)
        m, end = begin, min(begin + job.positions, phase.last_position)
        first, last = m, end
        for i in range(0 if job.reach else phase.terms.per_channel):
            # positions that read nothing beyond the ends
            first = max(first, ceiling(-tap_samples[i], phase.terms.in_step))
            last = min(last, ceiling(job.array.shape[2] - tap_samples[i], phase.terms.in_step))
        while m < end:
            inside = first <= m < last and job.in_place
            if inside and (job.sum.depthwise or last == end or end - m > job.strip):
                count = min(last - m, job.strip)
            elif job.sum.depthwise:
                count = min((first if m < first < last else end) - m, job.strip)
            else:  # others that read no padding may come along
                inside, count = False, min(end - m, job.strip)
            if job.sum.depthwise:
                depthwise_strip[real](job, &phase, packed + weights_before(&job.sum, 0, &phase), n,
                                      m, count, inside, &own)
            else:
                channels_last_strip[real](
                    job, &phase, packed + weights_before(&job.sum, group, &phase), n, group, m,
                    count, inside, &own)
            m += count


cdef inline Py_ssize_t sample_pitch(
    const ChannelsLast *job, Py_ssize_t size
) noexcept nogil:
    """Numbers from a sample to the next one, in the panel of all samples or in the array."""
    return job.lanes if job.reach else job.array.strides[2] // size


cdef void channels_last_chunk(void *context, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef const ChannelsLast *job = <const ChannelsLast *> context
    if job.size == sizeof(float):
        channels_last_positions[float](job, <const float *> job.packed, chunk, worker)
    else:
        channels_last_positions[double](job, <const double *> job.packed, chunk, worker)


cdef bint has_unit_channel_stride(const View *view, Py_ssize_t size) noexcept nogil:
    """Whether the channels of an array, with numbers of `size` bytes, are lanes of a vector.

    The stride of a lone channel says nothing: NumPy exports any number.
    """
    return (not view.pair and (view.strides[1] == size or view.shape[1] == 1)
            and view.strides[2] % size == 0)


cdef inline bint has_lanes_in_place(const View *view, Py_ssize_t size) noexcept nogil:
    """Whether they are, as the tiles compute with them: in numbers of `size` bytes."""
    return view.half == NULL and has_unit_channel_stride(view, size)


cdef bint plan_channels_last(
    ChannelsLast *job, const Sum *sum, const View *array, const View *w, const View *out,
    Py_ssize_t size
) noexcept nogil:
    """Whether such a job is one for this nest, and then how."""
    cdef const PackedLayout *prepacked
    cdef Py_ssize_t longest, row, reach, item = stored_size(array, size), number
    cdef Phase phase
    cdef Cut cut
    if not (has_unit_channel_stride(array, item) and has_unit_channel_stride(out, item)):
        return False
    job.sum, job.array, job.out, job.size = sum[0], array[0], out[0], size
    longest = (out.shape[2] + sum.step - 1) // sum.step
    lay_along_lanes(&job.sum)
    if not (channels_last_least == 0 and has_lanes(&job.sum, array.half != NULL)
            or gains_along_lanes(&job.sum, array.half != NULL, tiled_positions(
                sum, out.shape[0], longest) / (longest * <double> out.shape[0]))):
        return False
    job.rows, job.lanes = job.sum.tiles.gemm_rows, job.sum.tiles.gemm_lanes
    job.blocks = job.sum.rows[0].blocks
    # offsets fit int32
    row = max(array.strides[2], -array.strides[2]) // size
    reach = (sum.g.taps + 1) * (sum.g.dilation + sum.g.stride) + sum.g.pad_left
    if row > INT32_MAX // 2 // max(reach, 1):
        return False
    prepacked = packed_for(w, &job.sum)
    job.prepacked = prepacked != NULL
    if w.packed != NULL and not (job.prepacked or job.sum.depthwise):
        return False
    if job.prepacked:
        job.packed, job.finite = <void *> prepacked.numbers, prepacked.finite  # only read
    if not job.sum.depthwise and channels_last_least > 0 and (
            longest < job.rows or longest * out.shape[0] < (
                CHANNELS_LAST_MIN_PREPACKED if job.prepacked else channels_last_least)):
        return False
    job.far = job.sum.terms * job.sum.packed_outs * size > WEIGHT_BYTES
    job.strip = job.rows if job.sum.depthwise else CHANNELS_LAST_STRIP // job.rows * job.rows
    job.panel_size, job.offset_size = CC_BLOCK * job.rows * job.lanes, 0
    job.reach, job.end_samples, job.in_place = 0, 0, True
    job.positions = min(MIN_PANEL_POSITIONS, longest * out.shape[0] * job.sum.groups
                        // (CHUNKS_PER_THREAD * <Py_ssize_t> cc_pool_threads()) + 1)
    if job.sum.depthwise:
        plan_panel(job, STRIP_BYTES // (job.lanes * size))
        if job.reach == 0:
            plan_panel(job, PANEL_BYTES // (job.lanes * size))
        if job.reach == 0:
            plan_panel(job, 4 * PANEL_BYTES // (job.lanes * size))
        if job.reach == 0:
            job.strip = job.rows = min(job.rows, ROWS_IN_PLACE)
    else:
        job.panel_size = 0
        row = max(array.strides[2], -array.strides[2])
        job.in_place = (sum.transposed or sum.g.stride == 1
                        or job.strip * sum.g.stride <= PANEL_BYTES // max(row, 1)
                        or 4 * LANES_COPY * sum.g.stride > sum.g.taps * sum.outs)
        job.end_samples = end_samples(job) if job.in_place else 0
        if job.end_samples:
            job.panel_size = job.end_samples * job.sum.channels
        for number in range(job.sum.phases):
            phase = phase_of(&job.sum, number)
            cut = cut_terms(&phase.terms, job.strip, PANEL_BYTES // size, CHUNK_TERMS)
            job.panel_size = max(job.panel_size, cut.size)
            job.offset_size = max(job.offset_size, cut.chunk)
    job.tail = tail_lanes(job)
    job.positions = rounded(job.positions, job.strip)
    job.panels = (longest + job.positions - 1) // job.positions
    return True


cdef void plan_panel(ChannelsLast *job, Py_ssize_t samples) noexcept nogil:
    """Read a panel of at most `samples` samples, if that pays: see WORTH_COPYING.

    It does where they must be converted.
    """
    cdef const Geometry *g = job.sum.g
    cdef Py_ssize_t step = 1 if job.sum.transposed else g.stride
    cdef Py_ssize_t taps = residue_taps(g, 0) if job.sum.transposed else g.taps
    cdef Py_ssize_t reach = (taps - 1) * (g.step if job.sum.transposed else g.dilation) + 1
    cdef Py_ssize_t strip = ((samples - reach) // step + 1) // job.rows * job.rows
    # fewer positions where there are threads for them, but not many times the same copies
    strip = min(strip, rounded(max(job.positions, strip // 4), job.rows))
    if strip > 0 and (job.array.half != NULL or (
            (strip - 1) * step + reach) * WORTH_COPYING <= strip * taps):
        job.strip, job.reach, job.panel_size = strip, reach, samples * job.lanes


cdef Py_ssize_t end_samples(const ChannelsLast *job) noexcept nogil:
    """The samples of a strip, if they are not too many to be copied as they lie, or else 0."""
    cdef const Geometry *g = job.sum.g
    cdef Py_ssize_t samples = job.strip
    if job.sum.transposed:
        samples += (residue_taps(g, 0) - 1) * g.step
    else:
        samples = (samples - 1) * g.stride + (g.taps - 1) * g.dilation + 1
    if job.sum.channels < SHORT_STRIDED_ROW:
        return 0
    return samples if samples <= PANEL_BYTES // job.size // job.sum.channels else 0


cdef Py_ssize_t tail_lanes(const ChannelsLast *job) noexcept nogil:
    """The lanes of the block of the last channels, if there is one and some phase sums it at once.
    """
    cdef Py_ssize_t half = job.lanes // 2, rest = job.sum.outs % job.lanes, number
    cdef bint used = False
    cdef Phase phase
    if rest == 0 or job.sum.outs <= half or job.array.half != NULL:
        return 0
    for number in range(job.sum.phases):
        phase = phase_of(&job.sum, number)
        if takes_blocks_together(job, &phase) or (
                job.reach and phase.terms.per_channel <= CC_BLOCK):
            used = True
    if not used:
        return 0
    return job.lanes if job.sum.outs > job.lanes and rest > half else half


cdef void pack_tails(const ChannelsLast *job, const real *packed, real *tails) noexcept nogil:
    """The weights of the last channels, from those of the last two blocks."""
    cdef const Sum *sum = &job.sum
    cdef Py_ssize_t group, number, t, total, lanes = job.lanes
    cdef Py_ssize_t first = sum.outs - job.tail, block = first // lanes
    cdef Py_ssize_t some = min((block + 1) * lanes, sum.outs) - first
    cdef const real *weights
    cdef Phase phase
    for group in range(sum.groups):
        for number in range(sum.phases):
            phase = phase_of(sum, number)
            total = phase.terms.channels * phase.terms.per_channel
            weights = (packed + weights_before(sum, group, &phase)
                       + block * total * lanes + first % lanes)
            for t in range(total):
                memcpy(tails, weights, some * sizeof(real))
                if some < job.tail:
                    memcpy(tails + some, weights + (total * lanes - first % lanes),
                           (job.tail - some) * sizeof(real))
                weights += lanes
                tails += job.tail


cdef void load_biases(const ChannelsLast *job, const View *bias, real *biases) noexcept nogil:
    """biases[group][block][lane], zeros in lanes without a channel"""
    cdef const Sum *sum = &job.sum
    cdef Py_ssize_t group
    memset(biases, 0, sum.groups * sum.packed_outs * sizeof(real))
    for group in range(sum.groups):
        load_row[real](bias, line_at(bias, group * sum.outs), bias.strides[2], sum.outs,
                       biases + group * sum.packed_outs)


cdef bint channels_last(ChannelsLast *job, const View *w, const View *bias) noexcept nogil:
    """A planned job; false if memory ran out, with nothing stored."""
    cdef const Sum *sum = &job.sum
    cdef Py_ssize_t row = sample_pitch(job, job.size), number, t
    cdef Py_ssize_t chunks = job.out.shape[0] * sum.groups * job.panels
    cdef uintptr_t start
    cdef Arena arena
    cdef Phase phase
    job.biased = bias.data != NULL
    job.threads = <int> min(threads_for(job.out.shape[0] * job.out.shape[1] * job.out.shape[2],
                                        sum.terms // sum.step), chunks)
    start = arena_open(&arena, carve_channels_last(job, 0))
    if start == 0:
        return False
    carve_channels_last(job, start)
    if sum.ordered:
        order_terms(&job.sum, job.order)
    for number in range(sum.phases):
        phase = phase_of(sum, number)
        place_terms(&phase, row, job.reach > 0,
                    job.tap_samples + phase.first_term // sum.channels,
                    job.in_place_offsets + phase.first_term)
        if job.end_samples:
            place_terms(&phase, sum.channels, True,
                        job.tap_samples + phase.first_term // sum.channels,
                        job.end_offsets + phase.first_term)
    for t in range(CC_BLOCK):
        job.panel_offsets[t] = <int32_t> (t * job.rows * (job.lanes if sum.depthwise else 1))
    if job.biased:
        if job.size == sizeof(float):
            load_biases[float](job, bias, <float *> job.biases)
        else:
            load_biases[double](job, bias, <double *> job.biases)
    if not job.prepacked:
        job.finite = pack_weights(w, sum, job.threads, job.size, job.packed)
    if job.tails != NULL:
        if job.size == sizeof(float):
            pack_tails[float](job, <const float *> job.packed, <float *> job.tails)
        else:
            pack_tails[double](job, <const double *> job.packed, <double *> job.tails)
    job.tile = sum.tiles.depthwise if sum.depthwise else sum.tiles.gemm
    job.narrow = sum.tiles.depthwise_narrow if sum.depthwise else sum.tiles.gemm_narrow
    cc_pool_run(channels_last_chunk, job, chunks, job.threads)
    if not job.finite:
        if job.size == sizeof(float):
            recompute_spoiled[float](sum, &job.array, w, bias, &job.out, 0)
        else:
            recompute_spoiled[double](sum, &job.array, w, bias, &job.out, 0)
    arena_close(&arena)
    return True
