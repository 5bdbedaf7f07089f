/* Recurrence: one direction of one layer of a recurrent net, a chunk of steps at a time.
 * The input product of all rows of the chunk comes first, then step by step one product
 * with W_hh for all sequences that still run, and the cell. See lineup.h for the order.
 */
#ifndef SEQ_NETS_RECURRENCE_H
#define SEQ_NETS_RECURRENCE_H

#include "model/nets/lineup.h"
#include "model/nets/rnn_parts.h"

struct recurrence {
    const struct rnn *n;
    size_t layer, direction;
    float *x;     /* [rows,in] inputs, then [rows,H] outputs */
    float *gates; /* [rows,G*H] */
    float *r;     /* [B,G*H] GRU */
    float *h, *c; /* [B,H] in line order; c LSTM only */
};

/* r->x holds the chunk's inputs [rows,in]; afterwards its outputs [rows,H], and h and c
 * are as behind the chunk's last step. */
void recurrence_run(const struct recurrence *r, const struct lineup_chunk *c, size_t rows,
                    struct exec *x);

/* Position in its sequence of step t of the i-th sequence, what its state was fed
 * included. */
size_t recurrence_position(const struct lineup_chunk *c, size_t i, size_t t);

#endif
