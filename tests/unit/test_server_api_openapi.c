/* openapi.c: the document says what the routes, the tables and the replies are. */
#include "server/api/openapi.h"
#include "tests/json_look.h"
#include "tests/suite.h"
#include "tests/unit/api_server.h"

static struct api_server api;
static json_t *document;

static void begin(void)
{
    api_start(&api);
    document = api_json(&api, "GET", "/openapi.json", NULL, 200);
}

static void end(void)
{
    json_decref(document);
    api_stop(&api);
}

/* The dialect of a form's errors. */
static enum dialect dialect_of(const struct route *r, const struct route_doc *doc)
{
    return doc == r->doc ? r->dialect : doc->dialect;
}

static json_t *schema(const char *name, const char *suffix)
{
    char key[80];
    snprintf(key, sizeof key, "%s%s", name, suffix);
    return at(at(at(document, "components"), "schemas"), key);
}

/* What any request with a body may be answered in that dialect. */
static void check_statuses(json_t *responses, enum dialect d)
{
    static const enum problem all[] = {
        PROBLEM_FRAMING,   PROBLEM_JSON,       PROBLEM_FIELD,    PROBLEM_TASK,
        PROBLEM_ORIGIN,    PROBLEM_MODEL,      PROBLEM_METHOD,   PROBLEM_SLOW,
        PROBLEM_BODY_SIZE, PROBLEM_MEDIA_TYPE, PROBLEM_VALUE,    PROBLEM_QUEUE_FULL,
        PROBLEM_INTERNAL,  PROBLEM_NOMEM,      PROBLEM_STOPPING, PROBLEM_VERSION};
    char key[12];
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct problem_row row = problem_row(d, all[i]);
        snprintf(key, sizeof key, "%u", row.status);
        json_t *response = at(responses, key);
        ck_assert_ptr_nonnull(
            strstr(json_string_value(at(response, "description")), row.code));
    }
}

/* "POST /v2/models/{model}/infer" and the same below /versions are two operations. */
static const char *operation_id(const struct route *r)
{
    static char id[80];
    snprintf(id, sizeof id, "%s%s", r->doc->name,
             strstr(r->path, "{version}") ? "_version" : "");
    return id;
}

START_TEST(paths_and_routes_are_the_same)
{
    size_t operations = 0, documented = 0;
    const char *path, *method;
    json_t *item, *operation;
    begin();
    ck_assert_str_eq(json_string_value(at(document, "openapi")), "3.1.0");
    for (size_t i = 0; i < api.s.n_routes; i++) {
        const struct route *r = &api.s.routes[i];
        if (!r->summary)
            continue;
        documented++;
        item = at(at(document, "paths"), r->path);
        operation = at(item, strcmp(r->method, "POST") == 0     ? "post"
                             : strcmp(r->method, "DELETE") == 0 ? "delete"
                                                                : "get");
        ck_assert_str_eq(json_string_value(at(operation, "operationId")),
                         operation_id(r));
        ck_assert_ptr_nonnull(json_object_get(at(operation, "responses"), "200"));
        for (const struct route_doc *doc = r->doc; doc; doc = doc->other)
            if (doc->fields)
                check_statuses(at(operation, "responses"), dialect_of(r, doc));
        ck_assert_int_eq(json_object_get(operation, "requestBody") != NULL,
                         r->doc->fields || r->binary);
        ck_assert_int_eq(json_object_get(operation, "parameters") != NULL,
                         strchr(r->path, '{') != NULL);
    }
    json_object_foreach(at(document, "paths"), path, item)
    {
        json_object_foreach(item, method, operation)
        {
            operations++;
        }
    }
    ck_assert_uint_eq(operations, documented);
    end();
}
END_TEST

/* Every "$ref" anywhere points at something. */
static void check_refs(json_t *value)
{
    const char *key, *ref = json_string_value(json_object_get(value, "$ref"));
    json_t *member;
    size_t i;
    if (ref) {
        char name[100];
        ck_assert_int_eq(sscanf(ref, "#/components/schemas/%99s", name) == 1 ||
                             sscanf(ref, "#/components/headers/%99s", name) == 1,
                         1);
        ck_assert_msg(
            json_object_get(at(at(document, "components"), "schemas"), name) ||
                json_object_get(at(at(document, "components"), "headers"), name),
            "%s", ref);
    }
    json_object_foreach(value, key, member)
    {
        check_refs(member);
    }
    json_array_foreach(value, i, member)
    {
        check_refs(member);
    }
}

START_TEST(references_lead_somewhere)
{
    begin();
    check_refs(document);
    end();
}
END_TEST

static void check_request_schema(const struct route_doc *doc)
{
    json_t *s = schema(doc->name, "_request"), *properties = at(s, "properties");
    ck_assert(json_is_false(at(s, "additionalProperties")));
    ck_assert_uint_eq(json_object_size(properties), doc->n_fields);
    for (size_t f = 0; f < doc->n_fields; f++) {
        json_t *p = at(properties, doc->fields[f].name);
        ck_assert_str_eq(json_string_value(at(p, "description")), doc->fields[f].help);
    }
}

/* Some path of the document has that operation, with that parameter. */
static bool takes(const char *operation_id, const char *parameter)
{
    const char *path, *method;
    json_t *item, *operation, *one;
    size_t i;
    json_object_foreach(at(document, "paths"), path, item)
    {
        json_object_foreach(item, method, operation)
        {
            if (strcmp(json_string_value(at(operation, "operationId")), operation_id) !=
                0)
                continue;
            json_array_foreach(at(operation, "parameters"), i, one)
            {
                if (strcmp(json_string_value(at(one, "name")), parameter) == 0)
                    return true;
            }
        }
    }
    return false;
}

START_TEST(what_replies_name_goes_where_links_say)
{
    begin();
    json_t *paths = at(document, "paths"), *link;
    json_t *post = at(at(paths, "/v1/sessions"), "post");
    json_t *links = at(at(at(post, "responses"), "200"), "links");
    const char *name;
    ck_assert_uint_ge(json_object_size(links), 4);
    json_object_foreach(links, name, link)
    {
        ck_assert(takes(json_string_value(at(link, "operationId")), "session"));
        ck_assert_str_eq(json_string_value(at(at(link, "parameters"), "session")),
                         "$response.body#/id");
    }
    end();
}
END_TEST

START_TEST(request_schemas_have_the_fields_that_are_read)
{
    begin();
    for (size_t i = 0; i < api.s.n_routes; i++)
        for (const struct route_doc *doc = api.s.routes[i].doc; doc; doc = doc->other)
            if (doc->fields)
                check_request_schema(doc);
    end();
}
END_TEST

/* The field that every request of this route has besides the one asked about. */
static const char *needed(const struct route_doc *doc)
{
    for (size_t f = 0; f < doc->n_fields; f++)
        if (doc->fields[f].required)
            return doc->fields[f].name;
    return "text";
}

/* A value that no field of this type takes. */
static const char *wrong(const struct json_field *field)
{
    if (field && field->type == JSON_FIELD_INTS_OR_OBJECT)
        return "1";
    return field && (field->type == JSON_FIELD_NUMBER_MAP ||
                     field->type == JSON_FIELD_OBJECT)
               ? "[]"
               : "{}";
}

/* The id of a session that has read nothing yet. */
static const char *new_session(void)
{
    static char id[SESSION_ID_BYTES];
    json_t *session = api_json(&api, "POST", "/v1/sessions", "{}", 200);
    snprintf(id, sizeof id, "%s", json_string_value(at(session, "id")));
    json_decref(session);
    return id;
}

/* The path with a name in place of {model}. */
static const char *fill_path(const struct route *r, const char *model)
{
    static char path[200];
    const char *from = r->path;
    size_t n = 0;
    while (*from) {
        const char *value = strncmp(from, "{session}", 9) == 0   ? new_session()
                            : strncmp(from, "{version}", 9) == 0 ? "1"
                            : *from == '{'                       ? model
                                                                 : NULL;
        size_t part = *from == '{' ? strcspn(from, "}") + 1 : strcspn(from, "{");
        n += (size_t)snprintf(path + n, sizeof path - n, "%.*s",
                              value ? (int)strlen(value) : (int)part,
                              value ? value : from);
        from += part;
    }
    return path;
}

/* The error is about this field, as the dialect tells it; returns its message. */
static const char *check_blamed(enum dialect d, json_t *error, const char *name)
{
    if (d == DIALECT_SEQD || d == DIALECT_VLLM) {
        ck_assert_str_eq(json_string_value(at(error, "param")), name);
        return json_string_value(at(error, "message"));
    }
    const char *message =
        json_string_value(d == DIALECT_LLAMA ? at(error, "message") : error);
    ck_assert_msg(message && strstr(message, name), "%s: %s", name, message);
    return message;
}

/* NULL: a field that is in no table. */
static void check_field(const struct route *r, const struct route_doc *doc,
                        const struct json_field *field)
{
    char body[200];
    const char *name = field ? field->name : "bogus", *more = needed(doc);
    enum dialect d = dialect_of(r, doc);
    int n = snprintf(body, sizeof body, "{\"%s\":%s", name, wrong(field));
    if (strcmp(name, more) != 0)
        n += snprintf(body + n, sizeof body - (size_t)n, ",\"%s\":\"a\"", more);
    snprintf(body + n, sizeof body - (size_t)n, "}");
    json_t *reply = api_json(&api, r->method, fill_path(r, "tiny-bert"), body,
                             problem_row(d, PROBLEM_FIELD).status);
    const char *message = check_blamed(d, at(reply, "error"), name);
    ck_assert_int_eq(strstr(message, "unknown") != NULL, !field);
    json_decref(reply);
}

/* What a handler does with each field: read if the schema knows it, refused by name if it
 * does not. */
START_TEST(handlers_read_exactly_these_fields)
{
    begin();
    for (size_t i = 0; i < api.s.n_routes; i++) {
        const struct route *r = &api.s.routes[i];
        for (const struct route_doc *doc = r->doc; doc; doc = doc->other)
            for (size_t f = 0; doc->fields && f <= doc->n_fields; f++)
                check_field(r, doc, f < doc->n_fields ? &doc->fields[f] : NULL);
    }
    end();
}
END_TEST

/* ---- a small judge of JSON schemas, as far as our document uses them ----------------
 */

static bool has_type(json_t *type, json_t *value)
{
    size_t i;
    json_t *one;
    if (json_is_array(type)) {
        json_array_foreach(type, i, one)
        {
            if (has_type(one, value))
                return true;
        }
        return false;
    }
    const char *name = json_string_value(type);
    return (strcmp(name, "string") == 0 && json_is_string(value)) ||
           (strcmp(name, "integer") == 0 && json_is_integer(value)) ||
           (strcmp(name, "number") == 0 && json_is_number(value)) ||
           (strcmp(name, "boolean") == 0 && json_is_boolean(value)) ||
           (strcmp(name, "object") == 0 && json_is_object(value)) ||
           (strcmp(name, "array") == 0 && json_is_array(value)) ||
           (strcmp(name, "null") == 0 && json_is_null(value));
}

static void check_value(json_t *s, json_t *value, const char *where);

static void check_members(json_t *s, json_t *value, const char *where)
{
    json_t *properties = json_object_get(s, "properties"), *member, *name;
    json_t *rest = json_object_get(s, "additionalProperties");
    const char *key;
    size_t i;
    json_object_foreach(value, key, member)
    {
        json_t *p = json_object_get(properties, key);
        ck_assert_msg(p || json_is_object(rest), "%s: \"%s\" is not in the schema", where,
                      key);
        check_value(p ? p : rest, member, key);
    }
    json_array_foreach(json_object_get(s, "required"), i, name)
    {
        ck_assert_msg(json_object_get(value, json_string_value(name)) != NULL,
                      "%s: \"%s\" is missing", where, json_string_value(name));
    }
}

static void check_value(json_t *s, json_t *value, const char *where)
{
    json_t *type = json_object_get(s, "type"), *items = json_object_get(s, "items");
    json_t *element;
    size_t i;
    ck_assert_msg(!type || has_type(type, value), "%s: wrong type", where);
    if (json_is_object(value) &&
        (json_object_get(s, "properties") || json_object_get(s, "additionalProperties")))
        check_members(s, value, where);
    json_array_foreach(value, i, element)
    {
        if (items)
            check_value(items, element, where);
    }
}

static const struct route *route_named(const char *name)
{
    for (size_t i = 0; i < api.s.n_routes; i++)
        for (const struct route_doc *doc = api.s.routes[i].doc; doc; doc = doc->other)
            if (strcmp(doc->name, name) == 0)
                return &api.s.routes[i];
    ck_abort_msg("no route named %s", name);
    return NULL;
}

static void check_reply(const char *name, const char *path, const char *body)
{
    const struct route *r = route_named(name);
    json_t *reply = api_json(&api, r->method, path ? path : r->path, body, 200);
    check_value(schema(name, "_reply"), reply, name);
    json_decref(reply);
}

START_TEST(replies_are_what_the_schemas_say)
{
    begin();
    check_reply("next_word", NULL,
                "{\"texts\":[\"the cat\",\"\"],\"model\":\"tiny-gpt2\"}");
    check_reply("next_word", NULL,
                "{\"text\":\"the cat\",\"unit\":\"token\",\"top_k\":100,"
                "\"model\":\"tiny-gpt2\"}");
    check_reply("sentiment", NULL, "{\"texts\":[\"great\",\"not great\"]}");
    check_reply("attention", NULL, "{\"text\":\"a caf\xc3\xa9\",\"layers\":[0]}");
    check_reply("attention", NULL, "{\"text\":\"the cat\",\"model\":\"tiny-gpt2\"}");
    check_reply("attention", NULL, "{\"text\":\"the cat\",\"model\":\"tiny-bilstm\"}");
    check_reply("attention", NULL,
                "{\"text\":\"the cat\",\"select\":[[0,1]],\"metrics\":true,\"dtype\":"
                "\"uint8\"}");
    check_reply("attention", NULL,
                "{\"input_ids\":[5,6],\"top_k\":1,\"metrics\":true,\"special_tokens\":"
                "\"drop\"}");
    check_reply("attention", NULL,
                "{\"text\":\"the cat\",\"model\":\"tiny-gpt2\",\"generate\":"
                "{\"max_tokens\":3},\"reduce\":{\"layers\":\"rollout\"}}");
    check_reply("attention", NULL,
                "{\"text\":\"the cat\",\"reduce\":{\"tokens\":\"word\"},\"pool\":8}");
    check_reply("completions", NULL, "{\"prompt\":[\"the cat\",\"a\"],\"n\":2}");
    check_reply("completions", NULL,
                "{\"prompt\":[3,4],\"echo\":true,\"logprobs\":3,"
                "\"model\":\"tiny-gpt2\"}");
    check_reply("completions", NULL, "{\"prompt\":\"a\",\"logprobs\":0}");
    check_reply("importance", NULL, "{\"text\":\"a caf\xc3\xa9\",\"unit\":\"token\"}");
    check_reply("importance", NULL,
                "{\"text\":\"the cat\",\"model\":\"tiny-lstm\",\"mode\":\"replace\"}");
    check_reply("importance", NULL, "{\"input_ids\":[5],\"model\":\"tiny-bilstm\"}");
    check_reply("explain", "/v1/models/tiny-bilstm:explain",
                "{\"instances\":[\"a\",{\"text\":\"the cat\"}]}");
    check_reply("states", NULL,
                "{\"text\":\"the cat\",\"per_step\":{\"top_k\":2},\"units\":{\"by\":"
                "\"corr_output\"}}");
    check_reply("states", NULL,
                "{\"text\":\"a\",\"model\":\"tiny-bilstm\",\"units\":[1],"
                "\"per_step\":{\"top_k\":0}}");
    check_reply("states", NULL,
                "{\"text\":\"a\",\"model\":\"tiny-gpt2\",\"units\":\"all\","
                "\"lens\":{\"top_k\":2}}");
    check_reply("models", NULL, NULL);
    check_reply("model", "/v1/models/tiny-lstm", NULL);
    check_reply("model", "/v1/models/tiny-bert", NULL);
    check_reply("livez", NULL, NULL);
    check_reply("oip_server", NULL, NULL);
    check_reply("oip_live", NULL, NULL);
    check_reply("oip_ready", NULL, NULL);
    check_reply("oip_models", NULL, NULL);
    check_reply("oip_metadata", "/v2/models/tiny-gpt2", NULL);
    check_reply("oip_model_ready", "/v2/models/tiny-gpt2/ready", NULL);
    check_reply("oip_infer", "/v2/models/tiny-gpt2/infer",
                "{\"inputs\":[{\"name\":\"text\",\"shape\":[1],\"datatype\":\"BYTES\","
                "\"data\":[\"a\"]}]}");
    check_reply("readyz", NULL, NULL);
    json_t *error = api_json(&api, "POST", "/v1/sentiment", "{}", 400);
    check_value(schema("error", ""), error, "error");
    json_decref(error);
    error = api_json(&api, "GET", "/v2/models/none", NULL, 404);
    check_value(schema("error_oip", ""), error, "error_oip");
    json_decref(error);
    api.options.attention_max_values = 3;
    error = api_json(&api, "POST", "/v1/attention", "{\"text\":\"a cat\"}", 413);
    check_value(schema("error", ""), error, "error");
    json_decref(error);
    end();
}
END_TEST

START_TEST(replies_of_every_kind_of_model_are_what_the_schemas_say)
{
    static const char *const dirs[] = {"tests/fixtures/models/tiny-bert-mlm",
                                       "tests/fixtures/models/tiny-bert-bare",
                                       "tests/fixtures/models/tiny-roberta-regression"};
    api_start_with(&api, dirs, 3);
    document = api_json(&api, "GET", "/openapi.json", NULL, 200);
    check_reply("next_word", NULL, "{\"text\":\"the [MASK]\"}");
    check_reply("next_word", NULL, "{\"text\":\"the [MASK]\",\"unit\":\"token\"}");
    check_reply("sentiment", NULL, "{\"texts\":[\"a\"],\"text_pairs\":[\"b\"]}");
    check_reply("attention", NULL, "{\"text\":\"a\",\"text_pair\":\"b\"}");
    check_reply("importance", NULL,
                "{\"text\":\"a cat\",\"text_pair\":\"b\","
                "\"model\":\"tiny-roberta-regression\"}");
    check_reply("importance", NULL,
                "{\"text\":\"the [MASK]\",\"model\":\"tiny-bert-mlm\"}");
    check_reply("attention", NULL, "{\"text\":\"a\",\"model\":\"tiny-bert-bare\"}");
    check_reply("models", NULL, NULL);
    end();
}
END_TEST

static void check_example(const struct route *r, const struct route_doc *doc)
{
    json_error_t e;
    const char *path = fill_path(r, "tiny-bert");
    ck_assert_msg(doc->example && doc->answer, "%s", doc->name);
    json_decref(api_json(&api, r->method, path, doc->example, 200));
    json_t *answer = json_loads(doc->answer, JSON_REJECT_DUPLICATES, &e);
    ck_assert_msg(answer != NULL, "%s: %s", doc->name, e.text);
    check_value(schema(doc->name, "_reply"), answer, doc->name);
    json_decref(answer);
}

START_TEST(examples_are_answered_and_have_the_shape)
{
    begin();
    for (size_t i = 0; i < api.s.n_routes; i++)
        for (const struct route_doc *doc = api.s.routes[i].doc; doc; doc = doc->other)
            if (doc->fields)
                check_example(&api.s.routes[i], doc);
    end();
}
END_TEST

/* What a reply tells of its time, its request and its server. */
static bool is_passing(const char *key, json_t *value)
{
    return strcmp(key, "created") == 0 ||
           (strcmp(key, "id") == 0 && json_is_string(value)) ||
           strcmp(key, "cached_tokens") == 0 || strcmp(key, "system_fingerprint") == 0;
}

/* The same but for the last digits, which the machine's kernels decide, and for what
 * passes. */
static void check_alike(json_t *a, json_t *b, const char *where)
{
    const char *key;
    json_t *member;
    size_t i;
    if (is_passing(where, a) && json_typeof(a) == json_typeof(b))
        return;
    if (json_is_number(a) && json_is_number(b)) {
        ck_assert_double_eq_tol(json_number_value(a), json_number_value(b), 2e-4);
    } else if (json_is_object(a)) {
        ck_assert_uint_eq(json_object_size(a), json_object_size(b));
        json_object_foreach(a, key, member)
        {
            check_alike(member, at(b, key), key);
        }
    } else if (json_is_array(a)) {
        ck_assert_uint_eq(json_array_size(a), json_array_size(b));
        json_array_foreach(a, i, member)
        {
            check_alike(member, json_array_get(b, i), where);
        }
    } else {
        ck_assert_msg(json_equal(a, b), "%s differs; examples/refresh.py renews it",
                      where);
    }
}

/* The model that the example is about: of the path, the reply, or all that are loaded. */
static bool has_model(const struct route_doc *doc, json_t *answer, const char **model)
{
    *model = doc->example_model;
    if (!*model)
        *model = json_string_value(json_object_get(answer, "model"));
    if (!*model)
        return api.models->n == 5;
    return models_find(api.models, *model, strlen(*model)) != NULL;
}

static void check_answer(const struct route *r, const struct route_doc *doc)
{
    const char *model;
    json_t *then = json_loads(doc->answer, 0, NULL);
    if (has_model(doc, then, &model)) {
        json_t *now = api_json(&api, r->method, fill_path(r, model ? model : ""),
                               doc->example, 200);
        check_alike(then, now, doc->name);
        json_decref(now);
    }
    json_decref(then);
}

/* Where a model is not there, there is nothing to compare with. */
START_TEST(examples_are_what_the_shipped_models_answer)
{
    char **dirs = NULL;
    size_t n = 0;
    struct err err = {0};
    if (models_scan("weights", &dirs, &n, &err) != ERR_OK)
        return;
    api_start_with(&api, (const char *const *)dirs, n);
    for (size_t i = 0; i < api.s.n_routes; i++)
        for (const struct route_doc *doc = api.s.routes[i].doc; doc; doc = doc->other)
            if (doc->example)
                check_answer(&api.s.routes[i], doc);
    api_stop(&api);
    while (n)
        mem_free(dirs[--n]);
    mem_free(dirs);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {paths_and_routes_are_the_same,
                                  references_lead_somewhere,
                                  what_replies_name_goes_where_links_say,
                                  request_schemas_have_the_fields_that_are_read,
                                  handlers_read_exactly_these_fields,
                                  replies_are_what_the_schemas_say,
                                  replies_of_every_kind_of_model_are_what_the_schemas_say,
                                  examples_are_answered_and_have_the_shape,
                                  examples_are_what_the_shipped_models_answer,
                                  NULL};
    return suite_run("api_openapi", tests, 60);
}
