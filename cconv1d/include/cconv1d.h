/* The compiled convolutions of cconv1d for extensions written in C, C++ or Cython.
 *
 *     #include <Python.h>
 *     #include "cconv1d.h"                  the folder is what cconv1d.get_include() returns
 *
 *     static const cconv1d_api *cc;
 *     cc = cconv1d_import();                once, where the module is initialized
 *     if (cc == NULL) return NULL;          an ImportError is set
 *
 *     status = cc->forward(CCONV1D_FLOAT32, &x, &w, NULL, &y, &geometry);
 *
 * Nothing is linked: the functions are reached through the table that cconv1d_import() returns. It
 * stays where it is until the process ends, and may be kept anywhere and by any number of modules.
 * A file that does not include Python.h before this one has all but cconv1d_import().
 *
 * All functions of the table may be called from any thread, one that Python does not know, too,
 * with the GIL or without, by many threads at once. They raise nothing and return a status. They
 * use the threads of Python's functions, and compute the same bits.
 *
 * In Cython the names are the same: `from cconv1d cimport cconv1d_api, cconv1d_import, ...`.
 */
#ifndef CCONV1D_H
#define CCONV1D_H

#include <stddef.h>

/* The major number changes when what is here changes or goes, the minor one when functions are added
 * at the table's end. cconv1d_import() refuses a library of another major or an older minor. */
#define CCONV1D_ABI_MAJOR 1
#define CCONV1D_ABI_MINOR 1

#ifdef __cplusplus
extern "C" {
#endif

/* What functions return. After any but CCONV1D_OK the results are as they were; only if memory runs
 * out in backward_input with a mode other than CCONV1D_ZEROS, they may have been changed. */
enum {
    CCONV1D_OK = 0,
    CCONV1D_NO_MEMORY = -1,
    CCONV1D_BAD_DTYPE = -2,    /* not one of those below */
    CCONV1D_BAD_SHAPE = -3,    /* negative, too large, or not the shapes of one convolution */
    CCONV1D_BAD_GEOMETRY = -4, /* out of range, or the kernel does not fit the padded input */
    CCONV1D_BAD_ADDRESS = -5   /* data or strides of an array that has items: see below */
};

/* What all arrays of a call hold: numbers in the processor's byte order. Half precision is summed in
 * float32 and rounded once. */
enum {
    CCONV1D_FLOAT32,
    CCONV1D_FLOAT64,
    CCONV1D_FLOAT16, /* IEEE 754 binary16 */
    CCONV1D_BFLOAT16 /* the upper half of a float32 */
};

/* No size, length or padding is larger: 2^48, and less where a pointer has 32 bits. */
#define CCONV1D_MAX_SIZE ((ptrdiff_t)(sizeof(ptrdiff_t) > 4 ? 281474976710656 : 134217727))

/* What lies beyond the ends of the input, as padding_mode of Python's functions. */
enum { CCONV1D_ZEROS, CCONV1D_REFLECT, CCONV1D_REPLICATE, CCONV1D_CIRCULAR };

/* An array: shape[] items along each axis, strides[] bytes from one to the next. Strides may be
 * negative; those of operands may be 0. What has fewer axes has axes of 1 in front.
 *
 * Checked: no size is negative; no array has more than CCONV1D_MAX_SIZE items, axes of 0 left out of
 * the count; where there are any, data is not NULL, and data and the strides of axes longer than 1 are
 * multiples of the item's size. NOT checked, and undefined if not so: the items lie in memory that may be read,
 * or written where it is a result; nothing else writes them during the call; those of a result have
 * no bytes in common with each other or with an operand. Only results are written. */
typedef struct {
    void *data;
    ptrdiff_t shape[3];
    ptrdiff_t strides[3];
} cconv1d_array;

/* With groups G of C input and K output channels, taps j and positions p,
 *
 *     y[n, o, p] = bias[o] + sum over c, j of  w[o, c, j] * x[n, c of o's group, q]
 *     q = p * stride + j * dilation - pad_left
 *
 *     x  (N, C, L)     w  (K, C / G, taps)     bias (1, 1, K)     y  (N, K, M)
 *     M = floor((L + pad_left + pad_right - dilation * (taps - 1) - 1) / stride) + 1
 *
 * Checked: the shapes are these; stride, dilation, groups and taps are at least 1, lengths, paddings
 * and dilation * (taps - 1) + 1 at most CCONV1D_MAX_SIZE; groups divides C and K; the dilated kernel
 * fits the padded input. A negative padding takes samples away; only CCONV1D_ZEROS has it. As in
 * PyTorch, a padding of CCONV1D_REFLECT is less than L, of CCONV1D_CIRCULAR at most L, and
 * CCONV1D_REPLICATE needs a sample. */
typedef struct {
    ptrdiff_t stride, dilation, pad_left, pad_right, groups;
    int mode;
} cconv1d_geometry;

/* A host's threads: call member(argument) on up to `threads` of them at the same time, the calling
 * one among them, and return 1 when all these calls have returned; or return 0 and call nothing, if
 * that cannot be done now: then the convolution is computed on the calling thread. */
typedef int (*cconv1d_team)(void *context, void (*member)(void *argument), void *argument,
                            int threads);

/* The arguments are not NULL, but for `bias`, where there is none. Results come behind operands. */
typedef struct {
    int abi_major, abi_minor;
    size_t size; /* of this struct in the library, at least what it was when the module was built */

    int (*forward)(int dtype, const cconv1d_array *x, const cconv1d_array *w,
                   const cconv1d_array *bias, const cconv1d_array *y,
                   const cconv1d_geometry *geometry);

    /* Gradients of sum(dy * y), each in the shape of what it belongs to. dx with a bias (1, 1, C),
     * which only CCONV1D_ZEROS may have, is a transposed convolution of dy. */
    int (*backward_input)(int dtype, const cconv1d_array *dy, const cconv1d_array *w,
                          const cconv1d_array *bias, const cconv1d_array *dx,
                          const cconv1d_geometry *geometry);
    int (*backward_weight)(int dtype, const cconv1d_array *dy, const cconv1d_array *x,
                           const cconv1d_array *dw, const cconv1d_geometry *geometry);
    int (*backward_bias)(int dtype, const cconv1d_array *dy, const cconv1d_array *db);

    /* M for L, and the least L of a given M, which is the length of a transposed convolution (of
     * pad_right its output_padding is to be taken off); or a status, which is negative. */
    ptrdiff_t (*output_length)(ptrdiff_t input_length, ptrdiff_t taps,
                               const cconv1d_geometry *geometry);
    ptrdiff_t (*transposed_length)(ptrdiff_t output_length, ptrdiff_t taps,
                                   const cconv1d_geometry *geometry);

    /* How many threads a call from this thread may use: first the limit of the block of
     * cconv1d.num_threads() that it is in, as of when it last entered or left one or called one of
     * Python's functions; else this thread's own limit; else what has been set for all threads, as
     * by cconv1d.set_num_threads(). limit_num_threads() returns what the thread's limit was, and 0
     * is none. Results do not depend on it. Less than 1, or 0, is taken for that. */
    int (*get_num_threads)(void);
    void (*set_num_threads)(int threads);
    int (*limit_num_threads)(int threads);

    const char *(*describe)(int status); /* a few words of English */

    /* Since minor 1: have calls from this thread use a host's threads from now on in place of our
     * own, or, with NULL, no longer; so that the two do not get in each other's way. Results do not
     * depend on it. A forked child is as if there had been no such call. */
    void (*lend_threads)(cconv1d_team team, void *context);
} cconv1d_api;

/* An array whose items lie side by side, the last axis first. */
static inline cconv1d_array cconv1d_contiguous(int dtype, const void *data, ptrdiff_t samples,
                                               ptrdiff_t channels, ptrdiff_t length)
{
    const size_t size = dtype == CCONV1D_FLOAT64 ? 8 : dtype == CCONV1D_FLOAT32 ? 4 : 2;
    const size_t row = (size_t)length * size; /* may overflow: the shape is refused, not this */
    cconv1d_array array;
    array.data = (void *)data;
    array.shape[0] = samples;
    array.shape[1] = channels;
    array.shape[2] = length;
    array.strides[0] = (ptrdiff_t)((size_t)channels * row);
    array.strides[1] = (ptrdiff_t)row;
    array.strides[2] = (ptrdiff_t)size;
    return array;
}

#ifdef Py_PYTHON_H

#define CCONV1D_CAPSULE "cconv1d._core._C_API"

/* The table, or NULL with an ImportError. Call it with the GIL. */
static inline const cconv1d_api *cconv1d_import(void)
{
    const cconv1d_api *api = NULL;
    PyObject *core = PyImport_ImportModule("cconv1d._core"), *capsule = NULL;
    if (core != NULL) {
        capsule = PyObject_GetAttrString(core, "_C_API");
        Py_DECREF(core);
    } else if (PyErr_ExceptionMatches(PyExc_ImportError)) {
        PyObject *type, *error, *traceback;
        PyErr_Fetch(&type, &error, &traceback);
        PyErr_NormalizeException(&type, &error, &traceback);
        PyErr_Format(PyExc_ImportError,
                     "the C interface of cconv1d needs its compiled extension, which cannot be "
                     "loaded: %S", error);
        Py_XDECREF(type);
        Py_XDECREF(error);
        Py_XDECREF(traceback);
    }
    if (capsule != NULL) {
        api = (const cconv1d_api *)PyCapsule_GetPointer(capsule, CCONV1D_CAPSULE);
        Py_DECREF(capsule); /* the table is no part of it */
    }
    if (api != NULL && (api->abi_major != CCONV1D_ABI_MAJOR || api->abi_minor < CCONV1D_ABI_MINOR
                        || api->size < sizeof(cconv1d_api))) {
        PyErr_Format(PyExc_ImportError,
                     "this module was built for version %d.%d of the C interface of cconv1d, which "
                     "does not go with version %d.%d (%zd bytes) of the one that is installed",
                     CCONV1D_ABI_MAJOR, CCONV1D_ABI_MINOR, api->abi_major, api->abi_minor,
                     (Py_ssize_t)api->size);
        api = NULL;
    }
    return api;
}

#endif

#ifdef __cplusplus
}
#endif

#endif
