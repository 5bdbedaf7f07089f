/* Importance_job: what /v1/importance and :explain share: the occlusion of one text or
 * several, computed in parts between which other jobs have their turns. What each text's
 * reply looks like is the form's. Handlers fill it on an HTTP thread, a worker runs it.
 */
#ifndef SERVER_API_IMPORTANCE_JOB_H
#define SERVER_API_IMPORTANCE_JOB_H

#include "model/seq.h"
#include "server/job.h"
#include "server/json_write.h"
#include "server/server.h"

struct importance_job;

struct importance_text {
    struct seq_tokens tokens;
    struct importance *im;
};

struct importance_form {
    /* Text i into at[i].tokens; on failure the error is in job.err. */
    enum err_code (*tokenize)(struct importance_job *j, size_t i) MUST_CHECK;
    /* The reply in front of the texts, each of them as soon as it is known, in order, and
     * behind them. */
    void (*open)(struct importance_job *j);
    void (*write)(struct importance_job *j, size_t i, const struct importance_view *v);
    void (*close)(struct importance_job *j);
    /* The field that holds text i, for errors. */
    void (*name)(const struct importance_job *j, size_t i, char param[ERR_PARAM_BYTES]);
};

/* The head of a handler's own struct; `job` first, as job.h wants it. */
struct importance_job {
    struct job job;
    const struct server *server;
    const struct importance_form *form;
    struct importance_ask ask;
    struct importance_text *at; /* [n] */
    size_t n, n_done;
    size_t left;            /* tokens still to be read, of all texts */
    struct json_writer out; /* the reply as far as it is */
};

/* Room for n texts; the job then frees what is in it by importance_job_done. */
enum err_code importance_job_init(struct importance_job *j, const struct server *s,
                                  const struct importance_form *form, size_t n,
                                  struct err *err) MUST_CHECK;
void importance_job_done(struct importance_job *j); /* not the struct itself */

/* The run of a struct job_kind, which takes one job at a time. */
void importance_job_run(struct job **jobs, size_t n, struct seq_worker *w);

/* What the texts are read for: SEQ_CLASSIFY or SEQ_NEXT_TOKEN. */
enum seq_task importance_job_reads(const struct model *m);

#endif
