#include "model/text/aligned.h"

#include "model/base/mem.h"
#include "model/base/utf8.h"

#include <string.h>

void aligned_done(struct aligned *a)
{
    mem_free(a->s);
    mem_free(a->map);
    *a = (struct aligned){0};
}

enum err_code aligned_room(struct aligned *a, size_t more, struct err *err)
{
    size_t need = a->n + more;
    if (need <= a->cap)
        return ERR_OK;
    if (need > a->limit)
        return err_set(err, ERR_LIMIT,
                       "the tokenizer makes the text longer than %zu bytes", a->limit);
    size_t cap = a->cap + a->cap / 2 + 64;
    if (cap < need)
        cap = need; /* most texts ask once */
    char *s = mem_resize(a->s, cap, 1);
    if (s)
        a->s = s;
    struct span *map = s ? mem_resize(a->map, cap, sizeof *map) : NULL;
    if (!map)
        return err_set(err, ERR_NOMEM, "no memory to encode %zu bytes", need);
    a->map = map;
    a->cap = cap;
    return ERR_OK;
}

void aligned_put(struct aligned *a, const char *s, size_t n, struct span span)
{
    for (size_t i = 0; i < n; i++) {
        a->s[a->n] = s[i];
        a->map[a->n++] = span;
    }
}

void aligned_put_char(struct aligned *a, uint32_t cp, struct span span)
{
    if (cp < 0x80) {
        a->s[a->n] = (char)cp;
        a->map[a->n++] = span;
        return;
    }
    char s[4];
    aligned_put(a, s, utf8_put(cp, s), span);
}

enum err_code aligned_add_text(struct aligned *a, const char *text, size_t from,
                               size_t to, struct err *err)
{
    enum err_code code = aligned_room(a, to - from, err);
    if (code != ERR_OK)
        return code;
    for (size_t at = from; at < to;) {
        size_t len = 1;
        if ((unsigned char)text[at] >= 0x80)
            utf8_get(text + at, to - at, &len);
        aligned_put(a, text + at, len, (struct span){(uint32_t)at, (uint32_t)(at + len)});
        at += len;
    }
    return ERR_OK;
}

enum err_code aligned_add(struct aligned *a, const struct aligned *other, size_t from,
                          size_t to, struct err *err)
{
    enum err_code code = aligned_room(a, to - from, err);
    if (code != ERR_OK || from == to)
        return code;
    memcpy(a->s + a->n, other->s + from, to - from);
    memcpy(a->map + a->n, other->map + from, (to - from) * sizeof *a->map);
    a->n += to - from;
    return ERR_OK;
}

enum err_code aligned_edit_put(struct aligned_edit *e, uint32_t cp, int32_t change,
                               struct err *err)
{
    const struct aligned *in = e->in;
    enum err_code code = aligned_room(e->out, 4, err);
    if (code != ERR_OK)
        return code;
    struct span span = {e->origin, e->origin};
    size_t source = change > 0 ? e->at - 1 : e->at, len;
    if (e->at > 0 || change <= 0)
        span = in->map[source < in->n ? source : in->n - 1];
    for (int32_t i = change; i <= 0 && e->at < in->n; i++, e->at += len)
        utf8_get(in->s + e->at, in->n - e->at, &len);
    aligned_put_char(e->out, cp, span);
    return ERR_OK;
}

void pieces_done(struct pieces *p)
{
    mem_free(p->at);
    *p = (struct pieces){0};
}

enum err_code pieces_add(struct pieces *p, size_t begin, size_t end, int32_t id,
                         struct err *err)
{
    if (begin >= end)
        return ERR_OK;
    if (p->n == p->cap) {
        size_t cap = p->cap * 2 + 32;
        struct piece *at = mem_resize(p->at, cap, sizeof *at);
        if (!at)
            return err_set(err, ERR_NOMEM, "no memory for %zu pieces of a text", cap);
        p->at = at;
        p->cap = cap;
    }
    p->at[p->n++] = (struct piece){(uint32_t)begin, (uint32_t)end, id};
    return ERR_OK;
}
