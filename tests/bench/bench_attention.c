/* Attention of one layer, on one thread: a text at once, with all keys or those behind
 * it, and one token after what a cache holds, which "grouped" shares between GROUP query
 * heads each. Prints a table and keeps nothing.
 *
 *   bench_attention [VARIANT...]      default: the best variant this CPU runs
 *
 * GFLOP/s count the products of the keys that are seen, softmax is in the time. A cache
 * has LAYERS layers that are read in turn, as a decoder does it, so that keys and values
 * of the longer ones come from memory; GB/s count them once, and `bench_ceiling` tells
 * what reading alone reaches. Times are the thread's own, medians of REPEATS. */
#include "model/base/mem.h"
#include "model/nets/attention.h"
#include "model/nets/cache.h"
#include "tests/bench/clock.h"
#include "tests/bench/peak.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { REPEATS = 15, HEADS = 12, GROUP = 4, LAYERS = 16 };

static const double run_s = 0.004; /* aimed length of one timed run */

static double now(void)
{
    return seconds_of(CLOCK_THREAD_CPUTIME_ID);
}

/* Median seconds of one call. */
static double time_of(void (*run)(void *arg), void *arg)
{
    double runs[REPEATS], start = now();
    run(arg);
    size_t times = (size_t)(run_s / (now() - start + 1e-9)) + 1;
    for (size_t r = 0; r < REPEATS; r++) {
        start = now();
        for (size_t i = 0; i < times; i++)
            run(arg);
        runs[r] = (now() - start) / (double)times;
    }
    qsort(runs, REPEATS, sizeof runs[0], by_value);
    return runs[REPEATS / 2];
}

/* ---- the ceiling ----------------------------------------------------------------- */

enum { PEAK_STEPS = 100000 };

struct peak {
    size_t lanes;
    float sink[PEAK_LANES];
};

static void run_peak(void *arg)
{
    struct peak *p = arg;
    peak_run(p->lanes, PEAK_STEPS, p->sink);
}

/* GFLOP/s of FMAs on registers alone; 0 where it can't be measured. */
static double peak(const struct kernels *k)
{
    struct peak fma = {.lanes = peak_lanes(k->name)};
    if (!fma.lanes)
        return 0;
    double gflops = 1e-9 * peak_flops(fma.lanes, PEAK_STEPS) / time_of(run_peak, &fma);
    printf("FMA peak of one core: %.0f GFLOP/s (%zu bits wide)\n", gflops,
           32 * fma.lanes);
    return gflops;
}

/* ---- cases ----------------------------------------------------------------------- */

struct work {
    struct attention a;
    struct exec x;
    float *scratch;
    size_t n_keys;
};

static void run_layer(void *arg)
{
    struct work *w = arg;
    attention_run(&w->a, w->n_keys, w->scratch, &w->x);
    if (w->a.batch->states)
        w->a.layer = (w->a.layer + 1) % LAYERS;
}

static float *random_floats(size_t n)
{
    static uint32_t state = 1;
    float *x = mem_aligned(n, sizeof *x);
    for (size_t i = 0; x && i < n; i++) {
        state = state * 1664525 + 1013904223;
        x[i] = (float)(state >> 8) * 0x1p-23f - 1;
    }
    return x;
}

/* A cache of K heads and `past` positions, and room for one more, which is put. */
static enum err_code fill_cache(const struct kernels *k, size_t K, size_t E, size_t past,
                                const float *qkv, struct cache **out, struct err *err)
{
    const size_t queries = (size_t)HEADS * E, ld = queries + 2 * K * E;
    struct cache_rows rows = {past + 1, qkv + queries, qkv + queries + K * E, ld};
    struct cache_shape shape = {LAYERS, K, E, past + 1};
    enum err_code code = cache_new(&shape, out, err);
    if (code == ERR_OK)
        code = cache_reserve(*out, past + 1, err);
    for (size_t i = 0; code == ERR_OK && i < LAYERS; i++)
        cache_put(*out, k, i, &rows);
    if (code == ERR_OK)
        cache_advance(*out, past);
    return code;
}

struct row {
    const char *name;
    size_t tokens, past;
    bool causal;
    size_t K; /* key heads; 0: as many as query heads */
};

static void print(const struct row *row, size_t K, size_t E, double seconds,
                  double ceiling)
{
    double T = (double)row->tokens, keys = (double)(row->past + row->tokens);
    double seen = row->causal && row->past == 0 ? T * (T + 1) / 2 : T * keys;
    double gflops = 4e-9 * seen * (double)(HEADS * E) / seconds;
    printf("%-8s %6zu %6zu %4zu %10.1f %9.1f", row->name, row->tokens, row->past, E,
           seconds * 1e6, gflops);
    printf(ceiling > 0 ? " %6.0f%%" : "", 100 * gflops / ceiling);
    printf(row->past ? " %7.1f\n" : "\n", 8e-9 * keys * (double)(K * E) / seconds);
}

static enum err_code bench(const struct kernels *k, const struct row *row, size_t E,
                           double ceiling, struct err *err)
{
    const size_t K = row->K ? row->K : HEADS, n_keys = row->past + row->tokens;
    struct attention_size size = {HEADS, K, E, 1, row->tokens, n_keys};
    size_t starts[2] = {0, row->tokens};
    float *qkv = random_floats(n_keys * (HEADS + 2 * K) * E),
          *out = random_floats(row->tokens * HEADS * E),
          *scratch = random_floats(attention_floats(&size));
    struct cache *cache = NULL;
    enum err_code code = qkv && out && scratch
                             ? ERR_OK
                             : err_set(err, ERR_NOMEM, "out of memory: a bench row");
    if (code == ERR_OK && row->past)
        code = fill_cache(k, K, E, row->past, qkv, &cache, err);
    if (code == ERR_OK) {
        struct net_state *state = (struct net_state *)cache;
        struct net_batch batch = {
            .B = 1, .starts = starts, .states = cache ? &state : NULL};
        struct work w = {.x = {.k = k}, .scratch = scratch, .n_keys = n_keys};
        w.a = (struct attention){.N = HEADS,
                                 .K = K,
                                 .E = E,
                                 .scale = (float)(1 / sqrt((double)E)),
                                 .causal = row->causal,
                                 .batch = &batch,
                                 .qkv = qkv,
                                 .out = out};
        print(row, K, E, time_of(run_layer, &w), ceiling);
    }
    cache_free(cache);
    mem_free(qkv);
    mem_free(out);
    mem_free(scratch);
    return code;
}

static enum err_code bench_all(const struct kernels *k, double ceiling, struct err *err)
{
    static const struct row rows[] = {
        {"all", 16, 0, false, 0},
        {"all", 64, 0, false, 0},
        {"all", 128, 0, false, 0},
        {"all", 512, 0, false, 0},
        {"all", 1024, 0, false, 0},
        {"causal", 16, 0, true, 0},
        {"causal", 64, 0, true, 0},
        {"causal", 128, 0, true, 0},
        {"causal", 512, 0, true, 0},
        {"causal", 1024, 0, true, 0},
        {"decode", 1, 64, true, 0},
        {"decode", 1, 128, true, 0},
        {"decode", 1, 512, true, 0},
        {"decode", 1, 1024, true, 0},
        {"decode", 1, 2048, true, 0},
        {"decode", 1, 8192, true, 0},
        {"grouped", 512, 0, true, HEADS / GROUP},
        {"grouped", 1, 2048, true, HEADS / GROUP},
        {"grouped", 1, 8192, true, HEADS / GROUP},
    };
    static const size_t widths[] = {32, 64};
    enum err_code code = ERR_OK;
    printf("\n%s: attention of one layer, %d heads, one thread\n", k->name, HEADS);
    printf("keys     tokens cached    E         us   GFLOP/s of peak    GB/s\n");
    for (size_t e = 0; e < 2; e++)
        for (size_t i = 0; code == ERR_OK && i < sizeof rows / sizeof rows[0]; i++)
            code = bench(k, &rows[i], widths[e], ceiling, err);
    return code;
}

int main(int argc, char **argv)
{
    struct err err = {0};
    for (int i = 1; i < argc || i == 1; i++) {
        const struct kernels *k = kernels_get(i < argc ? argv[i] : NULL);
        if (!k) {
            fprintf(stderr, "no kernels named %s on this machine\n", argv[i]);
            return EXIT_FAILURE;
        }
        if (bench_all(k, peak(k), &err) != ERR_OK) {
            fprintf(stderr, "%s\n", err.msg);
            return EXIT_FAILURE;
        }
    }
    return EXIT_SUCCESS;
}
