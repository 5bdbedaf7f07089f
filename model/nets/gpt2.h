/* GPT-2: the decoder of Radford et al. 2019 in the layout of transformers' GPT2Model
 * (learned positions, layer norms, Conv1D weights), bare, as language model or as
 * classifier. See decoder.h. */
#ifndef SEQ_NETS_GPT2_H
#define SEQ_NETS_GPT2_H

#include "model/nets/builder.h"
#include "model/nets/net.h"

/* Fills a struct decoder whose cfg and k are set. On failure b->rc says so; done() cleans
 * up. */
void gpt2_load(struct net *n, struct builder *b);

#endif
