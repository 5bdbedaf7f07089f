/* Encoders: what their config.json may say. Defaults are those of transformers. */
#include "model/load/config_keys.h"
#include "model/load/json.h"

#include <string.h>

static const char *const NAME = "config.json";

/* ---- tables ------------------------------------------------------------------------ */

#define ONLY_ENCODES                                                                     \
    ONLY("is_decoder", "false"), ONLY("add_cross_attention", "false"),                   \
        ONLY("is_encoder_decoder", "false"), EMPTY("pruned_heads")

/* What BERT and the families that grew out of it call their sizes. */
#define BERT_SIZES                                                                       \
    SIZE("vocab_size", vocab, 1, VOCAB_MAX),                                             \
        SIZE("max_position_embeddings", context, 1, CONTEXT_MAX),                        \
        SIZE("hidden_size", width, 1, WIDTH_MAX),                                        \
        SIZE("num_hidden_layers", n_layers, 1, LAYERS_MAX),                              \
        SIZE("num_attention_heads", n_heads, 1, HEADS_MAX),                              \
        SIZE("intermediate_size", mlp_width, 1, MLP_MAX)

#define BERT_COMMON                                                                      \
    BERT_SIZES, CHOICE_OR("hidden_act", act, CONFIG_ACTS, ACT_GELU_ERF),                 \
        EPS_OR("layer_norm_eps", 1e-12), BOOL_OR("tie_word_embeddings", tied, true),     \
        ONLY_ENCODES

static const struct config_key BERT_KEYS[] = {
    BERT_COMMON,
    SIZE_OR("type_vocab_size", n_types, 1, TYPES_MAX, 2),
    ONLY("position_embedding_type", "\"absolute\""),
};

static const struct config_key ELECTRA_KEYS[] = {
    BERT_COMMON,
    SIZE_OR("type_vocab_size", n_types, 1, TYPES_MAX, 2),
    SIZE_OR("embedding_size", embedding_width, 1, WIDTH_MAX, 128),
    ONLY("position_embedding_type", "\"absolute\""),
};

/* transformers computes the buckets of 32, whatever the table's size. */
static const struct config_key MPNET_KEYS[] = {
    BERT_COMMON,
    SIZE_OR("relative_attention_num_buckets", n_buckets, 32, 32, 32),
};

static const struct config_key DISTILBERT_KEYS[] = {
    SIZE("vocab_size", vocab, 1, VOCAB_MAX),
    SIZE("max_position_embeddings", context, 1, CONTEXT_MAX),
    SIZE("dim", width, 1, WIDTH_MAX),
    SIZE("n_layers", n_layers, 1, LAYERS_MAX),
    SIZE("n_heads", n_heads, 1, HEADS_MAX),
    SIZE("hidden_dim", mlp_width, 1, MLP_MAX),
    CHOICE_OR("activation", act, CONFIG_ACTS, ACT_GELU_ERF),
    BOOL_OR("tie_word_embeddings", tied, true),
    ONLY_ENCODES,
};

static const struct key_choice CLASSIFIER_POOLINGS[] = {
    {"cls", POOL_FIRST},
    {"mean", POOL_MEAN},
    {NULL, 0},
};

static const struct config_key MODERNBERT_KEYS[] = {
    BERT_SIZES,
    CHOICE_OR("hidden_activation", act, CONFIG_ACTS, ACT_GELU_ERF),
    EPS_OR("norm_eps", 1e-5),
    SIZE_OR("local_attention", window, 1, CONTEXT_MAX, 128),
    SIZE_OR("global_attn_every_n_layers", window_every, 1, LAYERS_MAX, 3),
    BOOL_OR("norm_bias", norm_bias, false),
    BOOL_OR("attention_bias", attention_bias, false),
    BOOL_OR("mlp_bias", mlp_bias, false),
    BOOL_OR("classifier_bias", head_bias, false),
    BOOL_OR("decoder_bias", output_bias, true),
    CHOICE_OR("classifier_activation", head_act, CONFIG_ACTS, ACT_GELU_ERF),
    CHOICE_OR("classifier_pooling", pooling, CLASSIFIER_POOLINGS, POOL_FIRST),
    BOOL_OR("tie_word_embeddings", tied, true),
    ONLY_ENCODES,
};

/* pooler_* and directionality are notes of the original TensorFlow files. summary_*
 * belong to a head for multiple choice. */
static const char *const BERT_OTHER[] = {
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "classifier_dropout",
    "directionality",
    "pooler_fc_size",
    "pooler_num_attention_heads",
    "pooler_num_fc_layers",
    "pooler_size_per_head",
    "pooler_type",
    "output_past",
    "summary_type",
    "summary_use_proj",
    "summary_activation",
    "summary_last_dropout",
    NULL,
};

/* sinusoidal_pos_embds says what the position table was filled with before training. */
static const char *const DISTILBERT_OTHER[] = {
    "dropout",
    "attention_dropout",
    "qa_dropout",
    "seq_classif_dropout",
    "sinusoidal_pos_embds",
    "tie_weights_",
    "output_past",
    NULL,
};

/* check_modernbert reads the first block itself. The net has no table of positions, so
 * that position_embedding_type says nothing; sparse_prediction matters only where a loss
 * is computed. */
static const char *const MODERNBERT_OTHER[] = {
    "global_rope_theta",
    "local_rope_theta",
    "rope_parameters",
    "layer_types",

    "attention_dropout",
    "embedding_dropout",
    "mlp_dropout",
    "classifier_dropout",
    "initializer_cutoff_factor",
    "layer_norm_eps",
    "position_embedding_type",
    "deterministic_flash_attn",
    "reference_compile",
    "repad_logits_with_grad",
    "sparse_prediction",
    "sparse_pred_ignore_index",
    NULL,
};

/* ---- what the keys say together ---------------------------------------------------- */

/* The head's own layer: `labels` in a classifier, `masked` before the output layer. */
static void set_layout(struct config *c, enum layout layout, enum act labels,
                       enum act masked)
{
    c->layout = layout;
    c->head_act = c->head == HEAD_MASKED_LM ? masked : labels;
    c->tied &= c->head == HEAD_MASKED_LM;
    if (!c->embedding_width)
        c->embedding_width = c->width;
}

/* A text's positions count from behind padding_idx, whose row stands for pads. */
static enum err_code count_positions(struct config *c, size_t padding_idx,
                                     struct err *err)
{
    size_t first = padding_idx + 1;
    if (c->context <= first)
        return err_set(err, ERR_MISMATCH,
                       "%s: max_position_embeddings %zu has no room for a text, whose "
                       "positions begin at %zu",
                       NAME, c->context, first);
    c->first_position = first;
    c->context -= first;
    return config_keys_heads(c, "hidden_size", "num_attention_heads", err);
}

static enum err_code check_bert(const json_t *root, struct config *c, struct err *err)
{
    (void)root;
    set_layout(c, LAYOUT_BERT, ACT_TANH, c->act);
    return config_keys_heads(c, "hidden_size", "num_attention_heads", err);
}

static enum err_code check_distilbert(const json_t *root, struct config *c,
                                      struct err *err)
{
    (void)root;
    c->norm_eps = 1e-12F;
    set_layout(c, LAYOUT_DISTILBERT, ACT_RELU, c->act);
    return config_keys_heads(c, "dim", "n_heads", err);
}

static enum err_code check_roberta(const json_t *root, struct config *c, struct err *err)
{
    int64_t pad = 1;
    struct json_range range = {0, (int64_t)c->vocab - 1};
    set_layout(c, LAYOUT_ROBERTA, ACT_TANH, ACT_GELU_ERF);
    if (json_read_has(root, "pad_token_id")) {
        enum err_code code =
            json_read_integer(root, NAME, "pad_token_id", range, &pad, err);
        if (code != ERR_OK)
            return code;
    }
    return count_positions(c, (size_t)pad, err);
}

static enum err_code check_electra(const json_t *root, struct config *c, struct err *err)
{
    (void)root;
    set_layout(c, LAYOUT_ELECTRA, ACT_GELU_ERF, ACT_GELU_ERF);
    return config_keys_heads(c, "hidden_size", "num_attention_heads", err);
}

/* Its padding_idx is 1, whatever pad_token_id says. */
static enum err_code check_mpnet(const json_t *root, struct config *c, struct err *err)
{
    (void)root;
    set_layout(c, LAYOUT_MPNET, ACT_TANH, ACT_GELU_ERF);
    return count_positions(c, 1, err);
}

/* ---- ModernBERT -------------------------------------------------------------------- */

static const char FULL[] = "full_attention", SLIDING[] = "sliding_attention";

/* rope_parameters of transformers 5: {layer type: {rope_type, rope_theta}}. */
static enum err_code read_parameters(const json_t *root, const char *layers,
                                     double *theta, struct err *err)
{
    static const char *const known[] = {"rope_type", "rope_theta"};
    static const char *const types[] = {"default"};
    const char *where = layers == FULL
                            ? "config.json: rope_parameters: full_attention"
                            : "config.json: rope_parameters: sliding_attention";
    json_t *all = NULL, *own = NULL;
    size_t which;
    if (!json_read_has(root, "rope_parameters"))
        return ERR_OK;
    enum err_code code = json_read_object(root, NAME, "rope_parameters", &all, err);
    if (code != ERR_OK || !json_read_has(all, layers))
        return code;
    code = json_read_object(all, "config.json: rope_parameters", layers, &own, err);
    if (code == ERR_OK)
        code = json_read_known(own, where, known, CONFIG_COUNT(known), err);
    if (code == ERR_OK && json_read_has(own, "rope_type"))
        code = json_read_choice(own, where, "rope_type", types, 1, &which, err);
    if (code == ERR_OK && json_read_has(own, "rope_theta"))
        code = json_read_real(own, where, "rope_theta", (struct json_reals){1e-6, 1e12},
                              theta, err);
    return code;
}

/* rope_parameters first, then the key of transformers 4, then `fallback`. */
static enum err_code read_rope(const json_t *root, const char *layers, const char *key,
                               double fallback, struct rope_config *out, struct err *err)
{
    enum err_code code = ERR_OK;
    *out = (struct rope_config){.kind = ROPE_DEFAULT, .theta = fallback};
    if (json_read_has(root, key))
        code = json_read_real(root, NAME, key, (struct json_reals){1e-6, 1e12},
                              &out->theta, err);
    return code == ERR_OK ? read_parameters(root, layers, &out->theta, err) : code;
}

/* layer_types of transformers 5 says for each layer what global_attn_every_n_layers says
 * for all; here it has to repeat itself in the same way. */
static enum err_code read_layer_types(const json_t *root, struct config *c,
                                      struct err *err)
{
    json_t *list = NULL;
    size_t every = 1;
    if (!json_read_has(root, "layer_types"))
        return ERR_OK;
    enum err_code code = json_read_array(root, NAME, "layer_types", &list, err);
    if (code != ERR_OK)
        return code;
    if (json_array_size(list) != c->n_layers)
        return err_set(err, ERR_MISMATCH,
                       "%s: layer_types has %zu entries, num_hidden_layers is %zu", NAME,
                       json_array_size(list), c->n_layers);
    while (every < c->n_layers) {
        const char *type = json_string_value(json_array_get(list, every));
        if (type && strcmp(type, FULL) == 0)
            break;
        every++;
    }
    for (size_t i = 0; i < c->n_layers; i++) {
        char found[JSON_SHOW_BYTES];
        const json_t *type = json_array_get(list, i);
        const char *want = i % every ? SLIDING : FULL;
        if (!json_is_string(type) || strcmp(json_string_value(type), want) != 0)
            return err_set(err, ERR_UNSUPPORTED,
                           "%s: layer_types: entry %zu is %s; served are lists that "
                           "begin with \"%s\" and repeat themselves, which wants \"%s\"",
                           NAME, i, json_read_show(type, found), FULL, want);
    }
    c->window_every = every;
    return ERR_OK;
}

static enum err_code check_modernbert(const json_t *root, struct config *c,
                                      struct err *err)
{
    /* Said to be null, the local one is the global one. */
    bool one = json_is_null(json_object_get(root, "local_rope_theta"));
    set_layout(c, LAYOUT_BERT, c->head_act, c->head_act);
    c->window = c->window / 2 + 1; /* local_attention: to the left and to the right */
    enum err_code code =
        read_rope(root, FULL, "global_rope_theta", 160000, &c->rope, err);
    if (code == ERR_OK)
        code = read_rope(root, SLIDING, "local_rope_theta", one ? c->rope.theta : 10000,
                         &c->window_rope, err);
    if (code == ERR_OK)
        code = read_layer_types(root, c, err);
    if (code == ERR_OK)
        code = config_keys_heads(c, "hidden_size", "num_attention_heads", err);
    if (code == ERR_OK && c->head_width % 2 != 0)
        code = err_set(err, ERR_MISMATCH,
                       "%s: heads are %zu wide, rotary positions want an even width",
                       NAME, c->head_width);
    return code;
}

/* ---- families ---------------------------------------------------------------------- */

const struct config_family CONFIG_BERT =
    FAMILY("bert", ARCH_BERT, BERT_KEYS, BERT_OTHER, check_bert);
const struct config_family CONFIG_DISTILBERT =
    FAMILY("distilbert", ARCH_BERT, DISTILBERT_KEYS, DISTILBERT_OTHER, check_distilbert);
const struct config_family CONFIG_ROBERTA =
    FAMILY("roberta", ARCH_BERT, BERT_KEYS, BERT_OTHER, check_roberta);
const struct config_family CONFIG_XLM_ROBERTA =
    FAMILY("xlm-roberta", ARCH_BERT, BERT_KEYS, BERT_OTHER, check_roberta);
const struct config_family CONFIG_CAMEMBERT =
    FAMILY("camembert", ARCH_BERT, BERT_KEYS, BERT_OTHER, check_roberta);
const struct config_family CONFIG_ELECTRA =
    FAMILY("electra", ARCH_BERT, ELECTRA_KEYS, BERT_OTHER, check_electra);
const struct config_family CONFIG_MPNET =
    FAMILY("mpnet", ARCH_BERT, MPNET_KEYS, BERT_OTHER, check_mpnet);
const struct config_family CONFIG_MODERNBERT = FAMILY(
    "modernbert", ARCH_MODERNBERT, MODERNBERT_KEYS, MODERNBERT_OTHER, check_modernbert);
