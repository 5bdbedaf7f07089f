/* Normalize: the normalizer of a tokenizer, a list of steps over an aligned text.
 * Immutable after init; any thread. */
#ifndef SEQ_TEXT_NORMALIZE_H
#define SEQ_TEXT_NORMALIZE_H

#include "model/base/err.h"
#include "model/load/tokenizer_json.h"
#include "model/text/aligned.h"
#include "model/text/charsmap.h"
#include "model/text/pattern.h"

#include <stddef.h>
#include <stdint.h>

struct normalizer {
    enum normalizer_kind kind;
    bool clean_text, chinese_chars, strip_accents, lowercase;
    bool left, right;
    struct pattern pattern;
    char *content; /* what Replace and Prepend put in */
    size_t n_content;
    struct charsmap charsmap;
};

struct normalize {
    struct normalizer *steps;
    size_t n;
};

enum err_code normalize_init(struct normalize *z, const struct tokenizer_plan *plan,
                             struct err *err) MUST_CHECK;
void normalize_done(struct normalize *z); /* a zeroed struct is fine */

/* Puts *text, which begins at byte `origin` of the original, through all steps. *spare is
 * scratch; the two may be swapped. ERR_NOMEM, ERR_LIMIT. */
enum err_code normalize_apply(const struct normalize *z, uint32_t origin,
                              struct aligned *text, struct aligned *spare,
                              struct matcher *m, struct err *err) MUST_CHECK;

#endif
