#include "server/api/next_word.h"

#include <math.h>
#include <string.h>

#include "server/api/examples.h"
#include "server/api/texts.h"
#include "server/api/token_json.h"

enum { TOP_K = 5 };

struct next_word_request {
    struct text_request r; /* first */
    int64_t top_k;
    int unit; /* index in UNITS */
    struct json_text prefix;
    struct next_word_ask ask; /* of all this */
};

enum { UNIT_WORD, UNIT_TOKEN };
static const char *const UNITS[] = {"word", "token", NULL};

static const struct json_field FIELDS[] = {
    TEXTS_FIELDS,
    {.name = "top_k",
     .type = JSON_FIELD_INT,
     .offset = offsetof(struct next_word_request, top_k),
     .min = 1,
     .max = SEQ_TOP_MAX,
     .help = "How many predictions, best first; default 5"},
    {.name = "unit",
     .type = JSON_FIELD_CHOICE,
     .offset = offsetof(struct next_word_request, unit),
     .choices = UNITS,
     .help = "word (default): whole words, searched across tokens, for masked models "
             "those of one token; token: the exact top of the distribution"},
    {.name = "prefix",
     .type = JSON_FIELD_TEXT,
     .offset = offsetof(struct next_word_request, prefix),
     .max = SEQ_WORD_BYTES,
     .help = "Beginning of the word being typed behind the text, without blanks; only "
             "words that begin so are found (unit word)"},
};

const struct doc_shape next_word_prediction[] = {
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
    {"predictions", DOC_LIST, .of = next_word_prediction, .help = "Best first"},
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
    .one_of = TEXTS_ONE_OF,
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

void next_word_token(struct json_writer *w, const struct seq_model *m,
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

static void write_result(const struct text_ref *ref, const struct text_result *result)
{
    const struct seq_model *m = ref->job->job.model->seq;
    const struct seq_next_result *r = result->next;
    struct json_writer *w = texts_open(ref);
    json_write_key(w, "predictions");
    json_write_array(w);
    for (size_t i = 0; i < r->n; i++) {
        json_write_object(w);
        if (ref->job->next->unit == SEQ_UNIT_WORD)
            write_word(w, m, &r->at[i]);
        else
            next_word_token(w, m, &r->at[i]);
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

static bool of_words(const struct text_job *job)
{
    return job->next->unit == SEQ_UNIT_WORD;
}

/* What a masked model predicts stands elsewhere, so its text is read as it is. */
static size_t trim(const struct text_job *job, const struct json_text *text)
{
    size_t n = text->n;
    if (job->job.model->info->mask_token)
        return n;
    while (of_words(job) && n > 0 && is_blank(text->at[n - 1]))
        n--;
    return n;
}

static enum seq_task reads(const struct text_job *job)
{
    return of_words(job) ? SEQ_NEXT_WORD : SEQ_NEXT_TOKEN;
}

static size_t weight(const struct text_job *job)
{
    return seq_next_word_cost(job->job.model->seq, job->next->unit, job->next->top_k);
}

static struct seq_next_request request_of(const struct text_ref *ref)
{
    const struct text_job *job = ref->job;
    const struct next_word_ask *ask = job->next;
    const struct json_text *text = &job->at[ref->i];
    return (struct seq_next_request){
        .tokens = &job->tokens[ref->i],
        .top_k = ask->top_k,
        .unit = ask->unit,
        .prefix = ask->prefix ? ask->prefix : "",
        .prefix_n = ask->prefix_n,
        .after_space = trim(job, text) < text->n,
    };
}

static void tell(const struct text_ref *ref, const struct seq_next_result *r)
{
    for (size_t i = 0; i < r->n; i++)
        if (!isfinite(r->at[i].logprob)) {
            texts_fail(ref, "a probability is not finite");
            return;
        }
    texts_tell(ref, &(struct text_result){.next = r});
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
        tell(&refs[i], &results[i]);
out:
    mem_free(results);
    mem_free(requests);
    return code;
}

const struct text_task next_word_task = {
    .task = SEQ_NEXT_WORD,
    .reads = reads,
    .trim = trim,
    .weight = weight,
    .compute = compute,
};

const struct job_kind next_word_kind = {
    .name = "next_word", .run = texts_run, .free = texts_free};

/* ---- our own request ------------------------------------------------------------- */

static const struct text_form FORM = {
    .fields = FIELDS,
    .n_fields = sizeof FIELDS / sizeof *FIELDS,
    .object = "next_word",
    .name = texts_name,
    .begin = texts_begin,
    .result = write_result,
    .end = texts_end,
};

static enum err_code check_prefix(const struct next_word_request *r, struct err *err)
{
    if (r->prefix.n && r->unit == UNIT_TOKEN)
        return err_param(err, ERR_INPUT, "prefix",
                         "\"prefix\" needs \"unit\":\"word\"; tokens have none");
    for (size_t i = 0; i < r->prefix.n; i++)
        if (is_blank(r->prefix.at[i]))
            return err_param(err, ERR_INPUT, "prefix",
                             "\"prefix\" is the beginning of one word, without blanks");
    return ERR_OK;
}

static void fill_ask(struct next_word_request *r)
{
    r->ask = (struct next_word_ask){.top_k = (size_t)r->top_k,
                                    .unit = r->unit == UNIT_WORD ? SEQ_UNIT_WORD
                                                                 : SEQ_UNIT_TOKEN,
                                    .prefix = r->prefix.at,
                                    .prefix_n = r->prefix.n};
}

enum err_code next_word_handle(struct server *s, const struct request *q,
                               struct answer *out, struct err *err)
{
    struct next_word_request *r = mem_zero(1, sizeof *r);
    if (!r)
        return err_set(err, ERR_NOMEM, "out of memory for the request");
    r->top_k = TOP_K;
    r->r.t.job.kind = &next_word_kind;
    r->r.t.next = &r->ask;
    enum err_code code = texts_read(q, &FORM, &r->r, err);
    if (code == ERR_OK) {
        fill_ask(r);
        code = texts_prepare(s, &next_word_task, &FORM, &r->r.t, err);
    }
    if (code != ERR_OK) {
        mem_free(r);
        return code;
    }
    code = check_prefix(r, err);
    if (code != ERR_OK) {
        texts_free(&r->r.t.job);
        return code;
    }
    out->job = &r->r.t.job;
    return ERR_OK;
}
