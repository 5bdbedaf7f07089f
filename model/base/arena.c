#include "model/base/arena.h"

#include "model/base/mem.h"

#include <assert.h>
#include <stdint.h>

enum { ALIGN = 64 };

void arena_init(struct arena *a)
{
    *a = (struct arena){0};
}

void arena_done(struct arena *a)
{
    mem_free(a->base);
    *a = (struct arena){0};
}

enum err_code arena_reserve(struct arena *a, size_t bytes, struct err *err)
{
    assert(a->used == 0);
    if (bytes <= a->cap)
        return ERR_OK;
    mem_free(a->base);
    a->cap = 0;
    a->base = mem_aligned(bytes, 1);
    if (!a->base)
        return err_set(err, ERR_NOMEM, "out of memory: %zu bytes of scratch space",
                       bytes);
    a->cap = bytes / ALIGN * ALIGN;
    if (a->cap < bytes)
        a->cap += ALIGN;
    return ERR_OK;
}

size_t arena_byte_cost(size_t n)
{
    if (n > SIZE_MAX - ALIGN)
        return SIZE_MAX;
    return (n + ALIGN - 1) / ALIGN * ALIGN;
}

size_t arena_float_cost(size_t n)
{
    return n > SIZE_MAX / sizeof(float) ? SIZE_MAX : arena_byte_cost(n * sizeof(float));
}

void *arena_bytes(struct arena *a, size_t n)
{
    size_t cost = arena_byte_cost(n);
    if (cost > a->cap - a->used)
        return NULL;
    void *block = a->base + a->used;
    a->used += cost;
    if (a->used > a->peak)
        a->peak = a->used;
    return block;
}

float *arena_floats(struct arena *a, size_t n)
{
    return n > SIZE_MAX / sizeof(float) ? NULL : arena_bytes(a, n * sizeof(float));
}

size_t arena_mark(const struct arena *a)
{
    return a->used;
}

void arena_rewind(struct arena *a, size_t mark)
{
    assert(mark <= a->used);
    a->used = mark;
}
