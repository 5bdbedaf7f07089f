/* Recurrent cells for AVX-512. The same sums as in kern_avx2.c, but no division, which
 * would take as long as half of a gate: a reciprocal of 14 bits and one step of Newton's
 * give 1 ulp or so. Every lane does the same; the end of an array goes through under a
 * mask. */
#include "model/kernels/kern.h"

#ifdef __x86_64__

#include <immintrin.h>

#define ALWAYS_INLINE inline __attribute__((always_inline))

enum { LANES = 16 };

static ALWAYS_INLINE __m512 all(float x)
{
    return _mm512_set1_ps(x);
}

/* x = n ln 2 + r with n = round(x / ln 2), |r| <= ln(2)/2 (Cody & Waite's two-part
 * reduction); returns e^r - 1 = r + r^2 q(r), q minimax for e^r (3.1e-9). */
static ALWAYS_INLINE __m512 reduced_exp(__m512 x, __m512 *n)
{
    *n = _mm512_roundscale_ps(_mm512_mul_ps(x, all(0x1.715476p+0f)),
                              _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m512 r = _mm512_fmadd_ps(*n, all(-0x1.62e43p-1f), x);
    r = _mm512_fmadd_ps(*n, all(0x1.05c61p-29f), r);
    __m512 q = _mm512_fmadd_ps(all(0.001381445444f), r, all(0.008368781602f));
    q = _mm512_fmadd_ps(q, r, all(0.04166839447f));
    q = _mm512_fmadd_ps(q, r, all(0.1666652009f));
    q = _mm512_fmadd_ps(q, r, all(0.4999999341f));
    return _mm512_fmadd_ps(_mm512_mul_ps(r, r), q, r);
}

/* 1 / x for 1 <= x < 2^126. */
static ALWAYS_INLINE __m512 reciprocal(__m512 x)
{
    __m512 y = _mm512_rcp14_ps(x);
    return _mm512_fmadd_ps(_mm512_fnmadd_ps(x, y, all(1)), y, y);
}

/* From |x| = 87 on the gate is as good as 0 or 1. NaN passes: min and max return their
 * second operand then. */
static ALWAYS_INLINE __m512 sigmoid16(__m512 x)
{
    __m512 n;
    x = _mm512_max_ps(all(-87), _mm512_min_ps(all(87), x));
    __m512 e = reduced_exp(_mm512_sub_ps(_mm512_setzero_ps(), x), &n);
    e = _mm512_scalef_ps(_mm512_add_ps(e, all(1)), n);
    return reciprocal(_mm512_add_ps(e, all(1)));
}

/* t / (t + 2) with t = e^2|x| - 1, which keeps its digits near 0. From 2|x| = 20 on that
 * is 1. */
static ALWAYS_INLINE __m512 tanh16(__m512 x)
{
    const __m512i sign = _mm512_set1_epi32(INT32_MIN);
    __m512 n, size = _mm512_abs_ps(x);
    __m512 t = reduced_exp(_mm512_min_ps(all(20), _mm512_add_ps(size, size)), &n);
    __m512 power = _mm512_scalef_ps(all(1), n);
    t = _mm512_fmadd_ps(power, t, _mm512_sub_ps(power, all(1)));
    t = _mm512_mul_ps(t, reciprocal(_mm512_add_ps(t, all(2))));
    __m512i bits = _mm512_and_si512(sign, _mm512_castps_si512(x));
    return _mm512_castsi512_ps(_mm512_or_si512(bits, _mm512_castps_si512(t)));
}

/* A sigmoid, or with a slope the hard one. */
static ALWAYS_INLINE __m512 gate16(__m512 x, const float slope)
{
    if (slope == 0)
        return sigmoid16(x);
    __m512 y = _mm512_fmadd_ps(all(slope), x, all(0.5f));
    return _mm512_min_ps(all(1), _mm512_max_ps(_mm512_setzero_ps(), y));
}

static ALWAYS_INLINE void lstm_some(size_t H, const float slope, float *g, float *c,
                                    float *h, const __mmask16 real)
{
    __m512 i = gate16(_mm512_maskz_loadu_ps(real, g), slope);
    __m512 f = gate16(_mm512_maskz_loadu_ps(real, g + H), slope);
    __m512 z = tanh16(_mm512_maskz_loadu_ps(real, g + 2 * H));
    __m512 o = gate16(_mm512_maskz_loadu_ps(real, g + 3 * H), slope);
    __m512 cell = _mm512_fmadd_ps(f, _mm512_maskz_loadu_ps(real, c), _mm512_mul_ps(i, z));
    _mm512_mask_storeu_ps(g, real, i);
    _mm512_mask_storeu_ps(g + H, real, f);
    _mm512_mask_storeu_ps(g + 2 * H, real, z);
    _mm512_mask_storeu_ps(g + 3 * H, real, o);
    _mm512_mask_storeu_ps(c, real, cell);
    _mm512_mask_storeu_ps(h, real, _mm512_mul_ps(o, tanh16(cell)));
}

static ALWAYS_INLINE void gru_some(size_t H, const float slope, float *x, const float *u,
                                   float *h, const __mmask16 real)
{
    __m512 r = gate16(
        _mm512_add_ps(_mm512_maskz_loadu_ps(real, x), _mm512_maskz_loadu_ps(real, u)),
        slope);
    __m512 z = gate16(_mm512_add_ps(_mm512_maskz_loadu_ps(real, x + H),
                                    _mm512_maskz_loadu_ps(real, u + H)),
                      slope);
    __m512 c = tanh16(_mm512_fmadd_ps(r, _mm512_maskz_loadu_ps(real, u + 2 * H),
                                      _mm512_maskz_loadu_ps(real, x + 2 * H)));
    __m512 keep = _mm512_mul_ps(z, _mm512_maskz_loadu_ps(real, h));
    _mm512_mask_storeu_ps(x, real, r);
    _mm512_mask_storeu_ps(x + H, real, z);
    _mm512_mask_storeu_ps(x + 2 * H, real, c);
    _mm512_mask_storeu_ps(h, real, _mm512_fmadd_ps(_mm512_sub_ps(all(1), z), c, keep));
}

/* Of the n > 0 that are left. */
static ALWAYS_INLINE __mmask16 part_mask(size_t n)
{
    return n < LANES ? (__mmask16)((1u << n) - 1) : (__mmask16)0xffff;
}

static void avx512_lstm(size_t H, float *g, float *c, float *h)
{
    for (size_t j = 0; j < H; j += LANES)
        lstm_some(H, 0, g + j, c + j, h + j, part_mask(H - j));
}

static void avx512_lstm_hard(size_t H, float slope, float *g, float *c, float *h)
{
    for (size_t j = 0; j < H; j += LANES)
        lstm_some(H, slope, g + j, c + j, h + j, part_mask(H - j));
}

static void avx512_gru(size_t H, float *x, const float *r, float *h)
{
    for (size_t j = 0; j < H; j += LANES)
        gru_some(H, 0, x + j, r + j, h + j, part_mask(H - j));
}

static void avx512_gru_hard(size_t H, float slope, float *x, const float *r, float *h)
{
    for (size_t j = 0; j < H; j += LANES)
        gru_some(H, slope, x + j, r + j, h + j, part_mask(H - j));
}

void kern_avx512_cells_fill(struct kernels *k)
{
    k->lstm = avx512_lstm;
    k->gru = avx512_gru;
    k->lstm_hard = avx512_lstm_hard;
    k->gru_hard = avx512_gru_hard;
}

#endif
