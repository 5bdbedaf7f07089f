#include "server/api/states_capture.h"

#include <math.h>
#include <string.h>

/* ---- life ------------------------------------------------------------------------ */

static size_t n_cells(const struct states_plan *p)
{
    return p->layers.n * p->directions.n;
}

static bool begin_cells(struct states_capture *c)
{
    const struct states_plan *p = c->plan;
    size_t H = p->info->state_width;
    c->cells = mem_zero(n_cells(p) + 1, sizeof *c->cells);
    for (size_t i = 0; c->cells && i < n_cells(p); i++) {
        c->cells[i].unit = mem_zero(H, sizeof *c->cells[i].unit);
        c->cells[i].before = mem_zero(H, sizeof *c->cells[i].before);
        if (!c->cells[i].unit || !c->cells[i].before)
            return false;
    }
    return c->cells != NULL;
}

static size_t n_kept(const struct states_plan *p)
{
    return p->signals.n * n_cells(p) * p->steps.n * p->n_kept;
}

enum err_code states_capture_init(struct states_capture *c,
                                  const struct states_plan *plan, const float *output,
                                  struct err *err)
{
    *c = (struct states_capture){.plan = plan, .output = output};
    size_t tops = plan->n_rows * plan->n_top;
    c->values = mem_zero(n_kept(plan) + 1, sizeof *c->values);
    c->units = mem_zero(n_cells(plan) * plan->n_units + 1, sizeof *c->units);
    c->top_id = mem_alloc(tops + 1, sizeof *c->top_id);
    c->top_p = mem_alloc(tops + 1, sizeof *c->top_p);
    c->surprisal = mem_alloc(plan->T, sizeof *c->surprisal);
    bool good = begin_cells(c);
    if (!good || !c->values || !c->units || !c->top_id || !c->top_p || !c->surprisal) {
        states_capture_done(c);
        return err_set(err, ERR_NOMEM, "out of memory for the states");
    }
    for (size_t t = 0; t < plan->T; t++)
        c->surprisal[t] = NAN;
    return ERR_OK;
}

void states_capture_done(struct states_capture *c)
{
    for (size_t i = 0; c->cells && i < n_cells(c->plan); i++) {
        mem_free(c->cells[i].unit);
        mem_free(c->cells[i].before);
    }
    mem_free(c->cells);
    mem_free(c->values);
    mem_free(c->units);
    mem_free(c->top_id);
    mem_free(c->top_p);
    mem_free(c->surprisal);
    *c = (struct states_capture){0};
}

/* ---- figures --------------------------------------------------------------------- */

/* h [H] of the next step that is read. */
static void count_values(struct states_cell *cell, size_t H, const float *h)
{
    double share = 1 / (double)++cell->n;
    const float *before = cell->n > 1 ? cell->before : h;
    for (size_t i = 0; i < H; i++) {
        struct states_unit *u = &cell->unit[i];
        double x = h[i], d = x - u->mean;
        u->mean += d * share;
        u->m2 += d * (x - u->mean);
        u->abs += fabs(x);
        u->delta += fabs(x - before[i]);
    }
    memcpy(cell->before, h, H * sizeof *h);
}

/* How units go with y: their covariance by its own recurrence. */
static void count_output(struct states_cell *cell, size_t H, const float *h, double y)
{
    if (isnan(y))
        return;
    double n = (double)++cell->with_n, dy = y - cell->with_mean;
    cell->with_mean += dy / n;
    cell->with_m2 += dy * (y - cell->with_mean);
    for (size_t i = 0; i < H; i++) {
        struct states_unit *u = &cell->unit[i];
        double dx = h[i] - u->with_mean;
        u->with_mean += dx / n;
        u->with_m2 += dx * (h[i] - u->with_mean);
        u->with_xy += dx * (y - cell->with_mean);
    }
}

/* Gates that are nearly shut or nearly open (Karpathy et al. 2015). */
static void count_gate(struct states_cell *cell, size_t H, size_t g, bool keeps,
                       const float *gate)
{
    const float shut = 0.1f, open = 0.9f;
    for (size_t u = 0; u < H; u++) {
        cell->unit[u].low[g] += gate[u] < shut;
        cell->unit[u].high[g] += gate[u] > open;
        if (keeps)
            cell->unit[u].keeps += gate[u];
    }
}

/* One step of a cell: at[i] [H] is signal i, the last of them what figures are of. */
static void count_step(const struct states_capture *c, struct states_cell *cell,
                       size_t step, const float *const *at)
{
    const struct states_plan *p = c->plan;
    size_t H = p->info->state_width;
    const float *h = at[p->info->n_signals - 1];
    count_values(cell, H, h);
    for (size_t g = 0; g < p->n_gates; g++)
        count_gate(cell, H, g, p->info->signals[p->gate[g]].keeps, at[p->gate[g]]);
    if (c->output)
        count_output(cell, H, h, c->output[step]);
}

/* How `u` goes with the output, -1 to 1; NAN where one of them stands still. */
static double correlation(const struct states_cell *cell, const struct states_unit *u)
{
    double square = cell->with_m2 * u->with_m2;
    return square > 0 ? u->with_xy / sqrt(square) : NAN;
}

/* ---- during the pass ------------------------------------------------------------- */

static float *row_of(const struct states_capture *c, size_t signal, size_t layer,
                     size_t direction, size_t step)
{
    const struct states_plan *p = c->plan;
    size_t at = (signal * p->layers.n + layer) * p->directions.n + direction;
    return c->values + (at * p->steps.n + step) * p->n_kept;
}

static void take_row(const struct states_plan *p, const float *from, float *to)
{
    if (p->ranked || !p->ask->units.at)
        memcpy(to, from, p->n_kept * sizeof *to);
    else
        for (size_t u = 0; u < p->n_kept; u++)
            to[u] = from[p->units.at[u]];
}

static void take_step(struct states_capture *c, size_t layer, size_t direction,
                      size_t step, const float *const *at)
{
    const struct states_plan *p = c->plan;
    long l = p->layers.place[layer], d = p->directions.place[direction];
    if (l == SELECTION_NONE || d == SELECTION_NONE)
        return;
    struct states_cell *cell = &c->cells[(size_t)l * p->directions.n + (size_t)d];
    if (p->ask->stats || p->ranked)
        count_step(c, cell, step, at);
    if (p->steps.place[step] == SELECTION_NONE)
        return;
    for (size_t i = 0; i < p->signals.n; i++)
        take_row(p, at[p->signals.at[i]],
                 row_of(c, i, (size_t)l, (size_t)d, (size_t)p->steps.place[step]));
}

void states_capture_step(void *arg, size_t layer, size_t direction, size_t step,
                         const float *const *at)
{
    take_step(arg, layer, direction, step, at);
}

void states_capture_hidden(void *arg, size_t layer, size_t first, size_t n, size_t D,
                           const float *h)
{
    for (size_t i = 0; i < n; i++, h += D)
        take_step(arg, layer, 0, first + i, &h);
}

void states_capture_logits(void *arg, size_t i, double total, const float *logits)
{
    struct states_capture *c = arg;
    const struct states_plan *p = c->plan;
    const struct seq_row *row = &p->rows[i];
    float *top = c->top_p + i * p->n_top;
    maps_top(p->info->vocab, p->n_top, logits, c->top_id + i * p->n_top, top);
    for (size_t k = 0; k < p->n_top; k++)
        top[k] = (float)exp(top[k] - total);
    if (row->layer == p->info->n_layers && row->step + 1 < p->T)
        c->surprisal[row->step + 1] = total - logits[p->tokens->at[row->step + 1].id];
}

/* ---- behind it ------------------------------------------------------------------- */

static float rank_of(const struct states_plan *p, const struct states_cell *cell,
                     const struct states_unit *u)
{
    double value = u->m2;
    if (p->ask->by == STATES_BY_ABS_MEAN)
        value = u->abs;
    if (p->ask->by == STATES_BY_DELTA)
        value = u->delta;
    if (p->ask->by == STATES_BY_CORR_OUTPUT)
        value = fabs(correlation(cell, u));
    return isnan(value) ? -1 : (float)value;
}

enum err_code states_capture_finish(struct states_capture *c, struct err *err)
{
    const struct states_plan *p = c->plan;
    size_t H = p->info->state_width, n = p->n_units;
    float *ranks = mem_alloc(H + n, sizeof *ranks); /* [H], and the best [n] */
    int32_t *best = mem_alloc(n + 1, sizeof *best);
    for (size_t i = 0; ranks && best && i < n_cells(p); i++) {
        for (size_t u = 0; u < H; u++)
            ranks[u] = rank_of(p, &c->cells[i], &c->cells[i].unit[u]);
        if (p->ranked)
            maps_top(H, n, ranks, best, ranks + H);
        for (size_t u = 0; u < n; u++)
            c->units[i * n + u] = p->ranked ? (size_t)best[u] : u;
    }
    bool good = ranks && best;
    mem_free(ranks);
    mem_free(best);
    return good ? ERR_OK : err_set(err, ERR_NOMEM, "out of memory for the states");
}

static size_t kept_place(const struct states_capture *c, size_t layer, size_t direction,
                         size_t u)
{
    const struct states_plan *p = c->plan;
    return c->units[(layer * p->directions.n + direction) * p->n_units + u];
}

size_t states_capture_unit(const struct states_capture *c, size_t layer, size_t direction,
                           size_t u)
{
    return c->plan->units.at[kept_place(c, layer, direction, u)];
}

void states_capture_row(const struct states_capture *c, size_t signal, size_t layer,
                        size_t direction, size_t step, float *to)
{
    const float *row = row_of(c, signal, layer, direction, step);
    for (size_t u = 0; u < c->plan->n_units; u++)
        to[u] = row[kept_place(c, layer, direction, u)];
}

void states_capture_stats(const struct states_capture *c, size_t layer, size_t direction,
                          size_t u, double out[STATES_FIELDS])
{
    const struct states_plan *p = c->plan;
    const struct states_cell *cell = &c->cells[layer * p->directions.n + direction];
    const struct states_unit *unit =
        &cell->unit[states_capture_unit(c, layer, direction, u)];
    double n = (double)cell->n;
    size_t i = 0;
    out[i++] = unit->mean;
    out[i++] = unit->m2 / n;
    out[i++] = unit->abs / n;
    out[i++] = cell->n > 1 ? unit->delta / (n - 1) : NAN;
    for (size_t g = 0; g < p->n_gates; g++) {
        out[i++] = unit->low[g] / n;
        out[i++] = unit->high[g] / n;
    }
    if (p->n_gates) {
        double open = unit->keeps / n;
        out[i++] = open < 1 ? 1 / (1 - open) : NAN;
    }
    if (p->ask->by == STATES_BY_CORR_OUTPUT)
        out[i++] = correlation(cell, unit);
}
