#include "server/api/completions.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "server/api/completion_reply.h"
#include "server/api/examples.h"
#include "server/clock.h"
#include "server/errors.h"
#include "server/job.h"
#include "server/json_read.h"
#include "server/server.h"

enum {
    DEFAULT_TOKENS = 16,
    BIASES = 1024,       /* entries of logit_bias */
    STEP_MOST = 256,     /* continuations computed at once */
    BYTES_PER_TOKEN = 3, /* a token is seldom shorter; only batches are sized by it */
    ID_BYTES = 80,
    FINGERPRINT_BYTES = 64
};

static const double PENALTY = 2, BIAS = 100, SEED = 9223372036854775807.0;

/* What the request doesn't hold of a prompt: tokens of a text, the text of ids. */
struct prompt_memory {
    struct seq_tokens tokens;
    int32_t *ids;
    struct buf text;
};

struct completion_job {
    struct job job; /* first */
    struct server *server;

    /* fields of the request */
    struct json_text model, suffix, user;
    struct json_prompts prompt;
    int64_t max_tokens, n, best_of, logprobs, seed, top_k;
    double temperature, top_p, min_p, repetition_penalty;
    double presence_penalty, frequency_penalty;
    struct json_texts stop;
    struct json_number_map logit_bias;
    bool echo, stream, include_usage;

    char id[ID_BYTES], fingerprint[FINGERPRINT_BYTES];
    struct completion_format format;
    size_t reserved; /* tokens, of --generate-tokens */

    bool begun;
    size_t n_prompts, n_each, n_all;   /* n_each continuations of every prompt */
    struct completion_prompt *prompts; /* [n_prompts] */
    struct prompt_memory *memory;      /* [n_prompts] what they point at */
    struct completion *all;            /* [n_all] those of the first prompt first */
};

#define AT(member) offsetof(struct completion_job, member)

static const struct json_field STREAM_OPTIONS[] = {
    {.name = "include_usage",
     .type = JSON_FIELD_BOOL,
     .offset = AT(include_usage),
     .help = "One more event, before the end, tells the usage"},
};

static const struct json_field FIELDS[] = {
    {.name = "model",
     .type = JSON_FIELD_TEXT,
     .offset = AT(model),
     .help = "Name of a loaded model; left out: the default of next-word"},
    {.name = "max_tokens",
     .type = JSON_FIELD_INT,
     .offset = AT(max_tokens),
     .min = 0,
     .max = INT32_MAX,
     .help = "Most tokens to generate, default 16; fewer if the model reads no more"},
    {.name = "n",
     .type = JSON_FIELD_INT,
     .offset = AT(n),
     .min = 1,
     .max = 128,
     .help = "Choices per prompt, default 1; number i of them draws from a seed made of "
             "seed and i"},
    {.name = "best_of",
     .type = JSON_FIELD_INT,
     .offset = AT(best_of),
     .min = 0,
     .max = 128,
     .help = "Texts generated per prompt, of which the n with the highest mean log "
             "probability of a token are answered; default n; not with stream"},
    {.name = "temperature",
     .type = JSON_FIELD_NUMBER,
     .offset = AT(temperature),
     .min = 0,
     .max = 2,
     .help = "Logits are divided by it, default 1; 0: always the most probable token"},
    {.name = "top_p",
     .type = JSON_FIELD_NUMBER,
     .offset = AT(top_p),
     .min = 0,
     .max = 1,
     .help = "Only the fewest tokens that have this share together, default 1"},
    {.name = "top_k",
     .type = JSON_FIELD_INT,
     .offset = AT(top_k),
     .min = 0,
     .max = INT32_MAX,
     .help = "Only so many of the most probable tokens; 0, the default: all. Not "
             "OpenAI's"},
    {.name = "min_p",
     .type = JSON_FIELD_NUMBER,
     .offset = AT(min_p),
     .min = 0,
     .max = 1,
     .help = "Only tokens with this share of the most probable one's probability; 0, "
             "the default: all. Not OpenAI's"},
    {.name = "repetition_penalty",
     .type = JSON_FIELD_NUMBER,
     .offset = AT(repetition_penalty),
     .min = 0.01,
     .max = 100,
     .help = "Logits of tokens that came before, above 0, are divided by it, others "
             "multiplied; 1, the default: none. Not OpenAI's"},
    {.name = "presence_penalty",
     .type = JSON_FIELD_NUMBER,
     .offset = AT(presence_penalty),
     .min = -PENALTY,
     .max = PENALTY,
     .help = "Taken off the logits of tokens generated before, default 0"},
    {.name = "frequency_penalty",
     .type = JSON_FIELD_NUMBER,
     .offset = AT(frequency_penalty),
     .min = -PENALTY,
     .max = PENALTY,
     .help = "The same once for each time, default 0"},
    {.name = "logit_bias",
     .type = JSON_FIELD_NUMBER_MAP,
     .offset = AT(logit_bias),
     .min = -BIAS,
     .max = BIAS,
     .most = BIASES,
     .help = "Added to the logits of these token ids"},
    {.name = "stop",
     .type = JSON_FIELD_TEXT_OR_TEXTS,
     .offset = AT(stop),
     .max = SEQ_STOPS_MAX,
     .help = "Texts that end a choice and are left out of it, 256 bytes each at most"},
    {.name = "logprobs",
     .type = JSON_FIELD_INT,
     .offset = AT(logprobs),
     .min = 0,
     .max = 5,
     .help = "Log probabilities of the tokens, and of so many most probable ones in "
             "their place"},
    {.name = "echo",
     .type = JSON_FIELD_BOOL,
     .offset = AT(echo),
     .help = "Puts the prompt before the text, its tokens before the others"},
    {.name = "seed",
     .type = JSON_FIELD_INT,
     .offset = AT(seed),
     .min = -SEED,
     .max = SEED,
     .help = "The same seed gives the same choices, whatever the load; left out: one is "
             "drawn, and told in the reply"},
    {.name = "stream",
     .type = JSON_FIELD_BOOL,
     .offset = AT(stream),
     .help = "The reply comes as server-sent events, text as soon as it is there"},
    {.name = "stream_options",
     .type = JSON_FIELD_OBJECT,
     .members = STREAM_OPTIONS,
     .n_members = sizeof STREAM_OPTIONS / sizeof *STREAM_OPTIONS,
     .help = "Only with stream"},
    {.name = "suffix",
     .type = JSON_FIELD_TEXT,
     .offset = AT(suffix),
     .help =
         "Text behind the gap to fill; no model here does that: refused unless empty"},
    {.name = "user", .type = JSON_FIELD_TEXT, .offset = AT(user), .help = "Ignored"},
    {.name = "prompt",
     .type = JSON_FIELD_PROMPTS,
     .offset = AT(prompt),
     .required = true,
     .min = 1,
     .help = "What is to be continued: a text, token ids, or a list of one of both"},
};
#undef AT
enum { N_FIELDS = sizeof FIELDS / sizeof *FIELDS };

const struct route_doc completions_doc = {
    .name = "completions",
    .fields = FIELDS,
    .n_fields = N_FIELDS,
    .reply = COMPLETION_REPLY,
    .event = COMPLETION_EVENT,
    .event_end = "[DONE]",
    .example = "{\"prompt\":\"I would like to\",\"max_tokens\":8,\"temperature\":0,"
               "\"stop\":\".\",\"seed\":1,\"logprobs\":1}",
    .answer = examples_completions,
    .more = "OpenAI's legacy completions, with its clients. The same request with a seed "
            "gives the same choices, alone or under load; id, created and "
            "cached_tokens may differ. logit_bias is added first, then penalties are "
            "taken off, then logits are divided by the temperature; top_k, top_p and "
            "min_p each leave some tokens, of which one is drawn. With stream an error "
            "behind the first event is an event of the error's shape.",
};

static struct completion_job *of_job(struct job *job)
{
    return (struct completion_job *)job; /* its first member */
}

/* ---- the end --------------------------------------------------------------------- */

/* Frees what is in it, not the struct itself. */
static void done(struct completion_job *j)
{
    for (size_t i = 0; j->all && i < j->n_all; i++)
        completion_done(&j->all[i]);
    for (size_t i = 0; j->memory && i < j->n_prompts; i++) {
        seq_tokens_done(&j->memory[i].tokens);
        mem_free(j->memory[i].ids);
        buf_done(&j->memory[i].text);
    }
    mem_free(j->all);
    mem_free(j->memory);
    mem_free(j->prompts);
    json_read_done(FIELDS, N_FIELDS, j);
    reply_done(&j->job.reply);
    atomic_fetch_sub(&j->server->generating, j->reserved);
}

static void free_job(struct job *job)
{
    done(of_job(job));
    mem_free(job);
}

/* ---- prompts --------------------------------------------------------------------- */

/* An error of prompt i gets the name that the field has in the request. */
static enum err_code blame(const struct completion_job *j, size_t i, struct err *err)
{
    if (j->prompt.list && strcmp(err->param, "prompt") == 0)
        snprintf(err->param, sizeof err->param, "prompt[%zu]", i);
    else if (strcmp(err->param, "bias") == 0)
        snprintf(err->param, sizeof err->param, "logit_bias");
    return err->code;
}

static enum err_code read_text(struct completion_job *j, size_t i, struct err *err)
{
    const struct json_text *text = &j->prompt.at[i].text;
    struct seq_tokens *tokens = &j->memory[i].tokens;
    enum err_code code = seq_tokenize(j->job.model->seq, SEQ_NEXT_TOKEN, text->at,
                                      text->n, SEQ_WHOLE, tokens, err);
    if (code != ERR_OK) {
        snprintf(err->param, sizeof err->param, "prompt");
        return code;
    }
    int32_t *ids = j->memory[i].ids = mem_alloc(tokens->n, sizeof *ids);
    if (!ids)
        return err_set(err, ERR_NOMEM, "out of memory for the prompt");
    for (size_t t = 0; t < tokens->n; t++)
        ids[t] = tokens->at[t].id;
    j->prompts[i] =
        (struct completion_prompt){text->at, text->n, ids, tokens->at, tokens->n};
    return ERR_OK;
}

static enum err_code read_ids(struct completion_job *j, size_t i, struct err *err)
{
    const struct json_prompt *given = &j->prompt.at[i];
    struct buf *text = &j->memory[i].text;
    for (size_t t = 0; t < given->n_ids; t++) {
        size_t n;
        if ((size_t)given->ids[t] >= j->job.model->info->vocab)
            return err_param(err, ERR_INPUT, "prompt",
                             "token id %d is outside the vocabulary of %zu",
                             given->ids[t], j->job.model->info->vocab);
        const char *bytes = seq_piece_bytes(j->job.model->seq, given->ids[t], &n);
        buf_put(text, bytes, n);
    }
    j->prompts[i] = (struct completion_prompt){
        .text = text->at, .n_text = text->n, .ids = given->ids, .n_ids = given->n_ids};
    return text->failed ? err_set(err, ERR_NOMEM, "out of memory for the prompt")
                        : ERR_OK;
}

static enum err_code read_prompt(struct completion_job *j, size_t i, struct err *err)
{
    enum err_code code =
        j->prompt.at[i].text.at ? read_text(j, i, err) : read_ids(j, i, err);
    j->job.n_tokens += j->prompts[i].n_ids;
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
static struct seq_generate_options options_of(const struct completion_job *j,
                                              struct seq_bias *bias,
                                              struct seq_stop *stops)
{
    for (size_t i = 0; i < j->logit_bias.n; i++)
        bias[i] =
            (struct seq_bias){j->logit_bias.at[i].key, (float)j->logit_bias.at[i].value};
    for (size_t i = 0; i < j->stop.n; i++)
        stops[i] = (struct seq_stop){j->stop.at[i].at, j->stop.at[i].n};
    bool told = j->logprobs >= 0;
    return (struct seq_generate_options){
        .sampling = {.temperature = j->temperature,
                     .top_k = (size_t)j->top_k,
                     /* a share of 0 is what the most probable token alone exceeds */
                     .top_p = j->top_p > 0 ? j->top_p : DBL_MIN,
                     .min_p = j->min_p,
                     .repetition_penalty = j->repetition_penalty,
                     .presence_penalty = j->presence_penalty,
                     .frequency_penalty = j->frequency_penalty,
                     .n_bias = j->logit_bias.n,
                     .bias = bias},
        .max_tokens = (size_t)j->max_tokens,
        .n_stops = j->stop.n,
        .stops = stops,
        .logprobs = told || j->n_each > (size_t)j->n,
        .prompt_logprobs = told && j->echo,
        .n_top = told ? (size_t)j->logprobs : 0,
    };
}

static enum err_code begin_all(struct completion_job *j, struct err *err)
{
    struct seq_stop stops[SEQ_STOPS_MAX];
    struct seq_bias *bias = mem_alloc(j->logit_bias.n + 1, sizeof *bias);
    if (!bias)
        return err_set(err, ERR_NOMEM, "out of memory for logit_bias");
    struct seq_generate_options opt = options_of(j, bias, stops);
    enum err_code code = ERR_OK;
    for (size_t i = 0; i < j->n_all && code == ERR_OK; i++) {
        const struct completion_prompt *p = &j->prompts[i / j->n_each];
        struct seq_generation *g;
        opt.sampling.seed = derive_seed(j->seed, i % j->n_each);
        code = seq_generation_new(j->job.model->seq, p->ids, p->n_ids, &opt, &g, err);
        if (code == ERR_OK)
            completion_begin(&j->all[i], p, g);
        else
            code = blame(j, i / j->n_each, err);
    }
    mem_free(bias);
    return code;
}

static void begin(struct completion_job *j)
{
    struct err e = {0};
    uint64_t start = clock_us();
    enum err_code code = ERR_OK;
    j->begun = true;
    for (size_t i = 0; i < j->n_prompts && code == ERR_OK; i++) {
        code = read_prompt(j, i, &e);
        if (code != ERR_OK)
            code = blame(j, i, &e);
    }
    j->job.n_texts = j->n_prompts;
    j->job.tokenize_us = clock_us() - start;
    if (code == ERR_OK)
        code = begin_all(j, &e);
    if (code != ERR_OK)
        j->job.err = e;
}

/* ---- steps ----------------------------------------------------------------------- */

/* What is computed at once, and whose it is. */
struct step {
    struct seq_generation *all[STEP_MOST];
    struct completion_job *owner[STEP_MOST];
    size_t n, cost;
};

/* Where a walk over all continuations of all jobs is. */
struct walk {
    struct job **jobs;
    size_t n, job, i;
};

/* Whether continuation i takes part in the next step: others of a prompt wait until the
 * first one has read it, and find it in the model's cache then. */
static bool is_next(const struct completion_job *j, size_t i)
{
    const struct seq_generated *own = &j->all[i].view;
    const struct seq_generated *first = &j->all[i - i % j->n_each].view;
    return own->finish == SEQ_FINISH_NOT &&
           (own == first || first->n_tokens > 0 || first->finish != SEQ_FINISH_NOT);
}

/* Fills the step with what comes next in the walk; false if nothing is left. */
static bool gather(struct walk *at, size_t most_cost, struct step *step)
{
    step->n = step->cost = 0;
    for (; at->job < at->n; at->job++, at->i = 0) {
        struct completion_job *j = of_job(at->jobs[at->job]);
        for (; at->i < j->n_all && j->job.err.code == ERR_OK; at->i++) {
            if (!is_next(j, at->i))
                continue;
            size_t cost = seq_generation_cost(j->all[at->i].generation);
            if (step->n == STEP_MOST || (step->n && step->cost + cost > most_cost))
                return true;
            step->all[step->n] = j->all[at->i].generation;
            step->owner[step->n++] = j;
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

static struct completion_usage usage_of(const struct completion_job *j)
{
    struct completion_usage u = {0};
    for (size_t i = 0; i < j->n_all; i++) {
        const struct seq_generated *v = &j->all[i].view;
        u.generated += v->n_tokens;
        if (i % j->n_each == 0) {
            u.prompt += v->n_prompt;
            u.cached += v->n_reused;
        }
    }
    return u;
}

static double mean_logprob(const struct completion *c)
{
    double sum = 0;
    for (size_t i = 0; i < c->view.n_tokens; i++)
        sum += (double)c->view.tokens[i].chosen.logprob;
    return c->view.n_tokens ? sum / (double)c->view.n_tokens : -INFINITY;
}

/* Moves the best n of a prompt's continuations to its front, in their order of rank. */
static void rank(struct completion *each, size_t n_each, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t best = i;
        for (size_t k = i + 1; k < n_each; k++)
            if (mean_logprob(&each[k]) > mean_logprob(&each[best]))
                best = k;
        struct completion moved = each[best];
        memmove(&each[i + 1], &each[i], (best - i) * sizeof *each);
        each[i] = moved;
    }
}

/* Everything is there. */
static void write_reply(struct completion_job *j)
{
    size_t n = (size_t)j->n, count = 0;
    struct completion_usage usage = usage_of(j);
    struct json_writer w = {0};
    struct completion **choices =
        mem_alloc(j->n_prompts * n, sizeof(struct completion *));
    if (!choices) {
        err_set(&j->job.err, ERR_NOMEM, "out of memory for the reply");
        return;
    }
    for (size_t p = 0; p < j->n_prompts; p++) {
        if (j->n_each > n)
            rank(&j->all[p * j->n_each], j->n_each, n);
        for (size_t i = 0; i < n; i++)
            choices[count++] = &j->all[p * j->n_each + i];
    }
    completion_write(&w, &j->format, choices, count, &usage);
    mem_free(choices);
    reply_take_json(&j->job.reply, &w);
}

static void put_events(struct completion_job *j, bool complete)
{
    struct buf *to = &j->job.reply.body;
    for (size_t i = 0; i < j->n_all; i++)
        completion_put_events(to, &j->format, &j->all[i], i);
    if (complete) {
        struct completion_usage usage = usage_of(j);
        completion_put_end(to, &j->format, &usage);
    } else if (to->n && !to->failed && j->job.progress) {
        j->job.progress(j->job.arg, &j->job);
    }
}

/* Tells what is new, and whether there is more to do. */
static void settle(struct completion_job *j)
{
    bool complete = true;
    size_t generated = 0, cost = 0;
    for (size_t i = 0; i < j->n_all; i++) {
        seq_generation_view(j->all[i].generation, &j->all[i].view);
        complete &= j->all[i].view.finish != SEQ_FINISH_NOT;
        generated += j->all[i].view.n_tokens;
    }
    j->job.n_generated = generated;
    if (j->stream)
        put_events(j, complete);
    else if (complete)
        write_reply(j);
    if (j->job.reply.body.failed)
        err_set(&j->job.err, ERR_NOMEM, "out of memory for the reply");
    for (size_t i = 0; i < j->n_all; i++)
        cost += is_next(j, i) ? seq_generation_cost(j->all[i].generation) : 0;
    j->job.cost = cost;
    j->job.rows = 0; /* as many */
    j->job.again = !complete && !j->job.paused;
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

static void put_error(struct job *job, struct buf *to, const struct buf *error)
{
    (void)job;
    completion_put_error(to, error);
}

static const struct job_kind KIND = {
    .name = "completions", .run = run, .free = free_job, .put_error = put_error};

/* ---- the request, on an HTTP thread ------------------------------------------------ */

static enum err_code check_stops(const struct completion_job *j, struct err *err)
{
    for (size_t i = 0; i < j->stop.n; i++)
        if (j->stop.at[i].n == 0 || j->stop.at[i].n > SEQ_STOP_BYTES)
            return err_param(err, ERR_INPUT, "stop",
                             "stop text %zu has %zu bytes, it must have 1 to %d", i,
                             j->stop.at[i].n, SEQ_STOP_BYTES);
    return ERR_OK;
}

static enum err_code check_choices(const struct completion_job *j, struct err *err)
{
    size_t most = (size_t)j->server->options->max_texts;
    if (j->best_of && j->best_of < j->n)
        return err_param(err, ERR_INPUT, "best_of",
                         "\"best_of\" is %lld, less than \"n\", %lld",
                         (long long)j->best_of, (long long)j->n);
    if (j->stream && j->best_of > j->n)
        return err_param(err, ERR_INPUT, "best_of",
                         "with \"stream\" all that is generated is answered: \"best_of\" "
                         "can't be more than \"n\"");
    if (j->n_all > most)
        return err_param(err, ERR_LIMIT, j->n_prompts > most ? "prompt" : "n",
                         "%zu texts to generate in one request, at most %zu go "
                         "(--max-texts)",
                         j->n_all, most);
    return ERR_OK;
}

static enum err_code check(const struct completion_job *j, struct err *err)
{
    if (j->suffix.n)
        return err_param(err, ERR_INPUT, "suffix",
                         "no model here fills gaps: \"suffix\" must be empty");
    if (j->include_usage && !j->stream)
        return err_param(err, ERR_INPUT, "stream_options",
                         "\"stream_options\" needs \"stream\":true");
    if (check_stops(j, err) != ERR_OK)
        return err->code;
    return check_choices(j, err);
}

static enum err_code choose_model(struct completion_job *j, struct err *err)
{
    enum err_code code = models_choose(j->server->models, j->model.at, j->model.n,
                                       SEQ_NEXT_WORD, &j->job.model, err);
    if (code == ERR_OK && j->job.model->info->mask_token)
        return err_param(err, ERR_TASK, "model",
                         "%s tells what stands in a mask's place, not what follows",
                         j->job.model->name);
    return code;
}

/* How many tokens may be read and generated, by the bytes of texts. */
static void estimate(struct completion_job *j, size_t *n_read, size_t *n_all)
{
    size_t context = j->job.model->info->context, more = (size_t)j->max_tokens;
    if (context && more > context)
        more = context;
    *n_read = *n_all = 0;
    for (size_t i = 0; i < j->n_prompts; i++) {
        const struct json_prompt *p = &j->prompt.at[i];
        size_t own = p->text.at ? p->text.n / BYTES_PER_TOKEN + 1 : p->n_ids;
        *n_read += own;
        *n_all += j->n_each * (own + more);
    }
}

/* Texts keep memory for as long as they grow: there is room for so many tokens of all
 * requests together. False, and the reply says so, if it is taken. */
static enum err_code reserve(struct completion_job *j, bool *full, struct err *err)
{
    size_t n_read, n_all, most = (size_t)j->server->options->generate_tokens;
    estimate(j, &n_read, &n_all);
    j->job.cost = n_read;
    j->job.rows = j->job.model->info->text_rows ? j->n_prompts : 0;
    *full = false;
    if (n_all > most)
        return err_param(err, ERR_LIMIT, "max_tokens",
                         "up to %zu tokens to read and generate in one request, at most "
                         "%zu go (--generate-tokens)",
                         n_all, most);
    *full = atomic_fetch_add(&j->server->generating, n_all) + n_all > most;
    j->reserved = n_all;
    return ERR_OK;
}

static enum err_code make_lists(struct completion_job *j, struct err *err)
{
    j->prompts = mem_zero(j->n_prompts, sizeof *j->prompts);
    j->memory = mem_zero(j->n_prompts, sizeof *j->memory);
    j->all = mem_zero(j->n_all, sizeof *j->all);
    if (!j->prompts || !j->memory || !j->all)
        return err_set(err, ERR_NOMEM, "out of memory for %zu texts", j->n_all);
    return ERR_OK;
}

static void make_format(struct completion_job *j, const struct request *q)
{
    const struct seq_info *info = j->job.model->info;
    snprintf(j->id, sizeof j->id, "cmpl-%s", q->id);
    snprintf(j->fingerprint, sizeof j->fingerprint, "seqd-%s-%s-%s", SEQD_VERSION,
             info->kernels, info->precision);
    j->format = (struct completion_format){.model = j->job.model->seq,
                                           .id = j->id,
                                           .model_name = j->job.model->name,
                                           .fingerprint = j->fingerprint,
                                           .created = clock_unix_s(),
                                           .seed = j->seed,
                                           .n_top = j->logprobs,
                                           .echo = j->echo,
                                           .usage = j->include_usage};
    if (!j->stream)
        return;
    j->job.reply.content_type = "text/event-stream";
    reply_header(&j->job.reply, "Cache-Control", "no-cache");
    reply_header(&j->job.reply, "X-Accel-Buffering",
                 "no"); /* proxies pass it on at once */
}

/* Small enough for every client's idea of an integer. */
static int64_t draw_seed(void)
{
    uint32_t seed;
    if (getrandom(&seed, sizeof seed, 0) != sizeof seed)
        seed = (uint32_t)clock_us();
    return (int64_t)seed;
}

/* The request into *j, which holds defaults. On failure nothing is left in it. */
static enum err_code read_request(struct completion_job *j, const struct request *q,
                                  bool *full, struct err *err)
{
    enum err_code code = json_read(q->body, q->body_n, FIELDS, N_FIELDS, j, err);
    if (code != ERR_OK)
        return code;
    j->n_prompts = j->prompt.n;
    j->n_each = (size_t)(j->best_of ? j->best_of : j->n);
    j->n_all = j->n_prompts * j->n_each;
    code = check(j, err);
    if (code == ERR_OK)
        code = choose_model(j, err);
    if (code == ERR_OK)
        code = reserve(j, full, err);
    if (code == ERR_OK)
        code = make_lists(j, err);
    if (code == ERR_OK)
        make_format(j, q);
    else
        done(j);
    return code;
}

enum err_code completions_handle(struct server *s, const struct request *q,
                                 struct answer *out, struct err *err)
{
    struct completion_job *j = mem_zero(1, sizeof *j);
    bool full = false;
    if (!j)
        return err_set(err, ERR_NOMEM, "out of memory for the request");
    j->server = s;
    j->job.kind = &KIND;
    j->max_tokens = DEFAULT_TOKENS;
    j->n = 1;
    j->temperature = j->top_p = j->repetition_penalty = 1;
    j->logprobs = -1;
    j->seed = draw_seed();
    enum err_code code = read_request(j, q, &full, err);
    if (code != ERR_OK) {
        mem_free(j);
        return code;
    }
    if (full) {
        free_job(&j->job);
        reply_problem(&out->reply, out->dialect, PROBLEM_QUEUE_FULL, NULL,
                      "too many texts are being continued (--generate-tokens)");
        metrics_reject(s->metrics, METRICS_REJECT_QUEUE_FULL);
        return ERR_OK;
    }
    out->job = &j->job;
    return ERR_OK;
}
