/* Capture: the sink that turns the rows of attention maps into the bytes of a reply while
 * they are computed.
 *
 * Holds the floats of the chosen heads of one layer (and of the sums over layers, if such
 * are asked for); when the next layer begins, the finished one is measured, reduced and
 * encoded. Pauses of the pass fall between layers, so that nobody waits for all of the
 * encoding. One owner, on the thread that computes. */
#ifndef SERVER_API_CAPTURE_H
#define SERVER_API_CAPTURE_H

#include "server/api/map_plan.h"
#include "server/api/map_sparse.h"
#include "server/json_write.h"

#include <stdbool.h>
#include <stddef.h>

struct capture {
    const struct map_plan *plan;
    size_t rows; /* taken down of each head */

    float *layer;            /* [slots,rows,T] of the layer being computed */
    float *sums;             /* [maps,rows,T] over layers, or NULL */
    float *scratch, *picked; /* [rows,T] between the steps of one map */
    size_t at;               /* which layer that is */
    bool open;               /* `layer` holds something */
    size_t n_summed;         /* layers in `sums` */

    struct json_writer *text; /* [n_maps] JSON of each map, or NULL: */
    unsigned char *bytes;     /* [n_maps,map_bytes] */
    size_t map_bytes;
    struct map_sparse top; /* rows of all maps, if that is asked for, in place of both */

    double *metrics; /* [n_pieces,MAPS_METRICS] or NULL */
    struct maps_text measured;
    float *special;
    int32_t *same;

    double redundancy; /* of the hops of attention pooling, see maps_redundancy */
    bool not_finite;   /* a number that can't be: a fault of ours */
    bool massless;     /* a row had nothing left that could be renormalized */
};

enum err_code capture_init(struct capture *c, const struct map_plan *plan,
                           struct err *err) MUST_CHECK;
void capture_done(struct capture *c);

/* The row of a struct seq_sink; arg is the capture. */
void capture_row(void *arg, size_t layer, size_t head, size_t query, size_t n_keys,
                 const float *p);

/* Behind the pass: the last layer, and what is made of all. ERR_BUG if a number was not
 * finite, ERR_NOMEM. Then the fields above hold all that the reply needs. */
enum err_code capture_finish(struct capture *c, struct err *err) MUST_CHECK;

/* Behind finish: numbers in the reply, map_plan_values or fewer. */
size_t capture_values(const struct capture *c);

/* [n_maps,map_bytes], if they are no JSON; the caller's. */
unsigned char *capture_take_bytes(struct capture *c);

/* The maps as one JSON value, nested as the plan's axes say; gives back their memory as
 * it goes. */
void capture_write_json(struct capture *c, struct json_writer *w);

#endif
