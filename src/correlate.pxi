# forward and backward_input: results along positions, terms summed one after another.

cdef struct Rows:
    # The output channels of a group, shared out evenly among tiles: a last tile with few rows
    # would be slow.
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
    # A job for the pool. Its chunks are panels of positions of one group of one sample and, where
    # these are few, parts of the blocks of rows.
    const cc_tiles *tiles
    const Geometry *g
    View array, out
    Rows rows
    bint transposed
    Py_ssize_t groups, channels, phases
    Py_ssize_t step                    # of the results that one phase writes
    Py_ssize_t positions, panels, parts
    Py_ssize_t budget, most            # of samples in a panel, of terms in a chunk
    Py_ssize_t panel_size, offset_size
    Py_ssize_t distance                # samples between channels, or 0 if panels must be packed
    const int32_t *order               # [phase][term] tap of its class, or NULL: as they come
    const int32_t *places              # [phase][term] in the array, where `distance` is not 0
    const void *packed                 # [group][phase][block of rows][term][row of the block]
    const void *biases
    char *workers                      # the threads' own scratch
    Py_ssize_t worker_size


cdef inline Py_ssize_t first_term(const Correlation *job, Py_ssize_t phase) noexcept nogil:
    """How many terms the phases before this one have."""
    cdef const Geometry *g = job.g
    return job.channels * (g.taps // g.period * phase + min(g.taps % g.period, phase))


cdef Terms terms_of_phase(const Correlation *job, Py_ssize_t phase) noexcept nogil:
    cdef Terms terms
    if job.transposed:
        terms = terms_of_output(job.g, job.channels, phase)
    else:
        terms = terms_of_input(job.g, job.channels)
    if job.order != NULL:
        terms.order = job.order + first_term(job, phase)
    return terms


cdef bint pack_channel(
    const View *w, const Terms *terms, Py_ssize_t group, Py_ssize_t channel, const Rows *rows,
    Py_ssize_t block, bint transposed, real *packed
) noexcept nogil:
    """packed[block][t][r] for the terms of a channel and the rows of a block; true if finite."""
    cdef Py_ssize_t row = first_row(rows, block), count = first_row(rows, block + 1) - row
    cdef Py_ssize_t klass, u, tap, r, row_step = w.strides[1 if transposed else 0]
    cdef Py_ssize_t t = channel * terms.per_channel
    cdef const char *weight
    cdef bint finite = True
    packed += terms.per_channel * row * terms.channels + t * count
    for klass in range(terms.first_class, terms.last_class):
        for u in range(class_taps(terms.g, klass)):
            tap = klass + tap_at(terms, t, u) * terms.g.period
            t += 1
            if transposed:
                weight = at(w, group * terms.channels + channel, row, tap)
            else:
                weight = at(w, group * rows.count + row, channel, tap)
            for r in range(count):
                packed[0] = (<const real *> weight)[0]
                finite &= isfinite(packed[0]) != 0
                weight += row_step
                packed += 1
    return finite


cdef bint pack_weights(
    const View *w, const Terms *terms, Py_ssize_t group, const Rows *rows, bint transposed,
    real *packed
) noexcept nogil:
    """packed[block][t][r] for all terms and rows of a group; true if all are finite."""
    cdef Py_ssize_t channel, block
    cdef bint finite = True
    if transposed:  # the rows of a channel lie side by side, far from the next channel's
        for channel in range(terms.channels):
            for block in range(rows.blocks):
                finite &= pack_channel[real](w, terms, group, channel, rows, block, True, packed)
    else:
        for block in range(rows.blocks):
            for channel in range(terms.channels):
                finite &= pack_channel[real](w, terms, group, channel, rows, block, False, packed)
    return finite


cdef void fill(const View *out, const real *bias) noexcept nogil:
    """The sum without any terms."""
    cdef Py_ssize_t n, row, p
    for n in range(out.shape[0]):
        for row in range(out.shape[1]):
            for p in range(out.shape[2]):
                (<real *> at(out, n, row, p))[0] = 0 if bias == NULL else bias[row]


cdef void copy_tile(
    const View *out, Py_ssize_t n, Py_ssize_t channel, Py_ssize_t rows, Py_ssize_t first,
    Py_ssize_t step, Py_ssize_t count, real *stage, Py_ssize_t stage_row, bint store
) noexcept nogil:
    """A tile of results that `out` does not hold side by side, from the stage or to it."""
    cdef Py_ssize_t r, i, stride = out.strides[2] * step
    cdef char *result
    for r in range(rows):
        result = at(out, n, channel + r, first)
        for i in range(count):
            if store:
                (<real *> result)[0] = stage[i]
            else:
                stage[i] = (<real *> result)[0]
            result += stride
        stage += stage_row


cdef void correlate_panel(
    const Correlation *job, const real *panel, const int32_t *offset, const real *weights,
    Py_ssize_t t0, Py_ssize_t t1, Py_ssize_t terms, Py_ssize_t part, Py_ssize_t n,
    Py_ssize_t group, Py_ssize_t first, Py_ssize_t count, real *stage
) noexcept nogil:
    """The terms t0 .. t1 of `terms` for `count` outputs first, first + step, ... of one part.

    A strip of positions comes first, then rows: the samples of all terms that a strip reads stay in
    the first-level cache, and the weights stream past them.
    """
    cdef const cc_tiles *tiles = job.tiles
    cdef const View *out = &job.out
    cdef const real *bias = NULL
    cdef Py_ssize_t channel = group * job.rows.count, size = sizeof(real)
    cdef Py_ssize_t first_block = part * job.rows.blocks // job.parts
    cdef Py_ssize_t last_block = (part + 1) * job.rows.blocks // job.parts
    cdef Py_ssize_t strip = STRIP_BYTES // (size * (job.panel_size // job.positions + 1))
    cdef Py_ssize_t block, row, tile_rows, width, m, last, inside, target_row, m0
    cdef real *target
    cdef bint direct
    cdef bint side_by_side = (job.step == 1 and out.strides[2] == size
                              and out.strides[1] % size == 0)
    if job.biases != NULL and t1 == terms:
        bias = <const real *> job.biases + channel
    if (job.rows.count == 1 and terms <= CC_FEW and t0 == 0 and t1 == terms
            and side_by_side and count >= tiles.row_least):
        tiles.row[terms](panel, offset, weights, at(out, n, channel, first), count, bias)
        return
    strip = max(strip // job.rows.width, 1) * job.rows.width
    for m0 from 0 <= m0 < count by strip:
        last = min(m0 + strip, count)
        for block in range(first_block, last_block):
            row = first_row(&job.rows, block)
            tile_rows = first_row(&job.rows, block + 1) - row
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
                        copy_tile[real](out, n, channel + row, tile_rows, first + m * job.step,
                                        job.step, inside, stage, width, False)
                tiles.correlate[tile_rows](
                    panel + m, offset, t1 - t0, weights + row * terms + t0 * tile_rows, target,
                    target_row, bias + row if bias != NULL else NULL, t0 > 0)
                if not direct:
                    copy_tile[real](out, n, channel + row, tile_rows, first + m * job.step,
                                    job.step, inside, stage, width, True)


cdef void correlate_range(
    const Correlation *job, const Terms *terms, bint in_place, real *panel, int32_t *offset,
    real *stage, const real *packed, Py_ssize_t part, Py_ssize_t n, Py_ssize_t group,
    Py_ssize_t phase, Py_ssize_t result, Py_ssize_t m, Py_ssize_t count
) noexcept nogil:
    """The positions m .. m + count of a phase, whose first result is `result`."""
    cdef Py_ssize_t total = terms.channels * terms.per_channel, t0, t1
    cdef Cut cut = cut_terms(terms, job.positions, job.budget, job.most)
    cdef const real *samples = panel
    cdef const int32_t *places = offset
    for t0 from 0 <= t0 < total by cut.chunk:
        t1 = min(t0 + cut.chunk, total)
        if in_place:
            places = job.places + first_term(job, phase) + t0
            samples = <const real *> at(&job.array, n, group * job.channels,
                                        m + lowest_sample(terms))
        else:
            pack_panel[real](&job.array, n, group * job.channels, terms, t0, t1, m,
                             rounded(count, job.rows.width), panel, offset)
        correlate_panel[real](job, samples, places, packed, t0, t1, total, part, n, group,
                              result + m * job.step, count, stage)


cdef void correlate_chunk(
    const Correlation *job, const real *packed, Py_ssize_t chunk, int worker
) noexcept nogil:
    """A chunk's positions of all phases: those at the ends of the array need a panel."""
    cdef char *scratch = job.workers + worker * job.worker_size
    cdef real *panel = <real *> take(&scratch, job.panel_size * sizeof(real))
    cdef int32_t *offset = <int32_t *> take(&scratch, job.offset_size * sizeof(int32_t))
    cdef real *stage = <real *> take(&scratch, CC_TILE * sizeof(real))
    cdef Py_ssize_t part = chunk % job.parts, first = chunk // job.parts % job.panels * job.positions
    cdef Py_ssize_t group = chunk // (job.parts * job.panels) % job.groups
    cdef Py_ssize_t n = chunk // (job.parts * job.panels * job.groups)
    cdef Py_ssize_t phase, result = 0, last, inner, outer, inside, m, end, width = job.rows.width
    cdef Terms terms
    packed += group * job.rows.count * job.channels * job.g.taps
    for phase in range(job.phases):
        terms = terms_of_phase(job, phase)
        if job.transposed:
            result = class_phase(job.g, phase)
        last = min(first + job.positions, (job.out.shape[2] - result + job.step - 1) // job.step)
        inner = outer = last
        if job.distance:
            # whole tiles that read nothing beyond the ends
            inside = first + rounded(max(-lowest_sample(&terms) - first, 0), width)
            end = job.array.shape[2] - lowest_sample(&terms) - (terms.per_channel - 1) * job.g.step
            end = min(last, inside + max(end - inside, 0) // width * width)
            if end - inside >= IN_PLACE_POSITIONS:
                inner, outer = inside, end
        if first < inner:
            correlate_range[real](job, &terms, False, panel, offset, stage, packed, part, n, group,
                                  phase, result, first, inner - first)
        if inner < outer:
            correlate_range[real](job, &terms, True, panel, offset, stage, packed, part, n, group,
                                  phase, result, inner, outer - inner)
        if outer < last:
            correlate_range[real](job, &terms, False, panel, offset, stage, packed, part, n, group,
                                  phase, result, outer, last - outer)
        packed += job.rows.count * terms.channels * terms.per_channel


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
    cdef Py_ssize_t step = g.stride if transposed else 1
    cdef Py_ssize_t longest = (out.shape[2] + step - 1) // step
    cdef Py_ssize_t group, phase, row, units
    cdef Py_ssize_t size = w.shape[0] * w.shape[1] * w.shape[2]
    cdef Terms terms
    cdef Cut cut
    cdef Scratch scratch
    cdef real *packed
    cdef real *biases = NULL
    cdef int32_t *order
    cdef Py_ssize_t places, narrow
    cdef bint ordered
    cdef int workers
    cdef bint finite = True

    if out.shape[0] == 0 or out.shape[1] == 0 or longest == 0:
        return True
    job.tiles, job.g = tiles, g
    job.array, job.out = array[0], out[0]
    job.groups, job.channels = groups, array.shape[1] // groups
    job.transposed, job.step = transposed, step
    job.order, job.places, job.distance = NULL, NULL, 0
    job.phases = g.classes if transposed else 1
    job.rows = share_rows(tiles, out.shape[1] // groups)

    # Where results lie apart, each chunk would gather and scatter them: fewer and larger chunks.
    job.budget = (PANEL_BYTES if step == 1 else 3 * PANEL_BYTES) // sizeof(real)
    job.most = CHUNK_TERMS
    if step == 1:
        job.most = min(job.most, WEIGHT_BYTES // <Py_ssize_t> sizeof(real) // job.rows.count)
    terms = terms_of_phase(&job, 0)
    # A wide panel reads long runs of each channel; but chunks of terms add to all its results in turn.
    narrow = NARROW if step == 1 else NARROW // 2
    while narrow < WIDE // 2 and narrow * job.rows.count < PANEL_BYTES // 4 // <Py_ssize_t> sizeof(real):
        narrow *= 2
    job.positions = panel_positions(&terms, job.budget, narrow) // job.rows.width * job.rows.width
    job.positions = min(job.positions, rounded(longest, job.rows.width))
    job.panels = (longest + job.positions - 1) // job.positions
    job.panel_size = job.offset_size = 0
    for phase in range(job.phases):
        terms = terms_of_phase(&job, phase)
        cut = cut_terms(&terms, job.positions, job.budget, job.most)
        job.panel_size = max(job.panel_size, cut.size)
        job.offset_size = max(job.offset_size, cut.chunk)

    units = out.shape[0] * groups * job.panels
    workers = threads_for(out.shape[0] * out.shape[1] * out.shape[2], job.channels * g.taps // step)
    job.parts = 1 if workers == 1 else min((PARTS * workers + units - 1) // units,
                                           (job.rows.blocks + PART_BLOCKS - 1) // PART_BLOCKS)
    workers = <int> min(workers, units * job.parts)

    # A single tile for all rows reads the samples as often from the array as it would from a panel.
    ordered = job.rows.count == 1 and CC_APART % g.step == 0
    if job.rows.blocks == 1 and terms.in_step == 1 and job.channels <= IN_PLACE_CHANNELS:
        job.distance = distance_of_rows(&job.array, job.channels, sizeof(real))
    places = job.channels * g.taps * sizeof(int32_t)

    job.worker_size = (piece(job.panel_size * sizeof(real))
                       + piece(job.offset_size * sizeof(int32_t)) + piece(CC_TILE * sizeof(real)))
    if not reserve(&scratch, piece(size * sizeof(real)) + piece(out.shape[1] * sizeof(real))
                   + ordered * piece(places) + (job.distance != 0) * piece(places)
                   + workers * job.worker_size):
        return False
    job.packed = packed = <real *> take(&scratch.next, size * sizeof(real))
    job.biases = NULL
    if bias != NULL:
        job.biases = biases = <real *> take(&scratch.next, out.shape[1] * sizeof(real))
        for row in range(out.shape[1]):
            biases[row] = (<const real *> (<const char *> bias + row * bias_stride))[0]
    if ordered:
        order = <int32_t *> take(&scratch.next, places)
        for phase in range(job.phases):
            terms = terms_of_phase(&job, phase)
            order_taps(&terms, order + first_term(&job, phase))
        job.order = order
    if job.distance:
        job.places = <int32_t *> take(&scratch.next, places)
        for phase in range(job.phases):
            terms = terms_of_phase(&job, phase)
            point_at_terms(&terms, job.distance, <int32_t *> job.places + first_term(&job, phase))
    job.workers = scratch.next

    for group in range(groups):
        for phase in range(job.phases):
            terms = terms_of_phase(&job, phase)
            finite &= pack_weights[real](w, &terms, group, &job.rows, transposed, packed)
            packed += job.rows.count * terms.channels * terms.per_channel
    if job.channels == 0 or (transposed and g.classes < g.stride):
        fill[real](&job.out, biases)  # no terms, or phases of the output that meet no tap
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
    cdef Py_ssize_t rows = job.rows.count, channels = job.channels
    cdef Py_ssize_t n, row, group, klass, taps, first, m, nearest, t, channel, tap, position
    cdef real chain, total
    cdef Terms terms
    for klass in range(g.classes):
        terms = terms_of_phase(job, klass)
        taps = terms.per_channel
        first = class_phase(g, klass)
        for m in range((dx.shape[2] - first + g.stride - 1) // g.stride):
            nearest = m - class_shift(g, klass)
            if nearest - (taps - 1) * g.step >= 0 and nearest < dy.shape[2]:
                continue
            for n in range(dx.shape[0]):
                for row in range(dx.shape[1]):
                    group = row // rows
                    total = chain = 0
                    for t in range(channels * taps):
                        if t % CC_BLOCK == 0:
                            total += chain
                            chain = 0
                        channel = t // taps
                        tap = tap_at(&terms, t, t - channel * taps)
                        position = nearest - tap * g.step
                        if 0 <= position < dy.shape[2]:
                            chain = fused[real](
                                (<const real *> at(w, group * channels + channel,
                                                   row - group * rows, klass + tap * g.period))[0],
                                (<const real *> at(dy, n, group * channels + channel, position))[0],
                                chain)
                    total += chain
                    if biases != NULL:
                        total += biases[row]
                    (<real *> at(dx, n, row, first + m * g.stride))[0] = total


cdef inline real fused(real a, real b, real c) noexcept nogil:
    if real is float:
        return fmaf(a, b, c)
    else:
        return fma(a, b, c)
