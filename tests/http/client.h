/* Client: HTTP/1.1 by hand, so that tests can also send what no client would. */
#ifndef TESTS_HTTP_CLIENT_H
#define TESTS_HTTP_CLIENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* A connection and what has been read beyond the last reply. */
struct client {
    int fd;
    char *rest;
    size_t rest_n;
};

struct reply {
    int status; /* 0: the connection closed (or timed out) before a whole reply */
    char *head; /* status line and headers, zero-terminated */
    char *body; /* zero-terminated */
    size_t body_n;
};

void client_open(struct client *c, unsigned port);
void client_close(struct client *c);
bool client_send(struct client *c, const char *bytes, size_t n);
/* Formats and sends. */
bool client_sendf(struct client *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Reads one reply: by Content-Length, by chunks, or to the end. head_only: to a HEAD. */
void client_read(struct client *c, struct reply *r, bool head_only, int timeout_ms);
/* True if the server closes within the time. */
bool client_closed(struct client *c, int timeout_ms);

void reply_done(struct reply *r);
/* Value of a header in a static buffer, "" if absent. */
const char *reply_header(const struct reply *r, const char *name);
/* The body as JSON; fails the test if it is none. The caller decrefs. */
json_t *reply_json(const struct reply *r);

/* One request on a connection of its own. body NULL: none. */
void ask(unsigned port, const char *method, const char *path, const char *body,
         struct reply *r);

/* Asks, checks the status, and returns the JSON body. */
json_t *ask_json(unsigned port, const char *method, const char *path, const char *body,
                 int status);

/* error.{message,type,code,param} of an error reply; "" where null. Static buffer. */
const char *error_field(const json_t *body, const char *field);

/* A path of openapi.json with tiny-bert, version 1, and for the rest something in place
 * of its parameters. */
void client_path(const char *pattern, char *to, size_t cap);

#endif
