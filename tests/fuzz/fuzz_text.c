/* Fuzz target: texts for the tokenizers of tests/golden/tokenizers. The first byte
 * chooses one; bytes that are no UTF-8 stand for characters that are known to be nasty;
 * 0xff begins the second text of a pair. Every answer must keep the promises of
 * tokenizer.h and stream.h. Run it from the root of the repository. */
#include "model/base/mem.h"
#include "model/base/utf8.h"
#include "model/text/stream.h"
#include "model/text/tokenizer.h"

#include <assert.h>
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { TOKENIZERS_MAX = 128, TEXT_MAX = 4000, NASTY_BYTES = 4, SECOND_TEXT = 0xff };

static struct tokenizer *tokenizers[TOKENIZERS_MAX];
static size_t n_tokenizers;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    static const char *const root = "tests/golden/tokenizers";
    DIR *folder = opendir(root);
    assert(folder);
    struct dirent *entry;
    while ((entry = readdir(folder)) && n_tokenizers < TOKENIZERS_MAX) {
        char path[512];
        struct err err = {0};
        snprintf(path, sizeof path, "%s/%s", root, entry->d_name);
        if (entry->d_name[0] != '.' && !strchr(entry->d_name, '.') &&
            tokenizer_load(path, &tokenizers[n_tokenizers], &err) == ERR_OK)
            n_tokenizers++;
    }
    closedir(folder);
    assert(n_tokenizers > 0);
    return 0;
}

/* A text of exact size, so that reading past it is seen. */
struct input {
    char *at;
    size_t n;
};

static const char *nasty(uint8_t byte)
{
    static const char *const table[] = {
        "\u0301",     "\u0327",    "\u200d",     "\u00ad",     "\xc2\x85",   "\u180e",
        "\u2028",     "\ufeff",    "\ufffd",     "\u0130",     "\u017f",     "\u212a",
        "\u3000",     "\u2581",    "\u0e33",     "\u1100",     "\u1161",     "\u11a8",
        "\uac00",     "\u4e2d",    "\ufb01",     "\u0345",     "\ua640",     "\u2126",
        "\u00a0",     "\u0149",    "\U0001f468", "\U0001f3fd", "\U00020000", "\U0002f800",
        "\U000e0001", "\U0010ffff"};
    return table[byte % (sizeof table / sizeof *table)];
}

/* The bytes up to the end or to SECOND_TEXT as valid UTF-8; *used tells how many. */
static struct input take_text(const uint8_t *data, size_t n, size_t *used)
{
    char text[TEXT_MAX];
    struct input in = {0};
    size_t at = 0;
    while (at < n && data[at] != SECOND_TEXT && in.n + NASTY_BYTES <= sizeof text) {
        size_t len = 1;
        if (utf8_valid((const char *)data + at, n - at < 4 ? n - at : 4) == 0) {
            for (const char *s = nasty(data[at]); *s; s++)
                text[in.n++] = *s;
        } else {
            (void)utf8_get((const char *)data + at, n - at, &len);
            memcpy(text + in.n, data + at, len);
            in.n += len;
        }
        at += len;
    }
    *used = at;
    in.at = mem_alloc(in.n, 1);
    assert(in.at);
    if (in.n)
        memcpy(in.at, text, in.n);
    return in;
}

static void check_tokens(const struct tokenizer *t, const struct input in[2],
                         const struct seq_tokens *tokens)
{
    for (size_t i = 0; i < tokens->n; i++) {
        const struct seq_token *k = &tokens->at[i];
        size_t length;
        assert(k->part <= 1);
        const struct input *text = &in[k->part];
        assert(k->start <= k->end && k->end <= text->n);
        assert(utf8_valid(text->at + k->start, k->end - k->start) == k->end - k->start);
        assert(tokenizer_piece(t, k->id, &length) != NULL);
        assert(k->special == (k->word < 0));
    }
}

/* A stream gives the whole decoding, in parts that are valid by themselves. */
static void check_decoding(const struct tokenizer *t, const struct seq_tokens *tokens,
                           bool skip_special)
{
    struct text whole = {0}, parts = {0};
    struct err err = {0};
    struct decode_stream *stream = NULL;
    int32_t *ids = mem_alloc(tokens->n, sizeof *ids);
    assert(ids);
    for (size_t i = 0; i < tokens->n; i++)
        ids[i] = tokens->at[i].id;
    if (tokenizer_decode(t, ids, tokens->n, skip_special, &whole, &err) == ERR_OK) {
        assert(utf8_valid(whole.at, whole.n) == whole.n);
        assert(decode_stream_new(t, skip_special, &stream, &err) == ERR_OK);
        for (size_t i = 0; i < tokens->n; i++) {
            size_t before = parts.n;
            assert(decode_stream_push(stream, ids[i], &parts, &err) == ERR_OK);
            assert(utf8_valid(parts.at + before, parts.n - before) == parts.n - before);
        }
        assert(decode_stream_end(stream, &parts, &err) == ERR_OK);
        assert(parts.n == whole.n && memcmp(parts.at, whole.at, parts.n) == 0);
    }
    decode_stream_free(stream);
    text_done(&whole);
    text_done(&parts);
    mem_free(ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n < 1)
        return 0;
    const struct tokenizer *t = tokenizers[data[0] % n_tokenizers];
    struct input in[2] = {{0}, {0}};
    struct seq_tokens tokens = {0};
    struct err err = {0};
    size_t used;
    in[0] = take_text(data + 1, n - 1, &used);
    bool pair = used + 1 < n && tokenizer_has_pair(t);
    if (pair)
        in[1] = take_text(data + used + 2, n - used - 2, &used);
    enum err_code code =
        pair ? tokenizer_encode_pair(t, in[0].at, in[0].n, in[1].at, in[1].n, true,
                                     &tokens, &err)
             : tokenizer_encode(t, in[0].at, in[0].n, true, &tokens, &err);
    if (code == ERR_OK) {
        check_tokens(t, in, &tokens);
        check_decoding(t, &tokens, false);
        check_decoding(t, &tokens, true);
    } else {
        assert(code == ERR_LIMIT && err.msg[0] != '\0' && tokens.n == 0);
    }
    mem_free(tokens.at);
    mem_free(in[0].at);
    mem_free(in[1].at);
    return 0;
}
