#include "server/scheduler.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "model/seq.h"
#include "server/clock.h"

struct scheduler {
    struct scheduler_limits limits; /* fixed before threads start */
    struct metrics *metrics;
    struct crew *crew;
    pthread_t *threads; /* [limits.n_workers] */
    size_t n_started;

    pthread_mutex_t lock;
    pthread_cond_t drained; /* the last job is finished and workers are stopping */

    struct job *head, **tail; /* under lock from here on */
    size_t depth;             /* jobs in the list */
    size_t n_running;         /* jobs taken out of it and not finished yet */
    bool stopping;
};

/* ---- the queue ------------------------------------------------------------------- */

static void append_locked(struct scheduler *s, struct job *job)
{
    job->next = NULL;
    *s->tail = job;
    s->tail = &job->next;
    s->depth++;
}

/* Unlinks the job that *link points at. */
static struct job *unlink_locked(struct scheduler *s, struct job **link)
{
    struct job *job = *link;
    *link = job->next;
    if (!job->next)
        s->tail = link;
    job->next = NULL;
    s->depth--;
    return job;
}

/* Moves the oldest job and all that can run with it to a list; returns how many. */
static size_t take_batch_locked(struct scheduler *s, struct job **batch)
{
    size_t n = 0, cost = 0;
    const struct job *first = s->head;
    struct job **link = &s->head;
    size_t most = s->limits.batch_jobs;
    if (first && first->kind->batch_most && first->kind->batch_most < most)
        most = first->kind->batch_most;
    while (*link && n < most) {
        struct job *job = *link;
        bool fits = n == 0 || job->cost <= s->limits.batch_cost - cost;
        if (job->kind != first->kind || job->model != first->model) {
            link = &job->next;
            continue;
        }
        if (!fits)
            break; /* in order: a long one is not overtaken for ever by short ones */
        cost += job->cost;
        batch[n++] = unlink_locked(s, link);
        if (cost >= s->limits.batch_cost)
            break;
    }
    s->n_running += n;
    return n;
}

enum err_code scheduler_push(struct scheduler *s, struct job *job, struct err *err)
{
    job->queued_us = clock_us();
    pthread_mutex_lock(&s->lock);
    bool stopping = s->stopping, full = s->depth >= s->limits.queue_limit;
    if (!stopping && !full)
        append_locked(s, job);
    pthread_mutex_unlock(&s->lock);
    if (stopping)
        return err_set(err, ERR_STOPPED, "the server is stopping");
    if (full)
        return err_set(err, ERR_LIMIT, "%zu requests are waiting already",
                       s->limits.queue_limit);
    crew_wake(s->crew);
    return ERR_OK;
}

size_t scheduler_depth(struct scheduler *s)
{
    pthread_mutex_lock(&s->lock);
    size_t depth = s->depth;
    pthread_mutex_unlock(&s->lock);
    return depth;
}

/* ---- the end of a job ------------------------------------------------------------ */

static void finish(struct job *job)
{
    job->finish(job->arg, job);
}

static void give_up(struct scheduler *s, struct job *job, enum job_end end)
{
    job->queue_us = clock_us() - job->queued_us;
    job->end = end;
    if (end == JOB_ABANDONED)
        err_set(&job->err, ERR_STOPPED, "the client closed the connection");
    else if (end == JOB_STOPPED)
        err_set(&job->err, ERR_STOPPED, "the server is stopping");
    else
        err_set(&job->err, ERR_STOPPED, "no worker was free within %.1f s",
                (double)job->queue_us * 1e-6);
    if (s->metrics && end == JOB_ABANDONED)
        metrics_abandoned(s->metrics);
    else if (s->metrics)
        metrics_reject(s->metrics, end == JOB_LATE ? METRICS_REJECT_QUEUE_TIMEOUT
                                                   : METRICS_REJECT_STOPPING);
    finish(job);
}

static bool is_late(const struct job *job, uint64_t now_us)
{
    return job->deadline_us && now_us >= job->deadline_us;
}

static void left_running(struct scheduler *s, size_t n)
{
    pthread_mutex_lock(&s->lock);
    s->n_running -= n;
    if (s->n_running == 0 && s->depth == 0)
        pthread_cond_broadcast(&s->drained);
    pthread_mutex_unlock(&s->lock);
}

/* Drops from the batch what nobody waits for any more; returns how many stay. */
static size_t drop_dead(struct scheduler *s, struct job **batch, size_t n)
{
    size_t kept = 0;
    uint64_t now = clock_us();
    for (size_t i = 0; i < n; i++) {
        struct job *job = batch[i];
        if (job_is_gone(job) || (job->abandoned && job->abandoned(job->arg)))
            give_up(s, job, JOB_ABANDONED);
        else if (is_late(job, now))
            give_up(s, job, JOB_LATE);
        else
            batch[kept++] = job;
    }
    return kept;
}

void scheduler_sweep(struct scheduler *s)
{
    /* Jobs leave the list first: `finish` must not run under the lock. */
    struct job *list = NULL, **end = &list;
    size_t n = 0;
    uint64_t now = clock_us();
    pthread_mutex_lock(&s->lock);
    for (struct job **link = &s->head; *link;) {
        if (is_late(*link, now) || job_is_gone(*link)) {
            *end = unlink_locked(s, link);
            end = &(*end)->next;
            n++;
        } else {
            link = &(*link)->next;
        }
    }
    s->n_running += n;
    pthread_mutex_unlock(&s->lock);
    for (struct job *next; list; list = next) {
        next = list->next;
        give_up(s, list, job_is_gone(list) ? JOB_ABANDONED : JOB_LATE);
    }
    if (n)
        left_running(s, n);
}

/* ---- workers --------------------------------------------------------------------- */

/* Its kind saw that nobody waits for it any more. */
static void left_off(struct scheduler *s, struct job *job)
{
    job->end = JOB_ABANDONED;
    if (s->metrics)
        metrics_abandoned(s->metrics);
}

static void run_batch(struct scheduler *s, struct job **batch, size_t taken,
                      struct seq_worker *worker)
{
    size_t n = drop_dead(s, batch, taken);
    uint64_t now = clock_us();
    for (size_t i = 0; i < n; i++) {
        batch[i]->queue_us = now - batch[i]->queued_us;
        batch[i]->batch = n;
    }
    if (n) {
        if (s->metrics)
            metrics_batch(s->metrics, n);
        batch[0]->kind->run(batch, n, worker);
        for (size_t i = 0; i < n; i++) {
            if (batch[i]->err.code == ERR_STOPPED)
                left_off(s, batch[i]);
            finish(batch[i]);
        }
    }
    left_running(s, taken);
}

/* Asked by the crew before it lets a worker sleep. */
static bool still_idle(void *arg)
{
    struct scheduler *s = arg;
    pthread_mutex_lock(&s->lock);
    bool idle = !s->head && !s->stopping;
    pthread_mutex_unlock(&s->lock);
    return idle;
}

/* What a worker owns; made before its thread starts. */
struct worker {
    struct scheduler *s;
    struct seq_worker *seq;
    struct job **batch; /* [limits.batch_jobs] */
};

static void worker_free(struct worker *w)
{
    if (!w)
        return;
    seq_worker_free(w->seq);
    mem_free(w->batch);
    mem_free(w);
}

static void *work(void *arg)
{
    struct worker *w = arg;
    struct scheduler *s = w->s;
    for (;;) {
        pthread_mutex_lock(&s->lock);
        size_t n = s->head ? take_batch_locked(s, w->batch) : 0;
        bool stop = n == 0 && s->stopping;
        pthread_mutex_unlock(&s->lock);
        if (stop)
            break;
        if (n)
            run_batch(s, w->batch, n, w->seq);
        else
            crew_assist(s->crew, still_idle, s);
    }
    worker_free(w);
    return NULL;
}

static enum err_code start_worker(struct scheduler *s, struct err *err)
{
    struct worker *w = mem_zero(1, sizeof *w);
    if (!w)
        return err_set(err, ERR_NOMEM, "out of memory for a worker");
    w->s = s;
    w->batch = mem_zero(s->limits.batch_jobs, sizeof(struct job *));
    enum err_code code = w->batch ? seq_worker_new(s->crew, &w->seq, err)
                                  : err_set(err, ERR_NOMEM, "out of memory for a worker");
    if (code == ERR_OK && pthread_create(&s->threads[s->n_started], NULL, work, w) != 0)
        code = err_set(err, ERR_NOMEM, "can't start a worker thread");
    if (code != ERR_OK) {
        worker_free(w);
        return code;
    }
    pthread_setname_np(s->threads[s->n_started++], "worker");
    return ERR_OK;
}

/* ---- life ------------------------------------------------------------------------ */

static void init_locks(struct scheduler *s)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->drained, &attr);
    pthread_condattr_destroy(&attr);
}

enum err_code scheduler_new(const struct scheduler_limits *limits,
                            struct metrics *metrics, struct scheduler **out,
                            struct err *err)
{
    struct scheduler *s = mem_zero(1, sizeof *s);
    if (!s)
        return err_set(err, ERR_NOMEM, "out of memory for the scheduler");
    init_locks(s);
    s->limits = *limits;
    s->metrics = metrics;
    s->tail = &s->head;
    s->threads = mem_zero(limits->n_workers, sizeof *s->threads);
    enum err_code code = s->threads
                             ? crew_new(&s->crew, err)
                             : err_set(err, ERR_NOMEM, "out of memory for workers");
    for (size_t i = 0; s->threads && i < limits->n_workers && code == ERR_OK; i++)
        code = start_worker(s, err);
    if (code != ERR_OK) {
        (void)scheduler_stop(s, 0);
        scheduler_free(s);
        return code;
    }
    *out = s;
    return ERR_OK;
}

/* Waits until nothing waits or runs, or until the time is over. */
static void wait_drained_locked(struct scheduler *s, uint64_t timeout_us)
{
    uint64_t end = clock_us() + timeout_us;
    struct timespec until = {.tv_sec = (time_t)(end / 1000000u),
                             .tv_nsec = (long)(end % 1000000u) * 1000};
    while (s->depth || s->n_running)
        if (pthread_cond_timedwait(&s->drained, &s->lock, &until) == ETIMEDOUT)
            return;
}

bool scheduler_stop(struct scheduler *s, uint64_t timeout_us)
{
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    pthread_mutex_unlock(&s->lock);
    if (s->crew)
        crew_wake(s->crew);
    pthread_mutex_lock(&s->lock);
    wait_drained_locked(s, timeout_us);
    struct job *rest = s->head;
    s->head = NULL;
    s->tail = &s->head;
    s->depth = 0;
    pthread_mutex_unlock(&s->lock);
    bool complete = !rest;
    for (struct job *next; rest; rest = next) {
        next = rest->next;
        give_up(s, rest, JOB_STOPPED);
    }
    for (size_t i = 0; i < s->n_started; i++)
        pthread_join(s->threads[i], NULL);
    s->n_started = 0;
    return complete;
}

void scheduler_free(struct scheduler *s)
{
    if (!s)
        return;
    crew_free(s->crew);
    pthread_cond_destroy(&s->drained);
    pthread_mutex_destroy(&s->lock);
    mem_free(s->threads);
    mem_free(s);
}
