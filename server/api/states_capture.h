/* States_capture: the sink that takes down what a plan asks for while the pass goes by:
 * values of the chosen signals, layers, directions and steps, running figures of every
 * unit (for stats and rankings), and what the output layer says of the plan's rows.
 * Memory is what states_plan_floats says, and some 100 bytes for each unit of a chosen
 * layer and direction. One owner, on the thread that computes. */
#ifndef SERVER_API_STATES_CAPTURE_H
#define SERVER_API_STATES_CAPTURE_H

#include "server/api/states_plan.h"

/* Of h or hidden of one unit over the steps so far (Welford's recurrences), and of its
 * gates. */
struct states_unit {
    double mean, m2, abs, delta;
    double with_mean, with_m2, with_xy; /* over steps that have an output */
    double keeps;                       /* sum of the gate that does */
    uint32_t low[STATES_GATES], high[STATES_GATES];
};

/* Of a layer and direction. */
struct states_cell {
    size_t n;                  /* steps so far */
    size_t with_n;             /* of them those that have an output */
    double with_mean, with_m2; /* of that */
    struct states_unit *unit;  /* [H] */
    float *before;             /* [H] its last state */
};

struct states_capture {
    const struct states_plan *plan;
    float *values;             /* [signal,layer,direction,step,kept] */
    struct states_cell *cells; /* [layer,direction] */
    size_t *units;             /* [layer,direction,n_units] places among those kept */
    const float *output;       /* [T] that units may go with, NAN: none; borrowed, NULL:
                                  nobody asks */
    int32_t *top_id;           /* [n_rows,n_top] */
    float *top_p;              /* [n_rows,n_top] their probabilities */
    double *surprisal;         /* [T] of each token that came, NAN where not known */
};

enum err_code states_capture_init(struct states_capture *c,
                                  const struct states_plan *plan, const float *output,
                                  struct err *err) MUST_CHECK;
void states_capture_done(struct states_capture *c);

/* Those of a struct seq_sink; arg is the capture. */
void states_capture_step(void *arg, size_t layer, size_t direction, size_t step,
                         const float *const *at);
void states_capture_hidden(void *arg, size_t layer, size_t first, size_t n, size_t D,
                           const float *h);
void states_capture_logits(void *arg, size_t i, double total, const float *logits);

/* Behind the pass: which units come out. ERR_NOMEM. */
enum err_code states_capture_finish(struct states_capture *c, struct err *err) MUST_CHECK;

/* The chosen units' values of one row: to [n_units]. Indexes are places in the request.
 */
void states_capture_row(const struct states_capture *c, size_t signal, size_t layer,
                        size_t direction, size_t step, float *to);
/* The index of the u-th unit of a layer and direction. */
size_t states_capture_unit(const struct states_capture *c, size_t layer, size_t direction,
                           size_t u);
/* Its figures, as the plan's fields say; NAN where there is none. */
void states_capture_stats(const struct states_capture *c, size_t layer, size_t direction,
                          size_t u, double out[STATES_FIELDS]);

#endif
