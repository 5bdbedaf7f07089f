#include "model/nets/layers.h"

#include "model/base/mem.h"
#include "model/nets/dims.h"

#include <assert.h>
#include <string.h>

layer_act layer_act_of(const struct kernels *k, enum act act)
{
    switch (act) {
    case ACT_GELU_ERF:
        return k->gelu_erf;
    case ACT_GELU_TANH:
        return k->gelu_tanh;
    case ACT_RELU:
        return k->relu;
    case ACT_TANH:
        return k->tanh;
    case ACT_SILU:
        return k->silu;
    }
    return NULL;
}

void linear_done(struct linear *l)
{
    mem_free(l->bias);
}

void norm_done(struct norm *n)
{
    mem_free(n->w);
    mem_free(n->b);
}

void mlp_done(struct mlp *m)
{
    linear_done(&m->up);
    linear_done(&m->down);
}

/* ---- splitting ------------------------------------------------------------------- */

/* A thread that has no help looks about this often whether it should pause. */
enum { PAUSE_NS = 200000 };

void layer_rows(struct exec *x, size_t n, size_t ns, crew_fn fn, void *arg)
{
    if (!x->breaks || crew_idle(x->crew)) {
        breaks_pause(x->breaks);
        crew_for(x->crew, n, ns, fn, arg);
        return;
    }
    size_t most = PAUSE_NS / (ns ? ns : 1) + 1;
    for (size_t i = 0; i < n; i += most) {
        breaks_pause(x->breaks);
        fn(arg, i, n - i > most ? i + most : n);
    }
}

/* ---- products -------------------------------------------------------------------- */

/* Turned products take so many blocks of columns at a time. More rows than that do not
 * wait for their weights. */
enum { TURNED_BLOCKS = 2, TURNED_ROWS = 3 };

struct linear_job {
    const struct kernels *k;
    const struct linear *l;
    struct product p; /* first, last: all columns that are asked for */
    bool turned;      /* blocks of columns from the last to the first */
    /* Rows of p.x for int8 weights: the same arrays to be filled, and to be read. */
    uint8_t *q;                 /* [M,quantised.ld] */
    struct quantised_row *rows; /* [M] */
    struct quantised quantised;
};

/* Column blocks first..last-1 of KERNELS_COLUMNS each. */
static void straight_blocks(const struct linear_job *j, size_t first, size_t last)
{
    struct product p = j->p;
    size_t end = p.first + last * KERNELS_COLUMNS;
    p.first += first * KERNELS_COLUMNS;
    p.last = end < p.last ? end : p.last;
    if (j->l->w.precision == PRECISION_INT8)
        j->k->matmul_int8(&j->l->w, &j->quantised, &p);
    else
        j->k->matmul(&j->l->w, &p);
}

static void linear_blocks(void *arg, size_t first, size_t last)
{
    const struct linear_job *j = arg;
    while (j->turned && last - first > TURNED_BLOCKS) {
        straight_blocks(j, last - TURNED_BLOCKS, last);
        last -= TURNED_BLOCKS;
    }
    straight_blocks(j, first, last);
}

/* Time of one column block, in ns: the larger of the arithmetic (50 flop/ns, int8 150)
 * and of reading the weights (30 B/ns, between memory and L3 on Zen 3). Only the split
 * depends on it. */
static size_t block_ns(const struct linear_job *j)
{
    enum precision precision = j->l->w.precision;
    size_t K = j->l->w.K, flops = j->p.M * K * 2 * KERNELS_COLUMNS;
    size_t arithmetic = flops / (precision == PRECISION_INT8 ? 150 : 50);
    size_t bytes = j->k->matrix_bytes(precision, KERNELS_COLUMNS, K) / 30;
    return arithmetic > bytes ? arithmetic : bytes;
}

static void run_blocks(struct exec *x, struct linear_job *j)
{
    size_t columns = j->p.last - j->p.first;
    layer_rows(x, (columns + KERNELS_COLUMNS - 1) / KERNELS_COLUMNS, block_ns(j),
               linear_blocks, j);
}

/* Quantised rows are as long as cache lines, so that no two threads write into one. */
static size_t quantised_width(size_t K)
{
    return (K + 63) / 64 * 64;
}

static size_t chunk_rows(size_t M)
{
    return M < DIMS_CHUNK ? M : DIMS_CHUNK;
}

/* Of M rows of K, and what comes with each. */
static size_t quantised_floats(size_t M, size_t K)
{
    return M * ((quantised_width(K) + sizeof(struct quantised_row)) / sizeof(float));
}

static void quantise_rows(void *arg, size_t first, size_t last)
{
    const struct linear_job *j = arg;
    for (size_t m = first; m < last; m++)
        j->k->quantise(j->l->w.K, j->p.x + m * j->p.ldx, j->q + m * j->quantised.ld,
                       &j->rows[m]);
}

/* Each row is quantised once, for all columns. */
static void run_int8(struct exec *x, struct linear_job *j)
{
    size_t M = j->p.M, K = j->l->w.K;
    assert(quantised_floats(chunk_rows(M), K) <= x->int8.floats);
    j->q = (uint8_t *)x->int8.at;
    j->quantised.ld = quantised_width(K);
    j->rows = (struct quantised_row *)(void *)(j->q + chunk_rows(M) * j->quantised.ld);
    j->quantised.q = j->q;
    j->quantised.rows = j->rows;
    for (size_t left = M; left > 0; left -= j->p.M) {
        j->p.M = chunk_rows(left);
        layer_rows(x, j->p.M, K / 4, quantise_rows, j);
        run_blocks(x, j);
        j->p.x += j->p.M * j->p.ldx;
        j->p.y += j->p.M * j->p.ldy;
    }
}

static void linear_run(struct exec *x, struct linear_job *j)
{
    if (j->p.M == 0)
        return;
    j->k = x->k;
    if (!j->p.ldx)
        j->p.ldx = j->l->w.K;
    if (!j->p.last)
        j->p.last = j->l->w.N;
    j->p.ldy = j->l->w.N;
    j->p.bias = j->l->bias;
    if (j->l->w.precision == PRECISION_INT8)
        run_int8(x, j);
    else
        run_blocks(x, j);
}

size_t layer_int8_floats(const struct net *n, size_t M)
{
    return n->int8_width ? quantised_floats(chunk_rows(M), n->int8_width) : 0;
}

void layer_lend(struct exec *x, const struct net *n, size_t M, float *scratch)
{
    x->int8.at = scratch;
    x->int8.floats = scratch ? layer_int8_floats(n, M) : 0;
}

void layer_linear(struct exec *x, const struct linear *l, size_t M, const float *in,
                  float *y)
{
    layer_linear_act(x, l, NULL, M, in, y);
}

void layer_linear_add(struct exec *x, const struct linear *l, size_t M, const float *in,
                      float *y)
{
    struct linear_job j = {.l = l, .p = {.M = M, .x = in, .y = y, .accumulate = true}};
    linear_run(x, &j);
}

void layer_linear_step(struct exec *x, const struct linear *l, bool add, size_t step,
                       size_t M, const float *in, float *y)
{
    struct linear_job j = {.l = l,
                           .p = {.M = M, .x = in, .y = y, .accumulate = add},
                           .turned = M <= TURNED_ROWS && step % 2};
    linear_run(x, &j);
}

void layer_linear_act(struct exec *x, const struct linear *l, layer_act act, size_t M,
                      const float *in, float *y)
{
    struct linear_job j = {.l = l, .p = {.M = M, .x = in, .y = y, .act = act}};
    linear_run(x, &j);
}

/* The first `columns` columns of the picked rows: computed side by side, then each moved
 * to its own row, which lies further down. */
static void linear_picked(struct exec *x, const struct linear *l, size_t columns,
                          const struct net_batch *batch, const size_t *picks, float *in,
                          float *y)
{
    struct linear_job j = {.l = l,
                           .p = {.M = batch->B, .last = columns, .x = in, .y = y}};
    layer_keep(batch, picks, l->w.K, in);
    linear_run(x, &j);
    for (size_t b = batch->B; b-- > 0;)
        memmove(y + (batch->starts[b] + picks[b]) * l->w.N, y + b * l->w.N,
                columns * sizeof *y);
}

void layer_qkv(struct exec *x, const struct linear *l, size_t queries,
               const struct net_batch *batch, const size_t *picks, float *in, float *y)
{
    size_t T = batch->starts[batch->B];
    bool cut = picks && T > batch->B && queries % KERNELS_STEP == 0;
    struct linear_job j = {.l = l,
                           .p = {.M = T, .first = cut ? queries : 0, .x = in, .y = y}};
    linear_run(x, &j);
    if (cut)
        linear_picked(x, l, queries, batch, picks, in, y);
    else if (picks)
        layer_keep(batch, picks, l->w.K, in);
}

enum err_code layer_logits(struct exec *x, const struct net *n, const struct linear *l,
                           size_t R, const float *h, float *y, struct err *err)
{
    size_t mark = arena_mark(x->tmp), floats = layer_int8_floats(n, R);
    float *scratch;
    enum err_code rc = layer_take(x->tmp, &floats, 1, &scratch, err);
    if (rc == ERR_OK) {
        layer_lend(x, n, R, scratch);
        layer_linear(x, l, R, h, y);
        layer_lend(x, n, R, NULL);
    }
    arena_rewind(x->tmp, mark);
    return rc;
}

/* ---- MLP ------------------------------------------------------------------------- */

size_t layer_mlp_floats(const struct mlp *m, size_t M)
{
    return chunk_rows(M) * m->up.w.N;
}

struct gate_job {
    const struct kernels *k;
    layer_act act;
    size_t F;
    float *f; /* [M,2*F] */
};

/* The first half of each row becomes act(it) * the second half. */
static void gate_rows(void *arg, size_t first, size_t last)
{
    const struct gate_job *j = arg;
    for (size_t r = first; r < last; r++) {
        float *row = j->f + r * 2 * j->F;
        j->act(j->F, row);
        j->k->mul(j->F, row + j->F, row);
    }
}

void layer_mlp(struct exec *x, const struct mlp *m, size_t M, const float *in, float *f,
               float *y)
{
    size_t D = m->down.w.N, F = m->down.w.K;
    struct gate_job gate = {.k = x->k, .act = m->act, .F = F, .f = f};
    for (size_t r = 0; r < M; r += DIMS_CHUNK) {
        size_t rows = chunk_rows(M - r);
        struct linear_job down = {
            .l = &m->down,
            .p = {
                .M = rows, .x = f, .ldx = m->up.w.N, .y = y + r * D, .accumulate = true}};
        layer_linear_act(x, &m->up, m->gated ? NULL : m->act, rows, in + r * D, f);
        if (m->gated)
            layer_rows(x, rows, 2 * F, gate_rows, &gate);
        linear_run(x, &down);
    }
}

/* ---- rows ------------------------------------------------------------------------ */

struct norm_job {
    const struct kernels *k;
    const struct norm *n;
    const float *in; /* [M,D] */
    float *y;        /* [M,D] */
};

static void norm_rows(void *arg, size_t first, size_t last)
{
    const struct norm_job *j = arg;
    size_t D = j->n->D;
    for (size_t r = first; r < last; r++)
        if (j->n->rms)
            j->k->rms_norm(D, j->in + r * D, j->n->w, j->n->eps, j->y + r * D);
        else
            j->k->layer_norm(D, j->in + r * D, j->n->w, j->n->b, j->n->eps, j->y + r * D);
}

void layer_norm(struct exec *x, const struct norm *n, size_t M, const float *in, float *y)
{
    struct norm_job j = {.k = x->k, .n = n, .in = in, .y = y};
    layer_rows(x, M, n->D / 2, norm_rows, &j);
}

static const unsigned char *row_of(const struct embedding *t, size_t id)
{
    return (const unsigned char *)t->table + id * t->D * (dtype_bits(t->dtype) / 8);
}

void layer_embed(const struct kernels *k, const struct embedding *t, size_t id,
                 float *out)
{
    if (t->table)
        dtype_to_float(t->dtype, row_of(t, id), t->D, out);
    else
        k->row(t->packed, id, out);
}

/* ---- a pass ---------------------------------------------------------------------- */

size_t layer_scratch(const size_t *floats, size_t n)
{
    size_t sum = 0;
    for (size_t i = 0; i < n; i++)
        if (!mem_add(sum, arena_float_cost(floats[i]), &sum))
            return SIZE_MAX;
    return sum;
}

enum err_code layer_take(struct arena *a, const size_t *floats, size_t n, float **blocks,
                         struct err *err)
{
    for (size_t i = 0; i < n; i++) {
        blocks[i] = arena_floats(a, floats[i]);
        if (!blocks[i] && floats[i])
            return err_set(err, ERR_BUG, "arena of %zu bytes is too small for the pass",
                           a->cap);
    }
    return ERR_OK;
}

enum err_code layer_check(const struct net *n, const struct net_batch *batch,
                          const struct exec *x, size_t *longest, struct err *err)
{
    size_t most = 0;
    if (x->k != n->k)
        return err_set(err, ERR_BUG, "weights are packed for %s, the pass runs on %s",
                       n->k->name, x->k->name);
    for (size_t b = 0; b < batch->B; b++) {
        size_t len = batch->starts[b + 1] - batch->starts[b];
        if (batch->starts[b + 1] <= batch->starts[b])
            return err_set(err, ERR_BUG, "sequence %zu of a batch is empty", b);
        most = len > most ? len : most;
    }
    size_t T = batch->starts[batch->B];
    for (size_t t = 0; t < T; t++)
        if (batch->ids[t] < 0 || (size_t)batch->ids[t] >= n->cfg.vocab)
            return err_set(err, ERR_INPUT, "token id %d is outside the vocabulary of %zu",
                           (int)batch->ids[t], n->cfg.vocab);
    *longest = most;
    return ERR_OK;
}

enum err_code layer_outcome(const struct exec *x, struct err *err)
{
    return breaks_stop(x->breaks) ? err_set(err, ERR_STOPPED, "the pass was stopped")
                                  : ERR_OK;
}

size_t layer_pick_floats(size_t B)
{
    return B * (sizeof(size_t) / sizeof(float));
}

/* Upwards: no row lies above its own place. */
void layer_keep(const struct net_batch *batch, const size_t *picks, size_t D, float *x)
{
    for (size_t b = 0; b < batch->B; b++)
        memmove(x + b * D, x + (batch->starts[b] + picks[b]) * D, D * sizeof *x);
}

void layer_trace_hidden(const struct net *n, const struct net_batch *batch,
                        const struct exec *x, size_t layer, size_t D, const float *h)
{
    if (!x->trace || !x->trace->hidden)
        return;
    for (size_t b = 0; b < batch->B; b++) {
        size_t start = batch->starts[b], len = batch->starts[b + 1] - start;
        size_t past = batch->states ? n->ops->state_length(batch->states[b]) : 0;
        x->trace->hidden(x->trace->arg, b, layer, past, len, D, h + start * D);
    }
}
