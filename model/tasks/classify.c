#include "model/tasks/model.h"

#include <math.h>

static enum seq_activation own(const struct seq_model *m)
{
    switch (m->net->cfg.problem) {
    case PROBLEM_REGRESSION:
        return SEQ_ACTIVATION_NONE;
    case PROBLEM_MULTI_LABEL:
        return SEQ_ACTIVATION_SIGMOID;
    default:
        return SEQ_ACTIVATION_SOFTMAX;
    }
}

static void softmax(const float *logits, size_t L, float *scores)
{
    double max = logits[0], sum = 0;
    for (size_t i = 1; i < L; i++)
        max = fmax(max, logits[i]);
    for (size_t i = 0; i < L; i++)
        sum += exp(logits[i] - max);
    for (size_t i = 0; i < L; i++)
        scores[i] = (float)(exp(logits[i] - max) / sum);
}

/* In double: L is small and the result is what users see. */
static void activate(const struct seq_model *m, enum seq_activation how,
                     const float *logits, float *scores)
{
    size_t L = m->net->cfg.n_labels;
    if (how == SEQ_ACTIVATION_OWN)
        how = own(m);
    if (how == SEQ_ACTIVATION_SOFTMAX) {
        softmax(logits, L, scores);
        return;
    }
    for (size_t i = 0; i < L; i++)
        scores[i] = how == SEQ_ACTIVATION_NONE
                        ? logits[i]
                        : (float)(1 / (1 + exp(-(double)logits[i])));
}

void classify_scores(const struct seq_model *m, const float *logits, float *scores)
{
    activate(m, SEQ_ACTIVATION_OWN, logits, scores);
}

void seq_activate(const struct seq_model *m, const float *logits, float *scores)
{
    classify_scores(m, logits, scores);
}

enum err_code classify_logits(const struct seq_model *m, struct seq_worker *w, size_t B,
                              const struct seq_tokens *const *texts,
                              const struct trace *trace, float *logits, struct err *err)
{
    const struct net *n = m->net;
    size_t T, longest;
    batch_size(B, texts, &T, &longest);
    size_t bytes =
        batch_bytes(B, T) + n->ops->scratch_bytes(n, B, T, longest, NET_LABELS);
    enum err_code code = arena_reserve(&w->tmp, bytes, err);
    if (code != ERR_OK)
        return code;
    struct exec x = model_exec(m, w, trace);
    size_t mark = arena_mark(&w->tmp);
    struct batch batch;
    code = batch_texts(&batch, &w->tmp, B, texts, err);
    if (code == ERR_OK)
        code = n->ops->forward(n, &batch.net, NET_LABELS, logits, &x, err);
    arena_rewind(&w->tmp, mark);
    return code;
}

enum err_code classify_traced(const struct seq_model *m, struct seq_worker *w, size_t B,
                              const struct seq_tokens *const *texts,
                              const struct trace *trace, float *scores, struct err *err)
{
    size_t L = m->net->cfg.n_labels;
    enum err_code code = classify_logits(m, w, B, texts, trace, scores, err);
    for (size_t b = 0; b < B && code == ERR_OK; b++)
        classify_scores(m, scores + b * L, scores + b * L);
    return code;
}

enum err_code seq_classify(const struct seq_model *m, struct seq_worker *w, size_t B,
                           const struct seq_tokens *const *texts,
                           const enum seq_activation *how, float *scores, struct err *err)
{
    size_t L = m->net->cfg.n_labels;
    if (!(m->info.tasks & SEQ_CLASSIFY))
        return err_set(err, ERR_TASK, "a %s has no classifier", m->info.architecture);
    enum err_code code = B ? classify_logits(m, w, B, texts, NULL, scores, err) : ERR_OK;
    for (size_t b = 0; b < B && code == ERR_OK; b++)
        activate(m, how ? how[b] : SEQ_ACTIVATION_OWN, scores + b * L, scores + b * L);
    return code;
}
