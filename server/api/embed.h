/* Embed: Hugging Face's form of vectors of texts. */
#ifndef SERVER_API_EMBED_H
#define SERVER_API_EMBED_H

#include "server/api/openapi.h"
#include "server/models.h"
#include "server/route.h"

/* POST /embed, as text-embeddings-inference has it. */
enum err_code embed_handle(struct server *s, const struct request *q, struct answer *out,
                           struct err *err);
extern const struct route_doc embed_doc;

/* The same bodies asked of one model, whose own way of normalising is the default: the
 * pipeline feature-extraction. */
enum err_code embed_texts(struct server *s, const struct request *q,
                          const struct model *m, struct answer *out,
                          struct err *err) MUST_CHECK;

#endif
