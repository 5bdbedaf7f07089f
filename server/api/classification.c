#include "server/api/classification.h"

#include <math.h>

static void tell(const struct text_ref *ref, const float *scores /* [L] */, size_t L)
{
    for (size_t l = 0; l < L; l++)
        if (!isfinite(scores[l])) {
            texts_fail(ref, "a score is not finite");
            return;
        }
    texts_tell(ref, &(struct text_result){.values = scores, .n_values = L});
}

static enum err_code compute(const struct seq_model *m, const struct text_ref *refs,
                             size_t n, struct seq_worker *w, struct err *err)
{
    size_t L = seq_model_info(m)->n_labels;
    const struct seq_tokens **texts = mem_alloc(n, sizeof(void *));
    enum seq_activation *how = mem_alloc(n, sizeof *how);
    float *scores = mem_alloc(n, L * sizeof *scores); /* [n,L] */
    enum err_code code = ERR_NOMEM;
    if (!texts || !how || !scores) {
        err_set(err, code, "out of memory for %zu texts", n);
        goto out;
    }
    for (size_t i = 0; i < n; i++) {
        texts[i] = &refs[i].job->tokens[refs[i].i];
        how[i] = refs[i].job->activation;
    }
    code = seq_classify(m, w, n, texts, how, scores, err);
    for (size_t i = 0; i < n && code == ERR_OK; i++)
        tell(&refs[i], scores + i * L, L);
out:
    mem_free(scores);
    mem_free(how);
    mem_free(texts);
    return code;
}

const struct text_task classification_task = {.task = SEQ_CLASSIFY, .compute = compute};

const struct job_kind classification_kind = {
    .name = "classification", .run = texts_run, .free = texts_free};
