# forward and backward_input by transforms of blocks that overlap (method "fft"), at stride 1.
#
#     out[n, row, d·t + i] = bias[row] + Σ_{c,j} w[row, c, j] · in[n, c, d·(t + j) + i − shift]
#
#     backward_input: `in` is dy, the taps of w come in reverse and shift is d·(k − 1) − pad_left
#
# Takes  Views of the array, the weights, a bias and the results, with any strides and formats.
# Gives  the results; false if memory ran out.
#
# The outputs i, i + d, i + 2·d ... (d: the dilation) are a correlation without dilation. Of such a
# residue a block takes B = 2·M samples and gives the B − k + 1 results that wrap nothing round.
# Blocks lie where the samples do: the first sample of block b is number b·(B − k + 1) − (k − 1) of
# its residue. M follows from taps and channels of a group alone. So the bits of a result depend on
# nothing but the samples of its block and the weights.
#
# Loops, outermost first: sets of groups whose spectra of weights fit a budget; chunks of the pool
# (group, some blocks); for these all channels of `in` to spectra, sums of their products with the
# weights' to spectra of results, and these back.
#
# A number that is not finite makes all results of its block NaN, or a weight all of its row. What
# comes out not finite is computed again by panels, so that NaN and Inf reach what they should.

# Spectra of the weights of several groups, until there is only one group.
cdef enum: WEIGHT_SPECTRA_BYTES = 4 * 1024 * 1024
# Spectra that one thread has of samples and results. They stay in the second-level cache, unless
# the weights' do not, which then must be read for several blocks at once.
cdef enum: SPECTRA_BYTES = 192 * 1024, MANY_SPECTRA_BYTES = 4 * 1024 * 1024
cdef enum: MOST_BLOCKS_AT_ONCE = 16
# Chunks of the pool for one thread.
cdef enum: BLOCK_CHUNKS_PER_THREAD = 4


cdef const cc_transforms *transforms_of(const cc_tiles *tiles) noexcept nogil:
    """Those of the same level."""
    cdef int i
    for i in range(cc_level_count):
        if cc_levels[i].f32 == tiles:
            return cc_levels[i].f32_transforms
        if cc_levels[i].f64 == tiles:
            return cc_levels[i].f64_transforms
    return NULL


cdef int block_points(Py_ssize_t taps, Py_ssize_t channels, Py_ssize_t outs) noexcept nogil:
    """log2 of M, for the taps, and the channels of a group on both sides.

    Of 10^6 samples 2·M from 4 to 16 times the taps are equal within 10 %. Many channels want it
    small, as each has a spectrum for each channel of the other side; and so do the longest
    kernels, which often meet signals no longer than they are.
    """
    cdef int log_points = CC_MIN_LOG_POINTS
    cdef Py_ssize_t points = 2 * taps
    if channels * outs < 8 and taps <= 512:
        points = 4 * taps
    elif taps > 8192:
        points = taps
    while (<Py_ssize_t> 1 << log_points) < points and log_points < CC_MAX_LOG_POINTS:
        log_points += 1
    return log_points


cdef struct Blocks:
    # How residues fall into blocks, of some outputs.
    Py_ssize_t dilation
    Py_ssize_t shift     # output q is number q - shift of the samples, by the first that it reads
    Py_ssize_t length    # outputs
    Py_ssize_t hop       # results of a block
    Py_ssize_t before    # samples that block 0 begins before sample 0
    Py_ssize_t residues  # that have outputs
    Py_ssize_t most      # blocks that a residue has at most


cdef struct Block:
    Py_ssize_t sample        # where it begins
    Py_ssize_t output        # of the first result that is one
    Py_ssize_t first, count  # those of its results that are


cdef inline Py_ssize_t floor_division(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    return a // b - (a % b < 0)


cdef Blocks cut_blocks(
    Py_ssize_t length, Py_ssize_t shift, Py_ssize_t dilation, Py_ssize_t hop, Py_ssize_t before
) noexcept nogil:
    cdef Blocks blocks
    cdef Py_ssize_t longest, first
    blocks.dilation, blocks.shift, blocks.length = dilation, shift, length
    blocks.hop, blocks.before = hop, before
    blocks.residues = min(dilation, length)
    longest = (length + dilation - 1) // dilation
    if dilation == 1:
        first = before - shift - floor_division(before - shift, hop) * hop
        blocks.most = (first + length + hop - 1) // hop
    else:
        blocks.most = (longest + hop - 2) // hop + 1
    return blocks


cdef Block block_of(const Blocks *blocks, Py_ssize_t residue, Py_ssize_t number) noexcept nogil:
    """The block of that number among those of a residue; it may have no results."""
    cdef Block block
    # the numbers, within the residue, of the first output's sample and of the block's
    cdef Py_ssize_t base = floor_division(residue - blocks.shift, blocks.dilation)
    cdef Py_ssize_t start = floor_division(base + blocks.before, blocks.hop) + number
    cdef Py_ssize_t count = (blocks.length - residue + blocks.dilation - 1) // blocks.dilation
    start = start * blocks.hop - blocks.before
    block.first = max(base - start, 0)
    block.count = min(count - (start - base), blocks.hop) - block.first
    block.sample = residue - blocks.shift + blocks.dilation * (start - base)
    block.output = residue + blocks.dilation * (start - base + block.first)
    return block


cdef struct OverlapSave:
    # A job for the pool. Its chunks are first the rows of weights of some groups, then some blocks
    # of one of the groups.
    const cc_transforms *transforms
    const cc_tiles *tiles
    const Geometry *g
    const void *roots
    int log_points, threads
    View array, w, out
    bint transposed, biased
    Py_ssize_t groups, channels, outs
    Py_ssize_t size             # of a number, in bytes
    Py_ssize_t packet, packets  # numbers in a packet, packets in a spectrum
    Blocks blocks
    Py_ssize_t units            # blocks of all residues and signals
    Py_ssize_t at_once          # of them
    Py_ssize_t group, some      # the set of groups, of at most `most_groups`
    Py_ssize_t most_groups
    cc_packets weights          # of a group: [packet][row][channel]
    Py_ssize_t group_size       # numbers of these
    Py_ssize_t input_next, result_next
    void *biases                # [row] of all groups
    unsigned char *spoiled      # [row] of all groups[unit]: computed, but not finite
    uintptr_t workers           # the threads' own scratch
    Py_ssize_t worker_size


cdef struct OverlapSaveScratch:
    void *signal
    void *inputs   # [packet][unit][channel]
    void *results  # [packet][unit][row]


cdef uintptr_t carve_own_overlap_save(
    const OverlapSave *job, OverlapSaveScratch *own, uintptr_t next
) noexcept nogil:
    own.signal = carve(&next, (2 * job.size) << job.log_points)
    own.inputs = carve(&next, job.packets * job.input_next * job.size)
    own.results = carve(&next, job.packets * job.result_next * job.size)
    return next


cdef uintptr_t carve_overlap_save(OverlapSave *job, uintptr_t next) noexcept nogil:
    cdef OverlapSaveScratch own
    job.weights.numbers = carve(&next, job.most_groups * job.group_size * job.size)
    job.biases = carve(&next, job.groups * job.outs * job.size if job.biased else 0)
    job.spoiled = <unsigned char *> carve(&next, job.groups * job.outs * job.units)
    job.workers, job.worker_size = next, carve_own_overlap_save(job, &own, 0)
    return next + job.threads * job.worker_size


cdef inline Py_ssize_t odd_lines(Py_ssize_t numbers, Py_ssize_t size) noexcept nogil:
    """An odd number of cache lines, so that neighbours in a column share no set of the cache."""
    return ((numbers * size + 63) // 64 | 1) * (64 // size)


cdef void load_taps(
    const OverlapSave *job, Py_ssize_t row, Py_ssize_t channel, real *signal
) noexcept nogil:
    """The taps from one channel of the array to a row of results, with zeros after them."""
    cdef const View *w = &job.w
    cdef Py_ssize_t group = row // job.outs, taps = job.g.taps, i = row, j = channel, tap
    cdef real value
    if job.transposed:
        i, j = group * job.channels + channel, row - group * job.outs
    load_row[real](w, weight_at(w, i, j, 0), w.strides[2], taps, signal)
    if job.transposed:
        for tap in range(taps // 2):
            value = signal[tap]
            signal[tap], signal[taps - 1 - tap] = signal[taps - 1 - tap], value
    if negated(w, i, j):
        for tap in range(taps):
            signal[tap] = -signal[tap]
    memset(signal + taps, 0, (((<Py_ssize_t> 2) << job.log_points) - taps) * sizeof(real))


cdef void transform_row(
    const OverlapSave *job, Py_ssize_t chunk, int worker, real *unused
) noexcept nogil:
    """The weights of one row of results."""
    cdef OverlapSaveScratch own
    cdef Py_ssize_t channel, row = chunk % job.outs, group = chunk // job.outs
    cdef real *spectra = <real *> job.weights.numbers + group * job.group_size
    carve_own_overlap_save(job, &own, job.workers + worker * job.worker_size)
    for channel in range(job.channels):
        load_taps[real](job, (job.group + group) * job.outs + row, channel, <real *> own.signal)
        job.transforms.forward(job.roots, job.log_points, own.signal, spectra
                               + row * job.weights.row + channel * job.weights.step,
                               job.weights.next)


cdef void transform_blocks(
    const OverlapSave *job, Py_ssize_t chunk, int worker, real *unused
) noexcept nogil:
    """The results of some blocks of a group."""
    cdef OverlapSaveScratch own
    cdef const cc_transforms *transforms = job.transforms
    cdef Py_ssize_t group = chunk % job.some, first = chunk // job.some * job.at_once
    cdef Py_ssize_t dilation = job.blocks.dilation, count = 0, unit, n, residue, i, channel, row
    cdef Py_ssize_t length = (<Py_ssize_t> 2) << job.log_points
    cdef Py_ssize_t[MOST_BLOCKS_AT_ONCE] units
    cdef Block[MOST_BLOCKS_AT_ONCE] blocks
    cdef cc_packets weights = job.weights, inputs, results
    cdef real *signal
    cdef const real *bias = NULL
    carve_own_overlap_save(job, &own, job.workers + worker * job.worker_size)
    signal = <real *> own.signal
    weights.numbers = <real *> job.weights.numbers + group * job.group_size
    inputs.numbers, inputs.next, inputs.step = own.inputs, job.input_next, job.packet
    inputs.row = job.channels * job.packet
    results.numbers, results.next, results.row = own.results, job.result_next, job.packet
    results.step = job.outs * job.packet
    group += job.group
    for unit in range(first, min(first + job.at_once, job.units)):
        residue = unit % job.blocks.residues
        blocks[count] = block_of(&job.blocks, residue,
                                 unit // job.blocks.residues % job.blocks.most)
        if blocks[count].count <= 0:
            continue
        units[count] = unit
        n = unit // (job.blocks.residues * job.blocks.most)
        for channel in range(job.channels):
            copy_row[real](&job.array, n, group * job.channels + channel, blocks[count].sample,
                           dilation, length, signal)
            transforms.forward(job.roots, job.log_points, signal, <real *> own.inputs
                               + count * inputs.row + channel * inputs.step, inputs.next)
        count += 1
    if count == 0:
        return
    transforms.multiply(&weights, job.outs, &inputs, count, job.channels, &results, job.packets,
                        False)
    for i in range(count):
        n = units[i] // (job.blocks.residues * job.blocks.most)
        for row in range(group * job.outs, (group + 1) * job.outs):
            transforms.inverse(job.roots, job.log_points, <real *> own.results + i * results.step
                               + (row - group * job.outs) * results.row, results.next, signal)
            if job.biased:
                bias = <const real *> job.biases + row
            job.spoiled[row * job.units + units[i]] = not transforms.finish(
                signal + blocks[i].first, blocks[i].count, bias)
            store_row[real](&job.out, at(&job.out, n, row, blocks[i].output),
                            job.out.strides[2] * dilation, blocks[i].count,
                            signal + blocks[i].first)


cdef void transform_row_chunk(void *context, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef const OverlapSave *job = <const OverlapSave *> context
    if job.size == sizeof(float):
        transform_row[float](job, chunk, worker, NULL)
    else:
        transform_row[double](job, chunk, worker, NULL)


cdef void transform_blocks_chunk(void *context, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef const OverlapSave *job = <const OverlapSave *> context
    if job.size == sizeof(float):
        transform_blocks[float](job, chunk, worker, NULL)
    else:
        transform_blocks[double](job, chunk, worker, NULL)


# --- what is not finite --------------------------------------------------------------------------

cdef void sum_one_by_one(
    const OverlapSave *job, const View *array, const View *w, const real *biases, const View *out,
    Py_ssize_t pad_left
) noexcept nogil:
    """The results of one group, each by itself, in the order of the tiles; it needs no memory."""
    cdef Py_ssize_t row, q, term, channel, tap, i, j, sample
    cdef real total, chain, weight, value
    for row in range(out.shape[1]):
        for q in range(out.shape[2]):
            if cc_pool_cancelled(0):
                return
            total = chain = 0
            for term in range(job.channels * job.g.taps):
                if term % CC_BLOCK == 0:
                    total += chain
                    chain = 0
                channel = term // job.g.taps
                tap = term - channel * job.g.taps
                i, j = (channel, row) if job.transposed else (row, channel)
                sample = tap * job.g.dilation - pad_left
                sample = q - sample if job.transposed else q + sample
                if not job.transposed or 0 <= sample < array.shape[2]:
                    copy_row[real](array, 0, channel, sample, 1, 1, &value)
                    load_row[real](w, weight_at(w, i, j, tap), 0, 1, &weight)
                    chain = fused[real](-weight if negated(w, i, j) else weight, value, chain)
            total += chain
            if biases != NULL:
                total += biases[row]
            store_row[real](out, at(out, 0, row, q), 0, 1, &total)


cdef void sum_again(
    const OverlapSave *job, const View *bias, Py_ssize_t n, Py_ssize_t row, Py_ssize_t rows,
    Py_ssize_t first, Py_ssize_t end
) noexcept nogil:
    """Some rows of one group and the results first .. end - 1, by panels."""
    cdef Py_ssize_t group = row // job.outs, inner_row = row % job.outs
    cdef View out = part_of(&job.out, n, 1, row, rows, first, end - first)
    cdef View array = part_of(&job.array, n, 1, group * job.channels, job.channels, 0,
                              job.array.shape[2])
    cdef View w = job.w, line = bias[0]
    cdef Geometry g = job.g[0]
    cdef Sum sum
    cdef const char *biases
    w.packed = NULL
    if job.transposed:
        w.data = weight_at(&job.w, group * job.channels, inner_row, 0)
        w.shape[0], w.shape[1] = job.channels, rows
        g.pad_left += first
    else:
        w.data = weight_at(&job.w, row, 0, 0)
        w.shape[0] = rows
        g.pad_left -= first
    if bias.data != NULL:
        line.data = line_at(bias, row)
        line.shape[2] = rows >> bias.pair
    plan_sum(&sum, job.tiles, &w, &g, 1, job.transposed)
    sum.length = out.shape[2]
    if correlate(&sum, &array, &w, &line, &out, job.size):
        return
    biases = <char *> job.biases + row * job.size if job.biased else NULL
    if job.size == sizeof(float):
        sum_one_by_one[float](job, &array, &w, <const float *> biases, &out, g.pad_left)
    else:
        sum_one_by_one[double](job, &array, &w, <const double *> biases, &out, g.pad_left)


cdef bint is_spoiled(
    const OverlapSave *job, Py_ssize_t n, Py_ssize_t number, Py_ssize_t row
) noexcept nogil:
    """Whether a block of any residue has a result in that row, or in both parts of complex ones."""
    cdef Py_ssize_t residues = job.blocks.residues, part, residue
    for part in range(row, row + 1 + job.out.pair):
        for residue in range(residues):
            if job.spoiled[part * job.units + (n * job.blocks.most + number) * residues + residue]:
                return True
    return False


cdef void sum_spoiled_again(const OverlapSave *job, const View *bias) noexcept nogil:
    """What came out not finite, with the same block of all residues, and of rows that follow."""
    cdef Py_ssize_t rows = job.groups * job.outs, n, number, row, next_row, residue, first, end
    cdef Py_ssize_t parts = 1 + job.out.pair
    cdef Block block
    for n in range(job.out.shape[0]):
        for number in range(job.blocks.most):
            first, end = job.out.shape[2], 0
            for residue in range(job.blocks.residues):
                block = block_of(&job.blocks, residue, number)
                if block.count > 0:
                    first = min(first, block.output)
                    end = max(end, block.output + (block.count - 1) * job.blocks.dilation + 1)
            row = 0
            while row < rows and not cc_pool_cancelled(0):
                next_row = row
                while (next_row < (row // job.outs + 1) * job.outs
                       and is_spoiled(job, n, number, next_row)):
                    next_row += parts
                if next_row > row:
                    sum_again(job, bias, n, row, next_row - row, first, end)
                row = max(next_row, row + parts)


# --- the job -------------------------------------------------------------------------------------

cdef bint overlap_save(
    const cc_tiles *tiles, const View *array, const View *w, const View *bias, const View *out,
    const Geometry *g, Py_ssize_t groups, bint transposed, Py_ssize_t size
) noexcept nogil:
    """What sum_terms computes, at stride 1; false if memory ran out, with nothing stored."""
    cdef OverlapSave job
    cdef Py_ssize_t group, row, span = g.taps - 1, bytes, blocks_of_group, spoiled
    cdef Arena arena
    cdef uintptr_t start
    job.transforms, job.tiles, job.g, job.size = transforms_of(tiles), tiles, g, size
    job.array, job.w, job.out, job.groups = array[0], w[0], out[0], groups
    job.transposed, job.biased = transposed, bias.data != NULL
    job.outs = w.shape[1] if transposed else w.shape[0] // groups
    job.channels = w.shape[0] // groups if transposed else w.shape[1]
    job.log_points = block_points(g.taps, job.channels, job.outs)
    job.roots = cc_roots(job.log_points, size)
    if job.roots == NULL:
        return False
    job.packet = 2 * job.transforms.lanes
    job.packets = ((<Py_ssize_t> 2) << job.log_points) // job.packet
    job.blocks = cut_blocks(out.shape[2], span * g.dilation - g.pad_left if transposed
                            else g.pad_left, g.dilation,
                            ((<Py_ssize_t> 2) << job.log_points) - span, span)
    job.units = out.shape[0] * job.blocks.residues * job.blocks.most

    # Blocks at once and groups in a set: no bits depend on them.
    job.threads = threads_for(out.shape[0] * out.shape[1] * out.shape[2],
                              16 * (job.channels + job.outs))
    bytes = (job.channels + job.outs) * (2 * size << job.log_points)
    job.at_once = SPECTRA_BYTES // bytes
    if job.channels * job.outs * (2 * size << job.log_points) > SPECTRA_BYTES:
        job.at_once = MANY_SPECTRA_BYTES // bytes
    job.at_once = max(1, min(job.at_once, MOST_BLOCKS_AT_ONCE, job.units))
    job.weights.step = job.packet
    job.weights.row = job.channels * job.packet
    job.weights.next = odd_lines(job.outs * job.weights.row, size)
    job.group_size = job.packets * job.weights.next
    job.most_groups = max(1, min(groups, WEIGHT_SPECTRA_BYTES // (job.group_size * size)))
    while (job.at_once > 1 and job.most_groups * (job.units // job.at_once)
            < BLOCK_CHUNKS_PER_THREAD * job.threads and job.threads > 1):
        job.at_once -= 1
    job.input_next = odd_lines(job.at_once * job.channels * job.packet, size)
    job.result_next = odd_lines(job.at_once * job.outs * job.packet, size)
    blocks_of_group = (job.units + job.at_once - 1) // job.at_once
    job.threads = <int> max(1, min(job.threads, job.most_groups * max(blocks_of_group, job.outs)))

    start = arena_open(&arena, carve_overlap_save(&job, 0))
    if start == 0:
        return False
    carve_overlap_save(&job, start)
    memset(job.spoiled, 0, groups * job.outs * job.units)
    if job.biased:
        for row in range(groups * job.outs):
            if size == sizeof(float):
                load_row[float](bias, line_at(bias, row), 0, 1, <float *> job.biases + row)
            else:
                load_row[double](bias, line_at(bias, row), 0, 1, <double *> job.biases + row)
    for group from 0 <= group < groups by job.most_groups:
        if cc_pool_cancelled(0):
            break
        job.group = group
        job.some = min(job.most_groups, groups - job.group)
        cc_pool_run(transform_row_chunk, &job, job.some * job.outs, job.threads)
        cc_pool_run(transform_blocks_chunk, &job, job.some * blocks_of_group, job.threads)
    spoiled = 0
    for row in range(groups * job.outs * job.units):
        spoiled |= job.spoiled[row]
    if spoiled and not cc_pool_cancelled(0):
        sum_spoiled_again(&job, bias)
    arena_close(&arena)
    return True
