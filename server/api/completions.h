/* Completions: POST /v1/completions, texts continued as OpenAI's clients ask for it. */
#ifndef SERVER_API_COMPLETIONS_H
#define SERVER_API_COMPLETIONS_H

#include "server/api/openapi.h"
#include "server/route.h"

enum err_code completions_handle(struct server *s, const struct request *q,
                                 struct answer *out, struct err *err);
extern const struct route_doc completions_doc;

#endif
