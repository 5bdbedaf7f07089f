/* Net maker: model folders with seeded random weights, of any size, for tests that need
 * more than the tiny golden ones. Included by test programs only. */
#ifndef TESTS_UNIT_NET_MAKER_H
#define TESTS_UNIT_NET_MAKER_H

#include "tests/unit/fixture.h"

#include <stdbool.h>
#include <stdint.h>
#include <unistd.h>

enum { MAKER_HEADER_BYTES = 1 << 16 };

struct maker {
    char dir[64];
    char header[MAKER_HEADER_BYTES];
    size_t header_n;
    float *data;
    size_t n; /* floats */
    uint64_t seed;
};

static inline float maker_random(struct maker *m)
{
    m->seed ^= m->seed << 13;
    m->seed ^= m->seed >> 7;
    m->seed ^= m->seed << 17;
    return (float)(m->seed >> 40) * 0x1p-23f - 1; /* -1 to 1 */
}

/* A new temporary folder with this config.json. */
static inline void maker_begin(struct maker *m, const char *config)
{
    memset(m, 0, sizeof *m);
    m->seed = 88172645463325252u;
    snprintf(m->dir, sizeof m->dir, "/tmp/seqd_test_XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(m->dir));
    fixture_write(m->dir, "config.json", config, strlen(config));
    m->header_n = (size_t)snprintf(m->header, sizeof m->header, "{");
}

/* Tensor [rows,columns], or [rows] if columns is 0: middle +- spread. */
static inline void maker_tensor(struct maker *m, const char *name, size_t rows,
                                size_t columns, float middle, float spread)
{
    size_t n = rows * (columns ? columns : 1);
    char shape[64];
    snprintf(shape, sizeof shape, columns ? "%zu,%zu" : "%zu", rows, columns);
    m->data = realloc(m->data, (m->n + n) * sizeof *m->data);
    ck_assert_ptr_nonnull(m->data);
    for (size_t i = 0; i < n; i++)
        m->data[m->n + i] = middle + spread * maker_random(m);
    m->header_n += (size_t)snprintf(
        m->header + m->header_n, sizeof m->header - m->header_n,
        "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}",
        m->header_n > 1 ? "," : "", name, shape, m->n * sizeof *m->data,
        (m->n + n) * sizeof *m->data);
    ck_assert_uint_lt(m->header_n + 2, sizeof m->header);
    m->n += n;
}

/* Writes model.safetensors. The folder stays until maker_remove. */
static inline void maker_end(struct maker *m)
{
    m->header[m->header_n++] = '}';
    while (m->header_n % 8)
        m->header[m->header_n++] = ' ';
    size_t bytes = 8 + m->header_n + m->n * sizeof *m->data;
    char *file = malloc(bytes);
    ck_assert_ptr_nonnull(file);
    uint64_t length = m->header_n; /* little endian, as all machines of these tests */
    memcpy(file, &length, 8);
    memcpy(file + 8, m->header, m->header_n);
    memcpy(file + 8 + m->header_n, m->data, m->n * sizeof *m->data);
    fixture_write(m->dir, "model.safetensors", file, bytes);
    free(file);
    free(m->data);
    m->data = NULL;
}

static inline void maker_remove(struct maker *m)
{
    char path[128];
    snprintf(path, sizeof path, "%s/config.json", m->dir);
    unlink(path);
    snprintf(path, sizeof path, "%s/model.safetensors", m->dir);
    unlink(path);
    ck_assert_int_eq(rmdir(m->dir), 0);
}

/* ---- models ---------------------------------------------------------------------- */

static inline void maker_linear(struct maker *m, const char *name, size_t N, size_t K,
                                float spread)
{
    char full[96];
    snprintf(full, sizeof full, "%s.weight", name);
    maker_tensor(m, full, N, K, 0, spread);
    snprintf(full, sizeof full, "%s.bias", name);
    maker_tensor(m, full, N, 0, 0, 0.1f);
}

static inline void maker_conv1d(struct maker *m, const char *name, size_t N, size_t K,
                                float spread)
{
    char full[96];
    snprintf(full, sizeof full, "%s.weight", name);
    maker_tensor(m, full, K, N, 0, spread);
    snprintf(full, sizeof full, "%s.bias", name);
    maker_tensor(m, full, N, 0, 0, 0.1f);
}

static inline void maker_norm(struct maker *m, const char *name, size_t D)
{
    char full[96];
    snprintf(full, sizeof full, "%s.weight", name);
    maker_tensor(m, full, D, 0, 1, 0.2f);
    snprintf(full, sizeof full, "%s.bias", name);
    maker_tensor(m, full, D, 0, 0, 0.1f);
}

/* An LSTM or GRU of 2 layers; two ways with attention pooling, or a language model. */
static inline void maker_recurrent(struct maker *m, const char *cell, size_t V, size_t H,
                                   bool both)
{
    char config[512], name[64];
    size_t G = strcmp(cell, "lstm") ? 3 : 4, I = 64;
    float spread = 0.15f;
    snprintf(config, sizeof config,
             "{\"architectures\":[\"%s\"],\"model_type\":\"rnn\",\"cell\":\"%s\","
             "\"vocab_size\":%zu,\"embedding_dim\":%zu,\"hidden_size\":%zu,"
             "\"num_layers\":2%s}",
             both ? "RNNForSequenceClassification" : "RNNForCausalLM", cell, V, I, H,
             both ? ",\"bidirectional\":true,\"pooling\":\"attention\","
                    "\"attention_size\":40,\"attention_hops\":2,"
                    "\"id2label\":{\"0\":\"a\",\"1\":\"b\"}"
                  : "");
    maker_begin(m, config);
    maker_tensor(m, "embedding.weight", V, I, 0, 1);
    for (size_t layer = 0; layer < 2; layer++)
        for (size_t way = 0; way < (both ? 2u : 1u); way++) {
            const char *end = way ? "_reverse" : "";
            size_t in = layer ? (both ? 2 : 1) * H : I;
            snprintf(name, sizeof name, "rnn.weight_ih_l%zu%s", layer, end);
            maker_tensor(m, name, G * H, in, 0, spread);
            snprintf(name, sizeof name, "rnn.weight_hh_l%zu%s", layer, end);
            maker_tensor(m, name, G * H, H, 0, spread);
            snprintf(name, sizeof name, "rnn.bias_ih_l%zu%s", layer, end);
            maker_tensor(m, name, G * H, 0, 0, 0.1f);
            snprintf(name, sizeof name, "rnn.bias_hh_l%zu%s", layer, end);
            maker_tensor(m, name, G * H, 0, 0, 0.1f);
        }
    if (both) {
        maker_linear(m, "pooling.proj", 40, 2 * H, spread);
        maker_tensor(m, "pooling.context.weight", 2, 40, 0, 1);
        maker_linear(m, "classifier", 2, 4 * H, spread);
    } else {
        maker_linear(m, "decoder", V, H, spread);
    }
    maker_end(m);
}

static inline void maker_gpt2(struct maker *m, size_t V, size_t D, size_t context)
{
    static const char *const parts[] = {"ln_1", "attn.c_attn", "attn.c_proj",
                                        "ln_2", "mlp.c_fc",    "mlp.c_proj"};
    const size_t N[] = {D, 3 * D, D, D, 4 * D, D}, K[] = {0, D, D, 0, D, 4 * D};
    char config[512], name[64];
    snprintf(config, sizeof config,
             "{\"architectures\":[\"GPT2LMHeadModel\"],\"model_type\":\"gpt2\","
             "\"vocab_size\":%zu,\"n_positions\":%zu,\"n_embd\":%zu,\"n_layer\":2,"
             "\"n_head\":4}",
             V, context, D);
    maker_begin(m, config);
    maker_tensor(m, "wte.weight", V, D, 0, 0.2f);
    maker_tensor(m, "wpe.weight", context, D, 0, 0.2f);
    for (size_t layer = 0; layer < 2; layer++)
        for (size_t i = 0; i < 6; i++) {
            snprintf(name, sizeof name, "h.%zu.%s", layer, parts[i]);
            if (K[i])
                maker_conv1d(m, name, N[i], K[i], 0.1f);
            else
                maker_norm(m, name, D);
        }
    maker_norm(m, "ln_f", D);
    maker_end(m);
}

/* Four heads on two key heads. */
static inline void maker_llama(struct maker *m, size_t V, size_t D, size_t context)
{
    static const char *const parts[] = {
        "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
        "self_attn.o_proj", "mlp.gate_proj",    "mlp.up_proj",
        "mlp.down_proj",    "input_layernorm",  "post_attention_layernorm"};
    const size_t N[] = {D, D / 2, D / 2, D, 3 * D, 3 * D, D, D, D},
                 K[] = {D, D, D, D, D, D, 3 * D, 0, 0};
    char config[512], name[64];
    snprintf(config, sizeof config,
             "{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\","
             "\"vocab_size\":%zu,\"max_position_embeddings\":%zu,\"hidden_size\":%zu,"
             "\"num_hidden_layers\":2,\"num_attention_heads\":4,"
             "\"num_key_value_heads\":2,\"intermediate_size\":%zu,"
             "\"tie_word_embeddings\":true}",
             V, context, D, 3 * D);
    maker_begin(m, config);
    maker_tensor(m, "model.embed_tokens.weight", V, D, 0, 0.2f);
    for (size_t layer = 0; layer < 2; layer++)
        for (size_t i = 0; i < 9; i++) {
            snprintf(name, sizeof name, "model.layers.%zu.%s.weight", layer, parts[i]);
            maker_tensor(m, name, N[i], K[i], K[i] ? 0 : 1, K[i] ? 0.1f : 0.2f);
        }
    maker_tensor(m, "model.norm.weight", D, 0, 1, 0.2f);
    maker_end(m);
}

static inline void maker_bert(struct maker *m, size_t V, size_t D, size_t context)
{
    static const char *const parts[] = {
        "attention.self.query",       "attention.self.key", "attention.self.value",
        "attention.output.dense",     "intermediate.dense", "output.dense",
        "attention.output.LayerNorm", "output.LayerNorm"};
    const size_t N[] = {D, D, D, D, 4 * D, D, D, D}, K[] = {D, D, D, D, D, 4 * D, 0, 0};
    char config[512], name[64];
    snprintf(config, sizeof config,
             "{\"architectures\":[\"BertForSequenceClassification\"],"
             "\"model_type\":\"bert\",\"vocab_size\":%zu,"
             "\"max_position_embeddings\":%zu,\"hidden_size\":%zu,"
             "\"num_hidden_layers\":2,\"num_attention_heads\":4,"
             "\"intermediate_size\":%zu}",
             V, context, D, 4 * D);
    maker_begin(m, config);
    maker_tensor(m, "embeddings.word_embeddings.weight", V, D, 0, 0.5f);
    maker_tensor(m, "embeddings.position_embeddings.weight", context, D, 0, 0.5f);
    maker_tensor(m, "embeddings.token_type_embeddings.weight", 2, D, 0, 0.5f);
    maker_norm(m, "embeddings.LayerNorm", D);
    for (size_t layer = 0; layer < 2; layer++)
        for (size_t i = 0; i < 8; i++) {
            snprintf(name, sizeof name, "encoder.layer.%zu.%s", layer, parts[i]);
            if (K[i])
                maker_linear(m, name, N[i], K[i], 0.1f);
            else
                maker_norm(m, name, D);
        }
    maker_linear(m, "pooler.dense", D, D, 0.1f);
    maker_linear(m, "classifier", 2, D, 0.5f);
    maker_end(m);
}

#endif
