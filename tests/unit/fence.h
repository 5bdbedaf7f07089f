/* What the tests of the kernels share: arrays between pages that can't be touched, so
 * that a read or write past a length is a crash, also where a sanitizer doesn't see it;
 * random numbers; comparisons. */
#ifndef SEQ_TESTS_UNIT_FENCE_H
#define SEQ_TESTS_UNIT_FENCE_H

#include "model/kernels/kernels.h"

#include <check.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Like ck_assert_msg, but silent while all is well: libcheck writes to a pipe at every
 * check, and here are millions. */
static inline void require(bool ok, const char *what, size_t i, double got, double exact)
{
    if (!ok)
        ck_abort_msg("%s [%zu]: got %a, exact %a", what, i, got, exact);
}

/* ---- fenced arrays, random numbers, comparisons
 * ---------------------------------------- */

struct fence {
    void *map;
    size_t bytes;
    float *at; /* n floats, the byte after the last one faults */
};

static inline struct fence fence_new(size_t n, size_t align)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), bytes = n * sizeof(float);
    size_t body = (bytes + page) / page * page;
    struct fence f = {.bytes = body + 2 * page};
    f.map = mmap(NULL, f.bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(f.map, MAP_FAILED);
    char *inside = (char *)f.map + page;
    ck_assert_int_eq(mprotect(inside, body, PROT_READ | PROT_WRITE), 0);
    f.at = (float *)(inside + (body - bytes) / align * align);
    return f;
}

static inline void fence_free(struct fence *f)
{
    munmap(f->map, f->bytes);
}

/* xorshift64; the same numbers in every run. */
static inline uint64_t next_random(void)
{
    static uint64_t seed = 88172645463325252u;
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static inline size_t random_below(size_t n)
{
    return (size_t)(next_random() >> 33) % n;
}

static inline float uniform(float low, float high)
{
    return low + (high - low) * (float)(next_random() >> 40) * 0x1p-24f;
}

static inline struct fence random_array(size_t n, float low, float high)
{
    struct fence f = fence_new(n, sizeof(float));
    for (size_t i = 0; i < n; i++)
        f.at[i] = uniform(low, high);
    return f;
}

static inline struct fence copy_of(const float *x, size_t n)
{
    struct fence f = fence_new(n, sizeof(float));
    memcpy(f.at, x, n * sizeof(float));
    return f;
}

static inline bool same_bits(const float *a, const float *b, size_t n)
{
    return memcmp(a, b, n * sizeof(float)) == 0;
}

static inline const struct kernels *variant(int i)
{
    return kernels_get(kernels_names()[i]);
}

#endif
