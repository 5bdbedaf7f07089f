#include "model/load/safetensors.h"

#include "model/base/mem.h"
#include "model/load/json.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* About 12 values per tensor: enough for 80,000 tensors, and at most some 100 MB of tree.
 */
static const struct json_limits HEADER_LIMITS = {.max_depth = 8, .max_values = 1000000};

static const char *const METADATA = "__metadata__";

enum { WHERE_BYTES = 200 };

enum err_code safetensors_front(const char *name, const unsigned char *bytes, size_t n,
                                size_t *front, struct err *err)
{
    if (n < 8)
        return err_set(err, ERR_FORMAT, "%s: %zu bytes, a header needs at least 8", name,
                       n);
    uint64_t length = 0;
    for (int i = 7; i >= 0; i--)
        length = length << 8 | bytes[i];
    if (length > SAFETENSORS_HEADER_BYTES)
        return err_set(err, ERR_FORMAT, "%s: header of %ju bytes, at most %d are allowed",
                       name, (uintmax_t)length, SAFETENSORS_HEADER_BYTES);
    if (length > n - 8)
        return err_set(err, ERR_FORMAT, "%s: header of %ju bytes in a file of %zu", name,
                       (uintmax_t)length, n);
    if (length == 0 || bytes[8] != '{')
        return err_set(err, ERR_FORMAT, "%s: the header does not begin with {", name);
    *front = 8 + (size_t)length;
    return ERR_OK;
}

static enum err_code check_metadata(const char *name, const json_t *metadata,
                                    struct err *err)
{
    const char *key;
    json_t *value;
    char found[JSON_SHOW_BYTES];
    if (!json_is_object(metadata))
        return err_set(err, ERR_FORMAT, "%s: __metadata__: want an object, found %s",
                       name, json_read_show(metadata, found));
    json_object_foreach((json_t *)metadata, key, value) if (
        !json_is_string(value)) return err_set(err, ERR_FORMAT,
                                               "%s: __metadata__: %.80s: want a string, "
                                               "found %s",
                                               name, key, json_read_show(value, found));
    return ERR_OK;
}

/* The integer list[i], which must be 0 or more. */
static enum err_code read_size(const json_t *list, size_t i, const char *where,
                               const char *key, size_t *out, struct err *err)
{
    const json_t *v = json_array_get(list, i);
    char found[JSON_SHOW_BYTES];
    if (!json_is_integer(v) || json_integer_value(v) < 0)
        return err_set(err, ERR_FORMAT, "%s: %s: want integers of 0 or more, found %s",
                       where, key, json_read_show(v, found));
    *out = (size_t)json_integer_value(v);
    return ERR_OK;
}

static enum err_code read_shape(const json_t *info, const char *where,
                                struct safetensor *t, struct err *err)
{
    json_t *shape = NULL;
    enum err_code code = json_read_array(info, where, "shape", &shape, err);
    if (code != ERR_OK)
        return code;
    t->rank = json_array_size(shape);
    if (t->rank > SAFETENSORS_RANK)
        return err_set(err, ERR_UNSUPPORTED, "%s: %zu dimensions, at most %d are served",
                       where, t->rank, SAFETENSORS_RANK);
    t->count = 1;
    for (size_t i = 0; i < t->rank; i++) {
        code = read_size(shape, i, where, "shape", &t->shape[i], err);
        if (code != ERR_OK)
            return code;
        if (!mem_mul(t->count, t->shape[i], &t->count))
            return err_set(err, ERR_FORMAT, "%s: shape: the product does not fit 64 bits",
                           where);
    }
    return ERR_OK;
}

/* Checks that the stretch has the size that shape and dtype ask for. */
static enum err_code read_offsets(const json_t *info, const char *where,
                                  struct safetensor *t, struct err *err)
{
    json_t *offsets = NULL;
    enum err_code code = json_read_array(info, where, "data_offsets", &offsets, err);
    if (code != ERR_OK)
        return code;
    if (json_array_size(offsets) != 2)
        return err_set(err, ERR_FORMAT, "%s: data_offsets: want 2 integers, found %zu",
                       where, json_array_size(offsets));
    code = read_size(offsets, 0, where, "data_offsets", &t->begin, err);
    if (code == ERR_OK)
        code = read_size(offsets, 1, where, "data_offsets", &t->end, err);
    if (code != ERR_OK)
        return code;
    char shape[SAFETENSORS_SHAPE_BYTES];
    size_t bits;
    if (!mem_mul(t->count, dtype_bits(t->dtype), &bits) || bits % 8 != 0)
        return err_set(err, ERR_FORMAT,
                       "%s: %s %s is no whole number of bytes below 2^61", where,
                       dtype_name(t->dtype), safetensors_shape(t->shape, t->rank, shape));
    if (t->end < t->begin || t->end - t->begin != bits / 8)
        return err_set(err, ERR_FORMAT,
                       "%s: data_offsets [%zu,%zu], but %s %s takes %zu "
                       "bytes",
                       where, t->begin, t->end, dtype_name(t->dtype),
                       safetensors_shape(t->shape, t->rank, shape), bits / 8);
    return ERR_OK;
}

static enum err_code read_tensor(const char *name, const char *key, const json_t *info,
                                 struct safetensor *t, struct err *err)
{
    static const char *const known[] = {"dtype", "shape", "data_offsets"};
    char where[WHERE_BYTES], found[JSON_SHOW_BYTES];
    snprintf(where, sizeof where, "%.60s: tensor %.120s", name, key);
    if (!json_is_object(info))
        return err_set(err, ERR_FORMAT, "%s: want an object, found %s", where,
                       json_read_show(info, found));
    const char *dtype = NULL;
    enum err_code code = json_read_known(info, where, known, 3, err);
    if (code == ERR_OK)
        code = json_read_string(info, where, "dtype", &dtype, err);
    if (code != ERR_OK)
        return code;
    if (!dtype_find(dtype, &t->dtype))
        return err_set(err, ERR_UNSUPPORTED, "%s: unsupported dtype \"%.40s\"", where,
                       dtype);
    code = read_shape(info, where, t, err);
    if (code == ERR_OK)
        code = read_offsets(info, where, t, err);
    if (code != ERR_OK)
        return code;
    t->name = mem_copy(key, strlen(key));
    return t->name ? ERR_OK : err_set(err, ERR_NOMEM, "%s: no memory", where);
}

static enum err_code read_tensors(const char *name, const json_t *root,
                                  struct safetensors *s, struct err *err)
{
    size_t n = json_object_size(root);
    s->tensors = mem_zero(n, sizeof *s->tensors);
    if (!s->tensors)
        return err_set(err, ERR_NOMEM, "%s: no memory for %zu tensors", name, n);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)root, key, value)
    {
        enum err_code code = ERR_OK;
        if (strcmp(key, METADATA) == 0)
            code = check_metadata(name, value, err);
        else
            code = read_tensor(name, key, value, &s->tensors[s->n++], err);
        if (code != ERR_OK)
            return code;
    }
    return ERR_OK;
}

static int by_offset(const void *a, const void *b)
{
    const struct safetensor *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return x->end == y->end ? 0 : x->end < y->end ? -1 : 1;
}

static int by_name(const void *a, const void *b)
{
    const struct safetensor *x = a, *y = b;
    return strcmp(x->name, y->name);
}

/* Proves that the tensors lie end to end from 0 to data_n. */
static enum err_code check_cover(const char *name, const struct safetensors *s,
                                 size_t data_n, struct err *err)
{
    size_t at = 0;
    for (size_t i = 0; i < s->n; i++) {
        const struct safetensor *t = &s->tensors[i];
        if (t->begin != at)
            return err_set(err, ERR_FORMAT, "%s: tensor %.120s begins at %zu, %s at %zu",
                           name, t->name, t->begin,
                           i ? "the one before it ends" : "the data begins", at);
        at = t->end;
    }
    if (at != data_n)
        return err_set(err, ERR_FORMAT, "%s: the tensors end at %zu, the data at %zu",
                       name, at, data_n);
    return ERR_OK;
}

enum err_code safetensors_parse(const char *name, const unsigned char *bytes, size_t n,
                                struct safetensors *out, struct err *err)
{
    size_t front = 0;
    json_t *root = NULL;
    struct safetensors s = {0};
    enum err_code code = safetensors_front(name, bytes, n, &front, err);
    if (code == ERR_OK)
        code = json_read_text(name, (const char *)bytes + 8, front - 8, &HEADER_LIMITS,
                              &root, err);
    if (code != ERR_OK)
        goto out;
    code = read_tensors(name, root, &s, err);
    if (code != ERR_OK)
        goto out;
    qsort(s.tensors, s.n, sizeof *s.tensors, by_offset);
    code = check_cover(name, &s, n - front, err);
    if (code != ERR_OK)
        goto out;
    for (size_t i = 0; i < s.n; i++) {
        s.tensors[i].begin += front;
        s.tensors[i].end += front;
    }
    qsort(s.tensors, s.n, sizeof *s.tensors, by_name);
    *out = s;
    s = (struct safetensors){0};
out:
    safetensors_done(&s);
    json_decref(root);
    return code;
}

void safetensors_done(struct safetensors *s)
{
    for (size_t i = 0; i < s->n; i++)
        mem_free(s->tensors[i].name);
    mem_free(s->tensors);
    *s = (struct safetensors){0};
}

const char *safetensors_shape(const size_t *shape, size_t rank,
                              char buf[SAFETENSORS_SHAPE_BYTES])
{
    size_t used = 1;
    buf[0] = '[';
    for (size_t i = 0; i < rank && used < SAFETENSORS_SHAPE_BYTES; i++)
        used += (size_t)snprintf(buf + used, SAFETENSORS_SHAPE_BYTES - used, "%s%zu",
                                 i ? "," : "", shape[i]);
    snprintf(buf + used, SAFETENSORS_SHAPE_BYTES - used, "]");
    return buf;
}
