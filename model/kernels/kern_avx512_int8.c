/* Kernels for AVX-512 with VNNI: the product with int8 weights, four bytes of each lane
 * in one instruction. A tile holds up to 6 rows x 4 panels. */
#ifdef __x86_64__

#include <immintrin.h>

#define vec __m512i
enum { VECTORS = 1, TILE_ROWS = 6 }; /* per line of a panel */
#include "model/kernels/kern_int8_product.h"

#include "model/kernels/kern.h"

enum { LANES = 16 };

static ALWAYS_INLINE vec vec_zero(void)
{
    return _mm512_setzero_si512();
}

static ALWAYS_INLINE vec vec_bytes(int32_t q)
{
    return _mm512_set1_epi32(q);
}

/* As assembly, because gcc 12 copies the sums back and forth around the intrinsic. */
static ALWAYS_INLINE vec vec_dot(vec sum, vec q, vec w)
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(q), "v"(w));
    return sum;
}

static ALWAYS_INLINE vec vec_load(const char *line, int v)
{
    return _mm512_load_si512((const __m512i *)line + v);
}

static ALWAYS_INLINE __mmask16 part_mask(size_t n)
{
    return n < LANES ? (__mmask16)((1u << n) - 1) : 0xffff;
}

static ALWAYS_INLINE void finish(const struct job *j, size_t row, size_t column,
                                 const struct int8_head *head, int v, vec sum)
{
    (void)v;
    const struct product *p = j->p;
    const struct quantised_row *in = &j->x->rows[row];
    const __mmask16 real = part_mask(p->last - column);
    float *y = p->y + row * p->ldy + column;
    __m512i zeros = _mm512_mullo_epi32(_mm512_set1_epi32(in->zero),
                                       _mm512_load_si512((const __m512i *)head->sum));
    __m512 s = _mm512_cvtepi32_ps(_mm512_sub_epi32(sum, zeros));
    s = _mm512_mul_ps(s, _mm512_load_ps(head->scale));
    s = _mm512_mul_ps(s, _mm512_set1_ps(in->scale));
    if (p->bias)
        s = _mm512_add_ps(s, _mm512_maskz_loadu_ps(real, p->bias + column));
    if (p->accumulate)
        s = _mm512_add_ps(s, _mm512_maskz_loadu_ps(real, y));
    _mm512_mask_storeu_ps(y, real, s);
}

static size_t tile_panels(size_t rows, size_t left)
{
    if (rows <= 2 && left >= 8)
        return 8;
    return left >= 4 ? 4 : left >= 2 ? 2 : 1;
}

static ALWAYS_INLINE void run_tile(const struct job *j, size_t row, size_t column,
                                   size_t rows, size_t panels)
{
    switch (rows << 4 | panels) {
    /* clang-format off */
    case 0x18: tile(j, row, column, 1, 8); break;
    case 0x14: tile(j, row, column, 1, 4); break;
    case 0x12: tile(j, row, column, 1, 2); break;
    case 0x11: tile(j, row, column, 1, 1); break;
    case 0x28: tile(j, row, column, 2, 8); break;
    case 0x24: tile(j, row, column, 2, 4); break;
    case 0x22: tile(j, row, column, 2, 2); break;
    case 0x21: tile(j, row, column, 2, 1); break;
    case 0x34: tile(j, row, column, 3, 4); break;
    case 0x32: tile(j, row, column, 3, 2); break;
    case 0x31: tile(j, row, column, 3, 1); break;
    case 0x44: tile(j, row, column, 4, 4); break;
    case 0x42: tile(j, row, column, 4, 2); break;
    case 0x41: tile(j, row, column, 4, 1); break;
    case 0x54: tile(j, row, column, 5, 4); break;
    case 0x52: tile(j, row, column, 5, 2); break;
    case 0x51: tile(j, row, column, 5, 1); break;
    case 0x64: tile(j, row, column, 6, 4); break;
    case 0x62: tile(j, row, column, 6, 2); break;
    case 0x61: tile(j, row, column, 6, 1); break;
        /* clang-format on */
    }
}

/* ---- rows ------------------------------------------------------------------------- */

static void avx512_quantise(size_t K, const float *x, uint8_t *q,
                            struct quantised_row *row)
{
    const __m512 none = _mm512_setzero_ps();
    __m512 lo = none, hi = none, bad = none;
    float inverse;
    for (size_t k = 0; k < K; k += LANES) {
        __m512 v = _mm512_maskz_loadu_ps(part_mask(K - k), x + k);
        lo = _mm512_min_ps(v, lo);
        hi = _mm512_max_ps(v, hi);
        bad = _mm512_fmadd_ps(v, none, bad);
    }
    *row = kern_int8_steps(_mm512_reduce_min_ps(lo), _mm512_reduce_max_ps(hi),
                           _mm512_reduce_add_ps(bad), &inverse);
    const __m512 by = _mm512_set1_ps(inverse);
    const __m512i zero = _mm512_set1_epi32(row->zero);
    for (size_t k = 0; k < K; k += LANES) {
        __mmask16 in = part_mask(K - k), out = part_mask((K - k + 3) / 4 * 4);
        __m512 v = _mm512_maskz_loadu_ps(in, x + k);
        __m512i steps = _mm512_add_epi32(_mm512_cvtps_epi32(_mm512_mul_ps(v, by)), zero);
        _mm_mask_storeu_epi8(q + k, out, _mm512_cvtusepi32_epi8(steps));
    }
}

void kern_avx512_int8_fill(struct kernels *k)
{
    k->quantise = avx512_quantise;
    k->matmul_int8 = product_int8;
}

#endif
