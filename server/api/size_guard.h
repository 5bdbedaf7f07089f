/* Size_guard: an inspection whose reply would be too large is refused once its tokens are
 * known and before anything is computed; the error says what is needed, what goes and
 * what to change. Pure; any thread. */
#ifndef SERVER_API_SIZE_GUARD_H
#define SERVER_API_SIZE_GUARD_H

#include "server/reply.h"

#include <stdbool.h>
#include <stddef.h>

/* As binary, and in memory while they are computed, so many times as many numbers go as
 * in JSON. */
enum { SIZE_GUARD_BINARY = 16 };

struct size_guard {
    struct reply *reply; /* becomes the error */
    const char *param;   /* the field to change first */
    size_t json;         /* that many go, --attention-max-values */
    const char *things;  /* what is counted, NULL: numbers */
    const char *option;  /* that sets the limit, if it is another one */
};

/* True, and the reply says so, if more than `times` times the limit is needed. `what`
 * begins the message: "the maps have". */
bool size_guard_refuses(const struct size_guard *g, size_t needed, size_t times,
                        const char *what, const char *hint);

#endif
