/* Guard: judgements on a request's head that libmicrohttpd leaves to us. Pure functions
 * on bytes; any thread. */
#ifndef SERVER_GUARD_H
#define SERVER_GUARD_H

#include "model/seq.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- framing --------------------------------------------------------------------- */

/* What the header lines say about where the request ends. libmicrohttpd 0.9.75 accepts
 * two Content-Lengths, Content-Length beside Transfer-Encoding, and more; a proxy in
 * front that reads them differently could be made to smuggle a request. Zeroed is a fresh
 * one. */
struct guard_framing {
    unsigned n_length, n_encoding, n_host;
    uint64_t length; /* of the Content-Length seen */
    const char *why; /* what is wrong, NULL = nothing yet */
};

void guard_header(struct guard_framing *g, const char *name, size_t name_n,
                  const char *value, size_t value_n);

/* After all headers: NULL if the framing is plain, else one sentence. */
const char *guard_framing_fault(const struct guard_framing *g, const char *version);

/* ---- the rest -------------------------------------------------------------------- */

/* Whether the body may be read as JSON: application/json, application/x+json, or none.
 * What curl -d sends, application/x-www-form-urlencoded, is let through if it begins like
 * JSON. */
bool guard_media(const char *content_type, const char *body, size_t n);
/* Whether it is of bytes: application/octet-stream. */
bool guard_media_binary(const char *content_type);

/* Whether a browser's page may ask. `allowed` is --cors-origin. A page of ours (its
 * origin is the Host we were asked under) may; on a loopback address only under an
 * address or localhost, since a hostile name can be made to point there. */
enum guard_origin {
    GUARD_ORIGIN_NONE,
    GUARD_ORIGIN_OWN,
    GUARD_ORIGIN_LISTED,
    GUARD_ORIGIN_FOREIGN
};
enum guard_origin guard_origin(const char *origin, const char *host, const char *allowed,
                               bool loopback);

/* Whether a traceparent header is one of version 00 (W3C Trace Context, 2021): lower-case
 * hexadecimal digits, neither trace nor parent all zero. Others are as if not there. */
enum { GUARD_TRACEPARENT_BYTES = 55 };
bool guard_traceparent(const char *value);

/* Whether a client's request id can be used as it is: 1 to 64 of [A-Za-z0-9._-]. */
bool guard_request_id(const char *id);

#endif
