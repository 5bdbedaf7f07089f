/* Inside model/kernels/ only: the product with int8 weights (layout: kern_int8.h), for
 * the files of one vector width each, which include this once.
 *
 * Such a file defines before: vec, its type of integer vector (without it this header is
 * empty); VECTORS, how many of them hold one line of a panel; TILE_ROWS, the most rows of
 * a tile; after: the functions that are only declared here, which all end up inside the
 * loops of tile(). */
#ifndef SEQ_KERNELS_KERN_INT8_PRODUCT_H
#define SEQ_KERNELS_KERN_INT8_PRODUCT_H

#include "model/kernels/kern_int8.h"

#ifdef vec

#include <immintrin.h>
#include <string.h>

#define ALWAYS_INLINE inline __attribute__((always_inline))

enum {
    MAX_VECTORS = 12,
    SHORT_ROWS = 3,           /* tiles up to here are bound by memory */
    BLOCK_BYTES = 256 * 1024, /* of rows that stay in the second-level cache */
    MIN_BLOCK = 4 * TILE_ROWS /* rows */
};

/* All zero; four bytes of a row in every lane; sum += q * w over the four bytes of each
 * lane, modulo 2^32. */
static ALWAYS_INLINE vec vec_zero(void);
static ALWAYS_INLINE vec vec_bytes(int32_t q);
static ALWAYS_INLINE vec vec_dot(vec sum, vec q, vec w);
static ALWAYS_INLINE vec vec_load(const char *line, int v);

/* One call. */
struct job {
    const struct matrix *w;
    const struct quantised *x;
    const struct product *p;
    size_t lines, panel; /* of weights in a panel; its bytes */
};

/* y [row, the vector v of the panel at `column`] from its sum, for columns < p->last. */
static ALWAYS_INLINE void finish(const struct job *j, size_t row, size_t column,
                                 const struct int8_head *head, int v, vec sum);

/* How many panels a tile of so many rows takes where `left` > 0 are to do: what registers
 * hold, of the counts that run_tile knows; and tile() with these two as constants. */
static size_t tile_panels(size_t rows, size_t left);
static ALWAYS_INLINE void run_tile(const struct job *j, size_t row, size_t column,
                                   size_t rows, size_t panels);

/* `rows` rows times `panels` panels; both are constants at every call, so that the sums
 * live in registers. Tall tiles leave the memory idle: they fetch the next panels on the
 * way. */
static ALWAYS_INLINE void tile(const struct job *j, size_t row, size_t column,
                               const int rows, const int panels)
{
    const size_t panel = j->panel, ld = j->x->ld;
    const size_t width = (size_t)panels * INT8_PANEL;
    const size_t ahead = column + 2 * width <= j->w->N ? (size_t)panels * panel : 0;
    const char *base = (const char *)j->w->data + column / INT8_PANEL * panel;
    const char *at = base + INT8_HEAD;
    const uint8_t *q = j->x->q + row * ld;
    vec sum[TILE_ROWS][MAX_VECTORS];
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 12
        for (int v = 0; v < panels * VECTORS; v++)
            sum[r][v] = vec_zero();
    for (const char *end = at + j->lines * INT8_LINE; at < end; at += INT8_LINE) {
        vec w[MAX_VECTORS];
#pragma GCC unroll 12
        for (int v = 0; v < panels * VECTORS; v++) {
            if (rows > SHORT_ROWS && v % VECTORS == 0)
                _mm_prefetch(at + ahead + (size_t)(v / VECTORS) * panel, _MM_HINT_T1);
            w[v] = vec_load(at + (size_t)(v / VECTORS) * panel, v % VECTORS);
        }
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++) {
            int32_t four;
            memcpy(&four, q + (size_t)r * ld, sizeof four);
            vec in = vec_bytes(four);
#pragma GCC unroll 12
            for (int v = 0; v < panels * VECTORS; v++)
                sum[r][v] = vec_dot(sum[r][v], in, w[v]);
        }
        q += INT8_GROUP;
    }
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 12
        for (int v = 0; v < panels * VECTORS; v++)
            finish(j, row + (size_t)r, column + (size_t)(v / VECTORS) * INT8_PANEL,
                   (const struct int8_head *)(base + (size_t)(v / VECTORS) * panel),
                   v % VECTORS, sum[r][v]);
}

/* The activation of what tiles have just stored, while it is in the first-level cache. */
static void activate(const struct product *p, size_t row, size_t column, size_t rows,
                     size_t panels)
{
    size_t n =
        p->last - column < panels * INT8_PANEL ? p->last - column : panels * INT8_PANEL;
    for (size_t r = row; r < row + rows; r++)
        p->act(n, p->y + r * p->ldy + column);
}

/* Rows first..last-1 in tiles of nearly equal height; the panels stay in the cache while
 * all tiles use them. */
static void some_rows(const struct job *j, size_t first, size_t last)
{
    size_t M = last - first, tiles = (M + TILE_ROWS - 1) / TILE_ROWS;
    size_t tallest = (M + tiles - 1) / tiles, panels;
    for (size_t column = j->p->first; column < j->p->last;
         column += panels * INT8_PANEL) {
        size_t left = (j->p->last - column + INT8_PANEL - 1) / INT8_PANEL, row = first;
        panels = tile_panels(tallest, left);
        for (size_t t = 0; t < tiles; t++) {
            size_t rows = M / tiles + (t < M % tiles);
            run_tile(j, row, column, rows, panels);
            if (j->p->act)
                activate(j->p, row, column, rows, panels);
            row += rows;
        }
    }
}

/* Rows are taken in blocks of nearly equal height that stay in the second-level cache. */
static void product_int8(const struct matrix *w, const struct quantised *x,
                         const struct product *p)
{
    struct job j = {.w = w, .x = x, .p = p, .panel = kern_int8_panel(w->K)};
    j.lines = (j.panel - INT8_HEAD) / INT8_LINE;
    size_t block = BLOCK_BYTES / (w->K + 1) / TILE_ROWS * TILE_ROWS;
    if (block < MIN_BLOCK)
        block = MIN_BLOCK;
    size_t blocks = (p->M + block - 1) / block;
    if (blocks > 0)
        block = (p->M + blocks - 1) / blocks;
    for (size_t row = 0; row < p->M; row += block)
        some_rows(&j, row, p->M - row < block ? p->M : row + block);
}

#endif

#endif
