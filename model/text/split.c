#include "model/text/split.h"

#include "model/base/mem.h"
#include "model/base/utf8.h"
#include "model/text/unicode.h"

#include <string.h>

static const char where[] = "tokenizer.json: pre_tokenizer";

/* ---- building -------------------------------------------------------------------- */

static enum err_code init_step(struct splitter *s, const struct plan_splitter *p,
                               struct err *err)
{
    *s = (struct splitter){.kind = p->kind,
                           .prefix_space = p->prefix_space,
                           .use_regex = p->use_regex,
                           .invert = p->invert,
                           .split = p->split,
                           .behavior = p->behavior,
                           .scheme = p->scheme,
                           .length = p->length,
                           .n_character = p->character.n};
    if (p->character.n)
        memcpy(s->character, p->character.at, p->character.n);
    if (p->kind == SPLITTER_BYTE_LEVEL)
        s->pattern.scan = scan_gpt2;
    return p->pattern.text.at ? pattern_init(&s->pattern, &p->pattern, where, err)
                              : ERR_OK;
}

enum err_code split_init(struct split *s, const struct tokenizer_plan *plan,
                         struct err *err)
{
    *s = (struct split){0};
    s->steps = mem_zero(plan->n_splitters, sizeof *s->steps);
    if (!s->steps)
        return err_set(err, ERR_NOMEM, "%s: no memory", where);
    enum err_code code = ERR_OK;
    for (; code == ERR_OK && s->n < plan->n_splitters; s->n++)
        code = init_step(&s->steps[s->n], &plan->splitters[s->n], err);
    if (code != ERR_OK)
        split_done(s);
    return code;
}

void split_done(struct split *s)
{
    for (size_t i = 0; i < s->n; i++)
        pattern_done(&s->steps[i].pattern);
    mem_free(s->steps);
    *s = (struct split){0};
}

/* ---- behaviors ------------------------------------------------------------------- */

/* One piece on its way through a behavior: matches and the gaps between them arrive in
 * order, and pieces go out. */
struct cutter {
    enum split_behavior behavior;
    struct pieces *out;
    size_t shift;   /* of the piece in the text */
    bool any;       /* `last` is waiting to go out */
    bool was_match; /* of what arrived last */
    struct match last;
    struct err *err;
};

static enum err_code send_last(struct cutter *c)
{
    if (!c->any)
        return ERR_OK;
    c->any = false;
    return pieces_add(c->out, c->shift + c->last.begin, c->shift + c->last.end, -1,
                      c->err);
}

static bool joins(const struct cutter *c, bool is_match)
{
    switch (c->behavior) {
    case SPLIT_CONTIGUOUS:
        return is_match == c->was_match;
    case SPLIT_MERGED_WITH_PREVIOUS:
        return is_match && !c->was_match;
    case SPLIT_MERGED_WITH_NEXT:
        return !is_match && c->was_match;
    default:
        return false;
    }
}

static enum err_code arrive(struct cutter *c, size_t begin, size_t end, bool is_match)
{
    enum err_code code = ERR_OK;
    if (begin == end || (c->behavior == SPLIT_REMOVED && is_match))
        return ERR_OK;
    if (c->any && joins(c, is_match)) {
        c->last.end = end;
    } else {
        code = send_last(c);
        c->any = true;
        c->last = (struct match){begin, end};
    }
    c->was_match = is_match;
    return code;
}

/* Cuts s[0..n) at the matches of the step's pattern. */
static enum err_code cut_by_pattern(struct cutter *c, const struct splitter *step,
                                    struct matcher *m, const char *s, size_t n)
{
    size_t at = 0;
    for (bool found = true; found;) {
        struct match match = {n, n};
        enum err_code code =
            pattern_find(&step->pattern, m, s, n, at, &found, &match, c->err);
        if (code == ERR_OK)
            code = arrive(c, at, found ? match.begin : n, step->invert);
        if (code == ERR_OK && found)
            code = arrive(c, match.begin, match.end, !step->invert);
        if (code != ERR_OK)
            return code;
        at = match.end;
    }
    return send_last(c);
}

/* Whether a character is a match of its own. */
static bool is_delimiter(const struct splitter *step, uint32_t cp, const char *s,
                         size_t len)
{
    switch (step->kind) {
    case SPLITTER_WHITESPACE_SPLIT:
        return unicode_flags(cp) & UNICODE_SPACE;
    case SPLITTER_PUNCTUATION:
        return unicode_flags(cp) & UNICODE_PUNCT;
    case SPLITTER_DIGITS:
        return unicode_flags(cp) & UNICODE_NUMERIC;
    default: /* SPLITTER_CHAR, METASPACE */
        return len == step->n_character && memcmp(s, step->character, len) == 0;
    }
}

static enum err_code cut_by_char(struct cutter *c, const struct splitter *step,
                                 const char *s, size_t n)
{
    size_t gap = 0, len;
    enum err_code code = ERR_OK;
    for (size_t at = 0; code == ERR_OK && at < n; at += len) {
        uint32_t cp = utf8_get(s + at, n - at, &len);
        if (!is_delimiter(step, cp, s + at, len))
            continue;
        code = arrive(c, gap, at, false);
        if (code == ERR_OK)
            code = arrive(c, at, at + len, true);
        gap = at + len;
    }
    if (code == ERR_OK)
        code = arrive(c, gap, n, false);
    return code ? code : send_last(c);
}

/* BertPreTokenizer and Whitespace: blanks go, the rest falls into runs of one class. */
static int class_of(enum splitter_kind kind, uint32_t cp)
{
    enum { BLANK, ALONE, WORD, OTHER };
    unsigned flags = unicode_flags(cp);
    if (flags & UNICODE_SPACE)
        return BLANK;
    if (kind == SPLITTER_BERT)
        return flags & UNICODE_PUNCT ? ALONE : WORD;
    return flags & UNICODE_WORD ? WORD : OTHER;
}

static enum err_code cut_by_class(struct cutter *c, const struct splitter *step,
                                  const char *s, size_t n)
{
    size_t begin = 0, len;
    int class = 0; /* of begin..at-1; 0 is dropped, 1 is never joined */
    enum err_code code = ERR_OK;
    for (size_t at = 0; code == ERR_OK && at < n; at += len) {
        int next = class_of(step->kind, utf8_get(s + at, n - at, &len));
        if (next == class && class != 1)
            continue;
        if (class != 0)
            code = pieces_add(c->out, c->shift + begin, c->shift + at, -1, c->err);
        begin = at;
        class = next;
    }
    if (code == ERR_OK && class != 0)
        code = pieces_add(c->out, c->shift + begin, c->shift + n, -1, c->err);
    return code;
}

/* Pieces of as many characters as the step says, the last one of the rest. */
static enum err_code cut_by_length(struct cutter *c, const struct splitter *step,
                                   const char *s, size_t n)
{
    size_t begin = 0, count = 0, len;
    enum err_code code = ERR_OK;
    for (size_t at = 0; code == ERR_OK && at < n; at += len) {
        utf8_get(s + at, n - at, &len);
        if (count++ < step->length)
            continue;
        code = pieces_add(c->out, c->shift + begin, c->shift + at, -1, c->err);
        begin = at;
        count = 1;
    }
    return code ? code : pieces_add(c->out, c->shift + begin, c->shift + n, -1, c->err);
}

/* Cuts where another script begins. Blanks and what has no script go on with the one
 * before; at the beginning, where there is none, they are dropped. */
static enum err_code cut_by_script(struct cutter *c, const char *s, size_t n)
{
    size_t begin = n, len; /* nothing has begun */
    unsigned script = UNICODE_NO_SCRIPT;
    enum err_code code = ERR_OK;
    for (size_t at = 0; code == ERR_OK && at < n; at += len) {
        unsigned next = unicode_script(utf8_get(s + at, n - at, &len));
        if (next == UNICODE_NO_SCRIPT || next == script)
            continue;
        code = pieces_add(c->out, c->shift + begin, c->shift + at, -1, c->err);
        begin = at;
        script = next;
    }
    return code ? code : pieces_add(c->out, c->shift + begin, c->shift + n, -1, c->err);
}

/* ---- steps ----------------------------------------------------------------------- */

struct work {
    struct cut *cut, *spare;
    struct matcher *m;
    struct err *err;
};

/* spare->pieces becomes cut->pieces; with `text` the texts are swapped, too. */
static void advance(struct work *w, bool text)
{
    struct pieces pieces = w->cut->pieces;
    w->cut->pieces = w->spare->pieces;
    w->spare->pieces = pieces;
    w->spare->pieces.n = 0;
    if (!text)
        return;
    struct aligned swap = w->cut->text;
    w->cut->text = w->spare->text;
    w->spare->text = swap;
    w->spare->text.n = 0;
}

/* Cuts every open piece; the text stays. */
static enum err_code cut_all(struct work *w, const struct splitter *step,
                             enum split_behavior behavior)
{
    enum err_code code = ERR_OK;
    for (size_t i = 0; code == ERR_OK && i < w->cut->pieces.n; i++) {
        struct piece p = w->cut->pieces.at[i];
        if (p.id >= 0) {
            code = pieces_add(&w->spare->pieces, p.begin, p.end, p.id, w->err);
            continue;
        }
        struct cutter c = {.behavior = behavior,
                           .out = &w->spare->pieces,
                           .shift = p.begin,
                           .err = w->err};
        const char *s = w->cut->text.s + p.begin;
        size_t n = p.end - p.begin;
        if (step->kind == SPLITTER_BYTE_LEVEL || step->kind == SPLITTER_PATTERN)
            code = cut_by_pattern(&c, step, w->m, s, n);
        else if (step->kind == SPLITTER_BERT || step->kind == SPLITTER_WHITESPACE)
            code = cut_by_class(&c, step, s, n);
        else if (step->kind == SPLITTER_FIXED_LENGTH)
            code = cut_by_length(&c, step, s, n);
        else if (step->kind == SPLITTER_SCRIPTS)
            code = cut_by_script(&c, s, n);
        else
            code = cut_by_char(&c, step, s, n);
    }
    if (code == ERR_OK)
        advance(w, false);
    return code;
}

/* Rewrites every open piece with `rewrite`; pieces keep their number and order. */
typedef enum err_code (*rewrite_fn)(const struct splitter *step, const struct aligned *in,
                                    struct piece p, struct aligned *out, struct err *err);

static enum err_code rewrite_all(struct work *w, const struct splitter *step,
                                 rewrite_fn rewrite)
{
    struct aligned *out = &w->spare->text;
    enum err_code code = ERR_OK;
    out->n = 0;
    for (size_t i = 0; code == ERR_OK && i < w->cut->pieces.n; i++) {
        struct piece p = w->cut->pieces.at[i];
        size_t begin = out->n;
        code = p.id >= 0 ? aligned_add(out, &w->cut->text, p.begin, p.end, w->err)
                         : rewrite(step, &w->cut->text, p, out, w->err);
        if (code == ERR_OK)
            code = pieces_add(&w->spare->pieces, begin, out->n, p.id, w->err);
    }
    if (code == ERR_OK)
        advance(w, true);
    return code;
}

/* A blank before a piece that does not begin with one; it stands for the first character.
 */
static enum err_code prefix_space(const struct splitter *step, const struct aligned *in,
                                  struct piece p, struct aligned *out, struct err *err)
{
    (void)step;
    enum err_code code = aligned_room(out, 1, err);
    if (code == ERR_OK && in->s[p.begin] != ' ')
        aligned_put(out, " ", 1, in->map[p.begin]);
    return code ? code : aligned_add(out, in, p.begin, p.end, err);
}

static enum err_code spell_bytes(const struct splitter *step, const struct aligned *in,
                                 struct piece p, struct aligned *out, struct err *err)
{
    (void)step;
    enum err_code code = aligned_room(out, (size_t)(p.end - p.begin) * 2, err);
    for (size_t at = p.begin; code == ERR_OK && at < p.end; at++)
        aligned_put_char(out, unicode_from_byte((unsigned char)in->s[at]), in->map[at]);
    return code;
}

static bool begins_with(const struct splitter *step, const struct aligned *in,
                        struct piece p)
{
    size_t n = step->n_character;
    return in->s[p.begin] == ' ' ||
           (p.end - p.begin >= n && memcmp(in->s + p.begin, step->character, n) == 0);
}

/* Metaspace: blanks become its character, and one is put before the piece unless it
 * begins with one; under "first" only before the piece that begins the text. */
static enum err_code mark_spaces(const struct splitter *step, const struct aligned *in,
                                 struct piece p, struct aligned *out, struct err *err)
{
    size_t n = step->n_character;
    enum err_code code = aligned_room(out, ((size_t)(p.end - p.begin) + 1) * n, err);
    if (code != ERR_OK)
        return code;
    bool wanted = step->scheme == PREPEND_ALWAYS ||
                  (step->scheme == PREPEND_FIRST && in->map[p.begin].from == 0);
    if (wanted && !begins_with(step, in, p))
        aligned_put(out, step->character, n, in->map[p.begin]);
    for (size_t at = p.begin; at < p.end; at++) {
        bool blank = in->s[at] == ' ';
        aligned_put(out, blank ? step->character : in->s + at, blank ? n : 1,
                    in->map[at]);
    }
    return ERR_OK;
}

static enum err_code run_step(struct work *w, const struct splitter *step)
{
    enum err_code code = ERR_OK;
    switch (step->kind) {
    case SPLITTER_BYTE_LEVEL:
        if (step->prefix_space)
            code = rewrite_all(w, step, prefix_space);
        if (code == ERR_OK && step->use_regex)
            code = cut_all(w, step, SPLIT_ISOLATED);
        return code ? code : rewrite_all(w, step, spell_bytes);
    case SPLITTER_METASPACE:
        code = rewrite_all(w, step, mark_spaces);
        return code || !step->split ? code : cut_all(w, step, SPLIT_MERGED_WITH_NEXT);
    case SPLITTER_WHITESPACE_SPLIT:
    case SPLITTER_CHAR:
        return cut_all(w, step, SPLIT_REMOVED);
    default:
        return cut_all(w, step, step->behavior);
    }
}

enum err_code split_apply(const struct split *s, struct cut *cut, struct cut *spare,
                          struct matcher *m, struct err *err)
{
    struct work w = {cut, spare, m, err};
    enum err_code code = ERR_OK;
    spare->text.n = 0;
    spare->pieces.n = 0;
    for (size_t i = 0; code == ERR_OK && i < s->n; i++)
        code = run_step(&w, &s->steps[i]);
    return code;
}
