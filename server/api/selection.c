#include "server/api/selection.h"

#include <stdio.h>
#include <string.h>

#include "model/seq.h"

/* Element i of the list as an index of one of `total` things that no other names. */
static enum err_code choose(struct selection *s, const char *field,
                            const struct json_ints *wanted, size_t i, size_t total,
                            struct err *err)
{
    char param[ERR_PARAM_BYTES];
    int64_t v = wanted->at[i], n = (int64_t)total;
    snprintf(param, sizeof param, "%s[%zu]", field, i);
    if (v < -n || v >= n)
        return err_param(err, ERR_INPUT, param,
                         "\"%s\" is %lld; there are %zu, so it must be from %lld to %lld",
                         param, (long long)v, total, (long long)-n, (long long)n - 1);
    size_t index = (size_t)(v < 0 ? v + n : v);
    if (s->place[index] != SELECTION_NONE)
        return err_param(err, ERR_INPUT, param, "\"%s\" is %lld, which is chosen already",
                         param, (long long)v);
    s->place[index] = (long)i;
    s->at[i] = index;
    return ERR_OK;
}

/* Room for n of `total` things, none chosen yet. */
static enum err_code begin(struct selection *s, const char *field, size_t n, size_t total,
                           struct err *err)
{
    *s = (struct selection){.n = n,
                            .at = mem_alloc(n + 1, sizeof *s->at),
                            .place = mem_alloc(total + 1, sizeof *s->place)};
    if (!s->at || !s->place) {
        selection_done(s);
        return err_set(err, ERR_NOMEM, "out of memory for \"%s\"", field);
    }
    for (size_t i = 0; i < total; i++)
        s->place[i] = SELECTION_NONE;
    return ERR_OK;
}

static void take(struct selection *s, size_t i, size_t index)
{
    s->at[i] = index;
    s->place[index] = (long)i;
}

enum err_code selection_init(struct selection *s, const char *field,
                             const struct json_ints *wanted, size_t total,
                             struct err *err)
{
    bool last = wanted->last && total > 0;
    size_t n = last ? 1 : wanted->at ? wanted->n : total;
    enum err_code code = begin(s, field, n, total, err);
    for (size_t i = 0; i < n && code == ERR_OK; i++) {
        if (!last && wanted->at)
            code = choose(s, field, wanted, i, total, err);
        else
            take(s, i, last ? total - 1 : i);
    }
    if (code != ERR_OK)
        selection_done(s);
    return code;
}

/* "forward, backward" */
static void list_names(const char *const *names, size_t total, char *to, size_t cap)
{
    size_t used = 0;
    to[0] = '\0';
    for (size_t i = 0; i < total && used < cap; i++)
        used += (size_t)snprintf(to + used, cap - used, "%s%s", i ? ", " : "", names[i]);
}

static enum err_code choose_name(struct selection *s, const char *field,
                                 const struct json_text *name, size_t i,
                                 const char *const *names, size_t total, struct err *err)
{
    char list[100];
    size_t index = 0;
    while (index < total && (strlen(names[index]) != name->n ||
                             memcmp(names[index], name->at, name->n) != 0))
        index++;
    list_names(names, total, list, sizeof list);
    if (index == total)
        return err_param(err, ERR_INPUT, field,
                         "\"%s\" has \"%.40s\"; this model has: %s", field, name->at,
                         list);
    if (s->place[index] != SELECTION_NONE)
        return err_param(err, ERR_INPUT, field, "\"%s\" has \"%s\" twice", field,
                         names[index]);
    take(s, i, index);
    return ERR_OK;
}

enum err_code selection_names(struct selection *s, const char *field,
                              const struct json_texts *wanted, const char *const *names,
                              size_t total, struct err *err)
{
    bool all = !wanted->at || (wanted->n == 1 && strcmp(wanted->at[0].at, "all") == 0);
    size_t n = all ? total : wanted->n;
    enum err_code code = begin(s, field, n, total, err);
    for (size_t i = 0; i < n && code == ERR_OK; i++) {
        if (all)
            take(s, i, i);
        else
            code = choose_name(s, field, &wanted->at[i], i, names, total, err);
    }
    if (code != ERR_OK)
        selection_done(s);
    return code;
}

void selection_done(struct selection *s)
{
    mem_free(s->at);
    mem_free(s->place);
    *s = (struct selection){0};
}

void selection_write(struct json_writer *w, const char *key, const struct selection *s)
{
    json_write_key(w, key);
    json_write_array(w);
    for (size_t i = 0; i < s->n; i++)
        json_write_uint(w, s->at[i]);
    json_write_end(w);
}
