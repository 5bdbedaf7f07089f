#include "server/router.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Where what {} stands for ends: at the end of the segment, or in front of the verb that
 * the pattern names behind it (":explain"). SIZE_MAX if the segment ends otherwise. */
static size_t arg_length(const char *rest, const char *path)
{
    size_t segment = strcspn(path, "/"), verb = strcspn(rest, "/");
    if (segment < verb || memcmp(path + segment - verb, rest, verb) != 0)
        return SIZE_MAX;
    return segment - verb;
}

/* Compares segment by segment; {} takes what is not empty. Returns how many bytes these
 * took, SIZE_MAX if the path is another one. */
static size_t match(const char *pattern, const char *path, struct route_arg *args)
{
    size_t n_args = 0, bytes = 0;
    while (*pattern && *path) {
        if (*pattern == '{') {
            pattern += strcspn(pattern, "}") + 1;
            size_t n = arg_length(pattern, path);
            if (n == 0 || n == SIZE_MAX || n_args == ROUTE_ARGS)
                return SIZE_MAX;
            args[n_args++] = (struct route_arg){path, n};
            path += n;
            bytes += n;
        } else if (*pattern++ != *path++) {
            return SIZE_MAX;
        }
    }
    return *pattern || *path ? SIZE_MAX : bytes;
}

static void allow(struct router_match *m, const char *method)
{
    size_t n = strlen(m->allow);
    snprintf(m->allow + n, sizeof m->allow - n, "%s%s", n ? ", " : "", method);
    if (strcmp(method, "GET") == 0)
        allow(m, "HEAD");
}

/* Version 2 of KServe's protocol has /v2 for itself. */
static enum dialect of_unknown(const char *path)
{
    bool v2 = strncmp(path, "/v2", 3) == 0 && (path[3] == '/' || path[3] == '\0');
    return v2 ? DIALECT_OIP : DIALECT_SEQD;
}

void router_find(const struct route *routes, size_t n, const char *method,
                 const char *path, struct router_match *out)
{
    struct route_arg args[ROUTE_ARGS] = {{0}};
    const char *wanted = strcmp(method, "HEAD") == 0 ? "GET" : method;
    size_t least = SIZE_MAX;
    *out = (struct router_match){.dialect = of_unknown(path)};
    for (size_t i = 0; i < n; i++) {
        size_t bytes = match(routes[i].path, path, args);
        if (bytes == SIZE_MAX || bytes > least)
            continue;
        if (bytes < least)
            *out = (struct router_match){0};
        least = bytes;
        out->dialect = routes[i].dialect;
        allow(out, routes[i].method);
        if (!out->route && strcmp(routes[i].method, wanted) == 0) {
            out->route = &routes[i];
            memcpy(out->args, args, sizeof args);
        }
    }
    if (out->allow[0])
        allow(out, "OPTIONS");
}
