/* capture.c: rows as they come, JSON as it was asked for. */
#include "server/api/capture.h"
#include "tests/suite.h"

#include <math.h>
#include <string.h>

struct setup {
    struct selection layers, heads, queries;
    struct capture c;
};

static void choose(struct selection *s, int64_t *list, size_t n, size_t total)
{
    struct err err = {0};
    const struct json_ints wanted = {.at = n ? list : NULL, .n = n};
    ck_assert_int_eq(selection_init(s, "x", &wanted, total, &err), ERR_OK);
}

static void start(struct setup *s, size_t n_keys)
{
    struct err err = {0};
    ck_assert_int_eq(
        capture_init(&s->c, &s->layers, &s->heads, &s->queries, n_keys, &err), ERR_OK);
    s->c.decimals = 3;
}

static void check_text(struct setup *s, const char *wanted)
{
    struct json_writer w = {0};
    struct err err = {0};
    ck_assert_int_eq(capture_write(&s->c, &w, &err), ERR_OK);
    ck_assert_msg(w.buf.n == strlen(wanted) && memcmp(w.buf.at, wanted, w.buf.n) == 0,
                  "%.*s", (int)w.buf.n, w.buf.at);
    json_write_done(&w);
}

static void stop(struct setup *s)
{
    capture_done(&s->c);
    selection_done(&s->layers);
    selection_done(&s->heads);
    selection_done(&s->queries);
}

START_TEST(causal_rows_in_any_order_with_zeros_behind_them)
{
    struct setup s;
    const float a[] = {1}, b[] = {0.25f, 0.75f};
    choose(&s.layers, NULL, 0, 1);
    choose(&s.heads, NULL, 0, 2);
    choose(&s.queries, NULL, 0, 2);
    start(&s, 2);
    capture_row(&s.c, 0, 1, 1, 2, b);
    capture_row(&s.c, 0, 0, 0, 1, a);
    capture_row(&s.c, 0, 1, 0, 1, a);
    capture_row(&s.c, 0, 0, 1, 2, b);
    check_text(&s, "[[[[1,0],[0.25,0.75]],[[1,0],[0.25,0.75]]]]");
    stop(&s);
}
END_TEST

START_TEST(chosen_layers_heads_and_queries_come_in_the_order_asked)
{
    struct setup s;
    int64_t layers[] = {2, 0}, heads[] = {1, 0}, queries[] = {-1};
    choose(&s.layers, layers, 2, 3);
    choose(&s.heads, heads, 2, 3);
    choose(&s.queries, queries, 1, 2);
    start(&s, 2);
    for (size_t l = 0; l < 3; l++)
        for (size_t h = 0; h < 3; h++)
            for (size_t q = 0; q < 2; q++) {
                float row[] = {(float)(l * 100 + h * 10 + q), 0};
                capture_row(&s.c, l, h, q, 2, row);
            }
    check_text(&s, "[[[[211,0]],[[201,0]]],[[[11,0]],[[1,0]]]]");
    stop(&s);
}
END_TEST

START_TEST(nothing_of_the_layer_before_stays)
{
    struct setup s;
    const float a[] = {0.5f, 0.5f}, b[] = {1};
    choose(&s.layers, NULL, 0, 2);
    choose(&s.heads, NULL, 0, 1);
    choose(&s.queries, NULL, 0, 1);
    start(&s, 2);
    capture_row(&s.c, 0, 0, 0, 2, a);
    capture_row(&s.c, 1, 0, 0, 1, b);
    check_text(&s, "[[[[0.5,0.5]]],[[[1,0]]]]");
    stop(&s);
}
END_TEST

START_TEST(hops_of_a_pooling_map_are_its_rows)
{
    struct setup s;
    const float a[] = {0.5f, 0.5f, 0}, b[] = {0, 0, 1};
    choose(&s.layers, NULL, 0, 1);
    choose(&s.heads, NULL, 0, 2);
    choose(&s.queries, NULL, 0, 1);
    start(&s, 3);
    s.c.pooling = true;
    capture_row(&s.c, 0, 0, 0, 3, a);
    capture_row(&s.c, 0, 1, 0, 3, b);
    check_text(&s, "[[0.5,0.5,0],[0,0,1]]");
    stop(&s);
}
END_TEST

START_TEST(weights_that_are_no_numbers_are_a_fault_of_ours)
{
    struct setup s;
    struct json_writer w = {0};
    struct err err = {0};
    const float a[] = {0.5f, NAN};
    choose(&s.layers, NULL, 0, 1);
    choose(&s.heads, NULL, 0, 1);
    choose(&s.queries, NULL, 0, 1);
    start(&s, 2);
    capture_row(&s.c, 0, 0, 0, 2, a);
    ck_assert_int_eq(capture_write(&s.c, &w, &err), ERR_BUG);
    json_write_done(&w);
    stop(&s);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {causal_rows_in_any_order_with_zeros_behind_them,
                                  chosen_layers_heads_and_queries_come_in_the_order_asked,
                                  nothing_of_the_layer_before_stays,
                                  hops_of_a_pooling_map_are_its_rows,
                                  weights_that_are_no_numbers_are_a_fault_of_ours,
                                  NULL};
    return suite_run("api_capture", tests, 30);
}
