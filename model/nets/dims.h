/* Dimension letters, the same everywhere in model/ (arrays are row-major, last index
 * fastest):
 *   B sequences in a batch      T positions (all sequences of a ragged batch end to end)
 *   P positions already cached  D model width            N heads
 *   K key/value heads           E head width             F MLP width
 *   V vocabulary                H recurrent width        I recurrent input width
 *   L labels                    A attention-pooling width  R attention hops
 * In kernels/ a matrix product is y [M,N] = x [M,K] W [N,K]^T. */
#ifndef SEQ_NETS_DIMS_H
#define SEQ_NETS_DIMS_H

/* Blocks of this many positions are the unit in which long inputs are worked through. */
enum { DIMS_CHUNK = 128 };

#endif
