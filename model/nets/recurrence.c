#include "model/nets/recurrence.h"

#include <string.h>

struct cell_job {
    const struct rnn *n;
    const struct kernels *k;
    float *gates; /* [alive,G*H] */
    float *r, *h, *c;
};

static void lstm_row(const struct cell_job *j, size_t i)
{
    size_t H = j->n->H;
    float *g = j->gates + i * 4 * H, *c = j->c + i * H, *h = j->h + i * H;
    if (j->n->hard_slope > 0)
        j->k->lstm_hard(H, j->n->hard_slope, g, c, h);
    else
        j->k->lstm(H, g, c, h);
}

static void gru_row(const struct cell_job *j, size_t i)
{
    size_t H = j->n->H;
    float *x = j->gates + i * 3 * H, *r = j->r + i * 3 * H, *h = j->h + i * H;
    if (j->n->hard_slope > 0)
        j->k->gru_hard(H, j->n->hard_slope, x, r, h);
    else
        j->k->gru(H, x, r, h);
}

/* Sequences first..last-1 of one step: pre-activations to the new state. */
static void cell_rows(void *arg, size_t first, size_t last)
{
    const struct cell_job *j = arg;
    size_t H = j->n->H;
    switch (j->n->net.cfg.cell) {
    case CELL_LSTM:
        for (size_t i = first; i < last; i++)
            lstm_row(j, i);
        return;
    case CELL_GRU:
        for (size_t i = first; i < last; i++)
            gru_row(j, i);
        return;
    case CELL_RNN_TANH:
        j->k->tanh((last - first) * H, j->gates + first * H);
        break;
    case CELL_RNN_RELU:
        j->k->relu((last - first) * H, j->gates + first * H);
        break;
    }
    memcpy(j->h + first * H, j->gates + first * H, (last - first) * H * sizeof(float));
}

/* gates [alive,G*H] hold W_ih x + b of step t; h and c [alive,H] go one step on. */
static void cell_step(const struct recurrence *s, struct exec *x, size_t t, size_t alive,
                      float *gates)
{
    const struct rnn *n = s->n;
    const struct linear *rec = &n->layer[s->layer].direction[s->direction].rec;
    struct cell_job j = {
        .n = n, .k = x->k, .gates = gates, .r = s->r, .h = s->h, .c = s->c};
    bool gru = n->net.cfg.cell == CELL_GRU;
    layer_linear_step(x, rec, !gru, t, alive, s->h, gru ? s->r : gates);
    layer_rows(x, alive, 2 * n->G * n->H, cell_rows, &j);
}

size_t recurrence_position(const struct lineup_chunk *c, size_t i, size_t t)
{
    const struct lineup_seq *s = &c->line->seq[i];
    const struct net_batch *batch = c->line->batch;
    size_t past =
        batch->states ? ((const struct rnn_state *)batch->states[s->b])->length : 0;
    return past + lineup_token(c, i, t) - s->first;
}

static void trace_step(const struct recurrence *s, const struct trace *trace,
                       const struct lineup_chunk *c, size_t alive, size_t t,
                       const float *gates)
{
    size_t H = s->n->H, G = s->n->G;
    for (size_t i = 0; i < alive; i++) {
        struct trace_step step = {.seq = c->line->seq[i].b,
                                  .layer = s->layer,
                                  .direction = s->direction,
                                  .step = recurrence_position(c, i, t),
                                  .H = H,
                                  .gates = G > 1 ? gates + i * G * H : NULL,
                                  .c = s->c ? s->c + i * H : NULL,
                                  .h = s->h + i * H};
        trace->step(trace->arg, &step);
    }
}

void recurrence_run(const struct recurrence *s, const struct lineup_chunk *c, size_t rows,
                    struct exec *x)
{
    const struct linear *in = &s->n->layer[s->layer].direction[s->direction].in;
    size_t H = s->n->H, alive = c->line->B;
    float *gates = s->gates, *out = s->x;
    layer_linear(x, in, rows, s->x, s->gates);
    for (size_t t = c->t0; t < c->t1; t++) {
        alive = lineup_alive(c->line, alive, t);
        cell_step(s, x, t, alive, gates);
        memcpy(out, s->h, alive * H * sizeof *out);
        if (x->trace && x->trace->step)
            trace_step(s, x->trace, c, alive, t, gates);
        gates += alive * s->n->G * H;
        out += alive * H;
    }
}
