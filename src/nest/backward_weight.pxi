# backward_weight: positions summed, in the order of the samples.
#
#     dw[row, t] = Σ_{n,p} dy[n, row, p] · x[n, sample that term t of output p meets]
#
# Takes  Views of dy, x and dw with any strides and formats.
# Gives  dw; false if memory ran out.
#
# dw_outer: rank-1 updates, one position after another. Lanes are along the shorter side of dw, the
# rows or the terms of a group, whose operand is transposed; the other one is broadcast. If dy has
# its channels last they are along the rows, whose lanes lie side by side as they are. If x has,
# too, both are read where they lie, except for positions whose taps meet an end of x.
# dw_dot: dot products, lanes along positions, where one side is shorter than FEW_ROWS.
#
# Loops, outermost first: chunks of the pool (group, part of the rows, part of the terms); samples;
# ranges of positions; groups, if a chunk has several; chunks of terms, for which a panel is packed;
# tiles.

cdef struct Ranges:
    # Positions that are summed together. The shape alone decides where a range ends, because the
    # sums of ranges are added in order, whichever nest computes them.
    Py_ssize_t positions            # of a range at most
    Py_ssize_t inner, outer         # positions from `inner` to before `outer` read no padding


cdef inline Py_ssize_t range_at(
    const Ranges *ranges, Py_ssize_t position, Py_ssize_t length
) noexcept nogil:
    """How many positions the range that begins at `position` has."""
    cdef Py_ssize_t count = min(ranges.positions, length - position)
    if position < ranges.inner:
        return min(count, ranges.inner - position)
    if position < ranges.outer:
        return min(count, ranges.outer - position)
    return count


cdef Ranges dot_ranges(
    const Terms *terms, Py_ssize_t x_length, Py_ssize_t length, Py_ssize_t budget
) noexcept nogil:
    """The ranges of dw_dot, which reads x in place between its ends if that is worth it."""
    cdef const Geometry *g = terms.g
    cdef Ranges ranges
    ranges.positions = FOLD_POSITIONS
    while ranges.positions > MIN_PANEL_POSITIONS and min(
            terms.channels * channel_size(terms, ranges.positions),
            block_size(terms, ranges.positions)) > budget:
        ranges.positions //= 2
    ranges.positions = min(ranges.positions, length)
    ranges.inner = ranges.outer = 0
    if g.stride == 1:
        ranges.inner = rounded(max(-lowest_sample(terms), 0), CC_LANES)
        ranges.outer = min(x_length - lowest_sample(terms) - (g.taps - 1) * g.step, length)
        if ranges.outer - ranges.inner < IN_PLACE_POSITIONS:
            ranges.inner = ranges.outer = 0
    return ranges


cdef struct WeightGradient:
    # A job for the pool. Its chunks are blocks of dw: some output channels (rows) of one group, or
    # of some groups whose samples lie in the same cache lines, by some terms. Each is summed by one
    # thread from beginning to end, so nothing is left to add.
    const cc_tiles *tiles
    const Geometry *g
    View dy, x, dw
    Terms terms
    Py_ssize_t groups
    Py_ssize_t rows                 # output channels of a group
    Py_ssize_t count                # terms of a row
    Py_ssize_t group_parts, row_parts, part_rows, term_parts, part_terms
    bint dw_dot                     # or else dw_outer
    bint dy_adjacent                # lanes of rows lie side by side in dy
    bint in_lines                   # and channels in x, which is read in place between its ends
    Ranges ranges
    Py_ssize_t budget
    Py_ssize_t dy_pitch             # samples between rows of dy, or 0 if they must be copied
    Py_ssize_t x_pitch              # samples between channels of x, or 0 if panels must be packed
    int32_t *in_place_offsets       # [term] in x, where `x_pitch` is not 0, or `in_lines`
    Py_ssize_t panel_size, offset_size, dy_copies_size, transposed_size, sums_size
    Py_ssize_t size                 # of a number, in bytes
    int threads
    void *gradients                 # of the matrix that a complex weight is, or NULL
    Py_ssize_t gradients_size
    uintptr_t workers               # the threads' own scratch
    Py_ssize_t worker_size


cdef inline bint terms_are_lanes(const WeightGradient *job) noexcept nogil:
    return job.count < job.rows and not (job.dw_dot or job.dy_adjacent)


cdef struct WeightScratch:
    # What a thread has for itself.
    void *sums
    void *panel
    int32_t *offset
    void *dy_copies     # rows of dy, if their samples are not contiguous
    int32_t *dy_offset  # [row] where it begins, in dy or the copies
    void *transposed    # the operand whose rows are lanes: [tile][position][lane]


cdef uintptr_t carve_own_weight(
    const WeightGradient *job, WeightScratch *own, uintptr_t next
) noexcept nogil:
    own.sums = carve(&next, job.sums_size * ceiling(job.groups, job.group_parts) * job.size)
    own.panel = carve(&next, job.panel_size * job.size)
    own.offset = <int32_t *> carve(&next, job.offset_size * sizeof(int32_t))
    own.dy_copies = carve(&next, job.dy_copies_size * job.size)
    own.dy_offset = <int32_t *> carve(&next, job.part_rows * sizeof(int32_t))
    own.transposed = carve(&next, job.transposed_size * job.size)
    return next


cdef uintptr_t carve_weight(WeightGradient *job, uintptr_t next) noexcept nogil:
    cdef WeightScratch own
    job.in_place_offsets = NULL
    if job.x_pitch or job.in_lines:
        job.in_place_offsets = <int32_t *> carve(&next, job.count * sizeof(int32_t))
    job.gradients = carve(&next, job.gradients_size)
    job.workers, job.worker_size = next, carve_own_weight(job, &own, 0)
    return next + job.threads * job.worker_size


cdef void store_sums(
    const WeightGradient *job, const real *sums, Py_ssize_t lanes, bint transpose_terms,
    Py_ssize_t first_row, Py_ssize_t rows, Py_ssize_t first_term, Py_ssize_t terms
) noexcept nogil:
    """sums[tile][row][lane] into dw; terms are lanes if `transpose_terms`, and rows if not."""
    cdef const Geometry *g = job.g
    cdef Py_ssize_t row, channel, residue, tap, t, place, step = 0 if transpose_terms else lanes
    cdef Py_ssize_t period = g.period, taps = g.taps, tap_step = period * job.dw.strides[2]
    cdef bint halves = job.dw.half != NULL
    cdef char *result
    for row in range(rows):
        t = -first_term
        place = row // lanes * terms * lanes + row % lanes
        for channel in range(job.dw.shape[1]):
            for residue in range(g.residues):
                result = at(&job.dw, first_row + row, channel, residue)
                for tap from residue <= tap < taps by period:
                    if 0 <= t < terms:
                        if transpose_terms:
                            place = (t // lanes * rows + row) * lanes + t % lanes
                        if not halves:  # a call for one number would take longer
                            (<real *> result)[0] = sums[place]
                        else:
                            store_row[real](&job.dw, result, 0, 1, sums + place)
                        place += step
                    result += tap_step
                    t += 1


cdef void transpose_rows(
    const cc_tiles *tiles, const real *rows, const int32_t *offset, Py_ssize_t count,
    Py_ssize_t positions, real *transposed
) noexcept nogil:
    """transposed[tile][p][lane] = rows[offset[tile·lanes + lane] + p], zero without a row."""
    cdef Py_ssize_t lanes = tiles.dw_outer_width, first
    for first from 0 <= first < count by lanes:
        tiles.transpose(rows, offset + first, min(lanes, count - first), positions,
                        transposed + first * positions)


cdef void add_dw_outer(
    const cc_tiles *tiles, const real *lines, Py_ssize_t line, Py_ssize_t tile_size,
    Py_ssize_t across, const real *panel, Py_ssize_t step, const int32_t *offset, Py_ssize_t down,
    Py_ssize_t positions, real *sums, Py_ssize_t depth
) noexcept nogil:
    """sums[tile][row][lane] += Σ_p panel[offset[row] + p·step] · (line p of a tile)[lane]

    Lines are `line` numbers apart, and tiles `tile_size`.
    """
    cdef Py_ssize_t lanes = tiles.dw_outer_width
    cdef Py_ssize_t blocks = (down + tiles.dw_outer_rows - 1) // tiles.dw_outer_rows
    cdef Py_ssize_t first, p, block, row, next_row
    for first from 0 <= first < across by lanes:
        for p from 0 <= p < positions by CC_BLOCK:
            next_row = 0
            for block in range(blocks):
                row, next_row = next_row, (block + 1) * down // blocks
                tiles.dw_outer[next_row - row](
                    panel + p * step, step, offset + row,
                    lines + first // lanes * tile_size + p * line, line,
                    min(positions - p, CC_BLOCK), sums + (first * depth + row * lanes))


cdef void add_pairs(
    const cc_tiles *tiles, const real *panel, const int32_t *offset, Py_ssize_t terms,
    const real *dy_rows, const int32_t *dy_offset, Py_ssize_t rows, Py_ssize_t terms_per_shift,
    Py_ssize_t positions, real *sums, Py_ssize_t sums_row
) noexcept nogil:
    """add_dw_dot for all pairs of some rows and terms.

    If `terms_per_shift` is not 0, one row of dy plays several rows, each shifted by CC_LANES
    positions: row r starts at term r·terms_per_shift.
    """
    cdef Py_ssize_t across = (rows + CC_DOT_ROWS - 1) // CC_DOT_ROWS
    cdef Py_ssize_t skew = CC_LANES if terms_per_shift else 0
    cdef Py_ssize_t i, j, row, next_row = 0, t, next_t, down
    for i in range(across):
        row, next_row = next_row, (i + 1) * rows // across
        next_t = 0
        down = tiles.dw_dot_terms[next_row - row]
        down = (terms + down - 1) // down
        for j in range(down):
            t, next_t = next_t, (j + 1) * terms // down
            tiles.dw_dot[next_row - row][next_t - t](
                panel, offset + (t + row * terms_per_shift), dy_rows,
                dy_offset + (0 if terms_per_shift else row), skew, positions,
                sums + (t + row * sums_row) * CC_LANES, sums_row)


cdef void add_dw_dot(
    const cc_tiles *tiles, const real *panel, const int32_t *offset, Py_ssize_t terms,
    Py_ssize_t step, const real *dy_rows, const int32_t *dy_offset, Py_ssize_t rows,
    Py_ssize_t positions, real *sums, Py_ssize_t depth
) noexcept nogil:
    """sums[row][t][lane] += Σ_p panel[offset[t] + p] · dy_rows[dy_offset[row] + p], p of the lane

    A single row plays several: what it meets for one tap, it meets CC_LANES positions later for the
    tap terms_per_shift before, so a vector of samples is loaded once for both.
    """
    cdef Py_ssize_t t = 0, count, terms_per_shift, depth_of_skew, longer
    cdef int32_t[CC_DOT_ROWS] same
    # a row that meets one tap of a channel, such as all of k = 1, has nothing to share
    if rows > 1 or CC_LANES % step or terms > 1 and offset[1] - offset[0] != step:
        add_pairs[real](tiles, panel, offset, terms, dy_rows, dy_offset, rows, 0, positions, sums,
                        depth)
        return
    for count in range(CC_DOT_ROWS):
        same[count] = dy_offset[0]
    terms_per_shift = CC_LANES // step
    while t < terms:
        count = 1
        while t + count < terms and offset[t + count] - offset[t + count - 1] == step:
            count += 1
        depth_of_skew = (count + terms_per_shift - 1) // terms_per_shift
        longer = count - (depth_of_skew - 1) * terms_per_shift
        add_pairs[real](tiles, panel, offset + t, longer, dy_rows, same, depth_of_skew,
                        terms_per_shift, positions, sums + t * CC_LANES, terms_per_shift)
        if depth_of_skew > 1:
            add_pairs[real](tiles, panel, offset + (t + longer), terms_per_shift - longer, dy_rows,
                            same, depth_of_skew - 1, terms_per_shift, positions,
                            sums + (t + longer) * CC_LANES, terms_per_shift)
        t += count


cdef inline bint has_whole_lines(
    const WeightGradient *job, Py_ssize_t rows, Py_ssize_t positions
) noexcept nogil:
    """Whether all lanes up to those of a row can be read at all positions: what lanes beyond the
    rows of a group meet is not stored, but it must be there."""
    cdef Py_ssize_t all_rows = job.dy.shape[1], beyond = rows - all_rows
    return beyond <= 0 or (job.dy.strides[2] == all_rows * job.size
                           and positions * all_rows + beyond <= job.dy.shape[2] * all_rows)


cdef void point_at_lines(const WeightGradient *job) noexcept nogil:
    """Where the sample of each term is, from the first of a position, in the order of terms."""
    cdef Py_ssize_t line = job.x.strides[2] // job.size, channel, residue, tap, t = 0
    for channel in range(job.terms.channels):
        for residue in range(job.g.residues):
            for tap from residue <= tap < job.g.taps by job.g.period:
                job.in_place_offsets[t] = <int32_t> (tap * job.g.dilation * line + channel)
                t += 1


cdef bint reads_lines(const WeightGradient *job) noexcept nogil:
    """Whether both operands can be read where they lie, channels side by side.

    Lines that lie a multiple of CROWDED_BYTES apart share few sets of the caches.
    """
    cdef Py_ssize_t line = magnitude(job.x.strides[2])
    return (job.dy_adjacent and job.dy.half == NULL and not job.dy.pair and job.x.half == NULL
            and not job.x.pair and job.x.strides[1] == job.size and line % job.size == 0
            and job.dy.strides[2] % job.size == 0 and line % CROWDED_BYTES != 0
            and job.dy.strides[2] % CROWDED_BYTES != 0
            and job.g.taps * job.g.dilation < INT32_MAX // max(line, 1))


cdef void add_range(
    const WeightGradient *job, const WeightScratch *own, Py_ssize_t n, Py_ssize_t group,
    Py_ssize_t r0, Py_ssize_t rows, Py_ssize_t first_term, Py_ssize_t terms, Py_ssize_t p0,
    Py_ssize_t inside, real *sums
) noexcept nogil:
    """Add `inside` positions of a sample from p0 on to some rows and terms of a group."""
    cdef const cc_tiles *tiles = job.tiles
    cdef real *transposed = <real *> own.transposed
    cdef const int32_t *dy_offset = own.dy_offset
    cdef bint transpose_terms = terms_are_lanes(job)
    cdef bint in_place = job.ranges.inner <= p0 < job.ranges.outer and job.x_pitch != 0
    cdef Py_ssize_t lanes = 1 if job.dw_dot else tiles.dw_outer_width
    cdef Cut cut = cut_terms(&job.terms, job.ranges.positions, job.budget, CHUNK_TERMS)
    cdef const real *dy_rows = <const real *> own.dy_copies
    cdef const real *samples = <const real *> own.panel
    cdef const int32_t *term_offsets = own.offset
    cdef Py_ssize_t p, row, t, count, step = 1, line = lanes, tile_size = lanes * inside
    cdef Py_ssize_t sample = p0 * job.g.stride - job.g.pad_left
    cdef bint lines = job.in_lines and sample >= 0 and job.x.shape[2] > (
        sample + (inside - 1) * job.g.stride + (job.g.taps - 1) * job.g.dilation)
    if job.in_lines and has_whole_lines(job, group * job.rows + r0 + rounded(rows, lanes),
                                        p0 + inside):
        transposed = <real *> at(&job.dy, n, group * job.rows + r0, p0)
        line, tile_size = job.dy.strides[2] // <Py_ssize_t> sizeof(real), lanes
    elif job.dy_adjacent:
        for p from 0 <= p < inside by ADJACENT_SAMPLES:
            for row from 0 <= row < rows by lanes:
                copy_samples[real](&job.dy, n, group * job.rows + r0 + row, min(lanes, rows - row),
                                   p0 + p, 1, min(ADJACENT_SAMPLES, inside - p),
                                   transposed + (row * inside + p * lanes), lanes)
    elif job.dy_pitch:
        dy_rows = <const real *> at(&job.dy, n, group * job.rows + r0, p0)
    else:
        copy_rows[real](&job.dy, n, group * job.rows + r0, rows, p0, 1, inside,
                        <real *> own.dy_copies, row_size(job.ranges.positions))
    if not (transpose_terms or job.dw_dot or job.dy_adjacent):
        transpose_rows[real](tiles, dy_rows, dy_offset, rows, inside, transposed)
    # chunks of terms
    for t from 0 <= t < terms by cut.chunk:
        count = min(cut.chunk, terms - t)
        if lines:
            term_offsets = job.in_place_offsets + first_term + t
            samples = <const real *> at(&job.x, n, group * job.terms.channels, sample)
            step = job.x.strides[2] // <Py_ssize_t> sizeof(real) * job.g.stride
        elif in_place:
            term_offsets = job.in_place_offsets + first_term + t
            samples = <const real *> at(&job.x, n, group * job.terms.channels,
                                        p0 + lowest_sample(&job.terms))
        else:
            pack_panel[real](&job.x, n, 1, 0, group * job.terms.channels, &job.terms,
                             first_term + t, first_term + t + count, p0, inside, <real *> own.panel,
                             own.offset)
        if job.dw_dot:
            add_dw_dot[real](tiles, samples, term_offsets, count, job.g.step, dy_rows, dy_offset,
                             rows, inside, sums + t * CC_LANES, terms)
        elif transpose_terms:
            transpose_rows[real](tiles, samples, term_offsets, count, inside, transposed)
            add_dw_outer[real](tiles, transposed, lanes, lanes * inside, count, dy_rows, 1,
                               dy_offset, rows, inside, sums + t * rows, rows)
        else:
            add_dw_outer[real](tiles, transposed, line, tile_size, rows, samples, step,
                               term_offsets, count, inside, sums + t * lanes, terms)


cdef void backward_weight_block(
    const WeightGradient *job, const WeightScratch *own, Py_ssize_t chunk, int worker, real *sums
) noexcept nogil:
    """One block of dw, for each range of positions of each sample.

    There are two operands, the rows of dy by output channel and those of x by term. A chain of
    dw_outer runs over CC_BLOCK positions; dw_dot has CC_LANES chains over a range of positions.
    Chains are added in the order of samples and positions, and lanes at the end.
    """
    cdef Py_ssize_t part = chunk // (job.row_parts * job.term_parts)
    cdef Py_ssize_t first_group = part * job.groups // job.group_parts
    cdef Py_ssize_t end_group = (part + 1) * job.groups // job.group_parts
    part = chunk // job.term_parts % job.row_parts
    cdef Py_ssize_t r0 = part * job.part_rows
    cdef Py_ssize_t rows = min(job.part_rows, job.rows - r0)
    part = chunk % job.term_parts
    cdef Py_ssize_t first_term = part * job.part_terms
    cdef Py_ssize_t terms = min(job.part_terms, job.count - first_term)
    cdef Py_ssize_t lanes = 1 if job.dw_dot else job.tiles.dw_outer_width
    cdef Py_ssize_t pitch = job.dy_pitch if job.dy_pitch else row_size(job.ranges.positions)
    cdef Py_ssize_t n, group, p0, inside, row

    memset(sums, 0, (end_group - first_group) * job.sums_size * sizeof(real))
    for row in range(rows):
        own.dy_offset[row] = <int32_t> (row * pitch)
    # samples, and ranges of positions: up to `inner`, from there to `outer`, and beyond
    for n in range(job.dy.shape[0]):
        p0 = inside = 0
        while p0 + inside < job.dy.shape[2]:
            if cc_pool_cancelled(worker):
                return
            p0 += inside
            inside = range_at(&job.ranges, p0, job.dy.shape[2])
            for group in range(first_group, end_group):
                add_range[real](job, own, n, group, r0, rows, first_term, terms, p0, inside,
                                sums + (group - first_group) * job.sums_size)
    for group in range(first_group, end_group):
        if job.dw_dot:
            job.tiles.fold_lanes(sums, rows * terms)
        store_sums[real](job, sums, lanes, terms_are_lanes(job), group * job.rows + r0, rows,
                         first_term, terms)
        sums += job.sums_size


cdef void backward_weight_chunk(void *context, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef const WeightGradient *job = <const WeightGradient *> context
    cdef WeightScratch own
    carve_own_weight(job, &own, job.workers + worker * job.worker_size)
    if job.size == sizeof(float):
        backward_weight_block[float](job, &own, chunk, worker, <float *> own.sums)
    else:
        backward_weight_block[double](job, &own, chunk, worker, <double *> own.sums)


cdef void join_parts(const View *dw, const real *gradients) noexcept nogil:
    """dw of complex numbers from the gradients of the real matrix that a weight is.

    dw.real = G[real, real] + G[imag, imag],  dw.imag = G[imag, real] - G[real, imag]
    """
    cdef Py_ssize_t taps = dw.shape[2], row = dw.shape[1] * taps, i, j, tap
    cdef const real *g
    cdef real *result
    for i from 0 <= i < dw.shape[0] by 2:
        for j from 0 <= j < dw.shape[1] by 2:
            g = gradients + i * row + j * taps
            for tap in range(taps):
                result = <real *> weight_at(dw, i, j, tap)
                result[0] = g[tap] + g[tap + row + taps]
                result[1] = g[tap + row] - g[tap + taps]
                if dw.conjugate:
                    result[1] = -result[1]


cdef bint backward_weight(
    const cc_tiles *tiles, const View *dy, const View *x, const View *dw, const Geometry *g,
    Py_ssize_t groups, Py_ssize_t size
) noexcept nogil:
    """backward_weight of numbers of `size` bytes; false if memory ran out, with nothing stored."""
    cdef WeightGradient job
    cdef Py_ssize_t parts, across, along, tiles_across, lanes
    cdef bint transpose_terms
    cdef Cut cut
    cdef Arena arena
    cdef uintptr_t start
    if dw.shape[0] == 0 or dw.shape[1] == 0:
        return True
    job.tiles, job.g, job.groups, job.size = tiles, g, groups, size
    job.dy, job.x, job.dw = dy[0], x[0], dw[0]
    job.x.mode = g.mode
    if dy.shape[0] == 0:
        job.dw.shape[0] >>= dw.pair  # the parts of each are those of the other axis
        if size == sizeof(float):
            fill_bias[float](&job.dw, NULL, 1, 1)
        else:
            fill_bias[double](&job.dw, NULL, 1, 1)
        return True
    job.gradients_size = dw.shape[0] * dw.shape[1] * dw.shape[2] * size if dw.pair else 0
    job.terms = terms_of_input(g, dw.shape[1], True)
    job.rows, job.count = dw.shape[0] // groups, dw.shape[1] * g.taps
    job.dw_dot = min(job.rows, job.count) < FEW_ROWS
    job.budget = PANEL_BYTES // size
    job.dy_adjacent = (not job.dw_dot and dy.shape[1] > 1
                       and has_adjacent_channels(dy, size))
    job.in_lines = reads_lines(&job)
    transpose_terms = terms_are_lanes(&job)
    # Lanes that have no row cost as much as others. 8 rows x 24 terms x 62 positions on avx512:
    # 1.67 us, with the tiles of avx2 1.16 (Zen 4).
    if (not job.dw_dot and tiles.narrower != NULL
            and 2 * (job.count if transpose_terms else job.rows) <= tiles.dw_outer_width):
        job.tiles = tiles = tiles.narrower

    # The operand whose rows are lanes is transposed again for each part of the other one. So lanes
    # are shared out first, unless some parts would then have a tile more than others and there are
    # few tiles (ENOUGH_TILES).
    job.threads = threads_for(dw.shape[0] * job.count, dy.shape[0] * dy.shape[2])
    parts = (job.threads + groups - 1) // groups
    lanes = 1 if job.dw_dot else tiles.dw_outer_width
    tiles_across = ((job.count if transpose_terms else job.rows) + lanes - 1) // lanes
    across = parts
    while across > 1 and tiles_across % across and tiles_across < ENOUGH_TILES * across:
        across -= 1
    along = (parts + across - 1) // across
    job.part_rows, job.part_terms = job.rows, job.count
    if transpose_terms:
        job.part_terms = rounded((job.count + across - 1) // across, lanes)
        along = max(1, min(along, job.rows // tiles.dw_outer_rows))
        job.part_rows = (job.rows + along - 1) // along
    else:
        job.part_rows = rounded((job.rows + across - 1) // across, lanes)
        along = max(1, min(along, job.count // (
            CC_DOT_TERMS if job.dw_dot else MIN_TERMS_PER_PART)))
        job.part_terms = (job.count + along - 1) // along
    job.part_rows = min(CHANNELS_PER_PASS, job.part_rows)
    job.part_terms = rounded(job.part_terms, CC_DOT_TERMS)
    if job.dw_dot:
        job.part_terms = min(job.part_terms, SUMS_BYTES // (CC_LANES * size) // job.part_rows)
    job.row_parts = (job.rows + job.part_rows - 1) // job.part_rows
    job.term_parts = (job.count + job.part_terms - 1) // job.part_terms
    job.threads = <int> min(job.threads, groups * job.row_parts * job.term_parts)

    if job.dw_dot:
        job.ranges = dot_ranges(&job.terms, x.shape[2], dy.shape[2], job.budget)
    else:
        job.ranges.inner = job.ranges.outer = 0
        job.ranges.positions = panel_positions(&job.terms, job.budget, MIN_PANEL_POSITIONS)
        while job.ranges.positions > CC_BLOCK and (
                job.ranges.positions * job.part_rows > job.budget):
            job.ranges.positions //= 2
        if job.in_lines:  # short ones, as those at the ends are copied
            job.ranges.positions = min(job.ranges.positions, MIN_PANEL_POSITIONS)
        job.ranges.positions = min(job.ranges.positions, dy.shape[2])
    cut = cut_terms(&job.terms, job.ranges.positions, job.budget, CHUNK_TERMS)
    job.panel_size, job.offset_size = cut.size, cut.chunk
    job.dy_pitch = row_pitch_of(&job.dy, job.rows, 0, size)
    job.dy_copies_size = 0
    if not (job.dy_pitch or job.dy_adjacent):
        job.dy_copies_size = job.part_rows * row_size(job.ranges.positions)
    if job.dw_dot:
        job.transposed_size, job.sums_size = 0, job.part_rows * job.part_terms * CC_LANES
    elif transpose_terms:
        job.transposed_size = rounded(min(cut.chunk, job.part_terms), lanes) * job.ranges.positions
        job.sums_size = rounded(job.part_terms, lanes) * job.part_rows
    else:
        job.transposed_size = rounded(job.part_rows, lanes) * job.ranges.positions
        job.sums_size = rounded(job.part_rows, lanes) * job.part_terms

    job.group_parts = groups
    if has_adjacent_channels(x, size) and has_adjacent_channels(dy, size):
        job.group_parts = max(min(groups, job.threads),
                              ceiling(groups, max(SUMS_BYTES // size // job.sums_size, 1)))

    # dw_dot reads a sample only once or twice, so it reads x in place between the ends
    job.x_pitch = 0
    if job.ranges.outer > 0:
        job.x_pitch = row_pitch_of(&job.x, job.terms.channels, g.taps * g.step, size)

    start = arena_open(&arena, carve_weight(&job, 0))
    if start == 0:
        return False
    carve_weight(&job, start)
    if job.in_lines:
        point_at_lines(&job)
    elif job.x_pitch:
        point_at_terms(&job.terms, job.x_pitch, job.in_place_offsets)
    if dw.pair:
        job.dw.data, job.dw.pair = <char *> job.gradients, 0
        job.dw.strides[2] = size
        job.dw.strides[1] = dw.shape[2] * size
        job.dw.strides[0] = dw.shape[1] * job.dw.strides[1]
    cc_pool_run(backward_weight_chunk, &job, job.group_parts * job.row_parts * job.term_parts,
                job.threads)
    if dw.pair and not cc_pool_cancelled(0):
        if size == sizeof(float):
            join_parts[float](dw, <const float *> job.gradients)
        else:
            join_parts[double](dw, <const double *> job.gradients)
    arena_close(&arena)
    return True
