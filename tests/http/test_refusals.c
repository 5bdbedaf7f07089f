/* What must be refused, how, and that the daemon stays well. */
#include "tests/http/client.h"
#include "tests/http/daemon.h"
#include "tests/suite.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

static void still_well(unsigned port)
{
    json_decref(ask_json(port, "POST", "/v1/sentiment",
                         "{\"model\":\"tiny-bert\",\"text\":\"great\"}", 200));
}

/* ---- requests -------------------------------------------------------------------- */

struct refusal {
    const char *path, *body;
    int status;
    const char *param;   /* of the error; "" = null */
    const char *mention; /* a part of its message */
};

static const struct refusal refusals[] = {
    {"/v1/sentiment", "{", 400, "", ""},
    {"/v1/sentiment", "", 400, "", ""},
    {"/v1/sentiment", "[]", 400, "", "object"},
    {"/v1/sentiment", "{}", 400, "text", "text"},
    {"/v1/sentiment", "{\"text\":\"a\",\"txet\":\"b\"}", 400, "txet", "txet"},
    {"/v1/sentiment", "{\"text\":\"a\",\"text\":\"b\"}", 400, "text", "twice"},
    {"/v1/sentiment", "{\"text\":1}", 400, "text", "string"},
    {"/v1/sentiment", "{\"text\":null}", 400, "text", "missing"},
    {"/v1/sentiment", "{\"text\":\"a\",\"texts\":[\"b\"]}", 400, "texts", "text"},
    {"/v1/sentiment", "{\"texts\":[]}", 422, "texts", ""},
    {"/v1/sentiment", "{\"texts\":[\"a\",2]}", 400, "texts[1]", "string"},
    {"/v1/sentiment", "{\"text\":\"a\",\"model\":\"nothing\"}", 404, "model", "nothing"},
    {"/v1/sentiment", "{\"text\":\"a\",\"model\":\"tiny-gpt2\"}", 422, "model",
     "tiny-gpt2"},
    {"/v1/sentiment", "{\"text\":\"\xff\"}", 400, "", "UTF-8"},
    {"/v1/sentiment", "{\"text\":\"\\ud800\"}", 400, "", ""},
    {"/v1/sentiment", "{\"text\":\"a\"} x", 400, "", ""},
    {"/v1/sentiment", "{\"model\":\"tiny-bilstm\",\"text\":\" \"}", 422, "text", "token"},
    {"/v1/next-word", "{\"text\":\"a\",\"top_k\":0}", 422, "top_k", "1"},
    {"/v1/next-word", "{\"text\":\"a\",\"top_k\":101}", 422, "top_k", "100"},
    {"/v1/next-word", "{\"text\":\"a\",\"top_k\":2.5}", 400, "top_k", "integer"},
    {"/v1/next-word", "{\"text\":\"a\",\"top_k\":1e400}", 400, "", ""},
    {"/v1/next-word", "{\"text\":\"a\",\"unit\":\"letter\"}", 422, "unit", "letter"},
    {"/v1/next-word", "{\"text\":\"a\",\"prefix\":5}", 400, "prefix", "string"},
    {"/v1/attention", "{\"text\":\"a\",\"layers\":[2]}", 422, "layers[0]", "2"},
    {"/v1/attention", "{\"text\":\"a\",\"layers\":[0,-2]}", 422, "layers[1]", ""},
    {"/v1/attention", "{\"text\":\"a\",\"heads\":\"some\"}", 400, "heads", "all"},
    {"/v1/attention", "{\"text\":\"a\",\"decimals\":10}", 422, "decimals", "9"},
    {"/v1/attention", "{\"text\":\"a\",\"model\":\"tiny-lstm\"}", 422, "model",
     "tiny-lstm"},
    {"/v1/attention", "{\"text\":\"a\",\"queries\":[99]}", 422, "queries[0]", "99"},
};

START_TEST(wrong_fields_are_named)
{
    struct daemon d;
    daemon_start(&d, NULL);
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        const struct refusal *want = &refusals[i];
        json_t *all = ask_json(d.port, "POST", want->path, want->body, want->status);
        ck_assert_msg(strcmp(error_field(all, "param"), want->param) == 0,
                      "%s %s: param '%s', expected '%s'", want->path, want->body,
                      error_field(all, "param"), want->param);
        ck_assert_msg(strstr(error_field(all, "message"), want->mention) != NULL,
                      "%s %s: message '%s' does not mention '%s'", want->path, want->body,
                      error_field(all, "message"), want->mention);
        ck_assert_uint_gt(strlen(error_field(all, "type")), 0);
        json_decref(all);
    }
    still_well(d.port);
    ck_assert_int_eq(daemon_stop(&d), 0);
}
END_TEST

START_TEST(huge_and_deep_json_is_refused)
{
    struct daemon d;
    const char *const args[] = {"--max-body-bytes=200000", NULL};
    daemon_start(&d, args);
    char *deep = malloc(100001);
    memset(deep, '[', 100000);
    deep[100000] = '\0';
    json_decref(ask_json(d.port, "POST", "/v1/sentiment", deep, 400));
    for (size_t i = 0; i + 1 < 100000; i += 2)
        memcpy(deep + i, "1,", 2);
    deep[0] = '[';
    json_decref(ask_json(d.port, "POST", "/v1/sentiment", deep, 400));
    free(deep);
    char *big = malloc(200002);
    memset(big, ' ', 200001);
    big[200001] = '\0';
    json_decref(ask_json(d.port, "POST", "/v1/sentiment", big, 413));
    free(big);
    still_well(d.port);
    ck_assert_int_eq(daemon_stop(&d), 0);
}
END_TEST

START_TEST(a_declared_length_over_the_limit_is_refused_unread)
{
    struct daemon d;
    daemon_start(&d, NULL);
    struct client c;
    struct reply r;
    client_open(&c, d.port);
    client_sendf(&c,
                 "POST /v1/sentiment HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n"
                 "Expect: 100-continue\r\n\r\n");
    client_read(&c, &r, false, 5000);
    ck_assert_int_eq(r.status, 413);
    reply_done(&r);
    ck_assert(client_closed(&c, 5000));
    client_close(&c);
    /* A chunked body declares nothing: it is counted as it comes. */
    client_open(&c, d.port);
    client_sendf(&c, "POST /v1/sentiment HTTP/1.1\r\nHost: x\r\n"
                     "Transfer-Encoding: chunked\r\n\r\n");
    static char chunk[65536];
    memset(chunk, ' ', sizeof chunk);
    bool open = true;
    for (int i = 0; i < 32 && open; i++)
        open = client_sendf(&c, "10000\r\n") && client_send(&c, chunk, sizeof chunk) &&
               client_sendf(&c, "\r\n");
    if (open)
        client_sendf(&c, "0\r\n\r\n");
    client_read(&c, &r, false, 5000);
    ck_assert_int_eq(r.status, 413);
    reply_done(&r);
    client_close(&c);
    still_well(d.port);
    ck_assert_int_eq(daemon_stop(&d), 0);
}
END_TEST

START_TEST(paths_methods_and_types_are_checked)
{
    struct daemon d;
    daemon_start(&d, NULL);
    json_decref(ask_json(d.port, "GET", "/nothing", NULL, 404));
    json_decref(ask_json(d.port, "GET", "/v1/sentiment/", NULL, 404));
    struct reply r;
    ask(d.port, "GET", "/v1/sentiment", NULL, &r);
    ck_assert_int_eq(r.status, 405);
    ck_assert_ptr_nonnull(strstr(reply_header(&r, "Allow"), "POST"));
    reply_done(&r);
    ask(d.port, "DELETE", "/livez", NULL, &r);
    ck_assert_int_eq(r.status, 405);
    ck_assert_ptr_nonnull(strstr(reply_header(&r, "Allow"), "GET"));
    reply_done(&r);
    ask(d.port, "OPTIONS", "/v1/sentiment", NULL, &r);
    ck_assert_int_eq(r.status, 204);
    reply_done(&r);
    struct client c;
    client_open(&c, d.port);
    client_sendf(&c,
                 "POST /v1/sentiment HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\n"
                 "Content-Length: 12\r\n\r\n{\"text\":\"a\"}");
    client_read(&c, &r, false, 5000);
    ck_assert_int_eq(r.status, 415);
    reply_done(&r);
    client_close(&c);
    ck_assert_int_eq(daemon_stop(&d), 0);
}
END_TEST

START_TEST(pages_of_other_origins_are_refused_unless_allowed)
{
    static const struct {
        const char *flag, *origin;
        int status;
    } cases[] = {{"--log-level=info", "http://evil.example", 403},
                 {"--log-level=info", "http://localhost:80", 403},
                 {"--cors-origin=http://good.example", "http://good.example", 200},
                 {"--cors-origin=http://good.example", "http://evil.example", 403}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct daemon d;
        const char *const args[] = {cases[i].flag, NULL};
        daemon_start(&d, args);
        struct client c;
        struct reply r;
        const char *body = "{\"model\":\"tiny-bert\",\"text\":\"great\"}";
        client_open(&c, d.port);
        client_sendf(&c,
                     "POST /v1/sentiment HTTP/1.1\r\nHost: x\r\nOrigin: %s\r\n"
                     "Content-Length: %zu\r\n\r\n%s",
                     cases[i].origin, strlen(body), body);
        client_read(&c, &r, false, 5000);
        ck_assert_int_eq(r.status, cases[i].status);
        ck_assert_str_eq(reply_header(&r, "Access-Control-Allow-Origin"),
                         r.status == 200 ? cases[i].origin : "");
        reply_done(&r);
        client_close(&c);
        ck_assert_int_eq(daemon_stop(&d), 0);
    }
}
END_TEST

/* ---- framing --------------------------------------------------------------------- */

START_TEST(ambiguous_framing_is_refused_and_closed)
{
    static const char *const heads[] = {
        "Content-Length: 3\r\nContent-Length: 5\r\n",
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Content-Length : 3\r\n",
        "Content-Length: +3\r\n",
        "Content-Length: 3\r\nHost: second\r\n",
    };
    struct daemon d;
    daemon_start(&d, NULL);
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        struct client c;
        struct reply r;
        client_open(&c, d.port);
        client_sendf(&c, "POST /v1/sentiment HTTP/1.1\r\nHost: x\r\n%s\r\nabc", heads[i]);
        client_read(&c, &r, false, 5000);
        ck_assert_msg(r.status == 400, "%s: %d", heads[i], r.status);
        reply_done(&r);
        ck_assert_msg(client_closed(&c, 5000), "%s: not closed", heads[i]);
        client_close(&c);
    }
    still_well(d.port);
    ck_assert_int_eq(daemon_stop(&d), 0);
}
END_TEST

START_TEST(connections_are_kept_and_pipelined)
{
    struct daemon d;
    daemon_start(&d, NULL);
    struct client c;
    struct reply r;
    client_open(&c, d.port);
    const char *body = "{\"model\":\"tiny-bert\",\"text\":\"great\"}";
    for (int i = 0; i < 5; i++)
        client_sendf(&c,
                     "POST /v1/sentiment HTTP/1.1\r\nHost: x\r\nX-Request-Id: n%d\r\n"
                     "Content-Length: %zu\r\n\r\n%s"
                     "GET /livez HTTP/1.1\r\nHost: x\r\nX-Request-Id: l%d\r\n\r\n",
                     i, strlen(body), body, i);
    for (int i = 0; i < 10; i++) {
        char id[16];
        snprintf(id, sizeof id, "%c%d", i % 2 ? 'l' : 'n', i / 2);
        client_read(&c, &r, false, 10000);
        ck_assert_int_eq(r.status, 200);
        ck_assert_str_eq(reply_header(&r, "X-Request-Id"), id);
        reply_done(&r);
    }
    client_close(&c);
    ck_assert_int_eq(daemon_stop(&d), 0);
}
END_TEST

/* ---- slow clients ---------------------------------------------------------------- */

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Sends a byte every 50 ms until the server hangs up; returns how long it took. */
static double drip(unsigned port, const char *begin)
{
    struct client c;
    client_open(&c, port);
    double start = seconds();
    client_send(&c, begin, strlen(begin));
    while (seconds() - start < 15 && client_send(&c, "a", 1) && !client_closed(&c, 50))
        ;
    client_close(&c);
    return seconds() - start;
}

START_TEST(slow_headers_and_bodies_have_a_deadline)
{
    struct daemon d;
    const char *const args[] = {"--header-timeout-ms=600", "--body-timeout-ms=600", NULL};
    daemon_start(&d, args);
    ck_assert_double_lt(
        drip(d.port, "POST /v1/sentiment HTTP/1.1\r\nHost: x\r\nX-Slow: "), 10);
    ck_assert_double_lt(drip(d.port, "POST /v1/sentiment HTTP/1.1\r\nHost: x\r\n"
                                     "Content-Length: 100000\r\n\r\n"),
                        10);
    still_well(d.port);
    ck_assert_int_eq(daemon_stop(&d), 0);
}
END_TEST

/* ---- the program ----------------------------------------------------------------- */

START_TEST(wrong_settings_stop_the_start)
{
    static const struct {
        const char *args[4];
        int status;
        const char *mention;
    } cases[] = {
        {{"--prot=80"}, 2, "port"},
        {{"--port=70000"}, 2, "65535"},
        {{"--port=x"}, 2, "port"},
        {{"--workers=-1"}, 2, "workers"},
        {{"--cpu=abacus", "tests/fixtures/models/tiny-bert"}, 2, "abacus"},
        {{"--config=/nonexistent/file"}, 2, "/nonexistent/file"},
        {{"tests/fixtures/models"}, 1, "config.json"},
        {{"tests/fixtures/models/tiny-bert", "tests/fixtures/models/tiny-bert"},
         1,
         "tiny-bert"},
        {{"--help"}, 0, "--port"},
        {{"--version"}, 0, "seqd"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[16384];
        int status = daemon_run(cases[i].args, text, sizeof text);
        ck_assert_msg(status == cases[i].status, "%s: status %d: %s", cases[i].args[0],
                      status, text);
        ck_assert_msg(strstr(text, cases[i].mention) != NULL, "%s: %s", cases[i].args[0],
                      text);
    }
}
END_TEST

START_TEST(a_broken_model_folder_is_named)
{
    char text[16384];
    const char *const args[] = {"tests/fixtures/safetensors", NULL};
    ck_assert_int_eq(daemon_run(args, text, sizeof text), 1);
    ck_assert_ptr_nonnull(strstr(text, "tests/fixtures/safetensors"));
}
END_TEST

START_TEST(a_folder_of_folders_is_pointed_at)
{
    static const char said[] = "tests/golden/nets: no config.json here, but in ";
    char text[16384];
    const char *const args[] = {"tests/golden/nets", NULL};
    ck_assert_int_eq(daemon_run(args, text, sizeof text), 1);
    ck_assert_msg(strstr(text, said) != NULL, "%s", text);
    ck_assert_ptr_nonnull(strstr(text, "serve all by --models-dir tests/golden/nets\""));
}
END_TEST

START_TEST(healthcheck_tells_by_its_status)
{
    struct daemon d;
    daemon_start(&d, NULL);
    char port[32], text[4096];
    snprintf(port, sizeof port, "--port=%u", d.port);
    const char *const args[] = {"--healthcheck", port, NULL};
    ck_assert_int_eq(daemon_run(args, text, sizeof text), 0);
    ck_assert_int_eq(daemon_stop(&d), 0);
    ck_assert_int_eq(daemon_run(args, text, sizeof text), 1);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {wrong_fields_are_named,
                                  huge_and_deep_json_is_refused,
                                  a_declared_length_over_the_limit_is_refused_unread,
                                  paths_methods_and_types_are_checked,
                                  pages_of_other_origins_are_refused_unless_allowed,
                                  ambiguous_framing_is_refused_and_closed,
                                  connections_are_kept_and_pipelined,
                                  slow_headers_and_bodies_have_a_deadline,
                                  wrong_settings_stop_the_start,
                                  a_broken_model_folder_is_named,
                                  a_folder_of_folders_is_pointed_at,
                                  healthcheck_tells_by_its_status,
                                  NULL};
    return suite_run("refusals", tests, 180);
}
