# What C, C++ and Cython call: the functions of the table in cconv1d.h, which says what each does.
#
# They are reached through that table alone, in a capsule, from Cython, too. Cython's own way
# (functions declared in the .pxd, found by __pyx_capi__) compares the signatures of functions, but
# no version and no struct; and C would need the table all the same.

cdef bint bounded(Py_ssize_t a, Py_ssize_t b, Py_ssize_t c) noexcept nogil:
    """Whether three sizes may be those of an array; a size of 0 hides none that is too large."""
    if a < 0 or b < 0 or c < 0:
        return False
    return max(a, 1) <= CCONV1D_MAX_SIZE // max(b, 1) // max(c, 1)


cdef bint is_line(const cconv1d_array *array, Py_ssize_t count) noexcept nogil:
    return array.shape[0] == 1 and array.shape[1] == 1 and array.shape[2] == count


cdef enum:  # dtypes that the table does not take, but xla.pxi
    COMPLEX64 = CCONV1D_BFLOAT16 + 1
    COMPLEX128


cdef bint in_table(int dtype) noexcept nogil:
    return CCONV1D_FLOAT32 <= dtype <= CCONV1D_BFLOAT16


cdef int item_size(int dtype) noexcept nogil:
    """Bytes of a number."""
    if dtype == CCONV1D_FLOAT32:
        return sizeof(float)
    if dtype == CCONV1D_FLOAT16 or dtype == CCONV1D_BFLOAT16:
        return sizeof(uint16_t)
    return sizeof(complex128) if dtype == COMPLEX128 else sizeof(double)


cdef int sum_size(int dtype) noexcept nogil:
    """Bytes of a number that sums are kept in."""
    return sizeof(double) if dtype == CCONV1D_FLOAT64 or dtype == COMPLEX128 else sizeof(float)


cdef int view_array(int dtype, const cconv1d_array *array, View *view) noexcept nogil:
    """The view of an array, or of none, if it has a good shape and, where it has items, address."""
    cdef Py_ssize_t size = item_size(dtype)
    cdef uintptr_t places
    cdef bint empty = False
    cdef int axis
    view[0] = nothing
    if dtype == CCONV1D_FLOAT16:
        view.half = level.float16
    elif dtype == CCONV1D_BFLOAT16:
        view.half = level.bfloat16
    elif not in_table(dtype):
        view.pair = 1
        view.part = size // 2
    if array == NULL:
        return CCONV1D_OK
    if not bounded(array.shape[0], array.shape[1], array.shape[2]):
        return CCONV1D_BAD_SHAPE
    view.data = <char *> array.data
    places = <uintptr_t> array.data
    for axis in range(3):
        view.shape[axis], view.strides[axis] = array.shape[axis], array.strides[axis]
        empty |= array.shape[axis] == 0
        if array.shape[axis] > 1:
            places |= <uintptr_t> array.strides[axis]
    view.shape[1] <<= view.pair
    if not empty and (array.data == NULL or places % (size >> view.pair)):
        return CCONV1D_BAD_ADDRESS
    return CCONV1D_OK


cdef int convolve_arrays(
    Map map, Method method, int dtype, const cconv1d_array *x, const cconv1d_array *w,
    const cconv1d_array *bias, const cconv1d_array *y, const cconv1d_geometry *geometry,
    bint conjugate
) noexcept nogil:
    """One of the maps, by the roles of the arrays or of what they are the gradients of; with
    `conjugate`, of complex numbers, as `_core.pyx` says of it."""
    cdef const cconv1d_array *arrays[4]
    cdef View views[4]
    cdef Geometry g
    cdef Py_ssize_t groups = geometry.groups, positions, size = sum_size(dtype)
    cdef int i, status
    cdef bint done
    arrays[0], arrays[1], arrays[2], arrays[3] = x, w, bias, y
    for i in range(4):
        status = view_array(dtype, arrays[i], &views[i])
        if status != CCONV1D_OK:
            return status
    positions = output_length(x.shape[2], w.shape[2], geometry)
    if positions < 0:
        return <int> positions
    if (not bounded(groups, w.shape[1], w.shape[2])
            or x.shape[1] != groups * w.shape[1] or w.shape[0] % groups
            or y.shape[0] != x.shape[0] or y.shape[1] != w.shape[0] or y.shape[2] != positions):
        return CCONV1D_BAD_SHAPE
    if bias != NULL:
        if not is_line(bias, x.shape[1] if map == BACKWARD_INPUT else y.shape[1]):
            return CCONV1D_BAD_SHAPE
        if map == BACKWARD_INPUT and geometry.mode != CCONV1D_ZEROS:
            return CCONV1D_BAD_GEOMETRY

    views[1].shape[0] <<= views[1].pair
    views[1].conjugate = conjugate
    g.input_length, g.output_length, g.taps = x.shape[2], positions, w.shape[2]
    g.stride, g.dilation = geometry.stride, geometry.dilation
    g.pad_left, g.mode, g.method = geometry.pad_left, geometry.mode, method
    find_residues(&g)
    if not (method == DIRECT or method == FFT and g.taps <= <Py_ssize_t> 1 << CC_MAX_LOG_POINTS
            or method == FAST and residue_taps(&g, 0) == MINIMAL_TAPS):
        return CCONV1D_BAD_GEOMETRY
    if map == FORWARD:
        done = apply_map(map, &views[0], &views[1], &views[2], &views[3], &g, groups, size)
    elif map == BACKWARD_INPUT:
        done = apply_map(map, &views[3], &views[1], &views[2], &views[0], &g, groups, size)
    else:
        done = apply_map(map, &views[3], &views[0], &views[2], &views[1], &g, groups, size)
    return CCONV1D_OK if done else CCONV1D_NO_MEMORY


cdef int api_convolve(
    Map map, int dtype, const cconv1d_array *x, const cconv1d_array *w,
    const cconv1d_array *bias, const cconv1d_array *y, const cconv1d_geometry *geometry
) noexcept nogil:
    if not in_table(dtype):
        return CCONV1D_BAD_DTYPE
    return convolve_arrays(map, DIRECT, dtype, x, w, bias, y, geometry, False)


cdef int api_forward(
    int dtype, const cconv1d_array *x, const cconv1d_array *w, const cconv1d_array *bias,
    const cconv1d_array *y, const cconv1d_geometry *geometry
) noexcept nogil:
    return api_convolve(FORWARD, dtype, x, w, bias, y, geometry)


cdef int api_backward_input(
    int dtype, const cconv1d_array *dy, const cconv1d_array *w, const cconv1d_array *bias,
    const cconv1d_array *dx, const cconv1d_geometry *geometry
) noexcept nogil:
    return api_convolve(BACKWARD_INPUT, dtype, dx, w, bias, dy, geometry)


cdef int api_backward_weight(
    int dtype, const cconv1d_array *dy, const cconv1d_array *x, const cconv1d_array *dw,
    const cconv1d_geometry *geometry
) noexcept nogil:
    return api_convolve(BACKWARD_WEIGHT, dtype, x, dw, NULL, dy, geometry)


cdef int api_backward_bias(
    int dtype, const cconv1d_array *dy, const cconv1d_array *db
) noexcept nogil:
    cdef View dy_view, db_view
    cdef Py_ssize_t size = sum_size(dtype)
    cdef int status
    if not in_table(dtype):
        return CCONV1D_BAD_DTYPE
    status = view_array(dtype, dy, &dy_view)
    if status == CCONV1D_OK:
        status = view_array(dtype, db, &db_view)
    if status == CCONV1D_OK and not is_line(db, dy.shape[1]):
        status = CCONV1D_BAD_SHAPE
    if status == CCONV1D_OK and not apply_map(BACKWARD_BIAS, &dy_view, &nothing, &nothing, &db_view,
                                              NULL, 1, size):
        status = CCONV1D_NO_MEMORY
    return status


cdef void set_num_threads(int threads) noexcept nogil:
    cc_pool_set_threads(max(threads, 1))


cdef int limit_num_threads(int threads) noexcept nogil:
    return cc_pool_limit_threads(max(threads, 0))


cdef const char *describe(int status) noexcept nogil:
    if status == CCONV1D_OK:
        return b"no error"
    if status == CCONV1D_NO_MEMORY:
        return b"no memory for the packed weights and panels"
    if status == CCONV1D_BAD_DTYPE:
        return b"unknown dtype"
    if status == CCONV1D_BAD_SHAPE:
        return b"the shapes of the arrays are not those of one convolution"
    if status == CCONV1D_BAD_GEOMETRY:
        return b"stride, dilation, padding, groups or mode is out of range for these lengths"
    if status == CCONV1D_BAD_ADDRESS:
        return b"an array is NULL or not aligned to its items"
    return b"unknown status"


cdef cconv1d_api table
table.abi_major, table.abi_minor = CCONV1D_ABI_MAJOR, CCONV1D_ABI_MINOR
table.size = sizeof(cconv1d_api)
table.forward = api_forward
table.backward_input = api_backward_input
table.backward_weight = api_backward_weight
table.backward_bias = api_backward_bias
table.output_length = output_length
table.transposed_length = transposed_length
table.get_num_threads = cc_pool_threads
table.set_num_threads = set_num_threads
table.limit_num_threads = limit_num_threads
table.describe = describe
table.lend_threads = cc_pool_lend
_C_API = PyCapsule_New(&table, CCONV1D_CAPSULE, NULL)
