#include "server/http.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#include <microhttpd.h>

#include "model/seq.h"
#include "server/address.h"
#include "server/clock.h"
#include "server/deadlines.h"
#include "server/exchange.h"
#include "server/gzip.h"
#include "server/log.h"

enum {
    HEADER_BYTES = 32 * 1024, /* MHD's memory per connection: the longest head */
    SLOWEST_READER = 4096,    /* bytes per second below which a reply is given up */
    ACCEPT_ROUNDS = 1000,     /* MHD takes a few connections per round */
    SETTLE_US = 50000,        /* requests on the wire when a stop is asked for */
    WAKE_MS = 1000,           /* an idle loop looks around this often */
    PART_BYTES = 8 * 1024,    /* copied at once, of a reply in parts over HTTP/1.0 */
    LAST_US = 1000000         /* for what a client sent before it closed its side */
};

/* One HTTP thread. */
struct loop {
    struct http *http;
    struct MHD_Daemon *daemon;
    int wake;          /* eventfd: a connection was resumed, or look at http's flags */
    atomic_bool woken; /* the eventfd is set, or about to be; cleared before looking */
    struct pings pings;
    pthread_t thread;
    bool started;
};

struct http {
    struct exchange_shared shared; /* fixed before the threads start, but its counters */
    char name[ADDRESS_BYTES];
    int listener;
    struct loop *loops; /* [n_loops] */
    size_t n_loops;

    atomic_bool quiesce, stop; /* only ever go up; a loop sees them after its next wake */
    atomic_size_t n_left;      /* loops that have left the listener */
    atomic_bool listening;     /* the listener is open */
};

/* ---- small things ---------------------------------------------------------------- */

static void wake(struct loop *l)
{
    uint64_t one = 1;
    if (!atomic_exchange(&l->woken, true))
        (void)!write(l->wake, &one, sizeof one);
}

static const char *header(struct MHD_Connection *c, const char *name)
{
    return MHD_lookup_connection_value(c, MHD_HEADER_KIND, name);
}

static const char *request_header(const struct request *q, const char *name)
{
    return header(q->header_arg, name);
}

/* ---- sending --------------------------------------------------------------------- */

static void add_cors(struct exchange *x, struct MHD_Response *r)
{
    if (*x->shared->options->cors_origin)
        MHD_add_response_header(r, "Vary", "Origin");
    if (x->origin != GUARD_ORIGIN_LISTED)
        return;
    MHD_add_response_header(r, "Access-Control-Allow-Origin",
                            header(x->connection, "Origin"));
    MHD_add_response_header(r, "Access-Control-Expose-Headers",
                            "Server-Timing, X-Request-Id, Retry-After, retry-after-ms, "
                            "x-should-retry, Inference-Header-Content-Length");
    if (strcmp(x->method, "OPTIONS") == 0) {
        const char *wanted = header(x->connection, "Access-Control-Request-Headers");
        MHD_add_response_header(r, "Access-Control-Allow-Methods", x->match.allow);
        /* Clients send what they like (Authorization, x-stainless-os, ...); no header
         * means anything here that an origin on the list should not say. */
        MHD_add_response_header(r, "Access-Control-Allow-Headers",
                                wanted && *wanted ? wanted : "Content-Type");
        MHD_add_response_header(r, "Access-Control-Max-Age", "600");
    }
}

/* What TEI tells of a request, in whole milliseconds. */
static void add_tei(const struct exchange *x, struct MHD_Response *r)
{
    const struct {
        const char *name;
        uint64_t us;
    } times[] = {{"x-compute-time", x->times.total_us},
                 {"x-total-time", x->times.total_us},
                 {"x-tokenization-time", x->times.tokenize_us},
                 {"x-queue-time", x->times.queue_us},
                 {"x-inference-time", x->times.compute_us}};
    char number[24];
    MHD_add_response_header(r, "x-compute-type", "cpu");
    snprintf(number, sizeof number, "%zu", x->n_characters);
    MHD_add_response_header(r, "x-compute-characters", number);
    snprintf(number, sizeof number, "%zu", x->n_tokens);
    MHD_add_response_header(r, "x-compute-tokens", number);
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        if (times[i].us == UINT64_MAX)
            continue;
        snprintf(number, sizeof number, "%" PRIu64, times[i].us / 1000);
        MHD_add_response_header(r, times[i].name, number);
    }
}

static void add_headers(struct exchange *x, struct MHD_Response *r)
{
    const struct reply *reply = &x->reply;
    bool cached = false;
    char number[24], timing[EXCHANGE_TIMING_BYTES];
    if (x->status != 204 && x->status != 304)
        MHD_add_response_header(r, "Content-Type",
                                reply->content_type ? reply->content_type
                                                    : "application/json");
    for (size_t i = 0; i < reply->n_headers; i++) {
        cached |= strcasecmp(reply->headers[i].name, "Cache-Control") == 0;
        MHD_add_response_header(r, reply->headers[i].name, reply->headers[i].value);
    }
    if (!cached)
        MHD_add_response_header(r, "Cache-Control", "no-store");
    MHD_add_response_header(r, "X-Request-Id", x->id);
    MHD_add_response_header(r, "X-Content-Type-Options", "nosniff");
    exchange_timing(x, timing);
    MHD_add_response_header(r, "Server-Timing", timing);
    if (x->dialect == DIALECT_TEI && x->n_texts && x->status == 200)
        add_tei(x, r);
    add_cors(x, r);
    if ((x->status == 405 || x->status == 204) && x->match.allow[0])
        MHD_add_response_header(r, "Allow", x->match.allow);
    if (reply->retry_after_ms) {
        snprintf(number, sizeof number, "%u", (reply->retry_after_ms + 999) / 1000);
        MHD_add_response_header(r, "Retry-After", number);
        snprintf(number, sizeof number, "%u", reply->retry_after_ms);
        MHD_add_response_header(r, "retry-after-ms", number);
    }
    if (x->status == 500 || x->status == 424) /* the same request would fail again */
        MHD_add_response_header(r, "x-should-retry", "false");
    if (reply->inference_header_n) {
        snprintf(number, sizeof number, "%zu", reply->inference_header_n);
        MHD_add_response_header(r, "Inference-Header-Content-Length", number);
    }
    if (reply->close || atomic_load(&x->loop->http->quiesce))
        MHD_add_response_header(r, "Connection", "close");
}

/* When the client must have read n more bytes. */
static uint64_t reader_deadline(const struct exchange *x, size_t n)
{
    return clock_us() + (uint64_t)x->shared->options->idle_timeout_s * 1000000u +
           n * 1000000u / SLOWEST_READER;
}

/* Hands x->reply to MHD, which takes the body. */
static enum MHD_Result send_reply(struct exchange *x)
{
    struct reply *reply = &x->reply;
    struct MHD_Response *r;
    if (reply->body.failed)
        exchange_refuse(x, PROBLEM_NOMEM, "out of memory for the reply");
    x->status = reply->status ? reply->status : 200;
    x->times.total_us = clock_us() - x->start_us;
    x->bytes_out = reply->fixed ? reply->fixed_n : reply->body.n;
    if (reply->fixed || !reply->body.at) {
        r = MHD_create_response_from_buffer(x->bytes_out, (void *)reply->fixed,
                                            MHD_RESPMEM_PERSISTENT);
    } else {
        r = MHD_create_response_from_buffer(x->bytes_out, reply->body.at,
                                            MHD_RESPMEM_MUST_FREE);
        if (r)
            reply->body = (struct buf){0};
    }
    if (!r)
        return MHD_NO;
    add_headers(x, r);
    deadlines_set(x->shared->deadlines, x->watch, WATCH_REPLY,
                  reader_deadline(x, x->bytes_out));
    enum MHD_Result result = MHD_queue_response(x->connection, x->status, r);
    MHD_destroy_response(r);
    return result;
}

/* ---- jobs ------------------------------------------------------------------------ */

static void suspend_locked(struct exchange *x)
{
    MHD_suspend_connection(x->connection);
    x->suspended = true;
}

static void resume_locked(struct exchange *x)
{
    if (!x->suspended)
        return;
    x->suspended = false;
    MHD_resume_connection(x->connection);
}

/* The first part of the reply came. */
static bool has_begun(struct exchange *x)
{
    pthread_mutex_lock(&x->lock);
    bool begun = x->begun;
    pthread_mutex_unlock(&x->lock);
    return begun;
}

/* Called by a worker or the timer. The connection is suspended from before the job was
 * pushed until here, or until the first part of its reply. */
static void finish(void *arg, struct job *take_job)
{
    struct exchange *x = arg;
    struct loop *l = x->loop;
    if (x->gzip && take_job->err.code == ERR_OK && !has_begun(x))
        gzip_reply(&take_job->reply);
    pthread_mutex_lock(&x->lock);
    x->job = take_job;
    resume_locked(x);
    pthread_mutex_unlock(&x->lock);
    exchange_unref(x);
    wake(l);
}

/* Called by a worker. */
static void progress(void *arg, struct job *job)
{
    struct exchange *x = arg;
    pthread_mutex_lock(&x->lock);
    exchange_take_part_locked(x, job);
    resume_locked(x);
    pthread_mutex_unlock(&x->lock);
    wake(x->loop);
}

/* The socket stays open while the connection is suspended, and until the first part only
 * the owner of the job, who asks this, can end that. From then on x->gone tells, set by
 * the timer or by on_completed: the number may be another connection's by now. */
static bool abandoned(void *arg)
{
    struct exchange *x = arg;
    return !has_begun(x) && deadlines_hung_up(x->fd);
}

static void push_failed(struct exchange *x, struct job *job, const struct err *err)
{
    job->kind->free(job);
    atomic_fetch_sub(&x->refs, 1);
    exchange_refuse(x, err->code == ERR_LIMIT ? PROBLEM_QUEUE_FULL : PROBLEM_STOPPING,
                    err->msg);
    pthread_mutex_lock(&x->lock);
    resume_locked(x);
    pthread_mutex_unlock(&x->lock);
}

static enum MHD_Result submit(struct exchange *x, struct job *job)
{
    const struct exchange_shared *shared = x->shared;
    struct err err = {0};
    job->finish = finish;
    job->progress = progress;
    job->abandoned = abandoned;
    job->arg = x;
    job->gone = &x->gone;
    uint64_t wait_us = (uint64_t)shared->options->request_timeout_ms * 1000u;
    if (job->wait_us && job->wait_us < wait_us)
        wait_us = job->wait_us;
    job->deadline_us = clock_us() + wait_us;
    x->model = job->model ? job->model->name : NULL;
    deadlines_wait(shared->deadlines, x->watch, &x->gone);
    pthread_mutex_lock(&x->lock);
    suspend_locked(x);
    pthread_mutex_unlock(&x->lock);
    atomic_fetch_add(&x->refs, 1);
    if (scheduler_push(shared->server->scheduler, job, &err) != ERR_OK)
        push_failed(x, job, &err);
    return MHD_YES;
}

/* ---- replies in parts ------------------------------------------------------------ */

/* The client has read what there was: its paused job goes on, or the server stops. */
static void push_again(struct exchange *x, struct job *job)
{
    struct err err = {0};
    atomic_fetch_add(&x->refs, 1);
    if (scheduler_push(x->shared->server->scheduler, job, &err) == ERR_OK)
        return;
    atomic_fetch_sub(&x->refs, 1);
    job->err = err;
    job->end = JOB_STOPPED;
    exchange_end_parts(x, job);
}

enum next { NEXT_PART, NEXT_JOB, NEXT_END, NEXT_FAILED, NEXT_LATER };

/* What is there to send, or what happens next; later: the connection is suspended. */
static enum next take_next(struct exchange *x, char *to, size_t max, size_t *n,
                           struct job **job)
{
    enum next next = NEXT_LATER;
    pthread_mutex_lock(&x->lock);
    *n = exchange_next_locked(x, to, max);
    *job = *n ? NULL : x->job;
    if (x->parts.failed)
        next = NEXT_FAILED;
    else if (*n)
        next = NEXT_PART;
    else if (x->job)
        next = NEXT_JOB;
    else if (x->ended)
        next = NEXT_END;
    else
        suspend_locked(x);
    if (next == NEXT_JOB)
        x->job = NULL;
    pthread_mutex_unlock(&x->lock);
    return next;
}

/* libmicrohttpd asks for more. Who reads too slowly is cut off like other readers. */
static ssize_t next_part(void *cls, uint64_t at, char *to, size_t max)
{
    struct exchange *x = cls;
    struct deadlines *d = x->shared->deadlines;
    struct job *job;
    enum next next;
    size_t n;
    (void)at;
    while ((next = take_next(x, to, max, &n, &job)) == NEXT_JOB)
        if (job->paused)
            push_again(x, job);
        else
            exchange_end_parts(x, job);
    switch (next) {
    case NEXT_PART:
        x->bytes_out += n;
        pings_sent(&x->loop->pings, &x->ping, clock_us());
        deadlines_set(d, x->watch, WATCH_REPLY, reader_deadline(x, n));
        return (ssize_t)n;
    case NEXT_LATER:
        deadlines_wait(d, x->watch, &x->gone);
        return 0;
    case NEXT_END:
        return MHD_CONTENT_READER_END_OF_STREAM;
    case NEXT_JOB:
    case NEXT_FAILED:
        break;
    }
    return MHD_CONTENT_READER_END_WITH_ERROR;
}

/* Streams to which nothing was sent for so long. One that has something to send by now
 * is as good as sent. */
static void ping_streams(struct loop *l)
{
    struct ping *due;
    uint64_t now_us = clock_us();
    while ((due = pings_due(&l->pings, now_us))) {
        struct exchange *x =
            (struct exchange *)((char *)due - offsetof(struct exchange, ping));
        pthread_mutex_lock(&x->lock);
        if (x->suspended) {
            exchange_ping_locked(x);
            resume_locked(x);
        }
        pthread_mutex_unlock(&x->lock);
        pings_sent(&l->pings, due, now_us);
    }
}

/* The head goes out; next_part sends the rest. */
static enum MHD_Result send_parts(struct exchange *x)
{
    struct MHD_Response *r = MHD_create_response_from_callback(
        MHD_SIZE_UNKNOWN, PART_BYTES, next_part, x, NULL);
    if (!r)
        return MHD_NO;
    x->status = x->reply.status ? x->reply.status : 200;
    add_headers(x, r);
    enum MHD_Result result = MHD_queue_response(x->connection, x->status, r);
    MHD_destroy_response(r);
    return result;
}

/* After the resume: the job's reply becomes ours. */
static enum MHD_Result answer_job(struct exchange *x)
{
    pthread_mutex_lock(&x->lock);
    bool begun = x->begun;
    struct job *job = begun ? NULL : x->job;
    if (job)
        x->job = NULL;
    pthread_mutex_unlock(&x->lock);
    if (begun)
        return send_parts(x);
    if (job) /* else push_failed has made the reply */
        exchange_take_job(x, job);
    return send_reply(x);
}

/* ---- dispatch -------------------------------------------------------------------- */

static enum MHD_Result dispatch(struct exchange *x)
{
    struct answer answer = {0};
    struct err err = {0};
    x->dispatched = true;
    x->bytes_in = x->body_n;
    if (!exchange_admit(x, header(x->connection, "Content-Type"),
                        header(x->connection, "Content-Encoding"))) {
        exchange_free_body(x);
        return send_reply(x);
    }
    struct request q = {.route = x->match.route,
                        .id = x->id,
                        .path = x->path,
                        .body = x->body,
                        .body_n = x->body_n,
                        .header = request_header,
                        .header_arg = x->connection};
    memcpy(q.args, x->match.args, sizeof q.args);
    answer.dialect = x->dialect;
    enum err_code code = q.route->handle(x->shared->server, &q, &answer, &err);
    x->dialect = answer.dialect;
    exchange_free_body(x);
    if (code != ERR_OK) {
        exchange_refuse_err(x, &err);
        return send_reply(x);
    }
    if (answer.job)
        return submit(x, answer.job);
    x->reply = answer.reply;
    if (x->gzip)
        gzip_reply(&x->reply);
    return send_reply(x);
}

/* ---- reading --------------------------------------------------------------------- */

static enum MHD_Result each_header(void *cls, enum MHD_ValueKind kind, const char *name,
                                   size_t name_n, const char *value, size_t value_n)
{
    (void)kind;
    guard_header(cls, name, name_n, value ? value : "", value ? value_n : 0);
    return MHD_YES;
}

/* The first call: only the head is known. */
static enum MHD_Result begin(struct loop *l, struct MHD_Connection *c,
                             struct exchange_head *head, void **con_cls)
{
    struct exchange_shared *shared = &l->http->shared;
    struct guard_framing g = {0};
    const union MHD_ConnectionInfo *context =
        MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    if (!context || !context->socket_context)
        return MHD_NO; /* no memory for a watch: not served */
    head->id = header(c, "X-Request-Id");
    head->trace = header(c, "traceparent");
    head->encodings = header(c, "Accept-Encoding");
    head->origin = header(c, "Origin");
    head->host = header(c, "Host");
    struct exchange *x = exchange_new(shared, head);
    if (!x)
        return MHD_NO;
    *con_cls = x;
    x->loop = l;
    x->connection = c;
    x->watch = context->socket_context;
    x->fd = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    deadlines_set(shared->deadlines, x->watch, WATCH_BODY,
                  x->start_us + (uint64_t)shared->options->body_timeout_ms * 1000u);
    MHD_get_connection_values_n(c, MHD_HEADER_KIND, each_header, &g);
    return exchange_refuse_early(x, &g, head->version) ? send_reply(x) : MHD_YES;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *c, const char *url,
                                  const char *method, const char *version,
                                  const char *upload, size_t *upload_n, void **con_cls)
{
    struct exchange *x = *con_cls;
    if (!x) {
        struct exchange_head head = {.method = method, .path = url, .version = version};
        return begin(cls, c, &head, con_cls);
    }
    if (*upload_n) {
        bool go_on = exchange_take_body(x, upload, *upload_n);
        *upload_n = 0;
        return go_on ? MHD_YES : MHD_NO;
    }
    return x->dispatched ? answer_job(x) : dispatch(x);
}

/* ---- the end of a request -------------------------------------------------------- */

/* The timer may have answered in our place. */
static void note_late(struct exchange *x)
{
    if (x->status || !deadlines_late(x->shared->deadlines, x->watch))
        return;
    struct problem_row row = problem_row(x->dialect, PROBLEM_SLOW);
    x->status = row.status;
    x->code = row.code;
    x->times.total_us = clock_us() - x->start_us;
}

/* Every request ends here, also those whose client has gone. MHD may have overlooked the
 * client's end if it came with the request (a short read clears its edge), and would keep
 * the connection until it is idle too long. */
static void on_completed(void *cls, struct MHD_Connection *c, void **con_cls,
                         enum MHD_RequestTerminationCode why)
{
    struct exchange *x = *con_cls;
    (void)cls;
    (void)c;
    if (!x)
        return;
    *con_cls = NULL;
    uint64_t idle_us = (uint64_t)x->shared->options->idle_timeout_s * 1000000u;
    pings_remove(&x->loop->pings, &x->ping);
    atomic_store(&x->gone, true); /* its job may still run, and send parts */
    note_late(x);
    deadlines_set(x->shared->deadlines, x->watch, WATCH_HEADERS,
                  clock_us() + (deadlines_hung_up(x->fd) ? LAST_US : idle_us));
    exchange_record(x, why == MHD_REQUEST_TERMINATED_COMPLETED_OK);
    exchange_unref(x);
}

static void on_connection(void *cls, struct MHD_Connection *c, void **context,
                          enum MHD_ConnectionNotificationCode what)
{
    struct exchange_shared *shared = cls;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *i =
            MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
        *context = deadlines_open(
            shared->deadlines, i->connect_fd,
            clock_us() + (uint64_t)shared->options->header_timeout_ms * 1000u);
        metrics_connections(shared->server->metrics, 1);
    } else {
        if (*context)
            deadlines_close(shared->deadlines, *context);
        metrics_connections(shared->server->metrics, -1);
    }
}

/* %00 stays as it is: it would cut the path short. */
static size_t on_unescape(void *cls, struct MHD_Connection *c, char *s)
{
    (void)cls;
    (void)c;
    return strstr(s, "%00") ? strlen(s) : MHD_http_unescape(s);
}

static void on_mhd_log(void *cls, const char *fmt, va_list args) PRINTF_LIKE(2, 0);

static void on_mhd_log(void *cls, const char *fmt, va_list args)
{
    char text[256];
    (void)cls;
    vsnprintf(text, sizeof text, fmt, args);
    size_t n = strlen(text);
    while (n && text[n - 1] == '\n')
        text[--n] = '\0';
    log_note(LOG_DEBUG, "libmicrohttpd", "%s", text);
}

/* ---- the timer ------------------------------------------------------------------- */

static void on_tick(void *arg)
{
    struct http *h = arg;
    scheduler_sweep(h->shared.server->scheduler);
    sessions_sweep(h->shared.server->sessions, clock_us());
}

static void on_late(void *arg, enum watch_phase phase)
{
    struct http *h = arg;
    if (phase == WATCH_BODY)
        metrics_reject(h->shared.server->metrics, METRICS_REJECT_SLOW);
}

/* ---- threads --------------------------------------------------------------------- */

static void wait_events(struct loop *l, int mhd_fd)
{
    MHD_UNSIGNED_LONG_LONG ms;
    uint64_t count;
    int timeout = WAKE_MS;
    if (MHD_get_timeout(l->daemon, &ms) == MHD_YES && ms < WAKE_MS)
        timeout = (int)ms;
    timeout = pings_timeout(&l->pings, clock_us(), timeout);
    struct pollfd p[2] = {{.fd = mhd_fd, .events = POLLIN},
                          {.fd = l->wake, .events = POLLIN}};
    if (poll(p, 2, timeout) > 0 && p[1].revents &&
        read(l->wake, &count, sizeof count) == sizeof count)
        atomic_store(&l->woken, false);
}

/* The listener is shared: a daemon that has not left it would close it for all. */
static void stop_daemon(struct MHD_Daemon *daemon)
{
    MHD_quiesce_daemon(daemon);
    MHD_stop_daemon(daemon);
}

/* Accepts whom the kernel has accepted already, then no more. The last loop to leave
 * closes the socket at once: clients that connect in between would be reset. */
static void leave_listener(struct loop *l)
{
    struct http *h = l->http;
    struct pollfd p = {.fd = h->listener, .events = POLLIN};
    for (int i = 0; i < ACCEPT_ROUNDS && poll(&p, 1, 0) > 0; i++)
        MHD_run(l->daemon);
    MHD_quiesce_daemon(l->daemon);
    if (atomic_fetch_add(&h->n_left, 1) + 1 == h->n_loops) {
        close(h->listener);
        atomic_store(&h->listening, false);
    }
}

/* An own loop instead of MHD's: its epoll thread waits again when it finds exactly 128
 * ready events, before it serves them (0.9.75, MAX_EVENTS); with MHD_run that wait never
 * blocks. */
static void *serve(void *arg)
{
    struct loop *l = arg;
    struct http *h = l->http;
    bool quiesced = false;
    int mhd_fd = MHD_get_daemon_info(l->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    while (!atomic_load(&h->stop)) {
        MHD_run(l->daemon);
        if (atomic_load(&h->quiesce) && !quiesced) {
            leave_listener(l);
            quiesced = true;
        }
        wait_events(l, mhd_fd);
        ping_streams(l);
    }
    stop_daemon(l->daemon);
    return NULL;
}

static enum err_code start_loop(struct http *h, struct loop *l, struct err *err)
{
    size_t limit = (size_t)h->shared.options->connection_limit;
    l->http = h;
    l->pings.every_us = (uint64_t)h->shared.options->sse_ping_ms * 1000u;
    l->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (l->wake < 0)
        return err_set(err, ERR_IO, "eventfd: %s", strerror(errno));
    struct MHD_OptionItem options[] = {
        {MHD_OPTION_EXTERNAL_LOGGER, (intptr_t)on_mhd_log, NULL}, /* must come first */
        {MHD_OPTION_LISTEN_SOCKET, h->listener, NULL},
        {MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)on_completed, l},
        {MHD_OPTION_NOTIFY_CONNECTION, (intptr_t)on_connection, &h->shared},
        {MHD_OPTION_UNESCAPE_CALLBACK, (intptr_t)on_unescape, NULL},
        {MHD_OPTION_CONNECTION_LIMIT, (intptr_t)((limit + h->n_loops - 1) / h->n_loops),
         NULL},
        {MHD_OPTION_CONNECTION_TIMEOUT, (intptr_t)h->shared.options->idle_timeout_s,
         NULL},
        {MHD_OPTION_CONNECTION_MEMORY_LIMIT, HEADER_BYTES, NULL},
        {MHD_OPTION_END, 0, NULL}};
    l->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL,
        on_request, l, MHD_OPTION_ARRAY, options, MHD_OPTION_END);
    if (!l->daemon)
        return err_set(err, ERR_IO, "libmicrohttpd does not start");
    if (pthread_create(&l->thread, NULL, serve, l) != 0)
        return err_set(err, ERR_NOMEM, "can't start an HTTP thread");
    pthread_setname_np(l->thread, "http");
    l->started = true;
    return ERR_OK;
}

/* ---- start and stop -------------------------------------------------------------- */

static enum err_code bind_listener(struct http *h, struct err *err)
{
    struct address a;
    enum err_code code = address_parse(h->shared.options->host,
                                       (uint16_t)h->shared.options->port, &a, err);
    if (code == ERR_OK)
        code = address_listen(&a, &h->listener, err);
    if (code != ERR_OK)
        return code;
    address_print(&a, h->name);
    atomic_store(&h->listening, true);
    h->shared.loopback = address_is_loopback(&a);
    return ERR_OK;
}

enum err_code http_start(struct server *s, struct http **out, struct err *err)
{
    struct http *h = mem_zero(1, sizeof *h);
    if (!h)
        return err_set(err, ERR_NOMEM, "out of memory for the HTTP side");
    h->shared.server = s;
    h->shared.options = s->options;
    if (getrandom(&h->shared.id_seed, sizeof h->shared.id_seed, 0) < 0)
        h->shared.id_seed = clock_us();
    struct deadlines_hooks hooks = {on_tick, on_late, h};
    enum err_code code = bind_listener(h, err);
    if (code == ERR_OK)
        code = deadlines_start(&hooks, &h->shared.deadlines, err);
    if (code == ERR_OK) {
        h->n_loops = (size_t)h->shared.options->http_threads;
        h->loops = mem_zero(h->n_loops, sizeof *h->loops);
        if (!h->loops) {
            h->n_loops = 0;
            code = err_set(err, ERR_NOMEM, "out of memory for the HTTP threads");
        }
    }
    for (size_t i = 0; code == ERR_OK && h->loops && i < h->n_loops; i++)
        code = start_loop(h, &h->loops[i], err);
    if (code != ERR_OK) {
        http_stop(h);
        return code;
    }
    *out = h;
    return ERR_OK;
}

const char *http_address(const struct http *h)
{
    return h->name;
}

static void wake_all(struct http *h)
{
    for (size_t i = 0; i < h->n_loops; i++)
        if (h->loops[i].started)
            wake(&h->loops[i]);
}

void http_quiesce(struct http *h)
{
    atomic_store(&h->quiesce, true);
    wake_all(h);
    while (atomic_load(&h->listening))
        usleep(1000);
    usleep(SETTLE_US);
}

bool http_drain(struct http *h, uint64_t timeout_us)
{
    uint64_t end = clock_us() + timeout_us;
    while (atomic_load(&h->shared.live)) {
        if (clock_us() >= end)
            return false;
        usleep(2000);
    }
    return true;
}

void http_stop(struct http *h)
{
    if (!h)
        return;
    deadlines_stop(h->shared.deadlines);
    atomic_store(&h->stop, true);
    wake_all(h);
    for (size_t i = 0; i < h->n_loops; i++) {
        struct loop *l = &h->loops[i];
        if (l->started)
            pthread_join(l->thread, NULL);
        else if (l->daemon)
            stop_daemon(l->daemon);
        if (l->http && l->wake >= 0)
            close(l->wake);
    }
    if (atomic_load(&h->listening))
        close(h->listener);
    deadlines_free(h->shared.deadlines);
    mem_free(h->loops);
    mem_free(h);
}
