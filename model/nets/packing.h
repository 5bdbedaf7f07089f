/* Packing: the matrices and tables of one net, all in one block of memory, read from the
 * files and packed for the kernels by several threads. Load time only.
 *
 * First everything is listed, one thread: what needs memory, and which tensors become
 * which rows of it. Then packing_run takes memory for all at once and fills it, piece by
 * piece, so that loading needs little more memory than the net. Until then `data` of the
 * matrices and the tables are NULL; the structs must stay where they are.
 *
 * Numbers that a file holds in 16 bits stay so where that changes no result: in tables,
 * and in f32 matrices whose tensors are all F16 or all BF16. Such a matrix is of
 * precision PRECISION_FILE_F16 or _BF16 afterwards. */
#ifndef SEQ_NETS_PACKING_H
#define SEQ_NETS_PACKING_H

#include "model/base/err.h"
#include "model/kernels/kernels.h"
#include "model/load/weights.h"

#include <stddef.h>

/* What packing_run makes; zeroed: nothing. */
struct packed {
    void *block;
    size_t bytes, used; /* of the block; of it for matrices and tables */
};
void packed_done(struct packed *p); /* a zeroed struct is fine */

struct packing; /* the list */

enum err_code packing_new(struct packing **out, struct err *err) MUST_CHECK;
void packing_free(struct packing *p); /* NULL is fine */

/* Memory for m, whose sizes and precision are set, zero filled. */
enum err_code packing_matrix(struct packing *p, struct matrix *m,
                             struct err *err) MUST_CHECK;

/* Tensor t [rows,K], or [K,rows] if transposed, becomes the rows first..first+rows-1 of
 * m [.,K]; with transposed first is 0 and rows is all of them. */
enum err_code packing_rows(struct packing *p, struct matrix *m,
                           const struct weights_tensor *t, size_t first, size_t rows,
                           bool transposed, struct err *err) MUST_CHECK;
/* Memory for a table, which becomes the n elements of tensor t as they stand in the file.
 */
enum err_code packing_table(struct packing *p, void **table,
                            const struct weights_tensor *t, size_t n,
                            struct err *err) MUST_CHECK;

/* Fills everything that was listed, with up to `threads` threads. Of several failures the
 * one is told that reading in the order of the list would meet first. */
enum err_code packing_run(struct packing *p, const struct kernels *k, size_t threads,
                          struct packed *out, struct err *err) MUST_CHECK;

#endif
