/* Attention for AVX-512: tiles of query rows against blocks of keys, and softmax.
 *
 * The same arithmetic as kern_avx2_attention.c: a score is one chain of FMAs over E, an
 * output one chain over the keys that its row sees. A block of 16 keys is one vector. */
#include "model/kernels/kern.h"

#ifdef __x86_64__

#include <immintrin.h>
#include <math.h>

#define ALWAYS_INLINE inline __attribute__((always_inline))

enum { LANES = 16, MAX_SUMS = 8 };

static ALWAYS_INLINE __mmask16 part_mask(size_t n)
{
    return n < LANES ? (__mmask16)((1u << n) - 1) : (__mmask16)0xffff;
}

/* ---- what a tile sees ----------------------------------------------------------------
 */

/* Keys low..high-1 are seen by some row, from..to-1 by all. */
struct span {
    size_t low, from, to, high;
};

static struct span span_of(const struct attend *a)
{
    struct span s = {a->first[0], a->first[0], a->end[0], a->end[0]};
    for (size_t r = 1; r < a->rows; r++) {
        s.low = a->first[r] < s.low ? a->first[r] : s.low;
        s.from = a->first[r] > s.from ? a->first[r] : s.from;
        s.to = a->end[r] < s.to ? a->end[r] : s.to;
        s.high = a->end[r] > s.high ? a->end[r] : s.high;
    }
    if (s.from >= s.to)
        s.from = s.to = s.high;
    return s;
}

/* ---- scores --------------------------------------------------------------------------
 */

/* All rows times `blocks` blocks from `block` on. rows and blocks are constants at every
 * call, so that the sums live in registers. */
static ALWAYS_INLINE void score_tile(const struct attend *a, size_t block, const int rows,
                                     const int blocks)
{
    const size_t E = a->E;
    const float *q[KERNELS_QUERIES], *key[MAX_SUMS];
    __m512 sum[KERNELS_QUERIES][MAX_SUMS];
#pragma GCC unroll 8
    for (int b = 0; b < blocks; b++)
        key[b] = a->blocks[block + (size_t)b] + a->keys;
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
        q[r] = a->q[r];
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (int b = 0; b < blocks; b++)
            sum[r][b] = _mm512_setzero_ps();
    for (size_t e = 0; e < E; e++) {
        __m512 k[MAX_SUMS];
#pragma GCC unroll 8
        for (int b = 0; b < blocks; b++)
            k[b] = _mm512_loadu_ps(key[b] + e * LANES);
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++) {
            __m512 in = _mm512_set1_ps(q[r][e]);
#pragma GCC unroll 8
            for (int b = 0; b < blocks; b++)
                sum[r][b] = _mm512_fmadd_ps(in, k[b], sum[r][b]);
        }
    }
    const __m512 scale = _mm512_set1_ps(a->scale);
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (int b = 0; b < blocks; b++)
            _mm512_storeu_ps(a->s + (size_t)r * a->lds + (block + (size_t)b) * LANES,
                             _mm512_mul_ps(sum[r][b], scale));
}

/* One row takes more blocks at a time. */
static ALWAYS_INLINE void score_rows(const struct attend *a, const int rows,
                                     const int blocks)
{
    struct span s = span_of(a);
    size_t block = s.low / LANES, end = (s.high - 1) / LANES + 1;
    for (; end - block >= (size_t)blocks; block += (size_t)blocks)
        score_tile(a, block, rows, blocks);
    for (; block < end; block++)
        score_tile(a, block, rows, 1);
}

static void avx512_scores(const struct attend *a)
{
    _Static_assert((int)KERNELS_KEYS == (int)LANES, "a block of keys is one vector");
    switch (a->rows) {
    case 1:
        score_rows(a, 1, 8);
        break;
    case 2:
        score_rows(a, 2, 4);
        break;
    case 3:
        score_rows(a, 3, 4);
        break;
    case 4:
        score_rows(a, 4, 4);
        break;
    case 5:
        score_rows(a, 5, 4);
        break;
    default:
        score_rows(a, 6, 4);
        break;
    }
}

/* ---- softmax -------------------------------------------------------------------------
 */

/* x = n ln 2 + r, |r| <= ln(2)/2; e^r by a polynomial of degree 6 as in kern_avx2.c;
 * scalef multiplies by 2^n, down to 0. Of ln 2 one float is enough: its error times n is
 * far below what the rounding of x costs. x <= 0 or NaN, which max passes on. */
static ALWAYS_INLINE __m512 exp16(__m512 x)
{
    x = _mm512_max_ps(_mm512_set1_ps(-200), x);
    __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(0x1.715476p+0f)),
                                    _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m512 r = _mm512_fmadd_ps(n, _mm512_set1_ps(-0x1.62e43p-1f), x);
    __m512 e = _mm512_set1_ps(0.001381445444f);
    e = _mm512_fmadd_ps(e, r, _mm512_set1_ps(0.008368781602f));
    e = _mm512_fmadd_ps(e, r, _mm512_set1_ps(0.04166839447f));
    e = _mm512_fmadd_ps(e, r, _mm512_set1_ps(0.1666652009f));
    e = _mm512_fmadd_ps(e, r, _mm512_set1_ps(0.4999999341f));
    e = _mm512_fmadd_ps(e, r, _mm512_set1_ps(1));
    e = _mm512_fmadd_ps(e, r, _mm512_set1_ps(1));
    return _mm512_scalef_ps(e, n);
}

/* A few of the sum's terms are added as floats, at a relative 2^-24 each time, the rest
 * in double. */
static ALWAYS_INLINE __m512d add_up(__m512d sum, __m512 e)
{
    __m256 half = _mm256_add_ps(_mm512_castps512_ps256(e), _mm512_extractf32x8_ps(e, 1));
    return _mm512_add_pd(sum, _mm512_cvtps_pd(half));
}

/* x [n] becomes e^(x - shift); returns their sum. */
static ALWAYS_INLINE double exponentials(size_t n, float *x, __m512 shift)
{
    enum { STEP = 4 * LANES };
    __m512d sum = _mm512_setzero_pd();
    size_t i = 0;
    for (; i + STEP <= n; i += STEP) {
        __m512 e[4];
#pragma GCC unroll 4
        for (size_t v = 0; v < 4; v++) {
            float *at = x + i + v * LANES;
            e[v] = exp16(_mm512_sub_ps(_mm512_loadu_ps(at), shift));
            _mm512_storeu_ps(at, e[v]);
        }
        sum = add_up(sum,
                     _mm512_add_ps(_mm512_add_ps(e[0], e[1]), _mm512_add_ps(e[2], e[3])));
    }
    for (; i < n; i += LANES) {
        __mmask16 real = part_mask(n - i);
        __m512 e = exp16(_mm512_sub_ps(_mm512_maskz_loadu_ps(real, x + i), shift));
        sum = add_up(sum, _mm512_maskz_mov_ps(real, e));
        _mm512_mask_storeu_ps(x + i, real, e);
    }
    return _mm512_reduce_add_pd(sum);
}

/* The maximum ignores NaN (second operand of max); exp of it then makes the sum NaN. */
static void avx512_softmax(size_t n, float *x)
{
    const size_t whole = n - n % LANES;
    const __mmask16 rest = part_mask(n % LANES);
    __m512 top = _mm512_mask_loadu_ps(_mm512_set1_ps(-INFINITY), rest, x + whole);
    top = _mm512_max_ps(top, _mm512_set1_ps(-INFINITY));
    for (size_t i = 0; i < whole; i += LANES)
        top = _mm512_max_ps(_mm512_loadu_ps(x + i), top);
    float max = _mm512_reduce_max_ps(top);
    double sum = exponentials(n, x, _mm512_set1_ps(max == -INFINITY ? 0 : max));
    const __m512 scale = _mm512_set1_ps(sum == 0 ? 0 : (float)(1 / sum));
    for (size_t i = 0; i < whole; i += LANES)
        _mm512_storeu_ps(x + i, _mm512_mul_ps(_mm512_loadu_ps(x + i), scale));
    _mm512_mask_storeu_ps(x + whole, rest,
                          _mm512_mul_ps(_mm512_maskz_loadu_ps(rest, x + whole), scale));
}

/* What stands behind the run counts as -INFINITY, whose e^ is 0. */
static void avx512_tally(size_t n, const float *x, uint64_t mask, struct tally *t)
{
    enum { VECTORS = KERNELS_COLUMNS / LANES };
    __m512 v[VECTORS], top = _mm512_set1_ps(-INFINITY), best = top;
    __m512d sum = _mm512_setzero_pd(), rest = sum;
#pragma GCC unroll 4
    for (size_t i = 0; i < VECTORS; i++) {
        size_t at = i * LANES;
        __mmask16 real = at < n ? part_mask(n - at) : 0;
        v[i] = _mm512_mask_loadu_ps(_mm512_set1_ps(-INFINITY), real, x + at);
        top = _mm512_max_ps(v[i], top);
        __m512 in =
            _mm512_mask_mov_ps(_mm512_set1_ps(-INFINITY), (__mmask16)(mask >> at), v[i]);
        best = _mm512_max_ps(in, best);
    }
    t->top = _mm512_reduce_max_ps(top);
    t->best = _mm512_reduce_max_ps(best);
    const __m512 shift = _mm512_set1_ps(t->top == -INFINITY ? 0 : t->top);
#pragma GCC unroll 2
    for (size_t i = 0; i < VECTORS; i += 2) {
        __mmask16 out = (__mmask16) ~(mask >> i * LANES),
                  out_too = (__mmask16) ~(mask >> (i + 1) * LANES);
        __m512 e = exp16(_mm512_sub_ps(v[i], shift)),
               e_too = exp16(_mm512_sub_ps(v[i + 1], shift));
        sum = add_up(sum, _mm512_add_ps(e, e_too));
        rest = add_up(rest, _mm512_add_ps(_mm512_maskz_mov_ps(out, e),
                                          _mm512_maskz_mov_ps(out_too, e_too)));
    }
    t->sum = _mm512_reduce_add_pd(sum);
    t->rest = _mm512_reduce_add_pd(rest);
}

/* ---- mix -----------------------------------------------------------------------------
 */

/* A tile of outputs on its way: columns e.. of all rows. `real`: the lanes of a vector
 * that stands alone. */
struct mix {
    const struct attend *a;
    size_t e;
    __mmask16 real;
};

/* Several vectors side by side are always whole. */
static ALWAYS_INLINE __m512 load(const struct mix *m, const float *p, const int vectors)
{
    return vectors > 1 ? _mm512_loadu_ps(p) : _mm512_maskz_loadu_ps(m->real, p);
}

static ALWAYS_INLINE const float *value_of(const struct mix *m, size_t j)
{
    const struct attend *a = m->a;
    return a->blocks[j / KERNELS_KEYS] + a->values + j % KERNELS_KEYS * a->E + m->e;
}

/* Key j for those rows that see it. */
static ALWAYS_INLINE void mix_some(const struct mix *m, size_t j, __m512 (*sum)[MAX_SUMS],
                                   const int rows, const int vectors)
{
    const struct attend *a = m->a;
    const float *value = value_of(m, j);
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++) {
        __mmask16 sees = (__mmask16)(j >= a->first[r] && j < a->end[r] ? 0xffff : 0);
        __m512 p = _mm512_set1_ps(a->s[(size_t)r * a->lds + j]);
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++)
            sum[r][v] = _mm512_mask3_fmadd_ps(p, load(m, value + v * LANES, vectors),
                                              sum[r][v], sees);
    }
}

/* Keys first..end-1, which all rows see. */
static ALWAYS_INLINE void mix_all(const struct mix *m, size_t first, size_t end,
                                  __m512 (*sum)[MAX_SUMS], const int rows,
                                  const int vectors)
{
    const struct attend *a = m->a;
    const size_t E = a->E, lds = a->lds;
    for (size_t j = first; j < end;) {
        const float *value = value_of(m, j);
        size_t stop = (j / KERNELS_KEYS + 1) * KERNELS_KEYS;
        stop = stop < end ? stop : end;
        for (; j < stop; j++, value += E) {
            __m512 in[MAX_SUMS];
#pragma GCC unroll 8
            for (int v = 0; v < vectors; v++)
                in[v] = load(m, value + v * LANES, vectors);
#pragma GCC unroll 6
            for (int r = 0; r < rows; r++) {
                __m512 p = _mm512_set1_ps(a->s[(size_t)r * lds + j]);
#pragma GCC unroll 8
                for (int v = 0; v < vectors; v++)
                    sum[r][v] = _mm512_fmadd_ps(p, in[v], sum[r][v]);
            }
        }
    }
}

static ALWAYS_INLINE void mix_tile(const struct attend *a, const struct span *s, size_t e,
                                   const int rows, const int vectors)
{
    const struct mix m = {a, e, part_mask(a->E - e)};
    __m512 sum[KERNELS_QUERIES][MAX_SUMS];
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++)
            sum[r][v] = _mm512_setzero_ps();
    for (size_t j = s->low; j < s->from; j++)
        mix_some(&m, j, sum, rows, vectors);
    mix_all(&m, s->from, s->to, sum, rows, vectors);
    for (size_t j = s->to; j < s->high; j++)
        mix_some(&m, j, sum, rows, vectors);
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++)
            _mm512_mask_storeu_ps(a->out[r] + e + v * LANES,
                                  vectors > 1 ? 0xffff : m.real, sum[r][v]);
}

/* As many columns at a time as registers hold, then what is left. */
static ALWAYS_INLINE void mix_rows(const struct attend *a, const int rows)
{
    struct span s = span_of(a);
    size_t e = 0;
    for (; a->E - e >= 4 * LANES; e += 4 * LANES)
        mix_tile(a, &s, e, rows, 4);
    for (; a->E - e >= 2 * LANES; e += 2 * LANES)
        mix_tile(a, &s, e, rows, 2);
    for (; e < a->E; e += LANES)
        mix_tile(a, &s, e, rows, 1);
}

static void avx512_mix(const struct attend *a)
{
    switch (a->rows) {
    case 1:
        mix_rows(a, 1);
        break;
    case 2:
        mix_rows(a, 2);
        break;
    case 3:
        mix_rows(a, 3);
        break;
    case 4:
        mix_rows(a, 4);
        break;
    case 5:
        mix_rows(a, 5);
        break;
    default:
        mix_rows(a, 6);
        break;
    }
}

void kern_avx512_attention_fill(struct kernels *k)
{
    k->scores = avx512_scores;
    k->softmax = avx512_softmax;
    k->tally = avx512_tally;
    k->mix = avx512_mix;
}

#endif
