#include "server/hub/blob.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/hub/digest.h"
#include "server/hub/progress.h"

struct download {
    const struct blob *blob;
    struct transfer *transfer;
    struct transfer_reply *reply;
    struct digest digest;
    struct progress progress;
    char path[PATH_MAX], part[PATH_MAX]; /* blobs/ETAG, blobs/ETAG.incomplete */
    int fd;                              /* of part */
    int64_t at;                          /* bytes in part, all of them in digest */
    bool begun;                          /* bytes of the present answer have come */
    bool stale;                          /* some bytes are of an earlier run */
    bool wrong;                          /* what has come can't become the file */
};

static int64_t size_of(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) ? (int64_t)st.st_size : -1;
}

static bool name_files(const struct cache *c, const struct blob *b, struct download *d)
{
    return cache_path(c, d->path, "blobs/%s", b->etag) &&
           cache_path(c, d->part, "blobs/%s.incomplete", b->etag);
}

int64_t blob_missing(const struct cache *c, const struct blob *b)
{
    struct download d;
    if (!name_files(c, b, &d) || size_of(d.path) == b->size)
        return 0;
    int64_t have = size_of(d.part);
    return have > 0 && have <= b->size ? b->size - have : b->size;
}

static enum err_code failed(const struct download *d, struct err *err)
{
    char size[PROGRESS_SIZE_BYTES];
    if (errno == ENOSPC || errno == EDQUOT)
        return err_set(
            err, ERR_IO,
            "%s: the disk is full, %s are still to come; make room and run the "
            "same command again",
            d->blob->file, progress_size(d->blob->size - d->at, size));
    return err_set(err, ERR_IO, "%.300s: %s", d->part, strerror(errno));
}

/* ---- the part -------------------------------------------------------------------- */

/* Begins with an empty part. */
static enum err_code start_over(struct download *d, struct err *err)
{
    if (ftruncate(d->fd, 0) != 0)
        return failed(d, err);
    d->at = 0;
    d->stale = false;
    progress_move(&d->progress, 0, false);
    return digest_begin(&d->digest, d->blob->etag, d->blob->size, err);
}

/* Hashes what an earlier run has left. */
static enum err_code take_up(struct download *d, struct err *err)
{
    char bytes[65536];
    int64_t have = size_of(d->part);
    if (have > d->blob->size)
        return start_over(d, err);
    if (digest_begin(&d->digest, d->blob->etag, d->blob->size, err) != ERR_OK)
        return err->code;
    for (d->at = 0; d->at < have;) {
        size_t want =
            have - d->at < (int64_t)sizeof bytes ? (size_t)(have - d->at) : sizeof bytes;
        ssize_t n = pread(d->fd, bytes, want, (off_t)d->at);
        if (n == 0)
            errno = EIO; /* cut by somebody else meanwhile */
        if (n <= 0)
            return failed(d, err);
        digest_add(&d->digest, bytes, (size_t)n);
        d->at += n;
    }
    d->stale = have > 0;
    progress_move(&d->progress, d->at, false);
    return ERR_OK;
}

static enum err_code write_all(struct download *d, const char *bytes, size_t n,
                               struct err *err)
{
    for (size_t done = 0; done < n;) {
        ssize_t k = pwrite(d->fd, bytes + done, n - done, (off_t)(d->at + (int64_t)done));
        if (k < 0 && errno != EINTR)
            return failed(d, err);
        done += k > 0 ? (size_t)k : 0;
    }
    return ERR_OK;
}

static enum err_code on_bytes(void *arg, const struct transfer_reply *reply,
                              const char *bytes, size_t n, struct err *err)
{
    struct download *d = arg;
    if (!d->begun && reply->status == 206 && reply->range_start != d->at)
        return err_set(err, ERR_FORMAT, "%s: bytes from %lld on were sent, not from %lld",
                       d->blob->file, (long long)reply->range_start, (long long)d->at);
    if (!d->begun && reply->status == 200 && d->at > 0 && start_over(d, err) != ERR_OK)
        return err->code;
    d->begun = true;
    if ((int64_t)n > d->blob->size - d->at) {
        d->wrong = true;
        return err_set(err, ERR_MISMATCH,
                       "%s: more bytes come than the %lld that the hub "
                       "announced",
                       d->blob->file, (long long)d->blob->size);
    }
    if (write_all(d, bytes, n, err) != ERR_OK)
        return err->code;
    digest_add(&d->digest, bytes, n);
    d->at += (int64_t)n;
    progress_move(&d->progress, d->at, true);
    return ERR_OK;
}

/* ---- all of it ------------------------------------------------------------------- */

static enum err_code broke_off(const struct download *d, const struct err *why,
                               struct err *err)
{
    return err_set(
        err, ERR_IO,
        "%s: the connection broke off after %lld of %lld bytes (%.200s); run the "
        "same command again to go on from there",
        d->blob->file, (long long)d->at, (long long)d->blob->size,
        *why->msg ? why->msg : "the answer ended");
}

/* Asks for the rest until all is there. A try that brings the file further than it ever
 * was starts the count of tries anew. */
static enum err_code get_rest(struct download *d, struct err *err)
{
    unsigned tries = 0;
    int64_t furthest = d->at;
    while (d->at < d->blob->size) {
        struct err why = {0};
        d->begun = false;
        enum err_code code =
            transfer_get(d->transfer, d->blob->url, d->at, on_bytes, d, d->reply, &why);
        long status = d->reply->status;
        if (code == ERR_OK && (status == 200 || status == 206))
            d->reply->cut = d->at < d->blob->size;
        if (code == ERR_OK && status == 416) {
            d->wrong = true;
            return err_set(err, ERR_MISMATCH,
                           "%s: has %lld bytes, the hub announced %lld", d->blob->file,
                           (long long)d->at, (long long)d->blob->size);
        }
        if (code == ERR_OK && d->at == d->blob->size)
            break;
        if (d->at > furthest)
            tries = 0;
        furthest = d->at > furthest ? d->at : furthest;
        if (transfer_again(d->transfer, d->reply, &tries))
            continue;
        if (d->reply->cut)
            return broke_off(d, &why, err);
        if (code == ERR_OK)
            return ERR_NOT_FOUND;
        *err = why;
        return code;
    }
    return ERR_OK;
}

/* The part, whole and checked. */
static enum err_code get_checked(struct download *d, struct err *err)
{
    enum err_code code = get_rest(d, err);
    if (code == ERR_OK && !digest_matches(&d->digest)) {
        d->wrong = true;
        code = err_set(err, ERR_MISMATCH,
                       "%s: the bytes are not those that the hub's hash %.12s... names; "
                       "they were removed",
                       d->blob->file, d->blob->etag);
    }
    return code;
}

static enum err_code finish(struct download *d, struct err *err)
{
    if (fsync(d->fd) != 0)
        return failed(d, err);
    if (rename(d->part, d->path) != 0)
        return failed(d, err);
    return ERR_OK;
}

/* With the lock. */
static enum err_code fetch_locked(struct download *d, struct err *err)
{
    if (size_of(d->path) == d->blob->size)
        return ERR_OK; /* somebody else was quicker */
    d->fd = open(d->part, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (d->fd < 0)
        return failed(d, err);
    progress_begin(&d->progress, d->blob->file, d->blob->size);
    enum err_code code = take_up(d, err);
    if (code == ERR_OK)
        code = get_checked(d, err);
    if (d->wrong && d->stale) { /* perhaps only the earlier run's bytes were wrong */
        progress_note(&d->progress, "what was there of it is not right; all over again");
        *err = (struct err){0};
        d->wrong = false;
        code = start_over(d, err);
        if (code == ERR_OK)
            code = get_checked(d, err);
    }
    if (code == ERR_OK)
        code = finish(d, err);
    if (d->wrong)
        unlink(d->part);
    progress_end(&d->progress, code == ERR_OK);
    digest_done(&d->digest);
    close(d->fd);
    return code;
}

enum err_code blob_fetch(struct transfer *t, const struct cache *c, const struct blob *b,
                         struct transfer_reply *reply, struct err *err)
{
    struct download d = {.blob = b, .transfer = t, .reply = reply};
    struct err busy = {0};
    int lock;
    if (!name_files(c, b, &d))
        return err_set(err, ERR_INPUT, "%.200s: paths below it are too long", c->root);
    if (size_of(d.path) == b->size)
        return ERR_OK;
    if (cache_make_parents(d.path, err) != ERR_OK)
        return err->code;
    enum err_code code = cache_lock(c, b->etag, false, &lock, &busy);
    if (code == ERR_LIMIT) {
        fprintf(stderr, "%s: another download is at it, waiting\n", b->file);
        code = cache_lock(c, b->etag, true, &lock, err);
    } else if (code != ERR_OK) {
        *err = busy;
    }
    if (code != ERR_OK)
        return code;
    code = fetch_locked(&d, err);
    close(lock);
    return code;
}
