/* Continuation: the text that generated tokens add to their prompt's, as they come, up to
 * a stop text. What is final stays: half a character, a decoder's open end and what may
 * become a stop text wait. One owner at a time. */
#ifndef SEQ_TASKS_CONTINUATION_H
#define SEQ_TASKS_CONTINUATION_H

#include "model/tasks/stops.h"
#include "model/text/stream.h"
#include "model/text/text.h"
#include "model/text/tokenizer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zeroed is fine for continuation_done only. */
struct continuation {
    struct decode_stream *stream; /* of prompt and continuation together */
    struct text prompt;           /* the prompt's tokens decoded without a continuation */
    size_t out;                   /* bytes of it that the stream has given out */
    struct text fresh;            /* what the stream gave out last */
    struct text text;
    size_t n_final; /* bytes of text */
    struct stops stops;
    bool stopped; /* a stop text has come; it is cut off */
};

/* Reads the prompt ids[0..n), n > 0; stops and keep_specials are those of opt. told [n]
 * or NULL gets text_end of each token, in c->prompt. ERR_INPUT for stop texts, see
 * stops_init; ERR_NOMEM, ERR_LIMIT. */
enum err_code continuation_init(struct continuation *c, const struct tokenizer *t,
                                const struct seq_generate_options *opt,
                                const int32_t *ids, size_t n,
                                struct seq_generated_token *told,
                                struct err *err) MUST_CHECK;
void continuation_done(struct continuation *c);

/* One more token; the last one was read. Not behind a stop text. ERR_NOMEM, ERR_LIMIT. */
enum err_code continuation_push(struct continuation *c, int32_t id,
                                struct err *err) MUST_CHECK;
enum err_code continuation_end(struct continuation *c, struct err *err) MUST_CHECK;

#endif
