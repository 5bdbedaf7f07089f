/* Map_sparse: of every row of some maps the largest weights, and what the others sum to:
 * at most so many of a row, of them those of a least weight. One owner. */
#ifndef SERVER_API_MAP_SPARSE_H
#define SERVER_API_MAP_SPARSE_H

#include "server/api/map_format.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct map_sparse {
    size_t n_rows, k; /* rows of all maps; most entries of one */
    float least;      /* weights below it are left out; 0: no weight is */
    int32_t *index;   /* [n_rows,k] places in a row, largest first; behind finish [n] */
    float *value;     /* likewise */
    float *rest;      /* [n_rows] what the others sum to */
    int64_t *start;   /* [n_rows+1] where each row begins in these and, last, n. NULL
                         without `least`: all rows have k */
    size_t n;         /* entries of all rows, known behind finish */
};

/* Until rows are put they are empty. False: out of memory. */
bool map_sparse_init(struct map_sparse *s, size_t n_rows, size_t k, float least);
void map_sparse_done(struct map_sparse *s); /* a zeroed one is fine */

/* Takes down rows x [n,keys] as rows first..first+n-1, k <= keys. Each row once, in any
 * order, not behind finish. */
void map_sparse_put(struct map_sparse *s, size_t first, size_t n, size_t keys,
                    const float *x);

/* All rows are there: closes the gaps between them. */
void map_sparse_finish(struct map_sparse *s);

/* Behind finish. The entries as members of the open object; as tensors behind a binary
 * head, listed in the open array and joined, which is the caller's (NULL: out of memory).
 * axes [rank] are those of the maps, the last that of the keys or the k. */
void map_sparse_write(const struct map_sparse *s, struct json_writer *w,
                      enum map_dtype dtype, unsigned decimals);
void map_sparse_list(const struct map_sparse *s, struct json_writer *w,
                     enum map_dtype dtype, const struct map_axis *axes, size_t rank);
unsigned char *map_sparse_join(const struct map_sparse *s, enum map_dtype dtype,
                               size_t *bytes);

#endif
