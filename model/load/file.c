#include "model/load/file.h"

#include "model/base/mem.h"

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

/* Checks what is behind fd and takes its size. */
static enum err_code check_regular(int fd, const char *name, size_t max_bytes,
                                   size_t *out, struct err *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return io_error(name, "examined", errno, err);
    if (!S_ISREG(st.st_mode))
        return err_set(err, ERR_IO, "%s: want a regular file, found %s", name,
                       kind_of(st.st_mode));
    if (st.st_size < 0 || (uintmax_t)st.st_size > max_bytes)
        return err_set(err, ERR_LIMIT, "%s: %jd bytes, at most %zu are read", name,
                       (intmax_t)st.st_size, max_bytes);
    *out = (size_t)st.st_size;
    return ERR_OK;
}

/* Reads up to n bytes, fewer only at the end of the file. */
static enum err_code read_all(int fd, const char *name, unsigned char *at, size_t n,
                              size_t *got, struct err *err)
{
    size_t done = 0;
    while (done < n) {
        ssize_t r = read(fd, at + done, n - done);
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return io_error(name, "read", errno, err);
        if (r == 0)
            break;
        done += (size_t)r;
    }
    *got = done;
    return ERR_OK;
}

/* Fills at[0..n) and makes sure that the file ends there. */
static enum err_code read_exactly(int fd, const char *name, unsigned char *at, size_t n,
                                  struct err *err)
{
    unsigned char extra;
    size_t got = 0, more = 0;
    enum err_code code = read_all(fd, name, at, n, &got, err);
    if (code == ERR_OK && got == n)
        code = read_all(fd, name, &extra, 1, &more, err);
    if (code != ERR_OK)
        return code;
    if (got != n || more != 0)
        return err_set(err, ERR_IO,
                       "%s: changed while it was read: %zu bytes, then %s %zu", name, n,
                       more ? "more than" : "only", got);
    return ERR_OK;
}

enum err_code file_read(const char *dir, const char *name, size_t max_bytes,
                        struct file *out, struct err *err)
{
    char path[PATH_MAX];
    if (!join(path, dir, name))
        return err_set(err, ERR_IO, "%s: the path is too long", name);
    /* O_NONBLOCK: opening a FIFO must not wait for a writer. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return io_error(name, "opened", errno, err);
    size_t n = 0;
    unsigned char *at = NULL;
    enum err_code code = check_regular(fd, name, max_bytes, &n, err);
    if (code != ERR_OK)
        goto out;
    at = mem_alloc(n, 1);
    if (!at) {
        code = err_set(err, ERR_NOMEM, "%s: no memory for its %zu bytes", name, n);
        goto out;
    }
    code = read_exactly(fd, name, at, n, err);
    if (code == ERR_OK) {
        *out = (struct file){.at = at, .n = n};
        at = NULL;
    }
out:
    mem_free(at);
    close(fd);
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
