# One step of depthwise causal convolutions, which moves their states on: causal_conv1d_update.
#
#     y[b, d] = act(bias[d] + Σ_j w[d, j] · row[b, d, j])
#
#     row[b, d]: the last W − 1 samples of state[b, d], and x[b, d] behind them. Then the state
#     loses its first sample, and x[b, d] is its last.
#
# Takes  ordinary arrays: see usual_calls.pxi. Any strides; a position for each signal.
# Gives  update_states, which returns None where there is anything to check, convert or refuse:
#        then _causal.py goes the long way, through conv1d, to the same bits.
#
# Lanes run along channels. Loops, outermost first: chunks of the pool (as many channels as a tile
# has lanes), whose weights are transposed once; signals. Nothing is allocated, so nothing can fail
# once a state has moved.

# A tile of more taps would not fit the stack, and what of it is packed counts less.
cdef enum: UPDATE_TAPS = 16, UPDATE_LANES = 64
# What activation and stores cost, in multiply-adds.
cdef enum: UPDATE_PRODUCTS = 16


cdef struct Update:
    # A job for the pool.
    const cc_tiles *tiles
    const cc_silu *silu          # or NULL
    View format                  # of all arrays
    Py_ssize_t size              # of a number as it is computed
    Py_ssize_t signals, channels, taps, width
    const char *x
    Py_ssize_t x_strides[2]      # [signal][channel]
    char *state
    Py_ssize_t state_strides[3]  # [signal][channel][sample]
    const char *w
    Py_ssize_t w_strides[2]      # [channel][tap]
    const char *bias             # or NULL
    Py_ssize_t bias_stride
    char *y
    Py_ssize_t y_strides[2]


ctypedef fused item:
    uint16_t
    uint32_t
    uint64_t


cdef inline void move_state(
    const Update *job, char *state, const char *x, Py_ssize_t count, item unused
) noexcept nogil:
    """The states of some channels lose their first samples, and get those of x, as stored."""
    cdef Py_ssize_t along = job.state_strides[1], step = job.state_strides[2], i, j
    cdef Py_ssize_t last = (job.width - 1) * step, x_step = job.x_strides[1]
    if job.width == 0:
        return
    if step == sizeof(item) and along == last + step:
        memmove(state, state + step, count * along - step)  # the last ones come below
    elif along == sizeof(item):
        for j in range(job.width - 1):
            memmove(state + j * step, state + (j + 1) * step, count * sizeof(item))
    else:
        for i in range(count):
            for j in range(job.width - 1):
                (<item *> (state + i * along + j * step))[0] = (
                    <const item *> (state + i * along + (j + 1) * step))[0]
    for i in range(count):
        (<item *> (state + i * along + last))[0] = (<const item *> (x + i * x_step))[0]


cdef void update_channels(
    const Update *job, Py_ssize_t chunk, int worker, real *unused
) noexcept nogil:
    cdef const View *format = &job.format
    cdef real weights[UPDATE_TAPS * UPDATE_LANES]
    cdef real row[UPDATE_TAPS * UPDATE_LANES]
    cdef real biases[UPDATE_LANES]
    cdef real results[UPDATE_LANES]
    cdef int32_t offset[UPDATE_TAPS]
    cdef Py_ssize_t lanes = job.tiles.gemm_lanes, first = chunk * lanes
    cdef Py_ssize_t along = job.state_strides[1]
    cdef Py_ssize_t count = min(lanes, job.channels - first), reach = job.taps - 1
    cdef Py_ssize_t rest, j, b, t = 0
    cdef const char *w = job.w + first * job.w_strides[0]
    cdef const real *bias = NULL
    cdef const char *x
    cdef char *state
    for rest in range(min(<Py_ssize_t> CC_SHIFT, job.taps)):  # in the order of order_taps
        for j from rest <= j < job.taps by CC_SHIFT:
            offset[t] = <int32_t> (j * lanes)
            load_row[real](format, w + j * job.w_strides[1], job.w_strides[0], count,
                           weights + t * lanes)
            if count < lanes:
                memset(weights + (t * lanes + count), 0, (lanes - count) * sizeof(real))
                memset(row + (j * lanes + count), 0, (lanes - count) * sizeof(real))
            t += 1
    if job.bias != NULL:
        load_row[real](format, job.bias + first * job.bias_stride, job.bias_stride, count, biases)
        memset(biases + count, 0, (lanes - count) * sizeof(real))
        bias = biases
    for b in range(job.signals):
        x = job.x + b * job.x_strides[0] + first * job.x_strides[1]
        state = job.state + b * job.state_strides[0] + first * along
        for j in range(reach):
            load_row[real](format, state + (job.width - reach + j) * job.state_strides[2], along,
                           count, row + j * lanes)
        load_row[real](format, x, job.x_strides[1], count, row + reach * lanes)
        job.tiles.depthwise[1](row, 0, offset, job.taps, weights, lanes, results, lanes, bias,
                               False)
        if job.silu != NULL:
            if real is float:
                job.silu.f32(results, count)
            else:
                job.silu.f64(results, count)
        store_row[real](format, job.y + b * job.y_strides[0] + first * job.y_strides[1],
                        job.y_strides[1], count, results)
        if format.half != NULL:
            move_state[uint16_t](job, state, x, count, 0)
        elif real is float:
            move_state[uint32_t](job, state, x, count, 0)
        else:
            move_state[uint64_t](job, state, x, count, 0)


cdef void update_chunk(void *context, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef const Update *job = <const Update *> context
    if job.size == sizeof(float):
        update_channels[float](job, chunk, worker, NULL)
    else:
        update_channels[double](job, chunk, worker, NULL)


cdef void run_update(Update *job) noexcept nogil:
    cdef Py_ssize_t chunks = (job.channels + job.tiles.gemm_lanes - 1) // job.tiles.gemm_lanes
    cc_pool_run(update_chunk, job, chunks, <int> min(
        chunks, threads_for(job.signals * job.channels, job.taps + UPDATE_PRODUCTS)))


def update_states(x, state, w, bias, bint silu):
    """The outputs for x, of shape (B, D) or (B, D, 1), once the state has moved on; or None."""
    cdef PyObject *arrays[3]
    cdef PyObject *place = <PyObject *> state
    cdef PyArrayObject *array
    cdef const PyArray_Descr *dtype
    cdef Format form
    cdef Shape shape
    cdef Update job
    cdef int axis
    arrays[0], arrays[1] = <PyObject *> x, <PyObject *> w
    arrays[2] = NULL if bias is None else <PyObject *> bias
    if not begins_usual(arrays[0], &form) or form.pair:
        return None
    dtype = PyArray_DESCR(<PyArrayObject *> arrays[0])
    if not (is_usual(arrays[0], dtype) and is_usual(arrays[1], dtype) and is_usual(place, dtype)
            and (arrays[2] == NULL or is_usual(arrays[2], dtype))):
        return None

    array = <PyArrayObject *> arrays[0]
    shape.ndim = PyArray_NDIM(array)
    if shape.ndim < 2 or shape.ndim == 3 and PyArray_DIMS(array)[2] != 1:
        return None
    shape.sizes[2] = 1
    for axis in range(2):
        shape.sizes[axis] = PyArray_DIMS(array)[axis]
        job.x_strides[axis] = PyArray_STRIDES(array)[axis]
    job.signals, job.channels, job.x = shape.sizes[0], shape.sizes[1], <char *> PyArray_DATA(array)
    job.size = form.size

    array = <PyArrayObject *> arrays[1]
    if PyArray_NDIM(array) != 2 or PyArray_DIMS(array)[0] != job.channels:
        return None
    job.taps, job.w = PyArray_DIMS(array)[1], <char *> PyArray_DATA(array)
    job.w_strides[0], job.w_strides[1] = PyArray_STRIDES(array)[0], PyArray_STRIDES(array)[1]

    array = <PyArrayObject *> place
    if (PyArray_NDIM(array) != 3 or PyArray_DIMS(array)[0] != job.signals
            or PyArray_DIMS(array)[1] != job.channels
            or not PyArray_CHKFLAGS(array, NPY_ARRAY_WRITEABLE)):
        return None
    job.width, job.state = PyArray_DIMS(array)[2], <char *> PyArray_DATA(array)
    for axis in range(3):
        job.state_strides[axis] = PyArray_STRIDES(array)[axis]

    job.bias, job.bias_stride = NULL, 0
    if arrays[2] != NULL:
        array = <PyArrayObject *> arrays[2]
        if PyArray_NDIM(array) != 1 or PyArray_DIMS(array)[0] != job.channels:
            return None
        job.bias, job.bias_stride = <char *> PyArray_DATA(array), PyArray_STRIDES(array)[0]

    job.tiles = level.f32 if form.size == sizeof(float) else level.f64
    if (not 1 <= job.taps <= UPDATE_TAPS or job.width < job.taps - 1
            or job.tiles.gemm_lanes > UPDATE_LANES or job.signals == 0 or job.channels == 0
            or may_overlap(place, arrays)):
        return None
    job.silu = cc_silu_of(level.name) if silu else NULL
    job.format = nothing
    job.format.half = form.half
    y = new_array(arrays[0], &shape)
    array = <PyArrayObject *> <PyObject *> y
    job.y = <char *> PyArray_DATA(array)
    job.y_strides[0], job.y_strides[1] = PyArray_STRIDES(array)[0], PyArray_STRIDES(array)[1]
    if job.signals * job.channels * job.taps < TINY_PRODUCTS:
        run_update(&job)
    else:
        note_limit()
        with nogil:
            run_update(&job)
    return y
