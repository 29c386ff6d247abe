# The C interface as Cython sees it; include/cconv1d.h says what everything means.

cdef extern from "cconv1d.h" nogil:
    enum:
        CCONV1D_ABI_MAJOR
        CCONV1D_ABI_MINOR
    enum:
        CCONV1D_OK
        CCONV1D_NO_MEMORY
        CCONV1D_BAD_DTYPE
        CCONV1D_BAD_SHAPE
        CCONV1D_BAD_GEOMETRY
        CCONV1D_BAD_ADDRESS
    enum:
        CCONV1D_FLOAT32
        CCONV1D_FLOAT64
        CCONV1D_FLOAT16
        CCONV1D_BFLOAT16
    Py_ssize_t CCONV1D_MAX_SIZE
    enum:
        CCONV1D_ZEROS
        CCONV1D_REFLECT
        CCONV1D_REPLICATE
        CCONV1D_CIRCULAR

    ctypedef struct cconv1d_array:
        void *data
        Py_ssize_t shape[3]
        Py_ssize_t strides[3]

    ctypedef struct cconv1d_geometry:
        Py_ssize_t stride, dilation, pad_left, pad_right, groups
        int mode

    ctypedef int (*cconv1d_team)(
        void *context, void (*member)(void *argument) noexcept nogil, void *argument,
        int threads) noexcept nogil

    ctypedef struct cconv1d_api:
        int abi_major, abi_minor
        size_t size
        int (*forward)(
            int dtype, const cconv1d_array *x, const cconv1d_array *w, const cconv1d_array *bias,
            const cconv1d_array *y, const cconv1d_geometry *geometry) noexcept nogil
        int (*backward_input)(
            int dtype, const cconv1d_array *dy, const cconv1d_array *w, const cconv1d_array *bias,
            const cconv1d_array *dx, const cconv1d_geometry *geometry) noexcept nogil
        int (*backward_weight)(
            int dtype, const cconv1d_array *dy, const cconv1d_array *x, const cconv1d_array *dw,
            const cconv1d_geometry *geometry) noexcept nogil
        int (*backward_bias)(
            int dtype, const cconv1d_array *dy, const cconv1d_array *db) noexcept nogil
        Py_ssize_t (*output_length)(
            Py_ssize_t input_length, Py_ssize_t taps,
            const cconv1d_geometry *geometry) noexcept nogil
        Py_ssize_t (*transposed_length)(
            Py_ssize_t output_length, Py_ssize_t taps,
            const cconv1d_geometry *geometry) noexcept nogil
        int (*get_num_threads)() noexcept nogil
        void (*set_num_threads)(int threads) noexcept nogil
        int (*limit_num_threads)(int threads) noexcept nogil
        const char *(*describe)(int status) noexcept nogil
        void (*lend_threads)(cconv1d_team team, void *context) noexcept nogil

    cconv1d_array cconv1d_contiguous(
        int dtype, const void *data, Py_ssize_t samples, Py_ssize_t channels, Py_ssize_t length)

cdef extern from "cconv1d.h":
    const char *CCONV1D_CAPSULE
    const cconv1d_api *cconv1d_import() except NULL
