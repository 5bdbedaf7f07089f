/* Inside model/kernels/ only: the matrix product on panels (kern_panels.c), for the files
 * of one vector width each, which include this once.
 *
 * Such a file defines before: vec, its vector type (without it this header is empty), and
 * VECTORS, how many of them hold one panel of 16 columns, and TILE_ROWS, the most rows
 * of a tile; after: the functions that are only declared here, which all end up inside
 * the loops of tile(). f32, bf16 and f16 share those loops: a weight of 16 bits is made a
 * float in a register and multiplied as such. Each element of y is one chain
 * of FMAs over k, then bias, then the old y: the tile that happens to hold it changes
 * nothing. One row gets its instruction-level parallelism from more columns at a time,
 * never from cutting k. */
#ifndef SEQ_KERNELS_KERN_PRODUCT_H
#define SEQ_KERNELS_KERN_PRODUCT_H

#include "model/kernels/kern.h"

#ifdef vec

#include <immintrin.h>

#define ALWAYS_INLINE inline __attribute__((always_inline))

enum {
    MAX_VECTORS = 12,
    SHORT_ROWS = 3,            /* tiles up to here are bound by memory */
    DISTANCE = 64,             /* lines: how far ahead those fetch */
    STRIDE = 4,                /* lines: of so many those fetch one */
    LEAD = 192,                /* lines of all panels that other tiles are ahead */
    BURST = 4,                 /* lines of a tall tile that fetch some at once */
    BLOCK_FLOATS = 64 * 1024,  /* of x, for one block of rows, */
    MIN_BLOCK = 4 * TILE_ROWS, /* but that many rows at least */
};

/* What a line of a panel holds: a float for each column; two bf16 of which the lower half
 * of 32 bits belongs to an even k and the upper half to the k after it; or the f16 of an
 * even k and behind them those of the k after it. And which of it is asked for. */
enum line { LINE_F32, LINE_BF16, LINE_F16 };
enum part { PART_WHOLE, PART_LOWER, PART_UPPER, PART_F16 };

/* All entries x; a*b+c; vector v of a line, or of half a line of f16, as floats. */
static ALWAYS_INLINE vec vec_set(float x);
static ALWAYS_INLINE vec vec_fma(vec a, vec b, vec c);
static ALWAYS_INLINE vec vec_weights(const char *line, int v, enum part part);
/* y [row, the vector from `column` on] = sum + bias + old y, for columns < p->last. */
static ALWAYS_INLINE void finish(const struct product *p, size_t row, size_t column,
                                 vec sum);

/* Where a tile lies, and the weights that it fetches into the second-level cache on its
 * way. */
struct spot {
    size_t row, column;
    bool leads;       /* nobody has fetched its panels: it does so a little ahead, and */
    bool last;        /* the start of the panels behind them, unless it is the last; */
    const char *next; /* others fetch so many lines from here on */
    size_t next_lines;
};

/* Weights and rows that a tile still has to read. */
struct reading {
    const float *x;
    size_t ldx;
    const char *at; /* in the first panel */
    size_t panel;   /* bytes */
};

/* How many panels a tile of so many rows takes where `left` > 0 are to do: what registers
 * hold, of the counts that run_tile knows; and tile() with these two as constants. */
static size_t tile_panels(size_t rows, size_t left);
static ALWAYS_INLINE void run_tile(const struct matrix *w, const struct product *p,
                                   const struct spot *s, size_t rows, size_t panels,
                                   const enum line held);

/* What is constant in the loops of a tile. */
struct form {
    int rows, panels;
    enum line held;
    size_t stride; /* tile_lines */
};

/* One step of k: sum [rows,vectors] += x[:,k] w[:,k]. The shorter side stays in
 * registers, the longer one streams through. */
static ALWAYS_INLINE void tile_step(struct reading *from, const enum part part,
                                    vec (*sum)[MAX_VECTORS], const int rows,
                                    const int panels)
{
    const int vectors = panels * VECTORS;
    vec in[TILE_ROWS], weights[MAX_VECTORS];
#pragma GCC unroll 8
    for (int r = 0; r < rows && rows < vectors; r++)
        in[r] = vec_set(from->x[(size_t)r * from->ldx]);
#pragma GCC unroll 12
    for (int v = 0; v < vectors; v++) {
        const char *line = from->at + (size_t)(v / VECTORS) * from->panel;
        weights[v] = vec_weights(line, v % VECTORS, part);
#pragma GCC unroll 8
        for (int r = 0; r < rows && rows < vectors; r++)
            sum[r][v] = vec_fma(in[r], weights[v], sum[r][v]);
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows && rows >= vectors; r++) {
        in[r] = vec_set(from->x[(size_t)r * from->ldx]);
#pragma GCC unroll 12
        for (int v = 0; v < vectors; v++)
            sum[r][v] = vec_fma(in[r], weights[v], sum[r][v]);
    }
    from->x++;
}

static ALWAYS_INLINE enum part first_part(const enum line held)
{
    return held == LINE_F32 ? PART_WHOLE : held == LINE_BF16 ? PART_LOWER : PART_F16;
}

/* Between two steps of one turn: without this gcc moves sums around through memory. */
static ALWAYS_INLINE void stay(vec (*sum)[MAX_VECTORS], const struct form f)
{
#pragma GCC unroll 8
    for (int r = 0; r < f.rows; r++)
#pragma GCC unroll 12
        for (int v = 0; v < f.panels * VECTORS; v++)
            __asm__("" : "+v"(sum[r][v]));
}

/* The steps of `lines` lines of each panel, of which one in `stride` fetches what lies
 * `ahead` bytes further on; 0: none does. */
static ALWAYS_INLINE void tile_lines(struct reading *from, size_t lines, size_t ahead,
                                     vec (*sum)[MAX_VECTORS], const struct form f)
{
    const size_t step = f.held == LINE_F16 ? LINE / 2 : LINE, every = f.stride * LINE;
    for (const char *end = from->at + lines * LINE; from->at < end; from->at += step) {
        if (f.stride && (every == step || (uintptr_t)from->at % every == 0))
#pragma GCC unroll 6
            for (int v = 0; v < f.panels; v++)
                _mm_prefetch(from->at + (size_t)v * from->panel + ahead, _MM_HINT_T1);
        tile_step(from, first_part(f.held), sum, f.rows, f.panels);
        if (f.held == LINE_BF16) {
            stay(sum, f);
            tile_step(from, PART_UPPER, sum, f.rows, f.panels);
        }
    }
}

/* A tile that fetches its own weights, `distance` lines ahead, and near the end of the
 * panels those of the next tile. */
static ALWAYS_INLINE void leading_tile(struct reading *from, size_t lines,
                                       size_t distance, const struct spot *s,
                                       vec (*sum)[MAX_VECTORS], const struct form f)
{
    const size_t near = lines < distance ? lines : distance;
    size_t ahead = near * LINE, some = lines - near;
    for (int part = 0; part < 2; part++) { /* one loop keeps gcc's registers in place */
        tile_lines(from, some, ahead, sum, f);
        ahead = s->last ? 0 : ahead + (size_t)(f.panels - 1) * from->panel;
        some = near;
    }
}

/* Short tiles wait for memory. One line in STRIDE is enough to lead the hardware's own
 * prefetching across pages and panels, and costs little where weights are in a cache. */
static ALWAYS_INLINE void short_tile(struct reading *from, size_t lines,
                                     const struct spot *s, vec (*sum)[MAX_VECTORS],
                                     struct form f)
{
    f.stride = STRIDE;
    leading_tile(from, lines, DISTANCE, s, sum, f);
}

/* Tall tiles leave the memory idle. One that leads fetches every line, others their part
 * of the next panels in bursts. */
static ALWAYS_INLINE void tall_tile(struct reading *from, size_t lines,
                                    const struct spot *s, vec (*sum)[MAX_VECTORS],
                                    struct form f)
{
    if (s->leads) {
        f.stride = 1;
        leading_tile(from, lines, LEAD / (size_t)f.panels, s, sum, f);
        return;
    }
    const size_t bursts = (lines + BURST - 1) / BURST;
    const size_t bytes = (s->next_lines + bursts - 1) / (bursts + !bursts) * LINE;
    const char *next = s->next, *end = next + s->next_lines * LINE;
    for (size_t left = lines, some; left > 0; left -= some) {
        for (const char *stop = next + bytes; next < stop && next < end; next += LINE)
            _mm_prefetch(next, _MM_HINT_T1);
        some = left < BURST ? left : BURST;
        tile_lines(from, some, 0, sum, f);
    }
}

/* `rows` rows times `panels` panels; both are constants at every call, so that the sums
 * live in registers. */
static ALWAYS_INLINE void tile(const struct matrix *w, const struct product *p,
                               const struct spot *s, const int rows, const int panels,
                               const enum line held)
{
    const size_t lines = held == LINE_F32 ? w->K : w->K / 2;
    const struct form form = {rows, panels, held, 0};
    struct reading from = {.x = p->x + s->row * p->ldx,
                           .ldx = p->ldx,
                           .panel = kern_panel_bytes(w->precision, w->K)};
    from.at = (const char *)w->data + s->column / PANEL * from.panel;
    vec sum[TILE_ROWS][MAX_VECTORS];
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 12
        for (int v = 0; v < panels * VECTORS; v++)
            sum[r][v] = vec_set(0);
    if (rows <= SHORT_ROWS)
        short_tile(&from, lines, s, sum, form);
    else
        tall_tile(&from, lines, s, sum, form);
    if (held != LINE_F32 && w->K % 2)
        tile_step(&from, first_part(held), sum, rows, panels);
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 12
        for (int v = 0; v < panels * VECTORS; v++)
            finish(p, s->row + (size_t)r, s->column + (size_t)v * (PANEL / VECTORS),
                   sum[r][v]);
}

/* The activation of what a tile has just stored, while it is in the first-level cache. */
static void activate(const struct product *p, const struct spot *s, size_t rows,
                     size_t panels)
{
    size_t n =
        p->last - s->column < panels * PANEL ? p->last - s->column : panels * PANEL;
    for (size_t r = s->row; r < s->row + rows; r++)
        p->act(n, p->y + r * p->ldy + s->column);
}

/* What tile t of `tiles` over the same panels fetches. One that is alone leads, on into
 * what the next call may read. Of several each takes its part of the next panels in one
 * straight run; but the first panels of all have to be led. A single panel is short of
 * time, so there the first tile always leads. */
static void share_fetching(const struct matrix *w, const struct product *p,
                           struct spot *s, size_t panels, size_t t, size_t tiles)
{
    size_t panel = kern_panel_bytes(w->precision, w->K), width = panels * PANEL;
    bool start = s->column == p->first, alone = tiles == 1 || panels == 1;
    s->leads = t == 0 && (start || alone);
    s->last = !alone || w->N - s->column < 2 * width;
    bool more = !alone && !s->leads && p->last - s->column >= 2 * width;
    size_t lines = more ? panels * (panel / LINE) : 0, parts = tiles - start;
    size_t first = lines * (t - start) / (parts + !parts);
    s->next = (const char *)w->data + (s->column + width) / PANEL * panel + first * LINE;
    s->next_lines = more ? lines * (t - start + 1) / parts - first : 0;
}

/* Rows first..last-1 in tiles of nearly equal height; the panels stay in the cache while
 * all tiles use them. */
static ALWAYS_INLINE void some_rows(const struct matrix *w, const struct product *p,
                                    size_t first, size_t last, const enum line held)
{
    size_t M = last - first, tiles = (M + TILE_ROWS - 1) / TILE_ROWS;
    size_t tallest = (M + tiles - 1) / tiles, panels;
    struct spot s = {.column = p->first};
    for (; s.column < p->last; s.column += panels * PANEL) {
        panels = tile_panels(tallest, (p->last - s.column + PANEL - 1) / PANEL);
        s.row = first;
        for (size_t t = 0; t < tiles; t++) {
            size_t rows = M / tiles + (t < M % tiles);
            share_fetching(w, p, &s, panels, t, tiles);
            run_tile(w, p, &s, rows, panels, held);
            if (p->act)
                activate(p, &s, rows, panels);
            s.row += rows;
        }
    }
}

/* Rows are taken in blocks of nearly equal height whose part of x stays in the
 * second-level cache. */
static ALWAYS_INLINE void product(const struct matrix *w, const struct product *p,
                                  const enum line held)
{
    size_t block = BLOCK_FLOATS / (w->K + 1) / TILE_ROWS * TILE_ROWS;
    if (block < MIN_BLOCK)
        block = MIN_BLOCK;
    size_t blocks = (p->M + block - 1) / block;
    if (blocks > 0)
        block = (p->M + blocks - 1) / blocks;
    for (size_t row = 0; row < p->M; row += block)
        some_rows(w, p, row, p->M - row < block ? p->M : row + block, held);
}

static inline void product_f32(const struct matrix *w, const struct product *p)
{
    product(w, p, LINE_F32);
}

static inline void product_bf16(const struct matrix *w, const struct product *p)
{
    product(w, p, LINE_BF16);
}

static inline void product_f16(const struct matrix *w, const struct product *p)
{
    product(w, p, LINE_F16);
}

#endif
#endif
