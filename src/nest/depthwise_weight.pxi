# backward_weight of depthwise layers with few positions: lanes along channels.
#
#     dw[lane, tap] = Σ_{n,p} dy[n, lane, p] · x[n, lane, p·stride + tap·dilation − pad_left]
#
# Takes  Views of dy, x and dw with any strides and real formats; groups have one channel each.
# Gives  dw; false if memory ran out; or, if it is to look, -1 where a dy that may not be finite
#        meets zeros beyond the ends of x, and then nothing is stored.
#
# dy and x are transposed, some blocks of channels of a few samples at a time, and the sums stay in
# registers for as many taps as there is room for. Samples are summed in order: a chain runs over as
# many whole ones as have CC_BLOCK positions, or over CC_BLOCK positions of a longer one, and the
# chains are added in order. Taps that meet nothing but zeros have no sum.
#
# Loops, outermost first: chunks of the pool (some blocks of lanes); panels of samples, each a part
# of a chain; blocks; tiles (taps).

cdef struct DepthwiseGradient:
    # A job for the pool. A chunk is some blocks of lanes, summed from begin to end by one thread.
    const cc_tiles *tiles
    View dy, x
    View dw                     # [0][channel][tap]
    const Geometry *g
    Py_ssize_t channels, lanes, blocks, chunks
    Py_ssize_t first_tap, end_tap      # that meet a sample
    Py_ssize_t first_sample, samples   # that they read, also beyond the ends
    Py_ssize_t at_once          # blocks of a chunk
    Py_ssize_t most             # samples of the batch in a panel
    bint padded                 # some of what they read are zeros beyond the ends
    bint looks                  # whether dy is finite
    Py_ssize_t size             # of a number, in bytes
    int threads
    void *sums                  # [block][tap][lane]
    uintptr_t workers           # the threads' own scratch
    Py_ssize_t worker_size
    char[CC_POOL_MAX] finite    # what a worker has read of dy


cdef struct DepthwiseGradientScratch:
    # What a thread has for itself.
    void *x      # [sample of the batch][block][sample][lane]
    void *dy     # [sample of the batch][block][position][lane]
    void *chain  # [block][tap][lane]
    void *line   # [block][lane][sample, position or tap]


cdef uintptr_t carve_own_depthwise_gradient(
    const DepthwiseGradient *job, DepthwiseGradientScratch *own, uintptr_t next
) noexcept nogil:
    cdef Py_ssize_t row = job.at_once * job.lanes * job.size, taps = job.g.taps
    own.x = carve(&next, job.most * job.samples * row)
    own.dy = carve(&next, job.most * job.dy.shape[2] * row)
    own.chain = carve(&next, (job.end_tap - job.first_tap) * row)
    own.line = carve(&next, max(taps, max(job.samples, job.dy.shape[2])) * row)
    return next


cdef uintptr_t carve_depthwise_gradient(
    DepthwiseGradient *job, uintptr_t next
) noexcept nogil:
    cdef DepthwiseGradientScratch own
    job.sums = carve(&next, job.blocks * job.g.taps * job.lanes * job.size)
    job.workers, job.worker_size = next, carve_own_depthwise_gradient(job, &own, 0)
    return next + job.threads * job.worker_size


cdef void add_depthwise_taps(
    const DepthwiseGradient *job, const real *x, Py_ssize_t x_sample, const real *dy,
    Py_ssize_t dy_sample, Py_ssize_t positions, Py_ssize_t samples, real *chain, bint begin,
    real *total
) noexcept nogil:
    """All taps of some positions of some samples, as many taps at once as a tile has."""
    cdef Py_ssize_t taps = job.end_tap - job.first_tap, tap, next_tap = 0, tile
    cdef Py_ssize_t most = job.tiles.gemm_rows, tiles = (taps + most - 1) // most
    # what no tile takes may be of any size
    cdef Py_ssize_t tap_pitch = min(job.g.dilation, job.samples) * job.lanes
    cdef Py_ssize_t x_row = min(job.g.stride, job.samples) * job.lanes
    for tile in range(tiles):
        tap, next_tap = next_tap, (tile + 1) * taps // tiles
        job.tiles.dw_short[next_tap - tap](
            x + tap * tap_pitch, x_row, x_sample, tap_pitch, dy, job.lanes, dy_sample, positions,
            samples, chain + tap * job.lanes, begin,
            total + tap * job.lanes if total != NULL else NULL)


cdef void add_samples(
    const DepthwiseGradient *job, const DepthwiseGradientScratch *own, Py_ssize_t blocks,
    Py_ssize_t samples, bint begin, bint end, real *sums
) noexcept nogil:
    """A panel of samples, which begins a chain or ends one."""
    cdef Py_ssize_t positions = job.dy.shape[2], b, i, p
    cdef Py_ssize_t x_block = job.samples * job.lanes, dy_block = positions * job.lanes
    cdef Py_ssize_t x_sample = job.at_once * x_block, dy_sample = job.at_once * dy_block
    cdef const real *x = <const real *> own.x
    cdef const real *dy = <const real *> own.dy
    cdef real *chain = <real *> own.chain
    for b in range(blocks):
        if positions <= CC_BLOCK:
            add_depthwise_taps[real](job, x, x_sample, dy, dy_sample, positions, samples, chain,
                                     begin, sums if end else NULL)
        else:  # each sample has several chains
            for i in range(samples):
                for p from 0 <= p < positions by CC_BLOCK:
                    add_depthwise_taps[real](
                        job, x + (i * x_sample + p * job.g.stride * job.lanes), 0,
                        dy + (i * dy_sample + p * job.lanes), 0, min(CC_BLOCK, positions - p), 1,
                        chain, True, sums)
        x += x_block
        dy += dy_block
        chain += (job.end_tap - job.first_tap) * job.lanes
        sums += job.g.taps * job.lanes


cdef void depthwise_gradient_blocks(
    DepthwiseGradient *job, Py_ssize_t chunk, int worker, real *sums
) noexcept nogil:
    """sums[block][tap][lane] of a chunk."""
    cdef DepthwiseGradientScratch own
    cdef Py_ssize_t first = chunk * job.at_once, blocks = min(job.at_once, job.blocks - first)
    cdef Py_ssize_t channel = first * job.lanes
    cdef Py_ssize_t count = min(blocks * job.lanes, job.channels - channel)
    cdef Py_ssize_t positions = job.dy.shape[2], batch = job.dy.shape[0], n = 0, some, i
    cdef Py_ssize_t chain_samples = max(CC_BLOCK // positions, 1)
    cdef Py_ssize_t x_block = job.samples * job.lanes, dy_block = positions * job.lanes
    carve_own_depthwise_gradient(job, &own, job.workers + worker * job.worker_size)
    sums += channel * job.g.taps
    memset(sums, 0, blocks * job.g.taps * job.lanes * sizeof(real))
    sums += job.first_tap * job.lanes
    while n < batch and job.end_tap > job.first_tap:
        if cc_pool_cancelled(worker):
            return
        # to the end of a chain at most
        some = min(min(job.most, batch - n), chain_samples - n % chain_samples)
        for i in range(some):
            load_lanes[real](job.tiles, &job.dy, n + i, channel, count, 0, positions,
                             <real *> own.dy + i * job.at_once * dy_block, dy_block,
                             <real *> own.line)
            if job.looks and not has_finite_sum[real](
                    job.tiles, <real *> own.dy + i * job.at_once * dy_block, blocks * dy_block):
                job.finite[worker] = False
                return
            load_lanes[real](job.tiles, &job.x, n + i, channel, count, job.first_sample,
                             job.samples, <real *> own.x + i * job.at_once * x_block, x_block,
                             <real *> own.line)
        add_samples[real](job, &own, blocks, some, n % chain_samples == 0,
                          (n + some) % chain_samples == 0 or n + some == batch, sums)
        n += some


cdef void depthwise_gradient_chunk(void *context, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef DepthwiseGradient *job = <DepthwiseGradient *> context
    if job.size == sizeof(float):
        depthwise_gradient_blocks[float](job, chunk, worker, <float *> job.sums)
    else:
        depthwise_gradient_blocks[double](job, chunk, worker, <double *> job.sums)


cdef void store_depthwise_gradient(const DepthwiseGradient *job, const real *sums) noexcept nogil:
    cdef DepthwiseGradientScratch own
    cdef Py_ssize_t block, first
    carve_own_depthwise_gradient(job, &own, job.workers)
    for block in range(job.blocks):
        first = block * job.lanes
        store_lanes[real](job.tiles, &job.dw, 0, first, min(job.lanes, job.channels - first),
                          sums + first * job.g.taps, 0, <real *> own.line)


cdef bint plan_depthwise_gradient(
    DepthwiseGradient *job, const cc_tiles *tiles, const View *dy, const View *x, const View *dw,
    const Geometry *g, Py_ssize_t size
) noexcept nogil:
    """Whether this nest can compute such a gradient, and then how.

    The shape alone decides, because the order of the sums depends on it.
    """
    cdef Py_ssize_t positions = dy.shape[2], length = x.shape[2], reach, row
    if tiles.narrower != NULL and 2 * dw.shape[0] <= tiles.gemm_lanes:
        tiles = tiles.narrower
    job.tiles, job.g, job.size = tiles, g, size
    job.dy, job.x, job.dw = dy[0], x[0], channels_of_weights(dw)
    job.dy.mode, job.x.mode = CCONV1D_ZEROS, g.mode
    job.channels, job.lanes = dw.shape[0], tiles.gemm_lanes
    job.blocks = (job.channels + job.lanes - 1) // job.lanes
    reach = (positions - 1) * g.stride  # of a tap, from its first sample to its last one
    job.first_tap, job.end_tap = 0, g.taps
    if g.mode == CCONV1D_ZEROS:
        job.first_tap = min(g.taps, max(0, ceiling(g.pad_left - reach, g.dilation)))
        job.end_tap = max(job.first_tap,
                          min(g.taps, ceiling(length + g.pad_left, g.dilation)))
    job.first_sample = job.first_tap * g.dilation - g.pad_left
    job.samples = 0
    if job.end_tap > job.first_tap:
        job.samples = reach + (job.end_tap - 1 - job.first_tap) * g.dilation + 1
    # not a number of this level's lanes
    if job.samples > 2 * MAX_DEPTHWISE_SAMPLES:
        return False
    job.padded = g.mode == CCONV1D_ZEROS and (
        job.first_sample < 0 or job.first_sample + job.samples > length
        or job.end_tap - job.first_tap < g.taps)
    job.threads = threads_for(job.channels * max(job.end_tap - job.first_tap, 1),
                              dy.shape[0] * positions)
    job.at_once = 1
    if x.strides[1] == stored_size(x, size):
        job.at_once = min(DEPTHWISE_BLOCKS, max(1, job.blocks // (CHUNKS_PER_THREAD * job.threads)))
    row = (job.samples + positions) * job.at_once * job.lanes * size
    job.most = max(1, min(STRIP_BYTES // row, CC_BLOCK // positions))
    job.chunks = (job.blocks + job.at_once - 1) // job.at_once
    job.threads = <int> min(job.threads, job.chunks)
    return True


cdef int depthwise_gradient(DepthwiseGradient *job, bint looks) noexcept nogil:
    """A planned job; true, false if memory ran out, or -1 as said above."""
    cdef uintptr_t start
    cdef Arena arena
    cdef int worker
    cdef bint finite = True
    job.looks = looks and job.padded
    start = arena_open(&arena, carve_depthwise_gradient(job, 0))
    if start == 0:
        return False
    carve_depthwise_gradient(job, start)
    memset(job.finite, 1, job.threads)
    cc_pool_run(depthwise_gradient_chunk, job, job.chunks, job.threads)
    for worker in range(job.threads):
        finite &= job.finite[worker]
    if finite and not cc_pool_cancelled(0):
        if job.size == sizeof(float):
            store_depthwise_gradient[float](job, <const float *> job.sums)
        else:
            store_depthwise_gradient[double](job, <const double *> job.sums)
    arena_close(&arena)
    return 1 if finite else -1
