#include "server/hub/cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const char PREFIX[] = "models--";

static enum err_code failed(const char *path, struct err *err)
{
    return err_set(err, ERR_IO, "%.300s: %s", path, strerror(errno));
}

static enum err_code too_long(const struct cache *c, struct err *err)
{
    return err_set(err, ERR_INPUT, "%.200s: paths below it are too long", c->root);
}

/* ---- names ----------------------------------------------------------------------- */

enum err_code cache_of(const char *root, const struct repo *r, struct cache *out,
                       struct err *err)
{
    int n = snprintf(out->root, sizeof out->root, "%s", root);
    if (n <= 0 || (size_t)n >= sizeof out->root)
        return err_set(err, ERR_INPUT, "\"%.80s\" can't be the cache's folder", root);
    snprintf(out->folder, sizeof out->folder, "%s%s--%s", PREFIX, r->org, r->name);
    return ERR_OK;
}

bool cache_path(const struct cache *c, char out[PATH_MAX], const char *fmt, ...)
{
    va_list args;
    int head = snprintf(out, PATH_MAX, "%s/%s/", c->root, c->folder);
    if (head < 0 || head >= PATH_MAX)
        return false;
    va_start(args, fmt);
    int tail = vsnprintf(out + head, (size_t)(PATH_MAX - head), fmt, args);
    va_end(args);
    return tail >= 0 && head + tail < PATH_MAX;
}

bool cache_snapshot_name(const char *path, char *out)
{
    struct repo r;
    char text[2 * REPO_NAME_BYTES + 2];
    const char *at = NULL, *next = path;
    while ((next = strstr(next, "/models--")))
        at = ++next;
    size_t n = at ? strcspn(at, "/") : 0;
    if (!at || strncmp(at + n, "/snapshots/", 11) != 0 || !repo_is_commit(at + n + 11))
        return false;
    at += sizeof PREFIX - 1;
    n -= sizeof PREFIX - 1;
    const char *dashes = memmem(at, n, "--", 2);
    if (!dashes)
        return false; /* an old repository without an organisation */
    size_t org = (size_t)(dashes - at);
    int length = snprintf(text, sizeof text, "%.*s/%.*s", (int)org, at,
                          (int)(n - org - 2), dashes + 2);
    struct err err = {0};
    if ((size_t)length >= sizeof text || repo_parse(text, &r, &err) != ERR_OK)
        return false;
    memcpy(out, r.name, sizeof r.name);
    return true;
}

/* ---- finding --------------------------------------------------------------------- */

/* What refs/REVISION holds; false if it is not there or no commit. */
static bool read_ref(const char *path, char commit[REPO_COMMIT_BYTES])
{
    char text[REPO_COMMIT_BYTES + 8];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    if (n < 0)
        return false;
    text[n] = '\0';
    text[strcspn(text, " \t\r\n")] = '\0';
    if (!repo_is_commit(text))
        return false;
    memcpy(commit, text, REPO_COMMIT_BYTES);
    return true;
}

/* "a, b" of what lies in refs/, "" if nothing does. */
static void list_refs(const struct cache *c, char *to, size_t cap)
{
    char path[PATH_MAX];
    struct dirent *entry;
    size_t used = 0;
    to[0] = '\0';
    DIR *dir = cache_path(c, path, "refs") ? opendir(path) : NULL;
    if (!dir)
        return;
    while ((entry = readdir(dir))) {
        size_t n = strlen(entry->d_name);
        if (entry->d_name[0] == '.' || used + n + 3 > cap)
            continue;
        used += (size_t)snprintf(to + used, cap - used, "%s%s", used ? ", " : "",
                                 entry->d_name);
    }
    closedir(dir);
}

static bool is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

enum err_code cache_find(const struct cache *c, const char *revision,
                         char commit[REPO_COMMIT_BYTES], char dir[PATH_MAX],
                         struct err *err)
{
    char path[PATH_MAX], found[REPO_COMMIT_BYTES] = "", refs[128];
    if (!cache_path(c, path, "refs/%s", revision))
        return too_long(c, err);
    if (repo_is_commit(revision))
        memcpy(found, revision, sizeof found);
    else if (!read_ref(path, found))
        found[0] = '\0';
    if (!cache_path(c, path, "snapshots/%s", found))
        return too_long(c, err);
    if (!found[0] || !is_folder(path)) {
        list_refs(c, refs, sizeof refs);
        return err_set(err, ERR_NOT_FOUND, "revision %s is not in %.120s/%s%s%s",
                       revision, c->root, c->folder, *refs ? ", but these are: " : "",
                       refs);
    }
    memcpy(commit, found, sizeof found);
    memcpy(dir, path, strlen(path) + 1);
    return ERR_OK;
}

/* ---- writing --------------------------------------------------------------------- */

enum err_code cache_make_parents(const char *path, struct err *err)
{
    char part[PATH_MAX];
    size_t n = strlen(path);
    if (n >= sizeof part)
        return err_set(err, ERR_INPUT, "%.120s...: this path is too long", path);
    memcpy(part, path, n + 1);
    for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(part, 0777) != 0 && errno != EEXIST)
            return failed(part, err);
        *slash = '/';
    }
    return ERR_OK;
}

/* Another program may remove a lock's file; a lock on a removed file excludes nobody. */
static bool still_named(int fd, const char *path)
{
    struct stat ours, named;
    return fstat(fd, &ours) == 0 && stat(path, &named) == 0 &&
           ours.st_ino == named.st_ino && ours.st_dev == named.st_dev;
}

enum err_code cache_lock(const struct cache *c, const char *etag, bool wait, int *fd,
                         struct err *err)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/.locks/%s/%s.lock", c->root, c->folder, etag);
    if (n < 0 || (size_t)n >= sizeof path)
        return too_long(c, err);
    if (cache_make_parents(path, err) != ERR_OK)
        return err->code;
    for (;;) {
        int got = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        if (got < 0)
            return failed(path, err);
        int rc;
        do
            rc = flock(got, wait ? LOCK_EX : LOCK_EX | LOCK_NB);
        while (rc != 0 && errno == EINTR);
        if (rc == 0 && still_named(got, path)) {
            *fd = got;
            return ERR_OK;
        }
        int why = errno;
        close(got);
        errno = why;
        if (rc != 0 && why == EWOULDBLOCK)
            return err_set(err, ERR_LIMIT, "%.300s: locked", path);
        if (rc != 0)
            return failed(path, err);
    }
}

/* A name beside path that nobody else uses. */
static bool beside(const char *path, char out[PATH_MAX])
{
    int n = snprintf(out, PATH_MAX, "%s.%ld.new", path, (long)getpid());
    return n > 0 && n < PATH_MAX;
}

enum err_code cache_link(const struct cache *c, const char *commit, const char *file,
                         const char *etag, struct err *err)
{
    char path[PATH_MAX], fresh[PATH_MAX], target[CACHE_ETAG_BYTES + 16];
    const char *deeper = strchr(file, '/') ? "../" : "";
    snprintf(target, sizeof target, "%s../../blobs/%s", deeper, etag);
    if (!cache_path(c, path, "snapshots/%s/%s", commit, file) || !beside(path, fresh))
        return too_long(c, err);
    if (cache_make_parents(path, err) != ERR_OK)
        return err->code;
    unlink(fresh);
    if (symlink(target, fresh) != 0)
        return failed(fresh, err);
    if (rename(fresh, path) != 0) {
        enum err_code code = failed(path, err);
        unlink(fresh);
        return code;
    }
    return ERR_OK;
}

/* Writes a small file in one step. */
static enum err_code replace(const char *path, const char *text, struct err *err)
{
    char fresh[PATH_MAX];
    if (!beside(path, fresh))
        return err_set(err, ERR_INPUT, "%.120s...: this path is too long", path);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (fd < 0)
        return failed(fresh, err);
    ssize_t n = write(fd, text, strlen(text));
    if (close(fd) == 0 && n == (ssize_t)strlen(text) && rename(fresh, path) == 0)
        return ERR_OK;
    enum err_code code = failed(path, err);
    unlink(fresh);
    return code;
}

enum err_code cache_set_ref(const struct cache *c, const char *revision,
                            const char *commit, struct err *err)
{
    char path[PATH_MAX], now[REPO_COMMIT_BYTES];
    if (repo_is_commit(revision))
        return ERR_OK;
    if (!cache_path(c, path, "refs/%s", revision))
        return too_long(c, err);
    if (read_ref(path, now) && strcmp(now, commit) == 0)
        return ERR_OK;
    if (cache_make_parents(path, err) != ERR_OK)
        return err->code;
    return replace(path, commit, err);
}
