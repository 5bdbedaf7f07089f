/* guard, router and address: what is judged about a request before it is read. */
#include "server/guard.h"
#include "tests/suite.h"

#include <string.h>

#include "server/address.h"
#include "server/router.h"

/* ---- framing --------------------------------------------------------------------- */

/* Headers as "Name: value" up to a NULL; NULL or the fault. */
static const char *framing(const char *version, const char *const *headers)
{
    static struct guard_framing g;
    g = (struct guard_framing){0};
    for (; *headers; headers++) {
        const char *colon = strstr(*headers, ": ");
        guard_header(&g, *headers, (size_t)(colon - *headers), colon + 2,
                     strlen(colon + 2));
    }
    return guard_framing_fault(&g, version);
}

#define HEADERS(...) ((const char *const[]){"Host: x", __VA_ARGS__, NULL})

START_TEST(plain_framing_passes)
{
    ck_assert_ptr_null(framing("HTTP/1.1", HEADERS("Content-Length: 12")));
    ck_assert_ptr_null(framing("HTTP/1.1", HEADERS("transfer-encoding: Chunked")));
    ck_assert_ptr_null(framing("HTTP/1.1", HEADERS("X-A_b.c: caf\xc3\xa9\t x")));
    ck_assert_ptr_null(framing("HTTP/1.0", (const char *const[]){"A: b", NULL}));
    struct guard_framing g = {0};
    guard_header(&g, "CONTENT-LENGTH", 14, "1048576", 7);
    ck_assert_uint_eq(g.length, 1048576);
}
END_TEST

START_TEST(ambiguous_framing_is_a_fault)
{
    static const char *const bad[][3] = {
        {"Content-Length: 1", "Content-Length: 1", NULL},
        {"Content-Length: 1", "Transfer-Encoding: chunked", NULL},
        {"Transfer-Encoding: chunked", "Transfer-Encoding: chunked", NULL},
        {"Transfer-Encoding: gzip, chunked", NULL},
        {"Transfer-Encoding: identity", NULL},
        {"Transfer-Encoding: ", NULL},
        {"Content-Length: ", NULL},
        {"Content-Length: +3", NULL},
        {"Content-Length: 3, 3", NULL},
        {"Content-Length: 0x3", NULL},
        {"Content-Length: 99999999999999999999", NULL},
        {"Content-Length : 3", NULL},
        {"Host: y", NULL},
        {"X Y: a", NULL},
        {"X: a\rb", NULL},
        {"X: a\x7f", NULL}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ck_assert_msg(framing("HTTP/1.1", HEADERS(bad[i][0], bad[i][1])), "%s",
                      bad[i][0]);
    ck_assert_ptr_nonnull(framing("HTTP/1.0", HEADERS("Transfer-Encoding: chunked")));
    ck_assert_ptr_nonnull(framing("HTTP/1.1", (const char *const[]){"A: b", NULL}));
}
END_TEST

/* ---- media type, origin, id ------------------------------------------------------ */

START_TEST(json_and_what_curl_sends_are_read)
{
    ck_assert(guard_media(NULL, "{}", 2));
    ck_assert(guard_media("application/json", "{}", 2));
    ck_assert(guard_media(" Application/JSON ; charset=utf-8", "{}", 2));
    ck_assert(guard_media("application/problem+json", "{}", 2));
    ck_assert(guard_media("application/x-www-form-urlencoded", " \n{\"a\":1}", 9));
    ck_assert(!guard_media("application/x-www-form-urlencoded", "a=b", 3));
    ck_assert(!guard_media("text/xml", "<a/>", 4));
    ck_assert(!guard_media("application/octet-stream", "{}", 2));
    ck_assert(guard_media_binary(" application/Octet-Stream; x=y"));
    ck_assert(!guard_media_binary("application/octet"));
    ck_assert(!guard_media_binary(NULL));
    ck_assert(!guard_media("text/plain", "{}", 2));
    ck_assert(!guard_media("application/json5", "{}", 2));
    ck_assert(!guard_media("multipart/form-data; boundary=x", "{}", 2));
}
END_TEST

START_TEST(only_own_and_listed_origins_may_ask)
{
    ck_assert_int_eq(guard_origin(NULL, "x", "", true), GUARD_ORIGIN_NONE);
    ck_assert_int_eq(guard_origin("http://127.0.0.1:8080", "127.0.0.1:8080", "", true),
                     GUARD_ORIGIN_OWN);
    ck_assert_int_eq(guard_origin("http://localhost:8080", "localhost:8080", "", true),
                     GUARD_ORIGIN_OWN);
    ck_assert_int_eq(guard_origin("http://[::1]:8080", "[::1]:8080", "", true),
                     GUARD_ORIGIN_OWN);
    ck_assert_int_eq(guard_origin("http://127.0.0.1:9", "127.0.0.1:8080", "", true),
                     GUARD_ORIGIN_FOREIGN);
    ck_assert_int_eq(guard_origin("http://evil.com", "127.0.0.1:8080", "", true),
                     GUARD_ORIGIN_FOREIGN);
    ck_assert_int_eq(guard_origin("null", "127.0.0.1:8080", "", true),
                     GUARD_ORIGIN_FOREIGN);
    /* a hostile name that resolves to 127.0.0.1 */
    ck_assert_int_eq(guard_origin("http://evil.com", "evil.com", "", true),
                     GUARD_ORIGIN_FOREIGN);
    ck_assert_int_eq(guard_origin("http://api.me", "api.me", "", false),
                     GUARD_ORIGIN_OWN);
    ck_assert_int_eq(guard_origin("https://b.c", "x", "https://a.b, https://b.c", true),
                     GUARD_ORIGIN_LISTED);
    ck_assert_int_eq(guard_origin("https://b.cc", "x", "https://a.b,https://b.c", true),
                     GUARD_ORIGIN_FOREIGN);
    ck_assert_int_eq(guard_origin("https://b.c", "x", "*", true), GUARD_ORIGIN_LISTED);
}
END_TEST

START_TEST(request_ids_are_short_and_plain)
{
    char long_id[66];
    memset(long_id, 'a', 65);
    long_id[65] = '\0';
    ck_assert(guard_request_id("abc.D_1-2"));
    ck_assert(guard_request_id(long_id + 1));
    ck_assert(!guard_request_id(long_id));
    ck_assert(!guard_request_id(""));
    ck_assert(!guard_request_id(NULL));
    ck_assert(!guard_request_id("a b"));
    ck_assert(!guard_request_id("a\"b"));
}
END_TEST

/* ---- router ---------------------------------------------------------------------- */

static const struct route ROUTES[] = {
    {.method = "GET", .path = "/"},
    {.method = "POST", .path = "/v1/x"},
    {.method = "GET", .path = "/v1/models"},
    {.method = "GET", .path = "/v1/models/{model}"},
    {.method = "POST", .path = "/v2/models/{model}/versions/{v}/infer"},
    {.method = "POST", .path = "/v1/models/{model}:explain"}};

static struct router_match find(const char *method, const char *path)
{
    struct router_match m;
    router_find(ROUTES, sizeof ROUTES / sizeof ROUTES[0], method, path, &m);
    return m;
}

START_TEST(trace_parents_are_those_of_the_standard)
{
    static const char good[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    char bad[sizeof good];
    ck_assert_uint_eq(strlen(good), GUARD_TRACEPARENT_BYTES);
    ck_assert(guard_traceparent(good));
    ck_assert(!guard_traceparent(NULL));
    ck_assert(!guard_traceparent(""));
    ck_assert(!guard_traceparent(good + 1));
    for (size_t i = 0; i < GUARD_TRACEPARENT_BYTES; i++) {
        memcpy(bad, good, sizeof bad);
        bad[i] = 'A';
        ck_assert_msg(!guard_traceparent(bad), "%s", bad);
    }
    ck_assert(
        !guard_traceparent("00-00000000000000000000000000000000-00f067aa0ba902b7-01"));
    ck_assert(
        !guard_traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01"));
}
END_TEST

START_TEST(routes_are_found_by_method_and_path)
{
    ck_assert_ptr_eq(find("GET", "/").route, &ROUTES[0]);
    ck_assert_ptr_eq(find("HEAD", "/v1/models").route, &ROUTES[2]);
    ck_assert_ptr_eq(find("POST", "/v1/x").route, &ROUTES[1]);
    struct router_match m = find("POST", "/v2/models/a%b/versions/12/infer");
    ck_assert_ptr_eq(m.route, &ROUTES[4]);
    ck_assert_uint_eq(m.args[0].n, 3);
    ck_assert_int_eq(memcmp(m.args[0].at, "a%b", 3), 0);
    ck_assert_int_eq(memcmp(m.args[1].at, "12/", 3), 0);
    ck_assert_uint_eq(m.args[1].n, 2);
}
END_TEST

/* Whatever the order of the rows, a verb that a row names is no part of an argument; any
 * other is. */
START_TEST(verbs_stand_behind_names)
{
    struct router_match m = find("POST", "/v1/models/a:b:explain");
    ck_assert_ptr_eq(m.route, &ROUTES[5]);
    ck_assert_uint_eq(m.args[0].n, 3);
    ck_assert_mem_eq(m.args[0].at, "a:b:", 4);
    ck_assert_str_eq(m.allow, "POST, OPTIONS");
    m = find("GET", "/v1/models/a:explain");
    ck_assert_ptr_null(m.route);
    ck_assert_str_eq(m.allow, "POST, OPTIONS");
    m = find("GET", "/v1/models/a:predict");
    ck_assert_ptr_eq(m.route, &ROUTES[3]);
    ck_assert_uint_eq(m.args[0].n, 9);
    ck_assert_ptr_eq(find("GET", "/v1/models/:explain").route, &ROUTES[3]);
    ck_assert_str_eq(find("POST", "/v1/models/a").allow, "GET, HEAD, OPTIONS");
    static const char *const none[] = {"/v1/models/a/b:explain", "/v1/models/a:explain/",
                                       "/v1/models/a:explain/b", "/v1/models:explain"};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
        ck_assert_msg(!find("POST", none[i]).allow[0], "%s", none[i]);
}
END_TEST

START_TEST(known_paths_tell_their_methods)
{
    struct router_match m = find("GET", "/v1/x");
    ck_assert_ptr_null(m.route);
    ck_assert_str_eq(m.allow, "POST, OPTIONS");
    ck_assert_str_eq(find("DELETE", "/").allow, "GET, HEAD, OPTIONS");
    ck_assert_str_eq(find("get", "/").allow, "GET, HEAD, OPTIONS");
}
END_TEST

START_TEST(unknown_paths_have_none)
{
    static const char *const paths[] = {
        "", "/v1", "/v1/x/", "/v1/models/", "/v1/models/a/b", "//", "/V1/x", "/v1/xx"};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        struct router_match m = find("GET", paths[i]);
        ck_assert_msg(!m.route && !m.allow[0], "%s", paths[i]);
    }
}
END_TEST

/* ---- address --------------------------------------------------------------------- */

START_TEST(addresses_are_numbers)
{
    static const struct {
        const char *host, *printed;
        bool loopback;
    } good[] = {{"127.0.0.1", "127.0.0.1:80", true}, {"localhost", "127.0.0.1:80", true},
                {"0.0.0.0", "0.0.0.0:80", false},    {"::1", "[::1]:80", true},
                {"[::1]", "[::1]:80", true},         {"::", "[::]:80", false}};
    static const char *const bad[] = {"",     "example.com", "127.0.0.1:80", "1.2.3",
                                      "[::1", "127.0.0.1 ",  "::1%lo"};
    struct address a;
    char text[ADDRESS_BYTES];
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct err err = {0};
        ck_assert_int_eq(address_parse(good[i].host, 80, &a, &err), ERR_OK);
        address_print(&a, text);
        ck_assert_str_eq(text, good[i].printed);
        ck_assert(address_is_loopback(&a) == good[i].loopback);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct err err = {0};
        ck_assert_msg(address_parse(bad[i], 80, &a, &err) == ERR_INPUT, "%s", bad[i]);
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {plain_framing_passes,
                                  ambiguous_framing_is_a_fault,
                                  json_and_what_curl_sends_are_read,
                                  only_own_and_listed_origins_may_ask,
                                  request_ids_are_short_and_plain,
                                  trace_parents_are_those_of_the_standard,
                                  routes_are_found_by_method_and_path,
                                  verbs_stand_behind_names,
                                  known_paths_tell_their_methods,
                                  unknown_paths_have_none,
                                  addresses_are_numbers,
                                  NULL};
    return suite_run("guard", tests, 30);
}
