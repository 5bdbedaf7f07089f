/* Streams over HTTP: the same bytes whatever else is going on, and pings. */
#include "tests/http/client.h"
#include "tests/http/daemon.h"
#include "tests/suite.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

enum { CLIENTS = 64 };

static void post(struct client *c, const char *headers, const char *body)
{
    client_sendf(c,
                 "POST /v1/completions HTTP/1.1\r\nHost: x\r\n%s"
                 "Content-Length: %zu\r\n\r\n%s",
                 headers, strlen(body), body);
}

static double metric(unsigned port, const char *name)
{
    struct reply r;
    char key[100];
    ask(port, "GET", "/metrics", NULL, &r);
    snprintf(key, sizeof key, "\n%s ", name);
    const char *line = strstr(r.body, key);
    ck_assert_msg(line != NULL, "no metric %s", name);
    double value = strtod(line + strlen(key), NULL);
    reply_done(&r);
    return value;
}

/* ---- a stream among other streams ---------------------------------------------------
 */

/* Who keeps the daemon busy until he is told to leave. */
struct others {
    unsigned port;
    atomic_bool leave;
    atomic_uint begun, ended; /* clients who have read something; who went before */
};

static const char *const noise[] = {
    "{\"model\":\"tiny-lstm\",\"prompt\":\"the cat\",\"seed\":3,\"stream\":true,"
    "\"max_tokens\":1000000}",
    "{\"model\":\"tiny-lstm\",\"prompt\":\"a dog\",\"temperature\":2,\"stream\":true,"
    "\"max_tokens\":1000000}",
    "{\"model\":\"tiny-lstm\",\"prompt\":\"it\",\"logprobs\":2,\"stream\":true,"
    "\"max_tokens\":1000000}",
};
static const char MORE_NOISE[] = "{\"model\":\"tiny-gpt2\",\"prompt\":\"the mat\","
                                 "\"max_tokens\":30}";

/* Reads a stream that does not end by itself. */
static void read_noise(struct others *o, const char *body)
{
    char piece[65536];
    ssize_t n = 1;
    struct client c;
    bool begun = false;
    client_open(&c, o->port);
    post(&c, "", body);
    while (!atomic_load(&o->leave) && n > 0) {
        n = read(c.fd, piece, sizeof piece);
        if (!begun && n > 0)
            atomic_fetch_add(&o->begun, 1);
        begun = true;
    }
    atomic_fetch_add(&o->ended, n <= 0);
    client_close(&c);
}

/* One request after the other. */
static void ask_noise(struct others *o)
{
    struct reply r = {0};
    for (bool begun = false; !atomic_load(&o->leave); begun = true) {
        ask(o->port, "POST", "/v1/completions", MORE_NOISE, &r);
        atomic_fetch_add(&o->ended, r.status != 200);
        atomic_fetch_add(&o->begun, !begun);
        reply_done(&r);
    }
}

static void *make_noise(void *arg)
{
    static atomic_uint number;
    unsigned i = atomic_fetch_add(&number, 1);
    if (i % 4 == 3)
        ask_noise(arg);
    else
        read_noise(arg, noise[i % 4]);
    return NULL;
}

/* All bytes of a stream. Its id is the client's, so that only "created" is left out. */
static char *stream_bytes(unsigned port, const char *body)
{
    struct client c;
    struct reply r;
    client_open(&c, port);
    post(&c, "X-Request-Id: same\r\n", body);
    client_read(&c, &r, false, 60000);
    ck_assert_msg(r.status == 200, "%d: %s", r.status, r.body);
    client_close(&c);
    char *bytes = strdup(r.body);
    ck_assert_ptr_nonnull(bytes);
    static const char KEY[] = "\"created\":";
    for (char *at = bytes; (at = strstr(at, KEY));)
        for (at += sizeof KEY - 1; *at >= '0' && *at <= '9'; at++)
            *at = '0';
    reply_done(&r);
    return bytes;
}

START_TEST(a_stream_among_64_others_is_byte_for_byte_the_one_alone)
{
    static const char *const bodies[] = {
        "{\"model\":\"tiny-lstm\",\"prompt\":\"the cat\",\"max_tokens\":200,\"n\":2,"
        "\"logprobs\":2,\"stream\":true,\"seed\":%d}",
        "{\"model\":\"tiny-gpt2\",\"prompt\":\"a caf\xc3\xa9\",\"max_tokens\":40,"
        "\"top_p\":0.95,\"echo\":true,\"stream\":true,\"seed\":%d}",
    };
    enum { BODIES = sizeof bodies / sizeof *bodies };
    const char *const args[] = {"--workers=2", "--generate-tokens=100000000", NULL};
    static struct others others;
    pthread_t threads[CLIENTS];
    struct daemon d;
    char *alone[BODIES], body[256];
    daemon_start(&d, args);
    others.port = d.port;
    for (size_t i = 0; i < BODIES; i++) {
        snprintf(body, sizeof body, bodies[i], 7);
        alone[i] = stream_bytes(d.port, body);
    }
    for (size_t i = 0; i < CLIENTS; i++)
        pthread_create(&threads[i], NULL, make_noise, &others);
    while (atomic_load(&others.begun) < CLIENTS)
        usleep(1000);
    for (size_t i = 0; i < BODIES; i++) {
        snprintf(body, sizeof body, bodies[i], 7);
        char *among = stream_bytes(d.port, body);
        ck_assert_msg(strcmp(among, alone[i]) == 0, "differs: %s", body);
        free(among);
        snprintf(body, sizeof body, bodies[i], 8); /* what is compared depends on it */
        among = stream_bytes(d.port, body);
        ck_assert_str_ne(among, alone[i]);
        free(among);
        free(alone[i]);
    }
    ck_assert_uint_eq(atomic_load(&others.ended), 0); /* all were there all the time */
    ck_assert(metric(d.port, "seqd_batch_size_sum") >
              2 * metric(d.port, "seqd_batch_size_count"));
    atomic_store(&others.leave, true);
    for (size_t i = 0; i < CLIENTS; i++)
        pthread_join(threads[i], NULL);
    ck_assert_int_eq(daemon_stop(&d), 0);
}
END_TEST

/* ---- pings ------------------------------------------------------------------------- */

/* Keeps the only worker busy for longer than a ping takes. */
static void *long_request(void *arg)
{
    enum { TEXTS = 256, WORDS = 60 };
    const unsigned *port = arg;
    struct reply r;
    size_t n = 0, room = TEXTS * (WORDS * 6 + 4) + 64;
    char *body = malloc(room);
    ck_assert_ptr_nonnull(body);
    n += (size_t)snprintf(body, room, "{\"model\":\"tiny-bert\",\"texts\":[");
    for (size_t i = 0; i < TEXTS; i++) {
        n += (size_t)snprintf(body + n, room - n, "%s\"", i ? "," : "");
        for (size_t k = 0; k < WORDS; k++)
            n += (size_t)snprintf(body + n, room - n, "great ");
        n += (size_t)snprintf(body + n, room - n, "\"");
    }
    snprintf(body + n, room - n, "]}");
    ask(*port, "POST", "/v1/sentiment", body, &r);
    ck_assert_int_eq(r.status, 200);
    reply_done(&r);
    free(body);
    return NULL;
}

/* Every event, and every comment, is a line and an empty line. */
static size_t count_pings(const char *body)
{
    size_t n = 0;
    for (const char *end; *body; body = end + 2) {
        end = strchr(body, '\n');
        ck_assert_msg(end && end[1] == '\n', "no end: %.80s", body);
        if (strncmp(body, ": ping\n", 7) == 0)
            n++;
        else
            ck_assert_msg(strncmp(body, "data: ", 6) == 0, "no event: %.80s", body);
    }
    return n;
}

/* Pings of a stream beside a long request. */
static size_t ask_pings(const char *every)
{
    const char *const args[] = {"--workers=1", every, NULL};
    static const char END[] = "data: [DONE]\n\n";
    pthread_t thread;
    struct daemon d;
    struct reply r;
    struct client c;
    daemon_start(&d, args);
    client_open(&c, d.port);
    post(&c, "",
         "{\"model\":\"tiny-lstm\",\"prompt\":\"the cat\",\"stream\":true,"
         "\"seed\":1,\"max_tokens\":3000}");
    pthread_create(&thread, NULL, long_request, &d.port);
    client_read(&c, &r, false, 60000);
    pthread_join(thread, NULL);
    ck_assert_int_eq(r.status, 200);
    ck_assert_uint_gt(r.body_n, sizeof END);
    ck_assert_str_eq(r.body + r.body_n - (sizeof END - 1), END);
    size_t n = count_pings(r.body);
    reply_done(&r);
    client_close(&c);
    ck_assert_int_eq(daemon_stop(&d), 0);
    return n;
}

START_TEST(a_stream_that_has_to_wait_gets_pings)
{
    ck_assert_uint_eq(ask_pings("--sse-ping-ms=0"), 0);
    ck_assert_uint_eq(ask_pings("--sse-ping-ms=15000"), 0);
    ck_assert_uint_gt(ask_pings("--sse-ping-ms=1"), 0);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {a_stream_among_64_others_is_byte_for_byte_the_one_alone,
                                  a_stream_that_has_to_wait_gets_pings, NULL};
    return suite_run("streams", tests, 180);
}
