/* Blob: one file of the hub into blobs/ETAG of the cache. It grows as ETAG.incomplete, is
 * checked against its size and hash, and gets its name in one step: what has the name is
 * whole. A cut connection is taken up again where it broke, now and in a later run. The
 * lock of the blob keeps two downloads (also one of Python's) apart. One thread. */
#ifndef SERVER_HUB_BLOB_H
#define SERVER_HUB_BLOB_H

#include "model/seq.h"
#include "server/hub/cache.h"
#include "server/hub/transfer.h"

#include <stdbool.h>
#include <stdint.h>

struct blob {
    const char *url, *file; /* file: for messages */
    const char *etag;       /* a hash that digest_is_known() */
    int64_t size;
};

/* Bytes still to be downloaded. */
int64_t blob_missing(const struct cache *c, const struct blob *b);

/* Downloads what is missing. *reply is the last answer: if it has a status that is no
 * success, ERR_NOT_FOUND is returned and the caller words the message. */
enum err_code blob_fetch(struct transfer *t, const struct cache *c, const struct blob *b,
                         struct transfer_reply *reply, struct err *err) MUST_CHECK;

#endif
