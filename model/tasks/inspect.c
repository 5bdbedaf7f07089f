#include "model/tasks/model.h"

static void pass_hidden(void *arg, size_t seq, size_t layer, size_t first, size_t n,
                        size_t D, const float *h)
{
    (void)seq;
    const struct seq_sink *sink = arg;
    sink->hidden(sink->arg, layer, first, n, D, h);
}

static void pass_row(void *arg, size_t seq, size_t layer, size_t head, size_t query,
                     size_t n_keys, const float *p)
{
    (void)seq;
    const struct seq_sink *sink = arg;
    sink->row(sink->arg, layer, head, query, n_keys, p);
}

/* Language models: the hidden row is computed and thrown away; the maps are the result.
 */
static enum err_code trace_decoder(const struct seq_model *m, struct seq_worker *w,
                                   const struct seq_tokens *tokens,
                                   const struct trace *trace, struct err *err)
{
    const struct net *n = m->net;
    size_t bytes = batch_bytes(1, tokens->n) + arena_float_cost(n->out_width) +
                   n->ops->scratch_bytes(n, 1, tokens->n, tokens->n, NET_ONE);
    enum err_code code = arena_reserve(&w->tmp, bytes, err);
    if (code != ERR_OK)
        return code;
    struct exec x = model_exec(m, w, trace);
    size_t mark = arena_mark(&w->tmp);
    struct net_batch batch;
    code = batch_fill(&w->tmp, 1, &tokens, &batch, err);
    float *h = arena_floats(&w->tmp, n->out_width); /* [1,D'] */
    if (code == ERR_OK && !h)
        code = err_set(err, ERR_BUG, "arena too small for a hidden row");
    if (code == ERR_OK)
        code = n->ops->forward(n, &batch, NET_ONE, h, &x, err);
    arena_rewind(&w->tmp, mark);
    return code;
}

enum err_code seq_inspect(const struct seq_model *m, struct seq_worker *w,
                          const struct seq_tokens *tokens, const struct seq_sink *sink,
                          float *scores, struct err *err)
{
    if (sink->row && !(m->info.tasks & SEQ_ATTENTION))
        return err_set(err, ERR_TASK, "a %s has no attention maps", m->info.architecture);
    struct seq_sink own = *sink;
    struct trace trace = {.arg = &own,
                          .attention = sink->row ? pass_row : NULL,
                          .hidden = sink->hidden ? pass_hidden : NULL};
    if (!(m->info.tasks & SEQ_CLASSIFY))
        return trace_decoder(m, w, tokens, &trace, err);
    size_t L = m->net->cfg.n_labels;
    float *mine = scores ? NULL : mem_alloc(L, sizeof *mine);
    if (!scores && !mine)
        return err_set(err, ERR_NOMEM, "out of memory: scores");
    enum err_code code =
        classify_traced(m, w, 1, &tokens, &trace, scores ? scores : mine, err);
    mem_free(mine);
    return code;
}
