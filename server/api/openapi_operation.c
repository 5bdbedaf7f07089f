#include "server/api/openapi_operation.h"

#include <stdio.h>
#include <string.h>

#include "server/api/openapi.h"
#include "server/api/openapi_reply.h"
#include "server/api/openapi_schema.h"
#include "server/errors.h"

enum { OPERATION_BYTES = 80 };

/* Unique: a form's path may be there with a version, too. */
static void operation_id(const struct route *r, char id[OPERATION_BYTES])
{
    snprintf(id, OPERATION_BYTES, "%s%s", r->doc->name,
             strstr(r->path, "{version}") ? "_version" : "");
}

/* The dialect of a form's errors: the first form has the route's. */
static enum dialect dialect_of(const struct route *r, const struct route_doc *doc)
{
    return doc == r->doc ? r->dialect : doc->dialect;
}

static bool is_get(const struct route *r)
{
    return strcmp(r->method, "GET") == 0;
}

static bool has_fields(const struct route_doc *doc)
{
    for (; doc; doc = doc->other)
        if (doc->fields)
            return true;
    return false;
}

/* ---- content --------------------------------------------------------------------- */

/* What the dialects of a path differ in. */
struct part {
    const char *suffix; /* "_request" */
    bool (*has)(const struct route_doc *doc);
    const char *(*example)(const struct route_doc *doc);
};

static bool has_body(const struct route_doc *doc)
{
    return doc->fields != NULL;
}

static const char *body_example(const struct route_doc *doc)
{
    return doc->example;
}

static const char *answer_example(const struct route_doc *doc)
{
    return doc->answer;
}

static const struct part BODY = {"_request", has_body, body_example};
static const struct part REPLY = {"_reply", openapi_reply_is_known, answer_example};

static size_t count(const struct route_doc *doc, const struct part *part)
{
    size_t n = 0;
    for (; doc; doc = doc->other)
        n += part->has(doc);
    return n;
}

/* "schema": of the only form, or any of theirs. */
static void write_schemas(struct json_writer *w, const struct route_doc *doc,
                          const struct part *part)
{
    bool several = count(doc, part) > 1;
    schema_begin(w, "schema");
    if (several) {
        json_write_key(w, "anyOf");
        json_write_array(w);
    }
    for (; doc; doc = doc->other) {
        if (!part->has(doc))
            continue;
        if (several)
            json_write_object(w);
        schema_ref(w, "schemas", doc->name, part->suffix);
        if (several)
            json_write_end(w);
    }
    if (several)
        json_write_end(w);
    json_write_end(w);
}

/* "examples", each under its form's name. */
static void write_examples(struct json_writer *w, const struct route_doc *doc,
                           const struct part *part)
{
    bool any = false;
    for (; doc; doc = doc->other) {
        const char *example = part->example(doc);
        if (!example)
            continue;
        if (!any)
            schema_begin(w, "examples");
        any = true;
        schema_begin(w, doc->name);
        json_write_key(w, "value");
        json_write_raw(w, example, strlen(example));
        json_write_end(w);
    }
    if (any)
        json_write_end(w);
}

static void write_json(struct json_writer *w, const struct route_doc *doc,
                       const struct part *part)
{
    schema_begin(w, "application/json");
    write_schemas(w, doc, part);
    write_examples(w, doc, part);
    json_write_end(w);
}

/* "TYPE":{"schema":{"type":SCHEMA}} */
static void write_plain(struct json_writer *w, const char *type, const char *schema)
{
    schema_begin(w, type);
    schema_begin(w, "schema");
    json_write_key_string(w, "type", schema);
    json_write_end(w);
    json_write_end(w);
}

/* Bytes are no JSON: a media type without a schema. */
static void write_bytes(struct json_writer *w, const char *type)
{
    schema_begin(w, type);
    json_write_end(w);
}

/* The data of one kind of event: JSON of that schema. */
static void write_event_data(struct json_writer *w, const char *schema,
                             const char *suffix)
{
    json_write_object(w);
    json_write_key_string(w, "type", "string");
    json_write_key_string(w, "contentMediaType", "application/json");
    schema_begin(w, "contentSchema");
    schema_ref(w, "schemas", schema, suffix);
    json_write_end(w);
    json_write_end(w);
}

/* What data of events may be, in every form that has them. */
static void write_events_of(struct json_writer *w, const struct route *r)
{
    for (const struct route_doc *doc = r->doc; doc; doc = doc->other) {
        if (!doc->event)
            continue;
        write_event_data(w, doc->name, "_event");
        write_event_data(w, openapi_reply_error(dialect_of(r, doc)), "");
        if (!doc->event_end)
            continue;
        json_write_object(w);
        json_write_key_string(w, "const", doc->event_end);
        json_write_end(w);
    }
}

/* The schema is that of each event. */
static void write_events(struct json_writer *w, const struct route *r)
{
    bool any = false;
    for (const struct route_doc *doc = r->doc; doc; doc = doc->other)
        any |= doc->event != NULL;
    if (!any)
        return;
    schema_begin(w, "text/event-stream");
    schema_begin(w, "schema");
    json_write_key_string(w, "type", "object");
    json_write_key_string(w, "description", "One event; an error is the last one");
    schema_begin(w, "properties");
    schema_begin(w, "data");
    json_write_key(w, "anyOf");
    json_write_array(w);
    write_events_of(w, r);
    json_write_end(w);
    json_write_end(w);
    json_write_end(w);
    json_write_key(w, "required");
    json_write_array(w);
    json_write_string(w, "data");
    json_write_end(w);
    json_write_end(w);
    json_write_end(w);
}

/* Whether anything has to be said. */
static bool needs_body(const struct route_doc *doc)
{
    bool needs = !doc->fields || (doc->one_of && !doc->or_none);
    for (size_t i = 0; i < doc->n_fields; i++)
        needs |= doc->fields[i].required;
    return needs;
}

static void write_body(struct json_writer *w, const struct route *r)
{
    schema_begin(w, "requestBody");
    json_write_key_bool(w, "required", needs_body(r->doc));
    schema_begin(w, "content");
    if (has_fields(r->doc))
        write_json(w, r->doc, &BODY);
    if (r->binary)
        write_bytes(w, "application/octet-stream");
    json_write_end(w);
    json_write_end(w);
}

/* ---- what goes well -------------------------------------------------------------- */

static void write_header(struct json_writer *w, const char *key, const char *name)
{
    schema_begin(w, key);
    schema_ref(w, "headers", name, "");
    json_write_end(w);
}

static void write_ok_headers(struct json_writer *w)
{
    schema_begin(w, "headers");
    write_header(w, "X-Request-Id", "request_id");
    write_header(w, "Server-Timing", "server_timing");
    json_write_end(w);
}

/* Where what this reply names goes: all paths with {session}, say. */
static void write_links(struct json_writer *w, const struct route_doc *doc,
                        const struct route *routes, size_t n)
{
    char part[40], at[80];
    snprintf(part, sizeof part, "{%s}", doc->names);
    snprintf(at, sizeof at, "$response.body#%s", doc->names_at);
    schema_begin(w, "links");
    for (size_t i = 0; i < n; i++) {
        char id[OPERATION_BYTES];
        if (!routes[i].summary || !strstr(routes[i].path, part))
            continue;
        operation_id(&routes[i], id);
        schema_begin(w, id);
        json_write_key_string(w, "operationId", id);
        schema_begin(w, "parameters");
        json_write_key_string(w, doc->names, at);
        json_write_end(w);
        json_write_end(w);
    }
    json_write_end(w);
}

static void write_ok(struct json_writer *w, const struct route *r)
{
    const struct route_doc *doc = r->doc;
    json_write_key_string(w, "description", "The answer");
    write_ok_headers(w);
    schema_begin(w, "content");
    if (count(doc, &REPLY))
        write_json(w, doc, &REPLY);
    else if (!doc->media && !doc->event)
        write_plain(w, "application/json", "object");
    write_events(w, r);
    for (const char *const *type = doc->media; type && *type; type++)
        if (strncmp(*type, "text/", 5) == 0)
            write_plain(w, *type, "string");
        else
            write_bytes(w, *type);
    json_write_end(w);
}

/* ---- what goes wrong ------------------------------------------------------------- */

/* What a client of this route may meet. */
static bool meets(const struct route *r, enum problem p)
{
    bool reads = has_fields(r->doc) || r->binary;
    bool of_session = strstr(r->path, "/sessions") != NULL;
    switch (p) {
    case PROBLEM_FRAMING: /* of HTTP itself, on any path */
    case PROBLEM_METHOD:
    case PROBLEM_SLOW:
    case PROBLEM_BODY_SIZE:
    case PROBLEM_QUEUE_FULL:
    case PROBLEM_NOMEM:
    case PROBLEM_VERSION:
        return true;
    case PROBLEM_ORIGIN:
    case PROBLEM_MEDIA_TYPE:
        return !is_get(r);
    case PROBLEM_JSON:
    case PROBLEM_FIELD:
    case PROBLEM_EMPTY:
    case PROBLEM_TASK:
    case PROBLEM_LIMIT:
    case PROBLEM_VALUE:
    case PROBLEM_INTERNAL:
    case PROBLEM_QUEUE_TIMEOUT:
        return reads;
    case PROBLEM_NO_ATTENTION:
        return r->inspects;
    case PROBLEM_MODEL:
        return reads || strstr(r->path, "{model}");
    case PROBLEM_SESSION:
        return strstr(r->path, "{session}") != NULL;
    case PROBLEM_BUSY:
        return of_session && !is_get(r);
    case PROBLEM_SESSION_BYTES:
        return of_session && strcmp(r->method, "POST") == 0;
    case PROBLEM_STOPPING:
        return reads || r->quiet;
    case PROBLEM_ROUTE:
    case PROBLEM_ABANDONED:
    case PROBLEM_COUNT:
        break;
    }
    return false;
}

/* Whether a form before this one has the same dialect. */
static bool is_told(const struct route *r, const struct route_doc *doc)
{
    const struct route_doc *d = r->doc;
    while (d != doc && dialect_of(r, d) != dialect_of(r, doc))
        d = d->other;
    return d != doc;
}

static bool may_answer(const struct route *r, enum dialect d, unsigned status)
{
    for (size_t p = 0; p < PROBLEM_COUNT; p++)
        if (meets(r, (enum problem)p) && problem_row(d, (enum problem)p).status == status)
            return true;
    return false;
}

/* "code invalid_json, bad_framing": all that this status stands for. */
static void list_codes(const struct route *r, unsigned status, char *to, size_t cap)
{
    size_t used = 0;
    to[0] = '\0';
    for (size_t p = 0; p < PROBLEM_COUNT; p++) {
        bool told = false;
        for (const struct route_doc *doc = r->doc; doc && !told; doc = doc->other)
            told = problem_row(dialect_of(r, doc), (enum problem)p).status == status;
        if (told && meets(r, (enum problem)p) && used < cap)
            used += (size_t)snprintf(to + used, cap - used, "%s%s", used ? ", " : "code ",
                                     problem_row(r->dialect, (enum problem)p).code);
    }
}

/* The content of an error: the shape of each dialect that may tell it. */
static void write_error(struct json_writer *w, const struct route *r, unsigned status)
{
    size_t n = 0;
    for (const struct route_doc *doc = r->doc; doc; doc = doc->other)
        n += !is_told(r, doc) && may_answer(r, dialect_of(r, doc), status);
    schema_begin(w, "content");
    schema_begin(w, "application/json");
    schema_begin(w, "schema");
    if (n > 1) {
        json_write_key(w, "anyOf");
        json_write_array(w);
    }
    for (const struct route_doc *doc = r->doc; doc; doc = doc->other) {
        enum dialect d = dialect_of(r, doc);
        if (is_told(r, doc) || !may_answer(r, d, status))
            continue;
        if (n > 1)
            json_write_object(w);
        schema_ref(w, "schemas", openapi_reply_error(d), "");
        if (n > 1)
            json_write_end(w);
    }
    if (n > 1)
        json_write_end(w);
    json_write_end(w);
    json_write_end(w);
    json_write_end(w);
}

static void write_problem(struct json_writer *w, const struct route *r, unsigned status)
{
    char key[12], codes[512];
    list_codes(r, status, codes, sizeof codes);
    snprintf(key, sizeof key, "%u", status);
    schema_begin(w, key);
    json_write_key_string(w, "description", codes);
    schema_begin(w, "headers");
    write_header(w, "X-Request-Id", "request_id");
    if (status == 405)
        write_header(w, "Allow", "allow");
    if (status == 429 || status == 503) {
        write_header(w, "Retry-After", "retry_after");
        write_header(w, "retry-after-ms", "retry_after_ms");
    }
    if (status == 500 || status == 424)
        write_header(w, "x-should-retry", "should_retry");
    json_write_end(w);
    write_error(w, r, status);
    json_write_end(w);
}

static void write_problems(struct json_writer *w, const struct route *r)
{
    for (unsigned status = 400; status < 600; status++) {
        bool any = false;
        for (const struct route_doc *doc = r->doc; doc && !any; doc = doc->other)
            any = may_answer(r, dialect_of(r, doc), status);
        if (any)
            write_problem(w, r, status);
    }
}

/* ---- the operation --------------------------------------------------------------- */

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
        schema_begin(w, "schema");
        json_write_key_string(w, "type", "string");
        json_write_end(w);
        if (r->doc->example_model && strncmp(open, "model}", 6) == 0)
            json_write_key_string(w, "example", r->doc->example_model);
        if (strncmp(open, "version}", 8) == 0)
            json_write_key_string(w, "example", "1");
        json_write_end(w);
    }
    json_write_end(w);
}

void openapi_operation(struct json_writer *w, const struct route *r,
                       const struct route *routes, size_t n)
{
    char id[OPERATION_BYTES];
    schema_begin(w, is_get(r)                          ? "get"
                    : strcmp(r->method, "DELETE") == 0 ? "delete"
                                                       : "post");
    operation_id(r, id);
    json_write_key_string(w, "operationId", id);
    json_write_key_string(w, "summary", r->summary);
    if (r->doc->more)
        json_write_key_string(w, "description", r->doc->more);
    write_parameters(w, r);
    if (has_fields(r->doc) || r->binary)
        write_body(w, r);
    schema_begin(w, "responses");
    schema_begin(w, "200");
    write_ok(w, r);
    if (r->doc->names)
        write_links(w, r->doc, routes, n);
    json_write_end(w);
    write_problems(w, r);
    json_write_end(w);
    json_write_end(w);
}
