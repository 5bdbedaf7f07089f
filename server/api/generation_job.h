/* Generation_job: prompts that are continued, in whatever dialect that is asked and told.
 *
 * One kind of job for all dialects: texts of all waiting requests grow by a token a step,
 * together. A dialect is a form: its struct begins with a struct generation_job, its
 * table of fields fills both, its functions write what is answered. The handler runs on
 * an HTTP thread, the form's functions on a worker. */
#ifndef SERVER_API_GENERATION_JOB_H
#define SERVER_API_GENERATION_JOB_H

#include "model/seq.h"
#include "server/job.h"
#include "server/json_read.h"
#include "server/json_write.h"
#include "server/route.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct generation_memory;

struct generation_prompt {
    const char *text; /* as it was given, or what its tokens put into a text */
    size_t n_text;
    const int32_t *ids;              /* [n_ids] */
    const struct seq_token *offsets; /* [n_ids] of tokens in the text; NULL: the text is
                                        that of the tokens, end to end */
    size_t n_ids;
};

/* One continuation of a prompt. It only grows; what was told of it stands here, so that
 * events carry what is new. */
struct generation_text {
    const struct generation_prompt *prompt;
    struct seq_generation *generation;
    struct seq_generated view; /* behind its last step; zeroed before the first */
    size_t index;              /* among all of its request */
    /* marks of the form, zeroed */
    bool echoed, ended; /* told: the prompt; why it ended */
    size_t told_bytes, told_tokens;
    size_t next_offset; /* in characters, of the next token generated */
};

struct generation_job {
    struct job job; /* first; a handler that knows the model sets job.model */
    struct server *server;
    const struct generation_form *form;

    /* What is asked, of the form's fields or set by its handler. generation_new sets
     * defaults: one text a prompt of 16 tokens, drawn as the model says. */
    struct json_text model;
    const struct json_prompt *asked; /* [n_prompts], borrowed from the form's struct */
    size_t n_prompts;
    bool list;       /* several could have been asked: errors name "prompt[0]" */
    int64_t n;       /* texts answered of every prompt */
    int64_t best_of; /* texts generated, of which these are the best; 0: n */
    int64_t max_tokens, seed, top_k;
    double temperature, top_p, min_p, repetition_penalty;
    double presence_penalty, frequency_penalty;
    struct json_texts stop;
    struct json_number_map logit_bias;
    int64_t n_top;        /* most probable tokens beside each; -1: no log probabilities */
    int64_t prompt_most;  /* of a longer prompt the last tokens only; 0: all */
    bool prompt_logprobs; /* of the prompt's tokens, too; needs n_top */
    bool ignore_end;      /* goes on behind an end of text */
    bool stream;

    size_t reserved; /* tokens, of --generate-tokens */
    bool begun;
    size_t n_each, n_texts;            /* continuations of every prompt, of all */
    struct generation_prompt *prompts; /* [n_prompts] */
    struct generation_memory *memory;  /* [n_prompts] what they point at */
    /* [n_texts] those of the first prompt first; once complete, the n best of each prompt
     * in front of its others. */
    struct generation_text *texts;
};

struct generation_form {
    const struct json_field *fields; /* [n_fields] of the request's struct */
    size_t n_fields;
    /* The whole reply, when all texts are complete. */
    void (*write)(struct generation_job *g, struct json_writer *w);
    /* What is new of a text, if anything is, as events. */
    void (*put_new)(struct generation_job *g, struct generation_text *t, struct buf *to);
    void (*put_last)(struct generation_job *g, struct buf *to); /* behind all; or NULL */
    const char *end; /* of all events, errors too: "data: [DONE]\n\n"; or NULL */
};

/* A zeroed request of `bytes`, of which struct generation_job is the head, with defaults
 * and a drawn seed; NULL: out of memory. */
void *generation_new(size_t bytes, struct server *s, const struct generation_form *form);
/* With all its fields, whether they are filled or not. */
void generation_free(struct generation_job *g);

/* Checks what is asked and makes it the answer's job, or a refusal if too many texts are
 * being continued. Also when it fails the request is freed. ERR_LIMIT, ERR_INPUT, and
 * those of models_choose. */
enum err_code generation_start(struct generation_job *take_g, struct answer *out,
                               struct err *err) MUST_CHECK;

/* Tokens of a request. Those of a prompt that is continued several times count once. */
struct generation_usage {
    size_t prompt, cached, generated;
};
struct generation_usage generation_usage(const struct generation_job *g);

/* An event of one JSON value: opens it behind what is in *to, closes it into *to. */
struct json_writer generation_open_event(const struct buf *to);
void generation_close_event(struct json_writer *w, struct buf *to);

#endif
