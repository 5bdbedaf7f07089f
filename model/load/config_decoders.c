/* Decoders: what their config.json may say. Defaults are those of transformers. */
#include "model/load/config_keys.h"
#include "model/load/json.h"

#include <math.h>
#include <string.h>

static const char *const NAME = "config.json";

/* ---- tables ------------------------------------------------------------------------ */

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

/* What the Llama family calls its sizes. */
#define LLAMA_COMMON                                                                     \
    SIZE("vocab_size", vocab, 1, VOCAB_MAX),                                             \
        SIZE("max_position_embeddings", context, 1, CONTEXT_MAX),                        \
        SIZE("hidden_size", width, 1, WIDTH_MAX),                                        \
        SIZE("num_hidden_layers", n_layers, 1, LAYERS_MAX),                              \
        SIZE("num_attention_heads", n_heads, 1, HEADS_MAX),                              \
        SIZE("intermediate_size", mlp_width, 1, MLP_MAX),                                \
        CHOICE_OR("hidden_act", act, CONFIG_ACTS, ACT_SILU),                             \
        EPS_OR("rms_norm_eps", 1e-6), BOOL_OR("tie_word_embeddings", tied, false),       \
        ONLY("rope_interleaved", "false"), ONLY("add_cross_attention", "false"),         \
        ONLY("is_encoder_decoder", "false"), EMPTY("pruned_heads")

/* num_key_value_heads 0: as many as heads. head_dim 0: hidden_size / heads. */
static const struct config_key LLAMA_KEYS[] = {
    LLAMA_COMMON,
    SIZE_OR("num_key_value_heads", n_kv_heads, 1, HEADS_MAX, 0),
    SIZE_OR("head_dim", head_width, 1, WIDTH_MAX, 0),
    BOOL_OR("attention_bias", attention_bias, false),
    BOOL_OR("mlp_bias", mlp_bias, false),
};

/* Without num_key_value_heads each version of transformers would do something else. */
static const struct config_key MISTRAL_KEYS[] = {
    LLAMA_COMMON,
    SIZE("num_key_value_heads", n_kv_heads, 1, HEADS_MAX),
    SIZE_OR("head_dim", head_width, 1, WIDTH_MAX, 0),
    SIZE_OR("sliding_window", window, 1, CONTEXT_MAX, 0),
};

static const struct config_key QWEN2_KEYS[] = {
    LLAMA_COMMON,
    SIZE("num_key_value_heads", n_kv_heads, 1, HEADS_MAX),
    SIZE_OR("head_dim", head_width, 1, WIDTH_MAX, 0),
    SIZE_OR("sliding_window", window, 1, CONTEXT_MAX, 0),
    SIZE_OR("max_window_layers", first_window, 0, LAYERS_MAX, 28),
    ONLY("use_mrope", "false"),
};

static const struct config_key QWEN3_KEYS[] = {
    LLAMA_COMMON,
    SIZE("num_key_value_heads", n_kv_heads, 1, HEADS_MAX),
    SIZE_OR("head_dim", head_width, 1, WIDTH_MAX, 128),
    SIZE_OR("sliding_window", window, 1, CONTEXT_MAX, 0),
    SIZE_OR("max_window_layers", first_window, 0, LAYERS_MAX, 28),
    BOOL_OR("attention_bias", attention_bias, false),
};

/* reorder_and_upcast_attn is about the range of half precision; nothing here computes in
 * it. summary_* belong to a head that is not served. */
static const char *const GPT2_OTHER[] = {
    "attn_pdrop",
    "embd_pdrop",
    "resid_pdrop",
    "classifier_dropout",
    "n_ctx",
    "n_special",
    "is_decoder",
    "output_past",
    "predict_special_tokens",
    "summary_activation",
    "summary_first_dropout",
    "summary_proj_to_labels",
    "summary_type",
    "summary_use_proj",
    "reorder_and_upcast_attn",
    NULL,
};

/* The first block is read by hand. pretraining_tp cuts products into pieces with the same
 * sum; is_llama_config, unsloth_* and transformers.js_config are notes of tools. */
#define LLAMA_OTHER                                                                      \
    "rope_theta", "rope_scaling", "rope_parameters", "partial_rotary_factor",            \
                                                                                         \
        "attention_dropout", "classifier_dropout", "pretraining_tp", "is_decoder",       \
        "is_llama_config", "unsloth_fixed", "unsloth_version", "cache_implementation",   \
        "transformers.js_config"

static const char *const LLAMA_OTHERS[] = {LLAMA_OTHER, NULL};
/* Mistral's and Qwen2's biases are as they are, whatever is said. */
static const char *const MISTRAL_OTHERS[] = {LLAMA_OTHER, "attention_bias", NULL};
static const char *const QWEN2_OTHERS[] = {LLAMA_OTHER, "use_sliding_window",
                                           "layer_types", "attention_bias", NULL};
static const char *const QWEN3_OTHERS[] = {LLAMA_OTHER, "use_sliding_window",
                                           "layer_types", NULL};

/* ---- rotary positions -------------------------------------------------------------- */

static const struct json_reals THETAS = {2, 1e12}, FACTORS = {1, 1e6},
                               SPANS = {1, 1 << 30}, TURNS = {1e-3, 1e6};

/* A number that may be absent, which leaves *out as it is. */
static enum err_code read_maybe(const json_t *own, const char *where, const char *key,
                                struct json_reals range, double *out, struct err *err)
{
    return json_read_has(own, key) ? json_read_real(own, where, key, range, out, err)
                                   : ERR_OK;
}

/* rope_type, or type as it was called first; *which is an index of the list. */
static enum err_code read_rope_type(const json_t *own, const char *where, size_t *which,
                                    struct err *err)
{
    static const char *const types[] = {"default", "linear", "yarn", "llama3", "dynamic"};
    static const char *const keys[] = {"rope_type", "type"};
    size_t found[2] = {0, 0}, n = 0;
    for (size_t i = 0; i < 2; i++) {
        if (!json_read_has(own, keys[i]))
            continue;
        enum err_code code = json_read_choice(own, where, keys[i], types,
                                              CONFIG_COUNT(types), &found[n++], err);
        if (code != ERR_OK)
            return code;
    }
    if (n == 2 && found[0] != found[1])
        return err_set(err, ERR_MISMATCH, "%s: rope_type is \"%s\", but type \"%s\"",
                       where, types[found[0]], types[found[1]]);
    if (n == 0)
        return err_set(err, ERR_FORMAT, "%s: rope_type is missing", where);
    *which = found[0];
    return ERR_OK;
}

static enum err_code read_llama3(const json_t *own, const char *where,
                                 struct rope_config *r, struct err *err)
{
    struct json_reals waves = {1e-3, 1e6};
    enum err_code code =
        json_read_real(own, where, "low_freq_factor", waves, &r->low_freq_factor, err);
    if (code == ERR_OK)
        code = json_read_real(own, where, "high_freq_factor", waves, &r->high_freq_factor,
                              err);
    if (code == ERR_OK)
        code = json_read_real(own, where, "original_max_position_embeddings", SPANS,
                              &r->original_context, err);
    if (code == ERR_OK && r->high_freq_factor <= r->low_freq_factor)
        code = err_set(err, ERR_MISMATCH,
                       "%s: high_freq_factor %g is not above low_freq_factor %g", where,
                       r->high_freq_factor, r->low_freq_factor);
    return code;
}

static double yarn_scale(double factor, double by)
{
    return factor <= 1 ? 1 : 0.1 * by * log(factor) + 1;
}

/* attention_factor, or what is derived from mscale and mscale_all_dim (DeepSeek's), or
 * from the factor. */
static enum err_code read_yarn_attention(const json_t *own, const char *where,
                                         struct rope_config *r, struct err *err)
{
    struct json_reals scales = {0, 1000};
    double scale = 0, all = 0;
    enum err_code code = read_maybe(own, where, "mscale", scales, &scale, err);
    if (code == ERR_OK)
        code = read_maybe(own, where, "mscale_all_dim", scales, &all, err);
    if (scale > 0 && all > 0)
        r->attention_factor = yarn_scale(r->factor, scale) / yarn_scale(r->factor, all);
    else
        r->attention_factor = yarn_scale(r->factor, 1);
    if (code == ERR_OK)
        code = read_maybe(own, where, "attention_factor", (struct json_reals){1e-3, 1000},
                          &r->attention_factor, err);
    return code;
}

static enum err_code read_yarn(const json_t *own, const char *where,
                               const struct config *c, struct rope_config *r,
                               struct err *err)
{
    bool truncate = true;
    r->original_context = (double)c->context;
    r->beta_fast = 32;
    r->beta_slow = 1;
    enum err_code code = read_maybe(own, where, "original_max_position_embeddings", SPANS,
                                    &r->original_context, err);
    if (code == ERR_OK)
        code = read_maybe(own, where, "beta_fast", TURNS, &r->beta_fast, err);
    if (code == ERR_OK)
        code = read_maybe(own, where, "beta_slow", TURNS, &r->beta_slow, err);
    if (code == ERR_OK && json_read_has(own, "truncate"))
        code = json_read_bool(own, where, "truncate", &truncate, err);
    if (code == ERR_OK && !truncate)
        code = err_set(err, ERR_UNSUPPORTED, "%s: truncate: false is not served", where);
    return code == ERR_OK ? read_yarn_attention(own, where, r, err) : code;
}

/* The object `own` of the kind that it names. A dynamic one is the default within the
 * context, but must be one. */
static enum err_code read_scaling(const json_t *own, const char *where, bool must_say,
                                  struct config *c, struct err *err)
{
    static const enum rope_kind kinds[] = {ROPE_DEFAULT, ROPE_LINEAR, ROPE_YARN,
                                           ROPE_LLAMA3, ROPE_DEFAULT};
    static const char *const known[] = {
        "rope_type",        "type",
        "rope_theta",       "partial_rotary_factor",
        "factor",           "low_freq_factor",
        "high_freq_factor", "original_max_position_embeddings",
        "beta_fast",        "beta_slow",
        "attention_factor", "mscale",
        "mscale_all_dim",   "truncate"};
    struct rope_config *r = &c->rope;
    size_t which = 0;
    double factor = 1;
    enum err_code code = ERR_OK;
    if (must_say || json_read_has(own, "rope_type") || json_read_has(own, "type"))
        code = read_rope_type(own, where, &which, err);
    if (code == ERR_OK)
        code = json_read_known(own, where, known, CONFIG_COUNT(known), err);
    if (code == ERR_OK)
        code = read_maybe(own, where, "rope_theta", THETAS, &r->theta, err);
    if (code == ERR_OK && which > 0)
        code = json_read_real(own, where, "factor", FACTORS, &factor, err);
    if (code != ERR_OK)
        return code;
    r->kind = kinds[which];
    r->factor = r->kind == ROPE_DEFAULT ? 0 : factor;
    if (r->kind == ROPE_LLAMA3)
        return read_llama3(own, where, r, err);
    return r->kind == ROPE_YARN ? read_yarn(own, where, c, r, err) : ERR_OK;
}

static enum err_code check_whole(const json_t *own, const char *where, struct err *err)
{
    double part = 1;
    enum err_code code = read_maybe(own, where, "partial_rotary_factor",
                                    (struct json_reals){0, 1}, &part, err);
    if (code == ERR_OK && part < 1)
        code =
            err_set(err, ERR_UNSUPPORTED,
                    "%s: partial_rotary_factor %g is not served; served: 1", where, part);
    return code;
}

/* rope_parameters of transformers 5, or rope_scaling and rope_theta of those before. */
static enum err_code read_rope(const json_t *root, struct config *c, struct err *err)
{
    bool new = json_read_has(root, "rope_parameters"), old;
    const char *key = new ? "rope_parameters" : "rope_scaling";
    const char *where =
        new ? "config.json: rope_parameters" : "config.json: rope_scaling";
    json_t *own = NULL;
    c->rope = (struct rope_config){.kind = ROPE_DEFAULT, .theta = 10000};
    old = json_read_has(root, "rope_scaling");
    if (new &&old)
        return err_set(err, ERR_UNSUPPORTED,
                       "%s: rope_parameters and rope_scaling; served is one of them",
                       NAME);
    enum err_code code = check_whole(root, NAME, err);
    if (code == ERR_OK)
        code = read_maybe(root, NAME, "rope_theta", THETAS, &c->rope.theta, err);
    if (code != ERR_OK || !(new || old))
        return code;
    code = json_read_object(root, NAME, key, &own, err);
    if (code == ERR_OK)
        code = check_whole(own, where, err);
    return code == ERR_OK ? read_scaling(own, where, old, c, err) : code;
}

/* ---- windows ----------------------------------------------------------------------- */

/* layer_types says for each layer what max_window_layers says for all: those before some
 * layer see everything, those from it on have the window. */
static enum err_code read_layer_types(const json_t *root, struct config *c,
                                      struct err *err)
{
    static const char *const types[] = {"full_attention", "sliding_attention"};
    char found[JSON_SHOW_BYTES];
    json_t *list = NULL;
    size_t full = 0;
    enum err_code code = json_read_array(root, NAME, "layer_types", &list, err);
    if (code != ERR_OK)
        return code;
    if (json_array_size(list) != c->n_layers)
        return err_set(err, ERR_MISMATCH,
                       "%s: layer_types has %zu entries, num_hidden_layers is %zu", NAME,
                       json_array_size(list), c->n_layers);
    for (size_t i = 0; i < c->n_layers; i++) {
        const json_t *type = json_array_get(list, i);
        const char *word = json_is_string(type) ? json_string_value(type) : "";
        bool slides = strcmp(word, types[1]) == 0;
        if (!slides && (strcmp(word, types[0]) != 0 || full < i))
            return err_set(err, ERR_UNSUPPORTED,
                           "%s: layer_types: entry %zu is %s; served are lists of "
                           "\"%s\" followed by \"%s\"",
                           NAME, i, json_read_show(type, found), types[0], types[1]);
        full += !slides;
    }
    c->first_window = full;
    return ERR_OK;
}

/* Qwen's window is off unless use_sliding_window says otherwise. */
static enum err_code read_window(const json_t *root, struct config *c, struct err *err)
{
    bool use = false;
    enum err_code code = ERR_OK;
    if (json_read_has(root, "use_sliding_window"))
        code = json_read_bool(root, NAME, "use_sliding_window", &use, err);
    if (code == ERR_OK && json_read_has(root, "layer_types"))
        code = read_layer_types(root, c, err);
    if (use && !json_object_get(root, "sliding_window"))
        c->window = 4096;
    if (!use || c->window == 0 || c->first_window >= c->n_layers)
        c->window = c->first_window = 0;
    return code;
}

/* ---- what the keys say together ---------------------------------------------------- */

static enum err_code check_gpt2(const json_t *root, struct config *c, struct err *err)
{
    (void)root;
    if (!c->mlp_width)
        c->mlp_width = 4 * c->width;
    return config_keys_heads(c, "n_embd", "n_head", err);
}

static enum err_code check_decoder(const json_t *root, struct config *c, struct err *err)
{
    enum err_code code = config_keys_heads(c, "hidden_size", "num_attention_heads", err);
    if (code != ERR_OK)
        return code;
    if (c->n_heads % c->n_kv_heads != 0)
        return err_set(err, ERR_MISMATCH,
                       "%s: num_attention_heads %zu is no multiple of "
                       "num_key_value_heads %zu",
                       NAME, c->n_heads, c->n_kv_heads);
    if (c->head_width % 2 != 0)
        return err_set(err, ERR_MISMATCH,
                       "%s: heads are %zu wide, rotary positions want an even width",
                       NAME, c->head_width);
    return read_rope(root, c, err);
}

static enum err_code check_llama(const json_t *root, struct config *c, struct err *err)
{
    c->qkv_bias = c->attention_bias;
    return check_decoder(root, c, err);
}

/* Its window is only off if it is said to be null. */
static enum err_code check_mistral(const json_t *root, struct config *c, struct err *err)
{
    if (!json_object_get(root, "sliding_window"))
        c->window = 4096;
    return check_decoder(root, c, err);
}

static enum err_code check_qwen2(const json_t *root, struct config *c, struct err *err)
{
    enum err_code code = read_window(root, c, err);
    c->qkv_bias = true;
    return code == ERR_OK ? check_decoder(root, c, err) : code;
}

static enum err_code check_qwen3(const json_t *root, struct config *c, struct err *err)
{
    enum err_code code = read_window(root, c, err);
    c->qkv_bias = c->attention_bias;
    c->qk_norm = true;
    return code == ERR_OK ? check_decoder(root, c, err) : code;
}

/* ---- families ---------------------------------------------------------------------- */

const struct config_family CONFIG_GPT2 =
    FAMILY("gpt2", ARCH_GPT2, GPT2_KEYS, GPT2_OTHER, check_gpt2);
const struct config_family CONFIG_LLAMA =
    FAMILY("llama", ARCH_LLAMA, LLAMA_KEYS, LLAMA_OTHERS, check_llama);
const struct config_family CONFIG_MISTRAL =
    FAMILY("mistral", ARCH_LLAMA, MISTRAL_KEYS, MISTRAL_OTHERS, check_mistral);
const struct config_family CONFIG_QWEN2 =
    FAMILY("qwen2", ARCH_LLAMA, QWEN2_KEYS, QWEN2_OTHERS, check_qwen2);
const struct config_family CONFIG_QWEN3 =
    FAMILY("qwen3", ARCH_LLAMA, QWEN3_KEYS, QWEN3_OTHERS, check_qwen3);
