/* The scheduler, with work that only notes who ran with whom. */
#include "server/scheduler.h"
#include "model/tasks/model.h"
#include "tests/suite.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "server/clock.h"

/* ---- fake work ------------------------------------------------------------------- */

enum { BATCHES = 64, JOBS = 64, INSPECT_JOBS = 1, INSPECT_QUEUE = 2 };

/* What a test looks at afterwards; one worker, so no two runs overlap. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool gate;         /* closed: run() waits in it */
    size_t n_in_gate;  /* workers waiting there */
    size_t n_finished; /* under lock, all of them */
    size_t n_batches;
    size_t batch_n[BATCHES];
    const struct job_kind *batch_kind[BATCHES];
    const struct model *batch_model[BATCHES];
} seen = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

struct work {
    struct job job;
    int n_runs, n_finished;
    bool hung_up; /* what `abandoned` says */
};

static void run(struct job **jobs, size_t n, struct seq_worker *w)
{
    ck_assert_ptr_nonnull(w);
    pthread_mutex_lock(&seen.lock);
    seen.n_in_gate++;
    pthread_cond_broadcast(&seen.changed);
    while (seen.gate)
        pthread_cond_wait(&seen.changed, &seen.lock);
    seen.n_in_gate--;
    if (seen.n_batches < BATCHES) {
        seen.batch_n[seen.n_batches] = n;
        seen.batch_kind[seen.n_batches] = jobs[0]->kind;
        seen.batch_model[seen.n_batches] = jobs[0]->model;
    }
    seen.n_batches++;
    for (size_t i = 0; i < n; i++) {
        ck_assert_ptr_eq(jobs[i]->kind, jobs[0]->kind);
        ck_assert_ptr_eq(jobs[i]->model, jobs[0]->model);
        ((struct work *)jobs[i])->n_runs++;
    }
    pthread_mutex_unlock(&seen.lock);
}

static void free_nothing(struct job *job)
{
    (void)job;
}

static const struct job_kind WORDS = {.name = "words", .run = run, .free = free_nothing};
static const struct job_kind MAPS = {
    .name = "maps", .batch_most = 1, .run = run, .free = free_nothing};

static atomic_size_t n_looking, most_looking;

static void run_looking(struct job **jobs, size_t n, struct seq_worker *w)
{
    size_t now = atomic_fetch_add(&n_looking, 1) + 1;
    ck_assert_uint_eq(n, 1);
    if (now > atomic_load(&most_looking))
        atomic_store(&most_looking, now);
    run(jobs, n, w);
    atomic_fetch_sub(&n_looking, 1);
}

static const struct job_kind LOOKING = {
    .name = "looking", .inspects = true, .run = run_looking, .free = free_nothing};
static const struct model LSTM = {.name = "lstm"}, BERT = {.name = "bert"};

static void finish(void *arg, struct job *take_job)
{
    pthread_mutex_lock(&seen.lock);
    ck_assert_ptr_eq(arg, take_job);
    ((struct work *)take_job)->n_finished++;
    seen.n_finished++;
    pthread_cond_broadcast(&seen.changed);
    pthread_mutex_unlock(&seen.lock);
}

static bool abandoned(void *arg)
{
    return ((struct work *)arg)->hung_up;
}

static void set_gate(bool closed)
{
    pthread_mutex_lock(&seen.lock);
    seen.gate = closed;
    pthread_cond_broadcast(&seen.changed);
    pthread_mutex_unlock(&seen.lock);
}

static void wait_in_gate(size_t n)
{
    pthread_mutex_lock(&seen.lock);
    while (seen.n_in_gate < n)
        pthread_cond_wait(&seen.changed, &seen.lock);
    pthread_mutex_unlock(&seen.lock);
}

static void wait_finished(size_t n)
{
    pthread_mutex_lock(&seen.lock);
    while (seen.n_finished < n)
        pthread_cond_wait(&seen.changed, &seen.lock);
    pthread_mutex_unlock(&seen.lock);
}

static struct scheduler *start(size_t n_workers, size_t queue, size_t jobs, size_t cost)
{
    struct scheduler_limits limits = {n_workers, queue,        jobs,
                                      cost,      INSPECT_JOBS, INSPECT_QUEUE};
    struct scheduler *s = NULL;
    struct err err = {0};
    ck_assert_int_eq(scheduler_new(&limits, NULL, &s, &err), ERR_OK);
    return s;
}

static enum err_code push(struct scheduler *s, struct work *w,
                          const struct job_kind *kind, const struct model *model,
                          size_t cost)
{
    struct err err = {0};
    w->job.kind = kind;
    w->job.model = model;
    w->job.cost = cost;
    w->job.finish = finish;
    w->job.abandoned = abandoned;
    w->job.arg = w;
    return scheduler_push(s, &w->job, &err);
}

/* One worker, held in the gate by `first`, so that what follows piles up. */
static struct scheduler *start_held(struct work *first, size_t queue, size_t jobs,
                                    size_t cost)
{
    struct scheduler *s = start(1, queue, jobs, cost);
    set_gate(true);
    ck_assert_int_eq(push(s, first, &WORDS, &LSTM, 1), ERR_OK);
    wait_in_gate(1);
    return s;
}

/* ---- batches --------------------------------------------------------------------- */

START_TEST(all_that_waits_for_the_oldest_ones_model_runs_together)
{
    struct work first, w[7];
    memset(&first, 0, sizeof first);
    memset(w, 0, sizeof w);
    struct scheduler *s = start_held(&first, 100, 64, 1000);
    const struct model *models[] = {&LSTM, &BERT, &LSTM, &BERT, &LSTM, &LSTM, &BERT};
    for (int i = 0; i < 7; i++)
        ck_assert_int_eq(push(s, &w[i], &WORDS, models[i], 1), ERR_OK);
    ck_assert_uint_eq(scheduler_depth(s), 7);
    set_gate(false);
    wait_finished(8);
    ck_assert_uint_eq(seen.n_batches, 3);
    ck_assert_uint_eq(seen.batch_n[1], 4);
    ck_assert_ptr_eq(seen.batch_model[1], &LSTM);
    ck_assert_uint_eq(seen.batch_n[2], 3);
    ck_assert_ptr_eq(seen.batch_model[2], &BERT);
    ck_assert_uint_eq(w[0].job.batch, 4);
    ck_assert(scheduler_stop(s, 1000000));
    scheduler_free(s);
}
END_TEST

START_TEST(kinds_do_not_mix_and_may_ask_for_single_jobs)
{
    struct work first, w[4];
    memset(&first, 0, sizeof first);
    memset(w, 0, sizeof w);
    struct scheduler *s = start_held(&first, 100, 64, 1000);
    push(s, &w[0], &MAPS, &LSTM, 1);
    push(s, &w[1], &WORDS, &LSTM, 1);
    push(s, &w[2], &MAPS, &LSTM, 1);
    push(s, &w[3], &WORDS, &LSTM, 1);
    set_gate(false);
    wait_finished(5);
    ck_assert_uint_eq(seen.n_batches, 4);
    ck_assert_ptr_eq(seen.batch_kind[1], &MAPS);
    ck_assert_ptr_eq(seen.batch_kind[2], &WORDS);
    ck_assert_uint_eq(seen.batch_n[2], 2);
    ck_assert_ptr_eq(seen.batch_kind[3], &MAPS);
    ck_assert(scheduler_stop(s, 1000000));
    scheduler_free(s);
}
END_TEST

START_TEST(a_batch_ends_at_its_token_budget)
{
    struct work first, w[5];
    memset(&first, 0, sizeof first);
    memset(w, 0, sizeof w);
    struct scheduler *s = start_held(&first, 100, 64, 10);
    const size_t costs[] = {4, 6, 1, 50, 1};
    for (int i = 0; i < 5; i++)
        push(s, &w[i], &WORDS, &LSTM, costs[i]);
    set_gate(false);
    wait_finished(6);
    /* 4+6 | 1 | 50 alone, over the budget | 1 */
    ck_assert_uint_eq(seen.n_batches, 5);
    ck_assert_uint_eq(seen.batch_n[1], 2);
    ck_assert_uint_eq(seen.batch_n[2], 1);
    ck_assert_uint_eq(seen.batch_n[3], 1);
    ck_assert_uint_eq(seen.batch_n[4], 1);
    ck_assert(scheduler_stop(s, 1000000));
    scheduler_free(s);
}
END_TEST

START_TEST(a_batch_ends_at_its_number_of_jobs)
{
    struct work first, w[5];
    memset(&first, 0, sizeof first);
    memset(w, 0, sizeof w);
    struct scheduler *s = start_held(&first, 100, 3, 1000);
    for (int i = 0; i < 5; i++)
        push(s, &w[i], &WORDS, &LSTM, 1);
    set_gate(false);
    wait_finished(6);
    ck_assert_uint_eq(seen.batch_n[1], 3);
    ck_assert_uint_eq(seen.batch_n[2], 2);
    ck_assert(scheduler_stop(s, 1000000));
    scheduler_free(s);
}
END_TEST

/* Rows as the model counts them: tokens, or texts. */
START_TEST(a_batch_ends_where_more_would_not_make_it_faster)
{
    static const struct seq_info by_tokens = {.full_rows = 12};
    static const struct seq_info by_texts = {.full_rows = 2, .text_rows = true};
    static const struct model encoder = {.name = "encoder", .info = &by_tokens};
    static const struct model recurrent = {.name = "recurrent", .info = &by_texts};
    struct work first, w[8];
    memset(&first, 0, sizeof first);
    memset(w, 0, sizeof w);
    struct scheduler *s = start_held(&first, 100, 64, 1000);
    const size_t costs[] = {5, 5, 5, 5, 30, 30, 30, 30};
    for (int i = 0; i < 8; i++) {
        w[i].job.rows = i < 4 ? 0 : 1;
        push(s, &w[i], &WORDS, i < 4 ? &encoder : &recurrent, costs[i]);
    }
    set_gate(false);
    wait_finished(9);
    /* 5+5+5 reach 12 | 5 | 2 texts | 2 texts */
    ck_assert_uint_eq(seen.n_batches, 5);
    ck_assert_uint_eq(w[0].job.batch, 3);
    ck_assert_uint_eq(w[2].job.batch, 3);
    ck_assert_uint_eq(w[3].job.batch, 1);
    for (int i = 4; i < 8; i++)
        ck_assert_uint_eq(w[i].job.batch, 2);
    ck_assert(scheduler_stop(s, 1000000));
    scheduler_free(s);
}
END_TEST

/* ---- lengths --------------------------------------------------------------------- */

START_TEST(a_batch_holds_jobs_of_about_one_length)
{
    struct work first, w[5];
    memset(&first, 0, sizeof first);
    memset(w, 0, sizeof w);
    struct scheduler *s = start_held(&first, 100, 64, 10000);
    const size_t costs[] = {10, 500, 64, 900, 65};
    for (int i = 0; i < 5; i++)
        push(s, &w[i], &WORDS, &LSTM, costs[i]);
    ck_assert_uint_eq(scheduler_depth(s), 5);
    set_gate(false);
    wait_finished(6);
    ck_assert_uint_eq(seen.n_batches, 4);
    ck_assert_uint_eq(w[0].job.batch, 2); /* 10 and 64 */
    ck_assert_uint_eq(w[2].job.batch, 2);
    ck_assert_uint_eq(w[1].job.batch, 2); /* 500 and 900 */
    ck_assert_uint_eq(w[3].job.batch, 2);
    ck_assert_uint_eq(w[4].job.batch, 1);
    ck_assert(scheduler_stop(s, 1000000));
    scheduler_free(s);
}
END_TEST

/* Far longer than a long job may be overtaken. */
enum { AGE_US = 300000 };

START_TEST(a_short_job_overtakes_long_ones_that_have_not_waited_long)
{
    struct work first, old, young, brief;
    memset(&first, 0, sizeof first);
    memset(&old, 0, sizeof old);
    memset(&young, 0, sizeof young);
    memset(&brief, 0, sizeof brief);
    struct scheduler *s = start_held(&first, 100, 64, 10000);
    push(s, &old, &WORDS, &BERT, 100000);
    usleep(AGE_US);
    push(s, &young, &MAPS, &BERT, 100000);
    push(s, &brief, &WORDS, &LSTM, 1);
    bool at_once = brief.job.queued_us - young.job.queued_us < 100000;
    set_gate(false);
    wait_finished(4);
    ck_assert_ptr_eq(seen.batch_model[1], &BERT);
    ck_assert_ptr_eq(seen.batch_kind[1], &WORDS);
    if (at_once) /* else this machine was busy elsewhere */
        ck_assert_ptr_eq(seen.batch_model[2], &LSTM);
    ck_assert(scheduler_stop(s, 1000000));
    scheduler_free(s);
}
END_TEST

/* ---- breaks ---------------------------------------------------------------------- */

/* Jobs of a kind that does nothing but ask, until the test has seen what it wants. */
struct asker {
    struct work work;
    atomic_bool *until; /* set: enough */
};

static void run_asking(struct job **jobs, size_t n, struct seq_worker *w)
{
    struct asker *a = (struct asker *)jobs[0];
    while (!atomic_load(a->until)) {
        breaks_pause(w->breaks);
        if (!breaks_stop(w->breaks))
            continue;
        for (size_t i = 0; i < n; i++)
            err_set(&jobs[i]->err, ERR_STOPPED, "told to");
        return;
    }
}

static const struct job_kind ASKING = {
    .name = "asking", .run = run_asking, .free = free_nothing};
static const struct job_kind LOOKING_LONG = {
    .name = "looking", .inspects = true, .run = run_asking, .free = free_nothing};

/* One worker that runs it: afterwards it is not in the queue any more. */
static void start_asking(struct scheduler *s, struct asker *a,
                         const struct job_kind *kind, size_t cost, atomic_bool *until)
{
    a->until = until;
    ck_assert_int_eq(push(s, &a->work, kind, &LSTM, cost), ERR_OK);
    while (scheduler_depth(s))
        usleep(1000);
}

START_TEST(shorter_jobs_run_in_the_pauses_of_a_long_one)
{
    static struct asker a;
    static struct work w[8], same;
    atomic_bool enough = false;
    struct scheduler *s = start(1, 100, 3, 1000);
    start_asking(s, &a, &ASKING, 1000, &enough);
    push(s, &same, &WORDS, &LSTM, 1000);
    for (int i = 0; i < 8; i++)
        ck_assert_int_eq(push(s, &w[i], &WORDS, i % 2 ? &LSTM : &BERT, 1), ERR_OK);
    wait_finished(8);
    ck_assert_int_eq(a.work.n_finished, 0);
    ck_assert_int_eq(same.n_runs, 0); /* no shorter than what is paused */
    atomic_store(&enough, true);
    wait_finished(10);
    for (int i = 0; i < 8; i++)
        ck_assert_int_eq(w[i].n_runs, 1);
    ck_assert_int_eq(a.work.job.end, JOB_RAN);
    ck_assert(scheduler_stop(s, 1000000));
    scheduler_free(s);
}
END_TEST

START_TEST(whatever_waits_runs_in_the_pauses_of_an_inspection)
{
    static struct asker a;
    static struct work w[2], other;
    atomic_bool enough = false;
    struct scheduler *s = start(1, 100, 3, 1000);
    start_asking(s, &a, &LOOKING_LONG, 1, &enough);
    push(s, &other, &LOOKING, &LSTM, 1);
    push(s, &w[0], &WORDS, &LSTM, 100000);
    push(s, &w[1], &WORDS, &BERT, 1);
    wait_finished(2);
    ck_assert_int_eq(a.work.n_finished, 0);
    ck_assert_int_eq(other.n_runs, 0);
    atomic_store(&enough, true);
    wait_finished(4);
    ck_assert(scheduler_stop(s, 1000000));
    scheduler_free(s);
}
END_TEST

static void run_slowly(struct job **jobs, size_t n, struct seq_worker *w)
{
    (void)w;
    usleep(20000);
    for (size_t i = 0; i < n; i++)
        ((struct work *)jobs[i])->n_runs++;
}

/* Between two of them the long job works as long as the first took. */
START_TEST(pauses_take_half_of_a_workers_time_at_most)
{
    static const struct job_kind slow = {
        .name = "slow", .batch_most = 1, .run = run_slowly, .free = free_nothing};
    static struct asker a;
    static struct work w[4];
    atomic_bool enough = false;
    struct scheduler *s = start(1, 100, 64, 1000);
    start_asking(s, &a, &ASKING, 1000, &enough);
    for (int i = 0; i < 4; i++)
        push(s, &w[i], &slow, &LSTM, 1);
    wait_finished(4);
    uint64_t end_us = clock_us();
    atomic_store(&enough, true);
    wait_finished(5);
    uint64_t start_us = a.work.job.queued_us + a.work.job.queue_us;
    ck_assert_uint_ge(end_us - start_us, (3 + 3 + 1) * 20000);
    ck_assert(scheduler_stop(s, 1000000));
    scheduler_free(s);
}
END_TEST

START_TEST(a_batch_is_told_to_stop_when_all_its_clients_have_gone)
{
    static struct asker a[2];
    struct work first;
    memset(&first, 0, sizeof first);
    atomic_bool enough = false, gone[2] = {false, false};
    struct scheduler *s = start_held(&first, 100, 64, 10000);
    for (int i = 0; i < 2; i++) {
        a[i].until = &enough;
        a[i].work.job.gone = &gone[i];
        push(s, &a[i].work, &ASKING, &LSTM, 1000);
    }
    set_gate(false);
    while (scheduler_depth(s))
        usleep(1000);
    atomic_store(&gone[0], true);
    usleep(20000);
    pthread_mutex_lock(&seen.lock);
    ck_assert_uint_eq(seen.n_finished, 1); /* the other one still waits */
    pthread_mutex_unlock(&seen.lock);
    atomic_store(&gone[1], true);
    wait_finished(3);
    ck_assert_int_eq(a[0].work.job.end, JOB_ABANDONED);
    ck_assert_int_eq(a[1].work.job.end, JOB_ABANDONED);
    ck_assert(scheduler_stop(s, 1000000));
    scheduler_free(s);
}
END_TEST

START_TEST(stop_gives_up_a_running_job_when_its_time_is_over)
{
    static struct asker a;
    atomic_bool never = false;
    struct scheduler *s = start(2, 100, 64, 1000);
    start_asking(s, &a, &ASKING, 1000, &never);
    ck_assert(!scheduler_stop(s, 1000));
    ck_assert_int_eq(a.work.n_finished, 1);
    ck_assert_int_eq(a.work.job.end, JOB_STOPPED);
    ck_assert_int_eq(a.work.job.err.code, ERR_STOPPED);
    ck_assert_str_eq(a.work.job.err.msg, "the server is stopping");
    scheduler_free(s);
}
END_TEST

/* ---- refusing and giving up ------------------------------------------------------ */

START_TEST(a_full_queue_refuses_and_leaves_the_job_to_the_caller)
{
    struct work first, w[3];
    memset(&first, 0, sizeof first);
    memset(w, 0, sizeof w);
    struct scheduler *s = start_held(&first, 2, 64, 1000);
    ck_assert_int_eq(push(s, &w[0], &WORDS, &LSTM, 1), ERR_OK);
    ck_assert_int_eq(push(s, &w[1], &WORDS, &LSTM, 1), ERR_OK);
    ck_assert_int_eq(push(s, &w[2], &WORDS, &LSTM, 1), ERR_LIMIT);
    set_gate(false);
    wait_finished(3);
    ck_assert(scheduler_stop(s, 1000000));
    ck_assert_int_eq(w[2].n_runs + w[2].n_finished, 0);
    scheduler_free(s);
}
END_TEST

START_TEST(inspections_have_places_and_a_queue_of_their_own)
{
    static struct work look[4], w[2];
    struct scheduler *s = start(2, 2, 64, 1000);
    set_gate(true);
    ck_assert_int_eq(push(s, &look[0], &LOOKING, &LSTM, 1), ERR_OK);
    wait_in_gate(1);
    ck_assert_int_eq(push(s, &look[1], &LOOKING, &LSTM, 1), ERR_OK);
    ck_assert_int_eq(push(s, &look[2], &LOOKING, &BERT, 1), ERR_OK);
    ck_assert_int_eq(push(s, &look[3], &LOOKING, &LSTM, 1), ERR_LIMIT);
    ck_assert_int_eq(push(s, &w[0], &WORDS, &LSTM, 100000), ERR_OK);
    wait_in_gate(2); /* the second worker took it, younger as it is */
    ck_assert_uint_eq(scheduler_depth(s), 2);
    ck_assert_int_eq(push(s, &w[1], &WORDS, &LSTM, 1), ERR_OK);
    set_gate(false);
    wait_finished(5);
    ck_assert_uint_eq(atomic_load(&most_looking), INSPECT_JOBS);
    ck_assert(scheduler_stop(s, 1000000));
    ck_assert_int_eq(look[3].n_runs + look[3].n_finished, 0);
    scheduler_free(s);
}
END_TEST

START_TEST(sweep_gives_up_late_and_abandoned_jobs)
{
    struct work first, w[4];
    memset(&first, 0, sizeof first);
    memset(w, 0, sizeof w);
    atomic_bool gone = true, here = false;
    struct scheduler *s = start_held(&first, 10, 64, 1000);
    w[0].job.deadline_us = clock_us() - 1;
    w[1].job.gone = &gone;
    w[2].job.gone = &here;
    w[2].job.deadline_us = clock_us() + 60000000;
    for (int i = 0; i < 4; i++)
        push(s, &w[i], &WORDS, &LSTM, 1);
    scheduler_sweep(s);
    ck_assert_uint_eq(scheduler_depth(s), 2);
    ck_assert_int_eq(w[0].n_finished, 1);
    ck_assert_int_eq(w[0].job.end, JOB_LATE);
    ck_assert_int_eq(w[0].job.err.code, ERR_STOPPED);
    ck_assert_int_eq(w[1].job.end, JOB_ABANDONED);
    set_gate(false);
    wait_finished(5);
    ck_assert_int_eq(w[0].n_runs + w[1].n_runs, 0);
    ck_assert_int_eq(w[2].n_runs + w[3].n_runs, 2);
    ck_assert_int_eq(w[3].job.end, JOB_RAN);
    ck_assert(scheduler_stop(s, 1000000));
    scheduler_free(s);
}
END_TEST

START_TEST(a_worker_drops_whoever_hung_up_or_is_late_before_the_batch)
{
    struct work first, w[3];
    memset(&first, 0, sizeof first);
    memset(w, 0, sizeof w);
    struct scheduler *s = start_held(&first, 10, 64, 1000);
    w[0].hung_up = true;
    w[1].job.deadline_us = clock_us() - 1;
    for (int i = 0; i < 3; i++)
        push(s, &w[i], &WORDS, &LSTM, 1);
    set_gate(false);
    wait_finished(4);
    ck_assert_int_eq(w[0].job.end, JOB_ABANDONED);
    ck_assert_int_eq(w[1].job.end, JOB_LATE);
    ck_assert_int_eq(w[0].n_runs + w[1].n_runs, 0);
    ck_assert_int_eq(w[2].n_runs, 1);
    ck_assert_uint_eq(w[2].job.batch, 1);
    ck_assert(scheduler_stop(s, 1000000));
    scheduler_free(s);
}
END_TEST

/* ---- stopping -------------------------------------------------------------------- */

static void *open_gate_soon(void *unused)
{
    usleep(50000);
    set_gate(false);
    return unused;
}

static void run_left_off(struct job **jobs, size_t n, struct seq_worker *w)
{
    (void)w;
    for (size_t i = 0; i < n; i++)
        err_set(&jobs[i]->err, ERR_STOPPED, "nobody waits");
}

START_TEST(a_job_left_off_by_its_kind_counts_as_abandoned)
{
    static const struct job_kind kind = {
        .name = "left off", .run = run_left_off, .free = free_nothing};
    struct work w;
    memset(&w, 0, sizeof w);
    struct scheduler *s = start(1, 10, 10, 10);
    ck_assert_int_eq(push(s, &w, &kind, &LSTM, 1), ERR_OK);
    wait_finished(1);
    ck_assert_int_eq(w.job.end, JOB_ABANDONED);
    ck_assert(scheduler_stop(s, 1000000));
    scheduler_free(s);
}
END_TEST

START_TEST(stop_finishes_what_was_accepted_and_takes_no_more)
{
    struct work first, w[5];
    memset(&first, 0, sizeof first);
    memset(w, 0, sizeof w);
    struct scheduler *s = start_held(&first, 10, 2, 1000);
    pthread_t opener;
    for (int i = 0; i < 4; i++)
        push(s, &w[i], &WORDS, i % 2 ? &LSTM : &BERT, 1);
    pthread_create(&opener, NULL, open_gate_soon, NULL);
    ck_assert(scheduler_stop(s, 10000000));
    pthread_join(opener, NULL);
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(w[i].n_runs, 1);
        ck_assert_int_eq(w[i].n_finished, 1);
    }
    ck_assert_int_eq(push(s, &w[4], &WORDS, &LSTM, 1), ERR_STOPPED);
    scheduler_free(s);
}
END_TEST

START_TEST(stop_gives_up_what_still_waits_when_its_time_is_over)
{
    struct work first, w[3];
    memset(&first, 0, sizeof first);
    memset(w, 0, sizeof w);
    struct scheduler *s = start_held(&first, 10, 64, 1000);
    pthread_t opener;
    for (int i = 0; i < 3; i++)
        push(s, &w[i], &WORDS, &LSTM, 1);
    pthread_create(&opener, NULL, open_gate_soon, NULL);
    ck_assert(!scheduler_stop(s, 1000));
    pthread_join(opener, NULL);
    ck_assert_int_eq(first.n_runs, 1);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(w[i].n_runs, 0);
        ck_assert_int_eq(w[i].n_finished, 1);
        ck_assert_int_eq(w[i].job.end, JOB_STOPPED);
    }
    scheduler_free(s);
}
END_TEST

/* ---- many threads ---------------------------------------------------------------- */

enum { PUSHERS = 4, EACH = 250 };

struct pusher {
    struct scheduler *s;
    struct work *w; /* [EACH] */
    pthread_t thread;
};

static void *push_many(void *arg)
{
    struct pusher *p = arg;
    for (size_t i = 0; i < EACH; i++) {
        const struct model *m = i % 3 ? &LSTM : &BERT;
        const struct job_kind *kind = i % 5 ? &WORDS : i % 2 ? &MAPS : &LOOKING;
        while (push(p->s, &p->w[i], kind, m, i % 7 * 60) != ERR_OK)
            usleep(100);
    }
    return NULL;
}

START_TEST(every_job_of_many_threads_is_finished_exactly_once)
{
    static struct work w[PUSHERS][EACH];
    struct pusher p[PUSHERS];
    struct scheduler *s = start(3, 50, 8, 20);
    for (size_t i = 0; i < PUSHERS; i++) {
        p[i] = (struct pusher){.s = s, .w = w[i]};
        pthread_create(&p[i].thread, NULL, push_many, &p[i]);
    }
    for (size_t i = 0; i < PUSHERS; i++)
        pthread_join(p[i].thread, NULL);
    ck_assert(scheduler_stop(s, 10000000));
    scheduler_free(s);
    ck_assert_uint_eq(seen.n_finished, (size_t)PUSHERS * EACH);
    ck_assert_uint_eq(atomic_load(&most_looking), INSPECT_JOBS);
    for (size_t i = 0; i < PUSHERS; i++)
        for (size_t j = 0; j < EACH; j++) {
            ck_assert_int_eq(w[i][j].n_runs, 1);
            ck_assert_int_eq(w[i][j].n_finished, 1);
            ck_assert_uint_ge(w[i][j].job.batch, 1);
        }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        all_that_waits_for_the_oldest_ones_model_runs_together,
        kinds_do_not_mix_and_may_ask_for_single_jobs,
        a_batch_ends_at_its_token_budget,
        a_batch_ends_at_its_number_of_jobs,
        a_batch_ends_where_more_would_not_make_it_faster,
        a_batch_holds_jobs_of_about_one_length,
        a_short_job_overtakes_long_ones_that_have_not_waited_long,
        shorter_jobs_run_in_the_pauses_of_a_long_one,
        whatever_waits_runs_in_the_pauses_of_an_inspection,
        pauses_take_half_of_a_workers_time_at_most,
        a_batch_is_told_to_stop_when_all_its_clients_have_gone,
        stop_gives_up_a_running_job_when_its_time_is_over,
        a_full_queue_refuses_and_leaves_the_job_to_the_caller,
        inspections_have_places_and_a_queue_of_their_own,
        sweep_gives_up_late_and_abandoned_jobs,
        a_worker_drops_whoever_hung_up_or_is_late_before_the_batch,
        a_job_left_off_by_its_kind_counts_as_abandoned,
        stop_finishes_what_was_accepted_and_takes_no_more,
        stop_gives_up_what_still_waits_when_its_time_is_over,
        every_job_of_many_threads_is_finished_exactly_once,
        NULL};
    return suite_run("scheduler", tests, 60);
}
