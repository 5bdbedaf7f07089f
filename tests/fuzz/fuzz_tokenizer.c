/* Fuzz target: a tokenizer.json, a NUL, and a text for it (none: a fixed one). What is
 * accepted must keep the promises of tokenizer.h. */
#include "model/base/mem.h"
#include "model/base/utf8.h"
#include "model/text/stream.h"
#include "model/text/tokenizer.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { MAX_TEXT = 2000 };

static void check_tokens(const struct tokenizer *t, const char *text, size_t n,
                         const struct seq_tokens *tokens)
{
    for (size_t i = 0; i < tokens->n; i++) {
        const struct seq_token *k = &tokens->at[i];
        size_t length;
        assert(k->start <= k->end && k->end <= n);
        assert(utf8_valid(text + k->start, k->end - k->start) == k->end - k->start);
        assert(tokenizer_piece(t, k->id, &length) != NULL);
        assert(tokenizer_bytes(t, k->id, &length) != NULL);
        assert(k->special == (k->word < 0));
    }
}

/* A stream of the ids gives `whole`, in parts that are UTF-8. */
static void check_stream(const struct tokenizer *t, const int32_t *ids, size_t n,
                         const struct text *whole)
{
    struct decode_stream *s = NULL;
    struct text parts = {0};
    struct err err = {0};
    enum err_code code = decode_stream_new(t, false, &s, &err);
    for (size_t i = 0, before = 0; code == ERR_OK && i <= n; i++, before = parts.n) {
        code = i < n ? decode_stream_push(s, ids[i], &parts, &err)
                     : decode_stream_end(s, &parts, &err);
        size_t more = parts.n - before;
        assert(more == 0 || utf8_valid(parts.at + before, more) == more);
    }
    if (code == ERR_OK)
        assert(parts.n == whole->n &&
               (parts.n == 0 || memcmp(parts.at, whole->at, parts.n) == 0));
    text_done(&parts);
    decode_stream_free(s);
}

static void check_decode(const struct tokenizer *t, const struct seq_tokens *tokens)
{
    struct text text = {0};
    struct err err = {0};
    int32_t *ids = mem_alloc(tokens->n, sizeof *ids);
    for (size_t i = 0; ids && i < tokens->n; i++)
        ids[i] = tokens->at[i].id;
    if (ids && tokenizer_decode(t, ids, tokens->n, false, &text, &err) == ERR_OK) {
        assert(utf8_valid(text.at, text.n) == text.n);
        check_stream(t, ids, tokens->n, &text);
    }
    text_done(&text);
    mem_free(ids);
}

static void use(const struct tokenizer *t, const char *text, size_t n)
{
    struct seq_tokens tokens = {0};
    struct err err = {0};
    char *copy = mem_alloc(n, 1); /* of exact size */
    if (!copy)
        return;
    memcpy(copy, text, n);
    enum err_code code = tokenizer_encode(t, copy, n, true, &tokens, &err);
    if (code == ERR_OK) {
        check_tokens(t, copy, n, &tokens);
        check_decode(t, &tokens);
    } else {
        assert(code != ERR_BUG && err.msg[0] != '\0' && tokens.n == 0);
    }
    tokens.n = 0;
    code = tokenizer_encode_pair(t, copy, n, copy, n, true, &tokens, &err);
    assert(code != ERR_OK || tokenizer_has_pair(t));
    if (code == ERR_OK)
        check_tokens(t, copy, n, &tokens); /* the same text twice */
    mem_free(copy);
    mem_free(tokens.at);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char usual[] = "a b ab'll  caf\xc3\xa9 e\xcc\x81\xe4\xb8\xad<s> x\n";
    const uint8_t *nul = n ? memchr(data, 0, n) : NULL;
    size_t n_json = nul ? (size_t)(nul - data) : n;
    struct tokenizer *t = NULL;
    struct err err = {0};
    char *json = mem_alloc(n_json, 1);
    if (!json)
        return 0;
    if (n_json)
        memcpy(json, data, n_json);
    if (tokenizer_parse(json, n_json, &t, &err) == ERR_OK) {
        const char *text = nul ? (const char *)nul + 1 : usual;
        size_t n_text = nul ? n - n_json - 1 : sizeof usual - 1;
        if (n_text <= MAX_TEXT && utf8_valid(text, n_text) == n_text)
            use(t, text, n_text);
        use(t, usual, sizeof usual - 1);
        tokenizer_free(t);
    } else {
        assert(t == NULL && err.msg[0] != '\0');
    }
    mem_free(json);
    return 0;
}
