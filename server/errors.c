#include "server/errors.h"

#include <assert.h>

#include "server/json_write.h"

static const struct problem_row ROWS[PROBLEM_COUNT] = {
    [PROBLEM_FRAMING] = {400, "invalid_request_error", "bad_framing"},
    [PROBLEM_JSON] = {400, "invalid_request_error", "invalid_json"},
    [PROBLEM_FIELD] = {400, "invalid_request_error", "invalid_field"},
    [PROBLEM_TASK] = {422, "invalid_request_error", "unsupported_task"},
    [PROBLEM_NO_ATTENTION] = {422, "invalid_request_error", "no_attention"},
    [PROBLEM_ORIGIN] = {403, "invalid_request_error", "origin_not_allowed"},
    [PROBLEM_ROUTE] = {404, "invalid_request_error", "not_found"},
    [PROBLEM_MODEL] = {404, "invalid_request_error", "model_not_found"},
    [PROBLEM_METHOD] = {405, "invalid_request_error", "method_not_allowed"},
    [PROBLEM_SLOW] = {408, "invalid_request_error", "request_timeout"},
    [PROBLEM_BODY_SIZE] = {413, "invalid_request_error", "payload_too_large"},
    [PROBLEM_LIMIT] = {413, "invalid_request_error", "limit_exceeded"},
    [PROBLEM_MEDIA_TYPE] = {415, "invalid_request_error", "unsupported_media_type"},
    [PROBLEM_VALUE] = {422, "invalid_request_error", "invalid_value"},
    [PROBLEM_QUEUE_FULL] = {429, "rate_limit_error", "queue_full"},
    [PROBLEM_ABANDONED] = {499, "invalid_request_error", "client_closed_request"},
    [PROBLEM_INTERNAL] = {500, "server_error", "internal_error"},
    [PROBLEM_NOMEM] = {503, "server_error", "out_of_memory"},
    [PROBLEM_QUEUE_TIMEOUT] = {503, "server_error", "queue_timeout"},
    [PROBLEM_STOPPING] = {503, "server_error", "stopping"},
    [PROBLEM_VERSION] = {505, "invalid_request_error", "http_version_not_supported"},
};

enum { RETRY_AFTER_MS = 1000 };

const struct problem_row *problem_row(enum problem p)
{
    assert(p < PROBLEM_COUNT);
    return &ROWS[p];
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

void reply_problem(struct reply *r, enum problem p, const char *param,
                   const char *message)
{
    reply_problem_details(r, p, param, message, NULL, 0);
}

void reply_problem_details(struct reply *r, enum problem p, const char *param,
                           const char *message, const struct problem_detail *details,
                           size_t n)
{
    const struct problem_row *row = problem_row(p);
    struct json_writer w = {0};
    reply_done(r);
    json_write_object(&w);
    json_write_key(&w, "error");
    json_write_object(&w);
    json_write_key_string(&w, "message", message);
    json_write_key_string(&w, "type", row->type);
    json_write_key_string(&w, "code", row->code);
    json_write_key_string(&w, "param", param && *param ? param : NULL);
    for (size_t i = 0; i < n; i++) {
        if (details[i].text)
            json_write_key_string(&w, details[i].key, details[i].text);
        else
            json_write_key_uint(&w, details[i].key, details[i].number);
    }
    json_write_end(&w);
    json_write_end(&w);
    buf_put(&w.buf, "\n", 1);
    if (w.buf.failed) { /* no memory even for this: a body that needs none */
        static const char NOMEM[] =
            "{\"error\":{\"message\":\"out of memory\",\"type\":\"server_error\","
            "\"code\":\"out_of_memory\",\"param\":null}}\n";
        json_write_done(&w);
        r->fixed = NOMEM;
        r->fixed_n = sizeof NOMEM - 1;
        row = problem_row(PROBLEM_NOMEM);
    } else {
        reply_take_json(r, &w);
    }
    r->status = row->status;
    r->retry_after_ms = row->status == 429 || row->status == 503 ? RETRY_AFTER_MS : 0;
}

void reply_err(struct reply *r, const struct err *err)
{
    enum problem p = problem_of_err(err);
    reply_problem(r, p, err->param,
                  p == PROBLEM_INTERNAL ? "the server could not answer this request"
                                        : err->msg);
}
