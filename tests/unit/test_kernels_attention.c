/* The attention kernels, in every variant that runs here: against exact sums with the
 * bounds that kernels.h states, and bit for bit the same whatever tile a row is in and
 * whatever stands where it doesn't look. */
#include "tests/suite.h"
#include "tests/unit/fence.h"

enum { KEYS = KERNELS_KEYS, QUERIES = KERNELS_QUERIES, ROWS = KERNELS_ROWS };
enum { MAX_BLOCKS = 12 };

static const size_t WIDTHS[] = {1,  2,  7,  8,  9,  15, 16, 17,  24,
                                31, 32, 40, 48, 64, 80, 96, 100, 128};
enum { N_WIDTHS = sizeof WIDTHS / sizeof WIDTHS[0] };

/* A tile with blocks that lie apart, each [heads,E,KEYS] keys and then [heads,KEYS,E]
 * values. */
struct tile {
    struct attend a;
    size_t n_blocks;
    struct fence q, s, out, block[MAX_BLOCKS];
    const float *blocks[MAX_BLOCKS];
};

static struct tile tile_new(size_t heads, size_t rows, size_t E, size_t n_blocks)
{
    size_t all = heads * rows;
    struct tile t = {.n_blocks = n_blocks};
    t.a = (struct attend){.heads = heads, .rows = rows, .E = E, .scale = 0.125f};
    t.a.values = heads * E * KEYS;
    t.a.lds = n_blocks * KEYS + random_below(3) * KEYS;
    t.q = random_array(all * E, -1, 1);
    t.s = random_array((all - 1) * t.a.lds + n_blocks * KEYS, -1, 1);
    t.out = random_array(all * E, -1, 1);
    for (size_t i = 0; i < n_blocks; i++) {
        t.block[i] = random_array(2 * heads * E * KEYS, -1, 1);
        t.blocks[i] = t.block[i].at;
    }
    t.a.s = t.s.at;
    for (size_t r = 0; r < all; r++) {
        t.a.q[r] = t.q.at + r * E;
        t.a.out[r] = t.out.at + r * E;
    }
    return t;
}

static void tile_free(struct tile *t)
{
    struct fence *all[] = {&t->q, &t->s, &t->out};
    for (size_t i = 0; i < 3; i++)
        fence_free(all[i]);
    for (size_t i = 0; i < t->n_blocks; i++)
        fence_free(&t->block[i]);
}

static float *keys_of(const struct tile *t, size_t head, size_t block)
{
    return t->block[block].at + head * t->a.E * KEYS;
}

static float *values_of(const struct tile *t, size_t head, size_t block)
{
    return keys_of(t, head, block) + t->a.values;
}

static float *key(const struct tile *t, size_t head, size_t j, size_t e)
{
    return keys_of(t, head, j / KEYS) + e * KEYS + j % KEYS;
}

static float *value(const struct tile *t, size_t head, size_t j, size_t e)
{
    return values_of(t, head, j / KEYS) + j % KEYS * t->a.E + e;
}

/* What rows may see: all the same keys, one more each, a window, anything. */
static void look(struct tile *t, size_t kind)
{
    size_t n = t->n_blocks * KEYS, from = random_below(n - QUERIES),
           window = 1 + random_below(n);
    for (size_t r = 0; r < t->a.heads * t->a.rows; r++) {
        size_t at = from + r % t->a.rows + 1, *first = &t->a.first[r],
               *end = &t->a.end[r];
        *first = kind == 2 && at > window ? at - window : 0;
        *end = kind == 0 ? n : at;
        if (kind == 3) {
            *first = random_below(n);
            *end = *first + 1 + random_below(n - *first);
        }
    }
}

static void run(const struct kernels *k, struct tile *t)
{
    t->a.blocks = t->blocks;
    k->scores(&t->a);
    k->mix(&t->a);
}

static bool sees(const struct tile *t, size_t r, size_t j)
{
    return j >= t->a.first[r] && j < t->a.end[r];
}

/* ---- keys ------------------------------------------------------------------------ */

START_TEST(keys_are_turned_exactly_and_nothing_else_is_touched)
{
    const struct kernels *k = variant(_i);
    for (size_t w = 0; w < N_WIDTHS; w++)
        for (size_t n = 0; n <= KEYS; n++) {
            size_t E = WIDTHS[w], ld = E + 3, at = random_below(KEYS - n + 1);
            struct fence rows = random_array(n ? (n - 1) * ld + E : 0, -1, 1),
                         keys = random_array(E * KEYS, -1, 1),
                         want = copy_of(keys.at, E * KEYS);
            for (size_t e = 0; e < E; e++)
                for (size_t i = 0; i < n; i++)
                    want.at[e * KEYS + at + i] = rows.at[i * ld + e];
            k->turn(n, E, rows.at, ld, keys.at + at);
            ck_assert(same_bits(keys.at, want.at, E * KEYS));
            struct fence *all[] = {&rows, &keys, &want};
            for (size_t i = 0; i < 3; i++)
                fence_free(all[i]);
        }
}
END_TEST

/* ---- bounds ---------------------------------------------------------------------- */

static void check_scores(const struct tile *t, size_t r)
{
    for (size_t j = t->a.first[r]; j < t->a.end[r]; j++) {
        double exact = 0, size = 0;
        for (size_t e = 0; e < t->a.E; e++) {
            double term = (double)t->q.at[r * t->a.E + e] * *key(t, r / t->a.rows, j, e);
            exact += term;
            size += fabs(term);
        }
        double got = t->a.s[r * t->a.lds + j];
        require(fabs(got - exact / 8) <= (double)(t->a.E + 2) * 0x1p-24 * size / 8,
                "scores", j, got, exact / 8);
    }
}

static void check_outputs(const struct tile *t, size_t r)
{
    for (size_t e = 0; e < t->a.E; e++) {
        double exact = 0, size = 0, n = (double)(t->a.end[r] - t->a.first[r]);
        for (size_t j = t->a.first[r]; j < t->a.end[r]; j++) {
            double term =
                (double)t->a.s[r * t->a.lds + j] * *value(t, r / t->a.rows, j, e);
            exact += term;
            size += fabs(term);
        }
        double got = t->a.out[r][e];
        require(fabs(got - exact) <= (n + 1) * 0x1p-24 * size, "mix", e, got, exact);
    }
}

START_TEST(scores_and_outputs_are_within_their_bounds)
{
    const struct kernels *k = variant(_i);
    for (size_t w = 0; w < N_WIDTHS; w++)
        for (size_t rows = 1; rows <= QUERIES; rows++)
            for (size_t kind = 0; kind < 4; kind++) {
                size_t heads = 1 + random_below(ROWS / rows);
                struct tile t =
                    tile_new(heads, rows, WIDTHS[w], 1 + random_below(MAX_BLOCKS));
                look(&t, kind);
                run(k, &t);
                for (size_t r = 0; r < heads * rows; r++) {
                    check_scores(&t, r);
                    check_outputs(&t, r);
                }
                tile_free(&t);
            }
}
END_TEST

/* ---- bits ------------------------------------------------------------------------ */

/* Row r of `all` among so many rows of so many heads, whose rows see other keys. */
static bool same_elsewhere(const struct kernels *k, const struct tile *all, size_t r,
                           size_t heads, size_t rows)
{
    size_t E = all->a.E, strip = E * KEYS, head = random_below(heads);
    size_t from = r / all->a.rows, at = head * rows + random_below(rows);
    struct tile t = tile_new(heads, rows, E, all->n_blocks);
    for (size_t i = 0; i < t.n_blocks; i++) {
        memcpy(keys_of(&t, head, i), keys_of(all, from, i), strip * sizeof(float));
        memcpy(values_of(&t, head, i), values_of(all, from, i), strip * sizeof(float));
    }
    look(&t, random_below(4));
    memcpy(t.q.at + at * E, all->q.at + r * E, E * sizeof(float));
    t.a.first[at] = all->a.first[r];
    t.a.end[at] = all->a.end[r];
    run(k, &t);
    size_t first = all->a.first[r], n = all->a.end[r] - first;
    bool same =
        same_bits(t.a.s + at * t.a.lds + first, all->a.s + r * all->a.lds + first, n) &&
        same_bits(t.a.out[at], all->a.out[r], E);
    tile_free(&t);
    return same;
}

START_TEST(a_row_has_the_same_bits_in_any_tile)
{
    const struct kernels *k = variant(_i);
    for (size_t w = 0; w < N_WIDTHS; w++)
        for (size_t kind = 0; kind < 4; kind++) {
            struct tile t = tile_new(ROWS / QUERIES, QUERIES, WIDTHS[w],
                                     1 + random_below(MAX_BLOCKS));
            look(&t, kind);
            run(k, &t);
            bool same = true;
            for (size_t r = 0; r < ROWS; r++)
                for (size_t rows = 1; rows <= QUERIES; rows++) {
                    same &= same_elsewhere(k, &t, r, 1, rows);
                    same &= same_elsewhere(k, &t, r, ROWS / rows, rows);
                }
            ck_assert_msg(same, "E %zu, sight %zu", WIDTHS[w], kind);
            tile_free(&t);
        }
}
END_TEST

/* A key of the first head that is no number spoils the rows of that head that see it, and
 * those alone. */
static void check_spoiled(const struct kernels *k, size_t heads, size_t rows, size_t E,
                          size_t kind)
{
    size_t n_blocks = 1 + random_below(MAX_BLOCKS), all = heads * rows;
    struct tile t = tile_new(heads, rows, E, n_blocks);
    look(&t, kind);
    run(k, &t);
    struct fence s = copy_of(t.a.s, (all - 1) * t.a.lds + n_blocks * KEYS),
                 out = copy_of(t.out.at, all * E);
    size_t bad = t.a.end[random_below(rows)] - 1;
    for (size_t e = 0; e < E; e++)
        *key(&t, 0, bad, e) = *value(&t, 0, bad, e) = NAN;
    run(k, &t);
    for (size_t r = 0; r < all; r++) {
        size_t first = t.a.first[r], at = r * t.a.lds + first;
        if (r < rows && sees(&t, r, bad))
            ck_assert(isnan(t.a.s[r * t.a.lds + bad]) && isnan(t.a.out[r][0]));
        else
            ck_assert(same_bits(t.a.s + at, s.at + at, t.a.end[r] - first) &&
                      same_bits(t.a.out[r], out.at + r * E, E));
    }
    fence_free(&s);
    fence_free(&out);
    tile_free(&t);
}

START_TEST(what_a_row_does_not_see_does_not_matter)
{
    const struct kernels *k = variant(_i);
    for (size_t w = 0; w < N_WIDTHS; w++)
        for (size_t kind = 1; kind < 4; kind++) {
            check_spoiled(k, 1, QUERIES, WIDTHS[w], kind);
            check_spoiled(k, ROWS / 3, 3, WIDTHS[w], kind);
        }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("attention kernels");
    TCase *each = tcase_create("each variant");
    int n = 0;
    while (kernels_names()[n])
        n++;
    tcase_set_timeout(each, 120);
    tcase_add_loop_test(each, keys_are_turned_exactly_and_nothing_else_is_touched, 0, n);
    tcase_add_loop_test(each, scores_and_outputs_are_within_their_bounds, 0, n);
    tcase_add_loop_test(each, a_row_has_the_same_bits_in_any_tile, 0, n);
    tcase_add_loop_test(each, what_a_row_does_not_see_does_not_matter, 0, n);
    suite_add_tcase(suite, each);
    return suite_finish(suite);
}
