/* Lineup: the order in which a recurrent net works through a ragged batch.
 *
 * Sequences stand longest first, so that at every step those still running are the first
 * `alive` of them, and the rows of a chunk of steps lie time-major without a gap:
 * step t0 of all that run, then step t0+1, ... One matrix product serves all of a chunk,
 * and the state rows [alive,H] of one step are simply the first ones. A backward
 * direction reads each sequence from its own end. */
#ifndef SEQ_NETS_LINEUP_H
#define SEQ_NETS_LINEUP_H

#include "model/nets/net.h"

struct lineup_seq {
    size_t b;          /* index in the batch */
    size_t first, len; /* its tokens */
};

struct lineup {
    const struct net_batch *batch;
    size_t B;
    struct lineup_seq *seq; /* [B] longest first, equals in order of the batch */
};

/* Steps t0..t1-1 of the sequences that run at t0, read backward or not. */
struct lineup_chunk {
    const struct lineup *line;
    size_t t0, t1;
    bool backward;
};

/* Floats of scratch that the order of B sequences takes. */
size_t lineup_floats(size_t B);
void lineup_fill(struct lineup *l, float *scratch, const struct net_batch *batch);

size_t lineup_longest(const struct lineup *l);

/* How many of the first `from` sequences still run at step t. */
size_t lineup_alive(const struct lineup *l, size_t from, size_t t);

/* Steps per chunk such that B sequences make no more than lineup_rows rows. */
size_t lineup_steps(size_t B);
/* Most rows of a chunk. */
size_t lineup_rows(size_t B, size_t T, size_t longest);

/* Index in the batch's token rows of step t of the i-th sequence. */
size_t lineup_token(const struct lineup_chunk *c, size_t i, size_t t);

/* Rows of the chunk out of from [T,D] into to [rows,D]; returns rows. */
size_t lineup_gather(const struct lineup_chunk *c, size_t D, const float *from,
                     float *to);
/* The reverse: from [rows,D] into to [T,ld], D floats of each row. */
void lineup_scatter(const struct lineup_chunk *c, size_t D, const float *from, float *to,
                    size_t ld);

#endif
