#include "server/api/attention_reply.h"

#include <math.h>
#include <string.h>

#include "server/api/prediction.h"
#include "server/api/token_list.h"

static const char *const MASKS[] = {[SEQ_MASK_NONE] = "none",
                                    [SEQ_MASK_CAUSAL] = "causal",
                                    [SEQ_MASK_FULL] = "full",
                                    [SEQ_MASK_POOLING] = "pooling"};

/* ---- the shape ------------------------------------------------------------------- */

static const struct doc_shape WORD[] = {
    {"tokens", DOC_INTEGERS, .help = "Index in tokens of each of its tokens"}, {0}};

static const struct doc_shape ROUNDING[] = {
    {"decimals", DOC_INTEGER, .optional = true, .help = "JSON: digits behind the point"},
    {"row_sum_error_max", DOC_NUMBER, .help = "What rounding can change in a row's sum"},
    {0}};

static const struct doc_shape SPARSE[] = {
    {"layout", DOC_STRING, .help = "csr; without min_weight every row has k entries"},
    {"k", DOC_INTEGER, .help = "Most entries of a row, largest first"},
    {"min_weight", DOC_NUMBER, .optional = true, .help = "Smaller ones are left out"},
    {"indices", DOC_INTEGERS, .optional = true,
     .help = "Their places in key_tokens (words: in words), row after row"},
    {"indptr", DOC_INTEGERS, .optional = true,
     .help =
         "With min_weight: where the entries of each row begin in indices and values, "
         "and where the last ones end"},
    {"values", DOC_ARRAY, .optional = true, .help = "What stands there"},
    {"residual", DOC_ARRAY, .optional = true,
     .help = "What all others of a row sum to, one number per row"},
    {0}};

static const struct doc_shape MAPS[] = {
    {"kind", DOC_STRING, .help = "weights, scores or value_norm"},
    {"axes", DOC_STRINGS,
     .help = "Of layer, head, query, key; pair, query, key; or hop, key: those that are "
             "left"},
    {"shape", DOC_INTEGERS, .help = "Length of each axis"},
    {"layers", DOC_INTEGERS, .optional = true,
     .help = "Index of each chosen layer, also where they are reduced"},
    {"heads", DOC_INTEGERS, .optional = true,
     .help = "Index of each chosen head or hop, also where they are reduced"},
    {"pairs", DOC_ARRAY, .optional = true, .help = "With select: layer and head of each"},
    {"kv_group", DOC_INTEGER, .optional = true,
     .help = "So many neighbouring heads share their keys and values"},
    {"dtype", DOC_STRING, .help = "What they are given in; computed in float32"},
    {"scale", DOC_NUMBER, .optional = true, .help = "uint8: what one step is worth"},
    {"row_sum", DOC_NUMBER, .nullable = true,
     .help = "What each row of data sums to; null where it need not be 1"},
    {"row_sum_tolerance", DOC_NUMBER, .nullable = true,
     .help = "Within this, rounding included"},
    {"rounding", DOC_OBJECT, .of = ROUNDING},
    {"redundancy", DOC_NUMBER, .optional = true,
     .help = "Of several hops of attention pooling, A: the squared Frobenius norm of "
             "A A' - I (Lin et al. 2017); 0 where each looks at one token of its own"},
    {"note", DOC_STRING, .optional = true, .help = "What to bear in mind"},
    {"data", DOC_ARRAY, .optional = true,
     .help = "JSON: the maps, nested as axes and shape say"},
    {"sparse", DOC_OBJECT, .optional = true, .of = SPARSE,
     .help = "With top_k or min_weight, in place of data; lists in JSON, tensors in "
             "binary"},
    {0}};

static const struct doc_shape WINDOW[] = {
    {"window", DOC_INTEGER, .help = "Keys less than this far from the query are seen"},
    {"layers", DOC_INTEGERS, .help = "In these layers of the model"},
    {0}};

static const struct doc_shape METRICS[] = {
    {"fields", DOC_STRINGS, .help = "What the last axis of data holds, of weights"},
    {"axes", DOC_STRINGS, .help = "layer, head, field; or pair, field"},
    {"shape", DOC_INTEGERS, .help = "Length of each axis"},
    {"data", DOC_ARRAY,
     .help = "Means over the queries; null where no query says anything (same: no token "
             "stands twice; next: causal)"},
    {"labels", DOC_ARRAY,
     .help = "Lists of first-token, previous-token, current-token, next-token, special, "
             "same-token (half of the weight), broad (entropy_norm of 0.8), else mixed: "
             "what the head does on this text"},
    {0}};

static const struct doc_shape GENERATED[] = {
    {"text", DOC_STRING, .help = "What was generated"},
    {"tokens", DOC_INTEGER, .help = "How many"},
    {"finish", DOC_STRING, .help = "end: the model's end of text; length: max_tokens"},
    {"rows_are", DOC_STRING,
     .help = "tokens that were fed: the last generated one has no row"},
    {0}};

static const struct doc_shape USAGE[] = {
    {"tokens", DOC_INTEGER, .help = "Tokens read, special ones included"},
    {"truncated", DOC_BOOLEAN, .help = "Some were left out: the model reads no more"},
    {"values", DOC_INTEGER, .help = "Numbers in data, sparse and metrics"},
    {0}};

const struct doc_shape attention_reply_shape[] = {
    {"object", DOC_STRING, .help = "attention"},
    {"model", DOC_STRING, .help = "Which model answered"},
    {"architecture", DOC_STRING, .help = "As its config.json says"},
    {"mask", DOC_STRING, .help = "causal, full or pooling"},
    {"sliding_window", DOC_OBJECT, .optional = true, .of = WINDOW,
     .help = "Where some layers see near keys only: others have exactly 0"},
    {"tokens", DOC_LIST, .of = token_list_shape, .help = "All tokens of the text"},
    {"words", DOC_LIST, .optional = true, .of = WORD,
     .help = "With reduce tokens: the words that keys are"},
    {"query_tokens", DOC_INTEGERS,
     .help = "Index in tokens of each row (the first token of a word or thumbnail cell); "
             "empty for attention pooling"},
    {"key_tokens", DOC_INTEGERS, .help = "Index in tokens of each key, likewise"},
    {"attention", DOC_OBJECT, .of = MAPS},
    {"metrics", DOC_OBJECT, .optional = true, .of = METRICS},
    {"prediction", DOC_OBJECT, .optional = true, .of = prediction_shape,
     .help = "What a classifier says of this text, or a language model of what follows"},
    {"generated", DOC_OBJECT, .optional = true, .of = GENERATED},
    {"usage", DOC_OBJECT, .of = USAGE},
    {"outputs", DOC_LIST, .optional = true, .of = map_output_shape,
     .help = "Binary: the tensors behind this object, in order"},
    {0}};

/* ---- tokens ---------------------------------------------------------------------- */

/* Of models that have one in some layer. */
static void write_window(struct json_writer *w, const struct model *m)
{
    size_t n = m->info->mask == SEQ_MASK_POOLING ? 0 : m->info->n_map_layers, first = 0;
    while (first < n && seq_map_window(m->seq, first) == 0)
        first++;
    if (first == n)
        return;
    json_write_key(w, "sliding_window");
    json_write_object(w);
    json_write_key_uint(w, "window", seq_map_window(m->seq, first));
    json_write_key(w, "layers");
    json_write_array(w);
    for (size_t i = first; i < n; i++)
        if (seq_map_window(m->seq, i))
            json_write_uint(w, i);
    json_write_end(w);
    json_write_end(w);
}

static void write_words(struct json_writer *w, const struct map_plan *p)
{
    json_write_key(w, "words");
    json_write_array(w);
    for (size_t k = 0; k < p->n_keys; k++) {
        size_t word = p->key_at[k];
        json_write_object(w);
        json_write_key(w, "tokens");
        json_write_array(w);
        for (size_t t = p->first[word]; t < p->first[word + 1]; t++)
            json_write_uint(w, t);
        json_write_end(w);
        json_write_end(w);
    }
    json_write_end(w);
}

/* The first token of each of n units, or of each cell of a thumbnail. */
static void write_units(struct json_writer *w, const char *key, const struct map_plan *p,
                        const size_t *units, size_t n)
{
    size_t cells = p->pool ? p->pool : n;
    json_write_key(w, key);
    json_write_array(w);
    for (size_t i = 0; i < cells; i++)
        json_write_uint(w, p->first[units[p->pool ? maps_pool_start(n, cells, i) : i]]);
    json_write_end(w);
}

/* ---- maps ------------------------------------------------------------------------ */

static void write_pairs(struct json_writer *w, const struct attention_answer *a)
{
    const struct json_ints *pairs = &a->ask->select;
    json_write_key(w, "pairs");
    json_write_array(w);
    for (size_t i = 0; i < pairs->n; i += 2) {
        int64_t n[2] = {(int64_t)a->model->info->n_map_layers,
                        (int64_t)a->model->info->n_map_heads};
        json_write_array(w);
        for (size_t j = 0; j < 2; j++)
            json_write_int(w, pairs->at[i + j] + (pairs->at[i + j] < 0 ? n[j] : 0));
        json_write_end(w);
    }
    json_write_end(w);
}

static void write_which(struct json_writer *w, const struct attention_answer *a)
{
    if (a->ask->select.at) {
        write_pairs(w, a);
    } else {
        selection_write(w, "layers", &a->plan->layers);
        selection_write(w, "heads", &a->plan->heads);
    }
    if (a->model->info->map_group > 1)
        json_write_key_uint(w, "kv_group", a->model->info->map_group);
}

static void write_row_sum(struct json_writer *w, const struct attention_answer *a)
{
    double tolerance, rounding;
    bool one = map_plan_row_sum(a->plan, &tolerance, &rounding) && !a->capture->massless;
    json_write_key(w, "row_sum");
    if (one)
        json_write_uint(w, 1);
    else
        json_write_null(w);
    json_write_key(w, "row_sum_tolerance");
    if (one)
        json_write_float(w, (float)(tolerance + rounding));
    else
        json_write_null(w);
    json_write_key(w, "rounding");
    json_write_object(w);
    if (a->ask->encoding == MAP_JSON && a->ask->dtype != MAP_UINT8)
        json_write_key_uint(w, "decimals", (uint64_t)a->ask->decimals);
    json_write_key(w, "row_sum_error_max");
    json_write_float(w, (float)rounding);
    json_write_end(w);
}

static void write_sparse(struct json_writer *w, const struct attention_answer *a)
{
    json_write_key(w, "sparse");
    json_write_object(w);
    json_write_key_string(w, "layout", "csr");
    json_write_key_uint(w, "k", a->plan->top_k);
    if (a->plan->least > 0) {
        json_write_key(w, "min_weight");
        json_write_float(w, a->plan->least);
    }
    if (a->ask->encoding == MAP_JSON)
        map_sparse_write(&a->capture->top, w, (enum map_dtype)a->ask->dtype,
                         (unsigned)a->ask->decimals);
    json_write_end(w);
}

static void write_maps(struct json_writer *w, const struct attention_answer *a)
{
    const struct attention_request *ask = a->ask;
    json_write_key(w, "attention");
    json_write_object(w);
    json_write_key_string(w, "kind", ATTENTION_KINDS[ask->kind]);
    map_axes_write(w, a->plan->axes, a->plan->n_axes);
    write_which(w, a);
    json_write_key_string(w, "dtype", MAP_DTYPES[ask->dtype]);
    if (ask->dtype == MAP_UINT8) {
        json_write_key(w, "scale");
        json_write_double(w, MAP_UINT8_SCALE);
    }
    write_row_sum(w, a);
    if (a->plan->pooling && a->plan->n_pieces > 1 && ask->kind == SEQ_MAP_WEIGHTS) {
        json_write_key(w, "redundancy");
        json_write_float(w, (float)a->capture->redundancy);
    }
    if (ask->layers_by == LAYERS_ROLLOUT && a->model->info->mask == SEQ_MASK_CAUSAL)
        json_write_key_string(w, "note",
                              "rollout on a causal model is biased to early tokens");
    if (a->plan->sparse) {
        write_sparse(w, a);
    } else if (ask->encoding == MAP_JSON) {
        json_write_key(w, "data");
        capture_write_json(a->capture, w);
    }
    json_write_end(w);
}

/* ---- metrics --------------------------------------------------------------------- */

enum { METRIC_DECIMALS = 6 };

static void write_numbers(struct json_writer *w, const double *metrics)
{
    json_write_array(w);
    for (size_t i = 0; i < MAPS_METRICS; i++)
        if (isnan(metrics[i]))
            json_write_null(w);
        else
            json_write_fixed(w, metrics[i], METRIC_DECIMALS);
    json_write_end(w);
}

static void write_labels(struct json_writer *w, const double *metrics)
{
    unsigned labels = maps_labels(metrics);
    json_write_array(w);
    for (size_t i = 0; i < MAPS_LABELS; i++)
        if (labels & 1u << i)
            json_write_string(w, MAPS_LABEL_NAMES[i]);
    json_write_end(w);
}

/* Of every chosen head, nested by layer and head or by pair. */
static void write_heads(struct json_writer *w, const struct attention_answer *a,
                        void (*write)(struct json_writer *w, const double *metrics))
{
    bool pairs = a->ask->select.at;
    size_t n = pairs ? 1 : a->plan->layers.n;
    size_t each = pairs ? a->plan->n_pieces : a->plan->heads.n;
    if (!pairs)
        json_write_array(w);
    for (size_t i = 0; i < n; i++) {
        json_write_array(w);
        for (size_t j = 0; j < each; j++)
            write(w, a->capture->metrics + (i * each + j) * MAPS_METRICS);
        json_write_end(w);
    }
    if (!pairs)
        json_write_end(w);
}

static void write_metrics(struct json_writer *w, const struct attention_answer *a)
{
    bool pairs = a->ask->select.at;
    json_write_key(w, "metrics");
    json_write_object(w);
    json_write_key(w, "fields");
    json_write_array(w);
    for (size_t i = 0; i < MAPS_METRICS; i++)
        json_write_string(w, MAPS_METRIC_NAMES[i]);
    json_write_end(w);
    json_write_key(w, "axes");
    json_write_array(w);
    json_write_string(w, pairs ? "pair" : "layer");
    if (!pairs)
        json_write_string(w, "head");
    json_write_string(w, "field");
    json_write_end(w);
    json_write_key(w, "shape");
    json_write_array(w);
    json_write_uint(w, pairs ? a->plan->n_pieces : a->plan->layers.n);
    if (!pairs)
        json_write_uint(w, a->plan->heads.n);
    json_write_uint(w, MAPS_METRICS);
    json_write_end(w);
    json_write_key(w, "data");
    write_heads(w, a, write_numbers);
    json_write_key(w, "labels");
    write_heads(w, a, write_labels);
    json_write_end(w);
}

/* ---- the text's own -------------------------------------------------------------- */

static void write_generated(struct json_writer *w, const struct attention_answer *a)
{
    json_write_key(w, "generated");
    json_write_object(w);
    json_write_key(w, "text");
    json_write_text(w, a->generated.at, a->generated.n);
    json_write_key_uint(w, "tokens", a->tokens->n - a->n_prompt);
    json_write_key_string(w, "finish", a->finish);
    json_write_key_string(w, "rows_are", "tokens that were fed");
    json_write_end(w);
}

static void write_usage(struct json_writer *w, const struct attention_answer *a)
{
    json_write_key(w, "usage");
    json_write_object(w);
    json_write_key_uint(w, "tokens", a->n_fed);
    json_write_key_bool(w, "truncated", a->tokens->n_dropped > 0);
    json_write_key_uint(w, "values", capture_values(a->capture));
    json_write_end(w);
}

/* ---- tensors --------------------------------------------------------------------- */

static void write_outputs(struct json_writer *w, const struct attention_answer *a)
{
    const struct map_plan *p = a->plan;
    enum map_dtype dtype = (enum map_dtype)a->ask->dtype;
    json_write_key(w, "outputs");
    json_write_array(w);
    if (p->sparse)
        map_sparse_list(&a->capture->top, w, dtype, p->axes, p->n_axes);
    else
        map_output_write(w, "attention", map_dtype_tensor(dtype), p->axes, p->n_axes,
                         p->n_maps * a->capture->map_bytes);
    json_write_end(w);
}

/* ---- the whole ------------------------------------------------------------------- */

static void write_all(struct json_writer *w, const struct attention_answer *a)
{
    const struct map_plan *p = a->plan;
    struct token_source source = input_source(&a->ask->input, a->model, a->tokens);
    source.n_text = a->n_prompt;
    source.tells_generated = a->finish != NULL;
    json_write_object(w);
    json_write_key_string(w, "object", "attention");
    json_write_key_string(w, "model", a->model->name);
    json_write_key_string(w, "architecture", a->model->info->architecture);
    json_write_key_string(w, "mask", MASKS[a->model->info->mask]);
    write_window(w, a->model);
    json_write_key(w, "tokens");
    token_list_write(w, &source);
    if (p->word)
        write_words(w, p);
    write_units(w, "query_tokens", p, p->row_at, p->pooling ? 0 : p->n_rows);
    write_units(w, "key_tokens", p, p->key_at, p->n_keys);
    write_maps(w, a);
    if (a->ask->metrics)
        write_metrics(w, a);
    if (a->result) {
        json_write_key(w, "prediction");
        prediction_write(w, a->model, a->result);
    }
    if (a->finish)
        write_generated(w, a);
    write_usage(w, a);
    if (a->ask->encoding == MAP_BINARY)
        write_outputs(w, a);
    json_write_end(w);
    buf_put(&w->buf, "\n", 1);
}

static void make_npy(const struct attention_answer *a, struct reply *to)
{
    const struct map_plan *p = a->plan;
    size_t shape[MAP_AXES];
    for (size_t i = 0; i < p->n_axes; i++)
        shape[i] = p->axes[i].n;
    map_frame_npy(to, (enum map_dtype)a->ask->dtype, shape, p->n_axes,
                  capture_take_bytes(a->capture), p->n_maps * a->capture->map_bytes);
}

static void make_binary(const struct attention_answer *a, struct json_writer *take_w,
                        struct reply *to)
{
    struct capture *c = a->capture;
    size_t n = a->plan->n_maps * c->map_bytes;
    unsigned char *bytes;
    if (a->plan->sparse)
        bytes = map_sparse_join(&c->top, (enum map_dtype)a->ask->dtype, &n);
    else
        bytes = capture_take_bytes(c);
    if (bytes)
        map_frame_binary(to, take_w, bytes, n);
    to->body.failed |= !bytes;
}

enum err_code attention_reply_make(const struct attention_answer *a, struct reply *to,
                                   struct err *err)
{
    struct json_writer w = {0};
    if (a->ask->encoding != MAP_NPY)
        write_all(&w, a);
    if (a->ask->encoding == MAP_NPY)
        make_npy(a, to);
    else if (a->ask->encoding == MAP_BINARY && !w.buf.failed)
        make_binary(a, &w, to);
    else
        reply_take_json(to, &w);
    json_write_done(&w);
    return to->body.failed ? err_set(err, ERR_NOMEM, "out of memory for the reply")
                           : ERR_OK;
}
