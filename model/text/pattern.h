/* Pattern: what Split and Replace look for: a literal string or a regular expression.
 *
 * Well-known expressions have scanners of their own (scan.h); others are rewritten from
 * Oniguruma's syntax to PCRE2's, which then serves them. What the two would read
 * differently is refused. PCRE2's Unicode is older (14 on Debian 12; the library has 16):
 * it is shown another character of the same category for each from 2022 on
 * (unicode_stand_in). A pattern is immutable and shared; a matcher is one thread's. */
#ifndef SEQ_TEXT_PATTERN_H
#define SEQ_TEXT_PATTERN_H

#include "model/base/err.h"
#include "model/load/tokenizer_json.h"
#include "model/text/scan.h"
#include "model/text/text.h"

#include <stdbool.h>
#include <stddef.h>

struct pattern {
    char *literal; /* or NULL */
    size_t n_literal;
    scan_fn scan; /* or NULL */
    void *code;   /* pcre2_code, or NULL */
};

/* `where` is the component, for messages. ERR_UNSUPPORTED for an expression that is not
 * served, ERR_FORMAT for one that does not compile, ERR_NOMEM. */
enum err_code pattern_init(struct pattern *p, const struct plan_pattern *plan,
                           const char *where, struct err *err) MUST_CHECK;
void pattern_done(struct pattern *p); /* a zeroed struct is fine */

/* Scratch for matching, zeroed to begin with. */
struct matcher {
    void *data, *context; /* pcre2_match_data, pcre2_match_context */
    size_t cost_left;     /* of the expressions, in one call */
    struct text shown;    /* the text being searched, if PCRE2 must see another one */
};
void matcher_done(struct matcher *m);

/* Finds the first match in the valid UTF-8 s[0..n) from `at` on; *found tells whether
 * there is one. The first search of a text is from 0, those that follow (until another
 * text's first) are of the same text. Matches are never empty. ERR_LIMIT if the
 * expression takes too many steps, ERR_NOMEM. */
enum err_code pattern_find(const struct pattern *p, struct matcher *m, const char *s,
                           size_t n, size_t at, bool *found, struct match *out,
                           struct err *err) MUST_CHECK;

#endif
