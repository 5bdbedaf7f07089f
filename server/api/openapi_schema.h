/* Openapi_schema: what the parts of the document share to write JSON schemas. Any thread.
 */
#ifndef SERVER_API_OPENAPI_SCHEMA_H
#define SERVER_API_OPENAPI_SCHEMA_H

#include "server/json_write.h"

#include <stdbool.h>
#include <stdio.h>

/* "KEY":{ */
static inline void schema_begin(struct json_writer *w, const char *key)
{
    json_write_key(w, key);
    json_write_object(w);
}

/* The same, of two parts. */
static inline void schema_begin_named(struct json_writer *w, const char *name,
                                      const char *suffix)
{
    char key[80];
    snprintf(key, sizeof key, "%s%s", name, suffix);
    schema_begin(w, key);
}

/* "$ref":"#/components/KIND/NAMESUFFIX" */
static inline void schema_ref(struct json_writer *w, const char *kind, const char *name,
                              const char *suffix)
{
    char ref[128];
    snprintf(ref, sizeof ref, "#/components/%s/%s%s", kind, name, suffix);
    json_write_key_string(w, "$ref", ref);
}

/* "type":TYPE or "type":[TYPE,"null"] */
static inline void schema_type(struct json_writer *w, const char *type, bool nullable)
{
    json_write_key(w, "type");
    if (!nullable) {
        json_write_string(w, type);
        return;
    }
    json_write_array(w);
    json_write_string(w, type);
    json_write_string(w, "null");
    json_write_end(w);
}

/* "items":{"type":TYPE} */
static inline void schema_items(struct json_writer *w, const char *type)
{
    schema_begin(w, "items");
    json_write_key_string(w, "type", type);
    json_write_end(w);
}

static inline void schema_number(struct json_writer *w, const char *key, double value)
{
    json_write_key(w, key);
    json_write_double(w, value);
}

#endif
