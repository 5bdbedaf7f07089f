/* Encoder: the pass that the two kinds of encoder share, around the embeddings and blocks
 * of their own: which rows are worked on, what the trace sees, what the head makes of it.
 * See net.h. */
#ifndef SEQ_NETS_ENCODER_H
#define SEQ_NETS_ENCODER_H

#include "model/nets/attention.h"
#include "model/nets/builder.h"
#include "model/nets/heads.h"
#include "model/nets/layers.h"
#include "model/nets/net.h"

#include <stddef.h>

/* One forward pass. Of x only the first `rows` are still worked on. */
struct encoder_pass {
    const struct encoder *m;
    const struct net_batch *batch;
    struct exec *exec;
    size_t rows, longest;
    float *x;     /* [T,max(D,W)], W = embedding_width */
    float *n;     /* [T,max(D,W)] free between the steps of a block */
    float *qkv;   /* [T,3*D] */
    float *f;     /* of the MLP */
    float *s;     /* of the attention */
    float *extra; /* [extra + T*extra_row] */
};

/* First member of an architecture's own struct. */
struct encoder {
    struct net net;
    struct head_parts head;
    struct norm norm;      /* behind the last block; w NULL if there is none */
    const struct mlp *mlp; /* of a block, for the size of its scratch */
    size_t extra;          /* scratch that the two below keep between them: floats of a */
    size_t extra_row;      /* pass, and of each position */
    /* x [T,D] = hidden rows of layer 0. */
    void (*embed)(const struct encoder_pass *p);
    /* Runs one block over x. With picks [B], keys and values of all rows, but everything
     * behind them of those positions only: encoder_attend leaves one row of each
     * sequence. */
    void (*block)(struct encoder_pass *p, size_t layer, const size_t *picks);
    void (*done)(struct encoder *m);
};

/* Fills net.ops and net.out_width; what is above is then filled by the architecture. */
void encoder_init(struct encoder *m);

/* qkv = that of `in`, which is x or n, all rows; picks as for a block. It then holds the
 * rows that are asked for. */
void encoder_qkv(struct encoder_pass *p, const struct linear *l, const size_t *picks,
                 float *in);

/* n = attention of the qkv of all rows; then x and n have p->rows rows. `a` holds what
 * differs between blocks: layer, reader, window, bias, bias_span. */
void encoder_attend(struct encoder_pass *p, const struct attention *a,
                    const size_t *picks);

#endif
