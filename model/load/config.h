/* Config: config.json of a model folder as a checked struct.
 *
 * Every number is range-checked and every key that could change an answer is known:
 * an unknown value is refused by name, keys known to be irrelevant to inference
 * (dropout, initializer_range, transformers_version, ...) are skipped. What is known is
 * in the tables of config_keys.c. One thread. */
#ifndef SEQ_LOAD_CONFIG_H
#define SEQ_LOAD_CONFIG_H

#include "model/base/err.h"
#include "model/base/problems.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum arch {
    ARCH_RNN,
    ARCH_GPT2,
    ARCH_LLAMA, /* and Mistral, Qwen2, Qwen3 */
    ARCH_BERT,  /* and DistilBERT, RoBERTa, ELECTRA, MPNet */
    ARCH_MODERNBERT
};
/* What stands behind the layers: an output layer over the vocabulary (for the next token,
 * or for masked ones), a classifier, or nothing. */
enum head { HEAD_LM, HEAD_MASKED_LM, HEAD_LABELS, HEAD_NONE };
/* Post-norm encoders differ in names, in the embeddings and in their heads. RoBERTa's
 * also stands for XLM-R and CamemBERT. */
enum layout {
    LAYOUT_BERT,
    LAYOUT_DISTILBERT,
    LAYOUT_ROBERTA,
    LAYOUT_ELECTRA,
    LAYOUT_MPNET
};
enum cell { CELL_LSTM, CELL_GRU, CELL_RNN_TANH, CELL_RNN_RELU };
/* The sigmoid in an LSTM's and a GRU's gates: the real one, or min(max(ax + 1/2, 0), 1)
 * with a = 1/5 (Keras 2, ONNX) or a = 1/6 (Keras 3, as relu6(x + 3) / 6). */
enum gates { GATES_SIGMOID, GATES_HARD_5TH, GATES_HARD_6TH };
enum pooling { POOL_LAST, POOL_MEAN, POOL_MAX, POOL_ATTENTION, POOL_FIRST };
enum act { ACT_GELU_ERF, ACT_GELU_TANH, ACT_RELU, ACT_SILU, ACT_TANH };
/* What the scores of a classifier head mean (problem_type of transformers). A single
 * label that is no regression is a sigmoid, as in transformers' pipeline. */
enum problem { PROBLEM_SINGLE_LABEL, PROBLEM_MULTI_LABEL, PROBLEM_REGRESSION };

/* Rotary positions: rope_scaling (rope_parameters since transformers 5). A dynamic one is
 * the default within the context, which is all that is served. */
enum rope_kind { ROPE_NONE, ROPE_DEFAULT, ROPE_LINEAR, ROPE_YARN, ROPE_LLAMA3 };
struct rope_config {
    enum rope_kind kind;
    double theta;
    double factor;
    double low_freq_factor, high_freq_factor; /* LLAMA3 */
    double original_context;                  /* LLAMA3, YARN */
    double beta_fast, beta_slow;              /* YARN */
    double attention_factor;                  /* YARN; of cos and sin */
};

enum { CONFIG_MAX_EOS = 8 };

/* Fields that a family does not have are 0. */
struct config {
    enum arch arch;
    enum layout layout; /* BERT */
    enum head head;
    char architecture[64]; /* architectures[0], e.g. "GPT2LMHeadModel" */
    const char *family;    /* model_type of the family, e.g. "gpt2"; static */
    bool unnamed;          /* no architectures: bare, heads in the file are left aside */
    bool beheaded;         /* bare because the file lacks the head; set by nets */

    size_t vocab; /* V */
    size_t width; /* D; RNN: embedding_dim I */
    size_t n_layers;
    size_t n_heads;         /* N */
    size_t n_kv_heads;      /* K, divides N; = N unless grouped */
    size_t head_width;      /* E */
    size_t mlp_width;       /* F */
    size_t context;         /* most positions of a text; 0 = no limit */
    size_t first_position;  /* row of the position table for a text's first token */
    size_t n_types;         /* BERT's token types */
    size_t embedding_width; /* ELECTRA; else D */
    size_t window;          /* see config_window; 0 = no layer has one */
    size_t window_every;    /* ModernBERT: layers i with i % this == 0 see all */
    size_t first_window;    /* Qwen: layers before this one see all */
    size_t n_buckets;       /* MPNet relative_attention_num_buckets */
    float norm_eps;
    enum act act;
    enum act head_act;   /* of the head's own layer */
    bool scale_by_layer; /* GPT-2 scale_attn_by_inverse_layer_idx */
    bool unscaled;       /* GPT-2 scale_attn_weights false */
    bool qkv_bias, attention_bias, mlp_bias, norm_bias; /* Llama, ModernBERT */
    bool head_bias, output_bias;                        /* ModernBERT */
    bool qk_norm;                                       /* Qwen3 */
    bool tied;                                          /* output layer = embeddings */
    struct rope_config rope, window_rope; /* of all layers; of those with a window */

    enum cell cell;
    enum gates gates;
    size_t hidden; /* H */
    bool bidirectional;
    bool bias;
    enum pooling pooling;
    size_t attention_size; /* A */
    size_t hops;           /* R */

    size_t n_labels;
    char **labels; /* n_labels names, id2label or LABEL_i */
    enum problem problem;

    /* -1: not given, or not an id of this vocabulary. generation_config.json overrides
     * config.json. Of a list the first of this vocabulary counts; eos_ids has them all.
     */
    int32_t bos_id, eos_id, pad_id;
    int32_t eos_ids[CONFIG_MAX_EOS];
    size_t n_eos;
};

/* True if a position sees those behind it as well. */
static inline bool config_is_encoder(const struct config *c)
{
    return c->arch == ARCH_BERT || c->arch == ARCH_MODERNBERT;
}

/* Floats of a hidden row behind the last layer. */
static inline size_t config_row_width(const struct config *c)
{
    return c->arch == ARCH_RNN ? c->hidden << c->bidirectional : c->width;
}

/* Reads dir/config.json and, if there is one, dir/generation_config.json. ERR_IO,
 * ERR_FORMAT, ERR_UNSUPPORTED, ERR_MISMATCH, ERR_LIMIT, ERR_NOMEM. */
enum err_code config_read(const char *dir, struct config *out,
                          struct err *err) MUST_CHECK;
/* The same for text[0..n). */
enum err_code config_parse(const char *text, size_t n, struct config *out,
                           struct err *err) MUST_CHECK;
/* The same as config_read, but tells *p every unknown key and every bad value, and then
 * returns ERR_OK. Only if *whole, *out is filled: its sizes can be worked with, though
 * keys that have no field may have been found bad. */
enum err_code config_survey(const char *dir, struct problems *p, struct config *out,
                            bool *whole, struct err *err) MUST_CHECK;
void config_done(struct config *c); /* a zeroed struct is fine */

/* Of a transformer's layer: a position sees those less than this far away; 0 = all. */
size_t config_window(const struct config *c, size_t layer);

#endif
