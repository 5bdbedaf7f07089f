/* Inside model/kernels/ only: how a variant puts its entries into a table.
 *
 * kernels.c fills each table in layers: the reference first, faster variants on top, so
 * no entry is ever empty. A fill function sets the entries its variant has, and the name.
 */
#ifndef SEQ_KERNELS_KERN_H
#define SEQ_KERNELS_KERN_H

#include "model/kernels/kernels.h"

void kern_ref_fill(struct kernels *k);
void kern_blas_fill(struct kernels *k); /* on top of ref */
void kern_avx2_fill(struct kernels *k); /* on top of ref */
void kern_avx512_fill(
    struct kernels *k); /* on top of avx2, whose packed layout it shares */

#endif
