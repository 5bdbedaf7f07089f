#include "model/nets/lineup.h"

#include "model/nets/dims.h"

#include <string.h>

/* Products reach their full speed well below this many rows, and what a chunk of steps
 * writes is still in the caches when they read it. */
enum { CHUNK_ROWS = 128 };

size_t lineup_floats(size_t B)
{
    return B * (sizeof(struct lineup_seq) / sizeof(float));
}

void lineup_fill(struct lineup *l, float *scratch, const struct net_batch *batch)
{
    l->batch = batch;
    l->B = batch->B;
    l->seq = (void *)scratch;
    /* Insertion: batches are small and often sorted or even. */
    for (size_t b = 0; b < batch->B; b++) {
        struct lineup_seq s = {.b = b, .first = batch->starts[b]};
        s.len = batch->starts[b + 1] - s.first;
        size_t at = b;
        for (; at > 0 && l->seq[at - 1].len < s.len; at--)
            l->seq[at] = l->seq[at - 1];
        l->seq[at] = s;
    }
}

size_t lineup_longest(const struct lineup *l)
{
    return l->B ? l->seq[0].len : 0;
}

size_t lineup_alive(const struct lineup *l, size_t from, size_t t)
{
    while (from > 0 && l->seq[from - 1].len <= t)
        from--;
    return from;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

size_t lineup_steps(size_t B)
{
    return B >= CHUNK_ROWS ? 1 : least(CHUNK_ROWS / (B ? B : 1), DIMS_CHUNK);
}

size_t lineup_rows(size_t B, size_t T, size_t longest)
{
    size_t rows = B > CHUNK_ROWS ? B : CHUNK_ROWS;
    return least(least(rows, T), B * least(longest, DIMS_CHUNK));
}

size_t lineup_token(const struct lineup_chunk *c, size_t i, size_t t)
{
    const struct lineup_seq *s = &c->line->seq[i];
    return s->first + (c->backward ? s->len - 1 - t : t);
}

size_t lineup_gather(const struct lineup_chunk *c, size_t D, const float *from, float *to)
{
    size_t r = 0, n = c->line->B;
    for (size_t t = c->t0; t < c->t1; t++) {
        n = lineup_alive(c->line, n, t);
        for (size_t i = 0; i < n; i++, r++)
            memcpy(to + r * D, from + lineup_token(c, i, t) * D, D * sizeof *to);
    }
    return r;
}

void lineup_scatter(const struct lineup_chunk *c, size_t D, const float *from, float *to,
                    size_t ld)
{
    size_t r = 0, n = c->line->B;
    for (size_t t = c->t0; t < c->t1; t++) {
        n = lineup_alive(c->line, n, t);
        for (size_t i = 0; i < n; i++, r++)
            memcpy(to + lineup_token(c, i, t) * ld, from + r * D, D * sizeof *to);
    }
}
