#include "model/load/config_keys.h"

#include <stdio.h>
#include <string.h>

#define COUNT(table) (sizeof(table) / sizeof *(table))
#define FIELD(name)  offsetof(struct config, name)

enum {
    VOCAB_MAX = 1 << 24,
    WIDTH_MAX = 1 << 16,
    MLP_MAX = 1 << 20,
    CONTEXT_MAX = 1 << 20,
    HEADS_MAX = 1024,
    LAYERS_MAX = 512,
    RNN_LAYERS_MAX = 16,
    HOPS_MAX = 64,
    TYPES_MAX = 4096
};

/* The words of transformers' ACT2FN that mean a function of the kernels. gelu_fast and
 * gelu_accurate are the tanh formula written differently. */
static const struct key_choice ACTS[] = {
    {"gelu", ACT_GELU_ERF},
    {"gelu_python", ACT_GELU_ERF},
    {"gelu_new", ACT_GELU_TANH},
    {"gelu_pytorch_tanh", ACT_GELU_TANH},
    {"gelu_fast", ACT_GELU_TANH},
    {"gelu_accurate", ACT_GELU_TANH},
    {"relu", ACT_RELU},
    {"silu", ACT_SILU},
    {"swish", ACT_SILU},
    {"tanh", ACT_TANH},
    {NULL, 0},
};

static const struct key_choice CELLS[] = {
    {"lstm", CELL_LSTM},
    {"gru", CELL_GRU},
    {"rnn", CELL_RNN_TANH}, /* unless `nonlinearity` says relu */
    {NULL, 0},
};

static const struct key_choice POOLINGS[] = {
    {"last", POOL_LAST},           {"mean", POOL_MEAN}, {"max", POOL_MAX},
    {"attention", POOL_ATTENTION}, {NULL, 0},
};

#define SIZE(key, field, low, high)                                                      \
    {                                                                                    \
        .name = (key), .kind = KEY_SIZE, .required = true, .offset = FIELD(field),       \
        .min = (low), .max = (high)                                                      \
    }
#define SIZE_OR(key, field, low, high, absent)                                           \
    {                                                                                    \
        .name = (key), .kind = KEY_SIZE, .offset = FIELD(field), .min = (low),           \
        .max = (high), .fallback = (absent)                                              \
    }
#define BOOL_OR(key, field, absent)                                                      \
    {                                                                                    \
        .name = (key), .kind = KEY_BOOL, .offset = FIELD(field), .fallback = (absent)    \
    }
#define CHOICE_OR(key, field, words, absent)                                             \
    {                                                                                    \
        .name = (key), .kind = KEY_CHOICE, .offset = FIELD(field), .choices = (words),   \
        .fallback = (absent)                                                             \
    }
#define EPS_OR(key, absent)                                                              \
    {                                                                                    \
        .name = (key), .kind = KEY_REAL, .offset = FIELD(norm_eps), .real_min = 1e-30,   \
        .real_max = 1, .real_fallback = (absent)                                         \
    }
#define ONLY(key, value)                                                                 \
    {                                                                                    \
        .name = (key), .kind = KEY_ONLY, .only = (value)                                 \
    }
#define EMPTY(key)                                                                       \
    {                                                                                    \
        .name = (key), .kind = KEY_EMPTY                                                 \
    }

static const struct config_key RNN_KEYS[] = {
    {.name = "cell",
     .kind = KEY_CHOICE,
     .required = true,
     .offset = FIELD(cell),
     .choices = CELLS},
    SIZE("vocab_size", vocab, 1, VOCAB_MAX),
    SIZE("embedding_dim", width, 1, WIDTH_MAX),
    SIZE("hidden_size", hidden, 1, WIDTH_MAX),
    SIZE("num_layers", n_layers, 1, RNN_LAYERS_MAX),
    BOOL_OR("bidirectional", bidirectional, false),
    BOOL_OR("bias", bias, true),
    BOOL_OR("tie_word_embeddings", tied, false),
    CHOICE_OR("pooling", pooling, POOLINGS, POOL_LAST),
    SIZE_OR("attention_size", attention_size, 1, WIDTH_MAX, 0),
    SIZE_OR("attention_hops", hops, 1, HOPS_MAX, 0),
    ONLY("proj_size", "0"),
};

/* config.c reads nonlinearity itself; batch_first does not touch the weights. */
static const char *const RNN_OTHER[] = {"nonlinearity", "dropout", "batch_first", NULL};

static const struct config_key GPT2_KEYS[] = {
    SIZE("vocab_size", vocab, 1, VOCAB_MAX),
    SIZE("n_positions", context, 1, CONTEXT_MAX),
    SIZE("n_embd", width, 1, WIDTH_MAX),
    SIZE("n_layer", n_layers, 1, LAYERS_MAX),
    SIZE("n_head", n_heads, 1, HEADS_MAX),
    SIZE_OR("n_inner", mlp_width, 1, MLP_MAX, 0), /* 0: 4 * n_embd */
    CHOICE_OR("activation_function", act, ACTS, ACT_GELU_TANH),
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

static const struct config_key BERT_KEYS[] = {
    SIZE("vocab_size", vocab, 1, VOCAB_MAX),
    SIZE("max_position_embeddings", context, 1, CONTEXT_MAX),
    SIZE("hidden_size", width, 1, WIDTH_MAX),
    SIZE("num_hidden_layers", n_layers, 1, LAYERS_MAX),
    SIZE("num_attention_heads", n_heads, 1, HEADS_MAX),
    SIZE("intermediate_size", mlp_width, 1, MLP_MAX),
    SIZE_OR("type_vocab_size", n_types, 1, TYPES_MAX, 2),
    CHOICE_OR("hidden_act", act, ACTS, ACT_GELU_ERF),
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

/* Keys that every config of transformers may hold and that change no answer here: notes,
 * training, generation, the memory and speed of another implementation. config.c reads
 * the first block itself. */
static const char *const ANY_FAMILY[] = {
    "architectures",
    "model_type",
    "id2label",
    "num_labels",
    "_num_labels",
    "problem_type",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",

    "_name_or_path",
    "_commit_hash",
    "transformers_version",
    "name_or_path",
    "torch_dtype",
    "dtype",
    "label2id",
    "finetuning_task",
    "task_specific_params",
    "tokenizer_class",
    "prefix",
    "language",
    "license",
    "initializer_range",
    "gradient_checkpointing",
    "use_cache",
    "use_bfloat16",
    "torchscript",
    "return_dict",
    "output_attentions",
    "output_hidden_states",
    "output_scores",
    "return_dict_in_generate",
    "tf_legacy_loss",
    "chunk_size_feed_forward",
    "tie_encoder_decoder",
    "cross_attention_hidden_size",
    "_attn_implementation",
    "attn_implementation",
    "_attn_implementation_autoset",

    "unk_token_id",
    "sep_token_id",
    "cls_token_id",
    "mask_token_id",
    "decoder_start_token_id",
    "max_length",
    "min_length",
    "do_sample",
    "early_stopping",
    "num_beams",
    "num_beam_groups",
    "diversity_penalty",
    "temperature",
    "top_k",
    "top_p",
    "typical_p",
    "repetition_penalty",
    "length_penalty",
    "no_repeat_ngram_size",
    "encoder_no_repeat_ngram_size",
    "bad_words_ids",
    "num_return_sequences",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "remove_invalid_values",
    "exponential_decay_length_penalty",
    "suppress_tokens",
    "begin_suppress_tokens",
    NULL,
};

static const struct config_family RNN = {"rnn", ARCH_RNN, RNN_KEYS, COUNT(RNN_KEYS),
                                         RNN_OTHER};
static const struct config_family GPT2 = {"gpt2", ARCH_GPT2, GPT2_KEYS, COUNT(GPT2_KEYS),
                                          GPT2_OTHER};
static const struct config_family BERT = {"bert", ARCH_BERT, BERT_KEYS, COUNT(BERT_KEYS),
                                          BERT_OTHER};

static const struct config_architecture ARCHITECTURES[] = {
    {"RNNForCausalLM", HEAD_LM, &RNN},
    {"RNNForSequenceClassification", HEAD_LABELS, &RNN},
    {"GPT2LMHeadModel", HEAD_LM, &GPT2},
    {"BertForSequenceClassification", HEAD_LABELS, &BERT},
};

const struct config_architecture *config_keys_find(const char *architecture)
{
    for (size_t i = 0; i < COUNT(ARCHITECTURES); i++)
        if (strcmp(ARCHITECTURES[i].name, architecture) == 0)
            return &ARCHITECTURES[i];
    return NULL;
}

const char *config_keys_served(char buf[CONFIG_KEYS_LIST_BYTES])
{
    size_t used = 0;
    for (size_t i = 0; i < COUNT(ARCHITECTURES) && used < CONFIG_KEYS_LIST_BYTES; i++)
        used += (size_t)snprintf(buf + used, CONFIG_KEYS_LIST_BYTES - used, "%s%s",
                                 i ? ", " : "", ARCHITECTURES[i].name);
    return buf;
}

static bool is_in(const char *const *list, const char *key)
{
    for (; *list; list++)
        if (strcmp(*list, key) == 0)
            return true;
    return false;
}

bool config_keys_known(const struct config_family *family, const char *key)
{
    for (size_t i = 0; i < family->n_keys; i++)
        if (strcmp(family->keys[i].name, key) == 0)
            return true;
    return is_in(family->irrelevant, key) || is_in(ANY_FAMILY, key);
}
