/* Buf: a growable run of bytes with a latch for failure.
 *
 * Appending never reports an error: the first append that finds no memory, or would pass
 * `limit`, sets `failed`, and everything after it is ignored. Whoever hands the bytes on
 * looks at `failed` once. A zeroed struct is empty and without a limit. One owner. */
#ifndef SERVER_BUF_H
#define SERVER_BUF_H

#include "model/seq.h"

#include <stdbool.h>
#include <stddef.h>

struct buf {
    char *at; /* of mem_alloc, NULL while cap is 0; not zero-terminated */
    size_t n, cap;
    size_t limit; /* most bytes; 0 = none */
    bool failed;
};

void buf_done(struct buf *b);  /* leaves it zeroed */
void buf_clear(struct buf *b); /* empty again, keeps the memory; lifts `failed` */

/* Room for n more bytes, or NULL (and failed). The caller adds to b->n what it wrote. */
char *buf_reserve(struct buf *b, size_t n);
void buf_put(struct buf *b, const char *bytes, size_t n);
void buf_puts(struct buf *b, const char *string);
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
