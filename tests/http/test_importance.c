/* /v1/importance and :explain through the whole daemon: the same bytes however its parts
 * are run, others' turns between them, paths with a verb, hostile requests. */
#include "tests/http/client.h"
#include "tests/http/daemon.h"
#include "tests/json_look.h"
#include "tests/suite.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char ROUTE[] = "/v1/importance";

/* {"instances":[text, ...]} of so many texts of so many words; free(). */
static char *long_body(size_t texts, size_t words)
{
    size_t room = texts * (2 * words + 3) + 40, n;
    char *body = malloc(room);
    ck_assert_ptr_nonnull(body);
    n = (size_t)snprintf(body, room, "{\"instances\":[");
    for (size_t i = 0; i < texts; i++) {
        n += (size_t)snprintf(body + n, room - n, "%s\"", i ? "," : "");
        for (size_t k = 0; k < words; k++)
            n += (size_t)snprintf(body + n, room - n, "a ");
        n += (size_t)snprintf(body + n, room - n, "\"");
    }
    snprintf(body + n, room - n, "]}");
    return body;
}

static void send_post(struct client *c, const char *path, const char *body)
{
    size_t n = strlen(body);
    ck_assert(client_sendf(
        c, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n", path, n));
    ck_assert(client_send(c, body, n));
}

/* One worker and several, one request and many at once. */
START_TEST(the_same_bytes_whoever_computes_them)
{
    enum { AT_ONCE = 6 };
    static const char body[] =
        "{\"model\":\"tiny-gpt2\",\"text\":\"the cat sat on the mat, not great at all\","
        "\"unit\":\"token\",\"decimals\":9}";
    static const char *const one[] = {"--workers=1", NULL};
    static const char *const four[] = {"--workers=4", NULL};
    static const char *const *const args[] = {one, four};
    char *first = NULL;
    for (size_t d = 0; d < 2; d++) {
        struct daemon daemon;
        struct client c[AT_ONCE];
        daemon_start(&daemon, args[d]);
        for (size_t i = 0; i < AT_ONCE; i++) {
            client_open(&c[i], daemon.port);
            send_post(&c[i], ROUTE, body);
        }
        for (size_t i = 0; i < AT_ONCE; i++) {
            struct reply r;
            client_read(&c[i], &r, false, 20000);
            ck_assert_int_eq(r.status, 200);
            if (first)
                ck_assert_str_eq(r.body, first);
            else
                first = strdup(r.body);
            reply_done(&r);
            client_close(&c[i]);
        }
        ck_assert_int_eq(daemon_stop(&daemon), 0);
    }
    free(first);
}
END_TEST

/* What takes half a million tokens is not over when a short text has its answer, also
 * with a single worker; and nobody waits for it once its client has gone. */
START_TEST(others_have_their_turns)
{
    static const char *const args[] = {"--workers=1", NULL};
    struct daemon d;
    struct client slow, quick;
    struct reply r;
    char *body = long_body(8, 250);
    daemon_start(&d, args);
    client_open(&slow, d.port);
    client_open(&quick, d.port);
    send_post(&slow, "/v1/models/tiny-lstm:explain", body);
    send_post(&quick, "/v1/sentiment", "{\"model\":\"tiny-bert\",\"text\":\"great\"}");
    client_read(&quick, &r, false, 20000);
    ck_assert_int_eq(r.status, 200);
    reply_done(&r);
    struct pollfd p = {.fd = slow.fd, .events = POLLIN};
    ck_assert_int_eq(poll(&p, 1, 0), 0);
    client_close(&slow);
    send_post(&quick, ROUTE, "{\"model\":\"tiny-bert\",\"text\":\"great\"}");
    client_read(&quick, &r, false, 20000);
    ck_assert_int_eq(r.status, 200);
    reply_done(&r);
    client_close(&quick);
    free(body);
    ck_assert_int_eq(daemon_stop(&d), 0);
}
END_TEST

START_TEST(the_verb_is_part_of_the_path)
{
    static const struct {
        const char *method, *path;
        int status;
        const char *allow;
    } rows[] = {
        {"GET", "/v1/models/tiny-bert:explain", 405, "POST, OPTIONS"},
        {"DELETE", "/v1/models/tiny-bert:explain", 405, "POST, OPTIONS"},
        {"OPTIONS", "/v1/models/tiny-bert:explain", 204, "POST, OPTIONS"},
        {"POST", "/v1/models/tiny-bert", 405, "GET, HEAD, OPTIONS"},
        {"POST", "/v1/models/tiny-bert:predict", 405, "GET, HEAD, OPTIONS"},
        {"GET", "/v1/models/tiny-bert:predict", 404, ""},
        {"POST", "/v1/models/org/tiny-bert:explain", 404, ""},
        {"POST", "/v1/models/none:explain", 404, ""},
        {"POST", "/v1/models/tiny%2Dbert%3Aexplain", 200, ""},
    };
    struct daemon d;
    daemon_start(&d, NULL);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct reply r;
        bool post = strcmp(rows[i].method, "POST") == 0;
        ask(d.port, rows[i].method, rows[i].path,
            post ? "{\"instances\":[\"a cat\"]}" : NULL, &r);
        ck_assert_msg(r.status == rows[i].status, "%s %s: %d", rows[i].method,
                      rows[i].path, r.status);
        ck_assert_str_eq(reply_header(&r, "Allow"), rows[i].allow);
        reply_done(&r);
    }
    ck_assert_int_eq(daemon_stop(&d), 0);
}
END_TEST

START_TEST(no_route_looks_inside_when_that_is_off)
{
    static const char *const args[] = {"--inspect=off", NULL};
    struct daemon d;
    struct reply r;
    daemon_start(&d, args);
    ask(d.port, "POST", ROUTE, "{\"text\":\"a\"}", &r);
    ck_assert_int_eq(r.status, 404);
    reply_done(&r);
    ask(d.port, "POST", "/v1/models/tiny-bert:explain", "{\"instances\":[\"a\"]}", &r);
    ck_assert_int_eq(r.status, 405);
    reply_done(&r);
    ck_assert_int_eq(daemon_stop(&d), 0);
}
END_TEST

/* Refused as what they are, and the daemon goes on. */
START_TEST(hostile_requests_are_refused)
{
    static const struct {
        const char *path, *body;
        int status;
    } rows[] = {
        {ROUTE, "", 400},
        {ROUTE, "[]", 400},
        {ROUTE, "{\"text\":\"a\"", 400},
        {ROUTE, "{\"text\":\"\xff\"}", 400},
        {ROUTE, "{\"text\":{\"text\":\"a\"}}", 400},
        {ROUTE, "{\"text\":\"a\",\"text\":\"b\"}", 400},
        {ROUTE, "{\"text\":\"a\",\"unit\":[\"word\"]}", 400},
        {ROUTE, "{\"text\":\"a\",\"decimals\":1e99}", 400},
        {ROUTE, "{\"text\":\"a\",\"decimals\":-1}", 422},
        {ROUTE, "{\"text\":\"a\",\"target\":\"\\u0000\"}", 422},
        {ROUTE, "{\"text\":\"a\",\"target\":\"\\ud83d\\ude00\"}", 422},
        {ROUTE, "{\"text\":\"a\\u0000b\"}", 200},
        {ROUTE, "{\"input_ids\":[-1]}", 422},
        {ROUTE, "{\"input_ids\":[9223372036854775807]}", 422},
        {"/v1/models/tiny-bert:explain", "{\"instances\":[[\"a\"]]}", 400},
        {"/v1/models/tiny-bert:explain", "{\"instances\":{\"text\":\"a\"}}", 400},
        {"/v1/models/tiny-bert:explain", "{\"instances\":[{\"\":\"a\"}]}", 400},
        {"/v1/models/tiny-bert:explain", "{\"instances\":[\"\\u0000\"]}", 200},
        {"/v1/models/%00:explain", "{\"instances\":[\"a\"]}", 404},
        {"/v1/models/%ff:explain", "{\"instances\":[\"a\"]}", 404},
    };
    struct daemon d;
    daemon_start(&d, NULL);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct reply r;
        ask(d.port, "POST", rows[i].path, rows[i].body, &r);
        ck_assert_msg(r.status == rows[i].status, "%s %s: %d %s", rows[i].path,
                      rows[i].body, r.status, r.body);
        json_decref(reply_json(&r));
        reply_done(&r);
    }
    char *many = long_body(257, 1);
    struct reply r;
    ask(d.port, "POST", "/v1/models/tiny-bert:explain", many, &r);
    ck_assert_int_eq(r.status, 413);
    reply_done(&r);
    free(many);
    json_decref(ask_json(d.port, "POST", ROUTE, "{\"text\":\"a cat\"}", 200));
    ck_assert_int_eq(daemon_stop(&d), 0);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        the_same_bytes_whoever_computes_them, others_have_their_turns,
        the_verb_is_part_of_the_path,         no_route_looks_inside_when_that_is_off,
        hostile_requests_are_refused,         NULL};
    return suite_run("http_importance", tests, 120);
}
