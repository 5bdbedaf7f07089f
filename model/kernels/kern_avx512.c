/* Kernels for AVX-512, on top of those for AVX2: the matrix product.
 *
 * Same packed layout and same arithmetic as kern_avx2.c, one vector per panel of 16
 * columns, and 32 registers: a tile holds up to 6 rows x 4 panels. */
#include "model/kernels/kern.h"

#ifdef __x86_64__

#include <immintrin.h>

#define ALWAYS_INLINE inline __attribute__((always_inline))

enum { PANEL = 16, TILE_ROWS = 6, MAX_PANELS = 8 };

/* y [n] = sum + bias + y, for the n <= 16 real columns of one panel of one row. */
static ALWAYS_INLINE void finish(const struct product *p, size_t row, size_t column,
                                 __m512 sum)
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

/* `rows` rows from `row` on, times `panels` panels from `column` on. Both counts are
 * constants at every call, so that the sums live in registers. Tall tiles leave the
 * memory idle: they fetch the next panels on the way. */
static ALWAYS_INLINE void tile(const struct matrix *w, const struct product *p,
                               size_t row, size_t column, const int rows,
                               const int panels)
{
    const size_t K = w->K, ldx = p->ldx;
    const float *x = p->x + row * ldx, *data = (const float *)w->data + column * K;
    const size_t width = (size_t)panels * PANEL;
    const size_t ahead = column + 2 * width <= w->N ? width * K : 0;
    __m512 sum[TILE_ROWS][MAX_PANELS];
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (int v = 0; v < panels; v++)
            sum[r][v] = _mm512_setzero_ps();
    for (size_t k = 0; k < K; k++) {
        const float *at = data + k * PANEL;
        __m512 weights[MAX_PANELS];
#pragma GCC unroll 8
        for (int v = 0; v < panels; v++) {
            if (rows > 3)
                _mm_prefetch((const char *)(at + ahead + (size_t)v * PANEL * K),
                             _MM_HINT_T1);
            weights[v] = _mm512_load_ps(at + (size_t)v * PANEL * K);
        }
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++) {
            __m512 in = _mm512_set1_ps(x[(size_t)r * ldx + k]);
#pragma GCC unroll 8
            for (int v = 0; v < panels; v++)
                sum[r][v] = _mm512_fmadd_ps(in, weights[v], sum[r][v]);
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (int v = 0; v < panels; v++)
            finish(p, row + (size_t)r, column + (size_t)v * PANEL, sum[r][v]);
}

/* One or two rows times eight panels, more rows times four. */
static void wide_tile(const struct matrix *w, const struct product *p, size_t row,
                      size_t column, size_t rows)
{
    switch (rows) {
    case 1:
        tile(w, p, row, column, 1, 8);
        break;
    case 2:
        tile(w, p, row, column, 2, 8);
        break;
    case 3:
        tile(w, p, row, column, 3, 4);
        break;
    case 4:
        tile(w, p, row, column, 4, 4);
        break;
    case 5:
        tile(w, p, row, column, 5, 4);
        break;
    default:
        tile(w, p, row, column, 6, 4);
        break;
    }
}

/* The columns that are left over, a panel at a time. */
static void narrow_tile(const struct matrix *w, const struct product *p, size_t row,
                        size_t column, size_t rows)
{
    switch (rows) {
    case 1:
        tile(w, p, row, column, 1, 1);
        break;
    case 2:
        tile(w, p, row, column, 2, 1);
        break;
    case 3:
        tile(w, p, row, column, 3, 1);
        break;
    case 4:
        tile(w, p, row, column, 4, 1);
        break;
    case 5:
        tile(w, p, row, column, 5, 1);
        break;
    default:
        tile(w, p, row, column, 6, 1);
        break;
    }
}

/* Rows first..last-1 in tiles of nearly equal height; the panels stay in the cache while
 * all tiles use them. */
static void some_rows(const struct matrix *w, const struct product *p, size_t first,
                      size_t last)
{
    size_t M = last - first, tiles = (M + TILE_ROWS - 1) / TILE_ROWS;
    size_t wide = (M <= 2 ? 8 : 4) * PANEL;
    for (size_t column = p->first; column < p->last;) {
        bool fits = p->last - column >= wide;
        size_t row = first;
        for (size_t t = 0; t < tiles; t++) {
            size_t rows = M / tiles + (t < M % tiles);
            if (fits)
                wide_tile(w, p, row, column, rows);
            else
                narrow_tile(w, p, row, column, rows);
            row += rows;
        }
        column += fits ? wide : PANEL;
    }
}

/* Rows are taken in blocks of nearly equal height whose part of x stays in the
 * second-level cache. */
static void avx512_matmul(const struct matrix *w, const struct product *p)
{
    enum { BLOCK_FLOATS = 64 * 1024, MIN_BLOCK = 4 * TILE_ROWS };
    size_t block = BLOCK_FLOATS / (w->K + 1) / TILE_ROWS * TILE_ROWS;
    if (block < MIN_BLOCK)
        block = MIN_BLOCK;
    size_t blocks = (p->M + block - 1) / block;
    if (blocks > 0)
        block = (p->M + blocks - 1) / blocks;
    for (size_t row = 0; row < p->M; row += block)
        some_rows(w, p, row, p->M - row < block ? p->M : row + block);
}

void kern_avx512_fill(struct kernels *k)
{
    k->name = "avx512";
    k->matmul = avx512_matmul;
}

#endif
