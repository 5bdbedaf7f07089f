/* Next_word: the likeliest words or tokens behind each text, or in its mask's place: the
 * task, and POST /v1/next-word. Results of the task are struct text_result's next; every
 * logprob is finite. Requests of all dialects share batches. */
#ifndef SERVER_API_NEXT_WORD_H
#define SERVER_API_NEXT_WORD_H

#include "server/api/openapi.h"
#include "server/api/texts.h"
#include "server/route.h"

/* What is asked of every text of a job: its `next`, set before texts_prepare. */
struct next_word_ask {
    size_t top_k; /* 1..SEQ_TOP_MAX */
    enum seq_unit unit;
    const char *prefix; /* see struct seq_next_request; NULL with prefix_n 0 = none */
    size_t prefix_n;
};

extern const struct text_task next_word_task;
extern const struct job_kind next_word_kind;

/* The members of one prediction, a token; and the shape of any prediction. */
void next_word_token(struct json_writer *w, const struct seq_model *m,
                     const struct seq_prediction *p);
extern const struct doc_shape next_word_prediction[];

enum err_code next_word_handle(struct server *s, const struct request *q,
                               struct answer *out, struct err *err);
extern const struct route_doc next_word_doc;

#endif
