/* Metrics: counters and histograms, written as Prometheus text.
 *
 * One instance for the process, all routes known when it is made. Every function locks
 * shortly and may be called from any thread. */
#ifndef SERVER_METRICS_H
#define SERVER_METRICS_H

#include "model/seq.h"
#include "server/buf.h"
#include "server/models.h"
#include "server/route.h"

#include <stddef.h>
#include <stdint.h>

struct metrics;

enum metrics_rejection {
    METRICS_REJECT_QUEUE_FULL,
    METRICS_REJECT_QUEUE_TIMEOUT,
    METRICS_REJECT_STOPPING,
    METRICS_REJECT_BODY_SIZE,
    METRICS_REJECT_MEMORY,
    METRICS_REJECT_FRAMING,
    METRICS_REJECT_SLOW,
    METRICS_REJECT_ORIGIN,
    METRICS_REJECTIONS
};

/* What one request took; parts that did not happen are UINT64_MAX. */
struct metrics_times {
    uint64_t total_us, queue_us, tokenize_us, compute_us;
    uint64_t first_us; /* to the first part of a reply that is sent in parts */
};

/* routes is borrowed; index n_routes stands for paths without a route. */
enum err_code metrics_new(const struct route *routes, size_t n_routes,
                          struct metrics **out, struct err *err) MUST_CHECK;
void metrics_free(struct metrics *m);

void metrics_request(struct metrics *m, size_t route, unsigned status,
                     const struct metrics_times *times);
void metrics_tokens(struct metrics *m, size_t n_texts, size_t n_read, size_t n_generated);
void metrics_batch(struct metrics *m, size_t n_jobs);
void metrics_reject(struct metrics *m, enum metrics_rejection reason);
void metrics_abandoned(struct metrics *m);
void metrics_connections(struct metrics *m, long change);

/* The sessions there are, as text. */
void metrics_write_sessions(size_t n, size_t bytes, struct buf *out);

/* Everything else as text. queue_depth and models are asked by the caller. */
void metrics_write(struct metrics *m, const struct models *models, size_t queue_depth,
                   struct buf *out);

#endif
