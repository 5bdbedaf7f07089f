#include "tests/http/fake_hub.h"

#include <arpa/inet.h>
#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

struct visit {
    struct fake_hub *hub;
    int fd;
    bool cdn, head_only;
    char method[8], path[1024], token[128];
    long long from; /* of Range, -1 = none */
};

/* ---- files ----------------------------------------------------------------------- */

static void name_by_hash(struct fake_file *f)
{
    unsigned char raw[32] = {0};
    char head[32];
    size_t digits = f->large ? 32 : 20;
    gnutls_hash_hd_t state;
    int n = snprintf(head, sizeof head, "blob %zu", f->n);
    ck_assert_int_eq(
        gnutls_hash_init(&state, f->large ? GNUTLS_DIG_SHA256 : GNUTLS_DIG_SHA1), 0);
    if (!f->large)
        gnutls_hash(state, head, (size_t)n + 1);
    gnutls_hash(state, f->bytes, f->n);
    gnutls_hash_deinit(state, raw);
    for (size_t i = 0; i < digits; i++)
        snprintf(f->etag + 2 * i, 3, "%02x", raw[i]);
}

struct fake_file *fake_hub_add(struct fake_hub *h, const char *name, const void *bytes,
                               size_t n, bool large)
{
    ck_assert_uint_lt(h->n_files, FAKE_HUB_FILES);
    struct fake_file *f = &h->files[h->n_files];
    snprintf(f->name, sizeof f->name, "%s", name);
    f->bytes = malloc(n + 1);
    ck_assert_ptr_nonnull(f->bytes);
    memcpy(f->bytes, bytes, n);
    f->n = n;
    f->large = large;
    f->announced = (long long)n;
    name_by_hash(f);
    h->n_files++;
    return f;
}

static void add_path(struct fake_hub *h, const char *folder, const char *name)
{
    char path[512];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fstat(fileno(file), &st), 0);
    if (S_ISREG(st.st_mode)) {
        char *bytes = malloc((size_t)st.st_size + 1);
        ck_assert_ptr_nonnull(bytes);
        ck_assert_uint_eq(fread(bytes, 1, (size_t)st.st_size, file), (size_t)st.st_size);
        fake_hub_add(h, name, bytes, (size_t)st.st_size, strstr(name, ".safetensors"));
        free(bytes);
    }
    fclose(file);
}

void fake_hub_add_folder(struct fake_hub *h, const char *folder)
{
    struct dirent *entry;
    DIR *dir = opendir(folder);
    ck_assert_ptr_nonnull(dir);
    while ((entry = readdir(dir)))
        if (entry->d_name[0] != '.')
            add_path(h, folder, entry->d_name);
    closedir(dir);
}

struct fake_file *fake_hub_file(struct fake_hub *h, const char *name)
{
    for (size_t i = 0; i < h->n_files; i++)
        if (strcmp(h->files[i].name, name) == 0)
            return &h->files[i];
    return NULL;
}

/* ---- the log --------------------------------------------------------------------- */

static void note(struct fake_hub *h, const struct visit *v)
{
    char line[1400], range[64] = "";
    if (v->from >= 0)
        snprintf(range, sizeof range, " range=%lld", v->from);
    int n = snprintf(line, sizeof line, "%s %s %s%s%s%s\n", v->cdn ? "cdn" : "hub",
                     v->method, v->path, range, *v->token ? " token=" : "", v->token);
    pthread_mutex_lock(&h->lock);
    if (h->log_n + (size_t)n < sizeof h->log) {
        memcpy(h->log + h->log_n, line, (size_t)n + 1);
        h->log_n += (size_t)n;
    }
    pthread_mutex_unlock(&h->lock);
}

size_t fake_hub_asked(struct fake_hub *h, const char *text)
{
    size_t found = 0;
    pthread_mutex_lock(&h->lock);
    for (const char *line = h->log; *line; line = strchr(line, '\n') + 1) {
        const char *at = strstr(line, text);
        found += at && at < strchr(line, '\n');
    }
    pthread_mutex_unlock(&h->lock);
    return found;
}

long long fake_hub_sent(struct fake_hub *h)
{
    pthread_mutex_lock(&h->lock);
    long long sent = h->sent;
    h->sent = 0;
    h->log_n = 0;
    h->log[0] = '\0';
    pthread_mutex_unlock(&h->lock);
    return sent;
}

/* True for the first *times calls. */
static bool happens(struct fake_hub *h, int *times)
{
    pthread_mutex_lock(&h->lock);
    bool yes = *times > 0;
    *times -= yes;
    pthread_mutex_unlock(&h->lock);
    return yes;
}

/* ---- answers --------------------------------------------------------------------- */

static bool send_all(int fd, const void *bytes, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t k = send(fd, (const char *)bytes + done, n - done, MSG_NOSIGNAL);
        if (k <= 0)
            return false;
        done += (size_t)k;
    }
    return true;
}

/* Status line and headers; fmt has further lines, each with its end. */
__attribute__((format(printf, 4, 5))) static void send_head(const struct visit *v,
                                                            int status, long long length,
                                                            const char *fmt, ...)
{
    char more[2048], head[4096];
    va_list args;
    va_start(args, fmt);
    vsnprintf(more, sizeof more, fmt, args);
    va_end(args);
    int n = snprintf(head, sizeof head,
                     "HTTP/1.1 %d Said\r\nContent-Length: %lld\r\nConnection: close\r\n"
                     "%s\r\n",
                     status, length, more);
    send_all(v->fd, head, (size_t)n);
}

static void send_error(const struct visit *v, int status, const char *code)
{
    send_head(v, status, 0, "X-Error-Code: %s\r\n", code);
}

/* The body of a file from `from` on, as far as the faults let it. */
static void send_body(const struct visit *v, const struct fake_file *f, size_t from)
{
    struct fake_hub *h = v->hub;
    size_t end = f->n, stop = end;
    if (h->cut_after > 0)
        stop = from + (size_t)h->cut_after;
    else if (h->cut_at > 0)
        stop = (size_t)h->cut_at > from ? (size_t)h->cut_at : from;
    if (f->large && !v->head_only && stop < end && happens(h, &h->cuts))
        end = stop;
    for (size_t at = from; at < end && !v->head_only;) {
        size_t n = end - at < 4096 ? end - at : 4096;
        if (!send_all(v->fd, f->bytes + at, n))
            return;
        at += n;
        pthread_mutex_lock(&h->lock);
        h->sent += (long long)n;
        pthread_mutex_unlock(&h->lock);
        if (f->large && h->slow_us)
            usleep((useconds_t)h->slow_us);
    }
}

static void serve_cdn(const struct visit *v)
{
    struct fake_hub *h = v->hub;
    char name[80] = "", rest[80] = "";
    const struct fake_file *f = NULL;
    if (sscanf(v->path, "/blobs/%79[^?]?signature=%79s", name, rest) == 2 &&
        strcmp(rest, "secret") == 0)
        f = fake_hub_file(h, name);
    if (!f) {
        send_error(v, 403, "");
        return;
    }
    if (v->from < 0 || h->ignore_range) {
        send_head(v, 200, (long long)f->n, "ETag: \"elsewhere\"\r\n");
        send_body(v, f, 0);
    } else if ((size_t)v->from >= f->n) {
        send_head(v, 416, 0, "Content-Range: bytes */%zu\r\n", f->n);
    } else {
        send_head(v, 206, (long long)f->n - v->from,
                  "Content-Range: bytes %lld-%zu/%zu\r\n", v->from, f->n - 1, f->n);
        send_body(v, f, (size_t)v->from);
    }
}

static void send_listing(const struct visit *v)
{
    const struct fake_hub *h = v->hub;
    char json[8192];
    size_t n = (size_t)snprintf(json, sizeof json,
                                "{\"id\":\"%s\",\"sha\":\"" FAKE_HUB_COMMIT
                                "\",\"gated\":false,\"siblings\":[",
                                h->repo);
    for (size_t i = 0; i < h->n_files; i++)
        n += (size_t)snprintf(json + n, sizeof json - n, "%s{\"rfilename\":\"%s\"}",
                              i ? "," : "", h->files[i].name);
    n += (size_t)snprintf(json + n, sizeof json - n, "]}");
    ck_assert_uint_lt(n, sizeof json);
    send_head(v, 200, (long long)n, "Content-Type: application/json\r\n");
    send_all(v->fd, json, n);
}

/* A file of the hub: large ones lie elsewhere, small ones behind one more step. */
static void send_file(const struct visit *v, const char *name, bool direct)
{
    const struct fake_hub *h = v->hub;
    const struct fake_file *f = fake_hub_file(v->hub, name);
    if (!f) {
        send_error(v, 404, "EntryNotFound");
    } else if (f->large) {
        send_head(v, 302, 15,
                  "Location: %s://127.0.0.1:%u/blobs/%s?signature=secret\r\n"
                  "X-Linked-Size: %lld\r\nX-Linked-ETag: \"%s\"\r\n"
                  "X-Repo-Commit: " FAKE_HUB_COMMIT "\r\nETag: \"of-the-pointer\"\r\n",
                  h->insecure_redirect ? "ftp" : "http", h->cdn_port, name, f->announced,
                  f->etag);
        if (!v->head_only)
            send_all(v->fd, "over there, see", 15);
    } else if (!direct) {
        send_head(v, 307, 0,
                  "Location: /api/resolve-cache/models/%s/" FAKE_HUB_COMMIT "/%s\r\n",
                  h->repo, name);
    } else {
        send_head(v, 200, f->announced,
                  "ETag: W/\"%s\"\r\nX-Repo-Commit: " FAKE_HUB_COMMIT "\r\n", f->etag);
        send_body(v, f, 0);
    }
}

/* What follows prefix + repository + middle in the path, NULL if the path is another. */
static const char *after(const struct visit *v, const char *prefix, const char *middle)
{
    char want[512];
    int n = snprintf(want, sizeof want, "%s%s%s", prefix, v->hub->repo, middle);
    return strncmp(v->path, want, (size_t)n) == 0 ? v->path + n : NULL;
}

static bool is_refused(const struct visit *v)
{
    struct fake_hub *h = v->hub;
    if (happens(h, &h->busy)) {
        send_head(v, 503, 0, "X-Error-Message: come back\r\n");
        return true;
    }
    if (h->token && strcmp(v->token, h->token) != 0) {
        send_error(v, h->gated ? 403 : 401, h->gated ? "GatedRepo" : "RepoNotFound");
        return true;
    }
    return false;
}

static void serve_hub(const struct visit *v)
{
    const char *rest;
    if (is_refused(v))
        return;
    if (v->hub->renamed && strstr(v->path, "old-name/")) {
        char path[1200];
        const char *at = strstr(v->path, "old-name/");
        snprintf(path, sizeof path, "%.*s%s", (int)(at - v->path), v->path, v->hub->repo);
        at = strchr(at + strlen("old-name/"), '/');
        send_head(v, 307, 0, "Location: %s%s\r\n", path, at ? at : "");
        return;
    }
    if ((rest = after(v, "/api/models/", "/revision/")))
        if (strcmp(rest, "main") == 0 || strcmp(rest, "v1.0") == 0 ||
            strcmp(rest, "refs%2Fpr%2F1") == 0 || strcmp(rest, FAKE_HUB_COMMIT) == 0)
            send_listing(v);
        else
            send_error(v, 404, "RevisionNotFound");
    else if ((rest = after(v, "/", "/resolve/" FAKE_HUB_COMMIT "/")) ||
             (rest = after(v, "/", "/resolve/main/")))
        send_file(v, rest, false);
    else if ((rest = after(v, "/api/resolve-cache/models/", "/" FAKE_HUB_COMMIT "/")))
        send_file(v, rest, true);
    else
        send_error(v, 404, "RepoNotFound");
}

/* ---- connections ----------------------------------------------------------------- */

static bool read_request(struct visit *v)
{
    char head[8192] = "";
    size_t got = 0;
    while (!strstr(head, "\r\n\r\n")) {
        ssize_t n = recv(v->fd, head + got, sizeof head - 1 - got, 0);
        if (n <= 0)
            return false;
        got += (size_t)n;
        head[got] = '\0';
    }
    v->from = -1;
    const char *range = strstr(head, "\r\nRange: bytes=");
    const char *token = strstr(head, "\r\nAuthorization: Bearer ");
    if (range)
        v->from = strtoll(range + strlen("\r\nRange: bytes="), NULL, 10);
    if (token)
        sscanf(token + strlen("\r\nAuthorization: Bearer "), "%127[^\r]", v->token);
    return sscanf(head, "%7s %1023s", v->method, v->path) == 2;
}

static void *visit(void *arg)
{
    struct visit *v = arg;
    if (read_request(v)) {
        v->head_only = strcmp(v->method, "HEAD") == 0;
        note(v->hub, v);
        if (v->cdn)
            serve_cdn(v);
        else
            serve_hub(v);
    }
    close(v->fd);
    free(v);
    return NULL;
}

static void accept_one(struct fake_hub *h, int which)
{
    struct visit *v = calloc(1, sizeof *v);
    ck_assert_ptr_nonnull(v);
    v->hub = h;
    v->cdn = which == 1;
    v->fd = accept(h->listening[which], NULL, NULL);
    ck_assert_uint_lt(h->n_threads, FAKE_HUB_THREADS);
    ck_assert_int_eq(pthread_create(&h->threads[h->n_threads++], NULL, visit, v), 0);
}

static void *accept_all(void *arg)
{
    struct fake_hub *h = arg;
    struct pollfd p[3] = {{.fd = h->listening[0], .events = POLLIN},
                          {.fd = h->listening[1], .events = POLLIN},
                          {.fd = h->wake[0], .events = POLLIN}};
    while (poll(p, 3, -1) > 0 && !p[2].revents)
        for (int i = 0; i < 2; i++)
            if (p[i].revents)
                accept_one(h, i);
    return NULL;
}

static int listen_anywhere(unsigned *port)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    ck_assert_int_eq(listen(fd, 64), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    *port = ntohs(a.sin_port);
    return fd;
}

void fake_hub_init(struct fake_hub *h, const char *repo)
{
    *h = (struct fake_hub){.repo = repo};
    pthread_mutex_init(&h->lock, NULL);
    h->listening[0] = listen_anywhere(&h->port);
    h->listening[1] = listen_anywhere(&h->cdn_port);
    ck_assert_int_eq(pipe2(h->wake, O_CLOEXEC), 0);
}

void fake_hub_open(struct fake_hub *h)
{
    h->n_threads = 0;
    ck_assert_int_eq(pthread_create(&h->acceptor, NULL, accept_all, h), 0);
}

void fake_hub_close(struct fake_hub *h)
{
    char byte;
    ck_assert_int_eq(write(h->wake[1], "x", 1), 1);
    pthread_join(h->acceptor, NULL);
    for (size_t i = 0; i < h->n_threads; i++)
        pthread_join(h->threads[i], NULL);
    ck_assert_int_eq(read(h->wake[0], &byte, 1), 1);
}

void fake_hub_done(struct fake_hub *h)
{
    for (size_t i = 0; i < h->n_files; i++)
        free(h->files[i].bytes);
    for (int i = 0; i < 2; i++) {
        close(h->listening[i]);
        close(h->wake[i]);
    }
    pthread_mutex_destroy(&h->lock);
}
