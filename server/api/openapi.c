#include "server/api/openapi.h"

#include <stdio.h>
#include <string.h>

#include "server/errors.h"
#include "server/json_write.h"
#include "server/server.h"

const struct route_doc openapi_doc = {.name = "openapi"};

/* What a client may meet, besides 200; everything is the shape Error. */
static const enum problem OF_GET[] = {PROBLEM_METHOD};
static const enum problem OF_GET_MODEL[] = {PROBLEM_MODEL, PROBLEM_METHOD};
static const enum problem OF_PROBE[] = {PROBLEM_METHOD, PROBLEM_STOPPING};
static const enum problem OF_POST[] = {
    PROBLEM_JSON,     PROBLEM_FIELD,        PROBLEM_TASK,          PROBLEM_FRAMING,
    PROBLEM_MODEL,    PROBLEM_METHOD,       PROBLEM_SLOW,          PROBLEM_BODY_SIZE,
    PROBLEM_LIMIT,    PROBLEM_MEDIA_TYPE,   PROBLEM_VALUE,         PROBLEM_QUEUE_FULL,
    PROBLEM_INTERNAL, PROBLEM_NOMEM,        PROBLEM_QUEUE_TIMEOUT, PROBLEM_STOPPING,
    PROBLEM_ORIGIN,   PROBLEM_NO_ATTENTION,
};

static void begin(struct json_writer *w, const char *key)
{
    json_write_key(w, key);
    json_write_object(w);
}

static void write_ref(struct json_writer *w, const char *kind, const char *name,
                      const char *suffix)
{
    char ref[128];
    snprintf(ref, sizeof ref, "#/components/%s/%s%s", kind, name, suffix);
    json_write_key_string(w, "$ref", ref);
}

/* {"type":TYPE} or {"type":[TYPE,"null"]}; the object stays open. */
static void write_type(struct json_writer *w, const char *type, bool nullable)
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

static void write_items(struct json_writer *w, const char *type)
{
    begin(w, "items");
    json_write_key_string(w, "type", type);
    json_write_end(w);
}

/* ---- requests -------------------------------------------------------------------- */

static void write_number(struct json_writer *w, const char *key, double value)
{
    json_write_key(w, key);
    json_write_double(w, value);
}

static void write_lengths(struct json_writer *w, const struct json_field *f,
                          const char *least, const char *most)
{
    if (f->min > 0)
        write_number(w, least, f->min);
    if (f->max > 0)
        write_number(w, most, f->max);
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
    write_type(w, "object", nullable);
    begin(w, "properties");
    for (size_t k = 0; k < f->n_members; k++)
        write_field(w, &f->members[k]);
    json_write_end(w);
    write_required(w, f->members, f->n_members);
    json_write_key_bool(w, "additionalProperties", f->open);
}

static void write_list(struct json_writer *w, const struct json_field *f)
{
    write_type(w, "array", !f->required);
    begin(w, "items");
    write_members(w, f, false);
    json_write_end(w);
    write_lengths(w, f, "minItems", "maxItems");
}

/* A list of integers, or one of a few words, or an object. */
static void write_ints(struct json_writer *w, const struct json_field *f)
{
    static const char *const all[] = {"all", NULL};
    json_write_key(w, "oneOf");
    json_write_array(w);
    json_write_object(w);
    write_type(w, "array", false);
    write_items(w, "integer");
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
    write_type(w, "array", !f->required);
    write_items(w, "integer");
    write_lengths(w, f, "minItems", "maxItems");
}

static void write_pairs(struct json_writer *w, const struct json_field *f)
{
    write_type(w, "array", !f->required);
    begin(w, "items");
    write_type(w, "array", false);
    write_items(w, "integer");
    write_number(w, "minItems", 2);
    write_number(w, "maxItems", 2);
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

/* A list of `type`, or of lists of it; the object stays open. */
static void open_list_form(struct json_writer *w, const char *type, bool of_lists)
{
    json_write_object(w);
    write_type(w, "array", false);
    if (!of_lists) {
        write_items(w, type);
        return;
    }
    begin(w, "items");
    write_type(w, "array", false);
    write_items(w, type);
    write_number(w, "minItems", 1);
    json_write_end(w);
}

static void write_instances(struct json_writer *w, const struct json_field *f)
{
    write_type(w, "array", !f->required);
    begin(w, "items");
    json_write_key(w, "oneOf");
    json_write_array(w);
    write_form(w, "string");
    json_write_object(w);
    write_type(w, "object", false);
    begin(w, "properties");
    begin(w, "text");
    write_type(w, "string", false);
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
    open_list_form(w, "string", false);
    write_lengths(w, f, "minItems", "maxItems");
    json_write_end(w);
    if (f->type == JSON_FIELD_PROMPTS) {
        open_list_form(w, "integer", false);
        write_number(w, "minItems", 1);
        json_write_end(w);
        open_list_form(w, "integer", true);
        write_lengths(w, f, "minItems", "maxItems");
        json_write_end(w);
    }
    if (!f->required)
        write_form(w, "null");
    json_write_end(w);
}

static void write_map(struct json_writer *w, const struct json_field *f)
{
    write_type(w, "object", !f->required);
    write_number(w, "maxProperties", (double)f->most);
    begin(w, "propertyNames");
    json_write_key_string(w, "pattern", "^(0|[1-9][0-9]{0,9})$");
    json_write_end(w);
    begin(w, "additionalProperties");
    write_type(w, "number", false);
    write_number(w, "minimum", f->min);
    write_number(w, "maximum", f->max);
    json_write_end(w);
}

/* null counts as not given, so every field that may be left out may be null. */
static void write_field(struct json_writer *w, const struct json_field *f)
{
    bool nullable = !f->required;
    begin(w, f->name);
    switch (f->type) {
    case JSON_FIELD_TEXT: /* its most is in bytes, which a schema can't say */
        write_type(w, "string", nullable);
        if (f->min > 0)
            write_number(w, "minLength", 1);
        break;
    case JSON_FIELD_TEXTS:
        write_type(w, "array", nullable);
        write_items(w, "string");
        write_lengths(w, f, "minItems", "maxItems");
        break;
    case JSON_FIELD_INT:
    case JSON_FIELD_NUMBER:
        write_type(w, f->type == JSON_FIELD_INT ? "integer" : "number", nullable);
        write_number(w, "minimum", f->min);
        write_number(w, "maximum", f->max);
        break;
    case JSON_FIELD_BOOL:
    case JSON_FIELD_FLAG:
        write_type(w, "boolean", nullable);
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
    case JSON_FIELD_DATA: /* how deep, a schema needn't say */
        write_type(w, "array", nullable);
        break;
    }
    json_write_key_string(w, "description", f->help);
    json_write_end(w);
}

/* {"required":[NAME],"properties":{NAME:{"type":TYPE}}}: given, and not as null. */
static void write_given(struct json_writer *w, const char *name, const char *type)
{
    json_write_object(w);
    json_write_key(w, "required");
    json_write_array(w);
    json_write_string(w, name);
    json_write_end(w);
    begin(w, "properties");
    begin(w, name);
    json_write_key_string(w, "type", type);
    json_write_end(w);
    json_write_end(w);
    json_write_end(w);
}

static void write_request_schema(struct json_writer *w, const struct route_doc *doc)
{
    char name[64];
    snprintf(name, sizeof name, "%s_request", doc->name);
    begin(w, name);
    write_type(w, "object", false);
    begin(w, "properties");
    for (size_t i = 0; i < doc->n_fields; i++)
        write_field(w, &doc->fields[i]);
    json_write_end(w);
    write_required(w, doc->fields, doc->n_fields);
    if (doc->text_or_texts) {
        json_write_key(w, "oneOf");
        json_write_array(w);
        write_given(w, "text", "string");
        write_given(w, "texts", "array");
        json_write_end(w);
    }
    json_write_key_bool(w, "additionalProperties", false);
    json_write_end(w);
}

/* ---- replies --------------------------------------------------------------------- */

static const char *const TYPES[] = {
    [DOC_STRING] = "string",   [DOC_INTEGER] = "integer",  [DOC_NUMBER] = "number",
    [DOC_BOOLEAN] = "boolean", [DOC_OBJECT] = "object",    [DOC_LIST] = "array",
    [DOC_STRINGS] = "array",   [DOC_INTEGERS] = "array",   [DOC_NUMBERS] = "array",
    [DOC_SCORES] = "object",   [DOC_SCORE_LIST] = "array", [DOC_ARRAY] = "array",
    [DOC_ANY_LIST] = "array",  [DOC_RANGES] = "object",    [DOC_TABLE] = "array",
};

enum { SHAPE_DEPTH = 8 };

/* What is open while the tree of shapes is walked: the members still to write, and
 * in the items of how many lists, one in the other, they stand. */
struct level {
    const struct doc_shape *first, *next;
    unsigned lists;
};

/* "properties":{ ; the members follow one by one. */
static void open_members(struct json_writer *w, const struct doc_shape *members,
                         unsigned lists, struct level *level)
{
    for (unsigned i = lists; i; i--) {
        begin(w, "items");
        write_type(w, i > 1 ? "array" : "object", false);
    }
    begin(w, "properties");
    *level = (struct level){members, members, lists};
}

static void close_members(struct json_writer *w, const struct level *level)
{
    json_write_end(w);
    json_write_key(w, "required");
    json_write_array(w);
    for (const struct doc_shape *m = level->first; m->name; m++)
        if (!m->optional)
            json_write_string(w, m->name);
    json_write_end(w);
    json_write_key_bool(w, "additionalProperties", false);
    for (unsigned i = level->lists; i; i--)
        json_write_end(w);
}

/* Of an object with any keys. */
static void write_values(struct json_writer *w, const char *type, bool nullable)
{
    begin(w, "additionalProperties");
    write_type(w, type, nullable);
    json_write_end(w);
}

/* A member without its own members; its object stays open. */
static void open_member(struct json_writer *w, const struct doc_shape *m)
{
    begin(w, m->name);
    write_type(w, TYPES[m->type], m->nullable);
    if (m->help)
        json_write_key_string(w, "description", m->help);
    if (m->type == DOC_STRINGS)
        write_items(w, "string");
    if (m->type == DOC_INTEGERS)
        write_items(w, "integer");
    if (m->type == DOC_SCORES)
        write_values(w, "number", false);
    if (m->type == DOC_RANGES) {
        begin(w, "additionalProperties");
        write_type(w, "array", true);
        begin(w, "items");
        write_type(w, "number", true);
        json_write_end(w);
        json_write_end(w);
    }
    if (m->type == DOC_NUMBERS || m->type == DOC_SCORE_LIST) {
        begin(w, "items");
        write_type(w, m->type == DOC_NUMBERS ? "number" : "object", true);
        if (m->type == DOC_SCORE_LIST)
            write_values(w, "number", true);
        json_write_end(w);
    }
}

/* The open object gets the schema of these members, to any depth. */
static void write_shape(struct json_writer *w, const struct doc_shape *members)
{
    struct level stack[SHAPE_DEPTH];
    size_t depth = 0;
    open_members(w, members, 0, &stack[depth++]);
    while (depth) {
        struct level *top = &stack[depth - 1];
        const struct doc_shape *m = top->next;
        if (!m->name) {
            close_members(w, top);
            if (--depth)
                json_write_end(w); /* the member that had these members */
            continue;
        }
        top->next++;
        open_member(w, m);
        if (m->of && depth < SHAPE_DEPTH)
            open_members(w, m->of,
                         m->type == DOC_LIST    ? 1
                         : m->type == DOC_TABLE ? 3
                                                : 0,
                         &stack[depth++]);
        else
            json_write_end(w);
    }
}

/* The schema NAME_reply or NAME_event. */
static void write_shape_schema(struct json_writer *w, const struct route_doc *doc,
                               const char *suffix, const struct doc_shape *members)
{
    char name[64];
    snprintf(name, sizeof name, "%s%s", doc->name, suffix);
    begin(w, name);
    write_type(w, "object", false);
    write_shape(w, members);
    json_write_end(w);
}

static const struct doc_shape ERROR[] = {
    {"message", DOC_STRING, false, false, NULL, "One sentence for people"},
    {"type", DOC_STRING, false, false, NULL, "Whose fault it is"},
    {"code", DOC_STRING, false, false, NULL, "What went wrong, for programs"},
    {"param", DOC_STRING, false, true, NULL, "The request's field at fault"},
    {"needed_values", DOC_INTEGER, true, false, NULL, "What the request would need"},
    {"limit", DOC_INTEGER, true, false, NULL, "What it may need"},
    {"hint", DOC_STRING, true, false, NULL, "What to ask instead"},
    {0}};

static const struct doc_shape ERRORS[] = {{"error", DOC_OBJECT, .of = ERROR}, {0}};
static const struct doc_shape TEXT[] = {
    {"error", DOC_STRING, .help = "One sentence for people"}, {0}};

/* Of the dialects that routes speak. */
static const char *const ERROR_SCHEMAS[DIALECT_COUNT] = {
    [DIALECT_SEQD] = "error", [DIALECT_OIP] = "error_text"};

/* ---- operations ------------------------------------------------------------------ */

static const enum problem *problems_of(const struct route *r, size_t *n)
{
    if (strcmp(r->method, "POST") == 0) {
        *n = sizeof OF_POST / sizeof *OF_POST;
        return OF_POST;
    }
    if (strchr(r->path, '{')) {
        *n = sizeof OF_GET_MODEL / sizeof *OF_GET_MODEL;
        return OF_GET_MODEL;
    }
    if (r->quiet) {
        *n = sizeof OF_PROBE / sizeof *OF_PROBE;
        return OF_PROBE;
    }
    *n = sizeof OF_GET / sizeof *OF_GET;
    return OF_GET;
}

/* One member of "content". */
static void write_json_form(struct json_writer *w, const char *schema, const char *suffix,
                            const char *example)
{
    begin(w, "application/json");
    begin(w, "schema");
    write_ref(w, "schemas", schema, suffix);
    json_write_end(w);
    if (example) {
        json_write_key(w, "example");
        json_write_raw(w, example, strlen(example));
    }
    json_write_end(w);
}

static void write_json_content(struct json_writer *w, const char *schema,
                               const char *suffix, const char *example)
{
    begin(w, "content");
    write_json_form(w, schema, suffix, example);
    json_write_end(w);
}

/* Beside it what a schema can't say: a stream of events. */
static void write_events_form(struct json_writer *w, const struct route_doc *doc)
{
    char text[160];
    snprintf(text, sizeof text,
             "Events \"data: JSON\", each a %s_event, or an error; then \"data: "
             "[DONE]\"",
             doc->name);
    begin(w, "text/event-stream");
    begin(w, "schema");
    json_write_key_string(w, "type", "string");
    json_write_key_string(w, "description", text);
    json_write_end(w);
    json_write_end(w);
}

static void write_plain_content(struct json_writer *w, const char *type,
                                const char *schema)
{
    begin(w, "content");
    begin(w, type);
    begin(w, "schema");
    json_write_key_string(w, "type", schema);
    json_write_end(w);
    json_write_end(w);
    json_write_end(w);
}

static void write_ok(struct json_writer *w, const struct route_doc *doc)
{
    begin(w, "200");
    json_write_key_string(w, "description", "The answer");
    begin(w, "headers");
    begin(w, "X-Request-Id");
    write_ref(w, "headers", "request_id", "");
    json_write_end(w);
    if (doc->fields) {
        begin(w, "Server-Timing");
        write_ref(w, "headers", "server_timing", "");
        json_write_end(w);
    }
    json_write_end(w);
    if (doc->reply && doc->event) {
        begin(w, "content");
        write_json_form(w, doc->name, "_reply", doc->answer);
        write_events_form(w, doc);
        json_write_end(w);
    } else if (doc->reply)
        write_json_content(w, doc->name, "_reply", doc->answer);
    else if (doc->content_type)
        write_plain_content(w, doc->content_type, "string");
    else
        write_plain_content(w, "application/json", "object");
    json_write_end(w);
}

/* "code invalid_json, bad_framing" of all with the status of list[i]. */
static void list_codes(enum dialect d, const enum problem *list, size_t n, size_t i,
                       char *to, size_t cap)
{
    size_t used = 0;
    to[0] = '\0';
    for (size_t j = i; j < n && used < cap; j++)
        if (problem_row(d, list[j]).status == problem_row(d, list[i]).status)
            used += (size_t)snprintf(to + used, cap - used, "%s%s", used ? ", " : "code ",
                                     problem_row(d, list[j]).code);
}

static bool is_first_of_status(enum dialect d, const enum problem *list, size_t i)
{
    size_t j = 0;
    while (j < i && problem_row(d, list[j]).status != problem_row(d, list[i]).status)
        j++;
    return j == i;
}

/* One response per status; its description lists the codes. */
static void write_problems(struct json_writer *w, enum dialect d,
                           const enum problem *list, size_t n)
{
    char key[12], codes[256];
    for (size_t i = 0; i < n; i++) {
        unsigned status = problem_row(d, list[i]).status;
        if (!is_first_of_status(d, list, i))
            continue;
        list_codes(d, list, n, i, codes, sizeof codes);
        snprintf(key, sizeof key, "%u", status);
        begin(w, key);
        json_write_key_string(w, "description", codes);
        if (status == 429 || status == 503) {
            begin(w, "headers");
            begin(w, "Retry-After");
            write_ref(w, "headers", "retry_after", "");
            json_write_end(w);
            json_write_end(w);
        }
        write_json_content(w, ERROR_SCHEMAS[d], "", NULL);
        json_write_end(w);
    }
}

static void write_parameters(struct json_writer *w, const struct route *r)
{
    const char *open = strchr(r->path, '{');
    if (!open)
        return;
    json_write_key(w, "parameters");
    json_write_array(w);
    for (; open; open = strchr(open, '{')) {
        size_t n = strcspn(++open, "}");
        json_write_object(w);
        json_write_key(w, "name");
        json_write_text(w, open, n);
        json_write_key_string(w, "in", "path");
        json_write_key_bool(w, "required", true);
        begin(w, "schema");
        json_write_key_string(w, "type", "string");
        json_write_end(w);
        if (r->doc->example_model)
            json_write_key_string(w, "example", r->doc->example_model);
        json_write_end(w);
    }
    json_write_end(w);
}

static void write_operation(struct json_writer *w, const struct route *r)
{
    size_t n;
    const enum problem *problems = problems_of(r, &n);
    char method[8];
    snprintf(method, sizeof method, "%s",
             strcmp(r->method, "POST") == 0     ? "post"
             : strcmp(r->method, "DELETE") == 0 ? "delete"
                                                : "get");
    begin(w, method);
    json_write_key_string(w, "operationId", r->doc->name);
    json_write_key_string(w, "summary", r->summary);
    if (r->doc->more)
        json_write_key_string(w, "description", r->doc->more);
    write_parameters(w, r);
    if (r->doc->fields) {
        begin(w, "requestBody");
        json_write_key_bool(w, "required", true);
        write_json_content(w, r->doc->name, "_request", r->doc->example);
        json_write_end(w);
    }
    begin(w, "responses");
    write_ok(w, r->doc);
    write_problems(w, r->dialect, problems, n);
    begin(w, "default");
    json_write_key_string(w, "description", "Any other error has the same shape");
    write_json_content(w, ERROR_SCHEMAS[r->dialect], "", NULL);
    json_write_end(w);
    json_write_end(w);
    json_write_end(w);
}

static bool is_first_of_path(const struct route *routes, size_t i)
{
    for (size_t j = 0; j < i; j++)
        if (routes[j].summary && strcmp(routes[j].path, routes[i].path) == 0)
            return false;
    return true;
}

static void write_paths(struct json_writer *w, const struct route *routes, size_t n)
{
    begin(w, "paths");
    for (size_t i = 0; i < n; i++) {
        if (!routes[i].summary || !is_first_of_path(routes, i))
            continue;
        begin(w, routes[i].path);
        for (size_t j = i; j < n; j++)
            if (routes[j].summary && strcmp(routes[j].path, routes[i].path) == 0)
                write_operation(w, &routes[j]);
        json_write_end(w);
    }
    json_write_end(w);
}

/* ---- the document ---------------------------------------------------------------- */

static void write_header(struct json_writer *w, const char *name, const char *help,
                         const char *type)
{
    begin(w, name);
    json_write_key_string(w, "description", help);
    begin(w, "schema");
    json_write_key_string(w, "type", type);
    json_write_end(w);
    json_write_end(w);
}

static void write_components(struct json_writer *w, const struct route *routes, size_t n)
{
    begin(w, "components");
    begin(w, "schemas");
    begin(w, "error");
    write_type(w, "object", false);
    write_shape(w, ERRORS);
    json_write_end(w);
    begin(w, "error_text");
    write_type(w, "object", false);
    write_shape(w, TEXT);
    json_write_end(w);
    for (size_t i = 0; i < n; i++) {
        if (routes[i].summary && routes[i].doc->fields)
            write_request_schema(w, routes[i].doc);
        if (routes[i].summary && routes[i].doc->reply)
            write_shape_schema(w, routes[i].doc, "_reply", routes[i].doc->reply);
        if (routes[i].summary && routes[i].doc->event)
            write_shape_schema(w, routes[i].doc, "_event", routes[i].doc->event);
    }
    json_write_end(w);
    begin(w, "headers");
    write_header(w, "request_id", "The request's own, or a new one", "string");
    write_header(w, "server_timing", "queue, tokenize and compute in milliseconds",
                 "string");
    write_header(w, "retry_after", "Seconds to wait before the next try", "integer");
    json_write_end(w);
    json_write_end(w);
}

static void write_info(struct json_writer *w)
{
    begin(w, "info");
    json_write_key_string(w, "title", "seqd");
    json_write_key_string(w, "version", SEQD_VERSION);
    json_write_key_string(
        w, "description",
        "Next-word prediction, sentiment and attention maps from trained recurrent and "
        "transformer models. Bodies are JSON; unknown fields are refused by name; a "
        "field "
        "that is null counts as not given. `model` may be left out: GET /v1/models tells "
        "in `default_for` which one then answers, and every reply names it. The same "
        "request gives the same bytes, whatever the load; times are in headers.");
    begin(w, "license");
    json_write_key_string(w, "name", "MIT");
    json_write_key_string(w, "identifier", "MIT");
    json_write_end(w);
    json_write_end(w);
}

enum err_code openapi_handle(struct server *s, const struct request *q,
                             struct answer *out, struct err *err)
{
    (void)q;
    struct json_writer w = {0};
    json_write_object(&w);
    json_write_key_string(&w, "openapi", "3.1.0");
    write_info(&w);
    json_write_key(&w, "servers");
    json_write_array(&w);
    json_write_object(&w);
    json_write_key_string(&w, "url", "/");
    json_write_end(&w);
    json_write_end(&w);
    write_paths(&w, s->routes, s->n_routes);
    write_components(&w, s->routes, s->n_routes);
    json_write_end(&w);
    buf_put(&w.buf, "\n", 1);
    if (w.buf.failed) {
        json_write_done(&w);
        return err_set(err, ERR_NOMEM, "out of memory for openapi.json");
    }
    reply_take_json(&out->reply, &w);
    return ERR_OK;
}
