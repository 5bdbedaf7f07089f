/* POST /v1/completions over HTTP: replies in parts, clients that leave or read slowly, a
 * stop in the middle of a stream, and the same choices whatever else is going on. */
#include "tests/http/client.h"
#include "tests/http/daemon.h"
#include "tests/suite.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CHOICES = 4, CLIENTS = 64, ROUNDS = 6 };

/* What the events of a stream say, put together. */
struct told {
    size_t n_events, n_texts; /* with or without text */
    char text[CHOICES][1 << 19];
    size_t n_text[CHOICES];
    char finish[CHOICES][16];
    json_t *logprobs[CHOICES]; /* arrays end to end; NULL: none */
    json_t *usage;
    char error[32]; /* its code */
    bool done;
};

static void told_done(struct told *t)
{
    for (size_t i = 0; i < CHOICES; i++)
        json_decref(t->logprobs[i]);
    json_decref(t->usage);
    free(t);
}

static void add_logprobs(struct told *t, size_t index, json_t *part)
{
    const char *key;
    json_t *list;
    if (json_is_null(part))
        return;
    if (!t->logprobs[index]) {
        t->logprobs[index] = json_deep_copy(part);
        return;
    }
    json_object_foreach(part, key, list)
    {
        if (json_is_array(list))
            json_array_extend(json_object_get(t->logprobs[index], key), list);
    }
}

static void add_event(struct told *t, json_t *event)
{
    size_t i;
    json_t *choice;
    json_t *error = json_object_get(event, "error");
    json_t *usage = json_object_get(event, "usage");
    if (error)
        snprintf(t->error, sizeof t->error, "%s",
                 json_string_value(json_object_get(error, "code")));
    if (json_is_object(usage))
        t->usage = json_incref(usage);
    json_array_foreach(json_object_get(event, "choices"), i, choice)
    {
        size_t index = (size_t)json_integer_value(json_object_get(choice, "index"));
        const char *text = json_string_value(json_object_get(choice, "text"));
        const char *finish = json_string_value(json_object_get(choice, "finish_reason"));
        ck_assert_uint_lt(index, CHOICES);
        ck_assert_str_eq(t->finish[index], ""); /* nothing comes behind it */
        size_t n = json_string_length(json_object_get(choice, "text"));
        ck_assert_uint_lt(t->n_text[index] + n, sizeof t->text[index]);
        memcpy(t->text[index] + t->n_text[index], text, n + 1);
        t->n_text[index] += n;
        t->n_texts += *text != '\0';
        if (finish)
            snprintf(t->finish[index], sizeof t->finish[index], "%s", finish);
        add_logprobs(t, index, json_object_get(choice, "logprobs"));
    }
}

/* Every event is "data: JSON" and an empty line; the last one is [DONE]. */
static struct told *read_events(const char *body)
{
    struct told *t = calloc(1, sizeof *t);
    ck_assert_ptr_nonnull(t);
    for (const char *end; *body; body = end + 2) {
        json_error_t e;
        end = strchr(body, '\n'); /* strstr would look for the end of it all first */
        ck_assert_msg(end && end[1] == '\n' && strncmp(body, "data: ", 6) == 0,
                      "no event: %.80s", body);
        ck_assert(!t->done);
        size_t n = (size_t)(end - body) - 6;
        if (n == 6 && strncmp(body + 6, "[DONE]", 6) == 0) {
            t->done = true;
            continue;
        }
        json_t *event =
            json_loadb(body + 6, n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &e);
        ck_assert_msg(event != NULL, "%s: %.*s", e.text, (int)n, body + 6);
        t->n_events++;
        add_event(t, event);
        json_decref(event);
    }
    return t;
}

static void post(struct client *c, const char *body)
{
    client_sendf(
        c, "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n%s",
        strlen(body), body);
}

static struct told *ask_events(unsigned port, const char *body)
{
    struct reply r;
    ask(port, "POST", "/v1/completions", body, &r);
    ck_assert_msg(r.status == 200, "%d: %s", r.status, r.body);
    ck_assert_str_eq(reply_header(&r, "Content-Type"), "text/event-stream");
    ck_assert_str_eq(reply_header(&r, "Cache-Control"), "no-cache");
    struct told *t = read_events(r.body);
    ck_assert(t->done);
    reply_done(&r);
    return t;
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

/* ---- streams --------------------------------------------------------------------- */

static json_t *get(json_t *object, const char *key)
{
    json_t *value = json_object_get(object, key);
    ck_assert_msg(value != NULL, "no \"%s\"", key);
    return value;
}

/* The body without its last brace, and one more field. */
static void with(char *to, size_t cap, const char *body, const char *field)
{
    snprintf(to, cap, "%.*s,%s}", (int)strlen(body) - 1, body, field);
}

static void check_stream(unsigned port, const char *body)
{
    char streamed[512];
    size_t i;
    json_t *choice;
    with(streamed, sizeof streamed, body,
         "\"stream\":true,\"stream_options\":{\"include_usage\":true}");
    json_t *whole = ask_json(port, "POST", "/v1/completions", body, 200);
    struct told *told = ask_events(port, streamed);
    json_array_foreach(get(whole, "choices"), i, choice)
    {
        json_t *text = get(choice, "text");
        ck_assert_uint_eq(json_string_length(text), told->n_text[i]);
        ck_assert_mem_eq(json_string_value(text), told->text[i], told->n_text[i]);
        ck_assert_str_eq(json_string_value(get(choice, "finish_reason")),
                         told->finish[i]);
        json_t *logprobs = get(choice, "logprobs");
        ck_assert_msg(told->logprobs[i] ? json_equal(logprobs, told->logprobs[i])
                                        : json_is_null(logprobs),
                      "logprobs of choice %zu differ: %s", i, body);
    }
    json_object_del(get(whole, "usage"), "prompt_tokens_details");
    json_object_del(told->usage, "prompt_tokens_details");
    ck_assert(json_equal(get(whole, "usage"), told->usage));
    ck_assert_str_eq(told->error, "");
    json_decref(whole);
    told_done(told);
}

START_TEST(a_stream_says_what_the_whole_reply_says)
{
    static const char *const bodies[] = {
        "{\"prompt\":\"the cat\",\"max_tokens\":30,\"seed\":3}",
        "{\"prompt\":\"the cat\",\"max_tokens\":1,\"seed\":3}",
        "{\"prompt\":\"the cat\",\"max_tokens\":0,\"echo\":true,\"logprobs\":2}",
        "{\"prompt\":[\"the cat\",\"a "
        "caf\xc3\xa9\"],\"max_tokens\":20,\"n\":2,\"seed\":9}",
        "{\"prompt\":\"the caf\xc3\xa9\",\"max_tokens\":40,\"seed\":4,\"logprobs\":3,"
        "\"echo\":true,\"n\":3,\"temperature\":2}",
        "{\"prompt\":[5,6,7],\"max_tokens\":40,\"seed\":4,\"echo\":true,\"logprobs\":0}",
        "{\"prompt\":\"the cat\",\"max_tokens\":40,\"stop\":[\"e\",\"t\"],\"n\":4,"
        "\"seed\":8,\"logprobs\":1}",
    };
    struct daemon d;
    daemon_start(&d, NULL);
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        char body[512];
        with(body, sizeof body, bodies[i], "\"model\":\"tiny-gpt2\"");
        check_stream(d.port, body);
        if (i == 5)
            continue; /* its ids mean other words there */
        with(body, sizeof body, bodies[i], "\"model\":\"tiny-lstm\"");
        check_stream(d.port, body);
    }
    ck_assert_int_eq(daemon_stop(&d), 0);
}
END_TEST

/* A request is counted behind its last byte, which its client may have before. */
static bool becomes(unsigned port, const char *name, double value)
{
    for (int i = 0; i < 2000; i++) {
        if (metric(port, name) >= value)
            return true;
        usleep(5000);
    }
    return false;
}

START_TEST(text_comes_as_soon_as_it_is_there)
{
    struct daemon d;
    struct reply r;
    daemon_start(&d, NULL);
    struct told *t = ask_events(d.port, "{\"prompt\":\"the cat\",\"max_tokens\":24,"
                                        "\"model\":\"tiny-lstm\",\"stream\":true}");
    ck_assert_uint_ge(t->n_texts, 12); /* some tokens have no text, or wait */
    ck_assert_ptr_null(t->usage);
    told_done(t);
    ck_assert(becomes(d.port, "seqd_first_part_seconds_count", 1));
    ck_assert(metric(d.port, "seqd_first_part_seconds_count") == 1);
    ck_assert(metric(d.port, "seqd_generated_tokens_total") == 24);
    struct client c;
    client_open(&c, d.port);
    for (int i = 0; i < 3; i++) { /* the connection stays */
        post(&c, "{\"prompt\":\"the\",\"stream\":true}");
        client_read(&c, &r, false, 10000);
        ck_assert_int_eq(r.status, 200);
        ck_assert_str_eq(reply_header(&r, "Transfer-Encoding"), "chunked");
        told_done(read_events(r.body));
        reply_done(&r);
    }
    client_close(&c);
    ck_assert_int_eq(daemon_stop(&d), 0);
}
END_TEST

START_TEST(an_old_client_reads_to_the_end_of_the_connection)
{
    static const char body[] = "{\"prompt\":\"the cat\",\"max_tokens\":30,\"seed\":3,"
                               "\"model\":\"tiny-lstm\",\"stream\":true}";
    struct daemon d;
    struct client c;
    struct reply r;
    daemon_start(&d, NULL);
    struct told *want = ask_events(d.port, body);
    client_open(&c, d.port);
    client_sendf(&c, "POST /v1/completions HTTP/1.0\r\nContent-Length: %zu\r\n\r\n%s",
                 strlen(body), body);
    client_read(&c, &r, false, 10000);
    ck_assert_int_eq(r.status, 200);
    ck_assert_str_eq(reply_header(&r, "Transfer-Encoding"), "");
    struct told *got = read_events(r.body);
    ck_assert(got->done);
    ck_assert_str_eq(got->text[0], want->text[0]);
    told_done(got);
    told_done(want);
    reply_done(&r);
    client_close(&c);
    ask(d.port, "HEAD", "/v1/completions", NULL, &r);
    ck_assert_int_eq(r.status, 405);
    ck_assert_str_eq(reply_header(&r, "Allow"), "POST, OPTIONS");
    reply_done(&r);
    ask(d.port, "OPTIONS", "/v1/completions", NULL, &r);
    ck_assert_int_eq(r.status, 204);
    reply_done(&r);
    ck_assert_int_eq(daemon_stop(&d), 0);
}
END_TEST

START_TEST(what_is_wrong_before_the_first_part_is_an_error_of_its_own)
{
    struct daemon d;
    daemon_start(&d, NULL);
    json_t *r = ask_json(d.port, "POST", "/v1/completions",
                         "{\"prompt\":[[3],[999999]],\"stream\":true}", 422);
    ck_assert_str_eq(error_field(r, "param"), "prompt[1]");
    json_decref(r);
    r = ask_json(d.port, "POST", "/v1/completions",
                 "{\"prompt\":\"the cat\",\"stream\":true,\"logit_bias\":{\"999999\":1}}",
                 422);
    ck_assert_str_eq(error_field(r, "param"), "logit_bias");
    json_decref(r);
    ck_assert_int_eq(daemon_stop(&d), 0);
}
END_TEST

/* ---- the same under load ----------------------------------------------------------- */

static const char *const requests[][2] = {
    {"/v1/completions", "{\"model\":\"tiny-gpt2\",\"prompt\":\"the cat\",\"seed\":7,"
                        "\"max_tokens\":30,\"n\":2,\"logprobs\":2}"},
    {"/v1/completions", "{\"model\":\"tiny-lstm\",\"prompt\":\"the dog\",\"seed\":7,"
                        "\"max_tokens\":60,\"temperature\":1.5}"},
    {"/v1/completions",
     "{\"model\":\"tiny-lstm\",\"prompt\":[\"the cat sat on the mat\",\"a\"],\"seed\":1,"
     "\"max_tokens\":25,\"best_of\":3,\"echo\":true}"},
    {"/v1/completions",
     "{\"model\":\"tiny-gpt2\",\"prompt\":\"a caf\xc3\xa9\",\"seed\":2,"
     "\"max_tokens\":20,\"top_k\":5,\"stop\":\"e\"}"},
    {"/v1/sentiment", "{\"model\":\"tiny-bert\",\"text\":\"great\"}"},
    {"/v1/sentiment", "{\"model\":\"tiny-bilstm\",\"text\":\"every minute of it\"}"},
    {"/v1/next-word", "{\"model\":\"tiny-gpt2\",\"text\":\"the cat sat\",\"top_k\":7}"},
    {"/v1/attention", "{\"model\":\"tiny-gpt2\",\"text\":\"the cat sat on the\"}"},
};
enum { REQUESTS = sizeof requests / sizeof *requests };

struct crowd {
    unsigned port;
    struct reply want[REQUESTS]; /* each alone, before the crowd came */
    atomic_uint n, wrong;
};

/* What of a reply must be the same: all, or of completions the choices. */
static const char *lasting(const struct reply *r, size_t *n)
{
    const char *from = strstr(r->body, "\"choices\""), *to = strstr(r->body, "\"usage\"");
    *n = from ? (size_t)(to - from) : r->body_n;
    return from ? from : r->body;
}

static void *crowd_client(void *arg)
{
    struct crowd *crowd = arg;
    unsigned seed = atomic_fetch_add(&crowd->n, 1);
    for (unsigned i = 0; i < ROUNDS; i++) {
        size_t q = (seed + i * 5) % REQUESTS, n, n_want;
        struct client c;
        struct reply r;
        client_open(&c, crowd->port);
        client_sendf(&c, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n%s",
                     requests[q][0], strlen(requests[q][1]), requests[q][1]);
        client_read(&c, &r, false, 60000);
        const char *want = lasting(&crowd->want[q], &n_want);
        const char *got = r.status == 200 ? lasting(&r, &n) : "";
        if (r.status != 200 || n != n_want || memcmp(got, want, n) != 0) {
            fprintf(stderr, "request %zu: status %d: %.600s\n", q, r.status,
                    r.body ? r.body : "");
            atomic_fetch_add(&crowd->wrong, 1);
        }
        reply_done(&r);
        client_close(&c);
    }
    return NULL;
}

START_TEST(the_same_seed_gives_the_same_choices_alone_and_among_others)
{
    struct daemon d;
    const char *const args[] = {"--workers=2", "--state-cache-mb=1", NULL};
    static struct crowd crowd;
    daemon_start(&d, args);
    crowd.port = d.port;
    for (size_t q = 0; q < REQUESTS; q++) {
        ask(d.port, "POST", requests[q][0], requests[q][1], &crowd.want[q]);
        ck_assert_msg(crowd.want[q].status == 200, "%s", crowd.want[q].body);
    }
    pthread_t threads[CLIENTS];
    for (int i = 0; i < CLIENTS; i++)
        pthread_create(&threads[i], NULL, crowd_client, &crowd);
    for (int i = 0; i < CLIENTS; i++)
        pthread_join(threads[i], NULL);
    ck_assert_uint_eq(atomic_load(&crowd.wrong), 0);
    /* Sequences that grow did run together. */
    ck_assert(metric(d.port, "seqd_batch_size_sum") >
              metric(d.port, "seqd_batch_size_count"));
    for (size_t q = 0; q < REQUESTS; q++)
        reply_done(&crowd.want[q]);
    ck_assert_int_eq(daemon_stop(&d), 0);
}
END_TEST

/* ---- clients that leave, or read slowly -------------------------------------------- */

/* Some seconds long, and more than sockets hold. */
static const char ENDLESS[] = "{\"model\":\"tiny-lstm\",\"prompt\":\"the cat\","
                              "\"max_tokens\":60000,\"seed\":5,\"stream\":true}";

/* Opens a stream and reads until its first event is there. */
static void open_stream(struct client *c, unsigned port, const char *body)
{
    char piece[4096] = "";
    client_open(c, port);
    post(c, body);
    for (size_t n = 0; n + 1 < sizeof piece && !strstr(piece, "data: ");) {
        ssize_t some = read(c->fd, piece + n, sizeof piece - 1 - n);
        ck_assert_msg(some > 0, "the stream ended: %s", piece);
        n += (size_t)some;
        piece[n] = '\0';
    }
}

START_TEST(a_client_that_leaves_in_mid_stream_takes_its_job_along)
{
    enum { LEAVING = 5 };
    struct daemon d;
    struct client c[LEAVING];
    struct reply r;
    const char *const args[] = {"--generate-tokens=300100", NULL};
    daemon_start(&d, args);
    struct told *before = ask_events(
        d.port,
        "{\"prompt\":\"the\",\"seed\":1,\"model\":\"tiny-lstm\",\"stream\":true}");
    for (int i = 0; i < LEAVING; i++)
        open_stream(&c[i], d.port, ENDLESS);
    ask(d.port, "POST", "/v1/completions", ENDLESS, &r); /* no room for a sixth */
    ck_assert_int_eq(r.status, 429);
    ck_assert_uint_gt(strlen(reply_header(&r, "Retry-After")), 0);
    reply_done(&r);
    for (int i = 0; i + 1 < LEAVING; i++)
        client_close(&c[i]);
    ck_assert(becomes(d.port, "seqd_abandoned_total", LEAVING - 1));
    struct told *beside = ask_events(
        d.port,
        "{\"prompt\":\"the\",\"seed\":1,\"model\":\"tiny-lstm\",\"stream\":true}");
    ck_assert_str_eq(beside->text[0], before->text[0]);
    told_done(beside);
    told_done(before);
    /* Their room is free again. */
    struct client more;
    open_stream(&more, d.port, ENDLESS);
    client_close(&more);
    client_close(&c[LEAVING - 1]);
    ck_assert(becomes(d.port, "seqd_abandoned_total", LEAVING + 1));
    ck_assert_int_eq(daemon_stop(&d), 0);
}
END_TEST

/* True once no batch runs any more. */
static bool comes_to_rest(unsigned port)
{
    double before = -1;
    for (int i = 0; i < 400; i++) {
        double now = metric(port, "seqd_batch_size_count");
        if (now == before)
            return true;
        before = now;
        usleep(50000);
    }
    return false;
}

START_TEST(a_slow_reader_makes_its_job_wait_and_loses_nothing)
{
    static const char body[] =
        "{\"model\":\"tiny-lstm\",\"prompt\":\"the cat\",\"max_tokens\":7500,\"n\":4,"
        "\"seed\":5,\"logprobs\":5,\"stream\":true}"; /* much more than sockets hold */
    struct daemon d;
    struct client c;
    struct reply r;
    daemon_start(&d, NULL);
    struct told *want = ask_events(d.port, body);
    ck_assert_str_eq(want->finish[0], "length");
    client_open(&c, d.port);
    post(&c, body);
    ck_assert(becomes(d.port, "seqd_batch_size_count", 7500 + 25));
    ck_assert(comes_to_rest(d.port));
    ck_assert_msg(metric(d.port, "seqd_batch_size_count") < 2 * 7500,
                  "the job did not wait");
    client_read(&c, &r, false, 60000);
    ck_assert_int_eq(r.status, 200);
    struct told *got = read_events(r.body);
    ck_assert(got->done);
    for (int i = 0; i < 4; i++) {
        ck_assert_str_eq(got->text[i], want->text[i]);
        ck_assert_str_eq(got->finish[i], "length");
    }
    told_done(got);
    told_done(want);
    reply_done(&r);
    client_close(&c);
    ck_assert_int_eq(daemon_stop(&d), 0);
}
END_TEST

START_TEST(a_reader_who_stops_reading_is_cut_off)
{
    struct daemon d;
    struct client c;
    int small = 4096;
    const char *const args[] = {"--idle-timeout-s=1", NULL};
    daemon_start(&d, args);
    client_open(&c, d.port);
    setsockopt(c.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    post(&c, ENDLESS);
    ck_assert(becomes(d.port, "seqd_batch_size_count", 100));
    ck_assert(comes_to_rest(d.port));
    bool alone = false; /* but for the one that asks */
    for (int i = 0; i < 6000 && !alone; i++) {
        alone = metric(d.port, "seqd_connections") <= 1;
        usleep(5000);
    }
    ck_assert(alone);
    client_close(&c);
    ck_assert_int_eq(daemon_stop(&d), 0);
}
END_TEST

/* ---- stopping -------------------------------------------------------------------- */

START_TEST(a_stop_lets_streams_finish)
{
    struct daemon d;
    struct client c;
    struct reply r;
    daemon_start(&d, NULL);
    client_open(&c, d.port);
    post(&c, "{\"model\":\"tiny-lstm\",\"prompt\":\"the cat\",\"max_tokens\":3000,"
             "\"stream\":true}");
    ck_assert(becomes(d.port, "seqd_batch_size_count", 1));
    kill(d.pid, SIGTERM);
    client_read(&c, &r, false, 60000);
    ck_assert_int_eq(r.status, 200);
    struct told *t = read_events(r.body);
    ck_assert(t->done);
    ck_assert_str_eq(t->error, "");
    ck_assert_str_eq(t->finish[0], "length");
    told_done(t);
    reply_done(&r);
    client_close(&c);
    ck_assert_int_eq(daemon_wait(&d), 0);
}
END_TEST

START_TEST(a_stop_without_time_ends_streams_with_an_error)
{
    struct daemon d;
    struct client c[3];
    struct reply r;
    const char *const args[] = {"--stop-timeout-ms=0", NULL};
    daemon_start(&d, args);
    for (int i = 0; i < 3; i++) {
        client_open(&c[i], d.port);
        post(&c[i], ENDLESS);
    }
    ck_assert(becomes(d.port, "seqd_batch_size_sum", 30));
    kill(d.pid, SIGTERM);
    for (int i = 0; i < 3; i++) {
        client_read(&c[i], &r, false, 60000);
        ck_assert_int_eq(r.status, 200);
        struct told *t = read_events(r.body);
        ck_assert(t->done);
        ck_assert_str_eq(t->error, "stopping");
        ck_assert_str_eq(t->finish[0], "");
        told_done(t);
        reply_done(&r);
        client_close(&c[i]);
    }
    ck_assert_int_eq(daemon_wait(&d), 0);
}
END_TEST

/* ---- many ------------------------------------------------------------------------ */

START_TEST(many_short_streams_leave_nothing_behind)
{
    enum { MANY = 2000 };
    static const char body[] =
        "{\"model\":\"tiny-lstm\",\"prompt\":\"the cat\",\"max_tokens\":3,\"seed\":5,"
        "\"stream\":true}";
    struct daemon d;
    struct client c;
    struct reply r;
    const char *const args[] = {"--generate-tokens=6", "--log-level=error", NULL};
    daemon_start(&d, args);
    struct told *want = ask_events(d.port, body);
    client_open(&c, d.port);
    for (int i = 0; i < MANY; i++) { /* each takes all the room there is */
        post(&c, body);
        client_read(&c, &r, false, 10000);
        ck_assert_msg(r.status == 200, "stream %d: %s", i, r.body);
        struct told *t = read_events(r.body);
        ck_assert_str_eq(t->text[0], want->text[0]);
        told_done(t);
        reply_done(&r);
    }
    client_close(&c);
    told_done(want);
    ck_assert_int_eq(daemon_stop(&d), 0);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        a_stream_says_what_the_whole_reply_says,
        text_comes_as_soon_as_it_is_there,
        an_old_client_reads_to_the_end_of_the_connection,
        what_is_wrong_before_the_first_part_is_an_error_of_its_own,
        the_same_seed_gives_the_same_choices_alone_and_among_others,
        a_client_that_leaves_in_mid_stream_takes_its_job_along,
        a_slow_reader_makes_its_job_wait_and_loses_nothing,
        a_reader_who_stops_reading_is_cut_off,
        a_stop_lets_streams_finish,
        a_stop_without_time_ends_streams_with_an_error,
        many_short_streams_leave_nothing_behind,
        NULL};
    return suite_run("completions", tests, 180);
}
