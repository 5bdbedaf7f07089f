#include "model/tasks/model.h"

#include "model/nets/dims.h"

/* Rows of one chunk: row r predicts the token that follows it. */
struct targets {
    const struct seq_model *m;
    const int32_t *next; /* [R] */
    double *logprob;     /* [R] */
};

static void score_row(void *arg, size_t r, float *logits)
{
    const struct targets *t = arg;
    t->logprob[r] = logits[t->next[r]] - log_sum_exp(t->m, logits);
}

static size_t score_bytes(const struct seq_model *m)
{
    const struct net *n = m->net;
    size_t forward = n->ops->scratch_bytes(n, 1, DIMS_CHUNK, DIMS_CHUNK, NET_ALL);
    size_t output = model_logits_bytes(m);
    return arena_float_cost(DIMS_CHUNK * n->out_width) +
           (forward > output ? forward : output);
}

/* One chunk of R tokens: their hidden rows, then each row's target. */
static enum err_code score_chunk(const struct seq_model *m, struct exec *x,
                                 struct net_state *state, const int32_t *ids, size_t R,
                                 size_t n_targets, double *logprob, struct err *err)
{
    const struct net *n = m->net;
    size_t mark = arena_mark(x->tmp), starts[2] = {0, R};
    float *h = arena_floats(x->tmp, R * n->out_width); /* [R,D'] */
    if (!h)
        return err_set(err, ERR_BUG, "arena too small to score");
    struct net_batch batch = {.B = 1, .starts = starts, .ids = ids, .states = &state};
    enum err_code code = n->ops->forward(n, &batch, NET_ALL, h, x, err);
    struct targets t = {.m = m, .next = ids + 1, .logprob = logprob};
    if (code == ERR_OK)
        code = model_logits(m, x, n_targets, h, score_row, &t, err);
    arena_rewind(x->tmp, mark);
    return code;
}

/* ids [n] tokens to feed; the target of the last one is ids[n] if `closing`. */
static enum err_code score_ids(const struct seq_model *m, struct seq_worker *w,
                               const int32_t *ids, size_t n, bool closing,
                               double *logprob, struct err *err)
{
    struct seq_state *state = NULL;
    enum err_code code = arena_reserve(&w->tmp, score_bytes(m), err);
    if (code == ERR_OK)
        code = seq_state_new(m, &state, err);
    struct exec x = model_exec(m, w, NULL);
    logprob[0] = 0;
    for (size_t at = 0; at < n && code == ERR_OK; at += DIMS_CHUNK) {
        size_t R = n - at < DIMS_CHUNK ? n - at : DIMS_CHUNK;
        bool last = at + R == n;
        code = score_chunk(m, &x, state->net, ids + at, R, R - (last && !closing),
                           logprob + at + 1, err);
    }
    seq_state_free(state);
    return code;
}

enum err_code seq_score(const struct seq_model *m, struct seq_worker *w,
                        const struct seq_tokens *tokens, int32_t closing, double *logprob,
                        struct err *err)
{
    if (m->net->cfg.head != HEAD_LM)
        return err_set(err, ERR_TASK, "a %s is no language model", m->info.architecture);
    if (closing >= 0 && (size_t)closing >= m->info.vocab)
        return err_param(err, ERR_INPUT, "closing",
                         "token id %d is outside the vocabulary", closing);
    size_t n = tokens->n;
    if (n == 0)
        return err_param(err, ERR_INPUT, "text", "text holds no token");
    int32_t *ids = mem_alloc(n + 1, sizeof *ids);
    if (!ids)
        return err_set(err, ERR_NOMEM, "out of memory: %zu token ids", n);
    for (size_t i = 0; i < n; i++)
        ids[i] = tokens->at[i].id;
    ids[n] = closing >= 0 ? closing : 0;
    enum err_code code = score_ids(m, w, ids, n, closing >= 0, logprob, err);
    mem_free(ids);
    return code;
}
