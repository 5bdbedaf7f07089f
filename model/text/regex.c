#include "model/text/regex.h"

#include <stdbool.h>
#include <string.h>

/* \w of Oniguruma, as members of a PCRE2 class. */
static const char word_members[] =
    "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\xb2\\xb3\\xb9\\xbc-\\xbe";

struct rewriter {
    const char *s;
    size_t n, at;
    const char *where;
    struct text *out;
    struct err *err;
    bool in_class;
};

static enum err_code put(struct rewriter *r, const char *s, size_t n)
{
    return text_add(r->out, s, n, r->err);
}

static enum err_code put_string(struct rewriter *r, const char *s)
{
    return put(r, s, strlen(s));
}

/* Copies the next n bytes of the expression. */
static enum err_code copy(struct rewriter *r, size_t n)
{
    enum err_code code = put(r, r->s + r->at, n);
    r->at += n;
    return code;
}

static enum err_code refuse(struct rewriter *r, size_t n)
{
    size_t left = r->n - r->at;
    return err_set(r->err, ERR_UNSUPPORTED, "%s: pattern: \"%.*s\" is not served",
                   r->where, (int)(n < left ? n : left), r->s + r->at);
}

/* \p{Name} and \p{^Name}: general categories as they are; other names are scripts, which
 * PCRE2 by itself would take as script extensions. */
static enum err_code rewrite_property(struct rewriter *r)
{
    const char *open = r->s + r->at + 2;
    size_t left = r->n - r->at - 2;
    const char *close = left ? memchr(open, '}', left) : NULL;
    if (!close || *open != '{')
        return refuse(r, 8);
    size_t length = (size_t)(close - open) - 1;
    bool category = length <= 2 && length > 0 && strchr("LMNPSZC", open[1]);
    if (category)
        return copy(r, length + 4);
    if (length == 0 || memchr(open, '^', length + 1) || memchr(open, '=', length + 1))
        return refuse(r, length + 4);
    enum err_code code = copy(r, 3);
    if (code == ERR_OK)
        code = put_string(r, "sc:");
    return code ? code : copy(r, length + 1);
}

static enum err_code put_around(struct rewriter *r, const char *before,
                                const char *members, const char *after)
{
    enum err_code code = put_string(r, before);
    if (code == ERR_OK)
        code = put_string(r, members);
    return code ? code : put_string(r, after);
}

/* \w \W \b \B, spelled out. */
static enum err_code rewrite_word(struct rewriter *r, char kind)
{
    enum err_code code = ERR_OK;
    if (r->in_class && kind != 'w')
        return refuse(r, 2);
    if (r->in_class) {
        code = put_string(r, word_members);
    } else if (kind == 'w') {
        code = put_around(r, "[", word_members, "]");
    } else if (kind == 'W') {
        code = put_around(r, "[^", word_members, "]");
    } else { /* one side is a word character: the two looks agree (B) or not (b) */
        bool inner = kind == 'B';
        code = put_around(r, "(?:(?<=[", word_members, inner ? "])(?=[" : "])(?![");
        if (code == ERR_OK)
            code = put_around(r, word_members, "])|(?<![", word_members);
        if (code == ERR_OK)
            code = put_around(r, inner ? "])(?![" : "])(?=[", word_members, "]))");
    }
    r->at += 2;
    return code;
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* \xHH below 80 (from there on Oniguruma means bytes), \x{H..} and \uHHHH. */
static enum err_code rewrite_hex(struct rewriter *r, char kind)
{
    const char *s = r->s + r->at + 2;
    size_t left = r->n - r->at - 2, digits = 0;
    if (kind == 'x' && left > 0 && *s == '{') {
        while (digits + 1 < left && is_hex(s[digits + 1]))
            digits++;
        if (digits == 0 || digits + 1 >= left || s[digits + 1] != '}')
            return refuse(r, 8);
        return copy(r, digits + 4);
    }
    size_t want = kind == 'u' ? 4 : 2;
    while (digits < want && digits < left && is_hex(s[digits]))
        digits++;
    if (digits != want || (kind == 'x' && s[0] > '7'))
        return refuse(r, 6);
    enum err_code code = put_string(r, "\\x{");
    r->at += 2;
    if (code == ERR_OK)
        code = copy(r, want);
    return code ? code : put_string(r, "}");
}

static enum err_code rewrite_escape(struct rewriter *r)
{
    if (r->at + 1 >= r->n)
        return refuse(r, 1);
    char kind = r->s[r->at + 1];
    bool alphanumeric = (kind >= '0' && kind <= '9') || (kind >= 'a' && kind <= 'z') ||
                        (kind >= 'A' && kind <= 'Z');
    if (!alphanumeric || strchr("dDnrtfae", kind) || (!r->in_class && strchr("Az", kind)))
        return copy(r, 2); /* the same in both */
    switch (kind) {
    case 'p':
    case 'P':
        return rewrite_property(r);
    case 's': /* PCRE2 counts U+180E */
        r->at += 2;
        return put_string(r, "\\p{White_Space}");
    case 'S':
        r->at += 2;
        return put_string(r, "\\P{White_Space}");
    case 'v': /* a line tabulation; in PCRE2 a class */
        r->at += 2;
        return put_string(r, "\\x0b");
    case 'h': /* a hexadecimal digit; in PCRE2 a blank */
        r->at += 2;
        return put_string(r, r->in_class ? "0-9a-fA-F" : "[0-9a-fA-F]");
    case 'w':
    case 'W':
    case 'b':
    case 'B':
        return rewrite_word(r, kind);
    case 'x':
    case 'u':
        return rewrite_hex(r, kind);
    default:
        return refuse(r, 2);
    }
}

/* Groups that mean the same in both. */
static enum err_code rewrite_group(struct rewriter *r)
{
    static const char *const same[] = {"(?:",  "(?i:", "(?=", "(?!",
                                       "(?<=", "(?<!", "(?>"};
    size_t left = r->n - r->at;
    if (left < 2 || (r->s[r->at + 1] != '?' && r->s[r->at + 1] != '*'))
        return copy(r, 1);
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        size_t n = strlen(same[i]);
        if (left >= n && memcmp(r->s + r->at, same[i], n) == 0)
            return copy(r, n);
    }
    return refuse(r, 5);
}

/* The first characters of a class: [ or [^, and a ] that is a member. */
static enum err_code open_class(struct rewriter *r)
{
    r->in_class = true;
    size_t n = r->at + 1 < r->n && r->s[r->at + 1] == '^' ? 2 : 1;
    if (r->at + n < r->n && r->s[r->at + n] == ']')
        return refuse(r, n + 1);
    return copy(r, n);
}

/* Oniguruma has sets in classes: [a[b]] and [a&&b]. */
static enum err_code rewrite_in_class(struct rewriter *r)
{
    char c = r->s[r->at];
    if (c == '[' || (c == '&' && r->at + 1 < r->n && r->s[r->at + 1] == '&'))
        return refuse(r, 8);
    if (c == ']')
        r->in_class = false;
    return copy(r, 1);
}

/* {n,m} is the same in both; {,m} is not, nor is a + behind it (possessive in PCRE2). */
static enum err_code rewrite_braces(struct rewriter *r)
{
    const char *s = r->s + r->at;
    size_t left = r->n - r->at, n = 1;
    while (n < left && ((s[n] >= '0' && s[n] <= '9') || s[n] == ','))
        n++;
    if (n == 1 || n == left || s[n] != '}' || s[1] == ',' ||
        (n + 1 < left && (s[n + 1] == '+' || s[n + 1] == '?')))
        return refuse(r, n + 2);
    return copy(r, n + 1);
}

enum err_code regex_rewrite(const char *regex, size_t n, const char *where,
                            struct text *out, struct err *err)
{
    struct rewriter r = {.s = regex, .n = n, .where = where, .out = out, .err = err};
    enum err_code code = ERR_OK;
    while (code == ERR_OK && r.at < n) {
        char c = regex[r.at];
        if (c == '\\')
            code = rewrite_escape(&r);
        else if (r.in_class)
            code = rewrite_in_class(&r);
        else if (c == '[')
            code = open_class(&r);
        else if (c == '(')
            code = rewrite_group(&r);
        else if (c == '{')
            code = rewrite_braces(&r);
        else
            code = copy(&r, 1);
    }
    return code;
}
