/* Openapi_request: the schemas of bodies, from the very tables that json_read uses. Any
 * thread. */
#ifndef SERVER_API_OPENAPI_REQUEST_H
#define SERVER_API_OPENAPI_REQUEST_H

#include "server/api/openapi.h"
#include "server/json_write.h"

/* The member NAME_request of the open object. */
void openapi_request_schema(struct json_writer *w, const struct route_doc *doc);

#endif
