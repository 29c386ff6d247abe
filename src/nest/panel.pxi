# The terms of a sum, and the panels that hold their samples.
#
#     panel[offset[t] + p]  is the sample that position m0 + p meets for term t
#
# Takes  a View with any strides, format and padding mode.
# Gives  Terms: which (channel, residue, tap) are summed, in which order; how many positions and
#        terms a panel holds (panel_positions, cut_terms); pack_panel, which copies the samples with
#        their padding; point_at_terms, for terms that are read in place.

cdef struct Terms:
    # Which terms a sum runs over, and how they lie in the panel.
    const Geometry *g
    Py_ssize_t first_residue, last_residue
    Py_ssize_t channels
    Py_ssize_t per_channel
    Py_ssize_t in_step    # samples between neighbouring positions
    int direction         # +1: samples ahead of the output (x); -1: behind it (dy)
    bint by_residue       # those of a channel come residue by residue; else tap by tap
    bint apart            # taps have rows of their own, where signals lie side by side
    const int32_t *order  # which tap of its residue each term is, or NULL: as they come


cdef Terms terms_of_input(
    const Geometry *g, Py_ssize_t channels, bint by_residue
) noexcept nogil:
    """All residues, reading x: what forward and backward_weight sum over."""
    cdef Terms terms
    terms.g = g
    terms.first_residue, terms.last_residue = 0, g.residues
    terms.channels, terms.per_channel = channels, g.taps
    terms.in_step = g.stride
    terms.direction = 1
    terms.by_residue = by_residue or g.residues == 1
    terms.apart, terms.order = False, NULL
    return terms


cdef Terms terms_of_output(
    const Geometry *g, Py_ssize_t channels, Py_ssize_t residue
) noexcept nogil:
    """One residue, reading dy: what one phase of backward_input sums over."""
    cdef Terms terms
    terms.g = g
    terms.first_residue, terms.last_residue = residue, residue + 1
    terms.channels, terms.per_channel = channels, residue_taps(g, residue)
    terms.in_step = 1
    terms.direction = -1
    terms.by_residue, terms.apart, terms.order = True, False, NULL
    return terms


cdef void order_taps(const Terms *terms, int32_t *order) noexcept nogil:
    """The order for a tile with a single row: terms CC_SHIFT samples apart follow each other.

    The tile loads a vector of samples once for all of them. With tap_stride = CC_SHIFT / step, the
    taps of a residue within one CC_BLOCK are taken by their remainder modulo tap_stride:

        taps       0 1 2 3 4 5 6 7 8 9      (tap_stride 4; from the sample that lies first)
        order      0 4 8  1 5 9  2 6  3 7
    """
    cdef Py_ssize_t tap_stride = CC_SHIFT // terms.g.step
    cdef Py_ssize_t total = terms.channels * terms.per_channel
    cdef Py_ssize_t t = 0, tap = 0, residue = terms.first_residue, count, rest, i
    while t < total:
        count = min(residue_taps(terms.g, residue) - tap, CC_BLOCK - t % CC_BLOCK)
        for rest in range(min(tap_stride, count)):
            for i from rest <= i < count by tap_stride:
                order[t] = <int32_t> (tap + (i if terms.direction > 0 else count - 1 - i))
                t += 1
        tap += count
        if tap == residue_taps(terms.g, residue):
            tap = 0
            residue += 1
            if residue == terms.last_residue:
                residue = terms.first_residue


cdef inline Py_ssize_t tap_at(const Terms *terms, Py_ssize_t t, Py_ssize_t tap) noexcept nogil:
    """Which tap of its residue the term t is, the one numbered `tap` if they come in order."""
    return tap if terms.order == NULL else terms.order[t]


cdef inline Py_ssize_t row_size(Py_ssize_t samples) noexcept nogil:
    """The samples that a row of a panel takes: an odd number of cache lines (pairs, of double).

    Thus rows are aligned, and those of a column do not fall into few sets of the cache.
    """
    return ((samples + 15) // 16 | 1) * 16


cdef inline bint overlap(const Geometry *g) noexcept nogil:
    """Whether the taps of a residue are near enough to share a row of a panel."""
    return g.step <= MIN_PANEL_POSITIONS


cdef inline bint share_row(const Terms *terms) noexcept nogil:
    """Whether they do."""
    return overlap(terms.g) and not terms.apart


cdef Py_ssize_t channel_size(const Terms *terms, Py_ssize_t width) noexcept nogil:
    """Samples that one channel takes at most in a panel of `width` positions."""
    cdef Py_ssize_t residue, taps, size = 0
    for residue in range(terms.first_residue, terms.last_residue):
        taps = residue_taps(terms.g, residue)
        if share_row(terms):
            size += row_size(width + (taps - 1) * terms.g.step)
        else:
            size += taps * row_size(width)
    return size


cdef Py_ssize_t block_size(const Terms *terms, Py_ssize_t width) noexcept nogil:
    """No CC_BLOCK neighbouring terms take more samples than this.

    A term adds `width` samples to the panel, or `step` to a row that is shared; and the rows that
    a block cuts into are counted whole or, where taps are many, with what rounding adds to each.
    """
    cdef Py_ssize_t term = max(width, terms.g.step) if share_row(terms) else width
    return min(CC_BLOCK * (row_size(term) + 16),
               (CC_BLOCK // terms.per_channel + 2) * channel_size(terms, width))


cdef Py_ssize_t panel_positions(
    const Terms *terms, Py_ssize_t budget, Py_ssize_t narrow
) noexcept nogil:
    """The positions of a panel that holds all terms within the budget, if that can be."""
    cdef Py_ssize_t positions = MAX_PANEL_POSITIONS
    while positions > narrow and terms.channels * channel_size(terms, positions) > budget:
        positions //= 2
    return positions


cdef struct Cut:
    # How a sum's terms are cut into chunks, and what a panel of one takes.
    Py_ssize_t chunk, size


cdef Cut cut_terms(
    const Terms *terms, Py_ssize_t width, Py_ssize_t budget, Py_ssize_t most
) noexcept nogil:
    """Chunks of at most `most` terms whose panels keep to the budget, but of a block at least."""
    cdef Cut cut
    cdef Py_ssize_t count = terms.channels * terms.per_channel
    cut.size = terms.channels * channel_size(terms, width)
    if cut.size <= budget and count <= most:
        cut.chunk = max(count, 1)
        return cut
    cdef Py_ssize_t blocks = max(1, min(budget // block_size(terms, width), most // CC_BLOCK))
    cut.chunk = blocks * CC_BLOCK
    cut.size = min(cut.size, blocks * block_size(terms, width))
    return cut


# Of channels that lie side by side, so many samples of so many channels are copied together: they
# stay in the first-level cache while they go into a line of each channel, and all channels of the
# samples come before the next samples, as they lie in memory. Fewer than FEW_ADJACENT fill no piece
# of a vector.
cdef enum: ADJACENT_SAMPLES = 16, ADJACENT_CHANNELS = 64, FEW_ADJACENT = 4
# Signals up to this length lie so close together that nobody has to be told where the next one is.
cdef enum: SHORT_ROW = 64


cdef void copy_border(
    const View *array, Py_ssize_t n, Py_ssize_t channel, Py_ssize_t first, Py_ssize_t step,
    Py_ssize_t count, real *row
) noexcept nogil:
    """row[i] = array[n, channel, first + i·step], all beyond one end."""
    cdef const View *holder = array
    cdef Py_ssize_t i, sample = -1, move = 0
    if array.mode == CONTINUES and first < 0:
        holder, sample, move = array.before, first + array.before.shape[2], step
    elif array.mode != CCONV1D_ZEROS and array.mode != CONTINUES:
        sample = source(array.mode, first, array.shape[2])
        if array.mode != CCONV1D_REPLICATE:
            move = -step if array.mode == CCONV1D_REFLECT else step
    for i in range(count):
        row[i] = 0
        if 0 <= sample < holder.shape[2]:
            load_row[real](holder, at(holder, n, channel, sample), 0, 1, row + i)
        sample += move


cdef struct Span:
    # Where a row of samples lies: some before the array begins, some in it, some behind its end.
    Py_ssize_t left, inside, right


cdef inline Span span_of(
    const View *array, Py_ssize_t first, Py_ssize_t step, Py_ssize_t count
) noexcept nogil:
    """Samples first, first + step, ..., `count` of them."""
    cdef Py_ssize_t length = array.shape[2]
    cdef Span span
    span.left = span.right = 0
    if first < 0:
        span.left = min(count, (-first + step - 1) // step)
    if span.left < count and first + (count - 1) * step >= length:
        span.right = count
        if first + span.left * step < length:
            span.right = count - 1 - (length - 1 - first) // step
        span.right = min(span.right, count - span.left)
    span.inside = count - span.left - span.right
    return span


cdef inline void copy_spans(
    const View *array, Py_ssize_t n, Py_ssize_t channel, const Py_ssize_t *apart, Py_ssize_t lines,
    Py_ssize_t first, Py_ssize_t step, Py_ssize_t count, real *rows, Py_ssize_t pitch
) noexcept nogil:
    """rows[l·pitch + i] = sample first + i·step of some lines: array[n + l, channel] if these are
    array.strides[0] `apart`, array[n, channel + l] if array.strides[1], and not parts of numbers.

    Beyond their ends it is as the mode says. Signals may be short: what is the same for all lines
    is found once.
    """
    cdef Py_ssize_t stride = array.strides[2] * step, i
    cdef Span span = span_of(array, first, step, count)
    cdef Py_ssize_t last = count - span.right
    cdef const char *sample = (at(array, n, channel, 0)
                               + (first + span.left * step) * array.strides[2])
    cdef bint contiguous = array.half == NULL and stride == sizeof(real)
    for i in range(lines):
        if span.left > 0:
            copy_border[real](array, n, channel, first, step, span.left, rows)
        if contiguous:
            copy_numbers[real](rows + span.left, <const real *> sample, span.inside)
        elif span.inside > 0:
            load_row[real](array, sample, stride, span.inside, rows + span.left)
        if span.right > 0:
            copy_border[real](array, n, channel, first + last * step, step, span.right,
                              rows + last)
        if apart == array.strides:
            n += 1
        else:
            channel += 1
        sample += apart[0]
        rows += pitch


# What is copied beyond a short run, so that a run is a vector or a few.
cdef enum: COPIED_AT_ONCE = 16


cdef inline void copy_runs(
    real *to, const real *first, Py_ssize_t pitch, Py_ssize_t run, Py_ssize_t runs
) noexcept nogil:
    """to[r·run + i] = first[r·pitch + i] for i < run; what lies behind the last is lost."""
    cdef Py_ssize_t r
    if run <= COPIED_AT_ONCE // 4:
        for r in range(runs):
            memcpy(to + r * run, first + r * pitch, COPIED_AT_ONCE // 4 * sizeof(real))
    elif run <= COPIED_AT_ONCE // 2:
        for r in range(runs):
            memcpy(to + r * run, first + r * pitch, COPIED_AT_ONCE // 2 * sizeof(real))
    elif run <= COPIED_AT_ONCE:
        for r in range(runs):
            memcpy(to + r * run, first + r * pitch, COPIED_AT_ONCE * sizeof(real))
    else:
        for r in range(runs):
            copy_numbers[real](to + r * run, first + r * pitch, run)


cdef inline void copy_row(
    const View *array, Py_ssize_t n, Py_ssize_t channel, Py_ssize_t first, Py_ssize_t step,
    Py_ssize_t count, real *row
) noexcept nogil:
    """row[i] = array[n, channel, first + i·step], beyond its ends as its mode says."""
    cdef Py_ssize_t stride = array.strides[2] * step
    cdef const char *line = at(array, n, channel, 0)
    if 0 < stride <= 64:
        # rows that are copied soon lie far from this one; two ahead measured best
        cc_prefetch(line + max(first, 0) * array.strides[2] + 2 * array.strides[1],
                    min(count, array.shape[2]) * stride)
    copy_spans[real](array, n, channel, array.strides, 1, first, step, count, row, 0)


cdef void copy_rows(
    const View *array, Py_ssize_t n, Py_ssize_t channel, Py_ssize_t channels, Py_ssize_t first,
    Py_ssize_t step, Py_ssize_t count, real *rows, Py_ssize_t pitch
) noexcept nogil:
    """rows[c·pitch + i] = array[n, channel + c, first + i·step], as copy_row."""
    cdef Py_ssize_t c, i
    cdef Span span
    # of a few channels, numbers a few numbers apart are taken from vectors
    cdef bint adjacent = channels > 1 and has_adjacent_channels(array, sizeof(real)) and (
        channels >= FEW_ADJACENT or array.half != NULL or array.pair)
    if channels > 1 and array.shape[2] <= SHORT_ROW and not (adjacent or array.pair):
        copy_spans[real](array, n, channel, array.strides + 1, channels, first, step, count, rows,
                         pitch)
        return
    if not adjacent:
        for c in range(channels):
            copy_row[real](array, n, channel + c, first, step, count, rows + c * pitch)
        return
    span = span_of(array, first, step, count)
    for c in range(channels):
        if span.left > 0:
            copy_border[real](array, n, channel + c, first, step, span.left, rows + c * pitch)
        if span.right > 0:
            copy_border[real](array, n, channel + c, first + (count - span.right) * step, step,
                              span.right, rows + (c * pitch + count - span.right))
    for i from span.left <= i < count - span.right by ADJACENT_SAMPLES:
        for c from 0 <= c < channels by ADJACENT_CHANNELS:
            transpose_samples[real](
                array, at(array, n, channel + c, first + i * step), array.strides[2] * step,
                min(ADJACENT_CHANNELS, channels - c),
                min(ADJACENT_SAMPLES, count - span.right - i), rows + (c * pitch + i), pitch)


cdef void transpose_samples(
    const View *array, const char *sample, Py_ssize_t stride, Py_ssize_t channels,
    Py_ssize_t count, real *rows, Py_ssize_t pitch
) noexcept nogil:
    """rows[c·pitch + i] of adjacent channels: a few samples of each become one store.

    Channel by channel, every line of the array would be fetched once for each of its numbers.
    """
    cdef real[4][ADJACENT_CHANNELS] widened
    cdef const real *samples[4]
    cdef Py_ssize_t i, c, some, s
    cdef real *to
    if array.half == NULL and stride % <Py_ssize_t> sizeof(real) == 0:
        swap_axes[real](<const real *> sample, stride // <Py_ssize_t> sizeof(real), count, channels,
                        rows, pitch)
        return
    for i from 0 <= i < count by 4:
        some = min(4, count - i)
        for s in range(some):
            samples[s] = <const real *> sample
            if array.half != NULL:
                load_row[real](array, sample, sizeof(uint16_t), channels, widened[s])
                samples[s] = widened[s]
            sample += stride
        to = rows + i
        if some == 4:
            for c in range(channels):
                to[0] = samples[0][c]
                to[1] = samples[1][c]
                to[2] = samples[2][c]
                to[3] = samples[3][c]
                to += pitch
        else:
            for c in range(channels):
                for s in range(some):
                    to[s] = samples[s][c]
                to += pitch


cdef void copy_samples(
    const View *array, Py_ssize_t n, Py_ssize_t channel, Py_ssize_t channels, Py_ssize_t sample,
    Py_ssize_t step, Py_ssize_t count, real *to, Py_ssize_t width
) noexcept nogil:
    """to[p][l] = array[n, channel + l, sample + p·step] for some channels, else 0 up to `width`."""
    cdef Py_ssize_t length = array.shape[2], size = channels * sizeof(real), p, place
    cdef Py_ssize_t stored = channels * sizeof(uint16_t) if array.half != NULL else size
    cdef const char *first = at(array, n, channel, 0)
    cdef const char *row
    cdef real[COPIED_AT_ONCE] zeros
    memset(zeros, 0, sizeof(zeros))
    for p in range(count):
        place = sample + p * step
        row = NULL
        if place < 0 and array.mode == CONTINUES:
            if place >= -array.before.shape[2]:
                row = at(array.before, n, channel, place + array.before.shape[2])
        else:
            if not 0 <= place < length:
                place = source(array.mode, place, length)
            if 0 <= place < length:
                row = first + place * array.strides[2]
        if row == NULL:
            memset(to, 0, width * sizeof(real))
        else:
            # the channels behind these come next, up to the last of as many
            cc_prefetch(row + stored + 63, stored)
            if array.half != NULL:
                load_row[real](array, row, sizeof(uint16_t), channels, to)
            elif size % COPY_BYTES:
                copy_numbers[real](to, <const real *> row, channels)
            else:
                copy_short(to, row, size)
            if width - channels <= COPIED_AT_ONCE:
                copy_numbers[real](to + channels, zeros, width - channels)
            else:
                memset(to + channels, 0, (width - channels) * sizeof(real))
        to += width


cdef void pack_panel(
    const View *array, Py_ssize_t n, Py_ssize_t signals, Py_ssize_t signal_pitch,
    Py_ssize_t first_channel, const Terms *terms, Py_ssize_t first_term, Py_ssize_t last_term,
    Py_ssize_t position, Py_ssize_t width, real *panel, int32_t *offset
) noexcept nogil:
    """The samples that some terms need at `width` positions, and where each term's begin.

    They are those of one signal or of several, each `signal_pitch` positions from the one before.
    """
    cdef const Geometry *g = terms.g
    cdef Py_ssize_t channel = first_term // terms.per_channel
    cdef Py_ssize_t begin = first_term - channel * terms.per_channel  # the next of the channel's
    cdef Py_ssize_t t = first_term, used = 0, end, before, first, residue, u, last_u
    cdef bint together = share_row(terms) and (
        has_adjacent_channels(array, sizeof(real)) or array.shape[2] <= SHORT_ROW)
    cdef Py_ssize_t pitch = channel_size(terms, width) if together else 0
    cdef Py_ssize_t channels  # whole ones whose rows are copied at once, or one, or a part of it
    while t < last_term:
        end = min(terms.per_channel, begin + last_term - t)
        channels = 1
        if together and begin == 0:
            channels = max(1, (last_term - t) // terms.per_channel)
        before = 0  # terms of the residues before
        for residue in range(terms.first_residue, terms.last_residue):
            if terms.by_residue:
                u = max(begin - before, 0)
                last_u = min(end - before, residue_taps(g, residue))
                before += residue_taps(g, residue)
            else:
                u, last_u = taps_before(g, residue, begin), taps_before(g, residue, end)
            if u < last_u:
                first = t - begin + (before - residue_taps(g, residue) + u if terms.by_residue
                                     else residue + u * g.period)
                used = pack_taps[real](
                    array, n, signals, signal_pitch, first_channel + channel, channels, pitch,
                    terms, residue, u, last_u, position, width, panel, used, first,
                    offset + (first - first_term))
        t += end - begin + (channels - 1) * terms.per_channel
        used += (channels - 1) * pitch
        begin = 0
        channel += channels


cdef inline Py_ssize_t taps_before(
    const Geometry *g, Py_ssize_t residue, Py_ssize_t tap
) noexcept nogil:
    """How many taps of a residue come before a tap."""
    return (tap - residue + g.period - 1) // g.period if tap > residue else 0


cdef Py_ssize_t pack_taps(
    const View *array, Py_ssize_t n, Py_ssize_t signals, Py_ssize_t signal_pitch,
    Py_ssize_t channel, Py_ssize_t channels, Py_ssize_t pitch, const Terms *terms,
    Py_ssize_t residue, Py_ssize_t tap, Py_ssize_t last_tap, Py_ssize_t position,
    Py_ssize_t width, real *panel, Py_ssize_t used, Py_ssize_t t, int32_t *offset
) noexcept nogil:
    """Some taps of a residue, whose first is the term `t`, behind what is used of the panel.

    The rows of several channels are `pitch` numbers from each other. `offset` has a place for each
    term from `t` on. Return how much of the panel is used then.
    """
    cdef const Geometry *g = terms.g
    cdef Py_ssize_t ahead = terms.direction * g.step, taps = last_tap - tap
    cdef Py_ssize_t first = position + terms.direction * residue_shift(g, residue) + tap * ahead
    cdef Py_ssize_t phase = residue_phase(g, residue) if terms.direction > 0 else 0
    cdef Py_ssize_t t_step = 1 if terms.by_residue else g.period, u, at_u, length, i, c, term
    cdef bint adjacent = channels > 1 and has_adjacent_channels(array, sizeof(real))
    cdef real *shared
    if share_row(terms):
        # one row holds the samples of all taps
        length = width + (taps - 1) * g.step
        if ahead < 0:
            first += (taps - 1) * ahead
        # up to the next signal or the end, as idle lanes read what lies between
        first = first * terms.in_step + phase
        i = signals - 1
        for c in range(i if adjacent else 0):
            copy_rows[real](array, n + c, channel, channels, first, terms.in_step, signal_pitch,
                            panel + (used + c * signal_pitch), pitch)
        for c in range(0 if adjacent or i == 0 else channels):
            copy_spans[real](array, n, channel + c, array.strides, i, first, terms.in_step,
                             signal_pitch, panel + (used + c * pitch), signal_pitch)
        copy_rows[real](array, n + i, channel, channels, first, terms.in_step,
                        length - i * signal_pitch, panel + (used + i * signal_pitch), pitch)
        for c in range(channels):
            for u in range(taps):
                term = c * terms.per_channel + u * t_step
                at_u = tap_at(terms, t + term, tap + u) - tap
                offset[term] = <int32_t> (
                    used + c * pitch + (at_u if ahead > 0 else taps - 1 - at_u) * g.step)
        return used + row_size(length)
    if signals > 1:
        # what taps share comes once from the array, behind their rows
        length = signal_pitch + (taps - 1) * g.step
        if ahead < 0:
            first += (taps - 1) * ahead
        shared = panel + (used + taps * row_size(width) + COPIED_AT_ONCE)
        copy_spans[real](array, n, channel, array.strides, signals, first * terms.in_step + phase,
                         terms.in_step, length, shared, length)
        for u in range(taps):
            at_u = u if ahead > 0 else taps - 1 - u
            copy_runs[real](panel + used, shared + at_u * g.step, length, signal_pitch, signals)
            i = signals * signal_pitch
            if i < width:
                memset(panel + (used + i), 0, (width - i) * sizeof(real))
            offset[u * t_step] = <int32_t> used
            used += row_size(width)
        return used
    for u in range(taps):
        copy_row[real](array, n, channel, (first + u * ahead) * terms.in_step + phase,
                       terms.in_step, width, panel + used)
        offset[u * t_step] = <int32_t> used
        used += row_size(width)
    return used


cdef inline Py_ssize_t lowest_sample(const Terms *terms) noexcept nogil:
    """The first sample that position 0 reads, if there is one residue and in_step is 1."""
    cdef Py_ssize_t shift = residue_shift(terms.g, terms.first_residue)
    if terms.direction > 0:
        return shift
    return -shift - (terms.per_channel - 1) * terms.g.step


cdef void point_at_terms(
    const Terms *terms, Py_ssize_t row_pitch, int32_t *offset
) noexcept nogil:
    """Where each term's samples begin in the array, from the first that a position reads."""
    cdef Py_ssize_t channel, first, tap, t = 0
    for channel in range(terms.channels):
        for first in range(terms.per_channel):
            tap = tap_at(terms, t, first)
            if terms.direction < 0:
                tap = terms.per_channel - 1 - tap
            offset[t] = <int32_t> (channel * row_pitch + tap * terms.g.step)
            t += 1
