/* Arena: the scratch memory of one worker, a stack of bytes.
 *
 * Sized before a forward pass (from the X_scratch_bytes functions beside the code that
 * uses it), then handed out without touching the heap. Marks nest like braces. One owner
 * at a time; no locking. */
#ifndef SEQ_BASE_ARENA_H
#define SEQ_BASE_ARENA_H

#include "model/base/err.h"

#include <stddef.h>

struct arena {
    unsigned char *base; /* 64-byte aligned, or NULL while cap is 0 */
    size_t cap, used;
    size_t peak; /* highest `used` since arena_init; tests compare it with the sums */
};

void arena_init(struct arena *a); /* empty; allocates nothing */
void arena_done(struct arena *a);

/* Makes room for at least `bytes` in all. Only on an arena with used == 0, since the
 * block may move. Keeps what it has if that is enough. ERR_NOMEM. */
enum err_code arena_reserve(struct arena *a, size_t bytes, struct err *err) MUST_CHECK;

/* What one request of n floats (or n bytes) costs in an arena: rounded up to 64. */
size_t arena_float_cost(size_t n);
size_t arena_byte_cost(size_t n);

/* n floats or bytes, 64-byte aligned, not cleared. NULL if the reserve was too small,
 * which callers report as ERR_BUG. */
float *arena_floats(struct arena *a, size_t n);
void *arena_bytes(struct arena *a, size_t n);

size_t arena_mark(const struct arena *a);
void arena_rewind(struct arena *a, size_t mark);

#endif
