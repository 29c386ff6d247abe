/* A stress test of src/pool/, for POSIX systems: one line for each check, exit status 0 if all
 * of them pass. tests/test_drivers.py compiles and runs it, also under ThreadSanitizer.
 *
 *   pool_driver            all checks
 *   pool_driver NAME       those whose name contains NAME
 *   pool_driver --bench    what a job costs, and what it gains
 *
 * The pool is included rather than linked, to look at its workers and at the files of quotas.
 */
#include "../src/pool/pool.c"

#include "../src/pool/cpus.c"

#include <fenv.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#if defined(__SANITIZE_THREAD__)
#define SLOW 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SLOW 1
#endif
#endif
#ifndef SLOW
#define SLOW 0
#endif

enum {
    MOST_CHUNKS = 100000,
    MANY_JOBS = SLOW ? 5000 : 100000,
    CALLERS = 8,
    FORKS = SLOW ? 20 : 50,
    PROCESSES = SLOW ? 12 : 60,
    CHILD_SECONDS = 20 /* a child that takes longer hangs */
};

static const char *self;
static int problems;

static int check(int ok, const char *claim)
{
    if (!ok && problems++ < 20)
        printf("  not so: %s\n", claim);
    return ok;
}

#define CHECK(condition) check(condition, #condition)

static void sleep_us(long us)
{
    const struct timespec t = {us / 1000000, us % 1000000 * 1000};
    nanosleep(&t, NULL);
}

static void compute_for_us(double us)
{
    const int64_t end = now_ns() + (int64_t)(us * 1000);
    while (now_ns() < end) {}
}

/* --- a job that knows what it should have done ------------------------------------------------ */

typedef struct {
    int *runs;        /* of each chunk: not atomic, so that a race detector sees who else writes */
    ptrdiff_t chunks;
    int threads;
    double us;        /* of computing in each chunk */
    atom in_use[CC_POOL_MAX], seen[CC_POOL_MAX], wrong;
} tally;

static void count_chunk(void *context, ptrdiff_t chunk, int worker)
{
    tally *t = context;
    if (worker < 0 || worker >= t->threads || worker >= t->chunks || worker >= CC_POOL_MAX
        || chunk < 0 || chunk >= t->chunks) {
        store(&t->wrong, 1);
        return;
    }
    uint32_t nobody = 0;
    if (!swap(&t->in_use[worker], &nobody, 1))
        store(&t->wrong, 1);
    if (!load(&t->seen[worker]))
        store(&t->seen[worker], 1);
    t->runs[chunk]++;
    if (t->us > 0)
        compute_for_us(t->us);
    store(&t->in_use[worker], 0);
}

/* Run it and see that each chunk ran once; returns how many workers took part, 0 if wrong. */
static int run_tally(int *runs, ptrdiff_t chunks, int threads, double us)
{
    tally t = {.runs = runs, .chunks = chunks, .threads = threads < 1 ? 1 : threads, .us = us};
    int workers = 0;
    memset(runs, 0, (size_t)chunks * sizeof *runs);
    cc_pool_run(count_chunk, &t, chunks, threads);
    for (ptrdiff_t i = 0; i < chunks; i++)
        if (runs[i] != 1)
            return 0;
    for (int i = 0; i < CC_POOL_MAX; i++)
        workers += load(&t.seen[i]) != 0;
    return load(&t.wrong) ? 0 : workers + (chunks == 0);
}

static int tally_is_right(ptrdiff_t chunks, int threads, double us)
{
    int runs[64];
    return run_tally(runs, chunks, threads, us) > 0;
}

/* --- checks ----------------------------------------------------------------------------------- */

static void test_results(void)
{
    static int runs[MOST_CHUNKS];
    const ptrdiff_t chunks[] = {0, 1, 2, 16, 4095, 4096, 4097, MOST_CHUNKS};
    const int threads[] = {1, 2, 3, 7, 64, 1000, 0, -1};
    for (size_t i = 0; i < sizeof chunks / sizeof *chunks; i++)
        for (size_t j = 0; j < sizeof threads / sizeof *threads; j++)
            CHECK(run_tally(runs, chunks[i], threads[j], 0) > 0);
    CHECK(pool.workers == CC_POOL_MAX - 1 || pool.jobs_until_retry); /* the system's limit */
}

static void add_one(void *context, ptrdiff_t chunk, int worker)
{
    (void)worker;
    ((long *)context)[chunk]++;
}

static void test_many_jobs(void)
{
    long sums[16] = {0};
    for (int job = 0; job < MANY_JOBS; job++)
        cc_pool_run(add_one, sums, 2 + job % 15, 2 + job % 2);
    for (int chunk = 0; chunk < 16; chunk++) {
        long expected = 0;
        for (int job = 0; job < MANY_JOBS; job++)
            expected += chunk < 2 + job % 15;
        CHECK(sums[chunk] == expected);
    }
}

static void test_after_idle(void)
{
    for (int i = 0; i < 60; i++) {
        sleep_us(i % 6 * 100); /* workers that spin, that fall asleep now, that sleep */
        CHECK(tally_is_right(16, 2 + i % 7, 5));
    }
}

static void wait_a_little(void *context, ptrdiff_t chunk, int worker)
{
    (void)worker;
    ((pthread_t *)context)[chunk] = pthread_self();
    sleep_us(20000);
}

static void test_sleepers_are_woken(void)
{
    pthread_t ran[40];
    int most = 0;
    for (int i = 0; i < 10 && most < 40; i++) {
        int threads = 0;
        cc_pool_run(wait_a_little, ran, 40, 40);
        for (int chunk = 0, first; chunk < 40; chunk++) {
            for (first = 0; !pthread_equal(ran[first], ran[chunk]); first++) {}
            threads += first == chunk;
        }
        if (i) /* at first they are created */
            most = threads > most ? threads : most;
        sleep_us(5000);
    }
    CHECK(most == 40);
}

static void test_threads_are_limited(void)
{
    int runs[64], most = 0;
    CHECK(tally_is_right(64, 6, 50)); /* five workers */
    for (int i = 0; i < 50; i++) {
        const int workers = run_tally(runs, 64, 2, 20);
        CHECK(workers == 1 || workers == 2);
        most = workers > most ? workers : most;
    }
    CHECK(most == 2 || cc_pool_affinity_cpus() == 1);
}

static void nest(void *context, ptrdiff_t chunk, int worker)
{
    (void)chunk;
    (void)worker;
    int runs[64];
    if (run_tally(runs, 20, 4, 0) != 1)
        store((atom *)context, 1);
}

static void test_nested_calls_are_serial(void)
{
    atom wrong = 0;
    for (int i = 0; i < 200; i++)
        cc_pool_run(nest, (void *)(uintptr_t)&wrong, 16, 4);
    CHECK(!load(&wrong));
}

static void *call_often(void *wrong)
{
    for (int i = 0; i < (SLOW ? 300 : 3000); i++)
        if (!tally_is_right(2 + i % 30, 2 + i % 5, i % 3))
            store((atom *)wrong, 1);
    return NULL;
}

static void test_callers_at_once(void)
{
    pthread_t callers[CALLERS];
    atom wrong = 0;
    for (int i = 0; i < CALLERS; i++)
        CHECK(!pthread_create(&callers[i], NULL, call_often, (void *)(uintptr_t)&wrong));
    for (int i = 0; i < CALLERS; i++)
        pthread_join(callers[i], NULL);
    CHECK(!load(&wrong));
}

typedef struct {
    double result[64];
    volatile double one, three;
} division;

static void divide(void *context, ptrdiff_t chunk, int worker)
{
    division *d = context;
    compute_for_us(20);
    d->result[chunk] = worker >= 0 ? d->one / d->three : 0;
}

static void test_rounding_mode_is_the_callers(void)
{
    static const int modes[] = {FE_UPWARD, FE_DOWNWARD, FE_TONEAREST};
    division d = {.one = 1, .three = 3};
    CHECK(tally_is_right(16, 4, 10)); /* the workers exist already */
    for (int i = 0; i < 3; i++) {
        fesetround(modes[i]);
        cc_pool_run(divide, &d, 64, 4);
        const double expected = d.one / d.three;
        for (int chunk = 0; chunk < 64; chunk++)
            CHECK(d.result[chunk] == expected);
    }
}

/* --- processes -------------------------------------------------------------------------------- */

static int exits_with_0(pid_t child)
{
    int status;
    return waitpid(child, &status, 0) == child && WIFEXITED(status) && !WEXITSTATUS(status);
}

static int in_child(int (*is_right)(void))
{
    fflush(stdout);
    const pid_t child = fork();
    if (!child) {
        alarm(CHILD_SECONDS);
        _exit(!is_right());
    }
    return child > 0 && exits_with_0(child);
}

static void *call_until_told(void *stop)
{
    int runs[16];
    while (!load((atom *)stop))
        run_tally(runs, 16, 3, 20);
    return NULL;
}

static int grandchild_is_right(void) { return tally_is_right(16, 3, 5); }

static int child_is_right(void)
{
    return !pool.workers && tally_is_right(16, 3, 5) && tally_is_right(64, 5, 0)
           && pool.workers == 4 && in_child(grandchild_is_right);
}

static void test_forks_during_jobs(void)
{
    pthread_t caller;
    atom stop = 0;
    CHECK(!pthread_create(&caller, NULL, call_until_told, (void *)(uintptr_t)&stop));
    for (int i = 0; i < FORKS; i++) {
        sleep_us(i * 37 % 500);
        CHECK(in_child(child_is_right));
    }
    store(&stop, 1);
    pthread_join(caller, NULL);
    CHECK(tally_is_right(16, 3, 5)); /* and the parent's pool is as before */
}

static void test_exit(void)
{
    static const char *const when[] = {"--exit-spinning", "--exit-starting", "--exit-asleep"};
    fflush(stdout);
    for (int i = 0; i < PROCESSES; i++) {
        const pid_t child = fork();
        if (!child) {
            alarm(CHILD_SECONDS);
            execl(self, self, when[i % 3], (char *)NULL);
            _exit(127);
        }
        CHECK(child > 0 && exits_with_0(child));
    }
}

static int refused_threads_are_done_without(void)
{
    struct rlimit limit = {0, 0}; /* no room for another stack, but the parent's can be reused */
    if (setrlimit(RLIMIT_AS, &limit))
        return 1;
    int runs[200], right = 1;
    for (int i = 0; i < 5; i++)
        right &= run_tally(runs, 200, 200, 1) > 0;
    return right && (pool.workers < 59);
}

static void test_refused_threads(void)
{
#ifdef __linux__ /* elsewhere the limit does not hold for stacks; sanitizers need the room */
    CHECK(SLOW || in_child(refused_threads_are_done_without));
#else
    (void)refused_threads_are_done_without;
#endif
}

static atom handled, handled_elsewhere;
static pthread_t main_thread;

static void handle(int number)
{
    (void)number;
    store(&handled, 1);
    if (!pthread_equal(pthread_self(), main_thread))
        store(&handled_elsewhere, 1);
}

static void test_signals_stay_with_the_host(void)
{
    struct sigaction action = {0};
    sigset_t one, pending;
    action.sa_handler = handle;
    sigaction(SIGUSR1, &action, NULL);
    sigemptyset(&one);
    sigaddset(&one, SIGUSR1);
    main_thread = pthread_self();
    for (int i = 0; i < 100; i++) {
        /* Blocked here, it can only wait, unless a worker would take it. */
        store(&handled, 0);
        pthread_sigmask(SIG_BLOCK, &one, NULL);
        kill(getpid(), SIGUSR1);
        CHECK(tally_is_right(16, 4, i % 10));
        sigpending(&pending);
        CHECK(sigismember(&pending, SIGUSR1) == 1 && !load(&handled));
        pthread_sigmask(SIG_UNBLOCK, &one, NULL);
        CHECK(load(&handled));
        kill(getpid(), SIGUSR1);
        CHECK(tally_is_right(16, 4, i % 10));
    }
    CHECK(!load(&handled_elsewhere));
}

/* --- interruptions ---------------------------------------------------------------------------- */

static int questions;
static pid_t child = -1;

static int stop_at_the_second(void) { return ++questions == 2; }

static int go_on(void)
{
    questions += tally_is_right(16, 4, 0); /* a job within the job */
    return 0;
}

static int fork_once(void)
{
    if (!questions++)
        child = fork();
    return 0;
}

/* How many of many chunks have run, or -1 if something is wrong. */
static int run_for(int (*ask)(void), int threads, double us)
{
    enum { CHUNKS = 1000 };
    static int runs[CHUNKS];
    tally t = {.runs = runs, .chunks = CHUNKS, .threads = threads, .us = us};
    int count = 0, twice = 0;
    memset(runs, 0, sizeof runs);
    questions = 0;
    cc_pool_set_interrupt(ask);
    cc_pool_run(count_chunk, &t, CHUNKS, threads);
    for (int i = 0; i < CHUNKS; i++) {
        count += runs[i] > 0;
        twice |= runs[i] > 1;
    }
    return load(&t.wrong) || twice ? -1 : count;
}

static void test_interruptions(void)
{
    for (int threads = 1; threads <= 3; threads += 2) {
        const int count = run_for(stop_at_the_second, threads, 5000);
        CHECK(count > 0 && count < 900 && questions == 2);
        long later[16] = {0};
        for (int job = 0; job < MANY_JOBS; job++)
            cc_pool_run(add_one, later, 1 + job % 16, threads);
        for (int chunk = 0; chunk < 16; chunk++)
            CHECK(later[chunk] == 0); /* nor does any of those that follow */
        CHECK(cc_pool_set_interrupt(NULL) == 1);
        CHECK(tally_is_right(16, threads, 10));
        CHECK(run_for(go_on, threads, 1000) == 1000 && questions > 0);
        CHECK(cc_pool_set_interrupt(NULL) == 0);
        CHECK(run_for(NULL, threads, 0) == 1000 && questions == 0);
    }
}

static void test_forks_when_asked(void)
{
    int status = 1;
    const int count = run_for(fork_once, 3, 1000);
    if (!child) /* what had been run before has been run again */
        _exit(!(count == 1000 || count == -1));
    CHECK(count == 1000 && waitpid(child, &status, 0) == child && !status);
    cc_pool_set_interrupt(NULL);
}

/* --- threads of a host ------------------------------------------------------------------------ */

typedef struct {
    void (*member)(void *);
    void *argument;
    double result;
} enlisted;

static void *enlist(void *context)
{
    enlisted *const e = context;
    volatile double one = 1, three = 3;
    fesetround(FE_TONEAREST);
    e->member(e->argument);
    e->result = one / three; /* rounded as this thread has it, not as the caller of the job */
    return NULL;
}

/* A host that creates its threads for each job, `extra` more than it should, or refuses. */
static struct {
    int extra, refuses, calls;
    int rounds_otherwise;
} team;

static int run_team(void *context, void (*member)(void *), void *argument, int threads)
{
    enum { MOST = 8 };
    pthread_t ids[MOST];
    enlisted each[MOST];
    volatile double one = 1, three = 3;
    CHECK(context == &team);
    team.calls++;
    if (team.refuses)
        return 0;
    threads += team.extra - 1;
    if (threads > MOST)
        threads = MOST;
    for (int i = 0; i < threads; i++) {
        each[i] = (enlisted){.member = member, .argument = argument};
        CHECK(!pthread_create(&ids[i], NULL, enlist, &each[i]));
    }
    member(argument);
    const int mode = fegetround();
    fesetround(FE_TONEAREST);
    const double nearest = one / three;
    fesetround(mode);
    for (int i = 0; i < threads; i++) {
        pthread_join(ids[i], NULL);
        team.rounds_otherwise |= each[i].result != nearest;
    }
    return 1;
}

static int team_child_is_right(void)
{
    const int before = team.calls;
    return cc_pool_host() == 0 && tally_is_right(16, 3, 5) && team.calls == before;
}

static void test_lent_threads(void)
{
    static int runs[MOST_CHUNKS];
    int most = 0;
    CHECK(cc_pool_host() == 0);
    CHECK(tally_is_right(16, 4, 5)); /* so that there are workers of our own, who must keep out */
    cc_pool_lend(run_team, &team);
    CHECK(cc_pool_host() == 2);
    for (team.extra = 0; team.extra <= 2; team.extra += 2) {
        for (int i = 0; i < (SLOW ? 50 : 500); i++)
            CHECK(run_tally(runs, 2 + i % 60, 2 + i % 4, i % 5) > 0);
        for (int i = 0; i < 20; i++) {
            const int workers = run_tally(runs, 64, 3, 200);
            CHECK(workers > 0 && workers <= 3);
            most = workers > most ? workers : most;
        }
        CHECK(run_tally(runs, MOST_CHUNKS, 3, 0) > 0);
    }
    CHECK(most > 1 || cc_pool_affinity_cpus() == 1);
    CHECK(!team.rounds_otherwise);
    test_nested_calls_are_serial();
    test_rounding_mode_is_the_callers();
    CHECK(!team.rounds_otherwise);
    test_interruptions();
    CHECK(in_child(team_child_is_right));
    test_forks_when_asked();
    team.refuses = 1;
    team.calls = 0;
    CHECK(run_tally(runs, 16, 3, 5) == 1 && team.calls == 1);
    team.refuses = 0;
    cc_pool_lend(NULL, NULL);
    CHECK(tally_is_right(16, 3, 5) && team.calls == 1);
}

/* --- processors ------------------------------------------------------------------------------- */

#ifdef __linux__

static void note_cpu(void *context, ptrdiff_t chunk, int worker)
{
    (void)worker;
    compute_for_us(100);
    ((int *)context)[chunk] = sched_getcpu();
}

/* Wait until all workers sleep, as they do soon; on a busy machine it may take a while. */
static int all_sleep(void)
{
    const int64_t end = now_ns() + (int64_t)CHILD_SECONDS / 2 * 1000000000;
    for (int i = 1; i <= pool.workers; i++)
        while (!load(&pool.asleep[i])) {
            if (now_ns() > end)
                return 0;
            sleep_us(100);
        }
    return 1;
}

static int one_cpu_is_kept_to(void)
{
    int cpus[16] = {0};
    cpu_set_t one;
    CPU_ZERO(&one);
    const int here = sched_getcpu();
    CPU_SET((size_t)here, &one);
    int right = tally_is_right(16, 4, 10); /* workers with the wider mask */
    right &= !sched_setaffinity(0, sizeof one, &one) && cc_pool_cpus() == 1;
    right &= all_sleep(); /* they get the narrower one when they are woken */
    cc_pool_run(note_cpu, cpus, 16, 4);
    for (int i = 0; i < 16; i++)
        right &= cpus[i] == here;
    return right;
}

static void write_file(const char *folder, const char *name, const char *text)
{
    char path[600];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    if (CHECK(file != NULL)) {
        fputs(text, file);
        fclose(file);
    }
}

static int quota_of(const char *root, const char *groups, int most)
{
    char path[600];
    write_file(root, "groups", groups);
    snprintf(path, sizeof path, "%s/groups", root);
    return quota_cpus(path, root, most);
}

static void test_quotas(void)
{
    static const char *const folders[] = {"", "/a", "/a/b", "/cpu", "/cpu/a", "/cpu/a/b"};
    char root[400], folder[500];
    snprintf(root, sizeof root, "%s.XXXXXX", self);
    CHECK(mkdtemp(root) != NULL);
    for (int i = 1; i < 6; i++) {
        snprintf(folder, sizeof folder, "%s%s", root, folders[i]);
        mkdir(folder, 0700);
    }
    write_file(root, "a/cpu.max", "350000 100000\n");
    write_file(root, "a/b/cpu.max", "max 100000\n");
    CHECK(quota_of(root, "0::/a/b\n", 64) == 4);
    CHECK(quota_of(root, "0::/a/b\n", 2) == 2);
    CHECK(quota_of(root, "0::/\n", 64) == 64);
    CHECK(quota_of(root, "0::/of/the/host\n", 64) == 64);
    write_file(root, "a/b/cpu.max", "1000 100000\n");
    CHECK(quota_of(root, "0::/a/b\n", 64) == 1);
    write_file(root, "cpu.max", "200000 100000\n");
    CHECK(quota_of(root, "0::/of/the/host\n", 64) == 2);

    write_file(root, "cpu/cpu.cfs_quota_us", "-1\n");
    write_file(root, "cpu/cpu.cfs_period_us", "100000\n");
    write_file(root, "cpu/a/cpu.cfs_quota_us", "250000\n");
    write_file(root, "cpu/a/cpu.cfs_period_us", "50000\n");
    write_file(root, "cpu/a/b/cpu.cfs_quota_us", "-1\n");
    write_file(root, "cpu/a/b/cpu.cfs_period_us", "100000\n");
    CHECK(quota_of(root, "12:cpuset:/a\n3:cpu,cpuacct:/a/b\n", 64) == 5);
    CHECK(quota_of(root, "3:cpuacct,cpu:/a\n", 64) == 5);
    CHECK(quota_of(root, "3:cpuset:/a/cpu,\n1:name=cpu:/a\n", 64) == 64);
    CHECK(quota_of(root, "nonsense\n:\n3:cpu\n", 64) == 64);
    CHECK(quota_cpus("/does/not/exist", root, 7) == 7);
}

static void test_cpus(void)
{
    CHECK(cc_pool_cpus() >= 1 && cc_pool_cpus() <= cc_pool_affinity_cpus());
    CHECK(in_child(one_cpu_is_kept_to));
}

#else

static void test_quotas(void) {}
static void test_cpus(void) { CHECK(cc_pool_cpus() >= 1); }

#endif

/* --- benchmark -------------------------------------------------------------------------------- */

enum { BENCH_CHUNKS = 16, BENCH_CALLS = 4000 };

static double seconds_per_step;

static void step(void *context, ptrdiff_t chunk, int worker)
{
    volatile double sink;
    double x = (double)(chunk + worker);
    for (long i = *(const long *)context; i > 0; i--)
        x = x * 0.999 + 1;
    sink = x;
    (void)sink;
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void bench_one(const char *situation, double us, int threads, int calls, long idle_us)
{
    static double times[BENCH_CALLS];
    long steps = (long)(us * 1e-6 / BENCH_CHUNKS / seconds_per_step);
    for (int i = 0; i < calls; i++) {
        if (idle_us)
            sleep_us(idle_us);
        const int64_t start = now_ns();
        cc_pool_run(step, &steps, BENCH_CHUNKS, threads);
        times[i] = (double)(now_ns() - start) / 1000;
    }
    qsort(times, (size_t)calls, sizeof *times, by_size);
    printf("%-18s %6g us  threads %d  median %8.2f  p99 %8.2f us\n", situation, us, threads,
           times[calls / 2], times[calls * 99 / 100]);
}

static void bench(void)
{
    static const double work[] = {0, 5, 20, 100, 1000};
    long steps = 1000000;
    for (int i = 0; i < 5; i++) {
        const int64_t start = now_ns();
        step(&steps, 0, 0);
        const double seconds = (double)(now_ns() - start) * 1e-9 / (double)steps;
        if (!i || seconds < seconds_per_step)
            seconds_per_step = seconds;
    }
    for (int i = 0; i < 5; i++)
        for (int threads = 1; threads <= 2; threads++)
            bench_one("hot", work[i], threads, work[i] > 500 ? 400 : BENCH_CALLS, 0);
    for (int i = 1; i < 5; i++)
        for (int threads = 1; threads <= 2; threads++)
            bench_one("after 20 ms asleep", work[i], threads, 60, 20000);
}

/* --- main ------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    void (*run)(void);
} tests[] = {
    {"threads are limited", test_threads_are_limited},
    {"many jobs", test_many_jobs},
    {"after idle", test_after_idle},
    {"sleepers are woken", test_sleepers_are_woken},
    {"nested calls are serial", test_nested_calls_are_serial},
    {"callers at once", test_callers_at_once},
    {"rounding mode is the caller's", test_rounding_mode_is_the_callers},
    {"forks during jobs", test_forks_during_jobs},
    {"exit", test_exit},
    {"refused threads", test_refused_threads},
    {"signals stay with the host", test_signals_stay_with_the_host},
    {"interruptions", test_interruptions},
    {"forks when asked", test_forks_when_asked},
    {"lent threads", test_lent_threads},
    {"quotas", test_quotas},
    {"cpus", test_cpus},
    {"results", test_results}, /* last: it leaves 255 workers */
};

int main(int argc, char **argv)
{
    const char *const argument = argc > 1 ? argv[1] : "";
    int failures = 0, ran = 0;
    self = argv[0];
    if (!strncmp(argument, "--exit", 6)) {
        const int right = tally_is_right(16, 4, 5);
        if (!strcmp(argument, "--exit-asleep"))
            sleep_us(5000);
        if (!strcmp(argument, "--exit-starting"))
            return !tally_is_right(64, 24, 0);
        return !right;
    }
    if (!strcmp(argument, "--bench")) {
        bench();
        return 0;
    }
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
        if (!strstr(tests[i].name, argument))
            continue;
        const int64_t start = now_ns();
        problems = 0;
        tests[i].run();
        printf("%s: %s (%.2f s)\n", problems ? "FAILED" : "ok", tests[i].name,
               (double)(now_ns() - start) * 1e-9);
        fflush(stdout);
        failures += problems != 0;
        ran++;
    }
    return failures || !ran;
}
