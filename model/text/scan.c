#include "model/text/scan.h"

#include "model/base/utf8.h"
#include "model/text/unicode.h"

#include <stdint.h>
#include <string.h>

enum {
    SPACE = UNICODE_SPACE,
    LETTER = UNICODE_LETTER,
    NUMBER = UNICODE_NUMBER,
    NO_SYMBOL = SPACE | LETTER | NUMBER /* what [^\s\p{L}\p{N}] leaves out */
};

/* The flags of the character at s[at], and its length. */
static unsigned look(const char *s, size_t n, size_t at, size_t *len)
{
    return unicode_flags(utf8_get(s + at, n - at, len));
}

/* The end of the run of characters that have one of the flags in `any`. */
static size_t run_of(const char *s, size_t n, size_t at, unsigned any)
{
    size_t len;
    while (at < n && (look(s, n, at, &len) & any))
        at += len;
    return at;
}

/* The end of the run of characters that have none of the flags in `none`. */
static size_t run_without(const char *s, size_t n, size_t at, unsigned none)
{
    size_t len;
    while (at < n && !(look(s, n, at, &len) & none))
        at += len;
    return at;
}

/* The length of ASCII `word` if it stands at s[at], else 0. With `fold`, in any case; the
 * long s folds to s, as in the library. */
static size_t word_at(const char *s, size_t n, size_t at, const char *word, bool fold)
{
    size_t begin = at;
    for (; *word; word++) {
        if (at == n)
            return 0;
        size_t len;
        uint32_t cp = utf8_get(s + at, n - at, &len);
        if (fold && cp >= 'A' && cp <= 'Z')
            cp += 32;
        else if (fold && cp == 0x17f)
            cp = 's';
        if (cp != (unsigned char)*word)
            return 0;
        at += len;
    }
    return at - begin;
}

/* The end of an English contraction ('s 't 're 've 'm 'll 'd) at s[at], or at. */
static size_t contraction(const char *s, size_t n, size_t at, bool fold)
{
    static const char *const words[] = {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"};
    if (s[at] != '\'')
        return at;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        size_t len = word_at(s, n, at, words[i], fold);
        if (len)
            return at + len;
    }
    return at;
}

/* \s+(?!\S)|\s+ for the run of blanks at..end-1: all of it at the end of the text, else
 * all but its last character, which belongs to the word behind it. */
static size_t blanks(const char *s, size_t n, size_t at, size_t end)
{
    if (end == n)
        return end;
    size_t last = end;
    do
        last--;
    while (((unsigned char)s[last] & 0xc0) == 0x80);
    return last > at ? last : end;
}

/* 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
 * Every character begins a match. */
bool scan_gpt2(const char *s, size_t n, size_t at, struct match *out)
{
    if (at >= n)
        return false;
    size_t end = contraction(s, n, at, false), len;
    if (end == at) {
        size_t body = at + (s[at] == ' ' && at + 1 < n);
        unsigned flags = look(s, n, body, &len);
        if (flags & LETTER)
            end = run_of(s, n, body, LETTER);
        else if (flags & NUMBER)
            end = run_of(s, n, body, NUMBER);
        else if (!(flags & SPACE))
            end = run_without(s, n, body, NO_SYMBOL);
        else
            end = blanks(s, n, at, run_of(s, n, at, SPACE));
    }
    *out = (struct match){at, end};
    return true;
}

static bool is_line_end(char c)
{
    return c == '\r' || c == '\n';
}

/* [^\r\n\p{L}\p{N}]?\p{L}+ at s[at]: its end, or at. */
static size_t led_letters(const char *s, size_t n, size_t at)
{
    size_t len, body = at;
    unsigned flags = look(s, n, at, &len);
    if (!(flags & (LETTER | NUMBER)) && !is_line_end(s[at]))
        body += len;
    size_t end = run_of(s, n, body, LETTER);
    return end > body ? end : at;
}

/* " ?[^\s\p{L}\p{N}]+[\r\n]*" at s[at]: its end, or at. */
static size_t symbols(const char *s, size_t n, size_t at)
{
    size_t body = at + (s[at] == ' ');
    size_t end = run_without(s, n, body, NO_SYMBOL);
    if (end == body)
        return at;
    while (end < n && is_line_end(s[end]))
        end++;
    return end;
}

/* \s*[\r\n]+|\s+(?!\S)|\s+ at the blank s[at]. */
static size_t blanks_by_line(const char *s, size_t n, size_t at)
{
    size_t end = run_of(s, n, at, SPACE);
    for (size_t line = end; line > at; line--)
        if (is_line_end(s[line - 1]))
            return line;
    return blanks(s, n, at, end);
}

/* (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,digits}|
 *  ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+ */
static bool scan_cased(const char *s, size_t n, size_t at, int digits, struct match *out)
{
    if (at >= n)
        return false;
    size_t end = contraction(s, n, at, true), len;
    if (end == at)
        end = led_letters(s, n, at);
    for (int i = 0; i < digits && (end == at || i > 0); i++) {
        if (end == n || !(look(s, n, end, &len) & NUMBER))
            break;
        end += len;
    }
    if (end == at)
        end = symbols(s, n, at);
    if (end == at)
        end = blanks_by_line(s, n, at);
    *out = (struct match){at, end};
    return true;
}

static bool scan_llama3(const char *s, size_t n, size_t at, struct match *out)
{
    return scan_cased(s, n, at, 3, out);
}

static bool scan_qwen2(const char *s, size_t n, size_t at, struct match *out)
{
    return scan_cased(s, n, at, 1, out);
}

/* The length of an apostrophe at s[at], straight or (if `curly`) typographic, or 0. */
static size_t apostrophe(const char *s, size_t n, size_t at, bool curly)
{
    static const char typographic[] = "\xe2\x80\x99";
    if (at < n && s[at] == '\'')
        return 1;
    return curly && n - at >= 3 && memcmp(s + at, typographic, 3) == 0 ? 3 : 0;
}

/* [\p{L}\p{N}]+(?:['][\p{L}]+)*|[^\s\p{L}\p{N}] */
static bool scan_words(const char *s, size_t n, size_t at, bool curly, struct match *out)
{
    at = run_of(s, n, at, SPACE);
    if (at >= n)
        return false;
    size_t end = run_of(s, n, at, LETTER | NUMBER), len;
    if (end == at) {
        look(s, n, at, &len);
        *out = (struct match){at, at + len};
        return true;
    }
    for (size_t mark; (mark = apostrophe(s, n, end, curly)) != 0;) {
        size_t tail = run_of(s, n, end + mark, LETTER);
        if (tail == end + mark)
            break;
        end = tail;
    }
    *out = (struct match){at, end};
    return true;
}

static bool scan_words_plain(const char *s, size_t n, size_t at, struct match *out)
{
    return scan_words(s, n, at, false, out);
}

static bool scan_words_curly(const char *s, size_t n, size_t at, struct match *out)
{
    return scan_words(s, n, at, true, out);
}

/* ['’](?:s|re|ve|ll|d|m)\b at s[at]: its end, or at. */
static size_t loose_ending(const char *s, size_t n, size_t at)
{
    static const char *const words[] = {"s", "re", "ve", "ll", "d", "m"};
    size_t body = at + apostrophe(s, n, at, true), len;
    if (body == at)
        return at;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        size_t end = body + word_at(s, n, body, words[i], false);
        if (end > body &&
            (end == n || !unicode_is_regex_word(utf8_get(s + end, n - end, &len))))
            return end;
    }
    return at;
}

/* [\p{L}\p{N}]+(?:['’]t)?|['’](?:s|re|ve|ll|d|m)\b|\.\.\.|[^\s\p{L}\p{N}] */
static bool scan_reviews(const char *s, size_t n, size_t at, struct match *out)
{
    at = run_of(s, n, at, SPACE);
    if (at >= n)
        return false;
    size_t end = run_of(s, n, at, LETTER | NUMBER), len;
    if (end > at) {
        size_t mark = apostrophe(s, n, end, true);
        if (mark && end + mark < n && s[end + mark] == 't')
            end += mark + 1;
    } else {
        end = loose_ending(s, n, at);
    }
    if (end == at)
        end += word_at(s, n, at, "...", false);
    if (end == at) {
        look(s, n, at, &len);
        end += len;
    }
    *out = (struct match){at, end};
    return true;
}

scan_fn scan_known(const char *regex, size_t n)
{
    static const struct {
        const char *regex;
        scan_fn scan;
    } known[] = {
        {"'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+"
         "|\\s+(?!\\S)|\\s+",
         scan_gpt2},
        {"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}"
         "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
         scan_llama3},
        {"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}"
         "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
         scan_qwen2},
        {"[\\p{L}\\p{N}]+(?:'[\\p{L}]+)*|[^\\s\\p{L}\\p{N}]", scan_words_plain},
        {"[\\p{L}\\p{N}]+(?:['\xe2\x80\x99][\\p{L}]+)*|[^\\s\\p{L}\\p{N}]",
         scan_words_curly},
        {"[\\p{L}\\p{N}]+(?:['\xe2\x80\x99]t)?|['\xe2\x80\x99](?:s|re|ve|ll|d|m)\\b"
         "|\\.\\.\\.|[^\\s\\p{L}\\p{N}]",
         scan_reviews},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strlen(known[i].regex) == n && memcmp(known[i].regex, regex, n) == 0)
            return known[i].scan;
    return NULL;
}
