/* Requests over keep-alive connections to a daemon on 127.0.0.1, one on its way in each.
 */
#ifndef SEQ_BENCH_LOAD_H
#define SEQ_BENCH_LOAD_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { LOAD_REPLY_BYTES = 65536 };

struct request {
    char *bytes; /* free() */
    size_t n;
};

struct connection {
    int fd;
    size_t n;
    char reply[LOAD_REPLY_BYTES];
};

/* POST of a text of so many words, none of which a tokenizer has to take apart; `rest`:
 * what stands behind the text, from its comma on. */
static inline struct request request_new(const char *path, const char *rest, size_t words)
{
    static const char *const text[] = {"this", "is", "one", "of", "the", "best"};
    struct request r = {0};
    char *bytes = NULL;
    size_t n = 0;
    FILE *body = open_memstream(&bytes, &n);
    fputs("{\"text\":\"", body);
    for (size_t i = 0; i < words; i++)
        fprintf(body, "%s%s", i ? " " : "", text[i % (sizeof text / sizeof *text)]);
    fprintf(body, "\"%s}", rest);
    fclose(body);
    FILE *all = open_memstream(&r.bytes, &r.n);
    fprintf(all,
            "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            "Content-Length: %zu\r\n\r\n%s",
            path, n, bytes);
    fclose(all);
    free(bytes);
    return r;
}

static inline bool dial(struct connection *c, unsigned port)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return c->fd >= 0 && connect(c->fd, (struct sockaddr *)&to, sizeof to) == 0;
}

static inline bool post(struct connection *c, const struct request *r)
{
    c->n = 0;
    return send(c->fd, r->bytes, r->n, MSG_NOSIGNAL) == (ssize_t)r->n;
}

/* 1: the whole reply is there, 0: not yet, -1: it is no 200, or the connection broke. */
static inline int collect(struct connection *c)
{
    ssize_t got = recv(c->fd, c->reply + c->n, LOAD_REPLY_BYTES - 1 - c->n, MSG_DONTWAIT);
    if (got <= 0)
        return got < 0 && errno == EAGAIN ? 0 : -1;
    c->n += (size_t)got;
    c->reply[c->n] = '\0';
    const char *end = strstr(c->reply, "\r\n\r\n");
    const char *length = strstr(c->reply, "Content-Length: ");
    if (!end || !length)
        return 0;
    if (strncmp(c->reply, "HTTP/1.1 200", 12) != 0)
        return -1;
    return c->n >= (size_t)(end + 4 - c->reply) + strtoul(length + 16, NULL, 10);
}

#endif
