/* model/text/ against the `tokenizers` library: every folder of tests/golden/tokenizers,
 * as make_tokenizers.py wrote it. */
#include "model/base/mem.h"
#include "model/base/utf8.h"
#include "model/text/tokenizer.h"
#include "tests/suite.h"
#include "tests/unit/fixture.h"

#include <jansson.h>

static const char *const FOLDER = "tests/golden/tokenizers";

static json_t *read_json(const char *dir, const char *name)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    json_t *root = json_load_file(path, JSON_ALLOW_NUL, NULL);
    ck_assert_msg(root != NULL, "%s", path);
    return root;
}

/* One text, or a pair, and what is expected of it. */
struct expected {
    const char *dir;
    size_t number;
    const char *text[2];
    size_t n[2];
    const json_t *want;
};

static json_int_t number_at(const struct expected *x, const char *key, size_t i)
{
    const json_t *list = json_object_get(x->want, key);
    return list ? json_integer_value(json_array_get(list, i)) : 0;
}

static void check_tokens(const struct expected *x, const struct seq_tokens *got)
{
    ck_assert_msg(got->n == json_array_size(json_object_get(x->want, "ids")),
                  "%s: text %zu: %zu tokens", x->dir, x->number, got->n);
    for (size_t i = 0; i < got->n; i++) {
        const struct seq_token *k = &got->at[i];
        ck_assert_uint_le(k->start, k->end);
        ck_assert_uint_le(k->part, 1);
        ck_assert_uint_le(k->end, x->n[k->part]);
        const char *text = x->text[k->part];
        json_int_t pairs[][2] = {
            {k->id, number_at(x, "ids", i)},
            {(json_int_t)utf8_count(text, k->start, UTF8_CODE_POINTS),
             number_at(x, "at", 2 * i)},
            {(json_int_t)utf8_count(text, k->end, UTF8_CODE_POINTS),
             number_at(x, "at", 2 * i + 1)},
            {k->word, number_at(x, "words", i)},
            {k->type, number_at(x, "types", i)},
            {k->special, number_at(x, "special", i)},
            {k->part, number_at(x, "parts", i)},
        };
        for (size_t f = 0; f < sizeof pairs / sizeof *pairs; f++)
            ck_assert_msg(pairs[f][0] == pairs[f][1],
                          "%s: text %zu, token %zu, field %zu: %lld, want %lld", x->dir,
                          x->number, i, f, pairs[f][0], pairs[f][1]);
    }
}

static void check_text(const struct tokenizer *t, const int32_t *ids, size_t n, bool skip,
                       const json_t *want, const char *what)
{
    struct text got = {0};
    struct err err = {0};
    enum err_code code = tokenizer_decode(t, ids, n, skip, &got, &err);
    ck_assert_msg(code == ERR_OK, "%s: %s", what, err.msg);
    ck_assert_msg(got.n == json_string_length(want) &&
                      (got.n == 0 || memcmp(got.at, json_string_value(want), got.n) == 0),
                  "%s: decoded \"%.*s\", want \"%s\"", what, (int)got.n,
                  got.at ? got.at : "", json_string_value(want));
    text_done(&got);
}

static void check_encode(const struct tokenizer *t, const struct expected *x)
{
    struct seq_tokens got = {0};
    struct err err = {0};
    char *copy = malloc(x->n[0]); /* of exact size, for the sanitizers */
    memcpy(copy, x->text[0], x->n[0]);
    enum err_code code = tokenizer_encode(t, copy, x->n[0], true, &got, &err);
    ck_assert_msg(code == ERR_OK, "%s: text %zu: %s", x->dir, x->number, err.msg);
    check_tokens(x, &got);
    int32_t *ids = malloc((got.n + 1) * sizeof *ids);
    for (size_t i = 0; i < got.n; i++)
        ids[i] = got.at[i].id;
    const json_t *text = json_object_get(x->want, "text");
    const json_t *plain = json_object_get(x->want, "plain");
    check_text(t, ids, got.n, false, text, x->dir);
    check_text(t, ids, got.n, true, plain ? plain : text, x->dir);
    free(ids);
    free(copy);
    mem_free(got.at);
}

static void check_pair(const struct tokenizer *t, const json_t *texts, const json_t *want,
                       const char *dir)
{
    struct seq_tokens got = {0};
    struct err err = {0};
    size_t number = (size_t)json_integer_value(json_object_get(want, "a"));
    const json_t *a = json_array_get(texts, number),
                 *b = json_array_get(texts, number + 1);
    struct expected x = {dir,
                         number,
                         {json_string_value(a), json_string_value(b)},
                         {json_string_length(a), json_string_length(b)},
                         want};
    enum err_code code = tokenizer_encode_pair(t, x.text[0], x.n[0], x.text[1], x.n[1],
                                               number % 2 == 0, &got, &err);
    ck_assert_msg(code == ERR_OK, "%s: pair %zu: %s", dir, number, err.msg);
    check_tokens(&x, &got);
    mem_free(got.at);
}

static void check_long(const struct tokenizer *t, const json_t *text, const json_t *want,
                       const char *dir)
{
    struct seq_tokens got = {0};
    struct err err = {0};
    enum err_code code = tokenizer_encode(t, json_string_value(text),
                                          json_string_length(text), false, &got, &err);
    ck_assert_msg(code == ERR_OK, "%s: %s", dir, err.msg);
    ck_assert_msg(got.n == json_array_size(want), "%s: long text: %zu tokens", dir,
                  got.n);
    for (size_t i = 0; i < got.n; i++)
        ck_assert_msg(got.at[i].id == json_integer_value(json_array_get(want, i)),
                      "%s: long text: token %zu is %d", dir, i, got.at[i].id);
    mem_free(got.at);
}

static void check_decode(const struct tokenizer *t, const json_t *value, const char *dir)
{
    const json_t *list = json_object_get(value, "ids");
    int32_t ids[64];
    size_t n = json_array_size(list);
    ck_assert_uint_le(n, 64);
    for (size_t i = 0; i < n; i++)
        ids[i] = (int32_t)json_integer_value(json_array_get(list, i));
    check_text(t, ids, n, false, json_object_get(value, "text"), dir);
}

static void check_folder(const char *dir)
{
    if (strrchr(dir, '.')) /* texts.json, README.md */
        return;
    struct tokenizer *t = NULL;
    struct err err = {0};
    ck_assert_msg(tokenizer_load(dir, &t, &err) == ERR_OK, "%s: %s", dir, err.msg);
    json_t *texts = read_json(FOLDER, "texts.json");
    json_t *expect = read_json(dir, "expect.json");
    const json_t *list = json_object_get(texts, "texts");
    const json_t *encode = json_object_get(expect, "encode");
    const json_t *decode = json_object_get(expect, "decode");
    ck_assert_uint_gt(json_array_size(list), 90);
    ck_assert_uint_eq(json_array_size(list), json_array_size(encode));
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *text = json_array_get(list, i);
        struct expected x = {dir,
                             i,
                             {json_string_value(text)},
                             {json_string_length(text)},
                             json_array_get(encode, i)};
        check_encode(t, &x);
    }
    ck_assert_uint_gt(json_array_size(decode), 20);
    for (size_t i = 0; i < json_array_size(decode); i++)
        check_decode(t, json_array_get(decode, i), dir);
    const json_t *pairs = json_object_get(expect, "pairs");
    ck_assert_uint_gt(json_array_size(pairs), 6);
    for (size_t i = 0; i < json_array_size(pairs); i++)
        check_pair(t, list, json_array_get(pairs, i), dir);
    const json_t *longs = json_object_get(expect, "long");
    for (size_t i = 0; i < json_array_size(longs); i++)
        check_long(t, json_array_get(json_object_get(texts, "long"), i),
                   json_array_get(longs, i), dir);
    json_decref(texts);
    json_decref(expect);
    tokenizer_free(t);
}

START_TEST(every_tokenizer_equals_the_library)
{
    fixture_each(FOLDER, 52, check_folder);
}
END_TEST

/* The i-th number of a list. */
static size_t at(const json_t *list, size_t i)
{
    return (size_t)json_integer_value(json_array_get(list, i));
}

START_TEST(truncation_equals_the_library)
{
    json_t *root = read_json(FOLDER, "truncation.json");
    const json_t *pairs = json_object_get(root, "pairs");
    const json_t *windows = json_object_get(root, "windows");
    ck_assert_uint_gt(json_array_size(pairs), 600);
    for (size_t i = 0; i < json_array_size(pairs); i++) {
        const json_t *p = json_array_get(pairs, i);
        size_t keep1, keep2;
        tokenizer_truncate_pair(at(p, 0), at(p, 1), at(p, 2), &keep1, &keep2);
        ck_assert_uint_eq(keep1, at(p, 3));
        ck_assert_uint_eq(keep2, at(p, 4));
    }
    ck_assert_uint_gt(json_array_size(windows), 400);
    for (size_t i = 0; i < json_array_size(windows); i++) {
        const json_t *p = json_array_get(windows, i);
        size_t n = tokenizer_windows(at(p, 0), at(p, 1), at(p, 2));
        ck_assert_uint_eq(4 + 2 * n, json_array_size(p));
        for (size_t k = 0; k < n; k++) {
            struct tokenizer_window w =
                tokenizer_window(at(p, 0), at(p, 1), at(p, 2), at(p, 3), k);
            ck_assert_uint_eq(w.begin, at(p, 4 + 2 * k));
            ck_assert_uint_eq(w.end, at(p, 5 + 2 * k));
        }
    }
    json_decref(root);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {every_tokenizer_equals_the_library,
                                  truncation_equals_the_library, NULL};
    return suite_run("tokenizers", tests, 120);
}
