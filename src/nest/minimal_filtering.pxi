# forward and backward_input of kernels of three taps by minimal filtering F(2, 3) (method "fast").
#
#     [y[2·t], y[2·t + 1]] = A · Σ over channels of (U · taps) * (V · samples[2·t .. 2·t + 3])
#
#     A, U and V: see fft/minimal.h; * is number by number
#
# Takes  a planned OverlapSave: see blocks.pxi for its signals, strides, stores, and what is not
#        finite. A signal has three taps at most, or four planes would not be enough.
# Gives  the weights of its groups, and the results of some of its blocks.
#
# Four products for a channel of the input and of the output give two results, which are six in a
# direct sum. They are those of four layers with one tap, so the tiles of correlate.pxi compute
# them: a plane is a panel whose rows are channels. Chains of terms are therefore those of direct.
#
# A block is an even number of results, so that the pairs, and with them the bits, are where they
# are whatever its length; where a signal ends within a pair, the other result meets zeros. Blocks
# of short signals share a line of a panel, a pair lying between each and the next. At stride 1 the
# two results of a pair lie the dilation apart, and a block is one of the whole signal; a dilation
# beyond CC_MOST_PAIRS makes signals of its residues.
#
# Loops, outermost first: sets of groups whose weights fit a budget; chunks of the pool (group,
# some blocks); for these all channels to planes; blocks of rows; planes, tiles; results to signals.

cdef enum: MINIMAL_TAPS = 3
# Pairs of results in a line, while the planes of all channels fit a budget; not fewer than some.
cdef enum: FEWEST_PAIRS = 32, PLANES_BYTES = 384 * 1024


cdef void filter_weights(
    const OverlapSave *job, Py_ssize_t chunk, int worker, real *unused
) noexcept nogil:
    """The weights of a block of rows: [plane][channel][row of the block]."""
    cdef OverlapSaveScratch own
    cdef Py_ssize_t group = chunk // job.rows.blocks, block = chunk % job.rows.blocks
    cdef Py_ssize_t row = first_row(&job.rows, block), residue, taps, step
    cdef Py_ssize_t rows = first_row(&job.rows, block + 1) - row, plane = job.channels * rows
    cdef real *planes = (<real *> job.weights.numbers + group * job.group_size
                         + CC_PLANES * job.channels * row)
    cdef real *first
    cdef Sum sum
    cdef Phase phase
    carve_own_overlap_save(job, &own, job.workers + worker * job.worker_size)
    plan_sum(&sum, job.tiles, &job.w, job.g, job.groups, job.transposed)
    sum.ordered = False
    phase = phase_of(&sum, 0)
    pack_block[real](&sum, &job.w, &phase, job.group + group, 0, sum.channels, block,
                     <real *> own.numbers - row * sum.terms)
    for residue in range(job.g.residues):
        first = <real *> own.numbers + residue * rows
        taps, step = residue_taps(job.g, residue), job.g.period * rows
        if job.transposed:
            first, step = first + (taps - 1) * step, -step
        job.transforms.filter_taps(first, step, taps, rows, job.g.taps * rows, sum.channels,
                                   planes + residue * rows, plane, job.g.residues * rows)


cdef void filter_blocks(
    const OverlapSave *job, Py_ssize_t chunk, int worker, real *unused
) noexcept nogil:
    """The results of some blocks of a group."""
    cdef OverlapSaveScratch own
    cdef const cc_tiles *tiles = job.tiles
    cdef Py_ssize_t group = chunk % job.some, first = chunk // job.some * job.at_once
    cdef Py_ssize_t per_sample = job.blocks.residues * job.blocks.most
    cdef Py_ssize_t count, i, channel, some, signal, row, rows, block, width, plane, p
    cdef Py_ssize_t channels = job.channels // job.g.residues, used, pairs, whole, read
    cdef bint in_place
    cdef Py_ssize_t[MOST_BLOCKS_AT_ONCE] units
    cdef SignalBlock[MOST_BLOCKS_AT_ONCE] blocks
    cdef Geometry g = job.g[0]
    cdef real *signals
    cdef real *results
    cdef real *planes
    cdef real *line
    cdef const real *weights = <const real *> job.weights.numbers + group * job.group_size
    group += job.group
    carve_own_overlap_save(job, &own, job.workers + worker * job.worker_size)
    signals, planes = <real *> own.signal, <real *> own.inputs
    count = blocks_from(job, first, &units[0], &blocks[0])
    if count == 0:
        return
    # the last of them may end early
    used = (count - 1) * job.length + blocks[count - 1].first + blocks[count - 1].count
    pairs = ceiling(used, 2 * job.apart) * job.apart
    used = count * job.length
    whole = rounded(pairs, job.rows.width)
    read = 2 * (whole + job.apart)
    in_place = (job.in_place and count == 1 and blocks[0].sample >= 0
                and blocks[0].sample + read + CC_LONGEST_RUN <= job.array.shape[2])
    if job.apart > 1:
        g.step = 1

    # samples to planes
    for channel from 0 <= channel < channels by job.channels_beside:
        some = min(job.channels_beside, channels - channel)
        for i in range(0 if in_place else count):
            copy_signals[real](&job.array, &g, units[i] // per_sample,
                               group * channels + channel, some, blocks[i].sample, job.length,
                               signals + i * job.length, job.pitch)
        for signal in range(some * job.g.residues):
            line = signals + signal * job.pitch
            if in_place:
                line = <real *> at(&job.array, units[0] // per_sample, group * channels + channel,
                                   blocks[0].sample)
            elif used < read:
                memset(line + used, 0, (read - used) * sizeof(real))
            job.transforms.filter_samples(
                line, job.apart, pairs, whole,
                planes + job.offsets[channel * job.g.residues + signal], job.plane)

    for block in range(job.rows.blocks):
        # products
        row = first_row(&job.rows, block)
        rows = first_row(&job.rows, block + 1) - row
        width = tiles.correlate_width[rows]
        for plane in range(CC_PLANES):
            results = <real *> own.results + plane * job.result_plane
            for p from 0 <= p < whole by width:
                tiles.correlate[rows](planes + plane * job.plane + p, job.offsets, job.channels,
                                      weights, results + p, job.result_row, NULL, False)
            weights += job.channels * rows

        # planes to results
        for i in range(rows):
            signal = (row + i) % job.rows_beside
            job.transforms.filter_results(<real *> own.results + i * job.result_row,
                                          job.result_plane, job.apart, pairs,
                                          signals + signal * job.pitch)
            if signal == job.rows_beside - 1 or row + i == job.outs - 1:
                store_results[real](job, group * job.outs + row + i - signal, signal + 1,
                                    &units[0], &blocks[0], 0, count, signals, job.pitch)


cdef void point_at_channels(const OverlapSave *job) noexcept nogil:
    cdef Py_ssize_t channel
    for channel in range(job.channels):
        job.offsets[channel] = <int32_t> (channel * job.result_row)


cdef bint plan_minimal_filtering(
    OverlapSave *job, Py_ssize_t shift, Py_ssize_t step
) noexcept nogil:
    """The rest of a plan: output q meets number q − shift of signals of every `step`-th by tap 0.

    False for more channels than memory has room for.
    """
    cdef const View *array = &job.array
    cdef const View *out = &job.out
    cdef Py_ssize_t most, pairs, bytes
    cdef Py_ssize_t longest = max(out.shape[2], <Py_ssize_t> 1)  # a residue may have no results
    most = PLANES_BYTES // (CC_PLANES * job.channels * job.size)
    most = max(<Py_ssize_t> FEWEST_PAIRS, min(<Py_ssize_t> CC_MOST_PAIRS, most))
    job.threads = threads_for(out.shape[0] * out.shape[1] * out.shape[2], 2 * job.channels)
    while (job.threads > 1 and most > FEWEST_PAIRS
           and job.groups * out.shape[0] * (longest // (2 * most))
           < BLOCK_CHUNKS_PER_THREAD * job.threads):
        most //= 2
    most = max(most // job.rows.width, 1) * job.rows.width
    job.apart = step if job.g.stride == 1 and step <= CC_MOST_PAIRS else 1
    if job.apart > 1:
        pairs = max(1, min(most // step, ceiling(longest, 2 * step))) * step
        job.blocks = cut_blocks(longest, shift, 1, 2 * pairs, shift, 0)
    else:
        # of a residue whose outputs do not begin a pair one more is computed
        longest = ceiling(ceiling(longest, step) + (shift % step != 0), 2)
        pairs = min(longest, most)
        if pairs == most:  # blocks of about one length
            pairs = rounded(ceiling(longest, ceiling(longest, most)), job.rows.width)
        job.blocks = cut_blocks(out.shape[2], shift, step, 2 * pairs,
                                -floor_division(-shift, step), 0)
    job.units = out.shape[0] * job.blocks.residues * job.blocks.most
    job.length = 2 * (pairs + job.apart)
    job.at_once = 1
    if job.apart == 1:
        job.at_once = min(most // (pairs + 1), min(<Py_ssize_t> MOST_BLOCKS_AT_ONCE, job.units))
        job.at_once = max(1, job.at_once)
        pairs = job.at_once * (pairs + 1) - 1
    pairs = rounded(pairs, job.rows.width)
    job.pitch = odd_lines(2 * (pairs + job.apart) + CC_LONGEST_RUN, job.size)
    job.result_row = odd_lines(pairs, job.size)
    job.plane = odd_lines(job.channels * job.result_row, job.size)
    job.result_plane = odd_lines(job.tiles.correlate_rows * job.result_row, job.size)

    job.groups_at_once = 1
    job.most_groups = job.groups
    if not job.kept:
        job.most_groups = max(
            1, min(job.groups, WEIGHT_SPECTRA_BYTES // (job.group_size * job.size)))
    bytes = job.pitch * job.size
    job.channels_beside = min(rows_beside(array, array.shape[1], job.g.residues * bytes, job.size),
                              job.channels // job.g.residues)
    job.rows_beside = min(rows_beside(out, out.shape[1], bytes, job.size), job.outs)
    job.blocks_of_group = ceiling(job.units, job.at_once)
    job.threads = <int> max(1, min(job.threads, job.most_groups
                                   * max(job.blocks_of_group, job.rows.blocks)))
    prefetch_blocks(&job.array, job.blocks.hop, job.g)
    job.in_place = (job.g.stride == 1 and (job.apart > 1 or step == 1)
                    and job.channels_beside == 1 and row_pitch_of(array, 1, 0, job.size) != 0)
    return job.channels <= INT32_MAX // job.result_row
