/* Errors: one value, owned by the caller, filled by whoever notices first.
 *
 * Every function that can fail returns an enum err_code and takes a struct err as its
 * last parameter. The first failure fills it; callers pass it on unchanged. Messages name
 * the thing and both sides of a disagreement. Any thread. */
#ifndef SEQ_BASE_ERR_H
#define SEQ_BASE_ERR_H

#define MUST_CHECK             __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

enum err_code {
    ERR_OK = 0,
    ERR_NOMEM,       /* out of memory */
    ERR_IO,          /* a file or folder can't be read */
    ERR_FORMAT,      /* a file's bytes break its own format */
    ERR_MISMATCH,    /* two files, or a file and its config, disagree */
    ERR_UNSUPPORTED, /* well formed, but nothing here serves it */
    ERR_INPUT,       /* a caller's value is not acceptable; param names it */
    ERR_LIMIT,       /* acceptable, but over a limit; the message names both numbers */
    ERR_NOT_FOUND,   /* no such model, token, ... */
    ERR_TASK,        /* the model exists but doesn't serve this task */
    ERR_STOPPED,     /* given up because the caller went away or time is over */
    ERR_BUG          /* a promise of our own code is broken */
};

enum { ERR_MSG_BYTES = 448, ERR_PARAM_BYTES = 64 };

struct err {
    enum err_code code;
    char param[ERR_PARAM_BYTES]; /* the request field at fault, or "" */
    char msg[ERR_MSG_BYTES];     /* one sentence, no newline, always valid UTF-8 */
};

/* Fills *err unless it already holds an error, and returns `code`. The text is cut at
 * ERR_MSG_BYTES on a character border; bytes that are not UTF-8 and control characters
 * become '?', so that a hostile file name or key can be shown safely. */
enum err_code err_set(struct err *err, enum err_code code, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

/* The same, and names the request field at fault. */
enum err_code err_param(struct err *err, enum err_code code, const char *param,
                        const char *fmt, ...) PRINTF_LIKE(4, 5);

/* Puts "PREFIX: " before the message already in *err. */
void err_prefix(struct err *err, const char *prefix);

/* A lower-case word for logs and metrics, e.g. "mismatch". Never NULL. */
const char *err_name(enum err_code code);

#endif
