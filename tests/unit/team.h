/* A crew with members that assist until the end. Test programs only. */
#ifndef TESTS_UNIT_TEAM_H
#define TESTS_UNIT_TEAM_H

#include "model/base/crew.h"

#include <check.h>
#include <pthread.h>
#include <stdatomic.h>

enum { TEAM_MOST = 8 };

struct team {
    struct crew *crew;
    atomic_bool stop;
    atomic_int returns; /* from crew_assist */
    pthread_t members[TEAM_MOST];
    int n;
};

static inline bool team_idle(void *arg)
{
    return !atomic_load(&((struct team *)arg)->stop);
}

static inline void *team_member(void *arg)
{
    struct team *t = arg;
    while (team_idle(t)) {
        crew_assist(t->crew, team_idle, t);
        atomic_fetch_add(&t->returns, 1);
    }
    return NULL;
}

static inline void team_start(struct team *t, int n)
{
    struct err err = {0};
    *t = (struct team){.n = n};
    ck_assert_int_le(n, TEAM_MOST);
    ck_assert_int_eq(crew_new(&t->crew, &err), ERR_OK);
    for (int i = 0; i < n; i++)
        ck_assert_int_eq(pthread_create(&t->members[i], NULL, team_member, t), 0);
}

static inline void team_stop(struct team *t)
{
    atomic_store(&t->stop, true);
    crew_wake(t->crew);
    for (int i = 0; i < t->n; i++)
        pthread_join(t->members[i], NULL);
    crew_free(t->crew);
}

#endif
