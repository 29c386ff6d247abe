# Which nest computes, and zeros that are no terms: see zero_padding.pxi.

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
    cdef View padded = array[0]
    if out.shape[0] == 0 or out.shape[1] == 0 or out.shape[2] == 0:
        return True
    plan_sum(&sum, tiles, w, g, groups, transposed)
    sum.length = out.shape[2]
    padded.mode = CCONV1D_ZEROS if transposed else g.mode
    if plan_channels_last(&last, &sum, &padded, w, out, size):
        return channels_last(&last, w, bias)
    return correlate(&sum, &padded, w, bias, out, size)


cdef bint sum_weights(
    const cc_tiles *tiles, const View *dy, const View *x, const View *dw, const Geometry *g,
    Py_ssize_t groups, Py_ssize_t size
) noexcept nogil:
    """backward_weight as if dy were finite; false if memory ran out, with nothing stored.

    Depthwise signals that have their channels last are summed along channels.
    """
    cdef DepthwiseWeight depthwise
    if plan_depthwise_weight(&depthwise, tiles, dy, x, dw, g, groups, size):
        return depthwise_weight(&depthwise)
    return backward_weight(tiles, dy, x, dw, g, groups, size)


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
        return sum_weights(tiles, dy, x, dw, g, groups, size)
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
    done = sum_weights(tiles, &finite, x, dw, g, groups, size)
    if done and not cc_pool_cancelled(0):
        if size == sizeof(float):
            add_spoilers[float](dy, ends, x, dw, g, groups, 0)
        else:
            add_spoilers[double](dy, ends, x, dw, g, groups, 0)
    arena_close(&arena)
    return done
