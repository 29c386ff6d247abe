# forward and backward_input: which nest sums the terms.

cdef bint sum_terms(
    const cc_tiles *tiles, const View *array, const View *w, const real *bias,
    Py_ssize_t bias_stride, const View *out, const Geometry *g, Py_ssize_t groups, bint transposed
) noexcept nogil:
    """forward, or backward_input if `transposed`; false if memory ran out, with nothing stored.

    There may be no bias (NULL); its stride is in bytes, as a View's are. The positions beyond the
    ends of dy are zeros, those of x are what the padding mode says.
    """
    cdef Sum sum
    cdef Across beside
    cdef View padded = array[0]
    cdef int done
    if out.shape[0] == 0 or out.shape[1] == 0 or out.shape[2] == 0:
        return True
    plan_sum(&sum, tiles, w, g, groups, transposed)
    sum.length = out.shape[2]
    padded.mode = CCONV1D_ZEROS if transposed else g.mode
    if plan_across(&beside, &sum, &padded, w, out, sizeof(real)):
        done = across[real](&beside, w, bias, bias_stride)
        if done >= 0:
            return done
        # A weight that is not finite would meet the zeros around dy there. By panels the results
        # that it would spoil are computed once more, without them.
    return correlate[real](&sum, &padded, w, bias, bias_stride, out)
