#include "server/api/importance.h"

#include <math.h>
#include <stdio.h>

#include "server/api/examples.h"
#include "server/api/importance_job.h"
#include "server/api/input.h"
#include "server/api/prediction.h"

enum { DECIMALS = 6 };

static const char *const UNITS[] = {
    [IMPORTANCE_WORD] = "word", [IMPORTANCE_TOKEN] = "token", NULL};
static const char *const MODES[] = {
    [IMPORTANCE_DELETE] = "delete", [IMPORTANCE_REPLACE] = "replace", NULL};
static const char *const METHODS[] = {"occlusion", NULL};

struct importance_request {
    struct importance_job im; /* first */
    struct input input;
    struct json_text model, target;
    int unit, mode, method; /* indexes above */
    int64_t decimals;
};

#define AT(member) offsetof(struct importance_request, member)
static const struct json_field FIELDS[] = {
    INPUT_FIELDS(importance_request, input),
    {.name = "model",
     .type = JSON_FIELD_TEXT,
     .offset = AT(model),
     .help = "Name of a loaded model; left out: the first classifier, else the first "
             "language model"},
    {.name = "unit",
     .type = JSON_FIELD_CHOICE,
     .offset = AT(unit),
     .choices = UNITS,
     .help = "What is left out at once: word (default), or token. Special tokens stay, "
             "and so does the mask of a masked model"},
    {.name = "method",
     .type = JSON_FIELD_CHOICE,
     .offset = AT(method),
     .choices = METHODS,
     .help = "occlusion: the text is read again without each unit"},
    {.name = "mode",
     .type = JSON_FIELD_CHOICE,
     .offset = AT(mode),
     .choices = MODES,
     .help =
         "delete (default) leaves a unit's tokens out; replace puts the mask token in "
         "their place, or the unknown one where the model has no mask"},
    {.name = "target",
     .type = JSON_FIELD_TEXT,
     .offset = AT(target),
     .min = 1,
     .help = "What is to be explained: a label; or the text of one token, as it follows "
             "the text or stands in the mask's place. Default: the model's own answer"},
    {.name = "decimals",
     .type = JSON_FIELD_INT,
     .offset = AT(decimals),
     .min = 1,
     .max = JSON_WRITE_DECIMALS,
     .help = "Digits behind the point of importance and attention, default 6"},
};
#undef AT
enum { N_FIELDS = sizeof FIELDS / sizeof *FIELDS };

/* ---- the shape ------------------------------------------------------------------- */

static const struct doc_shape TARGET[] = {
    {"label", DOC_STRING, .optional = true, .help = "Of a classifier"},
    {"token", DOC_STRING, .optional = true,
     .help = "Of a language model: what the token adds, or puts in the mask's place"},
    {"id", DOC_INTEGER, .help = "Number of the label, or of the token"},
    {"probability", DOC_NUMBER, .nullable = true,
     .help = "That the whole text gives it; null of a regression"},
    {"logprob", DOC_NUMBER, .nullable = true, .help = "Its natural logarithm"},
    {"score", DOC_NUMBER, .optional = true, .help = "Of a regression"},
    {0}};

static const struct doc_shape UNIT[] = {
    {"text", DOC_STRING, .nullable = true,
     .help = "The part of the text; null where a token is a part of a character"},
    {"bytes", DOC_STRING, .optional = true,
     .help = "Of a part of a character: its bytes in hexadecimal"},
    {"start", DOC_INTEGER, .nullable = true,
     .help = "Where it begins in the text, in offset_unit; null for input_ids"},
    {"end", DOC_INTEGER, .nullable = true, .help = "And where it ends"},
    {"part", DOC_INTEGER, .optional = true, .nullable = true,
     .help = "Of a pair: in which text, 0 or 1"},
    {"tokens", DOC_INTEGERS, .help = "Its first and its last token, counted from 0"},
    {"importance", DOC_NUMBER, .nullable = true,
     .help = "By how much the measure of the target drops without it; below 0 it speaks "
             "against the target; null where nothing would be left to read"},
    {"probability", DOC_NUMBER, .nullable = true,
     .help = "Of the target without it; null likewise, and of a regression"},
    {"score", DOC_NUMBER, .optional = true, .nullable = true,
     .help = "Of a regression: without it"},
    {"attention", DOC_NUMBER, .nullable = true,
     .help = "Its share of the attention that all units get; null without maps"},
    {0}};

static const struct doc_shape ATTENTION[] = {
    {"of", DOC_STRING, .help = "Whose weights they are"},
    {"kendall_tau", DOC_NUMBER, .nullable = true,
     .help = "Kendall's tau-b of attention and the size of importance: 1 where they rank "
             "the units alike, -1 where the other way round; null where one of them is "
             "the same for all"},
    {0}};

static const struct doc_shape USAGE[] = {
    {"tokens", DOC_INTEGER, .help = "Of the text, special ones included"},
    {"truncated", DOC_BOOLEAN, .help = "Some were left out: the model reads no more"},
    {"computed_tokens", DOC_INTEGER, .help = "Read in all passes together"},
    {0}};

static const struct doc_shape REPLY[] = {
    {"object", DOC_STRING, .help = "importance"},
    {"model", DOC_STRING, .help = "Which model answered"},
    {"method", DOC_STRING, .help = "occlusion"},
    {"mode", DOC_STRING, .help = "delete or replace"},
    {"unit", DOC_STRING, .help = "word or token"},
    {"measure", DOC_STRING,
     .help = "What importance is a difference of: logprob; of a regression score"},
    {"target", DOC_OBJECT, .of = TARGET, .help = "What is explained"},
    {"units", DOC_LIST, .of = UNIT, .help = "In the order of the text"},
    {"attention", DOC_OBJECT, .nullable = true, .of = ATTENTION,
     .help = "What attention says beside it; null if the model has no maps"},
    {"prediction", DOC_OBJECT, .of = prediction_shape, .help = "Of the whole text"},
    {"usage", DOC_OBJECT, .of = USAGE},
    {0}};

const struct route_doc importance_doc = {
    .name = "importance",
    .fields = FIELDS,
    .n_fields = N_FIELDS,
    .one_of = INPUT_ONE_OF,
    .reply = REPLY,
    .example = "{\"text\":\"a café, not great\",\"decimals\":4}",
    .answer = examples_importance,
    .more = "What an answer owes to each word of the text, by occlusion: forward passes "
            "over the text without it. What attention gives the words stands beside it; "
            "the two often disagree. At most 256 units go (413), and all passes together "
            "may read 16 times --max-tokens tokens. A text longer than the model's "
            "context is cut as for /v1/sentiment and /v1/next-word.",
};

/* ---- the reply ------------------------------------------------------------------- */

static struct importance_request *request_of(const struct importance_job *j)
{
    return (struct importance_request *)j; /* its first member */
}

/* A regression's scores are no probabilities. */
static bool is_raw(const struct seq_info *info)
{
    return info->tasks & SEQ_CLASSIFY && info->scores == SEQ_SCORES_RAW;
}

/* The keys probability and, of a regression, score. */
static void write_score(struct json_writer *w, const struct seq_info *info, float score)
{
    json_write_key(w, "probability");
    json_write_float(w, is_raw(info) ? NAN : score);
    if (!is_raw(info))
        return;
    json_write_key(w, "score");
    json_write_float(w, score);
}

static void write_token(struct json_writer *w, const struct seq_model *m, int32_t id)
{
    size_t n = 0;
    const char *text = seq_predicted_bytes(m, id, &n);
    if (n == 0)
        text = seq_piece(m, id, &n);
    json_write_key(w, "token");
    json_write_text(w, text ? text : "", text ? n : 0);
}

static void write_target(struct json_writer *w, const struct model *m,
                         const struct importance_view *v)
{
    json_write_key(w, "target");
    json_write_object(w);
    if (m->info->tasks & SEQ_CLASSIFY)
        json_write_key_string(w, "label", m->info->labels[v->target]);
    else
        write_token(w, m->seq, v->target);
    json_write_key_uint(w, "id", (uint64_t)v->target);
    json_write_key(w, "logprob");
    json_write_float(w, (float)v->logprob);
    write_score(w, m->info, v->score);
    json_write_end(w);
}

static void write_unit(struct json_writer *w, const struct importance_request *r,
                       const struct importance_view *v, const struct importance_part *p)
{
    json_write_key(w, "tokens");
    json_write_array(w);
    json_write_uint(w, p->first);
    json_write_uint(w, p->last);
    json_write_end(w);
    json_write_key(w, "importance");
    json_write_fixed(w, p->drop, (unsigned)r->decimals);
    write_score(w, r->im.job.model->info, p->score);
    json_write_key(w, "attention");
    json_write_fixed(w, v->attention_of ? p->attention : NAN, (unsigned)r->decimals);
}

static void write_units(struct json_writer *w, const struct importance_request *r,
                        const struct importance_view *v)
{
    const struct token_source source =
        input_source(&r->input, r->im.job.model, &r->im.at[0].tokens);
    struct token_cursors cursors = {0};
    json_write_key(w, "units");
    json_write_array(w);
    for (size_t i = 0; i < v->n; i++) {
        const struct importance_part *p = &v->parts[i];
        json_write_object(w);
        token_list_span(w, &source, p->first, p->last, &cursors);
        write_unit(w, r, v, p);
        json_write_end(w);
    }
    json_write_end(w);
}

static void write_attention(struct json_writer *w, const struct importance_request *r,
                            const struct importance_view *v)
{
    json_write_key(w, "attention");
    if (!v->attention_of) {
        json_write_null(w);
        return;
    }
    json_write_object(w);
    json_write_key_string(w, "of", v->attention_of);
    json_write_key_fixed(w, "kendall_tau", v->tau, (unsigned)r->decimals);
    json_write_end(w);
}

static void write_usage(struct json_writer *w, const struct importance_request *r)
{
    const struct importance_text *text = &r->im.at[0];
    json_write_key(w, "usage");
    json_write_object(w);
    json_write_key_uint(w, "tokens", text->tokens.n);
    json_write_key_bool(w, "truncated", text->tokens.n_dropped > 0);
    json_write_key_uint(w, "computed_tokens", importance_tokens(text->im));
    json_write_end(w);
}

static void write_reply(struct importance_job *j, size_t i,
                        const struct importance_view *v)
{
    const struct importance_request *r = request_of(j);
    const struct model *m = j->job.model;
    struct json_writer *w = &j->out;
    (void)i; /* there is one text */
    json_write_object(w);
    json_write_key_string(w, "object", "importance");
    json_write_key_string(w, "model", m->name);
    json_write_key_string(w, "method", METHODS[r->method]);
    json_write_key_string(w, "mode", MODES[r->mode]);
    json_write_key_string(w, "unit", UNITS[r->unit]);
    json_write_key_string(w, "measure", is_raw(m->info) ? "score" : "logprob");
    write_target(w, m, v);
    write_units(w, r, v);
    write_attention(w, r, v);
    json_write_key(w, "prediction");
    prediction_write(w, m, v->answer);
    write_usage(w, r);
    json_write_end(w);
}

/* ---- the job --------------------------------------------------------------------- */

static enum err_code tokenize(struct importance_job *j, size_t i)
{
    return input_tokens(&request_of(j)->input, j->server,
                        importance_job_reads(j->job.model), &j->job, &j->at[i].tokens);
}

static void name(const struct importance_job *j, size_t i, char param[ERR_PARAM_BYTES])
{
    (void)i;
    snprintf(param, ERR_PARAM_BYTES, "%s",
             request_of(j)->input.text.at ? "text" : "input_ids");
}

static void nothing(struct importance_job *j)
{
    (void)j;
}

static const struct importance_form FORM = {.tokenize = tokenize,
                                            .open = nothing,
                                            .write = write_reply,
                                            .close = nothing,
                                            .name = name};

static void free_job(struct job *job)
{
    struct importance_request *r = (struct importance_request *)job;
    importance_job_done(&r->im);
    json_read_done(FIELDS, N_FIELDS, r);
    mem_free(r);
}

/* One at a time: its own texts fill batches. */
static const struct job_kind KIND = {
    .name = "importance", .batch_most = 1, .run = importance_job_run, .free = free_job};

static enum err_code read_request(struct server *s, const struct request *q,
                                  struct importance_request *r, struct err *err)
{
    struct importance_job *j = &r->im;
    r->decimals = DECIMALS;
    r->input.truncate = true;
    enum err_code code = json_read(q->body, q->body_n, FIELDS, N_FIELDS, r, err);
    if (code == ERR_OK)
        code = models_choose(s->models, r->model.at, r->model.n, SEQ_IMPORTANCE,
                             &j->job.model, err);
    if (code == ERR_OK)
        code = input_check(&r->input, j->job.model, err);
    if (code == ERR_OK)
        code = importance_job_init(j, s, &FORM, 1, err);
    j->ask = (struct importance_ask){.unit = (enum importance_unit)r->unit,
                                     .mode = (enum importance_mode)r->mode,
                                     .target = r->target.at,
                                     .target_n = r->target.n};
    j->job.cost = input_cost(&r->input);
    return code;
}

enum err_code importance_handle(struct server *s, const struct request *q,
                                struct answer *out, struct err *err)
{
    struct importance_request *r = mem_zero(1, sizeof *r);
    if (!r)
        return err_set(err, ERR_NOMEM, "out of memory for the request");
    r->im.job.kind = &KIND;
    enum err_code code = read_request(s, q, r, err);
    if (code != ERR_OK) {
        free_job(&r->im.job);
        return code;
    }
    out->job = &r->im.job;
    return ERR_OK;
}
