/* GPT-2: the decoder of Radford et al. 2019 in the layout of transformers'
 * GPT2LMHeadModel (pre-norm blocks, learned positions, Conv1D weights), with a KV cache.
 * See net.h. */
#ifndef SEQ_NETS_GPT2_H
#define SEQ_NETS_GPT2_H

#include "model/nets/builder.h"
#include "model/nets/net.h"

#include <stddef.h>

size_t gpt2_size(void); /* of its struct, zeroed before gpt2_load */
/* Fills a net whose cfg and k are set. On failure b->rc says so; done() cleans up. */
void gpt2_load(struct net *n, struct builder *b);

#endif
