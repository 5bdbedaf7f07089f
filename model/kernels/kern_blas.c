/* Entries for this CPU kind, on top of the reference. */
#include "model/kernels/kern.h"

void kern_blas_fill(struct kernels *k)
{
    k->name = "blas";
}

bool kernels_blas_single_thread(void)
{
    return true;
}
