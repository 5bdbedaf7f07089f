/* Openapi_reply: the schemas of replies, of events and of every dialect's errors. Any
 * thread. */
#ifndef SERVER_API_OPENAPI_REPLY_H
#define SERVER_API_OPENAPI_REPLY_H

#include "server/api/openapi.h"
#include "server/json_write.h"

/* The members NAME_reply and NAME_event of the open object, as far as doc has them. */
void openapi_reply_schemas(struct json_writer *w, const struct route_doc *doc);

/* The members of the open object for the errors of all dialects. */
void openapi_reply_errors(struct json_writer *w);

/* The name of the schema of that dialect's errors. */
const char *openapi_reply_error(enum dialect d);

/* Whether replies to this have a schema NAME_reply. */
bool openapi_reply_is_known(const struct route_doc *doc);

#endif
