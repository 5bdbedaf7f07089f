#include "model/text/normalize.h"

#include "model/base/mem.h"
#include "model/base/utf8.h"
#include "model/text/forms.h"
#include "model/text/unicode.h"

static const char where[] = "tokenizer.json: normalizer";

/* ---- building -------------------------------------------------------------------- */

static enum err_code init_step(struct normalizer *s, const struct plan_normalizer *p,
                               struct err *err)
{
    *s = (struct normalizer){.kind = p->kind,
                             .clean_text = p->clean_text,
                             .chinese_chars = p->chinese_chars,
                             .strip_accents = p->strip_accents,
                             .lowercase = p->lowercase,
                             .left = p->left,
                             .right = p->right};
    if (p->kind == NORMALIZER_PRECOMPILED)
        return charsmap_init(&s->charsmap, (const unsigned char *)p->content.at,
                             p->content.n, err);
    if (p->content.at) {
        s->content = mem_copy(p->content.at, p->content.n);
        s->n_content = p->content.n;
        if (!s->content)
            return err_set(err, ERR_NOMEM, "%s: no memory", where);
    }
    return p->pattern.text.at ? pattern_init(&s->pattern, &p->pattern, where, err)
                              : ERR_OK;
}

enum err_code normalize_init(struct normalize *z, const struct tokenizer_plan *plan,
                             struct err *err)
{
    *z = (struct normalize){0};
    z->steps = mem_zero(plan->n_normalizers, sizeof *z->steps);
    if (!z->steps)
        return err_set(err, ERR_NOMEM, "%s: no memory", where);
    enum err_code code = ERR_OK;
    for (; code == ERR_OK && z->n < plan->n_normalizers; z->n++)
        code = init_step(&z->steps[z->n], &plan->normalizers[z->n], err);
    if (code != ERR_OK)
        normalize_done(z);
    return code;
}

void normalize_done(struct normalize *z)
{
    for (size_t i = 0; i < z->n; i++) {
        pattern_done(&z->steps[i].pattern);
        charsmap_done(&z->steps[i].charsmap);
        mem_free(z->steps[i].content);
    }
    mem_free(z->steps);
    *z = (struct normalize){0};
}

/* ---- steps: each appends its version of `in` to the empty *out ----------------------
 */

/* Calls `each` for every character; it writes at most `grow` bytes per byte. */
typedef void (*each_fn)(struct aligned *out, uint32_t cp, struct span span);

static enum err_code map(const struct aligned *in, struct aligned *out, size_t grow,
                         each_fn each, struct err *err)
{
    enum err_code code = aligned_room(out, in->n * grow, err);
    if (code != ERR_OK)
        return code;
    size_t len;
    for (size_t at = 0; at < in->n; at += len)
        each(out, utf8_get(in->s + at, in->n - at, &len), in->map[at]);
    return ERR_OK;
}

static void clean_char(struct aligned *out, uint32_t cp, struct span span)
{
    unsigned flags = unicode_flags(cp);
    if (flags & UNICODE_CONTROL)
        return;
    aligned_put_char(out, flags & UNICODE_SPACE ? ' ' : cp, span);
}

static void space_chinese(struct aligned *out, uint32_t cp, struct span span)
{
    bool chinese = unicode_is_chinese(cp);
    if (chinese)
        aligned_put(out, " ", 1, span);
    aligned_put_char(out, cp, span);
    if (chinese)
        aligned_put(out, " ", 1, span);
}

static void drop_nonspacing(struct aligned *out, uint32_t cp, struct span span)
{
    if (!(unicode_flags(cp) & UNICODE_NONSPACING))
        aligned_put_char(out, cp, span);
}

static void drop_marks(struct aligned *out, uint32_t cp, struct span span)
{
    if (!(unicode_flags(cp) & UNICODE_MARK))
        aligned_put_char(out, cp, span);
}

static void lower_char(struct aligned *out, uint32_t cp, struct span span)
{
    uint32_t low[2];
    size_t n = unicode_lower(cp, low);
    for (size_t i = 0; i < n; i++)
        aligned_put_char(out, low[i], span);
}

static void spell_bytes(struct aligned *out, uint32_t cp, struct span span)
{
    char s[4];
    size_t n = utf8_put(cp, s);
    for (size_t i = 0; i < n; i++)
        aligned_put_char(out, unicode_from_byte((unsigned char)s[i]), span);
}

/* Drops and turns into blanks what SentencePiece's nmt rules do. */
static void clean_nmt(struct aligned *out, uint32_t cp, struct span span)
{
    switch (cp) {
    case '\t':
    case '\n':
    case '\f':
    case '\r':
    case 0x1680:
    case 0x200b: /* zero-width blank, non-joiner, joiner, marks of direction */
    case 0x200c:
    case 0x200d:
    case 0x200e:
    case 0x200f:
    case 0x2028:
    case 0x2029:
    case 0x2581:
    case 0xfeff:
    case 0xfffd:
        cp = ' ';
        break;
    default:
        if ((cp > 0 && cp < ' ') || cp == 0x7f || cp == 0x8f || cp == 0x9f)
            return;
    }
    aligned_put_char(out, cp, span);
}

static enum err_code strip(const struct normalizer *s, const struct aligned *in,
                           struct aligned *out, struct err *err)
{
    size_t begin = 0, end = in->n, len;
    while (s->left && begin < end &&
           (unicode_flags(utf8_get(in->s + begin, end - begin, &len)) & UNICODE_SPACE))
        begin += len;
    while (s->right && end > begin) {
        size_t last = end;
        do
            last--;
        while (((unsigned char)in->s[last] & 0xc0) == 0x80);
        if (!(unicode_flags(utf8_get(in->s + last, end - last, &len)) & UNICODE_SPACE))
            break;
        end = last;
    }
    return aligned_add(out, in, begin, end, err);
}

/* What is put in stands for the last character that was taken out. */
static enum err_code replace(const struct normalizer *s, const struct aligned *in,
                             struct aligned *out, struct matcher *m, struct err *err)
{
    size_t at = 0;
    for (;;) {
        bool found;
        struct match match;
        enum err_code code =
            pattern_find(&s->pattern, m, in->s, in->n, at, &found, &match, err);
        if (code == ERR_OK)
            code = aligned_add(out, in, at, found ? match.begin : in->n, err);
        if (code == ERR_OK && found)
            code = aligned_room(out, s->n_content, err);
        if (code != ERR_OK || !found)
            return code;
        aligned_put(out, s->content, s->n_content, in->map[match.end - 1]);
        at = match.end;
    }
}

static enum err_code prepend(const struct normalizer *s, const struct aligned *in,
                             struct aligned *out, struct err *err)
{
    enum err_code code = aligned_room(out, s->n_content + in->n, err);
    if (code != ERR_OK)
        return code;
    aligned_put(out, s->content, s->n_content, in->map[0]);
    return aligned_add(out, in, 0, in->n, err);
}

/* Goes from *text to *spare by one of the functions above, and swaps them. */
struct work {
    struct aligned *text, *spare;
    uint32_t origin;
    struct matcher *m;
    struct err *err;
};

static enum err_code advance(struct work *w, enum err_code code)
{
    struct aligned swap = *w->text;
    *w->text = *w->spare;
    *w->spare = swap;
    w->spare->n = 0;
    return code;
}

static enum err_code run_map(struct work *w, size_t grow, each_fn each)
{
    return advance(w, map(w->text, w->spare, grow, each, w->err));
}

static enum err_code run_form(struct work *w, enum form form)
{
    return advance(w, form_apply(form, w->text, w->origin, w->spare, w->err));
}

static bool is_ascii(const struct aligned *a)
{
    for (size_t i = 0; i < a->n; i++)
        if ((unsigned char)a->s[i] >= 0x80)
            return false;
    return true;
}

static enum err_code run_bert(struct work *w, const struct normalizer *s)
{
    enum err_code code = ERR_OK;
    bool ascii = is_ascii(w->text); /* then two of the four do nothing */
    if (s->clean_text)
        code = run_map(w, 1, clean_char);
    if (code == ERR_OK && s->chinese_chars && !ascii)
        code = run_map(w, 2, space_chinese);
    if (code == ERR_OK && s->strip_accents && !ascii)
        code = run_form(w, FORM_D);
    if (code == ERR_OK && s->strip_accents && !ascii)
        code = run_map(w, 1, drop_nonspacing);
    if (code == ERR_OK && s->lowercase)
        code = run_map(w, 2, lower_char);
    return code;
}

static enum err_code run_step(struct work *w, const struct normalizer *s)
{
    switch (s->kind) {
    case NORMALIZER_BERT:
        return run_bert(w, s);
    case NORMALIZER_LOWERCASE:
        return run_map(w, 2, lower_char);
    case NORMALIZER_NFC:
        return run_form(w, FORM_C);
    case NORMALIZER_NFD:
        return run_form(w, FORM_D);
    case NORMALIZER_NFKC:
        return run_form(w, FORM_KC);
    case NORMALIZER_NFKD:
        return run_form(w, FORM_KD);
    case NORMALIZER_STRIP_ACCENTS:
        return run_map(w, 1, drop_marks);
    case NORMALIZER_STRIP:
        return advance(w, strip(s, w->text, w->spare, w->err));
    case NORMALIZER_REPLACE:
        return advance(w, replace(s, w->text, w->spare, w->m, w->err));
    case NORMALIZER_PREPEND:
        return advance(w, prepend(s, w->text, w->spare, w->err));
    case NORMALIZER_BYTE_LEVEL:
        return run_map(w, 2, spell_bytes);
    case NORMALIZER_NMT:
        return run_map(w, 1, clean_nmt);
    case NORMALIZER_PRECOMPILED:
        return advance(
            w, charsmap_apply(&s->charsmap, w->text, w->origin, w->spare, w->err));
    }
    return err_set(w->err, ERR_BUG, "%s: kind %d", where, (int)s->kind);
}

enum err_code normalize_apply(const struct normalize *z, uint32_t origin,
                              struct aligned *text, struct aligned *spare,
                              struct matcher *m, struct err *err)
{
    struct work w = {text, spare, origin, m, err};
    enum err_code code = ERR_OK;
    spare->n = 0;
    for (size_t i = 0; code == ERR_OK && i < z->n && text->n > 0; i++)
        code = run_step(&w, &z->steps[i]);
    return code;
}
