#include "server/router.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Compares segment by segment; {} takes one that is not empty. */
static bool matches(const char *pattern, const char *path, struct route_arg *args)
{
    size_t n_args = 0;
    while (*pattern && *path) {
        if (*pattern == '{') {
            size_t n = strcspn(path, "/");
            if (n == 0 || n_args == ROUTE_ARGS)
                return false;
            args[n_args++] = (struct route_arg){path, n};
            path += n;
            pattern += strcspn(pattern, "}") + 1;
        } else if (*pattern++ != *path++) {
            return false;
        }
    }
    return !*pattern && !*path;
}

static void allow(struct router_match *m, const char *method)
{
    size_t n = strlen(m->allow);
    snprintf(m->allow + n, sizeof m->allow - n, "%s%s", n ? ", " : "", method);
    if (strcmp(method, "GET") == 0)
        allow(m, "HEAD");
}

void router_find(const struct route *routes, size_t n, const char *method,
                 const char *path, struct router_match *out)
{
    struct route_arg args[ROUTE_ARGS] = {{0}};
    const char *wanted = strcmp(method, "HEAD") == 0 ? "GET" : method;
    *out = (struct router_match){0};
    for (size_t i = 0; i < n; i++) {
        if (!matches(routes[i].path, path, args))
            continue;
        allow(out, routes[i].method);
        if (!out->route && strcmp(routes[i].method, wanted) == 0) {
            out->route = &routes[i];
            memcpy(out->args, args, sizeof args);
        }
    }
    if (out->allow[0])
        allow(out, "OPTIONS");
}
