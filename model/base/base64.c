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
