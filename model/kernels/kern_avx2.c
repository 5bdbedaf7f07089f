/* Kernels for AVX2 and FMA: packed matrix product, rows, elementwise functions.
 *
 * Elementwise functions do the same operations in every lane; what is left at the end of
 * an array goes through the same code under a mask. */
#ifdef __x86_64__

#include <immintrin.h>
#include <math.h>
#include <stdint.h>

#define vec __m256
enum { LANES = 8, VECTORS = 2, TILE_ROWS = 6 }; /* of a vector; of a panel; of a tile */
#include "model/kernels/kern_product.h"

/* ---- loads and stores of n <= 8 floats ------------------------------------------------
 */

static ALWAYS_INLINE __m256i part_mask(size_t n)
{
    static const int32_t ones_then_zeros[2 * LANES] = {-1, -1, -1, -1, -1, -1, -1, -1};
    return _mm256_loadu_si256((const __m256i *)(ones_then_zeros + LANES - n));
}

static ALWAYS_INLINE __m256 load(const float *p, size_t n)
{
    return n == LANES ? _mm256_loadu_ps(p) : _mm256_maskload_ps(p, part_mask(n));
}

static ALWAYS_INLINE void store(float *p, size_t n, __m256 v)
{
    if (n == LANES)
        _mm256_storeu_ps(p, v);
    else
        _mm256_maskstore_ps(p, part_mask(n), v);
}

static ALWAYS_INLINE __m256 fma8(__m256 a, __m256 b, __m256 c)
{
    return _mm256_fmadd_ps(a, b, c);
}

/* ---- the product (kern_product.h) -----------------------------------------------------
 */

static ALWAYS_INLINE vec vec_set(float x)
{
    return _mm256_set1_ps(x);
}

static ALWAYS_INLINE vec vec_fma(vec a, vec b, vec c)
{
    return _mm256_fmadd_ps(a, b, c);
}

/* As assembly, for which the compiler needs no flag more. */
static ALWAYS_INLINE vec from_f16(const __m128i *eight)
{
    vec out;
    __asm__("vcvtph2ps %1, %0" : "=x"(out) : "m"(*eight));
    return out;
}

static ALWAYS_INLINE vec vec_weights(const char *line, int v, enum part part)
{
    if (part == PART_F16)
        return from_f16((const __m128i *)line + v);
    __m256i bits = _mm256_load_si256((const __m256i *)line + v);
    if (part == PART_LOWER)
        bits = _mm256_slli_epi32(bits, 16);
    if (part == PART_UPPER)
        bits = _mm256_and_si256(bits, _mm256_set1_epi32(-0x10000));
    return _mm256_castsi256_ps(bits);
}

static ALWAYS_INLINE void finish(const struct product *p, size_t row, size_t column,
                                 vec sum)
{
    if (column >= p->last)
        return;
    size_t n = p->last - column < LANES ? p->last - column : LANES;
    float *y = p->y + row * p->ldy + column;
    if (p->bias)
        sum = _mm256_add_ps(sum, load(p->bias + column, n));
    if (p->accumulate)
        sum = _mm256_add_ps(sum, load(y, n));
    store(y, n, sum);
}

/* 8 to 12 sums in flight hide the latency of the FMA, and 16 registers hold no more. */
static size_t tile_panels(size_t rows, size_t left)
{
    static const size_t most[] = {1, 6, 3, 2, 1, 1, 1};
    if (left >= most[rows])
        return most[rows];
    return rows <= 2 && left >= 2 ? 2 : 1;
}

static ALWAYS_INLINE void run_tile(const struct matrix *w, const struct product *p,
                                   const struct spot *s, size_t rows, size_t panels,
                                   const enum line held)
{
    switch (rows << 4 | panels) {
    /* clang-format off */
    case 0x16: tile(w, p, s, 1, 6, held); break;
    case 0x12: tile(w, p, s, 1, 2, held); break;
    case 0x11: tile(w, p, s, 1, 1, held); break;
    case 0x23: tile(w, p, s, 2, 3, held); break;
    case 0x22: tile(w, p, s, 2, 2, held); break;
    case 0x21: tile(w, p, s, 2, 1, held); break;
    case 0x32: tile(w, p, s, 3, 2, held); break;
    case 0x31: tile(w, p, s, 3, 1, held); break;
    case 0x41: tile(w, p, s, 4, 1, held); break;
    case 0x51: tile(w, p, s, 5, 1, held); break;
    case 0x61: tile(w, p, s, 6, 1, held); break;
        /* clang-format on */
    }
}

void kern_avx2_matmul(const struct matrix *w, const struct product *p)
{
    switch (w->precision) {
    case PRECISION_F32:
        product_f32(w, p);
        break;
    case PRECISION_BF16:
    case PRECISION_FILE_BF16:
        product_bf16(w, p);
        break;
    case PRECISION_FILE_F16:
        product_f16(w, p);
        break;
    case PRECISION_INT8: /* matmul_int8 */
        break;
    }
}

/* ---- elementwise functions ------------------------------------------------------------
 */

/* A polynomial in z, coefficients of the highest power first. */
static ALWAYS_INLINE __m256 polynomial(__m256 z, const float *c, const int n)
{
    __m256 sum = _mm256_set1_ps(c[0]);
#pragma GCC unroll 8
    for (int i = 1; i < n; i++)
        sum = fma8(sum, z, _mm256_set1_ps(c[i]));
    return sum;
}

/* x = n ln 2 + r with n = round(x / ln 2), |r| <= ln(2)/2 (Cody & Waite's two-part
 * reduction); returns e^r - 1 = r + r^2 q(r), q minimax for e^r (3.1e-9). */
static ALWAYS_INLINE __m256 reduced_exp(__m256 x, __m256i *n)
{
    static const float q[] = {0.001381445444f, 0.008368781602f, 0.04166839447f,
                              0.1666652009f, 0.4999999341f};
    __m256 whole = _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(0x1.715476p+0f)),
                                   _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m256 r = fma8(whole, _mm256_set1_ps(-0x1.62e43p-1f), x);
    r = fma8(whole, _mm256_set1_ps(0x1.05c61p-29f), r);
    *n = _mm256_cvtps_epi32(whole);
    return fma8(_mm256_mul_ps(r, r), polynomial(r, q, 5), r);
}

/* 2^n times x, by adding n to the exponent bits: right as long as the result is normal.
 */
static ALWAYS_INLINE __m256 scaled(__m256 x, __m256i n)
{
    __m256i bits = _mm256_add_epi32(_mm256_castps_si256(x), _mm256_slli_epi32(n, 23));
    return _mm256_castsi256_ps(bits);
}

static ALWAYS_INLINE __m256 exp8(__m256 x)
{
    const __m256 overflow = _mm256_set1_ps(0x1.62e43p+6f), /* ln of 2^128, rounded up */
        underflow = _mm256_set1_ps(-0x1.5d589ep+6f);       /* ln of 2^-126, rounded up */
    __m256i n;
    __m256 e = reduced_exp(x, &n);
    e = scaled(_mm256_add_ps(e, _mm256_set1_ps(1)), n);
    e = _mm256_blendv_ps(e, _mm256_set1_ps(INFINITY),
                         _mm256_cmp_ps(x, overflow, _CMP_GE_OQ));
    return _mm256_andnot_ps(_mm256_cmp_ps(x, underflow, _CMP_LT_OQ), e);
}

/* t / (t + 2) with t = e^2|x| - 1, which keeps its digits near 0. From 2|x| = 20 on that
 * is 1. NaN passes: min returns its second operand then. */
static ALWAYS_INLINE __m256 tanh8(__m256 x)
{
    const __m256 sign = _mm256_set1_ps(-0.0f), one = _mm256_set1_ps(1);
    __m256 size = _mm256_andnot_ps(sign, x);
    __m256i n;
    __m256 t =
        reduced_exp(_mm256_min_ps(_mm256_set1_ps(20), _mm256_add_ps(size, size)), &n);
    __m256 power = scaled(one, n);
    t = fma8(power, t, _mm256_sub_ps(power, one));
    t = _mm256_div_ps(t, _mm256_add_ps(t, _mm256_set1_ps(2)));
    return _mm256_or_ps(t, _mm256_and_ps(sign, x));
}

static ALWAYS_INLINE __m256 sigmoid8(__m256 x)
{
    const __m256 one = _mm256_set1_ps(1);
    __m256 e = exp8(_mm256_xor_ps(x, _mm256_set1_ps(-0.0f)));
    return _mm256_div_ps(one, _mm256_add_ps(one, e));
}

static ALWAYS_INLINE __m256 relu8(__m256 x)
{
    return _mm256_max_ps(_mm256_setzero_ps(), x);
}

/* erf(x / sqrt 2) = x P(x^2) / Q(x^2), minimax on [0, 5.25] (8.2e-9); +-1 from there on.
 */
static ALWAYS_INLINE __m256 erf8(__m256 x)
{
    static const float p[] = {4.923081046e-8f, 1.27445976e-5f, 0.0003113289562f,
                              0.009201472882f, 0.06490892782f, 0.7978845547f},
                       q[] = {1.252965761e-6f, 6.997419788e-5f, 0.00181041198f,
                              0.02786897947f,  0.2480178166f,   1.0f};
    const __m256 sign = _mm256_set1_ps(-0.0f), edge = _mm256_set1_ps(5.25f);
    __m256 size = _mm256_andnot_ps(sign, x), c = _mm256_min_ps(edge, size);
    __m256 z = _mm256_mul_ps(c, c);
    __m256 y = _mm256_div_ps(_mm256_mul_ps(c, polynomial(z, p, 6)), polynomial(z, q, 6));
    y = _mm256_blendv_ps(y, _mm256_set1_ps(1), _mm256_cmp_ps(size, edge, _CMP_GE_OQ));
    return _mm256_or_ps(y, _mm256_and_ps(sign, x));
}

static ALWAYS_INLINE __m256 gelu_erf8(__m256 x)
{
    __m256 half = _mm256_mul_ps(_mm256_set1_ps(0.5f), x);
    return fma8(half, erf8(x), half);
}

/* 0.5 (1 + tanh u) is sigmoid(2u). */
static ALWAYS_INLINE __m256 gelu_tanh8(__m256 x)
{
    const __m256 one = _mm256_set1_ps(1), c1 = _mm256_set1_ps(-1.5957691216f),
                 c3 = _mm256_set1_ps(-0.0713548162726f);
    __m256 u = _mm256_mul_ps(x, fma8(_mm256_mul_ps(x, x), c3, c1)); /* -2u */
    return _mm256_div_ps(x, _mm256_add_ps(one, exp8(u)));
}

static ALWAYS_INLINE __m256 silu8(__m256 x)
{
    __m256 e = exp8(_mm256_xor_ps(x, _mm256_set1_ps(-0.0f)));
    return _mm256_div_ps(x, _mm256_add_ps(_mm256_set1_ps(1), e));
}

static ALWAYS_INLINE void map(size_t n, float *x, __m256 (*f)(__m256))
{
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        _mm256_storeu_ps(x + i, f(_mm256_loadu_ps(x + i)));
    if (i < n)
        store(x + i, n - i, f(load(x + i, n - i)));
}

static void avx2_exp(size_t n, float *x)
{
    map(n, x, exp8);
}

static void avx2_tanh(size_t n, float *x)
{
    map(n, x, tanh8);
}

static void avx2_sigmoid(size_t n, float *x)
{
    map(n, x, sigmoid8);
}

static void avx2_relu(size_t n, float *x)
{
    map(n, x, relu8);
}

static void avx2_gelu_erf(size_t n, float *x)
{
    map(n, x, gelu_erf8);
}

static void avx2_gelu_tanh(size_t n, float *x)
{
    map(n, x, gelu_tanh8);
}

static void avx2_silu(size_t n, float *x)
{
    map(n, x, silu8);
}

static void avx2_add(size_t n, const float *x, float *y)
{
    for (size_t i = 0; i < n; i += LANES) {
        size_t part = n - i < LANES ? n - i : LANES;
        store(y + i, part, _mm256_add_ps(load(y + i, part), load(x + i, part)));
    }
}

static void avx2_mul(size_t n, const float *x, float *y)
{
    for (size_t i = 0; i < n; i += LANES) {
        size_t part = n - i < LANES ? n - i : LANES;
        store(y + i, part, _mm256_mul_ps(load(y + i, part), load(x + i, part)));
    }
}

/* ---- rows: norms, rotary positions
 * --------------------------------------------------------
 */

static ALWAYS_INLINE double sum_of(__m256d v)
{
    __m128d s = _mm_add_pd(_mm256_castpd256_pd128(v), _mm256_extractf128_pd(v, 1));
    return _mm_cvtsd_f64(_mm_add_sd(s, _mm_unpackhi_pd(s, s)));
}

static ALWAYS_INLINE __m256d low(__m256 v)
{
    return _mm256_cvtps_pd(_mm256_castps256_ps128(v));
}

static ALWAYS_INLINE __m256d high(__m256 v)
{
    return _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1));
}

static ALWAYS_INLINE size_t part_of(size_t n, size_t i)
{
    return n - i < LANES ? n - i : LANES;
}

/* x - mean with the mean in two floats, so that a large mean costs no digits. */
static ALWAYS_INLINE __m256 centred(__m256 x, double mean)
{
    float hi = (float)mean, lo = (float)(mean - hi);
    return _mm256_sub_ps(_mm256_sub_ps(x, _mm256_set1_ps(hi)), _mm256_set1_ps(lo));
}

static void avx2_layer_norm(size_t D, const float *x, const float *w, const float *b,
                            float eps, float *y)
{
    __m256d sums = _mm256_setzero_pd(), squares = _mm256_setzero_pd();
    for (size_t i = 0; i < D; i += LANES) {
        __m256 v = load(x + i, part_of(D, i));
        sums = _mm256_add_pd(sums, _mm256_add_pd(low(v), high(v)));
    }
    double mean = sum_of(sums) / (double)D;
    for (size_t i = 0; i < D; i += LANES) {
        size_t part = part_of(D, i);
        __m256 v = centred(load(x + i, part), mean);
        v = _mm256_and_ps(v, _mm256_castsi256_ps(part_mask(part)));
        squares = _mm256_fmadd_pd(low(v), low(v), squares);
        squares = _mm256_fmadd_pd(high(v), high(v), squares);
    }
    double inv = 1 / sqrt(sum_of(squares) / (double)D + eps);
    const __m256 scale = _mm256_set1_ps((float)inv);
    for (size_t i = 0; i < D; i += LANES) {
        size_t part = part_of(D, i);
        __m256 v = _mm256_mul_ps(centred(load(x + i, part), mean), scale);
        __m256 shift = b ? load(b + i, part) : _mm256_setzero_ps();
        store(y + i, part, fma8(v, load(w + i, part), shift));
    }
}

static void avx2_rms_norm(size_t D, const float *x, const float *w, float eps, float *y)
{
    __m256d squares = _mm256_setzero_pd();
    for (size_t i = 0; i < D; i += LANES) {
        __m256 v = load(x + i, part_of(D, i));
        squares = _mm256_fmadd_pd(low(v), low(v), squares);
        squares = _mm256_fmadd_pd(high(v), high(v), squares);
    }
    double inv = 1 / sqrt(sum_of(squares) / (double)D + eps);
    const __m256 scale = _mm256_set1_ps((float)inv);
    for (size_t i = 0; i < D; i += LANES) {
        size_t part = part_of(D, i);
        __m256 v = _mm256_mul_ps(load(x + i, part), scale);
        store(y + i, part, _mm256_mul_ps(v, load(w + i, part)));
    }
}

static void avx2_rotate(size_t E, const float *cos, const float *sin, float *x)
{
    float *y = x + E / 2;
    for (size_t i = 0; i < E / 2; i += LANES) {
        size_t part = part_of(E / 2, i);
        __m256 a = load(x + i, part), b = load(y + i, part);
        __m256 c = load(cos + i, part), s = load(sin + i, part);
        store(x + i, part, _mm256_fmsub_ps(a, c, _mm256_mul_ps(b, s)));
        store(y + i, part, fma8(b, c, _mm256_mul_ps(a, s)));
    }
}

/* ---- weighted rows --------------------------------------------------------------------
 */

/* `width` floats of acc, in whole vectors and a last one of `part` lanes; `vectors` is a
 * constant at every call. */
static ALWAYS_INLINE void weigh_columns(size_t n, const float *p, const float *v,
                                        size_t ld, float *acc, const int vectors,
                                        const size_t part)
{
    __m256 sum[LANES];
#pragma GCC unroll 8
    for (int i = 0; i < vectors; i++)
        sum[i] = load(acc + i * LANES, part);
    for (size_t j = 0; j < n; j++, v += ld) {
        __m256 weight = _mm256_broadcast_ss(p + j);
#pragma GCC unroll 8
        for (int i = 0; i < vectors; i++)
            sum[i] = fma8(weight, load(v + i * LANES, part), sum[i]);
    }
#pragma GCC unroll 8
    for (int i = 0; i < vectors; i++)
        store(acc + i * LANES, part, sum[i]);
}

static void avx2_weigh(size_t n, size_t E, const float *p, const float *v, size_t ld,
                       float *acc)
{
    size_t e = 0;
    for (; e + 8 * LANES <= E; e += 8 * LANES)
        weigh_columns(n, p, v + e, ld, acc + e, 8, LANES);
    for (; e + 4 * LANES <= E; e += 4 * LANES)
        weigh_columns(n, p, v + e, ld, acc + e, 4, LANES);
    for (; e + LANES <= E; e += LANES)
        weigh_columns(n, p, v + e, ld, acc + e, 1, LANES);
    if (e < E)
        weigh_columns(n, p, v + e, ld, acc + e, 1, E - e);
}

/* ---- recurrent cells ------------------------------------------------------------------
 */

/* A sigmoid, or with a slope the hard one. min and max give their second operand if one
 * is NaN. */
static ALWAYS_INLINE __m256 gate8(__m256 x, const float slope)
{
    if (slope == 0)
        return sigmoid8(x);
    __m256 y = fma8(_mm256_set1_ps(slope), x, _mm256_set1_ps(0.5f));
    return _mm256_min_ps(_mm256_set1_ps(1), _mm256_max_ps(_mm256_setzero_ps(), y));
}

static ALWAYS_INLINE void lstm_some(size_t H, const float slope, float *g, float *c,
                                    float *h, const size_t n)
{
    __m256 i = gate8(load(g, n), slope), f = gate8(load(g + H, n), slope);
    __m256 z = tanh8(load(g + 2 * H, n)), o = gate8(load(g + 3 * H, n), slope);
    __m256 cell = fma8(f, load(c, n), _mm256_mul_ps(i, z));
    store(g, n, i);
    store(g + H, n, f);
    store(g + 2 * H, n, z);
    store(g + 3 * H, n, o);
    store(c, n, cell);
    store(h, n, _mm256_mul_ps(o, tanh8(cell)));
}

static ALWAYS_INLINE void lstm_all(size_t H, const float slope, float *g, float *c,
                                   float *h)
{
    size_t j = 0;
    for (; j + LANES <= H; j += LANES)
        lstm_some(H, slope, g + j, c + j, h + j, LANES);
    if (j < H)
        lstm_some(H, slope, g + j, c + j, h + j, H - j);
}

static void avx2_lstm(size_t H, float *g, float *c, float *h)
{
    lstm_all(H, 0, g, c, h);
}

static void avx2_lstm_hard(size_t H, float slope, float *g, float *c, float *h)
{
    lstm_all(H, slope, g, c, h);
}

static ALWAYS_INLINE void gru_some(size_t H, const float slope, float *x, const float *u,
                                   float *h, const size_t n)
{
    __m256 r = gate8(_mm256_add_ps(load(x, n), load(u, n)), slope);
    __m256 z = gate8(_mm256_add_ps(load(x + H, n), load(u + H, n)), slope);
    __m256 c = tanh8(fma8(r, load(u + 2 * H, n), load(x + 2 * H, n)));
    __m256 keep = _mm256_mul_ps(z, load(h, n));
    store(x, n, r);
    store(x + H, n, z);
    store(x + 2 * H, n, c);
    store(h, n, fma8(_mm256_sub_ps(_mm256_set1_ps(1), z), c, keep));
}

static ALWAYS_INLINE void gru_all(size_t H, const float slope, float *x, const float *u,
                                  float *h)
{
    size_t j = 0;
    for (; j + LANES <= H; j += LANES)
        gru_some(H, slope, x + j, u + j, h + j, LANES);
    if (j < H)
        gru_some(H, slope, x + j, u + j, h + j, H - j);
}

static void avx2_gru(size_t H, float *x, const float *r, float *h)
{
    gru_all(H, 0, x, r, h);
}

static void avx2_gru_hard(size_t H, float slope, float *x, const float *r, float *h)
{
    gru_all(H, slope, x, r, h);
}

void kern_avx2_fill(struct kernels *k)
{
    *k = (struct kernels){.name = "avx2",
                          .matrix_bytes = kern_panels_bytes,
                          .pack = kern_panels_pack,
                          .row = kern_panels_row,
                          .matmul = kern_avx2_matmul,
                          .weigh = avx2_weigh,
                          .layer_norm = avx2_layer_norm,
                          .rms_norm = avx2_rms_norm,
                          .rotate = avx2_rotate,
                          .add = avx2_add,
                          .mul = avx2_mul,
                          .exp = avx2_exp,
                          .tanh = avx2_tanh,
                          .sigmoid = avx2_sigmoid,
                          .relu = avx2_relu,
                          .gelu_erf = avx2_gelu_erf,
                          .gelu_tanh = avx2_gelu_tanh,
                          .silu = avx2_silu,
                          .lstm = avx2_lstm,
                          .gru = avx2_gru,
                          .lstm_hard = avx2_lstm_hard,
                          .gru_hard = avx2_gru_hard};
}

#endif
