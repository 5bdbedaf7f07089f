/* Api_server: the handlers on the tiny models, without HTTP and without threads: a
 * request goes through the router to its handler and its job runs here. Test programs
 * only. */
#ifndef TESTS_UNIT_API_SERVER_H
#define TESTS_UNIT_API_SERVER_H

#include "model/base/mem.h"
#include "server/errors.h"
#include "server/router.h"
#include "server/server.h"

#include <check.h>
#include <jansson.h>
#include <string.h>

struct api_server {
    struct server s;
    struct options options;
    struct models *models;
    struct seq_worker *worker;
};

static const char *const API_MODELS[] = {
    "tests/fixtures/models/tiny-gpt2", "tests/fixtures/models/tiny-lstm",
    "tests/fixtures/models/tiny-bert", "tests/fixtures/models/tiny-bilstm"};

/* The default models of these folders are those of the daemon. */
static inline void api_start_with(struct api_server *a, const char *const *dirs, size_t n)
{
    char name[] = "seqd";
    char *const argv[] = {name, NULL};
    enum options_action action;
    struct err err = {0};
    *a = (struct api_server){0};
    a->s.options = &a->options;
    ck_assert_msg(options_read(1, argv, NULL, &a->options, &action, &err) == ERR_OK, "%s",
                  err.msg);
    ck_assert_msg(seq_init(NULL, &err) == ERR_OK, "%s", err.msg);
    ck_assert_msg(models_load(dirs, n, NULL, "f32", a->options.default_models, &a->models,
                              &err) == ERR_OK,
                  "%s", err.msg);
    a->s.models = a->models;
    a->s.routes = api_routes(a->options.inspect, &a->s.n_routes);
    ck_assert_int_eq(metrics_new(a->s.routes, a->s.n_routes, &a->s.metrics, &err),
                     ERR_OK);
    ck_assert_int_eq(sessions_new((uint64_t)a->options.session_ttl_s * 1000000u,
                                  (size_t)a->options.session_bytes, &a->s.sessions, &err),
                     ERR_OK);
    ck_assert_int_eq(seq_worker_new(NULL, &a->worker, &err), ERR_OK);
    atomic_store(&a->s.ready, true);
}

static inline void api_start(struct api_server *a)
{
    api_start_with(a, API_MODELS, 4);
}

static inline void api_stop(struct api_server *a)
{
    seq_worker_free(a->worker);
    sessions_free(a->s.sessions);
    metrics_free(a->s.metrics);
    models_free(a->models);
    options_done(&a->options);
}

/* A finished job's reply, or its error's. */
static inline void api_finish(struct job *job, enum dialect d, struct reply *r)
{
    if (job->err.code != ERR_OK) {
        reply_err(r, d, &job->err);
    } else {
        *r = job->reply;
        job->reply = (struct reply){0};
    }
    job->kind->free(job);
}

/* As a worker does, as often as the job asks for it. */
static inline void api_run(struct api_server *a, struct job *job)
{
    do {
        job->again = false;
        job->kind->run(&job, 1, a->worker);
    } while (job->again && job->err.code == ERR_OK);
}

/* Asks and computes; *r is the caller's. Returns the status. */
static inline unsigned api_ask(struct api_server *a, const char *method, const char *path,
                               const char *body, struct reply *r)
{
    struct router_match match;
    struct answer answer = {0};
    struct err err = {0};
    router_find(a->s.routes, a->s.n_routes, method, path, &match);
    answer.dialect = match.dialect;
    ck_assert_msg(match.route != NULL, "no route %s %s", method, path);
    struct request q = {.route = match.route,
                        .id = "test",
                        .path = path,
                        .body = body,
                        .body_n = body ? strlen(body) : 0};
    memcpy(q.args, match.args, sizeof q.args);
    *r = (struct reply){0};
    if (match.route->handle(&a->s, &q, &answer, &err) != ERR_OK) {
        reply_err(r, answer.dialect, &err);
    } else if (answer.job) {
        api_run(a, answer.job);
        api_finish(answer.job, answer.dialect, r);
    } else {
        *r = answer.reply;
    }
    return r->status ? r->status : 200;
}

/* The same for JSON replies; the tree is the caller's. */
static inline json_t *api_json(struct api_server *a, const char *method, const char *path,
                               const char *body, unsigned status)
{
    struct reply r;
    json_error_t e;
    unsigned got = api_ask(a, method, path, body, &r);
    const char *text = r.fixed ? r.fixed : r.body.at;
    size_t n = r.fixed ? r.fixed_n : r.body.n;
    int shown = n < 300 ? (int)n : 300; /* libcheck cuts long messages */
    ck_assert_msg(got == status, "%s %s: %u, not %u: %.*s", path, body ? body : "", got,
                  status, shown, text);
    json_t *tree = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &e);
    ck_assert_msg(tree != NULL, "%s: %s: %.*s", path, e.text, shown, text);
    reply_done(&r);
    return tree;
}

/* Every allocation of a request fails once: it answers 503 (429 in Hugging Face's
 * dialect), leaks nothing, and the next request is answered as ever. */
static inline void api_check_faults(struct api_server *a, const char *path,
                                    const char *body)
{
    struct reply good, r;
    long n = 0;
    bool struck = true;
    ck_assert_uint_eq(api_ask(a, "POST", path, body, &good), 200);
    for (; struck; n++) {
        ck_assert_int_lt((int)n, 20000);
        mem_fail_after(n);
        unsigned status = api_ask(a, "POST", path, body, &r);
        struck = !mem_fail_pending();
        mem_fail_after(-1);
        ck_assert_msg(status == 200 || status == 503 || status == 429,
                      "%s, allocation %ld: %u: %.*s", path, n, status, (int)r.body.n,
                      r.body.at);
        if (status == 200) {
            ck_assert_uint_eq(r.body.n, good.body.n);
            ck_assert_mem_eq(r.body.at, good.body.at, good.body.n);
        }
        reply_done(&r);
    }
    ck_assert_int_gt((int)n, 5);
    reply_done(&good);
}

#endif
