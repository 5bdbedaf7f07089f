#include "server/exchange.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "model/seq.h"
#include "server/clock.h"
#include "server/gzip.h"
#include "server/log.h"

enum {
    OVERSHOOT = 4,          /* a body this many times too long is not read to its end */
    AHEAD_BYTES = 64 * 1024 /* of parts that wait for their client, before the job does */
};

/* 16 hexadecimal digits; neighbours look unlike each other (splitmix64). */
static void make_id(struct exchange_shared *h, char out[EXCHANGE_ID_BYTES])
{
    uint64_t z = h->id_seed + atomic_fetch_add(&h->n_ids, 1) * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    snprintf(out, EXCHANGE_ID_BYTES, "%016llx", (unsigned long long)(z ^ (z >> 31)));
}

static enum metrics_rejection rejection(enum problem p)
{
    switch (p) {
    case PROBLEM_QUEUE_FULL:
        return METRICS_REJECT_QUEUE_FULL;
    case PROBLEM_STOPPING:
        return METRICS_REJECT_STOPPING;
    case PROBLEM_BODY_SIZE:
        return METRICS_REJECT_BODY_SIZE;
    case PROBLEM_FRAMING:
    case PROBLEM_VERSION:
        return METRICS_REJECT_FRAMING;
    case PROBLEM_ORIGIN:
        return METRICS_REJECT_ORIGIN;
    default:
        return METRICS_REJECTIONS;
    }
}

/* The reply becomes that error, in the dialect of the route. */
static void tell(struct exchange *x, enum problem p, const char *message)
{
    reply_problem(&x->reply, x->dialect, p, NULL, message);
    x->code = problem_row(x->dialect, p).code;
}

void exchange_refuse(struct exchange *x, enum problem p, const char *message)
{
    tell(x, p, message);
    if (rejection(p) != METRICS_REJECTIONS)
        metrics_reject(x->shared->server->metrics, rejection(p));
}

void exchange_refuse_err(struct exchange *x, const struct err *err)
{
    enum problem p = problem_of_err(err);
    reply_err(&x->reply, x->dialect, err);
    x->code = problem_row(x->dialect, p).code;
    if (p == PROBLEM_INTERNAL)
        log_note(LOG_ERROR, "internal_error", "request %s: %s: %s", x->id,
                 err_name(err->code), err->msg);
}

/* ---- life ------------------------------------------------------------------------ */

void exchange_free_body(struct exchange *x)
{
    atomic_fetch_sub(&x->shared->body_bytes, x->body_cap);
    mem_free(x->body);
    x->body = NULL;
    x->body_cap = 0;
}

struct exchange *exchange_new(struct exchange_shared *shared,
                              const struct exchange_head *head)
{
    struct exchange *x = mem_zero(1, sizeof *x);
    char *path = mem_copy(head->path, strlen(head->path));
    if (!x || !path) {
        mem_free(x);
        mem_free(path);
        return NULL;
    }
    x->shared = shared;
    x->start_us = clock_us();
    x->path = path;
    x->times = (struct metrics_times){UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX,
                                      UINT64_MAX};
    snprintf(x->method, sizeof x->method, "%s", head->method);
    if (guard_request_id(head->id))
        snprintf(x->id, sizeof x->id, "%s", head->id);
    else
        make_id(shared, x->id);
    x->gzip = gzip_accepted(head->encodings);
    if (guard_traceparent(head->trace))
        snprintf(x->trace, sizeof x->trace, "%s", head->trace);
    x->origin = guard_origin(head->origin, head->host, shared->options->cors_origin,
                             shared->loopback);
    router_find(shared->server->routes, shared->server->n_routes, x->method, x->path,
                &x->match);
    x->dialect = x->match.dialect;
    atomic_init(&x->refs, 1);
    pthread_mutex_init(&x->lock, NULL);
    atomic_fetch_add(&shared->live, 1);
    return x;
}

void exchange_unref(struct exchange *x)
{
    if (atomic_fetch_sub(&x->refs, 1) != 1)
        return;
    if (x->job && x->job->paused) /* others are counted by the scheduler */
        metrics_abandoned(x->shared->server->metrics);
    if (x->job)
        x->job->kind->free(x->job);
    exchange_free_body(x);
    reply_done(&x->reply);
    buf_done(&x->parts);
    pthread_mutex_destroy(&x->lock);
    mem_free(x->path);
    mem_free(x);
}

/* ---- reading --------------------------------------------------------------------- */

static void refuse_size(struct exchange *x, uint64_t n)
{
    char message[96];
    snprintf(message, sizeof message, "the body has %llu bytes, max-body-bytes is %lld",
             (unsigned long long)n, (long long)x->shared->options->max_body_bytes);
    exchange_refuse(x, PROBLEM_BODY_SIZE, message);
}

bool exchange_refuse_early(struct exchange *x, const struct guard_framing *g,
                           const char *version)
{
    struct exchange_shared *h = x->shared;
    const char *fault = guard_framing_fault(g, version);
    x->expected = (size_t)g->length;
    if (strcmp(version, "HTTP/1.1") != 0 && strcmp(version, "HTTP/1.0") != 0)
        exchange_refuse(x, PROBLEM_VERSION, "only HTTP/1.1 and HTTP/1.0 are spoken here");
    else if (fault)
        exchange_refuse(x, PROBLEM_FRAMING, fault);
    else if (g->length > (uint64_t)h->options->max_body_bytes)
        refuse_size(x, g->length);
    else
        return false;
    x->reply.close = true;
    x->dispatched = true;
    deadlines_linger(h->deadlines, x->watch);
    return true;
}

/* Makes room for n more bytes; the sum over all requests is limited. */
static bool grow_body(struct exchange *x, size_t n)
{
    struct exchange_shared *h = x->shared;
    size_t need = x->body_n + n;
    if (need <= x->body_cap)
        return true;
    size_t cap = x->body_cap ? x->body_cap * 2 : x->expected < 4096 ? x->expected : 4096;
    if (x->expected && cap > x->expected)
        cap = x->expected;
    if (cap < need)
        cap = need;
    size_t more = cap - x->body_cap;
    if (atomic_fetch_add(&h->body_bytes, more) + more >
        (size_t)h->options->body_memory_bytes) {
        atomic_fetch_sub(&h->body_bytes, more);
        return false;
    }
    char *body = mem_resize(x->body, cap, 1);
    if (!body) {
        atomic_fetch_sub(&h->body_bytes, more);
        return false;
    }
    x->body = body;
    x->body_cap = cap;
    return true;
}

/* A piece of the body. Nothing may be answered here, so trouble is kept for the end; a
 * body without an end (only chunked ones get here) is cut off. */
bool exchange_take_body(struct exchange *x, const char *piece, size_t n)
{
    size_t max = (size_t)x->shared->options->max_body_bytes;
    if (!x->too_long && !x->no_room) {
        x->too_long = x->body_n + n > max;
        x->no_room = !x->too_long && !grow_body(x, n);
        if (!x->too_long && !x->no_room)
            memcpy(x->body + x->body_n, piece, n);
        else
            exchange_free_body(x);
    }
    x->body_n += n;
    return x->body_n / OVERSHOOT <= max;
}

/* ---- admission ------------------------------------------------------------------- */

static void refuse_memory(struct exchange *x)
{
    tell(x, PROBLEM_QUEUE_FULL, "too many request bodies in memory");
    metrics_reject(x->shared->server->metrics, METRICS_REJECT_MEMORY);
}

static bool admit_change(struct exchange *x, const char *content_type,
                         const char *content_encoding)
{
    if (x->origin == GUARD_ORIGIN_FOREIGN)
        exchange_refuse(x, PROBLEM_ORIGIN,
                        "pages of this origin may not ask; see --cors-origin");
    else if (content_encoding)
        exchange_refuse(x, PROBLEM_MEDIA_TYPE, "Content-Encoding is not supported");
    else if (!guard_media(content_type, x->body, x->body_n) &&
             !(x->match.route->binary && guard_media_binary(content_type)))
        exchange_refuse(x, PROBLEM_MEDIA_TYPE, "Content-Type must be application/json");
    else
        return true;
    return false;
}

bool exchange_admit(struct exchange *x, const char *content_type,
                    const char *content_encoding)
{
    const struct router_match *m = &x->match;
    bool options = strcmp(x->method, "OPTIONS") == 0;
    if (x->too_long)
        refuse_size(x, x->body_n);
    else if (x->no_room)
        refuse_memory(x);
    else if (!m->allow[0] && !(options && strcmp(x->path, "*") == 0))
        exchange_refuse(x, PROBLEM_ROUTE, "no such path; /openapi.json lists all");
    else if (options)
        x->reply.status = 204;
    else if (!m->route)
        exchange_refuse(x, PROBLEM_METHOD, "this path doesn't know that method");
    else
        return strcmp(m->route->method, "GET") == 0 ||
               admit_change(x, content_type, content_encoding);
    return false;
}

/* ---- answering ------------------------------------------------------------------- */

void exchange_timing(const struct exchange *x, char out[EXCHANGE_TIMING_BYTES])
{
    const struct {
        const char *name;
        uint64_t us;
    } parts[] = {{"queue", x->times.queue_us},
                 {"tokenize", x->times.tokenize_us},
                 {"compute", x->times.compute_us},
                 {"total", x->times.total_us}};
    size_t n = 0;
    out[0] = '\0';
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (parts[i].us != UINT64_MAX)
            n += (size_t)snprintf(out + n, EXCHANGE_TIMING_BYTES - n,
                                  "%s%s;dur=%" PRIu64 ".%03u", n ? ", " : "",
                                  parts[i].name, parts[i].us / 1000,
                                  (unsigned)(parts[i].us % 1000));
}

static void end_of_job(struct exchange *x, const struct job *job)
{
    switch (job->end) {
    case JOB_RAN:
        exchange_refuse_err(x, &job->err);
        break;
    case JOB_LATE: /* the scheduler has counted these */
        tell(x, PROBLEM_QUEUE_TIMEOUT, job->err.msg);
        break;
    case JOB_STOPPED:
        tell(x, PROBLEM_STOPPING, job->err.msg);
        break;
    case JOB_ABANDONED:
        tell(x, PROBLEM_ABANDONED, job->err.msg);
        x->reply.close = true;
        break;
    }
}

/* What the log and the metrics want to know of a finished job. */
static void take_figures(struct exchange *x, const struct job *job)
{
    if (job->end == JOB_RAN) {
        x->times.tokenize_us = job->tokenize_us;
        x->times.compute_us = job->compute_us;
    }
    x->n_texts = job->n_texts;
    x->n_tokens = job->n_tokens;
    x->n_characters = job->n_characters;
    x->n_generated = job->n_generated;
    x->batch = job->batch;
    if (job->err.code == ERR_OK)
        metrics_tokens(x->shared->server->metrics, x->n_texts, x->n_tokens,
                       x->n_generated);
}

void exchange_take_job(struct exchange *x, struct job *take_job)
{
    x->times.queue_us = take_job->queue_us;
    take_figures(x, take_job);
    if (take_job->err.code == ERR_OK) {
        x->reply = take_job->reply;
        take_job->reply = (struct reply){0};
    } else {
        end_of_job(x, take_job);
    }
    take_job->kind->free(take_job);
}

/* ---- replies in parts ------------------------------------------------------------ */

/* Moves the part behind those that wait. The two buffers change places if none does, so
 * that a client who keeps up costs no allocation. */
static void append_part_locked(struct exchange *x, struct buf *part)
{
    size_t waiting = x->parts.n - x->n_sent;
    if (waiting == 0) {
        struct buf sent = x->parts;
        x->parts = *part;
        *part = sent;
    } else {
        memmove(x->parts.at, x->parts.at + x->n_sent, waiting);
        x->parts.n = waiting;
        buf_put(&x->parts, part->at, part->n);
    }
    x->n_sent = 0;
    buf_clear(part);
}

void exchange_take_part_locked(struct exchange *x, struct job *job)
{
    if (!x->begun) {
        x->begun = true;
        x->reply = job->reply;
        x->reply.body = (struct buf){0};
        x->times.queue_us = job->queue_us;
        x->times.tokenize_us = job->tokenize_us;
        x->times.first_us = clock_us() - x->start_us;
    }
    append_part_locked(x, &job->reply.body);
    job->paused = x->parts.n > AHEAD_BYTES;
}

void exchange_ping_locked(struct exchange *x)
{
    static const char PING[] = ": ping\n\n";
    if (x->parts.n > x->n_sent)
        return;
    buf_clear(&x->parts);
    x->n_sent = 0;
    buf_put(&x->parts, PING, sizeof PING - 1);
}

size_t exchange_next_locked(struct exchange *x, char *to, size_t max)
{
    size_t n = x->parts.n - x->n_sent;
    if (n > max)
        n = max;
    if (n)
        memcpy(to, x->parts.at + x->n_sent, n);
    x->n_sent += n;
    return n;
}

/* Needs no lock: with the job nobody is left who would use what is under it. */
void exchange_end_parts(struct exchange *x, struct job *take_job)
{
    take_figures(x, take_job);
    if (take_job->err.code == ERR_OK) {
        append_part_locked(x, &take_job->reply.body);
    } else {
        end_of_job(x, take_job);
        struct buf error = x->reply.body;
        if (x->reply.fixed)
            error = (struct buf){.at = (char *)x->reply.fixed, .n = x->reply.fixed_n};
        take_job->kind->put_error(take_job, &x->parts, &error);
    }
    take_job->kind->free(take_job);
    x->ended = true;
    x->times.total_us = clock_us() - x->start_us;
}

/* ---- the record ------------------------------------------------------------------ */

static void write_ms(struct json_writer *w, const char *key, uint64_t us)
{
    if (us != UINT64_MAX)
        json_write_key_fixed(w, key, (double)us * 1e-3, 3);
}

static void log_request(const struct exchange *x, bool complete)
{
    const struct route *route = x->match.route;
    enum log_level level =
        route && route->quiet && x->status < 500 ? LOG_DEBUG : LOG_INFO;
    struct json_writer w;
    if (!log_begin(&w, level, "request"))
        return;
    json_write_key_string(&w, "id", x->id);
    if (*x->trace)
        json_write_key_string(&w, "traceparent", x->trace);
    json_write_key_string(&w, "method", x->method);
    json_write_key_string(&w, "route", route ? route->path : NULL);
    json_write_key_uint(&w, "status", x->status);
    if (x->code)
        json_write_key_string(&w, "code", x->code);
    if (x->model) {
        json_write_key_string(&w, "model", x->model);
        json_write_key_uint(&w, "texts", x->n_texts);
        json_write_key_uint(&w, "tokens", x->n_tokens);
        if (x->n_generated)
            json_write_key_uint(&w, "generated", x->n_generated);
        json_write_key_uint(&w, "batch", x->batch);
    }
    write_ms(&w, "queue_ms", x->times.queue_us);
    write_ms(&w, "tokenize_ms", x->times.tokenize_us);
    write_ms(&w, "compute_ms", x->times.compute_us);
    write_ms(&w, "first_ms", x->times.first_us);
    write_ms(&w, "total_ms", x->times.total_us);
    json_write_key_uint(&w, "bytes_in", x->bytes_in);
    json_write_key_uint(&w, "bytes_out", x->bytes_out);
    if (!complete)
        json_write_key_bool(&w, "cut_off", true);
    log_end(&w, level);
}

void exchange_record(struct exchange *x, bool complete)
{
    const struct server *s = x->shared->server;
    const struct route *route = x->match.route;
    if (x->status && x->times.total_us == UINT64_MAX) /* left in the middle of it */
        x->times.total_us = clock_us() - x->start_us;
    if (x->status)
        metrics_request(s->metrics, route ? (size_t)(route - s->routes) : s->n_routes,
                        x->status, &x->times);
    log_request(x, complete);
    atomic_fetch_sub(&x->shared->live, 1);
}
