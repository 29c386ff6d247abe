/* The thread pool: many calls of one function, on the caller's thread and on idle workers.
 *
 * Any thread may call at any time. A job runs serially in its caller where threads or chunks is
 * below 2, where another job is running (another thread's, or the one that a nested call comes
 * from), and where no thread can be created. After a fork the child has a pool without workers,
 * even if the parent was in the middle of a job. The workers stay until the process ends, so the
 * code must stay loaded.
 */
#ifndef CC_POOL_H
#define CC_POOL_H

#include <stddef.h>

enum { CC_POOL_MAX = 256 }; /* no job has more threads, however many are asked for */

/* One chunk of a job. `worker` is below threads, chunks and CC_POOL_MAX; no two calls of one job
 * run at the same time with the same number, and the caller's own is 0. Which worker takes which
 * chunk is left to chance. The function must return: no longjmp, no fork, no exit. */
typedef void (*cc_work)(void *context, ptrdiff_t chunk, int worker);

/* Run work(context, chunk) once for every chunk in [0, chunks), on up to `threads` threads, and
 * return when all of them are done, or those that were started before an interruption. What the
 * chunks have written is then visible to the caller. */
void cc_pool_run(cc_work work, void *context, ptrdiff_t chunks, int threads);

/* Install a callback that jobs of the calling thread poll, on that thread, about every 100 ms; NULL
 * removes it. Nonzero cancels: of this job the chunks that nobody has started are not run, and of
 * later jobs none. The callback may run jobs of its own, and fork. Returns whether jobs have been
 * cancelled since the last call of this function. */
int cc_pool_set_interrupt(int (*check)(void));
/* Whether the job is cancelled. A chunk that takes long polls it with the number of its worker and
 * then returns at once; so does the caller between two jobs, as worker 0. */
int cc_pool_cancelled(int worker);

/* A host's threads: call member(argument) on up to `threads` of them at the same time, the calling
 * one among them, and return 1 when all have returned; or return 0 without a call, if that cannot be
 * done now. A member may do nothing, if the others have taken all chunks. */
typedef int (*cc_team)(void *context, void (*member)(void *argument), void *argument, int threads);

/* Have jobs of the calling thread run on a host's threads in place of the pool's own, or, with NULL,
 * no longer. Chunks are the same, and so is what is said above; but a forked child has its own
 * threads again, as those of a host seldom survive in one. */
void cc_pool_lend(cc_team team, void *context);

/* The same for jobs of all threads that have no team of their own, by the functions GOMP_parallel
 * and omp_in_parallel of an OpenMP runtime (those of libgomp, libomp and libiomp are alike), or,
 * with NULL, no longer. In a parallel region a job is serial. */
typedef void (*cc_gomp_parallel)(void (*member)(void *), void *argument, unsigned threads,
                                 unsigned flags);
void cc_pool_lend_openmp(cc_gomp_parallel parallel, int (*in_parallel)(void));
/* Whose threads jobs of the calling thread use: 0 the pool's, 1 OpenMP's, 2 those of another host. */
int cc_pool_host(void);

/* How many threads jobs of the calling thread should have: the limit of what it runs at the moment,
 * or else its own, or else the number set for all threads (1 until it is set). Only kept here;
 * cc_pool_run takes what it is given. */
int cc_pool_threads(void);
void cc_pool_set_threads(int threads);
/* Set the calling thread's own limit, or 0 for none; returns what it was. */
int cc_pool_limit_threads(int threads);
/* Set the limit of what the calling thread runs from now on, such as one of several tasks that take
 * turns in it, or 0 for none. */
void cc_pool_limit_context(int threads);

/* The processors that this process may use: the affinity mask, under the quota of its control
 * groups, at least 1. It reads files, so ask once. */
int cc_pool_cpus(void);
/* The affinity mask alone. */
int cc_pool_affinity_cpus(void);

#endif
