#include "model/tasks/model.h"

#include <math.h>
#include <string.h>

enum err_code seq_state_new(const struct seq_model *m, struct seq_state **out,
                            struct err *err)
{
    if (!(m->info.tasks & SEQ_STATES))
        return err_set(err, ERR_TASK, "a %s has no state to continue from",
                       m->info.architecture);
    struct seq_state *s = mem_zero(1, sizeof *s);
    if (!s)
        return err_set(err, ERR_NOMEM, "out of memory: state");
    s->model = m;
    enum err_code code = m->net->ops->state_new(m->net, &s->net, err);
    if (code != ERR_OK) {
        mem_free(s);
        return code;
    }
    *out = s;
    return ERR_OK;
}

void seq_state_free(struct seq_state *s)
{
    if (!s)
        return;
    s->model->net->ops->state_free(s->net);
    mem_free(s);
}

enum err_code seq_state_copy(struct seq_state *to, const struct seq_state *from,
                             struct err *err)
{
    if (to->model != from->model)
        return err_set(err, ERR_INPUT, "states of two models can't be copied");
    return to->model->net->ops->state_copy(to->net, from->net, err);
}

void seq_state_reset(struct seq_state *s)
{
    s->model->net->ops->state_reset(s->net);
}

size_t seq_state_bytes(const struct seq_state *s)
{
    return sizeof *s + s->model->net->ops->state_bytes(s->net);
}

size_t seq_state_length(const struct seq_state *s)
{
    return s->model->net->ops->state_length(s->net);
}

size_t seq_state_growth(const struct seq_state *s, size_t n)
{
    const struct net_ops *ops = s->model->net->ops;
    return ops->state_growth ? ops->state_growth(s->net, n) : 0;
}

/* ---- feeding --------------------------------------------------------------------- */

/* Ids are the caller's, so they are checked; so is the room left in each state. */
static enum err_code check_feed(const struct seq_model *m, size_t B,
                                struct seq_state *const *states,
                                const int32_t *const *ids, const size_t *n_ids,
                                struct err *err)
{
    size_t V = m->info.vocab, context = m->info.context;
    for (size_t b = 0; b < B; b++) {
        size_t have = seq_state_length(states[b]);
        if (n_ids[b] == 0)
            return err_param(err, ERR_INPUT, "ids", "sequence %zu has no token to feed",
                             b);
        if (context && n_ids[b] > context - have)
            return err_param(err, ERR_LIMIT, "ids",
                             "%zu tokens after %zu exceed the model's context of %zu",
                             n_ids[b], have, context);
        for (size_t i = 0; i < n_ids[b]; i++)
            if (ids[b][i] < 0 || (size_t)ids[b][i] >= V)
                return err_param(err, ERR_INPUT, "ids",
                                 "token id %d is outside the vocabulary of %zu",
                                 ids[b][i], V);
    }
    return ERR_OK;
}

struct copy_rows {
    float *to; /* [B,V] */
    size_t V;
};

static void copy_row(void *arg, size_t r, float *logits)
{
    const struct copy_rows *c = arg;
    memcpy(c->to + r * c->V, logits, c->V * sizeof *logits);
}

enum err_code seq_feed(const struct seq_model *m, struct seq_worker *w, size_t B,
                       struct seq_state *const *states, const int32_t *const *ids,
                       const size_t *n_ids, float *logits, struct err *err)
{
    if (B == 0)
        return ERR_OK;
    enum err_code code = check_feed(m, B, states, ids, n_ids, err);
    if (code != ERR_OK)
        return code;
    size_t T = 0, longest = 0;
    for (size_t b = 0; b < B; b++) {
        T += n_ids[b];
        longest = n_ids[b] > longest ? n_ids[b] : longest;
    }
    code = arena_reserve(&w->tmp, model_pass_bytes(m, B, T, longest), err);
    if (code != ERR_OK)
        return code;
    struct exec x = model_exec(m, w, NULL);
    size_t mark = arena_mark(&w->tmp);
    struct batch batch;
    code = batch_init(&batch, &w->tmp, B, T, err);
    for (size_t b = 0; b < B && code == ERR_OK; b++)
        batch_ids(&batch, ids[b], n_ids[b], states[b]->net);
    struct copy_rows c = {.to = logits, .V = m->info.vocab};
    if (code == ERR_OK)
        code = model_pass(m, &x, &batch, logits ? copy_row : NULL, &c, err);
    arena_rewind(&w->tmp, mark);
    return code;
}
