/* Encoders: what their config.json may say. */
#include "model/load/config_keys.h"

static const struct config_key BERT_KEYS[] = {
    SIZE("vocab_size", vocab, 1, VOCAB_MAX),
    SIZE("max_position_embeddings", context, 1, CONTEXT_MAX),
    SIZE("hidden_size", width, 1, WIDTH_MAX),
    SIZE("num_hidden_layers", n_layers, 1, LAYERS_MAX),
    SIZE("num_attention_heads", n_heads, 1, HEADS_MAX),
    SIZE("intermediate_size", mlp_width, 1, MLP_MAX),
    SIZE_OR("type_vocab_size", n_types, 1, TYPES_MAX, 2),
    CHOICE_OR("hidden_act", act, CONFIG_ACTS, ACT_GELU_ERF),
    EPS_OR("layer_norm_eps", 1e-12),
    ONLY("position_embedding_type", "\"absolute\""),
    ONLY("is_decoder", "false"),
    ONLY("add_cross_attention", "false"),
    ONLY("is_encoder_decoder", "false"),
    EMPTY("pruned_heads"),
};

/* pooler_* and directionality are notes of the original TensorFlow files. */
static const char *const BERT_OTHER[] = {
    "hidden_dropout_prob",  "attention_probs_dropout_prob",
    "classifier_dropout",   "directionality",
    "pooler_fc_size",       "pooler_num_attention_heads",
    "pooler_num_fc_layers", "pooler_size_per_head",
    "pooler_type",          "tie_word_embeddings",
    "output_past",          NULL,
};

static enum err_code check_bert(const json_t *root, struct config *c, struct err *err)
{
    (void)root;
    return config_keys_heads(c, "hidden_size", "num_attention_heads", err);
}

const struct config_family CONFIG_BERT = {
    "bert", ARCH_BERT, BERT_KEYS, CONFIG_COUNT(BERT_KEYS), BERT_OTHER, check_bert};
