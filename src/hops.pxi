# Hops of streams: what _stream_hops.py calls (see nest/partitions.pxi).
#
# Takes  arrays of one dtype that has compiled maps, of one to three axes; _stream_hops.py has
#        checked and cut them.
# Gives  HopWeights, a stream's weights as spectra; HopLines, the spectra of its last blocks.

@cython.final
cdef class HopWeights:
    """The spectra of a kernel's parts, which streams may share: nothing changes once it is made."""
    cdef Partitions p
    cdef Format form
    cdef bint channels_last
    cdef object arrays
    cdef void *memory

    def __cinit__(self):
        self.memory = NULL

    def __dealloc__(self):
        PyMem_RawFree(self.memory)

    def __init__(self, w, bias, geometry, Py_ssize_t groups, bint channels_last, Py_ssize_t hop,
                 Py_ssize_t left, int log_points, Py_ssize_t part):
        cdef const cc_tiles *tiles
        cdef View weight, line = nothing
        cdef Geometry g
        cdef uintptr_t start
        cdef Py_ssize_t bytes
        cdef Arena arena
        cdef bint done
        self.form = format_of(PyArray_DESCR(<PyArrayObject *> <PyObject *> w))
        self.arrays, self.channels_last = (w, bias), channels_last
        weight = view_of_numpy(<PyObject *> w, WEIGHT, False, &self.form, False)
        if bias is not None:
            line = view_of_numpy(<PyObject *> bias, LINE, False, &self.form, False)
        g = as_geometry(geometry, weight.shape[2])
        with nogil:
            tiles = level.f32 if self.form.size == sizeof(float) else level.f64
            done = plan_partitions(&self.p, tiles, &weight, &line, &g, groups, self.form.size, hop,
                                   left, log_points, part)
            if done:
                bytes = carve_partitions(&self.p, 0)
                self.memory = PyMem_RawMalloc(bytes + 64)
                done = self.memory != NULL
            if done:
                start = arena_open(&arena, (2 * self.form.size) << log_points)
                done = start != 0
            if done:
                carve_partitions(&self.p, aligned(self.memory))
                if self.form.size == sizeof(float):
                    transform_parts[float](&self.p, <float *> start)
                else:
                    transform_parts[double](&self.p, <double *> start)
                arena_close(&arena)
        if not done:
            raise MemoryError("cconv1d: no memory for the transformed weights")

    cpdef bint is_current(self) noexcept:
        """Whether they are as the present level has them."""
        return self.p.tiles == (level.f32 if self.form.size == sizeof(float) else level.f64)


cdef int hop_threads() except -1:
    """How many threads may compute a hop now."""
    note_limit()
    return min(cc_pool_threads(), CC_POOL_MAX)


@cython.final
cdef class HopLines:
    """The spectra of the last blocks of some signals, and the scratch to go on."""
    cdef HopWeights weights
    cdef DelayLines lines
    cdef Py_ssize_t rows
    cdef void *memory

    def __cinit__(self):
        self.memory = NULL

    def __dealloc__(self):
        PyMem_RawFree(self.memory)

    def __init__(self, HopWeights weights not None, Py_ssize_t rows):
        cdef int threads = hop_threads()
        cdef uintptr_t bytes = 0
        self.weights, self.rows = weights, rows
        if fits_64_bits(&weights.p, rows):
            bytes = carve_lines(&self.lines, &weights.p, rows, threads, 0)
            self.memory = PyMem_RawMalloc(bytes + 64)
        if self.memory == NULL:
            raise MemoryError("cconv1d: no memory for the transforms of the last samples")
        if subnormal_scratch:
            fill_subnormal(self.memory, bytes + 64)
        carve_lines(&self.lines, &weights.p, rows, threads, aligned(self.memory))
        self.forget(range(rows))

    def is_current(self):
        """Whether the weights are, and there is scratch for all threads."""
        return self.weights.is_current() and hop_threads() <= self.lines.threads

    def forget(self, rows):
        """The samples of these rows are others now."""
        cdef Py_ssize_t row
        for row in rows:
            self.lines.done[row] = -PY_SSIZE_T_MAX

    def run(self, Py_ssize_t row, x, y, Py_ssize_t first, Py_ssize_t hop, int mode,
            Py_ssize_t end):
        """Fill y, from output hop·S on, of the rows from that one on.

        x are their last samples, the first of which is number `first` of the padded signal; beyond
        its ends it is as the mode says, and from number `end` on it is zeros.
        """
        cdef Hop job
        job.p, job.lines = &self.weights.p, &self.lines
        job.x = view_of_numpy(<PyObject *> x, SIGNAL, self.weights.channels_last,
                              &self.weights.form, False)
        job.y = view_of_numpy(<PyObject *> y, SIGNAL, self.weights.channels_last,
                              &self.weights.form, False)
        job.x.mode = mode
        job.row, job.rows, job.first, job.number, job.end = row, job.x.shape[0], first, hop, end
        if job.rows == 0 or job.y.shape[1] == 0:
            return
        note_limit()
        with nogil:
            run_hops(&job)
