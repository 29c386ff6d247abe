# What XLA calls, the compiler below JAX: one function for all maps and dtypes, xla_convolve.
#
# Takes  the struct of a call (xla_ffi.h), with the numbers of cconv1d/jax.py as its only attribute.
# Gives  _XLA_HANDLER, the address of the function for XLA.
#
# XLA runs it on threads of its own, without the GIL. These flush subnormal numbers to zero; ours do
# not, and bits must not depend on who computes what. So the mode of the call is that of a thread of
# Python, and XLA's again behind it.
#
# Maps are bilinear here, as JAX has it, and conjugate nothing: backward_input is told not to, and
# the adapter conjugates x for backward_weight, which does so once more.

cdef extern from "<fenv.h>" nogil:
    ctypedef struct fenv_t:
        pass
    const fenv_t *FE_DFL_ENV
    int fegetenv(fenv_t *)
    int fesetenv(const fenv_t *)

cdef extern from "xla_ffi.h" nogil:
    enum:
        CC_XLA_MINOR
        CC_XLA_EXECUTE
        CC_XLA_METADATA
        CC_XLA_INVALID_ARGUMENT
        CC_XLA_RESOURCE_EXHAUSTED
        CC_XLA_ATTRIBUTE_ARRAY
        CC_XLA_INT64
        CC_XLA_FLOAT16
        CC_XLA_FLOAT32
        CC_XLA_FLOAT64
        CC_XLA_COMPLEX64
        CC_XLA_BFLOAT16
        CC_XLA_COMPLEX128
    ctypedef struct cc_xla_extension:
        int kind
    ctypedef struct cc_xla_version:
        int major, minor
    ctypedef struct cc_xla_metadata:
        cc_xla_version version
    ctypedef struct cc_xla_metadata_extension:
        cc_xla_metadata *metadata
    ctypedef struct cc_xla_error
    ctypedef struct cc_xla_error_arguments:
        size_t size
        cc_xla_extension *extensions
        const char *message
        int code
    ctypedef struct cc_xla_api:
        cc_xla_version version
        cc_xla_error *(*create_error)(cc_xla_error_arguments *) noexcept nogil
    ctypedef struct cc_xla_buffer:
        int type
        void *data
        int64_t rank
        int64_t *shape
    ctypedef struct cc_xla_buffers:
        int64_t count
        cc_xla_buffer **buffers
    ctypedef struct cc_xla_numbers:
        int type
        size_t count
        void *data
    ctypedef struct cc_xla_attributes:
        int64_t count
        int *kinds
        void **values
    ctypedef struct cc_xla_call:
        cc_xla_extension *extensions
        const cc_xla_api *api
        int stage
        cc_xla_buffers arguments, results
        cc_xla_attributes attributes


cdef enum:  # the numbers of a call: a map, its method and geometry, the axes of three arrays
    XLA_NUMBERS = 17


cdef int xla_dtype(int type) noexcept nogil:
    if type == CC_XLA_FLOAT32:
        return CCONV1D_FLOAT32
    if type == CC_XLA_FLOAT64:
        return CCONV1D_FLOAT64
    if type == CC_XLA_FLOAT16:
        return CCONV1D_FLOAT16
    if type == CC_XLA_BFLOAT16:
        return CCONV1D_BFLOAT16
    if type == CC_XLA_COMPLEX64:
        return COMPLEX64
    return COMPLEX128 if type == CC_XLA_COMPLEX128 else -1


cdef bint xla_array(
    const cc_xla_buffer *buffer, const int64_t *axes, int size, cconv1d_array *array
) noexcept nogil:
    """A buffer as an array of our order of axes; false if it has not three."""
    cdef Py_ssize_t stride = size
    cdef Py_ssize_t[3] strides
    cdef int axis
    if buffer.rank != 3:
        return False
    for axis in range(2, -1, -1):
        strides[axis] = stride
        stride *= buffer.shape[axis]
    array.data = buffer.data
    for axis in range(3):
        if not (0 <= axes[axis] < 3 and axes[axis] != axes[(axis + 1) % 3]):
            return False
        array.shape[axis] = buffer.shape[axes[axis]]
        array.strides[axis] = strides[axes[axis]]
    return True


cdef int xla_apply(const cc_xla_call *call) noexcept nogil:
    """Compute what a call asks for; a status of the C interface."""
    cdef const cc_xla_attributes *attributes = &call.attributes
    cdef const cc_xla_numbers *given
    cdef const cc_xla_buffer *buffer
    cdef const int64_t *numbers
    cdef cconv1d_geometry g
    cdef cconv1d_array y, x, w, bias
    cdef cconv1d_array *arrays[4]
    cdef int dtype, size, i, map
    cdef int64_t operands = call.arguments.count
    if attributes.count != 1 or attributes.kinds[0] != CC_XLA_ATTRIBUTE_ARRAY:
        return CCONV1D_BAD_GEOMETRY
    given = <const cc_xla_numbers *> attributes.values[0]
    if given.type != CC_XLA_INT64 or given.count != XLA_NUMBERS or call.results.count != 1:
        return CCONV1D_BAD_GEOMETRY
    numbers = <const int64_t *> given.data
    map = numbers[0]
    g.stride, g.dilation, g.pad_left, g.pad_right = numbers[2], numbers[3], numbers[4], numbers[5]
    g.groups, g.mode = numbers[6], numbers[7]
    # operands as in _kernels.py, and a bias; the numbers end with the axes of y, x and w
    if map == FORWARD:
        arrays = [&x, &w, &bias, &y]
    elif map == BACKWARD_INPUT:
        arrays = [&y, &w, &bias, &x]
    elif map == BACKWARD_WEIGHT:
        arrays = [&y, &x, NULL, &w]
    else:
        return CCONV1D_BAD_GEOMETRY
    if not 2 <= operands <= 2 + (arrays[2] != NULL):
        return CCONV1D_BAD_SHAPE
    buffer = call.results.buffers[0]
    dtype = xla_dtype(buffer.type)
    size = item_size(dtype)
    for i in range(4):
        if i < operands:
            buffer = call.arguments.buffers[i]
        elif i < 3:
            continue
        else:
            buffer = call.results.buffers[0]
        if dtype < 0 or xla_dtype(buffer.type) != dtype:
            return CCONV1D_BAD_DTYPE
        if i == 2:
            if buffer.rank != 1:
                return CCONV1D_BAD_SHAPE
            bias.data = buffer.data
            bias.shape, bias.strides = [1, 1, buffer.shape[0]], [0, 0, size]
        elif not xla_array(
                buffer, numbers + (8 if arrays[i] == &y else 11 if arrays[i] == &x else 14),
                size, arrays[i]):
            return CCONV1D_BAD_SHAPE
    return convolve_arrays(<Map> map, <Method> numbers[1], dtype, &x, &w,
                           &bias if operands == 3 else NULL, &y, &g, map == BACKWARD_INPUT)


cdef cc_xla_error *xla_convolve(cc_xla_call *call) noexcept nogil:
    cdef cc_xla_metadata *metadata
    cdef cc_xla_error_arguments error
    cdef fenv_t environment
    cdef int status
    if call.extensions != NULL and call.extensions.kind == CC_XLA_METADATA:
        metadata = (<cc_xla_metadata_extension *> call.extensions).metadata
        metadata.version.major, metadata.version.minor = 0, CC_XLA_MINOR
        if call.api != NULL:  # the first versions ask without
            metadata.version.minor = max(<int> CC_XLA_MINOR, call.api.version.minor)
        return NULL
    if call.stage != CC_XLA_EXECUTE:
        return NULL
    fegetenv(&environment)
    fesetenv(FE_DFL_ENV)
    status = xla_apply(call)
    fesetenv(&environment)
    if status == CCONV1D_OK:
        return NULL
    error.size, error.extensions = sizeof(cc_xla_error_arguments), NULL
    error.message = describe(status)
    error.code = CC_XLA_INVALID_ARGUMENT
    if status == CCONV1D_NO_MEMORY:
        error.code = CC_XLA_RESOURCE_EXHAUSTED
    return call.api.create_error(&error)


_XLA_HANDLER = PyCapsule_New(<void *> xla_convolve, NULL, NULL)
