/* ModernBERT: the encoder of Warner et al. 2024 in the layout of transformers'
 * ModernBert: pre-norm blocks, rotary positions, gated MLPs, and in most layers attention
 * to the neighbourhood only. As ForSequenceClassification, as ForMaskedLM and bare. See
 * net.h. */
#ifndef SEQ_NETS_MODERNBERT_H
#define SEQ_NETS_MODERNBERT_H

#include "model/nets/builder.h"
#include "model/nets/net.h"

#include <stddef.h>

size_t modernbert_size(void); /* of its struct, zeroed before modernbert_load */
/* Fills a net whose cfg and k are set. On failure b->rc says so; done() cleans up. */
void modernbert_load(struct net *n, struct builder *b);

#endif
