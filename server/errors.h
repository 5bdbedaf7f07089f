/* Errors: one table from what went wrong to the status, type and code a client sees, in
 * the dialect of the route.
 *
 * Whatever fails ends as an error reply, of ours as
 * {"error":{"message","type","code","param"}}. Failures of model/ and of the handlers
 * arrive as a struct err; failures of the protocol itself have a name in enum problem.
 * Any thread. */
#ifndef SERVER_ERRORS_H
#define SERVER_ERRORS_H

#include "model/seq.h"
#include "server/dialect.h"
#include "server/reply.h"

#include <stddef.h>
#include <stdint.h>

/* The statuses are ours; the dialects have some of their own. */
enum problem {
    PROBLEM_FRAMING,       /* 400 the request's framing is ambiguous */
    PROBLEM_JSON,          /* 400 not JSON, not an object */
    PROBLEM_FIELD,         /* 400 a field is unknown, missing or of the wrong type */
    PROBLEM_EMPTY,         /* 400 nothing is asked */
    PROBLEM_TASK,          /* 422 that model does not serve this task */
    PROBLEM_NO_ATTENTION,  /* 422 that model has no attention maps */
    PROBLEM_ORIGIN,        /* 403 a page of another origin */
    PROBLEM_ROUTE,         /* 404 no such path */
    PROBLEM_MODEL,         /* 404 no such model */
    PROBLEM_SESSION,       /* 404 no such session, or none any more */
    PROBLEM_METHOD,        /* 405 */
    PROBLEM_SLOW,          /* 408 headers or body took too long */
    PROBLEM_BUSY,          /* 409 another request is at that session */
    PROBLEM_BODY_SIZE,     /* 413 */
    PROBLEM_LIMIT,         /* 413 over a limit that the message names */
    PROBLEM_MEDIA_TYPE,    /* 415 */
    PROBLEM_VALUE,         /* 422 a field's value is not acceptable */
    PROBLEM_QUEUE_FULL,    /* 429 */
    PROBLEM_SESSION_BYTES, /* 429 the sessions hold all the memory they may */
    PROBLEM_ABANDONED,     /* 499 the client closed its side; hardly anybody reads this */
    PROBLEM_INTERNAL,      /* 500 */
    PROBLEM_NOMEM,         /* 503 */
    PROBLEM_QUEUE_TIMEOUT, /* 503 waited too long for a worker */
    PROBLEM_STOPPING,      /* 503 the daemon is on its way down */
    PROBLEM_VERSION,       /* 505 */
    PROBLEM_COUNT
};

struct problem_row {
    unsigned status;
    const char *type, *code;
};

/* As that dialect tells it; code is the same in all. */
struct problem_row problem_row(enum dialect d, enum problem p);
enum problem problem_of_err(const struct err *err);

/* Makes *r that error reply, replacing what is in it. param may be NULL or "".
 * Retry-After and retry-after-ms are set for 429 and 503. */
void reply_problem(struct reply *r, enum dialect d, enum problem p, const char *param,
                   const char *message);

/* One more member of the error object. */
struct problem_detail {
    const char *key;
    const char *text; /* NULL: the number */
    uint64_t number;
};

/* The same in our own dialect, with more to say: a limit's two sides, a hint. */
void reply_problem_details(struct reply *r, enum problem p, const char *param,
                           const char *message, const struct problem_detail *details,
                           size_t n);

/* The same for a struct err. Messages of our own faults (500) are not shown to clients.
 */
void reply_err(struct reply *r, enum dialect d, const struct err *err);

#endif
