/* Files: which files of a repository are worth having. Never pickle, never anything that
 * would have to be run; only what seqd reads. Any thread. */
#ifndef SERVER_HUB_FILES_H
#define SERVER_HUB_FILES_H

#include "model/seq.h"
#include "server/hub/cache.h"
#include "server/hub/repo.h"

#include <stdbool.h>

enum { FILES_JSON_BYTES = 32 << 20, FILES_MAX = 1024, FILES_HINT_BYTES = 1024 };

/* A list of checked names: letters, digits, '.', '_', '-', and none begins with '.'; the
 * Pooling's config.json alone lies in a folder. */
struct files {
    char (*at)[CACHE_FILE_BYTES];
    size_t n;
};

extern const char FILES_INDEX[]; /* "model.safetensors.index.json" */

/* What to get, from the hub's description of a revision (JSON of n bytes), and its
 * commit. ERR_FORMAT for an answer that is no such description, ERR_UNSUPPORTED if the
 * repository lacks a kind of file that seqd needs; if Python can make it, hint (else
 * untouched) is the command that makes a folder for seqd. */
enum err_code files_choose(const char *text, size_t n, const struct repo *r,
                           struct files *out, char commit[REPO_COMMIT_BYTES],
                           char hint[FILES_HINT_BYTES], struct err *err) MUST_CHECK;

/* Adds the shards that an index names. */
enum err_code files_add_shards(struct files *f, const char *text, size_t n,
                               struct err *err) MUST_CHECK;

bool files_has(const struct files *f, const char *name);
void files_done(struct files *f);

#endif
