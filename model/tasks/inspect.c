#include "model/nets/attention.h"
#include "model/tasks/model.h"

#include <stdio.h>

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

/* ---- a pass ---------------------------------------------------------------------- */

struct log_row {
    const struct seq_model *m;
    float *to; /* [V] */
};

static void take_logs(void *arg, size_t r, float *logits)
{
    (void)r;
    const struct log_row *row = arg;
    double all = log_sum_exp(row->m, logits);
    for (size_t i = 0; i < row->m->info.vocab; i++)
        row->to[i] = (float)(logits[i] - all);
}

/* Models without a classifier; next [V] may be NULL, the last row is then thrown away. */
static enum err_code trace_rows(const struct seq_model *m, struct seq_worker *w,
                                const struct seq_tokens *tokens,
                                const struct trace *trace, float *next, struct err *err)
{
    size_t bytes = model_pass_bytes(m, 1, tokens->n, tokens->n);
    enum err_code code = arena_reserve(&w->tmp, bytes, err);
    if (code != ERR_OK)
        return code;
    struct exec x = model_exec(m, w, trace);
    struct log_row row = {m, next};
    size_t mark = arena_mark(&w->tmp);
    struct batch batch;
    code = batch_texts(&batch, &w->tmp, 1, &tokens, err);
    if (code == ERR_OK)
        code = model_pass(m, &x, &batch, next ? take_logs : NULL, &row, err);
    arena_rewind(&w->tmp, mark);
    return code;
}

static enum err_code trace_labels(const struct seq_model *m, struct seq_worker *w,
                                  const struct seq_tokens *tokens,
                                  const struct trace *trace, float *scores,
                                  struct err *err)
{
    float *mine = scores ? NULL : mem_alloc(m->info.n_labels, sizeof *mine);
    if (!scores && !mine)
        return err_set(err, ERR_NOMEM, "out of memory: scores");
    enum err_code code =
        classify_traced(m, w, 1, &tokens, trace, scores ? scores : mine, err);
    mem_free(mine);
    return code;
}

static const enum trace_maps MAPS[] = {[SEQ_MAP_WEIGHTS] = TRACE_WEIGHTS,
                                       [SEQ_MAP_SCORES] = TRACE_SCORES,
                                       [SEQ_MAP_VALUE_NORMS] = TRACE_VALUE_NORMS};

/* What the trace needs for norms of values is taken for the pass only: it is as large as
 * an output projection. */
static enum err_code take_norms(const struct seq_model *m, size_t T, struct trace *trace,
                                struct err *err)
{
    const struct config *c = &m->net->cfg;
    if (trace->maps != TRACE_VALUE_NORMS || m->info.mask == SEQ_MASK_POOLING)
        return ERR_OK;
    size_t floats = attention_norm_floats(c->n_heads, c->head_width, c->width, T);
    trace->norms = mem_aligned(floats, sizeof *trace->norms);
    return trace->norms ? ERR_OK
                        : err_set(err, ERR_NOMEM, "out of memory: norms of values");
}

enum err_code seq_inspect(const struct seq_model *m, struct seq_worker *w,
                          const struct seq_tokens *tokens, const struct seq_sink *sink,
                          float *out, struct err *err)
{
    if (sink->row && !(m->info.tasks & SEQ_ATTENTION))
        return err_set(err, ERR_TASK, "a %s has no attention maps", m->info.architecture);
    struct seq_sink own = *sink;
    struct trace trace = {.arg = &own,
                          .maps = MAPS[sink->map],
                          .n_layers = out ? 0 : sink->n_layers,
                          .attention = sink->row ? pass_row : NULL,
                          .hidden = sink->hidden ? pass_hidden : NULL};
    enum err_code code = ERR_OK;
    if (sink->row)
        code = take_norms(m, tokens->n, &trace, err);
    if (code == ERR_OK && m->info.tasks & SEQ_CLASSIFY)
        code = trace_labels(m, w, tokens, &trace, out, err);
    else if (code == ERR_OK)
        code = trace_rows(m, w, tokens, &trace, m->net->cfg.head == HEAD_LM ? out : NULL,
                          err);
    mem_free(trace.norms);
    return code;
}

/* ---- ids ------------------------------------------------------------------------- */

static enum err_code take_id(const struct seq_model *m, int32_t id, size_t i,
                             struct seq_token *to, struct err *err)
{
    char param[ERR_PARAM_BYTES];
    if (id < 0 || (size_t)id >= m->info.vocab) {
        snprintf(param, sizeof param, "ids[%zu]", i);
        return err_param(err, ERR_INPUT, param,
                         "%s is %d, which is outside the vocabulary of %zu", param, id,
                         m->info.vocab);
    }
    *to = (struct seq_token){
        .id = id, .word = -1, .special = tokenizer_is_special(m->tok, id)};
    return ERR_OK;
}

enum err_code seq_tokens_of_ids(const struct seq_model *m, const int32_t *ids, size_t n,
                                struct seq_tokens *out, struct err *err)
{
    size_t context = m->info.context, total;
    if (!mem_add(out->n, n, &total) || (context && total > context))
        return err_param(err, ERR_LIMIT, "ids",
                         "%zu tokens, this model reads at most %zu", total, context);
    if (total > out->cap) {
        struct seq_token *at = mem_resize(out->at, total, sizeof *at);
        if (!at)
            return err_set(err, ERR_NOMEM, "out of memory for %zu tokens", total);
        out->at = at;
        out->cap = total;
    }
    enum err_code code = ERR_OK;
    for (size_t i = 0; i < n && code == ERR_OK; i++)
        code = take_id(m, ids[i], i, &out->at[out->n + i], err);
    if (code == ERR_OK)
        out->n = total;
    return code;
}
