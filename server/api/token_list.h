/* Token_list: the tokens of a request's text as replies show them, with what part of the
 * text each stands for. Pure; any thread. */
#ifndef SERVER_API_TOKEN_LIST_H
#define SERVER_API_TOKEN_LIST_H

#include "server/api/openapi.h"
#include "server/api/token_json.h"
#include "server/json_read.h"

/* What a request gave, and its tokens. */
struct token_source {
    const struct seq_model *m;
    struct json_text text, pair; /* `at` is NULL where there is none */
    const struct seq_tokens *tokens;
    size_t n_text;        /* of them the request's; the others were generated */
    bool tells_generated; /* each token says which it is */
    enum utf8_unit unit;  /* of starts and ends */
};

/* Where the starts and ends of tokens are, in both texts. Zeroed at first. */
struct token_cursors {
    struct token_cursor starts[2], ends[2];
};

/* What tokens [first, last] stand for: the keys text (or bytes), start, end and, of a
 * pair, part. Several tokens are of one text and not special. */
void token_list_span(struct json_writer *w, const struct token_source *s, size_t first,
                     size_t last, struct token_cursors *at);

/* That text alone, as one string. */
void token_list_word(struct json_writer *w, const struct token_source *s, size_t first,
                     size_t last);

/* The list of all tokens, as every reply shows it: token_list_shape each. */
void token_list_write(struct json_writer *w, const struct token_source *s);
extern const struct doc_shape token_list_shape[];

#endif
