# forward and backward_input by transforms of blocks that overlap (method "fft"); and the job of
# both these and minimal_filtering.pxi (method "fast"), from its plan to its end.
#
#     out[n, row, d·t + i] = bias[row] + Σ_{c,j} w[row, c, j] · in[n, c, d·(t + j) + i − shift]
#
#     backward_input: `in` is dy, the taps of w come in reverse and shift is d·(k − 1) − pad_left
#
# That is stride 1. For strides, dilations, and what is not finite, see blocks.pxi.
#
# Takes  Views of the array, the weights, a bias and the results, with any strides and formats.
# Gives  the results; false if memory ran out.
#
# Of a residue a block takes B = 2·M samples and gives the B − k + 1 results that wrap nothing
# round. Blocks lie where the samples do: the first sample of block b is number
# b·(B − k + 1) − (k − 1) of its residue. If block 0 has all samples, with zeros before and behind
# them, nothing wraps round and it gives B results: often all, if two arrays of about one length are
# convolved. M follows from taps and channels of a group alone. So the bits of a result depend on
# nothing but the samples of its block and the weights.
#
# Lanes run along roots where M is large enough (CC_MIN_LOG_POINTS), and across signals where it is
# not: then the weights of as many rows as there are lanes are a packet. Either the same channel of
# as many blocks is one, too, each of which meets each number of weights; or as many channels of one
# block, each number of which meets the rows of weights. Bits are the same.
#
# Loops, outermost first: sets of groups whose spectra of weights fit a budget; chunks of the pool
# (group, some blocks); for these all channels of `in` to spectra; for some rows of results the sums
# of products with the weights' spectra, and these back. Of channels that lie side by side in memory
# several are taken at once, also those of some groups of a few channels each.

# Spectra that one thread has of samples and results. They stay in the second-level cache, unless
# the weights' do not, which then must be read for several blocks at once.
cdef enum: SPECTRA_BYTES = 192 * 1024, MANY_SPECTRA_BYTES = 2 * 1024 * 1024
# Lanes of the widest level.
cdef enum: MOST_LANES = 16
# A bit of M of a transform, in products of a channel and a row at as many roots.
cdef enum: TRANSFORM_TIME = 2
# Rows of results whose spectra are summed before they go back; a multiple of all numbers of lanes.
cdef enum: ROWS_AT_ONCE = 32


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

    Long blocks give more results for a sample that is transformed; short ones have fewer roots, at
    which each channel has a number for each of the other side. For 64 to 64 channels and 9 taps,
    M of 16, 32, 64 and 256 take 8.5, 7.1, 8.6 and 12 ms, 31 taps 8.2 with 64 or 128 and 10.5 with
    256; for 256 to 256 channels and 9 taps 16 is best. One channel of 10^6 samples and 127 taps
    takes 2.4, 2.3, 2.0 and 2.1 ms with 256 to 2048, but 768 channels of 2048 samples 4.4, 5.4 and
    7.0 with 256 to 1024. The longest kernels often meet signals no longer than they are.
    (Zen 3, avx2, one thread.)
    """
    cdef int log_points = CC_MIN_LOG_POINTS
    cdef Py_ssize_t points = 2 * taps, pairs = channels * outs
    if taps > 512:
        points = taps
    elif pairs < 8:
        points = 4 * taps
    elif pairs >= 64 and taps <= 128:
        log_points = CC_MIN_LOG_POINTS_ACROSS
        points = 4 * taps if pairs < 1024 else 2 * taps if pairs < 16384 else 3 * taps // 2
        points = min(points, 128)
    while (<Py_ssize_t> 1 << log_points) < points and log_points < CC_MAX_LOG_POINTS:
        log_points += 1
    return log_points


cdef void load_taps(
    const OverlapSave *job, Py_ssize_t row, Py_ssize_t channel, real *signal
) noexcept nogil:
    """The taps from one signal of the array to a row of results."""
    cdef const View *w = &job.w
    cdef Py_ssize_t i = row, j = channel // job.g.residues, residue = channel % job.g.residues
    cdef Py_ssize_t group = row // job.outs, taps = residue_taps(job.g, residue), tap
    cdef real value
    if job.transposed:
        i, j = group * job.channels + channel, row - group * job.outs
    load_row[real](w, weight_at(w, i, j, residue), w.strides[2] * job.g.period, taps, signal)
    if job.transposed:
        for tap in range(taps // 2):
            value = signal[tap]
            signal[tap], signal[taps - 1 - tap] = signal[taps - 1 - tap], value
    if negated(w, i, j):
        for tap in range(taps):
            signal[tap] = -signal[tap]


cdef void load_taps_of_rows(
    const OverlapSave *job, Py_ssize_t row, Py_ssize_t rows, Py_ssize_t channel, real *signals,
    real *numbers
) noexcept nogil:
    """The taps from one signal to some rows of a group: numbers[tap·lanes + row]."""
    cdef const View *w = &job.w
    cdef Py_ssize_t residue = channel % job.g.residues, taps = residue_taps(job.g, residue), lane
    cdef Py_ssize_t group = row // job.outs, lanes = job.lanes
    cdef Py_ssize_t stride = w.strides[1] if job.transposed else w.strides[0]
    if rows < lanes:
        memset(numbers, 0, taps * lanes * sizeof(real))
    if (w.half == NULL and not w.pair and w.strides[2] * job.g.period == sizeof(real)
            and stride % <Py_ssize_t> sizeof(real) == 0):
        if job.transposed:
            swap_axes[real](<const real *> weight_at(w, group * job.channels + channel,
                                                     row - group * job.outs, residue),
                            stride // sizeof(real), rows, taps, numbers + (taps - 1) * lanes,
                            -lanes)
        else:
            swap_axes[real](<const real *> weight_at(w, row, channel // job.g.residues, residue),
                            stride // sizeof(real), rows, taps, numbers, lanes)
        return
    for lane in range(rows):
        load_taps[real](job, row + lane, channel, signals + lane * taps)
    swap_axes[real](signals, taps, rows, taps, numbers, lanes)


cdef void transform_weights(
    const OverlapSave *job, Py_ssize_t chunk, int worker, real *unused
) noexcept nogil:
    """The weights of one row of results; or of one channel, with lanes across rows."""
    cdef OverlapSaveScratch own
    cdef Py_ssize_t chunks = job.channels if job.across else job.outs
    cdef Py_ssize_t group = chunk // chunks, one = chunk % chunks, other, first, taps
    cdef real *spectra = <real *> job.weights.numbers + group * job.group_size
    cdef real *signal
    group = (job.group + group) * job.outs
    carve_own_overlap_save(job, &own, job.workers + worker * job.worker_size)
    signal = <real *> own.signal
    if not job.across:
        for other in range(job.channels):
            load_taps[real](job, group + one, other, signal)
            taps = residue_taps(job.g, other % job.g.residues)
            memset(signal + taps, 0, (((<Py_ssize_t> 2) << job.log_points) - taps) * sizeof(real))
            job.transforms.forward(job.roots, job.log_points, signal, spectra
                                   + one * job.weights.row + other * job.weights.step,
                                   job.weights.next)
        return
    taps = residue_taps(job.g, one % job.g.residues)
    for first from 0 <= first < job.outs by job.lanes:
        load_taps_of_rows[real](job, group + first, min(job.lanes, job.outs - first), one, signal,
                                <real *> own.numbers)
        job.transforms.forward_across(
            job.roots, job.log_points, own.numbers, job.lanes, taps, own.numbers, spectra
            + one * job.weights.step + first // job.lanes * job.weights.row, job.weights.next)


cdef void transform_channels_of_blocks(
    const OverlapSave *job, const OverlapSaveScratch *own, Py_ssize_t group, Py_ssize_t groups,
    const Py_ssize_t *units, const SignalBlock *blocks, Py_ssize_t count, const cc_packets *inputs,
    real *unused
) noexcept nogil:
    """All channels of some groups in some blocks to spectra, with lanes along roots or blocks."""
    cdef Py_ssize_t per_sample = job.blocks.residues * job.blocks.most, pitch = job.pitch
    cdef Py_ssize_t channels = groups * (job.channels // job.g.residues), length = job.length
    cdef Py_ssize_t column, inside, channel, some, lane, i, signal
    cdef real *signals = <real *> own.signal
    cdef real *spectrum
    for column in range((count + job.lanes - 1) // job.lanes):
        inside = min(job.lanes, count - column * job.lanes)
        for channel from 0 <= channel < channels by job.channels_beside:
            some = min(job.channels_beside, channels - channel)
            for lane in range(inside):
                i = column * job.lanes + lane
                copy_signals[real](&job.array, job.g, units[i] // per_sample,
                                   (job.group + group) * (job.channels // job.g.residues)
                                   + channel, some, blocks[i].sample, length,
                                   signals + lane * length, pitch)
            for signal in range(some * job.g.residues):
                spectrum = (<real *> inputs.numbers + column * inputs.row
                            + (channel * job.g.residues + signal) * inputs.step)
                if not job.across:
                    job.transforms.forward(job.roots, job.log_points, signals + signal * pitch,
                                           spectrum, inputs.next)
                    continue
                if inside < job.lanes:
                    memset(own.numbers, 0, job.lanes * length * sizeof(real))
                swap_axes[real](signals + signal * pitch, length, inside, length,
                                <real *> own.numbers, job.lanes)
                job.transforms.forward_across(job.roots, job.log_points, own.numbers, job.lanes,
                                              length, own.numbers, spectrum, inputs.next)


cdef void transform_packets_of_channels(
    const OverlapSave *job, const OverlapSaveScratch *own, Py_ssize_t group, Py_ssize_t groups,
    const Py_ssize_t *units, const SignalBlock *blocks, Py_ssize_t count, const cc_packets *inputs,
    real *unused
) noexcept nogil:
    """The same with lanes along channels."""
    cdef Py_ssize_t per_sample = job.blocks.residues * job.blocks.most, unit, i, first, some
    cdef Py_ssize_t signal, number, distance, step = job.g.stride * job.g.step
    cdef Window window
    cdef const real *signals
    window.filled = False
    for i in range(groups):
        for first from 0 <= first < job.channels by job.lanes:
            some = min(job.lanes, job.channels - first)
            signal = (job.group + group + i) * job.channels + first
            for unit in range(count):
                number = sample_of_signal(job.g, blocks[unit].sample, 0)
                if job.window:
                    signals = signals_of_window[real](
                        &job.array, units[unit] // per_sample, signal, some, number, step,
                        job.length, job.lanes, <real *> own.rows, &window, <real *> own.window,
                        &distance)
                else:
                    signals = signals_across[real](
                        &job.array, units[unit] // per_sample, signal, some, number,
                        job.g.residues, job.g.dilation, step, job.length, job.lanes,
                        <real *> own.signal, <real *> own.numbers, &distance)
                job.transforms.forward_across(
                    job.roots, job.log_points, signals, distance, job.length, own.numbers,
                    <real *> inputs.numbers + unit * inputs.row
                    + (i * ((job.channels + job.lanes - 1) // job.lanes) + first // job.lanes)
                    * inputs.step, inputs.next)


cdef void invert_rows_of_blocks(
    const OverlapSave *job, const OverlapSaveScratch *own, Py_ssize_t row, Py_ssize_t rows,
    const Py_ssize_t *units, const SignalBlock *blocks, Py_ssize_t count, const cc_packets *results,
    real *unused
) noexcept nogil:
    """The spectra of some rows from this one on, back and to where results are stored."""
    cdef Py_ssize_t column, inside, i, beside, pitch = job.pitch
    cdef real *signals = <real *> own.signal
    cdef real *spectrum
    for column in range((count + job.lanes - 1) // job.lanes):
        inside = min(job.lanes, count - column * job.lanes)
        for i in range(rows):
            spectrum = <real *> results.numbers + column * results.step + i * results.row
            beside = i % job.rows_beside
            if job.across:
                job.transforms.inverse_across(job.roots, job.log_points, spectrum, results.next,
                                              own.numbers)
                swap_axes[real](<real *> own.numbers, job.lanes, job.length, inside,
                                signals + beside * pitch, job.length)
            else:
                job.transforms.inverse(job.roots, job.log_points, spectrum, results.next,
                                       signals + beside * pitch)
            if beside == job.rows_beside - 1 or i == rows - 1:
                store_results[real](job, row + i - beside, beside + 1, units, blocks,
                                    column * job.lanes, inside, signals, pitch)


cdef void invert_packets_of_rows(
    const OverlapSave *job, const OverlapSaveScratch *own, Py_ssize_t row, Py_ssize_t rows,
    const Py_ssize_t *units, const SignalBlock *blocks, Py_ssize_t count, const cc_packets *results,
    real *unused
) noexcept nogil:
    """The same, of rows of one group, with lanes along rows."""
    cdef Py_ssize_t unit, beside, residue, first, some, i
    cdef const real *biases = NULL
    cdef real[MOST_LANES] lanes, spoiled
    cdef real *numbers
    for first from 0 <= first < rows by job.lanes:
        some = min(job.lanes, rows - first)
        if job.biased:
            biases = &lanes[0]
            memset(&lanes[0], 0, sizeof(lanes))
            memcpy(&lanes[0], <const real *> job.biases + row + first, some * sizeof(real))
        unit = 0
        while unit < count:
            beside = 1
            if job.window and job.out.strides[1] % job.size == 0:
                beside = residues_beside(job, blocks + unit, count - unit)
            for residue in range(beside):
                job.transforms.inverse_across(
                    job.roots, job.log_points, <real *> results.numbers + (unit + residue)
                    * results.row + first // job.lanes * results.step, results.next, own.numbers)
                numbers = <real *> own.numbers + blocks[unit].first * job.lanes
                job.transforms.finish_lanes(numbers, blocks[unit].count, biases, &spoiled[0])
                for i in range(some):
                    job.spoiled[(row + first + i) * job.units + units[unit + residue]] = (
                        spoiled[i] != 0)
                if beside > 1:
                    for i in range(blocks[unit].count):
                        memcpy(<real *> own.window + (i * beside + residue) * job.lanes,
                               numbers + i * job.lanes, job.lanes * sizeof(real))
            if beside == 1:
                store_results_across[real](job, units[unit], row + first, some, blocks + unit,
                                           numbers, <real *> own.signal)
            else:
                store_residues_across[real](job, units[unit], row + first, some, blocks + unit,
                                            beside, <real *> own.window)
            unit += beside


cdef void store_residues_across(
    const OverlapSave *job, Py_ssize_t unit, Py_ssize_t row, Py_ssize_t rows,
    const SignalBlock *block, Py_ssize_t residues, const real *numbers
) noexcept nogil:
    """The results of some rows in blocks of residues side by side: numbers[(i·residues + r)·lanes
    + row]."""
    cdef const View *out = &job.out
    cdef Py_ssize_t n = unit // (job.blocks.residues * job.blocks.most), i
    cdef Py_ssize_t pitch = out.strides[1] // job.size, dilation = job.blocks.dilation
    cdef real *result = <real *> at(out, n, row, block.output)
    if residues == dilation:  # nothing lies between the last of them and the first
        swap_axes[real](numbers, job.lanes, block.count * residues, rows, result, pitch)
        return
    for i in range(block.count):
        swap_axes[real](numbers + i * residues * job.lanes, job.lanes, residues, rows,
                        result + i * dilation, pitch)


cdef void store_results_across(
    const OverlapSave *job, Py_ssize_t unit, Py_ssize_t row, Py_ssize_t rows,
    const SignalBlock *block, const real *numbers, real *stage
) noexcept nogil:
    """The results of some rows in a block: numbers[i·lanes + row]."""
    cdef const View *out = &job.out
    cdef Py_ssize_t n = unit // (job.blocks.residues * job.blocks.most), i
    cdef Py_ssize_t stride = out.strides[2] * job.blocks.dilation
    cdef Py_ssize_t pitch = out.strides[1] // job.size
    cdef char *result = at(out, n, row, block.output)
    if has_adjacent_channels(out, job.size):
        for i in range(block.count):
            store_row[real](out, result, stored_size(out, job.size), rows, numbers + i * job.lanes)
            result += stride
    elif (out.half == NULL and not out.pair and stride == job.size
          and pitch * job.size == out.strides[1]):
        swap_axes[real](numbers, job.lanes, block.count, rows, <real *> result, pitch)
    else:
        swap_axes[real](numbers, job.lanes, block.count, rows, stage, block.count)
        for i in range(rows):
            store_row[real](out, at(out, n, row + i, block.output), stride, block.count,
                            stage + i * block.count)


cdef void transform_blocks(
    const OverlapSave *job, Py_ssize_t chunk, int worker, real *unused
) noexcept nogil:
    """The results of some blocks of a group, or of some groups."""
    cdef OverlapSaveScratch own
    cdef const cc_transforms *transforms = job.transforms
    cdef Py_ssize_t sets = group_sets(job)
    cdef Py_ssize_t group = chunk % sets * job.groups_at_once
    cdef Py_ssize_t groups = min(job.groups_at_once, job.some - group)
    cdef Py_ssize_t first_row, rows, packets = 0, count, i
    cdef Py_ssize_t[MOST_BLOCKS_AT_ONCE] units
    cdef SignalBlock[MOST_BLOCKS_AT_ONCE] blocks
    cdef cc_packets weights = job.weights, inputs, results
    carve_own_overlap_save(job, &own, job.workers + worker * job.worker_size)
    count = blocks_from(job, chunk // sets * job.at_once, &units[0], &blocks[0])
    if count == 0:
        return
    inputs.next, inputs.step, inputs.row = job.input_next, job.packet, job.input_row
    results.next, results.row, results.step = job.result_next, job.packet, job.result_row
    inputs.numbers = own.inputs
    if job.by_blocks:
        transform_channels_of_blocks[real](job, &own, group, groups, &units[0], &blocks[0], count,
                                           &inputs, NULL)
    else:
        results.row, results.step = job.result_row, job.packet
        transform_packets_of_channels[real](job, &own, group, groups, &units[0], &blocks[0], count,
                                            &inputs, NULL)
    for first_row from 0 <= first_row < job.outs by job.rows_at_once:
        rows = min(job.rows_at_once, job.outs - first_row)
        if not job.by_blocks:
            packets = (rows + job.lanes - 1) // job.lanes
        for i in range(groups):
            weights.numbers = (<real *> job.weights.numbers + (group + i) * job.group_size
                               + first_row // job.lanes * weights.row)
            if not job.by_blocks:
                inputs.numbers = (<real *> own.inputs + i * job.input_row // job.groups_at_once)
                results.numbers = <real *> own.results + i * packets * job.packet
                transforms.multiply_each_summand(&inputs, count, &weights, packets, job.channels,
                                                 &results, job.packets, False)
                invert_packets_of_rows[real](
                    job, &own, (job.group + group + i) * job.outs + first_row, rows, &units[0],
                    &blocks[0], count, &results, NULL)
                continue
            inputs.numbers = <real *> own.inputs + i * job.channels * job.packet
            results.numbers = <real *> own.results + i * rows * job.packet
            if job.across:
                transforms.multiply_each_row(&weights, rows, &inputs,
                                             (count + job.lanes - 1) // job.lanes, job.channels,
                                             &results, job.packets, False)
            else:
                transforms.multiply(&weights, rows, &inputs, count, job.channels, &results,
                                    job.packets, False)
        if job.by_blocks:
            results.numbers = own.results
            invert_rows_of_blocks[real](job, &own, (job.group + group) * job.outs + first_row,
                                        groups * rows, &units[0], &blocks[0], count, &results,
                                        NULL)


cdef inline Py_ssize_t group_sets(const OverlapSave *job) noexcept nogil:
    """Of the groups at hand, those that one chunk of the pool takes."""
    return (job.some + job.groups_at_once - 1) // job.groups_at_once


cdef void transform_weights_chunk(void *context, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef const OverlapSave *job = <const OverlapSave *> context
    if job.minimal and job.size == sizeof(float):
        filter_weights[float](job, chunk, worker, NULL)
    elif job.minimal:
        filter_weights[double](job, chunk, worker, NULL)
    elif job.size == sizeof(float):
        transform_weights[float](job, chunk, worker, NULL)
    else:
        transform_weights[double](job, chunk, worker, NULL)


cdef void transform_blocks_chunk(void *context, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef const OverlapSave *job = <const OverlapSave *> context
    if job.minimal and job.size == sizeof(float):
        filter_blocks[float](job, chunk, worker, NULL)
    elif job.minimal:
        filter_blocks[double](job, chunk, worker, NULL)
    elif job.size == sizeof(float):
        transform_blocks[float](job, chunk, worker, NULL)
    else:
        transform_blocks[double](job, chunk, worker, NULL)


# --- the job -------------------------------------------------------------------------------------


cdef struct Part:
    # What is computed at once: all, or of backward_input what the taps of one residue reach.
    Geometry g
    View w, out


cdef Part part_of_sum(
    const View *w, const View *out, const Geometry *g, bint transposed, Py_ssize_t residue
) noexcept nogil:
    cdef Part part
    cdef Py_ssize_t phase
    part.g, part.w, part.out = g[0], w[0], out[0]
    if transposed and g.stride > 1:
        phase = residue_phase(g, residue)
        part.w.data += residue * w.strides[2]
        part.w.strides[2] *= g.period
        part.w.shape[2] = residue_taps(g, residue)
        part.out.shape[2] = max(out.shape[2] - phase + g.stride - 1, 0) // g.stride
        if part.out.shape[2] > 0:
            part.out.data += phase * out.strides[2]
        part.out.strides[2] *= g.stride
        part.g.stride, part.g.dilation, part.g.taps = 1, g.step, part.w.shape[2]
        part.g.pad_left = -residue_shift(g, residue)
        find_residues(&part.g)
    return part


cdef bint plan_spectra(
    OverlapSave *job, const cc_tiles *tiles, const Part *part, Py_ssize_t groups, bint transposed,
    Py_ssize_t size
) noexcept nogil:
    """What the spectra of weights depend on; false if memory ran out."""
    cdef const Geometry *g = &part.g
    cdef const View *w = &part.w
    cdef Py_ssize_t rows
    job.transforms, job.tiles, job.g, job.size = transforms_of(tiles), tiles, g, size
    job.w, job.groups, job.transposed = w[0], groups, transposed
    job.outs = w.shape[1] if transposed else w.shape[0] // groups
    job.channels = w.shape[0] // groups if transposed else w.shape[1] * g.residues
    job.taps = residue_taps(g, 0)
    job.minimal, job.lanes, job.window = g.method == FAST, 1, 0
    if job.minimal:
        job.rows = share_rows(tiles, job.outs)
        job.weight_chunks = job.rows.blocks
        job.group_size = CC_PLANES * job.outs * job.channels
        return True
    job.log_points = block_points(job.taps, job.channels, job.outs)
    job.roots = cc_roots(job.log_points, size)
    job.across = job.log_points < CC_MIN_LOG_POINTS
    job.lanes = job.transforms.lanes if job.across else 1
    job.packet = 2 * job.transforms.lanes
    job.packets = (job.lanes << (job.log_points + 1)) // job.packet
    job.weights.step = job.packet
    job.weights.row = job.channels * job.packet
    if job.across:
        rows = rounded(job.outs, job.lanes) // job.lanes
        job.weights.step, job.weights.row = rows * job.packet, job.packet
        job.weights.next = odd_lines(job.channels * job.weights.step, size)
    else:
        job.weights.next = odd_lines(job.outs * job.weights.row, size)
    job.group_size = job.packets * job.weights.next
    job.weight_chunks = job.channels if job.across else job.outs
    job.length = (<Py_ssize_t> 2) << job.log_points
    job.pitch = signals_pitch(job.lanes, job.log_points, size)
    return job.roots != NULL


cdef inline Py_ssize_t count_parts(const Geometry *g, bint transposed) noexcept nogil:
    return g.residues if transposed else 1


cdef Py_ssize_t spectra_bytes(
    const cc_tiles *tiles, const View *w, const Geometry *g, Py_ssize_t groups, bint transposed,
    Py_ssize_t size
) noexcept nogil:
    """Of the weights of all groups; 0 if memory ran out."""
    cdef OverlapSave job
    cdef Part part
    cdef Py_ssize_t residue, bytes = 0
    for residue in range(count_parts(g, transposed)):
        part = part_of_sum(w, &nothing, g, transposed, residue)
        if not plan_spectra(&job, tiles, &part, groups, transposed, size):
            return 0
        bytes += groups * job.group_size * size
    return bytes


cdef bint prepack_spectra(
    const cc_tiles *tiles, const View *w, const Geometry *g, Py_ssize_t groups, bint transposed,
    Py_ssize_t size, PackedLayout *kept, void *packed
) noexcept nogil:
    """Spectra of the weights of all groups for calls to come; false if memory ran out."""
    cdef OverlapSave job
    cdef OverlapSaveScratch own
    cdef Part part
    cdef Arena arena
    cdef Py_ssize_t chunks, residue
    kept.numbers, kept.other = packed, NULL
    for residue in range(count_parts(g, transposed)):
        part = part_of_sum(w, &nothing, g, transposed, residue)
        if not plan_spectra(&job, tiles, &part, groups, transposed, size):
            return False
        chunks = groups * job.weight_chunks
        job.group, job.input_next, job.result_next = 0, 0, 0
        job.plane = job.result_plane = 0
        if job.minimal:
            job.pitch = 0
        job.channels_beside, job.rows_beside = 0, 1
        job.threads = 1
        if groups * job.group_size >= SERIAL_WEIGHTS:
            job.threads = <int> min(cc_pool_threads(), chunks)
        job.worker_size = carve_own_overlap_save(&job, &own, 0)
        job.workers = arena_open(&arena, job.threads * job.worker_size)
        if job.workers == 0:
            return False
        job.weights.numbers = packed
        cc_pool_run(transform_weights_chunk, &job, chunks, job.threads)
        arena_close(&arena)
        packed = <char *> packed + groups * job.group_size * size
    kept.tiles, kept.transposed, kept.method = tiles, transposed, g.method
    kept.groups, kept.outs, kept.channels = groups, job.outs, job.channels
    kept.taps, kept.stride, kept.dilation = g.taps, g.stride, g.dilation
    return True


cdef inline bint has_spectra(
    const OverlapSave *job, const PackedLayout *kept, const Geometry *g
) noexcept nogil:
    """Whether weights were packed for such a sum."""
    return (kept != NULL and kept.method == g.method and kept.tiles == job.tiles
            and kept.transposed == job.transposed and kept.groups == job.groups
            and kept.outs == job.outs and kept.channels == job.channels
            and kept.taps == g.taps and kept.stride == g.stride and kept.dilation == g.dilation)


cdef bint lanes_are_blocks(const OverlapSave *job) noexcept nogil:
    """Whether lanes that run across signals are blocks, or else channels and rows.

    What is left over of the lanes is lost: of blocks in all, or of channels and rows in each block.
    """
    cdef Py_ssize_t columns = (job.units + job.lanes - 1) // job.lanes
    cdef Py_ssize_t channels = (job.channels + job.lanes - 1) // job.lanes
    cdef Py_ssize_t rows = (job.outs + job.lanes - 1) // job.lanes
    cdef Py_ssize_t transform = TRANSFORM_TIME * job.log_points
    return (5 * columns * (transform * (job.channels + job.outs) + job.channels * job.outs)
            <= channel_lanes * job.units * (transform * (channels + rows) + job.channels * rows))


cdef bint plan_overlap_save(
    OverlapSave *job, const cc_tiles *tiles, const View *array, const Part *part, bint biased,
    const Geometry *g, Py_ssize_t groups, bint transposed, Py_ssize_t size
) noexcept nogil:
    """A part of the sum of that geometry; false if memory ran out."""
    cdef const View *out = &part.out
    cdef Py_ssize_t span, hop, bytes, signal_bytes, rows, shift, step, more = 0
    if not plan_spectra(job, tiles, part, groups, transposed, size):
        return False
    job.kept = has_spectra(job, part.w.packed, g)
    job.array, job.out, job.biased = array[0], out[0], biased
    span = job.taps - 1
    if transposed:
        shift, step = span * job.g.dilation - job.g.pad_left, job.g.dilation
    else:  # of every stride-th sample, of which output q meets number q − shift by tap 0
        shift, step = floor_division(g.pad_left, g.stride), g.step
    if job.minimal:
        return plan_minimal_filtering(job, shift, step)
    hop = job.length - span
    if ((transposed or g.stride == 1 and g.mode == CCONV1D_ZEROS)
            and (array.shape[2] - 1) // step < hop):
        more = span
    job.blocks = cut_blocks(out.shape[2], shift, step, hop, span, more)
    job.units = out.shape[0] * job.blocks.residues * job.blocks.most

    # Blocks at once, rows beside each other and groups in a set: no bits depend on them.
    job.rows_at_once = min(job.outs, ROWS_AT_ONCE)
    signal_bytes = job.lanes * (2 * size) << job.log_points
    job.channels_beside = rows_beside(array, array.shape[1], job.g.residues * signal_bytes, size)
    job.rows_beside = rows_beside(out, out.shape[1], signal_bytes, size)
    job.most_groups = groups
    if not job.kept:
        job.most_groups = max(1, min(groups, WEIGHT_SPECTRA_BYTES // (job.group_size * size)))
    job.groups_at_once = 1
    if job.outs == job.rows_at_once:
        job.groups_at_once = min(job.most_groups, max(
            1, max(job.rows_beside // job.outs,
                   job.channels_beside * job.g.residues // job.channels)))
    job.channels_beside = min(job.channels_beside,
                              job.groups_at_once * job.channels // job.g.residues)
    job.rows_beside = min(job.rows_beside, job.groups_at_once * job.rows_at_once)
    prefetch_blocks(&job.array, job.blocks.hop, job.g)

    job.threads = threads_for(out.shape[0] * out.shape[1] * out.shape[2],
                              16 * (job.channels + job.outs))
    job.by_blocks = not job.across or lanes_are_blocks(job)
    if not job.by_blocks:
        job.window = window_of(array, job.g, job.length, job.lanes, size)
    job.input_row, job.result_row = job.channels, job.rows_at_once
    if not job.by_blocks:
        job.input_row = (job.channels + job.lanes - 1) // job.lanes
        job.result_row = (job.rows_at_once + job.lanes - 1) // job.lanes
    job.input_row *= job.groups_at_once * job.packet
    job.result_row *= job.groups_at_once * job.packet
    bytes = job.groups_at_once * (job.channels + job.rows_at_once) * (2 * size << job.log_points)
    job.at_once = SPECTRA_BYTES // bytes
    if job.channels * job.outs * (2 * size << job.log_points) > SPECTRA_BYTES:
        job.at_once = MANY_SPECTRA_BYTES // bytes
    job.at_once = max(1, min(job.at_once, MOST_BLOCKS_AT_ONCE if job.across
                             else MOST_BLOCKS_AT_ONCE // 4, job.units))
    while (job.at_once > 1 and job.most_groups // job.groups_at_once * (job.units // job.at_once)
            < BLOCK_CHUNKS_PER_THREAD * job.threads and job.threads > 1):
        job.at_once -= 1
    rows = job.at_once
    if job.by_blocks:
        job.at_once = rounded(job.at_once, job.lanes)
        rows = job.at_once // job.lanes
    job.input_next = odd_lines(rows * job.input_row, size)
    job.result_next = odd_lines(rows * job.result_row, size)
    job.blocks_of_group = (job.units + job.at_once - 1) // job.at_once
    job.threads = <int> max(1, min(job.threads,
                                   job.most_groups * max(job.blocks_of_group, job.outs)))
    return True


cdef void run_overlap_save(OverlapSave *job, const View *bias) noexcept nogil:
    """A planned job whose scratch is carved."""
    cdef Py_ssize_t group, row, spoiled = 0
    memset(job.spoiled, 0, job.groups * job.outs * job.units)
    for group from 0 <= group < job.groups by job.most_groups:
        if cc_pool_cancelled(0):
            break
        job.group = group
        job.some = min(job.most_groups, job.groups - job.group)
        if not job.kept:
            cc_pool_run(transform_weights_chunk, job,
                        job.some * job.weight_chunks, job.threads)
        cc_pool_run(transform_blocks_chunk, job, group_sets(job) * job.blocks_of_group,
                    job.threads)
    for row in range(job.groups * job.outs * job.units):
        spoiled |= job.spoiled[row]
    if spoiled and not cc_pool_cancelled(0):
        sum_spoiled_again(job, bias)


cdef void load_all_biases(const OverlapSave *job, const View *bias) noexcept nogil:
    cdef Py_ssize_t row
    for row in range(job.groups * job.outs):
        if job.size == sizeof(float):
            load_row[float](bias, line_at(bias, row), 0, 1, <float *> job.biases + row)
        else:
            load_row[double](bias, line_at(bias, row), 0, 1, <double *> job.biases + row)


cdef bint overlap_save(
    const cc_tiles *tiles, const View *array, const View *w, const View *bias, const View *out,
    const Geometry *g, Py_ssize_t groups, bint transposed, Py_ssize_t size
) noexcept nogil:
    """What sum_terms computes; false if memory ran out, with nothing stored."""
    cdef OverlapSave job
    cdef Part part
    cdef Py_ssize_t residue, parts = count_parts(g, transposed)
    cdef bint biased = bias.data != NULL
    cdef const void *biases
    cdef Arena arena
    cdef uintptr_t start = 0, kept = 0
    for residue in range(parts):
        part = part_of_sum(w, out, g, transposed, residue)
        if not plan_overlap_save(&job, tiles, array, &part, biased, g, groups, transposed, size):
            return False
        start = max(start, carve_overlap_save(&job, 0))
    start = arena_open(&arena, start)
    if start == 0:
        return False
    for residue in range(parts):
        part = part_of_sum(w, out, g, transposed, residue)
        plan_overlap_save(&job, tiles, array, &part, biased, g, groups, transposed, size)
        if job.kept:
            job.weights.numbers = <char *> w.packed.numbers + kept
            kept += groups * job.group_size * size
        carve_overlap_save(&job, start)
        if job.minimal:
            point_at_channels(&job)
        if biased:
            load_all_biases(&job, bias)
        if residue == 0 and transposed and g.residues < g.stride:  # what no tap meets is the bias
            biases = job.biases if biased else NULL
            if size == sizeof(float):
                fill_bias[float](out, <const float *> biases, job.outs, job.outs)
            else:
                fill_bias[double](out, <const double *> biases, job.outs, job.outs)
        if part.out.shape[2] > 0:
            run_overlap_save(&job, bias)
    arena_close(&arena)
    return True
