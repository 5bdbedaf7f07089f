#include "model/nets/attention.h"

#include "model/nets/cache.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* Work is dealt out as chunks of CHUNK tiles of query rows of one key head over this many
 * lanes, each with a tile of score rows of its own, so that scratch doesn't grow with the
 * batch. A chunk is large enough for its keys to stay in a core's cache meanwhile. */
enum { LANES = 16, CHUNK = 8 };

struct lanes {
    const struct attention *a;
    const struct exec *x;
    struct attention_size size;
    size_t n;             /* lanes */
    size_t runs;          /* of key heads of a sequence, at least */
    size_t rows;          /* of scores, of each lane */
    size_t lds;           /* width of a score row */
    float *strips;        /* [block,2,K,CACHE_BLOCK*E] of sequences without a cache */
    float *lane;          /* [n,rows,lds] */
    const float **blocks; /* [block] where those of a block begin */
    const float *norms;   /* [N,n_keys] of values, if the trace asks for them */
};

/* ---- scratch --------------------------------------------------------------------- */

static size_t round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

/* Blocks of a batch, no two sequences in one: sequence b begins at block
 * starts[b]/CACHE_BLOCK + b, which leaves room for all of the one before. */
static size_t block_count(const struct attention_size *s)
{
    return s->T / CACHE_BLOCK + s->B;
}

static size_t strip_floats(const struct attention_size *s)
{
    return 2 * s->K * CACHE_BLOCK * s->E;
}

/* An odd number of cache lines, so that the rows of a tile lie in different sets. */
static size_t score_width(const struct attention_size *s)
{
    return round_up(s->n_keys, 2 * KERNELS_KEYS) + KERNELS_KEYS;
}

/* At most as many as there can be chunks. Each has the score rows of a tile of one key
 * head; where tiles of several heads need more, fewer lanes have those. */
static size_t lane_count(const struct attention_size *s)
{
    size_t rows = (size_t)CHUNK * KERNELS_QUERIES;
    size_t chunks = s->K * (s->T * (s->N / s->K) / rows + s->B);
    return chunks < LANES ? chunks : LANES;
}

size_t attention_floats(const struct attention_size *s)
{
    size_t blocks = block_count(s);
    return blocks * strip_floats(s) + lane_count(s) * KERNELS_QUERIES * score_width(s) +
           blocks * sizeof(float *) / sizeof(float);
}

/* ---- keys and values ------------------------------------------------------------- */

static size_t length_of(const struct attention *a, size_t b)
{
    return a->batch->starts[b + 1] - a->batch->starts[b];
}

static size_t first_block(const struct attention *a, size_t b)
{
    return a->batch->starts[b] / CACHE_BLOCK + b;
}

/* The i-th block of a sequence, from the rows of the pass. */
static void fill_block(const struct lanes *l, size_t b, size_t i)
{
    const struct attention *a = l->a;
    size_t at = first_block(a, b) + i, left = length_of(a, b) - i * CACHE_BLOCK;
    float *strips = l->strips + at * strip_floats(&l->size);
    struct cache_rows rows = {.n = left < CACHE_BLOCK ? left : CACHE_BLOCK,
                              .ld = (a->N + 2 * a->K) * a->E};
    rows.k = a->qkv + (a->batch->starts[b] + i * CACHE_BLOCK) * rows.ld + a->N * a->E;
    rows.v = rows.k + a->K * a->E;
    l->blocks[at] = strips;
    cache_fill(l->x->k, strips, a->K, a->E, 0, &rows);
}

static void fill_lanes(void *arg, size_t first, size_t last)
{
    const struct lanes *l = arg;
    for (size_t lane = first; lane < last; lane++) {
        size_t i = lane;
        for (size_t b = 0; b < l->a->batch->B; b++) {
            size_t n = round_up(length_of(l->a, b), CACHE_BLOCK) / CACHE_BLOCK;
            for (; i < n; i += l->n)
                fill_block(l, b, i);
            i -= n;
        }
    }
}

static const float *const *blocks_of(const struct lanes *l, size_t b)
{
    const struct cache *c = cache_of(l->a->batch, b);
    return c ? cache_blocks(c) : l->blocks + first_block(l->a, b);
}

/* ---- tiles ----------------------------------------------------------------------- */

/* The query rows of one sequence over the key heads kv..kv+heads-1: row r of a head is
 * that of position from + r/G and query head kv*G + r%G. */
struct group {
    size_t b, kv, heads, G;
    size_t past, len; /* positions before this pass, in it */
    size_t from;      /* counted in this pass */
    size_t rows;      /* of each head */
};

static struct group group_of(const struct attention *a, size_t b)
{
    const struct cache *c = cache_of(a->batch, b);
    struct group g = {.b = b, .G = a->N / a->K, .len = length_of(a, b)};
    g.past = c ? cache_length(c) : 0;
    g.from = a->picks ? a->picks[b] : 0;
    g.rows = (a->picks ? 1 : g.len) * g.G;
    return g;
}

/* Few rows over FAR bytes of keys and values and more wait for memory: so tiles hold
 * those of several key heads, which memory has side by side. But where other threads
 * help, a batch shall make SHARES runs of heads at least. */
enum { FAR = 512 * 1024, SHARES = 4 };

/* Runs of key heads whose rows share tiles, of nearly equal length. */
static size_t run_count(const struct lanes *l, const struct group *g)
{
    const struct attention *a = l->a;
    size_t keys = g->past + g->len, seen = a->causal ? a->window : 2 * a->window;
    keys = seen && seen < keys ? seen : keys;
    if (g->rows > KERNELS_QUERIES || keys * 2 * a->K * a->E * sizeof(float) < FAR)
        return a->K;
    size_t most = KERNELS_ROWS / g->rows, runs = (a->K + most - 1) / most;
    return runs > l->runs ? runs : l->runs < a->K ? l->runs : a->K;
}

/* Only runs of more than one head need more rows than a tile of one head has. */
static size_t most_rows(const struct lanes *l)
{
    size_t most = KERNELS_QUERIES;
    for (size_t b = 0; b < l->a->batch->B; b++) {
        struct group g = group_of(l->a, b);
        size_t runs = run_count(l, &g), heads = (l->a->K + runs - 1) / runs;
        if (heads > 1 && heads * g.rows > most)
            most = heads * g.rows;
    }
    return most;
}

static size_t tile_count(const struct group *g)
{
    return round_up(g->rows, KERNELS_QUERIES) / KERNELS_QUERIES;
}

static size_t chunk_count(const struct group *g)
{
    return round_up(tile_count(g), CHUNK) / CHUNK;
}

static size_t position_of(const struct group *g, size_t row)
{
    return g->from + row / g->G;
}

static size_t head_of(const struct group *g, size_t row)
{
    return g->kv * g->G + row % g->G;
}

/* The keys first..end-1 that the query at `position` sees of `total` positions. */
static void see(const struct attention *a, size_t position, size_t total, size_t *first,
                size_t *end)
{
    *first = 0;
    *end = a->causal ? position + 1 : total;
    if (a->window && position >= a->window)
        *first = position + 1 - a->window;
    if (a->window && *end - position > a->window)
        *end = position + a->window;
}

/* True if the trace wants rows of maps of this kind. */
static bool watched(const struct exec *x, enum trace_maps maps)
{
    return x->trace && x->trace->attention && x->trace->maps == maps;
}

/* Shows row r, with `rest` for keys that it doesn't see. */
static void trace_row(const struct lanes *l, const struct group *g, size_t row,
                      const struct attend *t, size_t r, float rest)
{
    const struct trace *trace = l->x->trace;
    size_t query = g->past + position_of(g, row);
    size_t n_keys = l->a->causal ? query + 1 : g->past + g->len;
    float *s = t->s + r * t->lds;
    for (size_t j = 0; j < t->first[r]; j++)
        s[j] = rest;
    for (size_t j = t->end[r]; j < n_keys; j++)
        s[j] = rest;
    trace->attention(trace->arg, g->b, l->a->layer, head_of(g, row), query, n_keys, s);
}

/* Scores of one row become probabilities. */
static void weight_row(const struct lanes *l, const struct group *g, size_t row,
                       struct attend *t, size_t r)
{
    const struct attention *a = l->a;
    size_t first = t->first[r], n = t->end[r] - first, span = a->bias_span;
    float *s = t->s + r * t->lds + first;
    if (a->bias) {
        size_t middle = head_of(g, row) * (2 * span - 1) + span - 1;
        l->x->k->add(n, a->bias + middle + first - g->past - position_of(g, row), s);
    }
    if (watched(l->x, TRACE_SCORES))
        trace_row(l, g, row, t, r, -INFINITY);
    l->x->k->softmax(n, s);
}

/* Behind the mixing, when nobody needs the weights any more. */
static void trace_weights(const struct lanes *l, const struct group *g, size_t row,
                          struct attend *t, size_t r)
{
    if (l->norms) {
        float *s = t->s + r * t->lds + t->first[r];
        const float *norms = l->norms + head_of(g, row) * (g->past + g->len);
        l->x->k->mul(t->end[r] - t->first[r], norms + t->first[r], s);
    }
    if (l->norms || watched(l->x, TRACE_WEIGHTS))
        trace_row(l, g, row, t, r, 0);
}

/* Where row r of the tile reads and writes, and what it sees. */
static void aim_row(const struct lanes *l, const struct group *g, size_t row,
                    struct attend *t, size_t r)
{
    const struct attention *a = l->a;
    size_t ld = (a->N + 2 * a->K) * a->E, start = a->batch->starts[g->b];
    size_t position = position_of(g, row), head = head_of(g, row);
    size_t to = a->picks ? g->b : start + position;
    t->q[r] = a->qkv + (start + position) * ld + head * a->E;
    t->out[r] = a->out + (to * a->N + head) * a->E;
    see(a, g->past + position, g->past + g->len, &t->first[r], &t->end[r]);
}

/* One step for each row of the tile, whose rows of each head begin with `row`. */
static void each_row(const struct lanes *l, const struct group *g, size_t row,
                     struct attend *t,
                     void (*step)(const struct lanes *l, const struct group *g,
                                  size_t row, struct attend *t, size_t r))
{
    struct group one = *g;
    for (size_t h = 0; h < t->heads; h++, one.kv++)
        for (size_t r = 0; r < t->rows; r++)
            step(l, &one, row + r, t, h * t->rows + r);
}

/* t has room, keys and values. */
static void run_tile(const struct lanes *l, const struct group *g, size_t row,
                     struct attend *t)
{
    each_row(l, g, row, t, aim_row);
    l->x->k->scores(t);
    each_row(l, g, row, t, weight_row);
    l->x->k->mix(t);
    each_row(l, g, row, t, trace_weights);
}

/* Rows are spread evenly over tiles. */
static void run_chunk(const struct lanes *l, const struct group *g, size_t chunk,
                      float *lane)
{
    const struct attention *a = l->a;
    const struct cache *c = cache_of(a->batch, g->b);
    size_t tiles = tile_count(g), least = g->rows / tiles, more = g->rows % tiles;
    size_t last = (chunk + 1) * CHUNK < tiles ? (chunk + 1) * CHUNK : tiles;
    struct attend t = {.E = a->E, .scale = a->scale, .s = lane, .lds = l->lds};
    t.heads = g->heads;
    t.blocks = blocks_of(l, g->b);
    t.keys = (c ? cache_layer(c, a->layer) : 0) + g->kv * CACHE_BLOCK * a->E;
    t.values = t.keys + a->K * CACHE_BLOCK * a->E;
    for (size_t i = chunk * CHUNK; i < last; i++) {
        t.rows = least + (i < more);
        run_tile(l, g, i * least + (i < more ? i : more), &t);
    }
}

static void run_lanes(void *arg, size_t first, size_t last)
{
    const struct lanes *l = arg;
    for (size_t lane = first; lane < last; lane++) {
        size_t i = lane;
        for (size_t b = 0; b < l->a->batch->B; b++) {
            struct group g = group_of(l->a, b);
            size_t runs = run_count(l, &g), chunks = chunk_count(&g), K = l->a->K;
            for (; i < runs * chunks; i += l->n) {
                size_t run = i / chunks;
                breaks_pause(l->x->breaks);
                g.kv = run * K / runs;
                g.heads = (run + 1) * K / runs - g.kv;
                run_chunk(l, &g, i % chunks, l->lane + lane * l->rows * l->lds);
            }
            i -= runs * chunks;
        }
    }
}

/* ---- norms of values, for the trace ---------------------------------------------- */

size_t attention_norm_floats(size_t N, size_t E, size_t D, size_t n_keys)
{
    size_t row = D > N * E ? D : N * E;
    return N * E * D + row + N * n_keys;
}

/* to [N*E,D] = the columns of the projection, as rows; row [N*E] is scratch. */
static void turn_reader(const struct lanes *l, float *row, float *to)
{
    const struct matrix *reader = l->a->reader;
    for (size_t n = 0; n < reader->N; n++) {
        l->x->k->row(reader, n, row);
        for (size_t k = 0; k < reader->K; k++)
            to[k * reader->N + n] = row[k];
    }
}

static float length_of_row(size_t n, const float *x)
{
    double squares = 0;
    for (size_t i = 0; i < n; i++)
        squares += (double)x[i] * (double)x[i];
    return (float)sqrt(squares);
}

/* How long each value of the one sequence is behind each head's part of the projection:
 * [N,n_keys]. */
static const float *find_norms(const struct lanes *l)
{
    const struct attention *a = l->a;
    struct group g = group_of(a, 0);
    const struct cache *c = cache_of(a->batch, 0);
    size_t D = a->reader->N, n_keys = g.past + g.len;
    size_t values = (c ? cache_layer(c, a->layer) : 0) + a->K * CACHE_BLOCK * a->E;
    float *columns = l->x->trace->norms, *row = columns + a->N * a->E * D;
    float *norms = row + (D > a->N * a->E ? D : a->N * a->E);
    assert(a->batch->B == 1 && a->reader->K == a->N * a->E);
    turn_reader(l, row, columns);
    for (size_t h = 0; h < a->N; h++)
        for (size_t j = 0; j < n_keys; j++) {
            const float *v = blocks_of(l, 0)[j / CACHE_BLOCK] + values +
                             (h / g.G * CACHE_BLOCK + j % CACHE_BLOCK) * a->E;
            memset(row, 0, D * sizeof *row);
            l->x->k->weigh(a->E, D, v, columns + h * a->E * D, D, row);
            norms[h * n_keys + j] = length_of_row(D, row);
        }
    return norms;
}

/* ---- a batch --------------------------------------------------------------------- */

static void share_out(struct lanes *l, float *scratch)
{
    const struct attention_size *s = &l->size;
    size_t rows = lane_count(s) * KERNELS_QUERIES;
    l->rows = most_rows(l);
    l->n = rows / l->rows;
    l->lds = score_width(s);
    l->strips = scratch;
    l->lane = scratch + block_count(s) * strip_floats(s);
    l->blocks = (const float **)(void *)(l->lane + rows * l->lds);
}

/* About: the larger of the arithmetic (40 multiply-adds/ns, 2 exponentials/ns) and of
 * reading keys and values (20 B/ns). */
static size_t work_ns(const struct attention *a)
{
    size_t scores = 0, keys = 0;
    for (size_t b = 0; b < a->batch->B; b++) {
        struct group g = group_of(a, b);
        size_t total = g.past + g.len, seen = a->causal ? a->window : 2 * a->window;
        size_t mean = a->causal && !a->picks ? g.past + g.len / 2 + 1 : total;
        scores += g.rows * a->K * (seen && seen < mean ? seen : mean);
        keys += seen && seen < total ? seen : total;
    }
    size_t arithmetic = scores * a->E / 20 + scores / 2;
    size_t reading = keys * 2 * a->K * a->E * sizeof(float) / 20;
    return arithmetic > reading ? arithmetic : reading;
}

void attention_run(const struct attention *a, size_t n_keys, float *scratch,
                   struct exec *x)
{
    size_t B = a->batch->B;
    struct lanes l = {.a = a, .x = x};
    l.size = (struct attention_size){a->N, a->K, a->E, B, a->batch->starts[B], n_keys};
    /* Hooks run on the caller's thread, in order. */
    bool traced = x->trace && x->trace->attention;
    struct crew *crew = traced ? NULL : x->crew;
    l.runs = crew && crew_idle(crew) ? (SHARES + B - 1) / B : 1;
    share_out(&l, scratch);
    size_t ns = work_ns(a) / l.n;
    if (!a->batch->states) /* copies 4 floats/ns */
        crew_for(crew, l.n, l.size.T * a->K * a->E / 2 / l.n, fill_lanes, &l);
    if (watched(x, TRACE_VALUE_NORMS))
        l.norms = find_norms(&l);
    crew_for(crew, l.n, ns, run_lanes, &l);
}
