/* Decoder: what GPT-2 and the Llama family share, which is everything but names and a few
 * choices: pre-norm causal blocks, a final norm, an output layer or a classifier, and a
 * KV cache for states. gpt2.c and llama.c fill this struct; the pass is here. See net.h.
 *
 * A classifier reads the last position whose token is not the padding token of
 * config.json, as transformers does since 4.50: no batch here holds padding, but a text
 * may end with that token. */
#ifndef SEQ_NETS_DECODER_H
#define SEQ_NETS_DECODER_H

#include "model/nets/builder.h"
#include "model/nets/layers.h"
#include "model/nets/net.h"
#include "model/nets/rope.h"

#include <stddef.h>

/* x += out(attention(before(x))); x += mlp(between(x)). */
struct decoder_block {
    struct norm before, between;
    struct linear qkv, out;     /* [(N+2*K)*E,D] of queries, keys, values; [D,N*E] */
    struct norm q_norm, k_norm; /* [E] of each query and key head; w NULL = none */
    struct mlp mlp;
    float scale;   /* of attention scores */
    size_t window; /* as in attention.h */
};

struct decoder {
    struct net net;
    struct embedding words;      /* [V,D] */
    struct embedding positions;  /* [context,D], D 0 = none */
    struct rope rope;            /* half 0 = none */
    struct decoder_block *block; /* [n_layers] */
    struct norm norm;
    struct linear head; /* [V,D] or [L,D], no bias; empty if there is none */
};

size_t decoder_size(void); /* of struct decoder, zeroed before a load */

/* For loaders: ops and blocks; then the embeddings, tied to the output layer or not; at
 * the end, when no prefix holds any more, the head. `words` is the embeddings' name. */
void decoder_begin(struct decoder *d, struct builder *b);
void decoder_words(struct decoder *d, struct builder *b, const char *words);
void decoder_head(struct decoder *d, struct builder *b, const char *words);

#endif
