/* Completion_reply: what /v1/completions answers, as one object or as events.
 *
 * A prompt is continued one or several times. The text of each continuation only grows;
 * what was told of it stands in its struct, so that events carry what is new. Nothing
 * here computes; a worker calls it. */
#ifndef SERVER_API_COMPLETION_REPLY_H
#define SERVER_API_COMPLETION_REPLY_H

#include "model/seq.h"
#include "server/api/openapi.h"
#include "server/json_write.h"

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

struct completion_prompt {
    const char *text; /* as echo gives it */
    size_t n_text;
    const int32_t *ids;              /* [n_ids] */
    const struct seq_token *offsets; /* [n_ids] of tokens in the text; NULL: the text is
                                        that of the tokens, end to end */
    size_t n_ids;
};

/* One continuation of a prompt. */
struct completion {
    const struct completion_prompt *prompt;
    struct seq_generation *generation;
    struct seq_generated view; /* behind its last step; zeroed before the first */
    bool echoed, ended;        /* told: the prompt; why it ended */
    size_t told_bytes, told_tokens;
    size_t next_offset; /* in characters, of the next token generated */
};

/* Tokens of a request. Those of a prompt that is continued several times count once. */
struct completion_usage {
    size_t prompt, cached, generated;
};

/* One more continuation, with nothing told of it. */
void completion_begin(struct completion *c, const struct completion_prompt *prompt,
                      struct seq_generation *take_generation);
void completion_done(struct completion *c);

/* The whole object: choices [n] in this order. */
void completion_write(struct json_writer *w, const struct completion_format *f,
                      struct completion *const *choices, size_t n,
                      const struct completion_usage *usage);

/* What is new of a continuation, if anything is, as events: the prompt if it is to be
 * echoed, then text, with the tokens that it is made of. */
void completion_put_events(struct buf *to, const struct completion_format *f,
                           struct completion *c, size_t index);
/* The end of the events. */
void completion_put_end(struct buf *to, const struct completion_format *f,
                        const struct completion_usage *usage);
/* An error in place of what was to come, and the end. */
void completion_put_error(struct buf *to, const struct buf *error);

/* Members of the object, and of an event. */
extern const struct doc_shape COMPLETION_REPLY[], COMPLETION_EVENT[];

#endif
