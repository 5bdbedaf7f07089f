/* Text: bytes that grow. One owner. */
#ifndef SEQ_TEXT_TEXT_H
#define SEQ_TEXT_TEXT_H

#include "model/base/err.h"

#include <stddef.h>

/* A zeroed struct is empty. */
struct text {
    char *at;
    size_t n, cap;
};

void text_done(struct text *t);
/* Appends n bytes. ERR_NOMEM. */
enum err_code text_add(struct text *t, const char *s, size_t n,
                       struct err *err) MUST_CHECK;
/* The same, each byte sequence that is not UTF-8 replaced by U+FFFD, the longest that
 * could have begun a character at once. */
enum err_code text_add_repaired(struct text *t, const char *s, size_t n,
                                struct err *err) MUST_CHECK;

/* How many bytes at the end of s[0..n) are the beginning of a character that is not all
 * there: 0 to 3. */
size_t text_open_end(const char *s, size_t n);

#endif
