#include "model/nets/cache.h"

#include "model/base/mem.h"

#include <assert.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

struct block {
    atomic_size_t refs;
    size_t entered;            /* how often, by cache_enter; under the caller's lock */
    _Alignas(64) float data[]; /* [n_layers, 2 (keys, values), K, CACHE_BLOCK*E] */
};

struct cache {
    struct cache_shape shape;
    size_t block_bytes;
    size_t length;   /* positions */
    size_t n_blocks; /* held; those past `length` are ours alone */
    float *blocks[]; /* the data of each; room for the whole context */
};

static size_t blocks_for(size_t positions)
{
    return (positions + CACHE_BLOCK - 1) / CACHE_BLOCK;
}

enum err_code cache_new(const struct cache_shape *shape, struct cache **out,
                        struct err *err)
{
    size_t floats;
    if (!mem_mul(shape->n_layers * 2 * CACHE_BLOCK, shape->K * shape->E, &floats) ||
        floats > (PTRDIFF_MAX - sizeof(struct block)) / sizeof(float))
        return err_set(err, ERR_NOMEM, "out of memory: a cache block of %zu layers",
                       shape->n_layers);
    struct cache *c =
        mem_zero(1, sizeof *c + blocks_for(shape->context) * sizeof *c->blocks);
    if (!c)
        return err_set(err, ERR_NOMEM, "out of memory: a cache for %zu positions",
                       shape->context);
    c->shape = *shape;
    c->block_bytes = sizeof(struct block) + floats * sizeof(float);
    *out = c;
    return ERR_OK;
}

/* ---- blocks ---------------------------------------------------------------------- */

static struct block *block_of(float *data)
{
    return (struct block *)(void *)((char *)data - offsetof(struct block, data));
}

static float *block_new(const struct cache *c)
{
    struct block *b = mem_aligned(1, c->block_bytes);
    if (!b)
        return NULL;
    atomic_init(&b->refs, 1);
    return b->data;
}

/* Whoever counts down to 0 has seen all that other holders did before they let go. */
static void block_unref(float *data)
{
    struct block *b = block_of(data);
    if (atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) == 1)
        mem_free(b);
}

/* Only holders count up, so a block that we hold alone stays ours. */
static bool block_shared(float *data)
{
    return atomic_load_explicit(&block_of(data)->refs, memory_order_acquire) > 1;
}

/* A block of our own with all that old holds. */
static float *block_own(const struct cache *c, const float *old)
{
    float *data = block_new(c);
    if (data)
        memcpy(data, old, c->block_bytes - sizeof(struct block));
    return data;
}

/* ---- the sequence ---------------------------------------------------------------- */

static void drop_blocks(struct cache *c)
{
    while (c->n_blocks > 0)
        block_unref(c->blocks[--c->n_blocks]);
}

void cache_free(struct cache *c)
{
    if (!c)
        return;
    drop_blocks(c);
    mem_free(c);
}

void cache_copy(struct cache *to, const struct cache *from)
{
    assert(to->block_bytes == from->block_bytes &&
           to->shape.context == from->shape.context);
    if (to == from)
        return;
    drop_blocks(to);
    to->length = from->length;
    to->n_blocks = blocks_for(from->length);
    for (size_t i = 0; i < to->n_blocks; i++) {
        to->blocks[i] = from->blocks[i];
        atomic_fetch_add_explicit(&block_of(to->blocks[i])->refs, 1,
                                  memory_order_relaxed);
    }
}

void cache_reset(struct cache *c)
{
    drop_blocks(c);
    c->length = 0;
}

void cache_truncate(struct cache *c, size_t length)
{
    assert(length <= c->length);
    while (c->n_blocks > blocks_for(length))
        block_unref(c->blocks[--c->n_blocks]);
    c->length = length;
}

/* Of the cache itself, without its blocks. */
static size_t list_bytes(const struct cache *c)
{
    return sizeof *c + blocks_for(c->shape.context) * sizeof *c->blocks;
}

size_t cache_bytes(const struct cache *c)
{
    return list_bytes(c) + c->n_blocks * c->block_bytes;
}

size_t cache_growth(const struct cache *c, size_t n)
{
    size_t need = blocks_for(c->length + n);
    return need > c->n_blocks ? (need - c->n_blocks) * c->block_bytes : 0;
}

size_t cache_enter(struct cache *c)
{
    size_t bytes = list_bytes(c);
    for (size_t i = 0; i < c->n_blocks; i++)
        bytes += block_of(c->blocks[i])->entered++ == 0 ? c->block_bytes : 0;
    return bytes;
}

size_t cache_leave(struct cache *c)
{
    size_t bytes = list_bytes(c);
    for (size_t i = 0; i < c->n_blocks; i++)
        bytes += --block_of(c->blocks[i])->entered == 0 ? c->block_bytes : 0;
    return bytes;
}

size_t cache_length(const struct cache *c)
{
    return c->length;
}

enum err_code cache_reserve(struct cache *c, size_t n, struct err *err)
{
    if (n > c->shape.context - c->length)
        return err_set(err, ERR_LIMIT,
                       "%zu tokens after %zu exceed the context of %zu positions", n,
                       c->length, c->shape.context);
    size_t used = c->length % CACHE_BLOCK, last = c->length / CACHE_BLOCK;
    if (n > 0 && used > 0 && block_shared(c->blocks[last])) {
        float *own = block_own(c, c->blocks[last]);
        if (!own)
            return err_set(err, ERR_NOMEM, "out of memory: a cache block");
        block_unref(c->blocks[last]);
        c->blocks[last] = own;
    }
    for (size_t need = blocks_for(c->length + n); c->n_blocks < need; c->n_blocks++) {
        c->blocks[c->n_blocks] = block_new(c);
        if (!c->blocks[c->n_blocks])
            return err_set(err, ERR_NOMEM, "out of memory: a cache block");
    }
    return ERR_OK;
}

void cache_advance(struct cache *c, size_t n)
{
    c->length += n;
    assert(blocks_for(c->length) <= c->n_blocks);
}

/* ---- keys and values ------------------------------------------------------------- */

const float *const *cache_blocks(const struct cache *c)
{
    return (const float *const *)c->blocks;
}

size_t cache_layer(const struct cache *c, size_t layer)
{
    return layer * 2 * c->shape.K * CACHE_BLOCK * c->shape.E;
}

void cache_fill(const struct kernels *k, float *strips, size_t K, size_t E, size_t at,
                const struct cache_rows *rows)
{
    const size_t strip = CACHE_BLOCK * E;
    float *keys = strips + at, *values = strips + K * strip + at * E;
    for (size_t h = 0; h < K; h++)
        k->turn(rows->n, E, rows->k + h * E, rows->ld, keys + h * strip);
    for (size_t i = 0; i < rows->n; i++)
        for (size_t h = 0; h < K; h++)
            memcpy(values + h * strip + i * E, rows->v + i * rows->ld + h * E,
                   E * sizeof *values);
}

void cache_put(struct cache *c, const struct kernels *k, size_t layer,
               const struct cache_rows *rows)
{
    struct cache_rows run = *rows;
    for (size_t left = rows->n, to = c->length; left > 0; left -= run.n, to += run.n) {
        size_t at = to % CACHE_BLOCK, room = CACHE_BLOCK - at;
        float *strips = c->blocks[to / CACHE_BLOCK] + cache_layer(c, layer);
        run.n = left < room ? left : room;
        cache_fill(k, strips, c->shape.K, c->shape.E, at, &run);
        run.k += run.n * run.ld;
        run.v += run.n * run.ld;
    }
}
