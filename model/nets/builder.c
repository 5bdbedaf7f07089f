#include "model/nets/builder.h"

#include "model/base/mem.h"
#include "model/base/problems.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct name {
    char s[BUILDER_NAME_BYTES];
};

static struct name full_name(const struct builder *b, const char *name, const char *more)
{
    struct name n;
    snprintf(n.s, sizeof n.s, "%s%s%s", b->scope, name, more);
    return n;
}

static bool surveying(const struct builder *b)
{
    return weights_problems(b->w) != NULL;
}

void builder_fail(struct builder *b, enum err_code code, const char *fmt, ...)
{
    if (b->rc != ERR_OK)
        return;
    char msg[ERR_MSG_BYTES];
    va_list args;
    va_start(args, fmt);
    vsnprintf(msg, sizeof msg, fmt, args);
    va_end(args);
    code = err_set(b->err, code, "%s", msg);
    b->rc = problems_take(weights_problems(b->w), code, b->err);
}

void builder_scope(struct builder *b, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(b->scope, sizeof b->scope, fmt, args);
    va_end(args);
}

bool builder_has(const struct builder *b, const char *name)
{
    return weights_has(b->w, full_name(b, name, "").s);
}

void *builder_array(struct builder *b, size_t n, size_t size)
{
    if (b->rc != ERR_OK)
        return NULL;
    void *p = mem_zero(n, size);
    if (!p)
        builder_fail(b, ERR_NOMEM, "out of memory: %zu times %zu bytes", n, size);
    return p;
}

float *builder_floats(struct builder *b, size_t n)
{
    if (b->rc != ERR_OK)
        return NULL;
    /* A survey doesn't write there, so that no page of it is ever taken. */
    float *p = surveying(b) ? mem_zero(n, sizeof *p) : mem_aligned(n, sizeof *p);
    if (!p)
        builder_fail(b, ERR_NOMEM, "out of memory: %zu weights", n);
    else
        b->bytes += n * sizeof *p;
    return p;
}

void builder_read(struct builder *b, const char *name, size_t n, float *out)
{
    if (b->rc == ERR_OK)
        b->rc = weights_get(b->w, full_name(b, name, "").s, 1, &n, out, b->err);
}

void builder_read_table(struct builder *b, const char *name, size_t rows, size_t columns,
                        float *out)
{
    size_t shape[2] = {rows, columns};
    if (b->rc == ERR_OK)
        b->rc = weights_get(b->w, full_name(b, name, "").s, 2, shape, out, b->err);
}

/* The tensor [rows,columns]; NULL in a survey and after a failure. A wrong shape is
 * refused before memory is taken for the right one: a config.json may ask for anything.
 */
static const struct weights_tensor *find(struct builder *b, const char *name, size_t rows,
                                         size_t columns)
{
    const struct weights_tensor *t = NULL;
    size_t shape[2] = {rows, columns};
    if (b->rc == ERR_OK)
        b->rc = weights_find(b->w, full_name(b, name, "").s, 2, shape, &t, b->err);
    return t;
}

float *builder_vector(struct builder *b, const char *name, size_t n)
{
    if (b->rc == ERR_OK && !surveying(b) &&
        weights_rows(b->w, full_name(b, name, "").s) != n) {
        builder_read(b, name, n, NULL); /* fails, and says why */
        builder_fail(b, ERR_BUG, "%s%s: shape changed while loading", b->scope, name);
    }
    float *v = builder_floats(b, n);
    builder_read(b, name, n, v);
    if (b->rc == ERR_OK)
        return v;
    mem_free(v);
    return NULL;
}

/* Wider than int8 products reach is nothing but a hostile config.json. */
static enum precision precision_of(const struct builder *b, size_t K)
{
    bool too_wide = b->precision == PRECISION_INT8 && K > KERNELS_INT8_K;
    return b->exact || too_wide ? PRECISION_F32 : b->precision;
}

void builder_matrix(struct builder *b, struct matrix *m, size_t N, size_t K)
{
    if (b->rc != ERR_OK)
        return;
    m->N = N;
    m->K = K;
    m->precision = precision_of(b, K);
    if (m->precision == PRECISION_INT8 && K > b->int8_width)
        b->int8_width = K;
    if (!surveying(b))
        b->rc = packing_matrix(b->packing, m, b->err);
}

void builder_rows(struct builder *b, struct matrix *m, const char *name, size_t first,
                  size_t n)
{
    const struct weights_tensor *t = find(b, name, n, m->K);
    if (t)
        b->rc = packing_rows(b->packing, m, t, first, n, false, b->err);
}

void builder_packed(struct builder *b, struct matrix *m, const char *name, size_t N,
                    size_t K)
{
    const struct weights_tensor *t = find(b, name, N, K);
    builder_matrix(b, m, N, K);
    if (t && b->rc == ERR_OK)
        b->rc = packing_rows(b->packing, m, t, 0, N, false, b->err);
}

void builder_linear(struct builder *b, struct linear *l, const char *name, size_t N,
                    size_t K)
{
    builder_linear_with(b, l, name, N, K, true);
}

void builder_linear_with(struct builder *b, struct linear *l, const char *name, size_t N,
                         size_t K, bool bias)
{
    struct name weight = full_name(b, name, ".weight"),
                more = full_name(b, name, ".bias");
    size_t scope = strlen(b->scope);
    builder_packed(b, &l->w, weight.s + scope, N, K);
    if (bias)
        l->bias = builder_vector(b, more.s + scope, N);
}

void builder_stack(struct builder *b, struct linear *l, const struct builder_part *parts,
                   size_t n, size_t K, bool bias)
{
    size_t N = 0, scope = strlen(b->scope), first = 0;
    for (size_t i = 0; i < n; i++)
        N += parts[i].rows;
    builder_matrix(b, &l->w, N, K);
    for (size_t i = 0; i < n; first += parts[i++].rows)
        builder_rows(b, &l->w, full_name(b, parts[i].name, ".weight").s + scope, first,
                     parts[i].rows);
    if (bias)
        l->bias = builder_floats(b, N);
    first = 0;
    for (size_t i = 0; bias && i < n; first += parts[i++].rows)
        builder_read(b, full_name(b, parts[i].name, ".bias").s + scope, parts[i].rows,
                     l->bias + first);
}

void builder_conv1d(struct builder *b, struct linear *l, const char *name, size_t N,
                    size_t K)
{
    struct name weight = full_name(b, name, ".weight"),
                bias = full_name(b, name, ".bias");
    size_t scope = strlen(b->scope);
    const struct weights_tensor *t = find(b, weight.s + scope, K, N);
    builder_matrix(b, &l->w, N, K);
    if (t && b->rc == ERR_OK)
        b->rc = packing_rows(b->packing, &l->w, t, 0, N, true, b->err);
    l->bias = builder_vector(b, bias.s + scope, N);
}

void builder_norm(struct builder *b, struct norm *n, const char *name, size_t D,
                  float eps)
{
    size_t scope = strlen(b->scope);
    bool old = weights_has(b->w, full_name(b, name, ".gamma").s);
    struct name w = full_name(b, name, old ? ".gamma" : ".weight");
    struct name bias = full_name(b, name, old ? ".beta" : ".bias");
    n->D = D;
    n->eps = eps;
    n->w = builder_vector(b, w.s + scope, D);
    n->b = builder_vector(b, bias.s + scope, D);
}

void builder_norm_plain(struct builder *b, struct norm *n, const char *name, size_t D,
                        float eps, bool rms)
{
    *n = (struct norm){.D = D, .eps = eps, .rms = rms};
    n->w = builder_vector(b, full_name(b, name, ".weight").s + strlen(b->scope), D);
}

void builder_embedding(struct builder *b, struct embedding *e, const char *name, size_t V,
                       size_t D)
{
    const struct weights_tensor *t = find(b, name, V, D);
    e->D = D;
    if (!t)
        return;
    e->dtype = weights_tensor_dtype(t);
    b->rc = packing_table(b->packing, &e->table, t, V * D, b->err);
}

void builder_tied(struct builder *b, struct embedding *e, struct matrix *m,
                  const char *name, size_t V, size_t D)
{
    b->tied = find(b, name, V, D);
    builder_matrix(b, m, V, D);
    if (b->tied && b->rc == ERR_OK)
        b->rc = packing_rows(b->packing, m, b->tied, 0, V, false, b->err);
    e->D = D;
    e->packed = m;
}

/* Compares elements first..first+n-1 of the tied tensor and its copy; rows [2,n]. */
static void compare(struct builder *b, const struct weights_tensor *copy, size_t first,
                    size_t n, float *rows, size_t *differs)
{
    b->rc = weights_read(b->tied, first, n, rows, b->err);
    if (b->rc == ERR_OK)
        b->rc = weights_read(copy, first, n, rows + n, b->err);
    for (size_t i = 0; i < n && b->rc == ERR_OK && *differs == SIZE_MAX; i++)
        if (rows[i] != rows[n + i])
            *differs = first + i;
}

/* Some tools write a tied matrix twice. Only the same values can be served from one. They
 * are compared as they stand in the file: m may hold them rounded. */
void builder_copy(struct builder *b, const struct matrix *m, const char *name,
                  const char *copy)
{
    enum { PIECE_FLOATS = 1 << 15 };
    if (b->rc != ERR_OK || !builder_has(b, copy))
        return;
    const struct weights_tensor *t = find(b, copy, m->N, m->K);
    if (!t)
        return;
    size_t n = m->N * m->K, differs = SIZE_MAX, some;
    float *rows = mem_alloc(2 * PIECE_FLOATS, sizeof *rows);
    if (!rows) {
        builder_fail(b, ERR_NOMEM, "out of memory: rows of %s", copy);
        return;
    }
    for (size_t i = 0; i < n && b->rc == ERR_OK && differs == SIZE_MAX; i += some) {
        some = n - i < PIECE_FLOATS ? n - i : PIECE_FLOATS;
        compare(b, t, i, some, rows, &differs);
    }
    mem_free(rows);
    if (b->rc == ERR_OK && differs != SIZE_MAX)
        builder_fail(b, ERR_MISMATCH,
                     "%s differs from %s in row %zu, but config.json ties them "
                     "(tie_word_embeddings)",
                     copy, name, differs / m->K);
}
