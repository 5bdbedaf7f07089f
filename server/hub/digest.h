/* Digest: checks bytes against the hash that names them on the hub. Large files are named
 * by their SHA-256; small ones as git names a blob, by the SHA-1 of a line with their
 * size and their bytes. One owner. */
#ifndef SERVER_HUB_DIGEST_H
#define SERVER_HUB_DIGEST_H

#include "model/seq.h"
#include "server/hub/cache.h"

#include <stdbool.h>
#include <stdint.h>

struct digest {
    void *state; /* gnutls's; NULL: not begun */
    char want[CACHE_ETAG_BYTES];
    bool failed;
};

/* True for the 64 or 40 lower-case hexadecimal digits of either hash. */
bool digest_is_known(const char *etag);

/* Starts (again) for a file of `size` bytes named by `etag`. ERR_NOMEM, ERR_UNSUPPORTED
 * for an etag that is no hash. */
enum err_code digest_begin(struct digest *d, const char *etag, int64_t size,
                           struct err *err) MUST_CHECK;
void digest_add(struct digest *d, const void *bytes, size_t n);
/* Compares, and frees what was begun. */
bool digest_matches(struct digest *d);
void digest_done(struct digest *d); /* a zeroed struct is fine */

#endif
