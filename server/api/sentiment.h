/* Sentiment: POST /v1/sentiment, the scores of a classifier's labels for each text. */
#ifndef SERVER_API_SENTIMENT_H
#define SERVER_API_SENTIMENT_H

#include "server/api/openapi.h"
#include "server/route.h"

enum err_code sentiment_handle(struct server *s, const struct request *q,
                               struct answer *out, struct err *err);
extern const struct route_doc sentiment_doc;

#endif
