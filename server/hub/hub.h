/* Hub: model repositories as arguments of seqd. Knows the cache; downloading is done by a
 * program of its own, seqd-pull, because libcurl brings thirty shared libraries along
 * that a daemon has no use for. Any thread. */
#ifndef SERVER_HUB_HUB_H
#define SERVER_HUB_HUB_H

#include "model/seq.h"

#include <limits.h>
#include <stdbool.h>

/* True if arg means a repository: it reads ORG/NAME or ORG/NAME@REVISION, and no file or
 * folder of that name is there. */
bool hub_is_name(const char *arg);

/* The folder in the cache of what hub_is_name() said yes to; env is an environ-like list.
 * ERR_NOT_FOUND names the command that downloads it. Messages of this and the next don't
 * say what was asked for. */
enum err_code hub_find(const char *name, char *const *env, char dir[PATH_MAX],
                       struct err *err) MUST_CHECK;

/* A model argument to its folder: hub_find for names of repositories, any other argument
 * as it is if there is such a folder, else ERR_IO. */
enum err_code hub_resolve(const char *arg, char *const *env, char dir[PATH_MAX],
                          struct err *err) MUST_CHECK;

/* What a model from this folder is called: the repository's NAME for a folder of the
 * cache (name gets it; REPO_NAME_BYTES), else false. path is absolute, without symbolic
 * links. */
bool hub_model_name(const char *path, char *name);

/* `seqd pull ARG...`: becomes seqd-pull, from this program's own folder or else from
 * PATH. argv[0] is "pull". Returns only on failure: the exit status, after a message. */
int hub_pull_exec(int argc, char *const *argv);

#endif
