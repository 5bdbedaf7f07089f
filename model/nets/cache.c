#include "model/nets/cache.h"

#include "model/base/mem.h"

#include <assert.h>
#include <stdatomic.h>
#include <string.h>

struct block {
    atomic_size_t refs;
    float data[]; /* [n_layers, 2 (keys, values), K, CACHE_BLOCK, E] */
};

struct cache {
    struct cache_shape shape;
    size_t block_bytes;
    size_t length;          /* positions */
    size_t n_blocks;        /* held; those past `length` are ours alone */
    struct block *blocks[]; /* room for the whole context */
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
        mem_zero(1, sizeof *c + blocks_for(shape->context) * sizeof(struct block *));
    if (!c)
        return err_set(err, ERR_NOMEM, "out of memory: a cache for %zu positions",
                       shape->context);
    c->shape = *shape;
    c->block_bytes = sizeof(struct block) + floats * sizeof(float);
    *out = c;
    return ERR_OK;
}

/* ---- blocks ---------------------------------------------------------------------- */

static struct block *block_new(const struct cache *c)
{
    struct block *b = mem_alloc(1, c->block_bytes);
    if (b)
        atomic_init(&b->refs, 1);
    return b;
}

/* Whoever counts down to 0 has seen all that other holders did before they let go. */
static void block_unref(struct block *b)
{
    if (atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) == 1)
        mem_free(b);
}

/* Only holders count up, so a block that we hold alone stays ours. */
static bool block_shared(struct block *b)
{
    return atomic_load_explicit(&b->refs, memory_order_acquire) > 1;
}

/* A block of our own with the first `used` positions of old. */
static struct block *block_own(const struct cache *c, const struct block *old,
                               size_t used)
{
    struct block *b = block_new(c);
    if (!b)
        return NULL;
    size_t E = c->shape.E, strips = c->shape.n_layers * 2 * c->shape.K;
    for (size_t s = 0; s < strips; s++)
        memcpy(b->data + s * CACHE_BLOCK * E, old->data + s * CACHE_BLOCK * E,
               used * E * sizeof(float));
    return b;
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
        atomic_fetch_add_explicit(&to->blocks[i]->refs, 1, memory_order_relaxed);
    }
}

void cache_reset(struct cache *c)
{
    drop_blocks(c);
    c->length = 0;
}

size_t cache_bytes(const struct cache *c)
{
    return sizeof *c + blocks_for(c->shape.context) * sizeof(struct block *) +
           c->n_blocks * c->block_bytes;
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
        struct block *own = block_own(c, c->blocks[last], used);
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

/* Strip `which` (0 keys, 1 values) of a head in a block: [CACHE_BLOCK,E]. */
static float *strip(const struct cache *c, size_t layer, size_t which, size_t head,
                    size_t block)
{
    size_t at = (layer * 2 + which) * c->shape.K + head;
    return c->blocks[block]->data + at * CACHE_BLOCK * c->shape.E;
}

void cache_put(struct cache *c, size_t layer, size_t n, const float *k, const float *v,
               size_t ld)
{
    size_t K = c->shape.K, E = c->shape.E;
    for (size_t i = 0; i < n; i++) {
        size_t block = (c->length + i) / CACHE_BLOCK, at = (c->length + i) % CACHE_BLOCK;
        for (size_t h = 0; h < K; h++) {
            memcpy(strip(c, layer, 0, h, block) + at * E, k + i * ld + h * E,
                   E * sizeof(float));
            memcpy(strip(c, layer, 1, h, block) + at * E, v + i * ld + h * E,
                   E * sizeof(float));
        }
    }
}

const float *cache_keys(const struct cache *c, size_t layer, size_t head, size_t block)
{
    return strip(c, layer, 0, head, block);
}

const float *cache_values(const struct cache *c, size_t layer, size_t head, size_t block)
{
    return strip(c, layer, 1, head, block);
}
