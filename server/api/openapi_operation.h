/* Openapi_operation: one route as an operation of the document: parameters, body, and
 * every status it may answer. Any thread. */
#ifndef SERVER_API_OPENAPI_OPERATION_H
#define SERVER_API_OPENAPI_OPERATION_H

#include "server/json_write.h"
#include "server/route.h"

/* The member "get", "post" or "delete" of the open object, for one of routes[0..n). */
void openapi_operation(struct json_writer *w, const struct route *r,
                       const struct route *routes, size_t n);

#endif
