/* model/text/ against what tokenizer_parity.py --record wrote of the reference library's
 * answers: 500 texts, pairs of some of them and lists of ids, for each tokenizer of
 * tests/golden/tokenizers and each component alone. Only checksums are kept: run
 * tokenizer_parity.py to see both answers. */
#include "tests/golden/tokenizer_answers.h"
#include "tests/suite.h"
#include "tests/unit/fixture.h"

#include <jansson.h>

#define FOLDER "tests/golden/parity"

enum { DIGITS = 8, MAX_IDS = 64 };

static json_t *read_json(const char *path)
{
    json_error_t e;
    json_t *root = json_load_file(path, JSON_ALLOW_NUL, &e);
    ck_assert_msg(root != NULL, "%s: line %d: %s", path, e.line, e.text);
    return root;
}

/* CRC-32 as zlib has it. */
static uint32_t checksum(const char *s, size_t n)
{
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < n; i++) {
        crc ^= (unsigned char)s[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
    }
    return ~crc;
}

START_TEST(the_checksum_is_that_of_zlib)
{
    ck_assert_uint_eq(checksum("123456789", 9), 0xcbf43926);
    ck_assert_uint_eq(checksum("", 0), 0);
}
END_TEST

/* One tokenizer and what is expected of it. */
struct subject {
    const char *name;
    struct tokenizer *t;
    const json_t *want; /* its entry of sums.json */
    size_t n;           /* answers compared so far */
};

/* `about` is the text, for the message. */
static void check(struct subject *s, const char *kind, size_t i, const struct text *got,
                  const char *about)
{
    const json_t *sums = json_object_get(s->want, kind);
    char sum[DIGITS + 1];
    ck_assert_uint_ge(json_string_length(sums), DIGITS * (i + 1));
    snprintf(sum, sizeof sum, "%08x", checksum(got->at, got->n));
    const char *want = json_string_value(sums) + DIGITS * i;
    ck_assert_msg(memcmp(sum, want, DIGITS) == 0,
                  "%s: another answer than the library's to number %zu of %s: %s",
                  s->name, i, kind, about);
    s->n++;
}

/* A text of exact size, for the sanitizers. free(). */
static struct bytes copy_of(const json_t *text)
{
    size_t n = json_string_length(text);
    char *at = malloc(n ? n : 1);
    memcpy(at, json_string_value(text), n);
    return (struct bytes){at, n};
}

static void check_texts(struct subject *s, const json_t *texts, bool pair)
{
    const char *kind = pair ? "pairs" : "texts";
    size_t n = json_string_length(json_object_get(s->want, kind)) / DIGITS;
    ck_assert_uint_le(n + pair, json_array_size(texts));
    for (size_t i = 0; i < n; i++) {
        const json_t *list[] = {json_array_get(texts, i), json_array_get(texts, i + 1)};
        struct bytes copy[2] = {copy_of(list[0]),
                                pair ? copy_of(list[1]) : (struct bytes){0}};
        struct text got = {0};
        struct err err = {0};
        char *about = json_dumps(list[0], JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
        ck_assert_msg(answer_encode(s->t, copy, pair, &got, &err) == ERR_OK, "%s: %s: %s",
                      s->name, about, err.msg);
        check(s, kind, i, &got, about);
        free(about);
        free((char *)copy[0].at);
        free((char *)copy[1].at);
        text_done(&got);
    }
}

static void check_ids(struct subject *s, const json_t *lists)
{
    json_int_t size = json_integer_value(json_object_get(s->want, "size"));
    ck_assert_int_gt(size, 0);
    for (size_t i = 0; i < json_array_size(lists); i++) {
        const json_t *list = json_array_get(lists, i);
        int32_t ids[MAX_IDS];
        size_t n = json_array_size(list);
        struct text got = {0};
        struct err err = {0};
        ck_assert_uint_le(n, MAX_IDS);
        for (size_t k = 0; k < n; k++)
            ids[k] = (int32_t)(json_integer_value(json_array_get(list, k)) % size);
        char *about = json_dumps(list, 0);
        ck_assert_msg(answer_ids(s->t, ids, n, &got, &err) == ERR_OK, "%s: %s: %s",
                      s->name, about, err.msg);
        check(s, "ids", i, &got, about);
        free(about);
        text_done(&got);
    }
}

/* From a folder beside this one, or from alone.json. */
static struct tokenizer *load(const char *name, const json_t *alone)
{
    char dir[PATH_MAX];
    struct tokenizer *t = NULL;
    struct err err = {0};
    const json_t *small = json_object_get(alone, name);
    char *json = small ? json_dumps(small, JSON_COMPACT) : NULL;
    snprintf(dir, sizeof dir, "tests/golden/tokenizers/%s", name);
    enum err_code code = json ? tokenizer_parse(json, strlen(json), &t, &err)
                              : tokenizer_load(dir, &t, &err);
    free(json);
    ck_assert_msg(code == ERR_OK, "%s: %s", name, err.msg);
    return t;
}

START_TEST(every_answer_is_the_library_s)
{
    json_t *texts = read_json(FOLDER "/texts.json");
    json_t *alone = read_json(FOLDER "/alone.json");
    json_t *sums = read_json(FOLDER "/sums.json"), *want;
    const json_t *list = json_object_get(texts, "texts");
    const char *name;
    ck_assert_uint_ge(json_array_size(list), 500);
    ck_assert_uint_ge(json_object_size(sums), 90);
    json_object_foreach(sums, name, want)
    {
        struct subject s = {name, load(name, alone), want, 0};
        check_texts(&s, list, false);
        check_texts(&s, list, true);
        check_ids(&s, json_object_get(texts, "ids"));
        ck_assert_msg(s.n >= 550, "%s: only %zu answers", name, s.n);
        tokenizer_free(s.t);
    }
    json_decref(texts);
    json_decref(alone);
    json_decref(sums);
}
END_TEST

/* A lone surrogate is no Unicode text: nothing that checks its input lets it through. */
START_TEST(lone_surrogates_are_refused)
{
    static const char high[] = "a\xed\xa0\x80z", low[] = "\xed\xbf\xbf";
    ck_assert_uint_eq(utf8_valid(high, sizeof high - 1), 1);
    ck_assert_uint_eq(utf8_valid(low, sizeof low - 1), 0);
    struct tokenizer *t = NULL;
    struct err err = {0};
    static const char json[] = "{\"version\":\"1.0\",\"model\":{\"type\":\"WordLevel\","
                               "\"vocab\":{\"\\ud800\":0},"
                               "\"unk_token\":\"?\"}}";
    ck_assert_int_eq(tokenizer_parse(json, sizeof json - 1, &t, &err), ERR_FORMAT);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {the_checksum_is_that_of_zlib,
                                  every_answer_is_the_library_s,
                                  lone_surrogates_are_refused, NULL};
    return suite_run("tokenizer parity", tests, 240);
}
