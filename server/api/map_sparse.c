#include "server/api/map_sparse.h"

#include <string.h>

bool map_sparse_init(struct map_sparse *s, size_t n_rows, size_t k, float least)
{
    size_t n;
    *s = (struct map_sparse){.n_rows = n_rows, .k = k, .least = least};
    if (!mem_mul(n_rows, k, &n))
        return false;
    s->index = mem_zero(n + 1, sizeof *s->index);
    s->value = mem_zero(n + 1, sizeof *s->value);
    s->rest = mem_zero(n_rows + 1, sizeof *s->rest);
    if (least > 0)
        s->start = mem_zero(n_rows + 1, sizeof *s->start);
    return s->index && s->value && s->rest && (s->start || least <= 0);
}

void map_sparse_done(struct map_sparse *s)
{
    mem_free(s->index);
    mem_free(s->value);
    mem_free(s->rest);
    mem_free(s->start);
    *s = (struct map_sparse){0};
}

void map_sparse_put(struct map_sparse *s, size_t first, size_t n, size_t keys,
                    const float *x)
{
    for (size_t row = first; row < first + n; row++, x += keys) {
        float *value = s->value + row * s->k;
        size_t kept = s->k;
        double rest = maps_top(keys, s->k, x, s->index + row * s->k, value);
        if (!s->start) {
            s->rest[row] = (float)rest;
            continue;
        }
        while (kept && value[kept - 1] < s->least)
            rest += value[--kept];
        s->rest[row] = (float)rest;
        s->start[row + 1] = (int64_t)kept; /* how many, until finish */
    }
}

void map_sparse_finish(struct map_sparse *s)
{
    s->n = s->n_rows * s->k;
    if (!s->start)
        return;
    s->n = 0;
    for (size_t row = 0; row < s->n_rows; row++) {
        size_t kept = (size_t)s->start[row + 1];
        memmove(s->index + s->n, s->index + row * s->k, kept * sizeof *s->index);
        memmove(s->value + s->n, s->value + row * s->k, kept * sizeof *s->value);
        s->n += kept;
        s->start[row + 1] = (int64_t)s->n;
    }
}

void map_sparse_write(const struct map_sparse *s, struct json_writer *w,
                      enum map_dtype dtype, unsigned decimals)
{
    json_write_key(w, "indices");
    json_write_array(w);
    for (size_t i = 0; i < s->n; i++)
        json_write_int(w, s->index[i]);
    json_write_end(w);
    if (s->start) {
        json_write_key(w, "indptr");
        json_write_array(w);
        for (size_t i = 0; i <= s->n_rows; i++)
            json_write_int(w, s->start[i]);
        json_write_end(w);
    }
    json_write_key(w, "residual");
    json_write_floats(w, s->rest, s->n_rows, decimals);
    json_write_key(w, "values");
    map_encode_json(w, dtype, decimals, s->n, s->value);
}

void map_sparse_list(const struct map_sparse *s, struct json_writer *w,
                     enum map_dtype dtype, const struct map_axis *axes, size_t rank)
{
    const char *datatype = map_dtype_tensor(dtype);
    const struct map_axis entries = {"entry", s->n}, starts = {"row", s->n_rows + 1};
    const struct map_axis *shape = s->start ? &entries : axes;
    size_t n_axes = s->start ? 1 : rank;
    if (s->start)
        map_output_write(w, "indptr", "INT64", &starts, 1,
                         (s->n_rows + 1) * sizeof *s->start);
    map_output_write(w, "indices", "INT32", shape, n_axes, s->n * sizeof *s->index);
    map_output_write(w, "residual", "FP32", axes, rank - 1, s->n_rows * sizeof *s->rest);
    map_output_write(w, "values", datatype, shape, n_axes, s->n * map_dtype_bytes(dtype));
}

unsigned char *map_sparse_join(const struct map_sparse *s, enum map_dtype dtype,
                               size_t *bytes)
{
    size_t starts = s->start ? (s->n_rows + 1) * sizeof *s->start : 0;
    size_t indices = s->n * sizeof *s->index, rest = s->n_rows * sizeof *s->rest;
    *bytes = starts + indices + rest + s->n * map_dtype_bytes(dtype);
    unsigned char *all = mem_alloc(*bytes + 1, 1), *at = all;
    if (!all)
        return NULL;
    if (s->start)
        memcpy(at, s->start, starts);
    memcpy(at += starts, s->index, indices);
    memcpy(at += indices, s->rest, rest);
    map_encode(dtype, s->n, s->value, at + rest);
    return all;
}
