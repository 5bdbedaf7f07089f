/* Embeddings: OpenAI's form of vectors of texts. */
#ifndef SERVER_API_EMBEDDINGS_H
#define SERVER_API_EMBEDDINGS_H

#include "server/api/openapi.h"
#include "server/route.h"

/* POST /v1/embeddings */
enum err_code embeddings_handle(struct server *s, const struct request *q,
                                struct answer *out, struct err *err);
extern const struct route_doc embeddings_doc;

#endif
