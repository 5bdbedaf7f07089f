/* Http: sockets in, replies out. The only file that knows libmicrohttpd.
 *
 * A few threads each run an own MHD daemon on one shared listening socket, with an own
 * wait loop around MHD_run. They read and check requests, call handlers, hand jobs to the
 * scheduler, and write replies. They never compute. */
#ifndef SERVER_HTTP_H
#define SERVER_HTTP_H

#include "model/seq.h"
#include "server/server.h"

#include <stdbool.h>
#include <stdint.h>

struct http;

/* Binds, starts the threads and the timer. Requests arrive from now on. */
enum err_code http_start(struct server *s, struct http **out, struct err *err) MUST_CHECK;
/* "127.0.0.1:8080", the port as it really is. */
const char *http_address(const struct http *h);

/* Takes no connection any more; what is connected is still served, each reply closing its
 * connection. */
void http_quiesce(struct http *h);
/* Waits until no request is being read, computed or answered. False if that took longer.
 */
bool http_drain(struct http *h, uint64_t timeout_us);
/* Ends everything. The scheduler has finished all jobs before. NULL is fine. */
void http_stop(struct http *h);

#endif
