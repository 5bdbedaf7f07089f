#include "model/nets/pool.h"

#include "model/nets/dims.h"

#include <math.h>
#include <string.h>

void pool_add(const struct pool *p, const struct kernels *k, size_t index, const float *h,
              float *acc)
{
    if (index == 0)
        memcpy(acc, h, p->width * sizeof *acc);
    else if (p->kind == POOL_MEAN)
        k->add(p->width, h, acc);
    else
        for (size_t i = 0; i < p->width; i++)
            acc[i] = h[i] > acc[i] ? h[i] : acc[i];
}

void pool_finish(const struct pool *p, size_t n, float *acc)
{
    for (size_t i = 0; p->kind == POOL_MEAN && i < p->width; i++)
        acc[i] /= (float)n;
}

static size_t piece_rows(size_t T)
{
    return T < DIMS_CHUNK ? T : DIMS_CHUNK;
}

size_t pool_floats(const struct pool *p, size_t T)
{
    return T * p->hops + piece_rows(T) * (p->proj.w.N + p->hops);
}

/* s [R,T]: the scores of every hop over all rows. */
static void score(const struct pool *p, struct exec *x, size_t T, const float *h,
                  float *tmp, float *s)
{
    size_t A = p->proj.w.N, R = p->hops;
    float *rows = tmp + piece_rows(T) * A; /* [piece_rows,R] */
    for (size_t t = 0; t < T; t += DIMS_CHUNK) {
        size_t n = piece_rows(T - t);
        layer_linear_act(x, &p->proj, x->k->tanh, n, h + t * p->width, tmp);
        layer_linear(x, &p->context, n, tmp, rows);
        for (size_t i = 0; i < n; i++)
            for (size_t r = 0; r < R; r++)
                s[r * T + t + i] = rows[i * R + r];
    }
}

static void trace_hop(const struct exec *x, size_t b, size_t hop, size_t len,
                      const float *row, enum trace_maps maps)
{
    if (x->trace && x->trace->attention && x->trace->maps == maps)
        x->trace->attention(x->trace->arg, b, 0, hop, 0, len, row);
}

/* row [len], which nobody needs any more, times the lengths of h [len,W]. */
static void trace_norms(const struct exec *x, size_t b, size_t hop, size_t len, size_t W,
                        const float *h, float *row)
{
    if (!x->trace || x->trace->maps != TRACE_VALUE_NORMS)
        return;
    for (size_t t = 0; t < len; t++) {
        double squares = 0;
        for (size_t i = 0; i < W; i++)
            squares += (double)h[t * W + i] * (double)h[t * W + i];
        row[t] *= (float)sqrt(squares);
    }
    trace_hop(x, b, hop, len, row, TRACE_VALUE_NORMS);
}

void pool_attend(const struct pool *p, struct exec *x, const struct net_batch *batch,
                 const float *h, float *scratch, float *out)
{
    size_t T = batch->starts[batch->B], W = p->width;
    float *s = scratch; /* [R,T] */
    score(p, x, T, h, scratch + T * p->hops, s);
    memset(out, 0, batch->B * p->hops * W * sizeof *out);
    for (size_t b = 0; b < batch->B; b++) {
        size_t start = batch->starts[b], len = batch->starts[b + 1] - start;
        for (size_t r = 0; r < p->hops; r++) {
            float *row = s + r * T + start;
            trace_hop(x, b, r, len, row, TRACE_SCORES);
            x->k->softmax(len, row);
            trace_hop(x, b, r, len, row, TRACE_WEIGHTS);
            x->k->weigh(len, W, row, h + start * W, W, out + (b * p->hops + r) * W);
            trace_norms(x, b, r, len, W, h + start * W, row);
        }
    }
}
