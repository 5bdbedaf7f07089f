/* Sessions over HTTP: a life from creation to deletion, and whom the daemon lets end one.
 */
#include "tests/http/client.h"
#include "tests/http/daemon.h"
#include "tests/suite.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char *path_of(json_t *session, const char *verb, char path[100])
{
    const char *id = json_string_value(json_object_get(session, "id"));
    ck_assert_ptr_nonnull(id);
    snprintf(path, 100, "/v1/sessions/%s%s", id, verb);
    return path;
}

START_TEST(a_session_steps_and_is_deleted)
{
    struct daemon d;
    char path[100];
    daemon_start(&d, NULL);
    json_t *s = ask_json(d.port, "POST", "/v1/sessions",
                         "{\"model\":\"tiny-gpt2\",\"input_ids\":[1,2]}", 200);
    json_t *step =
        ask_json(d.port, "POST", path_of(s, "/step", path), "{\"input_ids\":[3]}", 200);
    ck_assert_int_eq(json_integer_value(json_object_get(step, "tokens")), 3);
    json_decref(step);
    path_of(s, "", path);
    json_decref(ask_json(d.port, "DELETE", path, NULL, 200));
    json_decref(ask_json(d.port, "GET", path, NULL, 404));
    json_decref(s);
    ck_assert_int_eq(daemon_stop(&d), 0);
}
END_TEST

START_TEST(pages_of_other_origins_delete_nothing)
{
    struct daemon d;
    struct client c;
    struct reply r;
    char path[100];
    daemon_start(&d, NULL);
    json_t *s =
        ask_json(d.port, "POST", "/v1/sessions", "{\"model\":\"tiny-gpt2\"}", 200);
    client_open(&c, d.port);
    client_sendf(&c,
                 "DELETE %s HTTP/1.1\r\nHost: x\r\nOrigin: http://evil.example\r\n\r\n",
                 path_of(s, "", path));
    client_read(&c, &r, false, 5000);
    ck_assert_int_eq(r.status, 403);
    reply_done(&r);
    client_sendf(&c, "PUT %s HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", path);
    client_read(&c, &r, false, 5000);
    ck_assert_int_eq(r.status, 405);
    ck_assert_str_eq(reply_header(&r, "Allow"), "GET, HEAD, DELETE, OPTIONS");
    reply_done(&r);
    client_close(&c);
    json_decref(ask_json(d.port, "GET", path, NULL, 200));
    json_decref(s);
    ck_assert_int_eq(daemon_stop(&d), 0);
}
END_TEST

START_TEST(the_timer_ends_those_not_used)
{
    static const char *const args[] = {"--session-ttl-s=1", NULL};
    struct daemon d;
    daemon_start(&d, args);
    json_decref(
        ask_json(d.port, "POST", "/v1/sessions", "{\"model\":\"tiny-gpt2\"}", 200));
    json_int_t left = 1;
    for (int i = 0; i < 100 && left; i++) {
        usleep(100000);
        json_t *health = ask_json(d.port, "GET", "/health", NULL, 200);
        left = json_integer_value(json_object_get(health, "sessions"));
        json_decref(health);
    }
    ck_assert_int_eq((int)left, 0);
    ck_assert_int_eq(daemon_stop(&d), 0);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {a_session_steps_and_is_deleted,
                                  pages_of_other_origins_delete_nothing,
                                  the_timer_ends_those_not_used, NULL};
    return suite_run("sessions", tests, 60);
}
