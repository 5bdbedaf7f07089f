#include "model/base/mem.h"
#include "model/text/post.h"
#include "model/text/tokenizer_parts.h"

enum { MAX_TEXT = 1 << 28 }; /* bytes of one text */

/* Scratch of one call, and the text it is at. */
struct work {
    const struct tokenizer *t;
    const char *text;
    size_t n;
    uint8_t type, part;              /* of its tokens */
    struct pieces raw;               /* of the text, between the raw added tokens */
    struct aligned part_text, spare; /* one of those, being normalized */
    struct cut cut, spare_cut;       /* all of them, being split */
    struct pieces tokens;            /* of one piece */
    struct matcher matcher;
    struct bpe_scratch bpe;
    struct unigram_scratch unigram;
    struct seq_tokens *out;
    size_t first; /* index of the text's first token in *out */
    struct err *err;
};

static void work_done(struct work *w)
{
    pieces_done(&w->raw);
    aligned_done(&w->part_text);
    aligned_done(&w->spare);
    aligned_done(&w->cut.text);
    pieces_done(&w->cut.pieces);
    aligned_done(&w->spare_cut.text);
    pieces_done(&w->spare_cut.pieces);
    pieces_done(&w->tokens);
    matcher_done(&w->matcher);
    bpe_scratch_done(&w->bpe);
    unigram_scratch_done(&w->unigram);
}

/* The raw piece, normalized, behind the cut's text. */
static enum err_code normalize_piece(struct work *w, struct piece p)
{
    struct aligned *text = &w->cut.text;
    enum err_code code;
    w->part_text.n = 0;
    code = aligned_add_text(&w->part_text, w->text, p.begin, p.end, w->err);
    if (code == ERR_OK)
        code = normalize_apply(&w->t->normalize, p.begin, &w->part_text, &w->spare,
                               &w->matcher, w->err);
    if (code != ERR_OK || text->n > 0)
        return code ? code : aligned_add(text, &w->part_text, 0, w->part_text.n, w->err);
    struct aligned swap = *text; /* the first one, mostly the only one */
    *text = w->part_text;
    w->part_text = swap;
    return ERR_OK;
}

/* Normalizes one raw piece into the cut and finds the normalized added tokens in it. */
static enum err_code take_piece(struct work *w, struct piece p)
{
    const struct tokenizer *t = w->t;
    struct aligned *text = &w->cut.text;
    size_t begin = text->n;
    bool as_it_is = p.id >= 0 || t->normalize.n == 0;
    enum err_code code = as_it_is
                             ? aligned_add_text(text, w->text, p.begin, p.end, w->err)
                             : normalize_piece(w, p);
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

/* A token of piece number `word`. An added token reads as the text does, and so does what
 * a Unigram does not know; others as the vocabulary spells them. */
static enum err_code add_text_token(struct work *w, struct piece token, size_t word,
                                    bool added)
{
    const struct aligned *text = &w->cut.text;
    const struct plan_post *post = &w->t->post;
    struct span span = {text->map[token.begin].from, text->map[token.end - 1].to};
    if (post->trim) {
        bool as_text = added || (w->t->kind == MODEL_UNIGRAM && token.id == w->t->unk);
        size_t n = token.end - token.begin;
        const char *s =
            as_text ? text->s + token.begin : tokenizer_piece(w->t, token.id, &n);
        span = post_trim(span, w->text, s, n, w->out->n == w->first, post->trim_prefix);
    }
    return add_token(w, (struct seq_token){.id = token.id,
                                           .start = span.from,
                                           .end = span.to,
                                           .word = (int32_t)word,
                                           .type = w->type,
                                           .part = w->part});
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
    if (t->kind == MODEL_UNIGRAM)
        return unigram_encode(&t->unigram, &w->unigram, s, begin, end, &w->tokens,
                              w->err);
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

/* The tokens of one text, without any of the template. */
static enum err_code encode_text(struct work *w)
{
    const struct tokenizer *t = w->t;
    if (w->n > MAX_TEXT)
        return err_set(w->err, ERR_LIMIT, "the text has %zu bytes, the limit is %d", w->n,
                       MAX_TEXT);
    size_t limit = w->n * MAX_GROWTH + MAX_GROWTH_ROOM;
    if (limit > UINT32_MAX / 2)
        limit = UINT32_MAX / 2;
    w->part_text.limit = w->spare.limit = limit;
    w->cut.text.limit = w->spare_cut.text.limit = limit;
    w->raw.n = w->cut.text.n = w->cut.pieces.n = 0;
    enum err_code code = added_split(&t->raw, w->text, w->n, 0, &w->raw, w->err);
    for (size_t i = 0; code == ERR_OK && i < w->raw.n; i++)
        code = take_piece(w, w->raw.at[i]);
    aligned_done(&w->part_text); /* room for what comes now */
    aligned_done(&w->spare);
    if (code == ERR_OK)
        code = split_apply(&t->split, &w->cut, &w->spare_cut, &w->matcher, w->err);
    aligned_done(&w->spare_cut.text);
    pieces_done(&w->spare_cut.pieces);
    w->first = w->out->n;
    return code ? code : encode_all(w);
}

/* One or two texts, in the template's order. */
struct texts {
    const char *at[2];
    size_t bytes[2], n;
};

static enum err_code encode(struct work *w, const struct plan_template *template,
                            const struct texts *texts, bool specials)
{
    const struct plan_special *special = template->specials;
    enum err_code code = ERR_OK;
    for (size_t place = 0; code == ERR_OK && place <= texts->n; place++) {
        if (specials)
            code = add_specials(w, special, template->n[place]);
        special += template->n[place];
        if (code != ERR_OK || place == texts->n)
            break;
        size_t part = template->swapped ? 1 - place : place;
        w->text = texts->at[part];
        w->n = texts->bytes[part];
        w->type = template->type[part];
        w->part = (uint8_t)part;
        code = encode_text(w);
    }
    return code;
}

static enum err_code encode_all_texts(const struct tokenizer *t,
                                      const struct plan_template *template,
                                      const struct texts *texts, bool specials,
                                      struct seq_tokens *out, struct err *err)
{
    size_t before = out->n;
    struct work w = {.t = t, .out = out, .err = err};
    enum err_code code = encode(&w, template, texts, specials);
    if (code != ERR_OK)
        out->n = before;
    work_done(&w);
    return code;
}

enum err_code tokenizer_encode(const struct tokenizer *t, const char *text, size_t n,
                               bool specials, struct seq_tokens *out, struct err *err)
{
    struct texts texts = {{text}, {n}, 1};
    return encode_all_texts(t, &t->post.single, &texts, specials, out, err);
}

enum err_code tokenizer_encode_pair(const struct tokenizer *t, const char *a, size_t n_a,
                                    const char *b, size_t n_b, bool specials,
                                    struct seq_tokens *out, struct err *err)
{
    struct texts texts = {{a, b}, {n_a, n_b}, 2};
    if (!t->post.pair.served)
        return err_set(err, ERR_UNSUPPORTED,
                       "the tokenizer's template has no place for a pair of texts");
    return encode_all_texts(t, &t->post.pair, &texts, specials, out, err);
}

void tokenizer_template(const struct tokenizer *t, size_t *before, size_t *after)
{
    *before = t->post.single.n[0];
    *after = t->post.single.n[1];
}

bool tokenizer_has_pair(const struct tokenizer *t)
{
    return t->post.pair.served;
}

void tokenizer_template_pair(const struct tokenizer *t, size_t *before, size_t *between,
                             size_t *after)
{
    *before = t->post.pair.n[0];
    *between = t->post.pair.n[1];
    *after = t->post.pair.n[2];
}
