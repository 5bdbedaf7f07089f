/* Exchange: one request and its reply, as far as they need no libmicrohttpd.
 *
 * The HTTP thread of the request's connection owns it. While a job is out, the job holds
 * a second reference; `suspended` and what follows it are then under the lock.
 *
 * A job may send its reply in parts (job.h, progress). The first one brings the head;
 * from then on parts wait here for the connection to take them, a bounded number of
 * bytes: beyond that the job is paused, and pushed again when all of them are sent. */
#ifndef SERVER_EXCHANGE_H
#define SERVER_EXCHANGE_H

#include "model/seq.h"
#include "server/deadlines.h"
#include "server/errors.h"
#include "server/guard.h"
#include "server/metrics.h"
#include "server/pings.h"
#include "server/reply.h"
#include "server/router.h"
#include "server/server.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { EXCHANGE_METHOD_BYTES = 16, EXCHANGE_ID_BYTES = 65 };

/* What all exchanges of the process share. */
struct exchange_shared {
    struct server *server; /* fixed before threads start */
    const struct options *options;
    struct deadlines *deadlines;
    bool loopback; /* we listen on a loopback address */
    uint64_t id_seed;

    /* Counters that stand for themselves: nothing is concluded from two of them together,
     * so no lock orders them. */
    atomic_size_t live;       /* requests between their head and their end */
    atomic_size_t body_bytes; /* of all request bodies in memory */
    atomic_uint_fast64_t n_ids;
};

struct loop;
struct MHD_Connection;

struct exchange {
    struct exchange_shared *shared;
    struct loop *loop;                 /* of http.c */
    struct MHD_Connection *connection; /* only the HTTP thread and finish() use it */
    struct watch *watch;
    int fd;
    uint64_t start_us;
    char id[EXCHANGE_ID_BYTES], method[EXCHANGE_METHOD_BYTES];
    char trace[GUARD_TRACEPARENT_BYTES + 1]; /* the client's traceparent, or "" */
    char *path;                              /* a copy */
    struct router_match match;
    enum dialect dialect; /* of errors */
    enum guard_origin origin;
    char *body;
    size_t body_n, body_cap;
    size_t expected;        /* declared length, 0 = none */
    bool too_long, no_room; /* the body */
    bool dispatched;
    bool gzip; /* the client takes it */
    struct reply reply;
    struct ping ping; /* of a stream */
    const char *code; /* of the error, for the log */
    unsigned status;  /* sent; 0 = none yet */
    size_t bytes_in, bytes_out;
    struct metrics_times times;
    const char *model; /* name, of the registry */
    size_t n_texts, n_tokens, n_characters, n_generated, batch;

    atomic_int refs;
    atomic_bool gone; /* the client closed its side while we were waiting */

    pthread_mutex_t lock;
    bool suspended;  /* under lock from here on */
    struct job *job; /* finished, to be answered; or paused */
    /* A reply in parts: the first came, the last came; what is here, how much of it is
     * sent. */
    bool begun, ended;
    struct buf parts;
    size_t n_sent;
};

/* The head of a request as the client sent it; NULL = not given. */
struct exchange_head {
    const char *method, *path, *version;
    const char *id, *trace, *origin, *host, *encodings; /* headers; Accept-Encoding */
};

/* One reference; NULL if there is no memory. */
struct exchange *exchange_new(struct exchange_shared *shared,
                              const struct exchange_head *head);
void exchange_unref(struct exchange *x);

/* True, and x->reply says why, if the request must be answered before its body is read.
 */
bool exchange_refuse_early(struct exchange *x, const struct guard_framing *g,
                           const char *version);

/* A piece of the body. Nothing can be answered now, so trouble is kept for the end.
 * False: the client sends on and on; cut it off. */
bool exchange_take_body(struct exchange *x, const char *piece, size_t n);
void exchange_free_body(struct exchange *x);

/* After the body: true if the request may go to its handler, else x->reply is the answer.
 */
bool exchange_admit(struct exchange *x, const char *content_type,
                    const char *content_encoding);

void exchange_refuse(struct exchange *x, enum problem p, const char *message);
void exchange_refuse_err(struct exchange *x, const struct err *err);

/* Moves what the job has made into x->reply, and frees the job. */
void exchange_take_job(struct exchange *x, struct job *take_job);

/* A part of the reply, from the job that computes it; the first time x->reply becomes its
 * head. Pauses the job if the client is behind. */
void exchange_take_part_locked(struct exchange *x, struct job *job);
/* A comment for the client of a stream, if nothing else waits to be sent. */
void exchange_ping_locked(struct exchange *x);
/* Copies at most `max` bytes of what waits to be sent; 0 if nothing does. */
size_t exchange_next_locked(struct exchange *x, char *to, size_t max);
/* The job of a reply in parts is finished: its last part, or its error, is put behind the
 * others, and the job freed. */
void exchange_end_parts(struct exchange *x, struct job *take_job);

/* "queue;dur=0.1, ...": the value of the Server-Timing header. */
enum { EXCHANGE_TIMING_BYTES = 160 };
void exchange_timing(const struct exchange *x, char out[EXCHANGE_TIMING_BYTES]);

/* The end: metrics and the access line. `complete`: the client got it all. */
void exchange_record(struct exchange *x, bool complete);

#endif
