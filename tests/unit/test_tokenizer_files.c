/* tokenizer_files: folders with and without tokenizer.json. What valid ones should give
 * is written down by transformers (tests/fixtures/tokenizer_files/make.py). */
#include "model/base/mem.h"
#include "model/base/utf8.h"
#include "model/text/tokenizer.h"
#include "tests/suite.h"
#include "tests/unit/fixture.h"

#include <jansson.h>
#include <unistd.h>

static const char *const VALID = "tests/fixtures/tokenizer_files/valid";
static const char *const INVALID = "tests/fixtures/tokenizer_files/invalid";

static const char *const ROLES[TOKENIZER_ROLES] = {
    [TOKENIZER_MASK] = "mask", [TOKENIZER_BOS] = "bos", [TOKENIZER_EOS] = "eos",
    [TOKENIZER_UNK] = "unk",   [TOKENIZER_PAD] = "pad", [TOKENIZER_SEP] = "sep",
    [TOKENIZER_CLS] = "cls",
};

static struct tokenizer *load(const char *dir)
{
    struct tokenizer *t = NULL;
    struct err err = {0};
    ck_assert_msg(tokenizer_load(dir, &t, &err) == ERR_OK, "%s: %s", dir, err.msg);
    return t;
}

static json_t *read_json(const char *dir, const char *name)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    json_t *root = json_load_file(path, JSON_ALLOW_NUL, NULL);
    ck_assert_msg(root != NULL, "%s", path);
    return root;
}

/* ---- folders that are served ------------------------------------------------------- */

static struct seq_tokens encode(const struct tokenizer *t, const json_t *texts)
{
    const json_t *a = json_array_get(texts, 0), *b = json_array_get(texts, 1);
    struct seq_tokens out = {0};
    struct err err = {0};
    enum err_code code =
        b ? tokenizer_encode_pair(t, json_string_value(a), json_string_length(a),
                                  json_string_value(b), json_string_length(b), true, &out,
                                  &err)
          : tokenizer_encode(t, json_string_value(a), json_string_length(a), true, &out,
                             &err);
    ck_assert_msg(code == ERR_OK, "%s", err.msg);
    return out;
}

static json_int_t number(const json_t *row, const char *key, size_t i)
{
    return json_integer_value(json_array_get(json_object_get(row, key), i));
}

static void check_row(const struct tokenizer *t, const char *dir, size_t n,
                      const json_t *row)
{
    const json_t *texts = json_object_get(row, "text");
    struct seq_tokens got = encode(t, texts);
    ck_assert_msg(got.n == json_array_size(json_object_get(row, "ids")),
                  "%s: row %zu: %zu tokens", dir, n, got.n);
    for (size_t i = 0; i < got.n; i++) {
        const struct seq_token *k = &got.at[i];
        const char *text = json_string_value(json_array_get(texts, k->part));
        json_int_t pairs[][2] = {
            {k->id, number(row, "ids", i)},
            {(json_int_t)utf8_count(text, k->start, UTF8_CODE_POINTS),
             number(row, "at", 2 * i)},
            {(json_int_t)utf8_count(text, k->end, UTF8_CODE_POINTS),
             number(row, "at", 2 * i + 1)},
            {k->type, number(row, "types", i)},
            {k->special, number(row, "special", i)},
        };
        for (size_t f = 0; f < sizeof pairs / sizeof *pairs; f++)
            ck_assert_msg(pairs[f][0] == pairs[f][1],
                          "%s: row %zu, token %zu, field %zu: %lld, want %lld", dir, n, i,
                          f, pairs[f][0], pairs[f][1]);
    }
    mem_free(got.at);
}

static void check_roles(const struct tokenizer *t, const char *dir, const json_t *roles)
{
    for (size_t i = 0; i < TOKENIZER_ROLES; i++) {
        const json_t *id = json_object_get(roles, ROLES[i]);
        int32_t want = id ? (int32_t)json_integer_value(id) : -1;
        int32_t got = tokenizer_role(t, (enum tokenizer_role)i);
        ck_assert_msg(got == want || !id, "%s: %s token is %d, want %d", dir, ROLES[i],
                      got, want);
    }
}

/* The same pieces, and the same of them special, as in what transformers writes. */
static void check_converted(const struct tokenizer *t, const char *dir)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/converted", dir);
    struct tokenizer *want = load(path);
    ck_assert_uint_eq(tokenizer_size(t), tokenizer_size(want));
    for (int32_t id = 0; (size_t)id < tokenizer_size(want); id++) {
        size_t n, n_want;
        const char *a = tokenizer_piece(t, id, &n);
        const char *b = tokenizer_piece(want, id, &n_want);
        ck_assert_msg(n == n_want && !a == !b && (!a || memcmp(a, b, n) == 0),
                      "%s: piece %d is %s, want %s", dir, id, a, b);
        ck_assert_msg(tokenizer_is_special(t, id) == tokenizer_is_special(want, id),
                      "%s: piece %d, %s: special or not", dir, id, a);
    }
    tokenizer_free(want);
}

static void check_valid(const char *dir)
{
    struct tokenizer *t = load(dir);
    json_t *expect = read_json(dir, "expect.json");
    const json_t *rows = json_object_get(expect, "encode");
    ck_assert_uint_gt(json_array_size(rows), 15);
    for (size_t i = 0; i < json_array_size(rows); i++)
        check_row(t, dir, i, json_array_get(rows, i));
    check_roles(t, dir, json_object_get(expect, "roles"));
    check_converted(t, dir);
    json_decref(expect);
    tokenizer_free(t);
}

START_TEST(folders_give_what_transformers_gives)
{
    fixture_each(VALID, 32, check_valid);
}
END_TEST

/* ---- folders that are refused ------------------------------------------------------ */

static void check_invalid(const char *dir)
{
    struct tokenizer *mark = (struct tokenizer *)dir, *t = mark;
    struct err err = {0};
    enum err_code code = tokenizer_load(dir, &t, &err);
    fixture_refused(dir, code, &err);
    ck_assert_ptr_eq(t, mark); /* outputs are untouched on failure */
}

START_TEST(invalid_folders_are_refused_with_their_message)
{
    fixture_each(INVALID, 70, check_invalid);
}
END_TEST

/* ---- what needs a file too large to keep ------------------------------------------- */

/* A folder of its own, with config.json for BERT. */
static void make_folder(char *dir)
{
    static const char config[] = "{\"model_type\":\"bert\"}";
    ck_assert_ptr_nonnull(mkdtemp(dir));
    fixture_write(dir, "config.json", config, strlen(config));
}

static void remove_folder(const char *dir)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/config.json", dir);
    unlink(path);
    snprintf(path, sizeof path, "%s/vocab.txt", dir);
    unlink(path);
    rmdir(dir);
}

static void check_words(const char *text, size_t n, const char *said)
{
    char dir[] = "/tmp/tokenizer-files-XXXXXX";
    struct tokenizer *t = NULL;
    struct err err = {0};
    make_folder(dir);
    fixture_write(dir, "vocab.txt", text, n);
    ck_assert_int_eq(tokenizer_load(dir, &t, &err), ERR_LIMIT);
    ck_assert_msg(strstr(err.msg, said) != NULL, "%s", err.msg);
    remove_folder(dir);
}

START_TEST(vocabularies_that_are_too_long_are_refused)
{
    enum { LINES = (1 << 20) + 1, BYTES = (32 << 20) + 1 };
    char *text = malloc(BYTES);
    for (size_t i = 0; i < 2 * (size_t)LINES; i++)
        text[i] = i % 2 ? '\n' : 'x';
    check_words(text, 2 * (size_t)LINES, "vocab.txt: more than 1048576 lines");
    memset(text, 'x', BYTES);
    check_words(text, BYTES, "vocab.txt");
    check_words(text, 3000, "vocab.txt: line 1 has 3000 bytes, the limit is 2048");
    free(text);
}
END_TEST

/* ---- memory ------------------------------------------------------------------------ */

/* True while allocation number n is there to fail; a failure must be reported, unless it
 * is one of those that jansson gets over or calls by another name. */
static bool survives(const char *dir, long n, bool jansson)
{
    struct tokenizer *t = NULL;
    struct err err = {0};
    mem_fail_after(n);
    enum err_code code = tokenizer_load(dir, &t, &err);
    bool struck = !mem_fail_pending();
    mem_fail_after(-1);
    ck_assert_msg(jansson || code == (struck ? ERR_NOMEM : ERR_OK),
                  "%s: allocation %ld: code %d, %s", dir, n, code, err.msg);
    ck_assert_int_eq(code == ERR_OK, t != NULL);
    tokenizer_free(t);
    return struck;
}

static void *allocate(size_t n)
{
    return mem_alloc(1, n);
}

START_TEST(every_failing_allocation_is_survived)
{
    static const char *const names[] = {"bert_decoder", "bert_added_special",
                                        "roberta_map", "gpt2_bos"};
    for (size_t i = 0; i < 8; i++) {
        char dir[PATH_MAX];
        bool jansson = i >= 4;
        snprintf(dir, sizeof dir, "%s/%s", VALID, names[i % 4]);
        if (jansson)
            json_set_alloc_funcs(allocate, mem_free);
        for (long n = 0; survives(dir, n, jansson); n++)
            ck_assert_int_lt(n, 20000);
    }
    json_set_alloc_funcs(malloc, free);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {folders_give_what_transformers_gives,
                                  invalid_folders_are_refused_with_their_message,
                                  vocabularies_that_are_too_long_are_refused,
                                  every_failing_allocation_is_survived, NULL};
    return suite_run("tokenizer files", tests, 120);
}
