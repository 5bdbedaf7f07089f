#include "server/commands/lines.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

enum { PIECE_BYTES = 1 << 17 };
static const size_t LINE_BYTES = (size_t)1 << 30;

/* Room for one more piece behind what is there, which moves to the front. */
static enum err_code make_room(struct lines *l, struct err *err)
{
    size_t n = l->end - l->begin;
    if (n > LINE_BYTES)
        return err_set(err, ERR_LIMIT, "the line has more than %zu bytes", LINE_BYTES);
    if (l->begin) {
        memmove(l->at, l->at + l->begin, n);
        l->begin = 0;
        l->end = n;
    }
    if (l->cap - n >= PIECE_BYTES)
        return ERR_OK;
    size_t cap = 2 * l->cap > n + PIECE_BYTES ? 2 * l->cap : n + PIECE_BYTES;
    char *at = mem_resize(l->at, cap, 1);
    if (!at)
        return err_set(err, ERR_NOMEM, "out of memory for a line of %zu bytes", n);
    l->at = at;
    l->cap = cap;
    return ERR_OK;
}

static enum err_code fill(struct lines *l, struct err *err)
{
    struct pollfd p = {.fd = l->fd, .events = POLLIN};
    enum err_code code = make_room(l, err);
    if (code == ERR_OK && l->before_waiting && poll(&p, 1, 0) == 0)
        code = l->before_waiting(l->arg, err);
    if (code != ERR_OK)
        return code;
    ssize_t n;
    do
        n = read(l->fd, l->at + l->end, PIECE_BYTES);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return err_set(err, ERR_IO, "cannot be read: %s", strerror(errno));
    l->ended = n == 0;
    l->end += (size_t)n;
    return ERR_OK;
}

enum err_code lines_next(struct lines *l, const char **out, size_t *n, struct err *err)
{
    size_t seen = 0; /* bytes behind begin without a newline */
    l->number++;
    for (;;) {
        size_t here = l->end - l->begin;
        const char *start = l->at + l->begin;
        const char *newline =
            here > seen ? memchr(start + seen, '\n', here - seen) : NULL;
        if (newline || l->ended) {
            *n = newline ? (size_t)(newline - start) : here;
            *out = newline || here ? start : NULL;
            l->begin += *n + (newline != NULL);
            return ERR_OK;
        }
        seen = here;
        enum err_code code = fill(l, err);
        if (code != ERR_OK)
            return code;
    }
}

void lines_done(struct lines *l)
{
    mem_free(l->at);
    *l = (struct lines){0};
}
