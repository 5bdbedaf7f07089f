#include "server/json_data.h"

#include <string.h>

#include "model/seq.h"

/* The shape as far as it is known, and how much there is to copy. */
struct measure {
    const char *name;
    struct json_data data;
    size_t bytes;
};

static enum err_code wrong_form(const struct measure *m, struct err *err)
{
    return err_param(err, ERR_FORMAT, m->name,
                     "\"%s\" must be a list of strings, or of lists of them, all equally "
                     "deep and at most %d deep",
                     m->name, JSON_DATA_RANK);
}

/* What stands `depth` lists deep. */
static enum err_code measure(struct measure *m, const json_t *v, size_t depth,
                             struct err *err)
{
    struct json_data *d = &m->data;
    if (json_is_string(v)) {
        d->n++;
        m->bytes += json_string_length(v) + 1;
        return depth == d->rank ? ERR_OK : wrong_form(m, err);
    }
    bool fits = depth < d->rank || (depth < JSON_DATA_RANK && d->n == 0);
    if (!json_is_array(v) || !fits)
        return wrong_form(m, err);
    size_t n = json_array_size(v);
    if (depth == d->rank)
        d->shape[d->rank++] = n;
    if (d->shape[depth] != n)
        return err_param(err, ERR_INPUT, m->name,
                         "\"%s\" has lists of %zu and of %zu elements at one depth",
                         m->name, d->shape[depth], n);
    for (size_t i = 0; i < n; i++)
        if (measure(m, json_array_get(v, i), depth + 1, err) != ERR_OK)
            return err->code;
    return ERR_OK;
}

/* The strings below `v`, in order; their bytes go to *bytes. */
static void copy(const json_t *v, struct json_text **to, char **bytes)
{
    for (size_t i = 0; i < json_array_size(v); i++)
        copy(json_array_get(v, i), to, bytes);
    if (!json_is_string(v))
        return;
    size_t n = json_string_length(v);
    memcpy(*bytes, json_string_value(v), n + 1);
    *(*to)++ = (struct json_text){*bytes, n};
    *bytes += n + 1;
}

enum err_code json_data_read(const char *name, const json_t *v, struct json_data *out,
                             struct err *err)
{
    struct measure m = {.name = name};
    if (!json_is_array(v))
        return wrong_form(&m, err);
    if (measure(&m, v, 0, err) != ERR_OK)
        return err->code;
    struct json_text *at = mem_alloc(1, m.data.n * sizeof *at + m.bytes + 1);
    if (!at)
        return err_set(err, ERR_NOMEM, "out of memory for \"%s\"", name);
    struct json_text *to = at;
    char *bytes = (char *)(at + m.data.n);
    copy(v, &to, &bytes);
    m.data.at = at;
    *out = m.data;
    return ERR_OK;
}
