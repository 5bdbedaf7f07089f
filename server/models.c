#include "server/models.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/clock.h"
#include "server/hub/hub.h"
#include "server/hub/repo.h"

/* ---- finding --------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool has_config(const char *dir)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/config.json", dir);
    return n > 0 && (size_t)n < sizeof path && access(path, R_OK) == 0;
}

static uint64_t written_at(const char *dir)
{
    char path[PATH_MAX];
    struct stat st;
    int n = snprintf(path, sizeof path, "%s/config.json", dir);
    bool good = n > 0 && (size_t)n < sizeof path && stat(path, &st) == 0;
    return good && st.st_mtime > 0 ? (uint64_t)st.st_mtime : 0;
}

struct found {
    char **at;
    size_t n;
};

static void found_done(struct found *f)
{
    for (size_t i = 0; i < f->n; i++)
        mem_free(f->at[i]);
    mem_free(f->at);
}

static enum err_code add_dir(struct found *f, const char *root, const char *name,
                             struct err *err)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/%s", root, name);
    if (name[0] == '.' || n < 0 || (size_t)n >= sizeof path || !has_config(path))
        return ERR_OK;
    char **at = mem_resize(f->at, f->n + 1, sizeof *at);
    char *copy = at ? mem_copy(path, (size_t)n) : NULL;
    f->at = at ? at : f->at;
    if (!copy)
        return err_set(err, ERR_NOMEM, "out of memory for %s", root);
    f->at[f->n++] = copy;
    return ERR_OK;
}

enum err_code models_scan(const char *root, char ***list, size_t *n, struct err *err)
{
    struct found f = {0};
    struct dirent *entry;
    enum err_code code = ERR_OK;
    DIR *dir = opendir(root);
    if (!dir)
        return err_set(err, ERR_IO, "%s: %s", root, strerror(errno));
    while (code == ERR_OK && (entry = readdir(dir)))
        code = add_dir(&f, root, entry->d_name, err);
    closedir(dir);
    if (code == ERR_OK && f.n == 0)
        code =
            err_set(err, ERR_NOT_FOUND, "%s: no folder with a config.json in it", root);
    if (code != ERR_OK) {
        found_done(&f);
        return code;
    }
    if (f.at)
        qsort(f.at, f.n, sizeof *f.at, by_name);
    *list = f.at;
    *n = f.n;
    return ERR_OK;
}

enum err_code models_check_folder(const char *dir, struct err *err)
{
    char **list = NULL;
    size_t n = 0;
    struct err none = {0};
    if (has_config(dir) || models_scan(dir, &list, &n, &none) != ERR_OK || !list)
        return ERR_OK;
    err_set(err, ERR_NOT_FOUND,
            "no config.json here, but in %zu of its folders, as %s: name one of them, or "
            "serve all by --models-dir %s",
            n, list[0], dir);
    for (size_t i = 0; i < n; i++)
        mem_free(list[i]);
    mem_free(list);
    return ERR_NOT_FOUND;
}

/* ---- loading --------------------------------------------------------------------- */

enum { PRECISION_BYTES = 16 };

struct loading {
    struct model *model;
    struct seq_load_options options;
    char precision[PRECISION_BYTES];
    enum err_code code;
    struct err err;
    pthread_t thread;
    bool started;
};

static void *load(void *arg)
{
    struct loading *l = arg;
    uint64_t start = clock_us();
    l->code = seq_model_load(l->model->dir, &l->options, &l->model->seq, &l->err);
    if (l->code == ERR_OK)
        l->model->info = seq_model_info(l->model->seq);
    l->model->load_us = clock_us() - start;
    l->model->created = written_at(l->model->dir);
    return NULL;
}

/* The folder's own name, also of "." and "x/.."; in the hub's cache the repository's. */
static enum err_code name_model(struct model *m, const char *dir, struct err *err)
{
    char path[PATH_MAX], repository[REPO_NAME_BYTES];
    if (!realpath(dir, path))
        return err_set(err, ERR_IO, "%s: %s", dir, strerror(errno));
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    if (hub_model_name(path, repository))
        name = repository;
    if (!*name)
        return err_set(err, ERR_INPUT, "%s: a model's folder needs a name", dir);
    if (utf8_valid(name, strlen(name)) != strlen(name))
        return err_set(err, ERR_INPUT, "%s: the folder's name is not UTF-8", dir);
    m->name = mem_copy(name, strlen(name));
    m->dir = mem_copy(dir, strlen(dir));
    if (!m->name || !m->dir)
        return err_set(err, ERR_NOMEM, "out of memory for model %s", dir);
    enum err_code code = models_check_folder(dir, err);
    if (code != ERR_OK)
        err_prefix(err, dir);
    return code;
}

static enum err_code name_all(struct models *m, const char *const *dirs, struct err *err)
{
    for (size_t i = 0; i < m->n; i++) {
        enum err_code code = name_model(&m->at[i], dirs[i], err);
        if (code != ERR_OK)
            return code;
        for (size_t j = 0; j < i; j++)
            if (strcmp(m->at[i].name, m->at[j].name) == 0)
                return err_set(err, ERR_INPUT, "two models are named %s: %s and %s",
                               m->at[i].name, dirs[j], dirs[i]);
    }
    return ERR_OK;
}

/* What `list` says of a model: its own entry NAME=PRECISION, else the last one that names
 * none. A word that is too long is cut; no precision is called like that either. */
static void find_precision(const char *list, const char *name, char out[PRECISION_BYTES])
{
    size_t name_n = strlen(name);
    bool own = false;
    snprintf(out, PRECISION_BYTES, "f32");
    while (*list) {
        size_t n = strcspn(list, ",");
        const char *equals = memchr(list, '=', n);
        const char *word = equals ? equals + 1 : list;
        bool named = equals && (size_t)(equals - list) == name_n &&
                     memcmp(list, name, name_n) == 0;
        if (named || (!equals && !own))
            snprintf(out, PRECISION_BYTES, "%.*s", (int)(list + n - word), word);
        own |= named;
        list += n + (list[n] == ',');
    }
}

/* Every entry that names a model names one that is there. */
static enum err_code check_precisions(const struct models *m, const char *list,
                                      struct err *err)
{
    while (*list) {
        size_t n = strcspn(list, ",");
        const char *equals = memchr(list, '=', n);
        if (equals && !models_find(m, list, (size_t)(equals - list)))
            return err_set(err, ERR_INPUT, "--precision: no model is named %.*s",
                           (int)(equals - list), list);
        list += n + (list[n] == ',');
    }
    return ERR_OK;
}

/* All at once, one thread each, and more for each if there are few; a thread that can't
 * be started is done here. The first failure in the order of the folders is reported. */
static enum err_code load_all(struct models *m, const struct seq_load_options *options,
                              const char *precision, struct err *err)
{
    struct loading *l = mem_zero(m->n, sizeof *l);
    enum err_code code = ERR_OK;
    if (!l)
        return err_set(err, ERR_NOMEM, "out of memory for loading models");
    for (size_t i = 0; i < m->n; i++) {
        l[i].model = &m->at[i];
        if (options)
            l[i].options = *options;
        find_precision(precision, m->at[i].name, l[i].precision);
        l[i].options.precision = l[i].precision;
        if (m->n > l[i].options.threads)
            l[i].options.threads = 1;
        l[i].started = m->n > 1 && pthread_create(&l[i].thread, NULL, load, &l[i]) == 0;
        if (!l[i].started)
            load(&l[i]);
    }
    for (size_t i = 0; i < m->n; i++) {
        if (l[i].started)
            pthread_join(l[i].thread, NULL);
        if (l[i].code != ERR_OK && code == ERR_OK) {
            *err = l[i].err;
            err_prefix(err, m->at[i].dir);
            code = l[i].code;
        }
    }
    mem_free(l);
    return code;
}

/* Indexes of the models named in `prefer` first, then the others as given. */
static void order(struct models *m, const char *prefer)
{
    size_t n = 0;
    while (prefer && *prefer) {
        size_t length = strcspn(prefer, ",");
        const struct model *found = models_find(m, prefer, length);
        size_t known = 0;
        while (found && known < n && m->preferred[known] != (size_t)(found - m->at))
            known++;
        if (found && known == n)
            m->preferred[n++] = (size_t)(found - m->at);
        prefer += length + (prefer[length] == ',');
    }
    size_t named = n;
    for (size_t i = 0; i < m->n; i++) {
        size_t j = 0;
        while (j < named && m->preferred[j] != i)
            j++;
        if (j == named)
            m->preferred[n++] = i;
    }
}

enum err_code models_load(const char *const *dirs, size_t n,
                          const struct seq_load_options *options, const char *precision,
                          const char *prefer, struct models **out, struct err *err)
{
    struct models *m = mem_zero(1, sizeof *m);
    if (!m)
        return err_set(err, ERR_NOMEM, "out of memory for %zu models", n);
    m->at = mem_zero(n, sizeof *m->at);
    m->preferred = mem_zero(n, sizeof *m->preferred);
    m->n = m->at ? n : 0;
    enum err_code code = ERR_OK;
    if (!m->at || !m->preferred)
        code = err_set(err, ERR_NOMEM, "out of memory for %zu models", n);
    if (code == ERR_OK)
        code = name_all(m, dirs, err);
    if (code == ERR_OK)
        code = check_precisions(m, precision, err);
    if (code == ERR_OK)
        code = load_all(m, options, precision, err);
    if (code != ERR_OK) {
        models_free(m);
        return code;
    }
    order(m, prefer);
    *out = m;
    return ERR_OK;
}

void models_free(struct models *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->n; i++) {
        seq_model_unref(m->at[i].seq);
        mem_free(m->at[i].name);
        mem_free(m->at[i].dir);
    }
    mem_free(m->preferred);
    mem_free(m->at);
    mem_free(m);
}

/* ---- choosing -------------------------------------------------------------------- */

const struct model *models_find(const struct models *m, const char *name, size_t n)
{
    for (size_t i = 0; i < m->n; i++)
        if (strlen(m->at[i].name) == n && memcmp(m->at[i].name, name, n) == 0)
            return &m->at[i];
    return NULL;
}

/* Who comes first for a task, whatever the order: words that follow a text before those
 * of a mask token in it; vectors of models made for them, then of bare ones, before those
 * made for something else; recurrent nets before others to look inside; labels before
 * next words, and these before masked ones, to ask what they are owed to; and maps by how
 * much they show: every token to every token, to those before it, one row. */
static int rank(const struct seq_info *info, enum seq_task task)
{
    if (task == SEQ_NEXT_WORD)
        return info->mask_token != NULL;
    if (task == SEQ_EMBED)
        return info->vector_model                             ? 0
               : info->tasks & (SEQ_CLASSIFY | SEQ_NEXT_WORD) ? 2
                                                              : 1;
    if (task == SEQ_INSPECT)
        return !info->recurrent;
    if (task == SEQ_IMPORTANCE)
        return info->tasks & SEQ_CLASSIFY ? 0 : info->mask_token ? 2 : 1;
    if (task != SEQ_ATTENTION)
        return 0;
    return info->mask == SEQ_MASK_FULL ? 0 : info->mask == SEQ_MASK_CAUSAL ? 1 : 2;
}

const struct model *models_default(const struct models *m, enum seq_task task)
{
    const struct model *best = NULL;
    for (size_t i = 0; i < m->n; i++) {
        const struct model *one = &m->at[m->preferred[i]];
        if (!(one->info->tasks & (unsigned)task))
            continue;
        if (!best || rank(one->info, task) < rank(best->info, task))
            best = one;
    }
    return best;
}

const struct models_task MODELS_TASKS[] = {
    {SEQ_NEXT_WORD, "next-word", "next-word prediction", false},
    {SEQ_CLASSIFY, "sentiment", "classification", false},
    {SEQ_EMBED, "embeddings", "vectors of texts", false},
    {SEQ_ATTENTION, "attention", "attention maps", true},
    {SEQ_INSPECT, "states", "states", true},
    {SEQ_IMPORTANCE, "importance", "importance (labels or next words)", true}};

static const char *meaning_of(enum seq_task task)
{
    size_t i = 0;
    while (i < MODELS_TASKS_N && MODELS_TASKS[i].task != task)
        i++;
    return i < MODELS_TASKS_N ? MODELS_TASKS[i].meaning : MODELS_TASKS[0].meaning;
}

/* "a, b" of all models for the task, or "none". */
static void list_names(const struct models *m, enum seq_task task, char *to, size_t cap)
{
    size_t used = 0;
    snprintf(to, cap, "none");
    for (size_t i = 0; i < m->n && used < cap; i++)
        if (m->at[i].info->tasks & (unsigned)task)
            used += (size_t)snprintf(to + used, cap - used, "%s%s", used ? ", " : "",
                                     m->at[i].name);
}

enum err_code models_choose(const struct models *m, const char *name, size_t n,
                            enum seq_task task, const struct model **out, struct err *err)
{
    char names[256];
    const struct model *found = name ? models_find(m, name, n) : models_default(m, task);
    if (found && found->info->tasks & (unsigned)task) {
        *out = found;
        return ERR_OK;
    }
    list_names(m, task, names, sizeof names);
    if (!name)
        return err_param(err, ERR_TASK, "model", "no loaded model serves %s",
                         meaning_of(task));
    if (!found)
        return err_param(err, ERR_NOT_FOUND, "model",
                         "no model is named \"%.*s\"; for %s there are: %s",
                         n < 80 ? (int)n : 80, name, meaning_of(task), names);
    return err_param(err, ERR_TASK, "model", "%s doesn't serve %s; these do: %s",
                     found->name, meaning_of(task), names);
}
