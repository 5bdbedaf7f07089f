/* Regex: rewrites an expression from Oniguruma's Ruby syntax, which the `tokenizers`
 * library uses, to PCRE2's. Pure; any thread. */
#ifndef SEQ_TEXT_REGEX_H
#define SEQ_TEXT_REGEX_H

#include "model/base/err.h"
#include "model/text/text.h"

#include <stddef.h>

/* Appends the rewritten regex[0..n) to *out.
 * ERR_UNSUPPORTED, naming `where` and the construct, for what the two engines might read
 * differently; ERR_NOMEM. */
enum err_code regex_rewrite(const char *regex, size_t n, const char *where,
                            struct text *out, struct err *err) MUST_CHECK;

#endif
