#include "model/base/base64.h"

#include <stdint.h>

size_t base64_room(size_t n)
{
    return n / 4 * 3 + 3;
}

/* The six bits of a character, or -1. */
static int value_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool base64_decode(const char *s, size_t n, unsigned char *out, size_t *n_out)
{
    uint32_t bits = 0;
    int n_bits = 0;
    size_t at = 0;
    if (n % 4 == 0)
        for (int i = 0; i < 2 && n > 0 && s[n - 1] == '='; i++)
            n--;
    if (n % 4 == 1)
        return false;
    for (size_t i = 0; i < n; i++) {
        int value = value_of(s[i]);
        if (value < 0)
            return false;
        bits = bits << 6 | (uint32_t)value;
        n_bits += 6;
        if (n_bits < 8)
            continue;
        n_bits -= 8;
        out[at++] = (unsigned char)(bits >> n_bits);
        bits &= (1U << n_bits) - 1;
    }
    *n_out = at;
    return bits == 0;
}

size_t base64_length(size_t n)
{
    return n / 3 < SIZE_MAX / 4 - 1 ? (n / 3 + (n % 3 != 0)) * 4 : 0;
}

void base64_encode(const unsigned char *in, size_t n, char *out)
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        uint32_t bits = (uint32_t)in[i] << 16;
        size_t here = n - i < 3 ? n - i : 3;
        if (here > 1)
            bits |= (uint32_t)in[i + 1] << 8;
        if (here > 2)
            bits |= in[i + 2];
        for (unsigned c = 0; c < 4; c++)
            *out++ = c <= here ? digits[bits >> (18 - 6 * c) & 63] : '=';
    }
}
