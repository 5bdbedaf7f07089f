/* UTF-8: checking and stepping. Pure functions on bytes; any thread. */
#ifndef SEQ_BASE_UTF8_H
#define SEQ_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The length of the longest valid prefix of s[0..n): n when all is valid UTF-8 (RFC 3629:
 * no overlong forms, no surrogates, nothing past U+10FFFF). NUL bytes are valid. */
size_t utf8_valid(const char *s, size_t n);

/* Reads the character at s[0..n), n > 0, of valid UTF-8; *len gets its 1 to 4 bytes. */
uint32_t utf8_get(const char *s, size_t n, size_t *len);

/* Writes cp as 1 to 4 bytes and returns how many. cp is a scalar value. */
size_t utf8_put(uint32_t cp, char out[4]);

enum utf8_unit { UTF8_BYTES, UTF8_CODE_POINTS, UTF16_UNITS };

/* How many units the valid text s[0..n) has. */
size_t utf8_count(const char *s, size_t n, enum utf8_unit unit);

#endif
