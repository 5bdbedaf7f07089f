/* Functions and rows that AVX-512 has instructions of its own for: both GELUs from a
 * table that lies in registers, and the layer norm. */
#include "model/kernels/kern.h"

#ifdef __x86_64__

#include <immintrin.h>
#include <math.h>

#define ALWAYS_INLINE inline __attribute__((always_inline))

enum { LANES = 16 };

static ALWAYS_INLINE __mmask16 part_mask(size_t n)
{
    return n < LANES ? (__mmask16)((1u << n) - 1) : (__mmask16)0xffff;
}

/* ---- GELUs ---------------------------------------------------------------------------
 */

/* A GELU is x P(x), with P rising from 0 to 1 and P(-x) = 1 - P(x): so it is max(x, 0) -
 * |x| P(-|x|). P(-t) is held as a polynomial of degree 4 for each third of 0..16/3, in
 * u = 3t - i for the i-th: row c holds the factors of u^c. They are Chebyshev fits; the
 * first third begins with exactly 1/2, and the last one ends with 0, which is less than
 * 3e-7 away from there on. */
enum { DEGREE = 4, SEGMENTS = LANES };

static const _Alignas(64) float GELU_ERF[DEGREE + 1][SEGMENTS] = {
    {0.5f, 0.369441301f, 0.252492547f, 0.158655301f, 0.0912112668f, 0.0477903821f,
     0.0227501411f, 0.0098153241f, 0.00383037142f, 0.00134989026f, 0.000429055566f,
     0.000122864047f, 3.16702863e-05f, 7.34309242e-06f, 1.5305277e-06f, 2.86625891e-07f},
    {-0.132977992f, -0.125792429f, -0.106483169f, -0.0806590766f, -0.0546724014f,
     -0.033160571f, -0.0179974493f, -0.00874039344f, -0.00379820168f, -0.00147688994f,
     -0.000513851293f, -0.000159971358f, -4.45614205e-05f, -1.11066893e-05f,
     -2.47694265e-06f, -5.42467205e-07f},
    {-2.67560408e-05f, 0.00697220676f, 0.0118348934f, 0.0134599516f, 0.0121679893f,
     0.00922328606f, 0.00600288855f, 0.00339734508f, 0.00168462365f, 0.000735469162f,
     0.000283640693f, 9.68603781e-05f, 2.93399717e-05f, 7.89386104e-06f, 1.88837384e-06f,
     4.01989979e-07f},
    {0.00254360097f, 0.00211893558f, 0.00108815602f, -4.68656835e-05f, -0.000841262343f,
     -0.00112759124f, -0.00101172703f, -0.00071488478f, -0.000419678283f,
     -0.000209840597f, -9.06002606e-05f, -3.40668485e-05f, -1.12192129e-05f,
     -3.24906409e-06f, -8.29843486e-07f, -1.87346444e-07f},
    {-9.74332288e-05f, -0.000247443269f, -0.000277190527f, -0.000198131529f,
     -7.52877313e-05f, 2.45977935e-05f, 7.14681591e-05f, 7.29953972e-05f, 5.27923585e-05f,
     3.04390833e-05f, 1.46262018e-05f, 5.98720862e-06f, 2.11468023e-06f, 6.49727667e-07f,
     1.74625143e-07f, 4.12205843e-08f},
};

static const _Alignas(64) float GELU_TANH[DEGREE + 1][SEGMENTS] = {
    {0.5f, 0.369452566f, 0.252563208f, 0.158808053f, 0.0913859233f, 0.0478814691f,
     0.022701161f, 0.00966117252f, 0.00365322363f, 0.00121245626f, 0.000348328613f,
     8.53460078e-05f, 1.75604782e-05f, 2.9869002e-06f, 4.13393423e-07f, 4.58223361e-08f},
    {-0.132977933f, -0.125760376f, -0.106401056f, -0.0805929378f, -0.0547034629f,
     -0.0332872272f, -0.0181338415f, -0.00880614575f, -0.00378264207f, -0.00142146065f,
     -0.000461040705f, -0.000127135572f, -2.93389567e-05f, -5.5755313e-06f,
     -8.58616431e-07f, -1.09448671e-07f},
    {-2.73319092e-05f, 0.0069999448f, 0.0118500162f, 0.0134285912f, 0.0121101318f,
     0.00919230748f, 0.00602246542f, 0.00344197894f, 0.00171736965f, 0.000743153156f,
     0.000275659957f, 8.63735695e-05f, 2.24984979e-05f, 4.79287974e-06f, 8.21589992e-07f,
     1.11522724e-07f},
    {0.00255755172f, 0.00212266762f, 0.00107383786f, -6.37862831e-05f, -0.000839953427f,
     -0.00110959844f, -0.000996700954f, -0.000714439666f, -0.000428395637f,
     -0.000217463094f, -9.30718306e-05f, -3.31960291e-05f, -9.72331782e-06f,
     -2.30295609e-06f, -4.34320498e-07f, -6.42398774e-08f},
    {-9.95898881e-05f, -0.000251574995f, -0.000278014282f, -0.000194088687f,
     -7.12462643e-05f, 2.41755788e-05f, 6.80836893e-05f, 7.06708597e-05f, 5.29168465e-05f,
     3.16554433e-05f, 1.54773606e-05f, 6.17588967e-06f, 1.99143278e-06f, 5.12454051e-07f,
     1.03854589e-07f, 1.63551395e-08f},
};

/* NaN passes max as its second operand; 0 times what is below 0 makes a NaN of -INFINITY,
 * and nothing of all else. */
static ALWAYS_INLINE __m512 gelu16(__m512 x, const __m512 *c)
{
    const __m512 zero = _mm512_setzero_ps(), edge = _mm512_set1_ps(0x1.555554p+2f);
    __m512 t = _mm512_min_ps(_mm512_abs_ps(x), edge);
    __m512 thirds = _mm512_mul_ps(t, _mm512_set1_ps(3));
    __m512i i = _mm512_cvttps_epi32(thirds);
    __m512 u = _mm512_sub_ps(thirds, _mm512_cvtepi32_ps(i));
    __m512 p = _mm512_permutexvar_ps(i, c[DEGREE]);
#pragma GCC unroll 4
    for (int d = DEGREE - 1; d >= 0; d--)
        p = _mm512_fmadd_ps(p, u, _mm512_permutexvar_ps(i, c[d]));
    __m512 y = _mm512_fnmadd_ps(t, p, _mm512_max_ps(zero, x));
    return _mm512_fmadd_ps(_mm512_min_ps(x, zero), zero, y);
}

static ALWAYS_INLINE void gelu_all(size_t n, float *x, const float (*table)[SEGMENTS])
{
    __m512 c[DEGREE + 1];
    size_t i = 0;
    for (int d = 0; d <= DEGREE; d++)
        c[d] = _mm512_load_ps(table[d]);
    for (; i + LANES <= n; i += LANES)
        _mm512_storeu_ps(x + i, gelu16(_mm512_loadu_ps(x + i), c));
    if (i < n) {
        __mmask16 real = part_mask(n - i);
        _mm512_mask_storeu_ps(x + i, real, gelu16(_mm512_maskz_loadu_ps(real, x + i), c));
    }
}

static void avx512_gelu_erf(size_t n, float *x)
{
    gelu_all(n, x, GELU_ERF);
}

static void avx512_gelu_tanh(size_t n, float *x)
{
    gelu_all(n, x, GELU_TANH);
}

/* ---- layer norm ----------------------------------------------------------------------
 */

static ALWAYS_INLINE __m512d low(__m512 v)
{
    return _mm512_cvtps_pd(_mm512_castps512_ps256(v));
}

static ALWAYS_INLINE __m512d high(__m512 v)
{
    return _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1));
}

/* A row on its way, 16 floats at a time; of the last ones those in `real` are there. The
 * mean is held in two floats, so that a large one costs no digits. */
struct norm {
    const float *x, *w, *b;
    float *y;
    __m512d sum[2];
    __m512 upper, lower; /* of the mean */
    __m512 scale;
};

static ALWAYS_INLINE void add_some(struct norm *n, size_t i, const __mmask16 real)
{
    __m512 v = _mm512_maskz_loadu_ps(real, n->x + i);
    n->sum[0] = _mm512_add_pd(n->sum[0], low(v));
    n->sum[1] = _mm512_add_pd(n->sum[1], high(v));
}

/* y = x - mean, and the sum of its squares. */
static ALWAYS_INLINE void centre_some(struct norm *n, size_t i, const __mmask16 real)
{
    __m512 v = _mm512_sub_ps(_mm512_maskz_loadu_ps(real, n->x + i), n->upper);
    v = _mm512_maskz_sub_ps(real, v, n->lower);
    _mm512_mask_storeu_ps(n->y + i, real, v);
    n->sum[0] = _mm512_fmadd_pd(low(v), low(v), n->sum[0]);
    n->sum[1] = _mm512_fmadd_pd(high(v), high(v), n->sum[1]);
}

static ALWAYS_INLINE void scale_some(struct norm *n, size_t i, const __mmask16 real)
{
    __m512 v = _mm512_mul_ps(_mm512_maskz_loadu_ps(real, n->y + i), n->scale);
    __m512 shift = n->b ? _mm512_maskz_loadu_ps(real, n->b + i) : _mm512_setzero_ps();
    v = _mm512_fmadd_ps(v, _mm512_maskz_loadu_ps(real, n->w + i), shift);
    _mm512_mask_storeu_ps(n->y + i, real, v);
}

static ALWAYS_INLINE void all_of(struct norm *n, size_t D,
                                 void (*some)(struct norm *, size_t, const __mmask16))
{
    size_t i = 0;
    for (; i + LANES <= D; i += LANES)
        some(n, i, 0xffff);
    if (i < D)
        some(n, i, part_mask(D - i));
}

static ALWAYS_INLINE double take_sum(struct norm *n)
{
    double sum = _mm512_reduce_add_pd(_mm512_add_pd(n->sum[0], n->sum[1]));
    n->sum[0] = n->sum[1] = _mm512_setzero_pd();
    return sum;
}

static void avx512_layer_norm(size_t D, const float *x, const float *w, const float *b,
                              float eps, float *y)
{
    struct norm n = {.x = x, .w = w, .b = b, .y = y};
    n.sum[0] = n.sum[1] = _mm512_setzero_pd();
    all_of(&n, D, add_some);
    double mean = take_sum(&n) / (double)D;
    n.upper = _mm512_set1_ps((float)mean);
    n.lower = _mm512_set1_ps((float)(mean - (float)mean));
    all_of(&n, D, centre_some);
    n.scale = _mm512_set1_ps((float)(1 / sqrt(take_sum(&n) / (double)D + eps)));
    all_of(&n, D, scale_some);
}

void kern_avx512_functions_fill(struct kernels *k)
{
    k->gelu_erf = avx512_gelu_erf;
    k->gelu_tanh = avx512_gelu_tanh;
    k->layer_norm = avx512_layer_norm;
}

#endif
