/* Models: what is loaded, by name. A model's name is its folder's name, or that of the
 * repository whose snapshot the folder is in the hub's cache.
 *
 * Filled once at start (one thread per folder), then read by every thread without a lock.
 */
#ifndef SERVER_MODELS_H
#define SERVER_MODELS_H

#include "model/seq.h"

#include <stddef.h>
#include <stdint.h>

struct model {
    char *name, *dir;
    struct seq_model *seq;
    const struct seq_info *info; /* of seq */
    uint64_t load_us;            /* how long loading took */
    uint64_t created;            /* when its config.json was written, Unix time */
};

struct models {
    struct model *at; /* in the order of the folders given */
    size_t n;
    size_t *preferred; /* [n] indexes into at: who answers requests that name no model */
};

/* What models serve, by the names of the routes: /v1/NAME. */
struct models_task {
    enum seq_task task;
    const char *name, *meaning; /* the meaning goes behind "serves" */
    bool inspects;              /* as its route */
};
enum { MODELS_TASKS_N = 6 };
extern const struct models_task MODELS_TASKS[MODELS_TASKS_N];

/* Loads all folders at once. Two folders of one name are refused. `precision` is a list
 * of PRECISION or NAME=PRECISION, separated by commas; that of `options` (which may be
 * NULL) is not read. `prefer` lists names separated by commas; a name that isn't loaded
 * is skipped. */
enum err_code models_load(const char *const *dirs, size_t n,
                          const struct seq_load_options *options, const char *precision,
                          const char *prefer, struct models **out,
                          struct err *err) MUST_CHECK;
void models_free(struct models *m);

/* The model for a request: `name` (n bytes), or the task's default if name is NULL.
 * ERR_NOT_FOUND or ERR_TASK with param "model"; the message lists those that would do. */
enum err_code models_choose(const struct models *m, const char *name, size_t n,
                            enum seq_task task, const struct model **out,
                            struct err *err) MUST_CHECK;

/* The default model of a task, NULL if none serves it: the first of the preferred order;
 * for next words those that follow a text before masked ones, to look inside recurrent
 * nets before others, for vectors models made for them, then bare ones, before all
 * others, for importance the first classifier, else the first of next words,
 * for attention the first encoder, else the first decoder, else the first with pooling.
 */
const struct model *models_default(const struct models *m, enum seq_task task);

/* By name, NULL if there is none. */
const struct model *models_find(const struct models *m, const char *name, size_t n);

/* ERR_NOT_FOUND where `dir` is no model but a folder of models; the message says so. */
enum err_code models_check_folder(const char *dir, struct err *err) MUST_CHECK;

/* Folders of models under `root`: those with a config.json, sorted by name; *list (of n
 * mem_copy strings) is the caller's. ERR_IO, ERR_NOT_FOUND if there is none. */
enum err_code models_scan(const char *root, char ***list, size_t *n,
                          struct err *err) MUST_CHECK;

#endif
