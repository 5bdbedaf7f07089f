#include "server/api/states_request.h"

#include "server/api/examples.h"
#include "server/api/states.h"
#include "server/api/states_reply.h"

enum { DECIMALS = 6, TOP_DEFAULT = 32, TOP_MOST = 65536, TOKENS_MOST = 20 };

static const char *const BY[] = {[STATES_BY_VARIANCE] = "variance",
                                 [STATES_BY_ABS_MEAN] = "abs_mean",
                                 [STATES_BY_DELTA] = "delta",
                                 [STATES_BY_CORR_OUTPUT] = "corr_output",
                                 NULL};
/* In the order of enum map_dtype; steps of 1/255 are for shares of 1. */
static const char *const DTYPES[] = {"float32", "float16", NULL};

#define AT(member) offsetof(struct states_request, member)
static const struct json_field UNITS[] = {
    {.name = "top",
     .type = JSON_FIELD_INT,
     .offset = AT(top),
     .min = 1,
     .max = TOP_MOST,
     .help = "How many, of each layer and direction; default 32"},
    {.name = "by",
     .type = JSON_FIELD_CHOICE,
     .offset = AT(by),
     .choices = BY,
     .help = "variance (default), abs_mean: the mean of its absolute values, delta: the "
             "mean absolute change between steps; of h or hidden over all steps. "
             "corr_output: its correlation (absolute) with the running score of the "
             "label that the text gets, or with the surprisal of the token read"},
};
static const struct json_field PER_STEP[] = {
    {.name = "top_k",
     .type = JSON_FIELD_INT,
     .offset = AT(step_top),
     .required = true,
     .min = 0,
     .max = TOKENS_MOST,
     .help = "How many of the likeliest next tokens"},
};
static const struct json_field LENS[] = {
    {.name = "top_k",
     .type = JSON_FIELD_INT,
     .offset = AT(lens_top),
     .required = true,
     .min = 1,
     .max = TOKENS_MOST,
     .help = "How many of the likeliest tokens"},
};

static const struct json_field FIELDS[] = {
    INPUT_FIELDS(states_request, input),
    {.name = "model",
     .type = JSON_FIELD_TEXT,
     .offset = AT(model),
     .help = "Name of a loaded model; left out: the first recurrent one, else the first"},
    {.name = "layers",
     .type = JSON_FIELD_INTS,
     .offset = AT(layers),
     .help = "Indexes from 0, negative ones from the end; default all. Of transformers 0 "
             "is the embeddings and the last behind the final norm"},
    {.name = "directions",
     .type = JSON_FIELD_TEXT_OR_TEXTS,
     .offset = AT(directions),
     .help = "all (default), forward, backward or a list of these"},
    {.name = "signals",
     .type = JSON_FIELD_TEXT_OR_TEXTS,
     .offset = AT(signals),
     .help = "all (default), one name or a list: LSTM i, f, g, o, c, tanh_c, h; GRU r, "
             "z, n, h; RNN h; transformers hidden"},
    {.name = "units",
     .type = JSON_FIELD_INTS_OR_OBJECT,
     .offset = AT(units),
     .members = UNITS,
     .n_members = sizeof UNITS / sizeof *UNITS,
     .help = "A list of indexes, all, or the first of a ranking, which may differ from "
             "layer to layer; default {\"top\":32,\"by\":\"variance\"}"},
    {.name = "steps",
     .type = JSON_FIELD_INTS,
     .offset = AT(steps),
     .choices = JSON_ALL_OR_LAST,
     .help = "Positions of tokens, as layers; default all. Rankings and stats are of all "
             "steps in any case"},
    {.name = "per_step",
     .type = JSON_FIELD_OBJECT,
     .members = PER_STEP,
     .n_members = sizeof PER_STEP / sizeof *PER_STEP,
     .help = "What the model says at each of the steps: a language model the next token, "
             "a classifier the scores of the text so far"},
    {.name = "lens",
     .type = JSON_FIELD_OBJECT,
     .members = LENS,
     .n_members = sizeof LENS / sizeof *LENS,
     .help = "The rows of the chosen layers and steps through the final norm and the "
             "output head (nostalgebraist 2020); transformers that predict tokens"},
    {.name = "stats",
     .type = JSON_FIELD_BOOL,
     .offset = AT(stats),
     .help = "Figures of each unit over all steps; default true"},
    {.name = "predict",
     .type = JSON_FIELD_BOOL,
     .offset = AT(predict),
     .help = "What the model says of this text, from the same pass; default true. false "
             "may compute fewer layers"},
    {.name = "encoding",
     .type = JSON_FIELD_CHOICE,
     .offset = AT(encoding),
     .choices = MAP_ENCODINGS,
     .help = "json; binary: the JSON without data, padded to 8 bytes "
             "(Inference-Header-Content-Length), then the tensor named in outputs; npy: "
             "the states alone. Default: as Accept says (application/octet-stream, "
             "application/x-npy), else json"},
    {.name = "dtype",
     .type = JSON_FIELD_CHOICE,
     .offset = AT(dtype),
     .choices = DTYPES,
     .help = "float32 (default); float16, not in json"},
    {.name = "decimals",
     .type = JSON_FIELD_INT,
     .offset = AT(decimals),
     .min = 1,
     .max = JSON_WRITE_DECIMALS,
     .help = "Digits behind the point, default 6"},
};
#undef AT
enum { N_FIELDS = sizeof FIELDS / sizeof *FIELDS };

const struct route_doc states_doc = {
    .name = "states",
    .fields = FIELDS,
    .n_fields = N_FIELDS,
    .one_of = INPUT_ONE_OF,
    .reply = states_reply_shape,
    .media = MAP_MEDIA,
    .example = "{\"text\":\"not bad\",\"units\":{\"top\":2},"
               "\"per_step\":{\"top_k\":0},\"decimals\":4}",
    .answer = examples_states,
    .more = "Recurrent layers tell gates and states by direction, step and unit, so that "
            "h = o * tanh_c and c = f * c before + i * g (LSTM), h = (1 - z) * n + z * h "
            "before (GRU); transformers the hidden rows behind each layer. More numbers "
            "than the server's limit (in binary 16 times that) are refused (413) before "
            "anything is computed.",
};

/* ---- reading --------------------------------------------------------------------- */

enum err_code states_request_read(const struct request *q, struct states_request *r,
                                  struct err *err)
{
    *r = (struct states_request){.input.truncate = true,
                                 .top = TOP_DEFAULT,
                                 .step_top = -1,
                                 .lens_top = -1,
                                 .encoding = MAP_ENCODING_UNSAID,
                                 .decimals = DECIMALS,
                                 .stats = true,
                                 .predict = true};
    enum err_code code = json_read(q->body, q->body_n, FIELDS, N_FIELDS, r, err);
    if (code == ERR_OK && r->encoding == MAP_ENCODING_UNSAID)
        r->encoding = (int)map_encoding_accepted(q);
    return code;
}

void states_request_done(struct states_request *r)
{
    json_read_done(FIELDS, N_FIELDS, r);
}

/* ---- what goes together ---------------------------------------------------------- */

bool states_tells_next(const struct seq_info *info)
{
    return info->tasks & SEQ_NEXT_WORD && !info->mask_token;
}

bool states_tells_score(const struct seq_info *info)
{
    return info->tasks & SEQ_CLASSIFY;
}

static enum err_code check_steps(const struct states_request *r, const struct model *m,
                                 struct err *err)
{
    const struct seq_info *info = m->info;
    bool tells = states_tells_next(info) || states_tells_score(info);
    if (r->step_top >= 0 && info->mask_token)
        return err_param(err, ERR_INPUT, "per_step",
                         "\"%s\" reads a text from both sides and predicts no next "
                         "token; \"lens\" shows what it makes of each token",
                         m->name);
    if (r->step_top >= 0 && !tells)
        return err_param(err, ERR_INPUT, "per_step",
                         "\"%s\" has no output layer: it says nothing step by step",
                         m->name);
    if (r->by == STATES_BY_CORR_OUTPUT && !tells)
        return err_param(err, ERR_INPUT, "units.by",
                         "\"%s\" says nothing step by step that units could go with",
                         m->name);
    return ERR_OK;
}

static enum err_code check_lens(const struct states_request *r, const struct model *m,
                                struct err *err)
{
    if (r->lens_top < 0 || m->info->lens)
        return ERR_OK;
    if (m->info->recurrent)
        return err_param(err, ERR_INPUT, "lens",
                         "\"%s\" is a recurrent net, whose output layer reads the top "
                         "layer alone: see \"per_step\"",
                         m->name);
    return err_param(err, ERR_INPUT, "lens",
                     "\"%s\" has no output head over its vocabulary", m->name);
}

static enum err_code check_form(const struct states_request *r, struct err *err)
{
    if (r->encoding == MAP_JSON && r->dtype == MAP_FLOAT16)
        return err_param(err, ERR_INPUT, "dtype",
                         "float16 needs \"encoding\":\"binary\" or \"npy\"");
    if (r->encoding == MAP_NPY && r->step_top >= 0)
        return err_param(err, ERR_INPUT, "per_step", "npy holds the states alone");
    if (r->encoding == MAP_NPY && r->lens_top >= 0)
        return err_param(err, ERR_INPUT, "lens", "npy holds the states alone");
    return ERR_OK;
}

enum err_code states_request_check(const struct states_request *r, const struct model *m,
                                   struct err *err)
{
    enum err_code code = input_check(&r->input, m, err);
    if (code == ERR_OK)
        code = check_steps(r, m, err);
    if (code == ERR_OK)
        code = check_lens(r, m, err);
    return code == ERR_OK ? check_form(r, err) : code;
}
