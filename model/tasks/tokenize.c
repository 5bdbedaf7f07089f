#include "model/tasks/model.h"

#include <string.h>

void seq_tokens_done(struct seq_tokens *t)
{
    mem_free(t->at);
    *t = (struct seq_tokens){0};
}

/* How many tokens of this model's texts fit for `task`; SIZE_MAX for no limit. Next-word
 * leaves room for the tokens of a word that is searched behind the text. */
static size_t room_for(const struct seq_model *m, enum seq_task task)
{
    size_t context = m->info.context;
    if (context == 0)
        return SIZE_MAX;
    return task == SEQ_NEXT_WORD ? context - SEQ_WORD_TOKENS : context;
}

/* Takes tokens [first, first+n) out of the list. */
static void cut(struct seq_tokens *t, size_t first, size_t n)
{
    memmove(t->at + first, t->at + first + n, (t->n - first - n) * sizeof *t->at);
    t->n -= n;
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

enum err_code seq_tokenize(const struct seq_model *m, enum seq_task task,
                           const char *text, size_t n, enum seq_keep keep,
                           struct seq_tokens *out, struct err *err)
{
    bool behind = task != SEQ_NEXT_WORD;
    enum err_code code = encode(m, text, n, behind, out, err);
    if (code != ERR_OK)
        return code;
    size_t room = room_for(m, task);
    if (out->n <= room)
        return ERR_OK;
    size_t excess = out->n - room, after = behind ? m->n_after : 0;
    if (keep == SEQ_WHOLE)
        return err_param(err, ERR_LIMIT, "text",
                         "text has %zu tokens, this model reads at most %zu", out->n,
                         room);
    cut(out, keep == SEQ_KEEP_END ? m->n_before : out->n - after - excess, excess);
    out->n_dropped = excess;
    return ERR_OK;
}

const char *seq_piece(const struct seq_model *m, int32_t id, size_t *n)
{
    return tokenizer_piece(m->tok, id, n);
}

const char *seq_piece_bytes(const struct seq_model *m, int32_t id, size_t *n)
{
    return tokenizer_bytes(m->tok, id, n);
}
