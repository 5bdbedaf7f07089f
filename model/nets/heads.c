#include "model/nets/heads.h"

#include "model/base/mem.h"

#include <stdio.h>

enum { HEAD_NAME_BYTES = 64 };

/* ---- loading --------------------------------------------------------------------- */

/* What tensor i of a head is called, in any file; false behind the last. */
static bool tensor_name(const struct head_names *names, size_t i,
                        char out[HEAD_NAME_BYTES])
{
    static const char *const ends[] = {".weight", ".bias", ".gamma", ".beta"};
    const char *const parts[] = {names->dense, names->norm, names->out};
    if (i < 12)
        snprintf(out, HEAD_NAME_BYTES, "%s%s", parts[i / 4], ends[i % 4]);
    else
        snprintf(out, HEAD_NAME_BYTES, "%s", names->bias);
    return i <= 12;
}

void head_choose(struct builder *b, struct config *c, const struct head_names *masked)
{
    char name[HEAD_NAME_BYTES];
    bool any = false;
    for (size_t i = 0; tensor_name(masked, i, name); i++) {
        any |= builder_has(b, name);
        if (c->unnamed)
            weights_ignore(b->w, name);
    }
    if (c->head != HEAD_MASKED_LM || any)
        return;
    c->head = HEAD_NONE;
    c->tied = false;
    c->beheaded = true;
}

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
    char out[HEAD_NAME_BYTES];
    if (c->head == HEAD_NONE)
        return;
    builder_scope(b, "%s", "");
    b->exact = !masked;
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
    b->exact = false;
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
