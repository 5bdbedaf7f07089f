/* Attention: POST /v1/attention, the attention maps of one text with its tokens.
 *
 * The request is read here (attention_request.h), planned once its tokens are known
 * (map_plan.h) and refused then if it is too large; the pass fills a capture
 * (capture.h), and attention_reply.h writes the answer. */
#ifndef SERVER_API_ATTENTION_H
#define SERVER_API_ATTENTION_H

#include "server/api/openapi.h"
#include "server/route.h"

enum err_code attention_handle(struct server *s, const struct request *q,
                               struct answer *out, struct err *err);
extern const struct route_doc attention_doc; /* in attention_request.c, with its table */

#endif
