#include "model/base/crew.h"

#include "model/base/mem.h"

#include <pthread.h>
#include <stdatomic.h>

/* How often a thread looks again before it sleeps; some 20 microseconds. Between the
 * loops of one forward pass a member is needed again within that time. */
enum { SPINS = 400 };

/* Tells the core that this is a waiting loop. */
static inline void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

/* A posted loop lives on the stack of the caller of crew_for. */
struct loop {
    crew_fn fn;
    void *arg;
    size_t n, grain;
    atomic_size_t next; /* first iteration nobody has taken */
    atomic_size_t
        helpers;        /* members inside; changed under the crew's lock, read freely */
    struct loop *below; /* under lock */
};

struct crew {
    pthread_mutex_t lock;
    pthread_cond_t posted; /* a loop was posted, or crew_wake was called */
    pthread_cond_t left;   /* a member left a loop */

    struct loop *loops; /* under lock from here on; writes also bump `events` */
    atomic_uint wakes;  /* written under lock, read freely by who is in a loop */

    /* Members inside crew_assist with nothing to do: crew_for reads it to decide whether
     * posting pays. A stale value only costs time. */
    atomic_size_t n_idle;
    /* Counts posts and wakes, so that spinning members need not take the lock. */
    atomic_uint events;
};

enum err_code crew_new(struct crew **out, struct err *err)
{
    struct crew *c = mem_zero(1, sizeof *c);
    if (!c)
        return err_set(err, ERR_NOMEM, "out of memory: crew");
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->posted, NULL);
    pthread_cond_init(&c->left, NULL);
    *out = c;
    return ERR_OK;
}

void crew_free(struct crew *c)
{
    if (!c)
        return;
    pthread_cond_destroy(&c->left);
    pthread_cond_destroy(&c->posted);
    pthread_mutex_destroy(&c->lock);
    mem_free(c);
}

static void take_slice(struct loop *l, size_t first)
{
    size_t last = l->n - first > l->grain ? first + l->grain : l->n;
    l->fn(l->arg, first, last);
}

static void take_slices(struct loop *l)
{
    size_t first;
    while ((first = atomic_fetch_add(&l->next, l->grain)) < l->n)
        take_slice(l, first);
}
static void post(struct crew *c, struct loop *l)
{
    pthread_mutex_lock(&c->lock);
    l->below = c->loops;
    c->loops = l;
    atomic_fetch_add(&c->events, 1);
    pthread_cond_broadcast(&c->posted);
    pthread_mutex_unlock(&c->lock);
}

/* After this no member can enter the loop, and all that were inside have left. */
static void withdraw(struct crew *c, struct loop *l)
{
    pthread_mutex_lock(&c->lock);
    for (struct loop **p = &c->loops; *p; p = &(*p)->below)
        if (*p == l) {
            *p = l->below;
            break;
        }
    pthread_mutex_unlock(&c->lock);
    for (int i = 0; i < SPINS && atomic_load(&l->helpers); i++)
        relax();
    pthread_mutex_lock(&c->lock);
    while (atomic_load(&l->helpers))
        pthread_cond_wait(&c->left, &c->lock);
    pthread_mutex_unlock(&c->lock);
}

bool crew_idle(const struct crew *c)
{
    return c && atomic_load(&c->n_idle) > 0;
}

void crew_for(struct crew *c, size_t n, size_t grain, crew_fn fn, void *arg)
{
    if (n <= grain || !crew_idle(c)) {
        if (n)
            fn(arg, 0, n);
        return;
    }
    struct loop l = {.fn = fn, .arg = arg, .n = n, .grain = grain ? grain : 1};
    post(c, &l);
    take_slices(&l);
    withdraw(c, &l);
}

/* The first loop that still has iterations to take; under lock. */
static struct loop *open_loop(struct crew *c)
{
    struct loop *l = c->loops;
    while (l && atomic_load(&l->next) >= l->n)
        l = l->below;
    return l;
}

/* Looks for an event without sleeping. */
static bool spin(struct crew *c, unsigned seen)
{
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load(&c->events) != seen)
            return true;
        relax();
    }
    return false;
}

/* A helper's share: until there is no slice left, or something better to do. */
static void help(struct crew *c, struct loop *l, unsigned wakes)
{
    size_t first;
    while (atomic_load(&c->wakes) == wakes &&
           (first = atomic_fetch_add(&l->next, l->grain)) < l->n)
        take_slice(l, first);
}

void crew_assist(struct crew *c, bool (*still_idle)(void *arg), void *arg)
{
    unsigned seen = atomic_load(&c->events), wakes = atomic_load(&c->wakes);
    /* A job that arrives after this question calls crew_wake, which changes `wakes`. */
    if (!still_idle(arg))
        return;
    atomic_fetch_add(&c->n_idle, 1);
    spin(c, seen);
    pthread_mutex_lock(&c->lock);
    struct loop *l;
    while (!(l = open_loop(c)) && atomic_load(&c->wakes) == wakes)
        pthread_cond_wait(&c->posted, &c->lock);
    if (l)
        atomic_fetch_add(&l->helpers, 1);
    pthread_mutex_unlock(&c->lock);
    atomic_fetch_sub(&c->n_idle, 1);
    if (!l)
        return;
    help(c, l, wakes);
    pthread_mutex_lock(&c->lock);
    atomic_fetch_sub(&l->helpers, 1);
    pthread_cond_broadcast(&c->left);
    pthread_mutex_unlock(&c->lock);
}

void crew_wake(struct crew *c)
{
    pthread_mutex_lock(&c->lock);
    atomic_fetch_add(&c->wakes, 1);
    atomic_fetch_add(&c->events, 1);
    pthread_cond_broadcast(&c->posted);
    pthread_mutex_unlock(&c->lock);
}
