# The scratch of a call.

cdef struct Scratch:
    # One allocation for all that a call needs, made before the first result is stored: pieces
    # that all threads read, then for each thread its own. A small call's are on the stack.
    void *memory
    char *next
    char small[SMALL_SCRATCH]


cdef inline Py_ssize_t rounded(Py_ssize_t size, Py_ssize_t multiple) noexcept nogil:
    return (size + multiple - 1) // multiple * multiple


cdef inline Py_ssize_t piece(Py_ssize_t size) noexcept nogil:
    return rounded(size, 64)


cdef bint reserve(Scratch *scratch, Py_ssize_t size) noexcept nogil:
    scratch.memory = NULL
    scratch.next = scratch.small
    if size + 64 > SMALL_SCRATCH:
        scratch.memory = PyMem_RawMalloc(size + 64)
        if scratch.memory == NULL:
            return False
        scratch.next = <char *> scratch.memory
    scratch.next += 64 - <uintptr_t> scratch.next % 64
    return True


cdef inline void *take(char **next, Py_ssize_t size) noexcept nogil:
    """A piece of the scratch, aligned to a cache line; `piece` says what it takes."""
    cdef void *pointer = next[0]
    next[0] += piece(size)
    return pointer
