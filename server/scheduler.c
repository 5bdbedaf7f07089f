#include "server/scheduler.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>

#include "model/seq.h"
#include "server/clock.h"

/* Jobs by length, each class four times as long as the one before. A batch holds jobs of
 * one class, so that none of them waits for one much longer than itself. Inspections are
 * a class of their own above these: whatever waits may run in their pauses. */
enum { INSPECTIONS = 5, N_CLASSES, SHORTEST_COST = 64, CLASS_FACTOR = 4 };

/* An older job goes first, but each token counts as having come so much later, up to a
 * limit: nobody is overtaken by what comes much later than itself. */
enum { TOKEN_US = 100, TOKENS_COUNTED = 2048 };

/* How long a worker computes before it lets other threads have its core. */
enum { OFFER_US = 20 };

/* Waiting jobs of one class, oldest first. */
struct queue {
    struct job *head, **tail;
};

struct scheduler {
    struct scheduler_limits limits; /* fixed before threads start */
    struct metrics *metrics;
    struct crew *crew;
    pthread_t *threads; /* [limits.n_workers] */
    size_t n_started;

    pthread_mutex_t lock;
    pthread_cond_t drained; /* the last job is finished and workers are stopping */

    struct queue queues[N_CLASSES]; /* under lock from here on */
    size_t depth;                   /* jobs in them that have not run yet, but: */
    size_t n_inspections;           /* those that inspect */
    size_t n_inspecting;            /* of them those that run */
    size_t n_again;                 /* those between two of their runs */
    size_t n_running;               /* jobs taken out of them and not finished yet */
    bool stopping;

    /* One bit for each class that waits: written under the lock, and read without it by
     * who would like to know whether taking the lock pays. */
    atomic_uint waiting;
    /* Running jobs are given up as well; only ever goes up. */
    atomic_bool giving_up;
    atomic_size_t n_given_up; /* of those that ran */
};

/* ---- the queue ------------------------------------------------------------------- */

static bool has_run(const struct job *job)
{
    return job->batch > 0;
}

/* The counter that a job in the queue belongs to. */
static size_t *count_locked(struct scheduler *s, const struct job *job)
{
    if (job->kind->inspects)
        return &s->n_inspections;
    return has_run(job) ? &s->n_again : &s->depth;
}

static bool waits_locked(const struct scheduler *s)
{
    return s->depth + s->n_again + s->n_inspections > 0;
}

/* Whether a job of the class waits that may run now. */
static bool is_ready_locked(const struct scheduler *s, size_t class)
{
    return s->queues[class].head &&
           (class != INSPECTIONS || s->n_inspecting < s->limits.inspect_jobs);
}

static bool has_work_locked(const struct scheduler *s)
{
    return s->depth + s->n_again > 0 || is_ready_locked(s, INSPECTIONS);
}

static size_t class_of(const struct job *job)
{
    size_t class = job->kind->inspects ? INSPECTIONS : 0;
    for (size_t most = SHORTEST_COST; job->cost > most && class + 1 < INSPECTIONS;
         class ++)
        most *= CLASS_FACTOR;
    return class;
}

/* The job with the least of these goes first. */
static uint64_t turn_of(const struct job *job)
{
    uint64_t tokens = job->cost < TOKENS_COUNTED ? job->cost : TOKENS_COUNTED;
    return job->queued_us + tokens * TOKEN_US;
}

static void queues_clear_locked(struct scheduler *s)
{
    for (size_t c = 0; c < N_CLASSES; c++)
        s->queues[c] = (struct queue){.tail = &s->queues[c].head};
    s->depth = s->n_again = s->n_inspections = 0;
    atomic_store(&s->waiting, 0);
}

static void append_locked(struct scheduler *s, struct job *job)
{
    size_t class = class_of(job);
    struct queue *q = &s->queues[class];
    job->next = NULL;
    *q->tail = job;
    q->tail = &job->next;
    ++*count_locked(s, job);
    atomic_fetch_or(&s->waiting, 1u << class);
}

/* Unlinks the job that *link, of this class, points at. */
static struct job *unlink_locked(struct scheduler *s, size_t class, struct job **link)
{
    struct job *job = *link;
    *link = job->next;
    if (!job->next)
        s->queues[class].tail = link;
    if (!s->queues[class].head)
        atomic_fetch_and(&s->waiting, ~(1u << class));
    job->next = NULL;
    --*count_locked(s, job);
    return job;
}

/* Which of the classes below `end` goes first; `end` if none waits. */
static size_t next_class_locked(const struct scheduler *s, size_t end)
{
    size_t best = end;
    for (size_t c = 0; c < end; c++)
        if (is_ready_locked(s, c) &&
            (best == end || turn_of(s->queues[c].head) < turn_of(s->queues[best].head)))
            best = c;
    return best;
}

/* From so many rows on a batch of the model only gets longer. */
static size_t full_rows(const struct model *m)
{
    return m && m->info && m->info->full_rows ? m->info->full_rows : SIZE_MAX;
}

/* Moves the oldest job of a class and what pays to run with it to a list; returns how
 * many. */
static size_t take_batch_locked(struct scheduler *s, size_t class, struct job **batch)
{
    size_t n = 0, cost = 0, rows = 0;
    struct job **link = &s->queues[class].head;
    const struct job *first = *link;
    size_t most = class == INSPECTIONS ? 1 : s->limits.batch_jobs;
    size_t full = full_rows(first->model);
    if (first->kind->batch_most && first->kind->batch_most < most)
        most = first->kind->batch_most;
    while (*link && n < most && rows < full) {
        struct job *job = *link;
        bool fits = n == 0 || job->cost <= s->limits.batch_cost - cost;
        if (job->kind != first->kind || job->model != first->model) {
            link = &job->next;
            continue;
        }
        if (!fits)
            break; /* in order: a long one is not overtaken for ever by short ones */
        cost += job->cost;
        rows += job->rows ? job->rows : job->cost;
        batch[n++] = unlink_locked(s, class, link);
        if (cost >= s->limits.batch_cost)
            break;
    }
    s->n_running += n;
    s->n_inspecting += class == INSPECTIONS ? n : 0;
    return n;
}

static bool is_full_locked(const struct scheduler *s, const struct job *job)
{
    if (job->kind->inspects)
        return s->n_inspections >= s->limits.inspect_queue;
    return s->depth >= s->limits.queue_limit;
}

enum err_code scheduler_push(struct scheduler *s, struct job *job, struct err *err)
{
    bool goes_on = job->paused; /* it was let in before, and has run */
    job->paused = false;
    job->queued_us = clock_us();
    if (goes_on)
        job->deadline_us = 0;
    else
        job->batch = 0;
    pthread_mutex_lock(&s->lock);
    bool stopping = s->stopping, full = !goes_on && is_full_locked(s, job);
    if (!stopping && !full)
        append_locked(s, job);
    pthread_mutex_unlock(&s->lock);
    if (stopping)
        return err_set(err, ERR_STOPPED, "the server is stopping");
    if (full)
        return err_set(err, ERR_LIMIT, "%zu %s are waiting already",
                       job->kind->inspects ? s->limits.inspect_queue
                                           : s->limits.queue_limit,
                       job->kind->inspects ? "inspections" : "requests");
    crew_wake_one(s->crew);
    return ERR_OK;
}

size_t scheduler_depth(struct scheduler *s)
{
    pthread_mutex_lock(&s->lock);
    size_t depth = s->depth + s->n_inspections;
    pthread_mutex_unlock(&s->lock);
    return depth;
}

/* ---- the end of a job ------------------------------------------------------------ */

static void finish(struct job *job)
{
    job->finish(job->arg, job);
}

/* The first time a job leaves the queue. */
static void note_wait(struct job *job, uint64_t now_us)
{
    if (!has_run(job))
        job->queue_us = now_us - job->queued_us;
}

static void give_up(struct scheduler *s, struct job *job, enum job_end end)
{
    note_wait(job, clock_us());
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

static void left_running(struct scheduler *s, size_t n, size_t n_inspecting)
{
    pthread_mutex_lock(&s->lock);
    s->n_running -= n;
    s->n_inspecting -= n_inspecting;
    if (s->n_running == 0 && !waits_locked(s))
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

/* Moves the jobs of a class that nobody wants any more to *end; returns how many. */
static size_t sweep_locked(struct scheduler *s, size_t class, struct job ***end)
{
    size_t n = 0;
    uint64_t now = clock_us();
    for (struct job **link = &s->queues[class].head; *link;) {
        if (is_late(*link, now) || job_is_gone(*link)) {
            **end = unlink_locked(s, class, link);
            *end = &(**end)->next;
            n++;
        } else {
            link = &(*link)->next;
        }
    }
    return n;
}

void scheduler_sweep(struct scheduler *s)
{
    /* Jobs leave the queues first: `finish` must not run under the lock. */
    struct job *list = NULL, **end = &list;
    size_t n = 0;
    pthread_mutex_lock(&s->lock);
    for (size_t c = 0; c < N_CLASSES; c++)
        n += sweep_locked(s, c, &end);
    s->n_running += n;
    pthread_mutex_unlock(&s->lock);
    for (struct job *next; list; list = next) {
        next = list->next;
        give_up(s, list, job_is_gone(list) ? JOB_ABANDONED : JOB_LATE);
    }
    if (n)
        left_running(s, n, 0);
}

/* ---- batches --------------------------------------------------------------------- */

/* A batch on its way through a worker. */
struct lane {
    struct worker *worker;
    struct seq_worker *seq;
    struct breaks breaks; /* what seq asks */
    struct job **batch;   /* [limits.batch_jobs] */
    size_t n;             /* jobs in it; fixed while they run */
};

/* What a worker's thread owns; made before it starts. In the pauses of a batch it runs
 * shorter jobs, which are not paused themselves. */
struct worker {
    struct scheduler *s;
    pthread_t thread; /* its own idea of it */
    struct lane usual, shorter;
    size_t class;        /* of what is in the usual lane */
    uint64_t start_us;   /* of that */
    uint64_t paused_us;  /* how long it was, so far */
    uint64_t offered_us; /* when it last let other threads have its core */
};

/* Its kind left off, because it was told to stop or saw that the client has gone. */
static void left_off(struct scheduler *s, struct job *job)
{
    bool given_up = atomic_load(&s->giving_up) && !job_is_gone(job);
    job->end = given_up ? JOB_STOPPED : JOB_ABANDONED;
    if (given_up) {
        atomic_fetch_add(&s->n_given_up, 1);
        job->err = (struct err){0};
        err_set(&job->err, ERR_STOPPED, "the server is stopping");
    }
    if (s->metrics && given_up)
        metrics_reject(s->metrics, METRICS_REJECT_STOPPING);
    else if (s->metrics)
        metrics_abandoned(s->metrics);
}

/* The jobs to run again go back into the queues, as if they came now; when running jobs
 * are given up already, these end instead. */
static void requeue(struct scheduler *s, struct job **jobs, size_t n)
{
    uint64_t now = clock_us();
    pthread_mutex_lock(&s->lock);
    bool giving_up = atomic_load(&s->giving_up);
    for (size_t i = 0; i < n && !giving_up; i++) {
        jobs[i]->queued_us = now;
        jobs[i]->deadline_us = 0;
        append_locked(s, jobs[i]);
    }
    s->n_running -= giving_up ? 0 : n;
    pthread_mutex_unlock(&s->lock);
    for (size_t i = 0; i < n && giving_up; i++) {
        atomic_fetch_add(&s->n_given_up, 1);
        give_up(s, jobs[i], JOB_STOPPED);
    }
    if (giving_up)
        left_running(s, n, 0);
}

/* Finishes what is done; returns how many of the batch, first in it now, run again. */
static size_t finish_batch(struct scheduler *s, struct job **batch, size_t n)
{
    size_t n_again = 0;
    for (size_t i = 0; i < n; i++) {
        struct job *job = batch[i];
        if (job->again && job->err.code == ERR_OK) {
            assert(!job->kind->inspects);
            batch[n_again++] = job;
            continue;
        }
        if (job->err.code == ERR_STOPPED)
            left_off(s, job);
        finish(job);
    }
    return n_again;
}

/* Returns how many of the jobs are in the queues again. */
static size_t run_batch(struct scheduler *s, struct lane *lane, size_t taken)
{
    struct job **batch = lane->batch;
    bool inspects = batch[0]->kind->inspects;
    size_t n = lane->n = drop_dead(s, batch, taken), n_again = 0;
    uint64_t now = clock_us();
    for (size_t i = 0; i < n; i++) {
        note_wait(batch[i], now);
        batch[i]->again = false;
        batch[i]->batch = n > batch[i]->batch ? n : batch[i]->batch;
    }
    if (n) {
        if (s->metrics)
            metrics_batch(s->metrics, n);
        batch[0]->kind->run(batch, n, lane->seq);
        n_again = finish_batch(s, batch, n);
    }
    if (n_again)
        requeue(s, batch, n_again);
    left_running(s, taken - n_again, inspects ? taken : 0);
    return n_again;
}

/* ---- breaks of a running batch --------------------------------------------------- */

/* Nobody waits for any of them any more, or time is over. */
static bool is_unwanted(void *arg)
{
    const struct lane *lane = arg;
    size_t n_gone = 0;
    while (n_gone < lane->n && job_is_gone(lane->batch[n_gone]))
        n_gone++;
    return n_gone == lane->n || atomic_load(&lane->worker->s->giving_up);
}

/* Lets other threads have the core, if it is time again. Else the kernel may keep those
 * that read requests, write replies or ask for answers waiting for a whole slice of a
 * thread that only computes, some 3 ms. */
static void offer_core(struct worker *w, uint64_t now_us)
{
    if (now_us - w->offered_us < OFFER_US)
        return;
    sched_yield();
    w->offered_us = clock_us();
}

/* Shorter jobs take half of a worker's time at most. */
static bool may_pause(const struct worker *w, uint64_t now_us)
{
    return now_us - w->start_us >= 2 * w->paused_us;
}

/* Runs shorter jobs that wait, unless a worker is free to do that. */
static void run_shorter(void *arg)
{
    struct lane *lane = arg;
    struct worker *w = lane->worker;
    struct scheduler *s = w->s;
    uint64_t now = clock_us();
    if (!pthread_equal(pthread_self(), w->thread))
        return;
    offer_core(w, now);
    if (!(atomic_load(&s->waiting) & ((1u << w->class) - 1)) || crew_idle(s->crew) ||
        !may_pause(w, now))
        return;
    pthread_mutex_lock(&s->lock);
    size_t class = next_class_locked(s, w->class);
    size_t n = class < w->class ? take_batch_locked(s, class, w->shorter.batch) : 0;
    pthread_mutex_unlock(&s->lock);
    if (n == 0)
        return;
    if (run_batch(s, &w->shorter, n))
        crew_wake_one(s->crew); /* this worker may not come back to them soon */
    w->paused_us += clock_us() - now;
}

/* ---- workers --------------------------------------------------------------------- */

/* Asked by the crew before it lets a worker sleep. */
static bool still_idle(void *arg)
{
    struct scheduler *s = arg;
    pthread_mutex_lock(&s->lock);
    bool idle = !has_work_locked(s) && !s->stopping;
    pthread_mutex_unlock(&s->lock);
    return idle;
}

static void lane_done(struct lane *lane)
{
    seq_worker_free(lane->seq);
    mem_free(lane->batch);
}

static enum err_code lane_init(struct lane *lane, struct worker *w,
                               void (*pause)(void *arg), struct err *err)
{
    lane->worker = w;
    lane->batch = mem_zero(w->s->limits.batch_jobs, sizeof(struct job *));
    if (!lane->batch)
        return err_set(err, ERR_NOMEM, "out of memory for a worker");
    enum err_code code = seq_worker_new(w->s->crew, &lane->seq, err);
    if (code != ERR_OK)
        return code;
    lane->breaks = (struct breaks){lane, is_unwanted, pause};
    seq_worker_breaks(lane->seq, &lane->breaks);
    return ERR_OK;
}

static void worker_free(struct worker *w)
{
    if (!w)
        return;
    lane_done(&w->usual);
    lane_done(&w->shorter);
    mem_free(w);
}

/* Takes the batch whose turn it is, if any; returns the number of jobs. */
static size_t take_next_locked(struct worker *w)
{
    struct scheduler *s = w->s;
    w->class = next_class_locked(s, N_CLASSES);
    if (w->class == N_CLASSES)
        return 0;
    return take_batch_locked(s, w->class, w->usual.batch);
}

static void run_next(struct worker *w, size_t n)
{
    w->start_us = clock_us();
    w->paused_us = 0;
    (void)run_batch(w->s, &w->usual, n);
}

static void *work(void *arg)
{
    struct worker *w = arg;
    struct scheduler *s = w->s;
    w->thread = pthread_self();
    for (;;) {
        pthread_mutex_lock(&s->lock);
        size_t n = take_next_locked(w);
        bool stop = n == 0 && s->stopping, more = n && has_work_locked(s);
        pthread_mutex_unlock(&s->lock);
        if (stop)
            break;
        if (more && crew_idle(s->crew))
            crew_wake_one(s->crew); /* each push woke one, who may have been the same */
        if (n)
            run_next(w, n);
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
    enum err_code code = lane_init(&w->usual, w, run_shorter, err);
    if (code == ERR_OK)
        code = lane_init(&w->shorter, w, NULL, err);
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
    queues_clear_locked(s);
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
    while (waits_locked(s) || s->n_running)
        if (pthread_cond_timedwait(&s->drained, &s->lock, &until) == ETIMEDOUT)
            return;
}

/* Empties the queues; returns what was in them. */
static struct job *take_all_locked(struct scheduler *s)
{
    struct job *all = NULL, **end = &all;
    for (size_t c = 0; c < N_CLASSES; c++) {
        *end = s->queues[c].head;
        while (*end)
            end = &(*end)->next;
    }
    queues_clear_locked(s);
    return all;
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
    atomic_store(&s->giving_up, true);
    struct job *rest = take_all_locked(s);
    pthread_mutex_unlock(&s->lock);
    bool complete = !rest;
    for (struct job *next; rest; rest = next) {
        next = rest->next;
        give_up(s, rest, JOB_STOPPED);
    }
    for (size_t i = 0; i < s->n_started; i++)
        pthread_join(s->threads[i], NULL);
    s->n_started = 0;
    return complete && atomic_load(&s->n_given_up) == 0;
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
