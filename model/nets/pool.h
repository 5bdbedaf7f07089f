/* Pool: from the hidden rows of a sequence to the one row that a classifier reads.
 *
 * Mean and max are fed row by row, in order of position, so that nothing has to be kept.
 * Attention (Bahdanau et al. 2015; with several hops Lin et al. 2017) needs all rows:
 * score = context(tanh(proj(h_t))), softmax over t, sum of p_t h_t; hops side by side. */
#ifndef SEQ_NETS_POOL_H
#define SEQ_NETS_POOL_H

#include "model/nets/layers.h"

struct pool {
    enum pooling kind;
    size_t width;          /* W of a hidden row */
    size_t hops;           /* R; 1 unless attention */
    struct linear proj;    /* [A,W] */
    struct linear context; /* [R,A] no bias */
};

/* Row number `index` of a sequence, h [W], into acc [W]. Mean and max only. */
void pool_add(const struct pool *p, const struct kernels *k, size_t index, const float *h,
              float *acc);
/* After n rows; acc is then the pooled row. */
void pool_finish(const struct pool *p, size_t n, float *acc);

/* Scratch floats of pool_attend over T rows in all. */
size_t pool_floats(const struct pool *p, size_t T);
/* Attention over h [T,W] of a whole batch: out [B,R*W]. */
void pool_attend(const struct pool *p, struct exec *x, const struct net_batch *batch,
                 const float *h, float *scratch, float *out);

#endif
