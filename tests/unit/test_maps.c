/* maps.c: reductions, words, thumbnails, metrics and labels, on maps made for it. */
#include "model/tasks/maps.h"
#include "tests/suite.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 24 };

static float random_float(void)
{
    return (float)(rand() % 10000) / 10000 + 1e-4f;
}

/* Rows that sum to 1; causal ones are 0 behind the query. */
static void fill_map(size_t n, bool causal, float *map)
{
    for (size_t q = 0; q < n; q++) {
        double sum = 0;
        for (size_t k = 0; k < n; k++) {
            map[q * n + k] = causal && k > q ? 0 : random_float();
            sum += map[q * n + k];
        }
        for (size_t k = 0; k < n; k++)
            map[q * n + k] = (float)(map[q * n + k] / sum);
    }
}

static void check_rows(size_t rows, size_t keys, const float *map)
{
    for (size_t r = 0; r < rows; r++) {
        double sum = 0;
        for (size_t k = 0; k < keys; k++)
            sum += map[r * keys + k];
        ck_assert_double_eq_tol(sum, 1, 1e-6);
    }
}

START_TEST(rollout_is_the_product_of_the_layers)
{
    for (size_t n = 1; n < MOST; n++) {
        float a[3][MOST * MOST], have[2][MOST * MOST];
        double want[MOST][MOST] = {{0}}, next[MOST][MOST];
        for (size_t i = 0; i < n; i++)
            want[i][i] = 1;
        for (size_t l = 0; l < 3; l++) {
            fill_map(n, l % 2, a[l]);
            maps_rollout(n, a[l], l ? have[(l + 1) % 2] : NULL, have[l % 2]);
            memset(next, 0, sizeof next);
            for (size_t i = 0; i < n; i++)
                for (size_t j = 0; j < n; j++)
                    for (size_t k = 0; k < n; k++)
                        next[i][j] +=
                            (0.5 * a[l][i * n + k] + 0.5 * (i == k)) * want[k][j];
            memcpy(want, next, sizeof want);
            for (size_t i = 0; i < n * n; i++)
                ck_assert_double_eq_tol(have[l % 2][i], want[i / n][i % n], 1e-6);
            check_rows(n, n, have[l % 2]);
        }
    }
}
END_TEST

START_TEST(rollout_of_identities_is_the_identity)
{
    float eye[9] = {1, 0, 0, 0, 1, 0, 0, 0, 1}, out[9], more[9];
    maps_rollout(3, eye, NULL, out);
    maps_rollout(3, eye, out, more);
    ck_assert_mem_eq(more, eye, sizeof eye);
}
END_TEST

START_TEST(rows_apart_are_not_redundant_and_equal_ones_are)
{
    static const float apart[] = {1, 0, 0, 0, 0, 1}, equal[] = {0, 1, 0, 0, 1, 0};
    static const float broad[] = {0.5f, 0.5f, 0, 0.25f, 0.25f, 0.5f};
    ck_assert_double_eq(maps_redundancy(2, 3, apart), 0);
    ck_assert_double_eq(maps_redundancy(2, 3, equal), 2);
    /* (0.5 - 1)^2 + (0.375 - 1)^2 + 2 * 0.25^2 */
    ck_assert_double_eq(maps_redundancy(2, 3, broad), 0.765625);
    ck_assert_double_eq(maps_redundancy(1, 3, apart), 0);
}
END_TEST

START_TEST(folds_are_mean_largest_and_least)
{
    const float a[] = {1, 5, 0.5f}, b[] = {3, 2, 0.5f}, c[] = {2, 2, -1};
    const float want[][3] = {
        [MAPS_MEAN] = {2, 3, 0}, [MAPS_MAX] = {3, 5, 0.5f}, [MAPS_MIN] = {1, 2, -1}};
    for (enum maps_reduce how = MAPS_MEAN; how <= MAPS_MIN; how++) {
        float acc[3];
        memcpy(acc, a, sizeof a);
        maps_fold(how, 3, b, acc);
        maps_fold(how, 3, c, acc);
        if (how == MAPS_MEAN)
            maps_mean_of(3, 3, acc);
        ck_assert_mem_eq(acc, want[how], sizeof acc);
    }
}
END_TEST

START_TEST(weights_to_a_word_add_up_and_those_from_it_are_averaged)
{
    const size_t word[] = {0, 1, 1, 2};
    const float map[] = {0.1f, 0.2f, 0.3f,  0.4f,  1, 0, 0, 0,
                         0,    0.5f, 0.25f, 0.25f, 0, 0, 0, 1};
    const float want[] = {0.1f, 0.5f, 0.4f, 0.5f, 0.375f, 0.125f, 0, 0, 1};
    float keys[4 * 3], to[3 * 3];
    maps_word_keys(4, 4, word, 3, map, keys);
    maps_word_queries(4, word, 3, 3, keys, to);
    for (size_t i = 0; i < 9; i++)
        ck_assert_float_eq_tol(to[i], want[i], 1e-7f);
    float big[MOST * MOST], half[MOST * MOST], words[MOST * MOST];
    size_t of[MOST];
    for (size_t t = 0; t < MOST; t++)
        of[t] = t ? of[t - 1] + (size_t)(rand() % 2) : 0;
    size_t W = of[MOST - 1] + 1;
    fill_map(MOST, false, big);
    maps_word_keys(MOST, MOST, of, W, big, half);
    maps_word_queries(MOST, of, W, W, half, words);
    check_rows(W, W, words);
}
END_TEST

START_TEST(rows_without_mass_stay_and_are_told)
{
    float map[] = {0.5f, 0.25f, 0, 0};
    ck_assert(!maps_renormalize(2, 2, map));
    ck_assert_float_eq_tol(map[0], 2.0f / 3, 1e-7f);
    ck_assert_float_eq_tol(map[1], 1.0f / 3, 1e-7f);
    ck_assert(map[2] == 0 && map[3] == 0);
    ck_assert(maps_renormalize(1, 2, map));
}
END_TEST

START_TEST(picks_rows_and_keys_in_order)
{
    const float map[] = {0, 1, 2, 3, 4, 5, 6, 7, 8}, want[] = {8, 6, 2, 0};
    const size_t rows[] = {2, 0}, keys[] = {2, 0};
    float to[4];
    maps_pick(map, 3, rows, 2, keys, 2, to);
    ck_assert_mem_eq(to, want, sizeof to);
}
END_TEST

START_TEST(a_thumbnail_keeps_the_largest_of_every_cell)
{
    for (size_t n = 1; n < MOST; n++)
        for (size_t P = 1; P <= n; P++) {
            float map[MOST * MOST], have[MOST * MOST], want[MOST * MOST];
            fill_map(n, false, map);
            maps_pool(n, P, map, have);
            memset(want, 0, sizeof want);
            for (size_t q = 0; q < n; q++)
                for (size_t k = 0; k < n; k++) {
                    size_t i = 0, j = 0;
                    while (i + 1 < P && maps_pool_start(n, P, i + 1) <= q)
                        i++;
                    while (j + 1 < P && maps_pool_start(n, P, j + 1) <= k)
                        j++;
                    want[i * P + j] = fmaxf(want[i * P + j], map[q * n + k]);
                }
            ck_assert_mem_eq(have, want, P * P * sizeof *have);
        }
}
END_TEST

START_TEST(the_top_is_that_of_a_full_sort)
{
    for (size_t round = 0; round < 200; round++) {
        float row[MOST], value[MOST];
        int32_t index[MOST];
        size_t n = 1 + (size_t)rand() % MOST, k = (size_t)rand() % (n + 1);
        double all = 0, kept = 0;
        for (size_t i = 0; i < n; i++) {
            row[i] = (float)(rand() % 6); /* many ties */
            all += row[i];
        }
        float rest = maps_top(n, k, row, index, value);
        for (size_t i = 0; i < k; i++) {
            size_t before = 0; /* entries that go before this one */
            size_t at = (size_t)index[i];
            for (size_t j = 0; j < n; j++)
                before += row[j] > row[at] || (row[j] == row[at] && j < at);
            ck_assert_uint_eq(before, i);
            ck_assert_float_eq(value[i], row[at]);
            kept += value[i];
        }
        ck_assert_double_eq_tol(rest, all - kept, 1e-5);
    }
}
END_TEST

/* ---- metrics --------------------------------------------------------------------- */

struct text {
    struct maps_text t;
    float special[MOST];
    int32_t before[MOST], behind[MOST];
};

static void make_text(struct text *x, size_t n, bool causal, const int32_t *ids)
{
    int32_t own[MOST];
    for (size_t i = 0; i < n; i++)
        own[i] = ids ? ids[i] : (int32_t)i;
    memset(x, 0, sizeof *x);
    maps_find_same(n, own, x->before, x->behind);
    x->t = (struct maps_text){n, causal, x->special, x->before, x->behind};
}

/* Row q all on key(q). */
static void point(size_t n, float *map, size_t (*key)(size_t q))
{
    memset(map, 0, n * n * sizeof *map);
    for (size_t q = 0; q < n; q++)
        map[q * n + (key(q) < n ? key(q) : q)] = 1;
}

static size_t first(size_t q)
{
    return q * 0;
}

static size_t previous(size_t q)
{
    return q ? q - 1 : 0;
}

static size_t current(size_t q)
{
    return q;
}

static size_t next(size_t q)
{
    return q + 1;
}

static size_t fifth(size_t q)
{
    return q * 0 + 5;
}

static unsigned label_of(const struct text *x, const float *map)
{
    double m[MAPS_METRICS];
    float copy[MOST * MOST];
    memcpy(copy, map, x->t.n * x->t.n * sizeof *copy);
    maps_metrics(&x->t, map, m);
    ck_assert_mem_eq(copy, map, x->t.n * x->t.n * sizeof *copy);
    return maps_labels(m);
}

START_TEST(labels_of_maps_made_for_them)
{
    struct text x;
    float map[MOST * MOST];
    static const int32_t twins[12] = {1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6};
    for (int causal = 0; causal < 2; causal++) {
        make_text(&x, 12, causal, NULL);
        point(12, map, first);
        ck_assert_uint_eq(label_of(&x, map), 1u << MAPS_LABEL_FIRST);
        point(12, map, previous);
        ck_assert_uint_eq(label_of(&x, map), 1u << MAPS_LABEL_PREVIOUS);
        point(12, map, current);
        ck_assert_uint_eq(label_of(&x, map), 1u << MAPS_LABEL_CURRENT);
    }
    make_text(&x, 12, false, NULL);
    point(12, map, next);
    ck_assert_uint_eq(label_of(&x, map), 1u << MAPS_LABEL_NEXT);
    point(12, map, fifth);
    ck_assert_uint_eq(label_of(&x, map), 1u << MAPS_LABEL_MIXED);
    x.special[5] = x.special[0] = 1;
    ck_assert_uint_eq(label_of(&x, map), 1u << MAPS_LABEL_SPECIAL);
    point(12, map, first); /* the sink is not called special again */
    ck_assert_uint_eq(label_of(&x, map), 1u << MAPS_LABEL_FIRST);
    for (size_t i = 0; i < 144; i++)
        map[i] = 1.0f / 12;
    ck_assert_uint_eq(label_of(&x, map), 1u << MAPS_LABEL_BROAD);
    make_text(&x, 12, false, twins);
    memset(map, 0, sizeof map);
    for (size_t q = 0; q < 12; q++)
        map[q * 12 + (q + 6) % 12] = 1;
    ck_assert_uint_eq(label_of(&x, map), 1u << MAPS_LABEL_SAME);
}
END_TEST

START_TEST(entropy_of_uniform_rows_is_the_logarithm_and_of_sure_ones_zero)
{
    struct text x;
    float map[MOST * MOST];
    double m[MAPS_METRICS];
    for (size_t n = 2; n < MOST; n++) {
        make_text(&x, n, false, NULL);
        for (size_t i = 0; i < n * n; i++)
            map[i] = 1.0f / (float)n;
        maps_metrics(&x.t, map, m);
        ck_assert_double_eq_tol(m[MAPS_ENTROPY], log((double)n), 2e-6);
        ck_assert_double_eq_tol(m[MAPS_ENTROPY_NORM], 1, 2e-6);
        ck_assert_double_eq_tol(m[MAPS_LARGEST], 1 / (double)n, 1e-7);
        point(n, map, current);
        maps_metrics(&x.t, map, m);
        ck_assert_double_eq_tol(m[MAPS_ENTROPY], 0, 1e-9);
        ck_assert_double_eq_tol(m[MAPS_DISTANCE], 0, 1e-9);
        ck_assert_double_eq_tol(m[MAPS_CURRENT], 1, 1e-9);
        ck_assert(isnan(m[MAPS_SAME]));
    }
}
END_TEST

static const int32_t IDS[MOST] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8,
                                  9, 7, 9, 3, 2, 3, 8, 4, 6, 2, 6, 4};

/* One row by the definitions; true if another token has the query's id. */
static bool add_row(const struct text *x, size_t q, const float *p,
                    double sum[MAPS_METRICS])
{
    bool any = false;
    for (size_t k = 0; k < (x->t.causal ? q + 1 : x->t.n); k++) {
        bool same = k != q && IDS[k] == IDS[q];
        sum[MAPS_ENTROPY] -= p[k] * log((double)p[k]);
        sum[MAPS_DISTANCE] += p[k] * fabs((double)q - (double)k);
        sum[MAPS_SPECIAL] += p[k] * x->special[k];
        sum[MAPS_SAME] += same ? p[k] : 0;
        any |= same;
    }
    return any;
}

static void check_metrics(size_t n, bool causal)
{
    struct text x;
    float map[MOST * MOST];
    double m[MAPS_METRICS], sum[MAPS_METRICS] = {0};
    size_t rows = 0, repeats = 0;
    make_text(&x, n, causal, IDS);
    x.special[1] = x.special[n - 1] = 1;
    fill_map(n, causal, map);
    for (size_t q = causal ? 2 : 0; q < n; q++, rows++)
        repeats += add_row(&x, q, map + q * n, sum);
    maps_metrics(&x.t, map, m);
    double each = (double)rows;
    ck_assert_double_eq_tol(m[MAPS_ENTROPY], sum[MAPS_ENTROPY] / each, 1e-5);
    ck_assert_double_eq_tol(m[MAPS_DISTANCE], sum[MAPS_DISTANCE] / each, 1e-5);
    ck_assert_double_eq_tol(m[MAPS_SPECIAL], sum[MAPS_SPECIAL] / each, 1e-6);
    if (repeats)
        ck_assert_double_eq_tol(m[MAPS_SAME], sum[MAPS_SAME] / (double)repeats, 1e-6);
    ck_assert_int_eq(isnan(m[MAPS_SAME]), repeats == 0);
    ck_assert_int_eq(isnan(m[MAPS_NEXT]), causal);
}

START_TEST(metrics_are_as_defined)
{
    for (size_t n = 3; n <= MOST; n++) {
        check_metrics(n, false);
        check_metrics(n, true);
    }
}
END_TEST

START_TEST(texts_too_short_to_choose_say_nothing)
{
    struct text x;
    const float map[] = {1, 0, 0.5f, 0.5f};
    double m[MAPS_METRICS];
    for (size_t n = 1; n <= 2; n++) {
        make_text(&x, n, n == 2, NULL);
        maps_metrics(&x.t, map, m);
        for (size_t i = 0; i < MAPS_METRICS; i++)
            ck_assert(isnan(m[i]));
        ck_assert_uint_eq(maps_labels(m), 0);
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        rollout_is_the_product_of_the_layers,
        rollout_of_identities_is_the_identity,
        rows_apart_are_not_redundant_and_equal_ones_are,
        folds_are_mean_largest_and_least,
        weights_to_a_word_add_up_and_those_from_it_are_averaged,
        rows_without_mass_stay_and_are_told,
        picks_rows_and_keys_in_order,
        a_thumbnail_keeps_the_largest_of_every_cell,
        the_top_is_that_of_a_full_sort,
        labels_of_maps_made_for_them,
        entropy_of_uniform_rows_is_the_logarithm_and_of_sure_ones_zero,
        metrics_are_as_defined,
        texts_too_short_to_choose_say_nothing,
        NULL};
    return suite_run("maps", tests, 30);
}
