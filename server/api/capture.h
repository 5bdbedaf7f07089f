/* Capture: the sink that turns attention maps into JSON text while they are computed.
 *
 * Holds the floats of one layer, chosen heads and queries only; when the next layer
 * begins, the finished one becomes text. One owner, on the thread that computes. */
#ifndef SERVER_API_CAPTURE_H
#define SERVER_API_CAPTURE_H

#include "model/seq.h"
#include "server/api/selection.h"
#include "server/json_write.h"

#include <stdbool.h>
#include <stddef.h>

struct capture {
    const struct selection *layers, *heads, *queries; /* borrowed */
    size_t n_keys;
    bool pooling; /* no query axis: a head is a row */
    unsigned decimals;

    float *maps; /* [heads,queries,n_keys] of the layer being computed */
    size_t layer;
    bool open;               /* maps holds something not yet written */
    bool not_finite;         /* a weight was NaN or infinite */
    struct json_writer *out; /* [layers] the text of each chosen layer */
};

enum err_code capture_init(struct capture *c, const struct selection *layers,
                           const struct selection *heads, const struct selection *queries,
                           size_t n_keys, struct err *err) MUST_CHECK;
void capture_done(struct capture *c);

/* The row of a struct seq_sink; arg is the capture. */
void capture_row(void *arg, size_t layer, size_t head, size_t query, size_t n_keys,
                 const float *p);

/* After the pass: writes the maps, layers in the order asked for, as one value. ERR_BUG
 * if a weight was not finite; ERR_NOMEM. */
enum err_code capture_write(struct capture *c, struct json_writer *w,
                            struct err *err) MUST_CHECK;

#endif
