# Which nest computes: forward and backward_input (sum_terms), backward_weight (sum_positions); and
# zeros that are no terms: see zero_padding.pxi.

cdef bint are_few(const View *x, const View *y, Py_ssize_t outputs) noexcept nogil:
    """Whether depthwise nests compute signals of such lengths, up to so many outputs."""
    return not x.pair and y.shape[2] <= outputs and x.shape[2] <= MAX_DEPTHWISE_SAMPLES


cdef double panel_cost(const Sum *sum, Py_ssize_t signals, Py_ssize_t outputs) noexcept nogil:
    """What panels take, in products for each channel of samples and of results: as living_cost."""
    cdef const Geometry *g = sum.g
    cdef double copied = g.residues * (COPIED_ROW + outputs) + g.taps * g.step
    return g.taps * <double> tiled_positions(sum, signals, outputs) + signals * copied / sum.outs


cdef Py_ssize_t few_outs_positions(const Sum *sum, const View *out) noexcept nogil:
    """The positions up to which few_positions.pxi is faster, if most of its lanes have no channel.

    They are idle in panels as well, of which a signal fills a part. These copy samples once for
    each residue of the taps, number by number, where there is a stride.
    """
    if sum.g.residues >= FEW_OUTS_RESIDUES and 3 * sum.g.taps >= sum.g.stride:
        if out.shape[2] <= FEW_OUTS_SIGNAL:
            return 8 * FEW_POSITIONS
        return 4 * FEW_POSITIONS if sum.g.residues > FEW_OUTS_RESIDUES + 1 else FEW_POSITIONS // 2
    if sum.g.taps >= FEW_OUTS_TAPS and out.shape[2] < sum.width:
        return 2 * FEW_POSITIONS
    return FEW_OUTS_POSITIONS


cdef bint has_few_positions(
    const Sum *sum, const View *w, const View *out, Py_ssize_t size
) noexcept nogil:
    """Whether forward is for few_positions.pxi: the weights weigh more than the signals.

    Panels catch up later
        where signals are shorter than their tiles;
        where samples overlap from one position to the next at a stride, which panels copy for each;
    and sooner
        where lanes of the tiles here have no channel;
        where sums are short, because results are stored a few positions at a time;
        in double, which takes twice as long to multiply, but not to pack.
    If weights have been packed, panels are as good but where tiles of theirs would be beyond the
    ends, and more of them than lanes here have no channel. Complex weights have to lie in long
    rows, or to load them takes too long.
    """
    cdef Py_ssize_t positions = out.shape[0] * out.shape[2], lanes = sum.tiles.gemm_lanes
    cdef Py_ssize_t limit = few_positions
    cdef bint overlapped = sum.g.taps > sum.g.stride > 1
    cdef bint short_signals = out.shape[0] > 1 and out.shape[2] < sum.width
    if sum.transposed or sum.ordered:
        return False
    if limit != FEW_POSITIONS:  # the tests decide
        return positions <= limit
    if sum.outs < FEW_POSITIONS_OUTS:
        return not w.pair and positions <= few_outs_positions(sum, out)
    if sum.tiles.narrower != NULL and sum.outs <= sum.tiles.narrower.gemm_lanes:
        lanes = sum.tiles.narrower.gemm_lanes
    lanes = rounded(sum.outs, lanes)
    limit = limit * sum.outs // lanes * sum.outs // lanes
    if sum.g.taps == 1 or sum.terms < FEW_POSITIONS_TERMS and not short_signals:
        limit //= 2
    if short_signals or (overlapped and sum.terms >= FEW_POSITIONS_TERMS
                         and packed_for(w, sum) == NULL):
        limit *= 2
    if size == sizeof(double) or w.pair:
        limit //= 2
    if positions > limit or w.pair and sum.g.taps < FEW_POSITIONS_COMPLEX_TAPS:
        return False
    return (overlapped or sum.terms * sum.outs <= FEW_POSITIONS_WEIGHTS
            or packed_for(w, sum) == NULL
            or 20 * positions * lanes < 19 * sum.outs * tiled_positions(
                sum, out.shape[0], out.shape[2]))


cdef bint has_few_input_positions(
    const Sum *sum, const View *dy, const View *w, const View *dx
) noexcept nogil:
    """Whether backward_input has few positions for its weights, so that few_positions_input is the
    faster one. See few_input_gain for what was measured.

    Weights that were packed before go by panels, which takes .3 to .9 of the time then, unless most
    of their taps meet nothing.
    """
    cdef const Geometry *g = sum.g
    cdef Py_ssize_t taps = residue_taps(g, 0), length = dy.shape[2], signals = dy.shape[0]
    cdef Py_ssize_t results = ceiling(dx.shape[2], g.stride), lanes = sum.tiles.gemm_lanes
    cdef double share, idle, waste
    if not sum.transposed or sum.ordered or few_input_gain == 0:
        return False
    if packed_for(w, sum) != NULL and few_input_gain == FEW_INPUT_GAIN and (
            sum.channels * taps < 32 or 3 * length > 2 * (taps - 1) * g.step):
        return False
    if sum.tiles.narrower != NULL and sum.outs <= sum.tiles.narrower.gemm_lanes:
        lanes = sum.tiles.narrower.gemm_lanes
    # of the products of panels, the share that is left; of lanes, here and there, those idle
    share = living_share(g, dx.shape[2], length) * length / results
    idle = rounded(sum.outs, lanes) / <double> sum.outs
    waste = tiled_positions(sum, signals, results) / <double> (signals * results)
    share *= idle
    return share * share * sqrt(<double> min(length, results)) <= (
        few_input_gain * waste * min(g.stride, FEW_INPUT_STRIDE))


cdef bint sum_terms(
    const cc_tiles *tiles, const View *array, const View *w, const View *bias, const View *out,
    const Geometry *g, Py_ssize_t groups, bint transposed, Py_ssize_t size
) noexcept nogil:
    """forward, or backward_input if `transposed`; false if memory ran out, with nothing stored.

    There may be no bias. The positions beyond the ends of dy are zeros, those of x are what the
    padding mode says. Sums are in numbers of `size` bytes.
    """
    cdef Sum sum
    cdef Depthwise few_depthwise
    cdef ChannelsLast last
    cdef FewPositions few
    cdef LivingTaps living
    cdef bint few_results
    cdef double other, copies = 0  # products
    cdef FewInput few_input
    cdef Py_ssize_t outputs = depthwise_positions
    cdef bint few_samples = True
    cdef const View *x = out if transposed else array
    cdef const View *y = array if transposed else out
    cdef View padded = array[0]
    if out.shape[0] == 0 or out.shape[1] == 0 or out.shape[2] == 0:
        return True
    padded.mode = CCONV1D_ZEROS if transposed else g.mode
    if g.method != DIRECT and w.shape[0] > 0 and w.shape[1] > 0:
        return overlap_save(tiles, &padded, w, bias, out, g, groups, transposed, size)
    plan_sum(&sum, tiles, w, g, groups, transposed)
    sum.length = out.shape[2]
    if has_lanes_in_place(array, size) and has_lanes_in_place(out, size):
        outputs //= DEPTHWISE_NLC_SHARE
        few_samples = array.shape[2] <= outputs
    if (suits_depthwise(&sum) and few_samples and are_few(x, y, outputs)
            and plan_depthwise(&few_depthwise, &sum, &padded, w, out, size)):
        return depthwise(&few_depthwise, w, bias)
    few_results = (has_few_positions(&sum, w, out, size)
                   and plan_few_positions(&few, &sum, &padded, w, out, size))
    if few_results:
        other = (few.living * <double> (out.shape[0] * out.shape[2])
                 * (few.blocks * few.width) / sum.outs)
    else:
        other = panel_cost(&sum, out.shape[0], out.shape[2])
        if g.stride > 1 and out.shape[2] <= SHORT_STRIDED_ROW // 2:
            copies = 3. * COPIED_ROW * g.residues * out.shape[0] / sum.outs
    few_samples = has_few_input_positions(&sum, &padded, w, out)
    if ((packed_for(w, &sum) != NULL or not few_results)
            and (not few_samples or out.shape[0] >= LIVING_SIGNALS or living_gain == 0)
            and plan_living_taps(&living, &sum, &padded, w, out, size, other, copies)):
        return sum_living_taps(&living, w, bias)
    if few_results:
        return sum_few(&few, &sum, bias)
    if few_samples and plan_few_input(&few_input, &sum, &padded, w, out, bias, size):
        return few_positions_input(&few_input, &sum, &padded, bias)
    if plan_channels_last(&last, &sum, &padded, w, out, size):
        return channels_last(&last, w, bias)
    return correlate(&sum, &padded, w, bias, out, size)


cdef bint takes_few_positions(
    const View *dy, const View *dw, const Geometry *g, Py_ssize_t groups
) noexcept nogil:
    """Whether few_positions_weight computes a gradient. The shape decides, as the order of the sums
    depends on it: see tuning.pxi for what was measured."""
    cdef Py_ssize_t rows, channels, terms, side, few = few_weight_positions, length, positions
    cdef double share
    if few == 0 or dw.shape[0] == 0 or dw.shape[1] == 0:
        return False
    if dy.shape[0] == 0 or g.output_length <= 0:
        return False
    rows, channels = (dw.shape[0] >> dw.pair) // groups, dw.shape[1] >> dw.pair
    if rows == channels == 1:  # depthwise
        return False
    terms = channels * g.taps
    side = min(rows, terms) << dw.pair
    if g.stride >= APART_STRIDE and g.taps < 2 * g.stride and terms >= FEW_ROWS:
        return True
    length, positions = g.output_length, dy.shape[0] * g.output_length
    share = living_share(g, g.input_length, length)  # taps that meet no sample are left out
    if side < FEW_ROWS:  # or else dw_dot, which packs phases and lone taps
        return share * length * sqrt(<double> positions) <= 2. * few * side * g.stride
    if g.taps == 1 and not dw.pair:  # channels are transposed
        return True
    if g.stride > 1:
        few *= FEW_STRIDED_POSITIONS
    elif min(rows, terms) < NARROW_SIDE:
        few //= 2
    return share * positions <= 2 * few or share * length <= SHORT_SAMPLE


cdef bint takes_depthwise(
    DepthwiseGradient *few, const cc_tiles *tiles, const View *dy, const View *x, const View *dw,
    const Geometry *g, Py_ssize_t groups, Py_ssize_t size
) noexcept nogil:
    """Whether the depthwise nest computes dw: the shape decides, as the order of sums follows."""
    cdef Py_ssize_t outputs = depthwise_positions
    if dy.shape[0] == 1:
        outputs = min(outputs, DEPTHWISE_ALONE_POSITIONS)
    return (dw.shape[0] == groups and dw.shape[1] == 1 and dy.shape[0] > 0
            and (dy.shape[0] == 1 or groups >= MIN_DEPTHWISE_CHANNELS)
            and are_few(x, dy, outputs)
            and plan_depthwise_gradient(few, tiles, dy, x, dw, g, size))


cdef bint sum_finite_positions(
    const cc_tiles *tiles, const View *dy, const View *x, const View *dw, const Geometry *g,
    Py_ssize_t groups, Py_ssize_t size
) noexcept nogil:
    """backward_weight where no zero of the padding meets what is not finite.

    Depthwise signals that have their channels last are summed along channels, and those of few
    terms along the rows of dw.
    """
    cdef DepthwiseGradient few_depthwise
    cdef ChannelsLastWeight last
    if g.method == FFT and dy.shape[0] > 0 and dw.shape[0] > 0 and dw.shape[1] > 0:
        return overlap_save_weight(tiles, dy, x, dw, g, groups, size)
    if takes_depthwise(&few_depthwise, tiles, dy, x, dw, g, groups, size):
        return depthwise_gradient(&few_depthwise, False)
    if takes_few_positions(dy, dw, g, groups):
        return few_positions_weight(tiles, dy, x, dw, g, groups, size)
    if plan_channels_last_weight(&last, tiles, dy, x, dw, g, groups, size):
        return channels_last_weight(&last)
    return backward_weight(tiles, dy, x, dw, g, groups, size)


cdef bint sum_positions(
    const cc_tiles *tiles, const View *dy, const View *x, const View *dw, const Geometry *g,
    Py_ssize_t groups, Py_ssize_t size
) noexcept nogil:
    """backward_weight; false if memory ran out, with nothing stored."""
    cdef Ends ends = ends_of_outputs(g, x.shape[2], dy.shape[2])
    cdef View finite = nothing
    cdef DepthwiseGradient few_depthwise
    cdef Arena arena
    cdef uintptr_t start
    cdef int done
    if g.method != FFT and takes_depthwise(&few_depthwise, tiles, dy, x, dw, g, groups, size):
        done = depthwise_gradient(&few_depthwise, True)
        if done >= 0:
            return done
    if g.mode != CCONV1D_ZEROS or not (
            holds_spoilers[float](tiles, dy, ends, 0) if size == sizeof(float) else
            holds_spoilers[double](tiles, dy, ends, 0)):
        return sum_finite_positions(tiles, dy, x, dw, g, groups, size)
    finite.shape = [dy.shape[0], dy.shape[1], dy.shape[2]]
    finite.strides = [dy.shape[1] * dy.shape[2] * size, dy.shape[2] * size, size]
    start = arena_open(&arena, dy.shape[0] * finite.strides[0])
    if start == 0:
        return False
    finite.data = <char *> start
    if size == sizeof(float):
        take_spoilers[float](dy, ends, &finite, 0)
    else:
        take_spoilers[double](dy, ends, &finite, 0)
    done = sum_finite_positions(tiles, &finite, x, dw, g, groups, size)
    if done and not cc_pool_cancelled(0):
        if size == sizeof(float):
            add_spoilers[float](dy, ends, x, dw, g, groups, 0)
        else:
            add_spoilers[double](dy, ends, x, dw, g, groups, 0)
    arena_close(&arena)
    return done
