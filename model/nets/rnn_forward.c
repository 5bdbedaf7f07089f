#include "model/nets/rnn_parts.h"

#include "model/nets/recurrence.h"

#include <string.h>

/* ---- scratch --------------------------------------------------------------------- */

enum {
    BUF_LINE,
    BUF_X,      /* [rows, widest input or H] for each direction */
    BUF_GATES,  /* [rows,G*H] for each direction */
    BUF_R,      /* [B,G*H] for each direction; GRU */
    BUF_H,      /* [n,B,H], n = layers of a one-way net, directions of a two-way net */
    BUF_C,      /* the same; LSTM */
    BUF_OUT,    /* [T,W] outputs of a layer, for nets that have to keep them */
    BUF_OUT_2,  /* and those of the layer before */
    BUF_POOLED, /* [B,R*W] */
    BUF_POOL,   /* of the pooling */
    BUF_INT8,   /* of products with int8 weights, for each direction */
    N_BUFS
};

static size_t x_width(const struct rnn *n)
{
    size_t I = n->net.cfg.width, W = n->net.out_width;
    return I > W ? I : W;
}

static void buffer_sizes(const struct rnn *n, size_t B, size_t T, size_t longest,
                         enum net_want want, size_t *floats)
{
    const struct config *c = &n->net.cfg;
    size_t chunk = lineup_rows(B, T, longest), rows = n->directions * chunk;
    size_t W = n->net.out_width;
    size_t states = n->directions == 2 ? 2 : c->n_layers;
    bool labels = want == NET_LABELS;
    bool attends = labels && c->pooling == POOL_ATTENTION;
    memset(floats, 0, N_BUFS * sizeof *floats);
    floats[BUF_LINE] = lineup_floats(B);
    floats[BUF_X] = rows * x_width(n);
    floats[BUF_GATES] = rows * n->G * n->H;
    floats[BUF_H] = states * B * n->H;
    if (c->cell == CELL_GRU)
        floats[BUF_R] = n->directions * B * n->G * n->H;
    if (c->cell == CELL_LSTM)
        floats[BUF_C] = states * B * n->H;
    if (n->directions == 2 || attends)
        floats[BUF_OUT] = T * W;
    if (n->directions == 2 && c->n_layers > 1)
        floats[BUF_OUT_2] = T * W;
    if (labels)
        floats[BUF_POOLED] = B * n->pool.hops * W;
    if (attends)
        floats[BUF_POOL] = pool_floats(&n->pool, T);
    floats[BUF_INT8] = n->directions * layer_int8_floats(&n->net, chunk);
}

size_t rnn_scratch_bytes(const struct net *net, size_t B, size_t T, size_t longest,
                         enum net_want want)
{
    size_t floats[N_BUFS];
    buffer_sizes((const struct rnn *)net, B, T, longest, want, floats);
    return layer_scratch(floats, N_BUFS);
}

/* ---- a pass ---------------------------------------------------------------------- */

struct pass {
    const struct rnn *n;
    const struct net_batch *batch;
    enum net_want want;
    struct exec *x;
    float *y;
    struct lineup line;
    float *buf[N_BUFS];
};

/* Embeddings of the chunk's tokens: to [rows,I]; returns rows. */
static size_t embed_chunk(const struct pass *p, const struct lineup_chunk *c, float *to)
{
    size_t r = 0, n = p->line.B, I = p->n->net.cfg.width;
    for (size_t t = c->t0; t < c->t1; t++) {
        n = lineup_alive(&p->line, n, t);
        for (size_t i = 0; i < n; i++, r++)
            layer_embed(p->x->k, &p->n->embedding,
                        (size_t)p->batch->ids[lineup_token(c, i, t)], to + r * I);
    }
    return r;
}

static struct lineup_chunk next_chunk(const struct pass *p, size_t t0, bool backward)
{
    size_t end = t0 + lineup_steps(p->line.B), longest = lineup_longest(&p->line);
    return (struct lineup_chunk){.line = &p->line,
                                 .t0 = t0,
                                 .t1 = end < longest ? end : longest,
                                 .backward = backward};
}

/* ---- heads ----------------------------------------------------------------------- */

static void classify(const struct pass *p)
{
    layer_linear(p->x, &p->n->classifier, p->batch->B, p->buf[BUF_POOLED], p->y);
}

/* ---- one-way nets: chunk by chunk through all layers ------------------------------ */

/* Layer `layer`'s rows h and c [B,H], in line order. */
static float *state_rows(const struct pass *p, size_t buf, size_t layer)
{
    if (buf == BUF_C && p->n->net.cfg.cell != CELL_LSTM)
        return NULL;
    return p->buf[buf] + layer * p->line.B * p->n->H;
}

/* Copies states in (load) or out, part by part, layer by layer. */
static void move_states(const struct pass *p, bool load)
{
    size_t H = p->n->H, L = p->n->net.cfg.n_layers;
    size_t parts = p->n->net.cfg.cell == CELL_LSTM ? 2 : 1;
    for (size_t i = 0; i < parts * L * p->line.B; i++) {
        size_t part = i / (L * p->line.B), layer = i / p->line.B % L, at = i % p->line.B;
        float *row = state_rows(p, part ? BUF_C : BUF_H, layer) + at * H;
        if (!p->batch->states) {
            memset(row, 0, H * sizeof *row);
            continue;
        }
        struct rnn_state *s = (struct rnn_state *)p->batch->states[p->line.seq[at].b];
        float *kept = s->data + part * s->floats + layer * H;
        memcpy(load ? row : kept, load ? kept : row, H * sizeof *row);
    }
}

static void trace_hidden(const struct pass *p, const struct lineup_chunk *c, size_t layer,
                         size_t D, const float *h)
{
    const struct trace *trace = p->x->trace;
    if (!trace || !trace->hidden)
        return;
    size_t n = p->line.B;
    for (size_t t = c->t0; t < c->t1; t++) {
        n = lineup_alive(&p->line, n, t);
        for (size_t i = 0; i < n; i++, h += D)
            trace->hidden(trace->arg, p->line.seq[i].b, layer,
                          recurrence_position(c, i, t), 1, D, h);
    }
}

/* What the head needs of the top layer's outputs h [rows,H] of a chunk. */
static void collect(const struct pass *p, const struct lineup_chunk *c, const float *h)
{
    const struct pool *pool = &p->n->pool;
    size_t H = p->n->H, n = p->line.B;
    if (p->want == NET_ALL)
        lineup_scatter(c, H, h, p->y, H);
    if (p->want != NET_LABELS || pool->kind == POOL_LAST)
        return;
    if (pool->kind == POOL_ATTENTION) {
        lineup_scatter(c, H, h, p->buf[BUF_OUT], H);
        return;
    }
    for (size_t t = c->t0; t < c->t1; t++) {
        n = lineup_alive(&p->line, n, t);
        for (size_t i = 0; i < n; i++, h += H)
            pool_add(pool, p->x->k, t, h, p->buf[BUF_POOLED] + p->line.seq[i].b * H);
    }
}

/* The top layer's last outputs, in order of the batch: to [B,H]. */
static void last_rows(const struct pass *p, float *to)
{
    size_t H = p->n->H;
    const float *h = state_rows(p, BUF_H, p->n->net.cfg.n_layers - 1);
    for (size_t i = 0; i < p->line.B; i++)
        memcpy(to + p->line.seq[i].b * H, h + i * H, H * sizeof *to);
}

static void finish_one_way(const struct pass *p)
{
    const struct pool *pool = &p->n->pool;
    float *pooled = p->buf[BUF_POOLED];
    if (p->want == NET_ONE)
        last_rows(p, p->y);
    if (p->want != NET_LABELS)
        return;
    if (pool->kind == POOL_ATTENTION)
        pool_attend(pool, p->x, p->batch, p->buf[BUF_OUT], p->buf[BUF_POOL], pooled);
    else if (pool->kind == POOL_LAST)
        last_rows(p, pooled);
    else
        for (size_t i = 0; i < p->line.B; i++)
            pool_finish(pool, p->line.seq[i].len, pooled + p->line.seq[i].b * p->n->H);
    classify(p);
}

static void run_one_way(const struct pass *p)
{
    const struct rnn *n = p->n;
    struct lineup_chunk c;
    float *x = p->buf[BUF_X];
    size_t T = p->batch->starts[p->line.B];
    layer_lend(p->x, &n->net, lineup_rows(p->line.B, T, lineup_longest(&p->line)),
               p->buf[BUF_INT8]);
    move_states(p, true);
    for (size_t t0 = 0; t0 < lineup_longest(&p->line); t0 = c.t1) {
        breaks_pause(p->x->breaks);
        if (breaks_stop(p->x->breaks))
            return;
        c = next_chunk(p, t0, false);
        size_t rows = embed_chunk(p, &c, x);
        trace_hidden(p, &c, 0, n->net.cfg.width, x);
        for (size_t i = 0; i < n->net.cfg.n_layers; i++) {
            struct recurrence r = {.n = n,
                                   .layer = i,
                                   .x = x,
                                   .gates = p->buf[BUF_GATES],
                                   .r = p->buf[BUF_R],
                                   .h = state_rows(p, BUF_H, i),
                                   .c = state_rows(p, BUF_C, i)};
            recurrence_run(&r, &c, rows, p->x);
            trace_hidden(p, &c, i + 1, n->H, x);
        }
        collect(p, &c, x);
    }
    layer_lend(p->x, &n->net, 0, NULL);
    finish_one_way(p);
    if (!p->batch->states)
        return;
    move_states(p, false);
    for (size_t b = 0; b < p->batch->B; b++)
        ((struct rnn_state *)p->batch->states[b])->length +=
            p->batch->starts[b + 1] - p->batch->starts[b];
}

/* ---- two-way nets: layer by layer, both directions ------------------------------- */

struct layer_job {
    const struct pass *p;
    size_t layer;
    const float *in; /* [T,in], or NULL: the embeddings */
    float *out;      /* [T,2H] */
};

static void run_direction(const struct layer_job *j, size_t direction, struct exec *x)
{
    const struct pass *p = j->p;
    const struct rnn *n = p->n;
    size_t H = n->H, B = p->line.B, in = n->layer[j->layer].in;
    size_t rows = lineup_rows(B, p->batch->starts[B], lineup_longest(&p->line));
    float *int8 = p->buf[BUF_INT8];
    struct recurrence r = {.n = n,
                           .layer = j->layer,
                           .direction = direction,
                           .x = p->buf[BUF_X] + direction * rows * x_width(n),
                           .gates = p->buf[BUF_GATES] + direction * rows * n->G * H,
                           .h = state_rows(p, BUF_H, direction),
                           .c = state_rows(p, BUF_C, direction)};
    if (n->net.cfg.cell == CELL_GRU)
        r.r = p->buf[BUF_R] + direction * B * n->G * H;
    if (int8)
        layer_lend(x, &n->net, rows, int8 + direction * layer_int8_floats(&n->net, rows));
    memset(r.h, 0, B * H * sizeof(float));
    if (r.c)
        memset(r.c, 0, B * H * sizeof(float));
    struct lineup_chunk c;
    for (size_t t0 = 0; t0 < lineup_longest(&p->line); t0 = c.t1) {
        breaks_pause(x->breaks);
        if (breaks_stop(x->breaks))
            return;
        c = next_chunk(p, t0, direction == 1);
        rows = j->in ? lineup_gather(&c, in, j->in, r.x) : embed_chunk(p, &c, r.x);
        recurrence_run(&r, &c, rows, x);
        lineup_scatter(&c, H, r.x, j->out + direction * H, 2 * H);
    }
}

/* As a slice of a crew's loop; each direction lends its own scratch. */
static void run_directions(void *arg, size_t first, size_t last)
{
    const struct layer_job *j = arg;
    struct exec own = *j->p->x;
    for (size_t d = first; d < last; d++)
        run_direction(j, d, &own);
}

static void run_layer(const struct layer_job *j)
{
    const struct rnn *n = j->p->n;
    struct exec *x = j->p->x;
    size_t flops = 2 * j->p->batch->starts[j->p->batch->B] * n->G * n->H *
                   (n->layer[j->layer].in + n->H);
    /* Worth a helper from about 100 us on; hooks want one thread. */
    if (x->crew && !x->trace && flops > 5000000) {
        crew_for(x->crew, 2, flops / 100, run_directions, (void *)j);
        return;
    }
    run_direction(j, 0, x);
    run_direction(j, 1, x);
    layer_lend(x, &n->net, 0, NULL);
}

/* Forward's state behind the last token beside backward's behind the first: to [B,2H]. */
static void end_rows(const struct pass *p, const float *h, float *to)
{
    size_t H = p->n->H;
    for (size_t b = 0; b < p->batch->B; b++, to += 2 * H) {
        memcpy(to, h + (p->batch->starts[b + 1] - 1) * 2 * H, H * sizeof *to);
        memcpy(to + H, h + p->batch->starts[b] * 2 * H + H, H * sizeof *to);
    }
}

/* The head, on the top layer's outputs h [T,2H]. */
static void finish_two_way(const struct pass *p, const float *h)
{
    const struct pool *pool = &p->n->pool;
    size_t W = 2 * p->n->H;
    float *pooled = p->buf[BUF_POOLED];
    if (p->want == NET_ALL)
        memcpy(p->y, h, p->batch->starts[p->batch->B] * W * sizeof *h);
    if (p->want == NET_ONE)
        end_rows(p, h, p->y);
    if (p->want != NET_LABELS)
        return;
    if (pool->kind == POOL_ATTENTION)
        pool_attend(pool, p->x, p->batch, h, p->buf[BUF_POOL], pooled);
    else if (pool->kind == POOL_LAST)
        end_rows(p, h, pooled);
    else
        for (size_t b = 0; b < p->batch->B; b++) {
            size_t start = p->batch->starts[b], len = p->batch->starts[b + 1] - start;
            for (size_t t = 0; t < len; t++)
                pool_add(pool, p->x->k, t, h + (start + t) * W, pooled + b * W);
            pool_finish(pool, len, pooled + b * W);
        }
    classify(p);
}

/* Embeddings are never laid out as a whole, so the hook gets them one by one. */
static void trace_embeddings(const struct pass *p)
{
    const struct trace *trace = p->x->trace;
    size_t I = p->n->net.cfg.width;
    float *row = p->buf[BUF_X];
    for (size_t b = 0; trace && trace->hidden && b < p->batch->B; b++)
        for (size_t t = p->batch->starts[b]; t < p->batch->starts[b + 1]; t++) {
            layer_embed(p->x->k, &p->n->embedding, (size_t)p->batch->ids[t], row);
            trace->hidden(trace->arg, b, 0, t - p->batch->starts[b], 1, I, row);
        }
}

static void run_two_way(const struct pass *p)
{
    struct layer_job j = {.p = p, .out = p->buf[BUF_OUT]};
    trace_embeddings(p);
    for (; j.layer < p->n->net.cfg.n_layers; j.layer++) {
        if (j.layer > 0) {
            j.in = j.out;
            j.out = p->buf[j.layer % 2 ? BUF_OUT_2 : BUF_OUT];
        }
        run_layer(&j);
        if (breaks_stop(p->x->breaks))
            return;
        layer_trace_hidden(&p->n->net, p->batch, p->x, j.layer + 1, p->n->net.out_width,
                           j.out);
    }
    finish_two_way(p, j.out);
}

/* ---- the pass -------------------------------------------------------------------- */

static enum err_code check(const struct net *net, const struct net_batch *batch,
                           enum net_want want, struct err *err)
{
    if (want == NET_LABELS && net->cfg.head != HEAD_LABELS)
        return err_set(err, ERR_TASK, "a %s has no classifier", net->cfg.architecture);
    if (batch->states && (want == NET_LABELS || !net->ops->state_new))
        return err_set(err, ERR_TASK, "a %s doesn't classify from a state",
                       net->cfg.architecture);
    return ERR_OK;
}

enum err_code rnn_forward(const struct net *net, const struct net_batch *batch,
                          enum net_want want, float *y, struct exec *x, struct err *err)
{
    struct pass p = {
        .n = (const struct rnn *)net, .batch = batch, .want = want, .x = x, .y = y};
    size_t floats[N_BUFS], longest, mark = arena_mark(x->tmp);
    enum err_code rc = layer_check(net, batch, x, &longest, err);
    if (rc == ERR_OK)
        rc = check(net, batch, want, err);
    if (rc != ERR_OK)
        return rc;
    buffer_sizes(p.n, batch->B, batch->starts[batch->B], longest, want, floats);
    rc = layer_take(x->tmp, floats, N_BUFS, p.buf, err);
    if (rc == ERR_OK) {
        lineup_fill(&p.line, p.buf[BUF_LINE], batch);
        if (p.n->directions == 2)
            run_two_way(&p);
        else
            run_one_way(&p);
        rc = layer_outcome(x, err);
    }
    arena_rewind(x->tmp, mark);
    return rc;
}
