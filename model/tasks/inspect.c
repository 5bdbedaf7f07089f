#include "model/nets/attention.h"
#include "model/tasks/model.h"
#include "model/tasks/read_out.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* ---- what is passed on ----------------------------------------------------------- */

/* A pass that is watched. */
struct watch {
    const struct seq_model *m;
    const struct seq_sink *sink;
    struct read_out out;
    float *tanh_c; /* [H] LSTM */
};

static void pass_hidden(void *arg, size_t seq, size_t layer, size_t first, size_t n,
                        size_t D, const float *h)
{
    (void)seq;
    struct watch *w = arg;
    read_out_see(&w->out, layer, first, n, h);
    if (w->sink->hidden)
        w->sink->hidden(w->sink->arg, layer, first, n, D, h);
}

static void pass_row(void *arg, size_t seq, size_t layer, size_t head, size_t query,
                     size_t n_keys, const float *p)
{
    (void)seq;
    const struct watch *w = arg;
    w->sink->row(w->sink->arg, layer, head, query, n_keys, p);
}

/* The gates, then the states, as info.signals lists them. */
static void pass_step(void *arg, const struct trace_step *s)
{
    enum { MOST = 7 };
    const struct watch *w = arg;
    const float *at[MOST];
    size_t n = 0, states = s->c ? 3 : 1;
    assert(w->m->info.n_signals <= MOST);
    for (; n + states < w->m->info.n_signals; n++)
        at[n] = s->gates + n * s->H;
    if (s->c) {
        memcpy(w->tanh_c, s->c, s->H * sizeof *s->c);
        w->m->net->k->tanh(s->H, w->tanh_c);
        at[n++] = s->c;
        at[n++] = w->tanh_c;
    }
    at[n] = s->h;
    w->sink->step(w->sink->arg, s->layer, s->direction, s->step, at);
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

static enum err_code check_sink(const struct seq_model *m, const struct seq_sink *sink,
                                struct err *err)
{
    if (sink->row && !(m->info.tasks & SEQ_ATTENTION))
        return err_set(err, ERR_TASK, "a %s has no attention maps", m->info.architecture);
    if (sink->step && !m->info.recurrent)
        return err_set(err, ERR_TASK, "a %s has no recurrent layers",
                       m->info.architecture);
    return ERR_OK;
}

/* Behind how many layers the pass may end. */
static size_t last_layer(const struct seq_sink *sink, const float *out)
{
    size_t wanted = sink->n_rows ? sink->rows[sink->n_rows - 1].layer : 0;
    if (out || !sink->n_layers)
        return 0;
    return wanted > sink->n_layers ? wanted : sink->n_layers;
}

static enum err_code watch_init(struct watch *w, const struct seq_model *m,
                                const struct seq_sink *sink, struct err *err)
{
    *w = (struct watch){.m = m, .sink = sink};
    enum err_code code = check_sink(m, sink, err);
    if (code == ERR_OK)
        code = read_out_init(&w->out, m, sink, err);
    if (code != ERR_OK || !sink->step)
        return code;
    w->tanh_c = mem_alloc(m->info.state_width, sizeof *w->tanh_c);
    return w->tanh_c ? ERR_OK : err_set(err, ERR_NOMEM, "out of memory: states");
}

static void watch_done(struct watch *w)
{
    read_out_done(&w->out);
    mem_free(w->tanh_c);
}

enum err_code seq_inspect(const struct seq_model *m, struct seq_worker *w,
                          const struct seq_tokens *tokens, const struct seq_sink *sink,
                          float *out, struct err *err)
{
    struct watch watch;
    struct trace trace = {.arg = &watch,
                          .maps = MAPS[sink->map],
                          .n_layers = last_layer(sink, out),
                          .attention = sink->row ? pass_row : NULL,
                          .hidden = sink->hidden || sink->n_rows ? pass_hidden : NULL,
                          .step = sink->step ? pass_step : NULL};
    enum err_code code = watch_init(&watch, m, sink, err);
    if (code == ERR_OK && sink->row)
        code = take_norms(m, tokens->n, &trace, err);
    if (code == ERR_OK && m->info.tasks & SEQ_CLASSIFY)
        code = trace_labels(m, w, tokens, &trace, out, err);
    else if (code == ERR_OK)
        code = trace_rows(m, w, tokens, &trace, m->net->cfg.head == HEAD_LM ? out : NULL,
                          err);
    if (code == ERR_OK)
        code = read_out_run(&watch.out, w, err);
    mem_free(trace.norms);
    watch_done(&watch);
    return code;
}

size_t seq_map_window(const struct seq_model *m, size_t layer)
{
    return config_window(&m->net->cfg, layer);
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
