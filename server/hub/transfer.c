#include "server/hub/transfer.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include <curl/curl.h>

enum {
    REDIRECTS_MAX = 8,
    CONNECT_S = 20,
    STALL_S = 30,             /* without a byte */
    IGNORED_BYTES = 64 << 10, /* of the body of a redirect or an error */
    FIRST_WAIT_MS = 500,
    LONGEST_WAIT_MS = 60000,
    ORIGIN_BYTES = SETTINGS_URL_BYTES + 16
};

struct transfer {
    const struct settings *settings;
    unsigned retries;
    CURL *curl;
    struct curl_slist *plain, *with_token; /* request headers */
    char origin[ORIGIN_BYTES];
    bool reached; /* the hub has answered once */
};

/* ---- origins --------------------------------------------------------------------- */

/* "https://host:443" in lower case; false if url is none of HTTP. */
static bool origin_of(const char *url, char out[ORIGIN_BYTES])
{
    char *scheme = NULL, *host = NULL, *port = NULL;
    CURLU *u = curl_url();
    int n = -1;
    if (u && curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK &&
        curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
        curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
        curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK &&
        (strcasecmp(scheme, "http") == 0 || strcasecmp(scheme, "https") == 0))
        n = snprintf(out, ORIGIN_BYTES, "%s://%s:%s", scheme, host, port);
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    curl_url_cleanup(u);
    for (char *c = out; n > 0 && *c; c++)
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c - 'A' + 'a');
    return n > 0 && n < ORIGIN_BYTES;
}

static bool is_ours(const struct transfer *t, const char *url)
{
    char origin[ORIGIN_BYTES];
    return origin_of(url, origin) && strcmp(origin, t->origin) == 0;
}

/* What may be shown: a signed address has secrets behind its host. */
static enum err_code blame(const char *url, const char *why, struct err *err)
{
    char origin[ORIGIN_BYTES];
    return err_set(err, ERR_IO, "%s: %s", origin_of(url, origin) ? origin : "the hub",
                   why);
}

/* ---- making ---------------------------------------------------------------------- */

static bool add_header(struct curl_slist **list, const char *line)
{
    struct curl_slist *longer = curl_slist_append(*list, line);
    if (longer)
        *list = longer;
    return longer != NULL;
}

static bool make_headers(struct transfer *t)
{
    char line[SETTINGS_TOKEN_BYTES + 32];
    bool ok = add_header(&t->plain, "Accept-Encoding: identity") &&
              add_header(&t->with_token, "Accept-Encoding: identity");
    snprintf(line, sizeof line, "Authorization: Bearer %s", t->settings->token);
    return ok && (!*t->settings->token || add_header(&t->with_token, line));
}

enum err_code transfer_new(const struct settings *settings, unsigned retries,
                           struct transfer **out, struct err *err)
{
    struct transfer *t = mem_zero(1, sizeof *t);
    if (!t)
        return err_set(err, ERR_NOMEM, "out of memory for a connection");
    t->settings = settings;
    t->retries = retries;
    curl_global_init(CURL_GLOBAL_DEFAULT); /* counted */
    t->curl = curl_easy_init();
    if (!t->curl || !make_headers(t)) {
        transfer_free(t);
        return err_set(err, ERR_NOMEM, "out of memory for a connection");
    }
    if (!origin_of(settings->endpoint, t->origin)) {
        transfer_free(t);
        return err_set(err, ERR_INPUT, "HF_ENDPOINT: %.200s is no URL",
                       settings->endpoint);
    }
    *out = t;
    return ERR_OK;
}

void transfer_free(struct transfer *t)
{
    if (!t)
        return;
    curl_slist_free_all(t->plain);
    curl_slist_free_all(t->with_token);
    curl_easy_cleanup(t->curl);
    curl_global_cleanup();
    mem_free(t);
}

/* ---- headers --------------------------------------------------------------------- */

static void blank(struct transfer_reply *r)
{
    *r = (struct transfer_reply){
        .length = -1, .linked_length = -1, .range_start = -1, .retry_after_s = -1};
}

/* Decimal digits up to a character of `ends`, else -1. */
static int64_t number(const char *text, const char *ends)
{
    int64_t value = 0;
    size_t n = strspn(text, "0123456789");
    if (n == 0 || n > 18 || (text[n] && !strchr(ends, text[n])))
        return -1;
    for (size_t i = 0; i < n; i++)
        value = value * 10 + (text[i] - '0');
    return value;
}

/* Copies what fits; "" if it doesn't. */
static void keep(char *to, size_t cap, const char *text)
{
    size_t n = strlen(text);
    if (n >= cap)
        n = 0;
    memcpy(to, text, n);
    to[n] = '\0';
}

/* W/"abc" and "abc" are abc. */
static void keep_etag(char *to, size_t cap, char *text)
{
    if (strncmp(text, "W/", 2) == 0)
        text += 2;
    size_t n = strlen(text);
    if (n >= 2 && text[0] == '"' && text[n - 1] == '"') {
        text[n - 1] = '\0';
        text++;
    }
    keep(to, cap, text);
}

static void read_header(struct transfer_reply *r, const char *name, char *value)
{
    if (strcasecmp(name, "etag") == 0)
        keep_etag(r->etag, sizeof r->etag, value);
    else if (strcasecmp(name, "x-linked-etag") == 0)
        keep_etag(r->linked_etag, sizeof r->linked_etag, value);
    else if (strcasecmp(name, "content-length") == 0)
        r->length = number(value, "");
    else if (strcasecmp(name, "x-linked-size") == 0)
        r->linked_length = number(value, "");
    else if (strcasecmp(name, "content-range") == 0 && strncmp(value, "bytes ", 6) == 0)
        r->range_start = number(value + 6, "-");
    else if (strcasecmp(name, "retry-after") == 0)
        r->retry_after_s = number(value, "");
    else if (strcasecmp(name, "x-repo-commit") == 0)
        keep(r->commit, sizeof r->commit, value);
    else if (strcasecmp(name, "x-error-code") == 0)
        keep(r->error_code, sizeof r->error_code, value);
    else if (strcasecmp(name, "x-error-message") == 0)
        keep(r->error_message, sizeof r->error_message, value);
}

/* One hop. */
struct call {
    struct transfer *t;
    struct transfer_reply *reply;
    transfer_sink sink;
    void *arg;
    struct err *err;
    size_t ignored;
    bool refused, enough; /* by the sink; of a body that nobody reads */
};

static size_t on_header(char *bytes, size_t one, size_t n, void *arg)
{
    const struct call *c = arg;
    char line[1024];
    n *= one;
    if (n >= sizeof line)
        return n;
    memcpy(line, bytes, n);
    line[n] = '\0';
    line[strcspn(line, "\r\n")] = '\0';
    if (strncmp(line, "HTTP/", 5) == 0) { /* a 100 may have come before */
        struct transfer_reply before = *c->reply;
        blank(c->reply);
        c->reply->linked_length = before.linked_length;
        memcpy(c->reply->linked_etag, before.linked_etag, sizeof before.linked_etag);
        memcpy(c->reply->commit, before.commit, sizeof before.commit);
        return n;
    }
    char *colon = strchr(line, ':');
    if (!colon)
        return n;
    *colon = '\0';
    char *value = colon + 1 + strspn(colon + 1, " \t");
    for (size_t k = strlen(value); k > 0 && strchr(" \t", value[k - 1]); k--)
        value[k - 1] = '\0';
    read_header(c->reply, line, value);
    return n;
}

static size_t on_body(char *bytes, size_t one, size_t n, void *arg)
{
    struct call *c = arg;
    n *= one;
    curl_easy_getinfo(c->t->curl, CURLINFO_RESPONSE_CODE, &c->reply->status);
    if (c->reply->status == 200 || c->reply->status == 206) {
        c->refused = c->sink(c->arg, c->reply, bytes, n, c->err) != ERR_OK;
        return c->refused ? 0 : n;
    }
    c->ignored += n;
    c->enough = c->ignored > IGNORED_BYTES;
    return c->enough ? 0 : n;
}

/* ---- one hop --------------------------------------------------------------------- */

/* Failures that the same request would meet again. */
static bool is_final(const struct transfer *t, CURLcode rc)
{
    switch (rc) {
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_FAILED_INIT:
    case CURLE_URL_MALFORMAT:
    case CURLE_OUT_OF_MEMORY:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return true;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
        return !t->reached; /* not a moment's trouble, but no network */
    default:
        return false;
    }
}

static void set_options(struct transfer *t, const char *url, bool head, int64_t from,
                        struct call *c)
{
    CURL *curl = t->curl;
    char range[32];
    curl_easy_reset(curl); /* keeps connections */
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER,
                     is_ours(t, url) ? t->with_token : t->plain);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "seqd/" SEQD_VERSION);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_S);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)STALL_S);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, c);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, c);
    if (*t->settings->ca_file)
        curl_easy_setopt(curl, CURLOPT_CAINFO, t->settings->ca_file);
    if (head)
        curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    snprintf(range, sizeof range, "%lld-", (long long)from);
    if (from > 0)
        curl_easy_setopt(curl, CURLOPT_RANGE, range);
}

static enum err_code hop(const char *url, bool head, int64_t from, struct call *c)
{
    struct transfer *t = c->t;
    c->ignored = 0;
    c->refused = c->enough = false;
    c->reply->status = 0;
    set_options(t, url, head, from, c);
    CURLcode rc = curl_easy_perform(t->curl);
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &c->reply->status);
    t->reached |= c->reply->status != 0;
    if (c->refused)
        return c->err->code;
    if (rc == CURLE_OK || c->enough)
        return ERR_OK;
    c->reply->cut = !is_final(t, rc);
    return blame(url, curl_easy_strerror(rc), c->err);
}

/* ---- redirects ------------------------------------------------------------------- */

/* Where the last reply leads, in *next (a mem_copy); NULL if it is no redirect. */
static enum err_code follow(struct transfer *t, const char *url, char **next,
                            struct err *err)
{
    char *to = NULL, origin[ORIGIN_BYTES];
    long status = 0;
    *next = NULL;
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(t->curl, CURLINFO_REDIRECT_URL, &to);
    if (status < 300 || status > 399 || !to)
        return ERR_OK;
    if (!origin_of(to, origin) ||
        (strncasecmp(url, "https:", 6) == 0 && strncmp(origin, "https:", 6) != 0))
        return blame(url, "redirects to an address that is not secure", err);
    *next = mem_copy(to, strlen(to));
    return *next ? ERR_OK : err_set(err, ERR_NOMEM, "out of memory for an address");
}

/* All hops. `here`: only the hub's own origin is asked. */
static enum err_code ask(struct call *c, const char *url, bool here, int64_t from)
{
    char *at = mem_copy(url, strlen(url));
    enum err_code code = ERR_OK;
    blank(c->reply);
    if (!at)
        return err_set(c->err, ERR_NOMEM, "out of memory for an address");
    for (unsigned hops = 0; code == ERR_OK; hops++) {
        char *next = NULL;
        code = hop(at, here, from, c);
        if (code == ERR_OK)
            code = follow(c->t, at, &next, c->err);
        if (code != ERR_OK || !next || (here && !is_ours(c->t, next))) {
            mem_free(next);
            break;
        }
        if (hops == REDIRECTS_MAX)
            code = blame(at, "too many redirects", c->err);
        mem_free(at);
        at = next;
    }
    mem_free(at);
    return code;
}

/* ---- requests -------------------------------------------------------------------- */

enum err_code transfer_get(struct transfer *t, const char *url, int64_t from,
                           transfer_sink sink, void *arg, struct transfer_reply *reply,
                           struct err *err)
{
    struct call c = {.t = t, .reply = reply, .sink = sink, .arg = arg, .err = err};
    return ask(&c, url, false, from);
}

bool transfer_again(const struct transfer *t, const struct transfer_reply *reply,
                    unsigned *tries)
{
    long s = reply->status;
    bool busy = s == 408 || s == 429 || s == 500 || s == 502 || s == 503 || s == 504;
    if ((!reply->cut && !busy) || *tries >= t->retries)
        return false;
    int64_t ms = FIRST_WAIT_MS * ((int64_t)1 << (*tries < 6 ? *tries : 6));
    if (busy && reply->retry_after_s > 0)
        ms = reply->retry_after_s < 3600 ? reply->retry_after_s * 1000 : LONGEST_WAIT_MS;
    if (ms > LONGEST_WAIT_MS)
        ms = LONGEST_WAIT_MS;
    struct timespec wait = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&wait, NULL);
    ++*tries;
    return true;
}

static enum err_code to_buf(void *arg, const struct transfer_reply *reply,
                            const char *bytes, size_t n, struct err *err)
{
    struct buf *body = arg;
    (void)reply;
    buf_put(body, bytes, n);
    if (body->failed)
        return err_set(err, ERR_LIMIT, "the hub's answer is longer than %zu bytes",
                       body->limit);
    return ERR_OK;
}

enum err_code transfer_text(struct transfer *t, const char *url, size_t limit,
                            struct buf *body, struct transfer_reply *reply,
                            struct err *err)
{
    unsigned tries = 0;
    enum err_code code;
    body->limit = limit;
    do {
        *err = (struct err){0};
        buf_clear(body);
        code = transfer_get(t, url, 0, to_buf, body, reply, err);
    } while (transfer_again(t, reply, &tries));
    return code;
}

enum err_code transfer_head(struct transfer *t, const char *url,
                            struct transfer_reply *reply, struct err *err)
{
    unsigned tries = 0;
    enum err_code code;
    do {
        struct call c = {.t = t, .reply = reply, .err = err};
        *err = (struct err){0};
        code = ask(&c, url, true, 0);
    } while (transfer_again(t, reply, &tries));
    return code;
}
