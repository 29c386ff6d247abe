# The four maps, by number, in float or double sums.
#
# Takes  Views, a Geometry, the bytes of a number that sums are kept in.
# Gives  apply_map: what Python's entry points and the table of C call.

cdef enum Map: FORWARD, BACKWARD_INPUT, BACKWARD_WEIGHT, BACKWARD_BIAS


cdef bint apply_map(
    Map map, const View *first, const View *second, const View *bias, const View *out,
    const Geometry *g, Py_ssize_t groups, Py_ssize_t size
) noexcept nogil:
    """One of the maps, summed in numbers of `size` bytes; false if memory ran out."""
    cdef const cc_tiles *tiles = level.f32 if size == sizeof(float) else level.f64
    if map == BACKWARD_BIAS:
        return backward_bias(tiles, first, out, size)
    if map == BACKWARD_WEIGHT:
        return sum_positions(tiles, first, second, out, g, groups, size)
    if map == BACKWARD_INPUT:
        return backward_input_padded(tiles, first, second, bias, out, g, groups, size)
    return sum_terms(tiles, first, second, bias, out, g, groups, False, size)
