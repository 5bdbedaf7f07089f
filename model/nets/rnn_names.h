/* RNN names: what the modules of a recurrent net are called in its file. PyTorch names
 * the tensors of an nn.LSTM; the names of the modules around them are the author's, so
 * each role takes the usual words: the lists of rnn_names.c and of README.md. Load time
 * only. */
#ifndef SEQ_NETS_RNN_NAMES_H
#define SEQ_NETS_RNN_NAMES_H

#include "model/nets/builder.h"

struct rnn_names {
    const char *embedding; /* "encoder", of "encoder.weight" */
    const char *cells;     /* "lstm.", of "lstm.weight_ih_l0" */
    const char *output;    /* "decoder", of "decoder.weight"; NULL if there is none */
};

/* Puts all later look-ups behind a wrapper's prefix ("module.") if the tensors have one.
 * A role that is there twice is refused by naming both; of one that isn't there (but for
 * the output) the first choice is given, so that asking for it says what is missing. */
void rnn_names_find(struct builder *b, struct rnn_names *out);

#endif
