#include "server/api/size_guard.h"

#include <stdint.h>
#include <stdio.h>

#include "server/errors.h"

bool size_guard_refuses(const struct size_guard *g, size_t needed, size_t times,
                        const char *what, const char *hint)
{
    char message[200];
    size_t limit = g->json > SIZE_MAX / times ? SIZE_MAX : times * g->json;
    if (needed <= limit)
        return false;
    snprintf(message, sizeof message, "%s %zu %s, at most %zu go (%s)", what, needed,
             g->things ? g->things : "numbers", limit,
             g->option ? g->option : "--attention-max-values");
    const struct problem_detail details[] = {
        {"needed_values", NULL, needed}, {"limit", NULL, limit}, {"hint", hint, 0}};
    reply_problem_details(g->reply, PROBLEM_LIMIT, g->param, message, details, 3);
    return true;
}
