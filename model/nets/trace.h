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

/* What a row of a map holds for each key j:
 * its weight behind the softmax, p_j;
 * its score before the softmax, scaled and with what the net adds to it; -INFINITY where
 * a window ends;
 * the length of what the weight brings into the row behind, p_j * ||W v_j||, W the head's
 * columns of the output projection (Kobayashi et al. 2020); in attention pooling, which
 * has none, p_j * ||h_j||. */
enum trace_maps { TRACE_WEIGHTS, TRACE_SCORES, TRACE_VALUE_NORMS };

struct trace {
    void *arg;
    enum trace_maps maps; /* what `attention` sees */
    /* For value norms of transformers: attention_norm_floats (attention.h). The pass is
     * then over one sequence. */
    float *norms;
    /* The pass ends behind so many layers, whose rows `hidden` still sees; 0: all. Its
     * result is then of no use, and its sequences must be fresh. */
    size_t n_layers;
    /* One query row: p [n_keys]; keys past the query are absent in causal nets (n_keys =
     * query+1). Attention pooling: layer 0, head = hop, query 0, n_keys = T of the
     * sequence. Layers in order; in a layer any order of the rest. */
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

/* How many of n layers a pass computes; t may be NULL. */
static inline size_t trace_layers(const struct trace *t, size_t n)
{
    return t && t->n_layers && t->n_layers < n ? t->n_layers : n;
}

#endif
