# Calls of the usual kind: ordinary arrays, and shapes and options that have been checked before.
#
# A small convolution takes a fraction of a microsecond; to look at its arguments, find its plan and
# allocate its result in Python takes several times as long. Here that is one function, which does
# what conv1d's road through _plans.py and _execute.py does and returns None wherever there is
# anything to check, convert or refuse. _usual.py is the same in Python: it says what is usual, is
# what the reference runs by, and the tests compare the two.
#
# Takes  Map, View, Geometry, PackedWeights, run_map and run_tiny_map
# Gives  UsualCalls, of which there is one for each public function

cdef extern from "numpy/arrayobject.h" nogil:
    ctypedef struct PyArray_Descr:
        int type_num
    ctypedef struct PyArrayObject
    ctypedef Py_ssize_t npy_intp
    enum:
        NPY_FLOAT
        NPY_DOUBLE
        NPY_CFLOAT
        NPY_CDOUBLE
        NPY_HALF
        NPY_ARRAY_ALIGNED
        NPY_ARRAY_OWNDATA
        NPY_ARRAY_WRITEABLE
        NPY_ARRAY_C_CONTIGUOUS
    bint PyArray_CheckExact(PyObject *array)
    int PyArray_NDIM(const PyArrayObject *array)
    npy_intp *PyArray_DIMS(PyArrayObject *array)
    npy_intp *PyArray_STRIDES(PyArrayObject *array)
    void *PyArray_DATA(PyArrayObject *array)
    PyArray_Descr *PyArray_DESCR(PyArrayObject *array)
    bint PyArray_CHKFLAGS(const PyArrayObject *array, int flags)
    bint PyArray_ISNOTSWAPPED(const PyArrayObject *array)
    npy_intp PyArray_SIZE(PyArrayObject *array)
    npy_intp PyArray_ITEMSIZE(const PyArrayObject *array)

cdef extern from "numpy/arrayobject.h":
    int import_numpy "_import_array"() except -1
    PyTypeObject PyArray_Type
    object PyArray_NewFromDescr(
        PyTypeObject *kind, PyArray_Descr *dtype, int ndim, const npy_intp *shape,
        const npy_intp *strides, void *data, int flags, PyObject *parent)

import_numpy()

# The number that NumPy gave to bfloat16 when ml_dtypes registered it; -1 until it has been seen.
cdef int bfloat16_number = -1


def know_bfloat16(int number):
    """Tell the type number of ml_dtypes' bfloat16, which NumPy assigns when it is registered."""
    global bfloat16_number
    bfloat16_number = number


cdef struct Format:
    # How the numbers of a dtype are stored, and in what they are summed.
    Py_ssize_t size      # of what the tiles sum in; 0 if the dtype has no compiled maps
    const cc_half *half
    int pair             # 1 if complex


cdef Format format_of(const PyArray_Descr *dtype) noexcept nogil:
    cdef Format form
    form.size, form.half, form.pair = 0, NULL, 0
    if dtype.type_num == NPY_FLOAT:
        form.size = sizeof(float)
    elif dtype.type_num == NPY_DOUBLE:
        form.size = sizeof(double)
    elif dtype.type_num == NPY_HALF:
        form.size, form.half = sizeof(float), level.float16
    elif dtype.type_num == NPY_CFLOAT:
        form.size, form.pair = sizeof(float), 1
    elif dtype.type_num == NPY_CDOUBLE:
        form.size, form.pair = sizeof(double), 1
    elif dtype.type_num == bfloat16_number:
        form.size, form.half = sizeof(float), level.bfloat16
    return form


cdef inline bint is_usual(PyObject *array, const PyArray_Descr *dtype) noexcept:
    """Whether it is an ndarray of this dtype (the same object) that can be read where it is."""
    cdef PyArrayObject *exact = <PyArrayObject *> array
    return (PyArray_CheckExact(array) and PyArray_DESCR(exact) == dtype
            and 1 <= PyArray_NDIM(exact) <= 3 and PyArray_CHKFLAGS(exact, NPY_ARRAY_ALIGNED))


cdef enum Kind: SIGNAL, WEIGHT, LINE


cdef View view_of_numpy(
    PyObject *array, Kind kind, bint channels_last, const Format *form, bint conjugate
) noexcept:
    """An array as the nests see it: see view_of, weight_view and line_of.

    With `channels_last` the last two axes of a signal are exchanged.
    """
    cdef PyArrayObject *exact = <PyArrayObject *> array
    cdef View view = nothing
    cdef int ndim = PyArray_NDIM(exact), axis, place
    view.data = <char *> PyArray_DATA(exact)
    view.half = form.half
    view.shape[2] = 1
    for axis in range(ndim):
        place = axis + 3 - ndim
        if channels_last and kind == SIGNAL and ndim > 1 and place > 0:
            place = 3 - place
        view.shape[place] = PyArray_DIMS(exact)[axis]
        view.strides[place] = PyArray_STRIDES(exact)[axis]
    if form.pair:
        view.pair, view.part = 1, form.size
        view.shape[1] <<= kind != LINE
        view.shape[0] <<= kind == WEIGHT
        view.conjugate = conjugate
    return view


cdef void find_bounds(PyObject *array, uintptr_t *low, uintptr_t *high) noexcept:
    """Where an array that is not empty begins and ends in memory."""
    cdef PyArrayObject *exact = <PyArrayObject *> array
    cdef npy_intp reach
    cdef int axis
    low[0] = <uintptr_t> PyArray_DATA(exact)
    high[0] = low[0] + PyArray_ITEMSIZE(exact)
    for axis in range(PyArray_NDIM(exact)):
        reach = (PyArray_DIMS(exact)[axis] - 1) * PyArray_STRIDES(exact)[axis]
        if reach < 0:
            low[0] += reach
        else:
            high[0] += reach


cdef bint may_overlap(PyObject *out, PyObject **arrays) noexcept:
    """Whether an array may share memory with one of three others; NULL is none."""
    cdef uintptr_t low, high, other_low, other_high
    cdef bint owns = PyArray_CHKFLAGS(<PyArrayObject *> out, NPY_ARRAY_OWNDATA)
    cdef int i
    for i in range(3):
        if arrays[i] == NULL:
            continue
        if owns and PyArray_CHKFLAGS(<PyArrayObject *> arrays[i], NPY_ARRAY_OWNDATA):
            if out == arrays[i]:  # else they were allocated one by one
                return True
        elif PyArray_SIZE(<PyArrayObject *> out) > 0 and (
                PyArray_SIZE(<PyArrayObject *> arrays[i]) > 0):
            find_bounds(out, &low, &high)
            find_bounds(arrays[i], &other_low, &other_high)
            if low < other_high and other_low < high:
                return True
    return False


# Calls with fewer multiply-adds keep the GIL: to let go of it and to ask for signals takes 40 ns,
# as long as 4000 multiply-adds.
cdef enum: TINY_PRODUCTS = 4096

# Plans of one function that are known at a time.
cdef enum: MAX_KNOWN = 1024

# Whether the extension is the backend in use.
cdef bint in_use = True


def use_known_calls(bint yes):
    """Whether calls of the usual kind are computed here at all."""
    global in_use
    in_use = yes


# Numbers in a key: for each of three arrays how many axes it has, and their lengths.
cdef enum: KEY_NUMBERS = 3 * 4

# What an array is to the conv1d of a plan.
cdef enum: X, W, Y, B


cdef struct Shape:
    int ndim
    npy_intp sizes[3]


cdef bint same_option(object known, object given):
    """Whether they are the same: integers, words and pairs of integers, none of them a subclass."""
    if known is given:
        return True
    if type(known) is not type(given):
        return False
    if type(known) is tuple:
        return len(<tuple> known) == len(<tuple> given) == 2 and (
            same_option((<tuple> known)[0], (<tuple> given)[0])
            and same_option((<tuple> known)[1], (<tuple> given)[1]))
    return (type(known) is int or type(known) is str) and known == given


cdef object new_array(PyObject *like, const Shape *shape):
    """An array of another's dtype with numbers of no meaning."""
    cdef PyArray_Descr *dtype = PyArray_DESCR(<PyArrayObject *> like)
    Py_INCREF(<object> dtype)  # the reference that PyArray_NewFromDescr takes
    return PyArray_NewFromDescr(&PyArray_Type, dtype, shape.ndim, shape.sizes, NULL, NULL, 0, NULL)


cdef bint begins_usual(PyObject *first, Format *form) noexcept:
    """Whether the first array is one whose dtype has compiled maps, and then how it is stored."""
    if not (in_use and PyArray_CheckExact(first)
            and PyArray_ISNOTSWAPPED(<PyArrayObject *> first)):
        return False
    form[0] = format_of(PyArray_DESCR(<PyArrayObject *> first))
    return form.size != 0


cdef bint may_replace_weight(object packed, PyObject *first, const Format *form) noexcept:
    """Whether they are no packed weights, or some that the present level reads for this dtype."""
    return packed is None or (
        type(packed) is PackedWeights
        and (<PackedWeights> packed).itemsize == PyArray_ITEMSIZE(<PyArrayObject *> first)
        and (<PackedWeights> packed).is_current())


cdef void keep_end(const View *held, const View *x, Py_ssize_t item) noexcept nogil:
    """held = the last samples of x, which has as many or more."""
    cdef Py_ssize_t rows = held.shape[1] >> held.pair, samples = held.shape[2], n, row, sample
    cdef Py_ssize_t bytes = item  # that follow each other in both
    cdef const char *end = x.data + (x.shape[2] - samples) * x.strides[2]
    if held.strides[2] == x.strides[2] == item:
        samples, bytes = 1, samples * item
    elif held.strides[1] == x.strides[1] == item:
        rows, bytes = 1, rows * item
    for n in range(held.shape[0]):
        for row in range(rows):
            for sample in range(samples):
                memcpy(held.data + n * held.strides[0] + row * held.strides[1]
                       + sample * held.strides[2],
                       end + n * x.strides[0] + row * x.strides[1] + sample * x.strides[2], bytes)


@cython.final
cdef class KnownCall:
    """A plan that was made for some shapes and options, parsed once."""
    cdef tuple options
    cdef Geometry geometry
    cdef Py_ssize_t group_count
    cdef bint channels_last
    cdef bint is_tiny
    cdef Shape shapes[4]  # by what they are of

    cdef int run(
        self, Map map, PyObject *first, PyObject *second, PyObject *bias, PackedWeights packed,
        PyObject *out, const Format *form, bint conjugate, PyObject *held=NULL
    ) except -1:
        """Fill `out`. NULL for a second operand or a bias that the map has not.

        Where `held` is given, the first operand is what follows it in place of zeros on the left,
        and afterwards it holds the last samples.
        """
        cdef View views[4]
        cdef View before
        cdef Geometry g
        views[0] = view_of_numpy(first, SIGNAL, self.channels_last, form, False)
        views[1] = views[2] = nothing
        if packed is not None:
            views[1] = packed.view
        elif second != NULL:
            views[1] = view_of_numpy(second, SIGNAL if map == BACKWARD_WEIGHT else WEIGHT,
                                     self.channels_last, form, conjugate)
        if bias != NULL:
            views[2] = view_of_numpy(bias, LINE, False, form, False)
        views[3] = view_of_numpy(
            out, WEIGHT if map == BACKWARD_WEIGHT else LINE if map == BACKWARD_BIAS else SIGNAL,
            self.channels_last, form, conjugate)
        if held == NULL:
            return self.run_views(map, views, &self.geometry, form)
        before = view_of_numpy(held, SIGNAL, self.channels_last, form, False)
        g, views[0].before = self.geometry, &before
        g.mode = CONTINUES
        self.run_views(map, views, &g, form)
        keep_end(&before, views, PyArray_ITEMSIZE(<PyArrayObject *> first))
        return 0

    cdef int run_views(
        self, Map map, const View *views, const Geometry *g, const Format *form
    ) except -1:
        """The map of the first operand, the second, the bias and the result."""
        if self.is_tiny:
            return run_tiny_map(map, views, g, self.group_count, form.size)
        return run_map(map, views, g, self.group_count, form.size)


@cython.final
cdef class UsualCalls:
    """The calls of one public function that need no look at their arguments in Python.

    `which_map` is what it computes, `role` the place in "xwyb" of its result in the conv1d that its
    plans are of. `transposed` is whether weights are conjugated where that conv1d and its gradients
    do not conjugate them, and the reverse.
    """
    cdef dict known
    cdef Map map
    cdef int role
    cdef bint transposed
    cdef object result_type

    def __init__(self, Map which_map, int role, bint transposed, result_type):
        self.known = {}
        self.map, self.role, self.transposed = which_map, role, transposed
        self.result_type = result_type

    def learn(self, shapes, options, plan):
        """Remember a plan. Shapes of arrays that are not there are None."""
        cdef npy_intp numbers[KEY_NUMBERS]
        cdef int count = 0
        cdef KnownCall call = KnownCall.__new__(KnownCall)
        if not plan.is_small or plan.per_sample:
            return
        for shape in shapes:
            if shape is not None:
                numbers[count] = len(shape)
                count += 1
                for size in shape:
                    numbers[count] = size
                    count += 1
        call.options = tuple(options)
        call.is_tiny = plan.products < TINY_PRODUCTS
        call.geometry = as_geometry(plan.geometry, plan.w_shape[len(plan.w_shape) - 1])
        call.group_count, call.channels_last = plan.groups, plan.channels_last
        for role, shape in enumerate((plan.x_shape, plan.w_shape, plan.y_shape, plan.b_shape)):
            call.shapes[role].ndim = len(shape)
            for axis, size in enumerate(shape):
                call.shapes[role].sizes[axis] = size
        if len(self.known) >= MAX_KNOWN:
            self.known.clear()
        self.known[PyBytes_FromStringAndSize(<char *> numbers, count * sizeof(npy_intp))] = call

    cdef KnownCall find(self, PyObject **arrays, tuple options):
        """The plan that is known for three arrays, NULL for those that are not there, or None."""
        cdef npy_intp numbers[KEY_NUMBERS]
        cdef int used = 0, i, axis, ndim
        cdef const PyArray_Descr *dtype = PyArray_DESCR(<PyArrayObject *> arrays[0])
        cdef KnownCall call
        for i in range(3):
            if arrays[i] == NULL:
                continue
            if not is_usual(arrays[i], dtype):
                return None
            ndim = PyArray_NDIM(<PyArrayObject *> arrays[i])
            numbers[used] = ndim
            for axis in range(ndim):
                numbers[used + 1 + axis] = PyArray_DIMS(<PyArrayObject *> arrays[i])[axis]
            used += 1 + ndim
        # get() holds what it finds: another thread may forget it meanwhile
        call = <KnownCall> self.known.get(
            PyBytes_FromStringAndSize(<char *> numbers, used * sizeof(npy_intp)))
        if call is None or len(options) != len(call.options):
            return None
        for i in range(len(options)):
            if not same_option(call.options[i], options[i]):
                return None
        return call

    def one(self, first, second, bias, packed, tuple options, out, held=None):
        """The result of the map, in `out` if that is not None; or None if this is no usual call.

        `packed` is None or what to take in place of the weight `second`; `held`, of forward alone,
        what stands in place of zeros on the left: see _usual.py.
        """
        cdef PyObject *arrays[3]
        cdef Format form
        cdef KnownCall call
        arrays[0], arrays[1] = <PyObject *> first, <PyObject *> second
        arrays[2] = NULL if bias is None else <PyObject *> bias
        if not begins_usual(arrays[0], &form):
            return None
        call = self.find(arrays, options)
        if call is None or not may_replace_weight(packed, arrays[0], &form):
            return None
        if out is None:
            out = new_array(arrays[0], &call.shapes[self.role])
        elif not self.can_fill(<PyObject *> out, arrays, call):
            return None
        call.run(self.map, arrays[0], arrays[1], arrays[2], packed, <PyObject *> out, &form,
                 self.transposed, NULL if held is None else <PyObject *> held)
        return out

    cdef bint can_fill(self, PyObject *out, PyObject **arrays, KnownCall call) noexcept:
        """Whether a result may be stored in `out` while the arguments are read."""
        cdef PyArrayObject *array = <PyArrayObject *> out
        cdef const Shape *shape = &call.shapes[self.role]
        cdef int i
        if not (is_usual(out, PyArray_DESCR(<PyArrayObject *> arrays[0]))
                and PyArray_CHKFLAGS(array, NPY_ARRAY_WRITEABLE | NPY_ARRAY_C_CONTIGUOUS)
                and PyArray_NDIM(array) == shape.ndim):
            return False
        for i in range(shape.ndim):
            if PyArray_DIMS(array)[i] != shape.sizes[i]:
                return False
        if may_overlap(out, arrays):
            return False
        # with a padding mode, memory may run out when some of dx is stored (see may_fail_midway)
        return self.map != BACKWARD_INPUT or call.geometry.mode == CCONV1D_ZEROS

    def gradients(self, dy, x, w, packed, tuple options, needs):
        """The gradients that are needed, or None if this is no usual call.

        `packed` is None or what to take in place of the weight in the gradient of the input.
        """
        cdef PyObject *arrays[3]
        cdef Format form
        cdef KnownCall call
        cdef Map map = FORWARD if self.transposed else BACKWARD_INPUT
        arrays[0], arrays[1], arrays[2] = <PyObject *> dy, <PyObject *> x, <PyObject *> w
        if type(needs) is not tuple or len(<tuple> needs) != 3:
            return None
        for need in <tuple> needs:
            if need is not True and need is not False:
                return None
        if not begins_usual(arrays[0], &form):
            return None
        call = self.find(arrays, options)
        if call is None or not may_replace_weight(packed, arrays[0], &form):
            return None
        dx = dw = db = None
        if (<tuple> needs)[0] is True:
            dx = new_array(arrays[0], &call.shapes[Y if self.transposed else X])
            call.run(map, arrays[0], arrays[2], NULL, packed, <PyObject *> dx, &form,
                     self.transposed)
        if (<tuple> needs)[1] is True:
            dw = new_array(arrays[0], &call.shapes[W])
            call.run(BACKWARD_WEIGHT, arrays[1 if self.transposed else 0],
                     arrays[0 if self.transposed else 1], NULL, None, <PyObject *> dw, &form,
                     self.transposed)
        if (<tuple> needs)[2] is True:
            db = new_array(arrays[0], &call.shapes[B])
            call.run(BACKWARD_BIAS, arrays[0], NULL, NULL, None, <PyObject *> db, &form, False)
        return tuple.__new__(self.result_type, (dx, dw, db))

    def slide(self, a, v, mode, bint reverse):
        """`convolve` of two 1-D arrays or, with `reverse`, `correlate`; or None."""
        cdef PyObject *arrays[3]
        cdef Format form
        cdef KnownCall call
        cdef View views[4]
        cdef View *kernel
        cdef int longer
        arrays[0], arrays[1], arrays[2] = <PyObject *> a, <PyObject *> v, NULL
        if not begins_usual(arrays[0], &form):
            return None
        call = self.find(arrays, (mode,))
        if call is None:
            return None
        # the longer one is the signal of the sum
        longer = (PyArray_DIMS(<PyArrayObject *> arrays[1])[0]
                  > PyArray_DIMS(<PyArrayObject *> arrays[0])[0])
        views[0] = view_of_numpy(arrays[longer], SIGNAL, False, &form, False)
        views[1] = view_of_numpy(arrays[1 - longer], WEIGHT, False, &form, self.transposed)
        if reverse:
            if longer and form.pair:
                return None  # v would be a signal that is conjugated
            kernel = &views[1 - longer]
            kernel.data += (kernel.shape[2] - 1) * kernel.strides[2]
            kernel.strides[2] = -kernel.strides[2]
        views[2] = nothing
        out = new_array(arrays[0], &call.shapes[X])
        views[3] = view_of_numpy(<PyObject *> out, SIGNAL, False, &form, False)
        call.run_views(BACKWARD_INPUT, views, &call.geometry, &form)
        return out
