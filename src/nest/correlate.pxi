# forward and backward_input by panels: lanes along positions, terms summed one after another.
#
#     out[n, row, m] = bias[row] + Σ_t w[t][row] · panel[offset[t] + m]
#
# Takes  a planned Sum, Views of the array, the weights (packed, or to be packed), a bias and the
#        results, with any strides and formats.
# Gives  the results; false if memory ran out.
#
# Loops, outermost first: chunks of the pool (sample, group, panel of positions, part of the rows);
# phases; chunks of terms, for which a panel is packed; strips of positions; blocks of rows; tiles.

cdef struct Correlation:
    # A job for the pool. Its chunks are panels of positions of one group of one sample, or of
    # several short ones, and, where these are few, parts of the blocks of rows.
    Sum sum
    View array, out
    Py_ssize_t positions, panels, parts
    Py_ssize_t signals_per_panel  # more than one if they are short
    Py_ssize_t signal_pitch       # positions from one signal of a panel to the next
    bint long_row                 # one row of one tap: see correlate_long_row
    bint by_rows                  # few terms: `row` takes any positions, see correlate_panel
    bint buffered                 # results wait in scratch until all their terms are summed
    Py_ssize_t budget             # of samples in a panel
    Py_ssize_t most               # terms in a chunk
    Py_ssize_t panel_size, offset_size, sums_size
    Py_ssize_t shared_size        # what rows of taps are copied from, behind the panel
    Py_ssize_t row_pitch          # samples between channels, or 0 if panels must be packed
    Py_ssize_t size               # of a number, in bytes
    int threads
    bint prepacked                # the weights were packed before
    bint biased                   # there is a bias
    int32_t *order                # room for sum.order, if the terms have an order of their own
    int32_t *in_place_offsets     # [phase][term] in the array, where `row_pitch` is not 0
    void *packed                  # [group][phase][block of rows][term][row of the block]
    void *biases                  # [group][row], or NULL
    uintptr_t workers             # the threads' own scratch
    Py_ssize_t worker_size


cdef struct CorrelationScratch:
    # What a thread has for itself.
    void *panel
    int32_t *offset
    void *stage  # a tile
    void *sums   # of a chunk, if they are buffered


cdef uintptr_t carve_own_correlation(
    const Correlation *job, CorrelationScratch *own, uintptr_t next
) noexcept nogil:
    own.panel = carve(&next, (job.panel_size + job.shared_size) * job.size)
    own.offset = <int32_t *> carve(&next, job.offset_size * sizeof(int32_t))
    own.stage = carve(&next, CC_TILE * job.size)
    own.sums = carve(&next, job.sums_size * job.size)
    return next


cdef uintptr_t carve_correlation(Correlation *job, uintptr_t next) noexcept nogil:
    cdef CorrelationScratch own
    cdef Py_ssize_t terms = job.sum.terms * sizeof(int32_t)
    job.packed = job.biases = job.order = job.in_place_offsets = NULL
    if not job.prepacked:
        job.packed = carve(&next, job.sum.size * job.size)
    if job.biased:
        job.biases = carve(&next, job.sum.groups * job.sum.most_rows * job.size)
    if job.sum.ordered:
        job.order = <int32_t *> carve(&next, terms)
    if job.row_pitch:
        job.in_place_offsets = <int32_t *> carve(&next, terms)
    job.workers, job.worker_size = next, carve_own_correlation(job, &own, 0)
    return next + job.threads * job.worker_size


cdef void copy_tile(
    const Correlation *job, const Phase *phase, Py_ssize_t n, Py_ssize_t group, Py_ssize_t row,
    Py_ssize_t rows, Py_ssize_t m, Py_ssize_t count, real *stage, Py_ssize_t stage_row, bint store
) noexcept nogil:
    """A tile of results that are not contiguous in `out`, from the stage or to it."""
    cdef const View *out = &job.out
    cdef Py_ssize_t r, i, stride = out.strides[2] * job.sum.step, residue, place, channel = row
    cdef Py_ssize_t first = 0, last = count, result = phase.first_result + m * job.sum.step
    cdef Py_ssize_t some = rows, end = row + rows, position = stride // <Py_ssize_t> sizeof(real)
    cdef bint adjacent = has_lanes_in_place(out, sizeof(real))
    cdef char *results
    cdef real *line
    while row < end:
        if job.sum.merged:  # a residue may begin earlier than the first one, or end later
            residue = phase.residue + row // job.sum.outs
            channel = row % job.sum.outs
            some = min(job.sum.outs - channel, end - row)
            place = m + ahead_of(&job.sum, residue, phase.residue)
            first, last = max(0, -place), min(count, results_of(&job.sum, residue) - place)
            result = first_result(&job.sum, residue) + (place + first) * job.sum.step
        channel += group * job.sum.outs
        if first < last and adjacent and some > 1:
            results, line = at(out, n, channel, result), stage + first
            if store:
                swap_axes[real](line, stage_row, some, last - first, <real *> results, position)
            else:
                swap_axes[real](<real *> results, position, last - first, some, line, stage_row)
        elif first < last:
            for r in range(some):
                results, line = at(out, n, channel + r, result), stage + (r * stage_row + first)
                if store:
                    store_row[real](out, results, stride, last - first, line)
                    continue
                for i in range(last - first):  # never halves, stored once all terms are in
                    line[i] = (<real *> results)[0]
                    results += stride
        stage += some * stage_row
        row += some


cdef void correlate_long_row(
    const Correlation *job, const real *weights, const int32_t *offset, Py_ssize_t terms,
    Py_ssize_t n, Py_ssize_t group, Py_ssize_t first, Py_ssize_t sample, Py_ssize_t count,
    real *chain
) noexcept nogil:
    """A group's one row of results, from `first` on, by samples where they lie, from `sample` on.

    A tile would read a few vectors of every channel, which memory takes long to find if they are
    many: so a stretch of positions takes a few channels at a time.
    """
    cdef const real *samples = <const real *> at(&job.array, n, group * job.sum.channels, sample)
    cdef real *out = <real *> at(&job.out, n, group, first)
    cdef real *sums
    cdef real bias = 0
    cdef Py_ssize_t stretches = (count + CC_TILE - 1) // CC_TILE, i, t, p, begin, some
    if job.biases != NULL:
        bias = (<const real *> job.biases)[group]
    if terms <= CC_ROW_TERMS_IN_REGISTERS:
        job.sum.tiles.row[terms](samples, offset, terms, weights, out, count,
                                 &bias if job.biases != NULL else NULL)
        return
    for i in range(stretches):
        begin = i * count // stretches
        some = (i + 1) * count // stretches - begin
        for t from 0 <= t < terms by CC_BLOCK:
            sums = chain if t > 0 else out + begin
            memset(sums, 0, some * sizeof(real))
            job.sum.tiles.row_chain(samples + begin, offset + t, min(terms - t, CC_BLOCK),
                                    weights + t, sums, some)
            if t > 0:
                for p in range(some):
                    out[begin + p] += chain[p]
        if job.biases != NULL:
            for p in range(some):
                out[begin + p] += bias


cdef void correlate_panel(
    const Correlation *job, const Phase *phase, const real *panel, const int32_t *offset,
    const real *weights, Py_ssize_t t0, Py_ssize_t t1, Py_ssize_t terms, Py_ssize_t part,
    Py_ssize_t n, Py_ssize_t group, Py_ssize_t first, Py_ssize_t count, bint in_place, real *stage
) noexcept nogil:
    """The terms t0 .. t1 of `terms` for the `count` positions of a phase from `first`, of one part.

    The samples of all terms that a strip of positions reads stay in the first-level cache, and the
    weights stream past them. What fills no tile is left to one with half the positions; and where
    these are all the terms, the last tile may begin with results that the one before it had: but
    not of a single row, which is as fast as samples are loaded, and those are aligned in a panel.

    Of long rows that lie in the array the samples for the next strip are fetched meanwhile: they
    are too many for the processor to find that out by itself, and too far apart.
    """
    cdef const cc_tiles *tiles = job.sum.tiles
    cdef const View *out = &job.out
    cdef const Rows *rows = phase.rows
    cdef const real *bias = NULL
    cdef Py_ssize_t channel = group * job.sum.outs, size = sizeof(real)
    cdef Py_ssize_t first_block = part * rows.blocks // job.parts
    cdef Py_ssize_t last_block = (part + 1) * rows.blocks // job.parts
    cdef Py_ssize_t strip = STRIP_BYTES // (size * (job.panel_size // job.positions + 1))
    cdef Py_ssize_t block, row, tile_rows, width, m, last, inside, target_row, m0
    cdef Py_ssize_t ahead, half, i, fetched = 0
    cdef cc_correlate tile
    cdef bint whole = t0 == 0 and t1 == terms and (in_place or rows.count > 1)
    cdef real *target
    cdef real[CC_ROW_TERMS_MAX] of_row
    cdef bint direct
    cdef bint side_by_side = (job.sum.step == 1 and out.strides[2] == size
                              and out.strides[1] % size == 0)
    if job.biases != NULL and t1 == terms:
        bias = <const real *> job.biases + group * job.sum.most_rows
    # few terms: all positions of a row at once, which is stored as fast as memory takes it
    if (terms <= (CC_ROW_TERMS_MAX if rows.count == 1 else FEW_ROW_TERMS) and t0 == 0
            and t1 == terms and side_by_side and count >= tiles.row_least):
        for block in range(first_block, last_block):
            row = first_row(rows, block)
            tile_rows = first_row(rows, block + 1) - row
            for m in range(tile_rows):
                for last in range(terms):
                    of_row[last] = weights[row * terms + last * tile_rows + m]
                tiles.row[terms if terms <= CC_ROW_TERMS_IN_REGISTERS else 0](
                    panel, offset, terms, of_row, at(out, n, channel + row + m, first), count,
                    bias + (row + m) if bias != NULL else NULL)
        return
    strip = max(strip // job.sum.width, 1) * job.sum.width
    ahead = strip + (phase.terms.per_channel - 1) * phase.terms.g.step
    if in_place and (phase.terms.per_channel * job.row_pitch
                     > FETCHED_BYTES // size // job.sum.channels):
        fetched = ceiling(t1 - t0, phase.terms.per_channel)
    # strips of positions, blocks of rows, tiles
    for m0 from 0 <= m0 < count by strip:
        last = min(m0 + strip, count)
        for block in range(first_block, last_block):
            row = first_row(rows, block)
            tile_rows = first_row(rows, block + 1) - row
            m = m0
            while m < last:
                width, tile = tiles.correlate_width[tile_rows], tiles.correlate[tile_rows]
                half, inside = tiles.correlate_half_width[tile_rows], last - m
                if inside <= half or inside <= width - half and not (whole and width <= last):
                    width, tile = half, tiles.correlate_half[tile_rows]
                if inside < width <= last and whole:
                    m = last - width
                inside = min(width, last - m)
                if block == first_block:
                    for i in range(fetched):
                        cc_prefetch(<const char *> (panel + i * job.row_pitch + (m + ahead)),
                                    width * size)
                direct = side_by_side and inside == width
                if direct:
                    target = <real *> at(out, n, channel + row, first + m)
                    target_row = out.strides[1] // size
                else:
                    target, target_row = stage, width
                    if t0 > 0:
                        copy_tile[real](job, phase, n, group, row, tile_rows, first + m, inside,
                                        stage, width, False)
                tile(panel + m, offset, t1 - t0, weights + row * terms + t0 * tile_rows, target,
                     target_row, bias + row if bias != NULL else NULL, t0 > 0)
                if not direct:
                    copy_tile[real](job, phase, n, group, row, tile_rows, first + m, inside, stage,
                                    width, True)
                m += width


cdef inline Py_ssize_t in_place_chunk(const Correlation *job, const Terms *terms) noexcept nogil:
    """Terms of a chunk where samples are read in place, which no panel has to hold."""
    return min(max(job.most // CC_BLOCK, 1) * CC_BLOCK, terms.channels * terms.per_channel)


cdef void correlate_range(
    const Correlation *job, const Phase *phase, bint in_place, real *panel, int32_t *offset,
    real *stage, real *sums, const real *packed, Py_ssize_t part, Py_ssize_t n,
    Py_ssize_t signals, Py_ssize_t group, Py_ssize_t first, Py_ssize_t end
) noexcept nogil:
    """The positions first .. end - 1 of a phase, from a panel or from the array itself.

    `sums` holds the results until all terms are in, if they are buffered. Several signals have all
    of their positions in the panel, one signal after the other.
    """
    cdef const Terms *terms = &phase.terms
    cdef Py_ssize_t total = terms.channels * terms.per_channel, t0, t1
    cdef Py_ssize_t count = end - first + (signals - 1) * job.signal_pitch
    cdef Py_ssize_t chunk = in_place_chunk(job, terms) if in_place else (
        cut_terms(terms, job.positions, job.budget, job.most).chunk)
    cdef const real *samples = panel
    cdef const int32_t *term_offsets = offset
    cdef Py_ssize_t row = first_row(phase.rows, part * phase.rows.blocks // job.parts)
    cdef Py_ssize_t last_row = first_row(phase.rows, (part + 1) * phase.rows.blocks // job.parts)
    cdef Correlation wide
    cdef Phase wide_phase
    cdef const Correlation *target = job
    cdef const Phase *target_phase = phase
    cdef Py_ssize_t target_n = n, target_group = group, target_first = first
    if job.buffered:
        wide, wide_phase = job[0], phase[0]
        wide.out.half = NULL
        wide.out.pair = 0
        wide.out.strides[2] = sizeof(real)
        wide.out.strides[1] = row_size(job.positions) * sizeof(real)
        wide.out.data = <char *> sums - row * wide.out.strides[1]
        wide.out.shape[0], wide.out.shape[1], wide.out.shape[2] = 1, last_row, count
        wide.sum.step, wide.sum.merged, wide_phase.first_result = 1, False, 0
        if job.biases != NULL:
            wide.biases = <real *> job.biases + group * job.sum.most_rows
        target, target_phase, target_n, target_group, target_first = &wide, &wide_phase, 0, 0, 0
    if in_place and job.long_row:
        correlate_long_row[real](job, packed, job.in_place_offsets + phase.first_term, total, n,
                                 group, first, first + lowest_sample(terms), count, stage)
        return
    for t0 from 0 <= t0 < total by chunk:
        t1 = min(t0 + chunk, total)
        if in_place:
            term_offsets = job.in_place_offsets + phase.first_term + t0
            samples = <const real *> at(&job.array, n, group * job.sum.channels,
                                        first + lowest_sample(terms))
        elif (job.by_rows and job.row_pitch and terms.channels == 1 and share_row(terms)
              and count >= job.sum.tiles.row_least):
            # a panel is one row, as it would lie in the array
            copy_row[real](&job.array, n, group, first + lowest_sample(terms), 1,
                           count + (total - 1) * terms.g.step, panel)
            term_offsets = job.in_place_offsets
        else:
            pack_panel[real](&job.array, n, signals, job.signal_pitch, group * job.sum.channels,
                             terms, t0, t1, first, rounded(count, job.sum.half), panel, offset)
        correlate_panel[real](target, target_phase, samples, term_offsets, packed, t0, t1,
                              total, part, target_n, target_group, target_first, count,
                              in_place, stage)
    if job.buffered:
        for t0 in range(signals):
            copy_tile[real](job, phase, n + t0, group, row, last_row - row, first, end - first,
                            sums + t0 * job.signal_pitch, row_size(job.positions), True)


cdef void correlate_positions(
    const Correlation *job, const real *packed, Py_ssize_t chunk, int worker
) noexcept nogil:
    """A chunk's positions of all phases: those at the ends of the array need a panel."""
    cdef CorrelationScratch own
    cdef Py_ssize_t part = chunk % job.parts
    cdef Py_ssize_t unit = chunk // job.parts, begin, group
    cdef Py_ssize_t n = chunk // (job.parts * job.panels * job.sum.groups) * job.signals_per_panel
    cdef Py_ssize_t signals = min(job.signals_per_panel, job.array.shape[0] - n)
    cdef Py_ssize_t number, i, inside, end, whole, least
    cdef Py_ssize_t[4] ends
    cdef Phase phase
    carve_own_correlation(job, &own, job.workers + worker * job.worker_size)
    if job.array.strides[1] < job.array.strides[2]:  # all channels of a panel lie side by side
        begin, group = unit // job.sum.groups % job.panels, unit % job.sum.groups
    else:
        begin, group = unit % job.panels, unit // job.panels % job.sum.groups
    begin *= job.positions
    for number in range(job.sum.phases):
        phase = phase_of(&job.sum, number)
        # ends of what is packed, read in place, and packed again
        ends[0] = phase.first_position + begin
        ends[1] = ends[2] = ends[3] = min(ends[0] + job.positions, phase.last_position)
        if job.row_pitch:
            # whole tiles that read nothing beyond the ends, or any positions
            whole = least = job.sum.width
            if in_place_chunk(job, &phase.terms) == phase.terms.channels * phase.terms.per_channel:
                whole = 1
            if job.sum.g.taps > 1:  # there are two ends, which rows of tiles pay for
                least = IN_PLACE_POSITIONS
                if job.sum.most_rows > 1:
                    least *= 2 if job.sum.rows[0].blocks == 1 else 4
            if job.long_row:
                whole, least = 1, LONG_ROW
            elif job.by_rows:
                whole, least = 1, job.sum.tiles.row_least
            inside = ends[0] + rounded(max(-lowest_sample(&phase.terms) - ends[0], 0), whole)
            end = (job.array.shape[2] - lowest_sample(&phase.terms)
                   - (phase.terms.per_channel - 1) * job.sum.g.step)
            if job.by_rows and (inside > ends[0] or end < ends[3]):
                # leave enough for a row at both ends, or copy one of a few hundred samples
                if inside > ends[0]:
                    inside = max(inside, ends[0] + least)
                if end < ends[3]:
                    end = min(end, ends[3] - least)
                least = 2 * IN_PLACE_POSITIONS
            end = min(ends[3], inside + max(end - inside, 0) // whole * whole)
            if end - inside >= least:
                ends[1], ends[2] = inside, end
        for i in range(3):
            if ends[i] < ends[i + 1]:
                correlate_range[real](
                    job, &phase, i == 1, <real *> own.panel, own.offset, <real *> own.stage,
                    <real *> own.sums, packed + weights_before(&job.sum, group, &phase), part, n,
                    signals, group, ends[i], ends[i + 1])


cdef void correlate_chunk(void *context, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef const Correlation *job = <const Correlation *> context
    if job.size == sizeof(float):
        correlate_positions[float](job, <const float *> job.packed, chunk, worker)
    else:
        correlate_positions[double](job, <const double *> job.packed, chunk, worker)


cdef void correlate_all(
    Correlation *job, const View *w, const View *bias, const PackedLayout *prepacked,
    Py_ssize_t chunks, real *biases
) noexcept nogil:
    """A planned job: its bias and weights, its chunks, and what these leave undone."""
    cdef const Sum *sum = &job.sum
    cdef Py_ssize_t group, row
    cdef bint finite
    if job.biased:
        for group in range(sum.groups):
            for row in range(sum.most_rows):
                load_row[real](bias, line_at(bias, group * sum.outs + row % sum.outs), 0, 1,
                               biases + (group * sum.most_rows + row))
    if job.prepacked:
        job.packed, finite = <void *> prepacked.numbers, prepacked.finite  # which are only read
    else:
        finite = pack_weights(w, sum, job.threads, sizeof(real), job.packed)
    if sum.channels == 0 or (sum.transposed and sum.g.residues < sum.g.stride):
        # no terms, or phases of the output that meet no tap
        fill_bias[real](&job.out, biases, sum.outs, sum.most_rows)
    if sum.channels > 0:
        cc_pool_run(correlate_chunk, job, chunks, job.threads)
        if not finite:
            recompute_spoiled[real](sum, &job.array, w, bias, &job.out, 0)


cdef bint gains_by_joining(
    const Sum *sum, Py_ssize_t saved, Py_ssize_t longest
) noexcept nogil:
    """Whether to compute so many positions less of each signal is worth to buffer the results.

    A panel for each takes longer to pack than one for several, with a stride most of all. Samples
    of a single tap have to be packed then, which are read in place otherwise.
    """
    cdef double panels = 4 if sum.g.stride > 1 else 1
    if saved <= 0 or sum.g.taps == sum.g.stride == 1 and sum.terms > 4 and saved * 4 < longest:
        return False
    return ((saved * sum.most_rows + panels * JOINED_TERM) * sum.terms + panels * JOINED_PANEL
            > JOIN_COST * longest * <double> sum.most_rows)


cdef bint reads_in_place(const Correlation *job, const Terms *terms) noexcept nogil:
    """Whether tiles read the array, between its ends, rather than a panel: see IN_PLACE_TERMS."""
    cdef bint crowded = job.array.strides[1] % CROWDED_BYTES == 0
    if terms.in_step != 1:
        return False
    if job.sum.g.taps == 1:
        return job.sum.rows[0].blocks == 1 or not crowded
    return job.sum.channels <= IN_PLACE_CHANNELS and job.sum.rows[0].blocks == 1 or (
        job.sum.terms <= IN_PLACE_TERMS and not crowded)


cdef bint correlate(
    const Sum *sum, const View *array, const View *w, const View *bias, const View *out,
    Py_ssize_t size
) noexcept nogil:
    """A sum by panels, in numbers of `size` bytes; false if memory ran out, with nothing stored."""
    cdef Correlation job
    cdef const cc_tiles *tiles = sum.tiles
    cdef const Geometry *g = sum.g
    cdef Py_ssize_t groups = sum.groups
    cdef Py_ssize_t longest = 1, halo = 0, number, row, units, narrow, most
    cdef Py_ssize_t lanes, idle, buffered
    cdef Phase phase
    cdef Cut cut
    cdef Arena arena
    cdef uintptr_t start
    cdef bint join_signals
    cdef const PackedLayout *prepacked = packed_for(w, sum)

    job.sum, job.array, job.out, job.size = sum[0], array[0], out[0], size
    job.prepacked, job.biased = prepacked != NULL, bias.data != NULL
    job.row_pitch = 0
    for number in range(sum.phases):
        phase = phase_of(&job.sum, number)
        longest = max(longest, phase.last_position - phase.first_position)
        halo = max(halo, (residue_taps(g, phase.residue) - 1) * g.step)

    # A tile wider than the remaining positions wastes lanes. Several signals may share a panel
    # instead, where each wastes its halo only.
    job.signal_pitch = longest + halo
    join_signals = out.shape[0] > 1 and overlap(g) and gains_by_joining(
        sum, in_tiles(sum, longest) - job.signal_pitch, longest)
    job.long_row = (sum.most_rows == g.taps == g.stride == 1 and longest >= LONG_ROW
                    and out.half == NULL and not out.pair and out.strides[2] == size
                    and row_pitch_of(&job.array, sum.channels, g.step, size) != 0)
    join_signals = join_signals and not job.long_row
    # Or nothing, if each tap has a row of its own: which is as many copies of each sample.
    lanes = in_tiles(sum, longest) * out.shape[0]
    if join_signals:
        lanes = min(lanes, job.signal_pitch * out.shape[0])
    idle = lanes - longest * out.shape[0]
    buffered = 0 if join_signals else JOIN_COST * longest * sum.most_rows // max(sum.terms, 1)
    if (out.shape[0] > 1 and g.taps > 1 and job.signal_pitch <= APART_SAMPLES
            and idle * sum.most_rows > (APART_COST + 16 * longest + buffered) * out.shape[0]):
        join_signals = job.sum.apart = True
        job.signal_pitch = longest
    # Results that are not contiguous are buffered, or each chunk of terms would gather and scatter
    # them; half precision, because it is rounded once.
    job.buffered = (out.half != NULL or out.pair != 0
                    or (sum.step > 1 and sum.most_rows > 1) or join_signals)
    most = CC_ROW_TERMS_MAX if sum.rows[0].count == 1 else FEW_ROW_TERMS
    job.by_rows = (sum.phases == 1 and sum.step == 1 and sum.terms <= most and not job.buffered
                   and out.strides[2] == size and out.strides[1] % size == 0)
    job.budget = PANEL_BYTES // size
    job.most = min(CHUNK_TERMS, WEIGHT_BYTES // size // sum.most_rows)
    narrow = MIN_PANEL_POSITIONS
    phase = phase_of(&job.sum, 0)
    # A wide panel reads long runs of each channel; but chunks of terms add to all its results.
    most = PANEL_BYTES // 4 // size
    while narrow < MAX_PANEL_POSITIONS // 2 and narrow * sum.most_rows < most:
        narrow *= 2
    job.positions = panel_positions(&phase.terms, job.budget, narrow)
    most = RESULT_BYTES // size
    while (job.buffered and job.positions > MIN_PANEL_POSITIONS // 2
            and sum.most_rows * job.positions > most):
        job.positions //= 2
    job.positions = max(job.positions // sum.width, 1) * sum.width
    job.signals_per_panel = 1
    if join_signals:
        job.signals_per_panel = min(out.shape[0], max(1, job.positions // job.signal_pitch))
        longest += (job.signals_per_panel - 1) * job.signal_pitch
        job.positions = rounded(longest, sum.width)
    job.positions = min(job.positions, rounded(longest, sum.width))
    job.panels = (longest + job.positions - 1) // job.positions
    job.panel_size = job.offset_size = job.shared_size = 0
    if job.sum.apart:
        job.shared_size = job.signals_per_panel * (job.signal_pitch + halo) + 2 * COPIED_AT_ONCE
    for number in range(sum.phases):
        phase = phase_of(&job.sum, number)
        cut = cut_terms(&phase.terms, job.positions, job.budget, job.most)
        job.panel_size = max(job.panel_size, cut.size)
        job.offset_size = max(job.offset_size, cut.chunk)

    units = ((out.shape[0] + job.signals_per_panel - 1) // job.signals_per_panel
             * groups * job.panels)
    job.threads = threads_for(out.shape[0] * out.shape[1] * out.shape[2], sum.terms // sum.step)
    job.parts = 1
    if job.threads > 1:
        job.parts = min((CHUNKS_PER_THREAD * job.threads + units - 1) // units,
                        (sum.rows[0].blocks + MIN_BLOCKS_PER_PART - 1) // MIN_BLOCKS_PER_PART)
    job.sums_size = 0
    if job.buffered:
        row = (sum.most_rows + tiles.correlate_rows - 1) // tiles.correlate_rows
        job.parts = max(job.parts, min(row, sum.most_rows * job.positions // most + 1))
        row = min(sum.most_rows, (row + job.parts - 1) // job.parts * tiles.correlate_rows)
        job.sums_size = row * row_size(job.positions)
    job.threads = <int> min(job.threads, units * job.parts)

    if job.signals_per_panel == 1 and reads_in_place(&job, &phase.terms):
        job.row_pitch = row_pitch_of(&job.array, sum.channels, g.taps * g.step, size)

    start = arena_open(&arena, carve_correlation(&job, 0))
    if start == 0:
        return False
    carve_correlation(&job, start)
    if sum.ordered:
        order_terms(&job.sum, job.order)
    if job.row_pitch:
        for number in range(sum.phases):
            phase = phase_of(&job.sum, number)
            point_at_terms(&phase.terms, job.row_pitch, job.in_place_offsets + phase.first_term)
    if size == sizeof(float):
        correlate_all[float](&job, w, bias, prepacked, units * job.parts, <float *> job.biases)
    else:
        correlate_all[double](&job, w, bias, prepacked, units * job.parts, <double *> job.biases)
    arena_close(&arena)
    return True
