#include "server/healthcheck.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "server/address.h"

enum { TIMEOUT_S = 3 };

static const char REQUEST[] =
    "GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/* Reads until the status line is there. */
static bool is_ready(int fd)
{
    char text[16] = "";
    size_t n = 0;
    if (send(fd, REQUEST, sizeof REQUEST - 1, MSG_NOSIGNAL) != sizeof REQUEST - 1)
        return false;
    while (n < 12) {
        ssize_t got = recv(fd, text + n, 12 - n, 0);
        if (got <= 0)
            return false;
        n += (size_t)got;
    }
    return strncmp(text, "HTTP/1.1 200", 12) == 0;
}

enum err_code healthcheck_run(const struct options *o, struct err *err)
{
    struct address a;
    char name[ADDRESS_BYTES];
    const char *host = o->host;
    if (o->port == 0)
        return err_set(err, ERR_INPUT, "--healthcheck needs the port");
    if (strcmp(host, "0.0.0.0") == 0)
        host = "127.0.0.1";
    else if (strcmp(host, "::") == 0)
        host = "::1";
    enum err_code code = address_parse(host, (uint16_t)o->port, &a, err);
    if (code != ERR_OK)
        return code;
    address_print(&a, name);
    int fd = socket(a.at.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_set(err, ERR_IO, "socket: %s", strerror(errno));
    struct timeval limit = {.tv_sec = TIMEOUT_S};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit); /* also for connect */
    if (connect(fd, (struct sockaddr *)&a.at, a.n) != 0)
        code = err_set(err, ERR_IO, "%s: %s", name, strerror(errno));
    else if (!is_ready(fd))
        code = err_set(err, ERR_IO, "%s: not ready", name);
    close(fd);
    return code;
}
