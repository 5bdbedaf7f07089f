/* Job: one request on its way through the scheduler.
 *
 * A handler parses a request into a struct of its own whose FIRST member is a struct job,
 * and hands it over. A worker calls kind->run with all waiting jobs of the same kind and
 * model; afterwards each job holds a finished reply, or an error. The scheduler knows
 * nothing about tasks.
 *
 * Owners, one at a time: handler (until it returns) -> scheduler -> worker -> whoever set
 * `finish`, who calls kind->free. Nothing here is locked: whoever owns it, uses it. */
#ifndef SERVER_JOB_H
#define SERVER_JOB_H

#include "model/seq.h"
#include "server/models.h"
#include "server/reply.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct job;

struct job_kind {
    const char *name;  /* "sentiment" */
    size_t batch_most; /* jobs in one batch, 0 = as many as the scheduler's limits let */
    /* Looks inside a pass: takes one of the places of --inspect-jobs, runs alone and once
     * (`again` is not for it). */
    bool inspects;
    /* On a worker, without locks. n >= 1 jobs of this kind and one model. Fills `reply`,
     * or `err`, and the timings of every one of them. One that takes long looks at
     * job_is_gone now and then and leaves such a job with ERR_STOPPED, as it does with
     * all when w is told to stop (base/breaks.h). */
    void (*run)(struct job **jobs, size_t n, struct seq_worker *w);
    void (*free)(struct job *job); /* the whole struct, its reply included */
    /* Of kinds that send parts (progress, below): puts an error that came behind the
     * first part into the reply's text, as its end. `error` is an error reply's body. Any
     * thread; NULL of other kinds. */
    void (*put_error)(struct job *job, struct buf *to, const struct buf *error);
};

/* How a job ended. */
enum job_end { JOB_RAN, JOB_LATE, JOB_ABANDONED, JOB_STOPPED };

struct job {
    /* set by the handler */
    const struct job_kind *kind;
    const struct model *model;
    size_t cost; /* about how many tokens it has; batches are cut by their sum */
    size_t rows; /* about how many it adds to a batch (seq_info, full_rows); 0: as cost */
    uint64_t wait_us; /* it may wait so long for a worker, and no longer than others; 0:
                         as long as they */

    /* set by kind->run */
    struct reply reply;
    struct err err; /* code ERR_OK: reply is good */
    uint64_t tokenize_us, compute_us;
    size_t n_texts, n_tokens; /* read; for the log and the metrics */
    size_t n_characters;      /* code points read, where a dialect tells them */
    size_t n_generated;       /* tokens written */
    /* There is more to do: the job is queued again, as if it came now, with the cost that
     * run has left in it, and run is called again, with whatever else waits by then. That
     * is how sequences that grow token by token join and leave a batch at every step. It
     * takes no room of the queue from others, and has no deadline any more. False before
     * each run; with an error it means nothing. */
    bool again;

    /* Set by progress: the client is behind, no more parts for now. The job then does not
     * run again; it is finished as it is, and pushed once more when its parts are sent.
     */
    bool paused;

    /* set by the HTTP side before the job is pushed */
    void (*finish)(void *arg,
                   struct job *take_job); /* any worker or the timer, no locks */
    /* Called by run when reply.body holds a part that may be sent already: takes the body
     * away and leaves an empty one; the first time also the head (status, content type,
     * headers), after which an error can only be told inside the body. May set `paused`.
     * NULL: nobody wants parts. No locks. */
    void (*progress)(void *arg, struct job *job);
    bool (*abandoned)(void *arg); /* asked before a batch: nobody waits for it any more */
    void *arg;
    const atomic_bool *gone; /* set once nobody waits any more; NULL = never */
    uint64_t deadline_us;    /* give up if it is still waiting then; 0 = never */

    /* the scheduler's own */
    struct job *next;
    uint64_t queued_us; /* when it was pushed, the last time */
    uint64_t queue_us;  /* how long it waited for its first run */
    enum job_end end;   /* not JOB_RAN: err says why, and there is no reply */
    /* How many jobs ran together with it, itself included; the most of its runs. 0 until
     * it has run. */
    size_t batch;
};

/* Nobody waits for it any more. */
static inline bool job_is_gone(const struct job *job)
{
    return job->gone && atomic_load(job->gone);
}

#endif
