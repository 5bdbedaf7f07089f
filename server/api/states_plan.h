/* States_plan: from a checked request and the tokens to what exactly is computed and what
 * comes out: which signals, layers, directions, steps and units, which rows the output
 * layer reads, the shape and how many numbers that are. Made before any computing, so
 * that a request can be refused by its size. One owner; request, model and tokens are
 * borrowed. */
#ifndef SERVER_API_STATES_PLAN_H
#define SERVER_API_STATES_PLAN_H

#include "server/api/selection.h"
#include "server/api/states_request.h"

enum { STATES_AXES = 5, STATES_FIELDS = 12, STATES_GATES = 3 };

struct states_plan {
    const struct states_request *ask;
    const struct seq_info *info;
    const struct seq_tokens *tokens;
    size_t T;
    struct selection signals, layers, directions, steps;
    struct selection units; /* those named, or all; of a ranking nothing is known yet: */
    bool ranked;
    size_t n_units;                    /* that come out */
    size_t n_kept;                     /* taken down: those, or all that are ranked */
    struct map_axis axes[STATES_AXES]; /* signal, layer, direction, step, unit */
    size_t n_layers;                   /* the pass may end behind so many */

    /* Stats: what the last axis of their data holds. */
    size_t gate[STATES_GATES], n_gates; /* indexes of signals */
    char field[STATES_FIELDS][16];
    size_t n_fields;

    /* For per_step and lens: rows that the output layer reads, in order, and how many
     * tokens are told of each. */
    struct seq_row *rows;
    size_t n_rows, n_top;
    /* For per_step: at which steps a classifier is asked; for corr_output at all. */
    size_t *scored;
    size_t n_scored;
};

/* ERR_INPUT for selections that name what is not there; ERR_NOMEM. */
enum err_code states_plan_init(struct states_plan *p, const struct states_request *ask,
                               const struct model *m, const struct seq_tokens *tokens,
                               struct err *err) MUST_CHECK;
void states_plan_done(struct states_plan *p);

/* SIZE_MAX stands for more than can be said. Numbers of the states; of all else in the
 * reply; and floats in memory while it is computed. */
size_t states_plan_values(const struct states_plan *p);
size_t states_plan_others(const struct states_plan *p);
size_t states_plan_floats(const struct states_plan *p);
/* Numbers that the output layer gives for the rows, and tokens that a classifier reads
 * for the scores. */
size_t states_plan_logits(const struct states_plan *p);
size_t states_plan_prefixes(const struct states_plan *p);

/* Which of the rows that of a layer and step is, which must be among them. */
size_t states_plan_row(const struct states_plan *p, size_t layer, size_t step);

#endif
