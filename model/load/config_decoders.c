/* Decoders: what their config.json may say. */
#include "model/load/config_keys.h"

static const struct config_key GPT2_KEYS[] = {
    SIZE("vocab_size", vocab, 1, VOCAB_MAX),
    SIZE("n_positions", context, 1, CONTEXT_MAX),
    SIZE("n_embd", width, 1, WIDTH_MAX),
    SIZE("n_layer", n_layers, 1, LAYERS_MAX),
    SIZE("n_head", n_heads, 1, HEADS_MAX),
    SIZE_OR("n_inner", mlp_width, 1, MLP_MAX, 0), /* 0: 4 * n_embd */
    CHOICE_OR("activation_function", act, CONFIG_ACTS, ACT_GELU_TANH),
    EPS_OR("layer_norm_epsilon", 1e-5),
    {.name = "scale_attn_weights",
     .kind = KEY_NEGATE,
     .offset = FIELD(unscaled),
     .fallback = false},
    BOOL_OR("scale_attn_by_inverse_layer_idx", scale_by_layer, false),
    BOOL_OR("tie_word_embeddings", tied, true),
    ONLY("add_cross_attention", "false"),
    ONLY("is_encoder_decoder", "false"),
    EMPTY("pruned_heads"),
};

/* reorder_and_upcast_attn is about the range of half precision; nothing here computes in
 * it. summary_* belong to a head that is not served. */
static const char *const GPT2_OTHER[] = {
    "attn_pdrop",
    "embd_pdrop",
    "resid_pdrop",
    "n_ctx",
    "is_decoder",
    "predict_special_tokens",
    "summary_activation",
    "summary_first_dropout",
    "summary_proj_to_labels",
    "summary_type",
    "summary_use_proj",
    "reorder_and_upcast_attn",
    NULL,
};

static enum err_code check_gpt2(const json_t *root, struct config *c, struct err *err)
{
    (void)root;
    if (!c->mlp_width)
        c->mlp_width = 4 * c->width;
    return config_keys_heads(c, "n_embd", "n_head", err);
}

const struct config_family CONFIG_GPT2 = {
    "gpt2", ARCH_GPT2, GPT2_KEYS, CONFIG_COUNT(GPT2_KEYS), GPT2_OTHER, check_gpt2};
