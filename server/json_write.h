/* Json_write: writes JSON text straight into a buffer. No tree is built: a map of a
 * million floats costs its text and nothing else.
 *
 * The writer puts the commas; the caller opens, closes and names. Whatever bytes it is
 * given, the result is valid JSON in valid UTF-8: strings are escaped, bytes that are not
 * UTF-8 become U+FFFD, numbers that are not finite become null. Memory trouble is latched
 * in buf.failed and looked at once, at the end. One owner. */
#ifndef SERVER_JSON_WRITE_H
#define SERVER_JSON_WRITE_H

#include "server/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { JSON_WRITE_DEPTH = 64, JSON_WRITE_DECIMALS = 9 };

/* Zeroed is a fresh writer. */
struct json_writer {
    struct buf buf;
    unsigned depth;
    bool after_key;                /* the next value belongs to a key */
    bool filled[JSON_WRITE_DEPTH]; /* this level has an element already */
    char close[JSON_WRITE_DEPTH];  /* '}' or ']' */
};

void json_write_done(struct json_writer *w);

void json_write_object(struct json_writer *w); /* { */
void json_write_array(struct json_writer *w);  /* [ */
void json_write_end(struct json_writer *w);    /* closes the innermost of both */

void json_write_key(struct json_writer *w, const char *key);
void json_write_key_n(struct json_writer *w, const char *key, size_t n);

void json_write_string(struct json_writer *w, const char *s); /* NULL writes null */
void json_write_text(struct json_writer *w, const char *s, size_t n);
void json_write_int(struct json_writer *w, int64_t value);
void json_write_uint(struct json_writer *w, uint64_t value);
void json_write_bool(struct json_writer *w, bool value);
void json_write_null(struct json_writer *w);

/* The shortest text that reads back as the same double, or the same float. */
void json_write_double(struct json_writer *w, double value);
void json_write_float(struct json_writer *w, float value);

/* Rounded to `decimals` (0..JSON_WRITE_DECIMALS) digits after the point, zeros at the end
 * left out: 0.25, 1, 0. Fast for |value| < 1e9; beyond it is json_write_double. */
void json_write_fixed(struct json_writer *w, double value, unsigned decimals);

/* An array of n floats, each as by json_write_fixed. */
void json_write_floats(struct json_writer *w, const float *values, size_t n,
                       unsigned decimals);

/* n bytes that are one JSON value already. */
void json_write_raw(struct json_writer *w, const char *json, size_t n);

/* Shorthands: key and value. */
void json_write_key_string(struct json_writer *w, const char *key, const char *s);
void json_write_key_uint(struct json_writer *w, const char *key, uint64_t value);
void json_write_key_bool(struct json_writer *w, const char *key, bool value);
void json_write_key_fixed(struct json_writer *w, const char *key, double value,
                          unsigned decimals);

#endif
