/* Read_out: what the output layer says of hidden rows other than the one that a pass is
 * about: of the last layer at any step, and of layers before it (the "logit lens",
 * nostalgebraist 2020). The rows are put aside while the pass goes by and read behind it,
 * a few at a time. One owner. */
#ifndef SEQ_TASKS_READ_OUT_H
#define SEQ_TASKS_READ_OUT_H

#include "model/tasks/model.h"

struct read_out {
    const struct seq_model *m;
    const struct seq_sink *sink; /* its rows, and who is told */
    size_t D;
    float *kept;   /* [n_rows,D] */
    size_t *first; /* [layers+2] where each layer's rows begin, and the end of all */
    size_t *next;  /* [layers+1] the next one that a layer's pieces will bring */
};

/* ERR_TASK and ERR_INPUT for rows that this model hasn't got, see seq_sink. Borrows both.
 * What is in *r is freed by read_out_done in any case. */
enum err_code read_out_init(struct read_out *r, const struct seq_model *m,
                            const struct seq_sink *sink, struct err *err) MUST_CHECK;
void read_out_done(struct read_out *r);

/* The `hidden` of a trace: every piece of the pass. */
void read_out_see(struct read_out *r, size_t layer, size_t first, size_t n,
                  const float *h);

/* Behind the pass; the worker's arena is free. */
enum err_code read_out_run(struct read_out *r, struct seq_worker *w,
                           struct err *err) MUST_CHECK;

#endif
