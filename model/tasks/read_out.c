#include "model/tasks/read_out.h"

#include <string.h>

/* Rows that are read together. */
enum { ROWS = 16 };

/* ---- before the pass ------------------------------------------------------------- */

static enum err_code check(const struct seq_model *m, const struct seq_sink *sink,
                           struct err *err)
{
    size_t last = m->info.n_layers;
    const char *name = m->info.architecture;
    if (!(m->info.tasks & SEQ_NEXT_WORD))
        return err_set(err, ERR_TASK, "a %s has no output layer over its vocabulary",
                       name);
    for (size_t i = 0; i < sink->n_rows; i++) {
        const struct seq_row *row = &sink->rows[i], *before = i ? row - 1 : NULL;
        if (row->layer > last)
            return err_set(err, ERR_INPUT, "a %s has %zu layers, not %zu", name, last,
                           row->layer);
        if (row->layer < last && !m->info.lens)
            return err_set(err, ERR_TASK,
                           "the output layer of a %s reads the last layer alone", name);
        if (before && (row->layer < before->layer ||
                       (row->layer == before->layer && row->step <= before->step)))
            return err_set(err, ERR_INPUT, "hidden rows are out of order at %zu", i);
    }
    return ERR_OK;
}

enum err_code read_out_init(struct read_out *r, const struct seq_model *m,
                            const struct seq_sink *sink, struct err *err)
{
    size_t layers = m->info.n_layers, i = 0;
    *r = (struct read_out){
        .m = m, .sink = sink, .D = m->info.lens ? m->net->cfg.width : m->net->out_width};
    if (!sink->n_rows)
        return ERR_OK;
    enum err_code code = check(m, sink, err);
    if (code != ERR_OK)
        return code;
    r->kept = mem_zero(sink->n_rows, r->D * sizeof *r->kept);
    r->first = mem_alloc(layers + 2, sizeof *r->first);
    r->next = mem_alloc(layers + 1, sizeof *r->next);
    if (!r->kept || !r->first || !r->next)
        return err_set(err, ERR_NOMEM, "out of memory for %zu hidden rows", sink->n_rows);
    for (size_t layer = 0; layer <= layers; layer++) {
        r->first[layer] = r->next[layer] = i;
        while (i < sink->n_rows && sink->rows[i].layer == layer)
            i++;
    }
    r->first[layers + 1] = i;
    return ERR_OK;
}

void read_out_done(struct read_out *r)
{
    mem_free(r->kept);
    mem_free(r->first);
    mem_free(r->next);
    *r = (struct read_out){0};
}

/* ---- during the pass ------------------------------------------------------------- */

void read_out_see(struct read_out *r, size_t layer, size_t first, size_t n,
                  const float *h)
{
    size_t *next = r->next ? &r->next[layer] : NULL;
    while (next && *next < r->first[layer + 1] && r->sink->rows[*next].step < first + n) {
        memcpy(r->kept + *next * r->D, h + (r->sink->rows[*next].step - first) * r->D,
               r->D * sizeof *h);
        ++*next;
    }
}

/* ---- behind it ------------------------------------------------------------------- */

struct told {
    const struct read_out *r;
    size_t first; /* row 0 of those being read */
};

static void tell(void *arg, size_t i, float *logits)
{
    const struct told *t = arg;
    t->r->sink->logits(t->r->sink->arg, t->first + i, log_sum_exp(t->r->m, logits),
                       logits);
}

/* n rows of one layer, from number `first` on; `rows` [ROWS,D'] is scratch. */
static enum err_code read_some(const struct read_out *r, struct exec *x, size_t first,
                               size_t n, float *rows, struct err *err)
{
    const struct net *net = r->m->net;
    const float *h = r->kept + first * r->D;
    struct told told = {r, first};
    enum err_code code = ERR_OK;
    if (net->ops->read_out) {
        code = net->ops->read_out(net, r->sink->rows[first].layer, n, h, rows, x, err);
        h = rows;
    }
    return code == ERR_OK ? model_logits(r->m, x, n, h, tell, &told, err) : code;
}

enum err_code read_out_run(struct read_out *r, struct seq_worker *w, struct err *err)
{
    const struct net *net = r->m->net;
    size_t bytes = arena_float_cost(ROWS * net->out_width) +
                   arena_float_cost(ROWS * r->D) + net_logits_bytes(net, ROWS) +
                   model_logits_bytes(r->m);
    if (!r->sink->n_rows)
        return ERR_OK;
    enum err_code code = arena_reserve(&w->tmp, bytes, err);
    if (code != ERR_OK)
        return code;
    struct exec x = model_exec(r->m, w, NULL);
    size_t mark = arena_mark(&w->tmp);
    float *rows = arena_floats(&w->tmp, ROWS * net->out_width); /* [ROWS,D'] */
    if (!rows)
        code = err_set(err, ERR_BUG, "arena too small to read hidden rows");
    for (size_t layer = 0; layer <= r->m->info.n_layers; layer++) {
        size_t end = r->first[layer + 1];
        for (size_t i = r->first[layer]; i < end && code == ERR_OK; i += ROWS)
            code = read_some(r, &x, i, end - i < ROWS ? end - i : ROWS, rows, err);
    }
    arena_rewind(&w->tmp, mark);
    return code;
}
