# The phases of a sum, their rows and terms: what correlate and channels_last have in common.
#
#     out[m·step + first_result, row] = Σ over the terms t of the phase  w[t, row] · in(t, m)
#
# Takes  the shape of the weights, and the Geometry.
# Gives  Sum: the order in which weights are packed and terms are summed; Phase: the results of
#        forward, or of one residue of backward_input, or of several that are merged; Rows: how the
#        rows of a phase are shared out among tiles.

cdef struct Rows:
    # The output channels of a group, once for each residue of a merged phase. They are shared out
    # evenly among tiles, because a last tile with few rows would be slow; or, if they are the lanes
    # of a tile, each block has all lanes, some of them idle in the last one.
    Py_ssize_t count, blocks
    Py_ssize_t width  # a number of positions that is whole tiles of every block
    Py_ssize_t half   # the same, of the tiles that take the last positions
    Py_ssize_t lanes  # of a block, or 0 if rows are shared out evenly


cdef inline Py_ssize_t common_multiple(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    """The least one; few steps, as widths of tiles are a few times one another at most."""
    cdef Py_ssize_t multiple = a
    while multiple % b:
        multiple += a
    return multiple


cdef Rows share_rows(const cc_tiles *tiles, Py_ssize_t count) noexcept nogil:
    cdef Rows rows
    rows.count, rows.lanes = count, 0
    rows.blocks = (count + tiles.correlate_rows - 1) // tiles.correlate_rows
    cdef Py_ssize_t fewest = count // rows.blocks
    rows.width, rows.half = tiles.correlate_width[fewest], tiles.correlate_half_width[fewest]
    if fewest * rows.blocks < count:  # some blocks have one more
        rows.width = common_multiple(rows.width, tiles.correlate_width[fewest + 1])
        rows.half = common_multiple(rows.half, tiles.correlate_half_width[fewest + 1])
    return rows


cdef inline Py_ssize_t first_row(const Rows *rows, Py_ssize_t block) noexcept nogil:
    return block * rows.count // rows.blocks


cdef inline Py_ssize_t packed_rows(const Rows *rows, Py_ssize_t block) noexcept nogil:
    """The rows before a block in packed weights, with those that are filled up."""
    return block * rows.lanes if rows.lanes else first_row(rows, block)


cdef struct Sum:
    # Which terms are summed for which results, and in which order. Packed weights lie in that
    # order, so nothing here but `length` follows from a length or from the padding.
    const cc_tiles *tiles
    const Geometry *g
    bint transposed
    Py_ssize_t groups
    Py_ssize_t channels      # of a group, in the array
    Py_ssize_t outs          # channels of a group, in the results
    Py_ssize_t terms         # of a group: the taps of all its channels
    Py_ssize_t size          # numbers in the packed weights
    Py_ssize_t length        # of a row of results
    Py_ssize_t step          # from one result of a phase to the next
    Py_ssize_t packed_outs   # rows of a term in the packed weights, with idle lanes
    bint merged              # residues with equally many taps are one phase, each with its rows
    bint depthwise           # groups of one channel have become the rows of a single group
    Py_ssize_t phases
    Rows[2] rows             # of a phase: [0] of all of them, or one of each merged one
    Py_ssize_t width, half   # numbers of positions that are whole tiles of all rows: see Rows
    Py_ssize_t most_rows     # of any phase
    bint ordered             # the terms have an order of their own: see order_taps
    const int32_t *order     # [phase][term] tap of its residue, or NULL: as they come
    bint apart               # signals that are joined leave no room for taps to share: see Terms


cdef struct Phase:
    # Results of one residue, or of several if they are merged, and the terms that they sum.
    Py_ssize_t residue, end                   # its residues
    Py_ssize_t first_result                   # of the first of them
    Py_ssize_t first_position, last_position  # counted by the first residue, for all of them
    Py_ssize_t first_term                     # terms in the phases before this one
    const Rows *rows
    Terms terms


cdef inline Py_ssize_t first_result(const Sum *sum, Py_ssize_t residue) noexcept nogil:
    return residue_phase(sum.g, residue) if sum.transposed else 0


cdef inline Py_ssize_t results_of(const Sum *sum, Py_ssize_t residue) noexcept nogil:
    """How many results a residue writes in a row."""
    if sum.step == 1:
        return sum.length
    return (sum.length - first_result(sum, residue) + sum.step - 1) // sum.step


cdef inline Py_ssize_t ahead_of(
    const Sum *sum, Py_ssize_t residue, Py_ssize_t first_residue
) noexcept nogil:
    """How many positions a residue of a merged phase is ahead of the phase's first one."""
    return residue_shift(sum.g, residue) - residue_shift(sum.g, first_residue)


cdef Phase phase_of(const Sum *sum, Py_ssize_t number) noexcept nogil:
    cdef const Geometry *g = sum.g
    cdef Py_ssize_t residue, ahead
    cdef Phase phase
    phase.residue, phase.end = number, number + 1
    if sum.merged:  # residues with a tap more than the others come first
        phase.residue = g.taps % g.period if number else 0
        phase.end = g.residues if number == sum.phases - 1 else g.taps % g.period
    phase.rows = &sum.rows[number if sum.merged else 0]
    phase.first_result = first_result(sum, phase.residue)
    phase.first_position, phase.last_position = 0, results_of(sum, phase.residue)
    for residue in range(phase.residue + 1, phase.end):
        ahead = ahead_of(sum, residue, phase.residue)
        phase.first_position = min(phase.first_position, -ahead)
        phase.last_position = max(phase.last_position, results_of(sum, residue) - ahead)
    phase.first_term = 0
    if phase.residue > 0:
        phase.first_term = sum.channels * (g.taps // g.period * phase.residue
                                           + min(g.taps % g.period, phase.residue))
    if sum.transposed:
        phase.terms = terms_of_output(g, sum.channels, phase.residue)
    else:
        phase.terms = terms_of_input(g, sum.channels, sum.ordered)
    phase.terms.apart = sum.apart
    if sum.order != NULL:
        phase.terms.order = sum.order + phase.first_term
    return phase


cdef void plan_sum(
    Sum *sum, const cc_tiles *tiles, const View *w, const Geometry *g, Py_ssize_t groups,
    bint transposed
) noexcept nogil:
    """Plan a sum by panels: see Sum. The caller adds `length`, if there is one."""
    cdef Py_ssize_t number, row
    cdef Phase phase
    sum.tiles, sum.g, sum.groups, sum.transposed = tiles, g, groups, transposed
    sum.length = 0
    sum.apart, sum.order = False, NULL
    if transposed:
        sum.channels, sum.outs = w.shape[0] // groups, w.shape[1]
    else:
        sum.channels, sum.outs = w.shape[1], w.shape[0] // groups
    sum.packed_outs, sum.depthwise = sum.outs, False
    sum.step = g.stride if transposed else 1
    sum.phases = g.residues if transposed else 1
    # Phases that have few rows and share what they read are taken together: a tile with one row
    # loads a vector for each multiply-add, and a panel for a tap or two is not worth its packing.
    # With few terms in all, results that wait in scratch cost more than that.
    number = 2 if g.taps > g.period and g.taps % g.period else 1
    sum.merged = (sum.phases > number and sum.outs <= MERGED_ROWS
                  and sum.channels * g.taps > CC_ROW_TERMS_MAX)
    if sum.merged:
        sum.phases = number
    sum.ordered = sum.outs == 1 and not sum.merged and CC_SHIFT % g.step == 0
    sum.most_rows = 0
    for number in range(sum.phases if sum.merged else 1):
        phase = phase_of(sum, number)
        row = sum.outs * (phase.end - phase.residue)
        sum.rows[number] = share_rows(tiles, row)
        sum.most_rows = max(sum.most_rows, row)
        if number == 0:
            sum.width, sum.half = sum.rows[0].width, sum.rows[0].half
        else:
            sum.width = common_multiple(sum.width, sum.rows[number].width)
            sum.half = common_multiple(sum.half, sum.rows[number].half)
    sum.terms = sum.channels * g.taps
    sum.size = groups * sum.outs * sum.terms


cdef void lay_along_lanes(Sum *sum) noexcept nogil:
    """Turn a planned sum into one of channels-last tiles: the same terms, in the same order.

    Depthwise layers with few channels go on tiles with fewer lanes.
    """
    cdef Rows *rows = &sum.rows[0]
    sum.merged, sum.phases = False, sum.g.residues if sum.transposed else 1
    sum.depthwise = sum.channels == sum.outs == 1
    if sum.depthwise:
        sum.groups, sum.outs = 1, sum.groups
        if sum.tiles.narrower != NULL and 2 * sum.outs <= sum.tiles.gemm_lanes:
            sum.tiles = sum.tiles.narrower
    rows.count, rows.lanes = sum.outs, sum.tiles.gemm_lanes
    rows.blocks = (sum.outs + rows.lanes - 1) // rows.lanes
    sum.packed_outs = rows.blocks * rows.lanes
    sum.size = sum.groups * sum.packed_outs * sum.terms


cdef inline bint has_narrow_rest(const Sum *sum) noexcept nogil:
    """Whether the last block of lanes is taken by a tile with half of them."""
    return not sum.depthwise and (sum.packed_outs - sum.outs) * 2 >= sum.rows[0].lanes


cdef inline bint suits_depthwise(const Sum *sum) noexcept nogil:
    """Whether a sum by panels is one that depthwise.pxi computes, if there are few positions."""
    return sum.channels == sum.outs == 1 and sum.groups >= MIN_DEPTHWISE_CHANNELS


cdef bint has_lanes(const Sum *sum, bint halves) noexcept nogil:
    """Whether channels-last tiles can compute a sum that is laid along lanes.

    They leave out phases that meet no tap, whose results are the bias. Half precision is stored
    when it is summed, so it must be one block of terms; and only depthwise layers gain by it, whose
    samples would be gathered channel by channel otherwise. Taps that have an order of their own
    have another one in a channel that two blocks of terms share, which these tiles do not know.
    """
    if sum.ordered and sum.channels > 1:
        return False
    if halves and not (sum.depthwise and sum.g.taps <= CC_BLOCK):
        return False
    return sum.terms > 0 and not (sum.transposed and sum.g.residues < sum.g.stride)


cdef bint fills_lanes(const Sum *sum, bint halves) noexcept nogil:
    """Whether they do with at most a quarter of their lanes idle."""
    cdef Py_ssize_t lanes = sum.packed_outs
    if has_narrow_rest(sum):
        lanes -= sum.rows[0].lanes // 2
    return has_lanes(sum, halves) and sum.outs * 4 >= lanes * 3


cdef inline Py_ssize_t in_tiles(const Sum *sum, Py_ssize_t positions) noexcept nogil:
    """The positions of a panel, by the time of whole tiles: see HALF_TILE."""
    cdef Py_ssize_t rest = positions % sum.width
    if 0 < rest <= sum.half:
        return positions - rest + ceiling(HALF_TILE * sum.width, 8)
    return rounded(positions, sum.width)


cdef inline Py_ssize_t tiled_positions(
    const Sum *sum, Py_ssize_t signals, Py_ssize_t positions
) noexcept nogil:
    """The positions that panels compute: of each signal, or of joined ones."""
    cdef Py_ssize_t halo = (residue_taps(sum.g, 0) - 1) * sum.g.step
    return min(signals * in_tiles(sum, positions), in_tiles(sum, signals * (positions + halo)))


cdef bint gains_along_lanes(const Sum *sum, bint halves, double waste) noexcept nogil:
    """Whether channels-last tiles are faster than panels for arrays that have their channels last.

    Panels transpose samples and results; their lanes are idle behind the last positions, `waste`
    times as many as these, but not between channels. What both take for a position of a group is
    counted in products: see LANES_*.
    """
    cdef Py_ssize_t lanes = sum.rows[0].lanes, rest = sum.outs % lanes
    cdef Py_ssize_t step = 1 if sum.transposed else sum.g.stride
    cdef Py_ssize_t terms = sum.channels * residue_taps(sum.g, 0) if sum.transposed else sum.terms
    cdef double along, panels
    if halves or not has_lanes(sum, halves):
        return fills_lanes(sum, halves)
    if sum.depthwise:
        return 2 * sum.outs >= lanes and gains_depthwise(
            sum.outs, lanes, terms, step, DEPTHWISE_LANES, DEPTHWISE_PART_LANES)
    along = terms * <double> (sum.outs - rest)
    if has_narrow_rest(sum):
        along += terms * (lanes * (LANES_NARROW / 20.))
    elif rest:
        along += terms * <double> lanes
    if rest and (2 * sum.outs < lanes or terms > CC_BLOCK):
        along += LANES_STAGE * ceiling(terms, CC_BLOCK)
    panels = waste * terms * sum.outs + LANES_COPY * (sum.channels * <double> step + sum.outs)
    return along <= panels


cdef inline bint gains_depthwise(
    Py_ssize_t channels, Py_ssize_t lanes, Py_ssize_t taps, Py_ssize_t step, Py_ssize_t whole,
    Py_ssize_t part
) noexcept nogil:
    """The same in a depthwise layer: see DEPTHWISE_LANES."""
    cdef double along = rounded(channels, lanes) * <double> taps
    along *= (part if channels < lanes else whole) / 10.
    return along <= channels * (taps + DEPTHWISE_COPY * lanes * (1 + step) / 2.)


cdef void order_terms(Sum *sum, int32_t *order) noexcept nogil:
    """The order of the terms of all phases, where a tile has a single row."""
    cdef Py_ssize_t number
    cdef Phase phase
    for number in range(sum.phases):
        phase = phase_of(sum, number)
        order_taps(&phase.terms, order + phase.first_term)
    sum.order = order


cdef inline Py_ssize_t weights_before(
    const Sum *sum, Py_ssize_t group, const Phase *phase
) noexcept nogil:
    """How many weights are packed before those of a group's phase."""
    return sum.packed_outs * (group * sum.terms + phase.first_term)
