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

/* The ragged batch of seq_feed in the arena; costs feed_bytes. */
static size_t feed_bytes(size_t B, size_t T)
{
    return batch_bytes(B, T) + arena_byte_cost(B * sizeof(struct net_state *));
}

static enum err_code feed_batch(struct arena *tmp, size_t B,
                                struct seq_state *const *states,
                                const int32_t *const *ids, const size_t *n_ids,
                                struct net_batch *out, struct err *err)
{
    size_t T = 0;
    for (size_t b = 0; b < B; b++)
        T += n_ids[b];
    size_t *starts = arena_bytes(tmp, (B + 1) * sizeof *starts);
    int32_t *all = arena_bytes(tmp, T * sizeof *all);
    struct net_state **nets = arena_bytes(tmp, B * sizeof(struct net_state *));
    if (!starts || !all || !nets)
        return err_set(err, ERR_BUG, "arena too small to feed %zu tokens", T);
    size_t at = 0;
    for (size_t b = 0; b < B; b++) {
        starts[b] = at;
        nets[b] = states[b]->net;
        memcpy(all + at, ids[b], n_ids[b] * sizeof *all);
        at += n_ids[b];
    }
    starts[B] = at;
    *out = (struct net_batch){.B = B, .starts = starts, .ids = all, .states = nets};
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
    const struct net *n = m->net;
    size_t T = 0, longest = 0;
    for (size_t b = 0; b < B; b++) {
        T += n_ids[b];
        longest = n_ids[b] > longest ? n_ids[b] : longest;
    }
    size_t forward = n->ops->scratch_bytes(n, B, T, longest, NET_ONE);
    size_t output = model_logits_bytes(m);
    code = arena_reserve(&w->tmp,
                         feed_bytes(B, T) + arena_float_cost(B * n->out_width) +
                             (forward > output ? forward : output),
                         err);
    if (code != ERR_OK)
        return code;
    struct exec x = model_exec(m, w, NULL);
    size_t mark = arena_mark(&w->tmp);
    struct net_batch batch;
    code = feed_batch(&w->tmp, B, states, ids, n_ids, &batch, err);
    float *h = arena_floats(&w->tmp, B * n->out_width); /* [B,D'] */
    if (code == ERR_OK && !h)
        code = err_set(err, ERR_BUG, "arena too small for hidden rows");
    if (code == ERR_OK)
        code = n->ops->forward(n, &batch, NET_ONE, h, &x, err);
    struct copy_rows c = {.to = logits, .V = m->info.vocab};
    if (code == ERR_OK && logits)
        code = model_logits(m, &x, B, h, copy_row, &c, err);
    arena_rewind(&w->tmp, mark);
    return code;
}
