# forward where most taps meet padding: lanes along positions, terms that meet no sample left out;
# and backward_input at stride 1, with lanes along signals.
#
#     out[n, row, m] = bias[row] + Σ w[t][row] · panel[offset[t] + lane of (n, m)]
#                                  over the terms t whose tap meets a sample in the strip of m
#
# Takes  a planned Sum, Views with any strides and formats, packed weights or weights to be packed,
#        a bias.
# Gives  the results; false if memory ran out.
#
# Where a kernel is longer than a signal, or its padding is, a few positions meet few of its taps,
# which lie side by side. So positions are taken a strip at a time: no longer than a tile is wide,
# or several signals' that are shorter. Of each channel the taps from `first` to `last` are copied,
# samples and weights; those of a block of terms are a chain that ends where it does in other nests.
#
# Of many short signals a strip is one position of each, and a chunk has all positions: samples
# change places with the lanes once for all of them, and results on their way back.
#
# Loops, outermost first: chunks of the pool (part of the rows, strip of positions, some signals,
# group); spans of terms, whose samples are copied; positions, if lanes are signals; blocks of rows;
# blocks of terms; tiles.

cdef struct LivingTaps:
    # A job for the pool.
    const Sum *sum
    View array, out
    Py_ssize_t size             # of a number, in bytes
    Py_ssize_t run, runs        # positions of a signal in a strip, such strips of a signal
    Py_ssize_t signals          # in a strip
    Py_ssize_t lanes            # of a strip, whole tiles of every block of rows
    bint halves                 # which are those with half the positions
    Py_ssize_t taps, most_taps  # of all strips of a signal together, and of one at most
    Py_ssize_t parts            # of the blocks of rows
    Py_ssize_t span             # terms in a span, whole blocks
    Py_ssize_t row              # numbers of the panel from a row to the next
    Py_ssize_t rows             # of a panel
    bint shared                 # the taps of a channel share a row
    bint adjacent               # channels lie side by side
    bint swaps                  # a strip is a position of some signals, and a chunk all strips
    Py_ssize_t strips           # of a signal in chunks of their own
    bint prepacked, biased
    int threads
    void *packed                # [group][block of rows][term][row of the block]
    void *biases                # [group][row]
    uintptr_t workers           # the threads' own scratch
    Py_ssize_t worker_size


cdef struct LivingScratch:
    # What a thread has for itself.
    void *panel       # [channel or term][lane]
    void *weights     # [term of a block][row of a block]
    void *sums        # [strip of a chunk][row of a part][lane]
    int32_t *offset   # [block of a span][term]
    Piece *pieces
    Block *blocks     # of terms, of a span


cdef struct Taps:
    # Those that meet a sample at some position of a strip, or at most as many.
    Py_ssize_t first, last


cdef inline Py_ssize_t sample_of_position(const Sum *sum, Py_ssize_t position) noexcept nogil:
    """What tap 0 meets at a position; others meet samples behind it, or before if transposed."""
    if sum.transposed:
        return position + sum.g.pad_left
    return position * sum.g.stride - sum.g.pad_left


cdef inline Taps living_taps_of(
    const Sum *sum, Py_ssize_t length, Py_ssize_t position, Py_ssize_t positions
) noexcept nogil:
    cdef const Geometry *g = sum.g
    cdef Taps taps
    cdef Py_ssize_t first = sample_of_position(sum, position)
    cdef Py_ssize_t last = sample_of_position(sum, position + positions - 1)
    if sum.transposed:
        first, last = length - 1 - last, length - 1 - first
    taps.first = min(max(ceiling(-last, g.dilation), 0), g.taps)
    taps.last = max(min(ceiling(length - first, g.dilation), g.taps), taps.first)
    return taps


cdef uintptr_t carve_own_living(
    const LivingTaps *job, LivingScratch *own, uintptr_t next
) noexcept nogil:
    cdef Py_ssize_t blocks = (job.sum.rows[0].blocks + job.parts - 1) // job.parts
    own.panel = carve(&next, job.rows * job.row * job.size)
    own.weights = carve(&next, CC_BLOCK * job.sum.tiles.correlate_rows * job.size)
    own.sums = carve(&next, job.runs // job.strips * blocks * job.sum.tiles.correlate_rows
                     * job.lanes * job.size)
    own.offset = <int32_t *> carve(&next, job.span * sizeof(int32_t))
    own.pieces = <Piece *> carve(&next, job.span * sizeof(Piece))
    own.blocks = <Block *> carve(&next, job.span // CC_BLOCK * sizeof(Block))
    return next


cdef uintptr_t carve_living(LivingTaps *job, uintptr_t next) noexcept nogil:
    cdef LivingScratch own
    job.packed = job.biases = NULL
    if not job.prepacked:
        job.packed = carve(&next, job.sum.size * job.size)
    if job.biased:
        job.biases = carve(&next, job.sum.groups * job.sum.outs * job.size)
    job.workers, job.worker_size = next, carve_own_living(job, &own, 0)
    return next + job.threads * job.worker_size


cdef inline Py_ssize_t channels_of_span(
    const LivingTaps *job, Py_ssize_t t0, Py_ssize_t t1
) noexcept nogil:
    return (t1 - 1) // job.sum.g.taps + 1 - t0 // job.sum.g.taps


cdef void list_living_terms(
    const LivingTaps *job, LivingScratch *own, Taps taps, Py_ssize_t m, Py_ssize_t t0,
    Py_ssize_t t1
) noexcept nogil:
    """The blocks of a span of terms, their pieces, and where in the panel their samples are."""
    cdef Py_ssize_t per_channel = job.sum.g.taps, step = job.sum.g.step, row = 0
    cdef Py_ssize_t channel, tap, first, last, t, i, count
    cdef Py_ssize_t sample = sample_of_position(job.sum, m)
    cdef Py_ssize_t dilation = -job.sum.g.dilation if job.sum.transposed else job.sum.g.dilation
    cdef Py_ssize_t apart = channels_of_span(job, t0, t1) if job.adjacent else 1
    cdef Block *block
    cdef Piece *piece = own.pieces
    cdef int32_t *offset
    for i in range((t1 - t0 + CC_BLOCK - 1) // CC_BLOCK):
        own.blocks[i].terms = own.blocks[i].pieces = 0
    for channel in range(t0 // per_channel, (t1 - 1) // per_channel + 1):
        first = tap = max(taps.first, t0 - channel * per_channel)
        last = min(taps.last, t1 - channel * per_channel)
        while tap < last:
            t = channel * per_channel + tap - t0
            count = min(last - tap, CC_BLOCK - t % CC_BLOCK)
            block = own.blocks + t // CC_BLOCK
            offset = own.offset + t // CC_BLOCK * CC_BLOCK + block.terms
            for i in range(count):
                if job.swaps:
                    offset[i] = <int32_t> (
                        (row + (sample + (tap + i) * dilation) * apart) * job.row)
                elif job.shared:
                    offset[i] = <int32_t> (row * job.row + (tap + i - first) * step)
                else:
                    offset[i] = <int32_t> ((row + tap + i - first) * job.row)
            if block.pieces == 0:
                block.first_piece = piece - own.pieces
            piece.channel, piece.tap, piece.count = channel, tap, count
            piece += 1
            block.pieces += 1
            block.terms += count
            tap += count
        if job.swaps:
            row += 1 if job.adjacent else job.array.shape[2]
        elif first < last:
            row += 1 if job.shared else last - first


cdef void copy_living_samples(
    const LivingTaps *job, Taps taps, Py_ssize_t t0, Py_ssize_t t1, Py_ssize_t n,
    Py_ssize_t signals, Py_ssize_t group, Py_ssize_t m0, Py_ssize_t run, real *panel
) noexcept nogil:
    """The samples that the terms of a span meet: see list_living_terms."""
    cdef const Geometry *g = job.sum.g
    cdef Py_ssize_t per_channel = g.taps, channel = t0 // per_channel, channels, first, last, tap, i
    cdef Py_ssize_t sample, idle = job.lanes - signals * run, in_group = group * job.sum.channels
    while channel * per_channel < t1:
        first = max(taps.first, t0 - channel * per_channel)
        last = min(taps.last, t1 - channel * per_channel)
        channels = 1
        if channel * per_channel >= t0:  # those of which the span has all taps
            channels = max(t1 // per_channel - channel, 1)
        sample = m0 * g.stride + first * g.dilation - g.pad_left
        if first < last and job.shared:
            copy_rows[real](&job.array, n, in_group + channel, channels, sample, g.stride,
                            job.lanes + (last - 1 - first) * g.step, panel, job.row)
            panel += channels * job.row
        for i in range(channels if first < last and not job.shared else 0):
            for tap in range(last - first):
                copy_spans[real](&job.array, n, in_group + channel + i, job.array.strides, signals,
                                 sample + tap * g.dilation, g.stride, run, panel, run)
                memset(panel + signals * run, 0, idle * sizeof(real))
                panel += job.row
        channel += channels


cdef void swap_signals(
    const LivingTaps *job, Py_ssize_t t0, Py_ssize_t t1, Py_ssize_t n, Py_ssize_t signals,
    Py_ssize_t group, real *panel
) noexcept nogil:
    """panel[channel of a span][sample][signal], or [sample][channel][signal] as the array has it"""
    cdef Py_ssize_t length = job.array.shape[2], channel = t0 // job.sum.g.taps, i
    cdef Py_ssize_t channels = channels_of_span(job, t0, t1), runs = channels, run = length
    cdef Py_ssize_t pitch = job.array.strides[0] // <Py_ssize_t> sizeof(real)
    cdef Py_ssize_t step = job.array.strides[1]
    cdef const char *sample = at(&job.array, n, group * job.sum.channels + channel, 0)
    if signals < job.lanes:
        memset(panel, 0, channels * length * job.row * sizeof(real))
    if job.adjacent:
        runs, run, step = length, channels, job.array.strides[2]
    if step == run * <Py_ssize_t> sizeof(real):
        runs, run = 1, runs * run
    for i in range(runs):
        swap_axes[real](<const real *> sample, pitch, signals, run, panel, job.row)
        sample += step
        panel += run * job.row


cdef void swap_results(
    const LivingTaps *job, Py_ssize_t n, Py_ssize_t signals, Py_ssize_t first_row, Py_ssize_t rows,
    const real *sums
) noexcept nogil:
    """sums[position][row][signal] to the results."""
    cdef const View *out = &job.out
    cdef Py_ssize_t pitch = out.strides[0] // <Py_ssize_t> sizeof(real), row, signal, m
    cdef bint plain = (out.half == NULL and not out.pair
                       and out.strides[0] % <Py_ssize_t> sizeof(real) == 0)
    if plain and out.strides[1] == sizeof(real):
        for m in range(out.shape[2]):
            swap_axes[real](sums + m * rows * job.lanes, job.lanes, rows, signals,
                            <real *> at(out, n, first_row, m), pitch)
        return
    for row in range(rows):
        if plain and out.strides[2] == sizeof(real):
            swap_axes[real](sums + row * job.lanes, rows * job.lanes, out.shape[2], signals,
                            <real *> at(out, n, first_row + row, 0), pitch)
            continue
        for signal in range(signals):
            for m in range(out.shape[2]):
                store_row[real](out, at(out, n + signal, first_row + row, m), 0, 1,
                                sums + (m * rows + row) * job.lanes + signal)


cdef inline const real *living_weights(
    const LivingTaps *job, const LivingScratch *own, const Block *block, const real *packed,
    Py_ssize_t rows
) noexcept nogil:
    """[term][row] of those of a block: as they were packed, if they lie side by side."""
    cdef const Piece *piece = own.pieces + block.first_piece
    cdef real *weights = <real *> own.weights
    cdef Py_ssize_t i
    if block.pieces == 1:
        return packed + (piece.channel * job.sum.g.taps + piece.tap) * rows
    for i in range(block.pieces):
        copy_numbers[real](weights, packed + (piece.channel * job.sum.g.taps + piece.tap) * rows,
                           piece.count * rows)
        weights += piece.count * rows
        piece += 1
    return <const real *> own.weights


cdef void sum_blocks_of_strip(
    const LivingTaps *job, LivingScratch *own, const real *packed, const real *biases,
    Py_ssize_t first_block, Py_ssize_t last_block, Py_ssize_t m, Py_ssize_t run, Py_ssize_t t0,
    Py_ssize_t t1, real *sums
) noexcept nogil:
    """Add a span of terms to the rows of some blocks, at a strip that begins at position m."""
    cdef const Sum *sum = job.sum
    cdef const cc_tiles *tiles = sum.tiles
    cdef const Rows *rows = &sum.rows[0]
    cdef Taps taps = living_taps_of(sum, job.array.shape[2], m, run)
    cdef Py_ssize_t first = first_row(rows, first_block), block, row, tile_rows, width, i, lane
    cdef Py_ssize_t last_term = (sum.channels - 1) * sum.g.taps + taps.last - 1
    cdef const real *weights
    cdef const real *bias
    cdef const Block *terms
    cdef cc_correlate tile
    cdef bint resume
    if taps.first == taps.last:
        for row in range(first, first_row(rows, last_block)):
            for lane in range(job.lanes):
                sums[(row - first) * job.lanes + lane] = biases[row] if biases != NULL else 0
        return
    list_living_terms(job, own, taps, m, t0, t1)
    for block in range(first_block, last_block):
        row = first_row(rows, block)
        tile_rows = first_row(rows, block + 1) - row
        width, tile = tiles.correlate_width[tile_rows], tiles.correlate[tile_rows]
        if job.halves:
            width = tiles.correlate_half_width[tile_rows]
            tile = tiles.correlate_half[tile_rows]
        resume = t0 > taps.first
        for i in range((t1 - t0 + CC_BLOCK - 1) // CC_BLOCK):
            terms = own.blocks + i
            if terms.terms == 0:
                continue
            weights = living_weights[real](job, own, terms, packed + row * sum.terms, tile_rows)
            bias = NULL
            if biases != NULL and last_term < t0 + (i + 1) * CC_BLOCK:
                bias = biases + row
            for lane from 0 <= lane < job.lanes by width:
                tile(<real *> own.panel + lane, own.offset + i * CC_BLOCK, terms.terms, weights,
                     sums + (row - first) * job.lanes + lane, job.lanes, bias, resume)
            resume = True


cdef void sum_strip(
    const LivingTaps *job, const real *packed, const real *biases, Py_ssize_t chunk, int worker
) noexcept nogil:
    """A strip of positions of some signals, or all of theirs, for a part of a group's rows."""
    cdef const Sum *sum = job.sum
    cdef const Rows *rows = &sum.rows[0]
    cdef LivingScratch own
    cdef Py_ssize_t part = chunk % job.parts
    cdef Py_ssize_t m0 = chunk // job.parts % job.strips * job.run
    cdef Py_ssize_t run = min(job.run, job.out.shape[2] - m0)
    cdef Py_ssize_t n = chunk // (job.parts * job.strips * sum.groups) * job.signals
    cdef Py_ssize_t signals = min(job.signals, job.out.shape[0] - n)
    cdef Py_ssize_t group = chunk // (job.parts * job.strips) % sum.groups
    cdef Py_ssize_t first_block = part * rows.blocks // job.parts
    cdef Py_ssize_t last_block = (part + 1) * rows.blocks // job.parts
    cdef Py_ssize_t first = first_row(rows, first_block), last = first_row(rows, last_block)
    cdef Py_ssize_t t0, t1, row, signal, m
    cdef Taps taps = living_taps_of(sum, job.array.shape[2], m0, run)
    cdef real *sums
    carve_own_living(job, &own, job.workers + worker * job.worker_size)
    packed += group * sum.outs * sum.terms
    if biases != NULL:
        biases += group * sum.outs
    sums = <real *> own.sums
    for t0 from 0 <= t0 < sum.terms by job.span:
        if cc_pool_cancelled(worker):
            return
        t1 = min(t0 + job.span, sum.terms)
        if job.swaps:
            swap_signals[real](job, t0, t1, n, signals, group, <real *> own.panel)
            for m in range(job.runs):
                sum_blocks_of_strip[real](job, &own, packed, biases, first_block, last_block, m, 1,
                                          t0, t1, sums + m * (last - first) * job.lanes)
            continue
        if taps.first < taps.last:
            copy_living_samples[real](job, taps, t0, t1, n, signals, group, m0, run,
                                      <real *> own.panel)
        sum_blocks_of_strip[real](job, &own, packed, biases, first_block, last_block, m0, run, t0,
                                  t1, sums)
    if job.swaps:
        swap_results[real](job, n, signals, group * sum.outs + first, last - first, sums)
        return
    for row in range(first, last):
        for signal in range(signals):
            store_row[real](&job.out, at(&job.out, n + signal, group * sum.outs + row, m0),
                            job.out.strides[2], run,
                            sums + (row - first) * job.lanes + signal * run)


cdef void living_chunk(void *context, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef const LivingTaps *job = <const LivingTaps *> context
    if job.size == sizeof(float):
        sum_strip[float](job, <const float *> job.packed, <const float *> job.biases, chunk, worker)
    else:
        sum_strip[double](job, <const double *> job.packed, <const double *> job.biases, chunk,
                          worker)


cdef bint can_swap(const LivingTaps *job, Py_ssize_t lanes) noexcept nogil:
    """Whether lanes can be signals: samples are few, in numbers that can change places with them.

    Less than half of the lanes are not worth a plan.
    """
    cdef const View *array = &job.array
    cdef Py_ssize_t rows = (CC_BLOCK // job.sum.g.taps + 2) * array.shape[2]
    return (2 * job.out.shape[0] >= lanes and array.half == NULL and not array.pair
            and (job.adjacent or array.strides[2] == job.size)
            and array.strides[0] % job.size == 0 and rows * lanes * job.size <= 4 * PANEL_BYTES)


cdef void cut_positions(LivingTaps *job, Py_ssize_t run, bint halves) noexcept nogil:
    """Plan strips of `run` positions of a signal, and count the taps that they meet."""
    cdef const Geometry *g = job.sum.g
    cdef Py_ssize_t outputs = job.out.shape[2], position
    cdef Taps taps
    job.halves, job.lanes = halves, job.sum.half if halves else job.sum.width
    job.run, job.runs = run, (outputs + run - 1) // run
    job.signals = min(max(job.lanes // run, 1), job.out.shape[0])
    job.shared = job.signals == 1 and g.period == 1 and overlap(g)
    job.swaps = job.signals > 1 and run == 1 and can_swap(job, job.lanes)
    job.strips = 1 if job.swaps else job.runs
    job.most_taps = job.taps = 0
    for position from 0 <= position < outputs by run:
        taps = living_taps_of(job.sum, job.array.shape[2], position,
                              min(run, outputs - position))
        job.taps += taps.last - taps.first
        job.most_taps = max(job.most_taps, taps.last - taps.first)


cdef double living_cost(const LivingTaps *job) noexcept nogil:
    """What the strips of a job take, in products for each channel of samples and of results."""
    cdef const Sum *sum = job.sum
    cdef double samples = job.out.shape[0]
    cdef double strips = (job.out.shape[0] + job.signals - 1) // job.signals
    cdef double cost = strips * job.runs * LIVING_STRIP / sum.channels
    cdef double lanes = job.lanes * (HALF_TILE / 4. if job.halves else 1)
    if job.shared:
        cost += samples * job.runs * (COPIED_ROW + job.lanes + job.most_taps * sum.g.step)
    elif job.swaps:
        cost += samples * SWAPPED_SAMPLE * (
            job.array.shape[2] + job.out.shape[2] * <double> sum.outs / sum.channels)
        cost += strips * job.taps * LISTED_TERM
    else:
        cost += samples * job.taps * (COPIED_ROW / 2 + job.run)
    return 1.25 * strips * job.taps * lanes + cost / sum.outs


cdef bint plan_living_taps(
    LivingTaps *job, const Sum *sum, const View *array, const View *w, const View *out,
    Py_ssize_t size, double other, double copies
) noexcept nogil:
    """Plan a sum for this nest; whether it saves enough of the products that another one takes, for
    each channel of samples and of results: see living_gain. It takes as long as `copies` more to
    copy samples one by one, which is left out where strips would do the same."""
    cdef const Geometry *g = sum.g
    cdef Py_ssize_t length = array.shape[2], outputs = out.shape[2], lanes
    cdef Py_ssize_t run, longest, best = 1, units, most_rows, budget = PANEL_BYTES // size
    cdef int halves, best_halves = 0
    cdef bint many_rows, few_live
    cdef double cost, least = -1
    if (sum.transposed and g.stride > 1 or sum.ordered or array.mode != CCONV1D_ZEROS
            or sum.terms == 0 or length == 0):
        return False
    if living_gain > 0 and sum.terms * out.shape[1] < LIVING_LEAST // (out.shape[0] * outputs):
        return False
    few_live = not sum.transposed and living_share(g, length, outputs) * living_gain <= 8
    job.sum, job.array, job.out, job.size = sum, array[0], out[0], size
    job.adjacent = array.shape[1] > 1 and has_adjacent_channels(array, size)
    if not (few_live or can_swap(job, sum.half)):
        return False
    # Strips may be shorter than their lanes, which several signals fill then: that meets fewer
    # taps, and copies more often. Of longer signals, and with half tiles, it gains for sure where
    # it saves a third and many rows share the copies.
    many_rows = sum.outs >= LIVING_ROWS and g.dilation == 1
    for halves in range(2 if many_rows else 1):
        lanes = sum.half if halves else sum.width
        run = longest = ceiling(outputs, ceiling(outputs, lanes))
        if not few_live:
            run = 1
        while run > 0:
            cut_positions(job, run, halves)
            cost = living_cost(job)
            if (halves or outputs >= lanes and run < longest) and not job.swaps:
                cost *= 1.5
            if (few_live or job.swaps) and (least < 0 or cost < least):
                best, best_halves, least = run, halves, cost
            if run == 1 or outputs >= lanes and not many_rows:
                break
            run = (run + 1) // 2
    if least < 0:
        return False
    cut_positions(job, best, best_halves)
    if least * living_gain > (other + (copies if job.swaps else 0)) * 8:
        return False
    lanes = job.lanes
    job.span = rounded(sum.terms, CC_BLOCK)
    while True:
        most_rows = length if job.swaps else job.most_taps
        job.rows = (job.span // g.taps + 2) * most_rows
        if not job.swaps:
            job.rows = min(job.rows, job.span)
        job.row = row_size(lanes)
        if job.shared:
            job.rows = job.span // g.taps + 2
            job.row = row_size(lanes + (job.most_taps - 1) * g.step)
        job.rows = min(job.rows, sum.channels * (1 if job.shared else most_rows))
        if job.rows * job.row <= budget or job.span == CC_BLOCK:
            break
        job.span = rounded(job.span // 2, CC_BLOCK)
    units = (out.shape[0] + job.signals - 1) // job.signals * sum.groups * job.strips
    job.threads = threads_for(out.shape[0] * out.shape[1] * job.taps, sum.channels)
    job.parts = max(1, min(sum.rows[0].blocks, job.runs // job.strips * sum.most_rows * lanes
                           * size // RESULT_BYTES))
    if job.threads > 1:
        job.parts = max(job.parts, min(
            (CHUNKS_PER_THREAD * job.threads + units - 1) // units,
            (sum.rows[0].blocks + MIN_BLOCKS_PER_PART - 1) // MIN_BLOCKS_PER_PART))
    job.threads = <int> min(job.threads, units * job.parts)
    return True


cdef bint sum_living_taps(LivingTaps *job, const View *w, const View *bias) noexcept nogil:
    """A planned job; false if memory ran out, with nothing stored."""
    cdef const Sum *sum = job.sum
    cdef const PackedLayout *kept = packed_for(w, sum)
    cdef Py_ssize_t chunks = ((job.out.shape[0] + job.signals - 1) // job.signals * sum.groups
                              * job.strips * job.parts)
    cdef bint finite
    cdef uintptr_t start
    cdef Arena arena
    job.prepacked, job.biased = kept != NULL, bias.data != NULL
    start = arena_open(&arena, carve_living(job, 0))
    if start == 0:
        return False
    carve_living(job, start)
    if job.biased:
        if job.size == sizeof(float):
            load_line[float](bias, <float *> job.biases, sum.groups * sum.outs)
        else:
            load_line[double](bias, <double *> job.biases, sum.groups * sum.outs)
    if kept != NULL:
        job.packed, finite = <void *> kept.numbers, kept.finite  # which are only read
    else:
        finite = pack_weights(w, sum, job.threads, job.size, job.packed)
    cc_pool_run(living_chunk, job, chunks, job.threads)
    if not finite:
        if job.size == sizeof(float):
            recompute_spoiled[float](sum, &job.array, w, bias, &job.out, 0)
        else:
            recompute_spoiled[double](sum, &job.array, w, bias, &job.out, 0)
    arena_close(&arena)
    return True


cdef void load_line(const View *line, real *numbers, Py_ssize_t count) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(count):
        load_row[real](line, line_at(line, i), 0, 1, numbers + i)
