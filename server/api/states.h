/* States: POST /v1/states, what a net computes of one text on its way: gates and states
 * of recurrent nets, hidden rows of transformers, and what the output layer would say of
 * each of them.
 *
 * The request is read here (states_request.h), planned once its tokens are known
 * (states_plan.h) and refused then if it is too large; the pass fills a capture
 * (states_capture.h), and states_reply.h writes the answer. */
#ifndef SERVER_API_STATES_H
#define SERVER_API_STATES_H

#include "server/api/openapi.h"
#include "server/route.h"

enum err_code states_handle(struct server *s, const struct request *q, struct answer *out,
                            struct err *err);
extern const struct route_doc states_doc; /* in states_request.c, with its table */

#endif
