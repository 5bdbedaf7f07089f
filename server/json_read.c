#include "server/json_read.h"

#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "model/seq.h"
#include "server/nearest.h"

static const struct json_limits LIMITS = {.max_depth = 32, .max_values = 100000};

static const char *type_name(const json_t *v)
{
    switch (v ? json_typeof(v) : JSON_NULL) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "a list";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "an integer";
    case JSON_REAL:
        return "a number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "true or false";
    case JSON_NULL:
        break;
    }
    return "null";
}

static enum err_code wrong_type(const char *path, const char *wanted, const json_t *v,
                                struct err *err)
{
    return err_param(err, ERR_FORMAT, path, "\"%s\" must be %s, not %s", path, wanted,
                     type_name(v));
}

static void *member(const struct json_field *f, void *out)
{
    return (char *)out + f->offset;
}

static enum err_code no_memory(const struct json_field *f, struct err *err)
{
    return err_set(err, ERR_NOMEM, "out of memory for \"%s\"", f->name);
}

static void *allocate(size_t n)
{
    return mem_alloc(1, n);
}

void json_read_init(void)
{
    json_set_alloc_funcs(allocate, mem_free);
}

/* ---- one reader per type --------------------------------------------------------- */

static enum err_code read_text(const struct json_field *f, const json_t *v, void *out,
                               struct err *err)
{
    struct json_text *text = out;
    if (!json_is_string(v))
        return wrong_type(f->name, "a string", v, err);
    size_t n = json_string_length(v);
    if ((double)n < f->min)
        return err_param(err, ERR_INPUT, f->name, "\"%s\" must not be empty", f->name);
    if (f->max > 0 && (double)n > f->max)
        return err_param(err, ERR_LIMIT, f->name, "\"%s\" has %zu bytes, at most %.0f go",
                         f->name, n, f->max);
    char *copy = mem_copy(json_string_value(v), n);
    if (!copy)
        return no_memory(f, err);
    *text = (struct json_text){copy, n};
    return ERR_OK;
}

static enum err_code check_length(const struct json_field *f, size_t n, struct err *err)
{
    if ((double)n < f->min)
        return err_param(err, ERR_INPUT, f->name, "\"%s\" must have at least %.0f %s",
                         f->name, f->min, f->min > 1 ? "elements" : "element");
    if (f->max > 0 && (double)n > f->max)
        return err_param(err, ERR_LIMIT, f->name,
                         "\"%s\" has %zu elements, at most %.0f go", f->name, n, f->max);
    return ERR_OK;
}

/* The element's path, "texts[3]". */
static enum err_code wrong_element(const struct json_field *f, size_t i,
                                   const char *wanted, const json_t *v, struct err *err)
{
    char path[ERR_PARAM_BYTES];
    snprintf(path, sizeof path, "%s[%zu]", f->name, i);
    return wrong_type(path, wanted, v, err);
}

/* One block: the array, then the bytes of all strings. */
static enum err_code read_texts(const struct json_field *f, const json_t *v, void *out,
                                struct err *err)
{
    struct json_texts *texts = out;
    if (!json_is_array(v))
        return wrong_type(f->name, "a list of strings", v, err);
    size_t n = json_array_size(v), bytes = 0;
    if (check_length(f, n, err) != ERR_OK)
        return err->code;
    for (size_t i = 0; i < n; i++) {
        const json_t *s = json_array_get(v, i);
        if (!json_is_string(s))
            return wrong_element(f, i, "a string", s, err);
        bytes += json_string_length(s) + 1;
    }
    struct json_text *list = mem_alloc(1, n * sizeof *list + bytes + 1);
    if (!list)
        return no_memory(f, err);
    char *to = (char *)(list + n);
    for (size_t i = 0; i < n; i++) {
        const json_t *s = json_array_get(v, i);
        list[i] = (struct json_text){to, json_string_length(s)};
        memcpy(to, json_string_value(s), list[i].n + 1);
        to += list[i].n + 1;
    }
    *texts = (struct json_texts){list, n};
    return ERR_OK;
}

static enum err_code check_range(const struct json_field *f, const char *path, double v,
                                 struct err *err)
{
    if (v < f->min || v > f->max)
        return err_param(err, ERR_INPUT, path,
                         "\"%s\" must be from %.15g to %.15g, not %.15g", path, f->min,
                         f->max, v);
    return ERR_OK;
}

static enum err_code read_int(const struct json_field *f, const json_t *v, void *out,
                              struct err *err)
{
    if (!json_is_integer(v))
        return wrong_type(f->name, "an integer", v, err);
    json_int_t value = json_integer_value(v);
    if (check_range(f, f->name, (double)value, err) != ERR_OK)
        return err->code;
    *(int64_t *)out = value;
    return ERR_OK;
}

static enum err_code read_number(const struct json_field *f, const json_t *v, void *out,
                                 struct err *err)
{
    if (!json_is_number(v))
        return wrong_type(f->name, "a number", v, err);
    double value = json_number_value(v);
    if (check_range(f, f->name, value, err) != ERR_OK)
        return err->code;
    *(double *)out = value;
    return ERR_OK;
}

static enum err_code read_bool(const struct json_field *f, const json_t *v, void *out,
                               struct err *err)
{
    if (!json_is_boolean(v))
        return wrong_type(f->name, "true or false", v, err);
    *(bool *)out = json_is_true(v);
    return ERR_OK;
}

/* "token, word" */
static void list_choices(const char *const *choices, char *to, size_t cap)
{
    size_t n = 0;
    to[0] = '\0';
    for (; *choices && n < cap; choices++)
        n += (size_t)snprintf(to + n, cap - n, "%s%s", n ? ", " : "", *choices);
}

static enum err_code read_choice(const struct json_field *f, const json_t *v, void *out,
                                 struct err *err)
{
    char list[200];
    if (!json_is_string(v))
        return wrong_type(f->name, "a string", v, err);
    for (int i = 0; f->choices[i]; i++)
        if (strlen(f->choices[i]) == json_string_length(v) &&
            strcmp(f->choices[i], json_string_value(v)) == 0) {
            *(int *)out = i;
            return ERR_OK;
        }
    list_choices(f->choices, list, sizeof list);
    return err_param(err, ERR_INPUT, f->name, "\"%s\" is \"%.40s\", known are: %s",
                     f->name, json_string_value(v), list);
}

const char *const JSON_ALL_OR_LAST[] = {"all", "last", NULL};

static enum err_code read_ints(const struct json_field *f, const json_t *v, void *out,
                               struct err *err)
{
    struct json_ints *ints = out;
    if (json_is_string(v) && strcmp(json_string_value(v), "all") == 0) {
        *ints = (struct json_ints){.all = true};
        return ERR_OK;
    }
    if (f->choices && json_is_string(v) && strcmp(json_string_value(v), "last") == 0) {
        *ints = (struct json_ints){.last = true};
        return ERR_OK;
    }
    if (!json_is_array(v))
        return wrong_type(f->name,
                          f->choices ? "a list of integers, \"all\" or \"last\""
                                     : "a list of integers or \"all\"",
                          v, err);
    size_t n = json_array_size(v);
    if (check_length(f, n, err) != ERR_OK)
        return err->code;
    int64_t *list = mem_alloc(n + 1, sizeof *list);
    if (!list)
        return no_memory(f, err);
    for (size_t i = 0; i < n; i++) {
        const json_t *e = json_array_get(v, i);
        if (!json_is_integer(e)) {
            mem_free(list);
            return wrong_element(f, i, "an integer", e, err);
        }
        list[i] = json_integer_value(e);
    }
    *ints = (struct json_ints){.at = list, .n = n};
    return ERR_OK;
}

typedef enum err_code (*read_fn)(const struct json_field *f, const json_t *v, void *out,
                                 struct err *err);

static const read_fn READERS[] = {
    [JSON_FIELD_TEXT] = read_text, [JSON_FIELD_TEXTS] = read_texts,
    [JSON_FIELD_INT] = read_int,   [JSON_FIELD_NUMBER] = read_number,
    [JSON_FIELD_BOOL] = read_bool, [JSON_FIELD_CHOICE] = read_choice,
    [JSON_FIELD_INTS] = read_ints,
};

/* ---- the object ------------------------------------------------------------------ */

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

static enum err_code read_object(json_t *object, const struct json_field *fields,
                                 size_t n, void *out, struct err *err)
{
    if (!json_is_object(object))
        return err_set(err, ERR_FORMAT, "the body must be a JSON object, not %s",
                       type_name(object));
    enum err_code code = check_names(object, fields, n, err);
    for (size_t i = 0; i < n && code == ERR_OK; i++) {
        const struct json_field *f = &fields[i];
        const json_t *v = json_object_get(object, f->name);
        if (v && !json_is_null(v))
            code = READERS[f->type](f, v, member(f, out), err);
        else if (f->required)
            code = err_param(err, ERR_FORMAT, f->name, "\"%s\" is missing", f->name);
    }
    return code;
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

void json_read_done(const struct json_field *fields, size_t n_fields, void *out)
{
    for (size_t i = 0; i < n_fields; i++) {
        void *at = member(&fields[i], out);
        if (fields[i].type == JSON_FIELD_TEXT) {
            mem_free(((struct json_text *)at)->at);
            *(struct json_text *)at = (struct json_text){0};
        } else if (fields[i].type == JSON_FIELD_TEXTS) {
            mem_free(((struct json_texts *)at)->at);
            *(struct json_texts *)at = (struct json_texts){0};
        } else if (fields[i].type == JSON_FIELD_INTS) {
            mem_free(((struct json_ints *)at)->at);
            *(struct json_ints *)at = (struct json_ints){0};
        }
    }
}
