/* Layers: the steps that all nets share, on row-major f32 rows. Any thread with its own
 * exec; nothing here allocates.
 *
 * Each function splits its work over the idle members of x->crew where a slice is worth
 * handing over (some 50 us), or pauses between slices if there are none; every output
 * element is computed whole by one thread, so the bits are the same however it was split.
 */
#ifndef SEQ_NETS_LAYERS_H
#define SEQ_NETS_LAYERS_H

#include "model/load/dtype.h"
#include "model/nets/net.h"

/* y = x W^T + bias. */
struct linear {
    struct matrix w; /* [N,K] */
    float *bias;     /* [N] or NULL */
};

/* Layer norm, or the norm by root mean square, which has no bias. */
struct norm {
    size_t D;
    float eps;
    bool rms;
    float *w; /* [D] */
    float *b; /* [D] or NULL */
};

/* A look-up table: plain, or the rows of a packed matrix that is also the output layer.
 */
struct embedding {
    size_t D;
    enum dtype dtype;            /* of the table, as its file has it */
    void *table;                 /* [V,D], or NULL: */
    const struct matrix *packed; /* [V,D] */
};

/* An activation, in place; an entry of struct kernels. */
typedef void (*layer_act)(size_t n, float *x);

/* The kernel of an activation named in config.json. */
layer_act layer_act_of(const struct kernels *k, enum act act);

/* Two layers with an activation between them; gated (Shazeer 2020): the activated first
 * half of up times the second half. */
struct mlp {
    struct linear up, down; /* [F,D], gated [2*F,D]; [D,F] */
    layer_act act;
    bool gated;
};

void linear_done(struct linear *l);
void norm_done(struct norm *n);
void mlp_done(struct mlp *m);

/* Scratch floats of a pass's products with int8 weights, which read their rows quantised,
 * at most DIMS_CHUNK of M rows at a time; 0 for a net without such weights. The pass
 * takes it for its longest M and lends it by layer_lend, until it lends NULL. */
size_t layer_int8_floats(const struct net *n, size_t M);
void layer_lend(struct exec *x, const struct net *n, size_t M, float *scratch);

/* y [M,N] = x [M,K] W^T + bias; _add: y += that; _act: then y = act(y). */
void layer_linear(struct exec *x, const struct linear *l, size_t M, const float *in,
                  float *y);
void layer_linear_add(struct exec *x, const struct linear *l, size_t M, const float *in,
                      float *y);
void layer_linear_act(struct exec *x, const struct linear *l, layer_act act, size_t M,
                      const float *in, float *y);

/* Queries, keys and values, y [T,N] = in [T,K] W^T + bias. With picks [B], the queries,
 * which are the first columns, stand in those rows only, and `in` then holds nothing but
 * them, as layer_keep leaves it. */
void layer_qkv(struct exec *x, const struct linear *l, size_t queries,
               const struct net_batch *batch, const size_t *picks, float *in, float *y);

/* y [R,V] = h [R,D'] W^T + bias, the logits of net_ops. */
enum err_code layer_logits(struct exec *x, const struct net *n, const struct linear *l,
                           size_t R, const float *h, float *y,
                           struct err *err) MUST_CHECK;

/* layer_linear, or with `add` layer_linear_add, that is done with the same W step after
 * step. At every other step few rows take W's columns from the last to the first: of a W
 * that is too large for a cache, what was read last is still there. */
void layer_linear_step(struct exec *x, const struct linear *l, bool add, size_t step,
                       size_t M, const float *in, float *y);

/* y [M,D] += mlp(in [M,D]), DIMS_CHUNK rows at a time; in may be y. Takes scratch f
 * [layer_mlp_floats(m, M)]. */
size_t layer_mlp_floats(const struct mlp *m, size_t M);
void layer_mlp(struct exec *x, const struct mlp *m, size_t M, const float *in, float *f,
               float *y);

/* y [M,D] = norm(in [M,D]), row by row; y may be in. */
void layer_norm(struct exec *x, const struct norm *n, size_t M, const float *in,
                float *y);

/* out [D] = row `id` of the table. */
void layer_embed(const struct kernels *k, const struct embedding *t, size_t id,
                 float *out);

/* fn over rows 0..n-1, each of which takes about `ns` nanoseconds. */
void layer_rows(struct exec *x, size_t n, size_t ns, crew_fn fn, void *arg);

/* Scratch as a list of sizes in floats: what they cost in an arena, and the blocks. Both
 * ends of a promise come from one list that way. ERR_BUG on a short arena. */
size_t layer_scratch(const size_t *floats, size_t n);
enum err_code layer_take(struct arena *a, const size_t *floats, size_t n, float **blocks,
                         struct err *err) MUST_CHECK;

/* Every id below V, every sequence not empty, the kernels those of the net. *longest gets
 * the longest sequence. */
enum err_code layer_check(const struct net *n, const struct net_batch *batch,
                          const struct exec *x, size_t *longest,
                          struct err *err) MUST_CHECK;

/* What a pass returns in the end. */
enum err_code layer_outcome(const struct exec *x, struct err *err) MUST_CHECK;

/* Keeps one row of each sequence, which is all that is asked for: row starts[b]+picks[b]
 * of x [T,D] becomes row b. The picks may lie in scratch of that many floats. */
void layer_keep(const struct net_batch *batch, const size_t *picks, size_t D, float *x);
size_t layer_pick_floats(size_t B);

/* Tells x->trace, if it asks, the hidden rows h [T,D] of a whole batch. */
void layer_trace_hidden(const struct net *n, const struct net_batch *batch,
                        const struct exec *x, size_t layer, size_t D, const float *h);

#endif
