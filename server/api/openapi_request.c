#include "server/api/openapi_request.h"

#include <stdint.h>
#include <string.h>

#include "server/api/openapi_schema.h"

/* Of a field of integers: exact, where a double would be rounded. */
static void write_limit(struct json_writer *w, const char *key, double value)
{
    json_write_key(w, key);
    if (value >= (double)INT64_MAX)
        json_write_int(w, INT64_MAX);
    else if (value <= (double)INT64_MIN)
        json_write_int(w, INT64_MIN);
    else
        json_write_int(w, (int64_t)value);
}

static void write_lengths(struct json_writer *w, const struct json_field *f,
                          const char *least, const char *most)
{
    if (f->min > 0)
        schema_number(w, least, f->min);
    if (f->max > 0)
        schema_number(w, most, f->max);
}

static void write_enum(struct json_writer *w, const char *const *choices, bool nullable)
{
    json_write_key(w, "enum");
    json_write_array(w);
    for (; *choices; choices++)
        json_write_string(w, *choices);
    if (nullable)
        json_write_null(w);
    json_write_end(w);
}

static void write_field(struct json_writer *w, const struct json_field *f);

static void write_required(struct json_writer *w, const struct json_field *fields,
                           size_t n)
{
    json_write_key(w, "required");
    json_write_array(w);
    for (size_t i = 0; i < n; i++)
        if (fields[i].required)
            json_write_string(w, fields[i].name);
    json_write_end(w);
}

/* An object's schema but for its description; the object stays open. */
static void write_members(struct json_writer *w, const struct json_field *f,
                          bool nullable)
{
    schema_type(w, "object", nullable);
    schema_begin(w, "properties");
    for (size_t k = 0; k < f->n_members; k++)
        write_field(w, &f->members[k]);
    json_write_end(w);
    write_required(w, f->members, f->n_members);
    json_write_key_bool(w, "additionalProperties", f->open);
}

static void write_list(struct json_writer *w, const struct json_field *f)
{
    schema_type(w, "array", !f->required);
    schema_begin(w, "items");
    write_members(w, f, false);
    json_write_end(w);
    write_lengths(w, f, "minItems", "maxItems");
}

/* "items" of integers. */
static void write_integers(struct json_writer *w, int64_t least, int64_t most)
{
    schema_begin(w, "items");
    json_write_key_string(w, "type", "integer");
    json_write_key(w, "minimum");
    json_write_int(w, least);
    json_write_key(w, "maximum");
    json_write_int(w, most);
    json_write_end(w);
}

/* A list of integers, or one of a few words, or an object. */
static void write_ints(struct json_writer *w, const struct json_field *f)
{
    static const char *const all[] = {"all", NULL};
    json_write_key(w, "oneOf");
    json_write_array(w);
    json_write_object(w);
    schema_type(w, "array", false);
    write_integers(w, INT64_MIN, INT64_MAX);
    write_lengths(w, f, "minItems", "maxItems");
    json_write_end(w);
    json_write_object(w);
    write_enum(w, f->choices ? f->choices : all, !f->required);
    json_write_end(w);
    if (f->members) {
        json_write_object(w);
        write_members(w, f, false);
        json_write_end(w);
    }
    json_write_end(w);
}

static void write_ids(struct json_writer *w, const struct json_field *f)
{
    schema_type(w, "array", !f->required);
    write_integers(w, INT64_MIN, INT64_MAX);
    write_lengths(w, f, "minItems", "maxItems");
}

static void write_pairs(struct json_writer *w, const struct json_field *f)
{
    schema_type(w, "array", !f->required);
    schema_begin(w, "items");
    schema_type(w, "array", false);
    write_integers(w, INT64_MIN, INT64_MAX);
    schema_number(w, "minItems", 2);
    schema_number(w, "maxItems", 2);
    json_write_end(w);
    write_lengths(w, f, "minItems", "maxItems");
}

/* One of several forms; each a {"type":...} object. */
static void write_form(struct json_writer *w, const char *type)
{
    json_write_object(w);
    json_write_key_string(w, "type", type);
    json_write_end(w);
}

/* A list of texts or, if `ids`, of tokens; or of lists of these. The object stays open.
 */
static void open_list_form(struct json_writer *w, bool ids, bool of_lists)
{
    json_write_object(w);
    schema_type(w, "array", false);
    if (of_lists) {
        schema_begin(w, "items");
        schema_type(w, "array", false);
    }
    if (ids)
        write_integers(w, 0, INT32_MAX);
    else
        schema_items(w, "string");
    if (of_lists) {
        schema_number(w, "minItems", 1);
        json_write_end(w);
    }
}

static void write_instances(struct json_writer *w, const struct json_field *f)
{
    schema_type(w, "array", !f->required);
    schema_begin(w, "items");
    json_write_key(w, "oneOf");
    json_write_array(w);
    write_form(w, "string");
    json_write_object(w);
    schema_type(w, "object", false);
    schema_begin(w, "properties");
    schema_begin(w, "text");
    schema_type(w, "string", false);
    json_write_end(w);
    json_write_end(w);
    json_write_key(w, "required");
    json_write_array(w);
    json_write_string(w, "text");
    json_write_end(w);
    json_write_key_bool(w, "additionalProperties", false);
    json_write_end(w);
    json_write_end(w);
    json_write_end(w);
    write_lengths(w, f, "minItems", "maxItems");
}

/* A text or a list of texts; prompts may be token ids in place of texts, too. */
static void write_text_or_texts(struct json_writer *w, const struct json_field *f)
{
    json_write_key(w, "oneOf");
    json_write_array(w);
    write_form(w, "string");
    open_list_form(w, false, false);
    write_lengths(w, f, "minItems", "maxItems");
    json_write_end(w);
    if (f->type == JSON_FIELD_PROMPTS) {
        open_list_form(w, true, false);
        schema_number(w, "minItems", 1);
        json_write_end(w);
        open_list_form(w, true, true);
        write_lengths(w, f, "minItems", "maxItems");
        json_write_end(w);
    }
    if (!f->required)
        write_form(w, "null");
    json_write_end(w);
}

/* Lists of strings, all equally deep. */
static void write_data(struct json_writer *w, bool nullable)
{
    json_write_key(w, "anyOf");
    json_write_array(w);
    for (size_t rank = 1; rank <= JSON_DATA_RANK; rank++) {
        json_write_object(w);
        for (size_t i = 1; i < rank; i++) {
            schema_type(w, "array", false);
            schema_begin(w, "items");
        }
        schema_type(w, "array", false);
        schema_items(w, "string");
        for (size_t i = 0; i < rank; i++)
            json_write_end(w);
    }
    if (nullable)
        write_form(w, "null");
    json_write_end(w);
}

static void write_map(struct json_writer *w, const struct json_field *f)
{
    schema_type(w, "object", !f->required);
    schema_number(w, "maxProperties", (double)f->most);
    schema_begin(w, "propertyNames");
    json_write_key_string(w, "pattern", "^(0|[1-9][0-9]{0,9})$");
    json_write_end(w);
    schema_begin(w, "additionalProperties");
    schema_type(w, "number", false);
    schema_number(w, "minimum", f->min);
    schema_number(w, "maximum", f->max);
    json_write_end(w);
}

/* null counts as not given, so every field that may be left out may be null. */
static void write_field(struct json_writer *w, const struct json_field *f)
{
    bool nullable = !f->required;
    schema_begin(w, f->name);
    switch (f->type) {
    case JSON_FIELD_TEXT: /* its most is in bytes, which a schema can't say */
        schema_type(w, "string", nullable);
        if (f->min > 0)
            schema_number(w, "minLength", 1);
        break;
    case JSON_FIELD_TEXTS:
        schema_type(w, "array", nullable);
        schema_items(w, "string");
        write_lengths(w, f, "minItems", "maxItems");
        break;
    case JSON_FIELD_INT:
        schema_type(w, "integer", nullable);
        write_limit(w, "minimum", f->min);
        write_limit(w, "maximum", f->max);
        break;
    case JSON_FIELD_NUMBER:
        schema_type(w, "number", nullable);
        schema_number(w, "minimum", f->min);
        schema_number(w, "maximum", f->max);
        break;
    case JSON_FIELD_BOOL:
    case JSON_FIELD_FLAG:
        schema_type(w, "boolean", nullable);
        break;
    case JSON_FIELD_CHOICE:
        write_enum(w, f->choices, nullable);
        break;
    case JSON_FIELD_INTS:
    case JSON_FIELD_INTS_OR_OBJECT:
        write_ints(w, f);
        break;
    case JSON_FIELD_IDS:
        write_ids(w, f);
        break;
    case JSON_FIELD_PAIRS:
        write_pairs(w, f);
        break;
    case JSON_FIELD_INSTANCES:
        write_instances(w, f);
        break;
    case JSON_FIELD_TEXT_OR_TEXTS:
    case JSON_FIELD_PROMPTS:
        write_text_or_texts(w, f);
        break;
    case JSON_FIELD_NUMBER_MAP:
        write_map(w, f);
        break;
    case JSON_FIELD_OBJECT:
        write_members(w, f, nullable);
        break;
    case JSON_FIELD_LIST:
        write_list(w, f);
        break;
    case JSON_FIELD_DATA:
        write_data(w, nullable);
        break;
    }
    json_write_key_string(w, "description", f->help);
    json_write_end(w);
}

static bool is_text(const struct route_doc *doc, const char *name)
{
    for (size_t i = 0; i < doc->n_fields; i++)
        if (strcmp(doc->fields[i].name, name) == 0)
            return doc->fields[i].type == JSON_FIELD_TEXT;
    return false;
}

/* {"required":[NAME],"properties":{NAME:{"type":TYPE}}}: given, and not as null. */
static void write_given(struct json_writer *w, const char *name, const char *type)
{
    json_write_object(w);
    json_write_key(w, "required");
    json_write_array(w);
    json_write_string(w, name);
    json_write_end(w);
    schema_begin(w, "properties");
    schema_begin(w, name);
    json_write_key_string(w, "type", type);
    json_write_end(w);
    json_write_end(w);
    json_write_end(w);
}

/* {"properties":{NAME:{"type":"null"},...}}: all null, or not given. */
static void write_none(struct json_writer *w, const char *const *names)
{
    json_write_object(w);
    schema_begin(w, "properties");
    for (; *names; names++) {
        schema_begin(w, *names);
        json_write_key_string(w, "type", "null");
        json_write_end(w);
    }
    json_write_end(w);
    json_write_end(w);
}

static void write_one_of(struct json_writer *w, const struct route_doc *doc)
{
    json_write_key(w, "oneOf");
    json_write_array(w);
    for (const char *const *name = doc->one_of; *name; name++)
        write_given(w, *name, is_text(doc, *name) ? "string" : "array");
    if (doc->or_none)
        write_none(w, doc->one_of);
    json_write_end(w);
}

/* The members of a body, in the open object. */
static void write_body(struct json_writer *w, const struct route_doc *doc)
{
    schema_type(w, "object", false);
    schema_begin(w, "properties");
    for (size_t i = 0; i < doc->n_fields; i++)
        write_field(w, &doc->fields[i]);
    json_write_end(w);
    write_required(w, doc->fields, doc->n_fields);
    if (doc->one_of)
        write_one_of(w, doc);
    json_write_key_bool(w, "additionalProperties", false);
}

void openapi_request_schema(struct json_writer *w, const struct route_doc *doc)
{
    schema_begin_named(w, doc->name, "_request");
    write_body(w, doc);
    json_write_end(w);
}
