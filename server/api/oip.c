#include "server/api/oip.h"

#include <string.h>

#include "server/errors.h"

const struct oip_output_row OIP_OUTPUT_ROWS[OIP_OUTPUTS] = {
    [OIP_LABEL] = {"label", OIP_BYTES, SEQ_CLASSIFY, 1, false},
    [OIP_SCORE] = {"score", OIP_FP32, SEQ_CLASSIFY, 1, false},
    [OIP_PROBABILITIES] = {"probabilities", OIP_FP32, SEQ_CLASSIFY, 2, false},
    [OIP_LOGITS] = {"logits", OIP_FP32, SEQ_CLASSIFY, 2, false},
    [OIP_NEXT_TOKEN] = {"next_token", OIP_BYTES, SEQ_NEXT_WORD, 2, false},
    [OIP_NEXT_TOKEN_ID] = {"next_token_id", OIP_INT64, SEQ_NEXT_WORD, 2, false},
    [OIP_NEXT_LOGPROBS] = {"next_logprobs", OIP_FP32, SEQ_NEXT_WORD, 2, false},
    [OIP_TOKENS] = {"tokens", OIP_BYTES, 0, 1, true},
    [OIP_TOKEN_IDS] = {"token_ids", OIP_INT64, 0, 1, true},
    [OIP_OFFSETS] = {"offsets", OIP_INT64, 0, 2, true},
    [OIP_ATTENTIONS] = {"attentions", OIP_FP32, SEQ_ATTENTION, 4, true},
};

/* ---- what replies look like ------------------------------------------------------ */

static const struct doc_shape SERVER[] = {
    {"name", DOC_STRING, .help = "seqd"},
    {"version", DOC_STRING, .help = "Of the program"},
    {"extensions", DOC_STRINGS, .help = "Of the protocol"},
    {0}};
static const struct doc_shape LIVE[] = {{"live", DOC_BOOLEAN, .help = "true"}, {0}};
static const struct doc_shape READY[] = {
    {"ready", DOC_BOOLEAN, .help = "true"}, {"live", DOC_BOOLEAN, .help = "true"}, {0}};
static const struct doc_shape MODELS[] = {
    {"models", DOC_STRINGS, .help = "All names, in the order of loading"}, {0}};
static const struct doc_shape MODEL_READY[] = {{"name", DOC_STRING, .help = "The model"},
                                               {"ready", DOC_BOOLEAN, .help = "true"},
                                               {0}};
static const struct doc_shape TENSOR[] = {
    {"name", DOC_STRING, .help = "As requests call it; the first input may have any"},
    {"datatype", DOC_STRING, .help = "BYTES, FP32 or INT64"},
    {"shape", DOC_INTEGERS, .help = "-1: any length"},
    {0}};
static const struct doc_shape METADATA[] = {
    {"name", DOC_STRING, .help = "The model"},
    {"versions", DOC_STRINGS, .help = "There is one"},
    {"platform", DOC_STRING, .help = "seqd_safetensors"},
    {"inputs", DOC_LIST, .of = TENSOR,
     .help = "text; also text_pair, which is optional, "
             "of models that take it"},
    {"outputs", DOC_LIST, .of = TENSOR, .help = "All that infer gives"},
    {0}};

const struct route_doc oip_server_doc = {.name = "oip_server", .reply = SERVER};
const struct route_doc oip_live_doc = {.name = "oip_live", .reply = LIVE};
const struct route_doc oip_ready_doc = {.name = "oip_ready", .reply = READY};
const struct route_doc oip_models_doc = {.name = "oip_models", .reply = MODELS};
const struct route_doc oip_model_ready_doc = {.name = "oip_model_ready",
                                              .reply = MODEL_READY};
const struct route_doc oip_metadata_doc = {
    .name = "oip_metadata",
    .reply = METADATA,
    .more = "Also below /versions/1, as of all routes of a model.",
};

/* ---- what the routes share ------------------------------------------------------- */

enum seq_task oip_task(const struct model *m)
{
    static const enum seq_task tasks[] = {SEQ_CLASSIFY, SEQ_NEXT_WORD};
    for (size_t i = 0; i < sizeof tasks / sizeof *tasks; i++)
        if (m->info->tasks & (unsigned)tasks[i])
            return tasks[i];
    return 0;
}

bool oip_gives(const struct server *s, const struct model *m, size_t which)
{
    const struct oip_output_row *row = &OIP_OUTPUT_ROWS[which];
    if (row->inspects)
        return s->options->inspect &&
               (!row->task || m->info->tasks & (unsigned)row->task);
    return row->task == oip_task(m);
}

/* What an error shows of a part of the path. */
static int shown(const struct route_arg *arg)
{
    return arg->n < 80 ? (int)arg->n : 80;
}

const struct model *oip_model(const struct server *s, const struct request *q,
                              struct err *err)
{
    const struct route_arg *name = &q->args[0], *version = &q->args[1];
    const struct model *m = models_find(s->models, name->at, name->n);
    if (!m) {
        err_param(err, ERR_NOT_FOUND, "model",
                  "no model is named \"%.*s\"; GET /v2/models lists them", shown(name),
                  name->at);
        return NULL;
    }
    if (version->n && (version->n != strlen(OIP_VERSION) ||
                       memcmp(version->at, OIP_VERSION, version->n) != 0)) {
        err_param(err, ERR_NOT_FOUND, "version",
                  "model \"%s\" has no version \"%.*s\", only \"" OIP_VERSION "\"",
                  m->name, shown(version), version->at);
        return NULL;
    }
    return m;
}

static enum err_code hand_over(struct json_writer *w, struct answer *out, struct err *err)
{
    buf_put(&w->buf, "\n", 1);
    if (w->buf.failed) {
        json_write_done(w);
        return err_set(err, ERR_NOMEM, "out of memory for the reply");
    }
    reply_take_json(&out->reply, w);
    return ERR_OK;
}

static void not_ready(const struct answer *out, struct reply *reply)
{
    reply_problem(reply, out->dialect, PROBLEM_STOPPING, NULL, "the server is not ready");
}

/* ---- the server ------------------------------------------------------------------ */

enum err_code oip_server(struct server *s, const struct request *q, struct answer *out,
                         struct err *err)
{
    static const char *const extensions[] = {"binary_tensor_data", "classification",
                                             "parameters"};
    struct json_writer w = {0};
    (void)s;
    (void)q;
    json_write_object(&w);
    json_write_key_string(&w, "name", "seqd");
    json_write_key_string(&w, "version", SEQD_VERSION);
    json_write_key(&w, "extensions");
    json_write_array(&w);
    for (size_t i = 0; i < sizeof extensions / sizeof *extensions; i++)
        json_write_string(&w, extensions[i]);
    json_write_end(&w);
    json_write_end(&w);
    return hand_over(&w, out, err);
}

enum err_code oip_live(struct server *s, const struct request *q, struct answer *out,
                       struct err *err)
{
    static const char live[] = "{\"live\":true}\n";
    (void)s;
    (void)q;
    (void)err;
    out->reply.fixed = live;
    out->reply.fixed_n = sizeof live - 1;
    return ERR_OK;
}

enum err_code oip_ready(struct server *s, const struct request *q, struct answer *out,
                        struct err *err)
{
    static const char ready[] = "{\"ready\":true,\"live\":true}\n";
    (void)q;
    (void)err;
    if (!atomic_load(&s->ready)) {
        not_ready(out, &out->reply);
        return ERR_OK;
    }
    out->reply.fixed = ready;
    out->reply.fixed_n = sizeof ready - 1;
    return ERR_OK;
}

/* ---- models ---------------------------------------------------------------------- */

enum err_code oip_models(struct server *s, const struct request *q, struct answer *out,
                         struct err *err)
{
    struct json_writer w = {0};
    (void)q;
    json_write_object(&w);
    json_write_key(&w, "models");
    json_write_array(&w);
    for (size_t i = 0; i < s->models->n; i++)
        json_write_string(&w, s->models->at[i].name);
    json_write_end(&w);
    json_write_end(&w);
    return hand_over(&w, out, err);
}

enum err_code oip_model_ready(struct server *s, const struct request *q,
                              struct answer *out, struct err *err)
{
    const struct model *m = oip_model(s, q, err);
    struct json_writer w = {0};
    if (!m)
        return err->code;
    if (!atomic_load(&s->ready)) {
        not_ready(out, &out->reply);
        return ERR_OK;
    }
    json_write_object(&w);
    json_write_key_string(&w, "name", m->name);
    json_write_key_bool(&w, "ready", true);
    json_write_end(&w);
    return hand_over(&w, out, err);
}

/* shape [-1] or [-1,second] */
static void write_tensor(struct json_writer *w, const char *name, enum oip_datatype type,
                         size_t rank, int64_t second)
{
    json_write_object(w);
    json_write_key_string(w, "name", name);
    json_write_key_string(w, "datatype", oip_datatype_name(type));
    json_write_key(w, "shape");
    json_write_array(w);
    for (size_t i = 0; i < rank; i++)
        json_write_int(w, i == 1 ? second : -1);
    json_write_end(w);
    json_write_end(w);
}

/* The second axis, where there is one: as many as labels, starts and ends, or any. */
static int64_t second_axis(const struct model *m, size_t which)
{
    if (OIP_OUTPUT_ROWS[which].task == SEQ_CLASSIFY)
        return (int64_t)m->info->n_labels;
    return which == OIP_OFFSETS ? 2 : -1;
}

static void write_tensors(struct json_writer *w, const struct server *s,
                          const struct model *m)
{
    bool hops = m->info->mask == SEQ_MASK_POOLING;
    json_write_key(w, "inputs");
    json_write_array(w);
    if (oip_task(m) || s->options->inspect)
        write_tensor(w, "text", OIP_BYTES, 1, 0);
    if (oip_task(m) != SEQ_NEXT_WORD && m->info->pairs)
        write_tensor(w, "text_pair", OIP_BYTES, 1, 0);
    json_write_end(w);
    json_write_key(w, "outputs");
    json_write_array(w);
    for (size_t i = 0; i < OIP_OUTPUTS; i++) {
        const struct oip_output_row *o = &OIP_OUTPUT_ROWS[i];
        size_t rank = hops && i == OIP_ATTENTIONS ? 2 : o->rank;
        if (oip_gives(s, m, i))
            write_tensor(w, o->name, o->datatype, rank, second_axis(m, i));
    }
    json_write_end(w);
}

enum err_code oip_metadata(struct server *s, const struct request *q, struct answer *out,
                           struct err *err)
{
    const struct model *m = oip_model(s, q, err);
    struct json_writer w = {0};
    if (!m)
        return err->code;
    json_write_object(&w);
    json_write_key_string(&w, "name", m->name);
    json_write_key(&w, "versions");
    json_write_array(&w);
    json_write_string(&w, OIP_VERSION);
    json_write_end(&w);
    json_write_key_string(&w, "platform", "seqd_safetensors");
    write_tensors(&w, s, m);
    json_write_end(&w);
    return hand_over(&w, out, err);
}
