#include "model/text/tokenizer.h"

#include "model/base/mem.h"
#include "model/base/utf8.h"
#include "model/load/tokenizer_json.h"
#include "model/text/added.h"
#include "model/text/bpe.h"
#include "model/text/decode.h"
#include "model/text/normalize.h"
#include "model/text/post.h"
#include "model/text/split.h"
#include "model/text/unicode.h"
#include "model/text/vocab.h"
#include "model/text/wordpiece.h"

#include <stdlib.h>
#include <string.h>

enum {
    MAX_TEXT = 1 << 28,    /* bytes of one text */
    MAX_GROWTH = 32,       /* no normalizer makes a text longer than this many times .. */
    MAX_GROWTH_ROOM = 4096 /* .. plus this */
};

/* A normalized added token that decodes to something else than its content. */
struct respelled {
    int32_t id;
    uint32_t at, n; /* in the respelled text */
};

struct tokenizer {
    struct vocab vocab;
    struct added raw;    /* added tokens that are looked for before normalization */
    struct added normal; /* and behind it */
    struct normalize normalize;
    struct split split;
    enum model_kind kind;
    struct wordpiece wordpiece; /* those of other kinds are zeroed */
    struct bpe bpe;
    int32_t unk;
    struct plan_post post;
    struct decode decode;

    struct respelled *respelled; /* by id */
    size_t n_respelled;
    struct text respellings;

    struct text bytes; /* what tokenizer_bytes gives: */
    uint32_t *ends;    /* id's are bytes ends[id-1]..ends[id]-1 */
};

/* ---- building -------------------------------------------------------------------- */

static enum err_code no_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, "tokenizer.json: no memory");
}

/* Appends the content of an added token, put through the normalizer, to *out. */
static enum err_code respell(const struct tokenizer *t, const struct plan_added *a,
                             struct text *out, struct err *err)
{
    struct aligned text = {.limit = PLAN_MAX_ADDED_BYTES * MAX_GROWTH + MAX_GROWTH_ROOM};
    struct aligned spare = {.limit = text.limit};
    struct matcher m = {0};
    size_t before = out->n;
    enum err_code code = aligned_add_text(&text, a->content.at, 0, a->content.n, err);
    if (code == ERR_OK)
        code = normalize_apply(&t->normalize, 0, &text, &spare, &m, err);
    if (code == ERR_OK)
        code = text_add(out, text.s, text.n, err);
    if (code == ERR_OK && out->n == before)
        code =
            err_set(err, ERR_UNSUPPORTED,
                    "tokenizer.json: added token \"%.60s\": normalized, nothing is left",
                    a->content.at);
    aligned_done(&text);
    aligned_done(&spare);
    matcher_done(&m);
    return code;
}

static int by_id(const void *a, const void *b)
{
    int32_t left = ((const struct respelled *)a)->id;
    int32_t right = ((const struct respelled *)b)->id;
    return (left > right) - (left < right);
}

static enum err_code respell_all(struct tokenizer *t, const struct tokenizer_plan *plan,
                                 struct err *err)
{
    t->respelled = mem_alloc(plan->n_added, sizeof *t->respelled);
    if (!t->respelled)
        return no_memory(err);
    for (size_t i = 0; i < plan->n_added; i++) {
        const struct plan_added *a = &plan->added[i];
        if (!a->normalized)
            continue;
        struct respelled *r = &t->respelled[t->n_respelled++];
        *r = (struct respelled){.id = a->id, .at = (uint32_t)t->respellings.n};
        enum err_code code = respell(t, a, &t->respellings, err);
        if (code != ERR_OK)
            return code;
        r->n = (uint32_t)(t->respellings.n - r->at);
    }
    qsort(t->respelled, t->n_respelled, sizeof *t->respelled, by_id);
    return ERR_OK;
}

static const struct respelled *find_respelled(const struct tokenizer *t, int32_t id)
{
    struct respelled key = {.id = id};
    return bsearch(&key, t->respelled, t->n_respelled, sizeof key, by_id);
}

static bool is_all_blank(const struct plan_text *s)
{
    size_t len;
    for (size_t at = 0; at < s->n; at += len)
        if (!(unicode_flags(utf8_get(s->at + at, s->n - at, &len)) & UNICODE_SPACE))
            return false;
    return true;
}

static enum err_code put_added(struct tokenizer *t, const struct plan_added *a,
                               struct err *err)
{
    struct added_token token = {a->id, a->single_word, a->lstrip, a->rstrip};
    if ((a->lstrip || a->rstrip) && is_all_blank(&a->content))
        return err_set(
            err, ERR_UNSUPPORTED,
            "tokenizer.json: added token %d: lstrip or rstrip of a token that is "
            "all blanks is not served",
            a->id);
    const struct respelled *r = a->normalized ? find_respelled(t, a->id) : NULL;
    if (r)
        added_put(&t->normal, t->respellings.at + r->at, r->n, token);
    else
        added_put(&t->raw, a->content.at, a->content.n, token);
    return ERR_OK;
}

/* Special tokens first: where two read the same, the first one is found. */
static enum err_code init_added(struct tokenizer *t, const struct tokenizer_plan *plan,
                                struct err *err)
{
    size_t raw = 0;
    for (size_t i = 0; i < plan->n_added; i++)
        raw += plan->added[i].normalized ? 0 : plan->added[i].content.n;
    enum err_code code = respell_all(t, plan, err);
    if (code == ERR_OK)
        code = added_init(&t->raw, raw, err);
    if (code == ERR_OK)
        code = added_init(&t->normal, t->respellings.n, err);
    for (int special = 1; special >= 0; special--)
        for (size_t i = 0; code == ERR_OK && i < plan->n_added; i++)
            if (plan->added[i].special == special)
                code = put_added(t, &plan->added[i], err);
    return code;
}

static enum err_code init_model(struct tokenizer *t, const struct tokenizer_plan *plan,
                                struct err *err)
{
    const struct plan_model *m = &plan->model;
    enum err_code code = ERR_OK;
    t->kind = m->kind;
    switch (m->kind) {
    case MODEL_BPE:
        code = bpe_init(&t->bpe, plan, &t->vocab, err);
        t->unk = t->bpe.unk;
        break;
    case MODEL_WORDPIECE:
        code = wordpiece_init(&t->wordpiece, m, &t->vocab, err);
        t->unk = t->wordpiece.unk;
        break;
    case MODEL_WORD_LEVEL:
        t->unk = vocab_find(&t->vocab, m->unk.at, m->unk.n);
        if (t->unk < 0)
            code =
                err_set(err, ERR_MISMATCH,
                        "tokenizer.json: model: unk_token \"%.60s\" is not in its vocab",
                        m->unk.at);
        break;
    }
    return code;
}

static bool is_used(const struct tokenizer *t, int32_t id)
{
    return id >= 0 && (size_t)id < t->vocab.n_ids && t->vocab.flags[id];
}

static enum err_code init_post(struct tokenizer *t, const struct tokenizer_plan *plan,
                               struct err *err)
{
    t->post = plan->post;
    for (size_t i = 0; i < t->post.n_before + t->post.n_after; i++) {
        int32_t id = i < t->post.n_before ? t->post.before[i].id
                                          : t->post.after[i - t->post.n_before].id;
        if (!is_used(t, id))
            return err_set(
                err, ERR_MISMATCH,
                "tokenizer.json: post_processor: special token %d is in neither "
                "vocab nor added_tokens",
                id);
    }
    return ERR_OK;
}

static enum err_code init_bytes(struct tokenizer *t, struct err *err)
{
    t->ends = mem_alloc(t->vocab.n_ids, sizeof *t->ends);
    if (!t->ends)
        return no_memory(err);
    for (size_t id = 0; id < t->vocab.n_ids; id++) {
        size_t n;
        const char *s = tokenizer_piece(t, (int32_t)id, &n);
        enum err_code code = ERR_OK;
        if (s && !(t->vocab.flags[id] & VOCAB_SPECIAL))
            code = decode_bytes(&t->decode, s, n, &t->bytes, err);
        if (code == ERR_OK && t->bytes.n > UINT32_MAX)
            code = err_set(err, ERR_LIMIT,
                           "tokenizer.json: its pieces decode to %zu bytes", t->bytes.n);
        if (code != ERR_OK)
            return code;
        t->ends[id] = (uint32_t)t->bytes.n;
    }
    return text_add(&t->bytes, "", 1, err); /* so that there is a byte to point at */
}

static enum err_code build(struct tokenizer *t, const struct tokenizer_plan *plan,
                           struct err *err)
{
    enum err_code code = vocab_init(&t->vocab, plan, err);
    if (code == ERR_OK)
        code = normalize_init(&t->normalize, plan, err);
    if (code == ERR_OK)
        code = init_added(t, plan, err);
    if (code == ERR_OK)
        code = split_init(&t->split, plan, err);
    if (code == ERR_OK)
        code = init_model(t, plan, err);
    if (code == ERR_OK)
        code = init_post(t, plan, err);
    if (code == ERR_OK)
        code = decode_init(&t->decode, plan, err);
    return code ? code : init_bytes(t, err);
}

/* Takes the plan. */
static enum err_code finish(struct tokenizer_plan *take_plan, struct tokenizer **out,
                            struct err *err)
{
    struct tokenizer *t = mem_zero(1, sizeof *t);
    enum err_code code = t ? build(t, take_plan, err) : no_memory(err);
    tokenizer_plan_done(take_plan);
    if (code == ERR_OK)
        *out = t;
    else
        tokenizer_free(t);
    return code;
}

enum err_code tokenizer_load(const char *dir, struct tokenizer **out, struct err *err)
{
    struct tokenizer_plan plan = {0};
    enum err_code code = tokenizer_plan_read(dir, &plan, err);
    return code ? code : finish(&plan, out, err);
}

enum err_code tokenizer_parse(const char *json, size_t n, struct tokenizer **out,
                              struct err *err)
{
    struct tokenizer_plan plan = {0};
    enum err_code code = tokenizer_plan_parse(json, n, &plan, err);
    return code ? code : finish(&plan, out, err);
}

void tokenizer_free(struct tokenizer *t)
{
    if (!t)
        return;
    added_done(&t->raw);
    added_done(&t->normal);
    normalize_done(&t->normalize);
    split_done(&t->split);
    wordpiece_done(&t->wordpiece);
    bpe_done(&t->bpe);
    decode_done(&t->decode);
    text_done(&t->respellings);
    text_done(&t->bytes);
    mem_free(t->respelled);
    mem_free(t->ends);
    vocab_done(&t->vocab);
    mem_free(t);
}

/* ---- encoding -------------------------------------------------------------------- */

/* Scratch of one call. */
struct work {
    const struct tokenizer *t;
    const char *text;
    size_t n;
    struct pieces raw;          /* of the text, between the raw added tokens */
    struct aligned part, spare; /* one of those, being normalized */
    struct cut cut, spare_cut;  /* all of them, being split */
    struct pieces tokens;       /* of one piece */
    struct matcher matcher;
    struct bpe_scratch bpe;
    struct seq_tokens *out;
    size_t first; /* index of the text's first token in *out */
    struct err *err;
};

static void work_done(struct work *w)
{
    pieces_done(&w->raw);
    aligned_done(&w->part);
    aligned_done(&w->spare);
    aligned_done(&w->cut.text);
    pieces_done(&w->cut.pieces);
    aligned_done(&w->spare_cut.text);
    pieces_done(&w->spare_cut.pieces);
    pieces_done(&w->tokens);
    matcher_done(&w->matcher);
    bpe_scratch_done(&w->bpe);
}

/* Normalizes one raw piece into the cut and finds the normalized added tokens in it. */
static enum err_code take_piece(struct work *w, struct piece p)
{
    const struct tokenizer *t = w->t;
    struct aligned *text = &w->cut.text;
    size_t begin = text->n;
    enum err_code code;
    if (p.id >= 0 || t->normalize.n == 0) {
        code = aligned_add_text(text, w->text, p.begin, p.end, w->err);
    } else {
        w->part.n = 0;
        code = aligned_add_text(&w->part, w->text, p.begin, p.end, w->err);
        if (code == ERR_OK)
            code = normalize_apply(&t->normalize, p.begin, &w->part, &w->spare,
                                   &w->matcher, w->err);
        if (code == ERR_OK)
            code = aligned_add(text, &w->part, 0, w->part.n, w->err);
    }
    if (code != ERR_OK)
        return code;
    if (p.id >= 0)
        return pieces_add(&w->cut.pieces, begin, text->n, p.id, w->err);
    return added_split(&t->normal, text->s + begin, text->n - begin, begin,
                       &w->cut.pieces, w->err);
}

static enum err_code add_token(struct work *w, struct seq_token token)
{
    struct seq_tokens *out = w->out;
    if (out->n == out->cap) {
        size_t cap = out->cap * 2 + 64;
        struct seq_token *at = mem_resize(out->at, cap, sizeof *at);
        if (!at)
            return err_set(w->err, ERR_NOMEM, "no memory for %zu tokens", cap);
        out->at = at;
        out->cap = cap;
    }
    out->at[out->n++] = token;
    return ERR_OK;
}

/* A token of piece number `word`. An added token reads as the text does, others as the
 * vocabulary spells them. */
static enum err_code add_text_token(struct work *w, struct piece token, size_t word,
                                    bool added)
{
    const struct aligned *text = &w->cut.text;
    const struct plan_post *post = &w->t->post;
    struct span span = {text->map[token.begin].from, text->map[token.end - 1].to};
    if (post->trim) {
        size_t n = token.end - token.begin;
        const char *s =
            added ? text->s + token.begin : tokenizer_piece(w->t, token.id, &n);
        span = post_trim(span, w->text, s, n, w->out->n == w->first, post->trim_prefix);
    }
    return add_token(w, (struct seq_token){.id = token.id,
                                           .start = span.from,
                                           .end = span.to,
                                           .word = (int32_t)word,
                                           .type = post->type});
}

/* Puts the tokens of s[begin..end) into w->tokens. */
static enum err_code encode_piece(struct work *w, const char *s, size_t begin, size_t end)
{
    const struct tokenizer *t = w->t;
    w->tokens.n = 0;
    if (t->kind == MODEL_BPE)
        return bpe_encode(&t->bpe, &w->bpe, s, begin, end, &w->tokens, w->err);
    if (t->kind == MODEL_WORDPIECE)
        return wordpiece_encode(&t->wordpiece, s, begin, end, &w->tokens, w->err);
    int32_t id = vocab_find(&t->vocab, s + begin, end - begin);
    return pieces_add(&w->tokens, begin, end, id >= 0 ? id : t->unk, w->err);
}

static enum err_code encode_all(struct work *w)
{
    enum err_code code = ERR_OK;
    for (size_t i = 0; code == ERR_OK && i < w->cut.pieces.n; i++) {
        struct piece p = w->cut.pieces.at[i];
        if (p.id >= 0) {
            code = add_text_token(w, p, i, true);
            continue;
        }
        code = encode_piece(w, w->cut.text.s, p.begin, p.end);
        for (size_t k = 0; code == ERR_OK && k < w->tokens.n; k++)
            code = add_text_token(w, w->tokens.at[k], i, false);
    }
    return code;
}

static enum err_code add_specials(struct work *w, const struct plan_special *specials,
                                  size_t n)
{
    enum err_code code = ERR_OK;
    for (size_t i = 0; code == ERR_OK && i < n; i++)
        code = add_token(w, (struct seq_token){.id = specials[i].id,
                                               .word = -1,
                                               .type = specials[i].type,
                                               .special = true});
    return code;
}

static enum err_code encode(struct work *w, bool specials)
{
    const struct tokenizer *t = w->t;
    enum err_code code = added_split(&t->raw, w->text, w->n, 0, &w->raw, w->err);
    for (size_t i = 0; code == ERR_OK && i < w->raw.n; i++)
        code = take_piece(w, w->raw.at[i]);
    if (code == ERR_OK)
        code = split_apply(&t->split, &w->cut, &w->spare_cut, &w->matcher, w->err);
    if (code == ERR_OK && specials)
        code = add_specials(w, t->post.before, t->post.n_before);
    w->first = w->out->n;
    if (code == ERR_OK)
        code = encode_all(w);
    if (code == ERR_OK && specials)
        code = add_specials(w, t->post.after, t->post.n_after);
    return code;
}

enum err_code tokenizer_encode(const struct tokenizer *t, const char *text, size_t n,
                               bool specials, struct seq_tokens *out, struct err *err)
{
    if (n > MAX_TEXT)
        return err_set(err, ERR_LIMIT, "the text has %zu bytes, the limit is %d", n,
                       MAX_TEXT);
    size_t before = out->n, limit = n * MAX_GROWTH + MAX_GROWTH_ROOM;
    if (limit > UINT32_MAX / 2)
        limit = UINT32_MAX / 2;
    struct work w = {.t = t, .text = text, .n = n, .out = out, .err = err};
    w.part.limit = w.spare.limit = w.cut.text.limit = w.spare_cut.text.limit = limit;
    enum err_code code = encode(&w, specials);
    if (code != ERR_OK)
        out->n = before;
    work_done(&w);
    return code;
}

void tokenizer_template(const struct tokenizer *t, size_t *before, size_t *after)
{
    *before = t->post.n_before;
    *after = t->post.n_after;
}

/* ---- single tokens --------------------------------------------------------------- */

size_t tokenizer_size(const struct tokenizer *t)
{
    return t->vocab.n_ids;
}

const char *tokenizer_piece(const struct tokenizer *t, int32_t id, size_t *n)
{
    *n = 0;
    if (!is_used(t, id))
        return NULL;
    *n = t->vocab.pieces[id].n;
    return t->vocab.pool + t->vocab.pieces[id].at;
}

bool tokenizer_is_special(const struct tokenizer *t, int32_t id)
{
    return is_used(t, id) && (t->vocab.flags[id] & VOCAB_SPECIAL);
}

int32_t tokenizer_id(const struct tokenizer *t, const char *piece, size_t n)
{
    return vocab_find_any(&t->vocab, piece, n);
}

const char *tokenizer_bytes(const struct tokenizer *t, int32_t id, size_t *n)
{
    if (!is_used(t, id)) {
        *n = 0;
        return t->bytes.at;
    }
    size_t begin = id > 0 ? t->ends[id - 1] : 0;
    *n = t->ends[id] - begin;
    return t->bytes.at + begin;
}

bool tokenizer_word_level(const struct tokenizer *t)
{
    return t->kind == MODEL_WORD_LEVEL;
}

int32_t tokenizer_unk(const struct tokenizer *t)
{
    return t->unk;
}

/* ---- decoding -------------------------------------------------------------------- */

enum err_code tokenizer_decode(const struct tokenizer *t, const int32_t *ids, size_t n,
                               bool skip_special, struct text *out, struct err *err)
{
    struct strings pieces = {0};
    size_t before = out->n;
    enum err_code code = ERR_OK;
    for (size_t i = 0; code == ERR_OK && i < n; i++) {
        size_t length;
        const char *s = tokenizer_piece(t, ids[i], &length);
        if (!s || (skip_special && tokenizer_is_special(t, ids[i])))
            continue;
        const struct respelled *r = find_respelled(t, ids[i]);
        code = r ? strings_add(&pieces, t->respellings.at + r->at, r->n, err)
                 : strings_add(&pieces, s, length, err);
    }
    if (code == ERR_OK)
        code = decode_apply(&t->decode, &pieces, out, err);
    if (code != ERR_OK)
        out->n = before;
    strings_done(&pieces);
    return code;
}
