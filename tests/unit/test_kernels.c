/* Every entry of every variant that runs here: against exact sums and libm in double with
 * the bounds that kernels.h states, and bit for bit against itself however the work is
 * cut. Arrays end (or begin) at a page that can't be touched, so that a read or write
 * past a length is a crash, also where a sanitizer doesn't see it. */
#include "model/kernels/kernels.h"

#include <check.h>
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Like ck_assert_msg, but silent while all is well: libcheck writes to a pipe at every
 * check, and here are millions. */
static void require(bool ok, const char *what, size_t i, double got, double exact)
{
    if (!ok)
        ck_abort_msg("%s [%zu]: got %a, exact %a", what, i, got, exact);
}

/* ---- fenced arrays, random numbers, comparisons
 * ---------------------------------------- */

struct fence {
    void *map;
    size_t bytes;
    float *at; /* n floats, the byte after the last one faults */
};

static struct fence fence_new(size_t n, size_t align)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), bytes = n * sizeof(float);
    size_t body = (bytes + page) / page * page;
    struct fence f = {.bytes = body + 2 * page};
    f.map = mmap(NULL, f.bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(f.map, MAP_FAILED);
    char *inside = (char *)f.map + page;
    ck_assert_int_eq(mprotect(inside, body, PROT_READ | PROT_WRITE), 0);
    f.at = (float *)(inside + (body - bytes) / align * align);
    return f;
}

static void fence_free(struct fence *f)
{
    munmap(f->map, f->bytes);
}

static uint64_t seed = 88172645463325252u;

static uint64_t next_random(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static float uniform(float low, float high)
{
    return low + (high - low) * (float)(next_random() >> 40) * 0x1p-24f;
}

static struct fence random_array(size_t n, float low, float high)
{
    struct fence f = fence_new(n, sizeof(float));
    for (size_t i = 0; i < n; i++)
        f.at[i] = uniform(low, high);
    return f;
}

static struct fence copy_of(const float *x, size_t n)
{
    struct fence f = fence_new(n, sizeof(float));
    memcpy(f.at, x, n * sizeof(float));
    return f;
}

static bool same_bits(const float *a, const float *b, size_t n)
{
    return memcmp(a, b, n * sizeof(float)) == 0;
}

static float from_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof(x));
    return x;
}

static double ulp_of(double exact)
{
    int exponent;
    frexp(exact, &exponent);
    return ldexp(1, (exponent < -125 ? -125 : exponent) - 24);
}

static const struct kernels *variant(int i)
{
    return kernels_get(kernels_names()[i]);
}

static struct fence packed(const struct kernels *k, struct matrix *m, size_t N, size_t K,
                           const float *w)
{
    struct fence f = fence_new(k->matrix_bytes(N, K) / sizeof(float), 64);
    *m = (struct matrix){N, K, f.at};
    k->pack(m, 0, N, w, false);
    return f;
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

START_TEST(openblas_stays_single_threaded)
{
    ck_assert(kernels_blas_single_thread());
}
END_TEST

/* ---- matrices
 * --------------------------------------------------------------------------- */

START_TEST(packed_rows_come_back_exactly)
{
    const struct kernels *k = variant(_i);
    static const size_t sizes[][2] = {{1, 1},    {16, 8},   {17, 3},
                                      {100, 37}, {65, 130}, {64, 0}};
    for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
        size_t N = sizes[s][0], K = sizes[s][1], cut = N / 3;
        struct fence w = random_array(N * K, -1, 1), t = fence_new(N * K, 4),
                     out = fence_new(K, 4), whole, flipped;
        for (size_t i = 0; i < N * K; i++)
            t.at[i % K * N + i / K] = w.at[i];
        struct matrix a, b;
        whole = packed(k, &a, N, K, w.at);
        memset(a.data, 0, k->matrix_bytes(N, K));
        k->pack(&a, cut, N, w.at + cut * K, false);
        k->pack(&a, 0, cut, w.at, false);
        flipped = fence_new(k->matrix_bytes(N, K) / sizeof(float), 64);
        b = (struct matrix){N, K, flipped.at};
        k->pack(&b, 0, N, t.at, true);
        ck_assert_mem_eq(a.data, b.data, k->matrix_bytes(N, K));
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

START_TEST(a_matrix_too_large_for_memory_has_no_size)
{
    const struct kernels *k = variant(_i);
    ck_assert_uint_eq(k->matrix_bytes(SIZE_MAX, 1), 0);
    ck_assert_uint_eq(k->matrix_bytes(SIZE_MAX / 4, 2), 0);
    ck_assert_uint_eq(k->matrix_bytes((size_t)1 << 32, (size_t)1 << 32), 0);
    ck_assert_uint_ge(k->matrix_bytes(17, 3), 17 * 3 * sizeof(float));
}
END_TEST

struct problem {
    size_t M, N, K, ldx, ldy;
    struct fence w, x, bias, y0, data;
    struct matrix m;
};

static struct problem problem_new(const struct kernels *k, size_t M, size_t N, size_t K)
{
    struct problem p = {.M = M, .N = N, .K = K, .ldx = K + 3, .ldy = N + 5};
    p.w = random_array(N * K, -1, 1);
    p.x = random_array(M ? (M - 1) * p.ldx + K : 0, -2, 2);
    p.bias = random_array(N, -1, 1);
    p.y0 = random_array(M ? (M - 1) * p.ldy + N : 0, -1, 1);
    p.data = packed(k, &p.m, N, K, p.w.at);
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
    const struct kernels *k = variant(_i);
    static const size_t Ms[] = {0, 1, 2, 3, 4, 5, 6, 7, 13, 16, 33};
    static const size_t shapes[][2] = {{1, 1},    {16, 5},  {17, 16}, {130, 64}, {96, 33},
                                       {97, 257}, {256, 7}, {5, 0},   {208, 515}};
    for (size_t s = 0; s < sizeof(shapes) / sizeof(shapes[0]); s++) {
        for (size_t i = 0; i < sizeof(Ms) / sizeof(Ms[0]); i++) {
            struct problem p = problem_new(k, Ms[i], shapes[s][0], shapes[s][1]);
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
    const struct kernels *k = variant(_i);
    static const size_t shapes[][2] = {{100, 70}, {208, 515}, {64, 256}, {1, 9}};
    for (size_t s = 0; s < 4; s++) {
        struct problem p = problem_new(k, 40, shapes[s][0], shapes[s][1]);
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
    const struct kernels *k = variant(_i);
    for (size_t M = 1; M <= 20; M++) {
        struct problem p = problem_new(k, M, 250, 67);
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
    const struct kernels *k = variant(_i);
    static const size_t shapes[][3] = {{300, 48, 700}, {41, 33, 5000}, {700, 20, 31}};
    for (size_t s = 0; s < 3; s++) {
        struct problem p = problem_new(k, shapes[s][0], shapes[s][1], shapes[s][2]);
        size_t n = (p.M - 1) * p.ldy + p.N;
        struct fence y = copy_of(p.y0.at, n), alone = copy_of(p.y0.at, n);
        struct product call = product_of(&p, y.at);
        k->matmul(&p.m, &call);
        rows_alone(k, &p, alone.at);
        ck_assert(same_bits(y.at, alone.at, n));
        fence_free(&y);
        fence_free(&alone);
        problem_free(&p);
    }
}
END_TEST

START_TEST(a_nan_or_infinity_in_x_stays_in_its_row)
{
    const struct kernels *k = variant(_i);
    struct problem p = problem_new(k, 11, 40, 24);
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

/* ---- attention
 * -------------------------------------------------------------------------- */

START_TEST(scores_are_dot_products_however_the_run_is_cut)
{
    const struct kernels *k = variant(_i);
    static const size_t Es[] = {0, 1, 5, 8, 12, 16, 31, 64, 100, 128};
    for (size_t i = 0; i < sizeof(Es) / sizeof(Es[0]); i++) {
        size_t E = Es[i], n = 37, ld = E + 2;
        struct fence q = random_array(E, -1, 1),
                     keys = random_array((n - 1) * ld + E, -1, 1), s = fence_new(n, 4),
                     cut = fence_new(n, 4);
        k->scores(n, E, 0.125f, q.at, keys.at, ld, s.at);
        for (size_t j = 0; j < n; j++) {
            double exact = 0, size = 0;
            for (size_t e = 0; e < E; e++) {
                exact += (double)q.at[e] * keys.at[j * ld + e];
                size += fabs((double)q.at[e] * keys.at[j * ld + e]);
            }
            ck_assert(fabs(s.at[j] - exact / 8) <= (double)(E + 2) * 0x1p-24 * size / 8);
        }
        for (size_t at = 0, step; at < n; at += step) {
            step = 1 + next_random() % (n - at);
            k->scores(step, E, 0.125f, q.at, keys.at + at * ld, ld, cut.at + at);
        }
        ck_assert(same_bits(s.at, cut.at, n));
        k->scores(0, E, 1, q.at, NULL, ld, NULL);
        struct fence *all[] = {&q, &keys, &s, &cut};
        for (size_t f = 0; f < 4; f++)
            fence_free(all[f]);
    }
}
END_TEST

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
        double bound = 0x1p-21 * (fabs(scaled) + fabs(b.at[i]));
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

START_TEST(add_and_relu_are_exact)
{
    const struct kernels *k = variant(_i);
    for (size_t n = 0; n <= 50; n++) {
        struct fence x = random_array(n, -1, 1), y = random_array(n, -1, 1),
                     before = copy_of(y.at, n);
        k->add(n, x.at, y.at);
        for (size_t i = 0; i < n; i++)
            ck_assert(y.at[i] == before.at[i] + x.at[i]);
        k->relu(n, y.at);
        for (size_t i = 0; i < n; i++)
            ck_assert(y.at[i] == fmaxf(before.at[i] + x.at[i], 0));
        fence_free(&x);
        fence_free(&y);
        fence_free(&before);
    }
    float x[] = {-1, -0.0f, 2, NAN, INFINITY, -INFINITY, 0, FLT_TRUE_MIN, -FLT_TRUE_MIN};
    k->relu(9, x);
    ck_assert(x[0] == 0 && x[1] == 0 && x[2] == 2 && isnan(x[3]) && x[4] == INFINITY);
    ck_assert(x[5] == 0 && x[6] == 0 && x[7] == FLT_TRUE_MIN && x[8] == 0);
}
END_TEST

/* ---- elementwise functions
 * -------------------------------------------------------------- */

enum unary {
    UNARY_EXP,
    UNARY_TANH,
    UNARY_SIGMOID,
    UNARY_GELU_ERF,
    UNARY_GELU_TANH,
    N_UNARY
};

static const char *const unary_names[N_UNARY] = {"exp", "tanh", "sigmoid", "gelu_erf",
                                                 "gelu_tanh"};

static void apply(const struct kernels *k, enum unary which, size_t n, float *x)
{
    void (*const entry[N_UNARY])(size_t, float *) = {k->exp, k->tanh, k->sigmoid,
                                                     k->gelu_erf, k->gelu_tanh};
    entry[which](n, x);
}

static double exact_of(enum unary which, double x)
{
    switch (which) {
    case UNARY_EXP:
        return exp(x);
    case UNARY_TANH:
        return tanh(x);
    case UNARY_SIGMOID:
        return 1 / (1 + exp(-x));
    case UNARY_GELU_ERF:
        return 0.5 * x * erfc(-x * M_SQRT1_2);
    default:
        return x / (1 + exp(-2 * sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    }
}

/* What kernels.h allows around the exact value. */
static double bound_of(enum unary which, double exact)
{
    switch (which) {
    case UNARY_EXP:
        return 2 * ulp_of(exact);
    case UNARY_TANH:
    case UNARY_SIGMOID:
        return fmax(4 * ulp_of(exact), 1e-7);
    default:
        return 2e-6 + 2e-6 * fabs(exact);
    }
}

static bool unary_ok(enum unary which, float x, float got)
{
    if (isnan(x) || (x == -INFINITY && which >= UNARY_GELU_ERF))
        return isnan(got);
    double exact = exact_of(which, x);
    if (which == UNARY_EXP && exact < FLT_MIN)
        return got == 0 || (exact > 0.99999 * FLT_MIN && got <= FLT_MIN);
    if (exact > FLT_MAX)
        return got == INFINITY;
    if (which == UNARY_TANH && !(fabsf(got) <= 1 && signbit(got) == signbit(x)))
        return false;
    if (which == UNARY_SIGMOID && !(got >= 0 && got <= 1))
        return false;
    return fabs(got - exact) <= bound_of(which, exact);
}

/* Every 997th of all floats, and some neighbourhoods. */
START_TEST(functions_keep_their_bounds_on_all_floats)
{
    const struct kernels *k = variant(_i);
    enum { CHUNK = 1003 };
    struct fence x = fence_new(CHUNK, 4), y = fence_new(CHUNK, 4);
    for (enum unary f = 0; f < N_UNARY; f++) {
        for (uint64_t bits = 0; bits <= UINT32_MAX;) {
            size_t n = 0;
            for (; n < CHUNK && bits <= UINT32_MAX; bits += 997)
                x.at[n++] = from_bits((uint32_t)bits);
            memcpy(y.at, x.at, n * sizeof(float));
            apply(k, f, n, y.at);
            for (size_t i = 0; i < n; i++)
                require(unary_ok(f, x.at[i], y.at[i]), unary_names[f], i, (double)y.at[i],
                        exact_of(f, x.at[i]));
        }
    }
    fence_free(&x);
    fence_free(&y);
}
END_TEST

START_TEST(functions_keep_their_bounds_at_special_values)
{
    const struct kernels *k = variant(_i);
    static const float marks[] = {0,      FLT_TRUE_MIN, FLT_MIN,  1,         0.5f,
                                  9.01f,  5.25f,        88.7228f, 87.33654f, FLT_MAX,
                                  1e-20f, INFINITY,     NAN,      103.9f};
    for (enum unary f = 0; f < N_UNARY; f++)
        for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++)
            for (int step = -40; step <= 40; step++)
                for (int sign = 0; sign < 2; sign++) {
                    uint32_t bits;
                    memcpy(&bits, &marks[i], sizeof(bits));
                    float x = from_bits((bits + (uint32_t)step) ^ (uint32_t)sign << 31),
                          y = x;
                    apply(k, f, 1, &y);
                    require(unary_ok(f, x, y), unary_names[f], i, (double)y,
                            exact_of(f, x));
                }
}
END_TEST

START_TEST(functions_do_not_depend_on_the_position)
{
    const struct kernels *k = variant(_i);
    enum { N = 67 };
    struct fence x = random_array(N, -9, 9), y = fence_new(N, 4), alone = fence_new(N, 4);
    for (enum unary f = 0; f < N_UNARY; f++) {
        memcpy(alone.at, x.at, N * sizeof(float));
        for (size_t i = 0; i < N; i++)
            apply(k, f, 1, alone.at + i);
        for (size_t first = 0; first < N; first++)
            for (size_t n = 0; n <= N - first; n++) {
                memcpy(y.at, x.at, N * sizeof(float));
                apply(k, f, n, y.at + first);
                bool ok = same_bits(y.at, x.at, first) &&
                          same_bits(y.at + first, alone.at + first, n) &&
                          same_bits(y.at + first + n, x.at + first + n, N - first - n);
                require(ok, unary_names[f], first, 0, 0);
            }
    }
    fence_free(&x);
    fence_free(&y);
    fence_free(&alone);
}
END_TEST

/* ---- recurrent cells
 * -------------------------------------------------------------------- */

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static void check_near(float got, double exact, double bound, const char *what)
{
    ck_assert_msg(fabs(got - exact) <= bound, "%s: %a, exact %a", what, (double)got,
                  exact);
}

static double gate_bound(double exact)
{
    return bound_of(UNARY_TANH, exact);
}

START_TEST(an_lstm_step_is_within_its_bound)
{
    const struct kernels *k = variant(_i);
    for (size_t H = 0; H <= 40; H++) {
        struct fence x = random_array(4 * H, -6, 6), c0 = random_array(H, -3, 3),
                     g = copy_of(x.at, 4 * H), c = copy_of(c0.at, H), h = fence_new(H, 4);
        k->lstm(H, g.at, c.at, h.at);
        for (size_t j = 0; j < H; j++) {
            double i = sigmoid(x.at[j]), f = sigmoid(x.at[H + j]);
            double z = tanh(x.at[2 * H + j]), o = sigmoid(x.at[3 * H + j]);
            double cell = f * c0.at[j] + i * z, bound = 5e-7 * (1 + fabs(c0.at[j]));
            check_near(g.at[j], i, gate_bound(i), "i");
            check_near(g.at[H + j], f, gate_bound(f), "f");
            check_near(g.at[2 * H + j], z, gate_bound(z), "g");
            check_near(g.at[3 * H + j], o, gate_bound(o), "o");
            check_near(c.at[j], cell, bound, "c");
            check_near(h.at[j], o * tanh(cell), bound, "h");
        }
        struct fence *all[] = {&x, &c0, &g, &c, &h};
        for (size_t i = 0; i < 5; i++)
            fence_free(all[i]);
    }
}
END_TEST

START_TEST(a_gru_step_is_within_its_bound)
{
    const struct kernels *k = variant(_i);
    for (size_t H = 0; H <= 40; H++) {
        struct fence x = random_array(3 * H, -6, 6), u = random_array(3 * H, -4, 4),
                     h0 = random_array(H, -1, 1), g = copy_of(x.at, 3 * H),
                     h = copy_of(h0.at, H);
        k->gru(H, g.at, u.at, h.at);
        for (size_t j = 0; j < H; j++) {
            double r = sigmoid((double)x.at[j] + u.at[j]);
            double z = sigmoid((double)x.at[H + j] + u.at[H + j]), last = u.at[2 * H + j];
            double n = tanh(x.at[2 * H + j] + r * last);
            double bound = 5e-7 * (1 + fabs(last) + fabs(h0.at[j]));
            check_near(g.at[j], r, bound, "r");
            check_near(g.at[H + j], z, bound, "z");
            check_near(g.at[2 * H + j], n, bound, "n");
            check_near(h.at[j], (1 - z) * n + z * h0.at[j], bound, "h");
        }
        struct fence *all[] = {&x, &u, &h0, &g, &h};
        for (size_t i = 0; i < 5; i++)
            fence_free(all[i]);
    }
}
END_TEST

/* Unit j alone (H = 1) has the bits that it has among H units. */
START_TEST(a_cell_does_not_depend_on_its_position)
{
    const struct kernels *k = variant(_i);
    enum { H = 37 };
    struct fence x = random_array(4 * H, -6, 6), u = random_array(3 * H, -4, 4),
                 s = random_array(H, -1, 1), g = copy_of(x.at, 4 * H),
                 c = copy_of(s.at, H), h = fence_new(H, 4), g3 = copy_of(x.at, 3 * H),
                 h3 = copy_of(s.at, H);
    k->lstm(H, g.at, c.at, h.at);
    k->gru(H, g3.at, u.at, h3.at);
    for (size_t j = 0; j < H; j++) {
        float one[4] = {x.at[j], x.at[H + j], x.at[2 * H + j], x.at[3 * H + j]},
              state = s.at[j];
        float three[3] = {one[0], one[1], one[2]}, last = s.at[j], hidden;
        float inner[3] = {u.at[j], u.at[H + j], u.at[2 * H + j]};
        k->lstm(1, one, &state, &hidden);
        ck_assert(same_bits(&state, c.at + j, 1) && same_bits(&hidden, h.at + j, 1));
        k->gru(1, three, inner, &last);
        ck_assert(same_bits(&last, h3.at + j, 1));
        for (size_t i = 0; i < 4; i++)
            ck_assert(same_bits(one + i, g.at + i * H + j, 1));
        for (size_t i = 0; i < 3; i++)
            ck_assert(same_bits(three + i, g3.at + i * H + j, 1));
    }
    struct fence *all[] = {&x, &u, &s, &g, &c, &h, &g3, &h3};
    for (size_t i = 0; i < 8; i++)
        fence_free(all[i]);
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
    tcase_add_test(table, openblas_stays_single_threaded);
    tcase_set_timeout(each, 120);
    tcase_add_loop_test(each, packed_rows_come_back_exactly, 0, n);
    tcase_add_loop_test(each, a_matrix_too_large_for_memory_has_no_size, 0, n);
    tcase_add_loop_test(each, matmul_is_within_its_bound, 0, n);
    tcase_add_loop_test(each, a_row_has_the_same_bits_in_any_batch, 0, n);
    tcase_add_loop_test(each, a_column_has_the_same_bits_in_any_slice, 0, n);
    tcase_add_loop_test(each, long_batches_are_cut_without_a_trace, 0, n);
    tcase_add_loop_test(each, a_nan_or_infinity_in_x_stays_in_its_row, 0, n);
    tcase_add_loop_test(each, scores_are_dot_products_however_the_run_is_cut, 0, n);
    tcase_add_loop_test(each, weigh_is_one_chain_however_the_run_is_cut, 0, n);
    tcase_add_loop_test(each, softmax_rows_are_right_and_sum_to_one, 0, n);
    tcase_add_loop_test(each, softmax_handles_masks_and_nan, 0, n);
    tcase_add_loop_test(each, layer_norm_is_within_its_bound, 0, n);
    tcase_add_loop_test(each, layer_norm_of_a_constant_row_is_the_bias, 0, n);
    tcase_add_loop_test(each, add_and_relu_are_exact, 0, n);
    tcase_add_loop_test(each, functions_keep_their_bounds_on_all_floats, 0, n);
    tcase_add_loop_test(each, functions_keep_their_bounds_at_special_values, 0, n);
    tcase_add_loop_test(each, functions_do_not_depend_on_the_position, 0, n);
    tcase_add_loop_test(each, an_lstm_step_is_within_its_bound, 0, n);
    tcase_add_loop_test(each, a_gru_step_is_within_its_bound, 0, n);
    tcase_add_loop_test(each, a_cell_does_not_depend_on_its_position, 0, n);
    suite_add_tcase(suite, table);
    suite_add_tcase(suite, each);
    return suite;
}

int main(void)
{
    SRunner *runner = srunner_create(kernels_suite());
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
