# How taps fall into residues, what lies beyond the ends, and how long results are.
#
#     tap j of output p meets sample  p·stride + j·dilation − pad_left
#     residue of tap j                (j·dilation − pad_left) mod stride
#
# Takes  Geometry of _geometry.py, or cconv1d_geometry of C, which is checked here.
# Gives  Geometry with its residues; residue_shift and residue_phase: the first tap of a residue
#        meets sample (p + shift)·stride + phase; source: which sample a padded position is a copy
#        of; lengths.
#
# Lengths and the items of an array are at most CCONV1D_MAX_SIZE, as in _geometry.py, so that the
# products that nests compute of sizes fit 64 bits.

# How a sum is computed, as in METHODS of _geometry.py.
cdef enum Method: DIRECT, FFT, FAST


# A mode of streams: samples before the first are the last of another array, see View; none follow.
cdef enum: CONTINUES = CCONV1D_CIRCULAR + 1


cdef struct Geometry:
    Py_ssize_t input_length, output_length, stride, dilation, pad_left
    int mode             # CCONV1D_ZEROS ... or CONTINUES
    int method           # DIRECT ...
    Py_ssize_t taps
    Py_ssize_t residues  # how many residues taps have
    Py_ssize_t period    # taps j, j + period, ... share a residue
    Py_ssize_t step      # positions between neighbouring taps of a residue


cdef inline void find_residues(Geometry *g) noexcept nogil:
    """Find the residues of the taps, which follow from the rest."""
    cdef Py_ssize_t a = g.stride, b = g.dilation
    while b:
        a, b = b, a % b
    g.period = g.stride // a
    g.step = g.dilation // a
    g.residues = min(g.period, g.taps)


cdef Geometry as_geometry(object geometry, Py_ssize_t taps):
    cdef Geometry g
    if not PyTuple_Check(geometry) or PyTuple_GET_SIZE(geometry) != 7:
        raise TypeError(f"geometry must be a Geometry, not {geometry!r}")
    # item by item: to unpack what is no plain tuple costs a small call more than its arithmetic
    g.input_length = <object> PyTuple_GET_ITEM(geometry, 0)
    g.output_length = <object> PyTuple_GET_ITEM(geometry, 1)
    g.stride = <object> PyTuple_GET_ITEM(geometry, 2)
    g.dilation = <object> PyTuple_GET_ITEM(geometry, 3)
    g.pad_left = <object> PyTuple_GET_ITEM(geometry, 4)
    g.mode = <object> PyTuple_GET_ITEM(geometry, 5)
    g.method = <object> PyTuple_GET_ITEM(geometry, 6)
    g.taps = taps
    find_residues(&g)
    return g


cdef inline Py_ssize_t source(int mode, Py_ssize_t position, Py_ssize_t length) noexcept nogil:
    """The sample that a position beyond the ends is a copy of; reflect is its own inverse.

    Positions farther from the ends than the padding have none, which is then beyond them, too.
    """
    if mode == CCONV1D_REFLECT:
        return -position if position < 0 else 2 * (length - 1) - position
    if mode == CCONV1D_REPLICATE:
        return 0 if position < 0 else length - 1
    if mode == CCONV1D_CIRCULAR:
        return position + length if position < 0 else position - length
    return -1


cdef inline Py_ssize_t residue_taps(const Geometry *g, Py_ssize_t residue) noexcept nogil:
    if g.period == 1:  # as a rule, and divisions are what planning a small call costs most
        return g.taps
    return (g.taps - residue + g.period - 1) // g.period


cdef inline Py_ssize_t residue_shift(const Geometry *g, Py_ssize_t residue) noexcept nogil:
    """Floor of the distance from the output to the first tap of the residue, in strides."""
    cdef Py_ssize_t distance = residue * g.dilation - g.pad_left
    if g.stride == 1:
        return distance
    cdef Py_ssize_t quotient = distance // g.stride
    return quotient - (quotient * g.stride > distance)


cdef inline Py_ssize_t residue_phase(const Geometry *g, Py_ssize_t residue) noexcept nogil:
    return residue * g.dilation - g.pad_left - residue_shift(g, residue) * g.stride


cdef inline bint meets_sample(const Geometry *g, Py_ssize_t tap) noexcept nogil:
    """Whether a tap meets a sample at any output, or a copy of one, and not only zeros."""
    cdef Py_ssize_t sample = tap * g.dilation - g.pad_left, position = 0
    if g.mode != CCONV1D_ZEROS:
        return True
    if sample < 0:
        position = (-sample + g.stride - 1) // g.stride
    return position < g.output_length and sample + position * g.stride < g.input_length


cdef inline double ramp(double x) noexcept nogil:
    return x * x / 2 if x > 0 else 0


cdef double living_share(
    const Geometry *g, Py_ssize_t length, Py_ssize_t outputs
) noexcept nogil:
    """The share of all taps at all outputs that meet one of `length` samples, nearly.

    A tap that lies u samples ahead meets them at as many outputs as two intervals overlap, which is
    a trapezoid over u: it is integrated over the kernel.
    """
    cdef double last = (outputs - 1) * <double> g.stride + 1, u = -g.pad_left - g.dilation / 2.
    cdef double end = u + g.taps * <double> g.dilation, pairs
    if g.mode != CCONV1D_ZEROS:
        return 1
    pairs = (ramp(end + last) - ramp(end) - ramp(end + last - length) + ramp(end - length)
             - ramp(u + last) + ramp(u) + ramp(u + last - length) - ramp(u - length))
    pairs /= g.dilation * <double> g.stride
    return min(pairs / (g.taps * <double> outputs), 1)


cdef int check_geometry(Py_ssize_t taps, const cconv1d_geometry *g) noexcept nogil:
    """What can be told without lengths, so that the kernel's span and the paddings' sum fit."""
    cdef Py_ssize_t most = CCONV1D_MAX_SIZE
    if not (1 <= taps <= most and 1 <= g.stride <= most and 1 <= g.dilation <= most
            and 1 <= g.groups <= most and taps - 1 <= (most - 1) // g.dilation
            and -most <= g.pad_left <= most and -most <= g.pad_right <= most):
        return CCONV1D_BAD_GEOMETRY
    if not CCONV1D_ZEROS <= g.mode <= CCONV1D_CIRCULAR:
        return CCONV1D_BAD_GEOMETRY
    if g.mode != CCONV1D_ZEROS and (g.pad_left < 0 or g.pad_right < 0):
        return CCONV1D_BAD_GEOMETRY
    return CCONV1D_OK


cdef Py_ssize_t output_length(
    Py_ssize_t length, Py_ssize_t taps, const cconv1d_geometry *g
) noexcept nogil:
    cdef Py_ssize_t padded, span, longest = max(g.pad_left, g.pad_right)
    if not 0 <= length <= CCONV1D_MAX_SIZE:
        return CCONV1D_BAD_SHAPE
    if check_geometry(taps, g) != CCONV1D_OK:
        return CCONV1D_BAD_GEOMETRY
    padded = length + g.pad_left + g.pad_right
    span = g.dilation * (taps - 1) + 1
    if (span > padded or padded > CCONV1D_MAX_SIZE
            or g.mode == CCONV1D_REFLECT and longest > max(length - 1, 0)
            or g.mode == CCONV1D_REPLICATE and longest > 0 and length == 0
            or g.mode == CCONV1D_CIRCULAR and longest > length):
        return CCONV1D_BAD_GEOMETRY
    return (padded - span) // g.stride + 1


cdef Py_ssize_t transposed_length(
    Py_ssize_t length, Py_ssize_t taps, const cconv1d_geometry *g
) noexcept nogil:
    cdef Py_ssize_t padded
    if not 1 <= length <= CCONV1D_MAX_SIZE:
        return CCONV1D_BAD_SHAPE
    if check_geometry(taps, g) != CCONV1D_OK:
        return CCONV1D_BAD_GEOMETRY
    padded = g.dilation * (taps - 1) + 1
    if length - 1 > (CCONV1D_MAX_SIZE - padded) // g.stride:
        return CCONV1D_BAD_GEOMETRY
    padded += (length - 1) * g.stride
    if not 1 <= padded - g.pad_left - g.pad_right <= CCONV1D_MAX_SIZE:
        return CCONV1D_BAD_GEOMETRY
    return padded - g.pad_left - g.pad_right
