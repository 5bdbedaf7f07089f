/* selection.c: which layers, heads and queries a request means. */
#include "server/api/selection.h"
#include "tests/suite.h"

#include <string.h>

static int64_t LIST[] = {2, -4, 1};

START_TEST(nothing_given_means_all)
{
    struct selection s;
    struct err err = {0};
    const struct json_ints none = {0}, all = {.all = true};
    ck_assert_int_eq(selection_init(&s, "layers", &none, 3, &err), ERR_OK);
    ck_assert_uint_eq(s.n, 3);
    ck_assert_uint_eq(s.at[2], 2);
    selection_done(&s);
    ck_assert_int_eq(selection_init(&s, "layers", &all, 3, &err), ERR_OK);
    ck_assert_uint_eq(s.n, 3);
    ck_assert_int_eq(s.place[1], 1);
    selection_done(&s);
}
END_TEST

START_TEST(last_means_one)
{
    struct selection s;
    struct err err = {0};
    const struct json_ints last = {.last = true};
    ck_assert_int_eq(selection_init(&s, "queries", &last, 7, &err), ERR_OK);
    ck_assert_uint_eq(s.n, 1);
    ck_assert_uint_eq(s.at[0], 6);
    ck_assert_int_eq(s.place[6], 0);
    ck_assert_int_eq(s.place[5], SELECTION_NONE);
    selection_done(&s);
}
END_TEST

START_TEST(a_list_keeps_its_order_and_counts_from_the_end)
{
    struct selection s;
    struct err err = {0};
    const struct json_ints list = {.at = LIST, .n = 3};
    ck_assert_int_eq(selection_init(&s, "heads", &list, 4, &err), ERR_OK);
    ck_assert_uint_eq(s.n, 3);
    ck_assert_uint_eq(s.at[0], 2);
    ck_assert_uint_eq(s.at[1], 0);
    ck_assert_uint_eq(s.at[2], 1);
    ck_assert_int_eq(s.place[0], 1);
    ck_assert_int_eq(s.place[3], SELECTION_NONE);
    selection_done(&s);
}
END_TEST

static void check_refused(int64_t a, int64_t b, size_t total, const char *param)
{
    struct selection s;
    struct err err = {0};
    int64_t list[] = {a, b};
    const struct json_ints wanted = {.at = list, .n = 2};
    ck_assert_int_eq(selection_init(&s, "heads", &wanted, total, &err), ERR_INPUT);
    ck_assert_str_eq(err.param, param);
    ck_assert_ptr_null(s.at);
}

START_TEST(refuses_what_is_not_there_and_what_is_there_twice)
{
    check_refused(0, 4, 4, "heads[1]");
    check_refused(-5, 0, 4, "heads[0]");
    check_refused(3, -1, 4, "heads[1]");
    check_refused(INT64_MIN, 0, 4, "heads[0]");
    check_refused(0, INT64_MAX, 4, "heads[1]");
    check_refused(0, 1, 0, "heads[0]");
}
END_TEST

enum { NAME = 8 };

static enum err_code choose_names(struct selection *s, char (*wanted)[NAME], size_t n,
                                  struct err *err)
{
    static const char *const names[] = {"i", "f", "tanh_c"};
    struct json_text text[4];
    for (size_t i = 0; i < n; i++)
        text[i] = (struct json_text){wanted[i], strlen(wanted[i])};
    const struct json_texts texts = {.at = n ? text : NULL, .n = n};
    return selection_names(s, "signals", &texts, names, 3, err);
}

START_TEST(names_are_chosen_like_indexes)
{
    static char two[][NAME] = {"tanh_c", "i"}, all[][NAME] = {"all"};
    struct selection s;
    struct err err = {0};
    ck_assert_int_eq(choose_names(&s, two, 2, &err), ERR_OK);
    ck_assert_uint_eq(s.n, 2);
    ck_assert_uint_eq(s.at[0], 2);
    ck_assert_uint_eq(s.at[1], 0);
    ck_assert_int_eq(s.place[1], SELECTION_NONE);
    selection_done(&s);
    for (size_t n = 0; n < 2; n++) { /* not given, and the word for it */
        ck_assert_int_eq(choose_names(&s, all, n, &err), ERR_OK);
        ck_assert_uint_eq(s.n, 3);
        ck_assert_uint_eq(s.at[2], 2);
        selection_done(&s);
    }
}
END_TEST

START_TEST(refuses_names_that_are_not_there_or_there_twice)
{
    static char bad[][2][NAME] = {
        {"i", "x"}, {"f", "f"}, {"i", "all"}, {"tanh", "i"}, {"", "i"}};
    for (size_t i = 0; i < 5; i++) {
        struct selection s;
        struct err err = {0};
        ck_assert_int_eq(choose_names(&s, bad[i], 2, &err), ERR_INPUT);
        ck_assert_str_eq(err.param, "signals");
        ck_assert_ptr_null(s.at);
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {nothing_given_means_all,
                                  last_means_one,
                                  a_list_keeps_its_order_and_counts_from_the_end,
                                  refuses_what_is_not_there_and_what_is_there_twice,
                                  names_are_chosen_like_indexes,
                                  refuses_names_that_are_not_there_or_there_twice,
                                  NULL};
    return suite_run("api_selection", tests, 30);
}
