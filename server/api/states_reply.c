#include "server/api/states_reply.h"

#include <math.h>
#include <string.h>

#include "server/api/prediction.h"
#include "server/api/token_list.h"

static const char *const DIRECTIONS[] = {"forward", "backward"};

/* ---- the shape ------------------------------------------------------------------- */

static const struct doc_shape STATES[] = {
    {"axes", DOC_STRINGS, .help = "signal, layer, direction, step, unit"},
    {"shape", DOC_INTEGERS, .help = "Length of each axis"},
    {"signals", DOC_STRINGS, .help = "Name of each"},
    {"layers", DOC_INTEGERS, .help = "Index of each"},
    {"directions", DOC_STRINGS, .help = "Name of each"},
    {"units", DOC_ARRAY,
     .help = "Of each layer and direction the indexes of its units, a ranking's first "
             "first"},
    {"ranges", DOC_RANGES,
     .help = "Of each signal the least and the most it can be; null: no bound"},
    {"dtype", DOC_STRING, .help = "What they are given in; computed in float32"},
    {"data", DOC_ARRAY, .optional = true,
     .help = "JSON: the values, nested as axes and shape say"},
    {0}};

static const struct doc_shape STATS[] = {
    {"axes", DOC_STRINGS, .help = "layer, direction, unit, field"},
    {"fields", DOC_STRINGS,
     .help = "What the last axis holds. Of h or hidden over all steps: mean, variance, "
             "abs_mean, delta (mean absolute change from step to step); of each gate the "
             "share of steps below 0.1 (i_low) and above 0.9 (i_high); memory: 1 / (1 - "
             "mean of the gate that keeps), in steps; corr_output if units are ranked "
             "by it"},
    {"shape", DOC_INTEGERS, .help = "Length of each axis"},
    {"data", DOC_ARRAY, .help = "The figures; null where there is none"},
    {0}};

static const struct doc_shape TOP[] = {
    {"token", DOC_STRING,
     .help = "The text it adds, made valid UTF-8; of special tokens their name"},
    {"id", DOC_INTEGER, .help = "Its number in the vocabulary"},
    {"probability", DOC_NUMBER, .help = "From 0 to 1"},
    {0}};

static const struct doc_shape STEP[] = {
    {"step", DOC_INTEGER, .help = "Index in tokens"},
    {"top", DOC_LIST, .optional = true, .of = TOP,
     .help = "Language models: the likeliest tokens behind this one"},
    {"surprisal", DOC_NUMBER, .optional = true, .nullable = true,
     .help = "Language models: minus the natural log probability of this token behind "
             "those before it; null for the first"},
    {"score", DOC_OBJECT, .optional = true, .of = prediction_shape,
     .help = "Classifiers: what they say of the text up to this token and the special "
             "tokens that close it"},
    {0}};

static const struct doc_shape LENS[] = {
    {"axes", DOC_STRINGS, .help = "layer, step"},
    {"layers", DOC_INTEGERS, .help = "Index of each"},
    {"steps", DOC_INTEGERS, .help = "Index in tokens of each"},
    {"top", DOC_TABLE, .of = TOP,
     .help = "Of each layer and step the likeliest tokens; the last layer's are the "
             "model's own"},
    {0}};

static const struct doc_shape USAGE[] = {
    {"tokens", DOC_INTEGER, .help = "Tokens read, special ones included"},
    {"truncated", DOC_BOOLEAN, .help = "Some were left out: the model reads no more"},
    {"values", DOC_INTEGER, .help = "Numbers in the states and all else"},
    {0}};

const struct doc_shape states_reply_shape[] = {
    {"object", DOC_STRING, .help = "states"},
    {"model", DOC_STRING, .help = "Which model answered"},
    {"architecture", DOC_STRING, .help = "As its config.json says"},
    {"tokens", DOC_LIST, .of = token_list_shape, .help = "All tokens of the text"},
    {"steps", DOC_INTEGERS, .help = "Index in tokens of each step of the states"},
    {"states", DOC_OBJECT, .of = STATES},
    {"stats", DOC_OBJECT, .optional = true, .of = STATS},
    {"per_step", DOC_LIST, .optional = true, .of = STEP, .help = "One for each of steps"},
    {"lens", DOC_OBJECT, .optional = true, .of = LENS},
    {"prediction", DOC_OBJECT, .optional = true, .of = prediction_shape,
     .help = "What a classifier says of this text, or a language model of what follows"},
    {"usage", DOC_OBJECT, .of = USAGE},
    {"outputs", DOC_LIST, .optional = true, .of = map_output_shape,
     .help = "Binary: the tensor behind this object"},
    {0}};

/* ---- states ---------------------------------------------------------------------- */

static void write_names(struct json_writer *w, const struct states_plan *p)
{
    json_write_key(w, "signals");
    json_write_array(w);
    for (size_t i = 0; i < p->signals.n; i++)
        json_write_string(w, p->info->signals[p->signals.at[i]].name);
    json_write_end(w);
    selection_write(w, "layers", &p->layers);
    json_write_key(w, "directions");
    json_write_array(w);
    for (size_t i = 0; i < p->directions.n; i++)
        json_write_string(w, DIRECTIONS[p->directions.at[i]]);
    json_write_end(w);
}

/* What is said of every unit of every layer and direction. */
static void write_units(struct json_writer *w, const struct states_capture *c,
                        void (*write)(struct json_writer *w,
                                      const struct states_capture *c, size_t layer,
                                      size_t direction, size_t u))
{
    const struct states_plan *p = c->plan;
    json_write_array(w);
    for (size_t l = 0; l < p->layers.n; l++) {
        json_write_array(w);
        for (size_t d = 0; d < p->directions.n; d++) {
            json_write_array(w);
            for (size_t u = 0; u < p->n_units; u++)
                write(w, c, l, d, u);
            json_write_end(w);
        }
        json_write_end(w);
    }
    json_write_end(w);
}

static void write_unit(struct json_writer *w, const struct states_capture *c,
                       size_t layer, size_t direction, size_t u)
{
    json_write_uint(w, states_capture_unit(c, layer, direction, u));
}

static void write_bound(struct json_writer *w, float bound)
{
    json_write_float(w, bound); /* none: null */
}

static void write_ranges(struct json_writer *w, const struct states_plan *p)
{
    json_write_key(w, "ranges");
    json_write_object(w);
    for (size_t i = 0; i < p->signals.n; i++) {
        const struct seq_signal *s = &p->info->signals[p->signals.at[i]];
        json_write_key(w, s->name);
        if (isinf(s->least) && isinf(s->most)) {
            json_write_null(w);
            continue;
        }
        json_write_array(w);
        write_bound(w, s->least);
        write_bound(w, s->most);
        json_write_end(w);
    }
    json_write_end(w);
}

/* Rows from `axis` on, the places of the axes before it given. */
static void write_steps(struct json_writer *w, const struct states_answer *a,
                        const size_t at[3], float *row)
{
    json_write_array(w);
    for (size_t t = 0; t < a->plan->steps.n; t++) {
        states_capture_row(a->capture, at[0], at[1], at[2], t, row);
        json_write_floats(w, row, a->plan->n_units, (unsigned)a->ask->decimals);
    }
    json_write_end(w);
}

static void write_data(struct json_writer *w, const struct states_answer *a, float *row)
{
    const struct states_plan *p = a->plan;
    json_write_key(w, "data");
    json_write_array(w);
    for (size_t s = 0; s < p->signals.n; s++) {
        json_write_array(w);
        for (size_t l = 0; l < p->layers.n; l++) {
            json_write_array(w);
            for (size_t d = 0; d < p->directions.n; d++)
                write_steps(w, a, (const size_t[3]){s, l, d}, row);
            json_write_end(w);
        }
        json_write_end(w);
    }
    json_write_end(w);
}

static void write_states(struct json_writer *w, const struct states_answer *a, float *row)
{
    const struct states_plan *p = a->plan;
    json_write_key(w, "states");
    json_write_object(w);
    map_axes_write(w, p->axes, STATES_AXES);
    write_names(w, p);
    json_write_key(w, "units");
    write_units(w, a->capture, write_unit);
    write_ranges(w, p);
    json_write_key_string(w, "dtype", MAP_DTYPES[a->ask->dtype]);
    if (a->ask->encoding == MAP_JSON)
        write_data(w, a, row);
    json_write_end(w);
}

/* ---- stats ----------------------------------------------------------------------- */

static void write_figures(struct json_writer *w, const struct states_capture *c,
                          size_t layer, size_t direction, size_t u)
{
    double figures[STATES_FIELDS];
    states_capture_stats(c, layer, direction, u, figures);
    json_write_array(w);
    for (size_t i = 0; i < c->plan->n_fields; i++)
        json_write_float(w, (float)figures[i]); /* NAN: null */
    json_write_end(w);
}

static void write_stats(struct json_writer *w, const struct states_answer *a)
{
    const struct states_plan *p = a->plan;
    const struct map_axis axes[] = {{"layer", p->layers.n},
                                    {"direction", p->directions.n},
                                    {"unit", p->n_units},
                                    {"field", p->n_fields}};
    json_write_key(w, "stats");
    json_write_object(w);
    map_axes_write(w, axes, 4);
    json_write_key(w, "fields");
    json_write_array(w);
    for (size_t i = 0; i < p->n_fields; i++)
        json_write_string(w, p->field[i]);
    json_write_end(w);
    json_write_key(w, "data");
    write_units(w, a->capture, write_figures);
    json_write_end(w);
}

/* ---- tokens the output layer tells ----------------------------------------------- */

/* The first n of what is told of a row. */
static void write_top(struct json_writer *w, const struct states_answer *a, size_t row,
                      int64_t n)
{
    const struct states_capture *c = a->capture;
    size_t most = a->plan->n_top;
    json_write_array(w);
    for (size_t i = 0; i < most && i < (size_t)n; i++) {
        size_t bytes = 0;
        int32_t id = c->top_id[row * most + i];
        const char *text = seq_predicted_bytes(a->model->seq, id, &bytes);
        if (!bytes) /* a special token */
            text = seq_piece(a->model->seq, id, &bytes);
        json_write_object(w);
        json_write_key(w, "token");
        json_write_text(w, text ? text : "", text ? bytes : 0);
        json_write_key_uint(w, "id", (uint64_t)id);
        json_write_key(w, "probability");
        json_write_float(w, c->top_p[row * most + i]);
        json_write_end(w);
    }
    json_write_end(w);
}

static void write_next(struct json_writer *w, const struct states_answer *a, size_t step)
{
    const struct states_plan *p = a->plan;
    double surprisal = a->capture->surprisal[step];
    json_write_key(w, "top");
    write_top(w, a, states_plan_row(p, p->info->n_layers, step), a->ask->step_top);
    json_write_key(w, "surprisal");
    json_write_float(w, (float)surprisal); /* NAN: null */
}

static void write_per_step(struct json_writer *w, const struct states_answer *a)
{
    const struct states_plan *p = a->plan;
    json_write_key(w, "per_step");
    json_write_array(w);
    for (size_t i = 0; i < p->steps.n; i++) {
        size_t step = p->steps.at[i];
        json_write_object(w);
        json_write_key_uint(w, "step", step);
        if (a->scores) {
            size_t at = a->ask->by == STATES_BY_CORR_OUTPUT ? step : i;
            json_write_key(w, "score");
            prediction_write(w, a->model, a->scores + at * p->info->n_labels);
        } else {
            write_next(w, a, step);
        }
        json_write_end(w);
    }
    json_write_end(w);
}

static void write_lens(struct json_writer *w, const struct states_answer *a)
{
    const struct states_plan *p = a->plan;
    json_write_key(w, "lens");
    json_write_object(w);
    json_write_key(w, "axes");
    json_write_array(w);
    json_write_string(w, "layer");
    json_write_string(w, "step");
    json_write_end(w);
    selection_write(w, "layers", &p->layers);
    selection_write(w, "steps", &p->steps);
    json_write_key(w, "top");
    json_write_array(w);
    for (size_t l = 0; l < p->layers.n; l++) {
        json_write_array(w);
        for (size_t t = 0; t < p->steps.n; t++)
            write_top(w, a, states_plan_row(p, p->layers.at[l], p->steps.at[t]),
                      a->ask->lens_top);
        json_write_end(w);
    }
    json_write_end(w);
    json_write_end(w);
}

/* ---- the whole ------------------------------------------------------------------- */

static void write_usage(struct json_writer *w, const struct states_answer *a)
{
    json_write_key(w, "usage");
    json_write_object(w);
    json_write_key_uint(w, "tokens", a->plan->T);
    json_write_key_bool(w, "truncated", a->tokens->n_dropped > 0);
    json_write_key_uint(w, "values",
                        states_plan_values(a->plan) + states_plan_others(a->plan));
    json_write_end(w);
}

static size_t tensor_bytes(const struct states_answer *a)
{
    return states_plan_values(a->plan) * map_dtype_bytes((enum map_dtype)a->ask->dtype);
}

static void write_outputs(struct json_writer *w, const struct states_answer *a)
{
    json_write_key(w, "outputs");
    json_write_array(w);
    map_output_write(w, "states", map_dtype_tensor((enum map_dtype)a->ask->dtype),
                     a->plan->axes, STATES_AXES, tensor_bytes(a));
    json_write_end(w);
}

static void write_all(struct json_writer *w, const struct states_answer *a, float *row)
{
    const struct token_source source = input_source(&a->ask->input, a->model, a->tokens);
    json_write_object(w);
    json_write_key_string(w, "object", "states");
    json_write_key_string(w, "model", a->model->name);
    json_write_key_string(w, "architecture", a->model->info->architecture);
    json_write_key(w, "tokens");
    token_list_write(w, &source);
    selection_write(w, "steps", &a->plan->steps);
    write_states(w, a, row);
    if (a->ask->stats)
        write_stats(w, a);
    if (a->ask->step_top >= 0)
        write_per_step(w, a);
    if (a->ask->lens_top >= 0)
        write_lens(w, a);
    if (a->result) {
        json_write_key(w, "prediction");
        prediction_write(w, a->model, a->result);
    }
    write_usage(w, a);
    if (a->ask->encoding == MAP_BINARY)
        write_outputs(w, a);
    json_write_end(w);
    buf_put(&w->buf, "\n", 1);
}

/* All values, row by row; the caller's. NULL: no memory. */
static unsigned char *encode(const struct states_answer *a, float *row)
{
    const struct states_plan *p = a->plan;
    enum map_dtype dtype = (enum map_dtype)a->ask->dtype;
    unsigned char *all = mem_alloc(tensor_bytes(a) + 1, 1), *to = all;
    size_t rows = all ? p->signals.n * p->layers.n * p->directions.n * p->steps.n : 0;
    for (size_t i = 0; i < rows; i++) {
        size_t step = i % p->steps.n, cell = i / p->steps.n;
        size_t direction = cell % p->directions.n, layer = cell / p->directions.n;
        states_capture_row(a->capture, layer / p->layers.n, layer % p->layers.n,
                           direction, step, row);
        map_encode(dtype, p->n_units, row, to);
        to += p->n_units * map_dtype_bytes(dtype);
    }
    return all;
}

static void make_tensor(const struct states_answer *a, struct json_writer *take_w,
                        float *row, struct reply *to)
{
    size_t shape[STATES_AXES];
    unsigned char *bytes = encode(a, row);
    for (size_t i = 0; i < STATES_AXES; i++)
        shape[i] = a->plan->axes[i].n;
    if (!bytes)
        to->body.failed = true;
    else if (a->ask->encoding == MAP_NPY)
        map_frame_npy(to, (enum map_dtype)a->ask->dtype, shape, STATES_AXES, bytes,
                      tensor_bytes(a));
    else
        map_frame_binary(to, take_w, bytes, tensor_bytes(a));
}

enum err_code states_reply_make(const struct states_answer *a, struct reply *to,
                                struct err *err)
{
    struct json_writer w = {0};
    float *row = mem_alloc(a->plan->n_units + 1, sizeof *row); /* [n_units] */
    if (!row)
        return err_set(err, ERR_NOMEM, "out of memory for the reply");
    if (a->ask->encoding != MAP_NPY)
        write_all(&w, a, row);
    if (a->ask->encoding == MAP_JSON || w.buf.failed)
        reply_take_json(to, &w);
    else
        make_tensor(a, &w, row, to);
    json_write_done(&w);
    mem_free(row);
    return to->body.failed ? err_set(err, ERR_NOMEM, "out of memory for the reply")
                           : ERR_OK;
}
