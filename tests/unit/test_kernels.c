/* Matrices and rows, in every variant that runs here: against exact sums with the bounds
 * that kernels.h states, and bit for bit against itself however the work is cut.
 * Elementwise functions and cells are in test_kernels_functions.c, attention's tiles in
 * test_kernels_attention.c. */
#include "tests/suite.h"
#include "tests/unit/fence.h"

#include <float.h>

/* Tests of matrices run for every variant and both of these. */
enum { N_PRECISIONS = 2 };

static const struct kernels *held_variant(int i)
{
    return variant(i / N_PRECISIONS);
}

static enum precision held_precision(int i)
{
    static const enum precision all[N_PRECISIONS] = {PRECISION_F32, PRECISION_BF16};
    return all[i % N_PRECISIONS];
}

/* Memory for m [N,K], zeroed. */
static struct fence matrix_new(const struct kernels *k, enum precision precision,
                               size_t N, size_t K, struct matrix *m)
{
    size_t bytes = k->matrix_bytes(precision, N, K);
    struct fence f = fence_new((bytes + sizeof(float) - 1) / sizeof(float), 64);
    *m = (struct matrix){N, K, precision, f.at};
    return f;
}

/* x with 8 significant bits, to nearest, ties to even; x is normal. */
static float to_bf16(float x)
{
    int exponent;
    double digits = frexp((double)x, &exponent);
    return (float)ldexp(nearbyint(ldexp(digits, 8)), exponent - 8);
}

/* w [n] as a matrix holds it. */
static void hold(enum precision precision, size_t n, float *w)
{
    for (size_t i = 0; precision == PRECISION_BF16 && i < n; i++)
        w[i] = to_bf16(w[i]);
}

/* ---- the table
 * -------------------------------------------------------------------------- */

START_TEST(the_table_is_complete_and_ends_with_the_reference)
{
    const char *const *names = kernels_names();
    size_t n = 0;
    for (; names[n]; n++) {
        const struct kernels *k = kernels_get(names[n]);
        ck_assert_str_eq(k->name, names[n]);
        for (size_t at = 0; at < sizeof(*k); at += sizeof(void *)) {
            void *entry;
            memcpy(&entry, (const char *)k + at, sizeof(entry));
            ck_assert_ptr_nonnull(entry);
        }
    }
    ck_assert_str_eq(names[n - 1], "ref");
    ck_assert_ptr_eq(kernels_get(NULL), kernels_get(names[0]));
    ck_assert_ptr_null(kernels_get("avx"));
    ck_assert_ptr_null(kernels_get(""));
}
END_TEST

/* ---- matrices
 * --------------------------------------------------------------------------- */

START_TEST(packed_rows_come_back_as_they_are_held)
{
    const struct kernels *k = held_variant(_i);
    enum precision precision = held_precision(_i);
    static const size_t sizes[][2] = {{1, 1},    {16, 8},   {17, 3},
                                      {100, 37}, {65, 130}, {64, 0}};
    for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
        size_t N = sizes[s][0], K = sizes[s][1], cut = N / 3;
        size_t bytes = k->matrix_bytes(precision, N, K);
        struct fence w = random_array(N * K, -1, 1), t = fence_new(N * K, 4),
                     out = fence_new(K, 4), whole, flipped;
        for (size_t i = 0; i < N * K; i++) { /* [K,cut] and [K,N-cut] */
            size_t n = i / K, at = i % K;
            t.at[n < cut ? at * cut + n : K * cut + at * (N - cut) + n - cut] = w.at[i];
        }
        struct matrix a, b;
        whole = matrix_new(k, precision, N, K, &a);
        k->pack(&a, cut, N, w.at + cut * K, false);
        k->pack(&a, 0, cut, w.at, false);
        flipped = matrix_new(k, precision, N, K, &b);
        k->pack(&b, cut, N, t.at + K * cut, true);
        k->pack(&b, 0, cut, t.at, true);
        ck_assert_mem_eq(a.data, b.data, bytes);
        hold(precision, N * K, w.at);
        for (size_t n = 0; n < N; n++) {
            k->row(&a, n, out.at);
            ck_assert(same_bits(out.at, w.at + n * K, K));
        }
        struct fence *all[] = {&w, &t, &out, &whole, &flipped};
        for (size_t i = 0; i < 5; i++)
            fence_free(all[i]);
    }
}
END_TEST

START_TEST(bf16_rounds_to_nearest_and_ties_to_even)
{
    const struct kernels *k = variant(_i);
    static const float in[] = {0x1.01p0f,   0x1.03p0f,  0x1.010002p0f, 0x1.00fffep0f,
                               0x1.02p0f,   -0x1.01p0f, -0x1.0300p0f,  0x1.ffp0f,
                               -0.0f,       INFINITY,   -INFINITY,     FLT_MAX,
                               0x1.fep127f, 0x1p-140f,  0x1.8p-134f,   FLT_TRUE_MIN},
                       held[] = {0x1p0f,      0x1.04p0f, 0x1.02p0f,  0x1p0f,
                                 0x1.02p0f,   -0x1p0f,   -0x1.04p0f, 0x1p1f,
                                 -0.0f,       INFINITY,  -INFINITY,  INFINITY,
                                 0x1.fep127f, 0,         0x1p-133f,  0};
    enum { N = sizeof(in) / sizeof(in[0]) };
    struct matrix m;
    struct fence data = matrix_new(k, PRECISION_BF16, 1, N, &m);
    float out[N];
    k->pack(&m, 0, 1, in, false);
    k->row(&m, 0, out);
    for (size_t i = 0; i < N; i++)
        require(same_bits(out + i, held + i, 1), "bf16", i, (double)out[i],
                (double)held[i]);
    fence_free(&data);
}
END_TEST

START_TEST(a_nan_in_bf16_stays_one)
{
    const struct kernels *k = variant(_i);
    static const uint32_t bits[] = {0x7fc00000, 0xffc00000, 0x7f800001,
                                    0xff800001, 0x7fffffff, 0xffffffff};
    float in[6], out[6];
    memcpy(in, bits, sizeof in);
    struct matrix m;
    struct fence data = matrix_new(k, PRECISION_BF16, 1, 6, &m);
    k->pack(&m, 0, 1, in, false);
    k->row(&m, 0, out);
    for (size_t i = 0; i < 6; i++)
        ck_assert(isnan(out[i]));
    fence_free(&data);
}
END_TEST

START_TEST(a_matrix_too_large_for_memory_has_no_size)
{
    const struct kernels *k = held_variant(_i);
    enum precision precision = held_precision(_i);
    size_t size = precision == PRECISION_F32 ? sizeof(float) : sizeof(float) / 2;
    ck_assert_uint_eq(k->matrix_bytes(precision, SIZE_MAX, 1), 0);
    ck_assert_uint_eq(k->matrix_bytes(precision, SIZE_MAX / size, 2), 0);
    ck_assert_uint_eq(k->matrix_bytes(precision, 1, SIZE_MAX), 0);
    ck_assert_uint_eq(k->matrix_bytes(precision, (size_t)1 << 32, (size_t)1 << 32), 0);
    ck_assert_uint_ge(k->matrix_bytes(precision, 17, 3), 17 * 3 * size);
    ck_assert_uint_eq(k->matrix_bytes(precision, 128, 66), 128 * 66 * size);
}
END_TEST

struct problem {
    size_t M, N, K, ldx, ldy;
    struct fence w, x, bias, y0, data; /* w [N,K] as m holds it, x in its precision */
    struct matrix m;
};

static struct problem problem_new(const struct kernels *k, enum precision precision,
                                  size_t M, size_t N, size_t K)
{
    struct problem p = {.M = M, .N = N, .K = K, .ldx = K + 3, .ldy = N + 5};
    p.w = random_array(N * K, -1, 1);
    p.x = random_array(M ? (M - 1) * p.ldx + K : 0, -2, 2);
    p.bias = random_array(N, -1, 1);
    p.y0 = random_array(M ? (M - 1) * p.ldy + N : 0, -1, 1);
    p.data = matrix_new(k, precision, N, K, &p.m);
    k->pack(&p.m, 0, N, p.w.at, false);
    hold(precision, N * K, p.w.at);
    hold(precision, M ? (M - 1) * p.ldx + K : 0, p.x.at);
    return p;
}

static void problem_free(struct problem *p)
{
    struct fence *all[] = {&p->w, &p->x, &p->bias, &p->y0, &p->data};
    for (size_t i = 0; i < 5; i++)
        fence_free(all[i]);
}

static struct product product_of(const struct problem *p, float *y)
{
    return (struct product){.first = 0,
                            .last = p->N,
                            .M = p->M,
                            .x = p->x.at,
                            .ldx = p->ldx,
                            .bias = p->bias.at,
                            .y = y,
                            .ldy = p->ldy,
                            .accumulate = true};
}

static void check_element(const struct problem *p, const struct product *call, size_t m,
                          size_t n)
{
    const float *x = p->x.at + m * p->ldx, *w = p->w.at + n * p->K;
    double exact = 0, size = 0;
    for (size_t k = 0; k < p->K; k++) {
        exact += (double)x[k] * w[k];
        size += fabs((double)x[k] * w[k]);
    }
    double rest[] = {call->bias ? call->bias[n] : 0,
                     call->accumulate ? p->y0.at[m * p->ldy + n] : 0};
    exact += rest[0] + rest[1];
    size += fabs(rest[0]) + fabs(rest[1]);
    float got = call->y[m * p->ldy + n];
    double bound = (double)(p->K + 2) * 0x1p-24 * size;
    ck_assert_msg(fabs(got - exact) <= bound,
                  "M %zu N %zu K %zu: y[%zu,%zu] %g, exact %g", p->M, p->N, p->K, m, n,
                  (double)got, exact);
}

START_TEST(matmul_is_within_its_bound)
{
    const struct kernels *k = held_variant(_i);
    enum precision precision = held_precision(_i);
    static const size_t Ms[] = {0, 1, 2, 3, 4, 5, 6, 7, 13, 16, 33};
    static const size_t shapes[][2] = {{1, 1},    {16, 5},  {17, 16}, {130, 64}, {96, 33},
                                       {97, 257}, {256, 7}, {5, 0},   {208, 515}};
    for (size_t s = 0; s < sizeof(shapes) / sizeof(shapes[0]); s++) {
        for (size_t i = 0; i < sizeof(Ms) / sizeof(Ms[0]); i++) {
            struct problem p =
                problem_new(k, precision, Ms[i], shapes[s][0], shapes[s][1]);
            for (int how = 0; how < 4; how++) {
                struct fence y = copy_of(p.y0.at, p.M ? (p.M - 1) * p.ldy + p.N : 0);
                struct product call = product_of(&p, y.at);
                call.accumulate = how & 1;
                call.bias = how & 2 ? call.bias : NULL;
                k->matmul(&p.m, &call);
                for (size_t e = 0; e < p.M * p.N; e++)
                    check_element(&p, &call, e / p.N, e % p.N);
                for (size_t m = 0; m + 1 < p.M; m++)
                    ck_assert(
                        same_bits(y.at + m * p.ldy + p.N, p.y0.at + m * p.ldy + p.N, 5));
                fence_free(&y);
            }
            problem_free(&p);
        }
    }
}
END_TEST

/* Dot products of x [K] with w [K]: of x as it is, and rounded. */
struct readings {
    double whole, rounded, size;
};

static struct readings readings_of(size_t K, const float *x, const float *w)
{
    struct readings r = {0};
    for (size_t k = 0; k < K; k++) {
        r.whole += (double)x[k] * w[k];
        r.rounded += (double)to_bf16(x[k]) * w[k];
        r.size += 1.01 * fabs((double)x[k] * w[k]);
    }
    return r;
}

START_TEST(bf16_weights_meet_rows_that_are_whole_or_rounded_but_all_alike)
{
    const struct kernels *k = variant(_i);
    size_t off[2] = {0}; /* elements that are not what whole and rounded rows give */
    for (size_t M = 1; M <= 20; M++) {
        struct problem p = problem_new(k, PRECISION_BF16, M, 37, 1 + 3 * M);
        for (size_t i = 0; i < (M - 1) * p.ldx + p.K; i++) {
            float step = ldexpf(1, ilogbf(p.x.at[i]) - 7); /* every third is a tie */
            p.x.at[i] += step * (i % 3 == 0 ? 0.5f : i % 3 == 1 ? 0.3f : 0.7f);
        }
        struct fence y = copy_of(p.y0.at, (M - 1) * p.ldy + p.N);
        struct product call = product_of(&p, y.at);
        call.bias = NULL;
        call.accumulate = false;
        k->matmul(&p.m, &call);
        for (size_t m = 0; m < M; m++)
            for (size_t n = 0; n < p.N; n++) {
                struct readings r =
                    readings_of(p.K, p.x.at + m * p.ldx, p.w.at + n * p.K);
                double bound = (double)(p.K + 2) * 0x1p-24 * r.size;
                off[0] += fabs(y.at[m * p.ldy + n] - r.whole) > bound;
                off[1] += fabs(y.at[m * p.ldy + n] - r.rounded) > bound;
            }
        fence_free(&y);
        problem_free(&p);
    }
    ck_assert_msg(!off[0] != !off[1], "off %zu from whole rows, %zu from rounded ones",
                  off[0], off[1]);
}
END_TEST

/* Every row of p computed alone, into y. */
static void rows_alone(const struct kernels *k, const struct problem *p, float *y)
{
    for (size_t m = 0; m < p->M; m++) {
        struct product call = product_of(p, y + m * p->ldy);
        struct fence x = copy_of(p->x.at + m * p->ldx, p->K);
        call.M = 1;
        call.x = x.at;
        k->matmul(&p->m, &call);
        fence_free(&x);
    }
}

START_TEST(a_row_has_the_same_bits_in_any_batch)
{
    const struct kernels *k = held_variant(_i);
    enum precision precision = held_precision(_i);
    static const size_t shapes[][2] = {{100, 70}, {208, 515}, {64, 256}, {1, 9}};
    for (size_t s = 0; s < 4; s++) {
        struct problem p = problem_new(k, precision, 40, shapes[s][0], shapes[s][1]);
        size_t n = (p.M - 1) * p.ldy + p.N;
        struct fence alone = copy_of(p.y0.at, n);
        rows_alone(k, &p, alone.at);
        for (size_t M = 1; M <= p.M; M++) {
            size_t from = next_random() % (p.M - M + 1);
            struct fence y = copy_of(p.y0.at, n);
            struct product call = product_of(&p, y.at + from * p.ldy);
            call.M = M;
            call.x += from * p.ldx;
            k->matmul(&p.m, &call);
            memcpy(y.at, alone.at, from * p.ldy * sizeof(float));
            size_t end = (from + M) * p.ldy;
            if (end < n)
                memcpy(y.at + end, alone.at + end, (n - end) * sizeof(float));
            ck_assert_msg(same_bits(y.at, alone.at, n), "%zu rows from %zu", M, from);
            fence_free(&y);
        }
        fence_free(&alone);
        problem_free(&p);
    }
}
END_TEST

START_TEST(a_column_has_the_same_bits_in_any_slice)
{
    const struct kernels *k = held_variant(_i);
    enum precision precision = held_precision(_i);
    for (size_t M = 1; M <= 20; M++) {
        struct problem p = problem_new(k, precision, M, 250, 67);
        size_t n = (p.M - 1) * p.ldy + p.N;
        struct fence whole = copy_of(p.y0.at, n), y = copy_of(p.y0.at, n);
        struct product call = product_of(&p, whole.at);
        k->matmul(&p.m, &call);
        for (size_t first = 0; first < p.N; first = call.last) {
            size_t width = 16 * (1 + next_random() % 9);
            call = product_of(&p, y.at);
            call.first = first;
            call.last = first + width < p.N ? first + width : p.N;
            struct fence before = copy_of(y.at, n);
            k->matmul(&p.m, &call);
            for (size_t i = 0; i < n; i++)
                if (i % p.ldy < call.first || i % p.ldy >= call.last)
                    require(same_bits(y.at + i, before.at + i, 1), "outside", i, 0, 0);
            fence_free(&before);
        }
        ck_assert_msg(same_bits(y.at, whole.at, n), "%zu rows", M);
        fence_free(&whole);
        fence_free(&y);
        problem_free(&p);
    }
}
END_TEST

START_TEST(long_batches_are_cut_without_a_trace)
{
    const struct kernels *k = held_variant(_i);
    enum precision precision = held_precision(_i);
    static const size_t shapes[][3] = {
        {300, 48, 700}, {41, 33, 5000}, {700, 20, 31}, {13, 18, 16384}, {7, 5, 16385}};
    for (size_t s = 0; s < sizeof(shapes) / sizeof(shapes[0]); s++) {
        struct problem p =
            problem_new(k, precision, shapes[s][0], shapes[s][1], shapes[s][2]);
        size_t n = (p.M - 1) * p.ldy + p.N;
        struct fence y = copy_of(p.y0.at, n), alone = copy_of(p.y0.at, n);
        struct product call = product_of(&p, y.at);
        k->matmul(&p.m, &call);
        rows_alone(k, &p, alone.at);
        ck_assert(same_bits(y.at, alone.at, n));
        for (size_t e = 0; e < p.M * p.N; e++)
            check_element(&p, &call, e / p.N, e % p.N);
        fence_free(&y);
        fence_free(&alone);
        problem_free(&p);
    }
}
END_TEST

START_TEST(a_nan_or_infinity_in_x_stays_in_its_row)
{
    const struct kernels *k = held_variant(_i);
    enum precision precision = held_precision(_i);
    struct problem p = problem_new(k, precision, 11, 40, 24);
    size_t n = (p.M - 1) * p.ldy + p.N;
    struct fence clean = copy_of(p.y0.at, n), y = copy_of(p.y0.at, n);
    struct product call = product_of(&p, clean.at);
    k->matmul(&p.m, &call);
    p.x.at[7 * p.ldx + 23] = NAN;
    p.x.at[9 * p.ldx] = INFINITY;
    call.y = y.at;
    k->matmul(&p.m, &call);
    for (size_t m = 0; m < p.M; m++)
        for (size_t c = 0; c < p.N; c++) {
            const float *at = y.at + m * p.ldy + c;
            if (m == 7)
                ck_assert(isnan(*at));
            else if (m == 9)
                ck_assert(!isfinite(*at));
            else
                ck_assert(same_bits(at, clean.at + m * p.ldy + c, 1));
        }
    fence_free(&clean);
    fence_free(&y);
    problem_free(&p);
}
END_TEST

/* Elementwise functions of a table that may follow a product. */
enum { N_ACTS = 6 };

static void (*act_of(const struct kernels *k, size_t which))(size_t n, float *x)
{
    void (*const all[N_ACTS])(size_t, float *) = {k->relu,      k->tanh, k->gelu_erf,
                                                  k->gelu_tanh, k->silu, k->sigmoid};
    return all[which];
}

START_TEST(an_activation_in_the_store_gives_the_bits_of_one_after_it)
{
    const struct kernels *k = held_variant(_i);
    enum precision precision = held_precision(_i);
    static const size_t Ms[] = {0, 1, 2, 3, 5, 7, 19};
    static const size_t Ns[] = {1, 16, 93, 130};
    for (size_t i = 0; i < sizeof(Ms) / sizeof(Ms[0]) * 4 * N_ACTS; i++) {
        struct problem p =
            problem_new(k, precision, Ms[i / N_ACTS / 4], Ns[i / N_ACTS % 4], 33);
        size_t n = p.M ? (p.M - 1) * p.ldy + p.N : 0, cut = p.N / 2 / 16 * 16;
        struct fence fused = copy_of(p.y0.at, n), after = copy_of(p.y0.at, n);
        struct product call = product_of(&p, after.at);
        k->matmul(&p.m, &call);
        for (size_t m = 0; m < p.M; m++)
            act_of(k, i % N_ACTS)(p.N, after.at + m * p.ldy);
        call.y = fused.at;
        call.act = act_of(k, i % N_ACTS);
        call.last = cut;
        k->matmul(&p.m, &call);
        call.first = cut;
        call.last = p.N;
        k->matmul(&p.m, &call);
        ck_assert(same_bits(fused.at, after.at, n));
        fence_free(&fused);
        fence_free(&after);
        problem_free(&p);
    }
}
END_TEST

/* ---- weighted rows and softmax
 * ----------------------------------------------------------- */

START_TEST(weigh_is_one_chain_however_the_run_is_cut)
{
    const struct kernels *k = variant(_i);
    static const size_t Es[] = {0, 1, 7, 8, 20, 32, 64, 100, 128, 203};
    for (size_t i = 0; i < sizeof(Es) / sizeof(Es[0]); i++) {
        size_t E = Es[i], n = 29, ld = E + 1;
        struct fence p = random_array(n, 0, 1), v = random_array((n - 1) * ld + E, -1, 1),
                     start = random_array(E, -1, 1), acc = copy_of(start.at, E),
                     cut = copy_of(start.at, E);
        k->weigh(n, E, p.at, v.at, ld, acc.at);
        for (size_t e = 0; e < E; e++) {
            double exact = start.at[e], size = fabs(exact);
            for (size_t j = 0; j < n; j++) {
                exact += (double)p.at[j] * v.at[j * ld + e];
                size += fabs((double)p.at[j] * v.at[j * ld + e]);
            }
            require(fabs(acc.at[e] - exact) <= (double)(n + 1) * 0x1p-24 * size, "weigh",
                    e, (double)acc.at[e], exact);
        }
        for (size_t at = 0, step; at < n; at += step) {
            step = 1 + next_random() % (n - at);
            k->weigh(step, E, p.at + at, v.at + at * ld, ld, cut.at);
        }
        ck_assert(same_bits(acc.at, cut.at, E));
        struct fence *all[] = {&p, &v, &start, &acc, &cut};
        for (size_t f = 0; f < 5; f++)
            fence_free(all[f]);
    }
}
END_TEST

static void check_softmax(const struct kernels *k, size_t n, float low, float high,
                          bool holes)
{
    struct fence x = random_array(n, low, high);
    for (size_t i = 1; holes && i < n; i++)
        if (next_random() % 3 == 0)
            x.at[i] = -INFINITY;
    struct fence y = copy_of(x.at, n);
    double max = -INFINITY, sum = 0, total = 0;
    for (size_t i = 0; i < n; i++)
        max = fmax(max, x.at[i]);
    for (size_t i = 0; i < n; i++)
        sum += exp(x.at[i] - max);
    k->softmax(n, y.at);
    for (size_t i = 0; i < n; i++) {
        double below = x.at[i] - max, exact = exp(below) / sum;
        total += y.at[i];
        if (x.at[i] == -INFINITY)
            ck_assert(y.at[i] == 0);
        else
            ck_assert(fabs(y.at[i] - exact) <=
                      0x1p-21 * exact * (1 - below / 8) + FLT_MIN);
    }
    if (n)
        ck_assert_msg(fabs(total - 1) <= 1e-6, "n %zu: sum - 1 = %g", n, total - 1);
    fence_free(&x);
    fence_free(&y);
}

START_TEST(softmax_rows_are_right_and_sum_to_one)
{
    const struct kernels *k = variant(_i);
    for (size_t n = 0; n <= 70; n++)
        check_softmax(k, n, -5, 5, n % 2);
    for (int i = 0; i < 20; i++) {
        check_softmax(k, 100 + next_random() % 3997, -3, 3, i % 2);
        check_softmax(k, 100 + next_random() % 3997, -60, 40, i % 2);
    }
    check_softmax(k, 4096, -1e-3f, 1e-3f, false);
    check_softmax(k, 4096, -1e30f, 1e30f, false);
}
END_TEST

/* x [n] under a mask, of which `low` may be -INFINITY. */
static void check_tally(const struct kernels *k, size_t n, float low, float high)
{
    struct fence x = random_array(n, low, high);
    uint64_t mask = next_random() & next_random();
    for (size_t i = 0; i < n && n > 2; i += 5)
        x.at[i] = -INFINITY;
    float top = -INFINITY, best = -INFINITY;
    for (size_t i = 0; i < n; i++) {
        top = fmaxf(top, x.at[i]);
        if (mask >> i & 1)
            best = fmaxf(best, x.at[i]);
    }
    double sum = 0, rest = 0, error = 0;
    for (size_t i = 0; i < n; i++) {
        double d = isinf(top) ? -INFINITY : (double)x.at[i] - (double)top, e = exp(d);
        sum += e;
        rest += mask >> i & 1 ? 0 : e;
        error += isinf(d) ? 0 : 0x1p-21 * (1 - d / 8) * e + 0x1p-126;
    }
    struct tally t;
    k->tally(n, x.at, mask, &t);
    require(t.top == top && t.best == best, "top", n, (double)t.best, (double)best);
    require(fabs(t.sum - sum) <= error, "sum", n, t.sum, sum);
    require(fabs(t.rest - rest) <= error, "rest", n, t.rest, rest);
    fence_free(&x);
}

START_TEST(tallies_are_within_their_bounds)
{
    const struct kernels *k = variant(_i);
    for (size_t n = 0; n <= KERNELS_COLUMNS; n++)
        for (size_t i = 0; i < 20; i++) {
            check_tally(k, n, -5, 5);
            check_tally(k, n, -120, 40);
            check_tally(k, n, -1e30f, 1e30f);
        }
}
END_TEST

START_TEST(a_tally_of_what_is_no_number)
{
    const struct kernels *k = variant(_i);
    struct tally t;
    float x[KERNELS_COLUMNS] = {0};
    x[3] = NAN;
    x[40] = 2;
    k->tally(KERNELS_COLUMNS, x, (uint64_t)1 << 3, &t);
    ck_assert(t.top == 2 && t.best == -INFINITY && isnan(t.sum) && !isnan(t.rest));
    k->tally(KERNELS_COLUMNS, x, (uint64_t)1 << 40, &t);
    ck_assert(t.top == 2 && t.best == 2 && isnan(t.sum) && isnan(t.rest));
    x[3] = INFINITY;
    k->tally(KERNELS_COLUMNS, x, ~(uint64_t)0, &t);
    ck_assert(t.top == INFINITY && t.best == INFINITY && isnan(t.sum));
    for (size_t i = 0; i < KERNELS_COLUMNS; i++)
        x[i] = -INFINITY;
    k->tally(KERNELS_COLUMNS, x, 1, &t);
    ck_assert(t.top == -INFINITY && t.best == -INFINITY);
    ck_assert(t.sum == 0 && t.rest == 0);
}
END_TEST

START_TEST(softmax_handles_masks_and_nan)
{
    const struct kernels *k = variant(_i);
    for (size_t n = 1; n <= 40; n++) {
        struct fence x = fence_new(n, 4);
        for (size_t i = 0; i < n; i++)
            x.at[i] = -INFINITY;
        k->softmax(n, x.at);
        for (size_t i = 0; i < n; i++)
            ck_assert(same_bits(x.at + i, &(float){0}, 1));
        for (size_t bad = 0; bad < n; bad++) {
            for (size_t i = 0; i < n; i++)
                x.at[i] = i % 2 ? -INFINITY : 1;
            x.at[bad] = n % 2 ? NAN : INFINITY;
            k->softmax(n, x.at);
            for (size_t i = 0; i < n; i++)
                ck_assert(isnan(x.at[i]));
        }
        for (size_t i = 0; i < n; i++)
            x.at[i] = -INFINITY;
        x.at[n / 2] = NAN;
        k->softmax(n, x.at);
        for (size_t i = 0; i < n; i++)
            ck_assert(isnan(x.at[i]));
        fence_free(&x);
    }
}
END_TEST

/* ---- rows and vectors
 * ------------------------------------------------------------------- */

static void check_layer_norm(const struct kernels *k, size_t D, float low, float high)
{
    struct fence x = random_array(D, low, high), w = random_array(D, -2, 2),
                 b = random_array(D, -1, 1), y = fence_new(D, 4),
                 in_place = copy_of(x.at, D);
    k->layer_norm(D, x.at, w.at, b.at, 1e-5f, y.at);
    k->layer_norm(D, in_place.at, w.at, b.at, 1e-5f, in_place.at);
    ck_assert(same_bits(y.at, in_place.at, D));
    double mean = 0, var = 0;
    for (size_t i = 0; i < D; i++)
        mean += x.at[i] / (double)D;
    for (size_t i = 0; i < D; i++)
        var += (x.at[i] - mean) * (x.at[i] - mean) / (double)D;
    for (size_t i = 0; i < D; i++) {
        double scaled = (x.at[i] - mean) / sqrt(var + (double)1e-5f) * w.at[i];
        double bound = 0x1p-21 * (fabs(scaled) + fabsf(b.at[i]));
        ck_assert_msg(fabs(y.at[i] - (scaled + b.at[i])) <= bound,
                      "D %zu: y[%zu] off by %g", D, i, y.at[i] - (scaled + b.at[i]));
    }
    struct fence *all[] = {&x, &w, &b, &y, &in_place};
    for (size_t i = 0; i < 5; i++)
        fence_free(all[i]);
}

START_TEST(layer_norm_is_within_its_bound)
{
    const struct kernels *k = variant(_i);
    for (size_t D = 2; D <= 40; D++)
        check_layer_norm(k, D, -1, 1);
    check_layer_norm(k, 384, -3, 1);
    check_layer_norm(k, 770, -1e-3f, 1e-3f);
    check_layer_norm(k, 1027, 999, 1001);
    check_layer_norm(k, 4096, -1e6f, 3e6f);
}
END_TEST

START_TEST(layer_norm_of_a_constant_row_is_the_bias)
{
    const struct kernels *k = variant(_i);
    for (size_t D = 1; D <= 20; D++) {
        struct fence x = random_array(D, 0.3f, 0.3f), w = random_array(D, -2, 2),
                     b = random_array(D, -1, 1);
        k->layer_norm(D, x.at, w.at, b.at, 1e-12f, x.at);
        ck_assert(same_bits(x.at, b.at, D));
        fence_free(&x);
        fence_free(&w);
        fence_free(&b);
    }
}
END_TEST

START_TEST(layer_norm_without_bias_has_a_bias_of_zero)
{
    const struct kernels *k = variant(_i);
    for (size_t D = 1; D <= 40; D++) {
        struct fence x = random_array(D, -1, 1), w = random_array(D, -2, 2),
                     zero = random_array(D, 0, 0), y = fence_new(D, 4);
        k->layer_norm(D, x.at, w.at, zero.at, 1e-5f, y.at);
        k->layer_norm(D, x.at, w.at, NULL, 1e-5f, x.at);
        ck_assert(same_bits(x.at, y.at, D));
        struct fence *all[] = {&x, &w, &zero, &y};
        for (size_t i = 0; i < 4; i++)
            fence_free(all[i]);
    }
}
END_TEST

static void check_rms_norm(const struct kernels *k, size_t D, float low, float high)
{
    struct fence x = random_array(D, low, high), w = random_array(D, -2, 2),
                 y = fence_new(D, 4), in_place = copy_of(x.at, D);
    k->rms_norm(D, x.at, w.at, 1e-6f, y.at);
    k->rms_norm(D, in_place.at, w.at, 1e-6f, in_place.at);
    ck_assert(same_bits(y.at, in_place.at, D));
    double square = 0;
    for (size_t i = 0; i < D; i++)
        square += (double)x.at[i] * x.at[i] / (double)D;
    for (size_t i = 0; i < D; i++) {
        double exact = x.at[i] / sqrt(square + (double)1e-6f) * w.at[i];
        ck_assert_msg(fabs(y.at[i] - exact) <= 0x1p-22 * fabs(exact),
                      "D %zu: y[%zu] off by %g", D, i, y.at[i] - exact);
    }
    struct fence *all[] = {&x, &w, &y, &in_place};
    for (size_t i = 0; i < 4; i++)
        fence_free(all[i]);
}

START_TEST(rms_norm_is_within_its_bound)
{
    const struct kernels *k = variant(_i);
    for (size_t D = 1; D <= 40; D++)
        check_rms_norm(k, D, -1, 1);
    check_rms_norm(k, 384, -3, 1);
    check_rms_norm(k, 770, -1e-3f, 1e-3f);
    check_rms_norm(k, 4096, -1e30f, 3e30f);
}
END_TEST

static Suite *kernels_suite(void)
{
    Suite *suite = suite_create("kernels");
    TCase *table = tcase_create("table"), *each = tcase_create("each variant");
    int n = 0;
    while (kernels_names()[n])
        n++;
    tcase_add_test(table, the_table_is_complete_and_ends_with_the_reference);
    tcase_set_timeout(each, 120);
    int held = n * N_PRECISIONS;
    tcase_add_loop_test(each, packed_rows_come_back_as_they_are_held, 0, held);
    tcase_add_loop_test(each, bf16_rounds_to_nearest_and_ties_to_even, 0, n);
    tcase_add_loop_test(each, a_nan_in_bf16_stays_one, 0, n);
    tcase_add_loop_test(each, a_matrix_too_large_for_memory_has_no_size, 0, held);
    tcase_add_loop_test(each, matmul_is_within_its_bound, 0, held);
    tcase_add_loop_test(
        each, bf16_weights_meet_rows_that_are_whole_or_rounded_but_all_alike, 0, n);
    tcase_add_loop_test(each, a_row_has_the_same_bits_in_any_batch, 0, held);
    tcase_add_loop_test(each, a_column_has_the_same_bits_in_any_slice, 0, held);
    tcase_add_loop_test(each, long_batches_are_cut_without_a_trace, 0, held);
    tcase_add_loop_test(each, a_nan_or_infinity_in_x_stays_in_its_row, 0, held);
    tcase_add_loop_test(each, an_activation_in_the_store_gives_the_bits_of_one_after_it,
                        0, held);
    tcase_add_loop_test(each, weigh_is_one_chain_however_the_run_is_cut, 0, n);
    tcase_add_loop_test(each, softmax_rows_are_right_and_sum_to_one, 0, n);
    tcase_add_loop_test(each, softmax_handles_masks_and_nan, 0, n);
    tcase_add_loop_test(each, tallies_are_within_their_bounds, 0, n);
    tcase_add_loop_test(each, a_tally_of_what_is_no_number, 0, n);
    tcase_add_loop_test(each, layer_norm_is_within_its_bound, 0, n);
    tcase_add_loop_test(each, layer_norm_without_bias_has_a_bias_of_zero, 0, n);
    tcase_add_loop_test(each, rms_norm_is_within_its_bound, 0, n);
    tcase_add_loop_test(each, layer_norm_of_a_constant_row_is_the_bias, 0, n);
    suite_add_tcase(suite, table);
    suite_add_tcase(suite, each);
    return suite;
}

int main(void)
{
    return suite_finish(kernels_suite());
}
