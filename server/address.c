#include "server/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct sockaddr_in *v4(const struct address *a)
{
    return (struct sockaddr_in *)&a->at;
}

static struct sockaddr_in6 *v6(const struct address *a)
{
    return (struct sockaddr_in6 *)&a->at;
}

enum err_code address_parse(const char *host, uint16_t port, struct address *out,
                            struct err *err)
{
    char name[INET6_ADDRSTRLEN + 2];
    struct address a = {0};
    size_t n = strlen(host);
    bool bracket = n > 2 && host[0] == '[' && host[n - 1] == ']';
    snprintf(name, sizeof name, "%.*s", (int)(bracket ? n - 2 : n), host + bracket);
    if (strcmp(name, "localhost") == 0)
        snprintf(name, sizeof name, "127.0.0.1");
    if (n < sizeof name && inet_pton(AF_INET, name, &v4(&a)->sin_addr) == 1) {
        v4(&a)->sin_family = AF_INET;
        v4(&a)->sin_port = htons(port);
        a.n = sizeof(struct sockaddr_in);
    } else if (n < sizeof name && inet_pton(AF_INET6, name, &v6(&a)->sin6_addr) == 1) {
        v6(&a)->sin6_family = AF_INET6;
        v6(&a)->sin6_port = htons(port);
        a.n = sizeof(struct sockaddr_in6);
    } else {
        return err_set(
            err, ERR_INPUT,
            "host must be an IPv4 or IPv6 address such as 127.0.0.1, 0.0.0.0 or "
            "::1, not \"%s\"",
            host);
    }
    *out = a;
    return ERR_OK;
}

void address_print(const struct address *a, char out[ADDRESS_BYTES])
{
    char name[INET6_ADDRSTRLEN] = "?";
    bool is_v6 = a->at.ss_family == AF_INET6;
    const void *bytes =
        is_v6 ? (const void *)&v6(a)->sin6_addr : (const void *)&v4(a)->sin_addr;
    inet_ntop(a->at.ss_family, bytes, name, sizeof name);
    snprintf(out, ADDRESS_BYTES, is_v6 ? "[%s]:%u" : "%s:%u", name,
             (unsigned)ntohs(is_v6 ? v6(a)->sin6_port : v4(a)->sin_port));
}

bool address_is_loopback(const struct address *a)
{
    if (a->at.ss_family == AF_INET6)
        return IN6_IS_ADDR_LOOPBACK(&v6(a)->sin6_addr);
    return ntohl(v4(a)->sin_addr.s_addr) >> 24 == 127;
}

static enum err_code open_socket(struct address *a, int fd)
{
    int one = 1, zero = 0;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (a->at.ss_family == AF_INET6) /* :: also serves IPv4 */
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero);
    if (bind(fd, (struct sockaddr *)&a->at, a->n) != 0 || listen(fd, SOMAXCONN) != 0 ||
        getsockname(fd, (struct sockaddr *)&a->at, &a->n) != 0)
        return ERR_IO;
    return ERR_OK;
}

enum err_code address_listen(struct address *a, int *fd, struct err *err)
{
    char name[ADDRESS_BYTES];
    address_print(a, name);
    int s = socket(a->at.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (s < 0 || open_socket(a, s) != ERR_OK) {
        int error = errno;
        if (s >= 0)
            close(s);
        return err_set(err, ERR_IO, "can't listen on %s: %s", name, strerror(error));
    }
    *fd = s;
    return ERR_OK;
}
