/* Recurrent models: what their config.json may say. The format is our own: PyTorch has
 * no config for its nn.LSTM. */
#include "model/load/config_keys.h"
#include "model/load/json.h"

#include <string.h>

static const char *const NAME = "config.json";

static const struct key_choice CELLS[] = {
    {"lstm", CELL_LSTM},
    {"gru", CELL_GRU},
    {"rnn", CELL_RNN_TANH}, /* unless `nonlinearity` says relu */
    {NULL, 0},
};

static const struct key_choice GATES[] = {
    {"sigmoid", GATES_SIGMOID},
    {"hard_sigmoid", GATES_HARD_5TH},
    {"hard_sigmoid_6", GATES_HARD_6TH},
    {NULL, 0},
};

static const struct key_choice POOLINGS[] = {
    {"last", POOL_LAST},           {"mean", POOL_MEAN}, {"max", POOL_MAX},
    {"attention", POOL_ATTENTION}, {NULL, 0},
};

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
    CHOICE_OR("recurrent_activation", gates, GATES, GATES_SIGMOID),
    BOOL_OR("bidirectional", bidirectional, false),
    BOOL_OR("bias", bias, true),
    BOOL_OR("tie_word_embeddings", tied, false),
    CHOICE_OR("pooling", pooling, POOLINGS, POOL_LAST),
    SIZE_OR("attention_size", attention_size, 1, WIDTH_MAX, 0),
    SIZE_OR("attention_hops", hops, 1, HOPS_MAX, 0),
    ONLY("proj_size", "0"),
};

/* check reads nonlinearity itself; batch_first does not touch the weights. */
static const char *const RNN_OTHER[] = {"nonlinearity", "dropout", "batch_first", NULL};

static const char *cell_name(const struct config *c)
{
    return c->cell == CELL_LSTM ? "lstm" : c->cell == CELL_GRU ? "gru" : "rnn";
}

static enum err_code read_nonlinearity(const json_t *root, struct config *c,
                                       struct err *err)
{
    static const char *const words[] = {"tanh", "relu"};
    static const enum cell cells[] = {CELL_RNN_TANH, CELL_RNN_RELU};
    size_t which = 0;
    if (!json_read_has(root, "nonlinearity"))
        return ERR_OK;
    enum err_code code =
        json_read_choice(root, NAME, "nonlinearity", words, 2, &which, err);
    if (code != ERR_OK)
        return code;
    if (c->cell != CELL_RNN_TANH)
        return err_set(err, ERR_MISMATCH,
                       "%s: nonlinearity is for cell \"rnn\", cell is "
                       "\"%s\"",
                       NAME, cell_name(c));
    c->cell = cells[which];
    return ERR_OK;
}

/* LSTMForCausalLM and the like say the cell a second time. */
static enum err_code check_cell(const struct config *c, struct err *err)
{
    bool named_lstm = strncmp(c->architecture, "LSTM", 4) == 0;
    bool named_gru = strncmp(c->architecture, "GRU", 3) == 0;
    if ((named_lstm && c->cell != CELL_LSTM) || (named_gru && c->cell != CELL_GRU))
        return err_set(err, ERR_MISMATCH, "%s: cell is \"%s\", architectures says %s",
                       NAME, cell_name(c), c->architecture);
    if (c->gates != GATES_SIGMOID && c->cell != CELL_LSTM && c->cell != CELL_GRU)
        return err_set(err, ERR_MISMATCH,
                       "%s: recurrent_activation is for gates, cell \"rnn\" has none",
                       NAME);
    return ERR_OK;
}

static enum err_code check_causal_rnn(const json_t *root, const struct config *c,
                                      struct err *err)
{
    static const char *const others[] = {"pooling", "attention_size", "attention_hops"};
    for (size_t i = 0; i < 3; i++)
        if (json_read_has(root, others[i]))
            return err_set(err, ERR_MISMATCH,
                           "%s: %s is for a classifier, "
                           "architectures says %s",
                           NAME, others[i], c->architecture);
    if (c->bidirectional)
        return err_set(err, ERR_UNSUPPORTED,
                       "%s: bidirectional is true, but %s predicts "
                       "from the left only",
                       NAME, c->architecture);
    if (c->tied && c->hidden != c->width)
        return err_set(err, ERR_MISMATCH,
                       "%s: tie_word_embeddings wants equal sizes, but "
                       "hidden_size is %zu and embedding_dim %zu",
                       NAME, c->hidden, c->width);
    return ERR_OK;
}

static enum err_code check_pooling(const json_t *root, struct config *c, struct err *err)
{
    if (!json_read_has(root, "pooling"))
        return err_set(err, ERR_FORMAT, "%s: pooling is missing, %s wants it", NAME,
                       c->architecture);
    if (c->tied)
        return err_set(err, ERR_MISMATCH,
                       "%s: tie_word_embeddings is for a language model, "
                       "architectures says %s",
                       NAME, c->architecture);
    if (c->pooling == POOL_ATTENTION) {
        if (!c->attention_size)
            return err_set(err, ERR_FORMAT,
                           "%s: attention_size is missing, pooling "
                           "\"attention\" wants it",
                           NAME);
        c->hops = c->hops ? c->hops : 1;
    } else if (c->attention_size || c->hops) {
        return err_set(err, ERR_MISMATCH, "%s: %s is for pooling \"attention\" only",
                       NAME, c->attention_size ? "attention_size" : "attention_hops");
    }
    return ERR_OK;
}

static enum err_code check_rnn(const json_t *root, struct config *c, struct err *err)
{
    enum err_code code = read_nonlinearity(root, c, err);
    if (code == ERR_OK)
        code = check_cell(c, err);
    if (code != ERR_OK)
        return code;
    return c->head == HEAD_LM ? check_causal_rnn(root, c, err)
                              : check_pooling(root, c, err);
}

const struct config_family CONFIG_RNN =
    FAMILY("rnn", ARCH_RNN, RNN_KEYS, RNN_OTHER, check_rnn);
