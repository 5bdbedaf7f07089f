/* tokenizer and the parts behind it: what is promised beyond equality with the library,
 * which tests/golden/test_tokenizers.c checks. */
#include "model/base/mem.h"
#include "model/base/utf8.h"
#include "model/text/tokenizer.h"
#include "tests/suite.h"
#include "tests/unit/fixture.h"

#include <pthread.h>
#include <time.h>

static const char *const GOLDEN = "tests/golden/tokenizers";
static const char *const VALID = "tests/fixtures/tokenizer/valid";
static const char *const INVALID = "tests/fixtures/tokenizer/invalid";

/* A text with something for every part of a tokenizer. */
static const char MIXED[] =
    "It's a caf\xc3\xa9, na\xc3\xafve 12345 \xe4\xb8\xad\xe6\x96\x87! <s>hello "
    "e\xcc\x81\xcc\xa3 \xf0\x9f\x98\x80\xe2\x80\x8dx  \n\n\t[MASK] "
    "hellohello <x> \xef\xb7\xba \xcd\x84 ends  ";

static struct tokenizer *load(const char *dir)
{
    struct tokenizer *t = NULL;
    struct err err = {0};
    ck_assert_msg(tokenizer_load(dir, &t, &err) == ERR_OK, "%s: %s", dir, err.msg);
    return t;
}

static struct tokenizer *load_golden(const char *name)
{
    char dir[PATH_MAX];
    snprintf(dir, sizeof dir, "%s/%s", GOLDEN, name);
    return load(dir);
}

static struct tokenizer *parse(const char *json)
{
    struct tokenizer *t = NULL;
    struct err err = {0};
    ck_assert_msg(tokenizer_parse(json, strlen(json), &t, &err) == ERR_OK, "%s", err.msg);
    return t;
}

static struct seq_tokens encode(const struct tokenizer *t, const char *text, size_t n)
{
    struct seq_tokens out = {0};
    struct err err = {0};
    ck_assert_msg(tokenizer_encode(t, text, n, true, &out, &err) == ERR_OK, "%s",
                  err.msg);
    return out;
}

/* ---- files ------------------------------------------------------------------------- */

/* In place: \n in the text of an `expect`. */
static void unescape(char *s)
{
    for (char *at = s; (at = strstr(at, "\\n")); at++) {
        *at = '\n';
        memmove(at + 1, at + 2, strlen(at + 2) + 1);
    }
}

static void check_valid(const char *dir)
{
    struct tokenizer *t = load(dir);
    char *text = fixture_text(dir, "expect"), got[1024] = "";
    char *want = strstr(text, " => ");
    ck_assert_msg(want != NULL, "%s: no expect", dir);
    *want = '\0';
    want += 4;
    unescape(text);
    struct seq_tokens tokens = encode(t, text, strlen(text));
    for (size_t i = 0, used = 0; i < tokens.n; i++) {
        size_t n;
        const char *s = tokenizer_piece(t, tokens.at[i].id, &n);
        used += (size_t)snprintf(got + used, sizeof got - used, "%s%.*s", i ? " " : "",
                                 (int)n, s);
    }
    ck_assert_msg(strcmp(got, want) == 0, "%s: got %s, want %s", dir, got, want);
    mem_free(tokens.at);
    free(text);
    tokenizer_free(t);
}

START_TEST(valid_files_cut_texts_as_they_should)
{
    fixture_each(VALID, 34, check_valid);
}
END_TEST

static void check_invalid(const char *dir)
{
    struct tokenizer *mark = (struct tokenizer *)dir, *t = mark;
    struct err err = {0};
    enum err_code code = tokenizer_load(dir, &t, &err);
    fixture_refused(dir, code, &err);
    ck_assert_ptr_eq(t, mark); /* outputs are untouched on failure */
}

START_TEST(invalid_files_are_refused_with_their_message)
{
    fixture_each(INVALID, 152, check_invalid);
}
END_TEST

START_TEST(absent_files_are_refused)
{
    struct tokenizer *t = NULL;
    struct err err = {0};
    ck_assert_int_eq(tokenizer_load("tests/unit", &t, &err), ERR_IO);
    ck_assert_ptr_nonnull(strstr(err.msg, "tokenizer.json"));
    tokenizer_free(NULL);
}
END_TEST

START_TEST(files_of_too_many_values_are_refused)
{
    enum { VALUES = 4 << 20 };
    char *text = malloc(2 * VALUES + 64), *at = text;
    struct tokenizer *t = NULL;
    struct err err = {0};
    static const char head[] = "{\"x\":[";
    memcpy(at, head, strlen(head));
    at += strlen(head);
    for (size_t i = 0; i < VALUES; i++) {
        *at++ = '0';
        *at++ = ',';
    }
    memcpy(at, "0]}", 3);
    ck_assert_int_eq(tokenizer_parse(text, (size_t)(at + 3 - text), &t, &err), ERR_LIMIT);
    ck_assert_ptr_nonnull(strstr(err.msg, "values"));
    free(text);
}
END_TEST

/* ---- memory ------------------------------------------------------------------------ */

/* Loads and uses a tokenizer while allocation number n fails; false once none is left to
 * fail. *unnoticed counts those that changed nothing: PCRE2's JIT may fail in silence,
 * the interpreter takes its place. Leaks are the sanitizer's to find. */
static bool survives(const char *dir, long n, int *unnoticed)
{
    struct tokenizer *t = NULL;
    struct seq_tokens tokens = {0};
    struct text text = {0};
    struct err err = {0};
    int32_t ids[] = {0, 1, 2, 3, 1};
    mem_fail_after(n);
    enum err_code code = tokenizer_load(dir, &t, &err);
    if (code == ERR_OK)
        code = tokenizer_encode(t, MIXED, strlen(MIXED), true, &tokens, &err);
    if (code == ERR_OK)
        code = tokenizer_decode(t, ids, 5, true, &text, &err);
    bool struck = !mem_fail_pending();
    mem_fail_after(-1);
    ck_assert_msg(code == ERR_OK || (struck && code == ERR_NOMEM),
                  "%s: allocation %ld: %s", dir, n, err.msg);
    *unnoticed += struck && code == ERR_OK;
    if (code != ERR_OK)
        ck_assert_uint_eq(text.n, 0);
    mem_free(tokens.at);
    text_done(&text);
    tokenizer_free(t);
    return struck;
}

static void check_faults(const char *dir)
{
    if (strrchr(dir, '.'))
        return;
    int unnoticed = 0;
    for (long n = 0; survives(dir, n, &unnoticed); n++)
        ck_assert_int_lt(n, 5000);
    ck_assert_msg(unnoticed <= 24, "%s: %d went unnoticed", dir, unnoticed);
}

START_TEST(every_failing_allocation_is_reported)
{
    fixture_each(GOLDEN, 52, check_faults);
}
END_TEST

/* ---- limits ------------------------------------------------------------------------ */

#define WORD_LEVEL "\"model\":{\"vocab\":{\"a\":0},\"unk_token\":\"a\"}}"

/* Encodes n times `c`, which must end in ERR_LIMIT. */
static void check_limit(const char *json, char c, size_t n, const char *said)
{
    struct tokenizer *t = parse(json);
    struct seq_tokens out = {0};
    struct err err = {0};
    char *text = malloc(n);
    memset(text, c, n);
    ck_assert_int_eq(tokenizer_encode(t, text, n, true, &out, &err), ERR_LIMIT);
    ck_assert_msg(strstr(err.msg, said) != NULL, "%s", err.msg);
    ck_assert_uint_eq(out.n, 0);
    mem_free(out.at);
    free(text);
    tokenizer_free(t);
}

START_TEST(texts_that_explode_are_refused)
{
    check_limit(
        "{\"version\":\"1.0\",\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":["
        "{\"type\":\"Replace\",\"pattern\":{\"String\":\"a\"},\"content\":"
        "\"aaaaaaaaaaaaaaaa\"},"
        "{\"type\":\"Replace\",\"pattern\":{\"String\":\"a\"},\"content\":"
        "\"aaaaaaaaaaaaaaaa\"},"
        "{\"type\":\"Replace\",\"pattern\":{\"String\":\"a\"},\"content\":"
        "\"aaaaaaaaaaaaaaaa\"}]}," WORD_LEVEL,
        'a', 10000, "makes the text longer than");
}
END_TEST

START_TEST(patterns_that_take_too_long_give_up)
{
    check_limit(
        "{\"version\":\"1.0\",\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{"
        "\"Regex\":"
        "\"(?:a+)+[bc]\"},\"behavior\":\"Isolated\",\"invert\":false}," WORD_LEVEL,
        'a', 10000, "too many steps");
}
END_TEST

/* ---- time -------------------------------------------------------------------------- */

static double cpu_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* The lesser of two times for the first n bytes. */
static double time_of(const struct tokenizer *t, const char *text, size_t n)
{
    double best = 1e9;
    for (int i = 0; i < 2; i++) {
        double begin = cpu_seconds();
        struct seq_tokens out = encode(t, text, n);
        double took = cpu_seconds() - begin;
        best = took < best ? took : best;
        mem_free(out.at);
    }
    return best;
}

/* 16 times the text in at most 80 times the time (squared would be 256). */
static void check_linear(const char *name)
{
    enum { LONG = 1 << 16, SHORT = LONG / 16 };
    static const char *const parts[] = {"a",
                                        " ",
                                        "ab",
                                        "\n",
                                        "1",
                                        ".",
                                        "#",
                                        "\xcc\x81",
                                        "\xcc\xa3\xcc\x81",
                                        "\xe4\xb8\xad",
                                        "\xea\xb0\x80",
                                        "\xef\xb7\xba",
                                        "\xf0\x9f\x98\x80",
                                        "<",
                                        "'",
                                        "<x>",
                                        " <r>"};
    struct tokenizer *t = load_golden(name);
    char *text = malloc(LONG);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        size_t n = strlen(parts[i]), whole = SHORT / n * n;
        for (size_t at = 0; at + n <= LONG; at += n)
            memcpy(text + at, parts[i], n);
        double small = time_of(t, text, whole), large = time_of(t, text, 16 * whole);
        ck_assert_msg(large < 80 * small + 0.05, "%s: \"%s\": %.1f ms, then %.1f ms",
                      name, parts[i], small * 1e3, large * 1e3);
    }
    free(text);
    tokenizer_free(t);
}

START_TEST(time_grows_with_the_text_only)
{
    static const char *const names[] = {
        "wordlevel_split", "wordlevel_reviews", "wordpiece_lower", "bpe_gpt2",
        "bpe_roberta",     "bpe_llama3",        "bpe_llama2",      "bpe_suffix",
        "form_kc",         "added_flags",       "split_other",     "bpe_metaspace"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        check_linear(names[i]);
}
END_TEST

/* ---- single tokens ----------------------------------------------------------------- */

static void check_ids(const char *dir)
{
    if (strrchr(dir, '.'))
        return;
    struct tokenizer *t = load(dir);
    size_t used = 0, n;
    for (int32_t id = 0; (size_t)id < tokenizer_size(t); id++) {
        const char *s = tokenizer_piece(t, id, &n);
        if (!s) {
            ck_assert_uint_eq(n, 0);
            continue;
        }
        used++;
        ck_assert_int_eq(tokenizer_id(t, s, n), id);
        const char *bytes = tokenizer_bytes(t, id, &n);
        ck_assert_ptr_nonnull(bytes);
        if (tokenizer_is_special(t, id))
            ck_assert_uint_eq(n, 0);
    }
    ck_assert_uint_gt(used, 0);
    int32_t outside[] = {-1, (int32_t)tokenizer_size(t), INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < 4; i++) {
        ck_assert_ptr_null(tokenizer_piece(t, outside[i], &n));
        tokenizer_bytes(t, outside[i], &n);
        ck_assert_uint_eq(n, 0);
        ck_assert(!tokenizer_is_special(t, outside[i]));
    }
    ck_assert_int_eq(tokenizer_id(t, "no such piece", 13), -1);
    tokenizer_free(t);
}

START_TEST(pieces_and_ids_go_both_ways)
{
    fixture_each(GOLDEN, 52, check_ids);
}
END_TEST

/* tokenizer_bytes of the token that reads `piece`. */
static void check_bytes(const char *name, const char *piece, const char *want)
{
    struct tokenizer *t = load_golden(name);
    size_t n;
    int32_t id = tokenizer_id(t, piece, strlen(piece));
    ck_assert_msg(id >= 0, "%s: no %s", name, piece);
    const char *got = tokenizer_bytes(t, id, &n);
    ck_assert_msg(n == strlen(want) && memcmp(got, want, n) == 0, "%s: %s: \"%.*s\"",
                  name, piece, (int)n, got);
    tokenizer_free(t);
}

START_TEST(bytes_are_what_the_decoder_adds)
{
    check_bytes("bpe_gpt2", "\xc4\xa0the", " the");
    check_bytes("bpe_gpt2", "he", "he");
    check_bytes("bpe_gpt2", "\xc4\x8a", "\n");
    check_bytes("bpe_gpt2", "\xc3\xa9", "\xe9");
    check_bytes("bpe_gpt2", "<|endoftext|>", "");
    check_bytes("wordpiece_lower", "the", " the");
    check_bytes("wordpiece_lower", "##s", "s");
    check_bytes("wordpiece_lower", ".", "."); /* cleaned up */
    check_bytes("wordlevel_split", "the", " the");
    check_bytes("wordlevel_split", ".", " .");
    check_bytes("bpe_llama2", "\xe2\x96\x81he", " he");
    check_bytes("bpe_llama2", "<0x0A>", "\n");
    check_bytes("bpe_llama2", "<0xC3>", "\xc3");
    check_bytes("bpe_metaspace", "\xe2\x96\x81the", " the");
    check_bytes("bpe_prefix", "##t", "t");
}
END_TEST

/* Byte-level: the bytes of the tokens, end to end, are the text. */
START_TEST(bytes_of_a_text_are_the_text)
{
    struct tokenizer *t = load_golden("bpe_gpt2");
    struct seq_tokens tokens = encode(t, MIXED, strlen(MIXED));
    struct text all = {0};
    struct err err = {0};
    for (size_t i = 0; i < tokens.n; i++) {
        size_t n;
        const char *s = tokenizer_bytes(t, tokens.at[i].id, &n);
        ck_assert_int_eq(text_add(&all, s, n, &err), ERR_OK);
    }
    ck_assert_uint_eq(all.n, strlen(MIXED));
    ck_assert_mem_eq(all.at, MIXED, all.n);
    text_done(&all);
    mem_free(tokens.at);
    tokenizer_free(t);
}
END_TEST

START_TEST(templates_are_counted_and_may_be_left_out)
{
    struct tokenizer *t = load_golden("wordpiece_lower");
    struct seq_tokens out = {0};
    struct err err = {0};
    size_t before, after;
    tokenizer_template(t, &before, &after);
    ck_assert_uint_eq(before, 1);
    ck_assert_uint_eq(after, 1);
    ck_assert_int_eq(tokenizer_encode(t, "the cat", 7, false, &out, &err), ERR_OK);
    size_t n = out.n;
    out.n_dropped = 5;
    ck_assert_int_eq(tokenizer_encode(t, "the cat", 7, true, &out, &err), ERR_OK);
    ck_assert_uint_eq(out.n, 2 * n + 2); /* appended */
    ck_assert_uint_eq(out.n_dropped, 5);
    ck_assert(out.at[n].special && out.at[2 * n + 1].special);
    ck_assert_int_eq(out.at[n].word, -1);
    for (size_t i = 0; i < n; i++)
        ck_assert_mem_eq(&out.at[i], &out.at[n + 1 + i], sizeof out.at[i]);
    mem_free(out.at);
    tokenizer_free(t);
}
END_TEST

START_TEST(kinds_and_unknown_tokens_are_told)
{
    static const struct {
        const char *name;
        bool word_level;
        const char *unk; /* NULL: none */
    } cases[] = {{"wordlevel_split", true, "<unk>"},
                 {"wordpiece_lower", false, "[UNK]"},
                 {"bpe_gpt2", false, NULL},
                 {"bpe_llama2", false, "<unk>"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tokenizer *t = load_golden(cases[i].name);
        const char *unk = cases[i].unk;
        ck_assert_int_eq(tokenizer_word_level(t), cases[i].word_level);
        ck_assert_int_eq(tokenizer_unk(t), unk ? tokenizer_id(t, unk, strlen(unk)) : -1);
        tokenizer_free(t);
    }
}
END_TEST

/* Offsets cut whole characters out of the text and never run backwards. */
static void check_offsets(const char *dir)
{
    if (strrchr(dir, '.'))
        return;
    struct tokenizer *t = load(dir);
    struct seq_tokens out = encode(t, MIXED, strlen(MIXED));
    uint32_t last = 0;
    for (size_t i = 0; i < out.n; i++) {
        const struct seq_token *k = &out.at[i];
        if (k->special)
            continue;
        ck_assert_uint_le(k->start, k->end);
        ck_assert_uint_le(k->end, strlen(MIXED));
        ck_assert_uint_le(last, k->end);
        ck_assert_uint_eq(utf8_valid(MIXED + k->start, k->end - k->start),
                          k->end - k->start);
        last = k->end;
    }
    ck_assert_uint_gt(out.n, 0);
    mem_free(out.at);
    tokenizer_free(t);
}

START_TEST(offsets_cut_characters_out_of_the_text)
{
    fixture_each(GOLDEN, 52, check_offsets);
}
END_TEST

/* ---- threads ----------------------------------------------------------------------- */

struct job {
    const struct tokenizer *t;
    const struct seq_tokens *want;
    bool same;
};

static void *encode_often(void *arg)
{
    struct job *job = arg;
    job->same = true;
    for (int i = 0; i < 50; i++) {
        struct seq_tokens out = {0};
        struct err err = {0};
        job->same =
            job->same &&
            tokenizer_encode(job->t, MIXED, strlen(MIXED), true, &out, &err) == ERR_OK &&
            out.n == job->want->n &&
            memcmp(out.at, job->want->at, out.n * sizeof *out.at) == 0;
        mem_free(out.at);
    }
    return NULL;
}

START_TEST(threads_share_one_tokenizer)
{
    static const char *const names[] = {"split_other", "bpe_llama3", "wordpiece_lower"};
    for (size_t i = 0; i < 3; i++) {
        struct tokenizer *t = load_golden(names[i]);
        struct seq_tokens want = encode(t, MIXED, strlen(MIXED));
        struct job jobs[4];
        pthread_t threads[4];
        for (size_t k = 0; k < 4; k++) {
            jobs[k] = (struct job){t, &want, false};
            ck_assert_int_eq(pthread_create(&threads[k], NULL, encode_often, &jobs[k]),
                             0);
        }
        for (size_t k = 0; k < 4; k++) {
            pthread_join(threads[k], NULL);
            ck_assert(jobs[k].same);
        }
        mem_free(want.at);
        tokenizer_free(t);
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        valid_files_cut_texts_as_they_should,
        invalid_files_are_refused_with_their_message,
        absent_files_are_refused,
        files_of_too_many_values_are_refused,
        every_failing_allocation_is_reported,
        texts_that_explode_are_refused,
        patterns_that_take_too_long_give_up,
        time_grows_with_the_text_only,
        pieces_and_ids_go_both_ways,
        bytes_are_what_the_decoder_adds,
        bytes_of_a_text_are_the_text,
        templates_are_counted_and_may_be_left_out,
        kinds_and_unknown_tokens_are_told,
        offsets_cut_characters_out_of_the_text,
        threads_share_one_tokenizer,
        NULL,
    };
    return suite_run("tokenizer", tests, 300);
}
