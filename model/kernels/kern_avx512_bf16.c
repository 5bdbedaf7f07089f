/* The matrix product for AVX-512 with BF16, with bf16 weights.
 *
 * A line of a bf16 panel holds two k of 16 columns, in the order in which vdpbf16ps
 * multiplies and adds them in one step. So the tiles of kern_product.h run over such
 * lines as if each were one k, with two neighbours of x in the place of a float. x is
 * rounded to bf16 for that, once per call. */
#ifdef __x86_64__

#include "model/kernels/kern_avx512_product.h"

/* Floats' worth of rounded pairs of x that a call holds at a time: those of a text of 128
 * tokens up to K = 1024. */
enum { ROUNDED = 64 * 1024 };

/* Both products are exact; each is added with one rounding. As assembly, so that gcc
 * keeps the sums in registers. */
static ALWAYS_INLINE vec vec_fma(vec a, vec b, vec c)
{
    __asm__("vdpbf16ps %2, %1, %0" : "+v"(c) : "v"(a), "v"(b));
    return c;
}

static ALWAYS_INLINE vec vec_weights(const char *line, int v, enum part part)
{
    (void)part;
    return _mm512_load_ps(line + (size_t)v * LINE);
}

/* x [K] as bf16, to nearest, ties to even; zeros up to a whole line. */
__attribute__((target("avx512bf16"))) static void round_row(size_t K, const float *x,
                                                            float *out)
{
    for (size_t k = 0; k < K; k += 2 * PANEL, out += PANEL) {
        size_t n = K - k;
        __mmask32 real = n < 2 * PANEL ? (1u << n) - 1 : UINT32_MAX;
        __m512 low = _mm512_maskz_loadu_ps((__mmask16)real, x + k);
        __m512 high = _mm512_maskz_loadu_ps((__mmask16)(real >> PANEL), x + k + PANEL);
        _mm512_store_ps(out, (__m512)_mm512_cvtne2ps_pbh(high, low));
    }
}

static void product_pairs(const struct matrix *w, const struct product *p)
{
    _Alignas(LINE) float rounded[ROUNDED];
    const struct matrix pairs = {w->N, w->K / 2 + w->K % 2, PRECISION_F32, w->data};
    struct product part = *p;
    part.x = rounded;
    part.ldx = (pairs.K + PANEL - 1) / PANEL * PANEL;
    for (size_t m = 0; m < p->M; m += part.M) {
        size_t most = part.ldx ? ROUNDED / part.ldx : p->M;
        part.M = p->M - m < most ? p->M - m : most;
        part.y = p->y + m * p->ldy;
        for (size_t r = 0; r < part.M; r++)
            round_row(w->K, p->x + (m + r) * p->ldx, rounded + r * part.ldx);
        product_f32(&pairs, &part);
    }
}

/* Of a longer K too few rows would fit. The choice is by K alone, so a row has the same
 * bits in any batch. */
static void avx512_bf16_matmul(const struct matrix *w, const struct product *p)
{
    if (w->precision == PRECISION_BF16 && w->K <= ROUNDED / 4)
        product_pairs(w, p);
    else
        kern_avx512_matmul(w, p);
}

void kern_avx512_bf16_fill(struct kernels *k)
{
    k->matmul = avx512_bf16_matmul;
}

#endif
