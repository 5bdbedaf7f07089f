/* Scan: hand-written scanners for well-known regular expressions of tokenizer.json. They
 * need no regex engine and no limits, and know the library's Unicode version. Pure
 * functions; any thread. */
#ifndef SEQ_TEXT_SCAN_H
#define SEQ_TEXT_SCAN_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes begin..end-1 of what was searched. */
struct match {
    size_t begin, end;
};

/* Finds the first match in the valid UTF-8 s[0..n) from `at` on; false if there is none.
 */
typedef bool (*scan_fn)(const char *s, size_t n, size_t at, struct match *out);

/* The scanner for exactly this expression, or NULL. */
scan_fn scan_known(const char *regex, size_t n);

/* The expression of GPT-2, which ByteLevel uses. */
bool scan_gpt2(const char *s, size_t n, size_t at, struct match *out);

#endif
