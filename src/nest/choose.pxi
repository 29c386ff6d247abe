# Which nest computes: forward and backward_input (sum_terms), backward_weight (sum_positions); and
# zeros that are no terms: see zero_padding.pxi.

cdef bint are_few(const View *x, const View *y, Py_ssize_t outputs) noexcept nogil:
    """Whether depthwise nests compute signals of such lengths, up to so many outputs."""
    return not x.pair and y.shape[2] <= outputs and x.shape[2] <= MAX_DEPTHWISE_SAMPLES


cdef bint sum_terms(
    const cc_tiles *tiles, const View *array, const View *w, const View *bias, const View *out,
    const Geometry *g, Py_ssize_t groups, bint transposed, Py_ssize_t size
) noexcept nogil:
    """forward, or backward_input if `transposed`; false if memory ran out, with nothing stored.

    There may be no bias. The positions beyond the ends of dy are zeros, those of x are what the
    padding mode says. Sums are in numbers of `size` bytes.
    """
    cdef Sum sum
    cdef Depthwise few
    cdef ChannelsLast last
    cdef Py_ssize_t outputs = depthwise_positions
    cdef bint few_samples = True
    cdef const View *x = out if transposed else array
    cdef const View *y = array if transposed else out
    cdef View padded = array[0]
    if out.shape[0] == 0 or out.shape[1] == 0 or out.shape[2] == 0:
        return True
    plan_sum(&sum, tiles, w, g, groups, transposed)
    sum.length = out.shape[2]
    padded.mode = CCONV1D_ZEROS if transposed else g.mode
    if has_unit_channel_stride(array, size) and has_unit_channel_stride(out, size):
        outputs //= DEPTHWISE_NLC_SHARE
        few_samples = array.shape[2] <= outputs
    if (suits_depthwise(&sum) and few_samples and are_few(x, y, outputs)
            and plan_depthwise(&few, &sum, &padded, w, out, size)):
        return depthwise(&few, w, bias)
    if plan_channels_last(&last, &sum, &padded, w, out, size):
        return channels_last(&last, w, bias)
    return correlate(&sum, &padded, w, bias, out, size)


cdef bint plan_few_positions(
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
    """backward_weight where dy is finite at its ends; false if memory ran out."""
    cdef DepthwiseGradient few
    if plan_few_positions(&few, tiles, dy, x, dw, g, groups, size):
        return depthwise_gradient(&few, False)
    return backward_weight(tiles, dy, x, dw, g, groups, size)


cdef bint sum_positions(
    const cc_tiles *tiles, const View *dy, const View *x, const View *dw, const Geometry *g,
    Py_ssize_t groups, Py_ssize_t size
) noexcept nogil:
    """backward_weight; false if memory ran out, with nothing stored."""
    cdef Ends ends = ends_of_outputs(g, x.shape[2], dy.shape[2])
    cdef View finite = nothing
    cdef DepthwiseGradient few
    cdef Arena arena
    cdef uintptr_t start
    cdef int done
    if plan_few_positions(&few, tiles, dy, x, dw, g, groups, size):
        done = depthwise_gradient(&few, True)
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
