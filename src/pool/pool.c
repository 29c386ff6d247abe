/* The thread pool.
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
 * A host may lend its threads. Then the ticket is open for worker 0 alone, so that the pool's own stay
 * out, and the host's claim runs as that one does, each with a number of its own. They are gone when
 * the host's call returns, so that nobody has to be woken.
 *
 * A job that is cancelled ends like any other, but that its caller takes all runs left at once, and
 * does not run them.
 */
#include "platform.h"

#include "../debug.h"
#include "pool.h"

#include <setjmp.h>
#include <string.h>

enum {
    MAX_RUNS = 4095,           /* what 12 bits hold */
    PAUSES = 16,               /* of a spin between two looks at the clock */
    WORKER_SPIN_NS = 200000,   /* the calls of a network follow each other closer than this */
    CALLER_SPIN_NS = 50000,    /* about what going to sleep and being woken costs */
    STACK_BYTES = 512 * 1024,  /* a chunk needs little, but thread-local data are taken from it */
    JOBS_UNTIL_RETRY = 1000,   /* after the system has refused a thread */
    LOOK_NS = 1000000,         /* between two looks of an interruptible job at the clock */
    CHECK_NS = 100000000       /* between calls of the callback, which may have to wait */
};

/* --- threads and forks ------------------------------------------------------------------------ */

static void *run_worker(void *number);

#ifdef _WIN32

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

static int follow_forks(void) { return 1; }

#else

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
    ptrdiff_t chunks;
    ptrdiff_t run; /* chunks in a run; the last one may have fewer */
    atom stop;     /* it has been cancelled */
    uint64_t float_control;
    char space_3[128];

    atom done;
    atom members; /* threads of a host that have come, but the caller */
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
static void test_delay(int me)
{
    const uint64_t start = (uint64_t)now_ns();
    if (me > 0 && (start ^ start >> 7) % 4 == 0)
        while ((uint64_t)now_ns() - start < start * 2654435761u % 100000)
            pause_briefly();
}
#else
#define test_delay(me) ((void)0)
#endif

/* --- interruptions ---------------------------------------------------------------------------- */

/* Of the calling thread. To look at the clock takes as long as a small chunk, so the looks become
 * rarer until they are LOOK_NS apart. */
static THREAD_LOCAL struct interruption {
    int (*check)(void);
    int stop;
    uint32_t left, between; /* calls of cc_pool_cancelled until a look, and from look to look */
    int64_t looked, due;
} interruption;

int cc_pool_set_interrupt(int (*check)(void))
{
    const int stopped = interruption.stop;
    interruption = (struct interruption){.check = check, .left = 2, .between = 1};
    return stopped;
}

int cc_pool_cancelled(int worker)
{
    if (worker)
        return (int)load(&pool.stop);
    if (!interruption.check || interruption.stop || --interruption.left)
        return interruption.stop;
    const int64_t now = now_ns();
    if (!interruption.due)
        interruption.due = now + CHECK_NS;
    if (now - interruption.looked < LOOK_NS)
        interruption.between *= 2;
    else if (interruption.between > 1)
        interruption.between /= 2;
    interruption.left = interruption.between;
    interruption.looked = now;
    if (now >= interruption.due) {
        struct interruption ours = interruption;
        interruption.check = NULL; /* it may run jobs of its own */
        ours.stop = ours.check();
        ours.due = now_ns() + CHECK_NS;
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
static void read_affinity(void)
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
static void read_affinity(void) {}
static void move_away(int number) { (void)number; }

#endif


/* --- workers ---------------------------------------------------------------------------------- */

/* Take all runs that are left, to run none of them. Returns how many those are. */
static uint32_t cancel_remaining(void)
{
    uint32_t ticket = load(&pool.ticket);
    store(&pool.stop, 1);
    while (is_open(ticket, 0))
        if (swap(&pool.ticket, &ticket, (ticket & ~0xfffu) | ticket_runs(ticket)))
            return ticket_runs(ticket) - ticket_next(ticket);
    return 0;
}

/* Run what nobody else has taken, for which the ticket must be open to worker `gate`. Returns how
 * many runs that was. */
static uint32_t take_runs(int me, int gate)
{
    uint32_t count = 0;
    uint32_t ticket = load(&pool.ticket);
    while (is_open(ticket, gate)) {
        if (!me && cc_pool_cancelled(0))
            return count + cancel_remaining();
        test_delay(me);
        if (!swap(&pool.ticket, &ticket, ticket + 1))
            continue;
        test_delay(me);
        if (!count++ && me) {
            if (gate)
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

/* After the runs that a worker has taken, which must not touch the job after that. */
static void report(uint32_t count)
{
    if (!count)
        return;
    add(&pool.done, count);
    if (load(&pool.caller_waits)) {
        mutex_lock(&pool.lock); /* it has looked at `done` before, or waits by now */
        mutex_unlock(&pool.lock);
        condition_signal(&pool.finished);
    }
}

static void *run_worker(void *number)
{
    const int me = (int)(intptr_t)number;
#ifdef __linux__
    store(&pool.worker[me].tid, (uint32_t)syscall(SYS_gettid));
#endif
    for (;;) {
        report(take_runs(me, me));
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

/* Create what is missing of workers 1 to `wanted`. Returns how many of them there are: fewer where
 * the system refuses a thread. */
static int ensure_workers(int wanted)
{
    if (wanted <= pool.workers)
        return wanted;
    if (pool.jobs_until_retry) {
        pool.jobs_until_retry--;
        return pool.workers;
    }
    pool.cpus = cc_pool_affinity_cpus();
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
            read_affinity();
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

/* Return when the workers have done `runs`, or if the callback has forked and this is the child. */
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
        if (!interruption.check || interruption.stop) {
            condition_wait(&pool.finished, &pool.lock);
            continue;
        }
        condition_wait_for(&pool.finished, &pool.lock, CHECK_NS);
        mutex_unlock(&pool.lock); /* the callback may take its time */
        interruption.left = 1;
        if (cc_pool_cancelled(0))
            store(&pool.stop, 1);
        if (forks != before)
            return;
        mutex_lock(&pool.lock);
    }
    store(&pool.caller_waits, 0);
    mutex_unlock(&pool.lock);
}

/* Write a job that is cut into `runs`, and publish it for workers up to `limit`. */
static void publish(
    cc_work work, void *context, ptrdiff_t chunks, ptrdiff_t run, int runs, int limit)
{
    pool.work = work;
    pool.context = context;
    pool.chunks = chunks;
    pool.run = run;
    pool.float_control = float_control();
    store(&pool.stop, 0);
    store(&pool.done, 0);
    store(&pool.members, 0);
    store(&pool.ticket, (uint32_t)limit << 24 | (uint32_t)runs << 12);
}

/* The caller's part of a job, until the others have done theirs. 0 if the callback has forked and
 * this is the child. */
static int take_part(uint32_t runs, int limit)
{
    const uint32_t before = forks, taken = take_runs(0, 0);
    if (forks != before)
        return 0;
    if (interruption.stop) /* in the last of its runs */
        store(&pool.stop, 1);
    wait_for_workers(runs - taken, limit);
    return forks == before;
}

/* --- threads of a host ------------------------------------------------------------------------ */

typedef struct {
    cc_team team;
    void *context;
    uint32_t forks; /* that there were: a forked child has none of the threads */
} host;

static THREAD_LOCAL host own_host;

static struct {
    cc_gomp_parallel parallel;
    int (*in_parallel)(void);
} openmp;

static int openmp_team(void *unused, void (*member)(void *), void *argument, int threads)
{
    (void)unused;
    if (openmp.in_parallel())
        return 0;
    openmp.parallel(member, argument, (unsigned)threads, 0);
    return 1;
}

static host common_host;

void cc_pool_lend(cc_team team, void *context) { own_host = (host){team, context, forks}; }

void cc_pool_lend_openmp(cc_gomp_parallel parallel, int (*in_parallel)(void))
{
    common_host.team = NULL;
    openmp.parallel = parallel;
    openmp.in_parallel = in_parallel;
    common_host = (host){parallel ? openmp_team : NULL, NULL, forks};
}

static const host *present_host(void)
{
    const host *const found = own_host.team ? &own_host : &common_host;
    return found->team && found->forks == forks ? found : NULL;
}

int cc_pool_host(void)
{
    const host *const found = present_host();
    return !found ? 0 : found->team == openmp_team ? 1 : 2;
}

/* What a member knows of its job, and the caller's way out of the host's call. */
typedef struct {
    uint32_t runs;
    int limit; /* the highest number of a member */
    jmp_buf out;
} team_job;

static THREAD_LOCAL team_job *leading; /* of the thread that has called the host */

static void run_member(void *argument)
{
    team_job *const job = argument;
    if (leading == job) {
        leading = NULL;
        if (!take_part(job->runs, 0))
            longjmp(job->out, 1); /* there is nobody for whom the host could wait */
        return;
    }
    uint32_t me = load(&pool.members);
    while (!swap(&pool.members, &me, me + 1))
        ;
    if ((int)++me > job->limit)
        return;
    const uint64_t before = float_control();
    report(take_runs((int)me, 0));
    if (float_control() != before)
        set_float_control(before);
}

/* With the pool taken. 0 if nobody has been asked, or if this is a child that the callback forked. */
static int run_in_team(const host *lender, ptrdiff_t run, int runs, int limit, cc_work work,
                       void *context, ptrdiff_t chunks)
{
    team_job job;
    job.runs = (uint32_t)runs;
    job.limit = limit;
    pool.cpus = pool.cpus ? pool.cpus : cc_pool_affinity_cpus();
    store(&pool.caller_cpu, limit < pool.cpus ? this_cpu() : NO_SPIN);
    publish(work, context, chunks, run, runs, 0);
    leading = &job;
    if (setjmp(job.out))
        return 0;
    const int ran = lender->team(lender->context, run_member, &job, limit + 1);
    leading = NULL;
    return ran;
}

/* With the pool taken. 0 if there are no workers, and what has been run counts for nothing. */
static int run_together(cc_work work, void *context, ptrdiff_t chunks, int threads)
{
    const ptrdiff_t run = chunks / MAX_RUNS + (chunks % MAX_RUNS != 0);
    const int runs = (int)(chunks / run + (chunks % run != 0));
    int limit = (threads < CC_POOL_MAX ? threads : CC_POOL_MAX) - 1;
    if (limit > runs - 1)
        limit = runs - 1;
    const host *const lender = present_host();
    if (lender)
        return run_in_team(lender, run, runs, limit, work, context, chunks);
    limit = ensure_workers(limit);
    if (!limit)
        return 0;
    const uint32_t cpu = limit < pool.cpus ? this_cpu() : NO_SPIN;
    if (load(&pool.caller_cpu) != cpu)
        store(&pool.caller_cpu, cpu);
    publish(work, context, chunks, run, runs, limit);
    wake_workers(limit);
    return take_part((uint32_t)runs, limit);
}

void cc_pool_run(cc_work work, void *context, ptrdiff_t chunks, int threads)
{
    if (interruption.stop)
        return; /* published, it would have chunks run before the caller cancels it */
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
    for (ptrdiff_t chunk = 0; chunk < chunks && !cc_pool_cancelled(0); chunk++)
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
