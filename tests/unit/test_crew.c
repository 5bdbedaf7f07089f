/* Loops split over members; run under ThreadSanitizer too. */
#include "model/base/crew.h"
#include "tests/suite.h"

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

struct member {
    struct crew *crew;
    atomic_bool *stop;
};

static bool idle(void *arg)
{
    const struct member *m = arg;
    return !atomic_load(m->stop);
}

static void *member_main(void *arg)
{
    struct member *m = arg;
    while (!atomic_load(m->stop))
        crew_assist(m->crew, idle, m);
    return NULL;
}

static void check_all_once(struct work *w)
{
    for (size_t i = 0; i < N; i++)
        ck_assert_int_eq(atomic_load(&w->done[i]), 1);
}

START_TEST(nobody_helps_a_lone_caller)
{
    static struct work w;
    crew_for(NULL, N, 7, mark, &w);
    check_all_once(&w);
    ck_assert_uint_eq(atomic_load(&w.slices), 1);
    crew_for(NULL, 0, 7, mark, &w);
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
        crew_for(c->crew, N, 64, mark, w);
        for (size_t i = 0; i < N; i++)
            c->good &= atomic_load(&w->done[i]) == 1;
    }
    free(w);
    return NULL;
}

START_TEST(every_iteration_is_done_exactly_once)
{
    struct err err = {0};
    struct crew *crew;
    ck_assert_int_eq(crew_new(&crew, &err), ERR_OK);
    atomic_bool stop = false;
    struct member member = {.crew = crew, .stop = &stop};
    pthread_t members[MEMBERS], callers[2];
    for (int i = 0; i < MEMBERS; i++)
        pthread_create(&members[i], NULL, member_main, &member);
    struct caller call[2] = {{crew, 200, false}, {crew, 200, false}};
    for (int i = 0; i < 2; i++)
        pthread_create(&callers[i], NULL, caller_main, &call[i]);
    for (int i = 0; i < 100; i++)
        crew_wake(crew);
    for (int i = 0; i < 2; i++)
        pthread_join(callers[i], NULL);
    atomic_store(&stop, true);
    crew_wake(crew);
    for (int i = 0; i < MEMBERS; i++)
        pthread_join(members[i], NULL);
    crew_free(crew);
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
    struct err err = {0};
    struct crew *crew;
    ck_assert_int_eq(crew_new(&crew, &err), ERR_OK);
    atomic_bool stop = false;
    struct member member = {.crew = crew, .stop = &stop};
    struct shared_work w = {.caller = pthread_self()};
    pthread_t thread;
    pthread_create(&thread, NULL, member_main, &member);
    for (int half = 0; half < 2; half++) {
        int before = atomic_load(&w.by_others);
        usleep(half * 100000);
        for (int i = 0; i < 1000 && atomic_load(&w.by_others) == before; i++)
            crew_for(crew, 16, 1, note_thread, &w);
        ck_assert_int_gt(atomic_load(&w.by_others), before);
    }
    ck_assert_int_gt(atomic_load(&w.by_caller), 0);
    atomic_store(&stop, true);
    crew_wake(crew);
    pthread_join(thread, NULL);
    crew_free(crew);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {nobody_helps_a_lone_caller,
                                  every_iteration_is_done_exactly_once,
                                  idle_members_take_slices, NULL};
    return suite_run("crew", tests, 60);
}
