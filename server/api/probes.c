#include "server/api/probes.h"

#include "server/clock.h"
#include "server/errors.h"
#include "server/json_write.h"
#include "server/server.h"

static const char OK[] = "{\"status\":\"ok\"}\n";

static const struct doc_shape STATUS[] = {{"status", DOC_STRING, .help = "ok"}, {0}};

static const struct doc_shape HEALTH[] = {
    {"status", DOC_STRING, .help = "ok"},
    {"version", DOC_STRING, .help = "Of seqd"},
    {"models", DOC_INTEGER, .help = "How many are loaded"},
    {"queue_depth", DOC_INTEGER, .help = "Requests waiting for a worker"},
    {"sessions", DOC_INTEGER, .help = "Sessions that are kept"},
    {"uptime_s", DOC_NUMBER, .help = "Since the start"},
    {0}};

const struct route_doc probes_livez_doc = {.name = "livez", .reply = STATUS};
const struct route_doc probes_readyz_doc = {.name = "readyz", .reply = STATUS};
const struct route_doc probes_health_doc = {.name = "health", .reply = HEALTH};
static const char *const MEDIA[] = {"text/plain", NULL};
const struct route_doc probes_metrics_doc = {.name = "metrics", .media = MEDIA};

enum err_code probes_livez(struct server *s, const struct request *q, struct answer *out,
                           struct err *err)
{
    (void)s;
    (void)q;
    (void)err;
    out->reply.fixed = OK;
    out->reply.fixed_n = sizeof OK - 1;
    return ERR_OK;
}

enum err_code probes_readyz(struct server *s, const struct request *q, struct answer *out,
                            struct err *err)
{
    if (atomic_load(&s->ready))
        return probes_livez(s, q, out, err);
    reply_problem(&out->reply, out->dialect, PROBLEM_STOPPING, NULL,
                  "the server is not ready");
    return ERR_OK;
}

enum err_code probes_health(struct server *s, const struct request *q, struct answer *out,
                            struct err *err)
{
    if (!atomic_load(&s->ready))
        return probes_readyz(s, q, out, err);
    struct json_writer w = {0};
    size_t sessions, bytes;
    sessions_figures(s->sessions, &sessions, &bytes);
    json_write_object(&w);
    json_write_key_string(&w, "status", "ok");
    json_write_key_string(&w, "version", SEQD_VERSION);
    json_write_key_uint(&w, "models", s->models->n);
    json_write_key_uint(&w, "queue_depth", scheduler_depth(s->scheduler));
    json_write_key_uint(&w, "sessions", sessions);
    json_write_key_fixed(&w, "uptime_s", (double)(clock_us() - s->started_us) * 1e-6, 3);
    json_write_end(&w);
    buf_put(&w.buf, "\n", 1);
    if (w.buf.failed) {
        json_write_done(&w);
        return err_set(err, ERR_NOMEM, "out of memory for the reply");
    }
    reply_take_json(&out->reply, &w);
    return ERR_OK;
}

enum err_code probes_metrics(struct server *s, const struct request *q,
                             struct answer *out, struct err *err)
{
    (void)q;
    struct buf text = {0};
    size_t n, bytes;
    sessions_figures(s->sessions, &n, &bytes);
    metrics_write(s->metrics, s->models, scheduler_depth(s->scheduler), &text);
    metrics_write_sessions(n, bytes, &text);
    if (text.failed) {
        buf_done(&text);
        return err_set(err, ERR_NOMEM, "out of memory for the metrics");
    }
    out->reply.body = text;
    out->reply.content_type = "text/plain; version=0.0.4; charset=utf-8";
    return ERR_OK;
}
