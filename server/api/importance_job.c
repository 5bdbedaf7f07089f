#include "server/api/importance_job.h"

#include <string.h>

#include "server/api/size_guard.h"
#include "server/clock.h"

/* Tokens of one run. A text takes so many passes that it could hold up all others; in
 * parts it is one of them. Larger parts are hardly faster per token. */
enum { PART_TOKENS = 512 };

/* All passes together may read so many times as many tokens as a request may hold;
 * refusals say it in words. */
enum { TOKENS_FACTOR = 16 };

enum seq_task importance_job_reads(const struct model *m)
{
    return m->info->tasks & SEQ_CLASSIFY ? SEQ_CLASSIFY : SEQ_NEXT_TOKEN;
}

/* ---- limits ---------------------------------------------------------------------- */

static bool check_units(struct importance_job *j, size_t i)
{
    bool words = j->ask.unit == IMPORTANCE_WORD;
    char param[ERR_PARAM_BYTES];
    j->form->name(j, i, param);
    const struct size_guard guard = {.reply = &j->job.reply,
                                     .param = param,
                                     .json = IMPORTANCE_UNITS_MAX,
                                     .things = words ? "words" : "tokens",
                                     .option = "a pass each"};
    size_t n = importance_count(j->job.model->seq, &j->at[i].tokens, j->ask.unit);
    return !size_guard_refuses(&guard, n, 1, "the text has",
                               words ? "ask about a shorter text"
                                     : "ask about a shorter text, or words");
}

static bool check_tokens(struct importance_job *j, size_t i)
{
    char param[ERR_PARAM_BYTES];
    j->form->name(j, i, param);
    const struct size_guard guard = {.reply = &j->job.reply,
                                     .param = param,
                                     .json = (size_t)j->server->options->max_tokens,
                                     .things = "tokens",
                                     .option = "16 times --max-tokens"};
    return !size_guard_refuses(&guard, j->left, TOKENS_FACTOR, "all passes would read",
                               "ask about a shorter text, or fewer");
}

/* ---- the first run --------------------------------------------------------------- */

/* False: the job has failed, or its reply is there. */
static bool take_text(struct importance_job *j, size_t i)
{
    struct err *err = &j->job.err;
    struct importance_text *text = &j->at[i];
    if (j->form->tokenize(j, i) != ERR_OK || !check_units(j, i))
        return false;
    if (importance_new(j->job.model->seq, &text->tokens, &j->ask, &text->im, err) !=
        ERR_OK) {
        if (strcmp(err->param, "text") == 0)
            j->form->name(j, i, err->param);
        return false;
    }
    j->left += importance_tokens(text->im);
    return check_tokens(j, i);
}

static bool begin(struct importance_job *j)
{
    uint64_t start = clock_us();
    bool good = true;
    for (size_t i = 0; i < j->n && good; i++)
        good = take_text(j, i);
    j->job.tokenize_us = clock_us() - start;
    j->job.n_texts = j->n;
    j->job.n_tokens = 0;
    if (good)
        j->form->open(j);
    return good;
}

/* ---- parts ----------------------------------------------------------------------- */

static void drop_text(struct importance_text *t)
{
    importance_free(t->im);
    seq_tokens_done(&t->tokens);
    t->im = NULL;
}

/* One step of the text whose turn it is, of at most so many tokens if it can. Returns how
 * many were read; the error is the job's. */
static size_t step(struct importance_job *j, struct seq_worker *w, size_t most)
{
    struct importance_text *t = &j->at[j->n_done];
    struct importance_view view;
    size_t before = importance_tokens_left(t->im);
    if (importance_step(t->im, w, most, &j->job.err) != ERR_OK)
        return 0;
    size_t left = importance_tokens_left(t->im);
    if (left == 0) {
        importance_look(t->im, &view);
        j->form->write(j, j->n_done++, &view);
        drop_text(t);
    }
    return before - left;
}

/* As many steps as fit into a part, at least one. */
static void compute(struct importance_job *j, struct seq_worker *w)
{
    size_t read = 0;
    const struct err *err = &j->job.err;
    while (j->n_done < j->n && err->code == ERR_OK &&
           (read == 0 || read + j->at[j->n_done].tokens.n <= PART_TOKENS))
        read += step(j, w, read < PART_TOKENS ? PART_TOKENS - read : 1);
    j->left -= read;
    j->job.n_tokens += read;
}

static void end(struct importance_job *j)
{
    j->form->close(j);
    buf_put(&j->out.buf, "\n", 1);
    if (j->out.buf.failed)
        err_set(&j->job.err, ERR_NOMEM, "out of memory for the reply");
    else
        reply_take_json(&j->job.reply, &j->out);
}

static void run_one(struct importance_job *j, struct seq_worker *w)
{
    struct job *job = &j->job;
    bool first = j->n_done == 0 && j->left == 0;
    if (first && !begin(j))
        return;
    uint64_t start = clock_us();
    if (job_is_gone(job))
        err_set(&job->err, ERR_STOPPED, "the client closed the connection");
    else
        compute(j, w);
    job->compute_us += clock_us() - start;
    if (job->err.code != ERR_OK)
        return;
    job->again = j->n_done < j->n;
    job->cost = j->left < PART_TOKENS ? j->left : PART_TOKENS;
    if (!job->again)
        end(j);
}

void importance_job_run(struct job **jobs, size_t n, struct seq_worker *w)
{
    for (size_t i = 0; i < n; i++)
        run_one((struct importance_job *)jobs[i], w);
}

/* ---- life ------------------------------------------------------------------------ */

enum err_code importance_job_init(struct importance_job *j, const struct server *s,
                                  const struct importance_form *form, size_t n,
                                  struct err *err)
{
    j->server = s;
    j->form = form;
    j->at = mem_zero(n, sizeof *j->at);
    if (!j->at)
        return err_set(err, ERR_NOMEM, "out of memory for %zu texts", n);
    j->n = n;
    return ERR_OK;
}

void importance_job_done(struct importance_job *j)
{
    for (size_t i = 0; i < j->n; i++)
        drop_text(&j->at[i]);
    mem_free(j->at);
    json_write_done(&j->out);
    reply_done(&j->job.reply);
}
