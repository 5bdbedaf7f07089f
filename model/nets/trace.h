/* Trace: receives what a forward pass computes on its way, layer by layer.
 *
 * A net calls a hook, if it is set, with pointers that are valid during the call only, on
 * the thread that runs the pass. Setting hooks changes no bit of any result. */
#ifndef SEQ_NETS_TRACE_H
#define SEQ_NETS_TRACE_H

#include <stddef.h>

/* One recurrent layer and direction at one step of one sequence. gates: the activated
 * gates [4H] i,f,g,o (LSTM), [3H] r,z,n (GRU), NULL (RNN). c [H] NULL unless LSTM. */
struct trace_step {
    size_t seq, layer, direction, step, H;
    const float *gates, *c, *h;
};

struct trace {
    void *arg;
    /* Attention probabilities of one query row: p [n_keys]; keys past the query are absent
     * in causal nets (n_keys = query+1). Attention pooling: layer 0, head = hop, query 0,
     * n_keys = T of the sequence. `query` counts from the start of the sequence. */
    void (*attention)(void *arg, size_t seq, size_t layer, size_t head, size_t query,
                      size_t n_keys, const float *p);
    /* Hidden states h [T of the sequence, D] of one sequence after `layer` layers;
     * layer 0 = embeddings. */
    void (*hidden)(void *arg, size_t seq, size_t layer, size_t T, size_t D, const float *h);
    void (*step)(void *arg, const struct trace_step *s);
};

#endif
