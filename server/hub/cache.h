/* Cache: the folders in which huggingface_hub keeps what it downloads, read and written
 * the same way, so that either program finds the other's files:
 *
 *   ROOT/models--ORG--NAME/refs/REVISION           the commit it stands for
 *                         /blobs/ETAG              a file's bytes, named by their hash
 *                         /snapshots/COMMIT/FILE   -> ../../blobs/ETAG
 *   ROOT/.locks/models--ORG--NAME/ETAG.lock        flock()ed by who downloads ETAG
 *
 * Messages begin with the path at fault. Any thread. */
#ifndef SERVER_HUB_CACHE_H
#define SERVER_HUB_CACHE_H

#include "model/seq.h"
#include "server/hub/repo.h"

#include <limits.h>
#include <stdbool.h>

/* Longest file name in a snapshot, and longest etag, with their zero. */
enum { CACHE_FILE_BYTES = 256, CACHE_ETAG_BYTES = 65 };

struct cache {
    char root[PATH_MAX];
    char folder[2 * REPO_NAME_BYTES + 16]; /* "models--ORG--NAME" */
};

/* Only names; nothing is created or looked at. ERR_INPUT: root is too long. */
enum err_code cache_of(const char *root, const struct repo *r, struct cache *out,
                       struct err *err) MUST_CHECK;

/* The snapshot that a revision stands for, by the cache alone: its commit and its folder.
 * ERR_NOT_FOUND names the revisions that are there. */
enum err_code cache_find(const struct cache *c, const char *revision,
                         char commit[REPO_COMMIT_BYTES], char dir[PATH_MAX],
                         struct err *err) MUST_CHECK;

/* The repository's NAME if path is a snapshot's folder, in out of REPO_NAME_BYTES. */
bool cache_snapshot_name(const char *path, char *out);

/* ---- writing; folders are made as they are needed -------------------------------- */

/* A path below the repository's folder, like "blobs/%s"; false if it is too long. */
bool cache_path(const struct cache *c, char out[PATH_MAX], const char *fmt, ...)
    PRINTF_LIKE(3, 4);

/* Makes the folders above path. */
enum err_code cache_make_parents(const char *path, struct err *err) MUST_CHECK;

/* Takes the lock of a blob; *fd is closed to release it. wait: false gives ERR_LIMIT if
 * somebody has it. */
enum err_code cache_lock(const struct cache *c, const char *etag, bool wait, int *fd,
                         struct err *err) MUST_CHECK;

/* Lets snapshots/COMMIT/file lead to the blob, in one step whatever was there. */
enum err_code cache_link(const struct cache *c, const char *commit, const char *file,
                         const char *etag, struct err *err) MUST_CHECK;

/* Notes which commit a revision stands for, unless it says so already. */
enum err_code cache_set_ref(const struct cache *c, const char *revision,
                            const char *commit, struct err *err) MUST_CHECK;

#endif
