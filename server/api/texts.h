/* Texts: what all routes share that compute something of each of a few texts: labels,
 * next words, vectors. The texts of all requests that a worker took are computed in
 * ragged batches, whichever dialect they came in, and each text's result is written into
 * its own request's reply as soon as it is there.
 *
 * A task says what is computed, a form what one dialect asks and answers. texts_prepare
 * and texts_read run on an HTTP thread, texts_run on a worker. */
#ifndef SERVER_API_TEXTS_H
#define SERVER_API_TEXTS_H

#include "server/api/openapi.h"
#include "server/job.h"
#include "server/json_read.h"
#include "server/json_write.h"
#include "server/route.h"
#include "server/server.h"

#include <stddef.h>

struct text_task;
struct text_form;
struct next_word_ask; /* next_word.h */

/* The head of a request's own struct; `job` first, as job.h wants it. A handler zeroes
 * it, reads its request, sets what stands above the line and calls texts_prepare. */
struct text_job {
    struct job job;                    /* model: may be set already */
    struct json_text model;            /* by name; not given: the default of the task */
    const struct json_text *at;        /* [n] the texts; or */
    const struct json_prompt *prompts; /* [n] texts and lists of ids, read as they are */
    const struct json_text *pair; /* [n] the second text of each, where .at is not NULL;
                                     NULL: there are none. Both borrowed from the request
                                     or owned by it */
    size_t n;
    bool whole;                     /* refuses a text that is too long; else it is cut: */
    enum seq_keep keep;             /* which part stays; zeroed: the beginning */
    enum seq_activation activation; /* of classification_task */
    struct seq_vector_ask vector;   /* of embedding_task */
    const struct next_word_ask *next; /* of next_word_task */

    /* ---- set by texts_prepare */
    const struct text_task *task;
    const struct text_form *form;
    const struct server *server;
    struct seq_tokens *tokens; /* [n] */
    struct json_writer out;    /* the reply as far as it is */
};

/* Text i of a request, ready to be computed. */
struct text_ref {
    struct text_job *job;
    size_t i;
};

/* What came of it; valid during the call. */
struct text_result {
    const float *values; /* [n_values] scores of all labels, or a vector; finite */
    size_t n_values;
    const struct seq_next_result *next; /* of next_word_task */
};

struct text_task {
    enum seq_task task;
    /* What texts are tokenized for. NULL = task. */
    enum seq_task (*reads)(const struct text_job *job);
    /* How many bytes of the text are read; NULL = all. */
    size_t (*trim)(const struct text_job *job, const struct json_text *text);
    /* How much one text of this request adds to a batch besides its tokens, counted in
     * tokens. NULL = 1. */
    size_t (*weight)(const struct text_job *job);
    /* Computes n texts of one model and tells each one's result, in order, to texts_tell,
     * or texts_fail. An error is all requests' own. */
    enum err_code (*compute)(const struct seq_model *m, const struct text_ref *refs,
                             size_t n, struct seq_worker *w, struct err *err);
};

struct text_form {
    const struct json_field *fields; /* [n_fields] of the request's struct */
    size_t n_fields;
    const char *object; /* of our own replies: "sentiment" */
    /* What text i, or its second text, is called in the request: "texts[3]". */
    void (*name)(const struct text_job *job, size_t i, bool second,
                 char param[ERR_PARAM_BYTES]);
    /* Write the reply to job->out: what stands in front of all results (NULL = nothing),
     * one result, what stands behind them (NULL = nothing). Results come in order. */
    void (*begin)(struct text_job *job);
    void (*result)(const struct text_ref *ref, const struct text_result *r);
    void (*end)(struct text_job *job);
    /* Frees what the struct owns besides its fields; NULL = nothing. */
    void (*done)(struct text_job *job);
};

/* Checks what the handler has set, chooses the model, and fills job->job but for its
 * kind. On failure nothing is left in the struct: fields and done are its own to free,
 * and are freed. ERR_LIMIT past --max-texts, ERR_INPUT for second texts that the model
 * does not take, and those of models_choose. */
enum err_code texts_prepare(const struct server *s, const struct text_task *task,
                            const struct text_form *form, struct text_job *job,
                            struct err *err) MUST_CHECK;
/* The run of a struct job_kind. Jobs of one kind have one task; forms may differ. */
void texts_run(struct job **jobs, size_t n, struct seq_worker *w);
/* The free of a struct job_kind. */
void texts_free(struct job *job);

/* ERR_INPUT, naming the field, if the model takes no second texts. */
enum err_code texts_check_pairs(const struct model *m, const char *field,
                                struct err *err) MUST_CHECK;

/* Of tasks: hands a result to the request's form. */
void texts_tell(const struct text_ref *ref, const struct text_result *r);
/* A result that can't be told, in place of that; others in the batch are not touched. */
void texts_fail(const struct text_ref *ref, const char *why);

/* The end of the form, and its JSON becomes the reply, or what failed the error. For jobs
 * that run otherwise than by texts_run. */
void texts_finish(struct text_job *job);

/* Tokens read of all texts, special ones included; whether some were left out. */
size_t texts_tokens(const struct text_job *job);
bool texts_truncated(const struct text_job *job);

/* ---- our own dialect: one text or several, results and their usage --------------- */

/* The head of such a request's struct. */
struct text_request {
    struct text_job t; /* first */
    struct json_text text, text_pair;
    struct json_texts texts, text_pairs;
    bool truncate;
};

/* The rows of the table for the members above. */
#define TEXTS_FIELDS                                                                     \
    {.name = "text",                                                                     \
     .type = JSON_FIELD_TEXT,                                                            \
     .offset = offsetof(struct text_request, text),                                      \
     .help = "The text; either this or texts"},                                          \
        {.name = "texts",                                                                \
         .type = JSON_FIELD_TEXTS,                                                       \
         .offset = offsetof(struct text_request, texts),                                 \
         .min = 1,                                                                       \
         .help = "Several texts; the reply has one result each, in this order"},         \
        {.name = "truncate",                                                             \
         .type = JSON_FIELD_BOOL,                                                        \
         .offset = offsetof(struct text_request, truncate),                              \
         .help = "false refuses a text longer than the model reads (413), true, the "    \
                 "default, cuts it"},                                                    \
    {                                                                                    \
        .name = "model", .type = JSON_FIELD_TEXT,                                        \
        .offset = offsetof(struct text_request, t.model),                                \
        .help = "Name of a loaded model; left out: the default of this task"             \
    }

/* Those of a task that takes pairs of texts. */
#define TEXTS_PAIR_FIELDS                                                                \
    {.name = "text_pair",                                                                \
     .type = JSON_FIELD_TEXT,                                                            \
     .offset = offsetof(struct text_request, text_pair),                                 \
     .help = "A second text, for models that read two as one (pairs in /v1/models)"},    \
    {                                                                                    \
        .name = "text_pairs", .type = JSON_FIELD_TEXTS,                                  \
        .offset = offsetof(struct text_request, text_pairs), .min = 1,                   \
        .help = "The second text of each of texts"                                       \
    }

/* Reads the request into *r (zeroed, or with defaults) and sets what texts_prepare wants
 * but for what its task does. On failure nothing is left in it. */
enum err_code texts_read(const struct request *q, const struct text_form *form,
                         struct text_request *r, struct err *err) MUST_CHECK;

/* name, begin and end of its forms. */
void texts_name(const struct text_job *job, size_t i, bool second,
                char param[ERR_PARAM_BYTES]);
void texts_begin(struct text_job *job);
void texts_end(struct text_job *job);

/* The result object of one text: opens it; closes it behind its usage. */
struct json_writer *texts_open(const struct text_ref *ref);
void texts_close(const struct text_ref *ref);

/* Members of replies. */
extern const struct doc_shape TEXTS_USAGE[];
extern const char *const TEXTS_ONE_OF[]; /* of a request's fields */

#endif
