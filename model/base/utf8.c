#include "model/base/utf8.h"

#include <string.h>

/* Bytes of the valid character at s[0..n), n > 0, or 0. Table 3-7 of the Unicode
 * standard. */
static size_t char_length(const unsigned char *s, size_t n)
{
    unsigned char a = s[0];
    if (a < 0x80)
        return 1;
    size_t len = a >= 0xf0 ? 4 : a >= 0xe0 ? 3 : 2;
    if (a < 0xc2 || a > 0xf4 || n < len)
        return 0;
    unsigned char low = 0x80, high = 0xbf; /* range of the second byte */
    if (a == 0xe0)
        low = 0xa0;
    else if (a == 0xed)
        high = 0x9f;
    else if (a == 0xf0)
        low = 0x90;
    else if (a == 0xf4)
        high = 0x8f;
    if (s[1] < low || s[1] > high)
        return 0;
    for (size_t i = 2; i < len; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    return len;
}

size_t utf8_valid(const char *text, size_t n)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t at = 0;
    while (at < n) {
        uint64_t eight;
        if (n - at >= sizeof eight) { /* ASCII goes eight bytes at a time */
            memcpy(&eight, s + at, sizeof eight);
            if (!(eight & UINT64_C(0x8080808080808080))) {
                at += sizeof eight;
                continue;
            }
        }
        size_t len = char_length(s + at, n - at);
        if (len == 0)
            break;
        at += len;
    }
    return at;
}

uint32_t utf8_get(const char *text, size_t n, size_t *len)
{
    const unsigned char *s = (const unsigned char *)text;
    uint32_t a = s[0];
    if (a < 0x80 || n < 2) {
        *len = 1;
        return a;
    }
    if (a < 0xe0 || n < 3) {
        *len = 2;
        return (a & 0x1f) << 6 | (s[1] & 0x3f);
    }
    if (a < 0xf0 || n < 4) {
        *len = 3;
        return (a & 0x0f) << 12 | (uint32_t)(s[1] & 0x3f) << 6 | (s[2] & 0x3f);
    }
    *len = 4;
    return (a & 0x07) << 18 | (uint32_t)(s[1] & 0x3f) << 12 |
           (uint32_t)(s[2] & 0x3f) << 6 | (s[3] & 0x3f);
}

size_t utf8_put(uint32_t cp, char out[4])
{
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    if (cp < 0x800) {
        out[0] = (char)(0xc0 | cp >> 6);
        out[1] = (char)(0x80 | (cp & 0x3f));
        return 2;
    }
    if (cp < 0x10000) {
        out[0] = (char)(0xe0 | cp >> 12);
        out[1] = (char)(0x80 | (cp >> 6 & 0x3f));
        out[2] = (char)(0x80 | (cp & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | cp >> 18);
    out[1] = (char)(0x80 | (cp >> 12 & 0x3f));
    out[2] = (char)(0x80 | (cp >> 6 & 0x3f));
    out[3] = (char)(0x80 | (cp & 0x3f));
    return 4;
}

size_t utf8_count(const char *s, size_t n, enum utf8_unit unit)
{
    if (unit == UTF8_BYTES)
        return n;
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned char byte = (unsigned char)s[i];
        count += (byte & 0xc0) != 0x80;               /* each character once */
        count += unit == UTF16_UNITS && byte >= 0xf0; /* a surrogate pair: twice */
    }
    return count;
}
