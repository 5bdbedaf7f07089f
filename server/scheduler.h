/* Scheduler: a bounded queue of jobs and the threads that compute.
 *
 * A free worker takes the oldest job and with it waiting jobs of the same kind and model
 * that are about as long, as long as a larger batch is a faster one (seq_info, full_rows)
 * and up to a token budget; there is no timer that waits for more. Workers without a
 * batch assist those that have one (base/crew.h).
 *
 * Short jobs don't stand behind long ones: each token of a job counts as if it had come a
 * little later, and when all workers are busy, one whose batch is long runs shorter jobs
 * in its pauses (base/breaks.h). Long ones don't starve: the handicap has a limit, and
 * pauses take half of a worker's time at most. Oldest first keeps models fair.
 *
 * Inspections (job.h, `inspects`) hold much memory and take long. They have a queue and
 * places of their own: so many run at once, each alone, and whatever else waits runs in
 * their pauses.
 *
 * A job may ask for another run (job.h, `again`): then it is the youngest in the queue,
 * so others of its model join it and others of other models have their turn before it. */
#ifndef SERVER_SCHEDULER_H
#define SERVER_SCHEDULER_H

#include "model/seq.h"
#include "server/job.h"
#include "server/metrics.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct scheduler;

struct scheduler_limits {
    size_t n_workers;     /* >= 1 */
    size_t queue_limit;   /* jobs waiting, without those that run or have run */
    size_t batch_jobs;    /* most jobs in one batch */
    size_t batch_cost;    /* most tokens in one batch; a single job may exceed it */
    size_t inspect_jobs;  /* inspections that run at once, >= 1 */
    size_t inspect_queue; /* inspections waiting; they count in no other limit */
};

/* Starts the workers. metrics may be NULL. */
enum err_code scheduler_new(const struct scheduler_limits *limits,
                            struct metrics *metrics, struct scheduler **out,
                            struct err *err) MUST_CHECK;

/* Hands a job over, or one that was paused over again: that one is not refused for a full
 * queue. ERR_LIMIT when the queue is full, ERR_STOPPED after scheduler_stop:
 * the job then still belongs to the caller. Otherwise job->finish is called exactly once.
 */
enum err_code scheduler_push(struct scheduler *s, struct job *job,
                             struct err *err) MUST_CHECK;

/* Jobs waiting for their first run, inspections included. */
size_t scheduler_depth(struct scheduler *s);

/* Takes waiting jobs that are past their deadline or abandoned out of the queue and
 * finishes them with ERR_STOPPED. Called by a timer. */
void scheduler_sweep(struct scheduler *s);

/* No job is taken any more; what was taken is finished. Returns when all of it is, or
 * after timeout_us: jobs still waiting are then finished with ERR_STOPPED, and so are
 * running ones as soon as their computation asks (base/breaks.h). True if nothing was
 * given up. The workers are gone afterwards. */
bool scheduler_stop(struct scheduler *s, uint64_t timeout_us);
void scheduler_free(struct scheduler *s); /* after scheduler_stop; NULL is fine */

#endif
