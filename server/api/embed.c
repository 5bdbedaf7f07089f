#include "server/api/embed.h"

#include "server/api/embedding.h"
#include "server/api/examples.h"

/* ---- the request ----------------------------------------------------------------- */

/* TEI reads both spellings. */
static const char *const DIRECTIONS[] = {"right", "left", "Right", "Left", NULL};
enum { LEFT = 1 }; /* bit of the index */

struct embed_request {
    struct text_job t; /* first */
    struct json_prompts inputs;
    int normalize, truncate; /* enum json_flag */
    int direction;           /* in DIRECTIONS: where what is cut off stood */
    int64_t dimensions;
    struct json_text prompt_name;
};

#define AT(member) offsetof(struct embed_request, member)
static const struct json_field FIELDS[] = {
    {.name = "inputs",
     .type = JSON_FIELD_PROMPTS,
     .offset = AT(inputs),
     .required = true,
     .min = 1,
     .help = "A text, token ids, or a list of one of both. Ids are read as they are: "
             "special tokens are added to texts only"},
    {.name = "normalize",
     .type = JSON_FIELD_FLAG,
     .offset = AT(normalize),
     .help = "true, the default, brings vectors to length 1, false never does"},
    {.name = "truncate",
     .type = JSON_FIELD_FLAG,
     .offset = AT(truncate),
     .help = "true, the default, cuts a text that is longer than the model reads, false "
             "refuses it (422). Lists of ids are never cut"},
    {.name = "truncation_direction",
     .type = JSON_FIELD_CHOICE,
     .offset = AT(direction),
     .choices = DIRECTIONS,
     .help = "Which end is cut off: right, the default, or left"},
    {.name = "dimensions",
     .type = JSON_FIELD_INT,
     .offset = AT(dimensions),
     .min = 1,
     .max = INT32_MAX,
     .help = "Only the first so many numbers; means something of models trained for that "
             "(Matryoshka)"},
    {.name = "prompt_name",
     .type = JSON_FIELD_TEXT,
     .offset = AT(prompt_name),
     .help = "Only null: no prompts are kept here; put them in front of the texts"},
};
#undef AT
enum { N_FIELDS = sizeof FIELDS / sizeof *FIELDS };

const struct route_doc embed_doc = {
    .name = "embed",
    .fields = FIELDS,
    .n_fields = N_FIELDS,
    .reply_type = DOC_NUMBER_LISTS,
    .example = "{\"inputs\":[\"I loved it\",\"awful\"],\"dimensions\":8}",
    .answer = examples_embed,
    .more = "text-embeddings-inference's, with the clients of Hugging Face. One vector "
            "per text, in their order, a list of them for a single text too. The model "
            "is the default of /v1/embeddings, which says what a vector is.",
};

/* ---- the reply ------------------------------------------------------------------- */

static void name(const struct text_job *job, size_t i, bool second,
                 char param[ERR_PARAM_BYTES])
{
    (void)second;
    embedding_name("inputs", &((const struct embed_request *)job)->inputs, i, param);
}

static void begin(struct text_job *job)
{
    json_write_array(&job->out);
}

static void result(const struct text_ref *ref, const struct text_result *r)
{
    embedding_write(&ref->job->out, r);
}

static void end(struct text_job *job)
{
    json_write_end(&job->out);
}

static const struct text_form FORM = {.fields = FIELDS,
                                      .n_fields = N_FIELDS,
                                      .name = name,
                                      .begin = begin,
                                      .result = result,
                                      .end = end};

/* ---- the handler ----------------------------------------------------------------- */

static enum err_code check(const struct server *s, struct embed_request *r,
                           struct err *err)
{
    if (r->prompt_name.at)
        return err_param(err, ERR_INPUT, "prompt_name",
                         "no prompts are kept here: \"prompt_name\" must be null");
    return embedding_choose(s, &r->t, r->dimensions, err);
}

static enum err_code prepare(struct server *s, const struct request *q,
                             struct embed_request *r, struct err *err)
{
    static const enum seq_norm norms[] = {
        [JSON_FLAG_FALSE] = SEQ_NORM_NONE, [JSON_FLAG_TRUE] = SEQ_NORM_UNIT};
    enum err_code code = json_read(q->body, q->body_n, FIELDS, N_FIELDS, r, err);
    if (code != ERR_OK)
        return code;
    code = check(s, r, err);
    if (code != ERR_OK) {
        json_read_done(FIELDS, N_FIELDS, r);
        return code;
    }
    r->t.job.kind = &embedding_kind;
    r->t.prompts = r->inputs.at;
    r->t.n = r->inputs.n;
    r->t.whole = r->truncate == JSON_FLAG_FALSE;
    r->t.keep = r->direction & LEFT ? SEQ_KEEP_END : SEQ_KEEP_START;
    if (r->normalize != JSON_FLAG_UNSAID)
        r->t.vector.norm = norms[r->normalize];
    return texts_prepare(s, &embedding_task, &FORM, &r->t, err);
}

static enum err_code embed(struct server *s, const struct request *q,
                           const struct model *m, enum seq_norm usual, struct answer *out,
                           struct err *err)
{
    struct embed_request *r = mem_zero(1, sizeof *r);
    if (!r)
        return err_set(err, ERR_NOMEM, "out of memory for the request");
    r->t.job.model = m;
    r->t.vector.norm = usual;
    enum err_code code = prepare(s, q, r, err);
    if (code != ERR_OK) {
        mem_free(r);
        return code;
    }
    out->job = &r->t.job;
    return ERR_OK;
}

enum err_code embed_texts(struct server *s, const struct request *q,
                          const struct model *m, struct answer *out, struct err *err)
{
    return embed(s, q, m, SEQ_NORM_OWN, out, err);
}

enum err_code embed_handle(struct server *s, const struct request *q, struct answer *out,
                           struct err *err)
{
    return embed(s, q, NULL, SEQ_NORM_UNIT, out, err);
}
