/* Sessions: POST /v1/sessions and what is below it: sequences of a language model that
 * are kept from request to request. The store is server/sessions.h. */
#ifndef SERVER_API_SESSIONS_H
#define SERVER_API_SESSIONS_H

#include "server/api/openapi.h"
#include "server/route.h"

enum err_code sessions_create(struct server *s, const struct request *q,
                              struct answer *out, struct err *err);
enum err_code sessions_get(struct server *s, const struct request *q, struct answer *out,
                           struct err *err);
enum err_code sessions_delete(struct server *s, const struct request *q,
                              struct answer *out, struct err *err);
enum err_code sessions_step(struct server *s, const struct request *q, struct answer *out,
                            struct err *err);
enum err_code sessions_fork(struct server *s, const struct request *q, struct answer *out,
                            struct err *err);
extern const struct route_doc sessions_create_doc, sessions_get_doc, sessions_delete_doc,
    sessions_step_doc, sessions_fork_doc;

#endif
