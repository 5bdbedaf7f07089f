/* Inside model/kernels/ only: how a variant puts its entries into a table.
 *
 * kernels.c fills each table in layers: the reference first, faster variants on top, so
 * no entry is ever empty. A fill function sets the entries its variant has, and the name.
 */
#ifndef SEQ_KERNELS_KERN_H
#define SEQ_KERNELS_KERN_H

#include "model/kernels/kernels.h"

#include <stdint.h>
#include <string.h>

/* Weights of 32 and 16 bits in panels (kern_panels.c): the columns of one panel; the
 * bytes of a line and of a panel. Entries of the variants that read panels. */
enum { PANEL = 16, LINE = 64 };
size_t kern_panel_bytes(enum precision precision, size_t K);
size_t kern_panels_bytes(enum precision precision, size_t N, size_t K);
void kern_panels_pack(struct matrix *m, size_t first, size_t last, const void *w,
                      bool transposed);
void kern_panels_row(const struct matrix *m, size_t n, float *out);

/* A float as bf16, to nearest, ties to even; a NaN stays one. And back, exactly. */
static inline uint16_t kern_bf16(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if (x != x)
        return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static inline float kern_bf16_value(uint16_t half)
{
    uint32_t bits = (uint32_t)half << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* IEEE half precision as a float, exactly. The bits shifted into place read as a number
 * that is 2^112 too small; the largest exponent stands for infinities and NaN. */
static inline float kern_f16_value(uint16_t half)
{
    uint32_t bits = (uint32_t)(half & 0x7fff) << 13;
    float x;
    if ((half & 0x7c00) == 0x7c00)
        bits |= 0x7f800000;
    memcpy(&x, &bits, sizeof x);
    if (bits < 0x7f800000)
        x *= 0x1p112f;
    return half & 0x8000 ? -x : x;
}

/* Weights of 16 bits: whether they are, and one of them as a float. */
static inline bool kern_is_half(enum precision precision)
{
    return precision != PRECISION_F32 && precision != PRECISION_INT8;
}

static inline float kern_half_value(enum precision precision, uint16_t half)
{
    return precision == PRECISION_FILE_F16 ? kern_f16_value(half) : kern_bf16_value(half);
}

/* The 16 bits of w[i], as a matrix holds it; w as pack takes it. */
static inline uint16_t kern_half(enum precision precision, const void *w, size_t i)
{
    return precision == PRECISION_BF16 ? kern_bf16(((const float *)w)[i])
                                       : ((const uint16_t *)w)[i];
}

void kern_ref_fill(struct kernels *k);
void kern_portable_fill(struct kernels *k); /* on top of ref; all but the product */
bool kern_blas_runs_here(void);         /* loads the library the first time; any thread */
void kern_blas_fill(struct kernels *k); /* on top of portable; the product */
void kern_avx2_fill(struct kernels *k); /* everything but attention's tiles */
void kern_avx2_attention_fill(struct kernels *k); /* on top of it: those */
void kern_avx512_fill(struct kernels *k);      /* the product, on avx2's packed layout */
void kern_avx512_bf16_fill(struct kernels *k); /* it with bf16 weights; needs BF16 */
void kern_avx2_matmul(const struct matrix *w, const struct product *p);
void kern_avx512_matmul(const struct matrix *w, const struct product *p);
void kern_avx512_cells_fill(struct kernels *k);     /* recurrent cells */
void kern_avx512_functions_fill(struct kernels *k); /* GELUs, layer norm */
void kern_avx512_attention_fill(struct kernels *k); /* tiles and softmax */
void kern_int8_fill(struct kernels *k);             /* int8 products, in plain C */
void kern_avx2_int8_fill(struct kernels *k);
void kern_avx512_int8_fill(struct kernels *k); /* needs VNNI */

#endif
