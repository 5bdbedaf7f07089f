#include "server/api/openapi.h"

#include <string.h>

#include "server/api/openapi_operation.h"
#include "server/api/openapi_reply.h"
#include "server/api/openapi_request.h"
#include "server/api/openapi_schema.h"
#include "server/json_write.h"
#include "server/server.h"

const struct route_doc openapi_doc = {.name = "openapi"};

/* ---- paths ----------------------------------------------------------------------- */

static bool is_first_of_path(const struct route *routes, size_t i)
{
    for (size_t j = 0; j < i; j++)
        if (routes[j].summary && strcmp(routes[j].path, routes[i].path) == 0)
            return false;
    return true;
}

static void write_paths(struct json_writer *w, const struct route *routes, size_t n)
{
    schema_begin(w, "paths");
    for (size_t i = 0; i < n; i++) {
        if (!routes[i].summary || !is_first_of_path(routes, i))
            continue;
        schema_begin(w, routes[i].path);
        for (size_t j = i; j < n; j++)
            if (routes[j].summary && strcmp(routes[j].path, routes[i].path) == 0)
                openapi_operation(w, &routes[j], routes, n);
        json_write_end(w);
    }
    json_write_end(w);
}

/* ---- the document ---------------------------------------------------------------- */

static void write_header(struct json_writer *w, const char *name, const char *help,
                         const char *type)
{
    schema_begin(w, name);
    json_write_key_string(w, "description", help);
    schema_begin(w, "schema");
    json_write_key_string(w, "type", type);
    json_write_end(w);
    json_write_end(w);
}

/* Two routes may have the same documentation: its schemas are written once. */
static bool is_first_of_doc(const struct route *routes, size_t i)
{
    for (size_t j = 0; j < i; j++)
        if (routes[j].doc == routes[i].doc)
            return false;
    return true;
}

static void write_schemas(struct json_writer *w, const struct route *routes, size_t n)
{
    schema_begin(w, "schemas");
    openapi_reply_errors(w);
    for (size_t i = 0; i < n; i++) {
        if (!routes[i].summary || !is_first_of_doc(routes, i))
            continue;
        for (const struct route_doc *doc = routes[i].doc; doc; doc = doc->other) {
            if (doc->fields)
                openapi_request_schema(w, doc);
            openapi_reply_schemas(w, doc);
        }
    }
    json_write_end(w);
}

static void write_components(struct json_writer *w, const struct route *routes, size_t n)
{
    schema_begin(w, "components");
    write_schemas(w, routes, n);
    schema_begin(w, "headers");
    write_header(w, "request_id", "The request's own, or a new one", "string");
    write_header(w, "server_timing", "queue, tokenize and compute in milliseconds",
                 "string");
    write_header(w, "retry_after", "Seconds to wait before the next try", "integer");
    write_header(w, "retry_after_ms", "The same in milliseconds", "integer");
    write_header(w, "should_retry", "false: the same request would fail again", "string");
    write_header(w, "allow", "The methods that the path knows", "string");
    json_write_end(w);
    json_write_end(w);
}

static void write_info(struct json_writer *w)
{
    schema_begin(w, "info");
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
    schema_begin(w, "license");
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
