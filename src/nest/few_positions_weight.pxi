# backward_weight where few positions follow each other: lanes along (channel, tap), as dw lies.
#
#     dw[row, t] = Σ_q dy[row, q] · panel[q, t]
#     panel[n·L_out + p, (c, j)] = x[n, c, p·stride + j·dilation − pad_left]
#
# Takes  Views of dy, x and dw with any strides and formats.
# Gives  dw; false if memory ran out.
#
# The positions q are those of all samples in their order: one chain of CC_BLOCK of them after
# another, whatever the tiles, blocks and threads. Where dw is contiguous the tiles store gradients
# where they belong, and each but once if one panel holds all positions. Taps that meet no sample at
# any position are left out, and their gradients are zero.
#
# Loops, outermost first: chunks of the pool (group, block of terms, part of the rows); ranges of
# positions, for which a panel is gathered; tiles of rows; tiles of lanes; positions.

# A panel is gathered by whole vectors, the last of which runs over into the terms that follow: so
# much room there is behind a row of it, and behind a line.
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
    Py_ssize_t range_size               # positions of a panel
    Py_ssize_t row_parts, part_rows, term_parts, part_terms
    Py_ssize_t parts                    # of a number: 2 if it is complex
    bint transposed                     # the panel, by tiles: [tile][position][lane]; or else
    Py_ssize_t panel_row, panel_tile    # ... [position][lane], and from one to the next of each
    Py_ssize_t x_pitch                  # of what is transposed, or 0 if it must be copied
    Py_ssize_t lines, line_pitch        # positions p, p + lines, ... find their taps in one line
    Py_ssize_t line_step, tap_step      # samples between numbers of a line; numbers between taps
    bint plain_lines                    # one, of contiguous samples
    Py_ssize_t together                 # adjacent channels whose lines are copied at once
    bint contiguous                     # the terms of a row of dw, and all meet samples
    bint in_place                       # so the tiles store into dw
    bint dy_in_place                    # the tiles read dy where it lies
    Py_ssize_t dy_pitch                 # and so far lie its rows
    Py_ssize_t results_row, results_rows
    int32_t *line_offset                # [position] where its first tap lies in the lines
    Py_ssize_t size                     # of a number of a sum, in bytes
    int threads
    uintptr_t workers                   # the threads' own scratch
    Py_ssize_t worker_size


cdef struct PanelScratch:
    # What a thread has for itself.
    void *panel
    void *lines          # samples of a channel: see copy_lines; or of a tile of channels
    int32_t *row_offset  # [channel of a tile] where it begins
    void *dy_rows        # of a tile, if they must be copied: [row][position]
    int32_t *dy_offset   # [position of a panel] where it lies in a row of dy, or of the copies
    void *results        # what cannot be stored at once: [row][lane]


cdef uintptr_t carve_own_panel(
    const WeightPanels *job, PanelScratch *own, uintptr_t next
) noexcept nogil:
    cdef Py_ssize_t copies = 0 if job.dy_in_place else job.tiles.gemm_rows * job.range_size
    cdef Py_ssize_t lanes = rounded(job.part_terms * job.parts, job.tiles.gemm_lanes)
    own.panel = carve(&next, (job.range_size * (lanes + SPARE)) * job.size)
    own.lines = carve(&next, job.together * job.lines * job.line_pitch * job.size)
    own.row_offset = <int32_t *> carve(&next, job.tiles.gemm_lanes * sizeof(int32_t))
    own.dy_rows = carve(&next, copies * job.size)
    own.dy_offset = <int32_t *> carve(&next, job.range_size * sizeof(int32_t))
    own.results = carve(&next, job.results_rows * job.results_row * job.size)
    return next


cdef uintptr_t carve_panels(WeightPanels *job, uintptr_t next) noexcept nogil:
    cdef PanelScratch own
    job.line_offset = <int32_t *> carve(&next, job.range_size * sizeof(int32_t))
    job.workers, job.worker_size = next, carve_own_panel(job, &own, 0)
    return next + job.threads * job.worker_size


cdef void find_met_taps(const Geometry *g, Py_ssize_t *first, Py_ssize_t *count) noexcept nogil:
    """From the first tap that meets a sample to the last one: where they begin, how many."""
    first[0], count[0] = 0, g.taps
    while count[0] > 0 and not meets_sample(g, first[0]):
        first[0] += 1
        count[0] -= 1
    while count[0] > 0 and not meets_sample(g, first[0] + count[0] - 1):
        count[0] -= 1


# --- the panel -----------------------------------------------------------------------------------

cdef void plan_lines(WeightPanels *job) noexcept nogil:
    """How the samples of a channel lie in lines: see copy_lines.

    One line for each remainder of a position's first sample modulo the dilation has the taps of a
    position side by side. But some lines of a few samples cost more than numbers copied one by one
    from a single line; and where positions are far apart, it would be of samples that no tap meets.
    """
    cdef const Geometry *g = job.g
    cdef Py_ssize_t taps = min(job.taps, job.part_terms)
    cdef Py_ssize_t positions = min(g.output_length, job.range_size), length
    job.line_step, job.tap_step = g.dilation, 1
    job.lines = min(g.step if g.period - taps < FAR_POSITIONS else positions, positions)
    length = (positions - 1) // job.lines * g.period + taps
    if job.lines > 1 and positions * taps < SHORT_LINE * job.lines:
        if (positions - 1) * g.stride + (taps - 1) * g.dilation < FAR_POSITIONS * job.lines:
            job.lines, job.line_step, job.tap_step = 1, 1, g.dilation
            length = (positions - 1) * g.stride + (taps - 1) * g.dilation + 1
    job.line_pitch = row_size(length + SPARE)
    job.plain_lines = (job.lines == job.line_step == 1 and g.mode == CCONV1D_ZEROS
                       and job.x.half == NULL and job.x.strides[2] == job.size)


cdef inline void copy_line(
    const View *x, Py_ssize_t n, Py_ssize_t channel, Py_ssize_t first, Py_ssize_t count, real *line
) noexcept nogil:
    """copy_row where samples are contiguous and zeros lie beyond the ends: most lines are short."""
    cdef Py_ssize_t left = min(max(-first, 0), count), i
    cdef Py_ssize_t right = max(min(x.shape[2] - first, count), left)
    for i in range(left):
        line[i] = 0
    if right > left:
        memcpy(line + left, at(x, n, channel, first + left), (right - left) * sizeof(real))
    for i in range(right, count):
        line[i] = 0


cdef void copy_lines(
    const WeightPanels *job, Py_ssize_t n, Py_ssize_t channel, Py_ssize_t channels, Py_ssize_t tap,
    Py_ssize_t taps, Py_ssize_t position, Py_ssize_t positions, real *lines
) noexcept nogil:
    """The samples of channels that some taps meet at some positions, those of each in a line."""
    cdef const Geometry *g = job.g
    cdef Py_ssize_t line, last, first = position * g.stride + tap * g.dilation - g.pad_left
    if job.plain_lines and channels == 1:
        copy_line[real](&job.x, n, channel, first,
                        (positions - 1) * g.stride + (taps - 1) * job.tap_step + 1, lines)
        return
    for line in range(min(job.lines, positions)):
        last = (positions - 1 - line) // job.lines
        last *= g.period if job.tap_step == 1 else g.stride
        copy_rows[real](&job.x, n, channel, channels, first + line * g.stride, job.line_step,
                        last + (taps - 1) * job.tap_step + 1, lines + line * job.line_pitch,
                        job.lines * job.line_pitch)


cdef inline void copy_taps(
    const real *lines, Py_ssize_t tap_step, const int32_t *line_offset, Py_ssize_t positions,
    Py_ssize_t taps, real *panel, Py_ssize_t pitch
) noexcept nogil:
    """panel[p][i] = lines[line_offset[p] + i·tap_step] for i < taps, and for some more."""
    cdef Py_ssize_t p, i
    cdef const real *line
    if taps == 1:
        for p in range(positions):
            panel[p * pitch] = lines[line_offset[p]]
    elif tap_step != 1:
        for p in range(positions):
            line = lines + line_offset[p]
            for i in range(taps):
                panel[p * pitch + i] = line[i * tap_step]
    elif taps <= 4:
        for p in range(positions):
            memcpy(panel + p * pitch, lines + line_offset[p], 4 * sizeof(real))
    else:
        for p in range(positions):
            line = lines + line_offset[p]
            for i from 0 <= i < taps - 4 by 8:
                memcpy(panel + (p * pitch + i), line + i, 8 * sizeof(real))
            if i < taps:
                memcpy(panel + (p * pitch + i), line + i, 4 * sizeof(real))


cdef void gather_channels(
    const WeightPanels *job, Py_ssize_t n, Py_ssize_t group, Py_ssize_t first_term,
    Py_ssize_t terms, Py_ssize_t position, Py_ssize_t positions, real *panel, real *lines
) noexcept nogil:
    """The samples of some terms at some positions of a sample. The taps of a channel lie side by
    side; of complex numbers, the real parts for all of them and then the imaginary ones."""
    cdef Py_ssize_t channel = first_term // job.taps, tap = first_term - channel * job.taps
    cdef Py_ssize_t t = 0, taps, part, channels, c
    while t < terms:
        taps = min(job.taps - tap, terms - t)
        channels = max(min((terms - t) // job.taps, job.together), 1) if tap == 0 else 1
        for part in range(job.parts):
            copy_lines[real](job, n, (group * job.channels + channel) * job.parts + part, channels,
                             job.first_tap + tap, taps, position, positions, lines)
            for c in range(channels):
                copy_taps[real](lines + c * job.lines * job.line_pitch, job.tap_step,
                                job.line_offset, positions, taps, panel, job.panel_row)
                panel += taps
        t += channels * taps
        tap = 0
        channel += channels


cdef void transpose_channels(
    const WeightPanels *job, const PanelScratch *own, Py_ssize_t n, Py_ssize_t first_channel,
    Py_ssize_t channels, Py_ssize_t position, Py_ssize_t positions, real *panel
) noexcept nogil:
    """The same for a single tap, by tiles of lanes: samples of as many channels, transposed."""
    cdef const Geometry *g = job.g
    cdef real *lines = <real *> own.lines
    cdef Py_ssize_t lanes = job.tiles.gemm_lanes, first = position * g.stride - g.pad_left
    cdef Py_ssize_t channel, row, some, p
    cdef bint inside = first >= 0 and first + (positions - 1) * g.stride < g.input_length
    cdef const real *rows
    for channel from 0 <= channel < channels by lanes:
        some = min(lanes, channels - channel)
        rows = lines
        if inside and job.x.strides[1] == sizeof(real) and job.x.half == NULL:  # channels last
            for p in range(positions):
                memcpy(panel + p * lanes, at(&job.x, n, first_channel + channel,
                                             first + p * g.stride), some * sizeof(real))
        else:
            if inside and job.x_pitch:
                rows = <const real *> at(&job.x, n, first_channel + channel, first)
            else:
                for row in range(some):
                    copy_row[real](&job.x, n, first_channel + channel + row, first, g.stride,
                                   positions, lines + row * job.line_pitch)
            for row in range(some):
                own.row_offset[row] = <int32_t> (
                    row * (job.line_pitch if rows == lines else job.x_pitch))
            job.tiles.transpose(rows, own.row_offset, some, positions, panel)
        panel += job.panel_tile


cdef void gather_panel(
    const WeightPanels *job, const PanelScratch *own, Py_ssize_t group, Py_ssize_t first_term,
    Py_ssize_t terms, Py_ssize_t q, Py_ssize_t count, real *panel
) noexcept nogil:
    """The panel of `count` positions, from q of all samples on, and where they lie in dy."""
    cdef Py_ssize_t length = job.g.output_length, first = q // length, n = first
    cdef Py_ssize_t position = q - n * length, positions, done = 0, p
    while done < count:
        positions = min(length - position, count - done)
        if job.transposed:
            transpose_channels[real](job, own, n, group * job.channels + first_term, terms,
                                     position, positions, panel)
        else:
            gather_channels[real](job, n, group, first_term, terms, position, positions, panel,
                                  <real *> own.lines)
        for p in range(positions):
            own.dy_offset[done + p] = <int32_t> (
                ((n - first) * job.dy.strides[0] + (position + p) * job.dy.strides[2]) // job.size
                if job.dy_in_place else done + p)
        panel += positions * job.panel_row
        done += positions
        position = 0
        n += 1


cdef inline void clear_idle_lanes(
    const WeightPanels *job, Py_ssize_t lanes, Py_ssize_t positions, real *panel
) noexcept nogil:
    """Zeros in the lanes of the last tile that have no term."""
    cdef Py_ssize_t width = job.tiles.gemm_lanes, used = lanes % width, p
    if used == 0:
        return
    panel += lanes // width * job.panel_tile + used
    for p in range(positions):
        memset(panel, 0, (width - used) * sizeof(real))
        panel += job.panel_row


cdef const real *dy_rows_of(
    const WeightPanels *job, const PanelScratch *own, Py_ssize_t first_row, Py_ssize_t rows,
    Py_ssize_t q, Py_ssize_t count, real *copies
) noexcept nogil:
    """Rows of dy for the tiles, which find the positions of a panel by dy_offset."""
    cdef Py_ssize_t length = job.g.output_length, n = q // length, position = q - n * length
    cdef Py_ssize_t positions, done = 0, row
    if job.dy_in_place:
        return <const real *> at(&job.dy, n, first_row, 0)
    while done < count:
        positions = min(length - position, count - done)
        for row in range(rows):
            load_row[real](&job.dy, at(&job.dy, n, first_row + row, position), job.dy.strides[2],
                           positions, copies + (row * job.dy_pitch + done))
        done += positions
        position = 0
        n += 1
    return copies


cdef void prefetch_dy(
    const WeightPanels *job, Py_ssize_t first_row, Py_ssize_t rows, Py_ssize_t q, Py_ssize_t count
) noexcept nogil:
    """Ask for rows of dy: of short samples they are some pieces here and there, which the processor
    does not expect."""
    cdef Py_ssize_t length = job.g.output_length, n = q // length, position = q - n * length
    cdef Py_ssize_t positions, done = 0, i, step = job.dy.strides[2]
    while done < count:
        positions = min(length - position, count - done)
        if 0 < step <= 16:
            for i in range(rows):
                cc_prefetch(at(&job.dy, n, first_row + i, position), positions * step)
        else:
            for i in range(positions):
                cc_prefetch(at(&job.dy, n, first_row, position + i), rows * job.size)
        done += positions
        position = 0
        n += 1


# --- the gradients -------------------------------------------------------------------------------

cdef inline Py_ssize_t number_size(const WeightPanels *job) noexcept nogil:
    """Of a number of dw, in bytes."""
    return sizeof(uint16_t) if job.dw.half != NULL else job.size * job.parts


cdef inline void clear_numbers(char *number, Py_ssize_t stride, Py_ssize_t count,
                               Py_ssize_t size) noexcept nogil:
    """Zeros for `count` numbers of `size` bytes, in every format."""
    cdef Py_ssize_t i
    if size == sizeof(float) and (count <= 4 or stride != size):  # a call would take longer
        for i in range(count):
            (<float *> (number + i * stride))[0] = 0
    elif stride == size:
        memset(number, 0, count * size)
    else:
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
        found = results + row * job.results_row
        channel = first_term // job.taps
        tap = first_term - channel * job.taps
        if job.contiguous:
            store_row[real](dw, at(dw, first_row + row, channel, tap), size, terms, found)
            continue
        t = 0
        while t < terms:
            taps = min(job.taps - tap, terms - t)
            gradient = weight_at(dw, first_row + row, channel * job.parts, job.first_tap + tap)
            if tap == 0 and job.taps < job.g.taps:
                clear_numbers(gradient - job.first_tap * stride, stride, job.first_tap, size)
                clear_numbers(gradient + job.taps * stride, stride, job.g.taps - last, size)
            if job.parts == 1 and (taps > 4 or dw.half != NULL):
                store_row[real](dw, gradient, stride, taps, found)
            elif job.parts == 1:  # a call would take longer
                for i in range(taps):
                    (<real *> (gradient + i * stride))[0] = found[i]
            else:
                of_imag = found + job.results_row
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


cdef inline void multiply_rows(
    const cc_tiles *tiles, const WeightPanels *job, const PanelScratch *own, const real *dy,
    Py_ssize_t rows, Py_ssize_t positions, const real *panel, real *results,
    Py_ssize_t results_row, bint resume
) noexcept nogil:
    """results[row][l] (+)= Σ_q dy[row, q] · panel[q][l] for a tile of lanes, rows shared out."""
    cdef Py_ssize_t blocks = (rows + tiles.gemm_rows - 1) // tiles.gemm_rows
    cdef Py_ssize_t block, row, next_row = 0
    for block in range(blocks):
        row, next_row = next_row, (block + 1) * rows // blocks
        tiles.gemm[next_row - row](
            dy + row * job.dy_pitch, job.dy_pitch, own.dy_offset, positions, panel, job.panel_row,
            results + row * results_row, results_row, NULL, resume)


cdef void weight_block(
    const WeightPanels *job, const PanelScratch *own, Py_ssize_t chunk, int worker, real *panel
) noexcept nogil:
    """Some terms by some rows of a group."""
    cdef const cc_tiles *tiles = job.tiles
    cdef const cc_tiles *narrow
    cdef Py_ssize_t width = tiles.gemm_lanes, dw_row = job.dw.strides[0] // job.size
    cdef Py_ssize_t part = chunk % job.row_parts, group = chunk // job.row_parts // job.term_parts
    cdef Py_ssize_t first_term = chunk // job.row_parts % job.term_parts * job.part_terms
    cdef Py_ssize_t terms = min(job.part_terms, job.terms - first_term)
    cdef Py_ssize_t lanes = terms * job.parts, whole = lanes - lanes % width if job.in_place else 0
    cdef Py_ssize_t first_row = part * job.part_rows
    cdef Py_ssize_t last_row = min(first_row + job.part_rows, job.rows)
    cdef Py_ssize_t q, positions, row, rows, tiles_left, r, lane
    cdef const real *dy
    cdef const real *samples
    cdef real *gradients
    cdef real *results
    # ranges of positions
    for q from 0 <= q < job.positions by job.range_size:
        positions = min(job.range_size, job.positions - q)
        gather_panel[real](job, own, group, first_term, terms, q, positions, panel)
        clear_idle_lanes[real](job, lanes, positions, panel)
        # tiles of rows, shared out evenly, parts of a number to the same tile
        row = first_row
        tiles_left = (last_row - row + tiles.gemm_rows - 1) // tiles.gemm_rows
        results = <real *> own.results
        while row < last_row:
            if cc_pool_cancelled(worker):
                return
            rows = rounded((last_row - row + tiles_left - 1) // tiles_left, job.parts)
            dy = dy_rows_of[real](job, own, group * job.rows + row, rows, q, positions,
                                  <real *> own.dy_rows)
            if row + rows < last_row:
                prefetch_dy(job, group * job.rows + row + rows,
                            min(rows, last_row - row - rows), q, positions)
            gradients = <real *> at(&job.dw, group * job.rows + row, 0, 0) + first_term
            # whole tiles of lanes into dw where it is contiguous, the others into scratch
            samples = panel
            for lane from 0 <= lane < whole by width:
                multiply_rows[real](tiles, job, own, dy, rows, positions, samples,
                                    gradients + lane, dw_row, q > 0)
                samples += job.panel_tile
            for lane from whole <= lane < lanes by width:
                narrow = tiles
                if tiles.narrower != NULL and lanes - lane <= tiles.narrower.gemm_lanes:
                    narrow = tiles.narrower
                multiply_rows[real](narrow, job, own, dy, rows, positions, samples,
                                    results + (lane - whole), job.results_row, q > 0)
                samples += job.panel_tile
            if q + positions == job.positions and whole < lanes:
                if job.in_place:
                    for r in range(rows):
                        memcpy(gradients + r * dw_row + whole, results + r * job.results_row,
                               (lanes - whole) * sizeof(real))
                else:
                    store_gradients[real](job, group * job.rows + row, rows, first_term, terms,
                                          results)
            if job.range_size < job.positions:
                results += rows * job.results_row
            tiles_left -= 1
            row += rows


cdef void weight_block_chunk(void *context, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef const WeightPanels *job = <const WeightPanels *> context
    cdef PanelScratch own
    carve_own_panel(job, &own, job.workers + worker * job.worker_size)
    if job.size == sizeof(float):
        weight_block[float](job, &own, chunk, worker, <float *> own.panel)
    else:
        weight_block[double](job, &own, chunk, worker, <double *> own.panel)


# --- the job -------------------------------------------------------------------------------------

cdef bint can_read_in_place(const View *dy, Py_ssize_t positions, Py_ssize_t size) noexcept nogil:
    """Whether the tiles can read dy where it lies, at offsets from a sample's row."""
    cdef Py_ssize_t most = INT32_MAX // 2 * size
    if dy.half != NULL or dy.pair or dy.strides[0] % size or dy.strides[1] % size:
        return False
    return (dy.strides[2] % size == 0
            and -most <= dy.strides[0] * min(dy.shape[0], positions) <= most
            and -most <= dy.strides[2] * dy.shape[2] <= most)


cdef void share_out_panels(WeightPanels *job) noexcept nogil:
    """Ranges of positions, blocks of terms, and parts of the rows if these are too few."""
    cdef Py_ssize_t lanes = job.tiles.gemm_lanes // job.parts, blocks, parts, most
    cdef Py_ssize_t threads = (job.threads + job.groups - 1) // job.groups
    parts = (job.positions + PANEL_RANGE - 1) // PANEL_RANGE
    job.range_size = (job.positions + parts - 1) // parts
    if parts > 1:
        job.range_size = rounded(job.range_size, CC_BLOCK)
    most = WEIGHT_PANEL_BYTES // (job.range_size * job.parts * job.size)
    most = max(min(most, WEIGHT_PANEL_TERMS) // lanes, 1) * lanes
    blocks = (job.terms + most - 1) // most
    # as many blocks for each thread, unless they would be narrow
    parts = rounded(blocks, threads)
    if job.terms >= parts * MIN_TERMS_PER_PART:
        blocks = parts
    job.part_terms = rounded((job.terms + blocks - 1) // blocks, lanes)
    if job.together > 1 and job.taps <= job.part_terms < job.terms:
        job.part_terms -= job.part_terms % job.taps  # whole channels
    job.term_parts = (job.terms + job.part_terms - 1) // job.part_terms
    # a panel is gathered for each part of the rows again
    parts = threads // job.term_parts if job.term_parts < threads else 1
    job.part_rows = rounded((job.rows + parts - 1) // parts, job.parts)
    # what waits for further ranges of positions
    job.results_row = lanes if job.in_place else rounded(job.part_terms, lanes)
    job.results_row *= job.parts
    job.results_rows = job.tiles.gemm_rows
    if job.range_size < job.positions:
        most = RESULT_BYTES // (job.results_row * job.size)
        job.part_rows = min(job.part_rows, rounded(most, job.tiles.gemm_rows))
        job.results_rows = job.part_rows
    job.row_parts = (job.rows + job.part_rows - 1) // job.part_rows
    job.threads = <int> min(job.threads, job.groups * job.term_parts * job.row_parts)


cdef bint few_positions_weight(
    const cc_tiles *tiles, const View *dy, const View *x, const View *dw, const Geometry *g,
    Py_ssize_t groups, Py_ssize_t size
) noexcept nogil:
    """backward_weight in numbers of `size` bytes; false if memory ran out, with nothing stored."""
    cdef WeightPanels job
    cdef Py_ssize_t p, stored
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
    stored = number_size(&job)
    job.contiguous = (not dw.pair and job.taps == g.taps
                      and (g.taps == 1 or dw.strides[2] == stored)
                      and (dw.shape[1] == 1 or dw.strides[1] == g.taps * stored))
    job.in_place = job.contiguous and dw.half == NULL and dw.strides[0] % size == 0
    job.transposed = g.taps == 1 and not dw.pair
    job.together = 1
    if not (job.transposed or dw.pair) and has_adjacent_channels(x, size):
        job.together = min(job.channels, ADJACENT_SAMPLES)
    share_out_panels(&job)
    if job.transposed:
        job.panel_row, job.panel_tile = tiles.gemm_lanes, tiles.gemm_lanes * job.range_size
        job.x_pitch = row_pitch_of(&job.x, tiles.gemm_lanes, 0, size) if g.stride == 1 else 0
        job.lines = tiles.gemm_lanes
        job.line_pitch = row_size(min(job.range_size, g.output_length))
    else:
        job.panel_row = rounded(job.part_terms * job.parts, tiles.gemm_lanes) + SPARE
        job.panel_tile = tiles.gemm_lanes
        plan_lines(&job)
    job.dy_in_place = can_read_in_place(&job.dy, job.range_size, size)
    job.dy_pitch = dy.strides[1] // size if job.dy_in_place else job.range_size

    start = arena_open(&arena, carve_panels(&job, 0))
    if start == 0:
        return False
    carve_panels(&job, start)
    if not job.transposed:
        for p in range(min(g.output_length, job.range_size)):
            job.line_offset[p] = <int32_t> (
                p * g.stride if job.tap_step != 1
                else p % job.lines * job.line_pitch + p // job.lines * g.period)
    cc_pool_run(weight_block_chunk, &job, groups * job.term_parts * job.row_parts, job.threads)
    arena_close(&arena)
    return True
