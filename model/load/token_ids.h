/* Token_ids: the ids of special tokens that config.json and generation_config.json tell.
 * Private to model/load/config*.c. One thread, at load. */
#ifndef SEQ_LOAD_TOKEN_IDS_H
#define SEQ_LOAD_TOKEN_IDS_H

#include "model/load/config.h"

#include <jansson.h>

/* Fills bos_id, eos_id(s) and pad_id of *c, whose vocab is known, from root's keys; what
 * is absent or null stays as it is. An id that the vocabulary does not have counts as not
 * given, since it can never be met: many small GPT-2 models carry the 50256 of the large
 * one. name is the file's, for messages. ERR_FORMAT, ERR_LIMIT. */
enum err_code token_ids_read(const json_t *root, const char *name, struct config *c,
                             struct err *err) MUST_CHECK;

/* The same from dir/generation_config.json if there is one. Also ERR_IO, ERR_NOMEM. */
enum err_code token_ids_override(const char *dir, struct config *c,
                                 struct err *err) MUST_CHECK;

#endif
