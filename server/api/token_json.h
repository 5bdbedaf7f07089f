/* Token_json: how tokens look in replies. Pure; any thread. */
#ifndef SERVER_API_TOKEN_JSON_H
#define SERVER_API_TOKEN_JSON_H

#include "model/seq.h"
#include "server/json_write.h"

/* A token as tokenizer.json spells it; null for an id without a token. */
void token_json_piece(struct json_writer *w, const struct seq_model *m, int32_t id);

/* The key "text" with n bytes; where they are no UTF-8 alone: null, and the key "bytes"
 * with them in hexadecimal. */
void token_json_text(struct json_writer *w, const char *bytes, size_t n);

/* Where we are in a text, in two units. Zeroed is its beginning. Tokens may stand for one
 * and the same long part, so that starts and ends want a cursor each. */
struct token_cursor {
    size_t byte, unit;
};

/* Moves the cursor to a byte of the valid text (forward or back); returns the unit. */
size_t token_json_offset(struct token_cursor *at, const char *text, size_t byte,
                         enum utf8_unit unit);

#endif
