#include "model/text/unicode.h"

#include "model/text/unicode_tables.h"

#include <utf8proc.h>

/* What the last run that begins at or before cp says; the runs keep it in their low
 * `bits`. */
static unsigned look_up(const uint32_t *runs, size_t n, unsigned bits, uint32_t cp)
{
    size_t low = 0;
    while (n > 1) {
        size_t half = n / 2;
        low += (runs[low + half] >> bits) <= cp ? half : 0;
        n -= half;
    }
    return runs[low] & ((1U << bits) - 1);
}

unsigned unicode_flags(uint32_t cp)
{
    if (cp < UNICODE_DIRECT)
        return unicode_direct[cp];
    return look_up(unicode_runs, UNICODE_RUNS, UNICODE_FLAG_BITS, cp);
}

unsigned unicode_script(uint32_t cp)
{
    return look_up(unicode_scripts, UNICODE_SCRIPT_RUNS, UNICODE_SCRIPT_BITS, cp);
}

bool unicode_is_regex_word(uint32_t cp)
{
    switch (cp) {
    case 0xb2: /* superscript two, three, one; one quarter, half, three quarters */
    case 0xb3:
    case 0xb9:
    case 0xbc:
    case 0xbd:
    case 0xbe:
        return true;
    case 0x200c: /* zero-width non-joiner and joiner */
    case 0x200d:
        return false;
    default:
        return unicode_flags(cp) & UNICODE_WORD;
    }
}

bool unicode_is_chinese(uint32_t cp)
{
    /* 0x2b920 is the library's own slip for 0x2b820. */
    static const struct {
        uint32_t first, last;
    } blocks[] = {{0x3400, 0x4dbf},   {0x4e00, 0x9fff},   {0xf900, 0xfaff},
                  {0x20000, 0x2a6df}, {0x2a700, 0x2b73f}, {0x2b740, 0x2b81f},
                  {0x2b920, 0x2ceaf}, {0x2f800, 0x2fa1f}};
    if (cp < blocks[0].first)
        return false;
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        if (cp >= blocks[i].first && cp <= blocks[i].last)
            return true;
    return false;
}

size_t unicode_lower(uint32_t cp, uint32_t out[2])
{
    out[0] = cp;
    if (cp < 0x80) {
        if (cp >= 'A' && cp <= 'Z')
            out[0] = cp + 32;
        return 1;
    }
    if (cp == 0x130) { /* capital I with dot above */
        out[0] = 'i';
        out[1] = 0x307;
        return 2;
    }
    for (size_t i = 0; i < sizeof unicode_lower_runs / sizeof *unicode_lower_runs; i++) {
        uint32_t first = unicode_lower_runs[i].first;
        if (cp >= first && cp <= unicode_lower_runs[i].last &&
            (cp - first) % unicode_lower_runs[i].step == 0) {
            out[0] = unicode_lower_runs[i].to + (cp - first);
            return 1;
        }
    }
    out[0] = (uint32_t)utf8proc_tolower((utf8proc_int32_t)cp);
    return 1;
}

uint32_t unicode_stand_in(uint32_t cp)
{
    size_t low = 0, high = sizeof unicode_newer / sizeof *unicode_newer;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (cp > unicode_newer[middle].last)
            low = middle + 1;
        else if (cp < unicode_newer[middle].first)
            high = middle;
        else
            return unicode_newer[middle].other;
    }
    return cp;
}

/* Bytes 21-7e, a1-ac and ae-ff stand for themselves; the other 68, in increasing order,
 * for U+0100 and on. */
uint32_t unicode_from_byte(unsigned char byte)
{
    if (byte <= 0x20)
        return 0x100U + byte;
    if (byte <= 0x7e)
        return byte;
    if (byte <= 0xa0)
        return 0x121U + byte - 0x7f;
    return byte == 0xad ? 0x143 : byte;
}

int unicode_to_byte(uint32_t cp)
{
    if (cp >= 0x21 && cp <= 0xff && cp != 0xad && !(cp >= 0x7f && cp <= 0xa0))
        return (int)cp;
    if (cp >= 0x100 && cp <= 0x120)
        return (int)(cp - 0x100);
    if (cp >= 0x121 && cp <= 0x142)
        return (int)(cp - 0x121 + 0x7f);
    return cp == 0x143 ? 0xad : -1;
}
