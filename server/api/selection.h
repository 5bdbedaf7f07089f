/* Selection: which of n things a request wants: "all", "last", or a list of indexes where
 * negative ones count from the end, or of names. Keeps the request's order. One owner. */
#ifndef SERVER_API_SELECTION_H
#define SERVER_API_SELECTION_H

#include "server/json_read.h"
#include "server/json_write.h"

#include <stddef.h>

enum { SELECTION_NONE = -1 };

struct selection {
    size_t n;    /* how many are chosen */
    size_t *at;  /* [n] their indexes, in the order asked for */
    long *place; /* [total] where in `at` an index stands, or SELECTION_NONE */
};

/* What `wanted` (not given: all) means for `total` things. ERR_INPUT names the element of
 * `field` that is out of range or given twice; ERR_NOMEM. */
enum err_code selection_init(struct selection *s, const char *field,
                             const struct json_ints *wanted, size_t total,
                             struct err *err) MUST_CHECK;
/* The same of things with names; "all" stands for all of them. ERR_INPUT lists those
 * known. */
enum err_code selection_names(struct selection *s, const char *field,
                              const struct json_texts *wanted, const char *const *names,
                              size_t total, struct err *err) MUST_CHECK;
void selection_done(struct selection *s);

/* A member of a reply: the indexes chosen. */
void selection_write(struct json_writer *w, const char *key, const struct selection *s);

#endif
