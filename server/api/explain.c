#include "server/api/explain.h"

#include <math.h>
#include <stdio.h>

#include "server/api/examples.h"
#include "server/api/importance_job.h"
#include "server/api/input.h"

enum { DECIMALS = 6 };

struct explain_job {
    struct importance_job im; /* first */
    struct json_texts instances;
};

static const struct json_field FIELDS[] = {
    {.name = "instances",
     .type = JSON_FIELD_INSTANCES,
     .offset = offsetof(struct explain_job, instances),
     .required = true,
     .min = 1,
     .help = "The texts; the reply has one explanation each, in this order"},
};

static const struct doc_shape EXPLANATION[] = {
    {"words", DOC_STRINGS, .help = "Of the text, as the model's tokenizer parts them"},
    {"importances", DOC_NUMBERS,
     .help = "By how much the log probability of the model's own answer (of a regression "
             "the score) drops without the word; null where nothing would be left"},
    {"method", DOC_STRING, .help = "occlusion: each word is left out once"},
    {"delta", DOC_NUMBER, .nullable = true,
     .help = "Always null: occlusion approximates nothing, so there is no error to tell"},
    {0}};

static const struct doc_shape REPLY[] = {
    {"explanations", DOC_LIST, .of = EXPLANATION, .help = "One per instance, in order"},
    {0}};

const struct route_doc explain_doc = {
    .name = "explain",
    .fields = FIELDS,
    .n_fields = sizeof FIELDS / sizeof *FIELDS,
    .reply = REPLY,
    .example = "{\"instances\":[\"a café, not great\",{\"text\":\"I loved it\"}]}",
    .answer = examples_explain,
    .example_model = "sentiment-lstm",
    .more = "The explain verb of KServe's version 1 protocol: POST /v1/importance for "
            "several texts, with its defaults and its limits.",
};

static struct explain_job *explain_job(struct importance_job *j)
{
    return (struct explain_job *)j; /* its first member */
}

static void name(const struct importance_job *j, size_t i, char param[ERR_PARAM_BYTES])
{
    (void)j;
    snprintf(param, ERR_PARAM_BYTES, "instances[%zu]", i);
}

static struct input input_of(struct importance_job *j, size_t i)
{
    return (struct input){.text = explain_job(j)->instances.at[i], .truncate = true};
}

static enum err_code tokenize(struct importance_job *j, size_t i)
{
    const struct input in = input_of(j, i);
    enum err_code code = input_tokens(&in, j->server, importance_job_reads(j->job.model),
                                      &j->job, &j->at[i].tokens);
    if (code != ERR_OK && j->job.err.param[0])
        name(j, i, j->job.err.param);
    return code;
}

static void open_reply(struct importance_job *j)
{
    json_write_object(&j->out);
    json_write_key(&j->out, "explanations");
    json_write_array(&j->out);
}

static void close_reply(struct importance_job *j)
{
    json_write_end(&j->out);
    json_write_end(&j->out);
}

static void write_one(struct importance_job *j, size_t i, const struct importance_view *v)
{
    const struct input in = input_of(j, i);
    const struct token_source source = input_source(&in, j->job.model, &j->at[i].tokens);
    struct json_writer *w = &j->out;
    json_write_object(w);
    json_write_key(w, "words");
    json_write_array(w);
    for (size_t p = 0; p < v->n; p++)
        token_list_word(w, &source, v->parts[p].first, v->parts[p].last);
    json_write_end(w);
    json_write_key(w, "importances");
    json_write_array(w);
    for (size_t p = 0; p < v->n; p++)
        json_write_fixed(w, v->parts[p].drop, DECIMALS);
    json_write_end(w);
    json_write_key_string(w, "method", "occlusion");
    json_write_key(w, "delta");
    json_write_null(w);
    json_write_end(w);
}

static const struct importance_form FORM = {.tokenize = tokenize,
                                            .open = open_reply,
                                            .write = write_one,
                                            .close = close_reply,
                                            .name = name};

static void free_job(struct job *job)
{
    struct explain_job *e = (struct explain_job *)job;
    json_read_done(FIELDS, sizeof FIELDS / sizeof *FIELDS, e);
    importance_job_done(&e->im);
    mem_free(e);
}

/* One at a time: its texts fill batches. */
static const struct job_kind KIND = {
    .name = "explain", .batch_most = 1, .run = importance_job_run, .free = free_job};

static enum err_code read_request(struct server *s, const struct request *q,
                                  struct explain_job *e, struct err *err)
{
    size_t most = (size_t)s->options->max_texts;
    enum err_code code =
        json_read(q->body, q->body_n, FIELDS, sizeof FIELDS / sizeof *FIELDS, e, err);
    if (code == ERR_OK && e->instances.n > most)
        code = err_param(err, ERR_LIMIT, "instances",
                         "%zu texts in one request, at most %zu go (--max-texts)",
                         e->instances.n, most);
    if (code == ERR_OK)
        code = models_choose(s->models, q->args[0].at, q->args[0].n, SEQ_IMPORTANCE,
                             &e->im.job.model, err);
    if (code == ERR_OK)
        code = importance_job_init(&e->im, s, &FORM, e->instances.n, err);
    for (size_t i = 0; i < e->instances.n && code == ERR_OK; i++) {
        const struct input in = input_of(&e->im, i);
        e->im.job.cost += input_cost(&in);
    }
    return code;
}

enum err_code explain_handle(struct server *s, const struct request *q,
                             struct answer *out, struct err *err)
{
    struct explain_job *e = mem_zero(1, sizeof *e);
    if (!e)
        return err_set(err, ERR_NOMEM, "out of memory for the request");
    e->im.job.kind = &KIND;
    enum err_code code = read_request(s, q, e, err);
    if (code != ERR_OK) {
        free_job(&e->im.job);
        return code;
    }
    out->job = &e->im.job;
    return ERR_OK;
}
