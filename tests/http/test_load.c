/* Many clients at once, clients that leave, and a stop in the middle of it. */
#include "tests/http/client.h"
#include "tests/http/daemon.h"
#include "tests/suite.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

enum { CLIENTS = 64, ROUNDS = 12 };

static const char *const chosen[][2] = {
    {"/v1/sentiment", "{\"model\":\"tiny-bert\",\"text\":\"great\"}"},
    {"/v1/sentiment",
     "{\"model\":\"tiny-bert\",\"texts\":[\"not great\",\"the café, not great\"]}"},
    {"/v1/sentiment",
     "{\"model\":\"tiny-bilstm\",\"text\":\"every minute of it was terrible\"}"},
    {"/v1/next-word", "{\"model\":\"tiny-gpt2\",\"text\":\"the cat sat\",\"top_k\":7}"},
    {"/v1/next-word",
     "{\"model\":\"tiny-gpt2\",\"text\":\"the cat\",\"unit\":\"token\"}"},
    {"/v1/next-word",
     "{\"model\":\"tiny-lstm\",\"text\":\"the dog sat on the mat and\"}"},
    {"/v1/attention", "{\"model\":\"tiny-bert\",\"text\":\"not great, not terrible\"}"},
    {"/v1/attention",
     "{\"model\":\"tiny-gpt2\",\"text\":\"the cat sat on the\",\"layers\":[0]}"},
    {"/v1/attention", "{\"model\":\"tiny-bilstm\",\"text\":\"I loved every minute\"}"},
    {"/v1/embeddings", "{\"model\":\"tiny-bert\",\"input\":[\"the cat\",\"great\"]}"},
    {"/v1/embeddings", "{\"model\":\"tiny-lstm\",\"input\":[5,6,7]}"},
    {"/embed", "{\"inputs\":\"the dog sat on the mat\",\"normalize\":false}"},
};
enum { CHOSEN = sizeof chosen / sizeof *chosen, REQUESTS = CHOSEN + 40 };

static struct request {
    const char *path;
    char body[1000];
} requests[REQUESTS];

/* The chosen ones, and others of 1 to 80 words at random. */
static void make_requests(void)
{
    static const char *const words[] = {"the", "cat",   "sat",   "on",     "mat",
                                        "not", "great", "every", "minute", "café"};
    static const char *const models[][2] = {{"/v1/sentiment", "tiny-bert"},
                                            {"/v1/sentiment", "tiny-bilstm"},
                                            {"/v1/next-word", "tiny-gpt2"},
                                            {"/v1/next-word", "tiny-lstm"}};
    unsigned seed = 20;
    for (size_t q = 0; q < REQUESTS; q++) {
        struct request *r = &requests[q];
        r->path = q < CHOSEN ? chosen[q][0] : models[q % 4][0];
        if (q < CHOSEN) {
            snprintf(r->body, sizeof r->body, "%s", chosen[q][1]);
            continue;
        }
        int n = snprintf(r->body, sizeof r->body, "{\"model\":\"%s\",\"text\":\"",
                         models[q % 4][1]);
        for (size_t left = 1 + q * q % 80; left > 0; left--) {
            seed = seed * 1103515245u + 12345u;
            n += snprintf(r->body + n, sizeof r->body - (size_t)n, "%s%s",
                          words[(seed >> 16) % 10], left > 1 ? " " : "\"}");
        }
    }
}

struct crowd {
    unsigned port;
    struct reply want[REQUESTS]; /* each alone, of one worker, before the crowd came */
    atomic_int wrong, answered;
};

static void *crowd_client(void *arg)
{
    struct crowd *crowd = arg;
    static atomic_uint counter;
    unsigned seed = atomic_fetch_add(&counter, 1);
    for (int i = 0; i < ROUNDS; i++) {
        size_t q = (seed + (unsigned)i * 7) % REQUESTS;
        struct client c;
        struct reply r;
        client_open(&c, crowd->port);
        client_sendf(&c, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n%s",
                     requests[q].path, strlen(requests[q].body), requests[q].body);
        client_read(&c, &r, false, 60000);
        const struct reply *want = &crowd->want[q];
        if (r.status == 200 && r.body_n == want->body_n &&
            memcmp(r.body, want->body, r.body_n) == 0) {
            atomic_fetch_add(&crowd->answered, 1);
        } else {
            fprintf(stderr, "request %zu: status %d: %.600s\n", q, r.status,
                    r.body ? r.body : "");
            atomic_fetch_add(&crowd->wrong, 1);
        }
        reply_done(&r);
        client_close(&c);
    }
    return NULL;
}

static void let_crowd_in(struct crowd *crowd)
{
    pthread_t threads[CLIENTS];
    atomic_store(&crowd->answered, 0);
    for (int i = 0; i < CLIENTS; i++)
        pthread_create(&threads[i], NULL, crowd_client, crowd);
    for (int i = 0; i < CLIENTS; i++)
        pthread_join(threads[i], NULL);
    ck_assert_int_eq(atomic_load(&crowd->wrong), 0);
    ck_assert_int_eq(atomic_load(&crowd->answered), CLIENTS * ROUNDS);
}

/* Byte for byte the same alone, and in batches of whoever came with it, with any number
 * of workers. */
START_TEST(sixty_four_clients_each_get_their_own_answer)
{
    static struct crowd crowd;
    const char *const workers[] = {"--workers=1", "--workers=2", "--workers=5"};
    make_requests();
    for (size_t i = 0; i < sizeof workers / sizeof *workers; i++) {
        struct daemon d;
        const char *const args[] = {"--queue-limit=256", workers[i], NULL};
        daemon_start(&d, args);
        crowd.port = d.port;
        for (size_t q = 0; i == 0 && q < REQUESTS; q++) {
            ask(d.port, "POST", requests[q].path, requests[q].body, &crowd.want[q]);
            ck_assert_msg(crowd.want[q].status == 200, "%s", crowd.want[q].body);
        }
        let_crowd_in(&crowd);
        ck_assert_int_eq(daemon_stop(&d), 0);
    }
    for (size_t q = 0; q < REQUESTS; q++)
        reply_done(&crowd.want[q]);
}
END_TEST

/* A request that takes a worker much longer to compute (60,000 words: 0.1 s) than the
 * daemon to read (2 ms), so that such requests queue up: its words are one letter. */
static char *long_request(size_t words)
{
    static const char word[] = "a ";
    const char *begin = "{\"model\":\"tiny-bilstm\",\"text\":\"";
    char *body = malloc(strlen(begin) + words * (sizeof word - 1) + 3);
    size_t n = strlen(begin);
    memcpy(body, begin, n + 1);
    for (size_t i = 0; i < words; i++, n += sizeof word - 1)
        memcpy(body + n, word, sizeof word - 1);
    memcpy(body + n, "\"}", 3);
    return body;
}

static void send_request(struct client *c, const char *body)
{
    client_sendf(
        c, "POST /v1/sentiment HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n%s",
        strlen(body), body);
}

START_TEST(a_full_queue_says_so_at_once)
{
    struct daemon d;
    const char *const args[] = {"--queue-limit=2", "--workers=1", "--max-tokens=1000000",
                                NULL};
    daemon_start(&d, args);
    char *body = long_request(50000);
    enum { MANY = 24 };
    struct client c[MANY];
    int ok = 0, busy = 0;
    for (int i = 0; i < MANY; i++) {
        client_open(&c[i], d.port);
        send_request(&c[i], body);
    }
    for (int i = 0; i < MANY; i++) {
        struct reply r;
        client_read(&c[i], &r, false, 60000);
        ck_assert_msg(r.status == 200 || r.status == 429, "status %d", r.status);
        ok += r.status == 200;
        if (r.status == 429) {
            busy++;
            ck_assert_uint_gt(strlen(reply_header(&r, "Retry-After")), 0);
        }
        reply_done(&r);
        client_close(&c[i]);
    }
    ck_assert_int_gt(ok, 0);
    ck_assert_int_gt(busy, 0);
    free(body);
    json_decref(ask_json(d.port, "GET", "/livez", NULL, 200));
    ck_assert_int_eq(daemon_stop(&d), 0);
}
END_TEST

static double metric(unsigned port, const char *name)
{
    struct reply r;
    ask(port, "GET", "/metrics", NULL, &r);
    ck_assert_int_eq(r.status, 200);
    const char *line = r.body;
    double value = -1;
    size_t n = strlen(name);
    for (; line; line = strchr(line, '\n'), line = line ? line + 1 : NULL)
        if (strncmp(line, name, n) == 0 && (line[n] == ' ' || line[n] == '{'))
            value = (value < 0 ? 0 : value) + strtod(strchr(line, ' ') + 1, NULL);
    reply_done(&r);
    return value;
}

/* True once the metric is at least `least`. */
static bool metric_reaches(const struct daemon *d, const char *name, int least)
{
    for (int i = 0; i < 1000; i++) {
        if (metric(d->port, name) >= least)
            return true;
        usleep(1000);
    }
    return false;
}

/* True once `jobs` wait in the queue. */
static bool queue_reaches(const struct daemon *d, int jobs)
{
    return metric_reaches(d, "seqd_queue_depth", jobs);
}

/* The only worker is busy; in its pauses it runs what is shorter, but no inspections. */
START_TEST(inspections_queue_by_themselves_and_hold_nobody_up)
{
    struct daemon d;
    const char *const args[] = {
        "--workers=1",       "--max-tokens=10000000", "--max-body-bytes=100000000",
        "--inspect-queue=2", "--stop-timeout-ms=0",   NULL};
    static const char look[] = "{\"model\":\"tiny-bert\",\"text\":\"a cat\"}";
    daemon_start(&d, args);
    char *body = long_request(8000000); /* for many seconds */
    struct client busy, waiting[2];
    client_open(&busy, d.port);
    send_request(&busy, body);
    ck_assert(metric_reaches(&d, "seqd_batch_size_count", 1));
    for (int i = 0; i < 2; i++) {
        client_open(&waiting[i], d.port);
        client_sendf(&waiting[i],
                     "POST /v1/attention HTTP/1.1\r\nHost: x\r\nContent-Length: "
                     "%zu\r\n\r\n%s",
                     strlen(look), look);
        ck_assert(queue_reaches(&d, i + 1));
    }
    json_t *refused = ask_json(d.port, "POST", "/v1/attention", look, 429);
    ck_assert_str_eq(error_field(refused, "code"), "queue_full");
    json_decref(refused);
    json_decref(ask_json(d.port, "POST", "/v1/sentiment", look, 200));
    ck_assert(queue_reaches(&d, 2)); /* they wait on */
    client_close(&busy);             /* which gives it up */
    for (int i = 0; i < 2; i++) {
        struct reply r;
        client_read(&waiting[i], &r, false, 60000);
        ck_assert_int_eq(r.status, 200);
        reply_done(&r);
        client_close(&waiting[i]);
    }
    free(body);
    ck_assert_int_eq(daemon_stop(&d), 0);
}
END_TEST

START_TEST(clients_that_leave_are_dropped_from_the_queue)
{
    struct daemon d;
    const char *const args[] = {"--workers=1", "--max-tokens=1000000", NULL};
    daemon_start(&d, args);
    char *body = long_request(60000);
    struct client busy, gone[20];
    client_open(&busy, d.port);
    send_request(&busy, body);
    usleep(20000);
    for (int i = 0; i < 20; i++) {
        client_open(&gone[i], d.port);
        send_request(&gone[i], body);
    }
    ck_assert(queue_reaches(&d, 10));
    for (int i = 0; i < 20; i++)
        client_close(&gone[i]);
    struct reply r;
    client_read(&busy, &r, false, 60000);
    ck_assert_int_eq(r.status, 200);
    reply_done(&r);
    client_close(&busy);
    json_decref(ask_json(d.port, "POST", "/v1/sentiment",
                         "{\"model\":\"tiny-bert\",\"text\":\"great\"}", 200));
    ck_assert(metric_reaches(&d, "seqd_abandoned_total", 1));
    free(body);
    ck_assert_int_eq(daemon_stop(&d), 0);
}
END_TEST

START_TEST(a_stop_loses_nothing_that_was_accepted)
{
    struct daemon d;
    const char *const args[] = {"--workers=1", "--max-tokens=1000000",
                                "--stop-timeout-ms=100000", NULL};
    daemon_start(&d, args);
    char *body = long_request(100000);
    enum { WAITING = 6 };
    struct client c[WAITING];
    for (int i = 0; i < WAITING; i++) {
        client_open(&c[i], d.port);
        send_request(&c[i], body);
    }
    /* All have been read: one is computed, the others wait. */
    ck_assert(queue_reaches(&d, WAITING - 1));
    kill(d.pid, SIGTERM);
    for (int i = 0; i < WAITING; i++) {
        struct reply r;
        client_read(&c[i], &r, false, 60000);
        ck_assert_int_eq(r.status, 200);
        reply_done(&r);
        client_close(&c[i]);
    }
    free(body);
    ck_assert_int_eq(daemon_wait(&d), 0);
}
END_TEST

START_TEST(a_running_computation_is_given_up_when_the_stop_has_no_more_time)
{
    struct daemon d;
    const char *const args[] = {"--workers=2", "--max-tokens=10000000",
                                "--max-body-bytes=100000000", "--stop-timeout-ms=0",
                                NULL};
    daemon_start(&d, args);
    char *body = long_request(8000000); /* for many seconds */
    struct client c;
    struct reply r;
    client_open(&c, d.port);
    send_request(&c, body);
    for (int i = 0; i < 20000 && metric(d.port, "seqd_batch_size_count") < 1; i++)
        usleep(1000);
    ck_assert_double_ge(metric(d.port, "seqd_batch_size_count"), 1);
    kill(d.pid, SIGTERM);
    client_read(&c, &r, false, 60000);
    ck_assert_int_eq(r.status, 503);
    json_t *reply = reply_json(&r);
    ck_assert_str_eq(error_field(reply, "code"), "stopping");
    json_decref(reply);
    reply_done(&r);
    client_close(&c);
    free(body);
    ck_assert_int_eq(daemon_wait(&d), 0);
}
END_TEST

START_TEST(a_second_signal_stops_at_once)
{
    struct daemon d;
    const char *const args[] = {"--workers=1", "--max-tokens=1000000",
                                "--stop-timeout-ms=100000", NULL};
    daemon_start(&d, args);
    char *body = long_request(100000);
    struct client c[4];
    for (int i = 0; i < 4; i++) {
        client_open(&c[i], d.port);
        send_request(&c[i], body);
    }
    ck_assert(queue_reaches(&d, 2));
    kill(d.pid, SIGTERM);
    char log[8192] = "";
    size_t n = 0;
    for (int i = 0; i < 5000 && !strstr(log, "\"stopping\""); i++) {
        n += daemon_log(&d, log + n, sizeof log - n);
        usleep(1000);
    }
    ck_assert_ptr_nonnull(strstr(log, "\"stopping\""));
    ck_assert_int_ne(daemon_stop(&d), 0);
    for (int i = 0; i < 4; i++)
        client_close(&c[i]);
    free(body);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        sixty_four_clients_each_get_their_own_answer,
        a_full_queue_says_so_at_once,
        inspections_queue_by_themselves_and_hold_nobody_up,
        clients_that_leave_are_dropped_from_the_queue,
        a_stop_loses_nothing_that_was_accepted,
        a_running_computation_is_given_up_when_the_stop_has_no_more_time,
        a_second_signal_stops_at_once,
        NULL};
    return suite_run("load", tests, 180);
}
