#include "model/nets/builder.h"

#include "model/base/mem.h"
#include "model/base/problems.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Big matrices are read and packed in pieces of about this many floats, so that loading
 * needs little more memory than the net. */
enum { PIECE_FLOATS = 1 << 18 };

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

/* A wrong shape is refused before memory is taken for the right one: a config.json may
 * ask for anything. */
static void check_shape(struct builder *b, const char *name, size_t rows, size_t columns)
{
    size_t shape[2] = {rows, columns};
    if (b->rc == ERR_OK)
        b->rc =
            weights_get_rows(b->w, full_name(b, name, "").s, shape, 0, 0, NULL, b->err);
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
    if (surveying(b))
        return;
    size_t bytes = b->k->matrix_bytes(m->precision, N, K);
    m->data = bytes ? mem_aligned(bytes, 1) : NULL;
    b->bytes += bytes;
    if (!m->data)
        builder_fail(b, ERR_NOMEM, "out of memory: a matrix [%zu,%zu]", N, K);
}

static size_t piece_rows(size_t n, size_t K)
{
    size_t rows = PIECE_FLOATS / K + 1;
    return rows < n ? rows : n;
}

void builder_rows(struct builder *b, struct matrix *m, const char *name, size_t first,
                  size_t n)
{
    check_shape(b, name, n, m->K);
    if (b->rc != ERR_OK || surveying(b))
        return;
    size_t shape[2] = {n, m->K}, step = piece_rows(n, m->K);
    float *piece = mem_alloc(step * m->K, sizeof *piece);
    if (!piece)
        builder_fail(b, ERR_NOMEM, "out of memory: rows of %s", name);
    for (size_t r = 0; r < n && b->rc == ERR_OK; r += step) {
        size_t end = r + step < n ? r + step : n;
        b->rc = weights_get_rows(b->w, full_name(b, name, "").s, shape, r, end, piece,
                                 b->err);
        if (b->rc == ERR_OK)
            b->k->pack(m, first + r, first + end, piece, false);
    }
    mem_free(piece);
}

void builder_packed(struct builder *b, struct matrix *m, const char *name, size_t N,
                    size_t K)
{
    if (!surveying(b)) /* which builder_rows does there */
        check_shape(b, name, N, K);
    builder_matrix(b, m, N, K);
    builder_rows(b, m, name, 0, N);
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
    for (size_t i = 0; i < n; i++) {
        N += parts[i].rows;
        if (!surveying(b)) /* which builder_rows does there */
            check_shape(b, full_name(b, parts[i].name, ".weight").s + scope,
                        parts[i].rows, K);
    }
    builder_matrix(b, &l->w, N, K);
    if (bias)
        l->bias = builder_floats(b, N);
    for (size_t i = 0; i < n && b->rc == ERR_OK; i++) {
        builder_rows(b, &l->w, full_name(b, parts[i].name, ".weight").s + scope, first,
                     parts[i].rows);
        if (bias)
            builder_read(b, full_name(b, parts[i].name, ".bias").s + scope, parts[i].rows,
                         l->bias + first);
        first += parts[i].rows;
    }
}

void builder_conv1d(struct builder *b, struct linear *l, const char *name, size_t N,
                    size_t K)
{
    struct name weight = full_name(b, name, ".weight"),
                bias = full_name(b, name, ".bias");
    size_t scope = strlen(b->scope), shape[2] = {K, N};
    check_shape(b, weight.s + scope, K, N);
    builder_matrix(b, &l->w, N, K);
    if (b->rc == ERR_OK && !surveying(b)) {
        float *whole = mem_alloc(N * K, sizeof *whole); /* [K,N] */
        if (!whole)
            builder_fail(b, ERR_NOMEM, "out of memory: %s", weight.s);
        else
            b->rc = weights_get(b->w, weight.s, 2, shape, whole, b->err);
        if (b->rc == ERR_OK)
            b->k->pack(&l->w, 0, N, whole, true);
        mem_free(whole);
    }
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

void builder_embedding(struct builder *b, struct embedding *t, const char *name, size_t V,
                       size_t D)
{
    size_t shape[2] = {V, D};
    check_shape(b, name, V, D);
    t->D = D;
    if (surveying(b))
        return;
    t->table = builder_floats(b, b->rc == ERR_OK ? V * D : 0);
    if (b->rc == ERR_OK)
        b->rc = weights_get_rows(b->w, full_name(b, name, "").s, shape, 0, V, t->table,
                                 b->err);
}

void builder_tied(struct builder *b, struct embedding *t, struct matrix *m,
                  const char *name, size_t V, size_t D)
{
    struct name full = full_name(b, name, "");
    const char *prefix = weights_prefix_now(b->w);
    memcpy(b->tied.name, full.s, sizeof full.s);
    memcpy(b->tied.prefix, prefix, strlen(prefix) + 1);
    builder_packed(b, m, name, V, D);
    t->D = D;
    t->packed = m;
}

/* Rows first..last-1 of the tied tensor [N,K], by the name it was found under. */
static void read_tied(struct builder *b, const size_t shape[2], size_t first, size_t last,
                      float *rows)
{
    char prefix[WEIGHTS_PREFIX_BYTES];
    const char *now = weights_prefix_now(b->w);
    memcpy(prefix, now, strlen(now) + 1);
    weights_prefix(b->w, b->tied.prefix);
    b->rc = weights_get_rows(b->w, b->tied.name, shape, first, last, rows, b->err);
    weights_prefix(b->w, prefix);
}

/* Rows first..last-1 of the tied tensor and its copy, into rows [2,last-first,K]. */
static void compare_rows(struct builder *b, const struct matrix *m, const char *name,
                         const char *copy, size_t first, size_t last, float *rows)
{
    size_t shape[2] = {m->N, m->K}, n = (last - first) * m->K;
    read_tied(b, shape, first, last, rows);
    if (b->rc == ERR_OK)
        b->rc = weights_get_rows(b->w, full_name(b, copy, "").s, shape, first, last,
                                 rows + n, b->err);
    for (size_t i = 0; i < n && b->rc == ERR_OK; i++)
        if (rows[i] != rows[n + i])
            builder_fail(b, ERR_MISMATCH,
                         "%s differs from %s in row %zu, but config.json ties them "
                         "(tie_word_embeddings)",
                         copy, name, first + i / m->K);
}

/* Some tools write a tied matrix twice. Only the same values can be served from one. They
 * are compared as they stand in the file: m may hold them rounded. */
void builder_copy(struct builder *b, const struct matrix *m, const char *name,
                  const char *copy)
{
    if (b->rc != ERR_OK || !builder_has(b, copy))
        return;
    if (surveying(b)) {
        check_shape(b, copy, m->N, m->K);
        return;
    }
    size_t step = piece_rows(m->N, m->K);
    float *rows = mem_alloc(2 * step * m->K, sizeof *rows); /* [2,step,K] */
    if (!rows) {
        builder_fail(b, ERR_NOMEM, "out of memory: rows of %s", copy);
        return;
    }
    for (size_t r = 0; r < m->N && b->rc == ERR_OK; r += step)
        compare_rows(b, m, name, copy, r, r + step < m->N ? r + step : m->N, rows);
    mem_free(rows);
}
