/* Lines: the lines of a file descriptor, in big pieces. One owner. */
#ifndef SERVER_COMMANDS_LINES_H
#define SERVER_COMMANDS_LINES_H

#include "model/seq.h"

#include <stdbool.h>
#include <stddef.h>

/* A zeroed struct with fd set is at the beginning. */
struct lines {
    int fd;
    size_t number; /* of the line read last, from 1 */
    /* Called before a read that would wait: whoever waits for answers gets them now. */
    enum err_code (*before_waiting)(void *arg, struct err *err);
    void *arg;

    char *at;
    size_t begin, end, cap; /* bytes not handed out yet */
    bool ended;
};

/* The next line without its newline, at *out until the next call; *out is NULL at the
 * end. A last line needs no newline. ERR_IO, ERR_LIMIT for a line of more than 1 GiB,
 * ERR_NOMEM, and what before_waiting returns. */
enum err_code lines_next(struct lines *l, const char **out, size_t *n,
                         struct err *err) MUST_CHECK;
void lines_done(struct lines *l);

#endif
