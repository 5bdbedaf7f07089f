#include "model/nets/decoder.h"

#include "model/base/mem.h"
#include "model/nets/attention.h"
#include "model/nets/cache.h"

#include <assert.h>
#include <string.h>

/* ---- loading --------------------------------------------------------------------- */

static const struct net_ops decoder_ops;

size_t decoder_size(void)
{
    return sizeof(struct decoder);
}

void decoder_begin(struct decoder *d, struct builder *b)
{
    const struct config *c = &d->net.cfg;
    assert(c->n_layers > 0 && c->n_kv_heads > 0 && c->n_heads % c->n_kv_heads == 0);
    assert(c->head_width > 0 && c->context > 0);
    d->net.ops = &decoder_ops;
    d->net.out_width = c->width;
    d->block = builder_array(b, c->n_layers, sizeof *d->block);
}

static bool tied(const struct config *c)
{
    return c->head == HEAD_LM && c->tied;
}

void decoder_words(struct decoder *d, struct builder *b, const char *words)
{
    const struct config *c = &d->net.cfg;
    if (tied(c))
        builder_tied(b, &d->words, &d->head.w, words, c->vocab, c->width);
    else
        builder_embedding(b, &d->words, words, c->vocab, c->width);
}

void decoder_head(struct decoder *d, struct builder *b, const char *words)
{
    const struct config *c = &d->net.cfg;
    builder_scope(b, "%s", "");
    weights_prefix(b->w, "");
    b->exact = c->head == HEAD_LABELS;
    if (tied(c))
        builder_copy(b, &d->head.w, words, "lm_head.weight");
    else if (c->head == HEAD_LM)
        builder_packed(b, &d->head.w, "lm_head.weight", c->vocab, c->width);
    else if (c->head == HEAD_LABELS)
        builder_packed(b, &d->head.w, "score.weight", c->n_labels, c->width);
    else if (c->unnamed)
        weights_ignore(b->w, "lm_head.weight");
    b->exact = false;
}

static void decoder_done(struct net *n)
{
    struct decoder *d = (struct decoder *)n;
    for (size_t i = 0; d->block && i < n->cfg.n_layers; i++) {
        struct decoder_block *p = &d->block[i];
        norm_done(&p->before);
        norm_done(&p->between);
        linear_done(&p->qkv);
        linear_done(&p->out);
        norm_done(&p->q_norm);
        norm_done(&p->k_norm);
        mlp_done(&p->mlp);
    }
    mem_free(d->block);
    rope_done(&d->rope);
    norm_done(&d->norm);
    linear_done(&d->head);
}

/* ---- scratch --------------------------------------------------------------------- */

/* X: the rows worked on. N: normed rows, what attention gives, a position's row. */
enum { BUF_X, BUF_N, BUF_QKV, BUF_F, BUF_S, BUF_TURNS, BUF_PICKS, BUF_INT8, N_BUFS };

static size_t qkv_width(const struct config *c)
{
    return (c->n_heads + 2 * c->n_kv_heads) * c->head_width;
}

static void buffer_sizes(const struct decoder *d, size_t B, size_t T, size_t *floats)
{
    const struct config *c = &d->net.cfg;
    size_t heads = c->n_heads * c->head_width;
    floats[BUF_X] = T * c->width;
    floats[BUF_N] = T * (heads > c->width ? heads : c->width);
    floats[BUF_QKV] = T * qkv_width(c);
    floats[BUF_F] = layer_mlp_floats(&d->block[0].mlp, T);
    floats[BUF_S] = attention_floats(&(struct attention_size){
        c->n_heads, c->n_kv_heads, c->head_width, B, T, c->context});
    floats[BUF_TURNS] = T * 2 * d->rope.half;
    floats[BUF_PICKS] = layer_pick_floats(B);
    floats[BUF_INT8] = layer_int8_floats(&d->net, T);
}

static size_t decoder_scratch_bytes(const struct net *n, size_t B, size_t T,
                                    size_t longest, enum net_want want)
{
    (void)longest, (void)want;
    size_t floats[N_BUFS];
    buffer_sizes((const struct decoder *)n, B, T, floats);
    return layer_scratch(floats, N_BUFS);
}

/* ---- a pass ---------------------------------------------------------------------- */

/* One forward pass. rows: how many rows of x are still worked on. */
struct pass {
    const struct decoder *d;
    const struct net_batch *batch;
    enum net_want want;
    struct exec *x;
    float *buf[N_BUFS];
    size_t rows;
    size_t *picks; /* [B] the positions that NET_ONE and NET_LABELS are about */
};

static size_t length_of(const struct pass *p, size_t b)
{
    return p->batch->starts[b + 1] - p->batch->starts[b];
}

/* The last position without padding token; the first if there is nothing else. */
static size_t last_word(const struct pass *p, size_t b)
{
    const int32_t *ids = p->batch->ids + p->batch->starts[b];
    size_t at = length_of(p, b) - 1;
    if (p->d->net.cfg.pad_id < 0)
        return at;
    while (at > 0 && ids[at] == p->d->net.cfg.pad_id)
        at--;
    return at;
}

static void pick(struct pass *p)
{
    p->picks = (size_t *)p->buf[BUF_PICKS];
    for (size_t b = 0; b < p->batch->B; b++) {
        if (p->want == NET_LABELS)
            p->picks[b] = last_word(p, b);
        else
            p->picks[b] = p->batch->picks ? p->batch->picks[b] : length_of(p, b) - 1;
        assert(p->picks[b] < length_of(p, b));
    }
}

static void keep_picked(struct pass *p)
{
    if (p->rows == p->batch->B)
        return;
    layer_keep(p->batch, p->picks, p->d->net.cfg.width, p->buf[BUF_X]);
    p->rows = p->batch->B;
}

static void embed(const struct pass *p)
{
    size_t D = p->d->net.cfg.width;
    float *position = p->buf[BUF_N];
    for (size_t b = 0; b < p->batch->B; b++) {
        const struct cache *c = cache_of(p->batch, b);
        size_t past = c ? cache_length(c) : 0, start = p->batch->starts[b];
        for (size_t t = start; t < p->batch->starts[b + 1]; t++) {
            float *x = p->buf[BUF_X] + t * D;
            layer_embed(p->x->k, &p->d->words, (size_t)p->batch->ids[t], x);
            if (!p->d->positions.D)
                continue;
            layer_embed(p->x->k, &p->d->positions, past + t - start, position);
            p->x->k->add(D, position, x);
        }
    }
}

/* Norms and turns the query and key heads of every row, where the net does that. */
static void place_heads(const struct pass *p, const struct decoder_block *block)
{
    const struct config *c = &p->d->net.cfg;
    size_t ld = qkv_width(c), keys = c->n_heads * c->head_width;
    float *qkv = p->buf[BUF_QKV];
    for (size_t t = 0; block->q_norm.w && t < p->rows; t++) {
        float *row = qkv + t * ld;
        layer_norm(p->x, &block->q_norm, c->n_heads, row, row);
        layer_norm(p->x, &block->k_norm, c->n_kv_heads, row + keys, row + keys);
    }
    if (p->d->rope.half)
        rope_rotate(&p->d->rope, p->rows, c->n_heads + c->n_kv_heads, ld,
                    p->buf[BUF_TURNS], p->x, qkv);
}

static void remember(const struct pass *p, size_t layer)
{
    const struct config *c = &p->d->net.cfg;
    size_t ld = qkv_width(c), keys = c->n_heads * c->head_width;
    for (size_t b = 0; p->batch->states && b < p->batch->B; b++) {
        const float *k = p->buf[BUF_QKV] + p->batch->starts[b] * ld + keys;
        struct cache_rows rows = {length_of(p, b), k, k + c->n_kv_heads * c->head_width,
                                  ld};
        cache_put(cache_of(p->batch, b), p->x->k, layer, &rows);
    }
}

/* With `last`, keys and values of all rows, but everything behind them of the picked rows
 * only. */
static void run_block(struct pass *p, size_t layer, bool last)
{
    const struct decoder_block *block = &p->d->block[layer];
    const struct config *c = &p->d->net.cfg;
    float *x = p->buf[BUF_X], *n = p->buf[BUF_N], *qkv = p->buf[BUF_QKV];
    layer_norm(p->x, &block->before, p->rows, x, n);
    layer_qkv(p->x, &block->qkv, c->n_heads * c->head_width, p->batch,
              last ? p->picks : NULL, n, qkv);
    place_heads(p, block);
    remember(p, layer);
    struct attention a = {.N = c->n_heads,
                          .K = c->n_kv_heads,
                          .E = c->head_width,
                          .scale = block->scale,
                          .causal = true,
                          .window = block->window,
                          .layer = layer,
                          .reader = &block->out.w,
                          .batch = p->batch,
                          .picks = last ? p->picks : NULL,
                          .qkv = qkv,
                          .out = n};
    attention_run(&a, c->context, p->buf[BUF_S], p->x);
    if (last)
        keep_picked(p);
    layer_linear_add(p->x, &block->out, p->rows, n, x);
    layer_norm(p->x, &block->between, p->rows, x, n);
    layer_mlp(p->x, &block->mlp, p->rows, n, p->buf[BUF_F], x);
}

static void run(struct pass *p, float *y)
{
    const struct decoder *d = p->d;
    const struct config *c = &d->net.cfg;
    const struct trace *trace = p->x->trace;
    bool all = p->want == NET_ALL || (trace && (trace->attention || trace->hidden));
    float *x = p->buf[BUF_X], *n = p->buf[BUF_N];
    pick(p);
    embed(p);
    if (d->rope.half)
        rope_turns(&d->rope, p->batch, p->x, p->buf[BUF_TURNS]);
    size_t n_layers = trace_layers(trace, c->n_layers);
    for (size_t i = 0; i < n_layers && !breaks_stop(p->x->breaks); i++) {
        layer_trace_hidden(&d->net, p->batch, p->x, i, c->width, x);
        run_block(p, i, !all && i + 1 == c->n_layers);
    }
    if (trace && trace->hidden) {
        bool last = n_layers == c->n_layers;
        if (last)
            layer_norm(p->x, &d->norm, p->rows, x, n);
        layer_trace_hidden(&d->net, p->batch, p->x, n_layers, c->width, last ? n : x);
    }
    if (p->want != NET_ALL)
        keep_picked(p);
    layer_norm(p->x, &d->norm, p->rows, x, p->want == NET_LABELS ? n : y);
    if (p->want == NET_LABELS)
        layer_linear(p->x, &d->head, p->rows, n, y);
}

static enum err_code check(const struct pass *p, size_t longest, struct err *err)
{
    const struct config *c = &p->d->net.cfg;
    if (p->want == NET_LABELS && c->head != HEAD_LABELS)
        return err_set(err, ERR_TASK, "a %s has no classifier", c->architecture);
    if (p->want == NET_LABELS && p->batch->states)
        return err_set(err, ERR_TASK, "a %s doesn't classify from a state",
                       c->architecture);
    if (!p->batch->states && longest > c->context)
        return err_set(err, ERR_LIMIT, "%zu tokens exceed the context of %zu positions",
                       longest, c->context);
    return ERR_OK;
}

static enum err_code reserve(const struct pass *p, struct err *err)
{
    enum err_code rc = ERR_OK;
    for (size_t b = 0; p->batch->states && b < p->batch->B && rc == ERR_OK; b++)
        rc = cache_reserve(cache_of(p->batch, b), length_of(p, b), err);
    return rc;
}

static enum err_code decoder_forward(const struct net *n, const struct net_batch *batch,
                                     enum net_want want, float *y, struct exec *x,
                                     struct err *err)
{
    struct pass p = {.d = (const struct decoder *)n,
                     .batch = batch,
                     .want = want,
                     .x = x,
                     .rows = batch->starts[batch->B]};
    size_t floats[N_BUFS], longest, mark = arena_mark(x->tmp);
    enum err_code rc = layer_check(n, batch, x, &longest, err);
    if (rc == ERR_OK)
        rc = check(&p, longest, err);
    if (rc != ERR_OK)
        return rc;
    buffer_sizes(p.d, batch->B, p.rows, floats);
    rc = layer_take(x->tmp, floats, N_BUFS, p.buf, err);
    if (rc == ERR_OK)
        rc = reserve(&p, err);
    if (rc == ERR_OK) {
        layer_lend(x, n, p.rows, p.buf[BUF_INT8]);
        run(&p, y);
        layer_lend(x, n, 0, NULL);
        rc = layer_outcome(x, err);
        for (size_t b = 0; rc == ERR_OK && batch->states && b < batch->B; b++)
            cache_advance(cache_of(batch, b), length_of(&p, b));
    }
    arena_rewind(x->tmp, mark);
    return rc;
}

static enum err_code decoder_logits(const struct net *n, size_t R, const float *h,
                                    float *y, struct exec *x, struct err *err)
{
    if (n->cfg.head != HEAD_LM)
        return err_set(err, ERR_TASK, "a %s is no language model", n->cfg.architecture);
    return layer_logits(x, n, &((const struct decoder *)n)->head, R, h, y, err);
}

static enum err_code decoder_read_out(const struct net *n, size_t layer, size_t R,
                                      const float *h, float *y, struct exec *x,
                                      struct err *err)
{
    const struct decoder *d = (const struct decoder *)n;
    (void)err;
    if (layer == n->cfg.n_layers)
        memcpy(y, h, R * n->cfg.width * sizeof *y);
    else
        layer_norm(x, &d->norm, R, h, y);
    return ERR_OK;
}

/* ---- states ---------------------------------------------------------------------- */

static enum err_code decoder_state_new(const struct net *n, struct net_state **out,
                                       struct err *err)
{
    struct cache_shape shape = {.n_layers = n->cfg.n_layers,
                                .K = n->cfg.n_kv_heads,
                                .E = n->cfg.head_width,
                                .context = n->cfg.context};
    struct cache *c = NULL;
    enum err_code rc = cache_new(&shape, &c, err);
    if (rc == ERR_OK)
        *out = (struct net_state *)c;
    return rc;
}

static void decoder_state_free(struct net_state *s)
{
    cache_free((struct cache *)s);
}

static enum err_code decoder_state_copy(struct net_state *to,
                                        const struct net_state *from, struct err *err)
{
    (void)err;
    cache_copy((struct cache *)to, (const struct cache *)from);
    return ERR_OK;
}

static void decoder_state_reset(struct net_state *s)
{
    cache_reset((struct cache *)s);
}

static size_t decoder_state_bytes(const struct net_state *s)
{
    return cache_bytes((const struct cache *)s);
}

static size_t decoder_state_growth(const struct net_state *s, size_t n)
{
    return cache_growth((const struct cache *)s, n);
}

static size_t decoder_state_length(const struct net_state *s)
{
    return cache_length((const struct cache *)s);
}

static void decoder_state_truncate(struct net_state *s, size_t length)
{
    cache_truncate((struct cache *)s, length);
}

static size_t decoder_state_enter(struct net_state *s)
{
    return cache_enter((struct cache *)s);
}

static size_t decoder_state_leave(struct net_state *s)
{
    return cache_leave((struct cache *)s);
}

static const struct net_ops decoder_ops = {.scratch_bytes = decoder_scratch_bytes,
                                           .forward = decoder_forward,
                                           .logits = decoder_logits,
                                           .read_out = decoder_read_out,
                                           .state_new = decoder_state_new,
                                           .state_free = decoder_state_free,
                                           .state_copy = decoder_state_copy,
                                           .state_reset = decoder_state_reset,
                                           .state_bytes = decoder_state_bytes,
                                           .state_length = decoder_state_length,
                                           .state_growth = decoder_state_growth,
                                           .state_truncate = decoder_state_truncate,
                                           .state_enter = decoder_state_enter,
                                           .state_leave = decoder_state_leave,
                                           .done = decoder_done};
