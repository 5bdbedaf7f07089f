/* Memory: the only caller of malloc and friends in the project.
 *
 * Sizes are given as count and element size; a product that wraps fails like an exhausted
 * heap does, by returning NULL. Memory of these functions is given back with mem_free
 * only (libc's own, so that a library may take over a buffer). Any thread.
 */
#ifndef SEQ_BASE_MEM_H
#define SEQ_BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>

void *mem_alloc(size_t count, size_t size);
void *mem_zero(size_t count, size_t size); /* zero filled */
/* Like realloc: on failure the old block is untouched and still owned by the caller. */
void *mem_resize(void *old, size_t count, size_t size);
/* Aligned to 64 bytes and zero filled; also freed with mem_free. */
void *mem_aligned(size_t count, size_t size);
void mem_free(void *block); /* NULL is fine */

/* Pages of their own from the system, zero filled, for what is as large as weights. They
 * are taken when they are touched, as huge ones where that wastes nothing. Given back
 * with mem_unmap only, which wants the same number of bytes. */
void *mem_map(size_t bytes);
void mem_unmap(void *block, size_t bytes); /* NULL is fine */

/* Gives what was freed and is kept for later back to the system: after a load, which
 * frees much more than what is allocated afterwards. */
void mem_trim(void);

/* A zero-terminated copy of n bytes. */
char *mem_copy(const char *bytes, size_t n);

/* a*b and a+b, false if the result does not fit in a size_t (*out untouched). */
bool mem_mul(size_t a, size_t b, size_t *out);
bool mem_add(size_t a, size_t b, size_t *out);

/* Fault hook of the tests: the n-th allocation from now (0 = the next) fails, once.
 * Negative switches it off. mem_fail_pending tells whether it has not struck yet.
 * Process wide; tests using it are single-threaded. */
void mem_fail_after(long n);
bool mem_fail_pending(void);

#endif
