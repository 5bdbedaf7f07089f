/* Gzip: replies made smaller for clients who ask for it (RFC 9110, 8.4; RFC 1952). Any
 * thread. */
#ifndef SERVER_GZIP_H
#define SERVER_GZIP_H

#include "server/reply.h"

#include <stdbool.h>

/* Whether a value of Accept-Encoding takes gzip; NULL: there is none. */
bool gzip_accepted(const char *value);

/* Packs text and JSON of at least 1 KiB, if they become smaller by it, and says so in the
 * headers; leaves all else as it is. Takes about 10 ms of CPU per MiB. */
void gzip_reply(struct reply *r);

#endif
