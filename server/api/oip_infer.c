#include "server/api/oip_infer.h"

#include <stdio.h>
#include <string.h>

#include "server/api/classification.h"
#include "server/api/examples.h"
#include "server/api/map_format.h"
#include "server/api/next_word.h"
#include "server/api/oip.h"
#include "server/api/oip_job.h"

enum { TOP_K = 5, INPUTS = 2, TIMEOUT_MAX_US = 1 << 30 };

struct input_tensor {
    struct json_text name, datatype;
    struct json_ints shape;
    struct json_data data;   /* in the JSON, or */
    int64_t bytes;           /* so many behind it: */
    struct json_text *texts; /* [n_texts] of these */
    size_t n_texts;
};

struct output_ask {
    struct json_text name;
    enum json_flag binary;
    int64_t classes; /* 0: not asked for */
    int half;        /* index in FLOATS */
};

static const char *const FLOATS[] = {"FP32", "FP16", NULL};

/* ---- the request ----------------------------------------------------------------- */

static const struct json_field INPUT_PARAMETERS[] = {
    {.name = "binary_data_size",
     .type = JSON_FIELD_INT,
     .offset = offsetof(struct input_tensor, bytes),
     .max = INT32_MAX,
     .help = "In place of data: the tensor's bytes, behind the JSON"},
};

static const struct json_field INPUT[] = {
    {.name = "name",
     .type = JSON_FIELD_TEXT,
     .offset = offsetof(struct input_tensor, name),
     .required = true,
     .help = "Any; text_pair are second texts"},
    {.name = "shape",
     .type = JSON_FIELD_IDS,
     .offset = offsetof(struct input_tensor, shape),
     .required = true,
     .min = 1,
     .max = JSON_DATA_RANK,
     .help = "As many elements as there are texts, in whatever shape"},
    {.name = "datatype",
     .type = JSON_FIELD_TEXT,
     .offset = offsetof(struct input_tensor, datatype),
     .required = true,
     .help = "BYTES"},
    {.name = "data",
     .type = JSON_FIELD_DATA,
     .offset = offsetof(struct input_tensor, data),
     .help = "The texts, flat or nested as shape says"},
    {.name = "parameters",
     .type = JSON_FIELD_OBJECT,
     .members = INPUT_PARAMETERS,
     .n_members = 1,
     .open = true,
     .help = "Others are ignored"},
};

static const struct json_field OUTPUT_PARAMETERS[] = {
    {.name = "binary_data",
     .type = JSON_FIELD_FLAG,
     .offset = offsetof(struct output_ask, binary),
     .help = "Whether it comes behind the JSON, as bytes"},
    {.name = "classification",
     .type = JSON_FIELD_INT,
     .offset = offsetof(struct output_ask, classes),
     .min = 1,
     .max = INT32_MAX,
     .help = "Of probabilities and logits: so many of the largest, as texts "
             "value:index:label"},
    {.name = "datatype",
     .type = JSON_FIELD_CHOICE,
     .offset = offsetof(struct output_ask, half),
     .choices = FLOATS,
     .help = "Of attentions, default FP32; FP16 only with binary_data"},
};

static const struct json_field OUTPUT[] = {
    {.name = "name",
     .type = JSON_FIELD_TEXT,
     .offset = offsetof(struct output_ask, name),
     .required = true,
     .help = "One of the model's outputs"},
    {.name = "parameters",
     .type = JSON_FIELD_OBJECT,
     .members = OUTPUT_PARAMETERS,
     .n_members = sizeof OUTPUT_PARAMETERS / sizeof *OUTPUT_PARAMETERS,
     .open = true,
     .help = "Others are ignored"},
};

static const struct json_field PARAMETERS[] = {
    {.name = "binary_data_output",
     .type = JSON_FIELD_FLAG,
     .offset = offsetof(struct oip_job, binary),
     .help = "binary_data of all outputs that don't say"},
    {.name = "timeout",
     .type = JSON_FIELD_INT,
     .offset = offsetof(struct oip_job, timeout_us),
     .max = TIMEOUT_MAX_US,
     .help = "Most microseconds to wait for a worker (503 then), within "
             "--request-timeout-ms; 0: no limit of its own"},
    {.name = "top_k",
     .type = JSON_FIELD_INT,
     .offset = offsetof(struct oip_job, top_k),
     .min = 1,
     .max = SEQ_TOP_MAX,
     .help = "Of language models: how many tokens, best first; default 5"},
    {.name = "truncate",
     .type = JSON_FIELD_FLAG,
     .offset = offsetof(struct oip_job, truncate),
     .help = "false refuses a text longer than the model reads; true, the default, cuts "
             "it"},
    {.name = "sequence_start",
     .type = JSON_FIELD_FLAG,
     .offset = offsetof(struct oip_job, sequence_start),
     .help = "Refused: no sequences are kept here"},
    {.name = "sequence_end",
     .type = JSON_FIELD_FLAG,
     .offset = offsetof(struct oip_job, sequence_end),
     .help = "Refused: no sequences are kept here"},
};

static const struct json_field FIELDS[] = {
    {.name = "outputs",
     .type = JSON_FIELD_LIST,
     .offset = offsetof(struct oip_job, outputs),
     .max = OIP_OUTPUTS,
     .members = OUTPUT,
     .n_members = sizeof OUTPUT / sizeof *OUTPUT,
     .element = sizeof(struct output_ask),
     .help = "Which come, in this order, see the model's metadata; left out: all that "
             "don't look inside"},
    {.name = "id",
     .type = JSON_FIELD_TEXT,
     .offset = offsetof(struct oip_job, id),
     .help = "Comes back in the reply"},
    {.name = "parameters",
     .type = JSON_FIELD_OBJECT,
     .members = PARAMETERS,
     .n_members = sizeof PARAMETERS / sizeof *PARAMETERS,
     .open = true,
     .help = "Others, priority among them, are ignored"},
    {.name = "inputs",
     .type = JSON_FIELD_LIST,
     .offset = offsetof(struct oip_job, inputs),
     .required = true,
     .min = 1,
     .max = INPUTS,
     .members = INPUT,
     .n_members = sizeof INPUT / sizeof *INPUT,
     .element = sizeof(struct input_tensor),
     .help = "The texts; with a second one named text_pair what goes with each"},
};
enum { N_FIELDS = sizeof FIELDS / sizeof *FIELDS };

static const struct doc_shape TENSOR[] = {
    {"name", DOC_STRING, .help = "Of the output"},
    {"datatype", DOC_STRING, .help = "BYTES, FP32 or INT64"},
    {"shape", DOC_INTEGERS,
     .help =
         "Texts; of each as many as labels, or top_k; attentions: layer, head, query, "
         "key, of pooling hop, key"},
    {"data", DOC_ANY_LIST, .help = "Row by row, flat"},
    {0}};

static const struct doc_shape REPLY[] = {
    {"model_name", DOC_STRING, .help = "Which model answered"},
    {"model_version", DOC_STRING, .help = "Its only one"},
    {"id", DOC_STRING, .optional = true, .help = "The request's"},
    {"outputs", DOC_LIST, .of = TENSOR, .help = "In the order asked for"},
    {0}};

static const char *const MEDIA[] = {"application/octet-stream", NULL};

const struct route_doc oip_infer_doc = {
    .name = "oip_infer",
    .fields = FIELDS,
    .n_fields = N_FIELDS,
    .reply = REPLY,
    .media = MEDIA,
    .example = "{\"id\":\"42\",\"inputs\":[{\"name\":\"text\",\"shape\":[2],\"datatype\":"
               "\"BYTES\",\"data\":[\"I loved it\",\"awful\"]}]}",
    .answer = examples_oip_infer,
    .example_model = "sentiment-lstm",
    .more =
        "Bodies may be binary (application/octet-stream): so many bytes of JSON as the "
        "header Inference-Header-Content-Length says, then the tensors with a "
        "binary_data_size. With 0 the whole body is one text, and all outputs are "
        "binary. A regression's probabilities are its scores, whatever they are. tokens, "
        "token_ids, offsets (in bytes) and attentions look inside one text, and come "
        "only "
        "if outputs names them.",
};

static struct oip_job *oip_job(const struct text_job *job)
{
    return (struct oip_job *)job; /* its first member */
}

static struct input_tensor *input_at(const struct oip_job *j, size_t i)
{
    return (struct input_tensor *)j->inputs.at + i;
}

/* ---- inputs ---------------------------------------------------------------------- */

static void write_shape(const size_t *shape, size_t rank, char *to, size_t cap)
{
    size_t n = (size_t)snprintf(to, cap, "[");
    for (size_t i = 0; i < rank && n < cap; i++)
        n += (size_t)snprintf(to + n, cap - n, "%s%zu", i ? "," : "", shape[i]);
    if (n < cap)
        snprintf(to + n, cap - n, "]");
}

/* Elements of the shape, none of whose lengths is below 1; 0 and an error if it has more
 * than there can be. */
static size_t count_shape(const struct input_tensor *in, size_t *shape, struct err *err)
{
    size_t all = 1;
    for (size_t i = 0; i < in->shape.n; i++) {
        shape[i] = in->shape.at[i] > 0 ? (size_t)in->shape.at[i] : 0;
        if (shape[i] == 0) {
            err_param(err, ERR_INPUT, "shape",
                      "input \"%.60s\": axis %zu of its shape has length %lld",
                      in->name.at, i, (long long)in->shape.at[i]);
            return 0;
        }
        if (!mem_mul(all, shape[i], &all)) {
            err_param(err, ERR_INPUT, "shape", "input \"%.60s\": its shape is too large",
                      in->name.at);
            return 0;
        }
    }
    return all;
}

static enum err_code check_shape(const struct input_tensor *in, size_t n, struct err *err)
{
    size_t shape[JSON_DATA_RANK];
    char said[128], nested[128];
    size_t all = count_shape(in, shape, err);
    if (all == 0)
        return err->code;
    write_shape(shape, in->shape.n, said, sizeof said);
    if (all != n)
        return err_param(err, ERR_INPUT, "shape",
                         "input \"%.60s\": shape %s has %zu elements, its data %zu",
                         in->name.at, said, all, n);
    const struct json_data *d = &in->data;
    if (d->rank < 2 ||
        (d->rank == in->shape.n && memcmp(shape, d->shape, d->rank * sizeof *shape) == 0))
        return ERR_OK;
    write_shape(d->shape, d->rank, nested, sizeof nested);
    return err_param(err, ERR_INPUT, "data",
                     "input \"%.60s\": its data is nested as %s, its shape is %s",
                     in->name.at, nested, said);
}

/* Takes the tensor's bytes from what stands behind the JSON. */
static enum err_code take_binary(struct input_tensor *in, const char **rest, size_t *n,
                                 struct err *err)
{
    size_t bytes = (size_t)in->bytes;
    if (bytes == 0)
        return ERR_OK;
    if (in->data.at)
        return err_param(err, ERR_FORMAT, "data",
                         "input \"%.60s\" has data and a binary_data_size", in->name.at);
    if (bytes > *n)
        return err_param(err, ERR_FORMAT, "binary_data_size",
                         "input \"%.60s\": binary_data_size is %zu, but only %zu bytes "
                         "are left of the body",
                         in->name.at, bytes, *n);
    enum err_code code =
        oip_read_bytes(in->name.at, *rest, bytes, &in->texts, &in->n_texts, err);
    *rest += bytes;
    *n -= bytes;
    return code;
}

static enum err_code check_input(struct input_tensor *in, const char **rest, size_t *n,
                                 struct err *err)
{
    if (strcmp(in->datatype.at, "BYTES") != 0)
        return err_param(err, ERR_INPUT, "datatype",
                         "input \"%.60s\" must be BYTES, not \"%.20s\"", in->name.at,
                         in->datatype.at);
    if (take_binary(in, rest, n, err) != ERR_OK)
        return err->code;
    if (!in->data.at && !in->texts)
        return err_param(err, ERR_FORMAT, "data", "input \"%.60s\" has no data",
                         in->name.at);
    return check_shape(in, in->texts ? in->n_texts : in->data.n, err);
}

static void use_input(const struct input_tensor *in, const struct json_text **at,
                      size_t *n)
{
    *at = in->texts ? in->texts : in->data.at;
    *n = in->texts ? in->n_texts : in->data.n;
}

/* The texts, and the second ones if there are two inputs, whichever comes first. */
static enum err_code use_inputs(struct oip_job *j, struct err *err)
{
    size_t second = j->inputs.n, n_pairs;
    for (size_t i = 0; i < j->inputs.n && j->inputs.n > 1; i++)
        if (strcmp(input_at(j, i)->name.at, "text_pair") == 0)
            second = i;
    if (j->inputs.n == 1) {
        use_input(input_at(j, 0), &j->t.at, &j->t.n);
        return ERR_OK;
    }
    if (second == j->inputs.n)
        return err_param(err, ERR_INPUT, "inputs",
                         "of two inputs one is named \"text_pair\"; these are \"%.60s\" "
                         "and \"%.60s\"",
                         input_at(j, 0)->name.at, input_at(j, 1)->name.at);
    use_input(input_at(j, 1 - second), &j->t.at, &j->t.n);
    use_input(input_at(j, second), &j->t.pair, &n_pairs);
    if (n_pairs != j->t.n)
        return err_param(err, ERR_INPUT, "inputs",
                         "input \"%.60s\" has %zu elements, \"text_pair\" %zu",
                         input_at(j, 1 - second)->name.at, j->t.n, n_pairs);
    return ERR_OK;
}

static enum err_code check_inputs(struct oip_job *j, const char *rest, size_t n,
                                  struct err *err)
{
    for (size_t i = 0; i < j->inputs.n; i++)
        if (check_input(input_at(j, i), &rest, &n, err) != ERR_OK)
            return err->code;
    if (n)
        return err_param(err, ERR_FORMAT, "inputs",
                         "%zu bytes of the body belong to no input", n);
    return use_inputs(j, err);
}

/* ---- the body -------------------------------------------------------------------- */

/* The whole body is one text. */
static enum err_code read_raw(const struct request *q, struct oip_job *j, struct err *err)
{
    struct input_tensor *in = mem_zero(1, sizeof *in);
    struct json_text *text = mem_alloc(1, sizeof *text + q->body_n + 1);
    if (!in || !text) {
        mem_free(in);
        mem_free(text);
        return err_set(err, ERR_NOMEM, "out of memory for the request");
    }
    *text = (struct json_text){(char *)(text + 1), q->body_n};
    if (q->body_n)
        memcpy(text->at, q->body, q->body_n);
    text->at[q->body_n] = '\0';
    in->texts = text;
    in->n_texts = 1;
    j->inputs = (struct json_list){in, 1};
    j->binary = JSON_FLAG_TRUE;
    use_input(in, &j->t.at, &j->t.n);
    return ERR_OK;
}

/* Length of the JSON: the header's, or all of the body; SIZE_MAX if that is no length. */
static size_t json_length(const struct request *q)
{
    const char *value =
        q->header ? q->header(q, "Inference-Header-Content-Length") : NULL;
    size_t n = 0;
    if (!value)
        return q->body_n;
    if (!*value || strlen(value) > 15 || strspn(value, "0123456789") != strlen(value))
        return SIZE_MAX;
    for (; *value; value++)
        n = n * 10 + (size_t)(*value - '0');
    return n;
}

/* On failure what was read stays in it. */
static enum err_code read_body(const struct request *q, struct oip_job *j,
                               struct err *err)
{
    size_t n = json_length(q);
    if (n == 0 && q->body_n)
        return read_raw(q, j, err);
    if (n > q->body_n)
        return err_param(err, ERR_FORMAT, "Inference-Header-Content-Length",
                         "Inference-Header-Content-Length must be a number up to %zu, "
                         "the body's length",
                         q->body_n);
    enum err_code code = json_read(q->body, n, FIELDS, N_FIELDS, j, err);
    if (code == ERR_OK)
        code = check_inputs(j, q->body + n, q->body_n - n, err);
    return code;
}

/* ---- outputs --------------------------------------------------------------------- */

static enum err_code unknown_output(const struct oip_job *j, const char *name,
                                    struct err *err)
{
    char known[200] = "";
    size_t n = 0;
    for (size_t i = 0; i < OIP_OUTPUTS; i++)
        if (oip_gives(j->t.server, j->t.job.model, i))
            n += (size_t)snprintf(known + n, sizeof known - n, "%s%s", n ? ", " : "",
                                  OIP_OUTPUT_ROWS[i].name);
    return err_param(err, ERR_INPUT, "outputs",
                     "model \"%s\" has no output \"%.60s\"; it has %s",
                     j->t.job.model->name, name, known);
}

/* What of the output's parameters does not go with it. */
static enum err_code check_output(const struct oip_job *j, enum oip_output which,
                                  const struct output_ask *ask, bool binary,
                                  struct err *err)
{
    const char *name = OIP_OUTPUT_ROWS[which].name;
    for (size_t i = 0; i < j->n_tensors; i++)
        if (j->which[i] == which)
            return err_param(err, ERR_INPUT, "outputs",
                             "output \"%s\" is asked for twice", name);
    if (ask && ask->classes && which != OIP_PROBABILITIES && which != OIP_LOGITS)
        return err_param(err, ERR_INPUT, "classification",
                         "output \"%s\" is no row of labels; classification goes with "
                         "probabilities and logits",
                         name);
    if (ask && ask->half && (which != OIP_ATTENTIONS || !binary))
        return err_param(err, ERR_INPUT, "datatype",
                         "output \"%s\": FP16 is for attentions, with binary_data; JSON "
                         "has no form of it",
                         name);
    return ERR_OK;
}

static enum err_code add_output(struct oip_job *j, enum oip_output which,
                                const struct output_ask *ask, struct err *err)
{
    const struct oip_output_row *row = &OIP_OUTPUT_ROWS[which];
    const struct seq_info *info = j->t.job.model->info;
    size_t k = (size_t)j->top_k < info->vocab ? (size_t)j->top_k : info->vocab;
    enum json_flag flag =
        ask && ask->binary != JSON_FLAG_UNSAID ? ask->binary : j->binary;
    bool binary = flag == JSON_FLAG_TRUE;
    if (check_output(j, which, ask, binary, err) != ERR_OK)
        return err->code;
    j->inspects |= row->inspects;
    j->which[j->n_tensors] = which;
    j->classes[j->n_tensors] = ask ? (size_t)ask->classes : 0;
    j->tensors[j->n_tensors++] = (struct oip_tensor){
        .name = row->name,
        .datatype = ask && ask->half ? OIP_FP16 : row->datatype,
        .rank = row->rank,
        .shape = {j->t.n, row->task == SEQ_CLASSIFY ? info->n_labels : k},
        .binary = binary};
    return ERR_OK;
}

static enum err_code choose_outputs(struct oip_job *j, struct err *err)
{
    const struct output_ask *asked = j->outputs.at;
    const struct model *m = j->t.job.model;
    enum err_code code = ERR_OK;
    for (size_t i = 0; i < j->outputs.n && code == ERR_OK; i++) {
        size_t which = 0;
        while (which < OIP_OUTPUTS &&
               (!oip_gives(j->t.server, m, which) ||
                strcmp(OIP_OUTPUT_ROWS[which].name, asked[i].name.at) != 0))
            which++;
        code = which < OIP_OUTPUTS ? add_output(j, (enum oip_output)which, &asked[i], err)
                                   : unknown_output(j, asked[i].name.at, err);
    }
    for (size_t i = 0; i < OIP_OUTPUTS && j->outputs.n == 0 && code == ERR_OK; i++)
        if (oip_gives(j->t.server, m, i) && !OIP_OUTPUT_ROWS[i].inspects)
            code = add_output(j, (enum oip_output)i, NULL, err);
    return code;
}

/* ---- results --------------------------------------------------------------------- */

void oip_job_put_labels(struct oip_job *j, const float *logits, const float *scores)
{
    const struct model *m = j->t.job.model;
    size_t best = 0, L = m->info->n_labels;
    for (size_t l = 1; l < L; l++)
        if (scores[l] > scores[best])
            best = l;
    for (size_t i = 0; i < j->n_tensors; i++) {
        struct oip_tensor *t = &j->tensors[i];
        const float *row = j->which[i] == OIP_LOGITS ? logits : scores;
        if (OIP_OUTPUT_ROWS[j->which[i]].inspects)
            continue;
        if (j->which[i] == OIP_LABEL)
            oip_put_text(t, m->info->labels[best], strlen(m->info->labels[best]));
        else if (j->which[i] == OIP_SCORE)
            oip_put_float(t, row[best]);
        else
            for (size_t l = 0; l < L; l++)
                oip_put_float(t, row[l]);
    }
}

void oip_job_put_next(struct oip_job *j, const int32_t *ids, const float *logs, size_t n)
{
    const struct seq_model *m = j->t.job.model->seq;
    for (size_t i = 0; i < j->n_tensors; i++) {
        struct oip_tensor *t = &j->tensors[i];
        for (size_t k = 0; k < n; k++) {
            size_t bytes = 0;
            const char *text = seq_predicted_bytes(m, ids[k], &bytes);
            if (j->which[i] == OIP_NEXT_TOKEN)
                oip_put_text(t, text ? text : "", text ? bytes : 0);
            else if (j->which[i] == OIP_NEXT_TOKEN_ID)
                oip_put_int(t, ids[k]);
            else if (j->which[i] == OIP_NEXT_LOGPROBS)
                oip_put_float(t, logs[k]);
        }
    }
}

static void result(const struct text_ref *ref, const struct text_result *r)
{
    struct oip_job *j = oip_job(ref->job);
    int32_t ids[SEQ_TOP_MAX];
    float logs[SEQ_TOP_MAX];
    if (r->values) {
        seq_activate(j->t.job.model->seq, r->values, j->scores);
        oip_job_put_labels(j, r->values, j->scores);
        return;
    }
    if (r->next->n != j->tensors[0].shape[1]) {
        texts_fail(ref, "there are fewer tokens than the reply has room for");
        return;
    }
    for (size_t k = 0; k < r->next->n; k++) {
        ids[k] = r->next->at[k].tokens[0];
        logs[k] = (float)r->next->at[k].logprob;
    }
    oip_job_put_next(j, ids, logs, r->next->n);
}

/* ---- the reply ------------------------------------------------------------------- */

static void write_head(struct oip_job *j)
{
    struct json_writer *w = &j->t.out;
    json_write_object(w);
    json_write_key_string(w, "model_name", j->t.job.model->name);
    json_write_key_string(w, "model_version", OIP_VERSION);
    if (j->id.at) {
        json_write_key(w, "id");
        json_write_text(w, j->id.at, j->id.n);
    }
    json_write_key(w, "outputs");
    json_write_array(w);
    for (size_t i = 0; i < j->n_tensors; i++)
        oip_tensor_write(w, &j->tensors[i]);
    json_write_end(w);
    json_write_end(w);
}

static void frame(struct oip_job *j, size_t n)
{
    struct reply *reply = &j->t.job.reply;
    unsigned char *bytes = mem_alloc(n + 1, 1);
    size_t at = 0;
    for (size_t i = 0; i < j->n_tensors && bytes; i++) {
        const struct oip_tensor *t = &j->tensors[i];
        if (t->binary && t->data.n)
            memcpy(bytes + at, t->data.at, t->data.n);
        at += t->binary ? t->data.n : 0;
    }
    if (bytes)
        map_frame_binary(reply, &j->t.out, bytes, n);
    if (!bytes || reply->body.failed)
        err_set(&j->t.job.err, ERR_NOMEM, "out of memory for the reply");
}

static void end(struct text_job *job)
{
    struct oip_job *j = oip_job(job);
    size_t bytes = 0;
    bool binary = false, failed = false;
    for (size_t i = 0; i < j->n_tensors; i++) {
        struct oip_tensor *t = &j->tensors[i];
        if (j->classes[i] && !t->data.failed)
            oip_classify(t, j->classes[i], j->t.job.model->info->labels);
        failed |= t->data.failed;
        binary |= t->binary;
        bytes += t->binary ? t->data.n : 0;
    }
    if (failed) {
        err_set(&job->job.err, ERR_NOMEM, "out of memory for the outputs");
        return;
    }
    write_head(j);
    if (binary)
        frame(j, bytes);
}

static void name_text(const struct text_job *job, size_t i, bool second,
                      char param[ERR_PARAM_BYTES])
{
    (void)job;
    snprintf(param, ERR_PARAM_BYTES, "%s[%zu]", second ? "text_pair" : "text", i);
}

/* What the request's fields do not own. */
static void done(struct text_job *job)
{
    struct oip_job *j = oip_job(job);
    for (size_t i = 0; i < j->inputs.n; i++)
        mem_free(input_at(j, i)->texts);
    for (size_t i = 0; i < j->n_tensors; i++)
        buf_done(&j->tensors[i].data);
    mem_free(j->scores);
}

void oip_job_free(struct job *job)
{
    struct oip_job *j = oip_job((struct text_job *)job);
    done(&j->t);
    seq_tokens_done(&j->looked);
    json_write_done(&j->t.out);
    json_read_done(FIELDS, N_FIELDS, j);
    reply_done(&job->reply);
    mem_free(j);
}

static const struct text_form FORM = {
    .fields = FIELDS,
    .n_fields = N_FIELDS,
    .name = name_text,
    .result = result,
    .end = end,
    .done = done,
};

/* ---- the handler ----------------------------------------------------------------- */

/* Labels or next tokens in everybody's batches; zeroed `scores` stay for inspections. */
static enum err_code prepare_texts(struct oip_job *j, enum seq_task task, struct err *err)
{
    if (task == SEQ_CLASSIFY) {
        j->t.job.kind = &classification_kind;
        j->t.activation = SEQ_ACTIVATION_NONE;
        j->scores = mem_alloc(j->t.job.model->info->n_labels, sizeof *j->scores);
        return j->scores ? ERR_OK
                         : err_set(err, ERR_NOMEM, "out of memory for the scores");
    }
    j->t.job.kind = &next_word_kind;
    j->ask = (struct next_word_ask){.top_k = (size_t)j->top_k, .unit = SEQ_UNIT_TOKEN};
    j->t.next = &j->ask;
    return ERR_OK;
}

/* All that can be said before the texts are looked at. */
static enum err_code prepare(struct oip_job *j, struct err *err)
{
    enum seq_task task = oip_task(j->t.job.model);
    if (j->sequence_start != JSON_FLAG_UNSAID || j->sequence_end != JSON_FLAG_UNSAID)
        return err_param(err, ERR_INPUT, "sequence_id",
                         "model \"%s\" keeps no sequences between requests",
                         j->t.job.model->name);
    j->t.whole = j->truncate == JSON_FLAG_FALSE;
    j->t.keep = SEQ_KEEP_USUAL;
    j->t.job.wait_us = (uint64_t)j->timeout_us;
    if (choose_outputs(j, err) != ERR_OK)
        return err->code;
    if (j->inspects)
        return oip_inspect_prepare(j, err);
    if (!task)
        return err_param(err, ERR_TASK, "model",
                         "model \"%s\" has neither labels nor next tokens to tell",
                         j->t.job.model->name);
    return prepare_texts(j, task, err);
}

static enum err_code read_request(struct server *s, const struct request *q,
                                  struct oip_job *j, struct err *err)
{
    j->t.server = s;
    j->t.form = &FORM;
    j->t.job.model = oip_model(s, q, err);
    if (!j->t.job.model)
        return err->code;
    enum err_code code = read_body(q, j, err);
    return code == ERR_OK ? prepare(j, err) : code;
}

enum err_code oip_infer_handle(struct server *s, const struct request *q,
                               struct answer *out, struct err *err)
{
    struct oip_job *j = mem_zero(1, sizeof *j);
    if (!j)
        return err_set(err, ERR_NOMEM, "out of memory for the request");
    j->top_k = TOP_K;
    enum err_code code = read_request(s, q, j, err);
    if (code != ERR_OK) {
        oip_job_free(&j->t.job);
        return code;
    }
    bool labels = j->t.job.kind == &classification_kind;
    if (!j->inspects)
        code = texts_prepare(s, labels ? &classification_task : &next_word_task, &FORM,
                             &j->t, err);
    if (code != ERR_OK) {
        mem_free(j);
        return code;
    }
    out->job = &j->t.job;
    return ERR_OK;
}
