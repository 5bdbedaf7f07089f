/* Oip_infer: POST /v2/models/{model}[/versions/{version}]/infer, the Open Inference
 * Protocol's way to ask for what /v1/sentiment and /v1/next-word tell; its jobs share
 * batches with theirs. */
#ifndef SERVER_API_OIP_INFER_H
#define SERVER_API_OIP_INFER_H

#include "server/api/openapi.h"
#include "server/route.h"

enum err_code oip_infer_handle(struct server *s, const struct request *q,
                               struct answer *out, struct err *err);
extern const struct route_doc oip_infer_doc;

#endif
