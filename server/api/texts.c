#include "server/api/texts.h"

#include <stdio.h>
#include <string.h>

#include "server/clock.h"

const char *const TEXTS_ONE_OF[] = {"text", "texts", NULL};
const struct doc_shape TEXTS_USAGE[] = {
    {"tokens", DOC_INTEGER, .help = "Tokens read, special ones included"},
    {"truncated", DOC_BOOLEAN, .help = "Some were left out: the model reads no more"},
    {0}};

/* ---- preparing ------------------------------------------------------------------- */

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

/* What the list of all texts, or of all second ones, is called. */
static void name_list(const struct text_job *j, bool second, char param[ERR_PARAM_BYTES])
{
    j->form->name(j, 0, second, param);
    param[strcspn(param, "[")] = '\0';
}

static enum err_code check_count(const struct text_job *j, struct err *err)
{
    char param[ERR_PARAM_BYTES];
    size_t most = (size_t)j->server->options->max_texts;
    if (j->n <= most)
        return ERR_OK;
    name_list(j, false, param);
    return err_param(err, ERR_LIMIT, param,
                     "%zu texts in one request, at most %zu go (--max-texts)", j->n,
                     most);
}

enum err_code texts_check_pairs(const struct model *m, const char *field, struct err *err)
{
    if (m->info->pairs)
        return ERR_OK;
    return err_param(err, ERR_INPUT, field,
                     "%s takes no second text: its tokenizer has no template for pairs",
                     m->name);
}

static const struct json_text *text_of(const struct text_job *j, size_t i)
{
    return j->prompts ? &j->prompts[i].text : &j->at[i];
}

static size_t n_ids_of(const struct text_job *j, size_t i)
{
    return j->prompts ? j->prompts[i].n_ids : 0;
}

static const struct json_text *pair_of(const struct text_job *j, size_t i)
{
    return j->pair && j->pair[i].at ? &j->pair[i] : NULL;
}

static enum err_code check_pairs(const struct text_job *j, struct err *err)
{
    char param[ERR_PARAM_BYTES];
    size_t i = 0;
    while (i < j->n && !pair_of(j, i))
        i++;
    if (i == j->n)
        return ERR_OK;
    name_list(j, true, param);
    return texts_check_pairs(j->job.model, param, err);
}

/* Frees what is in it, not the struct itself. */
static void texts_done(struct text_job *job)
{
    for (size_t i = 0; job->tokens && i < job->n; i++)
        seq_tokens_done(&job->tokens[i]);
    mem_free(job->tokens);
    json_write_done(&job->out);
    if (job->form->done)
        job->form->done(job);
    json_read_done(job->form->fields, job->form->n_fields, job);
    reply_done(&job->job.reply);
}

void texts_free(struct job *job)
{
    texts_done(text_job(job));
    mem_free(job);
}

/* How much there is to do. */
static void estimate(struct text_job *j)
{
    const struct seq_info *info = j->job.model->info;
    /* Of vectors, nothing is known already. */
    bool text_rows = info->recurrent || (info->text_rows && j->task->task != SEQ_EMBED);
    for (size_t i = 0; i < j->n; i++) {
        size_t bytes = text_of(j, i)->n + (pair_of(j, i) ? j->pair[i].n : 0);
        size_t tokens = n_ids_of(j, i) + bytes / BYTES_PER_TOKEN;
        j->job.rows += text_rows ? 1 : tokens + 1;
        j->job.cost += tokens + weight(j);
    }
}

enum err_code texts_prepare(const struct server *s, const struct text_task *task,
                            const struct text_form *form, struct text_job *job,
                            struct err *err)
{
    job->server = s;
    job->task = task;
    job->form = form;
    enum err_code code = check_count(job, err);
    if (code == ERR_OK && !job->job.model)
        code = models_choose(s->models, job->model.at, job->model.n, task->task,
                             &job->job.model, err);
    if (code == ERR_OK)
        code = check_pairs(job, err);
    if (code == ERR_OK) {
        job->tokens = mem_zero(job->n, sizeof *job->tokens);
        if (!job->tokens)
            code = err_set(err, ERR_NOMEM, "out of memory for %zu texts", job->n);
    }
    if (code == ERR_OK)
        estimate(job);
    else
        texts_done(job);
    return code;
}

/* ---- tokens ---------------------------------------------------------------------- */

static void blame_text(struct text_job *j, size_t i, const struct err *e)
{
    char param[ERR_PARAM_BYTES];
    j->form->name(j, i, strcmp(e->param, "text_pair") == 0, param);
    err_param(&j->job.err, e->code, param, "%s", e->msg);
}

static enum err_code tokenize_one(struct text_job *j, size_t i, struct err *err)
{
    const struct seq_model *m = j->job.model->seq;
    const struct json_text *text = text_of(j, i), *pair = pair_of(j, i);
    enum seq_keep keep = j->whole ? SEQ_WHOLE : j->keep;
    if (n_ids_of(j, i))
        return seq_tokens_of_ids(m, j->prompts[i].ids, n_ids_of(j, i), &j->tokens[i],
                                 err);
    if (pair)
        return seq_tokenize_pair(m, text->at, text->n, pair->at, pair->n, keep,
                                 &j->tokens[i], err);
    size_t n = j->task->trim ? j->task->trim(j, text) : text->n;
    enum seq_task task = j->task->reads ? j->task->reads(j) : j->task->task;
    return seq_tokenize(m, task, text->at, n, keep, &j->tokens[i], err);
}

static size_t count_characters(const struct json_text *text)
{
    size_t n = 0;
    for (size_t i = 0; i < text->n; i++)
        n += (text->at[i] & 0xc0) != 0x80;
    return n;
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
        j->job.n_characters += count_characters(text_of(j, i));
        if (pair_of(j, i))
            j->job.n_characters += count_characters(&j->pair[i]);
        j->job.n_tokens += j->tokens[i].n;
        if (j->job.n_tokens > most) {
            char param[ERR_PARAM_BYTES];
            name_list(j, false, param);
            err_param(&j->job.err, ERR_LIMIT, param,
                      "more than %zu tokens in one request (--max-tokens)", most);
            break;
        }
    }
    j->job.n_texts = j->n;
    j->job.tokenize_us = clock_us() - start;
}

/* ---- replies --------------------------------------------------------------------- */

size_t texts_tokens(const struct text_job *job)
{
    size_t tokens = 0;
    for (size_t i = 0; i < job->n; i++)
        tokens += job->tokens[i].n;
    return tokens;
}

bool texts_truncated(const struct text_job *job)
{
    size_t i = 0;
    while (i < job->n && job->tokens[i].n_dropped == 0)
        i++;
    return i < job->n;
}

void texts_tell(const struct text_ref *ref, const struct text_result *r)
{
    ref->job->form->result(ref, r);
}

void texts_fail(const struct text_ref *ref, const char *why)
{
    err_set(&ref->job->job.err, ERR_BUG, "%s", why);
}

void texts_finish(struct text_job *j)
{
    if (j->form->end)
        j->form->end(j);
    if (j->job.err.code != ERR_OK ||
        j->job.reply.body.n) /* it has made the body itself */
        return;
    buf_put(&j->out.buf, "\n", 1);
    if (j->out.buf.failed)
        err_set(&j->job.err, ERR_NOMEM, "out of memory for the reply");
    else
        reply_take_json(&j->job.reply, &j->out);
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
        if (text_job(jobs[i])->form->begin)
            text_job(jobs[i])->form->begin(text_job(jobs[i]));
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
            texts_finish(text_job(jobs[i]));
    }
}

/* ---- our own dialect ------------------------------------------------------------- */

static const struct text_request *request_of(const struct text_job *job)
{
    return (const struct text_request *)job; /* its first member */
}

void texts_name(const struct text_job *job, size_t i, bool second,
                char param[ERR_PARAM_BYTES])
{
    const char *field = second ? "text_pair" : "text";
    if (request_of(job)->texts.at)
        snprintf(param, ERR_PARAM_BYTES, "%ss[%zu]", field, i);
    else
        snprintf(param, ERR_PARAM_BYTES, "%s", field);
}

/* Second texts stand beside first ones of their kind, and as many. */
static enum err_code check_request(const struct text_request *r, struct err *err)
{
    if (r->text.at && r->texts.at)
        return err_param(err, ERR_FORMAT, "texts", "give either \"text\" or \"texts\"");
    if (!r->text.at && !r->texts.at)
        return err_param(err, ERR_FORMAT, "text", "\"text\" or \"texts\" is missing");
    if (r->text_pair.at && !r->text.at)
        return err_param(
            err, ERR_FORMAT, "text_pair",
            "\"text_pair\" goes with \"text\", \"text_pairs\" with \"texts\"");
    if (r->text_pairs.at && !r->texts.at)
        return err_param(
            err, ERR_FORMAT, "text_pairs",
            "\"text_pairs\" goes with \"texts\", \"text_pair\" with \"text\"");
    if (r->text_pairs.at && r->text_pairs.n != r->texts.n)
        return err_param(err, ERR_INPUT, "text_pairs",
                         "%zu second texts, but %zu first ones in \"texts\"",
                         r->text_pairs.n, r->texts.n);
    return ERR_OK;
}

enum err_code texts_read(const struct request *q, const struct text_form *form,
                         struct text_request *r, struct err *err)
{
    r->truncate = true;
    enum err_code code =
        json_read(q->body, q->body_n, form->fields, form->n_fields, r, err);
    if (code != ERR_OK)
        return code;
    code = check_request(r, err);
    if (code != ERR_OK) {
        json_read_done(form->fields, form->n_fields, r);
        return code;
    }
    r->t.at = r->text.at ? &r->text : r->texts.at;
    r->t.pair = r->text.at ? &r->text_pair : r->text_pairs.at;
    r->t.n = r->text.at ? 1 : r->texts.n;
    r->t.whole = !r->truncate;
    r->t.keep = SEQ_KEEP_USUAL;
    return ERR_OK;
}

static void write_usage(struct json_writer *w, size_t tokens, bool truncated)
{
    json_write_key(w, "usage");
    json_write_object(w);
    json_write_key_uint(w, "tokens", tokens);
    json_write_key_bool(w, "truncated", truncated);
    json_write_end(w);
}

void texts_begin(struct text_job *job)
{
    json_write_object(&job->out);
    json_write_key_string(&job->out, "object", job->form->object);
    json_write_key_string(&job->out, "model", job->job.model->name);
    json_write_key(&job->out, "results");
    json_write_array(&job->out);
}

void texts_end(struct text_job *job)
{
    json_write_end(&job->out);
    write_usage(&job->out, texts_tokens(job), texts_truncated(job));
    json_write_end(&job->out);
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
