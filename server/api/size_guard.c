#include "server/api/size_guard.h"

#include <stdint.h>
#include <stdio.h>

#include "server/errors.h"

bool size_guard_refuses(const struct size_guard *g, size_t needed, size_t times,
                        const char *what, const char *hint)
{
    char message[160];
    size_t limit = g->json > SIZE_MAX / times ? SIZE_MAX : times * g->json;
    if (needed <= limit)
        return false;
    snprintf(message, sizeof message,
             "%s %zu numbers, at most %zu go (--attention-max-values)", what, needed,
             limit);
    const struct problem_detail details[] = {
        {"needed_values", NULL, needed}, {"limit", NULL, limit}, {"hint", hint, 0}};
    reply_problem_details(g->reply, PROBLEM_LIMIT, g->param, message, details, 3);
    return true;
}
