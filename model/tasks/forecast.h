/* Forecast: what a row of logits says of the next token, found in one walk over it. Each
 * block of KERNELS_COLUMNS is read once: its share of the log-sum-exp, and then those of
 * its tokens that may be among the best, which most blocks have none of. Blocks are added
 * in their order, so nothing depends on how the row was computed. Nothing is sorted or
 * written. Any thread. */
#ifndef SEQ_TASKS_FORECAST_H
#define SEQ_TASKS_FORECAST_H

#include "model/tasks/beam.h"
#include "model/tasks/model.h"

struct forecast {
    double total; /* log of the sum of e^logit over all tokens: log p = logit - total */
    double rest;  /* probability of all tokens that aren't of `parts` together */
};

/* Which tokens are asked for: those of `parts`, a set of 1 << enum word_part (WORD_PARTS:
 * all, of any model), and of these only what `takes` agrees to, if it is given. */
struct forecast_query {
    unsigned parts;
    bool (*takes)(void *arg, int32_t id);
    void *arg;
};

/* Reads logits [V] of m; top may be NULL, else it gets the best of those asked for. */
struct forecast forecast_read(const struct seq_model *m, const float *logits,
                              const struct forecast_query *q, struct top *top);

#endif
