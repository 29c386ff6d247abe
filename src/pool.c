/* The thread pool, and all that the library knows of the operating system.
 *
 * The life of a job:
 *   1. The caller takes the pool's `busy` flag. It never waits for it: a pool in use means that
 *      the job runs serially.
 *   2. It writes the job (function, argument, ...) and publishes it by storing a ticket
 *      {limit: 8, runs: 12, next: 12}: the highest worker that may take part, the number of runs
 *      of consecutive chunks, and the first run that nobody has taken.
 *   3. It wakes the workers of the job that sleep. The others are spinning on the ticket.
 *   4. Everyone claims runs, each by a compare-and-swap that adds 1 to `next`. Only after a
 *      successful claim is anything else of the job read, so a thread that comes late cannot see
 *      a job half written: either its swap fails, or it has a run of the job published now, even
 *      where that job's ticket looks like an earlier one's. A ticket therefore needs no number.
 *   5. A worker that finds no run left adds the number that it ran to `done`, once, and touches
 *      the job no more. Until then the job cannot end.
 *   6. The caller, which has run all that nobody else started, waits until `done` and its own
 *      count make up all runs, and clears `busy`.
 *
 * A worker spins a little after each job and then sleeps. No wake-up is lost: a worker says that
 * it sleeps and then looks at the ticket, the caller stores the ticket and then looks who sleeps,
 * and all four are sequentially consistent, so that at least one sees the other. A worker that is
 * seen holds the mutex until it waits.
 *
 * Nobody waits for a job in order to fork: the child forgets the pool (forget_pool).
 *
 * A job that is interrupted ends like any other, but that its caller takes all runs left at once,
 * and does not run them.
 */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* sched_getaffinity and its macros, sched_getcpu */
#endif

#include "pool.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

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

enum {
    MAX_RUNS = 4095,           /* what 12 bits hold */
    PAUSES = 16,               /* of a spin between two looks at the clock */
    WORKER_SPIN_NS = 200000,   /* the calls of a network follow each other closer than this */
    CALLER_SPIN_NS = 50000,    /* about what going to sleep and being woken costs */
    STACK_BYTES = 512 * 1024,  /* a chunk needs little, but thread-local data are taken from it */
    JOBS_UNTIL_RETRY = 1000,   /* after the system has refused a thread */
    LOOK_NS = 1000000,         /* between two looks of an interruptible job at the clock */
    ASK_NS = 100000000         /* between its questions: the host may make each of them wait */
};

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

/* --- what the operating system has: mutex, condition, thread, clock -------------------------- */

static void *run_worker(void *number);

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

static DWORD WINAPI run_thread(void *number)
{
    run_worker(number);
    return 0;
}

static int start_thread(int number)
{
    const HANDLE thread = CreateThread(NULL, STACK_BYTES, run_thread, (void *)(intptr_t)number,
                                       STACK_SIZE_PARAM_IS_A_RESERVATION, NULL);
    return thread && CloseHandle(thread);
}

static int64_t now_ns(void)
{
    LARGE_INTEGER ticks, frequency;
    QueryPerformanceCounter(&ticks);
    QueryPerformanceFrequency(&frequency);
    return (int64_t)((double)ticks.QuadPart * (1e9 / (double)frequency.QuadPart));
}

static int follow_forks(void) { return 1; }

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

static int start_thread(int number)
{
    /* Signals are the business of the host's threads. Those that a fault of the thread itself
     * raises stay open, or a crash would end the process without the host's handler. */
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
    sigset_t blocked, before;
    sigfillset(&blocked);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        sigdelset(&blocked, faults[i]);

    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes))
        return 0;
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    const int sized = !pthread_attr_setstacksize(&attributes, STACK_BYTES);

    pthread_t thread;
    void *const argument = (void *)(intptr_t)number;
    pthread_sigmask(SIG_SETMASK, &blocked, &before); /* the thread is born with this mask */
    int error = pthread_create(&thread, &attributes, run_worker, argument);
    if (error == EINVAL && sized) { /* the process has more thread-local data than that */
        error = pthread_create(&thread, NULL, run_worker, argument);
        if (!error)
            pthread_detach(thread);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return !error;
}

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void forget_pool(void);

static int forks_followed;

static void register_forget_pool(void)
{
    forks_followed = !pthread_atfork(NULL, NULL, forget_pool);
}

/* See to it that a forked child forgets the pool: no pool before that. */
static int follow_forks(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, register_forget_pool);
    return forks_followed;
}

#endif

/* --- the pool --------------------------------------------------------------------------------- */

/* What threads write at the same time lies on cache lines of its own: 128 bytes, because
 * processors fetch lines in pairs. Everything starts as zero but the mutex and the condition. */
static struct {
    atom busy; /* a job is running; what its caller alone uses follows */
    int workers;
    int jobs_until_retry;
    int cpus; /* in the caller's mask when it was last looked at */
    char space_1[128];

    atom ticket;
    char space_2[128];

    /* The job: written before its ticket, read after a claim. */
    cc_work work;
    void *context;
    ptrdiff_t chunks, run; /* a run is so many chunks, the last one perhaps fewer */
    atom stop;             /* it has been interrupted */
    uint64_t float_control;
    char space_3[128];

    atom done;
    char space_4[128];

    atom caller_waits;
    atom caller_cpu;          /* 1 + its number, 0 if unknown, NO_SPIN if there are too few */
    atom asleep[CC_POOL_MAX]; /* 1: in need of a wake-up that nobody has promised yet */

    mutex lock; /* of all below, and of the change from awake to asleep and back */
    condition finished;
#ifdef __linux__
    cpu_set_t away[8]; /* the caller's mask without the processor that it runs on */
    uint32_t away_version;
#endif
    struct {
        condition wake;
        atom cpu; /* that it last ran on: 1 + its number, 0 if unknown or asleep */
#ifdef __linux__
        atom tid;
        uint32_t away_version; /* that its mask was last set from */
#endif
    } worker[CC_POOL_MAX];
} pool = {.lock = MUTEX_START, .finished = CONDITION_START};

enum { NO_SPIN = 0x7fffffff };

static uint32_t ticket_limit(uint32_t ticket) { return ticket >> 24; }
static uint32_t ticket_runs(uint32_t ticket) { return ticket >> 12 & 0xfff; }
static uint32_t ticket_next(uint32_t ticket) { return ticket & 0xfff; }

/* Is there a run that this worker may take? */
static int is_open(uint32_t ticket, int me)
{
    return ticket_next(ticket) < ticket_runs(ticket) && (uint32_t)me <= ticket_limit(ticket);
}

#ifdef CC_POOL_TEST_DELAY
/* Now and then be late by up to 100 us, for a race detector to see what could go wrong. */
static void come_late(int me)
{
    const uint64_t start = (uint64_t)now_ns();
    if (me > 0 && (start ^ start >> 7) % 4 == 0)
        while ((uint64_t)now_ns() - start < start * 2654435761u % 100000)
            pause_briefly();
}
#else
#define come_late(me) ((void)0)
#endif

/* --- interruptions ---------------------------------------------------------------------------- */

/* Of the calling thread. To look at the clock takes as long as a small chunk, so the looks become
 * rarer until they are LOOK_NS apart. */
static THREAD_LOCAL struct interruption {
    int (*ask)(void);
    int stop;
    uint32_t left, between; /* calls of cc_pool_stops until the next look, and from look to look */
    int64_t looked, due;
} interruption;

int cc_pool_interruptible(int (*ask)(void))
{
    const int stopped = interruption.stop;
    interruption = (struct interruption){.ask = ask, .left = 2, .between = 1};
    return stopped;
}

int cc_pool_stops(int worker)
{
    if (worker)
        return (int)load(&pool.stop);
    if (!interruption.ask || interruption.stop || --interruption.left)
        return interruption.stop;
    const int64_t now = now_ns();
    if (!interruption.due)
        interruption.due = now + ASK_NS;
    if (now - interruption.looked < LOOK_NS)
        interruption.between *= 2;
    else if (interruption.between > 1)
        interruption.between /= 2;
    interruption.left = interruption.between;
    interruption.looked = now;
    if (now >= interruption.due) {
        struct interruption ours = interruption;
        interruption.ask = NULL; /* the answer may take jobs of its own */
        ours.stop = ours.ask();
        ours.due = now_ns() + ASK_NS;
        interruption = ours;
    }
    return interruption.stop;
}

/* --- processors and affinity ------------------------------------------------------------------ */

#ifdef __linux__

static uint32_t this_cpu(void) { return (uint32_t)(sched_getcpu() + 1); }

/* Before a wake-up, with the lock held: where may the workers run? The kernel likes to wake a
 * thread on the processor of the one that wakes it, behind its back, while others are idle; a
 * spin of any length does not help. So workers that have slept are kept off that processor. */
static void look_around(void)
{
    cpu_set_t mask[8];
    memset(mask, 0, sizeof mask);
    if (sched_getaffinity(0, sizeof mask, mask))
        return;
    pool.cpus = CPU_COUNT_S(sizeof mask, mask);
    const int here = sched_getcpu();
    if (pool.cpus > 1 && here >= 0)
        CPU_CLR_S((size_t)here, sizeof mask, mask);
    if (!pool.away_version || !CPU_EQUAL_S(sizeof mask, mask, pool.away)) {
        memcpy(pool.away, mask, sizeof mask);
        pool.away_version++;
    }
}

/* With the lock held: a system call only where something has changed. */
static void move_away(int number)
{
    const uint32_t tid = load(&pool.worker[number].tid);
    if (tid && pool.worker[number].away_version != pool.away_version) {
        pool.worker[number].away_version = pool.away_version;
        sched_setaffinity((pid_t)tid, sizeof pool.away, pool.away);
    }
}

#else

static uint32_t this_cpu(void) { return 0; }
static void look_around(void) {}
static void move_away(int number) { (void)number; }

#endif

static int affinity_cpus(void)
{
    long count = 0;
#ifdef _WIN32
    DWORD_PTR ours, all;
    if (GetProcessAffinityMask(GetCurrentProcess(), &ours, &all) && ours != all)
        for (; ours; ours &= ours - 1) /* both are 0 for a process in several groups */
            count++;
    else
        count = (long)GetActiveProcessorCount(ALL_PROCESSOR_GROUPS);
#else
#ifdef __linux__
    cpu_set_t mask[8];
    memset(mask, 0, sizeof mask);
    if (!sched_getaffinity(0, sizeof mask, mask))
        count = CPU_COUNT_S(sizeof mask, mask);
#endif
    if (count < 1)
        count = sysconf(_SC_NPROCESSORS_ONLN);
#endif
    return count < 1 ? 1 : count < INT32_MAX ? (int)count : INT32_MAX;
}

#ifdef __linux__

/* The numbers that a file begins with; "max" and -1, which mean no limit, give none. */
static int read_numbers(const char *path, long long *numbers, int count)
{
    FILE *file = fopen(path, "r");
    int found = 0;
    if (!file)
        return 0;
    while (found < count && fscanf(file, "%lld", &numbers[found]) == 1 && numbers[found] > 0)
        found++;
    fclose(file);
    return found;
}

/* The processors' worth of time that a group may use, rounded up; `most` where it may use more. */
static int group_cpus(const char *group, int version, int most)
{
    char path[4400];
    long long quota[2]; /* microseconds, in each so many microseconds */
    int found;
    if (version == 2) {
        snprintf(path, sizeof path, "%s/cpu.max", group);
        found = read_numbers(path, quota, 2);
    } else {
        snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", group);
        found = read_numbers(path, &quota[0], 1);
        snprintf(path, sizeof path, "%s/cpu.cfs_period_us", group);
        found += read_numbers(path, &quota[1], found);
    }
    if (found < 2)
        return most;
    const long long cpus = quota[0] / quota[1] + (quota[0] % quota[1] != 0);
    return cpus < most ? (int)cpus : most;
}

/* The lowest quota on the way from this process's groups up to the roots. In a container the
 * path may be the host's, which is not there to be read, but the root then is the container. */
static int quota_cpus(const char *groups, const char *mounts, int most)
{
    char line[4200], group[4300];
    FILE *file = fopen(groups, "r");
    if (!file)
        return most;
    while (fgets(line, sizeof line, file)) { /* 0::/path, or 4:cpu,cpuacct:/path */
        char *controllers = strchr(line, ':');
        char *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!path)
            continue;
        *controllers = *path = ','; /* each name then stands between two commas */
        const int version = path == controllers + 1 ? 2 : 1;
        char *const cpu = strstr(controllers, ",cpu,");
        if (version == 1 && (!cpu || cpu >= path))
            continue;
        path++;
        path[strcspn(path, "\n")] = '\0';
        for (size_t length = strlen(path);; path[length] = '\0') {
            snprintf(group, sizeof group, "%s%s%s", mounts, version == 2 ? "" : "/cpu", path);
            most = group_cpus(group, version, most);
            if (!length)
                break;
            while (path[--length] != '/' && length) {}
        }
    }
    fclose(file);
    return most;
}

#endif

int cc_pool_cpus(void)
{
    const int cpus = affinity_cpus();
#ifdef __linux__
    return quota_cpus("/proc/self/cgroup", "/sys/fs/cgroup", cpus);
#else
    return cpus;
#endif
}

/* --- workers ---------------------------------------------------------------------------------- */

/* Take all runs that are left; how many those are. */
static uint32_t call_off(void)
{
    uint32_t ticket = load(&pool.ticket);
    store(&pool.stop, 1);
    while (is_open(ticket, 0))
        if (swap(&pool.ticket, &ticket, (ticket & ~0xfffu) | ticket_runs(ticket)))
            return ticket_runs(ticket) - ticket_next(ticket);
    return 0;
}

/* Run what nobody else has taken; how many runs that was. */
static uint32_t take_runs(int me)
{
    uint32_t count = 0;
    uint32_t ticket = load(&pool.ticket);
    while (is_open(ticket, me)) {
        if (!me && cc_pool_stops(0))
            return count + call_off();
        come_late(me);
        if (!swap(&pool.ticket, &ticket, ticket + 1))
            continue;
        come_late(me);
        if (!count++ && me) {
            store(&pool.worker[me].cpu, this_cpu());
            if (float_control() != pool.float_control)
                set_float_control(pool.float_control);
        }
        ptrdiff_t chunk = (ptrdiff_t)ticket_next(ticket) * pool.run;
        const ptrdiff_t end = pool.chunks - chunk > pool.run ? chunk + pool.run : pool.chunks;
        for (; chunk < end; chunk++)
            pool.work(pool.context, chunk, me);
        ticket = load(&pool.ticket);
    }
    return count;
}

/* Wake the first two sleepers of [first, last]; they wake the next, so that a large team costs
 * its caller no more than a small one. Takes the lock held and lets it go: who is woken should
 * not run into it. */
static void wake_two(int first, int last)
{
    int chosen[2], count = 0;
    for (int i = first; i <= last && count < 2; i++) {
        if (load(&pool.asleep[i])) {
            store(&pool.asleep[i], 0);
            move_away(i);
            chosen[count++] = i;
        }
    }
    mutex_unlock(&pool.lock);
    for (int i = 0; i < count; i++)
        condition_signal(&pool.worker[chosen[i]].wake);
}

static void sleep_until_woken(int me)
{
    mutex_lock(&pool.lock);
    store(&pool.asleep[me], 1);
    store(&pool.worker[me].cpu, 0);
    if (is_open(load(&pool.ticket), me)) {
        store(&pool.asleep[me], 0);
        mutex_unlock(&pool.lock);
        return;
    }
    while (load(&pool.asleep[me]))
        condition_wait(&pool.worker[me].wake, &pool.lock);
    const uint32_t ticket = load(&pool.ticket);
    wake_two(me + 1, is_open(ticket, me) ? (int)ticket_limit(ticket) : 0);
}

/* Until there is a run to take, or for a while. Never on the caller's own processor, which a
 * spinning worker would keep from it. */
static void spin_for_work(int me)
{
    const int64_t end = now_ns() + WORKER_SPIN_NS;
    do {
        for (int i = 0; i < PAUSES; i++) {
            if (is_open(load(&pool.ticket), me))
                return;
            pause_briefly();
        }
        const uint32_t here = this_cpu(), caller = load(&pool.caller_cpu);
        if (load(&pool.worker[me].cpu) != here)
            store(&pool.worker[me].cpu, here);
        if (caller == NO_SPIN || (here && here == caller))
            return;
    } while (now_ns() < end);
}

static void *run_worker(void *number)
{
    const int me = (int)(intptr_t)number;
#ifdef __linux__
    store(&pool.worker[me].tid, (uint32_t)syscall(SYS_gettid));
#endif
    for (;;) {
        const uint32_t count = take_runs(me);
        if (count) {
            add(&pool.done, count);
            if (load(&pool.caller_waits)) {
                mutex_lock(&pool.lock); /* it has looked at `done` before, or waits by now */
                mutex_unlock(&pool.lock);
                condition_signal(&pool.finished);
            }
        }
        spin_for_work(me);
        if (!is_open(load(&pool.ticket), me))
            sleep_until_woken(me);
    }
    return NULL;
}

static uint32_t forks; /* that there are between this process and the first */

#ifndef _WIN32
/* In a forked child, which has none of the threads and whose copy of the pool may have been made
 * at any moment of a job. */
static void forget_pool(void)
{
    const mutex fresh_lock = MUTEX_START;
    const condition fresh_condition = CONDITION_START;
    forks++;
    memset(&pool, 0, sizeof pool);
    pool.lock = fresh_lock;
    pool.finished = fresh_condition;
}
#endif

/* --- the caller ------------------------------------------------------------------------------- */

/* Have workers 1 to `wanted`, or as many as the system gives; how many there are of those. */
static int enlist(int wanted)
{
    if (wanted <= pool.workers)
        return wanted;
    if (pool.jobs_until_retry) {
        pool.jobs_until_retry--;
        return pool.workers;
    }
    pool.cpus = affinity_cpus();
    for (int next; (next = pool.workers + 1) <= wanted; pool.workers = next) {
        condition_start(&pool.worker[next].wake);
        if (!start_thread(next)) {
            pool.jobs_until_retry = JOBS_UNTIL_RETRY;
            break;
        }
    }
    return pool.workers;
}

/* After the ticket has been stored. */
static void wake_workers(int limit)
{
    for (int i = 1; i <= limit; i++) {
        if (load(&pool.asleep[i])) {
            mutex_lock(&pool.lock);
            look_around();
            wake_two(i, limit);
            return;
        }
    }
}

/* Was one of the workers on this processor when last heard of? It may be waiting for it. */
static int is_in_the_way(int limit)
{
    const uint32_t here = this_cpu();
    for (int i = 1; here && i <= limit; i++)
        if (load(&pool.worker[i].cpu) == here)
            return 1;
    return 0;
}

/* Until the workers have done so many runs, or until this is a child of who was asked. */
static void wait_for_workers(uint32_t runs, int limit)
{
    const uint32_t before = forks;
    if (load(&pool.done) == runs)
        return;
    if (load(&pool.caller_cpu) != NO_SPIN) {
        const int64_t end = now_ns() + CALLER_SPIN_NS;
        do {
            for (int i = 0; i < PAUSES; i++) {
                if (load(&pool.done) == runs)
                    return;
                pause_briefly();
            }
        } while (!is_in_the_way(limit) && now_ns() < end);
    }
    mutex_lock(&pool.lock);
    store(&pool.caller_waits, 1);
    while (load(&pool.done) != runs) {
        if (!interruption.ask || interruption.stop) {
            condition_wait(&pool.finished, &pool.lock);
            continue;
        }
        condition_wait_for(&pool.finished, &pool.lock, ASK_NS);
        mutex_unlock(&pool.lock); /* the answer may take its time */
        interruption.left = 1;
        if (cc_pool_stops(0))
            store(&pool.stop, 1);
        if (forks != before)
            return;
        mutex_lock(&pool.lock);
    }
    store(&pool.caller_waits, 0);
    mutex_unlock(&pool.lock);
}

/* With the pool taken. 0 if there are no workers, and what has been run counts for nothing. */
static int run_together(cc_work work, void *context, ptrdiff_t chunks, int threads)
{
    const ptrdiff_t run = chunks / MAX_RUNS + (chunks % MAX_RUNS != 0);
    const int runs = (int)(chunks / run + (chunks % run != 0));
    int limit = (threads < CC_POOL_MAX ? threads : CC_POOL_MAX) - 1;
    limit = enlist(limit < runs ? limit : runs - 1);
    if (!limit)
        return 0;

    pool.work = work;
    pool.context = context;
    pool.chunks = chunks;
    pool.run = run;
    pool.float_control = float_control();
    store(&pool.stop, 0);
    store(&pool.done, 0);
    const uint32_t cpu = limit < pool.cpus ? this_cpu() : NO_SPIN;
    if (load(&pool.caller_cpu) != cpu)
        store(&pool.caller_cpu, cpu);

    store(&pool.ticket, (uint32_t)limit << 24 | (uint32_t)runs << 12);
    wake_workers(limit);
    const uint32_t before = forks, taken = take_runs(0);
    if (interruption.stop && forks == before) /* in the last of its runs */
        store(&pool.stop, 1);
    if (forks == before)
        wait_for_workers((uint32_t)runs - taken, limit);
    return forks == before; /* or this is a child of who was asked, without workers and runs */
}

void cc_pool_run(cc_work work, void *context, ptrdiff_t chunks, int threads)
{
    if (interruption.stop)
        return; /* published, it would have chunks run before the caller calls it off */
    interruption.between = 1; /* these chunks may be larger than the last job's */
    if (interruption.left > 2)
        interruption.left = 2;
    if (threads > 1 && chunks > 1 && follow_forks()) {
        uint32_t idle = 0;
        if (swap(&pool.busy, &idle, 1)) {
            const int done = run_together(work, context, chunks, threads);
            store(&pool.busy, 0);
            if (done)
                return;
        }
    }
    for (ptrdiff_t chunk = 0; chunk < chunks && !cc_pool_stops(0); chunk++)
        work(context, chunk, 0);
}

/* --- how many threads ----------------------------------------------------------------------- */

static atom threads_of_all = 1;
static THREAD_LOCAL int threads_of_this;    /* 0: as all */
static THREAD_LOCAL int threads_of_context; /* 0: as this thread */

int cc_pool_threads(void)
{
    if (threads_of_context)
        return threads_of_context;
    return threads_of_this ? threads_of_this : (int)load(&threads_of_all);
}

void cc_pool_set_threads(int threads)
{
    store(&threads_of_all, (uint32_t)threads);
}

int cc_pool_limit_threads(int threads)
{
    const int before = threads_of_this;
    threads_of_this = threads;
    return before;
}

void cc_pool_limit_context(int threads)
{
    threads_of_context = threads;
}
