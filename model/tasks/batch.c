#include "model/tasks/model.h"

#include <math.h>
#include <string.h>

struct exec model_exec(const struct seq_model *m, struct seq_worker *w,
                       const struct trace *trace)
{
    return (struct exec){.k = m->net->k, .tmp = &w->tmp, .crew = w->crew, .trace = trace};
}

size_t batch_bytes(size_t B, size_t T)
{
    return arena_byte_cost((B + 1) * sizeof(size_t)) +
           arena_byte_cost(T * sizeof(int32_t)) + arena_byte_cost(T);
}

void batch_size(size_t B, const struct seq_tokens *const *texts, size_t *T,
                size_t *longest)
{
    *T = *longest = 0;
    for (size_t b = 0; b < B; b++) {
        *T += texts[b]->n;
        if (texts[b]->n > *longest)
            *longest = texts[b]->n;
    }
}

enum err_code batch_fill(struct arena *tmp, size_t B,
                         const struct seq_tokens *const *texts, struct net_batch *out,
                         struct err *err)
{
    size_t T, longest;
    batch_size(B, texts, &T, &longest);
    size_t *starts = arena_bytes(tmp, (B + 1) * sizeof *starts);
    int32_t *ids = arena_bytes(tmp, T * sizeof *ids);
    uint8_t *types = arena_bytes(tmp, T);
    if (!starts || !ids || !types)
        return err_set(err, ERR_BUG, "arena too small for a batch of %zu tokens", T);
    size_t at = 0;
    for (size_t b = 0; b < B; b++) {
        if (texts[b]->n == 0)
            return err_param(err, ERR_INPUT, "text", "text holds no token");
        starts[b] = at;
        for (size_t i = 0; i < texts[b]->n; i++, at++) {
            ids[at] = texts[b]->at[i].id;
            types[at] = texts[b]->at[i].type;
        }
    }
    starts[B] = at;
    *out = (struct net_batch){.B = B, .starts = starts, .ids = ids, .types = types};
    return ERR_OK;
}

/* Rows of logits that are in memory at the same time. */
enum { LOGIT_ROWS = 16 };

size_t model_logits_bytes(const struct seq_model *m)
{
    return arena_float_cost(LOGIT_ROWS * m->net->cfg.vocab);
}

enum err_code model_logits(const struct seq_model *m, struct exec *x, size_t R,
                           const float *h,
                           void (*each)(void *arg, size_t r, float *logits), void *arg,
                           struct err *err)
{
    const struct net *n = m->net;
    size_t V = n->cfg.vocab, mark = arena_mark(x->tmp);
    float *rows = arena_floats(x->tmp, LOGIT_ROWS * V); /* [LOGIT_ROWS,V] */
    if (!rows)
        return err_set(err, ERR_BUG, "arena too small for logits");
    enum err_code code = ERR_OK;
    for (size_t r = 0; r < R && code == ERR_OK; r += LOGIT_ROWS) {
        size_t some = R - r < LOGIT_ROWS ? R - r : LOGIT_ROWS;
        code = n->ops->logits(n, some, h + r * n->out_width, rows, x, err);
        for (size_t i = 0; i < some && code == ERR_OK; i++)
            each(arg, r + i, rows + i * V);
    }
    arena_rewind(x->tmp, mark);
    return code;
}

double log_sum_exp(const struct kernels *k, size_t V, float *logits, double *scale)
{
    float max = -INFINITY;
    for (size_t i = 0; i < V; i++)
        max = logits[i] > max ? logits[i] : max;
    for (size_t i = 0; i < V; i++)
        logits[i] -= max;
    k->exp(V, logits);
    double sum = 0;
    for (size_t i = 0; i < V; i++)
        sum += logits[i];
    *scale = 1 / sum;
    return (double)max + log(sum);
}
