#include "server/json_read.h"

#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "model/seq.h"
#include "server/json_types.h"
#include "server/nearest.h"

static const struct json_limits LIMITS = {.max_depth = 32, .max_values = 100000};

static void *member(const struct json_field *f, void *out)
{
    return (char *)out + f->offset;
}
static void *allocate(size_t n)
{
    return mem_alloc(1, n);
}

void json_read_init(void)
{
    json_set_alloc_funcs(allocate, mem_free);
}
static enum err_code unknown_field(const char *key, const struct json_field *fields,
                                   size_t n, struct err *err)
{
    const char *best = NULL;
    size_t best_distance = SIZE_MAX;
    for (size_t i = 0; i < n; i++) {
        size_t d = nearest_distance(key, fields[i].name);
        if (d < best_distance) {
            best_distance = d;
            best = fields[i].name;
        }
    }
    if (best && nearest_is_close(key, best_distance))
        return err_param(err, ERR_FORMAT, key,
                         "unknown field \"%.60s\"; did you mean \"%s\"?", key, best);
    return err_param(err, ERR_FORMAT, key, "unknown field \"%.60s\"", key);
}

static enum err_code check_names(json_t *object, const struct json_field *fields,
                                 size_t n, struct err *err)
{
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        size_t i = 0;
        while (i < n && strcmp(fields[i].name, key) != 0)
            i++;
        if (i == n)
            return unknown_field(key, fields, n, err);
    }
    return ERR_OK;
}

static enum err_code read_value(const struct json_field *f, json_t *v, void *out,
                                struct err *err);

static enum err_code read_fields(json_t *object, const struct json_field *fields,
                                 size_t n, void *out, struct err *err)
{
    for (size_t i = 0; i < n; i++) {
        const struct json_field *f = &fields[i];
        json_t *v = json_object_get(object, f->name);
        if (v && !json_is_null(v)) {
            if (read_value(f, v, out, err) != ERR_OK)
                return err->code;
        } else if (f->required) {
            return err_param(err, ERR_FORMAT, f->name, "\"%s\" is missing", f->name);
        }
    }
    return ERR_OK;
}

/* An object's own fields; `at` stands in front of param, which becomes a path. */
static enum err_code read_members(const struct json_field *f, const char *at, json_t *v,
                                  void *out, struct err *err)
{
    if (!json_is_object(v))
        return json_types_wrong(at, "an object", v, err);
    enum err_code code = f->open ? ERR_OK : check_names(v, f->members, f->n_members, err);
    if (code == ERR_OK)
        code = read_fields(v, f->members, f->n_members, out, err);
    if (code != ERR_OK) {
        char path[2 * ERR_PARAM_BYTES];
        snprintf(path, sizeof path, "%s.%s", at, err->param);
        snprintf(err->param, sizeof err->param, "%.*s", ERR_PARAM_BYTES - 1, path);
    }
    return code;
}

/* What an element has got is freed with the whole, also on failure. */
static enum err_code read_list(const struct json_field *f, json_t *v,
                               struct json_list *list, struct err *err)
{
    enum err_code code = ERR_OK;
    if (!json_is_array(v))
        return json_types_wrong(f->name, "a list of objects", v, err);
    if (json_types_check_length(f, json_array_size(v), err) != ERR_OK)
        return err->code;
    list->at = mem_zero(json_array_size(v) + 1, f->element);
    if (!list->at)
        return json_types_no_memory(f, err);
    for (size_t i = 0; i < json_array_size(v) && code == ERR_OK; i++) {
        char path[ERR_PARAM_BYTES];
        snprintf(path, sizeof path, "%s[%zu]", f->name, i);
        list->n = i + 1;
        code = read_members(f, path, json_array_get(v, i),
                            (char *)list->at + i * f->element, err);
    }
    return code;
}

static enum err_code read_value(const struct json_field *f, json_t *v, void *out,
                                struct err *err)
{
    if (f->type == JSON_FIELD_LIST)
        return read_list(f, v, member(f, out), err);
    if (f->type == JSON_FIELD_OBJECT ||
        (f->type == JSON_FIELD_INTS_OR_OBJECT && json_is_object(v)))
        return read_members(f, f->name, v, out, err);
    return json_types_read(f, v, member(f, out), err);
}

static enum err_code read_object(json_t *object, const struct json_field *fields,
                                 size_t n, void *out, struct err *err)
{
    if (!json_is_object(object))
        return err_set(err, ERR_FORMAT, "the body must be a JSON object, not %s",
                       json_types_name(object));
    enum err_code code = check_names(object, fields, n, err);
    return code == ERR_OK ? read_fields(object, fields, n, out, err) : code;
}

/* jansson says: duplicate object key near '"text"'. */
static enum err_code duplicate_key(const json_error_t *e, struct err *err)
{
    char name[ERR_PARAM_BYTES] = "";
    const char *first = strstr(e->text, "near '\"");
    if (first) {
        first += 7;
        size_t n = strcspn(first, "\"");
        snprintf(name, sizeof name, "%.*s", n < sizeof name ? (int)n : 0, first);
    }
    return err_param(err, ERR_FORMAT, name, "field \"%s\" is given twice", name);
}

static enum err_code parse(const char *body, size_t n, json_t **out, struct err *err)
{
    struct err scan = {0};
    json_error_t e;
    if (n == 0)
        return err_set(err, ERR_FORMAT, "the body is empty; a JSON object is wanted");
    if (json_scan(body, n, &LIMITS, &scan) != ERR_OK)
        return err_set(err, ERR_FORMAT, "%s", scan.msg);
    *out = json_loadb(body, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL,
                      &e);
    if (*out)
        return ERR_OK;
    if (json_error_code(&e) == json_error_out_of_memory)
        return err_set(err, ERR_NOMEM, "out of memory for the request");
    if (json_error_code(&e) == json_error_duplicate_key)
        return duplicate_key(&e, err);
    return err_set(err, ERR_FORMAT, "not JSON: %s (line %d, column %d)", e.text, e.line,
                   e.column);
}

enum err_code json_read(const char *body, size_t n, const struct json_field *fields,
                        size_t n_fields, void *out, struct err *err)
{
    json_t *root = NULL;
    enum err_code code = parse(body, n, &root, err);
    if (code != ERR_OK)
        return code;
    code = read_object(root, fields, n_fields, out, err);
    json_decref(root);
    if (code != ERR_OK)
        json_read_done(fields, n_fields, out);
    return code;
}

/* What stands at "a.b" in the object, NULL if nothing or null does. */
static const json_t *at_path(const json_t *object, const char *path)
{
    const json_t *v = object;
    while (v && *path) {
        size_t n = strcspn(path, ".");
        v = json_object_getn(v, path, n); /* NULL for what is no object */
        path += n + (path[n] == '.');
    }
    return json_is_null(v) ? NULL : v;
}

size_t json_read_which(const char *body, size_t n, const char *const *paths)
{
    struct err err = {0};
    json_t *root = NULL;
    size_t i = 0;
    if (parse(body, n, &root, &err) != ERR_OK)
        return SIZE_MAX;
    while (paths[i] && !at_path(root, paths[i]))
        i++;
    json_decref(root);
    return paths[i] ? i : SIZE_MAX;
}

static void list_done(const struct json_field *f, struct json_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        json_read_done(f->members, f->n_members, (char *)list->at + i * f->element);
    mem_free(list->at);
    *list = (struct json_list){0};
}

void json_read_done(const struct json_field *fields, size_t n_fields, void *out)
{
    for (size_t i = 0; i < n_fields; i++) {
        void *at = member(&fields[i], out);
        if (fields[i].type == JSON_FIELD_OBJECT)
            json_read_done(fields[i].members, fields[i].n_members, out);
        else if (fields[i].type == JSON_FIELD_LIST)
            list_done(&fields[i], at);
        else
            json_types_done(&fields[i], at);
    }
}
