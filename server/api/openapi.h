/* Openapi: what the routes take and give, as tables, and the document made of them.
 *
 * Each route with a summary has a struct route_doc beside its handler. The request part
 * is the very table that json_read uses; the reply part is checked by a test against real
 * replies. So openapi.json can't say what the code doesn't do. Constant data; any thread.
 */
#ifndef SERVER_API_OPENAPI_H
#define SERVER_API_OPENAPI_H

#include "server/json_read.h"
#include "server/route.h"

#include <stdbool.h>
#include <stddef.h>

enum doc_type {
    DOC_OBJECT, /* with the members `of` */
    DOC_STRING,
    DOC_INTEGER,
    DOC_NUMBER,
    DOC_BOOLEAN,
    DOC_LIST,         /* of objects with the members `of` */
    DOC_LISTS,        /* list of lists of such objects */
    DOC_TABLE,        /* list of lists of lists of such objects */
    DOC_STRINGS,      /* list of strings */
    DOC_INTEGERS,     /* list of integers */
    DOC_NUMBERS,      /* list of numbers or null */
    DOC_NUMBER_LISTS, /* list of lists of numbers */
    DOC_VECTOR,       /* list of numbers, or a string that has them as base64 */
    DOC_SCORES,       /* object of numbers, one per label */
    DOC_SCORE_LIST,   /* list of such objects or null */
    DOC_RANGES,       /* object of lists of numbers or null, or null, one per name */
    DOC_ANY_LIST,     /* list of whatever a datatype beside it says */
    DOC_ARRAY,        /* nested lists of numbers; axes and shape say how deep */
    DOC_ANY           /* anything */
};

/* One member of a reply's object. */
struct doc_shape {
    const char *name; /* NULL ends a list of members */
    enum doc_type type;
    bool optional; /* not in every reply */
    bool nullable;
    const struct doc_shape *of;
    const char *help;
};

/* One form of a route: what a dialect asks and gets. Most routes have one. */
struct route_doc {
    const char *name;                /* of the operation and its schemas: "sentiment" */
    const struct json_field *fields; /* [n_fields] the body; NULL: no JSON is read */
    size_t n_fields;
    const char *const *one_of; /* NULL-terminated: exactly one of these fields is given */
    bool or_none;              /* or none of them */
    enum doc_type reply_type;  /* of the whole reply; an object if not said */
    const struct doc_shape *reply; /* its members, or those of its lists' objects; NULL:
                                      none, of an object any */
    const char *const *media;      /* NULL-terminated: other media types of replies,
                                      without JSON if there is no `reply` */
    const struct doc_shape *event; /* the reply may also come as events; NULL: never */
    const char *event_end;         /* what the last one says in place of JSON, or NULL */
    const char *example, *answer;  /* of the body and of the reply to it, as JSON */
    const char *example_model;     /* of the path, for the example; NULL: it has none */
    const char *more;              /* text below the summary; NULL = none */
    /* What the reply names: at the JSON pointer `names_at` stands what other paths want
     * in place of their {names}. NULL: nothing. */
    const char *names, *names_at;
    /* The next form of a path that several dialects share, or NULL. One without fields is
     * another shape of the reply to the same bodies: a list for a list, say. */
    const struct route_doc *other;
    enum dialect dialect; /* of errors; only where this is an `other`, else the route's */
};

/* GET /openapi.json */
enum err_code openapi_handle(struct server *s, const struct request *q,
                             struct answer *out, struct err *err);
extern const struct route_doc openapi_doc;

#endif
