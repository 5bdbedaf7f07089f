/* Model_list: GET /v1/models and /v1/models/{model}, what is loaded. */
#ifndef SERVER_API_MODEL_LIST_H
#define SERVER_API_MODEL_LIST_H

#include "server/api/openapi.h"
#include "server/route.h"

enum err_code model_list_handle(struct server *s, const struct request *q,
                                struct answer *out, struct err *err);
enum err_code model_list_one_handle(struct server *s, const struct request *q,
                                    struct answer *out, struct err *err);
extern const struct route_doc model_list_doc, model_list_one_doc;

#endif
