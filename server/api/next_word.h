/* Next_word: POST /v1/next-word, the likeliest words or tokens behind each text. */
#ifndef SERVER_API_NEXT_WORD_H
#define SERVER_API_NEXT_WORD_H

#include "server/api/openapi.h"
#include "server/route.h"

enum err_code next_word_handle(struct server *s, const struct request *q,
                               struct answer *out, struct err *err);
extern const struct route_doc next_word_doc;

#endif
