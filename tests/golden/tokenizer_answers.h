/* Tokenizer_answers: what a tokenizer makes of a text, as bytes that can be compared with
 * those that tokenizer_parity.py makes of the reference library's answer. Numbers are 32
 * bits, little endian; a text is its number of bytes and the bytes. Included by
 * tokenizer_parity.c and test_tokenizer_parity.c only. */
#ifndef TESTS_GOLDEN_TOKENIZER_ANSWERS_H
#define TESTS_GOLDEN_TOKENIZER_ANSWERS_H

#include "model/base/mem.h"
#include "model/base/utf8.h"
#include "model/text/stream.h"
#include "model/text/tokenizer.h"

#include <string.h>

/* Bytes borrowed from the caller. */
struct bytes {
    const char *at;
    size_t n;
};

static inline enum err_code answer_number(struct text *out, int64_t value,
                                          struct err *err)
{
    uint32_t v = (uint32_t)value;
    char bytes[4] = {(char)v, (char)(v >> 8), (char)(v >> 16), (char)(v >> 24)};
    return text_add(out, bytes, 4, err);
}

static inline enum err_code answer_text(struct text *out, const char *s, size_t n,
                                        struct err *err)
{
    enum err_code code = answer_number(out, (int64_t)n, err);
    return code || n == 0 ? code : text_add(out, s, n, err);
}

/* The offsets of the tokens: pairs of start and end in code points of their text. */
static inline enum err_code answer_offsets(struct text *out, const struct seq_tokens *got,
                                           const struct bytes *texts, struct err *err)
{
    enum err_code code = ERR_OK;
    for (size_t part = 0; part < 2; part++)
        if (texts[part].n > UINT32_MAX)
            return err_set(err, ERR_LIMIT, "text");
    /* Tokens come in order of their texts nearly always: count on from the last one. */
    size_t at[2] = {0, 0}, count[2] = {0, 0};
    for (size_t i = 0; code == ERR_OK && i < 2 * got->n; i++) {
        const struct seq_token *k = &got->at[i / 2];
        size_t part = k->part, want = i % 2 ? k->end : k->start;
        if (want < at[part])
            at[part] = count[part] = 0;
        count[part] +=
            utf8_count(texts[part].at + at[part], want - at[part], UTF8_CODE_POINTS);
        at[part] = want;
        code = answer_number(out, (int64_t)count[part], err);
    }
    return code;
}

/* How many tokens, then their ids, offsets, words, types, special masks and (of a pair)
 * parts: one list after the other. */
static inline enum err_code answer_tokens(struct text *out, const struct seq_tokens *got,
                                          const struct bytes *texts, bool pair,
                                          struct err *err)
{
    enum err_code code = answer_number(out, (int64_t)got->n, err);
    for (size_t i = 0; code == ERR_OK && i < got->n; i++)
        code = answer_number(out, got->at[i].id, err);
    if (code == ERR_OK)
        code = answer_offsets(out, got, texts, err);
    for (size_t list = 0; list < 3 + (size_t)pair; list++)
        for (size_t i = 0; code == ERR_OK && i < got->n; i++) {
            const struct seq_token *k = &got->at[i];
            int64_t values[] = {k->word, k->type, k->special, k->part};
            code = answer_number(out, values[list], err);
        }
    return code;
}

/* Decodes one id after the other: each part is UTF-8 by itself, and all of them together
 * are what tokenizer_decode gives. ERR_BUG if not. */
static inline enum err_code check_stream(const struct tokenizer *t, const int32_t *ids,
                                         size_t n, bool skip, const struct text *want,
                                         struct err *err)
{
    struct decode_stream *stream = NULL;
    struct text got = {0};
    enum err_code code = decode_stream_new(t, skip, &stream, err);
    for (size_t i = 0; code == ERR_OK && i <= n; i++) {
        size_t before = got.n;
        code = i < n ? decode_stream_push(stream, ids[i], &got, err)
                     : decode_stream_end(stream, &got, err);
        if (code == ERR_OK && got.n > before &&
            utf8_valid(got.at + before, got.n - before) != got.n - before)
            code = err_set(err, ERR_BUG, "stream: part %zu is not UTF-8", i);
    }
    if (code == ERR_OK &&
        (got.n != want->n ||
         memcmp(got.at ? got.at : "", want->at ? want->at : "", want->n) != 0))
        code = err_set(err, ERR_BUG, "stream: \"%.*s\" is not what is decoded at once",
                       (int)got.n, got.at ? got.at : "");
    text_done(&got);
    decode_stream_free(stream);
    return code;
}

/* Decoded with and without special tokens, at once and as a stream. */
static inline enum err_code answer_ids(const struct tokenizer *t, const int32_t *ids,
                                       size_t n, struct text *out, struct err *err)
{
    enum err_code code = ERR_OK;
    for (int skip = 0; code == ERR_OK && skip < 2; skip++) {
        struct text decoded = {0};
        code = tokenizer_decode(t, ids, n, skip, &decoded, err);
        if (code == ERR_OK)
            code = answer_text(out, decoded.at, decoded.n, err);
        if (code == ERR_OK)
            code = check_stream(t, ids, n, skip, &decoded, err);
        text_done(&decoded);
    }
    return code;
}

/* The tokens of a text and what they decode to; of a pair the tokens only. */
static inline enum err_code answer_encode(const struct tokenizer *t,
                                          const struct bytes *texts, bool pair,
                                          struct text *out, struct err *err)
{
    struct seq_tokens got = {0};
    int32_t *ids = NULL;
    enum err_code code =
        pair ? tokenizer_encode_pair(t, texts[0].at, texts[0].n, texts[1].at, texts[1].n,
                                     true, &got, err)
             : tokenizer_encode(t, texts[0].at, texts[0].n, true, &got, err);
    if (code == ERR_OK)
        code = answer_tokens(out, &got, texts, pair, err);
    if (code == ERR_OK && !pair) {
        ids = mem_alloc(got.n, sizeof *ids);
        if (!ids)
            code = err_set(err, ERR_NOMEM, "no memory");
        for (size_t i = 0; ids && i < got.n; i++)
            ids[i] = got.at[i].id;
        if (ids)
            code = answer_ids(t, ids, got.n, out, err);
    }
    mem_free(ids);
    mem_free(got.at);
    return code;
}

#endif
