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
# Lanes run along channels. Loops, outermost first: chunks of the pool (strips of channels), whose
# weights are transposed once; signals. Nothing is allocated, so nothing can fail once a state has
# moved. It moves first where it has all samples of a sum then, and tiles can read them there.

# Of a strip the weights and the samples are UPDATE_NUMBERS at most, which stay near.
cdef enum: UPDATE_TAPS = 16, UPDATE_NUMBERS = 17 * 128, UPDATE_CHANNELS = 256
# Samples that are turned into lanes as fast as fewer.
cdef enum: UPDATE_PIECE = 4
# What activation and stores cost, in multiply-adds.
cdef enum: UPDATE_PRODUCTS = 16


cdef struct Update:
    # A job for the pool.
    const cc_tiles *tiles
    const cc_silu *silu          # or NULL
    Py_ssize_t size              # of a number as it is computed
    Py_ssize_t strip             # channels
    Py_ssize_t taps
    View x                       # [signal, channel, 0]
    View state                   # [signal, channel, sample]
    View w                       # [0, channel, tap]
    View y                       # [signal, channel, 0]
    View bias                    # [0, channel, 0], or nothing


ctypedef fused item:
    uint16_t
    uint32_t
    uint64_t


cdef void move_items(
    char *to, Py_ssize_t step, const char *first, Py_ssize_t first_step, Py_ssize_t count,
    item unused
) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(count):
        (<item *> (to + i * step))[0] = (<const item *> (first + i * first_step))[0]


cdef void move_numbers(
    char *to, Py_ssize_t step, const char *first, Py_ssize_t first_step, Py_ssize_t count,
    Py_ssize_t size
) noexcept nogil:
    """Numbers as they are stored, one after another."""
    if step == first_step == size:
        memmove(to, first, count * size)
    elif size == sizeof(uint16_t):
        move_items[uint16_t](to, step, first, first_step, count, 0)
    elif size == sizeof(uint32_t):
        move_items[uint32_t](to, step, first, first_step, count, 0)
    else:
        move_items[uint64_t](to, step, first, first_step, count, 0)


cdef void move_state(
    const Update *job, char *state, const char *x, Py_ssize_t count
) noexcept nogil:
    """The states of some channels lose their first samples, and get those of x, as stored."""
    cdef Py_ssize_t along = job.state.strides[1], step = job.state.strides[2], j
    cdef Py_ssize_t width = job.state.shape[2], last = (width - 1) * step, x_step = job.x.strides[1]
    cdef Py_ssize_t size = stored_size(&job.state, job.size)
    if width == 0:
        return
    if step == size and along == last + step:
        memmove(state, state + step, count * along - step)  # the last ones come below
    else:
        for j in range(width - 1):
            move_numbers(state + j * step, along, state + (j + 1) * step, along, count, size)
    move_numbers(state + last, along, x, x_step, count, size)


cdef void load_strip(
    const View *view, const char *first, Py_ssize_t step, Py_ssize_t count, real *row
) noexcept nogil:
    """`load_row`, of which one copy is enough here."""
    load_row[real](view, first, step, count, row)


cdef void update_strip(
    const Update *job, Py_ssize_t first, Py_ssize_t count, real *unused
) noexcept nogil:
    """Some channels of all signals."""
    cdef const cc_tiles *tiles = job.tiles
    cdef const View *state = &job.state
    cdef real weights[UPDATE_NUMBERS]
    cdef real row[UPDATE_NUMBERS]
    cdef real line[UPDATE_NUMBERS]
    cdef real biases[UPDATE_CHANNELS]
    cdef real results[UPDATE_CHANNELS]
    cdef int32_t offset[UPDATE_TAPS]
    cdef int32_t w_offset[UPDATE_TAPS]
    cdef Py_ssize_t lanes = tiles.gemm_lanes, width = state.shape[2], reach = job.taps - 1
    cdef Py_ssize_t blocks = (count + lanes - 1) // lanes, step = state.strides[2]
    cdef Py_ssize_t stored = stored_size(state, sizeof(real)), held = reach  # samples of the state
    cdef Py_ssize_t block, pitch, b, j, rest, t = 0
    cdef bint adjacent = state.strides[1] == stored
    cdef bint in_place = (adjacent and width > reach and count % lanes == 0 and state.half == NULL
                          and step % stored == 0 and magnitude(step) < INT32_MAX // UPDATE_TAPS)
    cdef bint flat = False, back = False  # whether the states come from lanes as they went there
    cdef const real *samples = row
    cdef const real *bias = NULL
    cdef const char *x
    cdef char *place
    if adjacent:
        block, pitch = lanes, step // stored if in_place else blocks * lanes
    else:
        if width <= job.taps:
            held = width
        elif 0 < held < UPDATE_PIECE:
            held = min(width, UPDATE_PIECE)
        back = (state.half == NULL and held == width > 0 and count % lanes == 0
                and step == stored and state.strides[1] % stored == 0)
        block, pitch = (held + 1) * lanes, lanes
        flat = (state.half != NULL and step == stored and state.strides[1] == width * stored
                and blocks * lanes * width <= UPDATE_NUMBERS)
    if not in_place:
        memset(row, 0, sizeof(row))  # for lanes without a channel
    for rest in range(min(<Py_ssize_t> CC_SHIFT, job.taps)):  # in the order of order_taps
        for j from rest <= j < job.taps by CC_SHIFT:
            w_offset[t] = <int32_t> (j * lanes)
            offset[t] = <int32_t> ((held - reach + j) * pitch)
            t += 1
    load_lanes[real](tiles, &job.w, 0, first, count, 0, job.taps, weights, job.taps * lanes, line)
    if flat and count % lanes:
        memset(line, 0, sizeof(line))
    if job.bias.data != NULL:
        memset(biases, 0, sizeof(biases))
        load_strip[real](state, at(&job.bias, 0, first, 0), job.bias.strides[1], count, biases)
        bias = biases
    for b in range(state.shape[0]):
        x, place = at(&job.x, b, first, 0), at(state, b, first, 0)
        if in_place:
            move_state(job, place, x, count)
            samples = <const real *> (place + (width - job.taps) * step)
        elif adjacent:
            for j in range(reach):
                load_strip[real](state, place + (width - reach + j) * step, stored, count,
                                 row + j * pitch)
            load_strip[real](state, x, job.x.strides[1], count, row + reach * pitch)
        else:
            if flat:
                load_strip[real](state, place, stored, count * width, line)
                tiles.rows_to_lanes(line + (width - held), width, held, row, block, blocks)
            elif held > 0:
                load_lanes[real](tiles, state, b, first, count, width - held, held, row, block,
                                 line)
            for j in range(blocks):
                load_strip[real](state, x + j * lanes * job.x.strides[1], job.x.strides[1],
                                 min(lanes, count - j * lanes), row + (j * block + held * lanes))
        tiles.depthwise_blocks[1](samples, 0, block, offset, weights, job.taps * lanes, w_offset,
                                  job.taps, results, lanes, lanes, bias, False, blocks)
        if job.silu != NULL:
            if real is float:
                job.silu.f32(results, count)
            else:
                job.silu.f64(results, count)
        store_row[real](&job.y, at(&job.y, b, first, 0), job.y.strides[1], count, results)
        if back:
            tiles.lanes_to_rows(row + lanes, block, width, place, state.strides[1] // stored,
                                blocks)
        elif not in_place:
            move_state(job, place, x, count)


cdef void update_chunk(void *context, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef const Update *job = <const Update *> context
    cdef Py_ssize_t first = chunk * job.strip
    cdef Py_ssize_t count = min(job.strip, job.x.shape[1] - first)
    if job.size == sizeof(float):
        update_strip[float](job, first, count, NULL)
    else:
        update_strip[double](job, first, count, NULL)


cdef void run_update(Update *job) noexcept nogil:
    cdef Py_ssize_t lanes = job.tiles.gemm_lanes, channels = job.x.shape[1], chunks
    cdef int threads = threads_for(job.x.shape[0] * channels, job.taps + UPDATE_PRODUCTS)
    job.strip = min(UPDATE_CHANNELS, UPDATE_NUMBERS // (max(job.taps, UPDATE_PIECE) + 1))
    if threads > 1:
        job.strip = min(job.strip, channels // (CHUNKS_PER_THREAD * threads))
    job.strip = max(job.strip // lanes, 1) * lanes
    chunks = (channels + job.strip - 1) // job.strip
    cc_pool_run(update_chunk, job, chunks, <int> min(chunks, threads))


cdef View view_of_step(PyArrayObject *array, const Format *form) noexcept:
    """An array of shape (B, D) or (B, D, 1)."""
    cdef View view = nothing
    cdef int axis
    view.data, view.half, view.shape[2] = <char *> PyArray_DATA(array), form.half, 1
    for axis in range(2):
        view.shape[axis] = PyArray_DIMS(array)[axis]
        view.strides[axis] = PyArray_STRIDES(array)[axis]
    return view


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
    shape.sizes[0], shape.sizes[1], shape.sizes[2] = (
        PyArray_DIMS(array)[0], PyArray_DIMS(array)[1], 1)
    job.x = view_of_step(array, &form)
    job.size = form.size

    array = <PyArrayObject *> arrays[1]
    if PyArray_NDIM(array) != 2 or PyArray_DIMS(array)[0] != shape.sizes[1]:
        return None
    job.w = view_of_numpy(arrays[1], SIGNAL, False, &form, False)
    job.taps = job.w.shape[2]

    array = <PyArrayObject *> place
    if (PyArray_NDIM(array) != 3 or PyArray_DIMS(array)[0] != shape.sizes[0]
            or PyArray_DIMS(array)[1] != shape.sizes[1]
            or not PyArray_CHKFLAGS(array, NPY_ARRAY_WRITEABLE)):
        return None
    job.state = view_of_numpy(place, SIGNAL, False, &form, False)

    job.bias = nothing
    if arrays[2] != NULL:
        array = <PyArrayObject *> arrays[2]
        if PyArray_NDIM(array) != 1 or PyArray_DIMS(array)[0] != shape.sizes[1]:
            return None
        job.bias = view_of_numpy(arrays[2], SIGNAL, False, &form, False)  # as (1, 1, D)
        job.bias.shape[1], job.bias.shape[2] = job.bias.shape[2], 1
        job.bias.strides[1] = job.bias.strides[2]

    job.tiles = level.f32 if form.size == sizeof(float) else level.f64
    if (not 1 <= job.taps <= UPDATE_TAPS or job.state.shape[2] < job.taps - 1
            or job.tiles.gemm_lanes * (UPDATE_TAPS + 1) > UPDATE_NUMBERS
            or shape.sizes[0] == 0 or shape.sizes[1] == 0 or may_overlap(place, arrays)):
        return None
    job.silu = cc_silu_of(level.name) if silu else NULL
    y = new_array(arrays[0], &shape)
    job.y = view_of_step(<PyArrayObject *> <PyObject *> y, &form)
    if shape.sizes[0] * shape.sizes[1] * job.taps < TINY_PRODUCTS:
        run_update(&job)
    else:
        note_limit()
        with nogil:
            run_update(&job)
    return y
