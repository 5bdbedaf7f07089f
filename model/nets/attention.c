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

/* Where the keys and values of one key head of one sequence are: rows, or a cache. */
struct source {
    const struct cache *cache;
    size_t head;        /* of the cache */
    const float *k, *v; /* [n_keys,ld], unless cached */
    size_t ld;
};

/* The keys that a query sees: first..end-1, so that s[first..end) is filled. */
struct sight {
    size_t first, end;
};

/* The end of the cache block that position j lies in, or of the sight. */
static size_t block_end(size_t j, const struct sight *see)
{
    size_t end = (j / CACHE_BLOCK + 1) * CACHE_BLOCK;
    return end < see->end ? end : see->end;
}

static void score_row(const struct lanes *l, const struct source *src,
                      const struct sight *see, const float *q, float *s)
{
    const struct attention *a = l->a;
    if (!src->cache) {
        l->x->k->scores(see->end - see->first, a->E, a->scale, q,
                        src->k + see->first * src->ld, src->ld, s + see->first);
        return;
    }
    for (size_t j = see->first, end; j < see->end; j = end) {
        end = block_end(j, see);
        const float *k = cache_keys(src->cache, a->layer, src->head, j / CACHE_BLOCK);
        l->x->k->scores(end - j, a->E, a->scale, q, k + j % CACHE_BLOCK * a->E, a->E,
                        s + j);
    }
}

static void weigh_row(const struct lanes *l, const struct source *src,
                      const struct sight *see, const float *p, float *out)
{
    const struct attention *a = l->a;
    memset(out, 0, a->E * sizeof *out);
    if (!src->cache) {
        l->x->k->weigh(see->end - see->first, a->E, p + see->first,
                       src->v + see->first * src->ld, src->ld, out);
        return;
    }
    for (size_t j = see->first, end; j < see->end; j = end) {
        end = block_end(j, see);
        const float *v = cache_values(src->cache, a->layer, src->head, j / CACHE_BLOCK);
        l->x->k->weigh(end - j, a->E, p + j, v + j % CACHE_BLOCK * a->E, a->E, out);
    }
}

/* What the query at `position` sees of `total` positions. */
static struct sight sight_of(const struct attention *a, size_t position, size_t total)
{
    struct sight see = {0, a->causal ? position + 1 : total};
    if (a->window && position >= a->window)
        see.first = position + 1 - a->window;
    if (a->window && see.end - position > a->window)
        see.end = position + a->window;
    return see;
}

/* The probabilities of one query become s[first..end). */
static void probabilities(const struct lanes *l, const struct source *src, size_t head,
                          size_t position, const struct sight *see, const float *q,
                          float *s)
{
    const struct attention *a = l->a;
    size_t n = see->end - see->first, span = a->bias_span;
    score_row(l, src, see, q, s);
    if (a->bias) {
        size_t at = head * (2 * span - 1) + span - 1 + see->first - position;
        l->x->k->add(n, a->bias + at, s + see->first);
    }
    l->x->k->softmax(n, s + see->first);
}

static void trace_row(const struct lanes *l, size_t b, size_t head, size_t position,
                      size_t total, const struct sight *see, float *s)
{
    const struct trace *t = l->x->trace;
    size_t n_keys = l->a->causal ? position + 1 : total;
    if (!t || !t->attention)
        return;
    memset(s, 0, see->first * sizeof *s);
    memset(s + see->end, 0, (n_keys - see->end) * sizeof *s);
    t->attention(t->arg, b, l->a->layer, head, position, n_keys, s);
}

/* All queries of one head of one sequence; s [n_keys] is this lane's score row. */
static void head_rows(const struct lanes *l, size_t b, size_t head, float *s)
{
    const struct attention *a = l->a;
    size_t width = a->N * a->E, ld = (a->N + 2 * a->K) * a->E;
    size_t start = a->batch->starts[b], len = a->batch->starts[b + 1] - start, past = 0;
    const float *qkv = a->qkv + start * ld;
    struct source src = {
        .cache = cache_of(a->batch, b), .head = head / (a->N / a->K), .ld = ld};
    src.k = qkv + width + src.head * a->E;
    src.v = src.k + a->K * a->E;
    if (src.cache)
        past = cache_length(src.cache);
    size_t first = a->picks ? a->picks[b] : 0, end = a->picks ? first + 1 : len;
    float *out = a->out + (a->picks ? b : start) * width + head * a->E;
    for (size_t i = first; i < end; i++, out += width) {
        struct sight see = sight_of(a, past + i, past + len);
        probabilities(l, &src, head, past + i, &see, qkv + i * ld + head * a->E, s);
        trace_row(l, b, head, past + i, past + len, &see, s);
        weigh_row(l, &src, &see, s, out);
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
        size_t rows = a->picks ? 1 : len;
        size_t keys = past + (a->causal && rows > 1 ? len / 2 : len);
        size_t seen = a->causal ? a->window : 2 * a->window;
        sum += rows * (seen && seen < keys ? seen : keys);
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
