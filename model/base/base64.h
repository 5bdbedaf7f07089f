/* Base64 (RFC 4648), with the standard alphabet. Pure; any thread. */
#ifndef SEQ_BASE_BASE64_H
#define SEQ_BASE_BASE64_H

#include <stdbool.h>
#include <stddef.h>

/* The most bytes that n characters stand for. */
size_t base64_room(size_t n);

/* Decodes s[0..n) to out[0..*n_out); padding may be left out. False if it is not base64
 * of the standard alphabet, or bits are left over. */
bool base64_decode(const char *s, size_t n, unsigned char *out, size_t *n_out);

/* The characters that n bytes become; 0 if there is no such number. */
size_t base64_length(size_t n);

/* Encodes in[0..n) to out[0..base64_length(n)), padded, without a zero behind it. */
void base64_encode(const unsigned char *in, size_t n, char *out);

#endif
