#include "server/api/embeddings.h"

#include "server/api/embedding.h"
#include "server/api/examples.h"

#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "base64 is of little-endian");

/* ---- the request ----------------------------------------------------------------- */

enum format { FORMAT_FLOAT, FORMAT_BASE64 };
static const char *const FORMATS[] = {"float", "base64", NULL};

struct embeddings_request {
    struct text_job t; /* first */
    struct json_prompts input;
    int format; /* enum format */
    int64_t dimensions;
    bool truncate;
    struct json_text user;
};

#define AT(member) offsetof(struct embeddings_request, member)
static const struct json_field FIELDS[] = {
    {.name = "input",
     .type = JSON_FIELD_PROMPTS,
     .offset = AT(input),
     .required = true,
     .min = 1,
     .help = "A text, token ids, or a list of one of both. Ids are read as they are: "
             "special tokens are added to texts only"},
    {.name = "model",
     .type = JSON_FIELD_TEXT,
     .offset = AT(t.model),
     .help = "Name of a loaded model; left out: one that was made for vectors, if there "
             "is one"},
    {.name = "encoding_format",
     .type = JSON_FIELD_CHOICE,
     .offset = AT(format),
     .choices = FORMATS,
     .help = "float, the default, or base64: of the float32 numbers, little-endian"},
    {.name = "dimensions",
     .type = JSON_FIELD_INT,
     .offset = AT(dimensions),
     .min = 1,
     .max = INT32_MAX,
     .help = "Only the first so many numbers, of length 1 by themselves; means something "
             "of models trained for that (Matryoshka)"},
    {.name = "truncate",
     .type = JSON_FIELD_BOOL,
     .offset = AT(truncate),
     .help = "true cuts a text that is longer than the model reads, false, the default, "
             "refuses it (413). Lists of ids are never cut"},
    {.name = "user", .type = JSON_FIELD_TEXT, .offset = AT(user), .help = "Ignored"},
};
#undef AT
enum { N_FIELDS = sizeof FIELDS / sizeof *FIELDS };

static const struct doc_shape DATA[] = {
    {"object", DOC_STRING, .help = "embedding"},
    {"index", DOC_INTEGER, .help = "Which of the input's texts"},
    {"embedding", DOC_VECTOR, .help = "Of length 1"},
    {0}};

static const struct doc_shape USAGE[] = {
    {"prompt_tokens", DOC_INTEGER, .help = "Tokens read, special ones included"},
    {"total_tokens", DOC_INTEGER, .help = "The same"},
    {0}};

static const struct doc_shape REPLY[] = {
    {"object", DOC_STRING, .help = "list"},
    {"data", DOC_LIST, .of = DATA, .help = "One per text, in their order"},
    {"model", DOC_STRING, .help = "Which model answered"},
    {"usage", DOC_OBJECT, .of = USAGE, .help = "Of all texts together"},
    {0}};

const struct route_doc embeddings_doc = {
    .name = "embeddings",
    .fields = FIELDS,
    .n_fields = N_FIELDS,
    .reply = REPLY,
    .example = "{\"input\":[\"I loved it\",\"awful\"],\"dimensions\":8}",
    .answer = examples_embeddings,
    .more =
        "OpenAI's embeddings, with its clients. A vector is what the text's hidden "
        "rows behind the last layer come to, as the folder's modules.json says (mean, "
        "first, last, maximum), else their mean; it always has the length 1. Every "
        "model gives vectors; those of models made to classify or to continue texts "
        "were not trained to be compared.",
};

/* ---- the reply ------------------------------------------------------------------- */

static const struct embeddings_request *request_of(const struct text_job *job)
{
    return (const struct embeddings_request *)job; /* its first member */
}

static void name(const struct text_job *job, size_t i, bool second,
                 char param[ERR_PARAM_BYTES])
{
    (void)second;
    embedding_name("input", &request_of(job)->input, i, param);
}

static void begin(struct text_job *job)
{
    json_write_object(&job->out);
    json_write_key_string(&job->out, "object", "list");
    json_write_key(&job->out, "data");
    json_write_array(&job->out);
}

static void write_base64(struct json_writer *w, const float *v, size_t n)
{
    size_t length = base64_length(n * sizeof *v);
    char *text = mem_alloc(length, 1);
    if (text) {
        base64_encode((const unsigned char *)v, n * sizeof *v, text);
        json_write_text(w, text, length);
    } else {
        w->buf.failed = true;
    }
    mem_free(text);
}

static void result(const struct text_ref *ref, const struct text_result *r)
{
    struct json_writer *w = &ref->job->out;
    json_write_object(w);
    json_write_key_string(w, "object", "embedding");
    json_write_key_uint(w, "index", ref->i);
    json_write_key(w, "embedding");
    if (request_of(ref->job)->format == FORMAT_BASE64)
        write_base64(w, r->values, r->n_values);
    else
        embedding_write(w, r);
    json_write_end(w);
}

static void end(struct text_job *job)
{
    struct json_writer *w = &job->out;
    size_t tokens = texts_tokens(job);
    json_write_end(w);
    json_write_key_string(w, "model", job->job.model->name);
    json_write_key(w, "usage");
    json_write_object(w);
    json_write_key_uint(w, "prompt_tokens", tokens);
    json_write_key_uint(w, "total_tokens", tokens);
    json_write_end(w);
    json_write_end(w);
}

static const struct text_form FORM = {.fields = FIELDS,
                                      .n_fields = N_FIELDS,
                                      .name = name,
                                      .begin = begin,
                                      .result = result,
                                      .end = end};

/* ---- the handler ----------------------------------------------------------------- */

static enum err_code prepare(struct server *s, const struct request *q,
                             struct embeddings_request *r, struct err *err)
{
    enum err_code code = json_read(q->body, q->body_n, FIELDS, N_FIELDS, r, err);
    if (code != ERR_OK)
        return code;
    code = embedding_choose(s, &r->t, r->dimensions, err);
    if (code != ERR_OK) {
        json_read_done(FIELDS, N_FIELDS, r);
        return code;
    }
    r->t.job.kind = &embedding_kind;
    r->t.prompts = r->input.at;
    r->t.n = r->input.n;
    r->t.whole = !r->truncate;
    r->t.vector.norm = SEQ_NORM_UNIT;
    return texts_prepare(s, &embedding_task, &FORM, &r->t, err);
}

enum err_code embeddings_handle(struct server *s, const struct request *q,
                                struct answer *out, struct err *err)
{
    struct embeddings_request *r = mem_zero(1, sizeof *r);
    if (!r)
        return err_set(err, ERR_NOMEM, "out of memory for the request");
    enum err_code code = prepare(s, q, r, err);
    if (code != ERR_OK) {
        mem_free(r);
        return code;
    }
    out->job = &r->t.job;
    return ERR_OK;
}
