/* map_plan.c and capture.c: rows as they come, the numbers that were asked for. */
#include "server/api/capture.h"
#include "tests/suite.h"

#include <math.h>
#include <string.h>

enum { TOKENS = 4 };

struct setup {
    struct seq_info info;
    struct model model;
    struct seq_token at[TOKENS];
    struct seq_tokens tokens;
    struct attention_request ask;
    struct map_plan plan;
    struct capture c;
};

static struct setup make(size_t layers, size_t heads, size_t n)
{
    struct setup s = {
        .info = {.mask = SEQ_MASK_CAUSAL, .n_map_layers = layers, .n_map_heads = heads},
        .ask = {.decimals = 3}};
    for (size_t i = 0; i < n; i++)
        s.at[i] = (struct seq_token){.id = (int32_t)i, .word = (int32_t)i};
    s.tokens.n = n;
    return s;
}

static void start(struct setup *s)
{
    struct err err = {0};
    s->model.info = &s->info;
    s->tokens.at = s->at;
    ck_assert_msg(map_plan_init(&s->plan, &s->ask, &s->model, &s->tokens, &err) == ERR_OK,
                  "%s", err.msg);
    ck_assert_int_eq(capture_init(&s->c, &s->plan, &err), ERR_OK);
}

static void check_text(struct setup *s, const char *wanted)
{
    struct json_writer w = {0};
    struct err err = {0};
    ck_assert_int_eq(capture_finish(&s->c, &err), ERR_OK);
    capture_write_json(&s->c, &w);
    ck_assert_msg(w.buf.n == strlen(wanted) && memcmp(w.buf.at, wanted, w.buf.n) == 0,
                  "%.*s", (int)w.buf.n, w.buf.at);
    json_write_done(&w);
    capture_done(&s->c);
    map_plan_done(&s->plan);
}

/* Every row of every layer and head; weight 1 on the key that is `to` behind the first,
 * the rest on the first. */
static void feed(struct setup *s, size_t layer, float weight)
{
    for (size_t h = s->info.n_map_heads; h-- > 0;)
        for (size_t q = 0; q < s->tokens.n; q++) {
            float row[TOKENS] = {1 - weight};
            row[q] += weight;
            capture_row(&s->c, layer, h, q, q + 1, row);
        }
}

START_TEST(causal_rows_in_any_order_with_zeros_behind_them)
{
    struct setup s = make(1, 2, 2);
    const float a[] = {1}, b[] = {0.25f, 0.75f};
    start(&s);
    capture_row(&s.c, 0, 1, 1, 2, b);
    capture_row(&s.c, 0, 0, 0, 1, a);
    capture_row(&s.c, 0, 1, 0, 1, a);
    capture_row(&s.c, 0, 0, 1, 2, b);
    check_text(&s, "[[[[1,0],[0.25,0.75]],[[1,0],[0.25,0.75]]]]");
}
END_TEST

START_TEST(chosen_layers_heads_and_queries_come_in_the_order_asked)
{
    int64_t layers[] = {2, 0}, heads[] = {1, 0}, queries[] = {-1};
    struct setup s = make(3, 3, 2);
    s.ask.layers = (struct json_ints){.at = layers, .n = 2};
    s.ask.heads = (struct json_ints){.at = heads, .n = 2};
    s.ask.queries = (struct json_ints){.at = queries, .n = 1};
    start(&s);
    for (size_t l = 0; l < 3; l++)
        for (size_t h = 0; h < 3; h++)
            for (size_t q = 0; q < 2; q++) {
                float row[] = {(float)(l * 100 + h * 10 + q), 0};
                capture_row(&s.c, l, h, q, 2, row);
            }
    check_text(&s, "[[[[211,0]],[[201,0]]],[[[11,0]],[[1,0]]]]");
}
END_TEST

START_TEST(pairs_come_in_the_order_asked)
{
    int64_t pairs[] = {1, 0, 0, 2, 1, -1};
    struct setup s = make(2, 3, 2);
    s.ask.select = (struct json_ints){.at = pairs, .n = 6};
    s.ask.queries.last = true;
    start(&s);
    for (size_t l = 0; l < 2; l++)
        for (size_t h = 0; h < 3; h++) {
            float row[] = {(float)(l * 10 + h), 0};
            capture_row(&s.c, l, h, 1, 2, row);
        }
    check_text(&s, "[[[10,0]],[[2,0]],[[12,0]]]");
}
END_TEST

START_TEST(nothing_of_the_layer_before_stays)
{
    struct setup s = make(2, 1, 2);
    const float a[] = {0.5f, 0.5f}, b[] = {1};
    start(&s);
    for (size_t l = 0; l < 2; l++) {
        capture_row(&s.c, l, 0, 0, 1, b);
        capture_row(&s.c, l, 0, 1, l ? 1 : 2, l ? b : a);
    }
    check_text(&s, "[[[[1,0],[0.5,0.5]]],[[[1,0],[1,0]]]]");
}
END_TEST

START_TEST(scores_of_keys_not_seen_are_null)
{
    struct setup s = make(1, 1, 2);
    const float a[] = {-2.5f}, b[] = {-INFINITY, 0.5f};
    s.ask.kind = SEQ_MAP_SCORES;
    start(&s);
    capture_row(&s.c, 0, 0, 0, 1, a);
    capture_row(&s.c, 0, 0, 1, 2, b);
    check_text(&s, "[[[[-2.5,null],[null,0.5]]]]");
}
END_TEST

START_TEST(hops_of_a_pooling_map_are_its_rows)
{
    struct setup s = make(1, 2, 3);
    const float a[] = {0.5f, 0.5f, 0}, b[] = {0, 0, 1};
    s.info.mask = SEQ_MASK_POOLING;
    start(&s);
    capture_row(&s.c, 0, 0, 0, 3, a);
    capture_row(&s.c, 0, 1, 0, 3, b);
    check_text(&s, "[[0.5,0.5,0],[0,0,1]]");
}
END_TEST

START_TEST(means_of_heads_and_of_layers)
{
    struct setup s = make(2, 2, 2);
    s.ask.heads_by = MAPS_MEAN;
    s.ask.layers_by = LAYERS_MEAN;
    start(&s);
    feed(&s, 0, 0.5f);
    feed(&s, 1, 1);
    check_text(&s, "[[1,0],[0.25,0.75]]");
    s.ask.heads_by = MAPS_NONE;
    s.ask.layers_by = LAYERS_MAX;
    start(&s);
    feed(&s, 0, 0.5f);
    feed(&s, 1, 1);
    check_text(&s, "[[[1,0],[0.5,1]],[[1,0],[0.5,1]]]");
}
END_TEST

START_TEST(rollout_multiplies_from_below)
{
    struct setup s = make(2, 2, 2);
    s.ask.layers_by = LAYERS_ROLLOUT;
    start(&s);
    feed(&s, 0, 0.5f); /* row 1 with the identity: 0.25 0.75 */
    feed(&s, 1, 0);    /* 0.5 0.5 */
    check_text(&s, "[[1,0],[0.625,0.375]]");
}
END_TEST

START_TEST(special_tokens_leave_and_the_rest_is_divided)
{
    struct setup s = make(1, 1, 3);
    s.at[0].special = true;
    s.at[0].word = -1;
    s.ask.specials = SPECIALS_DROP;
    start(&s);
    feed(&s, 0, 0.25f);
    check_text(&s, "[[[[0.25,0],[0,0.25]]]]");
    s.ask.specials = SPECIALS_DROP_RENORMALIZE;
    start(&s);
    feed(&s, 0, 0.25f);
    check_text(&s, "[[[[1,0],[0,1]]]]");
    start(&s);
    feed(&s, 0, 0); /* all mass was on the special token */
    struct err err = {0};
    ck_assert_int_eq(capture_finish(&s.c, &err), ERR_OK);
    ck_assert(s.c.massless);
    check_text(&s, "[[[[0,0],[0,0]]]]");
}
END_TEST

START_TEST(words_are_rows_and_keys_and_queries_count_them)
{
    struct setup s = make(1, 1, 4);
    struct err err = {0};
    ck_assert_int_eq(
        seq_model_load("tests/fixtures/models/tiny-bert", NULL, &s.model.seq, &err),
        ERR_OK);
    s.at[0].special = true;
    s.at[0].word = -1;
    s.at[2].word = s.at[1].word;
    s.ask.tokens_by = 1;
    s.ask.queries.last = true;
    start(&s);
    ck_assert_uint_eq(s.plan.n_units, 3);
    feed(&s, 0, 0.5f);
    check_text(&s, "[[[[0.5,0,0.5]]]]");
    s.ask.queries.last = false;
    start(&s);
    feed(&s, 0, 0.5f);
    check_text(&s, "[[[[1,0,0],[0.5,0.5,0],[0.5,0,0.5]]]]");
    seq_model_unref(s.model.seq);
}
END_TEST

START_TEST(the_largest_of_each_row_and_what_they_leave)
{
    struct setup s = make(1, 1, 3);
    struct err err = {0};
    s.ask.top_k = 1;
    start(&s);
    feed(&s, 0, 0.75f);
    ck_assert_int_eq(capture_finish(&s.c, &err), ERR_OK);
    ck_assert_uint_eq(s.c.top.n_rows, 3);
    for (int32_t r = 0; r < 3; r++) {
        ck_assert_int_eq(s.c.top.index[r], r);
        ck_assert_float_eq(s.c.top.value[r], r ? 0.75f : 1);
        ck_assert_float_eq(s.c.top.rest[r], r ? 0.25f : 0);
    }
    capture_done(&s.c);
    map_plan_done(&s.plan);
}
END_TEST

/* Of the dense maps what is large enough, largest first, and what the others sum to. */
START_TEST(weights_below_the_least_are_left_out)
{
    static const float rows[4][TOKENS] = {
        {1}, {0.5f, 0.5f}, {0.125f, 0.25f, 0.625f}, {0.25f, 0.0625f, 0.25f, 0.4375f}};
    static const int32_t index[] = {0, 0, 1, 2, 1, 3, 0, 2};
    static const float value[] = {1, 0.5f, 0.5f, 0.625f, 0.25f, 0.4375f, 0.25f, 0.25f};
    static const float rest[] = {0, 0, 0.125f, 0.0625f};
    static const int64_t starts[] = {0, 1, 3, 5, 8};
    int64_t layers[] = {1, 0};
    struct setup s = make(2, 1, 4);
    struct err err = {0};
    s.ask.min_weight = 0.25;
    s.ask.layers = (struct json_ints){.at = layers, .n = 2};
    start(&s);
    ck_assert_uint_eq(s.plan.top_k, 4);
    ck_assert_uint_eq(s.plan.axes[3].n, 4);
    for (size_t q = 0; q < 4; q++) /* of layer 0 all on the token itself */
        capture_row(&s.c, 0, 0, q, q + 1,
                    (float[TOKENS]){q == 0, q == 1, q == 2, q == 3});
    for (size_t q = 0; q < 4; q++)
        capture_row(&s.c, 1, 0, q, q + 1, rows[q]);
    ck_assert_int_eq(capture_finish(&s.c, &err), ERR_OK);
    const struct map_sparse *top = &s.c.top;
    ck_assert_uint_eq(top->n, 8 + 4);
    ck_assert_mem_eq(top->index, index, sizeof index);
    ck_assert_mem_eq(top->value, value, sizeof value);
    ck_assert_mem_eq(top->rest, rest, sizeof rest);
    ck_assert_mem_eq(top->start, starts, sizeof starts);
    for (int32_t q = 0; q < 4; q++) {
        ck_assert_int_eq(top->index[8 + q], q);
        ck_assert_int_eq(top->start[5 + q], 9 + q);
    }
    ck_assert_uint_eq(capture_values(&s.c), 2 * 12 + 8 + 9);
    capture_done(&s.c);
    map_plan_done(&s.plan);
}
END_TEST

START_TEST(weights_that_are_no_numbers_are_a_fault_of_ours)
{
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < 6; i++) {
        struct setup s = make(1, 1, 2);
        struct err err = {0};
        const float a[] = {0.5f, bad[i % 3]};
        s.ask.kind = i < 3 ? SEQ_MAP_WEIGHTS : SEQ_MAP_SCORES;
        start(&s);
        capture_row(&s.c, 0, 0, 1, 2, a);
        bool fine = i == 5; /* a score of -infinity: not seen */
        ck_assert_int_eq(capture_finish(&s.c, &err), fine ? ERR_OK : ERR_BUG);
        capture_done(&s.c);
        map_plan_done(&s.plan);
    }
}
END_TEST

/* What is in memory while a pass runs is what the plan says: heads of one layer. */
START_TEST(memory_does_not_grow_with_the_layers)
{
    struct setup few = make(2, 3, 4), many = make(48, 3, 4);
    start(&few);
    start(&many);
    ck_assert_uint_eq(map_plan_floats(&few.plan), map_plan_floats(&many.plan));
    ck_assert_uint_eq(map_plan_floats(&few.plan), (3 + 2) * 4 * 4);
    ck_assert_uint_eq(map_plan_values(&many.plan), 48 * 3 * 4 * 4);
    capture_done(&few.c);
    capture_done(&many.c);
    map_plan_done(&few.plan);
    map_plan_done(&many.plan);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {causal_rows_in_any_order_with_zeros_behind_them,
                                  chosen_layers_heads_and_queries_come_in_the_order_asked,
                                  pairs_come_in_the_order_asked,
                                  nothing_of_the_layer_before_stays,
                                  scores_of_keys_not_seen_are_null,
                                  hops_of_a_pooling_map_are_its_rows,
                                  means_of_heads_and_of_layers,
                                  rollout_multiplies_from_below,
                                  special_tokens_leave_and_the_rest_is_divided,
                                  words_are_rows_and_keys_and_queries_count_them,
                                  the_largest_of_each_row_and_what_they_leave,
                                  weights_below_the_least_are_left_out,
                                  weights_that_are_no_numbers_are_a_fault_of_ours,
                                  memory_does_not_grow_with_the_layers,
                                  NULL};
    return suite_run("api_capture", tests, 30);
}
