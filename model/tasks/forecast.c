#include "model/tasks/forecast.h"

#include <math.h>

/* Adds a block: the sums so far are those of e^(logit - *top). */
static void add_block(const struct tally *t, float *top, double *sum, double *rest)
{
    double scale = 1;
    if (t->top > *top) {
        scale = exp((double)*top - t->top);
        *sum *= scale;
        *rest *= scale;
        *top = t->top;
        scale = 1;
    } else if (t->top < *top) {
        scale = exp((double)t->top - *top);
    }
    *sum += t->sum * scale;
    *rest += t->rest * scale;
}

static void offer_block(const float *logits, size_t first, uint64_t mask,
                        const struct forecast_query *q, struct top *top)
{
    for (; mask; mask &= mask - 1) {
        int32_t id = (int32_t)(first + (size_t)__builtin_ctzll(mask));
        if (top_wants(top, logits[id]) && (!q->takes || q->takes(q->arg, id)))
            top_offer(top, id, logits[id]);
    }
}

struct forecast forecast_read(const struct seq_model *m, const float *logits,
                              const struct forecast_query *q, struct top *top)
{
    const struct kernels *k = m->net->k;
    size_t V = m->net->cfg.vocab, n;
    float most = -INFINITY;
    double sum = 0, rest = 0;
    for (size_t first = 0; first < V; first += n) {
        struct tally t;
        uint64_t mask = words_mask(&m->words, q->parts, first / WORDS_BLOCK);
        n = V - first < WORDS_BLOCK ? V - first : WORDS_BLOCK;
        if (n < WORDS_BLOCK)
            mask &= ((uint64_t)1 << n) - 1;
        k->tally(n, logits + first, mask, &t);
        add_block(&t, &most, &sum, &rest);
        if (top && mask && top_wants(top, t.best))
            offer_block(logits, first, mask, q, top);
    }
    return (struct forecast){(double)most + log(sum), rest / sum};
}

double log_sum_exp(const struct seq_model *m, const float *logits)
{
    return forecast_read(m, logits, &(struct forecast_query){.parts = WORD_PARTS}, NULL)
        .total;
}
