#include "server/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "model/seq.h"

enum { BUF_FIRST = 256 };

void buf_done(struct buf *b)
{
    mem_free(b->at);
    *b = (struct buf){0};
}

void buf_clear(struct buf *b)
{
    b->n = 0;
    b->failed = false;
}

char *buf_reserve(struct buf *b, size_t n)
{
    size_t need;
    if (b->failed)
        return NULL;
    if (n <= b->cap - b->n && !b->limit)
        return b->at + b->n;
    if (!mem_add(b->n, n, &need) || (b->limit && need > b->limit)) {
        b->failed = true;
        return NULL;
    }
    if (need > b->cap) {
        size_t cap = b->cap < BUF_FIRST ? BUF_FIRST : b->cap + b->cap / 2;
        char *at = mem_resize(b->at, cap < need ? need : cap, 1);
        if (!at) {
            b->failed = true;
            return NULL;
        }
        b->at = at;
        b->cap = cap < need ? need : cap;
    }
    return b->at + b->n;
}

void buf_put(struct buf *b, const char *bytes, size_t n)
{
    if (n == 0)
        return;
    char *to = buf_reserve(b, n);
    if (!to)
        return;
    memcpy(to, bytes, n);
    b->n += n;
}

void buf_puts(struct buf *b, const char *string)
{
    buf_put(b, string, strlen(string));
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    char small[256];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(small, sizeof small, fmt, args);
    va_end(args);
    if (n < 0) {
        b->failed = true;
    } else if ((size_t)n < sizeof small) {
        buf_put(b, small, (size_t)n);
    } else {
        char *to = buf_reserve(b, (size_t)n + 1);
        if (!to)
            return;
        va_start(args, fmt);
        vsnprintf(to, (size_t)n + 1, fmt, args);
        va_end(args);
        b->n += (size_t)n;
    }
}
