/* Completion_reply: what /v1/completions answers, as one object or as events.
 *
 * What is told of a prompt's continuations as they grow, which generation_job.c computes.
 * Nothing here computes; a worker calls it. */
#ifndef SERVER_API_COMPLETION_REPLY_H
#define SERVER_API_COMPLETION_REPLY_H

#include "model/seq.h"
#include "server/api/generation_job.h"
#include "server/api/openapi.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What all answers to one request have in common. Borrowed strings. */
struct completion_format {
    const struct seq_model *model;
    const char *id, *model_name, *fingerprint;
    int64_t created, seed;
    int64_t n_top; /* most probable tokens beside each; -1: no log probabilities */
    bool echo;
    bool usage; /* events say "usage":null, and the last one tells it */
};

/* The whole object, of texts that are complete. */
void completion_write(struct json_writer *w, const struct completion_format *f,
                      const struct generation_job *g);

/* What is new of a continuation, if anything is, as events: the prompt if it is to be
 * echoed, then text, with the tokens that it is made of. */
void completion_put_events(struct buf *to, const struct completion_format *f,
                           struct generation_text *t);
/* One more event that tells the usage. */
void completion_put_usage(struct buf *to, const struct completion_format *f,
                          const struct generation_job *g);

/* Members of the object, and of an event. */
extern const struct doc_shape COMPLETION_REPLY[], COMPLETION_EVENT[];

#endif
