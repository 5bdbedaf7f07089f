#include "model/load/json.h"

#include "model/load/file.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* How a text is read: jansson's flags, and what its root is. */
struct want {
    size_t flags;
    json_type root;
};

static enum err_code read_text(const char *name, const char *text, size_t n,
                               const struct json_limits *limits, struct want want,
                               json_t **out, struct err *err)
{
    enum err_code code = json_scan(text, n, limits, err);
    if (code != ERR_OK) {
        err_prefix(err, name);
        return code;
    }
    json_error_t e;
    json_t *root = json_loadb(text, n, JSON_REJECT_DUPLICATES | want.flags, &e);
    if (!root && json_error_code(&e) == json_error_out_of_memory)
        return err_set(err, ERR_NOMEM, "%s: no memory to parse it", name);
    if (!root)
        return err_set(err, ERR_FORMAT, "%s: line %d, column %d: %s", name, e.line,
                       e.column, e.text);
    if (json_typeof(root) != want.root) {
        bool list = want.root == JSON_ARRAY;
        json_decref(root);
        return err_set(err, ERR_FORMAT, "%s: want %s, found %s", name,
                       list ? "a list" : "an object", list ? "an object" : "a list");
    }
    *out = root;
    return ERR_OK;
}

enum err_code json_read_text(const char *name, const char *text, size_t n,
                             const struct json_limits *limits, json_t **out,
                             struct err *err)
{
    return read_text(name, text, n, limits, (struct want){0, JSON_OBJECT}, out, err);
}

static enum err_code read_file(const char *dir, const char *name, size_t max_bytes,
                               const struct json_limits *limits, struct want want,
                               json_t **out, struct err *err)
{
    struct file f = {0};
    enum err_code code = file_read(dir, name, max_bytes, &f, err);
    if (code == ERR_OK)
        code = read_text(name, (const char *)f.at, f.n, limits, want, out, err);
    file_done(&f);
    return code;
}

enum err_code json_read_file(const char *dir, const char *name, size_t max_bytes,
                             const struct json_limits *limits, json_t **out,
                             struct err *err)
{
    return read_file(dir, name, max_bytes, limits, (struct want){0, JSON_OBJECT}, out,
                     err);
}

enum err_code json_read_file_of_reals(const char *dir, const char *name, size_t max_bytes,
                                      const struct json_limits *limits, json_t **out,
                                      struct err *err)
{
    struct want want = {JSON_DECODE_INT_AS_REAL, JSON_OBJECT};
    return read_file(dir, name, max_bytes, limits, want, out, err);
}

enum err_code json_read_list(const char *dir, const char *name, size_t max_bytes,
                             const struct json_limits *limits, json_t **out,
                             struct err *err)
{
    return read_file(dir, name, max_bytes, limits, (struct want){0, JSON_ARRAY}, out,
                     err);
}

bool json_read_has(const json_t *object, const char *key)
{
    const json_t *v = json_object_get(object, key);
    return v && !json_is_null(v);
}

const char *json_read_show(const json_t *value, char buf[JSON_SHOW_BYTES])
{
    static const char *const names[] = {
        [JSON_OBJECT] = "an object", [JSON_ARRAY] = "a list", [JSON_TRUE] = "true",
        [JSON_FALSE] = "false",      [JSON_NULL] = "null",
    };
    enum { SHOWN = 48 };
    if (!value)
        snprintf(buf, JSON_SHOW_BYTES, "nothing");
    else if (json_is_string(value))
        snprintf(buf, JSON_SHOW_BYTES, "\"%.*s%s\"", SHOWN, json_string_value(value),
                 json_string_length(value) > SHOWN ? "..." : "");
    else if (json_is_integer(value))
        snprintf(buf, JSON_SHOW_BYTES, "%" JSON_INTEGER_FORMAT,
                 json_integer_value(value));
    else if (json_is_real(value))
        snprintf(buf, JSON_SHOW_BYTES, "%.17g", json_real_value(value));
    else
        snprintf(buf, JSON_SHOW_BYTES, "%s", names[json_typeof(value)]);
    return buf;
}

/* The error for a value that is absent or not what was wanted. */
static enum err_code wrong(const json_t *value, const char *where, const char *key,
                           const char *wanted, struct err *err)
{
    char found[JSON_SHOW_BYTES];
    if (!value)
        return err_set(err, ERR_FORMAT, "%s: %s is missing", where, key);
    return err_set(err, ERR_FORMAT, "%s: %s: want %s, found %s", where, key, wanted,
                   json_read_show(value, found));
}

enum err_code json_read_object(const json_t *object, const char *where, const char *key,
                               json_t **out, struct err *err)
{
    json_t *v = json_object_get(object, key);
    if (!json_is_object(v))
        return wrong(v, where, key, "an object", err);
    *out = v;
    return ERR_OK;
}

enum err_code json_read_array(const json_t *object, const char *where, const char *key,
                              json_t **out, struct err *err)
{
    json_t *v = json_object_get(object, key);
    if (!json_is_array(v))
        return wrong(v, where, key, "a list", err);
    *out = v;
    return ERR_OK;
}

enum err_code json_read_string(const json_t *object, const char *where, const char *key,
                               const char **out, struct err *err)
{
    const json_t *v = json_object_get(object, key);
    if (!json_is_string(v))
        return wrong(v, where, key, "a string", err);
    *out = json_string_value(v);
    return ERR_OK;
}

enum err_code json_read_bool(const json_t *object, const char *where, const char *key,
                             bool *out, struct err *err)
{
    const json_t *v = json_object_get(object, key);
    if (!json_is_boolean(v))
        return wrong(v, where, key, "true or false", err);
    *out = json_is_true(v);
    return ERR_OK;
}

enum err_code json_read_integer(const json_t *object, const char *where, const char *key,
                                struct json_range range, int64_t *out, struct err *err)
{
    const json_t *v = json_object_get(object, key);
    json_int_t i = json_integer_value(v);
    if (!json_is_integer(v) || i < range.min || i > range.max) {
        char wanted[80];
        snprintf(wanted, sizeof wanted, "an integer %" PRId64 " to %" PRId64, range.min,
                 range.max);
        return wrong(v, where, key, wanted, err);
    }
    *out = i;
    return ERR_OK;
}

enum err_code json_read_real(const json_t *object, const char *where, const char *key,
                             struct json_reals range, double *out, struct err *err)
{
    const json_t *v = json_object_get(object, key);
    double d = json_number_value(v);
    if (!json_is_number(v) || !(d >= range.min && d <= range.max)) {
        char wanted[80];
        snprintf(wanted, sizeof wanted, "a number %g to %g", range.min, range.max);
        return wrong(v, where, key, wanted, err);
    }
    *out = d;
    return ERR_OK;
}

/* Appends "a, b, c" to text, as far as there is room. */
static void list_names(char *text, size_t room, const char *const *names, size_t n)
{
    size_t used = 0;
    for (size_t i = 0; i < n && used < room; i++) {
        int k = snprintf(text + used, room - used, "%s%s", i ? ", " : "", names[i]);
        used += k > 0 ? (size_t)k : 0;
    }
}

enum err_code json_read_choice(const json_t *object, const char *where, const char *key,
                               const char *const *names, size_t n, size_t *out,
                               struct err *err)
{
    const json_t *v = json_object_get(object, key);
    const char *s = json_string_value(v);
    if (!s)
        return wrong(v, where, key, "a string", err);
    for (size_t i = 0; i < n; i++) {
        if (strcmp(names[i], s) == 0) {
            *out = i;
            return ERR_OK;
        }
    }
    char served[256] = "", found[JSON_SHOW_BYTES];
    list_names(served, sizeof served, names, n);
    return err_set(err, ERR_UNSUPPORTED, "%s: %s: %s is not served; served: %s", where,
                   key, json_read_show(v, found), served);
}

static bool is_among(const char *key, const char *const *known, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(known[i], key) == 0)
            return true;
    return false;
}

enum err_code json_read_known(const json_t *object, const char *where,
                              const char *const *known, size_t n, struct err *err)
{
    const char *key;
    json_t *value;
    /* jansson's iterators take a non-const object but change nothing. */
    json_object_foreach((json_t *)object, key, value)
    {
        if (json_is_null(value) || is_among(key, known, n))
            continue;
        return err_set(err, ERR_UNSUPPORTED,
                       "%s: key \"%.100s\" is not known here and might change the answer",
                       where, key);
    }
    return ERR_OK;
}
