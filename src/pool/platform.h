/* What the pool takes from the compiler and from the operating system.
 *
 * Gives  atom: load, store, add, swap; THREAD_LOCAL; pause_briefly;
 *        float_control, set_float_control;
 *        mutex, condition: MUTEX_START, CONDITION_START, *_lock, *_unlock, *_start, *_wait,
 *        *_wait_for, *_signal;
 *        now_ns, and the headers of the system that pool.c needs besides.
 *
 * To be included before any header of the system, by pool.c alone.
 */
#ifndef CC_PLATFORM_H
#define CC_PLATFORM_H

#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* sched_getaffinity and its macros, sched_getcpu */
#endif

#include <stdint.h>

#ifdef _WIN32
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
#else
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sched.h>
#include <sys/syscall.h>
#endif
#endif

/* --- what the compiler has: atomics, pause, floating-point control ---------------------------
 * Not <stdatomic.h>, which MSVC got late. All are sequentially consistent: nothing here is hot
 * enough for weaker ones to show. 32 bits are what every processor does without a library. */

typedef volatile uint32_t atom;

#if defined(_MSC_VER) && !defined(__clang__)

static uint32_t load(atom *a) { return (uint32_t)ReadAcquire((volatile LONG *)a); }
static void store(atom *a, uint32_t value) { InterlockedExchange((volatile LONG *)a, (LONG)value); }
static void add(atom *a, uint32_t n) { InterlockedExchangeAdd((volatile LONG *)a, (LONG)n); }

/* Store `desired` if there is *expected; else read into *expected what there is. */
static int swap(atom *a, uint32_t *expected, uint32_t desired)
{
    const LONG was = (LONG)*expected;
    const LONG found = InterlockedCompareExchange((volatile LONG *)a, (LONG)desired, was);
    *expected = (uint32_t)found;
    return found == was;
}

#else

static uint32_t load(atom *a) { return __atomic_load_n(a, __ATOMIC_SEQ_CST); }
static void store(atom *a, uint32_t value) { __atomic_store_n(a, value, __ATOMIC_SEQ_CST); }
static void add(atom *a, uint32_t n) { __atomic_fetch_add(a, n, __ATOMIC_SEQ_CST); }

/* Store `desired` if there is *expected; else read into *expected what there is. */
static int swap(atom *a, uint32_t *expected, uint32_t desired)
{
    return __atomic_compare_exchange_n(a, expected, desired, 0, __ATOMIC_SEQ_CST,
                                       __ATOMIC_SEQ_CST);
}

#endif

#if defined(_MSC_VER) && !defined(__clang__)
#define THREAD_LOCAL __declspec(thread)
#else
#define THREAD_LOCAL __thread
#endif

#if defined(__SSE__) || defined(_M_X64)
#include <xmmintrin.h>
#endif

static void pause_briefly(void)
{
#if defined(__SSE__) || defined(_M_X64)
    _mm_pause();
#elif defined(_MSC_VER) && !defined(__clang__)
    YieldProcessor();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory"); /* `yield` does nothing on most cores */
#endif
}

/* Rounding mode and flush-to-zero of this thread. A worker takes the caller's, so that the bits
 * of a result do not depend on who computed it: a worker has those of the thread that happened
 * to create it. */
static uint64_t float_control(void)
{
#if defined(__SSE__) || defined(_M_X64)
    return _mm_getcsr() & ~0x3fu; /* the low 6 bits are what has happened so far */
#elif defined(__aarch64__) && defined(__GNUC__)
    uint64_t control;
    __asm__ volatile("mrs %0, fpcr" : "=r"(control));
    return control;
#else
    return 0;
#endif
}

static void set_float_control(uint64_t control)
{
#if defined(__SSE__) || defined(_M_X64)
    _mm_setcsr((unsigned)control);
#elif defined(__aarch64__) && defined(__GNUC__)
    __asm__ volatile("msr fpcr, %0" ::"r"(control));
#else
    (void)control;
#endif
}

/* --- what the operating system has: mutex, condition, clock ---------------------------------- */

#ifdef _WIN32

typedef SRWLOCK mutex;
typedef CONDITION_VARIABLE condition;
#define MUTEX_START SRWLOCK_INIT
#define CONDITION_START CONDITION_VARIABLE_INIT

static void mutex_lock(mutex *m) { AcquireSRWLockExclusive(m); }
static void mutex_unlock(mutex *m) { ReleaseSRWLockExclusive(m); }
static void condition_start(condition *c) { InitializeConditionVariable(c); }
static void condition_wait(condition *c, mutex *m) { SleepConditionVariableSRW(c, m, INFINITE, 0); }
static void condition_wait_for(condition *c, mutex *m, int64_t ns)
{
    SleepConditionVariableSRW(c, m, (DWORD)(ns / 1000000), 0);
}
static void condition_signal(condition *c) { WakeConditionVariable(c); }

static int64_t now_ns(void)
{
    LARGE_INTEGER ticks, frequency;
    QueryPerformanceCounter(&ticks);
    QueryPerformanceFrequency(&frequency);
    return (int64_t)((double)ticks.QuadPart * (1e9 / (double)frequency.QuadPart));
}

#else

typedef pthread_mutex_t mutex;
typedef pthread_cond_t condition;
#define MUTEX_START PTHREAD_MUTEX_INITIALIZER
#define CONDITION_START PTHREAD_COND_INITIALIZER

static void mutex_lock(mutex *m) { pthread_mutex_lock(m); }
static void mutex_unlock(mutex *m) { pthread_mutex_unlock(m); }
static void condition_start(condition *c) { pthread_cond_init(c, NULL); }
static void condition_wait(condition *c, mutex *m) { pthread_cond_wait(c, m); }
static void condition_wait_for(condition *c, mutex *m, int64_t ns)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until); /* by which conditions are timed unless told otherwise */
    ns += until.tv_nsec;
    until.tv_sec += (time_t)(ns / 1000000000);
    until.tv_nsec = (long)(ns % 1000000000);
    pthread_cond_timedwait(c, m, &until);
}
static void condition_signal(condition *c) { pthread_cond_signal(c); }

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

#endif

#endif
