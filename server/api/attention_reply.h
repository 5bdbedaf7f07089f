/* Attention_reply: what POST /v1/attention answers: the table of its shape, and the JSON
 * in front of, around and behind the maps. Pure; any thread. */
#ifndef SERVER_API_ATTENTION_REPLY_H
#define SERVER_API_ATTENTION_REPLY_H

#include "server/api/capture.h"
#include "server/api/openapi.h"

/* All that is known when the pass is over. */
struct attention_answer {
    const struct model *model;
    const struct attention_request *ask;
    const struct map_plan *plan;
    struct capture *capture;
    const struct seq_tokens *tokens; /* the text's and the generated ones */
    size_t n_prompt;                 /* of them the text's */
    size_t n_fed;                    /* of them those with rows */
    const char *finish;              /* why the generation ended; NULL: there was none */
    struct json_text generated;      /* its text */
    const float *result;             /* scores [L], log probabilities [V], or NULL */
};

extern const struct doc_shape attention_reply_shape[];

/* The whole reply, in the encoding asked for. ERR_NOMEM. */
enum err_code attention_reply_make(const struct attention_answer *a, struct reply *to,
                                   struct err *err) MUST_CHECK;

#endif
