#include "model/base/mem.h"

#include <malloc.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Allocations left until the hook strikes; negative: off. */
static atomic_long fail_in = -1;

void mem_fail_after(long n)
{
    atomic_store(&fail_in, n);
}

bool mem_fail_pending(void)
{
    return atomic_load(&fail_in) >= 0;
}

/* The common case is one relaxed load. */
static bool must_fail(void)
{
    if (atomic_load_explicit(&fail_in, memory_order_relaxed) < 0)
        return false;
    return atomic_fetch_sub(&fail_in, 1) == 0;
}

bool mem_mul(size_t a, size_t b, size_t *out)
{
    size_t product; /* the builtin writes what is left of a product that wraps */
    if (__builtin_mul_overflow(a, b, &product))
        return false;
    *out = product;
    return true;
}

bool mem_add(size_t a, size_t b, size_t *out)
{
    size_t sum;
    if (__builtin_add_overflow(a, b, &sum))
        return false;
    *out = sum;
    return true;
}

void *mem_alloc(size_t count, size_t size)
{
    size_t bytes;
    if (!mem_mul(count, size, &bytes) || must_fail())
        return NULL;
    return malloc(bytes ? bytes : 1);
}

void *mem_zero(size_t count, size_t size)
{
    size_t bytes;
    if (!mem_mul(count, size, &bytes) || must_fail())
        return NULL;
    return calloc(count ? count : 1, size ? size : 1);
}

void *mem_resize(void *old, size_t count, size_t size)
{
    size_t bytes;
    if (!mem_mul(count, size, &bytes) || must_fail())
        return NULL;
    return realloc(old, bytes ? bytes : 1);
}

/* Blocks from here on ask for huge pages: 100 MB then take 50 page faults instead of
 * 25,000, which would be most of what loading a model costs. */
static const size_t huge_from = 4u << 20, huge_page = 2u << 20;

void *mem_aligned(size_t count, size_t size)
{
    size_t bytes, padded;
    if (!mem_mul(count, size, &bytes) || !mem_add(bytes, 63, &padded) || must_fail())
        return NULL;
    padded = padded / 64 * 64;
    if (padded == 0)
        padded = 64;
    bool huge = padded >= huge_from && padded < SIZE_MAX - huge_page;
    void *block = NULL;
    if (posix_memalign(&block, huge ? huge_page : 64, padded) != 0)
        return NULL;
    if (huge)
        (void)madvise(block, padded / huge_page * huge_page, MADV_HUGEPAGE);
    memset(block, 0, padded);
    return block;
}

void mem_free(void *block)
{
    free(block);
}

static const size_t small_page = 4096;

void *mem_map(size_t bytes)
{
    size_t used, whole;
    if (!mem_add(bytes, bytes ? small_page - 1 : small_page, &used) ||
        !mem_add(used, huge_page, &whole) || must_fail())
        return NULL;
    used -= used % small_page;
    char *base =
        mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED)
        return NULL;
    /* The block begins where a huge page may; what is before and behind goes back. */
    size_t before = (huge_page - (uintptr_t)base % huge_page) % huge_page;
    char *block = base + before;
    if (before > 0)
        munmap(base, before);
    munmap(block + used, whole - before - used);
    (void)madvise(block, used - used % huge_page, MADV_HUGEPAGE);
    return block;
}

void mem_unmap(void *block, size_t bytes)
{
    if (block)
        munmap(block, bytes ? bytes : 1);
}

void mem_trim(void)
{
    malloc_trim(0);
}

char *mem_copy(const char *bytes, size_t n)
{
    size_t room;
    if (!mem_add(n, 1, &room))
        return NULL;
    char *copy = mem_alloc(room, 1);
    if (!copy)
        return NULL;
    if (n)
        memcpy(copy, bytes, n);
    copy[n] = '\0';
    return copy;
}
