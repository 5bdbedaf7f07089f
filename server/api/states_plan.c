#include "server/api/states_plan.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static enum err_code no_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, "out of memory for the request's states");
}

/* ---- what is chosen -------------------------------------------------------------- */

static enum err_code choose_names(struct states_plan *p, struct err *err)
{
    static const char *const DIRECTIONS[] = {"forward", "backward"};
    const char *names[STATES_FIELDS];
    assert(p->info->n_signals <= STATES_FIELDS);
    for (size_t i = 0; i < p->info->n_signals; i++)
        names[i] = p->info->signals[i].name;
    enum err_code code = selection_names(&p->signals, "signals", &p->ask->signals, names,
                                         p->info->n_signals, err);
    if (code == ERR_OK)
        code = selection_names(&p->directions, "directions", &p->ask->directions,
                               DIRECTIONS, p->info->directions, err);
    return code;
}

static enum err_code choose_indexes(struct states_plan *p, struct err *err)
{
    size_t H = p->info->state_width;
    const struct states_request *ask = p->ask;
    enum err_code code =
        selection_init(&p->layers, "layers", &ask->layers, p->info->n_state_layers, err);
    if (code == ERR_OK)
        code = selection_init(&p->steps, "steps", &ask->steps, p->T, err);
    if (code == ERR_OK)
        code = selection_init(&p->units, "units", &ask->units, H, err);
    p->ranked = !ask->units.at && !ask->units.all;
    p->n_units = p->ranked && (size_t)ask->top < H ? (size_t)ask->top : p->units.n;
    p->n_kept = p->units.n;
    for (size_t i = 0; i < p->layers.n; i++)
        if (p->layers.at[i] > p->n_layers)
            p->n_layers = p->layers.at[i];
    if (p->n_layers == 0)
        p->n_layers = 1; /* 0 would be all */
    return code;
}

static void set_axes(struct states_plan *p)
{
    p->axes[0] = (struct map_axis){"signal", p->signals.n};
    p->axes[1] = (struct map_axis){"layer", p->layers.n};
    p->axes[2] = (struct map_axis){"direction", p->directions.n};
    p->axes[3] = (struct map_axis){"step", p->steps.n};
    p->axes[4] = (struct map_axis){"unit", p->n_units};
}

static void add_field(struct states_plan *p, const char *signal, const char *what)
{
    assert(p->n_fields < STATES_FIELDS);
    snprintf(p->field[p->n_fields], sizeof p->field[0], "%s%s", signal, what);
    p->n_fields++;
}

static void set_fields(struct states_plan *p)
{
    bool keeps = false;
    add_field(p, "", "mean");
    add_field(p, "", "variance");
    add_field(p, "", "abs_mean");
    add_field(p, "", "delta");
    for (size_t i = 0; i < p->info->n_signals; i++) {
        const struct seq_signal *s = &p->info->signals[i];
        keeps |= s->keeps;
        if (!s->gate)
            continue;
        assert(p->n_gates < STATES_GATES);
        p->gate[p->n_gates++] = i;
        add_field(p, s->name, "_low");
        add_field(p, s->name, "_high");
    }
    if (keeps)
        add_field(p, "", "memory");
    if (p->ask->by == STATES_BY_CORR_OUTPUT)
        add_field(p, "", "corr_output");
}

/* ---- rows and scores ------------------------------------------------------------- */

static bool is_read(const struct states_plan *p, size_t layer, size_t step)
{
    bool chosen = p->steps.place[step] != SELECTION_NONE;
    bool next = step + 1 < p->T && p->steps.place[step + 1] != SELECTION_NONE;
    if (p->ask->step_top >= 0 && layer == p->info->n_layers)
        return chosen || next; /* the row in front tells a token's surprisal */
    return p->ask->lens_top >= 0 && chosen && p->layers.place[layer] != SELECTION_NONE;
}

static enum err_code list_rows(struct states_plan *p, struct err *err)
{
    size_t layers = p->info->n_layers, n = 0;
    bool steps = p->ask->step_top >= 0 && states_tells_next(p->info);
    int64_t most =
        p->ask->step_top > p->ask->lens_top ? p->ask->step_top : p->ask->lens_top;
    if (!steps && p->ask->lens_top < 0)
        return ERR_OK;
    size_t from = p->ask->lens_top >= 0 ? 0 : layers;
    for (size_t l = from; l <= layers; l++)
        for (size_t t = 0; t < p->T; t++)
            n += is_read(p, l, t);
    p->n_top = (size_t)most < p->info->vocab ? (size_t)most : p->info->vocab;
    p->rows = mem_alloc(n + 1, sizeof *p->rows);
    if (!p->rows)
        return no_memory(err);
    for (size_t l = from; l <= layers; l++)
        for (size_t t = 0; t < p->T; t++)
            if (is_read(p, l, t))
                p->rows[p->n_rows++] = (struct seq_row){l, t};
    return ERR_OK;
}

static enum err_code list_scored(struct states_plan *p, struct err *err)
{
    bool all = p->ask->by == STATES_BY_CORR_OUTPUT;
    if (!states_tells_score(p->info) || (p->ask->step_top < 0 && !all))
        return ERR_OK;
    p->n_scored = all ? p->T : p->steps.n;
    p->scored = mem_alloc(p->n_scored + 1, sizeof *p->scored);
    if (!p->scored)
        return no_memory(err);
    for (size_t i = 0; i < p->n_scored; i++)
        p->scored[i] = all ? i : p->steps.at[i];
    return ERR_OK;
}

size_t states_plan_row(const struct states_plan *p, size_t layer, size_t step)
{
    size_t low = 0, high = p->n_rows;
    while (low + 1 < high) {
        size_t middle = low + (high - low) / 2;
        const struct seq_row *row = &p->rows[middle];
        bool before = row->layer < layer || (row->layer == layer && row->step <= step);
        if (before)
            low = middle;
        else
            high = middle;
    }
    assert(p->rows[low].layer == layer && p->rows[low].step == step);
    return low;
}

/* ---- the whole ------------------------------------------------------------------- */

enum err_code states_plan_init(struct states_plan *p, const struct states_request *ask,
                               const struct model *m, const struct seq_tokens *tokens,
                               struct err *err)
{
    *p = (struct states_plan){
        .ask = ask, .info = m->info, .tokens = tokens, .T = tokens->n};
    enum err_code code = choose_names(p, err);
    if (code == ERR_OK)
        code = choose_indexes(p, err);
    if (code == ERR_OK)
        code = list_rows(p, err);
    if (code == ERR_OK)
        code = list_scored(p, err);
    if (code != ERR_OK) {
        states_plan_done(p);
        return code;
    }
    set_axes(p);
    set_fields(p);
    return ERR_OK;
}

void states_plan_done(struct states_plan *p)
{
    selection_done(&p->signals);
    selection_done(&p->layers);
    selection_done(&p->directions);
    selection_done(&p->steps);
    selection_done(&p->units);
    mem_free(p->rows);
    mem_free(p->scored);
    *p = (struct states_plan){0};
}

/* ---- sizes ----------------------------------------------------------------------- */

static size_t times(size_t a, size_t b)
{
    size_t product;
    return mem_mul(a, b, &product) ? product : SIZE_MAX;
}

static size_t plus(size_t a, size_t b)
{
    size_t sum;
    return mem_add(a, b, &sum) ? sum : SIZE_MAX;
}

/* Of each unit that is taken down. */
static size_t numbers_of_unit(const struct states_plan *p)
{
    return times(times(p->signals.n, p->steps.n), times(p->layers.n, p->directions.n));
}

size_t states_plan_values(const struct states_plan *p)
{
    return times(numbers_of_unit(p), p->n_units);
}

size_t states_plan_others(const struct states_plan *p)
{
    size_t units = times(times(p->layers.n, p->directions.n), p->n_units);
    size_t stats = p->ask->stats ? times(units, p->n_fields) : 0;
    size_t tokens = times(p->n_rows, p->n_top + 1);
    return plus(plus(units, stats), plus(tokens, times(p->n_scored, p->info->n_labels)));
}

size_t states_plan_floats(const struct states_plan *p)
{
    return plus(times(numbers_of_unit(p), p->n_kept),
                times(p->n_rows, p->info->state_width));
}

size_t states_plan_logits(const struct states_plan *p)
{
    return times(p->n_rows, p->info->vocab);
}

size_t states_plan_prefixes(const struct states_plan *p)
{
    return seq_classify_steps_tokens(p->tokens, p->scored, p->n_scored);
}
