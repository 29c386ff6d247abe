# backward_bias: positions summed, in the order of the samples.
#
#     db[row] = Σ_{n,p} dy[n, row, p]
#
# Takes  Views of dy and db. Gives  db; false if memory ran out.

cdef struct BiasGradient:
    # A job for the pool. Its chunks are some output channels each.
    const cc_tiles *tiles
    const View *dy
    const View *db
    Py_ssize_t chunks
    Py_ssize_t line_size  # samples that are copied at a time
    Py_ssize_t size       # of a number, in bytes
    int threads
    uintptr_t workers     # the threads' own scratch: a line
    Py_ssize_t worker_size


cdef uintptr_t carve_bias(BiasGradient *job, uintptr_t next) noexcept nogil:
    job.workers, job.worker_size = next, rounded(job.line_size * job.size, 64)
    return next + job.threads * job.worker_size


cdef void backward_bias_rows(const BiasGradient *job, real *line, Py_ssize_t chunk) noexcept nogil:
    """The sums of some rows of dy, range by range, as backward_weight with lanes along them."""
    cdef const View *dy = job.dy
    cdef bint in_place = row_pitch_of(dy, 1, 0, sizeof(real)) != 0
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
        store_row[real](job.db, line_at(job.db, row), 0, 1, &total)


cdef void backward_bias_chunk(void *context, Py_ssize_t chunk, int worker) noexcept nogil:
    cdef const BiasGradient *job = <const BiasGradient *> context
    cdef uintptr_t line = job.workers + worker * job.worker_size
    if job.size == sizeof(float):
        backward_bias_rows[float](job, <float *> line, chunk)
    else:
        backward_bias_rows[double](job, <double *> line, chunk)


cdef bint backward_bias(
    const cc_tiles *tiles, const View *dy, const View *db, Py_ssize_t size
) noexcept nogil:
    """db in numbers of `size` bytes; false if memory ran out, with nothing stored."""
    cdef BiasGradient job
    cdef Arena arena
    cdef uintptr_t start
    if dy.shape[1] == 0:
        return True
    job.tiles, job.dy, job.db, job.size = tiles, dy, db, size
    job.threads = threads_for(dy.shape[1], dy.shape[0] * dy.shape[2])
    job.chunks = min(dy.shape[1], CHUNKS_PER_THREAD * job.threads)
    job.threads = <int> min(job.threads, job.chunks)
    job.line_size = min(FOLD_POSITIONS, dy.shape[2])
    start = arena_open(&arena, carve_bias(&job, 0))
    if start == 0:
        return False
    carve_bias(&job, start)
    cc_pool_run(backward_bias_chunk, &job, job.chunks, job.threads)
    arena_close(&arena)
    return True
