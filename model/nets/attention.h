/* Attention: scaled dot-product attention over ragged sequences, head by head and query
 * row by query row (Vaswani et al. 2017, equation 1). No mask exists: a causal query
 * simply sees fewer keys. Keys come from the rows of the pass, or, for sequences with a
 * cache, all from there; the bits are the same. Any thread with its own exec. */
#ifndef SEQ_NETS_ATTENTION_H
#define SEQ_NETS_ATTENTION_H

#include "model/nets/net.h"

/* Which positions of each sequence ask. */
enum attention_queries { ATTENTION_ALL, ATTENTION_FIRST, ATTENTION_LAST };

struct attention {
    size_t N, E; /* heads, width of one */
    float scale;
    bool causal;
    size_t layer;                  /* for the cache and the trace */
    const struct net_batch *batch; /* with states: caches that hold this pass's rows */
    enum attention_queries queries;
    const float *qkv; /* [T,3*N*E]: queries, keys, values of every position */
    float *out;       /* [T,N*E], or [B,N*E] for the first or the last query */
};

/* Scratch floats for rows of up to n_keys keys. */
size_t attention_floats(size_t B, size_t N, size_t n_keys);

/* scratch [attention_floats] for the longest sequence, what is cached included. */
void attention_run(const struct attention *a, size_t n_keys, float *scratch,
                   struct exec *x);

#endif
