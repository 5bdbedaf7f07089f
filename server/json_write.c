#include "server/json_write.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/seq.h"

static const char HEX[] = "0123456789abcdef";

static const double POWER[JSON_WRITE_DECIMALS + 1] = {1e0, 1e1, 1e2, 1e3, 1e4,
                                                      1e5, 1e6, 1e7, 1e8, 1e9};
static const uint64_t WHOLE[JSON_WRITE_DECIMALS + 1] = {
    1u, 10u, 100u, 1000u, 10000u, 100000u, 1000000u, 10000000u, 100000000u, 1000000000u};

enum { FIXED_BYTES = 24 }; /* sign, 10 digits, point, 9 digits */

void json_write_done(struct json_writer *w)
{
    buf_done(&w->buf);
    *w = (struct json_writer){0};
}

/* Puts the comma that the next value or key needs. */
static void separate(struct json_writer *w)
{
    if (w->after_key) {
        w->after_key = false;
        return;
    }
    if (w->depth == 0)
        return;
    if (w->filled[w->depth - 1])
        buf_put(&w->buf, ",", 1);
    w->filled[w->depth - 1] = true;
}

static void open_level(struct json_writer *w, const char *open, char close)
{
    separate(w);
    if (w->depth == JSON_WRITE_DEPTH) {
        w->buf.failed = true;
        return;
    }
    buf_put(&w->buf, open, 1);
    w->filled[w->depth] = false;
    w->close[w->depth++] = close;
}

void json_write_object(struct json_writer *w)
{
    open_level(w, "{", '}');
}

void json_write_array(struct json_writer *w)
{
    open_level(w, "[", ']');
}

void json_write_end(struct json_writer *w)
{
    if (w->depth == 0) {
        w->buf.failed = true;
        return;
    }
    w->depth--;
    buf_put(&w->buf, &w->close[w->depth], 1);
}

static bool is_plain(unsigned char c)
{
    return c >= 0x20 && c != '"' && c != '\\' && c != 0x7f;
}

static void put_escape(struct buf *b, unsigned char c)
{
    static const char FROM[] = "\"\\\n\r\t\b\f", TO[] = "\"\\nrtbf";
    const char *p = c ? strchr(FROM, c) : NULL;
    char u[6] = {'\\', 'u', '0', '0', HEX[c >> 4], HEX[c & 15]};
    if (p) {
        u[1] = TO[p - FROM];
        buf_put(b, u, 2);
    } else {
        buf_put(b, u, sizeof u);
    }
}

/* Valid UTF-8, escaped where JSON asks for it. */
static void put_valid(struct buf *b, const char *s, size_t n)
{
    for (size_t i = 0; i < n;) {
        size_t run = i;
        while (run < n && is_plain((unsigned char)s[run]))
            run++;
        buf_put(b, s + i, run - i);
        if (run < n)
            put_escape(b, (unsigned char)s[run++]);
        i = run;
    }
}

static void put_quoted(struct buf *b, const char *s, size_t n)
{
    buf_put(b, "\"", 1);
    while (n) {
        size_t good = utf8_valid(s, n);
        put_valid(b, s, good);
        s += good;
        n -= good;
        if (n) {
            buf_puts(b, "\xEF\xBF\xBD");
            s++;
            n--;
        }
    }
    buf_put(b, "\"", 1);
}

void json_write_key_n(struct json_writer *w, const char *key, size_t n)
{
    separate(w);
    put_quoted(&w->buf, key, n);
    buf_put(&w->buf, ":", 1);
    w->after_key = true;
}

void json_write_key(struct json_writer *w, const char *key)
{
    json_write_key_n(w, key, strlen(key));
}

void json_write_text(struct json_writer *w, const char *s, size_t n)
{
    separate(w);
    put_quoted(&w->buf, s, n);
}

void json_write_string(struct json_writer *w, const char *s)
{
    if (s)
        json_write_text(w, s, strlen(s));
    else
        json_write_null(w);
}

void json_write_int(struct json_writer *w, int64_t value)
{
    separate(w);
    buf_printf(&w->buf, "%lld", (long long)value);
}

void json_write_uint(struct json_writer *w, uint64_t value)
{
    separate(w);
    buf_printf(&w->buf, "%llu", (unsigned long long)value);
}

void json_write_bool(struct json_writer *w, bool value)
{
    separate(w);
    buf_puts(&w->buf, value ? "true" : "false");
}

void json_write_null(struct json_writer *w)
{
    separate(w);
    buf_puts(&w->buf, "null");
}

void json_write_double(struct json_writer *w, double value)
{
    char text[40];
    if (!isfinite(value)) {
        json_write_null(w);
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    separate(w);
    buf_puts(&w->buf, text);
}

void json_write_float(struct json_writer *w, float value)
{
    char text[40];
    if (!isfinite(value)) {
        json_write_null(w);
        return;
    }
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)value);
        if (strtof(text, NULL) == value)
            break;
    }
    separate(w);
    buf_puts(&w->buf, text);
}

/* |value| < 1e9 as text at `to` (FIXED_BYTES); returns its length. */
static size_t print_fixed(char *to, double value, unsigned decimals)
{
    uint64_t scaled = (uint64_t)llrint(fabs(value) * POWER[decimals]);
    uint64_t whole = 0, rest = scaled;
    char *p = to, digits[20];
    size_t n = 0;
    if (scaled >= WHOLE[decimals]) { /* divisions by what isn't constant are slow */
        whole = scaled / WHOLE[decimals];
        rest = scaled % WHOLE[decimals];
    }
    if (value < 0 && scaled)
        *p++ = '-';
    do {
        digits[n++] = (char)('0' + whole % 10);
        whole /= 10;
    } while (whole);
    while (n)
        *p++ = digits[--n];
    if (rest) {
        unsigned width = decimals;
        for (; rest % 10 == 0; width--)
            rest /= 10;
        *p = '.';
        for (unsigned i = width; i; i--) {
            p[i] = (char)('0' + rest % 10);
            rest /= 10;
        }
        p += width + 1;
    }
    return (size_t)(p - to);
}

void json_write_fixed(struct json_writer *w, double value, unsigned decimals)
{
    if (decimals > JSON_WRITE_DECIMALS)
        decimals = JSON_WRITE_DECIMALS;
    if (!(fabs(value) < 1e9)) {
        json_write_double(w, value);
        return;
    }
    separate(w);
    char *to = buf_reserve(&w->buf, FIXED_BYTES);
    if (to)
        w->buf.n += print_fixed(to, value, decimals);
}

/* Values i.. of an array whose bracket is open, as many as fit into one reserve, all of
 * them below 1e9; returns how many, 0 if the next one isn't. */
static size_t write_run(struct json_writer *w, const float *values, size_t i, size_t n,
                        unsigned decimals)
{
    enum { RUN = 128 };
    size_t end = n - i < RUN ? n : i + RUN, first = i;
    char *to = buf_reserve(&w->buf, (end - i) * (FIXED_BYTES + 1)), *p = to;
    for (; to && i < end && fabsf(values[i]) < 1e9f; i++) {
        if (i > 0)
            *p++ = ',';
        p += print_fixed(p, (double)values[i], decimals);
    }
    w->buf.n += (size_t)(p - to);
    w->filled[w->depth - 1] |= i > first;
    return i - first;
}

void json_write_floats(struct json_writer *w, const float *values, size_t n,
                       unsigned decimals)
{
    if (decimals > JSON_WRITE_DECIMALS)
        decimals = JSON_WRITE_DECIMALS;
    json_write_array(w);
    for (size_t i = 0; i < n && !w->buf.failed;) {
        size_t run = write_run(w, values, i, n, decimals);
        if (run == 0 && !w->buf.failed)
            json_write_double(w, (double)values[i++]);
        i += run;
    }
    json_write_end(w);
}

void json_write_raw(struct json_writer *w, const char *json, size_t n)
{
    separate(w);
    buf_put(&w->buf, json, n);
}

void json_write_key_string(struct json_writer *w, const char *key, const char *s)
{
    json_write_key(w, key);
    json_write_string(w, s);
}

void json_write_key_uint(struct json_writer *w, const char *key, uint64_t value)
{
    json_write_key(w, key);
    json_write_uint(w, value);
}

void json_write_key_bool(struct json_writer *w, const char *key, bool value)
{
    json_write_key(w, key);
    json_write_bool(w, value);
}

void json_write_key_fixed(struct json_writer *w, const char *key, double value,
                          unsigned decimals)
{
    json_write_key(w, key);
    json_write_fixed(w, value, decimals);
}
