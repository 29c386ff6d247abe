/* Takes memory and threads away from a process: test_faults.py compiles it and has it loaded in
 * front of the C library (LD_PRELOAD), of which it must be GNU's.
 *
 * Counted are allocations of the thread that has called faults_begin which the extension asks for,
 * be it through Python (with PYTHONMALLOC=malloc), and NumPy's for large results. The others of the
 * interpreter and NumPy are not for us to test: CPython 3.11 leaks where a function object finds no
 * memory; the iterators of NumPy 2.4.6 raise SystemError without any for themselves, and crash
 * without any for their buffers, of 8192 numbers each, as they say so without holding the GIL.
 */
#define _GNU_SOURCE /* dl_iterate_phdr, RTLD_NEXT */
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <link.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { LARGE = 8192 * 8 + 1, DEPTH = 40 };

void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void __libc_free(void *);

static __thread long count __attribute__((tls_model("initial-exec")));
static __thread long failing __attribute__((tls_model("initial-exec"))); /* 0: none is counted */
static uintptr_t first, last; /* where the extension lies */
static long live; /* blocks of all threads */
static int no_threads;

/* How many allocations there have been. */
long faults_end(void)
{
    failing = 0;
    return count;
}

long faults_live(void) { return __atomic_load_n(&live, __ATOMIC_SEQ_CST); }

void faults_refuse_threads(int refuse) { __atomic_store_n(&no_threads, refuse, __ATOMIC_SEQ_CST); }

static int look_for_extension(struct dl_phdr_info *object, size_t size, void *unused)
{
    (void)size;
    (void)unused;
    if (!strstr(object->dlpi_name, "cconv1d/_core"))
        return 0;
    first = object->dlpi_addr;
    for (int i = 0; i < object->dlpi_phnum; i++)
        if (object->dlpi_phdr[i].p_type == PT_LOAD)
            last = first + object->dlpi_phdr[i].p_vaddr + object->dlpi_phdr[i].p_memsz;
    return 1;
}

/* From now on, let the n-th allocation of this thread fail. */
void faults_begin(long n)
{
    if (!first)
        dl_iterate_phdr(look_for_extension, NULL);
    count = 0;
    failing = n;
}

/* Is the extension among those that have called? */
static int is_ours(void)
{
    void *callers[DEPTH];
    for (int i = backtrace(callers, DEPTH) - 1; i >= 0; i--)
        if ((uintptr_t)callers[i] - first < last - first)
            return 1;
    return 0;
}

static int fails(size_t size)
{
    const long n = failing;
    if (!n)
        return 0;
    failing = 0; /* for what backtrace allocates */
    count += size >= LARGE || is_ours();
    const int fail = count == n;
    failing = fail ? -1 : n; /* only once */
    if (fail)
        errno = ENOMEM;
    return fail;
}

static void *counted(void *block)
{
    __atomic_fetch_add(&live, block != NULL, __ATOMIC_SEQ_CST);
    return block;
}

void *malloc(size_t size) { return fails(size) ? NULL : counted(__libc_malloc(size)); }

void *calloc(size_t items, size_t size)
{
    return fails(items * size) ? NULL : counted(__libc_calloc(items, size));
}

void *realloc(void *block, size_t size)
{
    if (fails(size))
        return NULL;
    return block ? __libc_realloc(block, size) : counted(__libc_malloc(size));
}

void free(void *block)
{
    __atomic_fetch_sub(&live, block != NULL, __ATOMIC_SEQ_CST);
    __libc_free(block);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                   void *argument)
{
    static int (*create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    if (__atomic_load_n(&no_threads, __ATOMIC_SEQ_CST))
        return EAGAIN;
    if (!create)
        create = (int (*)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *))dlsym(
            RTLD_NEXT, "pthread_create");
    return create(thread, attributes, run, argument);
}
