/* Server: what every handler may look at. Made by main, fixed before threads start,
 * except what is atomic at the end. */
#ifndef SERVER_SERVER_H
#define SERVER_SERVER_H

#include "server/metrics.h"
#include "server/models.h"
#include "server/options.h"
#include "server/route.h"
#include "server/scheduler.h"
#include "server/sessions.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct server {
    const struct options *options;
    const struct models *models;
    struct sessions *sessions;
    struct metrics *metrics;
    struct scheduler *scheduler;
    const struct route *routes;
    size_t n_routes;
    uint64_t started_us; /* clock_us() at exec */

    atomic_bool ready;        /* /readyz: true from listening until a stop is asked for */
    atomic_size_t generating; /* tokens of texts that are being continued, as they were
                                 estimated; at most options->generate_tokens */
};

/* The table of all routes, server/api/routes.c, with or without those of inspection. */
const struct route *api_routes(bool inspect, size_t *n);

#endif
