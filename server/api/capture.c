#include "server/api/capture.h"

#include <math.h>
#include <string.h>

enum err_code capture_init(struct capture *c, const struct selection *layers,
                           const struct selection *heads, const struct selection *queries,
                           size_t n_keys, struct err *err)
{
    *c = (struct capture){
        .layers = layers, .heads = heads, .queries = queries, .n_keys = n_keys};
    c->maps = mem_zero(heads->n * queries->n, n_keys * sizeof *c->maps);
    c->out = mem_zero(layers->n, sizeof *c->out);
    if (c->maps && c->out)
        return ERR_OK;
    capture_done(c);
    return err_set(err, ERR_NOMEM, "out of memory for the attention maps");
}

void capture_done(struct capture *c)
{
    for (size_t i = 0; c->out && i < c->layers->n; i++)
        json_write_done(&c->out[i]);
    mem_free(c->out);
    mem_free(c->maps);
    *c = (struct capture){0};
}

/* The layer in `maps` as text. */
static void flush(struct capture *c)
{
    if (!c->open)
        return;
    c->open = false;
    struct json_writer *w = &c->out[c->layers->place[c->layer]];
    const float *row = c->maps;
    json_write_array(w);
    for (size_t h = 0; h < c->heads->n; h++) {
        if (!c->pooling)
            json_write_array(w);
        for (size_t q = 0; q < c->queries->n; q++, row += c->n_keys) {
            float sum = 0;
            for (size_t k = 0; k < c->n_keys; k++)
                sum += row[k];
            c->not_finite |= !isfinite(sum);
            json_write_floats(w, row, c->n_keys, c->decimals);
        }
        if (!c->pooling)
            json_write_end(w);
    }
    json_write_end(w);
}

void capture_row(void *arg, size_t layer, size_t head, size_t query, size_t n_keys,
                 const float *p)
{
    struct capture *c = arg;
    if (c->open && layer != c->layer)
        flush(c);
    long h = c->heads->place[head], q = c->queries->place[query];
    if (c->layers->place[layer] == SELECTION_NONE || h == SELECTION_NONE ||
        q == SELECTION_NONE)
        return;
    float *row = c->maps + ((size_t)h * c->queries->n + (size_t)q) * c->n_keys;
    memcpy(row, p, n_keys * sizeof *row);
    memset(row + n_keys, 0, (c->n_keys - n_keys) * sizeof *row);
    c->layer = layer;
    c->open = true;
}

enum err_code capture_write(struct capture *c, struct json_writer *w, struct err *err)
{
    flush(c);
    if (c->not_finite)
        return err_set(err, ERR_BUG, "an attention weight is not finite");
    if (!c->pooling)
        json_write_array(w);
    for (size_t i = 0; i < c->layers->n; i++) {
        if (c->out[i].buf.failed)
            return err_set(err, ERR_NOMEM, "out of memory for the attention maps");
        json_write_raw(w, c->out[i].buf.at, c->out[i].buf.n);
        json_write_done(&c->out[i]);
    }
    if (!c->pooling)
        json_write_end(w);
    return ERR_OK;
}
