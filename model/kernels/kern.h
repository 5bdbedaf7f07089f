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

/* f32 and bf16 in panels (kern_panels.c): the columns of one panel; the bytes of a line
 * and of a panel. Entries of the variants that read panels. */
enum { PANEL = 16, LINE = 64 };
size_t kern_panel_bytes(enum precision precision, size_t K);
size_t kern_panels_bytes(enum precision precision, size_t N, size_t K);
void kern_panels_pack(struct matrix *m, size_t first, size_t last, const float *w,
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

void kern_ref_fill(struct kernels *k);
void kern_portable_fill(struct kernels *k); /* on top of ref; all but the product */
bool kern_blas_runs_here(void);         /* loads the library the first time; any thread */
void kern_blas_fill(struct kernels *k); /* on top of portable; the product */
void kern_avx2_fill(struct kernels *k); /* everything but attention's tiles */
void kern_avx2_attention_fill(struct kernels *k); /* on top of it: those */
void kern_avx512_fill(struct kernels *k);      /* the product, on avx2's packed layout */
void kern_avx512_bf16_fill(struct kernels *k); /* it with bf16 weights; needs BF16 */
void kern_avx512_matmul(const struct matrix *w, const struct product *p);
void kern_avx512_cells_fill(struct kernels *k);     /* recurrent cells */
void kern_avx512_functions_fill(struct kernels *k); /* GELUs, layer norm */
void kern_avx512_attention_fill(struct kernels *k); /* tiles and softmax */
void kern_int8_fill(struct kernels *k);             /* int8 products, in plain C */
void kern_avx2_int8_fill(struct kernels *k);
void kern_avx512_int8_fill(struct kernels *k); /* needs VNNI */

#endif
