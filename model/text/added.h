/* Added: finds a tokenizer's added tokens in a text, leftmost first, longest of those.
 *
 * One trie per set of tokens (the library keeps two: tokens found in the raw text and
 * tokens found in the normalized one). Content is at most PLAN_MAX_ADDED_BYTES long,
 * which keeps the search linear. Immutable once filled; any thread. */
#ifndef SEQ_TEXT_ADDED_H
#define SEQ_TEXT_ADDED_H

#include "model/base/err.h"
#include "model/text/aligned.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct added_token {
    int32_t id;
    bool single_word;    /* only where no word character is next to it */
    bool lstrip, rstrip; /* takes the blanks around it along */
};

struct added_edge {
    uint32_t from; /* node * 256 + byte, plus 1; 0: empty */
    uint32_t to;
};

struct added {
    struct added_edge *edges; /* open addressing, [mask + 1] */
    size_t mask;
    struct added_token *ends; /* by node; id -1: nothing ends here */
    size_t n_nodes, max_nodes;
    bool first[256]; /* bytes that a token begins with */
};

/* An empty set with room for tokens of `bytes` bytes in all. ERR_NOMEM. */
enum err_code added_init(struct added *a, size_t bytes, struct err *err) MUST_CHECK;
void added_done(struct added *a); /* a zeroed struct is fine */

/* Of two tokens with the same content the first one counts. n > 0. */
void added_put(struct added *a, const char *s, size_t n, struct added_token token);

/* Appends the pieces of s[0..n), moved by `shift`: tokens with their id and what lies
 * between with -1. A token's piece includes the blanks that it takes along. */
enum err_code added_split(const struct added *a, const char *s, size_t n, size_t shift,
                          struct pieces *out, struct err *err) MUST_CHECK;

#endif
