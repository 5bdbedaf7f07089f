/* Attention for AVX2 and FMA: tiles of query rows against blocks of keys, and softmax.
 *
 * A block of keys lies like a panel of a packed matrix, so scores are a small product:
 * each is one chain of FMAs over E, for whole blocks at once. In the other product each
 * output is one chain over the keys that its row sees. Which tile holds a row changes
 * nothing. Where rows of a tile see different keys, a step is done by all and kept by
 * those that see the key. */
#include "model/kernels/kern.h"

#ifdef __x86_64__

#include <immintrin.h>
#include <math.h>
#include <stdint.h>

#define ALWAYS_INLINE inline __attribute__((always_inline))

enum { LANES = 8, MAX_SUMS = 8 };

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

/* ---- keys ----------------------------------------------------------------------------
 */

/* Eight rows of eight floats, columns become rows. */
static ALWAYS_INLINE void turn_8x8(const float *k, size_t ld, float *keys)
{
    __m256 in[8], pair[8], four[8];
#pragma GCC unroll 8
    for (size_t i = 0; i < 8; i++)
        in[i] = _mm256_loadu_ps(k + i * ld);
#pragma GCC unroll 4
    for (size_t i = 0; i < 4; i++) {
        pair[2 * i] = _mm256_unpacklo_ps(in[2 * i], in[2 * i + 1]);
        pair[2 * i + 1] = _mm256_unpackhi_ps(in[2 * i], in[2 * i + 1]);
    }
#pragma GCC unroll 2
    for (size_t i = 0; i < 8; i += 4) {
        four[i] = _mm256_shuffle_ps(pair[i], pair[i + 2], 0x44);
        four[i + 1] = _mm256_shuffle_ps(pair[i], pair[i + 2], 0xee);
        four[i + 2] = _mm256_shuffle_ps(pair[i + 1], pair[i + 3], 0x44);
        four[i + 3] = _mm256_shuffle_ps(pair[i + 1], pair[i + 3], 0xee);
    }
#pragma GCC unroll 4
    for (size_t i = 0; i < 4; i++) {
        float *to = keys + i * KERNELS_KEYS;
        _mm256_storeu_ps(to, _mm256_permute2f128_ps(four[i], four[i + 4], 0x20));
        _mm256_storeu_ps(to + (size_t)4 * KERNELS_KEYS,
                         _mm256_permute2f128_ps(four[i], four[i + 4], 0x31));
    }
}

static void avx2_turn(size_t n, size_t E, const float *k, size_t ld, float *keys)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8, k += 8 * ld) {
        size_t e = 0;
        for (; e + 8 <= E; e += 8)
            turn_8x8(k + e, ld, keys + e * KERNELS_KEYS + i);
        for (; e < E; e++)
            for (size_t r = 0; r < 8; r++)
                keys[e * KERNELS_KEYS + i + r] = k[r * ld + e];
    }
    for (; i < n; i++, k += ld)
        for (size_t e = 0; e < E; e++)
            keys[e * KERNELS_KEYS + i] = k[e];
}

/* ---- scores --------------------------------------------------------------------------
 */

/* All rows times `blocks` blocks from `block` on. rows and blocks are constants at every
 * call, so that the sums live in registers. */
static ALWAYS_INLINE void score_tile(const struct attend *a, size_t block, const int rows,
                                     const int blocks)
{
    const size_t E = a->E;
    const float *q[KERNELS_QUERIES], *key[MAX_SUMS / 2];
    __m256 sum[KERNELS_QUERIES][MAX_SUMS];
#pragma GCC unroll 4
    for (int b = 0; b < blocks; b++)
        key[b] = a->blocks[block + (size_t)b] + a->keys;
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
        q[r] = a->q[r];
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (int v = 0; v < 2 * blocks; v++)
            sum[r][v] = _mm256_setzero_ps();
    for (size_t e = 0; e < E; e++)
#pragma GCC unroll 4
        for (int b = 0; b < blocks; b++) {
            const float *k = key[b] + e * KERNELS_KEYS;
            __m256 left = _mm256_loadu_ps(k), right = _mm256_loadu_ps(k + LANES);
#pragma GCC unroll 6
            for (int r = 0; r < rows; r++) {
                __m256 in = _mm256_broadcast_ss(q[r] + e);
                sum[r][2 * b] = _mm256_fmadd_ps(in, left, sum[r][2 * b]);
                sum[r][2 * b + 1] = _mm256_fmadd_ps(in, right, sum[r][2 * b + 1]);
            }
        }
    const __m256 scale = _mm256_set1_ps(a->scale);
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (int v = 0; v < 2 * blocks; v++)
            _mm256_storeu_ps(a->s + (size_t)r * a->lds + block * KERNELS_KEYS +
                                 (size_t)v * LANES,
                             _mm256_mul_ps(sum[r][v], scale));
}

/* Few rows take more blocks at a time. */
static ALWAYS_INLINE void score_rows(const struct attend *a, const int rows,
                                     const int blocks)
{
    struct span s = span_of(a);
    size_t block = s.low / KERNELS_KEYS, end = (s.high - 1) / KERNELS_KEYS + 1;
    for (; end - block >= (size_t)blocks; block += (size_t)blocks)
        score_tile(a, block, rows, blocks);
    for (; block < end; block++)
        score_tile(a, block, rows, 1);
}

static void avx2_scores(const struct attend *a)
{
    switch (a->rows) {
    case 1:
        score_rows(a, 1, 4);
        break;
    case 2:
        score_rows(a, 2, 2);
        break;
    case 3:
        score_rows(a, 3, 2);
        break;
    case 4:
        score_rows(a, 4, 1);
        break;
    case 5:
        score_rows(a, 5, 1);
        break;
    default:
        score_rows(a, 6, 1);
        break;
    }
}

/* The first n lanes. */
static ALWAYS_INLINE __m256i part_mask(size_t n)
{
    static const int32_t ones_then_zeros[2 * LANES] = {-1, -1, -1, -1, -1, -1, -1, -1};
    return _mm256_loadu_si256((const __m256i *)(ones_then_zeros + LANES - n));
}

/* ---- softmax ------------------------------------------------------------------------
 */

/* x = n ln 2 + r, |r| <= ln(2)/2; e^r by a polynomial of degree 6 as in kern_avx2.c. Of
 * ln 2 one float is enough: its error times n is far below what the rounding of x costs.
 * x <= 0 or NaN; below ln 2^-126, rounded up, it is 0. */
static ALWAYS_INLINE __m256 exp8(__m256 x)
{
    const __m256 underflow = _mm256_set1_ps(-0x1.5d589ep+6f);
    __m256 n = _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(0x1.715476p+0f)),
                               _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m256 r = _mm256_fmadd_ps(n, _mm256_set1_ps(-0x1.62e43p-1f), x);
    __m256 e = _mm256_set1_ps(0.001381445444f);
    e = _mm256_fmadd_ps(e, r, _mm256_set1_ps(0.008368781602f));
    e = _mm256_fmadd_ps(e, r, _mm256_set1_ps(0.04166839447f));
    e = _mm256_fmadd_ps(e, r, _mm256_set1_ps(0.1666652009f));
    e = _mm256_fmadd_ps(e, r, _mm256_set1_ps(0.4999999341f));
    e = _mm256_fmadd_ps(e, r, _mm256_set1_ps(1));
    e = _mm256_fmadd_ps(e, r, _mm256_set1_ps(1));
    __m256i power = _mm256_slli_epi32(_mm256_cvtps_epi32(n), 23);
    e = _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(e), power));
    return _mm256_andnot_ps(_mm256_cmp_ps(x, underflow, _CMP_LT_OQ), e);
}

/* A few of the sum's terms are added as floats, at a relative 2^-24 each time, the rest
 * in double. */
static ALWAYS_INLINE __m256d add_up(__m256d sum, __m256 e)
{
    __m128 half = _mm_add_ps(_mm256_castps256_ps128(e), _mm256_extractf128_ps(e, 1));
    return _mm256_add_pd(sum, _mm256_cvtps_pd(half));
}

static ALWAYS_INLINE double total_of(__m256d v)
{
    __m128d s = _mm_add_pd(_mm256_castpd256_pd128(v), _mm256_extractf128_pd(v, 1));
    return _mm_cvtsd_f64(_mm_add_sd(s, _mm_unpackhi_pd(s, s)));
}

/* Up to eight floats. Stores under a mask are slow on some CPUs, so whole vectors have
 * none.
 */
static ALWAYS_INLINE __m256 load_part(const float *p, size_t n)
{
    return n < LANES ? _mm256_maskload_ps(p, part_mask(n)) : _mm256_loadu_ps(p);
}

static ALWAYS_INLINE void store_part(float *p, size_t n, __m256 v)
{
    if (n < LANES)
        _mm256_maskstore_ps(p, part_mask(n), v);
    else
        _mm256_storeu_ps(p, v);
}

static ALWAYS_INLINE size_t part_of(size_t n, size_t i)
{
    return n - i < LANES ? n - i : LANES;
}

static ALWAYS_INLINE __m256 only(size_t n, __m256 v, __m256 others)
{
    return _mm256_blendv_ps(others, v, _mm256_castsi256_ps(part_mask(n)));
}

/* x [n] becomes e^(x - shift); returns their sum. */
static ALWAYS_INLINE double exponentials(size_t n, float *x, __m256 shift)
{
    enum { STEP = 4 * LANES };
    __m256d sum = _mm256_setzero_pd();
    size_t i = 0;
    for (; i + STEP <= n; i += STEP) {
        __m256 e[4];
#pragma GCC unroll 4
        for (size_t v = 0; v < 4; v++) {
            float *at = x + i + v * LANES;
            e[v] = exp8(_mm256_sub_ps(_mm256_loadu_ps(at), shift));
            _mm256_storeu_ps(at, e[v]);
        }
        sum = add_up(sum,
                     _mm256_add_ps(_mm256_add_ps(e[0], e[1]), _mm256_add_ps(e[2], e[3])));
    }
    for (; i < n; i += LANES) {
        size_t part = part_of(n, i);
        __m256 e = exp8(_mm256_sub_ps(load_part(x + i, part), shift));
        sum = add_up(sum, only(part, e, _mm256_setzero_ps()));
        store_part(x + i, part, e);
    }
    return total_of(sum);
}

static ALWAYS_INLINE float largest_of(__m256 v)
{
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}

/* The maximum ignores NaN (second operand of max); exp of it then makes the sum NaN. */
static void avx2_softmax(size_t n, float *x)
{
    const __m256 lowest = _mm256_set1_ps(-INFINITY);
    __m256 top = lowest;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        top = _mm256_max_ps(_mm256_loadu_ps(x + i), top);
    if (i < n)
        top = _mm256_max_ps(only(n - i, load_part(x + i, n - i), lowest), top);
    float max = largest_of(top);
    double sum = exponentials(n, x, _mm256_set1_ps(max == -INFINITY ? 0 : max));
    const __m256 scale = _mm256_set1_ps(sum == 0 ? 0 : (float)(1 / sum));
    for (i = 0; i < n; i += LANES) {
        size_t part = part_of(n, i);
        store_part(x + i, part, _mm256_mul_ps(load_part(x + i, part), scale));
    }
}

/* All bits of those lanes whose bit is set. */
static ALWAYS_INLINE __m256 lanes_of(uint64_t bits)
{
    const __m256i each = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    __m256i in = _mm256_and_si256(_mm256_set1_epi32((int)(bits & 0xff)), each);
    return _mm256_castsi256_ps(_mm256_cmpeq_epi32(in, each));
}

/* What stands behind the run counts as -INFINITY, whose e^ is 0. */
static void avx2_tally(size_t n, const float *x, uint64_t mask, struct tally *t)
{
    enum { VECTORS = KERNELS_COLUMNS / LANES };
    const __m256 lowest = _mm256_set1_ps(-INFINITY);
    __m256 v[VECTORS], top = lowest, best = lowest;
    __m256d sum = _mm256_setzero_pd(), rest = sum;
    for (size_t i = 0; i < VECTORS; i++) {
        size_t at = i * LANES;
        v[i] = at + LANES <= n ? _mm256_loadu_ps(x + at)
               : at < n        ? only(n - at, load_part(x + at, n - at), lowest)
                               : lowest;
        top = _mm256_max_ps(v[i], top);
        best = _mm256_max_ps(_mm256_blendv_ps(lowest, v[i], lanes_of(mask >> at)), best);
    }
    t->top = largest_of(top);
    t->best = largest_of(best);
    const __m256 shift = _mm256_set1_ps(t->top == -INFINITY ? 0 : t->top);
    for (size_t i = 0; i < VECTORS; i += 2) {
        __m256 e = exp8(_mm256_sub_ps(v[i], shift)),
               e_too = exp8(_mm256_sub_ps(v[i + 1], shift));
        sum = add_up(sum, _mm256_add_ps(e, e_too));
        rest = add_up(
            rest,
            _mm256_add_ps(_mm256_andnot_ps(lanes_of(mask >> i * LANES), e),
                          _mm256_andnot_ps(lanes_of(mask >> (i + 1) * LANES), e_too)));
    }
    t->sum = total_of(sum);
    t->rest = total_of(rest);
}

/* ---- mix -----------------------------------------------------------------------------
 */

/* A tile of outputs on its way: columns e.. of all rows, the last vector of one that
 * stands alone may have fewer lanes. */
struct mix {
    const struct attend *a;
    size_t e, part;
};

static ALWAYS_INLINE __m256 load(const struct mix *m, const float *p)
{
    return m->part == LANES ? _mm256_loadu_ps(p)
                            : _mm256_maskload_ps(p, part_mask(m->part));
}

static ALWAYS_INLINE const float *value_of(const struct mix *m, size_t j)
{
    const struct attend *a = m->a;
    return a->blocks[j / KERNELS_KEYS] + a->values + j % KERNELS_KEYS * a->E + m->e;
}

/* Key j for those rows that see it. */
static ALWAYS_INLINE void mix_some(const struct mix *m, size_t j, __m256 (*sum)[MAX_SUMS],
                                   const int rows, const int vectors)
{
    const struct attend *a = m->a;
    const float *value = value_of(m, j);
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++) {
        bool sees = j >= a->first[r] && j < a->end[r];
        __m256 keep = _mm256_castsi256_ps(_mm256_set1_epi32(-(int)sees));
        __m256 p = _mm256_broadcast_ss(a->s + (size_t)r * a->lds + j);
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++) {
            __m256 next = _mm256_fmadd_ps(p, load(m, value + v * LANES), sum[r][v]);
            sum[r][v] = _mm256_blendv_ps(sum[r][v], next, keep);
        }
    }
}

/* Keys first..end-1, which all rows see. */
static ALWAYS_INLINE void mix_all(const struct mix *m, size_t first, size_t end,
                                  __m256 (*sum)[MAX_SUMS], const int rows,
                                  const int vectors)
{
    const struct attend *a = m->a;
    const size_t E = a->E, lds = a->lds;
    for (size_t j = first; j < end;) {
        const float *value = value_of(m, j);
        size_t stop = (j / KERNELS_KEYS + 1) * KERNELS_KEYS;
        stop = stop < end ? stop : end;
        for (; j < stop; j++, value += E) {
            __m256 in[MAX_SUMS];
#pragma GCC unroll 8
            for (int v = 0; v < vectors; v++)
                in[v] = load(m, value + v * LANES);
#pragma GCC unroll 6
            for (int r = 0; r < rows; r++) {
                __m256 p = _mm256_broadcast_ss(a->s + (size_t)r * lds + j);
#pragma GCC unroll 8
                for (int v = 0; v < vectors; v++)
                    sum[r][v] = _mm256_fmadd_ps(p, in[v], sum[r][v]);
            }
        }
    }
}

static ALWAYS_INLINE void mix_tile(const struct attend *a, const struct span *s, size_t e,
                                   const size_t part, const int rows, const int vectors)
{
    const struct mix m = {a, e, part};
    __m256 sum[KERNELS_QUERIES][MAX_SUMS];
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++)
            sum[r][v] = _mm256_setzero_ps();
    for (size_t j = s->low; j < s->from; j++)
        mix_some(&m, j, sum, rows, vectors);
    mix_all(&m, s->from, s->to, sum, rows, vectors);
    for (size_t j = s->to; j < s->high; j++)
        mix_some(&m, j, sum, rows, vectors);
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++) {
            float *out = a->out[r] + e + v * LANES;
            if (part == LANES)
                _mm256_storeu_ps(out, sum[r][v]);
            else
                _mm256_maskstore_ps(out, part_mask(part), sum[r][v]);
        }
}

/* As many columns at a time as registers hold, then what is left. */
static ALWAYS_INLINE void mix_rows(const struct attend *a, const int rows,
                                   const int vectors)
{
    struct span s = span_of(a);
    size_t e = 0, wide = (size_t)vectors * LANES;
    for (; a->E - e >= wide; e += wide)
        mix_tile(a, &s, e, LANES, rows, vectors);
    for (; a->E - e >= LANES; e += LANES)
        mix_tile(a, &s, e, LANES, rows, 1);
    if (e < a->E)
        mix_tile(a, &s, e, a->E - e, rows, 1);
}

static void avx2_mix(const struct attend *a)
{
    switch (a->rows) {
    case 1:
        if (a->E >= 8 * LANES)
            mix_rows(a, 1, 8);
        else
            mix_rows(a, 1, 4);
        break;
    case 2:
        mix_rows(a, 2, 4);
        break;
    case 3:
        mix_rows(a, 3, 4);
        break;
    case 4:
        mix_rows(a, 4, 2);
        break;
    case 5:
        mix_rows(a, 5, 2);
        break;
    default:
        mix_rows(a, 6, 2);
        break;
    }
}

void kern_avx2_attention_fill(struct kernels *k)
{
    k->turn = avx2_turn;
    k->scores = avx2_scores;
    k->softmax = avx2_softmax;
    k->tally = avx2_tally;
    k->mix = avx2_mix;
}

#endif
