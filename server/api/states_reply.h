/* States_reply: what POST /v1/states answers: the table of its shape, and the JSON around
 * the values. Pure; any thread. */
#ifndef SERVER_API_STATES_REPLY_H
#define SERVER_API_STATES_REPLY_H

#include "server/api/openapi.h"
#include "server/api/states_capture.h"

/* All that is known when the pass is over. */
struct states_answer {
    const struct model *model;
    const struct states_request *ask;
    const struct states_plan *plan;
    const struct states_capture *capture;
    const struct seq_tokens *tokens;
    const float *scores; /* [n_scored,L] or NULL */
    const float *result; /* scores [L], log probabilities [V], or NULL */
};

extern const struct doc_shape states_reply_shape[];

/* The whole reply, in the encoding asked for. ERR_NOMEM. */
enum err_code states_reply_make(const struct states_answer *a, struct reply *to,
                                struct err *err) MUST_CHECK;

#endif
