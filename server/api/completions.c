#include "server/api/completions.h"

#include <stdio.h>

#include "server/api/completion_reply.h"
#include "server/api/examples.h"
#include "server/api/generation_job.h"
#include "server/clock.h"
#include "server/server.h"

enum {
    BIASES = 1024, /* entries of logit_bias */
    ID_BYTES = 80,
    FINGERPRINT_BYTES = 64
};

static const double PENALTY = 2, BIAS = 100, SEED = 9223372036854775807.0;

struct completion_request {
    struct generation_job g; /* first */

    struct json_text suffix, user;
    struct json_prompts prompt;
    bool echo, include_usage;

    char id[ID_BYTES], fingerprint[FINGERPRINT_BYTES];
    struct completion_format format;
};

#define AT(member) offsetof(struct completion_request, member)

static const struct json_field STREAM_OPTIONS[] = {
    {.name = "include_usage",
     .type = JSON_FIELD_BOOL,
     .offset = AT(include_usage),
     .help = "One more event, before the end, tells the usage"},
};

static const struct json_field FIELDS[] = {
    {.name = "model",
     .type = JSON_FIELD_TEXT,
     .offset = AT(g.model),
     .help = "Name of a loaded model; left out: the default of next-word"},
    {.name = "max_tokens",
     .type = JSON_FIELD_INT,
     .offset = AT(g.max_tokens),
     .min = 0,
     .max = INT32_MAX,
     .help = "Most tokens to generate, default 16; fewer if the model reads no more"},
    {.name = "n",
     .type = JSON_FIELD_INT,
     .offset = AT(g.n),
     .min = 1,
     .max = 128,
     .help = "Choices per prompt, default 1; number i of them draws from a seed made of "
             "seed and i"},
    {.name = "best_of",
     .type = JSON_FIELD_INT,
     .offset = AT(g.best_of),
     .min = 0,
     .max = 128,
     .help = "Texts generated per prompt, of which the n with the highest mean log "
             "probability of a token are answered; default n; not with stream"},
    {.name = "temperature",
     .type = JSON_FIELD_NUMBER,
     .offset = AT(g.temperature),
     .min = 0,
     .max = 2,
     .help = "Logits are divided by it, default 1; 0: always the most probable token"},
    {.name = "top_p",
     .type = JSON_FIELD_NUMBER,
     .offset = AT(g.top_p),
     .min = 0,
     .max = 1,
     .help = "Only the fewest tokens that have this share together, default 1"},
    {.name = "top_k",
     .type = JSON_FIELD_INT,
     .offset = AT(g.top_k),
     .min = 0,
     .max = INT32_MAX,
     .help = "Only so many of the most probable tokens; 0, the default: all. Not "
             "OpenAI's"},
    {.name = "min_p",
     .type = JSON_FIELD_NUMBER,
     .offset = AT(g.min_p),
     .min = 0,
     .max = 1,
     .help = "Only tokens with this share of the most probable one's probability; 0, "
             "the default: all. Not OpenAI's"},
    {.name = "repetition_penalty",
     .type = JSON_FIELD_NUMBER,
     .offset = AT(g.repetition_penalty),
     .min = 0.01,
     .max = 100,
     .help = "Logits of tokens that came before, above 0, are divided by it, others "
             "multiplied; 1, the default: none. Not OpenAI's"},
    {.name = "presence_penalty",
     .type = JSON_FIELD_NUMBER,
     .offset = AT(g.presence_penalty),
     .min = -PENALTY,
     .max = PENALTY,
     .help = "Taken off the logits of tokens generated before, default 0"},
    {.name = "frequency_penalty",
     .type = JSON_FIELD_NUMBER,
     .offset = AT(g.frequency_penalty),
     .min = -PENALTY,
     .max = PENALTY,
     .help = "The same once for each time, default 0"},
    {.name = "logit_bias",
     .type = JSON_FIELD_NUMBER_MAP,
     .offset = AT(g.logit_bias),
     .min = -BIAS,
     .max = BIAS,
     .most = BIASES,
     .help = "Added to the logits of these token ids"},
    {.name = "stop",
     .type = JSON_FIELD_TEXT_OR_TEXTS,
     .offset = AT(g.stop),
     .max = SEQ_STOPS_MAX,
     .help = "Texts that end a choice and are left out of it, 256 bytes each at most"},
    {.name = "logprobs",
     .type = JSON_FIELD_INT,
     .offset = AT(g.n_top),
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
     .offset = AT(g.seed),
     .min = -SEED,
     .max = SEED,
     .help = "The same seed gives the same choices, whatever the load; left out: one is "
             "drawn, and told in the reply"},
    {.name = "stream",
     .type = JSON_FIELD_BOOL,
     .offset = AT(g.stream),
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

static struct completion_request *of_job(struct generation_job *g)
{
    return (struct completion_request *)g; /* its first member */
}

static void write(struct generation_job *g, struct json_writer *w)
{
    completion_write(w, &of_job(g)->format, g);
}

static void put_new(struct generation_job *g, struct generation_text *t, struct buf *to)
{
    completion_put_events(to, &of_job(g)->format, t);
}

static void put_last(struct generation_job *g, struct buf *to)
{
    if (of_job(g)->include_usage)
        completion_put_usage(to, &of_job(g)->format, g);
}

static const struct generation_form FORM = {.fields = FIELDS,
                                            .n_fields = N_FIELDS,
                                            .write = write,
                                            .put_new = put_new,
                                            .put_last = put_last,
                                            .end = "data: [DONE]\n\n"};

static enum err_code check(const struct completion_request *j, struct err *err)
{
    if (j->suffix.n)
        return err_param(err, ERR_INPUT, "suffix",
                         "no model here fills gaps: \"suffix\" must be empty");
    if (j->include_usage && !j->g.stream)
        return err_param(err, ERR_INPUT, "stream_options",
                         "\"stream_options\" needs \"stream\":true");
    return ERR_OK;
}

static void make_format(struct completion_request *j, const struct request *q)
{
    const struct model *m = j->g.job.model;
    snprintf(j->id, sizeof j->id, "cmpl-%s", q->id);
    snprintf(j->fingerprint, sizeof j->fingerprint, "seqd-%s-%s-%s", SEQD_VERSION,
             m->info->kernels, m->info->precision);
    j->format = (struct completion_format){.model = m->seq,
                                           .id = j->id,
                                           .model_name = m->name,
                                           .fingerprint = j->fingerprint,
                                           .created = clock_unix_s(),
                                           .seed = j->g.seed,
                                           .n_top = j->g.n_top,
                                           .echo = j->echo,
                                           .usage = j->include_usage};
}

enum err_code completions_handle(struct server *s, const struct request *q,
                                 struct answer *out, struct err *err)
{
    struct completion_request *j = generation_new(sizeof *j, s, &FORM);
    if (!j)
        return err_set(err, ERR_NOMEM, "out of memory for the request");
    enum err_code code = json_read(q->body, q->body_n, FIELDS, N_FIELDS, j, err);
    if (code == ERR_OK)
        code = check(j, err);
    if (code != ERR_OK) {
        generation_free(&j->g);
        return code;
    }
    j->g.asked = j->prompt.at;
    j->g.n_prompts = j->prompt.n;
    j->g.list = j->prompt.list;
    j->g.prompt_logprobs = j->echo;
    code = generation_start(&j->g, out, err);
    if (out->job)
        make_format(j, q);
    return code;
}
