/* Trace: receives what a forward pass computes on its way, layer by layer.
 *
 * A net calls a hook, if it is set, with pointers that are valid during the call only, on
 * the thread that runs the pass. Setting hooks changes no bit of any result. Positions
 * count from the start of the sequence, those fed through a state before included. */
#ifndef SEQ_NETS_TRACE_H
#define SEQ_NETS_TRACE_H

#include <stddef.h>

/* One recurrent layer and direction at one step of one sequence. gates: the activated
 * gates [4H] i,f,g,o (LSTM), [3H] r,z,n (GRU), NULL (RNN). c [H] NULL unless LSTM. `step`
 * is the position of the token read, also where the direction (1) runs backward. */
struct trace_step {
    size_t seq, layer, direction, step, H;
    const float *gates, *c, *h;
};

struct trace {
    void *arg;
    /* Attention probabilities of one query row: p [n_keys]; keys past the query are
     * absent in causal nets (n_keys = query+1). Attention pooling: layer 0, head = hop,
     * query 0, n_keys = T of the sequence. Layers in order; in a layer any order of the
     * rest. */
    void (*attention)(void *arg, size_t seq, size_t layer, size_t head, size_t query,
                      size_t n_keys, const float *p);
    /* Hidden states h [n,D] of positions first..first+n-1 of one sequence after `layer`
     * layers; layer 0 = embeddings. A sequence may come in several pieces, each layer's
     * in order of position, so that no net has to keep them all. As in transformers, the
     * last layer's are taken behind the final norm if the net has one. */
    void (*hidden)(void *arg, size_t seq, size_t layer, size_t first, size_t n, size_t D,
                   const float *h);
    void (*step)(void *arg, const struct trace_step *s);
};

#endif
