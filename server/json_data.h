/* Json_data: a tensor of strings as JSON gives it, flat or nested, for json_read. */
#ifndef SERVER_JSON_DATA_H
#define SERVER_JSON_DATA_H

#include <jansson.h>

#include "server/json_read.h"

/* Fills *out, whose `at` is the caller's block; `name` is the field's. On failure *out is
 * untouched. ERR_FORMAT for elements that are no strings or too deep, ERR_INPUT for lists
 * that are not all of one length. */
enum err_code json_data_read(const char *name, const json_t *v, struct json_data *out,
                             struct err *err) MUST_CHECK;

#endif
