/* Address: numbers only, IPv4 and IPv6; no name is ever looked up (a static binary
 * can't). */
#ifndef SERVER_ADDRESS_H
#define SERVER_ADDRESS_H

#include "model/seq.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct address {
    struct sockaddr_storage at;
    socklen_t n;
};

enum { ADDRESS_BYTES = 64 };

/* host: "127.0.0.1", "::1", "[::1]" or "localhost" (127.0.0.1). ERR_INPUT. */
enum err_code address_parse(const char *host, uint16_t port, struct address *out,
                            struct err *err) MUST_CHECK;
/* "127.0.0.1:8080", "[::1]:8080". */
void address_print(const struct address *a, char out[ADDRESS_BYTES]);
bool address_is_loopback(const struct address *a);

/* A listening, non-blocking socket; *a becomes what it is really bound to. ERR_IO. */
enum err_code address_listen(struct address *a, int *fd, struct err *err) MUST_CHECK;

#endif
