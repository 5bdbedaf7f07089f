/* Inside model/kernels/ only: how a variant puts its entries into a table.
 *
 * kernels.c fills each table in layers: the reference first, faster variants on top, so
 * no entry is ever empty. A fill function sets the entries its variant has, and the name.
 */
#ifndef SEQ_KERNELS_KERN_H
#define SEQ_KERNELS_KERN_H

#include "model/kernels/kernels.h"

void kern_ref_fill(struct kernels *k);
void kern_portable_fill(struct kernels *k); /* on top of ref; all but the product */
void kern_blas_fill(struct kernels *k);     /* on top of portable; the product */
void kern_avx2_fill(struct kernels *k);     /* everything */
void kern_avx512_fill(struct kernels *k);   /* the product, on avx2's packed layout */

#endif
