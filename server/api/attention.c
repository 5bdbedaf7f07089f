#include "server/api/attention.h"

#include <math.h>
#include <stdio.h>

#include "server/api/capture.h"
#include "server/api/examples.h"
#include "server/api/selection.h"
#include "server/api/texts.h"
#include "server/api/token_json.h"
#include "server/clock.h"
#include "server/errors.h"

/* Eight digits: a row of up to 1000 weights still sums to 1 within 1e-5. */
enum { DECIMALS = 8 };

struct attention_job {
    struct job job; /* first */
    const struct server *server;
    struct json_text text, text_pair, model; /* fields of the request */
    struct json_ints wanted_layers, wanted_heads, wanted_queries;
    int64_t decimals;
    bool truncate;
    int offset_unit; /* index in UNITS: enum utf8_unit */

    struct selection layers, heads, queries; /* queries: once the tokens are known */
    struct seq_tokens tokens;
};

static const char *const UNITS[] = {"byte", "codepoint", "utf16", NULL};

static const char *const MASKS[] = {[SEQ_MASK_NONE] = "none",
                                    [SEQ_MASK_CAUSAL] = "causal",
                                    [SEQ_MASK_FULL] = "full",
                                    [SEQ_MASK_POOLING] = "pooling"};

#define AT(member) offsetof(struct attention_job, member)
static const struct json_field FIELDS[] = {
    {.name = "text",
     .type = JSON_FIELD_TEXT,
     .offset = AT(text),
     .required = true,
     .help = "The text"},
    {.name = "text_pair",
     .type = JSON_FIELD_TEXT,
     .offset = AT(text_pair),
     .help = "A second text, for models that read two as one (pairs in /v1/models)"},
    {.name = "model",
     .type = JSON_FIELD_TEXT,
     .offset = AT(model),
     .help = "Name of a loaded model; left out: the first encoder, else the first "
             "decoder, else the first model with attention pooling"},
    {.name = "layers",
     .type = JSON_FIELD_INTS,
     .offset = AT(wanted_layers),
     .min = 1,
     .help = "Indexes from 0, negative ones from the end; default all. The reply keeps "
             "the order"},
    {.name = "heads",
     .type = JSON_FIELD_INTS,
     .offset = AT(wanted_heads),
     .min = 1,
     .help = "Heads, or hops of attention pooling, as layers; default all"},
    {.name = "queries",
     .type = JSON_FIELD_INTS,
     .offset = AT(wanted_queries),
     .min = 1,
     .choices = JSON_ALL_OR_LAST,
     .help = "Rows of the maps, as layers; default all. Attention pooling has one"},
    {.name = "decimals",
     .type = JSON_FIELD_INT,
     .offset = AT(decimals),
     .min = 1,
     .max = JSON_WRITE_DECIMALS,
     .help = "Digits behind the point, default 8; fewer make the reply smaller and rows "
             "sum to 1 less exactly, see rounding"},
    {.name = "offset_unit",
     .type = JSON_FIELD_CHOICE,
     .offset = AT(offset_unit),
     .choices = UNITS,
     .help = "What start and end count, default byte; utf16 for JavaScript"},
    {.name = "truncate",
     .type = JSON_FIELD_BOOL,
     .offset = AT(truncate),
     .help = "false refuses a text longer than the model reads (413), true, the default, "
             "cuts it"},
};
#undef AT
enum { N_FIELDS = sizeof FIELDS / sizeof *FIELDS };

static const struct doc_shape TOKEN[] = {
    {"id", DOC_INTEGER, .help = "Its number in the vocabulary"},
    {"piece", DOC_STRING, .nullable = true, .help = "As tokenizer.json spells it"},
    {"text", DOC_STRING, .nullable = true,
     .help =
         "The part of the text it stands for; null for special tokens, and where a "
         "token is a part of a character. Of tokens that stand for one long part only "
         "the first has it all"},
    {"bytes", DOC_STRING, .optional = true,
     .help = "Of a part of a character: its bytes in hexadecimal"},
    {"start", DOC_INTEGER, .help = "Where that part begins in the text, in offset_unit"},
    {"end", DOC_INTEGER, .help = "And where it ends"},
    {"part", DOC_INTEGER, .optional = true, .nullable = true,
     .help = "Of a pair: in which text, 0 or 1; null for special tokens"},
    {"special", DOC_BOOLEAN, .help = "Put there by the tokenizer, not by the text"},
    {"word", DOC_INTEGER, .nullable = true, .help = "Which word of the text it is in"},
    {0}};

static const struct doc_shape ROUNDING[] = {
    {"decimals", DOC_INTEGER, .help = "Digits behind the point"},
    {"row_sum_error_max", DOC_NUMBER, .help = "What rounding can change in a row's sum"},
    {0}};

static const struct doc_shape MAPS[] = {
    {"kind", DOC_STRING, .help = "weights: behind the softmax"},
    {"axes", DOC_STRINGS, .help = "layer, head, query, key; or hop, key"},
    {"shape", DOC_INTEGERS, .help = "Length of each axis"},
    {"layers", DOC_INTEGERS, .help = "Index of each layer in data"},
    {"heads", DOC_INTEGERS, .help = "Index of each head or hop in data"},
    {"dtype", DOC_STRING, .help = "What they are computed in: float32"},
    {"row_sum", DOC_NUMBER, .help = "What each row of data sums to"},
    {"row_sum_tolerance", DOC_NUMBER, .help = "Within this, rounding included"},
    {"rounding", DOC_OBJECT, .of = ROUNDING},
    {"data", DOC_ARRAY, .help = "The weights, nested as axes and shape say"},
    {0}};

static const struct doc_shape PREDICTION[] = {
    {"label", DOC_STRING, .help = "The label with the highest score"},
    {"score", DOC_NUMBER, .help = "Its score, as /v1/sentiment gives it"},
    {0}};

static const struct doc_shape USAGE[] = {
    {"tokens", DOC_INTEGER, .help = "Tokens read, special ones included"},
    {"truncated", DOC_BOOLEAN, .help = "Some were left out: the model reads no more"},
    {"values", DOC_INTEGER, .help = "Numbers in data"},
    {0}};

static const struct doc_shape REPLY[] = {
    {"object", DOC_STRING, .help = "attention"},
    {"model", DOC_STRING, .help = "Which model answered"},
    {"architecture", DOC_STRING, .help = "As its config.json says"},
    {"mask", DOC_STRING, .help = "causal, full or pooling"},
    {"tokens", DOC_LIST, .of = TOKEN, .help = "All tokens of the text"},
    {"query_tokens", DOC_INTEGERS,
     .help = "Index in tokens of each query; empty for attention pooling"},
    {"key_tokens", DOC_INTEGERS, .help = "Index in tokens of each key"},
    {"attention", DOC_OBJECT, .of = MAPS},
    {"prediction", DOC_OBJECT, .optional = true, .of = PREDICTION,
     .help = "What a classifier says of this text"},
    {"usage", DOC_OBJECT, .of = USAGE},
    {0}};

const struct route_doc attention_doc = {
    .name = "attention",
    .fields = FIELDS,
    .n_fields = N_FIELDS,
    .reply = REPLY,
    .example = "{\"text\":\"a café, not great\",\"layers\":[-1],\"heads\":[0],"
               "\"decimals\":4}",
    .answer = examples_attention,
    .more = "A text longer than the model's context is cut: a language model keeps the "
            "end, others the beginning; of a pair the longer text loses tokens first. "
            "Maps larger than the server's limit "
            "are refused (413) before anything is computed.",
};

/* ---- the size ---------------------------------------------------------------------- */

static bool is_pooling(const struct attention_job *a)
{
    return a->job.model->info->mask == SEQ_MASK_POOLING;
}

/* Numbers in the reply; SIZE_MAX stands for more than can be said. */
static size_t count_values(const struct attention_job *a)
{
    size_t n = a->layers.n;
    if (!mem_mul(n, a->heads.n, &n) || !mem_mul(n, a->queries.n, &n) ||
        !mem_mul(n, a->tokens.n, &n))
        return SIZE_MAX;
    return n;
}

/* True, and the reply says so, if the maps are larger than the limit. */
static bool refuse_size(struct attention_job *a)
{
    size_t needed = count_values(a);
    size_t limit = (size_t)a->server->options->attention_max_values;
    if (needed <= limit)
        return false;
    char message[160];
    snprintf(message, sizeof message,
             "the maps have %zu numbers, at most %zu go (--attention-max-values)", needed,
             limit);
    const struct problem_detail details[] = {
        {"needed_values", NULL, needed},
        {"limit", NULL, limit},
        {"hint", "ask for fewer layers, heads or queries (\"queries\":\"last\")", 0}};
    reply_problem_details(&a->job.reply, PROBLEM_LIMIT, "layers", message, details, 3);
    return true;
}

/* ---- the reply --------------------------------------------------------------------- */

static void write_indexes(struct json_writer *w, const char *key,
                          const struct selection *s)
{
    json_write_key(w, key);
    json_write_array(w);
    for (size_t i = 0; i < s->n; i++)
        json_write_uint(w, s->at[i]);
    json_write_end(w);
}

/* Which of the two texts the token is in. */
static const struct json_text *text_of(const struct attention_job *a,
                                       const struct seq_token *t)
{
    return t->part ? &a->text_pair : &a->text;
}

/* True if the token before stands for the same long part of the text, as the bytes of
 * unknown characters do: writing that again and again could make any reply too long. */
static bool shares_much(const struct seq_tokens *tokens, size_t i)
{
    enum { MUCH = 32 };
    const struct seq_token *t = &tokens->at[i], *before = i ? t - 1 : NULL;
    return before && !before->special && before->part == t->part &&
           before->start == t->start && before->end == t->end && t->end - t->start > MUCH;
}

/* What the token stands for in the text; by its own bytes where these are a part of a
 * character, or `alone` is set. */
static void write_token_text(struct json_writer *w, const struct attention_job *a,
                             const struct seq_token *t, bool alone)
{
    size_t n = 0;
    const char *own = seq_piece_bytes(a->job.model->seq, t->id, &n);
    if (t->special) {
        json_write_key(w, "text");
        json_write_null(w);
    } else if (own && (alone || utf8_valid(own, n) != n)) {
        token_json_text(w, own, n);
    } else {
        token_json_text(w, text_of(a, t)->at + t->start, t->end - t->start);
    }
}

static void write_offset(struct json_writer *w, const char *key,
                         const struct attention_job *a, const struct seq_token *t,
                         size_t byte, struct token_cursor *at /* [2] */)
{
    enum utf8_unit unit = (enum utf8_unit)a->offset_unit;
    const char *text = text_of(a, t)->at;
    json_write_key_uint(
        w, key, t->special ? 0 : token_json_offset(&at[t->part], text, byte, unit));
}

static void write_part(struct json_writer *w, const struct seq_token *t)
{
    json_write_key(w, "part");
    if (t->special)
        json_write_null(w);
    else
        json_write_uint(w, t->part);
}

static void write_tokens(struct json_writer *w, const struct attention_job *a)
{
    struct token_cursor starts[2] = {{0}}, ends[2] = {{0}};
    json_write_key(w, "tokens");
    json_write_array(w);
    for (size_t i = 0; i < a->tokens.n; i++) {
        const struct seq_token *t = &a->tokens.at[i];
        json_write_object(w);
        json_write_key_uint(w, "id", (uint64_t)t->id);
        json_write_key(w, "piece");
        token_json_piece(w, a->job.model->seq, t->id);
        write_token_text(w, a, t, shares_much(&a->tokens, i));
        write_offset(w, "start", a, t, t->start, starts);
        write_offset(w, "end", a, t, t->end, ends);
        if (a->text_pair.at)
            write_part(w, t);
        json_write_key_bool(w, "special", t->special);
        json_write_key(w, "word");
        if (t->word >= 0)
            json_write_int(w, t->word);
        else
            json_write_null(w);
        json_write_end(w);
    }
    json_write_end(w);
}

static void write_axes(struct json_writer *w, const struct attention_job *a)
{
    static const char *const names[] = {"layer", "head", "query", "key"};
    size_t shape[] = {a->layers.n, a->heads.n, a->queries.n, a->tokens.n};
    json_write_key(w, "axes");
    json_write_array(w);
    for (size_t i = 0; i < 4; i++)
        if (!is_pooling(a))
            json_write_string(w, names[i]);
    if (is_pooling(a)) {
        json_write_string(w, "hop");
        json_write_string(w, "key");
    }
    json_write_end(w);
    json_write_key(w, "shape");
    json_write_array(w);
    for (size_t i = 0; i < 4; i++)
        if (!is_pooling(a) || i == 1 || i == 3)
            json_write_uint(w, shape[i]);
    json_write_end(w);
}

/* A row's weights sum to 1 within this in float arithmetic, before rounding. */
static const double FLOAT_TOLERANCE = 4e-6;

static enum err_code write_maps(struct json_writer *w, const struct attention_job *a,
                                struct capture *c, struct err *err)
{
    double rounding = 0.5 * pow(10, -(double)a->decimals) * (double)a->tokens.n;
    json_write_key(w, "attention");
    json_write_object(w);
    json_write_key_string(w, "kind", "weights");
    write_axes(w, a);
    write_indexes(w, "layers", &a->layers);
    write_indexes(w, "heads", &a->heads);
    json_write_key_string(w, "dtype", "float32");
    json_write_key_uint(w, "row_sum", 1);
    json_write_key(w, "row_sum_tolerance");
    json_write_float(w, (float)(FLOAT_TOLERANCE + rounding));
    json_write_key(w, "rounding");
    json_write_object(w);
    json_write_key_uint(w, "decimals", (uint64_t)a->decimals);
    json_write_key(w, "row_sum_error_max");
    json_write_float(w, (float)rounding);
    json_write_end(w);
    json_write_key(w, "data");
    enum err_code code = capture_write(c, w, err);
    json_write_end(w);
    return code;
}

static void write_prediction(struct json_writer *w, const struct seq_info *info,
                             const float *scores /* [L] */)
{
    size_t best = 0;
    for (size_t l = 1; l < info->n_labels; l++)
        if (scores[l] > scores[best])
            best = l;
    json_write_key(w, "prediction");
    json_write_object(w);
    json_write_key_string(w, "label", info->labels[best]);
    json_write_key(w, "score");
    json_write_float(w, scores[best]);
    json_write_end(w);
}

/* scores [L], NULL unless the model classifies. */
static enum err_code write_reply(struct attention_job *a, struct capture *c,
                                 const float *scores, struct json_writer *w,
                                 struct err *err)
{
    const struct seq_info *info = a->job.model->info;
    const struct selection none = {0};
    json_write_object(w);
    json_write_key_string(w, "object", "attention");
    json_write_key_string(w, "model", a->job.model->name);
    json_write_key_string(w, "architecture", info->architecture);
    json_write_key_string(w, "mask", MASKS[info->mask]);
    write_tokens(w, a);
    write_indexes(w, "query_tokens", is_pooling(a) ? &none : &a->queries);
    json_write_key(w, "key_tokens");
    json_write_array(w);
    for (size_t i = 0; i < a->tokens.n; i++)
        json_write_uint(w, i);
    json_write_end(w);
    enum err_code code = write_maps(w, a, c, err);
    if (code != ERR_OK)
        return code;
    if (scores)
        write_prediction(w, info, scores);
    json_write_key(w, "usage");
    json_write_object(w);
    json_write_key_uint(w, "tokens", a->tokens.n);
    json_write_key_bool(w, "truncated", a->tokens.n_dropped > 0);
    json_write_key_uint(w, "values", count_values(a));
    json_write_end(w);
    json_write_end(w);
    buf_put(&w->buf, "\n", 1);
    return w->buf.failed ? err_set(err, ERR_NOMEM, "out of memory for the reply")
                         : ERR_OK;
}

/* ---- the work ---------------------------------------------------------------------- */

static enum err_code tokenize(struct attention_job *a)
{
    uint64_t start = clock_us();
    const struct seq_model *m = a->job.model->seq;
    const struct json_text *text = &a->text, *pair = &a->text_pair;
    size_t most = (size_t)a->server->options->max_tokens;
    enum seq_keep keep = a->truncate ? SEQ_KEEP_USUAL : SEQ_WHOLE;
    enum err_code code = pair->at
                             ? seq_tokenize_pair(m, text->at, text->n, pair->at, pair->n,
                                                 keep, &a->tokens, &a->job.err)
                             : seq_tokenize(m, SEQ_ATTENTION, text->at, text->n, keep,
                                            &a->tokens, &a->job.err);
    if (code == ERR_OK && a->tokens.n > most)
        code = err_param(&a->job.err, ERR_LIMIT, "text",
                         "more than %zu tokens in one request (--max-tokens)", most);
    if (code == ERR_OK)
        code = selection_init(&a->queries, "queries", &a->wanted_queries,
                              is_pooling(a) ? 1 : a->tokens.n, &a->job.err);
    a->job.n_texts = 1;
    a->job.n_tokens = a->tokens.n;
    a->job.tokenize_us = clock_us() - start;
    return code;
}

static enum err_code trace(struct attention_job *a, struct capture *c,
                           struct seq_worker *w)
{
    struct err *err = &a->job.err;
    const struct seq_info *info = a->job.model->info;
    const struct seq_sink sink = {.arg = c, .row = capture_row};
    struct json_writer out = {0};
    float *scores = NULL;
    if (info->tasks & SEQ_CLASSIFY) {
        scores = mem_alloc(info->n_labels, sizeof *scores);
        if (!scores)
            return err_set(err, ERR_NOMEM, "out of memory for the scores");
    }
    enum err_code code =
        seq_inspect(a->job.model->seq, w, &a->tokens, &sink, scores, err);
    if (code == ERR_OK)
        code = write_reply(a, c, scores, &out, err);
    if (code == ERR_OK)
        reply_take_json(&a->job.reply, &out);
    json_write_done(&out);
    mem_free(scores);
    return code;
}

static void run_one(struct attention_job *a, struct seq_worker *w)
{
    struct capture c;
    if (tokenize(a) != ERR_OK || refuse_size(a))
        return;
    uint64_t start = clock_us();
    if (capture_init(&c, &a->layers, &a->heads, &a->queries, a->tokens.n, &a->job.err) !=
        ERR_OK)
        return;
    c.pooling = is_pooling(a);
    c.decimals = (unsigned)a->decimals;
    if (trace(a, &c, w) != ERR_OK)
        reply_done(&a->job.reply);
    capture_done(&c);
    a->job.compute_us = clock_us() - start;
}

static void run(struct job **jobs, size_t n, struct seq_worker *w)
{
    for (size_t i = 0; i < n; i++)
        run_one((struct attention_job *)jobs[i], w);
}

static void free_job(struct job *job)
{
    struct attention_job *a = (struct attention_job *)job;
    seq_tokens_done(&a->tokens);
    selection_done(&a->layers);
    selection_done(&a->heads);
    selection_done(&a->queries);
    json_read_done(FIELDS, N_FIELDS, a);
    reply_done(&a->job.reply);
    mem_free(a);
}

/* One at a time: maps are not batched, so idle workers should take the next one. */
static const struct job_kind KIND = {
    .name = "attention", .batch_most = 1, .run = run, .free = free_job};

static enum err_code read_request(struct server *s, const struct request *q,
                                  struct attention_job *a, struct err *err)
{
    enum err_code code = json_read(q->body, q->body_n, FIELDS, N_FIELDS, a, err);
    if (code == ERR_OK)
        code = models_choose(s->models, a->model.at, a->model.n, SEQ_ATTENTION,
                             &a->job.model, err);
    if (code == ERR_OK && a->text_pair.at)
        code = texts_check_pairs(a->job.model, "text_pair", err);
    if (code != ERR_OK)
        return code;
    const struct seq_info *info = a->job.model->info;
    code =
        selection_init(&a->layers, "layers", &a->wanted_layers, info->n_map_layers, err);
    if (code == ERR_OK)
        code =
            selection_init(&a->heads, "heads", &a->wanted_heads, info->n_map_heads, err);
    return code;
}

enum err_code attention_handle(struct server *s, const struct request *q,
                               struct answer *out, struct err *err)
{
    struct attention_job *a = mem_zero(1, sizeof *a);
    if (!a)
        return err_set(err, ERR_NOMEM, "out of memory for the request");
    a->server = s;
    a->decimals = DECIMALS;
    a->truncate = true;
    a->job.kind = &KIND;
    enum err_code code = read_request(s, q, a, err);
    if (code != ERR_OK) {
        free_job(&a->job);
        return code;
    }
    a->job.cost = (a->text.n + a->text_pair.n) / 3 + 1;
    out->job = &a->job;
    return ERR_OK;
}
