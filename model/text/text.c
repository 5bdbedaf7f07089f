#include "model/text/text.h"

#include "model/base/mem.h"
#include "model/base/utf8.h"

#include <string.h>

void text_done(struct text *t)
{
    mem_free(t->at);
    *t = (struct text){0};
}

enum err_code text_add(struct text *t, const char *s, size_t n, struct err *err)
{
    if (t->cap - t->n < n || !t->at) {
        size_t cap = t->cap + t->cap / 2 + n + 64;
        char *at = mem_resize(t->at, cap, 1);
        if (!at)
            return err_set(err, ERR_NOMEM, "no memory for a text of %zu bytes", t->n + n);
        t->at = at;
        t->cap = cap;
    }
    if (n)
        memcpy(t->at + t->n, s, n);
    t->n += n;
    return ERR_OK;
}

/* How many bytes at s, where no valid character stands, could have begun one: at least
 * one. Two or three have if continuation bytes 80 make a character of them. */
static size_t broken_length(const char *s, size_t n)
{
    size_t whole = (unsigned char)s[0] >= 0xf0 ? 4 : 3;
    for (size_t length = n < whole - 1 ? n : whole - 1; length > 1; length--) {
        char trial[4];
        memset(trial, 0x80, sizeof trial);
        memcpy(trial, s, length);
        if (utf8_valid(trial, whole) == whole &&
            utf8_count(trial, whole, UTF8_CODE_POINTS) == 1)
            return length;
    }
    return 1;
}

enum err_code text_add_repaired(struct text *t, const char *s, size_t n, struct err *err)
{
    for (;;) {
        size_t good = utf8_valid(s, n);
        enum err_code code = text_add(t, s, good, err);
        if (code != ERR_OK || good == n)
            return code;
        code = text_add(t, "\xef\xbf\xbd", 3, err);
        if (code != ERR_OK)
            return code;
        size_t bad = broken_length(s + good, n - good);
        s += good + bad;
        n -= good + bad;
    }
}

size_t text_open_end(const char *s, size_t n)
{
    for (size_t length = n < 3 ? n : 3; length > 0; length--) {
        const char *tail = s + n - length;
        unsigned char lead = (unsigned char)tail[0];
        size_t whole = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
        if (lead < 0xc2 || lead > 0xf4 || whole <= length)
            continue;
        if (length == 1 || broken_length(tail, length) == length)
            return length;
    }
    return 0;
}
