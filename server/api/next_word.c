#include "server/api/next_word.h"

#include <math.h>
#include <string.h>

#include "server/api/examples.h"
#include "server/api/texts.h"
#include "server/api/token_json.h"

enum { TOP_K = 5 };

struct next_word_job {
    struct text_job t; /* first */
    int64_t top_k;
    int unit; /* index in UNITS */
    struct json_text prefix;
};

enum { UNIT_WORD, UNIT_TOKEN };
static const char *const UNITS[] = {"word", "token", NULL};

static const struct json_field FIELDS[] = {
    TEXTS_FIELDS,
    {.name = "top_k",
     .type = JSON_FIELD_INT,
     .offset = offsetof(struct next_word_job, top_k),
     .min = 1,
     .max = SEQ_TOP_MAX,
     .help = "How many predictions, best first; default 5"},
    {.name = "unit",
     .type = JSON_FIELD_CHOICE,
     .offset = offsetof(struct next_word_job, unit),
     .choices = UNITS,
     .help = "word (default): whole words, searched across tokens, for masked models "
             "those of one token; token: the exact top of the distribution"},
    {.name = "prefix",
     .type = JSON_FIELD_TEXT,
     .offset = offsetof(struct next_word_job, prefix),
     .max = SEQ_WORD_BYTES,
     .help = "Beginning of the word being typed behind the text, without blanks; only "
             "words that begin so are found (unit word)"},
};

static const struct doc_shape PREDICTION[] = {
    {"word", DOC_STRING, .optional = true, .help = "Unit word: the word"},
    {"token", DOC_STRING, .optional = true, .nullable = true,
     .help = "Unit token: as tokenizer.json spells it"},
    {"id", DOC_INTEGER, .optional = true, .help = "Unit token: its number"},
    {"text", DOC_STRING, .nullable = true,
     .help = "What to append to the text, with its blank, or to put in place of the mask "
             "token; null if it is no UTF-8 alone"},
    {"bytes", DOC_STRING, .optional = true,
     .help = "In place of text: the bytes in hexadecimal"},
    {"score", DOC_NUMBER, .help = "Probability, exp(logprob)"},
    {"logprob", DOC_NUMBER,
     .help = "Natural logarithm of the probability; unit word: of its tokens and of a "
             "border behind them"},
    {"tokens", DOC_STRINGS, .optional = true,
     .help = "Unit word: the tokens it is made of"},
    {0}};

static const struct doc_shape RESULT[] = {
    {"predictions", DOC_LIST, .of = PREDICTION, .help = "Best first"},
    {"usage", DOC_OBJECT, .of = TEXTS_USAGE, .help = "Of this text"},
    {0}};

static const struct doc_shape REPLY[] = {
    {"object", DOC_STRING, .help = "next_word"},
    {"model", DOC_STRING, .help = "Which model answered"},
    {"results", DOC_LIST, .of = RESULT, .help = "One per text, in their order"},
    {"usage", DOC_OBJECT, .of = TEXTS_USAGE, .help = "Of all texts together"},
    {0}};

const struct route_doc next_word_doc = {
    .name = "next_word",
    .fields = FIELDS,
    .n_fields = sizeof FIELDS / sizeof *FIELDS,
    .text_or_texts = true,
    .reply = REPLY,
    .example = "{\"text\":\"the cat sat on the\",\"top_k\":3,\"prefix\":\"m\"}",
    .answer = examples_next_word,
    .more =
        "A text longer than the model's context is cut at its beginning; unit word "
        "keeps room for the tokens of a word. Unit word "
        "reads the text without the blanks at its end; with some there, words come "
        "without the blank in front. Unit token reads the text as it is. For a masked "
        "model the text holds its mask_token once, see GET /v1/models, and what "
        "stands there is predicted; such a text is cut where the mask is not.",
};

/* ---- one result ------------------------------------------------------------------ */

static void write_word(struct json_writer *w, const struct seq_model *m,
                       const struct seq_prediction *p)
{
    size_t blank = p->n_bytes > 0 && p->bytes[0] == ' ';
    json_write_key(w, "word");
    json_write_text(w, p->bytes + blank, p->n_bytes - blank);
    json_write_key(w, "text");
    json_write_text(w, p->bytes, p->n_bytes);
    json_write_key(w, "score");
    json_write_float(w, (float)exp(p->logprob));
    json_write_key(w, "logprob");
    json_write_float(w, (float)p->logprob);
    json_write_key(w, "tokens");
    json_write_array(w);
    for (size_t i = 0; i < p->n_tokens; i++)
        token_json_piece(w, m, p->tokens[i]);
    json_write_end(w);
}

static void write_token(struct json_writer *w, const struct seq_model *m,
                        const struct seq_prediction *p)
{
    size_t n = 0;
    const char *bytes = seq_predicted_bytes(m, p->tokens[0], &n);
    json_write_key(w, "token");
    token_json_piece(w, m, p->tokens[0]);
    json_write_key_uint(w, "id", (uint64_t)p->tokens[0]);
    token_json_text(w, bytes, bytes ? n : 0);
    json_write_key(w, "score");
    json_write_float(w, (float)exp(p->logprob));
    json_write_key(w, "logprob");
    json_write_float(w, (float)p->logprob);
}

static void write_result(const struct text_ref *ref, const struct seq_model *m,
                         const struct seq_next_result *r)
{
    const struct next_word_job *j = (const struct next_word_job *)ref->job;
    for (size_t i = 0; i < r->n; i++)
        if (!isfinite(r->at[i].logprob)) {
            texts_fail(ref, "a probability is not finite");
            return;
        }
    struct json_writer *w = texts_open(ref);
    json_write_key(w, "predictions");
    json_write_array(w);
    for (size_t i = 0; i < r->n; i++) {
        json_write_object(w);
        if (j->unit == UNIT_WORD)
            write_word(w, m, &r->at[i]);
        else
            write_token(w, m, &r->at[i]);
        json_write_end(w);
    }
    json_write_end(w);
    texts_close(ref);
}

/* ---- the task -------------------------------------------------------------------- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* What a masked model predicts stands elsewhere, so its text is read as it is. */
static size_t trim(const struct text_job *job, const struct json_text *text)
{
    const struct next_word_job *j = (const struct next_word_job *)job;
    size_t n = text->n;
    if (job->job.model->info->mask_token)
        return n;
    while (j->unit == UNIT_WORD && n > 0 && is_blank(text->at[n - 1]))
        n--;
    return n;
}

static enum seq_unit unit_of(const struct next_word_job *j)
{
    return j->unit == UNIT_WORD ? SEQ_UNIT_WORD : SEQ_UNIT_TOKEN;
}

static enum seq_task reads(const struct text_job *job)
{
    const struct next_word_job *j = (const struct next_word_job *)job;
    return j->unit == UNIT_WORD ? SEQ_NEXT_WORD : SEQ_NEXT_TOKEN;
}

static size_t weight(const struct text_job *job)
{
    const struct next_word_job *j = (const struct next_word_job *)job;
    return seq_next_word_cost(job->job.model->seq, unit_of(j), (size_t)j->top_k);
}

static struct seq_next_request request_of(const struct text_ref *ref)
{
    const struct next_word_job *j = (const struct next_word_job *)ref->job;
    const struct json_text *text = &ref->job->at[ref->i];
    return (struct seq_next_request){
        .tokens = &ref->job->tokens[ref->i],
        .top_k = (size_t)j->top_k,
        .unit = unit_of(j),
        .prefix = j->prefix.at ? j->prefix.at : "",
        .prefix_n = j->prefix.n,
        .after_space = trim(ref->job, text) < text->n,
    };
}

static enum err_code compute(const struct seq_model *m, const struct text_ref *refs,
                             size_t n, struct seq_worker *w, struct err *err)
{
    struct seq_next_request *requests = mem_alloc(n, sizeof *requests);
    struct seq_next_result *results = mem_alloc(n, sizeof *results);
    enum err_code code = ERR_NOMEM;
    if (!requests || !results) {
        err_set(err, code, "out of memory for %zu texts", n);
        goto out;
    }
    for (size_t i = 0; i < n; i++)
        requests[i] = request_of(&refs[i]);
    code = seq_next_word(m, w, n, requests, results, err);
    for (size_t i = 0; i < n && code == ERR_OK; i++)
        write_result(&refs[i], m, &results[i]);
out:
    mem_free(results);
    mem_free(requests);
    return code;
}

static const struct text_task TASK = {
    .object = "next_word",
    .task = SEQ_NEXT_WORD,
    .reads = reads,
    .trim = trim,
    .weight = weight,
    .compute = compute,
    .fields = FIELDS,
    .n_fields = sizeof FIELDS / sizeof *FIELDS,
};

static const struct job_kind KIND = {
    .name = "next_word", .run = texts_run, .free = texts_free};

static enum err_code check_prefix(const struct next_word_job *j, struct err *err)
{
    if (j->prefix.n && j->unit == UNIT_TOKEN)
        return err_param(err, ERR_INPUT, "prefix",
                         "\"prefix\" needs \"unit\":\"word\"; tokens have none");
    for (size_t i = 0; i < j->prefix.n; i++)
        if (is_blank(j->prefix.at[i]))
            return err_param(err, ERR_INPUT, "prefix",
                             "\"prefix\" is the beginning of one word, without blanks");
    return ERR_OK;
}

enum err_code next_word_handle(struct server *s, const struct request *q,
                               struct answer *out, struct err *err)
{
    struct next_word_job *j = mem_zero(1, sizeof *j);
    if (!j)
        return err_set(err, ERR_NOMEM, "out of memory for the request");
    j->top_k = TOP_K;
    j->t.job.kind = &KIND;
    enum err_code code = texts_read(s, q, &TASK, &j->t, err);
    if (code != ERR_OK) {
        mem_free(j);
        return code;
    }
    code = check_prefix(j, err);
    if (code != ERR_OK) {
        texts_free(&j->t.job);
        return code;
    }
    out->job = &j->t.job;
    return ERR_OK;
}
