/* Entries for this CPU kind, on top of the reference. */
#include "model/kernels/kern.h"

void kern_avx2_fill(struct kernels *k)
{
    k->name = "avx2";
}
