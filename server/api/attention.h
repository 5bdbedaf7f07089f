/* Attention: POST /v1/attention, the attention maps of one text with its tokens.
 *
 * Maps are captured layer by layer and turned into text at once: memory holds the floats
 * of one layer and the text of the chosen ones, never a tree. */
#ifndef SERVER_API_ATTENTION_H
#define SERVER_API_ATTENTION_H

#include "server/api/openapi.h"
#include "server/route.h"

enum err_code attention_handle(struct server *s, const struct request *q,
                               struct answer *out, struct err *err);
extern const struct route_doc attention_doc;

#endif
