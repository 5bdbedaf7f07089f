#include "model/nets/pool.h"
#include "model/tasks/model.h"

#include <math.h>
#include <string.h>

/* ---- pooling ----------------------------------------------------------------------- */

/* A pass whose rows are pooled as they come, so that none are kept. */
struct pooled {
    const struct seq_model *m;
    const struct seq_tokens *const *texts;
    struct pool pool;
    float *vectors; /* [B,width] */
};

/* The rows of a sequence come in the order of their positions. */
static void take_rows(void *arg, size_t seq, size_t layer, size_t first, size_t n,
                      size_t D, const float *h)
{
    const struct pooled *p = arg;
    size_t T = p->texts[seq]->n;
    float *vector = p->vectors + seq * p->pool.width;
    if (layer != p->m->net->cfg.n_layers)
        return;
    if (p->pool.kind == POOL_FIRST) {
        if (first == 0)
            memcpy(vector, h, D * sizeof *h);
    } else if (p->pool.kind == POOL_LAST) {
        if (first + n == T)
            memcpy(vector, h + (n - 1) * D, D * sizeof *h);
    } else {
        for (size_t i = 0; i < n; i++)
            pool_add(&p->pool, p->m->net->k, first + i, h + i * D, vector);
        if (first + n == T)
            pool_finish(&p->pool, T, vector);
    }
}

/* True if the net itself can give the one row that counts, and leave the others of its
 * last layer out. */
static bool gives_row(const struct seq_model *m)
{
    const struct config *c = &m->net->cfg;
    bool one = m->modules.pooling == POOL_FIRST || m->modules.pooling == POOL_LAST;
    return one && c->arch != ARCH_RNN && (c->head == HEAD_NONE || c->head == HEAD_LM);
}

/* ---- a pass ------------------------------------------------------------------------ */

/* What the pass itself ends in: vectors, or what is thrown away. */
static size_t own_width(const struct seq_model *m)
{
    return m->info.tasks & SEQ_CLASSIFY ? m->info.n_labels : m->net->out_width;
}

static enum err_code fill(const struct seq_model *m, struct batch *batch, size_t B,
                          const struct seq_tokens *const *texts, struct err *err)
{
    bool first = m->modules.pooling == POOL_FIRST;
    enum err_code code = ERR_OK;
    for (size_t b = 0; b < B && code == ERR_OK; b++)
        code = batch_text(batch, texts[b], first ? 0 : texts[b]->n - 1, NULL, err);
    return code;
}

static enum err_code pass(const struct seq_model *m, struct seq_worker *w, size_t B,
                          const struct seq_tokens *const *texts, float *vectors,
                          struct err *err)
{
    const struct net *n = m->net;
    enum net_want want = m->info.tasks & SEQ_CLASSIFY ? NET_LABELS : NET_ONE;
    struct pooled p = {
        .m = m,
        .texts = texts,
        .pool = {.kind = m->modules.pooling, .width = m->info.vector_width},
        .vectors = vectors};
    struct trace trace = {.arg = &p, .hidden = take_rows};
    size_t T, longest;
    batch_size(B, texts, &T, &longest);
    enum err_code code =
        arena_reserve(&w->tmp,
                      batch_bytes(B, T) + arena_float_cost(B * own_width(m)) +
                          n->ops->scratch_bytes(n, B, T, longest, want),
                      err);
    if (code != ERR_OK)
        return code;
    bool direct = gives_row(m);
    struct exec x = model_exec(m, w, direct ? NULL : &trace);
    size_t mark = arena_mark(&w->tmp);
    struct batch batch;
    float *own = direct ? vectors : arena_floats(&w->tmp, B * own_width(m));
    if (!own)
        code = err_set(err, ERR_BUG, "arena too small for what a pass ends in");
    if (code == ERR_OK)
        code = batch_init(&batch, &w->tmp, B, T, err);
    if (code == ERR_OK)
        code = fill(m, &batch, B, texts, err);
    if (code == ERR_OK)
        code = n->ops->forward(n, &batch.net, want, own, &x, err);
    arena_rewind(&w->tmp, mark);
    return code;
}

/* ---- what is asked for ------------------------------------------------------------- */

/* As torch's normalize: next to nothing is left next to nothing. */
static void make_unit(size_t n, float *v)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)v[i] * v[i];
    double norm = fmax(sqrt(sum), 1e-12);
    for (size_t i = 0; i < n; i++)
        v[i] = (float)(v[i] / norm);
}

static void shape(const struct seq_model *m, const struct seq_vector_ask *ask, float *v)
{
    size_t W = m->info.vector_width, n = W;
    if (ask && ask->dimensions && ask->dimensions < W)
        n = ask->dimensions;
    memset(v + n, 0, (W - n) * sizeof *v);
    enum seq_norm norm = ask ? ask->norm : SEQ_NORM_OWN;
    if (norm == SEQ_NORM_UNIT || (norm == SEQ_NORM_OWN && m->modules.normalize))
        make_unit(n, v);
}

enum err_code seq_embed(const struct seq_model *m, struct seq_worker *w, size_t B,
                        const struct seq_tokens *const *texts,
                        const struct seq_vector_ask *ask, float *vectors, struct err *err)
{
    enum err_code code = B ? pass(m, w, B, texts, vectors, err) : ERR_OK;
    for (size_t b = 0; b < B && code == ERR_OK; b++)
        shape(m, ask ? &ask[b] : NULL, vectors + b * m->info.vector_width);
    return code;
}
