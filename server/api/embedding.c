#include "server/api/embedding.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

static void tell(const struct text_ref *ref, const float *vector, size_t W)
{
    size_t asked = ref->job->vector.dimensions, n = asked ? asked : W;
    for (size_t i = 0; i < n; i++)
        if (!isfinite(vector[i])) {
            texts_fail(ref, "a number of the vector is not finite");
            return;
        }
    texts_tell(ref, &(struct text_result){.values = vector, .n_values = n});
}

static enum err_code compute(const struct seq_model *m, const struct text_ref *refs,
                             size_t n, struct seq_worker *w, struct err *err)
{
    size_t W = seq_model_info(m)->vector_width;
    const struct seq_tokens **texts = mem_alloc(n, sizeof(void *));
    struct seq_vector_ask *ask = mem_alloc(n, sizeof *ask);
    float *vectors = mem_alloc(n, W * sizeof *vectors); /* [n,W] */
    enum err_code code = ERR_NOMEM;
    if (!texts || !ask || !vectors) {
        err_set(err, code, "out of memory for %zu texts", n);
        goto out;
    }
    for (size_t i = 0; i < n; i++) {
        texts[i] = &refs[i].job->tokens[refs[i].i];
        ask[i] = refs[i].job->vector;
    }
    code = seq_embed(m, w, n, texts, ask, vectors, err);
    for (size_t i = 0; i < n && code == ERR_OK; i++)
        tell(&refs[i], vectors + i * W, W);
out:
    mem_free(vectors);
    mem_free(ask);
    mem_free(texts);
    return code;
}

const struct text_task embedding_task = {.task = SEQ_EMBED, .compute = compute};

const struct job_kind embedding_kind = {
    .name = "embedding", .run = texts_run, .free = texts_free};

enum err_code embedding_choose(const struct server *s, struct text_job *job,
                               int64_t dimensions, struct err *err)
{
    enum err_code code = ERR_OK;
    if (!job->job.model)
        code = models_choose(s->models, job->model.at, job->model.n, SEQ_EMBED,
                             &job->job.model, err);
    if (code != ERR_OK)
        return code;
    size_t W = job->job.model->info->vector_width;
    if (dimensions > (int64_t)W)
        return err_param(err, ERR_INPUT, "dimensions",
                         "dimensions is %" PRId64 ", the vectors of %s have %zu",
                         dimensions, job->job.model->name, W);
    job->vector.dimensions = (size_t)dimensions;
    return ERR_OK;
}

void embedding_name(const char *field, const struct json_prompts *inputs, size_t i,
                    char param[ERR_PARAM_BYTES])
{
    if (inputs->list)
        snprintf(param, ERR_PARAM_BYTES, "%s[%zu]", field, i);
    else
        snprintf(param, ERR_PARAM_BYTES, "%s", field);
}

void embedding_write(struct json_writer *w, const struct text_result *r)
{
    json_write_array(w);
    for (size_t i = 0; i < r->n_values; i++)
        json_write_float(w, r->values[i]);
    json_write_end(w);
}
