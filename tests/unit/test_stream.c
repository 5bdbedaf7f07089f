/* stream: parts that are put together are the whole decoded text, for every decoder. */
#include "model/base/mem.h"
#include "model/base/utf8.h"
#include "model/text/stream.h"
#include "tests/suite.h"
#include "tests/unit/fixture.h"

static const char *const GOLDEN = "tests/golden/tokenizers";

/* Pieces that the steps of a decoder treat in special ways. */
static const char PIECES[] =
    "\"\":0,\"a\":1,\"ab\":2,\" \":3,\"  \":4,\"b \":5,\"<0xE4>\":6,\"<0xB8>\":7,"
    "\"<0xAD>\":8,\"<0xFF>\":9,\"<0x41>\":10,\"\\u00e4\":11,\"\\u00b8\":12,\"\\u0143\":"
    "13,"
    "\"\\u4e2d\":14,\"##b\":15,\"</w>\":16,\"a</w>\":17,\"\\u2581\":18,\"\\u2581a\":19,"
    "\"|\":20,\"<pad>\":21,\".\":22,\" .\":23,\" '\":24,\" do\":25,\" not\":26,\"x\":27,"
    "\"\\u00f0\":28,\"\\u0141\":29,\"\\u013a\":30,\"\\u0122\":31,\"aab\":32,\"</\":33,"
    "\"w>\":34";
enum { N_PIECES = 35 };

#define FUSE        "{\"type\":\"Fuse\"}"
#define BYTES       "{\"type\":\"ByteLevel\"}"
#define FALLBACK    "{\"type\":\"ByteFallback\"}"
#define SUFFIX      "{\"type\":\"BPEDecoder\",\"suffix\":\"</w>\"}"
#define WORDS       "{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":true}"
#define PLAIN_WORDS "{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":false}"
#define STRIP(start, stop)                                                               \
    "{\"type\":\"Strip\",\"content\":\" \",\"start\":" start ",\"stop\":" stop "}"
#define REPLACE(kind, what, by)                                                          \
    "{\"type\":\"Replace\",\"pattern\":{\"" kind "\":\"" what "\"},\"content\":\"" by    \
    "\"}"
#define METASPACE(scheme)                                                                \
    "{\"type\":\"Metaspace\",\"replacement\":\"\\u2581\",\"prepend_scheme\":\"" scheme   \
    "\"}"
#define CTC                                                                              \
    "{\"type\":\"CTC\",\"pad_token\":\"<pad>\",\"word_delimiter_token\":\"|\","          \
    "\"cleanup\":true}"

static const char *const decoders[] = {
    "",
    FUSE,
    BYTES,
    FALLBACK,
    SUFFIX,
    WORDS,
    METASPACE("always"),
    METASPACE("never"),
    CTC,
    STRIP("1", "1"),
    REPLACE("String", "aab", "*"),
    REPLACE("String", "\\u2581", " ") "," FALLBACK "," FUSE "," STRIP("1", "0"),
    FALLBACK "," FUSE "," STRIP("2", "3"),
    FALLBACK "," SUFFIX "," PLAIN_WORDS "," METASPACE("first"),
    FUSE "," REPLACE("String", "aab", "b"),
    FUSE "," REPLACE("String", "aa", "aaa") "," REPLACE("String", "</w>", ""),
    FUSE "," REPLACE("Regex", "a+b", "<\\u4e2d>"),
    FUSE "," SUFFIX "," STRIP("0", "2"),
    FUSE "," METASPACE("always") "," METASPACE("never"),
    FUSE "," METASPACE("never"),
    FUSE "," WORDS,
    FUSE "," PLAIN_WORDS "," FUSE,
    FUSE "," CTC "," STRIP("1", "1"),
    FUSE "," FALLBACK,
    FUSE "," BYTES,
    BYTES "," STRIP("1", "2") "," REPLACE("String", "a.", "."),
    BYTES "," FALLBACK,
    CTC "," SUFFIX "," WORDS,
    CTC "," FUSE "," WORDS,
};

static struct tokenizer *with_decoder(const char *steps)
{
    char json[4096];
    struct tokenizer *t = NULL;
    struct err err = {0};
    snprintf(json, sizeof json,
             "{\"version\":\"1.0\",\"decoder\":{\"type\":\"Sequence\",\"decoders\":[%s]},"
             "\"model\":{\"type\":\"WordLevel\",\"vocab\":{%s},\"unk_token\":\"a\"}}",
             steps, PIECES);
    ck_assert_msg(tokenizer_parse(json, strlen(json), &t, &err) == ERR_OK, "%s: %s",
                  steps, err.msg);
    return t;
}

/* What the stream gives for the ids; each part must be UTF-8. */
static enum err_code stream(const struct tokenizer *t, const int32_t *ids, size_t n,
                            bool skip, struct text *out, struct err *err)
{
    struct decode_stream *s = NULL;
    size_t before = 0;
    enum err_code code = decode_stream_new(t, skip, &s, err);
    for (size_t i = 0; code == ERR_OK && i <= n; i++) {
        code = i < n ? decode_stream_push(s, ids[i], out, err)
                     : decode_stream_end(s, out, err);
        if (out->n > before)
            ck_assert_uint_eq(utf8_valid(out->at + before, out->n - before),
                              out->n - before);
        before = out->n;
    }
    decode_stream_free(s);
    return code;
}

static void check_same(const struct tokenizer *t, const int32_t *ids, size_t n, bool skip,
                       const char *what)
{
    struct text whole = {0}, parts = {0};
    struct err err = {0};
    ck_assert_int_eq(tokenizer_decode(t, ids, n, skip, &whole, &err), ERR_OK);
    ck_assert_msg(stream(t, ids, n, skip, &parts, &err) == ERR_OK, "%s", err.msg);
    ck_assert_msg(whole.n == parts.n &&
                      (parts.n == 0 || memcmp(whole.at, parts.at, parts.n) == 0),
                  "%s: \"%.*s\", want \"%.*s\"", what, (int)parts.n,
                  parts.at ? parts.at : "", (int)whole.n, whole.at ? whole.at : "");
    text_done(&whole);
    text_done(&parts);
}

/* A number below n; the state is the caller's. */
static uint32_t random_below(uint64_t *state, uint32_t n)
{
    *state = *state * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (uint32_t)(*state >> 33) % n;
}

static void check_random(const struct tokenizer *t, uint32_t size, int rounds,
                         const char *what)
{
    enum { MOST = 12 };
    uint64_t state = 7;
    for (int i = 0; i < rounds; i++) {
        int32_t ids[MOST];
        size_t n = random_below(&state, MOST + 1);
        uint32_t few = 1 + random_below(&state, size); /* the same ones again and again */
        uint32_t from = random_below(&state, size);
        for (size_t k = 0; k < n; k++)
            ids[k] = (int32_t)((from + random_below(&state, few)) % size);
        check_same(t, ids, n, i % 2, what);
    }
}

START_TEST(every_chain_of_steps_gives_the_whole_text)
{
    for (size_t i = 0; i < sizeof decoders / sizeof *decoders; i++) {
        struct tokenizer *t = with_decoder(decoders[i]);
        check_random(t, N_PIECES + 1, 3000, decoders[i]);
        tokenizer_free(t);
    }
}
END_TEST

static void check_golden(const char *dir)
{
    if (strrchr(dir, '.'))
        return;
    struct tokenizer *t = NULL;
    struct err err = {0};
    ck_assert_int_eq(tokenizer_load(dir, &t, &err), ERR_OK);
    check_random(t, (uint32_t)tokenizer_size(t) + 1, 300, dir);
    tokenizer_free(t);
}

START_TEST(every_golden_tokenizer_gives_the_whole_text)
{
    fixture_each(GOLDEN, 50, check_golden);
}
END_TEST

/* The parts that come for ids, each behind a bar. */
static void check_parts(const char *steps, const int32_t *ids, size_t n, const char *want)
{
    struct tokenizer *t = with_decoder(steps);
    struct decode_stream *s = NULL;
    struct text out = {0};
    struct err err = {0};
    ck_assert_int_eq(decode_stream_new(t, false, &s, &err), ERR_OK);
    for (size_t i = 0; i < n; i++) {
        ck_assert_int_eq(text_add(&out, "|", 1, &err), ERR_OK);
        ck_assert_int_eq(decode_stream_push(s, ids[i], &out, &err), ERR_OK);
    }
    ck_assert_int_eq(text_add(&out, "|", 1, &err), ERR_OK);
    ck_assert_int_eq(decode_stream_end(s, &out, &err), ERR_OK);
    ck_assert_msg(out.n == strlen(want) && memcmp(out.at, want, out.n) == 0,
                  "%s: \"%.*s\"", steps, (int)out.n, out.at);
    text_done(&out);
    decode_stream_free(s);
    tokenizer_free(t);
}

START_TEST(only_what_may_change_waits)
{
    /* One character in three tokens, then half of one. */
    check_parts(BYTES, (int32_t[]){1, 11, 12, 13, 1, 11}, 6,
                "|a|||\xe4\xb8\xad|a||\xef\xbf\xbd");
    check_parts(FALLBACK "," FUSE, (int32_t[]){1, 6, 7, 8, 1}, 5,
                "|a||||\xe4\xb8\xad"
                "a|");
    check_parts(SUFFIX, (int32_t[]){17, 1, 17}, 3, "||a |a|a");
    check_parts(WORDS, (int32_t[]){1, 15, 1, 22}, 4, "|a|b| a|.|");
    check_parts(FUSE "," STRIP("1", "1"), (int32_t[]){3, 1, 3, 3, 1}, 5, "||a|| | a|");
    check_parts(FUSE "," REPLACE("String", "aab", "*"), (int32_t[]){1, 1, 1, 5, 27}, 5,
                "|||a|* |x|");
    check_parts(CTC, (int32_t[]){1, 1, 21, 1, 20}, 5, "|a|||a| |");
    check_parts(METASPACE("always"), (int32_t[]){19, 19}, 2, "|a| a|");
}
END_TEST

START_TEST(every_failing_allocation_is_reported)
{
    const int32_t ids[] = {1, 6, 7, 8, 1, 17, 20, 18, 2, 15, 22, 11};
    for (size_t i = 0; i < sizeof decoders / sizeof *decoders; i++) {
        struct tokenizer *t = with_decoder(decoders[i]);
        bool struck = true;
        int unnoticed = 0; /* PCRE2's JIT may go without */
        for (long n = 0; struck; n++) {
            struct text out = {0};
            struct err err = {0};
            mem_fail_after(n);
            enum err_code code =
                stream(t, ids, sizeof ids / sizeof *ids, true, &out, &err);
            struck = !mem_fail_pending();
            mem_fail_after(-1);
            ck_assert_msg(code == ERR_OK || (struck && code == ERR_NOMEM), "%s: %ld: %s",
                          decoders[i], n, err.msg);
            unnoticed += struck && code == ERR_OK;
            text_done(&out);
        }
        ck_assert_int_le(unnoticed, 2);
        tokenizer_free(t);
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {every_chain_of_steps_gives_the_whole_text,
                                  every_golden_tokenizer_gives_the_whole_text,
                                  only_what_may_change_waits,
                                  every_failing_allocation_is_reported, NULL};
    return suite_run("stream", tests, 120);
}
