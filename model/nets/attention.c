#include "model/nets/attention.h"

#include "model/nets/cache.h"

#include <string.h>

/* Work is dealt out as (sequence, head) pairs over this many lanes, each with a score row
 * of its own, so that scratch doesn't grow with the batch. */
enum { LANES = 16 };

/* Less than this many multiply-adds (some 100 us) stay on one thread. */
enum { SPLIT_FMAS = 2000000 };

struct lanes {
    const struct attention *a;
    const struct exec *x;
    size_t n;       /* lanes */
    size_t n_keys;  /* room in a score row */
    float *scratch; /* [n,n_keys] */
};

static size_t lane_count(size_t B, size_t N)
{
    return B * N < LANES ? B * N : LANES;
}

size_t attention_floats(size_t B, size_t N, size_t n_keys)
{
    return lane_count(B, N) * n_keys;
}

/* Where the keys and values of one head of one sequence are: a run of rows, or a cache.
 */
struct source {
    const struct cache *cache;
    const float *k, *v; /* [n_keys,ld], unless cached */
    size_t ld;
};

static void score_row(const struct lanes *l, const struct source *src, size_t head,
                      size_t n_keys, const float *q, float *s)
{
    const struct attention *a = l->a;
    if (!src->cache) {
        l->x->k->scores(n_keys, a->E, a->scale, q, src->k, src->ld, s);
        return;
    }
    for (size_t j = 0; j < n_keys; j += CACHE_BLOCK) {
        size_t n = n_keys - j < CACHE_BLOCK ? n_keys - j : CACHE_BLOCK;
        const float *k = cache_keys(src->cache, a->layer, head, j / CACHE_BLOCK);
        l->x->k->scores(n, a->E, a->scale, q, k, a->E, s + j);
    }
}

static void weigh_row(const struct lanes *l, const struct source *src, size_t head,
                      size_t n_keys, const float *p, float *out)
{
    const struct attention *a = l->a;
    memset(out, 0, a->E * sizeof *out);
    if (!src->cache) {
        l->x->k->weigh(n_keys, a->E, p, src->v, src->ld, out);
        return;
    }
    for (size_t j = 0; j < n_keys; j += CACHE_BLOCK) {
        size_t n = n_keys - j < CACHE_BLOCK ? n_keys - j : CACHE_BLOCK;
        const float *v = cache_values(src->cache, a->layer, head, j / CACHE_BLOCK);
        l->x->k->weigh(n, a->E, p + j, v, a->E, out);
    }
}

/* All queries of one head of one sequence; s [n_keys] is this lane's score row. */
static void head_rows(const struct lanes *l, size_t b, size_t head, float *s)
{
    const struct attention *a = l->a;
    size_t D = a->N * a->E, ld = 3 * D, start = a->batch->starts[b];
    size_t len = a->batch->starts[b + 1] - start;
    const float *qkv = a->qkv + start * ld + head * a->E;
    struct source src = {.k = qkv + D, .v = qkv + 2 * D, .ld = ld};
    size_t past = 0, first = a->queries == ATTENTION_LAST ? len - 1 : 0;
    size_t end = a->queries == ATTENTION_FIRST ? 1 : len;
    src.cache = cache_of(a->batch, b);
    if (src.cache)
        past = cache_length(src.cache);
    float *out = a->out + (a->queries == ATTENTION_ALL ? start : b) * D + head * a->E;
    for (size_t i = first; i < end; i++, out += D) {
        size_t n_keys = past + (a->causal ? i + 1 : len);
        score_row(l, &src, head, n_keys, qkv + i * ld, s);
        l->x->k->softmax(n_keys, s);
        if (l->x->trace && l->x->trace->attention)
            l->x->trace->attention(l->x->trace->arg, b, a->layer, head, past + i, n_keys,
                                   s);
        weigh_row(l, &src, head, n_keys, s, out);
    }
}

static void run_lanes(void *arg, size_t first, size_t last)
{
    const struct lanes *l = arg;
    size_t N = l->a->N, pairs = l->a->batch->B * N;
    for (size_t lane = first; lane < last; lane++)
        for (size_t p = lane; p < pairs; p += l->n)
            head_rows(l, p / N, p % N, l->scratch + lane * l->n_keys);
}

/* Multiply-adds, about. */
static size_t work(const struct attention *a)
{
    size_t sum = 0;
    for (size_t b = 0; b < a->batch->B; b++) {
        size_t len = a->batch->starts[b + 1] - a->batch->starts[b];
        size_t past = a->batch->states ? cache_length(cache_of(a->batch, b)) : 0;
        size_t rows = a->queries == ATTENTION_ALL ? len : 1;
        sum += rows * (past + (a->causal && rows > 1 ? len / 2 : len));
    }
    return 2 * sum * a->N * a->E;
}

void attention_run(const struct attention *a, size_t n_keys, float *scratch,
                   struct exec *x)
{
    struct lanes l = {.a = a, .x = x, .n_keys = n_keys, .scratch = scratch};
    l.n = lane_count(a->batch->B, a->N);
    /* Hooks run on the caller's thread, in order. */
    bool traced = x->trace && x->trace->attention;
    if (x->crew && !traced && work(a) >= SPLIT_FMAS)
        crew_for(x->crew, l.n, 1, run_lanes, &l);
    else
        run_lanes(&l, 0, l.n);
}
