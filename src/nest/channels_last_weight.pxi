# backward_weight of channels-last arrays (NLC), depthwise or of few terms: lanes along rows of dw.
#
#     dw[row, t] = Σ_{n,p} dy[n, p, row] · x[n, p·stride + tap·dilation − pad_left, channel]
#
# Takes  Views of dy and x with a channel stride of one number, in any real format; of dw, any.
# Gives  dw with the bits of dw_dot, whose lanes are along positions: here each term has a vector of
#        sums for every position modulo CC_LANES. False if memory ran out.
#
# In a depthwise layer the terms are taps, and each lane has a sample of its own. Where a group has
# few terms, taps of a few channels, a sample goes to all lanes; dw_dot would transpose all of dy.
#
# Samples are read in place, but for the ends of a signal, rows that fill no vector, half precision,
# and layers with many taps: these read a panel, as in channels_last.pxi.
#
# Loops, outermost first: chunks of the pool (some blocks of rows, some terms); samples; ranges of
# positions; strips of them; blocks of rows; tiles (a few terms).

cdef struct ChannelsLastWeight:
    # A job for the pool. Its chunks are some blocks of rows by some terms of dw.
    const cc_tiles *tiles
    const cc_dw_depthwise *tile
    Py_ssize_t most_terms               # of a tile
    bint spread                         # a sample goes to all lanes
    Py_ssize_t channels                 # that a position reads: those of a group, or a block
    Py_ssize_t rows, group_blocks       # of dw, and blocks of them, in a group
    const Geometry *g
    View dy, x, dw
    Ranges ranges
    Py_ssize_t lanes                    # rows of a block
    Py_ssize_t blocks, part_blocks, block_parts
    Py_ssize_t terms, part_terms, term_parts
    Py_ssize_t strip                    # positions that one block after another reads
    Py_ssize_t reach                    # samples that a strip reads, in a panel; 0: no panel of all
    Py_ssize_t panel_size
    Py_ssize_t size                     # of a number, in bytes
    int threads
    uintptr_t workers                   # the threads' own scratch
    Py_ssize_t worker_size


cdef struct ChannelsLastWeightScratch:
    # What a thread has for itself.
    void *sums         # [block][position modulo CC_LANES][term][lane]
    void *chains       # the same, of the range that is under way
    void *panel        # samples [sample][channel] or, term by term, [term][position][lane, if any]
    void *dy_copies    # [position][lane]
    int32_t *in_place  # [term] in x, or in a panel of all samples
    int32_t *offset    # [term] in a panel of samples term by term


cdef uintptr_t carve_own_channels_last_weight(
    const ChannelsLastWeight *job, ChannelsLastWeightScratch *own, uintptr_t next
) noexcept nogil:
    cdef Py_ssize_t sums = job.part_blocks * CC_LANES * job.part_terms * job.lanes
    own.sums = carve(&next, sums * job.size)
    own.chains = carve(&next, sums * job.size)
    own.panel = carve(&next, job.panel_size * job.size)
    own.dy_copies = carve(&next, job.strip * job.lanes * job.size)
    own.in_place = <int32_t *> carve(&next, job.part_terms * sizeof(int32_t))
    own.offset = <int32_t *> carve(&next, CC_DOT_TERMS * sizeof(int32_t))
    return next


cdef inline Py_ssize_t sample_of(
    const Geometry *g, Py_ssize_t position, Py_ssize_t tap
) noexcept nogil:
    return position * g.stride + tap * g.dilation - g.pad_left


cdef struct BlockRows:
    # Of all groups' rows: where those of a block begin, how many, and how many of them are those of
    # the block before, too, so that a last block is whole.
    Py_ssize_t first, count, shared


cdef inline BlockRows rows_of_block(
    const ChannelsLastWeight *job, Py_ssize_t block
) noexcept nogil:
    cdef BlockRows rows
    cdef Py_ssize_t group = block // job.group_blocks * job.rows
    cdef Py_ssize_t first = block % job.group_blocks * job.lanes
    rows.count = min(job.lanes, job.rows)
    rows.first = min(first, job.rows - rows.count)
    rows.shared = first - rows.first
    rows.first += group
    return rows


cdef void add_strip(
    const ChannelsLastWeight *job, const ChannelsLastWeightScratch *own, Py_ssize_t n,
    Py_ssize_t block, Py_ssize_t p, Py_ssize_t count, Py_ssize_t term, Py_ssize_t terms,
    real *chains, real *sums, bint resume
) noexcept nogil:
    """chains[position modulo CC_LANES][term][lane] of `count` positions, `terms` from `term` on."""
    cdef const Geometry *g = job.g
    cdef BlockRows rows = rows_of_block(job, block)
    cdef Py_ssize_t channel = (
        block // job.group_blocks * job.channels if job.spread else rows.first)
    cdef Py_ssize_t channels = job.channels if job.spread else rows.count
    cdef Py_ssize_t lanes = 1 if job.spread else job.lanes  # that a term's sample is copied to
    cdef Py_ssize_t tap = 0 if job.spread else term
    cdef Py_ssize_t last_tap = (g.taps if job.spread else term + terms) - 1
    cdef Py_ssize_t row = job.part_terms * job.lanes, tiles, tile, t, next_t = 0, i
    cdef Py_ssize_t x_row = job.x.strides[2] // <Py_ssize_t> sizeof(real) * g.stride
    cdef Py_ssize_t dy_row = job.dy.strides[2] // <Py_ssize_t> sizeof(real)
    cdef bint whole = rows.count == job.lanes
    cdef bint inside = (sample_of(g, p, tap) >= 0
                        and sample_of(g, p + count - 1, last_tap) < job.x.shape[2])
    cdef const int32_t *offset = own.in_place
    cdef const real *x = <const real *> own.panel
    cdef const real *dy = <const real *> own.dy_copies
    if whole and job.dy.half == NULL:
        dy = <const real *> at(&job.dy, n, rows.first, p)
    else:
        dy_row = job.lanes
        copy_samples[real](&job.dy, n, rows.first, rows.count, p, 1, count,
                           <real *> own.dy_copies, job.lanes)
    if job.reach:
        x_row = job.channels * g.stride
        copy_samples[real](&job.x, n, channel, channels, sample_of(g, p, tap), 1,
                           (count - 1) * g.stride + (last_tap - tap) * g.dilation + 1,
                           <real *> own.panel, job.channels)
    elif inside and (whole or job.spread) and job.x.half == NULL:
        x = <const real *> at(&job.x, n, channel, sample_of(g, p, tap))
    else:
        x_row, offset = lanes, NULL
    tiles = (terms + job.most_terms - 1) // job.most_terms
    for tile in range(tiles):
        t, next_t = next_t, (tile + 1) * terms // tiles
        if offset == NULL:
            for i in range(t, next_t):
                copy_samples[real](
                    &job.x, n, channel + (i // g.taps if job.spread else 0),
                    1 if job.spread else channels,
                    sample_of(g, p, i % g.taps if job.spread else tap + i), g.stride, count,
                    <real *> own.panel + own.offset[i - t], lanes)
        job.tile[next_t - t](
            x, x_row, offset + t if offset != NULL else own.offset, dy, dy_row, count,
            chains + t * job.lanes, sums + t * job.lanes if sums != NULL else NULL, row, resume)


cdef void store_block_sums(
    const ChannelsLastWeight *job, Py_ssize_t block, Py_ssize_t term, Py_ssize_t terms, real *sums
) noexcept nogil:
    """sums[position modulo CC_LANES][term][lane] of a block into dw, folded as fold_lanes does."""
    cdef Py_ssize_t row = job.part_terms * job.lanes
    cdef BlockRows rows = rows_of_block(job, block)
    cdef Py_ssize_t half = CC_LANES // 2, t, lane, i
    while half > 0:
        for i in range(half * row):
            sums[i] += sums[i + half * row]
        half //= 2
    for lane in range(rows.shared, rows.count):
        for t in range(terms):
            store_row[real](&job.dw, weight_at(&job.dw, rows.first + lane, (term + t) // job.g.taps,
                                               (term + t) % job.g.taps), 0, 1,
                            sums + (t * job.lanes + lane))


cdef void channels_last_weight_part(
    const ChannelsLastWeight *job, const ChannelsLastWeightScratch *own, Py_ssize_t chunk,
    int worker, real *sums, real *chains
) noexcept nogil:
    cdef Py_ssize_t term = chunk % job.term_parts * job.part_terms
    cdef Py_ssize_t terms = min(job.part_terms, job.terms - term)
    cdef Py_ssize_t first_block = chunk // job.term_parts * job.part_blocks
    cdef Py_ssize_t blocks = min(job.part_blocks, job.blocks - first_block)
    cdef Py_ssize_t block_size = CC_LANES * job.part_terms * job.lanes
    cdef Py_ssize_t length = job.dy.shape[2], n, p0, p, end, count, i, block
    cdef Py_ssize_t row = job.channels if job.reach else (
        job.x.strides[2] // <Py_ssize_t> sizeof(real))
    memset(sums, 0, blocks * block_size * sizeof(real))
    for i in range(terms):
        own.in_place[i] = <int32_t> (i % job.g.taps * job.g.dilation * row + i // job.g.taps)
    for i in range(CC_DOT_TERMS):
        own.offset[i] = <int32_t> (i * job.strip * (1 if job.spread else job.lanes))
    for n in range(job.dy.shape[0]):
        p0 = 0
        while p0 < length:
            if cc_pool_cancelled(worker):
                return
            end = p0 + range_at(&job.ranges, p0, length)
            for p from p0 <= p < end by job.strip:
                count = min(job.strip, end - p)
                for block in range(blocks):
                    add_strip[real](
                        job, own, n, first_block + block, p, count, term, terms,
                        chains + block * block_size,
                        sums + block * block_size if p + count == end else NULL, p > p0)
            p0 = end
    for block in range(blocks):
        store_block_sums[real](job, first_block + block, term, terms, sums + block * block_size)


cdef void channels_last_weight_chunk(
    void *context, Py_ssize_t chunk, int worker
) noexcept nogil:
    cdef const ChannelsLastWeight *job = <const ChannelsLastWeight *> context
    cdef ChannelsLastWeightScratch own
    carve_own_channels_last_weight(job, &own, job.workers + worker * job.worker_size)
    if job.size == sizeof(float):
        channels_last_weight_part[float](job, &own, chunk, worker, <float *> own.sums,
                                         <float *> own.chains)
    else:
        channels_last_weight_part[double](job, &own, chunk, worker, <double *> own.sums,
                                          <double *> own.chains)


cdef bint plan_channels_last_weight(
    ChannelsLastWeight *job, const cc_tiles *tiles, const View *dy, const View *x, const View *dw,
    const Geometry *g, Py_ssize_t groups, Py_ssize_t size
) noexcept nogil:
    """Whether such a gradient is one for this nest, and then how."""
    cdef Py_ssize_t item = sizeof(uint16_t) if x.half != NULL else size
    cdef Py_ssize_t row, reach, strip, most = STRIP_BYTES, worth = WORTH_COPYING
    cdef Terms terms
    if dw.pair or dy.shape[0] == 0 or groups == 0 or dw.shape[1] == 0:
        return False
    if not (has_unit_channel_stride(x, item) and has_unit_channel_stride(dy, item)):
        return False
    job.tiles, job.g, job.size = tiles, g, size
    job.dy, job.x, job.dw = dy[0], x[0], dw[0]
    job.x.mode = g.mode
    terms = terms_of_input(g, dw.shape[1], True)
    job.ranges = dot_ranges(&terms, x.shape[2], dy.shape[2], PANEL_BYTES // size)
    job.lanes = tiles.gemm_lanes
    job.spread = dw.shape[0] != groups or dw.shape[1] != 1
    if job.spread:
        job.rows, job.terms, job.channels = dw.shape[0] // groups, dw.shape[1] * g.taps, dw.shape[1]
        job.tile, job.most_terms = tiles.dw_spread, tiles.dw_spread_terms
        if job.terms >= FEW_ROWS:  # the others are not summed as dw_dot does
            return False
    else:
        groups, job.rows, job.terms, job.channels = 1, groups, g.taps, job.lanes
        job.tile, job.most_terms = tiles.dw_depthwise, tiles.dw_depthwise_terms
    # most lanes would be idle, or dy copied, as long as which dw_dot takes
    if not job.spread and channels_last_least > 0 and job.x.half == NULL and not gains_depthwise(
            job.rows, job.lanes, g.taps, g.stride, DEPTHWISE_WEIGHT_LANES,
            DEPTHWISE_WEIGHT_PART_LANES):
        return False
    if job.rows == 1 or job.rows * (1 if job.spread else 4) < job.lanes:
        return False
    job.group_blocks = (job.rows + job.lanes - 1) // job.lanes
    job.blocks = groups * job.group_blocks
    # offsets fit int32
    row = max(x.strides[2], -x.strides[2]) // size
    if g.taps * g.dilation > INT32_MAX // max(row, job.channels):
        return False
    row = job.lanes * size
    job.part_terms = job.terms
    if not job.spread:
        job.part_terms = min(g.taps, SUMS_BYTES // 2 // (CC_LANES * row))
    job.term_parts = (job.terms + job.part_terms - 1) // job.part_terms
    job.threads = threads_for(dw.shape[0] * job.terms, job.dy.shape[0] * job.dy.shape[2])
    if job.spread and 2 * job.blocks < job.threads:  # dw_dot shares out single rows
        return False
    job.part_blocks = max(1, CHAINS_BYTES // (CC_LANES * row * job.part_terms))
    job.part_blocks = min(job.part_blocks, max(1, job.blocks * job.term_parts // job.threads))
    job.block_parts = (job.blocks + job.part_blocks - 1) // job.part_blocks
    job.threads = <int> min(job.threads, job.block_parts * job.term_parts)
    # a panel of all samples where that pays, or where they are converted
    row = job.channels * size
    reach = ((g.taps if job.spread else job.part_terms) - 1) * g.dilation + 1
    strip = LANES_WEIGHT_STRIP * (2 if job.spread else 1)
    strip = rounded(min(job.ranges.positions, strip), CC_LANES)
    job.strip, job.reach = strip, 0
    if job.rows < job.lanes:  # all samples are copied, else once for each term
        most, worth = PANEL_BYTES, 1
    while strip > CC_LANES and ((strip - 1) * g.stride + reach) * row > most:
        strip -= CC_LANES
    reach += (strip - 1) * g.stride
    if reach * row <= most and (job.x.half != NULL or not job.spread
                                and reach * worth <= strip * job.part_terms):
        job.strip, job.reach = strip, reach
    elif x.strides[2] % CROWDED_BYTES == 0 or dy.strides[2] % CROWDED_BYTES == 0:
        job.strip = CC_LANES
    job.panel_size = max(job.reach * job.channels,
                         CC_DOT_TERMS * job.strip * (1 if job.spread else job.lanes))
    return True


cdef bint channels_last_weight(ChannelsLastWeight *job) noexcept nogil:
    """A planned job; false if memory ran out, with nothing stored."""
    cdef ChannelsLastWeightScratch own
    cdef Arena arena
    cdef uintptr_t start
    job.worker_size = carve_own_channels_last_weight(job, &own, 0)
    start = arena_open(&arena, job.threads * job.worker_size)
    if start == 0:
        return False
    job.workers = start
    cc_pool_run(channels_last_weight_chunk, job, job.block_parts * job.term_parts, job.threads)
    arena_close(&arena)
    return True
