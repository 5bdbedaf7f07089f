/* Attention for AVX2 and FMA: tiles of query rows against blocks of keys, softmax, and
 * the turning of keys into blocks. */
#ifdef __x86_64__

#include <immintrin.h>
#include <stdint.h>

#define vec   __m256
#define lanes __m256
#define wide  __m256d
enum { LANES = 8 };
#include "model/kernels/kern_attention.h"

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

/* ---- vectors (kern_attention.h) ------------------------------------------------------
 */

static ALWAYS_INLINE vec vec_set(float x)
{
    return _mm256_set1_ps(x);
}

static ALWAYS_INLINE vec vec_fma(vec a, vec b, vec c)
{
    return _mm256_fmadd_ps(a, b, c);
}

static ALWAYS_INLINE vec vec_fma_where(lanes m, vec a, vec b, vec c)
{
    return _mm256_blendv_ps(c, _mm256_fmadd_ps(a, b, c), m);
}

static ALWAYS_INLINE vec vec_max(vec a, vec b)
{
    return _mm256_max_ps(a, b);
}

static ALWAYS_INLINE vec vec_round(vec x)
{
    return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

static ALWAYS_INLINE vec vec_choose(lanes m, vec a, vec b)
{
    return _mm256_blendv_ps(b, a, m);
}

/* By adding n to the exponent bits, which is right as long as the result is normal; below
 * ln 2^-126, rounded up, it is 0. */
static ALWAYS_INLINE vec vec_power(vec e, vec n, vec x)
{
    const vec underflow = _mm256_set1_ps(-0x1.5d589ep+6f);
    __m256i power = _mm256_slli_epi32(_mm256_cvtps_epi32(n), 23);
    e = _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(e), power));
    return _mm256_andnot_ps(_mm256_cmp_ps(x, underflow, _CMP_LT_OQ), e);
}

static ALWAYS_INLINE __m256i part_mask(size_t n)
{
    static const int32_t ones_then_zeros[2 * LANES] = {-1, -1, -1, -1, -1, -1, -1, -1};
    return _mm256_loadu_si256((const __m256i *)(ones_then_zeros + LANES - n));
}

static ALWAYS_INLINE vec vec_load(const float *p)
{
    return _mm256_loadu_ps(p);
}

static ALWAYS_INLINE vec vec_load_first(const float *p, size_t n)
{
    return _mm256_maskload_ps(p, part_mask(n));
}

static ALWAYS_INLINE void vec_store(float *p, vec v)
{
    _mm256_storeu_ps(p, v);
}

static ALWAYS_INLINE void vec_store_first(float *p, size_t n, vec v)
{
    _mm256_maskstore_ps(p, part_mask(n), v);
}

static ALWAYS_INLINE lanes lanes_all(bool all)
{
    return _mm256_castsi256_ps(_mm256_set1_epi32(-(int)all));
}

static ALWAYS_INLINE lanes lanes_first(size_t n)
{
    return _mm256_castsi256_ps(part_mask(n));
}

static ALWAYS_INLINE lanes lanes_of(uint64_t bits)
{
    const __m256i each = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    __m256i in = _mm256_and_si256(_mm256_set1_epi32((int)(bits & 0xff)), each);
    return _mm256_castsi256_ps(_mm256_cmpeq_epi32(in, each));
}

static ALWAYS_INLINE wide wide_add(wide sum, vec e)
{
    __m128 half = _mm_add_ps(_mm256_castps256_ps128(e), _mm256_extractf128_ps(e, 1));
    return _mm256_add_pd(sum, _mm256_cvtps_pd(half));
}

static ALWAYS_INLINE double wide_total(wide sum)
{
    __m128d s = _mm_add_pd(_mm256_castpd256_pd128(sum), _mm256_extractf128_pd(sum, 1));
    return _mm_cvtsd_f64(_mm_add_sd(s, _mm_unpackhi_pd(s, s)));
}

static ALWAYS_INLINE float vec_largest(vec v)
{
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}

/* 8 to 12 sums in flight hide the latency of the FMA, and 16 registers hold no more. */
static ALWAYS_INLINE int score_blocks(int rows)
{
    return rows == 1 ? 4 : rows <= 3 ? 2 : 1;
}

static ALWAYS_INLINE int mix_vectors(int rows)
{
    return rows == 1 ? 8 : rows <= 3 ? 4 : 2;
}

void kern_avx2_attention_fill(struct kernels *k)
{
    k->turn = avx2_turn;
    k->scores = attention_scores;
    k->softmax = attention_softmax;
    k->tally = attention_tally;
    k->mix = attention_mix;
}

#endif
