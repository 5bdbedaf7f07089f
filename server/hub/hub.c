#include "server/hub/hub.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/hub/cache.h"
#include "server/hub/settings.h"

enum { EXIT_NO_PROGRAM = 1 };

bool hub_is_name(const char *arg)
{
    struct repo r;
    struct err err = {0};
    return repo_parse(arg, &r, &err) == ERR_OK && access(arg, F_OK) != 0;
}

enum err_code hub_find(const char *name, char *const *env, char dir[PATH_MAX],
                       struct err *err)
{
    struct repo r;
    struct cache cache;
    struct err why = {0};
    char root[PATH_MAX], commit[REPO_COMMIT_BYTES];
    enum err_code code = repo_parse(name, &r, err);
    if (code == ERR_OK)
        code = settings_cache(env, root, err);
    if (code == ERR_OK)
        code = cache_of(root, &r, &cache, err);
    if (code != ERR_OK)
        return code;
    code = cache_find(&cache, r.revision, commit, dir, &why);
    if (code == ERR_OK)
        return ERR_OK;
    return err_set(err, code,
                   "no folder here, nor in the hub's cache; `seqd pull %s` downloads it "
                   "(%s)",
                   name, why.msg);
}

enum err_code hub_resolve(const char *arg, char *const *env, char dir[PATH_MAX],
                          struct err *err)
{
    if (hub_is_name(arg))
        return hub_find(arg, env, dir, err);
    size_t n = strlen(arg);
    if (n >= PATH_MAX)
        return err_set(err, ERR_INPUT, "%.120s...: this path is too long", arg);
    struct stat st;
    errno = 0;
    if (stat(arg, &st) != 0 || !S_ISDIR(st.st_mode))
        return err_set(err, ERR_IO, "%s%s", errno ? strerror(errno) : "this is no folder",
                       errno == ENOENT && !strchr(arg, '/')
                           ? "; a model of the hub is called ORG/NAME"
                           : "");
    memcpy(dir, arg, n + 1);
    return ERR_OK;
}

bool hub_model_name(const char *path, char *name)
{
    return cache_snapshot_name(path, name);
}

/* "seqd-pull" beside this program. */
static bool beside_us(char *out, size_t cap)
{
    ssize_t n = readlink("/proc/self/exe", out, cap - 1);
    if (n <= 0)
        return false;
    out[n] = '\0';
    char *slash = strrchr(out, '/');
    size_t room = cap - (size_t)(slash + 1 - out);
    return snprintf(slash + 1, room, "seqd-pull") < (int)room;
}

int hub_pull_exec(int argc, char *const *argv)
{
    char path[PATH_MAX];
    (void)argc;
    errno = ENOENT;
    if (beside_us(path, sizeof path))
        execv(path, argv);
    if (errno == ENOENT)
        execvp("seqd-pull", argv);
    fprintf(stderr,
            "seqd pull: the program seqd-pull is neither beside seqd nor in PATH, "
            "or does not run: %s\n",
            strerror(errno));
    return EXIT_NO_PROGRAM;
}
