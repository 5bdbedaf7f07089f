/* Probes: /livez, /readyz, /health and /metrics. None of them ever waits for a worker. */
#ifndef SERVER_API_PROBES_H
#define SERVER_API_PROBES_H

#include "server/api/openapi.h"
#include "server/route.h"

/* The process answers. */
enum err_code probes_livez(struct server *s, const struct request *q, struct answer *out,
                           struct err *err);
/* It takes new work: 503 once a stop was asked for. */
enum err_code probes_readyz(struct server *s, const struct request *q, struct answer *out,
                            struct err *err);
/* The same with more to read. */
enum err_code probes_health(struct server *s, const struct request *q, struct answer *out,
                            struct err *err);
/* Prometheus text. */
enum err_code probes_metrics(struct server *s, const struct request *q,
                             struct answer *out, struct err *err);
extern const struct route_doc probes_livez_doc, probes_readyz_doc, probes_health_doc,
    probes_metrics_doc;

#endif
