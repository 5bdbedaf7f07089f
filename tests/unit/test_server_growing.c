/* The scheduler with jobs that ask for another run: sequences that grow step by step. */
#include "server/scheduler.h"
#include "model/tasks/model.h"
#include "tests/suite.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "server/clock.h"

enum { STEPS_NOTED = 8 };

struct grower {
    struct job job;
    int steps;  /* runs it still asks for; -1: for ever */
    bool fails; /* its first run has an error, and asks for more all the same */
    bool hung_up;
    int n_runs, n_finished;
    size_t mates[STEPS_NOTED]; /* how many ran with it, itself included, by step */
};

/* A run waits in the gate until a test lets it pass. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool open; /* all pass */
    size_t n_waiting, n_passes, n_runs, n_finished;
} gate = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void run(struct job **jobs, size_t n, struct seq_worker *w)
{
    (void)w;
    pthread_mutex_lock(&gate.lock);
    gate.n_waiting++;
    pthread_cond_broadcast(&gate.changed);
    while (!gate.open && gate.n_passes == 0)
        pthread_cond_wait(&gate.changed, &gate.lock);
    gate.n_passes -= gate.open ? 0 : 1;
    gate.n_waiting--;
    gate.n_runs++;
    for (size_t i = 0; i < n; i++) {
        struct grower *g = (struct grower *)jobs[i];
        ck_assert(!g->job.again);
        ck_assert_ptr_eq(g->job.kind, jobs[0]->kind);
        ck_assert_ptr_eq(g->job.model, jobs[0]->model);
        if (g->n_runs < STEPS_NOTED)
            g->mates[g->n_runs] = n;
        g->n_runs++;
        g->steps -= g->steps > 0;
        g->job.again = g->steps != 0;
        if (g->fails)
            err_set(&g->job.err, ERR_LIMIT, "too long");
    }
    pthread_mutex_unlock(&gate.lock);
}

static void free_nothing(struct job *job)
{
    (void)job;
}

static const struct job_kind GROWING = {
    .name = "growing", .run = run, .free = free_nothing};
static const struct job_kind OTHER = {.name = "other", .run = run, .free = free_nothing};
static const struct model LSTM = {.name = "lstm"}, GPT = {.name = "gpt"};

static void finish(void *arg, struct job *take_job)
{
    struct grower *g = arg;
    pthread_mutex_lock(&gate.lock);
    ck_assert_ptr_eq(&g->job, take_job);
    g->n_finished++;
    gate.n_finished++;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.lock);
}

static bool abandoned(void *arg)
{
    return ((struct grower *)arg)->hung_up;
}

static void wait_in_gate(void)
{
    pthread_mutex_lock(&gate.lock);
    while (gate.n_waiting == 0)
        pthread_cond_wait(&gate.changed, &gate.lock);
    pthread_mutex_unlock(&gate.lock);
}

/* Lets one run pass, and returns when the next one waits. */
static void pass_one(void)
{
    pthread_mutex_lock(&gate.lock);
    size_t before = gate.n_runs;
    gate.n_passes++;
    pthread_cond_broadcast(&gate.changed);
    while (gate.n_runs == before || gate.n_waiting == 0)
        pthread_cond_wait(&gate.changed, &gate.lock);
    pthread_mutex_unlock(&gate.lock);
}

static void pass_all(void)
{
    pthread_mutex_lock(&gate.lock);
    gate.open = true;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.lock);
}

static void wait_finished(size_t n)
{
    pthread_mutex_lock(&gate.lock);
    while (gate.n_finished < n)
        pthread_cond_wait(&gate.changed, &gate.lock);
    pthread_mutex_unlock(&gate.lock);
}

static struct scheduler *start(size_t n_workers, size_t queue, size_t jobs)
{
    struct scheduler_limits limits = {n_workers, queue, jobs, 1000, 1, 1};
    struct scheduler *s = NULL;
    struct err err = {0};
    ck_assert_int_eq(scheduler_new(&limits, NULL, &s, &err), ERR_OK);
    return s;
}

/* Runs `steps` times. */
static enum err_code push(struct scheduler *s, struct grower *g,
                          const struct job_kind *kind, const struct model *model,
                          int n_steps)
{
    struct err err = {0};
    g->steps = n_steps;
    g->job.kind = kind;
    g->job.model = model;
    g->job.cost = 1;
    g->job.finish = finish;
    g->job.abandoned = abandoned;
    g->job.arg = g;
    return scheduler_push(s, &g->job, &err);
}

static void stop(struct scheduler *s)
{
    ck_assert(scheduler_stop(s, 10000000));
    scheduler_free(s);
}

START_TEST(growing_jobs_join_and_leave_at_every_step)
{
    static struct grower a, b, c;
    struct scheduler *s = start(1, 100, 64);
    push(s, &a, &GROWING, &GPT, 4);
    wait_in_gate();
    uint64_t pushed_us = a.job.queued_us;
    push(s, &b, &GROWING, &GPT, 1);
    pass_one(); /* a has run */
    push(s, &c, &GROWING, &GPT, 3);
    pass_one(); /* a and b */
    ck_assert_int_eq(b.n_finished, 1);
    pass_one(); /* a and c */
    ck_assert_int_eq(a.n_finished, 0);
    pass_one(); /* a and c */
    ck_assert_int_eq(a.n_finished, 1);
    pass_all(); /* c */
    wait_finished(3);
    const size_t mates[] = {1, 2, 2, 2};
    for (int i = 0; i < 4; i++)
        ck_assert_uint_eq(a.mates[i], mates[i]);
    ck_assert_uint_eq(c.mates[2], 1);
    ck_assert_int_eq(a.n_runs, 4);
    ck_assert_int_eq(b.n_runs, 1);
    ck_assert_int_eq(c.n_runs, 3);
    ck_assert_uint_eq(a.job.batch, 2);
    ck_assert_uint_gt(a.job.queued_us, pushed_us);
    ck_assert_uint_lt(a.job.queue_us, a.job.queued_us - pushed_us); /* the first wait */
    stop(s);
}
END_TEST

START_TEST(others_have_their_turn_between_two_steps)
{
    static struct grower a, others[2];
    struct scheduler *s = start(1, 100, 64);
    push(s, &a, &GROWING, &GPT, 2);
    wait_in_gate();
    push(s, &others[0], &OTHER, &GPT, 1);
    push(s, &others[1], &GROWING, &LSTM, 1);
    pass_one();
    pass_one();
    pass_one();
    ck_assert_int_eq(others[0].n_finished, 1);
    ck_assert_int_eq(others[1].n_finished, 1);
    ck_assert_int_eq(a.n_runs, 1);
    pass_all();
    wait_finished(3);
    ck_assert_uint_eq(a.job.batch, 1);
    stop(s);
}
END_TEST

START_TEST(a_growing_job_takes_no_room_and_has_no_deadline_any_more)
{
    static struct grower a, others[3];
    struct scheduler *s = start(1, 1, 64);
    a.job.deadline_us = clock_us() + 20000000;
    push(s, &a, &GROWING, &GPT, 2);
    wait_in_gate();
    ck_assert_int_eq(push(s, &others[0], &OTHER, &LSTM, 1), ERR_OK);
    ck_assert_int_eq(push(s, &others[1], &OTHER, &LSTM, 1), ERR_LIMIT);
    pass_one(); /* now others[0] runs, and a waits for its next step */
    ck_assert_int_eq(a.n_runs, 1);
    ck_assert_uint_eq(a.job.deadline_us, 0);
    ck_assert_uint_eq(scheduler_depth(s), 0);
    scheduler_sweep(s);
    ck_assert_int_eq(push(s, &others[1], &OTHER, &LSTM, 1), ERR_OK);
    ck_assert_int_eq(push(s, &others[2], &OTHER, &LSTM, 1), ERR_LIMIT);
    ck_assert_uint_eq(scheduler_depth(s), 1);
    pass_all();
    wait_finished(3);
    ck_assert_int_eq(a.n_runs, 2);
    ck_assert_int_eq(a.job.end, JOB_RAN);
    stop(s);
}
END_TEST

START_TEST(a_growing_job_ends_with_its_client_or_an_error)
{
    static struct grower failed, swept, dropped, other;
    atomic_bool gone = false;
    struct scheduler *s = start(1, 100, 64);
    failed.fails = true;
    swept.job.gone = &gone;
    push(s, &failed, &GROWING, &GPT, -1);
    wait_in_gate();
    push(s, &swept, &GROWING, &GPT, -1);
    push(s, &dropped, &GROWING, &GPT, -1);
    pass_one();
    ck_assert_int_eq(failed.n_finished, 1);
    ck_assert_int_eq(failed.job.err.code, ERR_LIMIT);
    push(s, &other, &OTHER, &LSTM, 1);
    pass_one(); /* now the other one runs, and both wait for their next step */
    atomic_store(&gone, true);
    scheduler_sweep(s);
    ck_assert_int_eq(swept.n_finished, 1);
    ck_assert_int_eq(swept.job.end, JOB_ABANDONED);
    dropped.hung_up = true;
    pass_all();
    wait_finished(4);
    ck_assert_int_eq(dropped.job.end, JOB_ABANDONED);
    ck_assert_int_eq(swept.n_runs, 1);
    ck_assert_int_eq(dropped.n_runs, 1);
    stop(s);
}
END_TEST

/* With one worker for three jobs two of them always wait; with three none does. */
START_TEST(stop_finishes_growing_jobs_or_gives_them_up_when_its_time_is_over)
{
    static struct grower ends[2], endless[3][3];
    pass_all();
    struct scheduler *s = start(2, 100, 1);
    for (int i = 0; i < 2; i++)
        push(s, &ends[i], &GROWING, &GPT, 100);
    stop(s);
    ck_assert_int_eq(ends[0].n_runs + ends[1].n_runs, 200);
    for (size_t n = 0; n < 3; n++) {
        s = start(n + 1, 100, 1);
        for (int i = 0; i < 3; i++)
            push(s, &endless[n][i], &GROWING, &GPT, -1);
        ck_assert(!scheduler_stop(s, 20000));
        scheduler_free(s);
        for (int i = 0; i < 3; i++) {
            ck_assert_int_eq(endless[n][i].n_finished, 1);
            ck_assert_int_eq(endless[n][i].job.end, JOB_STOPPED);
            ck_assert_int_eq(endless[n][i].job.err.code, ERR_STOPPED);
        }
    }
}
END_TEST

/* ---- many threads ---------------------------------------------------------------- */

enum { PUSHERS = 4, EACH = 250, MOST_STEPS = 9 };

struct pusher {
    struct scheduler *s;
    struct grower *g; /* [EACH] */
    pthread_t thread;
};

static void *push_many(void *arg)
{
    struct pusher *p = arg;
    for (int i = 0; i < EACH; i++)
        while (push(p->s, &p->g[i], i % 5 ? &GROWING : &OTHER, i % 4 ? &GPT : &LSTM,
                    1 + i % MOST_STEPS) != ERR_OK)
            usleep(100);
    return NULL;
}

START_TEST(every_job_of_many_threads_runs_as_often_as_it_asks)
{
    static struct grower g[PUSHERS][EACH];
    struct pusher p[PUSHERS];
    pass_all();
    struct scheduler *s = start(3, 50, 8);
    for (size_t i = 0; i < PUSHERS; i++) {
        p[i] = (struct pusher){.s = s, .g = g[i]};
        pthread_create(&p[i].thread, NULL, push_many, &p[i]);
    }
    for (size_t i = 0; i < PUSHERS; i++)
        pthread_join(p[i].thread, NULL);
    stop(s);
    ck_assert_uint_eq(gate.n_finished, (size_t)PUSHERS * EACH);
    for (size_t i = 0; i < PUSHERS; i++)
        for (int j = 0; j < EACH; j++) {
            ck_assert_int_eq(g[i][j].n_runs, 1 + j % MOST_STEPS);
            ck_assert_int_eq(g[i][j].n_finished, 1);
        }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        growing_jobs_join_and_leave_at_every_step,
        others_have_their_turn_between_two_steps,
        a_growing_job_takes_no_room_and_has_no_deadline_any_more,
        a_growing_job_ends_with_its_client_or_an_error,
        stop_finishes_growing_jobs_or_gives_them_up_when_its_time_is_over,
        every_job_of_many_threads_runs_as_often_as_it_asks,
        NULL};
    return suite_run("jobs that run again", tests, 60);
}
