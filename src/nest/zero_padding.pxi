# A tap that meets zero padding is no term of a sum, so a number that is not finite reaches nothing
# there:
#
#     0 · NaN = NaN  and  0 · Inf = NaN  must not be added.
#
# Panels hold zeros beyond the ends of an array, which change nothing while all that they are
# multiplied by is finite. So results are computed as if it were. Those that zeros may have spoiled
# are at the ends of a signal, and NaN.
#
# Takes  the operands and results of forward and backward_input; the operands of backward_weight.
# Gives  recompute_spoiled: results that are NaN, again, from the terms that there are;
#        holds_spoilers, take_spoilers and add_spoilers: what is not finite at the ends of dy, whose
#        terms are added to the gradients of all the rest.

# Numbers at the ends of a row of dy that are summed at a time.
cdef enum: ENDS_AT_ONCE = 64
# Numbers between the ends of a row that are summed sooner than left out.
cdef enum: SHORT_ROWS = 256


cdef struct Ends:
    # The positions whose taps may meet padding: those before `first`, and from `last` on.
    Py_ssize_t first, last


cdef Ends ends_of(
    Py_ssize_t lowest, Py_ssize_t highest, Py_ssize_t in_step, Py_ssize_t length,
    Py_ssize_t positions
) noexcept nogil:
    """Position p reads from sample p·in_step + lowest to p·in_step + highest, of `length`."""
    cdef Ends ends
    cdef Py_ssize_t inside = length - 1 - highest
    ends.first = min(positions, (in_step - 1 - lowest) // in_step) if lowest < 0 else 0
    ends.last = max(ends.first, inside // in_step + 1 if inside >= 0 else 0)
    ends.last = min(ends.last, positions)
    return ends


cdef inline Ends ends_of_outputs(
    const Geometry *g, Py_ssize_t length, Py_ssize_t positions
) noexcept nogil:
    return ends_of(-g.pad_left, (g.taps - 1) * g.dilation - g.pad_left, g.stride, length, positions)


# --- forward and backward_input ----------------------------------------------------------------

cdef inline real multiply_add(const cc_tiles *tiles, real a, real b, real c) noexcept nogil:
    """As the tiles do."""
    cdef real product
    if not tiles.fused:
        product = a * b
        return product + c
    if real is float:
        return fmaf(a, b, c)
    else:
        return fma(a, b, c)


cdef real sum_samples(
    const Sum *sum, const Terms *terms, const View *array, const View *w, Py_ssize_t n,
    Py_ssize_t group, Py_ssize_t row, Py_ssize_t position, real kind
) noexcept nogil:
    """One sum in the order of the tiles, of the terms that meet a sample."""
    cdef const Geometry *g = sum.g
    cdef Py_ssize_t residues = terms.last_residue if terms.by_residue else terms.first_residue + 1
    cdef Py_ssize_t t = 0, channel, residue, u, taps, tap, sample, array_channel
    cdef real chain = 0, total = 0, weight, x
    for channel in range(terms.channels):
        array_channel = row if sum.depthwise else group * terms.channels + channel
        for residue in range(terms.first_residue, residues):
            taps = residue_taps(g, residue) if terms.by_residue else terms.per_channel
            for u in range(taps):
                if t % CC_BLOCK == 0:
                    total, chain = total + chain, 0
                tap = residue + tap_at(terms, t, u) * (g.period if terms.by_residue else 1)
                if terms.direction > 0:
                    sample = position * g.stride + tap * g.dilation - g.pad_left
                else:
                    sample = position - residue_shift(g, residue) - tap_at(terms, t, u) * g.step
                t += 1
                if not 0 <= sample < array.shape[2]:
                    continue
                load_row[real](w, weight_of(sum, w, group, row, channel, tap), 0, 1, &weight)
                if negated(w, channel, row) if sum.transposed else negated(w, row, channel):
                    weight = -weight
                load_row[real](array, at(array, n, array_channel, sample), 0, 1, &x)
                chain = multiply_add[real](sum.tiles, weight, x, chain)
    return total + chain


cdef bint all_finite(const View *w, real kind) noexcept nogil:
    cdef Py_ssize_t i, j, tap
    cdef real weight
    for i in range(w.shape[0]):
        for j in range(w.shape[1]):
            for tap in range(w.shape[2]):
                load_row[real](w, weight_at(w, i, j, tap), 0, 1, &weight)
                if not isfinite(weight):
                    return False
    return True


cdef void recompute_spoiled(
    const Sum *sum, const View *array, const View *w, const View *bias, const View *out, real kind
) noexcept nogil:
    """The results that a weight which is not finite may have spoiled, which are NaN.

    `sum` has the order of its terms still, if they have one.
    """
    cdef const Geometry *g = sum.g
    cdef Py_ssize_t residue, n, row, p, shift, outs = sum.groups * sum.outs
    cdef bint spoiled = False  # a weight is not finite, so a NaN may be due to a zero
    cdef real value, number
    cdef char *result
    cdef Ends ends
    cdef Terms terms
    if array.mode != CCONV1D_ZEROS or sum.terms == 0:
        return
    for residue in range(g.residues if sum.transposed else 1):
        if sum.transposed:
            terms, shift = terms_of_output(g, sum.channels, residue), residue_shift(g, residue)
            ends = ends_of(-shift - (terms.per_channel - 1) * g.step, -shift, 1, array.shape[2],
                           results_of(sum, residue))
        else:
            terms = terms_of_input(g, sum.channels, sum.ordered)
            ends = ends_of_outputs(g, array.shape[2], out.shape[2])
        if sum.order != NULL:
            terms.order = sum.order + phase_of(sum, residue).first_term
        for n in range(out.shape[0]):
            for row in range(outs):
                p = 0
                while True:
                    if p == ends.first:
                        p = ends.last
                    if p >= results_of(sum, residue):
                        break
                    result = at(out, n, row, first_result(sum, residue) + p * sum.step)
                    load_row[real](out, result, 0, 1, &value)
                    if value != value:
                        if not spoiled:
                            if all_finite[real](w, 0) or cc_pool_cancelled(0):
                                return
                            spoiled = True
                        value = sum_samples[real](sum, &terms, array, w, n, row // sum.outs,
                                                  row % sum.outs, p, 0)
                        if bias.data != NULL:
                            load_row[real](bias, line_at(bias, row), 0, 1, &number)
                            value += number
                        store_row[real](out, result, 0, 1, &value)
                    p += 1


# --- backward_weight ---------------------------------------------------------------------------

cdef bint holds_spoilers(
    const cc_tiles *tiles, const View *dy, Ends ends, real kind
) noexcept nogil:
    """Whether dy may hold what is not finite at its ends: its sum there is not, or overflows.

    Samples whose rows are short are summed whole, if they are contiguous: what is not finite
    between the ends is then taken for a spoiler, which costs time and nothing else. Channels that
    lie side by side are summed along them.
    """
    cdef real[ENDS_AT_ONCE] row
    cdef Py_ssize_t n, channel, p, count, item = dy.strides[2] >> dy.pair
    cdef Py_ssize_t whole = dy.shape[1] * dy.shape[2]
    cdef real total = 0
    if (dy.half == NULL and item == sizeof(real) and dy.strides[1] == dy.shape[2] * dy.strides[2]
            and dy.shape[2] <= SHORT_ROWS + ends.first + dy.shape[2] - ends.last):
        for n in range(dy.shape[0]):
            tiles.sum_row(at(dy, n, 0, 0), whole, &total)
        return not isfinite(total)
    if dy.half == NULL and not dy.pair and dy.strides[1] == sizeof(real):
        for n in range(dy.shape[0]):
            for p in range(dy.shape[2]):
                if not ends.first <= p < ends.last:
                    tiles.sum_row(at(dy, n, 0, p), dy.shape[1], &total)
        return not isfinite(total)
    for n in range(dy.shape[0]):
        for channel in range(dy.shape[1]):
            p = 0
            while p < dy.shape[2]:
                if p == ends.first:
                    p = ends.last
                count = min(ENDS_AT_ONCE, (ends.first if p < ends.first else dy.shape[2]) - p)
                if count > 0:
                    load_row[real](dy, at(dy, n, channel, p), dy.strides[2], count, row)
                    tiles.sum_row(row, count, &total)
                p += count
    return not isfinite(total)


cdef void take_spoilers(const View *dy, Ends ends, const View *finite, real kind) noexcept nogil:
    """finite = dy, with zeros for what is not finite at the ends."""
    cdef Py_ssize_t n, row, p
    cdef real *numbers
    for n in range(dy.shape[0]):
        for row in range(dy.shape[1]):
            numbers = <real *> at(finite, n, row, 0)
            load_row[real](dy, at(dy, n, row, 0), dy.strides[2], dy.shape[2], numbers)
            for p in range(dy.shape[2]):
                if not (ends.first <= p < ends.last or isfinite(numbers[p])):
                    numbers[p] = 0


cdef void add_spoilers(
    const View *dy, Ends ends, const View *x, const View *dw, const Geometry *g,
    Py_ssize_t groups, real kind
) noexcept nogil:
    """dw += the terms of what take_spoilers has left out.

    Sums with one of them are not finite in whichever order, so that this takes no part in it.
    """
    cdef Py_ssize_t n, row, p, tap, sample, channel, rows = dy.shape[1] // groups
    cdef real spoiler, number, gradient
    cdef char *result
    for n in range(dy.shape[0]):
        for row in range(dy.shape[1]):
            for p in range(dy.shape[2]):
                load_row[real](dy, at(dy, n, row, p), 0, 1, &spoiler)
                if ends.first <= p < ends.last or isfinite(spoiler):
                    continue
                for tap in range(g.taps):
                    sample = p * g.stride + tap * g.dilation - g.pad_left
                    if not 0 <= sample < x.shape[2]:
                        continue
                    for channel in range(dw.shape[1]):
                        load_row[real](x, at(x, n, row // rows * dw.shape[1] + channel, sample),
                                       0, 1, &number)
                        if negated(dw, row, channel):
                            number = -number
                        result = weight_at(dw, row, channel, tap)
                        load_row[real](dw, result, 0, 1, &gradient)
                        gradient += spoiler * number
                        store_row[real](dw, result, 0, 1, &gradient)
