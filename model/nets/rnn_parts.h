/* Inside rnn*.c and recurrence.c only: what a recurrent net is made of. */
#ifndef SEQ_NETS_RNN_PARTS_H
#define SEQ_NETS_RNN_PARTS_H

#include "model/nets/layers.h"
#include "model/nets/net.h"
#include "model/nets/pool.h"

/* One direction of one layer; G gates: 4 LSTM, 3 GRU, 1 RNN. */
struct rnn_direction {
    struct linear in;  /* W_ih [G*H,in], b_ih (LSTM, RNN: + b_hh) */
    struct linear rec; /* W_hh [G*H,H], GRU: b_hh, which stays inside r*(...) */
};

struct rnn_layer {
    size_t in;                         /* width of its input */
    struct rnn_direction direction[2]; /* forward, backward */
};

struct rnn {
    struct net net;
    size_t H, G, directions;
    float hard_slope;           /* of hard gates; 0 = a real sigmoid */
    struct embedding embedding; /* [V,I] */
    struct rnn_layer *layer;    /* [n_layers] */
    struct linear decoder;      /* [V,H]; language models */
    struct pool pool;           /* classifiers */
    struct linear classifier;   /* [L,R*W] */
};

struct rnn_state {
    size_t length;
    size_t floats; /* of h or c: n_layers * H */
    size_t parts;  /* 2 for an LSTM */
    float data[];  /* h [n_layers,H], c [n_layers,H] */
};

/* The forward pass of net_ops (rnn_forward.c). */
size_t rnn_scratch_bytes(const struct net *net, size_t B, size_t T, size_t longest,
                         enum net_want want);
enum err_code rnn_forward(const struct net *net, const struct net_batch *batch,
                          enum net_want want, float *y, struct exec *x, struct err *err);

#endif
