#include "server/api/states.h"

#include <math.h>

#include "server/api/size_guard.h"
#include "server/api/states_reply.h"
#include "server/api/states_request.h"
#include "server/clock.h"
#include "server/server.h"

struct states_job {
    struct job job; /* first */
    const struct server *server;
    struct states_request ask;
    struct seq_tokens tokens;
    float *scores; /* [n_scored,L] of the text up to each step, if wanted */
    float *output; /* [T] what units may go with, if they are ranked by it */
    float *result; /* [L] or [V], if wanted */
};

/* ---- the size -------------------------------------------------------------------- */

/* So many numbers of the output layer, for each number that may be in the reply. */
enum { LOGITS_FACTOR = 1024 };
/* Tokens of all beginnings of a text, for each token that a request may have. */
enum { PREFIX_FACTOR = 4 };

/* True, and the reply says so, if the request wants more than goes. */
static bool refuse_size(struct states_job *j, const struct states_plan *p)
{
    static const char LESS[] =
        "ask for fewer layers, signals, directions or steps, or for units by their ids";
    static const char FEWER[] = "ask for fewer steps, or a shorter text";
    const struct size_guard g = {.reply = &j->job.reply,
                                 .param = "layers",
                                 .json =
                                     (size_t)j->server->options->attention_max_values};
    const struct size_guard tokens = {.reply = &j->job.reply,
                                      .param = "per_step",
                                      .json = (size_t)j->server->options->max_tokens,
                                      .things = "tokens",
                                      .option = "--max-tokens"};
    size_t values = states_plan_values(p), others = states_plan_others(p);
    bool json = j->ask.encoding == MAP_JSON;
    if (json && size_guard_refuses(&g, values, 1, "the states have",
                                   "ask for fewer layers, signals, steps or units, or "
                                   "\"encoding\":\"binary\""))
        return true;
    return size_guard_refuses(&g, others, 1, "figures and tokens beside the states have",
                              "ask for fewer layers, steps or units, a lower \"top_k\" "
                              "or \"stats\":false") ||
           size_guard_refuses(&g, states_plan_floats(p), SIZE_GUARD_BINARY,
                              "while they are computed, the states have", LESS) ||
           size_guard_refuses(&g, states_plan_logits(p), LOGITS_FACTOR,
                              "the output layer would give", FEWER) ||
           size_guard_refuses(&tokens, states_plan_prefixes(p), PREFIX_FACTOR,
                              "all beginnings of the text have", FEWER);
}

/* ---- what comes before the pass -------------------------------------------------- */

static enum err_code score_steps(struct states_job *j, const struct states_plan *p,
                                 struct seq_worker *w)
{
    struct err *err = &j->job.err;
    if (!p->n_scored)
        return ERR_OK;
    j->scores = mem_alloc(p->n_scored, p->info->n_labels * sizeof *j->scores);
    if (!j->scores)
        return err_set(err, ERR_NOMEM, "out of memory for %zu scores", p->n_scored);
    return seq_classify_steps(j->job.model->seq, w, &j->tokens, p->scored, p->n_scored,
                              j->scores, err);
}

/* output = the running score of the label that the whole text gets. */
static void follow_label(struct states_job *j, const struct states_plan *p)
{
    size_t L = p->info->n_labels, best = 0;
    const float *last = j->scores + (p->T - 1) * L;
    for (size_t l = 1; l < L; l++)
        if (last[l] > last[best])
            best = l;
    for (size_t t = 0; t < p->T; t++)
        j->output[t] = j->scores[t * L + best];
}

/* output = each token's surprisal; the first has none. */
static enum err_code follow_surprise(struct states_job *j, const struct states_plan *p,
                                     struct seq_worker *w)
{
    struct err *err = &j->job.err;
    double *logprob = mem_alloc(p->T, sizeof *logprob);
    if (!logprob)
        return err_set(err, ERR_NOMEM, "out of memory for the tokens' surprisal");
    enum err_code code = seq_score(j->job.model->seq, w, &j->tokens, -1, logprob, err);
    for (size_t t = 0; code == ERR_OK && t < p->T; t++)
        j->output[t] = t ? (float)-logprob[t] : NAN;
    mem_free(logprob);
    return code;
}

static enum err_code find_output(struct states_job *j, const struct states_plan *p,
                                 struct seq_worker *w)
{
    if (j->ask.by != STATES_BY_CORR_OUTPUT)
        return ERR_OK;
    j->output = mem_alloc(p->T, sizeof *j->output);
    if (!j->output)
        return err_set(&j->job.err, ERR_NOMEM, "out of memory for the ranking");
    if (!states_tells_score(p->info))
        return follow_surprise(j, p, w);
    follow_label(j, p);
    return ERR_OK;
}

/* ---- the pass -------------------------------------------------------------------- */

/* How many numbers the model says of the text, 0 if none or none are wanted. */
static size_t result_length(const struct states_job *j)
{
    const struct seq_info *info = j->job.model->info;
    if (!j->ask.predict || j->ask.encoding == MAP_NPY)
        return 0;
    if (states_tells_score(info))
        return info->n_labels;
    return states_tells_next(info) ? info->vocab : 0;
}

static enum err_code trace(struct states_job *j, struct states_capture *c,
                           struct seq_worker *w)
{
    struct err *err = &j->job.err;
    const struct states_plan *p = c->plan;
    bool recurrent = p->info->recurrent;
    size_t n = result_length(j);
    const struct seq_sink sink = {.arg = c,
                                  .n_layers = p->n_layers,
                                  .step = recurrent ? states_capture_step : NULL,
                                  .hidden = recurrent ? NULL : states_capture_hidden,
                                  .rows = p->rows,
                                  .n_rows = p->n_rows,
                                  .logits = states_capture_logits};
    if (n) {
        j->result = mem_alloc(n, sizeof *j->result);
        if (!j->result)
            return err_set(err, ERR_NOMEM, "out of memory for what the model says");
    }
    enum err_code code =
        seq_inspect(j->job.model->seq, w, &j->tokens, &sink, j->result, err);
    bool numbers = true;
    for (size_t i = 0; code == ERR_OK && i < n; i++)
        numbers &= !isnan(j->result[i]);
    if (!numbers)
        return err_set(err, ERR_BUG, "what the model says is no number");
    return code == ERR_OK ? states_capture_finish(c, err) : code;
}

static enum err_code write_answer(struct states_job *j, const struct states_capture *c)
{
    const struct states_answer answer = {.model = j->job.model,
                                         .ask = &j->ask,
                                         .plan = c->plan,
                                         .capture = c,
                                         .tokens = &j->tokens,
                                         .scores = j->scores,
                                         .result = j->result};
    return states_reply_make(&answer, &j->job.reply, &j->job.err);
}

static enum err_code compute(struct states_job *j, const struct states_plan *p,
                             struct seq_worker *w)
{
    struct states_capture c;
    enum err_code code = score_steps(j, p, w);
    if (code == ERR_OK)
        code = find_output(j, p, w);
    if (code == ERR_OK)
        code = states_capture_init(&c, p, j->output, &j->job.err);
    if (code != ERR_OK)
        return code;
    code = trace(j, &c, w);
    if (code == ERR_OK)
        code = write_answer(j, &c);
    states_capture_done(&c);
    return code;
}

/* A text that goes on is read without what would close it. */
static enum seq_task reads_for(const struct seq_info *info)
{
    return states_tells_next(info) ? SEQ_NEXT_TOKEN : SEQ_INSPECT;
}

static void run_one(struct states_job *j, struct seq_worker *w)
{
    struct states_plan plan;
    const struct model *m = j->job.model;
    if (input_tokens(&j->ask.input, j->server, reads_for(m->info), &j->job, &j->tokens) !=
        ERR_OK)
        return;
    uint64_t start = clock_us();
    if (states_plan_init(&plan, &j->ask, m, &j->tokens, &j->job.err) != ERR_OK)
        return;
    if (!refuse_size(j, &plan) && compute(j, &plan, w) != ERR_OK)
        reply_done(&j->job.reply);
    states_plan_done(&plan);
    j->job.compute_us = clock_us() - start;
}

/* ---- the job --------------------------------------------------------------------- */

static void run(struct job **jobs, size_t n, struct seq_worker *w)
{
    for (size_t i = 0; i < n; i++)
        run_one((struct states_job *)jobs[i], w);
}

static void free_job(struct job *job)
{
    struct states_job *j = (struct states_job *)job;
    seq_tokens_done(&j->tokens);
    states_request_done(&j->ask);
    reply_done(&j->job.reply);
    mem_free(j->scores);
    mem_free(j->output);
    mem_free(j->result);
    mem_free(j);
}

static const struct job_kind KIND = {
    .name = "states", .inspects = true, .run = run, .free = free_job};

/* All but the steps can be judged before the text is. */
static enum err_code check_selections(const struct states_request *ask,
                                      const struct model *m, struct err *err)
{
    struct states_plan plan;
    struct seq_token one = {.word = -1};
    const struct seq_tokens tokens = {.at = &one, .n = 1};
    struct states_request without_steps = *ask;
    without_steps.steps = (struct json_ints){.all = true};
    enum err_code code = states_plan_init(&plan, &without_steps, m, &tokens, err);
    if (code == ERR_OK)
        states_plan_done(&plan);
    return code;
}

enum err_code states_handle(struct server *s, const struct request *q, struct answer *out,
                            struct err *err)
{
    struct states_job *j = mem_zero(1, sizeof *j);
    if (!j)
        return err_set(err, ERR_NOMEM, "out of memory for the request");
    j->server = s;
    j->job.kind = &KIND;
    enum err_code code = states_request_read(q, &j->ask, err);
    if (code == ERR_OK)
        code = models_choose(s->models, j->ask.model.at, j->ask.model.n, SEQ_INSPECT,
                             &j->job.model, err);
    if (code == ERR_OK)
        code = states_request_check(&j->ask, j->job.model, err);
    if (code == ERR_OK)
        code = check_selections(&j->ask, j->job.model, err);
    if (code != ERR_OK) {
        free_job(&j->job);
        return code;
    }
    j->job.cost = input_cost(&j->ask.input);
    out->job = &j->job;
    return ERR_OK;
}
