/* Cache: the keys and values of one sequence of a decoder, in blocks of positions, laid
 * out for the attention kernels.
 *
 * Blocks are counted and shared between copies; a copy costs a list of pointers. Whoever
 * writes into a block that others hold too takes a copy of it first, so only the last,
 * half-filled block is ever copied. One owner at a time per cache; the copies may live in
 * different threads. */
#ifndef SEQ_NETS_CACHE_H
#define SEQ_NETS_CACHE_H

#include "model/base/err.h"
#include "model/nets/net.h"

#include <stddef.h>

enum { CACHE_BLOCK = KERNELS_KEYS }; /* positions */

struct cache;

struct cache_shape {
    size_t n_layers, K, E; /* K key heads, each E wide */
    size_t context;        /* most positions, > 0 */
};

enum err_code cache_new(const struct cache_shape *shape, struct cache **out,
                        struct err *err) MUST_CHECK;
void cache_free(struct cache *c); /* NULL is fine */
/* Both of the same shape. `to` shares what `from` holds now. */
void cache_copy(struct cache *to, const struct cache *from);
void cache_reset(struct cache *c);
/* Forgets what stands behind the first `length` positions; length <= cache_length. */
void cache_truncate(struct cache *c, size_t length);
size_t cache_bytes(const struct cache *c); /* blocks shared with others included */
/* By how much that grows with n positions more. */
size_t cache_growth(const struct cache *c, size_t n);
size_t cache_length(const struct cache *c);

/* For who keeps caches and counts every block once: the bytes that c adds to those
 * counted already, and those that go with it. In between c doesn't change. Caches that
 * may share blocks are counted under one lock. */
size_t cache_enter(struct cache *c);
size_t cache_leave(struct cache *c);

/* The cache that a decoder's state is; NULL in a batch without states. */
static inline struct cache *cache_of(const struct net_batch *batch, size_t b)
{
    return batch->states ? (struct cache *)batch->states[b] : NULL;
}

/* Makes sure of room for n more positions that nobody else sees. ERR_LIMIT past the
 * context, ERR_NOMEM; the cache then holds what it held. */
enum err_code cache_reserve(struct cache *c, size_t n, struct err *err) MUST_CHECK;
/* Keys and values of n positions: K*E floats of each row are used. */
struct cache_rows {
    size_t n;
    const float *k, *v; /* [n,ld] */
    size_t ld;
};

/* Keys and values of one layer of the positions behind the length, reserved before. */
void cache_put(struct cache *c, const struct kernels *k, size_t layer,
               const struct cache_rows *rows);
/* The n positions put in every layer are now part of the sequence. */
void cache_advance(struct cache *c, size_t n);

/* The blocks, valid until the cache is reserved, copied to, reset or freed. In each, the
 * strips of a layer begin at cache_layer: keys [K,E,CACHE_BLOCK], then values
 * [K,CACHE_BLOCK,E]. */
const float *const *cache_blocks(const struct cache *c);
size_t cache_layer(const struct cache *c, size_t layer);

/* Puts rows into places at.. of one block, the strips of one layer. Also for blocks of no
 * cache. */
void cache_fill(const struct kernels *k, float *strips, size_t K, size_t E, size_t at,
                const struct cache_rows *rows);

#endif
