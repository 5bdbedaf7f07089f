/* Inside model/kernels/ only: attention tiles, softmax and its tally, for the files of
 * one vector width each, which include this once.
 *
 * Such a file defines before: vec, its vector type (without it this header is empty);
 * lanes, a set of its lanes; wide, half as many doubles; and LANES; after: the functions
 * that are only declared here, which all end up inside the loops.
 *
 * A block of keys lies like a panel of a packed matrix, so scores are a small product:
 * each is one chain of FMAs over E, for whole blocks at once. In the other product each
 * output is one chain over the keys that its row sees. Which tile holds a row changes
 * nothing. Where rows of a tile see different keys, a step is done by all and kept by
 * those that see the key. */
#ifndef SEQ_KERNELS_KERN_ATTENTION_H
#define SEQ_KERNELS_KERN_ATTENTION_H

#include "model/kernels/kern.h"

#ifdef vec

#include <immintrin.h>
#include <math.h>

#define ALWAYS_INLINE inline __attribute__((always_inline))

enum {
    BLOCK_VECTORS = KERNELS_KEYS / LANES,
    MAX_SUMS = 8,
    DISTANCE = 4096, /* bytes: tiles of several heads fetch from further ahead */
};

/* All entries x; a*b+c, everywhere or only where m says so, else c; the larger one, b if
 * one is NaN; to the nearest whole number; a where m says so, else b. */
static ALWAYS_INLINE vec vec_set(float x);
static ALWAYS_INLINE vec vec_fma(vec a, vec b, vec c);
static ALWAYS_INLINE vec vec_fma_where(lanes m, vec a, vec b, vec c);
static ALWAYS_INLINE vec vec_max(vec a, vec b);
static ALWAYS_INLINE vec vec_round(vec x);
static ALWAYS_INLINE vec vec_choose(lanes m, vec a, vec b);
/* e * 2^n, the end of e^x for x <= 0: 0 where that is too small for the vector width. */
static ALWAYS_INLINE vec vec_power(vec e, vec n, vec x);
/* All lanes, or the first n <= LANES; of what is not loaded, 0. */
static ALWAYS_INLINE vec vec_load(const float *p);
static ALWAYS_INLINE vec vec_load_first(const float *p, size_t n);
static ALWAYS_INLINE void vec_store(float *p, vec v);
static ALWAYS_INLINE void vec_store_first(float *p, size_t n, vec v);
/* All or none; the first n <= LANES; those whose bit is set. */
static ALWAYS_INLINE lanes lanes_all(bool all);
static ALWAYS_INLINE lanes lanes_first(size_t n);
static ALWAYS_INLINE lanes lanes_of(uint64_t bits);
/* Sums of floats in doubles: sum + e with halves of e added as floats; over all lanes;
 * and the largest lane. */
static ALWAYS_INLINE wide wide_add(wide sum, vec e);
static ALWAYS_INLINE double wide_total(wide sum);
static ALWAYS_INLINE float vec_largest(vec v);
/* What registers hold next to so many rows: blocks of scores; vectors of outputs. */
static ALWAYS_INLINE int score_blocks(int rows);
static ALWAYS_INLINE int mix_vectors(int rows);

/* ---- what a tile sees ----------------------------------------------------------------
 */

/* Keys low..high-1 are seen by some row, from..to-1 by all. */
struct span {
    size_t low, from, to, high;
};

static struct span span_of(const struct attend *a)
{
    struct span s = {a->first[0], a->first[0], a->end[0], a->end[0]};
    for (size_t r = 1; r < a->heads * a->rows; r++) {
        s.low = a->first[r] < s.low ? a->first[r] : s.low;
        s.from = a->first[r] > s.from ? a->first[r] : s.from;
        s.to = a->end[r] < s.to ? a->end[r] : s.to;
        s.high = a->end[r] > s.high ? a->end[r] : s.high;
    }
    if (s.from >= s.to)
        s.from = s.to = s.high;
    return s;
}

static ALWAYS_INLINE size_t limited(size_t j, size_t first, size_t end)
{
    return j < first ? first : j < end ? j : end;
}

/* What of it lies in one block. */
static ALWAYS_INLINE struct span span_in(const struct span *s, size_t block)
{
    size_t first = block * KERNELS_KEYS, end = first + KERNELS_KEYS;
    return (struct span){limited(s->low, first, end), limited(s->from, first, end),
                         limited(s->to, first, end), limited(s->high, first, end)};
}

/* ---- several heads -------------------------------------------------------------------
 *
 * Few rows over more keys than a cache holds wait for memory, and a strip, the keys of a
 * head in one block or its values, is too short for the hardware to see a stream in it.
 * So strips are read in the order in which blocks hold them, and each line of one fetches
 * a line further on in that order into the second-level cache. */

/* A strip, of those in the blocks first..end-1, where `run` blocks are read side by side
 * and lines are fetched from so many heads `on`. */
struct place {
    size_t head, block, first, end, run, on;
};

/* The floats of a strip. */
static ALWAYS_INLINE size_t strip_of(const struct attend *a)
{
    return KERNELS_KEYS * a->E;
}

/* The first one. */
static struct place place_of(const struct attend *a, const struct span *s)
{
    struct place at = {.block = s->low / KERNELS_KEYS, .end = s->high, .run = 1};
    at.first = at.block;
    at.end = (s->high - 1) / KERNELS_KEYS + 1;
    at.on = DISTANCE / (strip_of(a) * sizeof(float)) + 1;
    return at;
}

/* How many bytes behind a line the one lies that it fetches; 0 where no block is left. */
static ALWAYS_INLINE size_t ahead_of(const struct attend *a, const struct place at)
{
    size_t head = at.head + at.on, block = at.block;
    for (; head >= a->heads; head -= a->heads)
        block += at.run;
    if (block >= at.end)
        return 0;
    uintptr_t here = (uintptr_t)(a->blocks[at.block] + at.head * strip_of(a));
    return (uintptr_t)(a->blocks[block] + head * strip_of(a)) - here;
}

static ALWAYS_INLINE void fetch(const float *line, size_t ahead)
{
    _mm_prefetch((const char *)line + ahead, _MM_HINT_T1);
}

/* ---- scores --------------------------------------------------------------------------
 */

/* All rows of a head times `blocks` blocks. rows, blocks and many, heads that is, are
 * constants at every call, so that the sums live in registers. */
static ALWAYS_INLINE void score_tile(const struct attend *a, const struct place at,
                                     const int rows, const int blocks, const bool many)
{
    const size_t E = a->E, first = at.head * (size_t)rows;
    const int vectors = blocks * BLOCK_VECTORS;
    const float *q[KERNELS_QUERIES], *key[MAX_SUMS];
    size_t ahead[MAX_SUMS];
    vec sum[KERNELS_QUERIES][MAX_SUMS];
#pragma GCC unroll 8
    for (int b = 0; b < blocks; b++) {
        struct place one = at;
        one.block += (size_t)b;
        key[b] = a->blocks[one.block] + a->keys + at.head * strip_of(a);
        ahead[b] = many ? ahead_of(a, one) : 0;
    }
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
        q[r] = a->q[first + (size_t)r];
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++)
            sum[r][v] = vec_set(0);
    for (size_t e = 0; e < E; e++) {
        vec k[MAX_SUMS];
#pragma GCC unroll 8
        for (int b = 0; b < blocks && many; b++)
            fetch(key[b] + e * KERNELS_KEYS, ahead[b]);
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++)
            k[v] = vec_load(key[v / BLOCK_VECTORS] + e * KERNELS_KEYS +
                            (size_t)(v % BLOCK_VECTORS) * LANES);
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++) {
            vec in = vec_set(q[r][e]);
#pragma GCC unroll 8
            for (int v = 0; v < vectors; v++)
                sum[r][v] = vec_fma(in, k[v], sum[r][v]);
        }
    }
    const vec scale = vec_set(a->scale);
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++)
            vec_store(a->s + (first + (size_t)r) * a->lds + at.block * KERNELS_KEYS +
                          (size_t)v * LANES,
                      sum[r][v] * scale);
}

/* As many blocks from at->block on as make whole tiles. */
static ALWAYS_INLINE void score_run(const struct attend *a, struct place *at,
                                    const int rows, const int blocks, const bool many)
{
    const size_t run = (size_t)blocks, heads = many ? a->heads : 1;
    if (run > 1) {
        at->run = run;
        at->on = 1;
    }
    for (; at->end - at->block >= run; at->block += run)
        for (at->head = 0; at->head < heads; at->head++)
            score_tile(a, *at, rows, blocks, many);
}

/* As many blocks at a time as registers hold, then what is left. */
static ALWAYS_INLINE void score_rows(const struct attend *a, const int rows,
                                     const bool many)
{
    struct span s = span_of(a);
    struct place at = place_of(a, &s);
    if (score_blocks(rows) >= 8)
        score_run(a, &at, rows, 8, many);
    if (score_blocks(rows) >= 4)
        score_run(a, &at, rows, 4, many);
    if (score_blocks(rows) == 2)
        score_run(a, &at, rows, 2, many);
    score_run(a, &at, rows, 1, many);
}

static ALWAYS_INLINE void score(const struct attend *a, const bool many)
{
    switch (a->rows) {
    case 1:
        score_rows(a, 1, many);
        break;
    case 2:
        score_rows(a, 2, many);
        break;
    case 3:
        score_rows(a, 3, many);
        break;
    case 4:
        score_rows(a, 4, many);
        break;
    case 5:
        score_rows(a, 5, many);
        break;
    default:
        score_rows(a, 6, many);
        break;
    }
}

static void score_many(const struct attend *a)
{
    score(a, true);
}

static void attention_scores(const struct attend *a)
{
    if (a->heads > 1)
        score_many(a);
    else
        score(a, false);
}

/* ---- softmax -------------------------------------------------------------------------
 */

/* x = n ln 2 + r, |r| <= ln(2)/2; e^r by a polynomial of degree 6 as in kern_avx2.c. Of
 * ln 2 one float is enough: its error times n is far below what the rounding of x costs.
 * x <= 0 or NaN. */
static ALWAYS_INLINE vec exp_of(vec x)
{
    vec n = vec_round(x * vec_set(0x1.715476p+0f));
    vec r = vec_fma(n, vec_set(-0x1.62e43p-1f), x);
    vec e = vec_set(0.001381445444f);
    e = vec_fma(e, r, vec_set(0.008368781602f));
    e = vec_fma(e, r, vec_set(0.04166839447f));
    e = vec_fma(e, r, vec_set(0.1666652009f));
    e = vec_fma(e, r, vec_set(0.4999999341f));
    e = vec_fma(e, r, vec_set(1));
    e = vec_fma(e, r, vec_set(1));
    return vec_power(e, n, x);
}

/* x [n] becomes e^(x - shift); returns their sum. A few of its terms are added as floats,
 * at a relative 2^-24 each time, the rest in double. */
static ALWAYS_INLINE double exponentials(size_t n, float *x, vec shift)
{
    enum { STEP = 4 * LANES };
    wide sum = {0};
    size_t i = 0;
    for (; i + STEP <= n; i += STEP) {
        vec e[4];
#pragma GCC unroll 4
        for (size_t v = 0; v < 4; v++) {
            float *at = x + i + v * LANES;
            e[v] = exp_of(vec_load(at) - shift);
            vec_store(at, e[v]);
        }
        sum = wide_add(sum, (e[0] + e[1]) + (e[2] + e[3]));
    }
    for (; i + LANES <= n; i += LANES) {
        vec e = exp_of(vec_load(x + i) - shift);
        sum = wide_add(sum, e);
        vec_store(x + i, e);
    }
    if (i < n) {
        vec e = exp_of(vec_load_first(x + i, n - i) - shift);
        sum = wide_add(sum, vec_choose(lanes_first(n - i), e, vec_set(0)));
        vec_store_first(x + i, n - i, e);
    }
    return wide_total(sum);
}

/* The first n lanes, or all; of what is not loaded, -INFINITY. */
static ALWAYS_INLINE vec load_scores(const float *x, size_t n)
{
    return n >= LANES
               ? vec_load(x)
               : vec_choose(lanes_first(n), vec_load_first(x, n), vec_set(-INFINITY));
}

/* The maximum ignores NaN (second operand of max); exp of it then makes the sum NaN. */
static void attention_softmax(size_t n, float *x)
{
    vec top = vec_set(-INFINITY);
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        top = vec_max(vec_load(x + i), top);
    if (i < n)
        top = vec_max(load_scores(x + i, n - i), top);
    float max = vec_largest(top);
    double sum = exponentials(n, x, vec_set(max == -INFINITY ? 0 : max));
    const vec scale = vec_set(sum == 0 ? 0 : (float)(1 / sum));
    for (i = 0; i + LANES <= n; i += LANES)
        vec_store(x + i, vec_load(x + i) * scale);
    if (i < n)
        vec_store_first(x + i, n - i, vec_load_first(x + i, n - i) * scale);
}

/* What stands behind the run counts as -INFINITY, whose e^ is 0. */
static void attention_tally(size_t n, const float *x, uint64_t mask, struct tally *t)
{
    enum { VECTORS = KERNELS_COLUMNS / LANES };
    const vec none = vec_set(0), lowest = vec_set(-INFINITY);
    vec v[VECTORS], top = lowest, best = lowest;
    wide sum = {0}, rest = {0};
#pragma GCC unroll 8
    for (size_t i = 0; i < VECTORS; i++) {
        size_t at = i * LANES;
        v[i] = at < n ? load_scores(x + at, n - at) : lowest;
        top = vec_max(v[i], top);
        best = vec_max(vec_choose(lanes_of(mask >> at), v[i], lowest), best);
    }
    t->top = vec_largest(top);
    t->best = vec_largest(best);
    const vec shift = vec_set(t->top == -INFINITY ? 0 : t->top);
#pragma GCC unroll 4
    for (size_t i = 0; i < VECTORS; i += 2) {
        lanes in = lanes_of(mask >> i * LANES),
              in_too = lanes_of(mask >> (i + 1) * LANES);
        vec e = exp_of(v[i] - shift), e_too = exp_of(v[i + 1] - shift);
        sum = wide_add(sum, e + e_too);
        rest = wide_add(rest, vec_choose(in, none, e) + vec_choose(in_too, none, e_too));
    }
    t->sum = wide_total(sum);
    t->rest = wide_total(rest);
}

/* ---- mix -----------------------------------------------------------------------------
 */

/* A tile of outputs on its way: columns e.. of all rows of a head; of a vector that
 * stands alone, `part` lanes. */
struct mix {
    const struct attend *a;
    size_t head, e, part;
    bool fetch;
    size_t ahead;
};

/* Several vectors side by side are always whole. */
static ALWAYS_INLINE vec load(const struct mix *m, const float *p, const int vectors)
{
    return vectors > 1 ? vec_load(p) : vec_load_first(p, m->part);
}

static ALWAYS_INLINE void store(const struct mix *m, float *p, vec v, const int vectors)
{
    if (vectors > 1 || m->part == LANES)
        vec_store(p, v);
    else
        vec_store_first(p, m->part, v);
}

static ALWAYS_INLINE const float *value_of(const struct mix *m, size_t j)
{
    const struct attend *a = m->a;
    return a->blocks[j / KERNELS_KEYS] + a->values + m->head * strip_of(a) +
           j % KERNELS_KEYS * a->E + m->e;
}

/* Key j for those rows that see it. */
static ALWAYS_INLINE void mix_some(const struct mix *m, size_t j, vec (*sum)[MAX_SUMS],
                                   const int rows, const int vectors)
{
    const struct attend *a = m->a;
    const float *value = value_of(m, j);
    const size_t row = m->head * (size_t)rows;
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++) {
        const size_t *first = a->first + row + r, *end = a->end + row + r;
        lanes sees = lanes_all(j >= *first && j < *end);
        vec p = vec_set(a->s[(row + (size_t)r) * a->lds + j]);
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++)
            sum[r][v] =
                vec_fma_where(sees, p, load(m, value + v * LANES, vectors), sum[r][v]);
    }
}

/* Keys first..end-1, which all rows see. */
static ALWAYS_INLINE void mix_all(const struct mix *m, size_t first, size_t end,
                                  vec (*sum)[MAX_SUMS], const int rows, const int vectors)
{
    const struct attend *a = m->a;
    const size_t E = a->E, lds = a->lds;
    const float *s = a->s + m->head * (size_t)rows * lds;
    for (size_t j = first; j < end;) {
        const float *value = value_of(m, j);
        size_t stop = (j / KERNELS_KEYS + 1) * KERNELS_KEYS;
        stop = stop < end ? stop : end;
        for (; j < stop; j++, value += E) {
            vec in[MAX_SUMS];
#pragma GCC unroll 8
            for (int v = 0; v < vectors; v++) {
                if (m->fetch && v % BLOCK_VECTORS == 0)
                    fetch(value + v * LANES, m->ahead);
                in[v] = load(m, value + v * LANES, vectors);
            }
#pragma GCC unroll 6
            for (int r = 0; r < rows; r++) {
                vec p = vec_set(s[(size_t)r * lds + j]);
#pragma GCC unroll 8
                for (int v = 0; v < vectors; v++)
                    sum[r][v] = vec_fma(p, in[v], sum[r][v]);
            }
        }
    }
}

/* One head; of many, in one block, where the outputs go on from those of the blocks
 * before. */
static ALWAYS_INLINE void mix_tile(const struct attend *a, const struct place at,
                                   const struct span *s, size_t e, const int rows,
                                   const int vectors, const bool many)
{
    const struct mix m = {.a = a,
                          .head = at.head,
                          .e = e,
                          .part = a->E - e < LANES ? a->E - e : LANES,
                          .fetch = many,
                          .ahead = many ? ahead_of(a, at) : 0};
    const bool more = many && at.block > at.first;
    float *const *out = a->out + at.head * (size_t)rows;
    vec sum[KERNELS_QUERIES][MAX_SUMS];
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++)
            sum[r][v] = more ? load(&m, out[r] + e + v * LANES, vectors) : vec_set(0);
    for (size_t j = s->low; j < s->from; j++)
        mix_some(&m, j, sum, rows, vectors);
    mix_all(&m, s->from, s->to, sum, rows, vectors);
    for (size_t j = s->to; j < s->high; j++)
        mix_some(&m, j, sum, rows, vectors);
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++)
            store(&m, out[r] + e + v * LANES, sum[r][v], vectors);
}

/* As many columns from e on as make whole tiles of so many vectors; returns the next. */
static ALWAYS_INLINE size_t mix_columns(const struct attend *a, const struct place at,
                                        const struct span *s, size_t e, const int rows,
                                        const int vectors, const bool many)
{
    for (; a->E - e >= (size_t)vectors * LANES; e += (size_t)vectors * LANES)
        mix_tile(a, at, s, e, rows, vectors, many);
    return e;
}

/* As many columns at a time as registers hold, then what is left. */
static ALWAYS_INLINE void mix_rows(const struct attend *a, const struct place at,
                                   const struct span *s, const int rows, const bool many)
{
    size_t e = 0;
    if (mix_vectors(rows) >= 8)
        e = mix_columns(a, at, s, e, rows, 8, many);
    if (mix_vectors(rows) >= 4)
        e = mix_columns(a, at, s, e, rows, 4, many);
    e = mix_columns(a, at, s, e, rows, 2, many);
    for (; e < a->E; e += LANES)
        mix_tile(a, at, s, e, rows, 1, many);
}

static ALWAYS_INLINE void mix_head(const struct attend *a, const struct place at,
                                   const struct span *s, const bool many)
{
    switch (a->rows) {
    case 1:
        mix_rows(a, at, s, 1, many);
        break;
    case 2:
        mix_rows(a, at, s, 2, many);
        break;
    case 3:
        mix_rows(a, at, s, 3, many);
        break;
    case 4:
        mix_rows(a, at, s, 4, many);
        break;
    case 5:
        mix_rows(a, at, s, 5, many);
        break;
    default:
        mix_rows(a, at, s, 6, many);
        break;
    }
}

static void mix_many(const struct attend *a)
{
    struct span s = span_of(a);
    struct place at = place_of(a, &s);
    for (; at.block < at.end; at.block++) {
        struct span here = span_in(&s, at.block);
        for (at.head = 0; at.head < a->heads; at.head++)
            mix_head(a, at, &here, true);
    }
}

static void attention_mix(const struct attend *a)
{
    if (a->heads > 1) {
        mix_many(a);
        return;
    }
    struct span s = span_of(a);
    mix_head(a, place_of(a, &s), &s, false);
}

#endif
#endif
