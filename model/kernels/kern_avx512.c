/* The matrix product for AVX-512, with weights of 32 and 16 bits, on the panels of AVX2.
 */
#ifdef __x86_64__

#include "model/kernels/kern_avx512_product.h"

static ALWAYS_INLINE vec vec_fma(vec a, vec b, vec c)
{
    return _mm512_fmadd_ps(a, b, c);
}

static ALWAYS_INLINE vec vec_weights(const char *line, int v, enum part part)
{
    if (part == PART_F16)
        return _mm512_cvtph_ps(_mm256_load_si256((const __m256i *)line + v));
    __m512i bits = _mm512_load_si512((const __m512i *)line + v);
    if (part == PART_LOWER)
        bits = _mm512_slli_epi32(bits, 16);
    if (part == PART_UPPER)
        bits = _mm512_and_si512(bits, _mm512_set1_epi32(-0x10000));
    return _mm512_castsi512_ps(bits);
}

/* Up to so many rows of f16 are as fast as f16 becomes f32, which two vectors of 8 do
 * sooner than one of 16. The bits are the same. */
enum { NARROW_ROWS = 2 };

void kern_avx512_matmul(const struct matrix *w, const struct product *p)
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
        if (p->M <= NARROW_ROWS)
            kern_avx2_matmul(w, p);
        else
            product_f16(w, p);
        break;
    case PRECISION_INT8: /* matmul_int8 */
        break;
    }
}

void kern_avx512_fill(struct kernels *k)
{
    k->name = "avx512";
    k->matmul = kern_avx512_matmul;
}

#endif
