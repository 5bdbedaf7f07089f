/* Load as users make it: requests that come when they come, not when the one before is
 * answered. Tells how long short requests take alone, and beside long ones.
 *   bench_http PORT MODEL [SECONDS [ROUNDS [SHORT_WORDS LONG_WORDS]]]
 * Requests come at random times (exponential gaps) over keep-alive connections to
 * 127.0.0.1, alone and mixed in turn; what counts is the time from when a request was
 * due. One in ten of the mix is long. The rate of short ones is the same alone and mixed,
 * so that the mix is the heavier load, and keeps half of the machine busy. */
#include "tests/bench/clock.h"
#include "tests/bench/load.h"

#include <math.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { CONNECTIONS = 128, MOST = 200000, WARM = 30, ROUNDS_MOST = 25 };

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* 0 to 1, never 0; the same sequence in every run (splitmix64). */
static double next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return ((double)((z ^ (z >> 31)) >> 11) + 1) / 9007199254740994.0;
}

/* ---- callers --------------------------------------------------------------------- */

struct caller {
    struct connection c;
    bool busy, is_long;
    uint64_t due_ns;
};

static bool call(struct caller *c, const struct request *r, uint64_t due_ns, bool is_long)
{
    c->busy = true;
    c->is_long = is_long;
    c->due_ns = due_ns;
    return post(&c->c, r);
}

/* As collect does. */
static int take(struct caller *c)
{
    int done = collect(&c->c);
    c->busy = done == 0;
    return done;
}

/* ---- one of them ------------------------------------------------------------------- */

static double quantile(double *values, size_t n, double q)
{
    if (n == 0)
        return NAN;
    qsort(values, n, sizeof *values, by_value);
    return values[(size_t)(q * (double)(n - 1))];
}

/* Seconds that one request takes alone, the median of a few. */
static double time_alone(struct caller *c, const struct request *r)
{
    double took[WARM];
    for (size_t i = 0; i < WARM; i++) {
        uint64_t start = now_ns();
        struct pollfd p = {.fd = c->c.fd, .events = POLLIN};
        int done = call(c, r, start, false) ? 0 : -1;
        while (done == 0 && poll(&p, 1, 10000) > 0)
            done = take(c);
        if (done <= 0)
            return NAN;
        took[i] = (double)(now_ns() - start) * 1e-9;
    }
    return quantile(took, WARM, 0.5);
}

/* ---- a run ----------------------------------------------------------------------- */

struct run {
    unsigned port;
    struct caller *c;               /* [CONNECTIONS], fd 0: not connected */
    const struct request *requests; /* [2] short, long */
    double gap_s;                   /* between requests, on average */
    double long_share;
    double seconds;
    double *took[2]; /* [MOST] seconds of the short ones, of the long ones */
    size_t n[2];
    size_t failed;
};

/* The first that waits for nothing, connected; NULL: there is none, or r->failed. */
static struct caller *free_caller(struct run *r)
{
    size_t i = 0;
    while (i < CONNECTIONS && r->c[i].busy)
        i++;
    if (i == CONNECTIONS)
        return NULL;
    if (r->c[i].c.fd || dial(&r->c[i].c, r->port))
        return &r->c[i];
    r->failed++;
    return NULL;
}

static void hang_up(struct run *r)
{
    for (size_t i = 0; i < CONNECTIONS; i++) {
        if (r->c[i].c.fd > 0)
            close(r->c[i].c.fd);
        r->c[i].busy = false;
        r->c[i].c.fd = 0;
    }
}

/* Waits for replies until then, and takes them. */
static void take_replies(struct run *r, uint64_t until_ns)
{
    struct pollfd p[CONNECTIONS];
    uint64_t now = now_ns();
    struct timespec wait = {.tv_nsec = until_ns > now ? (long)(until_ns - now) : 0};
    if (wait.tv_nsec > 100000000)
        wait.tv_nsec = 100000000;
    for (size_t i = 0; i < CONNECTIONS; i++)
        p[i] = (struct pollfd){.fd = r->c[i].busy ? r->c[i].c.fd : -1, .events = POLLIN};
    if (ppoll(p, CONNECTIONS, &wait, NULL) <= 0)
        return;
    for (size_t i = 0; i < CONNECTIONS; i++) {
        struct caller *c = &r->c[i];
        int done = p[i].revents ? take(c) : 0;
        r->failed += done < 0;
        if (done > 0 && r->n[c->is_long] < MOST)
            r->took[c->is_long][r->n[c->is_long]++] =
                (double)(now_ns() - c->due_ns) * 1e-9;
    }
}

static bool any_busy(const struct run *r)
{
    for (size_t i = 0; i < CONNECTIONS; i++)
        if (r->c[i].busy)
            return true;
    return false;
}

static void run(struct run *r)
{
    uint64_t seed = 1, start = now_ns(), due = start;
    uint64_t end = start + (uint64_t)(r->seconds * 1e9);
    r->n[0] = r->n[1] = 0;
    while (due < end && r->failed == 0) {
        due += (uint64_t)(-log(next_random(&seed)) * r->gap_s * 1e9);
        bool is_long = next_random(&seed) < r->long_share;
        struct caller *c = NULL;
        while (now_ns() < due || (!(c = free_caller(r)) && r->failed == 0))
            take_replies(r, now_ns() < due ? due : now_ns() + 1000000);
        if (c && !call(c, &r->requests[is_long], due, is_long))
            r->failed++;
    }
    while (any_busy(r) && now_ns() < end + 10000000000u)
        take_replies(r, now_ns() + 1000000);
    hang_up(r);
}

/* ---- alone and mixed in turn ----------------------------------------------------- */

struct times {
    double p50[ROUNDS_MOST], p99[ROUNDS_MOST];
};

static void note(struct times *t, size_t round, struct run *r, size_t which)
{
    t->p50[round] = quantile(r->took[which], r->n[which], 0.50) * 1e3;
    t->p99[round] = quantile(r->took[which], r->n[which], 0.99) * 1e3;
}

static void show(const char *what, struct times *t, size_t rounds)
{
    double p50 = quantile(t->p50, rounds, 0.5), p99 = quantile(t->p99, rounds, 0.5);
    printf("  %-16s %9.2f %9.2f   %.2f to %.2f\n", what, p50, p99, t->p99[0],
           t->p99[rounds - 1]);
}

static bool measure(struct run *r, size_t rounds)
{
    static struct times alone, mixed, longer;
    double ratio[ROUNDS_MOST], gap_s = r->gap_s;
    for (size_t i = 0; i < rounds && r->failed == 0; i++) {
        r->long_share = 0;
        r->gap_s = gap_s;
        run(r);
        note(&alone, i, r, 0);
        r->long_share = 0.1;
        r->gap_s = gap_s * 0.9; /* the long ones come on top */
        run(r);
        note(&mixed, i, r, 0);
        note(&longer, i, r, 1);
        ratio[i] = mixed.p99[i] / alone.p99[i];
    }
    if (r->failed)
        return false;
    printf("  %-16s %9s %9s   %s\n", "ms", "p50", "p99", "p99 of the rounds");
    show("short, alone", &alone, rounds);
    show("short, mixed", &mixed, rounds);
    show("long, mixed", &longer, rounds);
    printf("  p99 of short ones, mixed / alone: %.2f (median of %zu rounds)\n",
           quantile(ratio, rounds, 0.5), rounds);
    return true;
}

static size_t number(char **argv, int argc, int i, size_t fallback)
{
    return argc > i ? strtoul(argv[i], NULL, 10) : fallback;
}

int main(int argc, char **argv)
{
    static struct caller c[CONNECTIONS];
    static double took[2][MOST];
    if (argc < 3) {
        fprintf(stderr, "bench_http PORT MODEL [SECONDS [ROUNDS [SHORT LONG]]]\n");
        return 2;
    }
    size_t rounds = number(argv, argc, 4, 5);
    char model[300];
    snprintf(model, sizeof model, ",\"model\":\"%s\"", argv[2]);
    struct request requests[2] = {
        request_new("/v1/sentiment", model, number(argv, argc, 5, 12)),
        request_new("/v1/sentiment", model, number(argv, argc, 6, 510))};
    struct run r = {.port = (unsigned)number(argv, argc, 1, 0),
                    .c = c,
                    .requests = requests,
                    .seconds = (double)number(argv, argc, 3, 4)};
    r.took[0] = took[0];
    r.took[1] = took[1];
    if (!free_caller(&r))
        return 1;
    double one = time_alone(&c[0], &requests[0]), other = time_alone(&c[0], &requests[1]);
    /* A lone request may have all cores, so this is the time of the whole machine. */
    r.gap_s = 2 * (one + other / 9);
    printf("%s: one request alone: %.2f ms short, %.2f ms long; %.0f short ones/s\n",
           argv[2], one * 1e3, other * 1e3, 1 / r.gap_s);
    bool good = r.gap_s > 0 && measure(&r, rounds < ROUNDS_MOST ? rounds : ROUNDS_MOST);
    if (!good)
        fprintf(stderr, "bench_http: a request failed\n");
    return good ? 0 : 1;
}
