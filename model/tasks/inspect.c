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

/* Models without a classifier: the maps are the result, the last row is thrown away. */
static enum err_code trace_rows(const struct seq_model *m, struct seq_worker *w,
                                const struct seq_tokens *tokens,
                                const struct trace *trace, struct err *err)
{
    size_t bytes = model_pass_bytes(m, 1, tokens->n, tokens->n);
    enum err_code code = arena_reserve(&w->tmp, bytes, err);
    if (code != ERR_OK)
        return code;
    struct exec x = model_exec(m, w, trace);
    size_t mark = arena_mark(&w->tmp);
    struct batch batch;
    code = batch_texts(&batch, &w->tmp, 1, &tokens, err);
    if (code == ERR_OK)
        code = model_pass(m, &x, &batch, NULL, NULL, err);
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
        return trace_rows(m, w, tokens, &trace, err);
    size_t L = m->net->cfg.n_labels;
    float *mine = scores ? NULL : mem_alloc(L, sizeof *mine);
    if (!scores && !mine)
        return err_set(err, ERR_NOMEM, "out of memory: scores");
    enum err_code code =
        classify_traced(m, w, 1, &tokens, &trace, scores ? scores : mine, err);
    mem_free(mine);
    return code;
}
