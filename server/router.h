/* Router: from a method and a path to a row of the table. Pure; any thread. */
#ifndef SERVER_ROUTER_H
#define SERVER_ROUTER_H

#include "server/route.h"

#include <stddef.h>

enum { ROUTER_ALLOW_BYTES = 64 };

struct router_match {
    const struct route *route; /* NULL: no row has both method and path */
    struct route_arg args[ROUTE_ARGS];
    enum dialect dialect; /* of the path, whatever the method; where there is none, of
                             what its beginning belongs to */
    char allow[ROUTER_ALLOW_BYTES]; /* the path's methods "GET, HEAD, OPTIONS"; "" = no
                                       path */
};

/* The rows whose path has the most in common with this one, so that a verb is no part of
 * a model's name. */
void router_find(const struct route *routes, size_t n, const char *method,
                 const char *path, struct router_match *out);

#endif
