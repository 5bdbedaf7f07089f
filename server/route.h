/* Route: what the HTTP side and the handlers agree on. Handlers never see libmicrohttpd.
 *
 * A handler runs on an HTTP thread and must not compute: it checks the request and either
 * fills a reply (models, health, the page) or makes a job. */
#ifndef SERVER_ROUTE_H
#define SERVER_ROUTE_H

#include "model/seq.h"
#include "server/dialect.h"
#include "server/job.h"
#include "server/reply.h"

#include <stddef.h>

struct server;
struct route;
struct route_doc; /* api/openapi.h */

enum { ROUTE_ARGS = 2 };

/* A part of the path, not zero-terminated. */
struct route_arg {
    const char *at;
    size_t n;
};

/* All pointers are borrowed and valid during the handler's call. */
struct request {
    const struct route *route;
    const char *id;   /* request id, also in the X-Request-Id reply header */
    const char *path; /* decoded, without the query */
    struct route_arg args[ROUTE_ARGS]; /* what {} stood for in the route's path */
    const char *body;                  /* NULL when body_n is 0 */
    size_t body_n;
    /* A request header's value or NULL; case does not matter. May be NULL in tests. */
    const char *(*header)(const struct request *q, const char *name);
    void *header_arg; /* of the HTTP side */
};

/* What a handler makes: a job if `job` is set, else the reply. */
struct answer {
    struct job *job;
    struct reply reply;
    enum dialect dialect; /* of errors: the route's, unless the handler, before anything
                             can fail, finds that the body speaks another */
};

/* On failure *out is untouched but for the dialect, and the error becomes the reply. */
typedef enum err_code (*route_fn)(struct server *s, const struct request *q,
                                  struct answer *out, struct err *err);

/* One row of the table. GET rows answer HEAD too, every path answers OPTIONS. */
struct route {
    const char *method; /* "GET", "POST" or "DELETE" */
    const char *path;   /* "/v1/models/{model}": {} stands for one segment that is not
                           empty, or for what is in front of a verb: {model}:explain */
    route_fn handle;
    const char *summary; /* one line for openapi.json; NULL = not shown there */
    bool quiet;          /* access line only at log level debug (probes) */
    const struct route_doc
        *doc;             /* what openapi.json tells about it; NULL without summary */
    bool inspects;        /* looks inside models: --inspect=off leaves it out */
    enum dialect dialect; /* of every error there */
    bool binary;          /* takes bodies of application/octet-stream, too */
};

#endif
