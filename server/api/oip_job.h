/* Oip_job: an inference request of the Open Inference Protocol on its way, as both of its
 * ways share it: labels and next tokens in everybody's batches (oip_infer.c), and what
 * looks inside one text, as an inspection (oip_inspect.c). */
#ifndef SERVER_API_OIP_JOB_H
#define SERVER_API_OIP_JOB_H

#include "server/api/next_word.h"
#include "server/api/oip.h"
#include "server/api/oip_tensor.h"
#include "server/api/texts.h"
#include "server/json_read.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct oip_job {
    struct text_job t; /* first */
    struct json_text id;
    struct json_list inputs, outputs; /* of oip_infer.c */
    enum json_flag binary, truncate, sequence_start, sequence_end;
    int64_t timeout_us, top_k;
    struct next_word_ask ask;
    float *scores; /* of the text at hand: [labels]; of an inspection also [vocab] */
    bool inspects; /* one of the outputs does: */
    struct seq_tokens looked; /* its one text's */
    size_t n_tensors;         /* outputs, in the order asked for */
    struct oip_tensor tensors[OIP_OUTPUTS];
    enum oip_output which[OIP_OUTPUTS];
    size_t classes[OIP_OUTPUTS];
};

/* The text's rows of all outputs that tell its labels. logits may be NULL if no output
 * does. */
void oip_job_put_labels(struct oip_job *j, const float *logits, const float *scores);
/* The same of next tokens, n of them, best first. */
void oip_job_put_next(struct oip_job *j, const int32_t *ids, const float *logs, size_t n);
/* The free of a struct job_kind. */
void oip_job_free(struct job *job);

/* Makes it a job that looks inside; what does not go with that is ERR_INPUT. */
enum err_code oip_inspect_prepare(struct oip_job *j, struct err *err) MUST_CHECK;

#endif
