#include "server/metrics.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/seq.h"
#include "server/clock.h"

static const unsigned STATUSES[] = {200, 204, 304, 400, 403, 404, 405, 408, 413,
                                    415, 422, 429, 499, 500, 503, 505, 0};
enum { N_STATUSES = sizeof STATUSES / sizeof STATUSES[0] }; /* the last: all others */

static const double SECONDS[] = {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005,
                                 0.01,   0.025,   0.05,   0.1,   0.25,   0.5,
                                 1,      2.5,     5,      10};
static const double JOBS[] = {1, 2, 4, 8, 16, 32, 64, 128};

enum {
    N_SECONDS = sizeof SECONDS / sizeof SECONDS[0],
    N_JOBS = sizeof JOBS / sizeof JOBS[0]
};

static const char *const REASONS[METRICS_REJECTIONS] = {
    [METRICS_REJECT_QUEUE_FULL] = "queue_full",
    [METRICS_REJECT_QUEUE_TIMEOUT] = "queue_timeout",
    [METRICS_REJECT_STOPPING] = "stopping",
    [METRICS_REJECT_BODY_SIZE] = "body_size",
    [METRICS_REJECT_MEMORY] = "memory",
    [METRICS_REJECT_FRAMING] = "framing",
    [METRICS_REJECT_SLOW] = "slow",
    [METRICS_REJECT_ORIGIN] = "origin",
};

/* Counts per bucket, not yet summed up; the last is +Inf. */
struct histogram {
    uint64_t bucket[N_SECONDS + 1];
    double sum;
    uint64_t count;
};

struct route_metrics {
    uint64_t by_status[N_STATUSES];
    struct histogram total;
};

struct counters {
    struct histogram queue, tokenize, compute, first, batch;
    uint64_t rejections[METRICS_REJECTIONS];
    uint64_t abandoned, texts, tokens, generated;
    long connections;
};

struct metrics {
    const struct route *table; /* [n_routes] fixed */
    size_t n_routes;
    uint64_t started_us;
    double started_unix;

    pthread_mutex_t lock;

    struct route_metrics *routes; /* [n_routes+1] under lock from here on */
    struct counters all;
};

enum err_code metrics_new(const struct route *routes, size_t n_routes,
                          struct metrics **out, struct err *err)
{
    struct metrics *m = mem_zero(1, sizeof *m);
    struct route_metrics *r = mem_zero(n_routes + 1, sizeof *r);
    struct timespec now;
    if (!m || !r) {
        mem_free(m);
        mem_free(r);
        return err_set(err, ERR_NOMEM, "out of memory for the metrics");
    }
    clock_gettime(CLOCK_REALTIME, &now);
    m->table = routes;
    m->n_routes = n_routes;
    m->started_us = clock_us();
    m->started_unix = (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
    m->routes = r;
    pthread_mutex_init(&m->lock, NULL);
    *out = m;
    return ERR_OK;
}

void metrics_free(struct metrics *m)
{
    if (!m)
        return;
    pthread_mutex_destroy(&m->lock);
    mem_free(m->routes);
    mem_free(m);
}

static void observe(struct histogram *h, const double *bounds, size_t n, double value)
{
    size_t i = 0;
    while (i < n && value > bounds[i])
        i++;
    h->bucket[i]++;
    h->sum += value;
    h->count++;
}

static void observe_us(struct histogram *h, uint64_t us)
{
    if (us != UINT64_MAX)
        observe(h, SECONDS, N_SECONDS, (double)us * 1e-6);
}

void metrics_request(struct metrics *m, size_t route, unsigned status,
                     const struct metrics_times *times)
{
    size_t i = 0;
    while (i + 1 < N_STATUSES && STATUSES[i] != status)
        i++;
    pthread_mutex_lock(&m->lock);
    struct route_metrics *r = &m->routes[route < m->n_routes ? route : m->n_routes];
    r->by_status[i]++;
    observe_us(&r->total, times->total_us);
    observe_us(&m->all.queue, times->queue_us);
    observe_us(&m->all.tokenize, times->tokenize_us);
    observe_us(&m->all.compute, times->compute_us);
    observe_us(&m->all.first, times->first_us);
    pthread_mutex_unlock(&m->lock);
}

void metrics_tokens(struct metrics *m, size_t n_texts, size_t n_read, size_t n_generated)
{
    pthread_mutex_lock(&m->lock);
    m->all.texts += n_texts;
    m->all.tokens += n_read;
    m->all.generated += n_generated;
    pthread_mutex_unlock(&m->lock);
}

void metrics_batch(struct metrics *m, size_t n_jobs)
{
    pthread_mutex_lock(&m->lock);
    observe(&m->all.batch, JOBS, N_JOBS, (double)n_jobs);
    pthread_mutex_unlock(&m->lock);
}

void metrics_reject(struct metrics *m, enum metrics_rejection reason)
{
    pthread_mutex_lock(&m->lock);
    m->all.rejections[reason]++;
    pthread_mutex_unlock(&m->lock);
}

void metrics_abandoned(struct metrics *m)
{
    pthread_mutex_lock(&m->lock);
    m->all.abandoned++;
    pthread_mutex_unlock(&m->lock);
}

void metrics_connections(struct metrics *m, long change)
{
    pthread_mutex_lock(&m->lock);
    m->all.connections += change;
    pthread_mutex_unlock(&m->lock);
}

/* ---- the text -------------------------------------------------------------------- */

static void put_head(struct buf *out, const char *name, const char *type,
                     const char *help)
{
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* A label's value, escaped as the format asks. */
static void put_value(struct buf *out, const char *s)
{
    for (; *s; s++) {
        if (*s == '\\' || *s == '"')
            buf_put(out, "\\", 1);
        if (*s == '\n')
            buf_puts(out, "\\n");
        else
            buf_put(out, s, 1);
    }
}

static void put_label(struct buf *out, const char *before, const char *name,
                      const char *value)
{
    buf_printf(out, "%s%s=\"", before, name);
    put_value(out, value);
    buf_puts(out, "\"");
}

static void put_uint(struct buf *out, const char *name, const char *type,
                     const char *help, uint64_t value)
{
    put_head(out, name, type, help);
    buf_printf(out, "%s %llu\n", name, (unsigned long long)value);
}

/* "{method="GET",route="/livez"" without a closing brace. */
static void put_route(struct buf *out, const struct metrics *m, size_t i)
{
    put_label(out, "{", "method", i < m->n_routes ? m->table[i].method : "any");
    put_label(out, ",", "route", i < m->n_routes ? m->table[i].path : "other");
}

/* `labels` is "" or what put_route writes. */
static void put_histogram(struct buf *out, const char *name, const char *labels,
                          const struct histogram *h, const double *bounds, size_t n)
{
    uint64_t sum = 0;
    for (size_t i = 0; i <= n; i++) {
        sum += h->bucket[i];
        buf_printf(out, "%s_bucket%s%s", name, labels, *labels ? "," : "{");
        if (i < n)
            buf_printf(out, "le=\"%g\"} %llu\n", bounds[i], (unsigned long long)sum);
        else
            buf_printf(out, "le=\"+Inf\"} %llu\n", (unsigned long long)sum);
    }
    const char *const parts[] = {"sum", "count"};
    for (size_t i = 0; i < 2; i++) {
        buf_printf(out, "%s_%s%s%s", name, parts[i], labels, *labels ? "}" : "");
        if (i == 0)
            buf_printf(out, " %.6f\n", h->sum);
        else
            buf_printf(out, " %llu\n", (unsigned long long)h->count);
    }
}

static void put_requests(const struct metrics *m, const struct route_metrics *routes,
                         struct buf *out)
{
    char status[16];
    put_head(out, "seqd_requests_total", "counter", "Requests answered.");
    for (size_t r = 0; r <= m->n_routes; r++)
        for (size_t i = 0; i < N_STATUSES; i++) {
            if (routes[r].by_status[i] == 0)
                continue;
            snprintf(status, sizeof status, "%u", STATUSES[i]);
            buf_puts(out, "seqd_requests_total");
            put_route(out, m, r);
            put_label(out, ",", "status", STATUSES[i] ? status : "other");
            buf_printf(out, "} %llu\n", (unsigned long long)routes[r].by_status[i]);
        }
    put_head(out, "seqd_request_duration_seconds", "histogram",
             "From the request's headers to the finished reply.");
    for (size_t r = 0; r <= m->n_routes; r++) {
        struct buf labels = {0};
        if (routes[r].total.count == 0)
            continue;
        put_route(&labels, m, r);
        buf_put(&labels, "", 1);
        if (labels.failed)
            out->failed = true;
        else
            put_histogram(out, "seqd_request_duration_seconds", labels.at,
                          &routes[r].total, SECONDS, N_SECONDS);
        buf_done(&labels);
    }
}

static void put_stages(const struct counters *c, struct buf *out)
{
    const struct {
        const char *name, *help;
        const struct histogram *h;
    } stages[] = {
        {"seqd_queue_seconds", "Waiting for a worker.", &c->queue},
        {"seqd_tokenize_seconds", "Turning texts into tokens.", &c->tokenize},
        {"seqd_compute_seconds", "The forward passes of the batches it was in.",
         &c->compute},
        {"seqd_first_part_seconds",
         "From the request's headers to the first part of a reply sent in parts.",
         &c->first},
    };
    for (size_t i = 0; i < sizeof stages / sizeof stages[0]; i++) {
        put_head(out, stages[i].name, "histogram", stages[i].help);
        put_histogram(out, stages[i].name, "", stages[i].h, SECONDS, N_SECONDS);
    }
    put_head(out, "seqd_batch_size", "histogram", "Requests computed together.");
    put_histogram(out, "seqd_batch_size", "", &c->batch, JOBS, N_JOBS);
    put_head(out, "seqd_rejections_total", "counter", "Requests refused, by reason.");
    for (size_t i = 0; i < METRICS_REJECTIONS; i++)
        buf_printf(out, "seqd_rejections_total{reason=\"%s\"} %llu\n", REASONS[i],
                   (unsigned long long)c->rejections[i]);
    put_uint(out, "seqd_abandoned_total", "counter",
             "Requests whose client left before their answer was there.", c->abandoned);
    put_uint(out, "seqd_texts_total", "counter", "Texts answered.", c->texts);
    put_uint(out, "seqd_tokens_total", "counter", "Tokens read.", c->tokens);
    put_uint(out, "seqd_generated_tokens_total", "counter", "Tokens written.",
             c->generated);
    put_uint(out, "seqd_connections", "gauge", "Open connections.",
             c->connections > 0 ? (uint64_t)c->connections : 0);
}

/* What models do with the states of texts read before; one row per metric. */
static const struct {
    const char *name, *type, *help;
    size_t offset; /* of a uint64_t in struct seq_reuse */
} STATE_CACHE[] = {
    {"seqd_state_cache_hits_total", "counter", "Texts that began like one read before.",
     offsetof(struct seq_reuse, hits)},
    {"seqd_state_cache_misses_total", "counter", "Texts that began like none.",
     offsetof(struct seq_reuse, misses)},
    {"seqd_state_cache_reused_tokens_total", "counter",
     "Tokens of those texts that were not read anew.",
     offsetof(struct seq_reuse, reused_tokens)},
    {"seqd_state_cache_computed_tokens_total", "counter", "Tokens of those texts read.",
     offsetof(struct seq_reuse, computed_tokens)},
    {"seqd_state_cache_evictions_total", "counter",
     "States given up for others, the least recently used first.",
     offsetof(struct seq_reuse, evictions)},
    {"seqd_state_cache_states", "gauge", "States held.",
     offsetof(struct seq_reuse, states)},
    {"seqd_state_cache_bytes", "gauge", "Memory held for texts read before.",
     offsetof(struct seq_reuse, bytes)},
    {"seqd_state_cache_max_bytes", "gauge", "And how much that may be.",
     offsetof(struct seq_reuse, max_bytes)},
};
enum { N_STATE_CACHE = sizeof STATE_CACHE / sizeof STATE_CACHE[0] };

static void put_state_caches(const struct models *models, struct buf *out)
{
    struct seq_reuse reuse;
    for (size_t i = 0; i < N_STATE_CACHE; i++) {
        put_head(out, STATE_CACHE[i].name, STATE_CACHE[i].type, STATE_CACHE[i].help);
        for (size_t m = 0; m < models->n; m++) {
            uint64_t value;
            if (!(models->at[m].info->tasks & SEQ_STATES))
                continue;
            seq_model_reuse(models->at[m].seq, &reuse);
            memcpy(&value, (const char *)&reuse + STATE_CACHE[i].offset, sizeof value);
            buf_puts(out, STATE_CACHE[i].name);
            put_label(out, "{", "model", models->at[m].name);
            buf_printf(out, "} %llu\n", (unsigned long long)value);
        }
    }
}

static void put_models(const struct models *models, struct buf *out)
{
    put_head(out, "seqd_model_info", "gauge", "Loaded models.");
    for (size_t i = 0; i < models->n; i++) {
        const struct model *m = &models->at[i];
        put_label(out, "seqd_model_info{", "model", m->name);
        put_label(out, ",", "architecture", m->info->architecture);
        put_label(out, ",", "family", m->info->family);
        put_label(out, ",", "dtype", m->info->dtype);
        put_label(out, ",", "kernels", m->info->kernels);
        buf_puts(out, "} 1\n");
    }
    put_head(out, "seqd_model_resident_bytes", "gauge", "Memory of a model's weights.");
    for (size_t i = 0; i < models->n; i++) {
        put_label(out, "seqd_model_resident_bytes{", "model", models->at[i].name);
        buf_printf(out, "} %zu\n", models->at[i].info->resident_bytes);
    }
}

/* The second number of /proc/self/statm, in pages; 0 if it can't be read. */
static uint64_t resident_bytes(void)
{
    char text[128];
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0)
        return 0;
    text[n] = '\0';
    char *blank = strchr(text, ' ');
    return blank ? strtoull(blank, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

static void put_process(const struct metrics *m, struct buf *out)
{
    put_head(out, "seqd_build_info", "gauge", "What is running.");
    put_label(out, "seqd_build_info{", "version", SEQD_VERSION);
    put_label(out, ",", "compiler", __VERSION__);
    buf_puts(out, "} 1\n");
    put_head(out, "seqd_uptime_seconds", "gauge", "Time since the start.");
    buf_printf(out, "seqd_uptime_seconds %.3f\n",
               (double)(clock_us() - m->started_us) * 1e-6);
    put_head(out, "process_start_time_seconds", "gauge", "Unix time of the start.");
    buf_printf(out, "process_start_time_seconds %.3f\n", m->started_unix);
    put_uint(out, "process_resident_memory_bytes", "gauge", "Resident memory.",
             resident_bytes());
}

void metrics_write_sessions(size_t n, size_t bytes, struct buf *out)
{
    put_uint(out, "seqd_sessions", "gauge", "Sessions that are kept.", n);
    put_uint(out, "seqd_session_bytes", "gauge", "Memory that sessions count for.",
             bytes);
}

void metrics_write(struct metrics *m, const struct models *models, size_t queue_depth,
                   struct buf *out)
{
    size_t n = m->n_routes + 1;
    struct route_metrics *routes = mem_alloc(n, sizeof *routes);
    if (!routes) {
        out->failed = true;
        return;
    }
    pthread_mutex_lock(&m->lock);
    memcpy(routes, m->routes, n * sizeof *routes);
    struct counters all = m->all;
    pthread_mutex_unlock(&m->lock);
    put_requests(m, routes, out);
    put_stages(&all, out);
    put_uint(out, "seqd_queue_depth", "gauge", "Requests waiting for a worker.",
             queue_depth);
    if (models) {
        put_models(models, out);
        put_state_caches(models, out);
    }
    put_process(m, out);
    mem_free(routes);
}
