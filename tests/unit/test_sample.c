/* Sampling from rows of logits: against plain definitions with a sort, the draws against
 * the shares by chi-squared (fixed seeds: the same result every time), hostile rows and
 * values. What transformers keeps is compared in tests/golden/test_generation.c. */
#include "model/tasks/sample.h"
#include "tests/suite.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { V_MAX = 5000 };

static uint64_t state = 88172645463325252u;

static size_t below(size_t n)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (size_t)(state >> 33) % n;
}

static double uniform(void)
{
    return (double)below(1 << 20) / (1 << 20);
}

static int32_t id_list[V_MAX];
static float logit_list[V_MAX], weight_list[V_MAX];

static struct sample_kept keep(const struct seq_sampling *how, size_t V, float *row)
{
    struct sample_kept kept = {.id = id_list, .logit = logit_list, .weight = weight_list};
    struct sampler s;
    struct err err = {0};
    ck_assert_msg(sampler_init(&s, how, V, 0, &err) == ERR_OK, "%s", err.msg);
    sampler_keep(&s, kernels_get("ref"), V, row, &kept);
    sampler_done(&s);
    return kept;
}

/* ---- random numbers -------------------------------------------------------------- */

/* The known answers that come with the authors' library Random123. */
START_TEST(philox_gives_its_known_answers)
{
    static const struct {
        uint32_t counter[4], key[2], want[4];
    } answers[] = {
        {{0}, {0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        uint32_t out[4];
        sample_philox(answers[i].counter, answers[i].key, out);
        ck_assert_mem_eq(out, answers[i].want, sizeof out);
    }
}
END_TEST

START_TEST(random_numbers_lie_between_0_and_1_and_differ)
{
    double sum = 0;
    for (uint64_t i = 0; i < 10000; i++) {
        double u = sample_random(7, i);
        ck_assert(u >= 0 && u < 1);
        ck_assert(u != sample_random(8, i) && u != sample_random(7, i + 1));
        ck_assert(u == sample_random(7, i));
        sum += u;
    }
    ck_assert_double_eq_tol(sum / 10000, 0.5, 0.01);
    ck_assert(sample_random(1, 0) != sample_random(UINT64_C(1) << 32, 0));
    ck_assert(sample_random(1, 1) != sample_random(1, UINT64_C(1) << 32 | 1));
}
END_TEST

/* ---- what is kept, by definition ------------------------------------------------- */

static const float *sorted_row;

/* Larger logits first, ties by the lower id. */
static int larger_first(const void *a, const void *b)
{
    int32_t i = *(const int32_t *)a, j = *(const int32_t *)b;
    if (sorted_row[i] != sorted_row[j])
        return sorted_row[i] > sorted_row[j] ? -1 : 1;
    return i < j ? -1 : 1;
}

/* The ids kept, most probable first; weights by the kernels, so that sums differ by their
 * order only. */
static size_t by_sorting(const struct seq_sampling *how, size_t V, const float *row,
                         int32_t *ids)
{
    static float weight[V_MAX];
    double all = 0, upto = 0;
    size_t n = 0, kept = 0;
    sorted_row = row;
    for (size_t i = 0; i < V; i++)
        ids[i] = (int32_t)i;
    qsort(ids, V, sizeof *ids, larger_first);
    while (n < V &&
           (how->top_k == 0 || n < how->top_k || row[ids[n]] == row[ids[how->top_k - 1]]))
        n++;
    for (size_t i = 0; i < n; i++)
        weight[i] =
            (float)(((double)row[ids[i]] - (double)row[ids[0]]) / how->temperature);
    kernels_get("ref")->exp(n, weight);
    for (size_t i = 0; i < n; i++)
        all += weight[i];
    double enough = how->top_p == 0 ? INFINITY : how->top_p * all;
    while (kept < n && upto < enough && weight[kept] >= how->min_p && weight[kept] > 0)
        upto += weight[kept++];
    return kept;
}

static int ascending(const void *a, const void *b)
{
    return *(const int32_t *)a < *(const int32_t *)b ? -1 : 1;
}

static void fill_row(float *row, size_t V)
{
    float wide = (float)(0.01 + 20 * uniform() * uniform());
    size_t kind = below(4);
    for (size_t i = 0; i < V; i++) {
        row[i] = wide * (float)(uniform() + uniform() + uniform() - 1.5);
        if (kind == 1)
            row[i] = roundf(row[i]); /* many ties, 0 and -0 among them */
        if (kind == 2 && below(3) == 0)
            row[i] = -INFINITY;
    }
    row[below(V)] = 0; /* something is possible */
}

START_TEST(what_is_kept_is_what_a_sort_would_keep)
{
    static float row[V_MAX];
    static int32_t want[V_MAX];
    static const double shares[] = {0, 0, 1e-9, 0.1, 0.5, 0.9, 0.99, 0.9999};
    for (size_t round = 0; round < 600; round++) {
        size_t V = 1 + below(round % 20 == 0 ? V_MAX : 300);
        struct seq_sampling how = {.temperature = 0.05 + 3 * uniform(),
                                   .top_k = below(2) ? below(V + 2) : 0,
                                   .top_p = shares[below(8)],
                                   .min_p = below(2) ? uniform() * uniform() : 0};
        fill_row(row, V);
        size_t n = by_sorting(&how, V, row, want);
        struct sample_kept kept = keep(&how, V, row);
        qsort(want, n, sizeof *want, ascending);
        ck_assert_uint_eq(kept.n, n);
        ck_assert_mem_eq(kept.id, want, n * sizeof *want);
        for (size_t i = 0; i < n; i++)
            ck_assert(kept.logit[i] == row[kept.id[i]] && kept.weight[i] > 0);
    }
}
END_TEST

/* 4,000 tokens alike: half of them are kept, the lower ids. */
START_TEST(a_nucleus_of_equal_tokens_takes_the_lower_ids)
{
    static float row[V_MAX];
    struct seq_sampling how = {.temperature = 1, .top_p = 0.5};
    for (size_t i = 0; i < 4000; i++)
        row[i] = -3.25f;
    struct sample_kept kept = keep(&how, 4000, row);
    ck_assert_uint_eq(kept.n, 2000);
    for (size_t i = 0; i < kept.n; i++)
        ck_assert_int_eq(kept.id[i], (int32_t)i);
}
END_TEST

START_TEST(ties_go_to_the_lower_id_without_temperature)
{
    float row[] = {-1, 2, -INFINITY, 2, 2, 1};
    struct seq_sampling how = {.top_k = 3, .top_p = 0.1};
    struct sample_kept kept = keep(&how, 6, row);
    ck_assert_uint_eq(kept.n, 1);
    ck_assert_int_eq(kept.id[0], 1);
    row[1] = -0.0f;
    row[3] = row[4] = row[5] = 0;
    kept = keep(&how, 6, row);
    ck_assert_int_eq(kept.id[0], 1);
}
END_TEST

/* ---- draws ----------------------------------------------------------------------- */

enum { DRAWS = 200000 };

/* Chi-squared of the draws, in standard deviations from its mean: sqrt(2 X) - sqrt(2 k -
 * 1) is about normal (Fisher). Tokens expected less than ten times are one class. */
static double deviation(const struct sample_kept *kept, uint64_t seed)
{
    static size_t count[V_MAX];
    double all = 0, chi = 0, rare = 0, rare_count = 0;
    size_t classes = 0, total = 0;
    memset(count, 0, sizeof count);
    for (size_t i = 0; i < kept->n; i++)
        all += kept->weight[i];
    for (uint64_t step = 0; step < DRAWS; step++)
        count[sample_draw(kept, seed, step)]++;
    for (size_t i = 0; i < kept->n; i++) {
        double want = kept->weight[i] / all * DRAWS, got = (double)count[kept->id[i]];
        total += count[kept->id[i]];
        if (want < 10) {
            rare += want;
            rare_count += got;
            continue;
        }
        chi += (got - want) * (got - want) / want;
        classes++;
    }
    if (rare >= 10) {
        chi += (rare_count - rare) * (rare_count - rare) / rare;
        classes++;
    }
    ck_assert_uint_eq(total, DRAWS); /* nothing else was drawn */
    ck_assert_uint_ge(classes, 2);
    return sqrt(2 * chi) - sqrt(2 * (double)(classes - 1) - 1);
}

START_TEST(draws_follow_the_shares)
{
    static float row[V_MAX];
    static const struct seq_sampling hows[] = {
        {.temperature = 1},
        {.temperature = 0.6},
        {.temperature = 2.5, .top_k = 12},
        {.temperature = 1, .top_p = 0.8},
        {.temperature = 1.4, .min_p = 0.02},
        {.temperature = 0.9, .top_k = 40, .top_p = 0.95, .min_p = 0.01}};
    for (size_t i = 0; i < sizeof hows / sizeof *hows; i++)
        for (uint64_t seed = 0; seed < 3; seed++) {
            size_t V = 30 + below(100);
            for (size_t id = 0; id < V; id++)
                row[id] = (float)(4 * (uniform() + uniform() - 1));
            struct sample_kept kept = keep(&hows[i], V, row);
            double far = deviation(&kept, seed);
            ck_assert_msg(fabs(far) < 3.3, "how %zu, seed %zu: %g", i, (size_t)seed, far);
        }
}
END_TEST

/* The test above would see a share that is wrong by a twentieth. */
START_TEST(chi_squared_sees_a_wrong_share)
{
    float weight[] = {1, 1, 1, 1, 1}, wrong[] = {1.05f, 1, 1, 1, 1};
    int32_t ids[] = {0, 1, 2, 3, 4};
    struct sample_kept kept = {.n = 5, .id = ids, .weight = weight};
    static size_t count[5];
    double chi = 0;
    for (uint64_t step = 0; step < DRAWS; step++)
        count[sample_draw(&kept, 5, step)]++;
    for (size_t i = 0; i < 5; i++) {
        double want = wrong[i] / 5.05 * DRAWS, got = (double)count[i];
        chi += (got - want) * (got - want) / want;
    }
    ck_assert(sqrt(2 * chi) - sqrt(2 * 4.0 - 1) > 3.3);
}
END_TEST

START_TEST(seeds_beside_each_other_draw_independently)
{
    float weight[] = {1, 1, 1, 1};
    int32_t ids[] = {0, 1, 2, 3};
    struct sample_kept kept = {.n = 4, .id = ids, .weight = weight};
    static size_t both[4][4];
    double chi = 0, want = DRAWS / 16.0;
    for (uint64_t i = 0; i < DRAWS; i++)
        both[sample_draw(&kept, i, 3)][sample_draw(&kept, i + 1, 3)]++;
    for (size_t i = 0; i < 4; i++)
        for (size_t j = 0; j < 4; j++) {
            double far = (double)both[i][j] - want;
            chi += far * far / want;
        }
    ck_assert(sqrt(2 * chi) - sqrt(2 * 15.0 - 1) < 3.3);
}
END_TEST

/* ---- hostile rows and values ----------------------------------------------------- */

START_TEST(numbers_that_are_none_are_never_chosen)
{
    static const struct seq_sampling hows[] = {
        {.temperature = 0},
        {.temperature = 1},
        {.temperature = 4.9e-324},
        {.temperature = 10, .top_k = 2},
        {.temperature = 1, .top_p = 4.9e-324},
        {.temperature = 1, .top_k = 3, .top_p = 0.5, .min_p = 1}};
    for (size_t i = 0; i < sizeof hows / sizeof *hows; i++) {
        float row[] = {NAN, -INFINITY, FLT_MAX, -FLT_MAX, INFINITY, -NAN, 0, -0.0f};
        struct sample_kept kept = keep(&hows[i], 8, row);
        ck_assert_uint_gt(kept.n, 0);
        for (uint64_t step = 0; step < 50; step++) {
            int32_t id = sample_draw(&kept, 3, step);
            ck_assert(id == 2 || id == 4);
        }
        float none[] = {NAN, -INFINITY, NAN};
        ck_assert_uint_eq(keep(&hows[i], 3, none).n, 0);
    }
}
END_TEST

/* Tokens that a penalty or bias has pushed to either end. */
START_TEST(extreme_penalties_stay_numbers)
{
    float row[] = {FLT_MAX, -FLT_MAX, 1, -1}, want[4];
    struct seq_bias bias[] = {{.id = 0, .bias = 1000}, {.id = 2, .bias = -INFINITY}};
    struct seq_sampling how = {.temperature = 1,
                               .repetition_penalty = 1e-300,
                               .presence_penalty = -100,
                               .frequency_penalty = 100,
                               .n_bias = 2,
                               .bias = bias};
    struct sample_kept kept = {.id = id_list, .logit = logit_list, .weight = weight_list};
    struct sampler s;
    struct err err = {0};
    memcpy(want, row, sizeof row);
    ck_assert_int_eq(sampler_init(&s, &how, 4, 4, &err), ERR_OK);
    for (int32_t id = 0; id < 3; id++)
        sampler_saw(&s, id, id != 1);
    sampler_keep(&s, kernels_get("ref"), 4, row, &kept);
    ck_assert_mem_eq(want, row, sizeof row);
    ck_assert_uint_eq(kept.n, 1);
    ck_assert_int_eq(kept.id[0], 0);
    ck_assert(kept.logit[0] == FLT_MAX && kept.weight[0] == 1);
    sampler_done(&s);
}
END_TEST

static void refuses(const struct seq_sampling *how, size_t V, const char *param)
{
    struct sampler s;
    struct err err = {0};
    ck_assert_int_eq(sampler_init(&s, how, V, 8, &err), ERR_INPUT);
    ck_assert_str_eq(err.param, param);
    sampler_done(&s);
}

START_TEST(values_out_of_range_are_refused_by_name)
{
    static const double bad[] = {-0.001, NAN, INFINITY, -INFINITY, 101, -101};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        double v = bad[i];
        bool low = v > -100 && v < 0; /* -0.001 is a fine penalty */
        refuses(&(struct seq_sampling){.temperature = v}, 9, "temperature");
        refuses(&(struct seq_sampling){.top_p = v}, 9, "top_p");
        refuses(&(struct seq_sampling){.min_p = v}, 9, "min_p");
        refuses(&(struct seq_sampling){.repetition_penalty = v}, 9, "repetition_penalty");
        if (low)
            continue;
        refuses(&(struct seq_sampling){.presence_penalty = v}, 9, "presence_penalty");
        refuses(&(struct seq_sampling){.frequency_penalty = v}, 9, "frequency_penalty");
    }
    refuses(&(struct seq_sampling){.temperature = 10.01}, 9, "temperature");
    refuses(&(struct seq_sampling){.top_p = 1.01}, 9, "top_p");
}
END_TEST

START_TEST(biases_are_refused)
{
    struct seq_bias bias[10];
    struct seq_sampling how = {.bias = bias};
    for (size_t i = 0; i < 10; i++)
        bias[i] = (struct seq_bias){.id = (int32_t)i, .bias = -INFINITY};
    how.n_bias = 9;
    refuses(&how, 9, "bias"); /* nothing is left */
    how.n_bias = 10;
    refuses(&how, 9, "bias"); /* id 9 of 9 */
    how.n_bias = 2;
    bias[1].id = 0;
    refuses(&how, 9, "bias"); /* twice */
    bias[1].id = -1;
    refuses(&how, 9, "bias");
    bias[1] = (struct seq_bias){.id = 1, .bias = NAN};
    refuses(&how, 9, "bias");
    bias[1].bias = INFINITY;
    refuses(&how, 9, "bias");
    bias[1].bias = 1001;
    refuses(&how, 9, "bias");
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {philox_gives_its_known_answers,
                                  random_numbers_lie_between_0_and_1_and_differ,
                                  what_is_kept_is_what_a_sort_would_keep,
                                  a_nucleus_of_equal_tokens_takes_the_lower_ids,
                                  ties_go_to_the_lower_id_without_temperature,
                                  draws_follow_the_shares,
                                  chi_squared_sees_a_wrong_share,
                                  seeds_beside_each_other_draw_independently,
                                  numbers_that_are_none_are_never_chosen,
                                  extreme_penalties_stay_numbers,
                                  values_out_of_range_are_refused_by_name,
                                  biases_are_refused,
                                  NULL};
    return suite_run("sample", tests, 120);
}
