#include "server/api/sentiment.h"

#include "server/api/classification.h"
#include "server/api/examples.h"
#include "server/api/prediction.h"

static const struct json_field FIELDS[] = {TEXTS_FIELDS, TEXTS_PAIR_FIELDS};

static const struct doc_shape RESULT[] = {
    {"label", DOC_STRING, .help = "The label with the highest score"},
    {"score", DOC_NUMBER, .help = "Its score"},
    {"scores", DOC_SCORES,
     .help = "Every label's score. GET /v1/models tells what they are: softmax: 0 to 1, "
             "their sum is 1; sigmoid: 0 to 1, each of its own; raw: any number, as a "
             "regression gives it"},
    {"usage", DOC_OBJECT, .of = TEXTS_USAGE, .help = "Of this text"},
    {0}};

static const struct doc_shape REPLY[] = {
    {"object", DOC_STRING, .help = "sentiment"},
    {"model", DOC_STRING, .help = "Which model answered"},
    {"results", DOC_LIST, .of = RESULT, .help = "One per text, in their order"},
    {"usage", DOC_OBJECT, .of = TEXTS_USAGE, .help = "Of all texts together"},
    {0}};

const struct route_doc sentiment_doc = {
    .name = "sentiment",
    .fields = FIELDS,
    .n_fields = sizeof FIELDS / sizeof *FIELDS,
    .one_of = TEXTS_ONE_OF,
    .reply = REPLY,
    .example = "{\"texts\":[\"I loved it\",\"awful\"]}",
    .answer = examples_sentiment,
    .more = "A text longer than the model's context is cut at its end; of a pair the "
            "longer text loses tokens first.",
};

static void write_result(const struct text_ref *ref, const struct text_result *r)
{
    prediction_write_scores(texts_open(ref), ref->job->job.model->info, r->values);
    texts_close(ref);
}

static const struct text_form FORM = {
    .fields = FIELDS,
    .n_fields = sizeof FIELDS / sizeof *FIELDS,
    .object = "sentiment",
    .name = texts_name,
    .begin = texts_begin,
    .result = write_result,
    .end = texts_end,
};

enum err_code sentiment_handle(struct server *s, const struct request *q,
                               struct answer *out, struct err *err)
{
    struct text_request *r = mem_zero(1, sizeof *r);
    if (!r)
        return err_set(err, ERR_NOMEM, "out of memory for the request");
    r->t.job.kind = &classification_kind;
    enum err_code code = texts_read(q, &FORM, r, err);
    if (code == ERR_OK)
        code = texts_prepare(s, &classification_task, &FORM, &r->t, err);
    if (code != ERR_OK) {
        mem_free(r);
        return code;
    }
    out->job = &r->t.job;
    return ERR_OK;
}
