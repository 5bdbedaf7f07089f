#include "server/json_types.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/json_data.h"

const char *json_types_name(const json_t *v)
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

enum err_code json_types_wrong(const char *path, const char *wanted, const json_t *v,
                               struct err *err)
{
    return err_param(err, ERR_FORMAT, path, "\"%s\" must be %s, not %s", path, wanted,
                     json_types_name(v));
}
enum err_code json_types_no_memory(const struct json_field *f, struct err *err)
{
    return err_set(err, ERR_NOMEM, "out of memory for \"%s\"", f->name);
}
/* ---- one reader per type --------------------------------------------------------- */

static enum err_code read_text(const struct json_field *f, const json_t *v, void *out,
                               struct err *err)
{
    struct json_text *text = out;
    if (!json_is_string(v))
        return json_types_wrong(f->name, "a string", v, err);
    size_t n = json_string_length(v);
    if ((double)n < f->min)
        return err_param(err, ERR_INPUT, f->name, "\"%s\" must not be empty", f->name);
    if (f->max > 0 && (double)n > f->max)
        return err_param(err, ERR_LIMIT, f->name, "\"%s\" has %zu bytes, at most %.0f go",
                         f->name, n, f->max);
    char *copy = mem_copy(json_string_value(v), n);
    if (!copy)
        return json_types_no_memory(f, err);
    *text = (struct json_text){copy, n};
    return ERR_OK;
}

enum err_code json_types_check_length(const struct json_field *f, size_t n,
                                      struct err *err)
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
    return json_types_wrong(path, wanted, v, err);
}

/* The string of a list's element, which may be an object around it. */
static const json_t *string_of(const json_t *v)
{
    return json_is_object(v) ? json_object_get(v, "text") : v;
}

/* One block: the array, then the bytes of all strings. */
static enum err_code copy_texts(const struct json_field *f, const json_t *list,
                                struct json_texts *texts, struct err *err)
{
    size_t n = json_array_size(list), bytes = 0;
    for (size_t i = 0; i < n; i++)
        bytes += json_string_length(string_of(json_array_get(list, i))) + 1;
    struct json_text *copy = mem_alloc(1, n * sizeof *copy + bytes + 1);
    if (!copy)
        return json_types_no_memory(f, err);
    char *to = (char *)(copy + n);
    for (size_t i = 0; i < n; i++) {
        const json_t *s = string_of(json_array_get(list, i));
        copy[i] = (struct json_text){to, json_string_length(s)};
        memcpy(to, json_string_value(s), copy[i].n + 1);
        to += copy[i].n + 1;
    }
    *texts = (struct json_texts){copy, n};
    return ERR_OK;
}

static enum err_code read_texts(const struct json_field *f, const json_t *v, void *out,
                                struct err *err)
{
    if (!json_is_array(v))
        return json_types_wrong(f->name, "a list of strings", v, err);
    if (json_types_check_length(f, json_array_size(v), err) != ERR_OK)
        return err->code;
    for (size_t i = 0; i < json_array_size(v); i++)
        if (!json_is_string(json_array_get(v, i)))
            return wrong_element(f, i, "a string", json_array_get(v, i), err);
    return copy_texts(f, v, out, err);
}

/* Element i, if it is an object: "text" is its only member, and a string. */
static enum err_code check_instance(const struct json_field *f, size_t i, json_t *v,
                                    struct err *err)
{
    char path[2 * ERR_PARAM_BYTES];
    const char *key;
    json_t *value;
    json_object_foreach(v, key, value)
    {
        snprintf(path, sizeof path, "%s[%zu].%.60s", f->name, i, key);
        if (strcmp(key, "text") != 0)
            return err_param(err, ERR_FORMAT, path, "unknown field \"%s\"", path);
        if (!json_is_string(value))
            return json_types_wrong(path, "a string", value, err);
    }
    snprintf(path, sizeof path, "%s[%zu].text", f->name, i);
    return json_object_size(v)
               ? ERR_OK
               : err_param(err, ERR_FORMAT, path, "\"%s\" is missing", path);
}

static enum err_code read_instances(const struct json_field *f, const json_t *v,
                                    void *out, struct err *err)
{
    static const char FORM[] = "a string or an object with \"text\"";
    if (!json_is_array(v))
        return json_types_wrong(f->name, "a list", v, err);
    if (json_types_check_length(f, json_array_size(v), err) != ERR_OK)
        return err->code;
    for (size_t i = 0; i < json_array_size(v); i++) {
        json_t *one = json_array_get(v, i);
        if (!json_is_object(one) && !json_is_string(one))
            return wrong_element(f, i, FORM, one, err);
        if (json_is_object(one) && check_instance(f, i, one, err) != ERR_OK)
            return err->code;
    }
    return copy_texts(f, v, out, err);
}

static enum err_code read_text_or_texts(const struct json_field *f, const json_t *v,
                                        void *out, struct err *err)
{
    if (json_is_array(v))
        return read_texts(f, v, out, err);
    if (!json_is_string(v))
        return json_types_wrong(f->name, "a string or a list of strings", v, err);
    size_t n = json_string_length(v);
    struct json_text *one = mem_alloc(1, sizeof *one + n + 1);
    if (!one)
        return json_types_no_memory(f, err);
    *one = (struct json_text){(char *)(one + 1), n};
    memcpy(one->at, json_string_value(v), n + 1);
    *(struct json_texts *)out = (struct json_texts){one, 1};
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

/* Whole numbers are integers, however they are written: 5, 5.0, 5e0. */
static bool whole(const json_t *v, int64_t *out)
{
    double value = json_real_value(v);
    if (json_is_integer(v))
        *out = json_integer_value(v);
    else if (json_is_real(v) && fabs(value) < 0x1p63 && value == trunc(value))
        *out = (int64_t)value;
    else
        return false;
    return true;
}

static enum err_code read_int(const struct json_field *f, const json_t *v, void *out,
                              struct err *err)
{
    int64_t value;
    if (!whole(v, &value))
        return json_types_wrong(f->name, "an integer", v, err);
    if (check_range(f, f->name, (double)value, err) != ERR_OK)
        return err->code;
    *(int64_t *)out = value;
    return ERR_OK;
}

static enum err_code read_number(const struct json_field *f, const json_t *v, void *out,
                                 struct err *err)
{
    if (!json_is_number(v))
        return json_types_wrong(f->name, "a number", v, err);
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
        return json_types_wrong(f->name, "true or false", v, err);
    *(bool *)out = json_is_true(v);
    return ERR_OK;
}

static enum err_code read_flag(const struct json_field *f, const json_t *v, void *out,
                               struct err *err)
{
    if (!json_is_boolean(v))
        return json_types_wrong(f->name, "true or false", v, err);
    *(enum json_flag *)out = json_is_true(v) ? JSON_FLAG_TRUE : JSON_FLAG_FALSE;
    return ERR_OK;
}

static enum err_code read_data(const struct json_field *f, const json_t *v, void *out,
                               struct err *err)
{
    return json_data_read(f->name, v, out, err);
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
        return json_types_wrong(f->name, "a string", v, err);
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
        return json_types_wrong(f->name,
                                f->choices   ? "a list of integers, \"all\" or \"last\""
                                : f->members ? "a list of integers, \"all\" or an object"
                                             : "a list of integers or \"all\"",
                                v, err);
    size_t n = json_array_size(v);
    if (json_types_check_length(f, n, err) != ERR_OK)
        return err->code;
    int64_t *list = mem_alloc(n + 1, sizeof *list);
    if (!list)
        return json_types_no_memory(f, err);
    for (size_t i = 0; i < n; i++) {
        const json_t *e = json_array_get(v, i);
        if (!whole(e, &list[i])) {
            mem_free(list);
            return wrong_element(f, i, "an integer", e, err);
        }
    }
    *ints = (struct json_ints){.at = list, .n = n};
    return ERR_OK;
}

static enum err_code read_ids(const struct json_field *f, const json_t *v, void *out,
                              struct err *err)
{
    return json_is_array(v) ? read_ints(f, v, out, err)
                            : json_types_wrong(f->name, "a list of integers", v, err);
}

static enum err_code read_pairs(const struct json_field *f, const json_t *v, void *out,
                                struct err *err)
{
    if (!json_is_array(v))
        return json_types_wrong(f->name, "a list of pairs of integers", v, err);
    size_t n = json_array_size(v);
    if (json_types_check_length(f, n, err) != ERR_OK)
        return err->code;
    int64_t *list = mem_alloc(2 * n + 1, sizeof *list);
    if (!list)
        return json_types_no_memory(f, err);
    for (size_t i = 0; i < 2 * n; i++) {
        const json_t *pair = json_array_get(v, i / 2), *e = json_array_get(pair, i % 2);
        if (json_array_size(pair) != 2 || !whole(e, &list[i])) {
            mem_free(list);
            return wrong_element(f, i / 2, "a list of two integers", pair, err);
        }
    }
    *(struct json_ints *)out = (struct json_ints){.at = list, .n = 2 * n};
    return ERR_OK;
}

/* ---- prompts --------------------------------------------------------------------- */

static const char PROMPT_FORMS[] =
    "a string, a list of strings, a list of token ids or a list of such lists";

/* Whether `v` has the form of one prompt that is no string. */
static bool is_ids(const json_t *v)
{
    return json_is_array(v) && !json_is_string(json_array_get(v, 0)) &&
           !json_is_array(json_array_get(v, 0));
}

/* The list at `path` into ids. */
static enum err_code copy_ids(const char *path, const json_t *list, int32_t *ids,
                              struct err *err)
{
    size_t n = json_array_size(list);
    char element[ERR_PARAM_BYTES];
    if (n == 0)
        return err_param(err, ERR_INPUT, path, "\"%s\" must have at least one token",
                         path);
    for (size_t i = 0; i < n; i++) {
        const json_t *id = json_array_get(list, i);
        int64_t value;
        snprintf(element, sizeof element, "%s[%zu]", path, i);
        if (!whole(id, &value))
            return json_types_wrong(element, "a token id", id, err);
        if (value < 0 || value > INT32_MAX)
            return err_param(err, ERR_INPUT, element, "\"%s\" is no token id", element);
        ids[i] = (int32_t)value;
    }
    return ERR_OK;
}

/* How many bytes of a block the prompt needs behind its struct. */
static size_t prompt_bytes(const json_t *v)
{
    return json_is_string(v) ? json_string_length(v) + 1
                             : json_array_size(v) * sizeof(int32_t);
}

static enum err_code copy_prompt(const char *path, const json_t *v, char *to,
                                 struct json_prompt *prompt, struct err *err)
{
    *prompt = (struct json_prompt){0};
    if (json_is_array(v)) {
        prompt->ids = (int32_t *)(void *)to;
        prompt->n_ids = json_array_size(v);
        return copy_ids(path, v, prompt->ids, err);
    }
    prompt->text = (struct json_text){to, json_string_length(v)};
    memcpy(to, json_string_value(v), prompt->text.n + 1);
    return ERR_OK;
}

/* One block: the array, then what each prompt holds. All are texts, or all are ids, so
 * that ids stand where int32_t may stand. */
static enum err_code copy_prompts(const struct json_field *f, const json_t *list,
                                  struct json_prompts *prompts, struct err *err)
{
    size_t n = json_array_size(list), bytes = 0;
    bool texts = json_is_string(json_array_get(list, 0));
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_array_get(list, i);
        if (texts ? !json_is_string(v) : !json_is_array(v))
            return wrong_element(f, i, texts ? "a string" : "a list of token ids", v,
                                 err);
        bytes += prompt_bytes(v);
    }
    struct json_prompt *at = mem_alloc(1, n * sizeof *at + bytes);
    if (!at)
        return json_types_no_memory(f, err);
    char *to = (char *)(at + n);
    enum err_code code = ERR_OK;
    for (size_t i = 0; i < n && code == ERR_OK; i++) {
        const json_t *v = json_array_get(list, i);
        char path[ERR_PARAM_BYTES];
        snprintf(path, sizeof path, "%s[%zu]", f->name, i);
        code = copy_prompt(path, v, to, &at[i], err);
        to += prompt_bytes(v);
    }
    if (code != ERR_OK) {
        mem_free(at);
        return code;
    }
    *prompts = (struct json_prompts){at, n, true};
    return ERR_OK;
}

static enum err_code read_prompts(const struct json_field *f, const json_t *v, void *out,
                                  struct err *err)
{
    struct json_prompts *prompts = out;
    if (!json_is_string(v) && !json_is_array(v))
        return json_types_wrong(f->name, PROMPT_FORMS, v, err);
    if (json_is_array(v) && json_array_size(v) == 0)
        return json_types_check_length(f, 0, err);
    if (json_is_array(v) && !is_ids(v))
        return json_types_check_length(f, json_array_size(v), err) == ERR_OK
                   ? copy_prompts(f, v, prompts, err)
                   : err->code;
    struct json_prompt *one = mem_alloc(1, sizeof *one + prompt_bytes(v));
    if (!one)
        return json_types_no_memory(f, err);
    if (copy_prompt(f->name, v, (char *)(one + 1), one, err) != ERR_OK) {
        mem_free(one);
        return err->code;
    }
    *prompts = (struct json_prompts){.at = one, .n = 1};
    return ERR_OK;
}

/* ---- maps ------------------------------------------------------------------------ */

/* Digits only, and none to spare: "7" and "07" would be the same key. -1: no key. */
static int64_t parse_key(const char *key)
{
    enum { DIGITS = 10 }; /* of INT32_MAX */
    int64_t value = 0;
    size_t n = strlen(key);
    if (n == 0 || n > DIGITS || strspn(key, "0123456789") != n || (n > 1 && *key == '0'))
        return -1;
    for (; *key; key++)
        value = value * 10 + (*key - '0');
    return value <= INT32_MAX ? value : -1;
}

static enum err_code read_entry(const struct json_field *f, const char *key,
                                const json_t *v, struct json_number_entry *entry,
                                struct err *err)
{
    char path[ERR_PARAM_BYTES];
    int64_t id = parse_key(key);
    snprintf(path, sizeof path, "%s.%.40s", f->name, key);
    if (id < 0)
        return err_param(err, ERR_INPUT, path, "\"%.40s\" in \"%s\" is no token id", key,
                         f->name);
    if (!json_is_number(v))
        return json_types_wrong(path, "a number", v, err);
    *entry = (struct json_number_entry){(int32_t)id, json_number_value(v)};
    return check_range(f, path, entry->value, err);
}

static int compare_entries(const void *a, const void *b)
{
    const struct json_number_entry *x = a, *y = b;
    return (x->key > y->key) - (x->key < y->key);
}

static enum err_code read_number_map(const struct json_field *f, const json_t *v,
                                     void *out, struct err *err)
{
    struct json_number_map *map = out;
    const char *key;
    json_t *value;
    size_t n = json_object_size(v), i = 0;
    if (!json_is_object(v))
        return json_types_wrong(f->name, "an object", v, err);
    if (n > f->most)
        return err_param(err, ERR_LIMIT, f->name,
                         "\"%s\" has %zu entries, at most %zu go", f->name, n, f->most);
    if (n == 0)
        return ERR_OK;
    struct json_number_entry *at = mem_alloc(n, sizeof *at);
    if (!at)
        return json_types_no_memory(f, err);
    json_object_foreach((json_t *)v, key, value)
    {
        if (read_entry(f, key, value, &at[i++], err) != ERR_OK) {
            mem_free(at);
            return err->code;
        }
    }
    qsort(at, n, sizeof *at, compare_entries);
    *map = (struct json_number_map){at, n};
    return ERR_OK;
}
typedef enum err_code (*read_fn)(const struct json_field *f, const json_t *v, void *out,
                                 struct err *err);

/* Objects and lists of them are not among them: json_read goes through these. */
static const read_fn READERS[] = {
    [JSON_FIELD_TEXT] = read_text,
    [JSON_FIELD_TEXTS] = read_texts,
    [JSON_FIELD_INSTANCES] = read_instances,
    [JSON_FIELD_INT] = read_int,
    [JSON_FIELD_NUMBER] = read_number,
    [JSON_FIELD_BOOL] = read_bool,
    [JSON_FIELD_CHOICE] = read_choice,
    [JSON_FIELD_INTS] = read_ints,
    [JSON_FIELD_TEXT_OR_TEXTS] = read_text_or_texts,
    [JSON_FIELD_IDS] = read_ids,
    [JSON_FIELD_PAIRS] = read_pairs,
    [JSON_FIELD_PROMPTS] = read_prompts,
    [JSON_FIELD_NUMBER_MAP] = read_number_map,
    [JSON_FIELD_INTS_OR_OBJECT] = read_ints,
    [JSON_FIELD_FLAG] = read_flag,
    [JSON_FIELD_DATA] = read_data,
};
enum err_code json_types_read(const struct json_field *f, const json_t *v, void *at,
                              struct err *err)
{
    return READERS[f->type](f, v, at, err);
}

void json_types_done(const struct json_field *f, void *at)
{
    switch (f->type) {
    case JSON_FIELD_TEXT:
        mem_free(((struct json_text *)at)->at);
        *(struct json_text *)at = (struct json_text){0};
        break;
    case JSON_FIELD_TEXTS:
    case JSON_FIELD_INSTANCES:
    case JSON_FIELD_TEXT_OR_TEXTS:
        mem_free(((struct json_texts *)at)->at);
        *(struct json_texts *)at = (struct json_texts){0};
        break;
    case JSON_FIELD_INTS:
    case JSON_FIELD_INTS_OR_OBJECT:
    case JSON_FIELD_IDS:
    case JSON_FIELD_PAIRS:
        mem_free(((struct json_ints *)at)->at);
        *(struct json_ints *)at = (struct json_ints){0};
        break;
    case JSON_FIELD_PROMPTS:
        mem_free(((struct json_prompts *)at)->at);
        *(struct json_prompts *)at = (struct json_prompts){0};
        break;
    case JSON_FIELD_NUMBER_MAP:
        mem_free(((struct json_number_map *)at)->at);
        *(struct json_number_map *)at = (struct json_number_map){0};
        break;
    case JSON_FIELD_DATA:
        mem_free(((struct json_data *)at)->at);
        *(struct json_data *)at = (struct json_data){0};
        break;
    case JSON_FIELD_OBJECT: /* of these two json_read frees the members */
    case JSON_FIELD_LIST:
    case JSON_FIELD_INT:
    case JSON_FIELD_NUMBER:
    case JSON_FIELD_BOOL:
    case JSON_FIELD_FLAG:
    case JSON_FIELD_CHOICE:
        break; /* nothing to free */
    }
}
