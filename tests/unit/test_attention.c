/* attention.c by itself, on random queries, keys and values, in every kernel variant:
 * against sums in double, and bit for bit the same alone and in a batch, traced or not,
 * from caches fed in pieces and at once, with helpers and without, for any number of
 * positions around the sizes of tiles and blocks. */
#include "tests/suite.h"
#include "tests/unit/fence.h"
#include "tests/unit/team.h"

#include "model/base/mem.h"
#include "model/nets/attention.h"
#include "model/nets/cache.h"

#include <stdio.h>

enum { SEQS = 4, SPAN = 256 };

/* ---- a batch --------------------------------------------------------------------- */

struct shape {
    size_t N, K, E;
    bool causal, biased;
    size_t window;
};

/* Heads that share keys in groups of 1 to 7, windows, a bias by distance. Of the last two
 * a few rows behind a long text are in tiles of several key heads. */
static const struct shape SHAPES[] = {
    {2, 2, 32, false, false, 0}, {3, 3, 20, true, false, 0},
    {4, 2, 64, true, false, 0},  {7, 1, 8, true, false, 0},
    {6, 2, 16, false, false, 0}, {2, 2, 24, false, true, 0},
    {2, 2, 16, false, false, 9}, {2, 1, 48, true, false, 1},
    {4, 2, 32, true, false, 17}, {10, 5, 128, true, false, 0},
    {7, 7, 96, true, true, 150},
};
enum { N_SHAPES = sizeof SHAPES / sizeof SHAPES[0] };

struct run {
    const struct kernels *k;
    const struct shape *shape;
    size_t B, starts[SEQS + 1];
    float *qkv, *bias; /* [T,(N+2K)E], [N,2*SPAN-1] */
    struct crew *crew;
};

static float *random_floats(size_t n, float most)
{
    float *x = malloc((n + 1) * sizeof *x);
    ck_assert_ptr_nonnull(x);
    for (size_t i = 0; i < n; i++)
        x[i] = uniform(-most, most);
    return x;
}

static size_t row_floats(const struct shape *s)
{
    return (s->N + 2 * s->K) * s->E;
}

static struct run run_new(const struct kernels *k, const struct shape *s,
                          const size_t *lengths, size_t B)
{
    struct run r = {.k = k, .shape = s, .B = B};
    for (size_t b = 0; b < B; b++)
        r.starts[b + 1] = r.starts[b] + lengths[b];
    r.qkv = random_floats(r.starts[B] * row_floats(s), 1.5f);
    r.bias = random_floats(s->N * (2 * SPAN - 1), 1);
    return r;
}

static void run_free(struct run *r)
{
    free(r->qkv);
    free(r->bias);
}

/* What attention makes of rows qkv of a batch, into out. */
static void attend(const struct run *r, const struct net_batch *batch, size_t n_keys,
                   const float *qkv, const struct trace *trace, float *out)
{
    const struct shape *s = r->shape;
    struct attention_size size = {s->N,  s->K, s->E, batch->B, batch->starts[batch->B],
                                  n_keys};
    size_t floats = attention_floats(&size);
    float *scratch = mem_aligned(floats, sizeof *scratch);
    ck_assert_ptr_nonnull(scratch);
    memset(scratch, 0xff, floats * sizeof *scratch); /* NaN */
    struct attention a = {.N = s->N,
                          .K = s->K,
                          .E = s->E,
                          .scale = (float)(1 / sqrt((double)s->E)),
                          .causal = s->causal,
                          .window = s->window,
                          .bias = s->biased ? r->bias : NULL,
                          .bias_span = SPAN,
                          .batch = batch,
                          .picks = batch->picks,
                          .qkv = qkv,
                          .out = out};
    struct exec x = {.k = r->k, .trace = trace, .crew = r->crew};
    attention_run(&a, n_keys, scratch, &x);
    mem_free(scratch);
}

static size_t longest(const struct run *r)
{
    size_t most = 0;
    for (size_t b = 0; b < r->B; b++)
        if (r->starts[b + 1] - r->starts[b] > most)
            most = r->starts[b + 1] - r->starts[b];
    return most;
}

/* The whole batch at once; free(). */
static float *at_once(const struct run *r, const struct trace *trace)
{
    struct net_batch batch = {.B = r->B, .starts = r->starts};
    float *out = random_floats(r->starts[r->B] * r->shape->N * r->shape->E, 1);
    attend(r, &batch, longest(r), r->qkv, trace, out);
    return out;
}

static const char *name_of(const struct run *r)
{
    static char name[160];
    const struct shape *s = r->shape;
    snprintf(name, sizeof name, "%s, %zu heads of %zu over %zu%s, window %zu, %zu rows",
             r->k->name, s->N, s->E, s->K, s->causal ? ", causal" : "", s->window,
             r->starts[1]);
    return name;
}

/* ---- sums in double -------------------------------------------------------------- */

static bool seen(const struct shape *s, size_t query, size_t key)
{
    size_t far = query > key ? query - key : key - query;
    return (!s->causal || key <= query) && (!s->window || far < s->window);
}

/* Probabilities p [len] of one query of one head of sequence b. */
static void exact_weights(const struct run *r, size_t b, size_t head, size_t query,
                          double *p)
{
    const struct shape *s = r->shape;
    size_t len = r->starts[b + 1] - r->starts[b], ld = row_floats(s);
    const float *rows = r->qkv + r->starts[b] * ld, *q = rows + query * ld + head * s->E;
    double sum = 0;
    for (size_t j = 0; j < len; j++) {
        const float *k = rows + j * ld + (s->N + head / (s->N / s->K)) * s->E;
        double dot = 0;
        for (size_t e = 0; e < s->E; e++)
            dot += (double)q[e] * k[e];
        dot /= sqrt((double)s->E);
        if (s->biased)
            dot += r->bias[head * (2 * SPAN - 1) + SPAN - 1 + j - query];
        p[j] = seen(s, query, j) ? exp(dot) : 0;
        sum += p[j];
    }
    for (size_t j = 0; j < len; j++)
        p[j] /= sum;
}

static double worst_error(const struct run *r, const float *out)
{
    const struct shape *s = r->shape;
    double p[SPAN] = {0}, worst = 0;
    for (size_t b = 0; b < r->B; b++)
        for (size_t t = r->starts[b]; t < r->starts[b + 1]; t++)
            for (size_t i = 0; i < s->N * s->E; i++) {
                size_t head = i / s->E, group = s->N / s->K;
                size_t column = (s->N + s->K + head / group) * s->E + i % s->E;
                double sum = 0;
                if (i % s->E == 0)
                    exact_weights(r, b, head, t - r->starts[b], p);
                for (size_t j = r->starts[b]; j < r->starts[b + 1]; j++)
                    sum += p[j - r->starts[b]] * r->qkv[j * row_floats(s) + column];
                worst = fmax(worst, fabs(sum - out[t * s->N * s->E + i]));
            }
    return worst;
}

/* Values are up to 1.5 and weights sum to 1: 1e-5 is some 60 roundings of the largest. */
START_TEST(outputs_equal_sums_in_double)
{
    static const size_t lengths[SEQS] = {37, 1, 100, 16};
    for (size_t i = 0; i < N_SHAPES; i++) {
        struct run r = run_new(variant(_i), &SHAPES[i], lengths, SEQS);
        float *out = at_once(&r, NULL);
        double worst = worst_error(&r, out);
        ck_assert_msg(worst < 1e-5, "%s: off by %g", name_of(&r), worst);
        free(out);
        run_free(&r);
    }
}
END_TEST

/* ---- bits ------------------------------------------------------------------------ */

/* Row t of the batch asked for alone, through picks. */
static void check_pick(const struct run *r, size_t b, size_t t, const float *out)
{
    size_t width = r->shape->N * r->shape->E, len = r->starts[b + 1] - r->starts[b];
    size_t starts[2] = {0, len};
    struct net_batch one = {.B = 1, .starts = starts, .picks = &t};
    float *row = random_floats(width, 1);
    attend(r, &one, len, r->qkv + r->starts[b] * row_floats(r->shape), NULL, row);
    ck_assert_msg(same_bits(row, out + (r->starts[b] + t) * width, width),
                  "%s: row %zu differs alone", name_of(r), t);
    free(row);
}

/* Up to 40 rows, so that tiles of every height come, and their neighbours in the batch
 * are others. */
START_TEST(a_row_is_the_same_alone_and_in_a_batch)
{
    for (size_t i = 0; i < N_SHAPES; i++)
        for (size_t T = 1; T <= 40; T++) {
            size_t lengths[SEQS] = {1 + random_below(40), T, 1 + random_below(99), 1};
            struct run r = run_new(variant(_i), &SHAPES[i], lengths, SEQS);
            float *out = at_once(&r, NULL);
            for (size_t b = 0; b < SEQS; b++)
                check_pick(&r, b, random_below(lengths[b]), out);
            free(out);
            run_free(&r);
        }
}
END_TEST

/* ---- the trace ------------------------------------------------------------------- */

struct watch {
    const struct run *r;
    size_t rows;
    double worst;
};

static void watch_row(void *arg, size_t seq, size_t layer, size_t head, size_t query,
                      size_t n_keys, const float *p)
{
    struct watch *w = arg;
    const struct run *r = w->r;
    double exact[SPAN] = {0};
    size_t len = r->starts[seq + 1] - r->starts[seq];
    bool zeros = true;
    ck_assert_uint_eq(layer, 0);
    ck_assert_uint_eq(n_keys, r->shape->causal ? query + 1 : len);
    exact_weights(r, seq, head, query, exact);
    for (size_t j = 0; j < n_keys; j++) {
        w->worst = fmax(w->worst, fabs(p[j] - exact[j]));
        zeros &= seen(r->shape, query, j) || p[j] == 0;
    }
    ck_assert_msg(zeros, "%s: something outside the window", name_of(r));
    w->rows++;
}

/* Caches are fed in pieces of any size, some of them traced; every piece's rows are those
 * of the whole. */
static void feed_in_pieces(const struct run *r, const float *out)
{
    struct watch w = {.r = r};
    const struct trace trace = {.arg = &w, .attention = watch_row};
    const struct shape *s = r->shape;
    size_t ld = row_floats(s), T = r->starts[1], width = s->N * s->E;
    struct cache_shape shape = {2, s->K, s->E, T};
    struct cache *c = NULL;
    struct err err = {0};
    ck_assert_int_eq(cache_new(&shape, &c, &err), ERR_OK);
    struct net_state *state = (struct net_state *)c;
    for (size_t at = 0, n; at < T; at += n) {
        size_t starts[2] = {0, n = 1 + random_below(random_below(3) ? 7 : T - at)};
        n = starts[1] = n < T - at ? n : T - at;
        struct net_batch batch = {.B = 1, .starts = starts, .states = &state};
        struct cache_rows rows = {n, r->qkv + at * ld + width, NULL, ld};
        float *piece = random_floats(n * width, 1);
        rows.v = rows.k + s->K * s->E;
        ck_assert_int_eq(cache_reserve(c, n, &err), ERR_OK);
        cache_put(c, r->k, 0, &rows);
        attend(r, &batch, T, r->qkv + at * ld, random_below(2) ? &trace : NULL, piece);
        cache_advance(c, n);
        ck_assert_msg(same_bits(piece, out + at * width, n * width),
                      "%s: rows %zu to %zu differ from a cache", name_of(r), at, at + n);
        free(piece);
    }
    ck_assert_msg(w.worst < 2e-6, "%s: weights off by %g", name_of(r), w.worst);
    cache_free(c);
}

START_TEST(cached_rows_equal_those_of_one_pass)
{
    struct team team;
    team_start(&team, 2);
    for (size_t i = 0; i < N_SHAPES; i++)
        for (size_t T = 1; SHAPES[i].causal && T < 200; T += T < 40 ? 1 : 23) {
            struct run r = run_new(variant(_i), &SHAPES[i], &T, 1);
            float *out = at_once(&r, NULL);
            feed_in_pieces(&r, out);
            r.crew = team.crew;
            feed_in_pieces(&r, out);
            free(out);
            run_free(&r);
        }
    team_stop(&team);
}
END_TEST

START_TEST(the_trace_sees_every_row_and_changes_nothing)
{
    static const size_t lengths[SEQS] = {23, 64, 1, 70};
    for (size_t i = 0; i < N_SHAPES; i++) {
        struct run r = run_new(variant(_i), &SHAPES[i], lengths, SEQS);
        struct watch w = {.r = &r};
        struct trace trace = {.arg = &w, .attention = watch_row};
        float *out = at_once(&r, NULL), *traced = at_once(&r, &trace);
        ck_assert_msg(same_bits(out, traced, r.starts[SEQS] * r.shape->N * r.shape->E),
                      "%s: traced differs", name_of(&r));
        ck_assert_uint_eq(w.rows, r.starts[SEQS] * r.shape->N);
        ck_assert_msg(w.worst < 2e-6, "%s: weights off by %g", name_of(&r), w.worst);
        free(out);
        free(traced);
        run_free(&r);
    }
}
END_TEST

/* The weights of one head of one text. */
struct rows {
    float p[8][8]; /* query, key */
};

static void note_row(void *arg, size_t seq, size_t layer, size_t head, size_t query,
                     size_t n_keys, const float *p)
{
    struct rows *rows = arg;
    ck_assert_uint_eq(seq + layer + head, 0);
    memcpy(rows->p[query], p, n_keys * sizeof *p);
}

/* Without a query all keys that are seen weigh alike; a score of ln 3 weighs three times
 * as much as one of 0. */
START_TEST(weights_worked_out_by_hand)
{
    enum { T = 5, E = 8 };
    static const struct shape SHAPE = {1, 1, E, true, false, 0};
    struct run r = run_new(variant(_i), &SHAPE, (const size_t[]){T}, 1);
    struct rows rows;
    struct trace trace = {.arg = &rows, .attention = note_row};
    for (size_t t = 0; t < T; t++)
        memset(r.qkv + t * row_floats(&SHAPE), 0, E * sizeof *r.qkv);
    free(at_once(&r, &trace));
    for (size_t q = 0; q < T; q++)
        for (size_t k = 0; k <= q; k++)
            ck_assert_float_eq_tol(rows.p[q][k], 1 / (float)(q + 1), 1e-6f);
    memset(r.qkv, 0, 2 * row_floats(&SHAPE) * sizeof *r.qkv);
    r.qkv[E] = 1;                                          /* key 0 */
    r.qkv[row_floats(&SHAPE)] = logf(3) * sqrtf((float)E); /* query 1 */
    free(at_once(&r, &trace));
    ck_assert_float_eq_tol(rows.p[0][0], 1, 1e-6f);
    ck_assert_float_eq_tol(rows.p[1][0], 0.75f, 1e-6f);
    ck_assert_float_eq_tol(rows.p[1][1], 0.25f, 1e-6f);
    run_free(&r);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("attention");
    TCase *each = tcase_create("each variant");
    int n = 0;
    while (kernels_names()[n])
        n++;
    tcase_set_timeout(each, 120);
    tcase_add_loop_test(each, outputs_equal_sums_in_double, 0, n);
    tcase_add_loop_test(each, weights_worked_out_by_hand, 0, n);
    tcase_add_loop_test(each, a_row_is_the_same_alone_and_in_a_batch, 0, n);
    tcase_add_loop_test(each, cached_rows_equal_those_of_one_pass, 0, n);
    tcase_add_loop_test(each, the_trace_sees_every_row_and_changes_nothing, 0, n);
    suite_add_tcase(suite, each);
    return suite_finish(suite);
}
