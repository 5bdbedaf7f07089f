/* What headers ask for: pages of other origins, traces, replies made smaller. */
#include "tests/http/client.h"
#include "tests/http/daemon.h"
#include "tests/suite.h"

#include <string.h>
#include <unistd.h>
#include <zlib.h>

enum { ROOM = 1 << 20 };

static void send_post(struct client *c, const char *headers, const char *path,
                      const char *body)
{
    client_sendf(c, "POST %s HTTP/1.1\r\nHost: x\r\n%sContent-Length: %zu\r\n\r\n%s",
                 path, headers, strlen(body), body);
}

START_TEST(listed_origins_may_send_what_their_clients_send)
{
    static const char origin[] = "Origin: https://app.example\r\n";
    static const char wanted[] = "authorization,content-type,x-stainless-os";
    static const char *const args[] = {"--cors-origin=https://app.example", NULL};
    struct daemon d;
    struct client c;
    struct reply r;
    daemon_start(&d, args);
    client_open(&c, d.port);
    client_sendf(&c,
                 "OPTIONS /v1/completions HTTP/1.1\r\nHost: x\r\n%s"
                 "Access-Control-Request-Method: POST\r\n"
                 "Access-Control-Request-Headers: %s\r\n\r\n",
                 origin, wanted);
    client_read(&c, &r, false, 5000);
    ck_assert_int_eq(r.status, 204);
    ck_assert_str_eq(reply_header(&r, "Access-Control-Allow-Headers"), wanted);
    ck_assert_str_eq(reply_header(&r, "Access-Control-Allow-Methods"), "POST, OPTIONS");
    reply_done(&r);
    send_post(&c, origin, "/v1/sentiment",
              "{\"model\":\"tiny-bert\",\"text\":\"great\"}");
    client_read(&c, &r, false, 5000);
    ck_assert_int_eq(r.status, 200);
    ck_assert_ptr_nonnull(
        strstr(reply_header(&r, "Access-Control-Expose-Headers"), "X-Request-Id"));
    reply_done(&r);
    client_sendf(&c, "OPTIONS /v1/completions HTTP/1.1\r\nHost: x\r\n"
                     "Origin: https://other.example\r\n"
                     "Access-Control-Request-Headers: authorization\r\n\r\n");
    client_read(&c, &r, false, 5000);
    ck_assert_str_eq(reply_header(&r, "Access-Control-Allow-Headers"), "");
    reply_done(&r);
    client_close(&c);
    ck_assert_int_eq(daemon_stop(&d), 0);
}
END_TEST

START_TEST(a_trace_goes_into_the_log_if_it_is_one)
{
    static const char trace[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    struct daemon d;
    struct client c;
    struct reply r;
    char headers[160], log[8192];
    daemon_start(&d, NULL);
    client_open(&c, d.port);
    snprintf(headers, sizeof headers, "traceparent: %s\r\n", trace);
    send_post(&c, headers, "/v1/sentiment", "{\"model\":\"tiny-bert\",\"text\":\"a\"}");
    client_read(&c, &r, false, 5000);
    reply_done(&r);
    send_post(&c, "traceparent: 00-nonsense\r\n", "/v1/sentiment",
              "{\"model\":\"tiny-bert\",\"text\":\"a\"}");
    client_read(&c, &r, false, 5000);
    ck_assert_int_eq(r.status, 200);
    reply_done(&r);
    client_close(&c);
    usleep(200000);
    daemon_log(&d, log, sizeof log);
    ck_assert_ptr_nonnull(strstr(log, trace));
    ck_assert_ptr_null(strstr(log, "nonsense"));
    ck_assert_int_eq(daemon_stop(&d), 0);
}
END_TEST

/* The same request with and without, on one connection: the same bytes. */
static void check_packed(struct client *c, const char *method, const char *path,
                         const char *body)
{
    static char unpacked[ROOM];
    struct reply plain, packed;
    static const char format[] =
        "%s %s HTTP/1.1\r\nHost: x\r\n%sContent-Length: %zu\r\n\r\n%s";
    client_sendf(c, format, method, path, "", strlen(body), body);
    client_read(c, &plain, false, 10000);
    client_sendf(c, format, method, path, "Accept-Encoding: br, gzip\r\n", strlen(body),
                 body);
    client_read(c, &packed, false, 10000);
    ck_assert_int_eq(packed.status, 200);
    ck_assert_str_eq(reply_header(&plain, "Content-Encoding"), "");
    ck_assert_str_eq(reply_header(&packed, "Content-Encoding"), "gzip");
    ck_assert_uint_lt(packed.body_n, plain.body_n);
    z_stream z = {.next_in = (unsigned char *)packed.body,
                  .avail_in = (unsigned)packed.body_n,
                  .next_out = (unsigned char *)unpacked,
                  .avail_out = ROOM};
    ck_assert_int_eq(inflateInit2(&z, 15 + 16), Z_OK);
    ck_assert_int_eq(inflate(&z, Z_FINISH), Z_STREAM_END);
    inflateEnd(&z);
    ck_assert_uint_eq(ROOM - z.avail_out, plain.body_n);
    ck_assert_mem_eq(unpacked, plain.body, plain.body_n);
    reply_done(&plain);
    reply_done(&packed);
}

START_TEST(packed_replies_hold_the_same_bytes)
{
    struct daemon d;
    struct client c;
    daemon_start(&d, NULL);
    client_open(&c, d.port);
    check_packed(&c, "GET", "/", "");
    check_packed(&c, "GET", "/openapi.json", "");
    check_packed(&c, "POST", "/v1/attention",
                 "{\"model\":\"tiny-bert\",\"text\":\"the cat sat on the mat\"}");
    client_close(&c);
    ck_assert_int_eq(daemon_stop(&d), 0);
}
END_TEST

START_TEST(events_and_tensors_are_never_packed)
{
    static const struct {
        const char *path, *body, *type;
    } cases[] = {
        {"/v1/completions",
         "{\"model\":\"tiny-gpt2\",\"prompt\":\"the cat\",\"max_tokens\":40,\"seed\":1,"
         "\"stream\":true}",
         "text/event-stream"},
        {"/v1/attention",
         "{\"model\":\"tiny-bert\",\"text\":\"the cat sat on the mat\","
         "\"encoding\":\"binary\"}",
         "application/octet-stream"},
    };
    struct daemon d;
    struct client c;
    struct reply r;
    daemon_start(&d, NULL);
    client_open(&c, d.port);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        send_post(&c, "Accept-Encoding: gzip\r\n", cases[i].path, cases[i].body);
        client_read(&c, &r, false, 10000);
        ck_assert_int_eq(r.status, 200);
        ck_assert_uint_gt(r.body_n, 1024);
        ck_assert_str_eq(reply_header(&r, "Content-Encoding"), "");
        ck_assert_int_eq(strncmp(reply_header(&r, "Content-Type"), cases[i].type,
                                 strlen(cases[i].type)),
                         0);
        reply_done(&r);
    }
    client_close(&c);
    ck_assert_int_eq(daemon_stop(&d), 0);
}
END_TEST

/* JSON and a tensor behind it, as a body of bytes. */
static void send_tensor(struct client *c, const char *path)
{
    static const char json[] =
        "{\"inputs\":[{\"name\":\"text\",\"datatype\":\"BYTES\",\"shape\":[1],"
        "\"parameters\":{\"binary_data_size\":8}}]}";
    static const unsigned char tensor[8] = {4, 0, 0, 0, 'g', 'o', 'o', 'd'};
    size_t n = sizeof json - 1;
    client_sendf(c,
                 "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: "
                 "application/octet-stream\r\nInference-Header-Content-Length: %zu\r\n"
                 "Content-Length: %zu\r\n\r\n%s",
                 path, n, n + sizeof tensor, json);
    ck_assert(client_send(c, (const char *)tensor, sizeof tensor));
}

START_TEST(bodies_of_bytes_are_read_where_tensors_go)
{
    struct daemon d;
    struct client c;
    struct reply r;
    daemon_start(&d, NULL);
    client_open(&c, d.port);
    send_tensor(&c, "/v2/models/tiny-bert/infer");
    client_read(&c, &r, false, 10000);
    ck_assert_int_eq(r.status, 200);
    reply_done(&r);
    send_tensor(&c, "/v1/sentiment");
    client_read(&c, &r, false, 10000);
    ck_assert_int_eq(r.status, 415);
    reply_done(&r);
    client_close(&c);
    ck_assert_int_eq(daemon_stop(&d), 0);
}
END_TEST

/* Also of errors that no handler has a part in. */
START_TEST(errors_are_told_in_the_dialect_of_the_path)
{
    static const struct {
        const char *method, *path;
        int status;
    } cases[] = {{"GET", "/v2/nothing", 404},
                 {"POST", "/v2/models", 405},
                 {"GET", "/v2/models/none", 404}};
    struct daemon d;
    daemon_start(&d, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *theirs =
            ask_json(d.port, cases[i].method, cases[i].path, "", cases[i].status);
        ck_assert(json_is_string(json_object_get(theirs, "error")));
        json_decref(theirs);
    }
    json_t *ours = ask_json(d.port, "GET", "/nothing", NULL, 404);
    ck_assert(json_is_object(json_object_get(ours, "error")));
    json_decref(ours);
    ck_assert_int_eq(daemon_stop(&d), 0);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {listed_origins_may_send_what_their_clients_send,
                                  a_trace_goes_into_the_log_if_it_is_one,
                                  packed_replies_hold_the_same_bytes,
                                  events_and_tensors_are_never_packed,
                                  bodies_of_bytes_are_read_where_tensors_go,
                                  errors_are_told_in_the_dialect_of_the_path,
                                  NULL};
    return suite_run("headers", tests, 60);
}
