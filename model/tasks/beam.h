/* Beam: the best unfinished and finished words of one search, and streaming selection of
 * the best tokens of a row of logits. Plain data in place, nothing allocated. All orders
 * are total (ties by token ids), so that results never depend on how work was cut. */
#ifndef SEQ_TASKS_BEAM_H
#define SEQ_TASKS_BEAM_H

#include "model/seq.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BEAM_MAX = 128 };

/* The best `cap` (<= BEAM_MAX) tokens of a row, best first. */
struct top {
    size_t n, cap;
    int32_t id[BEAM_MAX];
    float logit[BEAM_MAX];
};

/* True if a token with this logit would be kept now. */
static inline bool top_wants(const struct top *t, float logit)
{
    return t->n < t->cap ? logit == logit : logit > t->logit[t->n - 1];
}

/* Keeps the token if it is among the best so far. NaN is never kept. */
void top_offer(struct top *t, int32_t id, float logit);

/* A word begun: its tokens, its text without the blank before it. */
struct beam_item {
    double logprob;
    size_t parent; /* the caller's: what it was made from */
    size_t n_tokens, n_bytes;
    int32_t tokens[SEQ_WORD_TOKENS];
    bool blank; /* its first token begins with one */
    char bytes[SEQ_WORD_BYTES];
};

struct beam {
    size_t n, cap;                 /* cap <= BEAM_MAX */
    struct beam_item at[BEAM_MAX]; /* best first */
};

/* Keeps the item (a copy) if it is among the best so far. */
void beam_offer(struct beam *b, const struct beam_item *item);

/* Takes a finished word into result, at most `cap` of them, best first. Of two spellings
 * of the same word the better one stays. */
void result_offer(struct seq_next_result *r, size_t cap, const struct seq_prediction *p);

#endif
