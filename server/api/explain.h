/* Explain: POST /v1/models/{model}:explain, the verb of KServe's version 1 protocol, with
 * the names of TorchServe's text explanations. */
#ifndef SERVER_API_EXPLAIN_H
#define SERVER_API_EXPLAIN_H

#include "server/api/openapi.h"
#include "server/route.h"

enum err_code explain_handle(struct server *s, const struct request *q,
                             struct answer *out, struct err *err);
extern const struct route_doc explain_doc;

#endif
