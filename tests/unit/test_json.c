/* json: trees that are safe to walk, and messages that name key and both sides. */
#include "model/load/json.h"
#include "tests/suite.h"
#include "tests/unit/fixture.h"

static const struct json_limits LIMITS = {.max_depth = 4, .max_values = 20};

static json_t *parse(const char *text)
{
    json_t *root = NULL;
    struct err err = {0};
    ck_assert_msg(json_read_text("x.json", text, strlen(text), &LIMITS, &root, &err) ==
                      ERR_OK,
                  "%s: %s", text, err.msg);
    return root;
}

START_TEST(broken_texts_are_refused)
{
    static const struct {
        const char *text;
        enum err_code code;
        const char *msg;
    } rows[] = {
        {"", ERR_FORMAT,
         "x.json: line 1, column 0: '[' or '{' expected near end of file"},
        {"[1]", ERR_FORMAT, "x.json: want an object, found a list"},
        {"3", ERR_FORMAT, "x.json: line 1, column 1: '[' or '{' expected near '3'"},
        {"\xef\xbb\xbf{}", ERR_FORMAT, NULL},
        {"{} {}", ERR_FORMAT, "x.json: line 1, column 4: end of file expected near '{'"},
        {"{\"a\":1,}", ERR_FORMAT,
         "x.json: line 1, column 8: string or '}' expected near '}'"},
        {"{\"a\":1,\"a\":1}", ERR_FORMAT,
         "x.json: line 1, column 10: duplicate object key near '\"a\"'"},
        {"{\"a\\u0000\":1}", ERR_FORMAT,
         "x.json: line 1, column 10: NUL byte in object key not supported near "
         "'\"a\\u0000\"'"},
        {"{\"a\":\"\\u0000\"}", ERR_FORMAT,
         "x.json: line 1, column 13: \\u0000 is not allowed without JSON_ALLOW_NUL near "
         "'\"\\u0000\"'"},
        {"{\"a\":\"\\ud800\"}", ERR_FORMAT, NULL},
        {"{\"a\":\"\xff\"}", ERR_FORMAT, "x.json: invalid UTF-8 at byte 6"},
        {"{\"a\":[[[[1]]]]}", ERR_LIMIT, "x.json: JSON is nested deeper than 4 levels"},
        {"{\"a\":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18]}", ERR_LIMIT,
         "x.json: JSON holds more than 20 values"},
        {"{\"a\":123456789012345678901}", ERR_FORMAT, NULL},
        {"{\"a\":1e999}", ERR_FORMAT, NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        json_t *root = NULL;
        struct err err = {0};
        size_t n = strlen(rows[i].text);
        char *text = malloc(n ? n : 1); /* exactly n bytes, for the address sanitizer */
        memcpy(text, rows[i].text, n);
        ck_assert_int_eq(json_read_text("x.json", text, n, &LIMITS, &root, &err),
                         rows[i].code);
        free(text);
        ck_assert_ptr_null(root);
        ck_assert_int_eq(strncmp(err.msg, "x.json: ", 8), 0);
        if (rows[i].msg)
            ck_assert_str_eq(err.msg, rows[i].msg);
    }
}
END_TEST

START_TEST(values_are_shown_in_a_few_words)
{
    char buf[JSON_SHOW_BYTES];
    json_t *root =
        parse("{\"s\":\"gelu\",\"i\":-12,\"r\":0.5,\"n\":null,\"t\":true,\"l\":[],"
              "\"o\":{},\"long\":\"0123456789012345678901234567890123456789"
              "01234567tail\"}");
    static const char *const rows[][2] = {
        {"s", "\"gelu\""},
        {"i", "-12"},
        {"r", "0.5"},
        {"n", "null"},
        {"t", "true"},
        {"l", "a list"},
        {"o", "an object"},
        {"gone", "nothing"},
        {"long", "\"012345678901234567890123456789012345678901234567...\""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        ck_assert_str_eq(json_read_show(json_object_get(root, rows[i][0]), buf),
                         rows[i][1]);
    json_decref(root);
}
END_TEST

START_TEST(values_of_the_right_kind_are_read)
{
    json_t *root =
        parse("{\"s\":\"b\",\"i\":7,\"r\":1e-12,\"f\":false,\"l\":[1],\"o\":{}}");
    static const char *const names[] = {"a", "b"};
    struct err err = {0};
    json_t *v = NULL;
    const char *s = NULL;
    bool b = true;
    int64_t i = 0;
    double d = 0;
    size_t which = 9;
    ck_assert_int_eq(json_read_object(root, "x", "o", &v, &err), ERR_OK);
    ck_assert(json_is_object(v));
    ck_assert_int_eq(json_read_array(root, "x", "l", &v, &err), ERR_OK);
    ck_assert(json_is_array(v));
    ck_assert_int_eq(json_read_string(root, "x", "s", &s, &err), ERR_OK);
    ck_assert_str_eq(s, "b");
    ck_assert_int_eq(json_read_choice(root, "x", "s", names, 2, &which, &err), ERR_OK);
    ck_assert_uint_eq(which, 1);
    ck_assert_int_eq(json_read_bool(root, "x", "f", &b, &err), ERR_OK);
    ck_assert(!b);
    ck_assert_int_eq(
        json_read_integer(root, "x", "i", (struct json_range){7, 7}, &i, &err), ERR_OK);
    ck_assert_int_eq(i, 7);
    ck_assert_int_eq(json_read_real(root, "x", "r", (struct json_reals){0, 1}, &d, &err),
                     ERR_OK);
    ck_assert(d == 1e-12);
    ck_assert_int_eq(json_read_real(root, "x", "i", (struct json_reals){0, 10}, &d, &err),
                     ERR_OK);
    ck_assert(d == 7);
    json_decref(root);
}
END_TEST

START_TEST(values_of_the_wrong_kind_are_refused)
{
    json_t *root = parse("{\"s\":\"c\",\"i\":8,\"r\":3.0,\"n\":null}");
    static const char *const names[] = {"a", "b"};
    json_t *v = NULL;
    const char *s = NULL;
    bool b = false;
    int64_t i = 0;
    double d = 0;
    size_t which = 0;
    struct err e[10] = {{0}};
    struct json_range range = {1, 7};
    ck_assert_int_eq(json_read_object(root, "x", "s", &v, &e[0]), ERR_FORMAT);
    ck_assert_str_eq(e[0].msg, "x: s: want an object, found \"c\"");
    ck_assert_int_eq(json_read_array(root, "x", "i", &v, &e[1]), ERR_FORMAT);
    ck_assert_str_eq(e[1].msg, "x: i: want a list, found 8");
    ck_assert_int_eq(json_read_string(root, "x", "n", &s, &e[2]), ERR_FORMAT);
    ck_assert_str_eq(e[2].msg, "x: n: want a string, found null");
    ck_assert_int_eq(json_read_bool(root, "x", "gone", &b, &e[3]), ERR_FORMAT);
    ck_assert_str_eq(e[3].msg, "x: gone is missing");
    ck_assert_int_eq(json_read_integer(root, "x", "i", range, &i, &e[4]), ERR_FORMAT);
    ck_assert_str_eq(e[4].msg, "x: i: want an integer 1 to 7, found 8");
    ck_assert_int_eq(json_read_integer(root, "x", "r", range, &i, &e[5]), ERR_FORMAT);
    ck_assert_str_eq(e[5].msg, "x: r: want an integer 1 to 7, found 3");
    ck_assert_int_eq(json_read_real(root, "x", "r", (struct json_reals){0, 1}, &d, &e[6]),
                     ERR_FORMAT);
    ck_assert_str_eq(e[6].msg, "x: r: want a number 0 to 1, found 3");
    e[6].code = ERR_OK;
    ck_assert_int_eq(json_read_real(root, "x", "r", (struct json_reals){4, 5}, &d, &e[6]),
                     ERR_FORMAT);
    ck_assert_str_eq(e[6].msg, "x: r: want a number 4 to 5, found 3");
    ck_assert_int_eq(json_read_real(root, "x", "s", (struct json_reals){0, 1}, &d, &e[7]),
                     ERR_FORMAT);
    ck_assert_str_eq(e[7].msg, "x: s: want a number 0 to 1, found \"c\"");
    ck_assert_int_eq(json_read_choice(root, "x", "s", names, 2, &which, &e[8]),
                     ERR_UNSUPPORTED);
    ck_assert_str_eq(e[8].msg, "x: s: \"c\" is not served; served: a, b");
    ck_assert_int_eq(json_read_choice(root, "x", "i", names, 2, &which, &e[9]),
                     ERR_FORMAT);
    ck_assert_str_eq(e[9].msg, "x: i: want a string, found 8");
    json_decref(root);
}
END_TEST

START_TEST(unknown_keys_are_named_unless_null)
{
    static const char *const known[] = {"a", "b"};
    struct err err = {0};
    json_t *root = parse("{\"a\":1,\"z\":null}");
    ck_assert_int_eq(json_read_known(root, "x", known, 2, &err), ERR_OK);
    ck_assert(!json_read_has(root, "z"));
    ck_assert(json_read_has(root, "a"));
    json_decref(root);
    root = parse("{\"a\":1,\"z\":false}");
    ck_assert_int_eq(json_read_known(root, "x", known, 2, &err), ERR_UNSUPPORTED);
    ck_assert_str_eq(err.msg,
                     "x: key \"z\" is not known here and might change the answer");
    json_decref(root);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        broken_texts_are_refused,           values_are_shown_in_a_few_words,
        values_of_the_right_kind_are_read,  values_of_the_wrong_kind_are_refused,
        unknown_keys_are_named_unless_null, NULL,
    };
    return suite_run("json", tests, 30);
}
