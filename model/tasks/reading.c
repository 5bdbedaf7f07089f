#include "model/tasks/reading.h"

#include "model/tasks/prefixes.h"

#include <assert.h>

size_t reading_bytes(const struct seq_model *m, size_t n, size_t T, size_t longest)
{
    return arena_byte_cost(n * sizeof(struct reading)) +
           arena_byte_cost(T * sizeof(int32_t)) + model_pass_bytes(m, n, T, longest);
}

struct readings {
    const struct seq_model *m;
    struct exec x;
    size_t n, T;
    struct reading *at; /* [n] */
    void (*each)(void *arg, size_t i, float *logits);
    void *arg;
};

static enum err_code read_fresh(struct readings *r, struct err *err)
{
    struct batch batch;
    enum err_code code = batch_init(&batch, r->x.tmp, r->n, r->T, err);
    for (size_t i = 0; i < r->n && code == ERR_OK; i++)
        code = batch_text(&batch, r->at[i].text, r->at[i].pick, NULL, err);
    return code == ERR_OK ? model_pass(r->m, &r->x, &batch, r->each, r->arg, err) : code;
}

/* Where the last word begins. While it is typed its tokens change, those before it don't.
 * Not every script writes blanks, so a word of many tokens is cut. */
static size_t last_word(const struct seq_model *m, const int32_t *ids, size_t n)
{
    size_t at = n - 1, least = n > PREFIXES_TAIL ? n - PREFIXES_TAIL : 0;
    while (at > least && (m->words.part[ids[at]] == PART_INNER ||
                          m->words.part[ids[at]] == PART_SUFFIX))
        at--;
    return at;
}

static enum err_code take_ids(struct readings *r, struct err *err)
{
    int32_t *ids = arena_bytes(r->x.tmp, r->T * sizeof *ids);
    if (!ids)
        return err_set(err, ERR_BUG, "arena too small for %zu ids", r->T);
    for (size_t i = 0; i < r->n; i++) {
        struct reading *one = &r->at[i];
        if (one->text->n == 0)
            return err_param(err, ERR_INPUT, "text", "text holds no token");
        assert(one->pick == one->text->n - 1);
        one->ids = ids;
        for (size_t t = 0; t < one->text->n; t++)
            *ids++ = one->text->at[t].id;
    }
    return ERR_OK;
}

/* One pass to the end of every text, or of every body that isn't known yet. */
static enum err_code read_on(struct readings *r, bool bodies, struct err *err)
{
    struct prefixes *p = r->m->prefixes;
    struct batch batch;
    size_t mark = arena_mark(r->x.tmp);
    enum err_code code = batch_init(&batch, r->x.tmp, r->n, r->T, err);
    for (size_t i = 0; i < r->n && code == ERR_OK; i++) {
        const struct reading *one = &r->at[i];
        size_t end = bodies ? one->body : one->text->n;
        if (one->done < end)
            batch_ids(&batch, one->ids + one->done, end - one->done, one->state);
    }
    if (code == ERR_OK && batch.net.B > 0)
        code = model_pass(r->m, &r->x, &batch, bodies ? NULL : r->each, r->arg, err);
    arena_rewind(r->x.tmp, mark);
    for (size_t i = 0; i < r->n && code == ERR_OK; i++) {
        struct reading *one = &r->at[i];
        size_t end = bodies ? one->body : one->text->n;
        if (one->done >= end)
            continue;
        one->done = end;
        if (p)
            prefixes_keep(p, one->ids, end, one->state);
    }
    return code;
}

static enum err_code read_states(struct readings *r, struct err *err)
{
    struct prefixes *p = r->m->prefixes;
    enum err_code code = take_ids(r, err);
    if (code != ERR_OK || !p)
        return code == ERR_OK ? read_on(r, false, err) : code;
    for (size_t i = 0; i < r->n; i++) {
        struct reading *one = &r->at[i];
        one->body = last_word(r->m, one->ids, one->text->n);
        one->done = prefixes_find(p, one->ids, one->text->n, one->state);
    }
    if (prefixes_by_length(p))
        code = read_on(r, true, err);
    return code == ERR_OK ? read_on(r, false, err) : code;
}

enum err_code reading_run(const struct seq_model *m, struct seq_worker *w, size_t n,
                          struct reading *texts,
                          void (*each)(void *arg, size_t i, float *logits), void *arg,
                          struct err *err)
{
    struct readings r = {.m = m,
                         .x = model_exec(m, w, NULL),
                         .n = n,
                         .at = texts,
                         .each = each,
                         .arg = arg};
    size_t mark = arena_mark(&w->tmp);
    for (size_t i = 0; i < n; i++)
        r.T += texts[i].text->n;
    enum err_code code = texts->state ? read_states(&r, err) : read_fresh(&r, err);
    arena_rewind(&w->tmp, mark);
    return code;
}
