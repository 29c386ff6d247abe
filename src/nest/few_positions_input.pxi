# backward_input where few positions meet many weights: lanes along channels of results.
#
#     dx[n, c, m·stride + ρ·dilation − pad_left]
#         = bias[c] + Σ_{o,u} w[o, c, ρ + u·period] · dy[n, o, m − u·step]
#
#     for the taps u of the residue ρ, of which only those count that meet a sample of dy
#
# Takes  a planned Sum, Views of dy, the weights as they lie, a bias and dx, of any strides and
#        formats.
# Gives  dx; false if memory ran out, with nothing stored.
#
# The weights are read once and are not packed beforehand: for few positions that takes longer than
# the sums. The lanes of a tile are channels of dx: of some channels of dy at a time their taps are
# transposed into the cache, where tiles read them for all residues, samples and positions. Or,
# where there are residues enough, lanes are taps of a residue each, which lie side by side. So
# tiles put down their chains of multiply-adds and take them up again. A chain ends where CC_BLOCK
# terms do, counted with those that meet no sample.
#
# Loops, outermost first: chunks of the pool (group, samples, some blocks of lanes); channels of dy;
# blocks of lanes; residues; positions; tiles of samples or of positions.

cdef struct Plane:
    # The residues whose results are one row of lanes, or lie in one row: with equally many taps.
    Py_ssize_t residue, residues  # the first, and how many are side by side in lanes
    Py_ssize_t taps               # of each
    Py_ssize_t first, end         # positions m of results
    Py_ssize_t first_row          # of sums: that of position m is first_row + m·row_step


cdef struct LaneBlock:
    # The lanes of a tile.
    Py_ssize_t plane      # if they are taps
    Py_ssize_t channel    # of dx in its group, the first or only one
    Py_ssize_t first      # lane: a channel, or a tap counted from the plane's first
    Py_ssize_t lanes      # with a result
    Py_ssize_t skipped    # of them, which the block before has
    const cc_chains *tile


cdef struct FewInput:
    # A job for the pool. Its chunks are some blocks of lanes of one group of some samples.
    const cc_tiles *tiles
    Geometry geometry                  # of the samples of dy that results meet
    const Geometry *g
    View dy, w, dx
    Py_ssize_t groups, channels, outs  # as in Sum
    Py_ssize_t size                    # of a number, in bytes
    Py_ssize_t lanes                   # of a tile
    bint along_taps                    # lanes are taps, else channels
    bint in_place                      # and are read as they lie, as each of them is read once
    bint flat                          # and go on from a channel to the next
    Py_ssize_t planes
    Py_ssize_t blocks, together        # of lanes in a group, and in a chunk
    Py_ssize_t first_tap, taps         # that are transposed: they meet a sample for any result
    Py_ssize_t run                     # channels of dy whose weights are taken together
    Py_ssize_t live                    # most taps of a residue that meet samples at once
    Py_ssize_t samples, parts          # samples of a chunk, and how many parts they come in
    Py_ssize_t rows                    # of a tile at most
    bint across                        # rows of a tile are samples, not positions
    Py_ssize_t halo                    # zeros on either side of a row of dy
    Py_ssize_t x_block, x_group, x_sample  # distances in the panel
    Py_ssize_t sums_rows, row_step     # rows of a sample's sums, and from a position to the next
    Py_ssize_t sums_size               # of a block of lanes
    Py_ssize_t weights_size            # of a run, of a block of lanes
    Py_ssize_t most_blocks             # ends of chains in a tile
    int threads
    bint biased
    void *panel    # [sample][group][block of channels][halo, samples, halo][channel]
    void *biases   # [channel of dx]
    uintptr_t workers  # the threads' own scratch
    Py_ssize_t worker_size


cdef struct FewInputScratch:
    # What a thread has for itself.
    void *chains       # [block][sample][row][lane]: multiply-adds since the last end of a block
    void *totals       # and before it
    void *weights      # [channel of dy][tap][lane], of a run
    void *line         # [lane][tap or sample], where a row cannot be read as it lies
    void *stage        # a tile of results, transposed
    int32_t *row       # offsets of what is transposed
    int32_t *offset    # [term] in the panel
    int32_t *w_offset  # [term] in the weights
    int32_t *ends      # of blocks of terms
    bint *spoiled      # whether a sum is not finite


cdef uintptr_t carve_own_few_input(
    const FewInput *job, FewInputScratch *own, uintptr_t next
) noexcept nogil:
    cdef Py_ssize_t terms = job.run * job.live * sizeof(int32_t)
    own.chains = carve(&next, job.together * job.sums_size * job.size)
    own.totals = carve(&next, job.together * job.sums_size * job.size)
    own.weights = carve(&next, job.together * job.weights_size * job.size)
    own.line = carve(&next, job.lanes * max(job.taps, job.dy.shape[2]) * job.size)
    own.stage = carve(&next, job.lanes * job.lanes * job.size)
    own.row = <int32_t *> carve(&next, job.lanes * sizeof(int32_t))
    own.offset = <int32_t *> carve(&next, terms)
    own.w_offset = <int32_t *> carve(&next, terms)
    own.ends = <int32_t *> carve(&next, job.most_blocks * sizeof(int32_t))
    own.spoiled = <bint *> carve(&next, sizeof(bint))
    return next


cdef uintptr_t carve_few_input(FewInput *job, uintptr_t next) noexcept nogil:
    cdef FewInputScratch own
    job.biases = NULL
    if job.biased:
        job.biases = carve(&next, job.groups * job.outs * job.size)
    job.panel = carve(&next, job.dy.shape[0] * job.x_sample * job.size)
    job.workers, job.worker_size = next, carve_own_few_input(job, &own, 0)
    return next + job.threads * job.worker_size


cdef Plane plane_of(const FewInput *job, Py_ssize_t number) noexcept nogil:
    """Each residue is one, or if lanes are taps all that have equally many."""
    cdef const Geometry *g = job.g
    cdef Py_ssize_t shift
    cdef Plane plane
    plane.residue, plane.residues = number, 1
    if job.along_taps:
        plane.residues = g.residues
        if job.planes == 2:
            plane.residue = g.taps % g.period if number else 0
            plane.residues = (g.residues if number else g.taps % g.period) - plane.residue
    plane.taps = residue_taps(g, plane.residue)
    # result q = m·stride + shift is in dx, for any of the residues
    shift = plane.residue * g.dilation - g.pad_left
    plane.first = ceiling(-shift - (plane.residues - 1) * g.dilation, g.stride)
    plane.end = ceiling(job.dx.shape[2] - shift, g.stride)
    plane.first_row = -plane.first if job.along_taps else shift
    return plane


cdef inline Py_ssize_t width_of(const FewInput *job, Py_ssize_t lanes) noexcept nogil:
    """The lanes of the tiles for so many: half as many where more would be idle."""
    return job.lanes if 2 * lanes > job.lanes else job.lanes // 2


cdef LaneBlock lane_block(const FewInput *job, Py_ssize_t number) noexcept nogil:
    cdef LaneBlock block
    cdef Plane plane
    cdef Py_ssize_t lanes = job.outs, tiles, width
    block.plane = block.channel = block.skipped = 0
    if job.along_taps:
        plane = plane_of(job, 0)
        tiles = blocks_of(job, plane.residues)
        if not job.flat and number >= job.outs * tiles:
            number -= job.outs * tiles
            plane, block.plane = plane_of(job, 1), 1
            tiles = blocks_of(job, plane.residues)
        lanes = plane.residues * (job.outs if job.flat else 1)
        if not job.flat:
            block.channel, number = number // tiles, number % tiles
    block.first = number * job.lanes
    block.lanes = min(job.lanes, lanes - block.first)
    width = width_of(job, block.lanes)
    if job.along_taps:  # all lanes are taps: a last block has some of the one before
        block.skipped = min(width - block.lanes, block.first)
        block.first -= block.skipped
        block.lanes += block.skipped
    block.tile = job.tiles.chains if width == job.lanes else job.tiles.half_chains
    return block


cdef inline Py_ssize_t blocks_of(const FewInput *job, Py_ssize_t lanes) noexcept nogil:
    return (lanes + job.lanes - 1) // job.lanes


# --- the samples of dy -------------------------------------------------------------------------

cdef void transpose_lines(
    const FewInput *job, const View *view, const char *first, Py_ssize_t row_stride,
    Py_ssize_t stride, Py_ssize_t rows, Py_ssize_t count, int32_t *offset, real *line, real *to
) noexcept nogil:
    """to[i][r] = row r, number i, of up to job.lanes rows of `count` numbers, with zeros behind."""
    cdef Py_ssize_t r, size = sizeof(real)
    cdef bint plain = view.half == NULL and stride == size and row_stride % size == 0
    for r in range(rows):
        offset[r] = <int32_t> (r * (row_stride // size if plain else count))
    if not plain:
        for r in range(rows):
            load_row[real](view, first + r * row_stride, stride, count, line + r * count)
        first = <const char *> line
    job.tiles.transpose(first, offset, rows, count, to)


cdef void pack_samples(
    const FewInput *job, const FewInputScratch *own, Py_ssize_t n, Py_ssize_t group, real *panel
) noexcept nogil:
    """The samples of a group of channels of dy, with the zeros that positions at the ends meet."""
    cdef const View *dy = &job.dy
    cdef Py_ssize_t channel, p, count, length = dy.shape[2], zeros = job.halo * job.lanes, r
    cdef real *to = panel + n * job.x_sample + group * job.x_group
    cdef real *line = <real *> own.line
    cdef real *row
    for channel from 0 <= channel < job.channels by job.lanes:
        count = min(job.lanes, job.channels - channel)
        memset(to, 0, zeros * sizeof(real))
        to += zeros
        if dy.pair:  # channels are not a constant distance apart
            for r in range(count):
                load_row[real](dy, at(dy, n, group * job.channels + channel + r, 0), dy.strides[2],
                               length, line + r * length)
                own.row[r] = <int32_t> (r * length)
            job.tiles.transpose(line, own.row, count, length, to)
        elif dy.strides[1] == job.size and dy.half == NULL:
            for p in range(length):
                row = to + p * job.lanes
                memcpy(row, at(dy, n, group * job.channels + channel, p), count * sizeof(real))
                memset(row + count, 0, (job.lanes - count) * sizeof(real))
        else:
            transpose_lines[real](job, dy, at(dy, n, group * job.channels + channel, 0),
                                  dy.strides[1], dy.strides[2], count, length, own.row, line, to)
        to += length * job.lanes
        memset(to, 0, zeros * sizeof(real))
        to += zeros


cdef void pack_samples_chunk(void *context, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef const FewInput *job = <const FewInput *> context
    cdef FewInputScratch own
    carve_own_few_input(job, &own, job.workers + worker * job.worker_size)
    if job.size == sizeof(float):
        pack_samples[float](job, &own, chunk // job.groups, chunk % job.groups,
                            <float *> job.panel)
    else:
        pack_samples[double](job, &own, chunk // job.groups, chunk % job.groups,
                             <double *> job.panel)


# --- the weights ---------------------------------------------------------------------------------

cdef void copy_near_taps(
    const FewInput *job, const LaneBlock *block, const Plane *plane, const char *weight,
    real *packed
) noexcept nogil:
    """packed[tap][lane] of taps that lie side by side, from the first lane of the first tap on."""
    cdef Py_ssize_t u
    for u in range(plane.taps):
        copy_short(packed, weight, block.lanes * sizeof(real))
        memset(packed + block.lanes, 0, (job.lanes - block.lanes) * sizeof(real))
        packed += job.lanes
        weight += job.g.period * sizeof(real)


cdef void take_weights(
    const FewInput *job, const FewInputScratch *own, Py_ssize_t group, Py_ssize_t first_channel,
    Py_ssize_t count, Py_ssize_t first_block, Py_ssize_t end_block, real *weights
) noexcept nogil:
    """weights[block][channel of dy][tap][lane] of some channels of dy.

    All that lies side by side is read together, and what comes next is asked for.
    """
    cdef const View *w = &job.w
    cdef Py_ssize_t size = sizeof(real), number, o, lane, lanes, i, channel, taps, spare
    cdef Py_ssize_t first = group * job.channels + first_channel, bytes
    cdef bint plain = w.half == NULL and not w.pair and w.strides[2] == size
    cdef bint side_by_side = plain and job.taps == 1 and w.strides[1] == size
    cdef real *line = <real *> own.line
    cdef real *row
    cdef real *packed
    cdef const char *weight
    cdef LaneBlock[FEW_BLOCKS] blocks
    cdef Plane[FEW_BLOCKS] planes
    cdef LaneBlock block = lane_block(job, first_block), last = lane_block(job, end_block - 1)
    for number in range(end_block - first_block):
        blocks[number] = lane_block(job, first_block + number)
        planes[number] = plane_of(job, blocks[number].plane)
    if (not job.along_taps and plain and not side_by_side
            and w.strides[0] % size == 0 and w.strides[1] % size == 0):
        lanes, taps = last.first + last.lanes - block.first, job.taps
        weight = weight_at(w, first, block.first, job.first_tap)
        if 1 < taps < PIECE_BYTES // size and w.strides[0] >= w.strides[1] >= 0:
            # whole pieces are quicker, with what lies behind, unless it is the end
            spare = at(w, w.shape[0] - 1, w.shape[1] - 1, w.shape[2] - 1) + size - weight
            spare -= (lanes - 1) * w.strides[1] + PIECE_BYTES
            if spare >= (count - 1) * w.strides[0]:
                taps = PIECE_BYTES // size
        job.tiles.transpose_blocks(weight, w.strides[1] // size, lanes, w.strides[0] // size,
                                   count, taps, weights, job.taps * job.lanes, job.weights_size)
        return
    bytes = job.g.taps * size * (last.channel - block.channel + 1)
    if not (job.along_taps or side_by_side) or w.strides[0] < 0 or bytes > 4096:
        bytes = 0
    for o in range(count):
        channel = first + o
        if bytes > 0 and first_channel + o + 1 < job.channels:
            cc_prefetch(weight_at(w, channel + 1, blocks[0].channel, 0), bytes)
        for number in range(end_block - first_block):
            block = blocks[number]
            packed = weights + number * job.weights_size + o * job.taps * job.lanes
            if job.along_taps:
                weight = weight_at(w, channel, block.channel, planes[number].residue)
                copy_near_taps[real](job, &block, &planes[number],
                                     weight + block.first * size, packed)
            elif side_by_side:
                copy_short(packed, weight_at(w, channel, block.first, job.first_tap),
                           block.lanes * size)
                memset(packed + block.lanes, 0, (job.lanes - block.lanes) * size)
            elif w.pair:
                for lane in range(block.lanes):
                    row = line + lane * job.taps
                    load_row[real](w, weight_at(w, channel, block.first + lane, job.first_tap),
                                   w.strides[2], job.taps, row)
                    if negated(w, channel, block.first + lane):
                        for i in range(job.taps):
                            row[i] = -row[i]
                    own.row[lane] = <int32_t> (lane * job.taps)
                job.tiles.transpose(line, own.row, block.lanes, job.taps, packed)
            else:
                weight = weight_at(w, channel, block.first, job.first_tap)
                transpose_lines[real](job, w, weight, w.strides[1], w.strides[2], block.lanes,
                                      job.taps, own.row, line, packed)


# --- the terms -----------------------------------------------------------------------------------

cdef struct Live:
    # The taps of a residue that meet samples, at one position or at any of a tile.
    Py_ssize_t first, count


cdef inline Live live_taps(
    const Geometry *g, Py_ssize_t taps, Py_ssize_t length, Py_ssize_t position, Py_ssize_t rows
) noexcept nogil:
    """Those at the positions from this one on, of dy with `length` samples."""
    cdef Live live
    live.first = max(0, ceiling(position - length + 1, g.step))
    live.count = min(taps, (position + rows - 1) // g.step + 1) - live.first
    return live


cdef void place_live_terms(
    const FewInput *job, const FewInputScratch *own, Py_ssize_t channels, Py_ssize_t live,
    Py_ssize_t w_channel, Py_ssize_t w_tap
) noexcept nogil:
    """Offsets of the terms of some channels of dy, from those of the first tap that counts."""
    cdef Py_ssize_t o, i, t = 0
    cdef Py_ssize_t x_tap = job.g.step * job.lanes, x
    for o in range(channels):
        x = o // job.lanes * job.x_block + o % job.lanes
        for i in range(live):
            own.offset[t] = <int32_t> (x - i * x_tap)
            own.w_offset[t] = <int32_t> (o * w_channel + i * w_tap)
            t += 1


cdef Py_ssize_t end_blocks(
    const FewInput *job, Py_ssize_t taps, const Live *live, Py_ssize_t first_channel,
    Py_ssize_t end_channel, int32_t *ends
) noexcept nogil:
    """How many terms that count come before each end of a block, and how many ends there are.

    Blocks have CC_BLOCK terms with those that do not count. Ends between which there are none are
    one, but the first may belong to a chain that began before.
    """
    cdef Py_ssize_t blocks = 0, count
    cdef Py_ssize_t place = rounded(first_channel * taps + 1, CC_BLOCK)  # of the end
    cdef Py_ssize_t channel = place // taps, tap = place - channel * taps
    cdef Py_ssize_t channels = CC_BLOCK // taps, more = CC_BLOCK - channels * taps
    while channel < end_channel or channel == end_channel and tap == 0:
        count = ((channel - first_channel) * live.count
                 + min(max(tap - live.first, 0), live.count))
        if blocks == 0 or count > ends[blocks - 1]:
            ends[blocks] = <int32_t> count
            blocks += 1
        channel, tap = channel + channels, tap + more
        if tap >= taps:
            channel, tap = channel + 1, tap - taps
    count = (end_channel - first_channel) * live.count
    if end_channel == job.channels and (blocks == 0 or count > ends[blocks - 1]):
        ends[blocks] = <int32_t> count
        blocks += 1
    return blocks


# --- a chunk -------------------------------------------------------------------------------------

cdef void sum_plane(
    const FewInput *job, const FewInputScratch *own, const Plane *plane, const real *w,
    Py_ssize_t w_channel, Py_ssize_t w_tap, const cc_chains *tile, Py_ssize_t n,
    Py_ssize_t samples, const real *panel, Py_ssize_t first_channel, Py_ssize_t end_channel,
    Py_ssize_t sums, Py_ssize_t *placed
) noexcept nogil:
    """The terms of the channels first_channel .. end_channel - 1 of dy, for one plane of results.

    `w` is the first of them at the plane's first tap, `panel` the first of them at position 0.
    """
    cdef const Geometry *g = job.g
    cdef Py_ssize_t length = job.dy.shape[2], count = end_channel - first_channel
    cdef Py_ssize_t first = max(plane.first, 0), sample, m, blocks, i, last, row, x_row, rows
    cdef Py_ssize_t end = min(plane.end, length + (plane.taps - 1) * g.step), place
    cdef Py_ssize_t together = 1 if job.across else job.rows  # positions of a tile
    cdef Py_ssize_t tiles = (end - first + together - 1) // together
    cdef real *chains = <real *> own.chains + sums
    cdef real *totals = <real *> own.totals + sums
    cdef const real *x
    cdef Live live
    for i in range(tiles):
        m = first + i * (end - first) // tiles
        rows = first + (i + 1) * (end - first) // tiles - m
        live = live_taps(g, plane.taps, length, m, rows)
        if live.count <= 0:
            continue
        if live.count != placed[0]:
            place_live_terms(job, own, count, live.count, w_channel, w_tap)
            placed[0] = live.count
        blocks = end_blocks(job, plane.taps, &live, first_channel, end_channel, own.ends)
        x = panel + (m - live.first * g.step) * job.lanes
        place = plane.first_row + m * job.row_step
        if job.across:
            last = (samples + job.rows - 1) // job.rows
            for sample in range(last):
                row = sample * samples // last
                rows = (sample + 1) * samples // last - row
                x_row = row * job.x_sample
                row = (row * job.sums_rows + place) * job.lanes
                tile[rows](x + x_row, job.x_sample, own.offset, count * live.count,
                           w + live.first * w_tap, own.w_offset, own.ends, blocks, chains + row,
                           totals + row, job.sums_rows * job.lanes)
        else:
            for sample in range(samples):
                row = (sample * job.sums_rows + place) * job.lanes
                tile[rows](x + sample * job.x_sample, job.lanes, own.offset, count * live.count,
                           w + live.first * w_tap, own.w_offset, own.ends, blocks, chains + row,
                           totals + row, job.row_step * job.lanes)


cdef void store_channels(
    const FewInput *job, const FewInputScratch *own, Py_ssize_t n, Py_ssize_t samples,
    Py_ssize_t channel, Py_ssize_t lanes, real *totals
) noexcept nogil:
    """Results of which a lane is a channel, from `channel` on, and a row a position of dx."""
    cdef const View *dx = &job.dx
    cdef Py_ssize_t sample, q, count, lane, i, width = job.lanes
    cdef real *stage = <real *> own.stage
    cdef const real *bias = NULL
    if job.biases != NULL:
        bias = <const real *> job.biases + channel
    for i in range(width):
        own.row[i] = <int32_t> (i * width)
    for sample in range(samples):
        for q from 0 <= q < job.sums_rows by width:
            count = min(width, job.sums_rows - q)
            if bias != NULL:
                for i in range(count):
                    for lane in range(lanes):
                        totals[i * width + lane] += bias[lane]
            if dx.strides[1] == job.size and dx.half == NULL and not dx.pair:
                for i in range(count):
                    memcpy(at(dx, n + sample, channel, q + i), totals + i * width,
                           lanes * sizeof(real))
            else:
                job.tiles.transpose(totals, own.row, count, lanes, stage)
                for lane in range(lanes):
                    store_row[real](dx, at(dx, n + sample, channel + lane, q), dx.strides[2],
                                    count, stage + lane * width)
            totals += count * width


cdef void store_taps(
    const FewInput *job, const Plane *plane, Py_ssize_t n,
    Py_ssize_t samples, Py_ssize_t first_channel, Py_ssize_t first_lane, Py_ssize_t skipped,
    Py_ssize_t lanes, real *totals
) noexcept nogil:
    """Results of which a lane is a tap of a channel of dx, and a row a position of dy.

    The first lanes, `skipped`, are those of another chunk.
    """
    cdef const View *dx = &job.dx
    cdef const Geometry *g = job.g
    cdef Py_ssize_t sample, m, lane, channel, residue, count, first, last, q, i
    for sample in range(samples):
        for m in range(plane.first, plane.end):
            lane = skipped
            while lane < lanes:
                channel = (first_lane + lane) // plane.residues
                residue = first_lane + lane - channel * plane.residues
                count = min(plane.residues - residue, lanes - lane)
                q = m * g.stride + (plane.residue + residue) * g.dilation - g.pad_left
                first = min(max(ceiling(-q, g.dilation), 0), count)
                last = max(min(ceiling(dx.shape[2] - q, g.dilation), count), first)
                channel += first_channel
                if job.biases != NULL:
                    for i in range(first, last):
                        totals[lane + i] += (<const real *> job.biases)[channel]
                if first < last:
                    store_row[real](dx, at(dx, n + sample, channel, q + first * g.dilation),
                                    dx.strides[2] * g.dilation, last - first,
                                    totals + lane + first)
                lane += count
            totals += job.lanes
        totals += (job.sums_rows - (plane.end - plane.first)) * job.lanes  # of a longer plane


cdef void few_input_lanes(
    const FewInput *job, const FewInputScratch *own, Py_ssize_t group, Py_ssize_t n,
    Py_ssize_t samples, Py_ssize_t first_block, Py_ssize_t end_block, int worker, real *totals
) noexcept nogil:
    """Some blocks of lanes of a group, for some samples."""
    cdef const Geometry *g = job.g
    cdef Py_ssize_t o, end, number, i, placed = 0, sums, last
    cdef Py_ssize_t w_channel = job.taps * job.lanes, w_tap = g.period * job.lanes
    cdef const real *w
    cdef const real *packed
    cdef const real *panel = (<const real *> job.panel + n * job.x_sample + group * job.x_group
                              + job.halo * job.lanes)
    cdef real sum_of_all = 0
    cdef LaneBlock block
    cdef Plane plane
    if job.in_place:
        w_channel, w_tap = job.w.strides[0] // <Py_ssize_t> sizeof(real), g.period
    elif job.along_taps:
        w_tap = job.lanes
    sums = (end_block - first_block) * job.sums_size * sizeof(real)
    memset(own.chains, 0, sums)
    memset(totals, 0, sums)
    for o from 0 <= o < job.channels by job.run:
        if cc_pool_cancelled(worker):
            return
        end = min(o + job.run, job.channels)
        if not job.in_place:
            take_weights[real](job, own, group, o, end - o, first_block, end_block,
                               <real *> own.weights)
        for i in range(first_block, end_block):
            block = lane_block(job, i)
            packed = <const real *> own.weights + (i - first_block) * job.weights_size
            number, last = 0, job.planes
            if job.along_taps:
                number, last = block.plane, block.plane + 1
            while number < last:
                plane = plane_of(job, number)
                w = packed
                if job.in_place:
                    w = <const real *> weight_at(&job.w, group * job.channels + o, block.channel,
                                                 plane.residue) + block.first
                elif not job.along_taps:
                    w += (number - job.first_tap) * job.lanes
                sum_plane[real](job, own, &plane, w, w_channel, w_tap, block.tile, n, samples,
                                panel + o // job.lanes * job.x_block + o % job.lanes, o, end,
                                (i - first_block) * job.sums_size, &placed)
                number += 1
    if job.halo > 0:  # else no zeros were added
        sums = (end_block - first_block) * job.sums_size
        job.tiles.sum_row(totals, sums, &sum_of_all)
        own.spoiled[0] |= isfinite(sum_of_all) == 0
    for i in range(first_block, end_block):
        block = lane_block(job, i)
        if job.along_taps:
            plane = plane_of(job, block.plane)
            store_taps[real](job, &plane, n, samples, group * job.outs + block.channel,
                             block.first, block.skipped, block.lanes, totals)
        else:
            store_channels[real](job, own, n, samples, group * job.outs + block.first, block.lanes,
                                 totals)
        totals += job.sums_size


cdef void few_input_chunk(void *context, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef const FewInput *job = <const FewInput *> context
    cdef FewInputScratch own
    cdef Py_ssize_t cuts = (job.blocks + job.together - 1) // job.together
    cdef Py_ssize_t first = chunk % cuts * job.together
    cdef Py_ssize_t last = min(first + job.together, job.blocks)
    cdef Py_ssize_t group = chunk // (cuts * job.parts)
    cdef Py_ssize_t n = chunk // cuts % job.parts * job.samples
    cdef Py_ssize_t samples = min(job.samples, job.dy.shape[0] - n)
    if samples <= 0:
        return
    carve_own_few_input(job, &own, job.workers + worker * job.worker_size)
    if job.size == sizeof(float):
        few_input_lanes[float](job, &own, group, n, samples, first, last, worker,
                               <float *> own.totals)
    else:
        few_input_lanes[double](job, &own, group, n, samples, first, last, worker,
                                <double *> own.totals)


# --- the job -------------------------------------------------------------------------------------

cdef Py_ssize_t work_of(
    const FewInput *job, Py_ssize_t taps, Py_ssize_t rows, Py_ssize_t positions
) noexcept nogil:
    """What a residue takes for `rows` rows of a tile, of which `positions` are neighbours.

    In multiply-adds: a term is one for each row, at least three, as a chain has to wait for its
    last one, and to load it takes as long as another one.
    """
    cdef Py_ssize_t live = min(taps, (job.dy.shape[2] + positions - 2) // job.g.step + 1)
    return live * (max(rows, 3) + 1)


cdef void choose_rows(FewInput *job) noexcept nogil:
    """Whether the rows of tiles are samples or positions, and how many there are at most.

    All rows of a tile sum the same terms, so samples meet no zeros, and positions the fewer the
    fewer there are of them.
    """
    cdef Py_ssize_t taps = residue_taps(job.g, 0), samples = job.samples, tiles, rows, work, best
    tiles = (samples + job.tiles.gemm_rows - 1) // job.tiles.gemm_rows
    job.across, job.rows, job.halo = True, (samples + tiles - 1) // tiles, 0
    best = work_of(job, taps, job.rows, 1)
    for rows in range(2, min(job.tiles.gemm_rows, job.dy.shape[2] + taps * job.g.step) + 1):
        work = work_of(job, taps, rows, rows)
        if work * job.rows < best * rows or not job.across and work * job.rows == best * rows:
            job.across, job.rows, job.halo, best = False, rows, rows - 1, work


cdef void choose_lanes(FewInput *job) noexcept nogil:
    """Whether lanes are taps: those of a residue each, if they fill tiles and are alive."""
    cdef const Geometry *g = job.g
    cdef const View *w = &job.w
    cdef Py_ssize_t number, narrowest = g.residues
    job.planes = g.residues
    job.along_taps = job.flat = job.in_place = False
    job.blocks = blocks_of(job, job.outs)
    if w.half != NULL or w.pair or w.strides[2] != job.size or 2 * job.taps <= g.taps:
        return
    job.flat = (g.residues == g.taps and w.strides[1] == g.taps * job.size
                and 2 * g.taps >= job.lanes)
    if g.taps > g.period and g.taps % g.period:
        narrowest = min(g.taps % g.period, g.period - g.taps % g.period)
    job.along_taps = job.flat or narrowest >= job.lanes
    if not job.along_taps:
        return
    job.planes = 2 if g.taps > g.period and g.taps % g.period else 1
    job.first_tap, job.taps = 0, residue_taps(g, 0)
    job.blocks = 0
    for number in range(job.planes):
        narrowest = plane_of(job, number).residues
        job.blocks += (blocks_of(job, job.outs * narrowest) if job.flat
                       else job.outs * blocks_of(job, narrowest))


cdef void leave_out_samples(FewInput *job) noexcept nogil:
    """Take the part of dy that results meet: there may be few of them, as of a piece of padding."""
    cdef Geometry *g = &job.geometry
    cdef Py_ssize_t first = ceiling(g.pad_left - (g.taps - 1) * g.dilation, g.stride)
    cdef Py_ssize_t end = ceiling(job.dx.shape[2] + g.pad_left, g.stride)
    first = max(0, min(first, job.dy.shape[2]))
    end = max(first, min(end, job.dy.shape[2]))
    job.dy.data += first * job.dy.strides[2]
    job.dy.shape[2] = end - first
    g.pad_left -= first * g.stride


cdef bint plan_few_input(
    FewInput *job, const Sum *sum, const View *dy, const View *w, const View *dx,
    const View *bias, Py_ssize_t size
) noexcept nogil:
    """How this nest computes a sum, or that it cannot."""
    cdef const Geometry *g = &job.geometry
    cdef Py_ssize_t length, budget, units, reach, number, bytes
    cdef Plane plane
    job.tiles, job.geometry, job.g, job.groups = sum.tiles, sum.g[0], g, sum.groups
    job.channels, job.outs, job.size = sum.channels, sum.outs, size
    job.dy, job.w, job.dx, job.biased = dy[0], w[0], dx[0], bias.data != NULL
    job.lanes = job.tiles.gemm_lanes
    leave_out_samples(job)
    length = job.dy.shape[2]
    if dy.shape[0] == 0 or length == 0 or job.channels == 0:
        return False
    # taps j with j·dilation = q + pad_left − p·stride for some result q and sample p of dy
    job.first_tap = max(0, ceiling(g.pad_left - (length - 1) * g.stride, g.dilation))
    job.taps = min(g.taps, (dx.shape[2] - 1 + g.pad_left) // g.dilation + 1) - job.first_tap
    if job.taps <= 0 or max(job.taps, length) > FEW_WEIGHT_BYTES // job.lanes:
        return False
    choose_lanes(job)
    job.sums_rows, job.row_step = dx.shape[2], g.stride
    if job.along_taps:
        job.sums_rows, job.row_step = 0, 1
        for number in range(job.planes):
            plane = plane_of(job, number)
            job.sums_rows = max(job.sums_rows, plane.end - plane.first)
    # sums of a block of lanes, and as many chains
    budget = FEW_SUMS_BYTES // (2 * job.lanes * size)
    if not 0 < job.sums_rows <= budget:
        return False
    job.samples = min(dy.shape[0], budget // job.sums_rows)
    job.threads = threads_for(dx.shape[0] * dx.shape[1] * dx.shape[2], sum.terms // sum.step)
    units = job.groups * job.blocks
    if job.threads > 1 and units < CHUNKS_PER_THREAD * job.threads:
        units = (CHUNKS_PER_THREAD * job.threads + units - 1) // units
        job.samples = min(job.samples, (dy.shape[0] + units - 1) // units)
    job.parts = (dy.shape[0] + job.samples - 1) // job.samples
    job.samples = (dy.shape[0] + job.parts - 1) // job.parts
    units = job.groups * job.blocks * job.parts
    number = TOGETHER_SUMS_BYTES // (2 * size * job.lanes) // (job.sums_rows * job.samples)
    job.together = min(job.blocks, FEW_BLOCKS, max(1, number))
    if job.threads > 1:
        job.together = min(job.together, max(1, units // (CHUNKS_PER_THREAD * job.threads)))
    job.threads = <int> min(job.threads, units)
    job.sums_size = job.samples * job.sums_rows * job.lanes
    choose_rows(job)
    # each weight is read once, and the lanes of a tile are all there
    job.in_place = (job.along_taps and (job.samples if job.across else length) <= job.rows
                    and job.outs * g.taps >= job.lanes)
    job.live = min(residue_taps(g, 0), (length + job.rows - 2) // g.step + 1)
    reach = length + 2 * job.halo
    # the weights of a run stay in the second-level cache
    bytes = size * job.lanes * (job.live if job.in_place else job.taps) * job.together
    job.run = max(1, min(FEW_WEIGHT_BYTES // bytes, CHUNK_TERMS // job.live, job.channels))
    number = 1
    while 2 * number <= min(job.run, job.lanes):
        number *= 2
    job.run = job.run // number * number
    # with room for a piece more than the taps
    job.weights_size = 0 if job.in_place else (job.run * job.taps + 3) * job.lanes
    job.most_blocks = min(job.run * job.live, job.run * residue_taps(g, 0) // CC_BLOCK + 1) + 2
    job.x_block = reach * job.lanes
    job.x_group = job.x_block * blocks_of(job, job.channels)
    job.x_sample = job.x_group * job.groups
    number = max(FEW_PANEL_BYTES, w.shape[0] * w.shape[1] * w.shape[2] * size)
    if dy.shape[0] * job.x_sample > number // size:
        return False
    # offsets fit int32
    if (job.x_block * (job.run // job.lanes + 1) > INT32_MAX or job.taps * g.step > INT32_MAX // 64
            or magnitude(dy.strides[1]) * job.lanes > INT32_MAX):
        return False
    return max(magnitude(w.strides[0]) * job.run, magnitude(w.strides[1]) * job.lanes) < INT32_MAX


cdef void few_input_all(
    FewInput *job, const Sum *sum, const View *dy, const View *bias, real *biases
) noexcept nogil:
    cdef Py_ssize_t channel, cuts = (job.blocks + job.together - 1) // job.together
    cdef FewInputScratch own
    cdef bint spoiled = False
    cdef int worker
    for worker in range(job.threads):
        carve_own_few_input(job, &own, job.workers + worker * job.worker_size)
        own.spoiled[0] = False
    for channel in range(job.groups * job.outs if job.biased else 0):
        load_row[real](bias, line_at(bias, channel), 0, 1, biases + channel)
    cc_pool_run(pack_samples_chunk, job, job.dy.shape[0] * job.groups, job.threads)
    if job.along_taps and (job.g.residues < job.g.stride or job.g.dilation > 1):
        # phases of the output that meet no tap
        fill_bias[real](&job.dx, biases, job.outs, job.outs)
    cc_pool_run(few_input_chunk, job, job.groups * cuts * job.parts, job.threads)
    for worker in range(job.threads):
        carve_own_few_input(job, &own, job.workers + worker * job.worker_size)
        spoiled |= own.spoiled[0]
    if spoiled:
        recompute_spoiled[real](sum, dy, &job.w, bias, &job.dx, 0)


cdef bint few_positions_input(
    FewInput *job, const Sum *sum, const View *dy, const View *bias
) noexcept nogil:
    """A planned job; false if memory ran out, with nothing stored."""
    cdef Arena arena
    cdef uintptr_t start = arena_open(&arena, carve_few_input(job, 0))
    if start == 0:
        return False
    carve_few_input(job, start)
    if job.size == sizeof(float):
        few_input_all[float](job, sum, dy, bias, <float *> job.biases)
    else:
        few_input_all[double](job, sum, dy, bias, <double *> job.biases)
    arena_close(&arena)
    return True
