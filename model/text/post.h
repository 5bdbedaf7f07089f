/* Post: what is done to the tokens of a text once they are known: blanks are trimmed off
 * their offsets, and special tokens are put around them. Pure; any thread. */
#ifndef SEQ_TEXT_POST_H
#define SEQ_TEXT_POST_H

#include "model/load/tokenizer_json.h"
#include "model/text/aligned.h"
#include "model/text/token.h"

#include <stdbool.h>
#include <stddef.h>

/* Trims the span of the token that reads s[0..n), in the file's spelling, by the blanks
 * it begins and ends with. `first`: it is the text's first token. prefix: a text's first
 * blank may have been put there by the tokenizer and is left alone. */
struct span post_trim(struct span span, const char *text, const char *s, size_t n,
                      bool first, bool prefix);

#endif
