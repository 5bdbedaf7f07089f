/* Net: what every architecture offers to tasks. One architecture per file, one row in the
 * table of net.c. Immutable after load; any thread with its own exec. */
#ifndef SEQ_NETS_NET_H
#define SEQ_NETS_NET_H

#include "model/base/arena.h"
#include "model/base/breaks.h"
#include "model/base/crew.h"
#include "model/base/err.h"
#include "model/kernels/kernels.h"
#include "model/load/config.h"
#include "model/load/weights.h"
#include "model/nets/packing.h"
#include "model/nets/trace.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct net;       /* first member of each architecture's own struct, see below */
struct net_state; /* one sequence's memory: (h,c) or a KV cache; one owner at a time */

/* A ragged batch: tokens of all sequences end to end, no padding. */
struct net_batch {
    size_t B;
    const size_t
        *starts;        /* [B+1]; sequence b is ids[starts[b]..starts[b+1]), not empty */
    const int32_t *ids; /* [T] */
    const uint8_t *types; /* [T] token types, or NULL = all 0; only BERT reads them */
    const size_t *picks;  /* [B] which position of each sequence NET_ONE reads, counted in
                             this pass; NULL = the last. Encoders want it given. */
    struct net_state *const *states; /* [B], all different, continued and advanced; or
                                        NULL: all fresh */
};

/* What a worker lends to a forward pass. */
struct exec {
    const struct kernels *k; /* the net's own */
    struct arena *tmp;
    struct crew *crew;           /* may be NULL */
    const struct breaks *breaks; /* may be NULL */
    const struct trace *trace;   /* may be NULL */
    /* Scratch that the pass lends to products with int8 weights, layer_int8_floats of it
     * (layers.h). Callers leave it zeroed. */
    struct {
        float *at;
        size_t floats;
    } int8;
};

enum net_want {
    NET_ONE,   /* y [B,D'] the hidden row that the output layer reads, last position */
    NET_ALL,   /* y [T,D'] the same for every position */
    NET_LABELS /* y [B,L]  classifier logits */
};

struct net_ops {
    /* Bytes of arena that forward(B sequences, T tokens in all, longest `longest`, tokens
     * already in states not counted) takes at most; grows with each of the three. */
    size_t (*scratch_bytes)(const struct net *n, size_t B, size_t T, size_t longest,
                            enum net_want want);
    /* ERR_LIMIT past the context, ERR_INPUT for an id or type out of range, ERR_TASK for
     * rows this net doesn't make (NET_LABELS without classifier or on states, rows of a
     * net whose head is a classifier), ERR_NOMEM when a cache can't grow, ERR_BUG on a
     * short arena: states are then as before. ERR_STOPPED as x->breaks told it to: they
     * must be reset. */
    enum err_code (*forward)(const struct net *n, const struct net_batch *batch,
                             enum net_want want, float *y, struct exec *x,
                             struct err *err);
    /* y [R,V] = output layer of h [R,D']. LM heads only. Takes net_logits_bytes(n, R) of
     * the arena; ERR_BUG if that is too short. */
    enum err_code (*logits)(const struct net *n, size_t R, const float *h, float *y,
                            struct exec *x, struct err *err);

    /* y [R,D'] = what the output layer reads, of hidden rows h [R,D] behind `layer`
     * layers as the trace sees them; those in front of the last as if they were the last.
     * Takes net_logits_bytes(n, R) and R*D floats of the arena. NULL: only the last
     * layer's can be read, as they are. LM heads only. */
    enum err_code (*read_out)(const struct net *n, size_t layer, size_t R, const float *h,
                              float *y, struct exec *x, struct err *err);

    /* States: NULL for nets without (encoders, bidirectional RNNs). Copies of a KV cache
     * share memory until one of them writes, so they cost next to nothing. */
    enum err_code (*state_new)(const struct net *n, struct net_state **out,
                               struct err *err);
    void (*state_free)(struct net_state *s); /* NULL is fine */
    enum err_code (*state_copy)(struct net_state *to, const struct net_state *from,
                                struct err *err); /* both of the same net */
    void (*state_reset)(struct net_state *s);
    size_t (*state_bytes)(const struct net_state *s);  /* memory held, shared included */
    size_t (*state_length)(const struct net_state *s); /* positions fed so far */
    /* By how much state_bytes grows at most with n positions more; NULL: it does not. */
    size_t (*state_growth)(const struct net_state *s, size_t n);
    /* Back to the first `length` positions; NULL where a state can't go back. */
    void (*state_truncate)(struct net_state *s, size_t length);
    /* As cache_enter and cache_leave; NULL where nothing is shared: state_bytes. */
    size_t (*state_enter)(struct net_state *s);
    size_t (*state_leave)(struct net_state *s);

    /* Frees what the architecture's struct holds beyond struct net. */
    void (*done)(struct net *n);
};

struct net {
    const struct net_ops *ops;
    const struct kernels *k;
    enum precision precision; /* of its matrices */
    struct config cfg;        /* owned */
    struct packed packed;     /* its matrices and tables */
    size_t out_width;         /* D' of forward */
    size_t resident_bytes;    /* weights as held in memory */
    size_t int8_width;        /* K of the widest int8 matrix; 0: there is none */
};

size_t net_logits_bytes(const struct net *n, size_t R);

/* Builds the net that cfg asks for, its matrices held in `precision`, with up to
 * `threads` threads; takes what it needs from w (and calls weights_finish and
 * weights_check_end). *take_cfg is owned by the net, also on failure, and zeroed. */
enum err_code net_load(struct config *take_cfg, struct weights *w,
                       const struct kernels *k, enum precision precision, size_t threads,
                       struct net **out, struct err *err) MUST_CHECK;
/* Walks through the weights as net_load would, to find all that is wrong: w is of
 * weights_survey, and so are the failures. Nothing is built; cfg->head becomes the one
 * that the net would have. */
enum err_code net_survey(struct config *cfg, struct weights *w, const struct kernels *k,
                         struct err *err) MUST_CHECK;
void net_free(struct net *n); /* NULL is fine */

#endif
