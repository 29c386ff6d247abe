# forward at stride 1, some outputs at a time, by transforms of the parts of a long kernel
# (a uniformly partitioned convolution: the method "fft" of streams).
#
#     y[n, row, p] = bias[row] + Σ_{c,j} w[row, c, j] · u[n, c, p + j·dilation]
#
# where u is the signal with its padding on the left: u[left] is sample 0. With S the hop and
# P = part the taps of a part, which are a whole number of hops where there are several parts,
#
#     hop h       the outputs h·S .. h·S + S − 1
#     part q      the taps q·P .. q·P + P − 1 from the last one, at the start of B = 2·M numbers
#     block t     the P + S − 1 numbers of u before (t + 1)·S + span − 1, at the end of B numbers
#
# the outputs of hop h are numbers B − P − S + 1 .. B − P of
#
#     Σ_q (part q correlated with block h − q·P/S, modulo t^B + 1)
#
# so each block is transformed once, and its spectrum is multiplied P/S·q hops later by part q.
# Dilated kernels are kernels of `span` taps, most of them zeros: residues would have as many
# products, as these do not depend on the hop.
#
# Takes  Views of weights and bias, which are kept, and for some hops Views of the last samples of
#        the signals and of the outputs.
# Gives  the outputs. Spectra of blocks are remembered in delay lines, one for each row of a batch,
#        which hold nothing that cannot be computed again from the samples. Nothing is allocated:
#        nothing can fail once there are lines.
#
#     lines     [row][group][t modulo P/S][packet][two times: block][channel]
#     weights   [group][packet][row of results][part, that of the oldest block first][channel]
#
# Each spectrum is stored twice, so that the last ones lie side by side wherever a line ends, and
# all terms of a result are one sum in one order. The bits of an output depend on its number modulo
# the hop, the samples of its blocks and the weights.
#
# What comes out not finite is computed again by panels, as in overlap_save.pxi.

# Rows of results whose spectra are summed before they go back.
cdef enum: HOP_ROWS = 32

cdef struct Partitions:
    const cc_transforms *transforms
    const cc_tiles *tiles
    const void *roots
    Geometry g
    View w, bias
    int log_points
    Py_ssize_t size               # of a number, in bytes
    Py_ssize_t hop, span, left    # left: numbers of u before sample 0
    Py_ssize_t part, parts, delay  # taps of a part, how many parts, P / S
    Py_ssize_t groups, outs, channels
    Py_ssize_t packet, packets    # numbers in a packet, packets in a spectrum
    cc_packets weights            # of group 0
    Py_ssize_t group_size         # numbers of a group's weights
    void *biases                  # [row of all groups], if there is a bias


cdef struct DelayLines:
    void *numbers
    Py_ssize_t next, line          # numbers from a packet to the next, of a line
    Py_ssize_t group_size, row_size
    Py_ssize_t *done               # [row] the last block that is in
    unsigned char *spoiled         # [row][row of results of all groups]
    int threads                    # that there is scratch for
    Py_ssize_t rows                # that are computed at once
    uintptr_t workers
    Py_ssize_t worker_size


cdef struct HopScratch:
    void *signal   # B numbers
    void *results  # [packet][row of the batch][row of results]


cdef inline bint fits_64_bits(const Partitions *p, Py_ssize_t rows) noexcept nogil:
    """Whether sizes do, of the weights' spectra and of those of so many rows of a batch."""
    cdef double blocks = p.parts * <double> p.channels * p.groups * (16 * <double> p.size)
    blocks *= <double> p.packets * p.packet
    return blocks * p.outs < PY_SSIZE_T_MAX and blocks * p.delay * rows < PY_SSIZE_T_MAX


cdef bint plan_partitions(
    Partitions *p, const cc_tiles *tiles, const View *w, const View *bias, const Geometry *g,
    Py_ssize_t groups, Py_ssize_t size, Py_ssize_t hop, Py_ssize_t left, int log_points,
    Py_ssize_t part
) noexcept nogil:
    """False if memory ran out, or cannot hold the spectra."""
    p.transforms, p.tiles, p.g, p.w, p.bias = transforms_of(tiles), tiles, g[0], w[0], bias[0]
    p.w.packed = NULL
    p.g.method = DIRECT
    p.log_points, p.size, p.hop, p.left, p.part = log_points, size, hop, left, part
    p.span = (g.taps - 1) * g.dilation + 1
    p.parts = ceiling(p.span, part)
    p.delay = part // hop if p.parts > 1 else 1
    p.groups, p.outs, p.channels = groups, w.shape[0] // groups, w.shape[1]
    p.roots = cc_roots(log_points, size)
    p.packet = 2 * p.transforms.lanes
    p.packets = (<Py_ssize_t> 2 << log_points) // p.packet
    if p.roots == NULL or not fits_64_bits(p, 0):
        return False
    p.weights.step = p.packet
    p.weights.row = p.parts * p.channels * p.packet
    p.weights.next = odd_lines(p.outs * p.weights.row, size)
    p.group_size = p.packets * p.weights.next
    return True


cdef uintptr_t carve_partitions(Partitions *p, uintptr_t next) noexcept nogil:
    p.weights.numbers = carve(&next, p.groups * p.group_size * p.size)
    p.biases = carve(&next, p.groups * p.outs * p.size if p.bias.data != NULL else 0)
    return next


cdef void transform_part(
    const Partitions *p, Py_ssize_t row, Py_ssize_t channel, Py_ssize_t q, real *signal,
    real *spectrum
) noexcept nogil:
    """Part q of the taps from a channel of a group to a row of results."""
    cdef Py_ssize_t first = p.span - (q + 1) * p.part, tap, place
    memset(signal, 0, (<Py_ssize_t> 2 << p.log_points) * sizeof(real))
    tap = ceiling(max(first, 0), p.g.dilation)
    while tap < p.g.taps and tap * p.g.dilation < first + p.part:
        place = tap * p.g.dilation - first
        load_row[real](&p.w, weight_at(&p.w, row, channel, tap), 0, 1, signal + place)
        if negated(&p.w, row, channel):
            signal[place] = -signal[place]
        tap += 1
    p.transforms.forward(p.roots, p.log_points, signal, spectrum, p.weights.next)


cdef void transform_parts(const Partitions *p, real *signal) noexcept nogil:
    """All spectra of weights, and the biases; `signal` is scratch for B numbers."""
    cdef Py_ssize_t group, i, channel, q
    cdef real *weights = <real *> p.weights.numbers
    for group in range(p.groups):
        for i in range(p.outs):
            for q in range(p.parts):
                for channel in range(p.channels):
                    transform_part[real](
                        p, group * p.outs + i, channel, q, signal,
                        weights + group * p.group_size + i * p.weights.row
                        + ((p.parts - 1 - q) * p.channels + channel) * p.weights.step)
    if p.bias.data != NULL:
        for i in range(p.groups * p.outs):
            load_row[real](&p.bias, line_at(&p.bias, i), 0, 1, <real *> p.biases + i)


cdef uintptr_t carve_hop_scratch(
    const Partitions *p, Py_ssize_t rows, HopScratch *own, uintptr_t next
) noexcept nogil:
    own.signal = carve(&next, (2 * p.size) << p.log_points)
    own.results = carve(&next, p.packets * odd_lines(
        rows * min(p.outs, HOP_ROWS) * p.packet, p.size) * p.size)
    return next


cdef uintptr_t carve_lines(
    DelayLines *lines, const Partitions *p, Py_ssize_t rows, int threads, uintptr_t next
) noexcept nogil:
    cdef HopScratch own
    lines.next = odd_lines(2 * p.parts * p.channels * p.packet, p.size)
    lines.line = p.packets * lines.next
    lines.group_size = p.delay * lines.line
    lines.row_size = p.groups * lines.group_size
    lines.threads, lines.rows = threads, rows
    lines.numbers = carve(&next, rows * lines.row_size * p.size)
    lines.done = <Py_ssize_t *> carve(&next, rows * sizeof(Py_ssize_t))
    lines.spoiled = <unsigned char *> carve(&next, rows * p.groups * p.outs)
    lines.workers, lines.worker_size = next, carve_hop_scratch(p, rows, &own, 0)
    return next + threads * lines.worker_size


cdef struct Hop:
    # A job for the pool: a hop of some rows of a batch.
    const Partitions *p
    DelayLines *lines
    View x, y
    Py_ssize_t row, rows   # of the lines
    Py_ssize_t first       # the number of u that sample 0 of x is
    Py_ssize_t end         # from this number on u is zeros
    Py_ssize_t number      # of the hop
    Py_ssize_t output      # of y that is its first one
    Py_ssize_t outputs     # that are stored, S but for the last of a signal


cdef void transform_block(
    const Hop *job, Py_ssize_t n, Py_ssize_t group, Py_ssize_t channel, Py_ssize_t block,
    real *signal
) noexcept nogil:
    """A block of one channel, from samples to the two places of its spectrum."""
    cdef const Partitions *p = job.p
    cdef const DelayLines *lines = job.lines
    cdef Py_ssize_t length = <Py_ssize_t> 2 << p.log_points
    cdef Py_ssize_t end = (block + 1) * p.hop + p.span - 1, start = end - (p.part + p.hop - 1)
    cdef Py_ssize_t inside = max(start, 0), stop = max(min(end, job.end), inside), f
    cdef Py_ssize_t number = floor_modulo(floor_division(block, p.delay), p.parts)
    cdef real *to = signal + (length - (end - inside))
    cdef real *spectrum
    spectrum = (<real *> lines.numbers + (job.row + n) * lines.row_size + group * lines.group_size
                + floor_modulo(block, p.delay) * lines.line
                + (number * p.channels + channel) * p.packet)
    memset(signal, 0, (to - signal) * sizeof(real))
    copy_row[real](&job.x, n, group * p.channels + channel, inside - job.first, 1, stop - inside,
                   to)
    memset(to + (stop - inside), 0, (end - stop) * sizeof(real))
    p.transforms.forward(p.roots, p.log_points, signal, spectrum, lines.next)
    if p.parts > 1:
        for f in range(p.packets):
            memcpy(spectrum + p.parts * p.channels * p.packet, spectrum, p.packet * sizeof(real))
            spectrum += lines.next


cdef void transform_new_blocks(
    const Hop *job, Py_ssize_t chunk, int worker, real *unused
) noexcept nogil:
    """The blocks of a channel that the hop needs and its line has not yet."""
    cdef const Partitions *p = job.p
    cdef Py_ssize_t channel = chunk % p.channels, group = chunk // p.channels % p.groups
    cdef Py_ssize_t n = chunk // (p.channels * p.groups), block
    cdef HopScratch own
    carve_hop_scratch(p, job.lines.rows, &own, job.lines.workers + worker * job.lines.worker_size)
    block = max(job.lines.done[job.row + n] + 1, job.number - (p.parts - 1) * p.delay)
    while block <= job.number:
        transform_block[real](job, n, group, channel, block, <real *> own.signal)
        block += 1


cdef void sum_hop(const Hop *job, Py_ssize_t chunk, int worker, real *unused) noexcept nogil:
    """Some rows of results of a group, for all rows of the batch."""
    cdef const Partitions *p = job.p
    cdef const DelayLines *lines = job.lines
    cdef Py_ssize_t chunks = ceiling(p.outs, HOP_ROWS), group = chunk // chunks, i, n, row
    cdef Py_ssize_t first_row = chunk % chunks * HOP_ROWS, rows = min(HOP_ROWS, p.outs - first_row)
    cdef Py_ssize_t length = <Py_ssize_t> 2 << p.log_points
    cdef Py_ssize_t oldest = floor_modulo(floor_division(job.number, p.delay) + 1, p.parts)
    cdef HopScratch own
    cdef cc_packets weights = p.weights, inputs, results
    cdef real *signal
    cdef const real *bias = NULL
    carve_hop_scratch(p, lines.rows, &own, lines.workers + worker * lines.worker_size)
    weights.numbers = (<real *> p.weights.numbers + group * p.group_size
                       + first_row * p.weights.row)
    inputs.numbers = (<real *> lines.numbers + job.row * lines.row_size
                      + group * lines.group_size + floor_modulo(job.number, p.delay) * lines.line
                      + oldest * p.channels * p.packet)
    inputs.next, inputs.row, inputs.step = lines.next, lines.row_size, p.packet
    results.numbers, results.row, results.step = own.results, p.packet, rows * p.packet
    results.next = odd_lines(job.rows * rows * p.packet, p.size)
    p.transforms.multiply(&weights, rows, &inputs, job.rows, p.parts * p.channels, &results,
                          p.packets, False)
    signal = <real *> own.signal
    for n in range(job.rows):
        for i in range(rows):
            row = group * p.outs + first_row + i
            p.transforms.inverse(p.roots, p.log_points, <real *> own.results + n * results.step
                                 + i * results.row, results.next, signal)
            if p.bias.data != NULL:
                bias = <const real *> p.biases + row
            lines.spoiled[(job.row + n) * p.groups * p.outs + row] = not p.transforms.finish(
                signal + (length - p.part - p.hop + 1), job.outputs, bias)
            store_row[real](&job.y, at(&job.y, n, row, job.output), job.y.strides[2], job.outputs,
                            signal + (length - p.part - p.hop + 1))


cdef void new_blocks_chunk(void *context, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef const Hop *job = <const Hop *> context
    if job.p.size == sizeof(float):
        transform_new_blocks[float](job, chunk, worker, NULL)
    else:
        transform_new_blocks[double](job, chunk, worker, NULL)


cdef void sum_hop_chunk(void *context, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef const Hop *job = <const Hop *> context
    if job.p.size == sizeof(float):
        sum_hop[float](job, chunk, worker, NULL)
    else:
        sum_hop[double](job, chunk, worker, NULL)


cdef void sum_spoiled_hop(const Hop *job) noexcept nogil:
    """What came out not finite, by panels: rows of results that follow each other."""
    cdef const Partitions *p = job.p
    cdef Py_ssize_t rows = p.groups * p.outs, parts = 1 + job.y.pair, n, row, next_row, part
    cdef const unsigned char *spoiled
    cdef bint found
    cdef OverlapSave again  # of which sum_again reads no more than this
    cdef Geometry g = p.g
    g.pad_left = job.first - job.number * p.hop
    again.tiles, again.g, again.transposed, again.size = p.tiles, &g, False, p.size
    again.outs, again.channels, again.w, again.array = p.outs, p.channels, p.w, job.x
    again.biased, again.biases = p.bias.data != NULL, p.biases
    again.out = part_of(&job.y, 0, job.y.shape[0], 0, rows, job.output, job.outputs)
    for n in range(job.rows):
        spoiled = job.lines.spoiled + (job.row + n) * rows
        row = 0
        while row < rows:
            next_row = row
            while next_row < (row // p.outs + 1) * p.outs:
                found = False
                for part in range(parts):
                    found |= spoiled[next_row + part]
                if not found:
                    break
                next_row += parts
            if next_row > row:
                sum_again(&again, &p.bias, n, row, next_row - row, 0, job.outputs)
            row = max(next_row, row + parts)


cdef void run_hops(Hop *job) noexcept nogil:
    """The outputs y, from the one numbered number·S on, of rows whose samples are x."""
    cdef const Partitions *p = job.p
    cdef Py_ssize_t n, i, spoiled, products, rows = p.groups * p.outs
    cdef int threads
    products = (<Py_ssize_t> 1 << p.log_points) * (
        16 * p.log_points * (p.channels + p.outs) + 4 * p.parts * p.channels * p.outs)
    threads = min(job.lines.threads, threads_for(job.rows * p.groups, products))
    job.output = 0
    while job.output < job.y.shape[2]:
        job.outputs = min(p.hop, job.y.shape[2] - job.output)
        cc_pool_run(new_blocks_chunk, job, job.rows * p.groups * p.channels, threads)
        for n in range(job.row, job.row + job.rows):
            job.lines.done[n] = job.number
        cc_pool_run(sum_hop_chunk, job, p.groups * ceiling(p.outs, HOP_ROWS), threads)
        spoiled = 0
        for i in range(job.row * rows, (job.row + job.rows) * rows):
            spoiled |= job.lines.spoiled[i]
        if spoiled:
            sum_spoiled_hop(job)
        job.output += job.outputs
        job.number += 1
