/* The C interface, handed through to check.py: arrays as (address, shape, strides), the geometry as
 * a tuple of its members. Compiled as C, and by consumer_cpp.cpp as C++. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "cconv1d.h"

#ifndef _WIN32
#include <pthread.h>
#endif

#ifndef MODULE
#define MODULE "consumer_c"
#define INITIALIZE PyInit_consumer_c
#endif

enum { THREADS = 16 };

static const cconv1d_api *cc;

typedef struct {
    const char *name;
    int dtype;
    cconv1d_array first, second, bias, result;
    int has_bias;
    cconv1d_geometry geometry;
    int status;
} job;

/* A thread of the system's, which may be one that Python does not know. */
static void *run(void *argument)
{
    job *const j = (job *)argument;
    const cconv1d_array *bias = j->has_bias ? &j->bias : NULL;
    if (strcmp(j->name, "forward") == 0)
        j->status = cc->forward(j->dtype, &j->first, &j->second, bias, &j->result, &j->geometry);
    else if (strcmp(j->name, "backward_input") == 0)
        j->status = cc->backward_input(j->dtype, &j->first, &j->second, bias, &j->result,
                                       &j->geometry);
    else if (strcmp(j->name, "backward_weight") == 0)
        j->status = cc->backward_weight(j->dtype, &j->first, &j->second, &j->result, &j->geometry);
    else
        j->status = cc->backward_bias(j->dtype, &j->first, &j->result);
    return NULL;
}

/* 1 if there is one, 0 for None, -1 with an exception. */
static int get_array(PyObject *value, cconv1d_array *array)
{
    Py_ssize_t address, *shape = array->shape, *strides = array->strides;
    if (value == Py_None)
        return 0;
    if (!PyArg_ParseTuple(value, "n(nnn)(nnn)", &address, &shape[0], &shape[1], &shape[2],
                          &strides[0], &strides[1], &strides[2]))
        return -1;
    array->data = (void *)address;
    return 1;
}

static int get_job(PyObject *arguments, job *j, PyObject **results)
{
    PyObject *first, *second, *bias;
    cconv1d_geometry *const g = &j->geometry;
    if (!PyArg_ParseTuple(arguments, "siOOOO(nnnnni)", &j->name, &j->dtype, &first, &second, &bias,
                          results, &g->stride, &g->dilation, &g->pad_left, &g->pad_right,
                          &g->groups, &g->mode))
        return 0;
    j->has_bias = get_array(bias, &j->bias);
    return j->has_bias >= 0 && get_array(first, &j->first) >= 0
           && get_array(second, &j->second) >= 0;
}

static PyObject *call(PyObject *self, PyObject *arguments)
{
    job j;
    PyObject *result;
    (void)self;
    if (!get_job(arguments, &j, &result) || get_array(result, &j.result) < 0)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    run(&j);
    Py_END_ALLOW_THREADS
    return PyLong_FromLong(j.status);
}

/* The same for several results at once, each in a thread of its own, while this one has the GIL. */
static PyObject *call_in_threads(PyObject *self, PyObject *arguments)
{
#ifdef _WIN32
    (void)self;
    (void)arguments;
    Py_RETURN_NOTIMPLEMENTED;
#else
    job jobs[THREADS];
    pthread_t threads[THREADS];
    PyObject *results, *statuses;
    Py_ssize_t i, count, started;
    (void)self;
    if (!get_job(arguments, &jobs[0], &results))
        return NULL;
    count = PyTuple_Size(results);
    if (count < 1 || count > THREADS)
        return PyErr_Format(PyExc_ValueError, "1 to %d results, in a tuple", THREADS);
    for (i = 0; i < count; i++) {
        jobs[i] = jobs[0];
        if (get_array(PyTuple_GET_ITEM(results, i), &jobs[i].result) < 0)
            return NULL;
    }
    for (started = 0; started < count; started++)
        if (pthread_create(&threads[started], NULL, run, &jobs[started]) != 0)
            break;
    for (i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    statuses = PyTuple_New(started);
    for (i = 0; statuses != NULL && i < started; i++)
        PyTuple_SET_ITEM(statuses, i, PyLong_FromLong(jobs[i].status));
    return statuses;
#endif
}

static PyObject *length_by(PyObject *arguments,
                           ptrdiff_t (*function)(ptrdiff_t, ptrdiff_t, const cconv1d_geometry *))
{
    Py_ssize_t length, taps;
    cconv1d_geometry g;
    if (!PyArg_ParseTuple(arguments, "nn(nnnnni)", &length, &taps, &g.stride, &g.dilation,
                          &g.pad_left, &g.pad_right, &g.groups, &g.mode))
        return NULL;
    return PyLong_FromSsize_t(function(length, taps, &g));
}

static PyObject *output_length(PyObject *self, PyObject *arguments)
{
    (void)self;
    return length_by(arguments, cc->output_length);
}

static PyObject *transposed_length(PyObject *self, PyObject *arguments)
{
    (void)self;
    return length_by(arguments, cc->transposed_length);
}

static PyObject *contiguous(PyObject *self, PyObject *arguments)
{
    int dtype;
    Py_ssize_t address, samples, channels, length;
    cconv1d_array a;
    (void)self;
    if (!PyArg_ParseTuple(arguments, "innnn", &dtype, &address, &samples, &channels, &length))
        return NULL;
    a = cconv1d_contiguous(dtype, (const void *)address, samples, channels, length);
    return Py_BuildValue("n(nnn)(nnn)", (Py_ssize_t)a.data, a.shape[0], a.shape[1], a.shape[2],
                         a.strides[0], a.strides[1], a.strides[2]);
}

static PyObject *get_num_threads(PyObject *self, PyObject *arguments)
{
    (void)self;
    (void)arguments;
    return PyLong_FromLong(cc->get_num_threads());
}

static PyObject *set_num_threads(PyObject *self, PyObject *argument)
{
    (void)self;
    cc->set_num_threads((int)PyLong_AsLong(argument));
    Py_RETURN_NONE;
}

static PyObject *limit_num_threads(PyObject *self, PyObject *argument)
{
    (void)self;
    return PyLong_FromLong(cc->limit_num_threads((int)PyLong_AsLong(argument)));
}

static PyObject *describe(PyObject *self, PyObject *argument)
{
    (void)self;
    return PyUnicode_FromString(cc->describe((int)PyLong_AsLong(argument)));
}

static PyObject *version(PyObject *self, PyObject *arguments)
{
    (void)self;
    (void)arguments;
    return Py_BuildValue("iiii", CCONV1D_ABI_MAJOR, CCONV1D_ABI_MINOR, cc->abi_major,
                         cc->abi_minor);
}

static PyMethodDef methods[] = {
    {"call", call, METH_VARARGS, NULL},
    {"call_in_threads", call_in_threads, METH_VARARGS, NULL},
    {"output_length", output_length, METH_VARARGS, NULL},
    {"transposed_length", transposed_length, METH_VARARGS, NULL},
    {"contiguous", contiguous, METH_VARARGS, NULL},
    {"get_num_threads", get_num_threads, METH_NOARGS, NULL},
    {"set_num_threads", set_num_threads, METH_O, NULL},
    {"limit_num_threads", limit_num_threads, METH_O, NULL},
    {"describe", describe, METH_O, NULL},
    {"version", version, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL}
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, MODULE, NULL, -1, methods, NULL, NULL, NULL, NULL
};

PyMODINIT_FUNC INITIALIZE(void)
{
    PyObject *created;
    cc = cconv1d_import();
    if (cc == NULL)
        return NULL;
    created = PyModule_Create(&module);
#ifdef Py_GIL_DISABLED
    if (created != NULL)
        PyUnstable_Module_SetGIL(created, Py_MOD_GIL_NOT_USED);
#endif
    return created;
}
