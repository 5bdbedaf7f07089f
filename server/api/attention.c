#include "server/api/attention.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "server/api/attention_reply.h"
#include "server/api/attention_request.h"
#include "server/api/size_guard.h"
#include "server/clock.h"
#include "server/errors.h"
#include "server/router.h"
#include "server/server.h"

struct attention_job {
    struct job job; /* first */
    const struct server *server;
    struct attention_request ask;
    struct seq_tokens tokens; /* the text's, later the generated ones too */
    size_t n_prompt;
    struct json_text generated; /* text that was generated */
    const char *finish;         /* why that ended; NULL: nothing was asked for */
    int32_t last_id;            /* generated last and never fed, -1: none */
    float *result;              /* [L] or [V], if wanted */
};

/* ---- the size -------------------------------------------------------------------- */

static bool refuse_size(struct attention_job *a, const struct map_plan *p)
{
    const struct size_guard g = {.reply = &a->job.reply,
                                 .param = "layers",
                                 .json =
                                     (size_t)a->server->options->attention_max_values};
    bool is_json = a->ask.encoding == MAP_JSON;
    return size_guard_refuses(
               &g, map_plan_values(p), is_json ? 1 : SIZE_GUARD_BINARY, "the maps have",
               is_json
                   ? "ask for fewer layers, heads or queries "
                     "(\"queries\":\"last\"), \"pool\", \"top_k\", \"min_weight\" or "
                     "\"encoding\":\"binary\""
                   : "ask for fewer layers, heads or queries "
                     "(\"queries\":\"last\"), \"pool\", \"top_k\" or \"min_weight\"") ||
           size_guard_refuses(&g, map_plan_floats(p), SIZE_GUARD_BINARY,
                              "while they are computed, the maps of a layer have",
                              "ask for fewer heads, or for a shorter text");
}

/* ---- tokens ---------------------------------------------------------------------- */

static enum err_code read_tokens(struct attention_job *a)
{
    enum seq_task task = a->ask.max_tokens ? SEQ_NEXT_WORD : SEQ_ATTENTION;
    enum err_code code =
        input_tokens(&a->ask.input, a->server, task, &a->job, &a->tokens);
    a->n_prompt = a->tokens.n;
    return code;
}

/* ---- generation ------------------------------------------------------------------ */

/* How many tokens can have rows in the end: all but the last generated one. */
static size_t most_fed(const struct attention_job *a)
{
    size_t n = a->n_prompt + (size_t)a->ask.max_tokens - 1;
    size_t context = a->job.model->info->context;
    return context && n > context ? context : n;
}

/* True, and the reply says so, if the maps could become too large: those of the text and
 * of as many tokens more, whichever they will be. */
static bool refuse_generation(struct attention_job *a)
{
    struct map_plan plan;
    struct err *err = &a->job.err;
    static const int32_t any[ATTENTION_MAX_TOKENS];
    size_t n = most_fed(a);
    if (n > a->n_prompt && seq_tokens_of_ids(a->job.model->seq, any, n - a->n_prompt,
                                             &a->tokens, err) != ERR_OK)
        return true;
    if (map_plan_init(&plan, &a->ask, a->job.model, &a->tokens, err) != ERR_OK)
        return true;
    bool refused = refuse_size(a, &plan);
    map_plan_done(&plan);
    a->tokens.n = a->n_prompt;
    return refused;
}

/* What the generation says so far goes into the job. */
static enum err_code take_generated(struct attention_job *a,
                                    const struct seq_generation *g)
{
    struct seq_generated said;
    struct err *err = &a->job.err;
    seq_generation_view(g, &said);
    int32_t *ids = mem_alloc(said.n_tokens + 1, sizeof *ids);
    a->generated.at = mem_copy(said.n_text ? said.text : "", said.n_text);
    a->generated.n = said.n_text;
    a->finish = said.finish == SEQ_FINISH_END ? "end" : "length";
    if (!ids || !a->generated.at) {
        mem_free(ids);
        return err_set(err, ERR_NOMEM, "out of memory for the generated text");
    }
    for (size_t i = 0; i < said.n_tokens; i++)
        ids[i] = said.tokens[i].chosen.id;
    size_t fed = said.n_tokens ? said.n_tokens - 1 : 0;
    if (said.n_tokens)
        a->last_id = ids[fed];
    enum err_code code = seq_tokens_of_ids(a->job.model->seq, ids, fed, &a->tokens, err);
    mem_free(ids);
    return code;
}

/* The last one behind the others, which may fill the context. */
static enum err_code append_last(struct attention_job *a)
{
    struct seq_tokens last = {0}, *all = &a->tokens;
    struct err *err = &a->job.err;
    struct seq_token *at = NULL;
    if (a->last_id < 0)
        return ERR_OK;
    enum err_code code = seq_tokens_of_ids(a->job.model->seq, &a->last_id, 1, &last, err);
    if (code == ERR_OK)
        at = mem_resize(all->at, all->n + 1, sizeof *at);
    if (at) {
        at[all->n] = last.at[0];
        *all = (struct seq_tokens){at, all->n + 1, all->n + 1, all->n_dropped};
    } else if (code == ERR_OK) {
        code = err_set(err, ERR_NOMEM, "out of memory for the generated tokens");
    }
    seq_tokens_done(&last);
    return code;
}

static enum err_code generate(struct attention_job *a, struct seq_worker *w)
{
    struct err *err = &a->job.err;
    const struct seq_model *m = a->job.model->seq;
    const struct seq_generate_options options = {.max_tokens = (size_t)a->ask.max_tokens};
    struct seq_generation *g = NULL;
    struct seq_generated said = {0};
    int32_t *prompt = mem_alloc(a->n_prompt, sizeof *prompt);
    if (!prompt)
        return err_set(err, ERR_NOMEM, "out of memory for the text's tokens");
    for (size_t i = 0; i < a->n_prompt; i++)
        prompt[i] = a->tokens.at[i].id;
    enum err_code code = seq_generation_new(m, prompt, a->n_prompt, &options, &g, err);
    while (code == ERR_OK && said.finish == SEQ_FINISH_NOT) {
        if (job_is_gone(&a->job))
            code = err_set(err, ERR_STOPPED, "the client closed the connection");
        else
            code = seq_generate(m, w, 1, &g, err);
        if (code == ERR_OK)
            seq_generation_view(g, &said);
    }
    if (code == ERR_OK)
        code = take_generated(a, g);
    seq_generation_free(g);
    mem_free(prompt);
    return code;
}

/* ---- the pass -------------------------------------------------------------------- */

/* How many numbers the model says of a text, 0 if none or none are wanted. */
static size_t result_length(const struct attention_job *a)
{
    const struct seq_info *info = a->job.model->info;
    if (!a->ask.predict || a->ask.encoding == MAP_NPY)
        return 0;
    if (info->tasks & SEQ_CLASSIFY)
        return info->n_labels;
    return info->tasks & SEQ_NEXT_WORD && !info->mask_token ? info->vocab : 0;
}

static enum err_code trace(struct attention_job *a, struct capture *c,
                           struct seq_worker *w)
{
    struct err *err = &a->job.err;
    size_t n = result_length(a);
    const struct seq_sink sink = {.arg = c,
                                  .map = (enum seq_map)a->ask.kind,
                                  .n_layers = c->plan->n_layers,
                                  .row = c->plan->nothing ? NULL : capture_row};
    if (n) {
        a->result = mem_alloc(n, sizeof *a->result);
        if (!a->result)
            return err_set(err, ERR_NOMEM, "out of memory for what the model says");
    }
    enum err_code code = ERR_OK;
    if (n || !c->plan->nothing)
        code = seq_inspect(a->job.model->seq, w, &a->tokens, &sink, a->result, err);
    bool numbers = true;
    for (size_t i = 0; code == ERR_OK && i < n; i++)
        numbers &= !isnan(a->result[i]);
    if (!numbers)
        return err_set(err, ERR_BUG, "what the model says is no number");
    return code == ERR_OK ? capture_finish(c, err) : code;
}

static enum err_code write_answer(struct attention_job *a, struct capture *c)
{
    const struct attention_answer answer = {.model = a->job.model,
                                            .ask = &a->ask,
                                            .plan = c->plan,
                                            .capture = c,
                                            .tokens = &a->tokens,
                                            .n_prompt = a->n_prompt,
                                            .n_fed = c->plan->T,
                                            .finish = a->finish,
                                            .generated = a->generated,
                                            .result = a->result};
    return attention_reply_make(&answer, &a->job.reply, &a->job.err);
}

static enum err_code compute(struct attention_job *a, const struct map_plan *plan,
                             struct seq_worker *w)
{
    struct capture c;
    enum err_code code = capture_init(&c, plan, &a->job.err);
    if (code != ERR_OK)
        return code;
    code = trace(a, &c, w);
    if (code == ERR_OK)
        code = append_last(a);
    if (code == ERR_OK)
        code = write_answer(a, &c);
    capture_done(&c);
    return code;
}

static void run_one(struct attention_job *a, struct seq_worker *w)
{
    struct map_plan plan;
    if (read_tokens(a) != ERR_OK)
        return;
    uint64_t start = clock_us();
    if (a->ask.max_tokens && (refuse_generation(a) || generate(a, w) != ERR_OK))
        return;
    if (map_plan_init(&plan, &a->ask, a->job.model, &a->tokens, &a->job.err) != ERR_OK)
        return;
    if (!refuse_size(a, &plan) && compute(a, &plan, w) != ERR_OK)
        reply_done(&a->job.reply);
    map_plan_done(&plan);
    a->job.n_tokens = a->tokens.n;
    a->job.compute_us = clock_us() - start;
}

/* ---- the job --------------------------------------------------------------------- */

static void run(struct job **jobs, size_t n, struct seq_worker *w)
{
    for (size_t i = 0; i < n; i++)
        run_one((struct attention_job *)jobs[i], w);
}

static void free_job(struct job *job)
{
    struct attention_job *a = (struct attention_job *)job;
    seq_tokens_done(&a->tokens);
    attention_request_done(&a->ask);
    reply_done(&a->job.reply);
    mem_free(a->generated.at);
    mem_free(a->result);
    mem_free(a);
}

static const struct job_kind KIND = {
    .name = "attention", .inspects = true, .run = run, .free = free_job};

/* Layers and heads can be judged before the text is. */
static enum err_code check_selections(const struct attention_request *ask,
                                      const struct model *m, struct err *err)
{
    struct map_plan plan;
    struct seq_token one = {.word = -1};
    const struct seq_tokens tokens = {.at = &one, .n = 1};
    struct attention_request without_queries = *ask;
    without_queries.queries = (struct json_ints){.all = true};
    enum err_code code = map_plan_init(&plan, &without_queries, m, &tokens, err);
    if (code == ERR_OK)
        map_plan_done(&plan);
    return code;
}

static enum err_code read_request(struct server *s, const struct request *q,
                                  struct attention_job *a, struct err *err)
{
    enum err_code code = attention_request_read(q, &a->ask, err);
    if (code == ERR_OK)
        code = models_choose(s->models, a->ask.model.at, a->ask.model.n, SEQ_ATTENTION,
                             &a->job.model, err);
    if (code == ERR_OK)
        code = attention_request_check(&a->ask, a->job.model, err);
    return code == ERR_OK ? check_selections(&a->ask, a->job.model, err) : code;
}

/* A model without maps may have states to look at. */
static void refuse_model(const struct server *s, const struct err *err,
                         struct reply *reply)
{
    struct router_match match;
    const struct problem_detail hint = {
        "hint", "POST /v1/states shows the gates and states of recurrent models", 0};
    router_find(s->routes, s->n_routes, "POST", "/v1/states", &match);
    reply_problem_details(reply, PROBLEM_NO_ATTENTION, err->param, err->msg, &hint,
                          match.route ? 1 : 0);
}

enum err_code attention_handle(struct server *s, const struct request *q,
                               struct answer *out, struct err *err)
{
    struct attention_job *a = mem_zero(1, sizeof *a);
    if (!a)
        return err_set(err, ERR_NOMEM, "out of memory for the request");
    a->server = s;
    a->last_id = -1;
    a->job.kind = &KIND;
    enum err_code code = read_request(s, q, a, err);
    if (code != ERR_OK) {
        free_job(&a->job);
        if (code != ERR_TASK)
            return code;
        refuse_model(s, err, &out->reply);
        return ERR_OK;
    }
    a->job.cost = input_cost(&a->ask.input) + (size_t)a->ask.max_tokens;
    out->job = &a->job;
    return ERR_OK;
}
