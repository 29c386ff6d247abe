# Which nest computes, and zeros that are no terms: see zero_padding.pxi.

cdef bint has_few_positions(
    const Sum *sum, const View *dy, const View *w, const View *dx
) noexcept nogil:
    """Whether backward_input has few positions for its weights, so that few_positions_input is the
    faster one. See FEW_INPUT_POSITIONS for what was measured.

    Weights that were packed before go by panels, which takes .3 to .9 of the time then, unless most
    of their taps meet nothing.
    """
    cdef const Geometry *g = sum.g
    cdef Py_ssize_t taps = residue_taps(g, 0), terms = sum.channels * taps, length = dy.shape[2]
    cdef Py_ssize_t most = few_input_positions
    if not sum.transposed or sum.ordered or most == 0:
        return False
    if terms >= 32 and 3 * length <= 2 * (taps - 1) * g.step:
        return True  # most taps of a result meet no sample
    if packed_for(w, sum) != NULL and most == FEW_INPUT_POSITIONS:
        return False
    if terms < 64:   # a sum is soon done, but waits in scratch before it is stored
        most //= 2 if terms >= 32 else 4
    if 3 * sum.outs < sum.tiles.gemm_lanes:
        most //= 2   # lanes are idle
    elif g.stride > 1 and (length <= 256 // dy.shape[0] or g.residues >= sum.tiles.gemm_lanes):
        most *= 4    # panels store strided results through a stage
    return min(length, ceiling(dx.shape[2], g.stride)) <= most


cdef bint sum_terms(
    const cc_tiles *tiles, const View *array, const View *w, const View *bias, const View *out,
    const Geometry *g, Py_ssize_t groups, bint transposed, Py_ssize_t size
) noexcept nogil:
    """forward, or backward_input if `transposed`; false if memory ran out, with nothing stored.

    There may be no bias. The positions beyond the ends of dy are zeros, those of x are what the
    padding mode says. Sums are in numbers of `size` bytes.
    """
    cdef Sum sum
    cdef ChannelsLast last
    cdef FewInput few
    cdef View padded = array[0]
    if out.shape[0] == 0 or out.shape[1] == 0 or out.shape[2] == 0:
        return True
    plan_sum(&sum, tiles, w, g, groups, transposed)
    sum.length = out.shape[2]
    padded.mode = CCONV1D_ZEROS if transposed else g.mode
    if (has_few_positions(&sum, &padded, w, out)
            and plan_few_input(&few, &sum, &padded, w, out, bias, size)):
        return few_positions_input(&few, &sum, &padded, bias)
    if plan_channels_last(&last, &sum, &padded, w, out, size):
        return channels_last(&last, w, bias)
    return correlate(&sum, &padded, w, bias, out, size)


cdef bint sum_positions(
    const cc_tiles *tiles, const View *dy, const View *x, const View *dw, const Geometry *g,
    Py_ssize_t groups, Py_ssize_t size
) noexcept nogil:
    """backward_weight; false if memory ran out, with nothing stored."""
    cdef Ends ends = ends_of_outputs(g, x.shape[2], dy.shape[2])
    cdef View finite = nothing
    cdef Arena arena
    cdef uintptr_t start
    cdef bint done
    if g.mode != CCONV1D_ZEROS or not (
            holds_spoilers[float](tiles, dy, ends, 0) if size == sizeof(float) else
            holds_spoilers[double](tiles, dy, ends, 0)):
        return backward_weight(tiles, dy, x, dw, g, groups, size)
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
    done = backward_weight(tiles, &finite, x, dw, g, groups, size)
    if done and not cc_pool_cancelled(0):
        if size == sizeof(float):
            add_spoilers[float](dy, ends, x, dw, g, groups, 0)
        else:
            add_spoilers[double](dy, ends, x, dw, g, groups, 0)
    arena_close(&arena)
    return done
