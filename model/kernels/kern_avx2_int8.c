/* Kernels for AVX2: the product with int8 weights. vpmaddubsw adds the products of two
 * neighbouring bytes in 16 bits, which kern_int8.h sees to that they hold; vpmaddwd then
 * adds two of those in 32. */
#ifdef __x86_64__

#include <immintrin.h>

#define vec __m256i
enum { VECTORS = 2, TILE_ROWS = 4 }; /* per line of a panel; 16 registers hold no more */
#include "model/kernels/kern_int8_product.h"

#include "model/kernels/kern.h"

enum { LANES = 8 };

static ALWAYS_INLINE vec vec_zero(void)
{
    return _mm256_setzero_si256();
}

static ALWAYS_INLINE vec vec_bytes(int32_t q)
{
    return _mm256_set1_epi32(q);
}

static ALWAYS_INLINE vec vec_dot(vec sum, vec q, vec w)
{
    __m256i pairs = _mm256_maddubs_epi16(q, w);
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

static ALWAYS_INLINE vec vec_load(const char *line, int v)
{
    return _mm256_load_si256((const __m256i *)line + v);
}

static ALWAYS_INLINE __m256i part_mask(size_t n)
{
    static const int32_t ones_then_zeros[2 * LANES] = {-1, -1, -1, -1, -1, -1, -1, -1};
    return _mm256_loadu_si256((const __m256i *)(ones_then_zeros + LANES - n));
}

static ALWAYS_INLINE __m256 load(const float *p, size_t n)
{
    return n == LANES ? _mm256_loadu_ps(p) : _mm256_maskload_ps(p, part_mask(n));
}

static ALWAYS_INLINE void finish(const struct job *j, size_t row, size_t column,
                                 const struct int8_head *head, int v, vec sum)
{
    const struct product *p = j->p;
    const struct quantised_row *in = &j->x->rows[row];
    size_t at = (size_t)v * LANES;
    column += at;
    if (column >= p->last)
        return;
    size_t n = p->last - column < LANES ? p->last - column : LANES;
    float *y = p->y + row * p->ldy + column;
    __m256i zeros = _mm256_mullo_epi32(
        _mm256_set1_epi32(in->zero),
        _mm256_load_si256((const __m256i *)(const void *)(head->sum + at)));
    __m256 s = _mm256_cvtepi32_ps(_mm256_sub_epi32(sum, zeros));
    s = _mm256_mul_ps(s, _mm256_load_ps(head->scale + at));
    s = _mm256_mul_ps(s, _mm256_set1_ps(in->scale));
    if (p->bias)
        s = _mm256_add_ps(s, load(p->bias + column, n));
    if (p->accumulate)
        s = _mm256_add_ps(s, load(y, n));
    if (n == LANES)
        _mm256_storeu_ps(y, s);
    else
        _mm256_maskstore_ps(y, part_mask(n), s);
}

static size_t tile_panels(size_t rows, size_t left)
{
    size_t most = rows == 1 ? 4 : rows == 2 ? 2 : 1;
    return left >= most ? most : 1;
}

static ALWAYS_INLINE void run_tile(const struct job *j, size_t row, size_t column,
                                   size_t rows, size_t panels)
{
    switch (rows << 4 | panels) {
    /* clang-format off */
    case 0x14: tile(j, row, column, 1, 4); break;
    case 0x11: tile(j, row, column, 1, 1); break;
    case 0x22: tile(j, row, column, 2, 2); break;
    case 0x21: tile(j, row, column, 2, 1); break;
    case 0x31: tile(j, row, column, 3, 1); break;
    case 0x41: tile(j, row, column, 4, 1); break;
        /* clang-format on */
    }
}

/* ---- rows ------------------------------------------------------------------------- */

/* The least and the largest lane. */
static float least(__m256 v)
{
    float lane[LANES], x;
    _mm256_storeu_ps(lane, v);
    x = lane[0];
    for (int i = 1; i < LANES; i++)
        x = lane[i] < x ? lane[i] : x;
    return x;
}

static float largest(__m256 v)
{
    return -least(_mm256_xor_ps(v, _mm256_set1_ps(-0.0f)));
}

/* NaN if a lane is, else 0. */
static float any_bad(__m256 v)
{
    __m256 nan = _mm256_cmp_ps(v, v, _CMP_UNORD_Q);
    return _mm256_movemask_ps(nan) ? __builtin_nanf("") : 0;
}

static void avx2_quantise(size_t K, const float *x, uint8_t *q, struct quantised_row *row)
{
    const __m256 none = _mm256_setzero_ps();
    __m256 lo = none, hi = none, bad = none;
    float inverse;
    for (size_t k = 0; k < K; k += LANES) {
        __m256 v = load(x + k, K - k < LANES ? K - k : LANES);
        lo = _mm256_min_ps(v, lo);
        hi = _mm256_max_ps(v, hi);
        bad = _mm256_add_ps(bad, _mm256_mul_ps(v, none));
    }
    *row = kern_int8_steps(least(lo), largest(hi), any_bad(bad), &inverse);
    const __m256 by = _mm256_set1_ps(inverse);
    const __m256i zero = _mm256_set1_epi32(row->zero);
    for (size_t k = 0; k < K; k += LANES) {
        size_t n = K - k < LANES ? K - k : LANES;
        __m256 v = _mm256_mul_ps(load(x + k, n), by);
        __m256i steps = _mm256_add_epi32(_mm256_cvtps_epi32(v), zero);
        __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(steps),
                                        _mm256_extracti128_si256(steps, 1));
        __m128i bytes = _mm_packus_epi16(words, words);
        if (n > INT8_GROUP)
            _mm_storel_epi64((__m128i *)(void *)(q + k), bytes);
        else
            _mm_storeu_si32(q + k, bytes);
    }
}

void kern_avx2_int8_fill(struct kernels *k)
{
    k->quantise = avx2_quantise;
    k->matmul_int8 = product_int8;
}

#endif
