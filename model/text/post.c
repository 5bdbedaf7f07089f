#include "model/text/post.h"

#include "model/base/utf8.h"
#include "model/text/unicode.h"

#include <stdint.h>

static bool is_inside(char byte)
{
    return ((unsigned char)byte & 0xc0) == 0x80;
}

/* A blank, or the character (U+0120) that ByteLevel spells it with. */
static bool is_blank(const char *s, size_t n, size_t *len)
{
    uint32_t cp = utf8_get(s, n, len);
    return cp == 0x120 || (unicode_flags(cp) & UNICODE_SPACE);
}

/* How many characters s[0..n) begins and ends with that are blanks. */
static size_t leading(const char *s, size_t n)
{
    size_t count = 0, len;
    for (size_t at = 0; at < n && is_blank(s + at, n - at, &len); at += len)
        count++;
    return count;
}

static size_t trailing(const char *s, size_t n)
{
    size_t count = 0, len;
    while (n > 0) {
        size_t last = n;
        do
            last--;
        while (last > 0 && is_inside(s[last]));
        if (!is_blank(s + last, n - last, &len))
            break;
        n = last;
        count++;
    }
    return count;
}

/* Where the last `count` characters before text[end] begin; `end` if there are fewer. */
static size_t step_back(const char *text, size_t end, size_t count)
{
    size_t at = end;
    for (; count > 0; count--) {
        if (at == 0)
            return end;
        do
            at--;
        while (at > 0 && is_inside(text[at]));
    }
    return at;
}

struct span post_trim(struct span span, const char *text, const char *s, size_t n,
                      bool first, bool prefix)
{
    size_t lead = leading(s, n), trail = trailing(s, n);
    if (lead == 1 && prefix && (first || span.from == 0))
        lead = 0;
    for (; lead > 0 && span.from < span.to; lead--)
        do
            span.from++;
        while (span.from < span.to && is_inside(text[span.from]));
    /* The library leaves the end alone if the text has fewer characters before it than
     * the token has blanks at its end. */
    size_t end = step_back(text, span.to, trail);
    span.to = end > span.from ? (uint32_t)end : span.from;
    return span;
}
