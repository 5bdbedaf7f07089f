/* Bad weather: late, foreign, half-closed and outdated clients, a log nobody reads. */
#include "tests/http/client.h"
#include "tests/http/daemon.h"
#include "tests/suite.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char SMALL[] = "{\"model\":\"tiny-bert\",\"text\":\"great\"}";

static void still_well(unsigned port)
{
    json_decref(ask_json(port, "POST", "/v1/sentiment", SMALL, 200));
}

static void send_post(struct client *c, const char *more, const char *path,
                      const char *body)
{
    client_sendf(c, "POST %s HTTP/1.1\r\nHost: x\r\n%sContent-Length: %zu\r\n\r\n%s",
                 path, more, strlen(body), body);
}

static void check_code(const struct reply *r, int status, const char *code)
{
    ck_assert_msg(r->status == status, "status %d, expected %d: %.300s", r->status,
                  status, r->body ? r->body : "");
    json_t *all = reply_json(r);
    ck_assert_str_eq(error_field(all, "code"), code);
    ck_assert_uint_gt(strlen(error_field(all, "message")), 0);
    json_decref(all);
}

/* ---- time ------------------------------------------------------------------------ */

START_TEST(a_body_that_does_not_come_is_answered_408)
{
    struct daemon d;
    const char *const args[] = {"--body-timeout-ms=300", NULL};
    daemon_start(&d, args);
    struct client c;
    struct reply r;
    client_open(&c, d.port);
    client_sendf(&c, "POST /v1/sentiment HTTP/1.1\r\nHost: x\r\n"
                     "Content-Length: 100\r\n\r\n{\"text\":");
    client_read(&c, &r, false, 5000);
    check_code(&r, 408, "request_timeout");
    ck_assert_str_eq(reply_header(&r, "Connection"), "close");
    reply_done(&r);
    ck_assert(client_closed(&c, 5000));
    client_close(&c);
    still_well(d.port);
    ask(d.port, "GET", "/metrics", NULL, &r);
    ck_assert_ptr_nonnull(strstr(r.body, "route=\"/v1/sentiment\",status=\"408\"} 1\n"));
    reply_done(&r);
    usleep(100000);
    char log[8192];
    daemon_log(&d, log, sizeof log);
    ck_assert_ptr_nonnull(strstr(log, "\"status\":408,\"code\":\"request_timeout\""));
    ck_assert_int_eq(daemon_stop(&d), 0);
}
END_TEST

/* A request that keeps a worker busy for more than a second. */
static char *long_request(void)
{
    enum { WORDS = 400000 };
    static const char begin[] = "{\"model\":\"tiny-bilstm\",\"text\":\"", word[] = "cat ";
    char *body = malloc(sizeof begin + WORDS * (sizeof word - 1) + 3);
    ck_assert_ptr_nonnull(body);
    char *to = stpcpy(body, begin);
    for (int i = 0; i < WORDS; i++)
        to = stpcpy(to, word);
    stpcpy(to, "\"}");
    return body;
}

START_TEST(whoever_waits_too_long_for_a_worker_is_answered_503)
{
    struct daemon d;
    const char *const args[] = {"--workers=1", "--request-timeout-ms=150",
                                "--max-tokens=1000000", "--max-body-bytes=4000000", NULL};
    daemon_start(&d, args);
    char *body = long_request();
    struct client c[2];
    int ok = 0;
    for (int i = 0; i < 2; i++) {
        client_open(&c[i], d.port);
        send_post(&c[i], "", "/v1/sentiment", body);
    }
    for (int i = 0; i < 2; i++) { /* what is computed already is not given up */
        struct reply r;
        client_read(&c[i], &r, false, 100000);
        ok += r.status == 200;
        if (r.status != 200) {
            check_code(&r, 503, "queue_timeout");
            ck_assert_str_eq(reply_header(&r, "Retry-After"), "1");
            ck_assert_str_eq(reply_header(&r, "retry-after-ms"), "1000");
        }
        reply_done(&r);
    }
    ck_assert_int_eq(ok, 1);
    for (int i = 0; i < 2; i++) { /* both connections are kept */
        struct reply r;
        send_post(&c[i], "", "/v1/sentiment", SMALL);
        client_read(&c[i], &r, false, 20000);
        ck_assert_int_eq(r.status, 200);
        reply_done(&r);
        client_close(&c[i]);
    }
    free(body);
    ck_assert_int_eq(daemon_stop(&d), 0);
}
END_TEST

/* ---- heads ----------------------------------------------------------------------- */

START_TEST(foreign_pages_are_told_why)
{
    struct daemon d;
    daemon_start(&d, NULL);
    struct client c;
    struct reply r;
    client_open(&c, d.port);
    send_post(&c, "Origin: http://evil.example\r\n", "/v1/sentiment", SMALL);
    client_read(&c, &r, false, 5000);
    check_code(&r, 403, "origin_not_allowed");
    ck_assert_str_eq(reply_header(&r, "Access-Control-Allow-Origin"), "");
    reply_done(&r);
    send_post(&c, "", "/v1/sentiment", SMALL); /* the next request is read whole */
    client_read(&c, &r, false, 5000);
    ck_assert_int_eq(r.status, 200);
    reply_done(&r);
    client_close(&c);
    ck_assert_int_eq(daemon_stop(&d), 0);
}
END_TEST

START_TEST(other_versions_of_http_are_answered_505)
{
    static const char *const lines[] = {"GET /livez HTTP/1.2", "GET /livez HTTP/2.0",
                                        "PRI * HTTP/2.0", "GET /livez HTTP/0.9"};
    struct daemon d;
    daemon_start(&d, NULL);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct client c;
        struct reply r;
        client_open(&c, d.port);
        client_sendf(&c, "%s\r\nHost: x\r\n\r\n", lines[i]);
        client_read(&c, &r, false, 5000);
        ck_assert_msg(r.status == 505, "%s: %d", lines[i], r.status);
        reply_done(&r);
        ck_assert_msg(client_closed(&c, 5000), "%s: not closed", lines[i]);
        client_close(&c);
    }
    still_well(d.port);
    ck_assert_int_eq(daemon_stop(&d), 0);
}
END_TEST

/* A header's value, copied, since reply_header has only one buffer. */
static char *copy_header(const struct reply *r, const char *name)
{
    return strdup(reply_header(r, name));
}

static void compare_head(unsigned port, const char *path)
{
    static const char *const names[] = {"Content-Type", "Content-Length", "Cache-Control",
                                        "ETag", "Content-Security-Policy"};
    struct client c;
    struct reply get, head;
    client_open(&c, port);
    client_sendf(&c, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path);
    client_read(&c, &get, false, 10000);
    client_sendf(&c, "HEAD %s HTTP/1.1\r\nHost: x\r\n\r\n", path);
    client_read(&c, &head, true, 10000);
    ck_assert_msg(get.status == 200 && head.status == 200, "%s: %d, HEAD %d", path,
                  get.status, head.status);
    /* These two count what has happened, this request included. */
    bool counts = strcmp(path, "/metrics") == 0 || strcmp(path, "/health") == 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *want = copy_header(&get, names[i]);
        if (!counts || strcmp(names[i], "Content-Length") != 0)
            ck_assert_msg(strcmp(want, reply_header(&head, names[i])) == 0,
                          "%s: %s: '%s', HEAD '%s'", path, names[i], want,
                          reply_header(&head, names[i]));
        free(want);
    }
    /* No byte of a body: the next reply begins right behind the head. */
    client_sendf(&c, "GET /livez HTTP/1.1\r\nHost: x\r\nX-Request-Id: next\r\n\r\n");
    reply_done(&get);
    client_read(&c, &get, false, 10000);
    ck_assert_int_eq(get.status, 200);
    ck_assert_str_eq(reply_header(&get, "X-Request-Id"), "next");
    reply_done(&get);
    reply_done(&head);
    client_close(&c);
}

START_TEST(head_is_get_without_the_body)
{
    struct daemon d;
    daemon_start(&d, NULL);
    json_t *doc = ask_json(d.port, "GET", "/openapi.json", NULL, 200), *methods;
    const char *name;
    int n = 0;
    json_object_foreach(json_object_get(doc, "paths"), name, methods)
    {
        char path[200];
        client_path(name, path, sizeof path);
        if (!json_object_get(methods, "get") || strstr(name, "{session}"))
            continue; /* or there is none to ask for */
        compare_head(d.port, path);
        n++;
    }
    ck_assert_int_ge(n, 8);
    json_decref(doc);
    struct reply r;
    ask(d.port, "HEAD", "/v1/sentiment", NULL, &r);
    ck_assert_int_eq(r.status, 405);
    reply_done(&r);
    ask(d.port, "HEAD", "/nothing", NULL, &r);
    ck_assert_int_eq(r.status, 404);
    reply_done(&r);
    ck_assert_int_eq(daemon_stop(&d), 0);
}
END_TEST

/* ---- clients that say no more ---------------------------------------------------- */

/* Sends, closes the sending half, and reads the answer; returns its status, 0 for none.
 */
static int ask_half_closed(unsigned port, const char *request)
{
    struct client c;
    struct reply r;
    client_open(&c, port);
    client_send(&c, request, strlen(request));
    shutdown(c.fd, SHUT_WR);
    client_read(&c, &r, false, 10000);
    int status = r.status;
    if (status == 499)
        check_code(&r, 499, "client_closed_request");
    ck_assert_msg(status || !r.head, "half an answer: %s", r.head);
    reply_done(&r);
    ck_assert_msg(client_closed(&c, 5000), "status %d, but not closed", status);
    client_close(&c);
    return status;
}

START_TEST(half_closed_clients_are_let_go)
{
    struct daemon d;
    daemon_start(&d, NULL);
    char post[300];
    snprintf(post, sizeof post,
             "POST /v1/sentiment HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n%s",
             strlen(SMALL), SMALL);
    int answered = 0;
    for (int i = 0; i < 20; i++) {
        /* Closing counts as leaving: whether an answer is on its way by then is chance.
         */
        int status = ask_half_closed(d.port, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n");
        ck_assert_msg(status == 200 || status == 0, "GET: status %d", status);
        answered += status == 200;
        status = ask_half_closed(d.port, post);
        ck_assert_msg(status == 200 || status == 499 || status == 0, "POST: status %d",
                      status);
    }
    ck_assert_int_gt(answered, 0);
    still_well(d.port);
    ck_assert_int_eq(daemon_stop(&d), 0);
}
END_TEST

/* ---- a log that nobody reads ----------------------------------------------------- */

START_TEST(a_blocked_stderr_stops_nothing)
{
    enum { ROUNDS = 60, EACH = 50 }; /* of some 250 bytes each, into a pipe and a ring */
    struct daemon d;
    const char *const args[] = {"--log-level=debug", NULL};
    daemon_start(&d, args); /* its pipe is not read from here on */
    struct client c;
    client_open(&c, d.port);
    for (int i = 0; i < ROUNDS; i++) {
        for (int k = 0; k < EACH; k++)
            client_sendf(&c, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n");
        for (int k = 0; k < EACH; k++) {
            struct reply r;
            client_read(&c, &r, false, 10000);
            ck_assert_msg(r.status == 200, "request %d: %d", i * EACH + k, r.status);
            reply_done(&r);
        }
    }
    client_close(&c);
    still_well(d.port);
    static char log[1 << 20];
    size_t n = 0;
    bool told = false;
    for (int i = 0; i < 100 && !told; i++) { /* read at last; the loss is told */
        n += daemon_log(&d, log + n, sizeof log - n);
        still_well(d.port);
        told = strstr(log, "\"lines_dropped\":") != NULL;
        usleep(20000);
    }
    ck_assert(told);
    ck_assert_int_eq(daemon_stop(&d), 0);
}
END_TEST

START_TEST(a_closed_stderr_stops_nothing)
{
    struct daemon d;
    daemon_start(&d, NULL);
    close(d.log); /* whoever writes there now gets SIGPIPE */
    d.log = -1;
    for (int i = 0; i < 5; i++)
        still_well(d.port);
    ck_assert_int_eq(daemon_stop(&d), 0);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {a_body_that_does_not_come_is_answered_408,
                                  whoever_waits_too_long_for_a_worker_is_answered_503,
                                  foreign_pages_are_told_why,
                                  other_versions_of_http_are_answered_505,
                                  head_is_get_without_the_body,
                                  half_closed_clients_are_let_go,
                                  a_blocked_stderr_stops_nothing,
                                  a_closed_stderr_stops_nothing,
                                  NULL};
    return suite_run("weather", tests, 180);
}
