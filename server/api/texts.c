#include "server/api/texts.h"

#include <stdio.h>
#include <string.h>

#include "server/clock.h"

const struct doc_shape TEXTS_USAGE[] = {
    {"tokens", DOC_INTEGER, .help = "Tokens read, special ones included"},
    {"truncated", DOC_BOOLEAN, .help = "Some were left out: the model reads no more"},
    {0}};

/* ---- reading --------------------------------------------------------------------- */

/* A token is seldom shorter than this; only batches are sized by it. */
enum { BYTES_PER_TOKEN = 3 };

static struct text_job *text_job(struct job *job)
{
    return (struct text_job *)job; /* its first member */
}

/* Of each of the job's texts. */
static size_t weight(const struct text_job *j)
{
    return j->task->weight ? j->task->weight(j) : 1;
}

static enum err_code check_texts(struct text_job *j, struct err *err)
{
    const struct options *o = j->server->options;
    if (j->text.at && j->texts.at)
        return err_param(err, ERR_FORMAT, "texts", "give either \"text\" or \"texts\"");
    if (!j->text.at && !j->texts.at)
        return err_param(err, ERR_FORMAT, "text", "\"text\" or \"texts\" is missing");
    j->at = j->text.at ? &j->text : j->texts.at;
    j->n = j->text.at ? 1 : j->texts.n;
    j->pair = j->text.at ? &j->text_pair : j->text_pairs.at;
    if (j->text.at && !j->text_pair.at)
        j->pair = NULL;
    if (j->n > (size_t)o->max_texts)
        return err_param(err, ERR_LIMIT, "texts",
                         "%zu texts in one request, at most %lld go (--max-texts)", j->n,
                         (long long)o->max_texts);
    return ERR_OK;
}

/* Second texts stand beside first ones of their kind, and as many. */
static enum err_code check_pairs(const struct text_job *j, struct err *err)
{
    if (j->text_pair.at && !j->text.at)
        return err_param(
            err, ERR_FORMAT, "text_pair",
            "\"text_pair\" goes with \"text\", \"text_pairs\" with \"texts\"");
    if (j->text_pairs.at && !j->texts.at)
        return err_param(
            err, ERR_FORMAT, "text_pairs",
            "\"text_pairs\" goes with \"texts\", \"text_pair\" with \"text\"");
    if (j->text_pairs.at && j->text_pairs.n != j->texts.n)
        return err_param(err, ERR_INPUT, "text_pairs",
                         "%zu second texts, but %zu first ones in \"texts\"",
                         j->text_pairs.n, j->texts.n);
    return ERR_OK;
}

enum err_code texts_check_pairs(const struct model *m, const char *field, struct err *err)
{
    if (m->info->pairs)
        return ERR_OK;
    return err_param(err, ERR_INPUT, field,
                     "%s takes no second text: its tokenizer has no template for pairs",
                     m->name);
}

/* Frees what is in it, not the struct itself. */
static void texts_done(struct text_job *job)
{
    for (size_t i = 0; job->tokens && i < job->n; i++)
        seq_tokens_done(&job->tokens[i]);
    mem_free(job->tokens);
    json_write_done(&job->out);
    json_read_done(job->task->fields, job->task->n_fields, job);
    reply_done(&job->job.reply);
}

void texts_free(struct job *job)
{
    texts_done(text_job(job));
    mem_free(job);
}

enum err_code texts_read(const struct server *s, const struct request *q,
                         const struct text_task *task, struct text_job *job,
                         struct err *err)
{
    job->server = s;
    job->task = task;
    job->truncate = true;
    enum err_code code =
        json_read(q->body, q->body_n, task->fields, task->n_fields, job, err);
    if (code != ERR_OK)
        return code;
    code = check_texts(job, err);
    if (code == ERR_OK)
        code = check_pairs(job, err);
    if (code == ERR_OK)
        code = models_choose(s->models, job->model.at, job->model.n, task->task,
                             &job->job.model, err);
    if (code == ERR_OK && job->pair)
        code = texts_check_pairs(job->job.model,
                                 job->text.at ? "text_pair" : "text_pairs", err);
    if (code == ERR_OK) {
        job->tokens = mem_zero(job->n, sizeof *job->tokens);
        if (!job->tokens)
            code = err_set(err, ERR_NOMEM, "out of memory for %zu texts", job->n);
    }
    if (code != ERR_OK) {
        texts_done(job);
        return code;
    }
    const struct seq_info *info = job->job.model->info;
    for (size_t i = 0; i < job->n; i++) {
        size_t bytes = job->at[i].n + (job->pair ? job->pair[i].n : 0);
        job->job.rows += info->text_rows ? 1 : bytes / BYTES_PER_TOKEN + 1;
        job->job.cost += bytes / BYTES_PER_TOKEN + weight(job);
    }
    return ERR_OK;
}

/* ---- tokens ---------------------------------------------------------------------- */

/* The text's number goes into the error's field: "texts[3]". */
static void blame_text(struct text_job *j, size_t i, const struct err *e)
{
    const char *field = strcmp(e->param, "text_pair") == 0 ? "text_pair" : "text";
    char param[ERR_PARAM_BYTES];
    if (j->texts.at)
        snprintf(param, sizeof param, "%ss[%zu]", field, i);
    else
        snprintf(param, sizeof param, "%s", field);
    err_param(&j->job.err, e->code, param, "%s", e->msg);
}

static enum err_code tokenize_one(struct text_job *j, size_t i, struct err *err)
{
    const struct seq_model *m = j->job.model->seq;
    const struct json_text *text = &j->at[i], *pair = j->pair ? &j->pair[i] : NULL;
    enum seq_keep keep = j->truncate ? SEQ_KEEP_USUAL : SEQ_WHOLE;
    if (pair)
        return seq_tokenize_pair(m, text->at, text->n, pair->at, pair->n, keep,
                                 &j->tokens[i], err);
    size_t n = j->task->trim ? j->task->trim(j, text) : text->n;
    enum seq_task task = j->task->reads ? j->task->reads(j) : j->task->task;
    return seq_tokenize(m, task, text->at, n, keep, &j->tokens[i], err);
}

static void tokenize(struct text_job *j)
{
    uint64_t start = clock_us();
    size_t most = (size_t)j->server->options->max_tokens;
    for (size_t i = 0; i < j->n; i++) {
        struct err e = {0};
        if (tokenize_one(j, i, &e) != ERR_OK) {
            blame_text(j, i, &e);
            break;
        }
        j->job.n_tokens += j->tokens[i].n;
        if (j->job.n_tokens > most) {
            err_param(&j->job.err, ERR_LIMIT, j->texts.at ? "texts" : "text",
                      "more than %zu tokens in one request (--max-tokens)", most);
            break;
        }
    }
    j->job.n_texts = j->n;
    j->job.tokenize_us = clock_us() - start;
}

/* ---- replies --------------------------------------------------------------------- */

static void write_usage(struct json_writer *w, size_t tokens, bool truncated)
{
    json_write_key(w, "usage");
    json_write_object(w);
    json_write_key_uint(w, "tokens", tokens);
    json_write_key_bool(w, "truncated", truncated);
    json_write_end(w);
}

static void begin_reply(struct text_job *j)
{
    json_write_object(&j->out);
    json_write_key_string(&j->out, "object", j->task->object);
    json_write_key_string(&j->out, "model", j->job.model->name);
    json_write_key(&j->out, "results");
    json_write_array(&j->out);
}

static void end_reply(struct text_job *j)
{
    size_t tokens = 0;
    bool truncated = false;
    for (size_t i = 0; i < j->n; i++) {
        tokens += j->tokens[i].n;
        truncated |= j->tokens[i].n_dropped > 0;
    }
    json_write_end(&j->out);
    write_usage(&j->out, tokens, truncated);
    json_write_end(&j->out);
    buf_put(&j->out.buf, "\n", 1);
    if (j->out.buf.failed)
        err_set(&j->job.err, ERR_NOMEM, "out of memory for the reply");
    else
        reply_take_json(&j->job.reply, &j->out);
}

struct json_writer *texts_open(const struct text_ref *ref)
{
    json_write_object(&ref->job->out);
    return &ref->job->out;
}

void texts_close(const struct text_ref *ref)
{
    const struct seq_tokens *t = &ref->job->tokens[ref->i];
    write_usage(&ref->job->out, t->n, t->n_dropped > 0);
    json_write_end(&ref->job->out);
}

void texts_fail(const struct text_ref *ref, const char *why)
{
    err_set(&ref->job->job.err, ERR_BUG, "%s", why);
}

/* ---- batches --------------------------------------------------------------------- */

/* How many of the texts go into the next batch: at least one. */
static size_t slice(const struct text_ref *refs, size_t n, size_t most_tokens)
{
    size_t tokens = 0, i = 0;
    for (; i < n; i++) {
        const struct text_job *j = refs[i].job;
        tokens += j->tokens[refs[i].i].n + weight(j);
        if (i > 0 && tokens > most_tokens)
            break;
    }
    return i;
}

static void compute(const struct text_ref *refs, size_t n, struct seq_worker *w)
{
    struct err e = {0};
    const struct text_job *first = refs[0].job;
    uint64_t start = clock_us();
    enum err_code code = first->task->compute(first->job.model->seq, refs, n, w, &e);
    uint64_t took = clock_us() - start;
    for (size_t i = 0; i < n; i++) {
        struct job *job = &refs[i].job->job;
        if (code != ERR_OK)
            err_param(&job->err, code, e.param, "%s", e.msg);
        if (i == 0 || refs[i].job != refs[i - 1].job)
            job->compute_us += took;
    }
}

/* All texts of all jobs that are good so far, job by job. */
static size_t gather(struct job **jobs, size_t n, struct text_ref *refs)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        struct text_job *j = text_job(jobs[i]);
        for (size_t t = 0; t < j->n && j->job.err.code == ERR_OK; t++)
            refs[count++] = (struct text_ref){j, t};
    }
    return count;
}

/* Computes the texts at refs, or passes over those of a job that has failed or that
 * nobody waits for any more; returns how many. */
static size_t compute_next(const struct text_ref *refs, size_t n, size_t most_tokens,
                           struct seq_worker *w)
{
    struct job *job = &refs[0].job->job;
    if (job->err.code == ERR_OK && !job_is_gone(job)) {
        n = slice(refs, n, most_tokens);
        compute(refs, n, w);
        return n;
    }
    size_t own = 1;
    while (own < n && &refs[own].job->job == job)
        own++;
    if (job->err.code == ERR_OK)
        err_set(&job->err, ERR_STOPPED, "the client closed the connection");
    return own;
}

void texts_run(struct job **jobs, size_t n, struct seq_worker *w)
{
    size_t most = (size_t)text_job(jobs[0])->server->options->batch_tokens, total = 0;
    for (size_t i = 0; i < n; i++) {
        tokenize(text_job(jobs[i]));
        begin_reply(text_job(jobs[i]));
        total += text_job(jobs[i])->n;
    }
    struct text_ref *refs = mem_alloc(total, sizeof *refs);
    size_t count = refs ? gather(jobs, n, refs) : 0;
    for (size_t at = 0; at < count;)
        at += compute_next(refs + at, count - at, most, w);
    mem_free(refs);
    for (size_t i = 0; i < n; i++) {
        if (!refs)
            err_set(&jobs[i]->err, ERR_NOMEM, "out of memory for %zu texts", total);
        if (jobs[i]->err.code == ERR_OK)
            end_reply(text_job(jobs[i]));
    }
}
