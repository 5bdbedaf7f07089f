#include "server/api/attention_request.h"

#include "server/api/attention.h"
#include "server/api/attention_reply.h"
#include "server/api/examples.h"
#include "server/json_write.h"

/* Eight digits: a row of up to 1000 weights still sums to 1 within 1e-5. */
enum {
    DECIMALS = 8,
    POOL_LEAST = 8,
    POOL_MOST = 64,
    TOP_MOST = 65536,
    WEIGHT_MOST = 1000000
};

const char *const ATTENTION_KINDS[] = {[SEQ_MAP_WEIGHTS] = "weights",
                                       [SEQ_MAP_SCORES] = "scores",
                                       [SEQ_MAP_VALUE_NORMS] = "value_norm",
                                       NULL};
static const char *const HEADS_BY[] = {[MAPS_NONE] = "none",
                                       [MAPS_MEAN] = "mean",
                                       [MAPS_MAX] = "max",
                                       [MAPS_MIN] = "min",
                                       NULL};
static const char *const LAYERS_BY[] = {[LAYERS_NONE] = "none",
                                        [LAYERS_MEAN] = "mean",
                                        [LAYERS_MAX] = "max",
                                        [LAYERS_ROLLOUT] = "rollout",
                                        NULL};
static const char *const TOKENS_BY[] = {"none", "word", NULL};
static const char *const SPECIALS[] = {[SPECIALS_KEEP] = "keep",
                                       [SPECIALS_DROP] = "drop",
                                       [SPECIALS_DROP_RENORMALIZE] = "drop_renormalize",
                                       NULL};

#define AT(member) offsetof(struct attention_request, member)
static const struct json_field REDUCE[] = {
    {.name = "heads",
     .type = JSON_FIELD_CHOICE,
     .offset = AT(heads_by),
     .choices = HEADS_BY,
     .help = "One map of the chosen heads of each layer; default none"},
    {.name = "layers",
     .type = JSON_FIELD_CHOICE,
     .offset = AT(layers_by),
     .choices = LAYERS_BY,
     .help = "One map of the chosen layers; rollout (Abnar and Zuidema 2020) is the "
             "product, from the lowest to the highest, of (mean of heads + identity) / "
             "2; default none"},
    {.name = "tokens",
     .type = JSON_FIELD_CHOICE,
     .offset = AT(tokens_by),
     .choices = TOKENS_BY,
     .help = "word: rows and keys are words, see words; weights to a word's tokens are "
             "added, those from them averaged (Clark et al. 2019); default none"},
};
static const struct json_field GENERATE[] = {
    {.name = "max_tokens",
     .type = JSON_FIELD_INT,
     .offset = AT(max_tokens),
     .min = 1,
     .max = ATTENTION_MAX_TOKENS,
     .help = "How many tokens to generate at most, the likeliest each time"},
};

static const struct json_field FIELDS[] = {
    INPUT_FIELDS(attention_request, input),
    {.name = "model",
     .type = JSON_FIELD_TEXT,
     .offset = AT(model),
     .help = "Name of a loaded model; left out: the first encoder, else the first "
             "decoder, else the first model with attention pooling"},
    {.name = "kind",
     .type = JSON_FIELD_CHOICE,
     .offset = AT(kind),
     .choices = ATTENTION_KINDS,
     .help = "weights (default): behind the softmax; scores: before it, scaled, null (in "
             "binary -infinity) where a query does not look; value_norm: weight times "
             "the length of the value behind the output projection (Kobayashi et al. "
             "2020)"},
    {.name = "layers",
     .type = JSON_FIELD_INTS,
     .offset = AT(layers),
     .help = "Indexes from 0, negative ones from the end; default all. The reply keeps "
             "the order; an empty list asks for the tokens alone"},
    {.name = "heads",
     .type = JSON_FIELD_INTS,
     .offset = AT(heads),
     .help = "Heads, or hops of attention pooling, as layers; default all. Where heads "
             "share keys these are query heads, see kv_group"},
    {.name = "select",
     .type = JSON_FIELD_PAIRS,
     .offset = AT(select),
     .min = 1,
     .help = "Single heads as [layer, head], in place of layers and heads"},
    {.name = "queries",
     .type = JSON_FIELD_INTS,
     .offset = AT(queries),
     .choices = JSON_ALL_OR_LAST,
     .help = "Rows of the maps, as layers; default all. Attention pooling has one"},
    {.name = "reduce",
     .type = JSON_FIELD_OBJECT,
     .members = REDUCE,
     .n_members = sizeof REDUCE / sizeof *REDUCE,
     .help = "Fewer and smaller maps, in this order: heads, layers, tokens"},
    {.name = "special_tokens",
     .type = JSON_FIELD_CHOICE,
     .offset = AT(specials),
     .choices = SPECIALS,
     .help = "drop takes out rows and keys of special tokens, drop_renormalize divides "
             "each row by what is left; default keep"},
    {.name = "pool",
     .type = JSON_FIELD_INT,
     .offset = AT(pool),
     .min = 0,
     .max = POOL_MOST,
     .help = "Thumbnails of at most so many rows and keys, 8 to 64: each cell the "
             "largest of its part; default 0, none"},
    {.name = "top_k",
     .type = JSON_FIELD_INT,
     .offset = AT(top_k),
     .min = 0,
     .max = TOP_MOST,
     .help = "Only the so many largest of each row, see sparse; default 0, all"},
    {.name = "min_weight",
     .type = JSON_FIELD_NUMBER,
     .offset = AT(min_weight),
     .min = 0,
     .max = WEIGHT_MOST,
     .help = "Only those of each row that are no smaller, see sparse; with top_k at most "
             "so many of them; default 0, all"},
    {.name = "metrics",
     .type = JSON_FIELD_BOOL,
     .offset = AT(metrics),
     .help = "Also numbers and labels of every chosen head, over all its rows; default "
             "false. With \"queries\":[] only these"},
    {.name = "predict",
     .type = JSON_FIELD_BOOL,
     .offset = AT(predict),
     .help = "What the model says of this text, from the same pass: label and scores, or "
             "the next tokens; default true. false may compute fewer layers"},
    {.name = "generate",
     .type = JSON_FIELD_OBJECT,
     .members = GENERATE,
     .n_members = sizeof GENERATE / sizeof *GENERATE,
     .help = "Continues the text first; rows are then all tokens that were read, the "
             "text's and the generated ones but the last"},
    {.name = "encoding",
     .type = JSON_FIELD_CHOICE,
     .offset = AT(encoding),
     .choices = MAP_ENCODINGS,
     .help = "json; binary: the JSON without data, padded to 8 bytes "
             "(Inference-Header-Content-Length), then the tensors named in outputs; npy: "
             "the maps alone. Default: as Accept says (application/octet-stream, "
             "application/x-npy), else json"},
    {.name = "dtype",
     .type = JSON_FIELD_CHOICE,
     .offset = AT(dtype),
     .choices = MAP_DTYPES,
     .help = "float32 (default); float16, not in json; uint8: steps of scale, of weights "
             "only"},
    {.name = "decimals",
     .type = JSON_FIELD_INT,
     .offset = AT(decimals),
     .min = 1,
     .max = JSON_WRITE_DECIMALS,
     .help = "Digits behind the point, default 8; fewer make the reply smaller and rows "
             "sum to 1 less exactly, see rounding"},
};
#undef AT
enum { N_FIELDS = sizeof FIELDS / sizeof *FIELDS };

const struct route_doc attention_doc = {
    .name = "attention",
    .fields = FIELDS,
    .n_fields = N_FIELDS,
    .one_of = INPUT_ONE_OF,
    .reply = attention_reply_shape,
    .media = MAP_MEDIA,
    .example = "{\"text\":\"a café, not great\",\"layers\":[-1],\"heads\":[0],"
               "\"decimals\":4}",
    .answer = examples_attention,
    .more =
        "A text longer than the model's context is cut: a language model keeps the "
        "end, others the beginning; of a pair the longer text loses tokens first. "
        "Steps in this order: reduce heads, layers, tokens; special_tokens; queries; "
        "pool, or top_k and min_weight. Metrics are of the weights before all of these. "
        "Maps larger than the server's limit (in binary 16 times that) are refused "
        "(413) before anything is computed. Attention shows where a model looked, "
        "not why it answered as it did.",
};

/* ---- reading --------------------------------------------------------------------- */

enum err_code attention_request_read(const struct request *q, struct attention_request *r,
                                     struct err *err)
{
    *r = (struct attention_request){.encoding = MAP_ENCODING_UNSAID,
                                    .decimals = DECIMALS,
                                    .predict = true,
                                    .input.truncate = true};
    enum err_code code = json_read(q->body, q->body_n, FIELDS, N_FIELDS, r, err);
    if (code == ERR_OK && r->encoding == MAP_ENCODING_UNSAID)
        r->encoding = (int)map_encoding_accepted(q);
    return code;
}

void attention_request_done(struct attention_request *r)
{
    json_read_done(FIELDS, N_FIELDS, r);
}

/* ---- what goes together ---------------------------------------------------------- */

static bool given(const struct json_ints *list)
{
    return list->at || list->all || list->last;
}

static enum err_code check_input(const struct attention_request *r, const struct model *m,
                                 struct err *err)
{
    enum err_code code = input_check(&r->input, m, err);
    if (code == ERR_OK && r->tokens_by && r->input.ids.at)
        return err_param(err, ERR_INPUT, "reduce.tokens",
                         "\"input_ids\" have no words, only a text has");
    return code;
}

static enum err_code check_generate(const struct attention_request *r,
                                    const struct model *m, struct err *err)
{
    if (!r->max_tokens)
        return ERR_OK;
    if (m->info->mask != SEQ_MASK_CAUSAL || !(m->info->tasks & SEQ_NEXT_WORD))
        return err_param(err, ERR_INPUT, "generate",
                         "\"%s\" generates nothing; a decoder that is a language model "
                         "does",
                         m->name);
    if (r->tokens_by)
        return err_param(err, ERR_INPUT, "reduce.tokens",
                         "generated tokens have no words, only a text has");
    return ERR_OK;
}

static bool reduces(const struct attention_request *r)
{
    return r->heads_by != MAPS_NONE || r->layers_by != LAYERS_NONE;
}

/* The field that asks for it, NULL: none does. */
static const char *sparse(const struct attention_request *r)
{
    return r->top_k ? "top_k" : r->min_weight > 0 ? "min_weight" : NULL;
}

static enum err_code check_which(const struct attention_request *r, struct err *err)
{
    if (r->select.at && (given(&r->layers) || given(&r->heads)))
        return err_param(err, ERR_FORMAT, "select",
                         "\"select\" stands in place of \"layers\" and \"heads\"");
    if (r->select.at && reduces(r))
        return err_param(err, ERR_INPUT, "select",
                         "\"select\" names single heads; \"reduce\" needs \"layers\" and "
                         "\"heads\"");
    if (r->pool && r->pool < POOL_LEAST)
        return err_param(err, ERR_INPUT, "pool", "\"pool\" must be 0 or from %d to %d",
                         POOL_LEAST, POOL_MOST);
    if (r->pool && (r->queries.at || r->queries.last))
        return err_param(err, ERR_INPUT, "queries", "\"pool\" is of all rows");
    if (r->pool && sparse(r))
        return err_param(err, ERR_INPUT, sparse(r),
                         "\"pool\" and \"%s\" don't go together", sparse(r));
    return ERR_OK;
}

/* Scores are no shares of anything: they can't be added up or left over. */
static enum err_code check_kind(const struct attention_request *r, struct err *err)
{
    bool scores = r->kind == SEQ_MAP_SCORES, weights = r->kind == SEQ_MAP_WEIGHTS;
    if (r->layers_by == LAYERS_ROLLOUT && !weights)
        return err_param(err, ERR_INPUT, "reduce.layers", "rollout is of weights");
    if (r->layers_by == LAYERS_ROLLOUT && r->heads_by > MAPS_MEAN)
        return err_param(err, ERR_INPUT, "reduce.heads",
                         "rollout takes the mean of the heads");
    if (scores && r->tokens_by)
        return err_param(err, ERR_INPUT, "reduce.tokens", "scores don't add up to words");
    if (scores && r->specials == SPECIALS_DROP_RENORMALIZE)
        return err_param(err, ERR_INPUT, "special_tokens", "scores have no sum");
    if (scores && sparse(r))
        return err_param(err, ERR_INPUT, sparse(r), "scores have no sum to be left over");
    if (r->metrics && !weights)
        return err_param(err, ERR_INPUT, "metrics", "metrics are of weights");
    if (r->dtype == MAP_UINT8 && !weights)
        return err_param(err, ERR_INPUT, "dtype", "uint8 is for weights");
    return ERR_OK;
}

static enum err_code check_form(const struct attention_request *r, struct err *err)
{
    if (r->encoding == MAP_JSON && r->dtype == MAP_FLOAT16)
        return err_param(err, ERR_INPUT, "dtype",
                         "float16 needs \"encoding\":\"binary\" or \"npy\"");
    if (r->encoding == MAP_NPY && r->metrics)
        return err_param(err, ERR_INPUT, "metrics", "npy holds the maps alone");
    if (r->encoding == MAP_NPY && sparse(r))
        return err_param(err, ERR_INPUT, sparse(r), "npy holds one array");
    return ERR_OK;
}

static enum err_code check_pooling(const struct attention_request *r,
                                   const struct model *m, struct err *err)
{
    const char *param = r->pool                       ? "pool"
                        : r->metrics                  ? "metrics"
                        : r->select.at                ? "select"
                        : r->layers_by != LAYERS_NONE ? "reduce.layers"
                                                      : NULL;
    if (m->info->mask != SEQ_MASK_POOLING || !param)
        return ERR_OK;
    return err_param(err, ERR_INPUT, param,
                     "\"%s\" has one row of weights for each hop, no square maps",
                     m->name);
}

enum err_code attention_request_check(const struct attention_request *r,
                                      const struct model *m, struct err *err)
{
    enum err_code code = check_input(r, m, err);
    if (code == ERR_OK)
        code = check_generate(r, m, err);
    if (code == ERR_OK)
        code = check_which(r, err);
    if (code == ERR_OK)
        code = check_kind(r, err);
    if (code == ERR_OK)
        code = check_form(r, err);
    return code == ERR_OK ? check_pooling(r, m, err) : code;
}
