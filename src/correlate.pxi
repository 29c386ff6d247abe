# forward and backward_input: results along positions, terms summed one after another.

cdef struct Rows:
    # The output channels of a group (for each phase of the output, if phases are rows), shared out
    # evenly among tiles: a last tile with few rows would be slow.
    Py_ssize_t count, blocks
    Py_ssize_t width   # whole tiles of every block


cdef Rows share_rows(const cc_tiles *tiles, Py_ssize_t count) noexcept nogil:
    cdef Rows rows
    rows.count = count
    rows.blocks = (count + tiles.correlate_rows - 1) // tiles.correlate_rows
    cdef Py_ssize_t width = tiles.correlate_width[count // rows.blocks]
    rows.width = width
    while rows.width % tiles.correlate_width[(count + rows.blocks - 1) // rows.blocks]:
        rows.width += width
    return rows


cdef inline Py_ssize_t first_row(const Rows *rows, Py_ssize_t block) noexcept nogil:
    return block * rows.count // rows.blocks


cdef struct Correlation:
    # A job for the pool. Its chunks are panels of positions of one group of one sample, or of
    # several short ones, and, where these are few, parts of the blocks of rows.
    const cc_tiles *tiles
    const Geometry *g
    View array, out
    bint transposed
    Py_ssize_t groups, channels, outs  # of a group: channels of the array and of the results
    Py_ssize_t terms, size             # taps of all channels of a group; numbers in the weights
    Py_ssize_t step                    # of the results that one phase writes
    bint merged                        # phases with as many taps are one, each with its rows
    Py_ssize_t phases
    Rows[2] rows                       # of a phase: all have the same, but for two merged ones
    Py_ssize_t width                   # whole tiles of all rows
    Py_ssize_t most_rows               # of a phase
    Py_ssize_t positions, panels, parts
    Py_ssize_t together, apart         # short signals in a panel, and positions between them
    bint aside                         # results that lie apart or are halves wait for all terms
    Py_ssize_t budget, most            # of samples in a panel, of terms in a chunk
    Py_ssize_t panel_size, offset_size, sums_size
    Py_ssize_t distance                # samples between channels, or 0 if panels must be packed
    bint ordered                       # and not summed as they come
    const int32_t *order               # [phase][term] tap of its class, or NULL: as they come
    const int32_t *places              # [phase][term] in the array, where `distance` is not 0
    const void *packed                 # [group][phase][block of rows][term][row of the block]
    const void *biases
    char *workers                      # the threads' own scratch
    Py_ssize_t worker_size


cdef struct Phase:
    # Results of one class, or of several if they are merged, and the terms that they sum.
    Py_ssize_t klass, end              # its classes
    Py_ssize_t first_result            # of the first of them
    Py_ssize_t first_position, last_position  # counted by the first class, for all of them
    Py_ssize_t first_term              # terms in the phases before this one
    const Rows *rows
    Terms terms


cdef inline Py_ssize_t first_result(const Correlation *job, Py_ssize_t klass) noexcept nogil:
    return class_phase(job.g, klass) if job.transposed else 0


cdef inline Py_ssize_t results_of(const Correlation *job, Py_ssize_t klass) noexcept nogil:
    """How many results a class writes in a row."""
    return (job.out.shape[2] - first_result(job, klass) + job.step - 1) // job.step


cdef inline Py_ssize_t ahead_of(
    const Correlation *job, Py_ssize_t klass, Py_ssize_t first_class
) noexcept nogil:
    """How many positions a class of a merged phase is ahead of the phase's first one."""
    return class_shift(job.g, klass) - class_shift(job.g, first_class)


cdef Phase phase_of(const Correlation *job, Py_ssize_t number) noexcept nogil:
    cdef const Geometry *g = job.g
    cdef Py_ssize_t klass, ahead
    cdef Phase phase
    phase.klass, phase.end = number, number + 1
    if job.merged:  # classes with a tap more than the others come first
        phase.klass = g.taps % g.period if number else 0
        phase.end = g.classes if number == job.phases - 1 else g.taps % g.period
    phase.rows = &job.rows[number if job.merged else 0]
    phase.first_result = first_result(job, phase.klass)
    phase.first_position, phase.last_position = 0, results_of(job, phase.klass)
    for klass in range(phase.klass + 1, phase.end):
        ahead = ahead_of(job, klass, phase.klass)
        phase.first_position = min(phase.first_position, -ahead)
        phase.last_position = max(phase.last_position, results_of(job, klass) - ahead)
    phase.first_term = job.channels * (g.taps // g.period * phase.klass
                                       + min(g.taps % g.period, phase.klass))
    if job.transposed:
        phase.terms = terms_of_output(g, job.channels, phase.klass)
    else:
        phase.terms = terms_of_input(g, job.channels)
    if job.order != NULL:
        phase.terms.order = job.order + phase.first_term
    return phase


cdef void lay_out_weights(
    Correlation *job, const cc_tiles *tiles, const View *w, const Geometry *g, Py_ssize_t groups,
    bint transposed
) noexcept nogil:
    """What the order of packed weights depends on: none of it is a length or the padding."""
    cdef Py_ssize_t number, row
    cdef Phase phase
    job.tiles, job.g, job.groups, job.transposed = tiles, g, groups, transposed
    job.out = nothing
    job.order = NULL
    if transposed:
        job.channels, job.outs = w.shape[0] // groups, w.shape[1]
    else:
        job.channels, job.outs = w.shape[1], w.shape[0] // groups
    job.step = g.stride if transposed else 1
    job.phases = g.classes if transposed else 1
    # Phases that have few rows and share what they read are taken together: a tile with one row
    # loads a vector for each multiply-add, and a panel for a tap or two is not worth its packing.
    # With few terms in all, results that wait in scratch cost more than that.
    number = 2 if g.taps > g.period and g.taps % g.period else 1
    job.merged = (job.phases > number and job.outs <= MERGED_ROWS
                  and job.channels * g.taps > CC_MORE)
    if job.merged:
        job.phases = number
    job.width, job.most_rows = 1, 0
    for number in range(job.phases if job.merged else 1):
        phase = phase_of(job, number)
        row = job.outs * (phase.end - phase.klass)
        job.rows[number] = share_rows(tiles, row)
        job.most_rows = max(job.most_rows, row)
        row = job.width
        while job.width % job.rows[number].width:
            job.width += row
    job.ordered = job.outs == 1 and not job.merged and CC_APART % g.step == 0
    job.terms = job.channels * g.taps
    job.size = groups * job.outs * job.terms


cdef void order_terms(Correlation *job, int32_t *order) noexcept nogil:
    """The order of the terms of all phases, where a tile has a single row."""
    cdef Py_ssize_t number
    cdef Phase phase
    for number in range(job.phases):
        phase = phase_of(job, number)
        order_taps(&phase.terms, order + phase.first_term)
    job.order = order


cdef inline Py_ssize_t weights_before(
    const Correlation *job, Py_ssize_t group, const Phase *phase
) noexcept nogil:
    """How many weights are packed before those of a group's phase."""
    return job.outs * (group * job.terms + phase.first_term)


cdef struct Run:
    # Weights that are evenly apart, and those of a packed block that they become.
    const char *first
    Py_ssize_t rows, channels, taps
    Py_ssize_t row_step, channel_step, tap_step  # in bytes
    Py_ssize_t count, channel_size               # rows of the block, numbers of a channel in it


cdef void copy_run(const Run *run, real_or_half *packed) noexcept nogil:
    """packed[channel][tap][row], of which taps are `count` apart."""
    cdef Py_ssize_t row = 0, first, channel, tap, step = run.row_step
    cdef const char *weight
    cdef real_or_half *place
    while row < run.rows:
        # a few rows at once, some of them for the second time, unless there are fewer
        first = min(row, max(run.rows - 4, 0))
        for channel in range(run.channels):
            weight = run.first + channel * run.channel_step + first * step
            place = packed + channel * run.channel_size + first
            if run.rows < 4:
                for tap in range(run.taps):
                    for row in range(run.rows):
                        place[row] = (<const real_or_half *> (weight + row * step))[0]
                    weight += run.tap_step
                    place += run.count
            else:
                for tap in range(run.taps):
                    place[0] = (<const real_or_half *> weight)[0]
                    place[1] = (<const real_or_half *> (weight + step))[0]
                    place[2] = (<const real_or_half *> (weight + 2 * step))[0]
                    place[3] = (<const real_or_half *> (weight + 3 * step))[0]
                    weight += run.tap_step
                    place += run.count
        row = first + 4


cdef inline const char *weight_at(
    const Correlation *job, const View *w, Py_ssize_t group, Py_ssize_t row, Py_ssize_t channel,
    Py_ssize_t tap
) noexcept nogil:
    if job.transposed:
        return at(w, group * job.channels + channel, row, tap)
    return at(w, group * job.outs + row, channel, tap)


cdef void copy_block(
    const Correlation *job, const View *w, const Phase *phase, Py_ssize_t group,
    Py_ssize_t first_channel, Py_ssize_t last_channel, Py_ssize_t block, real_or_half *packed
) noexcept nogil:
    """packed[t][r] for the terms of some channels and the rows of a block.

    Rows behind the first `outs` are those of the classes that follow.
    """
    cdef const Terms *terms = &phase.terms
    cdef const Geometry *g = job.g
    cdef Py_ssize_t begin = first_row(phase.rows, block), end = first_row(phase.rows, block + 1)
    cdef Py_ssize_t klass, channel, row, u, t = first_channel * terms.per_channel
    cdef Run run
    run.count = end - begin
    run.channel_size = terms.per_channel * run.count
    run.row_step, run.channel_step = w.strides[0], w.strides[1]
    if job.transposed:
        run.row_step, run.channel_step = w.strides[1], w.strides[0]
    run.tap_step = w.strides[2] * g.period
    if terms.order != NULL:  # of a single row: one after the other
        for channel in range(first_channel, last_channel):
            for klass in range(terms.first_class, terms.last_class):
                run.first = weight_at(job, w, group, 0, channel, klass)
                for u in range(class_taps(g, klass)):
                    packed[0] = (
                        <const real_or_half *> (run.first + terms.order[t] * run.tap_step))[0]
                    packed += 1
                    t += 1
        return
    for klass in range(terms.first_class, terms.last_class):
        run.taps, run.channels = class_taps(g, klass), last_channel - first_channel
        if run.taps == terms.per_channel and run.channel_step == run.taps * run.tap_step:
            run.taps, run.channels = run.taps * run.channels, 1  # all lie as those of one
        row = begin
        while row < end:
            run.rows = min(end - row, job.outs - row % job.outs)
            run.first = weight_at(job, w, group, row % job.outs, first_channel,
                                  klass + row // job.outs)
            copy_run(&run, packed + (row - begin))
            row += run.rows
        packed += class_taps(g, klass) * run.count


cdef bint pack_block(
    const Correlation *job, const View *w, const Phase *phase, Py_ssize_t group,
    Py_ssize_t first_channel, Py_ssize_t last_channel, Py_ssize_t block, real *packed
) noexcept nogil:
    """packed[block][t][r] for the terms of some channels and the rows of a block.

    False if there are weights of backward_input that are not finite.
    """
    cdef Py_ssize_t row = first_row(phase.rows, block), per_channel = phase.terms.per_channel
    cdef Py_ssize_t count = first_row(phase.rows, block + 1) - row, i
    cdef Py_ssize_t size = (last_channel - first_channel) * per_channel * count
    cdef uint16_t *halves
    cdef uint16_t[HALVES] some
    cdef bint finite = True
    packed += row * job.channels * per_channel + first_channel * per_channel * count
    if real is float:
        if w.half != NULL:  # which wait in the second half of their place
            halves = <uint16_t *> packed + size
            copy_block(job, w, phase, group, first_channel, last_channel, block, halves)
            for i from 0 <= i < size by HALVES:
                count = min(size - i, HALVES)
                memcpy(some, halves + i, count * sizeof(uint16_t))
                w.half.widen(some, count, packed + i)
    if w.half == NULL:
        copy_block(job, w, phase, group, first_channel, last_channel, block, packed)
    if job.transposed:
        for i in range(size):
            finite &= isfinite(packed[i]) != 0
    return finite


cdef inline Py_ssize_t packing_units(const Correlation *job) noexcept nogil:
    """What the weights of a group's phase can be shared out by.

    Some channels of backward_input, whose rows lie side by side, or a block of rows of forward.
    """
    if job.transposed:
        return (job.channels + NEAR_CHANNELS - 1) // NEAR_CHANNELS
    return job.rows[0].blocks


cdef bint pack_units(
    const Correlation *job, const View *w, Py_ssize_t first, Py_ssize_t last, real *packed
) noexcept nogil:
    """Some units of all weights, those of a phase of all groups together."""
    cdef Py_ssize_t units = packing_units(job), unit, group, block, channel, number = 0
    cdef Phase phase = phase_of(job, 0)
    cdef bint finite = True
    cdef real *place
    for unit in range(first, last):
        while number < unit // (units * job.groups):
            number += 1
            phase = phase_of(job, number)
        group = unit // units % job.groups
        place = packed + weights_before(job, group, &phase)
        if job.transposed:
            channel = unit % units * NEAR_CHANNELS
            for block in range(phase.rows.blocks):
                finite &= pack_block[real](job, w, &phase, group, channel,
                                           min(channel + NEAR_CHANNELS, job.channels), block, place)
        else:
            pack_block[real](job, w, &phase, group, 0, job.channels, unit % units, place)
    return finite


cdef struct Packing:
    # A job for the pool: its chunks are as many units of the weights.
    const Correlation *job
    const View *w
    void *packed
    Py_ssize_t size                    # of a number
    Py_ssize_t units, chunks
    char[CC_POOL_MAX] finite           # those that a worker has packed


cdef void pack_chunk(void *context, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef Packing *packing = <Packing *> context
    cdef Py_ssize_t first = chunk * packing.units // packing.chunks
    cdef Py_ssize_t last = (chunk + 1) * packing.units // packing.chunks
    if packing.size == sizeof(float):
        packing.finite[worker] &= pack_units[float](packing.job, packing.w, first, last,
                                                    <float *> packing.packed)
    else:
        packing.finite[worker] &= pack_units[double](packing.job, packing.w, first, last,
                                                     <double *> packing.packed)


cdef bint pack_weights(
    const View *w, const Correlation *job, int workers, real *packed
) noexcept nogil:
    """packed[group][phase][block][t][r] for all terms and rows.

    False if there are weights of backward_input that are not finite.
    """
    cdef Packing packing
    cdef int worker
    cdef bint finite = True
    packing.units = packing_units(job) * job.groups * job.phases
    if workers == 1 or job.size < SERIAL_WEIGHTS:
        return pack_units[real](job, w, 0, packing.units, packed)
    packing.job, packing.w, packing.packed, packing.size = job, w, packed, sizeof(real)
    packing.chunks = min(PARTS * workers, packing.units)
    memset(packing.finite, 1, workers)
    cc_pool_run(pack_chunk, &packing, packing.chunks, workers)
    for worker in range(workers):
        finite &= packing.finite[worker]
    return finite


cdef bint keep_weights(
    const cc_tiles *tiles, const View *w, const Geometry *g, Py_ssize_t groups, bint transposed,
    Packed *kept, real *packed
) noexcept nogil:
    """Pack weights for calls to come; false if memory ran out."""
    cdef Correlation job
    cdef Scratch scratch
    lay_out_weights(&job, tiles, w, g, groups, transposed)
    if not reserve(&scratch, job.ordered * piece(job.terms * sizeof(int32_t))):
        return False
    if job.ordered:
        order_terms(&job, <int32_t *> scratch.next)
    kept.tiles, kept.transposed, kept.groups = tiles, transposed, groups
    kept.outs, kept.channels = job.outs, job.channels
    kept.taps, kept.stride, kept.dilation = g.taps, g.stride, g.dilation
    kept.finite = pack_weights[real](w, &job, cc_pool_threads(), packed)
    kept.numbers = packed
    PyMem_RawFree(scratch.memory)
    return True


cdef bint fits(const Packed *kept, const Correlation *job) noexcept nogil:
    """Whether there are weights that were packed for such a job."""
    return (kept != NULL and kept.tiles == job.tiles and kept.transposed == job.transposed
            and kept.groups == job.groups and kept.outs == job.outs
            and kept.channels == job.channels and kept.taps == job.g.taps
            and kept.stride == job.g.stride and kept.dilation == job.g.dilation)


cdef void fill(
    const View *out, const real *biases, Py_ssize_t outs, Py_ssize_t group
) noexcept nogil:
    """The sum without any terms; the biases of a group of `outs` are `group` numbers apart."""
    cdef Py_ssize_t n, row, p
    cdef real value = 0
    for n in range(out.shape[0]):
        for row in range(out.shape[1]):
            if biases != NULL:
                value = biases[row // outs * group + row % outs]
            for p in range(out.shape[2]):
                store_row[real](out, at(out, n, row, p), 0, 1, &value)


cdef void copy_tile(
    const Correlation *job, const Phase *phase, Py_ssize_t n, Py_ssize_t group, Py_ssize_t row,
    Py_ssize_t rows, Py_ssize_t m, Py_ssize_t count, real *stage, Py_ssize_t stage_row, bint store
) noexcept nogil:
    """A tile of results that `out` does not hold side by side, from the stage or to it."""
    cdef const View *out = &job.out
    cdef Py_ssize_t r, i, stride = out.strides[2] * job.step, klass, place, channel = row
    cdef Py_ssize_t first = 0, last = count, result = phase.first_result + m * job.step
    cdef char *results
    for r in range(row, row + rows):
        if job.merged:  # a class may begin earlier than the first one, or end later
            klass = phase.klass + r // job.outs
            channel = r % job.outs
            place = m + ahead_of(job, klass, phase.klass)
            first, last = max(0, -place), min(count, results_of(job, klass) - place)
            result = first_result(job, klass) + (place + first) * job.step
        results = at(out, n, group * job.outs + channel, result)
        if store:
            store_row[real](out, results, stride, last - first, stage + first)
        else:  # never halves, which are stored once all terms are in
            for i in range(first, last):
                stage[i] = (<real *> results)[0]
                results += stride
        stage += stage_row
        channel += 1


cdef void correlate_panel(
    const Correlation *job, const Phase *phase, const real *panel, const int32_t *offset,
    const real *weights, Py_ssize_t t0, Py_ssize_t t1, Py_ssize_t terms, Py_ssize_t part,
    Py_ssize_t n, Py_ssize_t group, Py_ssize_t first, Py_ssize_t count, real *stage
) noexcept nogil:
    """The terms t0 .. t1 of `terms` for the `count` positions of a phase from `first`, of one part.

    A strip of positions comes first, then rows: the samples of all terms that a strip reads stay in
    the first-level cache, and the weights stream past them.
    """
    cdef const cc_tiles *tiles = job.tiles
    cdef const View *out = &job.out
    cdef const Rows *rows = phase.rows
    cdef const real *bias = NULL
    cdef Py_ssize_t channel = group * job.outs, size = sizeof(real)
    cdef Py_ssize_t first_block = part * rows.blocks // job.parts
    cdef Py_ssize_t last_block = (part + 1) * rows.blocks // job.parts
    cdef Py_ssize_t strip = STRIP_BYTES // (size * (job.panel_size // job.positions + 1))
    cdef Py_ssize_t block, row, tile_rows, width, m, last, inside, target_row, m0
    cdef real *target
    cdef bint direct
    cdef bint side_by_side = (job.step == 1 and out.strides[2] == size
                              and out.strides[1] % size == 0)
    if job.biases != NULL and t1 == terms:
        bias = <const real *> job.biases + group * job.most_rows
    if (rows.count == 1 and terms <= CC_MORE and t0 == 0 and t1 == terms
            and side_by_side and count >= tiles.row_least):
        tiles.row[terms if terms <= CC_FEW else 0](
            panel, offset, terms, weights, at(out, n, channel, first), count, bias)
        return
    strip = max(strip // job.width, 1) * job.width
    for m0 from 0 <= m0 < count by strip:
        last = min(m0 + strip, count)
        for block in range(first_block, last_block):
            row = first_row(rows, block)
            tile_rows = first_row(rows, block + 1) - row
            width = tiles.correlate_width[tile_rows]
            for m from m0 <= m < last by width:
                inside = min(width, last - m)
                direct = side_by_side and inside == width
                if direct:
                    target = <real *> at(out, n, channel + row, first + m)
                    target_row = out.strides[1] // size
                else:
                    target, target_row = stage, width
                    if t0 > 0:
                        copy_tile[real](job, phase, n, group, row, tile_rows, first + m, inside,
                                        stage, width, False)
                tiles.correlate[tile_rows](
                    panel + m, offset, t1 - t0, weights + row * terms + t0 * tile_rows, target,
                    target_row, bias + row if bias != NULL else NULL, t0 > 0)
                if not direct:
                    copy_tile[real](job, phase, n, group, row, tile_rows, first + m, inside, stage,
                                    width, True)


cdef void correlate_range(
    const Correlation *job, const Phase *phase, bint in_place, real *panel, int32_t *offset,
    real *stage, real *sums, const real *packed, Py_ssize_t part, Py_ssize_t n,
    Py_ssize_t signals, Py_ssize_t group, Py_ssize_t first, Py_ssize_t end
) noexcept nogil:
    """The positions first .. end - 1 of a phase, from a panel or from the array itself.

    `sums` holds the results until all terms are in, where they go aside; the positions of several
    signals are all of theirs, one signal after the other.
    """
    cdef const Terms *terms = &phase.terms
    cdef Py_ssize_t total = terms.channels * terms.per_channel, t0, t1
    cdef Py_ssize_t count = end - first + (signals - 1) * job.apart
    cdef Cut cut = cut_terms(terms, job.positions, job.budget, job.most)
    cdef const real *samples = panel
    cdef const int32_t *places = offset
    cdef Py_ssize_t row = first_row(phase.rows, part * phase.rows.blocks // job.parts)
    cdef Py_ssize_t last_row = first_row(phase.rows, (part + 1) * phase.rows.blocks // job.parts)
    cdef Correlation wide
    cdef Phase wide_phase
    cdef const Correlation *target = job
    cdef const Phase *target_phase = phase
    cdef Py_ssize_t target_n = n, target_group = group, target_first = first
    if job.aside:
        wide, wide_phase = job[0], phase[0]
        wide.out.half = NULL
        wide.out.pair = 0
        wide.out.strides[2] = sizeof(real)
        wide.out.strides[1] = row_size(job.positions) * sizeof(real)
        wide.out.data = <char *> sums - row * wide.out.strides[1]
        wide.step, wide.merged, wide_phase.first_result = 1, False, 0
        if job.biases != NULL:
            wide.biases = <const real *> job.biases + group * job.most_rows
        target, target_phase, target_n, target_group, target_first = &wide, &wide_phase, 0, 0, 0
    for t0 from 0 <= t0 < total by cut.chunk:
        t1 = min(t0 + cut.chunk, total)
        if in_place:
            places = job.places + phase.first_term + t0
            samples = <const real *> at(&job.array, n, group * job.channels,
                                        first + lowest_sample(terms))
        else:
            pack_panel[real](&job.array, n, signals, job.apart, group * job.channels, terms, t0, t1,
                             first, end - first, rounded(count, job.width), panel, offset)
        correlate_panel[real](target, target_phase, samples, places, packed, t0, t1, total, part,
                              target_n, target_group, target_first, count, stage)
    if job.aside:
        for t0 in range(signals):
            copy_tile[real](job, phase, n + t0, group, row, last_row - row, first, end - first,
                            sums + t0 * job.apart, row_size(job.positions), True)


cdef void correlate_chunk(
    const Correlation *job, const real *packed, Py_ssize_t chunk, int worker
) noexcept nogil:
    """A chunk's positions of all phases: those at the ends of the array need a panel."""
    cdef char *scratch = job.workers + worker * job.worker_size
    cdef real *panel = <real *> take(&scratch, job.panel_size * sizeof(real))
    cdef int32_t *offset = <int32_t *> take(&scratch, job.offset_size * sizeof(int32_t))
    cdef real *stage = <real *> take(&scratch, CC_TILE * sizeof(real))
    cdef real *sums = <real *> take(&scratch, job.sums_size * sizeof(real))
    cdef Py_ssize_t part = chunk % job.parts
    cdef Py_ssize_t begin = chunk // job.parts % job.panels * job.positions
    cdef Py_ssize_t group = chunk // (job.parts * job.panels) % job.groups
    cdef Py_ssize_t n = chunk // (job.parts * job.panels * job.groups) * job.together
    cdef Py_ssize_t signals = min(job.together, job.array.shape[0] - n), number, i, inside, end
    cdef Py_ssize_t[4] ends
    cdef Phase phase
    for number in range(job.phases):
        phase = phase_of(job, number)
        # ends of what is packed, read in place, and packed again
        ends[0] = phase.first_position + begin
        ends[1] = ends[2] = ends[3] = min(ends[0] + job.positions, phase.last_position)
        if job.distance:
            # whole tiles that read nothing beyond the ends
            inside = ends[0] + rounded(max(-lowest_sample(&phase.terms) - ends[0], 0), job.width)
            end = (job.array.shape[2] - lowest_sample(&phase.terms)
                   - (phase.terms.per_channel - 1) * job.g.step)
            end = min(ends[3], inside + max(end - inside, 0) // job.width * job.width)
            if end - inside >= IN_PLACE_POSITIONS:
                ends[1], ends[2] = inside, end
        for i in range(3):
            if ends[i] < ends[i + 1]:
                correlate_range[real](job, &phase, i == 1, panel, offset, stage, sums,
                                      packed + weights_before(job, group, &phase), part, n, signals,
                                      group, ends[i], ends[i + 1])


cdef void correlate_chunk_f32(void *job, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef const Correlation *correlation = <const Correlation *> job
    correlate_chunk[float](correlation, <const float *> correlation.packed, chunk, worker)


cdef void correlate_chunk_f64(void *job, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef const Correlation *correlation = <const Correlation *> job
    correlate_chunk[double](correlation, <const double *> correlation.packed, chunk, worker)


cdef bint correlate(
    const cc_tiles *tiles, const View *array, const View *w, const real *bias,
    Py_ssize_t bias_stride, const View *out, const Geometry *g, Py_ssize_t groups, bint transposed
) noexcept nogil:
    """forward, or backward_input if `transposed`; false if memory ran out, with nothing stored.

    There may be no bias (NULL); its stride is in bytes, as a View's are.
    """
    cdef Correlation job
    cdef Across beside
    cdef Py_ssize_t longest = 1, halo = 0, group, number, row, units, narrow, most, places, size
    cdef Phase phase
    cdef Cut cut
    cdef Scratch scratch
    cdef real *packed
    cdef real *biases = NULL
    cdef bint kept, finite, together
    cdef int workers

    if out.shape[0] == 0 or out.shape[1] == 0 or out.shape[2] == 0:
        return True
    lay_out_weights(&job, tiles, w, g, groups, transposed)
    kept = fits(w.packed, &job)
    job.array, job.out = array[0], out[0]
    job.array.mode = ZEROS if transposed else g.mode
    if plan_across(&beside, &job, sizeof(real)):
        number = across[real](&beside, w, bias, bias_stride)
        if number >= 0:
            return number
    job.places, job.distance = NULL, 0
    for number in range(job.phases):
        phase = phase_of(&job, number)
        longest = max(longest, phase.last_position - phase.first_position)
        halo = max(halo, (class_taps(g, phase.klass) - 1) * g.step)

    # Tiles that are wider than what is left of a signal compute for nothing. Where that would be
    # much, several signals lie side by side, and each wastes but its halo.
    job.apart = longest + halo
    together = (out.shape[0] > 1 and overlap(g)
                and 8 * job.apart < 7 * rounded(longest, job.width))
    # Where results lie apart, each chunk of terms would gather and scatter them.
    job.aside = (out.half != NULL or out.pair != 0
                 or (job.step > 1 and job.most_rows > 1) or together)
    job.budget = PANEL_BYTES // sizeof(real)
    job.most = min(CHUNK_TERMS, WEIGHT_BYTES // <Py_ssize_t> sizeof(real) // job.most_rows)
    narrow = NARROW
    phase = phase_of(&job, 0)
    # A wide panel reads long runs of each channel; but chunks of terms add to all its results.
    most = PANEL_BYTES // 4 // <Py_ssize_t> sizeof(real)
    while narrow < WIDE // 2 and narrow * job.most_rows < most:
        narrow *= 2
    job.positions = panel_positions(&phase.terms, job.budget, narrow)
    most = RESULT_BYTES // <Py_ssize_t> sizeof(real)
    while job.aside and job.positions > NARROW // 2 and job.most_rows * job.positions > most:
        job.positions //= 2
    job.positions = max(job.positions // job.width, 1) * job.width
    job.together = 1
    if together:
        job.together = min(out.shape[0], max(1, job.positions // job.apart))
        longest += (job.together - 1) * job.apart
        job.positions = rounded(longest, job.width)
    job.positions = min(job.positions, rounded(longest, job.width))
    job.panels = (longest + job.positions - 1) // job.positions
    job.panel_size = job.offset_size = 0
    for number in range(job.phases):
        phase = phase_of(&job, number)
        cut = cut_terms(&phase.terms, job.positions, job.budget, job.most)
        job.panel_size = max(job.panel_size, cut.size)
        job.offset_size = max(job.offset_size, cut.chunk)

    units = (out.shape[0] + job.together - 1) // job.together * groups * job.panels
    workers = threads_for(out.shape[0] * out.shape[1] * out.shape[2], job.terms // job.step)
    job.parts = 1 if workers == 1 else min((PARTS * workers + units - 1) // units,
                                           (job.rows[0].blocks + PART_BLOCKS - 1) // PART_BLOCKS)
    job.sums_size = 0
    if job.aside:
        row = (job.most_rows + tiles.correlate_rows - 1) // tiles.correlate_rows
        job.parts = max(job.parts, min(row, job.most_rows * job.positions // most + 1))
        row = min(job.most_rows, (row + job.parts - 1) // job.parts * tiles.correlate_rows)
        job.sums_size = row * row_size(job.positions)
    workers = <int> min(workers, units * job.parts)

    # A single tile for all rows reads the samples as often from the array as from a panel.
    if (job.rows[0].blocks == 1 and phase.terms.in_step == 1
            and job.channels <= IN_PLACE_CHANNELS and job.together == 1):
        job.distance = distance_of_rows(&job.array, job.channels, g.taps * g.step, sizeof(real))
    places = job.terms * sizeof(int32_t)
    size = 0 if kept else job.size * sizeof(real)

    job.worker_size = (piece(job.panel_size * sizeof(real))
                       + piece(job.offset_size * sizeof(int32_t)) + piece(CC_TILE * sizeof(real))
                       + piece(job.sums_size * sizeof(real)))
    if not reserve(&scratch, piece(size)
                   + piece(groups * job.most_rows * sizeof(real))
                   + job.ordered * piece(places) + (job.distance != 0) * piece(places)
                   + workers * job.worker_size):
        return False
    packed = <real *> take(&scratch.next, size)
    job.biases = NULL
    if bias != NULL:
        job.biases = biases = <real *> take(
            &scratch.next, groups * job.most_rows * sizeof(real))
        for group in range(groups):
            for row in range(job.most_rows):
                load_row[real](w, <const char *> bias
                               + (group * job.outs + row % job.outs) * bias_stride, 0, 1,
                               biases + (group * job.most_rows + row))
    if job.ordered:
        order_terms(&job, <int32_t *> take(&scratch.next, places))
    if job.distance:
        job.places = <int32_t *> take(&scratch.next, places)
        for number in range(job.phases):
            phase = phase_of(&job, number)
            point_at_terms(&phase.terms, job.distance, <int32_t *> job.places + phase.first_term)
    job.workers = scratch.next

    if kept:
        job.packed, finite = w.packed.numbers, w.packed.finite
    else:
        job.packed, finite = packed, pack_weights[real](w, &job, workers, packed)
    if job.channels == 0 or (transposed and g.classes < g.stride):
        # no terms, or phases of the output that meet no tap
        fill[real](&job.out, biases, job.outs, job.most_rows)
    if job.channels > 0:
        if real is float:
            cc_pool_run(correlate_chunk_f32, &job, units * job.parts, workers)
        else:
            cc_pool_run(correlate_chunk_f64, &job, units * job.parts, workers)
        if transposed and not finite:
            mend_edges[real](array, w, out, &job, biases)
    PyMem_RawFree(scratch.memory)
    return True


cdef void mend_edges(
    const View *dy, const View *w, const View *dx, const Correlation *job, const real *biases
) noexcept nogil:
    """backward_input again where taps reach beyond dy.

    The panel holds zeros there, which change nothing while the weights are finite; but dx has
    no such terms, and 0 · NaN or 0 · Inf would spoil it. The order of the terms and blocks is
    the tiles'.
    """
    cdef const Geometry *g = job.g
    cdef Py_ssize_t rows = job.outs, channels = job.channels
    cdef Py_ssize_t n, row, group, klass, taps, first, m, nearest, t, channel, tap, position
    cdef real chain, total, weight, sample
    cdef const int32_t *order = NULL
    for klass in range(g.classes):
        taps = class_taps(g, klass)
        if job.order != NULL:
            order = job.order + phase_of(job, klass).first_term
        first = class_phase(g, klass)
        for m in range((dx.shape[2] - first + g.stride - 1) // g.stride):
            nearest = m - class_shift(g, klass)
            if nearest - (taps - 1) * g.step >= 0 and nearest < dy.shape[2]:
                continue
            for n in range(dx.shape[0]):
                if cc_pool_cancelled(0):
                    return
                for row in range(dx.shape[1]):
                    group = row // rows
                    total = chain = 0
                    for t in range(channels * taps):
                        if t % CC_BLOCK == 0:
                            total += chain
                            chain = 0
                        channel = t // taps
                        tap = t - channel * taps if order == NULL else order[t]
                        position = nearest - tap * g.step
                        if 0 <= position < dy.shape[2]:
                            load_row[real](w, at(w, group * channels + channel, row - group * rows,
                                                 klass + tap * g.period), 0, 1, &weight)
                            load_row[real](dy, at(dy, n, group * channels + channel, position),
                                           0, 1, &sample)
                            chain = fused[real](weight, sample, chain)
                    total += chain
                    if biases != NULL:
                        total += biases[group * job.most_rows + row % rows]
                    store_row[real](dx, at(dx, n, row, first + m * g.stride), 0, 1, &total)


cdef inline real fused(real a, real b, real c) noexcept nogil:
    if real is float:
        return fmaf(a, b, c)
    else:
        return fma(a, b, c)
