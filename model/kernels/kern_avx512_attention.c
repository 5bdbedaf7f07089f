/* Attention for AVX-512: tiles of query rows against blocks of keys, and softmax. A block
 * of keys is one vector. Keys are turned into blocks by the code for AVX2. */
#ifdef __x86_64__

#include <immintrin.h>

#define vec   __m512
#define lanes __mmask16
#define wide  __m512d
enum { LANES = 16 };
#include "model/kernels/kern_attention.h"

static ALWAYS_INLINE vec vec_set(float x)
{
    return _mm512_set1_ps(x);
}

static ALWAYS_INLINE vec vec_fma(vec a, vec b, vec c)
{
    return _mm512_fmadd_ps(a, b, c);
}

static ALWAYS_INLINE vec vec_fma_where(lanes m, vec a, vec b, vec c)
{
    return _mm512_mask3_fmadd_ps(a, b, c, m);
}

static ALWAYS_INLINE vec vec_max(vec a, vec b)
{
    return _mm512_max_ps(a, b);
}

static ALWAYS_INLINE vec vec_round(vec x)
{
    return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

static ALWAYS_INLINE vec vec_choose(lanes m, vec a, vec b)
{
    return _mm512_mask_mov_ps(b, m, a);
}

/* scalef rounds to subnormal numbers and, long before -200, to 0; -INFINITY, whose e is
 * NaN, is not left to it. */
static ALWAYS_INLINE vec vec_power(vec e, vec n, vec x)
{
    __mmask16 goes = _mm512_cmp_ps_mask(x, _mm512_set1_ps(-200), _CMP_NLT_UQ);
    return _mm512_maskz_scalef_ps(goes, e, n);
}

static ALWAYS_INLINE vec vec_load(const float *p)
{
    return _mm512_loadu_ps(p);
}

static ALWAYS_INLINE vec vec_load_first(const float *p, size_t n)
{
    return _mm512_maskz_loadu_ps(lanes_first(n), p);
}

static ALWAYS_INLINE void vec_store(float *p, vec v)
{
    _mm512_storeu_ps(p, v);
}

static ALWAYS_INLINE void vec_store_first(float *p, size_t n, vec v)
{
    _mm512_mask_storeu_ps(p, lanes_first(n), v);
}

static ALWAYS_INLINE lanes lanes_all(bool all)
{
    return (lanes)(all ? 0xffff : 0);
}

static ALWAYS_INLINE lanes lanes_first(size_t n)
{
    return (lanes)((1u << n) - 1);
}

static ALWAYS_INLINE lanes lanes_of(uint64_t bits)
{
    return (lanes)bits;
}

static ALWAYS_INLINE wide wide_add(wide sum, vec e)
{
    __m256 half = _mm256_add_ps(_mm512_castps512_ps256(e), _mm512_extractf32x8_ps(e, 1));
    return _mm512_add_pd(sum, _mm512_cvtps_pd(half));
}

static ALWAYS_INLINE double wide_total(wide sum)
{
    return _mm512_reduce_add_pd(sum);
}

static ALWAYS_INLINE float vec_largest(vec v)
{
    return _mm512_reduce_max_ps(v);
}

/* A row alone has only blocks to hide the latency of the FMA. */
static ALWAYS_INLINE int score_blocks(int rows)
{
    return rows == 1 ? 8 : 4;
}

static ALWAYS_INLINE int mix_vectors(int rows)
{
    (void)rows;
    return 4;
}

void kern_avx512_attention_fill(struct kernels *k)
{
    k->scores = attention_scores;
    k->softmax = attention_softmax;
    k->tally = attention_tally;
    k->mix = attention_mix;
}

#endif
