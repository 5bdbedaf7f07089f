#include "model/tasks/model.h"

struct seq_tokenizer {
    struct tokenizer *tok;
};

enum err_code seq_tokenizer_load(const char *dir, struct seq_tokenizer **out,
                                 struct err *err)
{
    struct seq_tokenizer *t = mem_zero(1, sizeof *t);
    if (!t)
        return err_set(err, ERR_NOMEM, "out of memory: tokenizer");
    enum err_code code = tokenizer_load(dir, &t->tok, err);
    if (code != ERR_OK) {
        mem_free(t);
        return code;
    }
    *out = t;
    return ERR_OK;
}

void seq_tokenizer_free(struct seq_tokenizer *t)
{
    if (!t)
        return;
    tokenizer_free(t->tok);
    mem_free(t);
}

size_t seq_tokenizer_size(const struct seq_tokenizer *t)
{
    return tokenizer_size(t->tok);
}

enum err_code seq_tokenizer_encode(const struct seq_tokenizer *t, const char *text,
                                   size_t n, bool specials, struct seq_tokens *out,
                                   struct err *err)
{
    enum err_code code = tokenize_check("text", text, n, err);
    if (code != ERR_OK)
        return code;
    out->n = out->n_dropped = 0;
    return tokenizer_encode(t->tok, text, n, specials, out, err);
}

enum err_code seq_tokenizer_encode_pair(const struct seq_tokenizer *t, const char *a,
                                        size_t n_a, const char *b, size_t n_b,
                                        bool specials, struct seq_tokens *out,
                                        struct err *err)
{
    enum err_code code = tokenize_check("text", a, n_a, err);
    if (code == ERR_OK)
        code = tokenize_check("text_pair", b, n_b, err);
    if (code != ERR_OK)
        return code;
    out->n = out->n_dropped = 0;
    return tokenizer_encode_pair(t->tok, a, n_a, b, n_b, specials, out, err);
}

enum err_code seq_tokenizer_decode(const struct seq_tokenizer *t, const int32_t *ids,
                                   size_t n, bool skip_special, char **out, size_t *out_n,
                                   struct err *err)
{
    size_t size = tokenizer_size(t->tok);
    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || (size_t)ids[i] >= size)
            return err_param(err, ERR_INPUT, "ids",
                             "token id %d is outside the vocabulary of %zu", ids[i],
                             size);
    struct text text = {0};
    enum err_code code = tokenizer_decode(t->tok, ids, n, skip_special, &text, err);
    if (code == ERR_OK)
        code = text_add(&text, "", 1, err); /* the zero behind it */
    if (code != ERR_OK) {
        text_done(&text);
        return code;
    }
    *out = text.at;
    *out_n = text.n - 1;
    return ERR_OK;
}

const char *seq_tokenizer_piece(const struct seq_tokenizer *t, int32_t id, size_t *n)
{
    return tokenizer_piece(t->tok, id, n);
}
