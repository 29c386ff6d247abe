# The gradient of the bias: positions summed, in the order of the samples.

cdef struct BiasGradient:
    # A job for the pool. Its chunks are some output channels each.
    const cc_tiles *tiles
    const View *dy
    char *db
    Py_ssize_t db_stride, chunks
    char *workers                      # the threads' own scratch
    Py_ssize_t worker_size


cdef void bias_chunk(const BiasGradient *job, real *line, Py_ssize_t chunk) noexcept nogil:
    """The sums of some rows of dy, range by range, as backward_weight with lanes along them."""
    cdef const View *dy = job.dy
    cdef bint in_place = distance_of_rows(dy, 1, 0, sizeof(real)) != 0
    cdef const real *samples = line
    cdef Py_ssize_t row, n, p0, inside
    cdef real total
    for row in range(chunk * dy.shape[1] // job.chunks, (chunk + 1) * dy.shape[1] // job.chunks):
        total = 0
        for n in range(dy.shape[0]):
            for p0 from 0 <= p0 < dy.shape[2] by FOLD_POSITIONS:
                inside = min(FOLD_POSITIONS, dy.shape[2] - p0)
                if in_place:
                    samples = <const real *> at(dy, n, row, p0)
                else:
                    copy_row[real](dy, n, row, p0, 1, inside, line)
                job.tiles.sum(samples, inside, &total)
        store_row[real](dy, job.db + row * job.db_stride, 0, 1, &total)


cdef void bias_chunk_f32(void *job, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef const BiasGradient *bias = <const BiasGradient *> job
    bias_chunk[float](bias, <float *> (bias.workers + worker * bias.worker_size), chunk)


cdef void bias_chunk_f64(void *job, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef const BiasGradient *bias = <const BiasGradient *> job
    bias_chunk[double](bias, <double *> (bias.workers + worker * bias.worker_size), chunk)


cdef bint bias_gradient(
    const cc_tiles *tiles, const View *dy, real *db, Py_ssize_t db_stride
) noexcept nogil:
    """db; false if memory ran out, with nothing stored."""
    cdef BiasGradient job
    cdef Scratch scratch
    cdef int workers = threads_for(dy.shape[1], dy.shape[0] * dy.shape[2])
    if dy.shape[1] == 0:
        return True
    job.tiles, job.dy, job.db, job.db_stride = tiles, dy, <char *> db, db_stride
    job.chunks = min(dy.shape[1], PARTS * workers)
    workers = <int> min(workers, job.chunks)
    job.worker_size = piece(min(FOLD_POSITIONS, dy.shape[2]) * sizeof(real))
    if not reserve(&scratch, workers * job.worker_size):
        return False
    job.workers = scratch.next
    if real is float:
        cc_pool_run(bias_chunk_f32, &job, job.chunks, workers)
    else:
        cc_pool_run(bias_chunk_f64, &job, job.chunks, workers)
    PyMem_RawFree(scratch.memory)
    return True
