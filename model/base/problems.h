/* Problems: where findings go when all of them are wanted, not only the first.
 *
 * A loader that can go on after a failure passes it through problems_take. With NULL
 * instead of a sink that changes nothing: the first failure ends the load. With a sink
 * the failure is told, forgotten, and the loader goes on as if it had not been. What is
 * built then may have holes, so it must be thrown away when `n` is not 0. One thread. */
#ifndef SEQ_BASE_PROBLEMS_H
#define SEQ_BASE_PROBLEMS_H

#include "model/base/err.h"

#include <stddef.h>

struct problems {
    /* message is valid during the call only */
    void (*found)(void *arg, enum err_code code, const char *message);
    void *arg;
    size_t n;         /* found so far */
    struct err first; /* of them */
};

/* `code` is what a step returned, with its message in *err. ERR_OK, NULL and failures
 * that say nothing about the files (ERR_NOMEM, ERR_BUG, ERR_STOPPED) are returned as they
 * are; anything else goes into *p, *err is cleared, and ERR_OK is returned. */
enum err_code problems_take(struct problems *p, enum err_code code,
                            struct err *err) MUST_CHECK;

#endif
