/* Repo: the name of a model repository, "ORG/NAME" or "ORG/NAME@REVISION", checked.
 *
 * What passes is safe as a folder's name and in a URL's path. The rules are the hub's
 * own: letters, digits, '-', '_' and '.', 96 bytes at most. A revision is a branch, a tag
 * or a commit; git's rules for names of references hold. Any thread. */
#ifndef SERVER_HUB_REPO_H
#define SERVER_HUB_REPO_H

#include "model/seq.h"

#include <stdbool.h>

enum { REPO_NAME_BYTES = 97, REPO_REVISION_BYTES = 201, REPO_COMMIT_BYTES = 41 };

struct repo {
    char org[REPO_NAME_BYTES], name[REPO_NAME_BYTES];
    char revision[REPO_REVISION_BYTES]; /* "main" if none was given */
};

/* ERR_INPUT says which rule is broken. */
enum err_code repo_parse(const char *text, struct repo *out, struct err *err) MUST_CHECK;

/* Puts `revision` in the place of the one that *r has. ERR_INPUT. */
enum err_code repo_set_revision(struct repo *r, const char *revision,
                                struct err *err) MUST_CHECK;

/* True for a full commit: 40 lower-case hexadecimal digits. */
bool repo_is_commit(const char *text);

#endif
