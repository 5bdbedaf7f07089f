#include "model/tasks/model.h"

#include <string.h>

void seq_tokens_done(struct seq_tokens *t)
{
    mem_free(t->at);
    *t = (struct seq_tokens){0};
}

/* How many tokens of this model's texts fit for `task`; SIZE_MAX for no limit. A word
 * that is searched behind a text takes room as well. */
static size_t room_for(const struct seq_model *m, enum seq_task task)
{
    size_t context = task == SEQ_EMBED ? m->info.vector_context : m->info.context;
    if (context == 0)
        return SIZE_MAX;
    bool search = task == SEQ_NEXT_WORD && m->net->cfg.head == HEAD_LM;
    return search ? context - SEQ_WORD_TOKENS : context;
}

/* True if the text's end is kept: what a language model predicts follows it. */
static bool keeps_end(const struct seq_model *m, enum seq_keep keep)
{
    bool usual = m->net->cfg.head == HEAD_LM;
    return keep == SEQ_KEEP_END || (keep == SEQ_KEEP_USUAL && usual);
}

static enum err_code too_long(const char *what, size_t n, size_t room, struct err *err)
{
    return err_param(err, ERR_LIMIT, "text",
                     "%s %zu tokens, this model reads at most %zu", what, n, room);
}

enum err_code tokenize_check(const char *param, const char *text, size_t n,
                             struct err *err)
{
    size_t good = utf8_valid(text, n);
    if (good < n)
        return err_param(err, ERR_INPUT, param, "%s is not valid UTF-8 at byte %zu",
                         param, good);
    if (n > UINT32_MAX)
        return err_param(err, ERR_LIMIT, param, "%s has %zu bytes, the limit is %u",
                         param, n, UINT32_MAX);
    return ERR_OK;
}

/* All tokens of the text, with or without the specials behind it. */
static enum err_code encode(const struct seq_model *m, const char *text, size_t n,
                            bool specials_behind, struct seq_tokens *out, struct err *err)
{
    enum err_code code = tokenize_check("text", text, n, err);
    if (code != ERR_OK)
        return code;
    out->n = out->n_dropped = 0;
    code = tokenizer_encode(m->tok, text, n, true, out, err);
    if (code != ERR_OK)
        return code;
    if (!specials_behind)
        out->n -= m->n_after;
    if (out->n == 0)
        return err_param(err, ERR_INPUT, "text",
                         "text holds no token, and this model needs at least one");
    return ERR_OK;
}

enum err_code seq_encode(const struct seq_model *m, const char *text, size_t n,
                         struct seq_tokens *out, struct err *err)
{
    return encode(m, text, n, false, out, err);
}

enum err_code tokenize_find_mask(const struct seq_model *m, const struct seq_tokens *text,
                                 size_t *at, struct err *err)
{
    size_t count = 0, found = 0;
    for (size_t i = 0; i < text->n; i++)
        if (text->at[i].id == m->mask_id) {
            found = i;
            count++;
        }
    if (count == 0)
        return err_param(err, ERR_INPUT, "text",
                         "the text holds no mask token; put %s where the word is wanted",
                         m->info.mask_token);
    if (count > 1)
        return err_param(err, ERR_INPUT, "text",
                         "the text holds %zu mask tokens %s, it must hold exactly one",
                         count, m->info.mask_token);
    *at = found;
    return ERR_OK;
}

/* Takes tokens [first, first+n) out of the list. */
static void cut(struct seq_tokens *t, size_t first, size_t n)
{
    memmove(t->at + first, t->at + first + n, (t->n - first - n) * sizeof *t->at);
    t->n -= n;
}

/* Leaves `room` tokens of the text and its specials. Of the text that is its beginning or
 * its end; or, where token `must` would be cut off, what stands around that. */
static void shorten(const struct seq_model *m, struct seq_tokens *t, size_t after,
                    size_t room, bool end, size_t must)
{
    size_t n = t->n - m->n_before - after, stay = room - m->n_before - after;
    size_t first = end ? n - stay : 0;
    if (must < t->n) {
        must -= m->n_before;
        size_t lead = must < stay / 2 ? must : stay / 2;
        if (must < first || must >= first + stay)
            first = must - lead < n - stay ? must - lead : n - stay;
    }
    t->n_dropped = n - stay;
    cut(t, m->n_before + first + stay, n - stay - first);
    cut(t, m->n_before, first);
}

enum err_code seq_tokenize(const struct seq_model *m, enum seq_task task,
                           const char *text, size_t n, enum seq_keep keep,
                           struct seq_tokens *out, struct err *err)
{
    bool next_word = task == SEQ_NEXT_WORD || task == SEQ_NEXT_TOKEN;
    bool masked = next_word && m->info.mask_token;
    bool behind = !next_word || masked;
    size_t mask = SIZE_MAX, room = room_for(m, task);
    enum err_code code = encode(m, text, n, behind, out, err);
    if (code == ERR_OK && masked)
        code = tokenize_find_mask(m, out, &mask, err);
    if (code != ERR_OK || out->n <= room)
        return code;
    if (keep == SEQ_WHOLE)
        return too_long("text has", out->n, room, err);
    shorten(m, out, behind ? m->n_after : 0, room, keeps_end(m, keep), mask);
    return ERR_OK;
}

/* ---- pairs ----------------------------------------------------------------------- */

/* Leaves stay[p] tokens of each text p of the pair, which had n[p], and all specials. */
static void shorten_pair(struct seq_tokens *t, const size_t n[2], const size_t stay[2],
                         bool end)
{
    size_t seen[2] = {0, 0}, kept = 0;
    for (size_t i = 0; i < t->n; i++) {
        const struct seq_token token = t->at[i];
        size_t p = token.part, at = token.special ? 0 : seen[p]++;
        bool stays = end ? at >= n[p] - stay[p] : at < stay[p];
        if (token.special || stays)
            t->at[kept++] = token;
    }
    t->n_dropped = t->n - kept;
    t->n = kept;
}

enum err_code seq_tokenize_pair(const struct seq_model *m, const char *a, size_t n_a,
                                const char *b, size_t n_b, enum seq_keep keep,
                                struct seq_tokens *out, struct err *err)
{
    if (!m->info.pairs)
        return err_param(err, ERR_INPUT, "text_pair",
                         "the tokenizer of this %s has no template for pairs of texts",
                         m->info.architecture);
    enum err_code code = tokenize_check("text", a, n_a, err);
    if (code == ERR_OK)
        code = tokenize_check("text_pair", b, n_b, err);
    if (code != ERR_OK)
        return code;
    out->n = out->n_dropped = 0;
    code = tokenizer_encode_pair(m->tok, a, n_a, b, n_b, true, out, err);
    size_t room = room_for(m, SEQ_CLASSIFY), n[2] = {0, 0}, stay[2];
    if (code != ERR_OK || out->n <= room)
        return code;
    if (keep == SEQ_WHOLE)
        return too_long("both texts have", out->n, room, err);
    for (size_t i = 0; i < out->n; i++)
        if (!out->at[i].special)
            n[out->at[i].part]++;
    size_t specials = out->n - n[0] - n[1];
    tokenizer_truncate_pair(n[0], n[1], room - specials, &stay[0], &stay[1]);
    shorten_pair(out, n, stay, keeps_end(m, keep));
    return ERR_OK;
}

/* ---- words ----------------------------------------------------------------------- */

bool seq_continues_word(const struct seq_model *m, const struct seq_tokens *text,
                        size_t i)
{
    static const char BLANK[] = "\xe2\x96\x81";
    const struct seq_token *t = &text->at[i], *before = t - 1;
    size_t n = 0;
    if (i == 0 || t->special || before->special || t->word < 0 ||
        t->word != before->word || t->part != before->part)
        return false;
    const char *piece = tokenizer_piece(m->tok, t->id, &n);
    return !piece || n < sizeof BLANK - 1 || memcmp(piece, BLANK, sizeof BLANK - 1) != 0;
}

/* ---- pieces ---------------------------------------------------------------------- */

const char *seq_piece(const struct seq_model *m, int32_t id, size_t *n)
{
    return tokenizer_piece(m->tok, id, n);
}

const char *seq_piece_bytes(const struct seq_model *m, int32_t id, size_t *n)
{
    return tokenizer_bytes(m->tok, id, n);
}
