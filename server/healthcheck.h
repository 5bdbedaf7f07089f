/* Healthcheck: seqd --healthcheck, for containers without curl. */
#ifndef SERVER_HEALTHCHECK_H
#define SERVER_HEALTHCHECK_H

#include "model/seq.h"
#include "server/options.h"

/* Asks GET /readyz at options' host and port (0.0.0.0 and :: mean this machine), for
 * three seconds at most. ERR_OK if the answer is 200. */
enum err_code healthcheck_run(const struct options *o, struct err *err) MUST_CHECK;

#endif
