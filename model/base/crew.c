#include "model/base/crew.h"

#include "model/base/mem.h"

#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

/* Loops that are posted at the same time; one more is done by its caller alone. */
enum { SLOTS = 32 };

/* A slice takes about this long or more; loops shorter than two are not shared. Handing
 * one over takes some 0.2 us, but what another core has written has to come from there:
 * rows of 70 KB take 9 us more. */
enum { SLICE_NS = 6000 };

/* Waking a member costs the caller some 15 us. It is worth it once loops that it could
 * have shared took this long together. */
enum { ROUSE_NS = 40000 };

/* How long an idle member looks for work before it sleeps: waking it takes some 50 us.
 * One that has just helped is needed again soon, since a forward pass is many loops with
 * little in between. */
enum { SPIN_NS = 20000, HELPED_SPIN_NS = 150000 };

/* How long a caller looks whether its helpers have left. */
enum { LEAVE_SPIN_NS = 50000 };

/* Looks between two readings of the clock, and between two offers of the core to other
 * threads: a member that only spun would use up its share of the core's time, and be away
 * when it is needed. */
enum { LOOKS = 16, OFFER = 256 };

/* States of a slot: one of these, + SLEEPS, + how many helpers are inside. */
enum {
    HELPER = 1,
    HELPERS = (1 << 16) - 1,
    CLAIMED = 1 << 16, /* it has a caller */
    OPEN = 1 << 17,    /* helpers may enter */
    SLEEPS = 1 << 18   /* the caller waits under the lock for the last helper */
};

/* A posted loop. Slots are never freed while the crew lives, so a member may look at any
 * of them at any time. What is in one is fixed between OPEN and the leave of its last
 * helper: a helper comes in by one compare and swap on `state`, which fails once OPEN is
 * gone, and the caller, who takes OPEN away, waits until all have left before it gives
 * the slot back. The same atomic orders everything: what the caller wrote before OPEN is
 * seen by who comes in, what helpers wrote is seen by who finds that they have left. */
struct slot {
    atomic_uint state;
    crew_fn fn;
    void *arg;
    size_t grain, share; /* a slice is one share-th of what is left, or a grain */
    /* Iterations that nobody has taken: from here, in the lower half, to there. The
     * caller takes at the front and helpers at the back, so that each mostly finds its
     * part of weights and rows in its own caches, loop for loop. */
    atomic_ullong left;
    char gap[72]; /* no two slots share a cache line */
};

struct crew {
    struct slot slots[SLOTS];

    /* A bit for each slot that is open. A hint, as all counters below are: who acts on an
     * old one loses time only. But for sleeping: a member counts itself in n_asleep first
     * and then looks at `open` and `wakes` for the last time; posters and wakers write
     * these first and then look at n_asleep. So one of the two sees the other. */
    atomic_uint open;
    atomic_uint wakes;               /* counts crew_wake and crew_wake_one */
    atomic_uint n_looking, n_asleep; /* members with nothing to do */
    /* What callers did alone since a member was woken or went to work, in ns. */
    atomic_ullong missed_ns;

    pthread_mutex_t lock;
    pthread_cond_t posted; /* a loop was posted, or `wakes` has changed */
    pthread_cond_t left;   /* the last helper left a slot whose caller sleeps */
};

enum err_code crew_new(struct crew **out, struct err *err)
{
    struct crew *c = mem_aligned(1, sizeof *c);
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

/* ---- waiting loops --------------------------------------------------------------- */

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

struct spin {
    uint64_t end_ns;
    unsigned looks;
};

/* One more look may follow. */
static bool spin_more(struct spin *s)
{
#if defined(__x86_64__)
    __builtin_ia32_pause(); /* tells the core that this is a waiting loop */
#endif
    return ++s->looks % LOOKS || now_ns() < s->end_ns;
}

/* ---- slices ---------------------------------------------------------------------- */

static bool is_exhausted(const struct slot *s)
{
    unsigned long long left = atomic_load(&s->left);
    return (uint32_t)left >= left >> 32;
}

/* Takes iterations at one end; false: none is left. */
static bool take(struct slot *s, bool front, size_t *first, size_t *last)
{
    unsigned long long left = atomic_load(&s->left), rest;
    do {
        size_t from = (uint32_t)left, to = (size_t)(left >> 32);
        if (from >= to)
            return false;
        size_t n = (to - from) / s->share;
        n = n > s->grain ? n : s->grain;
        n = n < to - from ? n : to - from;
        *first = front ? from : to - n;
        *last = *first + n;
        from += front ? n : 0;
        to -= front ? 0 : n;
        rest = (unsigned long long)to << 32 | from;
    } while (!atomic_compare_exchange_weak(&s->left, &left, rest));
    return true;
}

/* ---- the caller ------------------------------------------------------------------ */

static void rouse_one(struct crew *c)
{
    if (atomic_load(&c->n_asleep) == 0)
        return;
    pthread_mutex_lock(&c->lock);
    pthread_cond_signal(&c->posted);
    pthread_mutex_unlock(&c->lock);
}

static struct slot *claim(struct crew *c)
{
    for (size_t i = 0; i < SLOTS; i++) {
        unsigned none = 0;
        if (atomic_load(&c->slots[i].state) == 0 &&
            atomic_compare_exchange_strong(&c->slots[i].state, &none, CLAIMED))
            return &c->slots[i];
    }
    return NULL;
}

static void wait_for_helpers(struct crew *c, struct slot *s)
{
    struct spin spin = {.end_ns = now_ns() + LEAVE_SPIN_NS};
    while (atomic_load(&s->state) & HELPERS) {
        if (spin_more(&spin))
            continue;
        pthread_mutex_lock(&c->lock);
        while (atomic_fetch_or(&s->state, SLEEPS) & HELPERS)
            pthread_cond_wait(&c->left, &c->lock);
        pthread_mutex_unlock(&c->lock);
    }
}

/* After this no member can enter the loop, and all that were inside have left. */
static void withdraw(struct crew *c, struct slot *s)
{
    atomic_fetch_and(&c->open, ~(1u << (s - c->slots)));
    if (atomic_fetch_and(&s->state, ~(unsigned)OPEN) & HELPERS)
        wait_for_helpers(c, s);
    atomic_store(&s->state, 0);
}

bool crew_idle(const struct crew *c)
{
    return c && (atomic_load(&c->n_looking) || atomic_load(&c->n_asleep));
}

/* How many members may be expected to help with a loop; may wake one. */
static size_t expect_helpers(struct crew *c, size_t n_slices, uint64_t ns)
{
    size_t n_looking = atomic_load(&c->n_looking), n_asleep = atomic_load(&c->n_asleep);
    if (n_asleep == 0 || 1 + n_looking >= n_slices)
        return n_looking;
    if (atomic_fetch_add(&c->missed_ns, ns) + ns < ROUSE_NS)
        return n_looking;
    atomic_store(&c->missed_ns, 0);
    rouse_one(c);
    return n_looking + 1;
}

static void share(struct crew *c, struct slot *s)
{
    size_t first, last;
    atomic_fetch_or(&s->state, OPEN);
    atomic_fetch_or(&c->open, 1u << (s - c->slots));
    while (take(s, true, &first, &last))
        s->fn(s->arg, first, last);
    withdraw(c, s);
}

void crew_for(struct crew *c, size_t n, size_t ns, crew_fn fn, void *arg)
{
    size_t grain = SLICE_NS / (ns ? ns : 1) + 1;
    size_t n_helpers = c && n / 2 >= grain && n <= UINT32_MAX
                           ? expect_helpers(c, n / grain, (uint64_t)n * ns)
                           : 0;
    struct slot *s = n_helpers ? claim(c) : NULL;
    if (!s) {
        if (n)
            fn(arg, 0, n);
        return;
    }
    s->fn = fn;
    s->arg = arg;
    s->grain = grain;
    s->share = 2 * (1 + n_helpers);
    atomic_store(&s->left, (unsigned long long)n << 32);
    share(c, s);
}

/* ---- members --------------------------------------------------------------------- */

/* A loop that has iterations left; helping is worth a try. */
static struct slot *open_slot(struct crew *c)
{
    for (unsigned open = atomic_load(&c->open); open; open &= open - 1) {
        struct slot *s = &c->slots[__builtin_ctz(open)];
        if (!is_exhausted(s))
            return s;
    }
    return NULL;
}

static bool enter(struct slot *s)
{
    unsigned state = atomic_load(&s->state);
    while (state & OPEN)
        if (atomic_compare_exchange_weak(&s->state, &state, state + HELPER))
            return true;
    return false;
}

static void leave(struct crew *c, struct slot *s)
{
    unsigned before = atomic_fetch_sub(&s->state, HELPER);
    if ((before & HELPERS) != HELPER || !(before & SLEEPS))
        return;
    pthread_mutex_lock(&c->lock);
    pthread_cond_broadcast(&c->left);
    pthread_mutex_unlock(&c->lock);
}

/* A helper's share: until there is no slice left, or something better to do. */
static void help(struct crew *c, struct slot *s, unsigned wakes)
{
    size_t first, last;
    while (atomic_load(&c->wakes) == wakes && take(s, false, &first, &last))
        s->fn(s->arg, first, last);
}

static void sleep_until_event(struct crew *c, unsigned wakes)
{
    pthread_mutex_lock(&c->lock);
    atomic_fetch_add(&c->n_asleep, 1);
    atomic_fetch_sub(&c->n_looking, 1);
    while (atomic_load(&c->wakes) == wakes && !open_slot(c))
        pthread_cond_wait(&c->posted, &c->lock);
    atomic_fetch_add(&c->n_looking, 1);
    atomic_fetch_sub(&c->n_asleep, 1);
    pthread_mutex_unlock(&c->lock);
}

void crew_assist(struct crew *c, bool (*still_idle)(void *arg), void *arg)
{
    assert(c);
    unsigned wakes = atomic_load(&c->wakes);
    /* A job that arrives after this question changes `wakes`. */
    if (!still_idle(arg))
        return;
    atomic_fetch_add(&c->n_looking, 1);
    struct spin spin = {.end_ns = now_ns() + SPIN_NS};
    while (atomic_load(&c->wakes) == wakes) {
        struct slot *s = open_slot(c);
        if (s && enter(s)) {
            atomic_fetch_sub(&c->n_looking, 1);
            help(c, s, wakes);
            leave(c, s);
            atomic_fetch_add(&c->n_looking, 1);
            spin = (struct spin){.end_ns = now_ns() + HELPED_SPIN_NS};
        } else if (!spin_more(&spin)) {
            sleep_until_event(c, wakes);
            spin = (struct spin){.end_ns = now_ns() + SPIN_NS};
        } else if (spin.looks % OFFER == 0) {
            sched_yield();
        }
    }
    atomic_fetch_sub(&c->n_looking, 1);
    atomic_store(&c->missed_ns, 0);
}

void crew_wake(struct crew *c)
{
    atomic_fetch_add(&c->wakes, 1);
    pthread_mutex_lock(&c->lock);
    pthread_cond_broadcast(&c->posted);
    pthread_mutex_unlock(&c->lock);
}

void crew_wake_one(struct crew *c)
{
    atomic_fetch_add(&c->wakes, 1);
    if (atomic_load(&c->n_looking) == 0)
        rouse_one(c);
}
