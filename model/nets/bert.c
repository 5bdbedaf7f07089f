#include "model/nets/bert.h"

#include "model/base/mem.h"
#include "model/nets/attention.h"
#include "model/nets/layers.h"

#include <assert.h>
#include <math.h>
#include <string.h>

struct bert_block {
    struct linear qkv, dense; /* [3D,D] of query, key, value; [D,D] */
    struct norm attention_norm;
    struct mlp mlp;
    struct norm output_norm;
};

struct bert {
    struct net net;
    struct embedding word, position, type; /* [V,D] [context,D] [n_types,D] */
    struct norm norm;
    struct bert_block *block; /* [n_layers] */
    struct linear pooler;     /* [D,D] */
    struct linear classifier; /* [L,D] */
};

/* ---- loading --------------------------------------------------------------------- */

static const struct net_ops bert_ops;

size_t bert_size(void)
{
    return sizeof(struct bert);
}

static void load_qkv(struct builder *b, struct linear *l, size_t D)
{
    static const char *const weights[3] = {"attention.self.query.weight",
                                           "attention.self.key.weight",
                                           "attention.self.value.weight"};
    static const char *const biases[3] = {"attention.self.query.bias",
                                          "attention.self.key.bias",
                                          "attention.self.value.bias"};
    builder_matrix(b, &l->w, 3 * D, D);
    l->bias = builder_floats(b, 3 * D);
    for (size_t i = 0; i < 3 && b->rc == ERR_OK; i++) {
        builder_rows(b, &l->w, weights[i], i * D, D);
        builder_read(b, biases[i], D, l->bias + i * D);
    }
}

static void load_block(struct builder *b, const struct config *c, size_t layer,
                       struct bert_block *p)
{
    size_t D = c->width, F = c->mlp_width;
    builder_scope(b, "encoder.layer.%zu.", layer);
    load_qkv(b, &p->qkv, D);
    builder_linear(b, &p->dense, "attention.output.dense", D, D);
    builder_norm(b, &p->attention_norm, "attention.output.LayerNorm", D, c->norm_eps);
    builder_linear(b, &p->mlp.up, "intermediate.dense", F, D);
    builder_linear(b, &p->mlp.down, "output.dense", D, F);
    builder_norm(b, &p->output_norm, "output.LayerNorm", D, c->norm_eps);
    p->mlp.act = layer_act_of(b->k, c->act);
}

void bert_load(struct net *n, struct builder *b)
{
    struct bert *m = (struct bert *)n;
    const struct config *c = &n->cfg;
    size_t D = c->width;
    n->ops = &bert_ops;
    n->out_width = D;
    assert(c->n_heads > 0 && c->width % c->n_heads == 0 && c->context > 0);
    weights_prefix(b->w, "bert.");
    weights_ignore(b->w, "embeddings.position_ids"); /* 0, 1, 2, ... */
    builder_scope(b, "embeddings.");
    builder_embedding(b, &m->word, "word_embeddings.weight", c->vocab, D);
    builder_embedding(b, &m->position, "position_embeddings.weight", c->context, D);
    builder_embedding(b, &m->type, "token_type_embeddings.weight", c->n_types, D);
    builder_norm(b, &m->norm, "LayerNorm", D, c->norm_eps);
    m->block = builder_array(b, c->n_layers, sizeof *m->block);
    for (size_t i = 0; i < c->n_layers && b->rc == ERR_OK; i++)
        load_block(b, c, i, &m->block[i]);
    builder_scope(b, "%s", "");
    builder_linear(b, &m->pooler, "pooler.dense", D, D);
    weights_prefix(b->w, "");
    builder_linear(b, &m->classifier, "classifier", c->n_labels, D);
}

static void bert_done(struct net *n)
{
    struct bert *m = (struct bert *)n;
    for (size_t i = 0; m->block && i < n->cfg.n_layers; i++) {
        struct bert_block *p = &m->block[i];
        linear_done(&p->qkv);
        linear_done(&p->dense);
        norm_done(&p->attention_norm);
        linear_done(&p->mlp.up);
        linear_done(&p->mlp.down);
        norm_done(&p->output_norm);
    }
    mem_free(m->block);
    mem_free(m->word.table);
    mem_free(m->position.table);
    mem_free(m->type.table);
    norm_done(&m->norm);
    linear_done(&m->pooler);
    linear_done(&m->classifier);
}

/* ---- a pass ---------------------------------------------------------------------- */

enum { BUF_X, BUF_N, BUF_QKV, BUF_F, BUF_S, BUF_PICKS, N_BUFS };

static void buffer_sizes(const struct bert *m, size_t B, size_t T, size_t longest,
                         size_t *floats)
{
    const struct config *c = &m->net.cfg;
    floats[BUF_X] = T * c->width;
    floats[BUF_N] = T * c->width;
    floats[BUF_QKV] = T * 3 * c->width;
    floats[BUF_F] = layer_mlp_floats(&m->block[0].mlp, T);
    floats[BUF_S] = attention_floats(B, c->n_heads, longest);
    floats[BUF_PICKS] = layer_pick_floats(B);
}

static size_t bert_scratch_bytes(const struct net *n, size_t B, size_t T, size_t longest,
                                 enum net_want want)
{
    (void)want;
    size_t floats[N_BUFS];
    buffer_sizes((const struct bert *)n, B, T, longest, floats);
    return layer_scratch(floats, N_BUFS);
}

/* One forward pass. rows: how many rows of x are still worked on. */
struct pass {
    const struct bert *m;
    const struct net_batch *batch;
    struct exec *x;
    float *buf[N_BUFS];
    size_t rows, longest;
    size_t *picks; /* [B] the first position, which the classifier reads */
};

static void embed(const struct pass *p)
{
    const struct net_batch *batch = p->batch;
    const struct kernels *k = p->x->k;
    size_t D = p->m->net.cfg.width;
    for (size_t b = 0; b < batch->B; b++)
        for (size_t t = batch->starts[b]; t < batch->starts[b + 1]; t++) {
            float *x = p->buf[BUF_X] + t * D, *more = p->buf[BUF_N];
            layer_embed(k, &p->m->word, (size_t)batch->ids[t], x);
            layer_embed(k, &p->m->type, batch->types ? batch->types[t] : 0, more);
            k->add(D, more, x);
            layer_embed(k, &p->m->position, t - batch->starts[b], more);
            k->add(D, more, x);
        }
    layer_norm(p->x, &p->m->norm, p->rows, p->buf[BUF_X], p->buf[BUF_X]);
}

/* Keeps the first row of each sequence only. */
static void keep_first(struct pass *p)
{
    if (p->rows == p->batch->B)
        return;
    layer_keep(p->batch, p->picks, p->m->net.cfg.width, p->buf[BUF_X]);
    p->rows = p->batch->B;
}

/* x = norm(x + dense(attention(x))); x = norm(x + mlp(x)). With `first`, keys and values
 * of all rows, but everything behind them of the first rows only. */
static void run_block(struct pass *p, size_t layer, bool first)
{
    const struct bert_block *m = &p->m->block[layer];
    size_t D = p->m->net.cfg.width, N = p->m->net.cfg.n_heads, E = D / N;
    float *x = p->buf[BUF_X], *n = p->buf[BUF_N];
    layer_linear(p->x, &m->qkv, p->rows, x, p->buf[BUF_QKV]);
    struct attention a = {.N = N,
                          .K = N,
                          .E = E,
                          .scale = (float)(1 / sqrt((double)E)),
                          .layer = layer,
                          .batch = p->batch,
                          .picks = first ? p->picks : NULL,
                          .qkv = p->buf[BUF_QKV],
                          .out = n};
    attention_run(&a, p->longest, p->buf[BUF_S], p->x);
    if (first)
        keep_first(p);
    layer_linear_add(p->x, &m->dense, p->rows, n, x);
    layer_norm(p->x, &m->attention_norm, p->rows, x, x);
    layer_mlp(p->x, &m->mlp, p->rows, x, p->buf[BUF_F], x);
    layer_norm(p->x, &m->output_norm, p->rows, x, x);
}

static void run(struct pass *p, float *y)
{
    const struct bert *m = p->m;
    const struct config *c = &m->net.cfg;
    const struct trace *trace = p->x->trace;
    bool all = trace && (trace->attention || trace->hidden);
    float *x = p->buf[BUF_X], *n = p->buf[BUF_N];
    p->picks = memset(p->buf[BUF_PICKS], 0, p->batch->B * sizeof *p->picks);
    embed(p);
    for (size_t i = 0; i < c->n_layers; i++) {
        layer_trace_hidden(&m->net, p->batch, p->x, i, c->width, x);
        run_block(p, i, !all && i + 1 == c->n_layers);
    }
    if (all)
        layer_trace_hidden(&m->net, p->batch, p->x, c->n_layers, c->width, x);
    keep_first(p);
    layer_linear_act(p->x, &m->pooler, p->x->k->tanh, p->rows, x, n);
    layer_linear(p->x, &m->classifier, p->rows, n, y);
}

static enum err_code check(const struct net *n, const struct net_batch *batch,
                           enum net_want want, size_t longest, struct err *err)
{
    if (want != NET_LABELS)
        return err_set(err, ERR_TASK, "a %s gives labels only", n->cfg.architecture);
    if (batch->states)
        return err_set(err, ERR_TASK, "a %s has no states", n->cfg.architecture);
    if (longest > n->cfg.context)
        return err_set(err, ERR_LIMIT, "%zu tokens exceed the context of %zu positions",
                       longest, n->cfg.context);
    size_t T = batch->starts[batch->B];
    for (size_t t = 0; batch->types && t < T; t++)
        if (batch->types[t] >= n->cfg.n_types)
            return err_set(err, ERR_INPUT, "token type %u, the model has %zu",
                           (unsigned)batch->types[t], n->cfg.n_types);
    return ERR_OK;
}

static enum err_code bert_forward(const struct net *n, const struct net_batch *batch,
                                  enum net_want want, float *y, struct exec *x,
                                  struct err *err)
{
    struct pass p = {.m = (const struct bert *)n,
                     .batch = batch,
                     .x = x,
                     .rows = batch->starts[batch->B]};
    size_t floats[N_BUFS], mark = arena_mark(x->tmp);
    enum err_code rc = layer_check(n, batch, x, &p.longest, err);
    if (rc == ERR_OK)
        rc = check(n, batch, want, p.longest, err);
    if (rc != ERR_OK)
        return rc;
    buffer_sizes(p.m, batch->B, p.rows, p.longest, floats);
    rc = layer_take(x->tmp, floats, N_BUFS, p.buf, err);
    if (rc == ERR_OK)
        run(&p, y);
    arena_rewind(x->tmp, mark);
    return rc;
}

static enum err_code bert_logits(const struct net *n, size_t R, const float *h, float *y,
                                 struct exec *x, struct err *err)
{
    (void)R, (void)h, (void)y, (void)x;
    return err_set(err, ERR_TASK, "a %s is no language model", n->cfg.architecture);
}

static const struct net_ops bert_ops = {.scratch_bytes = bert_scratch_bytes,
                                        .forward = bert_forward,
                                        .logits = bert_logits,
                                        .done = bert_done};
