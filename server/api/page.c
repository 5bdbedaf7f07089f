#include "server/api/page.h"

#include <string.h>

#include "server/errors.h"
#include "server/web/embed.h"

static const char *const MEDIA[] = {"text/html", NULL};
const struct route_doc page_doc = {.name = "page", .media = MEDIA};

/* The page asks nobody but us, runs nothing but its own files, and nobody frames it. */
static const char POLICY[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: "
    "blob:; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

/* If-None-Match is a list of tags, or *; what is weak of a tag does not count. */
static bool has_tag(const char *list, const char *tag)
{
    return list && (strcmp(list, "*") == 0 || strstr(list, strchr(tag, '"')));
}

static void send_file(const struct embed_file *f, const struct request *q,
                      struct reply *r)
{
    const char *known = q->header ? q->header(q, "If-None-Match") : NULL;
    r->content_type = f->type;
    reply_header(r, "ETag", f->etag);
    reply_header(r, "Cache-Control", "no-cache"); /* keep it, but ask before using it */
    reply_header(r, "Content-Security-Policy", POLICY);
    reply_header(r, "Referrer-Policy", "no-referrer");
    if (has_tag(known, f->etag)) {
        r->status = 304;
        return;
    }
    r->fixed = f->at;
    r->fixed_n = f->n;
}

enum err_code page_handle(struct server *s, const struct request *q, struct answer *out,
                          struct err *err)
{
    (void)s;
    const struct embed_file *f = embed_find("index.html", strlen("index.html"));
    if (!f)
        return err_set(err, ERR_BUG, "index.html is not compiled in");
    send_file(f, q, &out->reply);
    return ERR_OK;
}

enum err_code page_file_handle(struct server *s, const struct request *q,
                               struct answer *out, struct err *err)
{
    (void)s;
    (void)err;
    const struct embed_file *f = embed_find(q->args[0].at, q->args[0].n);
    if (f)
        send_file(f, q, &out->reply);
    else
        reply_problem(&out->reply, out->dialect, PROBLEM_ROUTE, NULL, "no such file");
    return ERR_OK;
}
