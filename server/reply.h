/* Reply: one HTTP reply before it is sent. Plain data with one owner: the handler or the
 * worker that fills it, then the HTTP side that sends it. */
#ifndef SERVER_REPLY_H
#define SERVER_REPLY_H

#include "server/buf.h"

#include <stdbool.h>
#include <stddef.h>

enum { REPLY_HEADERS = 8 };

struct reply_header {
    const char *name, *value; /* borrowed: they outlive the reply (literals, tables) */
};

/* Zeroed means: 200, application/json, empty body. */
struct reply {
    unsigned status;          /* 0 = 200 */
    const char *content_type; /* borrowed; NULL = application/json */
    struct buf body;          /* owned */
    const char *fixed; /* instead of body: bytes that live as long as the program */
    size_t fixed_n;
    unsigned retry_after_ms;   /* 0 = no Retry-After, retry-after-ms */
    size_t inference_header_n; /* JSON bytes in front of tensors, told in the header
                                  Inference-Header-Content-Length; 0 = there are none */
    bool close;                /* close the connection behind it */
    /* More headers. Cache-Control is "no-store" unless one of these is a Cache-Control.
     */
    struct reply_header headers[REPLY_HEADERS];
    size_t n_headers;
};

void reply_done(struct reply *r); /* leaves it zeroed */

/* One more header; silently ignored past REPLY_HEADERS. */
void reply_header(struct reply *r, const char *name, const char *value);

/* Takes the text a json_writer has made (w->buf); the writer is empty afterwards. */
struct json_writer;
void reply_take_json(struct reply *r, struct json_writer *take_w);

#endif
