#include "model/base/json_scan.h"

#include "model/base/utf8.h"

#include <stdbool.h>

/* The index behind the string that begins (after its quote) at `at`, or n. */
static size_t skip_string(const char *text, size_t n, size_t at)
{
    while (at < n && text[at] != '"')
        at += text[at] == '\\' ? 2 : 1;
    return at < n ? at + 1 : n;
}

static bool is_separator(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == ',' || c == ':';
}

enum err_code json_scan(const char *text, size_t n, const struct json_limits *limits,
                        struct err *err)
{
    size_t good = utf8_valid(text, n);
    if (good < n)
        return err_set(err, ERR_FORMAT, "invalid UTF-8 at byte %zu", good);
    size_t depth = 0, values = 0, at = 0;
    bool in_scalar = false;
    while (at < n) {
        char c = text[at++];
        bool begins = false;
        if (c == '"') {
            begins = true;
            at = skip_string(text, n, at);
            in_scalar = false;
        } else if (c == '[' || c == '{') {
            begins = true;
            in_scalar = false;
            if (++depth > limits->max_depth)
                return err_set(err, ERR_LIMIT, "JSON is nested deeper than %zu levels",
                               limits->max_depth);
        } else if (c == ']' || c == '}') {
            in_scalar = false;
            depth -= depth > 0;
        } else if (is_separator(c)) {
            in_scalar = false;
        } else { /* numbers, true, false, null, or rubbish for the parser to refuse */
            begins = !in_scalar;
            in_scalar = true;
        }
        values += begins;
        if (values > limits->max_values)
            return err_set(err, ERR_LIMIT, "JSON holds more than %zu values",
                           limits->max_values);
    }
    return ERR_OK;
}
