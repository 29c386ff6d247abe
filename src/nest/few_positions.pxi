# forward for few positions: lanes along the output channels, weights read as they lie.
#
#     out[n, lane, p] = bias[lane] + Σ_t w[lane][t] · x[n, channel[t], p·stride + tap_samples[t]]
#
# Takes  a planned Sum, Views with any strides and formats, weights as they lie or packed along
#        lanes, a bias.
# Gives  the results; false if memory ran out.
#
# Over few positions it takes longer to pack all weights than to multiply them. So a block of terms
# of a tile's channels is transposed into the first-level cache, where all positions use it at once:
# the weights are read once, as they lie. Taps that meet no sample at any position are left out, but
# keep their places in the blocks, so that chains end where those of other nests do.
#
# Loops, outermost first: chunks of the pool (strip of positions, group, part of the channels);
# spans of terms, whose samples are copied with their padding; blocks of channels; blocks of terms;
# tiles of positions.

cdef struct FewPositions:
    # A job for the pool.
    const cc_tiles *tiles
    const Geometry *g
    View array, w, out
    Py_ssize_t size                   # of a number, in bytes
    Py_ssize_t groups, channels, outs  # channels of a group
    Py_ssize_t terms
    Py_ssize_t lanes, blocks          # channels of a tile, and such blocks in a group
    Py_ssize_t width                  # lanes that are computed: half, if these have all channels
    Py_ssize_t parts                  # of the blocks
    Py_ssize_t together               # blocks in a tile, several for one position or two
    Py_ssize_t run, runs              # positions side by side in a row of samples; such in a signal
    Py_ssize_t strip, strips          # runs of a strip, of all signals
    Py_ssize_t step                   # samples from one in a row of the panel to the next
    Py_ssize_t row, run_pitch         # numbers in the panel from a channel, a run, to the next
    Py_ssize_t span                   # terms in a span, whole blocks
    Py_ssize_t totals_row             # numbers from the totals of a position to the next
    Py_ssize_t living                 # how many taps meet a sample
    Py_ssize_t first_block, last_block  # of terms, of those that have any
    bint joined                       # the weights of a row lie side by side
    bint transposable                 # the tiles read weights where they lie
    bint padded                       # there are zeros beyond the ends, which taps meet
    bint biased                       # there is a bias
    int threads
    void *packed                      # [group][block][term][lane], or NULL
    int32_t *taps                     # those that meet a sample
    int32_t *weight_rows              # where the weights of each lane begin in the array,
    int32_t *buffer_rows              # in a buffer of them,
    int32_t *total_rows               # and the totals of each position of a tile
    void *biases                      # [group][block][lane], or NULL
    char *spoiled                     # whether a worker has results that zeros may have spoiled
    uintptr_t workers                 # the threads' own scratch
    Py_ssize_t worker_size


cdef struct Piece:
    # Terms of a block whose weights lie side by side.
    Py_ssize_t channel, tap, count


cdef struct Block:
    # The terms of a block that meet samples.
    Py_ssize_t first_piece, pieces, terms


cdef struct FewPositionsScratch:
    # What a thread has for itself.
    void *panel       # [run][channel][sample]
    void *weights     # [block][term][lane]
    void *buffer      # [lane][term]
    void *totals      # [position][lane]
    void *stage       # [lane][position]
    int32_t *offset   # [block of a span][term]
    Piece *pieces
    Block *blocks     # of terms, of a span


cdef enum: BUFFER_ROW = CC_BLOCK + 16  # an odd number of cache lines


cdef struct Ahead:
    # Weights that will be read soon.
    const char *first
    Py_ssize_t rows, pitch, bytes  # from one row to the next, and of each


cdef uintptr_t carve_own_few_positions(
    const FewPositions *job, FewPositionsScratch *own, uintptr_t next
) noexcept nogil:
    own.panel = carve(&next, job.strip * job.run_pitch * job.size)
    own.weights = carve(&next, job.together * CC_BLOCK * job.lanes * job.size)
    own.buffer = carve(&next, 0 if job.transposable else job.lanes * BUFFER_ROW * job.size)
    own.totals = carve(&next, job.strip * job.run * job.totals_row * job.size)
    own.stage = carve(&next, job.lanes * job.lanes * job.size)
    own.offset = <int32_t *> carve(&next, job.span * sizeof(int32_t))
    own.pieces = <Piece *> carve(&next, job.span * sizeof(Piece))
    own.blocks = <Block *> carve(&next, job.span // CC_BLOCK * sizeof(Block))
    return next


cdef uintptr_t carve_few_positions(FewPositions *job, uintptr_t next) noexcept nogil:
    cdef FewPositionsScratch own
    job.biases = NULL
    job.taps = <int32_t *> carve(&next, job.g.taps * sizeof(int32_t))
    job.weight_rows = <int32_t *> carve(&next, job.lanes * sizeof(int32_t))
    job.buffer_rows = <int32_t *> carve(&next, job.lanes * sizeof(int32_t))
    job.total_rows = <int32_t *> carve(&next, job.lanes * sizeof(int32_t))
    if job.biased:
        job.biases = carve(&next, job.groups * job.blocks * job.lanes * job.size)
    job.spoiled = <char *> carve(&next, job.threads)
    job.workers, job.worker_size = next, carve_own_few_positions(job, &own, 0)
    return next + job.threads * job.worker_size


cdef inline Py_ssize_t living_before(const FewPositions *job, Py_ssize_t tap) noexcept nogil:
    """How many of the taps before this one meet a sample."""
    cdef Py_ssize_t low = 0, high = job.living, middle
    if tap >= job.g.taps:
        return job.living
    while low < high:
        middle = (low + high) // 2
        if job.taps[middle] < tap:
            low = middle + 1
        else:
            high = middle
    return low


cdef void list_terms(
    const FewPositions *job, FewPositionsScratch *own, Py_ssize_t t0, Py_ssize_t t1
) noexcept nogil:
    """The blocks of a span of terms, their pieces, and where in the panel their samples are."""
    cdef Py_ssize_t taps = job.g.taps, channel, i, first, last, t, block, count, n, sample
    cdef Py_ssize_t tap_step = job.g.dilation // job.step if taps > 1 else 1
    cdef Block *at_block = own.blocks
    cdef Piece *piece = own.pieces - 1
    cdef int32_t *offset
    for block in range((t1 - t0 + CC_BLOCK - 1) // CC_BLOCK):
        own.blocks[block].terms = own.blocks[block].pieces = own.blocks[block].first_piece = 0
    for channel in range(t0 // taps, (t1 - 1) // taps + 1):
        first = living_before(job, max(t0 - channel * taps, 0))
        last = living_before(job, t1 - channel * taps)
        i = first
        while i < last:
            # taps side by side, of one block
            t = channel * taps + job.taps[i] - t0
            count = min(last - i, CC_BLOCK - t % CC_BLOCK)
            if job.living < taps:
                n = 1
                while n < count and job.taps[i + n] == job.taps[i] + n:
                    n += 1
                count = n
            at_block = &own.blocks[t // CC_BLOCK]
            offset = own.offset + t // CC_BLOCK * CC_BLOCK + at_block.terms
            sample = (channel - t0 // taps) * job.row + (job.taps[i] - job.taps[first]) * tap_step
            for n in range(count):
                offset[n] = <int32_t> (sample + n * tap_step)
            if job.joined and at_block.pieces > 0 and (
                    (piece.channel - channel) * taps + piece.tap + piece.count == job.taps[i]):
                piece.count += count
            else:
                piece += 1
                piece.channel, piece.tap, piece.count = channel, job.taps[i], count
                if at_block.pieces == 0:
                    at_block.first_piece = piece - own.pieces
                at_block.pieces += 1
            at_block.terms += count
            i += count


cdef inline Py_ssize_t positions_of(
    const FewPositions *job, Py_ssize_t run
) noexcept nogil:
    """The positions of a run, fewer at the end of a signal."""
    return min(job.run, job.out.shape[2] - run % job.runs * job.run)


cdef void copy_samples_of_span(
    const FewPositions *job, Py_ssize_t group, Py_ssize_t t0, Py_ssize_t t1, Py_ssize_t first_run,
    Py_ssize_t last_run, real *panel
) noexcept nogil:
    """The samples that the terms of a span meet: see list_terms."""
    cdef const Geometry *g = job.g
    cdef Py_ssize_t taps = g.taps, run, channel, channels, first, last, sample, count
    for run in range(first_run, last_run):
        sample = run % job.runs * job.run * g.stride + job.taps[0] * g.dilation - g.pad_left
        if job.row == 1 and 0 <= sample < job.array.shape[2] and not job.array.pair:
            # a number of each channel
            channel = t0 // taps
            load_row[real](&job.array, at(&job.array, run // job.runs,
                                          group * job.channels + channel, sample),
                           job.array.strides[1], (t1 - 1) // taps + 1 - channel, panel)
            panel += job.run_pitch
            continue
        channel = t0 // taps
        while channel * taps < t1:
            first = living_before(job, max(t0 - channel * taps, 0))
            last = living_before(job, t1 - channel * taps)
            channels = 1
            if channel * taps >= t0:  # those of which the span has all taps
                channels = max(t1 // taps - channel, 1)
            channel += channels
            if first == last:
                continue
            sample = run % job.runs * job.run * g.stride + job.taps[first] * g.dilation - g.pad_left
            count = ((positions_of(job, run) - 1) * g.stride
                     + (job.taps[last - 1] - job.taps[first]) * g.dilation) // job.step + 1
            copy_rows[real](&job.array, run // job.runs,
                            group * job.channels + channel - channels, channels, sample, job.step,
                            count, panel + (channel - channels - t0 // taps) * job.row, job.row)
        panel += job.run_pitch


cdef void load_weights(
    const FewPositions *job, const FewPositionsScratch *own, const Block *terms, Py_ssize_t group,
    Py_ssize_t block, real *weights
) noexcept nogil:
    """weights[term][lane] of the terms of a block that meet samples."""
    cdef const View *w = &job.w
    cdef Py_ssize_t row = group * job.outs + block * job.lanes, lane, i
    cdef Py_ssize_t lanes = min(job.lanes, job.outs - block * job.lanes)
    cdef const Piece *piece = own.pieces + terms.first_piece
    cdef const Piece *end = piece + terms.pieces
    cdef real *buffer
    if job.packed != NULL:
        while piece < end:
            if piece + 1 < end:
                cc_prefetch(<const char *> (<const real *> job.packed + job.lanes * (
                    (group * job.blocks + block) * job.terms + piece[1].channel * job.g.taps
                    + piece[1].tap)), piece[1].count * job.lanes * sizeof(real))
            memcpy(weights, <const real *> job.packed + job.lanes * (
                       (group * job.blocks + block) * job.terms + piece.channel * job.g.taps
                       + piece.tap), piece.count * job.lanes * sizeof(real))
            weights += piece.count * job.lanes
            piece += 1
        return
    if job.transposable:
        while piece < end:
            job.tiles.transpose(weight_at(w, row, piece.channel, piece.tap), job.weight_rows, lanes,
                                piece.count, weights)
            weights += piece.count * job.lanes
            piece += 1
        return
    for lane in range(lanes):
        buffer = <real *> own.buffer + job.buffer_rows[lane]
        piece = own.pieces + terms.first_piece
        while piece < end:
            load_row[real](w, weight_at(w, row + lane, piece.channel, piece.tap), w.strides[2],
                           piece.count, buffer)
            if negated(w, row + lane, piece.channel):
                for i in range(piece.count):
                    buffer[i] = -buffer[i]
            buffer += piece.count
            piece += 1
    job.tiles.transpose(own.buffer, job.buffer_rows, lanes, terms.terms, weights)


cdef Ahead weights_ahead(
    const FewPositions *job, Py_ssize_t group, Py_ssize_t block, Py_ssize_t blocks,
    Py_ssize_t term
) noexcept nogil:
    """A block of terms of some blocks of channels, as it lies; nothing if that is not in rows."""
    cdef Ahead ahead
    ahead.first, ahead.rows, ahead.pitch, ahead.bytes = NULL, 0, 0, 0
    if block >= job.blocks or term >= job.terms or job.living < job.g.taps:
        return ahead
    if job.packed != NULL and blocks == 1:
        ahead.first = <const char *> job.packed + job.lanes * job.size * (
            (group * job.blocks + block) * job.terms + term)
        ahead.pitch = ahead.bytes = 8 * job.lanes * job.size
        ahead.rows = (min(job.terms - term, CC_BLOCK) + 7) // 8
    elif job.packed == NULL and job.transposable and job.joined:
        ahead.first = (weight_at(&job.w, group * job.outs + block * job.lanes, 0, 0)
                       + term * job.size)
        ahead.rows = min(job.outs - block * job.lanes, blocks * job.lanes)
        ahead.pitch = job.w.strides[0]
        ahead.bytes = min(job.terms - term, CC_BLOCK) * job.size
    return ahead


cdef void multiply_block(
    const FewPositions *job, const Block *terms, const int32_t *offset, const real *panel,
    const real *weights, Py_ssize_t block_pitch, Py_ssize_t blocks, Py_ssize_t first_run,
    Py_ssize_t last_run, real *totals, const real *bias, bint resume, const Ahead *ahead
) noexcept nogil:
    """Add a block of terms to the totals of some blocks of channels, at all positions of a strip.

    Meanwhile the weights of the next one are fetched, a few rows with each tile.
    """
    cdef const cc_tiles *tiles = job.tiles
    cdef const cc_gemm *gemm = tiles.gemm if job.width == job.lanes else tiles.gemm_narrow
    cdef Py_ssize_t x_row = job.g.stride // job.step, run = first_run, count, tile, p, rows, i
    cdef Py_ssize_t all_positions = (last_run - first_run) * job.run, done = 0, fetched = 0
    while run < last_run:
        if job.run == 1:
            count, x_row = last_run - first_run, job.run_pitch
        else:
            count = positions_of(job, run)
        if blocks > 1:
            while fetched < ahead.rows:
                cc_prefetch(ahead.first + fetched * ahead.pitch, ahead.bytes)
                fetched += 1
            tiles.gemm_wide[count](panel, x_row, offset, terms.terms, weights, job.lanes,
                                   block_pitch, totals, job.totals_row, bias, resume)
        # tiles share the positions evenly: a last one with few would be slow
        i = (count + tiles.gemm_rows - 1) // tiles.gemm_rows
        for tile in range(0 if blocks > 1 else i):
            p = tile * count // i
            rows = (tile + 1) * count // i - p
            done += rows
            while fetched * all_positions < done * ahead.rows:
                cc_prefetch(ahead.first + fetched * ahead.pitch, ahead.bytes)
                fetched += 1
            gemm[rows](panel + p * x_row, x_row, offset, terms.terms, weights, job.lanes,
                       totals + p * job.totals_row, job.totals_row, bias, resume)
        panel += job.run_pitch
        totals += job.run * job.totals_row
        run += count if job.run == 1 else 1


cdef inline void copy_stage(
    const real *rows, Py_ssize_t row, Py_ssize_t number, Py_ssize_t count, char *to,
    Py_ssize_t stride
) noexcept nogil:
    """Copy `number` rows of `count` numbers."""
    for number in range(number):
        copy_numbers[real](<real *> to, rows, count)
        rows += row
        to += stride


cdef inline Py_ssize_t segment_of(
    const FewPositions *job, Py_ssize_t run, Py_ssize_t last_run
) noexcept nogil:
    """Positions side by side in the results and in the totals, from a run on."""
    if job.run == 1:
        return min(job.runs - run % job.runs, last_run - run)
    return positions_of(job, run)


cdef void store_totals(
    const FewPositions *job, Py_ssize_t group, Py_ssize_t block, Py_ssize_t first_run,
    Py_ssize_t last_run, const real *totals, real *stage
) noexcept nogil:
    """The results of a block of channels, from [position][lane] to where they belong."""
    cdef const View *out = &job.out
    cdef Py_ssize_t lanes = min(job.lanes, job.outs - block * job.lanes)
    cdef Py_ssize_t channel = group * job.outs + block * job.lanes, in_stage = 0, staged = 0
    cdef Py_ssize_t run = first_run, count, some, lane, p, q = 0, n, position
    cdef bint along_channels = not out.pair and (
        max(out.strides[1], -out.strides[1]) < max(out.strides[2], -out.strides[2]))
    cdef bint contiguous = out.half == NULL and not out.pair and out.strides[2] == sizeof(real)
    cdef Py_ssize_t width = job.lanes if job.run > job.lanes else job.lanes // job.run * job.run
    while run < last_run:
        n, position = run // job.runs, run % job.runs * job.run
        count = segment_of(job, run, last_run)
        for p in range(count if along_channels else 0):
            store_row[real](out, at(out, n, channel, position + p), out.strides[1], lanes,
                            totals + (q + p) * job.totals_row)
        p = 0
        while p < count and not along_channels:
            if q + p >= staged:  # as many positions as are transposed at once, and whole runs
                in_stage = q + p
                staged = min(in_stage + width, (last_run - first_run) * job.run)
                job.tiles.transpose(totals + in_stage * job.totals_row, job.total_rows,
                                    staged - in_stage, lanes, stage)
            some = min(count - p, staged - (q + p))
            if contiguous:
                copy_stage(stage + (q + p - in_stage), job.lanes, lanes, some,
                           at(out, n, channel, position + p), out.strides[1])
            for lane in range(0 if contiguous else lanes):
                store_row[real](out, at(out, n, channel + lane, position + p), out.strides[2],
                                some, stage + (lane * job.lanes + q + p - in_stage))
            p += some
        q += count if job.run == 1 else job.run
        run += count if job.run == 1 else 1


cdef bint hold_spoiled(
    const FewPositions *job, Py_ssize_t first_run, Py_ssize_t last_run, const real *totals
) noexcept nogil:
    """Whether totals are not finite, of which zeros may have been terms: see recompute_spoiled."""
    cdef Py_ssize_t run, p, count
    cdef real sum = 0
    if not job.padded:
        return False
    for run in range(first_run, last_run):
        count = positions_of(job, run)
        if job.totals_row == job.width:
            job.tiles.sum_row(totals, count * job.lanes, &sum)
        else:
            for p in range(count):
                job.tiles.sum_row(totals + p * job.totals_row, job.width, &sum)
        totals += job.run * job.totals_row
    return not isfinite(sum)


cdef void sum_few_positions(
    const FewPositions *job, Py_ssize_t chunk, int worker, const real *biases, const real *packed
) noexcept nogil:
    """A strip of positions, for a part of a group's channels."""
    cdef FewPositionsScratch own
    cdef Py_ssize_t part = chunk % job.parts
    cdef Py_ssize_t group = chunk // job.parts % job.groups
    cdef Py_ssize_t strip = chunk // (job.parts * job.groups)
    cdef Py_ssize_t first_run = strip * job.strip
    cdef Py_ssize_t last_run = min(first_run + job.strip, job.array.shape[0] * job.runs)
    cdef Py_ssize_t first = part * job.blocks // job.parts
    cdef Py_ssize_t last = (part + 1) * job.blocks // job.parts
    cdef Py_ssize_t t0, t1, block, blocks, number, b, i, lane, block_pitch
    cdef bint in_place = job.packed != NULL and job.living == job.g.taps
    cdef Py_ssize_t in_span
    cdef const Block *terms
    cdef const real *weights
    cdef const real *bias
    cdef real *totals
    cdef Ahead ahead
    carve_own_few_positions(job, &own, job.workers + worker * job.worker_size)
    for t0 from job.first_block * CC_BLOCK <= t0 <= job.last_block * CC_BLOCK by job.span:
        if cc_pool_cancelled(worker):
            return
        t1 = min(t0 + job.span, job.terms)
        list_terms(job, &own, t0, t1)
        copy_samples_of_span[real](job, group, t0, t1, first_run, last_run, <real *> own.panel)
        in_span = (t1 - t0 + CC_BLOCK - 1) // CC_BLOCK
        block = first
        while block < last:
            blocks = job.together if block + job.together <= last else 1
            lane = block * job.lanes
            totals = <real *> own.totals
            if job.span < job.terms:
                totals += lane - first * job.lanes
            for i in range(in_span):
                terms, number = own.blocks + i, t0 // CC_BLOCK + i
                if terms.terms == 0:
                    continue
                if in_place:
                    weights = packed + job.lanes * ((group * job.blocks + block) * job.terms
                                                    + number * CC_BLOCK)
                    block_pitch = job.terms * job.lanes
                else:
                    weights = <real *> own.weights
                    block_pitch = CC_BLOCK * job.lanes
                    for b in range(blocks):
                        load_weights[real](job, &own, terms, group, block + b,
                                           <real *> own.weights + b * block_pitch)
                bias = NULL
                if number == job.last_block and biases != NULL:
                    bias = biases + group * job.blocks * job.lanes + lane
                if i + 1 < in_span:
                    ahead = weights_ahead(job, group, block, blocks, t0 + (i + 1) * CC_BLOCK)
                elif block + blocks < last:
                    ahead = weights_ahead(job, group, block + blocks, blocks, t0)
                else:
                    ahead = weights_ahead(job, group, first, blocks, t1)
                multiply_block[real](job, terms, own.offset + i * CC_BLOCK, <real *> own.panel,
                                     weights, block_pitch, blocks, first_run, last_run, totals,
                                     bias, number > job.first_block, &ahead)
            if t0 + job.span > job.last_block * CC_BLOCK:
                for b in range(blocks):
                    job.spoiled[worker] |= hold_spoiled[real](job, first_run, last_run,
                                                              totals + b * job.lanes)
                    store_totals[real](job, group, block + b, first_run, last_run,
                                       totals + b * job.lanes, <real *> own.stage)
            block += blocks


cdef void few_positions_chunk(void *context, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef const FewPositions *job = <const FewPositions *> context
    if job.size == sizeof(float):
        sum_few_positions[float](job, chunk, worker, <const float *> job.biases,
                                 <const float *> job.packed)
    else:
        sum_few_positions[double](job, chunk, worker, <const double *> job.biases,
                                  <const double *> job.packed)


cdef inline bint wastes_copies(const FewPositions *job) noexcept nogil:
    """Whether a row holds so many samples between taps that are far apart that to copy them counts.
    """
    cdef double met = job.run * <double> max(job.living, job.g.stride // job.step)
    return WASTED_COST * (job.row - met) > met * (job.blocks * job.width)


cdef void cut_strips(FewPositions *job, Py_ssize_t taps, Py_ssize_t most) noexcept nogil:
    """Strips of `most` positions, or fewer, whose samples stay in the cache.

    The last living tap is so many taps behind the first.
    """
    cdef const Geometry *g = job.g
    cdef Py_ssize_t length = job.out.shape[2], parts, reach
    job.span = min(rounded(job.terms, CC_BLOCK), SPAN_BLOCKS * CC_BLOCK)
    while True:
        if job.run > 1:
            parts = (length + most - 1) // most
            job.run = (length + parts - 1) // parts
        if job.run == 1:
            job.step = g.dilation
        reach = min(taps, job.span - 1) * g.dilation // job.step
        job.row = (job.run - 1) * g.stride // job.step + reach + 1
        if job.row >= ROW_SAMPLES:
            job.row = row_size(job.row)
        job.run_pitch = row_size(min(job.channels, job.span // g.taps + 2) * job.row)
        job.strip = max(most // job.run, 1)
        if job.strip * job.run_pitch * job.size <= PANEL_BYTES:
            break
        if most > MIN_STRIP_POSITIONS:
            most = max(most // 2, MIN_STRIP_POSITIONS)
        elif job.span > CC_BLOCK:
            job.span = CC_BLOCK
        elif most > 1:
            most //= 2
        else:
            break


cdef bint plan_few_positions(
    FewPositions *job, const Sum *sum, const View *array, const View *w, const View *out,
    Py_ssize_t size
) noexcept nogil:
    """Plan a sum for this nest; whether it can be one: see has_few_positions."""
    cdef const Geometry *g = sum.g
    cdef const PackedLayout *kept
    cdef Sum along_lanes = sum[0]
    cdef Py_ssize_t positions = out.shape[0] * out.shape[2], tap, first = -1, last = -1, most, rows
    cdef bint shared
    job.g, job.array, job.w, job.out, job.size = g, array[0], w[0], out[0], size
    job.groups, job.channels, job.outs, job.terms = sum.groups, sum.channels, sum.outs, sum.terms
    job.living = 0
    for tap in range(g.taps):
        if meets_sample(job.g, tap):
            first, last = tap if first < 0 else first, tap
            job.living += 1
    if job.living == 0 or job.channels == 0:
        return False
    job.first_block = first // CC_BLOCK
    job.padded = array.mode == CCONV1D_ZEROS and (g.pad_left > 0 or (
        (out.shape[2] - 1) * g.stride + last * g.dilation - g.pad_left >= array.shape[2]))
    job.last_block = ((job.channels - 1) * g.taps + last) // CC_BLOCK
    job.tiles = sum.tiles
    lay_along_lanes(&along_lanes)
    # groups of one channel are packed as lanes of one group, which is another nest's
    kept = NULL
    if not along_lanes.depthwise:
        kept = packed_for(w, &along_lanes)
    job.packed = NULL if kept == NULL else <void *> kept.numbers  # which are only read
    if kept == NULL and sum.tiles.narrower != NULL and sum.outs <= sum.tiles.narrower.gemm_lanes:
        job.tiles = sum.tiles.narrower
    job.lanes = job.tiles.gemm_lanes
    job.blocks = (job.outs + job.lanes - 1) // job.lanes
    job.width = job.lanes // 2 if 2 * job.outs <= job.lanes else job.lanes
    job.joined = not w.pair and w.strides[1] == g.taps * w.strides[2]
    job.transposable = (w.half == NULL and not w.pair and w.strides[2] == size
                        and w.strides[0] % size == 0
                        and max(w.strides[0], -w.strides[0]) // size < INT32_MAX // job.lanes)
    if job.packed != NULL:
        job.transposable = True  # nothing is loaded but what was packed
    job.threads = threads_for(out.shape[0] * out.shape[1] * out.shape[2], sum.terms)

    # Positions of a signal share rows of samples, unless there is one, or most samples of a row
    # would be between those that taps meet.
    job.run = out.shape[2]
    job.step = g.stride // g.period if g.taps > 1 else g.stride
    most = min(positions, STRIP_POSITIONS)
    if job.threads > 1 and job.blocks * job.groups < job.threads and positions >= PART_POSITIONS:
        most = min(most, (positions + job.threads - 1) // job.threads)
    if g.taps > 1 and g.stride > WASTED_SAMPLES * g.taps * job.step:
        job.run = 1
    shared = job.run > 1
    cut_strips(job, last - first, most)
    if shared and (job.run == 1 or wastes_copies(job)):
        if positions > OWN_ROWS_POSITIONS:
            return False  # panels copy what taps meet, and no more
        job.run = 1
        cut_strips(job, last - first, most)
    job.runs = (out.shape[2] + job.run - 1) // job.run
    job.strip = min(job.strip, out.shape[0] * job.runs)
    job.strips = (out.shape[0] * job.runs + job.strip - 1) // job.strip
    # tiles of several blocks, if all of them have so few positions
    rows = job.run
    if job.run == 1:
        rows = positions if job.strips == 1 else CC_ROWS
    job.together = 1
    if (rows <= CC_WIDE_ROWS and job.width == job.lanes and out.shape[2] % job.run == 0
            and job.tiles.gemm_wide_blocks[rows] <= job.blocks):
        job.together = job.tiles.gemm_wide_blocks[rows]
    # totals of several spans stay in the second-level cache
    job.parts = 1
    if job.threads > 1:
        job.parts = (2 * job.threads + job.strips * job.groups - 1) // (job.strips * job.groups)
    job.parts = min(job.blocks, max(job.parts, job.blocks * job.lanes * job.strip * job.run * size
                                    // RESULT_BYTES + 1 if job.span < job.terms else 1))
    job.totals_row = job.together * job.lanes
    if job.span < job.terms:
        job.totals_row = row_size((job.blocks + job.parts - 1) // job.parts * job.lanes)
    job.threads = <int> min(job.threads, job.parts * job.strips * job.groups)
    return True


cdef void load_group_biases(const FewPositions *job, const View *bias, real *biases) noexcept nogil:
    """biases[group][block][lane], zeros in lanes without a channel"""
    cdef Py_ssize_t group, row
    memset(biases, 0, job.groups * job.blocks * job.lanes * sizeof(real))
    for group in range(job.groups):
        for row in range(job.outs):
            load_row[real](bias, line_at(bias, group * job.outs + row), 0, 1,
                           biases + group * job.blocks * job.lanes + row)


cdef bint sum_few(
    FewPositions *job, const Sum *sum, const View *bias
) noexcept nogil:
    """A planned job; false if memory ran out, with nothing stored."""
    cdef Py_ssize_t i
    cdef bint spoiled = False
    cdef uintptr_t start
    cdef Arena arena
    job.biased = bias.data != NULL
    start = arena_open(&arena, carve_few_positions(job, 0))
    if start == 0:
        return False
    carve_few_positions(job, start)
    job.living = 0
    for i in range(job.g.taps):
        if meets_sample(job.g, i):
            job.taps[job.living] = <int32_t> i
            job.living += 1
    for i in range(job.lanes):
        job.weight_rows[i] = <int32_t> (i * (job.w.strides[0] // job.size))
        job.buffer_rows[i] = <int32_t> (i * BUFFER_ROW)
        job.total_rows[i] = <int32_t> (i * job.totals_row)
    if job.biased:
        if job.size == sizeof(float):
            load_group_biases[float](job, bias, <float *> job.biases)
        else:
            load_group_biases[double](job, bias, <double *> job.biases)
    memset(job.spoiled, 0, job.threads)
    cc_pool_run(few_positions_chunk, job, job.parts * job.strips * job.groups, job.threads)
    for i in range(job.threads):
        spoiled |= job.spoiled[i]
    if spoiled:
        if job.size == sizeof(float):
            recompute_spoiled[float](sum, &job.array, &job.w, bias, &job.out, 0)
        else:
            recompute_spoiled[double](sum, &job.array, &job.w, bias, &job.out, 0)
    arena_close(&arena)
    return True
