/* Config_keys: what config.json may say, as tables: one row per architecture that is
 * served and one per key that changes its answers. Private to model/load/config*.c. */
#ifndef SEQ_LOAD_CONFIG_KEYS_H
#define SEQ_LOAD_CONFIG_KEYS_H

#include "model/load/config.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

enum key_kind {
    KEY_SIZE,   /* an integer min..max into a size_t */
    KEY_REAL,   /* a number real_min..real_max into a float */
    KEY_BOOL,   /* into a bool */
    KEY_NEGATE, /* a bool whose opposite goes into a bool */
    KEY_CHOICE, /* a word of `choices` into an enum */
    KEY_ONLY,   /* json_read_show(value) must be `only`; has no field */
    KEY_EMPTY   /* an object or list without members; has no field */
};

struct key_choice {
    const char *word; /* NULL ends a list */
    unsigned value;
};

struct config_key {
    const char *name;
    enum key_kind kind;
    bool required;             /* else absent and null mean `fallback` (real_fallback) */
    size_t offset;             /* of the field in struct config */
    size_t min, max, fallback; /* fallback: of the field, also for bools and choices */
    double real_min, real_max, real_fallback;
    const struct key_choice *choices;
    const char *only;
};

struct config_family {
    const char *model_type;
    enum arch arch;
    const struct config_key *keys;
    size_t n_keys;
    const char *const *irrelevant; /* keys that change nothing here; NULL ends */
    /* What the keys say together, and what no table can say; labels are not read yet. */
    enum err_code (*check)(const json_t *root, struct config *c, struct err *err);
};

extern const struct config_family CONFIG_RNN, CONFIG_GPT2, CONFIG_LLAMA, CONFIG_MISTRAL,
    CONFIG_QWEN2, CONFIG_QWEN3, CONFIG_BERT, CONFIG_DISTILBERT, CONFIG_ROBERTA,
    CONFIG_XLM_ROBERTA, CONFIG_CAMEMBERT, CONFIG_ELECTRA, CONFIG_MPNET, CONFIG_MODERNBERT;

struct config_architecture {
    const char *name;
    enum head head;
    const struct config_family *family;
};

/* NULL if it is not served. */
const struct config_architecture *config_keys_find(const char *architecture);
/* The one without a head of a model_type; NULL if there is none. */
const struct config_architecture *config_keys_bare(const char *model_type);

/* What is served, for messages: the architectures of model_type, "BertForMaskedLM, ...",
 * or "the model types rnn, gpt2, ..." if it is none of them (or NULL). Returns buf. */
enum { CONFIG_KEYS_LIST_BYTES = 256 };
const char *config_keys_served(const char *model_type, char buf[CONFIG_KEYS_LIST_BYTES]);

/* True if the key is in a table of the family or known to change nothing in any family.
 */
bool config_keys_known(const struct config_family *family, const char *key);

/* The words of transformers' ACT2FN that mean a function of the kernels. */
extern const struct key_choice CONFIG_ACTS[];

/* Fills head_width and n_kv_heads where they are 0. ERR_MISMATCH if the heads don't
 * divide the width. */
enum err_code config_keys_heads(struct config *c, const char *width_key,
                                const char *heads_key, struct err *err) MUST_CHECK;

/* ---- for the tables of a family ---------------------------------------------------- */

#define CONFIG_COUNT(table) (sizeof(table) / sizeof *(table))
#define FIELD(name)         offsetof(struct config, name)
/* The row of a family. */
#define FAMILY(type, arch, keys, other, check)                                           \
    {                                                                                    \
        (type), (arch), (keys), CONFIG_COUNT(keys), (other), (check)                     \
    }

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

#endif
