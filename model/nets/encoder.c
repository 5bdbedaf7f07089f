#include "model/nets/encoder.h"

#include "model/nets/pool.h"

#include <math.h>
#include <string.h>

/* ---- scratch --------------------------------------------------------------------- */

enum { BUF_X, BUF_N, BUF_QKV, BUF_F, BUF_S, BUF_EXTRA, BUF_PICKS, BUF_INT8, N_BUFS };

static void buffer_sizes(const struct encoder *m, size_t B, size_t T, size_t longest,
                         size_t *floats)
{
    const struct config *c = &m->net.cfg;
    size_t D = c->width, W = c->embedding_width;
    floats[BUF_X] = T * (D > W ? D : W);
    floats[BUF_N] = floats[BUF_X];
    floats[BUF_QKV] = T * 3 * D;
    floats[BUF_F] = layer_mlp_floats(m->mlp, T);
    floats[BUF_S] = attention_floats(
        &(struct attention_size){c->n_heads, c->n_heads, c->head_width, B, T, longest});
    floats[BUF_EXTRA] = m->extra + T * m->extra_row;
    floats[BUF_PICKS] = layer_pick_floats(B);
    floats[BUF_INT8] = layer_int8_floats(&m->net, T);
}

static size_t encoder_scratch_bytes(const struct net *n, size_t B, size_t T,
                                    size_t longest, enum net_want want)
{
    (void)want;
    size_t floats[N_BUFS];
    buffer_sizes((const struct encoder *)n, B, T, longest, floats);
    return layer_scratch(floats, N_BUFS);
}

/* ---- a pass ---------------------------------------------------------------------- */

static void keep(struct encoder_pass *p, const size_t *picks)
{
    if (!picks || p->rows == p->batch->B)
        return;
    layer_keep(p->batch, picks, p->m->net.cfg.width, p->x);
    p->rows = p->batch->B;
}

void encoder_qkv(struct encoder_pass *p, const struct linear *l, const size_t *picks,
                 float *in)
{
    layer_qkv(p->exec, l, p->m->net.cfg.width, p->batch, picks, in, p->qkv);
    if (picks && in == p->x)
        p->rows = p->batch->B;
}

void encoder_attend(struct encoder_pass *p, const struct attention *a,
                    const size_t *picks)
{
    const struct config *c = &p->m->net.cfg;
    struct attention full = *a;
    full.N = full.K = c->n_heads;
    full.E = c->head_width;
    full.scale = (float)(1 / sqrt((double)c->head_width));
    full.batch = p->batch;
    full.picks = picks;
    full.qkv = p->qkv;
    full.out = p->n;
    attention_run(&full, p->longest, p->s, p->exec);
    keep(p, picks);
}

/* The one position of each sequence that is asked for, into picks [B]; NULL if all are:
 * classifiers read the first one or, to take the mean, all. */
static const size_t *find_picks(const struct encoder_pass *p, enum net_want want,
                                size_t *picks)
{
    const struct net_batch *batch = p->batch;
    if (want == NET_ALL || (want == NET_LABELS && p->m->net.cfg.pooling == POOL_MEAN))
        return NULL;
    if (want == NET_ONE && batch->picks)
        return batch->picks;
    for (size_t b = 0; b < batch->B; b++)
        picks[b] = want == NET_LABELS ? 0 : batch->starts[b + 1] - batch->starts[b] - 1;
    return picks;
}

/* n [B,D] = the mean of each sequence's rows of x. */
static void take_means(const struct encoder_pass *p)
{
    struct pool pool = {.kind = POOL_MEAN, .width = p->m->net.cfg.width};
    for (size_t b = 0; b < p->batch->B; b++) {
        size_t start = p->batch->starts[b], len = p->batch->starts[b + 1] - start;
        float *mean = p->n + b * pool.width;
        for (size_t i = 0; i < len; i++)
            pool_add(&pool, p->exec->k, i, p->x + (start + i) * pool.width, mean);
        pool_finish(&pool, len, mean);
    }
}

static void finish(struct encoder_pass *p, enum net_want want, float *y)
{
    const struct encoder *m = p->m;
    float *in = p->x, *rows = p->n;
    if (m->net.cfg.head == HEAD_NONE) {
        memcpy(y, in, p->rows * m->net.cfg.width * sizeof *y);
        return;
    }
    if (want != NET_LABELS) {
        head_rows(p->exec, &m->head, p->rows, in, y);
        return;
    }
    if (m->net.cfg.pooling == POOL_MEAN) {
        take_means(p);
        in = p->n;
        rows = p->x;
    }
    head_rows(p->exec, &m->head, p->batch->B, in, rows);
    layer_linear(p->exec, &m->head.out, p->batch->B, rows, y);
}

static void run(struct encoder_pass *p, const size_t *picks, enum net_want want, float *y)
{
    const struct encoder *m = p->m;
    const struct trace *trace = p->exec->trace;
    bool traced = trace && (trace->attention || trace->hidden);
    size_t L = m->net.cfg.n_layers, D = m->net.cfg.width;
    size_t n_layers = trace_layers(trace, L);
    m->embed(p);
    for (size_t i = 0; i < n_layers && !breaks_stop(p->exec->breaks); i++) {
        layer_trace_hidden(&m->net, p->batch, p->exec, i, D, p->x);
        m->block(p, i, !traced && i + 1 == L ? picks : NULL);
    }
    if (m->norm.w && n_layers == L)
        layer_norm(p->exec, &m->norm, p->rows, p->x, p->x);
    if (traced)
        layer_trace_hidden(&m->net, p->batch, p->exec, n_layers, D, p->x);
    keep(p, picks);
    finish(p, want, y);
}

/* ---- what is refused ------------------------------------------------------------- */

static enum err_code check(const struct net *n, const struct net_batch *batch,
                           enum net_want want, size_t longest, struct err *err)
{
    bool labels = n->cfg.head == HEAD_LABELS;
    if (labels != (want == NET_LABELS))
        return err_set(err, ERR_TASK,
                       labels ? "a %s gives labels only" : "a %s has no classifier",
                       n->cfg.architecture);
    if (batch->states)
        return err_set(err, ERR_TASK, "a %s has no states", n->cfg.architecture);
    if (longest > n->cfg.context)
        return err_set(err, ERR_LIMIT, "%zu tokens exceed the context of %zu positions",
                       longest, n->cfg.context);
    /* Without a table of types nobody looks at them, as in transformers. */
    size_t T = n->cfg.n_types && batch->types ? batch->starts[batch->B] : 0;
    for (size_t t = 0; t < T; t++)
        if (batch->types[t] >= n->cfg.n_types)
            return err_set(err, ERR_INPUT, "token type %u, the model has %zu",
                           (unsigned)batch->types[t], n->cfg.n_types);
    return ERR_OK;
}

/* ---- net_ops --------------------------------------------------------------------- */

static enum err_code encoder_forward(const struct net *n, const struct net_batch *batch,
                                     enum net_want want, float *y, struct exec *x,
                                     struct err *err)
{
    const struct encoder *m = (const struct encoder *)n;
    struct encoder_pass p = {
        .m = m, .batch = batch, .exec = x, .rows = batch->starts[batch->B]};
    size_t floats[N_BUFS], mark = arena_mark(x->tmp);
    float *buf[N_BUFS];
    enum err_code rc = layer_check(n, batch, x, &p.longest, err);
    if (rc == ERR_OK)
        rc = check(n, batch, want, p.longest, err);
    if (rc != ERR_OK)
        return rc;
    buffer_sizes(m, batch->B, p.rows, p.longest, floats);
    rc = layer_take(x->tmp, floats, N_BUFS, buf, err);
    if (rc == ERR_OK) {
        p.x = buf[BUF_X];
        p.n = buf[BUF_N];
        p.qkv = buf[BUF_QKV];
        p.f = buf[BUF_F];
        p.s = buf[BUF_S];
        p.extra = buf[BUF_EXTRA];
        layer_lend(x, n, p.rows, buf[BUF_INT8]);
        run(&p, find_picks(&p, want, (size_t *)(void *)buf[BUF_PICKS]), want, y);
        layer_lend(x, n, 0, NULL);
        rc = layer_outcome(x, err);
    }
    arena_rewind(x->tmp, mark);
    return rc;
}

static enum err_code encoder_logits(const struct net *n, size_t R, const float *h,
                                    float *y, struct exec *x, struct err *err)
{
    if (n->cfg.head != HEAD_MASKED_LM)
        return err_set(err, ERR_TASK, "a %s is no language model", n->cfg.architecture);
    return layer_logits(x, n, &((const struct encoder *)n)->head.out, R, h, y, err);
}

static enum err_code encoder_read_out(const struct net *n, size_t layer, size_t R,
                                      const float *h, float *y, struct exec *x,
                                      struct err *err)
{
    const struct encoder *m = (const struct encoder *)n;
    size_t D = n->cfg.width, mark = arena_mark(x->tmp);
    size_t floats[2] = {R * D, layer_int8_floats(n, R)};
    float *scratch[2];
    enum err_code rc = layer_take(x->tmp, floats, 2, scratch, err);
    if (rc == ERR_OK) {
        const float *in = h;
        layer_lend(x, n, R, scratch[1]);
        if (m->norm.w && layer < n->cfg.n_layers) {
            layer_norm(x, &m->norm, R, h, scratch[0]);
            in = scratch[0];
        }
        head_rows(x, &m->head, R, in, y);
        layer_lend(x, n, 0, NULL);
    }
    arena_rewind(x->tmp, mark);
    return rc;
}

static void encoder_done(struct net *n)
{
    struct encoder *m = (struct encoder *)n;
    m->done(m);
    norm_done(&m->norm);
    head_done(&m->head);
}

static const struct net_ops encoder_ops = {.scratch_bytes = encoder_scratch_bytes,
                                           .forward = encoder_forward,
                                           .logits = encoder_logits,
                                           .read_out = encoder_read_out,
                                           .done = encoder_done};

void encoder_init(struct encoder *m)
{
    const struct config *c = &m->net.cfg;
    m->net.ops = &encoder_ops;
    m->net.out_width = c->head == HEAD_MASKED_LM ? c->embedding_width : c->width;
}
