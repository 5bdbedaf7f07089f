/* Texts: what /v1/next-word and /v1/sentiment share. A request holds one text or several;
 * the texts of all requests that a worker took are computed in ragged batches, and each
 * text's result is written into its own request's reply as soon as it is there.
 *
 * texts_read runs on an HTTP thread, texts_run on a worker. */
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

/* The head of a handler's own struct; `job` first, as job.h wants it. */
struct text_job {
    struct job job;
    const struct text_task *task;
    const struct server *server;
    struct json_text model, text, text_pair; /* fields of the request */
    struct json_texts texts, text_pairs;
    bool truncate;

    const struct json_text *at;   /* [n] what of text and texts was given */
    const struct json_text *pair; /* [n] the second text of each; NULL: there are none */
    size_t n;
    struct seq_tokens *tokens; /* [n] */
    struct json_writer out;    /* the reply as far as it is */
};

/* Text i of a request, ready to be computed. */
struct text_ref {
    struct text_job *job;
    size_t i;
};

struct text_task {
    const char *object; /* in replies: "sentiment" */
    enum seq_task task;
    /* What texts are tokenized for. NULL = task. */
    enum seq_task (*reads)(const struct text_job *job);
    /* How many bytes of the text are read; NULL = all. */
    size_t (*trim)(const struct text_job *job, const struct json_text *text);
    /* How much one text of this request adds to a batch besides its tokens, counted in
     * tokens. NULL = 1. */
    size_t (*weight)(const struct text_job *job);
    /* Computes n texts of one model and writes each one's result, in order, between
     * texts_open and texts_close. An error is all requests' own; what is wrong with one
     * result alone goes to texts_fail. */
    enum err_code (*compute)(const struct seq_model *m, const struct text_ref *refs,
                             size_t n, struct seq_worker *w, struct err *err);
    const struct json_field *fields;
    size_t n_fields;
};

/* The rows of the table for the members above. `holder` is the struct whose first member
 * is a struct text_job. */
#define TEXTS_FIELDS                                                                     \
    {.name = "text",                                                                     \
     .type = JSON_FIELD_TEXT,                                                            \
     .offset = offsetof(struct text_job, text),                                          \
     .help = "The text; either this or texts"},                                          \
        {.name = "texts",                                                                \
         .type = JSON_FIELD_TEXTS,                                                       \
         .offset = offsetof(struct text_job, texts),                                     \
         .min = 1,                                                                       \
         .help = "Several texts; the reply has one result each, in this order"},         \
        {.name = "truncate",                                                             \
         .type = JSON_FIELD_BOOL,                                                        \
         .offset = offsetof(struct text_job, truncate),                                  \
         .help = "false refuses a text longer than the model reads (413), true, the "    \
                 "default, cuts it"},                                                    \
    {                                                                                    \
        .name = "model", .type = JSON_FIELD_TEXT,                                        \
        .offset = offsetof(struct text_job, model),                                      \
        .help = "Name of a loaded model; left out: the default of this task"             \
    }

/* Those of a task that takes pairs of texts. */
#define TEXTS_PAIR_FIELDS                                                                \
    {.name = "text_pair",                                                                \
     .type = JSON_FIELD_TEXT,                                                            \
     .offset = offsetof(struct text_job, text_pair),                                     \
     .help = "A second text, for models that read two as one (pairs in /v1/models)"},    \
    {                                                                                    \
        .name = "text_pairs", .type = JSON_FIELD_TEXTS,                                  \
        .offset = offsetof(struct text_job, text_pairs), .min = 1,                       \
        .help = "The second text of each of texts"                                       \
    }

/* Reads the request into *job (zeroed, or with defaults) and fills job->job. On failure
 * nothing is left in it. */
enum err_code texts_read(const struct server *s, const struct request *q,
                         const struct text_task *task, struct text_job *job,
                         struct err *err) MUST_CHECK;
/* The run of a struct job_kind. */
void texts_run(struct job **jobs, size_t n, struct seq_worker *w);
/* The free of a struct job_kind. */
void texts_free(struct job *job);

/* ERR_INPUT, naming the field, if the model takes no second texts. */
enum err_code texts_check_pairs(const struct model *m, const char *field,
                                struct err *err) MUST_CHECK;

/* The result object of one text: opens it; closes it behind its usage. */
struct json_writer *texts_open(const struct text_ref *ref);
void texts_close(const struct text_ref *ref);
/* A result that can't be told, in place of both; others in the batch are not touched. */
void texts_fail(const struct text_ref *ref, const char *why);

/* Members of replies. */
extern const struct doc_shape TEXTS_USAGE[];

#endif
