# One function for all maps and dtypes.

# The level whose tiles compute.
cdef const cc_level *level = &cc_levels[0]


cdef enum Map: FORWARD, BACKWARD_INPUT, BACKWARD_WEIGHT, BACKWARD_BIAS


cdef bint apply_map(
    Map which, const View *first, const View *second, const View *bias, const View *out,
    const Geometry *g, Py_ssize_t groups, Py_ssize_t size
) noexcept nogil:
    """One of the maps, summed in numbers of `size` bytes; false if memory ran out."""
    cdef bint single = size == sizeof(float)
    if which == BACKWARD_BIAS:
        return bias_gradient(level.f32 if single else level.f64, first, out.data, out.strides[2],
                             size)
    if which == BACKWARD_WEIGHT:
        return weight_gradient(level.f32 if single else level.f64, first, second, out, g, groups,
                               size)
    if which == BACKWARD_INPUT:
        if single:
            return input_gradient[float](level.f32, first, second, <const float *> bias.data,
                                         bias.strides[2], out, g, groups)
        return input_gradient[double](level.f64, first, second, <const double *> bias.data,
                                      bias.strides[2], out, g, groups)
    if single:
        return sum_terms[float](level.f32, first, second, <const float *> bias.data,
                                bias.strides[2], out, g, groups, False)
    return sum_terms[double](level.f64, first, second, <const double *> bias.data,
                             bias.strides[2], out, g, groups, False)
