# cython: language_level=3, freethreading_compatible=True
"""The C interface, handed through to check.py: see consumer_c.c, which is the same in C."""

from cconv1d cimport (
    CCONV1D_ABI_MAJOR, CCONV1D_ABI_MINOR, cconv1d_api, cconv1d_array, cconv1d_contiguous,
    cconv1d_geometry, cconv1d_import)

from libc.stdint cimport uintptr_t

cdef const cconv1d_api *cc = cconv1d_import()


cdef cconv1d_array *as_array(object value, cconv1d_array *array) except? NULL:
    if value is None:
        return NULL
    address, shape, strides = value
    array.data = <void *> <uintptr_t> address
    for axis in range(3):
        array.shape[axis] = shape[axis]
        array.strides[axis] = strides[axis]
    return array


cdef cconv1d_geometry as_geometry(tuple value):
    stride, dilation, pad_left, pad_right, groups, mode = value
    return cconv1d_geometry(stride, dilation, pad_left, pad_right, groups, mode)


def call(str name, int dtype, first, second, bias, result, tuple geometry):
    cdef cconv1d_array first_array, second_array, bias_array, result_array
    cdef const cconv1d_array *a = as_array(first, &first_array)
    cdef const cconv1d_array *b = as_array(second, &second_array)
    cdef const cconv1d_array *c = as_array(bias, &bias_array)
    cdef const cconv1d_array *d = as_array(result, &result_array)
    cdef cconv1d_geometry g = as_geometry(geometry)
    cdef int which = ("forward", "backward_input", "backward_weight", "backward_bias").index(name)
    cdef int status
    with nogil:
        if which == 0:
            status = cc.forward(dtype, a, b, c, d, &g)
        elif which == 1:
            status = cc.backward_input(dtype, a, b, c, d, &g)
        elif which == 2:
            status = cc.backward_weight(dtype, a, b, d, &g)
        else:
            status = cc.backward_bias(dtype, a, d)
    return status


def output_length(Py_ssize_t length, Py_ssize_t taps, tuple geometry):
    cdef cconv1d_geometry g = as_geometry(geometry)
    return cc.output_length(length, taps, &g)


def transposed_length(Py_ssize_t length, Py_ssize_t taps, tuple geometry):
    cdef cconv1d_geometry g = as_geometry(geometry)
    return cc.transposed_length(length, taps, &g)


def contiguous(int dtype, uintptr_t address, Py_ssize_t samples, Py_ssize_t channels,
               Py_ssize_t length):
    cdef cconv1d_array array = cconv1d_contiguous(dtype, <void *> address, samples, channels,
                                                  length)
    return <uintptr_t> array.data, tuple(array.shape), tuple(array.strides)


def get_num_threads():
    return cc.get_num_threads()


def set_num_threads(int threads):
    cc.set_num_threads(threads)


def limit_num_threads(int threads):
    return cc.limit_num_threads(threads)


def describe(int status):
    return cc.describe(status).decode()


def version():
    return CCONV1D_ABI_MAJOR, CCONV1D_ABI_MINOR, cc.abi_major, cc.abi_minor
