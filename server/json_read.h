/* Json_read: a request body into a struct, by a table with one row per field.
 *
 * The body is scanned against limits before jansson sees it, parsed, checked against the
 * table and copied out; no jansson tree outlives the call. Refused, with err.param naming
 * the field ("texts[3]"): fields that are not in the table (with the nearest name),
 * fields given twice, wrong types, values out of range, missing required fields. null
 * counts as not given. Any thread.
 *
 * Errors: ERR_FORMAT (400) for bytes that are not the JSON wanted - syntax, UTF-8, depth,
 * duplicate keys, unknown fields, wrong types, missing fields; ERR_INPUT (422) for values
 * of the right type that are not acceptable; ERR_LIMIT (413) for lists longer than `max`;
 * ERR_NOMEM. */
#ifndef SERVER_JSON_READ_H
#define SERVER_JSON_READ_H

#include "model/seq.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a field is, and the type of the member it is stored in. Members keep what the
 * caller put there when the field is not given (zero those that are structs). */
enum json_type {
    JSON_FIELD_TEXT,   /* struct json_text; min..max bytes (max 0 = any) */
    JSON_FIELD_TEXTS,  /* struct json_texts; list of min..max strings */
    JSON_FIELD_INT,    /* int64_t; min..max */
    JSON_FIELD_NUMBER, /* double; min..max */
    JSON_FIELD_BOOL,   /* bool */
    JSON_FIELD_CHOICE, /* int, the index in `choices` */
    JSON_FIELD_INTS,   /* struct json_ints; list of min..max integers, or the word "all";
                          or "last", if the row's choices are JSON_ALL_OR_LAST */
    JSON_FIELD_IDS,    /* struct json_ints; list of min..max integers, no words */
    JSON_FIELD_PAIRS,  /* struct json_ints of twice as many: list of min..max lists of two
                          integers */
    JSON_FIELD_INSTANCES, /* struct json_texts; list of min..max strings, or objects that
                             hold one as "text" */
    JSON_FIELD_TEXT_OR_TEXTS, /* struct json_texts; a string, or a list of min..max */
    JSON_FIELD_PROMPTS, /* struct json_prompts; a string, a list of min..max of them, or
                           lists of token ids in place of strings */
    JSON_FIELD_NUMBER_MAP, /* struct json_number_map; at most `most` numbers min..max by
                              keys that are integers 0..INT32_MAX */
    JSON_FIELD_OBJECT,     /* `members`, in the same struct */
    JSON_FIELD_INTS_OR_OBJECT, /* one or the other; members INT, NUMBER, BOOL and CHOICE
                                  only */
    JSON_FIELD_FLAG,           /* enum json_flag: true, false, or not given */
    JSON_FIELD_LIST, /* struct json_list; min..max objects with `members`, each in a
                        zeroed struct of `element` bytes */
    JSON_FIELD_DATA  /* struct json_data; a list of strings, or lists of lists of them */
};

enum json_flag { JSON_FLAG_UNSAID, JSON_FLAG_FALSE, JSON_FLAG_TRUE };

/* n bytes of valid UTF-8, possibly with NUL bytes inside, and a zero behind them. */
struct json_text {
    char *at; /* NULL: not given */
    size_t n;
};

struct json_texts {
    struct json_text *at; /* NULL: not given */
    size_t n;
};

struct json_ints {
    int64_t *at; /* NULL: not given, or a word */
    size_t n;
    bool all, last; /* which word */
};

/* A text, or tokens. */
struct json_prompt {
    struct json_text text; /* at is NULL: ids were given */
    int32_t *ids;          /* [n_ids], at least one */
    size_t n_ids;
};

struct json_prompts {
    struct json_prompt *at; /* NULL: not given */
    size_t n;
    bool list; /* several could have been given: "prompt[0]" is the first one's path */
};

struct json_list {
    void *at; /* [n] of the elements' struct; NULL: not given */
    size_t n;
};

enum { JSON_DATA_RANK = 8 };

/* A tensor of strings in row-major order. */
struct json_data {
    struct json_text *at; /* [n]; NULL: not given */
    size_t n;
    size_t rank; /* how deep lists are nested, 1: flat */
    size_t shape[JSON_DATA_RANK];
};

/* In the order of keys, each once. */
struct json_number_map {
    struct json_number_entry {
        int32_t key;
        double value;
    } * at; /* NULL: not given, or empty */
    size_t n;
};

extern const char *const JSON_ALL_OR_LAST[];

struct json_field {
    const char *name;
    enum json_type type;
    size_t offset; /* of the member in the struct that is filled */
    bool required;
    double min, max; /* see enum json_type; lists: number of elements; max 0 = no limit
                        (except INT and NUMBER, which always have both) */
    size_t most;     /* entries of a map */
    const char *const *choices;       /* NULL-terminated */
    const struct json_field *members; /* [n_members] of an object */
    size_t n_members;
    bool open;        /* an object: keys that are no members are ignored */
    size_t element;   /* of a list: bytes of an element's struct */
    const char *help; /* one sentence for people; openapi.json shows it */
};

/* Makes jansson take its memory from base/mem.h. Once, before the first thread. */
void json_read_init(void);

/* Fills *out (a struct described by fields[0..n_fields)) from the object in body. On
 * failure nothing is left allocated in it. */
enum err_code json_read(const char *body, size_t n, const struct json_field *fields,
                        size_t n_fields, void *out, struct err *err) MUST_CHECK;

/* Which of these members the body has, the first in the order of `paths`, which NULL ends
 * ("inputs", "parameters.top_k"): so the dialect of a path that several share is found.
 * SIZE_MAX if none, or if the body is no JSON that json_read takes. */
size_t json_read_which(const char *body, size_t n, const char *const *paths);

/* Frees and clears the texts and lists of *out. Zeroed members are fine. */
void json_read_done(const struct json_field *fields, size_t n_fields, void *out);

#endif
