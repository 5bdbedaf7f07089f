/* Json_types: one value of a request into its place, by the type of its field. json_read
 * goes through objects and their lists, and comes here for all else. Any thread. */
#ifndef SERVER_JSON_TYPES_H
#define SERVER_JSON_TYPES_H

#include <jansson.h>

#include "server/json_read.h"

/* Fills the member at `at`. On failure nothing is allocated in it. The type is neither
 * JSON_FIELD_OBJECT nor JSON_FIELD_LIST. */
enum err_code json_types_read(const struct json_field *f, const json_t *v, void *at,
                              struct err *err) MUST_CHECK;

/* Frees and clears it; nothing for objects and lists of them. */
void json_types_done(const struct json_field *f, void *at);

/* "an object", "a list", ... */
const char *json_types_name(const json_t *v);

/* The errors of all types: ERR_FORMAT about path, which must be `wanted`; ERR_NOMEM. */
enum err_code json_types_wrong(const char *path, const char *wanted, const json_t *v,
                               struct err *err);
enum err_code json_types_no_memory(const struct json_field *f, struct err *err);

/* Whether a list of n may be given. ERR_INPUT if it is too short, else ERR_LIMIT. */
enum err_code json_types_check_length(const struct json_field *f, size_t n,
                                      struct err *err) MUST_CHECK;

#endif
