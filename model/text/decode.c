#include "model/text/decode.h"

#include "model/base/mem.h"
#include "model/base/utf8.h"
#include "model/text/unicode.h"

#include <string.h>

static const char where[] = "tokenizer.json: decoder";

/* ---- building -------------------------------------------------------------------- */

static enum err_code keep(const struct plan_text *from, char **to, size_t *n,
                          struct err *err)
{
    if (!from->at)
        return ERR_OK;
    *to = mem_copy(from->at, from->n);
    *n = from->n;
    return *to ? ERR_OK : err_set(err, ERR_NOMEM, "%s: no memory", where);
}

static enum err_code init_step(struct decoder *d, const struct plan_decoder *p,
                               struct err *err)
{
    *d = (struct decoder){.kind = p->kind,
                          .cleanup = p->cleanup,
                          .scheme = p->scheme,
                          .start = p->start,
                          .stop = p->stop};
    if (p->kind == DECODER_BPE && p->affix.n == 0)
        return err_set(err, ERR_UNSUPPORTED, "%s: an empty suffix is not served", where);
    enum err_code code = keep(&p->affix, &d->affix, &d->n_affix, err);
    if (code == ERR_OK)
        code = keep(&p->content, &d->content, &d->n_content, err);
    if (code == ERR_OK && p->pattern.text.at)
        code = pattern_init(&d->pattern, &p->pattern, where, err);
    return code;
}

enum err_code decode_init(struct decode *d, const struct tokenizer_plan *plan,
                          struct err *err)
{
    *d = (struct decode){.joins = !plan->has_decoder};
    d->steps = mem_zero(plan->n_decoders, sizeof *d->steps);
    if (!d->steps)
        return err_set(err, ERR_NOMEM, "%s: no memory", where);
    enum err_code code = ERR_OK;
    for (; code == ERR_OK && d->n < plan->n_decoders; d->n++)
        code = init_step(&d->steps[d->n], &plan->decoders[d->n], err);
    if (code != ERR_OK)
        decode_done(d);
    return code;
}

void decode_done(struct decode *d)
{
    for (size_t i = 0; i < d->n; i++) {
        pattern_done(&d->steps[i].pattern);
        mem_free(d->steps[i].affix);
        mem_free(d->steps[i].content);
    }
    mem_free(d->steps);
    *d = (struct decode){0};
}

/* ---- lists of pieces --------------------------------------------------------------- */

void strings_done(struct strings *s)
{
    text_done(&s->text);
    mem_free(s->ends);
    *s = (struct strings){0};
}

/* Ends the piece that was appended to s->text. */
static enum err_code close_piece(struct strings *s, struct err *err)
{
    if (s->n == s->cap) {
        size_t cap = s->cap * 2 + 32;
        size_t *ends = mem_resize(s->ends, cap, sizeof *ends);
        if (!ends)
            return err_set(err, ERR_NOMEM, "no memory to decode %zu pieces", cap);
        s->ends = ends;
        s->cap = cap;
    }
    s->ends[s->n++] = s->text.n;
    return ERR_OK;
}

enum err_code strings_add(struct strings *s, const char *at, size_t n, struct err *err)
{
    enum err_code code = text_add(&s->text, at, n, err);
    return code ? code : close_piece(s, err);
}

const char *strings_get(const struct strings *s, size_t i, size_t *n)
{
    size_t begin = i ? s->ends[i - 1] : 0;
    *n = s->ends[i] - begin;
    return s->text.at + begin;
}

/* ---- steps that take one piece at a time ------------------------------------------- */

static bool begins_with(const char *s, size_t n, const char *with, size_t n_with)
{
    return n >= n_with && memcmp(s, with, n_with) == 0;
}

/* Appends s[0..n) with `by` for every `what`, which is not empty. */
static enum err_code put_replaced(struct text *out, const char *s, size_t n,
                                  const char *what, const char *by, struct err *err)
{
    size_t n_what = strlen(what), n_by = strlen(by);
    for (;;) {
        const char *hit = n >= n_what ? memmem(s, n, what, n_what) : NULL;
        size_t gap = hit ? (size_t)(hit - s) : n;
        enum err_code code = text_add(out, s, gap, err);
        if (code == ERR_OK && hit)
            code = text_add(out, by, n_by, err);
        if (code != ERR_OK || !hit)
            return code;
        s += gap + n_what;
        n -= gap + n_what;
    }
}

/* A blank and what one of tidy's changes goes on with: most pieces have none. */
static bool may_be_tidied(const char *s, size_t n)
{
    static const char next[] = {'.', '?', '!', ',', '\'', 'n', 'd'};
    const char *end = s + n;
    while ((s = memchr(s, ' ', (size_t)(end - s))) && ++s < end)
        if (memchr(next, *s, sizeof next))
            return true;
    return false;
}

/* English spacing, tidied up as BERT's decoder does; out->at[from..] is the piece. */
static enum err_code tidy(struct text *out, size_t from, struct err *err)
{
    static const char *const changes[][2] = {
        {" .", "."},   {" ?", "?"},     {" !", "!"},    {" ,", ","},
        {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},  {" do not", " don't"},
        {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
    if (!may_be_tidied(out->at + from, out->n - from))
        return ERR_OK;
    struct text next = {0};
    enum err_code code = ERR_OK;
    for (size_t i = 0; code == ERR_OK && i < sizeof changes / sizeof *changes; i++) {
        const char *what = changes[i][0];
        if (!memmem(out->at + from, out->n - from, what, strlen(what)))
            continue;
        next.n = 0;
        code =
            put_replaced(&next, out->at + from, out->n - from, what, changes[i][1], err);
        if (code == ERR_OK) {
            out->n = from;
            code = text_add(out, next.at, next.n, err);
        }
    }
    text_done(&next);
    return code;
}

static enum err_code decode_wordpiece(const struct decoder *d, const char *s, size_t n,
                                      bool first, struct text *out, struct err *err)
{
    size_t from = out->n;
    enum err_code code = ERR_OK;
    if (!first && begins_with(s, n, d->affix, d->n_affix)) {
        s += d->n_affix;
        n -= d->n_affix;
    } else if (!first) {
        code = text_add(out, " ", 1, err);
    }
    if (code == ERR_OK)
        code = text_add(out, s, n, err);
    return code || !d->cleanup ? code : tidy(out, from, err);
}

static enum err_code decode_metaspace(const struct decoder *d, const char *s, size_t n,
                                      bool first, struct text *out, struct err *err)
{
    bool drop = first && d->scheme != PREPEND_NEVER;
    return put_replaced(out, s, n, d->affix, drop ? "" : " ", err);
}

/* Takes up to `start` and `stop` of the character off the ends. */
static enum err_code decode_strip(const struct decoder *d, const char *s, size_t n,
                                  struct text *out, struct err *err)
{
    size_t k = d->n_affix;
    for (size_t i = 0; i < d->start && begins_with(s, n, d->affix, k); i++) {
        s += k;
        n -= k;
    }
    for (size_t i = 0; i < d->stop && n >= k && memcmp(s + n - k, d->affix, k) == 0; i++)
        n -= k;
    return text_add(out, s, n, err);
}

static enum err_code decode_replace(const struct decoder *d, const char *s, size_t n,
                                    struct matcher *m, struct text *out, struct err *err)
{
    size_t at = 0;
    for (bool found = true; found;) {
        struct match match = {n, n};
        enum err_code code = pattern_find(&d->pattern, m, s, n, at, &found, &match, err);
        if (code == ERR_OK)
            code = text_add(out, s + at, (found ? match.begin : n) - at, err);
        if (code == ERR_OK && found)
            code = text_add(out, d->content, d->n_content, err);
        if (code != ERR_OK)
            return code;
        at = match.end;
    }
    return ERR_OK;
}

/* CTC: the pad token goes; with cleanup the delimiter of words becomes a blank. */
static enum err_code decode_ctc(const struct decoder *d, const char *s, size_t n,
                                struct text *out, struct err *err)
{
    size_t from = out->n;
    struct text tidied = {0};
    enum err_code code = d->n_affix ? put_replaced(out, s, n, d->affix, "", err)
                                    : text_add(out, s, n, err);
    if (code != ERR_OK || !d->cleanup || out->n == from)
        return code;
    code = tidy(out, from, err);
    if (code == ERR_OK)
        code = text_add(&tidied, out->at + from, out->n - from, err);
    out->n = from;
    if (code == ERR_OK)
        code = put_replaced(out, tidied.at, tidied.n, d->content, " ", err);
    text_done(&tidied);
    return code;
}

enum err_code decode_piece(const struct decoder *d, const char *s, size_t n,
                           struct place place, struct matcher *m, struct text *out,
                           struct err *err)
{
    switch (d->kind) {
    case DECODER_WORDPIECE:
        return decode_wordpiece(d, s, n, place.first, out, err);
    case DECODER_BPE:
        return put_replaced(out, s, n, d->affix, place.last ? "" : " ", err);
    case DECODER_METASPACE:
        return decode_metaspace(d, s, n, place.first, out, err);
    case DECODER_STRIP:
        return decode_strip(d, s, n, out, err);
    case DECODER_REPLACE:
        return decode_replace(d, s, n, m, out, err);
    case DECODER_CTC:
        return decode_ctc(d, s, n, out, err);
    default:
        return text_add(out, s, n, err);
    }
}

/* ---- steps that join pieces -------------------------------------------------------- */

enum err_code decode_bytes_of(const char *s, size_t n, struct text *out, struct err *err)
{
    size_t before = out->n, len;
    for (size_t at = 0; at < n; at += len) {
        int byte = unicode_to_byte(utf8_get(s + at, n - at, &len));
        if (byte < 0) {
            out->n = before;
            return text_add(out, s, n, err);
        }
        enum err_code code = text_add(out, &(char){(char)byte}, 1, err);
        if (code != ERR_OK)
            return code;
    }
    return ERR_OK;
}

static enum err_code decode_byte_level(const struct strings *in, struct strings *out,
                                       struct err *err)
{
    struct text bytes = {0};
    enum err_code code = ERR_OK;
    for (size_t i = 0; code == ERR_OK && i < in->n; i++) {
        size_t n;
        const char *s = strings_get(in, i, &n);
        code = decode_bytes_of(s, n, &bytes, err);
    }
    if (code == ERR_OK)
        code = text_add_repaired(&out->text, bytes.at, bytes.n, err);
    text_done(&bytes);
    return code ? code : close_piece(out, err);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int decode_byte_of(const char *s, size_t n)
{
    if (n != 6 || memcmp(s, "<0x", 3) != 0 || s[5] != '>')
        return -1;
    int high = hex_digit(s[3]), low = hex_digit(s[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

enum err_code decode_byte_run(struct strings *out, struct text *run, struct err *err)
{
    enum err_code code = ERR_OK;
    if (run->n == 0)
        return ERR_OK;
    if (utf8_valid(run->at, run->n) == run->n)
        code = strings_add(out, run->at, run->n, err);
    else
        for (size_t i = 0; code == ERR_OK && i < run->n; i++)
            code = strings_add(out, "\xef\xbf\xbd", 3, err);
    run->n = 0;
    return code;
}

static enum err_code decode_byte_fallback(const struct strings *in, struct strings *out,
                                          struct err *err)
{
    struct text run = {0};
    enum err_code code = ERR_OK;
    for (size_t i = 0; code == ERR_OK && i < in->n; i++) {
        size_t n;
        const char *s = strings_get(in, i, &n);
        int byte = decode_byte_of(s, n);
        if (byte >= 0) {
            code = text_add(&run, &(char){(char)byte}, 1, err);
            continue;
        }
        code = decode_byte_run(out, &run, err);
        if (code == ERR_OK)
            code = strings_add(out, s, n, err);
    }
    if (code == ERR_OK)
        code = decode_byte_run(out, &run, err);
    text_done(&run);
    return code;
}

/* CTC says a piece as often as it is long: only the first of equal ones counts, and none
 * of which nothing is left. */
static enum err_code decode_all_ctc(const struct decoder *d, const struct strings *in,
                                    struct strings *out, struct err *err)
{
    enum err_code code = ERR_OK;
    for (size_t i = 0; code == ERR_OK && i < in->n; i++) {
        size_t n, n_last, from = out->text.n;
        const char *s = strings_get(in, i, &n);
        const char *last = strings_get(in, i ? i - 1 : 0, &n_last);
        if (i > 0 && n == n_last && (n == 0 || memcmp(s, last, n) == 0))
            continue;
        code = decode_ctc(d, s, n, &out->text, err);
        if (code == ERR_OK && out->text.n > from)
            code = close_piece(out, err);
    }
    return code;
}

/* ---- the chain --------------------------------------------------------------------- */

enum err_code decode_step(const struct decoder *d, const struct strings *in,
                          struct strings *out, struct matcher *m, struct err *err)
{
    if (d->kind == DECODER_BYTE_LEVEL)
        return decode_byte_level(in, out, err);
    if (d->kind == DECODER_BYTE_FALLBACK)
        return decode_byte_fallback(in, out, err);
    if (d->kind == DECODER_CTC)
        return decode_all_ctc(d, in, out, err);
    if (d->kind == DECODER_FUSE)
        return strings_add(out, in->text.at, in->text.n, err);
    enum err_code code = ERR_OK;
    for (size_t i = 0; code == ERR_OK && i < in->n; i++) {
        size_t n;
        const char *s = strings_get(in, i, &n);
        struct place place = {i == 0, i + 1 == in->n};
        code = decode_piece(d, s, n, place, m, &out->text, err);
        if (code == ERR_OK)
            code = close_piece(out, err);
    }
    return code;
}

enum err_code decode_apply(const struct decode *d, struct strings *pieces,
                           struct text *out, struct err *err)
{
    struct strings next = {0};
    struct matcher m = {0};
    enum err_code code = ERR_OK;
    for (size_t i = 0; code == ERR_OK && i < d->n; i++) {
        next.n = next.text.n = 0;
        code = decode_step(&d->steps[i], pieces, &next, &m, err);
        struct strings swap = *pieces;
        *pieces = next;
        next = swap;
    }
    for (size_t i = 0; code == ERR_OK && i < pieces->n; i++) {
        size_t n;
        const char *s = strings_get(pieces, i, &n);
        if (d->joins && i > 0)
            code = text_add(out, " ", 1, err);
        if (code == ERR_OK)
            code = text_add(out, s, n, err);
    }
    matcher_done(&m);
    strings_done(&next);
    return code;
}

/* One step for one piece in the middle; *fused is set once pieces are joined, after which
 * the ends of the text are not this piece's. */
static enum err_code bytes_step(const struct decoder *d, const char *s, size_t n,
                                bool *fused, struct text *out, struct err *err)
{
    struct matcher m = {0};
    int byte = decode_byte_of(s, n);
    bool skip = (*fused && d->kind != DECODER_REPLACE) || utf8_valid(s, n) < n;
    enum err_code code;
    if (skip)
        code = text_add(out, s, n, err);
    else if (d->kind == DECODER_BYTE_LEVEL)
        code = decode_bytes_of(s, n, out, err);
    else if (d->kind == DECODER_BYTE_FALLBACK && byte >= 0)
        code = text_add(out, &(char){(char)byte}, 1, err);
    else
        code = decode_piece(d, s, n, (struct place){false, false}, &m, out, err);
    *fused = *fused || d->kind == DECODER_FUSE || d->kind == DECODER_BYTE_LEVEL;
    matcher_done(&m);
    return code;
}

enum err_code decode_bytes(const struct decode *d, const char *s, size_t n,
                           struct text *out, struct err *err)
{
    struct text now = {0}, next = {0};
    bool fused = false;
    enum err_code code = d->joins ? text_add(&now, " ", 1, err) : ERR_OK;
    if (code == ERR_OK)
        code = text_add(&now, s, n, err);
    for (size_t i = 0; code == ERR_OK && i < d->n; i++) {
        next.n = 0;
        code = bytes_step(&d->steps[i], now.at, now.n, &fused, &next, err);
        struct text swap = now;
        now = next;
        next = swap;
    }
    if (code == ERR_OK)
        code = text_add(out, now.at, now.n, err);
    text_done(&now);
    text_done(&next);
    return code;
}
