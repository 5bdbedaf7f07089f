/* Embed: the files of the page, compiled into the binary. Constant data; any thread. */
#ifndef SERVER_WEB_EMBED_H
#define SERVER_WEB_EMBED_H

#include <stddef.h>

struct embed_file {
    const char *name; /* "app.js" */
    const char *type; /* Content-Type */
    const char *at;   /* [n] */
    size_t n;
    const char *etag; /* of the bytes, quoted; weak: they may go out packed */
};

/* By name, NULL if there is none. */
const struct embed_file *embed_find(const char *name, size_t n);

/* All of them. */
const struct embed_file *embed_list(size_t *n);

#endif
