/* Inside model/kernels/ only: what the products of AVX-512 on panels share, whatever they
 * multiply (kern_product.h): one vector per panel and 32 registers, so that a tile holds
 * up to 6 rows x 4 panels or 8 x 3. A file that includes this defines vec_fma and
 * vec_weights. */
#ifndef SEQ_KERNELS_KERN_AVX512_PRODUCT_H
#define SEQ_KERNELS_KERN_AVX512_PRODUCT_H

#ifdef __AVX512F__

#include <immintrin.h>

#define vec __m512
enum { VECTORS = 1, TILE_ROWS = 8 }; /* per panel; of a tile */
#include "model/kernels/kern_product.h"

static ALWAYS_INLINE vec vec_set(float x)
{
    return _mm512_set1_ps(x);
}

static ALWAYS_INLINE void finish(const struct product *p, size_t row, size_t column,
                                 vec sum)
{
    size_t n = p->last - column;
    __mmask16 real = n < PANEL ? (__mmask16)((1u << n) - 1) : 0xffff;
    float *y = p->y + row * p->ldy + column;
    if (p->bias)
        sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(real, p->bias + column));
    if (p->accumulate)
        sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(real, y));
    _mm512_mask_storeu_ps(y, real, sum);
}

/* Four sums hide the latency of the FMA, and more streams than four slow memory down. Of
 * 7 and 8 rows one tile of fewer panels reads weights from memory once instead of twice.
 */
static size_t tile_panels(size_t rows, size_t left)
{
    if (rows > 6)
        return left < 3 ? left : 3;
    return left >= 4 ? 4 : left >= 2 ? 2 : 1;
}

static ALWAYS_INLINE void run_tile(const struct matrix *w, const struct product *p,
                                   const struct spot *s, size_t rows, size_t panels,
                                   const enum line held)
{
    switch (rows << 4 | panels) {
    /* clang-format off */
    case 0x14: tile(w, p, s, 1, 4, held); break;
    case 0x12: tile(w, p, s, 1, 2, held); break;
    case 0x11: tile(w, p, s, 1, 1, held); break;
    case 0x24: tile(w, p, s, 2, 4, held); break;
    case 0x22: tile(w, p, s, 2, 2, held); break;
    case 0x21: tile(w, p, s, 2, 1, held); break;
    case 0x34: tile(w, p, s, 3, 4, held); break;
    case 0x32: tile(w, p, s, 3, 2, held); break;
    case 0x31: tile(w, p, s, 3, 1, held); break;
    case 0x44: tile(w, p, s, 4, 4, held); break;
    case 0x42: tile(w, p, s, 4, 2, held); break;
    case 0x41: tile(w, p, s, 4, 1, held); break;
    case 0x54: tile(w, p, s, 5, 4, held); break;
    case 0x52: tile(w, p, s, 5, 2, held); break;
    case 0x51: tile(w, p, s, 5, 1, held); break;
    case 0x64: tile(w, p, s, 6, 4, held); break;
    case 0x62: tile(w, p, s, 6, 2, held); break;
    case 0x61: tile(w, p, s, 6, 1, held); break;
    case 0x63: tile(w, p, s, 6, 3, held); break;
    case 0x73: tile(w, p, s, 7, 3, held); break;
    case 0x72: tile(w, p, s, 7, 2, held); break;
    case 0x71: tile(w, p, s, 7, 1, held); break;
    case 0x83: tile(w, p, s, 8, 3, held); break;
    case 0x82: tile(w, p, s, 8, 2, held); break;
    case 0x81: tile(w, p, s, 8, 1, held); break;
        /* clang-format on */
    }
}

#endif
#endif
