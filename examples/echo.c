/* What echo_canceller.py builds: a kernel that learns from every block of a signal, without the GIL. */
#include <Python.h>
#include "cconv1d.h"

static const cconv1d_api *cc;
static const cconv1d_geometry geometry = {1, 1, 0, 0, 1, CCONV1D_ZEROS};

/* The microphone without what the kernel makes of the loudspeaker, and after every block a step of
 * the kernel down the gradient of the energy that is left, by so much of what that block allows. */
static int learn(const float *speaker, const float *microphone, float *weight, float *gradient,
                 float *left, ptrdiff_t length, ptrdiff_t taps, ptrdiff_t block, double rate)
{
    const cconv1d_array w = cconv1d_contiguous(CCONV1D_FLOAT32, weight, 1, 1, taps);
    const cconv1d_array dw = cconv1d_contiguous(CCONV1D_FLOAT32, gradient, 1, 1, taps);
    int status = CCONV1D_OK;
    for (ptrdiff_t begin = 0; begin < length && status == CCONV1D_OK; begin += block) {
        const ptrdiff_t count = length - begin < block ? length - begin : block;
        const cconv1d_array x =
            cconv1d_contiguous(CCONV1D_FLOAT32, speaker + begin, 1, 1, count + taps - 1);
        const cconv1d_array y = cconv1d_contiguous(CCONV1D_FLOAT32, left + begin, 1, 1, count);
        double energy = 0;
        status = cc->forward(CCONV1D_FLOAT32, &x, &w, NULL, &y, &geometry);
        if (status != CCONV1D_OK)
            break;
        for (ptrdiff_t p = begin; p < begin + count; p++)
            left[p] = microphone[p] - left[p];
        status = cc->backward_weight(CCONV1D_FLOAT32, &y, &x, &dw, &geometry);
        for (ptrdiff_t p = begin; p < begin + count + taps - 1; p++)
            energy += (double)speaker[p] * speaker[p];
        for (ptrdiff_t j = 0; j < taps && status == CCONV1D_OK; j++)
            weight[j] += (float)(rate / (energy + 1e-3) * gradient[j]);
    }
    return status;
}

static PyObject *cancel(PyObject *self, PyObject *args)
{
    Py_buffer speaker, microphone, weight, left;
    Py_ssize_t block;
    double rate;
    int status = CCONV1D_OK;
    float *gradient = NULL;
    (void)self;
    if (!PyArg_ParseTuple(args, "y*y*w*w*nd", &speaker, &microphone, &weight, &left, &block, &rate))
        return NULL;
    const Py_ssize_t length = microphone.len / 4, taps = weight.len / 4;
    if (left.len / 4 != length || speaker.len / 4 != length + taps - 1 || taps < 1 || block < 1)
        PyErr_SetString(PyExc_ValueError, "the lengths do not go with one another");
    else if ((gradient = PyMem_Malloc(weight.len)) == NULL)
        PyErr_NoMemory();
    else {
        Py_BEGIN_ALLOW_THREADS
        status = learn(speaker.buf, microphone.buf, weight.buf, gradient, left.buf, length, taps,
                       block, rate);
        Py_END_ALLOW_THREADS
        if (status != CCONV1D_OK)
            PyErr_SetString(PyExc_ValueError, cc->describe(status));
    }
    PyMem_Free(gradient);
    PyBuffer_Release(&speaker);
    PyBuffer_Release(&microphone);
    PyBuffer_Release(&weight);
    PyBuffer_Release(&left);
    if (PyErr_Occurred())
        return NULL;
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"cancel", cancel, METH_VARARGS,
     "cancel(speaker, microphone, weight, left, block, rate), the arrays of float32"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, .m_name = "echo", .m_size = -1, .m_methods = methods,
};

PyMODINIT_FUNC PyInit_echo(void)
{
    PyObject *created = NULL;
    if ((cc = cconv1d_import()) != NULL)
        created = PyModule_Create(&module);
#ifdef Py_GIL_DISABLED
    if (created != NULL)
        PyUnstable_Module_SetGIL(created, Py_MOD_GIL_NOT_USED);
#endif
    return created;
}
