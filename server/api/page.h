/* Page: GET / and /web/{file}, the files of server/web/ that are compiled in. */
#ifndef SERVER_API_PAGE_H
#define SERVER_API_PAGE_H

#include "server/api/openapi.h"
#include "server/route.h"

enum err_code page_handle(struct server *s, const struct request *q, struct answer *out,
                          struct err *err);
enum err_code page_file_handle(struct server *s, const struct request *q,
                               struct answer *out, struct err *err);
extern const struct route_doc page_doc;

#endif
