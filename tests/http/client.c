#include "tests/http/client.h"

#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { TIMEOUT_MS = 30000 };

void client_open(struct client *c, unsigned port)
{
    *c = (struct client){.fd = socket(AF_INET, SOCK_STREAM, 0)};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ck_assert_int_eq(connect(c->fd, (struct sockaddr *)&to, sizeof to), 0);
    int one = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

void client_close(struct client *c)
{
    if (c->fd >= 0)
        close(c->fd);
    free(c->rest);
    *c = (struct client){.fd = -1};
}

bool client_send(struct client *c, const char *bytes, size_t n)
{
    while (n) {
        ssize_t sent = send(c->fd, bytes, n, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        bytes += sent;
        n -= (size_t)sent;
    }
    return true;
}

bool client_sendf(struct client *c, const char *fmt, ...)
{
    char *text;
    va_list args;
    va_start(args, fmt);
    int n = vasprintf(&text, fmt, args);
    va_end(args);
    ck_assert_int_ge(n, 0);
    bool sent = client_send(c, text, (size_t)n);
    free(text);
    return sent;
}

/* Appends what the server sends next to c->rest; false at the end or after the time. */
static bool read_more(struct client *c, int timeout_ms)
{
    struct pollfd p = {.fd = c->fd, .events = POLLIN};
    if (poll(&p, 1, timeout_ms) != 1)
        return false;
    c->rest = realloc(c->rest, c->rest_n + 65537);
    ck_assert_ptr_nonnull(c->rest);
    ssize_t some = read(c->fd, c->rest + c->rest_n, 65536);
    if (some <= 0)
        return false;
    c->rest_n += (size_t)some;
    c->rest[c->rest_n] = '\0';
    return true;
}

/* Takes n bytes from the front of c->rest as a zero-terminated copy. */
static char *take(struct client *c, size_t n)
{
    ck_assert(n <= c->rest_n && n < SIZE_MAX);
    char *copy = malloc(n + 1);
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, c->rest, n);
    copy[n] = '\0';
    memmove(c->rest, c->rest + n, c->rest_n - n + 1);
    c->rest_n -= n;
    return copy;
}

static bool read_head(struct client *c, struct reply *r, int timeout_ms)
{
    char *end;
    while (!c->rest_n || !(end = strstr(c->rest, "\r\n\r\n")))
        if (!read_more(c, timeout_ms))
            return false;
    r->head = take(c, (size_t)(end + 4 - c->rest));
    int status = 0;
    bool parsed = sscanf(r->head, "HTTP/1.%*1[01] %d", &status) == 1;
    r->status = status;
    return parsed;
}

static bool read_chunks(struct client *c, struct reply *r, int timeout_ms)
{
    size_t cap = 1;
    r->body = calloc(cap, 1);
    for (;;) {
        char *line;
        while (!c->rest_n || !(line = strstr(c->rest, "\r\n")))
            if (!read_more(c, timeout_ms))
                return false;
        size_t n = strtoul(c->rest, NULL, 16);
        free(take(c, (size_t)(line + 2 - c->rest)));
        while (c->rest_n < n + 2)
            if (!read_more(c, timeout_ms))
                return false;
        char *chunk = take(c, n + 2);
        if (r->body_n + n + 1 > cap) { /* streams have very many chunks */
            cap = 2 * (r->body_n + n + 1);
            r->body = realloc(r->body, cap);
            ck_assert_ptr_nonnull(r->body);
        }
        memcpy(r->body + r->body_n, chunk, n);
        r->body_n += n;
        r->body[r->body_n] = '\0';
        free(chunk);
        if (n == 0)
            return true;
    }
}

void client_read(struct client *c, struct reply *r, bool head_only, int timeout_ms)
{
    *r = (struct reply){0};
    if (!read_head(c, r, timeout_ms)) {
        r->status = 0;
        return;
    }
    if (r->status == 100) { /* the next one is the answer */
        free(r->head);
        client_read(c, r, head_only, timeout_ms);
        return;
    }
    if (head_only || r->status == 204) {
        r->body = calloc(1, 1);
        return;
    }
    if (strcasecmp(reply_header(r, "Transfer-Encoding"), "chunked") == 0) {
        r->status = read_chunks(c, r, timeout_ms) ? r->status : 0;
        return;
    }
    const char *length = reply_header(r, "Content-Length");
    size_t n = *length ? strtoul(length, NULL, 10) : (size_t)-1;
    while (c->rest_n < n && read_more(c, timeout_ms))
        ;
    if (n != (size_t)-1 && c->rest_n < n) {
        r->status = 0;
        return;
    }
    r->body_n = n == (size_t)-1 ? c->rest_n : n;
    r->body = r->body_n ? take(c, r->body_n) : calloc(1, 1);
}

bool client_closed(struct client *c, int timeout_ms)
{
    while (read_more(c, timeout_ms))
        ;
    char byte;
    return recv(c->fd, &byte, 1, MSG_DONTWAIT) == 0;
}

void reply_done(struct reply *r)
{
    free(r->head);
    free(r->body);
    *r = (struct reply){0};
}

const char *reply_header(const struct reply *r, const char *name)
{
    static _Thread_local char value[1024];
    size_t n = strlen(name);
    value[0] = '\0';
    for (const char *line = r->head; line && *line; line = strstr(line, "\r\n")) {
        line += line[0] == '\r' ? 2 : 0;
        if (strncasecmp(line, name, n) != 0 || line[n] != ':')
            continue;
        const char *at = line + n + 1, *end = strstr(at, "\r\n");
        at += strspn(at, " ");
        snprintf(value, sizeof value, "%.*s", (int)(end - at), at);
        break;
    }
    return value;
}

json_t *reply_json(const struct reply *r)
{
    json_error_t e;
    json_t *all =
        json_loadb(r->body, r->body_n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &e);
    ck_assert_msg(all != NULL, "%s: %.300s", e.text, r->body);
    return all;
}

void ask(unsigned port, const char *method, const char *path, const char *body,
         struct reply *r)
{
    struct client c;
    client_open(&c, port);
    client_sendf(&c, "%s %s HTTP/1.1\r\nHost: localhost\r\n", method, path);
    if (body)
        client_sendf(&c,
                     "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                     strlen(body), body);
    else
        client_send(&c, "\r\n", 2);
    client_read(&c, r, strcmp(method, "HEAD") == 0, TIMEOUT_MS);
    client_close(&c);
}

json_t *ask_json(unsigned port, const char *method, const char *path, const char *body,
                 int status)
{
    struct reply r;
    ask(port, method, path, body, &r);
    ck_assert_msg(r.status == status, "%s %s %.200s: status %d, expected %d: %.300s",
                  method, path, body ? body : "", r.status, status, r.body ? r.body : "");
    json_t *all = reply_json(&r);
    reply_done(&r);
    return all;
}

const char *error_field(const json_t *body, const char *field)
{
    static _Thread_local char value[600];
    const char *text =
        json_string_value(json_object_get(json_object_get(body, "error"), field));
    snprintf(value, sizeof value, "%s", text ? text : "");
    return value;
}

void client_path(const char *pattern, char *to, size_t cap)
{
    size_t used = 0;
    to[0] = '\0';
    while (*pattern && used < cap) {
        bool named = *pattern == '{';
        size_t n = named ? strcspn(pattern, "}") + 1 : strcspn(pattern, "{");
        const char *name = strncmp(pattern, "{version}", n) == 0 ? "1" : "tiny-bert";
        used +=
            (size_t)snprintf(to + used, cap - used, "%.*s",
                             named ? (int)strlen(name) : (int)n, named ? name : pattern);
        pattern += n;
    }
}
