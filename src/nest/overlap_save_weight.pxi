# backward_weight by transforms of blocks that overlap (method "fft").
#
#     dw[row, c, j] = Σ_{n,t,i} dy[n, row, d·t + i] · x[n, c, d·(t + j) + i − pad_left]
#
# That is stride 1; at others c are the signals that overlap_save.pxi takes the channels of x for.
#
# Takes  Views of dy, x and dw with any strides and formats.
# Gives  dw; false if memory ran out.
#
# A block of dy has B − k + 1 positions of a residue i modulo the dilation d, and then zeros up to
# B = 2·M; that of x the B samples that they meet. Products of their spectra are summed over blocks,
# residues and samples, so there is one way back for each pair of channels.
#
# Lanes run along roots, or across channels where blocks are too short for that: then each number of
# x meets all lanes of dy, and the sums are conjugates of spectra, those of dw in reverse.
#
# Loops, outermost first: sets of groups whose sums fit a budget; batches of blocks; chunks of the
# pool: first channels of blocks to spectra, then packets, whose products are summed.
#
# Gradients that come out not finite are computed again by backward_weight.

# Spectra that are summed, and those of a batch of blocks. Bits depend on the batch.
cdef enum: WEIGHT_SUMS_BYTES = 4 * 1024 * 1024, BATCH_BYTES = 1024 * 1024


cdef struct OverlapSaveWeight:
    const cc_transforms *transforms
    const cc_tiles *tiles
    const void *roots
    int log_points, threads
    View dy, x, dw
    const Geometry *g
    Py_ssize_t groups, outs
    Py_ssize_t channels                 # of x in a group, or the signals that they are taken for
    Py_ssize_t taps                     # of a signal, at most
    Py_ssize_t size, packet, packets
    bint across                         # lanes are channels
    Py_ssize_t lanes                    # that channels are taken by: 1 unless across
    Py_ssize_t window                   # numbers of one: see window_of
    Py_ssize_t dy_beside, x_beside      # channels of any group that are taken together: 1 if across
    Py_ssize_t dy_rows, x_rows          # channels, or packets of them
    Blocks blocks                       # of the positions of dy
    Py_ssize_t units, batch             # blocks of all residues and samples; in a batch
    Py_ssize_t first_unit, some_units   # the batch
    Py_ssize_t group, some, most_groups  # the set of groups
    # [packet][channel][unit]; [packet][row][channel], or across [packet][channel][row]
    cc_packets dys, xs, sums
    Py_ssize_t dys_size, xs_size, sums_size  # numbers, of a group
    Py_ssize_t parts                    # that packets are shared out to
    void *gradients                     # [row][channel][tap] of all groups, as real numbers
    unsigned char *spoiled              # [row][channel]: not finite
    uintptr_t signals                   # of each thread: as many as lanes, twice if across
    Py_ssize_t signal_size


cdef uintptr_t carve_overlap_save_weight(OverlapSaveWeight *job, uintptr_t next) noexcept nogil:
    cdef Py_ssize_t pairs = job.groups * job.outs * (job.channels // job.g.residues)
    job.gradients = carve(&next, pairs * job.g.taps * job.size)
    job.spoiled = <unsigned char *> carve(&next, pairs)
    job.dys.numbers = carve(&next, job.most_groups * job.dys_size * job.size)
    job.xs.numbers = carve(&next, job.most_groups * job.xs_size * job.size)
    job.sums.numbers = carve(&next, job.most_groups * job.sums_size * job.size)
    job.signals, job.signal_size = next, rounded(
        max(((1 + job.across) * job.lanes * (2 * job.size) << job.log_points)
            + 2 * job.window * job.size,
            max(job.dy_beside, job.x_beside * job.g.residues)
            * signals_pitch(1, job.log_points, job.size) * job.size), 64)
    return next + job.threads * job.signal_size


cdef inline SignalBlock block_of_batch(
    const OverlapSaveWeight *job, Py_ssize_t i, Py_ssize_t *n
) noexcept nogil:
    """A block of the batch, and the sample that it is of."""
    cdef Py_ssize_t unit = job.first_unit + i, residues = job.blocks.residues
    n[0] = unit // (residues * job.blocks.most)
    return block_of(&job.blocks, unit % residues, unit // residues % job.blocks.most)


cdef inline void copy_signals_of_block(
    const OverlapSaveWeight *job, bint of_dy, Py_ssize_t n, const SignalBlock *block,
    Py_ssize_t channel, Py_ssize_t channels, real *signals, Py_ssize_t pitch
) noexcept nogil:
    """The signals of some channels in a block: positions and then zeros, or samples."""
    cdef Py_ssize_t length = (<Py_ssize_t> 2) << job.log_points, count, i
    if not of_dy:
        copy_signals[real](&job.x, job.g, n, channel, channels, block.sample
                           - floor_division(job.g.pad_left, job.g.stride), length, signals, pitch)
        return
    count = max(block.count, 0)
    for i in range(channels):
        memset(signals + i * pitch + count, 0, (length - count) * sizeof(real))
    if count > 0:
        copy_rows[real](&job.dy, n, channel, channels, block.sample, job.blocks.dilation, count,
                        signals, pitch)


cdef void transform_packet(
    const OverlapSaveWeight *job, Py_ssize_t chunk, real *numbers
) noexcept nogil:
    """A packet of channels of dy, or of the signals of x, in all blocks of the batch."""
    cdef Py_ssize_t row = chunk % (job.dy_rows + job.x_rows)
    cdef Py_ssize_t group = chunk // (job.dy_rows + job.x_rows)
    cdef bint of_dy = row < job.dy_rows
    cdef const View *array = &job.dy if of_dy else &job.x
    cdef const cc_packets *spectra = &job.dys if of_dy else &job.xs
    cdef Py_ssize_t channels = job.outs if of_dy else job.channels
    cdef Py_ssize_t residues = 1 if of_dy else job.g.residues
    cdef Py_ssize_t step = job.blocks.dilation if of_dy else job.g.stride * job.g.step
    cdef Py_ssize_t length = (<Py_ssize_t> 2) << job.log_points
    cdef Py_ssize_t i, n, first, some, number, count, distance
    cdef real *rows = numbers + job.lanes * length
    cdef real *spectrum = <real *> spectra.numbers + group * (job.dys_size if of_dy
                                                              else job.xs_size)
    cdef const real *signals
    cdef SignalBlock block
    cdef Window window
    window.filled = False
    if not of_dy:
        row -= job.dy_rows
    spectrum += row * spectra.row
    some = min(job.lanes, channels - row * job.lanes)
    first = (job.group + group) * channels + row * job.lanes
    for i in range(job.some_units):
        block = block_of_batch(job, i, &n)
        number, count = block.sample, max(block.count, 0)
        if not of_dy:
            number, count = sample_of_signal(
                job.g, number - floor_division(job.g.pad_left, job.g.stride), 0), length
        if job.window and array.strides[1] != job.size:
            signals = signals_of_window[real](
                array, n, first, some, number, step, length, job.lanes, rows, &window,
                rows + job.window, &distance)
        else:
            signals = signals_across[real](
                array, n, first, some, number, residues, job.g.dilation, step, count, job.lanes,
                rows, numbers, &distance)
        job.transforms.forward_across(job.roots, job.log_points, signals, distance, count, numbers,
                                      spectrum + i * spectra.step, spectra.next)


cdef void transform_channels(
    const OverlapSaveWeight *job, Py_ssize_t chunk, real *signals
) noexcept nogil:
    """Some channels of dy, or of x, of any of the groups, in all blocks of the batch."""
    cdef Py_ssize_t pitch = signals_pitch(1, job.log_points, job.size)
    cdef Py_ssize_t dy_sets = channel_sets(job, True), channel, channels, some, each, i, n, signal
    cdef bint of_dy = chunk < dy_sets
    cdef const cc_packets *spectra = &job.dys if of_dy else &job.xs
    cdef Py_ssize_t size = job.dys_size if of_dy else job.xs_size
    cdef Py_ssize_t residues = 1 if of_dy else job.g.residues
    cdef SignalBlock block
    if of_dy:
        each, channels, channel = job.dy_beside, job.outs, chunk * job.dy_beside
    else:
        each, channels = job.x_beside, job.channels // residues
        channel = (chunk - dy_sets) * each
    some = min(each, job.some * channels - channel)
    for i in range(job.some_units):
        block = block_of_batch(job, i, &n)
        copy_signals_of_block[real](job, of_dy, n, &block, job.group * channels + channel, some,
                                    signals, pitch)
        for signal in range(some * residues):
            each = channel * residues + signal  # of all groups
            job.transforms.forward(
                job.roots, job.log_points, signals + signal * pitch, <real *> spectra.numbers
                + each // (channels * residues) * size + each % (channels * residues) * spectra.row
                + i * spectra.step, spectra.next)


cdef inline Py_ssize_t channel_sets(const OverlapSaveWeight *job, bint of_dy) noexcept nogil:
    """Chunks of transform_channels, of the groups at hand."""
    if of_dy:
        return (job.some * job.outs + job.dy_beside - 1) // job.dy_beside
    return (job.some * (job.channels // job.g.residues) + job.x_beside - 1) // job.x_beside


cdef void transform_channel_chunk(void *context, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef const OverlapSaveWeight *job = <const OverlapSaveWeight *> context
    cdef uintptr_t signals = job.signals + worker * job.signal_size
    if job.across and job.size == sizeof(float):
        transform_packet[float](job, chunk, <float *> signals)
    elif job.across:
        transform_packet[double](job, chunk, <double *> signals)
    elif job.size == sizeof(float):
        transform_channels[float](job, chunk, <float *> signals)
    else:
        transform_channels[double](job, chunk, <double *> signals)


cdef void add_products_chunk(void *context, Py_ssize_t chunk, int worker) noexcept nogil:
    """The products of some packets of a group, summed over the batch."""
    cdef const OverlapSaveWeight *job = <const OverlapSaveWeight *> context
    cdef Py_ssize_t group = chunk // job.parts, part = chunk % job.parts, size = job.size
    cdef Py_ssize_t first = part * job.packets // job.parts
    cdef Py_ssize_t end = (part + 1) * job.packets // job.parts
    cdef cc_packets dys = job.dys, xs = job.xs, sums = job.sums
    dys.numbers = <char *> dys.numbers + (group * job.dys_size + first * dys.next) * size
    xs.numbers = <char *> xs.numbers + (group * job.xs_size + first * xs.next) * size
    sums.numbers = <char *> sums.numbers + (group * job.sums_size + first * sums.next) * size
    if job.across:
        job.transforms.multiply_each_row(&xs, job.channels, &dys, job.dy_rows, job.some_units,
                                         &sums, end - first, job.first_unit > 0)
    else:
        job.transforms.multiply(&dys, job.outs, &xs, job.channels, job.some_units, &sums,
                                end - first, job.first_unit > 0)


cdef void invert_row(
    const OverlapSaveWeight *job, Py_ssize_t chunk, int worker, real *signals
) noexcept nogil:
    """The gradients of one row of weights, or of a packet of rows."""
    cdef Py_ssize_t first = chunk % job.dy_rows * job.lanes, group = chunk // job.dy_rows
    cdef Py_ssize_t length = (<Py_ssize_t> 2) << job.log_points
    cdef Py_ssize_t rows = min(job.lanes, job.outs - first)
    cdef Py_ssize_t residues = job.g.residues, channels = job.channels // residues
    cdef Py_ssize_t row = (job.group + group) * job.outs + first, size = channels * job.g.taps
    cdef Py_ssize_t channel, taps, lane, tap, step = job.g.period
    cdef const real *spectra = <const real *> job.sums.numbers + group * job.sums_size
    cdef real *gradients = <real *> job.gradients + row * size
    cdef real *reversed_taps = signals + job.lanes * length
    cdef real *to
    for channel in range(job.channels):
        taps = residue_taps(job.g, channel % residues)
        to = gradients + channel // residues * job.g.taps + channel % residues
        if not job.across:
            job.transforms.inverse(job.roots, job.log_points, spectra + first * job.sums.row
                                   + channel * job.sums.step, job.sums.next, signals)
            for tap in range(taps):
                to[tap * step] = signals[tap]
            continue
        job.transforms.inverse_across(
            job.roots, job.log_points, spectra + channel * job.sums.row
            + first // job.lanes * job.sums.step, job.sums.next, signals)
        # the first tap, and what wrapped round, which came in reverse and with the other sign
        swap_axes[real](signals + (length - 1) * job.lanes, -job.lanes, taps - 1, rows,
                        reversed_taps, taps)
        for lane in range(rows):
            to[0] = signals[lane]
            for tap in range(1, taps):
                to[tap * step] = -reversed_taps[lane * taps + tap - 1]
            to += size
    for lane in range(rows):
        find_spoiled_gradients[real](job, row + lane, gradients + lane * size)


cdef void find_spoiled_gradients(
    const OverlapSaveWeight *job, Py_ssize_t row, real *gradients
) noexcept nogil:
    """Which pairs of a row have gradients that are not finite; seldom is there any."""
    cdef Py_ssize_t channels = job.channels // job.g.residues, channel
    memset(job.spoiled + row * channels, 0, channels)
    if job.transforms.finish(gradients, channels * job.g.taps, NULL):
        return
    for channel in range(channels):
        job.spoiled[row * channels + channel] = not job.transforms.finish(
            gradients + channel * job.g.taps, job.g.taps, NULL)


cdef void invert_row_chunk(void *context, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef const OverlapSaveWeight *job = <const OverlapSaveWeight *> context
    cdef uintptr_t signal = job.signals + worker * job.signal_size
    if job.size == sizeof(float):
        invert_row[float](job, chunk, worker, <float *> signal)
    else:
        invert_row[double](job, chunk, worker, <double *> signal)


cdef View real_channels(const View *view, Py_ssize_t channel, Py_ssize_t count) noexcept nogil:
    """One channel, or one part of a complex one, of all samples."""
    cdef View part = view[0]
    part.data = at(view, 0, channel, 0)
    part.shape[1] = count
    part.pair = 0
    return part


cdef bint sum_spoiled_gradients(
    const OverlapSaveWeight *job, const View *gradients
) noexcept nogil:
    """What came out not finite, to `gradients` of real numbers; false if memory ran out."""
    cdef Py_ssize_t channels = job.channels // job.g.residues, row, channel, end
    cdef View dy, x, dw
    cdef Geometry g = job.g[0]
    g.method = DIRECT
    for row in range(gradients.shape[0]):
        end = 0
        while end < channels:
            channel, end = end, end + 1
            if not job.spoiled[row * channels + channel]:
                continue
            # neighbours together, but not parts of complex numbers, which lie elsewhere
            while end < channels and job.spoiled[row * channels + end] and not job.x.pair:
                end += 1
            if cc_pool_cancelled(0):
                return True
            dy = real_channels(&job.dy, row, 1)
            x = real_channels(&job.x, row // job.outs * channels + channel, end - channel)
            dw = part_of(gradients, row, 1, channel, end - channel, 0, job.g.taps)
            if not backward_weight(job.tiles, &dy, &x, &dw, &g, 1, job.size):
                return False
    return True


cdef void store_gradient_rows(
    const View *dw, const real *gradients
) noexcept nogil:
    cdef Py_ssize_t row, channel
    for row in range(dw.shape[0]):
        for channel in range(dw.shape[1]):
            store_row[real](dw, at(dw, row, channel, 0), dw.strides[2], dw.shape[2],
                            gradients + (row * dw.shape[1] + channel) * dw.shape[2])


cdef bint overlap_save_weight(
    const cc_tiles *tiles, const View *dy, const View *x, const View *dw, const Geometry *g,
    Py_ssize_t groups, Py_ssize_t size
) noexcept nogil:
    """What backward_weight computes; false if memory ran out, with nothing stored."""
    cdef OverlapSaveWeight job
    cdef Py_ssize_t span, bytes, group, unit, i, chunks
    cdef View gradients = nothing
    cdef Arena arena
    cdef uintptr_t start
    cdef bint done = True
    job.transforms, job.tiles = transforms_of(tiles), tiles
    job.g, job.groups, job.size = g, groups, size
    job.dy, job.x, job.dw = dy[0], x[0], dw[0]
    job.x.mode = g.mode
    job.outs, job.channels = dw.shape[0] // groups, dw.shape[1] * g.residues
    job.taps = residue_taps(g, 0)
    job.log_points = block_points(job.taps, job.channels, job.outs)
    job.roots = cc_roots(job.log_points, size)
    if job.roots == NULL:
        return False
    job.across = job.log_points < CC_MIN_LOG_POINTS
    job.lanes = job.transforms.lanes if job.across else 1
    job.packet = 2 * job.transforms.lanes
    job.packets = (job.lanes << (job.log_points + 1)) // job.packet
    job.dy_rows = (job.outs + job.lanes - 1) // job.lanes
    job.x_rows = (job.channels + job.lanes - 1) // job.lanes
    span = job.taps - 1
    job.blocks = cut_blocks(dy.shape[2], 0, g.step,
                            ((<Py_ssize_t> 2) << job.log_points) - span, 0, 0)
    job.units = dy.shape[0] * job.blocks.residues * job.blocks.most
    job.window = 0
    if job.across:
        job.window = max(
            window_of(x, g, (<Py_ssize_t> 2) << job.log_points, job.lanes, size),
            window_of(dy, g, (<Py_ssize_t> 2) << job.log_points, job.lanes, size))
    job.dy_beside = job.x_beside = 1
    bytes = (2 * size << job.log_points)
    if not job.across:
        job.dy_beside = rows_beside(dy, dy.shape[1], bytes, size)
        job.x_beside = rows_beside(x, x.shape[1], g.residues * bytes, size)
    prefetch_blocks(&job.dy, job.blocks.hop, g)
    prefetch_blocks(&job.x, job.blocks.hop, g)
    job.batch = max(8, min(CC_CHAIN, BATCH_BYTES // ((job.outs + job.channels) * bytes)))
    job.batch = min(job.batch, job.units)
    if job.across:  # summands apart, as rows of x are the lanes of packets
        job.dys.row = job.xs.row = job.sums.step = job.packet
        job.dys.step, job.xs.step = job.dy_rows * job.packet, job.x_rows * job.packet
        job.sums.row = job.dy_rows * job.packet
    else:
        job.dys.step = job.xs.step = job.sums.step = job.packet
        job.dys.row = job.xs.row = job.batch * job.packet
        job.sums.row = job.channels * job.packet
    job.dys.next = odd_lines(job.batch * job.dy_rows * job.packet, size)
    job.xs.next = odd_lines(job.batch * job.x_rows * job.packet, size)
    job.sums.next = odd_lines(job.channels * job.dy_rows * job.packet, size)
    job.dys_size, job.xs_size = job.packets * job.dys.next, job.packets * job.xs.next
    job.sums_size = job.packets * job.sums.next
    job.most_groups = max(1, min(groups, WEIGHT_SUMS_BYTES // (
        size * (job.dys_size + job.xs_size + job.sums_size))))
    job.threads = threads_for(dw.shape[0] * dw.shape[1], dy.shape[0] * dy.shape[2])
    job.threads = <int> min(job.threads, job.most_groups * max(job.packets, job.outs))
    job.parts = max(1, min(BLOCK_CHUNKS_PER_THREAD * job.threads // job.most_groups, job.packets))

    start = arena_open(&arena, carve_overlap_save_weight(&job, 0))
    if start == 0:
        return False
    carve_overlap_save_weight(&job, start)
    for group from 0 <= group < groups by job.most_groups:
        job.group = group
        job.some = min(job.most_groups, groups - job.group)
        for unit from 0 <= unit < job.units by job.batch:
            if cc_pool_cancelled(0):
                break
            job.first_unit = unit
            job.some_units = min(job.batch, job.units - job.first_unit)
            chunks = job.some * (job.dy_rows + job.x_rows)
            if not job.across:
                chunks = channel_sets(&job, True) + channel_sets(&job, False)
            cc_pool_run(transform_channel_chunk, &job, chunks, job.threads)
            cc_pool_run(add_products_chunk, &job, job.some * job.parts, job.threads)
        cc_pool_run(invert_row_chunk, &job, job.some * job.dy_rows, job.threads)
    if not cc_pool_cancelled(0):
        gradients.data = <char *> job.gradients
        gradients.shape[0], gradients.shape[1] = dw.shape[0], dw.shape[1]
        gradients.shape[2] = dw.shape[2]
        gradients.strides[2] = size
        gradients.strides[1] = dw.shape[2] * size
        gradients.strides[0] = dw.shape[1] * gradients.strides[1]
        for i in range(dw.shape[0] * dw.shape[1]):
            if job.spoiled[i]:
                done = sum_spoiled_gradients(&job, &gradients)
                break
        if done and not cc_pool_cancelled(0):
            if dw.pair and size == sizeof(float):
                join_parts[float](dw, <const float *> job.gradients)
            elif dw.pair:
                join_parts[double](dw, <const double *> job.gradients)
            elif size == sizeof(float):
                store_gradient_rows[float](dw, <const float *> job.gradients)
            else:
                store_gradient_rows[double](dw, <const double *> job.gradients)
    arena_close(&arena)
    return done
