/* Transfer: requests to the hub over libcurl. Redirects are followed here, hop by hop:
 * the token goes to the hub's own origin (scheme, host and port) and nowhere else, and
 * what the hub says about a file is believed from that origin only. One thread. */
#ifndef SERVER_HUB_TRANSFER_H
#define SERVER_HUB_TRANSFER_H

#include "model/seq.h"
#include "server/buf.h"
#include "server/hub/repo.h"
#include "server/hub/settings.h"

#include <stdbool.h>
#include <stdint.h>

struct transfer;

/* Borrows settings until transfer_free. retries: how often a request that was cut, or
 * refused for the moment, is tried again. */
enum err_code transfer_new(const struct settings *settings, unsigned retries,
                           struct transfer **out, struct err *err) MUST_CHECK;
void transfer_free(struct transfer *t); /* NULL is fine */

/* What the hub said. Strings are "" and numbers -1 where it said nothing. */
struct transfer_reply {
    long status; /* 0: no answer */
    bool cut;    /* the network failed; the same request may succeed later */
    int64_t length, linked_length; /* Content-Length, X-Linked-Size */
    int64_t range_start;           /* of Content-Range */
    int64_t retry_after_s;
    char etag[128], linked_etag[128];
    char commit[REPO_COMMIT_BYTES];
    char error_code[48], error_message[200];
};

/* Takes n bytes of a 200's or 206's body; an error ends the transfer. */
typedef enum err_code (*transfer_sink)(void *arg, const struct transfer_reply *reply,
                                       const char *bytes, size_t n, struct err *err);

/* One GET of the bytes from `from` on, redirects followed. ERR_OK: there is an answer, of
 * any status. ERR_IO: there is none, or it broke off (reply->cut tells whether another
 * try may help); the message says why. Else the sink's error. */
enum err_code transfer_get(struct transfer *t, const char *url, int64_t from,
                           transfer_sink sink, void *arg, struct transfer_reply *reply,
                           struct err *err) MUST_CHECK;

/* A whole answer of at most `limit` bytes into body, with retries. */
enum err_code transfer_text(struct transfer *t, const char *url, size_t limit,
                            struct buf *body, struct transfer_reply *reply,
                            struct err *err) MUST_CHECK;

/* HEAD: what the hub says of a file, with retries. A redirect to elsewhere is an answer.
 */
enum err_code transfer_head(struct transfer *t, const char *url,
                            struct transfer_reply *reply, struct err *err) MUST_CHECK;

/* After a failed or refused try: waits and returns true if another one may help and
 * *tries are not used up. */
bool transfer_again(const struct transfer *t, const struct transfer_reply *reply,
                    unsigned *tries);

#endif
