#include "model/text/grapheme.h"

#include "model/base/utf8.h"

#include <stdbool.h>
#include <stdint.h>
#include <utf8proc.h>

struct run {
    uint32_t first, last;
};

/* The tables below are the library's answers, character by character, to a charsmap of
 * one rule ("a" and a character behind it: is it swallowed?). */

/* Marks that join what is before them and that utf8proc does not know yet. */
static const struct run new_extends[] = {
    {0x897, 0x897},     {0x1acf, 0x1add},   {0x1ae0, 0x1aeb},   {0x10d69, 0x10d6d},
    {0x10efa, 0x10efc}, {0x113b8, 0x113b8}, {0x113bb, 0x113c0}, {0x113c2, 0x113c2},
    {0x113c5, 0x113c5}, {0x113c7, 0x113c9}, {0x113ce, 0x113d0}, {0x113d2, 0x113d2},
    {0x113e1, 0x113e2}, {0x11b60, 0x11b60}, {0x11b62, 0x11b64}, {0x11b66, 0x11b66},
    {0x11f5a, 0x11f5a}, {0x1611e, 0x16129}, {0x1612d, 0x1612f}, {0x1e5ee, 0x1e5ef},
    {0x1e6e3, 0x1e6e3}, {0x1e6e6, 0x1e6e6}, {0x1e6ee, 0x1e6ef}, {0x1e6f5, 0x1e6f5}};
static const struct run new_spacing_marks[] = {
    {0x113b9, 0x113ba}, {0x113ca, 0x113ca}, {0x113cc, 0x113cd}, {0x11b61, 0x11b61},
    {0x11b65, 0x11b65}, {0x11b67, 0x11b67}, {0x1612a, 0x1612c}};

/* Indic_Conjunct_Break=Linker. */
static const struct run linkers[] = {
    {0x94d, 0x94d},     {0x9cd, 0x9cd},     {0xacd, 0xacd},     {0xb4d, 0xb4d},
    {0xc4d, 0xc4d},     {0xd4d, 0xd4d},     {0x1039, 0x1039},   {0x17d2, 0x17d2},
    {0x1a60, 0x1a60},   {0x1b44, 0x1b44},   {0x1bab, 0x1bab},   {0xa9c0, 0xa9c0},
    {0xaaf6, 0xaaf6},   {0x10a3f, 0x10a3f}, {0x11133, 0x11133}, {0x113d0, 0x113d0},
    {0x1193e, 0x1193e}, {0x11a47, 0x11a47}, {0x11a99, 0x11a99}, {0x11f42, 0x11f42}};

/* Indic_Conjunct_Break=Consonant, up to U+FFFF: a conjunct with a later one has more
 * bytes than those who ask here for short clusters care about, with or without the rule.
 */
static const struct run consonants[] = {
    {0x915, 0x939},   {0x958, 0x95f},   {0x978, 0x97f},   {0x995, 0x9a8},
    {0x9aa, 0x9b0},   {0x9b2, 0x9b2},   {0x9b6, 0x9b9},   {0x9dc, 0x9dd},
    {0x9df, 0x9df},   {0x9f0, 0x9f1},   {0xa95, 0xaa8},   {0xaaa, 0xab0},
    {0xab2, 0xab3},   {0xab5, 0xab9},   {0xaf9, 0xaf9},   {0xb15, 0xb28},
    {0xb2a, 0xb30},   {0xb32, 0xb33},   {0xb35, 0xb39},   {0xb5c, 0xb5d},
    {0xb5f, 0xb5f},   {0xb71, 0xb71},   {0xc15, 0xc28},   {0xc2a, 0xc39},
    {0xc58, 0xc5a},   {0xd15, 0xd3a},   {0x1000, 0x102a}, {0x103f, 0x103f},
    {0x1050, 0x1055}, {0x105a, 0x105d}, {0x1061, 0x1061}, {0x1065, 0x1066},
    {0x106e, 0x1070}, {0x1075, 0x1081}, {0x108e, 0x108e}, {0x1780, 0x17b3},
    {0x1a20, 0x1a54}, {0x1b0b, 0x1b0c}, {0x1b13, 0x1b33}, {0x1b45, 0x1b4c},
    {0x1b83, 0x1ba0}, {0x1bae, 0x1baf}, {0x1bbb, 0x1bbd}, {0xa989, 0xa98b},
    {0xa98f, 0xa9b2}, {0xa9e0, 0xa9e4}, {0xa9e7, 0xa9ef}, {0xa9fa, 0xa9fe},
    {0xaa60, 0xaa6f}, {0xaa71, 0xaa73}, {0xaa7a, 0xaa7a}, {0xaa7e, 0xaa7f},
    {0xaae0, 0xaaea}, {0xabc0, 0xabda}};

#define IS_IN(runs, cp) is_in(runs, sizeof(runs) / sizeof *(runs), cp)

static bool is_in(const struct run *runs, size_t n, uint32_t cp)
{
    while (n > 0 && cp >= runs->first) {
        size_t half = n / 2;
        if (cp <= runs[half].last && cp >= runs[half].first)
            return true;
        if (cp > runs[half].last) {
            runs += half + 1;
            n -= half + 1;
        } else {
            n = half;
        }
    }
    return false;
}

/* A character that utf8proc takes for what the library takes cp for. */
static utf8proc_int32_t known_as(uint32_t cp)
{
    enum { EXTEND = 0x300, SPACING_MARK = 0x903, PREPEND = 0x600, OTHER = 'a' };
    if (cp == 0x113d1)
        return PREPEND;
    if (cp == 0x11a3a)
        return OTHER;
    if (IS_IN(new_extends, cp))
        return EXTEND;
    return IS_IN(new_spacing_marks, cp) ? SPACING_MARK : (utf8proc_int32_t)cp;
}

/* How much of "consonant, marks with a linker among them" is there. */
enum conjunct { NO_CONJUNCT, CONSONANT, LINKED };

static enum conjunct next_conjunct(enum conjunct so_far, uint32_t cp)
{
    enum { NON_JOINER = 0x200c };
    if (IS_IN(consonants, cp))
        return CONSONANT;
    if (so_far == NO_CONJUNCT || cp == NON_JOINER)
        return NO_CONJUNCT;
    if (IS_IN(linkers, cp))
        return LINKED;
    unsigned class = utf8proc_get_property(known_as(cp))->boundclass;
    bool goes_on =
        class == UTF8PROC_BOUNDCLASS_EXTEND || class == UTF8PROC_BOUNDCLASS_ZWJ;
    return goes_on ? so_far : NO_CONJUNCT;
}

size_t grapheme_end(const char *s, size_t n, size_t at)
{
    size_t len;
    utf8proc_int32_t state = 0;
    uint32_t before = utf8_get(s + at, n - at, &len);
    enum conjunct conjunct = next_conjunct(NO_CONJUNCT, before);
    for (at += len; at < n; at += len) {
        uint32_t cp = utf8_get(s + at, n - at, &len);
        bool ends =
            utf8proc_grapheme_break_stateful(known_as(before), known_as(cp), &state);
        if (ends && !(conjunct == LINKED && IS_IN(consonants, cp)))
            break;
        conjunct = next_conjunct(conjunct, cp);
        before = cp;
    }
    return at;
}
