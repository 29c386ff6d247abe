# Signals cut into blocks: what overlap_save.pxi and minimal_filtering.pxi have in common.
#
# Takes  Views of the array, the weights, a bias and the results, with any strides and formats.
# Gives  Blocks: which samples a block takes and which results it gives; copies of its signals;
#        OverlapSave, the job of both; its results as they are stored, and those computed again that
#        came out not finite.
#
# Forward takes each channel that a stride passes over for as many signals as its taps have residues
# (a polyphase decomposition), every stride-th sample each, and their taps; to backward_input the
# results that meet the taps of a residue are a sum of their own, at stride 1. Of a signal the
# outputs i, i + d, i + 2·d ... (d: the dilation) are a correlation without dilation: a residue.
#
# Of channels that lie side by side in memory several are copied, and stored, at once.
#
# A number that is not finite makes all results of its block NaN, or a weight all of its row. What
# comes out not finite is computed again by panels, so that NaN and Inf reach what they should.

# Spectra of the weights of several groups, until there is only one group.
cdef enum: WEIGHT_SPECTRA_BYTES = 4 * 1024 * 1024
cdef enum: MOST_BLOCKS_AT_ONCE = 64
# Chunks of the pool for one thread.
cdef enum: BLOCK_CHUNKS_PER_THREAD = 4
# Channels that lie side by side in memory are taken together, as many as this while their signals
# fit a budget, and so many positions of them are transposed at once.
cdef enum: ADJACENT_ROWS = 32, ADJACENT_ROWS_BYTES = 256 * 1024, TRANSPOSED_POSITIONS = 32
# Signals of all residues of a dilation change places with the lanes at once up to this.
cdef enum: WINDOW_BYTES = 128 * 1024


cdef void prefetch_blocks(View *array, Py_ssize_t hop, const Geometry *g) noexcept nogil:
    """Let copy_row, which asks for what lies some channels ahead, ask for blocks ahead instead.

    Where there is one channel nobody else reads its distance from the next. A large dilation could
    make that a number beyond 64 bits.
    """
    if array.shape[1] == 1 and g.dilation == g.stride == 1:
        array.strides[1] = hop * array.strides[2]


cdef struct Blocks:
    # How residues fall into blocks, of some outputs.
    Py_ssize_t dilation
    Py_ssize_t shift     # output q is number q - shift of the samples, by the first that it reads
    Py_ssize_t length    # outputs
    Py_ssize_t hop       # results of a block
    Py_ssize_t before    # samples that block 0 begins before sample 0
    Py_ssize_t more      # results that block 0 gives besides, if it has all samples
    Py_ssize_t residues  # that have outputs
    Py_ssize_t most      # blocks that a residue has at most


cdef struct SignalBlock:
    Py_ssize_t sample        # where it begins
    Py_ssize_t output        # of the first result that is one
    Py_ssize_t first, count  # those of its results that are


cdef inline Py_ssize_t floor_division(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    return a // b - (a % b < 0)


cdef inline Py_ssize_t floor_modulo(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    return a - floor_division(a, b) * b


cdef inline Py_ssize_t number_of_block(const Blocks *blocks, Py_ssize_t number) noexcept nogil:
    """Of the block that gives the result whose first sample is that number of its residue."""
    cdef Py_ssize_t place = number + blocks.before
    if 0 <= place < blocks.hop + blocks.more:
        return 0
    return floor_division(place - blocks.more if place > 0 else place, blocks.hop)


cdef Blocks cut_blocks(
    Py_ssize_t length, Py_ssize_t shift, Py_ssize_t dilation, Py_ssize_t hop, Py_ssize_t before,
    Py_ssize_t more
) noexcept nogil:
    cdef Blocks blocks
    cdef Py_ssize_t longest
    blocks.dilation, blocks.shift, blocks.length = dilation, shift, length
    blocks.hop, blocks.before, blocks.more = hop, before, more
    blocks.residues = min(dilation, length)
    longest = (length + dilation - 1) // dilation
    if dilation == 1:
        blocks.most = (number_of_block(&blocks, length - 1 - shift) + 1
                       - number_of_block(&blocks, -shift))
    else:
        blocks.most = (longest + hop - 2) // hop + 1
    return blocks


cdef SignalBlock block_of(
    const Blocks *blocks, Py_ssize_t residue, Py_ssize_t number
) noexcept nogil:
    """The block of that number among those of a residue; it may have no results."""
    cdef SignalBlock block
    # the numbers, within the residue, of the first output's sample and of the block's
    cdef Py_ssize_t base = floor_division(residue - blocks.shift, blocks.dilation), start
    cdef Py_ssize_t count = (blocks.length - residue + blocks.dilation - 1) // blocks.dilation
    number += number_of_block(blocks, base)
    start = number * blocks.hop - blocks.before + (blocks.more if number > 0 else 0)
    block.first = max(base - start, 0)
    block.count = min(count - (start - base), blocks.hop + (blocks.more if number == 0 else 0))
    block.count -= block.first
    block.sample = residue - blocks.shift + blocks.dilation * (start - base)
    block.output = residue + blocks.dilation * (start - base + block.first)
    return block


cdef inline Py_ssize_t sample_of_signal(
    const Geometry *g, Py_ssize_t number, Py_ssize_t residue
) noexcept nogil:
    """Where a number of the signal of a residue is, less what shifts leave of the padding."""
    return number * g.stride + residue * g.dilation - floor_modulo(g.pad_left, g.stride)


cdef inline void copy_signals(
    const View *array, const Geometry *g, Py_ssize_t n, Py_ssize_t channel, Py_ssize_t channels,
    Py_ssize_t number, Py_ssize_t count, real *numbers, Py_ssize_t pitch
) noexcept nogil:
    """Some numbers, from this one on, of the signals that some channels are taken for.

    A signal begins `pitch` numbers after the one before.
    """
    cdef Py_ssize_t residue
    for residue in range(g.residues):
        if channels == 1:
            copy_row[real](array, n, channel, sample_of_signal(g, number, residue),
                           g.stride * g.step, count, numbers + residue * pitch)
        else:
            copy_rows[real](array, n, channel, channels, sample_of_signal(g, number, residue),
                            g.stride * g.step, count, numbers + residue * pitch,
                            g.residues * pitch)


cdef const real *signals_across(
    const View *array, Py_ssize_t n, Py_ssize_t signal, Py_ssize_t some, Py_ssize_t first,
    Py_ssize_t residues, Py_ssize_t apart, Py_ssize_t step, Py_ssize_t count, Py_ssize_t lanes,
    real *rows, real *numbers, Py_ssize_t *distance
) noexcept nogil:
    """Where number i of signal l of some lies at i·distance + l, 0 of lanes without a signal.

    That is `numbers`, unless all lanes' lie side by side in the array. Each channel is taken for
    `residues` signals, which begin `apart` samples after each other, the first at sample `first`.
    `rows` is room for as many numbers.
    """
    cdef Py_ssize_t stride = array.strides[2] * step, pitch = array.strides[1] // sizeof(real)
    cdef Span span
    cdef const real *samples
    cdef Py_ssize_t lane, channel, i
    cdef bint adjacent = array.strides[1] == sizeof(real)
    distance[0] = lanes
    if (residues == 1 and array.half == NULL and not array.pair
            and (adjacent or stride == sizeof(real)
                 and pitch * <Py_ssize_t> sizeof(real) == array.strides[1])):
        span = span_of(array, first, step, count)
        if span.inside == count or array.mode == CCONV1D_ZEROS:
            if span.inside == 0:
                memset(numbers, 0, count * lanes * sizeof(real))
                return numbers
            samples = <const real *> at(array, n, signal, first + span.left * step)
            if (adjacent and some == lanes and span.inside == count
                    and stride % <Py_ssize_t> sizeof(real) == 0):
                distance[0] = stride // sizeof(real)
                return samples
            if some < lanes:
                memset(numbers, 0, count * lanes * sizeof(real))
            memset(numbers, 0, span.left * lanes * sizeof(real))
            memset(numbers + (count - span.right) * lanes, 0, span.right * lanes * sizeof(real))
            if not adjacent:
                swap_axes[real](samples, pitch, some, span.inside, numbers + span.left * lanes,
                                lanes)
                return numbers
            for i in range(span.inside):
                copy_numbers[real](numbers + (span.left + i) * lanes, samples, some)
                samples = <const real *> (<const char *> samples + stride)
            return numbers
    if some < lanes:
        memset(numbers, 0, count * lanes * sizeof(real))
    for lane in range(some):
        channel = (signal + lane) // residues
        copy_row[real](array, n, channel, first + (signal + lane - channel * residues) * apart,
                       step, count, rows + lane * count)
    swap_axes[real](rows, count, some, count, numbers, lanes)
    return numbers


cdef struct Window:
    # Signals across the lanes, as signals_across has them, of all residues of the dilation at once.
    Py_ssize_t n, signal, first
    bint filled


cdef const real *signals_of_window(
    const View *array, Py_ssize_t n, Py_ssize_t signal, Py_ssize_t some, Py_ssize_t first,
    Py_ssize_t step, Py_ssize_t count, Py_ssize_t lanes, real *rows, Window *window, real *numbers,
    Py_ssize_t *distance
) noexcept nogil:
    """As signals_across for one signal of each channel, by way of a window of `step` of them.

    The residues of a dilation follow each other: then the window has what the next ones want, and
    samples that are `step` apart in memory change places with the lanes as runs.
    """
    if not (window.filled and window.n == n and window.signal == signal
            and 0 <= first - window.first < step):
        window.n, window.signal, window.first, window.filled = n, signal, first, True
        # it is in the array only where channels lie side by side, which want no window
        signals_across[real](array, n, signal, some, first, 1, 0, 1, count * step, lanes, rows,
                             numbers, distance)
    distance[0] = step * lanes
    return numbers + (first - window.first) * lanes


cdef inline Py_ssize_t window_of(
    const View *array, const Geometry *g, Py_ssize_t length, Py_ssize_t lanes, Py_ssize_t size
) noexcept nogil:
    """Numbers that a window over the residues of the dilation takes; 0 if it is of no use."""
    if (g.residues > 1 or g.stride > 1 or g.dilation == 1 or array.strides[1] == size
            or g.dilation > WINDOW_BYTES // (length * lanes * size)):
        return 0
    return g.dilation * length * lanes


cdef inline Py_ssize_t odd_lines(Py_ssize_t numbers, Py_ssize_t size) noexcept nogil:
    """An odd number of cache lines, so that neighbours in a column share no set of the cache."""
    return ((numbers * size + 63) // 64 | 1) * (64 // size)


cdef inline Py_ssize_t signals_pitch(
    Py_ssize_t lanes, int log_points, Py_ssize_t size
) noexcept nogil:
    """From the signals of a row, as many as lanes, to those of the next."""
    return odd_lines(lanes << (log_points + 1), size)


cdef inline Py_ssize_t rows_beside(
    const View *view, Py_ssize_t rows, Py_ssize_t signal_bytes, Py_ssize_t size
) noexcept nogil:
    """How many of the rows, or channels, of an array are taken together, each a signal or some."""
    if not has_adjacent_channels(view, size):
        return 1
    return max(1, min(min(rows, <Py_ssize_t> ADJACENT_ROWS), ADJACENT_ROWS_BYTES // signal_bytes))


cdef struct OverlapSave:
    # A job for the pool. Its chunks are first the rows of weights of some groups, then some blocks
    # of one of the groups.
    const cc_transforms *transforms
    const cc_tiles *tiles
    const Geometry *g
    int threads
    View array, w, out
    bint transposed, biased
    Py_ssize_t groups, outs
    Py_ssize_t channels         # of a group, or the signals that they are taken for
    Py_ssize_t taps             # of a signal, at most
    Py_ssize_t size             # of a number, in bytes
    Py_ssize_t length           # numbers from a signal to the next one of the same row
    Py_ssize_t pitch            # and to those of the next row
    bint minimal                # filtering: see minimal_filtering.pxi, which adds these
    Rows rows
    bint in_place               # inner blocks are read where they lie
    Py_ssize_t apart            # of two results, if lanes are the places between them, or 1
    Py_ssize_t plane, result_plane, result_row  # numbers from a plane to the next; and a row
    int32_t *offsets            # of the channels of a plane
    const void *roots           # or transforms, which add these
    int log_points
    bint across                 # lanes are signals, those of weights are rows
    Py_ssize_t lanes            # that signals are taken by: 1 unless across
    bint by_blocks              # lanes of samples and of results are blocks, not channels and rows
    Py_ssize_t window           # numbers of one: see window_of
    Py_ssize_t packet, packets  # numbers in a packet, packets in a spectrum
    Blocks blocks
    Py_ssize_t units            # blocks of all residues and samples
    Py_ssize_t at_once          # of them, a multiple of the lanes
    Py_ssize_t blocks_of_group  # chunks of that many
    Py_ssize_t rows_at_once     # of a group
    Py_ssize_t groups_at_once   # whose rows are taken together; one, unless all are at once
    Py_ssize_t channels_beside, rows_beside  # of all these groups, that are taken together
    Py_ssize_t group, some      # the set of groups, of at most `most_groups`
    Py_ssize_t most_groups
    cc_packets weights          # of a group: [packet][row][channel], or [packet][channel][row]
    bint kept                   # of all groups, from a call before
    Py_ssize_t group_size       # numbers of these
    Py_ssize_t weight_chunks    # of the pool, for these
    Py_ssize_t input_row                # and result_row: from a unit, or lanes of them, to the next
    Py_ssize_t input_next, result_next  # from a packet to the next
    void *biases                # [row] of all groups
    unsigned char *spoiled      # [row] of all groups[unit]: computed, but not finite
    uintptr_t workers           # the threads' own scratch
    Py_ssize_t worker_size


cdef struct OverlapSaveScratch:
    void *signal   # one for each of the lanes that signals are taken by, of some rows
    void *numbers  # of transforms with lanes across signals; taps of a block of rows
    void *rows     # of a window
    void *window   # or results of residues side by side
    void *inputs   # [packet][unit][channel], or [plane][channel][pair of results]
    void *results  # [packet][unit][row], or [plane][row][pair of results], of some rows
    # where lanes are channels and rows, [packet] is [root], and a channel or row some of them


cdef uintptr_t carve_own_overlap_save(
    const OverlapSave *job, OverlapSaveScratch *own, uintptr_t next
) noexcept nogil:
    own.signal = carve(&next, max(job.channels_beside * job.g.residues, job.rows_beside)
                       * job.pitch * job.size)
    if job.minimal:
        own.numbers = carve(&next, job.tiles.correlate_rows * (job.channels // job.g.residues)
                            * job.g.taps * job.size)
        own.inputs = carve(&next, CC_PLANES * job.plane * job.size)
        own.results = carve(&next, CC_PLANES * job.result_plane * job.size)
        return next
    own.numbers = carve(&next, (job.lanes * (2 * job.size) << job.log_points) if job.across else 0)
    own.rows = carve(&next, job.window * job.size)
    own.window = carve(&next, job.window * job.size)
    own.inputs = carve(&next, job.packets * job.input_next * job.size)
    own.results = carve(&next, job.packets * job.result_next * job.size)
    return next


cdef uintptr_t carve_overlap_save(OverlapSave *job, uintptr_t next) noexcept nogil:
    cdef OverlapSaveScratch own
    if not job.kept:
        job.weights.numbers = carve(&next, job.most_groups * job.group_size * job.size)
    job.biases = carve(&next, job.groups * job.outs * job.size if job.biased else 0)
    job.spoiled = <unsigned char *> carve(&next, job.groups * job.outs * job.units)
    job.offsets = <int32_t *> carve(&next, job.channels * sizeof(int32_t) if job.minimal else 0)
    job.workers, job.worker_size = next, carve_own_overlap_save(job, &own, 0)
    return next + job.threads * job.worker_size


cdef Py_ssize_t blocks_from(
    const OverlapSave *job, Py_ssize_t first, Py_ssize_t *units, SignalBlock *blocks
) noexcept nogil:
    """The blocks of a chunk that have results, from this unit on, and how many they are."""
    cdef Py_ssize_t residues = job.blocks.residues, count = 0, unit
    for unit in range(first, min(first + job.at_once, job.units)):
        blocks[count] = block_of(&job.blocks, unit % residues, unit // residues % job.blocks.most)
        units[count] = unit
        count += blocks[count].count > 0
    return count


cdef void store_adjacent(
    const OverlapSave *job, Py_ssize_t n, Py_ssize_t row, Py_ssize_t rows, Py_ssize_t output,
    Py_ssize_t count, const real *signals, Py_ssize_t pitch
) noexcept nogil:
    """Results of rows that lie side by side: all rows of a position, then the next position.

    Row by row, every line of the array would be fetched once for each of its numbers.
    """
    cdef real[TRANSPOSED_POSITIONS * ADJACENT_ROWS] stage
    cdef Py_ssize_t item = stored_size(&job.out, sizeof(real)), some, p, i
    cdef char *result
    for p from 0 <= p < count by TRANSPOSED_POSITIONS:
        some = min(TRANSPOSED_POSITIONS, count - p)
        swap_axes[real](signals + p, pitch, rows, some, stage, rows)
        for i in range(some):
            result = at(&job.out, n, row, output + (p + i) * job.blocks.dilation)
            store_row[real](&job.out, result, item, rows, stage + i * rows)


cdef inline Py_ssize_t residues_beside(
    const OverlapSave *job, const SignalBlock *block, Py_ssize_t most
) noexcept nogil:
    """Of some blocks, how many from the first on have results that lie side by side, as many each:
    those of one signal's residues."""
    cdef Py_ssize_t i
    if job.out.half != NULL or job.out.pair or job.out.strides[2] != job.size:
        return 1
    for i in range(1, min(most, job.blocks.residues)):
        if (block[i].output != block.output + i or block[i].first != block.first
                or block[i].count != block.count):
            return i
    return max(1, min(most, job.blocks.residues))


cdef inline void store_results(
    const OverlapSave *job, Py_ssize_t row, Py_ssize_t rows, const Py_ssize_t *units,
    const SignalBlock *blocks, Py_ssize_t first, Py_ssize_t count, real *signals, Py_ssize_t pitch
) noexcept nogil:
    """Some rows of some blocks from the first of them on; several, if they lie side by side.

    The signals of a row's blocks follow each other, and those of the next row after `pitch`.
    """
    cdef Py_ssize_t per_sample = job.blocks.residues * job.blocks.most
    cdef Py_ssize_t stride = job.out.strides[2] * job.blocks.dilation, i, r, some = 1
    cdef const SignalBlock *block
    cdef const real *bias = NULL
    cdef char *result
    for i in range(count):
        block = blocks + first + i
        for r in range(rows):
            if job.biased:
                bias = <const real *> job.biases + row + r
            job.spoiled[(row + r) * job.units + units[first + i]] = not job.transforms.finish(
                signals + i * job.length + r * pitch + block.first, block.count, bias)
    i = 0
    while i < count:
        block = blocks + first + i
        result = at(&job.out, units[first + i] // per_sample, row, block.output)
        if rows > 1:
            store_adjacent[real](job, units[first + i] // per_sample, row, rows, block.output,
                                 block.count, signals + block.first, pitch)
        else:
            some = residues_beside(job, block, count - i)
            if some > 1:
                swap_axes[real](signals + block.first, job.length, some, block.count,
                                <real *> result, job.blocks.dilation)
            else:
                store_row[real](&job.out, result, stride, block.count, signals + block.first)
        signals += some * job.length
        i += some

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
            for term in range(array.shape[1] * job.g.taps):
                if term % CC_BLOCK == 0:
                    total += chain
                    chain = 0
                channel = term // job.g.taps
                tap = term - channel * job.g.taps
                i, j = (channel, row) if job.transposed else (row, channel)
                sample = tap * job.g.dilation - pad_left
                sample = q - sample if job.transposed else q * job.g.stride + sample
                if array.mode != CCONV1D_ZEROS or 0 <= sample < array.shape[2]:
                    copy_row[real](array, 0, channel, sample, 1, 1, &value)
                    load_row[real](w, weight_at(w, i, j, tap), 0, 1, &weight)
                    chain = multiply_add[real](
                        job.tiles, -weight if negated(w, i, j) else weight, value, chain)
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
    cdef Py_ssize_t channels = job.channels // job.g.residues
    cdef View array = part_of(&job.array, n, 1, group * channels, channels, 0, job.array.shape[2])
    cdef View w = job.w, line = bias[0]
    cdef Geometry g = job.g[0]
    cdef Sum sum
    cdef const char *biases
    w.packed = NULL
    if job.transposed:
        w.data = weight_at(&job.w, group * channels, inner_row, 0)
        w.shape[0], w.shape[1] = channels, rows
        g.pad_left += first
    else:
        w.data = weight_at(&job.w, row, 0, 0)
        w.shape[0] = rows
        g.pad_left -= first * g.stride
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
    cdef SignalBlock block
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
