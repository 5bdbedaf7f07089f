/* Split: the pre-tokenizer of a tokenizer, a list of steps that cut pieces smaller and
 * sometimes change their text. Immutable after init; any thread. */
#ifndef SEQ_TEXT_SPLIT_H
#define SEQ_TEXT_SPLIT_H

#include "model/base/err.h"
#include "model/load/tokenizer_json.h"
#include "model/text/aligned.h"
#include "model/text/pattern.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct splitter {
    enum splitter_kind kind;
    bool prefix_space, use_regex, invert, split;
    enum split_behavior behavior;
    enum prepend_scheme scheme;
    struct pattern pattern;
    char character[4]; /* one code point of n_character bytes */
    size_t n_character;
    size_t length; /* characters of a piece */
};

struct split {
    struct splitter *steps;
    size_t n;
};

/* A text and its pieces, which may overlap but not run backwards. */
struct cut {
    struct aligned text;
    struct pieces pieces;
};

enum err_code split_init(struct split *s, const struct tokenizer_plan *plan,
                         struct err *err) MUST_CHECK;
void split_done(struct split *s); /* a zeroed struct is fine */

/* Puts *cut through all steps. Pieces with an id stay as they are. *spare is scratch; the
 * two may be swapped. ERR_NOMEM, ERR_LIMIT. */
enum err_code split_apply(const struct split *s, struct cut *cut, struct cut *spare,
                          struct matcher *m, struct err *err) MUST_CHECK;

#endif
