#include "model/tasks/model.h"

#include <assert.h>
#include <string.h>

struct exec model_exec(const struct seq_model *m, struct seq_worker *w,
                       const struct trace *trace)
{
    return (struct exec){.k = m->net->k,
                         .tmp = &w->tmp,
                         .crew = w->crew,
                         .breaks = w->breaks,
                         .trace = trace};
}

void seq_worker_breaks(struct seq_worker *w, const struct breaks *b)
{
    w->breaks = b;
}

/* ---- ragged batches -------------------------------------------------------------- */

size_t batch_bytes(size_t B, size_t T)
{
    return arena_byte_cost((B + 1) * sizeof(size_t)) +
           arena_byte_cost(B * sizeof(size_t)) +
           arena_byte_cost(B * sizeof(struct net_state *)) +
           arena_byte_cost(T * sizeof(int32_t)) + arena_byte_cost(T);
}

enum err_code batch_init(struct batch *b, struct arena *tmp, size_t B, size_t T,
                         struct err *err)
{
    *b = (struct batch){.B = B, .T = T};
    b->starts = arena_bytes(tmp, (B + 1) * sizeof *b->starts);
    b->picks = arena_bytes(tmp, B * sizeof *b->picks);
    b->states = arena_bytes(tmp, B * sizeof(struct net_state *));
    b->ids = arena_bytes(tmp, T * sizeof *b->ids);
    b->types = arena_bytes(tmp, T);
    if (!b->starts || !b->picks || !b->states || !b->ids || !b->types)
        return err_set(err, ERR_BUG, "arena too small for a batch of %zu tokens", T);
    b->starts[0] = 0;
    b->net = (struct net_batch){
        .starts = b->starts, .ids = b->ids, .types = b->types, .picks = b->picks};
    return ERR_OK;
}

/* One more sequence of n tokens; returns where they go. */
static size_t add(struct batch *b, size_t n, size_t pick, struct net_state *state)
{
    size_t at = b->starts[b->net.B];
    assert(b->net.B < b->B && n <= b->T - at && pick < n);
    b->picks[b->net.B] = pick;
    b->states[b->net.B] = state;
    if (state)
        b->net.states = b->states;
    b->starts[++b->net.B] = at + n;
    return at;
}

enum err_code batch_text(struct batch *b, const struct seq_tokens *text, size_t pick,
                         struct net_state *state, struct err *err)
{
    if (text->n == 0)
        return err_param(err, ERR_INPUT, "text", "text holds no token");
    size_t at = add(b, text->n, pick, state);
    for (size_t i = 0; i < text->n; i++, at++) {
        b->ids[at] = text->at[i].id;
        b->types[at] = text->at[i].type;
    }
    return ERR_OK;
}

void batch_ids(struct batch *b, const int32_t *ids, size_t n, struct net_state *state)
{
    size_t at = add(b, n, n - 1, state);
    memcpy(b->ids + at, ids, n * sizeof *ids);
    memset(b->types + at, 0, n);
}

enum err_code batch_texts(struct batch *b, struct arena *tmp, size_t B,
                          const struct seq_tokens *const *texts, struct err *err)
{
    size_t T, longest;
    batch_size(B, texts, &T, &longest);
    enum err_code code = batch_init(b, tmp, B, T, err);
    for (size_t i = 0; i < B && code == ERR_OK; i++)
        code = batch_text(b, texts[i], texts[i]->n - 1, NULL, err);
    return code;
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

/* ---- the output layer ------------------------------------------------------------ */

/* Rows of logits that are in memory at the same time. */
enum { LOGIT_ROWS = 16 };

size_t model_logits_bytes(const struct seq_model *m)
{
    return arena_float_cost(LOGIT_ROWS * m->net->cfg.vocab) +
           net_logits_bytes(m->net, LOGIT_ROWS);
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
        breaks_pause(x->breaks);
        if (breaks_stop(x->breaks))
            code = err_set(err, ERR_STOPPED, "stopped before the last word was read");
        else
            code = n->ops->logits(n, some, h + r * n->out_width, rows, x, err);
        for (size_t i = 0; i < some && code == ERR_OK; i++)
            each(arg, r + i, rows + i * V);
    }
    arena_rewind(x->tmp, mark);
    return code;
}

size_t model_pass_bytes(const struct seq_model *m, size_t B, size_t T, size_t longest)
{
    const struct net *n = m->net;
    size_t forward = n->ops->scratch_bytes(n, B, T, longest, NET_ONE);
    size_t output = model_logits_bytes(m);
    return batch_bytes(B, T) + arena_float_cost(B * n->out_width) +
           (forward > output ? forward : output);
}

enum err_code model_pass(const struct seq_model *m, struct exec *x,
                         const struct batch *batch,
                         void (*each)(void *arg, size_t r, float *logits), void *arg,
                         struct err *err)
{
    const struct net *n = m->net;
    size_t B = batch->net.B;
    float *h = arena_floats(x->tmp, B * n->out_width); /* [B,D'] */
    if (!h)
        return err_set(err, ERR_BUG, "arena too small for hidden rows");
    enum err_code code = n->ops->forward(n, &batch->net, NET_ONE, h, x, err);
    return code == ERR_OK && each ? model_logits(m, x, B, h, each, arg, err) : code;
}
