# backward_weight where positions are few: lanes along (channel, tap), as gradients lie in memory.
#
#     dw[row, t] = Σ_q dy[row, q] · panel[q, t]
#     panel[n·L_out + p, (c, j)] = x[n, c, p·stride + j·dilation − pad_left]
#
# Takes  Views of dy, x and dw with any strides and formats; positions for one panel, see
#        takes_few_positions.
# Gives  dw; false if memory ran out.
#
# The positions q are those of all samples in their order: one chain of CC_BLOCK of them after
# another, whatever the tiles, blocks and threads. Every gradient is stored once, and where dw is
# contiguous the tiles store it where it belongs. Taps that meet no sample at any position are left
# out, and their gradients are zero.
#
# Loops, outermost first: chunks of the pool (group, block of terms, part of the rows), for each of
# which a panel is gathered; tiles of rows; tiles of lanes; positions.

# A panel is gathered by whole vectors, the last of which runs over into the terms that follow, and
# is read by whole tiles of lanes: so much room there is behind a row of it, and behind a line.
cdef enum: SPARE = 16


cdef struct WeightPanels:
    # A job for the pool. Terms are the taps that meet a sample, of all channels of a group; with
    # complex numbers each is two lanes, see gather_panel, and rows are parts.
    const cc_tiles *tiles
    const Geometry *g
    View dy, x, dw
    Py_ssize_t groups, rows, channels   # of a group; a channel of complex numbers is one
    Py_ssize_t first_tap, taps          # those that meet a sample
    Py_ssize_t terms
    Py_ssize_t positions                # of all samples
    Py_ssize_t row_parts, part_rows, term_parts, part_terms
    Py_ssize_t parts                    # of a number: 2 if it is complex
    Py_ssize_t pitch                    # lanes of a row of the panel
    Py_ssize_t lines, line_pitch        # positions p, p + lines, ... find their taps in one line
    bint in_place                       # the tiles store into dw
    bint dy_in_place                    # the tiles read dy where it lies
    Py_ssize_t dy_pitch                 # and so far lie its rows
    int32_t *dy_offset                  # [position of all samples] where it lies in a row of dy
    int32_t *line_offset                # [position] where its first tap lies in the lines
    Py_ssize_t size                     # of a number of a sum, in bytes
    int threads
    uintptr_t workers                   # the threads' own scratch
    Py_ssize_t worker_size


cdef struct PanelScratch:
    # What a thread has for itself.
    void *panel      # [position of all samples][lane]
    void *lines      # samples of a channel: see copy_lines
    void *dy_rows    # of a tile, if they must be copied: [row][position]
    void *results    # of a tile of rows, if they cannot be stored at once: [row][lane]


cdef uintptr_t carve_own_panel(
    const WeightPanels *job, PanelScratch *own, uintptr_t next
) noexcept nogil:
    cdef Py_ssize_t copies = 0 if job.dy_in_place else job.tiles.gemm_rows * job.positions
    own.panel = carve(&next, (job.positions * job.pitch + SPARE) * job.size)
    own.lines = carve(&next, job.lines * job.line_pitch * job.size)
    own.dy_rows = carve(&next, copies * job.size)
    own.results = carve(&next, job.tiles.gemm_rows * job.pitch * job.size)
    return next


cdef uintptr_t carve_panels(WeightPanels *job, uintptr_t next) noexcept nogil:
    cdef PanelScratch own
    job.dy_offset = <int32_t *> carve(&next, job.positions * sizeof(int32_t))
    job.line_offset = <int32_t *> carve(&next, job.g.output_length * sizeof(int32_t))
    job.workers, job.worker_size = next, carve_own_panel(job, &own, 0)
    return next + job.threads * job.worker_size


cdef inline bint meets_sample(const Geometry *g, Py_ssize_t tap) noexcept nogil:
    """Whether a tap meets a sample at any position, and not only zeros of the padding."""
    cdef Py_ssize_t sample = tap * g.dilation - g.pad_left, position = 0
    if sample < 0:
        position = (-sample + g.stride - 1) // g.stride
    return position < g.output_length and sample + position * g.stride < g.input_length


cdef void find_met_taps(const Geometry *g, Py_ssize_t *first, Py_ssize_t *count) noexcept nogil:
    """From the first tap that meets a sample to the last one: where they begin, how many."""
    first[0], count[0] = 0, g.taps
    if g.mode != CCONV1D_ZEROS:
        return
    while count[0] > 0 and not meets_sample(g, first[0]):
        first[0] += 1
        count[0] -= 1
    while count[0] > 0 and not meets_sample(g, first[0] + count[0] - 1):
        count[0] -= 1


cdef void copy_lines(
    const WeightPanels *job, Py_ssize_t n, Py_ssize_t channel, Py_ssize_t tap, Py_ssize_t taps,
    real *lines
) noexcept nogil:
    """The samples of a channel that some taps meet at all positions, those of each in a row."""
    cdef const Geometry *g = job.g
    cdef Py_ssize_t line, positions
    for line in range(job.lines):
        positions = (g.output_length - line + job.lines - 1) // job.lines
        copy_row[real](&job.x, n, channel, line * g.stride - g.pad_left + tap * g.dilation,
                       g.dilation, (positions - 1) * g.period + taps,
                       lines + line * job.line_pitch)


cdef inline void copy_taps(
    const real *lines, const int32_t *line_offset, Py_ssize_t positions, Py_ssize_t taps,
    real *panel, Py_ssize_t pitch
) noexcept nogil:
    """panel[p][i] = lines[line_offset[p] + i] for i < taps, and for some more."""
    cdef Py_ssize_t p, i
    if taps == 1:
        for p in range(positions):
            panel[p * pitch] = lines[line_offset[p]]
    elif taps <= 4:
        for p in range(positions):
            memcpy(panel + p * pitch, lines + line_offset[p], 4 * sizeof(real))
    else:
        for p in range(positions):
            for i from 0 <= i < taps by 8:
                memcpy(panel + (p * pitch + i), lines + (line_offset[p] + i), 8 * sizeof(real))


cdef void gather_panel(
    const WeightPanels *job, Py_ssize_t group, Py_ssize_t first_term, Py_ssize_t terms,
    real *panel, real *lines
) noexcept nogil:
    """The samples of some terms at all positions. The taps of a channel lie side by side; of
    complex numbers, the real parts for all of them and then the imaginary ones."""
    cdef Py_ssize_t n, t, taps, part, channel, tap, positions = job.g.output_length
    cdef real *row
    for n in range(job.dy.shape[0]):
        row = panel + n * positions * job.pitch
        channel = first_term // job.taps
        tap = first_term - channel * job.taps
        t = 0
        while t < terms:
            taps = min(job.taps - tap, terms - t)
            for part in range(job.parts):
                copy_lines[real](job, n, (group * job.channels + channel) * job.parts + part,
                                 job.first_tap + tap, taps, lines)
                copy_taps[real](lines, job.line_offset, positions, taps, row, job.pitch)
                row += taps
            t += taps
            tap = 0
            channel += 1


cdef inline Py_ssize_t number_size(const WeightPanels *job) noexcept nogil:
    """Of a number of dw, in bytes."""
    return sizeof(uint16_t) if job.dw.half != NULL else job.size * job.parts


cdef inline void clear_numbers(char *number, Py_ssize_t stride, Py_ssize_t count,
                               Py_ssize_t size) noexcept nogil:
    """Zeros for `count` numbers of `size` bytes, in every format."""
    cdef Py_ssize_t i
    if stride == size:
        memset(number, 0, count * size)
        return
    for i in range(count):
        memset(number + i * stride, 0, size)


cdef void clear_gradients(const WeightPanels *job) noexcept nogil:
    """Zeros for all of dw."""
    cdef Py_ssize_t row, channel
    for row from 0 <= row < job.groups * job.rows by job.parts:
        for channel from 0 <= channel < job.dw.shape[1] by job.parts:
            clear_numbers(weight_at(&job.dw, row, channel, 0), job.dw.strides[2], job.g.taps,
                          number_size(job))


cdef void store_gradients(
    const WeightPanels *job, Py_ssize_t first_row, Py_ssize_t rows, Py_ssize_t first_term,
    Py_ssize_t terms, const real *results
) noexcept nogil:
    """results[row][lane] into dw, and zeros for the taps beside those of a channel.

    Of complex numbers there are a product for each part of dy and each of x:

        dw.real = real·real + imag·imag,  dw.imag = imag·real − real·imag   (of dy · of x)
    """
    cdef const View *dw = &job.dw
    cdef Py_ssize_t stride = dw.strides[2], size = number_size(job), last = job.first_tap + job.taps
    cdef Py_ssize_t row, t, taps, channel, tap, i
    cdef const real *found
    cdef const real *of_imag
    cdef real *number
    cdef char *gradient
    for row from 0 <= row < rows by job.parts:
        found = results + row * job.pitch
        channel = first_term // job.taps
        tap = first_term - channel * job.taps
        t = 0
        while t < terms:
            taps = min(job.taps - tap, terms - t)
            gradient = weight_at(dw, first_row + row, channel * job.parts, job.first_tap + tap)
            if tap == 0 and job.taps < job.g.taps:
                clear_numbers(gradient - job.first_tap * stride, stride, job.first_tap, size)
                clear_numbers(gradient + job.taps * stride, stride, job.g.taps - last, size)
            if job.parts == 1:
                store_row[real](dw, gradient, stride, taps, found)
            else:
                of_imag = found + job.pitch
                for i in range(taps):
                    number = <real *> (gradient + i * stride)
                    number[0] = found[i] + of_imag[taps + i]
                    number[1] = of_imag[i] - found[taps + i]
                    if dw.conjugate:
                        number[1] = -number[1]
            found += taps * job.parts
            t += taps
            tap = 0
            channel += 1


cdef void multiply_rows(
    const cc_tiles *tiles, const WeightPanels *job, const real *dy, Py_ssize_t rows,
    const real *panel, real *results, Py_ssize_t results_row
) noexcept nogil:
    """results[row][l] = Σ_q dy[row, q] · panel[q][l] for the lanes of one tile, rows shared out."""
    cdef Py_ssize_t blocks = (rows + tiles.gemm_rows - 1) // tiles.gemm_rows
    cdef Py_ssize_t block, row, next_row = 0
    for block in range(blocks):
        row, next_row = next_row, (block + 1) * rows // blocks
        tiles.gemm[next_row - row](
            dy + row * job.dy_pitch, job.dy_pitch, job.dy_offset, job.positions, panel, job.pitch,
            results + row * results_row, results_row, NULL, False)


cdef void weight_panel(
    const WeightPanels *job, const PanelScratch *own, Py_ssize_t chunk, int worker, real *panel
) noexcept nogil:
    """Some terms by some rows of a group."""
    cdef const cc_tiles *tiles = job.tiles
    cdef const cc_tiles *narrow
    cdef real *dy_rows = <real *> own.dy_rows
    cdef real *results = <real *> own.results
    cdef Py_ssize_t part = chunk % job.row_parts, group = chunk // job.row_parts // job.term_parts
    cdef Py_ssize_t first_term = chunk // job.row_parts % job.term_parts * job.part_terms
    cdef Py_ssize_t terms = min(job.part_terms, job.terms - first_term)
    cdef Py_ssize_t lanes = terms * job.parts, whole = lanes if job.in_place else 0
    cdef Py_ssize_t row = part * job.part_rows, last_row = min(row + job.part_rows, job.rows)
    cdef Py_ssize_t rows, tiles_left, n, r, at_row, lane, positions = job.g.output_length
    cdef const real *dy
    cdef real *gradients
    gather_panel[real](job, group, first_term, terms, panel, <real *> own.lines)
    whole -= whole % tiles.gemm_lanes
    tiles_left = (last_row - row + tiles.gemm_rows - 1) // tiles.gemm_rows
    while row < last_row:
        if cc_pool_cancelled(worker):
            return
        # rows are shared out evenly, parts of a number to the same tile
        rows = rounded((last_row - row + tiles_left - 1) // tiles_left, job.parts)
        tiles_left -= 1
        at_row = group * job.rows + row
        if job.dy_in_place:
            dy = <const real *> at(&job.dy, 0, at_row, 0)
        else:
            dy = dy_rows
            for n in range(job.dy.shape[0]):
                for r in range(rows):
                    load_row[real](&job.dy, at(&job.dy, n, at_row + r, 0), job.dy.strides[2],
                                   positions, dy_rows + (r * job.dy_pitch + n * positions))
        # whole tiles of lanes into dw where it is contiguous
        for lane from 0 <= lane < whole by tiles.gemm_lanes:
            gradients = <real *> at(&job.dw, at_row, 0, 0) + first_term + lane
            multiply_rows[real](tiles, job, dy, rows, panel + lane, gradients,
                                job.dw.strides[0] // <Py_ssize_t> sizeof(real))
        # the others into scratch
        for lane from whole <= lane < lanes by tiles.gemm_lanes:
            narrow = tiles
            if tiles.narrower != NULL and lanes - lane <= tiles.narrower.gemm_lanes:
                narrow = tiles.narrower
            multiply_rows[real](narrow, job, dy, rows, panel + lane, results + lane, job.pitch)
        if job.in_place and whole < lanes:
            for r in range(rows):
                gradients = <real *> at(&job.dw, at_row + r, 0, 0) + first_term + whole
                memcpy(gradients, results + r * job.pitch + whole, (lanes - whole) * sizeof(real))
        elif not job.in_place:
            store_gradients[real](job, at_row, rows, first_term, terms, results)
        row += rows


cdef void weight_panel_chunk(void *context, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef const WeightPanels *job = <const WeightPanels *> context
    cdef PanelScratch own
    carve_own_panel(job, &own, job.workers + worker * job.worker_size)
    if job.size == sizeof(float):
        weight_panel[float](job, &own, chunk, worker, <float *> own.panel)
    else:
        weight_panel[double](job, &own, chunk, worker, <double *> own.panel)


cdef bint can_read_in_place(const View *dy, Py_ssize_t size) noexcept nogil:
    """Whether the tiles can read dy where it lies, at an offset from a row's first number."""
    cdef Py_ssize_t most = INT32_MAX // 2 * size
    if dy.half != NULL or dy.pair or dy.strides[0] % size or dy.strides[1] % size:
        return False
    return (dy.strides[2] % size == 0
            and -most <= dy.strides[0] * dy.shape[0] <= most
            and -most <= dy.strides[2] * dy.shape[2] <= most)


cdef void share_out_panels(WeightPanels *job) noexcept nogil:
    """Blocks of terms that the panel's budget allows, and parts of the rows where these are few."""
    cdef Py_ssize_t lanes = job.tiles.gemm_lanes // job.parts, blocks, parts
    cdef Py_ssize_t most = WEIGHT_PANEL_BYTES // (job.positions * job.parts * job.size)
    cdef Py_ssize_t threads = (job.threads + job.groups - 1) // job.groups
    most = max(min(most, WEIGHT_PANEL_TERMS) // lanes, 1) * lanes
    blocks = (job.terms + most - 1) // most
    # blocks for the threads alike, unless they would be narrow
    parts = rounded(blocks, threads)
    if job.terms >= parts * MIN_TERMS_PER_PART:
        blocks = parts
    job.part_terms = rounded((job.terms + blocks - 1) // blocks, lanes)
    job.term_parts = (job.terms + job.part_terms - 1) // job.part_terms
    # a panel is gathered for each part of the rows again
    parts = max(1, threads // job.term_parts if job.term_parts < threads else 1)
    job.part_rows = rounded((job.rows + parts - 1) // parts, job.parts)
    job.row_parts = (job.rows + job.part_rows - 1) // job.part_rows
    job.threads = <int> min(job.threads, job.groups * job.term_parts * job.row_parts)


cdef bint few_positions_weight(
    const cc_tiles *tiles, const View *dy, const View *x, const View *dw, const Geometry *g,
    Py_ssize_t groups, Py_ssize_t size
) noexcept nogil:
    """backward_weight in numbers of `size` bytes; false if memory ran out, with nothing stored."""
    cdef WeightPanels job
    cdef Py_ssize_t n, p, taps
    cdef Arena arena
    cdef uintptr_t start
    job.tiles, job.g, job.groups, job.size = tiles, g, groups, size
    job.dy, job.x, job.dw = dy[0], x[0], dw[0]
    job.x.mode = g.mode
    job.parts = 1 + dw.pair
    job.rows, job.channels = dw.shape[0] // groups, dw.shape[1] // job.parts
    job.positions = dy.shape[0] * g.output_length
    find_met_taps(g, &job.first_tap, &job.taps)
    job.terms = job.channels * job.taps
    if job.terms == 0:
        clear_gradients(&job)
        return True
    if tiles.narrower != NULL and 2 * job.terms * job.parts <= tiles.gemm_lanes:
        job.tiles = tiles = tiles.narrower
    job.threads = threads_for(dw.shape[0] * job.terms * job.parts, job.positions)
    share_out_panels(&job)
    job.pitch = rounded(job.part_terms * job.parts, tiles.gemm_lanes) + SPARE
    # Between positions that are far apart there would be samples that no tap meets.
    taps = min(job.taps, job.part_terms)
    job.lines = min(g.step if g.period - taps < FAR_POSITIONS else g.output_length, g.output_length)
    job.line_pitch = row_size((g.output_length - 1) // job.lines * g.period + taps + SPARE)
    job.in_place = (dw.half == NULL and not dw.pair and job.taps == g.taps
                    and dw.strides[0] % size == 0
                    and (g.taps == 1 or dw.strides[2] == size)
                    and (dw.shape[1] == 1 or dw.strides[1] == g.taps * size))
    job.dy_in_place = can_read_in_place(&job.dy, size)
    job.dy_pitch = dy.strides[1] // size if job.dy_in_place else job.positions

    start = arena_open(&arena, carve_panels(&job, 0))
    if start == 0:
        return False
    carve_panels(&job, start)
    for p in range(g.output_length):
        job.line_offset[p] = <int32_t> (p % job.lines * job.line_pitch + p // job.lines * g.period)
    for n in range(dy.shape[0]):
        for p in range(g.output_length):
            job.dy_offset[n * g.output_length + p] = <int32_t> (
                (n * dy.strides[0] + p * dy.strides[2]) // size if job.dy_in_place
                else n * g.output_length + p)
    cc_pool_run(weight_panel_chunk, &job, groups * job.term_parts * job.row_parts, job.threads)
    arena_close(&arena)
    return True
