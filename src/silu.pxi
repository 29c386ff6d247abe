# SiLU of results, in their place, and its gradient.
#
#     values[i] = silu(values[i])        grads[i] = grads[i] * silu'(values[i])
#
# Takes  contiguous numbers of one line; which of the functions of silu.h, by the level in use
# Gives  silu and silu_backward, each number computed by itself: threads change nothing

cdef extern from "silu.h" nogil:
    ctypedef void (*cc_silu_f32)(float *values, Py_ssize_t count) noexcept
    ctypedef void (*cc_silu_f64)(double *values, Py_ssize_t count) noexcept
    ctypedef void (*cc_silu_backward_f32)(
        const float *values, float *grads, Py_ssize_t count) noexcept
    ctypedef void (*cc_silu_backward_f64)(
        const double *values, double *grads, Py_ssize_t count) noexcept
    ctypedef struct cc_silu:
        cc_silu_f32 f32
        cc_silu_f64 f64
        cc_silu_backward_f32 backward_f32
        cc_silu_backward_f64 backward_f64
    const cc_silu *cc_silu_of(const char *name)

# Numbers in a chunk for the pool, and what one costs, in multiply-adds.
cdef enum: SILU_CHUNK = 8192, SILU_PRODUCTS = 16


cdef struct SiluJob:
    const cc_silu *functions
    const char *values
    char *out            # the values, or the gradients
    Py_ssize_t count
    Py_ssize_t size      # of a number
    bint backward


cdef void silu_chunk(void *context, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef const SiluJob *job = <const SiluJob *> context
    cdef Py_ssize_t start = chunk * SILU_CHUNK
    cdef Py_ssize_t count = min(<Py_ssize_t> SILU_CHUNK, job.count - start)
    cdef const char *values = job.values + start * job.size
    cdef char *out = job.out + start * job.size
    if job.size == sizeof(float):
        if job.backward:
            job.functions.backward_f32(<const float *> values, <float *> out, count)
        else:
            job.functions.f32(<float *> out, count)
    elif job.backward:
        job.functions.backward_f64(<const double *> values, <double *> out, count)
    else:
        job.functions.f64(<double *> out, count)


cdef int run_silu(SiluJob *job) except -1:
    job.functions = cc_silu_of(level.name)
    note_limit()
    with nogil:
        cc_pool_run(silu_chunk, job, (job.count + SILU_CHUNK - 1) // SILU_CHUNK,
                    threads_for(job.count, SILU_PRODUCTS))
    return 0


def silu(real[::1] values):
    """Each number v becomes v / (1 + exp(-v))."""
    cdef SiluJob job
    job.values, job.out = NULL, <char *> &values[0] if len(values) else NULL
    job.count, job.size, job.backward = len(values), sizeof(real), False
    run_silu(&job)


def silu_backward(const real[::1] values, real[::1] grads):
    """Each gradient is multiplied by the slope of SiLU at its value."""
    cdef SiluJob job
    if len(values) != len(grads):
        raise ValueError(f"there are {len(values)} values, but {len(grads)} gradients")
    job.values = <const char *> &values[0] if len(values) else NULL
    job.out = <char *> &grads[0] if len(values) else NULL
    job.count, job.size, job.backward = len(values), sizeof(real), True
    run_silu(&job)
