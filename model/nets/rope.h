/* Rope: rotary positions (Su et al. 2021). Each pair of a head's elements is turned by an
 * angle that grows with the position, so that a score depends on the distance alone.
 *
 * All is computed in float as transformers does it, since at position 10,000 a last bit
 * of a frequency is seen. Immutable after rope_load; any thread. */
#ifndef SEQ_NETS_ROPE_H
#define SEQ_NETS_ROPE_H

#include "model/load/config.h"
#include "model/nets/builder.h"
#include "model/nets/net.h"

#include <stddef.h>

struct rope {
    size_t half;      /* E/2 */
    float *frequency; /* [half] radians per position */
    float factor;     /* of cos and sin */
};

/* For heads E wide, which is even; the kind is not ROPE_NONE. */
void rope_load(struct builder *b, struct rope *r, const struct rope_config *c, size_t E);
void rope_done(struct rope *r); /* a zeroed struct is fine */

/* turns [T,2,half]: cos and sin of every position of the batch, for all layers. */
void rope_turns(const struct rope *r, const struct net_batch *batch, struct exec *x,
                float *turns);

/* Turns the first n_heads heads [2*half] of each of the T rows x [T,ld], in place. */
void rope_rotate(const struct rope *r, size_t T, size_t n_heads, size_t ld,
                 const float *turns, struct exec *x, float *rows);

#endif
