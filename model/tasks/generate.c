#include "model/tasks/beam.h"
#include "model/tasks/continuation.h"
#include "model/tasks/forecast.h"
#include "model/tasks/model.h"
#include "model/tasks/prefixes.h"
#include "model/tasks/sample.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* Tokens of a prompt that one step reads: a long one is read in parts of so many, so that
 * those beside it get their next tokens in between. */
enum { PROMPT_PART = 128 };

/* Tokens that there is room for at first. */
enum { ROOM_AT_FIRST = 1024 };

struct seq_generation {
    const struct seq_model *m;
    struct seq_state *state; /* behind the first `done` tokens */
    size_t n_prompt;
    size_t most; /* tokens to generate, as far as the context goes */
    bool ignore_end, keep_specials, logprobs;
    size_t n_top;

    bool begun; /* the prefixes were asked */
    size_t done, n_reused;
    size_t n_tokens, room;              /* generated; room for so many */
    int32_t *ids;                       /* [n_prompt + room] */
    struct seq_generated_token *token;  /* [room] */
    struct seq_logprob *top;            /* [room,n_top] or NULL */
    struct seq_generated_token *prompt; /* [n_prompt] or NULL */
    struct seq_logprob *prompt_top;     /* [n_prompt,n_top] or NULL */
    struct sampler sampler;
    struct continuation said;
    enum seq_finish finish;
};

/* ---- beginning ------------------------------------------------------------------- */

static enum err_code check(const struct seq_model *m, const int32_t *prompt, size_t n,
                           const struct seq_generate_options *opt, struct err *err)
{
    size_t V = m->info.vocab, context = m->info.context;
    size_t room = opt->max_tokens > 0 ? context - 1 : context;
    if (m->net->cfg.head != HEAD_LM || !(m->info.tasks & SEQ_STATES))
        return err_set(err, ERR_TASK, "a %s doesn't continue texts",
                       m->info.architecture);
    if (n == 0)
        return err_param(err, ERR_INPUT, "prompt", "prompt holds no token");
    if (context && n > room)
        return err_param(err, ERR_LIMIT, "prompt",
                         "prompt has %zu tokens, this model reads at most %zu", n, room);
    for (size_t i = 0; i < n; i++)
        if (prompt[i] < 0 || (size_t)prompt[i] >= V)
            return err_param(err, ERR_INPUT, "prompt",
                             "token id %d is outside the vocabulary of %zu", prompt[i],
                             V);
    if (opt->n_top > SEQ_TOP_LOGPROBS)
        return err_param(err, ERR_INPUT, "n_top", "n_top is %zu, it must be 0 to %d",
                         opt->n_top, SEQ_TOP_LOGPROBS);
    return ERR_OK;
}

/* Room for `room` generated tokens; what there is stays as it is on failure. */
static enum err_code make_room(struct seq_generation *g, size_t room, struct err *err)
{
    size_t n_ids;
    if (!mem_add(g->n_prompt, room, &n_ids))
        return err_set(err, ERR_NOMEM, "out of memory: %zu tokens", room);
    int32_t *ids = mem_resize(g->ids, n_ids, sizeof *ids);
    if (ids)
        g->ids = ids;
    struct seq_generated_token *token = mem_resize(g->token, room, sizeof *token);
    if (token)
        g->token = token;
    size_t n_top = g->logprobs ? g->n_top : 0;
    struct seq_logprob *top = NULL;
    if (n_top > 0)
        top = mem_resize(g->top, room, n_top * sizeof *top);
    if (top)
        g->top = top;
    for (size_t i = 0; i < g->n_tokens && top; i++)
        g->token[i].top = top + i * n_top;
    if (!ids || !token || (n_top > 0 && !top))
        return err_set(err, ERR_NOMEM, "out of memory: %zu tokens", room);
    g->room = room;
    return ERR_OK;
}

/* Room for what is told of the prompt's tokens. */
static enum err_code make_prompt_room(struct seq_generation *g, struct err *err)
{
    g->prompt = mem_zero(g->n_prompt, sizeof *g->prompt);
    if (g->n_top > 0)
        g->prompt_top = mem_alloc(g->n_prompt, g->n_top * sizeof *g->prompt_top);
    if (!g->prompt || (g->n_top > 0 && !g->prompt_top))
        return err_set(err, ERR_NOMEM, "out of memory: %zu tokens", g->n_prompt);
    g->prompt[0].chosen = (struct seq_logprob){.id = g->ids[0], .logprob = NAN};
    return ERR_OK;
}

/* Behind a prompt that is known to be good. */
static enum err_code begin(struct seq_generation *g, const int32_t *prompt,
                           const struct seq_generate_options *opt, struct err *err)
{
    const struct seq_model *m = g->m;
    size_t first = g->most < ROOM_AT_FIRST ? g->most : ROOM_AT_FIRST, seen;
    enum err_code code = make_room(g, first > 0 ? first : 1, err);
    if (code != ERR_OK)
        return code;
    memcpy(g->ids, prompt, g->n_prompt * sizeof *prompt);
    if (opt->prompt_logprobs)
        code = make_prompt_room(g, err);
    if (!mem_add(g->n_prompt, g->most, &seen))
        seen = SIZE_MAX;
    if (code == ERR_OK)
        code = sampler_init(&g->sampler, &opt->sampling, m->info.vocab, seen, err);
    for (size_t i = 0; i < g->n_prompt && code == ERR_OK; i++)
        sampler_saw(&g->sampler, prompt[i], false);
    if (code == ERR_OK)
        code =
            continuation_init(&g->said, m->tok, opt, prompt, g->n_prompt, g->prompt, err);
    return code == ERR_OK ? seq_state_new(m, &g->state, err) : code;
}

enum err_code seq_generation_new(const struct seq_model *m, const int32_t *prompt,
                                 size_t n_prompt, const struct seq_generate_options *opt,
                                 struct seq_generation **out, struct err *err)
{
    enum err_code code = check(m, prompt, n_prompt, opt, err);
    if (code != ERR_OK)
        return code;
    struct seq_generation *g = mem_zero(1, sizeof *g);
    if (!g)
        return err_set(err, ERR_NOMEM, "out of memory: generation");
    size_t context = m->info.context;
    g->m = m;
    g->n_prompt = n_prompt;
    g->most = opt->max_tokens;
    if (context && g->most > context - n_prompt)
        g->most = context - n_prompt;
    g->ignore_end = opt->ignore_end;
    g->keep_specials = opt->keep_specials;
    g->logprobs = opt->logprobs;
    g->n_top = opt->n_top;
    code = begin(g, prompt, opt, err);
    if (code == ERR_OK)
        *out = g;
    else
        seq_generation_free(g);
    return code;
}

void seq_generation_free(struct seq_generation *g)
{
    if (!g)
        return;
    seq_state_free(g->state);
    sampler_done(&g->sampler);
    continuation_done(&g->said);
    mem_free(g->ids);
    mem_free(g->token);
    mem_free(g->top);
    mem_free(g->prompt);
    mem_free(g->prompt_top);
    mem_free(g);
}

/* ---- one row --------------------------------------------------------------------- */

/* Position `at` of a generation: its logits tell what may follow it. */
struct row {
    struct seq_generation *g;
    size_t at;
};

struct step {
    const struct seq_model *m;
    struct exec x;
    size_t n, T, longest; /* generations; tokens that they read */
    bool every;           /* the rows of all tokens are wanted */
    struct row *rows;     /* [R] */
    size_t R;
    struct sample_kept kept; /* [V] */
    enum err_code code;      /* of the rows read so far */
    struct err *err;
};

static float log_share(double logit, double total)
{
    return logit == -INFINITY ? -INFINITY : (float)(logit - total);
}

/* Puts the log probabilities of id and of the n_top best, to `best` [n_top], into the
 * token. */
static void tell_row(const struct step *s, float *logits, int32_t id, size_t n_top,
                     struct seq_generated_token *token, struct seq_logprob *best)
{
    struct top top = {.cap = n_top};
    const struct forecast_query q = {.parts = WORD_PARTS};
    double total = forecast_read(s->m, logits, &q, n_top > 0 ? &top : NULL).total;
    if (isnan(total)) { /* of broken weights; the same with numbers throughout */
        sample_clean(s->m->info.vocab, logits);
        top.n = 0;
        total = forecast_read(s->m, logits, &q, n_top > 0 ? &top : NULL).total;
    }
    token->chosen =
        (struct seq_logprob){.id = id, .logprob = log_share(logits[id], total)};
    token->n_top = top.n;
    token->top = n_top > 0 ? best : NULL;
    for (size_t i = 0; i < top.n; i++)
        best[i] = (struct seq_logprob){.id = top.id[i],
                                       .logprob = log_share(top.logit[i], total)};
}

static bool ends_text(const struct seq_model *m, int32_t id)
{
    const struct config *cfg = &m->net->cfg;
    for (size_t i = 0; i < cfg->n_eos; i++)
        if (cfg->eos_ids[i] == id)
            return true;
    return false;
}

/* The text with one token more, and whether it ends there. */
static enum err_code say(struct seq_generation *g, int32_t id, struct err *err)
{
    struct continuation *said = &g->said;
    bool end = id < 0 || (!g->ignore_end && ends_text(g->m, id));
    enum err_code code = ERR_OK;
    if (id >= 0 && (!end || g->keep_specials))
        code = continuation_push(said, id, err);
    if (end)
        g->finish = SEQ_FINISH_END;
    else if (g->n_tokens == g->most)
        g->finish = SEQ_FINISH_LENGTH;
    if (g->finish != SEQ_FINISH_NOT && code == ERR_OK && !said->stopped)
        code = continuation_end(said, err);
    if (said->stopped)
        g->finish = SEQ_FINISH_STOP;
    return code;
}

/* A row where no token is possible, which only broken weights give, ends the text. */
static enum err_code add_token(struct step *s, struct seq_generation *g, float *logits)
{
    size_t V = s->m->info.vocab, n_top = g->logprobs ? g->n_top : 0;
    sampler_keep(&g->sampler, s->x.k, V, logits, &s->kept);
    if (s->kept.n == 0)
        return say(g, -1, s->err);
    int32_t id = sample_draw(&s->kept, g->sampler.how.seed, g->n_tokens);
    struct seq_generated_token *token = &g->token[g->n_tokens];
    *token = (struct seq_generated_token){.chosen = {.id = id, .logprob = NAN}};
    if (g->logprobs)
        tell_row(s, logits, id, n_top, token, g->top + g->n_tokens * n_top);
    g->ids[g->n_prompt + g->n_tokens++] = id;
    sampler_saw(&g->sampler, id, true);
    enum err_code code = say(g, id, s->err);
    token->text_end = g->said.n_final;
    return code;
}

static void read_row(void *arg, size_t r, float *logits)
{
    struct step *s = arg;
    const struct row *row = &s->rows[r];
    struct seq_generation *g = row->g;
    size_t next = row->at + 1;
    if (s->code != ERR_OK)
        return;
    if (next == g->n_prompt + g->n_tokens) {
        s->code = add_token(s, g, logits);
        return;
    }
    tell_row(s, logits, g->ids[next], g->n_top, &g->prompt[next],
             g->prompt_top + next * g->n_top);
}

/* ---- one step -------------------------------------------------------------------- */

/* Where a state serves one length only, the one before the prompt's last token is kept as
 * well: the same prompt again has that token left to be fed. */
static bool stops_early(const struct seq_generation *g)
{
    return g->m->prefixes && prefixes_by_length(g->m->prefixes);
}

/* What it will be behind after its next step. */
static size_t next_end(const struct seq_generation *g)
{
    size_t n = g->n_prompt + g->n_tokens;
    if (stops_early(g) && g->done + 1 < g->n_prompt)
        n = g->n_prompt - 1;
    return n - g->done > PROMPT_PART ? g->done + PROMPT_PART : n;
}

size_t seq_generation_cost(const struct seq_generation *g)
{
    return g->finish == SEQ_FINISH_NOT ? next_end(g) - g->done : 0;
}

/* Finds what is known of the prompt. Where its tokens' probabilities are wanted all of it
 * is computed. */
static enum err_code prepare(struct seq_generation *g, struct err *err)
{
    struct prefixes *p = g->m->prefixes;
    if (!g->begun && p && !g->prompt)
        g->done = g->n_reused = prefixes_find(p, g->ids, g->n_prompt, g->state->net);
    g->begun = true;
    if (g->n_tokens < g->room || g->most <= g->room)
        return ERR_OK;
    return make_room(g, g->most / 2 < g->room ? g->most : 2 * g->room, err);
}

static size_t step_bytes(const struct step *s)
{
    const struct net *n = s->m->net;
    enum net_want want = s->every ? NET_ALL : NET_ONE;
    size_t rows = s->every ? s->T : s->n;
    size_t forward = n->ops->scratch_bytes(n, s->n, s->T, s->longest, want);
    size_t output = model_logits_bytes(s->m) + sample_bytes(s->m->info.vocab);
    return batch_bytes(s->n, s->T) + arena_byte_cost(rows * sizeof(struct row)) +
           arena_float_cost(rows * n->out_width) + (forward > output ? forward : output);
}

/* Lists the rows that are wanted of those in h, which move to its front. */
static void gather(struct step *s, struct seq_generation *const *all, float *h)
{
    size_t D = s->m->net->out_width, from = 0;
    for (size_t b = 0; b < s->n; b++) {
        struct seq_generation *g = all[b];
        size_t end = next_end(g);
        for (size_t at = s->every ? g->done : end - 1; at < end; at++, from++) {
            bool known = at + 1 < g->n_prompt;
            if (known ? !g->prompt : at + 1 < g->n_prompt + g->n_tokens || g->most == 0)
                continue;
            memmove(h + s->R * D, h + from * D, D * sizeof *h);
            s->rows[s->R++] = (struct row){g, at};
        }
    }
}

static enum err_code run(struct step *s, struct seq_generation *const *all,
                         struct err *err)
{
    const struct net *n = s->m->net;
    struct arena *tmp = s->x.tmp;
    size_t rows = s->every ? s->T : s->n;
    s->rows = arena_bytes(tmp, rows * sizeof *s->rows);
    float *h = arena_floats(tmp, rows * n->out_width); /* [rows,D'] */
    if (!s->rows || !h)
        return err_set(err, ERR_BUG, "arena too small for %zu rows", rows);
    struct batch batch;
    enum err_code code = batch_init(&batch, tmp, s->n, s->T, err);
    for (size_t b = 0; b < s->n && code == ERR_OK; b++)
        batch_ids(&batch, all[b]->ids + all[b]->done, next_end(all[b]) - all[b]->done,
                  all[b]->state->net);
    if (code == ERR_OK)
        code =
            n->ops->forward(n, &batch.net, s->every ? NET_ALL : NET_ONE, h, &s->x, err);
    if (code != ERR_OK)
        return code;
    gather(s, all, h);
    for (size_t b = 0; b < s->n; b++)
        all[b]->done = next_end(all[b]);
    if (s->R == 0)
        return ERR_OK;
    code = sample_take(&s->kept, s->m->info.vocab, tmp, err);
    if (code == ERR_OK)
        code = model_logits(s->m, &s->x, s->R, h, read_row, s, err);
    return code == ERR_OK ? s->code : code;
}

/* Keeps what others may begin with: a prompt, and a text that has come to its end. */
static void keep(const struct seq_generation *g)
{
    struct prefixes *p = g->m->prefixes;
    bool read = g->done == g->n_prompt || (stops_early(g) && g->done + 1 == g->n_prompt);
    if (p && (read || g->finish != SEQ_FINISH_NOT))
        prefixes_keep(p, g->ids, g->done, g->state->net);
}

enum err_code seq_generate(const struct seq_model *m, struct seq_worker *w, size_t n,
                           struct seq_generation *const *all, struct err *err)
{
    struct step s = {.m = m, .x = model_exec(m, w, NULL), .n = n, .err = err};
    if (n == 0)
        return ERR_OK;
    for (size_t b = 0; b < n; b++)
        if (all[b]->m != m || all[b]->finish != SEQ_FINISH_NOT)
            return err_set(err, ERR_INPUT, "generation %zu is %s", b,
                           all[b]->m != m ? "another model's" : "finished");
    enum err_code code = ERR_OK;
    for (size_t b = 0; b < n && code == ERR_OK; b++) {
        code = prepare(all[b], err);
        size_t reads = next_end(all[b]) - all[b]->done;
        s.T += reads;
        s.longest = reads > s.longest ? reads : s.longest;
        s.every = s.every || (all[b]->prompt && all[b]->done + 1 < all[b]->n_prompt);
    }
    if (code == ERR_OK)
        code = arena_reserve(&w->tmp, step_bytes(&s), err);
    if (code != ERR_OK)
        return code;
    size_t mark = arena_mark(&w->tmp);
    code = run(&s, all, err);
    arena_rewind(&w->tmp, mark);
    for (size_t b = 0; b < n && code == ERR_OK; b++) {
        if (all[b]->most == 0 && all[b]->done == all[b]->n_prompt)
            all[b]->finish = SEQ_FINISH_LENGTH;
        keep(all[b]);
    }
    return code;
}

void seq_generation_view(const struct seq_generation *g, struct seq_generated *out)
{
    *out =
        (struct seq_generated){.finish = g->finish,
                               .n_prompt = g->n_prompt,
                               .n_reused = g->n_reused,
                               .prompt = g->prompt,
                               .prompt_text = g->said.prompt.n ? g->said.prompt.at : "",
                               .n_prompt_text = g->said.prompt.n,
                               .n_tokens = g->n_tokens,
                               .tokens = g->token,
                               .text = g->said.text.n ? g->said.text.at : "",
                               .n_text = g->said.n_final};
}
