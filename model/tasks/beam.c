#include "model/tasks/beam.h"

#include <string.h>

void top_offer(struct top *t, int32_t id, float logit)
{
    /* Ids come in ascending order, hence equal logits stay behind. */
    if (!top_wants(t, logit))
        return;
    size_t at = t->n < t->cap ? t->n++ : t->cap - 1;
    while (at > 0 && logit > t->logit[at - 1]) {
        t->id[at] = t->id[at - 1];
        t->logit[at] = t->logit[at - 1];
        at--;
    }
    t->id[at] = id;
    t->logit[at] = logit;
}

/* Order of two token sequences with their log probabilities: true if a comes first. */
static bool comes_first(double a_logprob, const int32_t *a, size_t a_n, double b_logprob,
                        const int32_t *b, size_t b_n)
{
    if (a_logprob != b_logprob)
        return a_logprob > b_logprob;
    for (size_t i = 0; i < a_n && i < b_n; i++)
        if (a[i] != b[i])
            return a[i] < b[i];
    return a_n < b_n;
}

static bool item_first(const struct beam_item *a, const struct beam_item *b)
{
    return comes_first(a->logprob, a->tokens, a->n_tokens, b->logprob, b->tokens,
                       b->n_tokens);
}

void beam_offer(struct beam *b, const struct beam_item *item)
{
    if (b->n == b->cap && !item_first(item, &b->at[b->n - 1]))
        return;
    size_t at = b->n < b->cap ? b->n++ : b->cap - 1;
    while (at > 0 && item_first(item, &b->at[at - 1])) {
        b->at[at] = b->at[at - 1];
        at--;
    }
    b->at[at] = *item;
}

static bool prediction_first(const struct seq_prediction *a,
                             const struct seq_prediction *b)
{
    return comes_first(a->logprob, a->tokens, a->n_tokens, b->logprob, b->tokens,
                       b->n_tokens);
}

void result_offer(struct seq_next_result *r, size_t cap, const struct seq_prediction *p)
{
    for (size_t i = 0; i < r->n; i++) {
        struct seq_prediction *same = &r->at[i];
        if (same->n_bytes != p->n_bytes || memcmp(same->bytes, p->bytes, p->n_bytes) != 0)
            continue;
        if (!prediction_first(p, same))
            return;
        memmove(same, same + 1, (r->n - i - 1) * sizeof *same);
        r->n--;
        break;
    }
    if (r->n == cap && !prediction_first(p, &r->at[r->n - 1]))
        return;
    size_t at = r->n < cap ? r->n++ : cap - 1;
    while (at > 0 && prediction_first(p, &r->at[at - 1])) {
        r->at[at] = r->at[at - 1];
        at--;
    }
    r->at[at] = *p;
}
