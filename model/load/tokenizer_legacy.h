/* Tokenizer_legacy: the files from before tokenizer.json, as the tree that transformers'
 * conversion to a fast tokenizer writes. Which conversion it is depends on the class that
 * the folder names. Private to model/load/tokenizer_*.c. */
#ifndef SEQ_LOAD_TOKENIZER_LEGACY_H
#define SEQ_LOAD_TOKENIZER_LEGACY_H

#include "model/base/err.h"
#include "model/load/tokenizer_role.h"

#include <jansson.h>
#include <stdbool.h>

enum legacy_kind {
    LEGACY_BERT,    /* vocab.txt */
    LEGACY_MPNET,   /* vocab.txt, tokens of RoBERTa */
    LEGACY_GPT2,    /* vocab.json, merges.txt */
    LEGACY_ROBERTA, /* the same with <s> and </s> around a text */
    LEGACY_QWEN2    /* the same with another split */
};

/* A tokenizer class of transformers. */
struct legacy_class {
    const char *name; /* without "Fast" */
    enum legacy_kind kind;
    bool mask_normalized;
    const char *roles[TOKENIZER_ROLES]; /* its own defaults, NULL for none */
};

/* NULL if nothing here converts for a class of that name; "Fast" at its end is fine. */
const struct legacy_class *legacy_class_find(const char *name);
/* The name of the class that transformers takes for a model_type of config.json; NULL if
 * it is not among those served. */
const char *legacy_class_of_model(const char *model_type);
/* The names served, for messages. */
const char *legacy_class_names(void);

/* Reads dir/vocab.txt, or dir/vocab.json and dir/merges.txt. config is
 * tokenizer_config.json or NULL; roles says how its special tokens are spelled (NULL for
 * none). *out has no added_tokens yet. ERR_IO, ERR_FORMAT, ERR_MISMATCH, ERR_LIMIT,
 * ERR_NOMEM. */
enum err_code legacy_read(const char *dir, const struct legacy_class *c,
                          const json_t *config, const char *const *roles, json_t **out,
                          struct err *err) MUST_CHECK;

#endif
