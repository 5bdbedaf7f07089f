/* Heads: what stands behind the layers of an encoder, in the shape that all of
 * transformers' have: a layer of the head's own with an activation, for some a norm, and
 * an output layer over the labels or, mostly tied to the embeddings, the vocabulary. A
 * bare encoder has none of it. Any thread with its own exec. */
#ifndef SEQ_NETS_HEADS_H
#define SEQ_NETS_HEADS_H

#include "model/nets/builder.h"
#include "model/nets/layers.h"
#include "model/nets/net.h"

#include <stddef.h>

struct head_parts {
    struct linear dense; /* [W,D], without rows if bare; W = embedding_width, labels: D */
    layer_act act;
    struct norm norm;  /* [W], w NULL if there is none */
    struct linear out; /* [V,W] or [L,W] */
};

/* Names of its tensors. */
struct head_names {
    const char *dense;
    const char *norm; /* or NULL */
    const char *out;
    const char *bias, *copy; /* where out's bias is; the second may be NULL, and files may
                                hold either, or the same values under both */
};

/* What of all that has a bias. */
struct head_biases {
    bool dense, norm, out;
};

/* Before any other name is looked up: a masked model whose file holds no tensor of its
 * head (`masked`) is a bare one from here on, as sentence-transformers saves them; where
 * config.json names no architecture, the head's tensors are left aside. */
void head_choose(struct builder *b, struct config *c, const struct head_names *masked);

/* The look-up table `name` [V,W], which is the output layer too if the config ties it. */
void head_words(struct builder *b, const struct config *c, const char *name,
                struct embedding *words, struct head_parts *h);
/* The rest; does nothing for HEAD_NONE. `base` is the prefix that the own layer's name
 * may have ("" unless it belongs to the bare encoder); no name has a scope. `words` is
 * the full name given to head_words, for messages. */
void head_load(struct builder *b, const struct config *c, const struct head_names *names,
               const struct head_biases *biases, const char *base, const char *words,
               struct head_parts *h);
void head_done(struct head_parts *h);

/* y [M,W] = norm(act(dense(in [M,D]))): the rows that the output layer reads. Not for
 * bare encoders, whose rows are `in` itself. */
void head_rows(struct exec *x, const struct head_parts *h, size_t M, const float *in,
               float *y);

#endif
