# backward_weight of channels-last arrays (NLC), depthwise: lanes along channels.
#
#     dw[c, 0, tap] = Σ_{n,p} dy[n, p, c] · x[n, p·stride + tap·dilation − pad_left, c]
#
# Takes  Views of dy and x with a channel stride of one number, in any real format; of dw, any.
# Gives  dw with the bits of dw_dot, whose lanes are along positions: here each tap has a vector of
#        sums for every position modulo CC_LANES. False if memory ran out.
#
# Samples are read in place, but for the ends of a signal, channels that fill no vector, half
# precision, and layers with many taps: these read a panel, as in channels_last.pxi.
#
# Loops, outermost first: chunks of the pool (some blocks of channels, some taps); samples; ranges
# of positions; strips of them; blocks of channels; tiles (a few taps).

cdef struct DepthwiseWeight:
    # A job for the pool. Its chunks are some blocks of channels by some taps of dw.
    const cc_tiles *tiles
    const Geometry *g
    View dy, x, dw
    Ranges ranges
    Py_ssize_t lanes                    # channels of a block
    Py_ssize_t blocks, part_blocks, block_parts
    Py_ssize_t part_taps, tap_parts
    Py_ssize_t strip                    # positions that one block after another reads
    Py_ssize_t reach                    # samples that a strip reads, in a panel; 0: no panel of all
    Py_ssize_t panel_size
    Py_ssize_t size                     # of a number, in bytes
    int threads
    uintptr_t workers                   # the threads' own scratch
    Py_ssize_t worker_size


cdef struct DepthwiseWeightScratch:
    # What a thread has for itself.
    void *sums         # [block][position modulo CC_LANES][tap][lane]
    void *chains       # the same, of the range that is under way
    void *panel        # samples [sample][lane] or [tap][position][lane]
    void *dy_copies    # [position][lane]
    int32_t *in_place  # [tap] in x, or in a panel of all samples
    int32_t *offset    # [tap] in a panel of samples tap by tap


cdef uintptr_t carve_own_depthwise_weight(
    const DepthwiseWeight *job, DepthwiseWeightScratch *own, uintptr_t next
) noexcept nogil:
    cdef Py_ssize_t sums = job.part_blocks * CC_LANES * job.part_taps * job.lanes
    own.sums = carve(&next, sums * job.size)
    own.chains = carve(&next, sums * job.size)
    own.panel = carve(&next, job.panel_size * job.size)
    own.dy_copies = carve(&next, job.strip * job.lanes * job.size)
    own.in_place = <int32_t *> carve(&next, job.part_taps * sizeof(int32_t))
    own.offset = <int32_t *> carve(&next, CC_DOT_TERMS * sizeof(int32_t))
    return next


cdef inline Py_ssize_t sample_of(
    const Geometry *g, Py_ssize_t position, Py_ssize_t tap
) noexcept nogil:
    return position * g.stride + tap * g.dilation - g.pad_left


cdef void add_depthwise_strip(
    const DepthwiseWeight *job, const DepthwiseWeightScratch *own, Py_ssize_t n, Py_ssize_t block,
    Py_ssize_t p, Py_ssize_t count, Py_ssize_t tap, Py_ssize_t taps, real *chains, real *sums,
    bint resume
) noexcept nogil:
    """chains[position modulo CC_LANES][tap][lane] of `count` positions, `taps` from `tap` on."""
    cdef const Geometry *g = job.g
    cdef Py_ssize_t channel = block * job.lanes, row = job.part_taps * job.lanes
    cdef Py_ssize_t channels = min(job.lanes, job.x.shape[1] - channel)
    cdef Py_ssize_t tiles, tile, t, next_t = 0, i
    cdef Py_ssize_t x_row = job.x.strides[2] // <Py_ssize_t> sizeof(real) * g.stride
    cdef Py_ssize_t dy_row = job.dy.strides[2] // <Py_ssize_t> sizeof(real)
    cdef bint whole = channels == job.lanes
    cdef bint inside = (sample_of(g, p, tap) >= 0
                        and sample_of(g, p + count - 1, tap + taps - 1) < job.x.shape[2])
    cdef const int32_t *offset = own.in_place
    cdef const real *x = <const real *> own.panel
    cdef const real *dy = <const real *> own.dy_copies
    if whole and job.dy.half == NULL:
        dy = <const real *> at(&job.dy, n, channel, p)
    else:
        dy_row = job.lanes
        copy_samples[real](&job.dy, n, channel, channels, p, 1, count, <real *> own.dy_copies,
                           job.lanes)
    if job.reach:
        x_row = job.lanes * g.stride
        copy_samples[real](&job.x, n, channel, channels, sample_of(g, p, tap), 1,
                           (count - 1) * g.stride + (taps - 1) * g.dilation + 1,
                           <real *> own.panel, job.lanes)
    elif inside and whole and job.x.half == NULL:
        x = <const real *> at(&job.x, n, channel, sample_of(g, p, tap))
    else:
        x_row, offset = job.lanes, NULL
    tiles = (taps + job.tiles.dw_depthwise_terms - 1) // job.tiles.dw_depthwise_terms
    for tile in range(tiles):
        t, next_t = next_t, (tile + 1) * taps // tiles
        if offset == NULL:
            for i in range(t, next_t):
                copy_samples[real](&job.x, n, channel, channels, sample_of(g, p, tap + i), g.stride,
                                   count, <real *> own.panel + own.offset[i - t], job.lanes)
        job.tiles.dw_depthwise[next_t - t](
            x, x_row, offset + t if offset != NULL else own.offset, dy, dy_row, count,
            chains + t * job.lanes, sums + t * job.lanes if sums != NULL else NULL, row, resume)


cdef void store_depthwise_sums(
    const DepthwiseWeight *job, Py_ssize_t block, Py_ssize_t tap, Py_ssize_t taps, real *sums
) noexcept nogil:
    """sums[position modulo CC_LANES][tap][lane] of a block into dw, folded as fold_lanes does."""
    cdef Py_ssize_t row = job.part_taps * job.lanes, first = block * job.lanes
    cdef Py_ssize_t half = CC_LANES // 2, t, lane, i
    while half > 0:
        for i in range(half * row):
            sums[i] += sums[i + half * row]
        half //= 2
    for lane in range(min(job.lanes, job.dw.shape[0] - first)):
        for t in range(taps):
            store_row[real](&job.dw, weight_at(&job.dw, first + lane, 0, tap + t), 0, 1,
                            sums + (t * job.lanes + lane))


cdef void depthwise_weight_part(
    const DepthwiseWeight *job, const DepthwiseWeightScratch *own, Py_ssize_t chunk, int worker,
    real *sums, real *chains
) noexcept nogil:
    cdef Py_ssize_t tap = chunk % job.tap_parts * job.part_taps
    cdef Py_ssize_t taps = min(job.part_taps, job.g.taps - tap)
    cdef Py_ssize_t first_block = chunk // job.tap_parts * job.part_blocks
    cdef Py_ssize_t blocks = min(job.part_blocks, job.blocks - first_block)
    cdef Py_ssize_t block_size = CC_LANES * job.part_taps * job.lanes
    cdef Py_ssize_t length = job.dy.shape[2], n, p0, p, end, count, i, block
    cdef Py_ssize_t row = job.lanes if job.reach else (
        job.x.strides[2] // <Py_ssize_t> sizeof(real))
    memset(sums, 0, blocks * block_size * sizeof(real))
    for i in range(taps):
        own.in_place[i] = <int32_t> (i * job.g.dilation * row)
    for i in range(CC_DOT_TERMS):
        own.offset[i] = <int32_t> (i * job.strip * job.lanes)
    for n in range(job.dy.shape[0]):
        p0 = 0
        while p0 < length:
            if cc_pool_cancelled(worker):
                return
            end = p0 + range_at(&job.ranges, p0, length)
            for p from p0 <= p < end by job.strip:
                count = min(job.strip, end - p)
                for block in range(blocks):
                    add_depthwise_strip[real](
                        job, own, n, first_block + block, p, count, tap, taps,
                        chains + block * block_size,
                        sums + block * block_size if p + count == end else NULL, p > p0)
            p0 = end
    for block in range(blocks):
        store_depthwise_sums[real](job, first_block + block, tap, taps, sums + block * block_size)


cdef void depthwise_weight_chunk(void *context, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef const DepthwiseWeight *job = <const DepthwiseWeight *> context
    cdef DepthwiseWeightScratch own
    carve_own_depthwise_weight(job, &own, job.workers + worker * job.worker_size)
    if job.size == sizeof(float):
        depthwise_weight_part[float](job, &own, chunk, worker, <float *> own.sums,
                                     <float *> own.chains)
    else:
        depthwise_weight_part[double](job, &own, chunk, worker, <double *> own.sums,
                                      <double *> own.chains)


cdef bint plan_depthwise_weight(
    DepthwiseWeight *job, const cc_tiles *tiles, const View *dy, const View *x, const View *dw,
    const Geometry *g, Py_ssize_t groups, Py_ssize_t size
) noexcept nogil:
    """Whether such a gradient is one for this nest, and then how."""
    cdef Py_ssize_t item = sizeof(uint16_t) if x.half != NULL else size
    cdef Py_ssize_t row, reach, strip
    cdef Terms terms
    if dw.shape[0] != groups or dw.shape[1] != 1 or dw.pair or dy.shape[0] == 0:
        return False
    if not (has_unit_channel_stride(x, item) and has_unit_channel_stride(dy, item)):
        return False
    job.tiles, job.g, job.size = tiles, g, size
    job.dy, job.x, job.dw = dy[0], x[0], dw[0]
    job.x.mode = g.mode
    terms = terms_of_input(g, 1, True)
    job.ranges = dot_ranges(&terms, x.shape[2], dy.shape[2], PANEL_BYTES // size)
    job.lanes = tiles.gemm_lanes
    if groups == 1 or groups * 4 < job.lanes:  # most lanes would be idle
        return False
    job.blocks = (groups + job.lanes - 1) // job.lanes
    # offsets fit int32
    row = max(x.strides[2], -x.strides[2]) // size
    if g.taps * g.dilation > INT32_MAX // max(row, job.lanes):
        return False
    row = job.lanes * size
    job.part_taps = min(g.taps, SUMS_BYTES // 2 // (CC_LANES * row))
    job.tap_parts = (g.taps + job.part_taps - 1) // job.part_taps
    job.threads = threads_for(job.x.shape[1] * g.taps, job.dy.shape[0] * job.dy.shape[2])
    job.part_blocks = max(1, CHAINS_BYTES // (CC_LANES * row * job.part_taps))
    job.part_blocks = min(job.part_blocks, max(1, job.blocks * job.tap_parts // job.threads))
    job.block_parts = (job.blocks + job.part_blocks - 1) // job.part_blocks
    job.threads = <int> min(job.threads, job.block_parts * job.tap_parts)
    # a panel of all samples where that pays, or where they are converted
    reach = (job.part_taps - 1) * g.dilation + 1
    strip = rounded(min(job.ranges.positions, DEPTHWISE_WEIGHT_STRIP), CC_LANES)
    job.strip, job.reach = strip, 0
    while strip > CC_LANES and ((strip - 1) * g.stride + reach) * row > STRIP_BYTES:
        strip -= CC_LANES
    reach += (strip - 1) * g.stride
    if reach * row <= STRIP_BYTES and (
            job.x.half != NULL or reach * WORTH_COPYING <= strip * job.part_taps):
        job.strip, job.reach = strip, reach
    elif x.strides[2] % CROWDED_BYTES == 0 or dy.strides[2] % CROWDED_BYTES == 0:
        job.strip = CC_LANES
    job.panel_size = max(job.reach, CC_DOT_TERMS * job.strip) * job.lanes
    return True


cdef bint depthwise_weight(DepthwiseWeight *job) noexcept nogil:
    """A planned job; false if memory ran out, with nothing stored."""
    cdef DepthwiseWeightScratch own
    cdef Arena arena
    cdef uintptr_t start
    job.worker_size = carve_own_depthwise_weight(job, &own, 0)
    start = arena_open(&arena, job.threads * job.worker_size)
    if start == 0:
        return False
    job.workers = start
    cc_pool_run(depthwise_weight_chunk, job, job.block_parts * job.tap_parts, job.threads)
    arena_close(&arena)
    return True
