/* Loops split over members; run under ThreadSanitizer too. */
#include "tests/suite.h"
#include "tests/unit/team.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

enum { N = 5000, MEMBERS = 3 };

struct work {
    atomic_int done[N];
    atomic_size_t slices; /* slices taken */
};

static void mark(void *arg, size_t first, size_t last)
{
    struct work *w = arg;
    atomic_fetch_add(&w->slices, 1);
    for (size_t i = first; i < last; i++)
        atomic_fetch_add(&w->done[i], 1);
}

static void check_all_once(struct work *w)
{
    for (size_t i = 0; i < N; i++)
        ck_assert_int_eq(atomic_load(&w->done[i]), 1);
}

START_TEST(nobody_helps_a_lone_caller)
{
    static struct work w;
    crew_for(NULL, N, 1000, mark, &w);
    check_all_once(&w);
    ck_assert_uint_eq(atomic_load(&w.slices), 1);
    crew_for(NULL, 0, 1000, mark, &w);
    ck_assert_uint_eq(atomic_load(&w.slices), 1);
}
END_TEST

/* Callers post loops at the same time while members come and go. */
struct caller {
    struct crew *crew;
    int rounds;
    bool good;
};

static void *caller_main(void *arg)
{
    struct caller *c = arg;
    struct work *w = calloc(1, sizeof *w);
    c->good = w != NULL;
    for (int r = 0; r < c->rounds && c->good; r++) {
        memset(w, 0, sizeof *w);
        crew_for(c->crew, N, 1 + (size_t)r % 50, mark, w);
        for (size_t i = 0; i < N; i++)
            c->good &= atomic_load(&w->done[i]) == 1;
    }
    free(w);
    return NULL;
}

START_TEST(every_iteration_is_done_exactly_once)
{
    struct team t;
    pthread_t callers[2];
    team_start(&t, MEMBERS);
    struct caller call[2] = {{t.crew, 200, false}, {t.crew, 200, false}};
    for (int i = 0; i < 2; i++)
        pthread_create(&callers[i], NULL, caller_main, &call[i]);
    for (int i = 0; i < 100; i++)
        crew_wake(t.crew);
    for (int i = 0; i < 2; i++)
        pthread_join(callers[i], NULL);
    team_stop(&t);
    ck_assert(call[0].good);
    ck_assert(call[1].good);
}
END_TEST

struct shared_work {
    pthread_t caller;
    atomic_int by_caller, by_others;
};

static void note_thread(void *arg, size_t first, size_t last)
{
    struct shared_work *w = arg;
    bool own = pthread_equal(pthread_self(), w->caller);
    atomic_fetch_add(own ? &w->by_caller : &w->by_others, (int)(last - first));
    usleep(200);
}

/* Also a member that has fallen asleep: the second half begins after a pause. */
START_TEST(idle_members_take_slices)
{
    struct team t;
    struct shared_work w = {.caller = pthread_self()};
    team_start(&t, 1);
    for (int half = 0; half < 2; half++) {
        int before = atomic_load(&w.by_others);
        usleep(half * 100000);
        for (int i = 0; i < 1000 && atomic_load(&w.by_others) == before; i++)
            crew_for(t.crew, 16, 200000, note_thread, &w);
        ck_assert_int_gt(atomic_load(&w.by_others), before);
    }
    ck_assert_int_gt(atomic_load(&w.by_caller), 0);
    team_stop(&t);
}
END_TEST

/* Loops inside of slices, and more of them at a time than the crew takes. */
enum { OUTER = 64, INNER = 100 };

struct nest {
    struct crew *crew;
    atomic_int done[OUTER][INNER];
};

struct row {
    struct nest *nest;
    size_t i;
};

static void mark_inner(void *arg, size_t first, size_t last)
{
    struct row *r = arg;
    for (size_t j = first; j < last; j++)
        atomic_fetch_add(&r->nest->done[r->i][j], 1);
}

static void mark_outer(void *arg, size_t first, size_t last)
{
    struct nest *n = arg;
    for (size_t i = first; i < last; i++) {
        struct row row = {n, i};
        crew_for(n->crew, INNER, 1000, mark_inner, &row);
    }
}

static void *nest_main(void *arg)
{
    struct nest *n = arg;
    crew_for(n->crew, OUTER, 100000, mark_outer, n);
    return NULL;
}

START_TEST(loops_may_be_posted_from_slices_and_by_any_number_of_threads)
{
    enum { CALLERS = 48 };
    static struct nest nests[CALLERS];
    struct team t;
    pthread_t callers[CALLERS];
    team_start(&t, MEMBERS);
    for (int i = 0; i < CALLERS; i++) {
        nests[i].crew = t.crew;
        pthread_create(&callers[i], NULL, nest_main, &nests[i]);
    }
    for (int i = 0; i < CALLERS; i++)
        pthread_join(callers[i], NULL);
    team_stop(&t);
    for (int c = 0; c < CALLERS; c++)
        for (int i = 0; i < OUTER; i++)
            for (int j = 0; j < INNER; j++)
                ck_assert_int_eq(atomic_load(&nests[c].done[i][j]), 1);
}
END_TEST

/* Whether they look or sleep: the pauses are shorter and longer than a look. */
START_TEST(a_wake_for_one_makes_at_least_one_member_return)
{
    struct team t;
    team_start(&t, MEMBERS);
    for (int i = 0; i < 300; i++) {
        if (i % 3)
            usleep((useconds_t)(i % 50) * 10);
        while (!crew_idle(t.crew))
            usleep(10);
        int before = atomic_load(&t.returns);
        crew_wake_one(t.crew);
        for (int waited = 0; atomic_load(&t.returns) == before; waited++) {
            ck_assert_int_lt(waited, 50000);
            usleep(100);
        }
    }
    team_stop(&t);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        nobody_helps_a_lone_caller,
        every_iteration_is_done_exactly_once,
        idle_members_take_slices,
        loops_may_be_posted_from_slices_and_by_any_number_of_threads,
        a_wake_for_one_makes_at_least_one_member_return,
        NULL};
    return suite_run("crew", tests, 60);
}
