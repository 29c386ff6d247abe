# forward and backward_input: which nest sums the terms.

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
    cdef int done
    if out.shape[0] == 0 or out.shape[1] == 0 or out.shape[2] == 0:
        return True
    padded.mode = CCONV1D_ZEROS if transposed else g.mode
    if g.method == FFT and w.shape[0] > 0 and w.shape[1] > 0:
        return overlap_save(tiles, &padded, w, bias, out, g, groups, transposed, size)
    plan_sum(&sum, tiles, w, g, groups, transposed)
    sum.length = out.shape[2]
    if plan_channels_last(&last, &sum, &padded, w, out, size):
        done = channels_last(&last, w, bias)
        if done >= 0:
            return done
        # A weight that is not finite would meet the zeros around dy there. By panels the results
        # that it would spoil are computed once more, without them.
    return correlate(&sum, &padded, w, bias, out, size)
