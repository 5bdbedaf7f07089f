#include "server/api/sessions.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "server/api/examples.h"
#include "server/api/input.h"
#include "server/api/next_word.h"
#include "server/clock.h"
#include "server/errors.h"
#include "server/json_write.h"
#include "server/server.h"

enum { TOP_K = 5, BYTES_PER_TOKEN = 3 };

/* A request that has something to read. */
struct step {
    struct job job; /* first */
    struct json_text model, text;
    struct json_ints input_ids;
    int64_t top_k;
    struct server *server;
    struct session *session; /* taken; NULL once it is given back */
    bool made;               /* by this request: it goes if that fails */
    size_t had;              /* its tokens before */
    int32_t *ids;            /* [n_ids] behind them */
    size_t n_ids;
};

#define STEP_FIELDS                                                                      \
    {.name = "text",                                                                     \
     .type = JSON_FIELD_TEXT,                                                            \
     .offset = offsetof(struct step, text),                                              \
     .help = "What to read, tokenized by itself; either this or input_ids"},             \
        {.name = "input_ids",                                                            \
         .type = JSON_FIELD_IDS,                                                         \
         .offset = offsetof(struct step, input_ids),                                     \
         .min = 1,                                                                       \
         .help = "Tokens by their numbers, read as they are"},                           \
    {                                                                                    \
        .name = "top_k", .type = JSON_FIELD_INT, .offset = offsetof(struct step, top_k), \
        .min = 1, .max = SEQ_TOP_MAX, .help = "How many predictions; default 5"          \
    }

static const struct json_field STEP[] = {STEP_FIELDS};
static const struct json_field CREATE[] = {
    {.name = "model",
     .type = JSON_FIELD_TEXT,
     .offset = offsetof(struct step, model),
     .help = "Name of a loaded model; left out: the default of next-word"},
    STEP_FIELDS};

enum { N_STEP = sizeof STEP / sizeof *STEP, N_CREATE = sizeof CREATE / sizeof *CREATE };

static const struct doc_shape USAGE[] = {
    {"tokens", DOC_INTEGER, .help = "Read by this request, special ones included"}, {0}};

static const struct doc_shape REPLY[] = {
    {"object", DOC_STRING, .help = "session"},
    {"id", DOC_STRING, .help = "128 random bits; who knows them may use the session"},
    {"model", DOC_STRING, .help = "Which model reads"},
    {"tokens", DOC_INTEGER, .help = "Read so far, special ones included"},
    {"bytes", DOC_INTEGER, .help = "Of memory held"},
    {"expires_in_s", DOC_NUMBER, .help = "When it ends unless it is used"},
    {"predictions", DOC_LIST, .optional = true, .of = next_word_prediction,
     .help = "Where something was read: the likeliest next tokens, best first"},
    {"usage", DOC_OBJECT, .optional = true, .of = USAGE, .help = "Where something was"},
    {0}};

static const struct doc_shape DELETED[] = {{"object", DOC_STRING, .help = "session"},
                                           {"id", DOC_STRING, .help = "Its id"},
                                           {"deleted", DOC_BOOLEAN, .help = "true"},
                                           {0}};

const struct route_doc sessions_create_doc = {
    .name = "session_create",
    .fields = CREATE,
    .n_fields = N_CREATE,
    .one_of = INPUT_ONE_OF,
    .or_none = true,
    .names = "session",
    .names_at = "/id",
    .reply = REPLY,
    .example = "{\"text\":\"the cat sat\",\"top_k\":2}",
    .answer = examples_session_create,
    .more = "Without text and input_ids the session is empty. It ends --session-ttl-s "
            "after its last use; all of them hold at most --session-bytes (429).",
};
const struct route_doc sessions_step_doc = {
    .name = "session_step",
    .fields = STEP,
    .n_fields = N_STEP,
    .one_of = INPUT_ONE_OF,
    .reply = REPLY,
    .example = "{\"text\":\" on the\",\"top_k\":2}",
    .answer = examples_session_step,
    .more =
        "Costs the new tokens only, and gives the same bytes as reading all of them "
        "at once. A text is tokenized by itself, without special tokens in front but "
        "for a session's first; where it goes on with a word, that word is cut there. "
        "Two steps at once: 409 for the second.",
};
const struct route_doc sessions_get_doc = {.name = "session", .reply = REPLY};
const struct route_doc sessions_delete_doc = {.name = "session_delete", .reply = DELETED};
const struct route_doc sessions_fork_doc = {
    .name = "session_fork",
    .reply = REPLY,
    .names = "session",
    .names_at = "/id",
    .more = "Takes no body. Memory is shared until one of both goes on, but counts for "
            "both.",
};

/* ---- replies --------------------------------------------------------------------- */

/* Opens the object of the reply. */
static void write_view(struct json_writer *w, const struct session_view *v)
{
    json_write_object(w);
    json_write_key_string(w, "object", "session");
    json_write_key_string(w, "id", v->id);
    json_write_key_string(w, "model", v->model->name);
    json_write_key_uint(w, "tokens", v->tokens);
    json_write_key_uint(w, "bytes", v->bytes);
    json_write_key_fixed(w, "expires_in_s", (double)v->expires_us * 1e-6, 3);
}

static enum err_code end_reply(struct json_writer *w, struct reply *r, struct err *err)
{
    json_write_end(w);
    buf_put(&w->buf, "\n", 1);
    if (w->buf.failed) {
        json_write_done(w);
        return err_set(err, ERR_NOMEM, "out of memory for the reply");
    }
    reply_take_json(r, w);
    return ERR_OK;
}

static enum err_code reply_view(const struct session_view *v, struct answer *out,
                                struct err *err)
{
    struct json_writer w = {0};
    write_view(&w, v);
    return end_reply(&w, &out->reply, err);
}

static void refuse(enum session_found found, struct answer *out)
{
    if (found == SESSION_BUSY)
        reply_problem(&out->reply, out->dialect, PROBLEM_BUSY, "session",
                      "another request is at this session; ask one after the other");
    else
        reply_problem(&out->reply, out->dialect, PROBLEM_SESSION, "session",
                      "there is no such session, or it has ended");
}

static void refuse_bytes(struct reply *r, enum dialect d, const char *message)
{
    reply_problem(r, d, PROBLEM_SESSION_BYTES, NULL, message);
}

/* ---- the job --------------------------------------------------------------------- */

static struct step *step_of(struct job *job)
{
    return (struct step *)job; /* its first member */
}

/* Gives the session back as it was; one that this request has made ends. */
static void let_go(struct step *r)
{
    if (r->session && r->made)
        sessions_drop(r->server->sessions, r->session);
    else if (r->session)
        sessions_give(r->server->sessions, r->session, clock_us(), NULL);
    r->session = NULL;
}

static void free_step(struct job *job)
{
    struct step *r = step_of(job);
    let_go(r);
    mem_free(r->ids);
    json_read_done(CREATE, N_CREATE, r);
    reply_done(&job->reply);
    mem_free(r);
}

/* "ids[3]" of model/ is "input_ids[3]" here. */
static void name_ids(struct err *err)
{
    char param[ERR_PARAM_BYTES];
    if (strncmp(err->param, "ids", 3) != 0)
        return;
    snprintf(param, sizeof param, "input_%.*s", (int)sizeof param - 7, err->param);
    snprintf(err->param, sizeof err->param, "%s", param);
}

static enum err_code tokens_of(const struct step *r, struct seq_tokens *out,
                               struct err *err)
{
    const struct seq_model *m = r->job.model->seq;
    const struct json_ints *wanted = &r->input_ids;
    if (r->text.at)
        return seq_tokenize(m, SEQ_NEXT_TOKEN, r->text.at, r->text.n, SEQ_WHOLE, out,
                            err);
    int32_t *ids = mem_alloc(wanted->n, sizeof *ids);
    if (!ids)
        return err_set(err, ERR_NOMEM, "out of memory for \"input_ids\"");
    for (size_t i = 0; i < wanted->n; i++)
        ids[i] =
            wanted->at[i] < 0 || wanted->at[i] > INT32_MAX ? -1 : (int32_t)wanted->at[i];
    enum err_code code = seq_tokens_of_ids(m, ids, wanted->n, out, err);
    mem_free(ids);
    name_ids(err);
    return code;
}

/* What a text's template puts in front of it belongs to the beginning only. */
static enum err_code keep_ids(struct step *r, const struct seq_tokens *t, struct err *err)
{
    bool template = r->text.at && r->had > 0;
    r->ids = mem_alloc(t->n + 1, sizeof *r->ids);
    if (!r->ids)
        return err_set(err, ERR_NOMEM, "out of memory for %zu tokens", t->n);
    for (size_t i = 0; i < t->n; i++)
        if (!template || !t->at[i].special)
            r->ids[r->n_ids++] = t->at[i].id;
    if (r->n_ids == 0)
        return err_param(err, ERR_INPUT, "text", "\"text\" holds no token");
    return ERR_OK;
}

static enum err_code check_length(const struct step *r, struct err *err)
{
    const char *field = r->text.at ? "text" : "input_ids";
    size_t most = (size_t)r->server->options->max_tokens,
           context = r->job.model->info->context;
    if (r->n_ids > most)
        return err_param(err, ERR_LIMIT, field,
                         "more than %zu tokens in one request (--max-tokens)", most);
    if (context && r->n_ids > context - r->had)
        return err_param(err, ERR_LIMIT, field,
                         "%zu tokens after %zu exceed the model's context of %zu",
                         r->n_ids, r->had, context);
    return ERR_OK;
}

/* Its tokens, and room for them; false: it is answered already. */
static bool prepare(struct step *r)
{
    struct job *job = &r->job;
    struct seq_tokens tokens = {0};
    uint64_t start = clock_us();
    enum err_code code = tokens_of(r, &tokens, &job->err);
    if (code == ERR_OK)
        code = keep_ids(r, &tokens, &job->err);
    seq_tokens_done(&tokens);
    if (code == ERR_OK)
        code = check_length(r, &job->err);
    job->n_texts = 1;
    job->n_tokens = r->n_ids;
    job->tokenize_us = clock_us() - start;
    if (code == ERR_OK && job_is_gone(job))
        code = err_set(&job->err, ERR_STOPPED, "the client closed the connection");
    if (code != ERR_OK)
        return false;
    if (sessions_reserve(r->server->sessions, r->session,
                         seq_state_growth(r->session->state, r->n_ids), clock_us()))
        return true;
    refuse_bytes(&job->reply, DIALECT_SEQD,
                 "the sessions hold all bytes they may (--session-bytes)");
    return false;
}

static void answer_step(struct step *r, const float *logits /* [V] */)
{
    struct job *job = &r->job;
    struct json_writer w = {0};
    struct session_view view = {0};
    struct seq_next_result next;
    seq_next_tokens(job->model->seq, logits, (size_t)r->top_k, &next);
    for (size_t i = 0; i < next.n; i++)
        if (!isfinite(next.at[i].logprob)) {
            err_set(&job->err, ERR_BUG, "a probability is not finite");
            return;
        }
    sessions_give(r->server->sessions, r->session, clock_us(), &view);
    r->session = NULL;
    write_view(&w, &view);
    json_write_key(&w, "predictions");
    json_write_array(&w);
    for (size_t i = 0; i < next.n; i++) {
        json_write_object(&w);
        next_word_token(&w, job->model->seq, &next.at[i]);
        json_write_end(&w);
    }
    json_write_end(&w);
    json_write_key(&w, "usage");
    json_write_object(&w);
    json_write_key_uint(&w, "tokens", r->n_ids);
    json_write_end(&w);
    (void)end_reply(&w, &job->reply, &job->err);
}

/* One batch of n sessions; on failure their states hold nothing of use any more. */
static enum err_code feed(struct step **all, size_t n, float *logits /* [n,V] */,
                          struct seq_worker *w, struct err *err)
{
    const struct seq_model *m = all[0]->job.model->seq;
    struct seq_state **states = mem_alloc(n, sizeof(void *));
    const int32_t **ids = mem_alloc(n, sizeof *ids);
    size_t *n_ids = mem_alloc(n, sizeof *n_ids);
    enum err_code code = ERR_NOMEM;
    if (!states || !ids || !n_ids) {
        err_set(err, code, "out of memory for %zu sessions", n);
        goto out;
    }
    for (size_t i = 0; i < n; i++) {
        states[i] = all[i]->session->state;
        ids[i] = all[i]->ids;
        n_ids[i] = all[i]->n_ids;
    }
    code = seq_feed(m, w, n, states, ids, n_ids, logits, err);
    for (size_t i = 0; i < n; i++)
        all[i]->made |= code != ERR_OK; /* let_go ends it */
out:
    mem_free(n_ids);
    mem_free(ids);
    mem_free(states);
    return code;
}

static void compute(struct step **all, size_t n, struct seq_worker *w)
{
    size_t V = all[0]->job.model->info->vocab;
    uint64_t start = clock_us();
    struct err e = {0};
    float *logits = mem_alloc(n, V * sizeof *logits); /* [n,V] */
    enum err_code code = logits ? feed(all, n, logits, w, &e)
                                : err_set(&e, ERR_NOMEM, "out of memory for the logits");
    uint64_t took = clock_us() - start;
    for (size_t i = 0; i < n; i++) {
        all[i]->job.compute_us = took;
        if (code == ERR_OK)
            answer_step(all[i], logits + i * V);
        else
            err_param(&all[i]->job.err, code, e.param, "%s", e.msg);
    }
    mem_free(logits);
}

static void run_steps(struct job **jobs, size_t n, struct seq_worker *w)
{
    struct step **all = mem_alloc(n, sizeof(void *));
    size_t ready = 0;
    for (size_t i = 0; i < n; i++) {
        struct step *r = step_of(jobs[i]);
        if (!all)
            err_set(&r->job.err, ERR_NOMEM, "out of memory for %zu sessions", n);
        else if (prepare(r))
            all[ready++] = r;
    }
    if (ready)
        compute(all, ready, w);
    /* Before any reply is sent: its reader may ask again at once. */
    for (size_t i = 0; i < n; i++)
        let_go(step_of(jobs[i]));
    mem_free(all);
}

static const struct job_kind KIND = {
    .name = "session", .run = run_steps, .free = free_step};

/* ---- handlers -------------------------------------------------------------------- */

static enum err_code read_step(struct server *s, const struct request *q,
                               const struct json_field *fields, size_t n_fields,
                               struct step **out, struct err *err)
{
    struct step *r = mem_zero(1, sizeof *r);
    if (!r)
        return err_set(err, ERR_NOMEM, "out of memory for the request");
    r->job.kind = &KIND;
    r->server = s;
    r->top_k = TOP_K;
    enum err_code code =
        q->body_n ? json_read(q->body, q->body_n, fields, n_fields, r, err) : ERR_OK;
    if (code == ERR_OK && r->text.at && r->input_ids.at)
        code = err_param(err, ERR_FORMAT, "input_ids",
                         "\"text\" and \"input_ids\" are given; one of them goes");
    if (code != ERR_OK) {
        free_step(&r->job);
        return code;
    }
    r->job.cost = r->text.n / BYTES_PER_TOKEN + r->input_ids.n + 1;
    *out = r;
    return ERR_OK;
}

static void take_session(struct step *r, struct session *taken)
{
    r->session = taken;
    r->job.model = taken->model;
    r->had = seq_state_length(taken->state);
}

/* A language model that goes on from a state. */
static enum err_code choose(const struct server *s, const struct step *r,
                            const struct model **out, struct err *err)
{
    enum err_code code =
        models_choose(s->models, r->model.at, r->model.n, SEQ_NEXT_WORD, out, err);
    if (code == ERR_OK && !((*out)->info->tasks & SEQ_STATES))
        code = err_param(err, ERR_TASK, "model",
                         "%s reads a text as a whole: it has no state to go on from",
                         (*out)->name);
    return code;
}

enum err_code sessions_create(struct server *s, const struct request *q,
                              struct answer *out, struct err *err)
{
    struct step *r = NULL;
    const struct model *m = NULL;
    struct session *session = NULL;
    struct session_view view = {0};
    enum err_code code = read_step(s, q, CREATE, N_CREATE, &r, err);
    if (!r)
        return code;
    code = choose(s, r, &m, err);
    if (code == ERR_OK)
        code = sessions_open(s->sessions, m, clock_us(), &session, err);
    if (code == ERR_LIMIT)
        refuse_bytes(&out->reply, out->dialect, err->msg);
    if (code != ERR_OK) {
        free_step(&r->job);
        return code == ERR_LIMIT ? ERR_OK : code;
    }
    if (r->text.at || r->input_ids.at) {
        take_session(r, session);
        r->made = true;
        out->job = &r->job;
        return ERR_OK;
    }
    free_step(&r->job);
    sessions_give(s->sessions, session, clock_us(), &view);
    return reply_view(&view, out, err);
}

enum err_code sessions_step(struct server *s, const struct request *q, struct answer *out,
                            struct err *err)
{
    struct step *r = NULL;
    struct session *session = NULL;
    enum err_code code = read_step(s, q, STEP, N_STEP, &r, err);
    if (!r)
        return code;
    if (!r->text.at && !r->input_ids.at) {
        free_step(&r->job);
        return err_param(err, ERR_FORMAT, "text", "\"text\" or \"input_ids\" is missing");
    }
    enum session_found found =
        sessions_take(s->sessions, q->args[0].at, q->args[0].n, clock_us(), &session);
    if (found != SESSION_FOUND) {
        free_step(&r->job);
        refuse(found, out);
        return ERR_OK;
    }
    take_session(r, session);
    out->job = &r->job;
    return ERR_OK;
}

enum err_code sessions_get(struct server *s, const struct request *q, struct answer *out,
                           struct err *err)
{
    struct session_view view = {0};
    enum session_found found =
        sessions_look(s->sessions, q->args[0].at, q->args[0].n, clock_us(), &view);
    if (found == SESSION_FOUND)
        return reply_view(&view, out, err);
    refuse(found, out);
    return ERR_OK;
}

enum err_code sessions_delete(struct server *s, const struct request *q,
                              struct answer *out, struct err *err)
{
    struct json_writer w = {0};
    struct session *session = NULL;
    enum session_found found =
        sessions_take(s->sessions, q->args[0].at, q->args[0].n, clock_us(), &session);
    if (found != SESSION_FOUND) {
        refuse(found, out);
        return ERR_OK;
    }
    json_write_object(&w);
    json_write_key_string(&w, "object", "session");
    json_write_key_string(&w, "id", session->id);
    json_write_key_bool(&w, "deleted", true);
    sessions_drop(s->sessions, session);
    return end_reply(&w, &out->reply, err);
}

/* A copy of the session, given back already. ERR_LIMIT: they hold too many bytes. */
static enum err_code copy_session(struct server *s, const struct session *from,
                                  struct session_view *out, struct err *err)
{
    struct session *to = NULL;
    enum err_code code = sessions_open(s->sessions, from->model, clock_us(), &to, err);
    if (!to)
        return code;
    size_t more = seq_state_bytes(from->state) - seq_state_bytes(to->state);
    if (!sessions_reserve(s->sessions, to, more, clock_us()))
        code = err_set(err, ERR_LIMIT,
                       "the sessions hold all bytes they may "
                       "(--session-bytes)");
    if (code == ERR_OK)
        code = seq_state_copy(to->state, from->state, err);
    if (code == ERR_OK)
        sessions_give(s->sessions, to, clock_us(), out);
    else
        sessions_drop(s->sessions, to);
    return code;
}

enum err_code sessions_fork(struct server *s, const struct request *q, struct answer *out,
                            struct err *err)
{
    struct session *session = NULL;
    struct session_view view = {0};
    struct err full = {0};
    if (q->body_n)
        return err_set(err, ERR_FORMAT, "this path takes no body");
    enum session_found found =
        sessions_take(s->sessions, q->args[0].at, q->args[0].n, clock_us(), &session);
    if (found != SESSION_FOUND) {
        refuse(found, out);
        return ERR_OK;
    }
    enum err_code code = copy_session(s, session, &view, &full);
    sessions_give(s->sessions, session, clock_us(), NULL);
    if (view.model)
        return reply_view(&view, out, err);
    if (code != ERR_LIMIT)
        return err_set(err, code, "%s", full.msg);
    refuse_bytes(&out->reply, out->dialect, full.msg);
    return ERR_OK;
}
