# The scratch of a call.
#
# A function that carves the pieces of a nest runs twice: from 0 on, which tells what they take
# together, and from where the arena begins, which hands them out. So there is one list of them.

cdef struct Arena:
    # One allocation for all that a call needs, made before the first result is stored: pieces
    # that all threads read, then for each thread its own. A small call's are on the stack.
    void *memory
    char small[SMALL_SCRATCH]


cdef inline Py_ssize_t rounded(Py_ssize_t size, Py_ssize_t multiple) noexcept nogil:
    return (size + multiple - 1) // multiple * multiple


cdef inline Py_ssize_t ceiling(Py_ssize_t amount, Py_ssize_t step) noexcept nogil:
    return (amount + step - 1) // step if amount > 0 else -(-amount // step)


cdef inline void *carve(uintptr_t *next, Py_ssize_t size) noexcept nogil:
    """The piece that begins at `next`, which is then where the one after it does.

    Each begins with a cache line.
    """
    cdef uintptr_t piece = next[0]
    next[0] += rounded(size, 64)
    return <void *> piece


# What scratch is filled with before it is used, which only the tests ask for.
cdef Py_ssize_t subnormal_scratch = False


cdef void fill_subnormal(void *memory, uintptr_t size) noexcept nogil:
    """Numbers that are subnormal as float32 and as float64: arithmetic with one raises a flag."""
    cdef uintptr_t i
    for i in range(size // sizeof(int32_t)):
        (<int32_t *> memory)[i] = 1


cdef inline uintptr_t aligned(void *memory) noexcept nogil:
    """The first cache line of memory that has 64 bytes more than its pieces take."""
    return <uintptr_t> memory + 64 - <uintptr_t> memory % 64


cdef uintptr_t arena_open(Arena *arena, uintptr_t size) noexcept nogil:
    """Where the pieces begin, or 0 if memory ran out."""
    cdef uintptr_t start = <uintptr_t> arena.small
    arena.memory = NULL
    if size + 64 > SMALL_SCRATCH:
        arena.memory = PyMem_RawMalloc(size + 64)
        if arena.memory == NULL:
            return 0
        start = <uintptr_t> arena.memory
    if subnormal_scratch:
        fill_subnormal(<void *> start, size + 64)
    return aligned(<void *> start)


cdef inline void arena_close(Arena *arena) noexcept nogil:
    PyMem_RawFree(arena.memory)
