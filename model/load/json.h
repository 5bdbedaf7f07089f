/* Json: a text to a jansson tree that is safe to walk, and typed reads of its members.
 *
 * Texts are scanned (model/base/json_scan.h) before jansson sees them; duplicate keys,
 * NUL in strings and keys, integers past 64 bits and reals past a double are refused. The
 * root is an object unless a list is asked for. Trees live inside one load function: the
 * caller json_decref()s.
 *
 * In the readers `where` says which object is read, for messages: "config.json" or
 * "tokenizer.json: model". A message reads `config.json: hidden_size: want an integer 1
 * to 65536, found "big"`. Any thread (nobody calls setlocale). */
#ifndef SEQ_LOAD_JSON_H
#define SEQ_LOAD_JSON_H

#include "model/base/err.h"
#include "model/base/json_scan.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* name is what messages call the text. ERR_FORMAT, ERR_LIMIT, ERR_NOMEM. */
enum err_code json_read_text(const char *name, const char *text, size_t n,
                             const struct json_limits *limits, json_t **out,
                             struct err *err) MUST_CHECK;

/* The same for the file dir/name of at most max_bytes. Also ERR_IO. */
enum err_code json_read_file(const char *dir, const char *name, size_t max_bytes,
                             const struct json_limits *limits, json_t **out,
                             struct err *err) MUST_CHECK;

/* The same with every number read as a real, for a file whose numbers are left aside:
 * tokenizer_config.json often has a model_max_length of 10^30. */
enum err_code json_read_file_of_reals(const char *dir, const char *name, size_t max_bytes,
                                      const struct json_limits *limits, json_t **out,
                                      struct err *err) MUST_CHECK;

/* json_read_file for a text whose root is a list. */
enum err_code json_read_list(const char *dir, const char *name, size_t max_bytes,
                             const struct json_limits *limits, json_t **out,
                             struct err *err) MUST_CHECK;

/* True if the key is there and not null; null counts as absent everywhere. */
bool json_read_has(const json_t *object, const char *key);

/* The value must be there and of the kind asked for, else ERR_FORMAT. What is read is
 * borrowed from the tree. */
enum err_code json_read_object(const json_t *object, const char *where, const char *key,
                               json_t **out, struct err *err) MUST_CHECK;
enum err_code json_read_array(const json_t *object, const char *where, const char *key,
                              json_t **out, struct err *err) MUST_CHECK;
enum err_code json_read_string(const json_t *object, const char *where, const char *key,
                               const char **out, struct err *err) MUST_CHECK;
enum err_code json_read_bool(const json_t *object, const char *where, const char *key,
                             bool *out, struct err *err) MUST_CHECK;

/* A closed range of integers; 3.0 is no integer. */
struct json_range {
    int64_t min, max;
};
enum err_code json_read_integer(const json_t *object, const char *where, const char *key,
                                struct json_range range, int64_t *out,
                                struct err *err) MUST_CHECK;

/* Any number, integer or not, with min <= value <= max. */
struct json_reals {
    double min, max;
};
enum err_code json_read_real(const json_t *object, const char *where, const char *key,
                             struct json_reals range, double *out,
                             struct err *err) MUST_CHECK;

/* A string out of names[0..n): its index. ERR_UNSUPPORTED names them all otherwise. */
enum err_code json_read_choice(const json_t *object, const char *where, const char *key,
                               const char *const *names, size_t n, size_t *out,
                               struct err *err) MUST_CHECK;

/* ERR_UNSUPPORTED naming the first key that is not null and not among known[0..n). */
enum err_code json_read_known(const json_t *object, const char *where,
                              const char *const *known, size_t n,
                              struct err *err) MUST_CHECK;

enum { JSON_SHOW_BYTES = 80 };

/* A value in a few words, for messages: `"gelu"`, `12`, `null`, `a list`; NULL is
 * `nothing`. Returns buf. */
const char *json_read_show(const json_t *value, char buf[JSON_SHOW_BYTES]);

#endif
