#include "server/guard.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* ---- framing --------------------------------------------------------------------- */

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* RFC 9110's token, what a field name is made of. */
static bool is_token(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!s[i] || (!is_alnum(s[i]) && !strchr("!#$%&'*+-.^_`|~", s[i])))
            return false;
    return n > 0;
}

static bool has_control(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (((unsigned char)s[i] < 0x20 && s[i] != '\t') || s[i] == 0x7f)
            return true;
    return false;
}

static bool is_name(const char *name, size_t n, const char *wanted)
{
    return n == strlen(wanted) && strncasecmp(name, wanted, n) == 0;
}

static void fault(struct guard_framing *g, const char *why)
{
    if (!g->why)
        g->why = why;
}

static void read_length(struct guard_framing *g, const char *value, size_t n)
{
    g->n_length++;
    if (n == 0 || n > 15)
        fault(g, "Content-Length is not a sensible number");
    for (size_t i = 0; i < n && !g->why; i++) {
        if (value[i] < '0' || value[i] > '9')
            fault(g, "Content-Length is not a number");
        g->length = g->length * 10 + (uint64_t)(value[i] - '0');
    }
}

void guard_header(struct guard_framing *g, const char *name, size_t name_n,
                  const char *value, size_t value_n)
{
    if (!is_token(name, name_n))
        fault(g, "a header's name has a character that names don't have");
    if (has_control(value, value_n))
        fault(g, "a header's value has a control character");
    if (is_name(name, name_n, "Content-Length")) {
        read_length(g, value, value_n);
    } else if (is_name(name, name_n, "Transfer-Encoding")) {
        g->n_encoding++;
        if (!is_name(value, value_n, "chunked"))
            fault(g, "Transfer-Encoding is not chunked");
    } else if (is_name(name, name_n, "Host")) {
        g->n_host++;
    }
}

const char *guard_framing_fault(const struct guard_framing *g, const char *version)
{
    bool is_11 = strcmp(version, "HTTP/1.1") == 0;
    if (g->why)
        return g->why;
    if (g->n_length > 1)
        return "Content-Length is given twice";
    if (g->n_encoding > 1)
        return "Transfer-Encoding is given twice";
    if (g->n_length && g->n_encoding)
        return "Content-Length and Transfer-Encoding are both given";
    if (g->n_encoding && !is_11)
        return "Transfer-Encoding needs HTTP/1.1";
    if (g->n_host > 1)
        return "Host is given twice";
    if (g->n_host == 0 && is_11)
        return "Host is missing";
    return NULL;
}

/* ---- media type ------------------------------------------------------------------ */

/* The type without parameters and blanks. */
static size_t type_length(const char *s)
{
    size_t n = strcspn(s, ";");
    while (n && (s[n - 1] == ' ' || s[n - 1] == '\t'))
        n--;
    return n;
}

bool guard_media_binary(const char *content_type)
{
    if (!content_type)
        return false;
    content_type += strspn(content_type, " \t");
    return is_name(content_type, type_length(content_type), "application/octet-stream");
}

bool guard_media(const char *content_type, const char *body, size_t n)
{
    if (!content_type)
        return true;
    content_type += strspn(content_type, " \t");
    size_t length = type_length(content_type);
    if (length == 0 || is_name(content_type, length, "application/json"))
        return true;
    if (length > 17 && strncasecmp(content_type, "application/", 12) == 0 &&
        strncasecmp(content_type + length - 5, "+json", 5) == 0)
        return true;
    if (!is_name(content_type, length, "application/x-www-form-urlencoded"))
        return false;
    size_t at = 0;
    while (at < n && strchr(" \t\r\n", body[at]) && body[at])
        at++;
    return at == n || body[at] == '{' || body[at] == '[';
}

/* ---- origin ---------------------------------------------------------------------- */

/* Whether `item` is in the list "a, b,c"; a lone * matches everything. */
static bool is_listed(const char *list, const char *item)
{
    size_t item_n = strlen(item);
    while (*list) {
        list += strspn(list, " ,");
        size_t n = strcspn(list, " ,");
        if ((n == 1 && *list == '*') ||
            (n == item_n && n && strncasecmp(list, item, n) == 0))
            return true;
        list += n;
    }
    return false;
}

/* Whether host (with or without port) is an IP address or localhost. */
static bool is_literal_host(const char *host)
{
    char name[64];
    unsigned char address[16];
    size_t n;
    if (*host == '[')
        return strchr(host, ']') != NULL;
    n = strcspn(host, ":");
    if (n >= sizeof name)
        return false;
    snprintf(name, sizeof name, "%.*s", (int)n, host);
    return strcasecmp(name, "localhost") == 0 || inet_pton(AF_INET, name, address) == 1;
}

enum guard_origin guard_origin(const char *origin, const char *host, const char *allowed,
                               bool loopback)
{
    if (!origin)
        return GUARD_ORIGIN_NONE;
    const char *authority = strstr(origin, "://");
    if (authority && host && strcasecmp(authority + 3, host) == 0 &&
        (!loopback || is_literal_host(host)))
        return GUARD_ORIGIN_OWN;
    return is_listed(allowed, origin) ? GUARD_ORIGIN_LISTED : GUARD_ORIGIN_FOREIGN;
}

bool guard_traceparent(const char *value)
{
    static const char pattern[] =
        "00-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx-xxxxxxxxxxxxxxxx-xx";
    if (!value || strlen(value) != GUARD_TRACEPARENT_BYTES)
        return false;
    for (size_t i = 0; i < GUARD_TRACEPARENT_BYTES; i++) {
        bool digit = pattern[i] == 'x';
        if (digit ? !value[i] || !strchr("0123456789abcdef", value[i])
                  : value[i] != pattern[i])
            return false;
    }
    return strspn(value + 3, "0") < 32 && strspn(value + 36, "0") < 16;
}

bool guard_request_id(const char *id)
{
    size_t n = id ? strlen(id) : 0;
    for (size_t i = 0; i < n; i++)
        if (!is_alnum(id[i]) && !strchr("._-", id[i]))
            return false;
    return n > 0 && n <= 64;
}
