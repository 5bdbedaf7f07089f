#include "server/api/selection.h"

#include <stdio.h>

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

enum err_code selection_init(struct selection *s, const char *field,
                             const struct json_ints *wanted, size_t total,
                             struct err *err)
{
    bool last = wanted->last && total > 0;
    size_t n = last ? 1 : wanted->at ? wanted->n : total;
    enum err_code code = ERR_OK;
    *s = (struct selection){.n = n,
                            .at = mem_alloc(n + 1, sizeof *s->at),
                            .place = mem_alloc(total + 1, sizeof *s->place)};
    if (!s->at || !s->place) {
        selection_done(s);
        return err_set(err, ERR_NOMEM, "out of memory for \"%s\"", field);
    }
    for (size_t i = 0; i < total; i++)
        s->place[i] = SELECTION_NONE;
    for (size_t i = 0; i < n && code == ERR_OK; i++) {
        if (!last && wanted->at) {
            code = choose(s, field, wanted, i, total, err);
        } else {
            s->at[i] = last ? total - 1 : i;
            s->place[s->at[i]] = (long)i;
        }
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
