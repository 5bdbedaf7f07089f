#include "model/load/file.h"

#include "model/base/mem.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Puts dir/name into path[PATH_MAX]; false if it is too long. */
static bool join(char path[PATH_MAX], const char *dir, const char *name)
{
    int n = snprintf(path, PATH_MAX, "%s/%s", dir, name);
    return n > 0 && n < PATH_MAX;
}

static enum err_code io_error(const char *name, const char *what, int number,
                              struct err *err)
{
    char text[128];
    const char *why = strerror_r(number, text, sizeof text);
    return err_set(err, ERR_IO, "%s: cannot be %s: %s", name, what, why);
}

static const char *kind_of(mode_t mode)
{
    if (S_ISDIR(mode))
        return "a folder";
    if (S_ISFIFO(mode))
        return "a FIFO";
    return S_ISCHR(mode) || S_ISBLK(mode) ? "a device" : "a special file";
}

/* Checks what is behind fd and takes its size and time. */
static enum err_code check_regular(const char *name, size_t max_bytes,
                                   struct file_reader *r, struct err *err)
{
    struct stat st;
    if (fstat(r->fd, &st) != 0)
        return io_error(name, "examined", errno, err);
    if (!S_ISREG(st.st_mode))
        return err_set(err, ERR_IO, "%s: want a regular file, found %s", name,
                       kind_of(st.st_mode));
    if (st.st_size < 0 || (uintmax_t)st.st_size > max_bytes)
        return err_set(err, ERR_LIMIT, "%s: %jd bytes, at most %zu are read", name,
                       (intmax_t)st.st_size, max_bytes);
    r->n = (size_t)st.st_size;
    r->written = st.st_mtim;
    return ERR_OK;
}

enum err_code file_open(const char *dir, const char *name, size_t max_bytes,
                        struct file_reader *out, struct err *err)
{
    char path[PATH_MAX];
    if (!join(path, dir, name))
        return err_set(err, ERR_IO, "%s: the path is too long", name);
    /* O_NONBLOCK: opening a FIFO must not wait for a writer. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return io_error(name, "opened", errno, err);
    struct file_reader r = {.fd = fd, .open = true};
    enum err_code code = check_regular(name, max_bytes, &r, err);
    if (code == ERR_OK)
        *out = r;
    else
        file_close(&r);
    return code;
}

void file_close(struct file_reader *r)
{
    if (r->open)
        close(r->fd);
    *r = (struct file_reader){0};
}

/* Reads up to n bytes, fewer only at the end of the file. */
static enum err_code read_all(const struct file_reader *r, const char *name, size_t first,
                              size_t n, unsigned char *at, size_t *got, struct err *err)
{
    size_t done = 0;
    while (done < n) {
        ssize_t some = pread(r->fd, at + done, n - done, (off_t)(first + done));
        if (some < 0 && errno == EINTR)
            continue;
        if (some < 0)
            return io_error(name, "read", errno, err);
        if (some == 0)
            break;
        done += (size_t)some;
    }
    *got = done;
    return ERR_OK;
}

static enum err_code changed(const struct file_reader *r, const char *name,
                             const char *what, size_t now, struct err *err)
{
    return err_set(err, ERR_IO, "%s: changed while it was read: %zu bytes, then %s %zu",
                   name, r->n, what, now);
}

enum err_code file_read_part(const struct file_reader *r, const char *name, size_t first,
                             size_t n, unsigned char *out, struct err *err)
{
    size_t got = 0;
    assert(first <= r->n && n <= r->n - first);
    enum err_code code = read_all(r, name, first, n, out, &got, err);
    if (code == ERR_OK && got != n)
        code = changed(r, name, "only", first + got, err);
    return code;
}

enum err_code file_check_end(const struct file_reader *r, const char *name,
                             struct err *err)
{
    unsigned char extra;
    size_t more = 0;
    struct stat st;
    if (fstat(r->fd, &st) != 0)
        return io_error(name, "examined", errno, err);
    if ((uintmax_t)st.st_size < r->n)
        return changed(r, name, "only", (size_t)st.st_size, err);
    enum err_code code = read_all(r, name, r->n, 1, &extra, &more, err);
    if (code == ERR_OK && more > 0)
        code = changed(r, name, "more than", r->n, err);
    bool rewritten = st.st_mtim.tv_sec != r->written.tv_sec ||
                     st.st_mtim.tv_nsec != r->written.tv_nsec;
    if (code == ERR_OK && rewritten)
        code =
            err_set(err, ERR_IO, "%s: changed while it was read: it was written", name);
    return code;
}

enum err_code file_read(const char *dir, const char *name, size_t max_bytes,
                        struct file *out, struct err *err)
{
    struct file_reader r = {0};
    enum err_code code = file_open(dir, name, max_bytes, &r, err);
    if (code != ERR_OK)
        return code;
    size_t n = r.n;
    unsigned char *at = mem_alloc(n, 1);
    if (!at)
        code = err_set(err, ERR_NOMEM, "%s: no memory for its %zu bytes", name, n);
    if (code == ERR_OK)
        code = file_read_part(&r, name, 0, n, at, err);
    if (code == ERR_OK)
        code = file_check_end(&r, name, err);
    file_close(&r);
    if (code == ERR_OK)
        *out = (struct file){.at = at, .n = n};
    else
        mem_free(at);
    return code;
}

void file_done(struct file *f)
{
    mem_free(f->at);
    *f = (struct file){0};
}

bool file_exists(const char *dir, const char *name)
{
    char path[PATH_MAX];
    struct stat st;
    return join(path, dir, name) && lstat(path, &st) == 0;
}

bool file_is_basename(const char *name)
{
    size_t n = strlen(name);
    return n > 0 && n <= NAME_MAX && !strchr(name, '/') && strcmp(name, ".") != 0 &&
           strcmp(name, "..") != 0;
}
