#include "model/load/labels.h"

#include "model/base/mem.h"
#include "model/load/json.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LABELS_MAX = 10000, LABELS_DEFAULT = 2 };

/* num_labels, or _num_labels as older versions of transformers spell it; 0 if absent. */
static enum err_code read_count(const json_t *root, const char *where, size_t *out,
                                struct err *err)
{
    const char *key = json_read_has(root, "num_labels") ? "num_labels" : "_num_labels";
    int64_t n = 0;
    if (json_read_has(root, key)) {
        enum err_code code = json_read_integer(
            root, where, key, (struct json_range){1, LABELS_MAX}, &n, err);
        if (code != ERR_OK)
            return code;
    }
    *out = (size_t)n;
    return ERR_OK;
}

static enum err_code no_memory(const char *where, struct err *err)
{
    return err_set(err, ERR_NOMEM, "%s: no memory for the labels", where);
}

/* The key of class i must be there; n keys in all, hence no other key is. */
static enum err_code read_name(const json_t *names, const char *where, size_t i,
                               char **out, struct err *err)
{
    char key[24], found[JSON_SHOW_BYTES];
    snprintf(key, sizeof key, "%zu", i);
    const json_t *v = json_object_get(names, key);
    if (!v)
        return err_set(err, ERR_FORMAT,
                       "%s: id2label: %zu labels, want the keys \"0\" to "
                       "\"%zu\", but \"%s\" is missing",
                       where, json_object_size(names), json_object_size(names) - 1, key);
    if (!json_is_string(v) || json_string_length(v) == 0)
        return err_set(err, ERR_FORMAT, "%s: id2label: %s: want a word, found %s", where,
                       key, json_read_show(v, found));
    *out = mem_copy(json_string_value(v), json_string_length(v));
    return *out ? ERR_OK : no_memory(where, err);
}

static enum err_code make_name(const char *where, size_t i, char **out, struct err *err)
{
    char name[32];
    int n = snprintf(name, sizeof name, "LABEL_%zu", i);
    *out = mem_copy(name, (size_t)n);
    return *out ? ERR_OK : no_memory(where, err);
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Scores are reported by name, so two classes of one name could not be told apart. */
static enum err_code check_unique(const struct config *c, const char *where,
                                  struct err *err)
{
    enum err_code code = ERR_OK;
    char **sorted = mem_alloc(c->n_labels, sizeof *sorted);
    if (!sorted)
        return no_memory(where, err);
    memcpy(sorted, c->labels, c->n_labels * sizeof *sorted);
    qsort(sorted, c->n_labels, sizeof *sorted, compare);
    for (size_t i = 1; i < c->n_labels && code == ERR_OK; i++)
        if (strcmp(sorted[i - 1], sorted[i]) == 0)
            code = err_set(err, ERR_FORMAT,
                           "%s: id2label: two classes are called \"%.100s\"", where,
                           sorted[i]);
    mem_free(sorted);
    return code;
}

/* How many classes there are, and their names if they have any. */
static enum err_code count_labels(const json_t *root, const char *where, size_t *out,
                                  json_t **names, struct err *err)
{
    size_t count = 0;
    enum err_code code = read_count(root, where, &count, err);
    if (code != ERR_OK)
        return code;
    if (!json_read_has(root, "id2label")) {
        *out = count ? count : LABELS_DEFAULT;
        return ERR_OK;
    }
    code = json_read_object(root, where, "id2label", names, err);
    if (code != ERR_OK)
        return code;
    size_t n = json_object_size(*names);
    if (n == 0 || n > LABELS_MAX)
        return err_set(err, ERR_FORMAT, "%s: id2label: want 1 to %d labels, found %zu",
                       where, LABELS_MAX, n);
    if (count && count != n)
        return err_set(err, ERR_MISMATCH, "%s: num_labels is %zu, id2label has %zu",
                       where, count, n);
    *out = n;
    return ERR_OK;
}

/* A softmax of one score would always be 1. transformers' pipeline takes a sigmoid then,
 * unless the file says that the score is a regression's. */
static enum err_code read_problem(const json_t *root, const char *where, size_t n_labels,
                                  enum problem *out, struct err *err)
{
    static const char *const words[] = {"single_label_classification",
                                        "multi_label_classification", "regression"};
    size_t which = PROBLEM_SINGLE_LABEL;
    if (json_read_has(root, "problem_type")) {
        enum err_code code =
            json_read_choice(root, where, "problem_type", words, 3, &which, err);
        if (code != ERR_OK)
            return code;
    }
    if (n_labels == 1 && which == PROBLEM_SINGLE_LABEL)
        which = PROBLEM_MULTI_LABEL;
    *out = (enum problem)which;
    return ERR_OK;
}

enum err_code labels_read(const json_t *root, const char *where, struct config *c,
                          struct err *err)
{
    size_t n = 0;
    json_t *names = NULL;
    enum err_code code = count_labels(root, where, &n, &names, err);
    if (code == ERR_OK)
        code = read_problem(root, where, n, &c->problem, err);
    if (code != ERR_OK)
        return code;
    c->labels = mem_zero(n, sizeof *c->labels);
    if (!c->labels)
        return no_memory(where, err);
    while (c->n_labels < n && code == ERR_OK) {
        size_t i = c->n_labels++;
        code = names ? read_name(names, where, i, &c->labels[i], err)
                     : make_name(where, i, &c->labels[i], err);
    }
    return code == ERR_OK ? check_unique(c, where, err) : code;
}
