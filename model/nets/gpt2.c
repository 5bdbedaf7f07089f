#include "model/nets/gpt2.h"

#include "model/base/mem.h"
#include "model/nets/attention.h"
#include "model/nets/cache.h"
#include "model/nets/layers.h"

#include <assert.h>
#include <math.h>
#include <string.h>

struct gpt2_block {
    struct norm ln_1, ln_2;
    struct linear qkv, proj; /* [3D,D], [D,D] */
    struct mlp mlp;
    float scale; /* of attention scores */
};

struct gpt2 {
    struct net net;
    struct embedding wte; /* [V,D] */
    struct embedding wpe; /* [context,D] */
    struct norm ln_f;
    struct linear lm_head;    /* [V,D], no bias */
    struct gpt2_block *block; /* [n_layers] */
};

/* ---- loading --------------------------------------------------------------------- */

static const struct net_ops gpt2_ops;

size_t gpt2_size(void)
{
    return sizeof(struct gpt2);
}

static float score_scale(const struct config *c, size_t layer)
{
    size_t E = c->width / c->n_heads;
    double scale = c->unscaled ? 1 : 1 / sqrt((double)E);
    return (float)(c->scale_by_layer ? scale / (double)(layer + 1) : scale);
}

static void load_block(struct builder *b, const struct config *c, size_t layer,
                       struct gpt2_block *g)
{
    size_t D = c->width, F = c->mlp_width;
    builder_scope(b, "h.%zu.", layer);
    builder_norm(b, &g->ln_1, "ln_1", D, c->norm_eps);
    builder_conv1d(b, &g->qkv, "attn.c_attn", 3 * D, D);
    builder_conv1d(b, &g->proj, "attn.c_proj", D, D);
    builder_norm(b, &g->ln_2, "ln_2", D, c->norm_eps);
    builder_conv1d(b, &g->mlp.up, "mlp.c_fc", F, D);
    builder_conv1d(b, &g->mlp.down, "mlp.c_proj", D, F);
    g->mlp.act = layer_act_of(b->k, c->act);
    g->scale = score_scale(c, layer);
}

void gpt2_load(struct net *n, struct builder *b)
{
    struct gpt2 *g = (struct gpt2 *)n;
    const struct config *c = &n->cfg;
    n->ops = &gpt2_ops;
    n->out_width = c->width;
    assert(c->n_heads > 0 && c->width % c->n_heads == 0 && c->context > 0);
    weights_prefix(b->w, "transformer.");
    weights_ignore(b->w, ".attn.bias"); /* the causal mask, stored by old versions */
    weights_ignore(b->w, ".attn.masked_bias");
    if (c->tied)
        builder_tied(b, &g->wte, &g->lm_head.w, "wte.weight", c->vocab, c->width);
    else
        builder_embedding(b, &g->wte, "wte.weight", c->vocab, c->width);
    builder_embedding(b, &g->wpe, "wpe.weight", c->context, c->width);
    g->block = builder_array(b, c->n_layers, sizeof *g->block);
    for (size_t i = 0; i < c->n_layers && b->rc == ERR_OK; i++)
        load_block(b, c, i, &g->block[i]);
    builder_scope(b, "%s", "");
    builder_norm(b, &g->ln_f, "ln_f", c->width, c->norm_eps);
    weights_prefix(b->w, "");
    if (c->tied)
        builder_copy(b, &g->lm_head.w, "wte.weight", "lm_head.weight");
    else
        builder_packed(b, &g->lm_head.w, "lm_head.weight", c->vocab, c->width);
}

static void gpt2_done(struct net *n)
{
    struct gpt2 *g = (struct gpt2 *)n;
    for (size_t i = 0; g->block && i < n->cfg.n_layers; i++) {
        struct gpt2_block *p = &g->block[i];
        norm_done(&p->ln_1);
        norm_done(&p->ln_2);
        linear_done(&p->qkv);
        linear_done(&p->proj);
        linear_done(&p->mlp.up);
        linear_done(&p->mlp.down);
    }
    mem_free(g->block);
    mem_free(g->wte.table);
    mem_free(g->wpe.table);
    norm_done(&g->ln_f);
    linear_done(&g->lm_head);
}

/* ---- a pass ---------------------------------------------------------------------- */

enum { BUF_X, BUF_N, BUF_QKV, BUF_F, BUF_S, BUF_PICKS, N_BUFS };

static void buffer_sizes(const struct gpt2 *g, size_t B, size_t T, size_t *floats)
{
    const struct config *c = &g->net.cfg;
    floats[BUF_X] = T * c->width;
    floats[BUF_N] = T * c->width;
    floats[BUF_QKV] = T * 3 * c->width;
    floats[BUF_F] = layer_mlp_floats(&g->block[0].mlp, T);
    floats[BUF_S] = attention_floats(B, c->n_heads, c->context);
    floats[BUF_PICKS] = layer_pick_floats(B);
}

static size_t gpt2_scratch_bytes(const struct net *n, size_t B, size_t T, size_t longest,
                                 enum net_want want)
{
    (void)longest, (void)want;
    size_t floats[N_BUFS];
    buffer_sizes((const struct gpt2 *)n, B, T, floats);
    return layer_scratch(floats, N_BUFS);
}

/* One forward pass. rows: how many rows of x are still worked on. */
struct pass {
    const struct gpt2 *g;
    const struct net_batch *batch;
    struct exec *x;
    float *buf[N_BUFS];
    size_t rows;
    size_t *picks; /* [B] the positions that NET_ONE is about */
};

static size_t past_of(const struct pass *p, size_t b)
{
    const struct cache *c = cache_of(p->batch, b);
    return c ? cache_length(c) : 0;
}

static void embed(const struct pass *p)
{
    size_t D = p->g->net.cfg.width;
    for (size_t b = 0; b < p->batch->B; b++)
        for (size_t t = p->batch->starts[b]; t < p->batch->starts[b + 1]; t++) {
            float *x = p->buf[BUF_X] + t * D, *position = p->buf[BUF_N];
            layer_embed(p->x->k, &p->g->wte, (size_t)p->batch->ids[t], x);
            layer_embed(p->x->k, &p->g->wpe, past_of(p, b) + t - p->batch->starts[b],
                        position);
            p->x->k->add(D, position, x);
        }
}

/* Keeps the picked row of each sequence only: nothing else is asked for any more. */
static void keep_picked(struct pass *p)
{
    if (p->rows == p->batch->B)
        return;
    layer_keep(p->batch, p->picks, p->g->net.cfg.width, p->buf[BUF_X]);
    p->rows = p->batch->B;
}

static void pick(struct pass *p)
{
    p->picks = (size_t *)p->buf[BUF_PICKS];
    for (size_t b = 0; b < p->batch->B; b++)
        p->picks[b] = p->batch->picks ? p->batch->picks[b]
                                      : p->batch->starts[b + 1] - p->batch->starts[b] - 1;
}

/* x += proj(attention(ln_1(x))); x += mlp(ln_2(x)). With `last`, keys and values of all
 * rows, but everything behind them of the picked rows only. */
static void run_block(struct pass *p, size_t layer, bool last)
{
    const struct gpt2_block *g = &p->g->block[layer];
    const struct config *c = &p->g->net.cfg;
    size_t D = c->width;
    float *x = p->buf[BUF_X], *n = p->buf[BUF_N], *qkv = p->buf[BUF_QKV];
    layer_norm(p->x, &g->ln_1, p->rows, x, n);
    layer_linear(p->x, &g->qkv, p->rows, n, qkv);
    for (size_t b = 0; p->batch->states && b < p->batch->B; b++) {
        size_t start = p->batch->starts[b], len = p->batch->starts[b + 1] - start;
        cache_put(cache_of(p->batch, b), layer, len, qkv + start * 3 * D + D,
                  qkv + start * 3 * D + 2 * D, 3 * D);
    }
    struct attention a = {.N = c->n_heads,
                          .K = c->n_heads,
                          .E = D / c->n_heads,
                          .scale = g->scale,
                          .causal = true,
                          .layer = layer,
                          .batch = p->batch,
                          .picks = last ? p->picks : NULL,
                          .qkv = qkv,
                          .out = n};
    attention_run(&a, c->context, p->buf[BUF_S], p->x);
    if (last)
        keep_picked(p);
    layer_linear_add(p->x, &g->proj, p->rows, n, x);
    layer_norm(p->x, &g->ln_2, p->rows, x, n);
    layer_mlp(p->x, &g->mlp, p->rows, n, p->buf[BUF_F], x);
}

static void run(struct pass *p, enum net_want want, float *y)
{
    const struct config *c = &p->g->net.cfg;
    const struct trace *trace = p->x->trace;
    bool all = want == NET_ALL || (trace && (trace->attention || trace->hidden));
    pick(p);
    embed(p);
    for (size_t i = 0; i < c->n_layers; i++) {
        layer_trace_hidden(&p->g->net, p->batch, p->x, i, c->width, p->buf[BUF_X]);
        run_block(p, i, !all && i + 1 == c->n_layers);
    }
    if (trace && trace->hidden) {
        layer_norm(p->x, &p->g->ln_f, p->rows, p->buf[BUF_X], p->buf[BUF_N]);
        layer_trace_hidden(&p->g->net, p->batch, p->x, c->n_layers, c->width,
                           p->buf[BUF_N]);
    }
    if (want == NET_ONE)
        keep_picked(p);
    layer_norm(p->x, &p->g->ln_f, p->rows, p->buf[BUF_X], y);
}

static enum err_code reserve(const struct gpt2 *g, const struct net_batch *batch,
                             size_t longest, struct err *err)
{
    size_t context = g->net.cfg.context;
    if (!batch->states && longest > context)
        return err_set(err, ERR_LIMIT, "%zu tokens exceed the context of %zu positions",
                       longest, context);
    for (size_t b = 0; batch->states && b < batch->B; b++) {
        size_t len = batch->starts[b + 1] - batch->starts[b];
        enum err_code rc = cache_reserve(cache_of(batch, b), len, err);
        if (rc != ERR_OK)
            return rc;
    }
    return ERR_OK;
}

static enum err_code gpt2_forward(const struct net *n, const struct net_batch *batch,
                                  enum net_want want, float *y, struct exec *x,
                                  struct err *err)
{
    struct pass p = {.g = (const struct gpt2 *)n,
                     .batch = batch,
                     .x = x,
                     .rows = batch->starts[batch->B]};
    size_t floats[N_BUFS], longest, mark = arena_mark(x->tmp);
    if (want == NET_LABELS)
        return err_set(err, ERR_TASK, "a %s has no classifier", n->cfg.architecture);
    enum err_code rc = layer_check(n, batch, x, &longest, err);
    if (rc != ERR_OK)
        return rc;
    buffer_sizes(p.g, batch->B, p.rows, floats);
    rc = layer_take(x->tmp, floats, N_BUFS, p.buf, err);
    if (rc == ERR_OK)
        rc = reserve(p.g, batch, longest, err);
    if (rc == ERR_OK) {
        run(&p, want, y);
        for (size_t b = 0; batch->states && b < batch->B; b++)
            cache_advance(cache_of(batch, b), batch->starts[b + 1] - batch->starts[b]);
    }
    arena_rewind(x->tmp, mark);
    return rc;
}

static enum err_code gpt2_logits(const struct net *n, size_t R, const float *h, float *y,
                                 struct exec *x, struct err *err)
{
    (void)err;
    layer_linear(x, &((const struct gpt2 *)n)->lm_head, R, h, y);
    return ERR_OK;
}

/* ---- states ---------------------------------------------------------------------- */

static enum err_code gpt2_state_new(const struct net *n, struct net_state **out,
                                    struct err *err)
{
    struct cache_shape shape = {.n_layers = n->cfg.n_layers,
                                .K = n->cfg.n_heads,
                                .E = n->cfg.width / n->cfg.n_heads,
                                .context = n->cfg.context};
    struct cache *c = NULL;
    enum err_code rc = cache_new(&shape, &c, err);
    if (rc == ERR_OK)
        *out = (struct net_state *)c;
    return rc;
}

static void gpt2_state_free(struct net_state *s)
{
    cache_free((struct cache *)s);
}

static enum err_code gpt2_state_copy(struct net_state *to, const struct net_state *from,
                                     struct err *err)
{
    (void)err;
    cache_copy((struct cache *)to, (const struct cache *)from);
    return ERR_OK;
}

static void gpt2_state_reset(struct net_state *s)
{
    cache_reset((struct cache *)s);
}

static size_t gpt2_state_bytes(const struct net_state *s)
{
    return cache_bytes((const struct cache *)s);
}

static size_t gpt2_state_length(const struct net_state *s)
{
    return cache_length((const struct cache *)s);
}

static const struct net_ops gpt2_ops = {.scratch_bytes = gpt2_scratch_bytes,
                                        .forward = gpt2_forward,
                                        .logits = gpt2_logits,
                                        .state_new = gpt2_state_new,
                                        .state_free = gpt2_state_free,
                                        .state_copy = gpt2_state_copy,
                                        .state_reset = gpt2_state_reset,
                                        .state_bytes = gpt2_state_bytes,
                                        .state_length = gpt2_state_length,
                                        .done = gpt2_done};
