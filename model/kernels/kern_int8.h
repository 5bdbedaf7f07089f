/* Inside model/kernels/ only: int8 weights, the same for every variant (kern_int8.c).
 *
 * Packed layout: panels of 16 columns of y. A panel begins with a line of 64 bytes for
 * the columns' scales and one for the sums of their weights; then, for every four k, a
 * line that holds each column's four weights side by side. K and N are padded with zeros.
 *
 * A column's step is such that two neighbours, w[2j] and w[2j+1], have no more than 128
 * steps together. AVX2 has no other fast product of bytes than one that adds such pairs
 * in 16 bits: 255 * 128 = 32640 is the most they can hold. */
#ifndef SEQ_KERNELS_KERN_INT8_H
#define SEQ_KERNELS_KERN_INT8_H

#include "model/kernels/kernels.h"

#include <stdint.h>

enum { INT8_PANEL = 16, INT8_LINE = 64, INT8_HEAD = 2 * INT8_LINE, INT8_GROUP = 4 };

/* What stands before the lines of a panel. */
struct int8_head {
    float scale[INT8_PANEL];
    int32_t sum[INT8_PANEL];
};

/* matrix_bytes, pack and row of int8 matrices, for any variant. */
size_t kern_int8_bytes(size_t N, size_t K);
void kern_int8_pack(struct matrix *m, size_t first, size_t last, const float *w,
                    bool transposed);
void kern_int8_row(const struct matrix *m, size_t n, float *out);

/* Bytes of a panel; matrix_bytes has seen that it doesn't wrap. */
size_t kern_int8_panel(size_t K);

/* What a row of smallest value lo <= 0 and largest hi >= 0 is held in, and *inverse, by
 * which x becomes steps; 0 for a row that is all zero. `bad` is NaN if any value was none
 * or infinite, else 0. */
struct quantised_row kern_int8_steps(float lo, float hi, float bad, float *inverse);

#endif
