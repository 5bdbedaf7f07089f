#include "server/hub/pull.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "model/seq.h"
#include "server/buf.h"
#include "server/hub/blob.h"
#include "server/hub/cache.h"
#include "server/hub/digest.h"
#include "server/hub/files.h"
#include "server/hub/progress.h"
#include "server/hub/repo.h"
#include "server/hub/settings.h"
#include "server/hub/transfer.h"

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };
enum { RETRIES = 5, RETRIES_MAX = 100, URL_BYTES = 2048 };

static const char HELP[] =
    "usage: seqd pull [options] ORG/NAME[@REVISION]...\n"
    "\n"
    "Downloads what seqd needs of a model repository into the cache that Python's\n"
    "huggingface_hub uses too, and prints the folder. `seqd ORG/NAME` then serves it.\n"
    "Interrupted downloads go on where they stopped when the command is run again.\n"
    "\n"
    "  --revision REVISION  branch, tag or commit (default: main); the same as "
    "@REVISION\n"
    "  --cache-dir DIR      another folder than $HF_HUB_CACHE or $HF_HOME/hub\n"
    "  --retries N          tries after a cut connection, 0 to 100 (default: 5)\n"
    "  --help               show this\n"
    "\n"
    "HF_TOKEN, HF_ENDPOINT, HF_HOME, HF_HUB_CACHE and HF_HUB_OFFLINE are honoured.\n"
    "Exit status: 0 the model is there, 1 it is not, 2 wrong usage.\n";

struct pull {
    struct settings settings;
    struct repo repo;
    struct cache cache;
    unsigned retries;
    bool own_cache; /* --cache-dir was given */

    struct transfer *transfer;
    char commit[REPO_COMMIT_BYTES];
    struct files files;
    struct etag *etags;          /* [files.n] */
    size_t n_new;                /* files that were not in the snapshot */
    char hint[FILES_HINT_BYTES]; /* a command that helps after a failure; "" = none */
};

/* What the hub says of a file; size -1: it is in the snapshot already. */
struct etag {
    char text[CACHE_ETAG_BYTES];
    int64_t size;
};

/* ---- refusals -------------------------------------------------------------------- */

static enum err_code no_access(const struct pull *p, const struct transfer_reply *r,
                               struct err *err)
{
    const struct repo *m = &p->repo;
    if (strcmp(r->error_code, "GatedRepo") == 0)
        return err_set(
            err, ERR_NOT_FOUND,
            "%s/%s is gated: accept its terms at %.120s/%s/%s, and set HF_TOKEN "
            "to a token of yours",
            m->org, m->name, p->settings.endpoint, m->org, m->name);
    if (*p->settings.token)
        return err_set(
            err, ERR_NOT_FOUND,
            "%s/%s: the hub refuses (%ld): there is no such repository, or the "
            "token in HF_TOKEN may not read it",
            m->org, m->name, r->status);
    return err_set(err, ERR_NOT_FOUND,
                   "%s/%s: the hub refuses (%ld): there is no such repository, or it is "
                   "private or gated; then set HF_TOKEN to a token that may read it",
                   m->org, m->name, r->status);
}

/* An answer that is not what was asked for. file NULL: about the repository. */
static enum err_code refusal(const struct pull *p, const struct transfer_reply *r,
                             const char *file, struct err *err)
{
    const struct repo *m = &p->repo;
    if (r->status == 401 || r->status == 403)
        return no_access(p, r, err);
    if (r->status == 404 && strcmp(r->error_code, "RevisionNotFound") == 0)
        return err_set(err, ERR_NOT_FOUND, "%s/%s has no revision %s", m->org, m->name,
                       m->revision);
    if (r->status == 404 && file)
        return err_set(err, ERR_NOT_FOUND, "%s/%s@%s has no file %s", m->org, m->name,
                       m->revision, file);
    if (r->status == 404)
        return err_set(err, ERR_NOT_FOUND, "%.120s has no repository %s/%s",
                       p->settings.endpoint, m->org, m->name);
    return err_set(err, ERR_IO, "%s/%s%s%s: the hub answers %ld%s%s", m->org, m->name,
                   file ? ", " : "", file ? file : "", r->status,
                   *r->error_message ? ": " : "", r->error_message);
}

/* ---- asking ---------------------------------------------------------------------- */

/* Appends text with everything but letters, digits and "-._~" percent-encoded. */
static void put_encoded(struct buf *url, const char *text)
{
    for (; *text; text++)
        if (strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~",
                   *text))
            buf_put(url, text, 1);
        else
            buf_printf(url, "%%%02X", (unsigned)(unsigned char)*text);
}

/* The commit of the revision, and which files to get. */
static enum err_code ask_revision(struct pull *p, struct err *err)
{
    struct buf url = {0}, body = {0};
    struct transfer_reply reply = {0};
    buf_printf(&url, "%s/api/models/%s/%s/revision/", p->settings.endpoint, p->repo.org,
               p->repo.name);
    put_encoded(&url, p->repo.revision);
    buf_put(&url, "", 1);
    enum err_code code =
        url.failed
            ? err_set(err, ERR_NOMEM, "out of memory for an address")
            : transfer_text(p->transfer, url.at, FILES_JSON_BYTES, &body, &reply, err);
    if (code == ERR_OK && reply.status != 200)
        code = refusal(p, &reply, NULL, err);
    if (code == ERR_OK)
        code = files_choose(body.n ? body.at : "", body.n, &p->repo, &p->files, p->commit,
                            p->hint, err);
    buf_done(&url);
    buf_done(&body);
    return code;
}

static void file_url(const struct pull *p, const char *file, char url[URL_BYTES])
{
    snprintf(url, URL_BYTES, "%s/%s/%s/resolve/%s/%s", p->settings.endpoint, p->repo.org,
             p->repo.name, p->commit, file);
}

static bool in_snapshot(const struct cache *c, const char *commit, const char *file)
{
    char path[PATH_MAX];
    struct stat st;
    return cache_path(c, path, "snapshots/%s/%s", commit, file) && stat(path, &st) == 0 &&
           S_ISREG(st.st_mode);
}

/* Hash and size of a file that is not there yet. */
static enum err_code ask_file(const struct pull *p, const char *file, struct etag *out,
                              struct err *err)
{
    char url[URL_BYTES];
    struct transfer_reply r = {0};
    out->size = -1;
    if (in_snapshot(&p->cache, p->commit, file))
        return ERR_OK;
    file_url(p, file, url);
    if (transfer_head(p->transfer, url, &r, err) != ERR_OK)
        return err->code;
    if (r.status != 200 && (r.status < 300 || r.status > 399))
        return refusal(p, &r, file, err);
    const char *etag = *r.linked_etag || r.status != 200 ? r.linked_etag : r.etag;
    int64_t size = r.linked_length >= 0 || r.status != 200 ? r.linked_length : r.length;
    if (*r.commit && strcmp(r.commit, p->commit) != 0)
        return err_set(err, ERR_MISMATCH, "%s: the hub sends commit %s instead of %s",
                       file, r.commit, p->commit);
    if (!digest_is_known(etag) || size < 0)
        return err_set(err, ERR_UNSUPPORTED,
                       "%s: the hub says neither SHA-256 nor git hash of it, or no size "
                       "(etag \"%.80s\"): it can't be checked",
                       file, etag);
    memcpy(out->text, etag, strlen(etag) + 1);
    out->size = size;
    return ERR_OK;
}

/* etags[from..files.n) */
static enum err_code ask_files(struct pull *p, size_t from, struct err *err)
{
    struct etag *etags = mem_resize(p->etags, p->files.n, sizeof *etags);
    enum err_code code = ERR_OK;
    if (!etags)
        return err_set(err, ERR_NOMEM, "out of memory for %zu files", p->files.n);
    p->etags = etags;
    for (size_t i = from; i < p->files.n && code == ERR_OK; i++)
        code = ask_file(p, p->files.at[i], &etags[i], err);
    return code;
}

/* ---- getting --------------------------------------------------------------------- */

static enum err_code get_file(struct pull *p, size_t i, struct err *err)
{
    char url[URL_BYTES];
    struct transfer_reply reply = {0};
    struct blob blob = {.url = url,
                        .file = p->files.at[i],
                        .etag = p->etags[i].text,
                        .size = p->etags[i].size};
    if (blob.size < 0)
        return ERR_OK;
    file_url(p, blob.file, url);
    enum err_code code = blob_fetch(p->transfer, &p->cache, &blob, &reply, err);
    return code == ERR_NOT_FOUND ? refusal(p, &reply, blob.file, err) : code;
}

/* A downloaded file in memory. */
static enum err_code read_file(const struct pull *p, size_t i, struct buf *out,
                               struct err *err)
{
    char path[PATH_MAX], bytes[65536];
    const char *file = p->files.at[i];
    ssize_t n = 0;
    bool named = p->etags[i].size < 0
                     ? cache_path(&p->cache, path, "snapshots/%s/%s", p->commit, file)
                     : cache_path(&p->cache, path, "blobs/%s", p->etags[i].text);
    int fd = named ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    while (fd >= 0 && (n = read(fd, bytes, sizeof bytes)) > 0)
        buf_put(out, bytes, (size_t)n);
    if (fd < 0 || n < 0)
        err_set(err, ERR_IO, "%s: %s", file, strerror(errno));
    if (fd >= 0)
        close(fd);
    if (out->failed)
        err_set(err, ERR_LIMIT, "%s: longer than %d bytes", file, FILES_JSON_BYTES);
    return err->code;
}

/* A sharded model: its index says which files there are. */
static enum err_code add_shards(struct pull *p, struct err *err)
{
    size_t before = p->files.n, i = 0;
    struct buf index = {.limit = FILES_JSON_BYTES};
    while (i < before && strcmp(p->files.at[i], FILES_INDEX) != 0)
        i++;
    if (i == before)
        return ERR_OK;
    enum err_code code = get_file(p, i, err);
    if (code == ERR_OK)
        code = read_file(p, i, &index, err);
    if (code == ERR_OK)
        code = files_add_shards(&p->files, index.n ? index.at : "", index.n, err);
    buf_done(&index);
    return code == ERR_OK ? ask_files(p, before, err) : code;
}

/* Better now than after an hour. */
static enum err_code check_space(const struct pull *p, struct err *err)
{
    char path[PATH_MAX], need[PROGRESS_SIZE_BYTES], have[PROGRESS_SIZE_BYTES];
    struct statvfs fs;
    int64_t missing = 0;
    for (size_t i = 0; i < p->files.n; i++) {
        struct blob b = {.etag = p->etags[i].text, .size = p->etags[i].size};
        int64_t one = b.size < 0 ? 0 : blob_missing(&p->cache, &b);
        if (one > INT64_MAX - missing)
            return err_set(err, ERR_FORMAT, "the hub announces absurd sizes");
        missing += one;
    }
    if (missing == 0)
        return ERR_OK;
    if (!cache_path(&p->cache, path, "blobs/"))
        return err_set(err, ERR_INPUT, "%.200s: paths below it are too long",
                       p->cache.root);
    if (cache_make_parents(path, err) != ERR_OK)
        return err->code;
    if (statvfs(path, &fs) != 0)
        return ERR_OK; /* a file system that doesn't tell */
    double room = (double)fs.f_bavail * (double)fs.f_frsize;
    if (room >= (double)missing)
        return ERR_OK;
    return err_set(err, ERR_IO,
                   "%s/%s: %s are to be downloaded, but %.120s has room for %s",
                   p->repo.org, p->repo.name, progress_size(missing, need), p->cache.root,
                   progress_size((int64_t)room, have));
}

/* The snapshot appears when all of its files are there. */
static enum err_code publish(struct pull *p, struct err *err)
{
    enum err_code code = ERR_OK;
    for (size_t i = 0; i < p->files.n && code == ERR_OK; i++)
        if (p->etags[i].size >= 0) {
            code =
                cache_link(&p->cache, p->commit, p->files.at[i], p->etags[i].text, err);
            p->n_new++;
        }
    return code == ERR_OK ? cache_set_ref(&p->cache, p->repo.revision, p->commit, err)
                          : code;
}

static enum err_code pull_online(struct pull *p, struct err *err)
{
    enum err_code code = transfer_new(&p->settings, p->retries, &p->transfer, err);
    if (code == ERR_OK)
        code = ask_revision(p, err);
    if (code == ERR_OK)
        code = ask_files(p, 0, err);
    if (code == ERR_OK)
        code = add_shards(p, err);
    if (code == ERR_OK)
        code = check_space(p, err);
    for (size_t i = 0; code == ERR_OK && i < p->files.n; i++)
        code = get_file(p, i, err);
    if (code == ERR_OK)
        code = publish(p, err);
    transfer_free(p->transfer);
    return code;
}

/* ---- the command ----------------------------------------------------------------- */

/* The folder to standard output, for scripts; what to do with it for people. */
static enum err_code report(const struct pull *p, struct err *err)
{
    char dir[PATH_MAX], commit[REPO_COMMIT_BYTES];
    const struct repo *m = &p->repo;
    bool main_branch = strcmp(m->revision, "main") == 0;
    if (cache_find(&p->cache, m->revision, commit, dir, err) != ERR_OK)
        return err->code;
    if (!in_snapshot(&p->cache, commit, "config.json"))
        return err_set(err, ERR_NOT_FOUND, "%s: only a part of the model is here", dir);
    if (p->n_new == 0)
        fprintf(stderr, "all files were there already\n");
    printf("%s\n", dir);
    if (fflush(stdout) != 0)
        return err_set(err, ERR_IO, "standard output: %s", strerror(errno));
    if (p->own_cache)
        fprintf(stderr, "serve it: seqd %s\n", dir);
    else
        fprintf(stderr, "serve it: seqd %s/%s%s%s\n", m->org, m->name,
                main_branch ? "" : "@", main_branch ? "" : m->revision);
    return ERR_OK;
}

static enum err_code run(struct pull *p, struct err *err)
{
    enum err_code code = ERR_OK;
    if (p->settings.offline)
        fprintf(stderr, "HF_HUB_OFFLINE is set: looking in the cache only\n");
    else
        code = pull_online(p, err);
    if (code == ERR_OK)
        code = report(p, err);
    files_done(&p->files);
    mem_free(p->etags);
    return code;
}

/* What the arguments say, borrowed. */
struct arguments {
    const char **repos;
    size_t n_repos;
    const char *revision, *cache_dir, *retries;
    bool help;
};

/* --name VALUE or --name=VALUE at argv[*i], which moves to the value; "" if it's missing.
 */
static bool flag(const char *name, char *const *argv, int *i, const char **value)
{
    size_t n = strlen(name);
    const char *arg = argv[*i];
    if (strncmp(arg, name, n) != 0 || (arg[n] && arg[n] != '='))
        return false;
    if (arg[n])
        *value = arg + n + 1;
    else
        *value = argv[*i + 1] ? argv[++*i] : "";
    return true;
}

static enum err_code read_arguments(int argc, char *const *argv, struct arguments *a,
                                    struct err *err)
{
    a->repos = mem_zero((size_t)argc + 1, sizeof *a->repos);
    if (!a->repos)
        return err_set(err, ERR_NOMEM, "out of memory for the arguments");
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i], **value = NULL;
        if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0)
            a->help = true;
        else if (flag("--revision", argv, &i, &a->revision))
            value = &a->revision;
        else if (flag("--cache-dir", argv, &i, &a->cache_dir))
            value = &a->cache_dir;
        else if (flag("--retries", argv, &i, &a->retries))
            value = &a->retries;
        else if (arg[0] == '-')
            return err_set(err, ERR_INPUT, "unknown option %s", arg);
        else
            a->repos[a->n_repos++] = arg;
        if (value && !**value)
            return err_set(err, ERR_INPUT, "%s needs a value", arg);
    }
    if (!a->help && a->n_repos == 0)
        return err_set(err, ERR_INPUT, "name a repository: seqd pull ORG/NAME");
    return ERR_OK;
}

static enum err_code read_retries(const char *text, unsigned *out, struct err *err)
{
    char *end = NULL;
    unsigned long value = text ? strtoul(text, &end, 10) : RETRIES;
    if (text && (*text < '0' || *text > '9' || *end || value > RETRIES_MAX))
        return err_set(err, ERR_INPUT, "--retries: want 0 to %d, found %.40s",
                       RETRIES_MAX, text);
    *out = (unsigned)value;
    return ERR_OK;
}

/* Everything about one repository that needs no network. */
static enum err_code prepare(const struct arguments *a, const char *repo,
                             char *const *env, struct pull *p, struct err *err)
{
    *p = (struct pull){.own_cache = a->cache_dir != NULL};
    enum err_code code = repo_parse(repo, &p->repo, err);
    if (code == ERR_OK && a->revision && strchr(repo, '@'))
        code = err_set(err, ERR_INPUT, "%s and --revision %s: which of them?", repo,
                       a->revision);
    if (code == ERR_OK && a->revision)
        code = repo_set_revision(&p->repo, a->revision, err);
    if (code == ERR_OK)
        code = read_retries(a->retries, &p->retries, err);
    if (code == ERR_OK)
        code = settings_read(env, &p->settings, err);
    return code == ERR_OK ? cache_of(a->cache_dir ? a->cache_dir : p->settings.cache,
                                     &p->repo, &p->cache, err)
                          : code;
}

static int show_help(void)
{
    return fputs(HELP, stdout) < 0 || fflush(stdout) != 0 ? EXIT_FAILED : EXIT_OK;
}

/* All names are looked at before the first download. */
static int pull_all(const struct arguments *a, char *const *env)
{
    struct pull pull;
    for (size_t i = 0; i < 2 * a->n_repos; i++) {
        bool checking = i < a->n_repos;
        struct err err = {0};
        enum err_code code = prepare(a, a->repos[i % a->n_repos], env, &pull, &err);
        if (code == ERR_OK && !checking)
            code = run(&pull, &err);
        if (code == ERR_OK)
            continue;
        fprintf(stderr, "seqd pull: %s\n", err.msg);
        if (*pull.hint)
            fprintf(stderr,
                    "this makes a folder that can be served:\n\n  %s\n  seqd %s\n",
                    pull.hint, pull.repo.name);
        return checking ? EXIT_USAGE : EXIT_FAILED;
    }
    return EXIT_OK;
}

int pull_main(int argc, char *const *argv, char *const *env)
{
    struct arguments a = {0};
    struct err err = {0};
    int status;
    signal(SIGPIPE, SIG_IGN);
    if (read_arguments(argc, argv, &a, &err) != ERR_OK) {
        fprintf(stderr, "seqd pull: %s\nseqd pull --help shows all options\n", err.msg);
        status = EXIT_USAGE;
    } else {
        status = a.help ? show_help() : pull_all(&a, env);
    }
    mem_free(a.repos);
    return status;
}
