/* Importance: POST /v1/importance. */
#ifndef SERVER_API_IMPORTANCE_H
#define SERVER_API_IMPORTANCE_H

#include "server/api/openapi.h"
#include "server/route.h"

enum err_code importance_handle(struct server *s, const struct request *q,
                                struct answer *out, struct err *err);
extern const struct route_doc importance_doc;

#endif
