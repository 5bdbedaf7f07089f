/* Info: what clients of other servers ask about this one before they use it. */
#ifndef SERVER_API_INFO_H
#define SERVER_API_INFO_H

#include "server/api/openapi.h"
#include "server/route.h"

/* GET /info, as text-embeddings-inference and text-generation-inference have it. */
enum err_code info_handle(struct server *s, const struct request *q, struct answer *out,
                          struct err *err);
extern const struct route_doc info_doc;

/* GET /version, as vLLM has it. */
enum err_code info_version(struct server *s, const struct request *q, struct answer *out,
                           struct err *err);
extern const struct route_doc info_version_doc;

#endif
