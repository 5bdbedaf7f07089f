#include "model/base/err.h"

#include "model/base/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Makes msg printable: control characters and bytes outside UTF-8 become '?'. A character
 * cut in half at the end of the buffer becomes '?' too, hence the message stays valid. */
static void make_printable(char *msg)
{
    size_t n = strlen(msg), at = 0;
    while (at < n) {
        size_t good = utf8_valid(msg + at, n - at);
        for (size_t i = at; i < at + good; i++)
            if ((unsigned char)msg[i] < 0x20 || msg[i] == 0x7f)
                msg[i] = '?';
        at += good;
        if (at < n)
            msg[at++] = '?';
    }
}

static enum err_code set(struct err *err, enum err_code code, const char *param,
                         const char *fmt, va_list args)
{
    if (!err || err->code != ERR_OK)
        return code;
    err->code = code;
    snprintf(err->param, sizeof err->param, "%s", param);
    make_printable(err->param);
    vsnprintf(err->msg, sizeof err->msg, fmt, args);
    make_printable(err->msg);
    return code;
}

enum err_code err_set(struct err *err, enum err_code code, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    set(err, code, "", fmt, args);
    va_end(args);
    return code;
}

enum err_code err_param(struct err *err, enum err_code code, const char *param,
                        const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    set(err, code, param, fmt, args);
    va_end(args);
    return code;
}

void err_prefix(struct err *err, const char *prefix)
{
    char whole[2 * ERR_MSG_BYTES];
    snprintf(whole, sizeof whole, "%.*s: %s", ERR_MSG_BYTES - 3, prefix, err->msg);
    whole[ERR_MSG_BYTES - 1] = '\0';
    memcpy(err->msg, whole, ERR_MSG_BYTES);
    make_printable(err->msg);
}

const char *err_name(enum err_code code)
{
    static const char *const names[] = {
        [ERR_OK] = "ok",
        [ERR_NOMEM] = "no_memory",
        [ERR_IO] = "io",
        [ERR_FORMAT] = "format",
        [ERR_MISMATCH] = "mismatch",
        [ERR_UNSUPPORTED] = "unsupported",
        [ERR_INPUT] = "input",
        [ERR_LIMIT] = "limit",
        [ERR_NOT_FOUND] = "not_found",
        [ERR_TASK] = "task",
        [ERR_STOPPED] = "stopped",
        [ERR_BUG] = "bug",
    };
    size_t i = (size_t)code;
    return i < sizeof names / sizeof *names && names[i] ? names[i] : "unknown";
}
