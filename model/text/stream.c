#include "model/text/stream.h"

#include "model/base/mem.h"
#include "model/text/tokenizer_parts.h"

#include <string.h>

/* How a step of the decoder works on pieces that come one by one. They stay apart up to a
 * step that joins them; behind it there is one piece, which comes in chunks. */
enum way {
    WAY_EACH,     /* a piece at a time, without regard to later ones */
    WAY_NOT_LAST, /* the same, but the last piece is different: one waits */
    WAY_RUNS,     /* runs of byte pieces: a run waits until it ends */
    WAY_UTF8,     /* joins bytes: half a character waits */
    WAY_JOIN,     /* joins pieces */
    WAY_LITERAL,  /* replaces a literal in the one piece: what may begin it waits */
    WAY_ENDS,     /* strips the one piece: what may be its end waits */
    WAY_WHOLE     /* needs all of the one piece */
};

/* A longer literal makes a step wait for the whole piece. */
enum { MAX_LITERAL = 256 };

struct step {
    const struct decoder *decoder;
    enum way way;
    bool begun; /* a piece has come; ENDS: nothing is stripped off the front any more */
    size_t stripped;  /* ENDS: how many characters were */
    struct text held; /* what waits */
    struct text last; /* CTC: the piece before */
    struct text work; /* what goes on to the next step */
};

struct decode_stream {
    const struct tokenizer *t;
    bool skip_special;
    bool begun; /* a piece has come out of the last step */
    size_t n;
    struct step steps[PLAN_MAX_STEPS];
    struct matcher matcher;
};

/* ---- building -------------------------------------------------------------------- */

static enum way way_of(const struct decoder *d, bool joined)
{
    bool literal = d->pattern.literal && d->pattern.n_literal <= MAX_LITERAL;
    switch (d->kind) {
    case DECODER_BYTE_LEVEL:
        return joined ? WAY_WHOLE : WAY_UTF8;
    case DECODER_FUSE:
        return WAY_JOIN;
    case DECODER_BYTE_FALLBACK:
        return joined ? WAY_WHOLE : WAY_RUNS;
    case DECODER_BPE:
        if (joined)
            return d->n_affix <= MAX_LITERAL ? WAY_LITERAL : WAY_WHOLE;
        return WAY_NOT_LAST;
    case DECODER_METASPACE:
        return joined ? WAY_LITERAL : WAY_EACH;
    case DECODER_STRIP:
        return joined ? WAY_ENDS : WAY_EACH;
    case DECODER_REPLACE:
        return joined && literal ? WAY_LITERAL : joined ? WAY_WHOLE : WAY_EACH;
    default: /* WORDPIECE, CTC */
        return joined ? WAY_WHOLE : WAY_EACH;
    }
}

enum err_code decode_stream_new(const struct tokenizer *t, bool skip_special,
                                struct decode_stream **out, struct err *err)
{
    struct decode_stream *s = mem_zero(1, sizeof *s);
    if (!s)
        return err_set(err, ERR_NOMEM, "no memory to decode");
    s->t = t;
    s->skip_special = skip_special;
    bool joined = false;
    for (; s->n < t->decode.n; s->n++) {
        struct step *step = &s->steps[s->n];
        step->decoder = &t->decode.steps[s->n];
        step->way = way_of(step->decoder, joined);
        joined = joined || step->way == WAY_JOIN || step->way == WAY_UTF8;
    }
    *out = s;
    return ERR_OK;
}

void decode_stream_free(struct decode_stream *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->n; i++) {
        text_done(&s->steps[i].held);
        text_done(&s->steps[i].last);
        text_done(&s->steps[i].work);
    }
    matcher_done(&s->matcher);
    mem_free(s);
}

/* ---- steps ----------------------------------------------------------------------- */

/* One call: where the text goes, and the steps it goes through. */
struct flow {
    struct decode_stream *s;
    struct text *out;
    struct err *err;
};

static enum err_code send(struct flow *f, size_t i, const char *at, size_t n);

/* Sends all but the last `keep` bytes of a step's held text, which it has put into its
 * work, or what was made of them; the last ones stay. */
static enum err_code send_work(struct flow *f, size_t i, size_t keep)
{
    struct step *step = &f->s->steps[i];
    if (step->held.n > keep)
        memmove(step->held.at, step->held.at + step->held.n - keep, keep);
    step->held.n = keep;
    return step->work.n ? send(f, i + 1, step->work.at, step->work.n) : ERR_OK;
}

static bool same(const struct text *a, const char *at, size_t n)
{
    return a->n == n && (n == 0 || memcmp(a->at, at, n) == 0);
}

static enum err_code keep_copy(struct text *to, const char *at, size_t n, struct err *err)
{
    to->n = 0;
    return text_add(to, at, n, err);
}

static enum err_code each(struct flow *f, size_t i, const char *at, size_t n)
{
    struct step *step = &f->s->steps[i];
    bool ctc = step->decoder->kind == DECODER_CTC, first = !step->begun;
    if (ctc && !first && same(&step->last, at, n))
        return ERR_OK;
    step->begun = true;
    step->work.n = 0;
    enum err_code code = ctc ? keep_copy(&step->last, at, n, f->err) : ERR_OK;
    if (code == ERR_OK)
        code = decode_piece(step->decoder, at, n, (struct place){first, false},
                            &f->s->matcher, &step->work, f->err);
    if (code != ERR_OK || (ctc && step->work.n == 0))
        return code;
    return send(f, i + 1, step->work.at, step->work.n);
}

/* Sends the piece that waits. */
static enum err_code release(struct flow *f, size_t i, bool last)
{
    struct step *step = &f->s->steps[i];
    step->work.n = 0;
    enum err_code code =
        decode_piece(step->decoder, step->held.at, step->held.n,
                     (struct place){false, last}, &f->s->matcher, &step->work, f->err);
    return code ? code : send(f, i + 1, step->work.at, step->work.n);
}

static enum err_code not_last(struct flow *f, size_t i, const char *at, size_t n)
{
    struct step *step = &f->s->steps[i];
    enum err_code code = step->begun ? release(f, i, false) : ERR_OK;
    step->begun = true;
    return code ? code : keep_copy(&step->held, at, n, f->err);
}

static enum err_code end_run(struct flow *f, size_t i)
{
    struct step *step = &f->s->steps[i];
    struct strings pieces = {0};
    enum err_code code = decode_byte_run(&pieces, &step->held, f->err);
    for (size_t k = 0; code == ERR_OK && k < pieces.n; k++) {
        size_t n;
        const char *at = strings_get(&pieces, k, &n);
        code = send(f, i + 1, at, n);
    }
    strings_done(&pieces);
    return code;
}

static enum err_code runs(struct flow *f, size_t i, const char *at, size_t n)
{
    int byte = decode_byte_of(at, n);
    if (byte >= 0)
        return text_add(&f->s->steps[i].held, &(char){(char)byte}, 1, f->err);
    enum err_code code = end_run(f, i);
    return code ? code : send(f, i + 1, at, n);
}

static enum err_code utf8(struct flow *f, size_t i, const char *at, size_t n, bool end)
{
    struct step *step = &f->s->steps[i];
    step->work.n = 0;
    enum err_code code = end ? ERR_OK : decode_bytes_of(at, n, &step->held, f->err);
    size_t open = end ? 0 : text_open_end(step->held.at, step->held.n);
    if (code == ERR_OK && step->held.n > 0)
        code = text_add_repaired(&step->work, step->held.at, step->held.n - open, f->err);
    return code ? code : send_work(f, i, open);
}

/* What a step in the one piece replaces, and by what. */
struct change {
    const char *what, *by;
    size_t n_what, n_by;
};

static struct change change_of(const struct decoder *d)
{
    if (d->kind == DECODER_REPLACE)
        return (struct change){d->pattern.literal, d->content, d->pattern.n_literal,
                               d->n_content};
    bool blank = d->kind == DECODER_METASPACE && d->scheme == PREPEND_NEVER;
    return (struct change){d->affix, " ", d->n_affix, blank};
}

/* The bytes at the end of s[0..n) that may be the beginning of `what`. */
static size_t beginning_of(const struct change *c, const char *s, size_t n)
{
    size_t most = n < c->n_what - 1 ? n : c->n_what - 1;
    for (; most > 0; most--)
        if (memcmp(s + n - most, c->what, most) == 0)
            return most;
    return 0;
}

static enum err_code literal(struct flow *f, size_t i, const char *at, size_t n, bool end)
{
    struct step *step = &f->s->steps[i];
    struct change c = change_of(step->decoder);
    enum err_code code = text_add(&step->held, at, n, f->err);
    const char *s = step->held.at;
    size_t left = step->held.n;
    step->work.n = 0;
    while (code == ERR_OK) {
        const char *hit = memmem(s, left, c.what, c.n_what);
        if (!hit)
            break;
        code = text_add(&step->work, s, (size_t)(hit - s), f->err);
        if (code == ERR_OK)
            code = text_add(&step->work, c.by, c.n_by, f->err);
        left -= (size_t)(hit - s) + c.n_what;
        s = hit + c.n_what;
    }
    size_t keep = code || end ? 0 : beginning_of(&c, s, left);
    if (code == ERR_OK)
        code = text_add(&step->work, s, left - keep, f->err);
    return code ? code : send_work(f, i, keep);
}

static enum err_code ends(struct flow *f, size_t i, const char *at, size_t n, bool end)
{
    struct step *step = &f->s->steps[i];
    const struct decoder *d = step->decoder;
    size_t k = d->n_affix, last = 0;
    while (!step->begun && step->stripped < d->start && n >= k &&
           memcmp(at, d->affix, k) == 0) {
        at += k;
        n -= k;
        step->stripped++;
    }
    step->begun = step->begun || n > 0;
    enum err_code code = text_add(&step->held, at, n, f->err);
    if (code != ERR_OK)
        return code;
    const char *s = step->held.at;
    size_t all = step->held.n;
    while (last < d->stop && all >= (last + 1) * k &&
           memcmp(s + all - (last + 1) * k, d->affix, k) == 0)
        last++;
    code = keep_copy(&step->work, s, all - last * k, f->err);
    return code ? code : send_work(f, i, end ? 0 : last * k);
}

static enum err_code whole(struct flow *f, size_t i)
{
    struct step *step = &f->s->steps[i];
    struct strings in = {0}, made = {0};
    enum err_code code =
        strings_add(&in, step->held.at ? step->held.at : "", step->held.n, f->err);
    if (code == ERR_OK)
        code = decode_step(step->decoder, &in, &made, &f->s->matcher, f->err);
    if (code == ERR_OK && made.text.n > 0)
        code = send(f, i + 1, made.text.at, made.text.n);
    strings_done(&in);
    strings_done(&made);
    return code;
}

/* ---- the chain ------------------------------------------------------------------- */

/* Gives a piece or a chunk to step i; behind the last one it is text. */
static enum err_code send(struct flow *f, size_t i, const char *at, size_t n)
{
    if (i == f->s->n) {
        bool blank = f->s->begun && f->s->t->decode.joins;
        enum err_code code = blank ? text_add(f->out, " ", 1, f->err) : ERR_OK;
        f->s->begun = true;
        return code ? code : text_add(f->out, at, n, f->err);
    }
    switch (f->s->steps[i].way) {
    case WAY_EACH:
        return each(f, i, at, n);
    case WAY_NOT_LAST:
        return not_last(f, i, at, n);
    case WAY_RUNS:
        return runs(f, i, at, n);
    case WAY_UTF8:
        return utf8(f, i, at, n, false);
    case WAY_LITERAL:
        return literal(f, i, at, n, false);
    case WAY_ENDS:
        return ends(f, i, at, n, false);
    case WAY_WHOLE:
        return text_add(&f->s->steps[i].held, at, n, f->err);
    case WAY_JOIN:
        break;
    }
    return send(f, i + 1, at, n);
}

/* What waits at step i can't wait any longer. */
static enum err_code finish(struct flow *f, size_t i)
{
    switch (f->s->steps[i].way) {
    case WAY_NOT_LAST:
        return f->s->steps[i].begun ? release(f, i, true) : ERR_OK;
    case WAY_RUNS:
        return end_run(f, i);
    case WAY_UTF8:
        return utf8(f, i, "", 0, true);
    case WAY_LITERAL:
        return literal(f, i, "", 0, true);
    case WAY_ENDS:
        return ends(f, i, "", 0, true);
    case WAY_WHOLE:
        return whole(f, i);
    default:
        return ERR_OK;
    }
}

enum err_code decode_stream_push(struct decode_stream *s, int32_t id, struct text *out,
                                 struct err *err)
{
    struct flow f = {s, out, err};
    size_t n, before = out->n;
    const char *at = tokenizer_spelling(s->t, id, s->skip_special, &n);
    enum err_code code = at ? send(&f, 0, at, n) : ERR_OK;
    if (code != ERR_OK)
        out->n = before;
    return code;
}

enum err_code decode_stream_end(struct decode_stream *s, struct text *out,
                                struct err *err)
{
    struct flow f = {s, out, err};
    size_t before = out->n;
    enum err_code code = ERR_OK;
    for (size_t i = 0; code == ERR_OK && i < s->n; i++)
        code = finish(&f, i);
    if (code != ERR_OK)
        out->n = before;
    return code;
}
