/* Config: config.json of a model folder as a checked struct.
 *
 * Every number is range-checked and every key that could change an answer is known:
 * an unknown value is refused by name, keys known to be irrelevant to inference
 * (dropout, initializer_range, transformers_version, ...) are skipped. What is known is
 * in the tables of config_keys.c. One thread. */
#ifndef SEQ_LOAD_CONFIG_H
#define SEQ_LOAD_CONFIG_H

#include "model/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum arch { ARCH_RNN, ARCH_GPT2, ARCH_BERT };
enum head { HEAD_LM, HEAD_LABELS };
enum cell { CELL_LSTM, CELL_GRU, CELL_RNN_TANH, CELL_RNN_RELU };
enum pooling { POOL_LAST, POOL_MEAN, POOL_MAX, POOL_ATTENTION };
enum act { ACT_GELU_ERF, ACT_GELU_TANH, ACT_RELU, ACT_SILU, ACT_TANH };
/* What the scores of a classifier head mean (problem_type of transformers). */
enum problem { PROBLEM_SINGLE_LABEL, PROBLEM_MULTI_LABEL, PROBLEM_REGRESSION };

/* Fields that a family does not have are 0. */
struct config {
    enum arch arch;
    enum head head;
    char architecture[64]; /* architectures[0], e.g. "GPT2LMHeadModel" */

    size_t vocab; /* V */
    size_t width; /* D; RNN: embedding_dim I */
    size_t n_layers;
    size_t n_heads;
    size_t mlp_width; /* F */
    size_t context;   /* most positions; 0 = no limit */
    size_t n_types;   /* BERT's token types */
    float norm_eps;
    enum act act;
    bool scale_by_layer; /* GPT-2 scale_attn_by_inverse_layer_idx */
    bool unscaled;       /* GPT-2 scale_attn_weights false */
    bool tied;           /* output layer = embeddings */

    enum cell cell;
    size_t hidden; /* H */
    bool bidirectional;
    bool bias;
    enum pooling pooling;
    size_t attention_size; /* A */
    size_t hops;           /* R */

    size_t n_labels;
    char **labels; /* n_labels names, id2label or LABEL_i */
    enum problem problem;

    /* -1: not given, or not an id of this vocabulary. Of a list the first counts. */
    int32_t bos_id, eos_id, pad_id;
};

/* Reads dir/config.json. ERR_IO, ERR_FORMAT, ERR_UNSUPPORTED, ERR_MISMATCH, ERR_LIMIT,
 * ERR_NOMEM. */
enum err_code config_read(const char *dir, struct config *out,
                          struct err *err) MUST_CHECK;
/* The same for text[0..n). */
enum err_code config_parse(const char *text, size_t n, struct config *out,
                           struct err *err) MUST_CHECK;
void config_done(struct config *c); /* a zeroed struct is fine */

#endif
