/* Added_tokens: tokens that are found in a text before anything else, as the files beside
 * tokenizer.json list them, put among its own. Private to model/load/tokenizer_*.c. */
#ifndef SEQ_LOAD_ADDED_TOKENS_H
#define SEQ_LOAD_ADDED_TOKENS_H

#include "model/base/err.h"
#include "model/load/tokenizer_role.h"

#include <jansson.h>
#include <stdbool.h>

/* What an entry that does not say is taken for. */
struct added_absent {
    bool lstrip, normalized;
};

/* A new entry as tokenizer.json has them in added_tokens, without id, from a string or an
 * object with `content` and flags: where[key]. ERR_FORMAT, ERR_LIMIT, ERR_NOMEM. */
enum err_code added_tokens_make(const json_t *value, const char *where, const char *key,
                                struct added_absent absent, json_t **out,
                                struct err *err) MUST_CHECK;

/* How an entry is spelled; NULL if it is no object with content. */
const char *added_tokens_content(const json_t *token);

struct added_sources {
    const json_t *config; /* tokenizer_config.json or NULL */
    json_t *added;        /* added_tokens.json or NULL; left aside if config lists them */
    json_t *const *roles; /* [TOKENIZER_ROLES], NULL for none; entries as above */
    const json_t *others; /* a list of such */
};

/* Puts behind root's added_tokens what they lack: all that is listed with an id, and
 * tokens with a role if the vocabulary has them (a new id would be past what the model
 * knows). ERR_FORMAT, ERR_MISMATCH (an id that the library would not give), ERR_LIMIT,
 * ERR_UNSUPPORTED, ERR_NOMEM. */
enum err_code added_tokens_complete(const struct added_sources *f, json_t *root,
                                    struct err *err) MUST_CHECK;

#endif
