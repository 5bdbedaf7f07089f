/* The C side of tokenizer_parity.py: encodes and decodes what stdin brings.
 *
 *   tokenizer_parity FOLDER   with FOLDER/tokenizer.json
 *
 * Each request is a 32-bit length and that many bytes of text. Each reply is the number
 * of tokens, six 32-bit numbers for each (id, start, end, word, type, special), and two
 * texts (length and bytes): decoded with and without special tokens. Little endian. */
#include "model/base/mem.h"
#include "model/text/tokenizer.h"

#include <stdio.h>
#include <string.h>

static bool put(uint32_t value)
{
    return fwrite(&value, sizeof value, 1, stdout) == 1;
}

static enum err_code put_decoded(const struct tokenizer *t,
                                 const struct seq_tokens *tokens, bool skip,
                                 struct err *err)
{
    struct text text = {0};
    int32_t *ids = mem_alloc(tokens->n, sizeof *ids);
    if (!ids)
        return err_set(err, ERR_NOMEM, "no memory");
    for (size_t i = 0; i < tokens->n; i++)
        ids[i] = tokens->at[i].id;
    enum err_code code = tokenizer_decode(t, ids, tokens->n, skip, &text, err);
    if (code == ERR_OK && (!put((uint32_t)text.n) ||
                           fwrite(text.at ? text.at : "", 1, text.n, stdout) != text.n))
        code = err_set(err, ERR_IO, "stdout");
    text_done(&text);
    mem_free(ids);
    return code;
}

static enum err_code answer(const struct tokenizer *t, const char *text, size_t n,
                            struct seq_tokens *tokens, struct err *err)
{
    tokens->n = 0;
    enum err_code code = tokenizer_encode(t, text, n, true, tokens, err);
    if (code != ERR_OK)
        return code;
    bool ok = put((uint32_t)tokens->n);
    for (size_t i = 0; i < tokens->n; i++) {
        const struct seq_token *k = &tokens->at[i];
        ok = ok && put((uint32_t)k->id) && put(k->start) && put(k->end) &&
             put((uint32_t)k->word) && put(k->type) && put(k->special);
    }
    if (!ok)
        return err_set(err, ERR_IO, "stdout");
    code = put_decoded(t, tokens, false, err);
    return code ? code : put_decoded(t, tokens, true, err);
}

int main(int argc, char **argv)
{
    struct err err = {0};
    struct tokenizer *t = NULL;
    struct seq_tokens tokens = {0};
    enum err_code code = argc == 2 ? tokenizer_load(argv[1], &t, &err)
                                   : err_set(&err, ERR_INPUT, "usage: FOLDER");
    uint32_t n;
    while (code == ERR_OK && fread(&n, sizeof n, 1, stdin) == 1) {
        char *text = mem_alloc(n, 1); /* of exact size, for the sanitizers */
        if (!text || fread(text, 1, n, stdin) != n)
            code = err_set(&err, ERR_IO, "a request is cut off");
        else
            code = answer(t, text, n, &tokens, &err);
        mem_free(text);
        fflush(stdout);
    }
    if (code != ERR_OK)
        fprintf(stderr, "%s\n", err.msg);
    mem_free(tokens.at);
    tokenizer_free(t);
    return code != ERR_OK;
}
