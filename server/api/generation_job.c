#include "server/api/generation_job.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "server/clock.h"
#include "server/errors.h"
#include "server/server.h"

enum {
    DEFAULT_TOKENS = 16,
    STEP_MOST = 256,    /* continuations computed at once */
    BYTES_PER_TOKEN = 3 /* a token is seldom shorter; only batches are sized by it */
};

/* What the request doesn't hold of a prompt: tokens of a text, the text of ids. */
struct generation_memory {
    struct seq_tokens tokens;
    int32_t *ids;
    struct buf text;
};

static struct generation_job *of_job(struct job *job)
{
    return (struct generation_job *)job; /* its first member */
}

/* ---- the end --------------------------------------------------------------------- */

void generation_free(struct generation_job *g)
{
    for (size_t i = 0; g->texts && i < g->n_texts; i++)
        seq_generation_free(g->texts[i].generation);
    for (size_t i = 0; g->memory && i < g->n_prompts; i++) {
        seq_tokens_done(&g->memory[i].tokens);
        mem_free(g->memory[i].ids);
        buf_done(&g->memory[i].text);
    }
    mem_free(g->texts);
    mem_free(g->memory);
    mem_free(g->prompts);
    json_read_done(g->form->fields, g->form->n_fields, g);
    reply_done(&g->job.reply);
    atomic_fetch_sub(&g->server->generating, g->reserved);
    mem_free(g);
}

static void free_job(struct job *job)
{
    generation_free(of_job(job));
}

/* ---- prompts --------------------------------------------------------------------- */

/* An error of prompt i gets the name that the field has in the request. */
static enum err_code blame(const struct generation_job *g, size_t i, struct err *err)
{
    if (g->list && strcmp(err->param, "prompt") == 0)
        snprintf(err->param, sizeof err->param, "prompt[%zu]", i);
    else if (strcmp(err->param, "bias") == 0)
        snprintf(err->param, sizeof err->param, "logit_bias");
    return err->code;
}

/* Of a longer prompt; its text stays whole. */
static void keep_last(struct generation_prompt *p, size_t n)
{
    size_t skipped = p->n_ids - n;
    p->ids += skipped;
    p->offsets += skipped;
    p->n_ids = n;
}

static enum err_code read_text(struct generation_job *g, size_t i, struct err *err)
{
    const struct json_text *text = &g->asked[i].text;
    struct seq_tokens *tokens = &g->memory[i].tokens;
    enum err_code code = seq_tokenize(g->job.model->seq, SEQ_NEXT_TOKEN, text->at,
                                      text->n, SEQ_WHOLE, tokens, err);
    if (code != ERR_OK) {
        snprintf(err->param, sizeof err->param, "prompt");
        return code;
    }
    int32_t *ids = g->memory[i].ids = mem_alloc(tokens->n, sizeof *ids);
    if (!ids)
        return err_set(err, ERR_NOMEM, "out of memory for the prompt");
    for (size_t t = 0; t < tokens->n; t++)
        ids[t] = tokens->at[t].id;
    g->prompts[i] =
        (struct generation_prompt){text->at, text->n, ids, tokens->at, tokens->n};
    if (g->prompt_most && tokens->n > (size_t)g->prompt_most)
        keep_last(&g->prompts[i], (size_t)g->prompt_most);
    return ERR_OK;
}

static enum err_code read_ids(struct generation_job *g, size_t i, struct err *err)
{
    const struct json_prompt *given = &g->asked[i];
    struct buf *text = &g->memory[i].text;
    for (size_t t = 0; t < given->n_ids; t++) {
        size_t n;
        if ((size_t)given->ids[t] >= g->job.model->info->vocab)
            return err_param(err, ERR_INPUT, "prompt",
                             "token id %d is outside the vocabulary of %zu",
                             given->ids[t], g->job.model->info->vocab);
        const char *bytes = seq_piece_bytes(g->job.model->seq, given->ids[t], &n);
        buf_put(text, bytes, n);
    }
    g->prompts[i] = (struct generation_prompt){
        .text = text->at, .n_text = text->n, .ids = given->ids, .n_ids = given->n_ids};
    return text->failed ? err_set(err, ERR_NOMEM, "out of memory for the prompt")
                        : ERR_OK;
}

static enum err_code read_prompt(struct generation_job *g, size_t i, struct err *err)
{
    enum err_code code = g->asked[i].text.at ? read_text(g, i, err) : read_ids(g, i, err);
    g->job.n_tokens += g->prompts[i].n_ids;
    return code;
}

/* ---- beginning, on a worker -------------------------------------------------------- */

/* splitmix64: neighbours look unlike each other. */
static uint64_t derive_seed(int64_t seed, size_t i)
{
    uint64_t z = (uint64_t)seed + (i + 1) * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* How the request's texts are generated. `bias` [logit_bias.n] and `stops`
 * [SEQ_STOPS_MAX] are the caller's. */
static struct seq_generate_options options_of(const struct generation_job *g,
                                              struct seq_bias *bias,
                                              struct seq_stop *stops)
{
    for (size_t i = 0; i < g->logit_bias.n; i++)
        bias[i] =
            (struct seq_bias){g->logit_bias.at[i].key, (float)g->logit_bias.at[i].value};
    for (size_t i = 0; i < g->stop.n; i++)
        stops[i] = (struct seq_stop){g->stop.at[i].at, g->stop.at[i].n};
    bool told = g->n_top >= 0;
    return (struct seq_generate_options){
        .sampling = {.temperature = g->temperature,
                     .top_k = (size_t)g->top_k,
                     /* a share of 0 is what the most probable token alone exceeds */
                     .top_p = g->top_p > 0 ? g->top_p : DBL_MIN,
                     .min_p = g->min_p,
                     .repetition_penalty = g->repetition_penalty,
                     .presence_penalty = g->presence_penalty,
                     .frequency_penalty = g->frequency_penalty,
                     .n_bias = g->logit_bias.n,
                     .bias = bias},
        .max_tokens = (size_t)g->max_tokens,
        .n_stops = g->stop.n,
        .stops = stops,
        .logprobs = told || g->n_each > (size_t)g->n,
        .prompt_logprobs = told && g->prompt_logprobs,
        .n_top = told ? (size_t)g->n_top : 0,
        .ignore_end = g->ignore_end,
    };
}

static enum err_code begin_all(struct generation_job *g, struct err *err)
{
    struct seq_stop stops[SEQ_STOPS_MAX];
    struct seq_bias *bias = mem_alloc(g->logit_bias.n + 1, sizeof *bias);
    if (!bias)
        return err_set(err, ERR_NOMEM, "out of memory for logit_bias");
    struct seq_generate_options opt = options_of(g, bias, stops);
    enum err_code code = ERR_OK;
    for (size_t i = 0; i < g->n_texts && code == ERR_OK; i++) {
        const struct generation_prompt *p = &g->prompts[i / g->n_each];
        struct seq_generation *made;
        opt.sampling.seed = derive_seed(g->seed, i % g->n_each);
        code = seq_generation_new(g->job.model->seq, p->ids, p->n_ids, &opt, &made, err);
        if (code == ERR_OK)
            g->texts[i] =
                (struct generation_text){.prompt = p, .generation = made, .index = i};
        else
            code = blame(g, i / g->n_each, err);
    }
    mem_free(bias);
    return code;
}

static void begin(struct generation_job *g)
{
    struct err e = {0};
    uint64_t start = clock_us();
    enum err_code code = ERR_OK;
    g->begun = true;
    for (size_t i = 0; i < g->n_prompts && code == ERR_OK; i++) {
        code = read_prompt(g, i, &e);
        if (code != ERR_OK)
            code = blame(g, i, &e);
    }
    g->job.n_texts = g->n_prompts;
    g->job.tokenize_us = clock_us() - start;
    if (code == ERR_OK)
        code = begin_all(g, &e);
    if (code != ERR_OK)
        g->job.err = e;
}

/* ---- steps ----------------------------------------------------------------------- */

/* What is computed at once, and whose it is. */
struct step {
    struct seq_generation *all[STEP_MOST];
    struct generation_job *owner[STEP_MOST];
    size_t n, cost;
};

/* Where a walk over all continuations of all jobs is. */
struct walk {
    struct job **jobs;
    size_t n, job, i;
};

/* Whether continuation i takes part in the next step: others of a prompt wait until the
 * first one has read it, and find it in the model's cache then. */
static bool is_next(const struct generation_job *g, size_t i)
{
    const struct seq_generated *own = &g->texts[i].view;
    const struct seq_generated *first = &g->texts[i - i % g->n_each].view;
    return own->finish == SEQ_FINISH_NOT &&
           (own == first || first->n_tokens > 0 || first->finish != SEQ_FINISH_NOT);
}

/* Fills the step with what comes next in the walk; false if nothing is left. */
static bool gather(struct walk *at, size_t most_cost, struct step *step)
{
    step->n = step->cost = 0;
    for (; at->job < at->n; at->job++, at->i = 0) {
        struct generation_job *g = of_job(at->jobs[at->job]);
        for (; at->i < g->n_texts && g->job.err.code == ERR_OK; at->i++) {
            if (!is_next(g, at->i))
                continue;
            size_t cost = seq_generation_cost(g->texts[at->i].generation);
            if (step->n == STEP_MOST || (step->n && step->cost + cost > most_cost))
                return true;
            step->all[step->n] = g->texts[at->i].generation;
            step->owner[step->n++] = g;
            step->cost += cost;
        }
    }
    return step->n > 0;
}

static void compute(const struct step *step, struct seq_worker *w)
{
    struct err e = {0};
    uint64_t start = clock_us();
    enum err_code code =
        seq_generate(step->owner[0]->job.model->seq, w, step->n, step->all, &e);
    uint64_t took = clock_us() - start;
    for (size_t i = 0; i < step->n; i++) {
        struct job *job = &step->owner[i]->job;
        if (code != ERR_OK)
            job->err = e;
        if (i == 0 || step->owner[i] != step->owner[i - 1])
            job->compute_us += took;
    }
}

/* ---- after a step ------------------------------------------------------------------ */

struct generation_usage generation_usage(const struct generation_job *g)
{
    struct generation_usage u = {0};
    for (size_t i = 0; i < g->n_texts; i++) {
        const struct seq_generated *v = &g->texts[i].view;
        u.generated += v->n_tokens;
        if (i % g->n_each == 0) {
            u.prompt += v->n_prompt;
            u.cached += v->n_reused;
        }
    }
    return u;
}

static double mean_logprob(const struct generation_text *c)
{
    double sum = 0;
    for (size_t i = 0; i < c->view.n_tokens; i++)
        sum += (double)c->view.tokens[i].chosen.logprob;
    return c->view.n_tokens ? sum / (double)c->view.n_tokens : -INFINITY;
}

/* Moves the best n of a prompt's continuations to its front, in their order of rank. */
static void rank(struct generation_text *each, size_t n_each, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t best = i;
        for (size_t k = i + 1; k < n_each; k++)
            if (mean_logprob(&each[k]) > mean_logprob(&each[best]))
                best = k;
        struct generation_text moved = each[best];
        memmove(&each[i + 1], &each[i], (best - i) * sizeof *each);
        each[i] = moved;
    }
}

/* Everything is there. */
static void write_reply(struct generation_job *g)
{
    struct json_writer w = {0};
    for (size_t p = 0; p < g->n_prompts && g->n_each > (size_t)g->n; p++)
        rank(&g->texts[p * g->n_each], g->n_each, (size_t)g->n);
    g->form->write(g, &w);
    buf_put(&w.buf, "\n", 1);
    reply_take_json(&g->job.reply, &w);
}

static void put_end(const struct generation_job *g, struct buf *to)
{
    if (g->form->end)
        buf_puts(to, g->form->end);
}

static void put_events(struct generation_job *g, bool complete)
{
    struct buf *to = &g->job.reply.body;
    for (size_t i = 0; i < g->n_texts; i++)
        g->form->put_new(g, &g->texts[i], to);
    if (complete) {
        if (g->form->put_last)
            g->form->put_last(g, to);
        put_end(g, to);
    } else if (to->n && !to->failed && g->job.progress) {
        g->job.progress(g->job.arg, &g->job);
    }
}

/* Tells what is new, and whether there is more to do. */
static void settle(struct generation_job *g)
{
    bool complete = true;
    size_t generated = 0, cost = 0;
    for (size_t i = 0; i < g->n_texts; i++) {
        seq_generation_view(g->texts[i].generation, &g->texts[i].view);
        complete &= g->texts[i].view.finish != SEQ_FINISH_NOT;
        generated += g->texts[i].view.n_tokens;
    }
    g->job.n_generated = generated;
    if (g->stream)
        put_events(g, complete);
    else if (complete)
        write_reply(g);
    if (g->job.reply.body.failed)
        err_set(&g->job.err, ERR_NOMEM, "out of memory for the reply");
    for (size_t i = 0; i < g->n_texts; i++)
        cost += is_next(g, i) ? seq_generation_cost(g->texts[i].generation) : 0;
    g->job.cost = cost;
    g->job.rows = 0; /* as many */
    g->job.again = !complete && !g->job.paused;
}

static void run(struct job **jobs, size_t n, struct seq_worker *w)
{
    size_t most = (size_t)of_job(jobs[0])->server->options->batch_tokens;
    struct walk at = {.jobs = jobs, .n = n};
    struct step step;
    for (size_t i = 0; i < n; i++)
        if (!of_job(jobs[i])->begun)
            begin(of_job(jobs[i]));
    while (gather(&at, most, &step))
        compute(&step, w);
    for (size_t i = 0; i < n; i++)
        if (jobs[i]->err.code == ERR_OK)
            settle(of_job(jobs[i]));
}

/* An error in place of what was to come, and the end. */
static void put_error(struct job *job, struct buf *to, const struct buf *error)
{
    size_t n = error->n;
    while (n && error->at[n - 1] == '\n')
        n--;
    buf_puts(to, "data: ");
    buf_put(to, error->at, n);
    buf_puts(to, "\n\n");
    put_end(of_job(job), to);
}

static const struct job_kind KIND = {
    .name = "generation", .run = run, .free = free_job, .put_error = put_error};

/* ---- the request, on an HTTP thread ------------------------------------------------ */

static enum err_code check_stops(const struct generation_job *g, struct err *err)
{
    for (size_t i = 0; i < g->stop.n; i++)
        if (g->stop.at[i].n == 0 || g->stop.at[i].n > SEQ_STOP_BYTES)
            return err_param(err, ERR_INPUT, "stop",
                             "stop text %zu has %zu bytes, it must have 1 to %d", i,
                             g->stop.at[i].n, SEQ_STOP_BYTES);
    return ERR_OK;
}

static enum err_code check_choices(const struct generation_job *g, struct err *err)
{
    size_t most = (size_t)g->server->options->max_texts;
    if (g->best_of && g->best_of < g->n)
        return err_param(err, ERR_INPUT, "best_of",
                         "\"best_of\" is %lld, less than \"n\", %lld",
                         (long long)g->best_of, (long long)g->n);
    if (g->stream && g->best_of > g->n)
        return err_param(err, ERR_INPUT, "best_of",
                         "with \"stream\" all that is generated is answered: \"best_of\" "
                         "can't be more than \"n\"");
    if (g->n_texts > most)
        return err_param(err, ERR_LIMIT, g->n_prompts > most ? "prompt" : "n",
                         "%zu texts to generate in one request, at most %zu go "
                         "(--max-texts)",
                         g->n_texts, most);
    return ERR_OK;
}

static enum err_code choose_model(struct generation_job *g, struct err *err)
{
    enum err_code code = ERR_OK;
    if (!g->job.model)
        code = models_choose(g->server->models, g->model.at, g->model.n, SEQ_NEXT_WORD,
                             &g->job.model, err);
    else if (!(g->job.model->info->tasks & SEQ_NEXT_WORD))
        code = err_param(err, ERR_TASK, "model", "%s does not generate text",
                         g->job.model->name);
    if (code == ERR_OK && g->job.model->info->mask_token)
        return err_param(err, ERR_TASK, "model",
                         "%s tells what stands in a mask's place, not what follows",
                         g->job.model->name);
    return code;
}

/* How many tokens may be read and generated, by the bytes of texts. */
static void estimate(struct generation_job *g, size_t *n_read, size_t *n_all)
{
    size_t context = g->job.model->info->context, more = (size_t)g->max_tokens;
    if (context && more > context)
        more = context;
    *n_read = *n_all = 0;
    for (size_t i = 0; i < g->n_prompts; i++) {
        const struct json_prompt *p = &g->asked[i];
        size_t own = p->text.at ? p->text.n / BYTES_PER_TOKEN + 1 : p->n_ids;
        *n_read += own;
        *n_all += g->n_each * (own + more);
    }
}

/* Texts keep memory for as long as they grow: there is room for so many tokens of all
 * requests together. False, and the reply says so, if it is taken. */
static enum err_code reserve(struct generation_job *g, bool *full, struct err *err)
{
    size_t n_read, n_all, most = (size_t)g->server->options->generate_tokens;
    estimate(g, &n_read, &n_all);
    g->job.cost = n_read;
    g->job.rows = g->job.model->info->text_rows ? g->n_prompts : 0;
    *full = false;
    if (n_all > most)
        return err_param(err, ERR_LIMIT, "max_tokens",
                         "up to %zu tokens to read and generate in one request, at most "
                         "%zu go (--generate-tokens)",
                         n_all, most);
    *full = atomic_fetch_add(&g->server->generating, n_all) + n_all > most;
    g->reserved = n_all;
    return ERR_OK;
}

static enum err_code make_lists(struct generation_job *g, struct err *err)
{
    g->prompts = mem_zero(g->n_prompts, sizeof *g->prompts);
    g->memory = mem_zero(g->n_prompts, sizeof *g->memory);
    g->texts = mem_zero(g->n_texts, sizeof *g->texts);
    if (!g->prompts || !g->memory || !g->texts)
        return err_set(err, ERR_NOMEM, "out of memory for %zu texts", g->n_texts);
    return ERR_OK;
}

static void make_stream(struct reply *r)
{
    r->content_type = "text/event-stream";
    reply_header(r, "Cache-Control", "no-cache");
    reply_header(r, "X-Accel-Buffering", "no"); /* proxies pass it on at once */
}

/* Small enough for every client's idea of an integer. */
static int64_t draw_seed(void)
{
    uint32_t seed;
    if (getrandom(&seed, sizeof seed, 0) != sizeof seed)
        seed = (uint32_t)clock_us();
    return (int64_t)seed;
}

void *generation_new(size_t bytes, struct server *s, const struct generation_form *form)
{
    struct generation_job *g = mem_zero(1, bytes);
    if (!g)
        return NULL;
    g->job.kind = &KIND;
    g->server = s;
    g->form = form;
    g->n = 1;
    g->max_tokens = DEFAULT_TOKENS;
    g->temperature = g->top_p = g->repetition_penalty = 1;
    g->n_top = -1;
    g->seed = draw_seed();
    return g;
}

static enum err_code prepare(struct generation_job *g, bool *full, struct err *err)
{
    g->n_each = (size_t)(g->best_of ? g->best_of : g->n);
    g->n_texts = g->n_prompts * g->n_each;
    enum err_code code = check_stops(g, err);
    if (code == ERR_OK)
        code = check_choices(g, err);
    if (code == ERR_OK)
        code = choose_model(g, err);
    if (code == ERR_OK)
        code = reserve(g, full, err);
    if (code == ERR_OK)
        code = make_lists(g, err);
    return code;
}

enum err_code generation_start(struct generation_job *take_g, struct answer *out,
                               struct err *err)
{
    struct generation_job *g = take_g;
    bool full = false;
    enum err_code code = prepare(g, &full, err);
    if (code == ERR_OK && !full) {
        if (g->stream)
            make_stream(&g->job.reply);
        out->job = &g->job;
        return ERR_OK;
    }
    if (full) {
        reply_problem(&out->reply, out->dialect, PROBLEM_QUEUE_FULL, NULL,
                      "too many texts are being continued (--generate-tokens)");
        metrics_reject(g->server->metrics, METRICS_REJECT_QUEUE_FULL);
        code = ERR_OK;
    }
    generation_free(g);
    return code;
}

/* ---- events ---------------------------------------------------------------------- */

struct json_writer generation_open_event(const struct buf *to)
{
    struct json_writer w = {.buf = *to};
    buf_puts(&w.buf, "data: ");
    return w;
}

void generation_close_event(struct json_writer *w, struct buf *to)
{
    buf_puts(&w->buf, "\n\n");
    *to = w->buf;
}
