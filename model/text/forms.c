#include "model/text/forms.h"

#include "model/base/mem.h"
#include "model/base/utf8.h"
#include "model/text/unicode.h"

#include <stdbool.h>
#include <string.h>
#include <utf8proc.h>

/* A decomposed or composed character; change as in aligned_edit_put. */
struct unit {
    uint32_t cp;
    int32_t change;
    uint8_t class; /* canonical combining class */
};

struct units {
    struct unit *at;
    size_t n, cap;
};

struct former {
    struct aligned_edit edit;
    bool compose;
    int options; /* of utf8proc, to decompose */

    struct units pending; /* a starter and its marks, not yet in canonical order */
    struct units spare;   /* for sorting */

    bool has_starter; /* composing: a starter that may still take marks */
    struct unit starter;
    uint8_t last_class;   /* of the last mark that stays behind it; 0: none */
    struct units waiting; /* those marks */
    struct err *err;
};

static enum err_code push(struct units *u, struct unit unit, struct err *err)
{
    if (u->n == u->cap) {
        size_t cap = u->cap * 2 + 16;
        struct unit *at = mem_resize(u->at, cap, sizeof *at);
        if (!at)
            return err_set(err, ERR_NOMEM, "no memory to normalize a text");
        u->at = at;
        u->cap = cap;
    }
    u->at[u->n++] = unit;
    return ERR_OK;
}

static enum err_code emit(struct former *f, struct unit u)
{
    return aligned_edit_put(&f->edit, u.cp, u.change, f->err);
}

/* ---- composing ------------------------------------------------------------------- */

/* The canonical composition of a pair, or 0. */
static uint32_t composed(uint32_t a, uint32_t b)
{
    /* Nothing below U+0300 is ever second; among U+2E80 to U+FAFF only the two kana sound
     * marks are. */
    if (b < 0x300 || (b >= 0x2e80 && b <= 0xfaff && b != 0x3099 && b != 0x309a))
        return 0;
    utf8proc_int32_t pair[2] = {(utf8proc_int32_t)a, (utf8proc_int32_t)b};
    if (utf8proc_normalize_utf32(pair, 2, UTF8PROC_COMPOSE | UTF8PROC_STABLE) != 1)
        return 0;
    uint32_t cp = (uint32_t)pair[0];
    return unicode_flags(cp) & UNICODE_UNNORMED ? 0 : cp;
}

/* Writes the starter and the marks that wait behind it. */
static enum err_code release(struct former *f)
{
    enum err_code code = f->has_starter ? emit(f, f->starter) : ERR_OK;
    for (size_t i = 0; code == ERR_OK && i < f->waiting.n; i++)
        code = emit(f, f->waiting.at[i]);
    f->waiting.n = 0;
    f->last_class = 0;
    f->has_starter = false;
    return code;
}

static enum err_code compose(struct former *f, struct unit u)
{
    if (!f->has_starter && u.class != 0)
        return emit(f, u);
    if (f->has_starter && (f->last_class == 0 || f->last_class < u.class)) {
        uint32_t cp = composed(f->starter.cp, u.cp);
        if (cp) {
            f->starter.cp = cp;
            f->starter.change += u.change - 1;
            return ERR_OK;
        }
    }
    if (u.class != 0) {
        f->last_class = u.class;
        return push(&f->waiting, u, f->err);
    }
    enum err_code code = release(f);
    f->has_starter = true;
    f->starter = u;
    return code;
}

/* ---- decomposing ----------------------------------------------------------------- */

/* Orders marks by class, those of one class as they came. */
static enum err_code sort_marks(struct former *f)
{
    struct units *p = &f->pending;
    if (p->n <= 16) {
        for (size_t i = 1; i < p->n; i++) {
            struct unit u = p->at[i];
            size_t j = i;
            for (; j > 0 && p->at[j - 1].class > u.class; j--)
                p->at[j] = p->at[j - 1];
            p->at[j] = u;
        }
        return ERR_OK;
    }
    size_t begin[257] = {0};
    for (size_t i = 0; i < p->n; i++)
        begin[p->at[i].class + 1]++;
    for (size_t i = 1; i < 257; i++)
        begin[i] += begin[i - 1];
    f->spare.n = 0;
    for (size_t i = 0; i < p->n; i++) { /* as many as there are, then in place */
        enum err_code code = push(&f->spare, p->at[i], f->err);
        if (code != ERR_OK)
            return code;
    }
    for (size_t i = 0; i < p->n; i++)
        f->spare.at[begin[p->at[i].class]++] = p->at[i];
    memcpy(p->at, f->spare.at, p->n * sizeof *p->at);
    return ERR_OK;
}

static enum err_code flush(struct former *f)
{
    enum err_code code = f->pending.n > 1 ? sort_marks(f) : ERR_OK;
    for (size_t i = 0; code == ERR_OK && i < f->pending.n; i++)
        code = f->compose ? compose(f, f->pending.at[i]) : emit(f, f->pending.at[i]);
    f->pending.n = 0;
    return code;
}

static enum err_code decompose(struct former *f, uint32_t cp)
{
    enum { ROOM = 32 }; /* the longest decomposition has 18 */
    utf8proc_int32_t parts[ROOM] = {(utf8proc_int32_t)cp};
    utf8proc_ssize_t n = 1;
    int boundary = 0;
    bool known = cp >= 0xa0 && !(unicode_flags(cp) & UNICODE_UNNORMED);
    if (known)
        n = utf8proc_decompose_char(parts[0], parts, ROOM, (utf8proc_option_t)f->options,
                                    &boundary);
    if (n < 1 || n > ROOM)
        return err_set(f->err, ERR_BUG, "U+%04X does not decompose", (unsigned)cp);
    for (utf8proc_ssize_t i = 0; i < n; i++) {
        struct unit u = {.cp = (uint32_t)parts[i], .change = i > 0};
        if (known)
            u.class = (uint8_t)utf8proc_get_property(parts[i])->combining_class;
        enum err_code code = u.class == 0 ? flush(f) : ERR_OK;
        if (code == ERR_OK)
            code = push(&f->pending, u, f->err);
        if (code != ERR_OK)
            return code;
    }
    return ERR_OK;
}

/* True if a text with no byte from `first` on is in the form already. */
static bool has_bytes_from(const struct aligned *in, unsigned char first)
{
    for (size_t i = 0; i < in->n; i++)
        if ((unsigned char)in->s[i] >= first)
            return true;
    return false;
}

enum err_code form_apply(enum form form, const struct aligned *in, uint32_t origin,
                         struct aligned *out, struct err *err)
{
    /* Nothing below U+0300 (lead byte 0xcc) changes in form C. */
    if (!has_bytes_from(in, form == FORM_C ? 0xcc : 0x80))
        return aligned_add(out, in, 0, in->n, err);
    struct former f = {.edit = {.in = in, .out = out, .origin = origin}, .err = err};
    f.compose = form == FORM_C || form == FORM_KC;
    f.options = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE |
                (form == FORM_KC || form == FORM_KD ? UTF8PROC_COMPAT : 0);
    enum err_code code = ERR_OK;
    size_t len;
    for (size_t at = 0; code == ERR_OK && at < in->n; at += len)
        code = decompose(&f, utf8_get(in->s + at, in->n - at, &len));
    if (code == ERR_OK)
        code = flush(&f);
    if (code == ERR_OK)
        code = release(&f);
    mem_free(f.pending.at);
    mem_free(f.spare.at);
    mem_free(f.waiting.at);
    return code;
}
