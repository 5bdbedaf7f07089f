/* Attention: scaled dot-product attention over ragged sequences (Vaswani et al. 2017,
 * equation 1), tile by tile of query rows over blocks of keys. No mask exists: a query of
 * a causal net or of one with a window simply sees fewer keys. Query heads may share key
 * and value heads (Ainslie et al. 2023); the rows of a tile are then those of all heads
 * that share. Keys come from the rows of the pass, or, for sequences with a cache, all
 * from there; the bits are the same. Any thread with its own exec. */
#ifndef SEQ_NETS_ATTENTION_H
#define SEQ_NETS_ATTENTION_H

#include "model/nets/net.h"

struct attention {
    size_t N, K, E; /* query heads, key and value heads (K divides N), width of one */
    float scale;
    bool causal;
    size_t window; /* a query sees keys less than this far away; 0 = all */
    /* Added to the scaled scores by distance, or NULL: [N,2*bias_span-1], the middle for
     * a query's own position. bias_span is more than any distance in the batch. */
    const float *bias;
    size_t bias_span;
    size_t layer;                  /* for the cache and the trace */
    const struct matrix *reader;   /* [D,N*E] of the projection that reads `out`; only
                                      norms of values need it */
    const struct net_batch *batch; /* with states: caches that hold this pass's rows */
    const size_t *picks;           /* [B] the one position of each sequence, counted in
                                      this pass, that asks; NULL = all ask */
    const float *qkv;              /* [T,(N+2*K)*E]: queries, keys, values */
    float *out;                    /* [T,N*E], or [B,N*E] with picks */
};

/* What scratch depends on: heads as above, sequences, positions in this pass, the keys
 * of the longest sequence, what is cached included. */
struct attention_size {
    size_t N, K, E;
    size_t B, T, n_keys;
};

/* Scratch floats of a pass; grows with each of B, T and n_keys. */
size_t attention_floats(const struct attention_size *s);

/* Of trace.norms, for N heads of width E, rows of width D, and n_keys keys. */
size_t attention_norm_floats(size_t N, size_t E, size_t D, size_t n_keys);

/* scratch [attention_floats], 64-byte aligned. The trace gets whole rows, 0 (scores:
 * -INFINITY) where a window ends. */
void attention_run(const struct attention *a, size_t n_keys, float *scratch,
                   struct exec *x);

#endif
