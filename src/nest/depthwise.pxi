# forward and backward_input of depthwise layers with few positions: lanes along channels.
#
#     out[n, lane, p] = bias[lane] + Σ_t w[lane, tap[t]] · x[n, lane, p·in_step + tap_samples[t]]
#
# Takes  a planned Sum of groups with one channel each, Views with any strides and real formats,
#        weights, a bias.
# Gives  the results; false if memory ran out; load_lanes and store_lanes, which transpose rows of
#        channels to lanes, and back.
#
# What a row of positions costs beside its terms, a tile along channels shares among its lanes. The
# weights are transposed once; samples with their padding, and results, for each block of channels
# of a sample. Where channels lie side by side (NLC), tiles read and store them in place.
# The terms and their order are those of the other nests, but taps that meet nothing but zeros are
# left out: a chain without them has the same sum.
#
# Loops, outermost first: chunks of the pool (sample, part of the blocks); blocks of lanes; steps
# (a few positions of a phase, one chain of terms).

cdef struct DepthwiseStep:
    # A tile: some positions of a phase, and the terms of one chain.
    Py_ssize_t rows
    Py_ssize_t x                       # numbers from the first sample to the one at offset 0
    Py_ssize_t result                  # the first of them, which are sum.step apart
    Py_ssize_t first_term, terms       # in the lists
    Py_ssize_t weights, block_weights  # numbers before those of its phase, and in a block of them
    bint resume, last                  # it continues a sum; it is the one that a bias is added by


cdef struct Depthwise:
    # A job for the pool. Its chunks are some blocks of lanes of one sample.
    Sum sum                     # with rows that are lanes: see lay_along_lanes
    View array, out
    View weights                # [0][channel][tap]
    Py_ssize_t rows, lanes      # of a tile: positions, and channels
    Py_ssize_t blocks, parts
    Py_ssize_t at_once          # blocks in a panel, whose samples stay in the first-level cache
    Py_ssize_t first_sample, samples  # that all terms together read, also beyond the ends
    Py_ssize_t first_tap, end_tap     # that meet a sample
    bint padded                 # some term reads beyond the ends, or is left out
    bint gaps                   # some results meet no tap: these are the bias
    bint in_place               # samples are read in the array, or else in a panel
    Py_ssize_t x_pitch, x_row   # numbers there from a sample to the next one, and to a position's
    Py_ssize_t size             # of a number, in bytes
    int threads
    bint prepacked              # the weights were packed before
    bint finite                 # all of them, which is only asked where some terms are padded
    bint biased                 # there is a bias
    const cc_depthwise_blocks *tile
    int32_t *order              # room for sum.order, if the terms have an order of their own
    DepthwiseStep *steps
    Py_ssize_t step_count
    int32_t *x_offsets          # [term of a list] from the step's x to its sample
    int32_t *w_offsets          # and from the phase's weights to its own
    Py_ssize_t term_count
    void *packed                # [block][tap][lane], or as a PackedLayout has them
    void *biases                # [block][lane], zeros without a bias; or NULL
    uintptr_t workers           # the threads' own scratch
    Py_ssize_t worker_size


cdef struct DepthwiseScratch:
    # What a thread has for itself.
    void *panel   # [block][sample][lane]
    void *stage   # [block][result][lane]
    void *line    # [lane][sample, result or tap]: rows that cannot be transposed where they lie


cdef uintptr_t carve_own_depthwise(
    const Depthwise *job, DepthwiseScratch *own, uintptr_t next
) noexcept nogil:
    cdef Py_ssize_t longest = max(job.samples, max(job.out.shape[2], job.end_tap - job.first_tap))
    cdef Py_ssize_t row = job.at_once * job.lanes * job.size
    own.panel = carve(&next, job.samples * row)
    own.stage = carve(&next, job.out.shape[2] * row)
    own.line = carve(&next, longest * row)
    return next


cdef uintptr_t carve_depthwise(Depthwise *job, uintptr_t next) noexcept nogil:
    cdef DepthwiseScratch own
    cdef Py_ssize_t channels = job.blocks * job.lanes
    job.biases = job.order = NULL
    job.steps = <DepthwiseStep *> carve(&next, job.step_count * sizeof(DepthwiseStep))
    job.x_offsets = <int32_t *> carve(&next, job.term_count * sizeof(int32_t))
    job.w_offsets = <int32_t *> carve(&next, job.term_count * sizeof(int32_t))
    if job.sum.ordered:
        job.order = <int32_t *> carve(&next, job.sum.terms * sizeof(int32_t))
    if not job.prepacked:
        job.packed = carve(&next, channels * max(job.end_tap - job.first_tap, 0) * job.size)
    if job.biased or job.gaps:
        job.biases = carve(&next, channels * job.size)
    job.workers, job.worker_size = next, carve_own_depthwise(job, &own, 0)
    return next + job.threads * job.worker_size


# --- rows of channels to lanes, and back ---------------------------------------------------------

cdef void load_samples(
    const cc_tiles *tiles, const View *array, Py_ssize_t n, Py_ssize_t channel, Py_ssize_t count,
    Py_ssize_t first, Py_ssize_t samples, real *to, Py_ssize_t block, real *line
) noexcept nogil:
    """As load_lanes, of whole blocks or of a single one that is not, and between the ends."""
    cdef Py_ssize_t item = stored_size(array, sizeof(real)), lanes = tiles.gemm_lanes
    cdef Py_ssize_t blocks = (count + lanes - 1) // lanes, i, b
    cdef bint whole = count % lanes == 0
    cdef const char *sample = at(array, n, channel, first)
    if array.strides[1] == item:
        for i in range(samples):
            if not whole or array.half != NULL:
                for b in range(blocks):
                    load_row[real](array, sample + b * lanes * item, item, min(lanes, count),
                                   to + b * block)
                if not whole:
                    memset(to + count, 0, (lanes - count) * sizeof(real))
            else:
                for b in range(blocks):
                    copy_short(to + b * block, <const real *> sample + b * lanes,
                               lanes * sizeof(real))
            sample += array.strides[2]
            to += lanes
        return
    if (array.half == NULL and array.strides[2] == item and whole
            and array.strides[1] % item == 0):
        tiles.rows_to_lanes(sample, array.strides[1] // item, samples, to, block, blocks)
        return
    if array.strides[2] == item and array.strides[1] == samples * item:
        load_row[real](array, sample, item, count * samples, line)  # all rows are one
    else:
        for i in range(count):
            load_row[real](array, sample, array.strides[2], samples, line + i * samples)
            sample += array.strides[1]
    if not whole:
        memset(line + count * samples, 0, (lanes - count) * samples * sizeof(real))
    tiles.rows_to_lanes(line, samples, samples, to, block, blocks)


cdef void load_lanes(
    const cc_tiles *tiles, const View *array, Py_ssize_t n, Py_ssize_t channel, Py_ssize_t count,
    Py_ssize_t first, Py_ssize_t samples, real *to, Py_ssize_t block, real *line
) noexcept nogil:
    """to[b][i][l] = array[n, channel + b·lanes + l, first + i], for `count` channels.

    Blocks are `block` numbers apart; lanes without a channel have zeros. Beyond the ends of the
    array it is as its mode says.
    """
    cdef Py_ssize_t length = array.shape[2], lanes = tiles.gemm_lanes, i, b, place
    cdef Py_ssize_t begin = min(max(first, 0), length)
    cdef Py_ssize_t end = max(min(first + samples, length), begin)
    cdef Py_ssize_t rest = count % lanes
    cdef real *row
    if 0 < rest < count:
        load_lanes[real](tiles, array, n, channel + count - rest, rest, first, samples,
                         to + count // lanes * block, block, line)
        count -= rest
    if begin < end:
        load_samples[real](tiles, array, n, channel, count, begin, end - begin,
                           to + (begin - first) * lanes, block, line)
    if end - begin == samples:
        return
    if array.mode == CONTINUES:
        begin = max(first, -array.before.shape[2])
        i = min(first + samples, 0) - begin
        if i > 0:
            load_samples[real](tiles, array.before, n, channel, count,
                               begin + array.before.shape[2], i, to + (begin - first) * lanes,
                               block, line)
    for i in range(samples):
        if begin <= first + i < end:
            continue
        place = source(array.mode, first + i, length)
        if 0 <= place < length and not begin <= place < end:
            load_samples[real](tiles, array, n, channel, count, place, 1, to + i * lanes, block,
                               line)
            continue
        row = to
        for b in range((count + lanes - 1) // lanes):
            if 0 <= place < length:
                copy_short(row + i * lanes, row + (place - first) * lanes,
                           lanes * sizeof(real))
            else:
                memset(row + i * lanes, 0, lanes * sizeof(real))
            row += block


cdef void store_lanes(
    const cc_tiles *tiles, const View *out, Py_ssize_t n, Py_ssize_t channel, Py_ssize_t count,
    const real *results, Py_ssize_t block, real *line
) noexcept nogil:
    """out[n, channel + b·lanes + l, i] = results[b][i][l], of whole blocks or a single one."""
    cdef Py_ssize_t item = stored_size(out, sizeof(real)), lanes = tiles.gemm_lanes
    cdef Py_ssize_t blocks = (count + lanes - 1) // lanes, length = out.shape[2], i, b
    cdef char *result = at(out, n, channel, 0)
    if out.strides[1] == item:
        if length == 1 and block == lanes:  # one row
            store_row[real](out, result, item, count, results)
            return
        for i in range(length):
            for b in range(blocks):
                store_row[real](out, result + b * lanes * item, item, min(lanes, count),
                                results + b * block)
            result += out.strides[2]
            results += lanes
        return
    if (out.half == NULL and out.strides[2] == item and count % lanes == 0
            and out.strides[1] % item == 0):
        tiles.lanes_to_rows(results, block, length, result, out.strides[1] // item, blocks)
        return
    tiles.lanes_to_rows(results, block, length, line, length, blocks)
    if out.strides[2] == item and out.strides[1] == length * item:
        store_row[real](out, result, item, count * length, line)
        return
    for i in range(count):
        store_row[real](out, result, out.strides[2], length, line + i * length)
        result += out.strides[1]


cdef inline View channels_of_weights(const View *w) noexcept nogil:
    """w[channel, 0, tap], or a gradient of it, as a sample of a signal: [0, channel, tap]."""
    cdef View channels = w[0]
    channels.shape[0], channels.shape[1] = 1, w.shape[0]
    channels.strides[0], channels.strides[1] = 0, w.strides[0]
    channels.mode = CCONV1D_ZEROS
    channels.packed = NULL
    return channels


# --- the steps -----------------------------------------------------------------------------------

cdef void add_step(
    Depthwise *job, Py_ssize_t first_step, Py_ssize_t first_term, DepthwiseStep *step
) noexcept nogil:
    """One more step, of the terms that were listed from `first_term` on."""
    step.first_term, step.terms = first_term, job.term_count - first_term
    step.resume = job.step_count > first_step
    if job.steps != NULL:
        job.steps[job.step_count] = step[0]
    job.step_count += 1


cdef void list_some_steps(
    Depthwise *job, const Phase *phase, DepthwiseStep *step, Py_ssize_t from_sample,
    Py_ssize_t base, Py_ssize_t reach
) noexcept nogil:
    """The steps of some positions: the terms that meet a sample, a chain for each CC_BLOCK.

    The first of the positions reads from `from_sample`, and the last `reach` samples farther. What
    a term reads there is listed as counted from `base`.
    """
    cdef const Terms *terms = &phase.terms
    cdef const Geometry *g = terms.g
    cdef Py_ssize_t length = job.array.shape[2], t = 0, residue, u, tap, start, sample, j
    cdef Py_ssize_t residues = terms.last_residue, period = g.period
    cdef Py_ssize_t ahead = terms.direction * terms.in_step * g.step
    cdef Py_ssize_t first_step = job.step_count, first_term = job.term_count
    if not terms.by_residue:  # as if all taps had the same one
        residues, period, ahead = terms.first_residue + 1, 1, g.dilation
    for residue in range(terms.first_residue, residues):
        start = residue * g.dilation - g.pad_left  # of x
        if terms.direction < 0:
            start = -residue_shift(g, residue)
        for u in range(residue_taps(g, residue) if terms.by_residue else terms.per_channel):
            if t % CC_BLOCK == 0 and job.term_count > first_term:
                add_step(job, first_step, first_term, step)
                first_term = job.term_count
            tap = tap_at(terms, t, u)
            sample = from_sample + start + tap * ahead
            t += 1
            if job.array.mode == CCONV1D_ZEROS and (sample + reach < 0 or sample >= length):
                job.padded = True
                continue
            j = residue + tap * period
            if job.steps != NULL:
                job.x_offsets[job.term_count] = <int32_t> ((sample - base) * job.x_pitch)
                job.w_offsets[job.term_count] = <int32_t> (
                    (t - 1 if job.prepacked else j - job.first_tap) * job.lanes)
            else:
                job.first_sample = min(job.first_sample, sample)
                job.samples = max(job.samples, sample + reach + 1)  # the end, until all are known
                job.first_tap, job.end_tap = min(job.first_tap, j), max(job.end_tap, j + 1)
            job.term_count += 1
    if job.term_count > first_term or job.step_count == first_step:
        add_step(job, first_step, first_term, step)
    if job.steps != NULL:
        job.steps[job.step_count - 1].last = True


cdef void list_steps(Depthwise *job) noexcept nogil:
    """All steps or, before there is room for them, how many, and which samples and taps they read.

    Positions that read nothing beyond the ends have the same terms, so these are listed once.
    """
    cdef const Sum *sum = &job.sum
    cdef Py_ssize_t length = job.array.shape[2], number, tile, tiles, m, end, first, last, i, taps
    cdef Py_ssize_t from_sample, reach, whole, whole_end
    cdef DepthwiseStep step
    cdef Phase phase
    job.step_count = job.term_count = 0
    for number in range(sum.phases):
        phase = phase_of(sum, number)
        taps = residue_taps(sum.g, phase.residue)
        # the first sample and the last one that position 0 reads
        if sum.transposed:
            last = -residue_shift(sum.g, phase.residue)
            first = last - (taps - 1) * sum.g.step
        else:
            first = -sum.g.pad_left
            last = first + (sum.g.taps - 1) * sum.g.dilation
        step.weights, step.block_weights = 0, (job.end_tap - job.first_tap) * job.lanes
        if job.prepacked:
            step.weights = sum.packed_outs * phase.first_term
            step.block_weights = phase.terms.per_channel * job.lanes
        step.last = False
        whole = whole_end = 0
        # tiles share the positions evenly: a last one with few would be slow
        tiles = (phase.last_position + job.rows - 1) // job.rows
        for tile in range(tiles):
            m, end = tile * phase.last_position // tiles, (tile + 1) * phase.last_position // tiles
            step.rows, step.result = end - m, phase.first_result + m * sum.step
            from_sample, reach = m * phase.terms.in_step, (end - 1 - m) * phase.terms.in_step
            if from_sample + first < 0 or from_sample + reach + last >= length:
                job.padded = True
                step.x = -job.first_sample * job.x_pitch
                list_some_steps(job, &phase, &step, from_sample, 0, reach)
                continue
            step.x = (from_sample + first - job.first_sample) * job.x_pitch
            if whole == whole_end:
                whole = job.step_count
                list_some_steps(job, &phase, &step, from_sample, from_sample + first, reach)
                whole_end = job.step_count
                continue
            if job.steps == NULL:
                job.samples = max(job.samples, from_sample + reach + last + 1)
            for i in range(whole, whole_end):
                if job.steps != NULL:
                    job.steps[job.step_count] = job.steps[i]
                    job.steps[job.step_count].rows = step.rows
                    job.steps[job.step_count].result = step.result
                    job.steps[job.step_count].x = step.x
                job.step_count += 1


# --- the job -------------------------------------------------------------------------------------

cdef void depthwise_blocks(
    const Depthwise *job, const real *packed, Py_ssize_t chunk, int worker
) noexcept nogil:
    """A chunk's blocks of lanes: samples to lanes, all steps, and results to rows."""
    cdef DepthwiseScratch own
    cdef const DepthwiseStep *step
    cdef const View *out = &job.out
    cdef Py_ssize_t n = chunk // job.parts, part = chunk % job.parts, i, b, count
    cdef Py_ssize_t block = part * job.blocks // job.parts, blocks
    cdef Py_ssize_t end = (part + 1) * job.blocks // job.parts
    cdef Py_ssize_t pitch, out_block, x_block = job.samples * job.lanes
    cdef bint in_place
    cdef const real *x
    cdef const real *bias = NULL
    cdef real *results
    carve_own_depthwise(job, &own, job.workers + worker * job.worker_size)
    while block < end:
        blocks = min(end - block, job.at_once)
        count = blocks * job.lanes
        if (block + blocks) * job.lanes > job.sum.outs:  # a block that is not whole is alone
            blocks = max(blocks - 1, 1)
            count = min(blocks * job.lanes, job.sum.outs - block * job.lanes)
        if job.in_place:
            x, x_block = <const real *> at(&job.array, n, block * job.lanes, 0), job.lanes
        else:
            x = <const real *> own.panel
            load_lanes[real](job.sum.tiles, &job.array, n, block * job.lanes, count,
                             job.first_sample, job.samples, <real *> own.panel, x_block,
                             <real *> own.line)
        in_place = (count == blocks * job.lanes
                    and has_lanes_in_place(out, sizeof(real)))
        results, pitch, out_block = <real *> own.stage, job.lanes, out.shape[2] * job.lanes
        if in_place:
            results, out_block = <real *> at(out, n, block * job.lanes, 0), job.lanes
            pitch = out.strides[2] // <Py_ssize_t> sizeof(real)
        if job.biases != NULL:
            bias = <const real *> job.biases + block * job.lanes
        if job.gaps:
            for b in range(blocks):
                for i in range(out.shape[2]):
                    memcpy(results + (b * out_block + i * pitch), bias + b * job.lanes,
                           job.lanes * sizeof(real))
        for i in range(job.step_count):
            step = &job.steps[i]
            job.tile[step.rows](
                x + step.x, job.x_row, x_block, job.x_offsets + step.first_term,
                packed + (step.weights + block * step.block_weights), step.block_weights,
                job.w_offsets + step.first_term, step.terms, results + step.result * pitch,
                job.sum.step * pitch, out_block, bias if step.last and job.biased else NULL,
                step.resume, blocks)
        if not in_place:
            store_lanes[real](job.sum.tiles, out, n, block * job.lanes, count, results, out_block,
                              <real *> own.line)
        block += blocks


cdef void depthwise_chunk(void *context, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef const Depthwise *job = <const Depthwise *> context
    if job.size == sizeof(float):
        depthwise_blocks[float](job, <const float *> job.packed, chunk, worker)
    else:
        depthwise_blocks[double](job, <const double *> job.packed, chunk, worker)


cdef void transpose_weights(
    const Depthwise *job, real *packed, Py_ssize_t chunk, int worker
) noexcept nogil:
    """packed[block][tap][lane] for the taps that meet a sample, of some blocks."""
    cdef DepthwiseScratch own
    cdef Py_ssize_t taps = job.end_tap - job.first_tap, lanes = job.at_once * job.lanes
    cdef Py_ssize_t first = chunk * lanes
    carve_own_depthwise(job, &own, job.workers + worker * job.worker_size)
    load_lanes[real](job.sum.tiles, &job.weights, 0, first, min(lanes, job.sum.outs - first),
                     job.first_tap, taps, packed + first * taps, taps * job.lanes,
                     <real *> own.line)


cdef void transpose_weights_chunk(void *context, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef const Depthwise *job = <const Depthwise *> context
    if job.size == sizeof(float):
        transpose_weights[float](job, <float *> job.packed, chunk, worker)
    else:
        transpose_weights[double](job, <double *> job.packed, chunk, worker)


cdef void load_depthwise_bias(const Depthwise *job, const View *bias, real *biases) noexcept nogil:
    """biases[block][lane], zeros in lanes without a channel"""
    memset(biases, 0, job.blocks * job.lanes * sizeof(real))
    if job.biased:
        load_row[real](bias, line_at(bias, 0), bias.strides[2], job.sum.outs, biases)


cdef inline bint has_finite_sum(
    const cc_tiles *tiles, const real *numbers, Py_ssize_t count
) noexcept nogil:
    """False if some of them are not finite or, perhaps, if they are very large."""
    cdef real total = 0
    tiles.sum_row(numbers, count, &total)
    return isfinite(total) != 0


cdef bint plan_depthwise(
    Depthwise *job, const Sum *sum, const View *array, const View *w, const View *out,
    Py_ssize_t size
) noexcept nogil:
    """Whether this nest can compute such a job, and then how."""
    cdef const PackedLayout *prepacked
    cdef Py_ssize_t pitch = array.strides[2] // size, row, most
    job.sum, job.array, job.out, job.size = sum[0], array[0], out[0], size
    lay_along_lanes(&job.sum)
    job.gaps = sum.transposed and sum.g.residues < sum.g.stride
    job.rows, job.lanes = job.sum.tiles.gemm_rows, job.sum.tiles.gemm_lanes
    job.blocks = job.sum.rows[0].blocks
    job.weights = channels_of_weights(w)
    prepacked = packed_for(w, &job.sum)
    job.prepacked = prepacked != NULL
    if job.prepacked:
        job.packed, job.finite = <void *> prepacked.numbers, prepacked.finite  # only read
    job.steps, job.x_pitch, job.padded = NULL, 0, False
    # what the first listing computes with them means nothing, but must not overflow
    job.first_sample, job.samples = PY_SSIZE_T_MAX // 2, -PY_SSIZE_T_MAX // 2
    job.first_tap, job.end_tap = sum.g.taps, 0
    list_steps(job)
    if job.end_tap == 0:  # no term at all: the results are the bias
        job.first_sample = job.samples = job.first_tap = 0
    if job.samples - job.first_sample > PANEL_BYTES // (job.lanes * size):
        return False
    job.samples -= job.first_sample
    # In place, offsets fit int32, and the rows are few enough for the caches wherever they lie.
    job.in_place = (not job.padded and has_lanes_in_place(array, size)
                    and job.sum.outs % job.lanes == 0 and job.samples <= MAX_IN_PLACE_SAMPLES
                    and max(pitch, -pitch) < INT32_MAX // MAX_IN_PLACE_SAMPLES)
    job.x_pitch = pitch if job.in_place else job.lanes
    # a stride that no tile takes may be of any size
    job.x_row = job.x_pitch * min(job.samples, 1 if sum.transposed else sum.g.stride)
    if job.in_place:
        job.first_sample = job.samples = 0
    row = job.samples + (0 if has_lanes_in_place(out, size) else out.shape[2])
    most = STRIP_BYTES // (max(row, 1) * job.lanes * size)
    if array.strides[1] == stored_size(array, size):
        most = max(most, DEPTHWISE_BLOCKS)
    job.at_once = min(job.blocks, max(most, 1))
    return True


cdef bint depthwise(Depthwise *job, const View *w, const View *bias) noexcept nogil:
    """A planned job; false if memory ran out, with nothing stored."""
    cdef const Sum *sum = &job.sum
    cdef Py_ssize_t taps = job.end_tap - job.first_tap, samples = job.array.shape[0], chunk
    cdef Py_ssize_t chunks = (job.blocks + job.at_once - 1) // job.at_once
    cdef uintptr_t start
    cdef Arena arena
    cdef Py_ssize_t count = job.blocks * job.lanes * taps
    job.biased = bias.data != NULL
    job.threads = <int> min(threads_for(samples * sum.outs * job.out.shape[2],
                                        max(taps // sum.step, 1)), samples * job.blocks)
    job.parts = 1
    if job.threads > 1:
        job.parts = min(job.blocks, (CHUNKS_PER_THREAD * job.threads + samples - 1) // samples)
    start = arena_open(&arena, carve_depthwise(job, 0))
    if start == 0:
        return False
    carve_depthwise(job, start)
    if sum.ordered:
        order_terms(&job.sum, job.order)
    list_steps(job)
    if job.biases != NULL:
        if job.size == sizeof(float):
            load_depthwise_bias[float](job, bias, <float *> job.biases)
        else:
            load_depthwise_bias[double](job, bias, <double *> job.biases)
    if not job.prepacked:
        if sum.outs * taps < SERIAL_WEIGHTS:
            for chunk in range(chunks):
                transpose_weights_chunk(job, chunk, 0)
        else:
            cc_pool_run(transpose_weights_chunk, job, chunks, job.threads)
        if job.padded and job.size == sizeof(float):
            job.finite = has_finite_sum[float](sum.tiles, <const float *> job.packed, count)
        elif job.padded:
            job.finite = has_finite_sum[double](sum.tiles, <const double *> job.packed, count)
    job.tile = sum.tiles.depthwise_blocks
    cc_pool_run(depthwise_chunk, job, samples * job.parts, job.threads)
    if job.padded and not job.finite:
        if job.size == sizeof(float):
            recompute_spoiled[float](sum, &job.array, w, bias, &job.out, 0)
        else:
            recompute_spoiled[double](sum, &job.array, w, bias, &job.out, 0)
    arena_close(&arena)
    return True
