/* Entries for this CPU kind, on top of the reference. */
#include "model/kernels/kern.h"

void kern_avx512_fill(struct kernels *k)
{
    k->name = "avx512";
}
