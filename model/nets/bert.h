/* BERT: the post-norm encoders that grew out of Devlin et al. 2019, in the layouts of
 * transformers' Bert, DistilBert, Roberta (with XLMRoberta and Camembert), Electra and
 * MPNet: as ForSequenceClassification, as ForMaskedLM and bare. See net.h. */
#ifndef SEQ_NETS_BERT_H
#define SEQ_NETS_BERT_H

#include "model/nets/builder.h"
#include "model/nets/net.h"

#include <stddef.h>

size_t bert_size(void); /* of its struct, zeroed before bert_load */
/* Fills a net whose cfg and k are set. On failure b->rc says so; done() cleans up. */
void bert_load(struct net *n, struct builder *b);

#endif
