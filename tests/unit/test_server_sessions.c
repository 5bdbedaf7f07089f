/* Sessions: the store, and the routes on it. */
#include "tests/suite.h"
#include "tests/unit/api_server.h"

#include "server/clock.h"

#include <pthread.h>

static struct api_server api;

/* ---- the store ------------------------------------------------------------------- */

enum { SECOND = 1000000 };

static struct sessions *store(uint64_t ttl_us, size_t max_bytes)
{
    struct sessions *s = NULL;
    struct err err = {0};
    ck_assert_int_eq(sessions_new(ttl_us, max_bytes, &s, &err), ERR_OK);
    return s;
}

static const struct model *model(const char *name)
{
    const struct model *m = models_find(api.models, name, strlen(name));
    ck_assert_ptr_nonnull(m);
    return m;
}

static struct session *opened(struct sessions *s, uint64_t now)
{
    struct session *one = NULL;
    struct err err = {0};
    ck_assert_int_eq(sessions_open(s, model("tiny-lstm"), now, &one, &err), ERR_OK);
    return one;
}

START_TEST(one_user_at_a_time)
{
    struct session_view v;
    struct session *a, *b;
    api_start(&api);
    struct sessions *s = store(SECOND, 1 << 20);
    a = opened(s, 0);
    ck_assert_int_eq(sessions_take(s, a->id, 32, 0, &b), SESSION_BUSY);
    sessions_give(s, a, 0, &v);
    ck_assert_str_eq(v.id, a->id);
    ck_assert_int_eq(sessions_take(s, v.id, 31, 0, &b), SESSION_UNKNOWN);
    ck_assert_int_eq(sessions_take(s, v.id, 32, 0, &b), SESSION_FOUND);
    ck_assert_ptr_eq(a, b);
    sessions_drop(s, b);
    ck_assert_int_eq(sessions_take(s, v.id, 32, 0, &b), SESSION_UNKNOWN);
    sessions_free(s);
    api_stop(&api);
}
END_TEST

START_TEST(they_end_when_unused_but_not_while_busy)
{
    struct session_view v, w;
    struct session *a, *busy;
    size_t n, bytes;
    api_start(&api);
    struct sessions *s = store(SECOND, 1 << 20);
    busy = opened(s, 0);
    a = opened(s, 0);
    sessions_give(s, a, 0, &v);
    ck_assert_uint_eq(v.expires_us, SECOND);
    ck_assert_int_eq(sessions_look(s, v.id, 32, SECOND - 1, &w), SESSION_FOUND);
    ck_assert_uint_eq(w.expires_us, 1);
    ck_assert_int_eq(sessions_take(s, v.id, 32, SECOND, &a), SESSION_UNKNOWN);
    sessions_sweep(s, 5 * SECOND);
    sessions_figures(s, &n, &bytes);
    ck_assert_uint_eq(n, 1);
    ck_assert_uint_eq(bytes, busy->bytes);
    sessions_give(s, busy, 5 * SECOND, &v);
    ck_assert_int_eq(sessions_look(s, v.id, 32, 5 * SECOND, &w), SESSION_FOUND);
    sessions_sweep(s, 6 * SECOND);
    sessions_figures(s, &n, &bytes);
    ck_assert_uint_eq(n + bytes, 0);
    sessions_free(s);
    api_stop(&api);
}
END_TEST

START_TEST(memory_is_bounded_and_the_expired_make_room)
{
    struct session *a, *b;
    struct err err = {0};
    size_t n, bytes;
    api_start(&api);
    struct sessions *probe = store(SECOND, 1 << 20);
    size_t one = opened(probe, 0)->bytes;
    struct sessions *s = store(SECOND, 2 * one + 10);
    a = opened(s, 0);
    sessions_give(s, opened(s, 0), 0, NULL);
    ck_assert_int_eq(sessions_open(s, model("tiny-lstm"), 1, &b, &err), ERR_LIMIT);
    ck_assert(!sessions_reserve(s, a, 11, 1));
    ck_assert(sessions_reserve(s, a, 10, 1));
    ck_assert(!sessions_reserve(s, a, SIZE_MAX, 1));
    ck_assert(sessions_reserve(s, a, one, SECOND));
    sessions_figures(s, &n, &bytes);
    ck_assert_uint_eq(n, 1);
    ck_assert_uint_eq(bytes, 2 * one + 10);
    sessions_give(s, a, SECOND, NULL);
    sessions_figures(s, &n, &bytes);
    ck_assert_uint_eq(bytes, one);
    sessions_free(s);
    sessions_free(probe);
    api_stop(&api);
}
END_TEST

struct racer {
    struct sessions *s;
    const char *id;
    size_t won;
};

static void *race(void *arg)
{
    struct racer *r = arg;
    struct session *one;
    struct session_view v;
    for (int i = 0; i < 2000; i++) {
        if (sessions_take(r->s, r->id, 32, 0, &one) == SESSION_FOUND) {
            seq_state_reset(one->state); /* alone with it */
            r->won++;
            sessions_give(r->s, one, 0, &v);
        }
        one = opened(r->s, 0);
        if (i % 2)
            sessions_drop(r->s, one);
        else
            sessions_give(r->s, one, 0, NULL);
        sessions_sweep(r->s, i % 3 ? 0 : 10);
    }
    return NULL;
}

START_TEST(many_threads_use_it)
{
    enum { N = 4 };
    pthread_t threads[N];
    struct racer racers[N];
    struct session_view v;
    size_t won = 0, n, bytes;
    api_start(&api);
    struct sessions *s = store(SECOND, 1 << 30);
    sessions_give(s, opened(s, 0), 0, &v);
    for (size_t i = 0; i < N; i++) {
        racers[i] = (struct racer){s, v.id, 0};
        pthread_create(&threads[i], NULL, race, &racers[i]);
    }
    for (size_t i = 0; i < N; i++) {
        pthread_join(threads[i], NULL);
        won += racers[i].won;
    }
    sessions_figures(s, &n, &bytes);
    ck_assert_uint_gt(won, 0);
    ck_assert_uint_eq(n, 1 + N * 1000);
    sessions_sweep(s, 2 * SECOND);
    sessions_figures(s, &n, &bytes);
    ck_assert_uint_eq(n + bytes, 0);
    sessions_free(s);
    api_stop(&api);
}
END_TEST

/* ---- the routes ------------------------------------------------------------------ */

static json_t *step(const char *id, const char *body, unsigned status)
{
    char path[80];
    snprintf(path, sizeof path, "/v1/sessions/%s/step", id);
    return api_json(&api, "POST", path, body, status);
}

static const char *id_of(json_t *session)
{
    const char *id = json_string_value(json_object_get(session, "id"));
    ck_assert_ptr_nonnull(id);
    return id;
}

static void check_code(json_t *reply, const char *code)
{
    json_t *error = json_object_get(reply, "error");
    ck_assert_str_eq(json_string_value(json_object_get(error, "code")), code);
    json_decref(reply);
}

/* Token by token, in parts, and at once: the same bytes, and those of /v1/next-word. */
START_TEST(steps_are_one_pass_over_the_same_tokens)
{
    static const char *const names[] = {"tiny-gpt2", "tiny-lstm"};
    api_start(&api);
    for (size_t i = 0; i < 2; i++) {
        char body[200];
        snprintf(body, sizeof body, "{\"model\":\"%s\",\"text\":\"the cat sat on\"}",
                 names[i]);
        json_t *whole = api_json(&api, "POST", "/v1/sessions", body, 200);
        snprintf(body, sizeof body,
                 "{\"model\":\"%s\",\"text\":\"the cat sat on\",\"unit\":\"token\"}",
                 names[i]);
        json_t *cold = api_json(&api, "POST", "/v1/next-word", body, 200);
        snprintf(body, sizeof body, "{\"model\":\"%s\",\"text\":\"the cat\"}", names[i]);
        json_t *first = api_json(&api, "POST", "/v1/sessions", body, 200);
        json_t *second = step(id_of(first), "{\"text\":\" sat\"}", 200);
        json_decref(second);
        second = step(id_of(first), "{\"text\":\" on\"}", 200);
        json_t *result = json_array_get(json_object_get(cold, "results"), 0);
        ck_assert(json_equal(json_object_get(whole, "predictions"),
                             json_object_get(result, "predictions")));
        ck_assert(json_equal(json_object_get(whole, "tokens"),
                             json_object_get(second, "tokens")));
        ck_assert(json_equal(json_object_get(whole, "predictions"),
                             json_object_get(second, "predictions")));
        ck_assert_int_lt(json_integer_value(
                             json_object_get(json_object_get(second, "usage"), "tokens")),
                         json_integer_value(json_object_get(second, "tokens")));
        json_decref(second);
        json_decref(first);
        json_decref(cold);
        json_decref(whole);
    }
    api_stop(&api);
}
END_TEST

static json_t *predictions(const struct reply *r)
{
    json_t *tree = json_loadb(r->body.at, r->body.n, 0, NULL);
    json_t *list = json_incref(json_object_get(tree, "predictions"));
    ck_assert_uint_eq(json_array_size(list), 5);
    json_decref(tree);
    return list;
}

/* A worker takes steps of several sessions at once. */
START_TEST(steps_of_many_sessions_are_one_batch_with_the_same_bits)
{
    enum { N = 5 };
    struct reply alone[N], together[N];
    struct job *jobs[N];
    api_start(&api);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < N; i++) {
            char body[80];
            int n = snprintf(body, sizeof body,
                             "{\"model\":\"tiny-gpt2\",\"input_ids\":[%zu,%zu%s]}", i + 1,
                             2 * i + 3, i % 2 ? ",4,5,6" : "");
            struct answer answer = {0};
            struct err err = {0};
            struct router_match match;
            router_find(api.s.routes, api.s.n_routes, "POST", "/v1/sessions", &match);
            struct request q = {
                .route = match.route, .id = "t", .body = body, .body_n = (size_t)n};
            ck_assert_int_eq(match.route->handle(&api.s, &q, &answer, &err), ERR_OK);
            jobs[i] = answer.job;
            if (round == 0)
                api_run(&api, jobs[i]);
        }
        if (round == 1)
            jobs[0]->kind->run(jobs, N, api.worker);
        for (size_t i = 0; i < N; i++)
            api_finish(jobs[i], DIALECT_SEQD, round ? &together[i] : &alone[i]);
    }
    for (size_t i = 0; i < N; i++) {
        json_t *a = predictions(&alone[i]), *b = predictions(&together[i]);
        ck_assert(json_equal(a, b));
        json_decref(a);
        json_decref(b);
        reply_done(&alone[i]);
        reply_done(&together[i]);
    }
    api_stop(&api);
}
END_TEST

START_TEST(a_fork_goes_its_own_way)
{
    char path[80];
    api_start(&api);
    json_t *a = api_json(&api, "POST", "/v1/sessions",
                         "{\"text\":\"the cat\",\"model\":\"tiny-gpt2\"}", 200);
    snprintf(path, sizeof path, "/v1/sessions/%s/fork", id_of(a));
    json_t *b = api_json(&api, "POST", path, NULL, 200);
    ck_assert_str_ne(id_of(a), id_of(b));
    ck_assert(json_equal(json_object_get(a, "tokens"), json_object_get(b, "tokens")));
    json_decref(step(id_of(b), "{\"text\":\" and dog\"}", 200));
    json_t *one = step(id_of(a), "{\"text\":\" sat\"}", 200);
    json_t *whole = api_json(&api, "POST", "/v1/sessions",
                             "{\"text\":\"the cat sat\",\"model\":\"tiny-gpt2\"}", 200);
    ck_assert(json_equal(json_object_get(one, "predictions"),
                         json_object_get(whole, "predictions")));
    json_decref(whole);
    json_decref(one);
    json_decref(b);
    json_decref(a);
    api_stop(&api);
}
END_TEST

START_TEST(what_does_not_go_is_refused_and_leaves_the_session_as_it_was)
{
    static const char nobody[] = "0123456789abcdef0123456789abcdef";
    char path[80], id[SESSION_ID_BYTES];
    struct session *taken;
    api_start(&api);
    json_t *a = api_json(&api, "POST", "/v1/sessions", "{\"model\":\"tiny-lstm\"}", 200);
    snprintf(id, sizeof id, "%s", id_of(a));
    snprintf(path, sizeof path, "/v1/sessions/%s", id);
    ck_assert_ptr_null(json_object_get(a, "predictions"));
    json_decref(a);
    check_code(step(nobody, "{\"text\":\"a\"}", 404), "session_not_found");
    check_code(step("x", "{\"text\":\"a\"}", 404), "session_not_found");
    check_code(step(id, "{}", 400), "invalid_field");
    check_code(step(id, "{\"text\":\"a\",\"input_ids\":[1]}", 400), "invalid_field");
    check_code(step(id, "{\"input_ids\":[99999999]}", 422), "invalid_value");
    check_code(step(id, "{\"input_ids\":[-1]}", 422), "invalid_value");
    check_code(step(id, "{\"text\":\"a\",\"top_k\":101}", 422), "invalid_value");
    check_code(api_json(&api, "POST", "/v1/sessions", "{\"model\":\"tiny-bert\"}", 422),
               "unsupported_task");
    ck_assert_int_eq(sessions_take(api.s.sessions, id, 32, clock_us(), &taken),
                     SESSION_FOUND);
    check_code(step(id, "{\"text\":\"a\"}", 409), "session_busy");
    check_code(api_json(&api, "DELETE", path, NULL, 409), "session_busy");
    sessions_give(api.s.sessions, taken, clock_us(), NULL);
    a = api_json(&api, "GET", path, NULL, 200);
    ck_assert_int_eq(json_integer_value(json_object_get(a, "tokens")), 0);
    json_decref(a);
    a = api_json(&api, "DELETE", path, NULL, 200);
    ck_assert(json_is_true(json_object_get(a, "deleted")));
    json_decref(a);
    check_code(api_json(&api, "GET", path, NULL, 404), "session_not_found");
    api_stop(&api);
}
END_TEST

START_TEST(allocations_that_fail_lose_no_session_bytes)
{
    size_t n, bytes;
    struct reply r;
    api_start(&api);
    for (long i = 0, struck = 1; struck; i++) {
        ck_assert_int_lt((int)i, 2000);
        mem_fail_after(i);
        unsigned status = api_ask(&api, "POST", "/v1/sessions",
                                  "{\"text\":\"the cat\",\"model\":\"tiny-gpt2\"}", &r);
        struck = !mem_fail_pending();
        mem_fail_after(-1);
        ck_assert_msg(status == 200 || status == 503, "%u", status);
        reply_done(&r);
        sessions_figures(api.s.sessions, &n, &bytes);
        ck_assert_int_eq(n > 0, bytes > 0);
    }
    sessions_sweep(api.s.sessions, UINT64_MAX);
    sessions_figures(api.s.sessions, &n, &bytes);
    ck_assert_uint_eq(n + bytes, 0);
    api_stop(&api);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        one_user_at_a_time,
        they_end_when_unused_but_not_while_busy,
        memory_is_bounded_and_the_expired_make_room,
        many_threads_use_it,
        steps_are_one_pass_over_the_same_tokens,
        steps_of_many_sessions_are_one_batch_with_the_same_bits,
        a_fork_goes_its_own_way,
        what_does_not_go_is_refused_and_leaves_the_session_as_it_was,
        allocations_that_fail_lose_no_session_bytes,
        NULL};
    return suite_run("sessions", tests, 60);
}
