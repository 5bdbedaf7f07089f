#include "server/api/sentiment.h"

#include <math.h>

#include "server/api/examples.h"
#include "server/api/prediction.h"
#include "server/api/texts.h"

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
    .text_or_texts = true,
    .reply = REPLY,
    .example = "{\"texts\":[\"I loved it\",\"awful\"]}",
    .answer = examples_sentiment,
    .more = "A text longer than the model's context is cut at its end; of a pair the "
            "longer text loses tokens first.",
};

static void write_result(const struct text_ref *ref, const struct seq_info *info,
                         const float *scores /* [L] */)
{
    for (size_t l = 0; l < info->n_labels; l++)
        if (!isfinite(scores[l])) {
            texts_fail(ref, "a score is not finite");
            return;
        }
    prediction_write_scores(texts_open(ref), info, scores);
    texts_close(ref);
}

static enum err_code compute(const struct seq_model *m, const struct text_ref *refs,
                             size_t n, struct seq_worker *w, struct err *err)
{
    const struct seq_info *info = seq_model_info(m);
    const struct seq_tokens **texts = mem_alloc(n, sizeof(void *));
    float *scores = mem_alloc(n, info->n_labels * sizeof *scores); /* [n,L] */
    enum err_code code = ERR_NOMEM;
    if (!texts || !scores) {
        err_set(err, code, "out of memory for %zu texts", n);
        goto out;
    }
    for (size_t i = 0; i < n; i++)
        texts[i] = &refs[i].job->tokens[refs[i].i];
    code = seq_classify(m, w, n, texts, scores, err);
    for (size_t i = 0; i < n && code == ERR_OK; i++)
        write_result(&refs[i], info, scores + i * info->n_labels);
out:
    mem_free(scores);
    mem_free(texts);
    return code;
}

static const struct text_task TASK = {
    .object = "sentiment",
    .task = SEQ_CLASSIFY,
    .compute = compute,
    .fields = FIELDS,
    .n_fields = sizeof FIELDS / sizeof *FIELDS,
};

static const struct job_kind KIND = {
    .name = "sentiment", .run = texts_run, .free = texts_free};

enum err_code sentiment_handle(struct server *s, const struct request *q,
                               struct answer *out, struct err *err)
{
    struct text_job *j = mem_zero(1, sizeof *j);
    if (!j)
        return err_set(err, ERR_NOMEM, "out of memory for the request");
    j->job.kind = &KIND;
    enum err_code code = texts_read(s, q, &TASK, j, err);
    if (code != ERR_OK) {
        mem_free(j);
        return code;
    }
    out->job = &j->job;
    return ERR_OK;
}
