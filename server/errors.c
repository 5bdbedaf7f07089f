#include "server/errors.h"

#include <assert.h>
#include <string.h>

#include "server/json_write.h"

static const char INVALID[] = "invalid_request_error", FAULT[] = "server_error";

/* One way to fail, in all dialects; a status of 0 is the same as ours. */
struct problem_words {
    unsigned status[DIALECT_COUNT];
    const char *type, *code, *tei_type;
};

static const struct problem_words ROWS[PROBLEM_COUNT] = {
    [PROBLEM_FRAMING] = {{400}, INVALID, "bad_framing", "Validation"},
    [PROBLEM_JSON] = {{400}, INVALID, "invalid_json", "Validation"},
    [PROBLEM_FIELD] = {{400, 422}, INVALID, "invalid_field", "Validation"},
    [PROBLEM_EMPTY] = {{400}, INVALID, "empty_input", "Empty"},
    [PROBLEM_TASK] = {{422, 424, 400, 400, 400}, INVALID, "unsupported_task", "Backend"},
    [PROBLEM_NO_ATTENTION] = {{422, 424, 400, 400, 400},
                              INVALID,
                              "no_attention",
                              "Backend"},
    [PROBLEM_ORIGIN] = {{403}, INVALID, "origin_not_allowed", "Validation"},
    [PROBLEM_ROUTE] = {{404}, INVALID, "not_found", "Validation"},
    [PROBLEM_MODEL] = {{404}, INVALID, "model_not_found", "Validation"},
    [PROBLEM_SESSION] = {{404}, INVALID, "session_not_found", "Validation"},
    [PROBLEM_METHOD] = {{405}, INVALID, "method_not_allowed", "Validation"},
    [PROBLEM_SLOW] = {{408}, INVALID, "request_timeout", "Validation"},
    [PROBLEM_BUSY] = {{409}, INVALID, "session_busy", "Validation"},
    [PROBLEM_BODY_SIZE] = {{413}, INVALID, "payload_too_large", "Validation"},
    [PROBLEM_LIMIT] = {{413, 422, 400, 400, 400},
                       INVALID,
                       "limit_exceeded",
                       "Validation"},
    [PROBLEM_MEDIA_TYPE] = {{415}, INVALID, "unsupported_media_type", "Validation"},
    [PROBLEM_VALUE] = {{422, 422, 400, 400, 400}, INVALID, "invalid_value", "Validation"},
    [PROBLEM_QUEUE_FULL] = {{429}, "rate_limit_error", "queue_full", "Overloaded"},
    [PROBLEM_SESSION_BYTES] = {{429}, "rate_limit_error", "sessions_full", "Overloaded"},
    [PROBLEM_ABANDONED] = {{499}, INVALID, "client_closed_request", "Validation"},
    [PROBLEM_INTERNAL] = {{500, 424}, FAULT, "internal_error", "Backend"},
    [PROBLEM_NOMEM] = {{503, 429}, FAULT, "out_of_memory", "Overloaded"},
    [PROBLEM_QUEUE_TIMEOUT] = {{503, 429}, FAULT, "queue_timeout", "Overloaded"},
    [PROBLEM_STOPPING] = {{503, 429}, FAULT, "stopping", "Unhealthy"},
    [PROBLEM_VERSION] = {{505}, INVALID, "http_version_not_supported", "Validation"},
};

enum { RETRY_AFTER_MS = 1000 };

static const char *llama_type(unsigned status, const char *ours)
{
    switch (status) {
    case 404:
        return "not_found_error";
    case 503:
        return "unavailable_error";
    default:
        return ours;
    }
}

static const char *vllm_type(unsigned status)
{
    switch (status) {
    case 404:
        return "NotFoundError";
    case 429:
        return "TooManyRequestsError";
    case 500:
        return "InternalServerError";
    case 503:
        return "ServiceUnavailableError";
    default:
        return "BadRequestError";
    }
}

struct problem_row problem_row(enum dialect d, enum problem p)
{
    assert(p < PROBLEM_COUNT && d < DIALECT_COUNT);
    const struct problem_words *words = &ROWS[p];
    struct problem_row row = {words->status[d] ? words->status[d] : words->status[0],
                              words->type, words->code};
    if (d == DIALECT_TEI)
        row.type = words->tei_type;
    else if (d == DIALECT_LLAMA)
        row.type = llama_type(row.status, words->type);
    else if (d == DIALECT_VLLM)
        row.type = vllm_type(row.status);
    return row;
}

enum problem problem_of_err(const struct err *err)
{
    switch (err->code) {
    case ERR_FORMAT:
        return err->param[0] ? PROBLEM_FIELD : PROBLEM_JSON;
    case ERR_INPUT:
    case ERR_UNSUPPORTED:
        return PROBLEM_VALUE;
    case ERR_LIMIT:
        return PROBLEM_LIMIT;
    case ERR_NOT_FOUND:
        return PROBLEM_MODEL;
    case ERR_TASK:
        return PROBLEM_TASK;
    case ERR_STOPPED:
        return PROBLEM_QUEUE_TIMEOUT;
    case ERR_NOMEM:
        return PROBLEM_NOMEM;
    case ERR_OK:
    case ERR_IO:
    case ERR_MISMATCH:
    case ERR_BUG:
        break;
    }
    return PROBLEM_INTERNAL;
}

/* What the reply says, in its dialect. */
struct told {
    enum dialect dialect;
    struct problem_row row;
    const char *param, *message;
    const struct problem_detail *details;
    size_t n_details;
};

static void write_details(struct json_writer *w, const struct told *t)
{
    for (size_t i = 0; i < t->n_details; i++) {
        if (t->details[i].text)
            json_write_key_string(w, t->details[i].key, t->details[i].text);
        else
            json_write_key_uint(w, t->details[i].key, t->details[i].number);
    }
}

/* The value of "error" where it is an object. */
static void write_object(struct json_writer *w, const struct told *t)
{
    bool numbers = t->dialect != DIALECT_SEQD; /* the status in place of a name */
    json_write_object(w);
    json_write_key_string(w, "message", t->message);
    json_write_key_string(w, "type", t->row.type);
    if (numbers)
        json_write_key_uint(w, "code", t->row.status);
    else
        json_write_key_string(w, "code", t->row.code);
    if (t->dialect != DIALECT_LLAMA)
        json_write_key_string(w, "param", t->param && *t->param ? t->param : NULL);
    write_details(w, t);
    json_write_end(w);
}

static void write_problem(struct json_writer *w, const struct told *t)
{
    json_write_object(w);
    json_write_key(w, "error");
    if (t->dialect == DIALECT_TEI || t->dialect == DIALECT_OIP)
        json_write_string(w, t->message);
    else
        write_object(w, t);
    if (t->dialect == DIALECT_TEI)
        json_write_key_string(w, "error_type", t->row.type);
    json_write_end(w);
    buf_put(&w->buf, "\n", 1);
}

/* No memory even for the error: a body that needs none. */
static void reply_nomem(struct reply *r, enum dialect d)
{
    static const char *const BODIES[DIALECT_COUNT] = {
        [DIALECT_SEQD] = "{\"error\":{\"message\":\"out of memory\",\"type\":"
                         "\"server_error\",\"code\":\"out_of_memory\",\"param\":null}}\n",
        [DIALECT_TEI] = "{\"error\":\"out of memory\",\"error_type\":\"Overloaded\"}\n",
        [DIALECT_OIP] = "{\"error\":\"out of memory\"}\n",
        [DIALECT_LLAMA] = "{\"error\":{\"message\":\"out of memory\",\"type\":"
                          "\"unavailable_error\",\"code\":503}}\n",
        [DIALECT_VLLM] = "{\"error\":{\"message\":\"out of memory\",\"type\":"
                         "\"ServiceUnavailableError\",\"code\":503,\"param\":null}}\n"};
    r->fixed = BODIES[d];
    r->fixed_n = strlen(BODIES[d]);
}

static void reply_told(struct reply *r, const struct told *t)
{
    struct json_writer w = {0};
    unsigned status = t->row.status;
    reply_done(r);
    write_problem(&w, t);
    if (w.buf.failed) {
        json_write_done(&w);
        reply_nomem(r, t->dialect);
        status = problem_row(t->dialect, PROBLEM_NOMEM).status;
    } else {
        reply_take_json(r, &w);
    }
    r->status = status;
    r->retry_after_ms = status == 429 || status == 503 ? RETRY_AFTER_MS : 0;
}

void reply_problem(struct reply *r, enum dialect d, enum problem p, const char *param,
                   const char *message)
{
    reply_told(r, &(struct told){d, problem_row(d, p), param, message, NULL, 0});
}

void reply_problem_details(struct reply *r, enum problem p, const char *param,
                           const char *message, const struct problem_detail *details,
                           size_t n)
{
    reply_told(r, &(struct told){DIALECT_SEQD, problem_row(DIALECT_SEQD, p), param,
                                 message, details, n});
}

void reply_err(struct reply *r, enum dialect d, const struct err *err)
{
    enum problem p = problem_of_err(err);
    reply_problem(r, d, p, err->param,
                  p == PROBLEM_INTERNAL ? "the server could not answer this request"
                                        : err->msg);
}
