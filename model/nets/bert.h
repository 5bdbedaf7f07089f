/* BERT: the encoder of Devlin et al. 2019 in the layout of transformers'
 * BertForSequenceClassification (post-norm blocks, pooler, classifier). See net.h. */
#ifndef SEQ_NETS_BERT_H
#define SEQ_NETS_BERT_H

#include "model/nets/builder.h"
#include "model/nets/net.h"

#include <stddef.h>

size_t bert_size(void); /* of its struct, zeroed before bert_load */
/* Fills a net whose cfg and k are set. On failure b->rc says so; done() cleans up. */
void bert_load(struct net *n, struct builder *b);

#endif
