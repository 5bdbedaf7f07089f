/* RNN: recurrent nets as PyTorch's nn.RNN, nn.GRU and nn.LSTM compute them, stacked,
 * bidirectional, with a language-model or a classifier head. See net.h. */
#ifndef SEQ_NETS_RNN_H
#define SEQ_NETS_RNN_H

#include "model/nets/builder.h"
#include "model/nets/net.h"

#include <stddef.h>

size_t rnn_size(void); /* of its struct, zeroed before rnn_load */
/* Fills a net whose cfg and k are set. On failure b->rc says so; done() cleans up. */
void rnn_load(struct net *n, struct builder *b);

#endif
