#include "model/nets/heads.h"

#include "model/base/mem.h"

#include <stdio.h>

/* ---- loading --------------------------------------------------------------------- */

void head_words(struct builder *b, const struct config *c, const char *name,
                struct embedding *words, struct head_parts *h)
{
    if (c->tied)
        builder_tied(b, words, &h->out.w, name, c->vocab, c->embedding_width);
    else
        builder_embedding(b, words, name, c->vocab, c->embedding_width);
}

/* The tensor `name` [n] must hold the same values. */
static void check_same(struct builder *b, const char *name, const char *copy, size_t n,
                       const float *bias)
{
    float *same = mem_zero(n, sizeof *same);
    if (!same) {
        builder_fail(b, ERR_NOMEM, "out of memory: %s", copy);
        return;
    }
    builder_read(b, copy, n, same);
    for (size_t i = 0; i < n && b->rc == ERR_OK; i++)
        if (same[i] != bias[i])
            builder_fail(b, ERR_MISMATCH,
                         "%s differs from %s at %zu, but they name one bias", copy, name,
                         i);
    mem_free(same);
}

static float *load_bias(struct builder *b, const struct head_names *names, size_t n)
{
    bool copied = names->copy && builder_has(b, names->copy);
    if (copied && !builder_has(b, names->bias))
        return builder_vector(b, names->copy, n);
    float *bias = builder_vector(b, names->bias, n);
    if (copied && b->rc == ERR_OK)
        check_same(b, names->bias, names->copy, n, bias);
    return bias;
}

static void load_norm(struct builder *b, const struct config *c, const char *name,
                      size_t W, bool bias, struct norm *n)
{
    if (bias)
        builder_norm(b, n, name, W, c->norm_eps);
    else
        builder_norm_plain(b, n, name, W, c->norm_eps, false);
}

void head_load(struct builder *b, const struct config *c, const struct head_names *names,
               const struct head_biases *biases, const char *base, const char *words,
               struct head_parts *h)
{
    bool masked = c->head == HEAD_MASKED_LM;
    size_t W = masked ? c->embedding_width : c->width;
    size_t rows = masked ? c->vocab : c->n_labels;
    char out[64];
    if (c->head == HEAD_NONE)
        return;
    builder_scope(b, "%s", "");
    weights_prefix(b->w, base);
    builder_linear_with(b, &h->dense, names->dense, W, c->width, biases->dense);
    weights_prefix(b->w, "");
    h->act = layer_act_of(b->k, c->head_act);
    if (names->norm)
        load_norm(b, c, names->norm, W, biases->norm, &h->norm);
    snprintf(out, sizeof out, "%s.weight", names->out);
    if (c->tied)
        builder_copy(b, &h->out.w, words, out);
    else
        builder_packed(b, &h->out.w, out, rows, W);
    if (biases->out)
        h->out.bias = load_bias(b, names, rows);
}

void head_done(struct head_parts *h)
{
    linear_done(&h->dense);
    norm_done(&h->norm);
    linear_done(&h->out);
}

/* ---- a pass ---------------------------------------------------------------------- */

void head_rows(struct exec *x, const struct head_parts *h, size_t M, const float *in,
               float *y)
{
    layer_linear_act(x, &h->dense, h->act, M, in, y);
    if (h->norm.w)
        layer_norm(x, &h->norm, M, y, y);
}
